/*
 * Whether a write is worth proposing: known, with its arguments, within the bounds of a command. What depends
 * on the state is decided when it is applied.
 */
#include "state.h"
#include "banned.h"

static enum cairn_code check_key(struct store *s, const struct args *a, unsigned field,
				 struct cairn_error *error)
{
	struct work w = { .s = s, .error = error };

	return args_has(a, field) ? work_key(&w, a->body[field]) : CAIRN_OK;
}

enum cairn_code store_check(struct store *s, unsigned op, struct cairn_slice fields,
			    struct cairn_error *error)
{
	const struct cairn_operation_row *row = cairn_operation_row(op);
	struct cairn_error unused;
	enum cairn_code code;
	struct args a;

	if (!error)
		error = &unused;
	if (!args_is_write(op))
		return cairn_fail(error, CAIRN_E_INVALID, "%s is no write",
				  row ? row->name : "this operation");
	if (args_parse(fields, &a) < 0)
		return cairn_fail(error, CAIRN_E_INVALID, "%s: the arguments are malformed", row->name);
	code = args_check(op, &a, error);
	if (!code)
		code = check_key(s, &a, CAIRN_F_KEY, error);
	if (code)
		return code;
	if (fields.len > STORE_COMMAND_MAX + args_bytes(&a, CAIRN_F_KEY).len) {
		cairn_fail(error, CAIRN_E_TOO_LARGE, "%s: a command has at most %d bytes", row->name,
			   STORE_COMMAND_MAX);
		cairn_hint(error, "send larger values with 'stage' first");
		return CAIRN_E_TOO_LARGE;
	}
	return CAIRN_OK;
}
