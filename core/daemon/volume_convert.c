/*
 * Converting: a volume moves to another engine, or to other parameters of its engine, while it serves. A
 * worker fills a new engine beside the old one (store/convert.c); then, between two commands, the new one
 * takes its place, and the row of the system volume says so.
 *
 * What fails before that leaves the volume as it was, and nothing of the new engine. After a crash the row
 * says which of the two folders counts, and the other one goes.
 */
#include <stdlib.h>
#include <string.h>
#include "engine.h"
#include "files.h"
#include "volumes.h"
#include "banned.h"

#define OF(member, p) ((struct volume_change *)((char *)(p)-offsetof(struct volume_change, member)))

static void folder_gone(struct volume_change *c)
{
	free(c);
}

static void failed(struct volume_change *c)
{
	struct volume *v = c->volume;

	if (c->engine_new.handle)
		engine_close(&c->engine_new);
	volume_folder_drop(c->node->volumes, c->instead->folder);
	volume_folder_pending(c->node->volumes, v->folder, false);
	volume_free(c->instead);
	volume_put(v);
	volume_change_done(c);
}

static void end(struct volume_change *c)
{
	struct volume *old = c->volume, *n = c->instead;
	struct volume_change *gone = calloc(1, sizeof(*gone));

	volume_take_place(old, n);
	if (gone) { /* without memory for it the next start removes the folder */
		*gone = (struct volume_change){ .node = c->node, .volume = old, .done = folder_gone };
		old->change = gone;
	}
	volume_folder_pending(c->node->volumes, n->folder, false);
	log_info(c->node->log, LOG_VOLUME, "volume converted", LOG_TEXT("volume", n->name),
		 LOG_TEXT("from", old->engine), LOG_TEXT("to", n->engine),
		 LOG_NUMBER("revision", c->revision));
	volume_put(old); /* the table's use, and ours */
	volume_put(old);
	volume_change_done(c);
}

static void written(struct shard_write *w)
{
	struct volume_change *c = OF(write, w);
	struct volume *n = c->volume;

	c->volume = c->instead;
	c->instead = n;
	if (!w->error.code) {
		end(c);
		return;
	}
	/* Whether the row names the old folder or the new one is seen at the next start; both are there until
	 * then. */
	c->error = w->error;
	cairn_hint(&c->error, "cairnd must be started again before the volume can be used");
	volume_set_refused(c->volume, &c->error);
	volume_put(n);
	volume_put(c->volume);
	volume_change_done(c);
}

static void opened(struct loop_task *t)
{
	struct volume_change *c = OF(back, t);
	struct volume *n = c->instead;

	if (c->error.code) {
		failed(c);
		return;
	}
	c->instead = c->volume;
	c->volume = n;
	c->write.done = written;
	volume_row_write(c, CAIRN_OP_PUT);
}

static void give_up(struct volume_change *c)
{
	store_convert_close(c->convert);
	c->convert = NULL;
	c->back.run = opened;
	loop_post(c->node->loop, &c->back);
}

static void keep(void *arg, const struct store_command *commands, size_t count)
{
	struct volume_change *c = arg;

	store_convert_keep(c->convert, commands, count);
}

/* Whether the volume is still what it was when this began; nobody else changes it from here on. */
static bool claim(struct volume_change *c)
{
	struct volumes *t = c->node->volumes;
	struct volume *v = c->volume;
	bool good;

	pthread_mutex_lock(&t->lock);
	good = volume_listed(t, cairn_str(c->name)) == v && !v->refused.code;
	if (good)
		cairn_fail(&v->refused, CAIRN_E_UNAVAILABLE, "volume %s is being converted", v->name);
	pthread_mutex_unlock(&t->lock);
	if (!good)
		c->error.code = cairn_fail(&c->error, CAIRN_E_CONFLICT,
					   "volume %s was changed by somebody else meanwhile", c->name);
	return good;
}

