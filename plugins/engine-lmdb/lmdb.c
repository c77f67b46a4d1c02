/*
 * engine-lmdb: an engine over liblmdb.
 *
 * open() takes a lock on the folder, looks at the data file before LMDB maps it (tree.c), opens it, and reads
 * the position. readers.c, read.c and write.c do the work from there.
 *
 * LMDB answers with numbers: its own become errnos here, and damage that it notices becomes -EUCLEAN.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include "clock.h"
#include "file.h"
#include "handle.h"
#include "le.h"
#include "sys.h"
#include "banned.h"

enum param { MAP_SIZE_MAX, READAHEAD, MIN_FREE, HELD_MAX, PARAMS };

static const struct cairn_param lmdb_params[] = {
	[MAP_SIZE_MAX] = { "map-size-max", CAIRN_PARAM_SIZE, "0", false,
			   "the file grows to this at most, from 1M; 0: to the size of its disk, at most "
			   "1T" },
	[READAHEAD] = { "readahead", CAIRN_PARAM_BOOL, "yes", false,
			"let the kernel read ahead; no where the data is larger than memory" },
	[MIN_FREE] = { "min-free", CAIRN_PARAM_SIZE, "32M", false,
		       "refuse writes that would leave the disk less than this" },
	[HELD_MAX] = { "held-max", CAIRN_PARAM_SIZE, "4G", false,
		       "cut off a snapshot or iterator that keeps more than this from being used again; 0: "
		       "never" },
	[PARAMS] = { .name = NULL },
};

#define MAP_MIN (1u << 20)
#define MAP_DEFAULT_MAX ((uint64_t)1 << 40)

/* ---- Errors ---- */

int lmdb_errno(int rc)
{
	if (rc >= 0)
		return rc == EDQUOT ? -ENOSPC : -rc;
	switch (rc) {
	case MDB_MAP_FULL:
		return -ENOSPC;
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:
	case MDB_INVALID:
	case MDB_VERSION_MISMATCH:
	case MDB_INCOMPATIBLE:
		return -EUCLEAN;
	case MDB_TXN_FULL:
	case MDB_BAD_VALSIZE:
		return -EFBIG;
	case MDB_READERS_FULL:
		return -ENOMEM;
	}
	return -EIO;
}

int lmdb_explain(const struct handle *h, const struct env *env, int rc, const char *what,
		 struct cairn_error *error)
{
	int e = lmdb_errno(rc);

	cairn_fail(error, cairn_error_from_errno(-e), "%s/%s: %s: %s", h->dir, env->name, what,
		   mdb_strerror(rc));
	return e;
}

void lmdb_keep_notice(struct handle *h, const struct cairn_error *e)
{
	pthread_mutex_lock(&h->lock);
	h->notice = *e;
	h->has_notice = true;
	pthread_mutex_unlock(&h->lock);
}

static bool lmdb_notice(void *handle, struct cairn_error *notice)
{
	struct handle *h = handle;
	bool has;

	pthread_mutex_lock(&h->lock);
	has = h->has_notice;
	if (has)
		*notice = h->notice;
	pthread_mutex_unlock(&h->lock);
	return has;
}

/* ---- Opening ---- */

void lmdb_env_put(struct env *env)
{
	if (atomic_fetch_sub(&env->uses, 1) != 1)
		return;
	mdb_env_close(env->mdb);
	free(env);
}

/* Find the map by the position, which every file of ours has. */
static int look_at_rows(struct handle *h, struct env *env, struct cairn_error *error)
{
	MDB_val k = { LMDB_POSITION_KEY_LEN, (void *)LMDB_POSITION_KEY }, v;
	MDB_stat facts;
	MDB_txn *txn;
	int rc = mdb_txn_begin(env->mdb, NULL, MDB_RDONLY, &txn), e;

	if (rc)
		return lmdb_explain(h, env, rc, "it cannot be read", error);
	rc = mdb_dbi_open(txn, NULL, 0, &env->rows);
	if (!rc)
		rc = mdb_stat(txn, env->rows, &facts);
	if (!rc)
		rc = mdb_get(txn, env->rows, &k, &v);
	e = rc ? lmdb_explain(h, env, rc, "the position cannot be read", error) : 0;
	if (rc == MDB_NOTFOUND) {
		cairn_fail(error, CAIRN_E_INVALID, "%s/%s is an LMDB that cairn did not write", h->dir,
			   env->name);
		e = -EINVAL;
	} else if (!rc && v.mv_size != LMDB_POSITION_LEN) {
		cairn_fail(error, CAIRN_E_CORRUPT, "%s/%s: the position has %zu bytes", h->dir, env->name,
			   v.mv_size);
		e = -EUCLEAN;
	} else if (!rc && *(char *)v.mv_data != LMDB_POSITION_VERSION) {
		cairn_fail(error, CAIRN_E_UNSUPPORTED,
			   "%s/%s: its position row has format %d, this release knows %d", h->dir, env->name,
			   *(char *)v.mv_data, LMDB_POSITION_VERSION);
		e = -EOPNOTSUPP;
	} else if (!rc && facts.ms_psize > h->kernel_page) {
		cairn_fail(error, CAIRN_E_UNSUPPORTED,
			   "%s/%s has pages of %u bytes, and this machine has pages of %u", h->dir, env->name,
			   facts.ms_psize, h->kernel_page);
		e = -EOPNOTSUPP;
	} else if (!rc) {
		env->page = facts.ms_psize;
		lmdb_find_map(env, v.mv_data);
		h->position = (struct cairn_position){ le64_get((char *)v.mv_data + 8),
						       le64_get((char *)v.mv_data + 16) };
	}
	mdb_txn_abort(txn);
	return e;
}

