/*
 * replication-raft: Raft as a pure step function. A step takes all events of a turn, changes the state, and
 * at its end says once what follows: one persist, one message to each peer, one range to apply. A message
 * that promises durability waits for the persist that it depends on (its token); everything else leaves at
 * once.
 *
 * Nothing here knows the bytes of a command, a clock, a disk or a socket.
 */
#include "raft.h"
#include "banned.h"

void *raft_alloc(struct raft *r, size_t size)
{
	void *p = r->host->alloc(r->host->arg, size);

	if (!p && !r->error)
		r->error = -ENOMEM;
	return p;
}

static void raft_free(struct raft *r, void *p)
{
	if (p)
		r->host->free(r->host->arg, p);
}

void raft_effect(struct raft *r, const struct cairn_effect *effect)
{
	r->host->effect(r->host->arg, effect);
}

void raft_reject(struct raft *r, uint64_t reference, enum cairn_code code)
{
	raft_effect(
		r,
		&(struct cairn_effect){ .kind = CAIRN_EFFECT_REJECT, .code = code, .reference = reference });
}

void raft_send(struct raft *r, uint64_t peer, const struct message *m, bool after_term)
{
	unsigned char bytes[MESSAGE_BYTES];

	message_encode(m, bytes);
	raft_effect(r,
		    &(struct cairn_effect){ .kind = CAIRN_EFFECT_SEND,
					    .peer = peer,
					    .token = after_term ? r->hard_token : 0,
					    .body = cairn_slice(bytes, sizeof(bytes)) });
}

void raft_set_term(struct raft *r, uint64_t term, uint64_t vote)
{
	if (r->term == term && r->vote == vote)
		return;
	r->term = term;
	r->vote = vote;
	r->dirty = true;
	r->hard_token = r->token + 1;
}

const struct members *raft_members(const struct raft *r)
{
	return &r->members[r->member_count - 1];
}

static uint64_t random_below(struct raft *r, uint64_t n)
{
	r->random ^= r->random << 13;
	r->random ^= r->random >> 7;
	r->random ^= r->random << 17;
	return r->random % n;
}

void raft_reset_election(struct raft *r)
{
	r->election_at = r->now_us + r->election_us + random_below(r, r->election_us);
}

void raft_drop_leadership(struct raft *r)
{
	read_fail_all(r);
	for (size_t i = 0; i < r->held_count; i++)
		raft_reject(r, r->held[i].reference, CAIRN_E_UNAVAILABLE);
	raft_free(r, r->held);
	raft_free(r, r->peers);
	r->held = NULL;
	r->peers = NULL;
	r->held_count = r->peer_count = 0;
	r->transfer_to = r->heartbeat_at = r->check_at = 0;
}

static void tell_role(struct raft *r)
{
	if (r->role == r->told_role && r->term == r->told_term && r->leader == r->told_leader)
		return;
	r->told_role = r->role;
	r->told_term = r->term;
	r->told_leader = r->leader;
	raft_effect(r,
		    &(struct cairn_effect){
			    .kind = CAIRN_EFFECT_ROLE, .role = r->role, .term = r->term, .peer = r->leader });
}

void raft_follow(struct raft *r, uint64_t term, uint64_t leader)
{
	bool news = term > r->term || (leader && leader != r->leader) || r->role == CAIRN_ROLE_CANDIDATE ||
		r->role == CAIRN_ROLE_LEADER;

	if (term > r->term)
		raft_set_term(r, term, 0);
	if (!news)
		return;
	raft_drop_leadership(r);
	r->role =
		members_flags(raft_members(r), r->self) & LEARNER ? CAIRN_ROLE_LEARNER : CAIRN_ROLE_FOLLOWER;
	r->pre = false;
	r->leader = leader;
	/* What is committed is in every later leader's log (§3.6.3): it needs no check. */
	r->verified = r->commit;
	r->acked = r->probe_seen = 0;
	r->ack_due = false;
	raft_reset_election(r);
	tell_role(r); /* before anything is done as a follower */
}

struct peer *raft_peer(struct raft *r, uint64_t id)
{
	for (size_t i = 0; i < r->peer_count; i++)
		if (r->peers[i].id == id)
			return &r->peers[i];
	return NULL;
}

