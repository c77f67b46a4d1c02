/*
 * Connections: made, accepted, read, closed. A connection that we dial goes from its name's address to
 * connected, says hello and is up with the answer; one that we accept is a stranger until its hello. Its
 * bytes are taken apart frame by frame where they were read. Whatever goes wrong closes it, with a sentence,
 * and the peer's next dial is put off a little longer each time.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "clock.h"
#include "inside.h"
#include "le.h"
#include "banned.h"

#define UNSENT_MAX \
	(256 << 10) /* bytes of the first connection that the kernel holds unsent: what is there is not \
		       overtaken any more */
#define READS 64    /* most reads in one turn */

static void on_events(void *arg, unsigned events);

static uint64_t ms(unsigned n)
{
	return (uint64_t)n * 1000000;
}

static struct link *link_new(struct peers *p, unsigned which)
{
	struct link *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->peers = p;
	l->which = which;
	l->fd = -1;
	l->until_ns = clock_boot_ns() + ms(p->options.handshake_ms);
	atomic_init(&l->heard_ns, 0);
	peers_wake_at(p, l->until_ns);
	return l;
}

static void free_link(struct link *l)
{
	free(l->in);
	free(l);
}

static void address_text(const struct sockaddr *address, socklen_t len, char *text, size_t size)
{
	char host[128], port[16];

	if (getnameinfo(address, len, host, sizeof(host), port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV))
		snprintf(text, size, "?");
	else
		snprintf(text, size, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
}

static void set_options(struct link *l)
{
	int one = 1, lowat = UNSENT_MAX, timeout = (int)l->peers->options.silence_ms;

	/* Without them it is slower to notice trouble, or to overtake; nothing else. */
	setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(l->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof(timeout));
	setsockopt(l->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &lowat, sizeof(lowat));
}

/* When PEER may be dialled again. */
static void put_off(struct peer *peer, unsigned which)
{
	struct peers *p = peer->peers;

	peer->dial_ns[which] = clock_boot_ns() + peers_jitter_ns(p, peer->wait_ms[which]);
	peer->wait_ms[which] *= 2;
	if (peer->wait_ms[which] > p->options.retry_max_ms)
		peer->wait_ms[which] = p->options.retry_max_ms;
	peers_wake_at(p, peer->dial_ns[which]);
}

/* Take the link out of its peer. Whether it was up. */
static bool leave(struct link *l, const char *why)
{
	struct peer *peer = l->peer;
	bool up;

	pthread_mutex_lock(&peer->lock);
	up = peer->up[l->which] == l;
	if (up) {
		queue_clear(peer, l->which);
		peer->up[l->which] = NULL;
		if (l->which == LINK_FIRST) {
			peer->stats.since_ns = clock_boot_ns();
			snprintf(peer->stats.error, sizeof(peer->stats.error), "%s", why ? why : "");
		}
	}
	pthread_mutex_unlock(&peer->lock);
	if (peer->links[l->which] == l) {
		peer->links[l->which] = NULL;
		put_off(peer, l->which);
	}
	return up;
}

static void tell(struct link *l, const char *why, bool up)
{
	struct peers *p = l->peers;
	struct peer *peer = l->peer;

	if (!up) {
		peer_trouble(peer, "%s", why);
	} else if (l->which == LINK_BULK) {
		if (p->options.calls.bulk_lost)
			p->options.calls.bulk_lost(p->options.arg, peer->id);
	} else {
		log_warn(p->options.log, LOG_REPLICATION, "the connection to a peer is lost",
			 LOG_TEXT("peer", peer->stats.name), LOG_NUMBER("id", peer->id),
			 LOG_TEXT("why", why));
		if (p->options.calls.down)
			p->options.calls.down(p->options.arg, peer->id, why);
	}
}

void link_close(struct link *l, const char *why)
{
	bool up = false;

	if (l->dead)
		return;
	l->dead = true;
	resolve_drop(l->resolve);
	loop_unwatch(l->watch);
	l->watch = NULL;
	if (l->at) {
		*l->at = l->next;
		if (l->next)
			l->next->at = l->at;
		l->peers->stranger_count--;
		if (why)
			log_debug(l->peers->options.log, LOG_REPLICATION, "a caller is hung up on",
				  LOG_TEXT("address", l->address), LOG_TEXT("why", why));
	}
	if (l->peer)
		up = leave(l, why);
	tls_free(l->tls); /* nobody finds it any more */
	l->tls = NULL;
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
	if (l->peer && up && l->which == LINK_FIRST && l->peer->links[LINK_BULK])
		link_close(l->peer->links[LINK_BULK], why ? "the first connection is lost" : NULL);
	if (l->peer && why)
		tell(l, why, up);
	if (!l->busy)
		free_link(l);
}

void link_watch(struct link *l)
{
	unsigned events = LOOP_READ;

	if (l->state == LINK_CONNECTING || (l->state == LINK_SECURING && tls_wants_write(l->tls))) {
		events = LOOP_WRITE;
	} else if (l->state == LINK_UP) {
		pthread_mutex_lock(&l->peer->lock);
		if (l->blocked)
			events |= LOOP_WRITE;
		pthread_mutex_unlock(&l->peer->lock);
	}
	if (events != l->watched && loop_rewatch(l->watch, events) == 0)
		l->watched = events;
}

void link_settle(struct link *l)
{
	int failed;

	pthread_mutex_lock(&l->peer->lock);
	l->blocked = false;
	queue_flush(l->peer, l->which);
	failed = l->failed;
	pthread_mutex_unlock(&l->peer->lock);
	if (failed)
		link_close(l, strerror(-failed));
	else
		link_watch(l);
}

/* Begin to watch the descriptor. False: there is no memory, and the link is closed. */
static bool begin_watch(struct link *l, unsigned events)
{
	l->watched = events;
	if (loop_watch(l->peers->options.loop, l->fd, events, on_events, l, &l->watch) == 0)
		return true;
	link_close(l, "no memory");
	return false;
}

/* Go on with making it secret. */
static void secure(struct link *l)
{
	char why[PEER_ADDRESS_MAX + 300];
	int r = tls_handshake(l->tls);

	if (r < 0) {
		snprintf(why, sizeof(why), "%s %s", l->address, tls_why(l->tls));
		if (!l->dialled)
			log_warn(l->peers->options.log, LOG_REPLICATION, "a peer is refused",
				 LOG_TEXT("address", l->address), LOG_TEXT("why", tls_why(l->tls)));
		link_close(l, why);
		return;
	}
	if (r == 1)
		l->state = LINK_GREETING;
	link_watch(l);
	if (r == 1) {
		greet_begin(l);
		if (!l->dead)
			link_read(l); /* what came with the end of the handshake */
	}
}

/* The socket is there: now the handshakes. */
static void begin(struct link *l)
{
	struct peers *p = l->peers;
	struct tls_secrets secrets = { &p->keys, NULL, p->options.calls.token, p->options.arg };

	set_options(l);
	if (!p->tls) {
		l->state = LINK_GREETING;
		link_watch(l);
		greet_begin(l);
		return;
	}
	l->tls = tls_new(p->tls, l->fd, !l->dialled, &secrets);
	if (!l->tls) {
		link_close(l, "no memory");
		return;
	}
	l->state = LINK_SECURING;
	secure(l);
}

static void connected(struct link *l)
{
	int error = 0;
	socklen_t len = sizeof(error);

	getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &error, &len);
	if (error) {
		char why[PEER_ADDRESS_MAX + 80];

		snprintf(why, sizeof(why), "%s: %s", l->address, strerror(error));
		link_close(l, why);
		return;
	}
	begin(l);
}

