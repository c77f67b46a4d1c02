/*
 * engine-bitcask: an engine of append-only data files and a key directory in memory, after the Bitcask paper.
 * open() reads the MANIFEST and fills the key directory; write.c appends; read.c reads. This file has the
 * parameters, opening and closing, and what is known about a handle.
 *
 * close() leaves everything synced, the end marked, and a hint for each file, so that the next start reads
 * hints alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "clock.h"
#include "handle.h"
#include "sys.h"
#include "banned.h"

#define HINT_STEP ((uint64_t)1 << 20) /* bytes of a data file read at once for its hint */

enum param { CACHE, COMPRESSION, FILE_SIZE, MIN_FREE, PARAMS };

static const struct cairn_param bitcask_params[] = {
	[CACHE] = { "cache", CAIRN_PARAM_SIZE, "8M", false, "memory for entries that were read last" },
	[COMPRESSION] = { "compression", CAIRN_PARAM_BOOL, "no", false, "compress values with zstd" },
	[FILE_SIZE] = { "file-size", CAIRN_PARAM_SIZE, "256M", false,
			"largest data file, 4K to 1G; small volumes have smaller ones" },
	[MIN_FREE] = { "min-free", CAIRN_PARAM_SIZE, "32M", false,
		       "refuse what grows the data where it would leave the disk less than this" },
	[PARAMS] = { .name = NULL },
};

_Static_assert(PARAMS == BITCASK_PARAMS, "the header says how many");

static const struct {
	uint64_t min, max;
} limits[PARAMS] = {
	[CACHE] = { 0, SIZE_MAX >> 1 },
	[COMPRESSION] = { 0, 1 },
	[FILE_SIZE] = { 4 << 10, 1 << 30 },
	[MIN_FREE] = { 0, SIZE_MAX >> 1 },
};

int bitcask_fail(const struct handle *h, struct cairn_error *error, int e, const char *format, ...)
{
	char what[200];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	cairn_fail(error, cairn_error_from_errno(-e), "%s: %s: %s", h->dir, what, strerror(-e));
	return e;
}

void bitcask_keep_notice(struct handle *h, const struct cairn_error *e)
{
	pthread_mutex_lock(&h->lock);
	h->notice = *e;
	h->has_notice = true;
	pthread_mutex_unlock(&h->lock);
}

static bool bitcask_notice(void *handle, struct cairn_error *notice)
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

void bitcask_count(struct handle *h)
{
	struct facts facts = { h->count, 0, 0, h->rotations, h->merges, h->merged };

	for (uint32_t i = 0; i < h->count; i++) {
		facts.bytes += h->files[i]->size;
		facts.live += h->files[i]->live;
	}
	if (h->merge.out) { /* not one of the files yet, and what it has counts no more in them */
		facts.bytes += h->merge.out->size;
		facts.live += h->merge.out->live;
	}
	pthread_mutex_lock(&h->lock);
	h->facts = facts;
	pthread_mutex_unlock(&h->lock);
}

int bitcask_stop(struct handle *h, int e, struct cairn_error *error)
{
	h->failed_errno = e == -ENOSPC ? -EIO : e;
	if (error)
		h->failed = *error;
	else
		bitcask_fail(h, &h->failed, e, "a write failed");
	cairn_hint(&h->failed, "the volume takes no writes until it has been opened again");
	if (error)
		*error = h->failed;
	return h->failed_errno;
}

/* Sync, and say in the file that everything is on disk; write the hints that are missing. */
static void finish(struct handle *h)
{
	if (h->failed_errno || h->count == 0 || bitcask_sync(h, NULL))
		return;
	if (!bitcask_active(h)->hinted && write_mark(h))
		return;
	for (uint32_t i = 0; i < h->count; i++)
		if (!h->files[i]->hinted)
			load_hint_step(h, h->files[i], UINT64_MAX);
}

