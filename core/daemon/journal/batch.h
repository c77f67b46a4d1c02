/* A batch and its records as bytes (format.md), read without trust. */
#ifndef BATCH_H
#define BATCH_H

#include <stdbool.h>
#include <stdint.h>
#include <cairn/slice.h>

#define BATCH_SECTOR 512        /* where batches begin */
#define BATCH_HEAD 64           /* bytes before the records */
#define BATCH_RECORD 32         /* bytes before a record's body */
#define BATCH_MAX (4u << 20)    /* a batch that has this many bytes takes no more entries */
#define BATCH_LIMIT (16u << 20) /* longest batch that a reader takes for one */

struct batch_head {
	uint32_t length;   /* of the records */
	uint32_t count;    /* of records */
	uint32_t previous; /* checksum of the batch before */
	uint32_t crc;      /* of head and records */
	uint64_t epoch;    /* random; the same in all batches of a segment */
	uint64_t sequence; /* one more than that of the batch before */
	uint64_t durable;  /* newest sequence that was known to be on disk */
	uint64_t file;     /* bytes that its file was known to have on disk; 0: not known */
};

/* Fill the head at the start of BATCH, whose records stand behind it; sets H->length and H->crc. */
void batch_seal(unsigned char *batch, size_t len, struct batch_head *h);
/* 0; -EINVAL: these BATCH_HEAD bytes are no head; -EPROTONOSUPPORT: one of a newer format. */
int batch_head_decode(const unsigned char *bytes, struct batch_head *h);
/* Whether the checksum over the head's bytes and the records is right. */
bool batch_whole(const unsigned char *batch, const struct batch_head *h);

/* Bytes that a batch with LENGTH bytes of records takes on disk. */
static inline uint64_t batch_span(uint64_t length)
{
	return (BATCH_HEAD + length + BATCH_SECTOR - 1) / BATCH_SECTOR * BATCH_SECTOR;
}

enum record_kind {
	RECORD_ENTRY = 1, /* a command */
	RECORD_STATE = 2, /* a shard's hard state */
	RECORD_FIRST = 3, /* index: the first that the shard still needs */
	RECORD_DROP = 4,  /* the shard is gone */
};

struct record_head {
	uint8_t kind;
	uint32_t length; /* of the body */
	uint64_t shard, index, term;
};

void record_head_encode(const struct record_head *r, unsigned char bytes[BATCH_RECORD]);
/* Take the next record off *REST. 0; -ENOENT at the end; -EINVAL. */
int record_next(struct cairn_slice *rest, struct record_head *r, struct cairn_slice *body);

#endif
