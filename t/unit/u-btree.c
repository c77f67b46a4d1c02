/*
 * The versioned tree against a sorted array: random batches with snapshots kept and looked at again, aborted
 * and refused batches, memory that runs out at every place, and readers beside a writer.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include "btree.h"
#include "slab.h"
#include "tap.h"

void *__real_slab_take(struct slab *s, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_slab_take(struct slab *s, size_t size);
void *__wrap_realloc(void *p, size_t size);

static long fail_at = -1; /* the allocation that fails; -1: none */

void *__wrap_slab_take(struct slab *s, size_t size)
{
	return fail_at >= 0 && fail_at-- == 0 ? NULL : __real_slab_take(s, size);
}

void *__wrap_realloc(void *p, size_t size)
{
	return fail_at >= 0 && fail_at-- == 0 ? NULL : __real_realloc(p, size);
}

/* The model: keys are numbers below KEYS, rendered so that their order is that of the numbers. */
#define KEYS 3000

struct model {
	uint32_t value[KEYS]; /* 0: absent */
};

static uint64_t seed = 42;

static uint32_t dice(uint32_t n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % n;
}

/* Keys of 1 to some 300 bytes, with long shared parts, zeros and 0xFF. */
static struct cairn_slice key_of(unsigned char text[512], uint32_t i)
{
	size_t n = 0;

	text[n++] = (unsigned char)(1 + i / 1000);
	if (i % 1000 == 0)
		return cairn_slice(text, n);
	memset(text + n, i / 1000 == 1 ? 0xff : 0, 280);
	n += i / 1000 == 2 ? 280 : 9;
	text[n++] = (unsigned char)(i % 1000 / 100);
	text[n++] = (unsigned char)(i % 100 / 10 * 28);
	if (i % 10)
		text[n++] = (unsigned char)(i % 10 - 1); /* the tenth is a prefix of the nine behind it */
	return cairn_slice(text, n);
}

static struct iovec value_of(unsigned char bytes[2048], uint32_t v)
{
	size_t n = v % 7 == 0 ? 0 : v % 300;

	memset(bytes, (int)v & 0xff, n);
	memcpy(bytes + n, &v, 4);
	return (struct iovec){ bytes, n + 4 };
}

static bool same(struct cairn_slice got, uint32_t v)
{
	unsigned char bytes[2048];
	struct iovec want = value_of(bytes, v);

	return got.len == want.iov_len && memcmp(got.data, bytes, got.len) == 0;
}

static bool walk(struct btree *t, struct btree_version *v, const struct model *m, uint32_t from, uint32_t to,
		 bool reverse)
{
	unsigned char a[512], b[512], k[512];
	struct btree_iter *it = btree_iter_open(t, v, from ? key_of(a, from) : cairn_str(""),
						to < KEYS ? key_of(b, to) : cairn_str(""), reverse);
	struct cairn_slice key, value;
	uint32_t i = reverse ? to : from;
	bool good = true;

	while (good && btree_next(it, &key, &value)) {
		if (reverse)
			while (i > from && !m->value[--i])
				;
		else
			while (i < to && !m->value[i])
				i++;
		good = i >= from && i < to && cairn_slice_eq(key, key_of(k, i)) && same(value, m->value[i]);
		i += !reverse;
	}
	for (; good && (reverse ? i > from : i < to); i += reverse ? -1u : 1u)
		good = !m->value[reverse ? i - 1 : i];
	btree_iter_close(it);
	return good;
}

/* Keys that are got at once. */
struct many {
	struct cairn_slice keys[40];
	uint32_t numbers[40], count;
	unsigned char bytes[40][512];
};

static bool many(struct many *a, const struct btree_guard *guard, const struct model *m, struct btree *writer)
{
	struct cairn_slice values[40];
	bool good = true;

	a->count = 1 + dice(40);
	for (uint32_t i = 0; i < a->count; i++)
		a->keys[i] = key_of(a->bytes[i], a->numbers[i] = dice(KEYS));
	btree_get_many(guard, a->keys, a->count, values, writer);
	for (uint32_t i = 0; i < a->count; i++) {
		uint32_t v = m->value[a->numbers[i]];

		good &= v ? values[i].data && same(values[i], v) : !values[i].data;
	}
	return good;
}

