# export and import: keys as lines of JSON, and back, whatever bytes they hold.
# shellcheck disable=SC2154  # $output and $status are bats'

bats_require_minimum_version 1.5.0

setup() {
  load lib/cairn.bash
}

start() {
  cairn_node "$@"
  cd "$cairn_root" || return 1
}

# What a listing and the values of a volume are; revisions, times and ids are not what an import makes again.
content() {
  cairn -V "$1" --json ls -r | sed -E 's/"(revision|version|data_version|create_revision|previous_revision|file_id)":[0-9]+,?//g; s/"(time|author|face)":"[^"]*",?//g'
  cairn -V "$1" ls -r0 | while IFS= read -r -d '' key; do
    cairn -V "$1" get --key -- "$key" | sha256sum
  done
}

some_keys() {
  cairn shell <<'END' >/dev/null
put app/port 8080
put $'\xff\x00key' $'\xfe\x00value'
put empty ""
put "quo\"te\\" $'line\nline\ttab'
put ünïcode "schön ☃"
END
  head -c 300001 /dev/urandom | cairn put large - >/dev/null
  yes text | head -c 250000 | cairn put long-text - >/dev/null
  head -c 98304 /dev/zero | cairn put just-a-line - >/dev/null
  head -c 98305 /dev/zero | cairn put one-more - >/dev/null
  {
    echo '{"id":1,"op":"put","args":{"key":"dir/","kind":"directory","attributes":{"mode":488,"uid":7}}}'
    echo '{"id":2,"op":"put","args":{"key":"link","kind":"symlink","value":"app/port"}}'
    echo '{"id":3,"op":"put","args":{"key":"script","value":"x","attributes":{"mode":493,"mtime":"2020-01-02T03:04:05.000000006Z","xattr":[{"name":"user.a","value_base64":"/wA="}]}}}'
  } | cairn proxy >/dev/null
}

@test "export and import round-trip any bytes and all metadata" {
  start -o volume.engine=memory
  some_keys
  cairn export >a.json
  [ "$(jq -r 'select(.key == "app/port") | .value' a.json)" = 8080 ]
  [ "$(awk '{ if (length > m) m = length } END { print m }' a.json)" -lt 140000 ]
  cairn volume create two --engine memory
  run bash -c 'cairn -V two import <a.json'
  [ "$output" = "12 keys written" ] || { echo "$output"; false; }
  diff <(content main) <(content two)
  cairn -V two export | diff a.json -
  [ "$(cairn -V two --json stat script | jq -c .attributes)" = "$(cairn --json stat script | jq -c .attributes)" ]
  # Again: nothing changes but revisions.
  cairn -V two import <a.json
  cairn -V two export | diff a.json -
}

@test "export takes a prefix; import puts one in front, leaves keys alone, or only looks" {
  start -o volume.engine=memory
  some_keys
  [ "$(cairn export app/ | wc -l)" -eq 1 ]
  cairn export app/ | cairn import --prefix old/
  [ "$(cairn get old/app/port)" = 8080 ]
  cairn put app/port 9090
  echo '{"key":"app/port","value":"1"}' >one.json
  run cairn import --if-absent <one.json
  [ "$output" = "0 keys written, 1 was there already" ]
  [ "$(cairn get app/port)" = 9090 ]
  before=$(cairn export | sha256sum)
  run cairn import -n <one.json
  [ "$output" = "1 key would be written" ]
  [ "$(cairn export | sha256sum)" = "$before" ]
}

@test "a wrong line is named, and what stood before it is written" {
  start -o volume.engine=memory
  fails() { # fails EXPECTED-TEXT: import of standard input
    run cairn import
    [ "$status" -ne 0 ]
    [[ $output == *"$1"* ]] || { echo "$output"; false; }
  }
  printf '{"key":"a","value":"1"}\n\n{"key":"b"\n' | { fails "line 3: it is not JSON"; }
  [ "$(cairn get a)" = 1 ]
  printf '{"value":"1"}\n' | { fails "line 1: it has no key"; }
  printf '{"key":"a","ops":"1"}\n' | { fails "line 1: no argument 'ops'"; }
  printf '{"key":"a","limit":1}\n' | { fails "line 1: a key has no 'limit'"; }
  printf '{"key":"a","offset":4,"value":"x"}\n' | { fails "line 1: a piece of a value that has not begun"; }
  printf '{"key":"c","size":4,"value":"xx"}\n' | { fails "the input ends within a value"; }
  printf '{"key":"c","size":4,"value":"xx"}\n{"key":"d","value":"1"}\n' | { fails "line 2: the value before it is not whole"; }
  printf '{"key":"c","size":4,"value":"xx"}\n{"key":"c","offset":3,"value":"x"}\n' | { fails "line 2: it is not the next piece"; }
  printf '{"key":"%05000d","value":"1"}\n{"key":"e","value":"2"}\n' 0 | { fails "line 1"; }
  run cairn get c
  [ "$status" -eq 1 ]
  # A value that changed while it was exported begins again.
  printf '{"key":"c","size":4,"value":"xx"}\n{"key":"c","size":3,"value":"yy"}\n{"key":"c","offset":2,"value":"y"}\n' | cairn import
  [ "$(cairn get c)" = yyy ]
}

