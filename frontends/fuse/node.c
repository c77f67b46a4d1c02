/*
 * Nodes. Two hash tables, by number and by (parent, part); references keep a node while a task, a handle or a
 * child needs it, lookups while the kernel knows its number. Only lack of memory fails.
 */
#include <errno.h>
#include <stdlib.h>
#include "node.h"
#include "banned.h"

static size_t slot_of_id(const struct nodes *t, uint64_t id)
{
	return (size_t)((id * 0x9e3779b97f4a7c15) >> 32) & (t->size - 1);
}

static size_t slot_of_name(const struct nodes *t, uint64_t parent, struct cairn_slice part, bool self)
{
	const unsigned char *p = part.data;
	uint64_t h = 0xcbf29ce484222325 ^ (parent * 0x9e3779b97f4a7c15) ^ self;

	for (size_t i = 0; i < part.len; i++)
		h = (h ^ p[i]) * 0x100000001b3;
	return (size_t)(h ^ h >> 32) & (t->size - 1);
}

static size_t slot_of(const struct nodes *t, const struct node *n)
{
	return slot_of_name(t, n->parent->id, node_part(n), n->self);
}

static int resize(struct nodes *t, size_t size)
{
	struct node **by_id = calloc(size, sizeof(*by_id)), **by_name = calloc(size, sizeof(*by_name));
	struct nodes old = *t;

	if (!by_id || !by_name) {
		free(by_id);
		free(by_name);
		return -ENOMEM;
	}
	t->by_id = by_id;
	t->by_name = by_name;
	t->size = size;
	for (size_t i = 0; i < old.size; i++)
		for (struct node *n = old.by_id[i], *next; n; n = next) {
			size_t slot = slot_of_id(t, n->id);

			next = n->id_next;
			n->id_next = by_id[slot];
			by_id[slot] = n;
			if (!n->parent)
				continue;
			slot = slot_of(t, n);
			n->name_next = by_name[slot];
			by_name[slot] = n;
		}
	free(old.by_id);
	free(old.by_name);
	return 0;
}

static struct node *make(struct nodes *t)
{
	struct node *n;
	size_t slot;

	if (t->count >= t->size && resize(t, t->size * 2) < 0)
		return NULL;
	n = calloc(1, sizeof(*n));
	if (!n)
		return NULL;
	n->id = t->next_id++;
	n->refs = 1;
	slot = slot_of_id(t, n->id);
	n->id_next = t->by_id[slot];
	t->by_id[slot] = n;
	t->count++;
	return n;
}

int nodes_open(struct nodes *t)
{
	*t = (struct nodes){ .next_id = NODE_ROOT };
	if (resize(t, 1024) < 0)
		return -ENOMEM;
	t->root = make(t);
	if (!t->root)
		return -ENOMEM;
	t->root->facts.kind = CAIRN_KIND_DIRECTORY;
	t->root->facts.there = true;
	t->root->ino = NODE_ROOT | 1ull << 62; /* away from file ids */
	return 0;
}

static void release(struct node *n)
{
	content_free(&n->content);
	facts_free(&n->facts);
	free(n->part);
	free(n->was);
	free(n);
}

void nodes_close(struct nodes *t)
{
	for (size_t i = 0; i < t->size; i++)
		for (struct node *n = t->by_id[i], *next; n; n = next) {
			next = n->id_next;
			release(n);
		}
	free(t->by_id);
	free(t->by_name);
	*t = (struct nodes){ 0 };
}

struct node *node_get(struct nodes *t, uint64_t id)
{
	struct node *n = t->by_id[slot_of_id(t, id)];

	while (n && n->id != id)
		n = n->id_next;
	return n;
}

struct node *node_find(struct nodes *t, const struct node *parent, struct cairn_slice part, bool self)
{
	struct node *n = t->by_name[slot_of_name(t, parent->id, part, self)];

	while (n && (n->parent != parent || n->self != self || !cairn_slice_eq(node_part(n), part)))
		n = n->name_next;
	return n;
}

/* Give N, which has no name, this one. 0 or -ENOMEM. */
static int name(struct nodes *t, struct node *n, struct node *parent, struct cairn_slice part, bool self)
{
	unsigned char *copy = malloc(part.len ? part.len : 1);
	size_t slot = slot_of_name(t, parent->id, part, self);

	if (!copy)
		return -ENOMEM;
	if (part.len)
		memcpy(copy, part.data, part.len);
	free(n->part);
	n->part = copy;
	n->part_len = part.len;
	n->self = self;
	n->parent = node_hold(parent);
	n->name_next = t->by_name[slot];
	t->by_name[slot] = n;
	return 0;
}

/* Take N's name away. Returns its parent, whose reference is now the caller's. */
static struct node *unname(struct nodes *t, struct node *n)
{
	struct node **p = &t->by_name[slot_of(t, n)], *parent = n->parent;

	while (*p != n)
		p = &(*p)->name_next;
	*p = n->name_next;
	n->name_next = NULL;
	n->parent = NULL;
	return parent;
}

struct node *node_add(struct nodes *t, struct node *parent, struct cairn_slice part, bool self)
{
	struct node *n = make(t);

