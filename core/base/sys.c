/* The real system calls behind the table; EINTR is retried here, so nobody else has to. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include "sys.h"
#include "banned.h"

#define RETRY(type, call) \
	type r; \
	do \
		r = (call); \
	while (r < 0 && errno == EINTR); \
	return r < 0 ? -errno : r

static int real_openat(int dirfd, const char *name, int flags, mode_t mode)
{
	RETRY(int, openat(dirfd, name, flags | O_CLOEXEC, mode));
}

static ssize_t real_write(int fd, const void *data, size_t len)
{
	RETRY(ssize_t, write(fd, data, len));
}

static ssize_t real_pwritev(int fd, const struct iovec *iov, int count, off_t at)
{
	RETRY(ssize_t, pwritev(fd, iov, count, at));
}

static ssize_t real_pread(int fd, void *data, size_t len, off_t at)
{
	RETRY(ssize_t, pread(fd, data, len, at));
}

/* A failed sync is never repeated: the kernel may have dropped the pages. */
static int real_fsync(int fd)
{
	return fsync(fd) < 0 ? -errno : 0;
}

static int real_fdatasync(int fd)
{
	return fdatasync(fd) < 0 ? -errno : 0;
}

static int real_renameat(int from, const char *a, int to, const char *b)
{
	RETRY(int, renameat(from, a, to, b));
}

static int real_unlinkat(int dirfd, const char *name, int flags)
{
	RETRY(int, unlinkat(dirfd, name, flags));
}

static int real_ftruncate(int fd, off_t len)
{
	RETRY(int, ftruncate(fd, len));
}

const struct sys sys_real = {
	.openat = real_openat,
	.write = real_write,
	.pwritev = real_pwritev,
	.pread = real_pread,
	.fsync = real_fsync,
	.fdatasync = real_fdatasync,
	.renameat = real_renameat,
	.unlinkat = real_unlinkat,
	.ftruncate = real_ftruncate,
};

const struct sys *sys = &sys_real;
