/*
 * A shard: one replicated state machine of a volume on this node: engine, store, replication instance, and an
 * inbox that many threads post to. It has no thread of its own: whoever posts tries to take the step flag,
 * drains the inbox, steps the module once with the joined batch, applies what it commits as one engine batch
 * with one sync, completes the requests, and gives the flag back. So one client is served start to end by
 * its own thread, and many clients combine.
 */
#ifndef SHARD_H
#define SHARD_H

#include "node.h"
#include "store.h"

struct shard;

/* One write on its way. The caller owns it, from shard_write until done() is called. */
struct shard_write {
	struct shard_write *next;    /* the shard's, while it has it */
	struct cairn_msg command;    /* in: a log command without its TIME; the caller frees it after done() */
	struct cairn_msg answer;     /* out: fields of the result; the caller frees it */
	struct cairn_error error;    /* out: code 0 when it worked */
	struct loop *loop;	     /* done() runs in this loop's thread */
	struct loop_task task;	     /* the shard's */
	uint64_t deadline_ns;	     /* loop time; passed before it was proposed: TIMEOUT. 0: none */
	uint64_t reference;	     /* the shard's */
	void (*done)(struct shard_write *w); /* exactly once; may run before shard_write returns when LOOP is the caller's */
};

/* Hand in a write whose arguments passed store_check. From any loop thread. */
void shard_write(struct shard *s, struct shard_write *w);

/* The store for reads; valid while the caller holds its volume. */
struct store *shard_store(struct shard *s);

/*
 * Whether a linearizable read may be served from the store now; else UNAVAILABLE or TIMEOUT. With replication-none that is
 * always so while the shard is healthy. A shard that stopped answers with the reason it stopped for.
 */
enum cairn_code shard_may_read(struct shard *s, struct cairn_error *error);

#endif
