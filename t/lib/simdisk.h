/*
 * A disk in memory behind the system-call table, whose power can fail: what was synced survives, and of the
 * rest any subset of 512-byte sectors, and any first part of the changes of names. Calls can also be made to
 * fail. One folder, any number of threads.
 */
#ifndef SIMDISK_H
#define SIMDISK_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "sys.h"

#define SIM_SECTOR 512
#define SIM_FILES 8192
#define SIM_NAMES 64
#define SIM_FD 100000

enum sim_call { SIM_OPEN, SIM_WRITE, SIM_READ, SIM_SYNC, SIM_RENAME, SIM_UNLINK, SIM_CALLS };

struct sim_file {
	unsigned char *now, *synced; /* contents as programs see them, and as the disk has them */
	size_t now_len, synced_len, cap;
};

struct sim_name {
	char text[40];
	int file;    /* -1: no name */
	bool joined; /* a change that comes with the one before, or not at all */
};

static struct {
	pthread_mutex_t lock;
	uint64_t random;
	struct sim_file files[SIM_FILES];
	int file_count;
	struct sim_name names[SIM_NAMES],
		changes[4096]; /* what is there; names made or (file -1) removed since */
	struct sim_name synced[SIM_NAMES];
	int change_count;
	long power;               /* changing calls until the power fails; below 0: it does not */
	bool dark;                /* it has failed */
	bool lie;                 /* a sync does nothing: for seeing a test fail */
	long fail_at;             /* the call of this number (from 1) of kind FAIL_CALL fails; 0: none */
	int fail_call, fail_with; /* an errno; 0: a short write */
	long calls[SIM_CALLS];
} sim = { .lock = PTHREAD_MUTEX_INITIALIZER };

static uint64_t sim_random(void)
{
	sim.random ^= sim.random << 13;
	sim.random ^= sim.random >> 7;
	sim.random ^= sim.random << 17;
	return sim.random;
}

static struct sim_name *sim_find(struct sim_name *names, const char *text)
{
	for (int i = 0; i < SIM_NAMES; i++)
		if (names[i].text[0] && !strcmp(names[i].text, text))
			return &names[i];
	return NULL;
}

static void sim_set(struct sim_name *names, const char *text, int file)
{
	struct sim_name *n = sim_find(names, text);

	for (int i = 0; !n && i < SIM_NAMES; i++)
		if (!names[i].text[0])
			n = &names[i];
	if (!n)
		abort();
	snprintf(n->text, sizeof(n->text), "%s", file < 0 ? "" : text);
	n->file = file;
}

static void sim_change(const char *text, int file)
{
	struct sim_name *c = &sim.changes[sim.change_count++];

	if (sim.change_count > 4096)
		abort();
	snprintf(c->text, sizeof(c->text), "%s", text);
	c->file = file;
	c->joined = false;
	sim_set(sim.names, text, file);
}

/* Under the lock: whether the call may go on; else what it returns. */
static int sim_enter(enum sim_call call, bool changes)
{
	pthread_mutex_lock(&sim.lock);
	if (changes && sim.power == 0)
		sim.dark = true;
	if (changes && sim.power > 0)
		sim.power--;
	if (sim.dark)
		return -EIO;
	sim.calls[call]++;
	if (sim.fail_at && (int)call == sim.fail_call && --sim.fail_at == 0)
		return sim.fail_with ? -sim.fail_with : 1;
	return 0;
}

static int sim_leave(int r)
{
	pthread_mutex_unlock(&sim.lock);
	return r;
}

static int sim_openat(int dirfd, const char *name, int flags, mode_t mode)
{
	int e = sim_enter(SIM_OPEN, flags & O_CREAT);
	struct sim_name *n;

	(void)mode;
	if (e < 0)
		return sim_leave(e);
	if (dirfd == AT_FDCWD)
		return sim_leave(SIM_FD - 1);
	n = sim_find(sim.names, name);
	if (!n && !(flags & O_CREAT))
		return sim_leave(-ENOENT);
	if (!n) {
		if (sim.file_count == SIM_FILES)
			abort();
		sim_change(name, sim.file_count++);
		n = sim_find(sim.names, name);
	} else if (flags & O_TRUNC) {
		sim.files[n->file].now_len = 0;
	}
	return sim_leave(SIM_FD + n->file);
}

