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

bool lmdb_find_root(struct reader *r)
{
	uint64_t txn = mdb_txn_id(r->txn);
	const unsigned char *map = r->env->map;
	const unsigned char *meta = map + txn % 2 * r->env->page + PAGE_HEAD;
	const unsigned char *db = meta + META_DB + DB_BYTES;
	MDB_envinfo info;

	if (!map || r->root_txn == txn)
		return map;
	r->root = le64_get(db + DB_ROOT);
	r->depth = le16_get(db + DB_DEPTH);
	atomic_thread_fence(memory_order_acquire);
	/* The next transaction has the other meta page; only the one behind it writes over this one. */
	if (mdb_env_info(r->env->mdb, &info) || info.me_last_txnid != txn || le64_get(meta + META_TXN) != txn)
		return false;
	r->root_txn = txn;
	return true;
}

/* The node of P whose key is the last one that is not above KEY; for a LEAF the one that has it. NULL where
 * there is none, or the page is not well. */
static const unsigned char *find_node(const struct map *m, const unsigned char *p, struct cairn_slice key,
				      bool leaf, bool *well)
{
	unsigned low = leaf ? 0 : 1, high = (le16_get(p + PAGE_LOWER) - PAGE_HEAD) / 2u, all = high;
	const unsigned char *node = NULL;

	*well = le16_get(p + PAGE_LOWER) >= PAGE_HEAD && le16_get(p + PAGE_LOWER) <= m->page && high > 0;
	while (*well && low < high) {
		unsigned middle = (low + high) / 2, at = le16_get(p + PAGE_HEAD + 2 * middle);
		int order;

		*well = at + NODE_HEAD <= m->page &&
			at + NODE_HEAD + le16_get(p + at + NODE_KEY_LEN) <= m->page;
		if (!*well)
			return NULL;
		order = cairn_slice_cmp(cairn_slice(p + at + NODE_HEAD, le16_get(p + at + NODE_KEY_LEN)),
					key);
		if (order == 0)
			return p + at;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (!*well || leaf)
		return NULL;
	node = p + le16_get(p + PAGE_HEAD + 2 * (low - 1));
	*well = low <= all && node + NODE_HEAD <= p + m->page;
	return *well ? node : NULL;
}

/* The value of NODE, which is of a leaf that begins at P. */
static int value_of(const struct map *m, const unsigned char *p, const unsigned char *node,
		    struct cairn_slice *value)
{
	const unsigned char *data = node + NODE_HEAD + le16_get(node + NODE_KEY_LEN);
	uint64_t len = le32_get(node), page;

	if (!(le16_get(node + NODE_FLAGS) & NODE_BIG)) {
		*value = cairn_slice(data, len);
		return data + len <= p + m->page ? 0 : -EAGAIN;
	}
	if (data + 8 > p + m->page)
		return -EAGAIN;
	page = le64_get(data);
	*value = cairn_slice(m->at + page * m->page + PAGE_HEAD, len);
	return is_there(m, page, (PAGE_HEAD + len + m->page - 1) / m->page) ? 0 : -EAGAIN;
}

int lmdb_peek(struct handle *h, struct reader *r, struct cairn_slice key, struct cairn_slice *value)
{
	struct map m = { .h = h, .at = r->env->map, .page = r->env->page };
	const unsigned char *p, *node;
	struct timespec now;
	uint64_t page;
	bool well;

	if (!lmdb_find_root(r))
		return -EAGAIN;
	if (r->root == UINT64_MAX)
		return -ENOENT;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	m.second = (uint32_t)now.tv_sec;
	m.pages = r->env->map_bytes / m.page;
	page = r->root;
	for (unsigned level = 1; level <= r->depth && level <= 32; level++) {
		bool leaf = level == r->depth;

		p = m.at + page * m.page;
		if (!is_there(&m, page, 1) || le64_get(p) != page ||
		    !(le16_get(p + PAGE_FLAGS) & (leaf ? PAGE_LEAF : PAGE_BRANCH)))
			return -EAGAIN;
		node = find_node(&m, p, key, leaf, &well);
		if (!well)
			return -EAGAIN;
		if (leaf)
			return node ? value_of(&m, p, node, value) : -ENOENT;
		page = le32_get(node) | (uint64_t)le16_get(node + NODE_FLAGS) << 32;
	}
	return -EAGAIN;
}
