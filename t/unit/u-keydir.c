/*
 * The key directory of engine-bitcask against a sorted array: random batches, some undone, snapshots that do
 * not change, walks both ways; allocations that fail; readers beside the writer. "u-keydir memory N" says
 * what N keys of 24 bytes cost, and how long it took.
 */
#include <errno.h>
#include <malloc.h>
#include <time.h>
#include "keydir.h"
#include "keynode.h"
#include "tap.h"
#include "banned.h"

#define KEYS 3000
#define PINS 3

static struct keydir dir;
static uint64_t state = 1;
static long fail_in; /* allocations until one fails; 0: none does */

void *__real_slab_take(struct slab *s, size_t size);
void *__wrap_slab_take(struct slab *s, size_t size);
void *__wrap_slab_take(struct slab *s, size_t size)
{
	if (fail_in && --fail_in == 0)
		return NULL;
	return __real_slab_take(s, size);
}

static uint32_t dice(uint32_t n)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(state >> 33) % n;
}

struct model {
	uint32_t value[KEYS]; /* 0: not there */
};
static struct model now, next, kept[PINS];
static struct version *pins[PINS];
static unsigned char bytes[KEYS][KEYNODE_KEY_MAX];
static size_t lens[KEYS];
static int order[KEYS];

static int by_key(const void *a, const void *b)
{
	int i = *(const int *)a, k = *(const int *)b;

	return cairn_slice_cmp(cairn_slice(bytes[i], lens[i]), cairn_slice(bytes[k], lens[k]));
}

static struct cairn_slice key_of(uint32_t i)
{
	return cairn_slice(bytes[order[i]], lens[order[i]]);
}

/* Short and long ones, with long and short beginnings in common, in order. */
static void make_keys(void)
{
	for (int i = 0; i < KEYS; i++) {
		int n = snprintf((char *)bytes[i], 64, i % 3 ? "folder/%u/file-%05d" : "%u%05d", dice(9), i);

		lens[i] = (size_t)n;
		if (i % 5 == 0)
			memset(bytes[i] + n, i % 7, lens[i] = 200);
		if (i % 5 == 0)
			snprintf((char *)bytes[i] + 100, 64, "%05d", i);
		if (i % 300 == 0) {
			memset(bytes[i] + 200, 255, KEYNODE_KEY_MAX - 200);
			lens[i] = KEYNODE_KEY_MAX - dice(3);
		}
		order[i] = i;
	}
	qsort(order, KEYS, sizeof(*order), by_key);
}

static struct keydir_place place_of(uint32_t value)
{
	return (struct keydir_place){ value * 7, value % 1000, (uint16_t)value };
}

static bool is_place(struct keydir_place p, uint32_t value)
{
	struct keydir_place want = place_of(value);

	return p.offset == want.offset && p.length == want.length && p.file == want.file;
}

static bool walk(const struct version *v, const struct model *m, uint32_t from, uint32_t to, bool reverse)
{
	struct keydir_walk w = { 0 };
	struct keydir_place place;
	struct cairn_slice key, none = { 0 };
	uint32_t low = from, high = to < from ? from : to, i;
	bool good = true;

	keydir_walk_begin(&w, v->root, from ? key_of(from) : none, to < KEYS ? key_of(to) : none, reverse);
	for (;;) {
		while (low < high && !m->value[reverse ? high - 1 : low])
			reverse ? high-- : low++;
		if (keydir_walk_next(&w, &key, &place) != 1)
			break;
		i = reverse ? high - 1 : low;
		good = good && low < high && cairn_slice_eq(key, key_of(i)) && is_place(place, m->value[i]);
		if (!good)
			break;
		reverse ? high-- : low++;
	}
	keydir_walk_end(&w);
	return good && low == high;
}

static bool equal(const struct version *v, const struct model *m)
{
	struct keydir_place place;
	uint64_t keys = 0, live = 0;
	bool good = true;

	for (uint32_t i = 0; good && i < KEYS; i++) {
		bool found = keydir_find(v, key_of(i), &place);

		good = found == (m->value[i] != 0) && (!found || is_place(place, m->value[i]));
		keys += m->value[i] != 0;
		live += m->value[i] % 1000;
	}
	return good && v->keys == keys && v->live == live && walk(v, m, 0, KEYS, false) &&
		walk(v, m, 0, KEYS, true) && walk(v, m, dice(KEYS), dice(KEYS), false) &&
		walk(v, m, dice(KEYS), dice(KEYS), true);
}

static int step(uint32_t i, bool put)
{
	struct keydir_place old;
	uint32_t value = 1 + dice(60000);
	int r = put ? keydir_put(&dir, key_of(i), place_of(value), &old)
		    : keydir_remove(&dir, key_of(i), &old);

	if (r >= 0 && (r != (next.value[i] != 0) || (r && !is_place(old, next.value[i]))))
		return -EINVAL;
	if (r >= 0)
		next.value[i] = put ? value : 0;
	return r;
}

/* A batch of up to STEPS steps, of which PUTS in 100 put. Whether it went as it should. */
static bool batch(uint32_t steps, uint32_t puts)
{
	uint32_t start = dice(KEYS), stride = dice(3) ? 1 + dice(KEYS) : 1;
	bool undo = dice(8) == 0;
	int r = 0;

	next = now;
	keydir_begin(&dir);
	for (uint32_t n = dice(steps); r >= 0 && n; n--, start = (start + stride) % KEYS)
		r = step(start, dice(100) < puts);
	if (r < 0 || undo) {
		keydir_abort(&dir);
		return r >= 0 || (r == -ENOMEM && !fail_in);
	}
	if (keydir_publish(&dir, 1, 1) == 0)
		now = next;
	return true;
}

