# shellcheck shell=bash
# For tests of the daemon that hold for every durable engine: CAIRN_TEST_ENGINE says which, leveldb where it is not set;
# t/2600-engines.bats runs them with the others.
# shellcheck disable=SC2034  # the test files use it
engine=${CAIRN_TEST_ENGINE:-leveldb}

# text BYTES: so many letters that no engine makes fewer.
text() { head -c "$1" /dev/urandom | base64 -w 0 | head -c "$1"; }

# spoil FOLDER TEXT: flip a bit in the middle of TEXT, part of a value, wherever an engine's file below FOLDER has it;
# prints these files.
spoil() {
  local file at byte
  LC_ALL=C grep -raobF -- "$2" "$1" | while IFS=: read -r file at _; do
    at=$((at + ${#2} / 2))
    byte=$(od -An -tu1 -j "$at" -N 1 "$file")
    printf "\\x$(printf %02x $((byte ^ 1)))" | dd of="$file" bs=1 seek="$at" conv=notrunc status=none
    printf '%s\n' "$file"
  done | sort -u | grep .
}
