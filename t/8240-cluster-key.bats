#!/usr/bin/env bats
# The cluster key: peers speak TLS with it, and who has another one is not let in.
# shellcheck disable=SC2154  # $output, $status and $cairn_root come from bats and cairn.bash

setup() {
  load lib/cairn.bash
  cairnd --make-key "$cairn_root/probe" >/dev/null || skip "this build has no TLS"
}

@test "a key is made once, for its owner alone" {
  run cairnd --make-key "$cairn_root/mine"
  [ "$status" -eq 0 ]
  [[ $output == "$cairn_root/mine is the cluster key "*": give it to every node (cluster.key), and to nobody else" ]]
  [ "$(stat -c %a "$cairn_root/mine")" = 600 ]
  run cairnd --make-key "$cairn_root/mine"
  [ "$status" -eq 3 ]
  [[ $output == "cairnd: exists: $cairn_root/mine is there already"* ]]
}

@test "a key that others may read is refused" {
  chmod 640 "$cairn_root/probe"
  run cairnd --data "$cairn_root/d" --socket "$cairn_root/s" -n n1 \
    -o 'cluster.peers=n1=127.0.0.1:0 n2=127.0.0.1:1' -o "cluster.key=$cairn_root/probe"
  echo "$output"
  [ "$status" -eq 4 ]
  [[ $output == *"denied: others may read $cairn_root/probe (mode 0640)"* ]]
}

@test "nodes talk in secret, keep the key, and let nobody in who has another" {
  cairn_cluster 3
  cairn put a 1
  for n in n1 n2 n3; do cmp "$cairn_root/key" "$(cairn_dir $n)/data/cluster.key"; done
  run grep -l 'talk in the open' "$cairn_root"/n?/log
  [ "$status" -eq 1 ]
  cairn_stop n3
  cp "$cairn_root/probe" "$(cairn_dir n3)/data/cluster.key"
  cairn_start n3
  # It can reach nobody, and nobody it.
  cairn -s "unix:$cairn_root/n3/socket" health --wait no-quorum --timeout 20s
  run cairn health
  [ "$status" -eq 1 ]
  [[ $output == "degraded: 2 of 3 nodes"*"n3 is missing"* ]]
  # shellcheck disable=SC2016
  timeout 20 sh -c 'until grep -q "does not take cluster key\|which is not known here" "$1"; do sleep 0.1; done' \
    sh "$cairn_root/n3/log"
  cairn_stop n3
  cp "$cairn_root/key" "$(cairn_dir n3)/data/cluster.key"
  cairn_start n3
  cairn health --wait ok --timeout 30s
  [ "$(cairn -s "unix:$cairn_root/n3/socket" get a)" = 1 ]
}

@test "status shows how far away the others are, and their clocks; metrics count what went between" {
  cairn_cluster 3
  # The first answer to a ping comes soon after a connection.
  # shellcheck disable=SC2016
  timeout 20 sh -c 'until cairn --json status | grep -q "rtt_us.*rtt_us"; do sleep 0.1; done'
  run cairn status
  echo "$output"
  [[ ${lines[1]} =~ ^NODE\ +ROLE\ +TERM\ +LAG\ +RTT\ +DISK\ FREE\ +CLOCK\ +ADDRESS$ ]]
  [ "$(grep -cE ' [0-9.]+ ms .* [+-][0-9]+ ms ' <<<"$output")" -eq 2 ]
  run cairn metrics
  [[ $output == *'cairn_peer_up{peer="n2"} 1'* || $output == *'cairn_peer_up{peer="n1"} 1'* ]]
  cairn_kill n3
  # shellcheck disable=SC2016
  timeout 20 sh -c 'until cairn metrics | grep -q "cairn_peer_up{peer=\"n3\"} 0"; do sleep 0.1; done'
  run cairn --json status
  [[ $output == *'"name":"n3","role":"down"'*'Connection refused'* ]] || [[ $output == *'"name":"n3","role":"down"'*'hung up'* ]] ||
    [[ $output == *'"name":"n3","role":"down"'*'reset'* ]]
}
