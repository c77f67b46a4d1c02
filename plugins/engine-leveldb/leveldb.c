/*
 * engine-leveldb: an engine over the C API of libleveldb.
 *
 * open() first lets folder_prepare look at the files (a torn end is cut, damage is refused), then opens
 * LevelDB with paranoid_checks, without which a merge would give damaged bytes a good checksum and a damaged
 * bloom filter would hide keys. write() turns a batch into one LevelDB batch with the position in it. get()
 * lends counted rows: from the row cache, or as LevelDB returned them. NO_WAIT is answered from the row cache
 * alone, because LevelDB cannot say whether a read would wait.
 *
 * LevelDB reports failures as sentences: "Corruption: …" becomes -EUCLEAN, and the damaged file is looked
 * for, so that the sentence names it. After a failed write its log may end in half a record, behind which
 * nothing that is written would be found again: so the handle takes no further writes.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>
#include <leveldb/c.h>
#include <cairn/engine.h>
#include "cache.h"
#include "folder.h"
#include "le.h"
#include "sys.h"
#include "banned.h"

enum param {
	CACHE,
	ROW_CACHE,
	WRITE_BUFFER,
	BLOCK_SIZE,
	BLOOM_BITS,
	COMPRESSION,
	OPEN_FILES,
	MIN_FREE,
	PARAMS
};

static const struct cairn_param leveldb_params[] = {
	[CACHE] = { "cache", CAIRN_PARAM_SIZE, "8M", false, "memory for blocks of tables" },
	[ROW_CACHE] = { "row-cache", CAIRN_PARAM_SIZE, "8M", false,
			"memory for records; only what is here is read without waiting" },
	[WRITE_BUFFER] = { "write-buffer", CAIRN_PARAM_SIZE, "8M", false,
			   "newest writes kept in memory (up to twice this), 64K to 1G" },
	[BLOCK_SIZE] = { "block-size", CAIRN_PARAM_SIZE, "4K", false, "bytes read at once, 1K to 4M" },
	[BLOOM_BITS] = { "bloom-bits", CAIRN_PARAM_NUMBER, "10", false,
			 "bits per key that spare reads of absent keys, 0 to 30" },
	[COMPRESSION] = { "compression", CAIRN_PARAM_BOOL, "yes", false, "compress blocks with Snappy" },
	[OPEN_FILES] = { "open-files", CAIRN_PARAM_NUMBER, "500", false,
			 "most files kept open, 74 to 50000" },
	[MIN_FREE] = { "min-free", CAIRN_PARAM_SIZE, "32M", false,
		       "refuse writes that would leave the disk less than this" },
	[PARAMS] = { .name = NULL },
};

/* What LevelDB would silently replace by the nearest value that it takes. */
static const struct {
	uint64_t min, max;
} limits[PARAMS] = {
	[CACHE] = { 0, SIZE_MAX >> 1 },
	[ROW_CACHE] = { 0, SIZE_MAX >> 1 },
	[WRITE_BUFFER] = { 64 << 10, 1 << 30 },
	[BLOCK_SIZE] = { 1 << 10, 4 << 20 },
	[BLOOM_BITS] = { 0, 30 },
	[COMPRESSION] = { 0, 1 },
	[OPEN_FILES] = { 74, 50000 },
	[MIN_FREE] = { 0, SIZE_MAX >> 1 },
};

/* Our one row in the engine's own key space; format.md has its bytes. */
static const char position_key[] = { 0, 'p' };
#define POSITION_VERSION 1
#define POSITION_LEN 24

/* As the start of a range: its beginning; as the end: no end. */
static const struct cairn_slice no_slice = { NULL, 0 };

#define JOIN_KEEP (1 << 20) /* bytes of the join buffer kept between batches */

struct handle {
	char *dir; /* owned */
	int dir_fd;
	leveldb_t *db;
	leveldb_options_t *options;
	leveldb_cache_t *blocks;
	leveldb_filterpolicy_t *bloom; /* NULL: none */
	leveldb_readoptions_t *now;    /* reads of the newest state */
	leveldb_writeoptions_t *plain, *synced;
	struct cache *rows;
	bool has_rows; /* the row cache is on */
	uint64_t min_free;
	/* The writer's. */
	char *join; /* owned: pieces of one value put together */
	size_t join_cap;
	struct timespec
		synced_dir; /* when the folder had last changed, of what is known to be on disk; 0: nothing */
	struct cairn_error failed; /* of the write after which there are no more */
	int failed_errno;          /* 0: none */
	/* Under LOCK. */
	pthread_mutex_t lock;
	struct cairn_position position;
	struct cairn_error notice;
	bool has_notice;
};

