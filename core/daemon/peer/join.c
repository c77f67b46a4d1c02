/*
 * Joining. A node that is no member yet connects with a token instead of the cluster key, proves that it has
 * it, and asks once; the host decides, perhaps after a while, and its answer (which holds the cluster key)
 * ends the conversation. In the open, without TLS, the token's secret is shown as it is: whoever chose that
 * has no secrets.
 */
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "buffer.h"
#include "clock.h"
#include "inside.h"
#include "banned.h"

/* Whether two secrets are the same, in a time that says nothing of where they differ. */
static bool same(const unsigned char *a, const unsigned char *b)
{
	unsigned char differ = 0;

	for (size_t i = 0; i < KEY_SECRET; i++)
		differ |= a[i] ^ b[i];
	return differ == 0;
}

static void refuse(struct link *l, const char *sentence)
{
	unsigned char body[FRAME_REFUSE_HEAD + 1024];
	size_t n = frame_refuse_put(body, sizeof(body), PEER_REFUSED_JOIN, l->peers->options.id, sentence);

	log_warn(l->peers->options.log, LOG_REPLICATION, "a node may not join",
		 LOG_TEXT("address", l->address), LOG_TEXT("why", sentence));
	if (link_send_now(l, FRAME_REFUSE, cairn_slice(body, n)))
		link_close(l, sentence);
}

void join_frame(struct link *l, const struct frame *frame)
{
	const struct peer_calls *calls = &l->peers->options.calls;
	const unsigned char *p = frame->body.data;
	unsigned char secret[KEY_SECRET];
	char id[TOKEN_ID + 1] = "";
	bool good;

	if (l->dialled || l->peer || frame->kind != FRAME_JOIN || l->state == LINK_GUEST ||
	    frame->body.len < FRAME_JOIN_HEAD || (l->tls && !tls_is_guest(l->tls))) {
		link_close(l, "it does not keep to the handshake");
		return;
	}
	memcpy(id, p, TOKEN_ID);
	good = calls->token && calls->join && calls->token(l->peers->options.arg, id, secret) &&
		same(secret, p + TOKEN_ID) && (!l->tls || !strcmp(id, tls_key(l->tls)));
	explicit_bzero(secret, sizeof(secret));
	if (!good) {
		refuse(l, "the token is not known here: it was used, is too old, or of another cluster");
		return;
	}
	l->state = LINK_GUEST;
	l->guest = ++l->peers->guests;
	l->until_ns = clock_boot_ns() + (uint64_t)LINK_JOIN_MS * 1000000;
	peers_wake_at(l->peers, l->until_ns);
	calls->join(l->peers->options.arg, l->guest, id, l->address,
		    cairn_slice(p + FRAME_JOIN_HEAD, frame->body.len - FRAME_JOIN_HEAD));
}

static struct link *find_guest(struct peers *p, uint64_t guest)
{
	struct link *l;

	for (l = p->strangers; l && l->guest != guest; l = l->next)
		;
	return l;
}

void peers_join_answer(struct peers *p, uint64_t guest, struct cairn_slice answer)
{
	struct link *l = find_guest(p, guest);

	if (l && answer.len <= PEER_JOIN_MAX && link_send_now(l, FRAME_JOINED, answer))
		link_close(l, NULL);
}

void peers_join_refuse(struct peers *p, uint64_t guest, const char *sentence)
{
	struct link *l = find_guest(p, guest);

	if (l)
		refuse(l, sentence);
}

/* What one attempt to join holds. */
struct attempt {
	const char *address;
	int fd;
	uint64_t until_ns;
	struct tls_maker *maker;
	struct tls *tls; /* NULL: in the open */
	struct cairn_error *error;
	struct buffer *in;
};

static enum cairn_code too_late(struct attempt *a)
{
	return cairn_fail(a->error, CAIRN_E_TIMEOUT, "%s does not answer", a->address);
}

/* Wait until the socket can be read, or written. */
static enum cairn_code await(struct attempt *a, bool write)
{
	struct pollfd p = { .fd = a->fd, .events = write ? POLLOUT : POLLIN };
	uint64_t now = clock_boot_ns();

