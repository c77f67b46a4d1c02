/*
 * Flushing and restoring: another volume, empty or filled beforehand, takes the place of one that serves,
 * between two commands. What fails before the old shard is retired leaves it serving; after that the row of
 * the system volume says at the next start which of the two folders counts.
 */
#include <stdlib.h>
#include <string.h>
#include "engine.h"
#include "feed.h"
#include "files.h"
#include "snapshot.h"
#include "volumes.h"
#include "banned.h"

static void folder_gone(struct volume_change *c)
{
	free(c);
}

/* The new volume serves; the old one goes when its last holder has let go of it, and its folder with it. */
static void flush_end(struct volume_change *c)
{
	struct volume *old = c->volume, *n = c->instead;
	struct volume_change *gone = shard_is_kept(old->shard) ? calloc(1, sizeof(*gone)) : NULL;

	volume_take_place(old, n);
	if (gone) { /* without memory for it the next start removes the folder */
		*gone = (struct volume_change){ .node = c->node, .volume = old, .done = folder_gone };
		old->change = gone;
		volume_folder_pending(c->node->volumes, n->folder, false);
	}
	log_info(c->node->log, LOG_VOLUME, "volume flushed or restored", LOG_TEXT("volume", n->name),
		 LOG_NUMBER("revision", c->revision));
	volume_put(old);
	volume_change_done(c);
}

/* Nothing came of it before the old shard was retired: it serves on. */
void volume_flush_failed(struct volume_change *c)
{
	struct volume *old = c->volume, *n = c->instead;

	if (c->engine_new.handle)
		engine_close(&c->engine_new);
	if (strcmp(n->folder, old->folder) != 0)
		volume_folder_drop(c->node->volumes, n->folder);
	volume_free(n);
	volume_set_refused(old, NULL);
	volume_change_done(c);
}

static void flush_written(struct shard_write *w)
{
	struct volume_change *c = (struct volume_change *)((char *)w - offsetof(struct volume_change, write));
	struct volume *n = c->volume;

	c->volume = c->instead;
	c->instead = n;
	if (!w->error.code) {
		flush_end(c);
		return;
	}
	/* Whether the row names the old folder or the new one is seen at the next start; both are there until
	 * then. */
	c->error = w->error;
	cairn_hint(&c->error, "cairnd must be started again before the volume can be used");
	volume_set_refused(c->volume, &c->error);
	volume_put(n);
	volume_change_done(c);
}

static void flush_opened(struct loop_task *t)
{
	struct volume_change *c = (struct volume_change *)((char *)t - offsetof(struct volume_change, back));
	struct volume *n = c->instead;

	if (c->error.code) {
		volume_flush_failed(c);
	} else if (!shard_is_kept(c->volume->shard)) {
		flush_end(c);
	} else { /* the row says which folder counts: from here on it is the new one */
		c->instead = c->volume;
		c->volume = n;
		c->write.done = flush_written;
		volume_row_write(c, CAIRN_OP_PUT);
	}
}

void volume_retire(struct volume_change *c, struct shard *s, const char *what, bool flush)
{
	struct cairn_error why, gone;
	struct store_facts facts;
	struct store_event event = { .flags = EVENT_FLUSH, .change = CHANGE_FLUSH };

	store_facts(shard_store(c->instead->shard), &facts);
	c->revision = facts.revision;
	cairn_fail(&why, CAIRN_E_UNAVAILABLE, "volume %s was being %s", c->volume->name, what);
	shard_retire(s, &why);
	event.revision = facts.revision;
	event.time_ns = facts.clock_ns;
	event.file_id = shard_incarnation(c->instead->shard);
	cairn_fail(&gone, CAIRN_E_UNAVAILABLE, "volume %s was %s", c->volume->name, what);
	store_feed_end(shard_store(s), &gone, flush ? &event : NULL);
}

