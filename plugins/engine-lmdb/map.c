/*
 * LMDB's map, read here and not by liblmdb: that cannot be asked whether a page is in memory, and finds out
 * by a page fault that the whole thread waits for; and it believes what it reads, so that damage can end the
 * process. A look that must not wait touches a page only when mincore says that it is in memory, or has said
 * so within the last second. What does not hold together is -EUCLEAN with its offset.
 *
 * A reader's transaction keeps the pages of its state from being written over. Where the map begins, and
 * where the state's root is, liblmdb does not tell either: see lmdb_find_map and lmdb_find_root.
 */
#include <errno.h>
#include <sys/mman.h>
#include <time.h>
#include "format.h"
#include "le.h"
#include "map.h"
#include "banned.h"

#define VALUE_PAGES 64 /* a larger value is not looked at without waiting */

void lmdb_find_map(struct env *env, const void *row)
{
	const unsigned char *p = row;

	p -= (uintptr_t)p % env->page; /* the map begins where a page of the kernel does */
	env->map = p - le64_get(p) * env->page;
}

bool lmdb_find_root(struct reader *r)
{
	uint64_t txn = mdb_txn_id(r->txn);
	const unsigned char *meta = r->env->map + txn % 2 * r->env->page + PAGE_HEAD;
	const unsigned char *db = meta + META_DB + DB_BYTES;
	MDB_envinfo info;

	r->root = le64_get(db + DB_ROOT);
	r->depth = le16_get(db + DB_DEPTH);
	atomic_thread_fence(memory_order_acquire);
	/* The next transaction has the other meta page; only the one behind it writes over this one. */
	if (mdb_env_info(r->env->mdb, &info) || info.me_last_txnid != txn || le64_get(meta + META_TXN) != txn)
		return false;
	r->pages = info.me_last_pgno + 1;
	return true;
}

struct look look_begin(struct handle *h, const struct reader *r, bool wait)
{
	struct look l = {
		.h = h, .r = r, .map = r->env->map, .pages = r->pages, .page = r->env->page, .wait = wait
	};
	struct timespec now;

	if (!wait) {
		clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
		l.second = (uint32_t)now.tv_sec & 0xffff;
	}
	return l;
}

int look_end(const struct look *l, int e)
{
	struct cairn_error why = { 0 };

	if (e != -EUCLEAN)
		return e;
	cairn_fail(&why, CAIRN_E_CORRUPT, "%s/%s: damaged at offset %llu: %s", l->h->dir, l->r->env->name,
		   (unsigned long long)l->damage.offset, l->damage.why);
	lmdb_keep_notice(l->h, &why);
	return e;
}

static int bad(struct look *l, uint64_t offset, const char *why)
{
	l->damage = (struct damage){ offset, why };
	return -EUCLEAN;
}

/* Whether COUNT pages from PAGE on are in memory. */
static bool is_there(const struct look *l, uint64_t page, uint64_t count)
{
	_Atomic uint64_t *known = &l->h->known[page % LMDB_KNOWN];
	uint64_t want = page << 16 | l->second, bytes = l->page;
	unsigned char there[VALUE_PAGES + 1];
	uintptr_t from = (uintptr_t)l->map + page * bytes, to = from + count * bytes;

	if (count == 1 && atomic_load_explicit(known, memory_order_relaxed) == want)
		return true;
	if (count > VALUE_PAGES)
		return false;
	from -= from % l->h->kernel_page;
	if (mincore((void *)from, to - from, there))
		return false;
	for (uint64_t i = 0; i < (to - from + l->h->kernel_page - 1) / l->h->kernel_page; i++)
		if (!(there[i] & 1))
			return false;
	if (count == 1)
		atomic_store_explicit(known, want, memory_order_relaxed);
	return true;
}

