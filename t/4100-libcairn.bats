# libcairn as a stranger uses it: the manual's example, against what make install puts down.

setup() {
  load lib/cairn.bash
  prefix=${cairn_root:?}/prefix
}

teardown() { cairn_cleanup; }

install_library() {
  local -a folders=(prefix="$prefix" exec_prefix="$prefix" libdir="$prefix/lib" includedir="$prefix/include")
  env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s -C "$CAIRN_BUILD" "${folders[@]}" \
    install-libLTLIBRARIES install-pkgincludeHEADERS install-pkgconfigDATA >"$cairn_root/log.install" 2>&1 ||
    { cat "$cairn_root/log.install"; return 1; }
  read -ra flags < <(PKG_CONFIG_PATH=$prefix/lib/pkgconfig pkg-config --define-variable=prefix="$prefix" \
    --define-variable=exec_prefix="$prefix" --define-variable=libdir="$prefix/lib" \
    --define-variable=includedir="$prefix/include" --cflags --libs cairn)
}

@test "the example in cairn(3) is man/example.c" {
  requires_program mandoc
  mandoc -T ascii -O width=200 "$CAIRN_SOURCE/man/cairn.3" | col -bx |
    sed -n '/^EXAMPLES/,/^SEE ALSO/{/^[A-Z]/d;s/^       //;p;}' | sed '${/^$/d;}' >"$cairn_root/page"
  run diff "$cairn_root/page" <(expand "$CAIRN_SOURCE/man/example.c")
  [ "$status" -eq 0 ] || { echo "$output"; false; }
}

@test "the example builds against the installed library and does what it says" {
  requires_program pkg-config
  grep -q -- '-fsanitize' "$CAIRN_BUILD/Makefile" && ! grep -q '^SAN_CFLAGS = *$' "$CAIRN_BUILD/Makefile" &&
    skip "an instrumented library needs an instrumented program"
  install_library
  "${CC:-cc}" -Wall -Wextra -Werror -o "$cairn_root/example" "$CAIRN_SOURCE/man/example.c" "${flags[@]}"
  LD_LIBRARY_PATH=$prefix/lib run "$cairn_root/example"
  [ "$status" -eq 5 ]
  [[ "$output" == "unavailable: no server is known"*"hint: start one with cairnd"* ]]
  cairn_node -o volume.engine=memory
  LD_LIBRARY_PATH=$prefix/lib run "$cairn_root/example"
  [ "$status" -eq 0 ] || { echo "$output"; false; }
  [ "$output" = $'hello\nexample/a' ]
}

@test "libcairn shows nothing but its own names" {
  run bash -c "nm -D --defined-only '$CAIRN_BUILD/.libs/libcairn.so' | awk '{ print \$3 }' | grep -v '^cairn_'"
  [ -z "$output" ] || { echo "$output"; false; }
}
