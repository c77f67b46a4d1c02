/*
 * Messages: building them into one growing buffer, and taking fields off bytes that may come from anywhere.
 * A builder's failure is sticky, so callers build a whole message and look once at the end.
 */
#include <errno.h>
#include <stdlib.h>
#include <cairn/message.h>
#include "fields.h"
#include "le.h"
#include "banned.h"

static const struct cairn_field_row rows[CAIRN_FIELD_COUNT] = {
#define X(number, id, json, type, meaning) [number] = { json, CAIRN_T_##type, meaning },
	CAIRN_FIELDS(X)
#undef X
};

_Static_assert(CAIRN_FIELD_COUNT <= 256, "a field's identifier is one byte");

const char *cairn_type_name(enum cairn_type type)
{
	static const char *const names[] = {
		[CAIRN_T_BYTES] = "bytes",    [CAIRN_T_TEXT] = "text",
		[CAIRN_T_U64] = "number",     [CAIRN_T_I64] = "signed number",
		[CAIRN_T_BOOL] = "yes or no", [CAIRN_T_TIME] = "time",
		[CAIRN_T_ID] = "id",          [CAIRN_T_KIND] = "kind",
		[CAIRN_T_OBJECT] = "object",  [CAIRN_T_LIST] = "list",
		[CAIRN_T_TEXTS] = "texts",    [CAIRN_T_OPERATIONS] = "operations",
	};

	return names[type];
}

const struct cairn_field_row *cairn_field_row(unsigned field)
{
	return field < CAIRN_FIELD_COUNT && rows[field].json ? &rows[field] : NULL;
}

const char *cairn_kind_name(unsigned kind)
{
	static const char *const names[CAIRN_KIND_COUNT] = {
		"value", "directory", "symlink", "fifo", "socket", "character", "block",
	};

	return kind < CAIRN_KIND_COUNT ? names[kind] : "?";
}

static unsigned char *grow(struct cairn_msg *m, size_t n)
{
	if (m->error)
		return NULL;
	if (m->cap - m->len < n) {
		size_t cap = m->cap ? m->cap * 2 : 256;
		unsigned char *p;

		while (cap - m->len < n)
			cap *= 2;
		p = realloc(m->data, cap);
		if (!p) {
			m->error = -ENOMEM;
			return NULL;
		}
		m->data = p;
		m->cap = cap;
	}
	m->len += n;
	return m->data + m->len - n;
}

void cairn_msg_start(struct cairn_msg *m, unsigned number)
{
	unsigned char *p;

	m->len = 0;
	m->error = 0;
	p = grow(m, CAIRN_MESSAGE_HEAD);
	if (p) {
		p[0] = CAIRN_MESSAGE_VERSION;
		p[1] = 0;
		le16_put(p + 2, (uint16_t)number);
	}
}

void cairn_msg_free(struct cairn_msg *m)
{
	free(m->data);
	*m = (struct cairn_msg){ 0 };
}

int cairn_msg_error(const struct cairn_msg *m)
{
	return m->error;
}

void *cairn_msg_room(struct cairn_msg *m, unsigned field, size_t len)
{
	unsigned char *p;

	if (len > CAIRN_FIELD_MAX && !m->error)
		m->error = -EMSGSIZE;
	p = grow(m, CAIRN_FIELD_HEAD + len);
	if (!p)
		return NULL;
	le32_put(p, (uint32_t)(field | len << 8));
	return p + CAIRN_FIELD_HEAD;
}

void cairn_msg_bytes(struct cairn_msg *m, unsigned field, struct cairn_slice body)
{
	void *p = cairn_msg_room(m, field, body.len);

	if (p && body.len)
		memcpy(p, body.data, body.len);
}

void cairn_msg_text(struct cairn_msg *m, unsigned field, const char *text)
{
	cairn_msg_bytes(m, field, cairn_str(text));
}

void cairn_msg_u64(struct cairn_msg *m, unsigned field, uint64_t v)
{
	void *p = cairn_msg_room(m, field, 8);

	if (p)
		le64_put(p, v);
}

static void one_byte(struct cairn_msg *m, unsigned field, unsigned char v)
{
	unsigned char *p = cairn_msg_room(m, field, 1);

	if (p)
		*p = v;
}

void cairn_msg_bool(struct cairn_msg *m, unsigned field, bool v)
{
	one_byte(m, field, v);
}

void cairn_msg_kind(struct cairn_msg *m, unsigned field, unsigned kind)
{
	one_byte(m, field, (unsigned char)kind);
}

void cairn_msg_fields(struct cairn_msg *m, struct cairn_slice fields)
{
	unsigned char *p = grow(m, fields.len);

	if (p && fields.len)
		memcpy(p, fields.data, fields.len);
}

size_t cairn_msg_open(struct cairn_msg *m, unsigned field)
{
	size_t mark = m->len;

	cairn_msg_room(m, field, 0);
	return mark;
}

