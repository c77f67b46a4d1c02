# What bounds a volume and a value: quota, uploads that nobody finishes, memory.
# shellcheck disable=SC2154  # $output and $status are bats'

setup() {
  load lib/cairn.bash
}

start() {
  cairn_node "$@"
  cd "$cairn_root" || return 1
}

@test "a write beyond the quota is refused and says why; what frees room or does not grow goes on" {
  start -o volume.engine=memory
  cairn volume create small --engine memory quota=1MiB
  export CAIRN_VOLUME=small
  head -c 120000 /dev/zero | tr '\0' a >a
  for i in 1 2 3 4 5 6 7; do cairn put "a$i" @a >/dev/null; done
  cairn put a @a >/dev/null
  run cairn put b @a
  [ "$status" -eq 8 ]
  [[ ${lines[0]} =~ ^"cairn: quota: volume small: the quota is 1048576 bytes, "[0-9]+" are used, and this write needs "[0-9]+" more"$ ]] ||
    { echo "$output"; false; }
  [ "${lines[1]}" = "hint: delete keys, or raise it: cairn volume set small quota SIZE" ] || { echo "$output"; false; }
  run cairn get b
  [ "$status" -eq 1 ]
  # The same size again needs no more room, and a smaller one neither.
  cairn put a2 @a >/dev/null
  cairn put a "$(head -c 5000 a)" >/dev/null
  cairn volume set small quota 4000
  run cairn put c 1
  [ "$status" -eq 8 ]
  cairn put a "$(head -c 5000 a | tr a b)" >/dev/null
  cairn append a "" >/dev/null
  run cairn append a x
  [ "$status" -eq 8 ]
  cairn mv a d
  run cairn cp d e
  [ "$status" -eq 8 ]
  cairn del d a1 a2 a3 a4 a5 a6 a7
  cairn put c 1 >/dev/null
  cairn del --purge c
  cairn volume set small quota 1GiB
  cairn put a @a >/dev/null
  cairn put b @a >/dev/null
  cairn check
}

