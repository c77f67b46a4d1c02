/*
 * check, compact, flush and convert: what takes as long as a volume is large. A worker does it; meanwhile the
 * volume serves on (while it is compacted: reads only). Check and convert tell twice a second how far they
 * are.
 */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include "operation.h"
#include "banned.h"

#define TELL_MS 500
#define LOCAL(type, member, p) ((type *)((char *)(p)-offsetof(type, member)))

static struct shard *only_shard(struct volume *v)
{
	return volume_shard(v, cairn_slice(NULL, 0));
}

static void add_digest(struct cairn_msg *m, const struct store_facts *f)
{
	char text[33];

	for (int i = 0; i < 16; i++)
		snprintf(text + 2 * i, 3, "%02x", f->digest[i]);
	cairn_msg_text(m, CAIRN_F_DIGEST, text);
}

/* --- check --- */

struct check {
	struct store_progress progress;
	struct loop_timer *tick;
};

static void check_end(struct loop_task *t)
{
	struct call *c = LOCAL(struct call, back, t);
	struct check *k = c->priv;

	cairn_msg_start(&c->answer, 0);
	cairn_msg_u64(&c->answer, CAIRN_F_COUNT, k->progress.rows);
	cairn_msg_u64(&c->answer, CAIRN_F_KEYS, k->progress.facts.keys);
	cairn_msg_u64(&c->answer, CAIRN_F_BYTES, k->progress.facts.bytes);
	cairn_msg_u64(&c->answer, CAIRN_F_REVISION, k->progress.facts.revision);
	cairn_msg_u64(&c->answer, CAIRN_F_APPLIED, k->progress.facts.position.index);
	add_digest(&c->answer, &k->progress.facts);
	loop_timer_free(k->tick);
	free(k);
	call_done(c);
}

static void check_work(struct pool_task *t)
{
	struct call *c = LOCAL(struct call, work, t);
	struct check *k = c->priv;

	if (store_check_progress(shard_store(only_shard(c->volume)), &k->progress, &c->error))
		cairn_error_prefix(&c->error, "volume %s", c->volume->name);
	c->back.run = check_end;
	loop_post(c->loop, &c->back);
}

/* What was told has been sent, or nobody listens any more. */
static void check_resume(struct call *c)
{
	struct check *k = c->priv;

	if (c->cancelled)
		k->progress.stop = true;
	else
		loop_timer_set(k->tick, TELL_MS);
}

static void check_tell(void *arg)
{
	struct call *c = arg;
	struct check *k = c->priv;

	if (c->cancelled) {
		k->progress.stop = true;
		return;
	}
	cairn_msg_start(&c->answer, 0);
	cairn_msg_u64(&c->answer, CAIRN_F_COUNT, k->progress.rows);
	cairn_msg_u64(&c->answer, CAIRN_F_LENGTH, k->progress.bytes);
	if (c->event(c))
		loop_timer_set(k->tick, TELL_MS);
}

void op_check(struct call *c)
{
	struct check *k = calloc(1, sizeof(*k));
	const struct engine *e = shard_engine(only_shard(c->volume));

	if (!(e->ops.caps & CAIRN_ENGINE_SNAPSHOT)) {
		free(k);
		call_fail(c, CAIRN_E_UNSUPPORTED,
			  "the engine %s has no snapshots, and so cannot be checked while it serves",
			  e->ops.name);
		return;
	}
	if (!k || !c->keep(c) || loop_timer_new(c->loop, check_tell, c, &k->tick) < 0) {
		free(k);
		call_fail(c, CAIRN_E_INTERNAL, "out of memory");
		return;
	}
	c->priv = k;
	c->resume = check_resume;
	loop_timer_set(k->tick, TELL_MS);
	c->work.run = check_work;
	pool_post(c->node->pool, &c->work);
}

/* --- compact --- */

struct compact {
	struct shard_job job;
	struct call *call;
	uint64_t before, after; /* bytes */
};

/* What the engine takes: all that it says in bytes of disk or memory. */
static void add_bytes(void *arg, const char *name, const char *unit, uint64_t value)
{
	uint64_t *sum = arg;

	(void)unit;
	if (!strcmp(name, "table-bytes") || !strcmp(name, "log-bytes") || !strcmp(name, "disk-bytes"))
		*sum += value;
}

static void add_memory(void *arg, const char *name, const char *unit, uint64_t value)
{
	(void)unit;
	if (!strcmp(name, "memory"))
		*(uint64_t *)arg += value;
}