/* Add ID to the peers AT, as it was known or as a new one. */
static void add_peer(struct raft *r, struct peer *at, size_t *n, uint64_t id)
{
	struct peer *known = raft_peer(r, id);

	for (size_t i = 0; i < *n; i++)
		if (at[i].id == id)
			return;
	at[(*n)++] =
		known ? *known : (struct peer){ .id = id, .next = r->log.last + 1, .contact_us = r->now_us };
}

void raft_update_peers(struct raft *r)
{
	size_t most = 0, n = 0;
	struct peer *at;

	for (size_t i = 0; i < r->member_count; i++)
		most += r->members[i].count;
	at = raft_alloc(r, (most ? most : 1) * sizeof(*at));
	if (!at)
		return;
	for (size_t i = 0; i < r->member_count; i++)
		for (unsigned k = 0; k < r->members[i].count; k++)
			if (r->members[i].id[k] != r->self)
				add_peer(r, at, &n, r->members[i].id[k]);
	raft_free(r, r->peers);
	r->peers = at;
	r->peer_count = n;
}

/* M is in force from its index on. */
static void push_members(struct raft *r, const struct members *m)
{
	if (r->member_count == r->member_cap) {
		size_t cap = r->member_cap ? r->member_cap * 2 : 2;
		struct members *at = raft_alloc(r, cap * sizeof(*at));

		if (!at)
			return;
		if (r->member_count)
			memcpy(at, r->members, r->member_count * sizeof(*at));
		raft_free(r, r->members);
		r->members = at;
		r->member_cap = cap;
	}
	r->members[r->member_count++] = *m;
	if (r->role == CAIRN_ROLE_FOLLOWER || r->role == CAIRN_ROLE_LEARNER)
		r->role = members_flags(m, r->self) & LEARNER ? CAIRN_ROLE_LEARNER : CAIRN_ROLE_FOLLOWER;
	if (r->role == CAIRN_ROLE_LEADER)
		raft_update_peers(r);
}

void raft_append(struct raft *r, struct cairn_entry *e)
{
	struct members m;

	if (r->error)
		return;
	r->error = log_append(r, e->term);
	e->index = r->log.last;
	raft_effect(r, &(struct cairn_effect){ .kind = CAIRN_EFFECT_APPEND, .entry = *e });
	r->dirty = true;
	if (e->kind != CAIRN_ENTRY_MEMBERS || r->error)
		return;
	r->error = members_decode(e->body, &m);
	m.index = e->index;
	push_members(r, &m);
}

void raft_commit(struct raft *r, uint64_t index)
{
	size_t n = 0;

	if (index <= r->commit)
		return;
	r->commit = index;
	while (n + 1 < r->member_count && r->members[n + 1].index <= index)
		n++;
	r->member_count -= n;
	memmove(r->members, r->members + n, r->member_count * sizeof(*r->members));
}

/* --- events --- */

static void take_log(struct raft *r, const struct cairn_durable *d)
{
	struct members m;
	size_t i = 0;

	r->log.base = r->log.last = d->index;
	r->log.base_term = d->index_term;
	if (d->count && d->log[0].index <= d->index) { /* it has some that are in the engine, for others */
		r->log.base = r->log.last = d->log[0].index;
		r->log.base_term = d->log[0].term;
		i = 1;
	}
	for (; i < d->count && !r->error; i++) {
		const struct cairn_entry *e = &d->log[i];

		/* Those left out before it have the term of the last one that was not. */
		while (!r->error && r->log.last + 1 < e->index)
			r->error = log_append(r, log_term(&r->log, r->log.last));
		if (!r->error)
			r->error = log_append(r, e->term);
		if (r->error || e->kind != CAIRN_ENTRY_MEMBERS || e->index <= d->index)
			continue;
		r->error = members_decode(e->body, &m);
		m.index = e->index;
		push_members(r, &m);
	}
	while (!r->error && r->log.last < d->last)
		r->error = log_append(r, log_term(&r->log, r->log.last));
}

static void start(struct raft *r, const struct cairn_event *e)
{
	const struct cairn_durable *d = e->durable;
	struct members m;

	r->self = d->self;
	r->random = e->random | 1;
	r->error = members_decode(d->members, &m);
	m.index = d->index;
	push_members(r, &m);
	if (r->error)
		return;
	r->term = d->term;
	r->vote = d->vote;
	r->commit = r->applied = r->told_apply = d->index;
	take_log(r, d);
	r->stored = r->log.last;
	r->verified = r->commit;
	raft_reset_election(r);
	/* A node that may have voted or answered just before it died waits as long as a leader may count on
	 * it (§4.2.3). */
	r->contact_us = r->now_us;
	if (members_flags(raft_members(r), r->self) == VOTER && raft_members(r)->count == 1)
		r->election_at = r->now_us; /* nobody else to wait for */
}