static void on_resolved(void *arg, int code, const struct sockaddr *address, socklen_t len)
{
	struct link *l = arg;
	char why[PEER_ADDRESS_MAX + 80];

	l->resolve = NULL;
	if (code) {
		snprintf(why, sizeof(why), "%s: %s", l->address,
			 code == EAI_SYSTEM ? "cannot be looked up" : gai_strerror(code));
		link_close(l, why);
		return;
	}
	l->fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->fd < 0 || (connect(l->fd, address, len) < 0 && errno != EINPROGRESS)) {
		snprintf(why, sizeof(why), "%s: %s", l->address, strerror(errno));
		link_close(l, why);
		return;
	}
	l->state = LINK_CONNECTING;
	begin_watch(l, LOOP_WRITE);
}

void link_dial(struct peer *peer, unsigned which)
{
	struct peers *p = peer->peers;
	struct link *l = link_new(p, which);
	char host[PEER_ADDRESS_MAX + 1];
	uint16_t port;

	if (!l) {
		put_off(peer, which);
		return;
	}
	l->peer = peer;
	l->dialled = true;
	l->state = LINK_RESOLVING;
	snprintf(l->address, sizeof(l->address), "%s", peer->stats.address);
	peer->links[which] = l;
	peer_address_parse(peer->stats.address, host, &port); /* which peers_set has seen to succeed */
	l->resolve = resolve_start(p->options.loop, p->options.pool, host, port, on_resolved, l);
	if (!l->resolve)
		link_close(l, "no memory");
}

