# cairn bench: it measures, says what, and leaves nothing behind.
# shellcheck disable=SC2154  # $output, $stderr and $status are bats'
bats_require_minimum_version 1.5.0

setup() {
  load lib/cairn.bash
  load lib/golden.bash
  cd "$cairn_root"
  cairn_node -o volume.engine=memory
}

nothing_left() {
  [ "$(cairn ls)" = kept ]
  [ "$(cairn --json volume stats | jq .keys)" = 1 ]
}

@test "every request is counted, and the keys are gone afterwards" {
  cairn put kept 1
  cairn --json bench --count 3000 --clients 3 --in-flight 4 --keys 100 --size 1K --gets 25 >out
  [ "$(jq -r .operation out | tr '\n' ' ')" = "put get all " ]
  [ "$(jq -s '.[2].requests' out)" = 3000 ]
  [ "$(jq -s '.[0].requests + .[1].requests' out)" = 3000 ]
  [ "$(jq -s '.[1].requests | . > 600 and . < 900' out)" = true ]
  [ "$(jq -sc '.[2] | [.clients, .in_flight, .size, .keys]' out)" = '[3,4,1024,100]' ]
  # Percentiles ascend, and rate times time is the count.
  [ "$(jq -s 'all(.[]; .p50_us <= .p90_us and .p90_us <= .p99_us and .p99_us <= .p999_us and .p999_us <= .max_us)' out)" = true ]
  [ "$(jq -s '.[2] | (.per_second * .seconds - 3000 | fabs) < 20' out)" = true ]
  nothing_left
}

@test "it measures for as long as it is told, and shows a table" {
  cairn put kept 1
  start=${EPOCHREALTIME/./}
  run --separate-stderr cairn bench --duration 300ms --keys 50 --gets 0
  [ $((${EPOCHREALTIME/./} - start)) -ge 300000 ]
  [[ "${lines[0]}" == "volume main (memory) at unix:$cairn_root/n1/socket: 1 client with 1 request under way, values of 256 bytes, 50 keys, 0.3 s" ]]
  [[ "${lines[1]}" == "OPERATION  REQUESTS  PER SECOND  "*"MAX" ]]
  [[ "${lines[2]}" =~ ^put\ +[0-9]+\ +[0-9]+\ +[0-9.]+\ [um]s ]]
  [ "${#lines[@]}" -eq 3 ]
  nothing_left
}

@test "an interrupted bench shows what it has, and takes its keys away" {
  cairn put kept 1
  mkfifo events
  cairn watch --count 100 '' >events 2>/dev/null 3>&- &
  cairn bench --duration 1000 --gets 0 --keys 20 >out 3>&- &
  bench=$!
  # A hundred changes: it is at work.
  wc -l <events
  kill -INT "$bench"
  status=0
  wait "$bench" || status=$?
  [ "$status" -eq 130 ]
  nothing_left
}

@test "an error ends it with that error" {
  cairn put kept 1
  cairn volume create small --engine memory quota=20K
  run --separate-stderr cairn -V small bench --count 10 --size 1K --keys 100
  [ "$status" -eq 8 ]
  [[ "$stderr" == "cairn: quota: "* ]]
  [ -z "$(cairn -V small ls)" ]
  run cairn bench --in-flight 4096 --size 240K
  [ "$status" -eq 2 ]
  run cairn bench --gets 101
  [ "$status" -eq 2 ]
  [[ "$output" == "cairn: invalid: --gets is a number from 0 to 100" ]]
  run cairn bench --size 1x
  [ "$status" -eq 2 ]
  run cairn bench --count 1 --duration 1
  [ "$status" -eq 2 ]
  nothing_left
}

@test "a terminal sees how far it is" {
  requires_program script
  run terminal 'cairn bench --duration 1500ms --keys 10'
  [[ "$output" =~ [0-9]+\ requests,\ [12]\ of\ 2\ s ]]
}
