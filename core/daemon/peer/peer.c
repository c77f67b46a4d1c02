/*
 * The endpoint: what is set up, who its peers are, what is due. One timer rings for whatever comes next: a
 * dial, a ping, the end of a handshake's time. What other threads change (a full socket, a failed write, a
 * bulk connection that is wanted) they tell by a kick. Peers that were removed stay in the list until the
 * end, so that a thread that has found one may use it.
 */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>
#include "clock.h"
#include "inside.h"
#include "le.h"
#include "banned.h"

#define GIVE_WAY_MS 100 /* how long the node with the higher id waits for the other's first dial */

uint64_t peers_jitter_ns(struct peers *p, unsigned ms)
{
	uint64_t ns = (uint64_t)ms * 1000000;

	p->random ^= p->random << 13;
	p->random ^= p->random >> 7;
	p->random ^= p->random << 17;
	return ns - ns / 4 + p->random % (ns / 2 + 1);
}

struct peer *peer_find(struct peers *p, uint64_t id)
{
	struct peer *peer;

	pthread_mutex_lock(&p->lock);
	for (peer = p->peers; peer && peer->id < id; peer = peer->next)
		;
	pthread_mutex_unlock(&p->lock);
	if (!peer || peer->id != id)
		return NULL;
	pthread_mutex_lock(&peer->lock);
	id = peer->set;
	pthread_mutex_unlock(&peer->lock);
	return id ? peer : NULL;
}

struct peer *peer_make(struct peers *p, uint64_t id)
{
	struct peer **at, *peer;

	for (at = &p->peers; *at && (*at)->id < id; at = &(*at)->next)
		;
	peer = *at;
	if (!peer || peer->id != id) {
		peer = calloc(1, sizeof(*peer));
		if (!peer)
			return NULL;
		pthread_mutex_init(&peer->lock, NULL);
		peer->peers = p;
		peer->id = id;
		peer->stats.id = id;
		pthread_mutex_lock(&p->lock);
		peer->next = *at;
		*at = peer;
		pthread_mutex_unlock(&p->lock);
	}
	pthread_mutex_lock(&peer->lock);
	peer->set = true;
	pthread_mutex_unlock(&peer->lock);
	for (unsigned i = 0; i < LINKS; i++)
		peer->wait_ms[i] = p->options.retry_ms;
	return peer;
}

void peer_trouble(struct peer *peer, const char *format, ...)
{
	char text[sizeof(peer->stats.error)];
	va_list args;
	bool news;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	pthread_mutex_lock(&peer->lock);
	news = !peer->up[LINK_FIRST] && strcmp(peer->stats.error, text) != 0;
	if (news)
		memcpy(peer->stats.error, text, sizeof(text));
	pthread_mutex_unlock(&peer->lock);
	if (news)
		log_info(peer->peers->options.log, LOG_REPLICATION, "a peer cannot be reached",
			 LOG_NUMBER("id", peer->id), LOG_TEXT("why", text));
}

void peers_wake_at(struct peers *p, uint64_t ns)
{
	uint64_t now = clock_boot_ns();

	if (p->timer_ns && p->timer_ns <= ns)
		return;
	p->timer_ns = ns > now ? ns : now;
	loop_timer_set(p->timer, ns > now ? (ns - now) / 1000000 + 1 : 0);
}

void peers_kick(struct peers *p)
{
	if (!atomic_exchange(&p->kicked, true))
		eventfd_write(p->kick_fd, 1);
}

/* Ping, where it is time, and hang up where nothing was heard. False: it was closed. */
static bool tend_up(struct link *l, uint64_t now)
{
	struct peers *p = l->peers;
	uint64_t silence = (uint64_t)p->options.silence_ms * 1000000,
		 ping = (uint64_t)p->options.ping_ms * 1000000;
	unsigned char body[FRAME_PING_SIZE];
	char why[64];

	if (now >= atomic_load(&l->heard_ns) + silence) {
		snprintf(why, sizeof(why), "it has been silent for %.1f s", (double)silence / 1e9);
		link_close(l, why);
		return false;
	}
	if (now >= l->pinged_ns + ping) {
		l->pinged_ns = now;
		le64_put(body, now);
		le64_put(body + 8, clock_wall_ns());
		pthread_mutex_lock(&l->peer->lock);
		queue_own(l->peer, l->which, FRAME_PING, cairn_slice(body, sizeof(body)));
		pthread_mutex_unlock(&l->peer->lock);
		if (l->cap > LINK_INPUT && !l->busy && l->start == l->len) { /* a burst is over */
			free(l->in);
			l->in = NULL;
			l->start = l->len = l->cap = 0;
		}
	}
	peers_wake_at(p, l->pinged_ns + ping);
	return true;
}

