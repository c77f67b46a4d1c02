/* Time, the network and what goes wrong. */
#include "sim.h"
#include <stdarg.h>
#include "banned.h"

uint64_t draw(struct world *w, uint64_t n)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return n ? (w->random * 0x2545f4914f6cdd1dull >> 11) % n : 0;
}

void world_fail(struct world *w, const char *format, ...)
{
	va_list args;

	if (w->failure[0])
		return;
	va_start(args, format);
	vsnprintf(w->failure, sizeof(w->failure), format, args);
	va_end(args);
	world_trace(w, "FAILED: %s", w->failure);
}

void world_trace(struct world *w, const char *format, ...)
{
	va_list args;
	char line[512];

	if (!w->trace && !w->tail)
		return;
	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (w->trace)
		printf("%9.3f ms  %s\n", (double)w->now / 1000, line);
	else
		snprintf(w->tail[w->tail_count++ % LINES], LINE_MAX, "%9.3f ms  %.140s",
			 (double)w->now / 1000, line);
}

const struct blob *world_blob(struct world *w, const void *bytes, size_t len)
{
	struct blob *b = calloc(1, sizeof(*b));

	b->len = len < BLOB_MAX ? len : BLOB_MAX;
	memcpy(b->bytes, bytes, b->len);
	b->next = w->blobs;
	w->blobs = b;
	return b;
}

/* --- the order of what happens --- */

static bool before(const struct happening_at *a, const struct happening_at *b)
{
	return a->at != b->at ? a->at < b->at : a->order < b->order;
}

void world_at(struct world *w, uint64_t after, enum happening what, unsigned node, struct packet *p)
{
	struct happening_at h = { w->now + after, ++w->order, what, node, w->nodes[node].epoch, p };
	size_t i;

	if (w->heap_count == w->heap_cap) {
		w->heap_cap = w->heap_cap ? w->heap_cap * 2 : 256;
		w->heap = realloc(w->heap, w->heap_cap * sizeof(*w->heap));
	}
	for (i = w->heap_count++; i && before(&h, &w->heap[(i - 1) / 2]); i = (i - 1) / 2)
		w->heap[i] = w->heap[(i - 1) / 2];
	w->heap[i] = h;
}

static struct happening_at take_next(struct world *w)
{
	struct happening_at first = w->heap[0], last = w->heap[--w->heap_count];
	size_t i = 0;

	for (;;) {
		size_t child = 2 * i + 1;

		if (child + 1 < w->heap_count && before(&w->heap[child + 1], &w->heap[child]))
			child++;
		if (child >= w->heap_count || !before(&w->heap[child], &last))
			break;
		w->heap[i] = w->heap[child];
		i = child;
	}
	w->heap[i] = last;
	return first;
}

/* --- what goes wrong --- */

struct node *world_leader(struct world *w)
{
	struct node *leader = NULL;

	for (unsigned i = 1; i <= NODES; i++)
		if (w->nodes[i].alive && w->nodes[i].role == CAIRN_ROLE_LEADER &&
		    (!leader || w->nodes[i].term > leader->term))
			leader = &w->nodes[i];
	return leader;
}

static struct node *any_node(struct world *w, bool alive)
{
	if (alive && draw(w, 2) && world_leader(w))
		return world_leader(w);
	for (int tries = 0; tries < 20; tries++) {
		struct node *n = &w->nodes[1 + draw(w, NODES)];

		if (n->used && !n->retired && n->alive == alive)
			return n;
	}
	return NULL;
}

static void partition(struct world *w)
{
	unsigned side = (unsigned)draw(w, 1 << NODES), way = (unsigned)draw(w, 3);

	world_trace(w, "the network is cut%s", way == 2 ? " one way" : "");
	for (unsigned a = 1; a <= NODES; a++)
		for (unsigned b = 1; b <= NODES; b++)
			if ((side >> (a - 1) & 1) != (side >> (b - 1) & 1))
				w->blocked[a][b] = way != 2 || side >> (a - 1) & 1;
}

