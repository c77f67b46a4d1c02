/*
 * Inside the plugin: an open bitcask and its parts. bitcask.c opens, closes and looks after it; folder.c has
 * the files and the MANIFEST; load.c reads them at the start; write.c and read.c do what their names say.
 * Functions return 0 or -errno.
 *
 * The writer (one thread at a time, as the host promises) has everything that is not said to be another's.
 * Readers have the key directory's versions, and the table of slots, whose files stay while a version that
 * knows them is held.
 */
#ifndef BITCASK_HANDLE_H
#define BITCASK_HANDLE_H

#include <pthread.h>
#include <cairn/engine.h>
#include "cache.h"
#include "keydir.h"
#include "records.h"
#include "zip.h"

#define BITCASK_SLOTS 65536 /* data files at the same time, those included that only readers still hold */
#define BITCASK_NAME 16     /* room for the name of a file */
#define BITCASK_ROLL_MIN (1u << 20)

struct handle;
struct hinting; /* load.c's */

/* A data file. */
struct file {
	struct handle *h;
	uint32_t id;
	uint16_t slot; /* in the table */
	int fd;
	uint64_t epoch, rank;
	uint64_t size;                /* end of its last batch */
	uint64_t live, puts, deletes; /* bytes of entries that count; entries that put, that delete */
	uint64_t live_puts, delete_bytes;
	bool hinted;  /* a hint covers all of it, or cannot be written */
	bool damaged; /* a merge has met an entry that is not what it should be */
};

/* A merge under way: files FROM to FROM + COUNT of the handle's list. */
struct merge {
	bool on;
	bool drop_deletes;           /* nothing before these files can come back */
	bool keep;                   /* the old files stay: one is damaged */
	uint32_t from, count, which; /* which: the one that is being read */
	uint64_t at;                 /* next byte of it */
	uint32_t left;               /* bytes of its present batch behind that */
	struct file *out;            /* NULL before the first entry */
	uint64_t sequence;           /* of its next batch */
	uint64_t unsynced;           /* bytes of it */
	unsigned char *window;       /* owned: bytes of the file WINDOW_FILE */
	size_t window_len, window_cap;
	uint64_t window_at;
	uint32_t window_file;
};

/* What stats() says; under the lock. */
struct facts {
	uint64_t files, bytes, live;
	uint64_t rotations, merges, merged;
};

struct handle {
	char *dir; /* owned */
	int dir_fd;
	uint64_t file_size, min_free; /* parameters */
	bool compress;
	struct keydir keys;
	struct cache *cache;
	struct zip *zip;
	_Atomic(struct file *) *slots; /* BITCASK_SLOTS of them */

	/* The writer's. */
	struct file **files; /* in order; the last one is active */
	uint32_t count, cap;
	uint32_t next_id;
	uint64_t sequence;  /* of the next batch */
	uint64_t durable;   /* newest sequence that is known to be on disk */
	unsigned char *out; /* the batch that is being made */
	size_t out_len, out_cap;
	size_t sent;               /* bytes of it that were written already, those of its head not */
	struct keydir_place *olds; /* what it makes worthless */
	size_t old_count, old_cap;
	struct cairn_error failed;          /* why there are no more writes */
	int failed_errno;                   /* 0: there are */
	uint64_t rotations, merges, merged; /* done; bytes that merges wrote */
	struct merge merge;
	struct hinting *hinting; /* NULL: no hint is being made */

	pthread_mutex_t lock; /* over what follows */
	struct cairn_error notice;
	bool has_notice;
	struct facts facts;
};

static inline struct file *bitcask_active(const struct handle *h)
{
	return h->files[h->count - 1];
}

/* ---- bitcask.c ---- */

/* A handle on the folder DIR that knows no files yet, with one value for each parameter; and its end. */
struct handle *bitcask_handle_new(const char *dir, const struct cairn_value *v);
void bitcask_handle_free(struct handle *h);
#define BITCASK_PARAMS 4

__attribute__((format(printf, 4, 5))) int bitcask_fail(const struct handle *h, struct cairn_error *error,
						       int e, const char *format, ...);
/* Let E be what notice() says. */
void bitcask_keep_notice(struct handle *h, const struct cairn_error *e);
/* The writer has changed what facts are about. */
void bitcask_count(struct handle *h);
/* From now on no write is taken: E has happened, *ERROR says how. Returns E. */
int bitcask_stop(struct handle *h, int e, struct cairn_error *error);

