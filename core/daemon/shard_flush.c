/*
 * What the journal has and the engine has not yet: the overlay is flushed as one synced batch where it holds
 * much, or for long, a store over an engine that forgets is written into a checkpoint, and then the journal
 * lets go. Where the disk has no room, the volume refuses writes until a later flush finds some.
 */
#include <errno.h>
#include <stdlib.h>
#include "replica.h"
#include "banned.h"

#define FLUSH_BYTES (4u << 20) /* the overlay is flushed when it holds this much */
#define FLUSH_NS 1000000000u   /* or this old */
#define LARGE_ROWS (16u << 10) /* where rows are so large, a quarter of it: joining them spares nothing */
#define HOLD_TIMES 2           /* and waited for when it holds so many times as much */
#define RETRY_NS \
	30000000000u /* before another checkpoint where one failed: it takes room while it is tried */

/* Everything up to POSITION lasts without the journal. */
static void let_go(struct shard *s, struct cairn_position position)
{
	if (s->replica)
		replica_let_journal_go(s->replica, position);
	else
		journal_release(s->journal, position.index);
}

enum cairn_code shard_write_checkpoint(struct shard *s, struct cairn_error *error)
{
	struct cairn_position position;
	uint64_t start = clock_boot_ns();
	enum cairn_code code = checkpoint_write(s->store, s->folder, &position, error);

	if (code) {
		s->checkpoint_after_ns = start + RETRY_NS;
		return code;
	}
	s->checkpoint = position.index;
	s->checkpoint_count++;
	s->checkpoint_ns += clock_boot_ns() - start;
	let_go(s, position);
	log_debug(s->node->log, LOG_VOLUME, "checkpoint", LOG_TEXT("volume", s->name),
		  LOG_NUMBER("index", position.index));
	return CAIRN_OK;
}

enum cairn_code shard_flush(struct shard *s)
{
	struct overlay_facts facts;
	struct cairn_error error = { 0 };
	int e = overlay_flush(&s->engine, &error);

	s->no_room = e == -ENOSPC;
	if (s->no_room) {
		shard_note_full(s, &error);
		return CAIRN_E_FULL;
	}
	if (e < 0) {
		error.code = error.code ? error.code : cairn_error_from_errno(-e);
		if (error.code == CAIRN_E_FULL) /* full, but some of it may be there */
			error.code = CAIRN_E_UNAVAILABLE;
		shard_stop(s, &error);
		return error.code;
	}
	overlay_facts(&s->engine, &facts);
	let_go(s, facts.flushed);
	return CAIRN_OK;
}

static void flush_task(struct pool_task *t)
{
	struct shard *s = (struct shard *)((char *)t - offsetof(struct shard, flush));
	struct cairn_error error;

	if (s->overlay && !s->stopped)
		shard_flush(s);
	else if (s->checkpoints && !s->stopped && shard_write_checkpoint(s, &error))
		log_error(s->node->log, LOG_VOLUME,
			  "a checkpoint cannot be written, and the journal keeps growing",
			  LOG_TEXT("volume", s->name), LOG_TEXT("reason", error.message));
	s->flushing = false;
	shard_let_go(s);
}

/* Have a worker bring what the journal has to where it lasts. From any thread. */
static void start_flush(struct shard *s)
{
	if (atomic_exchange(&s->flushing, true))
		return;
	shard_use(s);
	s->flush.run = flush_task;
	pool_post(s->node->pool, &s->flush);
}

/* What the overlay may hold before it is flushed. */
static uint64_t flush_bytes(const struct overlay_facts *facts)
{
	return facts->bytes > facts->rows * LARGE_ROWS ? FLUSH_BYTES / 4 : FLUSH_BYTES;
}

void shard_maybe_flush(struct shard *s)
{
	struct overlay_facts facts;

	if (!s->overlay || s->stopped)
		return;
	overlay_facts(&s->engine, &facts);
	if (facts.since_ns &&
	    (facts.bytes >= flush_bytes(&facts) || clock_boot_ns() - facts.since_ns >= FLUSH_NS))
		start_flush(s);
}

void shard_bound_journal(struct shard *s)
{
	if (s->journal && !s->stopped && clock_boot_ns() >= s->checkpoint_after_ns &&
	    journal_held(s->journal) > setting_number(s->node->settings, SETTING_JOURNAL_MAX))
		start_flush(s);
}

bool shard_holds_much(struct shard *s)
{
	struct overlay_facts facts;

	if (!s->overlay)
		return false;
	overlay_facts(&s->engine, &facts);
	return facts.bytes > HOLD_TIMES * flush_bytes(&facts);
}

void shard_hold_back(struct shard *s)
{
	if (!s->node->offline && shard_holds_much(s))
		shard_flush(s);
}
