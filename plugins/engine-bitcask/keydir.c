/*
 * A B+tree of packed nodes (keynode.h). A step goes down to the leaf, makes a new one, and hangs it into
 * the parent: in place where the batch made the parent, else into a copy, and so on up to the root. What was
 * there before is retired and stays whole for those who read it. A leaf that is cut in two, and one that
 * becomes empty, change the parent's entries in the same way.
 *
 * Nodes have just the size that their keys need, so a leaf that lost many keys costs little; only empty ones
 * are taken out.
 */
#include <errno.h>
#include <stdlib.h>
#include "keydir.h"
#include "keynode.h"
#include "banned.h"

#define DEPTH_MAX 24

/* The way from the root to a leaf, which is the last one. */
struct path {
	struct object *nodes[DEPTH_MAX];
	unsigned at[DEPTH_MAX]; /* child taken */
	unsigned depth;         /* nodes above the leaf */
};

void keydir_place_put(void *value, struct keydir_place p)
{
	memcpy(value, &p.offset, 4);
	memcpy((char *)value + 4, &p.length, 4);
	memcpy((char *)value + 8, &p.file, 2);
}

static struct keydir_place place_get(const void *value)
{
	struct keydir_place p;

	memcpy(&p.offset, value, 4);
	memcpy(&p.length, (const char *)value + 4, 4);
	memcpy(&p.file, (const char *)value + 8, 2);
	return p;
}

/* Ask for all of a node at once: a search in it would wait for one line after the other. */
static void prefetch(const struct object *n)
{
	for (size_t i = 0; i < KEYNODE_BYTES; i += 64)
		__builtin_prefetch((const char *)n + i);
}

static bool find(const struct object *n, struct cairn_slice key, struct keydir_place *place)
{
	unsigned at;
	bool same;

	if (!n)
		return false;
	while (n->kind == VERSIONS_INNER) {
		n = keynode_child(n, keynode_way(n, key));
		prefetch(n);
	}
	at = keynode_place(n, key, &same);
	if (same)
		*place = place_get(keynode_value(n, at));
	return same;
}

bool keydir_find(const struct version *version, struct cairn_slice key, struct keydir_place *place)
{
	return find(version->root, key, place);
}

bool keydir_look(const struct keydir *k, struct cairn_slice key, struct keydir_place *place)
{
	return find(k->root, key, place);
}

static void descend(struct object *n, struct cairn_slice key, struct path *path)
{
	path->depth = 0;
	while (n->kind == VERSIONS_INNER) {
		unsigned at = keynode_way(n, key);

		path->nodes[path->depth] = n;
		path->at[path->depth++] = at;
		n = keynode_child(n, at);
		prefetch(n);
	}
	path->nodes[path->depth] = n;
}

/* A copy of N that is the batch's. */
static struct object *copy_node(struct keydir *k, const struct object *n)
{
	struct object *copy = versions_take(&k->versions, n->kind, n->size);

	if (!copy)
		return NULL;
	copy->count = n->count;
	copy->skip = n->skip;
	memcpy(copy + 1, n + 1, n->size - sizeof(*n));
	return copy;
}

/* N takes the place of the node at LEVEL of PATH, which is retired. 0 or -ENOMEM; N is not freed then. */
static int hang(struct keydir *k, struct path *path, unsigned level, struct object *n)
{
	struct object *old = path->nodes[level], *parent;
	int r = 0;

	if (level == 0) {
		k->root = n;
	} else {
		parent = path->nodes[level - 1];
		if (parent->birth != k->versions.now) {
			parent = copy_node(k, parent);
			r = parent ? hang(k, path, level - 1, parent) : -ENOMEM;
			if (r && parent)
				versions_retire(&k->versions, parent);
		}
		if (r == 0)
			memcpy(keynode_value(parent, path->at[level - 1]), &n, sizeof(n));
	}
	if (r)
		return r;
	path->nodes[level] = n;
	versions_retire(&k->versions, old);
	return 0;
}

/* Where to cut COUNT cells of KIND so that both halves are about as large; an addition at the end (AT) stays
 * alone, for ascending keys. */
static unsigned cut(enum versions_kind kind, const struct cell *cells, unsigned count, unsigned at)
{
	unsigned least = kind == VERSIONS_INNER ? 2 : 1;
	size_t all = 0, sum = 0;

	if (at == count - 1)
		return count - least;
	for (unsigned i = 0; i < count; i++)
		all += cells[i].b.len + 12;
	for (unsigned i = 0; i < count; i++) {
		sum += cells[i].b.len + 12;
		if (2 * sum >= all)
			return i < least ? least : i > count - least ? count - least : i;
	}
	return count / 2;
}

