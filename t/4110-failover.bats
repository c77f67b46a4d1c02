# shellcheck shell=bash
# What a user of the command meets when a node dies, stands still or comes back.

setup() {
  load lib/cairn.bash
}

teardown() { cairn_cleanup; }

@test "where no server is known the command says where it looked" {
  run cairn get k
  [ "$status" -eq 5 ]
  [[ "$output" == "cairn: unavailable: no server is known: "*$'\n'"hint: start one with cairnd, or name one with -s" ]]
}

@test "a socket that is not there, or that nobody listens on, is named" {
  run cairn -s /nonexistent/socket get k
  [ "$status" -eq 5 ]
  [[ "$output" == "cairn: unavailable: no cairnd at unix:/nonexistent/socket: No such file or directory"* ]]
  cairn_node -o volume.engine=memory
  cairn_kill
  run cairn put k v
  [ "$status" -eq 5 ]
  [[ "$output" == "cairn: unavailable: no cairnd at $CAIRN_SERVER: Connection refused"*"hint: start one with cairnd"* ]]
}

@test "a socket that belongs to somebody else is denied" {
  requires_program setpriv
  [ "$(id -u)" -eq 0 ] || skip "this needs root, to become somebody else"
  cairn_node -o volume.engine=memory
  chmod 755 "${cairn_root:?}" "$cairn_root/n1"
  run setpriv --reuid=65534 --clear-groups "$(command -v cairn)" get k
  [ "$status" -eq 4 ]
  [[ "$output" == "cairn: denied: you may not connect to $CAIRN_SERVER"* ]]
}

@test "of several servers the dead ones are passed over" {
  cairn_node -o volume.engine=memory
  run cairn -s "/nonexistent/a,$CAIRN_SERVER" put k v
  [ "$status" -eq 0 ]
  run cairn -s "/nonexistent/a,/nonexistent/b" put k v
  [ "$status" -eq 5 ]
  [[ "$output" == *"none of 2 servers answers: unix:/nonexistent/a (No such file or directory), unix:/nonexistent/b ("* ]]
}

@test "a node that stands still: the command says so in time, and nothing happens later" {
  cairn_node -o volume.engine=memory
  cairn put k old
  cairn_pause
  run cairn --timeout 200ms put k new
  cairn_resume
  [ "$status" -eq 5 ]
  [[ "$output" == "cairn: unavailable: no answer from $CAIRN_SERVER: it takes connections and says nothing"* ]]
  [ "$(cairn get k)" = old ]
}

@test "a node that stops answering: a read is a time-out, a write that was sent is unknown" {
  cairn_node -o volume.engine=memory
  coproc shell { exec cairn --timeout 300ms shell 2>&1; }
  # shellcheck disable=SC2154 # coproc sets it
  exec 7>&"${shell[1]}" 8<&"${shell[0]}"
  eval "exec ${shell[1]}>&-"
  pid=${shell_PID:?}
  echo 'put k old' >&7
  read -r -t 20 line <&8
  [ "$line" = "revision 1" ]
  cairn_pause
  printf 'get k\nput k new\n' >&7
  exec 7>&-
  run cat <&8
  cairn_resume
  [ "${lines[0]}" = "cairn: timeout: line 2: no answer from $CAIRN_SERVER within 300 ms" ]
  [ "${lines[1]}" = "cairn: unknown: line 3: no answer from $CAIRN_SERVER within 300 ms: whether the put happened is not known" ]
  [ "${lines[2]}" = "hint: read to see what is there before you repeat it" ]
  status=0
  wait "$pid" || status=$?
  [ "$status" -eq 7 ]
}

@test "a long value is put and got over a kill and a restart" {
  requires_engine leveldb
  cairn_node -o volume.engine=leveldb
  head -c 5000000 /dev/urandom >"${cairn_root:?}/big"
  mkfifo "$cairn_root/in" "$cairn_root/out"
  cairn --timeout 20s put big - <"$cairn_root/in" >"$cairn_root/said" &
  put=$!
  exec 7>"$cairn_root/in"
  head -c 2000000 "$cairn_root/big" >&7
  cairn_kill
  cairn_start n1 7>&-
  tail -c +2000001 "$cairn_root/big" >&7
  exec 7>&-
  wait "$put"
  [ "$(<"$cairn_root/said")" = "revision 1" ]
  cairn --timeout 20s get big >"$cairn_root/out" &
  get=$!
  exec 8<"$cairn_root/out"
  head -c 1000 <&8 >"$cairn_root/got"
  cairn_kill
  cairn_start n1 8<&-
  cat <&8 >>"$cairn_root/got"
  wait "$get"
  cmp "$cairn_root/big" "$cairn_root/got"
}

@test "one command over a kill and a restart: what it writes is written, once" {
  requires_engine leveldb
  cairn_node -o volume.engine=leveldb
  coproc shell { cairn --timeout 20s shell 2>&1; }
  # shellcheck disable=SC2154 # coproc sets it
  exec 7>&"${shell[1]}" 8<&"${shell[0]}"
  eval "exec ${shell[1]}>&-"
  echo 'put j v' >&7
  read -r -t 20 line <&8
  [ "$line" = "revision 1" ]
  cairn_kill 7>&-
  echo 'put k v' >&7
  cairn_start 7>&- 8<&-
  exec 7>&-
  run cat <&8
  [ "$output" = "revision 2" ] || { echo "$output"; false; }
  [ "$(cairn get k)" = v ]
}

