/*
 * The host of one replication instance and one store. Who hands in a write puts it on the inbox and tries to
 * take the step flag; with the flag it steps the module at the end of its turn, with everything that came
 * meanwhile as one joined batch of events. What the module commits goes to the apply queue; the holder of the
 * apply flag writes it as one engine batch with one sync: in the same thread where the engine never waits and
 * the commands are small, else in a worker, so that the loop goes on reading while the disk syncs.
 *
 * A failed engine write stops the shard, since nobody knows what of it is on disk: the batch ends as unknown,
 * later requests get the reason.
 *
 * Threads: the inbox is lock-free; what the step flag guards and what the apply flag guards stands on the
 * struct. A reference for each flag that is held keeps the shard until its thread has let go of it.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>
#include "checkpoint.h"
#include "clock.h"
#include "engine.h"
#include "feed.h"
#include "journal.h"
#include "le.h"
#include "overlay.h"
#include "pool.h"
#include "stamp.h"
#include "volume.h"
#include "banned.h"

#define STEP_MAX 256           /* events of one step */
#define STEP_NS 500000         /* longest time that a loop gives to a shard in one turn */
#define APPLY_MAX 256          /* commands of one engine batch */
#define APPLY_BYTES (8u << 20) /* and their bytes */
#define FLUSH_BYTES (4u << 20) /* the overlay is flushed when it holds this much */
#define FLUSH_NS 1000000000u   /* or this old */
#define LARGE_ROWS (16u << 10) /* where rows are so large, a quarter of it: joining them spares nothing */
#define HOLD_TIMES 2           /* and waited for when it holds so many times as much */
#define TICK_NS 1000000000u    /* the longest time between two ticks */
#define RETRY_NS \
	30000000000u         /* before another checkpoint where one failed: it takes room while it is tried */
#define FULL_NS 60000000000u /* how long the last refusal for want of room counts as a state */
#define UPKEEP_US 5000       /* one step of the engine's own upkeep */
#define UPKEEP_NS 500000000u /* most of it between two ticks */
#define SMALL_BYTES (16u << 10) /* a command up to here may be applied in a loop */

struct shard {
	struct node *node;
	char name[VOLUME_NAME_MAX + 1];
	char folder[4096];
	struct engine engine;
	struct store *store;
	const struct cairn_replication *module;
	void *instance;
	struct cairn_replication_host host;
	bool in_loop;         /* the engine never waits: small commands are applied by whoever steps */
	uint64_t incarnation; /* see shard.h */
	bool sync;            /* writes are on disk before they are answered: */
	struct journal_shard *journal; /* in the journal; NULL: in the engine */
	bool overlay;                  /* the engine is one, and is flushed later */
	bool checkpoints; /* the engine forgets, and the store is written into files now and then */
	_Atomic uint64_t checkpoint_after_ns; /* clock_boot_ns before which none is tried, since one failed */
	_Atomic uint64_t checkpoint;          /* index of the last entry in the newest of them */
	_Atomic uint64_t checkpoint_count, checkpoint_ns; /* written, and the time that it took */

	_Atomic(struct shard_write *) inbox; /* handed in, newest first; any thread */
	_Atomic bool step;                   /* the step flag */
	_Atomic uint64_t applied;            /* index; written by the holder of the apply flag */
	_Atomic unsigned uses;               /* the owner's, and one for each flag that is held */
	void (*closed)(void *arg);           /* see shard_close; set before the owner's use is given back */
	void *closed_arg;
	void (*on_stop)(void *arg); /* see shard_options */
	void *on_stop_arg;

	/* Of the holder of the step flag. */
	struct shard_write *waiting, **waiting_last; /* off the inbox, oldest first, not proposed yet */
	struct shard_write *log, **log_last;         /* appended, not committed yet, in order */
	struct shard_write *unsaved; /* the first of LOG that the journal has not been given */
	struct cairn_event events[STEP_MAX + 3];
	bool in_turn;   /* it is a loop that steps */
	bool lone;      /* and it has written to the journal itself, since nobody else wanted anything */
	uint64_t token; /* of a persist that was asked for and not answered; 0: none */
	_Atomic uint64_t
		saved; /* token of the newest persist that the journal has done; 0: told. Any thread */
	_Atomic bool unsavable; /* the journal has failed, and LOG is to be given up. Any thread */
	_Atomic uint64_t told;  /* the applied index that the module knows */
	struct stamp clock;     /* what commands are stamped with; written under the lock */
	struct loop_task turn;  /* steps at the end of a turn, or in the next one */
	struct loop *turn_loop; /* whose turn it is */

	pthread_mutex_t lock; /* of the lines below up to the blank one, and of REASON while it is written */
	struct shard_write *committed, **committed_last; /* to be applied, in order */
	struct shard_job *jobs;                          /* to be run with the apply flag, newest first */
	bool applying;                                   /* the apply flag */
	struct cairn_error full; /* why the newest batch found no room; code 0: it did */
	uint64_t full_ns;        /* when */

	struct shard_write expire; /* the command that removes what is due, */
	_Atomic bool expiring;     /* which is under way */
	_Atomic uint64_t due_ns;   /* when the node's next tick comes at the latest, by the store's clock */

	struct shard_write unstage; /* the command that drops uploads that expired, */
	_Atomic bool unstaging;     /* which is under way */

	uint64_t upkeep_ns;       /* of the node's loop: when reclaim was begun last */
	_Atomic uint64_t give_up; /* the floor that history needs, or 0 */
	struct shard_write floor; /* the command that raises it */
	struct pool_task flush;   /* brings the overlay into the engine, */
	_Atomic bool flushing;    /* which is under way */
	_Atomic bool no_room;     /* and failed the last time, since the disk is full */
	_Atomic bool raising;     /* that is under way */

	bool upkeeps;            /* the engine has work of its own to do, which is one of its writers: */
	struct pool_task upkeep; /* over an overlay a task of its own does it, else whoever applies */
	_Atomic bool upkeeping;  /* that task is under way */
	_Atomic uint64_t upkeep_until_ns; /* no step begins after this time */
	_Atomic uint64_t upkeep_steps, upkeep_took_ns;
	bool upkeep_failed;   /* the last time; of whoever does it */
	_Atomic bool closing; /* nothing is begun any more that can be left */

