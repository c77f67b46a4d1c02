# Rules of the tree that a program can check.

setup() {
  load lib/cairn.bash
  cd "$CAIRN_SOURCE" || return 1
}

sources() { find core plugins frontends t -name '*.[ch]' | sort; }

@test "no function has 70 lines or more" {
  requires_program ctags
  ctags --version | grep -q Universal || skip "this needs universal-ctags"
  run bash -c "find core plugins frontends -name '*.c' | ctags -L - --languages=C --kinds-C=f --fields=+ne -f - |
    awk -F'\t' '{ s = e = 0
      for (i = 4; i <= NF; i++) { if (\$i ~ /^line:/) s = substr(\$i, 6); if (\$i ~ /^end:/) e = substr(\$i, 5) }
      if (e - s >= 70) print \$1, \$2 \":\" s, e - s + 1 }'"
  [ -z "$output" ] || { echo "$output"; false; }
}

@test "the sources are formatted" {
  requires_program clang-format
  [[ "$(clang-format --version)" == *" 14."* ]] || skip "this needs clang-format 14"
  run bash -c 'find core plugins frontends t -name "*.[ch]" -print0 | xargs -0 clang-format --dry-run -Werror 2>&1 | head'
  [ -z "$output" ] || { echo "$output"; false; }
}

@test "no word marks unfinished work" {
  run grep -InEw 'TODO|FIXME|XXX|HACK' -r core plugins frontends scripts man --include='*'
  [ "$status" -ne 0 ] || { echo "$output"; false; }
}

@test "every source of the project includes the list of banned functions" {
  for file in $(find core plugins frontends -name '*.c' -not -path 'plugins/template-engine/*'); do
    grep -q '#include "banned.h"' "$file" || { echo "$file does not"; false; }
  done
}

@test "plugins include no header of the daemon" {
  run grep -rnE '#include "(store|shard|node|volume|loop|operation|settings|log|engine|loader)\.h"' plugins
  [ "$status" -ne 0 ] || { echo "$output"; false; }
}

@test "plugins keep no state of their own outside handles" {
  grep -q 'SAN_CFLAGS = *$' "$CAIRN_BUILD/Makefile" || skip "instrumented builds add data of their own"
  for so in "$CAIRN_BUILD"/.libs/{engine,replication}-*.so; do
    # Writable data may only be the struct of callbacks (named as the plugin), what core/base brings, and the runtime's.
    name=$(basename "$so" .so)
    run bash -c "objdump -t '$so' | awk '\$3 == \"O\" && (\$4 == \".data\" || \$4 == \".bss\") { print \$NF }' |
      grep -vxE '(__.*|completed\.[0-9]+|sys|table|once|${name#*-}|${name#*-}_engine)'"
    [ -z "$output" ] || { echo "$so: $output"; false; }
  done
}
