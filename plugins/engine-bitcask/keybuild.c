/*
 * One unfinished node for each level of the tree. A node that has become full is made and goes into the
 * unfinished one above it, under the shortest key that tells it from its neighbour; the end makes what is
 * unfinished.
 */
#include <errno.h>
#include <stdlib.h>
#include "keybuild.h"
#include "keynode.h"
#include "banned.h"

#define LEVELS 24

struct level {
	unsigned count;
	size_t key_bytes; /* of all its keys */
	struct cell cells[KEYNODE_CELLS];
	union {
		unsigned char place[KEYNODE_LEAF_VALUE];
		struct object *child;
	} values[KEYNODE_CELLS];
};

struct keybuild {
	struct keydir *k;
	struct cairn_slice last; /* key of the leaf that was made last */
	struct level levels[LEVELS];
};

static enum versions_kind kind_of(unsigned level)
{
	return level ? VERSIONS_INNER : VERSIONS_LEAF;
}

static size_t common(struct cairn_slice a, struct cairn_slice b)
{
	const unsigned char *p = a.data, *q = b.data;
	size_t n = a.len < b.len ? a.len : b.len, i = 0;

	while (i < n && p[i] == q[i])
		i++;
	return i;
}

/* Whether KEY still fits into the unfinished node. */
static bool fits(const struct level *l, unsigned level, struct cairn_slice key)
{
	size_t value = level ? KEYNODE_INNER_VALUE : KEYNODE_LEAF_VALUE, first = level ? 1 : 0, skip;

	if (l->count <= 1 + first)
		return true;
	skip = common(l->cells[first].a, key);
	return l->count + 1 < KEYNODE_CELLS &&
		sizeof(struct object) + (l->count + 1) * (value + 2) + l->key_bytes + key.len -
			(l->count - first) * skip <=
		KEYNODE_BYTES;
}

static int flush(struct keybuild *b, unsigned level);

/* Where the value of a new entry of LEVEL goes; NULL when there is no memory. */
static void *append(struct keybuild *b, unsigned level, struct cairn_slice key)
{
	struct level *l = &b->levels[level];
	struct cell *c;

	if (!fits(l, level, key) && flush(b, level))
		return NULL;
	c = &l->cells[l->count];
	*c = (struct cell){ key, cairn_slice(key.data, 0), &l->values[l->count] };
	l->key_bytes += l->count || !level ? key.len : 0;
	return &l->values[l->count++];
}

/* Make the unfinished node of LEVEL and put it into the one above. */
static int flush(struct keybuild *b, unsigned level)
{
	struct level *l = &b->levels[level];
	struct object *n = keynode_make(&b->k->versions, kind_of(level), l->cells, l->count);
	struct cairn_slice key = l->cells[0].a;
	struct object **up;

	if (!n || level + 1 == LEVELS)
		return -ENOMEM;
	if (level == 0) {
		if (b->last.data)
			key.len = common(b->last, key) + 1;
		b->last = l->cells[l->count - 1].a;
	}
	l->count = 0;
	l->key_bytes = 0;
	up = append(b, level + 1, key);
	if (!up) {
		keydir_free_below(b->k, n);
		return -ENOMEM;
	}
	*up = n;
	return 0;
}

struct keybuild *keybuild_new(struct keydir *k)
{
	struct keybuild *b = calloc(1, sizeof(*b));

	if (b)
		b->k = k;
	return b;
}

int keybuild_add(struct keybuild *b, struct cairn_slice key, struct keydir_place place)
{
	void *value = append(b, 0, key);

	if (!value)
		return -ENOMEM;
	keydir_place_put(value, place);
	b->k->keys++;
	b->k->live += place.length;
	return 0;
}

/* Make the nodes that are unfinished, from below. */
static int finish(struct keybuild *b)
{
	for (unsigned level = 0;; level++) {
		struct level *l = &b->levels[level];

		if (level + 1 < LEVELS && b->levels[level + 1].count) {
			if (l->count && flush(b, level))
				return -ENOMEM;
			continue;
		}
		if (l->count == 0)
			return 0; /* no keys at all */
		if (level && l->count == 1)
			b->k->root = l->values[0].child;
		else
			b->k->root = keynode_make(&b->k->versions, kind_of(level), l->cells, l->count);
		if (!b->k->root)
			return -ENOMEM;
		l->count = 0;
		return 0;
	}
}

int keybuild_end(struct keybuild *b, bool good)
{
	int r = good ? finish(b) : 0;

	for (unsigned level = 1; level < LEVELS; level++)
		for (unsigned i = 0; i < b->levels[level].count; i++)
			keydir_free_below(b->k, b->levels[level].values[i].child);
	free(b);
	return r;
}
