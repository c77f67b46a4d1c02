/* The journal's bytes, frozen; and its contract on a real folder. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "batch.h"
#include "files.h"
#include "journal.h"
#include "tap.h"
#include "banned.h"

/* Two records as version 1 has them; never changed within it. */
static const char frozen[] = "434e4a4201000000000000005500000034120000000000000700000000000000060000000000000"
			     "002000000ddccbbaa00000000"
			     "9c419fb5"
			     "0000410000000000"
			     "0300000000000000090000000000000005000000000000000000000000000000"
			     "0100000015000000090000000000000005000000000000000200000000000000"
			     "746869732069732061206c6f6e6720636f6d6d616e";

static void hex(const unsigned char *bytes, size_t len, char *text)
{
	for (size_t i = 0; i < len; i++)
		snprintf(text + 2 * i, 3, "%02x", bytes[i]);
}

static void test_bytes(void)
{
	static const struct record_head first = { RECORD_FIRST, 0, 9, 5, 0 };
	static const struct record_head entry = { RECORD_ENTRY, 21, 9, 5, 2 };
	unsigned char batch[BATCH_HEAD + 2 * BATCH_RECORD + 21];
	char text[2 * sizeof(batch) + 1];
	struct batch_head h = { .count = 2,
				.previous = 0xaabbccdd,
				.epoch = 0x1234,
				.sequence = 7,
				.durable = 6,
				.file = 0x410000 };
	struct batch_head again;

	record_head_encode(&first, batch + BATCH_HEAD);
	record_head_encode(&entry, batch + BATCH_HEAD + BATCH_RECORD);
	memcpy(batch + BATCH_HEAD + 2 * BATCH_RECORD, "this is a long comman", 21);
	batch_seal(batch, sizeof(batch), &h);
	hex(batch, sizeof(batch), text);
	is_str(text, frozen, "a batch has the bytes of version 1");
	ok(batch_head_decode(batch, &again) == 0 && again.sequence == 7 && again.previous == 0xaabbccdd &&
		   again.durable == 6 && again.epoch == 0x1234 && again.count == 2 &&
		   again.file == 0x410000 && batch_whole(batch, &again),
	   "and is read again");
	batch[70] ^= 1;
	ok(!batch_whole(batch, &again), "not with a flipped bit");
	batch[4] = 2;
	is_int(batch_head_decode(batch, &again), -EPROTONOSUPPORT, "a newer version is told from rubbish");
}

static char folder[] = "/tmp/cairn-journal.XXXXXX";
static struct journal *journal;
static struct cairn_error notice, error;

static enum cairn_code reopen(void)
{
	struct journal_options o = { .folder = folder, .segment_bytes = 64 << 10 };

	journal_close(journal);
	journal = NULL;
	return journal_open(&journal, &o, &notice, &error);
}

struct asked {
	struct journal_request r;
	sem_t done;
};

static void done(struct journal_request *r)
{
	sem_post(&((struct asked *)r)->done);
}

static enum cairn_code put(struct journal_shard *s, uint64_t index, struct cairn_slice command)
{
	struct journal_entry e = { index, 1, command };
	struct asked a = { .r = { .shard = s, .entries = &e, .count = 1, .done = done } };

	sem_init(&a.done, 0, 0);
	journal_append(journal, &a.r);
	while (sem_wait(&a.done) < 0)
		;
	sem_destroy(&a.done);
	error = a.r.error;
	return a.r.error.code;
}

static int sum(void *arg, const struct journal_entry *e)
{
	*(uint64_t *)arg += e->index * 1000 + e->command.len;
	return 0;
}

/* The newest segment's path. */
static void newest(char path[80])
{
	struct stat st;

	for (unsigned i = 1; i < 100; i++) {
		char name[80];

		snprintf(name, sizeof(name), "%s/%016x.seg", folder, i);
		if (stat(name, &st) == 0)
			memcpy(path, name, sizeof(name));
	}
}

static void flip(const char *path, off_t at)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	unsigned char byte;

	if (pread(fd, &byte, 1, at) != 1)
		bail("%s is too short", path);
	byte ^= 4;
	if (pwrite(fd, &byte, 1, at) != 1)
		bail("%s cannot be written", path);
	close(fd);
}

