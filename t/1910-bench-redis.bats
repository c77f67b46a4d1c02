# scripts/bench redis measures a node beside redis-server.

setup() {
  load lib/cairn.bash
  load lib/resp.bash
  requires_redis
  requires_gateway
  requires_program jq
  [ -x "$CAIRN_BUILD/t/bench/resp" ] || skip "the load generator is not built"
}

bench() {
  run timeout 120 "$CAIRN_SOURCE/scripts/bench" redis --rounds 1 --seconds 0.05 --keys 500 --values 64 --clients 4 --build "$CAIRN_BUILD" \
    --json "$cairn_root/raw.json" "$@"
  [ "$status" -eq 0 ] || { echo "$output"; false; }
}

@test "bench redis prints both servers' rates and CPU by request, and their ratios" {
  bench --parts volatile,durable
  [ "$(grep -cE '^volatile (set|get) +64 +4 +(1|16) +[1-9][0-9]* .* [0-9]+\.[0-9]{2} ' <<<"$output")" -eq 4 ] || { echo "$output"; false; }
  [ "$(grep -cE '^durable +set +64 +4 +1 +[1-9][0-9]* ' <<<"$output")" -eq 1 ] || { echo "$output"; false; }
  [ "$(jq -s 'map(select(.rate > 0 and .p99_us >= .p50_us and .load <= 1.1)) | length' "$cairn_root/raw.json")" -eq 10 ] || { cat "$cairn_root/raw.json"; false; }
}

@test "bench redis prints memory by key, and calls of malloc and of the system by request" {
  bench --parts memory,mallocs,syscalls --memory-keys 5000
  [ "$(grep -cE '^memory: (redis|cairn) [1-9][0-9]* bytes a key, 5000 keys' <<<"$output")" -eq 2 ] || { echo "$output"; false; }
  grep -E '^memory: ratio [0-9]+\.[0-9]+' <<<"$output"
  if grep -q 'SAN_CFLAGS = *$' "$CAIRN_BUILD/Makefile"; then [ "$(grep -c '^mallocs: cairn [0-9.]* by [sg]et' <<<"$output")" -eq 2 ]; fi
  if strace -o /dev/null true 2>/dev/null; then [ "$(grep -cE '^syscalls: (redis|cairn) [0-9.]+ by [sg]et at pipeline 16 \(.+ [0-9]+\)' <<<"$output")" -eq 4 ]; fi
}

@test "bench redis drives redis-benchmark, too" {
  requires_program redis-benchmark
  bench --parts volatile --pipelines 16 --tool redis-benchmark
  [ "$(jq -s 'map(select(.tool == "redis-benchmark" and .rate > 0 and .load > 0)) | length' "$cairn_root/raw.json")" -eq 4 ] || { cat "$cairn_root/raw.json"; false; }
}
