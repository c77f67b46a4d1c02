/*
 * Kill cairnd with SIGKILL (every fifth time SIGTERM) again and again under pipelined puts through libcairn,
 * which repeats what was not answered. Usage: retry ROUNDS FOLDER CAIRND [OPTION…]
 *
 * A put takes exactly one revision, so the answers must hold every revision from the first to the last once:
 * one that is missing was applied and not answered for, or answered and lost; one that stands twice was given
 * to two puts; a store that is further than the answers say has applied something twice.
 */
#include <cairn/client.h>
#include "clock.h"
#include "node.h"
#include "tap.h"

#define KEYS 64
#define DEPTH 200
#define LOGS 16
#define TOKEN 8 /* bytes of an appended number */

struct put {
	struct run *run;
	unsigned number; /* its value */
	unsigned key;
	bool append;
};

struct run {
	struct node node;
	struct cairn *c;
	unsigned submitted, answered, failed;
	uint64_t *revisions; /* of the answers */
	size_t cap;
	uint64_t newest[KEYS];    /* highest revision answered for a key */
	unsigned value[KEYS];     /* and its value */
	struct cairn_error first; /* failure */
	bool load;
};

/* End cairnd; the load goes on while it does what a clean end needs. */
static void stop(struct run *r, int signal)
{
	kill(r->node.pid, signal);
	while (signal == SIGTERM && waitpid(r->node.pid, NULL, WNOHANG) == 0)
		cairn_dispatch(r->c, 1);
	if (signal == SIGKILL)
		waitpid(r->node.pid, NULL, 0);
}

static void submit(struct run *r);

static void answered(void *arg, struct cairn_reply *reply)
{
	struct put *p = arg;
	struct run *r = p->run;
	uint64_t revision = cairn_field_u64(reply->fields, CAIRN_F_REVISION, 0);

	if (reply->code) {
		if (!r->failed++)
			r->first = reply->error;
	} else {
		if (r->answered == r->cap) {
			r->cap = r->cap ? r->cap * 2 : 4096;
			r->revisions = realloc(r->revisions, r->cap * sizeof(*r->revisions));
			if (!r->revisions)
				bail("no memory");
		}
		r->revisions[r->answered++] = revision;
		if (!p->append && revision > r->newest[p->key]) {
			r->newest[p->key] = revision;
			r->value[p->key] = p->number;
		}
	}
	free(p);
	if (r->load)
		submit(r);
}

static void submit(struct run *r)
{
	struct put *p = malloc(sizeof(*p));
	struct cairn_msg m = { 0 };
	char text[32];

	if (!p)
		bail("no memory");
	*p = (struct put){ .run = r, .number = ++r->submitted, .key = (unsigned)random() % KEYS };
	p->append = p->number % 8 == 0;
	cairn_msg_start(&m, p->append ? CAIRN_OP_APPEND : CAIRN_OP_PUT);
	if (p->append)
		snprintf(text, sizeof(text), "stress/log%u", p->key % LOGS);
	else
		snprintf(text, sizeof(text), "stress/%u", p->key);
	cairn_msg_text(&m, CAIRN_F_KEY, text);
	snprintf(text, sizeof(text), p->append ? "%08u" : "%u", p->number);
	cairn_msg_text(&m, CAIRN_F_VALUE, text);
	if (cairn_submit(r->c, &m, answered, p))
		bail("cairn_submit refuses");
	cairn_msg_free(&m);
}

static void work(struct run *r, uint64_t ms)
{
	uint64_t until = clock_boot_ns() + ms * 1000000;

	while (clock_boot_ns() < until)
		cairn_dispatch(r->c, 1);
}

static int order(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Every appended number stands in the logs exactly once. */
static void verify_logs(struct run *r)
{
	unsigned char *seen = calloc(r->submitted + 1, 1);
	struct cairn_reply reply = { 0 };
	struct cairn_slice v;
	unsigned wrong = 0, count = 0;
	char text[32];

	for (unsigned i = 0; seen && i < LOGS; i++) {
		snprintf(text, sizeof(text), "stress/log%u", i);
		cairn_get(r->c, NULL, cairn_str(text), &v, NULL, &reply);
		for (size_t at = 0; at + TOKEN <= v.len; at += TOKEN) {
			char token[TOKEN + 1] = "";
			unsigned long number;

			memcpy(token, (const char *)v.data + at, TOKEN);
			number = strtoul(token, NULL, 10);
			wrong += number > r->submitted || number % 8 || seen[number]++;
			count++;
		}
		wrong += v.len % TOKEN != 0;
	}
	is_int(count, r->submitted / 8, "every append is there");
	is_int(wrong, 0, "once");
	cairn_reply_free(&reply);
	free(seen);
}

static void verify(struct run *r)
{
	struct cairn_reply reply = { 0 };
	struct cairn_error e = { 0 };
	struct cairn_slice v;
	uint64_t revision = 0;
	unsigned gaps = 0, twice = 0, wrong = 0;
	char text[32];

	qsort(r->revisions, r->answered, sizeof(*r->revisions), order);
	for (unsigned i = 1; i < r->answered; i++) {
		twice += r->revisions[i] == r->revisions[i - 1];
		gaps += r->revisions[i] > r->revisions[i - 1] + 1;
	}
	is_int(twice, 0, "no two puts have one revision");
	is_int(gaps, 0, "no revision is missing among %u answers", r->answered);
	for (unsigned i = 0; i < KEYS; i++) {
		snprintf(text, sizeof(text), "stress/%u", i);
		if (!r->newest[i])
			continue;
		if (cairn_get(r->c, NULL, cairn_str(text), &v, &revision, &reply) || revision != r->newest[i])
			wrong++;
		snprintf(text, sizeof(text), "%u", r->value[i]);
		wrong += !cairn_slice_eq(v, cairn_str(text));
	}
	is_int(wrong, 0, "every key has the value and the revision of its last put");
	is_int(cairn_put(r->c, NULL, cairn_str("stress/end"), cairn_str(""), &revision, &e), 0,
	       "a last put: %s", e.message);
	is_int(revision, r->revisions[r->answered - 1] + 1, "and nothing was applied that was not answered");
	cairn_reply_free(&reply);
}

int main(int argc, char **argv)
{
	struct run r = { 0 };
	struct cairn_options o = { .timeout_ms = 60000, .persistent = true, .face = "stress" };
	int rounds = argc > 3 ? (int)strtol(argv[1], NULL, 10) : 0;

	if (rounds < 1)
		bail("usage: retry ROUNDS FOLDER CAIRND [OPTION…]");
	node_make(&r.node, argv[2], argv + 3);
	o.servers = r.node.server;
	srandom((unsigned)getpid());
	node_start(&r.node);
	if (cairn_open(&r.c, &o, &r.first))
		bail("%s", r.first.message);
	r.load = true;
	for (int i = 0; i < DEPTH; i++)
		submit(&r);
	for (int i = 0; i < rounds; i++) {
		work(&r, 5 + (unsigned)random() % 60);
		stop(&r, i % 5 == 4 ? SIGTERM : SIGKILL);
		node_start(&r.node);
	}
	r.load = false;
	while (cairn_pending(r.c))
		cairn_dispatch(r.c, -1);
	is_int(r.failed, 0, "after %d kills all of %u puts are answered: %s", rounds, r.submitted,
	       r.first.message);
	if (r.answered) {
		verify_logs(&r);
		verify(&r);
	}
	cairn_close(r.c);
	stop(&r, SIGKILL);
	free(r.revisions);
	return tap_done();
}
