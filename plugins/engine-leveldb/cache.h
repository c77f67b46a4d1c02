/*
 * Rows of the newest state that are in memory: what LevelDB's C API cannot tell of its own caches. A row is
 * counted, so that it can be lent to a reader while it is replaced.
 */
#ifndef CACHE_H
#define CACHE_H

#include <stdbool.h>
#include <stdint.h>
#include <cairn/slice.h>

/* A value in memory. */
struct row {
	struct row *next;          /* in its bucket; the shard's lock */
	struct row *newer, *older; /* ring of its shard, by insertion; the shard's lock */
	uint64_t hash;
	_Atomic unsigned holders; /* the cache is one */
	bool used;                /* since the hand last came by; the shard's lock */
	bool absent;              /* known: there is no such key */
	char *value;              /* LEN bytes; malloc'ed where not behind the key */
	size_t len;
	size_t key_len;
	char *key; /* behind the struct */
};

struct cache;

/* A cache of about BYTES bytes, 0 for none. NULL where there is no memory. */
struct cache *cache_new(size_t bytes);
void cache_free(struct cache *c);

/* A row held by the caller that owns the malloc'ed VALUE from now on (ABSENT: NULL). NULL where there is no
 * memory: VALUE is freed. */
struct row *row_new(struct cairn_slice key, char *value, size_t len, bool absent);
/* NULL is allowed. */
void row_put(struct row *r);

/* The row of KEY, held for the caller; NULL where it is not here. */
struct row *cache_get(struct cache *c, struct cairn_slice key);

/*
 * A reader that fills the cache asks for the stamp before it reads LevelDB and gives it back with the row:
 * the row is left out where a batch was under way or has gone in since.
 */
uint64_t cache_stamp(struct cache *c);
void cache_fill(struct cache *c, struct row *r, uint64_t stamp);

/*
 * The writer's part, by one thread at a time. From begin to end no reader fills the cache. The keys of the
 * batch are dropped before it goes in, so that every reader sees LevelDB's switch from the old state to the
 * new one; they come back when they are read. Begin says whether there is anything to drop.
 */
bool cache_write_begin(struct cache *c);
void cache_write_drop(struct cache *c, struct cairn_slice key);
void cache_write_end(struct cache *c);

struct cache_counts {
	uint64_t bytes, hits, misses;
};
void cache_counts(struct cache *c, struct cache_counts *counts);

#endif
