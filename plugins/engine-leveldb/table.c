/*
 * The reader of LevelDB's tables: data blocks, filter block, an index of filters, an index of data blocks,
 * and a footer that says where the indexes are. Each block is followed by its compression and a masked
 * crc32c; the footer has no checksum, and LevelDB allocates what it says, so it is checked before LevelDB
 * sees it.
 *
 * LevelDB says "block checksum mismatch" without a file; table_check finds which block of which file that
 * was.
 */
#include <errno.h>
#include <stdlib.h>
#include "table.h"
#include "crc32c.h"
#include "le.h"
#include "banned.h"

#define MAGIC 0xdb4775248b80fb57ull
#define TRAILER 5              /* compression (1), masked crc32c (4) */
#define INDEX_MAX (256u << 20) /* longest index that is expanded */

struct handle {
	uint64_t at, size;
};

bool varint_take(struct cairn_slice *in, uint64_t *v)
{
	const unsigned char *p = in->data;

	*v = 0;
	for (size_t i = 0; i < in->len && i < 10; i++) {
		*v |= (uint64_t)(p[i] & 127) << (7 * i);
		if (!(p[i] & 128)) {
			*in = cairn_slice(p + i + 1, in->len - i - 1);
			return true;
		}
	}
	return false;
}

bool varint_slice_take(struct cairn_slice *in, struct cairn_slice *out)
{
	uint64_t len;

	if (!varint_take(in, &len) || len > in->len)
		return false;
	*out = cairn_slice(in->data, len);
	*in = cairn_slice((const char *)in->data + len, in->len - len);
	return true;
}

/* Length and distance of one element of Snappy whose tag is at P; returns the bytes of its head, 0 where it
 * is cut off. */
static size_t snappy_element(const unsigned char *p, size_t left, size_t *len, size_t *distance)
{
	size_t extra;

	*distance = 0;
	switch (p[0] & 3) {
	case 0:
		*len = (p[0] >> 2) + 1u;
		extra = *len > 60 ? *len - 60 : 0;
		if (extra >= left)
			return 0;
		if (extra) {
			*len = 1;
			for (size_t i = 0; i < extra; i++)
				*len += (size_t)p[1 + i] << (8 * i);
		}
		return 1 + extra;
	case 1:
		*len = (p[0] >> 2 & 7) + 4u;
		*distance = left > 1 ? (size_t)(p[0] >> 5) << 8 | p[1] : 0;
		return left > 1 ? 2 : 0;
	case 2:
		*len = (p[0] >> 2) + 1u;
		*distance = left > 2 ? le16_get(p + 1) : 0;
		return left > 2 ? 3 : 0;
	default:
		*len = (p[0] >> 2) + 1u;
		*distance = left > 4 ? le32_get(p + 1) : 0;
		return left > 4 ? 5 : 0;
	}
}

int snappy_expand(struct cairn_slice in, size_t max, unsigned char **out, size_t *len)
{
	unsigned char *to;
	uint64_t want;
	size_t n = 0;

	if (!varint_take(&in, &want) || want > max)
		return -EBADMSG;
	to = malloc(want ? want : 1);
	if (!to)
		return -ENOMEM;
	while (in.len) {
		const unsigned char *p = in.data;
		size_t step, distance, head = snappy_element(p, in.len, &step, &distance);
		bool literal = !(p[0] & 3);

		if (!head || step > want - n || (literal ? step > in.len - head : !distance || distance > n))
			goto bad;
		if (literal)
			memcpy(to + n, p + head, step);
		for (size_t i = 0; !literal && i < step; i++) /* may overlap: byte by byte */
			to[n + i] = to[n + i - distance];
		n += step;
		head += literal ? step : 0;
		in = cairn_slice(p + head, in.len - head);
	}
	if (n != want)
		goto bad;
	*out = to;
	*len = n;
	return 0;
bad:
	free(to);
	return -EBADMSG;
}

static int fault_at(struct table_fault *fault, uint64_t at, const char *reason)
{
	*fault = (struct table_fault){ at, reason };
	return -EBADMSG;
}

static int read_exactly(const struct table_source *t, void *data, size_t len, uint64_t at)
{
	int n = t->read(t->arg, data, len, at);

	return n < 0 ? n : (size_t)n == len ? 0 : -EIO;
}

static bool handle_take(struct cairn_slice *in, struct handle *h)
{
	return varint_take(in, &h->at) && varint_take(in, &h->size);
}

