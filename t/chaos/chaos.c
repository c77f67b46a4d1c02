/*
 * A cluster of real nodes under clients, while nodes are killed, stopped and started again.
 * Usage: chaos NODES SECONDS SEED CLIENTS FOLDER CAIRND [OPTION…]
 *
 * Faults come one after the other, some of them together, as the seed says; then all nodes are made well, all
 * is read once more through each of them, and what the clients were told must have been possible (history.h).
 * A node that dies by itself, a cluster that does not become well, and an answer that is no answer to a fault
 * are failures too. The clock decides how far it comes, so a seed brings back the faults, not the run.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "nodes.h"
#include "tap.h"
#include "banned.h"

enum fault {
	KILL,
	KILL_LEADER,
	PAUSE,
	PAUSE_LEADER,
	KILL_MAJORITY,
	KILL_ALL,
	STORM,
	ASK,
	PAUSE_MANY,
	FAULTS
};

static const char *const names[FAULTS] = { "kill",         "leader-kill",   "pause",
					   "leader-pause", "majority-kill", "all-kill",
					   "storm",        "term",          "majority-pause" };

struct chaos {
	struct nodes nodes;
	struct load load;
	unsigned seed;
	unsigned long faults[FAULTS];
	bool lame; /* a node did not become ready */
};

static unsigned dice(struct chaos *c, unsigned sides)
{
	return (unsigned)rand_r(&c->seed) % sides;
}

static void rest(struct chaos *c, unsigned most_ms)
{
	usleep((useconds_t)(dice(c, most_ms) * 1000)); /* how long a fault lasts, not what it waits for */
}

static void start(struct chaos *c, unsigned i)
{
	if (!nodes_start(&c->nodes, i, true)) {
		printf("# n%u did not become ready within 30 s\n", i + 1);
		c->lame = true;
	}
}

/* COUNT nodes in a row from FIRST on are killed, or paused, for a while. */
static void strike(struct chaos *c, unsigned first, unsigned count, int signal, unsigned most_ms)
{
	struct nodes *n = &c->nodes;

	for (unsigned k = 0; k < count; k++) {
		if (signal == SIGSTOP)
			nodes_pause(n, (first + k) % n->count);
		else
			nodes_end(n, (first + k) % n->count, signal);
	}
	rest(c, most_ms);
	for (unsigned k = 0; k < count; k++) {
		if (signal == SIGSTOP)
			nodes_resume(n, (first + k) % n->count);
		else
			start(c, (first + k) % n->count);
	}
}

/* Nodes are killed before they are ready, again and again. */
static void storm(struct chaos *c)
{
	for (unsigned k = 0; k < 4 + c->nodes.count; k++) {
		unsigned i = dice(c, c->nodes.count);

		nodes_end(&c->nodes, i, SIGKILL);
		nodes_start(&c->nodes, i, false);
		rest(c, 150);
	}
}

static void make_fault(struct chaos *c, enum fault fault)
{
	unsigned all = c->nodes.count, most = all / 2 + 1, any = dice(c, all);
	unsigned leader =
		fault == KILL_LEADER || fault == PAUSE_LEADER ? nodes_leader(&c->nodes, &c->load) : all;

	if (leader == all)
		leader = any;
	c->faults[fault]++;
	switch (fault) {
	case KILL:
		strike(c, any, 1 + dice(c, most - 1), SIGKILL, 1500);
		break;
	case KILL_LEADER:
		strike(c, leader, 1, SIGKILL, 1500);
		break;
	case PAUSE:
		strike(c, any, 1 + dice(c, most - 1), SIGSTOP, 2500);
		break;
	case PAUSE_LEADER:
		strike(c, leader, 1, SIGSTOP, 2500);
		break;
	case KILL_MAJORITY:
		strike(c, any, most, SIGKILL, 1000);
		break;
	case KILL_ALL:
		strike(c, any, all, SIGKILL, 100);
		break;
	case ASK:
		strike(c, any, 1, SIGTERM, 500);
		break;
	case PAUSE_MANY:
		strike(c, any, most, SIGSTOP, 1500);
		break;
	default:
		storm(c);
	}
}

