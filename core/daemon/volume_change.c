/*
 * Making and dropping volumes. A volume's life stands in the system volume: making one opens its folder first
 * and then writes the row; dropping one deletes the row first and then the folder. While that is under way
 * the folder holds the file "pending": the next start removes such a folder when there is no row for it, and
 * keeps it when there is one. So a crash leaves no half volume.
 */
#include <string.h>
#include "cluster.h"
#include "feed.h"
#include "files.h"
#include "journal.h"
#include "volumes.h"
#include "banned.h"

/* C has ended, with C->error; in the node's loop. */
void volume_change_done(struct volume_change *c)
{
	cairn_msg_free(&c->write.command);
	cairn_msg_free(&c->write.answer);
	c->done(c);
}

void volume_create_failed(struct volume_change *c)
{
	volume_unlist(c->node->volumes, c->volume);
	c->volume->change = c; /* the folder goes with it */
	volume_put(c->volume);
}

static void create_written(struct shard_write *w)
{
	struct volume_change *c = (struct volume_change *)((char *)w - offsetof(struct volume_change, write));

	if (w->error.code) {
		c->error = w->error;
		volume_create_failed(c);
		return;
	}
	volume_folder_pending(c->node->volumes, c->volume->folder, false);
	volume_set_refused(c->volume, NULL);
	log_info(c->node->log, LOG_VOLUME, "volume made", LOG_TEXT("volume", c->name),
		 LOG_TEXT("engine", c->volume->engine), LOG_TEXT("folder", c->volume->folder));
	volume_change_done(c);
}

static void create_opened(struct loop_task *t)
{
	struct volume_change *c = (struct volume_change *)((char *)t - offsetof(struct volume_change, back));

	if (c->error.code) {
		volume_create_failed(c);
		return;
	}
	c->write.done = create_written;
	volume_row_write(c, CAIRN_OP_PUT);
}

/* In a worker: the folder and the engine, unless they are there already. */
static void create_open(struct pool_task *work)
{
	struct volume_change *c =
		(struct volume_change *)((char *)work - offsetof(struct volume_change, work));

	if (c->engine_ready || volume_folder_make(c, c->volume->folder, &c->error) == CAIRN_OK)
		c->error.code = volume_open_shard(c->volume, false, c->engine_ready, &c->error);
	c->back.run = create_opened;
	loop_post(c->node->loop, &c->back);
}

const char *volume_durable_engine(struct node *n, struct cairn_error *why)
{
	static const char *const names[] = { "bitcask", "leveldb" };
	const struct plugin *p;

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (!loader_get(n->loader, PLUGIN_ENGINE, names[i], &p, why))
			return names[i];
	return NULL;
}

/* The engine that new volumes get when nobody names one. */
static void default_engine(struct node *n, char *engine, size_t size)
{
	const char *given = setting_text(n->settings, SETTING_VOLUME_ENGINE);
	struct cairn_error why;

	if (!*given)
		given = volume_durable_engine(n, &why);
	if (!given) {
		log_warn(n->log, LOG_VOLUME,
			 "no durable engine: new volumes live in memory and end with the daemon",
			 LOG_TEXT("reason", why.message));
		given = "memory";
	}
	snprintf(engine, size, "%s", given);
}

static enum cairn_code check_name(const char *name, struct cairn_error *error)
{
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

	if (n > 0 && n <= VOLUME_NAME_MAX && !name[n] && !strchr("._-", name[0]))
		return CAIRN_OK;
	return cairn_fail(error, CAIRN_E_INVALID,
			  "'%s' is no name for a volume: 1 to %d letters, digits, '.', '_' or '-', a letter "
			  "or digit first",
			  name, VOLUME_NAME_MAX);
}

static enum cairn_code prepare(struct volume_change *c)
{
	enum cairn_code code = check_name(c->name, &c->error);
	struct volume *v;
	char engine[sizeof(c->engine)], id[17];

	if (code)
		return code;
	if (strchr(c->engine, '/') && c->engine[0] != '/')
		return cairn_fail(&c->error, CAIRN_E_INVALID,
				  "volume %s: the engine's path must be absolute, not %s", c->name,
				  c->engine);
	default_engine(c->node, engine, sizeof(engine));
	v = volume_new(c->node, c->name);
	if (!v || !volume_collect_parameters(v, c, !*c->engine || !strcmp(c->engine, engine))) {
		if (v)
			volume_free(v);
		return cairn_fail(&c->error, CAIRN_E_INTERNAL, "volume %s: no memory", c->name);
	}
	snprintf(v->engine, sizeof(v->engine), "%s", *c->engine ? c->engine : engine);
	snprintf(v->replication, sizeof(v->replication), "%s",
		 *c->replication ? c->replication
				 : setting_text(c->node->settings, SETTING_VOLUME_REPLICATION));
	if (c->node->cluster) {
		if (!*c->replication && !strcmp(v->replication, "none"))
			snprintf(v->replication, sizeof(v->replication), "raft");
		v->members_len = cluster_members(c->node->cluster, v->members);
		if (!strcmp(v->replication, "none")) {
			volume_free(v);
			return cairn_fail(&c->error, CAIRN_E_UNSUPPORTED,
					  "volume %s: in a cluster every volume is replicated", c->name);
		}
	}
	hex_random(id, 8);
	snprintf(v->folder, sizeof(v->folder), "%s-%s", v->name, id);
	cairn_fail(&v->refused, CAIRN_E_UNAVAILABLE, "volume %s is being made", v->name);
	if (!volume_list(c->node->volumes, v)) {
		volume_free(v);
		return cairn_fail(&c->error, CAIRN_E_EXISTS, "volume %s is there already", c->name);
	}
	c->volume = v;
	c->fresh = true;
	return CAIRN_OK;
}

