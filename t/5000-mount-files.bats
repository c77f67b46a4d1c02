# What people do with files, on a mount.

setup() {
  load lib/cairn.bash
  load lib/mount.bash
  requires_program getfattr
  requires_fuse
  cairn_node -o volume.engine=memory
  cairn_mount
  cd "$CAIRN_MOUNT"
}

@test "a file is a key, and a key is a file" {
  echo hello >greeting
  [ "$(cat greeting)" = hello ]
  [ "$(cairn get greeting)" = hello ]
  cairn put app/port 8080
  seen
  [ "$(cat app/port)" = 8080 ]
  [ "$(stat -c %s app/port)" = 4 ]
  cairn put app/port 90900
  seen
  [ "$(cat app/port)" = 90900 ]
  [ "$(stat -c %s app/port)" = 5 ]
  rm greeting
  run cairn get greeting
  [ "$status" -eq 1 ]
  [ ! -e greeting ]
}

@test "a MiB of random bytes is the same by mount, command and bare socket" {
  head -c 1048576 /dev/urandom >"$cairn_root/random"
  cp "$cairn_root/random" big
  cmp big "$cairn_root/random"
  cairn get big | cmp - "$cairn_root/random"
  requires_program nc
  printf '{"id":1,"op":"get","volume":"main","args":{"key":"big"}}\n' |
    timeout 10 nc -N -U "$(cairn_dir n1)/socket" >"$cairn_root/raw"
  # The value stands behind the answer's line, which begins behind the greeting's.
  tail -c 1048576 "$cairn_root/raw" | cmp - "$cairn_root/random"
}

@test "empty files: made by a reader, by a shell, by touch" {
  requires_program flock
  flock lock true
  [ -e lock ]
  : >empty
  touch touched
  [ "$(cairn ls --format plain | sort)" = $'empty\nlock\ntouched' ]
}

@test "folders: implicit, empty, removed, kept when they become empty" {
  mkdir -p a/b/c
  [ -d a/b/c ]
  run mkdir a
  [[ "$output" == *"File exists"* ]]
  run rmdir a
  [[ "$output" == *"not empty"* ]]
  rmdir a/b/c
  [ ! -e a/b/c ]
  cairn put implicit/one 1
  seen
  [ -d implicit ]
  [ "$(ls implicit)" = one ]
  rm implicit/one
  [ -d implicit ]
  rmdir implicit
  [ ! -e implicit ]
  [ "$(ls)" = a ]
}

@test "a listing of many pages has each name once" {
  for i in $(seq 2500); do printf 'put many/k%s %s\n' "$i" "$i"; done | cairn shell >/dev/null
  cairn put many/k1/below x
  seen
  [ "$(ls -f many | wc -l)" -eq 2502 ]
  [ "$(ls many | sort -u | wc -l)" -eq 2500 ]
  [ -d many/k1 ]
  [ "$(cat many/k1/%=)" = 1 ]
}

@test "a key and a folder of one name: the folder wins, its value is %=" {
  cairn put a one
  cairn put a-b between
  cairn put a/b two
  seen
  [ "$(ls)" = $'a\na-b' ]
  [ "$(ls a)" = $'%=\nb' ]
  [ "$(cat a/%=)" = one ]
  echo new >a/%=
  [ "$(cairn get a)" = new ]
  rm a/%=
  run cairn get a
  [ "$status" -eq 1 ]
  run sh -c 'echo x > a'
  [ "$status" -ne 0 ]
}

@test "names that are no file names can be seen, read and removed" {
  cairn put 'x//y' empty
  cairn put 'x/../z' dots
  seen
  [ "$(ls x)" = $'%2e%2e\n%_' ]
  [ "$(cat x/%_/y)" = empty ]
  [ "$(cat x/%2e%2e/z)" = dots ]
  long=$(printf '%0300d' 7)
  cairn put "long/$long" deep
  seen
  name=$(ls long)
  [[ "$name" == %@* ]]
  [ "$(cat "long/$name")" = deep ]
  rm "long/$name"
  run cairn get "long/$long"
  [ "$status" -eq 1 ]
  run touch "$(printf '%0256d' 1)"
  [[ "$output" == *"too long"* ]]
}

@test "mode, owner and times are kept, to the nanosecond, and go with the value" {
  echo x >f
  chmod 751 f
  touch -d '2020-02-02 02:02:02.123456789' f
  [ "$(stat -c '%a %y' f)" = '751 2020-02-02 02:02:02.123456789 +0000' ]
  [ "$(id -u)" -ne 0 ] || {
    chown 12:13 f
    [ "$(stat -c %u:%g f)" = 12:13 ]
  }
  mv f g
  [ "$(stat -c '%a %Y' g)" = '751 1580608922' ]
  mkdir d
  chmod 1770 d
  [ "$(stat -c %a d)" = 1770 ]
  cairn put implicit/k v
  seen
  chmod 755 implicit
  [ "$(stat -c %a implicit)" = 755 ]
  cairn put plain v
  seen
  [ "$(stat -c %a plain)" = 600 ]
  [ "$(stat -c %y plain)" != "$(stat -c %y g)" ]
}

