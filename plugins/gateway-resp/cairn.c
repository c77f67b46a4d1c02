/* What cairn has and Redis has not: the versions of a key, transactions with conditions, the state of the
 * node. */
#include <stdint.h>
#include <stdio.h>
#include "families.h"
#include "banned.h"

static bool is_list(unsigned field)
{
	enum cairn_type type = cairn_field_row(field)->type;

	return type == CAIRN_T_LIST || type == CAIRN_T_TEXTS || type == CAIRN_T_OPERATIONS;
}

/* How often the field WANTED stands in FIELDS. */
static size_t count_of(struct cairn_slice fields, unsigned wanted)
{
	struct cairn_slice body;
	unsigned field;
	size_t n = 0;

	while (cairn_field_next(&fields, &field, &body) == 0 && field)
		n += field == wanted;
	return n;
}

static void tell_fields(struct client *c, struct cairn_slice fields);

static void tell_body(struct client *c, unsigned field, struct cairn_slice body)
{
	switch (cairn_field_row(field)->type) {
	case CAIRN_T_U64:
	case CAIRN_T_I64:
		reply_integer(c, (long long)cairn_body_u64(body));
		break;
	case CAIRN_T_TIME:
		reply_integer(c, (long long)(cairn_body_u64(body) / 1000000));
		break;
	case CAIRN_T_BOOL:
		reply_integer(c, body.len && *(const char *)body.data);
		break;
	case CAIRN_T_KIND:
		reply_text(c,
			   cairn_kind_name(body.len ? *(const unsigned char *)body.data : CAIRN_KIND_COUNT));
		break;
	case CAIRN_T_OBJECT:
	case CAIRN_T_LIST:
		tell_fields(c, body);
		break;
	case CAIRN_T_BYTES:
	case CAIRN_T_TEXT:
	case CAIRN_T_TEXTS:
	case CAIRN_T_ID:
	case CAIRN_T_OPERATIONS:
		reply_bulk(c, body);
		break;
	}
}

/* Fields as a map; what may stand several times is an array. */
static void tell_fields(struct client *c, struct cairn_slice fields)
{
	struct cairn_slice rest = fields, again, body, item;
	bool seen[CAIRN_FIELD_COUNT] = { false };
	unsigned field, other;
	size_t pairs = 0;

	while (cairn_field_next(&rest, &field, &body) == 0 && field)
		if (cairn_field_row(field) && !seen[field]) {
			seen[field] = true;
			pairs++;
		}
	reply_map(c, pairs);
	memset(seen, 0, sizeof(seen));
	for (rest = fields; cairn_field_next(&rest, &field, &body) == 0 && field;) {
		if (!cairn_field_row(field) || seen[field])
			continue;
		seen[field] = true;
		reply_text(c, cairn_field_row(field)->json);
		if (!is_list(field)) {
			tell_body(c, field, body);
			continue;
		}
		reply_array(c, count_of(fields, field));
		for (again = fields; cairn_field_next(&again, &other, &item) == 0 && other;)
			if (other == field)
				tell_body(c, field, item);
	}
}

/* The rows of FIELDS as an array. */
static void tell_rows(struct client *c, struct cairn_slice fields)
{
	struct cairn_slice row;
	unsigned field;

	reply_array(c, count_of(fields, CAIRN_F_ROW));
	while (cairn_field_next(&fields, &field, &row) == 0 && field)
		if (field == CAIRN_F_ROW)
			tell_fields(c, row);
}

