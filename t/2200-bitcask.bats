# What a node says and does when files of engine-bitcask are damaged, and what its parameters do. u-bitcask and
# u-bitcask-crash try every kind of damage on the engine alone; here a person meets some of them.

setup() {
  load lib/cairn.bash
  requires_engine bitcask
  requires_program cairn
  cairn_node -o volume.engine=bitcask -o volume.through=yes
  for i in 1 2 3 4 5; do
    head -c 3000 /dev/urandom >"$cairn_root/k$i"
    cairn put "k$i" - <"$cairn_root/k$i"
  done
  cd "$(echo "$cairn_root"/n1/data/volumes/main-*)" || return 1
}

teardown() { cairn_cleanup; }

newest() { ls -- *."$1" | tail -n 1; }
flip() { # FILE OFFSET: flip the lowest bit of that byte
  local byte
  byte=$(od -An -tu1 -j "$2" -N 1 "$1")
  printf "\\x$(printf %02x $((byte ^ 1)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
# The first keys are there, byte for byte; the next one is not.
holds() {
  for ((i = 1; i <= $1; i++)); do cairn get "k$i" | cmp - "$cairn_root/k$i" || return 1; done
  [ "$1" -eq 5 ] || ! cairn stat "k$(($1 + 1))" 2>/dev/null
}
# The volume is refused as corrupt; the sentence has all of the words; nothing in the folder changed.
refused() {
  local before
  before=$(cat -- *.data MANIFEST 2>/dev/null | md5sum)
  cairn_start
  run cairn get k1
  [ "$status" -eq 9 ] || { echo "$output"; false; }
  for word in "$@"; do [[ "$output" == *"$word"* ]] || { echo "$output lacks $word"; false; }; done
  run cairn status
  [[ "$output" == *"$1"* ]] || { echo "$output"; false; }
  [ "$(cat -- *.data MANIFEST 2>/dev/null | md5sum)" = "$before" ]
}
@test "a torn last batch is cut, and the log says file, offset and bytes" {
  local file
  cairn_kill
  file=$(newest data)
  truncate -s -10 "$file"
  cairn_start
  grep -E "level=warn .*$file: .* cut at offset [0-9]+, [0-9]+ bytes dropped.* volume=main" "$cairn_root/n1/log"
  holds 4
  cairn put k5 - <"$cairn_root/k5"
  cairn_kill
  cairn_start
  holds 5
}

@test "zeros behind the last batch are cut, and every batch is there" {
  local file
  cairn_kill
  file=$(newest data)
  truncate -s +4M "$file"
  cairn_start
  grep -F "$file: its end was torn off by a crash" "$cairn_root/n1/log" | grep -F '4194304 bytes dropped'
  holds 5
}

@test "a bit flipped in the middle of the active file is refused by file and offset" {
  cairn_kill
  flip "$(newest data)" 5000
  refused "$(newest data)" "damaged at offset"
}

@test "a lost data file is refused by its name" {
  local file
  cairn_kill
  file=$(newest data)
  rm "$file"
  refused "$file is missing"
}

@test "without the MANIFEST nothing is made anew over the old files" {
  cairn_kill
  rm MANIFEST
  refused "MANIFEST is missing"
}

@test "after a clean end a flipped bit is told by the read that meets it, with file and offset" {
  cairn_stop
  [ -e "$(newest hint)" ]
  flip "$(newest data)" 5000
  cairn_start
  local told=0
  for i in 1 2 3 4 5; do
    if cairn get "k$i" >"$cairn_root/got" 2>"$cairn_root/error"; then
      cmp "$cairn_root/got" "$cairn_root/k$i"
    else
      grep -E "corrupt: .*$(newest data) is damaged at offset [0-9]+" "$cairn_root/error"
      told=$((told + 1))
    fi
  done
  [ "$told" -ge 1 ]
}

@test "hints may go, also all of them" {
  cairn_stop
  rm -- *.hint
  cairn_start
  holds 5
}

@test "what was overwritten goes with the next compaction" {
  cairn volume create small --engine bitcask history=0
  for i in 1 2 3 4 5; do head -c 1000000 /dev/urandom | cairn -V small put big -; done
  cairn -V small del big
  cairn -V small put k v
  cairn -V small compact
  [ "$(cat -- ../small-*/*.data | wc -c)" -lt 100000 ] || { ls -l -- ../small-*; false; }
  cairn_kill
  cairn_start
  [ "$(cairn -V small get k)" = v ]
  ! cairn -V small get big
}

@test "compression makes values smaller on the disk, and may change from start to start" {
  grep -q '^#define HAVE_ZSTD 1' "$CAIRN_BUILD/config.h" || skip "this build has no zstd"
  local plain packed
  yes 'the same line' | head -c 15000 >"$cairn_root/text"
  cairn volume create plain --engine bitcask
  cairn volume create packed --engine bitcask compression=yes
  for i in $(seq 20); do
    cairn -V plain put "t$i" - <"$cairn_root/text"
    cairn -V packed put "t$i" - <"$cairn_root/text"
  done
  cairn_stop
  plain=$(cat -- ../plain-*/*.data | wc -c)
  packed=$(cat -- ../packed-*/*.data | wc -c)
  [ "$packed" -lt $((plain / 4)) ] || { echo "$plain $packed"; false; }
  cairn_start
  for i in 1 20; do cairn -V packed get "t$i" | cmp - "$cairn_root/text"; done
}

@test "check finds a damaged value, and repair keeps the rest" {
  cairn_stop
  run cairn check --dir "$cairn_root/n1/data"
  [ "$status" -eq 0 ] || { echo "$output"; false; }
  flip "$(newest data)" 5000
  run cairn check --dir "$cairn_root/n1/data"
  [ "$status" -eq 9 ] || { echo "$output"; false; }
  run cairn repair --dir "$cairn_root/n1/data"
  [ "$status" -eq 0 ] || { echo "$output"; false; }
  [[ "$output" == *"main: repaired: "*" keys kept"* ]] || { echo "$output"; false; }
  cd /
  cairn_start
  local left=0
  for i in 1 2 3 4 5; do
    if cairn get "k$i" >"$cairn_root/got"; then
      cmp "$cairn_root/got" "$cairn_root/k$i"
      left=$((left + 1))
    fi
  done
  [ "$left" -ge 4 ]
  cairn check
}

@test "a folder that lost a file is repaired" {
  cairn_stop
  rm MANIFEST
  run cairn repair --dir "$cairn_root/n1/data"
  [ "$status" -eq 0 ] || { echo "$output"; false; }
  cd /
  cairn_start
  holds 5
  cairn check
}
