/*
 * A connection. Bytes are read into one input buffer; the face takes requests off it and starts them; most
 * are answered before the next is taken, straight from the input. Answers gather in one output buffer that is
 * sent at the end of the turn. While too much is unsent, too many requests are under way or they hold too
 * much, nothing is taken and nothing is read. A dead client's requests end unheard, and the connection is
 * freed with the last of them.
 */
#include <config.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "conn.h"
#include "banned.h"

#define DRAINED (CONN_UNSENT_MAX / 2) /* unsent bytes below which streams go on */
#define KEEP 4096                     /* most memory that each message of a spare request keeps */
#define KEEP_OUT 262144               /* most memory that an empty output keeps */
#define SPARE 1024                    /* most spare requests */

static void on_end(struct loop_task *t);
static void on_again(struct loop_task *t);
static void on_events(void *arg, unsigned events);

static size_t unsent(const struct conn *c)
{
	return c->out.len - c->sent;
}

bool conn_full(const struct conn *c)
{
	return unsent(c) > CONN_UNSENT_MAX || c->held > CONN_HELD_MAX ||
		c->in_flight - c->parked >= setting_number(c->hub->node->settings, SETTING_CONTROL_IN_FLIGHT);
}

void conn_flush(struct conn *c)
{
	if (!c->end_queued) {
		c->end_queued = true;
		loop_at_turn_end(c->hub->node->loop, &c->end);
	}
}

static void drop_input(struct conn *c)
{
	struct hub *hub = c->hub;

	if (c->cap == CONN_READ && hub->input_count < sizeof(hub->inputs) / sizeof(*hub->inputs))
		hub->inputs[hub->input_count++] = c->in;
	else
		free(c->in);
	c->in = NULL;
	c->start = c->len = c->cap = 0;
}

struct conn *conn_new(struct hub *hub, int fd, enum cairn_permission may, const char *author)
{
	struct conn *c = calloc(1, sizeof(*c));

	if (!c || loop_watch(hub->node->loop, fd, LOOP_READ, on_events, c, &c->watch) < 0) {
		free(c);
		return NULL;
	}
	c->hub = hub;
	c->face = hub->face;
	c->fd = fd;
	c->watched = LOOP_READ;
	c->may = may;
	snprintf(c->author, sizeof(c->author), "%s", author);
	c->waiting_last = &c->waiting;
	c->changes_last = &c->changes;
	c->later_last = &c->later;
	c->end.run = on_end;
	c->again.run = on_again;
	c->next = hub->conns;
	c->at = &hub->conns;
	if (c->next)
		c->next->at = &c->next;
	hub->conns = c;
	hub->conn_count++;
	metrics_add(hub->node->metrics, METRIC_CONNECTIONS, 1);
	metrics_add(hub->node->metrics, METRIC_CONNECTIONS_ACCEPTED, 1);
	return c;
}

/* Nothing of the connection is left but its requests; free it with the last one. */
static void free_if_dead(struct conn *c)
{
	struct hub *hub = c->hub;

	if (c->fd >= 0 || c->in_flight || c->end_queued || c->again_queued)
		return;
	*c->at = c->next;
	if (c->next)
		c->next->at = c->at;
	hub->conn_count--;
	metrics_add(hub->node->metrics, METRIC_CONNECTIONS, -1);
	if (c->face && c->face->gone)
		c->face->gone(c);
	json_line_free(&c->line);
	if (c->in)
		drop_input(c);
	buffer_free(&c->out);
	free(c);
	if (hub->closing && hub->conn_count == 0)
		hub->closed(hub->closed_arg);
}

static void forget_waiting(struct conn *c, struct request *r)
{
	struct request **p = &c->waiting;

	while (*p != r)
		p = &(*p)->next_waiting;
	*p = r->next_waiting;
	if (!*p)
		c->waiting_last = p;
	r->waits = false;
}

void request_cancel(struct request *r)
{
	bool waits = r->waits;

	if (r->later) /* it ends soon after it begins */
		return;
	if (waits)
		forget_waiting(r->conn, r);
	call_cancel(&r->call, waits);
}

void conn_cut(struct conn *c)
{
	if (c->fd < 0)
		return;
	loop_unwatch(c->watch);
	c->watch = NULL;
	close(c->fd);
	c->fd = -1;
	c->closing = true;
	for (struct request *r = c->requests, *next; r; r = next) {
		next = r->next;
		request_cancel(r);
	}
	conn_flush(c); /* which frees it */
}

