/*
 * Writing: a batch is one LMDB transaction with the position in it, aborted when anything is wrong with it. A
 * batch with sync is committed as LMDB does by default (pages, fdatasync, then the meta page, synced); one
 * without sync leaves both to the kernel, in any order: that is why the engine says SYNC_ONLY.
 *
 * LMDB needs free pages for everything, deletes too. So a batch that makes the rows take more pages is
 * refused as full while there still is room for one that makes them take fewer.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include "handle.h"
#include "le.h"
#include "banned.h"

#define ALMOST_FULL (1u << 20) /* bytes */

/* Put the value of W straight into its place. */
static int put(MDB_cursor *c, const struct cairn_write *w)
{
	MDB_val k = { w->key.len, (void *)w->key.data }, v = { 0, (void *)"" };
	char *to;
	int rc;

	if (w->iov_count == 1) {
		v = (MDB_val){ w->iov[0].iov_len, w->iov[0].iov_base };
		return mdb_cursor_put(c, &k, &v, 0);
	}
	for (int i = 0; i < w->iov_count; i++)
		v.mv_size += w->iov[i].iov_len;
	rc = mdb_cursor_put(c, &k, &v, MDB_RESERVE);
	to = v.mv_data;
	for (int i = 0; !rc && i < w->iov_count; i++) {
		if (w->iov[i].iov_len)
			memcpy(to, w->iov[i].iov_base, w->iov[i].iov_len);
		to += w->iov[i].iov_len;
	}
	return rc;
}

static int delete (MDB_cursor *c, struct cairn_slice key)
{
	MDB_val k = { key.len, (void *)key.data }, v;
	int rc = key.len > LMDB_KEY_MAX ? MDB_NOTFOUND : mdb_cursor_get(c, &k, &v, MDB_SET);

	if (!rc)
		rc = mdb_cursor_del(c, 0);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static int delete_range(MDB_cursor *c, const struct cairn_write *w)
{
	struct cairn_slice from = w->key.len ? w->key : cairn_slice("\1", 1);
	MDB_val k = { from.len, (void *)from.data }, v;
	int rc = mdb_cursor_get(c, &k, &v, MDB_SET_RANGE);

	while (!rc && (!w->end.len || cairn_slice_cmp(cairn_slice(k.mv_data, k.mv_size), w->end) < 0)) {
		rc = mdb_cursor_del(c, 0);
		if (!rc)
			rc = mdb_cursor_get(c, &k, &v, MDB_NEXT); /* the one that took its place */
	}
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static int put_position(MDB_cursor *c, const struct cairn_position *p)
{
	char position[LMDB_POSITION_LEN] = { LMDB_POSITION_VERSION };
	struct iovec iov = { position, sizeof(position) };
	struct cairn_write w = { .key = cairn_slice(LMDB_POSITION_KEY, LMDB_POSITION_KEY_LEN),
				 .iov = &iov,
				 .iov_count = 1 };

	le64_put(position + 8, p->index);
	le64_put(position + 16, p->term);
	return put(c, &w);
}

static int steps(MDB_cursor *c, const struct cairn_batch *batch)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < batch->count; i++) {
		const struct cairn_write *w = &batch->writes[i];

		if (w->kind == CAIRN_WRITE_DELETE_RANGE)
			rc = delete_range(c, w);
		else if (w->key.len == 0 || *(const char *)w->key.data == 0)
			rc = EINVAL;
		else
			rc = w->kind == CAIRN_WRITE_PUT ? put(c, w) : delete (c, w->key);
	}
	return rc ? rc : put_position(c, &batch->position);
}

/* Pages that the rows of TXN take. */
static uint64_t pages(MDB_txn *txn, MDB_dbi dbi)
{
	MDB_stat s;

	return mdb_stat(txn, dbi, &s) ? 0 : s.ms_branch_pages + s.ms_leaf_pages + s.ms_overflow_pages;
}

/*
 * Whether the batch of TXN, before which the rows took BEFORE pages, may be committed: it makes them fewer,
 * or leaves what the next delete needs. 0 or -ENOSPC.
 */
static int check_room(struct handle *h, const struct env *env, MDB_txn *txn, uint64_t before,
		      struct cairn_error *error)
{
	uint64_t after = pages(txn, env->rows), unused, all = h->map_max / env->page, reserve = all / 16;
	MDB_envinfo info;
	struct statvfs fs;

