/*
 * A leader: its log only grows (§3.5); an entry is committed when a quorum has it durably and it is of the
 * leader's own term (§3.6.2). Each peer gets one append at a time until one fits, then many. A leader that a
 * quorum does not answer gives up (§6.2).
 */
#include "raft.h"
#include "banned.h"

#ifndef PROBE_RANGE
#define PROBE_RANGE 64 /* entries sent to a peer of which nothing is known */
#endif

void leader_start(struct raft *r)
{
	struct cairn_entry e = { .term = r->term, .kind = CAIRN_ENTRY_NONE };

	r->role = CAIRN_ROLE_LEADER;
	r->leader = r->self;
	r->pre = false;
	r->first_own = r->log.last + 1;
	r->probe = 0;
	r->heartbeat_at = r->now_us + r->heartbeat_us;
	r->check_at = r->now_us + r->election_us;
	for (size_t i = 0; i < r->peer_count; i++)
		r->peers[i] = (struct peer){ .id = r->peers[i].id,
					     .next = r->log.last + 1,
					     .contact_us = r->now_us };
	raft_append(r, &e);
}

static void append_command(struct raft *r, uint64_t reference, uint32_t size)
{
	struct cairn_entry e = {
		.term = r->term, .kind = CAIRN_ENTRY_COMMAND, .reference = reference, .size = size
	};

	raft_append(r, &e);
}

void leader_propose(struct raft *r, uint64_t reference, uint32_t size)
{
	if (r->role != CAIRN_ROLE_LEADER) {
		raft_reject(r, reference, CAIRN_E_UNAVAILABLE);
		return;
	}
	if (!r->transfer_to) {
		append_command(r, reference, size);
		return;
	}
	if (!r->held)
		r->held = raft_alloc(r, HELD_MAX * sizeof(*r->held));
	if (!r->held || r->held_count == HELD_MAX)
		raft_reject(r, reference, CAIRN_E_UNAVAILABLE);
	else
		r->held[r->held_count++] = (struct held){ reference, size };
}

static uint64_t match_of(void *arg, uint64_t id)
{
	struct raft *r = arg;
	const struct peer *p = raft_peer(r, id);

	return id == r->self ? r->stored : p ? p->match : 0;
}

static uint64_t contact_of(void *arg, uint64_t id)
{
	struct raft *r = arg;
	const struct peer *p = raft_peer(r, id);

	return id == r->self ? r->now_us : p ? p->contact_us : 0;
}

void leader_commit(struct raft *r)
{
	uint64_t index = members_quorum(raft_members(r), match_of, r);
	unsigned char bytes[MEMBERS_BYTES];
	struct cairn_entry e = { .term = r->term, .kind = CAIRN_ENTRY_MEMBERS };
	struct members final;

	if (index > r->commit && log_term(&r->log, index) == r->term)
		raft_commit(r, index);
	if (r->commit < r->first_own || r->member_count > 1 || !members_joint(raft_members(r)))
		return;
	/* Both majorities have agreed to the change: end it. */
	final = members_final(raft_members(r));
	e.body = cairn_slice(bytes, members_encode(&final, bytes));
	e.size = (uint32_t)e.body.len;
	raft_append(r, &e);
	if (!r->error)
		leader_commit(r); /* by the new members alone, more may be */
}

/* What was sent to P and not answered may be lost: begin behind what it is known to have. */
static void probe(struct peer *p, uint64_t next)
{
	p->state = PROBE;
	p->next = next > p->match ? next : p->match + 1;
	p->asked = false;
	p->first = p->flying = 0;
}

static void on_reject(struct raft *r, struct peer *p, const struct message *m)
{
	uint64_t next = m->d;

	if (m->a <= p->match || m->a >= p->next || p->state == SNAPSHOT ||
	    (p->state == PROBE && m->a != p->next - 1))
		return; /* an old one, or no answer to anything */
	if (m->c) {     /* skip to where that term ends here, or begins there */
		uint64_t last = log_last_of(&r->log, m->c);

		if (log_term(&r->log, last) == m->c && last < m->a)
			next = last + 1;
	}
	probe(p, next < m->a ? next : m->a);
}

