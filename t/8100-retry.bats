# shellcheck shell=bash
# Writes are repeated when their connection dies, and happen once.

setup() {
  load lib/cairn.bash
  retry=$CAIRN_BUILD/t/stress/retry
  [ -x "$retry" ] || make -s -C "$CAIRN_BUILD" t/stress/retry
}

teardown() { cairn_cleanup; }

@test "50 times SIGKILL and 12 times SIGTERM under pipelined writes: each is answered, each happened once" {
  requires_engine leveldb
  mkdir "${cairn_root:?}/retry"
  run "$retry" 62 "$cairn_root/retry" "$CAIRN_BUILD/sbin/cairnd" -o volume.engine=leveldb
  [ "$status" -eq 0 ] || { echo "$output"; false; }
}
