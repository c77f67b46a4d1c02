/*
 * A whole store as a stream (base/stream.md), and back. Writing reads one snapshot of the engine while
 * commands go on; reading fills an empty engine in batches, and nothing opens it as a store before all of it
 * is there and fits. Both keep a few blocks in memory, however large the store is. One thread at a time uses
 * each.
 */
#ifndef SNAPSHOT_H
#define SNAPSHOT_H

#include "buffer.h"
#include "store.h"

struct store_save;
struct store_load;

/* Where a stream stands between two blocks: a writer of the same state can go on here. */
struct store_place {
	struct cairn_position position; /* of the state */
	uint64_t sequence;              /* of the next block; 0: the beginning */
	uint64_t rows, bytes;           /* before it */
	uint64_t key_len;               /* of the last row before it */
	unsigned char key[STORE_KEY_MAX + 1];
};

/*
 * Begin to write what S holds now. FACTS are fields for the stream's first block (volume, node …). With
 * COMPRESS blocks are compressed where this build can. FROM (or NULL) continues there: UNAVAILABLE where the
 * store has gone on since. Holds one of the engine's snapshots until store_save_close. UNSUPPORTED where it
 * has none.
 */
enum cairn_code store_save_open(struct store_save **w, struct store *s, struct cairn_slice facts,
				bool compress, const struct store_place *from, struct cairn_error *error);
/* Add the next block or blocks to OUT, about STREAM_BLOCK bytes of rows; *END when they were the last.
 * CORRUPT names the row. */
enum cairn_code store_save_next(struct store_save *w, struct buffer *out, bool *end,
				struct cairn_error *error);
/* Where it stands now. */
void store_save_place(const struct store_save *w, struct store_place *place);
/* What the store held when the stream was begun. */
void store_save_facts(const struct store_save *w, struct store_facts *facts);
/* NULL is allowed. */
void store_save_close(struct store_save *w);

/* Begin to fill ENGINE (the caller's, open as long as L), which must be empty: else EXISTS. */
enum cairn_code store_load_open(struct store_load **l, struct engine *engine, struct cairn_error *error);
/*
 * Take the next bytes of the stream, in pieces of any size. CORRUPT with the offset, INVALID, UNSUPPORTED
 * (with the reason), or what the engine says; nothing more can be taken then, and the engine's content is
 * worth nothing.
 */
enum cairn_code store_load_take(struct store_load *l, struct cairn_slice bytes, struct cairn_error *error);
/*
 * The stream is complete: compare the digest, and write what makes the engine a store. Where AT is not NULL,
 * the store stands at that position and not at the stream's. It is durable then, where the engine is.
 */
enum cairn_code store_load_finish(struct store_load *l, const struct cairn_position *at,
				  struct cairn_error *error);
/* Rows so far. */
uint64_t store_load_rows(const struct store_load *l);
/* NULL is allowed. */
void store_load_close(struct store_load *l);

/*
 * Fill the empty engine TO with what is left of S when all keys go: meta at the next position, with the next
 * revision and the floor raised to it, and the results of requests. Nothing is applied to S meanwhile. FACTS
 * are the new ones.
 */
enum cairn_code store_flush_into(struct store *s, struct engine *to, struct cairn_error *error);

/* Somebody who wants to know what salvage had to leave out: WHAT ("key", "history of", "folder" …) KEY, and
 * why. */
typedef void store_lost_fn(void *arg, const char *what, struct cairn_slice key, const char *why);

/* What a log holds that stands beside the store: the positions before its first command and of its last one.
 * Zeros: nothing. */
struct store_log {
	struct cairn_position before, last;
};

struct store_salvaged {
	uint64_t keys;   /* that were kept */
	uint64_t lost;   /* rows that were left out or made anew, each told */
	uint64_t before; /* keys that there were; 0: not known */
};

/*
 * Fill the empty engine TO with all rows of FROM that are valid, and make anew what follows from them;
 * uploads under way are left out. Without a meta row the settings are those of OTHERWISE, and all of LOG
 * counts as applied; where the store stands before LOG begins, what lies between is lost. CORRUPT where FROM
 * cannot be read to its end; UNSUPPORTED for a newer format.
 */
enum cairn_code store_salvage(struct engine *from, struct engine *to, const struct store_settings *otherwise,
			      const struct store_log *log, store_lost_fn *lost, void *arg,
			      struct store_salvaged *result, struct cairn_error *error);

#endif
