# What mounts believe and keep while servers and mounts are killed, paused and started again.

setup() {
  load lib/cairn.bash
  requires_fuse
  cairn_node
  cairn_mount -o timeout=2
}

@test "what was believed is not, once the server was lost: a change while it was away is seen" {
  cd "$CAIRN_MOUNT"
  echo one >f
  [ "$(stat -c %s f)" = 4 ]
  [ ! -e g ]
  for how in kill pause; do
    if [ "$how" = kill ]; then
      cairn_kill
      cairn_start
    else
      cairn_pause
      timeout 20 sh -c 'while stat f >/dev/null 2>&1; do sleep 0.1; done' # the kernel has to ask again
      cairn_resume
    fi
    cairn put f "$how is longer"
    cairn put g there
    timeout 20 sh -c "until [ \"\$(stat -c %s f)\" = $((${#how} + 10)) ] && [ -e g ]; do sleep 0.05; done"
    cairn del g
    timeout 20 sh -c 'while [ -e g ]; do sleep 0.05; done'
  done
}

@test "kill -9 of the mount: nobody hangs, and what was acknowledged is there" {
  requires_program python3
  echo kept >"$CAIRN_MOUNT/kept"
  python3 -c '
import os, sys
at = sys.argv[1]
for i in range(100000):
    try:
        fd = os.open(f"{at}/f{i}", os.O_CREAT | os.O_WRONLY)
        os.write(fd, b"x" * 100)
        os.close(fd)
    except OSError:
        break
    print(i, flush=True)
' "$CAIRN_MOUNT" >"$cairn_root/done" 3>&- &
  writer=$!
  timeout 20 sh -c "until [ \"\$(wc -l <'$cairn_root/done')\" -gt 50 ]; do sleep 0.02; done"
  pkill -9 -f "cairnfs $CAIRN_SERVER $CAIRN_MOUNT"
  wait "$writer"
  run cat "$CAIRN_MOUNT/kept"
  [[ "$output" == *"not connected"* ]]
  fusermount3 -uz "$CAIRN_MOUNT"
  cairn_mount
  [ "$(cat "$CAIRN_MOUNT/kept")" = kept ]
  while read -r i; do
    [ "$(stat -c %s "$CAIRN_MOUNT/f$i")" = 100 ]
  done < <(tail -n 30 "$cairn_root/done")
}

@test "the server killed, paused and back under load: every call ends, no process is left waiting" {
  cd "$CAIRN_MOUNT"
  mkdir load
  pids=()
  for p in 1 2 3 4; do
    (
      until [ -e "$cairn_root/stop" ]; do
        echo "$p" >"load/$p" && cat "load/$p" && mv "load/$p" "load/n$p" && ls -l load && rm "load/n$p"
      done >/dev/null 2>&1
      true
    ) 3>&- &
    pids+=($!)
  done
  for _ in 1 2; do
    cairn_kill
    cairn_start
    cairn_pause
    sleep 0.3 # the load runs into it
    cairn_resume
  done
  touch "$cairn_root/stop"
  for pid in "${pids[@]}"; do
    timeout 30 tail --pid="$pid" -f /dev/null
    wait "$pid"
  done
  for pid in /proc/[0-9]*; do
    case $(readlink "$pid/cwd" 2>/dev/null) in
    "$CAIRN_MOUNT"*) ! grep -q '^State:[[:space:]]*D' "$pid/status" 2>/dev/null ;;
    esac
  done
  echo fine >load/end
  [ "$(cat load/end)" = fine ]
}
