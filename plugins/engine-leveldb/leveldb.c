/*
 * engine-leveldb: an engine over the C API of libleveldb.
 *
 * open() first lets folder_prepare look at the files (a torn end is cut, damage is refused), then opens
 * LevelDB with paranoid_checks, without which a merge would give damaged bytes a good checksum and a damaged
 * bloom filter would hide keys. read.c and write.c do the work from there.
 *
 * LevelDB reports failures as sentences: "Corruption: …" becomes -EUCLEAN, and the damaged file is looked
 * for, so that the sentence names it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "folder.h"
#include "handle.h"
#include "le.h"
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
	[CACHE] = { "cache", CAIRN_PARAM_SIZE, "4M", false, "memory for blocks of tables" },
	[ROW_CACHE] = { "row-cache", CAIRN_PARAM_SIZE, "8M", false,
			"memory for records; only what is here is read without waiting" },
	[WRITE_BUFFER] = { "write-buffer", CAIRN_PARAM_SIZE, "4M", false,
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

static void keep_notice(struct handle *h, const struct cairn_error *e)
{
	pthread_mutex_lock(&h->lock);
	h->notice = *e;
	h->has_notice = true;
	pthread_mutex_unlock(&h->lock);
}

bool leveldb_notice(void *handle, struct cairn_error *notice)
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

int leveldb_explain(const char *dir, char *text, struct cairn_slice from, struct cairn_slice to,
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

int leveldb_read_failed(struct handle *h, char *text, struct cairn_slice from, struct cairn_slice to)
{
	struct cairn_error e = { 0 };
	int r = leveldb_explain(h->dir, text, from, to, &e);

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

	value = leveldb_get(h->db, h->now, LEVELDB_POSITION_KEY, LEVELDB_POSITION_KEY_LEN, &len, &text);
	if (text)
		return leveldb_explain(h->dir, text,
				       cairn_slice(LEVELDB_POSITION_KEY, LEVELDB_POSITION_KEY_LEN),
				       leveldb_no_slice, error);
	if (value && len == LEVELDB_POSITION_LEN && value[0] == LEVELDB_POSITION_VERSION) {
		h->position = (struct cairn_position){ le64_get(value + 8), le64_get(value + 16) };
		leveldb_free(value);
		return 0;
	}
	if (value) {
		cairn_fail(error, CAIRN_E_UNSUPPORTED,
			   "%s: its position row has format %d, this release knows %d", h->dir,
			   len ? value[0] : 0, LEVELDB_POSITION_VERSION);
		leveldb_free(value);
		return -EOPNOTSUPP;
	}
	it = leveldb_create_iterator(h->db, h->now);
	leveldb_iter_seek_to_first(it);
	foreign = leveldb_iter_valid(it);
	leveldb_iter_get_error(it, &text);
	leveldb_iter_destroy(it);
	if (text)
		return leveldb_explain(h->dir, text, leveldb_no_slice, leveldb_no_slice, error);
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
		e = text ? leveldb_explain(dir, text, leveldb_no_slice, leveldb_no_slice, error)
			 : load_position(h, error);
	}
	if (e)
		leveldb_engine_close(h);
	else
		*handle = h;
	return e;
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

	int e = leveldb_check_failed(h, error);

	if (e)
		return e;
	leveldb_compact_range(h->db, NULL, 0, NULL, 0);
	return leveldb_write_batch(h, &empty, false, error);
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

/* The position may have been in what is lost, and open() tells by it that the files are ours: then it is 0
 * now. */
static void put_position(leveldb_options_t *options, const char *dir, char **text)
{
	static const char none[LEVELDB_POSITION_LEN] = { LEVELDB_POSITION_VERSION };
	leveldb_t *db = leveldb_open(options, dir, text);
	leveldb_readoptions_t *now = leveldb_readoptions_create();
	leveldb_writeoptions_t *synced = leveldb_writeoptions_create();
	char *value = NULL;
	size_t len;

	leveldb_writeoptions_set_sync(synced, 1);
	if (db)
		value = leveldb_get(db, now, LEVELDB_POSITION_KEY, LEVELDB_POSITION_KEY_LEN, &len, text);
	if (db && !value && !*text)
		leveldb_put(db, synced, LEVELDB_POSITION_KEY, LEVELDB_POSITION_KEY_LEN, none, sizeof(none),
			    text);
	leveldb_free(value);
	leveldb_writeoptions_destroy(synced);
	leveldb_readoptions_destroy(now);
	if (db)
		leveldb_close(db);
}

/* LevelDB makes a new MANIFEST over all tables and logs whose blocks have the right checksums. */
static int leveldb_engine_repair(const char *dir, struct cairn_error *error)
{
	leveldb_options_t *options = leveldb_options_create();
	char *text = NULL;

	leveldb_options_set_paranoid_checks(options, 1);
	leveldb_repair_db(options, dir, &text);
	if (!text)
		put_position(options, dir, &text);
	leveldb_options_destroy(options);
	if (!text)
		return 0;
	cairn_fail(error, CAIRN_E_CORRUPT, "%s: LevelDB says: %s", dir, text);
	leveldb_free(text);
	return -EUCLEAN;
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
	.repair = leveldb_engine_repair,
};

CAIRN_ENGINE_REGISTER(leveldb_engine)
