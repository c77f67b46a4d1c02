/* Attributes of a record: fields of a message, at most RECORD_ATTRIBUTES_MAX bytes of them. */
#include "state.h"
#include "banned.h"

static struct cairn_slice xattr_name(struct cairn_slice item)
{
	struct cairn_slice name;

	return cairn_field_find(item, CAIRN_F_NAME, &name) ? name : cairn_slice(NULL, 0);
}

/* Whether FIELDS name the field FIELD with BODY again (a user attribute: one of the same name). */
static bool names(struct cairn_slice fields, unsigned field, struct cairn_slice body)
{
	struct cairn_slice b;
	unsigned f;

	while (cairn_field_next(&fields, &f, &b) == 0 && f != CAIRN_F_END)
		if (f == field && (field != CAIRN_F_XATTR || cairn_slice_eq(xattr_name(b), xattr_name(body))))
			return true;
	return false;
}

static bool is_time(unsigned field)
{
	return field == CAIRN_F_MTIME || field == CAIRN_F_CTIME || field == CAIRN_F_ATIME;
}

static bool goes(unsigned field, struct cairn_slice body)
{
	struct cairn_slice value;

	return field == CAIRN_F_XATTR && !cairn_field_find(body, CAIRN_F_VALUE, &value);
}

static size_t add(unsigned char *out, size_t at, struct cairn_slice body)
{
	size_t n = CAIRN_FIELD_HEAD + body.len;

	memcpy(out + at, (const char *)body.data - CAIRN_FIELD_HEAD, n);
	return at + n;
}

enum cairn_code attributes_merge(struct work *w, struct cairn_slice old, struct cairn_slice given,
				 bool keep_times, struct cairn_slice *merged)
{
	struct cairn_slice rest, body;
	unsigned char *out;
	unsigned field;
	size_t n = 0;

	*merged = cairn_slice(NULL, 0);
	if (!old.len && !given.len)
		return CAIRN_OK;
	out = view_alloc(w->s, old.len + given.len);
	if (!out)
		return work_stopped(w);
	for (rest = old; cairn_field_next(&rest, &field, &body) == 0 && field;)
		if ((keep_times || !is_time(field)) && !names(given, field, body))
			n = add(out, n, body);
	for (rest = given; cairn_field_next(&rest, &field, &body) == 0 && field;) {
		struct cairn_slice behind = rest;

		if (!goes(field, body) && !(behind.len && names(behind, field, body)))
			n = add(out, n, body);
	}
	if (rest.len)
		return cairn_fail(w->error, CAIRN_E_INVALID, "the attributes are malformed");
	if (n > RECORD_ATTRIBUTES_MAX)
		return cairn_fail(w->error, CAIRN_E_TOO_LARGE, "attributes have at most %d bytes",
				  RECORD_ATTRIBUTES_MAX);
	*merged = cairn_slice(out, n);
	return CAIRN_OK;
}
