/*
 * Carry bytes between two descriptors and a server's socket until the server closes. The descriptors may be
 * terminals or pipes that other programs share, so they are not made non-blocking: they are polled, and
 * written in amounts that a pipe with any room takes. No protocol is looked at.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/socket.h>
#include "handle.h"
#include "proxy.h"
#include "banned.h"

#define BUFFER (64u << 10)

/* One direction. */
struct flow {
	int from, to;
	bool ended;     /* FROM has no more */
	bool closed;    /* and TO was told */
	size_t at, len; /* bytes in DATA not written yet */
	unsigned char data[BUFFER];
};

static enum cairn_code reach(struct cairn *c, const char *list, struct cairn_error *e)
{
	char found[4096];
	enum cairn_code code;

	if (!list && !cairn_find_servers(found, sizeof(found))) {
		cairn_fail(e, CAIRN_E_UNAVAILABLE, "no server is known on this machine");
		cairn_hint(e, "start one with cairnd, or put its socket into ~/.config/cairn/servers");
		return CAIRN_E_UNAVAILABLE;
	}
	code = servers_parse(c, list ? list : found, e);
	for (c->server = 0; !code && c->server < c->server_count; c->server++)
		if (!c->servers[c->server].ssh && transport_open(&c->servers[c->server], &c->connection) == 0)
			return CAIRN_OK;
	c->server = 0;
	return code ? code : servers_fail(c, e);
}

/* Move what FROM has into the buffer. 0 or -errno. */
static int take(struct flow *f)
{
	ssize_t n = read(f->from, f->data, BUFFER);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < 0 && errno != ECONNRESET)
		return -errno;
	if (n < 0)
		n = 0;
	f->ended = n == 0;
	f->at = 0;
	f->len = (size_t)n;
	return 0;
}

/* Move what the buffer has to TO. 0 or -errno. */
static int give(struct flow *f)
{
	size_t len = f->len - f->at;
	ssize_t n = send(f->to, f->data + f->at, len, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0 && errno == ENOTSOCK)
		n = write(f->to, f->data + f->at, len < PIPE_BUF ? len : PIPE_BUF);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	f->at += (size_t)n;
	if (f->at == f->len)
		f->at = f->len = 0;
	return 0;
}

static int pump(struct flow *up, struct flow *down)
{
	while (!down->ended || down->len) {
		struct pollfd p[4] = {
			{ .fd = up->len || up->ended ? -1 : up->from, .events = POLLIN },
			{ .fd = up->len ? up->to : -1, .events = POLLOUT },
			{ .fd = down->len || down->ended ? -1 : down->from, .events = POLLIN },
			{ .fd = down->len ? down->to : -1, .events = POLLOUT },
		};
		int r = 0;

		if (poll(p, 4, -1) < 0 && errno != EINTR)
			return -errno;
		if (p[0].revents)
			r = take(up);
		if (r == 0 && p[1].revents && give(up) < 0) {
			up->len = 0; /* the server reads no more; it may still say why */
			up->ended = true;
		}
		if (r == 0 && p[2].revents)
			r = take(down);
		if (r == 0 && p[3].revents)
			r = give(down);
		if (r < 0)
			return r;
		if (up->ended && !up->len && !up->closed) {
			shutdown(up->to, SHUT_WR);
			up->closed = true;
		}
	}
	return 0;
}

enum cairn_code proxy_run(const char *servers, int in, int out, struct cairn_error *e)
{
	struct cairn c = { .connection = { .fd = -1, .err = -1 } };
	enum cairn_code code = reach(&c, servers, e);
	struct flow *flows = calloc(2, sizeof(*flows));
	int r;

	if (!flows)
		code = cairn_fail(e, CAIRN_E_INTERNAL, "no memory");
	if (!code) {
		flows[0].from = in;
		flows[1].to = out;
		flows[0].to = flows[1].from = c.connection.fd;
		r = pump(&flows[0], &flows[1]);
		if (r < 0)
			code = cairn_fail(e, CAIRN_E_INTERNAL, "carrying bytes to %s: %s",
					  c.servers[c.server].name, strerrordesc_np(-r));
	}
	free(flows);
	transport_close(&c.connection);
	servers_free(&c);
	return code;
}