/* All bytes of the file PATH from AT on. */
static void zero(const char *path, off_t at)
{
	struct stat st;

	if (stat(path, &st) < 0 || truncate(path, at) < 0 || truncate(path, st.st_size) < 0)
		bail("%s cannot be written", path);
}

static void test_entries(void)
{
	struct journal_shard *s;
	struct journal_extent x;
	uint64_t total = 0;

	is_int(reopen(), 0, "a new journal opens");
	s = journal_attach(journal, 1);
	for (uint64_t i = 1; i <= 5; i++)
		put(s, i, cairn_slice("hello", i));
	is_int(reopen(), 0, "it opens again: %s", error.message);
	ok(!notice.message[0], "with nothing to say");
	s = journal_attach(journal, 1);
	x = journal_extent(s);
	ok(x.first == 1 && x.last == 5 && x.last_term == 1 && x.bytes == 15, "and has what was stored");
	ok(journal_read(s, 2, 4, sum, &total, NULL, &error) == 0 && total == 9009,
	   "entries are read in order");
	is_int(journal_read(s, 4, 6, sum, &total, NULL, &error), CAIRN_E_NOT_FOUND, "not beyond the last");
	put(s, 3, cairn_slice("x", 1));
	x = journal_extent(s);
	ok(x.last == 3, "an entry whose index is there replaces what follows");
	put(journal_attach(journal, 2), 1, cairn_slice("other", 5));
	reopen();
	journal_attach(journal, 1);
	journal_drop_others(journal);
	x = journal_extent(journal_attach(journal, 2));
	ok(x.last < x.first, "a shard that nobody asked for can be dropped");
}

static void test_files(void)
{
	static unsigned char big[20000];
	struct journal_shard *s = journal_attach(journal, 1);
	struct journal_facts facts;
	char path[80] = "";

	memset(big, 'b', sizeof(big));
	for (uint64_t i = 4; i < 60; i++) {
		put(s, i, cairn_slice(big, sizeof(big)));
		journal_release(s, i - 1);
	}
	reopen();
	journal_facts(journal, &facts);
	ok(facts.segment_bytes < 1 << 20, "files that nobody needs go: %llu bytes are left",
	   (unsigned long long)facts.segment_bytes);
	s = journal_attach(journal, 1);
	is_int(journal_extent(s).last, 59, "the newest entry is there");
	is_int(put(s, 60, cairn_slice(big, JOURNAL_COMMAND_MAX + 1ul)), CAIRN_E_TOO_LARGE,
	       "a giant is refused");
	is_int(put(s, 60, cairn_slice("y", 1)), 0, "and the next one is taken: %s", error.message);
	journal_close(journal);
	journal = NULL;
	newest(path);
	flip(path, 512 + 16); /* the last batch but the mark */
	is_int(reopen(), CAIRN_E_CORRUPT, "damage of what was synced is told: %s", error.message);
	ok(strstr(error.message, path) && strstr(error.message, "offset 512"), "with file and offset");
	ok(truncate(path, 512) == 0 && reopen() == 0,
	   "a file that is cut there is a journal that ends there");
	ok(notice.code == CAIRN_E_CORRUPT && strstr(notice.message, path) &&
		   strstr(notice.message, "cut at offset 512, 65024 bytes dropped"),
	   "which is told, since no crash makes a file shorter: %s", notice.message);
	is_int(journal_extent(journal_attach(journal, 1)).last, 59, "with what comes before");
	put(journal_attach(journal, 1), 60, cairn_slice(big, 3000));
	reopen();
	newest(path);
	journal_close(journal);
	journal = NULL;
	zero(path, 512 + 600);
	ok(reopen() == 0 && strstr(notice.message, "its end was torn off by a crash: cut at offset 512") &&
		   !notice.code,
	   "a torn end is cut, and that is said: %s", notice.message);
	put(journal_attach(journal, 1), 60, cairn_slice("z", 1));
	reopen();
	ok(!notice.message[0], "once");
	put(journal_attach(journal, 1), 61, cairn_slice("z", 1));
	reopen();
	newest(path);
	journal_close(journal);
	journal = NULL;
	ok(truncate(path, 0) == 0 && reopen() == 0 && notice.code == CAIRN_E_CORRUPT &&
		   strstr(notice.message, path),
	   "a file that is cut to nothing is told: %s", notice.message);
	is_int(journal_extent(journal_attach(journal, 1)).last, 60, "and what came before is there");
	journal_close(journal);
}

