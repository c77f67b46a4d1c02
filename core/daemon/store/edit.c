/*
 * Changing a part of a value: append and patch. A value that stays short is built anew; of a longer one only
 * the chunks that the change touches are written: the last one grows in place where nobody else has grown it,
 * others are replaced.
 */
#include "content.h"
#include "banned.h"

struct edit {
	struct work *w;
	const struct record *old;
	struct pieces list; /* the value so far; held */
	uint64_t length;    /* of the value so far */
};

/* Entry I becomes P. What stood there is released, unless it is the old record's: that is done when it is
 * replaced. */
static enum cairn_code replace_entry(struct edit *e, size_t i, struct piece p)
{
	struct piece was = e->list.at[i];
	bool is_old = i < pieces_count(e->old->chunks) && pieces_entry(e->old->chunks, i).chunk == was.chunk;

	e->list.at[i] = p;
	return is_old || was.chunk == p.chunk ? CAIRN_OK : chunk_release(e->w, &was);
}

/* Fill the last chunk up with MORE, in place where its row ends where our entry ends. */
static enum cairn_code grow_last(struct edit *e, struct cairn_slice more)
{
	size_t i = e->list.count - 1;
	struct piece p = e->list.at[i];
	struct cairn_slice was, bytes;
	enum cairn_code code = chunk_load(e->w, &p, &was);
	unsigned char *out;

	if (code)
		return code;
	out = view_alloc(e->w->s, p.length + more.len);
	if (!out)
		return work_stopped(e->w);
	memcpy(out, was.data, p.length);
	memcpy(out + p.length, more.data, more.len);
	bytes = cairn_slice(out, p.length + more.len);
	if (was.len == p.length) {
		code = chunk_rewrite(e->w, &p, bytes);
		p.length = (uint32_t)bytes.len;
		p.hash = hash_bytes(bytes);
	} else {
		code = chunk_new(e->w, bytes, &p);
	}
	e->length += more.len;
	return code ? code : replace_entry(e, i, p);
}

static enum cairn_code edit_append(struct edit *e, struct cairn_slice bytes)
{
	uint64_t max = e->w->s->meta.chunk_max;
	enum cairn_code code = CAIRN_OK;

	while (bytes.len && !code) {
		uint64_t room = e->list.count ? max - e->list.at[e->list.count - 1].length : 0;
		size_t n = room ? room : max;
		struct piece p;

		n = n < bytes.len ? n : bytes.len;
		if (room) {
			code = grow_last(e, cairn_slice(bytes.data, n));
		} else {
			code = chunk_new(e->w, cairn_slice(bytes.data, n), &p);
			e->length += n;
			if (!code)
				code = pieces_add(e->w, &e->list, p);
		}
		bytes = cairn_slice((const char *)bytes.data + n, bytes.len - n);
	}
	return code;
}

/* Add N zero bytes; whole chunks of them are one chunk that the list holds several times. */
static enum cairn_code edit_zeros(struct edit *e, uint64_t n)
{
	uint64_t max = e->w->s->meta.chunk_max, room;
	struct piece zero = { 0 };
	unsigned char *zeros;
	enum cairn_code code;

	if (!n)
		return CAIRN_OK;
	zeros = view_alloc(e->w->s, n < max ? n : max);
	if (!zeros)
		return work_stopped(e->w);
	memset(zeros, 0, n < max ? n : max);
	room = e->list.count ? max - e->list.at[e->list.count - 1].length : 0;
	room = room < n ? room : n;
	code = edit_append(e, cairn_slice(zeros, room));
	for (n -= room; n >= max && !code; n -= max) {
		code = zero.chunk ? chunk_hold(e->w, &zero) : chunk_new(e->w, cairn_slice(zeros, max), &zero);
		if (!code)
			code = pieces_add(e->w, &e->list, zero);
		e->length += max;
	}
	return code ? code : edit_append(e, cairn_slice(zeros, n));
}

/* Cut the value to LENGTH bytes, fewer than it has. */
static enum cairn_code edit_truncate(struct edit *e, uint64_t length)
{
	uint64_t start = e->length;
	struct piece *last;
	struct cairn_slice bytes;
	enum cairn_code code;

	while (e->list.count && start - e->list.at[e->list.count - 1].length >= length)
		start -= e->list.at[--e->list.count].length;
	e->length = length;
	if (!e->list.count)
		return CAIRN_OK;
	last = &e->list.at[e->list.count - 1];
	start -= last->length;
	code = chunk_load(e->w, last, &bytes);
	last->length = (uint32_t)(length - start);
	if (!code)
		last->hash = hash_bytes(cairn_slice(bytes.data, last->length));
	return code;
}

/* Overwrite bytes that are there. */
static enum cairn_code edit_write(struct edit *e, uint64_t offset, struct cairn_slice bytes)
{
	uint64_t start = 0;

	for (size_t i = 0; i < e->list.count && bytes.len; i++) {
		struct piece p = e->list.at[i];
		uint64_t from = offset - start, n;
		struct cairn_slice was;
		unsigned char *out;
		enum cairn_code code;

		start += p.length;
		if (offset >= start)
			continue;
		n = p.length - from < bytes.len ? p.length - from : bytes.len;
		out = view_alloc(e->w->s, p.length);
		if (!out)
			return work_stopped(e->w);
		code = chunk_load(e->w, &p, &was);
		if (code)
			return code;
		memcpy(out, was.data, p.length);
		memcpy(out + from, bytes.data, n);
		code = chunk_new(e->w, cairn_slice(out, p.length), &p);
		if (!code)
			code = replace_entry(e, i, p);
		if (code)
			return code;
		offset += n;
		bytes = cairn_slice((const char *)bytes.data + n, bytes.len - n);
	}
	return CAIRN_OK;
}

