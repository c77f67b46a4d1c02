/*
 * MULTI, EXEC and WATCH. What is queued is kept as it came; EXEC makes the operations of all commands one
 * transaction, whose conditions are the revisions of the keys that were watched. One command's error does not
 * undo the others.
 */
#include <stdlib.h>
#include "families.h"
#include "banned.h"

#define QUEUE_BYTES (16u << 20) /* most that one client may have queued */

void multi_end(struct client *c)
{
	for (size_t i = 0; i < c->queue_count; i++) {
		free((void *)c->queue[i].args.at);
		free(c->queue[i].error);
	}
	free(c->queue);
	c->queue = NULL;
	c->queue_count = c->queue_cap = c->queue_bytes = 0;
	c->multi = c->multi_bad = false;
}

void watch_end(struct client *c)
{
	while (c->watched) {
		struct watched *w = c->watched;

		c->watched = w->next;
		free(w);
	}
}

/* A copy of A in one block. */
static bool copy(const struct args *a, struct args *to, size_t *bytes)
{
	struct cairn_slice *at;
	char *p;

	*bytes = a->count * sizeof(*at);
	for (size_t i = 0; i < a->count; i++)
		*bytes += a->at[i].len;
	at = malloc(*bytes);
	if (!at)
		return false;
	p = (char *)(at + a->count);
	for (size_t i = 0; i < a->count; i++) {
		if (a->at[i].len)
			memcpy(p, a->at[i].data, a->at[i].len);
		at[i] = cairn_slice(p, a->at[i].len);
		p += a->at[i].len;
	}
	*to = (struct args){ at, a->count };
	return true;
}

RUN(run_multi)
{
	(void)a;
	if (c->multi) {
		reply_error(c, "ERR MULTI calls can not be nested");
	} else {
		c->multi = true;
		reply_ok(c);
	}
	return RUN_DONE;
}

RUN(run_discard)
{
	(void)a;
	if (!c->multi) {
		reply_error(c, "ERR DISCARD without MULTI");
		return RUN_DONE;
	}
	multi_end(c);
	watch_end(c);
	reply_ok(c);
	return RUN_DONE;
}

RUN(run_unwatch)
{
	(void)a;
	watch_end(c);
	reply_ok(c);
	return RUN_DONE;
}

static enum run ask_revision(struct client *c, struct cairn_slice key)
{
	struct cairn_request *r = step_new(c, CAIRN_OP_GET);

	if (!r) {
		client_end(c);
		return RUN_DONE;
	}
	cairn_msg_bytes(r->arguments, CAIRN_F_KEY, key);
	cairn_msg_bool(r->arguments, CAIRN_F_META_ONLY, true);
	return step_start(c);
}

/* Note the revision of the key number C->index; false where the error was told. */
static bool note(struct client *c, struct cairn_slice key)
{
	struct result result = step_result(c);
	struct watched *w;

	if (result.code && result.code != CAIRN_E_NOT_FOUND) {
		tell_error(c, &result);
		return false;
	}
	w = malloc(sizeof(*w) + key.len);
	if (!w) {
		client_end(c);
		return false;
	}
	w->revision = result.code ? 0 : cairn_field_u64(result.fields, CAIRN_F_REVISION, 0);
	w->db = c->db;
	w->len = key.len;
	if (key.len)
		memcpy(w->key, key.data, key.len);
	w->next = c->watched;
	c->watched = w;
	return true;
}

RUN(run_watch)
{
	bool good = true;

	if (c->multi) {
		reply_error(c, "ERR WATCH inside MULTI is not allowed");
		return RUN_DONE;
	}
	if (c->step) {
		good = note(c, a->at[++c->index]);
		step_end(c);
	}
	if (good && c->index + 1 < a->count)
		return ask_revision(c, a->at[c->index + 1]);
	c->index = 0;
	if (good)
		reply_ok(c);
	return RUN_DONE;
}

/* The conditions that WATCH makes; false where one is of another volume. */
static bool add_watched(struct client *c, struct cairn_msg *m)
{
	for (const struct watched *w = c->watched; w; w = w->next) {
		size_t mark;

		if (strcmp(c->g->volumes[w->db], client_volume(c)))
			return false;
		mark = cairn_msg_open(m, CAIRN_F_GUARD);
		cairn_msg_bytes(m, CAIRN_F_KEY, cairn_slice(w->key, w->len));
		cairn_msg_u64(m, CAIRN_F_REVISION, w->revision);
		cairn_msg_close(m, mark);
	}
	return true;
}

/* The operations of COMMAND, also where it has some for each key. */
static bool ask_all(struct ask *q, const struct command *command, const struct args *a)
{
	bool good = true;

	if (!(command->flags & CMD_EACH))
		return command->ask(q, a);
	for (size_t i = 1; good && i < a->count; i++)
		good = command->ask(q, &(struct args){ (struct cairn_slice[]){ a->at[0], a->at[i] }, 2 });
	return good;
}