static void tend_link(struct peer *peer, unsigned which, uint64_t now)
{
	struct link *l = peer->links[which];
	bool wanted;
	int failed = 0;

	pthread_mutex_lock(&peer->lock);
	wanted = peer->set && *peer->stats.address &&
		(which == LINK_FIRST || (peer->up[LINK_FIRST] && queue_used(&peer->queues[PEER_BULK])));
	if (l && l->state == LINK_UP)
		failed = l->failed;
	pthread_mutex_unlock(&peer->lock);
	if (failed) {
		link_close(l, strerror(-failed));
	} else if (l && l->state == LINK_UP) {
		if (tend_up(l, now)) {
			link_watch(l);
			if (l->more)
				link_read(l);
		}
	} else if (l) {
		if (now >= l->until_ns) {
			char why[PEER_ADDRESS_MAX + 64];

			snprintf(why, sizeof(why), "%s does not answer", l->address);
			link_close(l, why);
		} else {
			peers_wake_at(peer->peers, l->until_ns);
		}
	} else if (wanted && now >= peer->dial_ns[which]) {
		link_dial(peer, which);
	} else if (wanted) {
		peers_wake_at(peer->peers, peer->dial_ns[which]);
	}
}

static void tell_room(struct peer *peer)
{
	struct peers *p = peer->peers;
	bool room;

	for (unsigned lane = 0; lane < PEER_LANES; lane++) {
		struct queue *q = &peer->queues[lane];

		pthread_mutex_lock(&peer->lock);
		room = q->refused && queue_used(q) <= p->options.queue_max[lane] / 2;
		if (room)
			q->refused = false;
		pthread_mutex_unlock(&peer->lock);
		if (room && p->options.calls.room)
			p->options.calls.room(p->options.arg, peer->id, lane);
	}
}

static void tend(struct peers *p)
{
	uint64_t now = clock_boot_ns();

	for (struct peer *peer = p->peers; peer; peer = peer->next) {
		for (unsigned which = 0; which < LINKS; which++)
			tend_link(peer, which, now);
		tell_room(peer);
	}
}

static void on_timer(void *arg)
{
	struct peers *p = arg;
	uint64_t now = clock_boot_ns();

	p->timer_ns = 0;
	if (p->paused)
		link_accept_on(p);
	for (struct link *l = p->strangers, *next; l; l = next) {
		next = l->next;
		if (now >= l->until_ns)
			link_close(l, "it does not say who it is");
		else
			peers_wake_at(p, l->until_ns);
	}
	tend(p);
}

static void on_kick(void *arg, unsigned events)
{
	struct peers *p = arg;
	eventfd_t count;

	(void)events;
	eventfd_read(p->kick_fd, &count);
	atomic_store(&p->kicked, false);
	tend(p);
}

/* The peer behind PEER, the first where that is NULL; from any thread. */
static struct peer *next_peer(struct peers *p, struct peer *peer)
{
	pthread_mutex_lock(&p->lock);
	peer = peer ? peer->next : p->peers;
	pthread_mutex_unlock(&p->lock);
	return peer;
}

void peers_flush(struct peers *p)
{
	for (struct peer *peer = NULL; (peer = next_peer(p, peer));) {
		pthread_mutex_lock(&peer->lock);
		for (unsigned which = 0; which < LINKS; which++)
			queue_flush(peer, which);
		pthread_mutex_unlock(&peer->lock);
	}
}

static void on_end(struct loop_task *t)
{
	struct peers *p = (struct peers *)((char *)t - offsetof(struct peers, end));

	p->end_queued = false;
	peers_flush(p);
}

void peers_flush_soon(struct peers *p)
{
	if (!p->end_queued) {
		p->end_queued = true;
		loop_at_turn_end(p->options.loop, &p->end);
	}
}

static enum cairn_code set_up(struct peers *p, struct cairn_error *error)
{
	struct peer_options *o = &p->options;

