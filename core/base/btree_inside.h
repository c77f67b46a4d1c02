/*
 * Inside the tree: what it consists of, and searching in a node. Only btree.c, btree_change.c and
 * btree_read.c include it.
 *
 * In a node all keys share SKIP bytes, and the 8 bytes behind them stand in HEADS as big-endian numbers: a
 * search touches an entry only to confirm its find. Keys with equal heads are told apart by comparing them
 * whole.
 */
#ifndef BTREE_INSIDE_H
#define BTREE_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>
#include "btree.h"
#include "le.h"
#include "slab.h"

#define LEAF_MAX 60     /* entries of a leaf: its node stays below 1 KiB */
#define INNER_MAX 40    /* children of an inner node: the same */
#define NODE_BYTES 1000 /* about what a node takes */
#define ENTRY_BYTES 448 /* of an entry are asked for at once: most have no more */
#define SHARED_MAX 16
#define FINGERS 256 /* a power of two */
#define DEPTH_MAX 16
#define SLOTS 32 /* guards at the same time that need no lock */

enum kind { ENTRY, SEPARATOR, LEAF, INNER, VERSION };

/* The head of everything that readers may hold. */
struct object {
	uint64_t birth;      /* first version that has it */
	uint64_t retire;     /* first version that does not; the writer's and the reclaimer's */
	struct object *next; /* in the batch's born or retired list, a queue, or what a snapshot holds */
	uint32_t size;       /* bytes allocated */
	uint32_t kind : 3;
	uint32_t key_len : 29; /* ENTRY and SEPARATOR */
};

struct entry {
	struct object object;
	struct entry *older; /* what it replaced in its leaf; followed only by readers older than its birth */
	unsigned char bytes[]; /* key, value */
};

struct separator {
	struct object object;
	unsigned char bytes[];
};

/* Children and entries change only in nodes born in the present batch, but for entries put in place (atomic).
 */
struct node {
	struct object object;
	uint16_t count;                   /* entries or children */
	uint16_t skip;                    /* bytes that all keys here have in common */
	unsigned char shared[SHARED_MAX]; /* the first of them */
};

struct leaf {
	struct node node;
	uint64_t heads[LEAF_MAX]; /* all ones behind the last, here and below */
	struct entry *entries[LEAF_MAX];
};

struct inner {
	struct node node;
	uint64_t heads[INNER_MAX];               /* of the separators; [0] is 0 */
	struct separator *separators[INNER_MAX]; /* [i]: least key that may be in child i; [0] is not used */
	struct node *children[INNER_MAX];
};

struct queue {
	struct object *first, **last;
};

struct btree_version {
	struct object object;
	uint64_t number;
	struct node *root; /* NULL when empty */
	struct btree_tag tag;
	uint64_t keys, bytes;
	/* Under the tree's lock: */
	unsigned uses;                       /* snapshots and iterators */
	struct btree_version *newer, *older; /* pinned versions, while uses > 0 */
	struct queue held;                   /* retired objects that this is the newest snapshot to see */
};

struct slot {
	_Alignas(64) _Atomic uint64_t announced; /* version number + 1; 0: free */
};

struct place {
	struct leaf *leaf;
	unsigned at;
};

/* Where the writer found a key that it is going to put. */
struct finger {
	const void *key; /* its address, not what is there */
	struct leaf *leaf;
	uint64_t version; /* that LEAF is of */
	unsigned at;
};

struct btree {
	struct slot slots[SLOTS];
	_Atomic(struct btree_version *) published;
	_Atomic uint64_t number; /* of the published version; stored after it */
	_Atomic uint64_t memory; /* bytes allocated */
	uint64_t limit;

	pthread_mutex_t lock; /* over the queues, the pinned versions, and publishing */
	struct queue fresh;   /* retired, in order of retirement */
	struct queue again;   /* left by released snapshots */
	struct btree_version *newest_pin;
	uint64_t pin_count;

	/* The writer's alone: where objects come from and go to, and the batch. */
	struct slab *slab;
	uint64_t now;    /* its number */
	uint64_t pinned; /* number of the newest pinned version when it began, 0 for none */
	struct node *root;
	uint64_t keys, bytes;
	uint64_t allocated;     /* bytes, not yet in memory */
	struct object *born;    /* every object of the batch */
	struct object *retired; /* older objects that it removed */
	size_t retired_count;
	struct place *undo; /* entries put in place */
	size_t undo_count, undo_cap;
	struct finger fingers[FINGERS]; /* by the address of the key */
};

/* Objects */

