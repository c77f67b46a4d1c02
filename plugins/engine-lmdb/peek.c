/*
 * A get that does not wait. liblmdb cannot be asked whether a page is in memory, and finds out by a page
 * fault that the whole thread waits for. So the path to the key is walked here, in the map, and each page on
 * it is looked at only when mincore says that it is there, or has said so within the last second. Whatever is
 * not as it should be is left to a get that may wait, and to liblmdb.
 *
 * The map is read under the reader's transaction, so that none of its pages is written over.
 */
#include <errno.h>
#include <sys/mman.h>
#include <time.h>
#include "format.h"
#include "handle.h"
#include "le.h"
#include "banned.h"

#define VALUE_PAGES 64 /* a larger value is left to others */

struct map {
	struct handle *h;
	const unsigned char *at;
	uint64_t pages;
	uint32_t page, second; /* bytes; the time, some bits of it */
};

/* Whether COUNT pages from PAGE on are in memory. Pages of the kernel are not smaller than LMDB's. */
static bool is_there(const struct map *m, uint64_t page, uint64_t count)
{
	_Atomic uint64_t *known = &m->h->known[page % LMDB_KNOWN];
	uint64_t want = page << 16 | (m->second & 0xffff);
	unsigned char there[VALUE_PAGES + 1];
	uintptr_t from = (uintptr_t)m->at + page * m->page, to = from + count * m->page;

	if (page < 2 || count > VALUE_PAGES || page >= m->pages || count > m->pages - page)
		return false;
	if (count == 1 && atomic_load_explicit(known, memory_order_relaxed) == want)
		return true;
	from -= from % m->h->kernel_page;
	if (mincore((void *)from, to - from, there))
		return false;
	for (uint64_t i = 0; i < (to - from + m->h->kernel_page - 1) / m->h->kernel_page; i++)
		if (!(there[i] & 1))
			return false;
	if (count == 1)
		atomic_store_explicit(known, want, memory_order_relaxed);
	return true;
}

void lmdb_find_map(struct handle *h, struct env *env, const void *row)
{
	const unsigned char *p = row;

	/* liblmdb does not tell, but a page says its number; the map begins where a page of the kernel does.
	 */
	if (env->map || env->page != h->kernel_page)
		return;
	p -= (uintptr_t)p % env->page;
	if (!(le16_get(p + PAGE_FLAGS) & PAGE_LEAF) || le64_get(p) >= env->map_bytes / env->page)
		return;
	env->map = p - le64_get(p) * env->page;
}

void lmdb_learn_map(struct handle *h, struct env *env)
{
	MDB_val k = { LMDB_POSITION_KEY_LEN, (void *)LMDB_POSITION_KEY }, v;
	struct reader *r;

	if (lmdb_reader_begin(h, &r))
		return;
	if (!mdb_get(r->txn, env->rows, &k, &v))
		lmdb_find_map(h, env, v.mv_data);
	lmdb_reader_end(h, r);
}

bool lmdb_find_root(struct reader *r)
{
	uint64_t txn = mdb_txn_id(r->txn);
	const unsigned char *meta = r->env->map, *db;
	MDB_envinfo info;

	if (!meta || r->root_txn == txn)
		return meta;
	meta += txn % 2 * r->env->page + PAGE_HEAD;
	db = meta + META_DB + DB_BYTES;
	r->root = le64_get(db + DB_ROOT);
	r->depth = le16_get(db + DB_DEPTH);
	atomic_thread_fence(memory_order_acquire);
	/* The next transaction has the other meta page; only the one behind it writes over this one. */
	if (mdb_env_info(r->env->mdb, &info) || info.me_last_txnid != txn || le64_get(meta + META_TXN) != txn)
		return false;
	r->root_txn = txn;
	return true;
}

/* Where a page does not hold together, and why. */
struct damage {
	uint64_t offset;
	const char *why;
};

static const unsigned char *bad(struct damage *d, uint64_t offset, const char *why)
{
	*d = (struct damage){ offset, why };
	return NULL;
}

/* Node number I of the page P, which begins at OFFSET, with its key; NULL where it does not lie in the page.
 */
static const unsigned char *node_of(const struct map *m, const unsigned char *p, uint64_t offset, unsigned i,
				    struct cairn_slice *key, struct damage *d)
{
	unsigned at = le16_get(p + PAGE_HEAD + 2 * i);

	if (at + NODE_HEAD > m->page || at + NODE_HEAD + le16_get(p + at + NODE_KEY_LEN) > m->page)
		return bad(d, offset + PAGE_HEAD + 2 * i, "a node lies outside of its page");
	*key = cairn_slice(p + at + NODE_HEAD, le16_get(p + at + NODE_KEY_LEN));
	return p + at;
}