enum cairn_code volume_begin(struct volume_change *c)
{
	c->error = (struct cairn_error){ 0 };
	return prepare(c);
}

void volume_create(struct volume_change *c)
{
	if (volume_begin(c)) {
		c->done(c);
		return;
	}
	volume_complete(c);
}

enum cairn_code volume_fill(struct volume_change *c, struct engine *e, struct cairn_error *error)
{
	char path[4096];
	const struct volume *v = c->instead ? c->instead : c->volume;
	bool own = c->instead && !strcmp(c->instead->folder, c->volume->folder);
	enum cairn_code code = own ? CAIRN_OK : volume_folder_make(c, v->folder, error);

	if (!code && c->instead && !own)
		volume_folder_pending(c->node->volumes, c->volume->folder, true);
	snprintf(path, sizeof(path), "%s/%s", c->node->volumes->path, v->folder);
	return code ? code : volume_engine(v, path, e, error);
}

void volume_complete(struct volume_change *c)
{
	if (c->instead) {
		c->job.run = volume_refill_now;
		shard_exclusive(c->volume->shard, &c->job);
		return;
	}
	c->work.run = create_open;
	pool_post(c->node->pool, &c->work);
}

void volume_abandon(struct volume_change *c)
{
	if (c->instead)
		volume_flush_failed(c);
	else
		volume_create_failed(c);
}

void volume_forget(struct volume_change *c)
{
	if (c->instead)
		volume_free(c->instead);
}

/* --- dropping one --- */

static void removed(struct loop_task *t)
{
	struct volume_change *c = (struct volume_change *)((char *)t - offsetof(struct volume_change, back));

	volume_free(c->volume);
	volume_change_done(c);
}

/* In a worker: the volume is closed, its files go. What cannot be removed now goes with the next start. */
void volume_remove_folder(struct pool_task *work)
{
	struct volume_change *c =
		(struct volume_change *)((char *)work - offsetof(struct volume_change, work));
	struct journal *j = c->node->journal;
	struct journal_shard *log = j ? journal_attach(j, shard_id(c->volume->folder)) : NULL;
	int r = volume_folder_drop(c->node->volumes, c->volume->folder);

	if (log)
		journal_drop(log);
	if (r < 0)
		log_warn(c->node->log, LOG_VOLUME, "a folder cannot be removed now, the next start will",
			 LOG_TEXT("folder", c->volume->folder), LOG_TEXT("reason", strerror(-r)));
	c->back.run = removed;
	loop_post(c->node->loop, &c->back);
}

static void drop_written(struct shard_write *w)
{
	struct volume_change *c = (struct volume_change *)((char *)w - offsetof(struct volume_change, write));
	struct volume *v = c->volume;

	if (w->error.code) {
		c->error = w->error;
		if (w->error.code != CAIRN_E_UNKNOWN) /* else the next start sees what became of it */
			volume_folder_pending(c->node->volumes, v->folder, false);
		volume_set_refused(v, v->shard ? NULL : &w->error);
		volume_change_done(c);
		return;
	}
	log_info(c->node->log, LOG_VOLUME, "volume dropped", LOG_TEXT("volume", v->name),
		 LOG_TEXT("folder", v->folder));
	volume_unlist(c->node->volumes, v);
	v->change = c;
	if (v->shard)
		store_feed_end(shard_store(v->shard), &v->refused, NULL);
	volume_put(v);
}

static void drop_marked(struct loop_task *t)
{
	struct volume_change *c = (struct volume_change *)((char *)t - offsetof(struct volume_change, back));

	c->write.done = drop_written;
	volume_row_write(c, CAIRN_OP_DELETE);
}

static void drop_mark(struct pool_task *work)
{
	struct volume_change *c =
		(struct volume_change *)((char *)work - offsetof(struct volume_change, work));
	int r = volume_folder_pending(c->node->volumes, c->volume->folder, true);

	if (r < 0) /* on a full or broken disk: the files may stay, the volume goes */
		log_warn(c->node->log, LOG_VOLUME, "a folder cannot be marked for removal",
			 LOG_TEXT("folder", c->volume->folder), LOG_TEXT("reason", strerror(-r)));
	c->back.run = drop_marked;
	loop_post(c->node->loop, &c->back);
}

/*
 * The volume that C names becomes C->volume, and answers that it is being WHAT from now on. SERVING: only one
 * that is served. Else C->error.
 */
enum cairn_code volume_mark_changing(struct volume_change *c, const char *what, bool serving)
{
	struct volumes *t = c->node->volumes;
	enum cairn_code code = check_name(c->name, &c->error);
	struct volume *v;

	if (code)
		return code;
	c->error = (struct cairn_error){ 0 };
	pthread_mutex_lock(&t->lock);
	v = volume_listed(t, cairn_str(c->name));
	if (!v)
		code = volume_not_found(t, cairn_str(c->name), &c->error);
	else if (v->refused.code == CAIRN_E_UNAVAILABLE || (serving && v->refused.code))
		code = cairn_fail(&c->error, v->refused.code, "%s", v->refused.message);
	else
		cairn_fail(&v->refused, CAIRN_E_UNAVAILABLE, "volume %s is being %s", v->name, what);
	pthread_mutex_unlock(&t->lock);
	c->volume = v;
	return code;
}

void volume_drop(struct volume_change *c)
{
	if (volume_mark_changing(c, "dropped", false)) {
		c->done(c);
		return;
	}
	c->work.run = drop_mark;
	pool_post(c->node->pool, &c->work);
}
