/*
 * Entries in memory, by where they lie on disk. What lies at a place never changes and no place is used
 * twice, so nothing here can be out of date. An entry is counted: it is lent to readers while the cache lets
 * it go.
 */
#ifndef CACHE_H
#define CACHE_H

#include <stdbool.h>
#include <stdint.h>
#include <cairn/slice.h>

/* An entry in memory. */
struct row {
	struct row *next;          /* in its bucket; the shard's lock, as all but HOLDERS until VALUE */
	struct row *newer, *older; /* ring of its shard, by insertion */
	uint64_t place;            /* id of the file and offset */
	_Atomic unsigned holders;  /* the cache is one */
	bool used;                 /* since the hand last came by */
	struct cairn_slice value;  /* points into BYTES */
	size_t size;               /* of BYTES */
	unsigned char bytes[];
};

struct cache;

/* A cache of about BYTES bytes, 0 for none. NULL where there is no memory. */
struct cache *cache_new(size_t bytes);
void cache_free(struct cache *c);

/* A row of SIZE bytes, held by the caller. NULL where there is no memory. */
struct row *row_new(size_t size);
/* NULL is allowed. */
void row_put(struct row *r);

/* The row of PLACE, held for the caller; NULL where it is not here. */
struct row *cache_get(struct cache *c, uint64_t place);
/* Let the cache hold R as the row of PLACE, too, if it likes. */
void cache_keep(struct cache *c, uint64_t place, struct row *r);

struct cache_counts {
	uint64_t bytes, hits, misses;
};
void cache_counts(struct cache *c, struct cache_counts *counts);

#endif
