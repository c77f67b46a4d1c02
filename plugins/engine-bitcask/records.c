/*
 * Encoding and decoding of every structure, and the reader of batches. Nothing that is read is trusted
 * before its checksum fits; lengths are compared with what there is before they are followed.
 */
#include <errno.h>
#include <stdlib.h>
#include "records.h"
#include "crc32c.h"
#include "le.h"
#include "banned.h"

#define VERSION 1
#define MAGIC(a, b, c, d) ((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)
#define FILE_MAGIC MAGIC('C', 'N', 'B', 'D')
#define BATCH_MAGIC MAGIC('C', 'N', 'B', 'B')
#define HINT_MAGIC MAGIC('C', 'N', 'B', 'H')
#define MANIFEST_MAGIC MAGIC('C', 'N', 'B', 'M')
#define WINDOW ((size_t)1 << 20) /* bytes searched at once */

/* Checksum of LEN bytes at P with those at 12 taken as 0. */
static uint32_t crc_without_12(const unsigned char *p, size_t len)
{
	static const unsigned char zeros[4];
	uint32_t crc = crc32c(0, p, 12);

	crc = crc32c(crc, zeros, 4);
	return crc32c(crc, p + 16, len - 16);
}

/* Magic, version and checksum of the LEN bytes at P. 0, -EINVAL, -EPROTONOSUPPORT. */
static int check_head(const unsigned char *p, size_t len, uint32_t magic)
{
	if (le32_get(p) != magic || le32_get(p + 12) != crc_without_12(p, len))
		return -EINVAL;
	return le16_get(p + 4) == VERSION ? 0 : -EPROTONOSUPPORT;
}

void record_file_head_put(unsigned char bytes[RECORD_FILE_HEAD], const struct record_file_head *h)
{
	memset(bytes, 0, RECORD_FILE_HEAD);
	le32_put(bytes, FILE_MAGIC);
	le16_put(bytes + 4, VERSION);
	le32_put(bytes + 8, h->id);
	le64_put(bytes + 16, h->epoch);
	le64_put(bytes + 24, h->sequence);
	le64_put(bytes + 32, h->index);
	le64_put(bytes + 40, h->term);
	le64_put(bytes + 48, h->rank);
	le32_put(bytes + 12, crc_without_12(bytes, RECORD_FILE_HEAD));
}

int record_file_head_get(const unsigned char bytes[RECORD_FILE_HEAD], struct record_file_head *h)
{
	*h = (struct record_file_head){ le32_get(bytes + 8),  le64_get(bytes + 16), le64_get(bytes + 24),
					le64_get(bytes + 32), le64_get(bytes + 40), le64_get(bytes + 48) };
	return check_head(bytes, RECORD_FILE_HEAD, FILE_MAGIC);
}

/* ---- Batches ---- */

/* The checksum of a batch; *GOOD says whether its entries, with CHECK their checksums too, are what H says.
 */
static uint32_t batch_crc(const unsigned char *batch, const struct record_batch_head *h, uint64_t epoch,
			  bool check, bool *good)
{
	struct cairn_slice rest = cairn_slice(batch + RECORD_BATCH_HEAD, h->length);
	unsigned char seed[8];
	uint32_t crc, count = 0;

	le64_put(seed, epoch);
	crc = crc32c(0, seed, sizeof(seed));
	crc = crc32c(crc, batch + 8, RECORD_BATCH_HEAD - 8);
	while (rest.len) {
		struct record_entry e;

		if (record_entry_get(rest, check, &e)) {
			*good = false;
			return 0;
		}
		crc = crc32c(crc, rest.data, 4);
		rest = cairn_slice((const char *)rest.data + e.length, rest.len - e.length);
		count++;
	}
	*good = count == h->count;
	return crc;
}

void record_batch_seal(unsigned char *batch, const struct record_batch_head *h, uint64_t epoch)
{
	bool good;

	le32_put(batch, BATCH_MAGIC);
	le64_put(batch + 8, h->sequence);
	le64_put(batch + 16, h->durable);
	le64_put(batch + 24, h->index);
	le64_put(batch + 32, h->term);
	le32_put(batch + 40, h->length);
	le32_put(batch + 44, h->count);
	le32_put(batch + 4, batch_crc(batch, h, epoch, false, &good));
}