void conn_close_soon(struct conn *c)
{
	c->closing = true;
	for (struct request *r = c->requests, *next; r; r = next) {
		next = r->next;
		if (r->call.resume)
			request_cancel(r);
	}
	conn_flush(c);
}

static void trim(struct cairn_msg *m)
{
	if (m->cap > KEEP)
		cairn_msg_free(m);
}

/* A stream has something to say. */
static bool on_event(struct call *call)
{
	struct request *r = (struct request *)call;
	struct conn *c = r->conn;

	if (c->fd >= 0 || c->face->always) {
		c->face->answer(r, ANSWER_EVENT);
		c->pausing = false;
		conn_flush(c);
	}
	if (r->parked) /* it may wait for long */
		trim(&call->answer);
	cairn_msg_start(&call->answer, 0);
	if (unsent(c) <= CONN_UNSENT_MAX || call->cancelled)
		return true;
	r->waits = true;
	r->next_waiting = NULL;
	*c->waiting_last = r;
	c->waiting_last = &r->next_waiting;
	return false;
}

void conn_cancel(struct conn *c, uint64_t id)
{
	for (struct request *r = c->requests; r; r = r->next)
		if (r->id == id) {
			request_cancel(r);
			return;
		}
}

/* Copy the arguments from the input into the request's message, unless they are there. */
static bool on_keep(struct call *call)
{
	struct request *r = (struct request *)call;

	if (r->message.data && call->fields.data == r->message.data + CAIRN_MESSAGE_HEAD)
		return true;
	cairn_msg_start(&r->message, 0);
	cairn_msg_fields(&r->message, call->fields);
	if (cairn_msg_error(&r->message))
		return false;
	call->fields = cairn_message_fields(cairn_msg_slice(&r->message));
	return true;
}

static bool on_park(struct call *call)
{
	struct request *r = (struct request *)call;
	struct conn *c = r->conn;

	if (c->parked >= setting_number(c->hub->node->settings, SETTING_CONTROL_WATCHES))
		return false;
	c->held -= r->held;
	r->held = 0;
	r->parked = true;
	c->parked++;
	return true;
}

static void request_free(struct request *r)
{
	cairn_msg_free(&r->message);
	cairn_msg_free(&r->call.answer);
	cairn_msg_free(&r->call.write.command);
	cairn_msg_free(&r->call.write.answer);
	free(r);
}

void request_end(struct request *r)
{
	struct conn *c = r->conn;
	struct hub *hub = c->hub;

	*r->at = r->next;
	if (r->next)
		r->next->at = r->at;
	c->in_flight--;
	c->held -= r->held;
	c->pausing = false;
	metrics_add(hub->node->metrics, METRIC_IN_FLIGHT, -1);
	if (hub->spare_count < SPARE) {
		trim(&r->message);
		trim(&r->call.answer);
		trim(&r->call.write.command);
		trim(&r->call.write.answer);
		r->next = hub->spare;
		hub->spare = r;
		hub->spare_count++;
	} else {
		request_free(r);
	}
	conn_flush(c);
}

static void on_done(struct call *call)
{
	struct request *r = (struct request *)call;
	struct conn *c = r->conn;

	if (r->waits)
		forget_waiting(c, r);
	call->resume = call->cancel =
		NULL; /* it is not cancelled any more, should its answer end the connection */
	c->parked -= r->parked;
	r->parked = false;
	if (r->changes) {
		*r->change_at = r->next_change;
		if (r->next_change)
			r->next_change->change_at = r->change_at;
		else
			c->changes_last = r->change_at;
	}
	c->hub->node->waiting--;
	c->pausing = false;
	conn_flush(c);
	if ((c->fd < 0 && !c->face->always) ||
	    c->face->answer(r, call->error.code ? ANSWER_ERROR : ANSWER_OK))
		request_end(r);
}

void conn_refuse(struct request *r, const struct cairn_error *error)
{
	r->call.error = *error;
	metrics_add(r->conn->hub->node->metrics, METRIC_BAD_REQUESTS, 1);
	on_done(&r->call);
}

struct request *conn_request(struct conn *c, uint64_t id)
{
	struct hub *hub = c->hub;
	struct request *r = hub->spare;
	struct cairn_error error;