/* CAIRN.HISTORY key [COUNT n] */
RUN(run_history)
{
	struct cairn_request *r;
	struct result result;
	long long limit = 100;

	if (!c->step) {
		if (a->count > 2 &&
		    (a->count != 4 || !word_is(a->at[2], "count") || !to_integer(a->at[3], &limit) ||
		     limit < 1)) {
			reply_error(c, ERROR_SYNTAX);
			return RUN_DONE;
		}
		r = step_new(c, CAIRN_OP_HISTORY);
		if (!r) {
			client_end(c);
			return RUN_DONE;
		}
		cairn_msg_bytes(r->arguments, CAIRN_F_KEY, a->at[1]);
		cairn_msg_u64(r->arguments, CAIRN_F_LIMIT, (uint64_t)limit);
		return step_start(c);
	}
	result = step_result(c);
	if (result.code == CAIRN_E_NOT_FOUND)
		reply_array(c, 0);
	else if (result.code)
		tell_error(c, &result);
	else
		tell_rows(c, result.fields);
	step_end(c);
	return RUN_DONE;
}

/* CAIRN.REVERT key revision */
ASK(ask_revert)
{
	long long revision;

	if (!to_integer(a->at[2], &revision) || revision < 0)
		return ask_fail(q, ERROR_INTEGER);
	ask_begin(q, CAIRN_OP_REVERT, a->at[1]);
	cairn_msg_u64(q->m, CAIRN_F_REVISION, (uint64_t)revision);
	ask_end(q);
	return true;
}

/* CAIRN.STATUS */
RUN(run_status)
{
	struct result result;

	(void)a;
	if (!c->step) {
		if (!step_new(c, CAIRN_OP_STATUS)) {
			client_end(c);
			return RUN_DONE;
		}
		c->step->arguments->len = CAIRN_MESSAGE_HEAD; /* it is about all volumes */
		return step_start(c);
	}
	result = step_result(c);
	if (result.code)
		tell_error(c, &result);
	else
		tell_fields(c, result.fields);
	step_end(c);
	return RUN_DONE;
}

/* What may stand behind THEN and ELSE, with as many words as it has there. */
static const struct {
	const char *name;
	size_t words;
} allowed[] = { { "set", 3 },    { "get", 2 },     { "del", 2 },    { "incrby", 3 }, { "append", 3 },
		{ "expire", 3 }, { "persist", 2 }, { "rename", 3 }, { "copy", 3 } };

/* The command at word I of A, and how many words it has; NULL where there is none that is allowed. */
static const struct command *command_at(struct client *c, const struct args *a, size_t i, size_t *words)
{
	for (size_t n = 0; i < a->count && n < sizeof(allowed) / sizeof(allowed[0]); n++)
		if (word_is(a->at[i], allowed[n].name) && i + allowed[n].words <= a->count) {
			*words = allowed[n].words;
			return command_find(c->g, a->at[i]);
		}
	return NULL;
}

/* The conditions from word *I on, up to THEN. */
static bool take_conditions(struct client *c, const struct args *a, struct cairn_msg *m, size_t *i)
{
	while (*i + 2 < a->count && word_is(a->at[*i], "if")) {
		struct cairn_slice key = a->at[*i + 1], what = a->at[*i + 2];
		bool more = *i + 3 < a->count, one = word_is(what, "exists") || word_is(what, "absent");
		size_t mark = cairn_msg_open(m, CAIRN_F_GUARD);
		long long revision = 0;

		cairn_msg_bytes(m, CAIRN_F_KEY, key);
		if (one) {
			cairn_msg_bool(m, CAIRN_F_EXISTS, word_is(what, "exists"));
		} else if (more && word_is(what, "eq")) {
			cairn_msg_bytes(m, CAIRN_F_VALUE, a->at[*i + 3]);
		} else if (more && word_is(what, "rev") && to_integer(a->at[*i + 3], &revision) &&
			   revision >= 0) {
			cairn_msg_u64(m, CAIRN_F_REVISION, (uint64_t)revision);
		} else {
			reply_error(c, "ERR a condition is: IF key EXISTS, ABSENT, EQ value or REV revision");
			return false;
		}
		cairn_msg_close(m, mark);
		*i += one ? 3 : 4;
	}
	return true;
}

