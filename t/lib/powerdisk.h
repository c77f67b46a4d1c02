/*
 * A folder whose disk can lose its power, below the system calls: this program's open, write, fsync and so on
 * stand before those of the C library, for the libraries that it loads as well. Calls on files of the folder
 * are done, and noted; disk_crash() then puts into the folder what a disk could have after the power failed.
 *
 * What is modelled, and is no more than POSIX, ext4 and xfs allow:
 * - Bytes: what was there at the file's last fsync or fdatasync, or was written with O_SYNC or O_DSYNC; and
 *   of what was written since any subset of 512-byte sectors, each as it was then, now, or at some write in
 *   between. The call at which the power fails may be done in part.
 * - A file's length: that of the last sync, that of now, or a multiple of a sector in between.
 * - Names: those at the last fsync of the folder, and any first part of the changes since, in their order; a
 *   rename as a whole. (A file's sync does not keep its name, though ext4 and xfs would.)
 * - Files that are written through a map: as above, with all that stands there now as one write.
 * Not modelled: disks that lie, sectors torn within, bytes of other files in a file that grew.
 *
 * Calls can also be made to fail. Syncs are noted and not done. One folder, no folders in it, any number of
 * threads. What comes by other ways (stdio) is not seen: disk_differs() tells.
 */
#ifndef POWERDISK_H
#define POWERDISK_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define DISK_SECTOR 512
#define DISK_FILES 4096
#define DISK_NAMES 256
#define DISK_CHANGES 4096
#define DISK_FDS 1024

enum disk_call { DISK_OPEN, DISK_WRITE, DISK_SYNC, DISK_CUT, DISK_RENAME, DISK_UNLINK, DISK_CALLS };

struct disk_file {
	unsigned char *now, *synced; /* as programs see it, and as the disk has it */
	size_t now_len, synced_len, cap;
	bool mapped; /* may be written through a map */
};

struct disk_name {
	char text[40];
	int file;    /* -1: no name */
	bool joined; /* a change that comes with the one before, or not at all */
};

enum disk_fd_kind { DISK_FD_NONE, DISK_FD_FILE, DISK_FD_FOLDER };

struct disk_fd {
	enum disk_fd_kind kind;
	int file;
	bool sync, append;
};

static struct {
	pthread_mutex_t lock;
	_Atomic bool on; /* calls are noted */
	char dir[200];   /* absolute */
	uint64_t random;
	struct disk_file files[DISK_FILES];
	int file_count;
	struct disk_fd fds[DISK_FDS];
	struct disk_name names[DISK_NAMES], synced[DISK_NAMES], changes[DISK_CHANGES];
	int change_count;
	long power;               /* changing calls until the power fails; below 0: it does not */
	bool dark;                /* it has failed */
	bool lie;                 /* a sync does nothing: for seeing a test fail */
	long fail_at;             /* the call of this number (from 1) of kind FAIL_CALL fails; 0: none */
	int fail_call, fail_with; /* an errno; 0: a short write */
	long calls[DISK_CALLS];
} disk = { .lock = PTHREAD_MUTEX_INITIALIZER };

static uint64_t disk_random(void)
{
	disk.random ^= disk.random << 13;
	disk.random ^= disk.random >> 7;
	disk.random ^= disk.random << 17;
	return disk.random >> 11;
}

/* ---- Names ---- */

static struct disk_name *disk_find(struct disk_name *names, const char *text)
{
	for (int i = 0; i < DISK_NAMES; i++)
		if (names[i].text[0] && !strcmp(names[i].text, text))
			return &names[i];
	return NULL;
}

static void disk_set(struct disk_name *names, const char *text, int file)
{
	struct disk_name *n = disk_find(names, text);

	for (int i = 0; !n && i < DISK_NAMES; i++)
		if (!names[i].text[0])
			n = &names[i];
	if (!n)
		abort();
	snprintf(n->text, sizeof(n->text), "%s", file < 0 ? "" : text);
	n->file = file;
}

static void disk_change(const char *text, int file, bool joined)
{
	struct disk_name *c = &disk.changes[disk.change_count++];

	if (disk.change_count == DISK_CHANGES)
		abort();
	snprintf(c->text, sizeof(c->text), "%s", text);
	c->file = file;
	c->joined = joined;
	disk_set(disk.names, text, file);
}

