/*
 * Writing: a batch becomes one LevelDB batch with the position in it; a range is turned into a delete for
 * each of its keys. The row cache forgets what is written. A full disk is noticed before anything is written;
 * after a failed write LevelDB's log may end in half a record, so the handle takes no further ones.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include "handle.h"
#include "le.h"
#include "sys.h"
#include "banned.h"

#define JOIN_KEEP (1 << 20) /* bytes of the join buffer kept between batches */

/* The value of W in one piece; valid until the next call. 0 or -ENOMEM. */
static int join_value(struct handle *h, const struct cairn_write *w, struct cairn_slice *value)
{
	size_t len = 0, at = 0;

	*value = cairn_slice("", 0);
	for (int i = 0; i < w->iov_count; i++)
		len += w->iov[i].iov_len;
	if (len == 0)
		return 0;
	if (w->iov_count == 1) {
		*value = cairn_slice(w->iov[0].iov_base, len);
		return 0;
	}
	if (len > h->join_cap) {
		char *p = realloc(h->join, len);

		if (!p)
			return -ENOMEM;
		h->join = p;
		h->join_cap = len;
	}
	for (int i = 0; i < w->iov_count; i++) {
		if (w->iov[i].iov_len)
			memcpy(h->join + at, w->iov[i].iov_base, w->iov[i].iov_len);
		at += w->iov[i].iov_len;
	}
	*value = cairn_slice(h->join, len);
	return 0;
}

/* Add a delete for each key of the range that step WHICH of BATCH removes: those of the state before the
 * batch, and those put earlier in it. */
static int expand_range(struct handle *h, const struct cairn_batch *batch, size_t which,
			leveldb_writebatch_t *to)
{
	const struct cairn_write *range = &batch->writes[which];
	struct cairn_slice from = leveldb_at_least_ours(range->key), key, value;
	void *it;
	int e;

	for (size_t i = 0; i < which; i++) {
		const struct cairn_write *w = &batch->writes[i];

		if (w->kind == CAIRN_WRITE_PUT && cairn_slice_cmp(w->key, from) >= 0 &&
		    (range->end.len == 0 || cairn_slice_cmp(w->key, range->end) < 0))
			leveldb_writebatch_delete(to, w->key.data, w->key.len);
	}
	if ((e = leveldb_iter_open(h, NULL, from, range->end, 0, &it)))
		return e;
	while (!(e = leveldb_iter_step(it, &key, &value)) && key.data)
		leveldb_writebatch_delete(to, key.data, key.len);
	leveldb_iter_close(it);
	return e;
}

static int build(struct handle *h, const struct cairn_batch *batch, leveldb_writebatch_t *to)
{
	char position[LEVELDB_POSITION_LEN] = { LEVELDB_POSITION_VERSION };
	struct cairn_slice value;
	int e = 0;

	for (size_t i = 0; !e && i < batch->count; i++) {
		const struct cairn_write *w = &batch->writes[i];

		if (w->kind == CAIRN_WRITE_DELETE_RANGE) {
			e = expand_range(h, batch, i, to);
			continue;
		}
		if (w->key.len == 0 || *(const char *)w->key.data == 0)
			return -EINVAL;
		if (w->kind == CAIRN_WRITE_DELETE)
			leveldb_writebatch_delete(to, w->key.data, w->key.len);
		else if (!(e = join_value(h, w, &value)))
			leveldb_writebatch_put(to, w->key.data, w->key.len, value.data, value.len);
	}
	le64_put(position + 8, batch->position.index);
	le64_put(position + 16, batch->position.term);
	leveldb_writebatch_put(to, LEVELDB_POSITION_KEY, LEVELDB_POSITION_KEY_LEN, position,
			       sizeof(position));
	return e;
}

static void drop_put(void *rows, const char *k, size_t klen, const char *v, size_t vlen)
{
	(void)v;
	(void)vlen;
	cache_write_drop(rows, cairn_slice(k, klen));
}

static void drop_deleted(void *rows, const char *k, size_t klen)
{
	cache_write_drop(rows, cairn_slice(k, klen));
}

/* Refuse a batch while nothing has been written yet: LevelDB does not recover from a full disk without being
 * opened again. One that deletes may use half of the reserve: it brings room in the end. */