int lmdb_env_open(struct handle *h, const char *name, struct env **result, struct cairn_error *error)
{
	struct env *env = calloc(1, sizeof(*env));
	unsigned flags = MDB_NOSUBDIR | MDB_NOTLS | (h->readahead ? 0 : MDB_NORDAHEAD);
	char path[4096];
	int rc, e;

	if (!env || mdb_env_create(&env->mdb)) {
		free(env);
		cairn_fail(error, CAIRN_E_INTERNAL, "no memory for %s", h->dir);
		return -ENOMEM;
	}
	env->uses = 1;
	snprintf(env->name, sizeof(env->name), "%s", name);
	snprintf(path, sizeof(path), "%s/%s", h->dir, name);
	rc = mdb_env_set_mapsize(env->mdb, h->map_max);
	if (!rc)
		rc = mdb_env_set_maxreaders(env->mdb, LMDB_READERS);
	if (!rc)
		rc = mdb_env_open(env->mdb, path, flags, 0600);
	if (!rc && mdb_env_get_maxkeysize(env->mdb) < LMDB_KEY_MAX)
		rc = MDB_INCOMPATIBLE;
	e = rc ? lmdb_explain(h, env, rc, "LMDB cannot open it", error) : look_at_rows(h, env, error);
	if (!e)
		*result = env;
	else
		lmdb_env_put(env);
	return e;
}

static void lmdb_engine_close(void *handle)
{
	struct handle *h = handle;
	struct env *env = atomic_load(&h->env);

	lmdb_readers_drop(h);
	if (env)
		lmdb_env_put(env);
	if (h->lock_fd >= 0)
		close(h->lock_fd);
	if (h->dir_fd >= 0)
		close(h->dir_fd);
	pthread_mutex_destroy(&h->lock);
	free(h->dir);
	free(h);
}

static int handle_new(const char *dir, const struct cairn_value *v, struct handle **handle,
		      struct cairn_error *error)
{
	struct handle *h = calloc(1, sizeof(*h));
	struct statvfs fs;

