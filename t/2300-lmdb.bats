# What a person meets with engine-lmdb: its limits, its stats, damaged files. u-lmdb tries the engine alone.

setup() {
  load lib/cairn.bash
  requires_engine lmdb
  requires_program cairn
}

teardown() { cairn_cleanup; }

start() {
  cairn_node -o volume.engine=lmdb "$@"
  volume=$(echo "$cairn_root"/n1/data/volumes/main-*)
}
# Write over byte OFFSET of the data file FILE.
spoil() { # FILE OFFSET
  printf '\xff' | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

@test "a key has at most 510 bytes, and the volume says so" {
  local longest
  start
  longest=$(printf 'k%.0s' {1..510})
  cairn put "$longest" v
  [ "$(cairn get "$longest")" = v ]
  run cairn put "${longest}k" v
  [ "$status" -eq 8 ] || { echo "$status $output"; false; }
  [[ "$output" == *510* ]]
  cairn_kill
  cairn_start
  [ "$(cairn get "$longest")" = v ]
}

@test "values of any size, and what was acknowledged is there after a kill" {
  start
  head -c 3000000 /dev/urandom >"$cairn_root/large"
  cairn put large - <"$cairn_root/large"
  for i in {1..50}; do cairn put "small/$i" "$i"; done
  cairn_kill
  cairn_start
  cairn get large | cmp - "$cairn_root/large"
  for i in {1..50}; do [ "$(cairn get "small/$i")" = "$i" ]; done
  cairn check
}

@test "compact shrinks the file while the volume serves" {
  local before
  start -o volume.history=0
  head -c 200000 /dev/urandom >"$cairn_root/value"
  for i in {1..40}; do cairn put "k$i" - <"$cairn_root/value"; done
  for i in {2..40}; do cairn del "k$i"; done
  cairn compact
  before=$(stat -c %s "$volume"/*.mdb)
  [ -e "$volume/2.mdb" ]
  [ ! -e "$volume/1.mdb" ]
  [ "$before" -lt 2000000 ] || { echo "$before"; false; }
  cairn get k1 | cmp - "$cairn_root/value"
  cairn put after v
  cairn_kill
  cairn_start
  [ "$(cairn get after)" = v ]
  cairn get k1 | cmp - "$cairn_root/value"
}

@test "a file that is cut off is refused with file and offset, and not touched" {
  local sum
  start -o volume.through=yes
  for i in {1..20}; do head -c 3000 /dev/urandom | cairn put "k$i" -; done
  cairn_kill
  truncate -s 30000 "$volume/1.mdb"
  sum=$(md5sum <"$volume/1.mdb")
  cairn_start
  run cairn get k1
  [ "$status" -eq 9 ] || { echo "$output"; false; }
  [[ "$output" == *"1.mdb: damaged at offset 30000: the file ends there"* ]] || { echo "$output"; false; }
  [ "$(md5sum <"$volume/1.mdb")" = "$sum" ]
}

@test "a damaged page is told by read and check with file and offset, and repair keeps the rest" {
  local page
  start -o volume.through=yes
  for i in {1..60}; do cairn put "k$i" "$(head -c 300 /dev/urandom | base64 -w 0)"; done
  cairn put k30 "a value that is found"
  cairn compact # no old page has it
  cairn_stop
  page=$(($(grep -obUa 'a value that is found' "$volume/2.mdb" | head -n 1 | cut -d: -f1) / 4096))
  spoil "$volume/2.mdb" $((page * 4096 + 10)) # the flags in the page's head
  cairn_start
  run cairn get k30
  [ "$status" -eq 9 ] || { echo "$status $output"; false; }
  [[ "$output" == *"2.mdb: damaged at offset $((page * 4096)): "* ]] || { echo "$output"; false; }
  run cairn check
  [ "$status" -eq 9 ] || { echo "$status $output"; false; }
  [[ "$output" == *"2.mdb: damaged at offset $((page * 4096)): "* ]] || { echo "$output"; false; }
  cairn_stop
  run cairn check --dir "$cairn_root/n1/data"
  [ "$status" -eq 9 ]
  [[ "$output" == *"2.mdb: damaged at offset $((page * 4096)): "* ]] || { echo "$output"; false; }
  run cairn repair --dir "$cairn_root/n1/data"
  echo "$output"
  [[ "$output" == *repaired* ]]
  cairn_start
  cairn check
  [ "$(cairn ls | wc -l)" -ge 40 ]
}

@test "a stream whose reader is slow is cut off at held-max, and the file stays bounded" {
  start -o volume.parameters=held-max=8M -o volume.history=0
  head -c 100000 /dev/urandom >"$cairn_root/value"
  for i in {1..60}; do cairn put "k$i" - <"$cairn_root/value"; done
  mkfifo "$cairn_root/pipe"
  cairn snapshot save - >"$cairn_root/pipe" 2>"$cairn_root/said" &
  local saver=$!
  exec 8<"$cairn_root/pipe" # opened, and not read
  for round in {1..8}; do
    for i in {1..60}; do cairn put "k$i" - <"$cairn_root/value"; done
  done
  grep -F 'was cut off' "$cairn_root/n1/log" || cairn --json volume stats | grep -A2 readers-cut-off
  [ "$(stat -c %s "$volume/1.mdb")" -lt 60000000 ] || { stat -c %s "$volume/1.mdb"; false; }
  cat <&8 >"$cairn_root/stream"
  exec 8<&-
  run wait $saver
  cat "$cairn_root/said"
  grep -F 'cut off' "$cairn_root/said"
}

@test "zeros behind the file do no harm" {
  start -o volume.through=yes
  for i in {1..20}; do cairn put "k$i" "value $i"; done
  cairn_kill
  truncate -s +4M "$volume/1.mdb"
  cairn_start
  for i in {1..20}; do [ "$(cairn get "k$i")" = "value $i" ]; done
  cairn put k21 v
  cairn check
}

@test "a lost data file is refused by its name, and nothing is made anew" {
  start -o volume.through=yes
  cairn put k1 v
  cairn_kill
  rm "$volume/1.mdb"
  cairn_start
  run cairn get k1
  [ "$status" -eq 9 ] || { echo "$output"; false; }
  [[ "$output" == *"1.mdb is missing"* ]] || { echo "$output"; false; }
  [ ! -e "$volume/1.mdb" ]
}
