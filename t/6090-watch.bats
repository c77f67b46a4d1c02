# Watches: what a daemon says to them, and how cairn shows it.

setup() {
  load lib/cairn.bash
  requires_program nc
  requires_program jq
}

teardown() {
  local i
  for i in "${open[@]}"; do kill -KILL "$i" 2>/dev/null || true; done
  cairn_cleanup
}

start() {
  cairn_node "$@"
  socket=$cairn_root/n1/socket
  open=()
}

# watch NAME ARGS [VOLUME]: a watch over a connection of its own; its lines without the greeting go to the file NAME.
watch() {
  mkfifo "$cairn_root/$1.in"
  nc -U "$socket" <"$cairn_root/$1.in" 3>&- >"$cairn_root/$1" &
  open+=($!)
  exec {fd}>"$cairn_root/$1.in"
  printf '{"id":1,"op":"watch","volume":"%s","args":%s}\n' "${3:-main}" "$2" >&"$fd"
  wait_for in_force "$1"
}
in_force() { grep -qE '"progress":true|"at":|"error":' "$cairn_root/$1"; }
# wait_for CONDITION…: until it holds, for twenty seconds.
wait_for() {
  local deadline=$((SECONDS + 20))
  until "$@"; do [ $SECONDS -lt $deadline ] || { echo "waited in vain for: $*"; return 1; }; done
}
# has NAME COUNT: so many changes have come.
has() { [ "$(grep -c '"change":' "$cairn_root/$1")" -ge "$2" ]; }
ended() { grep -qE '"(error|ok)":' "$cairn_root/$1"; }
# changes NAME: those that have come, one a line.
changes() {
  sed -n 's/^{"id":1,"event"/{"event"/p' "$cairn_root/$1" | jq -r '.event | select(.change) |
    [.revision, .ordinal, .change, .key, .other // "-", if .deleted then "gone" elif .folder then "folder" else .size end] | @tsv' | tr '\t' ' '
}
# error NAME: code and revision of the final answer.
error() { grep '"error"' "$cairn_root/$1" | jq -r '.error | "\(.code) \(.revision)"'; }

# Sanitizers need memory of their own.
instrumented() { ldd "$(command -v cairnd)" | grep -qE 'lib(a|t|ub)san'; }

# The volume main keeps no history, the volume kept does.
node() {
  start -o volume.engine=memory -o volume.history=0 "$@"
  cairn volume create kept --engine memory history=8 >/dev/null
}

@test "changes are told apart, with key, place, size, author and face" {
  local v
  node
  for v in main kept; do
    export CAIRN_VOLUME=$v
    cairn put before x
    watch "$v" '{"prefix":""}' "$v"
    cairn put a/x hello
    cairn append a/x ' you'
    cairn mv a/x a/y
    cairn cp a/y b/z
    cairn mv -r a/ c/
    cairn del b/z
    wait_for has "$v" 9
    [ "$(changes "$v")" = "2 0 put a/x - 5
3 0 append a/x - 9
4 0 move a/x a/y gone
4 1 move a/y a/x 9
5 0 copy b/z a/y 9
6 0 move-prefix a/ c/ folder
6 1 move-prefix a/y c/y gone
6 2 move-prefix c/y a/y 9
7 0 delete b/z - gone" ] || { changes "$v"; false; }
    grep '"change":"append"' "$cairn_root/$v" | jq -e ".event | .author == \"$(id -un)@n1\" and .face == \"command\" and .version == 2 and .file_id > 0 and .client != null"
    # The same from the past: of the ring, or of the rows.
    watch "$v-past" '{"prefix":"","revision":2}' "$v"
    wait_for has "$v-past" 9
    [ "$(changes "$v-past")" = "$(changes "$v")" ] || { changes "$v-past"; false; }
  done
}

@test "a prefix is a folder, and a key is that key alone" {
  node
  watch folder '{"prefix":"app/"}'
  watch key '{"key":"app"}'
  watch deep '{"prefix":"app/deep/"}'
  for key in app app/ app/x app/deep/y apple app/deeper appx/y other; do cairn put "$key" 1; done
  wait_for has folder 4
  wait_for has key 1
  wait_for has deep 1
  cairn put app/deep/last 1
  wait_for has deep 2
  wait_for has folder 5
  [ "$(changes folder | cut -d ' ' -f 4 | xargs)" = "app/ app/x app/deep/y app/deeper app/deep/last" ]
  [ "$(changes key | cut -d ' ' -f 4 | xargs)" = app ]
  [ "$(changes deep | cut -d ' ' -f 4 | xargs)" = "app/deep/y app/deep/last" ]
  watch wrong '{"prefix":"app"}'
  [ "$(error wrong | cut -d ' ' -f 1)" = invalid ]
}

@test "present content first, then what changes, values where they are asked for" {
  local v
  node
  for v in main kept; do
    export CAIRN_VOLUME=$v
    cairn put a/1 one
    cairn put a/2 two
    cairn put b/1 no
    watch "$v" '{"prefix":"a/","initial":true,"values":true}' "$v"
    watch "$v-key" '{"key":"a/2","initial":true}' "$v"
    cairn put a/2 more
    cairn del a/1
    wait_for has "$v" 2
    wait_for has "$v-key" 1
    [ "$(sed 1d "$cairn_root/$v" | jq -r '.event | [.at // .revision, .key // "-", .value // "-", .change // "-"] | @tsv' | tr '\t' ' ')" = "3 - - -
3 a/1 one -
3 a/2 two -
3 - - -
4 a/2 more put
5 a/1 - delete" ] || { cat "$cairn_root/$v"; false; }
    [ "$(sed 1d "$cairn_root/$v-key" | jq -r 'select(.event.key) | .event | "\(.key) \(.initial // "change")"')" = "a/2 true
a/2 change" ]
  done
}

@test "a revision that is not kept is compacted, one that is not there yet invalid" {
  node -o control.watch-buffer=64K
  for i in $(seq 1000); do echo "put k $i"; done | cairn shell >/dev/null
  watch old '{"prefix":"","revision":1}'
  [[ "$(error old)" =~ ^compacted\ ([0-9]+)$ ]]
  oldest=${BASH_REMATCH[1]}
  [ "$oldest" -gt 100 ] && [ "$oldest" -lt 1000 ]
  grep -q "the oldest that are kept are those of $oldest" "$cairn_root/old"
  watch oldest "{\"prefix\":\"\",\"revision\":$oldest}"
  wait_for has oldest $((1001 - oldest))
  watch next '{"prefix":"","revision":1001}'
  watch future '{"prefix":"","revision":1002}'
  [ "$(error future | cut -d ' ' -f 1)" = invalid ]
  export CAIRN_VOLUME=kept
  for i in $(seq 10); do echo "put k $i"; done | cairn shell >/dev/null
  cairn volume set kept history-floor 5
  watch below '{"prefix":"","revision":5}' kept
  [ "$(error below)" = "compacted 6" ]
  watch above '{"prefix":"","revision":6}' kept
  wait_for has above 5
}

@test "a flush is one change and ends the watch; dropping a volume and stopping the node end it" {
  node
  cairn put a 1
  watch flushed '{"prefix":"a/"}'
  cairn volume flush --yes main
  wait_for ended flushed
  [ "$(changes flushed | cut -d ' ' -f 1-3)" = "2 0 flush" ]
  [ "$(error flushed)" = "unavailable 3" ]
  incarnation=$(grep '"change":"flush"' "$cairn_root/flushed" | jq .event.incarnation)
  watch again "{\"prefix\":\"\",\"revision\":3,\"incarnation\":$incarnation}"
  cairn put b 1
  wait_for has again 1
  before=$(sed -n 2p "$cairn_root/flushed" | jq .event.incarnation)
  watch missed "{\"prefix\":\"\",\"revision\":3,\"incarnation\":$before}"
  [ "$(error missed | cut -d ' ' -f 1)" = compacted ]
  CAIRN_VOLUME=kept cairn put x 1
  watch dropped '{"prefix":""}' kept
  cairn volume drop --confirm kept kept
  wait_for ended dropped
  [ "$(error dropped)" = "unavailable 2" ]
  cairn_stop
  wait_for ended again
  [ "$(error again)" = "unavailable 4" ]
}

@test "a thousand watches on one connection do not keep it from anything, and cost little" {
  node
  before=$(awk '/^RssAnon/ { print $2 }' "/proc/$(cairn_pid n1)/status")
  { for i in $(seq 2000); do printf '{"id":%d,"op":"watch","args":{"key":"k%d"}}\n' "$i" "$i"; done; } >"$cairn_root/requests"
  mkfifo "$cairn_root/many.in"
  nc -U "$socket" <"$cairn_root/many.in" 3>&- >"$cairn_root/many" &
  open+=($!)
  exec {fd}>"$cairn_root/many.in"
  cat "$cairn_root/requests" >&"$fd"
  all_there() { [ "$(grep -c '"progress":true' "$cairn_root/many")" -eq 2000 ]; }
  wait_for all_there
  after=$(awk '/^RssAnon/ { print $2 }' "/proc/$(cairn_pid n1)/status")
  echo "2000 watches take $((after - before)) kB"
  instrumented || [ $((after - before)) -lt 40000 ]
  [ "$(cairn metrics | awk '$1 == "cairn_watches" { print $2 }')" = 2000 ]
  printf '{"id":5000,"op":"ping"}\n' >&"$fd"
  cairn put k77 1
  wait_for has many 1
  answered() { grep -q '"id":5000,"ok"' "$cairn_root/many"; }
  wait_for answered
  [ "$(grep '"change":' "$cairn_root/many" | jq -r .id)" = 77 ]
  printf '{"id":77,"op":"cancel"}\n' >&"$fd"
  cancelled() { grep -q '"id":77,"ok":{"revision":2}' "$cairn_root/many"; }
  wait_for cancelled
  exec {fd}>&-
  kill "${open[-1]}"
  none() { [ "$(cairn metrics | awk '$1 == "cairn_watches" { print $2 }')" = 0 ]; }
  wait_for none
}

@test "a reader that is too slow is cut off and told where to go on, and memory stays bounded" {
  node -o control.watch-buffer=1M
  watch slow '{"prefix":"","values":true}'
  kill -STOP "${open[-1]}"
  head -c 4000 /dev/zero | tr '\0' x >"$cairn_root/value"
  before=$(awk '/^RssAnon/ { print $2 }' "/proc/$(cairn_pid n1)/status")
  for i in $(seq 3000); do echo "put k @$cairn_root/value"; done | cairn shell >/dev/null
  gone() { [ "$(cairn metrics | awk '$1 == "cairn_watches" { print $2 }')" = 0 ]; }
  wait_for gone
  after=$(awk '/^RssAnon/ { print $2 }' "/proc/$(cairn_pid n1)/status")
  echo "memory $before kB, then $after kB"
  instrumented || [ $((after - before)) -lt 8192 ]
  kill -CONT "${open[-1]}"
  wait_for ended slow
  last=$(changes slow | tail -n 1 | cut -d ' ' -f 1)
  [ "$(error slow)" = "unavailable $((last + 1))" ]
  [ "$last" -lt 3000 ]
  [ "$(changes slow | wc -l)" -eq "$last" ]
}

# cli NAME ARG…: cairn watch with ARGs in the background, its output in the files NAME and NAME.err.
cli() {
  local name=$1
  shift
  cairn watch "$@" >"$cairn_root/$name" 2>"$cairn_root/$name.err" 3>&- &
  pid=$!
  open+=("$pid")
  wait_for watches $((++begun))
}
watches() { [ "$(cairn metrics | awk '/^cairn_requests_total.*watch/ { n += $2 } $1 == "cairn_watches" { n += $2 } END { print n }')" -ge "$1" ]; }
lines() { [ "$(wc -l <"$cairn_root/$1")" -ge "$2" ]; }

@test "cairn watch shows a line for each change, as JSON and plain too" {
  node -o volume.engine=memory
  cairn put app/web.conf 'listen 9090'
  cli table app/
  cli json --json app/
  cli plain --format plain app/
  cli initial --initial --count 2 ''
  cairn append app/web.conf 'gzip on'
  cairn mv app/web.conf "app/old conf"
  cairn del "app/old conf"
  wait "$pid"
  for name in table json plain; do wait_for lines "$name" 4; done
  me="$(id -un)@n1"
  [[ "$(sed -n 1p "$cairn_root/table")" =~ ^[0-9]{2}:[0-9]{2}:[0-9]{2}'  append  app/web.conf  revision 2  18 bytes  '$me'  command'$ ]]
  [ "$(sed 1d "$cairn_root/table" | cut -c 11-)" = "move  app/web.conf  to 'app/old conf'  revision 3  $me  command
move  'app/old conf'  from app/web.conf  revision 3  18 bytes  $me  command
delete  'app/old conf'  revision 4  $me  command" ] || { cat "$cairn_root/table"; false; }
  [ "$(jq -r '"\(.change) \(.revision) \(.deleted // false)"' "$cairn_root/json" | xargs)" = "append 2 false move 3 true move 3 false delete 4 true" ]
  [ "$(cut -f 2-5,8 "$cairn_root/plain" | sed -n 2p)" = $'move\tapp/web.conf\t3\t-\tapp/old conf' ]
  [ "$(cut -c 11- "$cairn_root/initial" | cut -d ' ' -f 1-3)" = "initial  app/web.conf
append  app/web.conf" ]
  run cairn watch --from 2 --count 2 app/web.conf
  [ "$(cut -c 11- <<<"$output" | cut -d ' ' -f 1 | xargs)" = "append move" ]
  run cairn watch --from 2 --initial app/
  [ "$status" -eq 2 ]
  run cairn -V kept watch --from 99 ''
  [ "$status" -eq 2 ]
}

@test "cairn watch --exec runs a command for each change, bursts as one, and returns its failure" {
  node
  cli exec --exec 'echo "$CAIRN_KIND $CAIRN_KEY $CAIRN_REVISION $CAIRN_COUNT $CAIRN_OTHER"; [ "$CAIRN_KEY" != a/end ] || exit 7
    cat "$cairn_root/hold"' a/
  mkfifo "$cairn_root/hold"
  cairn put a/x 1
  wait_for lines exec 1
  for i in $(seq 10); do cairn put a/x "$i"; done
  cairn mv a/x a/y
  : >"$cairn_root/hold" # the first one goes on
  wait_for lines exec 2
  : >"$cairn_root/hold"
  wait_for lines exec 3
  cairn put a/end 1
  : >"$cairn_root/hold"
  status=0
  wait "$pid" || status=$?
  [ "$status" -eq 7 ]
  [ "$(sed 's/ *$//' "$cairn_root/exec")" = "put a/x 1 1
move a/x 12 11 a/y
move a/y 12 1 a/x
put a/end 13 1" ] || { cat "$cairn_root/exec"; false; }
}

@test "what --exec runs ends with the watch, whatever ends that" {
  node
  for signal in TERM KILL; do
    rm -f "$cairn_root/running"
    cli "exec$signal" --exec 'echo $$ >"$cairn_root/running.new"; mv "$cairn_root/running.new" "$cairn_root/running"; exec sleep 600' a/
    cairn put a/x 1
    wait_for test -e "$cairn_root/running"
    child=$(cat "$cairn_root/running")
    kill "-$signal" "$pid"
    status=0
    wait "$pid" || status=$?
    [ "$status" -eq $((128 + $(kill -l "$signal"))) ]
    dead() { ! kill -0 "$child" 2>/dev/null; }
    wait_for dead
  done
}

@test "cairn get --watch shows a value now and after each change" {
  node
  cairn put k one
  cairn get --json --watch k >"$cairn_root/values" 2>"$cairn_root/values.err" 3>&- &
  open+=($!)
  wait_for lines values 1
  cairn put k two
  wait_for lines values 2
  cairn del k
  wait_for grep -q 'not there any more' "$cairn_root/values.err"
  cairn put k three
  wait_for lines values 3
  [ "$(jq -r .value "$cairn_root/values" | xargs)" = "one two three" ]
}

@test "cairn watch ends when nobody reads its output any more" {
  node
  cairn watch '' 3>&- | head -n 1 >"$cairn_root/first" &
  pid=$!
  wait_for watches 1
  cairn put a 1
  wait_for lines first 1
  wait_for dead_job
}
dead_job() { ! kill -0 "$pid" 2>/dev/null; }

@test "nothing is missed or repeated between the present content and the changes, while others write" {
  local v i
  node
  for v in main kept; do
    export CAIRN_VOLUME=$v
    seq 3000 | sed 's/.*/put k& 0/' | cairn shell >/dev/null
    { for i in $(seq 6000); do echo "put k$((RANDOM % 3000 + 1)) $i"; done | cairn shell >/dev/null; cairn put end 1; } 3>&- &
    writer=$!
    for i in 1 2 3 4; do
      cairn watch --json --initial '' >"$cairn_root/$v.$i" 3>&- &
      open+=($!)
    done
    wait "$writer"
    end=$(cairn stat --json end | jq .revision)
    for i in 1 2 3 4; do
      wait_for grep -q "\"revision\":$end," "$cairn_root/$v.$i"
      # First each key that there was, at its newest revision then; then each revision once.
      at=$(head -n 1 "$cairn_root/$v.$i" | jq .at)
      [ "$(jq -r 'select(.initial).key' "$cairn_root/$v.$i" | sort -u | wc -l)" -eq 3000 ]
      [ "$(jq -r 'select(.initial) | .key' "$cairn_root/$v.$i" | wc -l)" -eq 3000 ]
      [ "$(jq -r 'select(.initial) | .revision' "$cairn_root/$v.$i" | sort -n | tail -n 1)" -le "$at" ]
      [ "$(jq -r 'select(.change) | .revision' "$cairn_root/$v.$i")" = "$(seq $((at + 1)) "$end")" ]
      if [ "$v" = kept ] && [ "$i" = 1 ]; then
        diff <(jq -r 'select(.initial) | "\(.key) \(.revision)"' "$cairn_root/$v.$i" | sort) \
          <(cairn scan --json --revision "$at" | jq -r '"\(.key) \(.revision)"' | sort)
      fi
    done
  done
}

@test "cairn watch that stood still sees every change all the same, where history is kept" {
  node -o control.watch-buffer=64K
  export CAIRN_VOLUME=kept
  cli slow --format plain ''
  kill -STOP "$pid"
  seq 20000 | sed 's/.*/put key&/' | sed 's/$/ value/' | cairn shell >/dev/null
  gone() { [ "$(cairn metrics | awk '$1 == "cairn_watches" { print $2 }')" = 0 ]; }
  wait_for gone
  kill -CONT "$pid"
  wait_for lines slow 20000
  [ "$(cut -f 4 "$cairn_root/slow")" = "$(seq 20000)" ]
}

@test "cairn watch goes on after a flush; after a restart without history it says that changes are lost" {
  node
  cairn put a 1
  cli flushed --format plain ''
  cairn volume flush --yes main
  cairn put b 1
  wait_for lines flushed 2
  [ "$(cut -f 2-4 "$cairn_root/flushed")" = $'flush\t\t2\nput\tb\t3' ]
  cairn_kill
  cairn_start
  status=0
  wait "$pid" || status=$?
  [ "$status" -eq 10 ]
  grep -q '^cairn: compacted: volume main was emptied or made anew' "$cairn_root/flushed.err"
}

@test "a volume that fails ends its watches" {
  faulty=$CAIRN_BUILD/t/lib/.libs/engine-faulty.so
  [ -e "$faulty" ] || skip "engine-faulty is built by make check"
  export CAIRN_FAULT=$cairn_root/fault
  node
  cairn volume create odd --engine "$faulty"
  watch odd '{"prefix":""}' odd
  cli ends -V odd ''
  cairn -V odd put k 1
  wait_for has odd 1
  wait_for lines ends 1
  echo full >"$CAIRN_FAULT" # no write, and no change
  ! cairn -V odd put k 2 || false
  echo broken >"$CAIRN_FAULT"
  ! cairn -V odd put k 3 || false
  wait_for ended odd
  [ "$(error odd)" = "unavailable 2" ]
  status=0
  wait "$pid" || status=$?
  [ "$status" -eq 70 ]
  [ "$(wc -l <"$cairn_root/ends")" -eq 1 ]
}

# bats test_tags=slow
@test "watches that are cut at random and go on see what history says, over kill -9 and reclaim" {
  local f n key
  requires_engine leveldb
  start -o volume.engine=leveldb -o volume.history=100000
  folders=(a/ b/ '')
  # random_commands N: changes of a few keys.
  random_commands() {
    local i k=(a/1 a/2 a/deep/3 b/1 b/2 c/1)
    for ((i = 0; i < $1; i++)); do
      case $((RANDOM % 8)) in
      0) echo "del ${k[RANDOM % 6]}" ;;
      1) echo "mv ${k[RANDOM % 6]} ${k[RANDOM % 6]}" ;;
      2) echo "append ${k[RANDOM % 6]} more" ;;
      *) echo "put ${k[RANDOM % 6]} $RANDOM" ;;
      esac
    done
  }
  # follow NAME FOLDER: its changes from the first one on, a few at a time, until the file stop is there.
  follow() {
    local from=1 more=0
    until [ $more -eq 2 ]; do
      [ ! -e "$cairn_root/stop" ] || more=$((more + 1))
      timeout -s KILL "0.$((RANDOM % 9 + 1))" cairn watch --json --from "$from" --count $((RANDOM % 60 + 2)) "$2" >"$cairn_root/$1.part" 3>&- || true
      # A last line that was cut is none; what came before comes again.
      grep '}$' "$cairn_root/$1.part" >>"$cairn_root/$1" || continue
      from=$(tail -n 1 "$cairn_root/$1" | jq .revision)
    done
  }
  followers=()
  for i in 0 1 2; do
    follow "follow$i" "${folders[i]}" &
    followers+=($!)
  done
  open+=("${followers[@]}")
  for i in 1 2 3 4 5 6; do
    random_commands 800 | cairn shell >/dev/null 2>&1 &
    writer=$!
    read -r -t "0.$((RANDOM % 5 + 1))" <> <(:) || true
    cairn_kill
    cairn_start
    wait "$writer" || true
    cairn compact >/dev/null
  done
  end=$(cairn put b/end 1 | awk '{ print $2 }')
  cairn put a/end 1
  : >"$cairn_root/stop"
  wait "${followers[@]}" || true
  key='"\(.revision) \(.ordinal) \(.change) \(.key) \(.deleted // false)"'
  cairn watch --json --from 1 '' >"$cairn_root/all" 3>&- &
  open+=($!)
  wait_for grep -q '"key":"a/end"' "$cairn_root/all"
  for i in 0 1 2; do
    jq -r "$key" "$cairn_root/all" | awk -v f="${folders[i]}" 'index($4, f) == 1' >"$cairn_root/want"
    jq -r "$key" "$cairn_root/follow$i" | awk '$1 > r || ($1 == r && $2 > o) { print; r = $1; o = $2 }' >"$cairn_root/got"
    # What one has not seen when it was stopped is missing at its end only.
    n=$(wc -l <"$cairn_root/got")
    [ "$n" -gt 100 ]
    head -n "$n" "$cairn_root/want" | diff - "$cairn_root/got"
  done
  for f in a/1 a/deep/3 b/2; do
    diff <(cairn history --json "$f" | jq -r '"\(.revision) \(.change) \(.deleted // false)"' | tac) \
      <(jq -r "select(.key == \"$f\") | \"\(.revision) \(.change) \(.deleted // false)\"" "$cairn_root/all")
  done
}

@test "a watch from revision 0 is one from the first" {
  cairn_node
  cairn put k v
  run timeout 20 python3 -c '
import json, socket, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); f = s.makefile(); f.readline()
s.sendall(b"{\"id\":1,\"op\":\"watch\",\"args\":{\"prefix\":\"\",\"revision\":0}}\n")
print([json.loads(f.readline())["event"]["revision"] for i in range(2)])' "${CAIRN_SERVER#unix:}"
  [ "$output" = "[0, 1]" ]
}

@test "a key that goes at its time is a change, and so are patch, swap, ttl and revert" {
  node
  export CAIRN_VOLUME=kept
  cli all --format plain ''
  cairn put --ttl 1h k v
  cairn expire k 300ms
  wait_for lines all 3
  cairn put n 1
  cairn put m 22
  printf '{"id":1,"op":"patch","volume":"kept","args":{"key":"n","offset":1,"value":"x"}}\n' | timeout 20 nc -N -U "$socket"
  printf '{"id":1,"op":"swap","volume":"kept","args":{"key":"n","to":"m"}}\n' | timeout 20 nc -N -U "$socket"
  cairn revert --yes m 5
  wait_for lines all 9
  [ "$(cut -f 2-5 "$cairn_root/all" | tr '\t' ' ')" = "put k 1 1
ttl k 2 1
expire k 3 -
put n 4 1
put m 5 2
patch n 6 2
swap n 7 2
swap m 7 2
revert m 8 2" ]
  [ "$(sed -n 3p "$cairn_root/all" | cut -f 6-7)" = $'\t' ] # nobody did it
}
