/*
 * Requests from cairn_submit to their final answer. They wait in a queue (reads and writes apart), are
 * encoded behind each other into the connection's output, and wait for their answers, which come in any
 * order.
 *
 * When a connection dies they go back to their queues. A write is repeated under the number (client,
 * sequence) that it first had, with the applied index that was known then (born); the store answers a number
 * that it has seen with the result that it gave before, and refuses what is older than LOWEST or than it
 * remembers. So a write happens at most once. Operations without such a number (administration) are never
 * repeated once they have left.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "handle.h"
#include "clock.h"
#include "le.h"
#include "banned.h"

/* Most bytes that we add to a request: face, time-out, client, sequence, lowest, born, frame. */
#define ADDED 512
#define NO_LIMIT_MS (24 * 3600 * 1000ull) /* what a server takes for a request without a time-out */

static struct queue *queue_of(struct cairn *c, enum place place)
{
	switch (place) {
	case PLACE_READS:
		return &c->reads;
	case PLACE_WRITES:
		return &c->writes;
	case PLACE_SENT:
		return &c->sent;
	case PLACE_ENDED:
		return &c->ended;
	case PLACE_LATER:
		return &c->later;
	case PLACE_NONE:
		break;
	}
	return NULL;
}

static void unqueue(struct cairn *c, struct request *r)
{
	struct queue *q = queue_of(c, r->place);

	if (!q)
		return;
	*(r->prev ? &r->prev->next : &q->first) = r->next;
	*(r->next ? &r->next->prev : &q->last) = r->prev;
	r->prev = r->next = NULL;
	r->place = PLACE_NONE;
}

static void enqueue(struct cairn *c, struct request *r, enum place place)
{
	struct queue *q = queue_of(c, place);

	unqueue(c, r);
	r->place = place;
	r->prev = q->last;
	*(q->last ? &q->last->next : &q->first) = r;
	q->last = r;
}

/* Back to where it waits to be sent, before the others. */
static void requeue(struct cairn *c, struct request *r)
{
	enum place place = r->repeat == REPEAT_WRITE ? PLACE_WRITES : PLACE_READS;
	struct queue *q = queue_of(c, place);

	unqueue(c, r);
	r->place = place;
	r->end = 0;
	r->next = q->first;
	*(q->first ? &q->first->prev : &q->last) = r;
	q->first = r;
}

bool request_any(const struct cairn *c)
{
	return c->reads.first || c->writes.first || c->sent.first || c->later.first;
}

/* Take R out of everything; only its memory is left. */
static void detach(struct cairn *c, struct request *r)
{
	uint32_t slot = (uint32_t)r->id - 1;

	unqueue(c, r);
	if (r->sequence) {
		*(r->wprev ? &r->wprev->wnext : &c->outstanding) = r->wnext;
		*(r->wnext ? &r->wnext->wprev : &c->outstanding_last) = r->wprev;
	}
	c->slots[slot] = NULL;
	c->free_slots[c->free_count++] = slot;
	c->bytes -= sizeof(*r) + r->len;
	if (!r->own)
		c->pending--;
}

static void forget(struct request *r)
{
	watching_free(r->watch);
	free(r);
}

static void finish(struct cairn *c, struct request *r, struct cairn_reply *reply)
{
	detach(c, r);
	if (!r->own)
		c->delivered++;
	r->done(r->arg, reply);
	forget(r);
}

static bool has_left(const struct cairn *c, const struct request *r)
{
	return r->reached || (r->end && c->connection.sent >= r->end);
}

static const char *name_of(const struct request *r)
{
	const struct cairn_operation_row *row =
		cairn_operation_row(cairn_message_number(cairn_slice(r->body, r->len)));

	return row ? row->name : "request";
}

