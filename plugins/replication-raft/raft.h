/*
 * Inside replication-raft: one instance of the protocol, which knows of the log only where each term begins.
 * Sections (§) are those of Ongaro's dissertation, "Consensus: Bridging Theory and Practice" (2014).
 */
#ifndef RAFT_H
#define RAFT_H

#include <errno.h>
#include <string.h>
#include <cairn/replication.h>

/* Bounds; the exhaustive search is built with smaller ones. */
#ifndef MEMBERS_MAX
#define MEMBERS_MAX 16  /* nodes of a shard, those on their way in or out counted */
#define WINDOW 32       /* appends to one peer that are not answered yet */
#define PERSISTS_MAX 16 /* persists that are not stored yet */
#endif
#ifndef RANGE_MAX
#define RANGE_MAX 4096 /* entries of one append */
#endif
#define READS_MAX 256 /* reads that are not confirmed yet */
#define HELD_MAX 1024 /* proposals that wait for the end of a transfer */
#define NEAR 1024     /* entries that a learner may lack when it is promoted */

enum { /* what a member is */
       VOTER = 1 << 0,
       OUTGOING = 1 << 1, /* votes, too, until the change under way is over */
       LEARNER = 1 << 2,
};

/* Who belongs to the shard, from entry INDEX on. */
struct members {
	uint64_t index;
	uint64_t id[MEMBERS_MAX];
	uint8_t flags[MEMBERS_MAX];
	uint8_t count;
};

/* members.c */
#define MEMBERS_BYTES (8 + 9 * MEMBERS_MAX)
/* Encoding: version 1, count, 6 bytes 0; then for each member the id, 8 bytes, and flags, 1. */
size_t members_encode(const struct members *m, unsigned char bytes[MEMBERS_BYTES]);
/* 0, or -EBADMSG. */
int members_decode(struct cairn_slice bytes, struct members *m);
/* The flags of node ID; 0 where it is no member. */
unsigned members_flags(const struct members *m, uint64_t id);
/* Whether two majorities are needed. */
bool members_joint(const struct members *m);
/* The highest value that a quorum of M has reached; VALUE gives that of a node. */
uint64_t members_quorum(const struct members *m, uint64_t (*value)(void *arg, uint64_t id), void *arg);
/* NOW on the way to WANT: the joint members, or WANT where the voters stay. -E2BIG, -EINVAL. */
int members_change(const struct members *now, const struct members *want, struct members *next);
/* M when the change is over. */
struct members members_final(const struct members *m);

/* The log: its ends, and where each term begins in it. log.c */
struct run {
	uint64_t index, term;
};

struct log {
	uint64_t base, base_term; /* what lies before is gone; the term of entry BASE */
	uint64_t last;
	struct run *runs; /* behind BASE, by index */
	size_t count, cap;
};

/* The term of entry INDEX; 0 where the log does not know it. */
uint64_t log_term(const struct log *l, uint64_t index);
/* Index of the first entry of the run that INDEX lies in. */
uint64_t log_run_start(const struct log *l, uint64_t index);
/* The last entry whose term is at most TERM. */
uint64_t log_last_of(const struct log *l, uint64_t term);
struct raft;
/* One more entry. 0 or -ENOMEM. */
int log_append(struct raft *r, uint64_t term);
void log_truncate(struct log *l, uint64_t from);
/* The log begins behind INDEX. */
void log_compact(struct log *l, uint64_t index, uint64_t term);

/* Messages: the body of a SEND. Position and entries travel beside it. message.c */
enum message_kind {
	MESSAGE_APPEND = 1,  /* a: commit; b: probe */
	MESSAGE_ACK = 2,     /* a: match; b: probe */
	MESSAGE_REJECT = 3,  /* a: position refused; b: probe; c: term there or 0; d: its first index, or
				behind  the last entry */
	MESSAGE_VOTE = 4,    /* a: last index; b: its term; flags */
	MESSAGE_GRANT = 5,   /* flags */
	MESSAGE_REFUSE = 6,  /* flags */
	MESSAGE_NOW = 7,     /* stand for election at once */
	MESSAGE_READ = 8,    /* a: the follower's reference */
	MESSAGE_READ_OK = 9, /* a: the same; b: index */
	MESSAGE_READ_NO = 10 /* a: the same */
};

enum { PRE_VOTE = 1 << 0, TRANSFER = 1 << 1 };

struct message {
	uint8_t kind, flags;
	uint64_t term, a, b, c, d;
};

#define MESSAGE_BYTES 48
void message_encode(const struct message *m, unsigned char bytes[MESSAGE_BYTES]);
/* 0, or -EBADMSG. */
int message_decode(struct cairn_slice bytes, struct message *m);

enum peer_state {
	PROBE,    /* one append at a time, until one fits */
	PIPELINE, /* many */
	SNAPSHOT, /* it gets the store first */
};

