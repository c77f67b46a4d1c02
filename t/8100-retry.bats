# shellcheck shell=bash
# Writes are repeated when their connection dies, and happen once.

setup() {
  load lib/cairn.bash
}

teardown() { cairn_cleanup; }

@test "50 times SIGKILL and 12 times SIGTERM under pipelined writes: each is answered, each happened once" {
  requires_engine leveldb
  mkdir "${cairn_root:?}/retry"
  run "$CAIRN_BUILD/t/stress/retry" 62 "$cairn_root/retry" "$CAIRN_BUILD/sbin/cairnd" -o volume.engine=leveldb
  [ "$status" -eq 0 ] || { echo "$output"; false; }
}

@test "8 clients increment shared counters over 12 times SIGKILL: the sum is what was answered" {
  requires_engine leveldb
  mkdir "${cairn_root:?}/counters"
  run "$CAIRN_BUILD/t/stress/counters" 8 12 "$cairn_root/counters" "$CAIRN_BUILD/sbin/cairnd" -o volume.engine=leveldb
  [ "$status" -eq 0 ] || { echo "$output"; false; }
}