/* R gets no answer any more: end it with what that means to its caller. */
static void give_up(struct cairn *c, struct request *r)
{
	struct cairn_reply reply = { 0 };
	struct cairn_error *e = &reply.error;
	const struct server *s = &c->servers[c->server];
	bool up = c->connection.state == CONNECTION_UP;

	if (r->foreign) {
		fences_fail(c, cairn_slice(r->seen->name, r->seen->len), e);
	} else if (r->repeat != REPEAT_READ && has_left(c, r)) {
		if (up)
			cairn_fail(e, CAIRN_E_UNKNOWN,
				   "no answer from %s within %llu ms: whether the %s happened is not known",
				   s->name, (unsigned long long)(r->timeout_ns / MS), name_of(r));
		else
			cairn_fail(e, CAIRN_E_UNKNOWN,
				   "the connection to %s broke (%s) after the %s was sent: whether it "
				   "happened is not known",
				   s->name, s->why[0] ? s->why : "no reason given", name_of(r));
		cairn_hint(e, "read to see what is there before you repeat it");
	} else if (up) {
		cairn_fail(e, CAIRN_E_TIMEOUT, "no answer from %s within %llu ms%s", s->name,
			   (unsigned long long)(r->timeout_ns / MS),
			   r->repeat == REPEAT_READ ? "" : "; nothing was sent, so nothing happened");
	} else {
		servers_fail(c, e);
	}
	reply.code = e->code;
	finish(c, r, &reply);
}

/* Where R is a watch that can go on: have it sent again, soon. */
static bool take_up(struct cairn *c, struct request *r)
{
	uint64_t pause_ns;

	if (!r->watch || !watching_again(r->watch, &pause_ns))
		return false;
	r->events = r->reached = false;
	r->end = 0;
	r->again_ns = c->now + pause_ns;
	enqueue(c, r, PLACE_LATER);
	return true;
}

uint64_t request_resume(struct cairn *c)
{
	uint64_t next = NEVER;

	for (struct request *r = c->later.first, *behind; r; r = behind) {
		behind = r->next;
		if (r->again_ns <= c->now)
			enqueue(c, r, PLACE_READS);
		else if (r->again_ns < next)
			next = r->again_ns;
	}
	return next;
}

void request_requeue(struct cairn *c)
{
	struct request *r;

	while ((r = c->sent.last)) {
		r->reached = has_left(c, r);
		if ((r->repeat == REPEAT_NEVER && r->reached) || (r->events && !take_up(c, r)))
			enqueue(c, r, PLACE_ENDED);
		else if (r->place == PLACE_SENT)
			requeue(c, r);
	}
}

void request_tell_ended(struct cairn *c, const struct server *s)
{
	struct request *r;

	while ((r = c->ended.first)) {
		struct cairn_reply reply = { 0 };

		if (r->repeat == REPEAT_NEVER && r->reached) {
			cairn_fail(&reply.error, CAIRN_E_UNKNOWN,
				   "the connection to %s broke (%s) after the %s was sent: "
				   "whether it happened is not known",
				   s->name, s->why, name_of(r));
		} else {
			cairn_fail(&reply.error, CAIRN_E_UNAVAILABLE,
				   "the connection to %s broke (%s) in the middle of the "
				   "answer",
				   s->name, s->why);
			cairn_hint(&reply.error, "ask again for what is missing");
		}
		reply.code = reply.error.code;
		finish(c, r, &reply);
	}
}

void request_expire(struct cairn *c)
{
	if (c->now < c->deadline_ns)
		return;
	c->deadline_ns = NEVER;
	for (size_t i = 0; i < c->slot_cap; i++) {
		struct request *r = c->slots[i];

		if (r && c->now >= r->deadline_ns)
			give_up(c, r);
		else if (r && r->deadline_ns < c->deadline_ns)
			c->deadline_ns = r->deadline_ns;
	}
}

void request_fail_all(struct cairn *c)
{
	for (size_t i = 0; i < c->slot_cap; i++)
		if (c->slots[i])
			give_up(c, c->slots[i]);
}

