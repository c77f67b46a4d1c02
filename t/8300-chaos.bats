#!/usr/bin/env bats
# Clusters of real nodes that are killed, stopped and started again under clients, and the play cluster.

# shellcheck disable=SC2154  # $output, $status and $cairn_root come from bats and cairn.bash

setup() {
  load lib/cairn.bash
  play=$CAIRN_SOURCE/scripts/cluster
}

# It would outlive a test that fails.
teardown() { (cd "$cairn_root" && "$play" 3 kill >/dev/null 2>&1) || true; }

torment() {
  mkdir "$cairn_root/chaos"
  run "$CAIRN_BUILD/t/chaos/chaos" "$1" "$2" "${CHAOS_SEED:-$RANDOM}" "$3" "$cairn_root/chaos" "$CAIRN_BUILD/sbin/cairnd"
  echo "$output"
  [ "$status" -eq 0 ]
}

@test "the play cluster: made, killed, stopped, and all is there" {
  cd "$cairn_root"
  run "$play" 3 status
  [ "$status" -eq 1 ]
  [[ $output == "cluster: there is no cluster in $cairn_root; scripts/cluster 3 start makes one" ]]
  run "$play" 3 start 3>&-
  echo "$output"
  [ "$status" -eq 0 ]
  [[ $output == *". cluster/env     your shell talks to these nodes"* ]]
  # shellcheck disable=SC1091  # made just now
  . cluster/env
  cairn put a 1
  "$play" 3 kill n2
  [[ $("$play" 3 status) == "n2 does not run"* ]]
  cairn put b 2
  "$play" 3 pause n1
  "$play" 3 resume n1
  "$play" 3 start 3>&- >start2
  "$play" 3 stop
  "$play" 3 start 3>&- >start3
  [ "$(cairn get a)" = 1 ]
  [ "$(cairn get b)" = 2 ]
  run "$play" 3 kill n9
  [ "$status" -eq 2 ]
  run "$play" 5 start
  [[ $output == *"has 3 nodes, not 5" ]]
}

# bats test_tags=slow
@test "three nodes for twenty seconds" { torment 3 20 8; }

# bats test_tags=slow
@test "five nodes for four minutes" { torment 5 240 12; }

# bats test_tags=slow
@test "seven nodes for two minutes" { torment 7 120 12; }
