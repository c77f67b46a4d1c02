/*
 * One durable writer without a socket: `durable FOLDER SECONDS ENGINE` makes a node and a volume in FOLDER,
 * in this process, and puts values of 256 bytes, each when the one before is on disk. Prints one line of
 * JSON. What is there of them stays in FOLDER.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "clock.h"
#include "files.h"
#include "journal.h"
#include "pool.h"
#include "settings.h"
#include "shard.h"
#include "banned.h"

#define KEYS 10000
#define VALUE 256
#define TIMES_MAX (1 << 20)

struct run {
	struct shard_write write;
	struct shard *shard;
	struct node *node;
	struct loop_task begin;
	uint64_t end_ns, sent_ns;
	float *times; /* us; owned */
	size_t count;
};

static void put(struct run *r)
{
	static char value[VALUE];
	char key[32];

	snprintf(key, sizeof(key), "bench/%08zu", r->count * 7919 % KEYS);
	cairn_msg_start(&r->write.command, CAIRN_OP_PUT);
	cairn_msg_text(&r->write.command, CAIRN_F_KEY, key);
	cairn_msg_bytes(&r->write.command, CAIRN_F_VALUE, cairn_slice(value, sizeof(value)));
	r->sent_ns = clock_boot_ns();
	shard_write(r->shard, &r->write);
}

static void written(struct shard_write *w)
{
	struct run *r = (struct run *)w;
	uint64_t now = clock_boot_ns();

	if (w->error.code) {
		fprintf(stderr, "%s\n", w->error.message);
		exit(1);
	}
	r->times[r->count++] = (float)(now - r->sent_ns) / 1000;
	if (now < r->end_ns && r->count < TIMES_MAX)
		put(r);
	else
		loop_stop(r->node->loop);
}

static void begin(struct loop_task *t)
{
	put((struct run *)((char *)t - offsetof(struct run, begin)));
}

static int by_time(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return x < y ? -1 : x > y;
}

static void measure(struct node *n, struct shard *s, double seconds)
{
	struct run r = { .shard = s, .node = n, .begin.run = begin };
	uint64_t start = clock_boot_ns();
	double took;

	r.times = malloc(TIMES_MAX * sizeof(*r.times));
	if (!r.times)
		exit(1);
	r.write.loop = n->loop;
	r.write.done = written;
	r.end_ns = start + (uint64_t)(seconds * 1e9);
	n->waiting = 1;
	loop_post(n->loop, &r.begin);
	loop_run(n->loop);
	took = (double)(clock_boot_ns() - start) / 1e9;
	qsort(r.times, r.count, sizeof(*r.times), by_time);
	printf("{\"op\":\"write\",\"encoding\":\"none\",\"flight\":1,\"requests\":%zu,\"seconds\":%.3f,"
	       "\"rate\":%.0f,"
	       "\"p50_us\":%.1f,\"p99_us\":%.1f,\"daemon_cpu_us\":0,\"generator_cpu\":0}\n",
	       r.count, took, (double)r.count / took, (double)r.times[r.count / 2],
	       (double)r.times[r.count * 99 / 100]);
	cairn_msg_free(&r.write.command);
	cairn_msg_free(&r.write.answer);
	free(r.times);
}

int main(int argc, char **argv)
{
	struct settings *settings = settings_new();
	struct log *log = log_new();
	struct cairn_error error = { 0 }, notice;
	struct shard *s;
	struct node n;
	char journal[4096], folder[4096];

	if (argc != 4 || atof(argv[2]) <= 0) {
		fprintf(stderr, "usage: durable FOLDER SECONDS ENGINE\n");
		return 2;
	}
	snprintf(journal, sizeof(journal), "%s/journal", argv[1]);
	snprintf(folder, sizeof(folder), "%s/volume", argv[1]);
	if (settings_set(settings, "node.data", argv[1], "bench", &error) ||
	    settings_finish(settings, &error) || log_to(log, "/dev/null") ||
	    node_open(&n, settings, log, &error) || folder_make(folder) ||
	    journal_open(&n.journal,
			 &(struct journal_options){ .folder = journal, .segment_bytes = 64 << 20 }, &notice,
			 &error) ||
	    shard_open(&s, &n,
		       &(struct shard_options){
			       .name = "bench",
			       .folder = folder,
			       .engine = argv[3],
			       .replication = "none",
			       .sync = true,
			       .settings = { .key_max = 4096, .value_limit = 1 << 20, .folders = true } },
		       &error)) {
		fprintf(stderr, "%s\n", error.message);
		return 1;
	}
	measure(&n, s, atof(argv[2]));
	pool_free(n.pool);
	n.pool = NULL;
	shard_close(s, NULL, NULL);
	journal_close(n.journal);
	node_close(&n);
	settings_free(settings);
	log_free(log);
	return 0;
}
