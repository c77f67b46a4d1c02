# The control socket, by hand: what nc can say to it and what comes back.

setup() {
  load lib/cairn.bash
  requires_program nc
  requires_program jq
  cairn_node -o volume.engine=memory
  socket=$cairn_root/n1/socket
}

# ask: send standard input, print every line but the greeting; ends when all is answered.
ask() { timeout 20 nc -N -U "$socket" | tail -n +2; }
# line OP ARGS [REST]: one request with the id 1.
line() { printf '{"id":1,"op":"%s","args":%s}\n' "$1" "${2:-{\}}"; }
one() { line "$@" | ask; }
# metric NAME: its value.
metric() { one metrics | jq -r --arg n "$1" '.ok.statistics[] | select(.name == $n) | .amount'; }
# wait_for CONDITION…: until it holds, for ten seconds.
wait_for() {
  local deadline=$((SECONDS + 10))
  until "$@"; do [ $SECONDS -lt $deadline ] || return 1; done
}
# u32 and u64 in little-endian, for frames by hand.
u32() { printf '%b' "$(printf '\\x%02x' $(($1 & 255)) $(($1 >> 8 & 255)) $(($1 >> 16 & 255)) $(($1 >> 24 & 255)))"; }
u64() { u32 "$1" && u32 0; }
hex() { od -An -v -tx1 | tr -d ' \n'; }

@test "the first line names version, protocol and node" {
  run bash -c "timeout 20 nc -N -U '$socket' </dev/null"
  [ "$(jq -r '.protocol, .node' <<<"$output" | xargs)" = "1 n1" ]
  [ "$(jq -r .cairn <<<"$output")" = "$(cairnd --version | awk '{ print $NF; exit }')" ]
}

@test "put, get, del and scan over one connection, in order" {
  run ask <<'END'
{"id":1,"op":"put","args":{"key":"a/b","value":"hello"}}
{"id":2,"op":"get","volume":"main","args":{"key":"a/b"}}
{"id":3,"op":"scan","args":{"prefix":"a/","keys_only":true}}
{"id":4,"op":"del","args":{"key":"a/b"}}
{"id":5,"op":"get","args":{"key":"a/b"}}
END
  [ "$(jq -c 'select(.id == 1) | .ok.revision' <<<"$output")" = 1 ]
  [ "$(jq -c 'select(.id == 2) | .ok | [.key, .value, .revision, .size]' <<<"$output")" = '["a/b","hello",1,5]' ]
  [ "$(jq -c 'select(.id == 3) | .event.rows[0].key // .ok.count' <<<"$output" | xargs)" = "a/b 1" ]
  [ "$(jq -c 'select(.id == 5) | .error.code' <<<"$output")" = '"not-found"' ]
}

@test "a transaction: conditions, then or else, each for itself, conditions of one operation" {
  one put '{"key":"a","value":"1"}'
  results() { one txn "$1" | jq -c '.ok // .error | [.succeeded, .code, [.results[]? | .succeeded]]'; }
  put='{"op":"put","args":{"key":"b","value":"2"}}'
  once='{"op":"put","args":{"key":"a","value":"2","if":[{"key":"a","exists":false}]}}'
  lost='{"op":"del","args":{"key":"nothing"}}'
  [ "$(results '{"if":[{"key":"a","value":"1"},{"prefix":"f/","empty":true}],"then":['"$once,$put"'],"else":['"$lost"']}')" = '[true,null,[false,true]]' ]
  [ "$(results '{"if":[{"key":"b","exists":false}],"then":['"$lost"'],"else":['"$put"']}')" = '[false,null,[true]]' ]
  [ "$(results '{"then":['"$put,$lost"']}')" = '[null,"not-found",[]]' ]
  [ "$(one get '{"key":"b","meta_only":true}' | jq .ok.version)" = 2 ]
  [ "$(results '{"each":true,"then":['"$put,$lost,$once,$put"']}')" = '[true,null,[true,false,false,true]]' ]
  [ "$(one get '{"key":"b","meta_only":true}' | jq -c '.ok | [.version, .revision]')" = '[4,4]' ]
  [ "$(one get '{"key":"a","meta_only":true}' | jq .ok.version)" = 1 ]
}

