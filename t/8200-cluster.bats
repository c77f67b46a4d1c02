#!/usr/bin/env bats
# Three nodes: what one of them was given the others have, whichever dies.

setup() {
  load lib/cairn.bash
  cd "$cairn_root"
  [[ $BATS_TEST_DESCRIPTION == "a node that was away"* ]] || cairn_cluster 3
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

@test "status shows each node's part, how far it is behind, and its disk" {
  cairn put a 1
  for _ in $(seq 100); do
    [ "$(cairn --json status | grep -o '"disk_free"' | wc -l)" -ge 3 ] && break
    sleep 0.1
  done
  run cairn status
  [[ ${lines[1]} =~ ^NODE\ +ROLE\ +TERM\ +LAG\ +RTT\ +DISK\ FREE\ +CLOCK\ +ADDRESS$ ]]
  [ "$(grep -c follower <<<"$output")" -eq 2 ]
  [ "$(grep -cE '[0-9] [KMGT]iB' <<<"$output")" -ge 3 ]
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

@test "a node that was away for longer than the journal reaches gets the store, and goes on from there" {
  cairn_cluster 3 -o journal.segment=64K -o journal.max=128K
  cairn put before 1
  leader=$(_cairn_name leader)
  away=$(cairn status | awk '$2 == "follower" { print $1; exit }')
  cairn_kill "$away"
  head -c 20000 /dev/zero | tr '\0' x >value
  for i in $(seq 60); do cairn put "k$((i % 20))" - <value >/dev/null; done
  for _ in $(seq 300); do
    [ "$(cairn -s "unix:$cairn_root/$leader/socket" journal | awk '$1 == "main" { print $2 }')" -gt 20 ] && break
    cairn put more - <value >/dev/null
    sleep 0.1
  done
  cairn_start "$away"
  cairn -s "unix:$cairn_root/$away/socket" health --wait ok --timeout 30s
  for _ in $(seq 300); do grep -q 'a snapshot has taken the place' "$cairn_root/$away/log" && break; sleep 0.1; done
  grep -q 'a snapshot has taken the place' "$cairn_root/$away/log"
  cairn put after 2
  for _ in $(seq 100); do
    [ "$(cairn -s "unix:$cairn_root/$away/socket" get after 2>/dev/null)" = 2 ] && break
    sleep 0.1
  done
  [ "$(cairn -s "unix:$cairn_root/$away/socket" get after)" = 2 ]
  cairn -s "unix:$cairn_root/$away/socket" get k7 | cmp - value
}
