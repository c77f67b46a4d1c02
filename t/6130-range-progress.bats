# Parts of values, and what a terminal is told while long values are on their way.
# shellcheck disable=SC2154  # $output, $stderr and $status are bats'
bats_require_minimum_version 1.5.0

setup() {
  load lib/cairn.bash
  load lib/golden.bash
  cd "$cairn_root"
  cairn_node -o volume.engine=memory -o volume.history=8
}

@test "get --range gives a part of a value, as now and as it was" {
  cairn put k 0123456789
  cairn put k abc
  [ "$(cairn get --range 0-1 k)" = ab ]
  [ "$(cairn get --range 1- k)" = bc ]
  [ "$(cairn get --range -2 k)" = bc ]
  [ "$(cairn get --range=-1 k)" = c ]
  [ "$(cairn get --range 2-99 k)" = c ]
  [ "$(cairn get --range -99 k)" = abc ]
  [ -z "$(cairn get --range 3-9 k)" ]
  [ -z "$(cairn get --range -0 k)" ]
  [ "$(cairn get --range 2-4 --revision 1 k)" = 234 ]
  [ "$(cairn get --range -3 --revision 1 k)" = 789 ]
  [ "$(cairn --json get --range -2 k)" = '{"key":"k","revision":2,"offset":1,"size":3,"value":"bc"}' ]
  for wrong in 5 3-2 a-b -x 1-2-3 - 0-18446744073709551615 99999999999999999999999-; do
    run cairn get --range "$wrong" k
    [ "$status" -eq 2 ]
    [[ "$output" == "cairn: invalid: '$wrong' is no range of bytes"$'\n'"hint: ranges look like "* ]]
  done
  run cairn get --range -1 nothing
  [ "$status" -eq 1 ]
}

@test "a long part has the bytes of the value at that place" {
  head -c 5000000 /dev/urandom >v
  cairn put k @v
  cairn get --range 1000001-4200000 k | cmp - <(tail -c +1000002 v | head -c 3200000)
  cairn get --range -3000000 k | cmp - <(tail -c 3000000 v)
}

@test "long values show their progress on a terminal, and only there" {
  requires_program script
  head -c 3000000 /dev/zero >v
  # A source, and a reader, that take more than a second.
  run terminal '(cat v; sleep 1.3; cat v v) | cairn put k -'
  [[ "$output" =~ sent\ [0-9.]+\ MiB ]]
  [[ "$output" == *"revision 1"* ]]
  run terminal 'cairn get k | (sleep 1.3; cat) | wc -c'
  [[ "$output" =~ received\ [0-9.]+\ MiB\ of\ 8\.6\ MiB ]]
  [[ "$output" == *9000000* ]]
  (sleep 1.3; cat v v) | cairn put k - 2>err
  cairn get k 2>>err | (sleep 1.3; wc -c)
  [ ! -s err ]
}
