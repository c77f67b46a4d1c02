/*
 * Start and end of all volumes: the system volume, then what its rows name, then what lies in the folder and
 * in no row; "main" on the first start. A volume that cannot be opened stops nobody, the system volume does.
 * Once a second, and when a key is due, every shard does its background work.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cluster.h"
#include "files.h"
#include "journal.h"
#include "room.h"
#include "volumes.h"
#include "banned.h"

#define FOLDERS "volumes" /* in the data folder, one for each volume */
#define TICK_MS 1000      /* how often shards do their background work */

/* ARG: how long until the next tick, ns. */
static void tick_one(void *arg, struct volume *v)
{
	uint64_t *wait = arg, w;
	struct shard *shard = v->shard;

	if (!shard)
		return;
	w = shard_tick(shard);
	*wait = w < *wait ? w : *wait;
}

static void tick(void *arg)
{
	struct node *n = arg;
	uint64_t wait = TICK_MS * 1000000ull;

	volumes_each(n, tick_one, &wait);
	tick_one(&wait, n->volumes->system);
	volumes_first(n);
	if (n->cluster)
		cluster_tell_news(n->cluster);
	if (n->journal)
		journal_reserve(n->journal);
	room_look(n);
	loop_timer_set(n->volumes->tick, wait / 1000000 + 1);
}

static void tick_now(struct loop_task *task)
{
	struct volumes *t = (struct volumes *)((char *)task - offsetof(struct volumes, soon));

	t->ticking = false;
	if (t->tick) /* else it comes by itself */
		loop_timer_set(t->tick, 0);
}

void volumes_tick_soon(struct node *n)
{
	struct volumes *t = n->volumes;

	if (!t || atomic_exchange(&t->ticking, true))
		return;
	t->soon.run = tick_now;
	loop_post(n->loop, &t->soon);
}

/* The system volume is small, and the journal keeps everything until it has flushed: it may use the room that
 * the others keep free (node.min-free). */
static bool use_reserve(struct volume *v)
{
	const struct plugin *p;

	if (loader_get(v->node->loader, PLUGIN_ENGINE, v->engine, &p, NULL))
		return true; /* opening it says why */
	return !engine_takes(p->engine, ROOM_PARAMETER) ||
		volume_add_parameter(v, ROOM_PARAMETER "=1M", strlen(ROOM_PARAMETER "=1M"));
}

/*
 * The system volume lies on the engine that the identity file names. On the first start, and where that is
 * the memory engine, on a durable one if there is one.
 */
static enum cairn_code open_system(struct node *n, struct cairn_error *error)
{
	struct volume *v = volume_new(n, VOLUME_SYSTEM);
	bool choose = !*n->system_engine || !strcmp(n->system_engine, "memory");
	const char *engine;
	enum cairn_code code;

	if (!v)
		return cairn_fail(error, CAIRN_E_INTERNAL, "no memory");
	n->volumes->system = v;
	snprintf(v->folder, sizeof(v->folder), "%s", VOLUME_SYSTEM);
	snprintf(v->replication, sizeof(v->replication), n->cluster ? "raft" : "none");
	if (n->cluster)
		v->members_len = cluster_members(n->cluster, v->members);
	engine = choose ? volume_durable_engine(n, error) : n->system_engine;
	if (!engine) {
		engine = "memory";
		log_warn(n->log, LOG_VOLUME, "no durable engine: the list of volumes ends with the daemon");
	}
	snprintf(v->engine, sizeof(v->engine), "%s", engine);
	if (mkdirat(n->volumes->fd, v->folder, 0700) < 0 && errno != EEXIST)
		return cairn_fail(error, cairn_error_from_errno(errno), "%s/%s: %s", n->volumes->path,
				  v->folder, strerror(errno));
	if (!use_reserve(v))
		return cairn_fail(error, CAIRN_E_INTERNAL, "no memory");
	code = volume_open_shard(v, strcmp(v->engine, "memory") != 0, NULL, error);
	if (code) {
		cairn_hint(error, "it holds the list of volumes; their own folders in %.100s are not touched",
			   n->volumes->path);
		return code;
	}
	if (!strcmp(v->engine, n->system_engine))
		return CAIRN_OK;
	snprintf(n->system_engine, sizeof(n->system_engine), "%s", v->engine);
	return node_write_identity(n, error);
}

