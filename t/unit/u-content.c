/* The bytes of an open file, against a model that keeps the list of changes and replays it. */
#include <stdlib.h>
#include "content.h"
#include "tap.h"
#include "banned.h"

#define MAX 600

static uint64_t seed = 7;

static unsigned rnd(unsigned n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(seed >> 33) % n;
}

struct change {
	bool truncate;
	size_t at, len;
	unsigned char byte;
};

/* Make CHANGES to the LEN bytes in DATA (of MAX bytes). Returns the new length. */
static size_t replay(const struct change *changes, int count, unsigned char *data, size_t len)
{
	for (int i = 0; i < count; i++) {
		size_t end = changes[i].at + (changes[i].truncate ? 0 : changes[i].len);

		if (end > len || changes[i].truncate)
			memset(data + (end < len ? end : len), 0, MAX - (end < len ? end : len));
		if (!changes[i].truncate)
			memset(data + changes[i].at, changes[i].byte, changes[i].len);
		len = changes[i].truncate || end > len ? end : len;
	}
	return len;
}

static size_t random_value(unsigned char *data)
{
	size_t len = rnd(200);

	memset(data, 0, MAX);
	for (size_t i = 0; i < len; i++)
		data[i] = (unsigned char)(rnd(100) + 1);
	return len;
}

/* One life of a content: read, changed, and changed again on a newer value. Returns whether all was as in the
 * model. */
static bool life(void)
{
	struct content c = { 0 };
	struct change changes[12];
	unsigned char data[MAX], newer[MAX];
	size_t len = random_value(data), newer_len = random_value(newer);
	int count = (int)rnd(12);
	bool good = content_set(&c, cairn_slice(data, len)) == 0;
	bool cut_to_nothing = false;

	for (int i = 0; i < count; i++) {
		struct change *change = &changes[i];
		unsigned char bytes[64];

		*change = (struct change){ rnd(4) == 0, rnd(400), rnd(60) + 1, (unsigned char)(200 + i) };
		if (change->truncate && rnd(10) == 0)
			change->at = 0;
		cut_to_nothing |= change->truncate && change->at == 0;
		memset(bytes, change->byte, sizeof(bytes));
		if (change->truncate)
			good &= content_truncate(&c, change->at) == 0;
		else
			good &= content_write(&c, change->at, cairn_slice(bytes, change->len)) == 0;
	}
	len = replay(changes, count, data, len);
	good &= cairn_slice_eq(cairn_slice(c.data, c.len), cairn_slice(data, len));
	good &= c.dirty == (count > 0) && c.whole == cut_to_nothing;
	good &= content_rebase(&c, cairn_slice(newer, newer_len)) == 0;
	newer_len = replay(changes, count, newer, newer_len);
	good &= cairn_slice_eq(cairn_slice(c.data, c.len), cairn_slice(newer, newer_len));
	content_free(&c);
	return good;
}

int main(void)
{
	struct content c = { 0 };
	int wrong = 0;

	for (int i = 0; i < 100000; i++)
		wrong += !life();
	is_int(wrong, 0, "changes give the same bytes as in the model, also on a newer value");
	ok(content_write(&c, 3, cairn_slice("abc", 3)) == 0 && c.len == 6 && !memcmp(c.data, "\0\0\0abc", 6),
	   "a hole reads as zeros");
	content_write(&c, 0, cairn_slice("xyz", 3));
	is_int(c.count, 1, "touching extents become one");
	content_clean(&c);
	ok(!c.dirty && c.count == 0 && c.len == 6, "after a commit the bytes stay and nothing is to be done");
	content_clean(&c);
	content_truncate(&c, 1);
	ok(content_rebase(&c, cairn_slice("", 0)) == 0 && content_load(&c, cairn_slice("more", 4)) == 0 &&
		   c.len == 5,
	   "what was made anew with one byte can grow");
	content_free(&c);
	return tap_done();
}