	/* Of the holder of the apply flag. */
	struct pool_task task;
	bool upkeep_due; /* the engine may have work to do */
	bool reclaim;    /* history may have rows to remove */
	struct store_command commands[APPLY_MAX];
	shard_tap_fn *tap; /* of the holder of the apply flag, as its argument; NULL: there is none */
	void *tap_arg;

	_Atomic enum cairn_code stopped; /* code of REASON; 0 while the shard is healthy */
	struct cairn_error reason;       /* written once, before STOPPED is */
};

static void *host_alloc(void *arg, size_t size)
{
	(void)arg;
	return calloc(1, size);
}

static void host_free(void *arg, void *p)
{
	(void)arg;
	free(p);
}

static enum cairn_code flush(struct shard *s);

static void release(struct shard *s)
{
	void (*closed)(void *arg);
	void *arg;

	if (atomic_fetch_sub_explicit(&s->uses, 1, memory_order_acq_rel) != 1)
		return;
	closed = s->closed;
	arg = s->closed_arg;
	if (s->instance)
		s->module->close(s->instance);
	if (s->store && s->overlay && !s->stopped && !s->node->offline)
		flush(s);
	if (s->store)
		store_close(s->store);
	if (s->engine.handle)
		engine_close(&s->engine);
	pthread_mutex_destroy(&s->lock);
	free(s);
	if (closed)
		closed(arg);
}

static void use(struct shard *s)
{
	atomic_fetch_add_explicit(&s->uses, 1, memory_order_relaxed);
}

/* Stop for good with *ERROR, the sentence of whoever noticed. The first reason stays. */
static void stop(struct shard *s, const struct cairn_error *error)
{
	bool first;

	pthread_mutex_lock(&s->lock);
	first = !s->stopped;
	if (first) {
		s->reason = *error;
		cairn_error_prefix(&s->reason, "volume %s has stopped", s->name);
		s->stopped = error->code;
	}
	pthread_mutex_unlock(&s->lock);
	if (!first)
		return;
	log_error(s->node->log, LOG_VOLUME, "a shard has stopped", LOG_TEXT("volume", s->name),
		  LOG_TEXT("folder", s->folder), LOG_TEXT("code", cairn_error_row(error->code)->name),
		  LOG_TEXT("reason", error->message));
	if (s->store)
		store_feed_end(s->store, &s->reason, NULL);
	if (s->on_stop)
		s->on_stop(s->on_stop_arg);
}

void shard_tap(struct shard *s, shard_tap_fn *fn, void *arg)
{
	s->tap = fn;
	s->tap_arg = arg;
}

void shard_retire(struct shard *s, const struct cairn_error *why)
{
	pthread_mutex_lock(&s->lock);
	if (!s->stopped) {
		s->reason = *why;
		s->stopped = why->code;
	}
	pthread_mutex_unlock(&s->lock);
}

enum cairn_code shard_health(struct shard *s, struct cairn_error *error)
{
	enum cairn_code code = s->stopped;

	if (code && error)
		*error = s->reason;
	return code;
}

enum cairn_code shard_notice(struct shard *s, struct cairn_error *error)
{
	enum cairn_code code = shard_health(s, error);

	if (code)
		return code;
	pthread_mutex_lock(&s->lock);
	if (s->full.code && clock_boot_ns() - s->full_ns < FULL_NS) {
		code = s->full.code;
		*error = s->full;
	}
	pthread_mutex_unlock(&s->lock);
	return code;
}

/* Note for shard_notice that the newest batch found no room (ERROR), or that it did (NULL). */
static void note_full(struct shard *s, const struct cairn_error *error)
{
	pthread_mutex_lock(&s->lock);
	s->full.code = CAIRN_OK;
	if (error) {
		s->full = *error;
		s->full_ns = clock_boot_ns();
		cairn_error_prefix(&s->full, "volume %s on node %s refuses writes", s->name, s->node->name);
	}
	pthread_mutex_unlock(&s->lock);
}

/* Write the store into a file; then the journal needs not keep it. Where that fails the journal goes on. */
static enum cairn_code write_checkpoint(struct shard *s, struct cairn_error *error)
{
	uint64_t index, start = clock_boot_ns();
	enum cairn_code code = checkpoint_write(s->store, s->folder, &index, error);

	if (code) {
		s->checkpoint_after_ns = start + RETRY_NS;
		return code;
	}
	s->checkpoint = index;
	s->checkpoint_count++;
	s->checkpoint_ns += clock_boot_ns() - start;
	journal_release(s->journal, index);
	log_debug(s->node->log, LOG_VOLUME, "checkpoint", LOG_TEXT("volume", s->name),
		  LOG_NUMBER("index", index));
	return CAIRN_OK;
}

/* Bring what the overlay holds into the engine; then the journal needs not keep it. */
static enum cairn_code flush(struct shard *s)
{
	struct overlay_facts facts;
	struct cairn_error error = { 0 };
	int e = overlay_flush(&s->engine, &error);

	s->no_room = e == -ENOSPC;
	if (s->no_room) {
		note_full(s, &error);
		return CAIRN_E_FULL;
	}
	if (e < 0) {
		error.code = error.code ? error.code : cairn_error_from_errno(-e);
		if (error.code == CAIRN_E_FULL) /* full, but some of it may be there */
			error.code = CAIRN_E_UNAVAILABLE;
		stop(s, &error);
		return error.code;
	}
	overlay_facts(&s->engine, &facts);
	journal_release(s->journal, facts.flushed.index);
	return CAIRN_OK;
}

static void flush_task(struct pool_task *t)
{
	struct shard *s = (struct shard *)((char *)t - offsetof(struct shard, flush));
	struct cairn_error error;

	if (s->overlay && !s->stopped)
		flush(s);
	else if (s->checkpoints && !s->stopped && write_checkpoint(s, &error))
		log_error(s->node->log, LOG_VOLUME,
			  "a checkpoint cannot be written, and the journal keeps growing",
			  LOG_TEXT("volume", s->name), LOG_TEXT("reason", error.message));
	s->flushing = false;
	release(s);
}

/* Have a worker bring what the journal has to where it lasts. From any thread. */
static void start_flush(struct shard *s)
{
	if (atomic_exchange(&s->flushing, true))
		return;
	use(s);
	s->flush.run = flush_task;
	pool_post(s->node->pool, &s->flush);
}

