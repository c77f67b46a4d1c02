/*
 * A shard whose replication module has peers: the host of the module's effects. The shard's inbox, its step
 * and apply flags and the way of a command into the store stay those of every shard; here is what comes with
 * peers: a log of which this node is one holder, messages, requests that another node must decide, and reads
 * that must be confirmed.
 *
 *   replica.c        opened from the journal; what a step takes in, and what the module wants done
 *   replica_log.c    the newest entries in memory, and persists
 *   replica_wire.c   frames between nodes
 *   replica_chase.c  entries for nodes that are behind
 *   replica_snapshot.c, replica_install.c
 *                    a whole store goes to a node that is too far behind, and takes its store's place
 *   replica_write.c  clients' writes: proposed, handed to the leader, given up
 *   replica_read.c   clients' reads, a round at a time
 *
 * Threads: what is not said to be of any thread is of the holder of the step flag.
 */
#ifndef REPLICA_H
#define REPLICA_H

#include "cluster.h"
#include "shard_inside.h"

#define REPLICA_PATIENCE_NS 1600000000u /* a request without a leader waits so long */
#define REPLICA_SWEEP_NS 100000000u     /* how often those that wait are looked at */
#define ENTRY_HEAD 16                   /* of an entry in a frame: length, 4 zeros, term */

/* One entry of the log in memory. */
struct entry {
	struct shard_write w; /* as the apply queue has it; its command lies in BYTES; first */
	struct replica *replica;
	_Atomic unsigned uses;      /* the log's, one for each persist and for the apply queue */
	uint32_t kind;              /* enum cairn_entry_kind */
	uint32_t size;              /* of the command */
	uint64_t *mailed;           /* the reference by which a message has it; NULL: none does */
	struct shard_write *client; /* whose write it is; under the replica's lock; or NULL */
	unsigned char bytes[];      /* ENTRY_HEAD and the command: as a frame has it */
};

/* A message that waits for a persist, or for its turn. */
struct outgoing {
	struct outgoing *next;
	uint64_t peer, index, last, term, token;
	uint64_t generation; /* of the replica, when it was asked for */
	size_t len;
	unsigned char body[];
};

/* What came from outside, for the next step. Any thread makes one. */
enum mail_kind {
	MAIL_EVENT,  /* EVENT, as it is */
	MAIL_ANSWER, /* of a leader: REFERENCE of the write, its message */
	MAIL_AGAIN,  /* there may be a leader, or a connection to it, that was not there */
	MAIL_GONE,   /* the peer's connection is lost */
};
struct mail {
	struct mail *next;
	enum mail_kind kind;
	struct cairn_event event;    /* its peer and body also of the others */
	struct cairn_entry *entries; /* owned; each names a struct entry, owned until it is appended */
	unsigned char *data;         /* owned: what EVENT points to */
};

/* Reads that are confirmed together. */
struct read_round {
	struct read_round *next;
	uint64_t reference, index; /* INDEX 0: not confirmed yet */
	uint64_t since_ns;
	struct shard_read *reads;
};

/* Term, vote and members as the journal has them. replica_log.c has the bytes. */
struct hard_state {
	uint64_t term, vote;
	uint64_t cut;    /* what the journal has behind this index is not of the log */
	uint64_t from;   /* and what it has up to here neither */
	uint64_t commit; /* this much is known to be committed */
	uint64_t members_index;
	size_t members_len;
	unsigned char members[CLUSTER_MEMBERS_BYTES];
};

/* What a node has said of a shard last. */
struct news {
	uint64_t peer, index;
	unsigned char digest[16];
};

struct replica {
	struct shard *shard;
	struct cluster *cluster;
	struct replica *next;                /* the cluster's */
	uint64_t id;                         /* the shard's, the same on all nodes */
	struct news news[CLUSTER_NODES_MAX]; /* under the lock of the cluster */

