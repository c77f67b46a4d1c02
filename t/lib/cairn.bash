# shellcheck shell=bash
# Throw-away cairn nodes for tests, in bats or any bash; cairn.bash(7) is its manual page. In a bats file:
#
#   setup() { load /usr/share/cairn/cairn.bash; cairn_node; }
#   @test "a key is kept" { cairn put k v; cairn_kill; cairn_start; [ "$(cairn get k)" = v ]; }
#
# Everything lives in a folder of its own and is gone when the test ends, however it ends: where nobody calls
# cairn_cleanup, a second process does that work when this one is gone.

# Show why a helper gave up, on the test's output, and fail.
_cairn_fail() {
  printf 'cairn.bash: %s\n' "$*" >&2
  return 1
}

# Where the programs are: a build folder in our own tests; beside this file where it is installed; the PATH.
_cairn_path() {
  local here
  here=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")
  if [ -n "${CAIRN_BUILD:-}" ]; then
    PATH=$CAIRN_BUILD/bin:$CAIRN_BUILD/sbin:$PATH
  elif [ -x "$here/bin/cairn" ] && [ -x "$here/sbin/cairnd" ]; then
    PATH=$here/bin:$here/sbin:$PATH
  fi
  export PATH
}

# Release every mount below the folder.
_cairn_release() {
  local at
  while read -r _ at _; do
    case $at in
    "$cairn_root"/*) fusermount3 -u "$at" 2>/dev/null || fusermount3 -uz "$at" 2>/dev/null || true ;;
    esac
  done </proc/self/mounts
}

# In a process of its own, when the test and all that it has started are gone, and the nodes are ending.
_cairn_take_away() {
  trap '' HUP INT QUIT TERM
  exec >/dev/null 2>&1 3>&-
  cat
  cd /
  _cairn_release
  until rm -rf "$cairn_root"; do sleep 0.1; done
}

cairn_dir() { printf '%s\n' "$cairn_root/$1"; }

# The name of a node that is asked for: "leader" is the node that leads.
_cairn_name() {
  if [ "$1" != leader ]; then
    printf '%s\n' "$1"
  elif [ "${#cairn_options[@]}" -gt 1 ]; then
    local i name=
    for ((i = 0; i < 200; i++)); do
      name=$(cairn status 2>/dev/null | awk '$2 == "leader" { print $1; exit }')
      [ -z "$name" ] || break
      sleep 0.1
    done
    printf '%s\n' "$name"
  else
    echo n1
  fi
}

cairn_pid() {
  local name
  name=$(_cairn_name "$1")
  [ -n "${cairn_pids[$name]:-}" ] || _cairn_fail "no node $name is running" || return 1
  printf '%s\n' "${cairn_pids[$name]}"
}

cairn_node() {
  cairn_options[n1]=$([ $# -eq 0 ] || printf '%q ' "$@")
  mkdir -p "$cairn_root/n1"
  cairn_start n1 || return 1
  export CAIRN_SERVER=unix:$cairn_root/n1/socket
}

cairn_cluster() {
  local i net peers='' servers=''
  case ${1:-} in
  1) cairn_node "${@:2}" && return ;;
  '' | 0* | *[!0-9]* | ???*) _cairn_fail "invalid: cairn_cluster takes a number of nodes, not '${1:-}'" || return 2 ;;
  esac
  net=127.$((RANDOM % 254 + 1)).$((RANDOM % 256)) # every address of 127/8 is this machine's own
  for ((i = 1; i <= $1; i++)); do
    peers+="n$i=$net.$i:7400 "
    servers+=${servers:+,}unix:$cairn_root/n$i/socket
  done
  # Without TLS in this build they talk in the open.
  cairnd --make-key "$cairn_root/key" >/dev/null 2>&1 && set -- "$1" -o "cluster.key=$cairn_root/key" "${@:2}"
  for ((i = 1; i <= $1; i++)); do
    cairn_options[n$i]=$(printf '%q ' -o "cluster.peers=${peers% }" "${@:2}")
    mkdir -p "$cairn_root/n$i"
    cairn_start "n$i" || return 1
  done
  export CAIRN_SERVER=$servers
  for ((i = 1; i <= $1; i++)); do
    cairn -s "unix:$cairn_root/n$i/socket" health --wait ok --timeout 60s >/dev/null ||
      _cairn_fail "node n$i of the cluster did not become ready" || return 1
  done
}

cairn_start() {
  local name dir options
  for name in "${@:-n1}"; do
    name=$(_cairn_name "$name")
    [ -n "${cairn_options[$name]+there}" ] || _cairn_fail "there is no node $name" || return 1
    [ -z "${cairn_pids[$name]:-}" ] || _cairn_fail "node $name is running already" || return 1
    dir=$cairn_root/$name
    eval "options=(${cairn_options[$name]})"
    rm -f "$dir/ready"
    mkfifo -m 600 "$dir/ready"
    cairnd --data "$dir/data" --socket "$dir/socket" --name "$name" --exit-with-parent --ready-fd 9 \
      "${options[@]}" 3>&- {cairn_keeper}>&- 9>"$dir/ready" </dev/null >>"$dir/log" 2>&1 &
    cairn_pids[$name]=$!
    if ! read -r -t 60 _ <"$dir/ready"; then
      cat "$dir/log" >&2
      unset "cairn_pids[$name]"
      _cairn_fail "node $name did not become ready"
      return 1
    fi
  done
}

cairn_signal() {
  local signal=$1 name pid
  shift
  for name in "${@:-n1}"; do
    pid=$(cairn_pid "$name") || return 1
    kill "-$signal" "$pid" || return 1
  done
}

# Wait for the end of nodes that got a signal; the status is that of the last.
cairn_reap() {
  local name status=0
  for name in "${@:-n1}"; do
    name=$(_cairn_name "$name")
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
  cairn_signal CONT "$@" 2>/dev/null || true # first: LeakSanitizer stops a process that ends, and must not see this
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
  (cairnfs "$CAIRN_SERVER" "$at" "$@" 3>&- {cairn_keeper}>&- </dev/null >>"$cairn_root/mount.log" 2>&1) || {
    cat "$cairn_root/mount.log" >&2
    _cairn_fail "cairnfs did not mount $at"
    return 1
  }
}

cairn_mount() {
  export CAIRN_MOUNT=$cairn_root/mnt
  cairn_mount_at "$CAIRN_MOUNT" "$@"
}

cairn_unmount() { _cairn_release; }

cairn_cleanup() {
  local name
  _cairn_release
  for name in "${!cairn_pids[@]}"; do
    kill -CONT "${cairn_pids[$name]}" 2>/dev/null || true
    kill -TERM "${cairn_pids[$name]}" 2>/dev/null || true
  done
  for name in "${!cairn_pids[@]}"; do wait "${cairn_pids[$name]}" 2>/dev/null || true; done
  cairn_pids=()
  cd /
  rm -rf "$cairn_root"
  [ -z "${cairn_keeper:-}" ] || exec {cairn_keeper}>&-
  cairn_keeper=
}

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
  else
    cairn sandbox -- cairn plugin show "$1" >/dev/null 2>&1 && return 0
  fi
  skip "engine-$1 is not part of this build"
}

_cairn_path
cairn_root=$(mktemp -d "${TMPDIR:-/tmp}/cairn-test.XXXXXX")
export cairn_root
export HOME=$cairn_root XDG_CONFIG_HOME=$cairn_root/config XDG_DATA_HOME=$cairn_root/share
export XDG_RUNTIME_DIR=$cairn_root/runtime LC_ALL=C.UTF-8 TZ=UTC
unset CAIRN_LOG NO_COLOR CAIRN_SERVER CAIRN_VOLUME CAIRN_FENCE CAIRN_MOUNT
mkdir -m 700 "$XDG_RUNTIME_DIR"
declare -gA cairn_pids=() cairn_options=()
# Nobody but this shell holds the pipe that it waits for: it ends with us, whatever ends us.
exec {cairn_keeper}> >(_cairn_take_away)

# A teardown() of the test file's own goes on first.
if ! declare -F _cairn_teardown >/dev/null; then
  if declare -F teardown >/dev/null; then
    eval "_cairn_teardown() $(declare -f teardown | tail -n +2)"
  else
    _cairn_teardown() { :; }
  fi
  teardown() {
    local status=0
    _cairn_teardown || status=$?
    cairn_cleanup
    return "$status"
  }
fi
