/*
 * LMDB's pages, read with pread and believed only as far as they fit: every page says its own number, lies
 * within the file, is used once, is of the kind that its depth asks for, its nodes lie within it, and its
 * keys are in order. What does not fit is damage, with its offset; repair goes on behind it, everybody else
 * stops.
 *
 * format.md has the bytes. LMDB writes numbers as the machine has them; here that is little-endian.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "file.h"
#include "format.h"
#include "le.h"
#include "sys.h"
#include "banned.h"

#define DEPTH_MAX 32
#define KEY_MAX 511

enum { FREE_LIST, ROWS };

struct db {
	unsigned depth;
	uint64_t branches, leaves, overflows, entries, root;
};

struct tree {
	int fd;
	const char *dir, *name;
	uint64_t size; /* of the file */
	uint32_t page; /* bytes */
	uint64_t pages, txn;
	struct db dbs[2];
	unsigned char *used; /* a bit for each page; owned */
	unsigned char *free; /* the same, of the free list; owned; NULL where nobody asks */
	/* Of the walk. */
	int which; /* db */
	bool mend;
	uint64_t lost;
	struct db seen;
	bool any, at_least; /* there is a last key; the next one may be equal to it */
	size_t last_len;
	unsigned char last[KEY_MAX];
	tree_row_fn *fn;
	void *arg;
	unsigned char *value; /* owned */
	size_t value_cap;
	struct cairn_error *error;
};

__attribute__((format(printf, 3, 4))) static int damaged(struct tree *t, uint64_t offset, const char *format,
							 ...)
{
	char why[160];
	va_list args;

	va_start(args, format);
	vsnprintf(why, sizeof(why), format, args);
	va_end(args);
	cairn_fail(t->error, CAIRN_E_CORRUPT, "%s/%s: damaged at offset %" PRIu64 ": %s", t->dir, t->name,
		   offset, why);
	return -EUCLEAN;
}

/* ---- Opening ---- */

/* Whether the meta page NUMBER at P is one. */
static bool is_meta(const unsigned char *p, uint64_t number)
{
	const unsigned char *m = p + PAGE_HEAD;
	uint32_t page = le32_get(m + META_DB);

	return le64_get(p) == number && le16_get(p + PAGE_FLAGS) & PAGE_META && le32_get(m) == LMDB_MAGIC &&
		le32_get(m + 4) == LMDB_VERSION && page >= 512 && page <= 65536 && (page & (page - 1)) == 0;
}

static struct db db_of(const unsigned char *m)
{
	return (struct db){ le16_get(m + DB_DEPTH), le64_get(m + 8),  le64_get(m + 16),
			    le64_get(m + 24),       le64_get(m + 32), le64_get(m + DB_ROOT) };
}

static void take_meta(struct tree *t, const unsigned char *p)
{
	const unsigned char *m = p + PAGE_HEAD;

	t->page = le32_get(m + META_DB);
	t->pages = le64_get(m + META_LAST) + 1;
	t->txn = le64_get(m + META_TXN);
	for (int i = 0; i < 2; i++)
		t->dbs[i] = db_of(m + META_DB + i * DB_BYTES);
}

/* Where the second meta page is when the first cannot tell. */
static uint32_t find_second(struct tree *t, unsigned char *p)
{
	for (uint32_t page = 512; page <= 65536; page *= 2)
		if (sys->pread(t->fd, p, PAGE_HEAD + META_BYTES, page) == PAGE_HEAD + META_BYTES &&
		    is_meta(p, 1) && le32_get(p + PAGE_HEAD + META_DB) == page)
			return page;
	return 0;
}

static int read_metas(struct tree *t)
{
	unsigned char first[PAGE_HEAD + META_BYTES], second[PAGE_HEAD + META_BYTES];
	bool has_first = sys->pread(t->fd, first, sizeof(first), 0) == sizeof(first) && is_meta(first, 0);
	uint32_t page = has_first ? le32_get(first + PAGE_HEAD + META_DB) : find_second(t, second);
	bool has_second = page && sys->pread(t->fd, second, sizeof(second), page) == sizeof(second) &&
		is_meta(second, 1) && le32_get(second + PAGE_HEAD + META_DB) == page;

	if (!has_first && (!t->mend || !has_second))
		return damaged(t, 0, "there is no meta page");
	if (!has_second && !t->mend)
		return damaged(t, page, "there is no meta page");
	take_meta(t,
		  !has_first ||
				  (has_second &&
				   le64_get(second + PAGE_HEAD + META_TXN) >
					   le64_get(first + PAGE_HEAD + META_TXN))
			  ? second
			  : first);
	/* A free page needs eight bytes to be told of, so that more pages than this cannot be. */
	if (t->pages < 2 || t->pages / 1024 > t->size / t->page + 1024)
		return damaged(t, 0, "the meta page tells of %" PRIu64 " pages", t->pages);
	t->used = calloc(1, t->pages / 8 + 1);
	return t->used ? 0 : -ENOMEM;
}

