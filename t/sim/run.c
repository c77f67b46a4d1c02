/*
 * run: many worlds, one seed each.
 *
 *   run MODULE.so [-n SEEDS] [-s FIRST] [-t SECONDS of each world] [-1] [--trace]
 *
 * -1: end with the first that fails.
 *
 * Prints the seeds that fail and why, and ends with 1 where one does.
 */
#include <dlfcn.h>
#include <getopt.h>
#include "sim.h"
#include "banned.h"

/* When all faults have ended: a leader is there soon, what is written is committed, and all agree. */
static void must_live(struct world *w)
{
	uint64_t committed;
	struct node *leader;

	world_heal(w);
	if (!world_run(w, 3000000))
		return;
	leader = world_leader(w);
	if (!leader) {
		world_fail(w, "liveness: nobody leads 3 s after all faults have ended");
		return;
	}
	committed = w->committed_to;
	if (!world_run(w, 1000000))
		return;
	if (w->committed_to <= committed && w->op_count < 2000)
		world_fail(w, "liveness: nothing is committed any more, at entry %llu",
			   (unsigned long long)committed);
	w->quiet = true;
	if (!world_run(w, 500000))
		return;
	leader = world_leader(w);
	if (!leader || leader->apply_to != records_last(&leader->log))
		world_fail(w, "liveness: what everybody has is not committed");
	for (unsigned i = 1; leader && i <= NODES; i++) {
		struct node *n = &w->nodes[i];
		bool member = false;

		for (size_t at = 8; leader->state.members && at + 9 <= leader->state.members->len; at += 9)
			member = member || leader->state.members->bytes[at] == i;
		if (n->alive && member && n->state.index < leader->state.index)
			world_fail(w, "liveness: node %u has applied %llu, the leader %llu", i,
				   (unsigned long long)n->state.index,
				   (unsigned long long)leader->state.index);
	}
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "trace", no_argument, NULL, 'T' }, { 0 } };
	uint64_t seeds = 20, first = 1, us = 8000000, steps = 0, entries = 0, elections = 0, snapshots = 0,
		 failures = 0, restarts = 0, ops = 0;
	const struct cairn_replication *(*plugin)(void) = NULL;
	bool trace = false, once = false;
	struct cairn_error error;
	void *so;
	int c;

	while ((c = getopt_long(argc, argv, "1n:s:t:", options, NULL)) != -1)
		switch (c) {
		case 'n':
			seeds = strtoull(optarg, NULL, 10);
			break;
		case 's':
			first = strtoull(optarg, NULL, 10);
			break;
		case 't':
			us = strtoull(optarg, NULL, 10) * 1000000;
			break;
		case '1':
			once = true;
			break;
		case 'T':
			trace = true;
			break;
		default:
			return 2;
		}
	setvbuf(stdout, NULL, _IOLBF, 0);
	so = optind < argc ? dlopen(argv[optind], RTLD_NOW) : NULL;
	if (so)
		*(void **)&plugin = dlsym(so, "cairn_replication_plugin");
	if (!plugin) { /* (and modules find cairn_fail in this program) */
		cairn_fail(&error, CAIRN_E_INVALID, "%s",
			   optind < argc ? dlerror()
					 : "usage: run MODULE.so [-n SEEDS] [-s FIRST] [--trace]");
		fprintf(stderr, "run: %s\n", error.message);
		return 2;
	}
	for (uint64_t seed = first; seed < first + seeds; seed++) {
		struct world *w = world_new(plugin(), seed, 1 + 2 * (unsigned)(1 + seed % 2), trace);

		if (world_run(w, us))
			must_live(w);
		if (!w->failure[0])
			check_histories(w);
		if (w->failure[0]) {
			printf("seed %llu fails after %llu steps: %s\n", (unsigned long long)seed,
			       (unsigned long long)w->steps, w->failure);
			failures++;
		}
		steps += w->steps;
		entries += w->committed_to;
		elections += w->elections;
		snapshots += w->snapshots;
		restarts += w->restarts;
		ops += w->op_count;
		world_free(w);
		if (failures && once)
			break;
	}
	printf("%llu worlds, %llu failed: %llu steps, %llu operations, %llu entries committed, %llu "
	       "elections, %llu "
	       "restarts, %llu snapshots\n",
	       (unsigned long long)seeds, (unsigned long long)failures, (unsigned long long)steps,
	       (unsigned long long)ops, (unsigned long long)entries, (unsigned long long)elections,
	       (unsigned long long)restarts, (unsigned long long)snapshots);
	return failures != 0;
}
