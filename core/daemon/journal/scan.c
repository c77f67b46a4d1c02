/*
 * Batches in a source: one by one, as a chain, or hunted for behind the place where a chain broke. A batch is
 * looked at only when all of its bytes are inside the source.
 */
#include <errno.h>
#include <stdlib.h>
#include "scan.h"
#include "banned.h"

#define READ_AHEAD (64u << 10) /* bytes that are read at once */

static int room(struct scan_buffer *b, size_t len)
{
	unsigned char *p;

	if (len <= b->cap)
		return 0;
	p = realloc(b->data, len);
	if (!p)
		return -ENOMEM;
	b->data = p;
	b->cap = len;
	return 0;
}

int scan_batch(const struct scan_source *s, uint64_t at, struct scan_buffer *b, struct batch_head *h)
{
	size_t want;
	int e, n;

	*h = (struct batch_head){ 0 };
	if (at >= s->size || s->size - at < BATCH_HEAD)
		return -ENOENT;
	if ((e = room(b, READ_AHEAD)) < 0)
		return e;
	n = s->read(s->arg, b->data, READ_AHEAD, at);
	if (n < 0)
		return n;
	if (n < BATCH_HEAD)
		return -ENOENT;
	e = batch_head_decode(b->data, h);
	if (e == -EINVAL)
		*h = (struct batch_head){ 0 };
	if (e < 0)
		return e == -EINVAL ? -ENOENT : e;
	want = BATCH_HEAD + (size_t)h->length;
	if (want > s->size - at)
		return -ENOENT;
	if (want > (size_t)n) {
		int more;

		if ((e = room(b, want)) < 0)
			return e;
		more = s->read(s->arg, b->data + n, want - (size_t)n, at + (uint64_t)n);
		if (more < 0)
			return more;
		if ((size_t)more < want - (size_t)n)
			return -ENOENT;
	}
	return batch_whole(b->data, h) ? 0 : -ENOENT;
}

bool scan_continues(const struct scan_chain *c, const struct batch_head *h)
{
	return !c->sequence || (h->sequence == c->sequence + 1 && h->previous == c->crc);
}

int scan_chain(const struct scan_source *s, uint64_t limit, struct scan_chain *c, struct scan_buffer *b,
	       scan_fn *fn, void *arg, uint64_t *end, uint64_t *torn)
{
	uint64_t epoch = 0;
	struct batch_head h;
	int e;

	*end = *torn = 0;
	while (!limit || c->sequence < limit) {
		e = scan_batch(s, *end, b, &h);
		if (e == -ENOENT && h.sequence == c->sequence + 1 && (!epoch || h.epoch == epoch))
			*torn = batch_span(h.length);
		if (e == -ENOENT)
			return 0;
		if (e < 0)
			return e;
		if ((epoch && h.epoch != epoch) || !scan_continues(c, &h))
			return 0;
		epoch = h.epoch;
		*c = (struct scan_chain){ h.sequence, h.durable, h.crc };
		e = fn(arg, *end, &h, cairn_slice(b->data + BATCH_HEAD, h.length));
		if (e)
			return e;
		*end += batch_span(h.length);
	}
	return 0;
}

int scan_later(const struct scan_source *s, uint64_t from, uint64_t sequence, uint64_t epoch,
	       struct scan_buffer *b, uint64_t *at, struct batch_head *h)
{
	unsigned char window[16 * BATCH_SECTOR];
	int e;

	for (uint64_t place = from; place < s->size; place += sizeof(window)) {
		int n = s->read(s->arg, window, sizeof(window), place);

		if (n < 0)
			return n;
		for (int i = 0; i + BATCH_HEAD <= n; i += BATCH_SECTOR) {
			if (batch_head_decode(window + i, h) || h->sequence <= sequence ||
			    (epoch && h->epoch != epoch))
				continue;
			e = scan_batch(s, place + (uint64_t)i, b, h);
			if (e == 0)
				*at = place + (uint64_t)i;
			if (e != -ENOENT)
				return e;
		}
	}
	return -ENOENT;
}