/* What the overlay may hold before it is flushed. */
static uint64_t flush_bytes(const struct overlay_facts *facts)
{
	return facts->bytes > facts->rows * LARGE_ROWS ? FLUSH_BYTES / 4 : FLUSH_BYTES;
}

/* Do so where the overlay holds much, or for long. */
static void maybe_flush(struct shard *s)
{
	struct overlay_facts facts;

	if (!s->overlay || s->stopped)
		return;
	overlay_facts(&s->engine, &facts);
	if (facts.since_ns &&
	    (facts.bytes >= flush_bytes(&facts) || clock_boot_ns() - facts.since_ns >= FLUSH_NS))
		start_flush(s);
}

/* Do so where the shard keeps too much of the journal from being used again. */
static void bound_journal(struct shard *s)
{
	if (s->journal && !s->stopped && clock_boot_ns() >= s->checkpoint_after_ns &&
	    journal_held(s->journal) > setting_number(s->node->settings, SETTING_JOURNAL_MAX))
		start_flush(s);
}

/* Whether applying has to wait for a flush of the overlay. */
static bool holds_much(struct shard *s)
{
	struct overlay_facts facts;

	if (!s->overlay)
		return false;
	overlay_facts(&s->engine, &facts);
	return facts.bytes > HOLD_TIMES * flush_bytes(&facts);
}

/* In a worker, before more is applied: wait while the overlay holds too much. */
static void hold_back(struct shard *s)
{
	if (!s->node->offline && holds_much(s))
		flush(s);
}

enum cairn_code shard_may_read(struct shard *s, struct cairn_error *error)
{
	return shard_health(s, error);
}

struct store *shard_store(struct shard *s)
{
	return s->store;
}

uint64_t shard_incarnation(const struct shard *s)
{
	return s->incarnation;
}

const char *shard_promise(const struct shard *s)
{
	if (s->sync)
		return "synced";
	return s->engine.ops.caps & CAIRN_ENGINE_DURABLE ? "unsynced" : "memory";
}

bool shard_journal(struct shard *s, struct journal_extent *extent, struct overlay_facts *overlay)
{
	if (!s->journal)
		return false;
	*extent = journal_extent(s->journal);
	if (s->overlay)
		overlay_facts(&s->engine, overlay);
	else
		*overlay = (struct overlay_facts){ .flushed.index = s->checkpoint };
	return true;
}

uint64_t shard_held(struct shard *s)
{
	return s->journal ? journal_held(s->journal) : 0;
}

bool shard_is_kept(const struct shard *s)
{
	return s->checkpoints || s->engine.ops.caps & CAIRN_ENGINE_DURABLE;
}

uint64_t shard_checkpoints(const struct shard *s, uint64_t *ns)
{
	*ns = s->checkpoint_ns;
	return s->checkpoint_count;
}

struct engine *shard_engine(struct shard *s)
{
	return &s->engine;
}

static void done_task(struct loop_task *t)
{
	struct shard_write *w = (struct shard_write *)((char *)t - offsetof(struct shard_write, task));

	w->done(w);
}

/* W has its answer. It is not ours any more on return. */
static void complete(struct shard_write *w)
{
	if (loop_inside(w->loop)) {
		w->done(w);
		return;
	}
	w->task.run = done_task;
	loop_post(w->loop, &w->task);
}

/* W did not happen. */
static void refuse(struct shard_write *w, const struct cairn_error *error)
{
	w->error = *error;
	complete(w);
}

/* Give up on BATCH, writes linked by next, whose fate nobody knows. */
static void fail_batch(struct shard_write *batch, const struct cairn_error *error)
{
	while (batch) {
		struct shard_write *w = batch;

		batch = w->next;
		cairn_fail(&w->error, CAIRN_E_UNKNOWN, "the write was under way and may have happened: %s",
			   error->message);
		complete(w);
	}
}

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
		cairn_msg_start(&w->answer, 0);
		s->commands[n++] = (struct store_command){ .position = w->place,
							   .message = cairn_msg_slice(&w->command),
							   .answer = &w->answer,
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
		complete(w);
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
				refuse(w, &error);
			else
				apply_batch(s, w);
		}
	} else if (code == CAIRN_E_FULL) {
		note_full(s, &error);
		cairn_error_prefix(&error,
				   "volume %s on node %s takes no writes, and this one did not happen",
				   s->name, s->node->name);
		refuse(batch, &error);
	} else if (code) {
		error.code = code;
		stop(s, &error);
		fail_batch(batch, &error);
	} else {
		if (s->full.code && !s->no_room)
			note_full(s, NULL);
		if (s->tap)
			s->tap(s->tap_arg, s->commands, batch_count(batch));
		complete_batch(s, batch);
		if (store_due_ns(s->store) < s->due_ns) {
			s->due_ns = 0;
			volumes_tick_soon(s->node);
		}
	}
}

/* With the apply flag, in a worker: one step of reclaim. Whether there is more to do. */
static bool reclaim(struct shard *s)
{
	struct cairn_error error = { 0 };
	enum cairn_code code;
	bool more = false;
	uint64_t floor;

	if (!s->reclaim || shard_health(s, &error))
		return false;
	code = store_reclaim(s->store, clock_boot_ns(), s->sync && !s->journal, &more, &error);
	if (code && code != CAIRN_E_FULL) {
		error.code = code;
		stop(s, &error);
	}
	s->reclaim = more && !code;
	if (!s->reclaim && !code && !s->raising &&
	    store_history_excess(s->store, s->no_room || s->full.code, &floor) == 0)
		s->give_up = floor;
	return s->reclaim;
}

/* One step of the engine's own upkeep, while nobody else writes to it. Whether there is more to do, now. */
static bool upkeep_step(struct shard *s)
{
	uint64_t start = clock_boot_ns(), end;
	bool more = false;
	int e;

	if (s->stopped || s->closing || start >= s->upkeep_until_ns)
		return false;
	e = s->engine.ops.maintain(s->engine.handle, UPKEEP_US, &more);
	end = clock_boot_ns();
	s->upkeep_steps++;
	s->upkeep_took_ns += end - start;
	if (e < 0 && !s->upkeep_failed)
		log_warn(s->node->log, LOG_ENGINE, "the engine's upkeep failed; it is tried again",
			 LOG_TEXT("volume", s->name), LOG_TEXT("reason", strerror(-e)));
	s->upkeep_failed = e < 0;
	return more && e == 0 && end < s->upkeep_until_ns;
}

