/* core/base: checksums, files that are replaced whole or not at all, times as text. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "clock.h"
#include "crc32c.h"
#include "files.h"
#include "sys.h"
#include "tap.h"

static void checksums(void)
{
	unsigned char zeros[32] = { 0 }, rising[32];

	for (unsigned i = 0; i < 32; i++)
		rising[i] = (unsigned char)i;
	ok(crc32c(0, zeros, 32) == 0x8a9136aa, "32 zeros have the checksum of RFC 3720 B.4");
	ok(crc32c(0, rising, 32) == 0x46dd794e, "0 to 31 have the checksum of RFC 3720 B.4");
	ok(crc32c(0, "123456789", 9) == 0xe3069283, "the check value of the catalogue");
	ok(crc32c(crc32c(0, rising, 13), rising + 13, 19) == 0x46dd794e,
	   "a checksum goes on where it stopped");
}

static int calls_left;

/* Fail the call after CALLS_LEFT good ones. */
static int due(void)
{
	return calls_left-- == 0;
}

static ssize_t failing_write(int fd, const void *data, size_t len)
{
	return due() ? -ENOSPC : sys_real.write(fd, data, len > 3 ? 3 : len);
}

static int failing_fsync(int fd)
{
	return due() ? -EIO : sys_real.fsync(fd);
}

static int failing_rename(int from, const char *a, int to, const char *b)
{
	return due() ? -EIO : sys_real.renameat(from, a, to, b);
}

static int failing_open(int dirfd, const char *name, int flags, mode_t mode)
{
	return due() ? -EMFILE : sys_real.openat(dirfd, name, flags, mode);
}

static void replaced_whole(int dir)
{
	struct sys faulty = sys_real;
	char *text;
	size_t len;
	int failed = 0, wrong = 0, r;
	struct stat st;

	is_int(file_replace(dir, "id", cairn_str("the old text")), 0, "a file is made");
	is_int(fstatat(dir, "id", &st, 0) ? 0 : st.st_mode & 0777, 0600, "for its owner alone");
	faulty.write = failing_write;
	faulty.fsync = failing_fsync;
	faulty.renameat = failing_rename;
	faulty.openat = failing_open;
	for (int n = 0;; n++) {
		sys = &faulty;
		calls_left = n;
		r = file_replace(dir, "id", cairn_str("the new text"));
		sys = &sys_real;
		if (file_read(dir, "id", 100, &text, &len))
			bail("the file cannot be read");
		if (r == 0)
			break;
		failed++;
		/* Only a failed sync of the folder, the last call, comes after the rename. */
		wrong += strcmp(text, "the old text") && strcmp(text, "the new text");
		wrong += faccessat(dir, "id.new", F_OK, 0) == 0;
		free(text);
	}
	is_str(text, "the new text", "without a fault the new text is there");
	free(text);
	ok(failed >= 6, "%d calls failed in turn", failed);
	is_int(wrong, 0, "after each of them the file was whole and nothing was left over");
	is_int(file_read(dir, "id", 5, &text, &len), -EFBIG, "a file over the bound is refused");
	is_int(file_read(dir, "none", 5, &text, &len), -ENOENT, "an absent one too");
}

static void folders(int dir, const char *path)
{
	char deep[256];

	snprintf(deep, sizeof(deep), "%s/a/b/c", path);
	is_int(folder_make(deep), 0, "folders are made all the way down");
	is_int(folder_make(deep), 0, "making them twice is no error");
	is_int(symlinkat("/etc", dir, "a/b/link"), 0, "(a link out of the folder)");
	is_int(file_replace(dir, "a/b/file", cairn_str("x")), 0, "(a file in it)");
	is_int(folder_remove(dir, "a"), 0, "a folder goes with all that is in it");
	ok(access(deep, F_OK) < 0 && access("/etc/passwd", F_OK) == 0, "and nothing behind a link does");
	is_int(folder_remove(dir, "a"), 0, "removing what is not there is no error");
}

static void times(void)
{
	static const char *const bad[] = { "",
					   "Z",
					   "2026-11-20",
					   "2026-11-20T10:05:01",
					   "2026-13-20T10:05:01Z",
					   "2026-02-30T10:05:01Z",
					   "1969-12-31T23:59:59Z",
					   "2026-11-20T10:05:01.1234567891Z",
					   "2026-11-20T10:05:01Zx" };
	char text[CLOCK_TEXT];
	uint64_t ns = 0;

	clock_format(1763633101123456789ull, text);
	is_str(text, "2025-11-20T10:05:01.123456789Z", "a time is written with nine decimals");
	ok(clock_parse(text, strlen(text), &ns) && ns == 1763633101123456789ull, "and read back");
	ok(clock_parse("2025-11-20T10:05:01.5Z", 22, &ns) && ns == 1763633101500000000ull,
	   "fewer decimals are read");
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		ok(!clock_parse(bad[i], strlen(bad[i]), &ns), "'%s' is no time", bad[i]);
	ok(clock_boot_ns() <= clock_boot_ns(), "the monotonic clock does not go back");
}

int main(void)
{
	char path[] = "/tmp/u-base.XXXXXX";
	int dir;

	if (!mkdtemp(path) || (dir = open(path, O_RDONLY | O_DIRECTORY)) < 0)
		bail("no temporary folder");
	checksums();
	replaced_whole(dir);
	folders(dir, path);
	times();
	folder_remove(AT_FDCWD, path);
	close(dir);
	return tap_done();
}
