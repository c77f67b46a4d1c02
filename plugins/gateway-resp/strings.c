/* Commands on values. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "families.h"
#include "banned.h"

ASK(ask_get)
{
	ask_begin(q, CAIRN_OP_GET, a->at[1]);
	ask_end(q);
	return true;
}

/* Whether FIELDS are of a value, and no directory, link or the like; else the error was told. */
static bool is_value(struct client *c, struct cairn_slice fields)
{
	struct cairn_slice kind;

	if (!cairn_field_find(fields, CAIRN_F_KIND, &kind) || kind.len != 1 ||
	    *(const unsigned char *)kind.data == CAIRN_KIND_VALUE)
		return true;
	reply_error(c, ERROR_TYPE);
	return false;
}

void tell_value(struct client *c, struct cairn_slice fields)
{
	struct cairn_slice value = { 0 };
	uint64_t size;

	if (!is_value(c, fields))
		return;
	cairn_field_find(fields, CAIRN_F_VALUE, &value);
	size = cairn_field_u64(fields, CAIRN_F_SIZE, value.len);
	if (size > value.len)
		c->big.size = size; /* it is gathered first */
	else
		reply_bulk(c, value);
}

TELL(tell_get)
{
	(void)tag;
	(void)count;
	if (results->code == CAIRN_E_NOT_FOUND)
		reply_null(c);
	else if (results->code)
		tell_error(c, results);
	else
		tell_value(c, results->fields);
}

TELL(tell_mget)
{
	if (tag & EACH_ALL)
		reply_array(c, count);
	else if (tag & EACH_FIRST)
		reply_array(c, tag >> 8);
	for (size_t i = 0; i < count; i++) {
		struct cairn_slice kind;

		if (results[i].code ||
		    (cairn_field_find(results[i].fields, CAIRN_F_KIND, &kind) && kind.len == 1 &&
		     *(const unsigned char *)kind.data != CAIRN_KIND_VALUE))
			reply_null(c);
		else
			tell_value(c, results[i].fields);
	}
}

/* Options of SET and GETEX. */
struct options {
	bool nx, xx, get, keep, persist;
	uint64_t ttl_ms, at_ms;          /* 0: none */
	const struct cairn_slice *equal; /* IFEQ */
	const struct cairn_slice *time;  /* a number, looked at when all options were, */
	bool seconds, absolute;          /* and what it is of */
};

#define TTL_MAX_MS (100ull * 366 * 86400 * 1000) /* the longest that the daemon takes as such */
#define AT_MAX_MS 18446744073709ull              /* in the year 2554 */

bool to_expiry(struct ask *q, const char *command, struct cairn_slice word, bool seconds, bool absolute,
	       uint64_t *ttl_ms, uint64_t *at_ms)
{
	long long n;

	if (!to_integer(word, &n))
		return ask_fail(q, ERROR_INTEGER);
	if (n <= 0 || (seconds && __builtin_mul_overflow(n, 1000, &n)) ||
	    (!absolute && n > INT64_MAX - (long long)now_ms()))
		return ask_fail(q, "ERR invalid expire time in '%s' command", command);
	if (!absolute && (uint64_t)n > TTL_MAX_MS) {
		absolute = true;
		n += (long long)now_ms();
	}
	if (absolute && (uint64_t)n <= now_ms())
		*at_ms = 1; /* gone by any clock */
	else if (absolute)
		*at_ms = (uint64_t)n < AT_MAX_MS ? (uint64_t)n : AT_MAX_MS;
	else
		*ttl_ms = (uint64_t)n;
	return true;
}

void ask_expiry(struct ask *q, uint64_t ttl_ms, uint64_t at_ms)
{
	if (ttl_ms)
		cairn_msg_u64(q->m, CAIRN_F_TTL_MS, ttl_ms);
	else if (at_ms)
		cairn_msg_u64(q->m, CAIRN_F_EXPIRY, at_ms * 1000000);
}

