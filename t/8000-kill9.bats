#!/usr/bin/env bats
# kill -9 under load: every write that was acknowledged is there afterwards, whole.

setup() {
  load lib/cairn.bash
  load lib/engines.bash
  load=$CAIRN_BUILD/t/lib/crashload
  [ -x "$load" ] || skip "crashload is built by make check"
  requires_engine "$engine"
}

# Kill the daemon $1 times under load; check after each start what was acknowledged since the last, at the end everything.
kill_rounds() {
  local round next=0 writer
  : >"$cairn_root/all"
  for round in $(seq "$1"); do
    "$load" write "$CAIRN_SERVER" "$next" >"$cairn_root/acked" 3>&- &
    writer=$!
    until [ -s "$cairn_root/acked" ] || ! kill -0 "$writer" 2>/dev/null; do :; done
    sleep "0.0$((RANDOM % 10))" # how long the load runs: any time will do
    cairn_kill
    wait "$writer" || true
    cairn_start
    "$load" check "$CAIRN_SERVER" <"$cairn_root/acked" || { echo "round $round"; return 1; }
    cat "$cairn_root/acked" >>"$cairn_root/all"
    next=$((next + $(wc -l <"$cairn_root/acked") + 1000))
  done
  "$load" check "$CAIRN_SERVER" <"$cairn_root/all"
  ! grep -E 'level=error' "$cairn_root/n1/log"
}

@test "50 times kill -9 under load: every acknowledged write is there" {
  cairn_node -e "$engine"
  kill_rounds "${CAIRN_TEST_ROUNDS:-50}"
}

@test "50 times kill -9 under mixed operations: the keys hold what was acknowledged, or one operation more" {
  mixed=$CAIRN_BUILD/t/lib/crashmixed
  cairn_node -e "$engine"
  for round in $(seq "${CAIRN_TEST_ROUNDS:-50}"); do
    "$mixed" write "$CAIRN_SERVER" "$cairn_root/done" 3>&- &
    writer=$!
    sleep "0.$((RANDOM % 2))$((RANDOM % 10))" # how long the load runs: any time will do
    cairn_kill
    wait "$writer"
    cairn_start
    run "$mixed" check "$CAIRN_SERVER" "$cairn_root/done"
    [ "$status" -eq 0 ] || { echo "round $round: $output"; false; }
  done
  echo "# $output"
  cairn check
  ! grep -E 'level=error' "$cairn_root/n1/log"
}

# bats test_tags=one-engine
@test "10 times kill -9 of a memory volume that is kept, while it writes checkpoints" {
  cairn_node -o volume.engine=memory -o volume.durable=yes -o journal.segment=256K -o journal.max=256K
  kill_rounds 10
  # shellcheck disable=SC2016 # expanded by the other shell
  timeout 20 bash -c 'until [ -e "$0"/main-*/checkpoint ]; do read -rt 0.1 <> <(:) || true; done' "$cairn_root/n1/data/volumes"
  cairn_kill
  cairn_start
  "$load" check "$CAIRN_SERVER" <"$cairn_root/all"
  cairn check
}