void request_free_all(struct cairn *c)
{
	for (size_t i = 0; i < c->slot_cap; i++)
		if (c->slots[i])
			forget(c->slots[i]);
	free(c->slots);
	free(c->free_slots);
	while (c->seen) {
		struct seen *next = c->seen->next;

		free(c->seen);
		c->seen = next;
	}
}

static bool slot_for(struct cairn *c, struct request *r)
{
	if (!c->free_count) {
		size_t cap = c->slot_cap ? c->slot_cap * 2 : 64;
		struct request **slots = realloc(c->slots, cap * sizeof(struct request *));
		uint32_t *free_slots;

		if (!slots)
			return false;
		c->slots = slots;
		free_slots = realloc(c->free_slots, cap * sizeof(*free_slots));
		if (!free_slots)
			return false;
		c->free_slots = free_slots;
		for (size_t i = cap; i-- > c->slot_cap;) {
			slots[i] = NULL;
			free_slots[c->free_count++] = (uint32_t)i;
		}
		c->slot_cap = cap;
	}
	r->id = (uint64_t)c->generation++ << 32 | (c->free_slots[--c->free_count] + 1);
	c->slots[(uint32_t)r->id - 1] = r;
	return true;
}

/* The row of the volume named NAME; NULL without memory. */
static struct seen *seen_for(struct cairn *c, struct cairn_slice name)
{
	struct seen *s;

	for (s = c->seen; s; s = s->next)
		if (cairn_slice_eq(cairn_slice(s->name, s->len), name))
			return s;
	s = calloc(1, sizeof(*s) + name.len);
	if (!s)
		return NULL;
	s->handle = c;
	s->len = name.len;
	if (name.len)
		memcpy(s->name, name.data, name.len);
	s->next = c->seen;
	c->seen = s;
	return s;
}

void request_forget_born(struct cairn *c)
{
	for (struct seen *s = c->seen; s; s = s->next)
		s->when_ns = 0;
}

/* What REQUEST's fields tell us: its volume, its own time-out, whether it has a face. Copies the rest to R,
 * and to a write the handle's fences. */
static enum cairn_code take_fields(struct cairn *c, struct request *r, struct cairn_slice message)
{
	struct cairn_slice fields = cairn_message_fields(message), volume = cairn_str("main"), body;
	unsigned field, op = cairn_message_number(message);

	memcpy(r->body, message.data, CAIRN_MESSAGE_HEAD);
	r->len = CAIRN_MESSAGE_HEAD;
	r->timeout_ns = r->watch ? 0 : c->timeout_ns;
	for (;;) {
		const char *start = fields.data;

		if (cairn_field_next(&fields, &field, &body) < 0)
			return CAIRN_E_INVALID;
		if (field == CAIRN_F_END)
			break;
		if (field == CAIRN_F_TIMEOUT_MS) {
			r->timeout_ns = cairn_body_u64(body) * MS;
			continue;
		}
		if (r->watch && watching_takes(field))
			continue;
		if (field == CAIRN_F_VOLUME)
			volume = body;
		r->has_face |= field == CAIRN_F_FACE;
		memcpy(r->body + r->len, start, CAIRN_FIELD_HEAD + body.len);
		r->len += CAIRN_FIELD_HEAD + body.len;
	}
	if (r->repeat != REPEAT_WRITE)
		return CAIRN_OK;
	r->seen = seen_for(c, volume);
	if (!r->seen)
		return CAIRN_E_INTERNAL;
	r->foreign = fences_foreign(c, volume);
	if (c->fences.len && op != CAIRN_OP_STAGE && op != CAIRN_OP_UNSTAGE) {
		memcpy(r->body + r->len, c->fences.data, c->fences.len);
		r->len += c->fences.len;
	}
	return CAIRN_OK;
}

static enum cairn_code take_watch(struct request *r, struct cairn_slice message)
{
	if (cairn_message_number(message) != CAIRN_OP_WATCH)
		return CAIRN_OK;
	r->watch = watching_new(cairn_message_fields(message));
	return r->watch ? CAIRN_OK : CAIRN_E_INTERNAL;
}

