/*
 * Endpoints of peers in one process, for tests: a world has a loop and up to three of them, each counts what
 * it is told and checks what it gets. Include after tap.h.
 */
#ifndef PEERWORLD_H
#define PEERWORLD_H

#include <string.h>
#include "le.h"
#include "log.h"
#include "loop.h"
#include "peer.h"

#define NODES 4
#define SHARD 77

struct world;

struct end {
	struct world *world;
	struct peers *peers;
	uint64_t id;
	unsigned ups, downs, refusals, messages, rooms, bulk_losses;
	bool is_up[NODES];
	uint64_t bytes;
	unsigned wrong;                   /* messages that are not what was sent */
	uint64_t next[NODES][PEER_LANES]; /* number that each lane of each sender must bring next */
	uint64_t urgent_at;               /* log messages that had come when the first urgent one did */
	char why[512];
	struct peer_who who;
	enum peer_refusal refusal;
	uint64_t remove; /* on the first message, remove this peer */
};

struct world {
	const struct peer_keys *keys; /* of ends that are opened; NULL: in the open */
	struct loop *loop;
	struct log *log;
	struct loop_timer *limit, *poll;
	bool (*until)(struct world *w);
	bool late;
	struct end ends[NODES];
};

__attribute__((unused)) static void on_message(void *arg, const struct peer_frame *f)
{
	struct end *e = arg;
	uint64_t number = f->body.len >= 8 ? le64_get(f->body.data) : 0;
	const unsigned char *p = f->body.data;

	if (f->shard != SHARD || f->kind != 20 + f->lane || number != e->next[f->from][f->lane])
		e->wrong++;
	for (size_t i = 8; i < f->body.len; i++)
		if (p[i] != (unsigned char)(number + i)) {
			e->wrong++;
			break;
		}
	e->next[f->from][f->lane] = number + 1;
	if (f->lane == PEER_URGENT && !e->urgent_at)
		e->urgent_at = e->next[f->from][PEER_LOG] + 1;
	e->messages++;
	e->bytes += f->body.len;
	if (e->remove) {
		peers_remove(e->peers, e->remove);
		e->remove = 0;
	}
}

__attribute__((unused)) static void on_up(void *arg, uint64_t id, const struct peer_who *who)
{
	struct end *e = arg;

	e->ups++;
	e->is_up[id] = true;
	e->who = *who;
	memset(e->next[id], 0, sizeof(e->next[id]));
}

__attribute__((unused)) static void on_down(void *arg, uint64_t id, const char *why)
{
	struct end *e = arg;

	e->downs++;
	e->is_up[id] = false;
	snprintf(e->why, sizeof(e->why), "%s", why);
}

__attribute__((unused)) static void on_bulk_lost(void *arg, uint64_t id)
{
	(void)id;
	((struct end *)arg)->bulk_losses++;
}

__attribute__((unused)) static void on_room(void *arg, uint64_t id, enum peer_lane lane)
{
	(void)id;
	(void)lane;
	((struct end *)arg)->rooms++;
}

__attribute__((unused)) static void on_refused(void *arg, uint64_t id, enum peer_refusal why,
					       const char *sentence)
{
	struct end *e = arg;

	(void)id;
	e->refusals++;
	e->refusal = why;
	snprintf(e->why, sizeof(e->why), "%s", sentence);
}

__attribute__((unused)) static void on_limit(void *arg)
{
	struct world *w = arg;

	w->late = true;
	loop_stop(w->loop);
}

__attribute__((unused)) static void on_poll(void *arg)
{
	struct world *w = arg;

	if (w->until(w))
		loop_stop(w->loop);
	else
		loop_timer_set(w->poll, 1);
}

/* Run until UNTIL says so; false after 20 s. */
__attribute__((unused)) static bool run(struct world *w, bool (*until)(struct world *w))
{
	w->until = until;
	w->late = false;
	loop_timer_set(w->limit, 20000);
	loop_timer_set(w->poll, 0);
	loop_run(w->loop);
	loop_timer_clear(w->limit);
	loop_timer_clear(w->poll);
	return !w->late;
}

__attribute__((unused)) static struct peer_options options_of(struct end *e, uint64_t id)
{
	struct peer_options o = { .loop = e->world->loop,
				  .log = e->world->log,
				  .id = id,
				  .name = id == 1   ? "n1"
					  : id == 2 ? "n2"
						    : "n3",
				  .cluster = "0123456789abcde",
				  .cluster_name = "prod",
				  .listen = "127.0.0.1:0",
				  .arg = e,
				  .ping_ms = 20,
				  .retry_ms = 5,
				  .retry_max_ms = 50,
				  .calls = { .message = on_message,
					     .up = on_up,
					     .down = on_down,
					     .bulk_lost = on_bulk_lost,
					     .room = on_room,
					     .refused = on_refused } };

	return o;
}

__attribute__((unused)) static void open_end(struct world *w, uint64_t id,
					     void (*change)(struct peer_options *o))
{
	struct end *e = &w->ends[id];
	struct peer_options o;
	struct cairn_error error;

	memset(e, 0, sizeof(*e));
	e->world = w;
	e->id = id;
	o = options_of(e, id);
	o.keys = w->keys;
	if (change)
		change(&o);
	if (peers_open(&e->peers, &o, &error))
		bail("%s", error.message);
}

__attribute__((unused)) static void new_world(struct world *w)
{
	struct cairn_error error;

	memset(w, 0, sizeof(*w));
	w->log = log_new();
	if (log_levels_set(w->log, "error", &error) || loop_new(&w->loop) < 0 ||
	    loop_timer_new(w->loop, on_limit, w, &w->limit) < 0 ||
	    loop_timer_new(w->loop, on_poll, w, &w->poll) < 0)
		bail("no world");
}

__attribute__((unused)) static void close_end(struct world *w, uint64_t id)
{
	peers_close(w->ends[id].peers);
	w->ends[id].peers = NULL;
}

__attribute__((unused)) static void end_world(struct world *w)
{
	for (unsigned i = 0; i < NODES; i++)
		close_end(w, i);
	loop_timer_free(w->limit);
	loop_timer_free(w->poll);
	loop_free(w->loop);
	log_free(w->log);
}

/* Tell A of B. */
__attribute__((unused)) static void know(struct world *w, uint64_t a, uint64_t b)
{
	struct cairn_error error;

	if (peers_set(w->ends[a].peers, b, peers_address(w->ends[b].peers), &error))
		bail("%s", error.message);
}

__attribute__((unused)) static int send_one(struct world *w, uint64_t from, uint64_t to, enum peer_lane lane,
					    uint64_t number, size_t len)
{
	static unsigned char body[PEER_BODY_MAX];
	struct cairn_slice slices[3] = { { body, 8 },
					 { body + 8, (len - 8) / 3 },
					 { body + 8 + (len - 8) / 3, len - 8 - (len - 8) / 3 } };

	le64_put(body, number);
	for (size_t i = 8; i < len; i++)
		body[i] = (unsigned char)(number + i);
	return peers_send(w->ends[from].peers, to, lane, (uint8_t)(20 + lane), SHARD, slices, 3);
}

__attribute__((unused)) static bool pair_is_up(struct world *w)
{
	return w->ends[1].is_up[2] && w->ends[2].is_up[1];
}

__attribute__((unused)) static bool three_are_up(struct world *w)
{
	for (unsigned i = 1; i <= 3; i++)
		for (unsigned j = 1; j <= 3; j++)
			if (i != j && !w->ends[i].is_up[j])
				return false;
	return true;
}

#endif