void bitcask_handle_free(struct handle *h)
{
	keydir_end(&h->keys);
	for (uint32_t i = 0; i < h->count; i++)
		folder_forget(h, h->files[i]);
	if (h->dir_fd >= 0)
		sys->close(h->dir_fd);
	pthread_mutex_destroy(&h->lock);
	cache_free(h->cache);
	zip_free(h->zip);
	free(h->slots);
	free(h->files);
	free(h->out);
	free(h->olds);
	free(h->dir);
	free(h);
}

static void bitcask_close(void *handle)
{
	struct handle *h = handle;

	merge_drop(h);
	load_hint_drop(h);
	finish(h);
	bitcask_handle_free(handle);
}

struct handle *bitcask_handle_new(const char *dir, const struct cairn_value *v)
{
	struct handle *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->dir_fd = -1;
	h->dir = strdup(dir);
	h->slots = calloc(BITCASK_SLOTS, sizeof(*h->slots));
	h->cache = cache_new(v[CACHE].number);
	h->zip = zip_new();
	h->compress = v[COMPRESSION].number;
	h->file_size = v[FILE_SIZE].number;
	h->min_free = v[MIN_FREE].number;
	if (!h->dir || !h->slots || !h->cache || !h->zip || keydir_init(&h->keys)) {
		cache_free(h->cache);
		zip_free(h->zip);
		free(h->slots);
		free(h->dir);
		free(h);
		return NULL;
	}
	pthread_mutex_init(&h->lock, NULL);
	return h;
}

static int bitcask_open(const char *dir, const struct cairn_value *values, void **handle,
			struct cairn_error *error)
{
	struct handle *h;
	int r = 0;

	for (int i = 0; i < PARAMS; i++)
		if (values[i].number < limits[i].min || values[i].number > limits[i].max) {
			cairn_fail(error, CAIRN_E_INVALID, "parameter %s: %s is not between %llu and %llu",
				   bitcask_params[i].name, values[i].text, (unsigned long long)limits[i].min,
				   (unsigned long long)limits[i].max);
			return -EINVAL;
		}
	if (values[COMPRESSION].number && !zip_there()) {
		cairn_fail(error, CAIRN_E_UNSUPPORTED, "parameter compression: this build has no zstd");
		return -EOPNOTSUPP;
	}
	h = bitcask_handle_new(dir, values);
	if (!h) {
		cairn_fail(error, CAIRN_E_INTERNAL, "no memory");
		return -ENOMEM;
	}
	h->dir_fd = sys->openat(AT_FDCWD, dir, O_RDONLY | O_DIRECTORY, 0);
	if (h->dir_fd < 0)
		r = bitcask_fail(h, error, h->dir_fd, "cannot open the folder");
	else if ((r = sys->lock(h->dir_fd)))
		r = bitcask_fail(h, error, r, "another process has it open");
	if (r == 0)
		r = folder_open(h, error);
	if (r == 0)
		r = load_all(h, error);
	if (r) {
		bitcask_handle_free(h);
		return r;
	}
	bitcask_count(h);
	*handle = h;
	return 0;
}

static int bitcask_position(void *handle, struct cairn_position *position)
{
	struct handle *h = handle;
	struct versions_guard guard;

	versions_read_begin(&h->keys.versions, &guard);
	*position = (struct cairn_position){ guard.version->index, guard.version->term };
	versions_read_end(&h->keys.versions, &guard);
	return 0;
}

