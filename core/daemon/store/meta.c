/* The meta row to bytes and back, one table of fields in their order on disk. */
#include <errno.h>
#include "meta.h"
#include "crc32c.h"
#include "le.h"
#include "banned.h"

/* Offsets of the 64-bit members in the order of rows.md; DIGESTED ones come last, from FIRST_DIGESTED on. */
static const unsigned short members[] = {
	offsetof(struct meta, position.index),  offsetof(struct meta, position.term),
	offsetof(struct meta, configuration),   offsetof(struct meta, history_used),
	offsetof(struct meta, reclaimed),       offsetof(struct meta, revision),
	offsetof(struct meta, clock_ns),        offsetof(struct meta, floor),
	offsetof(struct meta, request_floor),   offsetof(struct meta, next_file_id),
	offsetof(struct meta, next_chunk),      offsetof(struct meta, keys),
	offsetof(struct meta, bytes),           offsetof(struct meta, staged),
	offsetof(struct meta, clients),         offsetof(struct meta, request_bytes),
	offsetof(struct meta, key_max),         offsetof(struct meta, value_limit),
	offsetof(struct meta, inline_max),      offsetof(struct meta, chunk_max),
	offsetof(struct meta, bulk_keys),       offsetof(struct meta, bulk_bytes),
	offsetof(struct meta, history),         offsetof(struct meta, history_age_ns),
	offsetof(struct meta, history_bytes),   offsetof(struct meta, quota),
	offsetof(struct meta, history_from_ns), offsetof(struct meta, history_before),
	offsetof(struct meta, history_since),   offsetof(struct meta, rows.lo),
	offsetof(struct meta, rows.hi),
};

enum { MEMBERS = sizeof(members) / sizeof(members[0]), FIRST_DIGESTED = 5, HEAD = 8 };

_Static_assert(HEAD + MEMBERS * 8 + 8 == META_BYTES, "rows.md says how long the meta row is");

void meta_encode(const struct meta *m, unsigned char body[META_BYTES])
{
	le32_put(body, META_FORMAT);
	le32_put(body + 4, m->flags);
	for (unsigned i = 0; i < MEMBERS; i++) {
		uint64_t v;

		memcpy(&v, (const char *)m + members[i], 8);
		le64_put(body + HEAD + i * 8, v);
	}
	le32_put(body + META_BYTES - 8, 0);
	le32_put(body + META_BYTES - 4, crc32c(0, body, META_BYTES - 4));
}

int meta_decode(struct cairn_slice body, struct meta *m, uint32_t *format)
{
	const unsigned char *p = body.data;

	if (body.len < 4)
		return -EUCLEAN;
	*format = le32_get(p);
	if (*format != META_FORMAT)
		return *format > META_FORMAT || *format == 1 ? -EPROTONOSUPPORT : -EUCLEAN;
	if (body.len != META_BYTES || le32_get(p + META_BYTES - 4) != crc32c(0, p, META_BYTES - 4))
		return -EUCLEAN;
	m->flags = le32_get(p + 4);
	for (unsigned i = 0; i < MEMBERS; i++) {
		uint64_t v = le64_get(p + HEAD + i * 8);

		memcpy((char *)m + members[i], &v, 8);
	}
	return 0;
}

void meta_digest(const struct meta *m, unsigned char digest[16])
{
	unsigned char body[META_BYTES];
	struct hash sum = m->rows;

	meta_encode(m, body);
	hash_add(&sum,
		 hash_two(cairn_str(m->flags & META_FOLDERS ? "mf" : "m"),
			  cairn_slice(body + HEAD + FIRST_DIGESTED * 8, (MEMBERS - 2 - FIRST_DIGESTED) * 8)));
	be64_put(digest, sum.hi);
	be64_put(digest + 8, sum.lo);
}