bool record_batch_head_get(const unsigned char bytes[RECORD_BATCH_HEAD], struct record_batch_head *h)
{
	if (le32_get(bytes) != BATCH_MAGIC)
		return false;
	*h = (struct record_batch_head){ .sequence = le64_get(bytes + 8),
					 .durable = le64_get(bytes + 16),
					 .index = le64_get(bytes + 24),
					 .term = le64_get(bytes + 32),
					 .length = le32_get(bytes + 40),
					 .count = le32_get(bytes + 44),
					 .crc = le32_get(bytes + 4) };
	return h->length <= RECORD_BATCH_MAX && h->count <= h->length / RECORD_ENTRY_HEAD;
}

bool record_batch_whole(const unsigned char *batch, const struct record_batch_head *h, uint64_t epoch)
{
	bool good;

	return batch_crc(batch, h, epoch, true, &good) == h->crc && good;
}

void record_entry_seal(unsigned char *entry, enum record_kind kind, unsigned flags, size_t key_len,
		       size_t value_len)
{
	entry[4] = (unsigned char)kind;
	entry[5] = (unsigned char)flags;
	le16_put(entry + 6, (uint16_t)key_len);
	le32_put(entry + 8, (uint32_t)value_len);
	le32_put(entry, crc32c(0, entry + 4, RECORD_ENTRY_HEAD - 4 + key_len + value_len));
}

int record_entry_get(struct cairn_slice bytes, bool check, struct record_entry *e)
{
	const unsigned char *p = bytes.data;
	uint64_t length;

	e->length = 0;
	if (bytes.len < RECORD_ENTRY_HEAD)
		return -ENODATA;
	e->kind = p[4];
	e->flags = p[5];
	e->key = cairn_slice(p + RECORD_ENTRY_HEAD, le16_get(p + 6));
	e->value = cairn_slice(p + RECORD_ENTRY_HEAD + e->key.len, le32_get(p + 8));
	length = RECORD_ENTRY_HEAD + e->key.len + (uint64_t)e->value.len;
	if ((e->kind != RECORD_PUT && e->kind != RECORD_DELETE) || e->flags > RECORD_ZSTD ||
	    e->key.len == 0 || e->key.len > RECORD_KEY_MAX || length > RECORD_BATCH_MAX ||
	    (e->kind == RECORD_DELETE && e->value.len))
		return -EINVAL;
	e->length = (uint32_t)length;
	if (length > bytes.len)
		return -ENODATA;
	return check && le32_get(p) != crc32c(0, p + 4, e->length - 4) ? -EINVAL : 0;
}

/* ---- Hints ---- */

void record_hint_seal(unsigned char *hint, size_t len, const struct record_hint_head *h)
{
	memset(hint, 0, RECORD_HINT_HEAD);
	le32_put(hint, HINT_MAGIC);
	le16_put(hint + 4, VERSION);
	le32_put(hint + 8, h->id);
	le64_put(hint + 16, h->epoch);
	le64_put(hint + 24, h->size);
	le64_put(hint + 32, h->sequence);
	le64_put(hint + 40, h->index);
	le64_put(hint + 48, h->term);
	le32_put(hint + 56, h->count);
	le32_put(hint + 12, crc_without_12(hint, len));
}

bool record_hint_get(struct cairn_slice hint, struct record_hint_head *h)
{
	const unsigned char *p = hint.data;
	struct cairn_slice rest;
	struct record_hint e;
	uint32_t count = 0;
	uint64_t end = RECORD_FILE_HEAD;

	if (hint.len < RECORD_HINT_HEAD || check_head(p, hint.len, HINT_MAGIC))
		return false;
	*h = (struct record_hint_head){ le32_get(p + 8),  le32_get(p + 56), le64_get(p + 16),
					le64_get(p + 24), le64_get(p + 32), le64_get(p + 40),
					le64_get(p + 48) };
	rest = cairn_slice(p + RECORD_HINT_HEAD, hint.len - RECORD_HINT_HEAD);
	while (record_hint_next(&rest, &e)) {
		uint64_t least = RECORD_ENTRY_HEAD + e.key.len;

		if (e.offset < end || e.length < least || (e.kind != RECORD_PUT && e.kind != RECORD_DELETE) ||
		    e.key.len == 0 || e.key.len > RECORD_KEY_MAX)
			return false;
		end = (uint64_t)e.offset + e.length;
		count++;
	}
	return rest.len == 0 && count == h->count && end <= h->size;
}

