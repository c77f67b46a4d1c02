/* Commands on keys, whatever their values. */
#include <stdio.h>
#include "families.h"
#include "banned.h"

ASK(ask_del)
{
	ask_count(q, a->count - 1);
	for (size_t i = 1; i < a->count; i++) {
		ask_begin(q, CAIRN_OP_DELETE, a->at[i]);
		ask_end(q);
	}
	return true;
}

/* How many operations succeeded; a key that is not there, or not as it should be, is no error. */
TELL(tell_count)
{
	long long n = 0;

	(void)tag;
	for (size_t i = 0; i < count; i++)
		if (!results[i].code) {
			n++;
		} else if (results[i].code != CAIRN_E_NOT_FOUND && results[i].code != CAIRN_E_CONFLICT) {
			tell_error(c, &results[i]);
			return;
		}
	reply_integer(c, n);
}

/* DELEX key [IFEQ value], and DELIFEQ key value. */
ASK(ask_delex)
{
	bool plain = a->count == 2, short_form = word_is(a->at[0], "delifeq");

	if (!plain && !short_form && (a->count != 4 || !word_is(a->at[2], "ifeq")))
		return ask_fail(q, ERROR_SYNTAX);
	ask_begin(q, CAIRN_OP_DELETE, a->at[1]);
	if (!plain)
		ask_if_equal(q, a->at[1], a->at[a->count - 1]);
	ask_end(q);
	return true;
}

TELL(tell_exists)
{
	if (tag & (EACH_FIRST | EACH_ALL))
		c->sum = 0;
	for (size_t i = 0; i < count; i++)
		c->sum += !results[i].code;
	if (tag & (EACH_LAST | EACH_ALL))
		reply_integer(c, (long long)c->sum);
}

TELL(tell_type)
{
	struct cairn_slice kind;

	(void)tag;
	(void)count;
	if (results->code == CAIRN_E_NOT_FOUND)
		reply_status(c, "none");
	else if (results->code)
		tell_error(c, results);
	else if (cairn_field_find(results->fields, CAIRN_F_KIND, &kind) && kind.len == 1 &&
		 *(const unsigned char *)kind.data != CAIRN_KIND_VALUE)
		reply_status(c, cairn_kind_name(*(const unsigned char *)kind.data));
	else
		reply_status(c, "string");
}

/* In the tag of EXPIRE and its like: */
#define EXPIRE_SECONDS 1u
#define EXPIRE_AT 2u

static unsigned expire_form(const struct args *a)
{
	static const char *const names[] = { "pexpire", "expire", "pexpireat", "expireat" };
	unsigned form = 0;

	while (form < 3 && !word_is(a->at[0], names[form]))
		form++;
	return form;
}

/* The conditions that stand behind the time. */
struct when {
	bool nx, xx, gt, lt;
};

static bool take_when(struct ask *q, const struct args *a, struct when *w)
{
	for (size_t i = 3; i < a->count; i++)
		if (word_is(a->at[i], "nx"))
			w->nx = true;
		else if (word_is(a->at[i], "xx"))
			w->xx = true;
		else if (word_is(a->at[i], "gt"))
			w->gt = true;
		else if (word_is(a->at[i], "lt"))
			w->lt = true;
		else
			return ask_fail(q, "ERR Unsupported option %.*s",
					(int)(a->at[i].len < 64 ? a->at[i].len : 64),
					(const char *)a->at[i].data);
	if (w->nx && (w->xx || w->gt || w->lt))
		return ask_fail(q, "ERR NX and XX, GT or LT options at the same time are not compatible");
	if (w->gt && w->lt)
		return ask_fail(q, "ERR GT and LT options at the same time are not compatible");
	return true;
}

