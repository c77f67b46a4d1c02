# replication-raft in simulated worlds where much goes wrong.

setup() {
  load lib/cairn.bash
  module=${CAIRN_PLUGIN_PATH%%:*}/replication-raft.so
  [ -e "$module" ] || skip "replication-raft is not part of this build"
  run=$CAIRN_BUILD/t/sim/run
}

@test "the module asks for no symbol but a few of the C library, and cairn_fail" {
  requires_program nm
  nm "$module" | grep -qE '__(a|t|ub)san|__gcov|__sanitizer' && skip "an instrumented build needs its run-time library"
  run bash -c "nm -D -u '$module' | awk '{ print \$NF }' | grep -vE '^(__cxa_finalize|_ITM_(de)?registerTMCloneTable|__gmon_start__|mem(set|cpy|move)|cairn_fail|__stack_chk_fail)(@|\$)'"
  [ -z "$output" ] || { echo "$output"; false; }
  [ "$(nm -D --defined-only "$module" | awk '{ print $NF }')" = cairn_replication_plugin ]
}

@test "forty worlds, from seeds that change with the source" {
  first=$(cat "$CAIRN_SOURCE"/plugins/replication-raft/*.[ch] | cksum | cut -d' ' -f1)
  run "$run" "$module" -n 40 -t 4 -s "$first" --shrink
  [ "$status" -eq 0 ] || { echo "$output"; false; }
}

@test "the same with the daemon's store behind the module, and clients that repeat what they asked" {
  first=$(cat "$CAIRN_SOURCE"/plugins/replication-raft/*.[ch] "$CAIRN_SOURCE"/core/daemon/store/*.[ch] | cksum | cut -d' ' -f1)
  run "$run" "$module" -n 16 -t 4 -s "$first" --store --shrink
  [ "$status" -eq 0 ] || { echo "$output"; false; }
  [ "$(echo "$output" | sed -n 's/.*, \([0-9]*\) repeated commands$/\1/p')" -gt 0 ]
}

@test "worlds that once found something" {
  while read -r line; do
    # shellcheck disable=SC2086
    run "$run" "$module" -n 1 ${line%%#*}
    [ "$status" -eq 0 ] || { echo "$line"; echo "$output"; false; }
  done <"$CAIRN_SOURCE/t/sim/seeds"
}

@test "mistakes of a host are found" {
  while read -r mistake first; do # the one that seldom shows begins near a world where it does
    run "$run" "$module" -n 600 -s "$first" -t 4 -1 --wrong "$mistake"
    [ "$status" -eq 1 ] || { echo "$mistake: $output"; false; }
  done < <(printf '%s\n' "early 1" "order 85" "truncate 1" "swap 1" "read 1")
}

@test "a world that fails is made small, and shown" {
  requires_program patch
  requires_program "${CC:-cc}"
  KEEP=1 run "$CAIRN_SOURCE/t/sim/plant" "$run" "$CAIRN_BUILD/t/unit/u-raft" "$CAIRN_SOURCE" 5 ack-before-sync
  [ "$status" -eq 0 ] || { echo "$output"; false; }
  [[ "$output" == "-s "*" -v 3 "*" -f none "*"# ack-before-sync: ack: "* ]]
}

@test "one world is the same each time" {
  run "$run" "$module" -n 1 -s 7 -t 2 --trace
  [ "$status" -eq 0 ]
  [ "$output" = "$("$CAIRN_BUILD/t/sim/run" "$module" -n 1 -s 7 -t 2 --trace)" ]
}

@test "scenarios go as they are written down" {
  for script in "$CAIRN_SOURCE"/t/sim/scenarios/*.txt; do
    "$CAIRN_BUILD/t/sim/scenario" "$module" <"$script" >"$cairn_root/out" || { cat "$cairn_root/out"; false; }
    diff -u "${script%.txt}.out" "$cairn_root/out"
  done
}

@test "faults that are planted are found in the worlds that are kept for them, or by u-raft" {
  requires_program patch
  requires_program "${CC:-cc}"
  run "$CAIRN_SOURCE/t/sim/plant" "$run" "$CAIRN_BUILD/t/unit/u-raft" "$CAIRN_SOURCE" 0
  [ "$status" -eq 0 ] || { echo "$output"; false; }
}

@test "every world within small bounds, as far as 50,000 states go" {
  run "$CAIRN_BUILD/t/sim/small" -n 50000 -e 1 -t 2 -c 1 -m 3
  [ "$status" -eq 0 ] || { echo "$output"; false; }
  [[ "$output" == "50000 states"* ]]
}

# bats test_tags=slow
@test "every world within small bounds, as far as a million states go" {
  for bounds in "-e 1 -t 2 -c 0 -m 2" "-e 2 -t 3 -c 1 -m 3"; do
    # shellcheck disable=SC2086
    run "$CAIRN_BUILD/t/sim/small" -n 1000000 $bounds
    echo "$output"
    [ "$status" -eq 0 ]
  done
}

# bats test_tags=slow
@test "all faults that are planted are found in three hundred worlds, or by u-raft" {
  requires_program patch
  requires_program "${CC:-cc}"
  run "$CAIRN_SOURCE/t/sim/plant" "$run" "$CAIRN_BUILD/t/unit/u-raft" "$CAIRN_SOURCE" 300
  echo "$output"
  [ "$status" -eq 0 ]
}

# bats test_tags=slow
@test "ten million steps" {
  run "$run" "$module" -n 1000 -t 4 --shrink
  echo "$output"
  [ "$status" -eq 0 ]
  steps=${output##*failed: }
  [ "${steps%% *}" -ge 10000000 ]
}

# bats test_tags=slow
@test "five million steps with the daemon's store" {
  run "$run" "$module" -n 500 -t 4 --store --shrink
  echo "$output"
  [ "$status" -eq 0 ]
  steps=${output##*failed: }
  [ "${steps%% *}" -ge 5000000 ]
}