void link_take(struct peers *p, int fd, const char *address)
{
	struct link *l = p->stranger_count < LINK_STRANGERS ? link_new(p, LINK_FIRST) : NULL;

	if (!l) {
		close(fd);
		return;
	}
	l->fd = fd;
	l->state = LINK_GREETING;
	snprintf(l->address, sizeof(l->address), "%s", address);
	l->next = p->strangers;
	l->at = &p->strangers;
	if (l->next)
		l->next->at = &l->next;
	p->strangers = l;
	p->stranger_count++;
	l->busy = true;
	if (begin_watch(l, LOOP_READ))
		begin(l);
	l->busy = false;
	if (l->dead)
		free_link(l);
}

static void on_caller(void *arg, unsigned events)
{
	struct peers *p = arg;
	struct sockaddr_storage address;
	socklen_t len = sizeof(address);
	char text[PEER_ADDRESS_MAX + 1];
	int fd = accept4(p->fd, (struct sockaddr *)&address, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)) {
		log_warn(p->options.log, LOG_REPLICATION, "peers cannot connect for now",
			 LOG_TEXT("why", strerror(errno)));
		p->paused = true;
		loop_rewatch(p->watch, 0);
		peers_wake_at(p, clock_boot_ns() + ms(1000));
	}
	if (fd < 0)
		return;
	address_text((struct sockaddr *)&address, len, text, sizeof(text));
	link_take(p, fd, text);
}

void link_accept_on(struct peers *p)
{
	p->paused = false;
	loop_rewatch(p->watch, LOOP_READ);
}

/* A socket that listens on ADDRESS, or -errno. */
static int listen_on(const char *host, uint16_t port, const char **why)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE }, *found = NULL;
	char service[8];
	int fd, one = 1, code, error = 0;

	snprintf(service, sizeof(service), "%u", port);
	code = getaddrinfo(strcmp(host, "*") ? host : NULL, service, &hints, &found);
	if (code) {
		*why = gai_strerror(code);
		return -EADDRNOTAVAIL;
	}
	fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(fd, found->ai_addr, found->ai_addrlen) < 0 || listen(fd, 128) < 0)
		error = errno;
	freeaddrinfo(found);
	if (!error)
		return fd;
	if (fd >= 0)
		close(fd);
	*why = strerror(error);
	return -error;
}

enum cairn_code link_listen(struct peers *p, const char *address, struct cairn_error *error)
{
	struct sockaddr_storage bound;
	socklen_t len = sizeof(bound);
	char host[PEER_ADDRESS_MAX + 1];
	const char *why = "";
	uint16_t port;

