#!/usr/bin/env bats
# Options and settings: one table for file, -o, --help and --print-config; refusals with place and reason; examples.

setup() { load lib/cairn.bash; }

# What a built-without-inih cairnd cannot do.
requires_config_files() {
  printf '' >"$cairn_root/empty.conf"
  cairnd -c "$cairn_root/empty.conf" --print-config >/dev/null || skip "configuration files are not part of this build"
}

@test "--help shows every option and every setting once" {
  run cairnd --help
  [ "$status" -eq 0 ]
  for word in --config --print-config --ready-fd --exit-with-parent --version node.name=name '(-n, --name)' \
    '(-d, --data)' '(-s, --socket)' '(-l, --log-level)' volume.sync=; do
    [ "$(grep -cF -- "$word" <<<"$output")" -eq 1 ]
  done
}

@test "--version" {
  run cairnd --version
  [[ "$output" =~ ^cairnd\ [0-9]+\.[0-9]+ ]]
}

@test "--print-config prints what is in force, as a file that gives the same" {
  requires_config_files
  cairnd -n n9 -d /x/y -o volume.sync=no -o volume.value-limit=1M --print-config >"$cairn_root/one.conf"
  grep -qx 'name = n9' "$cairn_root/one.conf"
  grep -qx 'sync = no' "$cairn_root/one.conf"
  cairnd -c "$cairn_root/one.conf" --print-config >"$cairn_root/two.conf"
  cmp "$cairn_root/one.conf" "$cairn_root/two.conf"
}

@test "options count more than the environment, and that more than the file" {
  requires_config_files
  printf '[log]\nlevel = error\n[node]\nname = filed\n' >"$cairn_root/a.conf"
  [ "$(cairnd -c "$cairn_root/a.conf" --print-config | grep '^level')" = "level = error" ]
  [ "$(CAIRN_LOG=replication=trace,info cairnd -c "$cairn_root/a.conf" --print-config | grep '^level')" = "level = replication=trace,info" ]
  [ "$(CAIRN_LOG=info cairnd -c "$cairn_root/a.conf" -l warn -n opted --print-config | grep -E '^(level|name = opted)' | tr '\n' ' ')" = \
    "name = opted level = warn " ]
}

@test "the user's own file is read when it is there" {
  requires_config_files
  mkdir -p "$XDG_CONFIG_HOME/cairn"
  printf '[node]\nname = mine\n' >"$XDG_CONFIG_HOME/cairn/cairnd.conf"
  cairnd --print-config | grep -qx 'name = mine'
}

@test "a bad file is refused with file, line, reason and hint" {
  requires_config_files
  printf '[node]\n\nnmae = x\n' >"$cairn_root/a.conf"
  run cairnd -c "$cairn_root/a.conf"
  [ "$status" -eq 2 ]
  [ "${lines[0]}" = "cairnd: invalid: $cairn_root/a.conf:3: there is no setting 'node.nmae'" ]
  [ "${lines[1]}" = "hint: did you mean 'node.name'?" ]
  printf '[volume]\nsync = perhaps\n' >"$cairn_root/a.conf"
  run cairnd -c "$cairn_root/a.conf"
  [ "${lines[0]}" = "cairnd: invalid: $cairn_root/a.conf:2: volume.sync is yes or no, not 'perhaps'" ]
  printf '[control]\ngroup = users\n' >"$cairn_root/a.conf"
  run cairnd -c "$cairn_root/a.conf"
  [ "$status" -eq 2 ]
  [[ "${lines[0]}" == "cairnd: invalid: $cairn_root/a.conf:2: control.group is given, but control.mode 0600 lets no group in" ]]
}

@test "a build without configuration files says so" {
  printf '' >"$cairn_root/empty.conf"
  run cairnd -c "$cairn_root/empty.conf" --print-config
  [ "$status" -ne 0 ] || skip "configuration files are part of this build"
  [ "$status" -eq 10 ]
  [[ "$output" == *"built without support for configuration files"* ]]
}

@test "bad options are refused, with the nearest as a hint" {
  run cairnd --sokcet /x
  [ "$status" -eq 2 ]
  [ "${lines[0]}" = "cairnd: invalid: there is no option --sokcet" ]
  [ "${lines[1]}" = "hint: did you mean '--socket'?" ]
  run cairnd -Z
  [ "${lines[0]}" = "cairnd: invalid: there is no option -Z" ]
  run cairnd -o node.name
  [ "${lines[0]}" = "cairnd: invalid: -o takes section.key=value, not 'node.name'" ]
  run cairnd -o volume.snyc=no
  [ "${lines[1]}" = "hint: did you mean 'volume.sync'?" ]
  run cairnd --data
  [ "${lines[0]}" = "cairnd: invalid: the option --data needs a value" ]
  run cairnd start
  [ "${lines[0]}" = "cairnd: invalid: 'start' is no option, and cairnd takes nothing else" ]
  run cairnd --ready-fd 77
  [ "$status" -eq 2 ]
  CAIRN_LOG=loud run cairnd
  [ "$status" -eq 2 ]
  [[ "${lines[0]}" == 'cairnd: invalid: $CAIRN_LOG: '* ]]
}

@test "an engine that is not there, or takes no such parameter, is refused by name" {
  run cairnd -d "$cairn_root/d" -s "$cairn_root/s" -e levledb
  [ "$status" -ne 0 ]
  [[ "$output" == *"levledb"* ]]
  run cairnd -d "$cairn_root/d2" -s "$cairn_root/s" -e memory -o volume.parameters=colour=red
  [ "$status" -eq 2 ]
  [[ "$output" == *"there is no parameter 'colour'"* ]]
  # the refused start left nothing that stands in the way of a better one
  cairn_node -e memory
  cairn_stop
  run cairnd -d "$cairn_root/d2" -s "$cairn_root/s" -e memory --print-config
  [ "$status" -eq 0 ]
}

@test "each example configuration starts a daemon" {
  requires_config_files
  examples=${CAIRN_SOURCE:-/usr/share/doc/cairn}
  [ -d "$examples/core/daemon/examples" ] && examples=$examples/core/daemon/examples
  for file in "$examples"/*.conf; do
    case $(sed -n 's/^engine = //p' "$file") in
      leveldb) requires_engine leveldb ;;
    esac
    sed "s,^\(data\|file\|pid-file\|socket\) = .*/\([^/]*\)$,\1 = $cairn_root/\2," "$file" | sed "/^group = /d" >"$cairn_root/x.conf"
    mkfifo "$cairn_root/ready"
    cairnd -c "$cairn_root/x.conf" --ready-fd 9 3>&- 9>"$cairn_root/ready" 2>"$cairn_root/log" &
    read -r _ <"$cairn_root/ready" || { cat "$file" "$cairn_root/log"; false; }
    kill $!
    wait $!
    rm -rf "$cairn_root/ready" "$cairn_root/x.conf" "$cairn_root/data"
  done
}

@test "an engine, a module or a parameter that is not there is refused by file and line" {
  requires_config_files
  for lines in 'engine = rocksdb' 'replication = nonsense' $'engine = memory\nparameters = cache=64M'; do
    printf '[volume]\n%s\n' "$lines" >"$cairn_root/c.conf"
    run cairnd -c "$cairn_root/c.conf" -d "$cairn_root/data-$RANDOM" -s "$cairn_root/sock"
    [ "$status" -ne 0 ]
    [[ "$output" == "cairnd: "*": $cairn_root/c.conf:2 (volume."* ]] || { echo "$output"; false; }
  done
}