/* Rows lent under a guard: three in the guard itself, more in blocks that hang on its fourth pointer. */
#define GUARD_ROWS 3
struct lent {
	struct lent *next;
	size_t count;
	struct row *rows[62];
};

struct snapshot {
	const leveldb_snapshot_t *state;
	leveldb_readoptions_t *options;
};

enum walk { WALK_FRESH, WALK_ON, WALK_END };

struct iterator {
	struct handle *h;
	leveldb_iterator_t *it;
	enum walk walk;
	bool reverse;
	struct cairn_slice from, to; /* point behind the struct; FROM is never empty */
	char keys[];
};

/* ---- Errors ---- */

static void keep_notice(struct handle *h, const struct cairn_error *e)
{
	pthread_mutex_lock(&h->lock);
	h->notice = *e;
	h->has_notice = true;
	pthread_mutex_unlock(&h->lock);
}

static bool leveldb_notice(void *handle, struct cairn_error *notice)
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

/*
 * Turn LevelDB's sentence TEXT (freed here) into -errno and a sentence of ours in *E. FROM and TO bound the
 * keys that were touched, to find the damaged file.
 */
static int explain(const char *dir, char *text, struct cairn_slice from, struct cairn_slice to,
		   struct cairn_error *e)
{
	bool corruption = strstr(text, "Corruption:") != NULL;
	/* A table that is not there is "not found" to LevelDB. */
	bool lost = strncmp(text, "NotFound:", 9) == 0;
	int r = -EIO;

	if (corruption || lost) {
		r = -EUCLEAN;
		if (!folder_find_damage(dir, from, to, e))
			cairn_fail(e, CAIRN_E_CORRUPT, "%s: LevelDB says: %s", dir, text);
	} else if (strstr(text, strerror(ENOSPC)) || strstr(text, strerror(EDQUOT))) {
		r = -ENOSPC;
		cairn_fail(e, CAIRN_E_FULL, "%s: LevelDB says: %s", dir, text);
	} else {
		cairn_fail(e, CAIRN_E_INTERNAL, "%s: LevelDB says: %s", dir, text);
	}
	leveldb_free(text);
	return r;
}

/* As explain(), for calls that have no error of their own. */
static int read_failed(struct handle *h, char *text, struct cairn_slice from, struct cairn_slice to)
{
	struct cairn_error e = { 0 };
	int r = explain(h->dir, text, from, to, &e);

	keep_notice(h, &e);
	return r;
}

/* ---- Opening ---- */

static void leveldb_engine_close(void *handle)
{
	struct handle *h = handle;

	if (h->db)
		leveldb_close(h->db);
	leveldb_options_destroy(h->options);
	leveldb_cache_destroy(h->blocks);
	if (h->bloom)
		leveldb_filterpolicy_destroy(h->bloom);
	leveldb_readoptions_destroy(h->now);
	leveldb_writeoptions_destroy(h->plain);
	leveldb_writeoptions_destroy(h->synced);
	cache_free(h->rows);
	pthread_mutex_destroy(&h->lock);
	if (h->dir_fd >= 0)
		close(h->dir_fd);
	free(h->join);
	free(h->dir);
	free(h);
}

static struct handle *handle_new(const char *dir, const struct cairn_value *v)
{
	struct handle *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	pthread_mutex_init(&h->lock, NULL);
	h->dir = strdup(dir);
	h->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	h->rows = cache_new(v[ROW_CACHE].number);
	h->has_rows = v[ROW_CACHE].number > 0;
	h->min_free = v[MIN_FREE].number;
	h->blocks = leveldb_cache_create_lru(v[CACHE].number);
	h->options = leveldb_options_create();
	leveldb_options_set_create_if_missing(h->options, 1);
	leveldb_options_set_paranoid_checks(h->options, 1);
	leveldb_options_set_cache(h->options, h->blocks);
	leveldb_options_set_write_buffer_size(h->options, v[WRITE_BUFFER].number);
	leveldb_options_set_block_size(h->options, v[BLOCK_SIZE].number);
	leveldb_options_set_max_open_files(h->options, (int)v[OPEN_FILES].number);
	leveldb_options_set_compression(
		h->options, v[COMPRESSION].number ? leveldb_snappy_compression : leveldb_no_compression);
	if (v[BLOOM_BITS].number) {
		h->bloom = leveldb_filterpolicy_create_bloom((int)v[BLOOM_BITS].number);
		leveldb_options_set_filter_policy(h->options, h->bloom);
	}
	h->now = leveldb_readoptions_create();
	leveldb_readoptions_set_verify_checksums(h->now, 1);
	h->plain = leveldb_writeoptions_create();
	h->synced = leveldb_writeoptions_create();
	leveldb_writeoptions_set_sync(h->synced, 1);
	if (h->dir && h->rows)
		return h;
	leveldb_engine_close(h);
	return NULL;
}

