/*
 * The operation table: what each operation takes and which function serves it. Names, aliases, permissions
 * and help stand in cairn/operations.h. A call is checked against its row here, whichever face it came from,
 * and counted when it ends.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include "clock.h"
#include "nearest.h"
#include "operation.h"
#include "banned.h"

#define TIMEOUT_DEFAULT_MS 5000
#define TIMEOUT_MAX_MS (24 * 3600 * 1000ull)

#define A(field) \
	{ \
		CAIRN_F_##field, false \
	}
#define R(field) \
	{ \
		CAIRN_F_##field, true \
	}
#define ARGUMENTS(op, ...) \
	static const struct operation_argument op##_arguments[] = { __VA_ARGS__ __VA_OPT__(, ){ 0, false } }

const struct operation_argument operation_common[] = {
	A(VOLUME), A(TIMEOUT_MS), A(FACE), A(CLIENT), A(SEQUENCE), A(LOWEST), A(BORN), { 0, false },
};

ARGUMENTS(GET, R(KEY), A(META_ONLY), A(OFFSET), A(LENGTH), A(REVISION), A(AT), A(LOCAL));
ARGUMENTS(PUT, R(KEY), A(VALUE), A(UPLOAD), A(SIZE), A(KIND), A(ATTRIBUTES), A(EXPIRY), A(TTL_MS),
	  A(KEEP_EXPIRY), A(OPEN), A(RETURN_OLD), A(GUARD));
ARGUMENTS(DELETE, R(KEY), A(RETURN_OLD), A(GUARD));
ARGUMENTS(SCAN, A(FROM), A(TO), A(PREFIX), A(DELIMITER), A(LIMIT), A(REVERSE), A(KEYS_ONLY), A(META_ONLY),
	  A(CURSOR), A(AT), A(LOCAL));
ARGUMENTS(TXN, A(GUARD), A(THEN), A(ELSE), A(EACH));
ARGUMENTS(SET_ATTRIBUTES, R(KEY), R(ATTRIBUTES), A(KIND), A(OPEN), A(GUARD));
ARGUMENTS(MOVE, R(KEY), R(TO), A(GUARD));
ARGUMENTS(MOVE_PREFIX, R(PREFIX), R(TO), A(GUARD));
ARGUMENTS(STAGE, R(UPLOAD), A(INDEX), A(VALUE));
ARGUMENTS(UNSTAGE, R(UPLOAD));
ARGUMENTS(COPY, R(KEY), R(TO), A(GUARD));
ARGUMENTS(COPY_PREFIX, R(PREFIX), R(TO), A(GUARD));
ARGUMENTS(DELETE_PREFIX, R(PREFIX), A(GUARD));
ARGUMENTS(APPEND, R(KEY), A(VALUE), A(UPLOAD), A(SIZE), A(ATTRIBUTES), A(GUARD));
ARGUMENTS(PATCH, R(KEY), A(OFFSET), A(VALUE), A(UPLOAD), A(EXTENT), A(SIZE), A(ATTRIBUTES), A(GUARD));
ARGUMENTS(SWAP, R(KEY), R(TO), A(GUARD));
ARGUMENTS(REVERT, R(KEY), R(REVISION), A(GUARD));
ARGUMENTS(REVERT_PREFIX, R(PREFIX), R(REVISION), A(GUARD));
ARGUMENTS(PURGE, A(KEY), A(PREFIX), A(GUARD));
ARGUMENTS(EXPIRE, R(KEY), A(EXPIRY), A(TTL_MS), A(GUARD));
ARGUMENTS(PERSIST, R(KEY), A(GUARD));
ARGUMENTS(INCREMENT, R(KEY), A(BY), A(GUARD));
ARGUMENTS(HISTORY, R(KEY), A(LIMIT), A(CURSOR));
ARGUMENTS(VIEW, A(REVISION), A(AS_OF));
ARGUMENTS(WATCH, A(KEY), A(PREFIX), A(REVISION), A(INCARNATION), A(INITIAL), A(AT), A(FROM), A(PROGRESS),
	  A(VALUES), A(BEAT_MS));
ARGUMENTS(CONFIGURE, R(NAME), R(AMOUNT));
ARGUMENTS(PING, );
ARGUMENTS(STATUS, );
ARGUMENTS(METRICS, );
ARGUMENTS(OPERATIONS, A(NAME));
ARGUMENTS(PLUGIN_LIST, );
ARGUMENTS(PLUGIN_SHOW, R(NAME), A(TYPE));
ARGUMENTS(VOLUME_LIST, );
ARGUMENTS(VOLUME_CREATE, R(NAME), A(ENGINE), A(REPLICATION), A(PARAMETER));
ARGUMENTS(VOLUME_DROP, R(NAME));
ARGUMENTS(VOLUME_STATS, );
ARGUMENTS(CONFIG_GET, A(SETTING));
ARGUMENTS(CONFIG_SET, R(SETTING), R(AMOUNT));
ARGUMENTS(LOG_LEVEL, A(MODULE), A(LEVEL));
ARGUMENTS(DIGEST, );
ARGUMENTS(JOURNAL, );
ARGUMENTS(FLUSH, R(NAME));
ARGUMENTS(CONVERT, R(NAME), R(ENGINE), A(PARAMETER));
ARGUMENTS(CHECK, );
ARGUMENTS(COMPACT, );
ARGUMENTS(SNAPSHOT_SAVE, A(PLAIN));
ARGUMENTS(SNAPSHOT_RESTORE, R(UPLOAD), R(NAME), A(OFFSET), A(VALUE), A(LAST), A(ENGINE), A(REPLICATION),
	  A(PARAMETER));

#define ROW(op, function, on_volume, nested) [CAIRN_OP_##op] = { op##_arguments, on_volume, nested, function }

static const struct operation rows[CAIRN_OPERATION_COUNT] = {
	ROW(GET, op_read, true, true),
	ROW(PUT, op_write, true, true),
	ROW(DELETE, op_write, true, true),
	ROW(SCAN, op_scan, true, false),
	ROW(TXN, op_write, true, false),
	ROW(SET_ATTRIBUTES, op_write, true, true),
	ROW(MOVE, op_write, true, true),
	ROW(MOVE_PREFIX, op_write, true, true),
	ROW(STAGE, op_write, true, false),
	ROW(UNSTAGE, op_write, true, false),
	ROW(COPY, op_write, true, true),
	ROW(COPY_PREFIX, op_write, true, true),
	ROW(DELETE_PREFIX, op_write, true, true),
	ROW(APPEND, op_write, true, true),
	ROW(PATCH, op_write, true, true),
	ROW(SWAP, op_write, true, true),
	ROW(REVERT, op_write, true, true),
	ROW(REVERT_PREFIX, op_write, true, true),
	ROW(PURGE, op_write, true, true),
	ROW(EXPIRE, op_write, true, true),
	ROW(PERSIST, op_write, true, true),
	ROW(INCREMENT, op_write, true, true),
	ROW(HISTORY, op_read, true, false),
	ROW(VIEW, op_read, true, false),
	ROW(WATCH, op_watch, true, false),
	ROW(CONFIGURE, op_write, true, false),
	ROW(PING, op_ping, true, false),
	ROW(STATUS, op_status, false, false),
	ROW(METRICS, op_metrics, false, false),
	ROW(OPERATIONS, op_operations, false, false),
	ROW(PLUGIN_LIST, op_plugin_list, false, false),
	ROW(PLUGIN_SHOW, op_plugin_show, false, false),
	ROW(VOLUME_LIST, op_volume_list, false, false),
	ROW(VOLUME_CREATE, op_volume_create, false, false),
	ROW(VOLUME_DROP, op_volume_drop, false, false),
	ROW(VOLUME_STATS, op_volume_stats, true, false),
	ROW(CONFIG_GET, op_config_get, false, false),
	ROW(CONFIG_SET, op_config_set, false, false),
	ROW(LOG_LEVEL, op_log_level, false, false),
	ROW(DIGEST, op_digest, true, false),
	ROW(JOURNAL, op_journal, false, false),
	ROW(FLUSH, op_flush, false, false),
	ROW(CONVERT, op_convert, false, false),
	ROW(CHECK, op_check, true, false),
	ROW(COMPACT, op_compact, true, false),
	ROW(SNAPSHOT_SAVE, op_snapshot_save, true, false),
	ROW(SNAPSHOT_RESTORE, op_snapshot_restore, false, false),
};

const struct operation *operation(unsigned op)
{
	return op < CAIRN_OPERATION_COUNT && rows[op].run ? &rows[op] : NULL;
}

void operation_hint(const char *name, struct cairn_error *error)
{
	const char *names[CAIRN_OPERATION_COUNT] = { 0 }, *meant;

	for (unsigned i = 1; i < CAIRN_OPERATION_COUNT; i++)
		if (operation(i))
			names[i] = cairn_operation_row(i)->name;
	meant = nearest(name, names, CAIRN_OPERATION_COUNT);
	if (meant)
		cairn_hint(error, "did you mean '%s'?", meant);
}

static const struct operation_argument *find(const struct operation_argument *list, unsigned field)
{
	for (; list->field; list++)
		if (list->field == field)
			return list;
	return NULL;
}

static bool is_list(unsigned field)
{
	enum cairn_type type = cairn_field_row(field)->type;

	return type == CAIRN_T_LIST || type == CAIRN_T_TEXTS || type == CAIRN_T_OPERATIONS;
}

static enum cairn_code check_nested(struct call *c, struct cairn_slice message);

/* Whether FIELDS are what operation OP takes, COMMON allowed beside its own. */
static enum cairn_code check_fields(struct call *c, unsigned op, struct cairn_slice fields,
				    const struct operation_argument *common)
{
	const struct operation_argument *arguments = rows[op].arguments;
	const char *name = cairn_operation_row(op)->name;
	uint64_t seen[4] = { 0 };
	struct cairn_slice body;
	unsigned field;

	while (cairn_field_next(&fields, &field, &body) == 0 && field != CAIRN_F_END) {
		uint64_t bit = 1ull << field % 64;

		if (!find(arguments, field) && !find(common, field))
			return cairn_fail(&c->error, CAIRN_E_INVALID, "%s takes no argument '%s'", name,
					  cairn_field_row(field)->json);
		if (seen[field / 64] & bit && !is_list(field))
			return cairn_fail(&c->error, CAIRN_E_INVALID, "argument '%s' of %s stands twice",
					  cairn_field_row(field)->json, name);
		seen[field / 64] |= bit;
		if ((field == CAIRN_F_THEN || field == CAIRN_F_ELSE) && check_nested(c, body))
			return c->error.code;
	}
	for (; arguments->field; arguments++)
		if (arguments->required && !(seen[arguments->field / 64] & 1ull << arguments->field % 64))
			return cairn_fail(&c->error, CAIRN_E_INVALID, "%s needs the argument '%s'", name,
					  cairn_field_row(arguments->field)->json);
	return CAIRN_OK;
}