/*
 * The node of the page P whose key is the last one that is not above KEY; in a LEAF the one with KEY itself.
 * NULL where there is none.
 */
static const unsigned char *find_node(const struct map *m, const unsigned char *p, uint64_t offset,
				      struct cairn_slice key, bool leaf, struct damage *d)
{
	unsigned low = leaf ? 0 : 1, high = (le16_get(p + PAGE_LOWER) - PAGE_HEAD) / 2u;
	struct cairn_slice other;
	const unsigned char *node;

	if (le16_get(p + PAGE_LOWER) <= PAGE_HEAD || le16_get(p + PAGE_LOWER) > m->page)
		return bad(d, offset, "the page's bounds are wrong");
	while (low < high) {
		unsigned middle = (low + high) / 2;
		int order;

		node = node_of(m, p, offset, middle, &other, d);
		if (!node)
			return NULL;
		order = cairn_slice_cmp(other, key);
		if (order == 0)
			return node;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return leaf ? NULL : node_of(m, p, offset, low - 1, &other, d);
}

/* The value of NODE, which stands in the leaf P. 0, -EAGAIN or -EUCLEAN. */
static int value_of(const struct map *m, const unsigned char *p, const unsigned char *node, bool wait,
		    struct cairn_slice *value, struct damage *d)
{
	const unsigned char *data = node + NODE_HEAD + le16_get(node + NODE_KEY_LEN);
	uint64_t len = le32_get(node), page, count, offset = (uint64_t)(node - m->at);
	bool big = le16_get(node + NODE_FLAGS) & NODE_BIG;

	if (data + (big ? 8 : len) > p + m->page) {
		bad(d, offset, "a node lies outside of its page");
		return -EUCLEAN;
	}
	*value = cairn_slice(data, len);
	if (!big)
		return 0;
	page = le64_get(data);
	count = (PAGE_HEAD + len + m->page - 1) / m->page;
	if (page < 2 || page >= m->pages || count > m->pages - page) {
		bad(d, offset, "the value lies outside of the file");
		return -EUCLEAN;
	}
	*value = cairn_slice(m->at + page * m->page + PAGE_HEAD, len);
	return wait || is_there(m, page, count) ? 0 : -EAGAIN;
}

static int find(const struct map *m, const struct reader *r, struct cairn_slice key, bool wait,
		struct cairn_slice *value, struct damage *d)
{
	uint64_t page = r->root, from = mdb_txn_id(r->txn) % 2 * m->page;

	for (unsigned level = 1; level <= r->depth && level <= 32; level++) {
		const unsigned char *p = m->at + page * m->page, *node;
		bool leaf = level == r->depth;

		if (page < 2 || page >= m->pages) {
			bad(d, from, "it points to a page outside of the file");
			return -EUCLEAN;
		}
		if (!wait && !is_there(m, page, 1))
			return -EAGAIN;
		from = page * m->page;
		if (le64_get(p) != page || !(le16_get(p + PAGE_FLAGS) & (leaf ? PAGE_LEAF : PAGE_BRANCH))) {
			bad(d, from, "it is another page than it should be");
			return -EUCLEAN;
		}
		node = find_node(m, p, from, key, leaf, d);
		if (!node)
			return d->why ? -EUCLEAN : -ENOENT;
		if (leaf)
			return value_of(m, p, node, wait, value, d);
		page = le32_get(node) | (uint64_t)le16_get(node + NODE_FLAGS) << 32;
	}
	bad(d, from, "the tree's depth is wrong");
	return -EUCLEAN;
}

int lmdb_peek(struct handle *h, struct reader *r, struct cairn_slice key, bool wait,
	      struct cairn_slice *value)
{
	struct map m = { .h = h, .at = r->env->map, .page = r->env->page };
	struct damage d = { 0 };
	struct cairn_error why = { 0 };
	struct timespec now;
	MDB_envinfo info;
	int e;

	if (!lmdb_find_root(r))
		return -EAGAIN;
	if (r->root == UINT64_MAX)
		return -ENOENT;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	m.second = (uint32_t)now.tv_sec;
	mdb_env_info(r->env->mdb, &info);
	m.pages = info.me_last_pgno + 1;
	e = find(&m, r, key, wait, value, &d);
	if (e != -EUCLEAN)
		return e;
	cairn_fail(&why, CAIRN_E_CORRUPT, "%s/%s: damaged at offset %llu: %s", h->dir, r->env->name,
		   (unsigned long long)d.offset, d.why);
	lmdb_keep_notice(h, &why);
	return e;
}
