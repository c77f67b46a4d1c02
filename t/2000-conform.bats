# Every engine that was built keeps the contract, and all of them end with the same contents.

setup_file() {
  export results
  results=$(mktemp -d "${TMPDIR:-/tmp}/cairn-conform-results.XXXXXX")
}

teardown_file() {
  rm -rf "$results"
}

conform() { # ENGINE [OPTION]…: its last comment is kept
  [ -e "$CAIRN_BUILD/.libs/engine-$1.so" ] || skip "engine-$1 is not built"
  run "$CAIRN_BUILD/t/conform/engine" --seed "${CAIRN_SEED:-10}" "${@:2}" "$1"
  echo "$output"
  [ "$status" -eq 0 ]
  grep '^# digest' <<< "$output" > "$results/$1$2$3"
}

@test "engine-memory conforms" {
  conform memory
}

@test "engine-leveldb conforms" {
  conform leveldb
}

@test "engine-lmdb conforms" {
  conform lmdb
}

@test "engine-bitcask conforms" {
  conform bitcask
  conform bitcask -o cache=0 -o file-size=16K
  grep -q "^#define HAVE_ZSTD 1" "$CAIRN_BUILD/config.h" || return 0
  conform bitcask -o compression=yes
}

@test "every other engine conforms" {
  for file in "$CAIRN_BUILD"/.libs/engine-*.so; do
    name=${file##*/engine-}
    name=${name%.so}
    [ -e "$results/$name" ] || conform "$name"
  done
}

@test "the same operations leave the same contents in all of them" {
  # LMDB has shorter keys than the others.
  if [ -e "$results/lmdb" ]; then
    conform memory --key-max 511
    diff "$results/lmdb" "$results/memory--key-max511"
    rm "$results/lmdb" "$results/memory--key-max511"
  fi
  set -- "$results"/*
  [ "$#" -ge 2 ] || skip "fewer than two engines are built"
  [ "$(cat "$@" | sort -u | wc -l)" -eq 1 ] || { grep . "$@"; false; }
}