	if (after <= before)
		return 0;
	if (reserve > 16384)
		reserve = 16384;
	if (after + reserve > all) {
		cairn_fail(error, CAIRN_E_FULL, "%s: the rows would take %llu of map-size-max %llu bytes",
			   h->dir, (unsigned long long)(after * env->page), (unsigned long long)h->map_max);
		cairn_hint(error, "delete something, or open the volume with a larger map-size-max");
		return -ENOSPC;
	}
	mdb_env_info(env->mdb, &info);
	unused = info.me_last_pgno - 1;
	before += pages(txn, 0);
	unused = unused > before ? unused - before : 0;
	if (!h->min_free || unused > 2 * (after - before) + 256 || fstatvfs(h->dir_fd, &fs) || !fs.f_blocks ||
	    (uint64_t)fs.f_bavail * fs.f_frsize >= h->min_free + (after - before) * env->page)
		return 0;
	cairn_fail(error, CAIRN_E_FULL, "%s: %llu bytes are free on the disk, %llu are kept free", h->dir,
		   (unsigned long long)fs.f_bavail * fs.f_frsize, (unsigned long long)h->min_free);
	cairn_hint(error, "make room on the disk; writing goes on by itself then");
	return -ENOSPC;
}

int lmdb_stop_writing(struct handle *h, int e, const struct cairn_error *error)
{
	h->failed = *error;
	h->failed_errno = e;
	cairn_hint(&h->failed, "the volume takes no writes until it has been opened again");
	return e;
}

/* LMDB calls a page that was written in part EIO, which is what a disk does that has no room for the rest. */
static bool is_full(const struct handle *h)
{
	struct statvfs fs;

	return !fstatvfs(h->dir_fd, &fs) && fs.f_blocks && (uint64_t)fs.f_bavail * fs.f_frsize < ALMOST_FULL;
}

/* Whether LMDB has given up, reads and all: it could not write a meta page. */
static bool has_given_up(const struct env *env)
{
	MDB_txn *txn;
	int rc = mdb_txn_begin(env->mdb, NULL, 0, &txn);

	if (!rc)
		mdb_txn_abort(txn);
	return rc == MDB_PANIC;
}

/* The commit failed with RC. A disk without room for pages leaves the old state as it was; behind anything
 * else nobody knows what is on the disk. */
static int commit_failed(struct handle *h, const struct env *env, int rc, struct cairn_error *error)
{
	struct cairn_error why = { 0 };
	int e;

	if (rc == EIO && is_full(h))
		rc = ENOSPC;
	if (lmdb_errno(rc) == -ENOSPC && has_given_up(env))
		rc = EIO;
	e = lmdb_explain(h, env, rc, "a batch cannot be written", &why);
	if (e != -ENOSPC)
		lmdb_stop_writing(h, e, &why);
	if (error)
		*error = why;
	return e;
}

static int write_batch(struct handle *h, struct env *env, const struct cairn_batch *batch,
		       struct cairn_error *error)
{
	MDB_cursor *c;
	MDB_txn *txn;
	uint64_t before;
	int e, rc = mdb_txn_begin(env->mdb, NULL, 0, &txn);

	if (rc)
		return lmdb_explain(h, env, rc, "a batch cannot be begun", error);
	before = pages(txn, env->rows);
	rc = mdb_cursor_open(txn, env->rows, &c);
	if (!rc) {
		rc = steps(c, batch);
		mdb_cursor_close(c);
	}
	e = rc ? lmdb_explain(h, env, rc, "a batch cannot be made", error)
	       : check_room(h, env, txn, before, error);
	if (e) {
		mdb_txn_abort(txn);
		return e;
	}
	rc = mdb_txn_commit(txn);
	return rc ? commit_failed(h, env, rc, error) : 0;
}

int lmdb_engine_write(void *handle, const struct cairn_batch *batch, bool sync, struct cairn_error *error)
{
	struct handle *h = handle;
	struct env *env = atomic_load(&h->env);
	int e;

	if (h->failed_errno) {
		if (error)
			*error = h->failed;
		return h->failed_errno;
	}
	mdb_env_set_flags(env->mdb, MDB_NOSYNC, !sync);
	e = write_batch(h, env, batch, error);
	if (e)
		return e;
	pthread_mutex_lock(&h->lock);
	h->position = batch->position;
	pthread_mutex_unlock(&h->lock);
	lmdb_views_check(h);
	return 0;
}

int lmdb_engine_sync(void *handle, struct cairn_error *error)
{
	struct handle *h = handle;
	struct env *env = atomic_load(&h->env);
	struct cairn_error why = { 0 };
	int rc = h->failed_errno ? 0 : mdb_env_sync(env->mdb, 1);

	if (rc)
		lmdb_stop_writing(h, lmdb_explain(h, env, rc, "syncing failed", &why), &why);
	if (h->failed_errno && error)
		*error = h->failed;
	return h->failed_errno;
}