static void upkeep_task(struct pool_task *t)
{
	struct shard *s = (struct shard *)((char *)t - offsetof(struct shard, upkeep));

	if (upkeep_step(s)) { /* behind whatever else the workers have to do */
		pool_post(s->node->pool, &s->upkeep);
		return;
	}
	s->upkeeping = false;
	release(s);
}

/* With the apply flag, in a worker: one step where there is no overlay. Whether there is more to do. */
static bool upkeep_applying(struct shard *s)
{
	s->upkeep_due = s->upkeep_due && upkeep_step(s);
	return s->upkeep_due;
}

static bool has_committed(struct shard *s)
{
	bool has;

	pthread_mutex_lock(&s->lock);
	has = s->committed || s->jobs;
	pthread_mutex_unlock(&s->lock);
	return has;
}

static void apply_in_worker(struct shard *s);

/* With the apply flag: do what is committed until nothing is left, then give the flag back. In a WORKER
 * history is reclaimed in between, and jobs are run; elsewhere a worker is sent for them, with the flag. */
static void apply_all(struct shard *s, bool worker)
{
	struct shard_write *batch;
	struct shard_job *job;
	struct cairn_error why;

	while ((batch = take_committed(s, worker, &job)) || job) {
		if (job && !worker) {
			apply_in_worker(s);
			return;
		}
		if (job) {
			job->run(job, s);
			continue;
		}
		if (worker)
			hold_back(s);
		if (!shard_health(s, &why)) {
			apply_batch(s, batch);
			maybe_flush(s);
			if (worker) {
				reclaim(s);
				upkeep_applying(s);
			}
			continue;
		}
		if (s->journal) { /* that has it, and gives it back when the shard is opened again */
			fail_batch(batch, &why);
			continue;
		}
		while (batch) { /* committed, but the engine has seen nothing of it */
			struct shard_write *w = batch;

			batch = w->next;
			refuse(w, &why);
		}
	}
}

static void step_all(struct shard *s, struct loop *l);

static void try_step(struct shard *s, struct loop *l)
{
	if (atomic_exchange(&s->step, true))
		return;
	use(s);
	step_all(s, l);
}

static void apply_task(struct pool_task *t)
{
	struct shard *s = (struct shard *)((char *)t - offsetof(struct shard, task));

	bool more;

	do {
		more = reclaim(s);
		more = upkeep_applying(s) || more;
	} while (more && !has_committed(s));
	apply_all(s, true);
	try_step(s, NULL); /* the module learns what was applied */
	release(s);
}

static void apply_in_worker(struct shard *s)
{
	use(s);
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
		apply_in_worker(s);
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

/* With the step flag: see that what was committed gets applied. */
static void start_apply(struct shard *s)
{
	bool here = s->in_loop || (s->lone && !holds_much(s)), mine;

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
	apply_in_worker(s);
}

/* The floor of history was raised, or could not be. */
static void floor_done(struct shard_write *w)
{
	struct shard *s = (struct shard *)((char *)w - offsetof(struct shard, floor));

	if (w->error.code)
		log_warn(s->node->log, LOG_VOLUME, "history takes too much room and could not be shortened",
			 LOG_TEXT("volume", s->name), LOG_TEXT("reason", w->error.message));
	cairn_msg_free(&w->command);
	cairn_msg_free(&w->answer);
	s->raising = false;
	release(s);
}

/* History gives up what lies below FLOOR. */
static void raise_floor(struct shard *s, uint64_t floor)
{
	struct shard_write *w = &s->floor;
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)floor);
	*w = (struct shard_write){ .loop = s->node->loop, .done = floor_done };
	cairn_msg_start(&w->command, CAIRN_OP_CONFIGURE);
	cairn_msg_text(&w->command, CAIRN_F_AUTHOR, "cairnd");
	cairn_msg_text(&w->command, CAIRN_F_NAME, "history-floor");
	cairn_msg_text(&w->command, CAIRN_F_AMOUNT, text);
	cairn_msg_start(&w->answer, 0);
	if (cairn_msg_error(&w->command)) {
		cairn_msg_free(&w->command);
		return;
	}
	log_info(s->node->log, LOG_VOLUME, "history takes too much room: its oldest part is given up",
		 LOG_TEXT("volume", s->name), LOG_NUMBER("floor", floor));
	s->raising = true;
	use(s);
	shard_write(s, w);
}

static uint64_t expire(struct shard *s);

/* What was due is gone, or could not be removed; then the next tick tries again. */
static void expire_done(struct shard_write *w)
{
	struct shard *s = (struct shard *)((char *)w - offsetof(struct shard, expire));
	bool failed = w->error.code;

	cairn_msg_free(&w->command);
	cairn_msg_free(&w->answer);
	s->expiring = false;
	if (!failed)
		expire(s);
	release(s);
}

/* Have what is due removed. Returns how long it is until the next key is due, at most TICK_NS. */
static uint64_t expire(struct shard *s)
{
	struct shard_write *w = &s->expire;
	struct store_facts facts;
	uint64_t now = shard_now(s);

	store_facts(s->store, &facts);
	if (s->stopped || s->expiring || facts.due_ns > now) {
		now = facts.due_ns > now && facts.due_ns - now < TICK_NS ? facts.due_ns - now : TICK_NS;
		return now;
	}
	*w = (struct shard_write){ .loop = s->node->loop, .done = expire_done };
	cairn_msg_start(&w->command, CAIRN_OP_EXPIRE_DUE);
	cairn_msg_start(&w->answer, 0);
	if (cairn_msg_error(&w->command)) {
		cairn_msg_free(&w->command);
		return TICK_NS;
	}
	s->expiring = true;
	use(s);
	shard_write(s, w);
	return TICK_NS;
}

static void unstage_from(struct shard *s, struct cairn_slice id);

/* One command has dropped what expired, up to a place: the next one goes on there. */
static void unstage_done(struct shard_write *w)
{
	struct shard *s = (struct shard *)((char *)w - offsetof(struct shard, unstage));
	struct cairn_slice cursor;
	unsigned char id[16];
	bool more = !w->error.code &&
		cairn_field_find(cairn_message_fields(cairn_msg_slice(&w->answer)), CAIRN_F_CURSOR,
				 &cursor) &&
		cursor.len == sizeof(id);

	if (more)
		memcpy(id, cursor.data, sizeof(id));
	cairn_msg_free(&w->command);
	cairn_msg_free(&w->answer);
	s->unstaging = false;
	if (more)
		unstage_from(s, cairn_slice(id, sizeof(id)));
	release(s);
}