static void bitcask_stats(void *handle, cairn_stat_fn *fn, void *arg)
{
	struct handle *h = handle;
	struct versions_guard guard;
	struct cache_counts cache;
	struct facts facts;
	uint64_t keys, pins;

	versions_read_begin(&h->keys.versions, &guard);
	keys = guard.version->keys;
	versions_read_end(&h->keys.versions, &guard);
	pthread_mutex_lock(&h->keys.versions.lock);
	pins = h->keys.versions.pin_count;
	pthread_mutex_unlock(&h->keys.versions.lock);
	pthread_mutex_lock(&h->lock);
	facts = h->facts;
	pthread_mutex_unlock(&h->lock);
	cache_counts(h->cache, &cache);
	fn(arg, "keys", "", keys);
	fn(arg, "disk-bytes", "bytes", facts.bytes);
	fn(arg, "live", "bytes", facts.live);
	fn(arg, "dead", "bytes", facts.bytes - facts.live);
	fn(arg, "files", "", facts.files);
	fn(arg, "directory", "bytes", atomic_load_explicit(&h->keys.versions.memory, memory_order_relaxed));
	fn(arg, "cache", "bytes", cache.bytes);
	fn(arg, "cache-hits", "", cache.hits);
	fn(arg, "cache-misses", "", cache.misses);
	fn(arg, "snapshots", "", pins);
	fn(arg, "rotations", "", facts.rotations);
	fn(arg, "merges", "", facts.merges);
	fn(arg, "merged", "bytes", facts.merged);
}

/* A sealed file that has no hint yet, or NULL. */
static struct file *without_hint(const struct handle *h)
{
	for (uint32_t i = 0; i + 1 < h->count; i++)
		if (!h->files[i]->hinted)
			return h->files[i];
	return NULL;
}

static int bitcask_maintain(void *handle, uint64_t budget_us, bool *more)
{
	uint64_t end = clock_boot_ns() + budget_us * 1000;
	struct handle *h = handle;
	struct file *f;
	int r = 0;

	do {
		*more = versions_reclaim(&h->keys.versions, 1024);
		if (h->failed_errno)
			return 0;
		f = without_hint(h);
		if (f && !h->merge.on) {
			load_hint_step(h, f, HINT_STEP);
			*more = true;
			continue;
		}
		r = merge_step(h, false, NULL);
		*more = *more || r == 1;
	} while (r >= 0 && *more && clock_boot_ns() < end);
	bitcask_count(h);
	return r < 0 ? r : 0;
}

static int bitcask_compact(void *handle, struct cairn_error *error)
{
	struct handle *h = handle;
	struct file *f = bitcask_active(h);
	int r;

	if (h->failed_errno) {
		if (error)
			*error = h->failed;
		return h->failed_errno;
	}
	load_hint_drop(h);
	if ((f->puts > f->live_puts || f->deletes) && (r = write_rotate(h, error)))
		return r;
	for (r = 1; r == 1;)
		r = merge_step(h, true, error);
	while (versions_reclaim(&h->keys.versions, 1024))
		;
	bitcask_count(h);
	return r;
}

static struct cairn_engine bitcask = {
	.name = "bitcask",
	.help = "append-only files and a directory of all keys in memory: a read is at most one read of the "
		"disk",
	.caps = CAIRN_ENGINE_ORDERED | CAIRN_ENGINE_SNAPSHOT | CAIRN_ENGINE_DURABLE |
		CAIRN_ENGINE_CHECKSUMMED | CAIRN_ENGINE_PARALLEL_READS | CAIRN_ENGINE_BLOCKING,
	.key_max = RECORD_KEY_MAX,
	.params = bitcask_params,
	.open = bitcask_open,
	.close = bitcask_close,
	.read_begin = bitcask_read_begin,
	.read_end = bitcask_read_end,
	.get = bitcask_get,
	.write = bitcask_write,
	.position = bitcask_position,
	.sync = bitcask_sync,
	.snapshot = bitcask_snapshot,
	.release = bitcask_release,
	.iter_open = bitcask_iter_open,
	.iter_next = bitcask_iter_next,
	.iter_close = bitcask_iter_close,
	.stats = bitcask_stats,
	.compact = bitcask_compact,
	.maintain = bitcask_maintain,
	.notice = bitcask_notice,
	.repair = bitcask_repair,
};

CAIRN_ENGINE_REGISTER(bitcask)
