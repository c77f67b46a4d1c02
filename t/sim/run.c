/*
 * run: many worlds, one seed each.
 *
 *   run MODULE.so [-n SEEDS] [-s FIRST] [-t SECONDS of each world, until faults end] [-v VOTERS at first]
 *       [-f FAULT,… of sim.h's table; all or none] [-m MOST faults] [-p PACE: how slow clients are]
 *       [-1: end with the first that fails] [--store] [--trace] [--shrink] [--wrong MISTAKE of the host's]
 *
 * Prints the seeds that fail and why, and ends with 1 where one does. With --shrink the first that fails is
 * made smaller while it still fails: fewer voters, kinds of faults, faults, operations and less time; then
 * the line that shows it is printed, and the end of its trace.
 */
#include <dlfcn.h>
#include <getopt.h>
#include "sim.h"
#include "banned.h"

#define TRIES 20    /* seeds for each smaller world */
#define BUDGET 1200 /* worlds that are made to find a small one */

struct run {
	const struct cairn_replication *module;
	uint64_t worlds, steps, entries, elections, snapshots, failures, restarts, ops, repeats;
	uint64_t failed_us; /* the last one that failed, in its own time */
	char failure[512];
};

static const char *const fault_names[] = {
#define X(name, meaning) #name,
	FAULTS(X)
#undef X
};

static const char *const wrong_names[] = { "none",
#define X(name, meaning) #name,
					   WRONGS(X)
#undef X
};

/* One world from beginning to end. False where it fails. */
static bool run_world(struct run *r, uint64_t seed, const struct options *options, bool trace, bool tail)
{
	struct options o = *options;
	struct world *w;
	bool right;

	o.voters = o.voters ? o.voters : 1 + 2 * (unsigned)(1 + seed % 2);
	w = world_new(r->module, seed, &o, trace);
	if (tail)
		w->tail = calloc(LINES, sizeof(*w->tail));
	if (world_run(w, o.us))
		world_live(w);
	if (!w->failure[0])
		check_histories(w);
	right = !w->failure[0];
	if (!right) {
		r->failed_us = w->now;
		snprintf(r->failure, sizeof(r->failure), "%s", w->failure);
	}
	for (size_t i = w->tail_count > LINES ? w->tail_count - LINES : 0; tail && i < w->tail_count; i++)
		printf("%s\n", w->tail[i % LINES]);
	r->worlds++;
	r->steps += w->steps;
	r->entries += w->committed_to;
	r->elections += w->elections;
	r->snapshots += w->snapshots;
	r->restarts += w->restarts;
	r->ops += w->op_count;
	r->repeats += w->repeats;
	world_free(w);
	return right;
}

/* --- smaller worlds --- */

static void print_line(uint64_t seed, const struct options *o, const char *failure)
{
	printf("-s %llu -v %u -t %g", (unsigned long long)seed, o->voters, (double)o->us / 1e6);
	if (o->faults != FAULTS_ALL)
		printf(" -f ");
	if (!o->faults)
		printf("none");
	for (unsigned i = 0, some = 0; i < FAULT_KINDS && o->faults != FAULTS_ALL; i++)
		if (o->faults >> i & 1)
			printf("%s%s", some++ ? "," : "", fault_names[i]);
	if (o->most != UINT32_MAX)
		printf(" -m %u", o->most);
	if (o->pace != 1)
		printf(" -p %u", o->pace);
	printf("%s # %s\n", o->store ? " --store" : "", failure);
}

/* Whether SMALLER fails, too, from *SEED or from one of those behind it: it takes the place of *O then. */
static bool takes(struct run *r, uint64_t *seed, struct options *o, struct options smaller)
{
	for (uint64_t i = 0; i < TRIES && r->worlds < BUDGET; i++)
		if (!run_world(r, *seed + i, &smaller, false, false)) {
			*seed += i;
			*o = smaller;
			return true;
		}
	return false;
}

static bool make_smaller(struct run *r, uint64_t *seed, struct options *o)
{
	struct options s = *o;
	bool some = false;

	if (s.voters > 3) {
		s.voters = 3;
		some |= takes(r, seed, o, s);
	}
	for (unsigned i = 0; i < FAULT_KINDS; i++) {
		s = *o;
		s.faults &= ~(1u << i);
		if (s.faults != o->faults)
			some |= takes(r, seed, o, s);
	}
	for (int i = 0; i < 2; i++) {
		s = *o;
		s.us = s.us * (i ? 8 : 5) / 10 / 10000 * 10000;
		if (s.us >= 100000)
			some |= takes(r, seed, o, s);
	}
	s = *o;
	s.most = s.most > 64 ? 32 : s.most * 2 / 3;
	if (s.most != o->most)
		some |= takes(r, seed, o, s);
	s = *o;
	s.pace *= 2;
	if (s.pace <= 16)
		some |= takes(r, seed, o, s);
	return some;
}

static void shrink(struct run *r, uint64_t seed, struct options o)
{
	o.voters = o.voters ? o.voters : 1 + 2 * (unsigned)(1 + seed % 2);
	r->worlds = 0;
	while (make_smaller(r, &seed, &o) && r->worlds < BUDGET)
		;
	printf("the end of the smallest that was found:\n");
	run_world(r, seed, &o, false, true);
	print_line(seed, &o, r->failure);
}

/* --- arguments --- */

/* Where NAME stands in the COUNT names; -1: it does not. */
static int find(const char *const *names, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(names[i], name) == 0)
			return (int)i;
	return -1;
}

