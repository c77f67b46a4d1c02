/*
 * The handshake. The caller says hello: who it is, of which cluster, whom it wants; the one that was called
 * answers welcome, or refuses by a sentence that names both sides, and hangs up. The caller looks at the
 * welcome in the same way. Where two nodes dial each other at one time the lower id's dial counts: the lower
 * one refuses the other's as busy, the higher one gives up its own.
 */
#include <config.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include "clock.h"
#include "inside.h"
#include "banned.h"

#define SENTENCE 512
#define OWN_DIAL_NS 1000000000u /* how long a dial of our own is waited for before the other's is taken */

static bool send_hello(struct link *l, enum frame_kind kind, uint64_t called, unsigned version)
{
	const struct peer_options *o = &l->peers->options;
	struct frame_hello hello = { .oldest = FRAME_OLDEST,
				     .newest = FRAME_VERSION,
				     .link = l->which,
				     .called = called,
				     .wall_ns = clock_wall_ns() };
	unsigned char body[FRAME_HELLO_MAX];

	if (version)
		hello.oldest = hello.newest = (uint16_t)version;
	hello.who.id = o->id;
	hello.who.instance = l->peers->instance;
	memcpy(hello.who.cluster, o->cluster, 16);
	snprintf(hello.who.cluster_name, sizeof(hello.who.cluster_name), "%s", o->cluster_name);
	snprintf(hello.who.name, sizeof(hello.who.name), "%s", o->name);
	snprintf(hello.who.software, sizeof(hello.who.software), "%s", PACKAGE_VERSION);
	return link_send_now(l, kind, cairn_slice(body, frame_hello_put(body, &hello)));
}

void greet_begin(struct link *l)
{
	if (l->dialled)
		send_hello(l, FRAME_HELLO, l->peer->id, 0);
}

static void hex(char text[33], const unsigned char id[16])
{
	for (int i = 0; i < 16; i++)
		snprintf(text + 2 * i, 3, "%02x", id[i]);
}

/* The sentence for REFUSAL: about HELLO's sender, for both sides. */
static void say(const struct link *l, enum peer_refusal refusal, const struct frame_hello *hello, char *text)
{
	const struct peer_options *o = &l->peers->options;
	const struct peer_who *who = &hello->who;
	char theirs[33], ours[33];

	switch (refusal) {
	case PEER_REFUSED_CLUSTER:
		hex(theirs, who->cluster);
		hex(ours, o->cluster);
		snprintf(text, SENTENCE, "%s belongs to cluster %s (%s), %s to cluster %s (%s)", who->name,
			 who->cluster_name, theirs, o->name, o->cluster_name, ours);
		break;
	case PEER_REFUSED_NODE:
		if (l->dialled)
			snprintf(text, SENTENCE, "%s is %s, node %lu, and not node %lu", l->address,
				 who->name, (unsigned long)who->id, (unsigned long)l->peer->id);
		else if (who->id == o->id)
			snprintf(text, SENTENCE, "%s and %s both say that they are node %lu", who->name,
				 o->name, (unsigned long)o->id);
		else
			snprintf(text, SENTENCE, "%s called node %lu, and this is %s, node %lu", who->name,
				 (unsigned long)hello->called, o->name, (unsigned long)o->id);
		break;
	case PEER_REFUSED_VERSION:
		snprintf(text, SENTENCE,
			 "%s (cairn %s) speaks versions %u to %u of the peers' protocol, %s (cairn %s) %u to "
			 "%u",
			 who->name, who->software, hello->oldest, hello->newest, o->name, PACKAGE_VERSION,
			 FRAME_OLDEST, FRAME_VERSION);
		break;
	case PEER_REFUSED_STRANGER:
		snprintf(text, SENTENCE, "%s, node %lu, is no member of cluster %s, says %s", who->name,
			 (unsigned long)who->id, o->cluster_name, o->name);
		break;
	case PEER_REFUSED_REMOVED:
		snprintf(text, SENTENCE, "%s, node %lu, was removed from cluster %s, says %s", who->name,
			 (unsigned long)who->id, o->cluster_name, o->name);
		break;
	case PEER_REFUSED_JOIN: /* said by the host */
		break;
	case PEER_REFUSED_BUSY:
		snprintf(text, SENTENCE, "%s is about to call %s itself", o->name, who->name);
		break;
	}
}