/* Have the uploads that expired dropped, from ID on. Which these are is seen when the command is applied. */
static void unstage_from(struct shard *s, struct cairn_slice id)
{
	struct shard_write *w = &s->unstage;

	*w = (struct shard_write){ .loop = s->node->loop, .done = unstage_done };
	cairn_msg_start(&w->command, CAIRN_OP_UNSTAGE);
	if (id.len)
		cairn_msg_bytes(&w->command, CAIRN_F_FROM, id);
	cairn_msg_start(&w->answer, 0);
	if (cairn_msg_error(&w->command)) {
		cairn_msg_free(&w->command);
		return;
	}
	s->unstaging = true;
	use(s);
	shard_write(s, w);
}

/* Let the engine do what it has to do, for a part of the time until the next tick. */
static void begin_upkeep(struct shard *s)
{
	s->upkeep_until_ns = clock_boot_ns() + UPKEEP_NS;
	if (!s->upkeeps || !s->overlay || atomic_exchange(&s->upkeeping, true))
		return;
	use(s);
	s->upkeep.run = upkeep_task;
	pool_post(s->node->pool, &s->upkeep);
}

bool shard_upkeep(const struct shard *s, uint64_t *steps, uint64_t *took_ns)
{
	*steps = s->upkeep_steps;
	*took_ns = s->upkeep_took_ns;
	return s->upkeeps;
}

uint64_t shard_tick(struct shard *s)
{
	uint64_t floor, wait;
	struct store_facts facts;
	bool mine;

	maybe_flush(s);
	bound_journal(s);
	wait = expire(s);
	store_facts(s->store, &facts);
	s->due_ns = shard_now(s) + wait;
	if (s->stopped || clock_boot_ns() - s->upkeep_ns < TICK_NS / 2)
		return wait;
	s->upkeep_ns = clock_boot_ns();
	if (facts.unstage_ns <= shard_now(s) && !s->unstaging)
		unstage_from(s, cairn_slice(NULL, 0));
	begin_upkeep(s);
	if (!facts.reclaims && (s->overlay || !s->upkeeps))
		return wait;
	floor = atomic_exchange(&s->give_up, 0);
	if (floor && !s->raising)
		raise_floor(s, floor);
	pthread_mutex_lock(&s->lock);
	mine = !s->applying;
	if (mine) {
		s->applying = true;
		s->reclaim = facts.reclaims;
		s->upkeep_due = s->upkeeps && !s->overlay;
	}
	pthread_mutex_unlock(&s->lock);
	if (mine)
		apply_in_worker(s);
	return wait;
}

static void on_append(struct shard *s, const struct cairn_entry *e)
{
	struct shard_write *w = (struct shard_write *)(uintptr_t)e->reference;

	w->place = (struct cairn_position){ e->index, e->term };
	w->next = NULL;
	*s->log_last = w;
	s->log_last = &w->next;
	if (!s->unsaved)
		s->unsaved = w;
}

/* A persist on its way through the journal. */
struct saving {
	struct journal_request request;
	struct shard *shard;
	uint64_t token;
	struct journal_entry entries[];
};

/* In the journal's thread. */
static void saved(struct journal_request *r)
{
	struct saving *x = (struct saving *)((char *)r - offsetof(struct saving, request));
	struct shard *s = x->shard;

	if (r->error.code) {
		if (r->error.code == CAIRN_E_FULL)
			r->error.code = CAIRN_E_UNAVAILABLE; /* it goes on when the shard is opened again */
		stop(s, &r->error);
		s->unsavable = true;
	} else {
		s->saved = x->token;
	}
	try_step(s, NULL);
	free(x);
	release(s);
}

/* Whether nobody but one request waits for this loop: then it may as well wait for the disk. */
static bool is_alone(const struct shard *s)
{
	return s->in_turn && s->node->waiting == 1;
}

/* Hand what was appended since the last time to the journal. */
static void save(struct shard *s, uint64_t token)
{
	struct saving *x;
	struct cairn_error error;
	size_t n = 0;

	for (struct shard_write *w = s->unsaved; w; w = w->next)
		n++;
	x = calloc(1, sizeof(*x) + n * sizeof(*x->entries));
	if (!x) {
		cairn_fail(&error, CAIRN_E_INTERNAL, "no memory for the journal");
		stop(s, &error);
		s->unsavable = true;
		return;
	}
	x->shard = s;
	x->token = token;
	x->request = (struct journal_request){ .shard = s->journal, .entries = x->entries, .done = saved };
	for (struct shard_write *w = s->unsaved; w; w = w->next)
		x->entries[x->request.count++] =
			(struct journal_entry){ w->place.index, w->place.term, cairn_msg_slice(&w->command) };
	s->unsaved = NULL;
	use(s);
	s->lone = n == 1 && is_alone(s) && journal_append_now(s->node->journal, &x->request);
	if (!s->lone)
		journal_append(s->node->journal, &x->request);
}

/* Move the entries up to LAST from the log to the apply queue. */
static void on_commit(struct shard *s, uint64_t last)
{
	struct shard_write **end = &s->log, *first = s->log;

	while (*end && (*end)->place.index <= last)
		end = &(*end)->next;
	if (end == &s->log)
		return;
	s->log = *end;
	*end = NULL;
	pthread_mutex_lock(&s->lock);
	*s->committed_last = first;
	s->committed_last = end == &s->log ? &s->committed : end;
	pthread_mutex_unlock(&s->lock);
	if (!s->log)
		s->log_last = &s->log;
}

/* The module's effects, in its order, while it steps. */
static void host_effect(void *arg, const struct cairn_effect *e)
{
	struct shard *s = arg;
	struct shard_write *w;
	struct cairn_error error;

	switch (e->kind) {
	case CAIRN_EFFECT_APPEND:
		on_append(s, &e->entry);
		break;
	case CAIRN_EFFECT_PERSIST: /* without the journal nothing is answered before the engine has it */
		if (s->journal)
			save(s, e->token);
		else
			s->token = e->token;
		break;
	case CAIRN_EFFECT_APPLY:
		on_commit(s, e->last);
		break;
	case CAIRN_EFFECT_REJECT:
		w = (struct shard_write *)(uintptr_t)e->reference;
		cairn_fail(&error, e->code, "volume %s: the write was refused by %s", s->name,
			   s->module->name);
		refuse(w, &error);
		break;
	case CAIRN_EFFECT_ROLE:
		log_debug(s->node->log, LOG_REPLICATION, "role", LOG_TEXT("volume", s->name),
			  LOG_NUMBER("role", e->role), LOG_NUMBER("term", e->term));
		break;
	default:
		cairn_fail(&error, CAIRN_E_UNSUPPORTED,
			   "replication-%s asks for what this cairnd does not offer", s->module->name);
		stop(s, &error);
		break;
	}
}

