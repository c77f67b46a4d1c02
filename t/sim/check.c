/* What must hold after every step, for all nodes and all time: the numbers are those of the README. */
#include "sim.h"
#include "banned.h"

/* The hash that every log has up to an entry of that index and term (3: log matching). */
static uint64_t *prefix(struct world *w, uint64_t index, uint64_t term)
{
	size_t i;

	if (2 * w->prefix_count >= w->prefix_slots) {
		size_t slots = w->prefix_slots ? w->prefix_slots * 2 : 1024, was = w->prefix_slots;
		__typeof__(w->prefixes) old = w->prefixes;

		w->prefixes = calloc(slots, sizeof(*w->prefixes));
		w->prefix_slots = slots;
		w->prefix_count = 0;
		for (size_t k = 0; k < was; k++)
			if (old[k].hash)
				*prefix(w, old[k].index, old[k].term) = old[k].hash;
		free(old);
	}
	for (i = mix(index, term) % w->prefix_slots; w->prefixes[i].hash; i = (i + 1) % w->prefix_slots)
		if (w->prefixes[i].index == index && w->prefixes[i].term == term)
			return &w->prefixes[i].hash;
	w->prefixes[i].index = index;
	w->prefixes[i].term = term;
	w->prefix_count++;
	return &w->prefixes[i].hash;
}

static unsigned quorum_of(const struct blob *members, bool (*has)(struct world *w, unsigned id, void *arg),
			  struct world *w, void *arg)
{
	unsigned in = 0, in_has = 0, out = 0, out_has = 0;

	for (size_t at = 8; members && at + 9 <= members->len; at += 9) {
		unsigned id = members->bytes[at], flags = members->bytes[at + 8];
		bool h = has(w, id, arg);

		in += flags & 1;
		in_has += (flags & 1) && h;
		out += flags >> 1 & 1;
		out_has += (flags >> 1 & 1) && h;
	}
	return in && 2 * in_has > in && (!out || 2 * out_has > out);
}

/* The members in force for N's log up to INDEX. */
static const struct blob *members_at(struct node *n, uint64_t index)
{
	for (uint64_t i = index; i > n->log.base; i--) {
		const struct record *r = records_get(&n->log, i);

		if (r && r->kind == CAIRN_ENTRY_MEMBERS)
			return r->body;
	}
	return n->disk.snapshot.index >= n->log.base ? n->disk.snapshot.members : n->state.members;
}

/* Quorums of the members before entry INDEX and of those in it overlap (6). */
static void check_change(struct world *w, struct node *n, uint64_t index, const struct blob *to)
{
	const struct blob *from = members_at(n, index - 1);
	unsigned old[2] = { 0 }, new[2] = { 0 };

	for (size_t at = 16; from && at < from->len; at += 9)
		for (int k = 0; k < 2; k++)
			old[k] |= (unsigned)(from->bytes[at] >> k & 1) << from->bytes[at - 8];
	for (size_t at = 16; at < to->len; at += 9)
		for (int k = 0; k < 2; k++)
			new[k] |= (unsigned)(to->bytes[at] >> k & 1) << to->bytes[at - 8];
	if (new[1] ? old[1] || new[1] != old[0] : new[0] != old[0])
		world_fail(w, "members: leader %u goes to other voters at once, in entry %llu", n->id,
			   (unsigned long long)index);
}

void check_append(struct world *w, struct node *n, uint64_t index, const struct record *r)
{
	uint64_t *hash = prefix(w, index, r->term);

	if (r->kind == CAIRN_ENTRY_MEMBERS && n->role == CAIRN_ROLE_LEADER)
		check_change(w, n, index, r->body);
	if (*hash && *hash != r->hash)
		world_fail(w, "log matching: node %u has another log up to entry %llu of term %llu", n->id,
			   (unsigned long long)index, (unsigned long long)r->term);
	*hash = r->hash;
}

/* At most one change of members is under way (6). */
void check_members(struct world *w, struct node *n)
{
	unsigned uncommitted = 0, own = 0;

	if (n->role != CAIRN_ROLE_LEADER)
		return;
	for (uint64_t i = n->apply_to + 1; i <= records_last(&n->log); i++) {
		const struct record *r = records_get(&n->log, i);

		uncommitted += r->kind == CAIRN_ENTRY_MEMBERS;
		own += r->kind == CAIRN_ENTRY_MEMBERS && r->term == n->term;
	}
	if (own && uncommitted > 1)
		world_fail(w, "members: node %u has %u changes under way", n->id, uncommitted);
}

