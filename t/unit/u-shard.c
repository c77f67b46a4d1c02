/*
 * A shard under many threads: every write is answered once, in its own loop's thread, and is in the store; a
 * write that cannot be done is refused with the reason and changes nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>
#include "clock.h"
#include "engine.h"
#include "files.h"
#include "volume.h"
#include "tap.h"

#define THREADS 4
#define WINDOW 16

struct client;

struct slot {
	struct shard_write write;
	struct client *client;
};

struct client {
	struct shard *shard;
	struct loop *loop;
	pthread_t thread;
	unsigned number, sent, wanted, answered, good, elsewhere; /* elsewhere: answered in another thread */
	enum cairn_code last;
	char message[400];
	struct loop_task begin;
	struct slot slots[WINDOW];
};

static void send_next(struct slot *slot)
{
	struct client *c = slot->client;
	char key[64];

	cairn_msg_start(&slot->write.command, CAIRN_OP_PUT);
	snprintf(key, sizeof(key), "t%u/%u", c->number, c->sent++);
	cairn_msg_text(&slot->write.command, CAIRN_F_KEY, key);
	cairn_msg_text(&slot->write.command, CAIRN_F_VALUE, "v");
	shard_write(c->shard, &slot->write);
}

static void written(struct shard_write *w)
{
	struct slot *slot = (struct slot *)w;
	struct client *c = slot->client;

	c->elsewhere += !loop_inside(c->loop);
	c->good += w->error.code == CAIRN_OK;
	c->last = w->error.code;
	snprintf(c->message, sizeof(c->message), "%s", w->error.message);
	if (c->sent < c->wanted)
		send_next(slot);
	if (++c->answered == c->wanted)
		loop_stop(c->loop);
}

static void begin(struct loop_task *t)
{
	struct client *c = (struct client *)((char *)t - offsetof(struct client, begin));

	for (int i = 0; i < WINDOW && c->sent < c->wanted; i++)
		send_next(&c->slots[i]);
}

static void *client_thread(void *arg)
{
	struct client *c = arg;

	loop_run(c->loop);
	return NULL;
}

static void client_start(struct client *c, struct shard *s, unsigned number, unsigned wanted)
{
	*c = (struct client){ .shard = s, .number = number, .wanted = wanted, .begin.run = begin };
	if (loop_new(&c->loop))
		bail("no loop");
	for (int i = 0; i < WINDOW; i++) {
		c->slots[i].client = c;
		c->slots[i].write.loop = c->loop;
		c->slots[i].write.done = written;
	}
	loop_post(c->loop, &c->begin);
	pthread_create(&c->thread, NULL, client_thread, c);
}

static void client_end(struct client *c)
{
	pthread_join(c->thread, NULL);
	for (int i = 0; i < WINDOW; i++) {
		cairn_msg_free(&c->slots[i].write.command);
		cairn_msg_free(&c->slots[i].write.answer);
	}
	loop_free(c->loop);
}

/* WANTED writes from one thread, waited for. */
static void one_client(struct client *c, struct shard *s, unsigned number, unsigned wanted)
{
	client_start(c, s, number, wanted);
	client_end(c);
}

static struct shard *make(struct node *n, const char *engine, const char *folder)
{
	struct cairn_error error = { 0 };
	struct shard *s = NULL;

	folder_make(folder);
	if (shard_open(&s, n,
		       &(struct shard_options){ .name = "test",
						.folder = folder,
						.engine = engine,
						.replication = "none",
						.sync = true,
						.settings = { 4096, 1 << 20, true } },
		       &error))
		bail("shard_open: %s", error.message);
	return s;
}

static void many_threads(struct node *n, const char *engine, const char *folder, unsigned each)
{
	static struct client clients[THREADS];
	struct shard *s = make(n, engine, folder);
	struct store_facts facts, again;
	unsigned answered = 0, good = 0, elsewhere = 0;

	for (unsigned i = 0; i < THREADS; i++)
		client_start(&clients[i], s, i, each);
	for (unsigned i = 0; i < THREADS; i++) {
		client_end(&clients[i]);
		answered += clients[i].answered;
		good += clients[i].good;
		elsewhere += clients[i].elsewhere;
	}
	is_int(answered, THREADS * each, "%s: every write is answered once", engine);
	is_int(good, THREADS * each, "%s: and succeeds", engine);
	is_int(elsewhere, 0, "%s: in its own loop's thread", engine);
	store_facts(shard_store(s), &facts);
	is_int(facts.keys, THREADS * each, "%s: every key is there", engine);
	is_int(facts.position.index, THREADS * each, "%s: every command was applied once", engine);
	is_int(facts.revision, THREADS * each, "%s: and took one revision", engine);
	ok(facts.clock_ns > 1600000000ull * 1000000000, "%s: commands are stamped", engine);
	shard_close(s, NULL, NULL);
	if (!strcmp(engine, "memory"))
		return;
	pool_free(n->pool); /* the last worker may still hold it */
	pool_new(&n->pool, 2);
	s = make(n, engine, folder);
	store_facts(shard_store(s), &again);
	is_int(again.position.index, facts.position.index, "%s: reopened where it was", engine);
	ok(again.clock_ns == facts.clock_ns, "%s: with its clock", engine);
	one_client(clients, s, 99, 1);
	store_facts(shard_store(s), &again);
	is_int(again.position.index, facts.position.index + 1, "%s: the log goes on", engine);
	ok(again.clock_ns >= facts.clock_ns, "%s: the clock never goes back", engine);
	shard_close(s, NULL, NULL);
}