static bool equal(struct btree *t, struct btree_version *v, const struct model *m)
{
	struct cairn_slice value;
	struct btree_guard guard;
	unsigned char k[512];
	struct many some;
	uint32_t a = dice(KEYS + 1), b = dice(KEYS + 1);
	bool good = true;

	btree_read_begin(t, &guard);
	for (int i = 0; good && i < 200; i++) {
		uint32_t n = dice(KEYS);
		bool found = btree_get(&guard, v, key_of(k, n), &value);

		good = found == (m->value[n] != 0) && (!found || same(value, m->value[n]));
	}
	for (int i = 0; !v && good && i < 5; i++)
		good = many(&some, &guard, m, NULL);
	btree_read_end(t, &guard);
	return good && walk(t, v, m, 0, KEYS, false) && walk(t, v, m, 0, KEYS, true) &&
		walk(t, v, m, a, b, false) && walk(t, v, m, a, b, true);
}

static int decide(void *arg, bool found, struct cairn_slice old, const struct iovec **value)
{
	struct iovec *iov = arg;

	(void)old;
	*value = iov;
	return iov->iov_base ? 1 : found ? -1 : 0;
}

/* One random step on tree and model. */
static int step(struct btree *t, struct model *m, uint32_t number, const struct many *ahead)
{
	unsigned char k[512], k2[512], bytes[2048];
	uint32_t i = dice(KEYS), what = dice(100), end = i + dice(what == 0 ? KEYS : 40);
	struct iovec iov = value_of(bytes, number);

	if (what < 2) {
		if (end > KEYS)
			end = KEYS;
		memset(m->value + i, 0, (end - i) * sizeof(*m->value));
		if (end == i)
			return btree_delete_range(t, key_of(k, i), key_of(k2, i));
		return btree_delete_range(t, key_of(k, i), end < KEYS ? key_of(k2, end) : cairn_str(""));
	}
	if (what < 20) {
		m->value[i] = 0;
		return btree_delete(t, key_of(k, i));
	}
	if (what < 45 && ahead->count) { /* as the writer who has just got it */
		i = dice(ahead->count);
		m->value[ahead->numbers[i]] = number;
		return btree_put(t, ahead->keys[i], &iov, 1);
	}
	if (what < 55) {
		if (what < 50)
			iov.iov_base = NULL; /* update deletes it */
		m->value[i] = iov.iov_base ? number : 0;
		return btree_update(t, key_of(k, i), decide, &iov);
	}
	m->value[i] = number;
	return btree_put(t, key_of(k, i), &iov, 1);
}

static uint64_t count(const struct model *m)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < KEYS; i++)
		n += m->value[i] != 0;
	return n;
}

#define KEPT 6

static void against_model(void)
{
	struct btree *t = btree_new(0);
	struct btree_version *kept[KEPT] = { 0 };
	struct model *now = calloc(1, sizeof(*now)), *next = malloc(sizeof(*next)),
		     *models = calloc(KEPT, sizeof(*models));
	struct btree_facts facts;
	bool good = true, old_good = true, facts_good = true;
	struct btree_tag tag = { 0 };
	struct many ahead = { 0 };
	struct btree_guard guard;

	for (uint32_t batch = 1; batch <= 800; batch++) {
		uint32_t k = dice(KEPT), steps = dice(60);
		bool give_up = dice(10) == 0;

		*next = *now;
		if (dice(3)) {
			btree_read_begin(t, &guard);
			good &= many(&ahead, &guard, now, t);
			btree_read_end(t, &guard);
		}
		btree_begin(t);
		for (uint32_t i = 0; i < steps; i++) {
			if (i == steps / 2 && dice(4) == 0 &&
			    !kept[k]) { /* a snapshot in the middle sees the state before */
				kept[k] = btree_snapshot(t);
				models[k] = *now;
			}
			good &= step(t, next, batch * 100 + i, &ahead) == 0;
		}
		if (give_up) {
			btree_abort(t);
		} else {
			tag = (struct btree_tag){ batch, 7 };
			good &= btree_commit(t, &tag) == 0;
			*now = *next;
		}
		btree_facts(t, &facts);
		facts_good &= facts.keys == count(now) && facts.tag.a == tag.a && facts.memory >= facts.bytes;
		good &= batch % 10 || equal(t, NULL, now);
		if (kept[k] && dice(3) == 0) {
			old_good &= equal(t, kept[k], &models[k]);
			btree_release(t, kept[k]);
			kept[k] = NULL;
		}
	}
	ok(good, "800 batches give what the model has, both ways and between bounds");
	ok(old_good, "snapshots do not change, those from the middle of a batch neither");
	ok(facts_good, "keys and tag are counted");
	for (int k = 0; k < KEPT; k++)
		if (kept[k])
			btree_release(t, kept[k]);
	btree_begin(t);
	btree_delete_range(t, cairn_str("\1"), cairn_str(""));
	btree_commit(t, NULL);
	while (btree_reclaim(t, 1000))
		;
	btree_facts(t, &facts);
	is_int(facts.keys, 0, "everything can be deleted");
	is_int(facts.bytes, 0, "and then no bytes are left");
	ok(facts.memory < 1000, "nor memory: %llu", (unsigned long long)facts.memory);
	btree_free(t);
	free(now);
	free(next);
	free(models);
}