void check_truncate(struct world *w, struct node *n, uint64_t index)
{
	if (index <= n->apply_to)
		world_fail(w, "committed: node %u truncates from entry %llu, and has committed %llu", n->id,
			   (unsigned long long)index, (unsigned long long)n->apply_to);
	if (n->role == CAIRN_ROLE_LEADER)
		world_fail(w, "append-only: the leader %u truncates its log", n->id);
}

void check_leader(struct world *w, struct node *n)
{
	if (n->term >= w->leader_cap) {
		size_t cap = n->term * 2 + 16;

		w->leader_of = realloc(w->leader_of, cap * sizeof(*w->leader_of));
		memset(w->leader_of + w->leader_cap, 0, (cap - w->leader_cap) * sizeof(*w->leader_of));
		w->leader_cap = cap;
	}
	if (w->leader_of[n->term] && w->leader_of[n->term] != n->id)
		world_fail(w, "election safety: nodes %llu and %u lead in term %llu",
			   (unsigned long long)w->leader_of[n->term], n->id, (unsigned long long)n->term);
	if (!w->leader_of[n->term])
		w->elections++;
	w->leader_of[n->term] = n->id;
	for (uint64_t i = w->committed_to; i; i--)
		if (w->committed[i].by < n->term) {
			if (i > n->log.base && records_hash(&n->log, i) != w->committed[i].hash)
				world_fail(w,
					   "leader completeness: leader %u of term %llu lacks entry %llu, "
					   "committed in term %llu",
					   n->id, (unsigned long long)n->term, (unsigned long long)i,
					   (unsigned long long)w->committed[i].by);
			return;
		}
}

struct durable_entry {
	uint64_t index, hash;
};

static bool has_durably(struct world *w, unsigned id, void *arg)
{
	struct durable_entry *d = arg;
	struct node *n = &w->nodes[id];

	/* What is behind a snapshot was committed before. */
	return n->disk.log.base >= d->index || records_hash(&n->disk.log, d->index) == d->hash;
}

void check_commit(struct world *w, struct node *n, uint64_t index, const struct record *r, uint64_t term)
{
	struct durable_entry d = { index, r->hash };

	if (index <= w->committed_to) {
		if (w->committed[index].hash != r->hash)
			world_fail(w, "state machine safety: node %u commits another entry %llu (term %llu)",
				   n->id, (unsigned long long)index, (unsigned long long)r->term);
		return;
	}
	if (index >= w->committed_cap) {
		w->committed_cap = w->committed_cap ? w->committed_cap * 2 : 1024;
		w->committed = realloc(w->committed, w->committed_cap * sizeof(*w->committed));
	}
	w->committed[index].hash = r->hash;
	w->committed[index].term = r->term;
	w->committed[index].by = term;
	w->committed_to = index;
	if (term >= w->leader_cap || w->leader_of[term] != n->id)
		world_fail(w, "commit: node %u commits entry %llu first, and does not lead", n->id,
			   (unsigned long long)index);
	if (!quorum_of(members_at(n, index), has_durably, w, &d) &&
	    !quorum_of(members_at(n, records_last(&n->log)), has_durably, w, &d))
		world_fail(
			w,
			"commit: entry %llu of term %llu is committed by node %u and not on a quorum's disks",
			(unsigned long long)index, (unsigned long long)r->term, n->id);
}

void check_applied(struct world *w, struct node *n)
{
	uint64_t index = n->state.index;

	if (index >= w->state_cap) {
		size_t cap = w->state_cap ? w->state_cap * 2 : 1024;

		w->state_hash = realloc(w->state_hash, cap * sizeof(*w->state_hash));
		memset(w->state_hash + w->state_cap, 0, (cap - w->state_cap) * sizeof(*w->state_hash));
		w->state_cap = cap;
	}
	if (w->state_hash[index] && w->state_hash[index] != n->state.hash)
		world_fail(w, "state: node %u has another state at entry %llu", n->id,
			   (unsigned long long)index);
	w->state_hash[index] = n->state.hash;
}

