/*
 * Linearizable reads without a log write (§6.4): a read is given the commit index, and served once a quorum
 * has answered a message that was sent after it came, so that no newer leader can have committed before. Any
 * number of reads share a round. A follower asks the leader for an index.
 */
#include "raft.h"
#include "banned.h"

static void answer(struct raft *r, const struct read *q)
{
	if (q->peer)
		raft_send(
			r, q->peer,
			&(struct message){
				.kind = MESSAGE_READ_OK, .term = r->term, .a = q->reference, .b = q->index },
			true);
	else
		raft_effect(r,
			    &(struct cairn_effect){ .kind = CAIRN_EFFECT_READ_OK,
						    .reference = q->reference,
						    .index = q->index });
}

static void refuse(struct raft *r, uint64_t reference, uint64_t peer)
{
	if (peer)
		raft_send(r, peer,
			  &(struct message){ .kind = MESSAGE_READ_NO, .term = r->term, .a = reference },
			  true);
	else
		raft_effect(r,
			    &(struct cairn_effect){ .kind = CAIRN_EFFECT_READ_NO, .reference = reference });
}

static uint64_t echo_of(void *arg, uint64_t id)
{
	struct raft *r = arg;
	const struct peer *p = raft_peer(r, id);

	return id == r->self ? r->probe : p ? p->echo : 0;
}

void read_confirm(struct raft *r)
{
	uint64_t echoed;
	size_t n = 0;

	if (!r->read_count || r->commit < r->first_own)
		return;
	/* Those that came before the term's first commit begin here. */
	for (size_t i = 0; i < r->read_count; i++)
		if (!r->reads[i].probe) {
			r->reads[i].probe = r->probe + 1;
			r->reads[i].index = r->commit;
			n++;
		}
	r->probe += n != 0;
	echoed = members_quorum(raft_members(r), echo_of, r);
	for (n = 0; n < r->read_count && r->reads[n].probe <= echoed; n++)
		answer(r, &r->reads[n]);
	r->read_count -= n;
	memmove(r->reads, r->reads + n, r->read_count * sizeof(*r->reads));
}

void read_ask(struct raft *r, uint64_t reference, uint64_t peer)
{
	if (r->role != CAIRN_ROLE_LEADER && r->leader && !peer) {
		raft_send(r, r->leader,
			  &(struct message){ .kind = MESSAGE_READ, .term = r->term, .a = reference }, true);
		return;
	}
	if (!r->reads)
		r->reads = raft_alloc(r, READS_MAX * sizeof(*r->reads));
	if (r->role != CAIRN_ROLE_LEADER || !r->reads || r->read_count == READS_MAX) {
		refuse(r, reference, peer);
		return;
	}
	r->reads[r->read_count++] = (struct read){ .reference = reference, .peer = peer };
}

void read_fail_all(struct raft *r)
{
	for (size_t i = 0; i < r->read_count; i++)
		refuse(r, r->reads[i].reference, r->reads[i].peer);
	r->read_count = 0;
}
