# Keys that go at a time.

setup() {
  load lib/cairn.bash
  requires_program jq
}

# wait_for CONDITION…: until it holds, for ten seconds.
wait_for() {
  local deadline=$((SECONDS + 10))
  until "$@"; do [ $SECONDS -lt $deadline ] || return 1; done
}
is_gone() { ! cairn get "$1" >/dev/null 2>&1; }
expiry() { cairn --json ttl "$1" | jq -r .expiry; }

@test "a key with a time to live goes by itself, everywhere at once" {
  cairn_node
  cairn put --ttl 700ms dir/short v
  cairn put dir/long v
  run cairn ttl dir/short
  [[ $output =~ ^0\.[0-9]{3}$ ]] || { echo "$output"; false; }
  [ "$(cairn ttl dir/long)" = never ]
  [ "$(cairn ls dir/ | xargs)" = "dir/long dir/short" ]
  wait_for is_gone dir/short
  [ "$(cairn ls dir/ | xargs)" = dir/long ]
  [ "$(cairn --json ls '' | jq -r .count)" = 1 ]
  run cairn ttl dir/short
  [ "$status" -eq 1 ]
  [ "$(cairn --json history dir/short | jq -r '.change' | xargs)" = "expire put" ]
  [ "$(cairn get --revision 1 dir/short)" = v ]
  cairn check
}

@test "expire, persist, and what a put does to the time" {
  cairn_node -o volume.engine=memory
  cairn put k v
  cairn expire k 1h
  before=$(expiry k)
  [ "$before" != null ]
  cairn append k w
  [ "$(expiry k)" = "$before" ]
  cairn put --keep-ttl k x
  [ "$(expiry k)" = "$before" ]
  cairn mv k k2
  [ "$(expiry k2)" = "$before" ]
  cairn persist k2
  [ "$(cairn ttl k2)" = never ]
  cairn expire k2 1h
  cairn put k2 y
  [ "$(cairn ttl k2)" = never ]
  run cairn expire k2 soon
  [ "$status" -eq 2 ]
  [[ $output == *"'soon' is no time to live"* ]]
  run cairn expire nothing 5
  [ "$status" -eq 1 ]
  run cairn put --ttl 5 --keep-ttl k2 z
  [ "$status" -eq 2 ]
  [ "$(cairn get k2)" = y ]
}

@test "times to live hold across kill -9 and go on while nobody is there" {
  cairn_node -o volume.engine=leveldb
  cairn put --ttl 1h long v
  before=$(expiry long)
  for i in $(seq 50); do echo "put --ttl 300ms short/$i v"; done | cairn shell >/dev/null
  cairn_kill
  cairn_start
  [ "$(expiry long)" = "$before" ]
  wait_for is_gone short/50
  [ -z "$(cairn ls short/)" ]
  cairn check
}

@test "an hour's leap of the wall clock neither kills nor revives a key" {
  [ -e "$CAIRN_BUILD/t/lib/.libs/wallclock.so" ] || skip "t/lib/wallclock.la is not built"
  ! grep -q '^CFLAGS.*-fsanitize' "$CAIRN_BUILD/Makefile" || skip "not with a sanitizer"
  echo 0 >"$cairn_root/wall"
  export WALLCLOCK=$cairn_root/wall LD_PRELOAD=$CAIRN_BUILD/t/lib/.libs/wallclock.so
  cairn_node -o volume.engine=memory
  unset LD_PRELOAD
  cairn put --ttl 30m key v
  cairn put --ttl 1500ms short v
  for off in 3600 -3600 7200; do
    echo "$off" >"$cairn_root/wall"
    cairn put tick "$off" # is stamped by the clock as it is now
    left=$(cairn ttl key)
    [ "${left%.*}" -ge 1700 ] && [ "${left%.*}" -le 1800 ] || { echo "$off: $left"; false; }
  done
  wait_for is_gone short
  echo -3600 >"$cairn_root/wall"
  cairn put tick back
  run cairn get short
  [ "$status" -eq 1 ]
  [ "$(cairn get key)" = v ]
}

@test "ten thousand keys of one moment go together" {
  cairn_node
  for i in $(seq 10000); do echo "put --ttl 1s many/$i v"; done | cairn shell >/dev/null
  cairn put stays v
  wait_for is_gone many/10000
  wait_for is_gone many/1
  wait_for eval '[ -z "$(cairn ls many/)" ]'
  [ "$(cairn ls)" = stays ]
  cairn check
}

@test "incr counts, also backwards, and refuses what is no number" {
  cairn_node -o volume.engine=memory
  [ "$(cairn incr n)" = 1 ]
  [ "$(cairn incr n 41)" = 42 ]
  [ "$(cairn incr n -50)" = -8 ]
  [ "$(cairn --json incr n 8 | jq -r .value)" = 0 ]
  cairn put n 9223372036854775807
  run cairn incr n
  [ "$status" -eq 2 ]
  [[ $output == *"beyond 64 bits"* ]]
  [ "$(cairn get n)" = 9223372036854775807 ]
  [ "$(cairn incr n -9223372036854775808)" = -1 ]
  cairn put word 07
  run cairn incr word
  [ "$status" -eq 2 ]
  run cairn incr n x
  [ "$status" -eq 2 ]
  for i in 1 2 3 4; do (for j in $(seq 50); do echo incr c; done | cairn shell >/dev/null) & done
  wait -n; wait -n; wait -n; wait -n
  [ "$(cairn get c)" = 200 ]
}

@test "export and import keep the time" {
  cairn_node
  cairn put --ttl 1h a/k v
  head -c 200000 /dev/zero | cairn put --ttl 2h a/long -
  before="$(expiry a/k) $(expiry a/long)"
  cairn export a/ >"$cairn_root/lines"
  cairn del -r a/
  cairn import <"$cairn_root/lines"
  [ "$(expiry a/k) $(expiry a/long)" = "$before" ]
  cairn snapshot save "$cairn_root/snap"
  cairn snapshot restore --volume copy --engine memory "$cairn_root/snap"
  [ "$(cairn --json -V copy ttl a/long | jq -r .expiry)" = "${before#* }" ]
  cairn -V copy check
}