@test "a clean stop is survived as well, and loses nothing that was answered" {
  requires_engine leveldb
  cairn_node -o volume.engine=leveldb
  coproc shell { seq 1 3000 | sed 's/.*/put k& &/' | cairn --timeout 20s shell 2>&1; }
  exec 8<&"${shell[0]}"
  for _ in 1 2 3; do
    read -r -t 20 line <&8
    [[ "$line" == "revision "* ]] || { echo "$line"; false; }
    cairn_stop
    cairn_start n1 8<&-
  done
  run cat <&8
  [ "${#lines[@]}" -eq 2997 ]
  [ "$(cairn scan --format plain | grep -c k)" -eq 3000 ]
  [ "$(cairn get k3000)" = 3000 ]
}

@test "cairn proxy carries both ways, and its end is the end of what is sent" {
  cairn_node -o volume.engine=memory
  cairn put k v
  run bash -c 'printf "%s\n" "{\"id\":1,\"op\":\"get\",\"args\":{\"key\":\"k\"}}" | timeout 20 cairn proxy'
  [ "$status" -eq 0 ]
  [[ "${lines[0]}" == '{"cairn":'* ]]
  [[ "${lines[1]}" == *'"value":"v"'* ]]
}

@test "ssh:HOST reaches a node by cairn proxy, and says what ssh said when it does not" {
  cairn_node -o volume.engine=memory
  cat >"${cairn_root:?}/ssh" <<'END'
#!/bin/sh
[ "$1" = far ] || { echo "ssh: Could not resolve hostname $1" >&2; exit 255; }
shift
exec "$@"
END
  chmod +x "$cairn_root/ssh"
  export CAIRN_SSH=$cairn_root/ssh
  head -c 500000 /dev/urandom >"$cairn_root/big"
  cairn -s ssh:far put k "@$cairn_root/big"
  cairn -s ssh:far get k | cmp - "$cairn_root/big"
  run cairn -s ssh:near get k
  [ "$status" -eq 5 ]
  [[ "$output" == "cairn: unavailable: no answer from ssh:near: ssh: Could not resolve hostname near"* ]]
}

@test "a listing goes on behind its last row when the node dies in the middle of it" {
  requires_engine leveldb
  cairn_node -o volume.engine=leveldb
  seq -w 1 40000 | sed 's/.*/put dir&\/k &/' | cairn shell >"${cairn_root:?}/out"
  for command in 'scan' 'scan --reverse' 'ls'; do
    # The pipe and the sockets hold a part of the rows only: the command waits for its reader.
    # shellcheck disable=SC2086 # an option apart
    coproc list { exec cairn --timeout 20s $command 2>&1; }
    # shellcheck disable=SC2154 # coproc sets it
    exec 8<&"${list[0]}"
    read -r -t 20 first <&8
    cairn_kill
    cairn_start n1 8<&-
    { echo "$first"; cat <&8; } | grep -o 'dir[0-9]*' >"$cairn_root/got"
    exec 8<&-
    seq -w 1 40000 | sed 's/^/dir/' >"$cairn_root/want"
    [ "$command" = 'scan --reverse' ] && sort -r -o "$cairn_root/want" "$cairn_root/want"
    cmp "$cairn_root/want" "$cairn_root/got"
  done
}

@test "a watch goes on over kill -9 without gap or repetition" {
  cairn_node -o volume.engine=leveldb
  requires_engine leveldb
  cairn put start 1
  cairn watch --format plain --from 1 --count 601 '' >"$cairn_root/seen" 3>&- &
  pid=$!
  for i in $(seq 3); do
    seq 200 | sed "s/.*/put k& $i/" | cairn shell >/dev/null &
    writer=$!
    until [ "$(wc -l <"$cairn_root/seen")" -ge $((i * 200 - 150)) ] || ! kill -0 "$pid" 2>/dev/null; do :; done
    cairn_kill
    cairn_start
    wait "$writer"
  done
  wait "$pid"
  # Each revision once, in order: what history says, too.
  [ "$(cut -f 4 "$cairn_root/seen")" = "$(seq 601)" ]
  [ "$(cut -f 2,3,4 "$cairn_root/seen" | grep -P '\tk7\t' | sort -k3n)" = "$(cairn history --format plain k7 | awk '{ print $4 "\tk7\t" $1 }' | sort -k3n)" ]
}

@test "a watch that a kill -9 meets amid the present content goes on there" {
  requires_engine leveldb
  cairn_node -o volume.engine=leveldb
  seq 20000 | sed 's/.*/put key& value/' | cairn shell >/dev/null
  mkfifo "$cairn_root/pipe"
  cairn watch --initial --format plain --count 20002 '' >"$cairn_root/pipe" 3>&- &
  pid=$!
  exec 7<"$cairn_root/pipe"
  read -r first <&7
  cairn put key1 after >/dev/null
  cairn_kill
  cairn_start
  cairn put key2 after >/dev/null
  { echo "$first"; cat <&7; } >"$cairn_root/seen"
  exec 7<&-
  wait "$pid"
  [ "$(head -n 20000 "$cairn_root/seen" | cut -f 2 | uniq)" = initial ]
  [ "$(head -n 20000 "$cairn_root/seen" | cut -f 3,4 | sort)" = "$(seq 20000 | sed 's/.*/key&\t&/' | sort)" ]
  [ "$(tail -n 2 "$cairn_root/seen" | cut -f 2-4)" = $'put\tkey1\t20001\nput\tkey2\t20002' ]
}
