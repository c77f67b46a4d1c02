#!/usr/bin/env bats
# replication-none is a pure step function: it calls nothing but the host's callbacks.

@test "the module asks for no symbol of any library" {
  load lib/cairn.bash
  module=${CAIRN_PLUGIN_PATH%%:*}/replication-none.so
  [ -e "$module" ] || skip "replication-none is not part of this build"
  command -v nm >/dev/null || skip "the program nm is not here"
  nm "$module" | grep -qE '__(a|t|ub)san|__gcov|__sanitizer' && skip "an instrumented build needs its run-time library"
  run bash -c "nm -D -u '$module' | awk '{ print \$NF }' | grep -vE '^(__cxa_finalize|_ITM_(de)?registerTMCloneTable|__gmon_start__|mem(set|cpy)|__stack_chk_fail)(@|\$)'"
  echo "$output"
  [ -z "$output" ]
  [ "$(nm -D --defined-only "$module" | awk '{ print $NF }')" = cairn_replication_plugin ]
}
