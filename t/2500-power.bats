# Power failures below every durable engine, more of them than u-power has in each run.

setup() {
  load lib/cairn.bash
  power=$CAIRN_BUILD/t/unit/u-power
  [ -x "$power" ] || skip "t/unit/u-power is not built"
}

# ENGINE: some thousand seeds that no run before had.
fails_often() {
  local from=$((RANDOM * 32768 + RANDOM))
  requires_engine "$1"
  echo "from seed $from"
  run "$power" "$1" 3000 "$from"
  echo "$output"
  [ "$status" -eq 0 ]
}

# bats test_tags=slow
@test "power fails 15,000 times below engine-leveldb" { fails_often leveldb; }

# bats test_tags=slow
@test "power fails 15,000 times below engine-lmdb" { fails_often lmdb; }

# bats test_tags=slow
@test "power fails 15,000 times below engine-bitcask" { fails_often bitcask; }