	o->name = strdup(o->name);
	o->cluster_name = strdup(o->cluster_name);
	if (getrandom(&p->instance, sizeof(p->instance), 0) != sizeof(p->instance))
		return cairn_fail(error, CAIRN_E_INTERNAL, "no randomness for peers");
	p->random = p->instance | 1;
	p->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!o->name || !o->cluster_name || p->kick_fd < 0 ||
	    loop_watch(o->loop, p->kick_fd, LOOP_READ, on_kick, p, &p->kick) < 0 ||
	    loop_timer_new(o->loop, on_timer, p, &p->timer) < 0)
		return cairn_fail(error, CAIRN_E_INTERNAL, "no memory for peers");
	if (o->keys) {
		enum cairn_code code = tls_maker_new(&p->tls, error);

		if (code)
			return code;
		p->keys = *o->keys;
		o->keys = &p->keys;
	}
	return o->listen ? link_listen(p, o->listen, error) : CAIRN_OK;
}

enum cairn_code peers_open(struct peers **out, const struct peer_options *options, struct cairn_error *error)
{
	static const size_t queue_max[PEER_LANES] = { 4u << 20, 32u << 20, 4u << 20 };
	struct peers *p = calloc(1, sizeof(*p));
	struct peer_options *o;
	enum cairn_code code;

	*out = NULL;
	if (!p)
		return cairn_fail(error, CAIRN_E_INTERNAL, "no memory for peers");
	o = &p->options;
	*o = *options;
	for (unsigned i = 0; i < PEER_LANES; i++)
		o->queue_max[i] = o->queue_max[i] ? o->queue_max[i] : queue_max[i];
	o->handshake_ms = o->handshake_ms ? o->handshake_ms : 3000;
	o->ping_ms = o->ping_ms ? o->ping_ms : 1000;
	o->silence_ms = o->silence_ms ? o->silence_ms : 5000;
	o->retry_ms = o->retry_ms ? o->retry_ms : 50;
	o->retry_max_ms = o->retry_max_ms ? o->retry_max_ms : 2000;
	p->fd = p->kick_fd = -1;
	p->end.run = on_end;
	pthread_mutex_init(&p->lock, NULL);
	code = set_up(p, error);
	if (code)
		peers_close(p);
	else
		*out = p;
	return code;
}

static void free_peer(struct peer *peer)
{
	for (unsigned which = LINKS; which-- > 0;)
		if (peer->links[which])
			link_close(peer->links[which], NULL);
	for (unsigned lane = 0; lane < PEER_LANES; lane++)
		free(peer->queues[lane].data);
	pthread_mutex_destroy(&peer->lock);
	free(peer);
}

void peers_close(struct peers *p)
{
	if (!p)
		return;
	loop_unwatch(p->watch);
	loop_unwatch(p->kick);
	if (p->end_queued)
		loop_forget(p->options.loop, &p->end);
	while (p->strangers)
		link_close(p->strangers, NULL);
	while (p->peers) {
		struct peer *peer = p->peers;

		p->peers = peer->next;
		free_peer(peer);
	}
	loop_timer_free(p->timer);
	tls_maker_free(p->tls);
	explicit_bzero(&p->keys, sizeof(p->keys));
	if (p->fd >= 0)
		close(p->fd);
	if (p->kick_fd >= 0)
		close(p->kick_fd);
	pthread_mutex_destroy(&p->lock);
	free((char *)p->options.name);
	free((char *)p->options.cluster_name);
	free(p);
}

const char *peers_address(const struct peers *p)
{
	return p->address;
}

enum cairn_code peers_set(struct peers *p, uint64_t id, const char *address, struct cairn_error *error)
{
	char host[PEER_ADDRESS_MAX + 1];
	uint16_t port;
	struct peer *peer;

	if (*address && !peer_address_parse(address, host, &port))
		return cairn_fail(error, CAIRN_E_INVALID, "'%s' is no address of a peer: HOST:PORT", address);
	if (id == 0 || id == p->options.id)
		return cairn_fail(error, CAIRN_E_INVALID, "node %lu cannot be a peer of %s",
				  (unsigned long)id, p->options.name);
	peer = peer_find(p, id);
	if (peer && !strcmp(peer->stats.address, address))
		return CAIRN_OK;
	peer = peer_make(p, id);
	if (!peer)
		return cairn_fail(error, CAIRN_E_INTERNAL, "no memory for a peer");
	pthread_mutex_lock(&peer->lock);
	snprintf(peer->stats.address, sizeof(peer->stats.address), "%s", address);
	peer->stats.error[0] = 0;
	pthread_mutex_unlock(&peer->lock);
	if (peer->links[LINK_FIRST] && peer->links[LINK_FIRST]->state != LINK_UP)
		link_close(peer->links[LINK_FIRST], NULL);
	peer->dial_ns[LINK_FIRST] =
		p->options.id < id ? 0 : clock_boot_ns() + peers_jitter_ns(p, GIVE_WAY_MS);
	peers_wake_at(p, peer->dial_ns[LINK_FIRST]);
	return CAIRN_OK;
}