static void on_message(struct raft *r, const struct cairn_event *e)
{
	struct message m;

	if (message_decode(e->body, &m) < 0) /* of a release to come: as if it had been lost */
		return;
	switch (m.kind) {
	case MESSAGE_VOTE:
		election_vote(r, e->peer, &m);
		return;
	case MESSAGE_GRANT:
	case MESSAGE_REFUSE:
		election_answer(r, e->peer, &m);
		return;
	case MESSAGE_READ_OK:
		raft_effect(r,
			    &(struct cairn_effect){
				    .kind = CAIRN_EFFECT_READ_OK, .reference = m.a, .index = m.b });
		return;
	case MESSAGE_READ_NO:
		raft_effect(r, &(struct cairn_effect){ .kind = CAIRN_EFFECT_READ_NO, .reference = m.a });
		return;
	case MESSAGE_READ:
		read_ask(r, m.a, e->peer);
		return;
	}
	if (m.term < r->term) { /* tell it that its term is over */
		if (m.kind == MESSAGE_APPEND)
			raft_send(
				r, e->peer,
				&(struct message){ .kind = MESSAGE_REJECT, .term = r->term, .a = UINT64_MAX },
				true);
		return;
	}
	if (m.kind == MESSAGE_APPEND) {
		if (m.term == r->term && r->role == CAIRN_ROLE_LEADER) {
			r->error = -EPROTO; /* two leaders of one term */
			return;
		}
		raft_follow(r, m.term, e->peer);
		follower_append(r, e, &m);
		return;
	}
	if (m.term > r->term)
		raft_follow(r, m.term, 0);
	else if (m.kind == MESSAGE_NOW && members_flags(raft_members(r), r->self) & (VOTER | OUTGOING) &&
		 r->role != CAIRN_ROLE_LEADER)
		election_start(r, false, true);
	else if (r->role == CAIRN_ROLE_LEADER)
		leader_answer(r, e->peer, &m);
}

/* Tokens complete in order. */
static void on_stored(struct raft *r, uint64_t token)
{
	size_t n = 0;

	while (n < r->persist_count && r->persists[n].token <= token) {
		const struct persist *p = &r->persists[n++];

		r->stored = p->last > r->stored ? p->last : r->stored;
	}
	r->persist_count -= n;
	memmove(r->persists, r->persists + n, r->persist_count * sizeof(*r->persists));
	r->stored_token = token > r->stored_token ? token : r->stored_token;
	if (r->role == CAIRN_ROLE_LEADER)
		leader_commit(r);
	else if (r->role == CAIRN_ROLE_CANDIDATE)
		election_count(r);
}

static void on_timer(struct raft *r)
{
	unsigned mine = members_flags(raft_members(r), r->self);

	if (r->role == CAIRN_ROLE_LEADER) {
		leader_timer(r);
	} else if (r->now_us >= r->election_at) {
		if (mine & (VOTER | OUTGOING))
			election_start(r, true, false);
		else
			raft_reset_election(r);
	}
}

static void on_event(struct raft *r, const struct cairn_event *e)
{
	r->now_us = e->now_us > r->now_us ? e->now_us : r->now_us;
	switch (e->kind) {
	case CAIRN_EVENT_START:
		start(r, e);
		break;
	case CAIRN_EVENT_TIMER:
		break; /* every step looks at the time */
	case CAIRN_EVENT_MESSAGE:
		if (e->peer != r->self)
			on_message(r, e);
		break;
	case CAIRN_EVENT_PROPOSE:
		leader_propose(r, e->reference, e->size);
		break;
	case CAIRN_EVENT_READ:
		read_ask(r, e->reference, 0);
		break;
	case CAIRN_EVENT_STORED:
		on_stored(r, e->token);
		break;
	case CAIRN_EVENT_APPLIED:
		r->applied = e->index;
		break;
	case CAIRN_EVENT_MEMBERS:
		leader_members(r, e);
		break;
	case CAIRN_EVENT_TRANSFER:
		leader_transfer(r, e->peer, e->reference);
		break;
	case CAIRN_EVENT_PEER_LOST:
		leader_lost(r, e->peer);
		break;
	case CAIRN_EVENT_COMPACTED:
		if (e->index <= r->commit)
			log_compact(&r->log, e->index, e->term);
		break;
	case CAIRN_EVENT_SENT:
		leader_sent(r, e->peer, e->index);
		break;
	case CAIRN_EVENT_INSTALLED:
		follower_installed(r, e);
		break;
	}
}

