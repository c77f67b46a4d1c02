/* The meta row: everything of the state machine that is not about one key. It stands in every engine batch.
 */
#ifndef META_H
#define META_H

#include <cairn/engine.h>
#include "hash.h"

#define META_FORMAT 2  /* of all rows; a newer one is refused */
#define META_BYTES 264 /* of its body, checksum not counted */
#define META_KEY "m"

enum {
	META_CHECKSUMS = 1 << 0, /* rows end with a checksum */
	META_FOLDERS = 1 << 1,   /* folder rows are kept */
};

struct meta {
	uint32_t flags; /* META_… */
	struct cairn_position position;
	uint64_t configuration; /* index of the configuration in force */
	uint64_t revision;      /* of the last change */
	uint64_t clock_ns;      /* last stamp */
	uint64_t floor;         /* oldest revision that history keeps */
	uint64_t request_floor; /* highest last index of a client that was evicted */
	uint64_t next_file_id, next_chunk;
	uint64_t keys;          /* live */
	uint64_t bytes;         /* of live values */
	uint64_t staged;        /* bytes staged and not used */
	uint64_t clients;       /* request rows */
	uint64_t request_bytes; /* of request rows */
	uint64_t history_used;  /* bytes of history in the engine; not the same on every replica */
	uint64_t reclaimed;     /* reclaim has looked at the changes up to this revision; the same */
	/* Settings. */
	uint64_t key_max, value_limit, inline_max, chunk_max, bulk_keys, bulk_bytes;
	uint64_t history; /* versions; 0: history is not kept */
	uint64_t history_age_ns, history_bytes, quota;
	/* What stays invisible when the settings above grow: see history.h. */
	uint64_t history_from_ns, history_before, history_since;
	struct hash rows; /* sum over live records, uploads, requests */
};

void meta_encode(const struct meta *m, unsigned char body[META_BYTES]);
/* 0; -EUCLEAN for damage; -EPROTONOSUPPORT where another format is needed, then *FORMAT says which. */
int meta_decode(struct cairn_slice body, struct meta *m, uint32_t *format);
/* The digest of the visible state: the sum over rows, with clock, counters and settings. */
void meta_digest(const struct meta *m, unsigned char digest[16]);

#endif
