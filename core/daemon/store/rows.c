/*
 * Keys and small bodies of rows. Numbers in keys are big-endian, so that they order; numbers in bodies are
 * little-endian. A body of the wrong length is -EUCLEAN: damage, or another format.
 */
#include <errno.h>
#include "rows.h"
#include "crc32c.h"
#include "le.h"
#include "banned.h"

struct cairn_slice row_key(unsigned char *buffer, enum row_tag tag, struct cairn_slice rest)
{
	buffer[0] = (unsigned char)tag;
	if (rest.len)
		memcpy(buffer + 1, rest.data, rest.len);
	return cairn_slice(buffer, 1 + rest.len);
}

struct cairn_slice row_chunk_key(unsigned char buffer[ROW_CHUNK_KEY], enum row_tag tag, uint64_t id)
{
	buffer[0] = (unsigned char)tag;
	be64_put(buffer + 1, id);
	return cairn_slice(buffer, ROW_CHUNK_KEY);
}

struct cairn_slice row_change_key(unsigned char buffer[ROW_CHANGE_KEY], uint64_t revision, uint32_t ordinal)
{
	buffer[0] = ROW_CHANGE;
	be64_put(buffer + 1, revision);
	be32_put(buffer + 9, ordinal);
	return cairn_slice(buffer, ROW_CHANGE_KEY);
}

struct change_place row_change_place(struct cairn_slice key)
{
	return (struct change_place){ be64_get((const char *)key.data + 1),
				      be32_get((const char *)key.data + 9) };
}

struct cairn_slice row_piece_key(unsigned char buffer[ROW_PIECE_KEY], struct cairn_slice upload,
				 uint32_t index)
{
	buffer[0] = ROW_UPLOAD;
	memcpy(buffer + 1, upload.data, 16);
	be32_put(buffer + 17, index);
	return cairn_slice(buffer, ROW_PIECE_KEY);
}

struct cairn_slice row_prefix_end(unsigned char *buffer, struct cairn_slice prefix)
{
	size_t n = prefix.len;

	if (n)
		memcpy(buffer, prefix.data, n);
	while (n && buffer[n - 1] == 0xff)
		n--;
	if (n)
		buffer[n - 1]++;
	return cairn_slice(buffer, n);
}

uint32_t row_checksum(struct cairn_slice key, struct cairn_slice body)
{
	return crc32c(crc32c(0, key.data, key.len), body.data, body.len);
}

int row_verify(struct cairn_slice key, struct cairn_slice value, struct cairn_slice *body)
{
	if (value.len < ROW_CHECKSUM)
		return -EUCLEAN;
	*body = cairn_slice(value.data, value.len - ROW_CHECKSUM);
	return le32_get((const char *)value.data + body->len) == row_checksum(key, *body) ? 0 : -EUCLEAN;
}

void folder_encode(const struct folder *f, unsigned char body[FOLDER_BYTES])
{
	le64_put(body, f->children);
	le64_put(body + 8, f->subfolders);
	le64_put(body + 16, f->list_revision);
	le64_put(body + 24, f->list_time_ns);
	body[32] = f->marker;
}

int folder_decode(struct cairn_slice body, struct folder *f)
{
	const unsigned char *p = body.data;

	if (body.len != FOLDER_BYTES)
		return -EUCLEAN;
	*f = (struct folder){
		.children = le64_get(p),
		.subfolders = le64_get(p + 8),
		.list_revision = le64_get(p + 16),
		.list_time_ns = le64_get(p + 24),
		.marker = p[32] & 1,
	};
	return 0;
}

void piece_encode(const struct piece *p, unsigned char body[PIECE_BYTES])
{
	le64_put(body, p->chunk);
	le64_put(body + 8, p->hash);
	le32_put(body + 16, p->length);
}

void piece_decode(const void *body, struct piece *p)
{
	const unsigned char *b = body;

	*p = (struct piece){ .chunk = le64_get(b), .hash = le64_get(b + 8), .length = le32_get(b + 16) };
}

size_t change_size(const struct change *c)
{
	return CHANGE_HEAD + c->key.len + c->other.len + c->record.len;
}

void change_encode(const struct change *c, unsigned char *body)
{
	le64_put(body, c->time_ns);
	le64_put(body + 8, c->next_revision);
	le64_put(body + 16, c->next_time_ns);
	le64_put(body + 24, c->held);
	le32_put(body + 32, c->next_ordinal);
	body[36] = c->kind;
	body[37] = c->flags;
	le16_put(body + 38, (uint16_t)c->key.len);
	le16_put(body + 40, (uint16_t)c->other.len);
	le16_put(body + 42, 0);
	body += CHANGE_HEAD;
	if (c->key.len)
		memcpy(body, c->key.data, c->key.len);
	if (c->other.len)
		memcpy(body + c->key.len, c->other.data, c->other.len);
	if (c->record.len)
		memcpy(body + c->key.len + c->other.len, c->record.data, c->record.len);
}

int change_decode(struct cairn_slice body, struct change *c)
{
	const unsigned char *p = body.data;
	size_t key, other;

	if (body.len < CHANGE_HEAD)
		return -EUCLEAN;
	key = le16_get(p + 38);
	other = le16_get(p + 40);
	if (body.len < CHANGE_HEAD + key + other)
		return -EUCLEAN;
	*c = (struct change){
		.time_ns = le64_get(p),
		.next_revision = le64_get(p + 8),
		.next_time_ns = le64_get(p + 16),
		.held = le64_get(p + 24),
		.next_ordinal = le32_get(p + 32),
		.kind = p[36],
		.flags = p[37],
		.key = cairn_slice(p + CHANGE_HEAD, key),
		.other = cairn_slice(p + CHANGE_HEAD + key, other),
		.record = cairn_slice(p + CHANGE_HEAD + key + other, body.len - CHANGE_HEAD - key - other),
	};
	return !c->record.len == !c->next_revision ? 0 : -EUCLEAN;
}

void upload_encode(const struct upload *u, unsigned char body[UPLOAD_BYTES])
{
	le64_put(body, u->time_ns);
	le64_put(body + 8, u->bytes);
	le32_put(body + 16, u->pieces);
}

int upload_decode(struct cairn_slice body, struct upload *u)
{
	const unsigned char *p = body.data;

	if (body.len != UPLOAD_BYTES)
		return -EUCLEAN;
	*u = (struct upload){ .time_ns = le64_get(p), .bytes = le64_get(p + 8), .pieces = le32_get(p + 16) };
	return 0;
}
