/* A batch's bytes: written and taken apart. Whatever is no batch is refused without reading outside of it. */
#include <errno.h>
#include "batch.h"
#include "crc32c.h"
#include "le.h"
#include "banned.h"

#define MAGIC 0x424a4e43u /* "CNJB" */
#define VERSION 1
#define CRC_AT 52

static uint32_t sum(const unsigned char *batch, uint32_t length)
{
	static const unsigned char none[4];
	uint32_t crc = crc32c(0, batch, CRC_AT);

	crc = crc32c(crc, none, sizeof(none));
	return crc32c(crc, batch + CRC_AT + 4, BATCH_HEAD - CRC_AT - 4 + (size_t)length);
}

void batch_seal(unsigned char *batch, size_t len, struct batch_head *h)
{
	h->length = (uint32_t)(len - BATCH_HEAD);
	memset(batch, 0, BATCH_HEAD);
	le32_put(batch, MAGIC);
	le16_put(batch + 4, VERSION);
	le32_put(batch + 12, h->length);
	le64_put(batch + 16, h->epoch);
	le64_put(batch + 24, h->sequence);
	le64_put(batch + 32, h->durable);
	le32_put(batch + 40, h->count);
	le32_put(batch + 44, h->previous);
	le64_put(batch + 56, h->file);
	h->crc = sum(batch, h->length);
	le32_put(batch + CRC_AT, h->crc);
}

int batch_head_decode(const unsigned char *bytes, struct batch_head *h)
{
	*h = (struct batch_head){
		.length = le32_get(bytes + 12),
		.epoch = le64_get(bytes + 16),
		.sequence = le64_get(bytes + 24),
		.durable = le64_get(bytes + 32),
		.count = le32_get(bytes + 40),
		.previous = le32_get(bytes + 44),
		.crc = le32_get(bytes + CRC_AT),
		.file = le64_get(bytes + 56),
	};
	if (le32_get(bytes) != MAGIC || h->length > BATCH_LIMIT || h->count > h->length / BATCH_RECORD ||
	    !h->sequence)
		return -EINVAL;
	/* Version, cipher and key id. */
	if (le16_get(bytes + 4) != VERSION || le16_get(bytes + 6) || le32_get(bytes + 8))
		return -EPROTONOSUPPORT;
	return 0;
}

bool batch_whole(const unsigned char *batch, const struct batch_head *h)
{
	return sum(batch, h->length) == h->crc;
}

void record_head_encode(const struct record_head *r, unsigned char bytes[BATCH_RECORD])
{
	memset(bytes, 0, BATCH_RECORD);
	bytes[0] = r->kind;
	le32_put(bytes + 4, r->length);
	le64_put(bytes + 8, r->shard);
	le64_put(bytes + 16, r->index);
	le64_put(bytes + 24, r->term);
}

int record_next(struct cairn_slice *rest, struct record_head *r, struct cairn_slice *body)
{
	const unsigned char *p = rest->data;

	if (!rest->len)
		return -ENOENT;
	if (rest->len < BATCH_RECORD)
		return -EINVAL;
	*r = (struct record_head){ p[0], le32_get(p + 4), le64_get(p + 8), le64_get(p + 16),
				   le64_get(p + 24) };
	if (r->kind < RECORD_ENTRY || r->kind > RECORD_DROP || r->length > rest->len - BATCH_RECORD)
		return -EINVAL;
	*body = cairn_slice(p + BATCH_RECORD, r->length);
	*rest = cairn_slice(p + BATCH_RECORD + r->length, rest->len - BATCH_RECORD - r->length);
	return 0;
}
