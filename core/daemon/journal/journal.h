/*
 * The journal: the node's one write-ahead log, shared by all its shards. What is handed in by any shard while
 * the disk is busy goes out as one batch with one write and one sync. format.md has the bytes.
 *
 * Segments are files of a fixed size, zeroed ahead of the writer, so that a sync needs no metadata, and used
 * again under a new name when no shard needs what is in them.
 */
#ifndef JOURNAL_H
#define JOURNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <cairn/errors.h>
#include <cairn/slice.h>

#define JOURNAL_SEGMENT_MIN (64u << 10)
#define JOURNAL_STATE_MAX 4096         /* longest hard state of a shard */
#define JOURNAL_COMMAND_MAX (8u << 20) /* longest command */

struct journal;
struct journal_shard; /* one shard's log in it */

struct journal_options {
	const char *folder;     /* absolute; made where it is not there, mode 0700 */
	uint64_t segment_bytes; /* JOURNAL_SEGMENT_MIN or more */
	bool read_only; /* nothing is written, and nothing may be handed in; NOT_FOUND without a folder */
	/*
	 * Called once, in the thread that noticed, when a sync has failed: the kernel may have dropped what
	 * was written before, so nothing goes on and the process should end.
	 */
	void (*failed)(void *arg, const struct cairn_error *error);
	void *arg;
};

/*
 * Open or make the journal in a folder that nobody else uses. A torn end is cut: NOTICE (code 0) then says
 * file, offset and bytes dropped, else its message is empty. The same where the newest file is shorter than
 * it was, but with the code CORRUPT: acknowledged writes may be gone. CORRUPT where bytes that had been
 * synced are damaged, naming file and offset; UNSUPPORTED (a newer format); FULL; INTERNAL.
 */
enum cairn_code journal_open(struct journal **j, const struct journal_options *o, struct cairn_error *notice,
			     struct cairn_error *error);
/* Write what was handed in, and the mark of a clean end. No request may come meanwhile. NULL is allowed. */
void journal_close(struct journal *j);

/*
 * The log of the shard ID (never used again for another shard), which is made with the first request. The
 * journal's; the same for the same ID. A shard that comes back after a request of its failed attaches again:
 * until then its requests are refused, so that there is never a hole. NULL when there is no memory.
 */
struct journal_shard *journal_attach(struct journal *j, uint64_t id);

/* One command. One whose index is there already replaces it and everything behind it. */
struct journal_entry {
	uint64_t index, term;
	struct cairn_slice command;
};

/* What one shard wants stored at once. All memory is the caller's and stays valid until done() is called. */
struct journal_request {
	struct journal_request *next; /* the journal's */
	struct journal_shard *shard;
	const struct journal_entry *entries; /* indexes rising by one */
	size_t count;
	struct cairn_slice state; /* hard state that replaces the shard's; data NULL: it stays */
	/*
	 * Out, before done(): 0 when all of it is on disk. FULL: nothing of it was written. UNAVAILABLE: its
	 * fate is not known before the journal is opened again. After a failure the shard must attach again.
	 */
	struct cairn_error error;
	void *arg;                               /* of done(), the caller's */
	void (*done)(struct journal_request *r); /* in a thread of the journal's; must be short */
	size_t written;                          /* the journal's */
};

/* Hand in R, from any thread. */
void journal_append(struct journal *j, struct journal_request *r);
/*
 * The same for somebody who has nothing else to do: write and sync R in the calling thread, which saves two
 * switches of threads, and call done() in it. False, and R was not handed in, where the journal is not at
 * rest, or its syncs take more than a millisecond.
 */
bool journal_append_now(struct journal *j, struct journal_request *r);

/*
 * See to it that the reserve is there: bytes of the disk that the journal takes when it finds no others. To
 * be called once in a while, from any thread; a thread of the journal's does it.
 */
void journal_reserve(struct journal *j);
/* Whether the reserve is used up, or could not be made: what makes no room should not be handed in. */
bool journal_is_short(const struct journal *j);

/* What is stored of a shard. FIRST > LAST: no entry. */
struct journal_extent {
	uint64_t first, last; /* indexes */
	uint64_t last_term;
	uint64_t bytes; /* of commands */
};
struct journal_extent journal_extent(struct journal_shard *s);
/* The hard state into BUFFER, at most SIZE bytes of it. How many it has; 0: none was stored. */
size_t journal_state(struct journal_shard *s, void *buffer, size_t size);

/*
 * Lend the stored entries from FROM to LAST in order to FN, until it returns something else than 0, which
 * becomes *STOPPED. Entries are checked again as they are read. NOT_FOUND: one of them is not stored;
 * CORRUPT; INTERNAL.
 */
typedef int journal_entry_fn(void *arg, const struct journal_entry *e);
enum cairn_code journal_read(struct journal_shard *s, uint64_t from, uint64_t last, journal_entry_fn *fn,
			     void *arg, int *stopped, struct cairn_error *error);

/*
 * Where terms begin among the entries up to INDEX, the first entry included, into TERMS (commands are left
 * out); at most MAX of them. How many there are; 0 where INDEX is not stored.
 */
size_t journal_terms(struct journal_shard *s, uint64_t index, struct journal_entry *terms, size_t max);

/* Everything up to INDEX is safe elsewhere: the journal needs not keep it. */
void journal_release(struct journal_shard *s, uint64_t index);
/* Bytes of files that cannot be used again since S needs the oldest of them, or one behind it. */
uint64_t journal_held(struct journal_shard *s);
/* The shard is gone for good, with all its entries; S is not used again. */
void journal_drop(struct journal_shard *s);
/* The same for every shard that nobody has attached to since the journal was opened: for those whose end a
 * crash kept from being written. */
void journal_drop_others(struct journal *j);

#define JOURNAL_SYNC_BUCKETS 24
struct journal_facts {
	uint64_t segments, segment_bytes; /* in use, and the bytes of all files */
	uint64_t batches, entries, bytes; /* written since it was opened */
	uint64_t syncs, sync_ns;          /* and the time that they took */
	uint64_t sequence;                /* of the newest batch on disk */
	/* Syncs by the time that they took: up to 1 µs, 2, 4 … and in the last all that took longer. */
	uint64_t sync_counts[JOURNAL_SYNC_BUCKETS + 1];
};
void journal_facts(struct journal *j, struct journal_facts *facts);

#endif
