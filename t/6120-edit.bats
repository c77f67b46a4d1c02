# cairn edit: a value in an editor, written if nobody else has changed it.
# shellcheck disable=SC2154  # $output, $stderr and $status are bats'
bats_require_minimum_version 1.5.0

setup() {
  load lib/cairn.bash
  load lib/golden.bash
  export TMPDIR=$cairn_root/tmp
  mkdir "$TMPDIR"
  cd "$cairn_root"
  unset VISUAL EDITOR
  cairn_node -o volume.engine=memory
}

nothing_left() { [ -z "$(ls -A "$TMPDIR")" ]; }

# editor COMMAND…: an editor that runs COMMAND with the file in $1.
editor() {
  printf '#!/bin/bash\n%s\n' "$1" >editor
  chmod +x editor
  export EDITOR=$PWD/editor
}

@test "what the editor saves is written, and a key that is not there is made" {
  cairn put app/port 8080
  EDITOR='sed -i s/8080/9090/' run --separate-stderr cairn edit app/port
  [ "$status" -eq 0 ] && [ "$output" = "revision 2" ] && [ -z "$stderr" ]
  [ "$(cairn get app/port | od -c | head -n 1)" = "$(printf 9090 | od -c | head -n 1)" ]
  EDITOR=false VISUAL='sed -i s/9090/1/' cairn edit app/port
  [ "$(cairn get app/port)" = 1 ]
  editor 'echo new >"$1"'
  [ "$(cairn --json edit new/key | jq .revision)" = 4 ]
  [ "$(cairn get new/key)" = new ]
  nothing_left
}

@test "nothing is written when nothing has changed, or the editor fails" {
  printf 'a\nb\n' | cairn put k -
  EDITOR=true run --separate-stderr cairn edit k
  [ "$status" -eq 0 ] && [ -z "$output" ] && [ "$stderr" = "cairn: unchanged, nothing was written" ]
  # An editor that puts a newline behind the last line has changed nothing.
  cairn put n 1
  editor 'echo >>"$1"'
  run --separate-stderr cairn edit n
  [ "$stderr" = "cairn: unchanged, nothing was written" ]
  editor 'echo x >"$1"; exit 3'
  run cairn edit k
  [ "$status" -eq 2 ]
  [[ "$output" == "cairn: invalid: the editor "*" ended with status 3; nothing was written" ]]
  EDITOR=true cairn edit absent
  run cairn get absent
  [ "$status" -eq 1 ]
  [ "$(cairn --json stat k | jq .revision)" = 1 ]
  nothing_left
}

@test "the file is private, and named as the key is" {
  cairn put "conf/a b.toml" x
  editor 'stat -c "%a %n" "$1" "${1%/*}" >seen; echo y >"$1"; touch "$1~"'
  cd "$cairn_root" && cairn edit "conf/a b.toml"
  grep -qx "600 $TMPDIR/cairn-edit\......./a_b.toml" seen
  grep -qx "700 $TMPDIR/cairn-edit\......." seen
  nothing_left
}

@test "a key that was changed meanwhile is a conflict, and the text is kept" {
  cairn put k one
  editor 'cairn put k two >/dev/null; echo three >"$1"'
  run --separate-stderr cairn edit k
  [ "$status" -eq 3 ]
  [[ "$stderr" == "cairn: conflict: the key was changed since revision 1; the text is kept in $TMPDIR/cairn-edit."*$'\n'"hint: "* ]]
  [ "$(cairn get k)" = two ]
  file=$(find "$TMPDIR" -type f)
  [ "$(cat "$file")" = three ]
  rm -r "$TMPDIR"/*
  editor 'cairn put made 1 >/dev/null; echo 2 >"$1"'
  run --separate-stderr cairn edit made
  [ "$status" -eq 3 ]
  [[ "$stderr" == "cairn: conflict: the key was made meanwhile; the text is kept in "* ]]
  [ "$(cairn get made)" = 1 ]
  # So is a text that cannot be written for any other reason.
  rm -r "$TMPDIR"/*
  editor 'kill -9 '"$(cairn_pid n1)"'; echo four >"$1"'
  run --separate-stderr cairn --timeout 1 edit k
  [ "$status" -eq 5 ]
  [[ "$stderr" == *"; the text is kept in $TMPDIR/cairn-edit."* ]]
  [ "$(cat "$TMPDIR"/*/k)" = four ]
}

@test "attributes and expiry stay, bytes that are no text are left alone unless forced" {
  echo '{"id":1,"op":"put","args":{"key":"k","value":"x","ttl_ms":1000000,"attributes":{"mode":493}}}' | cairn proxy >/dev/null
  EDITOR='sed -i s/x/y/' cairn edit k
  [ "$(cairn --json stat k | jq .attributes.mode)" = 493 ]
  [ "$(cairn ttl k | cut -d. -f1)" -gt 900 ]
  printf 'a\0b' | cairn put z -
  run cairn edit z
  [ "$status" -eq 2 ]
  [[ "$output" == "cairn: invalid: the value is no text: "*$'\n'"hint: --force "* ]]
  EDITOR='sed -i s/a/c/' cairn edit --force z
  [ "$(cairn get z | od -An -c | tr -d ' ')" = 'c\0b' ]
  echo '{"id":1,"op":"put","args":{"key":"link","kind":"symlink","value":"x"}}' | cairn proxy >/dev/null
  run cairn edit link
  [ "$status" -eq 2 ]
}

@test "an editor that leaves no file there is told of" {
  cairn put k v
  for left in mkdir mkfifo; do
    editor "rm \"\$1\"; $left \"\$1\""
    run timeout 20 cairn edit k
    [ "$status" -eq 2 ] || { echo "$status $output"; false; }
    [[ $output == "cairn: invalid: the editor left no file at "*"; nothing was written" ]]
  done
  [ "$(cairn get k)" = v ]
  nothing_left
}

@test "a signal ends the editor, and nothing is left" {
  cairn put k v
  mkfifo ready
  editor 'echo $$ >ready; echo x >"$1"; exec sleep 1000'
  cairn edit k 3>&- &
  edit=$!
  read -r pid <ready
  kill -TERM "$edit"
  status=0
  wait "$edit" || status=$?
  [ "$status" -eq $((128 + 15)) ]
  run kill -0 "$pid"
  [ "$status" -ne 0 ]
  [ "$(cairn get k)" = v ]
  nothing_left
}
