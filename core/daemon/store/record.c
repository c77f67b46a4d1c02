/*
 * Records to bytes and back. The reader believes nothing: lengths are checked against what is there, and a
 * value's length against its section. A section that is not known is skipped (later formats of the same
 * version).
 */
#include <errno.h>
#include "record.h"
#include "rows.h"
#include "fields.h"
#include "le.h"
#include "banned.h"

int record_head_decode(struct cairn_slice body, struct record_head *h)
{
	const unsigned char *p = body.data;

	if (body.len < RECORD_HEAD)
		return -EUCLEAN;
	h->revision = le64_get(p);
	h->time_ns = le64_get(p + 8);
	h->length = le64_get(p + 16);
	h->version = le64_get(p + 24);
	h->ordinal = le32_get(p + 32);
	h->kind = p[36];
	h->change = p[37];
	h->flags = le16_get(p + 38);
	return h->kind < CAIRN_KIND_COUNT ? 0 : -EUCLEAN;
}

static struct cairn_slice behind_head(struct cairn_slice body)
{
	return cairn_slice((const char *)body.data + RECORD_HEAD, body.len - RECORD_HEAD);
}

bool record_content(struct cairn_slice body, struct cairn_slice *content)
{
	struct cairn_slice sections = behind_head(body), section;
	unsigned tag;

	*content = cairn_slice(NULL, 0);
	if (!field_take(&sections, &tag, &section) || tag == RECORD_CHUNKS)
		return false;
	if (tag == RECORD_CONTENT)
		*content = section;
	return content->len == le64_get((const char *)body.data + 16);
}

static int take_number(struct cairn_slice section, uint64_t *number)
{
	if (section.len != 8)
		return -EUCLEAN;
	*number = le64_get(section.data);
	return 0;
}

static int take_section(struct record *r, unsigned tag, struct cairn_slice s)
{
	switch (tag) {
	case RECORD_CONTENT:
		r->content = s;
		return s.len == r->head.length ? 0 : -EUCLEAN;
	case RECORD_CHUNKS:
		r->chunks = s;
		return s.len && s.len % PIECE_BYTES == 0 ? 0 : -EUCLEAN;
	case RECORD_CREATED:
		return take_number(s, &r->create_revision);
	case RECORD_PREVIOUS:
		if (s.len != 12)
			return -EUCLEAN;
		r->previous_revision = le64_get(s.data);
		r->previous_ordinal = le32_get((const char *)s.data + 8);
		return 0;
	case RECORD_EXPIRY:
		return take_number(s, &r->expiry_ns);
	case RECORD_FILE_ID:
		return take_number(s, &r->file_id);
	case RECORD_ATTRIBUTES:
		r->attributes = s;
		return s.len <= RECORD_ATTRIBUTES_MAX ? 0 : -EUCLEAN;
	case RECORD_AUTHOR:
		r->author = s;
		return 0;
	case RECORD_FACE:
		r->face = s;
		return 0;
	case RECORD_SINCE:
		return take_number(s, &r->since);
	case RECORD_OTHER:
		r->other = s;
		return 0;
	case RECORD_DATA_VERSION:
		return take_number(s, &r->data_version);
	}
	return 0;
}

int record_decode(struct cairn_slice body, struct record *r)
{
	struct cairn_slice sections, section;
	unsigned tag;
	int e;

	*r = (struct record){ 0 };
	e = record_head_decode(body, &r->head);
	if (e < 0)
		return e;
	r->create_revision = r->head.revision;
	sections = behind_head(body);
	for (;;) {
		if (!field_take(&sections, &tag, &section))
			return -EUCLEAN;
		if (tag == 0)
			break;
		e = take_section(r, tag, section);
		if (e < 0)
			return e;
	}
	r->since = r->since ? r->since : r->create_revision;
	r->data_version = r->data_version ? r->data_version : r->head.version;
	if (!(r->head.flags & RECORD_EXPIRES) != !r->expiry_ns)
		return -EUCLEAN;
	if (r->head.flags & RECORD_DERIVED)
		return r->chunks.len || r->content.len ? -EUCLEAN : 0;
	if (r->chunks.len ? r->content.len != 0 : r->content.len != r->head.length)
		return -EUCLEAN;
	return 0;
}

static size_t section_size(size_t len)
{
	return len ? RECORD_SECTION_HEAD + len : 0;
}

static bool has_created(const struct record *r)
{
	return r->create_revision != r->head.revision;
}

static bool has_since(const struct record *r)
{
	return r->since && r->since != r->create_revision;
}

static bool has_data_version(const struct record *r)
{
	return r->data_version && r->data_version != r->head.version;
}

size_t record_size(const struct record *r)
{
	return RECORD_HEAD + section_size(r->content.len) + section_size(r->chunks.len) +
		section_size(has_created(r) ? 8 : 0) + section_size(r->previous_revision ? 12 : 0) +
		section_size(r->expiry_ns ? 8 : 0) + section_size(8) + section_size(r->attributes.len) +
		section_size(r->author.len) + section_size(r->face.len) + section_size(has_since(r) ? 8 : 0) +
		section_size(r->other.len) + section_size(has_data_version(r) ? 8 : 0);
}

static unsigned char *section_head(unsigned char *p, unsigned tag, size_t len)
{
	le32_put(p, (uint32_t)(tag | len << 8));
	return p + RECORD_SECTION_HEAD;
}

static unsigned char *put_bytes(unsigned char *p, unsigned tag, struct cairn_slice s)
{
	if (!s.len)
		return p;
	p = section_head(p, tag, s.len);
	memcpy(p, s.data, s.len);
	return p + s.len;
}

static unsigned char *put_number(unsigned char *p, unsigned tag, uint64_t v)
{
	p = section_head(p, tag, 8);
	le64_put(p, v);
	return p + 8;
}

void record_encode(const struct record *r, unsigned char *p)
{
	le64_put(p, r->head.revision);
	le64_put(p + 8, r->head.time_ns);
	le64_put(p + 16, r->head.length);
	le64_put(p + 24, r->head.version);
	le32_put(p + 32, r->head.ordinal);
	p[36] = r->head.kind;
	p[37] = r->head.change;
	le16_put(p + 38, (uint16_t)((r->head.flags & ~RECORD_EXPIRES) | (r->expiry_ns ? RECORD_EXPIRES : 0)));
	p += RECORD_HEAD;
	p = put_bytes(p, RECORD_CONTENT, r->content);
	p = put_bytes(p, RECORD_CHUNKS, r->chunks);
	if (has_created(r))
		p = put_number(p, RECORD_CREATED, r->create_revision);
	if (r->previous_revision) {
		p = section_head(p, RECORD_PREVIOUS, 12);
		le64_put(p, r->previous_revision);
		le32_put(p + 8, r->previous_ordinal);
		p += 12;
	}
	if (r->expiry_ns)
		p = put_number(p, RECORD_EXPIRY, r->expiry_ns);
	p = put_number(p, RECORD_FILE_ID, r->file_id);
	p = put_bytes(p, RECORD_ATTRIBUTES, r->attributes);
	p = put_bytes(p, RECORD_AUTHOR, r->author);
	p = put_bytes(p, RECORD_FACE, r->face);
	if (has_since(r))
		p = put_number(p, RECORD_SINCE, r->since);
	p = put_bytes(p, RECORD_OTHER, r->other);
	if (has_data_version(r))
		put_number(p, RECORD_DATA_VERSION, r->data_version);
}
