# Single calls against POSIX, as root and as other users.

setup() {
  load lib/cairn.bash
  requires_fuse
  requires_program python3
  [ "$(id -u)" -eq 0 ] || skip "only root can become other users"
  cairn_node -o volume.engine=memory
  cairn_mount -o dmode=755
  chmod 755 "$cairn_root"
}

posix() { python3 "$CAIRN_SOURCE/t/mount/posix.py" "$CAIRN_MOUNT" "$@"; }

@test "chmod, chown" { posix chmod chown; }

@test "truncate, ftruncate, posix_fallocate, utimensat" { posix truncate posix_fallocate utimensat; }

@test "mkdir, mkfifo, mknod, symlink, open" { posix mkdir mkfifo mknod symlink open; }

@test "rename, rmdir, unlink, link" { posix rename rmdir unlink link; }

@test "the longest path" { posix longest; }