/* All nodes are there, and each of them answers reads. */
static bool make_well(struct chaos *c)
{
	struct cairn_reply r = { 0 };
	bool good = true;

	for (unsigned i = 0; i < c->nodes.count; i++) {
		nodes_resume(&c->nodes, i);
		start(c, i);
	}
	for (unsigned i = 0; i < c->nodes.count; i++) {
		uint64_t until = load_now() + 30000000000u;
		enum cairn_code code;

		do {
			struct cairn *h = load_handle(&c->load, i, true, 2000);
			struct cairn_slice v;

			code = cairn_get(h, NULL, cairn_str("counter/0"), &v, NULL, &r);
			cairn_close(h);
		} while (code && code != CAIRN_E_NOT_FOUND && load_now() < until && !usleep(50000));
		if (code && code != CAIRN_E_NOT_FOUND) {
			printf("# n%u does not answer 30 s after the last fault: %s\n", i + 1,
			       r.error.message);
			good = false;
		}
	}
	cairn_reply_free(&r);
	return good;
}

static void torment(struct chaos *c, unsigned seconds)
{
	uint64_t end = load_now() + seconds * 1000000000ull;

	while (load_now() < end && !c->lame) {
		rest(c, 1000);
		make_fault(c, dice(c, FAULTS));
	}
}

static void report(struct chaos *c, unsigned seconds)
{
	struct load *l = &c->load;

	printf("# %u nodes, %u s: %lu ok, %lu refused, %lu unknown; %.1f s without an answer at most; "
	       "faults:",
	       c->nodes.count, seconds, atomic_load(&l->ok), atomic_load(&l->refused),
	       atomic_load(&l->unknown), (double)atomic_load(&l->longest) / 1e9);
	for (int i = 0; i < FAULTS; i++)
		printf(" %lu %s", c->faults[i], names[i]);
	printf("\n");
}

int main(int argc, char **argv)
{
	static struct chaos c;
	unsigned nodes = argc > 6 ? (unsigned)strtoul(argv[1], NULL, 10) : 0, clients, seconds;
	struct client *w;
	bool well;

	if (nodes < 1 || nodes > NODES_MAX)
		bail("usage: chaos NODES SECONDS SEED CLIENTS FOLDER CAIRND [OPTION…]");
	setvbuf(stdout, NULL, _IOLBF, 0);
	seconds = (unsigned)strtoul(argv[2], NULL, 10);
	c.seed = (unsigned)strtoul(argv[3], NULL, 10);
	clients = (unsigned)strtoul(argv[4], NULL, 10);
	w = calloc(clients + 1, sizeof(*w));
	pthread_mutex_init(&c.load.lock, NULL);
	pthread_mutex_init(&c.load.history.lock, NULL);
	nodes_make(&c.nodes, &c.load, nodes, argv[5], argv + 6);
	if (!w || !make_well(&c))
		bail("the cluster did not start; see %s/n1/log", argv[5]);
	for (unsigned i = 0; i < clients; i++) {
		w[i] = (struct client){ .load = &c.load, .id = i, .seed = c.seed + 1000 + i };
		if (pthread_create(&w[i].thread, NULL, client_work, &w[i]))
			bail("no thread");
	}
	torment(&c, seconds);
	well = make_well(&c);
	atomic_store(&c.load.stop, true);
	for (unsigned i = 0; i < clients; i++)
		pthread_join(w[i].thread, NULL);
	ok(well && !c.lame, "after the last fault all nodes answer");
	ok(atomic_load(&c.load.ok) > 0, "requests succeed between the faults");
	is_int(load_check(&c.load), 0, "what the clients were told is possible (seed %s)", argv[3]);
	for (unsigned i = 0; i < nodes; i++)
		nodes_end(&c.nodes, i, SIGTERM);
	is_int(c.nodes.died, 0, "no node dies by itself");
	is_int(c.load.strange.code, 0, "refused is only what no majority could serve: %s",
	       c.load.strange.message);
	report(&c, seconds);
	history_free(&c.load.history);
	free(w);
	return tap_done();
}