int tree_open(int dirfd, const char *dir, const char *name, bool mend, struct tree **tree,
	      struct cairn_error *error)
{
	struct tree *t = calloc(1, sizeof(*t));
	off_t size;
	int e = -ENOMEM;

	if (!t)
		goto failed;
	*t = (struct tree){ .dir = dir, .name = name, .mend = mend, .error = error };
	e = t->fd = sys->openat(dirfd, name, O_RDONLY | O_CLOEXEC, 0);
	if (e < 0)
		goto failed;
	size = sys->size(t->fd);
	t->size = size < 0 ? 0 : (uint64_t)size;
	e = size < 0 ? (int)size : read_metas(t);
	if (e == 0) {
		*tree = t;
		return 0;
	}
failed:
	if (e != -EUCLEAN)
		cairn_fail(error, cairn_error_from_errno(-e), "%s/%s: %s", dir, name, strerror(-e));
	tree_close(t);
	return e;
}

void tree_close(struct tree *t)
{
	if (!t)
		return;
	if (t->fd >= 0)
		sys->close(t->fd);
	free(t->used);
	free(t->free);
	free(t->value);
	free(t);
}

uint64_t tree_txn(const struct tree *t)
{
	return t->txn;
}

/* ---- Pages ---- */

static bool is_set(const unsigned char *bits, uint64_t page)
{
	return bits[page / 8] & 1 << page % 8;
}

static void set(unsigned char *bits, uint64_t page)
{
	bits[page / 8] |= (unsigned char)(1 << page % 8);
}

/* Note that COUNT pages from PAGE on are in use; FROM is the offset that says so. */
static int use(struct tree *t, uint64_t page, uint64_t count, uint64_t from)
{
	if (page < 2 || page >= t->pages || count > t->pages - page)
		return damaged(t, from, "it points to page %" PRIu64 " of %" PRIu64, page, t->pages);
	if ((page + count) * t->page > t->size)
		return damaged(t, t->size, "the file ends there, and its pages go on to %" PRIu64,
			       (page + count) * t->page);
	for (; count; count--, page++) {
		if (is_set(t->used, page))
			return damaged(t, from, "it points to page %" PRIu64 ", which is in use elsewhere",
				       page);
		set(t->used, page);
	}
	return 0;
}

/* Read page NUMBER, which must be of KIND, into P. */
static int read_page(struct tree *t, uint64_t number, unsigned kind, unsigned char *p)
{
	uint64_t at = number * t->page;
	ssize_t n = sys->pread(t->fd, p, t->page, (off_t)at);
	unsigned lower, upper;

	if (n != (ssize_t)t->page)
		return damaged(t, at, "it cannot be read: %s", n < 0 ? strerror((int)-n) : "the file ends");
	if (le64_get(p) != number)
		return damaged(t, at, "the page says that it is page %" PRIu64, le64_get(p));
	if ((le16_get(p + PAGE_FLAGS) & ~PAGE_DIRTY) != kind)
		return damaged(t, at, "the page is of kind %x where one of kind %x belongs",
			       le16_get(p + PAGE_FLAGS), kind);
	if (kind == PAGE_OVERFLOW)
		return 0;
	lower = le16_get(p + PAGE_LOWER);
	upper = le16_get(p + PAGE_UPPER);
	if (lower < PAGE_HEAD || lower % 2 || lower > upper || upper > t->page)
		return damaged(t, at, "the page's bounds are %u and %u", lower, upper);
	return 0;
}

/* Node number I of the page P (NUMBER). */
static int node_at(struct tree *t, const unsigned char *p, uint64_t number, unsigned i, bool leaf,
		   const unsigned char **node)
{
	unsigned at = le16_get(p + PAGE_HEAD + 2 * i), key, room = t->page - at;
	uint64_t need;

	*node = p + at;
	if (at < le16_get(p + PAGE_UPPER) || at + NODE_HEAD > t->page)
		return damaged(t, number * t->page + PAGE_HEAD + 2 * i, "node %u lies at %u", i, at);
	key = le16_get(*node + NODE_KEY_LEN);
	need = NODE_HEAD + key;
	if (leaf)
		need += le16_get(*node + NODE_FLAGS) & NODE_BIG ? 8 : le32_get(*node);
	if (need > room || key > KEY_MAX || (leaf && le16_get(*node + NODE_FLAGS) & ~NODE_BIG))
		return damaged(t, number * t->page + at, "node %u does not fit into its page", i);
	return 0;
}

