/*
 * Whether a write is worth proposing: known, with its arguments, within the bounds of a command. What depends
 * on the state is decided when it is applied.
 */
#include "state.h"
#include "banned.h"

static enum cairn_code check_operation(struct store *s, unsigned op, struct cairn_slice fields, bool nested,
				       struct cairn_error *error);

static enum cairn_code check_keys(struct store *s, const struct args *a, struct cairn_error *error)
{
	struct work w = { .s = s, .error = error };
	enum cairn_code code = CAIRN_OK;

	if (args_has(a, CAIRN_F_KEY))
		code = work_key(&w, a->body[CAIRN_F_KEY]);
	if (!code && args_has(a, CAIRN_F_KEY) && args_has(a, CAIRN_F_TO))
		code = work_key(&w, a->body[CAIRN_F_TO]);
	return code;
}

static enum cairn_code check_lists(struct store *s, const struct args *a, struct cairn_error *error)
{
	struct cairn_slice rest = a->fields, item;
	enum cairn_code code = CAIRN_OK;
	unsigned field, n = 0;

	while (!code && cairn_field_next(&rest, &field, &item) == 0 && field)
		if (field == CAIRN_F_GUARD) {
			struct args g;

			code = guard_parse(item, &g, error);
		} else if (field == CAIRN_F_THEN || field == CAIRN_F_ELSE) {
			n++;
			code = check_operation(s, cairn_message_number(item), cairn_message_fields(item),
					       true, error);
			if (code)
				cairn_error_prefix(error, "operation %u", n);
		}
	return code;
}

static enum cairn_code check_operation(struct store *s, unsigned op, struct cairn_slice fields, bool nested,
				       struct cairn_error *error)
{
	const struct cairn_operation_row *row = cairn_operation_row(op);
	enum cairn_code code;
	struct args a;

	if (nested ? !args_is_nested(op) : !args_is_write(op))
		return cairn_fail(error, CAIRN_E_INVALID, "%s %s", row ? row->name : "this operation",
				  nested ? "cannot stand in a transaction" : "is no write");
	if (args_parse(fields, &a) < 0)
		return cairn_fail(error, CAIRN_E_INVALID, "%s: the arguments are malformed", row->name);
	code = args_check(op, &a, error);
	if (!code)
		code = check_keys(s, &a, error);
	if (!code)
		code = check_lists(s, &a, error);
	if (!code && args_has(&a, CAIRN_F_VALUE) && args_has(&a, CAIRN_F_UPLOAD) && op != CAIRN_OP_STAGE)
		code = cairn_fail(error, CAIRN_E_INVALID, "a value is given, or an upload: not both");
	if (!code && op == CAIRN_OP_STAGE && args_bytes(&a, CAIRN_F_VALUE).len > STORE_CHUNK)
		code = cairn_fail(error, CAIRN_E_TOO_LARGE, "a staged piece has at most %d bytes",
				  STORE_CHUNK);
	return code;
}

enum cairn_code store_check(struct store *s, unsigned op, struct cairn_slice fields,
			    struct cairn_error *error)
{
	struct cairn_error unused;
	struct cairn_slice key;
	enum cairn_code code;

	if (!error)
		error = &unused;
	code = check_operation(s, op, fields, false, error);
	if (!code && !cairn_field_find(fields, CAIRN_F_KEY, &key))
		key.len = 0;
	if (code)
		return code;
	if (fields.len > STORE_COMMAND_MAX + key.len) {
		cairn_fail(error, CAIRN_E_TOO_LARGE, "%s: a command has at most %d bytes",
			   cairn_operation_row(op)->name, STORE_COMMAND_MAX);
		cairn_hint(error, "send larger values with 'stage' first");
		return CAIRN_E_TOO_LARGE;
	}
	return CAIRN_OK;
}
