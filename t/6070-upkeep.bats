# check and compact on a running node, check and repair on a folder.
# shellcheck disable=SC2154  # $output and $status are bats'

setup() {
  load lib/cairn.bash
  load lib/engines.bash
}

start() {
  cairn_node "$@"
  cd "$cairn_root" || return 1
}

# bats test_tags=one-engine
@test "check reads all of a volume beside writes, and says what it found" {
  start -o volume.engine=memory
  head -c 700000 /dev/urandom | cairn put large - >/dev/null
  for i in {1..500}; do echo "put a/$i $i"; done | cairn shell >/dev/null
  run cairn check
  [ "$status" -eq 0 ]
  [[ $output == "main is sound: 501 keys in "*" rows, revision 501, digest "* ]] || { echo "$output"; false; }
  for i in {1..3000}; do echo "put a/$((i % 500)) $i"; done | cairn shell >/dev/null &
  for n in 1 2 3 4 5; do cairn check main >/dev/null; done
  wait $!
  run cairn check other
  [ "$status" -eq 1 ]
}

@test "check on a running node finds damage on the disk, and exits with 9" {
  requires_engine "$engine"
  start -o "volume.engine=$engine"
  for i in 1 2 3 4 5; do text 3000 | tee last | cairn put "k$i" - >/dev/null; done
  cairn check
  cairn_stop && cairn_start && cairn_stop
  file=$(spoil n1/data/volumes "$(tail -c 1500 last | head -c 30)")
  cairn_start
  run cairn check
  [ "$status" -eq 9 ] || { echo "$output"; false; }
  if [ "$engine" = lmdb ]; then # it has no checksums: the store's tell the row
    [[ $output == *"corrupt: "*"main"*k5* ]] || { echo "$output"; false; }
    return
  fi
  [[ $output == *"corrupt: "*"main"*"${file##*/}"*"damaged at offset "* ]] || { echo "$output"; false; }
}

@test "compact gives space back, and writes that wait meanwhile are done" {
  requires_engine "$engine"
  start -o "volume.engine=$engine" -o volume.history=0
  for n in 1 2 3; do head -c 5000000 /dev/urandom | cairn put "large" - >/dev/null; done
  for i in {1..300}; do echo "put a/$i $i"; done | cairn shell >/dev/null &
  before=$(cairn --json compact | jq .before)
  wait $!
  cairn del large
  after=$(cairn --json compact | jq .after)
  [ "$before" -gt 5000000 ] && [ "$after" -gt 0 ] && [ "$after" -lt 2000000 ] || { echo "$before $after"; false; }
  [ "$(cairn get a/300)" = 300 ]
  cairn check
}

@test "check and repair of a folder: what is valid is kept, the damaged files too" {
  requires_engine "$engine"
  start -o "volume.engine=$engine"
  for i in {1..200}; do echo "put a/$i $i"; done | cairn shell >/dev/null
  text 300000 >large
  cairn put b/large @large
  cairn put b/small 1
  run cairn check --dir n1/data
  [ "$status" -eq 5 ]
  [[ $output == *"is in use by cairnd"* ]] || { echo "$output"; false; }
  run cairn repair --dir n1/data
  [ "$status" -eq 5 ]
  cairn_stop && cairn_start && cairn_stop
  run cairn check --dir n1/data
  [ "$status" -eq 0 ] || { echo "$output"; false; }
  [[ $output == *"main: sound: 202 keys in "* ]] || { echo "$output"; false; }
  run cairn repair --dir n1/data
  [ "$status" -eq 0 ]
  [ ! -e n1/data/lost+found ]
  file=$(spoil n1/data/volumes "$(head -c 100000 large | tail -c 30)")
  run cairn check --dir n1/data
  [ "$status" -eq 9 ] || { echo "$output"; false; }
  damaged=$(sha256sum <"$file")
  run cairn repair --dir n1/data
  [ "$status" -eq 0 ] || { echo "$output"; false; }
  [[ $output == *"main: repaired: 201 keys kept of 202; the damaged files are in "* ]] || { echo "$output"; false; }
  grep -F 'key b/large: a chunk of it ' n1/data/lost+found/main-*.lost || { cat n1/data/lost+found/main-*.lost; false; }
  [ "$(cat n1/data/lost+found/main-*/"${file##*/}" | sha256sum)" = "$damaged" ]
  run cairn check --dir n1/data
  [ "$status" -eq 0 ]
  cairn_start
  [ "$(cairn get a/77)" = 77 ]
  [ "$(cairn get b/small)" = 1 ]
  run cairn get b/large
  [ "$status" -eq 1 ]
  cairn put b/large @large
  cairn get b/large | cmp - large
  cairn check
}

@test "repair of a folder that lost a file, of the system volume, and of none" {
  requires_engine "$engine"
  start -o "volume.engine=$engine"
  for i in {1..50}; do echo "put a/$i $i"; done | cairn shell >/dev/null
  cairn_stop && cairn_start && cairn_stop
  case $engine in
  leveldb) rm n1/data/volumes/main-*/CURRENT ;;
  bitcask) rm n1/data/volumes/main-*/MANIFEST ;;
  *) : ;; # all that it has is in one file
  esac
  rm n1/data/volumes/_system/MANIFEST*
  run cairn check --dir n1/data
  [ "$status" -eq 9 ]
  run cairn repair --dir n1/data
  [ "$status" -eq 0 ] || { echo "$output"; false; }
  cairn_start
  [ "$(cairn get a/50)" = 50 ]
  cairn check
  run cairn check --dir "$cairn_root"
  [ "$status" -eq 1 ]
  run cairn repair
  [ "$status" -eq 2 ]
}