	if (!peer_address_parse(address, host, &port))
		return cairn_fail(error, CAIRN_E_INVALID, "'%s' is no address to listen on: HOST:PORT",
				  address);
	p->fd = listen_on(host, port, &why);
	if (p->fd < 0)
		return cairn_fail(error, CAIRN_E_UNAVAILABLE, "cannot listen for peers on %s: %s", address,
				  why);
	if (loop_watch(p->options.loop, p->fd, LOOP_READ, on_caller, p, &p->watch) < 0)
		return cairn_fail(error, CAIRN_E_INTERNAL, "no memory to listen for peers");
	if (getsockname(p->fd, (struct sockaddr *)&bound, &len) == 0)
		address_text((struct sockaddr *)&bound, len, p->address, sizeof(p->address));
	return CAIRN_OK;
}

static void take_pong(struct link *l, struct cairn_slice body)
{
	uint64_t now = clock_boot_ns(), wall = clock_wall_ns(), rtt;
	struct peer_stats *stats = &l->peer->stats;

	if (body.len < FRAME_PING_SIZE || le64_get(body.data) > now)
		return;
	rtt = now - le64_get(body.data);
	pthread_mutex_lock(&l->peer->lock);
	if (!stats->rtt_ns || rtt <= 2 * stats->rtt_ns) /* a late answer says little of the clock */
		stats->clock_ns = (int64_t)(le64_get((const char *)body.data + 8) + rtt / 2 - wall);
	stats->rtt_ns = stats->rtt_ns ? (7 * stats->rtt_ns + rtt) / 8 : rtt;
	pthread_mutex_unlock(&l->peer->lock);
}

static void take_ping(struct link *l, struct cairn_slice body)
{
	unsigned char answer[FRAME_PING_SIZE];

	if (body.len < FRAME_PING_SIZE)
		return;
	memcpy(answer, body.data, 8);
	le64_put(answer + 8, clock_wall_ns());
	pthread_mutex_lock(&l->peer->lock);
	queue_own(l->peer, l->which, FRAME_PONG, cairn_slice(answer, sizeof(answer)));
	pthread_mutex_unlock(&l->peer->lock);
}

static void take_frame(struct link *l, const struct frame *frame)
{
	struct peers *p = l->peers;
	struct peer_frame message = {
		.shard = frame->shard, .lane = frame->lane, .kind = frame->kind, .body = frame->body
	};

	if (l->state != LINK_UP) {
		greet_frame(l, frame);
	} else if ((frame->lane == PEER_BULK) != (l->which == LINK_BULK)) {
		link_close(l, "it sent a frame on the wrong connection");
	} else if (frame->kind == FRAME_PING) {
		take_ping(l, frame->body);
	} else if (frame->kind == FRAME_PONG) {
		if (l->which == LINK_FIRST)
			take_pong(l, frame->body);
	} else if (frame->kind >= PEER_KIND_FIRST) {
		atomic_fetch_add_explicit(&l->peer->frames_in, 1, memory_order_relaxed);
		message.from = l->peer->id;
		p->options.calls.message(p->options.arg, &message);
	}
}

/* Take what the input has of whole frames; NEED is what the next one needs. */
static void take_input(struct link *l, size_t *need)
{
	const char *why;
	struct frame frame;
	int r;

	while (!l->dead) {
		r = frame_take(cairn_slice(l->in + l->start, l->len - l->start),
			       l->state == LINK_UP ? PEER_BODY_MAX : FRAME_GREETING_MAX, &frame, need, &why);
		if (r == 0)
			break;
		if (r < 0) {
			char text[PEER_ADDRESS_MAX + 80];

			snprintf(text, sizeof(text), "%s %s", l->address, why);
			link_close(l, text);
			break;
		}
		l->start += *need;
		take_frame(l, &frame);
	}
}