/* The time in A, in ms: from now on, or with AT absolute. PAST: the key goes at once. */
static bool take_time(struct ask *q, const struct args *a, uint64_t *ttl_ms, uint64_t *at_ms, bool *past)
{
	static const char *const names[] = { "pexpire", "expire", "pexpireat", "expireat" };
	unsigned form = expire_form(a);
	long long n, now = (long long)now_ms();

	*ttl_ms = *at_ms = 0;
	if (!to_integer(a->at[2], &n))
		return ask_fail(q, ERROR_INTEGER);
	if ((form & EXPIRE_SECONDS && __builtin_mul_overflow(n, 1000, &n)) ||
	    (!(form & EXPIRE_AT) && n > INT64_MAX - now))
		return ask_fail(q, "ERR invalid expire time in '%s' command", names[form]);
	*past = form & EXPIRE_AT ? n <= now : n <= 0;
	return *past ||
		to_expiry(q, names[form], a->at[2], form & EXPIRE_SECONDS, form & EXPIRE_AT, ttl_ms, at_ms);
}

static void if_expiry(struct cairn_msg *m, struct cairn_slice key, uint64_t expiry)
{
	size_t mark = cairn_msg_open(m, CAIRN_F_GUARD);

	cairn_msg_bytes(m, CAIRN_F_KEY, key);
	cairn_msg_bool(m, CAIRN_F_EXISTS, true);
	cairn_msg_u64(m, CAIRN_F_EXPIRY, expiry);
	cairn_msg_close(m, mark);
}

ASK(ask_expire)
{
	struct when w = { 0 };
	uint64_t ttl_ms, at_ms;
	bool past;

	if (!take_when(q, a, &w) || !take_time(q, a, &ttl_ms, &at_ms, &past))
		return false;
	q->look = w.xx || w.gt || w.lt;
	if (q->look)
		return false;
	ask_begin(q, past ? CAIRN_OP_DELETE : CAIRN_OP_EXPIRE, a->at[1]);
	if (!past)
		ask_expiry(q, ttl_ms, at_ms);
	if (w.nx)
		if_expiry(q->m, a->at[1], 0);
	ask_end(q);
	return true;
}

static enum run look(struct client *c, struct cairn_slice key)
{
	struct cairn_request *r = step_new(c, CAIRN_OP_GET);

	if (!r) {
		client_end(c);
		return RUN_DONE;
	}
	cairn_msg_bytes(r->arguments, CAIRN_F_KEY, key);
	cairn_msg_bool(r->arguments, CAIRN_F_META_ONLY, true);
	c->phase = 1;
	return step_start(c);
}

/* Whether W allows the new time where the old one is OLD (0: none). */
static bool allows(const struct when *w, uint64_t old, uint64_t next)
{
	if (w->xx && !old)
		return false;
	if (w->gt && (!old || next <= old))
		return false;
	return !w->lt || !old || next < old;
}

/* EXPIRE with a condition that depends on the time when the key goes now. */
RUN(run_expire)
{
	struct ask q = { .c = c };
	struct when w = { 0 };
	struct cairn_request *r;
	struct result result;
	uint64_t ttl_ms, at_ms, old, now;
	bool past;

	if (c->phase == 0)
		return look(c, a->at[1]);
	result = step_result(c);
	if (result.code == CAIRN_E_CONFLICT) { /* it was changed meanwhile */
		step_end(c);
		return look(c, a->at[1]);
	}
	old = cairn_field_u64(result.fields, CAIRN_F_EXPIRY, 0);
	now = old ? old / 1000000 - cairn_field_u64(result.fields, CAIRN_F_TTL_MS, 0)
		  : now_ms(); /* the volume's */
	take_when(&q, a, &w);
	take_time(&q, a, &ttl_ms, &at_ms, &past);
	if (c->phase == 2 || result.code ||
	    !allows(&w, old,
		    past            ? 1
			    : at_ms ? at_ms * 1000000
				    : (now + ttl_ms) * 1000000)) {
		tell_count(c, 0, &result, c->phase == 2 || result.code ? 1 : 0);
		step_end(c);
		return RUN_DONE;
	}
	step_end(c);
	r = step_new(c, past ? CAIRN_OP_DELETE : CAIRN_OP_EXPIRE);
	if (!r) {
		client_end(c);
		return RUN_DONE;
	}
	q.m = r->arguments;
	cairn_msg_bytes(q.m, CAIRN_F_KEY, a->at[1]);
	if (!past)
		ask_expiry(&q, ttl_ms, at_ms);
	if_expiry(q.m, a->at[1], old);
	c->phase = 2;
	return step_start(c);
}

