#!/usr/bin/env bats
# Volumes: several in one daemon, made and dropped while it runs, no half state after a crash, and a damaged or
# stopped one leaves the others alone.

setup() {
  load lib/cairn.bash
  load lib/engines.bash
  requires_program nc
  node=$cairn_root/n1
}

ask() { nc -U -N -w 10 "$node/socket" | tail -n +2; }
op() { printf '{"id":1,"op":"%s","args":{%s}}\n' "$1" "$2" | ask; }
put() { printf '{"id":1,"op":"put","volume":"%s","args":{"key":"%s","value":"%s"}}\n' "$1" "$2" "$3" | ask; }
get() { printf '{"id":1,"op":"get","volume":"%s","args":{"key":"%s"}}\n' "$1" "$2" | ask; }
names() { op volume-list "" | grep -o '{"name":"[^"]*","engine"' | cut -d'"' -f4 | tr '\n' ' '; }

@test "volumes are apart, and are there after a restart" {
  requires_engine "$engine"
  cairn_node -e "$engine"
  [[ "$(op volume-create '"name":"second"')" == *'"ok"'* ]]
  [[ "$(op volume-create '"name":"ram","engine":"memory"')" == *'"ok"'* ]]
  [ "$(names)" = "main ram second " ]
  put main k one
  put second k two
  put ram k three
  [[ "$(get main k)$(get second k)$(get ram k)" == *one*two*three* ]]
  cairn_kill
  cairn_start
  [ "$(names)" = "main ram second " ]
  [[ "$(get main k)$(get second k)" == *one*two* ]]
  [[ "$(get ram k)" == *not-found* ]]
}

@test "parameters are kept and shown; weaker syncing has to be asked for by name" {
  requires_engine "$engine"
  cairn_node -e "$engine"
  parameter=cache amount=1M
  [ "$engine" != lmdb ] || parameter=readahead amount=no
  op volume-create '"name":"small","parameters":[{"name":"'$parameter'","amount":"'$amount'"},{"name":"folders","amount":"no"}]'
  op volume-create '"name":"weak","engine":"memory","parameters":[{"name":"sync","amount":"no"}]'
  cairn_stop
  cairn_start
  list=$(op volume-list "")
  [[ "$list" == *'"name":"small"'*'{"name":"folders","amount":"no"}'*'{"name":"'$parameter'","amount":"'$amount'"}'*'"text":"synced"'* ]]
  [[ "$list" == *'"name":"weak"'*'{"name":"sync","amount":"no"}'*'"text":"memory"'* ]]
  [[ "$list" == *'"name":"main"'*'{"name":"sync","amount":"yes"}'* ]]
  list=$(op volume-create '"name":"bold","parameters":[{"name":"sync","amount":"no"}]')
  if [ "$engine" = bitcask ]; then
    [[ "$list" == *'"ok"'* ]]
  else # LevelDB may lose a page in the middle of what was not synced, and LMDB more
    [[ "$list" == *'"unsupported"'*'sync=no is not possible'* ]]
  fi
}

# bats test_tags=one-engine
@test "what cannot be made is refused with the reason, and leaves nothing" {
  cairn_node -e memory
  [[ "$(op volume-create '"name":"main"')" == *'"exists"'*'volume main is there already'* ]]
  [[ "$(op volume-create '"name":"_x"')" == *'"invalid"'* ]]
  [[ "$(op volume-create '"name":"a/b"')" == *'"invalid"'* ]]
  [[ "$(op volume-create '"name":"x","engine":"levledb"')" == *levledb* ]]
  [[ "$(op volume-create '"name":"x","engine":"./e.so"')" == *'must be absolute'* ]]
  [[ "$(op volume-create '"name":"x","parameters":[{"name":"colour","amount":"red"}]')" == *"no parameter 'colour'"* ]]
  [[ "$(op volume-create '"name":"x","replication":"raftt"')" == *raftt* ]]
  [ "$(names)" = "main " ]
  [ "$(find "$node/data/volumes" -name 'x-*' | wc -l)" -eq 0 ]
  [[ "$(get nowhere k)" == *'"not-found"'*"no volume 'nowhere'"*'there is main'* ]]
}

@test "a dropped volume is gone with its files, also after a restart" {
  cairn_node -e "$engine"
  op volume-create '"name":"gone"'
  put gone k v
  [[ "$(op volume-drop '"name":"gone"')" == *'"ok"'* ]]
  [ "$(find "$node/data/volumes" -name 'gone-*' | wc -l)" -eq 0 ]
  [[ "$(get gone k)" == *not-found* ]]
  [[ "$(op volume-drop '"name":"gone"')" == *not-found* ]]
  op volume-create '"name":"gone"'
  [[ "$(get gone k)" == *not-found* ]]
  op volume-drop '"name":"main"'
  requires_engine "$engine" # without a durable engine the list of volumes begins anew
  cairn_stop
  cairn_start
  [ "$(names)" = "gone " ]
}

@test "a crash while a volume was being made or dropped leaves no half of one" {
  requires_engine "$engine"
  cairn_node -e "$engine"
  put main k v
  cairn_kill
  # made, but its row was never written
  mkdir "$node/data/volumes/half-0123456789abcdef"
  touch "$node/data/volumes/half-0123456789abcdef/pending" "$node/data/volumes/half-0123456789abcdef/000003.log"
  # about to be dropped, but its row was never deleted
  folder=$(echo "$node"/data/volumes/main-*)
  touch "$folder/pending"
  # somebody else's
  mkdir "$node/data/volumes/mine"
  cairn_start
  [ "$(names)" = "main " ]
  [[ "$(get main k)" == *'"value":"v"'* ]]
  [ ! -e "$node/data/volumes/half-0123456789abcdef" ]
  [ ! -e "$folder/pending" ]
  [ -d "$node/data/volumes/mine" ]
  grep -q 'a folder belongs to no volume' "$node/log"
}

