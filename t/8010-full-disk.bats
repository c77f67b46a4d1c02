#!/usr/bin/env bats
# A disk that fills: writes are refused, reads go on, nothing acknowledged is lost, and it goes on by itself when there
# is room. The disk is a small tmpfs in a mount namespace.

setup() {
  load lib/cairn.bash
  load lib/engines.bash
  requires_engine "$engine"
  export engine
  requires_program nc
  load=$CAIRN_BUILD/t/lib/crashload
  [ -x "$load" ] || skip "crashload is built by make check"
  export disk=$cairn_root/disk
  mkdir "$disk"
  inside unshare true 2>/dev/null || skip "mount namespaces are not allowed here"
}

# Run the rest of the test again within a namespace that has the small disk.
inside() {
  local how
  for how in -m -rm; do
    unshare "$how" bash -c 'mount -t tmpfs -o size=64M tmpfs "$disk"' 2>/dev/null || continue
    shift
    unshare "$how" bash -c 'mount -t tmpfs -o size=64M tmpfs "$disk" && exec "$@"' - "$@"
    return
  done
  return 1
}

script() {
  cat <<'END'
ask() { nc -U -N -w 10 "$disk/socket" | tail -n +2; }
op() { printf '{"id":1,"op":"%s","args":{%s}}\n' "$1" "$2" | ask; }
fail() { echo "$*"; cat "$disk/log"; exit 1; }
mkfifo "$disk/ready"
cairnd -d "$disk/data" -s "$disk/socket" -e "$engine" -o "volume.parameters=min-free=$2" "${@:5}" --exit-with-parent --ready-fd 9 \
  9>"$disk/ready" 2>"$disk/log" &
read -r _ <"$disk/ready" || fail "no start"
"$1" write "unix:$disk/socket" 0 10000 >"$cairn_root/acked" 2>/dev/null &
until [ -s "$cairn_root/acked" ] || ! kill -0 $!; do :; done
[ -s "$cairn_root/acked" ] || fail "nothing was written"
dd if=/dev/zero of="$disk/filler" bs=1M count="$4" 2>/dev/null
wait %2
answer=$(op put '"key":"more","value":"'"$(printf '%0100000d' 0)"'"') # so large that it needs room
[[ "$answer" == *'"error":{"code":"'"$3"'"'* ]] || fail "while full: $answer"
[[ "$(op status "")" == *'"state":"degraded"'* ]] || fail "$(op status "")"
rm "$disk/filler"
for _ in $(seq 300); do # at most a minute
  answer=$(op put '"key":"more","value":"x"')
  [[ "$answer" != *'"ok"'* ]] || break
  read -rt 0.2 _ <>"$disk/ready"
done
[[ "$answer" == *'"ok"'* ]] || fail "with room again: $answer"
"$1" check "unix:$disk/socket" <"$cairn_root/acked" || fail "lost"
kill %1
wait %1
END
}

@test "the engine's reserve: 'full', reads go on, and writes when there is room" {
  script >"$cairn_root/script"
  inside unshare bash "$cairn_root/script" "$load" 32M full 48
}

@test "no room in the middle of an engine's write: refused, and on by itself when there is room" {
  refusal=full # the write did not happen
  [ "$engine" != leveldb ] || refusal=unavailable # it cannot tell: the volume stops, and is opened again
  script >"$cairn_root/script"
  inside unshare bash "$cairn_root/script" "$load" 0 "$refusal" 58 -o volume.through=yes -o node.min-free=0
}

# The disk is full to the last byte, and not by cairn: nothing but the reserve of the journal is left.
wholly() {
  cat <<'END'
ask() { nc -U -N -w 20 "$disk/socket" | tail -n +2; }
op() { printf '{"id":1,"op":"%s","args":{%s}}\n' "$1" "$2" | ask; }
fail() { echo "$*"; cat "$disk/log"; exit 1; }
mkfifo "$disk/ready"
cairnd -d "$disk/data" -s "$disk/socket" -e "$engine" -o node.min-free=4M -o journal.segment=4M --exit-with-parent \
  --ready-fd 9 9>"$disk/ready" 2>"$disk/log" &
daemon=$!
read -r _ <"$disk/ready" || fail "no start"
for i in {1..3000}; do printf '{"id":1,"op":"put","args":{"key":"k/%d","value":"%0500d"}}\n' "$i" "$i"; done | ask >/dev/null
until [ -e "$disk/data/journal/reserve" ]; do :; done
dd if=/dev/zero of="$disk/filler" bs=64K 2>/dev/null
dd if=/dev/zero of="$disk/filler2" bs=512 2>/dev/null
for i in $(seq 300); do # what the journal has zeroed ahead still takes some
  answer=$(for n in {1..50}; do printf '{"id":1,"op":"put","args":{"key":"more","value":"%05000d"}}\n' "$i"; done | ask | tail -n 1)
  [[ "$answer" == *'"ok"'* ]] || break
done
[[ "$answer" == *'"error":{"code":"full"'* ]] || fail "while full: $answer"
for i in {1..2000}; do printf '{"id":1,"op":"del","args":{"key":"k/%d"}}\n' "$i"; done | ask >"$disk.answers"
[ "$(grep -c '"ok"' "$disk.answers")" -eq 2000 ] || fail "deletes while full: $(grep -v '"ok"' "$disk.answers" | head -n 2)"
answer=$(op purge '"prefix":"k/1"')
[[ "$answer" == *'"ok"'* ]] || fail "purge while full: $answer"
[[ "$(op get '"key":"k/2500"')" == *'"ok"'* ]] || fail "no read while full"
rm "$disk/filler" "$disk/filler2"
for _ in $(seq 300); do # at most a minute
  answer=$(op put '"key":"more","value":"x"')
  [[ "$answer" != *'"ok"'* ]] || break
  read -rt 0.2 _ <>"$disk/ready"
done
[[ "$answer" == *'"ok"'* ]] || fail "with room again: $answer"
kill -9 "$daemon"
wait "$daemon"
cairnd -d "$disk/data" -s "$disk/socket" -e "$engine" --exit-with-parent --ready-fd 9 9>"$disk/ready" 2>>"$disk/log" &
daemon=$!
read -r _ <"$disk/ready" || fail "no second start"
[[ "$(op get '"key":"k/2000"')" == *not-found* && "$(op get '"key":"k/2001"')" == *'"ok"'* && "$(op check '')" == *'"ok"'* ]] || fail "not as it was"
kill "$daemon"
wait "$daemon"
END
}

