#!/usr/bin/env bats
# check --dir and repair --dir of a node whose journal holds what the engines have not got yet, or is damaged.
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

# only_in_journal [HOW]: keys k1 to k6, the node ended by HOW, and then the engine as it was before them: they are
# in the journal alone.
only_in_journal() {
  cairn put k0 v0
  cairn_stop
  cp -a "$data/volumes" "$cairn_root/before"
  cairn_start
  for i in {1..6}; do cairn put "k$i" "v$i"; done
  "${1:-cairn_kill}"
  rm -r "$data/volumes"
  mv "$cairn_root/before" "$data/volumes"
}

# The file and the offset of the batch that has the put of KEY.
place() {
  cairn --json journal dump --dir "$data" | jq -rs --arg key "$1" '(map(select(.args.key? == $key)) | last.batch) as $b |
    map(select(.at != null and .batch == $b)) | last | "\(.segment) \(.at)"'
}

# Damage the batch with the put of KEY.
damage() {
  read -r segment at < <(place "$1")
  file=$data/journal/$segment
  flip "$file" $((at + 120))
}

@test "check of a folder sees what the journal alone has" {
  only_in_journal
  before=$(cat "$data"/journal/* | sha256sum)
  run cairn check --dir "$data"
  [ "$status" -eq 0 ] || { echo "$output"; false; }
  [[ $output == *"$data/journal: sound: "* && $output == *"main: sound: 7 keys "* ]] || { echo "$output"; false; }
  run cairn repair --dir "$data"
  [ "$status" -eq 0 ]
  [ ! -e "$data/lost+found" ]
  [ "$(cat "$data"/journal/* | sha256sum)" = "$before" ]
  cairn_start
  [ "$(cairn get k6)" = v6 ]
}

@test "a volume that was being made when its node died is there after a check" {
  cairn volume create second --engine "$engine"
  cairn put -V second k v
  cairn_kill
  cairn check --dir "$data"
  cairn_start
  [ "$(cairn get -V second k)" = v ]
}

@test "a journal whose files are gone is told of" {
  cairn put k v
  cairn_stop
  run cairn check --dir "$data"
  [[ $output != *"newest writes may be missing"* ]] || { echo "$output"; false; }
  cairn_start
  cairn_kill
  run grep "newest writes may be missing" "$cairn_root/n1/log"
  [ "$status" -eq 1 ]
  rm "$data"/journal/*
  run cairn check --dir "$data"
  [[ $output == *"journal: it is empty, and volumes had one: their newest writes may be missing"* ]] || { echo "$output"; false; }
  cairn_start
  grep 'level=warn msg="the journal is empty, and volumes had one: their newest writes may be missing"' "$cairn_root/n1/log"
}

@test "damage in what the engines have costs nothing" {
  for i in {1..6}; do cairn put "k$i" "v$i"; done
  cairn_stop
  damage k3
  run cairn check --dir "$data"
  [ "$status" -eq 9 ]
  [[ $output == *"journal: corrupt: the journal $file is damaged at offset $at"* && $output == *"main: sound: 6 keys"* ]] || { echo "$output"; false; }
  was=$(sha256sum <"$file")
  run cairn repair --dir "$data"
  [ "$status" -eq 0 ] || { echo "$output"; false; }
  [[ $output == *"plan: no gap is left"*"journal: repaired"* ]] || { echo "$output"; false; }
  [ "$(cat "$data"/lost+found/journal-*[0-9]/"${file##*/}" | sha256sum)" = "$was" ]
  cairn check --dir "$data"
  cairn_start
  for i in {1..6}; do [ "$(cairn get "k$i")" = "v$i" ]; done
  cairn put k7 v7
  cairn_kill
  cairn_start
  [ "$(cairn get k7)" = v7 ]
}

