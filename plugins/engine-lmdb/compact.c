/*
 * Whole files: compact puts a copy without free pages in the place of the file, while readers go on; check
 * reads all pages without trusting them; repair makes a new file of what can be read.
 *
 * A new file is made under another name, synced, and renamed to the next number. After a crash the highest
 * number is the one in use, so nothing may be written to the old file once the new one has its name: where
 * the new one then cannot be opened, and not be removed either, the handle takes no more writes.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include "handle.h"
#include "le.h"
#include "sys.h"
#include "banned.h"

#define NEW_NAME_MAX (LMDB_NAME_MAX + 4)
#define PART_BYTES (16 << 20) /* of rows that repair puts in at once */
#define TRIES 1000

static void new_name(const char *name, char new[NEW_NAME_MAX])
{
	snprintf(new, NEW_NAME_MAX, "%s.new", name);
}

/* Copy what is in use of ENV into the new file NEW, durably. 0 or LMDB's code or an errno. */
static int copy(struct handle *h, struct env *env, const char *new)
{
	int fd = openat(h->dir_fd, new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), rc;

	if (fd < 0)
		return errno;
	rc = mdb_env_copyfd2(env->mdb, fd, MDB_CP_COMPACT);
	if (!rc)
		rc = -sys->fsync(fd);
	sys->close(fd);
	return rc;
}

/* NEW, which is whole, gets the name NEXT and is used from now on. */
static int change_over(struct handle *h, struct env *old, const char *new, const char *next,
		       struct cairn_error *error)
{
	struct env *env;
	char lock[LMDB_NAME_MAX + 8];
	int e = sys->renameat(h->dir_fd, new, h->dir_fd, next);

	if (!e)
		e = sys->fsync(h->dir_fd);
	if (e) {
		cairn_fail(error, cairn_error_from_errno(-e), "%s/%s: %s", h->dir, next, strerror(-e));
		return e;
	}
	e = lmdb_env_open(h, next, &env, error);
	if (e) {
		snprintf(lock, sizeof(lock), "%s-lock", next);
		sys->unlinkat(h->dir_fd, lock, 0);
		return e;
	}
	pthread_mutex_lock(&h->lock);
	atomic_store(&h->env, env);
	pthread_mutex_unlock(&h->lock);
	lmdb_readers_drop(h);
	for (unsigned i = 0; i < LMDB_KNOWN; i++)
		atomic_store_explicit(&h->known[i], 0, memory_order_relaxed);
	sys->unlinkat(h->dir_fd, old->name, 0); /* what is left of it goes at the next start */
	snprintf(lock, sizeof(lock), "%s-lock", old->name);
	sys->unlinkat(h->dir_fd, lock, 0);
	lmdb_env_put(old);
	return 0;
}

int lmdb_engine_compact(void *handle, struct cairn_error *error)
{
	struct handle *h = handle;
	struct env *env = atomic_load(&h->env);
	char next[LMDB_NAME_MAX], new[NEW_NAME_MAX];
	struct cairn_error why = { 0 };
	int e, rc;

	if (h->failed_errno) {
		if (error)
			*error = h->failed;
		return h->failed_errno;
	}
	folder_next(env->name, next);
	new_name(next, new);
	rc = copy(h, env, new);
	if (rc) {
		sys->unlinkat(h->dir_fd, new, 0);
		return lmdb_explain(h, env, rc, "it cannot be copied", error);
	}
	e = change_over(h, env, new, next, &why);
	if (!e)
		return 0;
	rc = sys->unlinkat(h->dir_fd, next, 0);
	if (rc == -ENOENT)
		rc = sys->unlinkat(h->dir_fd, new, 0);
	if (rc || sys->fsync(h->dir_fd))
		lmdb_stop_writing(h, e, &why);
	if (error)
		*error = why;
	return e;
}

/* ---- Check ---- */

/* Open the file of V's state for tree_check. -EAGAIN where batches have come in between. */
static int open_state(struct handle *h, const struct view *v, struct tree **tree, struct cairn_error *error)
{
	const struct env *env = v->reader->env;
	MDB_envinfo info;
	int e = tree_open(h->dir_fd, h->dir, env->name, false, tree, error);

	if (e)
		return e;
	/* The state's meta page is written over by the second batch behind it. */
	if (!mdb_env_info(env->mdb, &info) && info.me_last_txnid == v->txn && tree_txn(*tree) == v->txn)
		return 0;
	tree_close(*tree);
	return -EAGAIN;
}

