# shellcheck shell=bash
# bats file_tags=slow
# The store against its model, longer than make check does it.

setup() {
  model=$CAIRN_BUILD/t/unit/u-store-model
  [ -x "$model" ] || make -s -C "$CAIRN_BUILD" t/unit/u-store-model
}

@test "100,000 random commands: what the model says, and the same digest on every engine" {
  for seed in 101 102 103; do
    run "$model" 100000 "$seed"
    echo "$output"
    [ "$status" -eq 0 ]
  done
}
