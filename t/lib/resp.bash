# shellcheck shell=bash
# For tests of the Redis protocol: a redis-server to compare with, and the programs in t/resp. Load cairn.bash first.
resp=$CAIRN_SOURCE/t/resp

# wait_for CONDITION…: until it holds, for twenty seconds.
wait_for() {
  local deadline=$((SECONDS + 20))
  until "$@"; do [ $SECONDS -lt $deadline ] || { echo "waited in vain for: $*"; return 1; }; done
}

# A redis-server of its own on the socket $redis; it ends with the test.
redis_start() {
  redis=$cairn_root/redis.sock
  redis-server --port 0 --unixsocket "$redis" --dir "$cairn_root" --save "" --daemonize no "$@" \
    3>&- </dev/null >"$cairn_root/redis.log" 2>&1 &
  redis_pid=$!
  wait_for redis_answers || { cat "$cairn_root/redis.log"; return 1; }
}
redis_answers() { [ "$(redis-cli -s "$redis" ping 2>/dev/null)" = PONG ]; }
redis_stop() {
  [ -z "${redis_pid:-}" ] || { kill -KILL "$redis_pid" && wait "$redis_pid"; } 2>/dev/null || true
  redis_pid=
}
teardown() {
  redis_stop
  cairn_cleanup
}

requires_redis() {
  requires_program redis-server
  requires_program redis-cli
  requires_program python3
  [[ "$(redis-server --version)" == *" v=7."* ]] || skip "the tables were made with redis-server 7"
}
