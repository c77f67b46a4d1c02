#!/usr/bin/env bats
# The journal below the volumes: what was answered is in it, and comes back from it.

setup() {
  load lib/cairn.bash
  load lib/engines.bash
  requires_engine "$engine"
  requires_program cairn
  cairn_node -o "volume.engine=$engine" "${OPTIONS[@]}"
  segments=$cairn_root/n1/data/journal
}

digest() { printf '{"id":1,"op":"digest","args":{}}\n' | timeout 10 cairn proxy | sed -nE 's/.*"digest":"([0-9a-f]+)".*/\1/p'; }
newest() { ls "$segments"/*.seg | tail -n 1; }
flip() { # FILE OFFSET: flip the lowest bit of that byte
  local byte
  byte=$(od -An -tu1 -j "$2" -N 1 "$1")
  printf "\\x$(printf %02x $((byte ^ 1)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

@test "what was answered comes back from the journal after kill -9, and the log says so" {
  for i in {1..300}; do echo "put k$i v$i"; done | cairn shell >/dev/null
  cairn volume create second --engine "$engine"
  cairn put -V second other 1
  was=$(digest)
  [ -n "$was" ]
  cairn_kill
  cairn_start
  [ "$(cairn get k300)" = v300 ]
  [ "$(cairn get -V second other)" = 1 ]
  [ "$(digest)" = "$was" ]
  grep -q 'msg="the journal was replayed" volume=' "$cairn_root/n1/log"
  cairn check
}

@test "after a clean stop there is nothing to replay" {
  cairn put k v
  cairn_stop
  : >"$cairn_root/n1/log"
  cairn_start
  [ "$(cairn get k)" = v ]
  run grep replayed "$cairn_root/n1/log"
  [ "$status" -eq 1 ]
}

@test "a volume that was dropped leaves nothing behind, one of the same name begins anew" {
  cairn volume create second --engine "$engine"
  cairn put -V second k 1
  cairn volume drop second --confirm second
  cairn volume create second --engine "$engine"
  cairn_kill
  cairn_start
  run cairn get -V second k
  [ "$status" -eq 1 ]
}

@test "a torn end of the journal is cut, and the log says file, offset and bytes" {
  cairn put a 1
  head -c 4000 /dev/urandom >"$cairn_root/value"
  cairn_kill
  cairn_start
  cairn put b @"$cairn_root/value"
  cairn_kill
  # Cut into the batch that has the value: zeros stand behind it, so it ends with the last byte that is none.
  file=$(newest)
  size=$(od -An -v -tx1 -w512 "$file" | grep -n '[1-9a-f]' | tail -n 1 | cut -d: -f1)
  while od -An -v -tx1 -j $((size * 512 - 512)) -N 512 "$file" | grep -q '^ 43 4e 4a 42'; do size=$((size - 1)); done
  full=$(stat -c %s "$file")
  truncate -s $((size * 512 - 512)) "$file"
  truncate -s "$full" "$file"
  cairn_start
  grep -E "level=warn .*$file: its end was torn off by a crash: cut at offset [0-9]+, [0-9]+ bytes dropped" "$cairn_root/n1/log"
  [ "$(cairn get a)" = 1 ]
  cairn put b 2
  [ "$(cairn get b)" = 2 ]
}

@test "a bit flipped in what was synced is refused by file and offset" {
  cairn put a 1
  cairn put b 2
  cairn_kill
  file=$(newest)
  flip "$file" 600
  run cairnd --data "$cairn_root/n1/data" --socket "$cairn_root/n1/socket" --name n1
  [ "$status" -eq 9 ] || { echo "$output"; false; }
  [[ "$output" == *"corrupt: the journal $file is damaged at offset 512"* ]] || { echo "$output"; false; }
}

@test "through=yes needs no journal: the engine has every write" {
  cairn volume create second --engine "$engine" through=yes
  cairn put -V second k 1
  cairn_kill
  : >"$cairn_root/n1/log"
  cairn_start
  [ "$(cairn get -V second k)" = 1 ]
  run grep 'replayed" volume=second' "$cairn_root/n1/log"
  [ "$status" -eq 1 ]
}
