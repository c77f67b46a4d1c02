/* The real system calls behind the table; EINTR is retried here, so nobody else has to. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
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

/* A file system that cannot say gives -EAGAIN, too. */
static ssize_t real_pread_cached(int fd, void *data, size_t len, off_t at)
{
	struct iovec iov = { data, len };
	ssize_t n = preadv2(fd, &iov, 1, at, RWF_NOWAIT);

	return n >= 0 ? n : errno == EOPNOTSUPP || errno == EINTR ? -EAGAIN : -errno;
}

static int real_lock(int fd)
{
	RETRY(int, flock(fd, LOCK_EX | LOCK_NB));
}

static int real_writeback(int fd, off_t at, off_t len)
{
	RETRY(int, sync_file_range(fd, at, len, SYNC_FILE_RANGE_WRITE));
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

static int real_allocate(int fd, off_t len)
{
	RETRY(int, fallocate(fd, 0, 0, len));
}

/* On Linux the descriptor is free also where close fails. */
static int real_close(int fd)
{
	return close(fd) < 0 && errno != EINTR ? -errno : 0;
}

static off_t real_size(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	return S_ISREG(st.st_mode) ? st.st_size : S_ISDIR(st.st_mode) ? -EISDIR : -ENXIO;
}

static int real_list(int dirfd, int (*fn)(void *arg, const char *name), void *arg)
{
	int copy = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *d;

	if (!dir) {
		r = -errno;
		if (copy >= 0)
			close(copy);
		return r;
	}
	while (!r && (errno = 0, d = readdir(dir)))
		if (strcmp(d->d_name, ".") && strcmp(d->d_name, ".."))
			r = fn(arg, d->d_name);
	if (!r && errno)
		r = -errno;
	closedir(dir);
	return r;
}

const struct sys sys_real = {
	.openat = real_openat,
	.write = real_write,
	.pwritev = real_pwritev,
	.pread = real_pread,
	.pread_cached = real_pread_cached,
	.lock = real_lock,
	.writeback = real_writeback,
	.fsync = real_fsync,
	.fdatasync = real_fdatasync,
	.renameat = real_renameat,
	.unlinkat = real_unlinkat,
	.ftruncate = real_ftruncate,
	.allocate = real_allocate,
	.close = real_close,
	.size = real_size,
	.list = real_list,
};

const struct sys *sys = &sys_real;
