/*
 * The reader of LevelDB's log format: blocks of 32 KiB, each filled with physical records; a record of the
 * writer is one FULL, or a FIRST, any number of MIDDLE and a LAST one.
 *
 * logfile_scan walks them one after another, checks each checksum, joins them, and in logs checks that every
 * batch goes on where the one before ended. At the first bad place it stops trusting lengths and looks for
 * the beginning of any later good record, byte by byte: where there is one, bytes in the middle were lost
 * (damage); where there is none, the end was torn off. A candidate must carry a sequence that fits, so that
 * bytes of a value which look like a log do not count. Of a batch only its first 12 bytes are kept.
 */
#include <errno.h>
#include <stdlib.h>
#include "logfile.h"
#include "crc32c.h"
#include "le.h"
#include "banned.h"

enum { FULL = 1, FIRST = 2, MIDDLE = 3, LAST = 4 };

struct reader {
	struct logfile_scan *s;
	unsigned char block[LOGFILE_BLOCK];
	uint64_t block_at; /* of the block that is in memory; UINT64_MAX: none */
	size_t block_len;
	uint64_t at; /* of the next physical record */
	/* The record that is being joined. */
	bool open;
	uint64_t start;      /* of its first piece */
	unsigned char *body; /* owned; as much of it as is kept */
	size_t len, cap;
	uint64_t total; /* all of its bytes */
};

/* One physical record. TYPE 0: the end; -1: bad, and REASON says why. */
struct piece {
	int type;
	struct cairn_slice body;
	const char *reason;
};

/* Have the block that holds AT in memory. 0 or -errno. */
static int load(struct reader *r, uint64_t at)
{
	uint64_t begin = at - at % LOGFILE_BLOCK;
	int n;

	if (r->block_at == begin)
		return 0;
	n = r->s->source.read(r->s->source.arg, r->block, LOGFILE_BLOCK, begin);
	if (n < 0)
		return n;
	r->block_at = begin;
	r->block_len = (size_t)n;
	return 0;
}

static bool crc_fits(const unsigned char *head, size_t len)
{
	uint32_t masked = le32_get(head) - 0xa282ead8u;

	return crc32c(0, head + 6, 1 + len) == (masked >> 17 | masked << 15);
}

/* Take the next physical record. 0 or -errno. */
static int next_piece(struct reader *r, struct piece *p)
{
	size_t in_block = r->at % LOGFILE_BLOCK, left, len;
	const unsigned char *head;
	int e;

	*p = (struct piece){ .type = -1 };
	if (LOGFILE_BLOCK - in_block < LOGFILE_HEAD) {
		r->at += LOGFILE_BLOCK - in_block;
		in_block = 0;
	}
	p->type = 0;
	if (r->at >= r->s->source.size)
		return 0;
	if ((e = load(r, r->at)))
		return e;
	p->type = -1;
	left = r->block_len > in_block ? r->block_len - in_block : 0;
	p->reason = "the file ends within a record";
	if (left < LOGFILE_HEAD)
		return 0;
	head = r->block + in_block;
	len = le16_get(head + 4);
	if (head[6] == 0 && len == 0) {
		p->reason = "zeros where a record should be";
		return 0;
	}
	if (LOGFILE_HEAD + len > left) {
		if (r->block_len == LOGFILE_BLOCK)
			p->reason = "a record is longer than its block";
		return 0;
	}
	p->reason = "a checksum does not match";
	if (!crc_fits(head, len))
		return 0;
	p->reason = "a record of an unknown type";
	if (head[6] < FULL || head[6] > LAST)
		return 0;
	p->type = head[6];
	p->body = cairn_slice(head + LOGFILE_HEAD, len);
	return 0;
}

/* Whether a batch with the head HEAD may stand behind the bad place, DISTANCE bytes after the last good
 * batch. */
static bool sequence_fits(const struct reader *r, const unsigned char *head, uint64_t distance)
{
	uint64_t sequence = le64_get(head), expected = r->s->sequence;

	if (le32_get(head + 8) == 0 || sequence == 0 || sequence >> 56)
		return false;
	return !expected || (sequence > expected && sequence - expected <= distance);
}

/* Whether a record of the writer begins at OFFSET of the block in memory. */
static bool begins(const struct reader *r, size_t offset)
{
	const unsigned char *head = r->block + offset;
	size_t left = r->block_len - offset, len = le16_get(head + 4);

	if ((head[6] != FULL && head[6] != FIRST) || LOGFILE_HEAD + len > left)
		return false;
	if (head[6] == FIRST && offset + LOGFILE_HEAD + len != LOGFILE_BLOCK)
		return false;
	if (head[6] == FULL && len < (r->s->batches ? LOGFILE_BATCH_HEAD : 1))
		return false;
	if (r->s->batches && len >= LOGFILE_BATCH_HEAD &&
	    !sequence_fits(r, head + LOGFILE_HEAD, r->block_at + offset - r->s->good))
		return false;
	return crc_fits(head, len);
}

