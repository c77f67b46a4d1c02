/*
 * A B+tree with versions.
 *
 * Every batch has a number. Nodes, entries and separators know the batch that they were born in; a batch
 * changes nodes of its own in place and copies older ones (own), so that the root that readers have stays
 * whole. Publishing a version (number and root) makes the batch visible.
 *
 * One shortcut makes overwriting cheap: where no snapshot can see a leaf, the new entry is put into its place
 * at once, linked to the one that it replaces. A reader that finds an entry born after its version follows
 * the link (visible).
 *
 * What a batch removes is retired, and visible in the versions from its birth to before its retirement. It
 * waits in a queue until every guard has moved past its retirement, then goes to the newest snapshot that can
 * see it, or is freed. When a snapshot is released, what it held queues again. A snapshot may be taken while
 * a batch puts entries into leaves in place, so an entry also counts as seen by the version before its birth.
 *
 * Guards announce a version number in a slot and then take the published version; the writer publishes and
 * then looks at the slots. Both are sequentially consistent, so either the writer sees the guard or the guard
 * sees the new version.
 *
 * In a node all keys share SKIP bytes, and the 8 bytes behind them stand in HEADS as big-endian numbers: a
 * search touches an entry only to confirm its find. Keys with equal heads are told apart by comparing them
 * whole.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include "btree.h"
#include "le.h"
#include "slab.h"
#include "banned.h"

#define LEAF_MAX 60  /* entries of a leaf: its node stays below 1 KiB */
#define INNER_MAX 40 /* children of an inner node: the same */
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
	uint16_t count; /* entries or children */
	uint16_t skip;  /* bytes that all keys here have in common */
};

struct leaf {
	struct node node;
	uint64_t heads[LEAF_MAX];
	struct entry *entries[LEAF_MAX];
};

struct inner {
	struct node node;
	uint64_t heads[INNER_MAX];               /* of the separators; [0] is not used */
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
};

/* Objects */

static void *object_new(struct btree *t, enum kind kind, size_t size)
{
	struct object *o = slab_take(t->slab, size);

	if (!o)
		return NULL;
	*o = (struct object){ .birth = t->now, .next = t->born, .size = (uint32_t)size, .kind = kind };
	t->born = o;
	t->allocated += size;
	return o;
}

static void retire(struct btree *t, struct object *o)
{
	o->retire = t->now;
	t->retired_count++;
	if (o->birth == t->now)
		return; /* in the list of the born, sorted out at the end of the batch */
	o->next = t->retired;
	t->retired = o;
}

static void queue_add(struct queue *q, struct object *o)
{
	o->next = NULL;
	*q->last = o;
	q->last = &o->next;
}

static void queue_init(struct queue *q)
{
	q->first = NULL;
	q->last = &q->first;
}

static struct object *queue_take(struct queue *q)
{
	struct object *o = q->first;

	q->first = o->next;
	if (!q->first)
		q->last = &q->first;
	return o;
}

static void queue_join(struct queue *q, struct queue *tail)
{
	if (!tail->first)
		return;
	*q->last = tail->first;
	q->last = tail->last;
	queue_init(tail);
}

static struct cairn_slice entry_key(const struct entry *e)
{
	return cairn_slice(e->bytes, e->object.key_len);
}

static struct cairn_slice entry_value(const struct entry *e)
{
	return cairn_slice(e->bytes + e->object.key_len, e->object.size - sizeof(*e) - e->object.key_len);
}

static struct cairn_slice separator_key(const struct separator *s)
{
	return cairn_slice(s->bytes, s->object.key_len);
}

static struct leaf *as_leaf(struct node *n)
{
	return (struct leaf *)n;
}

static struct inner *as_inner(struct node *n)
{
	return (struct inner *)n;
}

/* Search in a node */

/* The 8 bytes of KEY behind SKIP as a number that orders like them, zeros where it ends; KEY has at least
 * SKIP bytes. */
static uint64_t head_of(struct cairn_slice key, size_t skip)
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

static size_t common(struct cairn_slice a, struct cairn_slice b)
{
	const unsigned char *p = a.data, *q = b.data;
	size_t n = a.len < b.len ? a.len : b.len, i = 0;

	while (i < n && p[i] == q[i])
		i++;
	return i;
}

