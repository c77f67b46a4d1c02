/*
 * small: every world there is, within small bounds. Three nodes of the real replication-raft (its objects are
 * linked in, so that a state can be copied, compared and taken up again), a few entries, terms, crashes and
 * messages under way; each possible next event is tried in each state that was found, breadth first. Time is
 * left to chance: a timer may run out at any moment, and a node may have heard of its leader lately or not.
 *
 *   small [-e ENTRIES] [-t TERMS] [-c CRASHES] [-m MESSAGES] [-n MOST STATES]
 *
 * Prints how many distinct states were visited; the first that breaks a rule, with the way there, and ends
 * with 1.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include "plugins/replication-raft/raft.h"
#include "banned.h"

#define NODES 3
#define LOG_MAX 6
#define PERSISTS 2
#define NOW 1000000000ull /* what every clock says */
#define OLD 0
#define MESSAGES 6

const struct cairn_replication *cairn_replication_plugin(void);

struct packed { /* a message */
	uint8_t from, to, used;
	struct message m;
	uint64_t index, term, token;
	uint8_t count;
	uint64_t terms[LOG_MAX], ids[LOG_MAX];
};

struct written { /* what a persist brings to disk */
	uint64_t token, term, vote;
	uint8_t last;
	uint64_t terms[LOG_MAX + 1], ids[LOG_MAX + 1];
};

struct disk {
	uint64_t term, vote;
	uint8_t last;
	uint64_t terms[LOG_MAX + 1], ids[LOG_MAX + 1];
};

/* An instance's memory, flat. */
struct flat {
	struct raft r; /* its pointers do not count */
	struct members members[2];
	struct peer peers[NODES];
	struct run runs[LOG_MAX];
};

struct node {
	struct flat flat;
	struct disk disk;
	uint8_t last, applied, persists, held;
	uint64_t terms[LOG_MAX + 1], ids[LOG_MAX + 1];
	struct written writing[PERSISTS];
	struct packed waiting[MESSAGES]; /* for their token */
	uint64_t stored;
};

struct world {
	struct node nodes[NODES];
	struct packed net[MESSAGES];
	uint8_t proposed, crashes;
	uint64_t committed[LOG_MAX + 1]; /* ids, by index; 0: not yet */
	uint64_t leader[8];              /* by term */
};

static struct {
	unsigned entries, terms, crashes, messages;
} bounds = { 2, 3, 1, 3 };

static struct world *w;  /* the one under way */
static struct node *n;   /* its node under way */
static char broken[200]; /* what rule, and where */
static bool beyond;      /* the event led beyond the bounds */
static struct cairn_replication_host host;

#define fail(...) \
	do { \
		if (!broken[0]) \
			snprintf(broken, sizeof(broken), __VA_ARGS__); \
	} while (0)

/* --- the host --- */

static void *host_alloc(void *arg, size_t size)
{
	(void)arg;
	return calloc(1, size);
}

static void host_free(void *arg, void *p)
{
	(void)arg;
	free(p);
}

static unsigned id_of(const struct node *x)
{
	return (unsigned)(x - w->nodes) + 1;
}

/* P is on its way. Where there is no room for it, it is lost. */
static void transmit(const struct packed *p)
{
	const struct node *x = &w->nodes[p->from - 1];
	const struct message *m = &p->m;

	if (!(m->flags & PRE_VOTE) && m->kind != MESSAGE_READ && x->disk.term < m->term)
		fail("node %u speaks of term %llu, which is not on its disk", p->from,
		     (unsigned long long)m->term);
	if (m->kind == MESSAGE_GRANT && !(m->flags & PRE_VOTE) && x->disk.term == m->term &&
	    x->disk.vote != p->to)
		fail("node %u grants a vote that is not on its disk", p->from);
	if (m->kind == MESSAGE_ACK && m->a > x->disk.last)
		fail("node %u acknowledges %llu and has %u on disk", p->from, (unsigned long long)m->a,
		     x->disk.last);
	for (unsigned i = 0; i < bounds.messages; i++)
		if (!w->net[i].used) {
			w->net[i] = *p;
			w->net[i].used = 1;
			return;
		}
}

static void on_send(const struct cairn_effect *e)
{
	struct packed p;

	memset(&p, 0, sizeof(p));
	p.from = (uint8_t)id_of(n);
	p.to = (uint8_t)e->peer;
	p.index = e->index;
	p.term = e->term;
	message_decode(e->body, &p.m);
	for (uint64_t i = e->index; e->last && i <= e->last; i++, p.count++) {
		p.terms[p.count] = n->terms[i];
		p.ids[p.count] = n->ids[i];
	}
	if (e->token <= n->stored) {
		transmit(&p);
	} else if (n->held < MESSAGES) {
		p.token = e->token;
		n->waiting[n->held++] = p;
	}
}

