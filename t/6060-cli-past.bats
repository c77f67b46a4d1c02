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

@test "a key is put back as it was, also when it is gone" {
  cairn put app/web.conf good
  cairn put app/web.conf oops
  [ "$(cairn revert -n app/web.conf 1)" = "app/web.conf would be as at revision 1 (4 bytes)" ]
  [ "$(cairn revert app/web.conf 1)" = "revision 3: app/web.conf is again as at revision 1 (4 bytes)" ]
  [ "$(cairn get app/web.conf)" = good ]
  cairn del app/web.conf
  cairn revert app/web.conf 2
  [ "$(cairn get app/web.conf)" = oops ]
  [ "$(versions app/web.conf | head -2)" = $'5 revert 4\n4 delete -' ]
  run cairn revert nothing 2
  [ "$status" -eq 1 ]
  # One that is there now, and was not then.
  cairn put app/new 1
  run cairn revert app/new 2
  [ "$status" -eq 1 ]
  [ "$output" = "cairn: not-found: no key 'app/new' in volume main at revision 2" ]
  run cairn get --revision 2 app/new
  [ "$output" = "cairn: not-found: no key 'app/new' in volume main at revision 2" ]
  run cairn revert app/web.conf 99
  [ "$status" -eq 2 ]
}

@test "a folder is put back as it was, with a preview" {
  cairn put app/a 1
  cairn put app/b 1
  cairn put app2 1
  then=$(time_of app2)
  cairn del -r app
  cairn put app/b 2
  cairn put app/c 2
  cairn put app2 2
  [ "$(cairn revert -n -r app "$then")" = $'put back  app/a\nchange    app/b\nremove    app/c\n1 key would be put back, 1 changed, 1 removed' ]
  [ "$(cairn revert -r app "$then")" = "revision 8: 1 key put back, 1 changed, 1 removed" ]
  [ "$(cairn scan app)" = $'app/a\t1\napp/b\t1\napp2\t2' ]
  cairn revert -r app 7
  [ "$(cairn scan app/)" = $'app/b\t2\napp/c\t2' ]
  run cairn revert -r app 100
  [ "$status" -eq 2 ]
}

@test "on a terminal a folder is put back when that is agreed to" {
  cairn put app/a 1
  cairn put app/a 2
  cd "$cairn_root"
  printf 'n\n' | script -qec 'cairn revert -r app 1' /dev/null | grep -F 'Go on? [y/N]'
  [ "$(cairn get app/a)" = 2 ]
  printf 'y\n' | script -qec 'cairn revert -r app 1' /dev/null | grep -F '0 keys put back, 1 changed, 0 removed'
  [ "$(cairn get app/a)" = 1 ]
}

@test "purge leaves nothing behind" {
  cairn put app/a secret
  cairn put app/a other
  cairn put app/b secret
  cairn del app/b
  cairn put keep 1
  cairn del --purge app/a
  run cairn history app/a
  [ "$status" -eq 1 ]
  [ "$(cairn history app/b --format plain | wc -l)" -eq 2 ]
  [ "$(cairn del -r --purge app)" = "revision 6: 1 key and its history deleted" ]
  run cairn history app/b
  [ "$status" -eq 1 ]
  [ -z "$(cairn ls -r --revision 1)" ]
  run cairn del --purge app/b
  [ "$status" -eq 1 ]
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