/* Read the position. A LevelDB that has keys but no position is somebody else's. */
static int load_position(struct handle *h, struct cairn_error *error)
{
	leveldb_iterator_t *it;
	char *text = NULL, *value;
	bool foreign;
	size_t len;

	value = leveldb_get(h->db, h->now, position_key, sizeof(position_key), &len, &text);
	if (text)
		return explain(h->dir, text, cairn_slice(position_key, sizeof(position_key)), no_slice,
			       error);
	if (value && len == POSITION_LEN && value[0] == POSITION_VERSION) {
		h->position = (struct cairn_position){ le64_get(value + 8), le64_get(value + 16) };
		leveldb_free(value);
		return 0;
	}
	if (value) {
		cairn_fail(error, CAIRN_E_UNSUPPORTED,
			   "%s: its position row has format %d, this release knows %d", h->dir,
			   len ? value[0] : 0, POSITION_VERSION);
		leveldb_free(value);
		return -EOPNOTSUPP;
	}
	it = leveldb_create_iterator(h->db, h->now);
	leveldb_iter_seek_to_first(it);
	foreign = leveldb_iter_valid(it);
	leveldb_iter_get_error(it, &text);
	leveldb_iter_destroy(it);
	if (text)
		return explain(h->dir, text, no_slice, no_slice, error);
	if (!foreign)
		return 0;
	cairn_fail(error, CAIRN_E_INVALID, "%s holds a LevelDB that cairn did not write", h->dir);
	return -EINVAL;
}

static int check_limits(const struct cairn_value *values, struct cairn_error *error)
{
	for (int i = 0; i < PARAMS; i++)
		if (values[i].number < limits[i].min || values[i].number > limits[i].max) {
			cairn_fail(error, CAIRN_E_INVALID, "parameter %s: %s is out of its range (%s)",
				   leveldb_params[i].name, values[i].text, leveldb_params[i].help);
			return -EINVAL;
		}
	return 0;
}

static int leveldb_engine_open(const char *dir, const struct cairn_value *values, void **handle,
			       struct cairn_error *error)
{
	struct handle *h;
	char *text = NULL;
	int e = check_limits(values, error);

	if (e)
		return e;
	h = handle_new(dir, values);
	if (!h) {
		cairn_fail(error, CAIRN_E_INTERNAL, "no memory for %s", dir);
		return -ENOMEM;
	}
	e = folder_prepare(dir, &h->notice, error);
	if (!e) {
		h->has_notice = h->notice.message[0];
		h->db = leveldb_open(h->options, dir, &text);
		e = text ? explain(dir, text, no_slice, no_slice, error) : load_position(h, error);
	}
	if (e)
		leveldb_engine_close(h);
	else
		*handle = h;
	return e;
}

/* ---- Reading ---- */

static void leveldb_read_begin(void *handle, struct cairn_guard *guard)
{
	(void)handle;
	(void)guard;
}

static void leveldb_read_end(void *handle, struct cairn_guard *guard)
{
	struct lent *block = guard->engine[GUARD_ROWS], *next;

	(void)handle;
	for (int i = 0; i < GUARD_ROWS; i++)
		row_put(guard->engine[i]);
	for (; block; block = next) {
		next = block->next;
		for (size_t i = 0; i < block->count; i++)
			row_put(block->rows[i]);
		free(block);
	}
	memset(guard, 0, sizeof(*guard));
}

