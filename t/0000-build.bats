# What the build makes and installs.

setup() {
  load lib/cairn.bash
  : "${CAIRN_BUILD:?these tests run from a build}"
}

# Libraries that a file needs, one a line.
needed() { readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'; }

@test "make install puts everything below DESTDIR" {
  local to=$cairn_root/to prefix lib
  make -C "$CAIRN_BUILD" install DESTDIR="$to" >"$cairn_root/log" 2>&1 || { tail "$cairn_root/log"; false; }
  prefix=$to$(sed -n 's/^prefix = //p' "$CAIRN_BUILD/Makefile")
  lib=$prefix/lib
  [ -x "$prefix/sbin/cairnd" ]
  [ -f "$prefix/include/cairn/engine.h" ]
  [ -f "$prefix/include/cairn/client.h" ]
  [ -f "$lib/pkgconfig/cairn.pc" ]
  [ -f "$prefix/share/cairn/cairn.bash" ]
  # Nothing outside the prefix.
  [ "$(find "$to" -type f ! -path "$prefix/*" | wc -l)" = 0 ]
  PKG_CONFIG_PATH=$lib/pkgconfig pkg-config --exists cairn
}

@test "every installed header compiles by itself, as C17 and with both compilers" {
  local header compiler
  for compiler in gcc clang; do
    command -v $compiler >/dev/null || continue
    for header in "$CAIRN_SOURCE"/core/include/cairn/*.h; do
      echo "#include <cairn/$(basename "$header")>" |
        $compiler -std=c17 -Wall -Wextra -Werror -pedantic -fsyntax-only -I "$CAIRN_SOURCE/core/include" -xc - ||
        { echo "$header with $compiler"; false; }
    done
  done
}

@test "a plugin cannot see a header of the daemon" {
  run bash -c "echo '#include \"store.h\"' | gcc -fsyntax-only -I '$CAIRN_SOURCE/core/include' -xc -"
  [ "$status" -ne 0 ]
}

# bats test_tags=build
@test "a minimal build needs libuv and jansson only" {
  [ ! -e "$CAIRN_SOURCE/config.status" ] || skip "the source folder is configured itself: no build beside it is possible"
  cd "$cairn_root"
  cairn_node -o volume.engine=memory
  yes | head -c 100000 | cairn put k -
  cairn snapshot save compressed.snap
  cairn_stop
  rm -rf n1
  "$CAIRN_SOURCE/configure" --disable-config-files --disable-line-editing --disable-compression --disable-fuse --disable-engine-leveldb --disable-engine-lmdb --disable-tls \
    --enable-werror CFLAGS=-O0 >log 2>&1 || { tail log; false; }
  make -j2 >log 2>&1 || { tail log; false; }
  run needed sbin/cairnd
  [[ "$output" == *libuv* ]]
  [[ "$output" == *libjansson* ]]
  [ -z "$(needed sbin/cairnd | grep -vE '^lib(uv|jansson|c|m|dl|pthread)\.so|^ld-linux')" ]
  [ -z "$(needed bin/cairn | grep -vE '^lib(jansson|c|m|pthread)\.so|^ld-linux')" ]
  [ ! -e bin/cairnfs ]
  CAIRN_BUILD=$PWD CAIRN_PLUGIN_PATH=$PWD/.libs PATH=$PWD/bin:$PWD/sbin:$PATH
  cairn_node -o volume.engine=memory
  cairn put k v
  [ "$(cairn get k)" = v ]
  # Streams are written and read without compression; a compressed one is refused, and why is said.
  cairn snapshot save plain.snap
  cairn snapshot restore --volume again plain.snap
  [ "$(cairn -V again get k)" = v ]
  if [ "$(stat -c %s compressed.snap)" -lt 50000 ]; then
    run cairn snapshot restore --volume more compressed.snap
    [ "$status" -eq 10 ]
    [[ "$output" == *"compressed with zstd, and this build of cairn has no zstd"* ]]
  fi
}

@test "make standalone and make cli build just that" {
  # What would be linked again if a source that everything holds were new.
  linked() { make -C "$CAIRN_BUILD" -n --assume-new="$CAIRN_SOURCE/core/base/message.c" "$1" | grep -oE -- "-o (s?bin|t)/[a-z-]+" | sort -u; }
  [ "$(linked standalone)" = "-o sbin/cairnd" ]
  [ "$(linked cli)" = "-o bin/cairn" ]
}