@test "a volume that only the journal knows of keeps all that follows on its engine" {
  for i in {1..4}; do cairn put "k$i" "v$i"; done
  until [ "$(cairn --json journal | jq -s '[.. | objects | select(.name? == "main") | .flushed] | max // 0')" -ge 4 ]; do sleep 0.05; done
  cp -a "$data/volumes" "$cairn_root/before"
  for i in 5 6; do cairn put "k$i" "v$i"; done
  cairn_kill
  rm -r "$data/volumes" "$cairn_root/before/_system"
  mv "$cairn_root/before" "$data/volumes"
  damage k2
  run cairn repair --dir "$data"
  [ "$status" -eq 0 ] || { echo "$output"; false; }
  [[ $output == *"plan: main: entries 5 to 6 are kept"*"plan: no gap is left"*"main: sound: 6 keys"* ]] || { echo "$output"; false; }
  cairn_start
  for i in {1..6}; do [ "$(cairn get "k$i")" = "v$i" ]; done
}

@test "damage in what the engines have not got: what follows on them is kept, the rest is listed" {
  only_in_journal
  damage k3
  run cairn repair --dir "$data"
  [ "$status" -eq 0 ] || { echo "$output"; false; }
  [[ $output == *"${file##*/}: 512 bytes at offset $at cannot be read: batch "* ]] || { echo "$output"; false; }
  [[ $output == *"plan: main: 4 entries are lost, listed in journal-"* ]] || { echo "$output"; false; }
  [[ $output == *"plan: main: entries 2 to 3 are kept"*"main: sound: 3 keys"* ]] || { echo "$output"; false; }
  run cat "$data"/lost+found/journal-*.lost
  [[ $output == *"main: entry 4: damaged, and"* && $output == *"main: entry 5: put k4: what comes before it is lost"* ]] || { echo "$output"; false; }
  cairn_start
  [ "$(cairn get k2)" = v2 ]
  for i in 3 4 5 6; do
    run cairn get "k$i"
    [ "$status" -eq 1 ]
  done
  cairn put k3 again
  cairn_kill
  cairn_start
  [ "$(cairn get k3)" = again ]
}

@test "damage of the newest batch that was synced" {
  only_in_journal cairn_stop # which marks it as synced
  damage k6
  run cairn repair --dir "$data"
  [ "$status" -eq 0 ] || { echo "$output"; false; }
  grep 'it seems to hold entry 7 of main: put' "$data"/lost+found/journal-*.lost
  cairn_start
  [ "$(cairn get k5)" = v5 ]
  run cairn get k6
  [ "$status" -eq 1 ]
}

@test "a torn tail needs no repair" {
  only_in_journal
  read -r segment at < <(place k6)
  size=$(stat -c %s "$data/journal/$segment")
  truncate -s $((at + 100)) "$data/journal/$segment"
  truncate -s "$size" "$data/journal/$segment" # zeros: that they were not written is all that a crash can do
  run cairn check --dir "$data"
  [ "$status" -eq 0 ] || { echo "$output"; false; }
  [[ $output == *"its end was torn off by a crash: cut at offset $at"*"main: sound: 6 keys"* ]] || { echo "$output"; false; }
  cairn repair --dir "$data"
  [ ! -e "$data/lost+found" ]
  cairn_start
  [ "$(cairn get k5)" = v5 ]
}