/* The faults named in TEXT. False where one is none. */
static bool parse_faults(char *text, unsigned *faults)
{
	*faults = strcmp(text, "all") == 0 ? FAULTS_ALL : 0;
	if (*faults || strcmp(text, "none") == 0)
		return true;
	for (char *name = strsep(&text, ","); name; name = strsep(&text, ",")) {
		int i = find(fault_names, FAULT_KINDS, name);

		if (i < 0)
			return false;
		*faults |= 1u << i;
	}
	return true;
}

struct arguments {
	struct options options;
	uint64_t seeds, first;
	bool trace, once, shrink, help;
};

static bool parse(int argc, char **argv, struct arguments *a)
{
	static const struct option options[] = {
		{ "trace", no_argument, NULL, 'T' },       { "store", no_argument, NULL, 'S' },
		{ "shrink", no_argument, NULL, 'K' },      { "help", no_argument, NULL, 'h' },
		{ "wrong", required_argument, NULL, 'W' }, { 0 }
	};
	int c;

	while ((c = getopt_long(argc, argv, "1n:s:t:v:f:m:p:", options, NULL)) != -1) {
		uint64_t number = optarg ? strtoull(optarg, NULL, 10) : 0;

		if (c == 'h')
			a->help = true;
		else if (c == 'n')
			a->seeds = number;
		else if (c == 's')
			a->first = number;
		else if (c == 't')
			a->options.us = (uint64_t)(strtod(optarg, NULL) * 1e6);
		else if (c == 'v' && number >= 1 && number <= 5)
			a->options.voters = (unsigned)number;
		else if (c == 'm')
			a->options.most = (unsigned)number;
		else if (c == 'p' && number)
			a->options.pace = (unsigned)number;
		else if (c == '1')
			a->once = true;
		else if (c == 'T')
			a->trace = true;
		else if (c == 'S')
			a->options.store = true;
		else if (c == 'K')
			a->shrink = a->once = true;
		else if (c == 'W' && find(wrong_names, sizeof(wrong_names) / sizeof(char *), optarg) >= 0)
			a->options.wrong =
				(enum wrong)find(wrong_names, sizeof(wrong_names) / sizeof(char *), optarg);
		else if (c != 'f' || !parse_faults(optarg, &a->options.faults))
			return false;
	}
	return true;
}

static const struct cairn_replication *load(const char *path)
{
	const struct cairn_replication *(*plugin)(void) = NULL;
	void *so = dlopen(path, RTLD_NOW);
	struct cairn_error error;

	if (so)
		*(void **)&plugin = dlsym(so, "cairn_replication_plugin");
	if (plugin)
		return plugin();
	cairn_fail(&error, CAIRN_E_INVALID, "%s", dlerror()); /* (and modules find it in this program) */
	fprintf(stderr, "run: %s\n", error.message);
	return NULL;
}

static void usage(FILE *out)
{
	fputs("usage: run MODULE.so [OPTION…]\n"
	      "  -n SEEDS    how many worlds; 20\n"
	      "  -s FIRST    the first one's seed; 1\n"
	      "  -t SECONDS  of the world's time until faults end; 8\n"
	      "  -v VOTERS   1 to 5; else as the seed says\n"
	      "  -f FAULT,…  kinds of faults; all, none, or some of:",
	      out);
	for (int i = 0; i < FAULT_KINDS; i++)
		fprintf(out, " %s", fault_names[i]);
	fputs("\n"
	      "  -m MOST     at most so many faults in a world\n"
	      "  -p PACE     clients are so many times as slow; 1\n"
	      "  -1          stop at the first world that fails\n"
	      "  --store     the daemon's store behind each node\n"
	      "  --trace     say what happens\n"
	      "  --shrink    make the first world that fails smaller\n"
	      "  --wrong MISTAKE  of the host:",
	      out);
	for (size_t i = 1; i < sizeof(wrong_names) / sizeof(wrong_names[0]); i++)
		fprintf(out, " %s", wrong_names[i]);
	fputs("\nEnds with 1 where a world fails, with 2 where it cannot begin.\n", out);
}

int main(int argc, char **argv)
{
	struct arguments a = {
		.options = { .faults = FAULTS_ALL, .most = UINT32_MAX, .pace = 1, .us = 8000000 },
		.seeds = 20,
		.first = 1
	};
	struct run r = { 0 };

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!parse(argc, argv, &a) || (!a.help && optind >= argc)) {
		usage(stderr);
		return 2;
	}
	if (a.help) {
		usage(stdout);
		return 0;
	}
	r.module = load(argv[optind]);
	if (!r.module)
		return 2;
	for (uint64_t seed = a.first; seed < a.first + a.seeds && (!r.failures || !a.once); seed++)
		if (!run_world(&r, seed, &a.options, a.trace, false)) {
			printf("seed %llu fails: %s\n", (unsigned long long)seed, r.failure);
			r.failures++;
			a.first = a.shrink ? seed : a.first;
		}
	printf("%llu worlds, %llu failed: %llu steps, %llu operations, %llu entries committed, %llu "
	       "elections, %llu restarts, %llu snapshots",
	       (unsigned long long)r.worlds, (unsigned long long)r.failures, (unsigned long long)r.steps,
	       (unsigned long long)r.ops, (unsigned long long)r.entries, (unsigned long long)r.elections,
	       (unsigned long long)r.restarts, (unsigned long long)r.snapshots);
	if (a.options.store)
		printf(", %llu repeated commands", (unsigned long long)r.repeats);
	putchar('\n');
	if (r.failures && a.shrink)
		shrink(&r, a.first, a.options);
	return r.failures != 0;
}
