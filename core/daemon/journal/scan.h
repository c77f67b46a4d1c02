/*
 * Reading batches out of bytes that nobody vouches for: of a file, or of memory in tests. Nothing here
 * writes.
 */
#ifndef SCAN_H
#define SCAN_H

#include "batch.h"

struct scan_source {
	/* Bytes read into DATA, less than LEN only at the end; or -errno. */
	int (*read)(void *arg, void *data, size_t len, uint64_t at);
	void *arg;
	uint64_t size; /* bytes there are */
};

/* Buffer of a reader, kept between calls; zeroed before the first. */
struct scan_buffer {
	unsigned char *data; /* owned: the batch that was read last */
	size_t cap;
};

/* Read the batch at AT, whole or not at all. 0; -ENOENT: there is none that is whole, but *H may hold a head
 * (length 0 and sequence 0 where it does not); -EPROTONOSUPPORT; -errno where the file cannot be read. */
int scan_batch(const struct scan_source *s, uint64_t at, struct scan_buffer *b, struct batch_head *h);

/* Where a chain of batches stands. */
struct scan_chain {
	uint64_t sequence; /* of the last one; 0: none yet, and any may come */
	uint64_t durable;  /* the highest that one of them knew of */
	uint32_t crc;      /* of the last one */
};
/* Whether H goes on where C stands. */
bool scan_continues(const struct scan_chain *c, const struct batch_head *h);

/* Called for each batch of a chain: its place, and its records. Not 0 ends the scan with that result. */
typedef int scan_fn(void *arg, uint64_t at, const struct batch_head *h, struct cairn_slice records);

/*
 * Follow the chain through the batches at the start of S, not beyond the sequence LIMIT (0: none). *END is
 * where it ends, *TORN how many bytes of a batch that is not whole lie there. 0, or what scan_batch or FN
 * said.
 */
int scan_chain(const struct scan_source *s, uint64_t limit, struct scan_chain *c, struct scan_buffer *b,
	       scan_fn *fn, void *arg, uint64_t *end, uint64_t *torn);

/*
 * Look behind FROM for a whole batch later than SEQUENCE, of EPOCH (0: any). 0 and *AT with *H; -ENOENT;
 * -errno.
 */
int scan_later(const struct scan_source *s, uint64_t from, uint64_t sequence, uint64_t epoch,
	       struct scan_buffer *b, uint64_t *at, struct batch_head *h);

#endif
