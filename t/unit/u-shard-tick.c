/*
 * What a shard does once a second by itself, in the node's loop: uploads that nobody renewed are dropped by a
 * command of its own, and the engine gets time for its upkeep, never beside a write.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#include "clock.h"
#include "engine.h"
#include "files.h"
#include "volume.h"
#include "tap.h"
#include "banned.h"

#define SECOND 1000000000ull

/* Ticks the shard until what is waited for has come. */
struct waiting {
	struct shard *shard;
	struct loop *loop;
	struct loop_timer *timer;
	bool (*come)(struct shard *s);
	unsigned ticks;
};

static void tick(void *arg)
{
	struct waiting *w = arg;

	if (w->come(w->shard) || w->ticks++ > 2000) {
		loop_stop(w->loop);
		return;
	}
	shard_tick(w->shard);
	loop_timer_set(w->timer, 5);
}

/* Whether COME is true within a while of ticks. */
static bool wait_for(struct node *n, struct shard *s, bool (*come)(struct shard *s))
{
	struct waiting w = { .shard = s, .loop = n->loop, .come = come };

	if (loop_timer_new(n->loop, tick, &w, &w.timer))
		bail("no timer");
	loop_timer_set(w.timer, 0);
	loop_run(n->loop);
	loop_timer_free(w.timer);
	return come(s);
}

static struct shard *make(struct node *n, const char *engine, const char *folder, struct engine *ready)
{
	struct cairn_error error = { 0 };
	struct shard *s = NULL;

	folder_make(folder);
	if (shard_open(&s, n,
		       &(struct shard_options){
			       .name = "test",
			       .folder = folder,
			       .engine = engine,
			       .replication = "none",
			       .settings = { .key_max = 4096, .value_limit = 1 << 20, .folders = true },
			       .ready = ready },
		       &error))
		bail("shard_open: %s", error.message);
	return s;
}

/* Stage one piece of the upload ID at TIME. */
static void stage(struct store *s, uint64_t index, uint64_t time_ns, unsigned id)
{
	unsigned char name[16] = { 0 };
	struct cairn_msg m = { 0 };
	struct cairn_error error;
	struct store_command c = { .position = { index, 1 } };

	memcpy(name, &id, sizeof(id));
	cairn_msg_start(&m, CAIRN_OP_STAGE);
	cairn_msg_u64(&m, CAIRN_F_TIME, time_ns);
	cairn_msg_bytes(&m, CAIRN_F_UPLOAD, cairn_slice(name, sizeof(name)));
	cairn_msg_text(&m, CAIRN_F_VALUE, "piece");
	c.message = cairn_msg_slice(&m);
	if (store_apply(s, &c, 1, false, &error) || c.code)
		bail("a piece was not staged: %s", error.message);
	cairn_msg_free(&m);
}

static bool ten_bytes_are_staged(struct shard *s)
{
	struct store_facts facts;

	store_facts(shard_store(s), &facts);
	return facts.staged == 10;
}

/* COUNT uploads that were staged half an hour ago, and two that were just now. */
static void uploads(struct node *n, const char *folder, unsigned count)
{
	struct store_settings settings = { .key_max = 4096, .value_limit = 1 << 20, .folders = true };
	uint64_t now = clock_wall_ns();
	const struct plugin *p;
	struct cairn_error error = { 0 };
	struct engine engine;
	struct store_facts facts;
	struct store *store;
	struct shard *s;

	if (loader_get(n->loader, PLUGIN_ENGINE, "memory", &p, &error) ||
	    engine_open(&engine, p->engine, folder, NULL, 0, &error) ||
	    store_open(&store, &engine, &settings, &error))
		bail("no store: %s", error.message);
	for (unsigned i = 0; i < count; i++)
		stage(store, i + 1, now - 1800 * SECOND, i * 3);
	stage(store, count + 1, now, 1);
	stage(store, count + 2, now, count * 2 + 1);
	store_close(store);
	s = make(n, "memory", folder, &engine);
	ok(wait_for(n, s, ten_bytes_are_staged), "%u uploads that nobody renewed are dropped, others stay",
	   count);
	store_facts(shard_store(s), &facts);
	ok(facts.position.index > count + 2, "by commands of the log");
	is_int(store_check_rows(shard_store(s), &error), 0, "and nothing of them is left");
	shard_close(s, NULL, NULL);
}

#define WRITES 16

/* Writes that follow one another, from the node's loop. */
struct writer {
	struct shard_write write;
	struct shard *shard;
	unsigned *left;
};

static void write_next(struct writer *w)
{
	cairn_msg_start(&w->write.command, CAIRN_OP_PUT);
	cairn_msg_text(&w->write.command, CAIRN_F_KEY, "k");
	shard_write(w->shard, &w->write);
}

static void written(struct shard_write *write)
{
	struct writer *w = (struct writer *)write;

	if (write->error.code)
		bail("a write failed: %s", write->error.message);
	if (--*w->left >= WRITES)
		write_next(w);
}

static bool fifty_steps(struct shard *s)
{
	uint64_t steps, took_ns;

	return shard_upkeep(s, &steps, &took_ns) && steps > 50 && took_ns > 0;
}

static void is_closed(void *arg)
{
	loop_stop(arg);
}

/* The engine's upkeep never ends, and it ends the process where it meets a write. */
static void upkeep(struct node *n, const char *folder)
{
	char engine[4096];
	struct writer writers[WRITES];
	unsigned left = 20000;
	struct store_facts facts;
	struct shard *s;

	snprintf(engine, sizeof(engine), "%s/t/lib/.libs/engine-faulty.so", getenv("CAIRN_BUILD"));
	s = make(n, engine, folder, NULL);
	for (unsigned i = 0; i < WRITES; i++) {
		writers[i] = (struct writer){ .shard = s, .left = &left };
		writers[i].write.loop = n->loop;
		writers[i].write.done = written;
		write_next(&writers[i]);
	}
	ok(wait_for(n, s, fifty_steps), "the engine gets time for its upkeep, while writes go on");
	while (left)
		wait_for(n, s, fifty_steps);
	store_facts(shard_store(s), &facts);
	is_int(facts.revision, 20000, "and all of those are done");
	shard_close(s, is_closed, n->loop);
	loop_run(n->loop);
	ok(1, "a shard is closed though there is upkeep left");
	for (unsigned i = 0; i < WRITES; i++) {
		cairn_msg_free(&writers[i].write.command);
		cairn_msg_free(&writers[i].write.answer);
	}
}

int main(void)
{
	char folder[] = "/tmp/u-shard-tick.XXXXXX", sub[64];
	struct settings *settings = settings_new();
	struct log *log = log_new();
	struct cairn_error error = { 0 };
	struct node n;

	if (!mkdtemp(folder) || settings_set(settings, "node.data", folder, "test", &error) ||
	    settings_set(settings, "node.name", "n1", "test", &error) || settings_finish(settings, &error) ||
	    log_to(log, "/dev/null") || node_open(&n, settings, log, &error))
		bail("%s", error.message);
	snprintf(sub, sizeof(sub), "%s/a", folder);
	uploads(&n, sub, 3);
	uploads(&n, sub, 1000);
	upkeep(&n, sub);
	node_close(&n);
	settings_free(settings);
	log_free(log);
	folder_remove(AT_FDCWD, folder);
	return tap_done();
}