# The state of a volume, as the daemon says it.
digest() { printf '{"id":1,"op":"digest","args":{"volume":"%s"}}\n' "$1" | timeout 10 cairn proxy | grep -oE '"(digest|revision|keys)":"?[0-9a-f]+' | tr '\n' ' '; }

flush_works() { # on the volume main
  for i in {1..100}; do echo "put a/$i $i"; done | cairn shell >/dev/null
  head -c 300000 /dev/urandom | cairn put large - >/dev/null
  run cairn volume flush main
  [ "$status" -eq 2 ]
  [ "$(cairn ls -r | wc -l)" -eq 101 ]
  run cairn volume flush --yes main
  [ "$status" -eq 0 ] || { echo "$output"; false; }
  [ "$output" = "revision 102: main is empty" ] || { echo "$output"; false; }
  [ -z "$(cairn ls)" ]
  cairn check
  run cairn get --at 50 a/1
  [ "$status" -ne 0 ]
  [ "$(cairn put a/1 new)" = "revision 103" ]
  [ "$(cairn get a/1)" = new ]
  [ "$(find n1/data/volumes -mindepth 1 -maxdepth 1 -name 'main-*' | wc -l)" -eq 1 ]
  run cairn volume flush --yes other
  [ "$status" -eq 1 ]
}

# bats test_tags=one-engine
@test "flush empties a volume at once and keeps its revisions" {
  start -o volume.engine=memory
  flush_works
}

@test "flush of a durable volume lasts" {
  requires_engine "$engine"
  start -o "volume.engine=$engine"
  flush_works
  cairn put b 2
  was=$(digest main)
  cairn_kill
  cairn_start
  [ "$(digest main)" = "$was" ]
  [ "$(cairn ls -r | tr '\n' ' ')" = "a/1 b " ]
  cairn check
}

# bats test_tags=one-engine
@test "writes beside a flush are there or did not happen" {
  start -o volume.engine=memory
  for round in {1..10}; do
    for i in {1..200}; do echo "put k/$i $round"; done | cairn shell >out 2>err &
    writer=$!
    cairn volume flush --yes main >/dev/null
    wait "$writer" || true
    cairn check >/dev/null
    # What was answered behind the flush is there: the last keys are, when all were answered.
    [ -s err ] || [ "$(cairn ls -r k | wc -l)" -le 200 ]
  done
  [ "$(cairn put x 1)" != "revision 1" ]
}

# bats test_tags=slow
@test "kill -9 around a flush leaves all keys or none, and no folder behind" {
  requires_engine "$engine"
  start -o "volume.engine=$engine"
  for round in {1..15}; do
    for i in {1..50}; do echo "put a/$i $round"; done | cairn shell >/dev/null
    rm -f out
    cairn volume flush --yes main >out 2>&1 &
    flush=$!
    for ((i = 0; i < round * 40; i++)); do :; done
    cairn_kill
    kill "$flush" 2>/dev/null || true
    wait "$flush" || true
    cairn_start
    count=$(cairn ls -r | wc -l)
    [ "$count" -eq 50 ] || [ "$count" -eq 0 ]
    ! grep -q '^revision' out || [ "$count" -eq 0 ]
    cairn check >/dev/null
    [ "$(ls -A n1/data/volumes | wc -l)" -eq 2 ]
  done
}