static enum cairn_code check_nested(struct call *c, struct cairn_slice message)
{
	static const struct operation_argument none[] = { { 0, false } };
	unsigned op = cairn_message_number(message);
	const struct operation *row = operation(op);

	if (!row)
		return cairn_fail(&c->error, CAIRN_E_INVALID, "no operation has the number %u", op);
	if (!row->nested)
		return cairn_fail(&c->error, CAIRN_E_INVALID, "%s cannot stand inside a transaction",
				  cairn_operation_row(op)->name);
	return check_fields(c, op, cairn_message_fields(message), none);
}

static const char *may_name(enum cairn_permission may)
{
	return may == CAIRN_MAY_READ ? "read" : may == CAIRN_MAY_WRITE ? "write" : "administer";
}

static enum cairn_code check(struct call *c)
{
	const struct operation *row = operation(c->op);
	const struct cairn_operation_row *names = cairn_operation_row(c->op);
	uint64_t timeout_ms;
	struct cairn_slice volume = { 0 };

	if (!row)
		return cairn_fail(&c->error, CAIRN_E_INVALID, "no operation has the number %u", c->op);
	if (names->permission > c->may)
		return cairn_fail(&c->error, CAIRN_E_DENIED, "%s may not %s: %s is refused", c->author,
				  may_name(names->permission), names->name);
	if (check_fields(c, c->op, c->fields, operation_common))
		return c->error.code;
	timeout_ms = cairn_field_u64(c->fields, CAIRN_F_TIMEOUT_MS, TIMEOUT_DEFAULT_MS);
	c->deadline_ns =
		loop_now_ns(c->loop) + (timeout_ms < TIMEOUT_MAX_MS ? timeout_ms : TIMEOUT_MAX_MS) * 1000000;
	if (!row->on_volume)
		return CAIRN_OK;
	cairn_field_find(c->fields, CAIRN_F_VOLUME, &volume);
	return volume_get(c->node, volume, &c->volume, &c->error);
}