void peers_remove(struct peers *p, uint64_t id)
{
	struct peer *peer = peer_find(p, id);

	if (!peer)
		return;
	pthread_mutex_lock(&peer->lock);
	peer->set = false;
	peer->stats.address[0] = 0;
	pthread_mutex_unlock(&peer->lock);
	for (unsigned which = LINKS; which-- > 0;)
		if (peer->links[which])
			link_close(peer->links[which], NULL);
}

enum cairn_code peers_rekey(struct peers *p, const struct peer_keys *keys, struct cairn_error *error)
{
	if (!p->tls || !keys->count)
		return cairn_fail(error, CAIRN_E_INVALID,
				  "peers talk without TLS here: there is no key to change");
	p->keys = *keys;
	for (struct peer *peer = p->peers; peer; peer = peer->next)
		for (unsigned which = LINKS; which-- > 0;) {
			struct link *l = peer->links[which];

			if (l && l->tls && peer_keys_find(keys, tls_key(l->tls)) < 0)
				link_close(l,
					   l->state == LINK_UP ? "its cluster key is not good any more"
							       : NULL);
		}
	return CAIRN_OK;
}

int peers_send(struct peers *p, uint64_t id, enum peer_lane lane, uint8_t kind, uint64_t shard,
	       const struct cairn_slice *slices, size_t count)
{
	bool inside = loop_inside(p->options.loop), wake;
	unsigned char head[FRAME_HEAD];
	struct peer *peer;
	size_t len = 0;
	int r;

	if (kind < PEER_KIND_FIRST)
		return -EINVAL;
	for (size_t i = 0; i < count; i++)
		len += slices[i].len;
	if (len > PEER_BODY_MAX || count > PEER_SLICES_MAX)
		return -EMSGSIZE;
	peer = peer_find(p, id);
	if (!peer)
		return -ENOENT;
	frame_head(head, lane, kind, shard, slices, count, len);
	pthread_mutex_lock(&peer->lock);
	r = queue_frame(peer, lane, head, slices, count, len, !inside);
	wake = r == 0 && lane == PEER_BULK && !peer->up[LINK_BULK];
	pthread_mutex_unlock(&peer->lock);
	if (r < 0)
		atomic_fetch_add(&peer->dropped, 1);
	else
		atomic_fetch_add_explicit(&peer->frames_out, 1, memory_order_relaxed);
	if (r == 0 && inside)
		peers_flush_soon(p);
	if (wake)
		peers_kick(p);
	return r;
}

size_t peers_room(struct peers *p, uint64_t id, enum peer_lane lane)
{
	struct peer *peer = peer_find(p, id);
	size_t room = 0;

	if (!peer)
		return 0;
	pthread_mutex_lock(&peer->lock);
	if (peer->up[LINK_FIRST] && queue_used(&peer->queues[lane]) < p->options.queue_max[lane])
		room = p->options.queue_max[lane] - queue_used(&peer->queues[lane]);
	pthread_mutex_unlock(&peer->lock);
	return room;
}

bool peers_stats(struct peers *p, size_t n, struct peer_stats *stats)
{
	struct peer *peer = NULL;

	while ((peer = next_peer(p, peer))) {
		pthread_mutex_lock(&peer->lock);
		if (peer->set && n-- == 0)
			break;
		pthread_mutex_unlock(&peer->lock);
	}
	if (!peer)
		return false;
	*stats = peer->stats;
	stats->up = peer->up[LINK_FIRST];
	stats->bulk_up = peer->up[LINK_BULK];
	stats->heard_ns =
		peer->up[LINK_FIRST] ? atomic_load(&peer->up[LINK_FIRST]->heard_ns) : stats->heard_ns;
	for (unsigned lane = 0; lane < PEER_LANES; lane++)
		stats->queued[lane] = queue_used(&peer->queues[lane]);
	pthread_mutex_unlock(&peer->lock);
	stats->bytes_in = atomic_load(&peer->bytes_in);
	stats->bytes_out = atomic_load(&peer->bytes_out);
	stats->frames_in = atomic_load(&peer->frames_in);
	stats->frames_out = atomic_load(&peer->frames_out);
	stats->dropped = atomic_load(&peer->dropped);
	return true;
}
