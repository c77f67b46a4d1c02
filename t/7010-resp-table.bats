# Commands of the Redis protocol, and the bytes of their replies.

setup() {
  load lib/cairn.bash
  load lib/resp.bash
}

@test "the table is what redis-server answers, in RESP2 and RESP3" {
  requires_redis
  redis_start
  for protocol in 2 3; do
    run timeout 60 "$resp/table.py" --server "$redis" --as redis --protocol "$protocol" "$resp/commands.table"
    [ "$status" -eq 0 ] || { echo "$output"; false; }
  done
}

@test "a row that does not hold is told of, with both replies" {
  requires_redis
  redis_start
  printf '== wrong\nSET k v\t+OK\nGET k\t$1|w\nTTL k\t:{0..9}\nPING\t+PONG\n' >"$cairn_root/table"
  run timeout 60 "$resp/table.py" --server "$redis" --as redis "$cairn_root/table"
  [ "$status" -eq 1 ]
  [ "$output" = 'table:3: GET k
   expected $1|w
   got      $1|v
table:4: TTL k
   expected :{0..9}
   got      :-1
2 rows hold, 2 do not' ] || { echo "$output"; false; }
}

@test "the gateway answers as the table says, in RESP2 and RESP3" {
  requires_program python3
  face_start
  for protocol in 2 3; do
    run timeout 60 "$resp/table.py" --server "$face" --as cairn --protocol "$protocol" "$resp/commands.table"
    [ "$status" -eq 0 ] || { echo "$output"; false; }
  done
}