static uint64_t engine_bytes(const struct engine *e)
{
	uint64_t sum = 0;

	e->ops.stats(e->handle, e->ops.caps & CAIRN_ENGINE_DURABLE ? add_bytes : add_memory, &sum);
	return sum;
}

static void compact_end(struct loop_task *t)
{
	struct call *c = LOCAL(struct call, back, t);
	struct compact *k = c->priv;

	cairn_msg_u64(&c->answer, CAIRN_F_BEFORE, k->before);
	cairn_msg_u64(&c->answer, CAIRN_F_AFTER, k->after);
	free(k);
	call_done(c);
}

/* In a worker with the apply flag. */
static void compact_run(struct shard_job *job, struct shard *s)
{
	struct compact *k = LOCAL(struct compact, job, job);
	struct engine *e = shard_engine(s);
	struct call *c = k->call;
	int r;

	k->before = engine_bytes(e);
	r = e->ops.compact(e->handle, &c->error);
	k->after = engine_bytes(e);
	if (r < 0 && !c->error.code)
		cairn_fail(&c->error, cairn_error_from_errno(-r), "compacting engine %s: %s", e->ops.name,
			   c->error.message[0] ? c->error.message : strerror(-r));
	c->back.run = compact_end;
	loop_post(c->loop, &c->back);
}

void op_compact(struct call *c)
{
	struct compact *k = calloc(1, sizeof(*k));

	if (!k || !c->keep(c)) {
		free(k);
		call_fail(c, CAIRN_E_INTERNAL, "out of memory");
		return;
	}
	k->call = c;
	k->job.run = compact_run;
	c->priv = k;
	shard_exclusive(only_shard(c->volume), &k->job);
}

/* --- flush --- */

static void flushed(struct volume_change *v)
{
	struct call *c = v->arg;

	c->error = v->error;
	if (c->error.code == CAIRN_OK) {
		cairn_msg_text(&c->answer, CAIRN_F_NAME, v->name);
		cairn_msg_u64(&c->answer, CAIRN_F_REVISION, v->revision);
	}
	volume_change_free(v);
	call_done(c);
}

void op_flush(struct call *c)
{
	struct volume_change *v = volume_change_of(c);

	if (!v)
		return;
	v->arg = c;
	v->done = flushed;
	volume_flush(v);
}

/* --- convert --- */

struct conversion {
	struct volume_change *v;
	struct loop_timer *tick;
};

static void converted(struct volume_change *v)
{
	struct call *c = v->arg;
	struct conversion *k = c->priv;

	c->error = v->error;
	cairn_msg_start(&c->answer, 0);
	if (c->error.code == CAIRN_OK) {
		cairn_msg_text(&c->answer, CAIRN_F_NAME, v->name);
		cairn_msg_text(&c->answer, CAIRN_F_ENGINE, v->engine);
		cairn_msg_u64(&c->answer, CAIRN_F_COUNT, v->progress.rows);
		cairn_msg_u64(&c->answer, CAIRN_F_REVISION, v->revision);
	}
	loop_timer_free(k->tick);
	volume_change_free(v);
	free(k);
	call_done(c);
}

static void convert_resume(struct call *c)
{
	struct conversion *k = c->priv;

	if (c->cancelled)
		k->v->progress.stop = true;
	else
		loop_timer_set(k->tick, TELL_MS);
}

static void convert_tell(void *arg)
{
	struct call *c = arg;
	struct conversion *k = c->priv;

	if (c->cancelled) {
		k->v->progress.stop = true;
		return;
	}
	cairn_msg_start(&c->answer, 0);
	cairn_msg_u64(&c->answer, CAIRN_F_COUNT, k->v->progress.rows);
	cairn_msg_u64(&c->answer, CAIRN_F_LENGTH, k->v->progress.bytes);
	if (c->event(c))
		loop_timer_set(k->tick, TELL_MS);
}

void op_convert(struct call *c)
{
	struct volume_change *v = volume_change_of(c);
	struct conversion *k;

	if (!v)
		return;
	k = calloc(1, sizeof(*k));
	if (!k || !c->keep(c) || loop_timer_new(c->loop, convert_tell, c, &k->tick) < 0) {
		free(k);
		volume_change_free(v);
		call_fail(c, CAIRN_E_INTERNAL, "out of memory");
		return;
	}
	k->v = v;
	c->priv = k;
	c->resume = convert_resume;
	v->arg = c;
	v->done = converted;
	loop_timer_set(k->tick, TELL_MS);
	volume_convert(v);
}