/* Let GUARD hold R from now on. 0, or -ENOMEM and R is let go. */
static int lend(struct cairn_guard *guard, struct row *r)
{
	struct lent *block = guard->engine[GUARD_ROWS];

	for (int i = 0; i < GUARD_ROWS; i++)
		if (!guard->engine[i]) {
			guard->engine[i] = r;
			return 0;
		}
	if (!block || block->count == sizeof(block->rows) / sizeof(*block->rows)) {
		block = malloc(sizeof(*block));
		if (!block) {
			row_put(r);
			return -ENOMEM;
		}
		block->next = guard->engine[GUARD_ROWS];
		block->count = 0;
		guard->engine[GUARD_ROWS] = block;
	}
	block->rows[block->count++] = r;
	return 0;
}

/* Ask LevelDB for KEY. Sets *R, held for the caller; absent keys give an absent row. 0 or -errno. */
static int read_row(struct handle *h, const leveldb_readoptions_t *options, struct cairn_slice key,
		    struct row **r)
{
	char *text = NULL, *value;
	size_t len;

	value = leveldb_get(h->db, options, key.data, key.len, &len, &text);
	if (text) {
		char *after = calloc(1, key.len + 1); /* the next possible key */
		int e;

		if (after)
			memcpy(after, key.data, key.len);
		e = read_failed(h, text, key, cairn_slice(after, after ? key.len + 1 : 0));
		free(after);
		return e;
	}
	*r = row_new(key, value, value ? len : 0, !value);
	return *r ? 0 : -ENOMEM;
}

static int leveldb_engine_get(void *handle, struct cairn_guard *guard, void *snapshot, struct cairn_slice key,
			      unsigned flags, struct cairn_slice *value)
{
	struct handle *h = handle;
	struct snapshot *s = snapshot;
	struct row *r = s ? NULL : cache_get(h->rows, key);
	int e;

	if (!r) {
		uint64_t stamp = cache_stamp(h->rows);

		if (flags & CAIRN_READ_NO_WAIT)
			return -EAGAIN;
		if ((e = read_row(h, s ? s->options : h->now, key, &r)))
			return e;
		if (!s)
			cache_fill(h->rows, r, stamp);
	}
	if (r->absent) {
		row_put(r);
		return -ENOENT;
	}
	*value = cairn_slice(r->value, r->len);
	return lend(guard, r);
}