static inline void *object_new(struct btree *t, enum kind kind, size_t size)
{
	struct object *o = slab_take(t->slab, size);

	if (!o)
		return NULL;
	*o = (struct object){ .birth = t->now, .next = t->born, .size = (uint32_t)size, .kind = kind };
	t->born = o;
	t->allocated += size;
	return o;
}

static inline void retire(struct btree *t, struct object *o)
{
	o->retire = t->now;
	t->retired_count++;
	if (o->birth == t->now)
		return; /* in the list of the born, sorted out at the end of the batch */
	o->next = t->retired;
	t->retired = o;
}

static inline void queue_add(struct queue *q, struct object *o)
{
	o->next = NULL;
	*q->last = o;
	q->last = &o->next;
}

static inline void queue_init(struct queue *q)
{
	q->first = NULL;
	q->last = &q->first;
}

static inline struct object *queue_take(struct queue *q)
{
	struct object *o = q->first;

	q->first = o->next;
	if (!q->first)
		q->last = &q->first;
	return o;
}

static inline void queue_join(struct queue *q, struct queue *tail)
{
	if (!tail->first)
		return;
	*q->last = tail->first;
	q->last = tail->last;
	queue_init(tail);
}

static inline struct cairn_slice entry_key(const struct entry *e)
{
	return cairn_slice(e->bytes, e->object.key_len);
}

static inline struct cairn_slice entry_value(const struct entry *e)
{
	return cairn_slice(e->bytes + e->object.key_len, e->object.size - sizeof(*e) - e->object.key_len);
}

static inline struct cairn_slice separator_key(const struct separator *s)
{
	return cairn_slice(s->bytes, s->object.key_len);
}

static inline struct leaf *as_leaf(struct node *n)
{
	return (struct leaf *)n;
}

static inline struct inner *as_inner(struct node *n)
{
	return (struct inner *)n;
}

/* Search in a node */

/* The 8 bytes of KEY behind SKIP as a number that orders like them, zeros where it ends; KEY has at least
 * SKIP bytes. */
static inline uint64_t head_of(struct cairn_slice key, size_t skip)
{
	const unsigned char *p = key.data;
	size_t n = key.len - skip;
	uint64_t head = 0;

	if (n >= 8)
		return be64_get(p + skip);
	if (n == 0)
		return 0;
	if (key.len >= 8)
		return be64_get(p + key.len - 8) << (8 * (8 - n));
	for (size_t i = 0; i < n; i++)
		head |= (uint64_t)p[skip + i] << (56 - 8 * i);
	return head;
}

static inline size_t common(struct cairn_slice a, struct cairn_slice b)
{
	const unsigned char *p = a.data, *q = b.data;
	size_t n = a.len < b.len ? a.len : b.len, i = 0;

	while (i < n && p[i] == q[i])
		i++;
	return i;
}

/*
 * How many of a node's heads are below HEAD, where there is room for MAX and what is not used is all ones.
 * Two rounds of comparisons that do not wait for each other, and no branch: it could not be foretold.
 */
static inline unsigned lower(const uint64_t *heads, unsigned max, uint64_t head)
{
	unsigned n = 0;

#pragma GCC unroll 8
	for (unsigned i = 7; i < max - 1; i += 8)
		n += heads[i] < head;
	n = n * 8 < max - 8 ? n * 8 : max - 8;
	heads += n;
#pragma GCC unroll 8
	for (unsigned i = 0; i < 8; i++)
		n += heads[i] < head;
	return n;
}

/* Whether N bytes are equal; for short keys quicker than a call. */
static inline bool same(const unsigned char *a, const unsigned char *b, size_t n)
{
	uint64_t differ = 0;
	size_t i = 0;

	if (n < 8) {
		for (; i < n; i++)
			differ |= a[i] ^ b[i];
		return !differ;
	}
	for (; i + 8 < n && !differ; i += 8)
		differ = le64_get(a + i) ^ le64_get(b + i);
	return !differ && le64_get(a + n - 8) == le64_get(b + n - 8);
}

/* How KEY compares with the bytes that all keys of N share with ONE of them, which is rarely looked at. */
static inline int against_skip(const struct node *n, struct cairn_slice key, const unsigned char *one)
{
	const unsigned char *shared = n->skip <= SHARED_MAX ? n->shared : one;

	if (key.len >= n->skip && same(key.data, shared, n->skip))
		return 0;
	return cairn_slice_cmp(cairn_slice(key.data, key.len < n->skip ? key.len : n->skip),
			       cairn_slice(shared, n->skip));
}

