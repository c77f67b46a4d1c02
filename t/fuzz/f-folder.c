/*
 * The edits of a LevelDB's MANIFEST, with good checksums around them, so that they are read as such: the
 * bytes up to the first 0xFF are one edit, those behind it the next. The folder holds one log and one table
 * beside it.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "crc32c.h"
#include "files.h"
#include "folder.h"
#include "le.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static char dir[64];

static void stop(void)
{
	folder_remove(AT_FDCWD, dir);
}

static void put(const char *name, const void *data, size_t len)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || write(fd, data, len) != (ssize_t)len)
		abort();
	close(fd);
}

static void start(void)
{
	/* In memory where that is possible: each input writes a file. */
	snprintf(dir, sizeof(dir), "%s/cairn-fuzz-XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	if (!mkdtemp(dir))
		abort();
	atexit(stop);
	put("CURRENT", "MANIFEST-000002\n", 16);
	put("000003.log", "", 0);
	put("000005.ldb", "no table", 8);
}

/* Frame the LEN bytes at DATA as one record into OUT; returns its length. */
static size_t frame(uint8_t *out, const uint8_t *data, size_t len)
{
	uint32_t crc;

	le16_put(out + 4, (uint16_t)len);
	out[6] = 1;
	memcpy(out + 7, data, len);
	crc = crc32c(0, out + 6, 1 + len);
	le32_put(out, (crc >> 15 | crc << 17) + 0xa282ead8u);
	return 7 + len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct cairn_error notice, error = { 0 };
	uint8_t manifest[32768];
	size_t used = 0;
	int e;

	if (!dir[0])
		start();
	for (size_t at = 0; at < len;) {
		const uint8_t *end = memchr(data + at, 0xff, len - at);
		size_t n = end ? (size_t)(end - data) - at : len - at;

		if (used + 7 + n > sizeof(manifest))
			break;
		used += frame(manifest + used, data + at, n);
		at += n + 1;
	}
	put("MANIFEST-000002", manifest, used);
	e = folder_prepare(dir, &notice, &error);
	if (e && !error.message[0])
		abort(); /* a refusal says why */
	folder_find_damage(dir, cairn_slice("a", 1), cairn_slice("b", 1), &error);
	return 0;
}