/* ---- folder.c ---- */

void folder_name(char name[BITCASK_NAME], uint32_t id, const char *suffix);
/* A new data file with the next id, RANK, the present position, and SEQUENCE for its first batch; synced. */
int folder_create(struct handle *h, uint64_t rank, uint64_t sequence, struct file **f,
		  struct cairn_error *error);
/* Close F and free it; takes it out of the table. */
void folder_forget(struct handle *h, struct file *f);
/* Give F a slot. 0 or -EMFILE. */
int folder_slot(struct handle *h, struct file *f);
/*
 * Make FILES, COUNT of them in order, the MANIFEST. When it fails, what was there before stands, or is put
 * back; where even that fails the handle takes no more writes.
 */
int folder_commit(struct handle *h, struct file *const *files, uint32_t count, struct cairn_error *error);
/* Remove the data file ID and its hint. */
void folder_remove_file(struct handle *h, uint32_t id);
/*
 * Read the MANIFEST (or make the first one), open the files that it names and check their heads and sizes,
 * remove the others.
 */
int folder_open(struct handle *h, struct cairn_error *error);
/* Every data file that there is: FN gets its id. */
int folder_each(struct handle *h, void (*fn)(void *arg, uint32_t id), void *arg);
/* Read the MANIFEST into BYTES, the caller's to free; 0, -ENOENT, -EINVAL where it is damaged, -errno. */
int folder_manifest(struct handle *h, struct cairn_slice *bytes, uint32_t *count);
/* All LEN bytes at AT of F. 0, -EUCLEAN where it is shorter, -errno. */
int folder_read(const struct file *f, void *data, size_t len, uint64_t at);
int folder_write(const struct file *f, const void *data, size_t len, uint64_t at);

/* ---- load.c ---- */

/* Fill the key directory from the files; cut a torn end. */
int load_all(struct handle *h, struct cairn_error *error);
/* Go on with the hint of F, which is synced up to its size: about MOST bytes of it. Whether there is more to
 * do. A failure is no matter: there is no hint then. */
bool load_hint_step(struct handle *h, struct file *f, uint64_t most);
/* Read from the file F, as record_source wants it. */
int64_t load_read(void *file, void *data, size_t len, uint64_t at);
/* Forget what was begun. */
void load_hint_drop(struct handle *h);

/* ---- write.c ---- */

int bitcask_write(void *handle, const struct cairn_batch *batch, bool sync, struct cairn_error *error);
int bitcask_sync(void *handle, struct cairn_error *error);
/* Append a batch with the entries in h->out; the caller publishes. */
int write_append(struct handle *h, uint32_t count, uint64_t index, uint64_t term, struct cairn_error *error);
/* Append a batch that says no more than that everything is on disk, and sync it. */
int write_mark(struct handle *h);
/* Begin a new active file. */
int write_rotate(struct handle *h, struct cairn_error *error);
/* Bytes at which a file is full. */
uint64_t write_roll_size(const struct handle *h);
/* Room for MORE bytes in h->out. 0, -EMSGSIZE, -ENOMEM. */
int write_reserve(struct handle *h, size_t more);

/* ---- merge.c ---- */

/* One step of a merge, begun where much is worthless, or (ALL) anything. 1: there is more to do; 0: nothing
 * is; -errno. */
int merge_step(struct handle *h, bool all, struct cairn_error *error);
/* Forget the merge that is under way; no reader is left. */
void merge_drop(struct handle *h);

/* ---- repair.c ---- */

int bitcask_repair(const char *dir, struct cairn_error *error);

/* ---- read.c ---- */

void bitcask_read_begin(void *handle, struct cairn_guard *guard);
void bitcask_read_end(void *handle, struct cairn_guard *guard);
int bitcask_get(void *handle, struct cairn_guard *guard, void *snapshot, struct cairn_slice key,
		unsigned flags, struct cairn_slice *value);
int bitcask_snapshot(void *handle, void **snapshot);
void bitcask_release(void *handle, void *snapshot);
int bitcask_iter_open(void *handle, void *snapshot, struct cairn_slice from, struct cairn_slice to,
		      unsigned flags, void **iterator);
int bitcask_iter_next(void *iterator, struct cairn_slice *key, struct cairn_slice *value);
void bitcask_iter_close(void *iterator);

#endif