static void on_persist(const struct cairn_effect *e)
{
	struct written *x = &n->writing[n->persists];

	if (n->persists == PERSISTS) {
		beyond = true;
		return;
	}
	memset(x, 0, sizeof(*x));
	x->token = e->token;
	x->term = e->term;
	x->vote = e->peer;
	x->last = n->last;
	memcpy(x->terms, n->terms, sizeof(x->terms));
	memcpy(x->ids, n->ids, sizeof(x->ids));
	n->persists++;
}

/* Whether a majority has entry I of N on disk. */
static bool is_durable(uint64_t i)
{
	unsigned has = 0;

	for (unsigned k = 0; k < NODES; k++)
		has += w->nodes[k].disk.last >= i && w->nodes[k].disk.ids[i] == n->ids[i] &&
			w->nodes[k].disk.terms[i] == n->terms[i];
	return 2 * has > NODES;
}

static void on_apply(const struct cairn_effect *e)
{
	for (uint64_t i = e->index; i <= e->last; i++) {
		uint64_t what = n->ids[i] << 8 | n->terms[i];

		if (w->committed[i] && w->committed[i] != what)
			fail("node %u commits another entry %llu", id_of(n), (unsigned long long)i);
		if (!w->committed[i] && !is_durable(i))
			fail("node %u commits entry %llu, which a majority has not on disk", id_of(n),
			     (unsigned long long)i);
		w->committed[i] = what;
	}
	n->applied = (uint8_t)e->last;
}

static void on_role(const struct cairn_effect *e)
{
	if (e->role != CAIRN_ROLE_LEADER || e->term > bounds.terms)
		return;
	if (w->leader[e->term] && w->leader[e->term] != id_of(n))
		fail("nodes %llu and %u lead in term %llu", (unsigned long long)w->leader[e->term], id_of(n),
		     (unsigned long long)e->term);
	w->leader[e->term] = id_of(n);
	for (unsigned i = 1; i <= LOG_MAX; i++)
		if (w->committed[i] && (w->committed[i] & 255) < e->term &&
		    (n->last < i || w->committed[i] != (n->ids[i] << 8 | n->terms[i])))
			fail("leader %u of term %llu lacks entry %u", id_of(n), (unsigned long long)e->term,
			     i);
}

static void host_effect(void *arg, const struct cairn_effect *e)
{
	(void)arg;
	switch (e->kind) {
	case CAIRN_EFFECT_APPEND:
		if (e->entry.index > LOG_MAX) {
			beyond = true;
			return;
		}
		n->last = (uint8_t)e->entry.index;
		n->terms[n->last] = e->entry.term;
		n->ids[n->last] = e->entry.reference;
		break;
	case CAIRN_EFFECT_TRUNCATE:
		if (e->index <= n->applied)
			fail("node %u truncates what is committed", id_of(n));
		n->last = (uint8_t)(e->index - 1);
		for (unsigned i = n->last + 1u; i <= LOG_MAX; i++)
			n->terms[i] = n->ids[i] = 0;
		break;
	case CAIRN_EFFECT_PERSIST:
		on_persist(e);
		break;
	case CAIRN_EFFECT_SEND:
		on_send(e);
		break;
	case CAIRN_EFFECT_APPLY:
		on_apply(e);
		break;
	case CAIRN_EFFECT_ROLE:
		on_role(e);
		break;
	default:
		break;
	}
}

/* --- instances, taken apart and put together --- */

static struct raft *revive(const struct flat *f)
{
	struct raft *r = calloc(1, sizeof(*r));

	*r = f->r;
	r->host = &host;
	r->members = calloc(2, sizeof(*r->members));
	r->member_cap = 2;
	memcpy(r->members, f->members, sizeof(f->members));
	r->log.runs = calloc(LOG_MAX, sizeof(*r->log.runs));
	r->log.cap = LOG_MAX;
	memcpy(r->log.runs, f->runs, sizeof(f->runs));
	r->peers = r->peer_count ? calloc(NODES, sizeof(*r->peers)) : NULL;
	if (r->peers)
		memcpy(r->peers, f->peers, sizeof(f->peers));
	r->reads = NULL;
	r->held = NULL;
	return r;
}

static uint64_t recent(uint64_t at, const struct raft *r)
{
	return NOW - at < r->election_us ? NOW : OLD;
}

