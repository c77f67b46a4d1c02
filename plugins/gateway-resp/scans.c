/* Commands that go over many keys: KEYS, SCAN, RANDOMKEY, DBSIZE, FLUSHDB. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include "families.h"
#include "banned.h"

/* A step over the keys that match PATTERN (empty: all). */
static struct cairn_request *scan_new(struct client *c, struct cairn_slice pattern)
{
	struct cairn_request *r = step_new(c, CAIRN_OP_SCAN);
	size_t n = glob_literal(pattern);

	c->found.len = c->found_count = 0;
	c->match = pattern;
	if (!r) {
		client_end(c);
		return NULL;
	}
	cairn_msg_bool(r->arguments, CAIRN_F_KEYS_ONLY, true);
	if (pattern.len && n)
		cairn_msg_bytes(r->arguments, CAIRN_F_PREFIX, cairn_slice(pattern.data, n));
	return r;
}

/* The keys that the step has found. */
static void tell_found(struct client *c)
{
	void *p;

	reply_array(c, c->found_count);
	p = c->found.len ? client_out(c, c->found.len) : NULL;
	if (p)
		memcpy(p, c->found.data, c->found.len);
	buffer_free(&c->found);
}

RUN(run_keys)
{
	struct result result;

	if (!a->at[1].len) {
		reply_array(c, 0);
		return RUN_DONE;
	}
	if (!c->step)
		return scan_new(c, a->at[1]) ? step_start(c) : RUN_DONE;
	result = step_result(c);
	if (result.code)
		tell_error(c, &result);
	else if (c->found.error || c->found.len > c->g->request_max)
		reply_error(c, "ERR so many keys do not fit into one reply: use SCAN");
	else
		tell_found(c);
	buffer_free(&c->found);
	step_end(c);
	return RUN_DONE;
}

/* The cursor with the ID, or NULL where it is not known any more. */
static struct cursor *find_cursor(struct client *c, uint64_t id)
{
	struct cursor *cursor = &c->g->cursors[id % CURSORS];

	return id && cursor->id == id && cursor->db == c->db ? cursor : NULL;
}

/* Keep where a scan goes on; 0 where there is no memory: it begins again, which is allowed. */
static uint64_t keep_cursor(struct client *c, struct cairn_slice bytes)
{
	uint64_t id = ++c->g->next_cursor;
	struct cursor *cursor = &c->g->cursors[id % CURSORS];
	void *copy = malloc(bytes.len);

	if (!copy)
		return 0;
	memcpy(copy, bytes.data, bytes.len);
	free(cursor->bytes);
	*cursor = (struct cursor){ id, c->db, bytes.len, copy };
	return id;
}

static bool to_cursor(struct cairn_slice word, uint64_t *id)
{
	const char *p = word.data;

	*id = 0;
	for (size_t i = 0; i < word.len; i++)
		if (p[i] < '0' || p[i] > '9' || __builtin_mul_overflow(*id, 10, id) ||
		    __builtin_add_overflow(*id, p[i] - '0', id))
			return false;
	return word.len;
}

struct scan {
	uint64_t cursor;
	long long count;
	struct cairn_slice match, type;
};

static bool take_scan(struct client *c, const struct args *a, struct scan *s)
{
	*s = (struct scan){ .count = 10 };
	if (!to_cursor(a->at[1], &s->cursor)) {
		reply_error(c, "ERR invalid cursor");
		return false;
	}
	for (size_t i = 2; i < a->count; i += 2) {
		bool more = i + 1 < a->count;

		if (more && word_is(a->at[i], "match")) {
			s->match = a->at[i + 1];
		} else if (more && word_is(a->at[i], "type")) {
			s->type = a->at[i + 1];
		} else if (!more || !word_is(a->at[i], "count")) {
			reply_error(c, ERROR_SYNTAX);
			return false;
		} else if (!to_integer(a->at[i + 1], &s->count)) {
			reply_error(c, ERROR_INTEGER);
			return false;
		} else if (s->count < 1) {
			reply_error(c, ERROR_SYNTAX);
			return false;
		}
	}
	return true;
}

RUN(run_scan)
{
	struct cairn_request *r;
	const struct cursor *from;
	struct cairn_slice next;
	struct result result;
	uint64_t id = 0;
	struct scan s;

	if (!take_scan(c, a, &s))
		return RUN_DONE;
	if (!c->step) {
		from = find_cursor(c, s.cursor);
		r = scan_new(c, s.match);
		if (!r)
			return RUN_DONE;
		cairn_msg_u64(r->arguments, CAIRN_F_LIMIT, (uint64_t)s.count);
		if (from)
			cairn_msg_bytes(r->arguments, CAIRN_F_CURSOR, cairn_slice(from->bytes, from->len));
		return step_start(c);
	}
	result = step_result(c);
	if (result.code || c->found.error) {
		tell_error(c, &result);
	} else {
		if (cairn_field_find(result.fields, CAIRN_F_CURSOR, &next))
			id = keep_cursor(c, next);
		if (s.type.len && !word_is(s.type, "string")) {
			c->found.len = 0;
			c->found_count = 0;
		}
		reply_array(c, 2);
		reply_format(c, "%llu", (unsigned long long)id);
		tell_found(c);
	}
	buffer_free(&c->found);
	step_end(c);
	return RUN_DONE;
}

