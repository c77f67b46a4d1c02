/*
 * What the disk allows: `sync FOLDER SECONDS` writes 512 bytes and syncs them, one after the other, into the
 * file FOLDER/sync of 16 MiB, which was written before, as a recycled segment of the journal is. Prints one
 * line of JSON. The file stays, so that the next run does not have to write it first.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "banned.h"

#define FILE_BYTES (16 << 20)
#define WRITE_BYTES 512
#define TIMES_MAX (1 << 20)

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int fill(int fd)
{
	static char zeros[1 << 20];

	for (off_t at = 0; at < FILE_BYTES; at += (off_t)sizeof(zeros))
		if (pwrite(fd, zeros, sizeof(zeros), at) != (ssize_t)sizeof(zeros))
			return -1;
	return fsync(fd);
}

static int by_time(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
	double seconds = argc == 3 ? atof(argv[2]) : 0, start, end;
	char path[4096], block[WRITE_BYTES];
	float *times = malloc(TIMES_MAX * sizeof(*times)); /* us */
	size_t syncs = 0;
	int fd, e = 0;

	if (seconds <= 0 || !times) {
		fprintf(stderr, "usage: sync FOLDER SECONDS\n");
		return 2;
	}
	snprintf(path, sizeof(path), "%s/sync", argv[1]);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || (lseek(fd, 0, SEEK_END) != FILE_BYTES && fill(fd) < 0)) {
		perror(path);
		return 1;
	}
	memset(block, 'x', sizeof(block));
	for (start = end = now(); !e && end < start + seconds && syncs < TIMES_MAX; syncs++) {
		double before = end;

		e = pwrite(fd, block, sizeof(block), (off_t)(syncs * WRITE_BYTES % FILE_BYTES)) !=
				(ssize_t)sizeof(block) ||
			fdatasync(fd) < 0;
		end = now();
		times[syncs] = (float)((end - before) * 1e6);
	}
	if (e) {
		perror(path);
		return 1;
	}
	qsort(times, syncs, sizeof(*times), by_time);
	printf("{\"op\":\"sync\",\"encoding\":\"none\",\"flight\":1,\"requests\":%zu,\"seconds\":%.3f,"
	       "\"rate\":%.0f,"
	       "\"p50_us\":%.1f,\"p99_us\":%.1f,\"daemon_cpu_us\":0,\"generator_cpu\":0}\n",
	       syncs, end - start, (double)syncs / (end - start), (double)times[syncs / 2],
	       (double)times[syncs * 99 / 100]);
	free(times);
	return 0;
}
