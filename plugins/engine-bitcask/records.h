/* The bytes of engine-bitcask (format.md): heads, batches, entries and hints, read without trust. */
#ifndef RECORDS_H
#define RECORDS_H

#include <stdbool.h>
#include <stdint.h>
#include <cairn/slice.h>

#define RECORD_FILE_HEAD 64
#define RECORD_BATCH_HEAD 48
#define RECORD_ENTRY_HEAD 12
#define RECORD_HINT_HEAD 64
#define RECORD_HINT_ENTRY 12
#define RECORD_MANIFEST_HEAD 24
#define RECORD_MANIFEST_ROW 24
#define RECORD_KEY_MAX 8192
#define RECORD_BATCH_MAX (1u << 30) /* most bytes of a batch's entries */

enum record_kind { RECORD_PUT = 1, RECORD_DELETE = 2 };
enum { RECORD_ZSTD = 1 }; /* flags of an entry */

struct record_file_head {
	uint32_t id;
	uint64_t epoch, sequence, index, term, rank;
};
void record_file_head_put(unsigned char bytes[RECORD_FILE_HEAD], const struct record_file_head *h);
/* 0; -EINVAL: these bytes are no head; -EPROTONOSUPPORT: one of a newer version. */
int record_file_head_get(const unsigned char bytes[RECORD_FILE_HEAD], struct record_file_head *h);

struct record_batch_head {
	uint64_t sequence, durable, index, term;
	uint32_t length, count, crc;
};
/* Fill in the head at the start of BATCH, behind which H->length bytes of H->count entries stand. */
void record_batch_seal(unsigned char *batch, const struct record_batch_head *h, uint64_t epoch);
/* Whether these bytes look like a head. */
bool record_batch_head_get(const unsigned char bytes[RECORD_BATCH_HEAD], struct record_batch_head *h);
/* Whether the batch with the head H is whole: all checksums fit. */
bool record_batch_whole(const unsigned char *batch, const struct record_batch_head *h, uint64_t epoch);

struct record_entry {
	enum record_kind kind;
	unsigned flags;
	struct cairn_slice key, value;
	uint32_t length; /* all of it */
};
/* Write the head of an entry whose key and value stand behind it. */
void record_entry_seal(unsigned char *entry, enum record_kind kind, unsigned flags, size_t key_len,
		       size_t value_len);
/* The entry at the start of BYTES. 0; -ENODATA: it is longer than BYTES, and E->length says how long it would
 * be (0: not even the head is there); -EINVAL: it is none. With CHECK its checksum too. */
int record_entry_get(struct cairn_slice bytes, bool check, struct record_entry *e);

struct record_hint_head {
	uint32_t id, count;
	uint64_t epoch, size, sequence, index, term;
};
/* Fill in the head at the start of HINT, all of whose LEN bytes are there. */
void record_hint_seal(unsigned char *hint, size_t len, const struct record_hint_head *h);
/* Whether HINT is a whole hint, its entries too; fills *H. */
bool record_hint_get(struct cairn_slice hint, struct record_hint_head *h);

/* What a hint says of an entry. */
struct record_hint {
	uint32_t offset, length;
	enum record_kind kind;
	struct cairn_slice key;
};
/* Write an entry of a hint; where it ends. */
unsigned char *record_hint_put(unsigned char *p, const struct record_hint *e);
/* Take the next entry off *REST, which is checked already; false at the end. */
bool record_hint_next(struct cairn_slice *rest, struct record_hint *e);

struct record_row {
	uint32_t id;
	uint64_t size, epoch;
};
/* A manifest of COUNT rows into BYTES, which has room for it. */
void record_manifest_put(unsigned char *bytes, const struct record_row *rows, uint32_t count,
			 uint32_t next_id);
/* Whether BYTES are a whole manifest: 0, -EINVAL, -EPROTONOSUPPORT. */
int record_manifest_get(struct cairn_slice bytes, uint32_t *count, uint32_t *next_id);
struct record_row record_manifest_row(struct cairn_slice bytes, uint32_t at);

/* ---- Reading batches one after the other ---- */

struct record_source {
	/* Up to LEN bytes at AT; how many, less only at the end; or -errno. */
	int64_t (*read)(void *arg, void *data, size_t len, uint64_t at);
	void *arg;
	uint64_t size; /* bytes there are */
};

struct record_scan {
	struct record_source source;
	uint64_t epoch;
	uint64_t at;         /* of the next batch */
	uint64_t sequence;   /* that it must have */
	unsigned char *data; /* owned: the batch that was read last */
	size_t cap;
};
/* Read the next batch. 1 with *H and *ENTRIES (lent until the next call); 0: none is whole there (also at the
 * end, where s->at is the size); -errno. */
int record_scan_next(struct record_scan *s, struct record_batch_head *h, struct cairn_slice *entries);
/* Whether a whole batch behind s->at proves that what was missed there had been on disk. 1, 0, -errno. */
int record_scan_proof(struct record_scan *s, uint64_t *where);
/* Read the next batch that can be read at all, whatever lies before it. 2: it is whole; 1: it is not, but
 * each of its entries can be looked at; 0: there is none; -errno. */
int record_scan_salvage(struct record_scan *s, struct record_batch_head *h, struct cairn_slice *entries);
void record_scan_end(struct record_scan *s);

#endif
