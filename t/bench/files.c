/*
 * What single calls on files cost: each operation many times by one process, in a folder of its own; prints
 * one line of JSON for each: operation, calls a second, and microseconds at the median and the 99th of a
 * hundred. Streams are MiB a second.
 *
 * usage: files FOLDER FILES [ENTRIES [MIB]]
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "clock.h"
#include "banned.h"

#define BYTES 4096

struct bench {
	const char *at;
	int files, entries, mib;
	uint64_t *took;
	char data[1 << 20];
};

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static int by_time(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void name_of(const struct bench *b, char *path, size_t len, const char *kind, int i)
{
	snprintf(path, len, "%s/%s%06d", b->at, kind, i);
}

static void write_all(int fd, const char *data, size_t len)
{
	if (write(fd, data, len) != (ssize_t)len)
		fail("write");
}

static void op_create(struct bench *b, int i)
{
	char path[4096];
	int fd;

	name_of(b, path, sizeof(path), "f", i);
	fd = open(path, O_WRONLY | O_CREAT, 0644);
	if (fd < 0)
		fail(path);
	write_all(fd, b->data, BYTES);
	if (close(fd) < 0)
		fail(path);
}

static void op_exclusive(struct bench *b, int i)
{
	char path[4096];
	int fd;

	name_of(b, path, sizeof(path), "x", i);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
	if (fd < 0)
		fail(path);
	write_all(fd, b->data, BYTES);
	if (close(fd) < 0 || unlink(path) < 0)
		fail(path);
}

static void op_stat(struct bench *b, int i)
{
	struct stat st;
	char path[4096];

	name_of(b, path, sizeof(path), "f", i);
	if (stat(path, &st) < 0)
		fail(path);
}

static void op_read(struct bench *b, int i)
{
	char path[4096];
	int fd;

	name_of(b, path, sizeof(path), "f", i % 64);
	fd = open(path, O_RDONLY);
	if (fd < 0 || read(fd, b->data, BYTES) != BYTES)
		fail(path);
	close(fd);
}

static void op_overwrite(struct bench *b, int i)
{
	char path[4096];
	int fd;

	name_of(b, path, sizeof(path), "f", i);
	fd = open(path, O_WRONLY | O_TRUNC);
	if (fd < 0)
		fail(path);
	write_all(fd, b->data, BYTES);
	if (close(fd) < 0)
		fail(path);
}

static void op_append(struct bench *b, int i)
{
	char path[4096];
	int fd;

	name_of(b, path, sizeof(path), "f", i % 16);
	fd = open(path, O_WRONLY | O_APPEND);
	if (fd < 0)
		fail(path);
	write_all(fd, b->data, 64);
	if (close(fd) < 0)
		fail(path);
}

static void op_rename(struct bench *b, int i)
{
	char from[4096], to[4096];

	name_of(b, from, sizeof(from), i % 2 ? "g" : "f", i / 2);
	name_of(b, to, sizeof(to), i % 2 ? "f" : "g", i / 2);
	if (rename(from, to) < 0)
		fail(from);
}

static void op_mkdir(struct bench *b, int i)
{
	char path[4096];

	name_of(b, path, sizeof(path), "d", i);
	if (mkdir(path, 0755) < 0)
		fail(path);
}

static void op_unlink(struct bench *b, int i)
{
	char path[4096];

	name_of(b, path, sizeof(path), "f", i);
	if (unlink(path) < 0)
		fail(path);
}

static void run(struct bench *b, const char *name, void (*op)(struct bench *b, int i), int count)
{
	uint64_t start = clock_boot_ns(), before = start, now = start;

	for (int i = 0; i < count; i++) {
		op(b, i);
		now = clock_boot_ns();
		b->took[i] = now - before;
		before = now;
	}
	qsort(b->took, (size_t)count, sizeof(*b->took), by_time);
	printf("{\"op\":\"%s\",\"rate\":%.1f,\"p50\":%.2f,\"p99\":%.2f}\n", name,
	       (double)count * 1e9 / (double)(now - start), (double)b->took[count / 2] / 1e3,
	       (double)b->took[count * 99 / 100] / 1e3);
	fflush(stdout);
}

/* What the kernel has cached goes, where we may do that. */
static void drop(void)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY);

	if (fd >= 0 && write(fd, "2", 1) != 1)
		perror("drop_caches");
	if (fd >= 0)
		close(fd);
}