/* Whether A needs a look first, which there is no room for inside a transaction. */
static bool needs_look(struct client *c, const struct command *command, const struct args *a)
{
	struct cairn_msg m = { 0 };
	struct ask q = { .c = c, .m = &m, .nested = true };
	bool look;

	if (!command->ask)
		return false;
	cairn_msg_start(&m, 0);
	look = !ask_all(&q, command, a) && q.look;
	cairn_msg_free(&m);
	return look;
}

void multi_queue(struct client *c, const struct command *command, const struct args *a)
{
	struct queued q = { .command = command };
	size_t bytes = 0;

	if (needs_look(c, command, a)) {
		c->multi_bad = true;
		reply_error(c, "ERR this form of '%s' cannot stand inside MULTI", command->name);
		return;
	}
	if (c->queue_count == c->queue_cap) {
		size_t cap = c->queue_cap ? 2 * c->queue_cap : 16;
		struct queued *queue = realloc(c->queue, cap * sizeof(*queue));

		if (queue) {
			c->queue = queue;
			c->queue_cap = cap;
		}
	}
	if (c->queue_count == c->queue_cap || c->queue_bytes > QUEUE_BYTES || !copy(a, &q.args, &bytes)) {
		c->multi_bad = true;
		reply_error(c, "ERR a transaction of more than %u bytes", QUEUE_BYTES);
		return;
	}
	c->queue_bytes += bytes;
	c->queue[c->queue_count++] = q;
	reply_status(c, "QUEUED");
}

/* The operations of everything queued. */
static void add_queued(struct client *c, struct cairn_msg *m)
{
	for (size_t i = 0; i < c->queue_count; i++) {
		struct queued *e = &c->queue[i];
		struct ask q = { .c = c, .m = m, .nested = true };
		size_t before = m->len;

		if (!e->command->ask)
			continue;
		if (c->tracking)
			track_read(c, e->command, &e->args);
		if (ask_all(&q, e->command, &e->args)) {
			e->operations = q.count;
			e->tag = q.tag | (e->command->flags & CMD_EACH ? EACH_ALL : 0);
			continue;
		}
		cairn_msg_truncate(m, before);
		e->error =
			strdup(q.look ? "ERR this form of the command cannot stand inside MULTI" : q.error);
	}
}

/* The reply to the command E, whose results begin *REST. */
static void tell_one(struct client *c, const struct queued *e, struct cairn_slice *rest)
{
	struct result *results = calloc(e->operations + 1, sizeof(*results));
	struct cairn_slice body;
	unsigned field;
	size_t n = 0;

	while (results && n < e->operations && cairn_field_next(rest, &field, &body) == 0 && field)
		if (field == CAIRN_F_RESULT)
			results[n++] = result_item(body);
	if (e->error)
		reply_error(c, "%s", e->error);
	else if (!e->command->ask)
		serve_now(c, e->command, &e->args);
	else if (!results || n < e->operations)
		reply_error(c, "ERR out of memory");
	else
		e->command->tell(c, e->tag, results, n);
	free(results);
}

static void tell_all(struct client *c, struct cairn_slice fields)
{
	bool multi = c->multi;

	c->multi = false; /* for those that are served now */
	if (!cairn_field_bool(fields, CAIRN_F_SUCCEEDED, true)) {
		reply_null_array(c);
	} else {
		reply_array(c, c->queue_count);
		for (size_t i = 0; i < c->queue_count; i++)
			tell_one(c, &c->queue[i], &fields);
	}
	c->multi = multi;
}

/* Begin the transaction; DONE where there is nothing to do. */
static enum run begin(struct client *c)
{
	struct cairn_request *r;

	if (c->multi_bad) {
		reply_error(c, "EXECABORT Transaction discarded because of previous errors.");
		return RUN_DONE;
	}
	r = step_new(c, CAIRN_OP_TXN);
	if (!r) {
		client_end(c);
		return RUN_DONE;
	}
	cairn_msg_bool(r->arguments, CAIRN_F_EACH, true);
	if (!add_watched(c, r->arguments)) {
		step_end(c);
		reply_error(c, "ERR keys of another volume were watched");
		return RUN_DONE;
	}
	add_queued(c, r->arguments);
	return step_start(c);
}

RUN(run_exec)
{
	enum run run = RUN_DONE;

	(void)a;
	if (!c->multi) {
		reply_error(c, "ERR EXEC without MULTI");
		return RUN_DONE;
	}
	if (!c->step) {
		run = begin(c);
	} else {
		struct result result = step_result(c);

		if (result.code)
			tell_error(c, &result);
		else
			tell_all(c, result.fields);
		step_end(c);
	}
	if (run == RUN_WAIT)
		return run;
	multi_end(c);
	watch_end(c);
	return RUN_DONE;
}
