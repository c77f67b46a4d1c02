# shellcheck shell=bash disable=SC2034
# The Debian packages that cairn needs, and how they get here. Sourced by quickstart and check.

# To build everything and run it.
packages_build=(autoconf automake build-essential libtool pkg-config libuv1-dev libjansson-dev libinih-dev
  libedit-dev libzstd-dev libssl-dev libleveldb-dev liblmdb-dev libfuse3-dev fuse3)
# To test everything.
packages_test=(bats clang clang-format universal-ctags bsdextrautils libclang-rt-14-dev lcov shellcheck jq socat netcat-openbsd man-db mandoc attr rsync vim-tiny
  git strace redis-server redis-tools libhiredis-dev python3-redis)

# install_packages yes|no NAME…: see that they are here; 'no' prints the command instead of running it.
install_packages() {
  local may=$1 name sudo=() missing=()
  shift
  for name in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || missing+=("$name")
  done
  [ ${#missing[@]} -gt 0 ] || {
    echo "packages  all $# are here"
    return 0
  }
  [ "$(id -u)" = 0 ] || sudo=(sudo)
  if [ "$may" = no ]; then
    echo "packages  ${#missing[@]} are missing; install them with:"
    echo "          ${sudo[*]} apt-get install ${missing[*]}"
    return 1
  fi
  echo "packages  ${#missing[@]} are missing; installing with ${sudo[*]:+sudo }apt-get:"
  fold -s -w 100 <<<"${missing[*]}" | sed 's/^/          /'
  {
    "${sudo[@]}" apt-get update -q &&
      "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
  } >"${packages_log:-/dev/null}" 2>&1 || {
    tail -n 20 "${packages_log:-/dev/null}"
    echo "packages  apt-get failed; nothing was built" >&2
    return 1
  }
}
