/* Operations on one key and its whole value: put, delete, set-attributes, and get inside a transaction. */
#include "content.h"
#include "banned.h"

static void answer_old(struct work *w, const struct live *old)
{
	size_t mark = cairn_msg_open(w->answer, CAIRN_F_OLD);

	answer_record(w->answer, &old->r, true);
	cairn_msg_close(w->answer, mark);
}

enum cairn_code op_put(struct work *w, const struct args *a)
{
	struct record next = { 0 };
	struct live l;
	enum cairn_code code;
	bool same_kind;

	code = live_load(w, a->body[CAIRN_F_KEY], &l);
	if (code)
		return code;
	if (args_has(a, CAIRN_F_KIND))
		next.head.kind = *(const unsigned char *)args_bytes(a, CAIRN_F_KIND).data;
	code = content_given(w, a, &next);
	if (!code)
		code = expiry_given(w, a, l.found ? l.r.expiry_ns : 0, &next.expiry_ns);
	if (code)
		return code;
	if (!l.found && args_bool(a, CAIRN_F_OPEN))
		next.head.flags |= RECORD_OPEN;
	same_kind = l.found && l.r.head.kind == next.head.kind;
	code = attributes_merge(w, same_kind ? l.r.attributes : cairn_slice(NULL, 0),
				args_bytes(a, CAIRN_F_ATTRIBUTES), false, &next.attributes);
	if (!code)
		code = live_replace(w, &l, &next, CHANGE_PUT);
	if (code)
		return code;
	cairn_msg_u64(w->answer, CAIRN_F_FILE_ID, next.file_id);
	cairn_msg_u64(w->answer, CAIRN_F_TIME, w->time_ns);
	if (next.expiry_ns)
		cairn_msg_u64(w->answer, CAIRN_F_EXPIRY, next.expiry_ns);
	if (l.found && args_bool(a, CAIRN_F_RETURN_OLD))
		answer_old(w, &l);
	return CAIRN_OK;
}

enum cairn_code op_delete(struct work *w, const struct args *a)
{
	struct live l;
	enum cairn_code code;

	code = live_need(w, a->body[CAIRN_F_KEY], &l);
	if (!code)
		code = live_remove(w, &l, CHANGE_DELETE, cairn_slice(NULL, 0));
	if (!code && args_bool(a, CAIRN_F_RETURN_OLD))
		answer_old(w, &l);
	return code;
}

enum cairn_code op_set_attributes(struct work *w, const struct args *a)
{
	struct record next;
	struct live l;
	enum cairn_code code;

	code = live_need(w, a->body[CAIRN_F_KEY], &l);
	if (code)
		return code;
	next = live_continue(&l.r);
	if (args_has(a, CAIRN_F_OPEN) && !args_bool(a, CAIRN_F_OPEN)) { /* its creator closes it */
		if (!(next.head.flags & RECORD_OPEN) && !args_has(a, CAIRN_F_KIND) &&
		    !a->body[CAIRN_F_ATTRIBUTES].len)
			return CAIRN_OK;
		next.head.flags &= (uint16_t)~RECORD_OPEN;
	}
	if (args_has(a, CAIRN_F_KIND))
		next.head.kind = *(const unsigned char *)args_bytes(a, CAIRN_F_KIND).data;
	code = attributes_merge(w, l.r.attributes, args_bytes(a, CAIRN_F_ATTRIBUTES), true, &next.attributes);
	return code ? code : live_replace(w, &l, &next, CHANGE_ATTRIBUTES);
}

/* The bytes that A asks for of R's value, as VALUE. */
static enum cairn_code answer_range(struct work *w, const struct args *a, const struct record *r)
{
	uint64_t from = args_u64(a, CAIRN_F_OFFSET, 0), length = args_u64(a, CAIRN_F_LENGTH, UINT64_MAX);
	unsigned char *room;

	from = from < r->head.length ? from : r->head.length;
	length = length < r->head.length - from ? length : r->head.length - from;
	if (w->answer->len + length > CAIRN_PAYLOAD_MAX)
		return cairn_fail(w->error, CAIRN_E_TOO_LARGE,
				  "the answers of one transaction have at most %u bytes", CAIRN_PAYLOAD_MAX);
	room = cairn_msg_room(w->answer, CAIRN_F_VALUE, length);
	return room ? content_read(w, r, from, length, room) : CAIRN_OK;
}

enum cairn_code op_get(struct work *w, const struct args *a)
{
	enum cairn_code code;
	struct live l;

	code = live_need(w, a->body[CAIRN_F_KEY], &l);
	if (code)
		return code;
	if (work_charge(w, 1, l.body.len))
		return CAIRN_E_TOO_LARGE;
	answer_record(w->answer, &l.r, false);
	return args_bool(a, CAIRN_F_META_ONLY) ? CAIRN_OK : answer_range(w, a, &l.r);
}
