/*
 * Clients' linearizable reads. All that came since the last step ask for one index together, which the module
 * confirms with a majority; they are served from this node's store once that index is applied. Without a
 * leader they wait, for a while. A round whose answer was lost is asked for again.
 */
#include <stdlib.h>
#include "replica.h"
#include "banned.h"

#define ASK_AGAIN_NS 300000000u

static void read_done(struct loop_task *t)
{
	struct shard_read *q = (struct shard_read *)((char *)t - offsetof(struct shard_read, task));

	q->done(q);
}

static void complete(struct shard_read *q)
{
	if (loop_inside(q->loop)) {
		q->done(q);
		return;
	}
	q->task.run = read_done;
	loop_post(q->loop, &q->task);
}

static void complete_all(struct shard_read *q)
{
	while (q) {
		struct shard_read *next = q->next;

		complete(q);
		q = next;
	}
}

static void end_all(struct shard_read *q, const struct cairn_error *error)
{
	for (struct shard_read *i = q; i; i = i->next)
		i->error = *error;
	complete_all(q);
}

bool shard_read_begin(struct shard *s, struct shard_read *q)
{
	struct replica *r = s->replica;

	q->error.code = CAIRN_OK;
	if (!r)
		return true;
	q->since_ns = loop_now_ns(q->loop);
	q->next = atomic_load_explicit(&r->read_inbox, memory_order_relaxed);
	while (!atomic_compare_exchange_weak(&r->read_inbox, &q->next, q))
		;
	shard_step_at_turn_end(s, q->loop);
	return false;
}

static void take_reads(struct replica *r)
{
	struct shard_read *q = atomic_exchange(&r->read_inbox, NULL);

	while (q) {
		struct shard_read *next = q->next;

		q->next = r->reads;
		r->reads = q;
		q = next;
	}
}

size_t replica_ask(struct replica *r, size_t n, uint64_t now)
{
	struct read_round *round;

	if (!r->reads && !atomic_load_explicit(&r->read_inbox, memory_order_relaxed))
		return n;
	take_reads(r);
	round = r->leader ? calloc(1, sizeof(*round)) : NULL;
	replica_outstanding(r);
	if (!round)
		return n;
	round->reference = r->next_reference;
	r->next_reference += 2;
	round->since_ns = now;
	round->reads = r->reads;
	round->next = r->rounds;
	r->rounds = round;
	r->reads = NULL;
	r->shard->events[n++] = (struct cairn_event){ .kind = CAIRN_EVENT_READ,
						      .reference = round->reference,
						      .now_us = now / 1000 };
	return n;
}

static struct read_round **find(struct replica *r, uint64_t reference)
{
	struct read_round **at = &r->rounds;

	while (*at && (*at)->reference != reference)
		at = &(*at)->next;
	return at;
}

/* The round at AT is over: its reads. */
static struct shard_read *take_round(struct read_round **at)
{
	struct read_round *round = *at;
	struct shard_read *reads = round->reads;

	*at = round->next;
	free(round);
	return reads;
}

void replica_read_ok(struct replica *r, uint64_t reference, uint64_t index)
{
	struct read_round **at = find(r, reference);

	if (!*at)
		return;
	if (index <= r->shard->applied)
		complete_all(take_round(at));
	else
		(*at)->index = index;
}

/* The reads of the round at AT wait for a leader again. */
static void ask_again(struct replica *r, struct read_round **at)
{
	struct shard_read *q = take_round(at);

	while (q) {
		struct shard_read *next = q->next;

		q->next = r->reads;
		r->reads = q;
		q = next;
	}
}

void replica_read_refused(struct replica *r, uint64_t reference)
{
	struct read_round **at = find(r, reference);

	if (*at)
		ask_again(r, at); /* with the next sweep */
}

void replica_reads_applied(struct replica *r)
{
	struct read_round **at = &r->rounds;

	while (*at)
		if ((*at)->index && (*at)->index <= r->shard->applied)
			complete_all(take_round(at));
		else
			at = &(*at)->next;
}

void replica_sweep_reads(struct replica *r, uint64_t now)
{
	struct read_round **at = &r->rounds;
	struct shard_read **q;
	struct cairn_error error = { 0 };

	while (*at)
		if (!(*at)->index && now - (*at)->since_ns > ASK_AGAIN_NS)
			ask_again(r, at);
		else
			at = &(*at)->next;
	take_reads(r);
	for (q = &r->reads; *q;) {
		struct shard_read *late = *q;

		if (now - late->since_ns < REPLICA_PATIENCE_NS &&
		    (!late->deadline_ns || now < late->deadline_ns)) {
			q = &late->next;
			continue;
		}
		*q = late->next;
		replica_explain(r, "", &error);
		late->error = error;
		complete(late);
	}
	if (r->reads || r->rounds)
		replica_outstanding(r);
}

void replica_drain_reads(struct replica *r, const struct cairn_error *error)
{
	take_reads(r);
	end_all(r->reads, error);
	r->reads = NULL;
	while (r->rounds)
		end_all(take_round(&r->rounds), error);
}