static void on_ack(struct raft *r, struct peer *p, const struct message *m)
{
	if (m->a > r->log.last)
		return;
	p->match = m->a > p->match ? m->a : p->match;
	p->next = p->next > p->match ? p->next : p->match + 1;
	while (p->flying && p->window[p->first] <= p->match) {
		p->first = (uint8_t)((p->first + 1) % WINDOW);
		p->flying--;
	}
	if (p->state == PROBE || (p->state == SNAPSHOT && p->match >= r->log.base)) {
		p->state = PIPELINE;
		p->asked = false;
		p->first = p->flying = 0;
	}
	leader_commit(r);
}

void leader_answer(struct raft *r, uint64_t from, const struct message *m)
{
	struct peer *p = raft_peer(r, from);

	if (!p || (m->kind != MESSAGE_ACK && m->kind != MESSAGE_REJECT))
		return;
	p->contact_us = r->now_us;
	if (m->b > p->echo && m->b <= r->probe)
		p->echo = m->b;
	if (m->kind == MESSAGE_ACK)
		on_ack(r, p, m);
	else
		on_reject(r, p, m);
}

void leader_sent(struct raft *r, uint64_t peer, uint64_t index)
{
	struct peer *p = raft_peer(r, peer);

	if (!p || p->state != SNAPSHOT)
		return;
	p->contact_us = index ? r->now_us : p->contact_us;
	p->sending = false;
	if (index) /* else the next heartbeat tries again */
		probe(p, index + 1);
}

void leader_lost(struct raft *r, uint64_t peer)
{
	struct peer *p = raft_peer(r, peer);

	if (p && p->state == PIPELINE)
		probe(p, p->match + 1);
}

/* The transfer is over, one way or the other. */
static void end_transfer(struct raft *r)
{
	r->transfer_to = 0;
	for (size_t i = 0; i < r->held_count; i++)
		append_command(r, r->held[i].reference, r->held[i].size);
	r->held_count = 0;
}

void leader_timer(struct raft *r)
{
	if (r->now_us >= r->check_at) {
		r->check_at = r->now_us + r->election_us;
		if (r->now_us - members_quorum(raft_members(r), contact_of, r) > r->election_us) {
			raft_follow(r, r->term, 0);
			return;
		}
	}
	if (r->transfer_to && r->now_us >= r->transfer_until) {
		raft_reject(r, r->transfer_reference, CAIRN_E_TIMEOUT);
		end_transfer(r);
	}
	if (r->now_us >= r->heartbeat_at) {
		r->heartbeat_at = r->now_us + r->heartbeat_us;
		r->beat = true;
	}
}

/* One append to P, with COUNT entries from its next one on. */
static void send_append(struct raft *r, struct peer *p, uint64_t count)
{
	struct message m = { .kind = MESSAGE_APPEND, .term = r->term, .a = r->commit, .b = r->probe };
	uint64_t next = p->state == SNAPSHOT ? 1 : p->next;
	unsigned char bytes[MESSAGE_BYTES];

	message_encode(&m, bytes);
	raft_effect(r,
		    &(struct cairn_effect){ .kind = CAIRN_EFFECT_SEND,
					    .peer = p->id,
					    .index = next,
					    .last = count ? next + count - 1 : 0,
					    .term = log_term(&r->log, next - 1),
					    .body = cairn_slice(bytes, sizeof(bytes)) });
	p->told_commit = r->commit;
	p->told_probe = r->probe;
	p->asked = true;
	if (p->state != PIPELINE || !count)
		return;
	p->next += count;
	p->window[(p->first + p->flying++) % WINDOW] = p->next - 1;
}