static int check_space(const struct handle *h, const struct cairn_batch *batch, struct cairn_error *error)
{
	uint64_t need = h->min_free, free_bytes;
	bool deletes = false;
	struct statvfs fs;

	if (h->min_free == 0 || fstatvfs(h->dir_fd, &fs) || fs.f_blocks == 0)
		return 0;
	for (size_t i = 0; i < batch->count; i++) {
		deletes = deletes || batch->writes[i].kind != CAIRN_WRITE_PUT;
		need += batch->writes[i].key.len;
		for (int k = 0; k < batch->writes[i].iov_count; k++)
			need += batch->writes[i].iov[k].iov_len;
	}
	need -= deletes ? h->min_free / 2 : 0;
	free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	if (free_bytes >= need)
		return 0;
	cairn_fail(error, CAIRN_E_FULL, "%s: %llu bytes are free on the disk, %llu are kept free or needed",
		   h->dir, (unsigned long long)free_bytes, (unsigned long long)need);
	cairn_hint(error, "make room on the disk; writing goes on by itself then");
	return -ENOSPC;
}

/*
 * LevelDB begins a new log without syncing the folder, so that after power loss a log of synced batches might
 * have no name. So the folder is synced where it has changed. A change within the last 20 ms may be followed
 * by one with the same time.
 */
static int sync_dir(struct handle *h)
{
	struct timespec now;
	struct stat st;
	int64_t age_ms;
	int e;

	if (fstat(h->dir_fd, &st))
		return -errno;
	if (st.st_mtim.tv_sec == h->synced_dir.tv_sec && st.st_mtim.tv_nsec == h->synced_dir.tv_nsec)
		return 0;
	e = sys->fsync(h->dir_fd);
	clock_gettime(CLOCK_REALTIME, &now);
	age_ms = (now.tv_sec - st.st_mtim.tv_sec) * 1000 + (now.tv_nsec - st.st_mtim.tv_nsec) / 1000000;
	h->synced_dir = age_ms > 20 ? st.st_mtim : (struct timespec){ 0 };
	return e;
}

/* Remember why there are no further writes, and say so. */
static int stop_writing(struct handle *h, int e, struct cairn_error *error)
{
	h->failed_errno = e == -ENOSPC ? -EIO : e; /* some of it may lie in the log */
	cairn_hint(&h->failed, "the volume takes no writes until it has been opened again");
	if (error)
		*error = h->failed;
	return h->failed_errno;
}

/* Hand the built batch to LevelDB. After a failure the handle takes no more. */
static int commit(struct handle *h, leveldb_writebatch_t *b, bool sync, struct cairn_error *error)
{
	char *text = NULL;
	int e;

	if (h->has_rows && cache_write_begin(h->rows))
		leveldb_writebatch_iterate(b, h->rows, drop_put, drop_deleted);
	leveldb_write(h->db, sync ? h->synced : h->plain, b, &text);
	if (h->has_rows)
		cache_write_end(h->rows);
	if (text)
		return stop_writing(
			h, leveldb_explain(h->dir, text, leveldb_no_slice, leveldb_no_slice, &h->failed),
			error);
	e = sync ? sync_dir(h) : 0;
	if (!e)
		return 0;
	cairn_fail(&h->failed, cairn_error_from_errno(-e), "%s: syncing the folder: %s", h->dir,
		   strerror(-e));
	return stop_writing(h, e, error);
}

int leveldb_write_batch(struct handle *h, const struct cairn_batch *batch, bool sync,
			struct cairn_error *error)
{
	leveldb_writebatch_t *b = leveldb_writebatch_create();
	int e = build(h, batch, b);

	if (e == -EUCLEAN && error)
		leveldb_notice(h, error);
	else if (e)
		cairn_fail(error, cairn_error_from_errno(-e), "%s: the batch cannot be built: %s", h->dir,
			   strerror(-e));
	if (!e)
		e = commit(h, b, sync, error);
	leveldb_writebatch_destroy(b);
	if (h->join_cap > JOIN_KEEP) {
		free(h->join);
		h->join = NULL;
		h->join_cap = 0;
	}
	if (e)
		return e;
	pthread_mutex_lock(&h->lock);
	h->position = batch->position;
	pthread_mutex_unlock(&h->lock);
	return 0;
}

int leveldb_check_failed(const struct handle *h, struct cairn_error *error)
{
	if (h->failed_errno && error)
		*error = h->failed;
	return h->failed_errno;
}

int leveldb_engine_write(void *handle, const struct cairn_batch *batch, bool sync, struct cairn_error *error)
{
	struct handle *h = handle;
	int e = leveldb_check_failed(h, error);

	if (!e)
		e = check_space(h, batch, error);
	return e ? e : leveldb_write_batch(h, batch, sync, error);
}
