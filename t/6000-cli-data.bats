# The command's verbs on keys: values in and out, conditions, exit status, errors.
# shellcheck disable=SC2154  # $output, $stderr and $status are bats'

bats_require_minimum_version 1.5.0

setup() {
  load lib/cairn.bash
  load lib/golden.bash
  cairn_node -o volume.engine=memory
  cd "$cairn_root" || return 1
}

# fails STATUS CODE SENTENCE COMMAND…: COMMAND ends with STATUS, writes nothing to standard output, and says this.
fails() {
  local status_wanted=$1 sentence=$2 first
  shift 2
  run --separate-stderr "$@"
  first=${stderr%%$'\n'*}
  if [ "$status" -ne "$status_wanted" ] || [ -n "$output" ] || [[ "$first" != "cairn: "$sentence ]]; then
    echo "status $status, output '$output', standard error '$stderr'"
    return 1
  fi
}

@test "put prints the revision, get gives exactly the bytes" {
  [ "$(cairn put app/port 8080)" = "revision 1" ]
  [ "$(cairn get app/port | od -An -c | tr -d ' ')" = 8080 ]
  [ "$(cairn --json get app/port)" = '{"key":"app/port","revision":1,"value":"8080"}' ]
}

@test "a value is text, a file, standard input, or whatever --value says" {
  printf 'a\0b\n' >file
  cairn put k1 @file && cairn put k2 - <file && cairn put k3 @@file && cairn put --value -x k4 && cairn put k5 ''
  cairn get k1 | cmp - file
  cairn get k2 | cmp - file
  [ "$(cairn get k3)" = @file ]
  [ "$(cairn get k4)" = -x ]
  [ "$(cairn get k5 | wc -c)" -eq 0 ]
  fails 2 "invalid: nofile: No such file or directory" cairn put k @nofile
  fails 2 "invalid: put: the value is missing" cairn put k
}

@test "keys may be any bytes, and begin with a dash behind --" {
  cairn put $'\xff new\nline' 1
  cairn put -- -k 2
  [ "$(cairn get $'\xff new\nline')" = 1 ]
  [ "$(cairn get -- -k)" = 2 ]
  [ "$(cairn --json get $'\xff new\nline')" = '{"key_base64":"/yBuZXcKbGluZQ==","revision":1,"value":"1"}' ]
}

@test "64 MiB go in and out of pipes, and more is refused whole" {
  head -c 67108864 /dev/urandom >big
  cairn put big - < <(cat big)
  cairn get big | cmp - big
  fails 8 "too-large: *" cairn put more - < <(head -c 67108865 /dev/zero)
  fails 1 "not-found: no key 'more' in volume main" cairn get more
}

@test "the exit status and one sentence say what is wrong, with a hint where one helps" {
  cairn put app/port 8080
  fails 1 "not-found: no key '/app/port' in volume main" cairn get /app/port
  [[ "$stderr" == *$'\n'"hint: keys have no leading slash; 'app/port' exists" ]]
  fails 2 "invalid: there is no command 'gte'" cairn gte
  [[ "$stderr" == *$'\n'"hint: did you mean 'get'?" ]]
  fails 2 "invalid: put has no option '--if-revison'" cairn put --if-revison 3 k v
  fails 1 "not-found: no key 'app' in volume main" cairn get app
  [[ "$stderr" == *$'\n'"hint: it is a folder: 'cairn ls' shows it" ]]
  fails 1 "not-found: no key 'app' in volume main" cairn del app
  [[ "$stderr" == *$'\n'"hint: it is a folder: 'cairn del -r' takes it whole" ]]
  fails 2 "invalid: snapshot: which command?" cairn snapshot
  fails 2 "invalid: put: --ttl does not go with --keep-ttl" cairn put --ttl 9 --keep-ttl k v
  fails 2 "invalid: which command?" cairn
  fails 1 "not-found: *nowhere*" cairn --volume nowhere get k
  fails 5 "unavailable: *" cairn -s "unix:$cairn_root/nobody" get k
  fails 1 "not-found: no key 'k' in volume main" cairn del k
}