@test "export --history has every change that can still be read; import refuses it" {
  start -o volume.engine=memory -o volume.history=100
  cairn put a/k one && cairn put b 1
  head -c 200000 /dev/urandom >v1
  cairn put a/k @v1 && cairn put --ttl 1h a/k $'\xff'
  echo '{"id":1,"op":"set-attributes","args":{"key":"a/k","attributes":{"mode":384}}}' | cairn proxy >/dev/null
  cairn mv a/ c/ && cairn del c/k && cairn put b 2
  cairn export --history >h.json
  [ "$(jq -rc 'select(.offset == null) | [.revision, .change, .key, .deleted // false]' h.json | tr '\n' ' ')" = \
    '[1,"put","a/k",false] [2,"put","b",false] [3,"put","a/k",false] [4,"put","a/k",false] [5,"attributes","a/k",false] [6,"move-prefix","a/k",true] [6,"move-prefix","c/k",false] [7,"delete","c/k",true] [8,"put","b",false] ' ]
  jq -r 'select(.key == "a/k" and (.revision == 3 or .offset)) | .value_base64' h.json | while read -r line; do base64 -d <<<"$line"; done | cmp - v1
  [ "$(jq -c 'select(.revision == 5) | [.value_base64, .attributes.mode, (.expiry != null), .face]' h.json)" = '["/w==",384,true,"socket"]' ]
  [ "$(jq -r 'select(.revision == 6 and .key == "c/k").other' h.json)" = a/k ]
  [ "$(cairn export --history c/k | jq -c .revision | tr '\n' ' ')" = "6 7 " ]
  run --separate-stderr cairn import <h.json
  [ "$status" -eq 2 ]
  [ "${stderr%%$'\n'*}" = "cairn: invalid: line 1: history is not imported; 'cairn snapshot' saves it and restores it" ]
}

@test "export --history begins with the tree at the oldest revision that is kept" {
  start -o volume.engine=memory -o volume.history=100
  cairn put a 1 && cairn put b 1 && cairn put a 2 && cairn put b 2 && cairn put a 3
  cairn volume set main history-floor 4
  [ "$(cairn export --history | jq -rc '[.revision, .key, .value]' | tr '\n' ' ')" = '[3,"a","2"] [4,"b","2"] [5,"a","3"] ' ]
  [ "$(cairn -V main export --history nothing)" = "" ]
  cairn volume create none --engine memory history=0 history-age=0
  cairn -V none put k 1 && cairn -V none put k 2
  [ "$(cairn -V none export --history | jq -c '[.revision, .value]')" = '[2,"2"]' ]
}

@test "a long value that is overwritten while it is exported is that of the export's revision" {
  start -o volume.engine=memory -o volume.history=8
  head -c 3000000 /dev/zero >old
  cairn put a @old
  cairn put b 1
  # The reader stops after the first line, while most of the value is still to come, and the key is written.
  mkfifo pipe
  cairn export >pipe 3>&- &
  {
    IFS= read -r line
    cairn put a new >/dev/null
    { printf '%s\n' "$line"; cat; } >out
  } <pipe
  wait $!
  [ "$(jq -r 'select(.key == "a") | .value_base64 // .value' out | wc -l)" -eq "$(wc -l <out | awk '{print $1 - 1}')" ]
  jq -r 'select(.key == "a") | .size // empty' out | grep -qx 3000000
  cairn volume create two --engine memory
  cairn -V two import <out
  cairn -V two get a | cmp - old
}

@test "an export is of one moment while writes go on" {
  start -o volume.engine=memory -o volume.history=8
  for i in {1..2000}; do echo "put a/$i 0"; done | cairn shell --atomic >/dev/null
  for round in {1..40}; do
    for i in {1..2000}; do echo "put a/$i $round"; done | cairn shell --atomic >/dev/null
  done &
  writer=$!
  for n in 1 2 3 4 5 6; do
    [ "$(cairn export | jq -r .value | sort -u | wc -l)" -eq 1 ]
  done
  wait "$writer"
}