/* The volume that C names may have been made on another node just now: the cluster has been asked, and this
 * node has opened what it heard of. */
static void volume_settled(struct loop_task *t)
{
	struct call *c = (struct call *)((char *)t - offsetof(struct call, back));

	c->error.code = CAIRN_OK;
	if (check(c))
		call_done(c);
	else
		rows[c->op].run(c);
}

static void volume_asked(struct shard_read *q)
{
	struct call *c = (struct call *)((char *)q - offsetof(struct call, read));

	if (q->error.code) {
		c->error = q->error;
		call_done(c);
		return;
	}
	c->back.run = volume_settled;
	volumes_when_settled(c->node, &c->back);
}

/* Whether C, whose check has failed, goes on when the cluster has said which volumes there are. */
static bool ask_for_volume(struct call *c)
{
	const struct operation *row = operation(c->op);
	struct volume *system = volumes_system(c->node);

	if (!c->node->cluster || !row || !row->on_volume || !system || !system->shard || !c->node->loop ||
	    (c->error.code != CAIRN_E_NOT_FOUND && c->error.code != CAIRN_E_UNAVAILABLE) ||
	    volume_is_listed(c->node, c->fields) || !c->keep(c))
		return false;
	c->read = (struct shard_read){ .loop = c->loop, .deadline_ns = c->deadline_ns, .done = volume_asked };
	return !shard_read_begin(system->shard, &c->read);
}