/* Without the lock; what it gives stays until FD is closed. */
static struct disk_fd *disk_fd(int fd)
{
	struct disk_fd *d = NULL;

	if (!disk.on || fd < 0 || fd >= DISK_FDS)
		return NULL;
	pthread_mutex_lock(&disk.lock);
	if (disk.fds[fd].kind)
		d = &disk.fds[fd];
	pthread_mutex_unlock(&disk.lock);
	return d;
}

static void disk_set_fd(int fd, struct disk_fd d)
{
	if (!disk.on || fd < 0)
		return;
	if (fd >= DISK_FDS)
		abort();
	pthread_mutex_lock(&disk.lock);
	disk.fds[fd] = d;
	pthread_mutex_unlock(&disk.lock);
}

/* The name in the folder that PATH at DIRFD is, "." for the folder itself; NULL: none of ours. */
static const char *disk_name(int dirfd, const char *path)
{
	const struct disk_fd *d = disk_fd(dirfd);
	size_t len = strlen(disk.dir);

	if (!disk.on)
		return NULL;
	if (path[0] != '/')
		return d && d->kind == DISK_FD_FOLDER ? path : NULL;
	if (strncmp(path, disk.dir, len))
		return NULL;
	path += len;
	if (*path && *path != '/')
		return NULL;
	while (*path == '/')
		path++;
	return *path ? path : ".";
}

/* ---- Bytes ---- */

static void disk_grow(struct disk_file *f, size_t end)
{
	size_t cap = 2 * end;

	if (end <= f->cap)
		return;
	f->now = realloc(f->now, cap);
	f->synced = realloc(f->synced, cap);
	if (!f->now || !f->synced)
		abort();
	memset(f->now + f->cap, 0, cap - f->cap);
	memset(f->synced + f->cap, 0, cap - f->cap);
	f->cap = cap;
}

static void disk_set_len(struct disk_file *f, size_t len)
{
	disk_grow(f, len);
	if (len < f->now_len)
		memset(f->now + len, 0, f->now_len - len);
	f->now_len = len;
}

static void disk_put(struct disk_file *f, const unsigned char *data, size_t len, size_t at)
{
	if (at + len > f->now_len)
		disk_set_len(f, at + len);
	if (len)
		memcpy(f->now + at, data, len);
}

/* The kernel writes some sectors of F. */
static void disk_some(struct disk_file *f)
{
	size_t most = f->now_len > f->synced_len ? f->now_len : f->synced_len;

	for (size_t at = 0; at < most; at += DISK_SECTOR)
		if (disk_random() & 1)
			memcpy(f->synced + at, f->now + at,
			       most - at < DISK_SECTOR ? most - at : DISK_SECTOR);
}

static void disk_sync_range(struct disk_file *f, size_t from, size_t to)
{
	if (to > from)
		memcpy(f->synced + from, f->now + from, to - from);
	if (to > f->synced_len)
		f->synced_len = to;
}

/* ---- Calls ---- */

/* Under the lock: 0, the call goes on; 1, it writes too little; or -errno. */
static int disk_enter(enum disk_call call)
{
	if (!disk.dark && disk.power == 0)
		disk.dark = true;
	else if (!disk.dark && disk.power > 0)
		disk.power--;
	if (disk.dark)
		return -EIO;
	disk.calls[call]++;
	if (disk.fail_at && (int)call == disk.fail_call && --disk.fail_at == 0)
		return disk.fail_with ? -disk.fail_with : 1;
	return 0;
}

static int disk_failed(int e)
{
	errno = -e;
	return -1;
}

static int disk_open(int dirfd, const char *path, int flags, mode_t mode)
{
	const char *name = disk_name(dirfd, path);
	struct disk_fd d = { 0 };
	struct disk_name *n = NULL;
	int e = 0, fd;

	if (!name)
		fd = (int)syscall(SYS_openat, dirfd, path, flags, mode);
	else {
		pthread_mutex_lock(&disk.lock);
		e = disk_enter(DISK_OPEN);
		fd = e < 0 ? disk_failed(e)
			   : (int)syscall(SYS_openat, dirfd, path, flags & ~(O_SYNC | O_DSYNC), mode);
		n = disk_find(disk.names, name);
		if (fd >= 0 && !strcmp(name, ".")) {
			d.kind = DISK_FD_FOLDER;
		} else if (fd >= 0) {
			if (!n) {
				if (disk.file_count == DISK_FILES)
					abort();
				disk_change(name, disk.file_count++, false);
				n = disk_find(disk.names, name);
			} else if (flags & O_TRUNC) {
				disk_set_len(&disk.files[n->file], 0);
			}
			d = (struct disk_fd){ DISK_FD_FILE, n->file, flags & (O_SYNC | O_DSYNC),
					      flags & O_APPEND };
		}
		pthread_mutex_unlock(&disk.lock);
	}
	disk_set_fd(fd, d);
	return fd;
}

