/*
 * The store: turns committed commands into engine writes, and answers reads. It is a deterministic state
 * machine: what a command does depends on the engine's rows and on the command alone, never on this machine.
 *
 * One thread at a time applies (the holder of the shard's apply flag); any thread reads beside it.
 * rows.md has the byte layout of everything that it writes.
 */
#ifndef STORE_H
#define STORE_H

#include <cairn/errors.h>
#include <cairn/message.h>
#include <cairn/operations.h>
#include "engine.h"

#define STORE_KEY_MAX 4096
#define STORE_INLINE_MAX 16384        /* longest value that stands in its record */
#define STORE_CHUNK 131072            /* bytes of a chunk */
#define STORE_COMMAND_MAX (256 << 10) /* longest command without its key */
#define STORE_BULK_KEYS 65536         /* most keys that one command touches */
#define STORE_BULK_BYTES (64 << 20)   /* most bytes of records that one command touches */

struct store; /* one shard's state machine over one engine */

/* First values of the settings that stand in meta; they count only when the store is new. */
struct store_settings {
	uint64_t key_max;        /* bytes */
	uint64_t value_limit;    /* bytes */
	bool folders;            /* keep folder rows */
	uint64_t history;        /* versions of a key that are kept; 0: no history */
	uint64_t history_age_ns; /* and all that were replaced within this time */
	uint64_t history_bytes;  /* at most, before the oldest are given up; 0: a quarter of the quota, else 1
				    GiB */
	uint64_t quota;          /* bytes of live and staged values; 0: none */
};

#define STORE_HISTORY_AUTO UINT64_MAX /* whoever opens the store puts a number in its place */

/*
 * Put the value of TEXT into the member of *S for the setting NAME: history, history-age (seconds, or with s,
 * m, h or d behind it), history-bytes, quota. INVALID.
 */
enum cairn_code store_setting(struct store_settings *s, const char *name, const char *text,
			      struct cairn_error *error);

/* The value that the setting NAME has in S now, as text. False where it is none. */
bool store_setting_text(struct store *s, struct cairn_slice name, char *text, size_t size);

/* Open the store in ENGINE (which stays the caller's, and open as long as the store). CORRUPT, UNSUPPORTED
 * (newer format), INTERNAL. */
enum cairn_code store_open(struct store **s, struct engine *engine, const struct store_settings *initial,
			   struct cairn_error *error);
void store_close(struct store *s);

/*
 * A command as it stands in a log: a message (cairn/message.h) with the operation's number, whose fields are
 * TIME (the stamp), then CLIENT, SEQUENCE, LOWEST, BORN where the writer sent them, AUTHOR, FACE, then the
 * arguments.
 */
struct store_command {
	struct cairn_position position; /* index and term */
	struct cairn_slice message;
	/* Filled by store_apply. ANSWER is a message (number 0) of result fields when CODE is 0. */
	enum cairn_code code;
	struct cairn_msg *answer;  /* caller's, may be NULL where nobody waits */
	struct cairn_error *error; /* caller's, may be NULL */
};

/*
 * Apply COUNT commands in order as one engine batch that moves the position to that of the last. A command
 * whose own conditions fail gets its code and changes nothing but the position. Returns 0 when the batch is
 * in (and durable, with SYNC). FULL: the engine refused the batch before it wrote anything; no result counts,
 * and the next batch may succeed. Otherwise the shard must stop: the batch is not in, or its fate is unknown,
 * and no result may be given out; UNAVAILABLE says that it may go on with store and engine opened again, once
 * there is room on the disk.
 */
enum cairn_code store_apply(struct store *s, struct store_command *commands, size_t count, bool sync,
			    struct cairn_error *error);

/*
 * Whether a write's arguments are acceptable at all (operation known, arguments of it, key and value lengths,
 * commands within the bound), before it is proposed. apply checks again by replicated state. FIELDS have
 * passed cairn_fields_check.
 */
enum cairn_code store_check(struct store *s, unsigned op, struct cairn_slice fields,
			    struct cairn_error *error);

enum { STORE_NO_WAIT = 1 << 0 }; /* return with *AGAIN set instead of waiting for a disk */

/*
 * Reads, beside the applying thread, from any thread. FIELDS are the arguments of the operation; the answer's
 * fields are added to ANSWER (which the caller began). AGAIN (may be NULL unless flags has NO_WAIT) is set,
 * and nothing added, where a disk would have to be waited for.
 */
/*
 * get: KEY, META_ONLY, OFFSET, LENGTH, REVISION, AT → KEY, REVISION, SIZE, KIND (where it is no value),
 * VALUE; with META_ONLY everything that is known and no VALUE. At most CAIRN_PAYLOAD_MAX bytes of value are
 * given in one answer: SIZE says that there is more, and the caller asks for the next range with the REVISION
 * that it got, which answers CONFLICT where the key has another one by now. AT gives the version that was
 * there at that revision, however often it was replaced since. NOT_FOUND, COMPACTED, CORRUPT.
 */