	if (!n)
		return NULL;
	n->ino = n->id | 1ull << 62; /* until the store has given one */
	if (name(t, n, parent, part, self) < 0) {
		node_drop(t, n);
		return NULL;
	}
	return n;
}

void node_detach(struct nodes *t, struct node *n, bool removed)
{
	if (!n->parent)
		return;
	if (n->opens > 0 && !n->loaded) { /* its bytes are still read from there */
		free(n->was);
		n->was = malloc(sizeof(*n->was));
		if (n->was && node_key(n, t->prefix ? t->prefix : "", n->was) < 0)
			n->was->len = 0;
	}
	n->removed = removed;
	node_mark(t, n, false);
	node_drop(t, unname(t, n));
}

int node_move(struct nodes *t, struct node *n, struct node *parent, struct cairn_slice part, bool self)
{
	struct node *old = unname(t, n);
	unsigned char *old_part = n->part;
	size_t old_len = n->part_len;
	int r;

	n->part = NULL;
	r = name(t, n, parent, part, self);
	if (r < 0) { /* it stays without a name: the next lookup makes another node */
		n->part = old_part;
		n->part_len = old_len;
		n->removed = true;
	} else {
		free(old_part);
	}
	node_drop(t, old);
	return r;
}

void node_swap(struct nodes *t, struct node *a, struct node *b)
{
	struct node *first = unname(t, a), *second = unname(t, b), *n = b;
	struct node part = { .part = a->part, .part_len = a->part_len, .self = a->self };

	a->part = b->part;
	a->part_len = b->part_len;
	a->self = b->self;
	a->parent = second;
	b->part = part.part;
	b->part_len = part.part_len;
	b->self = part.self;
	b->parent = first;
	for (int i = 0; i < 2; i++, n = a) {
		size_t slot = slot_of(t, n);

		n->name_next = t->by_name[slot];
		t->by_name[slot] = n;
	}
}

static void free_node(struct nodes *t, struct node *n)
{
	struct node **p = &t->by_id[slot_of_id(t, n->id)];
	struct node *parent = n->parent ? unname(t, n) : NULL;

	node_mark(t, n, false);
	while (*p != n)
		p = &(*p)->id_next;
	*p = n->id_next;
	t->count--;
	release(n);
	if (parent)
		node_drop(t, parent);
}

void node_drop(struct nodes *t, struct node *n)
{
	if (--n->refs == 0 && n->lookups == 0)
		free_node(t, n);
}

void node_forget(struct nodes *t, struct node *n, uint64_t count)
{
	n->lookups = count < n->lookups ? n->lookups - count : 0;
	if (n->refs == 0 && n->lookups == 0)
		free_node(t, n);
}

void node_mark(struct nodes *t, struct node *n, bool dirty)
{
	if (n->listed == dirty)
		return;
	n->listed = dirty;
	if (dirty) {
		n->prev_dirty = NULL;
		n->next_dirty = t->dirty;
		if (t->dirty)
			t->dirty->prev_dirty = n;
		t->dirty = n;
	} else {
		*(n->prev_dirty ? &n->prev_dirty->next_dirty : &t->dirty) = n->next_dirty;
		if (n->next_dirty)
			n->next_dirty->prev_dirty = n->prev_dirty;
		n->next_dirty = n->prev_dirty = NULL;
	}
}

bool node_within(const struct node *n, const struct node *folder)
{
	while (n && n != folder)
		n = n->parent;
	return n != NULL;
}

static int add(struct key *key, const void *bytes, size_t len)
{
	if (len > sizeof(key->bytes) - key->len)
		return -ENAMETOOLONG;
	if (len)
		memcpy(key->bytes + key->len, bytes, len);
	key->len += len;
	return 0;
}

/* The key of the folder N, written from the root down. */
static int folder_key(const struct node *n, const char *prefix, struct key *key)
{
	int r;

	if (n->id == NODE_ROOT) {
		r = add(key, prefix, strlen(prefix));
		return r < 0 || !*prefix ? r : add(key, "/", 1);
	}
	if (!n->parent)
		return -ESTALE;
	r = folder_key(n->parent, prefix, key);
	if (r == 0)
		r = add(key, n->part, n->part_len);
	return r < 0 ? r : add(key, "/", 1);
}

int node_key_in(const struct node *parent, const char *prefix, struct cairn_slice part, bool self,
		bool folder, struct key *key)
{
	int r;

	key->len = 0;
	r = folder_key(parent, prefix, key);
	if (r < 0)
		return r;
	if (self) { /* the folder's key without its slash */
		if (key->len == 0)
			return -ENOENT;
		key->len--;
		return 0;
	}
	r = add(key, part.data, part.len);
	if (r == 0 && folder)
		r = add(key, "/", 1);
	return r;
}

int node_key(const struct node *n, const char *prefix, struct key *key)
{
	key->len = 0;
	if (node_is_folder(n))
		return folder_key(n, prefix, key);
	if (!n->parent)
		return -ESTALE;
	return node_key_in(n->parent, prefix, node_part(n), n->self, false, key);
}
