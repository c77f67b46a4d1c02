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