static enum repeat repeat_of(unsigned number)
{
	const struct cairn_operation_row *row = cairn_operation_row(number);

	if (row && row->permission == CAIRN_MAY_READ)
		return REPEAT_READ;
	return row && row->permission == CAIRN_MAY_WRITE ? REPEAT_WRITE : REPEAT_NEVER;
}

enum cairn_code request_submit(struct cairn *c, const struct cairn_msg *m, cairn_done_fn *done, void *arg,
			       bool own, uint64_t *id)
{
	struct cairn_slice message = cairn_msg_slice(m);
	enum cairn_code code;
	struct request *r;

	if (cairn_msg_error(m))
		return cairn_error_from_errno(-cairn_msg_error(m));
	if (!cairn_message_number(message))
		return CAIRN_E_INVALID;
	if (message.len + c->fences.len > CAIRN_FRAME_MAX - ADDED || c->bytes + message.len > QUEUED_MAX)
		return CAIRN_E_TOO_LARGE;
	r = malloc(sizeof(*r) + message.len + c->fences.len);
	if (!r)
		return CAIRN_E_INTERNAL;
	*r = (struct request){ .done = done, .arg = arg, .own = own };
	r->repeat = repeat_of(cairn_message_number(message));
	code = take_watch(r, message);
	if (!code)
		code = take_fields(c, r, message);
	if (!code && !slot_for(c, r))
		code = CAIRN_E_INTERNAL;
	if (code) {
		forget(r);
		return code;
	}
	c->now = clock_boot_ns();
	r->deadline_ns = r->foreign ? 0 : r->timeout_ns ? c->now + r->timeout_ns : NEVER;
	if (r->deadline_ns < c->deadline_ns)
		c->deadline_ns = r->deadline_ns;
	c->bytes += sizeof(*r) + r->len;
	if (!own)
		c->pending++;
	if (id)
		*id = r->id;
	enqueue(c, r,
		r->foreign                          ? PLACE_ENDED /* the next turn tells */
			: r->repeat == REPEAT_WRITE ? PLACE_WRITES
						    : PLACE_READS);
	return CAIRN_OK;
}

static struct request *find(const struct cairn *c, uint64_t id)
{
	uint32_t slot = (uint32_t)id - 1;

	return slot < c->slot_cap && c->slots[slot] && c->slots[slot]->id == id ? c->slots[slot] : NULL;
}

void request_cancel(struct cairn *c, uint64_t id)
{
	struct request *r = find(c, id);
	struct cairn_msg *out = &c->connection.out;
	unsigned char frame[FRAME_HEAD + CAIRN_MESSAGE_HEAD] = { 0 };

	if (!r)
		return;
	if (r->place == PLACE_SENT && c->connection.state == CONNECTION_UP) {
		le32_put(frame, sizeof(frame) - 4);
		le64_put(frame + 4, id);
		frame[FRAME_HEAD] = CAIRN_MESSAGE_VERSION;
		cairn_msg_fields(out, cairn_slice(frame, sizeof(frame)));
	}
	detach(c, r);
	if (r->calling)
		r->cancelled = true;
	else
		forget(r);
}

static void born_learnt(void *arg, struct cairn_reply *reply)
{
	struct seen *s = arg;
	uint64_t applied = reply->code ? 0 : cairn_field_u64(reply->fields, CAIRN_F_APPLIED, 0);

	s->asked = false;
	if (reply->code == CAIRN_E_TIMEOUT || s->handle->connection.state != CONNECTION_UP)
		return;
	s->when_ns = s->handle->now; /* after an error too: the write will meet the same one */
	if (applied > s->born)
		s->born = applied;
}

