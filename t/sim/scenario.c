/*
 * scenario: one world by a script, and what happened in it as text.
 *
 *   scenario MODULE.so < SCRIPT
 *
 * A line of the script is a command; # begins a comment. It is printed, and below it what followed.
 *
 *   voters N          the world begins with so many (first line)
 *   run MS            let time pass
 *   lead N            have node N lead: wait until somebody leads, and hand over
 *   put [COUNT]       propose at the leader of the highest term
 *   put-at N          propose at that node, whoever leads
 *   read N            read a key at node N
 *   cut N...          these nodes hear nobody, and nobody hears them
 *   cut-from A B      what A sends does not reach B
 *   heal              everybody hears everybody
 *   crash N, start N, pause N, resume N
 *   slow-disk N MS    its disk takes so much longer
 *   compact N         its log keeps nothing of what is applied
 *   join N            a node with an empty disk
 *   members ID:KIND…  ask the leader for these (v: voter, l: learner)
 *   transfer N        ask the leader to hand over
 *   time-out N        node N has waited long enough for a leader
 */
#include <dlfcn.h>
#include "sim.h"
#include "banned.h"

static struct node *number(struct world *w, const char *text)
{
	unsigned long n = strtoul(text ? text : "", NULL, 10);

	if (n < 1 || n > NODES) {
		fprintf(stderr, "scenario: there is no node '%s'\n", text ? text : "");
		exit(2);
	}
	return &w->nodes[n];
}

static void cut(struct world *w, char *rest)
{
	for (char *at = strtok_r(rest, " ", &rest); at; at = strtok_r(NULL, " ", &rest))
		for (unsigned i = 1; i <= NODES; i++)
			w->blocked[number(w, at)->id][i] = w->blocked[i][number(w, at)->id] = true;
}

static void join(struct world *w, struct node *n)
{
	*n = (struct node){ .id = (unsigned)(n - w->nodes), .used = true, .drift = 1 };
	node_start(w, n);
}

static void members(struct world *w, char *rest)
{
	unsigned char bytes[BLOB_MAX] = { 1 };
	struct node *leader = world_leader(w);
	struct cairn_event e = { .kind = CAIRN_EVENT_MEMBERS };

	for (char *at = strtok_r(rest, " ", &rest); at; at = strtok_r(NULL, " ", &rest)) {
		unsigned k = bytes[1]++;

		bytes[8 + 9 * k] = (unsigned char)number(w, at)->id;
		bytes[16 + 9 * k] = strstr(at, ":l") ? 4 : 1;
	}
	e.body = cairn_slice(bytes, 8u + 9u * bytes[1]);
	if (leader)
		node_step(w, leader, &e, 1);
}

/* The text of the log of each node that is up. */
static void show_logs(struct world *w)
{
	for (unsigned i = 1; i <= NODES; i++) {
		struct node *n = &w->nodes[i];

		if (!n->used || !n->alive)
			continue;
		printf("    node %u:", i);
		for (uint64_t at = n->log.base + 1; at <= records_last(&n->log); at++)
			printf(" %llu%s", (unsigned long long)records_term(&n->log, at),
			       at == n->apply_to ? " |" : "");
		putchar('\n');
	}
}

static void lead(struct world *w, struct node *n)
{
	for (int i = 0; i < 100 && (!world_leader(w) || world_leader(w) != n); i++) {
		struct node *leader = world_leader(w);

		if (leader)
			node_step(w, leader,
				  &(struct cairn_event){ .kind = CAIRN_EVENT_TRANSFER, .peer = n->id }, 1);
		world_run(w, 100000);
	}
}

/* Do the command COMMAND with REST. False where there is none of that name. */
static bool command(struct world *w, const char *name, char *rest)
{
	struct cairn_event timer = { .kind = CAIRN_EVENT_TIMER };
	struct node *n;

	if (!strcmp(name, "run")) {
		world_run(w, strtoull(rest, NULL, 10) * 1000);
	} else if (!strcmp(name, "lead")) {
		lead(w, number(w, rest));
	} else if (!strcmp(name, "put")) {
		for (unsigned long i = *rest ? strtoul(rest, NULL, 10) : 1; i; i--)
			client_put(w, world_leader(w));
	} else if (!strcmp(name, "put-at")) {
		client_put(w, number(w, rest));
	} else if (!strcmp(name, "read")) {
		client_read(w, number(w, rest));
	} else if (!strcmp(name, "cut")) {
		cut(w, rest);
	} else if (!strcmp(name, "cut-from")) {
		n = number(w, rest);
		rest = strchr(rest, ' ');
		w->blocked[n->id][number(w, rest)->id] = true;
	} else if (!strcmp(name, "heal")) {
		memset(w->blocked, 0, sizeof(w->blocked));
	} else if (!strcmp(name, "crash")) {
		node_crash(w, number(w, rest));
	} else if (!strcmp(name, "start")) {
		node_start(w, number(w, rest));
	} else if (!strcmp(name, "pause") || !strcmp(name, "resume")) {
		number(w, rest)->paused = name[0] == 'p';
	} else if (!strcmp(name, "slow-disk")) {
		n = number(w, rest);
		rest = strchr(rest, ' ');
		n->disk_us = strtoull(rest ? rest : "", NULL, 10) * 1000;
	} else if (!strcmp(name, "compact")) {
		node_compact(w, number(w, rest));
	} else if (!strcmp(name, "join")) {
		join(w, number(w, rest));
	} else if (!strcmp(name, "members")) {
		members(w, rest);
	} else if (!strcmp(name, "transfer")) {
		n = world_leader(w);
		if (n)
			node_step(w, n,
				  &(struct cairn_event){ .kind = CAIRN_EVENT_TRANSFER,
							 .peer = number(w, rest)->id },
				  1);
	} else if (!strcmp(name, "time-out")) {
		n = number(w, rest);
		n->skew_us += 400000;
		node_step(w, n, &timer, 1);
	} else if (!strcmp(name, "logs")) {
		show_logs(w);
	} else {
		return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	const struct cairn_replication *(*plugin)(void) = NULL;
	struct world *w = NULL;
	struct cairn_error error;
	char line[200];
	void *so = argc == 2 ? dlopen(argv[1], RTLD_NOW) : NULL;
	int status;

	if (so)
		*(void **)&plugin = dlsym(so, "cairn_replication_plugin");
	if (!plugin) {
		cairn_fail(&error, CAIRN_E_INVALID, "%s",
			   argc == 2 ? dlerror() : "usage: scenario MODULE.so < SCRIPT");
		fprintf(stderr, "scenario: %s\n", error.message);
		return 2;
	}
	while (fgets(line, sizeof(line), stdin)) {
		char *rest = line + strcspn(line, " \n");

		line[strcspn(line, "\n")] = 0;
		printf("%s%s\n", line[0] && line[0] != '#' ? "> " : "", line);
		if (!line[0] || line[0] == '#')
			continue;
		if (*rest)
			*rest++ = 0;
		if (!w && strcmp(line, "voters") == 0)
			w = world_quiet(plugin(), (unsigned)strtoul(rest, NULL, 10));
		else if (!w || !command(w, line, rest)) {
			fprintf(stderr, "scenario: '%s'?\n", line);
			return 2;
		}
		if (w->failure[0])
			break;
	}
	if (w && !w->failure[0])
		check_histories(w);
	status = !w || w->failure[0];
	if (w)
		world_free(w);
	return status;
}
