/*
 * A node of the key directory's tree: some keys in order, packed into one piece of memory of just their size,
 * each with a value of fixed length. What all keys of a node begin with is stored once. Nodes are not changed
 * by putting keys in or out; a new one is made.
 */
#ifndef KEYNODE_H
#define KEYNODE_H

#include <cairn/slice.h>
#include "versions.h"

#define KEYNODE_BYTES 1024    /* a node beyond this is cut in two; no larger than the slab's largest */
#define KEYNODE_CELLS 110     /* more than fit into that */
#define KEYNODE_KEY_MAX 8192  /* longest key: ends of keys are stored in 16 bits */
#define KEYNODE_LEAF_VALUE 10 /* offset (4), length (4), file (2), in the machine's order */
#define KEYNODE_INNER_VALUE 8 /* a pointer */

/* One entry while a node is taken apart: its key is A and B joined. */
struct cell {
	struct cairn_slice a, b;
	const void *value;
};

static inline size_t keynode_value_size(const struct object *n)
{
	return n->kind == VERSIONS_LEAF ? KEYNODE_LEAF_VALUE : KEYNODE_INNER_VALUE;
}

/* The value of the entry AT. */
static inline void *keynode_value(const struct object *n, unsigned at)
{
	return (char *)(n + 1) + at * keynode_value_size(n);
}

static inline struct object *keynode_child(const struct object *n, unsigned at)
{
	struct object *child;

	memcpy(&child, keynode_value(n, at), sizeof(child));
	return child;
}

/* What all keys begin with; an inner node's first entry has no key and does not count. */
struct cairn_slice keynode_prefix(const struct object *n);
/* The rest of the key of the entry AT. */
struct cairn_slice keynode_rest(const struct object *n, unsigned at);
/* How many keys of a leaf are below KEY; *SAME says whether the next one is KEY. */
unsigned keynode_place(const struct object *leaf, struct cairn_slice key, bool *same);
/* The child of an inner node that KEY belongs to. */
unsigned keynode_way(const struct object *inner, struct cairn_slice key);

/* Take N apart into CELLS, which point into it. How many there are. */
unsigned keynode_open(const struct object *n, struct cell *cells);
/* Bytes of a node of COUNT cells. */
size_t keynode_size(enum versions_kind kind, const struct cell *cells, unsigned count);
/* A new node of COUNT cells. NULL when there is no memory. */
struct object *keynode_make(struct versions *v, enum versions_kind kind, const struct cell *cells,
			    unsigned count);
/* Whether KEY, which is new, fits into LEAF as it is: the others begin as it does, and there is room. */
bool keynode_takes(const struct object *leaf, struct cairn_slice key);
/* A new leaf that has KEY with VALUE, too, as the entry AT, where keynode_takes() it. NULL when there is no
 * memory. */
struct object *keynode_insert(struct versions *v, const struct object *leaf, unsigned at,
			      struct cairn_slice key, const void *value);

#endif
