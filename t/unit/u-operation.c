/* The operation table: it has every operation, and takes the same arguments as the store does. */
#include "args.h"
#include "operation.h"
#include "tap.h"

/* A body of the right length for FIELD. */
static void add(struct cairn_msg *m, unsigned field)
{
	static const unsigned char lengths[] = {
		[CAIRN_T_U64] = 8,  [CAIRN_T_I64] = 8, [CAIRN_T_TIME] = 8,      [CAIRN_T_BOOL] = 1,
		[CAIRN_T_KIND] = 1, [CAIRN_T_ID] = 16, [CAIRN_T_OPERATIONS] = 0
	};
	static const char zeros[16];

	cairn_msg_bytes(m, field, cairn_slice(zeros, lengths[cairn_field_row(field)->type]));
}

static const struct operation_argument *find(const struct operation_argument *list, unsigned field)
{
	while (list->field && list->field != field)
		list++;
	return list->field ? list : NULL;
}

/* Whether the store takes OP with its required arguments and FIELD (0: none more). */
static bool store_takes(unsigned op, unsigned field)
{
	const struct operation_argument *a = operation(op)->arguments;
	struct cairn_msg m = { 0 };
	struct cairn_error error;
	struct args args;
	bool takes;

	cairn_msg_start(&m, op);
	for (; a->field; a++)
		if (a->required)
			add(&m, a->field);
	if (field && !find(operation(op)->arguments, field))
		add(&m, field);
	else if (field && !find(operation(op)->arguments, field)->required)
		add(&m, field);
	takes = args_parse(cairn_message_fields(cairn_msg_slice(&m)), &args) == 0 &&
		args_check(op, &args, &error) == CAIRN_OK;
	cairn_msg_free(&m);
	return takes;
}

static void same_arguments(unsigned op)
{
	/* A read's conditions on what it reads, which a command has no use for, and what the log adds. */
	static const unsigned char aside[] = { CAIRN_F_REVISION, CAIRN_F_AT, CAIRN_F_LOCAL, CAIRN_F_TIME,
					       CAIRN_F_AUTHOR };
	unsigned differ = 0;

	for (unsigned field = 1; field < CAIRN_FIELD_COUNT; field++) {
		if (!cairn_field_row(field) || find(operation_common, field) ||
		    memchr(aside, (int)field, sizeof(aside)))
			continue;
		if (op == CAIRN_OP_UNSTAGE && field == CAIRN_F_FROM) /* of the shard's own command */
			continue;
		if (store_takes(op, field) != (find(operation(op)->arguments, field) != NULL))
			differ = field;
	}
	ok(differ == 0 && store_takes(op, 0), "%s takes the same arguments as in the store%s%s",
	   cairn_operation_row(op)->name, differ ? ", but for " : "",
	   differ ? cairn_field_row(differ)->json : "");
}

int main(void)
{
	for (unsigned op = 1; op < CAIRN_OPERATION_COUNT; op++) {
		if (!cairn_operation_row(op))
			continue;
		if (cairn_operation_row(op)->permission == CAIRN_MAY_NOBODY) {
			ok(!operation(op) && args_is_write(op), "%s is for the daemon itself",
			   cairn_operation_row(op)->name);
			continue;
		}
		if (!ok(operation(op), "%s is in the table", cairn_operation_row(op)->name))
			continue;
		if (operation(op)->nested || args_is_write(op))
			same_arguments(op);
		if (cairn_operation_row(op)->permission == CAIRN_MAY_WRITE && op != CAIRN_OP_STAGE &&
		    op != CAIRN_OP_UNSTAGE)
			ok(find(operation(op)->arguments, CAIRN_F_GUARD),
			   "as a write it takes the fence of a lock");
		is_int(operation(op)->nested, args_is_nested(op),
		       "and stands in a transaction where the store takes it there");
	}
	return tap_done();
}