@test "with --json an error is an object on standard error" {
  run --separate-stderr cairn --json get nothing
  [ "$status" -eq 1 ]
  [ -z "$output" ]
  [ "$stderr" = '{"code":"not-found","message":"no key '"'nothing'"' in volume main"}' ]
  run --separate-stderr cairn --json gte
  [ "$status" -eq 2 ]
  [[ "$stderr" == '{"code":"invalid",'*'"hint":"did you mean '"'get'?"'"}' ]]
}

@test "put and del obey --if-revision and --if-absent, and give back what was there" {
  cairn put k one
  fails 3 "conflict: *" cairn put --if-revision 7 k two
  fails 3 "conflict: *" cairn put --if-absent k two
  fails 3 "conflict: *" cairn del --if-revision 7 k
  [ "$(cairn get k)" = one ]
  [ "$(cairn put --if-revision 1 --return-old k two)" = one ]
  [ "$(cairn put --if-absent other x)" = "revision 3" ]
  [ "$(cairn del --return-old k)" = two ]
  fails 1 "not-found: *" cairn get k
}

@test "append adds to a value, or makes it" {
  cairn append log 'one
'
  cairn append log 'two
'
  [ "$(cairn get log)" = $'one\ntwo' ]
}

@test "cp and mv take keys, and whole folders; a folder's name is no prefix" {
  cairn put a/x 1 && cairn put a/y/z 2 && cairn put ab 3
  [ "$(cairn cp -r a b)" = "revision 4: 2 keys copied" ]
  [ "$(cairn mv a/ c/)" = "revision 5: 2 keys moved" ]
  [ "$(cairn ls -r | tr '\n' ' ')" = "ab b/x b/y/z c/x c/y/z " ]
  cairn cp ab b/ && cairn mv c/x c/w
  [ "$(cairn ls -r | tr '\n' ' ')" = "ab b/ab b/x b/y/z c/w c/y/z " ]
  [ "$(cairn del -r b c | tail -n 1)" = "revision 9: 2 keys deleted" ]
  [ "$(cairn ls)" = ab ]
  fails 1 "not-found: *" cairn mv nothing else
  cairn put d/e 1
  fails 1 "not-found: no key 'd' in volume main" cairn mv d e
  [[ "$stderr" == *"hint: it is a folder: 'cairn mv -r' takes it whole" ]]
}

@test "a folder over the bulk limit is deleted and copied page by page; a move of it is refused" {
  seq 70000 | sed 's/.*/put many\/& &/' | cairn shell >/dev/null
  fails 8 "too-large: *" cairn mv many/ more/
  [ "$(cairn cp -r many more | sed 's/revision [0-9]*: //')" = "70000 keys copied" ]
  [ "$(cairn get more/69999)" = 69999 ]
  [ "$(cairn del -r many | sed 's/revision [0-9]*: //')" = "70000 keys deleted" ]
  [ "$(cairn ls)" = more/ ]
}

@test "a txn does the then lines or the else lines, all or nothing" {
  cairn put port 8080
  [ "$(printf 'if revision port 1\nthen put port 8081\nput "a note" %s\n' "'by hand'" | cairn txn)" = "revision 2" ]
  [ "$(cairn get 'a note')" = "by hand" ]
  run cairn txn - <<'END'
  # a comment
  if revision port 1
     exists "a note"
  then put port 1
  else get port
       get "a note"
END
  [ "$status" -eq 0 ]
  [ "$output" = $'else\nport\t8081\na note\tby hand' ]
  fails 3 "conflict: *" cairn txn < <(echo 'if absent port'; echo 'then del port')
  fails 1 "not-found: *" cairn txn < <(echo put port 2; echo del nothing)
  [ "$(cairn get port)" = 8081 ]
  fails 2 "invalid: line 2: a transaction has no operation 'putt'" cairn txn < <(echo get port; echo putt port 2)
  [[ "$stderr" == *"hint: did you mean 'put'?" ]]
}

