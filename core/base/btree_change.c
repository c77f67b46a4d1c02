/*
 * What a batch does to the tree: entries put, replaced and removed, nodes cut in two and joined. A node of
 * the batch's own is changed in place, an older one is copied first (own), so that the root that readers have
 * stays whole; but where no snapshot can see a leaf, a new entry is put into the old one's place at once.
 * Only want of memory fails, and then the batch is aborted.
 */
#include <errno.h>
#include <stdlib.h>
#include "btree_inside.h"
#include "banned.h"

/* Change a node of the batch */

/* Say that the heads from N to MAX are not used. */
static void no_heads(uint64_t *heads, unsigned n, unsigned max)
{
	memset(heads + n, 0xff, (max - n) * sizeof(*heads));
}

/* All keys of N lie between FIRST and LAST. */
static void share(struct node *n, struct cairn_slice first, struct cairn_slice last)
{
	size_t skip = common(first, last);

	n->skip = skip < UINT16_MAX ? (uint16_t)skip : UINT16_MAX;
	memcpy(n->shared, first.data, n->skip < SHARED_MAX ? n->skip : SHARED_MAX);
}

static void leaf_heads(struct leaf *l)
{
	unsigned n = l->node.count;

	l->node.skip = 0;
	if (n > 1)
		share(&l->node, entry_key(l->entries[0]), entry_key(l->entries[n - 1]));
	for (unsigned i = 0; i < n; i++)
		l->heads[i] = head_of(entry_key(l->entries[i]), l->node.skip);
	no_heads(l->heads, n, LEAF_MAX);
}

static void inner_heads(struct inner *in)
{
	unsigned n = in->node.count;

	in->node.skip = 0;
	if (n > 2)
		share(&in->node, separator_key(in->separators[1]), separator_key(in->separators[n - 1]));
	in->heads[0] = 0;
	for (unsigned i = 1; i < n; i++)
		in->heads[i] = head_of(separator_key(in->separators[i]), in->node.skip);
	no_heads(in->heads, n, INNER_MAX);
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
	no_heads(l->heads, l->node.count, LEAF_MAX);
}

/* Take the child AT out, and its separator. */
static void inner_take(struct inner *in, unsigned at)
{
	unsigned after = in->node.count - at - 1;

	memmove(in->heads + at, in->heads + at + 1, after * sizeof(*in->heads));
	memmove(in->separators + at, in->separators + at + 1, after * sizeof(struct separator *));
	memmove(in->children + at, in->children + at + 1, after * sizeof(struct node *));
	in->node.count--;
	in->heads[0] = 0;
	no_heads(in->heads, in->node.count, INNER_MAX);
}

/* The same; the separator, or that of the child which is the first now, is retired. */
static void inner_remove(struct btree *t, struct inner *in, unsigned at)
{
	if (in->node.count > 1)
		retire(t, &in->separators[at ? at : 1]->object);
	inner_take(in, at);
}

static struct node *node_new(struct btree *t, enum kind kind)
{
	struct node *n = object_new(t, kind, kind == LEAF ? sizeof(struct leaf) : sizeof(struct inner));

	if (!n)
		return NULL;
	n->count = n->skip = 0;
	if (kind == LEAF)
		no_heads(as_leaf(n)->heads, 0, LEAF_MAX);
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
	memcpy(copy->shared, n->shared, SHARED_MAX);
	if (n->object.kind == LEAF) {
		struct leaf *from = as_leaf(n), *to = as_leaf(copy);

		memcpy(to->heads, from->heads, sizeof(from->heads));
		memcpy(to->entries, from->entries, n->count * sizeof(struct entry *));
	} else {
		struct inner *from = as_inner(n), *to = as_inner(copy);

		memcpy(to->heads, from->heads, sizeof(from->heads));
		memcpy(to->separators, from->separators, n->count * sizeof(struct separator *));
		memcpy(to->children, from->children, n->count * sizeof(struct node *));
	}
	retire(t, &n->object);
	return copy;
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

/* Whether an entry of L may be replaced where it stands: readers have this leaf, and no snapshot does. */
static bool in_place(const struct btree *t, const struct leaf *l)
{
	return l->node.object.birth != t->now && l->node.object.birth > t->pinned;
}

/* Put E in the place of the entry AT in the leaf of PATH, which is looked at only where that is not in place.
 */
static int replace(struct btree *t, struct path *path, unsigned at, struct entry *e)
{
	struct leaf *l = path->leaf;
	struct entry *old = l->entries[at];
	int r = 0;

	if (in_place(t, l)) {
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

/* The entry of KEY where btree_get_many has just found it, in *LEAF at *AT, and it can be replaced there;
 * else NULL. A leaf of the version that is published cannot be gone, and what was copied is retired. */
static struct entry *remembered(struct btree *t, struct cairn_slice key, struct leaf **leaf, unsigned *at)
{
	const struct finger *f = finger_of(t, key.data);

	if (f->key != key.data || f->version + 1 != t->now || f->leaf->node.object.retire ||
	    !in_place(t, f->leaf) || !entry_has(f->leaf->entries[f->at], key))
		return NULL;
	*leaf = f->leaf;
	*at = f->at;
	return f->leaf->entries[f->at];
}

int btree_put(struct btree *t, struct cairn_slice key, const struct iovec *value, int count)
{
	struct path path;
	unsigned at;
	struct entry *e, *old = remembered(t, key, &path.leaf, &at);
	int r = old ? 0 : find_place(t, key, &path, &old, &at);

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

void btree_drop(struct btree *t, struct node *n)
{
	for (unsigned i = 0; i < n->count; i++) {
		if (n->object.kind == LEAF) {
			drop_entry(t, as_leaf(n)->entries[i]);
			continue;
		}
		btree_drop(t, as_inner(n)->children[i]);
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

		memcpy(l->separators + left->count, r->separators, right->count * sizeof(struct separator *));
		l->separators[left->count] = in->separators[at + 1]; /* comes down */
		memcpy(l->children + left->count, r->children, right->count * sizeof(struct node *));
		left->count += right->count;
		inner_heads(l);
		inner_take(in, at + 1);
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
			btree_drop(t, child);
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
	struct entry *e;
	unsigned at;

	if (!t->root)
		return 0;
	descend(t->root, key, &path);
	e = leaf_lookup(path.leaf, key, &at);
	if (!e)
		return 0;
	if (path.leaf->node.count <= LEAF_MAX / 3) /* it may have to be joined with another */
		return erase(t, &range);
	if (own_path(t, &path) < 0)
		return -ENOMEM;
	drop_entry(t, e);
	leaf_remove(path.leaf, at, at + 1);
	return 0;
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