int lmdb_engine_check(void *handle, struct cairn_error *error)
{
	struct handle *h = handle;
	struct view *v;
	struct tree *t;
	int e = -EAGAIN;

	for (int i = 0; e == -EAGAIN && i < TRIES; i++) {
		e = lmdb_view_begin(h, true, &v);
		if (e)
			break;
		e = lmdb_view_hold(h, v);
		if (!e) {
			e = open_state(h, v, &t, error);
			if (!e) {
				e = tree_check(t, error);
				tree_close(t);
			}
			lmdb_view_drop(h, v);
		}
		lmdb_view_end(h, v);
	}
	if (e == -EAGAIN)
		cairn_fail(error, CAIRN_E_UNAVAILABLE,
			   "%s: batches come faster than its meta pages can be read", h->dir);
	return e;
}

/* ---- Repair ---- */

struct rescue {
	MDB_env *mdb;
	MDB_dbi rows;
	MDB_txn *txn;
	size_t bytes; /* in TXN */
	bool position;
	int rc;
};

static int rescue_row(void *arg, struct cairn_slice key, struct cairn_slice value)
{
	struct rescue *r = arg;
	MDB_val k = { key.len, (void *)key.data }, v = { value.len, (void *)value.data };

	if (r->bytes > PART_BYTES) {
		r->rc = mdb_txn_commit(r->txn);
		r->txn = NULL;
		r->bytes = 0;
		if (!r->rc)
			r->rc = mdb_txn_begin(r->mdb, NULL, 0, &r->txn);
	}
	if (!r->rc)
		r->rc = mdb_put(r->txn, r->rows, &k, &v, 0);
	r->bytes += key.len + value.len;
	r->position |= cairn_slice_eq(key, cairn_slice(LMDB_POSITION_KEY, LMDB_POSITION_KEY_LEN));
	return r->rc ? -EIO : 0;
}

/* All rows of T (or none where it is NULL) into the empty file MDB, and the position 0 where they have none:
 * open() tells by it that a file is ours. 0 or LMDB's code or an errno. */
static int fill(struct tree *t, MDB_env *mdb)
{
	static const char none[LMDB_POSITION_LEN] = { LMDB_POSITION_VERSION };
	struct rescue r = { .mdb = mdb };
	uint64_t lost;
	int e = 0;

	r.rc = mdb_txn_begin(mdb, NULL, 0, &r.txn);
	if (!r.rc)
		r.rc = mdb_dbi_open(r.txn, NULL, 0, &r.rows);
	if (!r.rc && t)
		e = tree_rows(t, rescue_row, &r, &lost);
	if (!r.rc && !e && !r.position)
		rescue_row(&r, cairn_slice(LMDB_POSITION_KEY, LMDB_POSITION_KEY_LEN),
			   cairn_slice(none, sizeof(none)));
	if (r.txn && (r.rc || e))
		mdb_txn_abort(r.txn);
	else if (r.txn)
		r.rc = mdb_txn_commit(r.txn);
	if (!r.rc && !e)
		r.rc = mdb_env_sync(mdb, 1);
	return r.rc ? r.rc : -e;
}

int lmdb_make_file(int dirfd, const char *dir, const char *name, struct tree *from, struct cairn_error *error)
{
	char new[NEW_NAME_MAX], path[4096];
	MDB_env *mdb;
	int rc, e;

	new_name(name, new);
	snprintf(path, sizeof(path), "%s/%s", dir, new);
	sys->unlinkat(dirfd, new, 0);
	rc = mdb_env_create(&mdb);
	if (!rc) {
		if (from) /* no file has more */
			mdb_env_set_mapsize(mdb, (size_t)1 << 40);
		rc = mdb_env_open(mdb, path, MDB_NOSUBDIR | MDB_NOLOCK | MDB_NOSYNC, 0600);
		if (!rc)
			rc = fill(from, mdb);
		mdb_env_close(mdb);
	}
	e = lmdb_errno(rc);
	if (!e)
		e = sys->renameat(dirfd, new, dirfd, name);
	if (!e)
		e = sys->fsync(dirfd);
	if (e)
		cairn_fail(error, cairn_error_from_errno(-e), "%s cannot be made: %s", path,
			   rc ? mdb_strerror(rc) : strerror(-e));
	return e;
}

int lmdb_engine_repair(const char *dir, struct cairn_error *error)
{
	int fd = sys->openat(AT_FDCWD, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0), e;
	char name[LMDB_NAME_MAX], next[LMDB_NAME_MAX];
	struct tree *t = NULL;

	e = fd < 0 ? fd : folder_find(fd, dir, name, error);
	if (!e && !name[0])
		e = -ENOENT;
	if (!e)
		e = tree_open(fd, dir, name, true, &t, error);
	if (!e) {
		folder_next(name, next);
		e = lmdb_make_file(fd, dir, next, t, error);
	}
	tree_close(t);
	if (fd >= 0)
		sys->close(fd);
	return e;
}
