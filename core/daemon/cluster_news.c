/*
 * What nodes tell each other once a second: their free disk and, of each shard, how much is applied and the
 * digest of that. Equal indexes of one log have equal digests: where a majority agrees on another digest than
 * this node's, its store is damaged, and the shard stops.
 *
 *   CLUSTER_NEWS  0 version 1, 1 to 7 zeros, 8 bytes free; then of each shard: 0 its number, 8 index, 16
 * digest
 */
#include <sys/statvfs.h>
#include "clock.h"
#include "replica.h"
#include "banned.h"

#define HEAD 16
#define SHARD 32
#define SHARDS_MAX 512
#define TELL_NS 900000000u

/* With the lock: what was heard of R from PEER. */
static struct news *news_of(struct replica *r, uint64_t peer)
{
	for (size_t i = 0; i < CLUSTER_NODES_MAX; i++)
		if (r->news[i].peer == peer || !r->news[i].peer) {
			r->news[i].peer = peer;
			return &r->news[i];
		}
	return &r->news[0];
}

/* With the lock. How many nodes have the digest of N at its index. */
static size_t agreeing(struct replica *r, const struct news *n)
{
	size_t count = 0;

	for (size_t i = 0; i < CLUSTER_NODES_MAX && r->news[i].peer; i++)
		count += r->news[i].index == n->index &&
			!memcmp(r->news[i].digest, n->digest, sizeof(n->digest));
	return count;
}

/* With the lock: stop R where it is the odd one out. */
static void compare(struct cluster *c, struct replica *r)
{
	const struct news *mine = news_of(r, c->self);
	struct cairn_error error;

	for (size_t i = 0; i < CLUSTER_NODES_MAX && r->news[i].peer; i++) {
		const struct news *n = &r->news[i];

		if (n->index != mine->index || !n->index || agreeing(r, n) * 2 <= c->count ||
		    !memcmp(n->digest, mine->digest, sizeof(n->digest)))
			continue;
		cairn_fail(&error, CAIRN_E_CORRUPT,
			   "at entry %llu its content differs from that of the other nodes",
			   (unsigned long long)n->index);
		cairn_hint(&error, "'cairn check' says whether this node's data are damaged");
		shard_stop(r->shard, &error);
		return;
	}
}

void cluster_take_news(struct cluster *c, const struct peer_frame *f)
{
	const unsigned char *p = f->body.data;

	if (f->body.len < HEAD || p[0] != 1)
		return;
	pthread_mutex_lock(&c->lock);
	for (size_t i = 0; i < c->count; i++)
		if (c->nodes[i].id == f->from)
			c->nodes[i].disk_free = le64_get(p + 8);
	for (size_t at = HEAD; at + SHARD <= f->body.len; at += SHARD)
		for (struct replica *r = c->replicas; r; r = r->next) {
			struct news *n;

			if (r->id != le64_get(p + at))
				continue;
			n = news_of(r, f->from);
			n->index = le64_get(p + at + 8);
			memcpy(n->digest, p + at + 16, sizeof(n->digest));
			compare(c, r);
		}
	pthread_mutex_unlock(&c->lock);
}

void cluster_tell_news(struct cluster *c)
{
	unsigned char body[HEAD + SHARDS_MAX * SHARD] = { 1 };
	struct cluster_node nodes[CLUSTER_NODES_MAX];
	size_t at = HEAD, count;
	struct cairn_slice slice;
	struct statvfs fs;
	uint64_t free = 0, now = clock_boot_ns();

	if (now - c->told_ns < TELL_NS)
		return;
	c->told_ns = now;
	if (fstatvfs(c->node->data_fd, &fs) == 0)
		free = (uint64_t)fs.f_bavail * fs.f_frsize;
	le64_put(body + 8, free);
	pthread_mutex_lock(&c->lock);
	for (struct replica *r = c->replicas; r && at + SHARD <= sizeof(body); r = r->next) {
		struct news *n = news_of(r, c->self);
		struct store_facts facts;

		store_facts(r->shard->store, &facts);
		n->index = facts.position.index;
		memcpy(n->digest, facts.digest, sizeof(n->digest));
		le64_put(body + at, r->id);
		le64_put(body + at + 8, n->index);
		memcpy(body + at + 16, n->digest, sizeof(n->digest));
		at += SHARD;
		compare(c, r);
	}
	for (size_t i = 0; i < c->count; i++)
		if (c->nodes[i].id == c->self)
			c->nodes[i].disk_free = free;
	pthread_mutex_unlock(&c->lock);
	slice = cairn_slice(body, at);
	count = cluster_nodes(c, nodes);
	for (size_t i = 0; i < count; i++)
		if (nodes[i].up && nodes[i].id != c->self)
			cluster_send(c, nodes[i].id, PEER_LOG, CLUSTER_NEWS, 0, &slice, 1);
}

uint64_t cluster_lag(struct cluster *c, uint64_t id)
{
	uint64_t lag = 0;

	pthread_mutex_lock(&c->lock);
	for (struct replica *r = c->replicas; r; r = r->next) {
		uint64_t most = 0, its = 0;

		for (size_t i = 0; i < CLUSTER_NODES_MAX && r->news[i].peer; i++) {
			most = r->news[i].index > most ? r->news[i].index : most;
			its = r->news[i].peer == id ? r->news[i].index : its;
		}
		lag = most - its > lag ? most - its : lag;
	}
	pthread_mutex_unlock(&c->lock);
	return lag;
}
