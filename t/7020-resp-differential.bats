# Random commands: the same to redis-server and to another server give the same replies.

setup() {
  load lib/cairn.bash
  load lib/resp.bash
  requires_redis
}

# What the gateway does not queue, and a watched key that was never there: its README has the reasons.
loosely=(--not-in-multi "INCRBYFLOAT,KEYS,SCAN,RANDOMKEY,DBSIZE,FLUSHDB,GETRANGE,MSETNX,EXPIRE,PEXPIRE,EXPIREAT,PEXPIREAT"
  --watch-present)
differ() { timeout 250 "$resp/differ.py" "$@"; }

@test "two redis-servers answer the same" {
  redis_start one
  redis_start other
  for protocol in 2 3; do
    run differ --left "$cairn_root/one.sock" --right "$redis" --protocol "$protocol" --seeds 1-3
    [ "$status" -eq 0 ] || { echo "$output"; false; }
  done
}

@test "a difference is shown in as few steps as show it" {
  redis_start one
  redis_start other --rename-command GETEX ""
  run differ --left "$cairn_root/one.sock" --right "$redis" --seeds 3
  [ "$status" -eq 1 ]
  [ "${lines[0]}" = "seed 3, RESP2: the replies differ after 1 steps" ] || { echo "$output"; false; }
  [[ "$output" == *"right -ERR unknown command 'GETEX'"* ]] || { echo "$output"; false; }
}

@test "random commands over four connections: the gateway answers as redis-server does" {
  redis_start
  face_start
  for protocol in 2 3; do
    run differ --left "$redis" --right "$face" --protocol "$protocol" --seeds 1-3 "${loosely[@]}"
    [ "$status" -eq 0 ] || { echo "$output"; false; }
  done
}

# bats test_tags=slow
@test "more random commands, in longer sequences" {
  redis_start
  face_start
  for protocol in 2 3; do
    run differ --left "$redis" --right "$face" --protocol "$protocol" --seeds 100-140 --steps 600 "${loosely[@]}"
    [ "$status" -eq 0 ] || { echo "$output"; false; }
  done
}