/* A node under a new id, as a learner of WANT. */
static void add_learner(struct world *w, struct blob *want)
{
	for (unsigned id = 1; id <= NODES; id++)
		if (!w->nodes[id].used) {
			struct node *n = &w->nodes[id];

			*n = (struct node){ .id = id, .used = true, .drift = 1 };
			node_start(w, n);
			memset(want->bytes + want->len, 0, 9);
			want->bytes[want->len] = (unsigned char)id;
			want->bytes[want->len + 8] = 4;
			want->len += 9;
			want->bytes[1]++;
			return;
		}
}

static void remove_member(struct blob *want, unsigned at)
{
	memmove(want->bytes + at - 8, want->bytes + at + 1, want->len - at - 1);
	want->len -= 9;
	want->bytes[1]--;
}

static void ask_members(struct world *w, struct node *leader, const struct blob *want)
{
	node_step(w, leader,
		  &(struct cairn_event){ .kind = CAIRN_EVENT_MEMBERS,
					 .body = cairn_slice(want->bytes, want->len) },
		  1);
}

/* How many vote; 0 where a change is under way. *GONE: where one stands that never comes back, or 0. */
static unsigned voters_of(struct world *w, const struct blob *members, unsigned *gone)
{
	unsigned voters = 0;

	*gone = 0;
	for (unsigned at = 16; at < members->len; at += 9) {
		if (members->bytes[at] & 2)
			return 0;
		voters += members->bytes[at] == 1;
		if (w->nodes[members->bytes[at - 8]].retired)
			*gone = at;
	}
	return voters;
}

/* Ask the leader for other members: one more learner, a promotion, or one voter less. */
static void change_members(struct world *w)
{
	struct node *leader = world_leader(w);
	unsigned voters, at, gone;
	struct blob want;

	if (!leader || !leader->state.members)
		return;
	want = *leader->state.members;
	voters = voters_of(w, &want, &gone);
	if (!voters)
		return;
	at = 16 + 9 * (unsigned)draw(w, want.bytes[1]);
	if (gone)
		remove_member(&want, gone);
	else if (draw(w, 3) == 0 && want.bytes[1] < 7)
		add_learner(w, &want);
	else if (want.bytes[at] == 4)
		want.bytes[at] = 1;
	else if (voters > 2 && draw(w, 2))
		remove_member(&want, at);
	ask_members(w, leader, &want);
}

bool world_promote(struct world *w, struct node *leader)
{
	struct blob want = *leader->state.members;
	unsigned at, gone;

	if (!voters_of(w, &want, &gone))
		return true; /* first that one */
	for (at = 16; at < want.len; at += 9)
		if (want.bytes[at] == 4 && w->nodes[want.bytes[at - 8]].alive) {
			want.bytes[at] = 1;
			ask_members(w, leader, &want);
			return true;
		}
	return false;
}

/* A voter's disk is gone: the node never comes back. The others must be able to go on. */
static void wipe(struct world *w, struct node *n)
{
	struct node *leader = world_leader(w);
	uint64_t newest = w->leader_cap;
	unsigned gone;

	while (newest && !w->leader_of[--newest])
		;
	if (!leader || leader == n || leader->term != newest || !leader->state.members ||
	    leader->apply_to != records_last(&leader->log) ||
	    records_term(&leader->log, leader->apply_to) != leader->term ||
	    leader->state.index != leader->apply_to || voters_of(w, leader->state.members, &gone) < 3 || gone)
		return;
	node_crash(w, n);
	n->retired = true;
	world_trace(w, "node %u is gone for ever", n->id);
}

/* Its clock jumps ahead, or runs at another rate from now on. */
static void set_clock(struct world *w, struct node *n)
{
	uint64_t was = node_clock(w, n);

	if (draw(w, 2)) {
		n->skew_us += draw(w, 3000000);
	} else {
		n->drift = 0.8 + (double)draw(w, 400) / 1000;
		n->skew_us += was - node_clock(w, n);
	}
	n->wall_us = draw(w, 4) ? draw(w, 5000000) : draw(w, 2000000000);
	world_trace(w, "node %u has another time", n->id);
	if (n->timer_at) /* what waited for its time under the old rate looks again */
		world_at(w,
			 n->timer_at > node_clock(w, n)
				 ? (uint64_t)((double)(n->timer_at - node_clock(w, n)) / n->drift) + 1
				 : 0,
			 TIMER, n->id, NULL);
}