enum cairn_code store_get(struct store *s, struct cairn_slice fields, unsigned flags,
			  struct cairn_msg *answer, bool *again, struct cairn_error *error);
/* One of several gets; the members are as the arguments and results of store_get. */
struct store_get {
	struct cairn_slice fields;
	struct cairn_msg *answer;
	struct cairn_error *error;
	enum cairn_code code;
	bool again;
};
#define STORE_GETS 16
/* COUNT gets, at most STORE_GETS, each as store_get does it: cheaper together where the data lie in memory.
 */
void store_get_many(struct store *s, struct store_get *gets, size_t count, unsigned flags);
/*
 * scan: one page of about MAX_BYTES: FROM, TO, PREFIX, DELIMITER (one byte), LIMIT (0: none), REVERSE,
 * KEYS_ONLY, META_ONLY, CURSOR, AT (as of that revision) → ROW…, COUNT of the rows in this page, and CURSOR
 * where more follow. A row has KEY and, unless KEYS_ONLY, everything that is known of the record, and its
 * VALUE where that stands in the record and META_ONLY is not set. A folded row has KEY (the folder), FOLDER
 * and, where the delimiter is
 * '/' and unless KEYS_ONLY, COUNT (the names in it) and what is known of its marker, the key that is the
 * folder itself. A page is of one moment where the engine has snapshots; pages are not.
 */
enum cairn_code store_scan(struct store *s, struct cairn_slice fields, unsigned flags, size_t max_bytes,
			   struct cairn_msg *answer, bool *again, struct cairn_error *error);

/*
 * history: KEY, LIMIT, CURSOR → ROW…, newest first: what is known of each version that is kept, CHANGE, OTHER
 * (the key that it was moved from or to), DELETED; COUNT, and CURSOR where more follow.
 */
enum cairn_code store_history(struct store *s, struct cairn_slice fields, unsigned flags, size_t max_bytes,
			      struct cairn_msg *answer, bool *again, struct cairn_error *error);

/*
 * Remove a few rows of history that are not visible any more, as one engine batch; *MORE says whether some
 * may be left. Only who may apply calls it; returns as store_apply does. NOW_NS is CLOCK_BOOTTIME.
 */
enum cairn_code store_reclaim(struct store *s, uint64_t now_ns, bool sync, bool *more,
			      struct cairn_error *error);

/* Where history takes more room than its limit, or with SHORT_OF_ROOM than half of what it takes now: the
 * floor that would give up enough of it; else *FLOOR is 0. Reads all of history then. From any thread. 0 or
 * -errno. */
int store_history_excess(struct store *s, bool short_of_room, uint64_t *floor);

#define STORE_UPLOAD_NS (600ull * 1000000000) /* an upload lives so long after its last stage */

#define STORE_PINS_MAX 1024
#define STORE_PIN_NS (600ull * 1000000000) /* a view lives so long after it was asked for last */

/*
 * view: REVISION, or AS_OF (a time), or neither: now → REVISION, which can be read at from now on for
 * STORE_PIN_NS, and OLDEST, the oldest revision that could be asked for. INVALID, COMPACTED. NOW_NS is
 * CLOCK_BOOTTIME. May wait.
 */
enum cairn_code store_view(struct store *s, struct cairn_slice fields, uint64_t now_ns,
			   struct cairn_msg *answer, struct cairn_error *error);

/* What is known about a store at one moment. */
struct store_facts {
	struct cairn_position position;
	uint64_t revision;    /* of the last change */
	uint64_t clock_ns;    /* last stamp */
	uint64_t keys, bytes; /* live keys, bytes of live values */
	uint64_t staged;      /* bytes staged and not used yet */
	uint64_t key_max, value_limit;
	uint64_t history, history_age_ns, quota; /* settings */
	uint64_t history_limit;                  /* bytes */
	uint64_t floor;                          /* oldest revision that may be read at */
	unsigned char digest[16];                /* of the visible state */
	/* Not the same on every replica, so behind the digest: */
	uint64_t history_used; /* bytes that history takes in the engine */
	uint64_t due_ns;       /* no key is due before, by the store's clock; UINT64_MAX: none is due ever */
	bool reclaims;         /* there may be something to reclaim, now or later */
	uint64_t unstage_ns;   /* no upload expires before this time; UINT64_MAX: there is none */
};
void store_facts(struct store *s, struct store_facts *facts);

/* As in the facts; without a lock. */
uint64_t store_due_ns(struct store *s);

/* Compute the digest, keys and bytes from the rows and the chunks' bytes, and compare: CORRUPT names the row
 * that differs. */
enum cairn_code store_check_rows(struct store *s, struct cairn_error *error);

/* How far a check is, for other threads. */
struct store_progress {
	_Atomic uint64_t rows, bytes; /* so far, of the engine's */
	_Atomic bool stop;            /* set by whoever does not want it any more */
	struct store_facts facts;     /* what was checked; filled at the end */
};
/* The same; TIMEOUT where it was stopped. */
enum cairn_code store_check_progress(struct store *s, struct store_progress *progress,
				     struct cairn_error *error);

#endif
