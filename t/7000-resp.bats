# The gateway for Redis clients: its listeners, the protocol by hand, and the stock tools.
bats_require_minimum_version 1.5.0

setup() {
  load lib/cairn.bash
  requires_program redis-cli
  cairn_node -o volume.engine=memory -o "gateway.resp.listen=unix:$cairn_root/redis 127.0.0.1:0"
  port=$(sed -n 's/.*address=127.0.0.1:\([0-9]*\).*/\1/p' "$cairn_root/n1/log")
}

r() { timeout 20 redis-cli -s "$cairn_root/redis" "$@"; }
# send TEXT: raw bytes (printf's escapes), and what comes back until the other side closes.
send() { printf '%b' "$1" | timeout 20 nc -N -U "$cairn_root/redis" | tr '\r' '.'; }

@test "redis-cli over a Unix socket and TCP: what one writes, cairn reads" {
  [ "$(r ping)" = PONG ]
  [ "$(r set a/b hello)" = OK ]
  [ "$(r get a/b)" = hello ]
  [ "$(cairn get a/b)" = hello ]
  cairn put c world
  [ "$(timeout 20 redis-cli -p "$port" get c)" = world ]
  [ "$(r del a/b c nothing)" = 2 ]
  [ "$(r exists-not)" = "ERR unknown command 'exists-not', with args beginning with: " ]
  [ "$(cairn history a/b --json | grep -c redis@n1)" -ge 0 ]
}

@test "a pipeline sees its own writes in order, in both versions, and inline commands" {
  requires_program nc
  run send 'SET k 1\r\nGET k\r\nSET k 2\r\nGET k\r\nPING\r\nDEL k\r\nGET k\r\nQUIT\r\n'
  [ "$output" = $'+OK.\n$1.\n1.\n+OK.\n$1.\n2.\n+PONG.\n:1.\n$-1.\n+OK.' ]
  run send '*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n*2\r\n$3\r\nGET\r\n$1\r\nx\r\nQUIT\r\n'
  [ "$(tail -n 2 <<<"$output")" = $'_.\n+OK.' ]
  [ "${lines[0]}" = %7. ]
  run send '*1\r\n$x\r\n'
  [ "$output" = "-ERR Protocol error: invalid bulk length." ]
}

@test "redis-benchmark runs to its end" {
  requires_program redis-benchmark
  run timeout 60 redis-benchmark -s "$cairn_root/redis" -t set,get -n 20000 -c 20 -P 16 -q
  [ "$status" = 0 ]
  [ "$(tr '\r' '\n' <<<"$output" | grep -c 'requests per second, p50')" = 2 ]
}

@test "a password is asked for; beyond loopback it must be" {
  cairn_stop
  run ! timeout 20 cairnd --data "$cairn_root/x" --socket "$cairn_root/xs" -o volume.engine=memory -o gateway.resp.listen='*:0'
  [[ $output = *"can be reached from other machines"*password-file* ]]
  echo "open sesame" >"$cairn_root/pw"
  cairn_node -o volume.engine=memory -o "gateway.resp.listen=unix:$cairn_root/redis *:0" -o "gateway.resp.password-file=$cairn_root/pw"
  [ "$(r get k)" = "NOAUTH Authentication required." ]
  [[ $(r auth wrong) = WRONGPASS* ]]
  [ "$(r --no-auth-warning -a 'open sesame' set k v)" = OK ]
}

@test "a gateway's settings are checked by its own rows" {
  cairn plugin show resp | grep -q volumes
  run ! timeout 20 cairnd --data "$cairn_root/x" --socket "$cairn_root/xs" -o volume.engine=memory -o gateway.resp.lisen=x
  [[ $output = *"did you mean 'listen'"* ]]
  run ! timeout 20 cairnd --data "$cairn_root/x" --socket "$cairn_root/xs" -o volume.engine=memory -o gateway.res.listen=x
  [[ $output = *"no gateway 'res'"*"did you mean 'resp'"* ]]
  cairnd -o gateway.resp.listen=127.0.0.1:1 --print-config | grep -A1 -F '[gateway.resp]' | grep -q 'listen = 127.0.0.1:1'
}

@test "cairn's own commands: history, revert, transactions with conditions, status" {
  r select 0 && r set k 1 && r set k 2
  [ "$(r cairn.txn if k eq 2 if q absent then set k 3 incrby n 5 else get k | xargs)" = "1 OK 5" ]
  [ "$(r cairn.txn if k eq 2 then set k 9 else get k | xargs)" = "0 3" ]
  [[ $(r cairn.txn if k then get k) = "ERR a condition is: "* ]]
  [ "$(r cairn.status | sed -n 2p)" = ok ]
  [[ $(r lpush list x) = "ERR cairn has no 'lpush': use a key for each item"* ]]
  cairn volume create --engine bitcask kept || cairn volume create --engine leveldb kept
  cairn_stop
  cairn_node -o volume.engine=memory -o "gateway.resp.listen=unix:$cairn_root/redis" -o "gateway.resp.volumes=main kept"
  r -n 1 set k old && r -n 1 set k new
  [ "$(cairn get --volume kept k)" = new ]
  revision=$(r -n 1 cairn.history k | grep -A1 '^revision$' | tail -1)
  r -n 1 cairn.revert k "$revision"
  [ "$(r -n 1 get k)" = old ]
  [ "$(r -n 1 dbsize) $(r -n 0 dbsize)" = "1 0" ]
}
