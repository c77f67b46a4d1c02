/*
 * Blocks of a stream. A writer adds head and blocks to a buffer of its caller. A reader collects the bytes of
 * one block, whose head says how many there are, checks them and gives its content out. A length is believed
 * only within its bounds, content only with the right checksum; the sentence names the offset of the block.
 */
#include <stdlib.h>
#include "config.h"
#include "crc32c.h"
#include "le.h"
#include "stream.h"
#ifdef HAVE_ZSTD
#include <zstd.h>
#endif
#include "banned.h"

#define LEVEL 1 /* of zstd: a core compresses more than a disk takes */

static const unsigned char magic[8] = { 0x8c, 'c', 'a', 'i', 'r', 'n', 's', '\n' };
static const unsigned char block_magic[4] = { 'c', 'b', 'l', 'k' };

#ifdef HAVE_ZSTD
bool stream_can_compress(void)
{
	return true;
}

/* Bytes of CONTENT compressed into AT, which has room for as many; 0 where that saves nothing. */
static size_t compress(struct stream_writer *w, struct cairn_slice content, void *at)
{
	size_t n;

	if (!w->compressor)
		w->compressor = ZSTD_createCCtx();
	if (!w->compressor || content.len < 64)
		return 0;
	n = ZSTD_compressCCtx(w->compressor, at, content.len - 1, content.data, content.len, LEVEL);
	return ZSTD_isError(n) ? 0 : n;
}

/* Whether STORED is exactly N bytes, which are at AT now. */
static bool decompress(struct stream_reader *r, struct cairn_slice stored, void *at, size_t n)
{
	if (!r->decompressor)
		r->decompressor = ZSTD_createDCtx();
	return r->decompressor && ZSTD_decompressDCtx(r->decompressor, at, n, stored.data, stored.len) == n;
}

void stream_writer_free(struct stream_writer *w)
{
	ZSTD_freeCCtx(w->compressor);
	w->compressor = NULL;
}

static void free_decompressor(struct stream_reader *r)
{
	ZSTD_freeDCtx(r->decompressor);
}
#else
bool stream_can_compress(void)
{
	return false;
}

static size_t compress(struct stream_writer *w, struct cairn_slice content, void *at)
{
	(void)w, (void)content, (void)at;
	return 0;
}

static bool decompress(struct stream_reader *r, struct cairn_slice stored, void *at, size_t n)
{
	(void)r, (void)stored, (void)at, (void)n;
	return false;
}

void stream_writer_free(struct stream_writer *w)
{
	(void)w;
}

static void free_decompressor(struct stream_reader *r)
{
	(void)r;
}
#endif

void stream_head(struct buffer *out)
{
	unsigned char *p = buffer_room(out, STREAM_HEAD);

	if (!p)
		return;
	memset(p, 0, STREAM_HEAD);
	memcpy(p, magic, sizeof(magic));
	le32_put(p + 8, STREAM_VERSION);
	le32_put(p + STREAM_HEAD - 4, crc32c(0, p, STREAM_HEAD - 4));
}

void stream_block(struct stream_writer *w, enum stream_kind kind, struct cairn_slice content,
		  struct buffer *out)
{
	size_t at = out->len, stored = 0;
	unsigned char *p = buffer_room(out, STREAM_BLOCK_HEAD + content.len);

	if (!p)
		return;
	if (w->compress)
		stored = compress(w, content, p + STREAM_BLOCK_HEAD);
	memset(p, 0, STREAM_BLOCK_HEAD);
	memcpy(p, block_magic, sizeof(block_magic));
	p[4] = (unsigned char)kind;
	p[5] = stored ? STREAM_ZSTD : STREAM_PLAIN;
	if (!stored) {
		stored = content.len;
		if (stored)
			memcpy(p + STREAM_BLOCK_HEAD, content.data, stored);
	}
	le64_put(p + 8, w->sequence++);
	le32_put(p + 16, (uint32_t)stored);
	le32_put(p + 20, (uint32_t)content.len);
	le32_put(p + 24, crc32c(crc32c(0, p, 24), p + STREAM_BLOCK_HEAD, stored));
	out->len = at + STREAM_BLOCK_HEAD + stored;
}

void stream_row(struct buffer *content, struct cairn_slice key, struct cairn_slice value)
{
	unsigned char *p = buffer_room(content, STREAM_ROW_HEAD + key.len + value.len);

	if (!p)
		return;
	le16_put(p, (uint16_t)key.len);
	le32_put(p + 2, (uint32_t)value.len);
	memcpy(p + STREAM_ROW_HEAD, key.data, key.len);
	if (value.len)
		memcpy(p + STREAM_ROW_HEAD + key.len, value.data, value.len);
}

int stream_row_next(struct cairn_slice *rows, struct cairn_slice *key, struct cairn_slice *value)
{
	const unsigned char *p = rows->data;
	size_t k, v;

	if (!rows->len)
		return 0;
	if (rows->len < STREAM_ROW_HEAD)
		return -1;
	k = le16_get(p);
	v = le32_get(p + 2);
	if (!k || v > rows->len || k + v > rows->len - STREAM_ROW_HEAD)
		return -1;
	*key = cairn_slice(p + STREAM_ROW_HEAD, k);
	*value = cairn_slice(p + STREAM_ROW_HEAD + k, v);
	*rows = cairn_slice(p + STREAM_ROW_HEAD + k + v, rows->len - STREAM_ROW_HEAD - k - v);
	return 1;
}

void stream_reader_free(struct stream_reader *r)
{
	buffer_free(&r->in);
	buffer_free(&r->plain);
	free_decompressor(r);
	r->decompressor = NULL;
}

