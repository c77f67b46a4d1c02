/*
 * Read transactions. Each takes a slot of LMDB's table, and taking one costs a lock; so those that guards
 * gave back are kept, reset, in a few places that are taken and filled with one atomic exchange. A reader
 * that belongs to a file that compaction has replaced is not used again.
 *
 * Views are readers that may last: the handle knows them in order of age. The pages that a view sees are not
 * written again while it lasts, so the file grows; at held-max the oldest one is cut off: what reads from it
 * gets -ESTALE, and its transaction ends as soon as nobody has anything that was lent from it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "clock.h"
#include "handle.h"
#include "le.h"
#include "banned.h"

static void reader_free(struct reader *r)
{
	if (!r)
		return;
	mdb_txn_abort(r->txn);
	lmdb_env_put(r->env);
	free(r);
}

/* Where this thread looks for a spare reader first. */
static unsigned place(void)
{
	uintptr_t id = (uintptr_t)pthread_self();

	return (unsigned)((id >> 12) * 0x9e3779b1u >> 16);
}

static struct reader *take_spare(struct handle *h)
{
	const struct env *env = atomic_load(&h->env);
	unsigned at = place();

	for (unsigned i = 0; i < 8; i++) {
		struct reader *_Atomic *spare = &h->spares[(at + i) % LMDB_SPARES], *r;

		if (!atomic_load_explicit(spare, memory_order_relaxed) || !(r = atomic_exchange(spare, NULL)))
			continue;
		if (r->env == env)
			return r;
		reader_free(r);
	}
	return NULL;
}

static int reader_new(struct handle *h, struct reader **reader)
{
	struct reader *r = malloc(sizeof(*r));
	int rc;

	if (!r)
		return -ENOMEM;
	pthread_mutex_lock(&h->lock);
	r->env = atomic_load(&h->env);
	atomic_fetch_add(&r->env->uses, 1);
	pthread_mutex_unlock(&h->lock);
	rc = mdb_txn_begin(r->env->mdb, NULL, MDB_RDONLY, &r->txn);
	if (rc) {
		lmdb_env_put(r->env);
		free(r);
		return lmdb_errno(rc);
	}
	*reader = r;
	return 0;
}

int lmdb_reader_begin(struct handle *h, struct reader **reader)
{
	struct reader *r = take_spare(h);
	int e = r ? lmdb_errno(mdb_txn_renew(r->txn)) : reader_new(h, &r);

	/* Each turn means that two batches have come in meanwhile. */
	while (!e && !lmdb_find_root(r)) {
		mdb_txn_reset(r->txn);
		e = lmdb_errno(mdb_txn_renew(r->txn));
	}
	if (!e)
		*reader = r;
	else
		reader_free(r);
	return e;
}

void lmdb_reader_end(struct handle *h, struct reader *r)
{
	unsigned at = place();

	mdb_txn_reset(r->txn);
	for (unsigned i = 0; i < 8 && r->env == atomic_load(&h->env); i++) {
		struct reader *none = NULL;

		if (atomic_compare_exchange_strong(&h->spares[(at + i) % LMDB_SPARES], &none, r))
			return;
	}
	reader_free(r);
}

void lmdb_readers_drop(struct handle *h)
{
	for (unsigned i = 0; i < LMDB_SPARES; i++)
		reader_free(atomic_exchange(&h->spares[i], NULL));
}

/* ---- Views ---- */

int lmdb_view_begin(struct handle *h, bool snapshot, struct view **view)
{
	struct view *v = calloc(1, sizeof(*v));
	MDB_envinfo info;
	int e = v ? lmdb_reader_begin(h, &v->reader) : -ENOMEM;

	if (e) {
		free(v);
		return e;
	}
	v->snapshot = snapshot;
	v->since_ns = clock_boot_ns();
	pthread_getname_np(pthread_self(), v->thread, sizeof(v->thread));
	mdb_env_info(v->reader->env->mdb, &info);
	v->txn = mdb_txn_id(v->reader->txn);
	v->last_page = info.me_last_pgno;
	pthread_mutex_lock(&h->lock);
	v->next = h->views;
	if (v->next)
		v->next->previous = v;
	h->views = v;
	pthread_mutex_unlock(&h->lock);
	*view = v;
	return 0;
}

void lmdb_view_end(struct handle *h, struct view *v)
{
	pthread_mutex_lock(&h->lock);
	*(v->previous ? &v->previous->next : &h->views) = v->next;
	if (v->next)
		v->next->previous = v->previous;
	pthread_mutex_unlock(&h->lock);
	if (v->reader)
		lmdb_reader_end(h, v->reader);
	free(v);
}

