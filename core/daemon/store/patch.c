/*
 * Operations that change a part of a value: append and patch. What is to be changed is a list of extents,
 * made one after another; a value that stays short is built anew, a longer one is edited in place (edit.c).
 */
#include "edit.h"
#include "banned.h"

/* Some bytes of the value: BYTES; or where it has none, UPLOAD's; or else zeros. */
struct extent {
	uint64_t offset, length;
	struct cairn_slice bytes;
	const struct pieces *upload; /* or NULL */
};

struct patch {
	struct extent *at;
	size_t count;
	uint64_t length; /* of the whole value afterwards */
};

static enum cairn_code fill_short(struct work *w, const struct extent *x, unsigned char *out)
{
	struct cairn_slice bytes = x->bytes;
	enum cairn_code code = CAIRN_OK;

	if (x->upload)
		code = content_gather(w, x->upload, x->length, &bytes);
	if (code || !x->length)
		return code;
	if (bytes.data)
		memcpy(out, bytes.data, x->length);
	else
		memset(out, 0, x->length);
	return CAIRN_OK;
}

static enum cairn_code patch_short(struct work *w, const struct record *old, const struct patch *p,
				   struct record *next)
{
	unsigned char *out = view_alloc(w->s, p->length);
	uint64_t keep = old->head.length < p->length ? old->head.length : p->length;
	enum cairn_code code;

	if (!out)
		return work_stopped(w);
	code = content_read(w, old, 0, keep, out);
	memset(out + keep, 0, p->length - keep);
	for (size_t i = 0; i < p->count && !code; i++)
		code = fill_short(w, &p->at[i], out + p->at[i].offset);
	return code ? code : content_set(w, next, cairn_slice(out, p->length));
}

/* One extent, which is not empty, in E. */
static enum cairn_code put_extent(struct edit *e, const struct extent *x)
{
	uint64_t within;
	enum cairn_code code = CAIRN_OK;

	if (x->offset > e->length)
		code = edit_zeros(e, x->offset - e->length);
	if (code)
		return code;
	if (x->upload)
		return edit_splice(e, x->offset, x->upload->at, x->upload->count, x->length);
	within = e->length - x->offset < x->length ? e->length - x->offset : x->length;
	if (within && x->bytes.data)
		code = edit_write(e, x->offset, cairn_slice(x->bytes.data, within));
	else if (within)
		code = edit_punch(e, x->offset, within);
	if (code || within == x->length)
		return code;
	return x->bytes.data
		? edit_append(e, cairn_slice((const char *)x->bytes.data + within, x->length - within))
		: edit_zeros(e, x->length - within);
}

static enum cairn_code patch_long(struct work *w, const struct record *old, const struct patch *p,
				  struct record *next)
{
	struct edit e;
	enum cairn_code code = edit_start(&e, w, old);

	if (!code && e.length > p->length)
		code = edit_truncate(&e, p->length);
	for (size_t i = 0; i < p->count && !code; i++)
		if (p->at[i].length)
			code = put_extent(&e, &p->at[i]);
	if (!code && e.length < p->length)
		code = edit_zeros(&e, p->length - e.length);
	return code ? code : edit_end(&e, next);
}

static enum cairn_code edited(struct work *w, const struct live *l, const struct args *a,
			      const struct patch *p, enum change_kind change)
{
	struct record next = live_continue(&l->r);
	enum cairn_code code = content_fits(w, p->length);

	if (!code)
		code = p->length <= w->s->meta.inline_max ? patch_short(w, &l->r, p, &next)
							  : patch_long(w, &l->r, p, &next);
	if (!code)
		code = attributes_merge(w, l->r.attributes, args_bytes(a, CAIRN_F_ATTRIBUTES), false,
					&next.attributes);
	next.head.flags &= (uint16_t)~RECORD_OPEN;
	if (!code)
		code = live_replace(w, l, &next, change);
	if (code)
		return code;
	cairn_msg_u64(w->answer, CAIRN_F_SIZE, next.head.length);
	cairn_msg_u64(w->answer, CAIRN_F_FILE_ID, next.file_id);
	cairn_msg_u64(w->answer, CAIRN_F_TIME, w->time_ns);
	return CAIRN_OK;
}

/* What A brings at OFFSET, VALUE or the whole of UPLOAD, whose length is SIZED by A, as *X. */
static enum cairn_code given_extent(struct work *w, const struct args *a, bool sized, uint64_t offset,
				    struct pieces *list, struct extent *x)
{
	*x = (struct extent){ .offset = offset, .bytes = args_bytes(a, CAIRN_F_VALUE) };
	x->length = x->bytes.len;
	if (!args_has(a, CAIRN_F_UPLOAD))
		return CAIRN_OK;
	if (args_has(a, CAIRN_F_VALUE))
		return cairn_fail(w->error, CAIRN_E_INVALID, "a value is given, or an upload: not both");
	x->upload = list;
	return upload_take(w, a, sized, list, &x->length);
}