/* AT below 0: where the descriptor stands. */
static ssize_t disk_write(int fd, const struct iovec *iov, int count, off_t at)
{
	struct disk_fd *d = disk_fd(fd);
	struct disk_file *f;
	unsigned char *data;
	size_t len = 0, place;
	bool lit;
	int e;

	if (!d)
		return at < 0 ? syscall(SYS_writev, fd, iov, count)
			      : syscall(SYS_pwritev, fd, iov, count, at, 0);
	pthread_mutex_lock(&disk.lock);
	lit = !disk.dark;
	f = &disk.files[d->file];
	for (int i = 0; i < count; i++)
		len += iov[i].iov_len;
	data = malloc(len + 1);
	len = 0;
	for (int i = 0; i < count; i++) {
		if (iov[i].iov_len)
			memcpy(data + len, iov[i].iov_base, iov[i].iov_len);
		len += iov[i].iov_len;
	}
	place = at >= 0 ? (size_t)at : d->append ? f->now_len : (size_t)lseek(fd, 0, SEEK_CUR);
	e = disk_enter(DISK_WRITE);
	if (e > 0)
		len = len > DISK_SECTOR ? DISK_SECTOR : len / 2 + 1;
	if (e >= 0) {
		ssize_t n =
			at < 0 ? syscall(SYS_write, fd, data, len) : syscall(SYS_pwrite64, fd, data, len, at);

		if (n != (ssize_t)len)
			abort();
	}
	if (e >= 0 || (lit && disk.dark && disk_random() & 1))
		disk_put(f, data, len, place);
	if (e >= 0 && d->sync && !disk.lie)
		disk_sync_range(f, place, place + len);
	else if (e >= 0 && disk_random() % 8 == 0)
		disk_some(f);
	free(data);
	pthread_mutex_unlock(&disk.lock);
	return e < 0 ? disk_failed(e) : (ssize_t)len;
}

static int disk_sync(int fd, long call)
{
	struct disk_fd *d = disk_fd(fd);
	int e;

	if (!d)
		return (int)syscall(call, fd);
	pthread_mutex_lock(&disk.lock);
	e = disk_enter(DISK_SYNC);
	if (!e && !disk.lie && d->kind == DISK_FD_FOLDER) {
		memcpy(disk.synced, disk.names, sizeof(disk.synced));
		disk.change_count = 0;
	} else if (!e && !disk.lie) {
		struct disk_file *f = &disk.files[d->file];

		disk_sync_range(f, 0, f->now_len);
		f->synced_len = f->now_len;
	}
	pthread_mutex_unlock(&disk.lock);
	return e < 0 ? disk_failed(e) : e;
}

/* GROW: not to a smaller length. */
static int disk_resize(int fd, off_t len, bool grow)
{
	struct disk_fd *d = disk_fd(fd);
	int e;

	if (!d)
		return (int)(grow ? syscall(SYS_fallocate, fd, 0, 0, len) : syscall(SYS_ftruncate, fd, len));
	pthread_mutex_lock(&disk.lock);
	e = disk_enter(DISK_CUT);
	if (!e && (!grow || (size_t)len > disk.files[d->file].now_len)) {
		e = syscall(SYS_ftruncate, fd, len) ? -errno : 0;
		disk_set_len(&disk.files[d->file], (size_t)len);
	}
	pthread_mutex_unlock(&disk.lock);
	return e < 0 ? disk_failed(e) : e;
}

static int disk_rename(int from, const char *a, int to, const char *b)
{
	const char *old = disk_name(from, a), *new = disk_name(to, b);
	int e;

	if (!old || !new)
		return (int)syscall(SYS_renameat2, from, a, to, b, 0);
	pthread_mutex_lock(&disk.lock);
	e = disk_enter(DISK_RENAME);
	if (!e)
		e = syscall(SYS_renameat2, from, a, to, b, 0) ? -errno : 0;
	if (!e) {
		disk_change(new, disk_find(disk.names, old)->file, false);
		disk_change(old, -1, true);
	}
	pthread_mutex_unlock(&disk.lock);
	return e < 0 ? disk_failed(e) : e;
}