@test "rename: files, over files, folders with what is in them, and never over what is in the way" {
  echo 1 >a
  echo 2 >b
  mv a b
  [ "$(cat b)" = 1 ]
  [ ! -e a ]
  mkdir -p d/e/f
  echo deep >d/e/f/g
  exec 7<d/e/f/g
  mv d other
  [ "$(cat other/e/f/g)" = deep ]
  read -r line <&7
  [ "$line" = deep ]
  exec 7<&-
  [ ! -e d ]
  [ "$(cairn get other/e/f/g)" = deep ]
  mkdir full
  touch full/x
  run mv -T other full
  [[ "$output" == *"not empty"* ]]
  mkdir empty
  mv -T other empty
  [ "$(cat empty/e/f/g)" = deep ]
  run mv -T b empty
  [ "$status" -ne 0 ]
  echo keep >keep
  mv -n b keep
  [ "$(cat keep)" = keep ]
}

# bats test_tags=slow
@test "a folder too large for one transaction is not renamed but copied" {
  requires_program python3
  for i in $(seq 66000); do echo "put large/k$i v"; done | cairn shell >/dev/null
  run python3 -c 'import os; os.rename("large", "other")'
  [[ "$output" == *"Invalid cross-device link"* ]]
  [ "$(ls large | wc -l)" -eq 66000 ]
  [ ! -e other ]
}

@test "links: symbolic ones yes, hard ones no" {
  echo x >f
  ln -s f l
  [ "$(readlink l)" = f ]
  [ "$(cat l)" = x ]
  rm l
  [ "$(cat f)" = x ]
  run ln f hard
  [[ "$output" == *"not permitted"* ]]
  mkfifo p
  [ "$(stat -c %F p)" = fifo ]
}

@test "sizes: truncate, holes, writing in the middle" {
  printf 0123456789 >f
  truncate -s 4 f
  [ "$(cairn get f)" = 0123 ]
  truncate -s 8 f
  [ "$(cairn get f | od -An -c | tr -d ' ')" = '0123\0\0\0\0' ]
  printf XY | dd of=f bs=1 seek=6 conv=notrunc status=none
  [ "$(cairn get f | od -An -c | tr -d ' ')" = '0123\0\0XY' ]
  run sh -c 'head -c 70000000 /dev/zero > toobig'
  [[ "$output" == *"File too large"* ]]
}

@test "values larger than a command and larger than a page" {
  head -c 5000000 /dev/urandom >"$cairn_root/five"
  cp "$cairn_root/five" five
  cmp five "$cairn_root/five"
  cairn get five | cmp - "$cairn_root/five"
  printf tail >>five
  [ "$(tail -c 4 five)" = tail ]
  [ "$(stat -c %s five)" = 5000004 ]
}

@test "attributes: one's own, and those of cairn that nobody copies" {
  requires_program python3
  echo x >f
  mkdir d
  python3 - <<'END'
import os, errno
os.setxattr("f", "user.colour", b"red\0blue")
assert os.getxattr("f", "user.colour") == b"red\0blue"
assert os.listxattr("f") == ["user.colour"]
os.removexattr("f", "user.colour")
assert os.listxattr("f") == []
assert os.getxattr("f", "user.cairn.key") == b"f"
assert os.getxattr("d", "user.cairn.key") == b"d/"
assert os.getxattr(".", "user.cairn.key") == b""
assert os.getxattr("f", "user.cairn.volume") == b"main"
assert os.getxattr("f", "user.cairn.server").startswith(b"unix:/")
revision = int(os.getxattr("f", "user.cairn.revision"))
open("f", "w").write("y")
assert int(os.getxattr("f", "user.cairn.revision")) > revision
for name, code in (("user.cairn.key", errno.EPERM), ("security.x", errno.EOPNOTSUPP)):
    try:
        os.setxattr("f", name, b"")
        raise SystemExit("set " + name)
    except OSError as e:
        assert e.errno == code, e
END
  [ "$(cairn get ./f)" = y ]
}

@test "only a folder of the volume, for programs that take it for the whole" {
  cairn put conf/app/port 80
  cairn put other x
  cairn_mount_at "$cairn_root/part" -o prefix=conf,fmode=644,dmode=755,uid=5
  cd "$cairn_root/part"
  [ "$(find . | sort)" = $'.\n./app\n./app/port' ]
  [ "$(stat -c '%a %u' app/port)" = '644 5' ]
  echo new >top
  [ "$(cairn get conf/top)" = new ]
  cd /
}

@test "a read-only mount" {
  cairn put k v
  cairn_mount_at "$cairn_root/ro" -o ro
  [ "$(cat "$cairn_root/ro/k")" = v ]
  run sh -c "echo x > '$cairn_root/ro/k'"
  [[ "$output" == *"Read-only"* ]]
}

@test "mount(8)'s options, and what is refused" {
  cairn_mount_at "$cairn_root/fstab" -o rw,dev,suid,_netdev
  grep -q " $cairn_root/fstab fuse.cairnfs .*nosuid,nodev" /proc/mounts
  run cairnfs "$CAIRN_SERVER" "$cairn_root/fstab" -o colour=red
  [ "$status" -eq 2 ]
  [[ "$output" == *"colour"* ]]
  run cairnfs "$CAIRN_SERVER" /nowhere/at/all
  [ "$status" -eq 2 ]
  mkdir "$cairn_root/unused"
  run cairnfs "unix:$cairn_root/nobody" "$cairn_root/unused"
  [ "$status" -eq 5 ]
  [[ "$output" == "cairnfs: unavailable: "* ]]
  run cairnfs "$CAIRN_SERVER" "$cairn_root/unused" -o volume=none
  [ "$status" -eq 1 ]
  [[ "$output" == "cairnfs: not-found: "* ]]
}
