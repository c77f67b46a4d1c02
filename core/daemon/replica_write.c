/*
 * Clients' writes. The leader proposes them; any other node hands them to the leader and waits for its
 * answer. Where there is no leader they wait for one, for a while; then they did not happen. What was
 * proposed or handed on and not answered has an unknown fate: it is tried again where the writer has named
 * it, since the store applies a named write once, and else ends as UNKNOWN.
 */
#include <stdlib.h>
#include "replica.h"
#include "banned.h"

/* Whether the store would notice that W comes again. */
static bool is_named(const struct shard_write *w)
{
	struct cairn_slice body;

	return cairn_field_find(cairn_message_fields(cairn_msg_slice(&w->command)), CAIRN_F_CLIENT, &body);
}

/* Whether somebody decides, as far as this node knows. A leader that has lost the others will not lead for
 * long: what it does not propose did not happen. */
static bool is_led(struct replica *r)
{
	struct cluster_count n;

	if (r->role != CAIRN_ROLE_LEADER)
		return r->leader;
	n = cluster_up(r->cluster);
	return n.up * 2 > n.all;
}

void replica_explain(struct replica *r, const char *end, struct cairn_error *error)
{
	struct cluster_count n = cluster_up(r->cluster);

	if (n.up * 2 <= n.all)
		cairn_fail(error, CAIRN_E_UNAVAILABLE, "%zu of %zu nodes %s up, %zu are needed%s", n.up,
			   n.all, n.up == 1 ? "is" : "are", n.all / 2 + 1, end);
	else
		cairn_fail(error, CAIRN_E_UNAVAILABLE, "volume %s has no leader now%s", r->shard->name, end);
}

void replica_outstanding(struct replica *r)
{
	if (!atomic_exchange(&r->outstanding, true))
		cluster_wake(r->cluster, clock_boot_ns() + REPLICA_SWEEP_NS);
}

/* W's time is over. It did not happen, unless it was proposed before. */
static void give_up(struct replica *r, struct shard_write *w)
{
	struct cairn_error error = { 0 };

	replica_explain(r, w->proposed ? "" : "; the write did not happen", &error);
	w->refused = !w->proposed;
	shard_refuse(w, &error);
}

static void fate_unknown(struct replica *r, struct shard_write *w)
{
	cairn_fail(&w->error, CAIRN_E_UNKNOWN,
		   "the write was under way in volume %s when its leader was lost, and may have happened",
		   r->shard->name);
	shard_complete(w);
}

/* W is to be decided anew. */
static void wait_again(struct replica *r, struct shard_write *w)
{
	struct shard *s = r->shard;

	w->next = NULL;
	*s->waiting_last = w;
	s->waiting_last = &w->next;
	replica_outstanding(r);
}

/* W was proposed somewhere and came to nothing there. */
static void try_again(struct replica *r, struct shard_write *w)
{
	w->proposed = true;
	if (is_named(w)) {
		wait_again(r, w);
		r->again = true;
	} else {
		fate_unknown(r, w);
	}
}

/* What is due of W, which has not been proposed anywhere, or is named: 0 where it goes on. */
static bool is_late(struct replica *r, struct shard_write *w, uint64_t now)
{
	bool patient = now - w->since_ns < REPLICA_PATIENCE_NS || is_led(r);

	if (patient && (!w->deadline_ns || now < w->deadline_ns))
		return false;
	if (w->proposed)
		fate_unknown(r, w);
	else if (!patient)
		give_up(r, w);
	else {
		w->refused = true;
		cairn_fail(&w->error, CAIRN_E_TIMEOUT,
			   "volume %s: the time ran out before the write was begun; it did not happen",
			   r->shard->name);
		shard_complete(w);
	}
	return true;
}

/* The leader of this node proposes W as the event E. */
static bool propose_here(struct replica *r, struct shard_write *w, uint64_t now, struct cairn_event *e)
{
	struct entry *entry;
	struct cairn_msg m = { 0 };

	if (!shard_may_propose(r->shard, w))
		return false;
	cairn_msg_start(&m, cairn_message_number(cairn_msg_slice(&w->command)));
	cairn_msg_u64(&m, CAIRN_F_TIME, shard_stamp(r->shard, now));
	cairn_msg_fields(&m, cairn_message_fields(cairn_msg_slice(&w->command)));
	entry = cairn_msg_error(&m) ? NULL : entry_new(r, cairn_msg_slice(&m), 0);
	cairn_msg_free(&m);
	if (!entry) {
		cairn_fail(&w->error, CAIRN_E_INTERNAL, "no memory for the write; it did not happen");
		shard_complete(w);
		return false;
	}
	entry->client = w;
	entry->w.mute = false;
	*e = (struct cairn_event){ .kind = CAIRN_EVENT_PROPOSE,
				   .reference = (uintptr_t)entry,
				   .size = entry->size,
				   .now_us = now / 1000 };
	return true;
}

/* Hand W to the leader, another node. Whether it left. */
static bool hand_on(struct replica *r, struct shard_write *w, uint64_t now)
{
	uint64_t reference = r->next_reference;

	if (!replica_forward(r, r->leader, reference, w, now))
		return false;
	r->next_reference += 2;
	w->reference = reference;
	w->next = r->forwarded;
	r->forwarded = w;
	return true;
}