static int grow(struct keydir *k, struct path *path, unsigned level, struct cell *cells, unsigned count,
		unsigned at);

/* The shortest key that is above A's and not above B's, as a cell. */
static struct cell separator(const struct cell *a, const struct cell *b, unsigned char *room)
{
	unsigned char other[KEYNODE_KEY_MAX];
	size_t n = 0, alen = a->a.len + a->b.len, blen = b->a.len + b->b.len;

	memcpy(other, a->a.data, a->a.len);
	memcpy(other + a->a.len, a->b.data, a->b.len);
	memcpy(room, b->a.data, b->a.len);
	memcpy(room + b->a.len, b->b.data, b->b.len);
	while (n < alen && n < blen && other[n] == room[n])
		n++;
	return (struct cell){ cairn_slice(room, n + 1), cairn_slice(room, 0), NULL };
}

/* The node at LEVEL of PATH becomes LEFT and RIGHT, whose least key is BETWEEN's. */
static int divide(struct keydir *k, struct path *path, unsigned level, struct object *left,
		  struct object *right, struct cell between)
{
	struct cell cells[KEYNODE_CELLS + 1];
	struct object *parent, *old = path->nodes[level];
	unsigned n, at;
	int r;

	between.value = &right;
	if (level == 0) { /* a new root */
		cells[0] = (struct cell){ .value = &left };
		cells[1] = between;
		parent = keynode_make(&k->versions, VERSIONS_INNER, cells, 2);
		if (!parent)
			return -ENOMEM;
		k->root = parent;
		versions_retire(&k->versions, old);
		return 0;
	}
	parent = path->nodes[level - 1];
	at = path->at[level - 1];
	n = keynode_open(parent, cells);
	cells[at].value = &left;
	memmove(cells + at + 2, cells + at + 1, (n - at - 1) * sizeof(*cells));
	cells[at + 1] = between;
	r = grow(k, path, level - 1, cells, n + 1, at + 1);
	if (r == 0)
		versions_retire(&k->versions, old);
	return r;
}

/* The node at LEVEL of PATH becomes one with the COUNT CELLS, of which AT is new, or two. 0 or -ENOMEM. */
static int grow(struct keydir *k, struct path *path, unsigned level, struct cell *cells, unsigned count,
		unsigned at)
{
	enum versions_kind kind = path->nodes[level]->kind;
	unsigned char room[KEYNODE_KEY_MAX];
	struct object *left, *right;
	struct cell between;
	unsigned keep = count;
	int r;

	if (count > (kind == VERSIONS_INNER ? 3 : 1) &&
	    (keynode_size(kind, cells, count) > KEYNODE_BYTES || count >= KEYNODE_CELLS))
		keep = cut(kind, cells, count, at);
	left = keynode_make(&k->versions, kind, cells, keep);
	if (!left)
		return -ENOMEM;
	if (keep == count) {
		r = hang(k, path, level, left);
	} else {
		between =
			kind == VERSIONS_LEAF ? separator(&cells[keep - 1], &cells[keep], room) : cells[keep];
		right = keynode_make(&k->versions, kind, cells + keep, count - keep);
		r = right ? divide(k, path, level, left, right, between) : -ENOMEM;
		if (r && right)
			versions_retire(&k->versions, right);
	}
	if (r)
		versions_retire(&k->versions, left);
	return r;
}

static int first_key(struct keydir *k, struct cairn_slice key, const void *value)
{
	struct cell only = { key, cairn_slice(key.data, 0), value };

	k->root = keynode_make(&k->versions, VERSIONS_LEAF, &only, 1);
	return k->root ? 0 : -ENOMEM;
}

/* Another value for the entry AT of the leaf of PATH. */
static int replace(struct keydir *k, struct path *path, unsigned at, struct keydir_place place)
{
	struct object *leaf = path->nodes[path->depth];
	int r = 0;

	if (leaf->birth != k->versions.now) {
		leaf = copy_node(k, leaf);
		r = leaf ? hang(k, path, path->depth, leaf) : -ENOMEM;
		if (r && leaf)
			versions_retire(&k->versions, leaf);
	}
	if (r == 0)
		keydir_place_put(keynode_value(leaf, at), place);
	return r;
}