@test "the quota and what is used of it are shown" {
  start -o volume.engine=memory -o volume.quota=2GiB
  cairn put a 12345 >/dev/null
  [ "$(cairn volume list | tr -s ' ')" = "VOLUME ENGINE REPLICATION KEYS SIZE QUOTA REVISION WRITES
main memory none 1 5 2.0 GiB 1 memory" ] || { cairn volume list; false; }
  cairn volume set main quota 3M
  [ "$(cairn volume stats --json | jq -c '[.bytes, .quota, .staged]')" = '[5,3145728,null]' ]
  run cairn volume set main quota 3Mib
  [ "$status" -eq 2 ]
  [[ $output == *"quota: '3Mib' is not a number of bytes, with K, M, G or T behind it"* ]] || { echo "$output"; false; }
  cairn volume set main quota 0
  [ "$(cairn volume stats --json | jq -c .quota)" = null ]
}

@test "what was sent ahead for a write that was refused takes no room" {
  start -o volume.engine=memory -o volume.quota=1M
  head -c 900000 /dev/urandom >a
  cairn put a @a >/dev/null
  run cairn put b @a
  [ "$status" -eq 8 ]
  [ "$(cairn volume stats --json | jq -c .staged)" = null ]
  cairn volume set main quota 4M
  run cairn put --if-revision 7 a @a
  [ "$status" -eq 3 ]
  [ "$(cairn volume stats --json | jq -c .staged)" = null ]
  cairn put b @a >/dev/null
  cairn get b | cmp - a
}

@test "append and patch take values of any size, from files and pipes" {
  start -o volume.engine=memory
  head -c 3000000 /dev/urandom >a
  head -c 700001 /dev/urandom >b
  cairn append k @a >/dev/null
  cat b | cairn append k - >/dev/null
  cat a b >want
  cairn get k | cmp - want
  cat b | cairn patch k 1234567 - >/dev/null
  dd if=b of=want bs=1M seek=1234567 oflag=seek_bytes conv=notrunc status=none
  cairn get k | cmp - want
  cairn patch k 3700000 @a >/dev/null
  dd if=a of=want bs=1M seek=3700000 oflag=seek_bytes conv=notrunc status=none
  cairn get k | cmp - want
  cairn patch k 10 xyz >/dev/null
  printf xyz | dd of=want bs=3 seek=10 oflag=seek_bytes conv=notrunc status=none
  cairn get k | cmp - want
  run cairn patch nothing 0 x
  [ "$status" -eq 1 ]
  run cairn patch k x x
  [ "$status" -eq 2 ]
  [ "$(cairn volume stats --json | jq -c '[.bytes, .staged]')" = "[$(stat -c %s want),null]" ]
  cairn check
}

@test "a patch with several extents happens as a whole" {
  start -o volume.engine=memory
  cairn put k 'hello there, world' >/dev/null
  ask() { printf '%s\n' "$1" | timeout 10 cairn proxy | jq -c 'select(.id == 1)'; }
  ask '{"id":1,"op":"patch","args":{"key":"k","extents":[{"offset":0,"value":"HELLO"},{"offset":13,"value":"WORLD!"},{"offset":6,"length":5}]}}'
  [ "$(cairn get k | tr '\0' .)" = 'HELLO ....., WORLD!' ]
  [ "$(cairn stat --json k | jq .version)" = 2 ]
  run ask '{"id":1,"op":"patch","args":{"key":"k","extents":[{"offset":0,"value":"12345"},{"offset":13}]}}'
  [[ $output == *'"code":"invalid"'* ]] || { echo "$output"; false; }
  run ask '{"id":1,"op":"patch","args":{"key":"k","size":3,"extents":[{"offset":0,"value":"12345"}]}}'
  [[ $output == *'"code":"invalid"'* ]] || { echo "$output"; false; }
  run ask '{"id":1,"op":"patch","args":{"key":"k","extents":[{"offset":0,"value":"1"},{"offset":99999999,"value":"2"}]}}'
  [[ $output == *'"code":"too-large"'* ]] || { echo "$output"; false; }
  [ "$(cairn get k | tr '\0' .)" = 'HELLO ....., WORLD!' ]
}

@test "a mount answers EDQUOT, and df shows the quota" {
  requires_fuse
  start -o volume.engine=memory -o volume.quota=8M
  cairn_mount
  [ "$(stat -f -c '%b %S' "$CAIRN_MOUNT" | awk '{ print int($1 * $2 / 1e6) }')" -eq 8 ]
  head -c 5000000 /dev/urandom >"$CAIRN_MOUNT/a"
  run dd if=/dev/zero of="$CAIRN_MOUNT/b" bs=1M count=5 conv=fsync
  [ "$status" -ne 0 ]
  [[ $output == *"Disk quota exceeded"* ]] || { echo "$output"; false; }
  [ "$(stat -f -c '%f %S' "$CAIRN_MOUNT" | awk '{ print int($1 * $2 / 1e6) }')" -lt 4 ]
  rm -f "$CAIRN_MOUNT"/[ab]
  head -c 7500000 /dev/urandom >"$CAIRN_MOUNT/c"
}

@test "an engine's own upkeep gives space back while the volume serves" {
  requires_engine bitcask
  start -o volume.engine=bitcask -o volume.history=0
  head -c 1000000 /dev/urandom >a
  for i in {1..40}; do cairn put "k$((i % 4))" @a >/dev/null; done
  for i in {1..300}; do
    used=$(du -sb n1/data/volumes/main-* | cut -f1)
    [ "$used" -gt 12000000 ] || break
    sleep 0.1
  done
  [ "$used" -le 12000000 ] || { cairn volume stats; false; }
  [ "$(cairn volume stats --json | jq -r '.statistics[] | select(.name == "engine upkeep") | .amount')" -gt 0 ]
  cairn get k1 | cmp - a
  cairn check
}

# Run COMMAND...; the daemon and it have at most 16 MiB more than the daemon had when it was idle.
within() {
  local out daemon command
  out=$(python3 "$CAIRN_SOURCE/t/lib/peak.py" "$(cairn_pid n1)" "$@" 9>&1 >/dev/null)
  read -r _ daemon command <<<"$out"
  echo "$*: the daemon had $((daemon - idle)) KiB above $idle KiB, the command $command KiB"
  [ "$((daemon - idle))" -le 16384 ] && [ "$command" -le 16384 ]
}

# bats test_tags=slow
@test "values of 64 MiB are put, read, appended and patched in 16 MiB of memory, on every durable engine" {
  requires_program python3
  grep -q RssAnon /proc/self/status || skip "this kernel does not say RssAnon"
  for engine in leveldb bitcask lmdb; do
    [ -e "${CAIRN_PLUGIN_PATH%%:*}/engine-$engine.so" ] || continue
    rm -rf "$cairn_root/n1"
    start -o volume.engine=$engine -o volume.value-limit=128M
    idle=$(awk '/RssAnon/ { print $2 }' "/proc/$(cairn_pid n1)/status")
    dd if=/dev/urandom of=big bs=1M count=64 status=none
    dd if=/dev/urandom of=part bs=1M count=3 status=none
    within cairn put k @big
    within cairn get k
    within cairn patch k 30000001 @part
    dd if=part of=big bs=1M seek=30000001 oflag=seek_bytes conv=notrunc status=none
    cairn get k | cmp - big
    within cairn append k - <part
    cat big part | cmp - <(cairn get k)
    within cairn append other @big
    within cairn put k @big
    cairn get other | cmp - big
    cairn check
    cairn_stop
  done
}
