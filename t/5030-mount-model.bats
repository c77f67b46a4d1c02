# Random calls on mounts and on an ordinary folder: the same errors, bytes and trees. Seeds are fixed.

setup() {
  load lib/cairn.bash
  requires_fuse
  requires_program python3
  cairn_node -o volume.engine=memory
  cairn_mount
  cairn_mount_at "$cairn_root/second"
  mkdir "$cairn_root/plain"
}

# same KIND SEED MOUNT…: the tree test in a folder of its own.
same() {
  local name=$1 seed=$2 at
  shift 2
  mkdir "$CAIRN_MOUNT/$name" "$cairn_root/plain/$name"
  for at; do set -- "$@" "$at/$name"; shift; done
  at=$1
  shift
  python3 "$CAIRN_SOURCE/t/mount/tree.py" "$at" "$cairn_root/plain/$name" "$seed" 1500 "$@"
}

@test "a tree, through one mount" {
  same one 1 "$CAIRN_MOUNT"
  same two 2 "$CAIRN_MOUNT"
}

@test "a tree, through two mounts by turns" {
  same both 3 "$CAIRN_MOUNT" "$cairn_root/second"
  same again 4 "$CAIRN_MOUNT" "$cairn_root/second"
}

@test "a file, through one mount and through two by turns, mappings included" {
  for seed in 1 2 3; do
    python3 "$CAIRN_SOURCE/t/mount/file.py" "$seed" 300 "$CAIRN_MOUNT"
    python3 "$CAIRN_SOURCE/t/mount/file.py" "$seed" 300 "$CAIRN_MOUNT" "$cairn_root/second"
  done
}
