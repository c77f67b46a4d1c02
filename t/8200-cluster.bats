#!/usr/bin/env bats
# Three nodes: what one of them was given the others have, whichever dies.

setup() {
  load lib/cairn.bash
  cairn_cluster 3
}

@test "every node takes writes, and has those of the others at once" {
  cairn -s "unix:$cairn_root/n1/socket" put a 1
  cairn -s "unix:$cairn_root/n2/socket" put b 2
  cairn -s "unix:$cairn_root/n3/socket" put c 3
  for n in n1 n2 n3; do
    [ "$(cairn -s "unix:$cairn_root/$n/socket" get a b c | tr -d '\n')" = 123 ] ||
      [ "$(for k in a b c; do cairn -s "unix:$cairn_root/$n/socket" get $k; done)" = 123 ]
  done
}

@test "the leader is killed: another takes over, and has everything" {
  for i in $(seq 20); do cairn put "k$i" "v$i" >/dev/null; done
  leader=$(_cairn_name leader)
  cairn_kill "$leader"
  cairn put after death
  for i in $(seq 20); do [ "$(cairn get "k$i")" = "v$i" ]; done
  [ "$(_cairn_name leader)" != "$leader" ]
  run cairn health
  [ "$status" -eq 1 ]
  [[ $output == "degraded: 2 of 3 nodes, leader n"*": $leader is missing; one more failure stops writes" ]]
  cairn_start "$leader"
  cairn health --wait ok --timeout 30s
  [ "$(cairn -s "unix:$cairn_root/$leader/socket" get after)" = death ]
}

@test "all nodes are killed and started from their data folders alone" {
  for i in $(seq 10); do cairn put "k$i" "v$i" >/dev/null; done
  cairn_kill n1 n2 n3
  for n in n1 n2 n3; do cairn_options[$n]=; done # not even the list of nodes
  cairn_start n1 n2 n3
  cairn health --wait ok --timeout 30s
  for i in $(seq 10); do [ "$(cairn get "k$i")" = "v$i" ]; done
}

@test "without a majority a write is refused, and did not happen" {
  cairn put a 1
  leader=$(_cairn_name leader)
  for n in n1 n2 n3; do [ "$n" = "$leader" ] || cairn_kill "$n"; done
  cairn health --wait no-quorum --timeout 20s
  run cairn -s "unix:$cairn_root/$leader/socket" put a 2
  echo "$output"
  [ "$status" -eq 5 ]
  [[ $output == *"unavailable: 1 of 3 nodes is up, 2 are needed; the write did not happen"* ]]
  run cairn -s "unix:$cairn_root/$leader/socket" get a
  [ "$status" -eq 5 ]
}
