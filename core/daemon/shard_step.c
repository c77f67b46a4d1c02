/*
 * The step flag. Who hands in a write puts it on the inbox and tries to take the flag; with the flag it steps
 * the module at the end of its turn, with everything that came meanwhile as one joined batch of events. Where
 * the module wants something durable that goes to the journal; what it commits goes to the apply queue.
 */
#include <errno.h>
#include <stdlib.h>
#include "replica.h"
#include "banned.h"

#define STEP_NS 500000 /* longest time that a loop gives to a shard in one turn */

static void done_task(struct loop_task *t)
{
	struct shard_write *w = (struct shard_write *)((char *)t - offsetof(struct shard_write, task));

	w->done(w);
}

void shard_complete(struct shard_write *w)
{
	if (!w->loop || loop_inside(w->loop)) {
		w->done(w);
		return;
	}
	w->task.run = done_task;
	loop_post(w->loop, &w->task);
}

void shard_refuse(struct shard_write *w, const struct cairn_error *error)
{
	w->error = *error;
	if (w->proposed)
		cairn_fail(&w->error, CAIRN_E_UNKNOWN,
			   "the write was proposed before, and may have happened: %.300s", error->message);
	shard_complete(w);
}

void shard_fail_batch(struct shard_write *batch, const struct cairn_error *error)
{
	while (batch) {
		struct shard_write *w = batch;

		batch = w->next;
		cairn_fail(&w->error, CAIRN_E_UNKNOWN,
			   "the write was under way and may have happened: %.300s", error->message);
		shard_complete(w);
	}
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
		shard_stop(s, &r->error);
		s->unsavable = true;
	} else {
		s->saved = x->token;
	}
	shard_try_step(s, NULL);
	free(x);
	shard_let_go(s);
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
		shard_stop(s, &error);
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
	shard_use(s);
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

void shard_effect(void *arg, const struct cairn_effect *e)
{
	struct shard *s = arg;
	struct shard_write *w;
	struct cairn_error error;

	if (s->replica) {
		replica_effect(s, e);
		return;
	}
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
		shard_refuse(w, &error);
		break;
	case CAIRN_EFFECT_ROLE:
		log_debug(s->node->log, LOG_REPLICATION, "role", LOG_TEXT("volume", s->name),
			  LOG_NUMBER("role", e->role), LOG_NUMBER("term", e->term));
		break;
	default:
		cairn_fail(&error, CAIRN_E_UNSUPPORTED,
			   "replication-%s asks for what this cairnd does not offer", s->module->name);
		shard_stop(s, &error);
		break;
	}
}

uint64_t shard_stamp(struct shard *s, uint64_t boot_ns)
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

void shard_take_inbox(struct shard *s)
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

/* Whether there is no room for W on the disk: then it is answered. */
static bool has_no_room(struct shard *s, struct shard_write *w)
{
	struct cairn_error error;

	if (frees(w))
		return false;
	if (s->no_room || (s->journal && journal_is_short(s->node->journal))) {
		cairn_fail(
			&error, CAIRN_E_FULL,
			"volume %s on node %s takes no writes, and this one did not happen: the disk is full",
			s->name, s->node->name);
		cairn_hint(&error, "make room on the disk; writing goes on by itself then");
	} else if (shard_lacks_room(s, &error)) {
		cairn_error_prefix(&error,
				   "volume %s on node %s takes no writes, and this one did not happen",
				   s->name, s->node->name);
	} else {
		return false;
	}
	shard_refuse(w, &error);
	return true;
}

bool shard_may_propose(struct shard *s, struct shard_write *w)
{
	struct cairn_error error;

	if (shard_health(s, &error)) {
		shard_refuse(w, &error);
		return false;
	}
	if (has_no_room(s, w))
		return false;
	return true;
}

/* Make W an event, or answer it where it cannot be proposed. Returns whether it is one. */
static bool propose(struct shard *s, struct shard_write *w, uint64_t now, struct cairn_event *e)
{
	struct cairn_error error;

	if (!shard_may_propose(s, w))
		return false;
	if (w->deadline_ns && w->deadline_ns < now) {
		cairn_fail(&error, CAIRN_E_TIMEOUT,
			   "volume %s: the time ran out before the write was begun; it did not happen",
			   s->name);
		shard_refuse(w, &error);
		return false;
	}
	if (add_time(&w->command, shard_stamp(s, now)) < 0) {
		cairn_fail(&error, CAIRN_E_INTERNAL, "volume %s: no memory for the write; it did not happen",
			   s->name);
		shard_refuse(w, &error);
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

	if (s->replica)
		return replica_gather(s, now);
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
		shard_fail_batch(s->log, &s->reason);
		s->log = s->unsaved = NULL;
		s->log_last = &s->log;
		s->unsavable = false;
	}
	if (applied != s->told)
		s->events[n++] = (struct cairn_event){ .kind = CAIRN_EVENT_APPLIED,
						       .index = applied,
						       .now_us = now / 1000 };
	s->told = applied;
	shard_take_inbox(s);
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
		shard_stop(s, &error);
		shard_fail_batch(s->log, &error);
		s->log = NULL;
		s->log_last = &s->log;
	}
	if (s->replica)
		replica_stepped(s);
	shard_start_apply(s);
}

/* What gather() would find. */
static bool is_due(struct shard *s)
{
	if (s->replica)
		return replica_is_due(s, true);
	return s->token || s->saved || s->unsavable || s->waiting || s->applied != s->told ||
		atomic_load_explicit(&s->inbox, memory_order_relaxed);
}

static void step_all(struct shard *s, struct loop *l);

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
	} while ((s->replica ? replica_is_due(s, false)
			     : s->inbox || s->saved || s->unsavable || s->applied != s->told) &&
		 !atomic_exchange(&s->step, true));
	shard_let_go(s);
}

void shard_try_step(struct shard *s, struct loop *l)
{
	if (atomic_exchange(&s->step, true))
		return;
	shard_use(s);
	step_all(s, l);
}

void shard_write(struct shard *s, struct shard_write *w)
{
	struct shard_write *head = atomic_load_explicit(&s->inbox, memory_order_relaxed);

	w->error.code = CAIRN_OK; /* and not all of its texts, for each write */
	w->error.revision = 0;
	w->error.message[0] = w->error.hint[0] = 0;
	w->since_ns = 0;
	w->proposed = w->refused = false;
	do
		w->next = head;
	while (!atomic_compare_exchange_weak_explicit(&s->inbox, &head, w, memory_order_seq_cst,
						      memory_order_relaxed));
	shard_step_at_turn_end(s, w->loop);
}

void shard_step_at_turn_end(struct shard *s, struct loop *l)
{
	if (atomic_exchange_explicit(&s->step, true, memory_order_seq_cst))
		return;
	shard_use(s);
	s->turn_loop = l;
	s->turn.run = turn;
	loop_at_turn_end(l, &s->turn);
}
