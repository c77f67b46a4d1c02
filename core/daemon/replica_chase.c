/*
 * Sending entries that are not in memory any more to a node that is behind: a worker reads them from the
 * journal. What cannot be read, or does not fit the connection's queue, counts as lost, and the module asks
 * for it again. A range is dropped when this node is not what it was when the module wanted it sent.
 */
#include <stdlib.h>
#include "buffer.h"
#include "pool.h"
#include "replica.h"
#include "banned.h"

#define FRAME_BYTES (PEER_BODY_MAX / 2) /* of entries that are gathered before a frame leaves */

struct reading {
	struct replica *r;
	const struct outgoing *o;
	struct buffer entries;
	uint32_t count;
	uint64_t index, term; /* of the first one gathered; of the one before it */
	uint64_t last_term;   /* of the last one gathered */
	bool failed;
};

static void flush_frame(struct reading *x)
{
	const struct outgoing *o = x->o;

	if (x->count && !x->failed)
		x->failed = x->entries.error || o->generation != x->r->generation ||
			replica_send_frame(x->r, o->peer, cairn_slice(o->body, o->len), x->index, x->term,
					   buffer_slice(&x->entries), x->count) < 0;
	x->index += x->count;
	x->term = x->last_term;
	x->count = 0;
	x->entries.len = 0;
}

static int read_entry(void *arg, const struct journal_entry *e)
{
	struct reading *x = arg;
	unsigned char head[ENTRY_HEAD] = { 0 };

	if (x->count && x->entries.len + ENTRY_HEAD + e->command.len > FRAME_BYTES)
		flush_frame(x);
	le32_put(head, (uint32_t)e->command.len);
	le64_put(head + 8, e->term);
	buffer_add(&x->entries, cairn_slice(head, sizeof(head)));
	buffer_add(&x->entries, e->command);
	x->last_term = e->term;
	x->count++;
	return x->failed;
}

static void send_range(struct replica *r, const struct outgoing *o)
{
	struct reading x = { .r = r, .o = o, .index = o->index, .term = o->term };
	struct cairn_error error;

	if (o->generation != r->generation)
		return;
	journal_read(r->shard->journal, o->index, o->last, read_entry, &x, NULL, &error);
	flush_frame(&x);
	buffer_free(&x.entries);
}

static void chase(struct pool_task *t)
{
	struct replica *r = (struct replica *)((char *)t - offsetof(struct replica, chase));

	for (;;) {
		struct outgoing *o;

		pthread_mutex_lock(&r->lock);
		o = r->chased;
		if (!o)
			r->chasing = false;
		pthread_mutex_unlock(&r->lock);
		if (!o)
			break;
		send_range(r, o);
		pthread_mutex_lock(&r->lock);
		r->chased = o->next; /* only now: what comes for that node waits behind it */
		if (!r->chased)
			r->chased_last = &r->chased;
		pthread_mutex_unlock(&r->lock);
		free(o);
	}
	shard_let_go(r->shard);
}

bool replica_chases(struct replica *r, uint64_t peer)
{
	bool found = false;

	if (!r->chasing)
		return false;
	pthread_mutex_lock(&r->lock);
	for (struct outgoing *o = r->chased; o && !found; o = o->next)
		found = o->peer == peer;
	pthread_mutex_unlock(&r->lock);
	return found;
}

void replica_chase(struct replica *r, struct outgoing *o)
{
	bool start;

	o->next = NULL;
	o->generation = r->generation;
	pthread_mutex_lock(&r->lock);
	*r->chased_last = o;
	r->chased_last = &o->next;
	start = !r->chasing;
	r->chasing = true;
	pthread_mutex_unlock(&r->lock);
	if (!start)
		return;
	shard_use(r->shard);
	r->chase.run = chase;
	pool_post(r->shard->node->pool, &r->chase);
}

void replica_let_journal_go(struct replica *r, struct cairn_position flushed)
{
	struct shard *s = r->shard;
	struct mail *m;

	if (journal_held(s->journal) <= setting_number(s->node->settings, SETTING_JOURNAL_MAX) / 2)
		return;
	m = mail_new(MAIL_EVENT, 0, 0);
	if (!m)
		return;
	m->event = (struct cairn_event){ .kind = CAIRN_EVENT_COMPACTED,
					 .index = flushed.index,
					 .term = flushed.term };
	journal_release(s->journal, flushed.index);
	replica_post(r, m);
	if (!s->closing)
		replica_kick(r);
}
