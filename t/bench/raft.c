/*
 * raft: how many entries a second the bare core of replication-raft takes through three nodes whose disks and
 * network take no time, on one core; and how much memory groups take.
 *
 *   raft MODULE.so [-b PROPOSALS in a step] [-s SECONDS] [-g GROUPS]
 *
 * Prints one line of JSON.
 */
#include <dlfcn.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cairn/replication.h>
#include "banned.h"

#define NODES 3
#define LOG (1u << 16) /* entries that a node remembers, a ring */
#define QUEUE 4096

struct message {
	unsigned from;
	unsigned char body[64];
	size_t len;
	uint64_t index, term, last;
};

struct node {
	struct cairn_replication_host host;
	void *instance;
	unsigned id;
	struct message *queue; /* that came, a ring */
	size_t first, count;
	struct cairn_entry *log;
	uint64_t token, applied, appended;
	enum cairn_role role;
};

struct group {
	struct node nodes[NODES];
};

static const struct cairn_replication *module;
static size_t memory; /* that all instances hold */
static uint64_t now_us = 1000000;

static void *host_alloc(void *arg, size_t size)
{
	size_t *p = calloc(1, size + 16);

	(void)arg;
	p[0] = size;
	memory += size;
	return p + 2;
}

static void host_free(void *arg, void *p)
{
	(void)arg;
	if (!p)
		return;
	memory -= ((size_t *)p)[-2];
	free((size_t *)p - 2);
}

static struct group *group_of(struct node *n)
{
	return (struct group *)((char *)(n - (n->id - 1)) - offsetof(struct group, nodes));
}

static void host_effect(void *arg, const struct cairn_effect *e)
{
	struct node *n = arg, *to;
	struct message *m;

	switch (e->kind) {
	case CAIRN_EFFECT_APPEND:
		n->log[e->entry.index % LOG] = e->entry;
		n->appended = e->entry.index;
		break;
	case CAIRN_EFFECT_PERSIST:
		n->token = e->token;
		break;
	case CAIRN_EFFECT_SEND:
		to = &group_of(n)->nodes[e->peer - 1];
		m = &to->queue[(to->first + to->count++) % QUEUE];
		*m = (struct message){ n->id, { 0 }, e->body.len, e->index, e->term, e->last };
		memcpy(m->body, e->body.data, e->body.len);
		break;
	case CAIRN_EFFECT_APPLY:
		n->applied = e->last;
		break;
	case CAIRN_EFFECT_ROLE:
		n->role = e->role;
		break;
	default:
		break;
	}
}

static void step(struct node *n, struct cairn_event *events, size_t count)
{
	for (size_t i = 0; i < count; i++)
		events[i].now_us = now_us;
	if (module->step(n->instance, events, count) < 0)
		abort();
}

/* What came to N, in one step; entries are taken from the sender's log. */
static bool serve(struct group *g, struct node *n)
{
	static struct cairn_event events[QUEUE + 1];
	size_t count = 0;

	if (n->token)
		events[count++] = (struct cairn_event){ .kind = CAIRN_EVENT_STORED, .token = n->token };
	n->token = 0;
	for (; n->count && count < QUEUE; n->count--, n->first = (n->first + 1) % QUEUE) {
		struct message *m = &n->queue[n->first];
		struct cairn_event *e = &events[count++];

		*e = (struct cairn_event){ .kind = CAIRN_EVENT_MESSAGE,
					   .peer = m->from,
					   .body = cairn_slice(m->body, m->len),
					   .index = m->index,
					   .term = m->term };
		if (!m->last)
			continue;
		e->entries = &g->nodes[m->from - 1].log[m->index % LOG];
		e->count = (size_t)(m->last - m->index + 1);
		if (m->index % LOG + e->count >
		    LOG) { /* what lies behind the ring's end comes in the next round */
			e->count = LOG - m->index % LOG;
			m->index += e->count;
			m->term = e->entries[e->count - 1].term;
			step(n, events, count);
			return true;
		}
	}
	if (count)
		step(n, events, count);
	return count != 0;
}

static void settle(struct group *g)
{
	bool busy = true;

	while (busy) {
		busy = false;
		for (int i = 0; i < NODES; i++)
			busy = serve(g, &g->nodes[i]) || busy;
	}
}

