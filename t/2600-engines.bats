#!/usr/bin/env bats
# The daemon's tests that hold for every durable engine, with the ones that they do not take by themselves.

setup() { load lib/cairn.bash; }

# with ENGINE FILE…: what takes long, and what is about one engine, is left out; what is done 50 times is done 3 times.
with() {
  local name hidden=()
  requires_engine "$1"
  for name in $(compgen -e BATS_); do hidden+=(-u "$name"); done
  for name in "${@:2}"; do
    env "${hidden[@]}" CAIRN_TEST_ENGINE="$1" CAIRN_TEST_ROUNDS=3 \
      bats --tap --filter-tags '!slow,!one-engine' "$CAIRN_SOURCE/t/$name.bats" 3>&- || return 1
  done
}

volumes=(1020-volumes 3010-journal 3020-journal-files 3030-journal-repair 6040-snapshot 6070-upkeep)
crashes=(8000-kill9 8010-full-disk 8020-failed-calls)

@test "volumes, journal, snapshots and upkeep with engine-bitcask" { with bitcask "${volumes[@]}"; }
@test "crashes, a full disk and failed calls with engine-bitcask" { with bitcask "${crashes[@]}"; }
@test "volumes, journal, snapshots and upkeep with engine-lmdb" { with lmdb "${volumes[@]}"; }
@test "crashes, a full disk and failed calls with engine-lmdb" { with lmdb "${crashes[@]}"; }