size_t cairn_msg_open_op(struct cairn_msg *m, unsigned field, unsigned number)
{
	size_t mark = cairn_msg_open(m, field);
	unsigned char *p = grow(m, CAIRN_MESSAGE_HEAD);

	if (p) {
		p[0] = CAIRN_MESSAGE_VERSION;
		p[1] = 0;
		le16_put(p + 2, (uint16_t)number);
	}
	return mark;
}

void cairn_msg_close(struct cairn_msg *m, size_t mark)
{
	size_t len;

	if (m->error)
		return;
	len = m->len - mark - CAIRN_FIELD_HEAD;
	if (len > CAIRN_FIELD_MAX)
		m->error = -EMSGSIZE;
	else
		le32_put(m->data + mark, (uint32_t)(m->data[mark] | len << 8));
}

void cairn_msg_truncate(struct cairn_msg *m, size_t mark)
{
	if (mark <= m->len)
		m->len = mark;
}

unsigned cairn_message_number(struct cairn_slice message)
{
	const unsigned char *p = message.data;

	if (message.len < CAIRN_MESSAGE_HEAD || p[0] != CAIRN_MESSAGE_VERSION)
		return 0;
	return le16_get(p + 2);
}

struct cairn_slice cairn_message_fields(struct cairn_slice message)
{
	if (message.len <= CAIRN_MESSAGE_HEAD)
		return cairn_slice(NULL, 0);
	return cairn_slice((const char *)message.data + CAIRN_MESSAGE_HEAD, message.len - CAIRN_MESSAGE_HEAD);
}

int cairn_field_next(struct cairn_slice *fields, unsigned *field, struct cairn_slice *body)
{
	return field_take(fields, field, body) ? 0 : -EBADMSG;
}

bool cairn_field_find(struct cairn_slice fields, unsigned field, struct cairn_slice *body)
{
	struct cairn_slice b;
	unsigned f;

	while (cairn_field_next(&fields, &f, &b) == 0 && f != CAIRN_F_END)
		if (f == field) {
			*body = b;
			return true;
		}
	return false;
}

uint64_t cairn_body_u64(struct cairn_slice body)
{
	return body.len == 8 ? le64_get(body.data) : 0;
}

uint64_t cairn_field_u64(struct cairn_slice fields, unsigned field, uint64_t otherwise)
{
	struct cairn_slice body;

	return cairn_field_find(fields, field, &body) ? cairn_body_u64(body) : otherwise;
}

bool cairn_field_bool(struct cairn_slice fields, unsigned field, bool otherwise)
{
	struct cairn_slice body;

	return cairn_field_find(fields, field, &body) ? body.len == 1 && *(const char *)body.data : otherwise;
}

static int check_body(unsigned field, struct cairn_slice body, unsigned *where, int depth);

static int check_fields(struct cairn_slice fields, unsigned *where, int depth)
{
	struct cairn_slice body;
	unsigned field;

	for (;;) {
		int r = cairn_field_next(&fields, &field, &body);

		if (r == 0 && field == CAIRN_F_END)
			return 0;
		if (r == 0)
			r = check_body(field, body, where, depth);
		if (r < 0)
			return r;
	}
}

static int check_body(unsigned field, struct cairn_slice body, unsigned *where, int depth)
{
	const struct cairn_field_row *row = cairn_field_row(field);
	bool good = row != NULL;

	if (where)
		*where = field;
	if (!good)
		return -EBADMSG;
	switch (row->type) {
	case CAIRN_T_U64:
	case CAIRN_T_I64:
	case CAIRN_T_TIME:
		good = body.len == 8;
		break;
	case CAIRN_T_BOOL:
		good = body.len == 1 && *(const unsigned char *)body.data <= 1;
		break;
	case CAIRN_T_KIND:
		good = body.len == 1 && *(const unsigned char *)body.data < CAIRN_KIND_COUNT;
		break;
	case CAIRN_T_ID:
		good = body.len == 16;
		break;
	case CAIRN_T_BYTES:
	case CAIRN_T_TEXT:
	case CAIRN_T_TEXTS:
		break;
	case CAIRN_T_OPERATIONS:
		good = cairn_message_number(body) != 0 && depth < CAIRN_DEPTH_MAX;
		if (good)
			return check_fields(cairn_message_fields(body), where, depth + 1);
		break;
	case CAIRN_T_OBJECT:
	case CAIRN_T_LIST:
		if (depth < CAIRN_DEPTH_MAX)
			return check_fields(body, where, depth + 1);
		good = false;
		break;
	}
	return good ? 0 : -EBADMSG;
}

int cairn_fields_check(struct cairn_slice fields, unsigned *where)
{
	if (where)
		*where = CAIRN_F_END;
	return check_fields(fields, where, 1);
}