static void alone(struct world *w, struct node *n)
{
	unsigned friend = 1 + (unsigned)draw(w, NODES);

	world_trace(w, "node %u is cut off, but for node %u", n->id, friend);
	for (unsigned i = 1; i <= NODES; i++)
		if (i != friend)
			w->blocked[n->id][i] = w->blocked[i][n->id] = true;
}

static void hand_over(struct world *w, struct node *leader)
{
	world_trace(w, "node %u is asked to hand over", leader->id);
	node_step(w, leader,
		  &(struct cairn_event){ .kind = CAIRN_EVENT_TRANSFER, .peer = 1 + draw(w, NODES) }, 1);
}

/* KIND happens to N, which is alive, or to the leader, or to all. */
static void go_wrong(struct world *w, enum fault_kind kind, struct node *n)
{
	struct node *leader = world_leader(w);

	if (kind == FAULT_crash && draw(w, 2))
		n->doomed = 1 + (unsigned)draw(w, 5);
	else if (kind == FAULT_crash)
		node_crash(w, n);
	else if (kind == FAULT_cut)
		partition(w);
	else if (kind == FAULT_alone && leader)
		alone(w, leader);
	else if (kind == FAULT_disk)
		n->disk_us = draw(w, 2) ? draw(w, 100000) : 0;
	else if (kind == FAULT_slow)
		n->slow_us = draw(w, 2) ? draw(w, 100000) : 0;
	else if (kind == FAULT_clock)
		set_clock(w, n);
	else if (kind == FAULT_members)
		change_members(w);
	else if (kind == FAULT_transfer && leader)
		hand_over(w, leader);
	else if (kind == FAULT_wipe)
		wipe(w, n);
	else if (kind == FAULT_pause)
		n->paused = !n->paused;
	if (kind == FAULT_pause && !n->paused) /* it does not know yet how long it slept */
		client_read(w, n);
	for (unsigned i = 1; i <= NODES; i++)
		if (kind == FAULT_compact && w->nodes[i].used && draw(w, 2))
			node_compact(w, &w->nodes[i]);
		else if (kind == FAULT_lost)
			node_step(w, &w->nodes[i],
				  &(struct cairn_event){ .kind = CAIRN_EVENT_PEER_LOST,
							 .peer = 1 + draw(w, NODES) },
				  1);
}

static void fault(struct world *w)
{
	static const enum fault_kind often[] = { FAULT_crash,   FAULT_crash,    FAULT_cut,   FAULT_alone,
						 FAULT_disk,    FAULT_slow,     FAULT_pause, FAULT_compact,
						 FAULT_members, FAULT_transfer, FAULT_lost,  FAULT_clock,
						 FAULT_members, FAULT_wipe };
	enum fault_kind kind = often[draw(w, sizeof(often) / sizeof(often[0]))];
	struct node *n;

	world_at(w, 2000 + draw(w, 200000 >> w->rage), FAULT, 0, NULL);
	if (draw(w, 3) == 0) { /* something comes right again */
		if (draw(w, 2))
			memset(w->blocked, 0, sizeof(w->blocked));
		else if ((n = any_node(w, false)))
			node_start(w, n);
		return;
	}
	n = any_node(w, true);
	if (!n || !(w->options.faults >> kind & 1) || w->fault_count == w->options.most)
		return;
	w->fault_count++;
	go_wrong(w, kind, n);
}

/* --- running --- */

static void happen(struct world *w, const struct happening_at *h)
{
	struct node *n = &w->nodes[h->node];
	struct packet *p = h->packet;
	bool same = n->alive && n->epoch == h->epoch;

	if (n->paused && h->what != CLIENT && h->what != FAULT) { /* later */
		world_at(w, 5000, h->what, h->node, p);
		return;
	}
	switch (h->what) {
	case DELIVER:
		if (n->alive && !w->blocked[p->from][p->to])
			node_deliver(w, n, p);
		break;
	case TIMER:
		if (same && node_clock(w, n) >= n->timer_at)
			node_step(w, n, &(struct cairn_event){ .kind = CAIRN_EVENT_TIMER }, 1);
		break;
	case DISK_DONE:
		if (same)
			node_disk_done(w, n);
		break;
	case APPLY_DONE:
		if (same)
			node_apply_done(w, n);
		break;
	case SNAPSHOT_DONE:
		if (same)
			node_step(w, n, &(struct cairn_event){ .kind = CAIRN_EVENT_SENT, .peer = p->to }, 1);
		break;
	case CLIENT:
		client_turn(w);
		break;
	case FAULT:
		if (w->faults)
			fault(w);
		break;
	}
	packet_free(p);
}

