/*
 * An ordered map of bytes to bytes in memory, with versions: one writer, any number of readers that never
 * wait for it, and snapshots that cost the same whatever the map holds.
 *
 * The writer works in batches. A batch becomes visible as a whole by publishing a version; readers work on
 * the version that was published when they began. Memory that a batch replaced is freed as soon as no reader
 * and no snapshot can see it. btree.c explains how.
 */
#ifndef BTREE_H
#define BTREE_H

#include <stdint.h>
#include <sys/uio.h>
#include <cairn/slice.h>

#define BTREE_KEY_MAX 65535               /* longest key in bytes */
#define BTREE_VALUE_MAX ((size_t)1 << 30) /* longest value in bytes */

struct btree;
struct btree_version; /* one state of the map */

/* Two numbers of the caller that belong to a version. */
struct btree_tag {
	uint64_t a, b;
};

/* An empty map. LIMIT is the most bytes of entries (btree_facts), 0 for none. NULL when there is no memory.
 */
struct btree *btree_new(uint64_t limit);
/* Free everything. No guard, snapshot, iterator or batch is open. */
void btree_free(struct btree *t);

/* From here to btree_read_end, what btree_get lends stays valid. Belongs to one thread. */
struct btree_guard {
	struct btree_version *version; /* what a get without a snapshot reads */
	void *slot;                    /* the tree's */
};
void btree_read_begin(struct btree *t, struct btree_guard *guard);
void btree_read_end(struct btree *t, struct btree_guard *guard);
/* Lend the value of KEY in SNAPSHOT (NULL: as of btree_read_begin) until the guard ends. Whether it is there.
 */
bool btree_get(struct btree_guard *guard, struct btree_version *snapshot, struct cairn_slice key,
	       struct cairn_slice *value);

/*
 * Get COUNT keys, and wait for memory once and not for each; data of a value is NULL where there is none.
 * WRITER is the tree where the caller is its writer and puts these keys, in the same memory, in the next
 * batch: it then need not search again; else NULL.
 */
void btree_get_many(const struct btree_guard *guard, const struct cairn_slice *keys, size_t count,
		    struct cairn_slice *values, struct btree *writer);

/*
 * A batch: begin, any steps, commit. The writer's thread only. A step returns 0 or -errno (-ENOMEM, -EMSGSIZE
 * for a key or value over its limit) and after a failure the batch can only be aborted. VALUE is COUNT
 * pieces, copied.
 */
void btree_begin(struct btree *t);
int btree_put(struct btree *t, struct cairn_slice key, const struct iovec *value, int count);
int btree_delete(struct btree *t, struct cairn_slice key);
/* Delete the keys K with from <= K < to; an empty TO means no end. */
int btree_delete_range(struct btree *t, struct cairn_slice from, struct cairn_slice to);
/*
 * Find KEY once and let DECIDE say what becomes of it: given whether it is there and its value (valid during
 * the call), it sets the pieces of the new value and returns their number, or 0 to leave the key as it is, or
 * -1 to delete it.
 */
typedef int btree_decide_fn(void *arg, bool found, struct cairn_slice old, const struct iovec **value);
int btree_update(struct btree *t, struct cairn_slice key, btree_decide_fn *decide, void *arg);
/*
 * Make the batch visible, as a version tagged TAG (NULL: as the last one). -ENOSPC, and the batch is aborted,
 * where it grew the map beyond its limit.
 */
int btree_commit(struct btree *t, const struct btree_tag *tag);
/* Undo the batch. */
void btree_abort(struct btree *t);

/* The state now, until btree_release. NULL when there is no memory. From any thread. */
struct btree_version *btree_snapshot(struct btree *t);
void btree_release(struct btree *t, struct btree_version *snapshot);

/*
 * Walk the keys K with from <= K < to (an empty TO means no end), last one first with REVERSE, over SNAPSHOT
 * or, where it is NULL, the state now. btree_next lends an entry until btree_iter_close and returns false at
 * the end.
 */
struct btree_iter;
struct btree_iter *btree_iter_open(struct btree *t, struct btree_version *snapshot, struct cairn_slice from,
				   struct cairn_slice to, bool reverse);
bool btree_next(struct btree_iter *it, struct cairn_slice *key, struct cairn_slice *value);
void btree_iter_close(struct btree_iter *it);

/*
 * Look at most at LIMIT pieces of memory that were replaced and free those that nobody sees any more; batches
 * do so by themselves for about what they replace. Whether there is more to look at. The writer's thread,
 * outside of a batch.
 */
bool btree_reclaim(struct btree *t, size_t limit);

struct btree_facts {
	struct btree_tag tag; /* of the version now */
	uint64_t keys;        /* in the version now */
	uint64_t bytes;       /* its entries: keys, values and what each entry costs beside them */
	uint64_t memory;      /* everything allocated: also the nodes, and what only older readers see */
	uint64_t snapshots;   /* versions held by snapshots and iterators */
};
void btree_facts(struct btree *t, struct btree_facts *facts);

#endif