static int disk_unlink(int dirfd, const char *path, int flags)
{
	const char *name = disk_name(dirfd, path);
	int e;

	if (!name)
		return (int)syscall(SYS_unlinkat, dirfd, path, flags);
	pthread_mutex_lock(&disk.lock);
	e = disk_enter(DISK_UNLINK);
	if (!e)
		e = syscall(SYS_unlinkat, dirfd, path, flags) ? -errno : 0;
	if (!e)
		disk_change(name, -1, false);
	pthread_mutex_unlock(&disk.lock);
	return e < 0 ? disk_failed(e) : e;
}

/* ---- In the place of the C library's ---- */

#define DISK_MODE(flags, last) \
	({ \
		mode_t mode_ = 0; \
		va_list args_; \
		va_start(args_, last); \
		if ((flags) & (O_CREAT | O_TMPFILE)) \
			mode_ = va_arg(args_, mode_t); \
		va_end(args_); \
		mode_; \
	})

int open(const char *path, int flags, ...)
{
	return disk_open(AT_FDCWD, path, flags, DISK_MODE(flags, flags));
}

int openat(int dirfd, const char *path, int flags, ...)
{
	return disk_open(dirfd, path, flags, DISK_MODE(flags, flags));
}

int close(int fd)
{
	disk_set_fd(fd, (struct disk_fd){ 0 });
	return (int)syscall(SYS_close, fd);
}

ssize_t write(int fd, const void *data, size_t len)
{
	struct iovec iov = { (void *)data, len };

	return disk_write(fd, &iov, 1, -1);
}

ssize_t writev(int fd, const struct iovec *iov, int count)
{
	return disk_write(fd, iov, count, -1);
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t at)
{
	struct iovec iov = { (void *)data, len };

	return disk_write(fd, &iov, 1, at);
}

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t at)
{
	return disk_write(fd, iov, count, at);
}

int fsync(int fd)
{
	return disk_sync(fd, SYS_fsync);
}

int fdatasync(int fd)
{
	return disk_sync(fd, SYS_fdatasync);
}

int ftruncate(int fd, off_t len)
{
	return disk_resize(fd, len, false);
}

int fallocate(int fd, int mode, off_t at, off_t len)
{
	if (mode || at)
		return disk_failed(-EOPNOTSUPP);
	return disk_resize(fd, len, true);
}

int rename(const char *a, const char *b)
{
	return disk_rename(AT_FDCWD, a, AT_FDCWD, b);
}

int renameat(int from, const char *a, int to, const char *b)
{
	return disk_rename(from, a, to, b);
}

int unlink(const char *path)
{
	return disk_unlink(AT_FDCWD, path, 0);
}

int unlinkat(int dirfd, const char *path, int flags)
{
	return disk_unlink(dirfd, path, flags);
}

/* Called before a sanitizer is ready. */
__attribute__((no_sanitize("thread", "address"))) void *mmap(void *at, size_t len, int protection, int flags,
							     int fd, off_t offset)
{
	struct disk_fd *d = NULL;

	if (fd >= 0 && disk.on)
		d = disk_fd(fd);
	if (d && (protection & PROT_WRITE) && (flags & MAP_SHARED))
		disk.files[d->file].mapped = true;
	return (void *)syscall(SYS_mmap, at, len, protection, flags, fd, offset);
}

/* ---- For tests ---- */

/* The bytes of the file NAME of the folder; the caller's to free. */
static unsigned char *disk_read(const char *name, size_t *len)
{
	char path[300];
	struct stat st;
	unsigned char *data;
	int fd;

	snprintf(path, sizeof(path), "%s/%.39s", disk.dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) || !(data = malloc((size_t)st.st_size + 1)))
		abort();
	*len = (size_t)st.st_size;
	if (read(fd, data, *len) != (ssize_t)*len)
		abort();
	close(fd);
	return data;
}

