# The Redis protocol with the programs and libraries that people have. CAIRN_TEST_RESP=redis runs these tests against redis-server
# itself, so that what they ask for is what it does.

setup() {
  load lib/cairn.bash
  load lib/resp.bash
  requires_redis
  face_start
}

# ask NAME: a test of t/resp/clients.py.
ask() {
  run timeout 120 "$(python_with_redis)" "$resp/clients.py" "$face" "$face_pid" "$1"
  [ "$status" -eq 0 ] || { echo "$output"; false; }
}
requires_client() { "$(python_with_redis)" -c 'import redis' 2>/dev/null || skip "Python's redis is not here"; }
r() { timeout 20 redis-cli -s "$face" "$@"; }

@test "redis-cli: words, bytes, files, errors, RESP3, a script of lines" {
  [ "$(r set k 'a value')" = OK ]
  [ "$(r get k)" = 'a value' ]
  [ "$(printf 'a\0b\r\n' | r -x set bytes)" = OK ]
  [ "$(r --raw get bytes | od -An -tx1 | tr -d ' \n')" = 6100620d0a0a ]
  [ "$(r -3 --json mget k none)" = '["a value",null]' ]
  [ "$(r -r 3 incr n | xargs)" = "1 2 3" ]
  run r incr k
  [ "$output" = "ERR value is not an integer or out of range" ]
  [ "$(printf 'multi\nset a 1\nincr a\nexec\n' | r | xargs)" = "OK QUEUED QUEUED OK 2" ]
}

@test "redis-cli takes many commands through a pipe, and lists keys" {
  for ((i = 1; i <= 1000; i++)); do printf 'SET s:%d %d\r\n' $i $i; done >"$cairn_root/commands"
  run timeout 60 redis-cli -s "$face" --pipe <"$cairn_root/commands"
  [[ "$output" == *"errors: 0, replies: 1000"* ]] || { echo "$output"; false; }
  [ "$(r --scan --pattern 's:99*' | sort | xargs)" = "s:99 s:990 s:991 s:992 s:993 s:994 s:995 s:996 s:997 s:998 s:999" ]
  run timeout 60 redis-cli -s "$face" --bigkeys
  [[ "$output" == *"Sampled 1000 keys in the keyspace!"*"1000 strings with 2893 bytes"* ]] || { echo "$output"; false; }
}

@test "redis-benchmark runs without an error" {
  requires_program redis-benchmark
  run timeout 60 redis-benchmark -s "$face" -t ping,set,get,incr,mset -n 5000 -c 20 -P 8 -r 1000 -q
  [ "$status" -eq 0 ]
  output=$(tr '\r' '\n' <<<"$output")
  [ "$(grep -c 'requests per second, p50' <<<"$output")" -eq 6 ] || { echo "$output"; false; }
  ! grep -E 'Error|WARN' <<<"$output"
  [ "$(r dbsize)" -gt 500 ]
}

@test "a program in C with hiredis" {
  pkg-config --exists hiredis 2>/dev/null || skip "libhiredis is not here"
  read -ra flags < <(pkg-config --cflags --libs hiredis)
  "${CC:-cc}" -Wall -Wextra "$resp/hiredis.c" -o "$cairn_root/hiredis" "${flags[@]}"
  run timeout 60 "$cairn_root/hiredis" "$face"
  [ "$output" = "hiredis is content" ] || { echo "$output"; false; }
}

@test "Python's client: commands" { requires_client; ask py_basics; }
@test "Python's client: pipelines and scans" { requires_client; ask py_pipeline; }
@test "Python's client: four threads count with WATCH, and none is lost" { requires_client; ask py_watch; }
@test "Python's client: a lock that times out, and is given back by its owner alone" { requires_client; ask py_lock; }
@test "Python's client: messages about keys" { requires_client; ask py_pubsub; }
@test "a pipeline of 20,000 commands sees its own writes, in order, in pieces too" { ask pipeline; }
@test "values of all sizes come back whole" { ask values; }
@test "a scan beside writers returns every key that is there throughout" { ask scan; }
@test "a client that asks and does not read costs little memory, and others no time" { ask slow; }
@test "a subscriber that does not read is cut off; the writer and another subscriber are not" { ask slow_subscriber; }
@test "a cache that believes CLIENT TRACKING ends with the newest values" { ask tracking; }
@test "keyspace events come in the order of the writes" { ask events; }

# bats test_tags=slow
@test "10,000 connections say something and half close; nothing of them stays" { ask connections; }

# bats test_tags=slow
@test "all this is what redis-server does, too" {
  [ -z "${CAIRN_TEST_RESP:-}" ] || skip "it is being tested"
  run env CAIRN_TEST_RESP=redis timeout 300 bats --tap "$BATS_TEST_FILENAME"
  [ "$status" -eq 0 ] || { echo "$output"; false; }
  ! grep '^not ok' <<<"$output"
}