@test "with --each an operation that fails does not undo the others, and is the exit status" {
  run --separate-stderr cairn txn --each < <(printf 'del nothing\nput k 1\nget k\ndel nil\n')
  [ "$status" -eq 1 ]
  [ "$output" = $'k\t1\nrevision 1' ]
  [ "$stderr" = "cairn: not-found: operation 1: no key 'nothing'; 2 operations failed in all" ]
  run --separate-stderr cairn --json txn --each < <(printf 'del nothing\nput k 2\n')
  [ "$status" -eq 1 ]
  [ "$(jq -r '.results[0].code' <<<"$output")" = not-found ]
  [ "$(cairn get k)" = 2 ]
}

@test "an operation of a txn with a condition of its own is skipped where that does not hold" {
  cairn put a 1 >/dev/null
  run cairn txn < <(printf 'put a 2 if absent a\nput b 1 if absent b\nget a\n')
  [ "$status" -eq 0 ]
  [ "${lines[0]}" = "skipped: operation 1: a condition failed: 'a' exists (revision 1)" ] || { echo "$output"; false; }
  [ "${lines[1]}" = $'a\t1' ]
  [ "${lines[2]}" = "revision 2" ]
  id=$(cairn stat --json b | jq .file_id)
  [ "$(printf 'if file b %s\nif version a 1\nif clear b/x\nthen del b\nelse swap a b\n' "$id" | cairn txn)" = $'else\nrevision 3' ]
  [ "$(cairn get b)" = 1 ] && [ "$(cairn stat --json b | jq .version)" = 2 ]
  run cairn --json txn --each < <(printf 'del nothing\nput a 3 if revision a 1\nput c 4\n')
  [ "$status" -eq 1 ]
  [ "$(head -1 <<<"$output" | jq -c '[.results[] | [.succeeded, .code]]')" = '[[false,"not-found"],[false,"conflict"],[true,null]]' ]
  fails 2 "invalid: line 1: put takes KEY VALUE" cairn txn < <(echo put a 1 if)
  cairn txn < <(echo purge c)
  run cairn history c
  [ "$status" -eq 1 ]
}

@test "a txn takes values from files, also those that no command holds" {
  head -c 300000 /dev/urandom >value
  echo "put k @value" >lines
  cairn txn lines
  cairn get k | cmp - value
}

@test "an output that cannot be written is a failure, a reader that has gone is not a complaint" {
  [ -w /dev/full ] || skip "there is no /dev/full"
  cairn put k v && head -c 1000000 /dev/zero | cairn put big -
  run bash -c 'cairn get k >/dev/full'
  [ "$status" -ne 0 ]
  [[ "$output" == "cairn: full: standard output: No space left on device" ]]
  run bash -c 'cairn get big >/dev/full'
  [ "$status" -ne 0 ]
  run bash -c 'cairn ls >/dev/full'
  [ "$status" -ne 0 ]
  run bash -c 'cairn get big | head -c 1 | wc -c'
  [ "$output" = 1 ]
}

@test "the command goes on with the next server of its list" {
  cairn -s "unix:$cairn_root/nobody,$CAIRN_SERVER" put k v
  [ "$(cairn get k)" = v ]
}

@test "scan --json has values of any size" {
  head -c 60000 /dev/urandom | base64 -w0 >large
  cairn put big/a @large
  cairn put big/b 1
  [ "$(cairn --json scan big/ | jq -r 'select(.key == "big/a").value')" = "$(cat large)" ]
  [ "$(cairn --json scan big/ | jq -r 'select(.key == "big/b").value')" = 1 ]
}