@test "a disk that is wholly full: 'full', deletes and purge still work, and all of it lasts" {
  wholly >"$cairn_root/script"
  inside unshare timeout 200 bash "$cairn_root/script"
}

# A disk that is not full, with less room than the node is to keep.
less_room() {
  cat <<'END'
fail() { echo "$*"; tail -n 20 "$disk/log"; exit 1; }
mkfifo "$disk/ready"
cairnd -d "$disk/data" -s "$disk/socket" "$@" -o journal.segment=4M -o node.min-free=24M --exit-with-parent --ready-fd 9 9>"$disk/ready" 2>"$disk/log" &
read -r _ <"$disk/ready" || fail "no start"
export CAIRN_SERVER=unix:$disk/socket
cairn put a 1 >/dev/null && cairn put b 1 >/dev/null || fail "no put"
dd if=/dev/zero of="$disk/filler" bs=1M count=38 2>/dev/null
for n in $(seq 300); do # for engines that leave it to the node the disk is looked at once a second
  head -c 200000 /dev/urandom | cairn put "c$n" - >/dev/null 2>"$disk/error" || break
  read -rt 0.1 _ <>"$disk/ready"
done
grep -q '^cairn: full: ' "$disk/error" || fail "with less room: $(cat "$disk/error")"
[ "$(stat -f -c %a "$disk")" -ge $((12 * 256)) ] || fail "too little was kept: $(df "$disk")"
cairn --json status | grep -q '"state":"degraded"' || fail "$(cairn --json status)"
cairn del b >/dev/null || fail "no delete"
cairn volume create other >/dev/null || fail "no volume"
rm "$disk/filler"
for _ in $(seq 300); do
  head -c 200000 /dev/zero | cairn put c - >/dev/null 2>"$disk/error" && break
  read -rt 0.1 _ <>"$disk/ready"
done
[ "$(cairn get a) $(cairn get c | wc -c)" = "1 200000" ] || fail "with room again: $(cat "$disk/error")"
kill %1
wait %1
END
}

@test "less room than node.min-free: 'full', deletes are taken, and writes go on by themselves when there is more" {
  less_room >"$cairn_root/script"
  inside unshare timeout 100 bash "$cairn_root/script" -e "$engine"
}

# bats test_tags=one-engine
@test "node.min-free counts for a volume that only the journal keeps, too" {
  less_room >"$cairn_root/script"
  inside unshare timeout 100 bash "$cairn_root/script" -e memory -o volume.durable=yes
}

# bats test_tags=one-engine
@test "engine-lmdb where the disk has no room for a commit: nothing of it is there, and deletes are taken" {
  requires_engine lmdb
  [ -x "$CAIRN_BUILD/t/unit/u-lmdb" ] || skip "u-lmdb is built by make check"
  run inside unshare "$CAIRN_BUILD/t/unit/u-lmdb" "$disk"
  echo "$output"
  [ "$status" -eq 0 ]
}

# What fills the disk is history: it is given up, oldest first, and writes go on by themselves.
overwritten() {
  cat <<'END'
fail() { echo "$*"; tail -n 20 "$disk/log"; exit 1; }
mkfifo "$disk/ready"
cairnd -d "$disk/data" -s "$disk/socket" -e "$1" -o journal.segment=4M -o node.min-free=28M --exit-with-parent --ready-fd 9 9>"$disk/ready" 2>"$disk/log" &
read -r _ <"$disk/ready" || fail "no start"
export CAIRN_SERVER=unix:$disk/socket
for i in $(seq 500); do
  for _ in $(seq 300); do # some seconds, on a machine that is not busy
    { printf '%s' "$((i % 10))" && head -c 100000 /dev/urandom; } | cairn put "k$((i % 20))" - >/dev/null 2>"$disk.error" && continue 2
    grep -q '^cairn: full' "$disk.error" || fail "$(cat "$disk.error")"
    read -rt 0.2 _ <>"$disk/ready"
  done
  fail "put $i: $(cat "$disk.error")"
done
[ "$(cairn get k19 | head -c 1)" = 9 ] || fail "another value"
cairn check >/dev/null || fail "check"
grep -q 'its oldest part is given up' "$disk/log" || fail "history was not given up"
kill %1
wait %1
END
}

# bats test_tags=one-engine
@test "a disk that history fills: its oldest part is given up, and writes go on by themselves" {
  overwritten >"$cairn_root/script"
  for engine in bitcask lmdb; do # LevelDB gives no room back before it is written to again: its README
    [ -e "${CAIRN_PLUGIN_PATH%%:*}/engine-$engine.so" ] || continue
    run inside unshare bash "$cairn_root/script" "$engine"
    [ "$status" -eq 0 ] || { echo "$engine: $output"; false; }
  done
}
