/*
 * The handle and its turns. cairn_dispatch is the only place where anything happens: connect, encode, send,
 * receive, call back, expire. cairn_submit only queues, so that all that was submitted between two dispatches
 * leaves in one write. An epoll descriptor holds the socket and a timer and stays the same over reconnects.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include "handle.h"
#include "clock.h"
#include "banned.h"

#define TIMEOUT_DEFAULT_MS 5000

static enum cairn_code find_servers(struct cairn *c, const char *list, struct cairn_error *e)
{
	char found[4096];

	if (list)
		return servers_parse(c, list, e);
	if (cairn_find_servers(found, sizeof(found)))
		return servers_parse(c, found, e);
	cairn_fail(e, CAIRN_E_UNAVAILABLE,
		   "no server is known: $CAIRN_SERVER and the file cairn/servers name none, and "
		   "the run-time folders hold no socket");
	cairn_hint(e, "start one with cairnd, or name one with -s");
	return CAIRN_E_UNAVAILABLE;
}

static enum cairn_code make(struct cairn *c, const struct cairn_options *o, struct cairn_error *e)
{
	unsigned char client[16];
	struct epoll_event in = { .events = EPOLLIN };
	enum cairn_code code;

	c->connection = (struct connection){ .fd = -1, .err = -1, .leave_ns = NEVER };
	c->epoll = c->timer = -1;
	c->armed_ns = c->deadline_ns = NEVER;
	c->sequence = 1;
	c->generation = 1;
	c->timeout_ns = (o->timeout_ms ? o->timeout_ms : TIMEOUT_DEFAULT_MS) * MS;
	c->persistent = o->persistent;
	if (getrandom(client, sizeof(client), 0) != sizeof(client))
		return cairn_fail(e, CAIRN_E_INTERNAL, "no random bytes: %s", strerrordesc_np(errno));
	memcpy(&c->random, client, sizeof(c->random));
	c->random |= 1;
	cairn_msg_text(&c->face, CAIRN_F_FACE, o->face ? o->face : "client");
	cairn_msg_bytes(&c->name, CAIRN_F_CLIENT, cairn_slice(client, sizeof(client)));
	if (cairn_msg_error(&c->face) || cairn_msg_error(&c->name))
		return cairn_fail(e, CAIRN_E_INTERNAL, "no memory for a handle");
	c->epoll = epoll_create1(EPOLL_CLOEXEC);
	c->timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	if (c->epoll < 0 || c->timer < 0 || epoll_ctl(c->epoll, EPOLL_CTL_ADD, c->timer, &in) < 0)
		return cairn_fail(e, CAIRN_E_INTERNAL, "no descriptors for a handle: %s",
				  strerrordesc_np(errno));
	code = fences_parse(c, o->fence ? o->fence : getenv("CAIRN_FENCE"), e);
	return code ? code : find_servers(c, o->servers, e);
}

enum cairn_code cairn_open(struct cairn **c, const struct cairn_options *options, struct cairn_error *e)
{
	static const struct cairn_options none;
	enum cairn_code code;

	*c = calloc(1, sizeof(**c));
	if (!*c)
		return cairn_fail(e, CAIRN_E_INTERNAL, "no memory for a handle");
	code = make(*c, options ? options : &none, e);
	if (code) {
		cairn_close(*c);
		*c = NULL;
	}
	return code;
}

void cairn_close(struct cairn *c)
{
	if (!c)
		return;
	connection_close(c);
	request_free_all(c);
	servers_free(c);
	cairn_msg_free(&c->face);
	cairn_msg_free(&c->name);
	cairn_msg_free(&c->fences);
	free(c->fence_text);
	if (c->epoll >= 0)
		close(c->epoll);
	if (c->timer >= 0)
		close(c->timer);
	free(c);
}

enum cairn_code cairn_submit(struct cairn *c, const struct cairn_msg *request, cairn_done_fn *done, void *arg)
{
	enum cairn_code code = request_submit(c, request, done, arg, false, NULL);

	if (!code)
		request_pump(c);
	return code;
}

enum cairn_code cairn_watch(struct cairn *c, const struct cairn_msg *request, cairn_done_fn *done, void *arg,
			    uint64_t *id)
{
	enum cairn_code code = request_submit(c, request, done, arg, false, id);

	if (!code)
		request_pump(c);
	return code;
}

void cairn_cancel(struct cairn *c, uint64_t id)
{
	request_cancel(c, id);
}

int cairn_fd(struct cairn *c)
{
	return c->epoll;
}

size_t cairn_pending(const struct cairn *c)
{
	return c->pending;
}

const char *cairn_server(const struct cairn *c)
{
	return c->connection.state == CONNECTION_UP ? c->servers[c->server].name : NULL;
}

struct cairn_slice cairn_identity(const struct cairn *c)
{
	struct cairn_slice body = { 0 };

	cairn_field_find(cairn_msg_slice(&c->name), CAIRN_F_CLIENT, &body);
	return body;
}

const char *cairn_version(void)
{
	return CAIRN_VERSION;
}

/* One turn. READ: look for answers. Returns when it has to look again at the latest. */
static uint64_t turn(struct cairn *c, bool read)
{
	uint64_t again, later;

	request_resume(c);
	connection_start(c);
	request_pump(c);
	connection_flush(c);
	if (read && c->connection.state != CONNECTION_DOWN)
		connection_receive(c);
	request_expire(c);
	again = connection_watch(c);
	later = request_resume(c);
	request_pump(c);
	connection_flush(c);
	again = again < later ? again : later;
	return again < c->deadline_ns ? again : c->deadline_ns;
}

/* Let the timer fire at WHEN. It may fire earlier for nothing: that is cheaper than setting it each time. */
static void arm(struct cairn *c, uint64_t when)
{
	struct itimerspec at = { 0 };

	if (c->armed_ns > c->now && when >= c->armed_ns)
		return;
	if (when != NEVER) {
		at.it_value.tv_sec = (time_t)(when / 1000000000);
		at.it_value.tv_nsec = (long)(when % 1000000000) + (when == 0);
	}
	if (timerfd_settime(c->timer, TFD_TIMER_ABSTIME, &at, NULL) == 0)
		c->armed_ns = when;
}

static int wait_time(uint64_t now, uint64_t until)
{
	uint64_t ms = (until - now + MS - 1) / MS;

	return until == NEVER ? -1 : ms > 1000000 ? 1000000 : (int)ms;
}

enum cairn_code cairn_dispatch(struct cairn *c, int wait_ms)
{
	size_t delivered = c->delivered;
	struct epoll_event events[3];
	uint64_t until;
	bool read;

	if (c->busy)
		return CAIRN_E_INVALID;
	c->busy = true;
	c->now = clock_boot_ns();
	read = wait_ms == 0 || c->now >= c->deadline_ns; /* answers that are here are in time */
	until = wait_ms < 0 ? NEVER : c->now + (uint64_t)wait_ms * MS;
	for (;;) {
		uint64_t again = turn(c, read);

		arm(c, again);
		if (c->delivered != delivered || c->now >= until || !request_any(c))
			break;
		read = again <= c->now || epoll_wait(c->epoll, events, 3, wait_time(c->now, until)) != 0;
		c->now = clock_boot_ns();
	}
	c->busy = false;
	return CAIRN_OK;
}
