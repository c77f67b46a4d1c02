# shellcheck shell=bash
# For tests of the Redis protocol: a redis-server to compare with, and the programs in t/resp. Load cairn.bash first.
# shellcheck disable=SC2034
resp=$CAIRN_SOURCE/t/resp

# wait_for CONDITION…: until it holds, for twenty seconds.
wait_for() {
  local deadline=$((SECONDS + 20))
  until "$@"; do [ $SECONDS -lt $deadline ] || { echo "waited in vain for: $*"; return 1; }; done
}

# redis_start [NAME [OPTION…]]: a redis-server on the socket $cairn_root/NAME.sock, which is $redis. It ends with the test.
redis_start() {
  local name=${1:-redis}
  redis=$cairn_root/$name.sock
  redis-server --port 0 --unixsocket "$redis" --dir "$cairn_root" --save "" --daemonize no "${@:2}" \
    3>&- {cairn_keeper}>&- </dev/null >"$cairn_root/$name.log" 2>&1 &
  redis_pids+=($!)
  wait_for redis_answers || { cat "$cairn_root/$name.log"; return 1; }
}
redis_answers() { [ "$(redis-cli -s "$redis" ping 2>/dev/null)" = PONG ]; }
redis_pids=()
teardown() {
  local pid
  for pid in "${redis_pids[@]}"; do { kill -KILL "$pid" && wait "$pid"; } 2>/dev/null || true; done
  cairn_cleanup
}

# face_start [OPTION…]: what speaks the Redis protocol on the socket $face, with the process number $face_pid: a node, or with
# CAIRN_TEST_RESP=redis redis-server.
face_start() {
  if [ "${CAIRN_TEST_RESP:-cairn}" = redis ]; then
    redis_start face --maxclients 20000 --client-output-buffer-limit "normal 32mb 0 0"
    face=$redis face_pid=${redis_pids[-1]}
  else
    requires_gateway
    face=$cairn_root/face.sock
    cairn_node -o volume.engine=memory -o "gateway.resp.listen=unix:$face" -o gateway.resp.connections=20000 "$@"
    face_pid=$(cairn_pid n1)
  fi
}

# The python3 that has the Redis client.
python_with_redis() {
  local python
  for python in python3 /usr/bin/python3; do
    if "$python" -c 'import redis' 2>/dev/null; then echo "$python" && return; fi
  done
  echo python3
}

requires_gateway() {
  requires_engine memory
  [ -z "${CAIRN_PLUGIN_PATH:-}" ] || [ -e "$CAIRN_PLUGIN_PATH/gateway-resp.so" ] || skip "gateway-resp is not part of this build"
}

requires_redis() {
  requires_program redis-server
  requires_program redis-cli
  requires_program python3
  [[ "$(redis-server --version)" == *" v=7."* ]] || skip "the tables were made with redis-server 7"
}