/* The option at word *I, with its argument, into *O. */
static bool take_option(struct ask *q, const struct args *a, size_t *i, bool set, struct options *o)
{
	static const struct {
		const char *name;
		bool seconds, absolute;
	} times[] = {
		{ "ex", true, false }, { "px", false, false }, { "exat", true, true }, { "pxat", false, true }
	};
	struct cairn_slice word = a->at[*i];
	bool timed = o->time || o->keep || o->persist;

	for (size_t t = 0; t < 4; t++)
		if (word_is(word, times[t].name) && *i + 1 < a->count && !timed) {
			o->time = &a->at[++*i];
			o->seconds = times[t].seconds;
			o->absolute = times[t].absolute;
			return true;
		}
	if (set && word_is(word, "nx") && !o->xx && !o->equal)
		o->nx = true;
	else if (set && word_is(word, "xx") && !o->nx && !o->equal)
		o->xx = true;
	else if (set && word_is(word, "get"))
		o->get = true;
	else if (set && word_is(word, "keepttl") && !timed)
		o->keep = true;
	else if (set && word_is(word, "ifeq") && *i + 1 < a->count && !o->nx && !o->xx && !o->equal)
		o->equal = &a->at[++*i];
	else if (!set && word_is(word, "persist") && !timed)
		o->persist = true;
	else
		return ask_fail(q, ERROR_SYNTAX);
	return true;
}

void ask_if_equal(struct ask *q, struct cairn_slice key, struct cairn_slice value)
{
	size_t mark = cairn_msg_open(q->m, CAIRN_F_GUARD);

	cairn_msg_bytes(q->m, CAIRN_F_KEY, key);
	cairn_msg_bytes(q->m, CAIRN_F_VALUE, value);
	cairn_msg_close(q->m, mark);
}

#define SET_GET 1u   /* tag: the old value is the reply */
#define SET_COUNT 2u /* 1 or 0 is */

ASK(ask_set)
{
	struct options o = { 0 };

	for (size_t i = 3; i < a->count; i++)
		if (!take_option(q, a, &i, true, &o))
			return false;
	if (o.time && !to_expiry(q, "set", *o.time, o.seconds, o.absolute, &o.ttl_ms, &o.at_ms))
		return false;
	if (o.get) {
		ask_wrap(q);
		ask_get(q, a);
		q->tag = SET_GET;
	}
	ask_begin(q, CAIRN_OP_PUT, a->at[1]);
	ask_value(q, a->at[2]);
	ask_expiry(q, o.ttl_ms, o.at_ms);
	if (o.keep)
		cairn_msg_bool(q->m, CAIRN_F_KEEP_EXPIRY, true);
	if (o.nx || o.xx)
		ask_if_exists(q, a->at[1], o.xx);
	if (o.equal)
		ask_if_equal(q, a->at[1], *o.equal);
	ask_end(q);
	return true;
}

TELL(tell_set)
{
	const struct result *put = &results[count - 1];

	if (put->code && put->code != CAIRN_E_CONFLICT)
		tell_error(c, put);
	else if (tag & SET_GET)
		tell_get(c, 0, results, 1);
	else if (tag & SET_COUNT)
		reply_integer(c, !put->code);
	else if (put->code)
		reply_null(c);
	else
		reply_ok(c);
}

ASK(ask_setnx)
{
	ask_begin(q, CAIRN_OP_PUT, a->at[1]);
	ask_value(q, a->at[2]);
	ask_if_exists(q, a->at[1], false);
	ask_end(q);
	q->tag = SET_COUNT;
	return true;
}

static bool set_for(struct ask *q, const struct args *a, const char *name, bool seconds)
{
	uint64_t ttl_ms = 0, at_ms = 0;

	if (!to_expiry(q, name, a->at[2], seconds, false, &ttl_ms, &at_ms))
		return false;
	ask_begin(q, CAIRN_OP_PUT, a->at[1]);
	ask_value(q, a->at[3]);
	ask_expiry(q, ttl_ms, at_ms);
	ask_end(q);
	return true;
}

ASK(ask_setex)
{
	return set_for(q, a, "setex", true);
}

ASK(ask_psetex)
{
	return set_for(q, a, "psetex", false);
}

ASK(ask_getset)
{
	ask_wrap(q);
	ask_get(q, a);
	ask_begin(q, CAIRN_OP_PUT, a->at[1]);
	ask_value(q, a->at[2]);
	ask_end(q);
	q->tag = SET_GET;
	return true;
}

ASK(ask_getdel)
{
	ask_wrap(q);
	ask_get(q, a);
	ask_begin(q, CAIRN_OP_DELETE, a->at[1]);
	ask_end(q);
	return true;
}

