/*
 * One connection at a time: reach a server, read its greeting, send frames, take answers apart. Bytes from
 * the server are hostile until they were measured. Whatever goes wrong ends in connection_lost(): the reason
 * is kept for the sentence that people may get to read, the requests go back to their queues, and the next
 * server is tried, at once the first time round the list and then after ever longer pauses.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include "handle.h"
#include "le.h"
#include "banned.h"

#define GREETING_MAX 1024    /* longest first line */
#define IN_ROOM (64u << 10)  /* least room for a read */
#define LEAVE_NS (2000 * MS) /* how long a server that goes down may answer what it has */
#define BACKOFF_FIRST_NS (20 * MS)
#define BACKOFF_MAX_NS (1000 * MS)

static const char magic[4] = { (char)0xca, 'R', 'N', '1' };

static uint64_t jitter(struct cairn *c, uint64_t below)
{
	c->random ^= c->random << 13;
	c->random ^= c->random >> 7;
	c->random ^= c->random << 17;
	return c->random % below;
}

/* The server in use failed before it answered anything. SOFT: it may be back within a moment. */
static void attempt_failed(struct cairn *c, bool soft)
{
	unsigned round;
	uint64_t pause;

	c->failures++;
	c->soft |= soft;
	round = c->failures / (unsigned)c->server_count;
	if (c->failures % c->server_count) {
		c->server = (c->server + 1) % c->server_count;
		c->attempt_ns = c->now;
		return;
	}
	if (!c->ever_up && !c->persistent && !c->soft) {
		c->failures = 0;
		c->attempt_ns = 0;
		request_fail_all(c);
		return;
	}
	c->soft = false;
	c->server = (c->server + 1) % c->server_count;
	pause = BACKOFF_FIRST_NS << (round < 7 ? round - 1 : 6);
	if (pause > BACKOFF_MAX_NS)
		pause = BACKOFF_MAX_NS;
	c->attempt_ns = c->now + pause + jitter(c, pause / 4);
}

void connection_start(struct cairn *c)
{
	struct connection *t = &c->connection;
	struct epoll_event in = { .events = EPOLLIN };
	size_t delivered = c->delivered;

	while (t->state == CONNECTION_DOWN && request_any(c) && c->now >= c->attempt_ns &&
	       c->delivered == delivered) {
		int r = transport_open(&c->servers[c->server], t);

		if (r == 0 && epoll_ctl(c->epoll, EPOLL_CTL_ADD, t->fd, &in) < 0)
			r = -errno;
		if (r == 0 && t->err >= 0 && epoll_ctl(c->epoll, EPOLL_CTL_ADD, t->err, &in) < 0)
			r = -errno;
		if (r == 0) {
			t->state = CONNECTION_GREETING;
			t->since_ns = t->heard_ns = c->now;
			t->leave_ns = NEVER;
			/* where it has gone already, it may have said why */
			t->eof = send(t->fd, magic, sizeof(magic), MSG_NOSIGNAL | MSG_DONTWAIT) !=
				sizeof(magic);
			return;
		}
		if (!c->servers[c->server].why[0])
			snprintf(c->servers[c->server].why, sizeof(c->servers[c->server].why), "%s",
				 strerrordesc_np(-r));
		connection_close(c);
		attempt_failed(c, r == -EAGAIN);
	}
}

/* What ssh says on its standard error explains a failure better than its end does. */
static void listen_to_ssh(struct connection *t)
{
	char text[512];
	ssize_t n;

	while (t->err >= 0 && (n = read(t->err, text, sizeof(text))) != 0) {
		size_t end = n > 0 ? (size_t)n : 0, start;

		if (n < 0)
			return;
		while (end && strchr("\r\n", text[end - 1]))
			end--;
		for (start = end; start && text[start - 1] != '\n'; start--)
			;
		if (end > start)
			snprintf(t->said, sizeof(t->said), "%.*s", (int)(end - start), text + start);
	}
	if (t->err >= 0)
		close(t->err);
	t->err = -1;
}

void connection_close(struct cairn *c)
{
	struct connection *t = &c->connection;

	transport_close(t);
	free(t->in);
	cairn_msg_free(&t->out);
	*t = (struct connection){ .fd = -1, .err = -1, .leave_ns = NEVER };
}