static void flush_peer(struct raft *r, struct peer *p)
{
	bool sent = false;

	bool lacks = p->state != SNAPSHOT && p->next - 1 < r->log.base;

	if (lacks || (p->state == SNAPSHOT && !p->sending && r->beat)) {
		p->state = SNAPSHOT;
		p->sending = true;
		raft_effect(r,
			    &(struct cairn_effect){
				    .kind = CAIRN_EFFECT_SNAPSHOT, .peer = p->id, .index = r->log.base });
	}
	if (r->beat)
		p->asked = false;
	if (p->state == PROBE && !p->asked) {
		uint64_t n = r->log.last + 1 - p->next;

		send_append(r, p, n < PROBE_RANGE ? n : PROBE_RANGE);
		sent = true;
	}
	while (p->state == PIPELINE && p->next <= r->log.last && p->flying < WINDOW) {
		uint64_t n = r->log.last + 1 - p->next;

		send_append(r, p, n < RANGE_MAX ? n : RANGE_MAX);
		sent = true;
	}
	if (!sent &&
	    (r->beat || p->told_probe < r->probe || (p->told_commit < r->commit && p->state == PIPELINE)))
		send_append(r, p, 0);
	if (r->transfer_to == p->id && p->match == r->log.last && (r->beat || !r->transfer_told)) {
		raft_send(r, p->id, &(struct message){ .kind = MESSAGE_NOW, .term = r->term }, false);
		r->transfer_told = true;
	}
}

void leader_flush(struct raft *r)
{
	const struct members *m;

	read_confirm(r);
	for (size_t i = 0; i < r->peer_count && !r->error; i++)
		flush_peer(r, &r->peers[i]);
	r->beat = false;
	m = raft_members(r);
	if (r->member_count > 1 || members_joint(m))
		return;
	/* Who has left has been told by now; and so has everybody, where it is this node. */
	if (!(members_flags(m, r->self) & VOTER) && m->index <= r->commit)
		raft_follow(r, r->term, 0);
	else if (r->peer_count + 1 > m->count)
		raft_update_peers(r);
}

void leader_members(struct raft *r, const struct cairn_event *e)
{
	unsigned char bytes[MEMBERS_BYTES];
	struct members want, next;
	struct cairn_entry entry = { .term = r->term,
				     .kind = CAIRN_ENTRY_MEMBERS,
				     .reference = e->reference };
	enum cairn_code code = CAIRN_OK;

	if (r->role != CAIRN_ROLE_LEADER || r->transfer_to)
		code = CAIRN_E_UNAVAILABLE;
	else if (r->commit < r->first_own || r->member_count > 1 || members_joint(raft_members(r)))
		code = CAIRN_E_CONFLICT; /* one change at a time, and none before the term has committed
					    (§4.1) */
	else if (members_decode(e->body, &want) < 0 || members_change(raft_members(r), &want, &next) < 0)
		code = CAIRN_E_INVALID;
	for (unsigned i = 0; !code && i < next.count; i++) {
		const struct peer *p = raft_peer(r, next.id[i]);

		/* A new voter that lacks much would hold up commits. */
		if (next.flags[i] == VOTER && next.id[i] != r->self && members_joint(&next) &&
		    (!p || p->match + NEAR < r->log.last))
			code = CAIRN_E_UNAVAILABLE;
	}
	if (code) {
		raft_reject(r, e->reference, code);
		return;
	}
	entry.body = cairn_slice(bytes, members_encode(&next, bytes));
	entry.size = (uint32_t)entry.body.len;
	raft_append(r, &entry);
	raft_effect(r,
		    &(struct cairn_effect){
			    .kind = CAIRN_EFFECT_ACCEPT, .reference = e->reference, .index = r->log.last });
}

void leader_transfer(struct raft *r, uint64_t peer, uint64_t reference)
{
	if (r->role != CAIRN_ROLE_LEADER || peer == r->self || r->transfer_to ||
	    !(members_flags(raft_members(r), peer) & VOTER) || !raft_peer(r, peer)) {
		raft_reject(r, reference, CAIRN_E_UNAVAILABLE);
		return;
	}
	r->transfer_to = peer;
	r->transfer_told = false;
	r->transfer_reference = reference;
	r->transfer_until = r->now_us + r->election_us;
}