/* append makes the key where it is absent, as '>>' does. */
enum cairn_code op_append(struct work *w, const struct args *a)
{
	struct pieces list = { 0 };
	struct extent x;
	struct patch p = { .at = &x, .count = 1 };
	struct live l;
	enum cairn_code code;

	code = live_load(w, a->body[CAIRN_F_KEY], &l);
	if (code)
		return code;
	if (!l.found)
		l.r = (struct record){ 0 };
	code = given_extent(w, a, true, l.r.head.length, &list, &x);
	p.length = x.offset + x.length;
	return code ? code : edited(w, &l, a, &p, CHANGE_APPEND);
}

/* The extent that the item FIELDS of a list describes; *UPLOAD is taken by the one that asks for it. */
static enum cairn_code parse_extent(struct work *w, struct cairn_slice fields, const struct extent **upload,
				    struct extent *x)
{
	struct args a;

	if (args_parse(fields, &a) < 0 || a.has[1] || !args_has(&a, CAIRN_F_OFFSET) ||
	    a.has[0] & ~(FIELD(OFFSET) | FIELD(VALUE) | FIELD(LENGTH)) ||
	    (args_has(&a, CAIRN_F_VALUE) && args_has(&a, CAIRN_F_LENGTH)))
		return cairn_fail(
			w->error, CAIRN_E_INVALID,
			"an extent has an offset, and a value, or a length of zeros, or neither for "
			"the upload");
	*x = (struct extent){ .offset = args_u64(&a, CAIRN_F_OFFSET, 0),
			      .bytes = args_bytes(&a, CAIRN_F_VALUE) };
	x->length = args_has(&a, CAIRN_F_LENGTH) ? args_u64(&a, CAIRN_F_LENGTH, 0) : x->bytes.len;
	if (args_has(&a, CAIRN_F_VALUE) || args_has(&a, CAIRN_F_LENGTH))
		return CAIRN_OK;
	if (!*upload)
		return cairn_fail(
			w->error, CAIRN_E_INVALID,
			"an extent without value and length is an upload, and there is one at most");
	x->upload = (*upload)->upload;
	x->length = (*upload)->length;
	*upload = NULL;
	return CAIRN_OK;
}

/* The extents that A lists; the one given beside them is X. */
static enum cairn_code parse_extents(struct work *w, const struct args *a, const struct extent *x,
				     struct patch *p)
{
	struct cairn_slice rest = a->fields, item;
	const struct extent *upload = x->upload ? x : NULL;
	enum cairn_code code = CAIRN_OK;
	unsigned field, count = 0;

	while (cairn_field_next(&rest, &field, &item) == 0 && field)
		count += field == CAIRN_F_EXTENT;
	if (args_has(a, CAIRN_F_VALUE) || args_has(a, CAIRN_F_OFFSET))
		return cairn_fail(w->error, CAIRN_E_INVALID, "a patch has extents, or an offset and a value");
	p->at = view_alloc(w->s, count * sizeof(*p->at));
	if (!p->at)
		return work_stopped(w);
	p->count = 0;
	for (rest = a->fields; !code && cairn_field_next(&rest, &field, &item) == 0 && field;)
		if (field == CAIRN_F_EXTENT)
			code = parse_extent(w, item, &upload, &p->at[p->count++]);
	if (!code && upload)
		code = cairn_fail(w->error, CAIRN_E_INVALID, "no extent takes the upload");
	return code;
}

/* How long the value is afterwards, which was LENGTH bytes long. */
static enum cairn_code patched_length(struct work *w, const struct args *a, uint64_t length, struct patch *p)
{
	uint64_t size = args_u64(a, CAIRN_F_SIZE, UINT64_MAX);

	p->length = length;
	for (size_t i = 0; i < p->count; i++) {
		const struct extent *x = &p->at[i];
		uint64_t end;

		if (!x->length)
			continue;
		if (__builtin_add_overflow(x->offset, x->length, &end))
			end = UINT64_MAX;
		if (content_fits(w, end))
			return CAIRN_E_TOO_LARGE;
		if (end > size)
			return cairn_fail(w->error, CAIRN_E_INVALID,
					  "the bytes of the patch end behind the size that it sets");
		p->length = end > p->length ? end : p->length;
	}
	p->length = args_has(a, CAIRN_F_SIZE) ? size : p->length;
	return CAIRN_OK;
}

enum cairn_code op_patch(struct work *w, const struct args *a)
{
	struct pieces list = { 0 };
	struct extent x;
	struct patch p = { .at = &x, .count = 1 };
	struct live l;
	enum cairn_code code;

	code = live_need(w, a->body[CAIRN_F_KEY], &l);
	if (!code)
		code = given_extent(w, a, false, args_u64(a, CAIRN_F_OFFSET, 0), &list, &x);
	if (!code && args_has(a, CAIRN_F_EXTENT))
		code = parse_extents(w, a, &x, &p);
	if (!code)
		code = patched_length(w, a, l.r.head.length, &p);
	return code ? code : edited(w, &l, a, &p, CHANGE_PATCH);
}