void connection_lost(struct cairn *c, const char *format, ...)
{
	struct connection *t = &c->connection;
	struct server *s = &c->servers[c->server];
	bool answered = t->answered;
	char why[sizeof(s->why)];
	va_list args;

	va_start(args, format);
	vsnprintf(why, sizeof(why), format, args);
	va_end(args);
	snprintf(s->why, sizeof(s->why), "%s", why);
	request_requeue(c);
	connection_close(c);
	if (answered) {
		c->failures = 0;
		c->attempt_ns = c->now;
		c->server = (c->server + 1) % c->server_count;
	} else {
		attempt_failed(c, false);
	}
	request_tell_ended(c, s);
}

static void want_out(struct cairn *c, bool want)
{
	struct connection *t = &c->connection;
	struct epoll_event e = { .events = want ? EPOLLIN | EPOLLOUT : EPOLLIN };

	if (t->want_out != want && epoll_ctl(c->epoll, EPOLL_CTL_MOD, t->fd, &e) == 0)
		t->want_out = want;
}

void connection_flush(struct cairn *c)
{
	struct connection *t = &c->connection;

	while (!t->eof && t->out_at < t->out.len) {
		ssize_t n = send(t->fd, t->out.data + t->out_at, t->out.len - t->out_at,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n >= 0) {
			t->out_at += (size_t)n;
			t->sent += (size_t)n;
		} else if (errno == EAGAIN) {
			memmove(t->out.data, t->out.data + t->out_at, t->out.len - t->out_at);
			t->out.len -= t->out_at;
			t->out_at = 0;
			want_out(c, true);
			return;
		} else if (errno != EINTR) {
			t->eof = true; /* what it said before can still be read */
		}
	}
	t->out.len = t->out_at = 0;
	want_out(c, false);
}

/* LINE is no greeting: {"id":null,"error":{"code":"…","message":"…"}} says why cairnd turned us away. */
static void turned_away(struct cairn *c, char *line)
{
	char *sentence = line ? strstr(line, "\"message\":\"") : NULL, *end;

	if (!sentence) {
		connection_lost(c, "what listens there is not cairnd");
		return;
	}
	sentence += strlen("\"message\":\"");
	for (end = sentence; *end && *end != '"'; end++)
		end += *end == '\\' && end[1];
	connection_lost(c, "%.*s", (int)(end - sentence), sentence);
}

/* The daemon's first line: {"cairn":"0.1.0","protocol":1,"node":"n1"}. */
static void greeting(struct cairn *c)
{
	struct connection *t = &c->connection;
	char *line = (char *)t->in + t->in_at, *end = memchr(line, '\n', t->in_len - t->in_at), *protocol;
	unsigned version = 0;

	if (!end && t->in_len - t->in_at < GREETING_MAX)
		return;
	if (end)
		*end = 0;
	protocol = end && strncmp(line, "{\"cairn\":", 9) == 0 ? strstr(line, "\"protocol\":") : NULL;
	if (!protocol || sscanf(protocol + 11, "%5u", &version) != 1) {
		turned_away(c, end ? line : NULL);
		return;
	}
	if (version != 1) {
		connection_lost(c, "it speaks protocol %u and this program protocol 1", version);
		return;
	}
	t->in_at += (size_t)(end - line) + 1;
	t->state = CONNECTION_UP;
	t->heard_ns = c->now;
	c->ever_up = true;
	request_forget_born(c);
}

/* The daemon tells, unasked, that it goes down or that it did not understand: either way this connection
 * ends. */
static void notice(struct cairn *c, struct cairn_slice rest)
{
	struct connection *t = &c->connection;
	struct cairn_slice text;

	t->leave_ns = c->now + LEAVE_NS;
	rest = cairn_slice((const char *)rest.data + ANSWER_HEAD, rest.len - ANSWER_HEAD);
	if (cairn_field_find(cairn_message_fields(rest), CAIRN_F_MESSAGE, &text))
		snprintf(t->said, sizeof(t->said), "%.*s", (int)text.len, (const char *)text.data);
}

/* Frames that are whole; false when the connection is gone. */
static bool frames(struct cairn *c)
{
	struct connection *t = &c->connection;

	while (t->in_len - t->in_at >= 4) {
		const unsigned char *p = t->in + t->in_at;
		uint32_t len = le32_get(p);
		uint64_t id;
		struct cairn_slice rest;

		if (len < 8 + ANSWER_HEAD + CAIRN_MESSAGE_HEAD || len > 8 + ANSWER_HEAD + CAIRN_FRAME_MAX) {
			connection_lost(c, "it sent a frame of %u bytes, which no cairnd does", len);
			return false;
		}
		if (t->in_len - t->in_at < 4 + (size_t)len)
			break;
		id = le64_get(p + 4);
		rest = cairn_slice(p + FRAME_HEAD, len - 8);
		t->in_at += 4 + (size_t)len;
		if (id == 0) {
			notice(c, rest);
		} else if (id != 0 && request_answer(c, id, rest) < 0) {
			connection_lost(c, "it sent an answer that makes no sense");
			return false;
		}
	}
	return true;
}

