# shellcheck shell=bash
# Throw-away cairn nodes for tests. In a bats file:
#
#   setup() { load /usr/share/cairn/cairn.bash; cairn_node; }
#   @test "a key is kept" { cairn put k v; cairn_kill; cairn_start; [ "$(cairn get k)" = v ]; }
#
# Everything lives in a folder of its own and is gone when the test ends, however it ends. Where a test file
# has a teardown() of its own, that calls cairn_cleanup.
#
#   cairn_node [OPTION…]     start a node n1; the options go to cairnd (-o volume.engine=memory …)
#   cairn_kill [NAME…]       kill -9
#   cairn_stop [NAME…]       SIGTERM, and wait for the end
#   cairn_start [NAME…]      start again on the same data
#   cairn_pause / cairn_resume [NAME…]
#   cairn_mount [OPTION…]    mount at $CAIRN_MOUNT; the options go to cairnfs
#   cairn_unmount
#   cairn_dir NAME           print the node's folder: data, socket, log
#   cairn_pid NAME           print its process number
#   requires_fuse, requires_program NAME, requires_engine NAME: skip the test with the reason

# Where the programs are: a build folder in our own tests, the PATH elsewhere.
if [ -n "${CAIRN_BUILD:-}" ]; then
  PATH=$CAIRN_BUILD/bin:$CAIRN_BUILD/sbin:$PATH
fi
cairn_root=$(mktemp -d "${TMPDIR:-/tmp}/cairn-test.XXXXXX")
export cairn_root
export HOME=$cairn_root XDG_CONFIG_HOME=$cairn_root/config XDG_DATA_HOME=$cairn_root/share
export XDG_RUNTIME_DIR=$cairn_root/runtime LC_ALL=C.UTF-8 TZ=UTC
unset CAIRN_LOG NO_COLOR CAIRN_SERVER CAIRN_FENCE
mkdir -m 700 "$XDG_RUNTIME_DIR"
export PATH
declare -gA cairn_pids=() cairn_options=()
cairn_mounts=()

# Show why a helper gave up, on the test's output, and fail.
cairn_fail() {
  printf 'cairn.bash: %s\n' "$*" >&2
  return 1
}

cairn_dir() { printf '%s\n' "$cairn_root/$1"; }
cairn_pid() { printf '%s\n' "${cairn_pids[$1]:?no node of that name}"; }

cairn_node() {
  cairn_options[n1]=$([ $# -eq 0 ] || printf '%q ' "$@")
  mkdir -p "$cairn_root/n1"
  cairn_start n1 || return 1
  export CAIRN_SERVER=unix:$cairn_root/n1/socket
}

cairn_start() {
  local name dir options
  for name in "${@:-n1}"; do
    dir=$cairn_root/$name
    eval "options=(${cairn_options[$name]})"
    rm -f "$dir/ready"
    mkfifo -m 600 "$dir/ready"
    cairnd --data "$dir/data" --socket "$dir/socket" --name "$name" --exit-with-parent --ready-fd 9 \
      "${options[@]}" 3>&- 9>"$dir/ready" </dev/null >>"$dir/log" 2>&1 &
    cairn_pids[$name]=$!
    if ! read -r -t 60 _ <"$dir/ready"; then
      cat "$dir/log" >&2
      cairn_fail "$name did not become ready"
      return 1
    fi
  done
}

cairn_signal() {
  local signal=$1 name
  shift
  for name in "${@:-n1}"; do kill "-$signal" "${cairn_pids[$name]}" || return 1; done
}

# Wait for the end of nodes that got a signal; the status is that of the last.
cairn_reap() {
  local name status=0
  for name in "${@:-n1}"; do
    status=0
    wait "${cairn_pids[$name]}" 2>/dev/null || status=$?
    unset "cairn_pids[$name]"
  done
  return "$status"
}

cairn_kill() {
  cairn_signal KILL "$@" || return 1
  cairn_reap "$@" || true
}

cairn_stop() {
  cairn_signal TERM "$@" || return 1
  cairn_reap "$@"
}

cairn_pause() { cairn_signal STOP "$@"; }
cairn_resume() { cairn_signal CONT "$@"; }

# cairn_mount_at FOLDER [OPTION…]: mount there; returns when it answers.
cairn_mount_at() {
  local at=$1
  shift
  mkdir -p "$at"
  cairnfs "$CAIRN_SERVER" "$at" "$@" 3>&- </dev/null >>"$cairn_root/mount.log" 2>&1 || {
    cat "$cairn_root/mount.log" >&2
    cairn_fail "cairnfs did not mount $at"
    return 1
  }
  cairn_mounts+=("$at")
}

cairn_mount() {
  export CAIRN_MOUNT=$cairn_root/mnt
  cairn_mount_at "$CAIRN_MOUNT" "$@"
}

cairn_unmount() {
  local at
  for at in "${cairn_mounts[@]}"; do
    fusermount3 -u "$at" 2>/dev/null || fusermount3 -uz "$at" 2>/dev/null || true
  done
  cairn_mounts=()
}

cairn_cleanup() {
  local name
  cairn_unmount
  for name in "${!cairn_pids[@]}"; do
    kill -CONT "${cairn_pids[$name]}" 2>/dev/null || true
    kill -TERM "${cairn_pids[$name]}" 2>/dev/null || true
  done
  for name in "${!cairn_pids[@]}"; do wait "${cairn_pids[$name]}" 2>/dev/null || true; done
  cairn_pids=()
  cd /
  rm -rf "$cairn_root"
}

teardown() { cairn_cleanup; }

requires_program() {
  command -v "$1" >/dev/null || skip "the program $1 is not here"
}

requires_fuse() {
  { [ -r /dev/fuse ] && [ -w /dev/fuse ]; } || skip "/dev/fuse is not usable here"
  requires_program fusermount3
  command -v cairnfs >/dev/null || skip "cairnfs is not part of this build"
}

requires_engine() {
  local folder
  if [ -n "${CAIRN_PLUGIN_PATH:-}" ]; then
    IFS=: read -ra folder <<<"$CAIRN_PLUGIN_PATH"
    for folder in "${folder[@]}"; do [ -e "$folder/engine-$1.so" ] && return 0; done
    skip "engine-$1 is not part of this build"
  fi
}