struct peer {
	uint64_t id;
	uint64_t match;       /* has this much durably, checked against our log */
	uint64_t next;        /* the entry that it gets next */
	uint64_t echo;        /* highest probe that it has answered */
	uint64_t told_commit; /* commit and probe of what was sent last */
	uint64_t told_probe;
	uint64_t contact_us;
	uint64_t window[WINDOW]; /* last entries of appends on their way, a ring */
	uint8_t first, flying;
	uint8_t state; /* enum peer_state */
	bool asked;    /* PROBE: one is out */
	bool sending;  /* SNAPSHOT: the host is at it */
	bool granted;  /* of a candidate's peer: its vote */
};

/* Reads that share a reference. */
struct read {
	uint64_t reference, peer; /* PEER asked; 0: this node's host */
	uint64_t probe, index;    /* PROBE 0: waits for the first commit of the term */
};

struct held {
	uint64_t reference;
	uint32_t size;
};

struct persist {
	uint64_t token, last; /* of what it brings, LAST is the newest entry that the log still has */
};

struct raft {
	const struct cairn_replication_host *host;
	uint64_t self, now_us, random;
	uint64_t election_us, heartbeat_us; /* parameters */
	int error;                          /* of this step, sticky: -errno */

	uint64_t term, vote, leader;
	enum cairn_role role;
	bool pre; /* a candidate that only asks whether it would win */
	bool transferred;
	struct log log;
	uint64_t stored;   /* durable here */
	uint64_t verified; /* follower: checked against this leader's log */
	uint64_t commit, applied;
	struct members *members; /* [0] is committed, the last one in force */
	size_t member_count, member_cap;

	uint64_t token, hard_token, stored_token; /* newest; that of term and vote; newest stored */
	bool dirty;                               /* something is not persisted */
	struct persist persists[PERSISTS_MAX];
	size_t persist_count;

	uint64_t election_at, heartbeat_at, check_at, timer_at; /* 0: none */
	uint64_t contact_us;                                    /* last word of a leader */
	bool ack_due;
	uint64_t acked, probe_seen; /* to this leader */

	struct peer *peers; /* a leader's or candidate's */
	size_t peer_count;
	uint64_t first_own; /* leader: the entry with which its term began */
	uint64_t probe;
	struct read *reads;
	size_t read_count;
	uint64_t transfer_to, transfer_until, transfer_reference;
	bool transfer_told;
	bool beat; /* a heartbeat is due in this step */
	struct held *held;
	size_t held_count;

	enum cairn_role told_role; /* as the host knows it */
	uint64_t told_term, told_leader, told_apply;
};

/* raft.c */
/* Zeroed memory of the host; NULL has set R->error. */
void *raft_alloc(struct raft *r, size_t size);
/* The request REFERENCE ends with CODE. */
void raft_reject(struct raft *r, uint64_t reference, enum cairn_code code);
void raft_effect(struct raft *r, const struct cairn_effect *effect);
void raft_send(struct raft *r, uint64_t peer, const struct message *m, bool after_term);
/* Term and vote become these. */
void raft_set_term(struct raft *r, uint64_t term, uint64_t vote);
/* Follow LEADER (0: not known yet) in TERM, not older than ours. */
void raft_follow(struct raft *r, uint64_t term, uint64_t leader);
void raft_reset_election(struct raft *r);
const struct members *raft_members(const struct raft *r);
/* Put E, made here or by the leader, behind the log; MEMBERS take effect at once. */
void raft_append(struct raft *r, struct cairn_entry *e);
/* Everything up to INDEX is committed. */
void raft_commit(struct raft *r, uint64_t index);
/* Give the memory of leadership back, and what waits for it an answer. */
void raft_drop_leadership(struct raft *r);
/* Peers for the members in force or committed, those known before kept as they are. */
void raft_update_peers(struct raft *r);
struct peer *raft_peer(struct raft *r, uint64_t id);

/* election.c */
void election_start(struct raft *r, bool pre, bool transfer);
void election_vote(struct raft *r, uint64_t from, const struct message *m);
void election_answer(struct raft *r, uint64_t from, const struct message *m);
/* Whether a quorum has granted: go on. */
void election_count(struct raft *r);

/* leader.c */
void leader_start(struct raft *r);
void leader_propose(struct raft *r, uint64_t reference, uint32_t size);
void leader_answer(struct raft *r, uint64_t from, const struct message *m);
void leader_sent(struct raft *r, uint64_t peer, uint64_t index);
void leader_lost(struct raft *r, uint64_t peer);
/* Commit what a quorum has. */
void leader_commit(struct raft *r);
void leader_timer(struct raft *r);
/* At the end of a step: to each peer what it lacks. */
void leader_flush(struct raft *r);
void leader_members(struct raft *r, const struct cairn_event *e);
void leader_transfer(struct raft *r, uint64_t peer, uint64_t reference);

/* follower.c */
void follower_append(struct raft *r, const struct cairn_event *e, const struct message *m);
void follower_installed(struct raft *r, const struct cairn_event *e);
void follower_flush(struct raft *r);

/* read.c */
void read_ask(struct raft *r, uint64_t reference, uint64_t peer);
/* Answer what a quorum has confirmed by now. */
void read_confirm(struct raft *r);
void read_fail_all(struct raft *r);

#endif
