/*
 * Which arguments each operation takes: one row each. The daemon's operation table checks the outermost ones
 * for its faces as well; this one also holds for what stands inside a transaction, and for every log.
 */
#include <errno.h>
#include <cairn/operations.h>
#include "args.h"
#include "fields.h"
#include "banned.h"

/* What a command carries beside its operation's arguments. */
#define COMMAND \
	(FIELD(TIME) | FIELD(CLIENT) | FIELD(SEQUENCE) | FIELD(LOWEST) | FIELD(BORN) | FIELD(AUTHOR) | \
	 FIELD(FACE) | FIELD(VOLUME) | FIELD(TIMEOUT_MS))
#define EXPIRY (FIELD(EXPIRY) | FIELD(TTL_MS))
#define CONTENT (FIELD(VALUE) | FIELD(UPLOAD) | FIELD(SIZE))

struct row {
	field_set needs, takes;
	bool write, nested;
};

static const struct row rows[CAIRN_OPERATION_COUNT] = {
	[CAIRN_OP_GET] = { FIELD(KEY), FIELD(META_ONLY) | FIELD(OFFSET) | FIELD(LENGTH), false, true },
	[CAIRN_OP_PUT] = { FIELD(KEY),
			   CONTENT | EXPIRY | FIELD(KEEP_EXPIRY) | FIELD(OPEN) | FIELD(ATTRIBUTES) |
				   FIELD(KIND) | FIELD(RETURN_OLD) | FIELD(GUARD),
			   true, true },
	[CAIRN_OP_DELETE] = { FIELD(KEY), FIELD(RETURN_OLD) | FIELD(GUARD), true, true },
	[CAIRN_OP_TXN] = { 0, FIELD(GUARD) | FIELD(THEN) | FIELD(ELSE) | FIELD(EACH), true, false },
	[CAIRN_OP_SET_ATTRIBUTES] = { FIELD(KEY) | FIELD(ATTRIBUTES),
				      FIELD(KIND) | FIELD(OPEN) | FIELD(GUARD), true, true },
	[CAIRN_OP_MOVE] = { FIELD(KEY) | FIELD(TO), FIELD(GUARD), true, true },
	[CAIRN_OP_MOVE_PREFIX] = { FIELD(PREFIX) | FIELD(TO), FIELD(GUARD), true, true },
	[CAIRN_OP_STAGE] = { FIELD(UPLOAD), FIELD(INDEX) | FIELD(VALUE), true, false },
	[CAIRN_OP_UNSTAGE] = { 0, FIELD(UPLOAD) | FIELD(FROM), true, false },
	[CAIRN_OP_COPY] = { FIELD(KEY) | FIELD(TO), FIELD(GUARD), true, true },
	[CAIRN_OP_COPY_PREFIX] = { FIELD(PREFIX) | FIELD(TO), FIELD(GUARD), true, true },
	[CAIRN_OP_DELETE_PREFIX] = { FIELD(PREFIX), FIELD(GUARD), true, true },
	[CAIRN_OP_APPEND] = { FIELD(KEY), CONTENT | FIELD(ATTRIBUTES) | FIELD(GUARD), true, true },
	[CAIRN_OP_PATCH] = { FIELD(KEY),
			     CONTENT | FIELD(OFFSET) | FIELD(EXTENT) | FIELD(ATTRIBUTES) | FIELD(GUARD), true,
			     true },
	[CAIRN_OP_SWAP] = { FIELD(KEY) | FIELD(TO), FIELD(GUARD), true, true },
	[CAIRN_OP_REVERT] = { FIELD(KEY) | FIELD(REVISION), FIELD(GUARD), true, true },
	[CAIRN_OP_REVERT_PREFIX] = { FIELD(PREFIX) | FIELD(REVISION), FIELD(GUARD), true, true },
	[CAIRN_OP_PURGE] = { 0, FIELD(KEY) | FIELD(PREFIX) | FIELD(GUARD), true, true },
	[CAIRN_OP_EXPIRE] = { FIELD(KEY), EXPIRY | FIELD(GUARD), true, true },
	[CAIRN_OP_PERSIST] = { FIELD(KEY), FIELD(GUARD), true, true },
	[CAIRN_OP_INCREMENT] = { FIELD(KEY), FIELD(BY) | FIELD(GUARD), true, true },
	[CAIRN_OP_EXPIRE_DUE] = { 0, 0, true, false },
	[CAIRN_OP_NOTHING] = { 0, 0, true, false },
	[CAIRN_OP_MEMBERS] = { FIELD(VALUE), 0, true, false },
	[CAIRN_OP_CONFIGURE] = { FIELD(NAME) | FIELD(AMOUNT), 0, true, false },
};

/* How long the body of each field is by its type; 0: any length. */
static const unsigned char lengths[CAIRN_FIELD_COUNT] = {
#define LENGTH_U64 8
#define LENGTH_I64 8
#define LENGTH_TIME 8
#define LENGTH_BOOL 1
#define LENGTH_KIND 1
#define LENGTH_ID 16
#define LENGTH_BYTES 0
#define LENGTH_TEXT 0
#define LENGTH_TEXTS 0
#define LENGTH_OBJECT 0
#define LENGTH_LIST 0
#define LENGTH_OPERATIONS 0
#define X(number, id, json, type, meaning) [number] = LENGTH_##type,
	CAIRN_FIELDS(X)
#undef X
};

int args_parse(struct cairn_slice fields, struct args *a)
{
	struct cairn_slice body;
	unsigned field;

	a->fields = fields;
	a->has[0] = a->has[1] = 0;
	for (;;) {
		if (!field_take(&fields, &field, &body) || field >= CAIRN_FIELD_COUNT)
			return -EBADMSG;
		if (field == CAIRN_F_END)
			return 0;
		if (lengths[field] && body.len != lengths[field])
			return -EBADMSG;
		if (!args_has(a, field)) {
			a->has[field >> 7] |= (field_set)1 << (field & 127);
			a->body[field] = body;
		}
	}
}

bool args_is_write(unsigned op)
{
	return op < CAIRN_OPERATION_COUNT && rows[op].write;
}

bool args_is_nested(unsigned op)
{
	return op < CAIRN_OPERATION_COUNT && rows[op].nested;
}

/* The name of the lowest field of SET, whose numbers begin at FIRST. */
static const char *first_name(field_set set, unsigned first)
{
	unsigned field = first;

	while (!(set >> (field - first) & 1))
		field++;
	return cairn_field_row(field) ? cairn_field_row(field)->json : "?";
}

enum cairn_code args_check(unsigned op, const struct args *a, struct cairn_error *error)
{
	const struct row *row = &rows[op];
	const char *name = cairn_operation_row(op)->name;
	field_set missing = row->needs & ~a->has[0], extra = a->has[0] & ~(row->needs | row->takes | COMMAND),
		  more = a->has[1]; /* none takes one yet */

	if (missing)
		return cairn_fail(error, CAIRN_E_INVALID, "%s needs the argument '%s'", name,
				  first_name(missing, 0));
	if (extra || more)
		return cairn_fail(error, CAIRN_E_INVALID, "%s does not take the argument '%s'", name,
				  extra ? first_name(extra, 0) : first_name(more, 128));
	return CAIRN_OK;
}