/* In a worker, while nothing is applied: the last commands, the comparison, the new shard. */
static void change_over(struct shard_job *job, struct shard *s)
{
	struct volume_change *c = OF(job, job);
	enum cairn_code code = c->error.code;

	shard_tap(s, NULL, NULL);
	if (!code)
		code = shard_health(s, &c->error);
	if (!code)
		code = store_convert_finish(c->convert, &c->error);
	store_convert_close(c->convert);
	c->convert = NULL;
	c->error.code = code;
	if (!code && claim(c)) {
		code = volume_open_shard(c->instead, false, &c->engine_new, &c->error);
		if (!code)
			volume_retire(c, s, "converted", false);
		else
			volume_set_refused(c->volume, NULL);
		c->error.code = code;
	}
	give_up(c);
}

static void copy(struct pool_task *work)
{
	struct volume_change *c = OF(work, work);

	c->error.code = store_convert_copy(c->convert, &c->error);
	c->job.run = change_over; /* in any case: the tap ends there */
	shard_exclusive(c->volume->shard, &c->job);
}

/* While nothing is applied. */
static void begin(struct shard_job *job, struct shard *s)
{
	struct volume_change *c = OF(job, job);
	enum cairn_code code = shard_health(s, &c->error);

	if (!code)
		code = store_convert_open(&c->convert, shard_store(s), &c->engine_new, &c->settings,
					  &c->progress, &c->error);
	c->error.code = code;
	if (code) {
		give_up(c);
		return;
	}
	shard_tap(s, keep, c);
	c->work.run = copy;
	pool_post(c->node->pool, &c->work);
}

static void prepare(struct pool_task *work)
{
	struct volume_change *c = OF(work, work);

	c->error.code = volume_settings(c->instead, &c->settings, &c->error);
	if (!c->error.code)
		c->error.code = volume_fill(c, &c->engine_new, &c->error);
	if (c->error.code) {
		give_up(c);
		return;
	}
	c->job.run = begin;
	shard_exclusive(c->volume->shard, &c->job);
}

/* What takes the place of C->volume. */
static enum cairn_code make_instead(struct volume_change *c)
{
	struct volume *v = c->volume, *n;
	const struct plugin *p;
	enum cairn_code code;
	char id[17];

	if (!*c->engine || (strchr(c->engine, '/') && c->engine[0] != '/'))
		return cairn_fail(&c->error, CAIRN_E_INVALID,
				  "volume %s: convert needs the name of an engine or an absolute path",
				  c->name);
	code = loader_get(c->node->loader, PLUGIN_ENGINE, c->engine, &p, &c->error);
	if (code)
		return code;
	if (shard_is_kept(v->shard) && !(p->engine->caps & CAIRN_ENGINE_DURABLE)) {
		cairn_fail(&c->error, CAIRN_E_UNSUPPORTED,
			   "volume %s: engine %s does not keep what it is given", c->name, c->engine);
		cairn_hint(&c->error,
			   "'cairn snapshot save' and 'restore --volume NEW --engine %s' make a copy there",
			   c->engine);
		return CAIRN_E_UNSUPPORTED;
	}
	n = volume_new(c->node, c->name);
	if (!n || !volume_inherit_parameters(n, v, c)) {
		if (n)
			volume_free(n);
		return cairn_fail(&c->error, CAIRN_E_INTERNAL, "volume %s: no memory", c->name);
	}
	hex_random(id, 8);
	snprintf(n->engine, sizeof(n->engine), "%s", c->engine);
	snprintf(n->folder, sizeof(n->folder), "%s-%s", c->name, id);
	memcpy(n->replication, v->replication, sizeof(n->replication));
	c->instead = n;
	return CAIRN_OK;
}

void volume_convert(struct volume_change *c)
{
	enum cairn_code code = volume_get(c->node, cairn_str(c->name), &c->volume, &c->error);

	if (!code && c->volume == c->node->volumes->system)
		code = cairn_fail(&c->error, CAIRN_E_DENIED, "the volume %s stays as it is", c->name);
	else if (!code && shard_asks(c->volume->shard))
		code = cairn_fail(&c->error, CAIRN_E_UNSUPPORTED,
				  "volume %s is replicated and cannot be converted yet", c->name);
	else if (!code)
		code = make_instead(c);
	c->error.code = code;
	if (code) {
		if (c->volume)
			volume_put(c->volume);
		c->done(c);
		return;
	}
	c->work.run = prepare;
	pool_post(c->node->pool, &c->work);
}