static bool handle_fits(const struct table_source *t, const struct handle *h)
{
	uint64_t end = t->size - TABLE_FOOTER;

	return h->at <= end && h->size <= end - h->at && TRAILER <= end - h->at - h->size;
}

static int read_footer(const struct table_source *t, struct handle *filters, struct handle *index,
		       struct table_fault *fault)
{
	unsigned char footer[TABLE_FOOTER] = { 0 };
	struct cairn_slice in = cairn_slice(footer, TABLE_FOOTER - 8);
	uint64_t at;
	int e;

	if (t->size < TABLE_FOOTER)
		return fault_at(fault, 0, "the file is shorter than a footer");
	at = t->size - TABLE_FOOTER;
	if ((e = read_exactly(t, footer, TABLE_FOOTER, at)))
		return e;
	if (le64_get(footer + TABLE_FOOTER - 8) != MAGIC)
		return fault_at(fault, at, "the footer is not that of a table");
	if (!handle_take(&in, filters) || !handle_take(&in, index) || !handle_fits(t, filters) ||
	    !handle_fits(t, index))
		return fault_at(fault, at, "the footer points outside the file");
	return 0;
}

int table_check_footer(const struct table_source *t, struct table_fault *fault)
{
	struct handle filters, index;

	return read_footer(t, &filters, &index, fault);
}

/* Read the block H into *DATA (the caller's to free), its trailer included, and check it. */
static int read_block(const struct table_source *t, const struct handle *h, unsigned char **data,
		      struct table_fault *fault)
{
	unsigned char *p;
	uint32_t masked;
	int e;

	if (!handle_fits(t, h))
		return fault_at(fault, h->at, "a block lies outside the file");
	p = malloc(h->size + TRAILER);
	if (!p)
		return -ENOMEM;
	e = read_exactly(t, p, h->size + TRAILER, h->at);
	if (!e) {
		masked = le32_get(p + h->size + 1) - 0xa282ead8u;
		if (crc32c(0, p, h->size + 1) != (masked >> 17 | masked << 15))
			e = fault_at(fault, h->at, "a block's checksum does not match");
	}
	if (e)
		free(p);
	else
		*data = p;
	return e;
}

/* Check all blocks that the expanded index INDEX, which lies at AT, points to. */
static int check_entries(const struct table_source *t, struct cairn_slice index, uint64_t at,
			 struct table_fault *fault)
{
	uint64_t restarts, shared, fresh, value_len;
	struct cairn_slice in, value;
	struct handle h;
	unsigned char *block;
	int e;

	if (index.len < 4)
		return fault_at(fault, at, "an index without its end");
	restarts = le32_get((const char *)index.data + index.len - 4);
	if (restarts > (index.len - 4) / 4)
		return fault_at(fault, at, "an index longer than its block");
	in = cairn_slice(index.data, index.len - 4 - 4 * restarts);
	while (in.len) {
		if (!varint_take(&in, &shared) || !varint_take(&in, &fresh) ||
		    !varint_take(&in, &value_len) || fresh > in.len || value_len > in.len - fresh)
			return fault_at(fault, at, "an index entry longer than its block");
		value = cairn_slice((const char *)in.data + fresh, value_len);
		in = cairn_slice((const char *)value.data + value_len, in.len - fresh - value_len);
		if (!handle_take(&value, &h))
			return fault_at(fault, at, "an index entry without a place");
		if ((e = read_block(t, &h, &block, fault)))
			return e;
		free(block);
	}
	return 0;
}

/* Check the index block H and all blocks that it points to. */
static int check_index(const struct table_source *t, const struct handle *h, struct table_fault *fault)
{
	unsigned char *block, *expanded = NULL;
	size_t len = h->size;
	int e = read_block(t, h, &block, fault);

	if (e)
		return e;
	if (block[h->size] == 1 &&
	    (e = snappy_expand(cairn_slice(block, h->size), INDEX_MAX, &expanded, &len)) == -EBADMSG)
		e = fault_at(fault, h->at, "an index that does not decompress");
	if (!e)
		e = check_entries(t, cairn_slice(expanded ? expanded : block, len), h->at, fault);
	free(expanded);
	free(block);
	return e;
}

int table_check(const struct table_source *t, struct table_fault *fault)
{
	struct handle filters, index;
	int e = read_footer(t, &filters, &index, fault);

	if (!e)
		e = check_index(t, &index, fault);
	return e ? e : check_index(t, &filters, fault);
}
