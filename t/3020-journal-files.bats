#!/usr/bin/env bats
# A journal as people see it: of a running node, and the files of one that does not run.
# shellcheck disable=SC2154  # $output and $status are bats'

setup() {
  load lib/cairn.bash
  load lib/engines.bash
  requires_engine "$engine"
  requires_program cairn
  requires_program jq
  cairn_node -o "volume.engine=$engine"
  data=$cairn_root/n1/data
}

flip() { # FILE OFFSET: flip the lowest bit of that byte
  local byte
  byte=$(od -An -tu1 -j "$2" -N 1 "$1")
  printf "\\x$(printf %02x $((byte ^ 1)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

@test "cairn journal says what a running node keeps for which volume" {
  for i in {1..5}; do cairn put "k$i" v >/dev/null; done
  cairn --json journal >"$cairn_root/journal"
  run jq -r '.volumes[] | select(.name == "main") | "\(.newest) \(.newest - .first < 5) \(.flushed <= .newest)"' "$cairn_root/journal"
  [ "$output" = "5 true true" ] || { cat "$cairn_root/journal"; false; }
  [ "$(jq -r .path "$cairn_root/journal")" = "$data/journal" ]
  [ "$(jq .durable "$cairn_root/journal")" -ge 6 ]
  run cairn journal
  [[ ${lines[0]} == "$data/journal: 1 segment, "* ]] || { echo "$output"; false; }
  [[ ${lines[1]} == VOLUME*FIRST*NEWEST*FLUSHED*HELD*OVERLAY ]]
}

@test "journal check and dump need a folder that nobody uses, and change nothing" {
  cairn put a 1
  run cairn journal check
  [ "$status" -eq 2 ]
  run cairn journal check --dir "$data"
  [ "$status" -eq 5 ] || { echo "$output"; false; }
  cairn_kill
  before=$(cat "$data"/journal/* "$data"/volumes/*/* | sha256sum)
  run cairn journal check --dir "$data"
  [ "$status" -eq 0 ]
  [[ $output == "$data/journal: sound: 1 segment, "* ]] || { echo "$output"; false; }
  cairn journal dump --dir "$data" >/dev/null
  [ "$(cat "$data"/journal/* "$data"/volumes/*/* | sha256sum)" = "$before" ]
}

@test "a dump has every entry with its operation, key, author and time, and no value" {
  cairn put 'a/b' 'nobody reads this'
  printf 'x' | cairn put $'odd\xff' -
  cairn del a/b
  cairn volume create second --engine "$engine"
  cairn put -V second other 'nor this'
  cairn_kill
  cairn --json journal dump --dir "$data" >"$cairn_root/dump"
  jq -es 'map(select(.shard != null and (.shard | startswith("main-")) and .record == "entry")) |
    (map(.op) == ["put", "put", "del"]) and (map(.index) == [1, 2, 3]) and (.[0].args.key == "a/b") and
    (.[1].args.key_base64 == "b2Rk/w==") and all(.args.author | contains("@n1")) and all(.args.time | startswith("20"))' "$cairn_root/dump"
  run grep -E 'nobody reads|nor this' "$cairn_root/dump"
  [ "$status" -eq 1 ]
  run cairn journal dump --dir "$data"
  [[ $output == *"entry main-"*" index 3 term 1, "*" bytes: del {"*'"key":"a/b"}'* ]] || { echo "$output"; false; }
  run cairn -V second journal dump --values --dir "$data"
  [[ $output == *'"key":"other","value":"nor this"'* ]] || { echo "$output"; false; }
  [[ $output != *main-* ]]
}

@test "journal check names file and offset of damage, and a dump goes on behind it" {
  for i in {1..4}; do cairn put "k$i" v; done
  cairn_kill
  file=$(ls "$data"/journal/*.seg)
  at=$(cairn --json journal dump --dir "$data" | jq -r 'select(.record == "entry" and .args.key == "k2") | .batch' |
    { read -r batch; cairn --json journal dump --dir "$data" | jq -r "select(.at != null and .batch == $batch) | .at"; })
  flip "$file" $((at + 100))
  run cairn journal check --dir "$data"
  [ "$status" -eq 9 ]
  [[ $output == *"$file is damaged at offset $at"* ]] || { echo "$output"; false; }
  run cairn journal dump --dir "$data"
  [ "$status" -eq 9 ]
  [[ $output == *" at $at: damaged: 512 bytes"* ]] || { echo "$output"; false; }
  [[ $output == *'"key":"k1"'* && $output == *'"key":"k4"'* && $output != *'"key":"k2"'* ]] || { echo "$output"; false; }
}

@test "metrics show the journal, what its syncs take, and what each volume keeps" {
  for i in {1..5}; do cairn put "k$i" v >/dev/null; done
  cairn metrics >"$cairn_root/metrics"
  value() { sed -n "s/^$1 //p" "$cairn_root/metrics"; }
  syncs=$(value cairn_journal_sync_seconds_count)
  [ "$syncs" -ge 6 ]
  [ "$(value 'cairn_journal_sync_seconds_bucket{le="+Inf"}')" = "$syncs" ]
  [ "$(value cairn_journal_batches_total)" -le "$syncs" ]
  [ "$(value cairn_journal_entries_total)" -ge 6 ]
  [ "$(value cairn_journal_segments)" = 1 ]
  [ "$(value cairn_journal_disk_bytes)" -ge "$(value cairn_journal_bytes_total)" ]
  grep -E '^cairn_journal_held_bytes\{volume="main"\} [0-9]+$' "$cairn_root/metrics"
  grep -E '^cairn_overlay_bytes\{volume="_system"\} [0-9]+$' "$cairn_root/metrics"
  grep -E '^cairn_overlay_flushes_total\{volume="main"\} [0-9]+$' "$cairn_root/metrics"
}
