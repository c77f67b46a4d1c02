/*
 * The end of a world: all faults stop, and within bounded time everything comes right again: somebody leads,
 * commits go on, learners become voters, leadership can be handed over, no snapshot is sent again and again,
 * and all members hold the same.
 */
#include "sim.h"
#include "banned.h"

#define ELECTION_US 150000 /* as node_start sets it */

static bool all_have_voices(struct world *w)
{
	for (int i = 0; i < 24; i++) {
		struct node *leader = world_leader(w);

		if (leader && leader->state.members && !world_promote(w, leader))
			return true;
		if (!world_run(w, 250000))
			return false;
	}
	world_fail(w, "liveness: a learner is not made a voter within 6 s");
	return false;
}

/* A transfer may be given up; asked for again and again it must come about. */
static bool can_hand_over(struct world *w)
{
	struct node *leader = world_leader(w);

	for (int i = 0; i < 10; i++) {
		const struct blob *members = leader ? leader->state.members : NULL;
		unsigned to = 0;

		for (size_t at = 16; members && at < members->len; at += 9)
			if (members->bytes[at] == 1 && members->bytes[at - 8] != leader->id &&
			    w->nodes[members->bytes[at - 8]].alive)
				to = members->bytes[at - 8];
		if (leader && !to)
			return true;
		if (leader)
			node_step(w, leader,
				  &(struct cairn_event){ .kind = CAIRN_EVENT_TRANSFER, .peer = to }, 1);
		if (!world_run(w, 300000))
			return false;
		if (to && world_leader(w) && world_leader(w)->id == to)
			return true;
		leader = world_leader(w);
	}
	world_fail(w, "liveness: leadership is not handed over in ten attempts");
	return false;
}

static bool goes_on(struct world *w)
{
	uint64_t committed = w->committed_to;

	if (!world_leader(w))
		world_fail(w, "liveness: nobody leads ten election timeouts after all faults have ended");
	if (!world_run(w, 1000000 * w->options.pace))
		return false;
	if (w->committed_to <= committed && w->op_count < 2000)
		world_fail(w, "liveness: nothing is committed any more, at entry %llu",
			   (unsigned long long)committed);
	return !w->failure[0];
}

static void all_agree(struct world *w)
{
	struct node *leader = world_leader(w);
	uint64_t snapshots;

	w->quiet = true;
	if (!world_run(w, 500000))
		return;
	snapshots = w->snapshots;
	if (!world_run(w, 500000))
		return;
	if (w->snapshots > snapshots)
		world_fail(w, "liveness: snapshots are sent where nothing happens");
	leader = world_leader(w);
	if (!leader || leader->apply_to != records_last(&leader->log))
		world_fail(w, "liveness: what everybody has is not committed");
	for (unsigned i = 1; leader && i <= NODES; i++) {
		struct node *n = &w->nodes[i];
		bool member = false;

		for (size_t at = 8; leader->state.members && at + 9 <= leader->state.members->len; at += 9)
			member = member || leader->state.members->bytes[at] == i;
		if (n->alive && member && n->state.index < leader->state.index)
			world_fail(w, "liveness: node %u has applied %llu, the leader %llu", i,
				   (unsigned long long)n->state.index,
				   (unsigned long long)leader->state.index);
	}
}

void world_live(struct world *w)
{
	world_heal(w);
	if (world_run(w, 10 * ELECTION_US) && goes_on(w) && all_have_voices(w) && can_hand_over(w))
		all_agree(w);
}
