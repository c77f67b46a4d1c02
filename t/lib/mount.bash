# shellcheck shell=bash
# For tests of mounts.

# seen [FOLDER]: wait until the mount there, and the kernel, know all that was committed by now. What a mount may
# believe is otherwise milliseconds old, but for what open(2) finds.
seen() {
  getfattr -n user.cairn.current "${1:-.}" >/dev/null 2>&1
}