/* Refuse the one that said HELLO; TEXT empty: with the usual sentence. */
static void refuse(struct link *l, enum peer_refusal refusal, const struct frame_hello *hello,
		   char text[SENTENCE])
{
	unsigned char body[FRAME_REFUSE_HEAD + SENTENCE];
	struct peer *peer = peer_find(l->peers, hello->who.id);

	if (!*text)
		say(l, refusal, hello, text);
	if (refusal != PEER_REFUSED_BUSY) {
		log_warn(l->peers->options.log, LOG_REPLICATION, "a peer is refused",
			 LOG_TEXT("address", l->address), LOG_TEXT("why", text));
		if (peer) {
			pthread_mutex_lock(&peer->lock);
			peer->stats.refusals++;
			pthread_mutex_unlock(&peer->lock);
		}
	}
	if (link_send_now(
		    l, FRAME_REFUSE,
		    cairn_slice(body,
				frame_refuse_put(body, sizeof(body), refusal, l->peers->options.id, text))))
		link_close(l, text);
}

/* What speaks against HELLO's sender before it is asked whether it is a member; 0: nothing. */
static enum peer_refusal check(const struct link *l, const struct frame_hello *hello)
{
	const struct peer_options *o = &l->peers->options;

	if (hello->newest < FRAME_OLDEST || hello->oldest > FRAME_VERSION || hello->oldest > hello->newest)
		return PEER_REFUSED_VERSION;
	if (memcmp(hello->who.cluster, o->cluster, 16))
		return PEER_REFUSED_CLUSTER;
	if (l->dialled ? hello->who.id != l->peer->id : hello->who.id == o->id || hello->called != o->id)
		return PEER_REFUSED_NODE;
	return 0;
}

static void up(struct link *l, const struct peer_who *who)
{
	struct peers *p = l->peers;
	struct peer *peer = l->peer;
	bool first = l->which == LINK_FIRST;

	l->state = LINK_UP;
	l->pinged_ns = 0;
	peer->links[l->which] = l;
	peer->wait_ms[l->which] = p->options.retry_ms;
	peer->instance = who->instance;
	pthread_mutex_lock(&peer->lock);
	peer->up[l->which] = l;
	if (first) {
		struct peer_stats *stats = &peer->stats;

		if (*stats->software)
			stats->reconnects++;
		snprintf(stats->name, sizeof(stats->name), "%s", who->name);
		snprintf(stats->software, sizeof(stats->software), "%s", who->software);
		stats->error[0] = 0;
		stats->since_ns = clock_boot_ns();
		snprintf(stats->key, sizeof(stats->key), "%s", l->tls ? tls_key(l->tls) : "");
		stats->rtt_ns = 0;
		stats->clock_ns = 0;
	}
	queue_flush(peer, l->which);
	pthread_mutex_unlock(&peer->lock);
	peers_wake_at(p, 0); /* the first ping */
	if (!first)
		return;
	log_info(p->options.log, LOG_REPLICATION, "a peer is connected", LOG_TEXT("peer", who->name),
		 LOG_NUMBER("id", who->id), LOG_TEXT("address", l->address),
		 LOG_TEXT("version", who->software));
	if (p->options.calls.up)
		p->options.calls.up(p->options.arg, peer->id, who);
}

/* Whether the caller that said HELLO is a member; *REFUSAL and TEXT where not. */
static struct peer *admit(struct link *l, const struct frame_hello *hello, enum peer_refusal *refusal,
			  char *text)
{
	struct peers *p = l->peers;
	struct peer *peer = peer_find(p, hello->who.id);

	if (peer)
		return peer;
	*refusal = PEER_REFUSED_STRANGER;
	if (p->options.calls.admit)
		*refusal = p->options.calls.admit(p->options.arg, &hello->who, text, SENTENCE);
	if (*refusal || l->dead)
		return NULL;
	peer = peer_find(p, hello->who.id);
	return peer ? peer : peer_make(p, hello->who.id);
}

