#!/usr/bin/env bats
# A volume on the memory engine that is kept all the same: durable=yes, the journal, and checkpoints.
# shellcheck disable=SC2154  # $output and $status are bats'

setup() {
  load lib/cairn.bash
  load lib/engines.bash
  requires_program cairn
  requires_program jq
}

start() {
  cairn_node -o volume.engine=memory -o volume.durable=yes -o journal.segment=64K "$@"
  data=$cairn_root/n1/data
}

digest() { printf '{"id":1,"op":"digest","args":{}}\n' | timeout 10 cairn proxy | sed -nE 's/.*"digest":"([0-9a-f]+)".*/\1/p'; }
of_main() { cairn --json journal | jq ".volumes[] | select(.name == \"main\") | .$1"; }

# until_true COMMAND...: wait for it, 20 seconds at most.
until_true() {
  local n
  for n in {1..200}; do
    "$@" && return
    read -rt 0.1 <> <(:) || true
  done
  echo "never: $*"
  return 1
}
few_segments() { [ "$(cairn --json journal | jq .segments)" -le 2 ]; }
has_checkpoint() { [ "$(of_main flushed)" -gt "${1:-0}" ]; }

@test "kill -9 loses nothing that was answered, and the journal is enough for it" {
  start
  for i in {1..200}; do echo "put k$i v$i"; done | cairn shell >/dev/null
  echo 'del k7' | cairn shell >/dev/null
  was=$(digest)
  cairn_kill
  cairn_start
  [ "$(digest)" = "$was" ]
  [ "$(cairn get k200)" = v200 ]
  run cairn get k7
  [ "$status" -eq 1 ]
  cairn check
}

@test "checkpoints bound the journal, and restart is a checkpoint and what the journal has behind it" {
  start -o journal.max=64K
  for n in {1..4}; do
    before=$(of_main newest)
    for i in {1..60}; do echo "put k$i $(printf "%04000d" "$n")"; done | cairn shell >/dev/null
    until_true has_checkpoint "$before"
  done
  [ -s "$(echo "$data"/volumes/main-*/checkpoint)" ]
  until_true few_segments
  [ "$(cairn metrics | sed -n 's/^cairn_checkpoints_total{volume="main"} //p')" -ge 4 ]
  for i in {1..5}; do cairn put "tail$i" "$i"; done
  was=$(digest)
  cairn_kill
  cairn_start
  [ "$(digest)" = "$was" ]
  [ "$(cairn get tail5)" = 5 ]
  [ "$(cairn get k60)" = "$(printf "%04000d" 4)" ]
  grep -q 'the journal was replayed" volume=main' "$cairn_root/n1/log"
  cairn_stop
  run cairn check --dir "$data"
  [ "$status" -eq 0 ]
  [[ $output == *"main: sound: 65 keys "* ]] || { echo "$output"; false; }
}

@test "a volume that rests keeps no journal that others fill" {
  requires_engine "$engine"
  start -o journal.max=128K
  cairn put rests 1
  cairn volume create busy --engine "$engine"
  for i in {1..100}; do echo "put k$i $(printf "%04000d" "$i")"; done | cairn -V busy shell >/dev/null
  until_true has_checkpoint
  cairn_kill
  cairn_start
  [ "$(cairn get rests)" = 1 ]
}

@test "a flushed and a restored volume last" {
  start
  cairn put a 1
  cairn snapshot save "$cairn_root/snapshot"
  cairn volume flush --yes main
  cairn_kill
  cairn_start
  run cairn get a
  [ "$status" -eq 1 ]
  cairn put b 2
  cairn snapshot restore --volume copy "$cairn_root/snapshot"
  cairn put -V copy c 3
  cairn_kill
  cairn_start
  [ "$(cairn get b)" = 2 ]
  [ "$(cairn get -V copy a)" = 1 ]
  [ "$(cairn get -V copy c)" = 3 ]
}

@test "a checkpoint that is damaged is refused by file and offset, and repair keeps what is whole in it" {
  start -o journal.max=64K
  for i in {1..200}; do echo "put k$i $(head -c 3000 /dev/urandom | base64 -w 0)"; done >"$cairn_root/puts"
  cairn shell <"$cairn_root/puts" >/dev/null
  until_true has_checkpoint
  cairn_stop # not before there is one of all
  cairn_start
  echo "put big $(head -c 70000 /dev/zero | tr '\0' b)" | cairn shell >/dev/null
  cairn put tail 1
  cairn_kill
  file=$(echo "$data"/volumes/main-*/checkpoint)
  printf 0123456789abcdef | dd of="$file" bs=1 seek=5000 conv=notrunc status=none
  run cairn check --dir "$data"
  [ "$status" -eq 9 ]
  [[ $output == *"main: corrupt: "*"$file: the stream is damaged at byte "* ]] || { echo "$output"; false; }
  cairn_start
  run cairn get k1
  [ "$status" -eq 9 ]
  cairn_stop
  was=$(sha256sum <"$file")
  run cairn repair --dir "$data"
  [ "$status" -eq 0 ] || { echo "$output"; false; }
  [[ $output =~ main:\ repaired:\ ([0-9]+)\ keys\ kept\ of\ 20[0-2] ]] || { echo "$output"; false; }
  kept=${BASH_REMATCH[1]}
  [ "$kept" -ge 100 ]
  [ "$(cat "$data"/lost+found/main-*[0-9]/checkpoint | sha256sum)" = "$was" ]
  grep -E 'bytes [0-9]+ to [0-9]+ of the checkpoint: they are damaged' "$data"/lost+found/main-*.lost
  cairn check --dir "$data"
  cairn_start
  [ "$(cairn get tail)" = 1 ]
  n=0
  for i in {1..200}; do
    cairn get "k$i" >"$cairn_root/got" 2>/dev/null || continue
    [ "$(cat "$cairn_root/got")" = "$(sed -n "s/^put k$i //p" "$cairn_root/puts")" ]
    n=$((n + 1))
  done
  [ "$n" -ge 100 ] && [ "$n" -lt 200 ]
  cairn check
  cairn put k1 again
  cairn_kill
  cairn_start
  [ "$(cairn get k1)" = again ]
}

@test "a checkpoint that was cut, or is rubbish, is repaired as far as it goes" {
  start -o journal.max=64K
  for i in {1..60}; do echo "put k$i $(printf "%04000d" "$i")"; done | cairn shell >/dev/null
  until_true has_checkpoint
  cairn_stop
  file=$(echo "$data"/volumes/main-*/checkpoint)
  for size in 100 0; do
    truncate -s "$size" "$file"
    run cairn check --dir "$data"
    [ "$status" -eq 9 ] || { echo "$output"; false; }
    [[ $output == *"main: corrupt: "*"$file: "* ]] || { echo "$output"; false; }
    run cairn repair --dir "$data"
    [ "$status" -eq 0 ] || { echo "$output"; false; }
    cairn check --dir "$data"
    cairn_start
    cairn put "new$size" 1
    cairn check
    cairn_stop
  done
}

@test "what cannot be kept is not promised" {
  start
  run cairn volume create other --engine memory durable=yes sync=no
  [ "$status" -eq 10 ] || { echo "$output"; false; }
  run cairn volume create other --engine memory durable=yes through=yes
  [ "$status" -eq 10 ]
  run cairn volume create other --engine memory durable=yes limit=1000000
  [ "$status" -eq 10 ]
  [[ $output == *quota* ]] || { echo "$output"; false; }
  cairn volume create other --engine memory durable=yes quota=1M
}