unsigned char *record_hint_put(unsigned char *p, const struct record_hint *e)
{
	le32_put(p, e->offset);
	le32_put(p + 4, e->length);
	p[8] = (unsigned char)e->kind;
	p[9] = 0;
	le16_put(p + 10, (uint16_t)e->key.len);
	memcpy(p + RECORD_HINT_ENTRY, e->key.data, e->key.len);
	return p + RECORD_HINT_ENTRY + e->key.len;
}

bool record_hint_next(struct cairn_slice *rest, struct record_hint *e)
{
	const unsigned char *p = rest->data;
	size_t len;

	if (rest->len < RECORD_HINT_ENTRY)
		return false;
	len = RECORD_HINT_ENTRY + (size_t)le16_get(p + 10);
	if (rest->len < len)
		return false;
	*e = (struct record_hint){ le32_get(p), le32_get(p + 4), p[8],
				   cairn_slice(p + RECORD_HINT_ENTRY, len - RECORD_HINT_ENTRY) };
	*rest = cairn_slice(p + len, rest->len - len);
	return true;
}

/* ---- Manifest ---- */

void record_manifest_put(unsigned char *bytes, const struct record_row *rows, uint32_t count,
			 uint32_t next_id)
{
	memset(bytes, 0, RECORD_MANIFEST_HEAD + (size_t)count * RECORD_MANIFEST_ROW);
	le32_put(bytes, MANIFEST_MAGIC);
	le16_put(bytes + 4, VERSION);
	le32_put(bytes + 8, count);
	le32_put(bytes + 16, next_id);
	for (uint32_t i = 0; i < count; i++) {
		unsigned char *p = bytes + RECORD_MANIFEST_HEAD + (size_t)i * RECORD_MANIFEST_ROW;

		le32_put(p, rows[i].id);
		le64_put(p + 8, rows[i].size);
		le64_put(p + 16, rows[i].epoch);
	}
	le32_put(bytes + 12,
		 crc_without_12(bytes, RECORD_MANIFEST_HEAD + (size_t)count * RECORD_MANIFEST_ROW));
}

int record_manifest_get(struct cairn_slice bytes, uint32_t *count, uint32_t *next_id)
{
	const unsigned char *p = bytes.data;
	int r = bytes.len < RECORD_MANIFEST_HEAD ? -EINVAL : check_head(p, bytes.len, MANIFEST_MAGIC);

	if (r)
		return r;
	*count = le32_get(p + 8);
	*next_id = le32_get(p + 16);
	return *count && bytes.len == RECORD_MANIFEST_HEAD + (uint64_t)*count * RECORD_MANIFEST_ROW ? 0
												    : -EINVAL;
}

struct record_row record_manifest_row(struct cairn_slice bytes, uint32_t at)
{
	const unsigned char *p =
		(const unsigned char *)bytes.data + RECORD_MANIFEST_HEAD + (size_t)at * RECORD_MANIFEST_ROW;

	return (struct record_row){ le32_get(p), le64_get(p + 8), le64_get(p + 16) };
}

/* ---- Scans ---- */

/* Have LEN bytes at AT in s->data. 1; 0: there are fewer; -errno. */
static int fetch(struct record_scan *s, uint64_t at, size_t len)
{
	int64_t n;

	if (at > s->source.size || len > s->source.size - at)
		return 0;
	if (len > s->cap) {
		size_t cap = len > 2 * s->cap ? len : 2 * s->cap;
		unsigned char *more = realloc(s->data, cap);

		if (!more)
			return -ENOMEM;
		s->data = more;
		s->cap = cap;
	}
	n = s->source.read(s->source.arg, s->data, len, at);
	return n < 0 ? (int)n : n == (int64_t)len;
}