void call_start(struct call *c)
{
	c->start_ns = clock_boot_ns();
	c->error.code = CAIRN_OK;
	c->cancelled = false;
	c->resume = NULL;
	c->cancel = NULL;
	c->volume = NULL;
	c->rows = 0;
	cairn_msg_start(&c->answer, 0);
	if (check(c)) {
		if (!ask_for_volume(c))
			call_done(c);
	} else {
		rows[c->op].run(c);
	}
}

void call_done(struct call *c)
{
	int r = cairn_msg_error(&c->answer);

	if (r < 0 && c->error.code == CAIRN_OK)
		cairn_fail(&c->error, CAIRN_E_INTERNAL, "the answer could not be built: %s",
			   r == -ENOMEM ? "out of memory" : "too large");
	if (c->volume)
		volume_put(c->volume);
	c->volume = NULL;
	metrics_request(c->node->metrics, c->op, c->error.code, clock_boot_ns() - c->start_ns);
	c->done(c);
}

void call_fail(struct call *c, enum cairn_code code, const char *format, ...)
{
	char message[sizeof(c->error.message)];
	va_list args;

	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	cairn_fail(&c->error, code, "%s", message);
	call_done(c);
}

void call_cancel(struct call *c, bool waits)
{
	c->cancelled = true;
	if (waits)
		c->resume(c);
	else if (c->cancel)
		c->cancel(c);
}
