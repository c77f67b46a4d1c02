# The past through the command line: history, reading as of a revision or a time, settings of history.
# shellcheck disable=SC2154  # $output and $status are bats'

setup() {
  load lib/cairn.bash
  cairn_node -o volume.engine=memory -o volume.history=8
}

time_of() { cairn stat --json "$1" | jq -r .time; }

# history KEY: its versions as "revision change size", one a line.
versions() { cairn history --format plain "$1" | cut -f 1,3,4 | tr '\t' ' '; }

@test "history lists the versions of a key, how they came to be, and where from" {
  cairn put app/web.conf one
  cairn put app/web.conf three
  cairn append app/web.conf ' more'
  cairn mv app/web.conf app/old.conf
  cairn put app/web.conf new
  [ "$(versions app/web.conf)" = $'5 put 3\n4 move -\n3 append 10\n2 put 5\n1 put 3' ]
  [ "$(versions app/old.conf)" = "4 move 10" ]
  [ "$(cairn history --format plain app/old.conf | cut -f 7)" = "from app/web.conf" ]
  [ "$(cairn history --limit 2 --json app/web.conf | jq -r .change | xargs)" = "put move" ]
  run cairn history nothing
  [ "$status" -eq 1 ]
}

@test "a history of more than a page" {
  cairn volume set main history 5000
  seq 3000 | sed 's/.*/put counter &/' | cairn shell >/dev/null
  [ "$(cairn history --format plain counter | wc -l)" -eq 3000 ]
  [ "$(cairn history --format plain counter | cut -f 1 | sort -rnu | wc -l)" -eq 3000 ]
  [ "$(cairn get --revision 17 counter)" = 17 ]
}

@test "get, stat, ls, tree and scan as of a revision and as of a time" {
  cairn put app/port 8080
  cairn put app/name web
  then=$(time_of app/name)
  cairn put app/port 9090
  cairn del app/name
  cairn put app/sub/new 1
  [ "$(cairn get app/port)" = 9090 ]
  [ "$(cairn get --revision 2 app/port)" = 8080 ]
  [ "$(cairn get --at "$then" app/port)" = 8080 ]
  [ "$(cairn stat --at "$then" --json app/name | jq .revision)" -eq 2 ]
  [ "$(cairn ls -r --at "$then" | xargs)" = "app/name app/port" ]
  [ "$(cairn ls --revision 3 app | xargs)" = "app/name app/port" ]
  [ "$(cairn ls app | xargs)" = "app/port app/sub/" ]
  [ "$(cairn scan --at "$then" app/)" = $'app/name\tweb\napp/port\t8080' ]
  [ "$(cairn scan --reverse --revision 4 app/)" = $'app/port\t9090' ]
  [[ "$(cairn tree --at "$then")" == *name*port* ]]
  [ -z "$(cairn ls --at 1h)" ]
  run cairn get --revision 4 app/name
  [ "$status" -eq 1 ]
  run cairn ls --revision 99
  [ "$status" -eq 2 ]
  run cairn get --at yesterday app/port
  [ "$status" -eq 2 ]
  [[ "$output" == *"times look like 10m"* ]]
}

@test "a large value of the past is read in pieces, also while it is overwritten" {
  head -c 5000000 /dev/urandom >"$cairn_root/big"
  cairn put big @"$cairn_root/big"
  cairn put big small
  cairn get --revision 1 big | cmp - "$cairn_root/big"
  cairn append big er
  [ "$(cairn get --revision 2 big)" = small ]
}

@test "history that is given up is said to be so, and what the oldest is" {
  for i in 1 2 3 4 5; do cairn put k "$i"; done
  cairn volume set main history-floor 3
  [ "$(cairn get --revision 3 k)" = 3 ]
  run cairn ls --revision 2
  [ "$status" -eq 10 ]
  [ "$output" = "cairn: compacted: revision 2 is not kept any more; the oldest that is kept is 3" ]
  run cairn get --revision 2 k
  [ "$status" -eq 10 ]
  run cairn volume set main history-floor 1
  [ "$status" -eq 2 ]
  run cairn volume set main history-age soon
  [ "$status" -eq 2 ]
  cairn volume set main history 0
  [ "$(versions k)" = "5 put 1" ]
}

@test "beyond history-bytes the oldest history goes by itself" {
  cairn volume set main history-bytes 100K
  for i in 1 2 3; do head -c 100000 /dev/urandom | cairn put k -; done
  wait_for compacted
  [ "$(versions k | wc -l)" -lt 3 ]
}

compacted() { # a listing would hold the revision
  run cairn get --revision 1 k
  [ "$status" -eq 10 ]
}

# wait_for COMMAND…: until it succeeds.
wait_for() {
  local i
  for i in $(seq 100); do
    "$@" && return
    sleep 0.1
  done
  return 1
}
