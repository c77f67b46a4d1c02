/*
 * Storage engines: an ordered map of bytes to bytes on one machine. A plugin of this kind fills a struct
 * cairn_engine and ends with CAIRN_ENGINE_REGISTER(it).
 *
 * Rules for all callbacks:
 * - They return 0 or -errno and put a sentence into *ERROR where they take one. -EUCLEAN means damaged data,
 *   and the sentence then names file and offset; -ENOSPC means a full disk or a size limit, and that nothing
 * of the batch was written and the handle goes on: a failed write of which that is not sure is another error.
 * - A handle may be used from any thread. There is one writer at a time (write, update, compact, maintain and
 *   destroy are never called at the same time); any number of threads read beside it.
 * - The host's keys have 1 to key_max bytes and never begin with a zero byte: that space is the engine's own.
 * - Keys order bytewise, a prefix first (memcmp).
 * - After a crash an engine holds a prefix of its batches: it may lose the newest unsynced ones, never one in
 *   the middle, never part of one. An engine that cannot promise this without sync says SYNC_ONLY.
 */
#ifndef CAIRN_ENGINE_H
#define CAIRN_ENGINE_H

#include <sys/uio.h>
#include <cairn/plugin.h>

#define CAIRN_ENGINE_ABI 1

enum {
	CAIRN_ENGINE_ORDERED = 1 << 0,        /* iterate() gives key order (required today) */
	CAIRN_ENGINE_SNAPSHOT = 1 << 1,       /* snapshot() works */
	CAIRN_ENGINE_DURABLE = 1 << 2,        /* a synced batch survives power loss */
	CAIRN_ENGINE_CHECKSUMMED = 1 << 3,    /* damage to a value is noticed when it is read */
	CAIRN_ENGINE_PARALLEL_READS = 1 << 4, /* readers do not wait for each other or the writer */
	CAIRN_ENGINE_BLOCKING = 1 << 5,       /* reads and unsynced writes may wait for a disk */
	CAIRN_ENGINE_SYNC_ONLY = 1 << 6,      /* keeps the prefix promise only for synced batches */
};

/* Where a shard stands after a batch: index and term of the last command in it. Both 0: nothing yet. */
struct cairn_position {
	uint64_t index, term;
};

enum cairn_write_kind { CAIRN_WRITE_PUT, CAIRN_WRITE_DELETE, CAIRN_WRITE_DELETE_RANGE };

/* One step of a batch. All memory stays the caller's and valid during the call. */
struct cairn_write {
	enum cairn_write_kind kind;
	struct cairn_slice key;  /* DELETE_RANGE: first key of the range */
	struct cairn_slice end;  /* DELETE_RANGE: end, not in the range; an empty one means no end */
	const struct iovec *iov; /* PUT: pieces of the value, joined in order */
	int iov_count;           /* PUT: how many; 0 is an empty value */
};

/* Steps done in order, atomically: after a crash and for every reader all of them or none. */
struct cairn_batch {
	const struct cairn_write *writes;
	size_t count;
	struct cairn_position position; /* what position() answers once this batch is in */
};

/*
 * Protects what get() lends to one thread, from read_begin() to read_end(). Guards are short (one turn of a
 * loop) and are not handed to another thread. Opaque to the host, zeroed before read_begin().
 */
struct cairn_guard {
	void *engine[4];
};

enum {
	CAIRN_READ_NO_WAIT = 1 << 0,  /* -EAGAIN instead of waiting for a disk */
	CAIRN_READ_REVERSE = 1 << 1,  /* iterate: from the end of the range to its start */
	CAIRN_READ_TO_WRITE = 1 << 2, /* get_many: by the writer, whose next batch puts these keys */
};

/* One measurement for stats(). Both texts are copied by the host during the call. */
typedef void cairn_stat_fn(void *arg, const char *name, const char *unit, uint64_t value);

/* Decides what becomes of a key, see update(). */
struct cairn_update {
	void *arg; /* of decide */
	/*
	 * OLD is the value now (valid during the call), FOUND whether there is one. Sets *NEW to the pieces
	 * that replace it and returns their number, 0 to leave it, -1 to delete it. The pieces are valid
	 * until update() returns.
	 */
	int (*decide)(void *arg, bool found, struct cairn_slice old, const struct iovec **replacement);
};

struct cairn_engine {
	struct cairn_plugin_head head;
	const char *name; /* as in settings: letters, digits, '-' */
	const char *help; /* one line */
	uint32_t caps;    /* CAIRN_ENGINE_… */
	uint32_t key_max; /* longest key in bytes, the host's leading tag counted; 0 is no limit */
	const struct cairn_param *params; /* rows, or NULL for none */

	/*
	 * Open what lies in the folder DIR (absolute, exists, empty the first time; an engine that is not
	 * durable ignores it). VALUES has one entry for each row of params. Required.
	 */
	int (*open)(const char *dir, const struct cairn_value *values, void **handle,
		    struct cairn_error *error);
	/* Release everything. No reads, snapshots or iterators are left. Required. */
	void (*close)(void *handle);

