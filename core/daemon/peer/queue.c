/*
 * What waits to be sent. Frames lie encoded in one run of bytes for each lane; a flush hands the kernel the
 * rest of the frame that is partly sent, then all urgent frames, then the log's. So an urgent frame overtakes
 * at the next boundary. A long frame whose lane and connection are empty goes from the caller's slices to the
 * socket, and only what that does not take is copied. A failed write is noted: the loop closes the
 * connection.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include "inside.h"
#include "banned.h"

#define DIRECT (16u << 10)      /* bytes from which a frame is not copied first */
#define QUEUE_FIRST (16u << 10) /* bytes of a queue's first memory */
#define QUEUE_KEEP (4u << 20)   /* most memory that an empty queue keeps */

static bool make_room(struct queue *q, size_t n)
{
	unsigned char *data;
	size_t cap = q->cap ? q->cap : QUEUE_FIRST;

	if (q->cap - q->end >= n)
		return true;
	if (q->start >= q->cap / 2 && q->cap - queue_used(q) >= n) {
		memmove(q->data, q->data + q->start, queue_used(q));
		q->end -= q->start;
		q->start = 0;
		return true;
	}
	while (cap - q->end < n)
		cap *= 2;
	data = realloc(q->data, cap);
	if (!data)
		return false;
	q->data = data;
	q->cap = cap;
	return true;
}

static void add(struct queue *q, struct cairn_slice bytes)
{
	memcpy(q->data + q->end, bytes.data, bytes.len);
	q->end += bytes.len;
}

/* Add the slices from byte SKIP on; there is room. */
static void add_from(struct queue *q, const struct cairn_slice *slices, size_t count, size_t skip)
{
	for (size_t i = 0; i < count; i++) {
		size_t n = skip < slices[i].len ? skip : slices[i].len;

		if (slices[i].len > n)
			add(q, cairn_slice((const unsigned char *)slices[i].data + n, slices[i].len - n));
		skip -= n;
	}
}

static void emptied(struct queue *q)
{
	q->start = q->end = 0;
	if (q->cap > QUEUE_KEEP) {
		free(q->data);
		q->data = NULL;
		q->cap = 0;
	}
}

static void failed(struct link *l, int error)
{
	l->failed = error;
	peers_kick(l->peers);
}

static void blocked(struct link *l)
{
	l->blocked = true;
	peers_kick(l->peers);
}

static void note(struct link *l, int error)
{
	if (error == -EAGAIN || error == -EWOULDBLOCK)
		blocked(l);
	else if (error)
		failed(l, error);
}