static void sim_grow(struct sim_file *f, size_t end)
{
	size_t cap = 2 * end;

	if (end <= f->cap)
		return;
	f->now = realloc(f->now, cap);
	f->synced = realloc(f->synced, cap);
	memset(f->now + f->cap, 0, cap - f->cap);
	memset(f->synced + f->cap, 0, cap - f->cap);
	f->cap = cap;
}

static ssize_t sim_pwritev(int fd, const struct iovec *iov, int count, off_t at)
{
	int e = sim_enter(SIM_WRITE, true);
	struct sim_file *f = &sim.files[fd - SIM_FD];
	size_t len = 0, end, place = (size_t)at;

	for (int i = 0; i < count; i++)
		len += iov[i].iov_len;
	if (e < 0)
		return sim_leave(e);
	if (e == 1) /* short */
		len = len > SIM_SECTOR ? SIM_SECTOR : len / 2 + 1;
	end = place + len;
	sim_grow(f, end);
	if (f->now_len < place)
		memset(f->now + f->now_len, 0, place - f->now_len);
	for (int i = 0; i < count && place < end; i++) {
		size_t n = iov[i].iov_len < end - place ? iov[i].iov_len : end - place;

		memcpy(f->now + place, iov[i].iov_base, n);
		place += n;
	}
	f->now_len = end > f->now_len ? end : f->now_len;
	sim_leave(0);
	return (ssize_t)len;
}

static ssize_t sim_write(int fd, const void *data, size_t len)
{
	struct iovec iov = { (void *)data, len };

	return sim_pwritev(fd, &iov, 1, (off_t)sim.files[fd - SIM_FD].now_len);
}

static int sim_ftruncate(int fd, off_t len)
{
	int e = sim_enter(SIM_WRITE, true);
	struct sim_file *f = &sim.files[fd - SIM_FD];

	if (e)
		return sim_leave(e < 0 ? e : -EIO);
	sim_grow(f, (size_t)len);
	if ((size_t)len < f->now_len)
		memset(f->now + len, 0, f->now_len - (size_t)len);
	else if ((size_t)len > f->now_len)
		memset(f->now + f->now_len, 0, (size_t)len - f->now_len);
	f->now_len = (size_t)len;
	return sim_leave(0);
}

static int sim_writeback(int fd, off_t at, off_t len)
{
	(void)fd;
	(void)at;
	(void)len;
	return 0;
}

static int sim_lock(int fd)
{
	(void)fd;
	return 0;
}

static ssize_t sim_pread(int fd, void *data, size_t len, off_t at)
{
	int e = sim_enter(SIM_READ, false);
	struct sim_file *f = &sim.files[fd - SIM_FD];

	if (e < 0)
		return sim_leave(e);
	if ((size_t)at >= f->now_len)
		len = 0;
	else if (len > f->now_len - (size_t)at)
		len = f->now_len - (size_t)at;
	if (len)
		memcpy(data, f->now + at, len);
	sim_leave(0);
	return (ssize_t)len;
}

static int sim_sync(int fd)
{
	int e = sim_enter(SIM_SYNC, true);
	struct sim_file *f;

	if (e < 0 || sim.lie)
		return sim_leave(e < 0 ? e : 0);
	if (fd == SIM_FD - 1) {
		memcpy(sim.synced, sim.names, sizeof(sim.names));
		sim.change_count = 0;
		return sim_leave(0);
	}
	f = &sim.files[fd - SIM_FD];
	if (f->now_len)
		memcpy(f->synced, f->now, f->now_len);
	f->synced_len = f->now_len;
	return sim_leave(0);
}