	/* Begin and end a guard. Required together, or left out together where get() lends memory that stays
	 * valid until close. */
	void (*read_begin)(void *handle, struct cairn_guard *guard);
	void (*read_end)(void *handle, struct cairn_guard *guard);
	/*
	 * Lend the value of KEY in SNAPSHOT (NULL: now) until GUARD ends; a snapshot is released after the
	 * guards that read from it have ended. -ENOENT where there is none; -EAGAIN only with NO_WAIT.
	 * Required.
	 */
	int (*get)(void *handle, struct cairn_guard *guard, void *snapshot, struct cairn_slice key,
		   unsigned flags, struct cairn_slice *value);

	/* Do the batch; with SYNC return only when it and everything before it survive power loss. Required.
	 */
	int (*write)(void *handle, const struct cairn_batch *batch, bool sync, struct cairn_error *error);
	/*
	 * Find the place of KEY once, let DECIDE choose, replace there; unsynced, as a batch of its own that
	 * does not move the position. Optional.
	 */
	int (*update)(void *handle, struct cairn_slice key, const struct cairn_update *update);
	/* Position of the last batch that is in. Required. */
	int (*position)(void *handle, struct cairn_position *position);
	/* Return when everything written so far survives power loss. Optional: a synced empty batch stands
	 * in. */
	int (*sync)(void *handle, struct cairn_error *error);

	/*
	 * A state that later writes do not change; released with release(). Reads of one that keeps too much
	 * of the engine's room may answer -ESTALE from some point on. Required with SNAPSHOT.
	 */
	int (*snapshot)(void *handle, void **snapshot);
	void (*release)(void *handle, void *snapshot);

	/*
	 * Walk the keys K with from <= K < to (an empty TO means no end) over one state: that of SNAPSHOT, or
	 * where it is NULL the one at this call. iter_next lends one entry until the next call on the
	 * iterator and sets KEY->data to NULL at the end. With NO_WAIT either may answer -EAGAIN, and the
	 * same call may be made again. Required.
	 */
	int (*iter_open)(void *handle, void *snapshot, struct cairn_slice from, struct cairn_slice to,
			 unsigned flags, void **iterator);
	int (*iter_next)(void *iterator, struct cairn_slice *key, struct cairn_slice *value);
	void (*iter_close)(void *iterator);

	/* Say what is known, by calling FN for each measurement. Optional. */
	void (*stats)(void *handle, cairn_stat_fn *fn, void *arg);
	/* Give back all space that can be given back, however long it takes. Optional. */
	int (*compact)(void *handle, struct cairn_error *error);
	/* Do background work for about BUDGET_US microseconds; *MORE says whether some is left. Optional. */
	int (*maintain)(void *handle, uint64_t budget_us, bool *more);
	/* Remove every file of a closed engine in DIR. Optional: the host removes the folder. */
	int (*destroy)(const char *dir);
	/*
	 * The newest thing that there is to say of this handle, for calls that have no error of their own:
	 * what open() had to mend (code 0), the damage behind an -EUCLEAN of get or iter_next (CORRUPT,
	 * naming file and offset). Returns whether there is something; asking does not take it away. From any
	 * thread. Optional.
	 */
	bool (*notice)(void *handle, struct cairn_error *notice);
	/*
	 * Change what lies in the folder DIR, which open() or a read called damaged, so that all that can
	 * still be read can be; what cannot is left out. The host gives a copy of the folder, and checks
	 * every row that comes out of it. Optional.
	 */
	int (*repair)(const char *dir, struct cairn_error *error);
	/*
	 * Get COUNT KEYS at once, now: each of VALUES is lent as by get(), its data NULL where there is none.
	 * An engine in memory waits once, and not for one after the other. With TO_WRITE it may remember
	 * where the keys are: they stay where they lie until they were written. False where it cannot: they
	 * are got one by one then. Optional.
	 */
	bool (*get_many)(void *handle, struct cairn_guard *guard, const struct cairn_slice *keys,
			 size_t count, unsigned flags, struct cairn_slice *values);
	/*
	 * Read the engine's files through, believing nothing, beside reads and writes: -EUCLEAN with file and
	 * offset where they do not hold together. For an engine whose reads trust its files. Optional.
	 */
	int (*check)(void *handle, struct cairn_error *error);
};

_Static_assert(offsetof(struct cairn_engine, name) == 8, "the engine ABI is append-only");
_Static_assert(offsetof(struct cairn_engine, open) == 40, "the engine ABI is append-only");
_Static_assert(sizeof(struct cairn_engine) == 40 + 22 * sizeof(void *), "the engine ABI is append-only");

/* The last line of an engine: exports the struct ENGINE under the name that the loader looks up. */
#define CAIRN_ENGINE_REGISTER(engine) \
	CAIRN_EXPORT const struct cairn_engine *cairn_engine_plugin(void); \
	const struct cairn_engine *cairn_engine_plugin(void) \
	{ \
		(engine).head = (struct cairn_plugin_head){ sizeof(engine), CAIRN_ENGINE_ABI }; \
		return &(engine); \
	}

#endif
