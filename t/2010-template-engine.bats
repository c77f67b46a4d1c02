# The template engine is copied out of the tree and built against an installation's headers alone.

setup_file() {
  unset MAKEFLAGS MAKELEVEL MFLAGS
  export folder
  folder=$(mktemp -d "${TMPDIR:-/tmp}/cairn-template.XXXXXX")
  make -s -C "$CAIRN_BUILD" DESTDIR="$folder/root" install-pkgincludeHEADERS install-pkgconfigDATA >&2
  mkdir "$folder/mine"
  for file in template.c Makefile; do
    cp "$CAIRN_SOURCE/plugins/template-engine/$file" "$folder/mine/"
  done
  PKG_CONFIG_PATH=$(dirname "$(find "$folder/root" -name cairn.pc)")
  export PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR=$folder/root PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1
}

teardown_file() {
  rm -rf "$folder"
}

setup() {
  unset MAKEFLAGS MAKELEVEL MFLAGS
}

@test "it builds without warnings from the installed headers" {
  run make -C "$folder/mine" CFLAGS="-O2 -g -Wall -Wextra -Werror"
  echo "$output"
  [ "$status" -eq 0 ]
  [[ $output != *"$CAIRN_SOURCE"* ]]
}

@test "it conforms, loaded by its path" {
  run "$CAIRN_BUILD/t/conform/engine" --ops 5000 "$folder/mine/engine-template.so"
  echo "$output"
  [ "$status" -eq 0 ]
}

@test "it ends with the same contents as engine-memory" {
  [ -e "$CAIRN_BUILD/.libs/engine-memory.so" ] || skip "engine-memory is not built"
  a=$("$CAIRN_BUILD/t/conform/engine" --ops 5000 --seed 7 "$folder/mine/engine-template.so" | grep '^# digest')
  b=$("$CAIRN_BUILD/t/conform/engine" --ops 5000 --seed 7 memory | grep '^# digest')
  [ -n "$a" ]
  [ "$a" = "$b" ]
}

@test "it is installed where cairnd looks, and its parameter is refused beyond its limit" {
  make -s -C "$folder/mine" install DESTDIR="$folder/root"
  [ -e "$folder/root$(pkg-config --variable=plugindir cairn)/engine-template.so" ] ||
    [ -e "$(find "$folder/root" -name engine-template.so)" ]
  run "$CAIRN_BUILD/t/conform/engine" --ops 100 -o max-keys=nonsense "$folder/mine/engine-template.so"
  [ "$status" -ne 0 ]
  [[ $output == *"parameter max-keys: 'nonsense' is not a decimal number"* ]]
}
