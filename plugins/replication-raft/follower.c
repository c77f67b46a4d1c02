/*
 * A follower's log (§3.5). What it acknowledges is never simply how much it has: it is what was checked
 * against this leader's log, as far as that is durable.
 */
#include "raft.h"
#include "banned.h"

static void reject(struct raft *r, uint64_t leader, uint64_t at)
{
	uint64_t term = log_term(&r->log, at);

	raft_send(r, leader,
		  &(struct message){ .kind = MESSAGE_REJECT,
				     .term = r->term,
				     .a = at,
				     .b = r->probe_seen,
				     .c = term,
				     .d = term ? log_run_start(&r->log, at) : r->log.last + 1 },
		  true);
}

/*
 * Persists under way bring nothing behind LAST, even where the same entries come back before they are
 * stored: on the disk those come back with a later persist.
 */
static void cut_persists(struct raft *r, uint64_t last)
{
	for (size_t i = 0; i < r->persist_count; i++)
		if (r->persists[i].last > last)
			r->persists[i].last = last;
}

/* The entries from FROM on are not the leader's. */
static void truncate(struct raft *r, uint64_t from)
{
	if (from <= r->commit) {
		r->error = -EPROTO; /* a leader that lacks what is committed */
		return;
	}
	log_truncate(&r->log, from);
	r->stored = r->stored < from ? r->stored : from - 1;
	cut_persists(r, from - 1);
	while (r->member_count > 1 && raft_members(r)->index >= from)
		r->member_count--;
	r->dirty = true;
	raft_effect(r, &(struct cairn_effect){ .kind = CAIRN_EFFECT_TRUNCATE, .index = from });
}

void follower_append(struct raft *r, const struct cairn_event *e, const struct message *m)
{
	uint64_t at = e->index ? e->index - 1 : 0, checked;
	bool added = false;

	r->contact_us = r->now_us;
	raft_reset_election(r);
	if (m->b > r->probe_seen) {
		r->probe_seen = m->b;
		r->ack_due = true;
	}
	if (at > r->log.last || (at > r->log.base && log_term(&r->log, at) != e->term)) {
		reject(r, e->peer, at);
		return;
	}
	for (size_t i = 0; i < e->count && !r->error; i++) {
		struct cairn_entry entry = e->entries[i];

		if (entry.index != at + 1 + i || !entry.term || entry.term > m->term ||
		    (entry.index > r->log.base && entry.term < log_term(&r->log, entry.index - 1)))
			return; /* as if the rest had been lost */
		if (entry.index <= r->log.base || log_term(&r->log, entry.index) == entry.term)
			continue;
		if (entry.index <= r->log.last)
			truncate(r, entry.index);
		if (r->error)
			return;
		raft_append(r, &entry);
		added = true;
	}
	checked = at + e->count;
	r->verified = checked > r->verified ? checked : r->verified;
	raft_commit(r, m->a < r->verified ? m->a : r->verified);
	/* What was added is acknowledged when it is stored. */
	r->ack_due = r->ack_due || !added;
}

void follower_installed(struct raft *r, const struct cairn_event *e)
{
	struct members m;

	if (e->index <= r->commit)
		return;
	r->error = members_decode(e->body, &m);
	if (r->error)
		return;
	m.index = e->index;
	if (e->index > r->log.last || log_term(&r->log, e->index) != e->term) {
		if (r->log.last > e->index)
			raft_effect(r,
				    &(struct cairn_effect){ .kind = CAIRN_EFFECT_TRUNCATE,
							    .index = e->index + 1 });
		r->log.count = 0;
		r->log.last = r->stored = e->index;
		cut_persists(r, e->index);
		r->member_count = 1;
	}
	/* Else what lies behind it stays: it may have been acknowledged. */
	log_compact(&r->log, e->index, e->term);
	while (r->member_count > 1 && r->members[1].index <= e->index) {
		r->member_count--;
		memmove(r->members, r->members + 1, r->member_count * sizeof(*r->members));
	}
	r->members[0] = m;
	r->stored = r->stored > e->index ? r->stored : e->index;
	r->commit = r->applied = r->told_apply = e->index;
	r->verified = e->index > r->verified ? e->index : r->verified;
	r->dirty = r->ack_due = true;
	if (r->role == CAIRN_ROLE_FOLLOWER || r->role == CAIRN_ROLE_LEARNER)
		r->role = members_flags(raft_members(r), r->self) & LEARNER ? CAIRN_ROLE_LEARNER
									    : CAIRN_ROLE_FOLLOWER;
}

void follower_flush(struct raft *r)
{
	uint64_t match = r->stored < r->verified ? r->stored : r->verified;

	if (!r->leader || !(r->ack_due || match > r->acked))
		return;
	r->ack_due = false;
	r->acked = match;
	raft_send(r, r->leader,
		  &(struct message){ .kind = MESSAGE_ACK, .term = r->term, .a = match, .b = r->probe_seen },
		  true);
}
