/*
 * A volume as a stream. snapshot-save is a stream of events: a worker fills a buffer with the next blocks,
 * the loop sends it, and while the connection is full nothing more is read. snapshot-restore comes in pieces,
 * each a request of its own with the offset where it belongs, so that a client can repeat one over another
 * connection: the new volume's engine is filled as they come, and only the last piece makes it a volume. What
 * is given up, or left alone for a minute, leaves nothing behind.
 */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include "operation.h"
#include "snapshot.h"
#include "banned.h"

#define IDLE_MS 60000 /* how long a restore waits for its next piece */
#define LOCAL(type, member, p) ((type *)((char *)(p)-offsetof(type, member)))

/* --- save --- */

struct save {
	struct store_save *stream;
	struct buffer out; /* bytes SENT and more are to be sent */
	size_t sent;
	uint64_t offset; /* in the stream, of what is sent next */
	bool end;        /* OUT holds the last of it */
};

static void save_free(struct save *s)
{
	store_save_close(s->stream);
	buffer_free(&s->out);
	free(s);
}

static void add_digest(struct cairn_msg *m, const struct store_facts *f)
{
	char text[33];

	for (int i = 0; i < 16; i++)
		snprintf(text + 2 * i, 3, "%02x", f->digest[i]);
	cairn_msg_text(m, CAIRN_F_DIGEST, text);
}

static void save_end(struct call *c)
{
	struct save *s = c->priv;
	struct store_facts f;

	if (!c->error.code && s->stream) {
		cairn_msg_start(&c->answer, 0);
		store_save_facts(s->stream, &f);
		cairn_msg_u64(&c->answer, CAIRN_F_LENGTH, s->offset);
		cairn_msg_u64(&c->answer, CAIRN_F_KEYS, f.keys);
		cairn_msg_u64(&c->answer, CAIRN_F_REVISION, f.revision);
		cairn_msg_u64(&c->answer, CAIRN_F_APPLIED, f.position.index);
		add_digest(&c->answer, &f);
	}
	save_free(s);
	call_done(c);
}

static void save_sent(struct call *c);

static void save_back(struct loop_task *t)
{
	save_sent(LOCAL(struct call, back, t));
}

/* In a worker: the next blocks. */
static void save_work(struct pool_task *t)
{
	struct call *c = LOCAL(struct call, work, t);
	struct save *s = c->priv;
	struct cairn_msg facts = { 0 };

	s->out.len = s->sent = 0;
	if (!s->stream) {
		cairn_msg_start(&facts, 0);
		cairn_msg_text(&facts, CAIRN_F_SERVED_BY, c->node->name);
		cairn_msg_text(&facts, CAIRN_F_VOLUME, c->volume->name);
		cairn_msg_text(&facts, CAIRN_F_ENGINE, c->volume->engine);
		store_save_open(&s->stream, shard_store(volume_shard(c->volume, cairn_slice(NULL, 0))),
				cairn_message_fields(cairn_msg_slice(&facts)),
				!cairn_field_bool(c->fields, CAIRN_F_PLAIN, false), NULL, &c->error);
		cairn_msg_free(&facts);
	}
	if (!c->error.code)
		store_save_next(s->stream, &s->out, &s->end, &c->error);
	c->back.run = save_back;
	loop_post(c->loop, &c->back);
}

/* What stands in the buffer has been sent up to SENT: the rest of it, or the next blocks, or the end. */
static void save_sent(struct call *c)
{
	struct save *s = c->priv;
	size_t n;

	while (!c->error.code && !c->cancelled && s->sent < s->out.len) {
		n = s->out.len - s->sent < CAIRN_PAYLOAD_MAX ? s->out.len - s->sent : CAIRN_PAYLOAD_MAX;
		cairn_msg_start(&c->answer, 0);
		cairn_msg_u64(&c->answer, CAIRN_F_OFFSET, s->offset);
		cairn_msg_bytes(&c->answer, CAIRN_F_VALUE, cairn_slice(s->out.data + s->sent, n));
		s->sent += n;
		s->offset += n;
		if (!c->event(c))
			return; /* RESUME calls this again */
	}
	if (c->error.code || c->cancelled || s->end) {
		save_end(c);
		return;
	}
	c->work.run = save_work;
	pool_post(c->node->pool, &c->work);
}

void op_snapshot_save(struct call *c)
{
	struct save *s = calloc(1, sizeof(*s));

	if (!s || !c->keep(c)) {
		free(s);
		call_fail(c, CAIRN_E_INTERNAL, "out of memory");
		return;
	}
	c->priv = s;
	c->resume = save_sent;
	save_sent(c);
}

/* --- restore --- */

struct restore {
	struct restore *next;
	unsigned char id[16];
	struct volume_change *change;
	struct engine engine; /* of the new volume, where it is open: handle is not NULL */
	struct store_load *load;
	uint64_t offset;          /* of the next piece */
	bool last;                /* the present piece is the last one */
	struct call *call;        /* that is served, or NULL */
	struct pool_task work;    /* takes a piece */
	struct loop_task back;    /* has taken it */
	struct loop_timer *idle;  /* gives up */
	struct cairn_error error; /* of the piece */
};

static struct restore *find(struct node *n, struct cairn_slice id)
{
	struct restore *r = n->restores;

	while (r && memcmp(r->id, id.data, sizeof(r->id)) != 0)
		r = r->next;
	return r;
}

static void restore_free(struct restore *r)
{
	struct restore **p = &r->change->node->restores;

	while (*p && *p != r)
		p = &(*p)->next;
	if (*p)
		*p = r->next;
	store_load_close(r->load);
	if (r->engine.handle)
		engine_close(&r->engine);
	loop_timer_free(r->idle);
	volume_change_free(r->change);
	free(r);
}

