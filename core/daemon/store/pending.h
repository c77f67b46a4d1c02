/*
 * Pending rows: what the commands of one batch have written so far, in memory, over the engine. One thread
 * uses it. All memory lasts until pending_reset.
 */
#ifndef PENDING_H
#define PENDING_H

#include <stdint.h>
#include <cairn/slice.h>

struct arena_block;

/* Memory that is given back all at once. Zeroed is empty. */
struct arena {
	struct arena_block *blocks; /* the one in use first */
};

/* N bytes, aligned to 8, or NULL where there is no memory. */
void *arena_alloc(struct arena *a, size_t n);
/* Forget everything; keeps one block for the next round. */
void arena_reset(struct arena *a);
void arena_free(struct arena *a);

enum pending_state {
	PENDING_NONE, /* undone: the engine's row counts */
	PENDING_PUT,
	PENDING_DELETE,
};

struct pending_row {
	struct cairn_slice key, body; /* both live as long as the batch; body without checksum */
	uint64_t hash;                /* of key */
	enum pending_state state;
};

struct pending_undo {
	struct cairn_slice body;
	size_t row;
	enum pending_state state;
};

struct pending {
	struct pending_row *rows;
	size_t count, cap;
	uint32_t *table; /* row number + 1 by hash; 0 is free */
	size_t slots;    /* a power of two, more than twice cap */
	struct pending_undo *undo;
	size_t undo_count, undo_cap;
	struct arena arena;
};

void pending_free(struct pending *p);
/* Forget all rows. */
void pending_reset(struct pending *p);
/* The row of KEY with its hash_bytes HASH, or NULL where nothing was ever pending for it. */
struct pending_row *pending_find(const struct pending *p, struct cairn_slice key, uint64_t hash);
/*
 * Put (STATE is PUT, with BODY) or delete KEY. KEY and BODY are not copied: both stay valid until
 * pending_reset. 0 or -ENOMEM.
 */
int pending_set(struct pending *p, struct cairn_slice key, uint64_t hash, enum pending_state state,
		struct cairn_slice body);
/* A point to come back to, and coming back to it. */
size_t pending_mark(const struct pending *p);
void pending_undo(struct pending *p, size_t mark);
/* Forget how to go back: what is pending stays. */
void pending_keep(struct pending *p);

#endif