/* KEY comes next; with AT_LEAST the one after it may be the same. */
static int next_key(struct tree *t, struct cairn_slice key, bool at_least, uint64_t offset)
{
	int order = 1;

	if (t->any && t->which == ROWS)
		order = cairn_slice_cmp(key, cairn_slice(t->last, t->last_len));
	else if (t->any && key.len == 8)
		order = le64_get(key.data) > le64_get(t->last)   ? 1
			: le64_get(key.data) < le64_get(t->last) ? -1
								 : 0;
	if (t->which == FREE_LIST && key.len != 8)
		order = -1;
	if (order < 0 || (order == 0 && !t->at_least))
		return damaged(t, offset, "its key is out of order");
	memcpy(t->last, key.data, key.len);
	t->last_len = key.len;
	t->any = true;
	t->at_least = at_least;
	return 0;
}

/* The LEN bytes of a value in pages of its own, into t->value. */
static int read_value(struct tree *t, uint64_t page, size_t len)
{
	ssize_t n;

	if (len > t->value_cap) {
		free(t->value);
		t->value = malloc(len);
		t->value_cap = t->value ? len : 0;
	}
	if (!t->value)
		return -ENOMEM;
	n = sys->pread(t->fd, t->value, len, (off_t)(page * t->page + PAGE_HEAD));
	return n == (ssize_t)len ? 0 : damaged(t, page * t->page, "a value cannot be read");
}

/* A list of free pages: how many, then their numbers. */
static int take_free(struct tree *t, struct cairn_slice list, uint64_t at)
{
	const unsigned char *p = list.data;
	uint64_t n = list.len >= 8 ? le64_get(p) : UINT64_MAX;

	if (n > list.len / 8 - 1)
		return damaged(t, at, "the list of free pages is longer than its record");
	for (uint64_t i = 0; i < n; i++) {
		uint64_t page = le64_get(p + 8 + 8 * i);

		if (page < 2 || page >= t->pages || is_set(t->free, page))
			return damaged(t, at, "page %" PRIu64 " cannot be free", page);
		set(t->free, page);
	}
	return 0;
}

/* A node of a leaf. */
static int take_row(struct tree *t, const unsigned char *node, uint64_t at, unsigned char *head)
{
	struct cairn_slice key = cairn_slice(node + NODE_HEAD, le16_get(node + NODE_KEY_LEN));
	struct cairn_slice value = cairn_slice(node + NODE_HEAD + key.len, le32_get(node));
	int e = next_key(t, key, false, at);

	t->seen.entries++;
	if (!e && le16_get(node + NODE_FLAGS) & NODE_BIG) {
		uint64_t page = le64_get(value.data), need = (PAGE_HEAD + value.len + t->page - 1) / t->page;

		e = use(t, page, 1, at);
		if (!e)
			e = read_page(t, page, PAGE_OVERFLOW, head);
		/* A value that became shorter may keep its pages. */
		if (!e && le32_get(head + PAGE_COUNT) < need)
			e = damaged(t, page * t->page, "the value has %u pages and needs %" PRIu64,
				    le32_get(head + PAGE_COUNT), need);
		if (!e)
			t->seen.overflows += le32_get(head + PAGE_COUNT);
		if (!e && le32_get(head + PAGE_COUNT) > 1)
			e = use(t, page + 1, le32_get(head + PAGE_COUNT) - 1, page * t->page);
		if (!e && (t->fn || t->which == FREE_LIST))
			e = read_value(t, page, value.len);
		value.data = t->value;
	}
	if (!e && t->which == FREE_LIST && t->free)
		e = take_free(t, value, at);
	if (!e && t->fn && t->which == ROWS)
		e = t->fn(t->arg, key, value);
	return e;
}

static int walk(struct tree *t, uint64_t number, unsigned level, uint64_t from);

/* Damage is passed over where the tree is to be mended. */
static int pass(struct tree *t, int e)
{
	if (e != -EUCLEAN || !t->mend)
		return e;
	t->lost++;
	return 0;
}

static int walk_nodes(struct tree *t, uint64_t number, const unsigned char *p, bool leaf, unsigned level,
		      unsigned char *head)
{
	unsigned count = (le16_get(p + PAGE_LOWER) - PAGE_HEAD) / 2u;
	int e = 0;

	if (!count)
		return damaged(t, number * t->page, "the page is empty");
	for (unsigned i = 0; !e && i < count; i++) {
		const unsigned char *node;
		uint64_t at;

		e = node_at(t, p, number, i, leaf, &node);
		at = number * t->page + (uint64_t)(node - p);
		if (!e && leaf)
			e = take_row(t, node, at, head);
		else if (!e && i) /* a branch's first key is not used */
			e = next_key(t, cairn_slice(node + NODE_HEAD, le16_get(node + NODE_KEY_LEN)), true,
				     at);
		if (!e && !leaf)
			e = walk(t, le32_get(node) | (uint64_t)le16_get(node + NODE_FLAGS) << 32, level + 1,
				 at);
		e = pass(t, e);
	}
	return e;
}