/* Read the batch at AT. 1, 0: there is none that is whole, -errno. */
static int batch_at(struct record_scan *s, uint64_t at, struct record_batch_head *h)
{
	int r = fetch(s, at, RECORD_BATCH_HEAD);

	if (r == 1)
		r = record_batch_head_get(s->data, h) ? fetch(s, at, RECORD_BATCH_HEAD + (size_t)h->length)
						      : 0;
	return r == 1 ? record_batch_whole(s->data, h, s->epoch) : r;
}

int record_scan_next(struct record_scan *s, struct record_batch_head *h, struct cairn_slice *entries)
{
	int r = batch_at(s, s->at, h);

	if (r != 1 || h->sequence != s->sequence)
		return r < 0 ? r : 0;
	*entries = cairn_slice(s->data + RECORD_BATCH_HEAD, h->length);
	s->at += RECORD_BATCH_HEAD + (uint64_t)h->length;
	s->sequence++;
	return 1;
}

/* Whether a batch with the head H proves that s->sequence was on disk. */
static bool proves(const struct record_scan *s, const struct record_batch_head *h)
{
	return h->sequence >= s->sequence && h->durable >= s->sequence && h->durable < h->sequence;
}

/* Look for a whole batch (PROOF: one that proves) at FROM or behind it. 1 with its place and head, 0, -errno.
 */
static int search(struct record_scan *s, uint64_t from, bool proof, uint64_t *where,
		  struct record_batch_head *h)
{
	unsigned char *window = malloc(WINDOW);
	int r = window ? 0 : -ENOMEM;

	for (uint64_t at = from; r == 0 && at + RECORD_BATCH_HEAD <= s->source.size;) {
		int64_t n = s->source.read(s->source.arg, window, WINDOW, at);
		size_t i = 0;

		if (n < RECORD_BATCH_HEAD) {
			r = n < 0 ? (int)n : 0;
			break;
		}
		for (; r == 0 && i + RECORD_BATCH_HEAD <= (size_t)n; i++) {
			const unsigned char *p =
				memchr(window + i, 'C', (size_t)n - RECORD_BATCH_HEAD - i + 1);

			if (!p) {
				i = (size_t)n - RECORD_BATCH_HEAD + 1;
				break;
			}
			i = (size_t)(p - window);
			if (record_batch_head_get(p, h) && (!proof || proves(s, h)))
				r = batch_at(s, *where = at + i, h);
		}
		at += i;
	}
	free(window);
	return r;
}

int record_scan_proof(struct record_scan *s, uint64_t *where)
{
	struct record_batch_head h;

	return search(s, s->at, true, where, &h);
}

int record_scan_salvage(struct record_scan *s, struct record_batch_head *h, struct cairn_slice *entries)
{
	unsigned char next[RECORD_BATCH_HEAD];
	struct record_batch_head after;
	uint64_t where = s->at, end;
	int r = batch_at(s, where, h), whole = 2;

	if (r == 0 && s->cap >= RECORD_BATCH_HEAD && fetch(s, where, RECORD_BATCH_HEAD) == 1 &&
	    record_batch_head_get(s->data, h)) { /* its length is right when another one begins behind it */
		end = where + RECORD_BATCH_HEAD + h->length;
		if (s->source.read(s->source.arg, next, sizeof(next), end) == RECORD_BATCH_HEAD &&
		    record_batch_head_get(next, &after)) {
			whole = 1;
			r = fetch(s, where, RECORD_BATCH_HEAD + (size_t)h->length);
		}
	}
	if (r == 0)
		r = search(s, where + 1, false, &where, h);
	if (r != 1)
		return r;
	*entries = cairn_slice(s->data + RECORD_BATCH_HEAD, h->length);
	s->at = where + RECORD_BATCH_HEAD + h->length;
	return whole;
}

void record_scan_end(struct record_scan *s)
{
	free(s->data);
	s->data = NULL;
	s->cap = 0;
}
