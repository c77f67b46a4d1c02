# A volume as a stream: saved from a live node, shown, restored into other engines, refused where it is damaged.
# shellcheck disable=SC2154  # $output and $status are bats'

setup() {
  load lib/cairn.bash
  load lib/engines.bash
}

start() {
  cairn_node "$@"
  cd "$cairn_root" || return 1
}

digest() { printf '{"id":1,"op":"digest","args":{"volume":"%s"}}\n' "$1" | timeout 10 cairn proxy | sed -nE 's/.*"digest":"([0-9a-f]+)".*/\1/p'; }

some_keys() {
  cairn shell <<'END' >/dev/null
put app/port 8080
put app/port 8081
put gone 1
del gone
put $'\xff\x00' odd
put empty ""
END
  head -c 700000 /dev/urandom >large
  cairn put app/large @large >/dev/null
  cairn cp app/large copy >/dev/null
  echo more | cairn append copy - >/dev/null
}

@test "a live node's volume is restored into other engines with the same digest" {
  start -o volume.engine=memory -o volume.parameters=key-max=510 # LMDB takes no more
  some_keys
  was=$(digest main)
  [ -n "$was" ]
  run cairn snapshot save a.snap
  [ "$status" -eq 0 ] || { echo "$output"; false; }
  [[ $output == "a.snap: 5 keys at revision "*", digest $was" ]] || { echo "$output"; false; }
  cairn snapshot restore --volume again --engine memory a.snap
  [ "$(digest again)" = "$was" ]
  cairn -V again get app/large | cmp - large
  [ "$(cairn -V again get app/port)" = 8081 ]
  [ "$(cairn get copy | sha256sum)" = "$(cairn -V again get copy | sha256sum)" ]
  requires_engine "$engine"
  cairn -V again snapshot save - | cairn snapshot restore --volume third --engine "$engine" -
  [ "$(digest third)" = "$was" ]
  cairn_stop
  cairn_start
  [ "$(digest third)" = "$was" ]
  cairn -V third put later 1
  cairn -V third get app/large | cmp - large
}

# bats test_tags=one-engine
@test "writes go on while a snapshot is taken, and it holds one moment" {
  start -o volume.engine=memory
  for i in {1..300}; do echo "put a/$i 0"; done | cairn shell >/dev/null
  for round in {1..30}; do
    for i in {1..300}; do echo "put a/$i $round"; done | cairn shell --atomic >/dev/null
  done &
  writer=$!
  for n in 1 2 3 4 5; do cairn snapshot save --plain "$n.snap" >/dev/null; done
  wait "$writer"
  for n in 1 2 3 4 5; do
    cairn snapshot restore --volume "v$n" --engine memory "$n.snap" >/dev/null
    # Each transaction writes all keys, so one moment has one value everywhere.
    [ "$(cairn -V "v$n" scan a/ | cut -f2 | sort -u | wc -l)" -eq 1 ]
    [ "$(cairn -V "v$n" ls -r a | wc -l)" -eq 300 ]
  done
}

# bats test_tags=one-engine
@test "show reads a file without a daemon, and finds damage" {
  start -o volume.engine=memory
  some_keys
  cairn snapshot save a.snap
  cairn_stop
  unset CAIRN_SERVER
  run cairn snapshot show a.snap
  [ "$status" -eq 0 ]
  [[ $output == *"keys"*"5"* && $output == *"volume"*"main"* ]] || { echo "$output"; false; }
  printf 0123456789abcdef | dd of=a.snap bs=1 seek=200000 conv=notrunc status=none
  run cairn snapshot show a.snap
  [ "$status" -eq 9 ]
  [[ $output == *"corrupt: a.snap: the stream is damaged at byte "* ]] || { echo "$output"; false; }
  run cairn snapshot show /etc/passwd
  [ "$status" -eq 2 ]
  [[ $output == *"no stream of cairn"* ]]
}

# bats test_tags=one-engine
@test "what is cut, damaged or left alone leaves no volume and no folder behind" {
  start -o volume.engine=memory
  some_keys
  cairn snapshot save a.snap
  before=$(ls n1/data/volumes)
  head -c 300000 a.snap >cut.snap
  run cairn snapshot restore --volume new cut.snap
  [ "$status" -eq 9 ]
  [[ $output == *"volume new is not restored: the stream is cut off at byte 300000"* ]] || { echo "$output"; false; }
  printf 0123456789abcdef | dd of=a.snap bs=1 seek=200000 conv=notrunc status=none
  run cairn snapshot restore --volume new a.snap
  [ "$status" -eq 9 ]
  run cairn snapshot restore --volume main a.snap
  [ "$status" -eq 3 ]
  run cairn snapshot restore a.snap
  [ "$status" -eq 2 ]
  [[ $output == *"--volume"* ]]
  [ "$(ls n1/data/volumes)" = "$before" ]
  # A client that never comes back, and a node that dies meanwhile.
  printf '{"id":1,"op":"snapshot-restore","args":{"upload":"%032d","name":"half"},"payload":1000}\n' 7 >request
  sed -i 's/"name":"half"/"name":"half","value":{"at":0,"len":1000}/' request
  cairn_stop && cairn_start
  head -c 1000 cut.snap | cat request - | timeout 10 cairn proxy | grep -q '"ok"'
  cairn_kill
  cairn_start
  [ "$(ls n1/data/volumes)" = "$before" ]
}

# bats test_tags=one-engine
@test "a file that cannot be written is said, and none is left half" {
  start -o volume.engine=memory
  cairn put a 1
  run cairn snapshot save "$cairn_root/no/such/folder/x.snap"
  [ "$status" -ne 0 ]
  run bash -c 'ulimit -f 8; trap "" XFSZ; head -c 700000 /dev/urandom | cairn put large - && cairn snapshot save big.snap'
  [ "$status" -ne 0 ]
  [ -z "$(ls big.snap* 2>/dev/null)" ]
}

@test "an empty volume is filled, one with keys is not; flush makes it empty" {
  requires_engine "$engine"
  start -o "volume.engine=$engine"
  some_keys
  cairn snapshot save a.snap
  was=$(digest main)
  cairn volume create other --engine memory
  cairn snapshot restore --volume other a.snap
  [ "$(digest other)" = "$was" ]
  cairn put later 1
  run cairn snapshot restore --volume main a.snap
  [ "$status" -eq 3 ]
  [[ $output == *"volume main is there already, and has 6 keys"* ]] || { echo "$output"; false; }
  cairn volume flush --yes main
  before=$(ls n1/data/volumes)
  head -c 300000 a.snap >cut.snap
  run cairn snapshot restore --volume main cut.snap
  [ "$status" -eq 9 ]
  [ "$(ls n1/data/volumes)" = "$before" ]
  [ -z "$(cairn ls)" ]
  cairn snapshot restore --volume main a.snap
  [ "$(digest main)" = "$was" ]
  cairn check
  cairn_kill
  cairn_start
  [ "$(digest main)" = "$was" ]
  cairn get app/large | cmp - large
  [ "$(find n1/data/volumes -mindepth 1 -maxdepth 1 -name 'main-*' | wc -l)" -eq 1 ]
}
