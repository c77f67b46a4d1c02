/*
 * A world for replication modules: nodes with disks, a network, clients and a clock, all of it driven by one
 * seed. The module is the .so that the daemon loads. After every step the world checks what must always hold,
 * and stops at the first thing that does not.
 */
#ifndef SIM_H
#define SIM_H

#include <cairn/replication.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "linear.h"

#define NODES 8 /* that a world can have in its time; ids are 1 to NODES */
#define KEYS 6  /* of the store */
#define BODY_MAX 64
#define BLOB_MAX 160

/* --- what happens when --- */
enum happening {
	DELIVER,   /* a message */
	TIMER,     /* of a module */
	DISK_DONE, /* the oldest persist */
	APPLY_DONE,
	SNAPSHOT_DONE,
	CLIENT,
	FAULT,
};

/* --- what can go wrong: X(name, meaning) --- */
#define FAULTS(X) \
	X(crash, "nodes die at any moment, in the middle of a persist, too; others start") \
	X(cut, "the network falls into two parts, in both ways or in one") \
	X(alone, "a leader hears one other node only, or none") \
	X(lost, "connections break") \
	X(loss, "messages are lost") \
	X(twice, "messages come twice, the second time late") \
	X(late, "messages come ten times as late, behind younger ones") \
	X(disk, "disks stall") \
	X(slow, "stores are slow") \
	X(pause, "nodes stand still for a while, and do not know") \
	X(clock, "clocks jump ahead, and run faster or slower") \
	X(compact, "logs are cut short, so that snapshots are needed") \
	X(members, "members change") \
	X(transfer, "leaders are asked to hand over") \
	X(wipe, "a node is gone for ever; new ones come under new ids")

enum fault_kind {
#define X(name, meaning) FAULT_##name,
	FAULTS(X)
#undef X
		FAULT_KINDS,
};
#define FAULTS_ALL ((1u << FAULT_KINDS) - 1)

/* --- mistakes that a host can make, to see that they are noticed --- */
#define WRONGS(X) \
	X(early, "messages do not wait for their persist") \
	X(order, "term and vote come to disk behind the log") \
	X(truncate, "what was truncated stands in the log again after a start") \
	X(swap, "a snapshot is told of before it is on disk") \
	X(read, "reads do not wait until their index is applied")

enum wrong {
	WRONG_none,
#define X(name, meaning) WRONG_##name,
	WRONGS(X)
#undef X
};

/* What a world is like, beside its seed. */
struct options {
	unsigned voters; /* at first */
	unsigned faults; /* bits: 1 << enum fault_kind */
	unsigned most;   /* so many of those that have a moment happen */
	unsigned pace;   /* clients are so many times as slow */
	uint64_t us;     /* until faults end */
	enum wrong wrong;
	bool store; /* the daemon's store stands behind the module */
};

struct packet;
struct happening_at {
	uint64_t at, order;
	enum happening what;
	unsigned node, epoch;
	struct packet *packet;
};

/* --- logs and stores --- */
struct blob { /* bytes of a MEMBERS entry; kept until the world ends */
	size_t len;
	unsigned char bytes[BLOB_MAX];
	struct blob *next;
};

struct record {
	uint64_t term, reference, hash; /* HASH of the log up to here */
	uint32_t kind;
	const struct blob *body;
};

struct records {
	uint64_t base, base_term, base_hash;
	struct record *at;
	size_t count, cap;
};

struct state {
	uint64_t index, term, hash, log_hash; /* HASH of what was applied */
	uint64_t value[KEYS];
	const struct blob *members;  /* in force at INDEX */
	const struct stream *stream; /* of a snapshot: what the store holds */
};

struct change { /* one step of what a persist brings to disk */
	bool truncate;
	uint64_t index;
	struct record record;
};

struct persist {
	uint64_t token, term, vote;
	struct change *changes;
	size_t count;
};

struct packet {
	unsigned from, to;
	unsigned char body[BODY_MAX];
	size_t len;
	uint64_t index, term, token; /* of the effect */
	struct cairn_entry *entries;
	size_t count;
	struct state *snapshot; /* instead of all that */
};

struct disk {
	uint64_t term, vote;
	struct state snapshot;
	struct records log;
};

struct waiting_read {
	uint64_t reference, index;
};