/* Keep what makes a difference, and let go of R. */
static void flatten(struct raft *r, struct flat *f)
{
	memset(f, 0, sizeof(*f));
	r->random = 1;
	r->now_us = NOW;
	r->election_at = r->heartbeat_at = r->check_at = UINT64_MAX;
	r->timer_at = 0;
	r->contact_us = recent(r->contact_us, r);
	for (size_t i = 0; i < r->peer_count; i++) {
		struct peer *p = &r->peers[i],
			    clean = { .id = p->id,
				      .match = p->match,
				      .next = p->next,
				      .echo = p->echo,
				      .told_commit = p->told_commit,
				      .told_probe = p->told_probe,
				      .contact_us = recent(p->contact_us, r),
				      .flying = p->flying,
				      .state = p->state,
				      .asked = p->asked,
				      .granted = p->granted };

		for (unsigned k = 0; k < p->flying; k++)
			clean.window[k] = p->window[(p->first + k) % WINDOW];
		memcpy(&f->peers[i], &clean, sizeof(clean));
	}
	memcpy(f->members, r->members, r->member_count * sizeof(*r->members));
	if (r->log.count)
		memcpy(f->runs, r->log.runs, r->log.count * sizeof(*r->log.runs));
	memset(&r->persists[r->persist_count], 0, (PERSISTS_MAX - r->persist_count) * sizeof(*r->persists));
	free(r->peers);
	free(r->members);
	free(r->log.runs);
	r->host = NULL;
	r->peers = NULL;
	r->members = NULL;
	r->log.runs = NULL;
	f->r = *r;
	free(r);
}

/* Tokens count from the newest stored one: only their order matters. */
static void rebase(struct node *x)
{
	struct raft *r = &x->flat.r;
	uint64_t base = r->stored_token;

	r->token -= base;
	r->hard_token -= r->hard_token < base ? r->hard_token : base;
	for (size_t i = 0; i < r->persist_count; i++)
		r->persists[i].token -= base;
	for (unsigned i = 0; i < x->persists; i++)
		x->writing[i].token -= base;
	for (unsigned i = 0; i < x->held; i++)
		x->waiting[i].token -= base;
	x->stored -= base;
	r->stored_token = 0;
}

/* Let E happen to node X. PREPARE may set clocks. */
static void step(struct node *x, struct cairn_event e, void (*prepare)(struct raft *r))
{
	struct raft *r = revive(&x->flat);
	int error;

	n = x;
	e.now_us = NOW;
	if (prepare)
		prepare(r);
	error = cairn_replication_plugin()->step(r, &e, 1);
	if (error < 0)
		fail("node %u stops: %s", id_of(x), strerror(-error));
	if (r->term > bounds.terms)
		beyond = true;
	flatten(r, &x->flat);
	rebase(x);
}

static void boot(struct node *x)
{
	struct cairn_value values[] = { { .number = 100 }, { .number = 10 } };
	struct cairn_entry log[LOG_MAX];
	unsigned char bytes[8 + 9 * NODES] = { 1, NODES };
	struct cairn_durable d = { .self = id_of(x),
				   .term = x->disk.term,
				   .vote = x->disk.vote,
				   .log = log,
				   .count = x->disk.last,
				   .last = x->disk.last,
				   .members = cairn_slice(bytes, sizeof(bytes)) };
	struct cairn_event e = { .kind = CAIRN_EVENT_START, .durable = &d, .now_us = NOW };
	struct cairn_error error;
	void *instance;

	for (unsigned i = 0; i < NODES; i++) {
		bytes[8 + 9 * i] = (unsigned char)(i + 1);
		bytes[16 + 9 * i] = VOTER;
	}
	for (unsigned i = 0; i < x->disk.last; i++)
		log[i] = (struct cairn_entry){ .index = i + 1,
					       .term = x->disk.terms[i + 1],
					       .reference = x->disk.ids[i + 1] };
	memset(x->writing, 0, sizeof(x->writing));
	memset(x->waiting, 0, sizeof(x->waiting));
	x->persists = x->held = x->applied = 0;
	x->stored = 0;
	x->last = x->disk.last;
	memcpy(x->terms, x->disk.terms, sizeof(x->terms));
	memcpy(x->ids, x->disk.ids, sizeof(x->ids));
	n = x;
	cairn_replication_plugin()->open(&host, values, &instance, &error);
	cairn_replication_plugin()->step(instance, &e, 1);
	flatten(instance, &x->flat);
}

/* --- what may happen next --- */

enum {
	DELIVER = 0,
	LOSE = 8,
	TIMEOUT = 16,
	FORGET = 24,
	BEAT = 32,
	PERSISTED = 40,
	PROPOSE = 48,
	CRASH = 56,
	LAST = 72
};

