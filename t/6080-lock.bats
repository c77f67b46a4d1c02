# shellcheck shell=bash
# cairn lock: one at a time, and who has lost the lock cannot write any more.

bats_require_minimum_version 1.5.0

setup() {
  load lib/cairn.bash
  cairn_node -o volume.engine=memory
  cd "${cairn_root:?}" || return 1
}

teardown() {
  # What a failed test has left behind.
  [ ! -e "$cairn_root/pids" ] || while read -r pid; do kill -KILL "$pid" 2>/dev/null || true; done <"$cairn_root/pids"
  cairn_cleanup
}

# soon COMMAND…: wait until it succeeds.
soon() {
  local end=$((SECONDS + 30))
  until "$@"; do
    [ "$SECONDS" -lt "$end" ] || { echo "in vain: $*" >&2; return 1; }
    sleep 0.02
  done
}
has() { [ -s "$1" ]; }
ended() { ! kill -0 "$1" 2>/dev/null; }
is_held() { cairn stat "$1" >/dev/null 2>&1; }
is_free() { ! is_held "$1"; }
watches() { cairn metrics | awk '$1 == "cairn_watches" { print $2 }'; }
more_watches_than() { [ "$(watches)" -gt "$1" ]; }

# held FILE OPTIONS…: in the background, a lock holder that writes its process numbers to FILE.lock and FILE.command,
# waits for FILE.go, then puts app/version, and whose status and words end in FILE.status and FILE.out.
held() {
  local file=$1
  shift
  mkfifo "$file.go"
  (
    status=0
    # shellcheck disable=SC2016
    env --default-signal=HUP,INT,TERM cairn lock "$@" sh -c 'echo $$ >"$0.new"; mv "$0.new" "$0.command"; read -r go <"$0.go"; cairn put app/version "$go"
      echo $? >"$0.put"' "$file" >"$file.out" 2>&1 &
    echo $! >"$file.lock"
    wait $! || status=$?
    echo "$status" >"$file.status"
  ) 3>&- </dev/null &
  soon has "$file.command"
  cat "$file.lock" "$file.command" >>"$cairn_root/pids"
}

@test "the command's status is returned, and the lock is free afterwards" {
  run cairn lock locks/a sh -c 'cairn stat locks/a >/dev/null || exit 9; cairn put k v; exit 5'
  [ "$status" -eq 5 ] || { echo "$output"; false; }
  [[ $output == "revision "* ]]
  is_free locks/a
  run cairn lock locks/a sh -c 'kill -KILL $$'
  [ "$status" -eq 137 ]
  is_free locks/a
  [ "$(cairn get k)" = v ]
  # What stands behind the command is its own.
  [ "$(cairn lock --wait 1 locks/a printf '%s|' -h --list -- -E)" = "-h|--list|--|-E|" ]
}

@test "a command that cannot be started, and other failures that are not the command's" {
  run -127 --separate-stderr cairn lock locks/a ./nothing
  # shellcheck disable=SC2154
  [ "$stderr" = "cairn: not-found: ./nothing: No such file or directory" ]
  is_free locks/a
  : >file
  run cairn lock locks/a ./file
  [ "$status" -eq 126 ]
  run cairn lock -E 99 locks/a ./nothing
  [ "$status" -eq 99 ]
  held x locks/a
  run cairn lock -E 0 --wait 0 locks/a true
  [ "$status" -eq 0 ]
  [[ $output == "cairn: timeout: locks/a is held by "* ]]
  run cairn lock -E 256 locks/a true
  [ "$status" -eq 2 ]
  run cairn lock --ttl 100ms locks/a true
  [ "$status" -eq 2 ]
  run cairn lock locks/a
  [ "$status" -eq 2 ]
  run cairn lock --list --break locks/a
  [ "$status" -eq 2 ]
  echo v1 >x.go
  soon has x.status
  [ "$(cat x.status)" = 0 ]
}

@test "of many at once each has its turn: no increment is lost" {
  cairn put n 0
  many=()
  for _ in $(seq 12); do
    # shellcheck disable=SC2016
    cairn lock locks/n sh -c 'n=$(cairn get n); cairn put n $((n + 1))' 3>&- >>out 2>&1 &
    many+=($!)
  done
  wait "${many[@]}"
  [ "$(cairn get n)" = 12 ] || { cat out; false; }
  is_free locks/n
}

