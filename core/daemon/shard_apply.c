/*
 * The apply flag. Its holder writes what was committed as one engine batch with one sync: in the same thread
 * where the engine never waits and the commands are small, else in a worker, so that the loop goes on reading
 * while the disk syncs. Where there is no room for a batch, its commands are tried one by one.
 */
#include <errno.h>
#include <stdlib.h>
#include "shard_inside.h"
#include "banned.h"

#define APPLY_BYTES (8u << 20)  /* of one engine batch */
#define SMALL_BYTES (16u << 10) /* a command up to here may be applied in a loop */

/* With the lock: what fits one engine batch, off the queue. */
static struct shard_write *take_batch(struct shard *s)
{
	struct shard_write *first = s->committed, **last = &s->committed;
	size_t bytes = 0, count = 0;

	for (; *last && count < APPLY_MAX && bytes < APPLY_BYTES; last = &(*last)->next, count++)
		bytes += (*last)->command.len;
	if (first) {
		s->committed = *last;
		if (!s->committed)
			s->committed_last = &s->committed;
		*last = NULL;
	}
	return first;
}

/* Take *JOB (which stays on its list where this is no WORKER), or a batch off the queue; where there is
 * nothing, the apply flag is given back. */
static struct shard_write *take_committed(struct shard *s, bool worker, struct shard_job **job)
{
	struct shard_write *first = NULL;

	pthread_mutex_lock(&s->lock);
	*job = s->jobs;
	if (*job && worker)
		s->jobs = (*job)->next;
	if (!*job)
		first = take_batch(s);
	if (!*job && !first)
		s->applying = false;
	pthread_mutex_unlock(&s->lock);
	return first;
}

/* Hand BATCH to the store as one engine batch with one sync. */
static enum cairn_code apply_commands(struct shard *s, struct shard_write *batch, struct cairn_error *error)
{
	size_t n = 0;

	for (struct shard_write *w = batch; w; w = w->next) {
		if (!w->mute)
			cairn_msg_start(&w->answer, 0);
		s->commands[n++] = (struct store_command){ .position = w->place,
							   .message = cairn_msg_slice(&w->command),
							   .answer = w->mute ? NULL : &w->answer,
							   .error = &w->error };
	}
	return store_apply(s->store, s->commands, n, s->sync && !s->journal, error);
}

static size_t batch_count(const struct shard_write *batch)
{
	size_t n = 0;

	for (; batch; batch = batch->next)
		n++;
	return n;
}

/* BATCH is in: answer it. */
static void complete_batch(struct shard *s, struct shard_write *batch)
{
	for (size_t i = 0; batch; i++) {
		struct shard_write *w = batch;

		s->applied = w->place.index;
		batch = w->next;
		w->error.code = s->commands[i].code;
		shard_complete(w);
	}
}

/* Apply BATCH and answer it. Where there is no room for all of it, one by one: what frees room still
 * succeeds. */
static void apply_batch(struct shard *s, struct shard_write *batch)
{
	struct cairn_error error = { 0 };
	enum cairn_code code = apply_commands(s, batch, &error);

	if (code == CAIRN_E_FULL && s->checkpoints) { /* the journal has it: it cannot be left out any more */
		code = CAIRN_E_UNAVAILABLE;
		cairn_hint(&error, "a volume that is kept takes a quota, and no limit of its engine");
	}
	if (code == CAIRN_E_FULL && batch->next) {
		while (batch) {
			struct shard_write *w = batch;

			batch = w->next;
			w->next = NULL;
			if (shard_health(s, &error))
				shard_refuse(w, &error);
			else
				apply_batch(s, w);
		}
	} else if (code == CAIRN_E_FULL) {
		shard_note_full(s, &error);
		cairn_error_prefix(&error,
				   "volume %s on node %s takes no writes, and this one did not happen",
				   s->name, s->node->name);
		shard_refuse(batch, &error);
	} else if (code) {
		error.code = code;
		shard_stop(s, &error);
		shard_fail_batch(batch, &error);
	} else {
		if (s->full.code && !s->no_room)
			shard_note_full(s, NULL);
		if (s->tap)
			s->tap(s->tap_arg, s->commands, batch_count(batch));
		complete_batch(s, batch);
		if (store_due_ns(s->store) < s->due_ns) {
			s->due_ns = 0;
			volumes_tick_soon(s->node);
		}
	}
}

