#!/usr/bin/env bats
# System calls of the daemon that fail: what was answered stays true, and it goes on when the fault is gone.
# shellcheck disable=SC2154  # $output and $status are bats'

setup() {
  load lib/cairn.bash
  load lib/engines.bash
  requires_engine "$engine"
  requires_program cairn
  load=$CAIRN_BUILD/t/lib/crashload
  [ -x "$load" ] || skip "crashload is built by make check"
  [ -e "$CAIRN_BUILD/t/lib/.libs/failcall.so" ] || skip "t/lib/failcall.la is not built"
  ! grep -q '^CFLAGS.*-fsanitize' "$CAIRN_BUILD/Makefile" || skip "not with a sanitizer"
  export CAIRN_FAIL=$cairn_root/fail
}

start() { LD_PRELOAD=$CAIRN_BUILD/t/lib/.libs/failcall.so cairn_node -o journal.segment=64K "$@"; }
restart() { LD_PRELOAD=$CAIRN_BUILD/t/lib/.libs/failcall.so cairn_start; }

# fault CALL PATHPART ERRNO: from now on.
fault() { echo "$@" >"$CAIRN_FAIL.new" && mv "$CAIRN_FAIL.new" "$CAIRN_FAIL"; }
no_fault() { rm "$CAIRN_FAIL"; }

# until_true COMMAND...: wait for it, 30 seconds at most.
until_true() {
  local n
  for n in {1..300}; do
    "$@" >/dev/null 2>&1 && return
    read -rt 0.1 <> <(:) || true
  done
  echo "never: $*"
  cat "$cairn_root/n1/log"
  return 1
}
acked_more() { [ "$(wc -l <"$cairn_root/acked")" -gt "$1" ]; }
refused() { ! cairn --timeout 2 put "refused" 1; }

EIO=5 ENOSPC=28 EMFILE=24

# Write under the fault "$@" until writes are refused; then without it, until they go on.
through_fault() {
  local writer
  "$load" write "$CAIRN_SERVER" "$next" 5000 >"$cairn_root/acked" 2>/dev/null 3>&- &
  writer=$!
  until_true acked_more 200
  fault "$@"
  until_true refused
  no_fault
  until_true cairn put goes on
  kill "$writer" 2>/dev/null || true
  wait "$writer" || true
  "$load" check "$CAIRN_SERVER" <"$cairn_root/acked" || { echo "$*: lost"; return 1; }
  cat "$cairn_root/acked" >>"$cairn_root/all"
  next=$((next + $(wc -l <"$cairn_root/acked") + 1000))
}

@test "a failed sync of the journal: 'unknown', the daemon ends and says why, and nothing answered is lost" {
  start -o "volume.engine=$engine"
  for i in {1..5}; do cairn put "k$i" "v$i"; done
  fault fdatasync /journal/ $EIO
  run cairn put k6 v6
  # The daemon syncs the journal by itself, too, and may have ended before.
  [[ $status -eq 6 && $output == *unknown* ]] || [[ $output == *"no cairnd at"* ]] || { echo "$status: $output"; false; }
  ended=0
  cairn_reap || ended=$?
  [ "$ended" -eq 5 ] || { echo "the daemon ended with $ended"; false; }
  grep 'level=error msg="the daemon ends: the journal cannot be trusted any more" reason="the journal .*/journal: syncing a segment: Input/output error" hint=' "$cairn_root/n1/log"
  no_fault
  cairn_start
  for i in {1..5}; do [ "$(cairn get "k$i")" = "v$i" ]; done
  cairn put k6 again
  [ "$(cairn get k6)" = again ]
  cairn check
}

@test "a failed sync under load, ten times" {
  start -o "volume.engine=$engine"
  : >"$cairn_root/all"
  for n in {0..9}; do
    "$load" write "$CAIRN_SERVER" "$((n * 100000))" 5000 >"$cairn_root/acked" 2>/dev/null 3>&- &
    writer=$!
    until_true acked_more $((n * 20))
    fault fdatasync /journal/ $EIO
    ended=0
    cairn_reap || ended=$?
    [ "$ended" -eq 5 ] || { echo "the daemon ended with $ended"; false; }
    kill "$writer" 2>/dev/null || true
    wait "$writer" || true
    no_fault
    restart
    cat "$cairn_root/acked" >>"$cairn_root/all"
    "$load" check "$CAIRN_SERVER" <"$cairn_root/all"
  done
}

@test "the journal cannot be written, or a new file of it made: refused, and on by itself when it can" {
  start -o "volume.engine=$engine"
  next=0
  : >"$cairn_root/all"
  through_fault pwritev /journal/ $EIO
  through_fault pwritev /journal/ $ENOSPC
  through_fault openat /spare- $EMFILE
  through_fault openat /spare- $ENOSPC
  through_fault renameat .seg $EIO
  cairn_kill
  cairn_start
  "$load" check "$CAIRN_SERVER" <"$cairn_root/all"
}

# bats test_tags=one-engine
@test "a checkpoint that cannot be written leaves the journal in charge" {
  start -o volume.engine=memory -o volume.durable=yes -o journal.max=64K
  for call in openat write fsync renameat; do
    fault $call checkpoint $ENOSPC
    : >"$cairn_root/n1/log"
    for i in {1..40}; do echo "put $call$i $(printf "%04000d" "$i")"; done | cairn shell >/dev/null
    until_true grep 'a checkpoint cannot be written' "$cairn_root/n1/log"
    no_fault
    cairn_kill
    restart
    [ "$(cairn get "${call}40")" = "$(printf "%04000d" 40)" ]
  done
  [ "$(cairn --json ls | wc -l)" -eq 160 ]
}