static void run_out(struct raft *r)
{
	r->contact_us = OLD;
	r->election_at = NOW;
}

static void beat(struct raft *r)
{
	r->heartbeat_at = NOW;
}

static void deliver(unsigned i)
{
	struct packed p = w->net[i];
	struct cairn_entry entries[LOG_MAX];
	unsigned char body[MESSAGE_BYTES];

	memset(&w->net[i], 0, sizeof(p));
	message_encode(&p.m, body);
	for (unsigned k = 0; k < p.count; k++)
		entries[k] =
			(struct cairn_entry){ .index = p.index + k,
					      .term = p.terms[k],
					      .reference = p.ids[k],
					      .kind = p.ids[k] ? CAIRN_ENTRY_COMMAND : CAIRN_ENTRY_NONE };
	step(&w->nodes[p.to - 1],
	     (struct cairn_event){ .kind = CAIRN_EVENT_MESSAGE,
				   .peer = p.from,
				   .body = cairn_slice(body, sizeof(body)),
				   .index = p.index,
				   .term = p.term,
				   .entries = entries,
				   .count = p.count },
	     NULL);
}

static void put_on_disk(struct node *x)
{
	struct written d = x->writing[0];

	memmove(x->writing, x->writing + 1, (PERSISTS - 1) * sizeof(d));
	memset(&x->writing[--x->persists], 0, sizeof(d));
	x->disk = (struct disk){ .term = d.term, .vote = d.vote, .last = d.last };
	memcpy(x->disk.terms, d.terms, sizeof(d.terms));
	memcpy(x->disk.ids, d.ids, sizeof(d.ids));
	x->stored = d.token;
}

static void persisted(struct node *x)
{
	unsigned kept = 0;

	put_on_disk(x);
	for (unsigned i = 0; i < x->held; i++) {
		struct packed p = x->waiting[i];

		memset(&x->waiting[i], 0, sizeof(p));
		if (p.token > x->stored) {
			x->waiting[kept++] = p;
			continue;
		}
		p.token = 0;
		transmit(&p);
	}
	x->held = (uint8_t)kept;
	step(x, (struct cairn_event){ .kind = CAIRN_EVENT_STORED, .token = x->stored }, NULL);
}

/* Do ACTION; false where it cannot happen. */
static bool act(unsigned action)
{
	unsigned i = action % 8;
	struct node *x = &w->nodes[i % NODES];
	const struct raft *r = &x->flat.r;

	switch (action / 8 * 8) {
	case DELIVER:
		if (i >= bounds.messages || !w->net[i].used)
			return false;
		deliver(i);
		return true;
	case LOSE:
		if (i >= bounds.messages || !w->net[i].used)
			return false;
		memset(&w->net[i], 0, sizeof(w->net[i]));
		return true;
	case TIMEOUT:
		if (i >= NODES || r->role == CAIRN_ROLE_LEADER || r->term >= bounds.terms)
			return false;
		step(x, (struct cairn_event){ .kind = CAIRN_EVENT_TIMER }, run_out);
		return true;
	case FORGET:
		if (i >= NODES || r->contact_us == OLD)
			return false;
		x->flat.r.contact_us = OLD;
		return true;
	case BEAT:
		if (i >= NODES || r->role != CAIRN_ROLE_LEADER)
			return false;
		step(x, (struct cairn_event){ .kind = CAIRN_EVENT_TIMER }, beat);
		return true;
	case PERSISTED:
		if (i >= NODES || !x->persists)
			return false;
		persisted(x);
		return true;
	case PROPOSE:
		if (i >= NODES || r->role != CAIRN_ROLE_LEADER || w->proposed >= bounds.entries)
			return false;
		step(x,
		     (struct cairn_event){
			     .kind = CAIRN_EVENT_PROPOSE, .reference = ++w->proposed, .size = 1 },
		     NULL);
		return true;
	case CRASH:     /* nothing that is under way is on disk */
	case CRASH + 8: /* or the oldest persist */
		if (i >= NODES || w->crashes >= bounds.crashes || (action >= CRASH + 8 && !x->persists))
			return false;
		w->crashes++;
		if (action >= CRASH + 8)
			put_on_disk(x);
		boot(x);
		return true;
	}
	return false;
}

/* --- the states that were visited --- */

struct state {
	uint64_t hash[2];
	uint32_t from;
	uint8_t action;
};

static struct state *states;
static uint32_t *table;
static uint64_t state_count, state_most = 3000000, slots;