/* Page NUMBER of a leaf or a branch at *P, with COUNT nodes; FROM is the offset that says so. */
static inline int page_at(struct look *l, uint64_t number, bool leaf, uint64_t from, const unsigned char **p,
			  unsigned *count)
{
	unsigned lower;

	if (number < 2 || number >= l->pages)
		return bad(l, from, "it points to a page outside of the file");
	if (!l->wait && !is_there(l, number, 1))
		return -EAGAIN;
	*p = l->map + number * l->page;
	lower = le16_get(*p + PAGE_LOWER);
	if (le64_get(*p) != number ||
	    (le16_get(*p + PAGE_FLAGS) & ~PAGE_DIRTY) != (leaf ? PAGE_LEAF : PAGE_BRANCH))
		return bad(l, number * l->page, "it is another page than it should be");
	if (lower <= PAGE_HEAD || lower > l->page)
		return bad(l, number * l->page, "the page's bounds are wrong");
	*count = (lower - PAGE_HEAD) / 2u;
	return 0;
}

/* Offset in the file of P, which is in the map. */
static uint64_t offset_of(const struct look *l, const unsigned char *p)
{
	return (uint64_t)(p - l->map);
}

/* Node number I of the page P, with its key. */
static inline int node_at(struct look *l, const unsigned char *p, unsigned i, const unsigned char **node,
			  struct cairn_slice *key)
{
	unsigned at = le16_get(p + PAGE_HEAD + 2 * i), bytes = l->page;

	if (at + NODE_HEAD > bytes || at + NODE_HEAD + le16_get(p + at + NODE_KEY_LEN) > bytes)
		return bad(l, offset_of(l, p) + PAGE_HEAD + 2 * i, "a node lies outside of its page");
	*node = p + at;
	*key = cairn_slice(p + at + NODE_HEAD, le16_get(p + at + NODE_KEY_LEN));
	return 0;
}

static uint64_t child_of(const unsigned char *node)
{
	return le32_get(node) | (uint64_t)le16_get(node + NODE_FLAGS) << 32;
}

/* The value of NODE, which stands in the leaf P. */
static inline int value_of(struct look *l, const unsigned char *p, const unsigned char *node,
			   struct cairn_slice *value)
{
	const unsigned char *data = node + NODE_HEAD + le16_get(node + NODE_KEY_LEN);
	uint64_t len = le32_get(node), bytes = l->page, page, count;
	bool big = le16_get(node + NODE_FLAGS) & NODE_BIG;

	if (data + (big ? 8 : len) > p + bytes)
		return bad(l, offset_of(l, node), "a node lies outside of its page");
	*value = cairn_slice(data, len);
	if (!big)
		return 0;
	page = le64_get(data);
	count = (PAGE_HEAD + len + bytes - 1) / bytes;
	if (page < 2 || page >= l->pages || count > l->pages - page)
		return bad(l, offset_of(l, node), "the value lies outside of the file");
	*value = cairn_slice(l->map + page * bytes + PAGE_HEAD, len);
	return l->wait || is_there(l, page, count) ? 0 : -EAGAIN;
}

/* As cairn_slice_cmp, without a call where the first bytes tell. */
static inline int compare(struct cairn_slice a, struct cairn_slice b)
{
	if (a.len >= 8 && b.len >= 8) {
		uint64_t x = be64_get(a.data), y = be64_get(b.data);

		if (x != y)
			return x < y ? -1 : 1;
	}
	return cairn_slice_cmp(a, b);
}

/* The first of the COUNT nodes of P, from LOW on, whose key is not below KEY; EXACT: it is KEY. */
static inline int search(struct look *l, const unsigned char *p, unsigned low, unsigned count,
			 struct cairn_slice key, unsigned *found, bool *exact)
{
	unsigned high = count;

	*exact = false;
	while (low < high) {
		unsigned middle = (low + high) / 2;
		const unsigned char *node;
		struct cairn_slice other;
		int e = node_at(l, p, middle, &node, &other), order;

		if (e)
			return e;
		order = compare(other, key);
		if (order < 0) {
			low = middle + 1;
		} else {
			high = middle;
			if (order == 0) {
				*exact = true;
				break;
			}
		}
	}
	*found = high;
	return 0;
}

/* The node of the branch P that leads to KEY. A branch's first key is not used. */
static int search_branch(struct look *l, const unsigned char *p, unsigned count, struct cairn_slice key,
			 unsigned *found)
{
	bool exact;
	int e = search(l, p, 1, count, key, found, &exact);

	*found -= !e && !exact;
	return e;
}

