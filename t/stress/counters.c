/*
 * Many clients at once, each with a handle of its own, increment a few shared counters: read one, put it plus
 * one under the condition that its revision is still the one read. cairnd is killed and started again
 * meanwhile. Usage: counters CLIENTS ROUNDS FOLDER CAIRND [OPTION…]
 *
 * In the end the counters must add up to the number of increments that were answered with success. More means
 * that one was applied twice, or applied and answered with conflict when it was repeated; less means that one
 * was lost.
 */
#include <cairn/client.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>
#include "node.h"
#include "tap.h"

#define COUNTERS 5

struct client {
	pthread_t thread;
	const char *servers;
	atomic_bool *stop;
	unsigned seed;
	unsigned long done, conflicts, failed;
	struct cairn_error first; /* failure */
};

static struct cairn *handle(const char *servers)
{
	struct cairn_options o = {
		.servers = servers, .timeout_ms = 60000, .persistent = true, .face = "stress"
	};
	struct cairn_error e;
	struct cairn *c;

	if (cairn_open(&c, &o, &e))
		bail("%s", e.message);
	return c;
}

static unsigned long number(struct cairn_slice v)
{
	char text[24] = "";

	if (v.len < sizeof(text) && v.len)
		memcpy(text, v.data, v.len);
	return strtoul(text, NULL, 10);
}

/* Read the counter KEY, put it plus one if nobody else did. */
static enum cairn_code increment(struct cairn *c, const char *key, struct cairn_reply *r)
{
	struct cairn_msg m = { 0 };
	struct cairn_slice v;
	uint64_t revision = 0;
	enum cairn_code code = cairn_get(c, NULL, cairn_str(key), &v, &revision, r);
	char text[24];
	size_t guard;

	if (code && code != CAIRN_E_NOT_FOUND)
		return code;
	snprintf(text, sizeof(text), "%lu", code ? 1 : number(v) + 1);
	cairn_msg_start(&m, CAIRN_OP_PUT);
	cairn_msg_text(&m, CAIRN_F_KEY, key);
	cairn_msg_text(&m, CAIRN_F_VALUE, text);
	guard = cairn_msg_open(&m, CAIRN_F_GUARD);
	cairn_msg_text(&m, CAIRN_F_KEY, key);
	cairn_msg_u64(&m, CAIRN_F_REVISION, code ? 0 : revision);
	cairn_msg_close(&m, guard);
	code = cairn_call(c, &m, r);
	cairn_msg_free(&m);
	return code;
}

static void *work(void *arg)
{
	struct client *w = arg;
	struct cairn *c = handle(w->servers);
	struct cairn_reply r = { 0 };

	while (!atomic_load(w->stop)) {
		char key[32];
		enum cairn_code code;

		snprintf(key, sizeof(key), "counter/%d", rand_r(&w->seed) % COUNTERS);
		code = increment(c, key, &r);
		if (code == CAIRN_OK)
			w->done++;
		else if (code == CAIRN_E_CONFLICT)
			w->conflicts++;
		else if (!w->failed++)
			w->first = r.error;
	}
	cairn_reply_free(&r);
	cairn_close(c);
	return NULL;
}

static unsigned long sum(const char *servers)
{
	struct cairn *c = handle(servers);
	struct cairn_reply r = { 0 };
	struct cairn_slice v;
	unsigned long total = 0;
	char key[32];

	for (int i = 0; i < COUNTERS; i++) {
		snprintf(key, sizeof(key), "counter/%d", i);
		cairn_get(c, NULL, cairn_str(key), &v, NULL, &r);
		total += number(v);
	}
	cairn_reply_free(&r);
	cairn_close(c);
	return total;
}

int main(int argc, char **argv)
{
	int clients = argc > 4 ? (int)strtol(argv[1], NULL, 10) : 0,
	    rounds = clients ? (int)strtol(argv[2], NULL, 10) : 0;
	struct client *w = calloc(clients > 0 ? (size_t)clients : 1, sizeof(*w));
	unsigned long done = 0, conflicts = 0, failed = 0;
	struct cairn_error first = { 0 };
	atomic_bool stop = false;
	struct node n;

	if (clients < 1 || !w)
		bail("usage: counters CLIENTS ROUNDS FOLDER CAIRND [OPTION…]");
	node_make(&n, argv[3], argv + 4);
	node_start(&n);
	for (int i = 0; i < clients; i++) {
		w[i] = (struct client){ .servers = n.server, .stop = &stop, .seed = (unsigned)i };
		if (pthread_create(&w[i].thread, NULL, work, &w[i]))
			bail("no thread");
	}
	for (int i = 0; i <= rounds; i++) {
		usleep((useconds_t)(20000 +
				    random() % 80000)); /* how long a round is, not what it waits for */
		if (i < rounds) {
			node_kill(&n);
			node_start(&n);
		}
	}
	atomic_store(&stop, true);
	for (int i = 0; i < clients; i++) {
		pthread_join(w[i].thread, NULL);
		done += w[i].done;
		conflicts += w[i].conflicts;
		failed += w[i].failed;
		if (w[i].failed && !first.code)
			first = w[i].first;
	}
	is_int(failed, 0, "no increment ends in anything but success or conflict: %s", first.message);
	ok(done > 0 && conflicts > 0, "%lu increments and %lu conflicts over %d kills", done, conflicts,
	   rounds);
	is_int(sum(n.server), done, "the counters add up to the increments that were answered");
	node_kill(&n);
	free(w);
	return tap_done();
}
