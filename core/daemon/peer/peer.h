/*
 * Peers: how the nodes of one cluster talk. An endpoint listens, dials the peers that it is told of, and
 * carries frames between them; what is in a frame is its host's business (format.md has the bytes).
 *
 * Between two nodes there are two TCP connections. The first carries PEER_URGENT (votes, heartbeats, acks,
 * reads) and PEER_LOG (entries, forwarded requests): an urgent frame overtakes log frames at the next frame
 * boundary, so it waits for one frame at most (1 MiB), not for a queue. The second, made when it is first
 * needed, carries PEER_BULK (snapshots). Interleaving all on one connection would need small pieces and a
 * scheduler of our own; with two, the kernel shares the line, and a bulk reader that stalls fills its own
 * window only. Frames of one lane arrive in order, each once, whole; a frame may be lost only where the
 * connection is. Either node may dial; where both do at one time, the dial of the lower id counts.
 *
 * With the cluster's keys everything goes through TLS 1.3 (tls.h); a node without a key joins with a token,
 * in a conversation of its own: it sends one request and gets one answer, both the hosts' business.
 *
 * Threads: peers_send, peers_flush, peers_room, peers_stats from any thread; the rest, and every callback, in
 * the loop's thread. A callback may call everything here but peers_close. Queues are bounded: what does not
 * fit is not taken. Frames are copied once, into the peer's queue; one of 16 KiB or more goes from the
 * caller's slices straight to the socket where nothing waits before it. Nothing is allocated per frame once
 * queues have grown.
 */
#ifndef PEER_H
#define PEER_H

#include <stdbool.h>
#include <stdint.h>
#include <cairn/errors.h>
#include <cairn/slice.h>
#include "key.h"

struct buffer;
struct loop;
struct log;
struct pool;
struct peers; /* an endpoint */

enum peer_lane { PEER_URGENT, PEER_LOG, PEER_BULK, PEER_LANES };

#define PEER_KIND_FIRST 16       /* the kinds of frames below it are the transport's own */
#define PEER_BODY_MAX (1u << 20) /* most bytes of one frame's body */
#define PEER_SLICES_MAX 1024     /* most slices of one send */
#define PEER_JOIN_MAX 16000      /* most bytes of what is said when a node joins */
#define PEER_PORT 7400           /* where an address names none */
#define PEER_NAME_MAX 63         /* longest name of a node, a cluster, a version */
#define PEER_ADDRESS_MAX 271     /* longest HOST:PORT */

/* What arrived. BODY is valid during the callback. */
struct peer_frame {
	uint64_t from; /* id of the node */
	uint64_t shard;
	enum peer_lane lane;
	uint8_t kind; /* from PEER_KIND_FIRST on */
	struct cairn_slice body;
};

/* Who somebody says to be. */
struct peer_who {
	uint64_t id;
	uint64_t instance; /* random, another one with each start of that node */
	unsigned char cluster[16];
	char cluster_name[PEER_NAME_MAX + 1];
	char name[PEER_NAME_MAX + 1];
	char software[PEER_NAME_MAX + 1];
	unsigned protocol;                  /* that both speak */
	char address[PEER_ADDRESS_MAX + 1]; /* where the connection comes from, or goes to */
};

/* Why a handshake was refused; the numbers stand on the wire. */
enum peer_refusal {
	PEER_REFUSED_CLUSTER = 1,  /* the other one belongs to another cluster */
	PEER_REFUSED_NODE = 2,     /* the other one is not the node that was called */
	PEER_REFUSED_VERSION = 3,  /* no common version of the protocol */
	PEER_REFUSED_STRANGER = 4, /* not a member */
	PEER_REFUSED_REMOVED = 5,  /* was a member, and is none any more */
	PEER_REFUSED_BUSY = 6,     /* a connection to it is being made: not an error */
	PEER_REFUSED_JOIN = 7,     /* it may not join; the sentence says why */
};

/* All but MESSAGE may be NULL. */
struct peer_calls {
	void (*message)(void *arg, const struct peer_frame *frame);
	/* The peer is there: urgent and log frames go to it from now on. */
	void (*up)(void *arg, uint64_t id, const struct peer_who *who);
	/* It is gone, WHY in words; frames that were queued are lost, those sent may be. The endpoint dials
	 * again by itself. */
	void (*down)(void *arg, uint64_t id, const char *why);
	/* The bulk connection was lost, with what was queued on it; the peer may still be up. */
	void (*bulk_lost)(void *arg, uint64_t id);
	/* A lane that had refused a frame (-EAGAIN) has room again: half of its queue is free. */
	void (*room)(void *arg, uint64_t id, enum peer_lane lane);
	/*
	 * A node calls whose id was not set. 0: let it in (the host may peers_set it meanwhile); else why
	 * not, with a sentence in TEXT where the usual one will not do.
	 */
	enum peer_refusal (*admit)(void *arg, const struct peer_who *who, char *text, size_t size);
	/* Node ID has refused us, with a sentence. The endpoint tries again, ever more seldom. */
	void (*refused)(void *arg, uint64_t id, enum peer_refusal why, const char *sentence);
	/* The secret of the token ID, made with peer_token_make; false: it is not known, or not good any
	 * more. */
	bool (*token)(void *arg, const char *id, unsigned char secret[KEY_SECRET]);
	/* Somebody at ADDRESS with the token ID wants to join, and has proved to have it. Answer with
	 * peers_join_answer or peers_join_refuse, now or later: GUEST names the conversation. */
	void (*join)(void *arg, uint64_t guest, const char *id, const char *address,
		     struct cairn_slice request);
};