/* The new KEY becomes the entry AT of the leaf of PATH. 0 or -ENOMEM. */
static int insert(struct keydir *k, struct cairn_slice key, struct path *path, unsigned at, const void *value)
{
	struct cell cells[KEYNODE_CELLS + 1];
	struct object *leaf = path->nodes[path->depth], *made;
	unsigned n;
	int r;

	if (keynode_takes(leaf, key)) {
		made = keynode_insert(&k->versions, leaf, at, key, value);
		r = made ? hang(k, path, path->depth, made) : -ENOMEM;
		if (r && made)
			versions_retire(&k->versions, made);
		return r;
	}
	n = keynode_open(leaf, cells);
	memmove(cells + at + 1, cells + at, (n - at) * sizeof(*cells));
	cells[at] = (struct cell){ key, cairn_slice(key.data, 0), value };
	if (leaf->skip <= key.len && memcmp(cells[at ? 0 : 1].a.data, key.data, leaf->skip) == 0) {
		/* Cut as the others are, so that what they share need not be compared. */
		cells[at].a = cells[at ? 0 : 1].a;
		cells[at].b = cairn_slice((const char *)key.data + leaf->skip, key.len - leaf->skip);
	}
	return grow(k, path, path->depth, cells, n + 1, at);
}

int keydir_put(struct keydir *k, struct cairn_slice key, struct keydir_place place, struct keydir_place *old)
{
	unsigned char value[KEYNODE_LEAF_VALUE];
	struct path path;
	unsigned at;
	bool same;
	int r;

	keydir_place_put(value, place);
	if (!k->root) {
		r = first_key(k, key, value);
	} else {
		descend(k->root, key, &path);
		at = keynode_place(path.nodes[path.depth], key, &same);
		if (same) {
			*old = place_get(keynode_value(path.nodes[path.depth], at));
			r = replace(k, &path, at, place);
			k->live += place.length - (uint64_t)old->length;
			return r ? r : 1;
		}
		r = insert(k, key, &path, at, value);
	}
	k->keys++;
	k->live += place.length;
	return r;
}

/* The node at LEVEL of PATH has lost its last entry. */
static int prune(struct keydir *k, struct path *path, unsigned level)
{
	struct object *old = path->nodes[level], *n;
	struct cell cells[KEYNODE_CELLS + 1];
	unsigned count, at;
	int r;

	if (level == 0) {
		k->root = NULL;
		r = 0;
	} else if (path->nodes[level - 1]->count == 1) {
		r = prune(k, path, level - 1);
	} else {
		count = keynode_open(path->nodes[level - 1], cells) - 1;
		at = path->at[level - 1];
		memmove(cells + at, cells + at + 1, (count - at) * sizeof(*cells));
		n = keynode_make(&k->versions, VERSIONS_INNER, cells, count);
		r = n ? hang(k, path, level - 1, n) : -ENOMEM;
		if (r && n)
			versions_retire(&k->versions, n);
	}
	if (r == 0)
		versions_retire(&k->versions, old);
	return r;
}

int keydir_remove(struct keydir *k, struct cairn_slice key, struct keydir_place *old)
{
	struct cell cells[KEYNODE_CELLS + 1];
	struct object *leaf, *root;
	struct path path;
	unsigned at, n;
	bool same;
	int r;

	if (!k->root)
		return 0;
	descend(k->root, key, &path);
	leaf = path.nodes[path.depth];
	at = keynode_place(leaf, key, &same);
	if (!same)
		return 0;
	*old = place_get(keynode_value(leaf, at));
	if (leaf->count == 1) {
		r = prune(k, &path, path.depth);
	} else {
		n = keynode_open(leaf, cells) - 1;
		memmove(cells + at, cells + at + 1, (n - at) * sizeof(*cells));
		leaf = keynode_make(&k->versions, VERSIONS_LEAF, cells, n);
		r = leaf ? hang(k, &path, path.depth, leaf) : -ENOMEM;
		if (r && leaf)
			versions_retire(&k->versions, leaf);
	}
	if (r)
		return r;
	while ((root = k->root) && root->kind == VERSIONS_INNER && root->count == 1) {
		k->root = keynode_child(root, 0);
		versions_retire(&k->versions, root);
	}
	k->keys--;
	k->live -= old->length;
	return 1;
}

void keydir_begin(struct keydir *k)
{
	struct version *v = atomic_load_explicit(&k->versions.published, memory_order_relaxed);

	k->versions.now = v->number + 1;
	k->root = v->root;
	k->keys = v->keys;
	k->live = v->live;
}

/* Free what the batch made below N. */
static void undo(struct keydir *k, struct object *n)
{
	if (!n || n->birth != k->versions.now)
		return;
	for (unsigned i = 0; n->kind == VERSIONS_INNER && i < n->count; i++)
		undo(k, keynode_child(n, i));
	versions_retire(&k->versions, n);
}

void keydir_abort(struct keydir *k)
{
	undo(k, k->root);
	versions_abort(&k->versions);
}

