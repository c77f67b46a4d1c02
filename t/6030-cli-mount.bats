# Keys given as files of a mount.
# shellcheck disable=SC2154  # $output and $status are bats'

setup() {
  load lib/cairn.bash
  load lib/mount.bash
  requires_program getfattr
  requires_fuse
  cairn_node -o volume.engine=memory
}

@test "a file of a mount is a key, whether it is there or not; --key takes it literally" {
  cairn_mount
  mkdir "$CAIRN_MOUNT/app"
  echo 8080 >"$CAIRN_MOUNT/app/port"
  [ "$(cairn get "$CAIRN_MOUNT/app/port")" = 8080 ]
  cd "$CAIRN_MOUNT/app"
  [ "$(cairn get ./port)" = 8080 ]
  [ "$(cairn get ../app/port)" = 8080 ]
  cairn put ./new 1
  [ "$(cairn get app/new)" = 1 ]
  cairn mv ./new ../
  [ "$(cat ../new)" = 1 ]
  [ "$(cairn ls . | tr '\n' ' ')" = "app/port " ]
  run cairn get --key ./port
  [ "$status" -eq 1 ]
  [[ "$output" == "cairn: not-found: no key './port' in volume main"* ]]
  cd /
}

@test "a mount of another volume or of a folder gives its own keys" {
  cairn volume create second --engine memory
  cairn -V second put etc/conf/x 1
  cairn_mount_at "$cairn_root/second" -o volume=second,prefix=etc
  [ "$(cairn get "$cairn_root/second/conf/x")" = 1 ]
  [ "$(env -u CAIRN_SERVER cairn stat --json "$cairn_root/second/conf/x" | jq -r .key)" = etc/conf/x ]
  run cairn -V main get "$cairn_root/second/conf/x"
  [ "$status" -eq 2 ]
}

@test "a file of a mount is a key of the mount's node, whatever the environment names" {
  cairn_mount
  cairn put precious 1
  cairn_options[n2]='-o volume.engine=memory'
  mkdir "$cairn_root/n2"
  cairn_start n2
  other=unix:$cairn_root/n2/socket
  cairn -s "$other" put precious 2
  [ "$(CAIRN_SERVER=$other cairn get "$CAIRN_MOUNT/precious")" = 1 ]
  run cairn -s "$other" del "$CAIRN_MOUNT/precious"
  [ "$status" -eq 2 ]
  [[ "$output" == *"lies on a mount of $CAIRN_SERVER, not of $other"* ]] || { echo "$output"; false; }
  CAIRN_SERVER=$other cairn del "$CAIRN_MOUNT/precious"
  seen "$CAIRN_MOUNT"
  [ ! -e "$CAIRN_MOUNT/precious" ]
  [ "$(cairn -s "$other" get precious)" = 2 ]
}

@test "elsewhere a path is a key like any other" {
  cairn put /app/port 1
  cairn put ./x 2
  [ "$(cairn ls -r | tr '\n' ' ')" = "./x /app/port " ]
}