static void against_model(void)
{
	bool good = keydir_init(&dir) == 0;

	for (int round = 0; good && round < 3000; round++) {
		int p = (int)dice(PINS);

		fail_in = dice(4) ? 0 : 1 + dice(40);
		good = batch(dice(20) ? 30 : 3000, round / 500 % 2 ? 30 : 70);
		fail_in = 0;
		if (dice(10) == 0 && pins[p]) {
			good = good && equal(pins[p], &kept[p]);
			versions_unpin(&dir.versions, pins[p]);
			pins[p] = NULL;
		} else if (!pins[p]) {
			pins[p] = versions_pin(&dir.versions, NULL);
			kept[p] = now;
		}
		if (round % 50 == 0)
			good = good && equal(atomic_load(&dir.versions.published), &now);
	}
	ok(good, "random batches, some undone or out of memory, and snapshots agree with a model");
	for (int p = 0; p < PINS; p++)
		if (pins[p])
			versions_unpin(&dir.versions, pins[p]);
	keydir_end(&dir);
}

static void *read_on(void *arg)
{
	_Atomic bool *stop = arg;
	static _Atomic long bad;

	while (!atomic_load(stop)) {
		struct keydir_place a, b;
		struct versions_guard guard;

		versions_read_begin(&dir.versions, &guard);
		if (keydir_find(guard.version, key_of(5), &a) !=
			    keydir_find(guard.version, key_of(KEYS - 5), &b) ||
		    a.offset != b.offset)
			atomic_fetch_add(&bad, 1);
		versions_read_end(&dir.versions, &guard);
	}
	return (void *)(uintptr_t)atomic_load(&bad);
}

static void readers(void)
{
	_Atomic bool stop = false;
	pthread_t threads[2];
	struct keydir_place old;
	void *bad[2];

	keydir_init(&dir);
	keydir_begin(&dir);
	keydir_put(&dir, key_of(5), place_of(1), &old);
	keydir_put(&dir, key_of(KEYS - 5), place_of(1), &old);
	keydir_publish(&dir, 1, 1);
	for (int i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, read_on, &stop);
	for (uint32_t n = 1; n < 30000; n++) {
		keydir_begin(&dir);
		for (int i = 0; i < 5; i++)
			keydir_put(&dir, key_of(10 + dice(KEYS - 20)), place_of(n), &old);
		keydir_put(&dir, key_of(5), place_of(n), &old);
		keydir_put(&dir, key_of(KEYS - 5), place_of(n), &old);
		keydir_publish(&dir, 1, 1);
	}
	atomic_store(&stop, true);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], &bad[i]);
	ok(!bad[0] && !bad[1], "readers beside the writer see whole batches");
	keydir_end(&dir);
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void fill_key(char key[32], uint64_t i, bool ascending)
{
	snprintf(key, 32, "%024llu", (unsigned long long)(ascending ? i : i * 0x9e3779b97f4a7c15u));
	memcpy(key, "user", 4);
}

/* Put COUNT keys of 24 bytes in batches of 100; the bytes that one costs. */
static double memory(uint64_t count, bool ascending, bool talk)
{
	double begin = seconds(), bytes_each, at;
	struct keydir_place old;
	char key[32];

	keydir_init(&dir);
	for (int again = 0; again < 2; again++, begin = seconds()) {
		for (uint64_t i = 0; i < count;) {
			keydir_begin(&dir);
			for (int n = 0; n < 100 && i < count; n++, i++) {
				fill_key(key, i, ascending);
				keydir_put(&dir, cairn_slice(key, 24),
					   (struct keydir_place){ (uint32_t)i, 100, 1 }, &old);
			}
			keydir_publish(&dir, 1, 1);
		}
		at = seconds();
		if (talk)
			printf("# %s %s: %.2f µs a key\n", ascending ? "ascending" : "random",
			       again ? "overwritten" : "put", (at - begin) * 1e6 / (double)count);
	}
	begin = seconds();
	for (uint64_t i = 0; i < count; i++) {
		struct versions_guard g;

		fill_key(key, i * 7919 % count, ascending);
		versions_read_begin(&dir.versions, &g);
		keydir_find(g.version, cairn_slice(key, 24), &old);
		versions_read_end(&dir.versions, &g);
	}
	bytes_each = (double)atomic_load(&dir.versions.memory) / (double)count;
	if (talk)
		printf("# looked up: %.2f µs a key; %.1f bytes a key\n",
		       (seconds() - begin) * 1e6 / (double)count, bytes_each);
	keydir_end(&dir);
	return bytes_each;
}

int main(int argc, char **argv)
{
	if (argc > 2) {
		memory(strtoull(argv[2], NULL, 10), false, true);
		memory(strtoull(argv[2], NULL, 10), true, true);
		return 0;
	}
	make_keys();
	against_model();
	readers();
	ok(memory(200000, false, false) <= 24 + 40, "a key of 24 bytes costs at most 40 beside it");
	return tap_done();
}