static int leveldb_engine_snapshot(void *handle, void **snapshot)
{
	struct handle *h = handle;
	struct snapshot *s = malloc(sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->state = leveldb_create_snapshot(h->db);
	s->options = leveldb_readoptions_create();
	leveldb_readoptions_set_verify_checksums(s->options, 1);
	leveldb_readoptions_set_snapshot(s->options, s->state);
	*snapshot = s;
	return 0;
}

static void leveldb_engine_release(void *handle, void *snapshot)
{
	struct handle *h = handle;
	struct snapshot *s = snapshot;

	leveldb_readoptions_destroy(s->options);
	leveldb_release_snapshot(h->db, s->state);
	free(s);
}

/* ---- Iterating ---- */

/* The first key that is the host's. */
static struct cairn_slice at_least_ours(struct cairn_slice from)
{
	struct cairn_slice lowest = cairn_slice("\1", 1);

	return cairn_slice_cmp(from, lowest) < 0 ? lowest : from;
}

static int leveldb_iter_open(void *handle, void *snapshot, struct cairn_slice from, struct cairn_slice to,
			     unsigned flags, void **iterator)
{
	struct handle *h = handle;
	struct snapshot *s = snapshot;
	struct iterator *i;

	if (flags & CAIRN_READ_NO_WAIT)
		return -EAGAIN;
	from = at_least_ours(from);
	i = malloc(sizeof(*i) + from.len + to.len);
	if (!i)
		return -ENOMEM;
	*i = (struct iterator){ .h = h, .reverse = flags & CAIRN_READ_REVERSE };
	memcpy(i->keys, from.data, from.len);
	if (to.len)
		memcpy(i->keys + from.len, to.data, to.len);
	i->from = cairn_slice(i->keys, from.len);
	i->to = cairn_slice(i->keys + from.len, to.len);
	i->it = leveldb_create_iterator(h->db, s ? s->options : h->now);
	*iterator = i;
	return 0;
}

static void iter_start(struct iterator *i)
{
	if (!i->reverse) {
		leveldb_iter_seek(i->it, i->from.data, i->from.len);
		return;
	}
	if (i->to.len)
		leveldb_iter_seek(i->it, i->to.data, i->to.len);
	if (i->to.len && leveldb_iter_valid(i->it))
		leveldb_iter_prev(i->it);
	else
		leveldb_iter_seek_to_last(i->it);
}

/*
 * LevelDB goes on behind a block that it cannot read, with older versions of keys or none: so its error is
 * asked for after each step, before anything is lent.
 */
static int leveldb_iter_step(void *iterator, struct cairn_slice *key, struct cairn_slice *value)
{
	struct iterator *i = iterator;
	char *text = NULL;

	key->data = NULL;
	if (i->walk == WALK_END)
		return 0;
	if (i->walk == WALK_FRESH)
		iter_start(i);
	else if (i->reverse)
		leveldb_iter_prev(i->it);
	else
		leveldb_iter_next(i->it);
	i->walk = WALK_END;
	leveldb_iter_get_error(i->it, &text);
	if (text)
		return read_failed(i->h, text, i->from, i->to);
	if (!leveldb_iter_valid(i->it))
		return 0;
	key->data = leveldb_iter_key(i->it, &key->len);
	if (i->reverse ? cairn_slice_cmp(*key, i->from) < 0
		       : i->to.len && cairn_slice_cmp(*key, i->to) >= 0) {
		key->data = NULL;
		return 0;
	}
	value->data = leveldb_iter_value(i->it, &value->len);
	i->walk = WALK_ON;
	return 0;
}

static void leveldb_iter_close(void *iterator)
{
	struct iterator *i = iterator;

	leveldb_iter_destroy(i->it);
	free(i);
}

/* ---- Writing ---- */

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
	struct cairn_slice from = at_least_ours(range->key), key, value;
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
	char position[POSITION_LEN] = { POSITION_VERSION };
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
	leveldb_writebatch_put(to, position_key, sizeof(position_key), position, sizeof(position));
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

static void fill_put(void *rows, const char *k, size_t klen, const char *v, size_t vlen)
{
	if (k[0])
		cache_write_fill(rows, cairn_slice(k, klen), v, vlen, false);
}

static void fill_deleted(void *rows, const char *k, size_t klen)
{
	cache_write_fill(rows, cairn_slice(k, klen), NULL, 0, true);
}

/* Refuse a batch while nothing has been written yet: LevelDB does not recover from a full disk without being
 * opened again. */
static int check_space(const struct handle *h, const struct cairn_batch *batch, struct cairn_error *error)
{
	uint64_t need = h->min_free, free_bytes;
	struct statvfs fs;

	if (h->min_free == 0 || fstatvfs(h->dir_fd, &fs) || fs.f_blocks == 0)
		return 0;
	for (size_t i = 0; i < batch->count; i++) {
		need += batch->writes[i].key.len;
		for (int k = 0; k < batch->writes[i].iov_count; k++)
			need += batch->writes[i].iov[k].iov_len;
	}
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

	if (h->has_rows) {
		cache_write_begin(h->rows);
		leveldb_writebatch_iterate(b, h->rows, drop_put, drop_deleted);
	}
	leveldb_write(h->db, sync ? h->synced : h->plain, b, &text);
	if (h->has_rows) {
		if (!text)
			leveldb_writebatch_iterate(b, h->rows, fill_put, fill_deleted);
		cache_write_end(h->rows);
	}
	if (text)
		return stop_writing(h, explain(h->dir, text, no_slice, no_slice, &h->failed), error);
	e = sync ? sync_dir(h) : 0;
	if (!e)
		return 0;
	cairn_fail(&h->failed, cairn_error_from_errno(-e), "%s: syncing the folder: %s", h->dir,
		   strerror(-e));
	return stop_writing(h, e, error);
}

/* Build BATCH and commit it. 0 or -errno. */
static int write_batch(struct handle *h, const struct cairn_batch *batch, bool sync,
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

/* Whether the handle still takes writes: 0, or what the failed one said. */
static int check_failed(const struct handle *h, struct cairn_error *error)
{
	if (h->failed_errno && error)
		*error = h->failed;
	return h->failed_errno;
}

static int leveldb_engine_write(void *handle, const struct cairn_batch *batch, bool sync,
				struct cairn_error *error)
{
	struct handle *h = handle;
	int e = check_failed(h, error);

	if (!e)
		e = check_space(h, batch, error);
	return e ? e : write_batch(h, batch, sync, error);
}

static int leveldb_engine_position(void *handle, struct cairn_position *position)
{
	struct handle *h = handle;

	pthread_mutex_lock(&h->lock);
	*position = h->position;
	pthread_mutex_unlock(&h->lock);
	return 0;
}

/* ---- Upkeep ---- */

static uint64_t number_property(struct handle *h, const char *name)
{
	char *text = leveldb_property_value(h->db, name);
	uint64_t v = text ? strtoull(text, NULL, 10) : 0;

	leveldb_free(text);
	return v;
}

/* Sum the columns "Read(MB)" and "Write(MB)" of LevelDB's table of merges. */
static void merged(struct handle *h, uint64_t *read_mib, uint64_t *written_mib)
{
	char *text = leveldb_property_value(h->db, "leveldb.stats"), *line = text;
	unsigned level, files;
	double size, seconds, in, out;

	*read_mib = *written_mib = 0;
	while (line && *line) {
		if (sscanf(line, "%u %u %lf %lf %lf %lf", &level, &files, &size, &seconds, &in, &out) == 6) {
			*read_mib += (uint64_t)in;
			*written_mib += (uint64_t)out;
		}
		line = strchr(line, '\n');
		line += line != NULL;
	}
	leveldb_free(text);
}

static void leveldb_engine_stats(void *handle, cairn_stat_fn *fn, void *arg)
{
	struct handle *h = handle;
	struct cache_counts rows;
	uint64_t table_bytes, log_bytes, tables, in, out;
	char name[40];

	folder_sizes(h->dir, &table_bytes, &log_bytes, &tables);
	fn(arg, "tables", "files", tables);
	fn(arg, "table-bytes", "bytes", table_bytes);
	fn(arg, "log-bytes", "bytes", log_bytes);
	for (int level = 0; level < 7; level++) {
		char property[40];

		snprintf(property, sizeof(property), "leveldb.num-files-at-level%d", level);
		snprintf(name, sizeof(name), "level-%d", level);
		fn(arg, name, "files", number_property(h, property));
	}
	merged(h, &in, &out);
	fn(arg, "merge-read", "MiB", in);
	fn(arg, "merge-written", "MiB", out);
	fn(arg, "memory", "bytes", number_property(h, "leveldb.approximate-memory-usage"));
	cache_counts(h->rows, &rows);
	fn(arg, "row-cache", "bytes", rows.bytes);
	fn(arg, "row-cache-hits", "reads", rows.hits);
	fn(arg, "row-cache-misses", "reads", rows.misses);
}

/* LevelDB does not say how a merge ended; an empty batch behind it does. */
static int leveldb_engine_compact(void *handle, struct cairn_error *error)
{
	struct handle *h = handle;
	struct cairn_batch empty = { .position = h->position };

	int e = check_failed(h, error);

	if (e)
		return e;
	leveldb_compact_range(h->db, NULL, 0, NULL, 0);
	return write_batch(h, &empty, false, error);
}

static int leveldb_engine_destroy(const char *dir)
{
	leveldb_options_t *options = leveldb_options_create();
	char *text = NULL;

	leveldb_destroy_db(options, dir, &text);
	leveldb_options_destroy(options);
	if (!text)
		return 0;
	leveldb_free(text);
	return -EIO;
}

static struct cairn_engine leveldb_engine = {
	.name = "leveldb",
	.help = "a log-structured merge tree on disk, by Google's LevelDB",
	.caps = CAIRN_ENGINE_ORDERED | CAIRN_ENGINE_SNAPSHOT | CAIRN_ENGINE_DURABLE |
		CAIRN_ENGINE_CHECKSUMMED | CAIRN_ENGINE_PARALLEL_READS | CAIRN_ENGINE_BLOCKING |
		CAIRN_ENGINE_SYNC_ONLY,
	.params = leveldb_params,
	.open = leveldb_engine_open,
	.close = leveldb_engine_close,
	.read_begin = leveldb_read_begin,
	.read_end = leveldb_read_end,
	.get = leveldb_engine_get,
	.write = leveldb_engine_write,
	.position = leveldb_engine_position,
	.snapshot = leveldb_engine_snapshot,
	.release = leveldb_engine_release,
	.iter_open = leveldb_iter_open,
	.iter_next = leveldb_iter_step,
	.iter_close = leveldb_iter_close,
	.stats = leveldb_engine_stats,
	.compact = leveldb_engine_compact,
	.destroy = leveldb_engine_destroy,
	.notice = leveldb_notice,
};

CAIRN_ENGINE_REGISTER(leveldb_engine)