/* What has the name of a file of the journal, and is none. */
static void test_strays(void)
{
	static const char *const names[] = { "00000000000000ff.seg", "spare-00000000000000ff" };
	char path[80];

	journal = NULL;
	for (int i = 0; i < 4; i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, names[i % 2]);
		if ((i < 2 ? mkdir(path, 0700) : mkfifo(path, 0600)) < 0)
			bail("%s cannot be made", path);
		is_int(reopen(), CAIRN_E_CORRUPT, "%s is refused", i < 2 ? "a folder" : "a pipe");
		ok(strstr(error.message, path) && strstr(error.message, i < 2 ? "is a folder" : "is no file"),
		   "by its name: %s", error.message);
		remove(path);
	}
	snprintf(path, sizeof(path), "%s/else.seg", folder);
	mkdir(path, 0700);
	is_int(reopen(), 0, "another name is somebody else's");
	journal_close(journal);
	remove(path);
}

/* Store the next entry of S in this thread where that is possible, else through the writer. */
static bool put_now(struct journal_shard *s, uint64_t index, bool *now)
{
	struct journal_entry e = { index, 1, cairn_slice("now", 3) };
	struct asked a = { .r = { .shard = s, .entries = &e, .count = 1, .done = done } };
	int there;

	sem_init(&a.done, 0, 0);
	*now = journal_append_now(journal, &a.r);
	sem_getvalue(&a.done, &there);
	if (!*now)
		journal_append(journal, &a.r);
	while (sem_wait(&a.done) < 0)
		;
	sem_destroy(&a.done);
	return !a.r.error.code && there == *now;
}

#define EACH 300

struct both {
	uint64_t shard;
	unsigned now;
	bool good;
};

static void *put_many(void *arg)
{
	struct both *b = arg;
	struct journal_shard *s = journal_attach(journal, b->shard);

	b->good = true;
	for (uint64_t i = 1; i <= EACH && b->good; i++) {
		bool now;

		b->good = put_now(s, i, &now);
		b->now += now;
	}
	return NULL;
}

static void test_now(void)
{
	struct both both[4];
	struct journal_facts facts;
	struct timespec nap = { 0, 1000000 };
	pthread_t threads[4];
	uint64_t sequence;
	bool now = false, good = true;

	reopen();
	ok(put_now(journal_attach(journal, 20), 1, &now) && !now,
	   "what begins a file is left to the journal's own thread");
	for (uint64_t i = 2; i < 200; i++)
		good = good && put_now(journal_attach(journal, 20), i, &now);
	ok(good, "who is alone may write in his own thread");
	journal_facts(journal, &facts);
	sequence = facts.sequence + 2; /* of the mark behind the next one, if not later */
	put_now(journal_attach(journal, 20), 200, &now);
	for (facts.sequence = 0; facts.sequence < sequence; nanosleep(&nap, NULL))
		journal_facts(journal, &facts);
	ok(true, "and the mark follows by itself");
	for (uint64_t i = 0; i < 4; i++) {
		both[i] = (struct both){ .shard = 21 + i };
		pthread_create(&threads[i], NULL, put_many, &both[i]);
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		good = good && both[i].good;
	}
	ok(good, "four threads write both ways");
	reopen();
	journal_attach(journal, 1);
	for (uint64_t i = 0; i < 4; i++)
		good = good && journal_extent(journal_attach(journal, 21 + i)).last == EACH;
	ok(good && journal_extent(journal_attach(journal, 20)).last == 200,
	   "and all of it is there afterwards");
	for (uint64_t i = 20; i < 25; i++)
		journal_drop(journal_attach(journal, i));
	journal_drop_others(journal);
}

int main(void)
{
	int parent;

	if (!mkdtemp(folder))
		bail("no folder");
	test_bytes();
	test_entries();
	test_now();
	test_files();
	test_strays();
	parent = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	folder_remove(parent, folder + 5);
	close(parent);
	return tap_done();
}