static void made_main(struct volume_change *c)
{
	loop_stop(c->node->loop);
}

/* The first start: nothing was ever written to the system volume. */
/* Say before ERROR where the settings stand that the first volume is made of. */
static void add_places(const struct settings *s, struct cairn_error *error)
{
	static const enum setting ids[] = { SETTING_VOLUME_ENGINE, SETTING_VOLUME_PARAMETERS,
					    SETTING_VOLUME_REPLICATION, SETTING_VOLUME_SYNC };
	char places[256] = "";
	size_t n = 0;

	for (size_t i = 0; i < sizeof(ids) / sizeof(*ids) && n < sizeof(places); i++)
		if (strcmp(setting_where(s, ids[i]), "default") != 0)
			n += (size_t)snprintf(places + n, sizeof(places) - n, "%s%s (%s.%s)", n ? ", " : "",
					      setting_where(s, ids[i]), setting_row(ids[i])->section,
					      setting_row(ids[i])->key);
	if (n)
		cairn_error_prefix(error, "%s", places);
}

static enum cairn_code make_main(struct node *n, struct cairn_error *error)
{
	struct volume_change c = { .node = n, .name = VOLUME_MAIN, .done = made_main };

	volume_create(&c);
	loop_run(n->loop);
	*error = c.error;
	if (error->code)
		add_places(n->settings, error);
	return error->code;
}

/* Also of a volume that could not be opened. */
static void keep_journal(void *arg, struct volume *v)
{
	struct node *n = arg;

	journal_attach(n->journal, shard_id(v->folder));
}

bool volumes_miss_journal(struct node *n)
{
	const struct volume *system = volumes_system(n);
	struct journal_facts journal;
	struct store_facts facts;

	if (!n->journal || !system || !system->shard)
		return false;
	journal_facts(n->journal, &journal);
	store_facts(shard_store(system->shard), &facts);
	return !journal.sequence && facts.position.index;
}

enum cairn_code volumes_open(struct node *n, struct cairn_error *error)
{
	struct volumes *t = calloc(1, sizeof(*t));
	struct store_facts facts;
	enum cairn_code code;
	int r;

	if (!t || asprintf(&t->path, "%s/%s", n->data_dir, FOLDERS) < 0) {
		free(t);
		return cairn_fail(error, CAIRN_E_INTERNAL, "no memory");
	}
	n->volumes = t;
	pthread_mutex_init(&t->lock, NULL);
	r = folder_make(t->path);
	t->fd = r < 0 ? r : volume_folder_open(t, t->path);
	if (t->fd < 0)
		return cairn_fail(error, cairn_error_from_errno(-t->fd), "%s cannot be used: %s", t->path,
				  strerror(-t->fd));
	code = open_system(n, error);
	if (!code)
		code = volumes_open_rows(n, error);
	if (code || n->offline)
		return code;
	if (volumes_miss_journal(n))
		log_warn(n->log, LOG_VOLUME,
			 "the journal is empty, and volumes had one: their newest writes may be missing");
	volumes_forget_rows(t);
	volumes_settle_folders(n);
	if (n->journal) {
		volumes_each(n, keep_journal, n);
		journal_attach(n->journal, shard_id(VOLUME_SYSTEM));
		if (!n->cluster) /* else volumes may be in the log that are not in the list yet */
			journal_drop_others(n->journal);
	}
	r = loop_timer_new(n->loop, tick, n, &t->tick);
	if (r < 0)
		return cairn_fail(error, CAIRN_E_INTERNAL, "no timer: %s", strerror(-r));
	room_look(n);
	loop_timer_set(t->tick, TICK_MS);
	store_facts(shard_store(t->system->shard), &facts);
	return facts.position.index || n->cluster ? CAIRN_OK : make_main(n, error);
}

void volumes_close(struct node *n)
{
	struct volumes *t = n->volumes;

	if (!t)
		return;
	while (t->first) {
		struct volume *v = t->first;

		t->first = v->next;
		volume_put(v);
	}
	if (t->system)
		volume_put(t->system);
	volumes_forget_rows(t);
	loop_timer_free(t->retry);
	loop_timer_free(t->tick);
	if (t->fd >= 0)
		close(t->fd);
	pthread_mutex_destroy(&t->lock);
	free(t->path);
	free(t);
	n->volumes = NULL;
}
