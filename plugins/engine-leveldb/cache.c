/*
 * A cache of rows: sixteen shards, each a hash table with a lock and a ring in order of insertion, along
 * which a hand gives rows that were used since its last visit a second chance.
 *
 * Consistency: a stamp is odd while a batch goes in and grows with each. A reader fills a row only when the
 * stamp is even and the same as before its read of LevelDB; so no value that a batch has replaced comes in
 * late. A row that cannot be made for want of memory is left out: nothing here fails.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/random.h>
#include "cache.h"
#include "banned.h"

#define SHARDS 16
#define BUCKETS_MIN 64

struct shard {
	pthread_mutex_t lock;
	struct row **buckets; /* owned; LOCK, as all below */
	size_t bucket_count;  /* a power of two */
	size_t rows, bytes;
	struct row ring; /* head: newer is the oldest row, older the newest */
	uint64_t hits, misses;
};

struct cache {
	_Atomic size_t rows;    /* in all shards, and those that are about to come in */
	_Atomic uint64_t stamp; /* changed by the writer only, seen under a shard's lock when it matters */
	uint64_t seed;
	size_t shard_max; /* bytes; 0: nothing is kept */
	struct shard shards[SHARDS];
};

static uint64_t mix(uint64_t a, uint64_t b)
{
	unsigned __int128 p = (unsigned __int128)a * b;

	return (uint64_t)p ^ (uint64_t)(p >> 64);
}

static uint64_t hash_key(const struct cache *c, struct cairn_slice key)
{
	const unsigned char *p = key.data;
	uint64_t h = c->seed, v;
	size_t n = key.len;

	for (; n >= 8; n -= 8, p += 8) {
		memcpy(&v, p, 8);
		h = mix(h ^ v, 0x9e3779b97f4a7c15ull);
	}
	v = 0;
	if (n)
		memcpy(&v, p, n);
	return mix(h ^ v, 0xe7037ed1a0b428dbull ^ key.len);
}

static size_t row_bytes(const struct row *r)
{
	return sizeof(*r) + r->key_len + r->len;
}

struct row *row_new(struct cairn_slice key, char *value, size_t len, bool absent)
{
	struct row *r = malloc(sizeof(*r) + key.len);

	if (!r) {
		free(value);
		return NULL;
	}
	*r = (struct row){ .holders = 1,
			   .absent = absent,
			   .value = value,
			   .len = len,
			   .key_len = key.len,
			   .key = (char *)(r + 1) };
	if (key.len)
		memcpy(r->key, key.data, key.len);
	return r;
}

void row_put(struct row *r)
{
	if (!r || atomic_fetch_sub_explicit(&r->holders, 1, memory_order_acq_rel) != 1)
		return;
	if (r->value != r->key + r->key_len)
		free(r->value);
	free(r);
}

struct cache *cache_new(size_t bytes)
{
	struct cache *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->shard_max = bytes / SHARDS;
	if (getrandom(&c->seed, sizeof(c->seed), GRND_NONBLOCK) < 0)
		c->seed = (uint64_t)(uintptr_t)c;
	for (int i = 0; i < SHARDS; i++) {
		struct shard *s = &c->shards[i];

		pthread_mutex_init(&s->lock, NULL);
		s->ring.newer = s->ring.older = &s->ring;
	}
	return c;
}

static struct shard *shard_of(struct cache *c, uint64_t hash)
{
	return &c->shards[hash >> 60];
}

static void unlink_row(struct cache *c, struct shard *s, struct row *r)
{
	struct row **at = &s->buckets[r->hash & (s->bucket_count - 1)];

	while (*at != r)
		at = &(*at)->next;
	*at = r->next;
	r->newer->older = r->older;
	r->older->newer = r->newer;
	s->rows--;
	s->bytes -= row_bytes(r);
	atomic_fetch_sub_explicit(&c->rows, 1, memory_order_relaxed);
	row_put(r);
}

void cache_free(struct cache *c)
{
	if (!c)
		return;
	for (int i = 0; i < SHARDS; i++) {
		struct shard *s = &c->shards[i];

		while (s->rows)
			unlink_row(c, s, s->ring.newer);
		free(s->buckets);
		pthread_mutex_destroy(&s->lock);
	}
	free(c);
}

static struct row *lookup(const struct shard *s, uint64_t hash, struct cairn_slice key)
{
	struct row *r = s->rows ? s->buckets[hash & (s->bucket_count - 1)] : NULL;

	while (r && (r->hash != hash || !cairn_slice_eq(cairn_slice(r->key, r->key_len), key)))
		r = r->next;
	return r;
}

struct row *cache_get(struct cache *c, struct cairn_slice key)
{
	uint64_t hash = hash_key(c, key);
	struct shard *s = shard_of(c, hash);
	struct row *r;