/* The stamp of what is proposed now. */
static uint64_t stamp(struct shard *s, uint64_t boot_ns)
{
	if (boot_ns - s->clock.base_boot_ns > STAMP_STEER_NS && boot_ns > s->clock.base_boot_ns) {
		pthread_mutex_lock(&s->lock);
		stamp_steer(&s->clock, clock_wall_ns(), boot_ns);
		pthread_mutex_unlock(&s->lock);
	}
	return stamp_at(&s->clock, boot_ns);
}

uint64_t shard_now(struct shard *s)
{
	uint64_t boot_ns = clock_boot_ns(), now;

	pthread_mutex_lock(&s->lock);
	now = stamp_at(&s->clock, boot_ns);
	pthread_mutex_unlock(&s->lock);
	return now;
}

/* Put the field TIME in front of the command's fields. */
static int add_time(struct cairn_msg *m, uint64_t ns)
{
	const size_t field = CAIRN_FIELD_HEAD + 8, head = CAIRN_MESSAGE_HEAD;

	cairn_msg_u64(m, CAIRN_F_TIME, ns);
	if (cairn_msg_error(m))
		return cairn_msg_error(m);
	memmove(m->data + head + field, m->data + head, m->len - head - field);
	le32_put(m->data + head, CAIRN_F_TIME | 8u << 8);
	le64_put(m->data + head + CAIRN_FIELD_HEAD, ns);
	return 0;
}

/* Take the inbox to the end of the waiting list, oldest first. */
static void take_inbox(struct shard *s)
{
	struct shard_write *w = atomic_exchange_explicit(&s->inbox, NULL, memory_order_acquire),
			   *first = NULL, **last = s->waiting_last;

	while (w) {
		struct shard_write *next = w->next;

		if (!first)
			last = &w->next;
		w->next = first;
		first = w;
		w = next;
	}
	if (first) {
		*s->waiting_last = first;
		s->waiting_last = last;
	}
}

/* Whether W is of the kind that makes room. */
static bool frees(const struct shard_write *w)
{
	unsigned op = cairn_message_number(cairn_msg_slice(&w->command));

	return op == CAIRN_OP_DELETE || op == CAIRN_OP_DELETE_PREFIX || op == CAIRN_OP_PURGE ||
		op == CAIRN_OP_EXPIRE_DUE || op == CAIRN_OP_UNSTAGE || op == CAIRN_OP_CONFIGURE;
}

/* Make W an event, or answer it where it cannot be proposed. Returns whether it is one. */
static bool propose(struct shard *s, struct shard_write *w, uint64_t now, struct cairn_event *e)
{
	struct cairn_error error;

	if (shard_health(s, &error)) {
		refuse(w, &error);
		return false;
	}
	if ((s->no_room || (s->journal && journal_is_short(s->node->journal))) && !frees(w)) {
		cairn_fail(
			&error, CAIRN_E_FULL,
			"volume %s on node %s takes no writes, and this one did not happen: the disk is full",
			s->name, s->node->name);
		cairn_hint(&error, "make room on the disk; writing goes on by itself then");
		refuse(w, &error);
		return false;
	}
	if (w->deadline_ns && w->deadline_ns < now) {
		cairn_fail(&error, CAIRN_E_TIMEOUT,
			   "volume %s: the time ran out before the write was begun; it did not happen",
			   s->name);
		refuse(w, &error);
		return false;
	}
	if (add_time(&w->command, stamp(s, now)) < 0) {
		cairn_fail(&error, CAIRN_E_INTERNAL, "volume %s: no memory for the write; it did not happen",
			   s->name);
		refuse(w, &error);
		return false;
	}
	*e = (struct cairn_event){ .kind = CAIRN_EVENT_PROPOSE,
				   .reference = (uintptr_t)w,
				   .size = (uint32_t)w->command.len,
				   .now_us = now / 1000 };
	return true;
}

/* The events that are due, at most STEP_MAX + 3. */
static size_t gather(struct shard *s, uint64_t now)
{
	uint64_t applied = s->applied;
	size_t n = 0;

	if (s->token)
		s->events[n++] = (struct cairn_event){ .kind = CAIRN_EVENT_STORED,
						       .token = s->token,
						       .now_us = now / 1000 };
	s->token = atomic_exchange(&s->saved, 0);
	if (s->token)
		s->events[n++] = (struct cairn_event){ .kind = CAIRN_EVENT_STORED,
						       .token = s->token,
						       .now_us = now / 1000 };
	s->token = 0;
	if (s->unsavable) {
		fail_batch(s->log, &s->reason);
		s->log = s->unsaved = NULL;
		s->log_last = &s->log;
		s->unsavable = false;
	}
	if (applied != s->told)
		s->events[n++] = (struct cairn_event){ .kind = CAIRN_EVENT_APPLIED,
						       .index = applied,
						       .now_us = now / 1000 };
	s->told = applied;
	take_inbox(s);
	for (int i = 0; i < STEP_MAX && s->waiting; i++) {
		struct shard_write *w = s->waiting;

		s->waiting = w->next;
		if (!s->waiting)
			s->waiting_last = &s->waiting;
		n += propose(s, w, now, &s->events[n]);
	}
	return n;
}

static void step_once(struct shard *s, size_t count)
{
	int r = s->module->step(s->instance, s->events, count);
	struct cairn_error error;

	if (r < 0) {
		cairn_fail(&error, CAIRN_E_INTERNAL, "replication-%s failed: %s", s->module->name,
			   strerror(-r));
		stop(s, &error);
		fail_batch(s->log, &error);
		s->log = NULL;
		s->log_last = &s->log;
	}
	start_apply(s);
}

