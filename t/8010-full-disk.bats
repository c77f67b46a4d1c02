#!/usr/bin/env bats
# A disk that fills: writes are refused, reads go on, nothing acknowledged is lost, and it goes on by itself when there
# is room. The disk is a small tmpfs in a mount namespace.

setup() {
  load lib/cairn.bash
  requires_engine leveldb
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
cairnd -d "$disk/data" -s "$disk/socket" -e leveldb -o "volume.parameters=min-free=$2" --exit-with-parent --ready-fd 9 \
  9>"$disk/ready" 2>"$disk/log" &
read -r _ <"$disk/ready" || fail "no start"
"$1" write "unix:$disk/socket" 0 10000 >"$cairn_root/acked" 2>/dev/null &
until [ -s "$cairn_root/acked" ] || ! kill -0 $!; do :; done
[ -s "$cairn_root/acked" ] || fail "nothing was written"
dd if=/dev/zero of="$disk/filler" bs=1M count="$4" 2>/dev/null
wait %2
answer=$(op put '"key":"more","value":"x"')
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

@test "no room in the middle of a write: the volume stops, and is opened again when there is room" {
  script >"$cairn_root/script"
  inside unshare bash "$cairn_root/script" "$load" 0 unavailable 58
}
