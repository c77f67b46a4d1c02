/*
 * Transactions: guards, then one of two lists of operations, one result each. An operation's error undoes all
 * of it; with 'each' only itself. An operation with guards of its own is skipped where they fail, and its
 * result says so.
 */
#include "state.h"
#include "banned.h"

static void answer_error(struct work *w, enum cairn_code code)
{
	cairn_msg_text(w->answer, CAIRN_F_CODE, cairn_error_row(code)->name);
	cairn_msg_text(w->answer, CAIRN_F_MESSAGE, w->error->message);
	if (code == CAIRN_E_CONFLICT)
		cairn_msg_u64(w->answer, CAIRN_F_REVISION, w->error->revision);
}

static enum cairn_code do_one(struct work *w, struct cairn_slice message, bool *hold)
{
	unsigned op = cairn_message_number(message);
	enum cairn_code code = CAIRN_OK;
	struct args a;

	*hold = true;
	if (!args_is_nested(op))
		return cairn_fail(w->error, CAIRN_E_INVALID, "'%s' cannot stand in a transaction",
				  cairn_operation_row(op) ? cairn_operation_row(op)->name : "?");
	if (args_parse(cairn_message_fields(message), &a) < 0)
		return cairn_fail(w->error, CAIRN_E_INVALID, "the arguments are malformed");
	if (args_has(&a, CAIRN_F_GUARD))
		code = guards_hold(w, &a, hold);
	return code || !*hold ? code : work_operation(w, op, &a);
}

/* Operation number N of the list; its result is added. */
static enum cairn_code do_item(struct work *w, struct cairn_slice message, unsigned n, bool each)
{
	size_t item = cairn_msg_open(w->answer, CAIRN_F_RESULT);
	struct mark m = work_mark(w);
	bool hold;
	enum cairn_code code = do_one(w, message, &hold);

	if (w->s->stop.code)
		return w->s->stop.code;
	if (!code && w->answer->len > CAIRN_PAYLOAD_MAX)
		code = cairn_fail(w->error, CAIRN_E_TOO_LARGE,
				  "the answers of one transaction have at most %u bytes", CAIRN_PAYLOAD_MAX);
	if (!code && each)
		code = quota_holds(w, &m);
	if (code && !each) {
		cairn_error_prefix(w->error, "operation %u", n);
		return code;
	}
	if (code)
		work_undo(w, &m);
	cairn_msg_bool(w->answer, CAIRN_F_SUCCEEDED, !code && hold);
	if (code || !hold)
		answer_error(w, code ? code : CAIRN_E_CONFLICT);
	cairn_msg_close(w->answer, item);
	w->error->code = CAIRN_OK;
	return CAIRN_OK;
}

enum cairn_code op_txn(struct work *w, const struct args *a)
{
	struct cairn_slice rest = a->fields, message;
	bool each = args_bool(a, CAIRN_F_EACH), hold;
	enum cairn_code code = guards_hold(w, a, &hold);
	unsigned field, n = 0;

	if (code)
		return code;
	cairn_msg_bool(w->answer, CAIRN_F_SUCCEEDED, hold);
	if (!hold)
		cairn_msg_text(w->answer, CAIRN_F_MESSAGE, w->error->message);
	w->error->code = CAIRN_OK;
	while (!code && cairn_field_next(&rest, &field, &message) == 0 && field)
		if (field == (hold ? CAIRN_F_THEN : CAIRN_F_ELSE))
			code = do_item(w, message, ++n, each);
	return code;
}