static void limits(void)
{
	struct btree *t = btree_new(100000);
	char big[BTREE_KEY_MAX + 1] = "x";
	struct iovec iov = { big, 60000 };
	struct cairn_slice value;
	struct btree_guard guard;

	btree_begin(t);
	btree_put(t, cairn_str("a"), &iov, 1);
	is_int(btree_commit(t, NULL), 0, "60,000 bytes fit into 100,000");
	btree_begin(t);
	btree_put(t, cairn_str("c"), NULL, 0);
	btree_put(t, cairn_str("b"), &iov, 1);
	is_int(btree_commit(t, NULL), -ENOSPC, "120,000 do not");
	btree_read_begin(t, &guard);
	ok(!btree_get(&guard, NULL, cairn_str("c"), &value), "and nothing of that batch is in");
	btree_read_end(t, &guard);
	btree_begin(t);
	btree_put(t, cairn_str("b"), &iov, 1);
	btree_delete(t, cairn_str("a"));
	is_int(btree_commit(t, NULL), 0, "a batch counts as a whole");
	btree_begin(t);
	is_int(btree_put(t, cairn_slice(big, BTREE_KEY_MAX), NULL, 0), 0, "the longest key is taken");
	is_int(btree_put(t, cairn_slice(big, sizeof(big)), NULL, 0), -EMSGSIZE, "a longer one is not");
	btree_abort(t);
	btree_free(t);
}

static void no_memory(void)
{
	struct btree *t = btree_new(0);
	struct model *now = calloc(1, sizeof(*now)), *next = malloc(sizeof(*next));
	bool good = true;
	int failed = 0;

	for (uint32_t batch = 1; batch <= 400; batch++) {
		int r = 0;

		*next = *now;
		btree_begin(t);
		fail_at = batch % 2 ? (long)dice(90) : -1;
		for (uint32_t i = 0; r == 0 && i < 40; i++)
			r = step(t, next, batch * 100 + i, &(struct many){ 0 });
		if (r)
			btree_abort(t);
		else
			r = btree_commit(t, NULL);
		fail_at = -1;
		failed += r == -ENOMEM;
		if (r == 0)
			*now = *next;
		good &= (r == 0 || r == -ENOMEM) && (batch % 5 || equal(t, NULL, now));
	}
	ok(good && failed > 50,
	   "memory that runs out undoes the batch, whichever allocation it was (%d times)", failed);
	btree_free(t);
	free(now);
	free(next);
}

/* Readers beside a writer: a batch writes its number under every key, so all values that one reader sees are
 * equal. */
#define SHARED 400

struct shared {
	struct btree *tree;
	_Atomic bool stop;
	_Atomic int bad;
	_Atomic uint64_t reads;
};

static uint32_t number_in(struct cairn_slice v)
{
	uint32_t n;

	memcpy(&n, (const char *)v.data + v.len - 4, 4);
	return n;
}

