#!/bin/sh
# Make ./configure from configure.ac. Needed once after a checkout; a release tarball carries the result.
set -e
cd "$(dirname "$0")"
mkdir -p m4
autoreconf --install --force "$@"
# autoconf's generated clean-up removes a core dump by its name, and core/ is a source folder here.
sed -i 's/rm -f core /rm -f /' configure