static bool has_committed(struct shard *s)
{
	bool has;

	pthread_mutex_lock(&s->lock);
	has = s->committed || s->jobs;
	pthread_mutex_unlock(&s->lock);
	return has;
}

/* With the apply flag: do what is committed until nothing is left, then give the flag back. In a WORKER
 * history is reclaimed in between, and jobs are run; elsewhere a worker is sent for them, with the flag. */
static void apply_all(struct shard *s, bool worker)
{
	struct shard_write *batch;
	struct shard_job *job;
	struct cairn_error why;

	while ((batch = take_committed(s, worker, &job)) || job) {
		if (job && !worker) {
			shard_apply_in_worker(s);
			return;
		}
		if (job) {
			job->run(job, s);
			continue;
		}
		if (worker)
			shard_hold_back(s);
		if (!shard_health(s, &why)) {
			apply_batch(s, batch);
			shard_maybe_flush(s);
			if (worker) {
				shard_reclaim(s);
				shard_upkeep_applying(s);
			}
			continue;
		}
		if (s->journal) { /* that has it, and gives it back when the shard is opened again */
			shard_fail_batch(batch, &why);
			continue;
		}
		while (batch) { /* committed, but the engine has seen nothing of it */
			struct shard_write *w = batch;

			batch = w->next;
			shard_refuse(w, &why);
		}
	}
}

static void apply_task(struct pool_task *t)
{
	struct shard *s = (struct shard *)((char *)t - offsetof(struct shard, task));

	bool more;

	do {
		more = shard_reclaim(s);
		more = shard_upkeep_applying(s) || more;
	} while (more && !has_committed(s));
	apply_all(s, true);
	shard_try_step(s, NULL); /* the module learns what was applied */
	shard_let_go(s);
}

void shard_apply_in_worker(struct shard *s)
{
	shard_use(s);
	s->task.run = apply_task;
	pool_post(s->node->pool, &s->task);
}

void shard_exclusive(struct shard *s, struct shard_job *job)
{
	bool mine;

	pthread_mutex_lock(&s->lock);
	job->next = s->jobs;
	s->jobs = job;
	mine = !s->applying;
	s->applying = true;
	pthread_mutex_unlock(&s->lock);
	if (mine)
		shard_apply_in_worker(s);
}

/* Whether the operation OP may touch many rows. */
static bool is_bulk(unsigned op)
{
	return op == CAIRN_OP_MOVE_PREFIX || op == CAIRN_OP_COPY_PREFIX || op == CAIRN_OP_DELETE_PREFIX ||
		op == CAIRN_OP_REVERT || op == CAIRN_OP_UNSTAGE || op == CAIRN_OP_REVERT_PREFIX ||
		op == CAIRN_OP_PURGE;
}

/* Whether W costs little and about the same whatever the store holds. */
static bool is_small(const struct shard_write *w)
{
	struct cairn_slice rest, body;
	unsigned op = cairn_message_number(cairn_msg_slice(&w->command)), field;

	if (w->command.len > SMALL_BYTES || is_bulk(op))
		return false;
	rest = cairn_message_fields(cairn_msg_slice(&w->command));
	while (op == CAIRN_OP_TXN && cairn_field_next(&rest, &field, &body) == 0 && field) {
		unsigned inner =
			field == CAIRN_F_THEN || field == CAIRN_F_ELSE ? cairn_message_number(body) : 0;

		if (is_bulk(inner))
			return false;
	}
	return true;
}

void shard_start_apply(struct shard *s)
{
	bool here = s->in_loop || (s->lone && !shard_holds_much(s)), mine;

	pthread_mutex_lock(&s->lock);
	mine = s->committed && !s->applying;
	if (mine)
		s->applying = true;
	for (struct shard_write *w = s->committed; mine && here && w; w = w->next)
		here = is_small(w);
	pthread_mutex_unlock(&s->lock);
	if (!mine)
		return;
	s->lone = false;
	if (here) {
		apply_all(s, false);
		return;
	}
	shard_apply_in_worker(s);
}
