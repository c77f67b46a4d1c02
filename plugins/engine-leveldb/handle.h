/*
 * Inside the plugin: an open LevelDB, and its parts. leveldb.c opens and looks after it, read.c reads,
 * write.c writes. Functions return 0 or -errno.
 */
#ifndef LEVELDB_HANDLE_H
#define LEVELDB_HANDLE_H

#include <pthread.h>
#include <time.h>
#include <leveldb/c.h>
#include <cairn/engine.h>
#include "cache.h"

/* Our one row in the engine's own key space; format.md has its bytes. */
#define LEVELDB_POSITION_KEY "\0p"
#define LEVELDB_POSITION_KEY_LEN 2
#define LEVELDB_POSITION_VERSION 1
#define LEVELDB_POSITION_LEN 24

/* As the start of a range: its beginning; as the end: no end. */
#define leveldb_no_slice ((struct cairn_slice){ NULL, 0 })

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

/* ---- leveldb.c ---- */

/*
 * Turn LevelDB's sentence TEXT (freed here) into -errno and a sentence of ours in *E. FROM and TO bound the
 * keys that were touched, to find the damaged file.
 */
int leveldb_explain(const char *dir, char *text, struct cairn_slice from, struct cairn_slice to,
		    struct cairn_error *e);
/* The same for calls that have no error of their own: the sentence becomes the notice. */
int leveldb_read_failed(struct handle *h, char *text, struct cairn_slice from, struct cairn_slice to);
bool leveldb_notice(void *handle, struct cairn_error *notice);

/* ---- read.c ---- */

void leveldb_read_begin(void *handle, struct cairn_guard *guard);
void leveldb_read_end(void *handle, struct cairn_guard *guard);
int leveldb_engine_get(void *handle, struct cairn_guard *guard, void *snapshot, struct cairn_slice key,
		       unsigned flags, struct cairn_slice *value);
int leveldb_engine_snapshot(void *handle, void **snapshot);
void leveldb_engine_release(void *handle, void *snapshot);
int leveldb_iter_open(void *handle, void *snapshot, struct cairn_slice from, struct cairn_slice to,
		      unsigned flags, void **iterator);
int leveldb_iter_step(void *iterator, struct cairn_slice *key, struct cairn_slice *value);
void leveldb_iter_close(void *iterator);
/* FROM, or the first key that is the host's. */
struct cairn_slice leveldb_at_least_ours(struct cairn_slice from);

/* ---- write.c ---- */

int leveldb_engine_write(void *handle, const struct cairn_batch *batch, bool sync, struct cairn_error *error);
/* The same without a look at the room on the disk or at earlier failures. */
int leveldb_write_batch(struct handle *h, const struct cairn_batch *batch, bool sync,
			struct cairn_error *error);
/* Whether the handle still takes writes: 0, or what the failed one said. */
int leveldb_check_failed(const struct handle *h, struct cairn_error *error);

#endif
