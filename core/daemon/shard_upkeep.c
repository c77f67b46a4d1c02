/*
 * What is done once a second: keys and uploads that are due go by a command, history that is not visible is
 * reclaimed, and where it takes too much room a command gives up its oldest part, and the engine does its own
 * upkeep, a few milliseconds at a time.
 */
#include <errno.h>
#include <stdlib.h>
#include "replica.h"
#include "banned.h"

#define UPKEEP_US 5000       /* one step of the engine's own upkeep */
#define UPKEEP_NS 500000000u /* most of it between two ticks */

bool shard_reclaim(struct shard *s)
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
		shard_stop(s, &error);
	}
	s->reclaim = more && !code;
	if (!s->reclaim && !code && !s->raising &&
	    store_history_excess(s->store, s->no_room || s->full.code || shard_lacks_room(s, NULL), &floor) ==
		    0)
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
	shard_let_go(s);
}

bool shard_upkeep_applying(struct shard *s)
{
	s->upkeep_due = s->upkeep_due && upkeep_step(s);
	return s->upkeep_due;
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
	shard_let_go(s);
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
	shard_use(s);
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
	shard_let_go(s);
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
	shard_use(s);
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
	shard_let_go(s);
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
	shard_use(s);
	shard_write(s, w);
}

/* Let the engine do what it has to do, for a part of the time until the next tick. */
static void begin_upkeep(struct shard *s)
{
	s->upkeep_until_ns = clock_boot_ns() + UPKEEP_NS;
	if (!s->upkeeps || !s->overlay || atomic_exchange(&s->upkeeping, true))
		return;
	shard_use(s);
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
	struct shard_role role;
	bool mine;

	if (s->replica)
		replica_tick(s->replica);
	shard_role(s, &role);
	shard_maybe_flush(s);
	shard_bound_journal(s);
	wait = role.role == CAIRN_ROLE_LEADER ? expire(s) : TICK_NS;
	store_facts(s->store, &facts);
	s->due_ns = shard_now(s) + wait;
	if (s->stopped || clock_boot_ns() - s->upkeep_ns < TICK_NS / 2)
		return wait;
	s->upkeep_ns = clock_boot_ns();
	if (facts.unstage_ns <= shard_now(s) && !s->unstaging && role.role == CAIRN_ROLE_LEADER)
		unstage_from(s, cairn_slice(NULL, 0));
	begin_upkeep(s);
	if (!facts.reclaims && (s->overlay || !s->upkeeps))
		return wait;
	floor = atomic_exchange(&s->give_up, 0);
	if (floor && !s->raising && role.role == CAIRN_ROLE_LEADER)
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
		shard_apply_in_worker(s);
	return wait;
}
