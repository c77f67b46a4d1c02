# A mount whose server dies, hangs and comes back.

setup() {
  load lib/cairn.bash
  requires_fuse
  cairn_node
  cairn_mount -o timeout=2
}

@test "the server dies: EIO in time; it is back: all goes on without a new mount" {
  cd "$CAIRN_MOUNT"
  echo one >f
  mkdir d
  exec 7>>f
  exec 8>new
  echo buffered >&8
  cairn_kill
  SECONDS=0
  run cat f
  [[ "$output" == *"Input/output error"* ]]
  [ "$SECONDS" -le 4 ]
  run ls d
  [[ "$output" == *"Input/output error"* ]]
  run sh -c 'echo two >> f'
  [ "$status" -ne 0 ]
  cairn_start
  [ "$(cat f)" = one ]
  echo three >&7
  [ "$(cat f)" = $'one\nthree' ]
  exec 7>&- 8>&-
  [ "$(cat new)" = buffered ]
  [ "$(cairn get new)" = buffered ]
}

@test "an error at close or fsync reaches the program" {
  requires_program python3
  cd "$CAIRN_MOUNT"
  python3 - "$(cairn_pid n1)" <<'END'
import os, errno, sys, signal
pid = int(sys.argv[1])
f = os.open("f", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
g = os.open("g", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
os.write(f, b"bytes")
os.write(g, b"bytes")
os.kill(pid, signal.SIGSTOP)
try:
    for call in (os.fsync, os.close):
        try:
            call(f)
            raise SystemExit("no error")
        except OSError as e:
            assert e.errno == errno.EIO, e
finally:
    os.kill(pid, signal.SIGCONT)
os.fsync(g)
os.close(g)
END
  [ "$(cairn get g)" = bytes ]
}

@test "a server that hangs: calls end in time, fusermount3 -u works, nothing hangs" {
  echo x >"$CAIRN_MOUNT/f"
  cairn_pause
  SECONDS=0
  run cat "$CAIRN_MOUNT/f"
  [[ "$output" == *"Input/output error"* ]]
  run stat "$CAIRN_MOUNT/f"
  [[ "$output" == *"Input/output error"* ]]
  [ "$SECONDS" -le 8 ]
  fusermount3 -u "$CAIRN_MOUNT"
  run grep -F "$CAIRN_MOUNT" /proc/mounts
  [ "$status" -eq 1 ]
  cairn_resume
}

@test "a waiting call can be interrupted" {
  cairn_unmount
  cairn_mount -o timeout=60
  cairn_pause
  SECONDS=0
  run timeout -s INT 2 cat "$CAIRN_MOUNT/f"
  [ "$SECONDS" -le 10 ]
  cairn_resume
}

@test "a mount outlives kill -9 of its server under load, and keeps what was acknowledged" {
  cd "$CAIRN_MOUNT"
  mkdir load
  (
    for i in $(seq 400); do
      dd if=/dev/zero of="load/$i" bs=100 count=1 conv=fsync status=none 2>/dev/null && echo "$i" >>"$cairn_root/acknowledged"
    done
    true
  ) 3>&- &
  writer=$!
  for _ in 1 2 3; do
    cairn_kill
    cairn_start
  done
  wait "$writer"
  [ "$(wc -l <"$cairn_root/acknowledged")" -gt 100 ]
  while read -r i; do
    [ "$(stat -c %s "load/$i")" = 100 ]
  done <"$cairn_root/acknowledged"
}
