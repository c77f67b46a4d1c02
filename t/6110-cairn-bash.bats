# cairn.bash: the library for people's own tests, as make install puts it down, used by a stranger.
# shellcheck disable=SC2154  # $output, $stderr and $status are bats'
bats_require_minimum_version 1.5.0

setup_file() {
  export installed=$BATS_FILE_TMPDIR/installed
  make -s -C "$CAIRN_BUILD" install DESTDIR="$installed" >"$BATS_FILE_TMPDIR/log" 2>&1 || { tail "$BATS_FILE_TMPDIR/log" >&2; return 1; }
  library=$(find "$installed" -path '*/share/cairn/cairn.bash')
  export library
}

setup() {
  load lib/cairn.bash
  mkdir "$cairn_root/tmp" "$cairn_root/own"
  cd "$cairn_root/own"
}

# As somebody who knows nothing of the source folder.
stranger() { env -i HOME=/nonexistent TMPDIR="$cairn_root/tmp" PATH=/usr/bin:/bin "$@" 3>&-; }

nothing_left() {
  [ -z "$(ls -A "$cairn_root/tmp")" ] && ! grep -q "$cairn_root/tmp" /proc/self/mounts && ! pgrep -f "$cairn_root/tmp" >/dev/null
}

@test "a foreign bats file runs against what was installed, and leaves nothing" {
  # Bats would take lines that begin with its own word for tests of this file.
  sed 's/^TEST/@test/' >web.bats <<END
setup() { load '$library'; cairn_cluster 1; }
teardown() { echo own >>'$PWD/teardown'; }
TEST "the port survives the loss of the leader" {
  cairn put app/port 8080
  cairn_kill leader
  run cairn get app/port
  [ "\$status" -eq 5 ]
  cairn_start leader
  run cairn get app/port
  [ "\$status" -eq 0 ]
  [ "\$output" = 8080 ]
}
TEST "a node that hangs is waited for" {
  cairn_pause
  cairn put k v >out &
  cairn_resume n1
  wait \$!
  [ "\$(cat out)" = "revision 1" ]
}
TEST "programs are those of the library" {
  [[ \$(command -v cairn) == '$installed'/* ]]
  requires_engine memory
  requires_engine nosuch
}
TEST "a mount" {
  requires_fuse
  cairn_mount
  echo 1 >"\$CAIRN_MOUNT/a"
  [ "\$(cairn get a)" = 1 ]
}
TEST "a test that fails" {
  [ "\$(cairn get k)" = 1 ]
}
END
  run stranger bats --tap web.bats
  [ "$status" -eq 1 ] || { echo "$output"; false; }
  grep -q '^ok 1 ' <<<"$output"
  grep -q '^ok 2 ' <<<"$output"
  grep -q '^ok 3 .*skip engine-nosuch is not part of this build' <<<"$output"
  grep -q '^ok 4 ' <<<"$output"
  grep -q '^not ok 5 ' <<<"$output"
  [ "$(grep -c own teardown)" -eq 5 ]
  nothing_left
}

@test "a script that is killed leaves nothing" {
  mkfifo ready
  cat >script <<END
. '$library'
cairn_node -o volume.engine=memory
if [ -w /dev/fuse ] && command -v fusermount3 cairnfs >/dev/null; then cairn_mount; fi
echo "\$\$ \$cairn_root" >ready
read -r _ <ready
END
  stranger bash script &
  read -r script folder <ready
  [ -S "$folder/n1/socket" ]
  kill -KILL "$script"
  for _ in {1..600}; do
    nothing_left && break
    sleep 0.05
  done
  nothing_left
}

@test "what cannot be done is said" {
  cat >script <<END
. '$library'
cairn_cluster many
echo "status \$?"
cairn_kill n7
echo "status \$?"
cairn_node --nonsense
echo "status \$?"
END
  run stranger bash script
  [[ "$output" == *"cairn.bash: invalid: cairn_cluster takes a number of nodes, not 'many'"$'\n'"status 2"* ]]
  [[ "$output" == *"cairn.bash: no node n7 is running"$'\n'"status 1"* ]]
  [[ "$output" == *"cairnd: invalid: there is no option --nonsense"*"cairn.bash: node n1 did not become ready"$'\n'"status 1"* ]]
  # The script's end did not wait for the second process.
  for _ in {1..600}; do nothing_left && break; sleep 0.05; done
  nothing_left
}

@test "the manual page names every function of the library, and no other" {
  diff <(sed -nE 's/^((cairn|requires)_[a-z_]+)\(\).*/\1/p' "$library" | sort) \
    <(sed -nE 's/^\.It Ic ((cairn|requires)_[a-z_]+).*/\1/p' "$CAIRN_SOURCE/man/cairn.bash.7" | sort)
}
