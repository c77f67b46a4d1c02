/*
 * Reading LevelDB's log format, in which both its logs and its MANIFEST are written, with bounded memory and
 * no trust in the bytes. It tells a torn end (which a crash leaves, and which may be cut) from damage (bytes
 * that are bad although good ones were written after them).
 */
#ifndef LOGFILE_H
#define LOGFILE_H

#include <stdbool.h>
#include <stdint.h>
#include <cairn/slice.h>

#define LOGFILE_BLOCK 32768   /* records never cross a block; its last bytes stay empty where no head fits */
#define LOGFILE_HEAD 7        /* masked crc32c (4), length (2), type (1) */
#define LOGFILE_BATCH_HEAD 12 /* of a batch in a log: sequence of its first step (8), steps (4) */

/* Where the bytes come from: read up to LEN at AT; returns how many (short only at the end), or -errno. */
struct logfile_source {
	int (*read)(void *arg, void *data, size_t len, uint64_t at);
	void *arg;
	uint64_t size; /* bytes in all */
};

enum logfile_state {
	LOGFILE_WHOLE,   /* every byte belongs to a good record */
	LOGFILE_TORN,    /* good records up to GOOD, and no good one begins behind that */
	LOGFILE_DAMAGED, /* bad at BAD, although records that were written later are good */
};

struct logfile_scan {
	/* In. */
	struct logfile_source source;
	bool batches; /* records are batches, whose sequences must join; else they are edits of a MANIFEST */
	uint64_t
		sequence; /* batches: sequence that the first one must have, 0 for any; out: the next one's */
	/* MANIFEST: called with each record, lent during the call. -errno ends the scan with it. */
	int (*record)(void *arg, struct cairn_slice body);
	void *arg;
	/* Out. */
	enum logfile_state state;
	uint64_t records;    /* good ones */
	uint64_t last, good; /* begin and end of the last good record */
	uint64_t bad;        /* where the bad record begins */
	const char *reason;  /* what is wrong there, a clause; static */
};

#define LOGFILE_RECORD_MAX (64u << 20) /* longest record of a MANIFEST that is taken */

/* Read the whole of S->source. Returns 0 with the out members set, or -errno of the source, -ENOMEM, or what
 * record() said. */
int logfile_scan(struct logfile_scan *s);

#endif