void check_hard(struct world *w, struct node *n, uint64_t term, uint64_t vote)
{
	if (term < n->disk.term)
		world_fail(w, "hard state: node %u persists term %llu after %llu", n->id,
			   (unsigned long long)term, (unsigned long long)n->disk.term);
	if (term >= w->vote_cap[n->id]) {
		size_t cap = term * 2 + 16;

		w->vote_of[n->id] = realloc(w->vote_of[n->id], cap * sizeof(uint64_t));
		memset(w->vote_of[n->id] + w->vote_cap[n->id], 0,
		       (cap - w->vote_cap[n->id]) * sizeof(uint64_t));
		w->vote_cap[n->id] = cap;
	}
	if (vote && w->vote_of[n->id][term] && w->vote_of[n->id][term] != vote)
		world_fail(w, "one vote: node %u votes for %llu and for %llu in term %llu", n->id,
			   (unsigned long long)w->vote_of[n->id][term], (unsigned long long)vote,
			   (unsigned long long)term);
	if (vote)
		w->vote_of[n->id][term] = vote;
}

uint64_t check_number(const unsigned char *p)
{
	uint64_t v = 0;

	for (int i = 7; i >= 0; i--)
		v = v << 8 | p[i];
	return v;
}

/* The module's messages are taken apart here, since promises are made in them. */
enum { ACK = 2, VOTE = 4, GRANT = 5 };

void check_send(struct world *w, struct node *n, const struct packet *p)
{
	uint64_t term = check_number(p->body + 8), match = check_number(p->body + 16);
	unsigned kind = p->body[1];
	bool pre = p->body[2] & 1;
	struct node *leader = &w->nodes[p->to];

	if (pre)
		return;
	if (n->disk.term < term)
		world_fail(w, "hard state: node %u speaks of term %llu, and has %llu on disk", n->id,
			   (unsigned long long)term, (unsigned long long)n->disk.term);
	if ((kind == GRANT || kind == VOTE) && n->disk.term == term &&
	    n->disk.vote != (kind == VOTE ? n->id : p->to))
		world_fail(w, "hard state: node %u sends a vote of term %llu that it has not on disk", n->id,
			   (unsigned long long)term);
	if (kind != ACK || !match)
		return;
	if (match > records_last(&n->disk.log))
		world_fail(w, "ack: node %u acknowledges entry %llu, and has %llu on disk", n->id,
			   (unsigned long long)match, (unsigned long long)records_last(&n->disk.log));
	if (leader->alive && leader->role == CAIRN_ROLE_LEADER && leader->term == term &&
	    match > n->disk.log.base && match >= leader->log.base &&
	    records_hash(&n->disk.log, match) != records_hash(&leader->log, match))
		world_fail(w, "ack: node %u acknowledges entry %llu of term %llu, which is not its leader's",
			   n->id, (unsigned long long)match, (unsigned long long)term);
}

static bool has_told(struct world *w, unsigned id, void *arg)
{
	struct durable_entry *d = arg;

	return w->nodes[d->hash].known[id] >= d->index;
}

/* A leader that knows of a quorum has committed (5). */
void check_progress(struct world *w, struct node *n)
{
	struct durable_entry d = { n->apply_to + 1, n->id };

	if (n->role != CAIRN_ROLE_LEADER || n->known_term != n->term || d.index > records_last(&n->log))
		return;
	while (d.index < records_last(&n->log) && records_term(&n->log, d.index) != n->term)
		d.index++;
	if (records_term(&n->log, d.index) == n->term &&
	    quorum_of(members_at(n, records_last(&n->log)), has_told, w, &d))
		world_fail(w,
			   "progress: leader %u knows that a quorum has entry %llu, and has not committed it",
			   n->id, (unsigned long long)d.index);
}

void check_histories(struct world *w)
{
	struct linear_op *ops = calloc(w->op_count + 1, sizeof(*ops));

	for (unsigned key = 0; key < KEYS; key++) {
		size_t n = 0;

		for (size_t i = 0; i < w->op_count; i++)
			if (w->ops[i].key == key && w->ops[i].state != OP_FAILED &&
			    (w->ops[i].state == OP_DONE || !w->ops[i].is_read))
				ops[n++] = w->ops[i].linear;
		if (linear_check(ops, n) == 0)
			world_fail(w, "linearizability: the %zu operations on key %u have no order", n, key);
	}
	free(ops);
	if (w->options.store && !w->failure[0])
		behind_check(w);
}
