/*
 * The cluster that a node belongs to: who the other nodes are and where, the connections to them, and the
 * shards that speak through these. A node that belongs to none has no struct cluster.
 */
#ifndef CLUSTER_H
#define CLUSTER_H

#include <pthread.h>
#include "node.h"
#include "peer.h"

#define CLUSTER_NODES_MAX 16
#define CLUSTER_MEMBERS_BYTES (8 + 9 * CLUSTER_NODES_MAX) /* of an encoded list of members */

struct replica;

struct cluster_node {
	uint64_t id; /* from 1 on, never reused */
	char name[PEER_NAME_MAX + 1];
	char address[PEER_ADDRESS_MAX + 1];
	bool up;            /* a connection is there; this node itself is up */
	uint64_t disk_free; /* bytes, as it said last; 0: it has not */
};

struct cluster {
	struct node *node;
	char name[PEER_NAME_MAX + 1];
	unsigned char id[16];
	uint64_t self;
	_Atomic(struct peers *) peers; /* NULL before cluster_start */
	struct loop_timer *timer;      /* of all shards' modules and sweeps */
	_Atomic uint64_t timer_at_ns;
	struct loop_task rearm;
	_Atomic bool rearming;

	uint64_t told_ns; /* when the others were told how this node is; of the loop */

	pthread_mutex_t lock; /* of what follows */
	struct cluster_node nodes[CLUSTER_NODES_MAX];
	size_t count;
	struct replica *replicas;
};

/*
 * What the settings or the data folder say: N->cluster, or NULL where N is on its own. INVALID for settings
 * that do not go together.
 */
enum cairn_code cluster_open(struct node *n, struct cairn_error *error);
/* Listen, and dial the others. In the loop's thread. */
enum cairn_code cluster_start(struct cluster *c, struct cairn_error *error);
/* Nobody steps a shard any more. NULL is allowed. */
void cluster_close(struct cluster *c);

/* The node's cluster key, from its data folder or the setting cluster.key; none where it has none. */
enum cairn_code cluster_keys(struct node *n, struct peer_keys *keys, struct cairn_error *error);
/* Make a new cluster key in the file PATH, and tell on standard output. EXISTS where the file is there. */
enum cairn_code cluster_make_key(const char *path, struct cairn_error *error);

/* Members of a new shard: all nodes vote. Bytes as in MEMBERS entries of replication modules. */
size_t cluster_members(struct cluster *c, unsigned char bytes[CLUSTER_MEMBERS_BYTES]);
/* Copies of the nodes that there are, by id. From any thread. */
size_t cluster_nodes(struct cluster *c, struct cluster_node nodes[CLUSTER_NODES_MAX]);
/* The name of node ID into NAME; "node N" where it is not known. */
void cluster_node_name(struct cluster *c, uint64_t id, char name[PEER_NAME_MAX + 1]);

struct cluster_count {
	size_t up, all;
};
/* How many nodes there are, and how many of them this one is connected to, itself included. From any thread.
 */
struct cluster_count cluster_up(struct cluster *c);

/* Whether this node is connected to node ID. From any thread. */
bool cluster_is_up(struct cluster *c, uint64_t id);

/* The connection to node ID; false where there is none to ask of. From any thread. */
bool cluster_peer(struct cluster *c, uint64_t id, struct peer_stats *stats);

/* As peers_send; -ENOTCONN before cluster_start. From any thread. */
int cluster_send(struct cluster *c, uint64_t peer, enum peer_lane lane, uint8_t kind, uint64_t shard,
		 const struct cairn_slice *slices, size_t count);

#define CLUSTER_NEWS 64 /* a kind of frame */
/* cluster_news.c; in the loop. Once a second: tell the others how this node is. */
void cluster_tell_news(struct cluster *c);
void cluster_take_news(struct cluster *c, const struct peer_frame *f);
/* How many entries node ID has applied less than whoever has applied most, as they said last. From any
 * thread. */
uint64_t cluster_lag(struct cluster *c, uint64_t id);

/* R gets what is sent to its shard, and is stepped when its time comes. From any thread. */
void cluster_add(struct cluster *c, struct replica *r);
void cluster_remove(struct cluster *c, struct replica *r);
/* From any thread: R wants to be looked at when clock_boot_ns is AT_NS. */
void cluster_wake(struct cluster *c, uint64_t at_ns);

#endif