/* Room for the rest of the frame that has begun, and at least IN_ROOM bytes. False without memory. */
static bool make_room(struct connection *t)
{
	size_t have = t->in_len - t->in_at, need = have + IN_ROOM;
	unsigned char *p;

	if (t->state == CONNECTION_UP && have >= 4 && 4 + (size_t)le32_get(t->in + t->in_at) > need)
		need = 4 + (size_t)le32_get(t->in + t->in_at); /* measured by frames() */
	if (t->in_cap - t->in_len >= need - have)
		return true;
	if (t->in_at)
		memmove(t->in, t->in + t->in_at, have);
	t->in_len = have;
	t->in_at = 0;
	if (t->in_cap >= need)
		return true;
	p = realloc(t->in, need + IN_ROOM);
	if (!p)
		return false;
	t->in = p;
	t->in_cap = need + IN_ROOM;
	return true;
}

void connection_receive(struct cairn *c)
{
	struct connection *t = &c->connection;

	if (t->err >= 0)
		listen_to_ssh(t);
	for (int turn = 0; turn < 16 && t->state != CONNECTION_DOWN; turn++) {
		size_t room;
		ssize_t n;

		if (!make_room(t)) {
			connection_lost(c, "no memory for its answers");
			return;
		}
		room = t->in_cap - t->in_len;
		n = recv(t->fd, t->in + t->in_len, room, MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN && !t->eof)
			return;
		if (n <= 0) {
			bool plain = n == 0 || errno == EAGAIN || errno == ECONNRESET || errno == EPIPE;
			const char *why = plain ? "it closed the connection" : strerrordesc_np(errno);

			listen_to_ssh(t);
			connection_lost(c, "%s", t->said[0] ? t->said : why);
			return;
		}
		t->in_len += (size_t)n;
		t->heard_ns = c->now;
		t->probe_ns = 0;
		if (t->state == CONNECTION_GREETING)
			greeting(c);
		if (t->state == CONNECTION_UP && !frames(c))
			return;
		if (t->in_at == t->in_len)
			t->in_at = t->in_len = 0;
		if ((size_t)n < room)
			return;
	}
}

static void probe_done(void *arg, struct cairn_reply *r)
{
	(void)arg;
	(void)r;
}

/* A server that has requests and is silent gets a ping, and after more silence it is left, if there is
 * another. */
static uint64_t watch_silence(struct cairn *c)
{
	struct connection *t = &c->connection;
	uint64_t quiet = (c->timeout_ns ? c->timeout_ns : 5000 * MS) / 4;
	struct cairn_msg ping = { 0 };

	if (!c->sent.first || (c->server_count == 1 && !c->servers[c->server].ssh))
		return NEVER;
	if (t->probe_ns && c->now >= t->probe_ns + quiet) {
		connection_lost(c, "it does not answer");
		return c->attempt_ns;
	}
	if (!t->probe_ns && c->now >= t->heard_ns + quiet) {
		t->probe_ns = c->now;
		cairn_msg_start(&ping, CAIRN_OP_PING);
		request_submit(c, &ping, probe_done, NULL, true, NULL);
		cairn_msg_free(&ping);
	}
	return (t->probe_ns ? t->probe_ns : t->heard_ns) + quiet;
}

uint64_t connection_watch(struct cairn *c)
{
	struct connection *t = &c->connection;
	uint64_t until;

	switch (t->state) {
	case CONNECTION_DOWN:
		break;
	case CONNECTION_GREETING:
		if (c->server_count == 1)
			return NEVER;
		until = (c->timeout_ns ? c->timeout_ns : 5000 * MS) / c->server_count;
		if (c->servers[c->server].ssh && until < 3000 * MS)
			until = 3000 * MS;
		until += t->since_ns;
		if (c->now < until)
			return until;
		connection_lost(c, "it takes connections and says nothing");
		break;
	case CONNECTION_UP:
		if (t->leave_ns == NEVER)
			return watch_silence(c);
		if (c->now < t->leave_ns && c->sent.first)
			return t->leave_ns;
		connection_lost(c, "%s", t->said[0] ? t->said : "it is going down");
		break;
	}
	return request_any(c) ? c->attempt_ns : NEVER;
}