struct peer_options {
	struct loop *loop;
	struct log *log;
	struct pool *pool; /* where names are looked up; NULL: in the loop's thread */
	uint64_t id;       /* this node's, not 0 */
	const char *name;  /* this node's, for people */
	unsigned char cluster[16];
	const char *cluster_name;     /* for people */
	const struct peer_keys *keys; /* the cluster's; copied. NULL: without TLS, in the open */
	const char *listen;           /* HOST:PORT (port 0: any); NULL: do not listen */
	struct peer_calls calls;
	void *arg;                       /* of the calls */
	size_t queue_max[PEER_LANES];    /* bytes that wait for one peer; 0: 4 MiB, log 32 MiB */
	unsigned handshake_ms;           /* most time for one; 0: 3 s */
	unsigned ping_ms;                /* between pings; 0: 1 s */
	unsigned silence_ms;             /* without a byte the connection counts as dead; 0: 5 s */
	unsigned retry_ms, retry_max_ms; /* first and longest wait before dialling again; 0: 50 ms, 2 s */
};

/* One peer for status and metrics. */
struct peer_stats {
	uint64_t id;
	bool up, bulk_up;
	char address[PEER_ADDRESS_MAX + 1];                        /* as it was set; empty: it calls us */
	char name[PEER_NAME_MAX + 1], software[PEER_NAME_MAX + 1]; /* empty until it was up */
	char key[KEY_ID + 1]; /* id of the cluster key that the first connection was made with; empty: none */
	char error[256];      /* why it is not up, in words; empty while it is */
	uint64_t since_ns;    /* boot time at which it came up or went down */
	uint64_t heard_ns;    /* boot time at which its last byte came; 0: never */
	uint64_t rtt_ns;      /* smoothed; 0: not known */
	int64_t clock_ns;     /* its wall clock less ours, as good as half the round trip */
	uint64_t bytes_in, bytes_out, frames_in, frames_out;
	uint64_t dropped;          /* frames that were not taken, or lost from a queue */
	uint64_t reconnects;       /* times that it came up, less the first */
	uint64_t refusals;         /* handshakes with it that failed, either way */
	size_t queued[PEER_LANES]; /* bytes that wait now */
};

/* OPTIONS (texts copied). UNAVAILABLE where the address cannot be listened on, INVALID where it is none. */
enum cairn_code peers_open(struct peers **p, const struct peer_options *options, struct cairn_error *error);
/* Hang up; no callback comes any more. NULL is allowed. */
void peers_close(struct peers *p);
/* Where it listens, HOST:PORT; empty where it does not. Valid until peers_close. */
const char *peers_address(const struct peers *p);

/*
 * From now on keep a connection to node ID at ADDRESS (HOST:PORT, [V6]:PORT; empty: it calls us). Set again
 * with another address: the next dial goes there. INVALID for a bad address.
 */
enum cairn_code peers_set(struct peers *p, uint64_t id, const char *address, struct cairn_error *error);
/* Hang up and forget it; its down() is not called. Nothing where it is not known. */
void peers_remove(struct peers *p, uint64_t id);

/*
 * Send a frame of COUNT slices, joined, to node ID. It leaves at the end of the loop's turn, or at once where
 * another thread sends. 0 when it was taken (it may still be lost), -EAGAIN where the lane's queue is full,
 * -ENOTCONN where the peer is not up, -ENOENT where it is not known, -EMSGSIZE, -ENOMEM. Not taken counts as
 * dropped. Bulk frames are taken while the bulk connection is being made.
 */
int peers_send(struct peers *p, uint64_t id, enum peer_lane lane, uint8_t kind, uint64_t shard,
	       const struct cairn_slice *slices, size_t count);
/* Hand what is queued to the kernel now: before a sync in the loop's thread. */
void peers_flush(struct peers *p);
/* Bytes that a lane would take now; 0 where the peer is not up. */
size_t peers_room(struct peers *p, uint64_t id, enum peer_lane lane);

/* From now on call with the first of KEYS, and take them all. Connections that were made with a key that is
 * not among them are made anew. INVALID where the endpoint talks in the open. */
enum cairn_code peers_rekey(struct peers *p, const struct peer_keys *keys, struct cairn_error *error);

/* Let GUEST join: ANSWER is what it needs to know, at most PEER_JOIN_MAX bytes. Nothing where it has gone. */
void peers_join_answer(struct peers *p, uint64_t guest, struct cairn_slice answer);
void peers_join_refuse(struct peers *p, uint64_t guest, const char *sentence);

/*
 * The other side: ask the node at ADDRESS to let us join, with the token TEXT, over TLS or in the open. This
 * waits, TIMEOUT_MS at most, and needs no endpoint. *ANSWER (zero-initialised; the caller's to free) is what
 * the other host said. DENIED with its sentence where it refuses; UNAVAILABLE, TIMEOUT, INVALID (token,
 * address).
 */
enum cairn_code peer_join(const char *address, const char *token, bool tls, struct cairn_slice request,
			  unsigned timeout_ms, struct buffer *answer, struct cairn_error *error);

/* The peer number N, from 0, in order of ids. False behind the last. */
bool peers_stats(struct peers *p, size_t n, struct peer_stats *stats);

/* Take HOST:PORT, [V6]:PORT, HOST (port PEER_PORT) apart; HOST has PEER_ADDRESS_MAX + 1 bytes. Whether it was
 * one. */
bool peer_address_parse(const char *text, char *host, uint16_t *port);

#endif