/* Start with the value of OLD as a list of chunks. */
static enum cairn_code edit_start(struct edit *e, struct work *w, const struct record *old)
{
	enum cairn_code code = CAIRN_OK;

	*e = (struct edit){ .w = w, .old = old };
	if (!old->chunks.len)
		return edit_append(e, old->content);
	for (size_t i = 0; i < pieces_count(old->chunks) && !code; i++)
		code = pieces_add(w, &e->list, pieces_entry(old->chunks, i));
	e->length = old->head.length;
	return code;
}

/* What becomes of a value: BYTES stand at OFFSET (zeros before them where it was shorter), and it has LENGTH
 * bytes. */
struct patch {
	uint64_t offset, length;
	struct cairn_slice bytes;
};

static enum cairn_code patch_short(struct work *w, const struct record *old, const struct patch *p,
				   struct record *next)
{
	unsigned char *out = view_alloc(w->s, p->length);
	uint64_t keep = old->head.length < p->length ? old->head.length : p->length;
	enum cairn_code code;

	if (!out)
		return work_stopped(w);
	code = content_read(w, old, 0, keep, out);
	if (code)
		return code;
	memset(out + keep, 0, p->length - keep);
	if (p->bytes.len)
		memcpy(out + p->offset, p->bytes.data, p->bytes.len);
	return content_set(w, next, cairn_slice(out, p->length));
}

static enum cairn_code patch_long(struct work *w, const struct record *old, const struct patch *p,
				  struct record *next)
{
	struct cairn_slice bytes = p->bytes;
	struct edit e;
	enum cairn_code code;
	uint64_t within = 0;

	code = edit_start(&e, w, old);
	if (!code && e.length > p->length)
		code = edit_truncate(&e, p->length);
	if (!code && bytes.len && p->offset < e.length) {
		within = e.length - p->offset < bytes.len ? e.length - p->offset : bytes.len;
		code = edit_write(&e, p->offset, cairn_slice(bytes.data, within));
	} else if (!code && bytes.len) {
		code = edit_zeros(&e, p->offset - e.length);
	}
	if (!code && within < bytes.len)
		code = edit_append(&e, cairn_slice((const char *)bytes.data + within, bytes.len - within));
	if (!code && e.length < p->length)
		code = edit_zeros(&e, p->length - e.length);
	return code ? code : content_set_pieces(w, next, &e.list, e.length);
}

static enum cairn_code patch(struct work *w, const struct record *old, const struct patch *p,
			     struct record *next)
{
	return p->length <= w->s->meta.inline_max ? patch_short(w, old, p, next)
						  : patch_long(w, old, p, next);
}

/* The bytes that A brings: VALUE, or the whole of UPLOAD, whose length is SIZED by A. */
static enum cairn_code given_bytes(struct work *w, const struct args *a, bool sized,
				   struct cairn_slice *bytes)
{
	struct pieces list = { 0 };
	uint64_t size;
	enum cairn_code code;

	*bytes = args_bytes(a, CAIRN_F_VALUE);
	if (!args_has(a, CAIRN_F_UPLOAD))
		return CAIRN_OK;
	code = upload_take(w, a, sized, &list, &size);
	return code ? code : content_gather(w, &list, size, bytes);
}

static enum cairn_code edited(struct work *w, const struct live *l, const struct args *a,
			      const struct patch *p, enum change_kind change)
{
	struct record next = live_continue(&l->r);
	enum cairn_code code = content_fits(w, p->length);

	if (!code)
		code = patch(w, &l->r, p, &next);
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

/* append makes the key where it is absent, as '>>' does. */
enum cairn_code op_append(struct work *w, const struct args *a)
{
	struct patch p = { 0 };
	struct live l;
	enum cairn_code code;

	code = live_load(w, a->body[CAIRN_F_KEY], &l);
	if (!code)
		code = given_bytes(w, a, true, &p.bytes);
	if (code)
		return code;
	if (!l.found)
		l.r = (struct record){ 0 };
	p.offset = l.r.head.length;
	p.length = p.offset + p.bytes.len;
	return edited(w, &l, a, &p, CHANGE_APPEND);
}

enum cairn_code op_patch(struct work *w, const struct args *a)
{
	struct patch p = { .offset = args_u64(a, CAIRN_F_OFFSET, 0) };
	struct live l;
	enum cairn_code code;

	code = live_need(w, a->body[CAIRN_F_KEY], &l);
	if (!code)
		code = given_bytes(w, a, false, &p.bytes);
	if (!code && p.bytes.len)
		code = content_fits(w, p.offset) ? CAIRN_E_TOO_LARGE : CAIRN_OK;
	if (code)
		return code;
	p.length = p.bytes.len && p.offset + p.bytes.len > l.r.head.length ? p.offset + p.bytes.len
									   : l.r.head.length;
	if (args_has(a, CAIRN_F_SIZE)) {
		uint64_t size = cairn_body_u64(a->body[CAIRN_F_SIZE]);

		if (p.bytes.len && p.offset + p.bytes.len > size)
			return cairn_fail(w->error, CAIRN_E_INVALID,
					  "the bytes of the patch end behind the size that it sets");
		p.length = size;
	}
	return edited(w, &l, a, &p, CHANGE_PATCH);
}
