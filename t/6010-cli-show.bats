# What the command shows: listings, tables, terminals, help, the manual page, completion.
# shellcheck disable=SC2154  # $output and $status are bats'

bats_require_minimum_version 1.5.0

setup() {
  load lib/cairn.bash
  load lib/golden.bash
}

start() {
  cairn_node -o volume.engine=memory
  cd "$cairn_root" || return 1
}

some_keys() {
  cairn shell <<'END' >/dev/null
put app/port 8080
put app/web.conf $'listen 8080\nworkers 4\n'
put app/tls/cert $'\xff\x00\x1b[31m'
put greeting hello
put "it's odd" 1
put $'new\nline' 1
put tab a\	b
END
}

# Times, sizes of disks and the test's own folder are not the same every time.
steady() { sed -E "s#$cairn_root#ROOT#g; s/[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9:.]+(Z| [+]0000)?/WHEN/g; s/  [ 0-9.]{4} [KMGT]iB  /  FREE  /; s/[a-z_0-9-]+@n1/USER@n1/; s/(\"(disk_free|pid|uptime_ms)\":)[0-9]+/\1N/g"; }

@test "listings look as they should in every format" {
  start && some_keys
  {
    for command in 'ls' 'ls app' 'ls -r' 'ls -l' 'ls -r --format plain -l' 'ls --json app' 'ls app/port' 'tree' 'tree app' 'scan' \
      'scan --keys-only --reverse --limit 3' 'scan --from b --to h --json' 'scan --format table app' 'stat app/port' 'stat --format plain app/port' \
      'stat --json app/port' 'status' 'health' 'health --json' 'volume list' 'volume list --format plain'; do
      echo "\$ cairn $command"
      # shellcheck disable=SC2086
      cairn $command 2>&1 || echo "exit $?"
    done
  } | steady | golden cli-listings
}

@test "ls -0 and scan -0 give exact bytes" {
  start && some_keys
  [ "$(cairn ls -r0 | tr -dc '\0' | wc -c)" -eq 7 ]
  cairn scan -0 app/tls | cmp - <(printf 'app/tls/cert\0\xff\0\x1b[31m\0')
}

@test "a folder that is not there is said to be so; an empty cluster is not an error" {
  start
  [ -z "$(cairn ls)" ]
  [ -z "$(cairn tree)" ]
  run cairn ls nowhere
  [ "$status" -eq 1 ]
  [ "$output" = "cairn: not-found: no key or folder 'nowhere' in volume main" ]
}

@test "tree knows the last name of every folder, over many pages" {
  start
  { seq 1203 | sed 's/.*/put f\/&\/x 1/'; echo put g 1; } | cairn shell >/dev/null
  cairn tree >out
  [ "$(wc -l <out)" -eq 2408 ]
  [ "$(grep -c '^│   ├── ' out)" -eq 1202 ]
  [ "$(grep -c '^│   └── ' out)" -eq 1 ]
  [ "$(tail -n 2 out)" = $'│       └── x\n└── g' ]
}

@test "with --json a listing has no values, a tree and the help are JSON" {
  start && some_keys
  [ "$(cairn --json ls -r | jq -s 'length, (map(has("value")) | any)' | tr '\n' ' ')" = "7 false " ]
  [ "$(cairn --json scan app/port | jq -r .value)" = 8080 ]
  diff <(cairn --json tree | jq -r '.. | .key? // empty' | grep -v '/$' | sort) <(cairn ls -r | sort)
  [ "$(cairn --json tree app | jq -c .)" = '{"key":"app/","entries":[{"key":"app/port"},{"key":"app/tls/","entries":[{"key":"app/tls/cert"}]},{"key":"app/web.conf"}]}' ]
  cairn put $'app/\xff' 1
  [ "$(cairn --json tree app/ | jq -r '.entries[3].key_base64')" = "$(printf 'app/\xff' | base64)" ]
  cairn del -r app && cairn del greeting "it's odd" $'new\nline' tab
  [ "$(cairn --json tree)" = '{"entries":[]}' ]
  run --separate-stderr cairn --json tree app
  [ "$status" -eq 1 ] && [ -z "$output" ] && [ "$(jq -r .code <<<"$stderr")" = not-found ]
  diff <(cairn --json help | jq -r '.command // empty' | sort) <(cairn complete -- '' | cut -f 1 | sort)
  [ "$(cairn --json help set | jq -c '[.command, .aliases, (.options | map(.name) | index("if-absent") != null)]')" = '["put",["set"],true]' ]
  [ "$(cairn --json help volume | jq -r '.commands[].command' | head -n 2 | tail -n 1)" = create ]
  [ "$(cairn --json help exit-codes | jq -r .topic)" = exit-codes ]
}