/* The operations of the commands from word *I on, as items of LIST. */
static bool take_commands(struct client *c, const struct args *a, struct cairn_msg *m, unsigned list,
			  size_t *i)
{
	const struct command *command;
	size_t words;

	while (*i < a->count && !(list == CAIRN_F_THEN && word_is(a->at[*i], "else"))) {
		struct ask q = { .c = c, .m = m, .nested = true, .list = list };

		command = command_at(c, a, *i, &words);
		if (!command) {
			reply_error(c,
				    "ERR a transaction has SET, GET, DEL, INCRBY, APPEND, EXPIRE, PERSIST, "
				    "RENAME and "
				    "COPY, without options");
			return false;
		}
		if (!command->ask(&q, &(struct args){ a->at + *i, words })) {
			reply_error(c, "%s", q.error);
			return false;
		}
		*i += words;
	}
	return true;
}

static bool take_transaction(struct client *c, const struct args *a, struct cairn_msg *m)
{
	size_t i = 1;

	if (!take_conditions(c, a, m, &i))
		return false;
	if (i == a->count || !word_is(a->at[i], "then")) {
		reply_error(c, "ERR a transaction is: [IF key ...]... THEN command... [ELSE command...]");
		return false;
	}
	i++;
	if (!take_commands(c, a, m, CAIRN_F_THEN, &i))
		return false;
	i += i < a->count;
	return take_commands(c, a, m, CAIRN_F_ELSE, &i);
}

/* Word number I of A is where the commands begin that were done: behind THEN, or behind ELSE. */
static size_t find_done(struct client *c, const struct args *a, bool succeeded)
{
	size_t i = 1, words;

	while (!word_is(a->at[i], "then"))
		i += word_is(a->at[i + 2], "exists") || word_is(a->at[i + 2], "absent") ? 3 : 4;
	i++;
	while (!succeeded && i < a->count && !word_is(a->at[i], "else")) {
		command_at(c, a, i, &words);
		i += words;
	}
	return succeeded ? i : i + (i < a->count);
}

static void tell_transaction(struct client *c, const struct args *a, struct cairn_slice fields)
{
	bool succeeded = cairn_field_bool(fields, CAIRN_F_SUCCEEDED, true);
	size_t from = find_done(c, a, succeeded), n = 0, words = 0;

	for (size_t i = from; i < a->count && !word_is(a->at[i], "else"); i += words, n++)
		command_at(c, a, i, &words);
	reply_array(c, 2);
	reply_integer(c, succeeded);
	reply_array(c, n);
	for (size_t i = from; n; i += words, n--) {
		const struct command *command = command_at(c, a, i, &words);
		struct cairn_msg unused = { 0 };
		struct ask q = { .c = c, .m = &unused, .nested = true, .list = CAIRN_F_THEN };
		struct result results[4] = { 0 };
		struct cairn_slice body;
		unsigned field;
		size_t got = 0;

		cairn_msg_start(&unused, 0);
		command->ask(&q,
			     &(struct args){ a->at + i, words }); /* for its tag, and how many operations */
		cairn_msg_free(&unused);
		while (got < q.count && got < 4 && cairn_field_next(&fields, &field, &body) == 0 && field)
			if (field == CAIRN_F_RESULT)
				results[got++] = result_item(body);
		command->tell(c, q.tag, results, got);
	}
}

/* CAIRN.TXN [IF key ...]... THEN command... [ELSE command...] */
RUN(run_txn)
{
	struct result result;
	struct cairn_request *r;

	if (!c->step) {
		r = step_new(c, CAIRN_OP_TXN);
		if (!r) {
			client_end(c);
			return RUN_DONE;
		}
		if (take_transaction(c, a, r->arguments))
			return step_start(c);
		step_end(c);
		return RUN_DONE;
	}
	result = step_result(c);
	if (result.code)
		tell_error(c, &result);
	else
		tell_transaction(c, a, result.fields);
	step_end(c);
	return RUN_DONE;
}