int keydir_defer(struct keydir *k, void (*fn)(void *arg), void *arg)
{
	struct deferred *d = versions_take(&k->versions, VERSIONS_DEFERRED, sizeof(*d));

	if (!d)
		return -ENOMEM;
	d->fn = fn;
	d->arg = arg;
	d->object.birth = 0;
	versions_retire(&k->versions, &d->object);
	return 0;
}

int keydir_publish(struct keydir *k, uint64_t index, uint64_t term)
{
	struct version *v = versions_take(&k->versions, VERSIONS_VERSION, sizeof(*v));

	if (!v) {
		keydir_abort(k);
		return -ENOMEM;
	}
	v->number = k->versions.now;
	v->root = k->root;
	v->index = index;
	v->term = term;
	v->keys = k->keys;
	v->live = k->live;
	v->uses = 0;
	versions_publish(&k->versions, v);
	return 0;
}

int keydir_init(struct keydir *k)
{
	return versions_init(&k->versions);
}

void keydir_free_below(struct keydir *k, struct object *n)
{
	for (unsigned i = 0; n->kind == VERSIONS_INNER && i < n->count; i++)
		keydir_free_below(k, keynode_child(n, i));
	slab_give(k->versions.slab, n, n->size);
}

void keydir_end(struct keydir *k)
{
	struct version *v = atomic_load(&k->versions.published);

	if (v->root)
		keydir_free_below(k, v->root);
	versions_end(&k->versions);
}

/* ---- Walks ---- */

/* Go down from N, the node at the present depth, always first or (reverse) last. */
static void walk_down(struct keydir_walk *w, struct object *n)
{
	while (n->kind == VERSIONS_INNER) {
		w->path[w->depth] = n;
		w->at[w->depth] = w->reverse ? n->count - 1u : 0;
		n = keynode_child(n, w->at[w->depth++]);
	}
	w->path[w->depth] = n;
	w->at[w->depth] = w->reverse ? n->count : 0;
}

/* Go to the next leaf in the direction of the walk; false where there is none. */
static bool walk_leaf(struct keydir_walk *w)
{
	unsigned d = w->depth;

	while (d && (w->reverse ? w->at[d - 1] == 0 : w->at[d - 1] + 1u == w->path[d - 1]->count))
		d--;
	if (d == 0)
		return false;
	w->at[d - 1] += w->reverse ? -1u : 1u;
	w->depth = d;
	walk_down(w, keynode_child(w->path[d - 1], w->at[d - 1]));
	return true;
}

void keydir_walk_begin(struct keydir_walk *w, const struct object *root, struct cairn_slice from,
		       struct cairn_slice to, bool reverse)
{
	struct cairn_slice start = reverse ? to : from;
	struct path path;
	bool same;

	w->reverse = reverse;
	w->bound = reverse ? from : to;
	w->depth = 0;
	w->ended = !root;
	if (!root)
		return;
	if (start.len == 0) {
		walk_down(w, (struct object *)root);
		return;
	}
	descend((struct object *)root, start, &path);
	w->depth = path.depth;
	for (unsigned i = 0; i <= path.depth; i++) {
		w->path[i] = path.nodes[i];
		w->at[i] = i < path.depth ? path.at[i] : keynode_place(path.nodes[i], start, &same);
	}
}

int keydir_walk_next(struct keydir_walk *w, struct cairn_slice *key, struct keydir_place *place)
{
	struct cairn_slice prefix, rest;
	struct object *leaf;
	unsigned at;

	while (!w->ended && (w->reverse ? w->at[w->depth] == 0 : w->at[w->depth] == w->path[w->depth]->count))
		w->ended = !walk_leaf(w);
	if (w->ended)
		return 0;
	leaf = w->path[w->depth];
	at = w->reverse ? --w->at[w->depth] : w->at[w->depth]++;
	prefix = keynode_prefix(leaf);
	rest = keynode_rest(leaf, at);
	if (prefix.len + rest.len > w->cap) {
		unsigned char *more = realloc(w->key, 2 * (prefix.len + rest.len));

		if (!more) {
			w->at[w->depth] += w->reverse ? 1u : -1u;
			return -ENOMEM;
		}
		w->key = more;
		w->cap = 2 * (prefix.len + rest.len);
	}
	memcpy(w->key, prefix.data, prefix.len);
	memcpy(w->key + prefix.len, rest.data, rest.len);
	*key = cairn_slice(w->key, prefix.len + rest.len);
	*place = place_get(keynode_value(leaf, at));
	w->ended = w->reverse ? cairn_slice_cmp(*key, w->bound) < 0
			      : w->bound.len && cairn_slice_cmp(*key, w->bound) >= 0;
	return !w->ended;
}

void keydir_walk_end(struct keydir_walk *w)
{
	free(w->key);
	*w = (struct keydir_walk){ 0 };
}
