# cairn sandbox: a command on a node of its own, of which nothing is left.
# shellcheck disable=SC2154  # $output, $stderr and $status are bats'
bats_require_minimum_version 1.5.0

setup() {
  load lib/cairn.bash
  export TMPDIR=$cairn_root/tmp
  mkdir "$TMPDIR"
  cd "$cairn_root"
}

# Nothing is left: no folder, no process of it, no mount.
nothing_left() {
  [ -z "$(ls -A "$TMPDIR")" ] || { ls -R "$TMPDIR"; return 1; }
  ! grep -q "$TMPDIR" /proc/self/mounts
  ! pgrep -f "$TMPDIR/cairn-sandbox" || return 1
}

# Wait until nothing is left, where the command that would wait for it was killed.
nothing_left_soon() {
  for _ in {1..600}; do
    nothing_left >/dev/null 2>&1 && return 0
    sleep 0.05
  done
  nothing_left
}

@test "a sandbox runs a command on a node of its own and returns its status" {
  run --separate-stderr cairn sandbox -- sh -c 'cairn put a 1 && cairn get a; exit 4'
  [ "$status" -eq 4 ]
  [ "$output" = $'revision 1\n1' ]
  [ -z "$stderr" ]
  nothing_left
  run cairn sandbox sh -c 'kill -USR1 $$'
  [ "$status" -eq $((128 + $(kill -l USR1))) ]
  run -127 cairn sandbox -- nosuchcommand
  nothing_left
}

@test "the command's input, output, words and environment are its own" {
  [ "$(echo in | CAIRN_VOLUME=stock X=y cairn sandbox --engine memory sh -c 'cat; echo "$X$CAIRN_VOLUME"; printf "%s." "$@"' - --json -n 2 'a b')" = $'in\ny\n--json.-n.2.a b.' ]
  [ "$(cairn sandbox -- cairn volume list --format plain | cut -f 1)" = main ]
  [ "$(cairn sandbox --engine memory -- cairn volume list --format plain | cut -f 2)" = memory ]
}

@test "two sandboxes at a time know nothing of each other" {
  mkfifo one two
  cairn sandbox sh -c 'cairn put k 1; echo >one; read -r _ <two; cairn get k' >out &
  read -r _ <one
  run cairn sandbox sh -c 'cairn get k'
  [ "$status" -eq 1 ]
  echo >two
  wait $!
  [ "$(tail -n 1 out)" = 1 ]
  nothing_left
}

@test "with --mount the volume is mounted at \$CAIRN_MOUNT, also for what is left in it" {
  requires_fuse
  run --separate-stderr cairn sandbox -n 1 --mount -- sh -c 'echo 1 >"$CAIRN_MOUNT/a"; cairn get a; exit 4'
  [ "$status" -eq 4 ]
  [ "$output" = 1 ]
  nothing_left
  cairn sandbox --mount -- bash -c 'cd "$CAIRN_MOUNT"; exec 5>open; (trap "" HUP TERM; exec sleep 1000) >/dev/null 2>&1 &'
  nothing_left
  [ -z "$(cairn sandbox -- sh -c 'echo "$CAIRN_MOUNT"')" ]
}

@test "a sandbox that is told to end, or killed, leaves nothing" {
  mount=()
  if [ -w /dev/fuse ] && command -v fusermount3 cairnfs >/dev/null; then mount=(--mount); fi
  mkfifo ready
  for signal in TERM HUP KILL; do
    cairn sandbox "${mount[@]}" -- sh -c 'echo $$ >ready; trap "" HUP; sleep 1000; sleep 1000' 3>&- &
    sandbox=$!
    read -r command <ready
    kill "-$signal" "$sandbox"
    status=0
    wait "$sandbox" || status=$?
    [ "$status" -eq $((128 + $(kill -l "$signal"))) ]
    if [ "$signal" = KILL ]; then nothing_left_soon; else nothing_left; fi
    run kill -0 "$command"
    [ "$status" -ne 0 ]
  done
}

@test "a sandbox whose keeper is killed leaves no folder and no mount" {
  mount=()
  if [ -w /dev/fuse ] && command -v fusermount3 cairnfs >/dev/null; then mount=(--mount); fi
  run --separate-stderr cairn sandbox "${mount[@]}" -- bash -c 'kill -KILL $PPID; exec sleep 1000'
  [ "$status" -eq 70 ]
  [[ "$stderr" == "cairn: internal: the sandbox's keeper was killed; what the command has started may go on" ]]
  nothing_left
}

@test "what was not made is said, and nothing is left of it" {
  run --separate-stderr cairn sandbox -n 3 true
  [ "$status" -eq 10 ]
  [ "$stderr" = "cairn: unsupported: a sandbox has one node: this cairn makes no clusters" ]
  run --separate-stderr cairn sandbox --engine nosuch true
  [ "$status" -eq 5 ]
  [[ "$stderr" == "cairn: unavailable: the sandbox's node did not start: "*"there is no engine 'nosuch'"* ]]
  run cairn sandbox -n 0 true
  [ "$status" -eq 2 ]
  run cairn sandbox
  [ "$status" -eq 2 ]
  nothing_left
}

@test "programs of a build folder, or of an installation that was moved, find their plugins" {
  unset CAIRN_PLUGIN_PATH
  [ "$(cairn sandbox -- cairn put k v)" = "revision 1" ]
  mkdir -p moved/bin moved/sbin moved/lib/cairn
  cp "$CAIRN_BUILD/bin/cairn" moved/bin
  cp "$CAIRN_BUILD/sbin/cairnd" moved/sbin
  cp "$CAIRN_BUILD/.libs/"{replication,engine}-*.so moved/lib/cairn
  [ "$(moved/bin/cairn sandbox -- cairn put k v)" = "revision 1" ]
}