@test "a terminal gets the missing newline, and nothing that acts on it" {
  requires_program script
  start && some_keys
  [ "$(terminal 'cairn get app/port; echo next')" = $'8080\nnext' ]
  [ "$(terminal 'cairn get app/web.conf; echo next')" = $'listen 8080\nworkers 4\nnext' ]
  [ "$(terminal 'cairn get app/tls/cert')" = '\xff\x00\x1b[31m' ]
  [ "$(terminal 'cairn ls' | tr '\n' ' ')" = "app/ greeting 'it'\\''s odd' \$'new\\nline' tab " ]
}

@test "a terminal is told what it waits for, and that a folder is no key" {
  requires_program script
  start && some_keys
  [[ "$(terminal 'timeout --foreground 2 cairn watch app')" == *"hint: it is a folder: with '/' behind its name all in it is watched"* ]]
  cairn put --ttl 10m busy x
  [[ "$(terminal 'cairn lock --wait 50ms busy true')" == *"cairn: lock: waiting for busy, held by "* ]]
  run cairn lock --wait 50ms busy true
  [[ "$output" != *waiting* ]]
}

@test "colour only on a terminal that can do it, and never with NO_COLOR" {
  requires_program script
  start
  [ "$(terminal 'cairn health')" = $'\033[32mok\033[m: 1 of 1 nodes, leader n1' ]
  [ "$(NO_COLOR=1 terminal 'cairn health')" = 'ok: 1 of 1 nodes, leader n1' ]
  [ "$(TERM_TYPE=dumb terminal 'cairn health')" = 'ok: 1 of 1 nodes, leader n1' ]
  [ "$(cairn health)" = 'ok: 1 of 1 nodes, leader n1' ]
}

@test "health has a word and a status for every state, and waits for one" {
  start
  run cairn health
  [ "$status" -eq 0 ]
  cairn_stop
  run cairn health
  [ "$status" -eq 3 ]
  [[ "$output" == "disconnected: "* ]]
  cairn --timeout 10 health --wait disconnected
  run cairn --timeout 0.3 health --wait ok
  [ "$status" -eq 7 ]
  [[ "$output" == "cairn: timeout: not ok in time: disconnected: "* ]]
  run cairn health --wait degradet
  [ "$status" -eq 2 ]
  [[ "$output" == *"hint: did you mean 'degraded'?" ]]
  cairn --timeout 20 health --wait ok &
  waiting=$!
  cairn_start
  wait "$waiting"
}

@test "volumes are made, used, and dropped when their name is said twice" {
  start
  cairn volume create second --engine memory
  cairn -V second put k 2
  [ "$(CAIRN_VOLUME=second cairn get k)" = 2 ]
  run cairn volume drop second
  [ "$status" -eq 2 ]
  cairn volume drop second --confirm second
  run cairn -V second get k
  [ "$status" -eq 1 ]
}

@test "facts of a volume and of a plugin are one to a line" {
  start
  cairn volume stats | grep -qx 'engine  *memory'
  cairn volume stats | grep -qx 'key max  *4096'
  cairn volume stats --format plain main | grep -qx $'key_max\t4096'
  cairn plugin show memory | grep -q '^limit  *size  *0  *no '
  cairn plugin list --format plain | grep -q $'^memory\tengine\tordered '
}

@test "settings and log levels are shown and changed; a wrong name gets the nearest" {
  start
  [ "$(cairn config get log.level)" = info ]
  cairn config set log.level debug
  [ "$(cairn config get log.level)" = debug ]
  cairn log-level store trace
  [ "$(cairn --format plain log-level | grep ^store)" = $'store\ttrace' ]
  run cairn config get log.levle
  [ "$status" -eq 2 ]
  [[ "$output" == *"hint: did you mean 'log.level'?" ]]
  run cairn config set node.name x
  [ "$status" -eq 10 ]
}

@test "metrics are in the text format of Prometheus" {
  start && some_keys
  cairn metrics >out
  grep -q '^# TYPE cairn_uptime_seconds gauge$' out
  run grep -vE '^(# (HELP|TYPE) [a-z_]+ .*|[a-z_]+(\{[^}]*\})? [-+0-9.e]+(inf|nan)?)$' out
  [ -z "$output" ] || { echo "$output"; false; }
}