ASK(ask_getex)
{
	struct options o = { 0 };

	for (size_t i = 2; i < a->count; i++)
		if (!take_option(q, a, &i, false, &o))
			return false;
	if (o.time && !to_expiry(q, "getex", *o.time, o.seconds, o.absolute, &o.ttl_ms, &o.at_ms))
		return false;
	ask_wrap(q);
	ask_get(q, a);
	if (o.persist || o.ttl_ms || o.at_ms) {
		ask_begin(q, o.persist ? CAIRN_OP_PERSIST : CAIRN_OP_EXPIRE, a->at[1]);
		ask_expiry(q, o.ttl_ms, o.at_ms);
		ask_end(q);
	}
	return true;
}

/* What GET says, whatever followed it. */
TELL(tell_first)
{
	(void)count;
	tell_get(c, tag, results, 1);
}

ASK(ask_mset)
{
	if (a->count % 2 == 0)
		return ask_fail(q, "ERR wrong number of arguments for 'mset' command");
	q->whole = true;
	ask_count(q, a->count / 2);
	for (size_t i = 1; i < a->count; i += 2) {
		ask_begin(q, CAIRN_OP_PUT, a->at[i]);
		ask_value(q, a->at[i + 1]);
		ask_end(q);
	}
	return true;
}

TELL(tell_mset)
{
	(void)tag;
	for (size_t i = 0; i < count; i++)
		if (results[i].code) {
			tell_error(c, &results[i]);
			return;
		}
	reply_ok(c);
}

ASK(ask_msetnx)
{
	if (a->count % 2 == 0)
		return ask_fail(q, "ERR wrong number of arguments for 'msetnx' command");
	q->look = q->nested; /* its conditions are those of a whole transaction */
	if (q->look)
		return false;
	q->whole = true;
	ask_wrap(q);
	for (size_t i = 1; i < a->count; i += 2)
		ask_if_exists(q, a->at[i], false);
	for (size_t i = 1; i < a->count; i += 2) {
		ask_begin(q, CAIRN_OP_PUT, a->at[i]);
		ask_value(q, a->at[i + 1]);
		ask_end(q);
	}
	return true;
}

TELL(tell_msetnx)
{
	(void)tag;
	(void)results;
	reply_integer(c, count > 0);
}

ASK(ask_append)
{
	ask_begin(q, CAIRN_OP_APPEND, a->at[1]);
	ask_value(q, a->at[2]);
	ask_end(q);
	return true;
}

/* The length of the value afterwards. */
TELL(tell_size)
{
	(void)tag;
	if (results[count - 1].code)
		tell_error(c, &results[count - 1]);
	else
		reply_integer(c, (long long)cairn_field_u64(results[count - 1].fields, CAIRN_F_SIZE, 0));
}

ASK(ask_meta)
{
	ask_begin(q, CAIRN_OP_GET, a->at[1]);
	cairn_msg_bool(q->m, CAIRN_F_META_ONLY, true);
	ask_end(q);
	return true;
}

TELL(tell_strlen)
{
	if (results->code == CAIRN_E_NOT_FOUND)
		reply_integer(c, 0);
	else if (results->code || is_value(c, results->fields))
		tell_size(c, tag, results, count);
}

ASK(ask_getrange)
{
	long long from, to;

	if (!to_integer(a->at[2], &from) || !to_integer(a->at[3], &to))
		return ask_fail(q, ERROR_INTEGER);
	q->look = from < 0 || to < 0; /* how long the value is */
	if (q->look)
		return false;
	ask_begin(q, CAIRN_OP_GET, a->at[1]);
	cairn_msg_u64(q->m, CAIRN_F_OFFSET, (uint64_t)from);
	cairn_msg_u64(q->m, CAIRN_F_LENGTH, to < from ? 0 : (uint64_t)(to - from) + (to - from < INT64_MAX));
	ask_end(q);
	return true;
}

TELL(tell_getrange)
{
	struct cairn_slice value = { 0 };

	(void)tag;
	(void)count;
	if (results->code && results->code != CAIRN_E_NOT_FOUND) {
		tell_error(c, results);
	} else if (results->code || is_value(c, results->fields)) {
		cairn_field_find(results->fields, CAIRN_F_VALUE, &value);
		reply_bulk(c, value);
	}
}