int lmdb_view_hold(struct handle *h, struct view *v)
{
	bool cut;

	pthread_mutex_lock(&h->lock);
	cut = v->cut;
	v->lenders += !cut;
	pthread_mutex_unlock(&h->lock);
	return cut ? -ESTALE : 0;
}

void lmdb_view_drop(struct handle *h, struct view *v)
{
	struct reader *gone = NULL;

	pthread_mutex_lock(&h->lock);
	if (--v->lenders == 0 && v->cut) {
		gone = v->reader;
		v->reader = NULL;
	}
	pthread_mutex_unlock(&h->lock);
	if (gone)
		lmdb_reader_end(h, gone);
}

int lmdb_count_free(struct env *env, size_t oldest, uint64_t *free_bytes, uint64_t *held_bytes)
{
	MDB_txn *txn;
	MDB_cursor *c = NULL;
	MDB_val key, pages;
	int rc = mdb_txn_begin(env->mdb, NULL, MDB_RDONLY, &txn);

	*free_bytes = *held_bytes = 0;
	if (rc)
		return lmdb_errno(rc);
	rc = mdb_cursor_open(txn, 0,
			     &c); /* the free list: number of a transaction → the pages that it freed */
	while (!rc && !(rc = mdb_cursor_get(c, &key, &pages, MDB_NEXT))) {
		uint64_t bytes = (uint64_t) * (const size_t *)pages.mv_data * env->page;

		*(*(const size_t *)key.mv_data < oldest ? free_bytes : held_bytes) += bytes;
	}
	if (c)
		mdb_cursor_close(c);
	mdb_txn_abort(txn);
	return rc == MDB_NOTFOUND ? 0 : lmdb_errno(rc);
}

struct view *lmdb_oldest_view(struct handle *h, bool cut)
{
	const struct env *env = atomic_load(&h->env);
	struct view *oldest = NULL;

	for (struct view *v = h->views; v; v = v->next)
		if (v->reader && v->reader->env == env && (cut || !v->cut) &&
		    (!oldest || v->txn < oldest->txn))
			oldest = v;
	return oldest;
}

static void tell(struct handle *h, const struct view *v, uint64_t held)
{
	struct cairn_error e = { 0 };

	snprintf(e.message, sizeof(e.message),
		 "%s: the %s that thread %s began %llu s ago kept %llu bytes from being used again and was "
		 "cut off",
		 h->dir, v->snapshot ? "snapshot" : "iterator", v->thread,
		 (unsigned long long)((clock_boot_ns() - v->since_ns) / 1000000000u),
		 (unsigned long long)held);
	h->notice = e;
	h->has_notice = true;
	h->cut_off++;
}

void lmdb_views_check(struct handle *h)
{
	struct env *env = atomic_load(&h->env);
	struct reader *gone = NULL;
	uint64_t unused, held, grown = 0;
	size_t txn = 0;
	MDB_envinfo info;
	struct view *v;
	int dead;

	mdb_env_info(env->mdb, &info);
	if (info.me_last_txnid % 256 == 0) /* of other programs that have died */
		mdb_reader_check(env->mdb, &dead);
	pthread_mutex_lock(&h->lock);
	v = h->held_max ? lmdb_oldest_view(h, false) : NULL;
	if (v && info.me_last_pgno > v->last_page) {
		grown = (uint64_t)(info.me_last_pgno - v->last_page) * env->page;
		txn = v->txn;
	}
	pthread_mutex_unlock(&h->lock);
	/* Counting walks the free list: only where the file grew, and again after every eighth of the limit.
	 */
	if (grown < h->held_max / 2 || !txn ||
	    (txn == h->counted_txn && grown < h->counted_grown + h->held_max / 8))
		return;
	h->counted_txn = txn;
	h->counted_grown = grown;
	if (lmdb_count_free(env, txn, &unused, &held) || held < h->held_max)
		return;
	pthread_mutex_lock(&h->lock);
	v = lmdb_oldest_view(h, false);
	if (v && v->txn == txn) {
		v->cut = true;
		tell(h, v, held);
		if (!v->lenders) {
			gone = v->reader;
			v->reader = NULL;
		}
	}
	pthread_mutex_unlock(&h->lock);
	if (gone)
		lmdb_reader_end(h, gone);
}