static int sim_renameat(int from, const char *a, int to, const char *b)
{
	int e = sim_enter(SIM_RENAME, true);
	struct sim_name *n = sim_find(sim.names, a);

	(void)from;
	(void)to;
	if (!e && !n)
		e = -ENOENT;
	if (!e) {
		int file = n->file;

		sim_change(b, file);
		sim_change(a, -1);
		sim.changes[sim.change_count - 1].joined = true;
	}
	return sim_leave(e);
}

static int sim_unlinkat(int dirfd, const char *name, int flags)
{
	int e = sim_enter(SIM_UNLINK, true);

	(void)dirfd;
	(void)flags;
	if (!e && !sim_find(sim.names, name))
		e = -ENOENT;
	if (!e)
		sim_change(name, -1);
	return sim_leave(e);
}

static int sim_close(int fd)
{
	(void)fd;
	return 0;
}

static off_t sim_size(int fd)
{
	off_t size;

	pthread_mutex_lock(&sim.lock);
	size = (off_t)sim.files[fd - SIM_FD].now_len;
	pthread_mutex_unlock(&sim.lock);
	return size;
}

static int sim_list(int dirfd, int (*fn)(void *arg, const char *name), void *arg)
{
	int r = 0;

	(void)dirfd;
	for (int i = 0; i < SIM_NAMES && !r; i++)
		if (sim.names[i].text[0])
			r = fn(arg, sim.names[i].text);
	return r;
}

static const struct sys sim_sys = {
	.openat = sim_openat,
	.pwritev = sim_pwritev,
	.write = sim_write,
	.ftruncate = sim_ftruncate,
	.lock = sim_lock,
	.writeback = sim_writeback,
	.pread = sim_pread,
	.pread_cached = sim_pread,
	.fsync = sim_sync,
	.fdatasync = sim_sync,
	.renameat = sim_renameat,
	.unlinkat = sim_unlinkat,
	.close = sim_close,
	.size = sim_size,
	.list = sim_list,
};

/* An empty disk with power. */
static void sim_reset(uint64_t seed)
{
	for (int i = 0; i < sim.file_count; i++) {
		free(sim.files[i].now);
		free(sim.files[i].synced);
	}
	memset(sim.files, 0, sizeof(sim.files));
	memset(sim.names, 0, sizeof(sim.names));
	memset(sim.synced, 0, sizeof(sim.synced));
	memset(sim.calls, 0, sizeof(sim.calls));
	sim.file_count = sim.change_count = 0;
	sim.random = seed * 0x9e3779b97f4a7c15u + 1;
	sim.power = -1;
	sim.dark = sim.lie = false;
	sim.fail_at = 0;
	sys = &sim_sys;
}

/* What is on the disk after the power failed just now; and power again. Nobody uses the disk. */
static __attribute__((unused)) void sim_crash(void)
{
	int kept = sim.change_count ? (int)(sim_random() % (uint64_t)(sim.change_count + 1)) : 0;

	while (kept < sim.change_count && sim.changes[kept].joined)
		kept++;
	for (int i = 0; i < sim.file_count; i++) {
		struct sim_file *f = &sim.files[i];
		size_t most = f->now_len > f->synced_len ? f->now_len : f->synced_len;
		size_t len = sim_random() & 1 ? f->now_len : f->synced_len;

		for (size_t at = 0; at < most; at += SIM_SECTOR) {
			size_t n = most - at < SIM_SECTOR ? most - at : SIM_SECTOR;

			if (sim_random() & 1)
				memcpy(f->synced + at, f->now + at, n);
		}
		if (most) {
			memset(f->synced + len, 0, most - len);
			memcpy(f->now, f->synced, most);
		}
		f->now_len = f->synced_len = len;
	}
	memcpy(sim.names, sim.synced, sizeof(sim.names));
	for (int i = 0; i < kept; i++)
		sim_set(sim.names, sim.changes[i].text, sim.changes[i].file);
	memcpy(sim.synced, sim.names, sizeof(sim.names));
	sim.change_count = 0;
	sim.power = -1;
	sim.dark = false;
}

#endif
