/* Members and their quorums. A change of voters goes through a time in which both majorities count (§4.3). */
#include "raft.h"
#include "le.h"
#include "banned.h"

size_t members_encode(const struct members *m, unsigned char bytes[MEMBERS_BYTES])
{
	memset(bytes, 0, 8);
	bytes[0] = 1;
	bytes[1] = m->count;
	for (unsigned i = 0; i < m->count; i++) {
		le64_put(bytes + 8 + 9 * i, m->id[i]);
		bytes[16 + 9 * i] = m->flags[i];
	}
	return 8u + 9u * m->count;
}

int members_decode(struct cairn_slice s, struct members *m)
{
	const unsigned char *p = s.data;

	*m = (struct members){ 0 };
	if (!s.len)
		return 0;
	if (s.len < 8 || p[0] != 1 || p[1] > MEMBERS_MAX || s.len != 8u + 9u * p[1])
		return -EBADMSG;
	m->count = p[1];
	for (unsigned i = 0; i < m->count; i++) {
		m->id[i] = le64_get(p + 8 + 9 * i);
		m->flags[i] = p[16 + 9 * i];
		if (!m->id[i] || !m->flags[i] || m->flags[i] > 7)
			return -EBADMSG;
		for (unsigned j = 0; j < i; j++)
			if (m->id[j] == m->id[i])
				return -EBADMSG;
	}
	return 0;
}

unsigned members_flags(const struct members *m, uint64_t id)
{
	for (unsigned i = 0; i < m->count; i++)
		if (m->id[i] == id)
			return m->flags[i];
	return 0;
}

bool members_joint(const struct members *m)
{
	for (unsigned i = 0; i < m->count; i++)
		if (m->flags[i] & OUTGOING)
			return true;
	return false;
}

/* The highest value that a majority of the members with FLAG has reached; UINT64_MAX where there are none. */
static uint64_t majority(const struct members *m, unsigned flag, uint64_t (*value)(void *arg, uint64_t id),
			 void *arg)
{
	uint64_t sorted[MEMBERS_MAX];
	unsigned n = 0;

	for (unsigned i = 0; i < m->count; i++) {
		uint64_t v;
		unsigned at = n;

		if (!(m->flags[i] & flag))
			continue;
		v = value(arg, m->id[i]);
		while (at && sorted[at - 1] < v) {
			sorted[at] = sorted[at - 1];
			at--;
		}
		sorted[at] = v;
		n++;
	}
	return n ? sorted[n / 2] : UINT64_MAX;
}

uint64_t members_quorum(const struct members *m, uint64_t (*value)(void *arg, uint64_t id), void *arg)
{
	uint64_t in = majority(m, VOTER, value, arg), out = majority(m, OUTGOING, value, arg);

	return in == UINT64_MAX && out == UINT64_MAX ? 0 : in < out ? in : out;
}

int members_change(const struct members *now, const struct members *want, struct members *next)
{
	bool same = true;

	if (!want->count || members_joint(want) || members_joint(now))
		return -EINVAL;
	*next = *want;
	for (unsigned i = 0; i < want->count; i++) {
		bool votes = members_flags(now, want->id[i]) & VOTER;

		if (want->flags[i] != VOTER && want->flags[i] != LEARNER)
			return -EINVAL;
		same = same && votes == (want->flags[i] == VOTER);
		next->flags[i] |= votes ? OUTGOING : 0;
	}
	for (unsigned i = 0; i < now->count; i++) {
		if (!(now->flags[i] & VOTER) || members_flags(want, now->id[i]))
			continue;
		same = false;
		if (next->count == MEMBERS_MAX)
			return -E2BIG;
		next->id[next->count] = now->id[i];
		next->flags[next->count++] = OUTGOING;
	}
	for (unsigned i = 0; same && i < next->count; i++)
		next->flags[i] &= (uint8_t)~OUTGOING;
	for (unsigned i = 0; i < next->count; i++)
		if (next->flags[i] & VOTER)
			return 0;
	return -EINVAL;
}

struct members members_final(const struct members *m)
{
	struct members final = { 0 };

	for (unsigned i = 0; i < m->count; i++) {
		uint8_t flags = m->flags[i] & (uint8_t)~OUTGOING;

		if (!flags)
			continue;
		final.id[final.count] = m->id[i];
		final.flags[final.count++] = flags;
	}
	return final;
}
