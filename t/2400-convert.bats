# A volume moves to another engine while it serves.

setup() {
  load lib/cairn.bash
  requires_engine leveldb
  requires_engine lmdb
  requires_program cairn
}

teardown() {
  [ -z "${writer:-}" ] || { touch "$cairn_root/enough" && wait "$writer"; }
  cairn_cleanup
}

engine_of() { cairn --json volume stats "$1" | jq -r .engine; }
digest() { cairn check "$1" | sed 's/.*digest //'; }

fill() {
  head -c 700000 /dev/urandom >"$cairn_root/large"
  cairn put large - <"$cairn_root/large"
  for i in {1..40}; do cairn put "k$i" "$i"; done
  for i in {1..40}; do cairn put "k$i" "new $i"; done
  for i in {1..9}; do cairn del "k$i"; done
  cairn put empty ""
}
holds() {
  cairn get large | cmp - "$cairn_root/large" &&
    [ "$(cairn get k40)" = "new 40" ] && [ "$(cairn get --revision 41 k40)" = 40 ] && [ "$(cairn ls | wc -l)" -eq 33 ]
}

@test "there and back with another engine, with its history and digest, and it stays so" {
  local before folders
  cairn_node -o volume.engine=leveldb
  fill
  before=$(cairn --json digest | jq -r .digest)
  run cairn volume convert --engine lmdb main readahead=no
  [ "$status" -eq 0 ] || { echo "$output"; false; }
  [[ "$output" == *"main stands on engine lmdb now: "*" rows moved, revision "* ]] || { echo "$output"; false; }
  [ "$(engine_of main)" = lmdb ]
  cairn check
  holds
  cairn put after v
  cairn_kill
  cairn_start
  [ "$(engine_of main)" = lmdb ]
  [ "$(cairn get after)" = v ]
  cairn del --purge after || cairn del after
  cairn check
  cairn volume convert --engine leveldb main
  cairn_stop
  cairn_start
  [ "$(engine_of main)" = leveldb ]
  holds
  cairn check
  # Of the folders that were left nothing is there.
  folders=("$cairn_root"/n1/data/volumes/main-*)
  [ "${#folders[@]}" -eq 1 ] || { echo "${folders[@]}"; false; }
}

@test "writes go on meanwhile: each is there afterwards, or was told that it did not happen" {
  cairn_node -o volume.engine=leveldb
  for i in {1..20}; do head -c 300000 /dev/urandom | cairn put "big$i" -; done
  (
    i=0
    while [ ! -e "$cairn_root/enough" ]; do
      i=$((i + 1))
      if cairn put "w$i" "$i" >/dev/null 2>"$cairn_root/error"; then
        echo "$i" >>"$cairn_root/there"
      else
        cat "$cairn_root/error" >>"$cairn_root/errors"
      fi
    done
  ) &
  writer=$!
  until [ -s "$cairn_root/there" ]; do sleep 0.01; done
  cairn volume convert --engine lmdb main
  cairn volume convert --engine leveldb main
  touch "$cairn_root/enough"
  wait "$writer"
  writer=
  [ "$(wc -l <"$cairn_root/there")" -ge 5 ]
  while read -r i; do [ "$(cairn get "w$i")" = "$i" ] || { echo "w$i is lost"; false; }; done <"$cairn_root/there"
  cairn check
  [ "$(engine_of main)" = leveldb ]
}

@test "a key that does not fit is named, and the volume stays as it is" {
  local long
  long=$(printf 'k%.0s' {1..600})
  cairn_node -o volume.engine=leveldb
  cairn put "$long" v
  cairn put short v
  run cairn volume convert --engine lmdb main
  [ "$status" -eq 10 ] || { echo "$status $output"; false; }
  [[ "$output" == *"the key 'kkk"*"has 600 bytes, and engine lmdb takes at most 510"* ]] || { echo "$output"; false; }
  [ "$(engine_of main)" = leveldb ]
  cairn put "$long" again
  [ "$(cairn get "$long")" = again ]
  folders=("$cairn_root"/n1/data/volumes/main-*)
  [ "${#folders[@]}" -eq 1 ] || { echo "${folders[@]}"; false; }
  # Without it, it goes, and says from then on what it takes.
  cairn del --purge "$long"
  cairn volume convert --engine lmdb main
  run cairn put "$long" v
  [[ "$output" == *"at most 510"* ]]
}