static void disk_forget(void)
{
	for (int i = 0; i < disk.file_count; i++) {
		free(disk.files[i].now);
		free(disk.files[i].synced);
	}
	memset(disk.files, 0, sizeof(disk.files));
	memset(disk.names, 0, sizeof(disk.names));
	memset(disk.synced, 0, sizeof(disk.synced));
	memset(disk.fds, 0, sizeof(disk.fds));
	disk.file_count = disk.change_count = 0;
	disk.power = -1;
	disk.dark = disk.lie = false;
	disk.fail_at = 0;
}

/* Remove all files of the folder. */
static void disk_clear(void)
{
	struct dirent *e;
	DIR *d = opendir(disk.dir);

	if (!d)
		abort();
	while ((e = readdir(d)))
		if (e->d_name[0] != '.')
			syscall(SYS_unlinkat, dirfd(d), e->d_name, 0);
	closedir(d);
}

/* The folder DIR is an empty disk with power. */
static __attribute__((unused)) void disk_reset(const char *dir, uint64_t seed)
{
	disk.on = false;
	disk_forget();
	snprintf(disk.dir, sizeof(disk.dir), "%s", dir);
	disk_clear();
	memset(disk.calls, 0, sizeof(disk.calls));
	disk.random = seed * 0x9e3779b97f4a7c15u + 1;
	for (int i = 0; i < 8; i++)
		disk_random();
	disk.on = true;
}

/* What a crash leaves of F, written as file NAME. */
static void disk_leave(struct disk_file *f, const char *name)
{
	size_t low = f->now_len < f->synced_len ? f->now_len : f->synced_len,
	       high = f->now_len + f->synced_len - low, len = f->now_len;
	char path[300];
	int fd;

	switch (disk_random() % 4) {
	case 0:
		len = f->synced_len;
		break;
	case 1:
		len = low + disk_random() % (high - low + 1);
		len -= len % DISK_SECTOR;
		len = len < low ? low : len;
		break;
	}
	disk_some(f);
	snprintf(path, sizeof(path), "%s/%.39s", disk.dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, f->synced, len) != (ssize_t)len)
		abort();
	close(fd);
}

/* The power has failed, and nobody uses the folder: what is in it now is what the disk had; and power again.
 */
static __attribute__((unused)) void disk_crash(void)
{
	int kept = disk.change_count ? (int)(disk_random() % (uint64_t)(disk.change_count + 1)) : 0, i;
	static struct disk_name names[DISK_NAMES];

	disk.on = false;
	while (kept < disk.change_count && disk.changes[kept].joined)
		kept++;
	for (i = 0; i < DISK_NAMES; i++)
		if (disk.names[i].text[0] && disk.files[disk.names[i].file].mapped) {
			size_t len;
			unsigned char *data = disk_read(disk.names[i].text, &len);

			disk_put(&disk.files[disk.names[i].file], data, len, 0);
			free(data);
		}
	memcpy(names, disk.synced, sizeof(names));
	for (i = 0; i < kept; i++)
		disk_set(names, disk.changes[i].text, disk.changes[i].file);
	disk_clear();
	for (i = 0; i < DISK_NAMES; i++)
		if (names[i].text[0])
			disk_leave(&disk.files[names[i].file], names[i].text);
	disk_forget();
	for (i = 0; i < DISK_NAMES; i++)
		if (names[i].text[0]) {
			struct disk_file *f = &disk.files[disk.file_count];
			size_t len;
			unsigned char *data = disk_read(names[i].text, &len);

			disk_put(f, data, len, 0);
			disk_sync_range(f, 0, len);
			free(data);
			disk_set(disk.names, names[i].text, disk.file_count++);
		}
	memcpy(disk.synced, disk.names, sizeof(disk.synced));
	disk.on = true;
}

/* The name of a file that is not as it was noted, NULL where there is none: something was not seen. Not those
 * that are written through maps, nor the log of LevelDB's own words. */
static __attribute__((unused)) const char *disk_differs(void)
{
	const char *found = NULL;

	disk.on = false;
	for (int i = 0; i < DISK_NAMES && !found; i++) {
		const struct disk_name *n = &disk.names[i];
		const struct disk_file *f;
		unsigned char *data;
		size_t len;

		if (!n->text[0])
			continue;
		f = &disk.files[n->file];
		if (f->mapped || !strncmp(n->text, "LOG", 3))
			continue;
		data = disk_read(n->text, &len);
		if (len != f->now_len || (len && memcmp(data, f->now, len)))
			found = n->text;
		free(data);
	}
	disk.on = true;
	return found;
}

#endif
