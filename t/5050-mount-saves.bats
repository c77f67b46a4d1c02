# How programs save files: each save is one change of the key with content, and never an empty value in between.

setup() {
  load lib/cairn.bash
  requires_fuse
  requires_program jq
  cairn_node -o volume.engine=memory
  cairn_mount
  cd "$CAIRN_MOUNT"
  (exec cairn watch --json '' >"$cairn_root/changes" 2>&1) 3>&- &
  watcher=$!
  number=0
  until [ -s "$cairn_root/changes" ]; do cairn put ready "$((number += 1))" >/dev/null; done
}

teardown() { kill "$watcher" 2>/dev/null || true; }

# changes KEY COMMAND…: run it, and print how KEY got its values meanwhile and how long they are. Not what is made
# exclusively and has no data yet, which is marked so in the store.
changes() {
  local key=$1 mark from
  shift
  from=$(wc -l <"$cairn_root/changes")
  "$@" || return
  number=$((number + 1))
  mark=mark$number
  cairn put "$mark" x >/dev/null
  timeout 20 sh -c "until grep -q '\"key\":\"$mark\"' '$cairn_root/changes'; do sleep 0.01; done"
  tail -n +$((from + 1)) "$cairn_root/changes" |
    jq -r --arg key "$key" 'select(.key == $key and .change != "attributes" and .deleted != true and .open != true) | "\(.change) \(.size)"'
}

@test "the shell: > and >>, groups, and programs that write for it" {
  [ "$(changes k sh -c 'echo hello > k')" = "put 6" ]
  [ "$(changes k sh -c '{ echo a; /bin/echo b; } > k')" = "put 4" ]
  [ "$(changes k sh -c 'echo c >> k')" = "append 6" ]
  [ "$(changes k sh -c 'cat /etc/passwd | tee k >/dev/null')" = "put $(stat -c %s /etc/passwd)" ]
  [ "$(changes k dd if=/dev/zero of=k bs=512 count=1000 status=none)" = "put 512000" ]
  [ "$(changes k sh -c 'printf XY | dd of=k bs=1 seek=1000 conv=notrunc status=none')" = "patch 512000" ]
  [ "$(changes k truncate -s 100000 k)" = "patch 100000" ]
  [ "$(changes k cp /etc/hostname k)" = "put $(stat -c %s /etc/hostname)" ]
}

@test "what writes beside and renames over: sed -i, mv, sort -o, install, patch, rsync" {
  printf 'one\ntwo\n' >k
  [ "$(changes k sed -i s/one/three/ k)" = "move 10" ]
  echo longer than before >l
  [ "$(changes k mv l k)" = "move 19" ]
  [ "$(changes k sort -o k k)" = "put 19" ]
  [ "$(changes k install -m 644 /etc/hostname k)" = "put $(stat -c %s /etc/hostname)" ]
  requires_program patch
  printf 'a\nb\nc\n' >k
  printf -- '--- k\n+++ k\n@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n' >"$cairn_root/diff"
  [ "$(changes k patch -s k "$cairn_root/diff")" = "move 6" ]
  requires_program rsync
  seq 100 >"$cairn_root/k"
  [ "$(changes k rsync -a "$cairn_root/k" ./)" = "move 292" ]
  seq 90 >"$cairn_root/k"
  [ "$(changes k rsync -a --inplace "$cairn_root/k" ./)" = "put 261" ]
}

@test "vim" {
  requires_program vim
  printf 'one\ntwo\n' >k
  run changes k timeout 20 vim -u NONE -i NONE -es -c '%s/one/three/' -c wq k
  echo "$output"
  [ "$(grep -cv ' 0$' <<<"$output")" = 1 ]
  [[ "$output" != *" 0"* ]]
  [ "$(cairn get k)" = $'three\ntwo' ]
}

@test "nano" {
  requires_program nano
  requires_program python3
  printf 'one\n' >k
  run changes k timeout 20 python3 -c '
import os, pty, sys
pid, fd = pty.fork()
if pid == 0:
    os.environ["TERM"] = "vt100"
    os.execvp("nano", ["nano", "-I", "k"])
for keys, answer in (("", b"one"), ("new", b"new"), ("\x0f", b"Write"), ("\r", b"Wrote"), ("\x18", b"")):
    os.write(fd, keys.encode())
    seen = b""
    while answer not in seen:
        seen += os.read(fd, 4096)
os.waitpid(pid, 0)
'
  echo "$output"
  [ "$output" = "put 7" ]
  [ "$(cairn get k)" = newone ]
}

@test "emacs" {
  requires_program emacs
  printf 'one\n' >k
  run changes k timeout 60 emacs -Q --batch k --eval '(progn (insert "new") (save-buffer))'
  echo "$output"
  [ "$(cairn get k)" = newone ]
  [[ "$output" != *" 0"* ]]
}

@test "python, perl: write, rewrite, replace" {
  requires_program python3
  [ "$(changes k python3 -c 'open("k","w").write("hello")')" = "put 5" ]
  [ "$(changes k python3 -c 'import os; f=open("k.tmp","w"); f.write("again"); f.flush(); os.fsync(f.fileno()); f.close(); os.replace("k.tmp","k")')" = "move 5" ]
  [ "$(changes k python3 -c 'f=open("k","r+"); f.write("A"); f.close()')" = "put 5" ]
  requires_program perl
  [ "$(changes k perl -pi -e 's/gain/way/' k | tail -n 1 | cut -d' ' -f2)" = 4 ]
}

@test "tar, cp -a: one put a file; find, du, and sqlite in its default journal mode" {
  mkdir "$cairn_root/t"
  echo content >"$cairn_root/t/k"
  tar cf "$cairn_root/t.tar" -C "$cairn_root" t
  [ "$(changes t/k tar xf "$cairn_root/t.tar" | grep -cv ' 0$')" = 1 ]
  [ "$(changes u/k cp -a "$cairn_root/t" u | grep -cv ' 0$')" = 1 ]
  [ "$(find t u -type f | sort)" = $'t/k\nu/k' ]
  du -s . >/dev/null
  requires_program sqlite3
  sqlite3 db 'create table t(a); begin; insert into t values(1); insert into t values(2); commit; update t set a=a+1;'
  [ "$(sqlite3 db 'select sum(a) from t; pragma integrity_check;')" = $'5\nok' ]
  [ ! -e db-journal ]
}

@test "git gc and clone within a mount, and rsync twice" {
  requires_program git
  requires_program rsync
  git -c init.defaultBranch=m init -q repo
  for i in 1 2 3; do
    seq "$i" >"repo/f$i"
    git -C repo add .
    git -C repo -c user.name=t -c user.email=t@t commit -qm "$i"
  done
  git -C repo gc -q
  git -C repo fsck --no-progress
  git clone -q repo copy
  diff -r repo/f3 copy/f3
  [ -z "$(git -C copy status --porcelain)" ]
  rsync -a repo/ again/
  [ -z "$(rsync -ai repo/ again/)" ]
}