/* --- what follows from a step --- */

static void flush_persist(struct raft *r)
{
	if (!r->dirty || r->persist_count == PERSISTS_MAX)
		return;
	r->dirty = false;
	r->token++;
	r->persists[r->persist_count++] = (struct persist){ r->token, r->log.last };
	raft_effect(r,
		    &(struct cairn_effect){ .kind = CAIRN_EFFECT_PERSIST,
					    .token = r->token,
					    .term = r->term,
					    .peer = r->vote,
					    .last = r->log.last });
}

static void flush_apply(struct raft *r)
{
	if (r->commit == r->told_apply)
		return;
	raft_effect(r,
		    &(struct cairn_effect){ .kind = CAIRN_EFFECT_APPLY,
					    .index = r->told_apply + 1,
					    .last = r->commit,
					    .term = r->term });
	r->told_apply = r->commit;
}

static void flush_timer(struct raft *r)
{
	uint64_t at = r->election_at;

	if (r->role == CAIRN_ROLE_LEADER) {
		at = r->heartbeat_at < r->check_at ? r->heartbeat_at : r->check_at;
		at = r->transfer_to && r->transfer_until < at ? r->transfer_until : at;
	}
	if (at == r->timer_at)
		return;
	r->timer_at = at;
	raft_effect(r, &(struct cairn_effect){ .kind = CAIRN_EFFECT_SET_TIMER, .now_us = at });
}

static int raft_step(void *instance, const struct cairn_event *events, size_t count)
{
	struct raft *r = instance;

	for (size_t i = 0; i < count && !r->error; i++)
		on_event(r, &events[i]);
	if (!r->error)
		on_timer(r);
	if (r->error)
		return r->error;
	flush_persist(r);
	if (r->role == CAIRN_ROLE_LEADER)
		leader_flush(r);
	else
		follower_flush(r);
	tell_role(r);
	flush_apply(r);
	if (r->timer_at <= r->now_us)
		r->timer_at = 0;
	flush_timer(r);
	return r->error;
}

/* --- the plugin --- */

#define HOUR_MS 3600000

static const struct cairn_param params[] = {
	{ "election-timeout", CAIRN_PARAM_NUMBER, "400", false,
	  "milliseconds without word of a leader until an election; up to twice as long" },
	{ "heartbeat", CAIRN_PARAM_NUMBER, "50", false,
	  "milliseconds between a leader's messages when idle" },
	{ 0 },
};

static int raft_open(const struct cairn_replication_host *host, const struct cairn_value *values,
		     void **instance, struct cairn_error *error)
{
	struct raft *r;

	if (!values[1].number || values[1].number > values[0].number / 3 || values[0].number > HOUR_MS) {
		cairn_fail(error, CAIRN_E_INVALID,
			   "election-timeout is at least three times heartbeat, and at most an hour; "
			   "heartbeat is at least 1");
		return -EINVAL;
	}
	r = host->alloc(host->arg, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->host = host;
	r->election_us = values[0].number * 1000;
	r->heartbeat_us = values[1].number * 1000;
	r->told_role = (enum cairn_role) - 1;
	*instance = r;
	return 0;
}

static void raft_close(void *instance)
{
	struct raft *r = instance;

	raft_free(r, r->peers);
	raft_free(r, r->held);
	raft_free(r, r->reads);
	raft_free(r, r->members);
	raft_free(r, r->log.runs);
	raft_free(r, r);
}

static struct cairn_replication raft = {
	.name = "raft",
	.help = "a majority of the nodes has every write; any node but a minority may fail",
	.caps = CAIRN_REPLICATION_LINEARIZABLE | CAIRN_REPLICATION_TRANSACTIONS | CAIRN_REPLICATION_PEERS,
	.params = params,
	.open = raft_open,
	.close = raft_close,
	.step = raft_step,
};

CAIRN_REPLICATION_REGISTER(raft)