	if (!h)
		return -ENOMEM;
	pthread_mutex_init(&h->lock, NULL);
	h->dir = strdup(dir);
	h->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	h->lock_fd = h->dir_fd < 0 ? -1 : openat(h->dir_fd, "LOCK", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	h->kernel_page = (unsigned)sysconf(_SC_PAGESIZE);
	h->readahead = v[READAHEAD].number;
	h->min_free = v[MIN_FREE].number;
	h->held_max = v[HELD_MAX].number;
	h->map_max = v[MAP_SIZE_MAX].number;
	if (!h->map_max && h->dir_fd >= 0 && !fstatvfs(h->dir_fd, &fs))
		h->map_max = (uint64_t)fs.f_blocks * fs.f_frsize;
	if (!v[MAP_SIZE_MAX].number && (h->map_max > MAP_DEFAULT_MAX || h->map_max < MAP_MIN))
		h->map_max = MAP_DEFAULT_MAX;
	h->map_max &= ~(uint64_t)0xffff; /* whole pages of every size */
	*handle = h;
	if (h->lock_fd >= 0 && h->dir && flock(h->lock_fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	if (errno == EWOULDBLOCK) {
		cairn_fail(error, CAIRN_E_UNAVAILABLE, "%s is open already", dir);
		return -EBUSY;
	}
	cairn_fail(error, cairn_error_from_errno(errno), "%s: %s", dir, strerror(errno));
	return -errno;
}

static int open_file(struct handle *h, struct cairn_error *error)
{
	char name[LMDB_NAME_MAX];
	struct tree *t;
	struct env *env;
	int e = folder_find(h->dir_fd, h->dir, name, error);

	if (!e && !name[0]) {
		folder_next(name, name);
		e = lmdb_make_file(h->dir_fd, h->dir, name, NULL, error);
	}
	if (!e)
		e = tree_open(h->dir_fd, h->dir, name, false, &t, error);
	if (!e) {
		e = tree_check_size(t, error);
		if (!e)
			e = tree_check_first(t, error);
		tree_close(t);
	}
	if (!e)
		e = lmdb_env_open(h, name, &env, error);
	if (e)
		return e;
	atomic_store(&h->env, env);
	return 0;
}

static int lmdb_engine_open(const char *dir, const struct cairn_value *values, void **handle,
			    struct cairn_error *error)
{
	struct handle *h = NULL;
	int e;

	if (values[MAP_SIZE_MAX].number && values[MAP_SIZE_MAX].number < MAP_MIN) {
		cairn_fail(error, CAIRN_E_INVALID, "parameter map-size-max: %s is out of its range (%s)",
			   values[MAP_SIZE_MAX].text, lmdb_params[MAP_SIZE_MAX].help);
		return -EINVAL;
	}
	e = handle_new(dir, values, &h, error);
	if (!e)
		e = open_file(h, error);
	if (!e)
		*handle = h;
	else if (h)
		lmdb_engine_close(h);
	return e;
}

static int lmdb_engine_position(void *handle, struct cairn_position *position)
{
	struct handle *h = handle;

	pthread_mutex_lock(&h->lock);
	*position = h->position;
	pthread_mutex_unlock(&h->lock);
	return 0;
}

/* ---- Upkeep ---- */

static void lmdb_engine_stats(void *handle, cairn_stat_fn *fn, void *arg)
{
	struct handle *h = handle;
	struct env *env = atomic_load(&h->env);
	uint64_t unused = 0, held = 0, age_ms = 0, snapshots = 0, iterators = 0, cut;
	struct view *oldest;
	MDB_envinfo info;
	size_t txn = SIZE_MAX;
	MDB_stat facts;

	pthread_mutex_lock(&h->lock);
	oldest = lmdb_oldest_view(h, true);
	if (oldest) {
		txn = oldest->txn;
		age_ms = (clock_boot_ns() - oldest->since_ns) / 1000000;
	}
	for (const struct view *v = h->views; v; v = v->next)
		*(v->snapshot ? &snapshots : &iterators) += 1;
	cut = h->cut_off;
	pthread_mutex_unlock(&h->lock);
	mdb_env_info(env->mdb, &info);
	mdb_env_stat(env->mdb, &facts);
	lmdb_count_free(env, txn, &unused, &held);
	fn(arg, "disk-bytes", "bytes", ((uint64_t)info.me_last_pgno + 1) * env->page);
	fn(arg, "free-bytes", "bytes", unused);
	fn(arg, "held-bytes", "bytes", held);
	fn(arg, "map-size-max", "bytes", h->map_max);
	fn(arg, "branch-pages", "pages", facts.ms_branch_pages);
	fn(arg, "leaf-pages", "pages", facts.ms_leaf_pages);
	fn(arg, "overflow-pages", "pages", facts.ms_overflow_pages);
	fn(arg, "depth", "pages", facts.ms_depth);
	fn(arg, "readers", "", info.me_numreaders);
	fn(arg, "snapshots", "", snapshots);
	fn(arg, "iterators", "", iterators);
	fn(arg, "oldest-reader", "ms", age_ms);
	fn(arg, "readers-cut-off", "", cut);
}

static struct cairn_engine lmdb_engine = {
	.name = "lmdb",
	.help = "a copy-on-write B+ tree in one mapped file, by OpenLDAP's LMDB",
	.caps = CAIRN_ENGINE_ORDERED | CAIRN_ENGINE_SNAPSHOT | CAIRN_ENGINE_DURABLE |
		CAIRN_ENGINE_PARALLEL_READS | CAIRN_ENGINE_BLOCKING | CAIRN_ENGINE_SYNC_ONLY,
	.key_max = LMDB_KEY_MAX,
	.params = lmdb_params,
	.open = lmdb_engine_open,
	.close = lmdb_engine_close,
	.read_begin = lmdb_read_begin,
	.read_end = lmdb_read_end,
	.get = lmdb_engine_get,
	.write = lmdb_engine_write,
	.position = lmdb_engine_position,
	.sync = lmdb_engine_sync,
	.snapshot = lmdb_engine_snapshot,
	.release = lmdb_engine_release,
	.iter_open = lmdb_iter_open,
	.iter_next = lmdb_iter_step,
	.iter_close = lmdb_iter_close,
	.stats = lmdb_engine_stats,
	.compact = lmdb_engine_compact,
	.notice = lmdb_notice,
	.repair = lmdb_engine_repair,
	.check = lmdb_engine_check,
};

CAIRN_ENGINE_REGISTER(lmdb_engine)