@test "from memory to disk; never from disk to memory; unknown engines and parameters are refused" {
  cairn_node -o volume.engine=memory
  cairn put a 1
  cairn volume convert --engine lmdb main
  [ "$(engine_of main)" = lmdb ]
  cairn_kill
  cairn_start
  [ "$(cairn get a)" = 1 ]
  run cairn volume convert --engine memory main
  [ "$status" -ne 0 ]
  [[ "$output" == *"does not keep what it is given"*"hint: 'cairn snapshot save'"* ]]
  run cairn volume convert --engine lmbd main
  [[ "$output" == *"lmbd"* ]]
  run cairn volume convert --engine leveldb main blok-size=1
  [[ "$output" == *"blok-size"* ]]
  [ "$(engine_of main)" = lmdb ]
  [ "$(cairn get a)" = 1 ]
  cairn put b 2
}

@test "interrupted at any time the volume serves on, and it can be begun again" {
  local engine
  cairn_node -o volume.engine=leveldb
  head -c 1000000 /dev/urandom >"$cairn_root/value"
  for i in {1..30}; do cairn put "k$i" - <"$cairn_root/value"; done
  for limit in 0.02 0.05 0.1 0.2; do
    timeout "$limit" cairn volume convert --engine lmdb main || true
    # Once at most it may be told that the volume changes its engine at this moment.
    cairn put "after$limit" v || cairn put "after$limit" v
    cairn get k7 | cmp - "$cairn_root/value" || cairn get k7 | cmp - "$cairn_root/value"
  done
  # Until it has given up, or has come to its end.
  until cairn volume convert --engine lmdb main; do [ "$(engine_of main)" = leveldb ] || break; done
  [ "$(engine_of main)" = lmdb ]
  cairn check
  [ "$(cairn ls | wc -l)" -eq 34 ]
  cairn_kill
  cairn_start
  cairn get k30 | cmp - "$cairn_root/value"
  folders=("$cairn_root"/n1/data/volumes/main-*)
  [ "${#folders[@]}" -eq 1 ] || { echo "${folders[@]}"; false; }
}

@test "Ctrl-C says what has become of the volume, and what to do" {
  cairn_node -o volume.engine=leveldb
  cairn put a 1
  kill -STOP "$(cairn_pid n1)" # so that it is certainly under way
  env --default-signal=INT cairn volume convert --engine bitcask main 2>"$cairn_root/said" &
  writer=$!
  # Bit 1 of the signals that it catches is SIGINT.
  until (($(sed -n 's/^SigCgt:[[:space:]]*/0x/p' "/proc/$writer/status") & 2)); do sleep 0.01; done
  kill -INT "$writer"
  status=0
  wait "$writer" || status=$?
  writer=
  kill -CONT "$(cairn_pid n1)"
  [ "$status" -eq 130 ]
  grep -q "interrupted: the volume stays on its engine, .* the same command begins anew" "$cairn_root/said"
  cairn volume convert --engine bitcask main
  [ "$(engine_of main)" = bitcask ]
  [ "$(cairn get a)" = 1 ]
}

@test "a node that is stopped or killed meanwhile has the volume as it was, and nothing else" {
  local limit how
  mkfifo "$cairn_root/never"
  cairn_node -o volume.engine=leveldb -o volume.history=0
  head -c 5000000 /dev/urandom >"$cairn_root/value"
  for i in {1..10}; do cairn put "k$i" - <"$cairn_root/value"; done
  for limit in 0.03 0.1 0.3; do
    for how in cairn_stop cairn_kill; do
      cairn volume convert --engine lmdb main >"$cairn_root/said" 2>&1 &
      writer=$!
      read -rt "$limit" _ <>"$cairn_root/never" || true # at any time
      $how || true # what is left is looked at here; LeakSanitizer sees memory that a conversion which just ended still had
      wait "$writer" || true
      writer=
      cairn_start
      cairn get k7 | cmp - "$cairn_root/value"
      [ "$(engine_of main)" = leveldb ] || [ "$(engine_of main)" = lmdb ]
      folders=("$cairn_root"/n1/data/volumes/main-*)
      [ "${#folders[@]}" -eq 1 ] || { echo "${folders[@]}"; false; }
      if [ "$(engine_of main)" = lmdb ]; then cairn volume convert --engine leveldb main; fi
    done
  done
  cairn check
}
