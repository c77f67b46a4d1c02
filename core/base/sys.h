/*
 * The system calls whose failure matters to data, one table: tests put a function of their own in a slot and
 * so make the Nth call fail. Every entry returns what the call returns, with failure as -errno.
 */
#ifndef SYS_H
#define SYS_H

#include <sys/types.h>
#include <sys/uio.h>

struct sys {
	int (*openat)(int dirfd, const char *name, int flags, mode_t mode);
	ssize_t (*write)(int fd, const void *data, size_t len);
	ssize_t (*pwritev)(int fd, const struct iovec *iov, int count, off_t at);
	ssize_t (*pread)(int fd, void *data, size_t len, off_t at);
	/* The same for what is in memory: -EAGAIN instead of waiting for a disk. */
	ssize_t (*pread_cached)(int fd, void *data, size_t len, off_t at);
	int (*lock)(int fd); /* for this open file alone; -EWOULDBLOCK where somebody has it */
	int (*writeback)(int fd, off_t at, off_t len); /* begin to put it on the disk; no promise */
	int (*fsync)(int fd);
	int (*fdatasync)(int fd);
	int (*renameat)(int from, const char *a, int to, const char *b);
	int (*unlinkat)(int dirfd, const char *name, int flags);
	int (*ftruncate)(int fd, off_t len);
	int (*allocate)(int fd, off_t len); /* room on the disk for so many bytes */
	int (*close)(int fd);
	off_t (*size)(int fd); /* of a file in bytes; -EISDIR for a folder, -ENXIO for what is neither */
	/* Call FN for each name in the folder DIRFD but "." and ".."; not 0 ends it with that result. */
	int (*list)(int dirfd, int (*fn)(void *arg, const char *name), void *arg);
};

/* The real calls. */
extern const struct sys sys_real;
/* The table in use; points to sys_real except in tests. Set before threads start. */
extern const struct sys *sys;

#endif
