/* Operations on one key and its whole value: put, delete, and get inside a transaction. */
#include "state.h"
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
	next.content = args_bytes(a, CAIRN_F_VALUE);
	next.head.length = next.content.len;
	same_kind = l.found && l.r.head.kind == next.head.kind;
	code = attributes_merge(w, same_kind ? l.r.attributes : cairn_slice(NULL, 0),
				args_bytes(a, CAIRN_F_ATTRIBUTES), false, &next.attributes);
	if (!code)
		code = live_replace(w, &l, &next, CHANGE_PUT);
	if (code)
		return code;
	cairn_msg_u64(w->answer, CAIRN_F_FILE_ID, next.file_id);
	cairn_msg_u64(w->answer, CAIRN_F_TIME, w->time_ns);
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
		code = live_remove(w, &l);
	if (!code && args_bool(a, CAIRN_F_RETURN_OLD))
		answer_old(w, &l);
	return code;
}

enum cairn_code op_get(struct work *w, const struct args *a)
{
	enum cairn_code code;
	struct live l;

	code = live_need(w, a->body[CAIRN_F_KEY], &l);
	if (!code)
		answer_record(w->answer, &l.r, !args_bool(a, CAIRN_F_META_ONLY));
	return code;
}