static void fault(const char *path, const char *word)
{
	FILE *f = fopen(path, "we");

	if (!f)
		bail("%s", path);
	fputs(word, f);
	fclose(f);
}

static void faults(struct node *n, const char *folder)
{
	static struct client c;
	char engine[4096], path[4096];
	struct shard *s;
	struct store_facts facts;
	struct cairn_error why = { 0 };

	snprintf(engine, sizeof(engine), "%s/t/lib/.libs/engine-faulty.so", getenv("CAIRN_BUILD"));
	snprintf(path, sizeof(path), "%s/fault", n->data_dir);
	setenv("CAIRN_FAULT", path, 1);
	s = make(n, engine, folder);
	one_client(&c, s, 0, 20);
	is_int(c.good, 20, "writes succeed while the disk has room");
	fault(path, "full");
	one_client(&c, s, 1, 40);
	is_int(c.good, 0, "none does on a full disk");
	is_int(c.answered, 40, "every one is answered");
	is_int(c.last, CAIRN_E_FULL, "with 'full'");
	ok(strstr(c.message, "volume test on node n1") && strstr(c.message, "did not happen"),
	   "that names the node: %s", c.message);
	is_int(shard_may_read(s, &why), CAIRN_OK, "reads go on");
	fault(path, "");
	one_client(&c, s, 2, 20);
	is_int(c.good, 20, "writes go on by themselves when there is room");
	store_facts(shard_store(s), &facts);
	is_int(facts.keys, 40, "and what was refused did not happen");
	fault(path, "broken");
	one_client(&c, s, 3, 1);
	is_int(c.last, CAIRN_E_UNKNOWN, "the batch of a failed write is of unknown fate");
	fault(path, "");
	one_client(&c, s, 4, 5);
	is_int(c.good, 0, "after it the shard has stopped");
	is_int(c.last, CAIRN_E_INTERNAL, "with the engine's code");
	ok(strstr(c.message, "test says that the disk is broken"), "and the reason: %s", c.message);
	is_int(shard_may_read(s, &why), CAIRN_E_INTERNAL, "for reads too");
	shard_close(s, NULL, NULL);
}

static void deadline(struct node *n, const char *folder)
{
	static struct client c;
	struct shard *s = make(n, "memory", folder);
	struct store_facts facts;

	c = (struct client){ .shard = s, .wanted = 1 };
	c.slots[0].client = &c;
	c.slots[0].write = (struct shard_write){ .done = written, .deadline_ns = 1 };
	if (loop_new(&c.loop))
		bail("no loop");
	c.slots[0].write.loop = c.loop;
	c.begin.run = begin;
	loop_post(c.loop, &c.begin);
	loop_run(c.loop);
	is_int(c.last, CAIRN_E_TIMEOUT, "a write whose time is over is not begun");
	store_facts(shard_store(s), &facts);
	is_int(facts.keys, 0, "and did not happen");
	cairn_msg_free(&c.slots[0].write.command);
	cairn_msg_free(&c.slots[0].write.answer);
	loop_free(c.loop);
	shard_close(s, NULL, NULL);
}

int main(void)
{
	char folder[] = "/tmp/u-shard.XXXXXX", sub[64];
	struct settings *settings = settings_new();
	struct log *log = log_new();
	struct cairn_error error = { 0 };
	struct node n;
	const struct plugin *p;

	if (!mkdtemp(folder) || settings_set(settings, "node.data", folder, "test", &error) ||
	    settings_set(settings, "node.name", "n1", "test", &error) || settings_finish(settings, &error) ||
	    log_to(log, "/dev/null") || node_open(&n, settings, log, &error))
		bail("%s", error.message);
	snprintf(sub, sizeof(sub), "%s/memory", folder);
	many_threads(&n, "memory", sub, 3000);
	snprintf(sub, sizeof(sub), "%s/leveldb", folder);
	if (loader_get(n.loader, PLUGIN_ENGINE, "leveldb", &p, NULL) == CAIRN_OK)
		many_threads(&n, "leveldb", sub, 300);
	else
		ok(1, "skipped: engine-leveldb is not part of this build # SKIP");
	snprintf(sub, sizeof(sub), "%s/faulty", folder);
	faults(&n, sub);
	deadline(&n, sub);
	node_close(&n);
	settings_free(settings);
	log_free(log);
	folder_remove(AT_FDCWD, folder);
	return tap_done();
}