/* A key that may be anywhere: from a random place on, between the first key and the last. */
static struct cairn_request *random_step(struct client *c, const struct buffer *ends)
{
	struct cairn_request *r = scan_new(c, cairn_slice(NULL, 0));
	unsigned char key[32], noise[32];
	size_t n = 0;

	if (!r)
		return NULL;
	cairn_msg_u64(r->arguments, CAIRN_F_LIMIT, 1);
	if (c->phase == 1) {
		cairn_msg_bool(r->arguments, CAIRN_F_REVERSE, true);
	} else if (c->phase == 2 && getrandom(noise, sizeof(noise), 0) == sizeof(noise)) {
		const unsigned char *low = ends->data, *high = memchr(low, 0, ends->len);

		/* What both have in common, a byte between those that differ, and any behind. */
		high++;
		while (n < 24 && low[n] && low[n] == high[n]) {
			key[n] = low[n];
			n++;
		}
		key[n] = (unsigned char)(low[n] + noise[31] % (high[n] > low[n] ? high[n] - low[n] + 1 : 1));
		n++;
		for (size_t i = 0; i < 4; i++)
			key[n++] = (unsigned char)('0' + noise[i] % 75);
		cairn_msg_bytes(r->arguments, CAIRN_F_FROM, cairn_slice(key, n));
	}
	return r;
}

/* The key in the reply that a step has found, with a NUL behind it, to ENDS. */
static void keep_found(struct client *c, struct buffer *ends)
{
	const char *p = (const char *)c->found.data,
		   *line = c->found_count ? memchr(p, '\n', c->found.len) : NULL;

	if (line)
		buffer_add(ends, cairn_slice(line + 1, c->found.len - (size_t)(line + 1 - p) - 2));
	buffer_byte(ends, 0);
}

/* Steps: the first key, the last one, one from a place between them. */
RUN(run_randomkey)
{
	struct result result;
	bool none;

	(void)a;
	if (!c->step)
		return random_step(c, NULL) ? step_start(c) : RUN_DONE;
	result = step_result(c);
	none = result.code || !c->found_count;
	if (c->phase == 2 && none && !result.code) { /* nothing behind that place */
		step_end(c);
		c->phase = 3;
		return random_step(c, NULL) ? step_start(c) : RUN_DONE;
	}
	if (none || c->phase >= 2) {
		if (result.code)
			tell_error(c, &result);
		else if (none)
			reply_null(c);
		else {
			void *p = client_out(c, c->found.len);

			if (p)
				memcpy(p, c->found.data, c->found.len);
		}
		step_end(c);
		buffer_free(&c->found);
		buffer_free(&c->ends);
		return RUN_DONE;
	}
	keep_found(c, &c->ends);
	step_end(c);
	c->phase++;
	return random_step(c, &c->ends) ? step_start(c) : RUN_DONE;
}

RUN(run_dbsize)
{
	struct result result;

	(void)a;
	if (!c->step) {
		if (step_new(c, CAIRN_OP_VOLUME_STATS))
			return step_start(c);
		client_end(c);
		return RUN_DONE;
	}
	result = step_result(c);
	if (result.code)
		tell_error(c, &result);
	else
		reply_integer(c, (long long)cairn_field_u64(result.fields, CAIRN_F_KEYS, 0));
	step_end(c);
	return RUN_DONE;
}

RUN(run_flush)
{
	struct cairn_request *r;
	struct result result;

	if (!c->step) {
		if (a->count > 2 ||
		    (a->count == 2 && !word_is(a->at[1], "async") && !word_is(a->at[1], "sync"))) {
			reply_error(c, ERROR_SYNTAX);
			return RUN_DONE;
		}
		r = c->host->request(c->connection);
		if (!r) {
			client_end(c);
			return RUN_DONE;
		}
		r->op = CAIRN_OP_FLUSH;
		c->step = r;
		c->stepped = false;
		cairn_msg_text(r->arguments, CAIRN_F_NAME, client_volume(c));
		return step_start(c);
	}
	result = step_result(c);
	if (result.code)
		tell_error(c, &result);
	else
		reply_ok(c);
	step_end(c);
	return RUN_DONE;
}
