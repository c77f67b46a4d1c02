/*
 * Inside the plugin: an open LMDB, and its parts. lmdb.c opens and looks after it, readers.c gives out read
 * transactions, read.c reads, write.c writes, folder.c and tree.c know the files (file.h). Functions return 0
 * or -errno.
 */
#ifndef LMDB_HANDLE_H
#define LMDB_HANDLE_H

#include <pthread.h>
#include <stdatomic.h>
#include <lmdb.h>
#include <cairn/engine.h>
#include "file.h"

/* Our one row in the engine's own key space; format.md has its bytes. */
#define LMDB_POSITION_KEY "\0p"
#define LMDB_POSITION_KEY_LEN 2
#define LMDB_POSITION_VERSION 1
#define LMDB_POSITION_LEN 24

#define LMDB_KEY_MAX 511
#define LMDB_KNOWN 4096   /* pages that are known to be in memory */
#define LMDB_READERS 4096 /* slots in LMDB's table, one for each of ours that is in use or spare */
#define LMDB_SPARES 64    /* readers kept for the next guard */
#define LMDB_NAME_MAX 32  /* of a file */

/* One data file that is open. Compaction puts another in its place; this one closes after its last reader. */
struct env {
	MDB_env *mdb;
	MDB_dbi rows;
	atomic_uint uses;         /* readers, spare ones too, and the handle */
	unsigned page;            /* bytes */
	const unsigned char *map; /* where it begins */
	char name[LMDB_NAME_MAX];
};

/* A read transaction and its slot in LMDB's table. */
struct reader {
	struct env *env;
	MDB_txn *txn;  /* begun while the reader is in use, else reset */
	uint64_t root; /* page where the rows of its state begin; UINT64_MAX: there are none */
	uint64_t pages;
	unsigned depth;
};

/* A state that is read over several calls: a snapshot, or an iterator over the state of its first call. */
struct view {
	struct view *next, *previous; /* the handle's lock */
	struct reader *reader;        /* NULL once it was cut off */
	atomic_bool cut;              /* nothing more is lent from it */
	unsigned lenders;             /* guards and iterators that lend from it; the handle's lock */
	size_t txn, last_page;        /* of the state */
	uint64_t since_ns;            /* clock_boot_ns */
	bool snapshot;
	char thread[16]; /* that began it */
};

struct handle {
	char *dir; /* owned */
	int dir_fd, lock_fd;
	struct env *_Atomic env;
	struct reader *_Atomic spares[LMDB_SPARES];
	uint64_t map_max, min_free, held_max; /* bytes */
	bool readahead;
	unsigned kernel_page;               /* bytes */
	_Atomic uint64_t known[LMDB_KNOWN]; /* of map.c: a page, and the second in which it was in memory */
	/* The writer's. */
	/* Of the oldest view when its pages were counted last: its state, and how far the file had grown. */
	size_t counted_txn;
	uint64_t counted_grown;
	struct cairn_error failed; /* of the write after which there are no more */
	int failed_errno;          /* 0: none */
	/* Under LOCK. */
	pthread_mutex_t lock;
	struct cairn_position position;
	struct cairn_error notice;
	bool has_notice;
	struct view *views;
	uint64_t cut_off; /* views, so far */
};

/* ---- lmdb.c ---- */

/* What LMDB's code RC is in errnos, negative; 0 for success. */
int lmdb_errno(int rc);
/* The same with a sentence: WHAT failed. */
int lmdb_explain(const struct handle *h, const struct env *env, int rc, const char *what,
		 struct cairn_error *error);
/* Keep E as the handle's notice. */
void lmdb_keep_notice(struct handle *h, const struct cairn_error *e);
/* Open the file NAME of the handle's folder. */
int lmdb_env_open(struct handle *h, const char *name, struct env **env, struct cairn_error *error);
/* One use of ENV less; the last one closes it. */
void lmdb_env_put(struct env *env);

/* ---- readers.c ---- */

/* A reader of the newest state. */
int lmdb_reader_begin(struct handle *h, struct reader **reader);
void lmdb_reader_end(struct handle *h, struct reader *r);
/* Let all spare readers go. */
void lmdb_readers_drop(struct handle *h);
int lmdb_view_begin(struct handle *h, bool snapshot, struct view **view);
void lmdb_view_end(struct handle *h, struct view *v);
/* Lend from V from now on, or -ESTALE where it was cut off. */
int lmdb_view_hold(struct handle *h, struct view *v);
void lmdb_view_drop(struct handle *h, struct view *v);
/* Cut off the oldest view where it keeps more than held-max from being used again. The writer calls it. */
void lmdb_views_check(struct handle *h);
/* The view of the oldest state of the file in use, or NULL; of those that were cut off and still lend, too,
 * where CUT is set. With the lock. */
struct view *lmdb_oldest_view(struct handle *h, bool cut);
/* Bytes of free pages, and of those that the state OLDEST and later ones may still need. */
int lmdb_count_free(struct env *env, size_t oldest, uint64_t *free_bytes, uint64_t *held_bytes);

/* ---- read.c ---- */

void lmdb_read_begin(void *handle, struct cairn_guard *guard);
void lmdb_read_end(void *handle, struct cairn_guard *guard);
int lmdb_engine_get(void *handle, struct cairn_guard *guard, void *snapshot, struct cairn_slice key,
		    unsigned flags, struct cairn_slice *value);
int lmdb_engine_snapshot(void *handle, void **snapshot);
void lmdb_engine_release(void *handle, void *snapshot);
int lmdb_iter_open(void *handle, void *snapshot, struct cairn_slice from, struct cairn_slice to,
		   unsigned flags, void **iterator);
int lmdb_iter_step(void *iterator, struct cairn_slice *key, struct cairn_slice *value);
void lmdb_iter_close(void *iterator);

/* ---- compact.c ---- */

int lmdb_engine_compact(void *handle, struct cairn_error *error);
int lmdb_engine_check(void *handle, struct cairn_error *error);
int lmdb_engine_repair(const char *dir, struct cairn_error *error);
/* Make the data file NAME in the folder DIRFD (DIR for people) of the rows of FROM, or of none where that is
 * NULL. It has its name when it is whole and durable. */
int lmdb_make_file(int dirfd, const char *dir, const char *name, struct tree *from,
		   struct cairn_error *error);

/* ---- map.c (more in map.h) ---- */

/* ROW is a value that LMDB lent from ENV and that stands in a leaf: find out where the map begins. */
void lmdb_find_map(struct env *env, const void *row);
/* Note where the rows of R's state begin. False where another state has come in between. */
bool lmdb_find_root(struct reader *r);

/* ---- write.c ---- */

int lmdb_engine_write(void *handle, const struct cairn_batch *batch, bool sync, struct cairn_error *error);
int lmdb_engine_sync(void *handle, struct cairn_error *error);
/* Remember why there are no further writes. Returns E. */
int lmdb_stop_writing(struct handle *h, int e, const struct cairn_error *error);

#endif