/* Whether the write R may go out now: the window has room and its volume's applied index is fresh. */
static bool may_write(struct cairn *c, const struct request *r)
{
	struct seen *s = r->seen;
	struct cairn_msg ping = { 0 };

	if (r->sequence)
		return true;
	if (c->outstanding && c->sequence - c->outstanding->sequence >= WINDOW)
		return false;
	if (s->when_ns && c->now - s->when_ns < BORN_STALE)
		return true;
	if (!s->asked) {
		cairn_msg_start(&ping, CAIRN_OP_PING);
		cairn_msg_bytes(&ping, CAIRN_F_VOLUME, cairn_slice(s->name, s->len));
		s->asked = request_submit(c, &ping, born_learnt, s, true, NULL) == CAIRN_OK;
		cairn_msg_free(&ping);
	}
	return false;
}

static void number_write(struct cairn *c, struct request *r)
{
	r->sequence = c->sequence++;
	r->born = r->seen->born;
	r->wprev = c->outstanding_last;
	*(r->wprev ? &r->wprev->wnext : &c->outstanding) = r;
	c->outstanding_last = r;
}

static void encode(struct cairn *c, struct request *r)
{
	struct connection *t = &c->connection;
	struct cairn_msg *out = &t->out;
	static const unsigned char room[FRAME_HEAD];
	size_t mark = out->len;
	uint64_t left_ms;

	if (!c->sent.first)
		t->heard_ns = c->now;
	cairn_msg_fields(out, cairn_slice(room, sizeof(room)));
	cairn_msg_fields(out, cairn_slice(r->body, r->len));
	if (r->watch)
		watching_encode(r->watch, out);
	if (!r->has_face)
		cairn_msg_fields(out, cairn_msg_slice(&c->face));
	left_ms = r->deadline_ns == NEVER ? NO_LIMIT_MS
		: r->deadline_ns > c->now ? (r->deadline_ns - c->now) / MS
					  : 0;
	/* a little less than we wait, so that the server's own sentence arrives */
	left_ms -= left_ms < 1000 ? left_ms / 10 : 100;
	cairn_msg_u64(out, CAIRN_F_TIMEOUT_MS, left_ms ? left_ms : 1);
	if (r->repeat == REPEAT_WRITE) {
		if (!r->sequence)
			number_write(c, r);
		cairn_msg_fields(out, cairn_msg_slice(&c->name));
		cairn_msg_u64(out, CAIRN_F_SEQUENCE, r->sequence);
		cairn_msg_u64(out, CAIRN_F_LOWEST, c->outstanding->sequence);
		cairn_msg_u64(out, CAIRN_F_BORN, r->born);
	}
	if (cairn_msg_error(out)) {
		out->error = 0;
		cairn_msg_truncate(out, mark);
		r->deadline_ns = c->deadline_ns = 0; /* no memory: it ends now */
		enqueue(c, r, PLACE_SENT);
		return;
	}
	le32_put(out->data + mark, (uint32_t)(out->len - mark - 4));
	le64_put(out->data + mark + 4, r->id);
	r->end = t->sent + out->len - t->out_at;
	enqueue(c, r, PLACE_SENT);
}

void request_pump(struct cairn *c)
{
	struct connection *t = &c->connection;
	struct request *r;

	if (t->state != CONNECTION_UP || t->leave_ns != NEVER)
		return;
	while ((r = c->writes.first) && t->out.len - t->out_at < OUT_FULL && may_write(c, r))
		encode(c, r);
	while ((r = c->reads.first) && t->out.len - t->out_at < OUT_FULL)
		encode(c, r);
}

static void take_error(struct cairn_reply *reply, unsigned number)
{
	struct cairn_error *e = &reply->error;
	struct cairn_slice text;

	reply->code = number && number < CAIRN_ERROR_COUNT ? (enum cairn_code)number : CAIRN_E_INTERNAL;
	e->code = reply->code;
	e->revision = cairn_field_u64(reply->fields, CAIRN_F_REVISION, 0);
	e->message[0] = e->hint[0] = 0;
	if (cairn_field_find(reply->fields, CAIRN_F_MESSAGE, &text))
		snprintf(e->message, sizeof(e->message), "%.*s", (int)text.len, (const char *)text.data);
	else
		snprintf(e->message, sizeof(e->message), "%s", cairn_error_row(reply->code)->meaning);
	if (cairn_field_find(reply->fields, CAIRN_F_HINT, &text))
		snprintf(e->hint, sizeof(e->hint), "%.*s", (int)text.len, (const char *)text.data);
}