int map_get(struct look *l, struct cairn_slice key, struct cairn_slice *value)
{
	uint64_t page = l->r->root, from = 0;
	const unsigned char *p, *node;
	struct cairn_slice other;
	unsigned count, at;
	bool exact;
	int e = 0;

	if (page == UINT64_MAX)
		return -ENOENT;
	for (unsigned level = 1; level <= l->r->depth && level <= LMDB_DEPTH_MAX; level++) {
		bool leaf = level == l->r->depth;

		e = page_at(l, page, leaf, from, &p, &count);
		if (!e && leaf) {
			e = search(l, p, 0, count, key, &at, &exact);
			if (!e && !exact)
				return -ENOENT;
		} else if (!e) {
			e = search_branch(l, p, count, key, &at);
		}
		if (!e)
			e = node_at(l, p, at, &node, &other);
		if (!e && leaf)
			return value_of(l, p, node, value);
		if (e)
			return e;
		from = offset_of(l, node);
		page = child_of(node);
	}
	return bad(l, from, "the tree's depth is wrong");
}

/* ---- Walking ---- */

/* From LEVEL on down to a leaf: by KEY, or where it is NULL along an edge. */
static int descend(struct cursor *c, unsigned level, const struct cairn_slice *key, bool last)
{
	struct look *l = &c->look;
	const unsigned char *p, *node;
	struct cairn_slice other;
	unsigned count;
	bool exact;
	int e;

	for (;; level++) {
		bool leaf = level + 1 == c->depth;
		unsigned *at = &c->path[level].node;

		e = page_at(l, c->path[level].page, leaf, level ? c->path[level - 1].page * l->page : 0, &p,
			    &count);
		if (!e && !key)
			*at = last ? count - 1 : 0;
		else if (!e && leaf)
			e = search(l, p, 0, count, *key, at, &exact);
		else if (!e)
			e = search_branch(l, p, count, *key, at);
		if (e)
			return e;
		if (leaf) {
			c->leaf = p;
			c->count = count;
			return 0;
		}
		e = node_at(l, p, *at, &node, &other);
		if (e)
			return e;
		c->path[level + 1].page = child_of(node);
	}
}

/* To the leaf behind, or before, the one where C stands. */
static int leave(struct cursor *c, bool back)
{
	struct look *l = &c->look;
	const unsigned char *p, *node;
	struct cairn_slice key;
	unsigned count, level;
	int e;

	for (level = c->depth - 1; level-- > 0;) {
		unsigned *at = &c->path[level].node;

		e = page_at(l, c->path[level].page, false, 0, &p, &count);
		if (e)
			return e;
		if (back ? *at == 0 : *at + 1 >= count)
			continue;
		*at += back ? -1u : 1u;
		e = node_at(l, p, *at, &node, &key);
		if (e)
			return e;
		c->path[level + 1].page = child_of(node);
		return descend(c, level + 1, NULL, back);
	}
	return -ENOENT;
}

static inline int row(struct cursor *c, struct cairn_slice *key, struct cairn_slice *value)
{
	const unsigned char *node;
	int e = node_at(&c->look, c->leaf, c->path[c->depth - 1].node, &node, key);

	return e ? e : value_of(&c->look, c->leaf, node, value);
}

int cursor_step(struct cursor *c, bool back, struct cairn_slice *key, struct cairn_slice *value)
{
	unsigned *at = &c->path[c->depth - 1].node;
	int e = 0;

	if (back ? *at == 0 : *at + 1 >= c->count)
		e = leave(c, back);
	else
		*at += back ? -1u : 1u;
	return e ? e : row(c, key, value);
}

int cursor_seek(struct cursor *c, struct cairn_slice bound, bool before, struct cairn_slice *key,
		struct cairn_slice *value)
{
	struct look *l = &c->look;
	bool end = before && !bound.len;
	unsigned *at;
	int e;

	c->depth = l->r->depth;
	if (l->r->root == UINT64_MAX)
		return -ENOENT;
	if (!c->depth || c->depth > LMDB_DEPTH_MAX)
		return bad(l, 0, "the tree's depth is wrong");
	at = &c->path[c->depth - 1].node;
	c->path[0].page = l->r->root;
	e = descend(c, 0, end ? NULL : &bound, true);
	if (e)
		return e;
	if (before && !end)
		return cursor_step(c, true, key, value);
	if (*at < c->count)
		return row(c, key, value);
	*at = c->count - 1;
	return cursor_step(c, false, key, value);
}