/* Room for the NEED bytes of the next frame, and for more. */
static bool make_room(struct link *l, size_t need)
{
	unsigned char *in;
	size_t cap = l->cap ? l->cap : LINK_INPUT;

	if (l->start == l->len)
		l->start = l->len = 0;
	if (l->cap && l->cap - l->start >= need && l->cap - l->len >= LINK_INPUT / 4)
		return true;
	if (l->start) {
		memmove(l->in, l->in + l->start, l->len - l->start);
		l->len -= l->start;
		l->start = 0;
	}
	while (cap < need || cap - l->len < LINK_INPUT / 4)
		cap *= 2;
	if (cap == l->cap)
		return true;
	in = realloc(l->in, cap);
	if (!in)
		return false;
	l->in = in;
	l->cap = cap;
	return true;
}

/* As recv; -errno. */
static ssize_t receive(struct link *l, void *to, size_t len)
{
	ssize_t n;

	if (!l->tls) {
		n = recv(l->fd, to, len, 0);
		return n < 0 ? -errno : n;
	}
	if (l->state == LINK_UP)
		pthread_mutex_lock(&l->peer->lock);
	n = tls_read(l->tls, to, len);
	l->more = n > 0 && tls_has_more(l->tls);
	if (l->state == LINK_UP)
		pthread_mutex_unlock(&l->peer->lock);
	return n;
}

bool link_send_now(struct link *l, enum frame_kind kind, struct cairn_slice body)
{
	unsigned char frame[FRAME_HEAD + FRAME_GREETING_MAX];
	struct iovec iov = { frame, FRAME_HEAD + body.len };
	size_t n = 0;
	int error = 0;

	frame_head(frame, l->which == LINK_BULK ? PEER_BULK : PEER_URGENT, kind, 0, &body, 1, body.len);
	if (body.len)
		memcpy(frame + FRAME_HEAD, body.data, body.len);
	if (l->tls)
		n = tls_write(l->tls, &iov, 1, &error);
	else if (send(l->fd, frame, iov.iov_len, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)iov.iov_len)
		n = iov.iov_len;
	if (n == iov.iov_len && !error)
		return true;
	link_close(l, "it does not take the handshake");
	return false;
}

static void read_input(struct link *l)
{
	size_t need = FRAME_HEAD, room;
	ssize_t n;

	for (int i = 0; i < READS && !l->dead; i++) {
		if (!make_room(l, need)) {
			link_close(l, "no memory");
			break;
		}
		room = l->cap - l->len;
		n = receive(l, l->in + l->len, room);
		if (n == -EAGAIN || n == -EINTR)
			break;
		if (n <= 0) {
			link_close(l, n < 0 ? strerror((int)-n) : "it has hung up");
			break;
		}
		l->len += (size_t)n;
		atomic_store_explicit(&l->heard_ns, clock_boot_ns(), memory_order_relaxed);
		if (l->peer)
			atomic_fetch_add_explicit(&l->peer->bytes_in, (uint64_t)n, memory_order_relaxed);
		take_input(l, &need);
		if (!l->tls && (size_t)n < room)
			break;
	}
	if (!l->dead && l->more)
		peers_kick(l->peers);
}

void link_read(struct link *l)
{
	bool outermost = !l->busy;

	l->busy = true;
	read_input(l);
	if (!outermost)
		return;
	l->busy = false;
	if (l->dead)
		free_link(l);
}

static void on_events(void *arg, unsigned events)
{
	struct link *l = arg;

	l->busy = true;
	if (l->state == LINK_CONNECTING) {
		connected(l);
	} else if (l->state == LINK_SECURING) {
		secure(l);
	} else {
		if (events & LOOP_WRITE && l->state == LINK_UP)
			link_settle(l);
		if (events & (LOOP_READ | LOOP_HANGUP) && !l->dead)
			read_input(l);
	}
	l->busy = false;
	if (l->dead)
		free_link(l);
}
