/*
 * Elections (§3.4), asked for before they are held (pre-vote, §9.6), and refused by whoever has just heard of
 * a leader (§4.2.3). A vote counts once it is durable: requests and grants wait for the persist.
 */
#include "raft.h"
#include "banned.h"

/* Whether a log that ends at LAST in LAST_TERM has all that ours has committed (§3.6.1). */
static bool is_up_to_date(const struct raft *r, uint64_t last, uint64_t last_term)
{
	uint64_t ours = log_term(&r->log, r->log.last);

	return last_term > ours || (last_term == ours && last >= r->log.last);
}

static uint64_t has_granted(void *arg, uint64_t id)
{
	struct raft *r = arg;
	const struct peer *p = raft_peer(r, id);

	/* Our own vote counts when it is durable. */
	return id == r->self ? r->pre || r->stored_token >= r->hard_token : p && p->granted;
}

void election_count(struct raft *r)
{
	if (r->role != CAIRN_ROLE_CANDIDATE || !members_quorum(raft_members(r), has_granted, r))
		return;
	if (r->pre)
		election_start(r, false, r->transferred);
	else
		leader_start(r);
}

void election_start(struct raft *r, bool pre, bool transfer)
{
	struct message m = { .kind = MESSAGE_VOTE,
			     .flags = (uint8_t)((pre ? PRE_VOTE : 0) | (transfer ? TRANSFER : 0)),
			     .term = r->term + 1,
			     .a = r->log.last,
			     .b = log_term(&r->log, r->log.last) };

	raft_drop_leadership(r);
	r->role = CAIRN_ROLE_CANDIDATE;
	r->leader = 0;
	r->pre = pre;
	r->transferred = transfer;
	if (!pre)
		raft_set_term(r, r->term + 1, r->self);
	raft_reset_election(r);
	raft_update_peers(r);
	for (size_t i = 0; i < r->peer_count; i++)
		if (members_flags(raft_members(r), r->peers[i].id) & (VOTER | OUTGOING))
			raft_send(r, r->peers[i].id, &m, true);
	election_count(r);
}

void election_vote(struct raft *r, uint64_t from, const struct message *m)
{
	bool pre = m->flags & PRE_VOTE, grant;
	bool has_leader = r->role == CAIRN_ROLE_LEADER || r->now_us - r->contact_us < r->election_us;

	if (has_leader && !(m->flags & TRANSFER) && m->term > r->term) {
		/* It may be cut off from a leader that we hear; its term is not worth joining. */
		raft_send(r, from,
			  &(struct message){ .kind = MESSAGE_REFUSE, .flags = m->flags, .term = r->term },
			  true);
		return;
	}
	if (m->term > r->term && !pre)
		raft_follow(r, m->term, 0);
	grant = m->term >= r->term && is_up_to_date(r, m->a, m->b) &&
		(pre ? m->term > r->term : m->term == r->term && !r->leader && (!r->vote || r->vote == from));
	if (grant && !pre) {
		raft_set_term(r, r->term, from);
		raft_reset_election(r);
	}
	raft_send(r, from,
		  &(struct message){ .kind = grant ? MESSAGE_GRANT : MESSAGE_REFUSE,
				     .flags = m->flags,
				     .term = grant ? m->term : r->term },
		  true);
}

void election_answer(struct raft *r, uint64_t from, const struct message *m)
{
	bool pre = m->flags & PRE_VOTE;
	struct peer *p;

	if (m->kind == MESSAGE_REFUSE) {
		if (m->term > r->term)
			raft_follow(r, m->term, 0);
		return;
	}
	p = raft_peer(r, from);
	if (r->role != CAIRN_ROLE_CANDIDATE || r->pre != pre || m->term != r->term + pre || !p)
		return;
	p->granted = true;
	election_count(r);
}
