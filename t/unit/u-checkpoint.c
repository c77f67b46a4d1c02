/* Checkpoints: every system call of one fails once, and a whole one is there all the same. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include "checkpoint.h"
#include "storehouse.h"
#include "sys.h"
#include "banned.h"

static long left;   /* good calls before the one that fails; below 0: none fails */
static int failure; /* its errno; 0: a short read or write */

static bool due(void)
{
	return left >= 0 && left-- == 0;
}

static int failing_openat(int dirfd, const char *name, int flags, mode_t mode)
{
	return due() && failure ? -failure : sys_real.openat(dirfd, name, flags, mode);
}

static ssize_t failing_write(int fd, const void *data, size_t len)
{
	bool now = due();

	return now && failure ? -failure : sys_real.write(fd, data, now ? len / 2 : len);
}

static ssize_t failing_pread(int fd, void *data, size_t len, off_t at)
{
	bool now = due();

	return now && failure ? -failure : sys_real.pread(fd, data, now ? len / 2 + 1 : len, at);
}

static int failing_fsync(int fd)
{
	return due() && failure ? -failure : sys_real.fsync(fd);
}

static int failing_renameat(int from, const char *a, int to, const char *b)
{
	return due() && failure ? -failure : sys_real.renameat(from, a, to, b);
}

static const struct sys *faulty(void)
{
	static struct sys table;

	table = sys_real;
	table.openat = failing_openat;
	table.write = failing_write;
	table.pread = failing_pread;
	table.fsync = failing_fsync;
	table.renameat = failing_renameat;
	return &table;
}

static uint64_t revision(struct store *s)
{
	struct store_facts f;

	store_facts(s, &f);
	return f.revision;
}

/* The revision of the checkpoint in the folder of H, read into a store of its own, which is checked; 0 with
 * H->error. */
static uint64_t loaded(struct house *h)
{
	struct engine e;
	struct store *s = NULL;
	uint64_t r = 0;
	bool there = false;

	if (engine_open(&e, h->plugin->engine, h->dir, NULL, 0, &h->error))
		bail("no engine: %s", h->error.message);
	if (!checkpoint_load(&e, h->dir, &there, &h->error) && there &&
	    !store_open(&s, &e, &h->settings, &h->error) && !store_check_rows(s, &h->error))
		r = revision(s);
	if (s)
		store_close(s);
	engine_close(&e);
	return r;
}

static void fill(struct house *h, unsigned from)
{
	char key[32];

	for (unsigned i = from; i < from + 40; i++) {
		snprintf(key, sizeof(key), "folder/%u", i);
		house_put(h, key, i % 20 ? "short" : "of some length");
	}
}

static void test_write(struct house *h)
{
	static const int ways[] = { EIO, ENOSPC, EMFILE, 0 };
	unsigned calls = 0, wrong = 0;
	struct cairn_position last;
	uint64_t was;

	for (size_t w = 0; w < sizeof(ways) / sizeof(*ways); w++) {
		bool over = false;

		for (long n = 0; !over; n++) {
			enum cairn_code code;

			was = loaded(h);
			fill(h, 40);
			left = n;
			failure = ways[w];
			sys = faulty();
			code = checkpoint_write(h->store, h->dir, &last, &h->error);
			over = left >= 0; /* it had fewer calls */
			sys = &sys_real;
			calls += !over;
			if (code ? !h->error.message[0] || !ways[w] : last.index != h->index)
				wrong++;
			left = -1;
			/* Only behind the rename may a failure leave the new one. */
			if (code ? loaded(h) != was && loaded(h) != revision(h->store)
				 : loaded(h) != revision(h->store))
				wrong++;
		}
	}
	ok(!wrong && calls > 20,
	   "%u calls of writing one fail once: the old one or the new one is there, whole", calls);
	is_int(checkpoint_write(h->store, h->dir, &last, &h->error), 0, "without a fault it is written: %s",
	       h->error.message);
}

static void test_read(struct house *h)
{
	static const int ways[] = { EIO, EMFILE, 0 };
	unsigned calls = 0, wrong = 0;

	for (size_t w = 0; w < sizeof(ways) / sizeof(*ways); w++) {
		bool over = false;

		for (long n = 0; !over; n++) {
			uint64_t r;

			h->error = (struct cairn_error){ 0 };
			left = n;
			failure = ways[w];
			sys = faulty();
			r = loaded(h);
			over = left >= 0;
			sys = &sys_real;
			left = -1;
			calls += !over;
			wrong += over || !failure ? r != revision(h->store) : r || !h->error.message[0];
		}
	}
	ok(!wrong && calls > 4, "%u calls of reading one fail once: told, or made good", calls);
}

static void test_damage(struct house *h)
{
	char path[128];
	struct stat st;
	unsigned char byte;
	unsigned wrong = 0;
	int fd;

	snprintf(path, sizeof(path), "%s/checkpoint", h->dir);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		bail("%s cannot be opened", path);
	for (off_t at = 0; at < st.st_size; at += 1 + st.st_size / 97) {
		if (pread(fd, &byte, 1, at) != 1)
			bail("%s is too short", path);
		byte ^= 8;
		wrong += pwrite(fd, &byte, 1, at) != 1 || loaded(h) || !strstr(h->error.message, path);
		byte ^= 8;
		wrong += pwrite(fd, &byte, 1, at) != 1;
	}
	ok(!wrong, "a flipped bit is refused, and the file is named");
	for (off_t len = st.st_size - 1; len > 0; len -= 1 + st.st_size / 37)
		wrong += ftruncate(fd, len) || loaded(h) || !strstr(h->error.message, path);
	ok(!wrong, "and so is one that is too short");
	close(fd);
}

int main(void)
{
	struct house h;
	struct cairn_position last;

	left = -1;
	if (!house_open(&h, "memory")) {
		ok(true, "# SKIP no engine memory");
		return tap_done();
	}
	fill(&h, 0);
	is_int(checkpoint_write(h.store, h.dir, &last, &h.error), 0, "a checkpoint is written");
	ok(last.index == h.index && loaded(&h) == revision(h.store), "and read again");
	test_write(&h);
	test_read(&h);
	test_damage(&h);
	house_close(&h);
	return tap_done();
}