@test "a file that was made shorter is no crash's doing: check and the log say what is gone, repair keeps the rest" {
  only_in_journal
  for cut in 100 0; do # within a batch, and just before one
    read -r segment at < <(place k4)
    cp -a "$data" "$cairn_root/whole"
    size=$(stat -c %s "$data/journal/$segment")
    truncate -s $((at + cut)) "$data/journal/$segment"
    gone="$segment is shorter than it was, which no crash does: $((at + cut)) bytes are left of $size; cut at offset $at, $((size - at)) bytes dropped"
    run cairn journal check --dir "$data"
    [ "$status" -eq 9 ] || { echo "$output"; false; }
    [[ $output == *"$gone"* && $output != *": sound:"* ]] || { echo "$output"; false; }
    run cairn journal dump --dir "$data"
    [ "$status" -eq 9 ]
    [[ $output == *" at $((at + cut)): damaged: $((size - at - cut)) bytes"* ]] || { echo "$output"; false; }
    run cairn check --dir "$data"
    [ "$status" -eq 9 ]
    [[ $output == *"journal: corrupt: "*"$gone"*"main: sound: 4 keys"* ]] || { echo "$output"; false; }
    cp -a "$data" "$cairn_root/cut"
    run cairn repair --dir "$data"
    [ "$status" -eq 0 ] || { echo "$output"; false; }
    [[ $output == *"plan: main: entries 2 to 4 are kept"*"journal: repaired"*"main: sound: 4 keys"* ]] || { echo "$output"; false; }
    grep "$segment: $((size - at - cut)) bytes at offset $((at + cut))" "$data"/lost+found/journal-*.lost
    cairn check --dir "$data"
    rm -r "$data"
    mv "$cairn_root/cut" "$data"
    cairn_start # goes on with what is left
    grep "level=warn msg=\".*$gone" "$cairn_root/n1/log"
    [ "$(cairn get k3)" = v3 ]
    run cairn get k4
    [ "$status" -eq 1 ]
    cairn_stop
    cairn check --dir "$data"
    rm -r "$data"
    mv "$cairn_root/whole" "$data"
  done
}

@test "a folder that has the name of a file of the journal is told of, and repair moves it away" {
  cairn put k0 v0
  cairn_stop
  mkdir "$data/journal/00000000000000ff.seg" "$data/journal/other.seg"
  run cairn journal check --dir "$data"
  [ "$status" -eq 9 ]
  [[ $output == *"$data/journal/00000000000000ff.seg is a folder, and has the name of a file of the journal"* ]] || { echo "$output"; false; }
  run cairnd -d "$data" -s "$cairn_root/n1/sock"
  [ "$status" -eq 9 ]
  [[ $output == *"00000000000000ff.seg is a folder"* ]] || { echo "$output"; false; }
  run cairn repair --dir "$data"
  [ "$status" -eq 0 ] || { echo "$output"; false; }
  [ -n "$(find "$data/lost+found" -type d -name 00000000000000ff.seg)" ]
  cairn_start
  [ "$(cairn get k0)" = v0 ]
}

@test "an engine is repaired, and the journal goes on from it" {
  for i in {1..5}; do text 3000 | tee "$cairn_root/last" | cairn put "r$i" -; done
  cairn_stop && cairn_start && cairn_stop # into a table
  cairn_start
  only_in_journal
  spoil "$data/volumes" "$(tail -c 1500 "$cairn_root/last" | head -c 30)"
  run cairn repair --dir "$data"
  [ "$status" -eq 0 ] || { echo "$output"; false; }
  [[ $output == *"main: repaired: "* ]] || { echo "$output"; false; }
  cairn_start
  for i in {1..6}; do [ "$(cairn get "k$i")" = "v$i" ]; done
  cairn check
}

@test "an engine that stands before the journal begins is repaired, and the gap is listed" {
  cairn put k0 v0
  cairn_stop
  cp -a "$data/volumes" "$cairn_root/before"
  cairn_start
  for i in 1 2 3; do cairn put "k$i" v; done
  cairn_stop && cairn_start
  for i in 4 5; do cairn put "k$i" v; done
  cairn_kill
  rm -r "$data/volumes"
  mv "$cairn_root/before" "$data/volumes"
  for file in $(ls "$data"/journal/*.seg | head -n -1); do rm "$file"; done
  run cairn check --dir "$data"
  [ "$status" -eq 9 ]
  [[ $output == *"the engine stands at entry 1 and the journal begins at entry 5"* ]] || { echo "$output"; false; }
  run cairn repair --dir "$data"
  [ "$status" -eq 0 ] || { echo "$output"; false; }
  grep 'commands 2 to 4: neither the store nor the journal has them' "$data"/lost+found/main-*.lost
  cairn_start
  [ "$(cairn get k0)" = v0 ]
  [ "$(cairn get k5)" = v ]
  cairn check
}