size_t replica_propose(struct replica *r, size_t n, uint64_t now)
{
	struct shard *s = r->shard;
	struct shard_write *first, **last;

	if (!r->again && !atomic_load_explicit(&s->inbox, memory_order_relaxed))
		return n;
	r->again = false;
	shard_take_inbox(s);
	first = s->waiting;
	s->waiting = NULL;
	s->waiting_last = &s->waiting;
	while (first) {
		struct shard_write *w = first;

		first = w->next;
		w->since_ns = w->since_ns ? w->since_ns : now;
		if (is_late(r, w, now))
			continue;
		if (r->role == CAIRN_ROLE_LEADER && n == STEP_MAX) {
			w->next = first;
			first = w;
			r->again = true;
			break;
		}
		if (r->role == CAIRN_ROLE_LEADER && is_led(r)) {
			n += propose_here(r, w, now, &s->events[n]);
		} else if (w->guest && r->role != CAIRN_ROLE_LEADER) { /* its own node finds the leader */
			give_up(r, w);
		} else if (!r->leader || r->role == CAIRN_ROLE_LEADER || !hand_on(r, w, now)) {
			w->next = NULL;
			*s->waiting_last = w;
			s->waiting_last = &w->next;
		}
	}
	last = s->waiting_last;
	for (*last = first; *last; last = &(*last)->next)
		;
	s->waiting_last = last;
	if (s->waiting || n || r->forwarded)
		replica_outstanding(r);
	return n;
}

void replica_rejected(struct replica *r, struct entry *e)
{
	struct shard_write *w = e->client;

	e->client = NULL;
	entry_put(e);
	if (w)
		wait_again(r, w);
}

void replica_detach(struct replica *r, struct entry *e)
{
	struct shard_write *w;

	pthread_mutex_lock(&r->lock);
	w = e->client;
	e->client = NULL;
	pthread_mutex_unlock(&r->lock);
	if (w)
		try_again(r, w);
}

void replica_answered(struct replica *r, const struct mail *m)
{
	const unsigned char *p = m->data;
	struct shard_write **at = &r->forwarded, *w;
	size_t len = m->event.body.len, message = le16_get(p + 4), hint = le16_get(p + 6);

	while (*at && (*at)->reference != m->event.reference)
		at = &(*at)->next;
	w = *at;
	if (!w || message + hint > len - 24)
		return;
	*at = w->next;
	if (p[1] && le16_get(p + 2) == CAIRN_E_UNAVAILABLE) { /* it was no leader any more */
		wait_again(r, w);
		return;
	}
	w->error = (struct cairn_error){ .code = le16_get(p + 2), .revision = le64_get(p + 16) };
	snprintf(w->error.message, sizeof(w->error.message), "%.*s", (int)message, (const char *)p + 24);
	snprintf(w->error.hint, sizeof(w->error.hint), "%.*s", (int)hint, (const char *)p + 24 + message);
	/* That the leader did not do it now says nothing of the first time. */
	if (w->proposed &&
	    (w->error.code == CAIRN_E_UNAVAILABLE || w->error.code == CAIRN_E_TIMEOUT ||
	     w->error.code == CAIRN_E_FULL)) {
		struct cairn_error error = w->error;

		shard_refuse(w, &error);
		return;
	}
	if (!w->error.code) {
		cairn_msg_start(&w->answer, 0);
		cairn_msg_fields(&w->answer,
				 cairn_message_fields(
					 cairn_slice(p + 24 + message + hint, len - 24 - message - hint)));
	}
	shard_complete(w);
}

void replica_take_back(struct replica *r)
{
	struct shard_write *w = r->forwarded;

	r->forwarded = NULL;
	while (w) {
		struct shard_write *next = w->next;

		try_again(r, w);
		w = next;
	}
}

/* Detach the clients of entries under way that have waited too long. */
static void sweep_entries(struct replica *r, uint64_t now)
{
	bool under_way = false;

	for (uint64_t i = r->shard->applied + 1; i <= r->last; i++) {
		struct entry *e = replica_entry(r, i);
		struct shard_write *w = NULL;

		if (!e)
			continue;
		pthread_mutex_lock(&r->lock);
		w = e->client;
		if (w) {
			bool patient = now - w->since_ns < REPLICA_PATIENCE_NS || is_led(r);

			if (patient && (!w->deadline_ns || now < w->deadline_ns)) {
				under_way = true;
				w = NULL;
			} else {
				e->client = NULL;
			}
		}
		pthread_mutex_unlock(&r->lock);
		if (w)
			fate_unknown(r, w);
	}
	if (under_way)
		replica_outstanding(r);
}

void replica_sweep_writes(struct replica *r, uint64_t now)
{
	struct shard_write *w = r->forwarded;

	r->forwarded = NULL;
	while (w) {
		struct shard_write *next = w->next;

		w->proposed = true;
		if (!is_late(r, w, now)) {
			w->next = r->forwarded;
			r->forwarded = w;
		}
		w = next;
	}
	sweep_entries(r, now);
	if (r->shard->waiting || r->forwarded)
		replica_outstanding(r);
}

void replica_drain_writes(struct replica *r, const struct cairn_error *error)
{
	struct shard *s = r->shard;

	shard_take_inbox(s);
	while (s->waiting) {
		struct shard_write *w = s->waiting;

		s->waiting = w->next;
		w->refused = !w->proposed;
		if (w->proposed)
			fate_unknown(r, w);
		else
			shard_refuse(w, error);
	}
	s->waiting_last = &s->waiting;
	while (r->forwarded) {
		struct shard_write *w = r->forwarded;

		r->forwarded = w->next;
		fate_unknown(r, w);
	}
	for (uint64_t i = s->applied + 1; i <= r->last; i++) {
		struct entry *e = replica_entry(r, i);
		struct shard_write *w = NULL;

		if (!e)
			continue;
		pthread_mutex_lock(&r->lock);
		w = e->client;
		e->client = NULL;
		pthread_mutex_unlock(&r->lock);
		if (w)
			fate_unknown(r, w);
	}
}
