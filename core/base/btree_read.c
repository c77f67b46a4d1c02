/*
 * Readers: guards, which cost two stores, snapshots and iterators, which pin a version under the lock, and
 * what they read. Nothing fails but for want of memory.
 */
#include <errno.h>
#include <stdlib.h>
#include "btree_inside.h"
#include "banned.h"

static struct btree_version *pin(struct btree *t, struct btree_version *v)
{
	pthread_mutex_lock(&t->lock);
	if (!v)
		v = atomic_load(&t->published);
	if (v->uses++ == 0) { /* the published version: newer than every other that is pinned */
		v->newer = NULL;
		v->older = t->newest_pin;
		if (v->older)
			v->older->newer = v;
		t->newest_pin = v;
		t->pin_count++;
	}
	pthread_mutex_unlock(&t->lock);
	return v;
}

static void unpin(struct btree *t, struct btree_version *v)
{
	pthread_mutex_lock(&t->lock);
	if (--v->uses == 0) {
		if (v->newer)
			v->newer->older = v->older;
		else
			t->newest_pin = v->older;
		if (v->older)
			v->older->newer = v->newer;
		t->pin_count--;
		queue_join(&t->again, &v->held);
	}
	pthread_mutex_unlock(&t->lock);
}

struct btree_version *btree_snapshot(struct btree *t)
{
	return pin(t, NULL);
}

void btree_release(struct btree *t, struct btree_version *snapshot)
{
	unpin(t, snapshot);
}

void btree_read_begin(struct btree *t, struct btree_guard *guard)
{
	unsigned start = (unsigned)((uintptr_t)pthread_self() >> 12) * 2654435761u >> 27;
	uint64_t announced = atomic_load(&t->number) + 1;

	for (unsigned i = 0; i < SLOTS; i++) {
		struct slot *s = &t->slots[(start + i) % SLOTS];
		uint64_t empty = 0;

		if (atomic_compare_exchange_strong(&s->announced, &empty, announced)) {
			guard->slot = s;
			guard->version = atomic_load(&t->published);
			return;
		}
	}
	guard->slot = NULL; /* more guards than slots: a snapshot does the same, with the lock */
	guard->version = pin(t, NULL);
}

void btree_read_end(struct btree *t, struct btree_guard *guard)
{
	struct slot *s = guard->slot;

	if (s)
		atomic_store_explicit(&s->announced, 0, memory_order_release);
	else
		unpin(t, guard->version);
}

bool btree_get(struct btree_guard *guard, struct btree_version *snapshot, struct cairn_slice key,
	       struct cairn_slice *value)
{
	struct btree_version *v = snapshot ? snapshot : guard->version;
	struct node *n = v->root;
	struct entry *e;
	unsigned at;

	if (!n)
		return false;
	while (n->object.kind == INNER) {
		n = as_inner(n)->children[inner_place(as_inner(n), key)];
		prefetch(n, NODE_BYTES);
	}
	e = leaf_lookup(as_leaf(n), key, &at);
	if (!e)
		return false;
	*value = entry_value(visible(e, v->number));
	return true;
}

#define GROUP 16 /* searches at a time */

/* btree_get for N keys at once, one level of the tree after the other: what the next step of each needs is
 * asked for before any of them takes it. A WRITER remembers the places. */
static void get_group(const struct btree_version *v, const struct cairn_slice *keys, unsigned n,
		      struct cairn_slice *values, struct btree *writer)
{
	struct node *nodes[GROUP] = { v->root };
	struct entry *const *found[GROUP], *e;
	unsigned at;

	for (unsigned i = 1; i < n; i++)
		nodes[i] = v->root;
	while (nodes[0]->object.kind == INNER) /* all leaves are equally deep */
		for (unsigned i = 0; i < n; i++) {
			nodes[i] = as_inner(nodes[i])->children[inner_place(as_inner(nodes[i]), keys[i])];
			prefetch(nodes[i], NODE_BYTES / 2); /* its heads */
		}
	for (unsigned i = 0; i < n; i++) {
		found[i] = leaf_candidate(as_leaf(nodes[i]), keys[i], &at) ? &as_leaf(nodes[i])->entries[at]
									   : NULL;
		__builtin_prefetch(found[i]);
		if (writer && found[i])
			*finger_of(writer, keys[i].data) =
				(struct finger){ keys[i].data, as_leaf(nodes[i]), v->number, at };
	}
	for (unsigned i = 0; i < n; i++)
		if (found[i])
			prefetch(__atomic_load_n(found[i], __ATOMIC_ACQUIRE), ENTRY_BYTES);
	for (unsigned i = 0; i < n; i++) {
		e = found[i] ? __atomic_load_n(found[i], __ATOMIC_ACQUIRE) : NULL;
		values[i] = e && entry_has(e, keys[i]) ? entry_value(visible(e, v->number))
						       : cairn_slice(NULL, 0);
	}
}

