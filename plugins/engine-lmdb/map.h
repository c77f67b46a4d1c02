/*
 * The rows of one state, read in LMDB's map: lookups and walks that believe nothing and, where asked to, wait
 * for no disk. Used under the transaction of a reader.
 */
#ifndef LMDB_MAP_H
#define LMDB_MAP_H

#include "handle.h"

#define LMDB_DEPTH_MAX 32

/* Where a page does not hold together, and why. */
struct damage {
	uint64_t offset;
	const char *why; /* NULL: nowhere */
};

/* One look at a state. */
struct look {
	struct handle *h;
	const struct reader *r;
	const unsigned char *map; /* of the reader, as the next two */
	uint64_t pages;
	unsigned page;   /* bytes */
	uint32_t second; /* the time, where it does not wait */
	bool wait;       /* for a disk */
	struct damage damage;
};

/* A place in the tree: a page for each level, and a node in it. */
struct cursor {
	struct look look;
	unsigned depth;
	const unsigned char *leaf; /* the last page of PATH, and how many nodes it has */
	unsigned count;
	struct {
		uint64_t page;
		unsigned node;
	} path[LMDB_DEPTH_MAX];
};

struct look look_begin(struct handle *h, const struct reader *r, bool wait);
/* Keep what damage L met as the handle's notice. Returns E. */
int look_end(const struct look *l, int e);

/* The value of KEY: 0, -ENOENT, -EUCLEAN, -EAGAIN where it would have to wait. */
int map_get(struct look *l, struct cairn_slice key, struct cairn_slice *value);

/* To the first row that is not below KEY (with BEFORE: to the last that is below it; an empty KEY then is the
 * end), and that row. 0, -ENOENT, -EUCLEAN. */
int cursor_seek(struct cursor *c, struct cairn_slice bound, bool before, struct cairn_slice *key,
		struct cairn_slice *value);
/* The next row, or the one before. */
int cursor_step(struct cursor *c, bool back, struct cairn_slice *key, struct cairn_slice *value);

#endif