	while (now < a->until_ns) {
		int r = poll(&p, 1, (int)((a->until_ns - now) / 1000000) + 1);

		if (r > 0)
			return CAIRN_OK;
		if (r < 0 && errno != EINTR)
			return cairn_fail(a->error, CAIRN_E_INTERNAL, "poll: %s", strerror(errno));
		now = clock_boot_ns();
	}
	return too_late(a);
}

/* Try one of the addresses that a name has. */
static enum cairn_code connect_to(struct attempt *a, const struct addrinfo *to)
{
	int error = 0;
	socklen_t len = sizeof(error);
	enum cairn_code code;

	a->fd = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (a->fd < 0)
		return cairn_fail(a->error, CAIRN_E_UNAVAILABLE, "%s: %s", a->address, strerror(errno));
	if (connect(a->fd, to->ai_addr, to->ai_addrlen) == 0)
		return CAIRN_OK;
	if (errno != EINPROGRESS)
		return cairn_fail(a->error, CAIRN_E_UNAVAILABLE, "%s: %s", a->address, strerror(errno));
	code = await(a, true);
	if (code)
		return code;
	getsockopt(a->fd, SOL_SOCKET, SO_ERROR, &error, &len);
	return error ? cairn_fail(a->error, CAIRN_E_UNAVAILABLE, "%s: %s", a->address, strerror(error))
		     : CAIRN_OK;
}

static enum cairn_code reach(struct attempt *a)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found = NULL;
	char host[PEER_ADDRESS_MAX + 1], service[8];
	enum cairn_code code = CAIRN_E_UNAVAILABLE;
	uint16_t port;
	int r;

	if (!peer_address_parse(a->address, host, &port))
		return cairn_fail(a->error, CAIRN_E_INVALID, "'%s' is no address of a node: HOST:PORT",
				  a->address);
	snprintf(service, sizeof(service), "%u", port);
	r = getaddrinfo(host, service, &hints, &found);
	if (r)
		return cairn_fail(a->error, CAIRN_E_UNAVAILABLE, "%s: %s", a->address, gai_strerror(r));
	for (struct addrinfo *to = found; to && code == CAIRN_E_UNAVAILABLE; to = to->ai_next) {
		if (a->fd >= 0)
			close(a->fd);
		a->fd = -1;
		code = connect_to(a, to);
	}
	freeaddrinfo(found);
	return code;
}

static enum cairn_code make_secret(struct attempt *a, const struct peer_token *token)
{
	struct tls_secrets secrets = { .token = token };
	enum cairn_code code = tls_maker_new(&a->maker, a->error);
	int r;

	if (code)
		return code;
	a->tls = tls_new(a->maker, a->fd, false, &secrets);
	if (!a->tls)
		return cairn_fail(a->error, CAIRN_E_INTERNAL, "no memory for TLS");
	while ((r = tls_handshake(a->tls)) == 0) {
		code = await(a, tls_wants_write(a->tls));
		if (code)
			return code;
	}
	return r < 0 ? cairn_fail(a->error, CAIRN_E_DENIED, "%s %s", a->address, tls_why(a->tls)) : CAIRN_OK;
}

static enum cairn_code broken(struct attempt *a, int error)
{
	return cairn_fail(a->error, CAIRN_E_UNAVAILABLE, "%s has hung up%s%s", a->address, error ? ": " : "",
			  error ? strerror(error) : "");
}

static enum cairn_code say(struct attempt *a, const unsigned char *bytes, size_t len)
{
	struct iovec iov = { (void *)bytes, len };
	enum cairn_code code = CAIRN_OK;
	int error = 0;

	for (size_t n = 0; !code && (n < len || error);) {
		if (a->tls && n == 0)
			n = tls_write(a->tls, &iov, 1, &error); /* which takes a record whole */
		else if (a->tls)
			error = tls_flush(a->tls);
		else {
			ssize_t sent = send(a->fd, bytes + n, len - n, MSG_NOSIGNAL);

			error = sent < 0 ? -errno : 0;
			n += sent > 0 ? (size_t)sent : 0;
		}
		if (error == -EAGAIN)
			code = await(a, true);
		else if (error)
			code = broken(a, -error);
	}
	return code;
}