/* In a worker, while nothing is applied. */
static void flush_now(struct shard_job *job, struct shard *s)
{
	struct volume_change *c = (struct volume_change *)((char *)job - offsetof(struct volume_change, job));
	enum cairn_code code = shard_health(s, &c->error);

	if (!code)
		code = store_flush_into(shard_store(s), &c->engine_new, &c->error);
	if (!code)
		code = volume_open_shard(c->instead, false, &c->engine_new, &c->error);
	if (!code)
		volume_retire(c, s, "flushed", true);
	c->error.code = code;
	c->back.run = flush_opened;
	loop_post(c->node->loop, &c->back);
}

/* The same for a volume that is restored: its new engine is full, and it must still be empty. */
void volume_refill_now(struct shard_job *job, struct shard *s)
{
	struct volume_change *c = (struct volume_change *)((char *)job - offsetof(struct volume_change, job));
	enum cairn_code code = shard_health(s, &c->error);
	struct store_facts facts;

	store_facts(shard_store(s), &facts);
	if (!code && facts.keys)
		code = cairn_fail(&c->error, CAIRN_E_CONFLICT, "volume %s is not empty any more", c->name);
	if (!code)
		code = volume_open_shard(c->instead, false, c->engine_ready, &c->error);
	else
		engine_close(c->engine_ready);
	c->engine_ready->handle = NULL;
	if (!code)
		volume_retire(c, s, "restored", false);
	c->error.code = code;
	c->back.run = flush_opened;
	loop_post(c->node->loop, &c->back);
}

/* In a worker: the new folder and its engine. */
static void flush_prepare(struct pool_task *work)
{
	struct volume_change *c =
		(struct volume_change *)((char *)work - offsetof(struct volume_change, work));

	c->error.code = volume_fill(c, &c->engine_new, &c->error);
	if (!c->error.code) {
		c->job.run = flush_now;
		shard_exclusive(c->volume->shard, &c->job);
		return;
	}
	c->back.run = flush_opened;
	loop_post(c->node->loop, &c->back);
}

/* The volume that C names is being WHAT, and c->instead will take its place. */
static enum cairn_code begin_instead(struct volume_change *c, const char *what)
{
	enum cairn_code code = volume_mark_changing(c, what, true);
	char id[17];

	if (code)
		return code;
	if (c->volume->shard && shard_asks(c->volume->shard)) {
		volume_set_refused(c->volume, NULL);
		cairn_fail(&c->error, CAIRN_E_UNSUPPORTED, "volume %s is replicated and cannot be %s yet",
			   c->name, what);
		return CAIRN_E_UNSUPPORTED;
	}
	c->instead = volume_like(c->volume);
	if (!c->instead) {
		volume_set_refused(c->volume, NULL);
		return cairn_fail(&c->error, CAIRN_E_INTERNAL, "volume %s: no memory", c->name);
	}
	hex_random(id, 8);
	if (shard_is_kept(c->volume->shard))
		snprintf(c->instead->folder, sizeof(c->instead->folder), "%s-%s", c->name, id);
	return CAIRN_OK;
}

enum cairn_code volume_begin_empty(struct volume_change *c)
{
	struct volume *v;
	struct store_facts facts = { 0 };
	enum cairn_code code = volume_get(c->node, cairn_str(c->name), &v, &c->error);

	if (code)
		return code;
	store_facts(shard_store(v->shard), &facts);
	if (facts.keys)
		code = cairn_fail(&c->error, CAIRN_E_EXISTS, "volume %s is there already, and has %llu keys",
				  c->name, (unsigned long long)facts.keys);
	else if (*c->engine && strcmp(c->engine, v->engine) != 0)
		code = cairn_fail(&c->error, CAIRN_E_EXISTS, "volume %s is there already, on engine %s",
				  c->name, v->engine);
	volume_put(v);
	return code ? code : begin_instead(c, "restored");
}

void volume_flush(struct volume_change *c)
{
	if (begin_instead(c, "flushed")) {
		c->done(c);
		return;
	}
	c->work.run = flush_prepare;
	pool_post(c->node->pool, &c->work);
}