/* Whether a good record begins anywhere behind FROM. 1, 0 or -errno. */
static int good_behind(struct reader *r, uint64_t from)
{
	for (uint64_t at = from; at < r->s->source.size; at = r->block_at + LOGFILE_BLOCK) {
		int e = load(r, at);

		if (e)
			return e;
		for (size_t i = at - r->block_at; i + LOGFILE_HEAD <= r->block_len; i++)
			if (begins(r, i))
				return 1;
	}
	return 0;
}

/* The record that began at START is bad: say which state that is. 0 or -errno. */
static int bad(struct reader *r, uint64_t start, uint64_t look_from, const char *reason)
{
	int later = good_behind(r, look_from);

	if (later < 0)
		return later;
	r->s->bad = start;
	r->s->reason = reason;
	r->s->state = later ? LOGFILE_DAMAGED : LOGFILE_TORN;
	return 0;
}

static int keep(struct reader *r, struct cairn_slice body)
{
	size_t max = r->s->batches ? LOGFILE_BATCH_HEAD : LOGFILE_RECORD_MAX, n = body.len;

	r->total += n;
	if (n > max - r->len) {
		if (!r->s->batches)
			return -EFBIG;
		n = max - r->len;
	}
	if (r->len + n > r->cap) {
		size_t cap = r->len + n > 2 * r->cap ? r->len + n : 2 * r->cap;
		unsigned char *p = realloc(r->body, cap);

		if (!p)
			return -ENOMEM;
		r->body = p;
		r->cap = cap;
	}
	if (n)
		memcpy(r->body + r->len, body.data, n);
	r->len += n;
	return 0;
}

/* A whole record is there. 0: go on; 1: it is bad and the scan is over; else as logfile_scan. */
static int whole(struct reader *r)
{
	struct logfile_scan *s = r->s;
	uint64_t sequence = 0, count = 0;
	int e;

	if (s->batches) {
		if (r->len == LOGFILE_BATCH_HEAD) {
			sequence = le64_get(r->body);
			count = le32_get(r->body + 8);
		}
		if (count == 0) {
			e = bad(r, r->start, r->at, "a batch without its head");
			return e ? e : 1;
		}
		if (s->sequence && sequence != s->sequence) {
			s->bad = r->start;
			s->reason = "batches before this one are missing";
			s->state = LOGFILE_DAMAGED;
			return 1;
		}
		s->sequence = sequence + count;
	} else if (s->record && (e = s->record(s->arg, cairn_slice(r->body, r->len)))) {
		return e;
	}
	s->records++;
	s->last = r->start;
	s->good = r->at;
	return 0;
}

/* Join the good piece P, which begins at AT. As whole(). */
static int join(struct reader *r, const struct piece *p, uint64_t at)
{
	int e;

	if (p->type == FULL || p->type == FIRST) {
		if (r->open && r->total) { /* what was begun has no end, and this was written after it */
			r->s->bad = r->start;
			r->s->reason = "a batch without its end";
			r->s->state = LOGFILE_DAMAGED;
			return 1;
		}
		r->open = true;
		r->start = at;
		r->len = 0;
		r->total = 0;
	} else if (!r->open) {
		e = bad(r, at, r->at, "a batch without its beginning");
		return e ? e : 1;
	}
	if ((e = keep(r, p->body)))
		return e;
	if (p->type != FULL && p->type != LAST)
		return 0;
	r->open = false;
	return whole(r);
}

static int scan(struct reader *r)
{
	for (;;) {
		struct piece p;
		uint64_t at;
		int e = next_piece(r, &p);

		if (e)
			return e;
		at = r->at;
		if (p.type == 0 && r->open)
			return bad(r, r->start, at, "the file ends within a batch");
		if (p.type == 0)
			return 0;
		if (p.type < 0)
			return bad(r, r->open ? r->start : at, at + 1, p.reason);
		r->at += LOGFILE_HEAD + p.body.len;
		e = join(r, &p, at);
		if (e)
			return e == 1 ? 0 : e;
	}
}

int logfile_scan(struct logfile_scan *s)
{
	struct reader *r = malloc(sizeof(*r));
	int e;

	if (!r)
		return -ENOMEM;
	memset(r, 0, sizeof(*r));
	r->s = s;
	r->block_at = UINT64_MAX;
	s->state = LOGFILE_WHOLE;
	s->records = s->last = s->good = s->bad = 0;
	s->reason = NULL;
	e = scan(r);
	free(r->body);
	free(r);
	return e;
}