/* How many of the N heads are below HEAD. */
static unsigned lower(const uint64_t *heads, unsigned n, uint64_t head)
{
	const uint64_t *p = heads;

	if (n == 0)
		return 0;
	while (n > 1) {
		unsigned half = n / 2;

		p += half & (0u - (p[half - 1] < head)); /* no branch: it could not be foretold */
		n -= half;
	}
	return (unsigned)(p - heads) + (*p < head);
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

/* How KEY compares with the bytes that all keys of a node share with ONE of them. */
static int against_skip(struct cairn_slice key, struct cairn_slice one, size_t skip)
{
	if (key.len >= skip && same(key.data, one.data, skip))
		return 0;
	int c = cairn_slice_cmp(cairn_slice(key.data, key.len < skip ? key.len : skip),
				cairn_slice(one.data, skip));

	return c;
}

/* Ask for all of a leaf at once: a search in it would wait for one line after the other. */
static void prefetch(const struct node *n)
{
	for (size_t i = 0; i < 1000; i += 64)
		__builtin_prefetch((const char *)n + i);
}

/* Among the entries LOW to HIGH, which have the head of KEY: how many in all are below KEY. */
static unsigned leaf_among(const struct leaf *l, unsigned low, unsigned high, struct cairn_slice key)
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

/* The entry with KEY, or NULL, and its place; touches no entry but the one that may be it. */
static struct entry *leaf_lookup(const struct leaf *l, struct cairn_slice key, unsigned *at)
{
	unsigned low, high, n = l->node.count;
	struct entry *e;
	uint64_t head;

	if (key.len < l->node.skip)
		return NULL;
	head = head_of(key, l->node.skip);
	low = lower(l->heads, n, head);
	if (low == n || l->heads[low] != head)
		return NULL;
	if (low + 1 < n && l->heads[low + 1] == head) {
		for (high = low + 2; high < n && l->heads[high] == head; high++)
			;
		low = leaf_among(l, low, high, key);
		if (low == high)
			return NULL;
	}
	*at = low;
	e = __atomic_load_n(&l->entries[low], __ATOMIC_ACQUIRE);
	return e->object.key_len == key.len && same(e->bytes, key.data, key.len) ? e : NULL;
}

/* How many entries are below KEY. */
static unsigned leaf_place(const struct leaf *l, struct cairn_slice key)
{
	unsigned low, high, n = l->node.count;
	uint64_t head;
	int c;

	if (n == 0)
		return 0;
	c = against_skip(key, entry_key(__atomic_load_n(&l->entries[0], __ATOMIC_ACQUIRE)), l->node.skip);
	if (c)
		return c < 0 ? 0 : n;
	head = head_of(key, l->node.skip);
	low = lower(l->heads, n, head);
	for (high = low; high < n && l->heads[high] == head; high++)
		;
	return leaf_among(l, low, high, key);
}

/* The child that KEY belongs to. */
static unsigned inner_place(const struct inner *in, struct cairn_slice key)
{
	unsigned low, high, n = in->node.count;
	uint64_t head;
	int c;

	if (n <= 1)
		return 0;
	c = against_skip(key, separator_key(in->separators[1]), in->node.skip);
	if (c)
		return c < 0 ? 0 : n - 1;
	head = head_of(key, in->node.skip);
	low = 1 + lower(in->heads + 1, n - 1, head);
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
static struct entry *visible(struct entry *e, uint64_t number)
{
	while (e->object.birth > number)
		e = e->older;
	return e;
}

/* Change a node of the batch */

static size_t skip_limit(size_t skip)
{
	return skip < UINT16_MAX ? skip : UINT16_MAX;
}

static void leaf_heads(struct leaf *l)
{
	unsigned n = l->node.count;

	l->node.skip = n < 2
		? 0
		: (uint16_t)skip_limit(common(entry_key(l->entries[0]), entry_key(l->entries[n - 1])));
	for (unsigned i = 0; i < n; i++)
		l->heads[i] = head_of(entry_key(l->entries[i]), l->node.skip);
}

static void inner_heads(struct inner *in)
{
	unsigned n = in->node.count;

	in->node.skip = n < 3 ? 0
			      : (uint16_t)skip_limit(common(separator_key(in->separators[1]),
							    separator_key(in->separators[n - 1])));
	for (unsigned i = 1; i < n; i++)
		in->heads[i] = head_of(separator_key(in->separators[i]), in->node.skip);
}

static void leaf_insert(struct leaf *l, unsigned at, struct entry *e)
{
	unsigned after = l->node.count++ - at;

	memmove(l->heads + at + 1, l->heads + at, after * sizeof(*l->heads));
	memmove(l->entries + at + 1, l->entries + at, after * sizeof(struct entry *));
	l->entries[at] = e;
	if (l->node.count > 2 &&
	    ((at && after) || common(entry_key(e), entry_key(l->entries[at ? 0 : 1])) >= l->node.skip))
		l->heads[at] = head_of(entry_key(e), l->node.skip);
	else
		leaf_heads(l);
}

static void inner_insert(struct inner *in, unsigned at, struct separator *s, struct node *child)
{
	unsigned after = in->node.count++ - at;

	memmove(in->heads + at + 1, in->heads + at, after * sizeof(*in->heads));
	memmove(in->separators + at + 1, in->separators + at, after * sizeof(struct separator *));
	memmove(in->children + at + 1, in->children + at, after * sizeof(struct node *));
	in->separators[at] = s;
	in->children[at] = child;
	if (in->node.count > 3 &&
	    ((at > 1 && after) ||
	     common(separator_key(s), separator_key(in->separators[at > 1 ? 1 : 2])) >= in->node.skip))
		in->heads[at] = head_of(separator_key(s), in->node.skip);
	else
		inner_heads(in);
}

static void leaf_remove(struct leaf *l, unsigned from, unsigned to)
{
	unsigned after = l->node.count - to;

	memmove(l->heads + from, l->heads + to, after * sizeof(*l->heads));
	memmove(l->entries + from, l->entries + to, after * sizeof(struct entry *));
	l->node.count = (uint16_t)(from + after);
}

/* Take the child AT out; its separator, or that of the one which is the first now, is retired. */
static void inner_remove(struct btree *t, struct inner *in, unsigned at)
{
	unsigned after = in->node.count - at - 1, s = at ? at : 1;

	if (in->node.count > 1)
		retire(t, &in->separators[s]->object);
	memmove(in->heads + at, in->heads + at + 1, after * sizeof(*in->heads));
	memmove(in->separators + at, in->separators + at + 1, after * sizeof(struct separator *));
	memmove(in->children + at, in->children + at + 1, after * sizeof(struct node *));
	in->node.count--;
}

static struct node *node_new(struct btree *t, enum kind kind)
{
	struct node *n = object_new(t, kind, kind == LEAF ? sizeof(struct leaf) : sizeof(struct inner));

	if (n)
		n->count = n->skip = 0;
	return n;
}

/* N itself where it is the batch's, else a copy that replaces it. NULL: no memory. */
static struct node *own(struct btree *t, struct node *n)
{
	struct node *copy;

	if (n->object.birth == t->now)
		return n;
	copy = node_new(t, n->object.kind);
	if (!copy)
		return NULL;
	copy->count = n->count;
	copy->skip = n->skip;
	if (n->object.kind == LEAF) {
		struct leaf *from = as_leaf(n), *to = as_leaf(copy);

		memcpy(to->heads, from->heads, n->count * sizeof(*from->heads));
		memcpy(to->entries, from->entries, n->count * sizeof(struct entry *));
	} else {
		struct inner *from = as_inner(n), *to = as_inner(copy);

		memcpy(to->heads, from->heads, n->count * sizeof(*from->heads));
		memcpy(to->separators, from->separators, n->count * sizeof(struct separator *));
		memcpy(to->children, from->children, n->count * sizeof(struct node *));
	}
	retire(t, &n->object);
	return copy;
}

/* The way from the root to a leaf. */
struct path {
	struct node *nodes[DEPTH_MAX];
	unsigned at[DEPTH_MAX]; /* child taken */
	unsigned depth;         /* nodes above the leaf */
	struct leaf *leaf;
};

static void descend(struct node *root, struct cairn_slice key, struct path *path)
{
	path->depth = 0;
	while (root->object.kind == INNER) {
		unsigned at = inner_place(as_inner(root), key);

		path->nodes[path->depth] = root;
		path->at[path->depth++] = at;
		root = as_inner(root)->children[at];
		prefetch(root);
	}
	path->leaf = as_leaf(root);
}

/* Make every node of PATH the batch's. 0 or -ENOMEM. */
static int own_path(struct btree *t, struct path *path)
{
	struct node **link = &t->root, *n;

	for (unsigned i = 0; i <= path->depth; i++) {
		n = own(t, i < path->depth ? path->nodes[i] : &path->leaf->node);
		if (!n)
			return -ENOMEM;
		*link = n;
		if (i < path->depth) {
			path->nodes[i] = n;
			link = &as_inner(n)->children[path->at[i]];
		} else {
			path->leaf = as_leaf(n);
		}
	}
	return 0;
}

/* Split */

/* The shortest key that is above A and not above B. */
static struct separator *separator_between(struct btree *t, struct cairn_slice a, struct cairn_slice b)
{
	size_t len = common(a, b) + 1;
	struct separator *s = object_new(t, SEPARATOR, sizeof(*s) + len);

	if (!s)
		return NULL;
	s->object.key_len = (uint32_t)len & 0x1fffffff;
	memcpy(s->bytes, b.data, len);
	return s;
}

/* Cut IN in two; the separator between goes up as *S, the right half is *RIGHT. */
static int inner_split(struct btree *t, struct inner *in, bool at_end, struct separator **s,
		       struct node **right)
{
	unsigned keep = at_end ? INNER_MAX - 2 : INNER_MAX / 2, moved = in->node.count - keep;
	struct inner *r = (struct inner *)node_new(t, INNER);

	if (!r)
		return -ENOMEM;
	*s = in->separators[keep];
	memcpy(r->separators, in->separators + keep, moved * sizeof(struct separator *));
	memcpy(r->children, in->children + keep, moved * sizeof(struct node *));
	r->node.count = (uint16_t)moved;
	in->node.count = (uint16_t)keep;
	inner_heads(r);
	inner_heads(in);
	*right = &r->node;
	return 0;
}

/* Hang RIGHT, whose least key is S, behind the node that PATH leads to at DEPTH. */
static int hang(struct btree *t, struct path *path, unsigned depth, struct separator *s, struct node *right)
{
	struct inner *in;

	while (depth) {
		struct separator *up;
		struct node *half;
		unsigned at = path->at[--depth] + 1;
		int r;

		in = as_inner(path->nodes[depth]);
		if (in->node.count < INNER_MAX) {
			inner_insert(in, at, s, right);
			return 0;
		}
		r = inner_split(t, in, at == INNER_MAX, &up, &half);
		if (r)
			return r;
		if (at <= in->node.count)
			inner_insert(in, at, s, right);
		else
			inner_insert(as_inner(half), at - in->node.count, s, right);
		s = up;
		right = half;
	}
	in = (struct inner *)node_new(t, INNER);
	if (!in)
		return -ENOMEM;
	in->children[0] = t->root;
	in->node.count = 1;
	inner_insert(in, 1, s, right);
	t->root = &in->node;
	return 0;
}

/* Put E into the full leaf of PATH at AT, by cutting it in two; at its very end only E moves, for ascending
 * keys. */
static int split(struct btree *t, struct path *path, unsigned at, struct entry *e)
{
	struct leaf *l = path->leaf, *right = (struct leaf *)node_new(t, LEAF);
	unsigned keep = at == LEAF_MAX ? LEAF_MAX : LEAF_MAX / 2;
	struct separator *s;

	if (!right)
		return -ENOMEM;
	memcpy(right->entries, l->entries + keep, (LEAF_MAX - keep) * sizeof(struct entry *));
	right->node.count = (uint16_t)(LEAF_MAX - keep);
	l->node.count = (uint16_t)keep;
	if (keep < LEAF_MAX) {
		leaf_heads(l);
		leaf_heads(right);
	}
	if (at < keep)
		leaf_insert(l, at, e);
	else
		leaf_insert(right, at - keep, e);
	s = separator_between(t, entry_key(l->entries[l->node.count - 1]), entry_key(right->entries[0]));
	return s ? hang(t, path, path->depth, s, &right->node) : -ENOMEM;
}

/* Put */

static struct entry *entry_new(struct btree *t, struct cairn_slice key, const struct iovec *value, int count,
			       int *error)
{
	size_t len = 0;
	struct entry *e;
	unsigned char *p;

	for (int i = 0; i < count && len <= BTREE_VALUE_MAX; i++)
		len += value[i].iov_len;
	*error = len > BTREE_VALUE_MAX || key.len > BTREE_KEY_MAX ? -EMSGSIZE : -ENOMEM;
	if (*error == -EMSGSIZE || !(e = object_new(t, ENTRY, sizeof(*e) + key.len + len)))
		return NULL;
	e->object.key_len = (uint32_t)key.len & 0x1fffffff;
	e->older = NULL;
	memcpy(e->bytes, key.data, key.len);
	p = e->bytes + key.len;
	for (int i = 0; i < count; i++) {
		if (value[i].iov_len)
			memcpy(p, value[i].iov_base, value[i].iov_len);
		p += value[i].iov_len;
	}
	t->bytes += e->object.size;
	return e;
}

static int note_undo(struct btree *t, struct leaf *leaf, unsigned at)
{
	if (t->undo_count == t->undo_cap) {
		size_t cap = t->undo_cap ? 2 * t->undo_cap : 64;
		struct place *more = realloc(t->undo, cap * sizeof(*more));

		if (!more)
			return -ENOMEM;
		t->undo = more;
		t->undo_cap = cap;
	}
	t->undo[t->undo_count++] = (struct place){ leaf, at };
	return 0;
}

/* Put E in the place of the entry AT in the leaf of PATH. */
static int replace(struct btree *t, struct path *path, unsigned at, struct entry *e)
{
	struct leaf *l = path->leaf;
	struct entry *old = l->entries[at];
	int r = 0;

	if (l->node.object.birth != t->now && l->node.object.birth > t->pinned) {
		/* Readers have this leaf, and no snapshot does. */
		e->older = old->object.birth == t->now ? old->older : old;
		if (old->object.birth != t->now)
			r = note_undo(t, l, at);
	} else {
		r = own_path(t, path);
		l = path->leaf;
	}
	if (r)
		return r;
	__atomic_store_n(&l->entries[at], e, __ATOMIC_RELEASE);
	t->bytes -= old->object.size;
	retire(t, &old->object);
	return 0;
}

static int insert(struct btree *t, struct path *path, struct entry *e)
{
	unsigned at;
	int r = own_path(t, path);

	if (r)
		return r;
	t->keys++;
	at = leaf_place(path->leaf, entry_key(e));
	if (path->leaf->node.count == LEAF_MAX)
		return split(t, path, at, e);
	leaf_insert(path->leaf, at, e);
	return 0;
}

/* The leaf for KEY, made where the tree is empty, and the entry of KEY or NULL. */
static int find_place(struct btree *t, struct cairn_slice key, struct path *path, struct entry **old,
		      unsigned *at)
{
	if (!t->root) {
		t->root = node_new(t, LEAF);
		if (!t->root)
			return -ENOMEM;
	}
	descend(t->root, key, path);
	*old = leaf_lookup(path->leaf, key, at);
	return 0;
}

int btree_put(struct btree *t, struct cairn_slice key, const struct iovec *value, int count)
{
	struct entry *e, *old;
	struct path path;
	unsigned at;
	int r = find_place(t, key, &path, &old, &at);

	if (r)
		return r;
	e = entry_new(t, key, value, count, &r);
	if (!e)
		return r;
	return old ? replace(t, &path, at, e) : insert(t, &path, e);
}

/* Delete */

struct range {
	struct cairn_slice from, to;
	bool one;  /* only the key FROM */
	bool open; /* no end */
};

static void drop_entry(struct btree *t, struct entry *e)
{
	t->keys--;
	t->bytes -= e->object.size;
	retire(t, &e->object);
}

static void drop_tree(struct btree *t, struct node *n)
{
	for (unsigned i = 0; i < n->count; i++) {
		if (n->object.kind == LEAF) {
			drop_entry(t, as_leaf(n)->entries[i]);
			continue;
		}
		drop_tree(t, as_inner(n)->children[i]);
		if (i)
			retire(t, &as_inner(n)->separators[i]->object);
	}
	retire(t, &n->object);
}

static unsigned full(const struct node *n)
{
	return n->object.kind == LEAF ? LEAF_MAX : INNER_MAX;
}

/* Join the children AT and AT + 1 of IN. */
static int join(struct btree *t, struct inner *in, unsigned at)
{
	struct node *left = own(t, in->children[at]), *right = in->children[at + 1];

	if (!left)
		return -ENOMEM;
	in->children[at] = left;
	if (left->object.kind == LEAF) {
		struct leaf *l = as_leaf(left), *r = as_leaf(right);

		memcpy(l->entries + left->count, r->entries, right->count * sizeof(struct entry *));
		left->count += right->count;
		leaf_heads(l);
		inner_remove(t, in, at + 1);
	} else {
		struct inner *l = as_inner(left), *r = as_inner(right);
		unsigned after = in->node.count - at - 2;

		memcpy(l->separators + left->count, r->separators, right->count * sizeof(struct separator *));
		l->separators[left->count] = in->separators[at + 1]; /* comes down */
		memcpy(l->children + left->count, r->children, right->count * sizeof(struct node *));
		left->count += right->count;
		inner_heads(l);
		memmove(in->heads + at + 1, in->heads + at + 2, after * sizeof(*in->heads));
		memmove(in->separators + at + 1, in->separators + at + 2, after * sizeof(struct separator *));
		memmove(in->children + at + 1, in->children + at + 2, after * sizeof(struct node *));
		in->node.count--;
	}
	retire(t, &right->object);
	return 0;
}

/* Join the child AT of the batch's node IN with a neighbour where it has become small and both fit into one.
 */
static int tidy(struct btree *t, struct inner *in, unsigned at)
{
	for (unsigned i = at ? at - 1 : 0; i <= at && i + 1 < in->node.count; i++) {
		struct node *a = in->children[i], *b = in->children[i + 1];

		if ((a->count < full(a) / 3 || b->count < full(b) / 3) &&
		    (unsigned)a->count + b->count <= full(a) * 3 / 4)
			return join(t, in, i);
	}
	return 0;
}

static int cut_leaf(struct btree *t, struct node **link, const struct range *range)
{
	struct leaf *l = as_leaf(*link);
	unsigned from = leaf_place(l, range->from), to = l->node.count;

	if (range->one)
		to = from + 1;
	else if (!range->open)
		to = leaf_place(l, range->to);
	if (from >= to)
		return 0;
	l = (struct leaf *)own(t, *link);
	if (!l)
		return -ENOMEM;
	*link = &l->node;
	for (unsigned i = from; i < to; i++)
		drop_entry(t, l->entries[i]);
	leaf_remove(l, from, to);
	return 0;
}

/* Remove what is in RANGE from the tree at *LINK, which may end up with a count of 0; its owner then drops
 * it. */
static int cut(struct btree *t, struct node **link, const struct range *range)
{
	struct inner *in = as_inner(*link);
	unsigned from, to;
	uint64_t keys = t->keys;

	if ((*link)->object.kind == LEAF)
		return cut_leaf(t, link, range);
	from = inner_place(in, range->from);
	to = range->one ? from : range->open ? in->node.count - 1u : inner_place(in, range->to);
	for (unsigned i = to + 1; i-- > from;) {
		bool whole = i > from && (i < to || range->open);
		struct node *child = in->children[i];
		uint64_t before = t->keys;
		int r = whole ? 0 : cut(t, &child, range);

		if (r)
			return r;
		if (!whole && t->keys == before)
			continue;
		in = (struct inner *)own(t, *link);
		if (!in)
			return -ENOMEM;
		*link = &in->node;
		in->children[i] = child;
		if (whole || child->count == 0) {
			drop_tree(t, child);
			inner_remove(t, in, i);
		}
	}
	return t->keys != keys && in->node.count > 1 ? tidy(t, in, from) : 0;
}

static int erase(struct btree *t, const struct range *range)
{
	int r = t->root ? cut(t, &t->root, range) : 0;

	if (r)
		return r;
	while (t->root && t->root->object.kind == INNER && t->root->count == 1) {
		struct node *child = as_inner(t->root)->children[0];

		retire(t, &t->root->object);
		t->root = child;
	}
	if (t->root && t->root->count == 0) {
		retire(t, &t->root->object);
		t->root = NULL;
	}
	return 0;
}

int btree_delete(struct btree *t, struct cairn_slice key)
{
	struct range range = { .from = key, .one = true };
	struct path path;
	unsigned at;

	if (!t->root)
		return 0;
	descend(t->root, key, &path);
	return leaf_lookup(path.leaf, key, &at) ? erase(t, &range) : 0;
}

int btree_delete_range(struct btree *t, struct cairn_slice from, struct cairn_slice to)
{
	struct range range = { .from = from, .to = to, .open = to.len == 0 };

	return to.len && cairn_slice_cmp(from, to) >= 0 ? 0 : erase(t, &range);
}

int btree_update(struct btree *t, struct cairn_slice key, btree_decide_fn *decide, void *arg)
{
	const struct iovec *value = NULL;
	struct entry *e, *old;
	struct path path;
	unsigned at;
	int count, r = find_place(t, key, &path, &old, &at);

	if (r)
		return r;
	count = decide(arg, old != NULL, old ? entry_value(old) : cairn_slice(NULL, 0), &value);
	if (count < 0)
		return old ? erase(t, &(struct range){ .from = key, .one = true }) : 0;
	if (count == 0)
		return 0;
	e = entry_new(t, key, value, count, &r);
	if (!e)
		return r;
	return old ? replace(t, &path, at, e) : insert(t, &path, e);
}

/* Reclaim */

/* The oldest version that a guard may be reading, or the published one. */
static uint64_t oldest_guard(struct btree *t)
{
	uint64_t oldest = atomic_load(&t->number);

	for (unsigned i = 0; i < SLOTS; i++) {
		uint64_t announced = atomic_load(&t->slots[i].announced);

		if (announced && announced - 1 < oldest)
			oldest = announced - 1;
	}
	return oldest;
}

/* Take up to *LIMIT objects off Q: those that nobody sees are put before *DEAD. */
static void sort_out(struct btree *t, struct queue *q, uint64_t safe, size_t *limit, struct object **dead)
{
	while (*limit && q->first && q->first->retire <= safe) {
		struct object *o = queue_take(q);
		struct btree_version *pin = t->newest_pin;

		(*limit)--;
		while (pin && pin->number >= o->retire)
			pin = pin->older;
		if (pin && pin->number + 1 >= o->birth) {
			queue_add(&pin->held, o);
		} else {
			o->next = *dead;
			*dead = o;
		}
	}
}

/* Under the lock: look at up to LIMIT objects and take those that can be freed. Whether that was all that can
 * be done now. */
static bool collect(struct btree *t, size_t limit, struct object **dead)
{
	uint64_t safe = oldest_guard(t);

	*dead = NULL;
	sort_out(t, &t->fresh, safe, &limit, dead);
	sort_out(t, &t->again, safe, &limit, dead);
	return limit > 0;
}

static void free_all(struct btree *t, struct object *dead)
{
	uint64_t bytes = 0;

	while (dead) {
		struct object *next = dead->next;

		bytes += dead->size;
		slab_give(t->slab, dead, dead->size);
		dead = next;
	}
	if (bytes)
		atomic_fetch_sub_explicit(&t->memory, bytes, memory_order_relaxed);
}

bool btree_reclaim(struct btree *t, size_t limit)
{
	struct object *dead;
	bool all;

	pthread_mutex_lock(&t->lock);
	all = collect(t, limit, &dead);
	pthread_mutex_unlock(&t->lock);
	free_all(t, dead);
	return !all;
}

/* Batches */

void btree_begin(struct btree *t)
{
	struct btree_version *v = atomic_load_explicit(&t->published, memory_order_relaxed);

	pthread_mutex_lock(&t->lock);
	t->pinned = t->newest_pin ? t->newest_pin->number : 0;
	pthread_mutex_unlock(&t->lock);
	t->now = v->number + 1;
	t->root = v->root;
	t->keys = v->keys;
	t->bytes = v->bytes;
	t->born = t->retired = NULL;
	t->undo_count = t->retired_count = 0;
	t->allocated = 0;
}

void btree_abort(struct btree *t)
{
	for (size_t i = 0; i < t->undo_count; i++) {
		struct entry **slot = &t->undo[i].leaf->entries[t->undo[i].at];

		__atomic_store_n(slot, visible(*slot, t->now - 1), __ATOMIC_RELEASE);
	}
	/* A reader may be at an entry that stood in its leaf: what was born waits until guards have passed
	 * it. */
	pthread_mutex_lock(&t->lock);
	for (struct object *o = t->born, *next; o; o = next) {
		next = o->next;
		o->retire = t->now;
		queue_add(&t->fresh, o);
	}
	pthread_mutex_unlock(&t->lock);
	atomic_fetch_add_explicit(&t->memory, t->allocated, memory_order_relaxed);
	t->born = t->retired = NULL;
}

static void publish(struct btree *t, struct btree_version *v)
{
	struct object *dead, *next;
	size_t retired = t->retired_count + 1;

	for (struct object *o = t->born, *dead_on_arrival = t->retired;; o = next) {
		if (!o) {
			t->retired = dead_on_arrival;
			break;
		}
		next = o->next;
		if (o->retire) {
			o->next = dead_on_arrival;
			dead_on_arrival = o;
		}
	}
	atomic_fetch_add_explicit(&t->memory, t->allocated, memory_order_relaxed);
	pthread_mutex_lock(&t->lock);
	for (struct object *o = t->retired; o; o = next) {
		next = o->next;
		queue_add(&t->fresh, o);
	}
	atomic_store(&t->published, v);
	atomic_store(&t->number, v->number);
	collect(t, 2 * retired + 64, &dead);
	pthread_mutex_unlock(&t->lock);
	free_all(t, dead);
}

int btree_commit(struct btree *t, const struct btree_tag *tag)
{
	struct btree_version *old = atomic_load_explicit(&t->published, memory_order_relaxed), *v;

	v = object_new(t, VERSION, sizeof(*v));
	if (!v || (t->limit && t->bytes > t->limit && t->bytes > old->bytes)) {
		btree_abort(t);
		return v ? -ENOSPC : -ENOMEM;
	}
	v->number = t->now;
	v->root = t->root;
	v->tag = tag ? *tag : old->tag;
	v->keys = t->keys;
	v->bytes = t->bytes;
	v->uses = 0;
	queue_init(&v->held);
	retire(t, &old->object);
	publish(t, v);
	return 0;
}

/* Readers */

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
		prefetch(n);
	}
	e = leaf_lookup(as_leaf(n), key, &at);
	if (!e)
		return false;
	*value = entry_value(visible(e, v->number));
	return true;
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

/* The whole tree */

struct btree *btree_new(uint64_t limit)
{
	struct btree *t = aligned_alloc(64, (sizeof(*t) + 63) / 64 * 64);
	struct btree_version *v;

	if (!t)
		return NULL;
	memset(t, 0, sizeof(*t));
	t->limit = limit;
	pthread_mutex_init(&t->lock, NULL);
	queue_init(&t->fresh);
	queue_init(&t->again);
	t->now = 1;
	t->slab = slab_new();
	v = t->slab ? object_new(t, VERSION, sizeof(*v)) : NULL;
	if (!v) {
		slab_free(t->slab);
		pthread_mutex_destroy(&t->lock);
		free(t);
		return NULL;
	}
	v->number = 1;
	v->root = NULL;
	v->tag = (struct btree_tag){ 0 };
	v->keys = v->bytes = 0;
	v->uses = 0;
	queue_init(&v->held);
	atomic_init(&t->memory, t->allocated);
	atomic_init(&t->published, v);
	atomic_init(&t->number, 1);
	return t;
}

void btree_free(struct btree *t)
{
	struct btree_version *v;

	if (!t)
		return;
	v = atomic_load(&t->published);
	btree_begin(t);
	if (t->root)
		drop_tree(t, t->root);
	retire(t, &v->object);
	free_all(t, t->retired);
	free_all(t, t->fresh.first);
	free_all(t, t->again.first);
	slab_free(t->slab);
	free(t->undo);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

void btree_facts(struct btree *t, struct btree_facts *facts)
{
	struct btree_version *v;

	pthread_mutex_lock(&t->lock);
	v = atomic_load(&t->published);
	*facts = (struct btree_facts){ v->tag, v->keys, v->bytes, atomic_load(&t->memory), t->pin_count };
	pthread_mutex_unlock(&t->lock);
}