	if (r) {
		hub->spare = r->next;
		hub->spare_count--;
	} else {
		r = calloc(1, sizeof(*r));
	}
	if (!r) {
		cairn_fail(&error, CAIRN_E_INTERNAL, "out of memory");
		c->face->refuse(c, id, &error);
		return NULL;
	}
	r->conn = c;
	r->id = id;
	r->held = 0;
	r->changes = r->later = r->waits = r->parked = false;
	r->call.node = hub->node;
	r->call.loop = hub->node->loop;
	r->call.may = c->may;
	r->call.author = c->author;
	r->call.face = hub->name;
	r->call.keep = on_keep;
	r->call.event = on_event;
	r->call.park = on_park;
	r->call.reads = c->face->ordered ? NULL : &hub->reads;
	r->call.done = on_done;
	r->next = c->requests;
	r->at = &c->requests;
	if (r->next)
		r->next->at = &r->next;
	c->requests = r;
	c->in_flight++;
	metrics_add(hub->node->metrics, METRIC_IN_FLIGHT, 1);
	hub->node->waiting++;
	return r;
}

/* A read waits for every change before it; a change for those that make and drop things. Behind what waits,
 * all wait. */
static bool must_wait(const struct conn *c, const struct request *r)
{
	for (const struct request *change = c->changes; change && change->turn < r->turn;
	     change = change->next_change)
		if (!r->changes || cairn_operation_row(change->call.op)->permission == CAIRN_MAY_ADMIN)
			return true;
	return false;
}

void conn_start(struct request *r)
{
	struct conn *c = r->conn;
	const struct cairn_operation_row *op = cairn_operation_row(r->call.op);

	if (!c->taking) /* nobody comes to serve what gets wait for */
		r->call.reads = NULL;
	r->held = r->call.fields.len;
	c->held += r->held;
	r->turn = c->turns++;
	if (c->face->ordered && op && op->permission != CAIRN_MAY_READ) {
		r->changes = true;
		r->next_change = NULL;
		r->change_at = c->changes_last;
		*c->changes_last = r;
		c->changes_last = &r->next_change;
	}
	if ((c->later || must_wait(c, r)) && on_keep(&r->call)) {
		r->later = true;
		r->next_later = NULL;
		*c->later_last = r;
		c->later_last = &r->next_later;
		return;
	}
	call_start(&r->call);
}

/* Start what waited for changes that are done by now. */
static void start_later(struct conn *c)
{
	while (c->later && !must_wait(c, c->later)) {
		struct request *r = c->later;

		c->later = r->next_later;
		if (!c->later)
			c->later_last = &c->later;
		r->later = false;
		call_start(&r->call);
	}
}

/* The first bytes choose the face. */
static bool choose(struct conn *c)
{
	static const unsigned char magic[] = { 0xca, 'R', 'N', '1' };
	struct cairn_slice in = conn_input(c);
	struct cairn_error error;

	if (in.len == 0)
		return false;
	if (*(const char *)in.data == '{') {
		c->face = &face_json;
		return true;
	}
	if (memcmp(in.data, magic, in.len < sizeof(magic) ? in.len : sizeof(magic)) == 0) {
		if (in.len < sizeof(magic))
			return false;
		c->start += sizeof(magic);
		c->face = &face_binary;
		return true;
	}
	cairn_fail(&error, CAIRN_E_INVALID, "the first byte is neither '{' nor 0xCA");
	face_json.refuse(c, 0, &error);
	conn_close_soon(c);
	return false;
}

static void take_all(struct conn *c)
{
	c->stalled = c->pausing = false;
	c->taking = true;
	while (!c->closing) {
		if (conn_full(c)) {
			c->stalled = true;
			break;
		}
		if (!(c->face ? c->face->take(c) : choose(c)))
			break;
	}
	c->taking = false;
}

/* Take and start what is there. */
static void process(struct conn *c)
{
	do {
		take_all(c);
		reads_serve(&c->hub->reads); /* their fields lie in the input */
	} while (c->stalled && !c->pausing && !c->closing && !conn_full(c));
	if (c->stalled)
		return;
	if (c->in && (c->start == c->len || c->closing))
		drop_input(c);
}

/* Room for what the next request needs, or for as much as is read at a time. */
static bool make_room(struct conn *c)
{
	struct hub *hub = c->hub;
	size_t want = c->need > CONN_READ ? c->need : CONN_READ;
	unsigned char *p;

	if (!c->in && want == CONN_READ && hub->input_count) {
		c->in = hub->inputs[--hub->input_count];
		c->cap = CONN_READ;
		return true;
	}
	if (c->start > 0 && c->start + want > c->cap) {
		memmove(c->in, c->in + c->start, c->len - c->start);
		c->len -= c->start;
		c->start = 0;
	}
	if (c->len < c->cap && want <= c->cap)
		return true;
	if (c->len == c->cap && want <= c->cap)
		want = c->cap * 2;
	p = realloc(c->in, want);
	if (!p)
		return false;
	c->in = p;
	c->cap = want;
	return true;
}