void btree_get_many(const struct btree_guard *guard, const struct cairn_slice *keys, size_t count,
		    struct cairn_slice *values, struct btree *writer)
{
	for (size_t n; count; keys += n, values += n, count -= n) {
		n = count < GROUP ? count : GROUP;
		if (guard->version->root)
			get_group(guard->version, keys, (unsigned)n, values, writer);
		else
			memset(values, 0, n * sizeof(*values));
	}
}

/* Iterators */

struct btree_iter {
	struct btree *tree;
	struct btree_version *version; /* pinned */
	struct path path;              /* to the leaf of the next entry; leaf NULL at the end */
	unsigned at;                   /* forward: next entry; reverse: the one after it */
	unsigned stop;                 /* entry of this leaf where the range ends: AT never passes it */
	bool reverse;
	struct cairn_slice bound; /* forward: to (empty: none); reverse: from */
	unsigned char bytes[];    /* of bound */
};

/* Where the range ends in the leaf that the iterator has come to. */
static void iter_stop(struct btree_iter *it)
{
	struct leaf *l = it->path.leaf;

	if (it->reverse)
		it->stop = leaf_place(l, it->bound);
	else
		it->stop = it->bound.len ? leaf_place(l, it->bound) : l->node.count;
}

/* Go to the next leaf in the direction of the walk; false where there is none. */
static bool iter_leaf(struct btree_iter *it)
{
	struct path *p = &it->path;
	unsigned d = p->depth;
	struct node *n;

	while (d && (it->reverse ? p->at[d - 1] == 0 : p->at[d - 1] + 1u == p->nodes[d - 1]->count))
		d--;
	if (d == 0)
		return false;
	p->at[d - 1] += it->reverse ? -1u : 1u;
	n = as_inner(p->nodes[d - 1])->children[p->at[d - 1]];
	while (n->object.kind == INNER) {
		p->nodes[d] = n;
		p->at[d] = it->reverse ? n->count - 1u : 0;
		n = as_inner(n)->children[p->at[d++]];
	}
	p->leaf = as_leaf(n);
	it->at = it->reverse ? n->count : 0;
	iter_stop(it);
	return true;
}

struct btree_iter *btree_iter_open(struct btree *t, struct btree_version *snapshot, struct cairn_slice from,
				   struct cairn_slice to, bool reverse)
{
	struct cairn_slice bound = reverse ? from : to, start = reverse ? to : from;
	struct btree_iter *it = malloc(sizeof(*it) + bound.len);
	struct node *n;

	if (!it)
		return NULL;
	it->tree = t;
	it->version = pin(t, snapshot);
	it->reverse = reverse;
	it->bound = cairn_slice(it->bytes, bound.len);
	if (bound.len)
		memcpy(it->bytes, bound.data, bound.len);
	it->path.leaf = NULL;
	n = it->version->root;
	if (!n)
		return it;
	if (reverse && to.len == 0) {
		it->path.depth = 0;
		while (n->object.kind == INNER) {
			it->path.nodes[it->path.depth] = n;
			it->path.at[it->path.depth++] = n->count - 1u;
			n = as_inner(n)->children[n->count - 1];
		}
		it->path.leaf = as_leaf(n);
		it->at = n->count;
	} else {
		descend(n, start, &it->path);
		it->at = leaf_place(it->path.leaf, start);
	}
	iter_stop(it);
	return it;
}

bool btree_next(struct btree_iter *it, struct cairn_slice *key, struct cairn_slice *value)
{
	struct leaf *l;
	struct entry *e;

	while ((l = it->path.leaf) && (it->reverse ? it->at <= it->stop : it->at >= it->stop)) {
		bool ended = it->reverse ? it->stop > 0 : it->stop < l->node.count;

		if (ended || !iter_leaf(it))
			it->path.leaf = NULL;
	}
	if (!l)
		return false;
	e = visible(__atomic_load_n(&l->entries[it->reverse ? --it->at : it->at++], __ATOMIC_ACQUIRE),
		    it->version->number);
	*key = entry_key(e);
	*value = entry_value(e);
	return true;
}

void btree_iter_close(struct btree_iter *it)
{
	unpin(it->tree, it->version);
	free(it);
}