/* What gather() would find. */
static bool is_due(struct shard *s)
{
	return s->token || s->saved || s->unsavable || s->waiting || s->applied != s->told ||
		atomic_load_explicit(&s->inbox, memory_order_relaxed);
}

static void turn(struct loop_task *t)
{
	struct shard *s = (struct shard *)((char *)t - offsetof(struct shard, turn));

	step_all(s, s->turn_loop);
}

/* With the step flag: step until nothing is due, then give the flag back; a loop goes on next turn when it
 * takes long. */
static void step_all(struct shard *s, struct loop *l)
{
	uint64_t start = clock_boot_ns(), now = start;

	do {
		s->in_turn = l;
		while (is_due(s)) {
			size_t count;

			if (l && now - start > STEP_NS) {
				s->turn_loop = l;
				s->turn.run = turn;
				loop_post(l, &s->turn);
				return;
			}
			count = gather(s, now);
			if (count)
				step_once(s, count);
			now = clock_boot_ns();
		}
		atomic_store_explicit(&s->step, false, memory_order_seq_cst);
		/* Who had something for us before that moment may have found the flag taken. */
	} while ((s->inbox || s->saved || s->unsavable || s->applied != s->told) &&
		 !atomic_exchange(&s->step, true));
	release(s);
}

void shard_write(struct shard *s, struct shard_write *w)
{
	struct shard_write *head = atomic_load_explicit(&s->inbox, memory_order_relaxed);

	w->error = (struct cairn_error){ 0 };
	do
		w->next = head;
	while (!atomic_compare_exchange_weak_explicit(&s->inbox, &head, w, memory_order_seq_cst,
						      memory_order_relaxed));
	if (atomic_exchange_explicit(&s->step, true, memory_order_seq_cst))
		return;
	use(s);
	s->turn_loop = w->loop;
	s->turn.run = turn;
	loop_at_turn_end(w->loop, &s->turn);
}

static enum cairn_code open_module(struct shard *s, const char *name, struct cairn_error *error)
{
	struct cairn_value values[32];
	const struct plugin *p;
	enum cairn_code code = loader_get(s->node->loader, PLUGIN_REPLICATION, name, &p, error);
	int r;

	if (code)
		return code;
	s->module = p->replication;
	if (s->module->caps & CAIRN_REPLICATION_PEERS)
		return cairn_fail(error, CAIRN_E_UNSUPPORTED,
				  "replication-%s needs peers, and this cairnd has none", name);
	if (params_count(s->module->params) > 32)
		return cairn_fail(error, CAIRN_E_UNSUPPORTED, "replication-%s has more than 32 parameters",
				  name);
	code = params_parse(s->module->params, NULL, 0, values, error);
	if (code)
		return code;
	s->host = (struct cairn_replication_host){ s, host_alloc, host_free, host_effect };
	r = s->module->open(&s->host, values, &s->instance, error);
	if (r < 0)
		return error->code ? error->code
				   : cairn_fail(error, cairn_error_from_errno(-r), "replication-%s: %s", name,
						strerror(-r));
	return CAIRN_OK;
}

static enum cairn_code name_incarnation(struct shard *s, bool durable, struct cairn_error *error)
{
	s->incarnation = shard_id(s->folder);
	if (!durable && getrandom(&s->incarnation, sizeof(s->incarnation), 0) != sizeof(s->incarnation))
		return cairn_fail(error, CAIRN_E_INTERNAL, "no random bytes: %s", strerror(errno));
	s->incarnation = s->incarnation % ((1ull << 48) - 1) + 1;
	return CAIRN_OK;
}

/* Whether the engine, which forgets, can be kept by checkpoints. */
static enum cairn_code may_checkpoint(const struct shard *s, const struct shard_options *o,
				      struct cairn_error *error)
{
	if (!(s->engine.ops.caps & CAIRN_ENGINE_SNAPSHOT))
		return cairn_fail(error, CAIRN_E_UNSUPPORTED,
				  "durable=yes: engine %s has no snapshots to make checkpoints of",
				  s->engine.ops.name);
	if (!o->sync || o->through || (!s->node->journal && !s->node->offline))
		return cairn_fail(
			error, CAIRN_E_UNSUPPORTED,
			"durable=yes with engine %s needs the journal: neither sync=no nor through=yes",
			s->engine.ops.name);
	for (size_t i = 0; i < o->parameter_count; i++)
		if (!strncmp(o->parameters[i], "limit=", 6) && strcmp(o->parameters[i], "limit=0") != 0)
			return cairn_fail(
				error, CAIRN_E_UNSUPPORTED,
				"durable=yes takes a quota, and not the engine's own limit: what the "
				"journal has must fit");
	return CAIRN_OK;
}

/* Put an overlay in front of an engine that has a disk, and a checkpoint into one that has none. */
static enum cairn_code stand_on_journal(struct shard *s, const struct shard_options *o,
					struct cairn_error *error)
{
	struct engine upper;
	bool there;

	if (s->checkpoints && !o->ready) {
		enum cairn_code code = checkpoint_load(&s->engine, s->folder, &there, error);

		if (code)
			return code;
	}
	if (!s->sync || o->through || !s->node->journal)
		return CAIRN_OK;
	s->journal = journal_attach(s->node->journal, shard_id(s->folder));
	if (!s->journal)
		return cairn_fail(error, CAIRN_E_INTERNAL, "no memory for the journal");
	if (s->checkpoints)
		return CAIRN_OK;
	if (overlay_open(&upper, &s->engine) < 0)
		return cairn_fail(error, CAIRN_E_INTERNAL, "no memory for the engine's overlay");
	s->engine = upper;
	s->overlay = true;
	return CAIRN_OK;
}

static enum cairn_code open_engine(struct shard *s, const struct shard_options *o, struct cairn_error *error)
{
	struct store_settings settings = o->settings;
	const struct plugin *p;
	enum cairn_code code = loader_get(s->node->loader, PLUGIN_ENGINE, o->engine, &p, error);
	struct cairn_error notice;
	uint32_t caps;