static void read_some(struct conn *c)
{
	ssize_t n;

	if (!make_room(c)) {
		conn_cut(c);
		return;
	}
	n = recv(c->fd, c->in + c->len, c->cap - c->len, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		conn_cut(c);
		return;
	}
	if (n == 0)
		c->eof = true;
	c->len += (size_t)n;
	metrics_add(c->hub->node->metrics, METRIC_BYTES_READ, n);
	process(c);
	conn_flush(c);
}

/* Send what there is; false when the client is gone. */
static bool send_some(struct conn *c)
{
	ssize_t n;

	while (unsent(c)) {
		n = send(c->fd, c->out.data + c->sent, unsent(c), MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN && c->sent > c->out.len / 2) {
			memmove(c->out.data, c->out.data + c->sent, unsent(c));
			c->out.len -= c->sent;
			c->sent = 0;
		}
		if (n < 0)
			return errno == EAGAIN;
		c->sent += (size_t)n;
		c->taken += (size_t)n;
		metrics_add(c->hub->node->metrics, METRIC_BYTES_WRITTEN, n);
	}
	c->out.len = c->sent = 0;
	if (c->out.cap > KEEP_OUT)
		buffer_free(&c->out);
	return true;
}

static void on_events(void *arg, unsigned events)
{
	struct conn *c = arg;

	if (events & LOOP_GONE) {
		conn_cut(c);
		return;
	}
	if (events & LOOP_READ && c->watched & LOOP_READ)
		read_some(c);
	if (c->fd >= 0 && events & (LOOP_WRITE | LOOP_HANGUP))
		conn_flush(c);
}

/* Let streams go on that waited for the output to drain. */
static void resume(struct conn *c)
{
	while (c->waiting && unsent(c) < DRAINED) {
		struct request *r = c->waiting;

		forget_waiting(c, r);
		r->call.resume(&r->call);
	}
}

/* What to wait for next. */
static void watch(struct conn *c)
{
	unsigned events = (unsent(c) ? LOOP_WRITE : 0) |
		(c->eof || c->closing || c->stalled || conn_full(c) ? 0 : LOOP_READ) |
		(c->eof && !c->stalled && !unsent(c) ? LOOP_GONE : 0); /* it may still wait for answers */

	if (events != c->watched && loop_rewatch(c->watch, events) == 0)
		c->watched = events;
}

/* The end of a turn in which something happened. */
static void on_end(struct loop_task *t)
{
	struct conn *c = (struct conn *)((char *)t - offsetof(struct conn, end));

	c->end_queued = false;
	start_later(c);
	if (c->fd >= 0 && (c->out.error || !send_some(c)))
		conn_cut(c);
	if (c->fd >= 0 && c->in_flight == 0 && unsent(c) == 0 && (c->closing || (c->eof && !c->stalled)))
		conn_cut(c);
	if (c->fd >= 0) {
		watch(c);
		if (((c->stalled && !c->pausing && !conn_full(c)) || (c->waiting && unsent(c) < DRAINED)) &&
		    !c->again_queued) {
			c->again_queued = true;
			loop_post(c->hub->node->loop, &c->again);
		}
	}
	free_if_dead(c);
}

static void on_again(struct loop_task *t)
{
	struct conn *c = (struct conn *)((char *)t - offsetof(struct conn, again));

	c->again_queued = false;
	if (c->fd >= 0)
		resume(c);
	if (c->fd >= 0 && c->stalled)
		process(c);
	conn_flush(c);
}

void hub_close(struct hub *hub, const char *message, void (*closed)(void *arg), void *arg)
{
	hub->closed = closed;
	hub->closed_arg = arg;
	hub->closing = true;
	if (!hub->conns) {
		closed(arg);
		return;
	}
	for (struct conn *c = hub->conns, *next; c; c = next) {
		next = c->next;
		if (c->fd >= 0 && c->face && c->face->tell)
			c->face->tell(c, message);
		conn_close_soon(c);
	}
}

void hub_cut(struct hub *hub)
{
	for (struct conn *c = hub->conns, *next; c; c = next) {
		next = c->next;
		conn_cut(c);
	}
}

void hub_free(struct hub *hub)
{
	while (hub->spare) {
		struct request *r = hub->spare;

		hub->spare = r->next;
		request_free(r);
	}
	while (hub->input_count)
		free(hub->inputs[--hub->input_count]);
}
