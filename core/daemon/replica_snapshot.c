/*
 * A store on its way to a node that lacks what the log does not have any more. The sender streams a snapshot
 * of its engine (core/base/stream.md) in a worker, a few pieces ahead of what the receiver has taken;
 * commands go on meanwhile. Either side gives up when the other one is lost; the module then asks again.
 *
 *   WIRE_SNAPSHOT  0 version 1, 1 what: 1 begin, 2 bytes, 3 end, 4 taken, 5 done; 8 number of the stream, 16
 * index (begin, done; 0: it failed) or offset (bytes, taken), 24 term (begin), 32 the members (begin) or the
 * bytes
 */
#include <stdlib.h>
#include <sys/random.h>
#include "buffer.h"
#include "pool.h"
#include "replica.h"
#include "snapshot.h"
#include "banned.h"

#define AHEAD_BYTES (2u << 20) /* that the receiver has not taken yet */
#define PIECE_BYTES (512u << 10)
#define STALL_NS 20000000000u /* without a word of the receiver */

struct sending {
	struct replica *r;
	uint64_t peer, id;
	struct store_save *save; /* of the worker */
	struct buffer out;
	size_t out_at;
	bool end;
	uint64_t sent; /* bytes */
	struct cairn_position position;
	_Atomic uint64_t taken, heard_ns;
	_Atomic bool running, over, again;
	_Atomic uint64_t result; /* index, when the receiver has it */
	struct pool_task work;
};

static int snapshot_send(struct replica *r, uint64_t peer, enum snapshot_what what, uint64_t id, uint64_t a,
			 uint64_t b, struct cairn_slice bytes)
{
	unsigned char head[SNAPSHOT_HEAD] = { 1, (unsigned char)what };
	struct cairn_slice slices[2] = { cairn_slice(head, sizeof(head)), bytes };

	le64_put(head + 8, id);
	le64_put(head + 16, a);
	le64_put(head + 24, b);
	return cluster_send(r->cluster, peer, PEER_BULK, WIRE_SNAPSHOT, r->id, slices, 2);
}

/* Tell the module how it went, and forget it. In the worker, or where none runs. */
static void finish(struct sending *x)
{
	struct replica *r = x->r;
	struct mail *m = mail_new(MAIL_EVENT, 0, 0);

	if (x->sent)
		log_info(r->shard->node->log, LOG_REPLICATION,
			 x->result ? "a node has got a snapshot" : "a snapshot could not be sent",
			 LOG_TEXT("volume", r->shard->name), LOG_NUMBER("peer", x->peer),
			 LOG_NUMBER("index", x->position.index), LOG_NUMBER("bytes", x->sent));
	pthread_mutex_lock(&r->lock);
	r->sending = NULL;
	pthread_mutex_unlock(&r->lock);
	if (m) {
		m->event =
			(struct cairn_event){ .kind = CAIRN_EVENT_SENT, .peer = x->peer, .index = x->result };
		replica_post(r, m);
	}
	store_save_close(x->save);
	buffer_free(&x->out);
	free(x);
	if (!r->shard->closing)
		replica_kick(r);
	shard_let_go(r->shard);
}

/* A snapshot, and the members as of it. */
static enum cairn_code begin(struct sending *x, struct cairn_error *error)
{
	struct replica *r = x->r;
	struct hard_state before;
	struct store_facts facts;
	enum cairn_code code;
	bool same;

	do {
		store_save_close(x->save);
		x->save = NULL;
		pthread_mutex_lock(&r->lock);
		before = r->applied;
		pthread_mutex_unlock(&r->lock);
		code = store_save_open(&x->save, r->shard->store, cairn_slice(NULL, 0), false, NULL, error);
		if (code)
			return code;
		pthread_mutex_lock(&r->lock);
		same = before.members_index == r->applied.members_index;
		pthread_mutex_unlock(&r->lock);
	} while (!same);
	store_save_facts(x->save, &facts);
	x->position = facts.position;
	if (snapshot_send(r, x->peer, SNAPSHOT_BEGIN, x->id, facts.position.index, facts.position.term,
			  cairn_slice(before.members, before.members_len)) < 0)
		return cairn_fail(error, CAIRN_E_UNAVAILABLE, "the node is not there");
	return CAIRN_OK;
}

