# cairn shell: many lines over one connection, and a prompt.
# shellcheck disable=SC2154  # $output, $stderr and $status are bats'

bats_require_minimum_version 1.5.0

setup() {
  load lib/cairn.bash
  load lib/golden.bash
  cairn_node -o volume.engine=memory
  cd "$cairn_root" || return 1
}

@test "lines are done in order, and their output is in order" {
  run cairn shell <<'END'
# nothing
put a 1
put "b c" '2 3'
get "b c"
put a 4

get a
del a
put a $'5\n'
get a
stat -h
END
  [ "$status" -eq 2 ]
  [ "${lines[0]}" = "revision 1" ]
  [ "${lines[2]}" = "2 3revision 3" ]
  [ "${lines[3]}" = "4revision 4" ]
  [ "${lines[4]}" = "revision 5" ]
  [ "${lines[5]}" = 5 ]
}

@test "an error names its line, the others are done, and the first failure is the exit status" {
  printf 'put a 1\nget nothing\nfoo\nput "b\nput c 3\n' >lines
  run --separate-stderr cairn shell <lines
  [ "$status" -eq 1 ]
  [ "$output" = $'revision 1\nrevision 2' ]
  [ "$stderr" = "cairn: not-found: line 2: no key 'nothing' in volume main
cairn: invalid: line 3: there is no command 'foo'
hint: 'cairn help' lists the commands
cairn: invalid: line 4: a quote is not closed, or an escape is unknown" ]
  [ "$(cairn get c)" = 3 ]
}

@test "with --stop nothing behind a failure is done" {
  run cairn shell --stop <<'END'
put a 1
get nothing
put b 1
END
  [ "$status" -eq 1 ]
  [ "$(cairn ls)" = a ]
}

@test "with --atomic all lines are one step, or none is" {
  [ "$(printf 'put a 1\nput b 2\n' | cairn shell --atomic)" = "revision 1" ]
  run cairn shell --atomic < <(printf 'put a 9\ndel nothing\n')
  [ "$status" -eq 1 ]
  run cairn shell --atomic < <(printf 'put a 9\nls\n')
  [ "$status" -eq 2 ]
  [[ "$output" == "cairn: invalid: line 2: a transaction has no operation 'ls'"* ]]
  [ "$(cairn get a)" = 1 ]
}

@test "twenty thousand lines go in and come out" {
  seq 20000 | sed 's/.*/put n\/& v&/' >in
  cairn shell <in >out
  [ "$(wc -l <out)" -eq 20000 ]
  [ "$(tail -n 1 out)" = "revision 20000" ]
  seq 20000 | sed 's/.*/get n\/&/' | cairn --json shell | sed 's/.*"value":"v\(.*\)"}/\1/' | cmp - <(seq 20000)
}

@test "lines about one key keep their order beside others" {
  for i in $(seq 300); do echo "put k $i"; echo "get k"; echo "put other/$i x"; done >lines
  cairn --json shell <lines | sed -n 's/.*"key":"k".*"value":"\([0-9]*\)"}/\1/p' | cmp - <(seq 300)
}

@test "a line's own options hold for the line" {
  cairn volume create second --engine memory
  [ "$(printf 'put k 1\nput -V second k 2\nget k\nget -V second k\n' | cairn shell | tr '\n' ' ')" = "revision 1 revision 1 12" ]
}

@test "a prompt completes verbs and keys, and remembers lines that do not begin with a blank" {
  requires_program script
  # The program is statically built of our parts, so what it can do shows in what it is linked with.
  ldd "$(command -v cairn)" | grep -q libedit || skip "line editing is not part of this build"
  cairn put app/port 8080
  export XDG_STATE_HOME=$cairn_root/state
  # libedit never frees the name of a function that it was given.
  export ASAN_OPTIONS=detect_leaks=0
  printf 'get app/po\t\n secret\nexit\n' | TERM=xterm script -qec 'cairn shell' /dev/null >out
  grep -q '^8080' out
  if [ -e "$XDG_STATE_HOME/cairn/history" ]; then
    [ "$(stat -c %a "$XDG_STATE_HOME/cairn/history")" = 600 ]
    run grep secret "$XDG_STATE_HOME/cairn/history"
    [ "$status" -eq 1 ]
  fi
  printf 'get app/port\nexit\n' | TERM=dumb script -qec 'cairn shell' /dev/null | grep -q 8080
}

@test "proxy carries the protocol" {
  run bash -c 'echo "{\"id\":1,\"op\":\"ping\"}" | cairn proxy'
  [ "$status" -eq 0 ]
  [[ "${lines[0]}" == *'"protocol":1'* ]]
  [[ "${lines[1]}" == '{"id":1,"ok":{'* ]]
}
