/*
 * A shard as others see it: whether it is well, what it holds, who uses it. How it works stands in the files
 * beside this one:
 *
 *   shard_open.c     made of its plugins, and brought to where it was
 *   shard_step.c     writes come in, are stamped, and are proposed; what the module wants done is done
 *   shard_apply.c    what is committed goes into the store, a batch at a time, and is answered
 *   shard_flush.c    the overlay goes into the engine, and the journal lets go
 *   shard_upkeep.c   what is done once a second
 *
 * A failed engine write stops the shard, since nobody knows what of it is on disk: the batch ends as unknown,
 * later requests get the reason.
 */
#include <errno.h>
#include <stdlib.h>
#include "replica.h"
#include "banned.h"

#define FULL_NS 60000000000u /* how long the last refusal for want of room counts as a state */

void shard_let_go(struct shard *s)
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
		shard_flush(s);
	replica_free(s->replica);
	if (s->store)
		store_close(s->store);
	if (s->engine.handle)
		engine_close(&s->engine);
	pthread_mutex_destroy(&s->lock);
	free(s);
	if (closed)
		closed(arg);
}

void shard_use(struct shard *s)
{
	atomic_fetch_add_explicit(&s->uses, 1, memory_order_relaxed);
}

void shard_stop(struct shard *s, const struct cairn_error *error)
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

bool shard_lacks_room(const struct shard *s, struct cairn_error *error)
{
	return room_is_low(s->node, error) && shard_is_kept(s) && strcmp(s->name, VOLUME_SYSTEM) &&
		!engine_takes(&s->engine.ops, ROOM_PARAMETER);
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
	if (!code && shard_lacks_room(s, error)) {
		code = error->code;
		cairn_error_prefix(error, "volume %s on node %s refuses writes", s->name, s->node->name);
	}
	return code;
}

void shard_note_full(struct shard *s, const struct cairn_error *error)
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

enum cairn_code shard_may_read(struct shard *s, struct cairn_error *error)
{
	return shard_health(s, error);
}

void shard_role(struct shard *s, struct shard_role *role)
{
	const struct replica *r = s->replica;

	*role = (struct shard_role){ .alone = true, .role = CAIRN_ROLE_LEADER };
	if (!r)
		return;
	*role = (struct shard_role){ .role = r->role, .term = r->term, .leader = r->leader };
	if (r->role != CAIRN_ROLE_LEADER)
		role->age_ns = clock_boot_ns() - r->heard_ns;
}

bool shard_asks(const struct shard *s)
{
	return s->replica;
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