bool world_run(struct world *w, uint64_t us)
{
	uint64_t end = w->now + us;

	while (!w->failure[0] && w->heap_count && w->heap[0].at <= end) {
		struct happening_at h = take_next(w);

		w->now = h.at;
		happen(w, &h);
	}
	w->now = end;
	return !w->failure[0];
}

void world_heal(struct world *w)
{
	w->faults = false;
	w->loss = w->duplicate = 0;
	memset(w->blocked, 0, sizeof(w->blocked));
	for (unsigned i = 1; i <= NODES; i++) {
		struct node *n = &w->nodes[i];

		n->disk_us = n->slow_us = n->wall_us = 0;
		n->paused = false;
		n->doomed = 0;
		if (n->used && !n->alive && !n->retired)
			node_start(w, n);
	}
}

struct world *world_new(const struct cairn_replication *module, uint64_t seed, const struct options *options,
			bool trace)
{
	struct world *w = calloc(1, sizeof(*w));
	unsigned voters = options->voters;
	unsigned char bytes[BLOB_MAX] = { 1, (unsigned char)voters };
	const struct blob *members;

	w->module = module;
	w->seed = seed;
	w->random = seed * 0x9e3779b97f4a7c15ull + 0x1234567;
	w->trace = trace;
	w->options = *options;
	w->faults = true;
	w->rage = 1 + (unsigned)draw(w, 4);
	w->delay_us = 200 + draw(w, draw(w, 3) ? 3000 : 60000);
	w->loss = (unsigned)draw(w, 60) * (options->faults >> FAULT_loss & 1);
	w->duplicate = (unsigned)draw(w, 30) * (options->faults >> FAULT_twice & 1);
	if (options->store)
		behind_begin(w);
	for (unsigned i = 0; i < voters; i++) {
		bytes[8 + 9 * i] = (unsigned char)(i + 1);
		bytes[16 + 9 * i] = 1;
	}
	members = world_blob(w, bytes, 8 + 9 * voters);
	for (unsigned i = 1; i <= voters; i++) {
		struct node *n = &w->nodes[i];

		*n = (struct node){ .id = i, .used = true, .drift = 0.98 + (double)draw(w, 400) / 10000 };
		n->disk.snapshot.members = members;
		node_start(w, n);
	}
	world_at(w, 0, CLIENT, 0, NULL);
	world_at(w, options->us < 300000 ? options->us : 300000, FAULT, 0, NULL);
	return w;
}

struct world *world_quiet(const struct cairn_replication *module, unsigned voters)
{
	struct world *w = world_new(module, 1, &(struct options){ .voters = voters, .pace = 1 }, true);

	w->faults = false;
	w->quiet = true;
	w->loss = w->duplicate = 0;
	w->delay_us = 200;
	return w;
}

static void node_free(struct world *w, struct node *n)
{
	bool failed = w->failure[0];

	if (n->alive) {
		w->failure[0] = 0;
		node_crash(w, n);
		if (failed)
			w->failure[0] = '?';
	}
	free(n->log.at);
	free(n->disk.log.at);
	free(n->changes);
	free(n->held);
	free(n->reads);
	free(w->vote_of[n->id]);
}

void world_free(struct world *w)
{
	w->trace = false;
	for (unsigned i = 1; i <= NODES; i++)
		node_free(w, &w->nodes[i]);
	while (w->heap_count)
		packet_free(take_next(w).packet);
	while (w->blobs) {
		struct blob *next = w->blobs->next;

		free(w->blobs);
		w->blobs = next;
	}
	free(w->heap);
	free(w->committed);
	free(w->leader_of);
	free(w->prefixes);
	free(w->state_hash);
	for (size_t i = 0; i < w->op_count; i++)
		order_free(w->ops[i].order);
	free(w->ops);
	behind_end(w);
	free(w->tail);
	free(w);
}