struct node {
	unsigned id, epoch;
	bool used, alive, paused, retired;
	unsigned doomed; /* it dies within the persist so far ahead; 0: it does not */
	void *instance;
	struct cairn_replication_host host;
	struct disk disk;
	struct records log;
	struct state state;
	uint64_t apply_to;
	bool applying;
	struct change *changes; /* not persisted yet */
	size_t change_count, change_cap;
	struct persist persists[32];
	size_t persist_count;
	bool writing;
	uint64_t stored_token;
	struct packet **held; /* until their token is stored */
	size_t held_count, held_cap;
	uint64_t timer_at;
	enum cairn_role role;
	uint64_t term, leader;
	uint64_t disk_us, slow_us; /* extra time of its disk, of its applying */
	double drift;
	uint64_t skew_us; /* its clock is ahead by this */
	struct waiting_read *reads;
	size_t read_count, read_cap;
	uint64_t known[NODES + 1], known_term; /* a leader's: what each node has told it that it has */
	size_t memory;                         /* bytes that the instance holds */
	struct behind *behind;                 /* its store, in worlds that have one */
	uint64_t wall_us;                      /* its wall clock is ahead by this */
};

/* --- clients --- */
enum op_state { OP_OPEN, OP_DONE, OP_FAILED };

struct op {
	struct linear_op linear;
	unsigned key, node;
	enum op_state state;
	bool is_read;
	struct order *order; /* in worlds with a store */
};

#define CLIENTS 5 /* of worlds with a store */
#define LINES 40
#define LINE_MAX 160

struct world {
	const struct cairn_replication *module;
	uint64_t seed, random, now, order, steps;
	struct happening_at *heap;
	size_t heap_count, heap_cap;
	struct node nodes[NODES + 1];
	bool blocked[NODES + 1][NODES + 1];
	unsigned loss, duplicate;  /* per thousand */
	unsigned rage;             /* how often something goes wrong: 1 to 4 */
	uint64_t delay_us;         /* most that a message takes */
	bool faults, quiet, trace; /* QUIET: no client calls any more */
	struct options options;
	unsigned fault_count;
	char (*tail)[LINE_MAX]; /* the last LINES of the trace, a ring; NULL: not kept */
	size_t tail_count;
	struct blob *blobs;
	/* What must hold, over all time. */
	struct {
		uint64_t hash, term, by;
	} * committed; /* by index; BY: term of the leader that committed it */
	uint64_t committed_to, committed_cap;
	uint64_t *leader_of; /* by term */
	size_t leader_cap;
	uint64_t *vote_of[NODES + 1]; /* by term */
	size_t vote_cap[NODES + 1];
	struct {
		uint64_t index, term, hash;
	} * prefixes; /* of logs, a hash table */
	size_t prefix_count, prefix_slots;
	uint64_t *state_hash; /* by index; 0: not known */
	uint64_t state_cap;
	struct op *ops;
	size_t op_count, op_cap;
	uint64_t changes_wanted;
	char failure[512];
	uint64_t elections, entries, snapshots, restarts, repeats;
	struct shelf *shelf; /* of behind.c */
	struct client {
		uint64_t sequence, born;
		unsigned char id; /* another one when it was forgotten; 0: not there yet */
	} clients[CLIENTS];
};

/* world.c */
uint64_t draw(struct world *w, uint64_t n);
void world_at(struct world *w, uint64_t after, enum happening what, unsigned node, struct packet *p);
__attribute__((format(printf, 2, 3))) void world_fail(struct world *w, const char *format, ...);
__attribute__((format(printf, 2, 3))) void world_trace(struct world *w, const char *format, ...);
const struct blob *world_blob(struct world *w, const void *bytes, size_t len);
struct world *world_new(const struct cairn_replication *module, uint64_t seed, const struct options *options,
			bool trace);
/* One without faults, clients and chance, for scenarios. */
struct world *world_quiet(const struct cairn_replication *module, unsigned voters);
/* Let things happen for US. False where the world has failed. */
bool world_run(struct world *w, uint64_t us);
void world_free(struct world *w);
/* Faults end: everybody is up and heard. */
void world_heal(struct world *w);
/* The node that leads in the highest term, or NULL. */
struct node *world_leader(struct world *w);
/* Ask LEADER to make a learner that is alive a voter. False where there is none. */
bool world_promote(struct world *w, struct node *leader);