@test "who waits in vain is told who holds the lock" {
  held x locks/deploy
  fence=$(cairn --json lock --list | jq .fence)
  run --separate-stderr cairn lock --wait 200ms locks/deploy ./deploy.sh
  [ "$status" -eq 7 ]
  [[ $stderr =~ ^"cairn: timeout: locks/deploy is held by "[^\ ]+@[^\ ]+" (process $(cat x.lock)) for "[0-9]+" s, fence $fence"$ ]]
  run --separate-stderr cairn --json lock --wait 0 locks/deploy ./deploy.sh
  [ "$(jq -r .code <<<"$stderr")" = timeout ]
  # And who waits long enough gets it.
  cairn lock --wait 30s locks/deploy cairn put app/version 2 3>&- >second 2>&1 &
  second=$!
  echo 1 >x.go
  wait "$second"
  [ "$(cairn get app/version)" = 2 ]
}

@test "a holder that was paused beyond its time cannot write any more" {
  held x --ttl 2s locks/deploy
  first=$(cairn --json lock --list | jq .fence)
  kill -STOP "$(cat x.lock)" "-$(cat x.command)"
  held y --wait 30s --ttl 30s locks/deploy
  second=$(cairn --json lock --list | jq .fence)
  [ "$second" -gt "$first" ]
  # The command goes on, and writes, before cairn lock can end it.
  kill -CONT "-$(cat x.command)"
  echo old >x.go
  soon has x.put
  [ "$(cat x.put)" = 3 ]
  grep -qx "cairn: conflict: app/version not written: locks/deploy was lost (our fence $first, now $second)" x.out
  kill -CONT "$(cat x.lock)"
  soon has x.status
  [ "$(cat x.status)" = 3 ]
  grep -qx "cairn: lock: locks/deploy was lost; sh and its children were ended" x.out
  run cairn get app/version
  [ "$status" -eq 1 ]
  # The lock is still the other's.
  [ "$(cairn --json lock --list | jq .fence)" = "$second" ]
  echo new >y.go
  soon has y.status
  [ "$(cat y.status)" = 0 ]
  [ "$(cairn get app/version)" = new ]
}

@test "a holder that was paused beyond its time gives up, also where nobody took the lock" {
  held x --ttl 2s locks/deploy
  kill -STOP "$(cat x.lock)"
  soon is_free locks/deploy
  kill -CONT "$(cat x.lock)"
  soon has x.status
  [ "$(cat x.status)" = 3 ]
  [ "$(cat x.out)" = "cairn: lock: locks/deploy was lost; sh and its children were ended" ]
  soon ended "$(cat x.command)"
}

@test "every command that writes is refused when the lock was lost" {
  cairn volume set main history 8
  cairn put a/1 one
  revision=$(cairn --json put a/2 two | jq .revision)
  cairn put a/2 three
  cairn put --ttl 1h goes soon
  cairn export >export
  head -c 300000 /dev/zero >large
  cairn put long @large
  cairn export long >long
  cairn del long
  cat >writes <<'END'
cairn put k v
cairn put large @large
cairn put --if-absent k v
cairn append a/1 more
cairn del a/1
cairn del -r a
cairn del --purge a/1
cairn del -r --purge a
cairn patch a/1 0 O
EDITOR='sed -i s/one/1/' cairn edit a/1
cairn incr n
cairn expire a/1 10
cairn persist goes
cairn mv a/1 b
cairn mv a/ b/
cairn cp a/1 b
cairn cp -r a b
cairn revert a/2 REVISION
cairn revert -r a REVISION
echo 'put k v' | cairn txn
printf '%s\n' 'if exists nothing' 'then put k v' 'else put k2 v2' | cairn txn
printf '%s\n' 'put k v' | cairn txn --each
sed s/one/1/ export | cairn import
cairn import --if-absent <long
echo 'put k v' | cairn shell
echo 'append k v' | cairn shell
echo 'put k v' | cairn shell --atomic
cairn lock locks/b true
cairn lock --break locks/other
END
  held other locks/other
  export TMPDIR=$cairn_root
  # shellcheck disable=SC2016
  run cairn lock --ttl 10m locks/a sh -c 'cairn lock --break locks/a >/dev/null || exit 1
    sed "s/REVISION/$0/" writes | while read -r line; do
      sh -c "$line" >out 2>&1 </dev/null; status=$?
      [ $status = 3 ] && grep -q "^cairn: conflict: .*locks/a was lost (our fence [0-9]*, and nobody holds it now)" out ||
        { echo "$line: $status"; cat out; }
    done' "$revision"
  [ "$status" -eq 3 ]
  [ "$output" = "cairn: lock: locks/a was lost; sh and its children were ended" ] || { echo "$output"; false; }
  diff export <(cairn export | grep -v '"locks/')
  [ "$(cairn history a/2 | wc -l)" -eq 3 ]
  is_held locks/other
}