/* Read until there is a frame. */
static enum cairn_code hear(struct attempt *a, struct frame *frame)
{
	const char *why;
	size_t need;
	enum cairn_code code;
	int r;

	while ((r = frame_take(buffer_slice(a->in), FRAME_GREETING_MAX, frame, &need, &why)) == 0) {
		unsigned char piece[4096];
		ssize_t n = a->tls ? tls_read(a->tls, piece, sizeof(piece))
				   : recv(a->fd, piece, sizeof(piece), 0);

		if (!a->tls && n < 0)
			n = -errno;
		if (n == -EAGAIN) {
			code = await(a, false);
			if (code)
				return code;
		} else if (n <= 0) {
			return broken(a, (int)-n);
		} else {
			buffer_add(a->in, cairn_slice(piece, (size_t)n));
			if (a->in->error)
				return cairn_fail(a->error, CAIRN_E_INTERNAL, "no memory");
		}
	}
	return r < 0 ? cairn_fail(a->error, CAIRN_E_UNAVAILABLE, "%s %s", a->address, why) : CAIRN_OK;
}

static enum cairn_code converse(struct attempt *a, const struct peer_token *token, struct cairn_slice request,
				struct buffer *answer)
{
	unsigned char out[FRAME_HEAD + FRAME_JOIN_HEAD];
	struct cairn_slice slices[2] = { { out + FRAME_HEAD, FRAME_JOIN_HEAD }, request };
	char text[1024];
	struct frame frame;
	enum peer_refusal why;
	uint64_t id;
	struct buffer all = { 0 };
	enum cairn_code code;

	memcpy(out + FRAME_HEAD, token->id, TOKEN_ID);
	memcpy(out + FRAME_HEAD + TOKEN_ID, token->secret, KEY_SECRET);
	frame_head(out, PEER_URGENT, FRAME_JOIN, 0, slices, 2, FRAME_JOIN_HEAD + request.len);
	buffer_add(&all, cairn_slice(out, sizeof(out)));
	buffer_add(&all, request);
	explicit_bzero(out, sizeof(out));
	code = all.error ? cairn_fail(a->error, CAIRN_E_INTERNAL, "no memory") : say(a, all.data, all.len);
	if (all.data)
		explicit_bzero(all.data, all.len);
	buffer_free(&all);
	if (!code)
		code = hear(a, &frame);
	if (code)
		return code;
	if (frame.kind == FRAME_JOINED) {
		buffer_add(answer, frame.body);
		return answer->error ? cairn_fail(a->error, CAIRN_E_INTERNAL, "no memory") : CAIRN_OK;
	}
	if (frame.kind == FRAME_REFUSE && frame_refuse_get(frame.body, &why, &id, text, sizeof(text)) == 0)
		return cairn_fail(a->error, CAIRN_E_DENIED, "%s refuses: %s", a->address, text);
	return cairn_fail(a->error, CAIRN_E_UNAVAILABLE, "%s does not keep to the handshake", a->address);
}

enum cairn_code peer_join(const char *address, const char *text, bool tls, struct cairn_slice request,
			  unsigned timeout_ms, struct buffer *answer, struct cairn_error *error)
{
	struct buffer in = { 0 };
	struct attempt a = { .address = address,
			     .fd = -1,
			     .error = error,
			     .in = &in,
			     .until_ns = clock_boot_ns() + (uint64_t)timeout_ms * 1000000 };
	struct peer_token token;
	enum cairn_code code = peer_token_parse(text, &token, error);

	if (!code && request.len > PEER_JOIN_MAX)
		code = cairn_fail(error, CAIRN_E_TOO_LARGE, "too much to say to join");
	if (!code)
		code = reach(&a);
	if (!code && tls)
		code = make_secret(&a, &token);
	if (!code)
		code = converse(&a, &token, request, answer);
	tls_free(a.tls);
	tls_maker_free(a.maker);
	if (a.fd >= 0)
		close(a.fd);
	if (in.data)
		explicit_bzero(in.data, in.len);
	buffer_free(&in);
	explicit_bzero(&token, sizeof(token));
	return code;
}