/* Send what may be sent now. False when it has failed. */
static bool send_some(struct sending *x, struct cairn_error *error)
{
	while (x->sent - x->taken < AHEAD_BYTES) {
		size_t n = x->out.len - x->out_at;

		if (!n && x->end)
			return true;
		if (!n) {
			x->out.len = x->out_at = 0;
			if (store_save_next(x->save, &x->out, &x->end, error) || x->out.error)
				return false;
			continue;
		}
		n = n < PIECE_BYTES ? n : PIECE_BYTES;
		if (snapshot_send(x->r, x->peer, SNAPSHOT_BYTES, x->id, x->sent, 0,
				  cairn_slice(x->out.data + x->out_at, n)) < 0)
			return false;
		x->out_at += n;
		x->sent += n;
		if (x->end && x->out_at == x->out.len)
			return snapshot_send(x->r, x->peer, SNAPSHOT_END, x->id, x->sent, 0,
					     cairn_slice(NULL, 0)) == 0;
	}
	return true;
}

static void work(struct pool_task *t)
{
	struct sending *x = (struct sending *)((char *)t - offsetof(struct sending, work));
	struct cairn_error error = { 0 };

	do {
		x->again = false;
		if (!x->over && !x->save && begin(x, &error))
			x->over = true;
		if (!x->over && !send_some(x, &error))
			x->over = true;
		if (x->over) {
			if (error.code && error.code != CAIRN_E_UNAVAILABLE)
				log_warn(x->r->shard->node->log, LOG_REPLICATION, error.message);
			finish(x);
			return;
		}
		x->running = false;
	} while (x->again && !atomic_exchange(&x->running, true));
}

/* With the lock: have a worker look at X. */
static void wake(struct sending *x)
{
	x->again = true;
	if (!atomic_exchange(&x->running, true))
		pool_post(x->r->shard->node->pool, &x->work);
}

void snapshot_start(struct replica *r, uint64_t peer)
{
	struct sending *x = calloc(1, sizeof(*x));
	struct mail *m;
	bool up = cluster_is_up(r->cluster, peer);

	pthread_mutex_lock(&r->lock);
	if (x && up && !r->sending && getrandom(&x->id, sizeof(x->id), 0) == sizeof(x->id)) {
		x->r = r;
		x->peer = peer;
		x->heard_ns = clock_boot_ns();
		x->work.run = work;
		r->sending = x;
		shard_use(r->shard);
		wake(x);
		x = NULL;
	}
	pthread_mutex_unlock(&r->lock);
	if (!x)
		return;
	free(x);
	m = mail_new(MAIL_EVENT, 0, 0); /* one at a time: asked for again with a later heartbeat */
	if (m) {
		m->event = (struct cairn_event){ .kind = CAIRN_EVENT_SENT, .peer = peer };
		replica_post(r, m);
	}
}

void snapshot_stop(struct replica *r, uint64_t peer)
{
	pthread_mutex_lock(&r->lock);
	if (r->sending && (!peer || r->sending->peer == peer)) {
		r->sending->over = true;
		wake(r->sending);
	}
	pthread_mutex_unlock(&r->lock);
}

void snapshot_tick(struct replica *r)
{
	pthread_mutex_lock(&r->lock);
	if (r->sending && clock_boot_ns() - r->sending->heard_ns > STALL_NS) {
		r->sending->over = true;
		wake(r->sending);
	}
	pthread_mutex_unlock(&r->lock);
}

/* The receiver says how far it is, or that it has it. */
static void heard(struct replica *r, const struct peer_frame *f)
{
	const unsigned char *p = f->body.data;
	struct sending *x;

	pthread_mutex_lock(&r->lock);
	x = r->sending;
	if (x && x->peer == f->from && x->id == le64_get(p + 8)) {
		x->heard_ns = clock_boot_ns();
		if (p[1] == SNAPSHOT_TAKEN) {
			x->taken = le64_get(p + 16);
		} else {
			x->result = le64_get(p + 16);
			x->over = true;
		}
		wake(x);
	}
	pthread_mutex_unlock(&r->lock);
}

void snapshot_frame(struct replica *r, const struct peer_frame *f)
{
	const unsigned char *p = f->body.data;

	if (f->body.len < SNAPSHOT_HEAD)
		return;
	if (p[1] == SNAPSHOT_TAKEN || p[1] == SNAPSHOT_DONE)
		heard(r, f);
	else
		install_frame(r, f);
}