@test "keys and values of any bytes" {
  run ask <<'END'
{"id":1,"op":"put","args":{"key_base64":"/wA=","value_base64":"AAEC/w=="}}
{"id":2,"op":"get","args":{"key_base64":"/wA="}}
END
  grep -qF '"key_base64":"/wA="' <<<"$output"
  [ "$( { printf '{"id":1,"op":"put","payload":7,"args":{"key":{"at":4,"len":3},"value":{"at":0,"len":4}}}\n\x00\xff\n}key' && \
    line get '{"key":"key"}'; } | ask | tail -n 2 | tail -c 4 | hex)" = 00ff0a7d ]
}

@test "a value of 1 MiB goes in and comes out behind the line" {
  head -c 1048576 /dev/urandom >"$cairn_root/large"
  # More than one command holds: as pieces of an upload, then one put that names it.
  for i in 0 1 2 3 4 5 6 7; do
    printf '{"id":%d,"op":"stage","payload":131072,"args":{"upload":"000102030405060708090a0b0c0d0e0f","index":%d,"value":{"at":0,"len":131072}}}\n' $((i + 1)) "$i"
    tail -c +$((i * 131072 + 1)) "$cairn_root/large" | head -c 131072
  done >"$cairn_root/requests"
  line put '{"key":"large","upload":"000102030405060708090a0b0c0d0e0f","size":1048576}' >>"$cairn_root/requests"
  ask <"$cairn_root/requests" >"$cairn_root/answers"
  run grep -c '"ok"' "$cairn_root/answers"
  [ "$output" = 9 ] || { cat "$cairn_root/answers"; false; }
  line get '{"key":"large"}' | ask >"$cairn_root/answer"
  [ "$(head -n 1 "$cairn_root/answer" | jq -c '[.payload, .ok.value.at, .ok.value.len]')" = "[1048576,0,1048576]" ]
  tail -n +2 "$cairn_root/answer" | cmp - "$cairn_root/large"
}

