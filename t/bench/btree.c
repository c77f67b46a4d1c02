/*
 * Speed of core/base/btree.c, in CPU time of one core: random overwrites in batches of 256 and random gets
 * over 100,000 keys with 256-byte values, then the same with a snapshot taken before every batch, ascending
 * inserts, and a full walk.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "btree.h"

#define KEYS 100000
#define OPERATIONS 1500000
#define BATCH 256

/* CPU time: what others do on this machine meanwhile counts as little as it can. */
static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t next(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* "Lkey:" and 12 digits. Quick, so that it is the tree that is measured; a request's key lies in the cache
 * too. */
static struct cairn_slice key_of(char text[32], uint64_t i)
{
	memcpy(text, "Lkey:", 5);
	for (int k = 16; k >= 5; k--, i /= 10)
		text[k] = (char)('0' + i % 10);
	return cairn_slice(text, 17);
}

static void report(const char *what, uint64_t start, size_t count)
{
	double s = (double)(cpu_ns() - start) / 1e9;

	printf("%-40s %8.2f M/s\n", what, (double)count / s / 1e6);
}

static void puts_(struct btree *t, const char *what, bool snapshots)
{
	char value[256] = "v", text[32];
	struct iovec iov = { value, sizeof(value) };
	uint64_t seed = 88172645463325252u, start = cpu_ns();

	for (size_t done = 0; done < OPERATIONS; done += BATCH) {
		struct btree_version *v = snapshots ? btree_snapshot(t) : NULL;

		btree_begin(t);
		for (size_t i = 0; i < BATCH; i++)
			btree_put(t, key_of(text, next(&seed) % KEYS), &iov, 1);
		btree_commit(t, NULL);
		if (v)
			btree_release(t, v);
	}
	report(what, start, OPERATIONS);
}

static void gets(struct btree *t)
{
	uint64_t seed = 99172645463325252u, start = cpu_ns();
	size_t found = 0;
	char text[32];

	for (size_t done = 0; done < OPERATIONS; done += BATCH) {
		struct btree_guard guard;
		struct cairn_slice value;

		btree_read_begin(t, &guard);
		for (size_t i = 0; i < BATCH; i++)
			found += btree_get(&guard, NULL, key_of(text, next(&seed) % KEYS), &value) &&
				*(const char *)value.data;
		btree_read_end(t, &guard);
	}
	report("random gets", start, found);
}

int main(void)
{
	char value[256] = "v", text[32];
	struct iovec iov = { value, sizeof(value) };
	struct btree *t = btree_new(0);
	struct cairn_slice key, got;
	struct btree_facts facts;
	struct btree_iter *it;
	uint64_t start, seed = 7;
	size_t n = 0;

	start = cpu_ns();
	for (size_t i = 0; i < KEYS; i++) {
		if (i % BATCH == 0)
			btree_begin(t);
		btree_put(t, key_of(text, i * 7919 % KEYS), &iov, 1);
		if (i % BATCH == BATCH - 1 || i == KEYS - 1)
			btree_commit(t, NULL);
	}
	report("random inserts, batches of 256", start, KEYS);
	for (int round = 0; round < 2; round++) {
		puts_(t, "random puts, batches of 256", false);
		puts_(t, "the same, a snapshot before each batch", true);
		gets(t);
	}
	start = cpu_ns();
	for (size_t i = 0; i < OPERATIONS / 4; i++) {
		btree_begin(t);
		btree_put(t, key_of(text, next(&seed) % KEYS), &iov, 1);
		btree_commit(t, NULL);
	}
	report("random puts, batches of 1", start, OPERATIONS / 4);
	start = cpu_ns();
	it = btree_iter_open(t, NULL, cairn_str(""), cairn_str(""), false);
	while (btree_next(it, &key, &got))
		n += *(const char *)got.data != 0;
	btree_iter_close(it);
	report("walk", start, n);
	start = cpu_ns();
	for (size_t i = 0; i < KEYS * 5; i++) {
		if (i % BATCH == 0)
			btree_begin(t);
		btree_put(t, key_of(text, KEYS + i), &iov, 1);
		if (i % BATCH == BATCH - 1 || i == KEYS * 5 - 1)
			btree_commit(t, NULL);
	}
	report("ascending inserts, batches of 256", start, KEYS * 5);
	btree_facts(t, &facts);
	printf("%llu keys, %llu bytes of entries, %llu allocated\n", (unsigned long long)facts.keys,
	       (unsigned long long)facts.bytes, (unsigned long long)facts.memory);
	btree_free(t);
	return 0;
}
