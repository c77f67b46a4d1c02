# What a node says and does when files of engine-leveldb are damaged. u-leveldb tries every kind of damage on the
# engine alone; here a person meets some of them.

setup() {
  load lib/cairn.bash
  requires_engine leveldb
  requires_program cairn
  cairn_node -o volume.engine=leveldb -o volume.through=yes
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
  before=$(cat -- *.log *.ldb MANIFEST-* 2>/dev/null | md5sum)
  cairn_start
  run cairn get k1
  [ "$status" -eq 9 ] || { echo "$output"; false; }
  for word in "$@"; do [[ "$output" == *"$word"* ]] || { echo "$output lacks $word"; false; }; done
  run cairn status
  [[ "$output" == *"$1"* ]] || { echo "$output"; false; }
  [ "$(cat -- *.log *.ldb MANIFEST-* 2>/dev/null | md5sum)" = "$before" ]
}

@test "a torn last batch is cut, and the log says file, offset and bytes" {
  local file
  cairn_kill
  file=$(newest log)
  truncate -s -10 "$file"
  cairn_start
  grep -E "level=warn .*$file: .* cut at offset [0-9]+, [0-9]+ bytes dropped.* volume=main" "$cairn_root/n1/log"
  holds 4
  cairn put k5 - <"$cairn_root/k5"
  cairn_kill
  cairn_start
  holds 5
}

@test "zeros behind the log are cut, and every batch is there" {
  local file
  cairn_kill
  file=$(newest log)
  truncate -s +4M "$file"
  cairn_start
  grep -F "$file: its end was torn off by a crash (zeros where a record should be)" "$cairn_root/n1/log" | grep -F '4194304 bytes dropped'
  holds 5
}

@test "a bit flipped in the middle of the log is refused by file and offset" {
  cairn_kill
  flip "$(newest log)" 5000
  refused "$(newest log)" "damaged at offset"
}

@test "a lost log is refused by its name" {
  local file
  cairn_kill
  file=$(newest log)
  rm "$file"
  refused "$file is missing"
}

@test "a truncated table is refused by its name" {
  cairn_stop
  cairn_start
  cairn_stop
  truncate -s -1 "$(newest ldb)"
  refused "$(newest ldb)" "the MANIFEST says"
}

@test "a bit flipped in a table is told by the read that meets it, with file and offset" {
  cairn_stop
  cairn_start
  cairn_stop
  flip "$(newest ldb)" 2000
  cairn_start
  local told=0
  for i in 1 2 3 4 5; do
    if cairn get "k$i" >"$cairn_root/got" 2>"$cairn_root/error"; then
      cmp "$cairn_root/got" "$cairn_root/k$i"
    else
      grep -E "corrupt: .*$(newest ldb): damaged at offset [0-9]+: a block's checksum does not match" "$cairn_root/error"
      told=$((told + 1))
    fi
  done
  [ "$told" -ge 1 ]
}

@test "without CURRENT nothing is made anew over the old files" {
  cairn_kill
  rm CURRENT
  refused "CURRENT is missing"
}
