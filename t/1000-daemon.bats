#!/usr/bin/env bats
# The daemon's life: start, readiness, lock, identity, signals, the pid file, its end with its parent.

setup() {
  load lib/cairn.bash
  node=$cairn_root/n1
}

# Requests on standard input, answers without the greeting.
ask() { nc -U -N -w 10 "$node/socket" | tail -n +2; }

put() { printf '{"id":1,"op":"put","args":{"key":"%s","value":"%s"}}\n' "$1" "$2" | ask; }
get() { printf '{"id":1,"op":"get","args":{"key":"%s"}}\n' "$1" | ask; }

@test "a write survives a clean stop and a kill" {
  requires_engine leveldb
  requires_program nc
  cairn_node
  [[ "$(put a/b hello)" == *'"revision":1'* ]]
  cairn_stop
  cairn_start
  [[ "$(get a/b)" == *'"value":"hello"'* ]]
  [[ "$(put a/b world)" == *'"revision":2'* ]]
  cairn_kill
  cairn_start
  [[ "$(get a/b)" == *'"value":"world"'* ]]
}

@test "with no arguments it runs under the XDG folders" {
  mkfifo "$cairn_root/ready"
  cairnd --ready-fd 9 3>&- 9>"$cairn_root/ready" 2>"$cairn_root/log" &
  read -r line <"$cairn_root/ready"
  [ "$line" = "$XDG_RUNTIME_DIR/cairn/cairn.sock" ]
  [ -S "$line" ]
  [ -f "$XDG_DATA_HOME/cairn/node" ]
  [ "$(stat -c %a "$XDG_DATA_HOME/cairn")" = 700 ]
  kill $!
  wait $!
  [ ! -e "$line" ]
  grep -q 'msg=ready' "$cairn_root/log"
}

@test "a second daemon on the same data is told who holds it" {
  cairn_node
  run cairnd --data "$node/data" --socket "$cairn_root/other"
  [ "$status" -eq 5 ]
  [[ "$output" == "cairnd: unavailable: the data folder $node/data is in use by cairnd $(cairn_pid n1) (name n1)"* ]]
  [[ "$output" == *"hint: "* ]]
  cairn_kill
  cairn_start
}

@test "the node keeps its identity" {
  cairn_node
  id=$(grep '^id=' "$node/data/node")
  cairn_kill
  cairn_start
  [ "$(grep '^id=' "$node/data/node")" = "$id" ]
  [ "${#id}" -eq 35 ]
}

@test "a newer identity file is refused, and left as it is" {
  cairn_node
  cairn_stop
  sed -i 's/^cairn-node 1/cairn-node 2/' "$node/data/node"
  run cairnd --data "$node/data" --socket "$node/socket"
  [ "$status" -eq 10 ]
  [[ "$output" == "cairnd: unsupported: the identity file $node/data/node has format 2, and this cairnd knows formats up to 1"* ]]
  grep -q 'cairn-node 2' "$node/data/node"
}

@test "a damaged identity file is refused by its name" {
  cairn_node
  cairn_stop
  cp "$node/data/node" "$node/good"
  for damage in 's/^id=./id=x/' '$d' '1d'; do
    sed "$damage" "$node/good" >"$node/data/node"
    run cairnd --data "$node/data" --socket "$node/socket"
    [ "$status" -eq 9 ]
    [[ "$output" == "cairnd: corrupt: the identity file $node/data/node is damaged: "* ]]
  done
  : >"$node/data/node"
  run cairnd --data "$node/data" --socket "$node/socket"
  [ "$status" -eq 9 ]
  rm "$node/data/node"
  run cairnd --data "$node/data" --socket "$node/socket"
  [ "$status" -eq 9 ]
  [[ "$output" == *"damaged: it is gone, and there are volumes beside its place"* ]]
}

@test "a data folder that cannot be used is a sentence" {
  [ "$(id -u)" -ne 0 ] || skip "root may write everywhere"
  run cairnd --data /proc/x --socket "$cairn_root/s"
  [[ "$output" == *"the data folder /proc/x cannot be used: "* ]]
}

@test "SIGTERM answers what is under way and ends with 0; so does SIGINT" {
  requires_program nc
  requires_engine leveldb
  cairn_node
  requests=$(for i in $(seq 100); do printf '{"id":%d,"op":"put","args":{"key":"k%d","value":"v"}}\n' "$i" "$i"; done)
  printf '%s\n' "$requests" | nc -U -w 10 "$node/socket" >"$cairn_root/answers" &
  nc=$!
  until [ "$(wc -l <"$cairn_root/answers")" -gt 1 ]; do :; done
  cairn_stop
  wait "$nc" || true
  answered=$(grep -c '"ok"' "$cairn_root/answers")
  grep -q 'msg=ended' "$node/log"
  [ ! -e "$node/socket" ]
  cairn_start
  grep -q 'going down' "$cairn_root/answers"
  # what was written was answered
  [[ "$(printf '%s\n' '{"id":1,"op":"volume-stats"}' | ask)" == *"\"keys\":$answered,"* ]]
  cairn_signal INT
  cairn_reap
}