static void hash_state(const struct world *s, uint64_t hash[2])
{
	const uint64_t *p = (const uint64_t *)s;
	uint64_t a = 1, b = 2;

	for (size_t i = 0; i < sizeof(*s) / 8; i++) {
		a = (a ^ p[i]) * 0x9e3779b97f4a7c15ull;
		a ^= a >> 32;
		b = (b + p[i]) * 0xff51afd7ed558ccdull;
		b ^= b >> 29;
	}
	hash[0] = a;
	hash[1] = b;
}

/* Messages under way have no order. */
static int by_bytes(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct packed));
}

static bool is_new(struct world *s, uint32_t from, unsigned action)
{
	uint64_t hash[2], i;

	qsort(s->net, bounds.messages, sizeof(*s->net), by_bytes);
	hash_state(s, hash);
	for (i = hash[0] & (slots - 1); table[i]; i = (i + 1) & (slots - 1))
		if (states[table[i] - 1].hash[0] == hash[0] && states[table[i] - 1].hash[1] == hash[1])
			return false;
	if (state_count == state_most)
		return false;
	states[state_count] = (struct state){ { hash[0], hash[1] }, from, (uint8_t)action };
	table[i] = (uint32_t)++state_count;
	return true;
}

static void show_way(uint64_t at)
{
	static const char *const names[] = { "message delivered", "message lost", "election timeout",
					     "leader forgotten",  "heartbeat",    "persist done",
					     "proposal",          "crash",        "crash, one persist kept" };

	if (!at)
		return;
	show_way(states[at].from);
	printf("  %s %u\n", names[states[at].action / 8],
	       states[at].action % 8 + (states[at].action >= TIMEOUT));
}

/* The world that state AT stands for: worlds are kept for the frontier only. */
struct kept {
	struct world world;
	uint32_t at;
};

int main(int argc, char **argv)
{
	struct kept *now, *next;
	size_t now_count = 1, next_count, next_cap, depth = 0;
	static struct world first, try;
	int c;

	while ((c = getopt(argc, argv, "e:t:c:m:n:")) != -1) {
		unsigned long long v = strtoull(optarg ? optarg : "", NULL, 10);

		if (c == 'e')
			bounds.entries = (unsigned)v;
		else if (c == 't')
			bounds.terms = (unsigned)v;
		else if (c == 'c')
			bounds.crashes = (unsigned)v;
		else if (c == 'm')
			bounds.messages = v < MESSAGES ? (unsigned)v : MESSAGES;
		else if (c == 'n')
			state_most = v;
		else
			return 2;
	}
	if (bounds.terms > 7)
		return 2;
	host = (struct cairn_replication_host){ NULL, host_alloc, host_free, host_effect };
	for (slots = 1024; slots < 2 * state_most; slots *= 2)
		;
	states = calloc(state_most, sizeof(*states));
	table = calloc(slots, sizeof(*table));
	w = &first;
	for (unsigned i = 0; i < NODES; i++)
		boot(&first.nodes[i]);
	is_new(&first, 0, 0);
	now = calloc(1, sizeof(*now));
	now[0].world = first;
	while (now_count && !broken[0] && state_count < state_most) {
		next = NULL;
		next_count = next_cap = 0;
		depth++;
		for (size_t i = 0; i < now_count && !broken[0]; i++)
			for (unsigned action = 0; action < LAST && !broken[0]; action++) {
				try = now[i].world;
				w = &try;
				beyond = false;
				if (!act(action) || beyond)
					continue;
				if (!is_new(&try, now[i].at, action) && !broken[0])
					continue;
				if (broken[0]) {
					states[state_count < state_most ? state_count : state_most - 1] =
						(struct state){ .from = now[i].at,
								.action = (uint8_t)action };
					printf("broken: %s; the way there:\n", broken);
					show_way(state_count < state_most ? state_count : state_most - 1);
					break;
				}
				if (next_count == next_cap) {
					next_cap = next_cap ? next_cap * 2 : 1024;
					next = realloc(next, next_cap * sizeof(*next));
				}
				next[next_count++] = (struct kept){ try, (uint32_t)state_count - 1 };
			}
		free(now);
		now = next;
		now_count = next_count;
	}
	free(now);
	printf("%llu states, %zu events deep, %s: %u entries, %u terms, %u crashes, %u messages under way\n",
	       (unsigned long long)state_count, depth,
	       broken[0]                           ? "one is broken"
		       : state_count >= state_most ? "the most that were asked for"
						   : "all of them",
	       bounds.entries, bounds.terms, bounds.crashes, bounds.messages);
	free(states);
	free(table);
	return broken[0] != 0;
}