ASK(ask_setrange)
{
	long long offset;

	if (!to_integer(a->at[2], &offset))
		return ask_fail(q, ERROR_INTEGER);
	if (offset < 0)
		return ask_fail(q, "ERR offset is out of range");
	if (offset > (512ll << 20) - (long long)a->at[3].len)
		return ask_fail(q, "ERR string exceeds maximum allowed size (proto-max-bulk-len)");
	if (!a->at[3].len) {
		ask_wrap(q);
		ask_meta(q, a);
		return true;
	}
	q->whole = true;
	ask_wrap(q);
	ask_begin(q, CAIRN_OP_PUT, a->at[1]);
	ask_if_exists(q, a->at[1], false);
	ask_end(q);
	ask_begin(q, CAIRN_OP_PATCH, a->at[1]);
	cairn_msg_u64(q->m, CAIRN_F_OFFSET, (uint64_t)offset);
	ask_value(q, a->at[3]);
	ask_end(q);
	return true;
}

TELL(tell_setrange)
{
	const struct result *last = &results[count - 1];

	if (last->code == CAIRN_E_TOO_LARGE)
		reply_error(c, "ERR string exceeds maximum allowed size (proto-max-bulk-len)");
	else
		tell_strlen(c, tag, last, 1);
}

static bool increment(struct ask *q, const struct args *a, long long by)
{
	ask_begin(q, CAIRN_OP_INCREMENT, a->at[1]);
	cairn_msg_u64(q->m, CAIRN_F_BY, (uint64_t)by);
	ask_end(q);
	return true;
}

ASK(ask_incr)
{
	return increment(q, a, 1);
}

ASK(ask_decr)
{
	return increment(q, a, -1);
}

ASK(ask_incrby)
{
	long long by;

	return to_integer(a->at[2], &by) ? increment(q, a, by) : ask_fail(q, ERROR_INTEGER);
}

ASK(ask_decrby)
{
	long long by;

	if (!to_integer(a->at[2], &by))
		return ask_fail(q, ERROR_INTEGER);
	if (by == INT64_MIN)
		return ask_fail(q, "ERR decrement would overflow");
	return increment(q, a, -by);
}

TELL(tell_incr)
{
	struct cairn_slice value = { 0 };
	long long n = 0;

	(void)tag;
	(void)count;
	if (results->code == CAIRN_E_INVALID) {
		bool beyond = results->message.len &&
			memmem(results->message.data, results->message.len, "beyond", 6);

		reply_error(c, "%s", beyond ? "ERR increment or decrement would overflow" : ERROR_INTEGER);
	} else if (results->code) {
		tell_error(c, results);
	} else {
		cairn_field_find(results->fields, CAIRN_F_VALUE, &value);
		to_integer(value, &n);
		reply_integer(c, n);
	}
}

static bool to_float(struct cairn_slice word, long double *v)
{
	char text[256], *end;

	if (!word.len || word.len >= sizeof(text) || strchr(" \t\n\v\f\r", *(const char *)word.data) ||
	    memchr(word.data, 0, word.len))
		return false;
	memcpy(text, word.data, word.len);
	text[word.len] = 0;
	errno = 0;
	*v = strtold(text, &end);
	return !*end && !isnan(*v) && !(errno == ERANGE && isinf(*v));
}

/* V as Redis writes it: 17 decimals, without the zeros at their end. */
static size_t float_text(long double v, char *text, size_t size)
{
	size_t n = (size_t)snprintf(text, size, "%.17Lf", v);

	if (n >= size)
		n = size - 1;
	if (memchr(text, '.', n)) {
		while (text[n - 1] == '0')
			n--;
		n -= text[n - 1] == '.';
	}
	if (n == 2 && !memcmp(text, "-0", 2)) {
		text[0] = '0';
		n = 1;
	}
	return n;
}

/* Ask for the value to add to. */
static enum run float_look(struct client *c, const struct args *a)
{
	struct cairn_request *r = step_new(c, CAIRN_OP_GET);

	if (!r) {
		client_end(c);
		return RUN_DONE;
	}
	c->phase = 1;
	cairn_msg_bytes(r->arguments, CAIRN_F_KEY, a->at[1]);
	return step_start(c);
}

/* Put the sum, where the value is still what it was. */
static enum run float_put(struct client *c, const struct args *a)
{
	struct result old = step_result(c);
	struct cairn_slice value = { 0 };
	struct cairn_request *r;
	long double v = 0, by = 0;
	char text[5200];
	struct ask q = { .c = c };
	size_t n;