/* Whether the connection that HELLO is to become may take the place of what we have. */
static bool may_replace(struct link *l, struct peer *peer, const struct frame_hello *hello)
{
	struct link *old = peer->links[hello->link];

	if (hello->link == LINK_BULK &&
	    (!peer->links[LINK_FIRST] || peer->links[LINK_FIRST]->state != LINK_UP ||
	     peer->instance != hello->who.instance))
		return false; /* it will call again when the first one is up here, too */
	return !old || old->state == LINK_UP || l->peers->options.id > peer->id ||
		clock_boot_ns() + (uint64_t)l->peers->options.handshake_ms * 1000000 - old->until_ns >
		OWN_DIAL_NS;
}

/* Somebody calls. */
static void take_hello(struct link *l, const struct frame *frame)
{
	struct frame_hello hello;
	char text[SENTENCE] = "";
	enum peer_refusal refusal;
	struct peer *peer;

	if (frame->kind != FRAME_HELLO || frame_hello_get(frame->body, &hello) < 0) {
		link_close(l, "it does not begin with hello");
		return;
	}
	l->which = hello.link;
	snprintf(hello.who.address, sizeof(hello.who.address), "%s", l->address);
	refusal = check(l, &hello);
	peer = refusal ? NULL : admit(l, &hello, &refusal, text);
	if (l->dead)
		return;
	if (!peer || !may_replace(l, peer, &hello)) {
		refuse(l, peer ? PEER_REFUSED_BUSY : refusal ? refusal : PEER_REFUSED_BUSY, &hello, text);
		return;
	}
	hello.who.protocol = hello.newest < FRAME_VERSION ? hello.newest : FRAME_VERSION;
	if (!send_hello(l, FRAME_WELCOME, hello.who.id, hello.who.protocol))
		return;
	if (peer->links[l->which])
		link_close(peer->links[l->which],
			   peer->links[l->which]->state == LINK_UP ? "it has connected anew" : NULL);
	*l->at = l->next;
	if (l->next)
		l->next->at = l->at;
	l->at = NULL;
	l->peers->stranger_count--;
	l->peer = peer;
	up(l, &hello.who);
}

static void take_refusal(struct link *l, struct cairn_slice body)
{
	struct peers *p = l->peers;
	struct peer *peer = l->peer;
	char text[SENTENCE];
	enum peer_refusal refusal;
	uint64_t id;

	if (frame_refuse_get(body, &refusal, &id, text, sizeof(text)) < 0) {
		link_close(l, "it does not keep to the handshake");
		return;
	}
	if (refusal == PEER_REFUSED_BUSY) {
		link_close(l, NULL);
		return;
	}
	peer->wait_ms[l->which] = p->options.retry_max_ms;
	pthread_mutex_lock(&peer->lock);
	peer->stats.refusals++;
	pthread_mutex_unlock(&peer->lock);
	link_close(l, text);
	if (p->options.calls.refused)
		p->options.calls.refused(p->options.arg, peer->id, refusal, text);
}

void greet_frame(struct link *l, const struct frame *frame)
{
	struct frame_hello hello;
	char text[SENTENCE] = "";
	enum peer_refusal refusal;

	if (frame->kind == FRAME_JOIN || l->state == LINK_GUEST || (l->tls && tls_is_guest(l->tls))) {
		join_frame(l, frame);
	} else if (!l->dialled) {
		take_hello(l, frame);
	} else if (frame->kind == FRAME_REFUSE) {
		take_refusal(l, frame->body);
	} else if (frame->kind != FRAME_WELCOME || frame_hello_get(frame->body, &hello) < 0 ||
		   hello.link != l->which) {
		link_close(l, "it does not keep to the handshake");
	} else if ((refusal = check(l, &hello))) {
		say(l, refusal, &hello, text);
		link_close(l, text);
	} else {
		snprintf(hello.who.address, sizeof(hello.who.address), "%s", l->address);
		hello.who.protocol = hello.newest;
		up(l, &hello.who);
	}
}