static void *read_on(void *arg)
{
	struct shared *s = arg;
	struct cairn_slice key, value;
	unsigned char k[512];

	for (uint32_t round = 0; !atomic_load(&s->stop); round++) {
		uint32_t first = 0, n = 0;

		if (round % 3 == 0) {
			struct btree_iter *it =
				btree_iter_open(s->tree, NULL, cairn_str(""), cairn_str(""), round & 1);

			for (; btree_next(it, &key, &value); n++) {
				first = n ? first : number_in(value);
				if (number_in(value) != first)
					atomic_fetch_add(&s->bad, 1);
			}
			btree_iter_close(it);
			if (n != SHARED && n != SHARED / 2)
				atomic_fetch_add(&s->bad, 1);
		} else {
			struct btree_version *snapshot = round % 3 == 1 ? btree_snapshot(s->tree) : NULL;
			struct btree_guard guard;

			btree_read_begin(s->tree, &guard);
			for (uint32_t i = 0; i < SHARED; i += 2) {
				if (!btree_get(&guard, snapshot, key_of(k, i * 7), &value)) {
					atomic_fetch_add(&s->bad, 1);
					continue;
				}
				first = i ? first : number_in(value);
				if (number_in(value) != first)
					atomic_fetch_add(&s->bad, 1);
			}
			btree_read_end(s->tree, &guard);
			if (snapshot)
				btree_release(s->tree, snapshot);
		}
		atomic_fetch_add(&s->reads, 1);
	}
	return NULL;
}

static void together(void)
{
	struct shared s = { .tree = btree_new(0) };
	unsigned char k[512], bytes[2048];
	struct btree_facts facts;
	pthread_t threads[3];
	struct iovec iov;

	for (uint32_t batch = 0; batch < 1500 || (batch < 100000 && atomic_load(&s.reads) < 300); batch++) {
		btree_begin(s.tree);
		iov = value_of(bytes, batch + 1);
		for (uint32_t i = 0; i < SHARED;
		     i++) /* every other key goes and comes, so that leaves change too */
			if (i % 2 && batch % 3 == 2)
				btree_delete(s.tree, key_of(k, i * 7));
			else
				btree_put(s.tree, key_of(k, i * 7), &iov, 1);
		if (batch % 5 == 4)
			btree_abort(s.tree);
		else
			btree_commit(s.tree, NULL);
		for (int i = 0; batch == 0 && i < 3; i++)
			pthread_create(&threads[i], NULL, read_on, &s);
	}
	atomic_store(&s.stop, true);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	is_int(atomic_load(&s.bad), 0, "three readers beside a writer saw whole batches (%llu rounds)",
	       (unsigned long long)atomic_load(&s.reads));
	btree_begin(s.tree); /* the last one was undone */
	btree_commit(s.tree, NULL);
	while (btree_reclaim(s.tree, 1000))
		;
	btree_facts(s.tree, &facts);
	ok(facts.snapshots == 0 && facts.memory < 2 * facts.bytes,
	   "what they saw is freed: %llu bytes for %llu of entries", (unsigned long long)facts.memory,
	   (unsigned long long)facts.bytes);
	btree_free(s.tree);
}

/* A snapshot that stays must not keep what came and went after it. */
static void old_snapshot(void)
{
	struct btree *t = btree_new(0);
	struct btree_guard many[40];
	struct btree_version *v;
	struct cairn_slice value;
	struct btree_facts facts;
	char big[1000] = "";
	struct iovec iov = { big, sizeof(big) };

	for (int batch = 0; batch < 1000; batch++) {
		btree_begin(t);
		btree_put(t, cairn_str("key"), &iov, 1);
		btree_commit(t, NULL);
		if (batch == 0)
			v = btree_snapshot(t);
	}
	btree_facts(t, &facts);
	ok(facts.memory < 20000, "an old snapshot keeps what it sees and no more: %llu",
	   (unsigned long long)facts.memory);
	btree_release(t, v);
	for (int i = 0; i < 40; i++)
		btree_read_begin(t, &many[i]);
	btree_begin(t);
	btree_delete(t, cairn_str("key"));
	btree_commit(t, NULL);
	ok(btree_get(&many[0], NULL, cairn_str("key"), &value) &&
		   btree_get(&many[39], NULL, cairn_str("key"), &value) && value.len == sizeof(big),
	   "40 guards at once keep what they see");
	for (int i = 0; i < 40; i++)
		btree_read_end(t, &many[i]);
	btree_free(t);
}

int main(void)
{
	against_model();
	limits();
	no_memory();
	old_snapshot();
	together();
	return tap_done();
}
