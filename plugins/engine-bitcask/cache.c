/*
 * Sixteen shards, each a hash table with a lock and a ring in order of insertion, along which a hand gives
 * rows that were used since its last visit a second chance. A row that is larger than an eighth of a shard is
 * not kept.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include "cache.h"
#include "banned.h"

#define SHARDS 16
#define ROW_BYTES 512 /* of a row, guessed, for the number of buckets */

struct shard {
	_Alignas(64) pthread_mutex_t lock;
	struct row **buckets; /* owned; LOCK, as all below */
	size_t bytes;
	struct row *ring; /* owned; head: newer is the oldest row, older the newest */
	uint64_t hits, misses;
};

struct cache {
	size_t shard_max;    /* bytes; 0: nothing is kept */
	size_t bucket_count; /* of a shard; a power of two */
	struct shard shards[SHARDS];
};

static uint64_t hash_of(uint64_t place)
{
	unsigned __int128 p = (unsigned __int128)(place ^ 0x9e3779b97f4a7c15ull) * 0xe7037ed1a0b428dbull;

	return (uint64_t)p ^ (uint64_t)(p >> 64);
}

static struct shard *shard_of(struct cache *c, uint64_t place, struct row ***bucket)
{
	uint64_t hash = hash_of(place);
	struct shard *s = &c->shards[hash >> 60];

	*bucket = &s->buckets[hash & (c->bucket_count - 1)];
	return s;
}

struct row *row_new(size_t size)
{
	struct row *r = malloc(sizeof(*r) + size);

	if (r) {
		*r = (struct row){ .size = size };
		atomic_init(&r->holders, 1);
	}
	return r;
}

void row_put(struct row *r)
{
	if (r && atomic_fetch_sub_explicit(&r->holders, 1, memory_order_acq_rel) == 1)
		free(r);
}

struct cache *cache_new(size_t bytes)
{
	struct cache *c = aligned_alloc(64, sizeof(*c));

	if (!c)
		return NULL;
	memset(c, 0, sizeof(*c));
	c->shard_max = bytes / SHARDS;
	for (c->bucket_count = 1; c->bucket_count < c->shard_max / ROW_BYTES; c->bucket_count *= 2)
		;
	for (int i = 0; i < SHARDS; i++) {
		struct shard *s = &c->shards[i];

		pthread_mutex_init(&s->lock, NULL);
		s->buckets = calloc(c->bucket_count, sizeof(struct row *));
		s->ring = row_new(0);
		if (s->ring)
			s->ring->newer = s->ring->older = s->ring;
		if (!s->buckets || !s->ring)
			c->shard_max = 0;
	}
	return c;
}

void cache_free(struct cache *c)
{
	for (int i = 0; c && i < SHARDS; i++) {
		struct shard *s = &c->shards[i];

		for (struct row *r = s->ring ? s->ring->newer : NULL, *next; r != s->ring; r = next) {
			next = r->newer;
			row_put(r);
		}
		row_put(s->ring);
		free(s->buckets);
		pthread_mutex_destroy(&s->lock);
	}
	free(c);
}

static void unlink_ring(struct row *r)
{
	r->newer->older = r->older;
	r->older->newer = r->newer;
}

static void link_newest(struct shard *s, struct row *r)
{
	r->newer = s->ring;
	r->older = s->ring->older;
	r->older->newer = r;
	s->ring->older = r;
}

static void drop(struct cache *c, struct shard *s, struct row *r)
{
	struct row **at;

	shard_of(c, r->place, &at);
	while (*at != r)
		at = &(*at)->next;
	*at = r->next;
	unlink_ring(r);
	s->bytes -= sizeof(*r) + r->size;
	row_put(r);
}

/* Make room: the oldest row goes, but one that was used becomes the newest. */
static void evict(struct cache *c, struct shard *s)
{
	while (s->bytes > c->shard_max) {
		struct row *r = s->ring->newer;

		if (!r->used) {
			drop(c, s, r);
			continue;
		}
		r->used = false;
		unlink_ring(r);
		link_newest(s, r);
	}
}

struct row *cache_get(struct cache *c, uint64_t place)
{
	struct row **bucket, *r;
	struct shard *s;

	if (!c->shard_max)
		return NULL;
	s = shard_of(c, place, &bucket);
	pthread_mutex_lock(&s->lock);
	for (r = *bucket; r && r->place != place; r = r->next)
		;
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

void cache_keep(struct cache *c, uint64_t place, struct row *r)
{
	struct row **bucket, *have;
	struct shard *s;

	if (sizeof(*r) + r->size > c->shard_max / 8)
		return;
	s = shard_of(c, place, &bucket);
	pthread_mutex_lock(&s->lock);
	for (have = *bucket; have && have->place != place; have = have->next)
		;
	if (!have) {
		r->place = place;
		r->next = *bucket;
		*bucket = r;
		link_newest(s, r);
		s->bytes += sizeof(*r) + r->size;
		atomic_fetch_add_explicit(&r->holders, 1, memory_order_relaxed);
		evict(c, s);
	}
	pthread_mutex_unlock(&s->lock);
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