static int damaged(const struct stream_reader *r, struct cairn_error *error, const char *why)
{
	cairn_fail(error, CAIRN_E_CORRUPT, "the stream is damaged at byte %llu: %s",
		   (unsigned long long)r->offset, why);
	return -1;
}

static int no_memory(struct cairn_error *error)
{
	cairn_fail(error, CAIRN_E_INTERNAL, "no memory left to read a stream");
	return -1;
}

/* Take bytes off *IN until there are N of the present part. 1 when there are, 0, or -1 without memory. */
static int collect(struct stream_reader *r, struct cairn_slice *in, size_t n, struct cairn_error *error)
{
	size_t take = r->in.len < n ? n - r->in.len : 0;

	take = take < in->len ? take : in->len;
	buffer_add(&r->in, cairn_slice(in->data, take));
	*in = cairn_slice((const char *)in->data + take, in->len - take);
	if (r->in.error)
		return no_memory(error);
	return r->in.len >= n;
}

static int take_head(struct stream_reader *r, struct cairn_slice *in, struct cairn_error *error)
{
	int there = collect(r, in, STREAM_HEAD, error);
	const unsigned char *p = r->in.data;
	size_t n = r->in.len < sizeof(magic) ? r->in.len : sizeof(magic);

	if (there < 0)
		return there;
	if (n && memcmp(p, magic, n) != 0) {
		cairn_fail(error, CAIRN_E_INVALID, "this is no stream of cairn");
		return -1;
	}
	if (!there)
		return 0;
	if (le32_get(p + STREAM_HEAD - 4) != crc32c(0, p, STREAM_HEAD - 4))
		return damaged(r, error, "the checksum of the head does not fit");
	if (le32_get(p + 8) != STREAM_VERSION) {
		cairn_fail(error, CAIRN_E_UNSUPPORTED,
			   "the stream has version %u, and this release reads version %u", le32_get(p + 8),
			   STREAM_VERSION);
		return -1;
	}
	if (le32_get(p + 12)) {
		cairn_fail(error, CAIRN_E_UNSUPPORTED,
			   "the stream is encrypted, which this release cannot read");
		return -1;
	}
	r->begun = true;
	r->offset += STREAM_HEAD;
	r->in.len = 0;
	return 1;
}

/* The head of a block is there: whether its lengths can be believed. 0 or -1. */
static int check_block_head(struct stream_reader *r, struct cairn_error *error)
{
	const unsigned char *p = r->in.data;
	uint32_t stored = le32_get(p + 16), plain = le32_get(p + 20);

	if (memcmp(p, block_magic, sizeof(block_magic)) != 0)
		return damaged(r, error, "no block begins here");
	if (stored > STREAM_BLOCK_MAX || plain > STREAM_BLOCK_MAX)
		return damaged(r, error, "a block is longer than a block can be");
	return 0;
}

static int open_block(struct stream_reader *r, struct stream_content *block, struct cairn_error *error)
{
	const unsigned char *p = r->in.data;
	uint32_t stored = le32_get(p + 16), plain = le32_get(p + 20);
	struct cairn_slice bytes = cairn_slice(p + STREAM_BLOCK_HEAD, stored);

	if (le32_get(p + 24) != crc32c(crc32c(0, p, 24), bytes.data, stored))
		return damaged(r, error, "the checksum of a block does not fit");
	if (le64_get(p + 8) != r->sequence)
		return damaged(r, error, "blocks are missing, or stand in another order");
	if (p[5] == STREAM_ZSTD && !stream_can_compress()) {
		cairn_fail(error, CAIRN_E_UNSUPPORTED,
			   "the stream is compressed with zstd, and this build of cairn has no zstd");
		cairn_hint(error, "use a build with zstd, or save with --plain");
		return -1;
	}
	if (p[5] == STREAM_ZSTD) {
		r->plain.len = 0;
		if (!buffer_room(&r->plain, plain))
			return no_memory(error);
		if (!decompress(r, bytes, r->plain.data, plain))
			return damaged(r, error, "a block cannot be decompressed");
		bytes = buffer_slice(&r->plain);
	} else if (p[5] != STREAM_PLAIN || stored != plain) {
		return damaged(r, error, "a block is in no form that is known");
	}
	if ((r->sequence == 0) != (p[4] == STREAM_FACTS) || p[4] < STREAM_FACTS || p[4] > STREAM_END)
		return damaged(r, error, "a block has no kind that may stand here");
	*block = (struct stream_content){ p[4], r->offset, STREAM_BLOCK_HEAD + stored, bytes };
	r->ended = p[4] == STREAM_END;
	return 1;
}

int stream_take(struct stream_reader *r, struct cairn_slice *in, struct stream_content *block,
		struct cairn_error *error)
{
	int there;

	if (!r->begun && (there = take_head(r, in, error)) <= 0)
		return there;
	if (r->ended)
		return in->len ? damaged(r, error, "something stands behind the end") : 0;
	there = collect(r, in, STREAM_BLOCK_HEAD, error);
	if (there > 0 && check_block_head(r, error) < 0)
		return -1;
	if (there > 0)
		there = collect(r, in, STREAM_BLOCK_HEAD + le32_get(r->in.data + 16), error);
	if (there <= 0)
		return there;
	there = open_block(r, block, error);
	if (there > 0) {
		r->offset += block->stored;
		r->sequence++;
		r->in.len = 0;
	}
	return there;
}

enum cairn_code stream_ends(const struct stream_reader *r, struct cairn_error *error)
{
	if (r->ended)
		return CAIRN_OK;
	if (!r->begun && !r->in.len)
		return cairn_fail(error, CAIRN_E_INVALID, "this is no stream of cairn: it is empty");
	return cairn_fail(error, CAIRN_E_CORRUPT, "the stream is cut off at byte %llu",
			  (unsigned long long)(r->offset + r->in.len));
}