@test "help is as it should be" {
  {
    for page in '' get put txn volume keys exit-codes options; do
      echo "\$ cairn help $page"
      # shellcheck disable=SC2086
      cairn help $page
    done
  } | golden cli-help
  diff <(cairn put --help) <(cairn help set)
  for verb in snapshot volume; do diff <(cairn $verb --help) <(cairn help $verb); done
  [[ "$(cairn help locks)" == "locks: what a lock holds off, and what it does not"* ]]
  [[ "$(cairn locks --help)" == "cairn lock: "* ]]
  [ "$(cairn --version)" = "cairn $(sed -n 's/^AC_INIT(\[cairn\], \[\([^]]*\)\].*/\1/p' "$CAIRN_SOURCE/configure.ac")" ]
  run cairn help gte
  [ "$status" -eq 2 ]
  [[ "$output" == *"hint: did you mean 'get'?" ]]
}

@test "rows, help, manual page and completion name the same commands and options" {
  cairn help --man | diff - "$CAIRN_SOURCE/man/cairn.1" ||
    { echo "man/cairn.1 is old: bin/cairn help --man >man/cairn.1"; false; }
  cairn help | sed '/^.cairn help/,$d; s/^[a-z]* *//' | tr ' ' '\n' | sort >"$cairn_root/verbs"
  [ "$(wc -l <"$cairn_root/verbs")" -gt 20 ]
  diff "$cairn_root/verbs" <(cairn complete -- '' | cut -f 1 | sort)
  diff "$cairn_root/verbs" <(sed -n 's/^\.SS //p' "$CAIRN_SOURCE/man/cairn.1" | sed 's/\\-/-/g' | grep -vx complete | sort)
  while read -r verb; do
    options=$(cairn help "$verb" | grep -oE -- '^  ( {4}|-., )--[a-z-]+' | grep -oE -- '--[a-z-]+' | sort -u)
    [ "$verb" = snapshot ] || [ "$verb" = plugin ] || [ "$verb" = volume ] || [ "$verb" = config ] || [ "$verb" = journal ] ||
      diff <(printf '%s\n' "$options" --server --volume --timeout --json --format --key --help --version | grep . | sort) \
        <(cairn complete -- "$verb" -- '' -- 2>/dev/null | cat; cairn complete -- "$verb" - | cut -f 1 | sort)
  done <"$cairn_root/verbs"
}

@test "completion offers verbs, options, folders of keys, and is quiet without a daemon" {
  start && some_keys
  [ "$(cairn complete -- ge | cut -f 1)" = get ]
  [ "$(cairn complete -- get ap)" = app/ ]
  [ "$(cairn complete -- get app/ | tr '\n' ' ')" = "app/port app/tls/ app/web.conf " ]
  [ "$(cairn complete -- ls app/)" = app/tls/ ]
  [ "$(cairn complete --line 'cairn get "it')" = "it's odd" ]
  [ "$(cairn complete -- volume dr | cut -f 1)" = drop ]
  [ "$(cairn complete -- volume drop '' | cut -f 1)" = main ]
  [ "$(cairn complete -- put --if-r | cut -f 1)" = --if-revision ]
  [ "$(cairn complete -- ls --format t)" = table ]
  [ "$(cairn complete -- config get log.f | cut -f 1)" = log.file ]
  cairn_stop
  run cairn complete -- get ap
  [ "$status" -eq 0 ]
  [ -z "$output" ]
}

@test "bash completes with the script that is installed" {
  start && some_keys
  cairn put user:1:name x
  complete_in_bash() {
    bash --norc -c '
      . "$1/scripts/completions/cairn.bash"
      COMP_LINE=$2 COMP_POINT=${#2}
      _cairn 2>/dev/null
      printf "%s\n" "${COMPREPLY[@]}"' - "$CAIRN_SOURCE" "$1"
  }
  [ "$(complete_in_bash 'cairn get app/p')" = app/port ]
  [ "$(complete_in_bash 'cairn sta' | tr '\n' ' ')" = "stat status " ]
  [ "$(complete_in_bash 'cairn get user:1:n')" = name ]
  [ "$(complete_in_bash 'cairn get it')" = "it\\'s\\ odd" ]
}

@test "zsh and fish take their scripts" {
  if command -v zsh >/dev/null; then zsh -n "$CAIRN_SOURCE/scripts/completions/_cairn"; fi
  if command -v fish >/dev/null; then
    start && some_keys
    run fish --no-config -c "source '$CAIRN_SOURCE/scripts/completions/cairn.fish'; complete -C 'cairn get app/p'"
    [ "$status" -eq 0 ]
    [ "${output%%$'\t'*}" = app/port ]
  fi
}