ASK(ask_ttl)
{
	ask_meta(q, a);
	q->tag = (word_is(a->at[0], "ttl") || word_is(a->at[0], "expiretime") ? EXPIRE_SECONDS : 0) |
		(word_is(a->at[0], "expiretime") || word_is(a->at[0], "pexpiretime") ? EXPIRE_AT : 0);
	return true;
}

TELL(tell_ttl)
{
	uint64_t at, ms, now = now_ms();

	(void)count;
	if (results->code == CAIRN_E_NOT_FOUND) {
		reply_integer(c, -2);
		return;
	}
	if (results->code) {
		tell_error(c, results);
		return;
	}
	at = cairn_field_u64(results->fields, CAIRN_F_EXPIRY, 0) / 1000000;
	if (!at) {
		reply_integer(c, -1);
		return;
	}
	ms = tag & EXPIRE_AT ? at : cairn_field_u64(results->fields, CAIRN_F_TTL_MS, at > now ? at - now : 0);
	if (tag & EXPIRE_SECONDS)
		ms = (ms + (tag & EXPIRE_AT ? 0 : 500)) / 1000;
	reply_integer(c, (long long)ms);
}

ASK(ask_persist)
{
	ask_wrap(q);
	ask_meta(q, a);
	ask_begin(q, CAIRN_OP_PERSIST, a->at[1]);
	ask_end(q);
	return true;
}

TELL(tell_persist)
{
	const struct result *last = &results[count - 1];

	(void)tag;
	if (last->code && last->code != CAIRN_E_NOT_FOUND)
		tell_error(c, last);
	else
		reply_integer(c, !last->code && cairn_field_u64(results->fields, CAIRN_F_EXPIRY, 0));
}

ASK(ask_rename)
{
	ask_begin(q, CAIRN_OP_MOVE, a->at[1]);
	cairn_msg_bytes(q->m, CAIRN_F_TO, a->at[2]);
	ask_end(q);
	return true;
}

TELL(tell_rename)
{
	(void)tag;
	(void)count;
	if (results->code == CAIRN_E_NOT_FOUND)
		reply_error(c, "ERR no such key");
	else if (results->code)
		tell_error(c, results);
	else
		reply_ok(c);
}

ASK(ask_renamenx)
{
	ask_wrap(q);
	ask_meta(q, a);
	ask_begin(q, CAIRN_OP_MOVE, a->at[1]);
	cairn_msg_bytes(q->m, CAIRN_F_TO, a->at[2]);
	ask_if_exists(q, a->at[2], false);
	ask_end(q);
	return true;
}

TELL(tell_renamenx)
{
	if (results->code == CAIRN_E_NOT_FOUND)
		reply_error(c, "ERR no such key");
	else
		tell_count(c, tag, &results[count - 1], 1);
}

ASK(ask_copy)
{
	bool replace = false;
	long long db;

	for (size_t i = 3; i < a->count; i++)
		if (word_is(a->at[i], "replace"))
			replace = true;
		else if (!word_is(a->at[i], "db") || i + 1 == a->count)
			return ask_fail(q, ERROR_SYNTAX);
		else if (!to_integer(a->at[++i], &db))
			return ask_fail(q, "ERR value is not an integer or out of range");
		else if (db < 0 || db >= q->c->g->volume_count)
			return ask_fail(q, "ERR DB index is out of range");
		else if (db != q->c->db)
			return ask_fail(q,
					"ERR a copy into another volume: use cairn export and import, or GET "
					"and SET");
	if (cairn_slice_eq(a->at[1], a->at[2]))
		return ask_fail(q, "ERR source and destination objects are the same");
	ask_begin(q, CAIRN_OP_COPY, a->at[1]);
	cairn_msg_bytes(q->m, CAIRN_F_TO, a->at[2]);
	if (!replace)
		ask_if_exists(q, a->at[2], false);
	ask_end(q);
	return true;
}