/* Ask for BYTES at P at once: whoever goes through them would wait for one line after the other. */
static inline void prefetch(const void *p, size_t bytes)
{
#pragma GCC unroll 16
	for (size_t i = 0; i < bytes; i += 64)
		__builtin_prefetch((const char *)p + i);
}

/* Among the entries LOW to HIGH, which have the head of KEY: how many in all are below KEY. */
static inline unsigned leaf_among(const struct leaf *l, unsigned low, unsigned high, struct cairn_slice key)
{
	while (low < high) {
		unsigned middle = (low + high) / 2;
		struct entry *e = __atomic_load_n(&l->entries[middle], __ATOMIC_ACQUIRE);

		if (cairn_slice_cmp(entry_key(e), key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Whether there may be an entry with KEY, and where; touches no entry where heads tell all keys apart. */
static inline bool leaf_candidate(const struct leaf *l, struct cairn_slice key, unsigned *at)
{
	unsigned low, high, n = l->node.count;
	uint64_t head;

	if (key.len < l->node.skip)
		return false;
	head = head_of(key, l->node.skip);
	low = lower(l->heads, LEAF_MAX, head);
	if (low == n || l->heads[low] != head)
		return false;
	if (low + 1 < n && l->heads[low + 1] == head) {
		for (high = low + 2; high < n && l->heads[high] == head; high++)
			;
		low = leaf_among(l, low, high, key);
		if (low == high)
			return false;
	}
	*at = low;
	return true;
}

static inline bool entry_has(const struct entry *e, struct cairn_slice key)
{
	return e->object.key_len == key.len && same(e->bytes, key.data, key.len);
}

/* The entry with KEY, or NULL, and its place. */
static inline struct entry *leaf_lookup(const struct leaf *l, struct cairn_slice key, unsigned *at)
{
	struct entry *e;

	if (!leaf_candidate(l, key, at))
		return NULL;
	e = __atomic_load_n(&l->entries[*at], __ATOMIC_ACQUIRE);
	prefetch(e, ENTRY_BYTES);
	return entry_has(e, key) ? e : NULL;
}

/* How many entries are below KEY. */
static inline unsigned leaf_place(const struct leaf *l, struct cairn_slice key)
{
	unsigned low, high, n = l->node.count;
	uint64_t head;
	int c;

	if (n == 0)
		return 0;
	c = against_skip(&l->node, key, __atomic_load_n(&l->entries[0], __ATOMIC_ACQUIRE)->bytes);
	if (c)
		return c < 0 ? 0 : n;
	head = head_of(key, l->node.skip);
	low = lower(l->heads, LEAF_MAX, head);
	for (high = low; high < n && l->heads[high] == head; high++)
		;
	return leaf_among(l, low, high, key);
}

/* The child that KEY belongs to. */
static inline unsigned inner_place(const struct inner *in, struct cairn_slice key)
{
	unsigned low, high, n = in->node.count;
	uint64_t head;
	int c;

	if (n <= 1)
		return 0;
	c = against_skip(&in->node, key, in->separators[1]->bytes);
	if (c)
		return c < 0 ? 0 : n - 1;
	head = head_of(key, in->node.skip);
	low = lower(in->heads, INNER_MAX, head);
	low = low ? low : 1;
	for (high = low; high < n && in->heads[high] == head; high++)
		;
	while (low < high) {
		unsigned middle = (low + high) / 2;

		if (cairn_slice_cmp(separator_key(in->separators[middle]), key) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low - 1;
}

/* The entry that version NUMBER has in the place of E. */
static inline struct entry *visible(struct entry *e, uint64_t number)
{
	while (e->object.birth > number)
		e = e->older;
	return e;
}

/* The way from the root to a leaf. */
struct path {
	struct node *nodes[DEPTH_MAX];
	unsigned at[DEPTH_MAX]; /* child taken */
	unsigned depth;         /* nodes above the leaf */
	struct leaf *leaf;
};

static inline void descend(struct node *root, struct cairn_slice key, struct path *path)
{
	path->depth = 0;
	while (root->object.kind == INNER) {
		unsigned at = inner_place(as_inner(root), key);

		path->nodes[path->depth] = root;
		path->at[path->depth++] = at;
		root = as_inner(root)->children[at];
		prefetch(root, NODE_BYTES);
	}
	path->leaf = as_leaf(root);
}

static inline struct finger *finger_of(struct btree *t, const void *key)
{
	return &t->fingers[((uintptr_t)key >> 3) * 0x9e3779b97f4a7c15u >> 32 & (FINGERS - 1)];
}

/* btree_change.c: the tree at N goes, entries and all, with the present batch. */
void btree_drop(struct btree *t, struct node *n);

#endif