@test "under nested locks a write needs all of them" {
  # shellcheck disable=SC2016
  run cairn lock locks/a cairn lock 'locks/b c' sh -c 'cairn put k "$CAIRN_FENCE" && env -u CAIRN_FENCE cairn del locks/a &&
    cairn put k2 v'
  [ "$status" -eq 3 ]
  [[ $(cairn get k) =~ ^main\ [0-9]+:locks/a\ [0-9]+:locks/b%20c$ ]]
  [[ $output == *"cairn: conflict: k2 not written: locks/a was lost"* ]]
  run cairn get k2
  [ "$status" -eq 1 ]
  is_free 'locks/b c'
}

@test "another volume is not written to under a lock that it cannot know" {
  cairn volume create stock >/dev/null
  run cairn lock locks/a cairn -V stock put k v
  [ "$status" -eq 10 ]
  [[ $output == "cairn: unsupported: nothing was written: volume stock cannot tell"* ]]
  cairn lock locks/a env -u CAIRN_FENCE cairn -V stock put k v
  [ "$(cairn lock locks/a cairn -V stock get k)" = v ]
  cairn -V stock lock locks/a cairn -V stock put k v2
  run env CAIRN_FENCE=nonsense cairn put k v
  [ "$status" -eq 2 ]
}

@test "a lost lock ends the command and its children, also those that mind no SIGTERM" {
  # shellcheck disable=SC2016
  printf '%s\n' 'trap "" TERM; echo $$ >stubborn.new; mv stubborn.new stubborn; while :; do sleep 1000; done' >stubborn.sh
  # shellcheck disable=SC2016
  cairn lock --ttl 2s locks/a sh -c 'sh stubborn.sh & sleep 1000 & echo $! >child.new; mv child.new child; wait' 3>&- >out 2>&1 &
  lock=$!
  soon has stubborn
  soon has child
  cat stubborn child >>pids
  cairn lock --break locks/a
  status=0
  wait "$lock" || status=$?
  [ "$status" -eq 3 ]
  [ "$(cat out)" = "cairn: lock: locks/a was lost; sh and its children were ended" ]
  soon ended "$(cat child)"
  soon ended "$(cat stubborn)"
}

@test "what a command has left behind is ended, too, when the lock turns out to be lost" {
  # shellcheck disable=SC2016
  run cairn lock --ttl 10m locks/a sh -c 'sleep 1000 >/dev/null 3>&- & echo $! >child; cairn lock --break locks/a >/dev/null'
  cat child >>pids
  [ "$status" -eq 3 ]
  [ "$output" = "cairn: lock: locks/a was lost; sh and its children were ended" ]
  ended "$(cat child)"
  # shellcheck disable=SC2016
  cairn lock locks/a sh -c 'sleep 1000 >/dev/null 3>&- & echo $! >child'
  cat child >>pids
  kill "$(cat child)"
}

@test "a server that cannot be reached for the lock's time is a lost lock" {
  held x --ttl 2s locks/a
  cairn_pause
  soon has x.status
  cairn_resume
  [ "$(cat x.status)" = 3 ]
  [ "$(head -n 1 x.out)" = "cairn: lock: locks/a was lost; sh and its children were ended" ]
  [[ $(tail -n 1 x.out) == "hint: it could not be refreshed: "* ]]
}

@test "a restart of the node within the lock's time is survived" {
  requires_engine leveldb
  cairn_stop
  rm -rf "${cairn_root:?}/n1/data"
  cairn_node -o volume.engine=leveldb
  held x --ttl 20s locks/a
  before=$(watches)
  cairn lock --wait 60s locks/a cairn put next v 3>&- >second 2>&1 &
  second=$!
  soon more_watches_than "$before"
  cairn_kill
  cairn_start
  echo 1 >x.go
  soon has x.status
  [ "$(cat x.status)" = 0 ]
  [ "$(cairn get app/version)" = 1 ]
  wait "$second"
  [ "$(cairn get next)" = v ]
}

@test "--list says who holds what" {
  held x locks/a
  held y 'odd key'
  cairn put locks/note "no lock"
  run cairn lock --list
  [ "$status" -eq 0 ]
  [ "${#lines[@]}" -eq 3 ]
  [[ ${lines[0]} =~ ^KEY\ +HOLDER\ +PROCESS\ +HELD\ +FENCE\ +COMMAND$ ]]
  [[ ${lines[1]} =~ ^locks/a\ +[^\ ]+@[^\ ]+\ +$(cat x.lock)\ +[0-9]+\ s\ +[0-9]+\ +sh\ -c\  ]]
  [[ ${lines[2]} == "'odd key'"* ]]
  [ "$(cairn --json lock --list locks | jq -c '[.key, .pid]')" = "[\"locks/a\",$(cat x.lock)]" ]
  [ "$(cairn --format plain lock --list odd)" = "" ]
}