static int walk(struct tree *t, uint64_t number, unsigned level, uint64_t from)
{
	bool leaf = level + 1 == t->dbs[t->which].depth;
	unsigned char *p;
	int e = use(t, number, 1, from);

	if (e)
		return pass(t, e);
	p = malloc(2 * (size_t)t->page); /* and the head of a value */
	if (!p)
		return -ENOMEM;
	*(leaf ? &t->seen.leaves : &t->seen.branches) += 1;
	e = read_page(t, number, leaf ? PAGE_LEAF : PAGE_BRANCH, p);
	if (!e)
		e = walk_nodes(t, number, p, leaf, level, p + t->page);
	free(p);
	return pass(t, e);
}

static bool same(const struct db *a, const struct db *b)
{
	return a->branches == b->branches && a->leaves == b->leaves && a->overflows == b->overflows &&
		a->entries == b->entries;
}

/* All of one of the two trees. */
static int walk_db(struct tree *t, int which)
{
	const struct db *db = &t->dbs[which];
	uint64_t meta = t->txn % 2 * t->page;
	int e;

	t->which = which;
	t->seen = (struct db){ 0 };
	t->any = t->at_least = false;
	if (db->root == UINT64_MAX)
		return db->entries ? damaged(t, meta, "it has no root, but %" PRIu64 " rows", db->entries)
				   : 0;
	if (db->depth == 0 || db->depth > DEPTH_MAX)
		return damaged(t, meta, "its depth is %u", db->depth);
	e = walk(t, db->root, 0, meta);
	if (e || t->mend || same(&t->seen, db))
		return e;
	return damaged(t, meta,
		       "the meta page counts %" PRIu64 " rows in %" PRIu64 " pages, there are %" PRIu64
		       " in %" PRIu64,
		       db->entries, db->branches + db->leaves + db->overflows, t->seen.entries,
		       t->seen.branches + t->seen.leaves + t->seen.overflows);
}

int tree_check_size(struct tree *t, struct cairn_error *error)
{
	uint64_t page = t->size / t->page;
	int e;

	t->error = error;
	if (t->pages <= page)
		return 0;
	t->free = calloc(1, t->pages / 8 + 1);
	e = t->free ? walk_db(t, FREE_LIST) : -ENOMEM;
	for (; !e && page < t->pages; page++)
		if (!is_set(t->free, page))
			e = damaged(t, t->size, "the file ends there, and its pages go on to %" PRIu64,
				    t->pages * t->page);
	return e;
}

int tree_check_first(struct tree *t, struct cairn_error *error)
{
	const struct db *db = &t->dbs[ROWS];
	uint64_t page = db->root, from = t->txn % 2 * t->page;
	unsigned char *p = malloc(t->page);
	const unsigned char *node;
	int e = p ? 0 : -ENOMEM;

	t->error = error;
	if (page != UINT64_MAX && (db->depth == 0 || db->depth > DEPTH_MAX))
		e = damaged(t, from, "its depth is %u", db->depth);
	for (unsigned level = 1; !e && page != UINT64_MAX && level <= db->depth; level++) {
		bool leaf = level == db->depth;

		if (page < 2 || page >= t->pages || (page + 1) * t->page > t->size)
			e = damaged(t, from, "it points to page %" PRIu64 " of %" PRIu64, page, t->pages);
		if (!e)
			e = read_page(t, page, leaf ? PAGE_LEAF : PAGE_BRANCH, p);
		for (unsigned i = e ? 0 : (le16_get(p + PAGE_LOWER) - PAGE_HEAD) / 2u; !e && i-- > 0;)
			e = node_at(t, p, page, i, leaf, &node);
		if (!e && le16_get(p + PAGE_LOWER) == PAGE_HEAD)
			e = damaged(t, page * t->page, "the page is empty");
		from = page * t->page;
		if (!e && !leaf)
			page = le32_get(node) | (uint64_t)le16_get(node + NODE_FLAGS) << 32;
	}
	free(p);
	return e;
}

int tree_check(struct tree *t, struct cairn_error *error)
{
	int e;

	t->error = error;
	t->free = calloc(1, t->pages / 8 + 1);
	e = t->free ? walk_db(t, FREE_LIST) : -ENOMEM;
	if (!e)
		e = walk_db(t, ROWS);
	for (uint64_t page = 2; !e && page < t->pages; page++)
		if (is_set(t->used, page) && is_set(t->free, page))
			e = damaged(t, page * t->page, "the page is in use, and in the list of free pages");
	return e;
}

int tree_rows(struct tree *t, tree_row_fn *fn, void *arg, uint64_t *lost)
{
	int e;

	t->error = NULL;
	t->fn = fn;
	t->arg = arg;
	e = walk_db(t, ROWS);
	*lost = t->lost;
	return e;
}