	if (code)
		return code;
	if (!o->sync && p->engine->caps & CAIRN_ENGINE_SYNC_ONLY)
		return cairn_fail(error, CAIRN_E_UNSUPPORTED,
				  "sync=no is not possible with engine %s: a crash could cost it more than "
				  "the newest writes",
				  o->engine);
	if (o->must_be_durable && !(p->engine->caps & CAIRN_ENGINE_DURABLE))
		return cairn_fail(error, CAIRN_E_UNSUPPORTED, "engine %s does not keep what it is given",
				  o->engine);
	if (!o->ready)
		code = engine_open(&s->engine, p->engine, s->folder, o->parameters, o->parameter_count,
				   error);
	if (code)
		return code;
	if (s->engine.ops.notice(s->engine.handle, &notice))
		log_warn(s->node->log, LOG_ENGINE, notice.message, LOG_TEXT("volume", s->name));
	caps = s->engine.ops.caps;
	s->upkeeps = engine_maintains(p->engine);
	s->checkpoints = o->durable && !(caps & CAIRN_ENGINE_DURABLE);
	code = s->checkpoints ? may_checkpoint(s, o, error) : CAIRN_OK;
	if (code)
		return code;
	s->sync = o->sync && shard_is_kept(s);
	s->in_loop = (!s->sync || s->checkpoints) && !(caps & CAIRN_ENGINE_BLOCKING);
	if (s->engine.ops.key_max && settings.key_max >= s->engine.ops.key_max)
		settings.key_max = s->engine.ops.key_max - 1; /* the row's tag is in front */
	code = stand_on_journal(s, o, error);
	if (code)
		return code;
	if (settings.history == STORE_HISTORY_AUTO)
		settings.history = shard_is_kept(s) ? 8 : 0;
	code = store_open(&s->store, &s->engine, &settings, error);
	if (code)
		return code;
	store_feed_limit(s->store, setting_number(s->node->settings, SETTING_CONTROL_WATCH_BUFFER));
	return name_incarnation(s, shard_is_kept(s), error);
}

uint64_t shard_id(const char *folder)
{
	const char *name = strrchr(folder, '/');
	uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a: the names are random and never used again */

	for (name = name ? name + 1 : folder; *name; name++)
		hash = (hash ^ (unsigned char)*name) * 0x100000001b3u;
	return hash;
}

struct replay {
	struct shard *shard;
	struct cairn_error *error;
	uint64_t count;
};

static int replay_entry(void *arg, const struct journal_entry *e)
{
	struct replay *r = arg;
	struct shard *s = r->shard;
	struct store_command command = { .position = { e->index, e->term }, .message = e->command };
	enum cairn_code code = store_apply(s->store, &command, 1, false, r->error);

	if (!code && ++r->count % 1024 == 0) {
		hold_back(s);
		code = shard_health(s, r->error);
	}
	return code;
}

/* Apply what the journal has beyond the engine. */
static enum cairn_code replay(struct shard *s, struct cairn_error *error)
{
	struct journal_extent x = journal_extent(s->journal);
	struct replay r = { s, error, 0 };
	struct store_facts facts;
	enum cairn_code code;
	int stopped = 0;

	store_facts(s->store, &facts);
	s->checkpoint = s->checkpoints ? facts.position.index : 0;
	if (x.last <= facts.position.index) {
		journal_release(s->journal, facts.position.index);
		return CAIRN_OK;
	}
	if (x.first > facts.position.index + 1) {
		cairn_fail(
			error, CAIRN_E_CORRUPT,
			"the engine stands at entry %llu and the journal begins at entry %llu: those between "
			"are missing",
			(unsigned long long)facts.position.index, (unsigned long long)x.first);
		cairn_hint(error, "put the engine's folder and the journal's back from one copy");
		return CAIRN_E_CORRUPT;
	}
	code = journal_read(s->journal, facts.position.index + 1, x.last, replay_entry, &r, &stopped, error);
	if (!code && stopped)
		code = (enum cairn_code)stopped;
	if (!code)
		log_info(s->node->log, LOG_VOLUME, "the journal was replayed", LOG_TEXT("volume", s->name),
			 LOG_NUMBER("from", facts.position.index + 1), LOG_NUMBER("to", x.last));
	return code;
}

/* Tell the module where the store stands, and start the clock there: it never goes back. */
static enum cairn_code start_module(struct shard *s, struct cairn_error *error)
{
	struct cairn_durable durable = { 0 };
	struct store_facts facts;
	uint64_t wall = clock_wall_ns();
	int r;

	store_facts(s->store, &facts);
	durable.self = 1;
	durable.index = durable.last = facts.position.index;
	durable.index_term = durable.term = facts.position.term;
	s->applied = s->told = facts.position.index;
	s->clock = stamp_start(facts.clock_ns, wall, clock_boot_ns());
	s->events[0] = (struct cairn_event){ .kind = CAIRN_EVENT_START,
					     .durable = &durable,
					     .now_us = s->clock.base_boot_ns / 1000 };
	r = s->module->step(s->instance, s->events, 1);
	if (r < 0)
		return cairn_fail(error, CAIRN_E_INTERNAL, "replication-%s failed: %s", s->module->name,
				  strerror(-r));
	return shard_health(s, error);
}

enum cairn_code shard_open(struct shard **out, struct node *n, const struct shard_options *o,
			   struct cairn_error *error)
{
	struct shard *s = calloc(1, sizeof(*s));
	enum cairn_code code;

	if (!s)
		return cairn_fail(error, CAIRN_E_INTERNAL, "volume %s: no memory", o->name);
	s->node = n;
	s->uses = 1;
	s->waiting_last = &s->waiting;
	s->log_last = &s->log;
	s->committed_last = &s->committed;
	pthread_mutex_init(&s->lock, NULL);
	s->on_stop = o->stopped;
	s->on_stop_arg = o->arg;
	if (o->ready) {
		s->engine = *o->ready;
		o->ready->handle = NULL;
	}
	snprintf(s->name, sizeof(s->name), "%s", o->name);
	snprintf(s->folder, sizeof(s->folder), "%s", o->folder);
	code = open_engine(s, o, error);
	if (!code && s->journal)
		code = replay(s, error);
	if (!code && s->checkpoints && o->ready) /* nothing but this has what it was filled with */
		code = write_checkpoint(s, error);
	if (!code)
		code = open_module(s, o->replication, error);
	if (!code)
		code = start_module(s, error);
	if (code) {
		cairn_error_prefix(error, "volume %s (%s)", s->name, s->folder);
		release(s);
		return code;
	}
	*out = s;
	return CAIRN_OK;
}

void shard_close(struct shard *s, void (*closed)(void *arg), void *arg)
{
	s->closed = closed;
	s->closed_arg = arg;
	s->closing = true;
	release(s);
}