/* life.c: all faults end, and everything must come right again. */
void world_live(struct world *w);

/* host.c */
void node_step(struct world *w, struct node *n, const struct cairn_event *events, size_t count);
void node_start(struct world *w, struct node *n);
void node_crash(struct world *w, struct node *n);
void node_deliver(struct world *w, struct node *n, struct packet *p);
void node_disk_done(struct world *w, struct node *n);
void node_apply_done(struct world *w, struct node *n);
void node_compact(struct world *w, struct node *n);
void packet_free(struct packet *p);
uint64_t mix(uint64_t a, uint64_t b);
/* What N's clock says. */
uint64_t node_clock(const struct world *w, const struct node *n);
uint64_t records_last(const struct records *r);
uint64_t records_hash(const struct records *r, uint64_t index);
uint64_t records_term(const struct records *r, uint64_t index);
const struct record *records_get(const struct records *r, uint64_t index);

/* check.c: each fails the world where it does not hold */
void check_append(struct world *w, struct node *n, uint64_t index, const struct record *r);
void check_members(struct world *w, struct node *n);
void check_truncate(struct world *w, struct node *n, uint64_t index);
void check_leader(struct world *w, struct node *n);
void check_commit(struct world *w, struct node *n, uint64_t index, const struct record *r, uint64_t term);
void check_applied(struct world *w, struct node *n);
void check_send(struct world *w, struct node *n, const struct packet *p);
void check_hard(struct world *w, struct node *n, uint64_t term, uint64_t vote);
uint64_t check_number(const unsigned char *p);
void check_progress(struct world *w, struct node *n);
void check_histories(struct world *w);

/* client.c */
void client_turn(struct world *w);
/* A write at N, if there is one. */
void client_put(struct world *w, struct node *n);
/* A read of each key at N. */
void client_read(struct world *w, struct node *n);
void client_answer(struct world *w, uint64_t reference, bool done, uint64_t value);
void client_refused(struct world *w, uint64_t reference, bool never);
/* Apply the command REFERENCE to S; the value that it found. */
uint64_t client_apply(struct world *w, struct state *s, uint64_t reference);

/* behind.c: the daemon's store over engine-memory behind each node. What differs between nodes, between a
 * command and its repetition, or between a store and its snapshot, fails the world. */
void behind_begin(struct world *w);
/* N's store as its snapshot was; gone with the node's life. */
void behind_start(struct world *w, struct node *n);
void behind_stop(struct node *n);
/* The command of entry INDEX is next, with those before that were not flushed. */
void behind_apply(struct world *w, struct node *n, uint64_t index, const struct record *r);
void behind_flush(struct world *w, struct node *n);
/* The value of client key KEY. */
uint64_t behind_read(struct world *w, struct node *n, unsigned key);
/* The store as the daemon's stream; lives as long as the world. */
const struct stream *behind_save(struct world *w, struct node *n);
/* Put N's snapshot in place of its store. False where it is given up half-way. */
bool behind_install(struct world *w, struct node *n, const struct state *s);
/* No key of N is due before, in the store's time. */
uint64_t behind_due(struct node *n);
/* At the end: rows, digests and what was counted. */
void behind_check(struct world *w);
void behind_end(struct world *w);

/* order.c: encoded operations, each with its client and number, which may be proposed several times. */
#define ATTEMPTS 8
struct order {
	unsigned op, client;
	uint64_t sequence, born;
	unsigned char id; /* of the client */
	unsigned attempts;
	void *bytes[ATTEMPTS]; /* owned; the command as it was proposed */
	size_t len[ATTEMPTS];
	void *arguments; /* owned */
	size_t arguments_len;
	uint64_t first, revision; /* where it was applied, 0: not yet; what came of it */
	int code;
};

/* One more attempt of O at N, under the reference that is returned; 0 where there were enough. */
uint64_t order_attempt(struct world *w, struct op *o, struct node *n);
/* Give O, which is a write on KEY of the clients, its order; without a key any other operation. */
void order_new(struct world *w, struct op *o, struct node *n);
/* Some older operation to be proposed again, or NULL. */
struct op *order_again(struct world *w);
/* The client of O was told that nothing is known of it any more. */
void order_forgotten(struct world *w, struct op *o, struct node *n);
void order_free(struct order *o);
struct op *op_of(struct world *w, uint64_t reference);

#endif