	if (!c->shard_max)
		return NULL;
	pthread_mutex_lock(&s->lock);
	r = lookup(s, hash, key);
	if (r) {
		r->used = true;
		atomic_fetch_add_explicit(&r->holders, 1, memory_order_relaxed);
		s->hits++;
	} else {
		s->misses++;
	}
	pthread_mutex_unlock(&s->lock);
	return r;
}

/* Double the table of S. Without memory it stays as it is. */
static void grow(struct shard *s)
{
	size_t count = s->bucket_count ? 2 * s->bucket_count : BUCKETS_MIN;
	struct row **buckets = calloc(count, sizeof(*buckets));

	if (!buckets)
		return;
	for (struct row *r = s->ring.newer; r != &s->ring; r = r->newer) {
		struct row **at = &buckets[r->hash & (count - 1)];

		r->next = *at;
		*at = r;
	}
	free(s->buckets);
	s->buckets = buckets;
	s->bucket_count = count;
}

/* Give up rows until S is within MAX bytes. */
static void shrink(struct cache *c, struct shard *s, size_t max)
{
	while (s->bytes > max) {
		struct row *r = s->ring.newer;

		if (!r->used) {
			unlink_row(c, s, r);
			continue;
		}
		r->used = false; /* a second chance: to the newest end */
		r->newer->older = r->older;
		r->older->newer = r->newer;
		r->older = s->ring.older;
		r->newer = &s->ring;
		r->older->newer = r;
		s->ring.older = r;
	}
}

/* Put R (one more holder: the cache) in its shard S, which is locked and has no row with its key. */
static bool insert(struct cache *c, struct shard *s, struct row *r)
{
	if (s->rows >= s->bucket_count)
		grow(s);
	if (!s->bucket_count)
		return false;
	atomic_fetch_add_explicit(&r->holders, 1, memory_order_relaxed);
	r->next = s->buckets[r->hash & (s->bucket_count - 1)];
	s->buckets[r->hash & (s->bucket_count - 1)] = r;
	r->older = s->ring.older;
	r->newer = &s->ring;
	r->older->newer = r;
	s->ring.older = r;
	s->rows++;
	s->bytes += row_bytes(r);
	shrink(c, s, c->shard_max);
	return true;
}

/* Rows larger than an eighth of a shard would push out too much else; chunks of large values are left out. */
static bool fits(const struct cache *c, size_t key_len, size_t len)
{
	return len <= c->shard_max / 8 && key_len <= c->shard_max / 8;
}

uint64_t cache_stamp(struct cache *c)
{
	return atomic_load_explicit(&c->stamp, memory_order_seq_cst);
}

void cache_fill(struct cache *c, struct row *r, uint64_t stamp)
{
	struct shard *s;
	bool in;

	if (!fits(c, r->key_len, r->len) || (stamp & 1))
		return;
	r->hash = hash_key(c, cairn_slice(r->key, r->key_len));
	s = shard_of(c, r->hash);
	/* Counted before the stamp is looked at: a writer that finds no rows has changed the stamp before. */
	atomic_fetch_add_explicit(&c->rows, 1, memory_order_seq_cst);
	pthread_mutex_lock(&s->lock);
	in = cache_stamp(c) == stamp && !lookup(s, r->hash, cairn_slice(r->key, r->key_len)) &&
		insert(c, s, r);
	pthread_mutex_unlock(&s->lock);
	if (!in)
		atomic_fetch_sub_explicit(&c->rows, 1, memory_order_relaxed);
}

bool cache_write_begin(struct cache *c)
{
	atomic_fetch_add_explicit(&c->stamp, 1, memory_order_seq_cst);
	return atomic_load_explicit(&c->rows, memory_order_seq_cst) > 0;
}

void cache_write_drop(struct cache *c, struct cairn_slice key)
{
	uint64_t hash = hash_key(c, key);
	struct shard *s = shard_of(c, hash);
	struct row *r;

	if (!c->shard_max)
		return;
	pthread_mutex_lock(&s->lock);
	r = lookup(s, hash, key);
	if (r)
		unlink_row(c, s, r);
	pthread_mutex_unlock(&s->lock);
}

void cache_write_end(struct cache *c)
{
	atomic_fetch_add_explicit(&c->stamp, 1, memory_order_seq_cst);
}

void cache_counts(struct cache *c, struct cache_counts *counts)
{
	*counts = (struct cache_counts){ 0 };
	for (int i = 0; i < SHARDS; i++) {
		struct shard *s = &c->shards[i];

		pthread_mutex_lock(&s->lock);
		counts->bytes += s->bytes;
		counts->hits += s->hits;
		counts->misses += s->misses;
		pthread_mutex_unlock(&s->lock);
	}
}
