# shellcheck shell=bash
# For tests of what a program shows.

# golden NAME: standard input is what stands in t/golden/NAME. With CAIRN_GOLDEN=write the file is written instead.
golden() {
  local file=${CAIRN_SOURCE:?}/t/golden/$1
  if [ "${CAIRN_GOLDEN:-}" = write ]; then
    cat >"$file"
  else
    diff -u "$file" -
  fi
}

# terminal COMMAND: what the shell command line COMMAND shows on a terminal of its own.
terminal() { TERM=${TERM_TYPE:-xterm} script -qec "$1" /dev/null </dev/null | tr -d '\r'; }
