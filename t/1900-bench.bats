# scripts/bench measures something, and its raw lines can be read by a program.

setup() { load lib/cairn.bash; }

@test "bench node prints a row for each combination and keeps raw lines" {
  requires_engine memory
  requires_program jq
  [ -x "$CAIRN_BUILD/t/bench/load" ] || skip "the load generator is not built"
  run "$CAIRN_SOURCE/scripts/bench" node --engines memory --rounds 1 --seconds 0.05 --keys 100 --build "$CAIRN_BUILD" --json "$cairn_root/raw.json"
  [ "$status" -eq 0 ] || { echo "$output"; false; }
  [ "$(grep -cE '^memory +(json|binary) +(put|get) +(1|64) ' <<<"$output")" -eq 8 ] || { echo "$output"; false; }
  [ "$(jq -s 'map(select(.rate > 0 and .p99_us >= .p50_us and .daemon_cpu_us >= 0)) | length' "$cairn_root/raw.json")" -eq 8 ]
}

@test "bench durable prints what the disk allows, and what the node makes of it" {
  requires_engine leveldb
  [ -x "$CAIRN_BUILD/t/bench/sync" ] || skip "the program that measures the disk is not built"
  run "$CAIRN_SOURCE/scripts/bench" durable --rounds 2 --seconds 0.1 --build "$CAIRN_BUILD"
  [ "$status" -eq 0 ] || { echo "$output"; false; }
  [ "$(grep -cE '^leveldb +(sync|write|put) +(1|64) +[1-9]' <<<"$output")" -eq 4 ] || { echo "$output"; false; }
  grep -E '^one writer in the process: [0-9.]+ of what the disk allows' <<<"$output"
  grep -E '^one writer: [0-9.]+ of what the disk allows' <<<"$output"
  grep -E '^64 in flight: [0-9.]+ times one writer' <<<"$output"
}

@test "bench store prints a row for each combination, and a put or get allocates nothing" {
  requires_engine memory
  requires_program jq
  [ -x "$CAIRN_BUILD/t/bench/store" ] || skip "the program that measures the store is not built"
  run "$CAIRN_SOURCE/scripts/bench" store --rounds 1 --keys 1000 --puts 20000 --build "$CAIRN_BUILD" --json "$cairn_root/raw.json"
  [ "$status" -eq 0 ] || { echo "$output"; false; }
  [ "$(grep -cE '^memory +1000 +(0|8) +(1|64) ' <<<"$output")" -eq 4 ] || { echo "$output"; false; }
  [ "$(jq -s 'map(select(.puts_per_s > 0 and .gets_per_s > 0 and .rows_per_s > 0)) | length' "$cairn_root/raw.json")" -eq 4 ]
  if ! jq -es '.[0] | has("mallocs_per_put")' "$cairn_root/raw.json" >/dev/null; then return 0; fi # sanitizers bring their own
  [ "$(jq -s 'map(select(.history == 0 and .mallocs_per_put < 0.001 and .mallocs_per_get == 0)) | length' "$cairn_root/raw.json")" -eq 2 ] || { cat "$cairn_root/raw.json"; false; }
}

@test "bench engines prints each phase of an engine and of the bare library, with ratios" {
  requires_engine leveldb
  requires_program jq
  [ -x "$CAIRN_BUILD/t/bench/engines" ] || skip "the program that measures engines is not built"
  run "$CAIRN_SOURCE/scripts/bench" engines --engines bare-leveldb,leveldb,memory --keys 2000 --values 100 --seconds 0.05 --build "$CAIRN_BUILD" --json "$cairn_root/raw.json"
  [ "$status" -eq 0 ] || { echo "$output"; false; }
  for phase in put-sequential put-random overwrite put-synced get-hot scan get-cold; do
    grep -qE "^ *100 +2000 $phase +bare-leveldb +[0-9]+ " <<<"$output" || { echo "$phase: $output"; false; }
    grep -qE "^ *100 +2000 $phase +leveldb +[0-9]+ " <<<"$output" || { echo "$phase: $output"; false; }
  done
  [ "$(jq -s 'map(select(.phase == "disk-MiB" and .amount > 0)) | length' "$cairn_root/raw.json")" -eq 2 ]
  [ "$(jq -s 'map(select(.subject == "memory")) | length' "$cairn_root/raw.json")" -eq 6 ]
}

@test "bench without a known subcommand says how it is used" {
  run "$CAIRN_SOURCE/scripts/bench"
  [ "$status" -eq 2 ]
  [[ "$output" == *"usage: scripts/bench node"* ]]
}

@test "bench mount prints a row for each call, beside a floor" {
  requires_fuse
  requires_engine memory
  requires_program jq
  [ -x "$CAIRN_BUILD/t/bench/floor" ] || skip "the floor is not built"
  run "$CAIRN_SOURCE/scripts/bench" mount --rounds 1 --keys 100 --entries 100 --mib 1 --build "$CAIRN_BUILD" --json "$cairn_root/raw.json"
  [ "$status" -eq 0 ] || { echo "$output"; false; }
  [ "$(grep -cE '^(create|stat|read|append|rename|mkdir|unlink|ls -l cold|write MiB) +[0-9. ]+$' <<<"$output")" -eq 9 ] || { echo "$output"; false; }
  [ "$(jq -s 'map(select(.op == "stat" and .rate > 0)) | length' "$cairn_root/raw.json")" -ge 4 ]
}