@test "--break frees a lock, and nothing else" {
  held x --ttl 2s locks/a
  run cairn lock --break locks/a
  [ "$status" -eq 0 ]
  [[ $output =~ ^"revision "[0-9]+": locks/a is free; it was held by "[^\ ]+" (process $(cat x.lock)) for "[0-9]+" s, fence "[0-9]+$ ]]
  soon has x.status
  [ "$(cat x.status)" = 3 ]
  run cairn lock --break locks/a
  [ "$status" -eq 1 ]
  [[ "$output" == *"not-found: that lock is free"* ]]
  cairn put k v
  run cairn lock --break k
  [ "$status" -eq 2 ]
  [ "$(cairn get k)" = v ]
}

@test "a lock within itself, and a key that is no lock: refused, not waited for" {
  run timeout 20 cairn lock --ttl 10m locks/a cairn lock "locks/b c" sh -c 'cairn lock locks/a true; echo $?; cairn lock "locks/b c" true; echo $?'
  [ "$status" -eq 0 ]
  [ "$(grep -c 'it would wait for itself' <<<"$output")" -eq 2 ]
  [ "$(grep -cx 3 <<<"$output")" -eq 2 ]
  cairn put k v
  run timeout 20 cairn lock k true
  [ "$status" -eq 3 ]
  [[ "$output" == *"k is a key that does not expire, and no lock"* ]]
  [ "$(cairn get k)" = v ]
}

@test "a cairn lock that is killed leaves a lock that frees itself, and its command ends" {
  held x --ttl 4s locks/a
  kill -KILL "$(cat x.lock)"
  soon ended "$(cat x.command)"
  run cairn lock --wait 0 locks/a true
  [ "$status" -eq 7 ]
  cairn lock --wait 30s locks/a true
}

@test "SIGTERM, SIGINT and SIGHUP end the command and free the lock" {
  for signal in TERM INT HUP; do
    held "$signal" --ttl 10m "locks/$signal"
    kill "-$signal" "$(cat $signal.lock)"
    soon has "$signal.status"
    [ "$(cat $signal.status)" = $((128 + $(kill -l "$signal"))) ]
    soon ended "$(cat $signal.command)"
    is_free "locks/$signal"
  done
}

# is_stopped PID: whether the process is stopped.
is_stopped() { [[ $(cut -d ' ' -f 3 "/proc/$1/stat") == T ]]; }
runs() { ! is_stopped "$1"; }

@test "the command has the terminal: Ctrl-Z stops it and cairn lock, Ctrl-C ends both" {
  requires_program script
  mkfifo keys
  # shellcheck disable=SC2016
  printf '%s\n' 'echo $$ >shell.new; mv shell.new shell; while read -r line; do echo "read $line"; done' >reads.sh
  env --default-signal=INT,TSTP script -qec 'cairn lock --ttl 10m locks/a sh reads.sh' typescript <keys >screen 3>&- 2>&1 &
  script=$!
  exec 8>keys
  soon has shell
  shell=$(cat shell)
  lock=$(cairn --json lock --list | jq .pid)
  echo "$lock" >>pids
  echo hello >&8
  soon grep -q 'read hello' screen
  printf '\032' >&8
  soon is_stopped "$shell"
  soon is_stopped "$lock"
  kill -CONT "$lock" "$script" # script stops with its child
  soon runs "$shell"
  echo again >&8
  soon grep -q 'read again' screen
  is_held locks/a
  printf '\003' >&8
  status=0
  wait "$script" || status=$?
  exec 8>&-
  [ "$status" -eq 130 ]
  is_free locks/a
}

@test "in a pipe the terminal stays where it is, and a signal reaches the command" {
  requires_program script
  mkfifo keys
  printf '%s\n' 'echo up; exec sleep 1000' >sleeps.sh
  env --default-signal=INT script -qec 'cairn lock --ttl 10m locks/a sh sleeps.sh | cat' typescript <keys >screen 3>&- 2>&1 &
  script=$!
  exec 8>keys
  soon grep -q up screen
  printf '\003' >&8
  wait "$script" || true
  exec 8>&-
  soon is_free locks/a
}