	cairn_field_find(old.fields, CAIRN_F_VALUE, &value);
	to_float(a->at[2], &by);
	if (old.code && old.code != CAIRN_E_NOT_FOUND) {
		tell_error(c, &old);
	} else if (!old.code && !is_value(c, old.fields)) {
	} else if (!old.code && !to_float(value, &v)) {
		reply_error(c, "ERR value is not a valid float");
	} else if (isinf(v + by) || isnan(v + by)) {
		reply_error(c, "ERR increment would produce NaN or Infinity");
	} else {
		struct buffer before = { 0 };

		n = float_text(v + by, text, sizeof(text));
		buffer_add(&before, value);
		step_end(c);
		r = before.error ? NULL : step_new(c, CAIRN_OP_PUT);
		if (!r) {
			client_end(c);
			return RUN_DONE;
		}
		q.m = r->arguments;
		cairn_msg_bytes(q.m, CAIRN_F_KEY, a->at[1]);
		cairn_msg_bytes(q.m, CAIRN_F_VALUE, cairn_slice(text, n));
		cairn_msg_bool(q.m, CAIRN_F_KEEP_EXPIRY, true);
		if (old.code)
			ask_if_exists(&q, a->at[1], false);
		else
			ask_if_equal(&q, a->at[1], buffer_slice(&before));
		buffer_free(&before);
		c->phase = 2;
		return step_start(c);
	}
	step_end(c);
	return RUN_DONE;
}

RUN(run_incrbyfloat)
{
	struct result put;
	struct cairn_slice value = { 0 };
	long double by;

	if (!to_float(a->at[2], &by)) {
		reply_error(c, "ERR value is not a valid float");
		return RUN_DONE;
	}
	if (c->phase == 0)
		return float_look(c, a);
	if (c->phase == 1)
		return float_put(c, a);
	put = step_result(c);
	if (put.code == CAIRN_E_CONFLICT) { /* it was written meanwhile */
		step_end(c);
		return float_look(c, a);
	}
	cairn_field_find(cairn_message_fields(cairn_msg_slice(c->step->arguments)), CAIRN_F_VALUE, &value);
	if (put.code)
		tell_error(c, &put);
	else
		reply_bulk(c, value);
	step_end(c);
	return RUN_DONE;
}

/* GETRANGE with an end that counts from the end of the value: look how long that is. */
RUN(run_getrange)
{
	struct result old;
	struct cairn_request *r;
	long long from, to, size;
	uint64_t revision;

	if (c->phase == 2) {
		old = step_result(c);
		if (old.code != CAIRN_E_CONFLICT) {
			tell_getrange(c, 0, &old, 1);
			step_end(c);
			return RUN_DONE;
		}
		step_end(c);
		c->phase = 0;
	}
	if (c->phase == 0) {
		r = step_new(c, CAIRN_OP_GET);
		if (!r) {
			client_end(c);
			return RUN_DONE;
		}
		cairn_msg_bytes(r->arguments, CAIRN_F_KEY, a->at[1]);
		cairn_msg_bool(r->arguments, CAIRN_F_META_ONLY, true);
		c->phase = 1;
		return step_start(c);
	}
	old = step_result(c);
	if (old.code) {
		tell_getrange(c, 0, &old, 1);
		step_end(c);
		return RUN_DONE;
	}
	size = (long long)cairn_field_u64(old.fields, CAIRN_F_SIZE, 0);
	revision = cairn_field_u64(old.fields, CAIRN_F_REVISION, 0);
	step_end(c);
	to_integer(a->at[2], &from);
	to_integer(a->at[3], &to);
	if (from < 0 && to < 0 && from > to) {
		reply_text(c, "");
		return RUN_DONE;
	}
	from = from < 0 ? from + size : from;
	to = to < 0 ? to + size : to;
	from = from < 0 ? 0 : from;
	to = to < 0 ? 0 : to >= size ? size - 1 : to;
	r = step_new(c, CAIRN_OP_GET);
	if (!r) {
		client_end(c);
		return RUN_DONE;
	}
	cairn_msg_bytes(r->arguments, CAIRN_F_KEY, a->at[1]);
	cairn_msg_u64(r->arguments, CAIRN_F_OFFSET, (uint64_t)from);
	cairn_msg_u64(r->arguments, CAIRN_F_LENGTH, from > to || !size ? 0 : (uint64_t)(to - from + 1));
	cairn_msg_u64(r->arguments, CAIRN_F_REVISION, revision);
	c->phase = 2;
	return step_start(c);
}
