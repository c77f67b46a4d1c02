/*
 * The record: what stands behind a key. A head of fixed size, then sections, each with a tag and a length as
 * the fields of a message, the value's own section first: whoever only wants the value reads nothing else.
 */
#ifndef RECORD_H
#define RECORD_H

#include <stdint.h>
#include <cairn/slice.h>

#define RECORD_HEAD 40
#define RECORD_SECTION_HEAD 4
#define RECORD_ATTRIBUTES_MAX 4096

/* How a version came to be. Disk format. */
enum change_kind {
	CHANGE_PUT = 1,
	CHANGE_DELETE = 2,
	CHANGE_APPEND = 3,
	CHANGE_PATCH = 4,
	CHANGE_ATTRIBUTES = 5,
	CHANGE_MOVE = 6,
	CHANGE_MOVE_PREFIX = 7,
	CHANGE_COPY = 8,
	CHANGE_SWAP = 9,
	CHANGE_EXPIRE = 10,
	CHANGE_FLUSH = 11,
	CHANGE_TTL = 12, /* its expiry was set, changed or taken away */
	CHANGE_REVERT = 20,
};

enum {                          /* flags */
       RECORD_OPEN = 1 << 0,    /* created exclusively, its first data not written yet */
       RECORD_DERIVED = 1 << 1, /* of history only: no value of its own, it is the successor's first bytes */
       RECORD_EXPIRES = 1 << 2, /* it has an expiry */
};

/* Whether a change of that kind leaves the value as it is. */
static inline bool change_keeps_value(enum change_kind change)
{
	return change == CHANGE_ATTRIBUTES || change == CHANGE_TTL;
}

/* Tags of sections. Disk format. */
enum record_section {
	RECORD_CONTENT = 1, /* the value */
	RECORD_CHUNKS = 2,  /* a list of pieces (rows.h), in place of CONTENT */
	RECORD_CREATED = 3, /* revision that made the key, where it is not this one */
	RECORD_PREVIOUS = 4,
	RECORD_EXPIRY = 5,
	RECORD_FILE_ID = 6,
	RECORD_ATTRIBUTES = 7, /* fields of a message */
	RECORD_AUTHOR = 8,
	RECORD_FACE = 9,
	RECORD_SIBLINGS = 10, /* for modules without total order */
	RECORD_CONTEXT = 11,
	RECORD_SINCE = 12,        /* first revision of its history, where the key was deleted since */
	RECORD_OTHER = 13,        /* the key that it was moved from; in a tombstone, to */
	RECORD_DATA_VERSION = 14, /* where it is not the version */
};

/* The head, and where the sections are. */
struct record_head {
	uint64_t revision; /* that made this version */
	uint64_t time_ns;  /* commit time, by the store's clock */
	uint64_t length;   /* bytes of the whole value */
	uint64_t version;  /* how often the key was written */
	uint32_t ordinal;  /* place within the revision */
	uint8_t kind;      /* enum cairn_kind */
	uint8_t change;    /* enum change_kind */
	uint16_t flags;    /* RECORD_… */
};

/* Everything. An absent section is an empty slice or 0. All slices point into the bytes that were decoded. */
struct record {
	struct record_head head;
	struct cairn_slice content;
	struct cairn_slice chunks; /* a multiple of PIECE_BYTES */
	uint64_t create_revision;  /* the head's revision where the section is absent */
	uint64_t since;        /* the revision that its history begins with; create_revision where absent */
	uint64_t data_version; /* how often the value was written; the head's version where absent */
	uint64_t previous_revision; /* 0: none */
	uint32_t previous_ordinal;
	uint64_t expiry_ns; /* 0: none */
	uint64_t file_id;
	struct cairn_slice attributes, author, face, other;
};

/* Read the head. 0, or -EUCLEAN where the bytes are no record. */
int record_head_decode(struct cairn_slice body, struct record_head *head);
/* The value's section: true and *CONTENT when the value stands in the record (or is empty), false when it is
 * in chunks. */
bool record_content(struct cairn_slice body, struct cairn_slice *content);
/* Read everything. 0, or -EUCLEAN. */
int record_decode(struct cairn_slice body, struct record *r);
/* Bytes that record_encode writes for R. */
size_t record_size(const struct record *r);
/* Write R to BUFFER of record_size(R) bytes. */
void record_encode(const struct record *r, unsigned char *buffer);

#endif
