# The mount as part of a system: mount(8), the folder below it, units.

setup() {
  load lib/cairn.bash
  requires_fuse
  cairn_node -o volume.engine=memory
}

@test "mount -t fuse.cairnfs with what fstab passes, a list of servers among it, and umount" {
  [ "$(id -u)" -eq 0 ] || skip "only root can mount(8)"
  requires_program mount.fuse
  mkdir "$cairn_root/at"
  cairn put k v
  # What mount(8) runs; it would look for cairnfs where the system has its programs.
  mount.fuse "unix:$cairn_root/nobody,$CAIRN_SERVER" "$cairn_root/at" -t fuse.cairnfs -o rw,_netdev,nofail,dev,suid,fmode=644 3>&-
  [ "$(cat "$cairn_root/at/k")" = v ]
  [ "$(stat -c %a "$cairn_root/at/k")" = 644 ]
  grep -q "^unix:$cairn_root/nobody,$CAIRN_SERVER $cairn_root/at fuse.cairnfs " /proc/mounts
  umount "$cairn_root/at"
  [ ! -e "$cairn_root/at/k" ]
}

@test "guard: a mount point without its mount is read-only and says so" {
  mkdir "$cairn_root/at"
  cairn_mount_at "$cairn_root/at" -o guard
  cairn put k v
  [ "$(cat "$cairn_root/at/k")" = v ]
  fusermount3 -u "$cairn_root/at"
  [ "$(ls "$cairn_root/at")" = NOT-MOUNTED ]
  grep -q "cairnfs $CAIRN_SERVER $cairn_root/at" "$cairn_root/at/NOT-MOUNTED"
  [ "$(stat -c %a "$cairn_root/at")" = 555 ]
  # Root may write to a folder that is read-only, but not where the file system below keeps it as it is.
  if [ "$(id -u)" -ne 0 ] || lsattr -d "$cairn_root/at" 2>/dev/null | grep -q '^[^ ]*i'; then
    run touch "$cairn_root/at/lost"
    [ "$status" -ne 0 ]
  fi
  cairn_mount_at "$cairn_root/at" -o guard
  [ "$(cat "$cairn_root/at/k")" = v ]
  fusermount3 -u "$cairn_root/at"
  chattr -i "$cairn_root/at" 2>/dev/null || true
  chmod 755 "$cairn_root/at"
  touch "$cairn_root/at/precious"
  run cairnfs "$CAIRN_SERVER" "$cairn_root/at" -o guard
  [ "$status" -eq 2 ]
  [[ "$output" == *"holds files"* ]]
}

teardown() { chattr -i "$cairn_root/at" 2>/dev/null || true; }

@test "the units are understood by systemd" {
  requires_program systemd-analyze
  for unit in cairnd.service cairnfs@.service; do
    sed "s#/usr/sbin/cairnd#$(command -v cairnd)#; s#/usr/bin/cairnfs#$(command -v cairnfs)#" \
      "$CAIRN_SOURCE/scripts/systemd/$unit" >"$cairn_root/$unit"
  done
  cp "$cairn_root/cairnfs@.service" "$cairn_root/cairnfs@mnt-cairn.service"
  run systemd-analyze verify --man=no "$cairn_root/cairnd.service" "$cairn_root/cairnfs@mnt-cairn.service"
  echo "$output"
  [ "$status" -eq 0 ]
  [ -z "$output" ]
}