@test "SIGHUP opens the log file again" {
  cairn_node -o "log.file=$cairn_root/file.log"
  grep -q 'level=info msg=ready node=n1' "$cairn_root/file.log"
  mv "$cairn_root/file.log" "$cairn_root/old.log"
  cairn_signal HUP
  until grep -qs 'opened again' "$cairn_root/file.log"; do :; done
  cairn_stop
  grep -q 'msg=ended' "$cairn_root/file.log"
  ! grep -q 'msg=ended' "$cairn_root/old.log"
}

@test "every line of the log can be taken apart" {
  cairn_node --log-level trace
  cairn_stop
  ! grep -vE '^level=(error|warn|info|debug|trace) msg=("([^"\\]|\\.)*"|[^ "]+)( [a-z_-]+=("([^"\\]|\\.)*"|[^ "]+))* module=[a-z]+ time=[0-9TZ:.-]+$' "$node/log"
}

@test "under journald a line begins with its priority and has no time" {
  mkfifo "$cairn_root/ready"
  # shellcheck disable=SC2016
  bash -c 'JOURNAL_STREAM=$(stat -Lc %d:%i "/proc/self/fd/2") exec cairnd -d "$1/d" -s "$1/s" --ready-fd 9' - "$cairn_root" \
    3>&- 9>"$cairn_root/ready" 2>"$cairn_root/log" &
  read -r _ <"$cairn_root/ready"
  kill $!
  wait $!
  grep -q '^<6>level=info msg=ready' "$cairn_root/log"
  ! grep -q 'time=' "$cairn_root/log"
}

@test "systemd is told about readiness and the end" {
  requires_program python3
  python3 -c '
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print("bound", flush=True)
for _ in range(2):
    print(s.recv(100).decode(), flush=True)
' "$cairn_root/notify" 3>&- >"$cairn_root/states" &
  listener=$!
  until grep -qs bound "$cairn_root/states"; do :; done
  NOTIFY_SOCKET=$cairn_root/notify cairn_node
  cairn_stop
  wait "$listener"
  [ "$(tail -n 2 "$cairn_root/states" | tr '\n' ' ')" = "READY=1 STOPPING=1 " ]
}

@test "the pid file is there while the daemon runs" {
  cairn_node --pid-file "$cairn_root/pid"
  [ "$(cat "$cairn_root/pid")" = "$(cairn_pid n1)" ]
  run cairnd --data "$cairn_root/other" --socket "$cairn_root/other.sock" --pid-file "$cairn_root/pid"
  [ "$status" -eq 5 ]
  [[ "$output" == *"the pid file $cairn_root/pid is that of cairnd $(cairn_pid n1), which runs"* ]] || { echo "$output"; false; }
  [ "$(cat "$cairn_root/pid")" = "$(cairn_pid n1)" ]
  cairn_stop
  [ ! -e "$cairn_root/pid" ]
}

@test "it ends with its parent when asked to" {
  mkfifo "$cairn_root/ready"
  bash -c 'cairnd -d "$1/d" -s "$1/s" --exit-with-parent --ready-fd 9 2>/dev/null 9>"$1/ready" & read -r _ <"$1/ready" && echo $!' \
    - "$cairn_root" 3>&- >"$cairn_root/pid"
  pid=$(cat "$cairn_root/pid")
  [ -n "$pid" ]
  timeout 10 bash -c "while [ -d /proc/$pid ] && ! grep -q 'State:.Z' /proc/$pid/status; do :; done"
}

@test "a stale socket of a killed daemon is replaced, a living one is not" {
  cairn_node
  cairn_kill
  [ -S "$node/socket" ]
  cairn_start
  run cairnd --data "$cairn_root/other" --socket "$node/socket"
  [ "$status" -ne 0 ]
  [[ "$output" == *"$node/socket"* ]]
  [ -S "$node/socket" ]
}

@test "idle memory is at most 16 MiB, with two durable volumes" {
  requires_engine leveldb
  requires_program nc
  cairn_node
  printf '%s\n' '{"id":1,"op":"volume-create","args":{"name":"second"}}' | ask | grep -q '"ok"'
  put a b
  anon=$(awk '/^RssAnon/ { print $2 }' "/proc/$(cairn_pid n1)/status")
  echo "RssAnon $anon kB"
  ldd "$(command -v cairnd)" | grep -qE 'lib(a|t|ub)san' && skip "a sanitizer needs memory of its own"
  [ "$anon" -le 16384 ]
}