@test "a damaged volume is refused with file and reason, and does not stop the others" {
  requires_engine "$engine"
  [ "$engine" != lmdb ] || skip "a start with engine-lmdb does not meet a damaged value"
  cairn_node -e "$engine" -o volume.through=yes
  op volume-create '"name":"other"'
  for i in $(seq 20); do put main "k$i" "$(printf '%0300d' "$i")" >/dev/null; done
  put other k fine
  cairn_kill
  file=$(spoil "$node/data/volumes" "$(printf '%0300d' 7)")
  cairn_start
  [[ "$(get other k)" == *'"value":"fine"'* ]]
  run get main k1
  echo "$output"
  [[ "$output" == *'"corrupt"'*"volume main"*"$file"* ]]
  [[ "$(put main x y)" == *'"corrupt"'* ]]
  [[ "$(op volume-list "")" == *'"name":"main"'*'"error":{"code":"corrupt"'*"$file"* ]]
  [[ "$(op status "")" == *'"state":"degraded"'* ]]
  [[ "$(op metrics "")" == *'"ok"'* ]]
  grep -q 'level=error msg="a volume cannot be served; the others are" volume=main' "$node/log"
  # it can be dropped and made anew
  [[ "$(op volume-drop '"name":"main"')" == *'"ok"'* ]]
  [[ "$(op volume-create '"name":"main"')" == *'"ok"'* ]]
  [[ "$(put main x y)" == *'"revision":1'* ]]
  [[ "$(op status "")" == *'"state":"ok"'* ]]
}

@test "a truncated file of the system volume is a sentence, and nothing is removed" {
  requires_engine "$engine"
  requires_engine bitcask
  cairn_node -e "$engine"
  put main k v
  cairn_stop
  : >"$node/data/volumes/_system/MANIFEST"
  run cairnd --data "$node/data" --socket "$node/socket"
  [ "$status" -ne 0 ]
  echo "$output"
  [[ "$output" == "cairnd: "*": volume _system ($node/data/volumes/_system): "* ]]
  [ -d "$(echo "$node"/data/volumes/main-*)" ]
}

@test "an engine that is gone refuses its volume only" {
  cairn_node -e memory
  cp "$CAIRN_BUILD/t/lib/.libs/engine-faulty.so" "$cairn_root/mine.so" || skip "engine-faulty is built by make check"
  op volume-create '"name":"odd","engine":"'"$cairn_root/mine.so"'"'
  put odd k v
  cairn_stop
  rm "$cairn_root/mine.so"
  requires_engine "$engine"
  cairn_start
  [[ "$(put main k v)" == *'"revision"'* ]]
  [[ "$(get odd k)" == *'"error"'*mine.so* ]]
}

# bats test_tags=one-engine
@test "a full disk refuses writes with 'full' and goes on by itself; a broken one stops only its volume" {
  faulty=$CAIRN_BUILD/t/lib/.libs/engine-faulty.so
  [ -e "$faulty" ] || skip "engine-faulty is built by make check"
  export CAIRN_FAULT=$cairn_root/fault
  cairn_node -e memory
  op volume-create '"name":"odd","engine":"'"$faulty"'"'
  put odd k v
  echo full >"$CAIRN_FAULT"
  run put odd k2 v
  [[ "$output" == *'"full"'*'volume odd on node n1'*'did not happen'* ]]
  [[ "$(get odd k)" == *'"value":"v"'* ]]
  [[ "$(op status "")" == *'"state":"degraded"'*'volume odd on node n1 refuses writes'* ]]
  : >"$CAIRN_FAULT"
  [[ "$(put odd k2 v)" == *'"revision":2'* ]]
  [[ "$(op status "")" == *'"state":"ok"'* ]]
  echo broken >"$CAIRN_FAULT"
  [[ "$(put odd k3 v)" == *'"unknown"'* ]]
  : >"$CAIRN_FAULT"
  [[ "$(put odd k4 v)" == *'volume odd'*'has stopped'*'disk is broken'* ]]
  [[ "$(get odd k)" == *'has stopped'* ]]
  [[ "$(put main k v)" == *'"revision":1'* ]]
  [[ "$(op status "")" == *'"state":"degraded"'*'odd'* ]]
}

# ENGINE…: a node that has only these takes the first one for all it makes, and it is there after a crash.
takes_first() {
  rm -rf "$node" "$cairn_root/plugins"
  mkdir "$cairn_root/plugins"
  for plugin in "${@/#/engine-}" replication-none; do cp "$CAIRN_BUILD/.libs/$plugin.so" "$cairn_root/plugins"; done
  CAIRN_PLUGIN_PATH=$cairn_root/plugins
  cairn_node
  op volume-create '"name":"second"'
  put second k two
  cairn_kill
  cairn_start
  [ "$(names)" = "main second " ]
  [[ "$(get second k)" == *two* ]]
  [ "$(op volume-list "" | grep -o '"engine":"[a-z]*"' | sort -u)" = "\"engine\":\"$1\"" ]
  cairn_stop
}

# bats test_tags=one-engine
@test "volumes and their list lie on bitcask, and on leveldb where that is not there" {
  requires_engine leveldb
  requires_engine bitcask
  [ -e "$CAIRN_BUILD/.libs/engine-bitcask.so" ] || skip "needs a build folder"
  takes_first bitcask leveldb
  takes_first leveldb
}