/* Hand IOV to the kernel, or to TLS. Bytes taken, 0 also where it takes none, or failed. */
static size_t hand_over(struct link *l, struct iovec *iov, size_t count)
{
	struct msghdr message = { .msg_iov = iov, .msg_iovlen = count };
	ssize_t n;
	int error = 0;

	if (l->tls) {
		n = (ssize_t)tls_write(l->tls, iov, count, &error);
	} else {
		do
			n = sendmsg(l->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
		while (n < 0 && errno == EINTR);
		if (n < 0) {
			error = -errno;
			n = 0;
		}
	}
	atomic_fetch_add_explicit(&l->peer->bytes_out, (uint64_t)n, memory_order_relaxed);
	note(l, error);
	return (size_t)n;
}

/* N bytes from the start of Q are sent; whole frames go, of the last one LEFT is noted. Returns what of N is
 * not of this queue. */
static size_t take_off(struct link *l, struct queue *q, enum peer_lane lane, size_t n)
{
	while (n && q->start < q->end) {
		size_t frame = frame_size(q->data + q->start);

		if (n < frame) {
			l->current = lane;
			l->left = frame - n;
			q->start += n;
			return 0;
		}
		q->start += frame;
		n -= frame;
	}
	if (q->start == q->end)
		emptied(q);
	return n;
}

static void take_off_all(struct peer *peer, struct link *l, unsigned which, size_t n)
{
	size_t first = n < l->left ? n : l->left;

	if (first) {
		struct queue *q = &peer->queues[l->current];

		q->start += first;
		l->left -= first;
		n -= first;
		if (q->start == q->end)
			emptied(q);
		if (l->left)
			return;
	}
	if (which == LINK_BULK) {
		take_off(l, &peer->queues[PEER_BULK], PEER_BULK, n);
	} else {
		n = take_off(l, &peer->queues[PEER_URGENT], PEER_URGENT, n);
		take_off(l, &peer->queues[PEER_LOG], PEER_LOG, n);
	}
}

static size_t add_iov(struct iovec *iov, const struct queue *q, size_t skip)
{
	iov->iov_base = q->data ? q->data + q->start + skip : NULL;
	iov->iov_len = queue_used(q) - skip;
	return iov->iov_len;
}

/* The bytes that wait, in the order in which they go; returns how many. */
static size_t gather(const struct peer *peer, const struct link *l, unsigned which, struct iovec iov[3])
{
	static const enum peer_lane lanes[LINKS][2] = { { PEER_URGENT, PEER_LOG }, { PEER_BULK, PEER_BULK } };
	size_t all = l->left, count = which == LINK_BULK ? 1 : 2;

	iov[0] = (struct iovec){ 0 };
	if (l->left)
		iov[0] = (struct iovec){ peer->queues[l->current].data + peer->queues[l->current].start,
					 l->left };
	iov[2] = (struct iovec){ 0 };
	for (size_t i = 0; i < count; i++)
		all += add_iov(&iov[1 + i], &peer->queues[lanes[which][i]],
			       l->left && l->current == lanes[which][i] ? l->left : 0);
	return all;
}

/* The host waits for room in a queue of this connection, and there is some. */
static void tell_room(struct peer *peer, unsigned which)
{
	for (unsigned lane = 0; lane < PEER_LANES; lane++)
		if ((lane == PEER_BULK) == (which == LINK_BULK) && peer->queues[lane].refused &&
		    queue_used(&peer->queues[lane]) <= peer->peers->options.queue_max[lane] / 2)
			peers_kick(peer->peers);
}

void queue_flush(struct peer *peer, unsigned which)
{
	struct link *l = peer->up[which];
	struct iovec iov[3];
	size_t all, n;

	if (!l || l->failed || l->blocked)
		return;
	if (l->tls)
		note(l, tls_flush(l->tls));
	while (!l->blocked && !l->failed && (all = gather(peer, l, which, iov)) > 0) {
		n = hand_over(l, iov, 3);
		take_off_all(peer, l, which, n);
		if (n < all) {
			if (!l->blocked && !l->failed)
				blocked(l);
			break;
		}
	}
	tell_room(peer, which);
}

/* Send a frame straight from SLICES; nothing waits before it. Bytes that the socket took. */
static size_t send_direct(struct link *l, const unsigned char *head, const struct cairn_slice *slices,
			  size_t count)
{
	struct iovec iov[1 + PEER_SLICES_MAX];

	iov[0] = (struct iovec){ (void *)head, FRAME_HEAD };
	for (size_t i = 0; i < count; i++)
		iov[i + 1] = (struct iovec){ (void *)slices[i].data, slices[i].len };
	return hand_over(l, iov, count + 1);
}

int queue_frame(struct peer *peer, enum peer_lane lane, const unsigned char *head,
		const struct cairn_slice *slices, size_t count, size_t len, bool now)
{
	unsigned which = lane == PEER_BULK ? LINK_BULK : LINK_FIRST;
	struct queue *q = &peer->queues[lane];
	struct link *l = peer->up[which];
	size_t size = FRAME_HEAD + len, sent = 0;
	struct iovec iov[3];

	if (!peer->up[LINK_FIRST] || peer->up[LINK_FIRST]->failed || (l && l->failed))
		return -ENOTCONN;
	if (!l && !*peer->stats.address) /* it makes the connections, and has made none for this */
		return -ENOTCONN;
	if (queue_used(q) && queue_used(q) + size > peer->peers->options.queue_max[lane]) {
		q->refused = true;
		return -EAGAIN;
	}
	if (!make_room(q, size)) /* for all of it, so that nothing can fail behind a part that was sent */
		return -ENOMEM;
	if (l && size >= DIRECT) {
		queue_flush(peer, which);
		if (!l->blocked && !l->failed && !gather(peer, l, which, iov))
			sent = send_direct(l, head, slices, count);
		if (sent == size) {
			emptied(q);
			return 0;
		}
	}
	if (sent) {
		l->current = lane;
		l->left = size - sent;
		if (!l->blocked)
			blocked(l);
	}
	if (sent < FRAME_HEAD) {
		add(q, cairn_slice(head + sent, FRAME_HEAD - sent));
		sent = FRAME_HEAD;
	}
	add_from(q, slices, count, sent - FRAME_HEAD);
	if (now)
		queue_flush(peer, which);
	return 0;
}

void queue_own(struct peer *peer, unsigned which, enum frame_kind kind, struct cairn_slice body)
{
	enum peer_lane lane = which == LINK_BULK ? PEER_BULK : PEER_URGENT;
	unsigned char head[FRAME_HEAD];

	frame_head(head, lane, kind, 0, &body, 1, body.len);
	if (peer->up[which])
		queue_frame(peer, lane, head, &body, 1, body.len, true);
}

void queue_clear(struct peer *peer, unsigned which)
{
	for (unsigned lane = 0; lane < PEER_LANES; lane++) {
		struct queue *q = &peer->queues[lane];

		if ((lane == PEER_BULK) != (which == LINK_BULK))
			continue;
		if (q->end > q->start) {
			struct link *l = peer->up[which];

			if (l && l->left && l->current == lane) {
				q->start += l->left;
				atomic_fetch_add(&peer->dropped, 1);
			}
			for (; q->start < q->end; q->start += frame_size(q->data + q->start))
				atomic_fetch_add(&peer->dropped, 1);
		}
		emptied(q);
		q->refused = false;
	}
}