	/* Any thread. */
	_Atomic(struct mail *) mail;             /* newest first */
	_Atomic(struct shard_read *) read_inbox; /* newest first */
	_Atomic uint64_t timer_us;               /* when the module wants to be stepped; 0: never */
	_Atomic bool timer_due, sweep_due;
	_Atomic bool outstanding;                            /* there is something that a sweep may end */
	_Atomic unsigned role;                               /* enum cairn_role, */
	_Atomic uint64_t term, leader, heard_ns, generation; /* of it; written with the step flag */

	/* With the step flag. */
	struct mail *post, **post_last; /* off MAIL, oldest first */
	struct mail *read_mail;         /* whose events are being stepped */
	struct entry **ring; /* CAP places, a power of 2: entries FIRST to LAST at index & (CAP - 1) */
	size_t cap;
	uint64_t first, last, bytes;
	uint64_t unsaved; /* the first entry that the journal was not given */
	bool cut;         /* entries went that the journal has, and none came since */
	uint64_t commit, stored_token;
	struct hard_state hard;
	struct outgoing *held, **held_last; /* until their token is stored, in order */
	bool again;                         /* writes and reads that wait may go on */
	_Atomic uint64_t swept_ns;          /* when that was looked at last; in the loop */
	uint64_t next_reference;            /* of forwarded writes and of rounds; odd, by twos */
	struct shard_write *forwarded;      /* the leader has them */
	struct read_round *rounds;
	struct shard_read *reads; /* wait for a leader */

	struct pool_task chase; /* sends what others lack from the journal */
	_Atomic bool chasing;   /* that is under way; set under the lock */

	pthread_mutex_t lock; /* of the entries' clients, and of what follows */
	struct outgoing *chased, **chased_last;
	struct sending *sending;       /* a snapshot to another node */
	struct installing *installing; /* one from another node */
	struct hard_state applied;     /* members only: of the newest such entry that was applied */
};

/* replica.c */
/* S, whose store is open, has peers: read the journal. Then shard_open goes on. */
enum cairn_code replica_open(struct shard *s, const struct shard_options *o, struct cairn_error *error);
/* Once a second, in the loop: where another node leads the cluster, let it lead this shard, too. */
void replica_tick(struct replica *r);
/* Tell the module what is durable, and serve. */
enum cairn_code replica_start(struct shard *s, struct cairn_error *error);
/* From any thread: nobody will hand in anything. What waits ends. */
void replica_close(struct replica *r);
void replica_free(struct replica *r);
/* What S's next step takes in; how many events. */
size_t replica_gather(struct shard *s, uint64_t now);
/* Whether there is anything to take in; INSIDE: with the step flag. */
bool replica_is_due(struct shard *s, bool inside);
/* After the step. */
void replica_stepped(struct shard *s);
void replica_effect(struct shard *s, const struct cairn_effect *e);
/* From any thread: M is for the next step, which is the caller's to bring about. */
void replica_post(struct replica *r, struct mail *m);
struct mail *mail_new(enum mail_kind kind, size_t entries, size_t bytes);
void mail_free(struct mail *m);
/* Have S stepped, in the loop where this is its thread. From any thread. */
void replica_kick(struct replica *r);

/* replica_log.c */
struct entry *entry_new(struct replica *r, struct cairn_slice command, uint64_t term);
void entry_put(struct entry *e);
/* The entry INDEX, or NULL where it is not in memory. */
struct entry *replica_entry(struct replica *r, uint64_t index);
/* E takes the next place. 0 or -ENOMEM. */
int replica_push(struct replica *r, struct entry *e);
/* Drop the entries from FROM on. */
void replica_truncate(struct replica *r, uint64_t from);
/* Let go of old entries that others have, beyond a number of bytes. */
void replica_evict(struct replica *r);
void replica_persist(struct replica *r, uint64_t token);
#define HARD_HEAD 64
#define HARD_MAX (HARD_HEAD + CLUSTER_MEMBERS_BYTES)
/* What the journal has of it; zeros, and no cut, where that is nothing. */
void hard_state_load(struct journal_shard *log, struct hard_state *h);
size_t hard_state_encode(const struct hard_state *h, unsigned char bytes[HARD_MAX]);
/* Load what the journal has behind INDEX into memory. */
enum cairn_code replica_load(struct replica *r, uint64_t index, struct cairn_error *error);