static void group_open(struct group *g, size_t log)
{
	unsigned char members[8 + 9 * NODES] = { 1, NODES };
	struct cairn_value values[] = { { .number = 400 }, { .number = 50 } };
	struct cairn_error error;

	for (unsigned i = 0; i < NODES; i++) {
		members[8 + 9 * i] = (unsigned char)(i + 1);
		members[16 + 9 * i] = 1;
	}
	for (unsigned i = 0; i < NODES; i++) {
		struct node *n = &g->nodes[i];
		struct cairn_durable d = { .self = i + 1, .members = cairn_slice(members, sizeof(members)) };
		struct cairn_event e = { .kind = CAIRN_EVENT_START, .random = 17 * i + 3, .durable = &d };

		*n = (struct node){ .id = i + 1, .host = { n, host_alloc, host_free, host_effect } };
		n->queue = calloc(QUEUE, sizeof(*n->queue));
		n->log = calloc(log, sizeof(*n->log));
		if (module->open(&n->host, values, &n->instance, &error) < 0)
			abort();
		step(n, &e, 1);
	}
}

static struct node *elect(struct group *g)
{
	struct cairn_event timer = { .kind = CAIRN_EVENT_TIMER };

	for (;;) {
		now_us += 10000;
		for (int i = 0; i < NODES; i++) {
			step(&g->nodes[i], &timer, 1);
			settle(g);
			if (g->nodes[i].role == CAIRN_ROLE_LEADER)
				return &g->nodes[i];
		}
	}
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Bytes that a group takes on one of its nodes, on average, with COUNT groups that have leaders. */
static double bytes_a_group(size_t count)
{
	size_t before = memory, held;

	for (size_t i = 0; i < count; i++) {
		struct group *g = calloc(1, sizeof(*g));

		group_open(g, LOG / 1024);
		elect(g);
		for (int k = 0; k < NODES; k++) {
			free(g->nodes[k].queue);
			free(g->nodes[k].log);
		}
	}
	held = memory - before;
	return (double)held / (double)count / NODES;
}

int main(int argc, char **argv)
{
	const struct cairn_replication *(*plugin)(void) = NULL;
	size_t batch = 256, groups = 10000;
	struct cairn_event *proposals;
	struct cairn_error error;
	struct group *g = calloc(1, sizeof(*g));
	struct node *leader;
	double start, took, most = 2;
	uint64_t first;
	void *so;
	int c;

	while ((c = getopt(argc, argv, "b:s:g:")) != -1)
		if (c == 'b')
			batch = strtoul(optarg, NULL, 10);
		else if (c == 's')
			most = strtod(optarg, NULL);
		else if (c == 'g')
			groups = strtoul(optarg, NULL, 10);
		else
			return 2;
	so = optind < argc ? dlopen(argv[optind], RTLD_NOW) : NULL;
	if (so)
		*(void **)&plugin = dlsym(so, "cairn_replication_plugin");
	if (!plugin || !batch || batch > 4096) {
		cairn_fail(&error, CAIRN_E_INVALID, "raft: %s", plugin ? "-b is 1 to 4096" : dlerror());
		fprintf(stderr, "%s\n", error.message);
		return 2;
	}
	module = plugin();
	group_open(g, LOG);
	leader = elect(g);
	proposals = calloc(batch, sizeof(*proposals));
	for (size_t i = 0; i < batch; i++)
		proposals[i] =
			(struct cairn_event){ .kind = CAIRN_EVENT_PROPOSE, .reference = i + 1, .size = 256 };
	first = leader->applied;
	start = seconds();
	do {
		for (int i = 0; i < 100; i++) {
			step(leader, proposals, batch);
			settle(g);
		}
		now_us += 1000;
		took = seconds() - start;
	} while (took < most);
	printf("{\"nodes\":%d,\"batch\":%zu,\"entries_per_s\":%.0f,\"groups\":%zu,\"bytes_per_group\":%.0f}"
	       "\n",
	       NODES, batch, (double)(leader->applied - first) / took, groups, bytes_a_group(groups));
	return 0;
}
