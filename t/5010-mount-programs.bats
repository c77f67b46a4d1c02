# Programs and several writers at once, on mounts of one node.

setup() {
  load lib/cairn.bash
  load lib/mount.bash
  requires_program getfattr
  requires_fuse
  cairn_node -o volume.engine=memory
  cairn_mount
  cairn_mount_at "$cairn_root/second"
  other=$cairn_root/second
  cd "$CAIRN_MOUNT"
}

@test "what one mount closes, the other opens" {
  for i in 1 2 3 4 5; do
    echo "$i" >f
    if [ "$i" = 1 ]; then seen "$other"; fi
    [ "$(cat "$other/f")" = "$i" ]
    [ "$(stat -c %s "$other/f")" = 2 ]
    echo "back $i" >"$other/f"
    [ "$(cat f)" = "back $i" ]
  done
  mkdir d
  seen "$other"
  [ -d "$other/d" ]
  mv "$other/d" "$other/e"
  seen
  [ ! -e d ]
  [ -d e ]
  rm "$other/f"
  seen
  [ ! -e f ]
}

@test "a change that leaves length and time as they were is seen" {
  echo aaa >f
  touch -d 2020-01-01 f
  [ "$(cat f)" = aaa ]
  echo bbb >"$other/f"
  touch -d 2020-01-01 "$other/f"
  [ "$(cat f)" = bbb ]
}

@test "what was opened stays as it was when another mount replaces it" {
  echo old >f
  exec 7<f
  echo new >"$other/f"
  [ "$(cat f)" = new ]
  [ "$(cat <&7)" = old ]
  exec 7<&-
  echo new >"$other/f.tmp"
  exec 7<f
  mv "$other/f.tmp" "$other/f"
  [ "$(cat <&7)" = new ]
  exec 7<&-
}

@test "an open file sees what another mount appends" {
  echo one >log
  exec 7<log
  read -r line <&7
  [ "$line" = one ]
  echo two >>"$other/log"
  seen
  read -r line <&7
  [ "$line" = two ]
  exec 7<&-
}

@test "a script's output appears once and whole" {
  {
    echo 1
    /bin/echo 2
    [ ! -e "$other/k" ]
    echo 3
  } >k
  seen "$other"
  [ "$(cat "$other/k")" = $'1\n2\n3' ]
  sh -c 'sh -c "echo a"; /bin/echo b; sh -c "echo c"' >k
  [ "$(cat "$other/k")" = $'a\nb\nc' ]
  : >k
  seen "$other"
  [ "$(stat -c %s "$other/k")" = 0 ]
  touch new
  seen "$other"
  [ -e "$other/new" ]
}

@test "no appended line is lost, from four processes on two mounts" {
  pids=()
  for p in 1 2 3 4; do
    [ $((p % 2)) = 1 ] && at=. || at=$other
    for i in $(seq 50); do echo "$p $i" >>"$at/log"; done 3>&- &
    pids+=($!)
  done
  wait "${pids[@]}"
  [ "$(sort -u log | wc -l)" -eq 200 ]
  [ "$(cairn get log | wc -l)" -eq 200 ]
}

@test "of many who create a file or a folder exclusively, one wins" {
  for round in 1 2 3; do
    pids=()
    for p in 1 2 3 4 5 6; do
      [ $((p % 2)) = 1 ] && at=. || at=$other
      (
        set -C
        { echo "$p" >"$at/lock$round"; } 2>/dev/null && echo file >>"$cairn_root/won$round"
        mkdir "$at/dir$round" 2>/dev/null && echo dir >>"$cairn_root/won$round"
        true
      ) 3>&- &
      pids+=($!)
    done
    wait "${pids[@]}"
    [ "$(sort "$cairn_root/won$round")" = $'dir\nfile' ]
  done
}

@test "two mounts change different places of one file" {
  printf 'aaaaaaaaaa' >f
  exec 7<>f
  exec 8<>"$other/f"
  printf 'XX' >&7
  printf 'aaaaaaaaYY' | dd bs=1 skip=8 seek=8 of=/dev/fd/8 conv=notrunc status=none
  exec 7<&-
  exec 8<&-
  [ "$(cairn get f)" = XXaaaaaaYY ]
}

@test "cp -r, tar and diff of a tree" {
  mkdir -p "$cairn_root/tree/x/y"
  for i in $(seq 30); do head -c $((i * 997)) /dev/urandom >"$cairn_root/tree/x/f$i"; done
  ln -s ../f1 "$cairn_root/tree/x/y/link"
  chmod 711 "$cairn_root/tree/x"
  touch -d 2001-01-01 "$cairn_root/tree/x/f1" "$cairn_root/tree/x/y"
  cp -a "$cairn_root/tree" copy
  diff -r "$cairn_root/tree" copy
  [ "$(stat -c '%a %Y' copy/x)" = "711 $(stat -c %Y "$cairn_root/tree/x")" ]
  mkdir untarred
  tar cf - -C "$cairn_root" tree | tar xf - -C untarred
  seen "$other"
  diff -r "$cairn_root/tree" "$other/untarred/tree"
  [ "$(stat -c %Y untarred/tree/x/y)" = "$(stat -c %Y "$cairn_root/tree/x/y")" ]
  rm -r copy untarred
  [ -z "$(ls -A)" ]
}

@test "sed -i, sort -o, tee, install, and vim" {
  printf 'b\na\n' >f
  sed -i s/b/c/ f
  sort -o f f
  seen "$other"
  [ "$(cat "$other/f")" = $'a\nc' ]
  echo d | tee -a f >/dev/null
  [ "$(tail -n 1 "$other/f")" = d ]
  install -m 640 f g
  seen "$other"
  [ "$(stat -c %a "$other/g")" = 640 ]
  requires_program vim
  vim -u NONE -i NONE -es -c '%s/a/vim/' -c wq f </dev/null
  [ "$(head -n 1 "$other/f")" = vim ]
  [ "$(ls -A)" = $'f\ng' ]
}

@test "git: init, add, commit, checkout" {
  requires_program git
  git -c init.defaultBranch=m init -q repo
  cd repo
  for i in 1 2 3; do
    echo "$i" >"f$i"
    git add .
    git -c user.name=t -c user.email=t@t commit -qm "$i"
  done
  [ "$(git log --oneline | wc -l)" -eq 3 ]
  [ -z "$(git status --porcelain)" ]
  git checkout -q HEAD~1
  [ ! -e f3 ]
  git fsck --no-progress
  git clone -q . "$cairn_root/clone"
  cmp f2 "$cairn_root/clone/f2"
}

@test "rsync -a, and the second time nothing to do" {
  requires_program rsync
  mkdir -p "$cairn_root/src/d"
  echo x >"$cairn_root/src/d/f"
  rsync -a "$cairn_root/src/" dst/
  [ "$(rsync -ai "$cairn_root/src/" dst/)" = "" ]
}

@test "a file that is made exclusively is marked until its first data or its close" {
  opened() { cairn stat --json "$1" | jq -c '[.open, .size]'; }
  (
    set -o noclobber
    exec 5>lock
    [ "$(opened lock)" = '[true,0]' ]
    printf data >&5
    exec 5>&-
  )
  [ "$(opened lock)" = '[null,4]' ]
  mktemp -p . empty.XXXXXX >/dev/null
  # Nobody waits for the close of a file that has no data.
  for i in {1..100}; do
    [ "$(opened "$(basename empty.*)")" != '[null,0]' ] || break
    sleep 0.02
  done
  [ "$(opened "$(basename empty.*)")" = '[null,0]' ]
  echo plain >plain
  [ "$(opened plain)" = '[null,6]' ]
}