@test "what cannot be understood is answered, and the next line is served" {
  run ask <<'END'
{"id":1,"op":"gte","args":{"key":"a"}}
{"id":2,"op":"get","args":{"kye":"a"}}
{"id":3,"op":"get"}
{"id":4,"op":"get","args":{"key":"a","limit":1}}
{"id":5,"op":"get","volume":"mian","args":{"key":"a"}}
{"id":6,"op":"get","args":{"key":7}}
{"id":7
[1,2]
{"op":"get"}
{"id":8,"op":"put","payload":13,"args":{"kex":"a"}}
{"id":99,"op"{"id":9,"op":"get","key":"k","args":{"key":"k"}}
{"id":10,"op":"ping"}
END
  [ "$(jq -r 'select(.id == 1).error | .code, .hint' <<<"$output" | xargs -0)" = "$(printf "invalid\ndid you mean 'get'?\n")" ]
  [ "$(jq -r 'select(.id == 2).error.hint' <<<"$output")" = "did you mean 'key'?" ]
  [ "$(jq -r 'select(.id == 3).error.message' <<<"$output")" = "get needs the argument 'key'" ]
  [ "$(jq -r 'select(.id == 4).error.message' <<<"$output")" = "get takes no argument 'limit'" ]
  [ "$(jq -r 'select(.id == 5).error.code' <<<"$output")" = not-found ]
  [ "$(jq -r 'select(.id == 6).error.message' <<<"$output")" = "argument 'key' must be a string, or a place in the payload: {\"at\":N,\"len\":N}" ] ||
    [ "$(jq -r 'select(.id == 6).error.message' <<<"$output")" = "argument 'key' must be a string" ]
  [ "$(jq -r 'select(.id == null).error.code' <<<"$output" | xargs)" = "invalid invalid invalid" ]
  [ "$(jq -r 'select(.id == 8).error.code' <<<"$output")" = invalid ]
  [ "$(jq -r 'select(.id == 9).error.message' <<<"$output")" = "argument 'key' stands twice" ]
  [ "$(jq -r 'select(.id == 10).ok.served_by' <<<"$output")" = n1 ]
}

@test "a slash in front is hinted at" {
  one put '{"key":"app/port","value":"8080"}'
  run one get '{"key":"/app/port"}'
  [ "$(jq -r '.error | .message, .hint' <<<"$output")" = "$(printf "no key '/app/port' in volume main\nkeys have no leading slash; 'app/port' exists")" ]
}

@test "a line without end is refused, and the connection closed" {
  run bash -c "{ head -c 300000 /dev/zero | tr '\0' '{'; } | timeout 20 nc -U '$socket' | tail -n 1"
  [ "$(jq -r .error.code <<<"$output")" = too-large ]
}

@test "deep nesting is refused" {
  deep=$(printf '%20000s' | tr ' ' '[')
  run bash -c "{ printf '{\"id\":1,\"op\":\"get\",\"args\":%s\n' '$deep'; printf '{\"id\":2,\"op\":\"ping\"}\n'; } | timeout 20 nc -N -U '$socket'"
  [ "$(tail -n 2 <<<"$output" | jq -r '.error.code // .ok.served_by' | xargs)" = "invalid n1" ]
}

@test "a payload of unknown length ends the connection" {
  run bash -c "printf '{\"id\":1,\"op\":\"put\",\"payload\":-1}\n{\"id\":2,\"op\":\"ping\"}\n' | timeout 20 nc -U '$socket' | tail -n +2"
  [ "$(jq -r '.id, .error.code' <<<"$output" | xargs)" = "1 invalid" ]
  run bash -c "printf '{\"id\":1,\"payload\":5 \n{\"id\":2,\"op\":\"ping\"}\n' | timeout 20 nc -U '$socket' | tail -n +2"
  [ "$(jq -r '.error.code' <<<"$output")" = invalid ]
}

@test "neither encoding: told, and closed" {
  run bash -c "printf 'GET / HTTP/1.1\r\n\r\n' | timeout 20 nc -U '$socket' | tail -n 1"
  [ "$(jq -r .error.code <<<"$output")" = invalid ]
}

# frame ID NUMBER: a binary request without arguments.
frame() { u32 12 && u64 "$1" && printf '\x01\x00' && printf '%b' "$(printf '\\x%02x\\x%02x' $(($2 & 255)) $(($2 >> 8)))"; }
# binary: send standard input behind the four bytes that choose the encoding; print the answer as hex digits.
binary() { { printf '\xcaRN1' && cat; } | timeout 20 nc -N -U "$socket" | tail -n +2 | hex; }

@test "binary frames: a ping, an unknown operation, a version of tomorrow" {
  run bash -c "$(declare -f u32 u64 hex frame binary); socket='$socket'; { frame 7 40; frame 8 9999; } | binary"
  # Length, id 7, kind 0; then id 8, kind 1, and the error's number, 1.
  [[ "$output" =~ ^......0007000000000000000000000001000000 ]]
  [[ "$output" =~ 0800000000000000010000000100010036 ]] || [[ "$output" =~ 08000000000000000100000001000100 ]]
  run bash -c "$(declare -f u32 u64 hex frame binary); socket='$socket'; { u32 12; u64 9; printf '\x02\x00\x01\x00'; frame 10 40; } | binary"
  [[ "$output" =~ 09000000000000000100000001000100 ]]
  [[ "$output" =~ 0a000000000000000000000001000000 ]]
}

@test "binary frames out of bounds end the connection" {
  for bad in 'u32 2147483647' 'u32 3; printf abc' 'u32 12; u64 0; printf "\x01\x00\x28\x00"'; do
    run bash -c "$(declare -f u32 u64 hex frame); { printf '\xcaRN1'; $bad; frame 7 40; } | timeout 20 nc -U '$socket' | tail -n +2 | hex"
    [[ "$output" =~ ^........0000000000000000010000000100 ]] || { echo "$bad: $output"; false; }
    [[ ! "$output" =~ 0700000000000000 ]]
  done
}

@test "a binary frame that comes byte by byte is served" {
  run bash -c "$(declare -f u32 u64 hex frame); { printf '\xcaRN1'; frame 7 40; } >'$cairn_root/bytes'
    for ((i = 0; i < 20; i++)); do dd if='$cairn_root/bytes' bs=1 skip=\$i count=1 status=none; done |
    timeout 20 nc -N -U '$socket' | tail -n +2 | hex"
  [[ "$output" =~ 07000000000000000000000001000000 ]]
}

@test "20,000 pipelined requests are each answered once" {
  one put '{"key":"k","value":"v"}'
  for ((i = 1; i <= 20000; i++)); do echo "{\"id\":$i,\"op\":\"get\",\"args\":{\"key\":\"k\"}}"; done >"$cairn_root/many"
  ask <"$cairn_root/many" | jq -r 'select(.ok.value == "v") | .id' | sort -n >"$cairn_root/ids"
  seq 20000 | cmp - "$cairn_root/ids"
}

anonymous() { awk '/RssAnon/ { print $2 }' "/proc/$(cairn_pid n1)/status"; }

@test "a client that never reads does not make the daemon grow" {
  head -c 4000 /dev/zero | tr '\0' x >"$cairn_root/value"
  one put "{\"key\":\"k\",\"value\":\"$(cat "$cairn_root/value")\"}"
  mkfifo "$cairn_root/never"
  exec 8<>"$cairn_root/never"
  before=$(anonymous)
  # Eight of them, each asking without end.
  for ((i = 0; i < 8; i++)); do
    nc -U "$socket" < <(exec 3>&- 8>&- yes '{"id":1,"op":"get","args":{"key":"k"}}') >"$cairn_root/never" 3>&- 8>&- &
    clients[i]=$!
  done
  # Until nothing moves any more: ten looks in a row see only what the looks themselves send.
  seen=0 still=0
  quiet() {
    local now
    now=$(metric cairn_read_bytes_total)
    if [ "$now" -gt 8000 ] && [ $((now - seen)) -lt 1000 ]; then still=$((still + 1)); else still=0; fi
    seen=$now
    [ "$still" -ge 10 ]
  }
  wait_for quiet
  after=$(anonymous)
  kill "${clients[@]}"
  exec 8<&-
  echo "RssAnon $before kB, then $after kB"
  [ $((after - before)) -lt 40000 ]
  alone() { [ "$(metric cairn_connections)" = 1 ]; }
  wait_for alone
}

@test "clients that vanish leave nothing behind" {
  for ((i = 0; i < 2000; i++)); do echo "{\"id\":$((i + 1)),\"op\":\"put\",\"args\":{\"key\":\"k$i\",\"value\":\"v\"}}"; done >"$cairn_root/flood"
  for ((i = 0; i < 10; i++)); do
    timeout 0.05 nc -U "$socket" <"$cairn_root/flood" >/dev/null &
    printf '{"id":1,"op":"put","payload":1000,"args' | timeout 0.05 nc -U "$socket" >/dev/null &
  done
  wait %2 %3 %4 2>/dev/null || true
  alone() { connections=$(metric cairn_connections); in_flight=$(metric cairn_in_flight); [ "$connections $in_flight" = "1 1" ]; }
  wait_for alone || { echo "connections $connections, in flight $in_flight"; false; }
}

@test "a client that tears a line and leaves without reading is let go" {
  requires_program socat
  for ((i = 0; i < 20; i++)); do printf '{"id":1,"op":"put","payload":1000,"args' | timeout 20 socat -u - "UNIX-CONNECT:$socket"; done
  alone() { [ "$(metric cairn_connections)" = 1 ]; }
  wait_for alone
}

@test "a scan is a stream of pages, with a count at its end" {
  for ((i = 0; i < 5000; i++)); do printf '{"id":1,"op":"put","args":{"key":"s/%05d","value":"v"}}\n' "$i"; done | ask >/dev/null
  run one scan '{"prefix":"s/"}'
  [ "$(jq -s '[.[].event.rows? | values | length] | add' <<<"$output")" = 5000 ]
  [ "$(jq -s 'map(select(.event)) | length' <<<"$output")" -gt 3 ]
  [ "$(tail -n 1 <<<"$output" | jq -c .ok)" = '{"count":5000}' ]
  run one scan '{"prefix":"s/","limit":1200,"keys_only":true}'
  [ "$(tail -n 1 <<<"$output" | jq -c .ok.count)" = 1200 ]
  cursor=$(tail -n 1 <<<"$output" | jq -c '.ok | with_entries(select(.key | startswith("cursor")))')
  run one scan "$(jq -c '. + {prefix: "s/", limit: 1, keys_only: true}' <<<"$cursor")"
  [ "$(head -n 1 <<<"$output" | jq -r '.event.rows[0].key')" = s/01200 ]
  run one scan '{"prefix":"s/","reverse":true,"limit":1}'
  [ "$(head -n 1 <<<"$output" | jq -r '.event.rows[0].key')" = s/04999 ]
  run one scan '{"prefix":"none/"}'
  [ "$output" = '{"id":1,"ok":{"count":0}}' ]
}

@test "a scan can be cancelled, also while its client does not read" {
  value=$(head -c 4000 /dev/zero | tr '\0' x)
  for ((i = 0; i < 3000; i++)); do printf '{"id":1,"op":"put","args":{"key":"s/%05d","value":"%s"}}\n' "$i" "$value"; done | ask >/dev/null
  { line scan '{"prefix":"s/"}'; echo '{"id":1,"op":"cancel"}'; } | ask >"$cairn_root/answers"
  [ "$(grep -c '"ok"' "$cairn_root/answers")" = 1 ]
  [ "$(tail -n 1 "$cairn_root/answers" | jq -c '.ok.count')" -lt 3000 ]
}

@test "a scan waits for a slow reader, and gives it everything" {
  value=$(head -c 4000 /dev/zero | tr '\0' x)
  for ((i = 0; i < 4000; i++)); do printf '{"id":1,"op":"put","args":{"key":"s/%05d","value":"%s"}}\n' "$i" "$value"; done | ask >/dev/null
  mkfifo "$cairn_root/slow"
  exec 8<>"$cairn_root/slow"
  before=$(anonymous)
  nc -U "$socket" < <(exec 3>&- 8>&- && line scan '{"prefix":"s/"}') >"$cairn_root/slow" 3>&- 8>&- &
  client=$!
  quiet() {
    local a b
    a=$(metric cairn_in_flight)
    b=$(($(metric cairn_written_bytes_total) - $(metric cairn_written_bytes_total)))
    [ "$a" = 2 ] && [ "${b#-}" -lt 20000 ]
  }
  wait_for quiet
  echo "RssAnon $before kB, then $(anonymous) kB"
  [ $(($(anonymous) - before)) -lt 8000 ]
  sed '/"ok"/q' <&8 >"$cairn_root/got"
  kill "$client"
  exec 8<&-
  [ "$(tail -n 1 "$cairn_root/got" | jq -c .ok)" = '{"count":4000}' ]
  [ "$(tail -n +2 "$cairn_root/got" | jq -r '.event.rows[]?.key' | sort -u | wc -l)" = 4000 ]
}

@test "connections are bounded, and the one too many is told" {
  one config-set '{"setting":"control.connections","amount":"3"}'
  mkfifo "$cairn_root/hold"
  exec 8<>"$cairn_root/hold"
  for i in 1 2 3; do
    nc -U "$socket" <"$cairn_root/hold" >"$cairn_root/greeting$i" 3>&- 8>&- &
    clients[i]=$!
    wait_for test -s "$cairn_root/greeting$i"
  done
  run bash -c "timeout 20 nc -N -U '$socket' </dev/null"
  [ "$(jq -r .error.code <<<"$output")" = unavailable ]
  if command -v cairn >/dev/null; then
    run cairn get k
    [[ "$output" == *"node n1 has 3 connections already, as many as control.connections allows"* ]] || { echo "$output"; false; }
  fi
  kill "${clients[@]}"
  exec 8<&-
  served() { [ "$(one ping | jq -r .ok.served_by)" = n1 ]; }
  wait_for served
  [ "$(metric cairn_connections_refused_total)" -ge 1 ]
}

@test "a live socket is left alone, a dead one is replaced, another file is not" {
  run cairnd --data "$cairn_root/second" --socket "$socket" --name n2
  [ "$status" -ne 0 ]
  [[ "$output" == *"another daemon serves it"* ]]
  [ "$(one ping | jq -r .ok.served_by)" = n1 ]
  cairn_kill
  [ -S "$socket" ]
  cairn_start
  [ "$(one ping | jq -r .ok.served_by)" = n1 ]
  cairn_stop
  [ ! -e "$socket" ]
  echo precious >"$socket"
  run cairnd --data "$cairn_root/n1/data" --socket "$socket" --name n1
  [ "$status" -ne 0 ]
  [ "$(cat "$socket")" = precious ]
}

@test "strangers are kept out, and guests do not administer" {
  [ "$(stat -c %a "$socket")" = 600 ]
  [ "$(id -u)" = 0 ] || skip "only root can play another user"
  requires_program setpriv
  chmod 755 "$cairn_root" "$cairn_root/n1"
  guest() { setpriv --reuid=65534 --clear-groups --inh-caps=-all timeout 20 nc -N -U "$socket" | tail -n +2; }
  chmod 666 "$socket" # not by the settings: the daemon looks at who comes
  run bash -c "setpriv --reuid=65534 --clear-groups timeout 20 nc -N -U '$socket' </dev/null"
  [ "$(jq -r .error.code <<<"$output")" = denied ]
  cairn_stop
  cairn_options[n1]+=" -o control.mode=0666"
  cairn_start
  run guest < <(line put '{"key":"k","value":"v"}'; line volume-drop '{"name":"main"}'; line scan)
  [ "$(jq -r 'select(.ok.revision) | .ok.revision' <<<"$output")" = 1 ]
  [ "$(jq -r 'select(.error) | .error.code' <<<"$output")" = denied ]
  [ "$(jq -r 'select(.event) | .event.rows[0].author' <<<"$output")" = nobody@n1 ]
}

@test "clients are told when the daemon goes down" {
  mkfifo "$cairn_root/hold"
  exec 8<>"$cairn_root/hold"
  nc -U "$socket" <"$cairn_root/hold" >"$cairn_root/told" 3>&- 8>&- &
  client=$!
  line put '{"key":"k","value":"v"}' >&8
  wait_for grep -q '"revision":1' "$cairn_root/told"
  cairn_stop
  wait "$client"
  exec 8<&-
  [ "$(tail -n 1 "$cairn_root/told" | jq -c '[.id, .event.message]')" = '[0,"node n1 is going down"]' ]
}

@test "settings: a live one is changed, one for restarts is refused; levels of the log" {
  run one config-set '{"setting":"control.in-flight","amount":"10"}'
  [ "$(jq -r '.ok.rows[0].amount' <<<"$output")" = 10 ]
  [ "$(one config-get '{"setting":"control.in-flight"}' | jq -r '.ok.rows[0] | .amount, .text' | xargs)" = "10 config set" ]
  run one config-set '{"setting":"control.socket","amount":"/x"}'
  [ "$(jq -r '.error.code' <<<"$output")" = unsupported ]
  run one config-set '{"setting":"control.inflight","amount":"1"}'
  [[ "$(jq -r '.error.hint' <<<"$output")" == *control.in-flight* ]]
  run one log-level '{"module":"control","level":"debug"}'
  [ "$(jq -c '.ok.rows' <<<"$output")" = '[{"module":"control","level":"debug"}]' ]
  run one log-level '{"level":"loud"}'
  [ "$(jq -r '.error.code' <<<"$output")" = invalid ]
}

@test "metrics count requests by operation and code" {
  one put '{"key":"k","value":"v"}'
  one get '{"key":"nothing"}'
  one get '{"key":"nothing"}'
  run one metrics
  [ "$(jq -r '.ok.statistics[] | select(.name == "cairn_requests_total" and .labels == "op=\"get\",code=\"not-found\"").amount' <<<"$output")" = 2 ]
  [ "$(jq -r '.ok.statistics[] | select(.name == "cairn_request_seconds_count" and .labels == "op=\"put\"").amount' <<<"$output")" = 1 ]
  [ "$(jq -r '.ok.statistics[] | select(.name == "cairn_volume_keys" and .labels == "volume=\"main\"").amount' <<<"$output")" = 1 ]
}

@test "the operation table says what each operation takes" {
  run one operations '{"name":"set"}'
  [ "$(jq -r '.ok.operations[0] | .name, .permission' <<<"$output" | xargs)" = "put write" ]
  [ "$(jq -r '.ok.operations[0].arguments[] | select(.required).name' <<<"$output")" = key ]
  run one operations
  [ "$(jq '.ok.operations | length' <<<"$output")" -ge 29 ]
}

@test "the tables of cairn-protocol(7) are those of the program" {
  [ -x "$CAIRN_BUILD/man/protocol-tables" ] || skip "man/protocol-tables is not built"
  diff <("$CAIRN_BUILD/man/protocol-tables") \
    <(sed -n '/^\.\\" tables begin/,/^\.\\" tables end/p' "$CAIRN_SOURCE/man/cairn-protocol.7" | sed '1d;$d')
}

@test "plugins and volumes, listed, shown, made and dropped" {
  [ "$(one plugin-list | jq -r '.ok.rows[] | select(.type == "engine" and .name == "memory").name')" = memory ]
  [ "$(one plugin-show '{"name":"memory"}' | jq -r .ok.name)" = memory ]
  run one plugin-show '{"name":"memroy"}'
  [ "$(jq -r .error.code <<<"$output")" = not-found ]
  run one volume-create '{"name":"second","engine":"memory"}'
  [ "$(jq -r .ok.name <<<"$output")" = second ] || { echo "$output"; false; }
  one put '{"key":"only/here","value":"v","volume":"second"}'
  [ "$(one get '{"key":"only/here"}' | jq -r .error.code)" = not-found ]
  [ "$(one volume-list | jq -r '.ok.volumes[].name' | xargs)" = "main second" ]
  [ "$(one volume-stats '{"volume":"second"}' | jq -r '.ok.keys')" = 1 ]
  one volume-drop '{"name":"second"}'
  [ "$(one volume-list | jq -r '.ok.volumes[].name' | xargs)" = main ]
}