/* The volume is there, or what was made of it is gone; in the loop. */
static void restore_over(struct volume_change *change)
{
	struct restore *r = change->arg;
	struct call *c = r->call;

	if (c) {
		c->error = change->error;
		if (!c->error.code)
			cairn_msg_text(&c->answer, CAIRN_F_NAME, change->name);
	}
	restore_free(r);
	if (c)
		call_done(c);
}

/* Nothing comes of R, for the reason in its change. */
static void restore_abandon(struct restore *r)
{
	store_load_close(r->load);
	r->load = NULL;
	if (r->engine.handle)
		engine_close(&r->engine);
	r->engine.handle = NULL;
	volume_abandon(r->change);
}

static void restore_idle(void *arg)
{
	struct restore *r = arg;

	if (r->call)
		return;
	cairn_fail(&r->change->error, CAIRN_E_TIMEOUT, "no piece came for %d seconds", IDLE_MS / 1000);
	restore_abandon(r);
}

static void restore_taken(struct loop_task *t)
{
	struct restore *r = LOCAL(struct restore, back, t);
	struct call *c = r->call;

	if (r->error.code) {
		r->change->error = r->error;
		cairn_error_prefix(&r->change->error, "volume %s is not restored", r->change->name);
		restore_abandon(r);
	} else if (r->last) {
		cairn_msg_u64(&c->answer, CAIRN_F_COUNT, store_load_rows(r->load));
		r->change->engine_ready = &r->engine;
		volume_complete(r->change);
	} else {
		r->call = NULL;
		loop_timer_set(r->idle, IDLE_MS);
		cairn_msg_u64(&c->answer, CAIRN_F_OFFSET, r->offset);
		call_done(c);
	}
}

/* In a worker: the piece of the present call goes into the engine. */
static void restore_take(struct pool_task *t)
{
	struct restore *r = LOCAL(struct restore, work, t);
	struct cairn_slice bytes = { 0 };

	cairn_field_find(r->call->fields, CAIRN_F_VALUE, &bytes);
	if (!r->load && volume_fill(r->change, &r->engine, &r->error) == CAIRN_OK)
		store_load_open(&r->load, &r->engine, &r->error);
	if (!r->error.code)
		store_load_take(r->load, bytes, &r->error);
	if (!r->error.code && r->last)
		store_load_finish(r->load, NULL, &r->error);
	r->offset += bytes.len;
	r->back.run = restore_taken;
	loop_post(r->call->loop, &r->back);
}

/* A restore that begins with C, or NULL where C has failed. */
static struct restore *restore_new(struct call *c, struct cairn_slice id)
{
	struct volume_change *change = volume_change_of(c);
	struct restore *r = change ? calloc(1, sizeof(*r)) : NULL;

	if (!change)
		return NULL;
	if (!r || loop_timer_new(c->node->loop, restore_idle, r, &r->idle) < 0) {
		free(r);
		volume_change_free(change);
		call_fail(c, CAIRN_E_INTERNAL, "out of memory");
		return NULL;
	}
	memcpy(r->id, id.data, sizeof(r->id));
	r->change = change;
	change->arg = r;
	change->done = restore_over;
	if (volume_begin(change) == CAIRN_E_EXISTS)
		volume_begin_empty(change);
	if (change->error.code) {
		c->error = change->error;
		restore_free(r);
		call_done(c);
		return NULL;
	}
	r->next = c->node->restores;
	c->node->restores = r;
	return r;
}

/* Whether the piece of C is the one that R waits for; else C is over. */
static bool fits(struct call *c, const struct restore *r, size_t len)
{
	uint64_t at = cairn_field_u64(c->fields, CAIRN_F_OFFSET, 0);

	if (r->call) {
		call_fail(c, CAIRN_E_CONFLICT, "another piece of the same stream is being taken");
		return false;
	}
	if (at == r->offset)
		return true;
	if (at + len == r->offset) { /* a piece once more, whose answer was lost */
		cairn_msg_u64(&c->answer, CAIRN_F_OFFSET, r->offset);
		call_done(c);
		return false;
	}
	call_fail(c, CAIRN_E_INVALID, "the next piece begins at byte %llu, not at %llu",
		  (unsigned long long)r->offset, (unsigned long long)at);
	return false;
}

void op_snapshot_restore(struct call *c)
{
	struct cairn_slice id = { 0 }, bytes = { 0 };
	struct restore *r;

	cairn_field_find(c->fields, CAIRN_F_UPLOAD, &id);
	cairn_field_find(c->fields, CAIRN_F_VALUE, &bytes);
	r = find(c->node, id);
	if (!r && cairn_field_u64(c->fields, CAIRN_F_OFFSET, 0)) {
		call_fail(c, CAIRN_E_UNAVAILABLE,
			  "this restore was given up: no piece came for a minute, or the daemon was started "
			  "again");
		return;
	}
	if (!r)
		r = restore_new(c, id);
	if (!r || !fits(c, r, bytes.len))
		return;
	if (!c->keep(c)) {
		call_fail(c, CAIRN_E_INTERNAL, "out of memory");
		return;
	}
	loop_timer_clear(r->idle);
	r->call = c;
	r->last = cairn_field_bool(c->fields, CAIRN_F_LAST, false);
	r->work.run = restore_take;
	pool_post(c->node->pool, &r->work);
}

void restores_close(struct node *n)
{
	while (n->restores) {
		volume_forget(n->restores->change);
		restore_free(n->restores);
	}
}