/* ls -l of ENTRIES names that the kernel does not know. */
static void list_cold(struct bench *b, const char *name)
{
	uint64_t best = UINT64_MAX;
	char path[4096];
	int count = 0;

	for (int i = 0; i < b->entries; i++) {
		int fd;

		snprintf(path, sizeof(path), "%s/big/e%06d", b->at, i);
		fd = open(path, O_WRONLY | O_CREAT, 0644);
		if (fd < 0 || close(fd) < 0)
			fail(path);
	}
	for (int round = 0; round < 5; round++) {
		struct dirent *e;
		struct stat st;
		uint64_t start;
		DIR *d;

		drop();
		snprintf(path, sizeof(path), "%s/big", b->at);
		start = clock_boot_ns();
		d = opendir(path);
		if (!d)
			fail(path);
		for (count = 0; (e = readdir(d)); count++)
			if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
				fail(e->d_name);
		closedir(d);
		start = clock_boot_ns() - start;
		best = start < best ? start : best;
	}
	printf("{\"op\":\"%s\",\"rate\":%.1f,\"p50\":%.1f,\"p99\":%.1f}\n", name,
	       (double)count * 1e9 / (double)best, (double)best / 1e3, (double)best / 1e3);
	fflush(stdout);
}

static void stream(struct bench *b, const char *name, bool writes)
{
	uint64_t start;
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/stream", b->at);
	if (!writes) {
		fd = open(path, O_RDONLY);
		posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
		close(fd);
	}
	start = clock_boot_ns();
	fd = open(path, writes ? O_WRONLY | O_CREAT | O_TRUNC : O_RDONLY, 0644);
	if (fd < 0)
		fail(path);
	for (int i = 0; i < b->mib; i++)
		if (writes)
			write_all(fd, b->data, sizeof(b->data));
		else if (read(fd, b->data, sizeof(b->data)) != sizeof(b->data))
			fail(path);
	if (close(fd) < 0)
		fail(path);
	start = clock_boot_ns() - start;
	printf("{\"op\":\"%s\",\"rate\":%.1f,\"p50\":%.1f,\"p99\":%.1f}\n", name,
	       (double)b->mib * 1e9 / (double)start, (double)start / 1e3, (double)start / 1e3);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct bench b = { .at = argc > 1 ? argv[1] : NULL };
	char path[4096];

	if (argc < 3)
		return 2;
	b.files = (int)strtol(argv[2], NULL, 10);
	b.entries = argc > 3 ? (int)strtol(argv[3], NULL, 10) : 10000;
	b.mib = argc > 4 ? (int)strtol(argv[4], NULL, 10) : 60;
	b.took = calloc((size_t)b.files * 10, sizeof(*b.took));
	if (!b.took || b.files < 64)
		return 2;
	memset(b.data, 'x', sizeof(b.data));
	run(&b, "create", op_create, b.files);
	run(&b, "exclusive", op_exclusive, b.files);
	for (int i = 0; i < b.files; i++) /* what is measured then is the kernel's memory */
		op_stat(&b, i);
	run(&b, "stat", op_stat, b.files);
	op_read(&b, 0);
	for (int i = 0; i < 64; i++)
		op_read(&b, i);
	run(&b, "read", op_read, b.files * 10);
	run(&b, "overwrite", op_overwrite, b.files);
	run(&b, "append", op_append, b.files);
	run(&b, "rename", op_rename, b.files);
	run(&b, "mkdir", op_mkdir, b.files);
	run(&b, "unlink", op_unlink, b.files);
	snprintf(path, sizeof(path), "%s/big", b.at);
	if (b.entries && mkdir(path, 0755) < 0)
		fail(path);
	if (b.entries)
		list_cold(&b, "ls -l cold");
	if (b.mib) {
		stream(&b, "write MiB", true);
		stream(&b, "read MiB", false);
	}
	free(b.took);
	return 0;
}