/* Whether another server, or this one after its restart, may serve what was turned away. It did not happen.
 */
static bool try_elsewhere(struct cairn *c, struct request *r, const struct cairn_error *e)
{
	struct connection *t = &c->connection;

	if (r->own || r->events)
		return false;
	if (t->leave_ns == NEVER) {
		if (r->turned_away + 1 >= c->server_count)
			return false;
		r->turned_away++;
		t->leave_ns = c->now + 1000 * MS;
		snprintf(t->said, sizeof(t->said), "%.*s", (int)sizeof(t->said) - 1, e->message);
	}
	requeue(c, r);
	return true;
}

/* The server did not begin the write R; but one that it was sent to before, and whose answer was lost, may
 * have. */
static void doubt(const struct request *r, struct cairn_reply *reply)
{
	struct cairn_error now = reply->error;

	if (r->repeat != REPEAT_WRITE || !r->reached ||
	    (now.code != CAIRN_E_UNAVAILABLE && now.code != CAIRN_E_TIMEOUT && now.code != CAIRN_E_FULL))
		return;
	reply->code =
		cairn_fail(&reply->error, CAIRN_E_UNKNOWN,
			   "the connection broke after the %s was sent: whether it happened is not known; "
			   "sent again: %.200s",
			   name_of(r), now.message);
	cairn_hint(&reply->error, "read to see what is there before you repeat it");
}

static void hand_over(struct cairn *c, struct request *r, struct cairn_reply *reply)
{
	if (!reply->event) {
		finish(c, r, reply);
		return;
	}
	r->events = r->calling = true;
	if (r->timeout_ns)
		r->deadline_ns = c->now + r->timeout_ns;
	if (r->watch && !watching_take(r->watch, reply->fields)) {
		r->calling = false;
		return;
	}
	c->delivered++;
	r->done(r->arg, reply);
	r->calling = false;
	if (r->cancelled)
		forget(r);
}

int request_answer(struct cairn *c, uint64_t id, struct cairn_slice rest)
{
	const unsigned char *p = rest.data;
	struct cairn_slice message = cairn_slice(p + ANSWER_HEAD, rest.len - ANSWER_HEAD), fields, body;
	struct request *r = find(c, id);
	struct cairn_reply reply;
	unsigned field, kind = p[0];

	if (kind > 2 || p[ANSWER_HEAD] != CAIRN_MESSAGE_VERSION)
		return -EBADMSG;
	if (!r || r->place != PLACE_SENT) {
		c->connection.answered = true;
		return 0; /* given up or cancelled meanwhile */
	}
	reply.fields = fields = cairn_message_fields(message);
	do {
		if (cairn_field_next(&fields, &field, &body) < 0)
			return -EBADMSG;
		if (field == CAIRN_F_APPLIED && r->seen) {
			r->seen->when_ns = c->now;
			if (cairn_body_u64(body) > r->seen->born)
				r->seen->born = cairn_body_u64(body);
		}
	} while (field != CAIRN_F_END);
	c->connection.answered = true;
	c->failures = 0;
	reply.event = kind == 2;
	reply.memory = NULL;
	reply.code = reply.error.code = CAIRN_OK;
	reply.error.revision = 0;
	reply.error.message[0] = reply.error.hint[0] = 0;
	if (kind == 1)
		take_error(&reply, cairn_message_number(message));
	if (reply.code == CAIRN_E_UNAVAILABLE && take_up(c, r))
		return 0;
	if (reply.code == CAIRN_E_UNAVAILABLE && try_elsewhere(c, r, &reply.error))
		return 0;
	doubt(r, &reply);
	hand_over(c, r, &reply);
	return 0;
}