/* replica_wire.c */
enum { WIRE_MODULE = 16, WIRE_FORWARD, WIRE_ANSWER, WIRE_SNAPSHOT };
/* In the loop: FRAME came, of shard R. */
void replica_frame(struct replica *r, const struct peer_frame *frame);
void replica_send(struct replica *r, const struct cairn_effect *e);
/* What waited for persists up to TOKEN leaves. */
void replica_release(struct replica *r, uint64_t token);
/* Hand W to PEER, as REFERENCE. Whether it left. */
bool replica_forward(struct replica *r, uint64_t peer, uint64_t reference, const struct shard_write *w,
		     uint64_t now);

/* One frame with COUNT entries, as they stand in frames. From any thread; as peers_send. */
int replica_send_frame(struct replica *r, uint64_t peer, struct cairn_slice body, uint64_t index,
		       uint64_t term, struct cairn_slice entries, uint32_t count);

/* replica_chase.c */
/* Whether entries on their way to PEER are still being read. */
bool replica_chases(struct replica *r, uint64_t peer);
/* Send O, which is not the caller's any more, from the journal. */
void replica_chase(struct replica *r, struct outgoing *o);
/* In the thread that flushes: the engine has everything up to FLUSHED. What others may need is kept, up to a
 * bound. */
void replica_let_journal_go(struct replica *r, struct cairn_position flushed);

/* replica_snapshot.c */
#define SNAPSHOT_HEAD 32
enum snapshot_what { SNAPSHOT_BEGIN = 1, SNAPSHOT_BYTES, SNAPSHOT_END, SNAPSHOT_TAKEN, SNAPSHOT_DONE };
/* Send the store to PEER; the module hears SENT. */
void snapshot_start(struct replica *r, uint64_t peer);
/* Give up what goes to PEER (0: to anybody). From any thread. */
void snapshot_stop(struct replica *r, uint64_t peer);
/* Once a second: give up what nobody takes. */
void snapshot_tick(struct replica *r);
/* In the loop. */
void snapshot_frame(struct replica *r, const struct peer_frame *f);

/* replica_install.c */
/* In the loop: a part of the store that another node sends. */
void install_frame(struct replica *r, const struct peer_frame *f);
/* Give up what comes from PEER (0: from anybody). From any thread. */
void install_stop(struct replica *r, uint64_t peer);

/* replica_write.c */
/* Writes that wait: make them events, from number N on, or hand them to the leader. The number of events. */
size_t replica_propose(struct replica *r, size_t n, uint64_t now);
/* The module did not take E. */
void replica_rejected(struct replica *r, struct entry *e);
/* An entry leaves the log: who wrote it tries again where that is safe. */
void replica_detach(struct replica *r, struct entry *e);
void replica_answered(struct replica *r, const struct mail *m);
/* The leader, or the connection to it, is another one: what was handed to it is handed in again. */
void replica_take_back(struct replica *r);
/* End what has waited too long. */
void replica_sweep_writes(struct replica *r, uint64_t now);
/* All of it ends with ERROR. */
void replica_drain_writes(struct replica *r, const struct cairn_error *error);
/* UNAVAILABLE: why nobody decides now; END ends the sentence. */
void replica_explain(struct replica *r, const char *end, struct cairn_error *error);
/* Somebody waits: look after a while whether it has been too long. */
void replica_outstanding(struct replica *r);

/* replica_read.c */
/* Reads that came: an event, at place N. The number of events. */
size_t replica_ask(struct replica *r, size_t n, uint64_t now);
void replica_read_ok(struct replica *r, uint64_t reference, uint64_t index);
/* The round REFERENCE, where there is one, was refused. */
void replica_read_refused(struct replica *r, uint64_t reference);
/* The store has applied more. */
void replica_reads_applied(struct replica *r);
void replica_sweep_reads(struct replica *r, uint64_t now);
void replica_drain_reads(struct replica *r, const struct cairn_error *error);

#endif
