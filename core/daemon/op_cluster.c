/*
 * How the cluster is, as this node sees it: which nodes it is connected to, who leads, and whether a majority
 * is there. A node on its own is a cluster of one.
 */
#include <stdio.h>
#include <sys/statvfs.h>
#include "clock.h"
#include "cluster.h"
#include "operation.h"
#include "banned.h"

struct health {
	struct cairn_error error; /* of the first volume that is not well */
	struct volume *volume;
	struct volume *headless; /* the first that has no leader */
	bool unsettled;          /* volumes are still being made or opened */
};

static void look_at(void *arg, struct volume *v)
{
	struct health *h = arg;
	struct cairn_error error;
	struct shard_role role = { .leader = 1 };

	if (!h->volume && volume_health(v, &error)) {
		h->error = error;
		h->volume = v;
	}
	if (v->shard)
		shard_role(volume_shard(v, cairn_slice(NULL, 0)), &role);
	if (!role.alone && !role.leader && !h->headless)
		h->headless = v;
}

/* Names of the nodes that are not there, for a sentence. */
static void name_missing(const struct cluster_node *nodes, size_t count, char *text, size_t size)
{
	size_t n = 0;

	text[0] = 0;
	for (size_t i = 0; i < count && n < size; i++)
		if (!nodes[i].up)
			n += (size_t)snprintf(text + n, size - n, "%s%s", n ? ", " : "", nodes[i].name);
}

static void add_sentence(struct call *c, const struct health *h, const struct shard_role *role,
			 const struct cluster_node *nodes, size_t count)
{
	struct cairn_msg *m = &c->answer;
	char text[sizeof(h->error.message) + 128], leader[PEER_NAME_MAX + 1], missing[200];
	size_t up = 0;
	const char *state = "ok";

	for (size_t i = 0; i < count; i++)
		up += nodes[i].up;
	name_missing(nodes, count, missing, sizeof(missing));
	cluster_node_name(c->node->cluster, role->leader, leader);
	if (role->leader && h->unsettled) {
		state = "degraded";
		snprintf(text, sizeof(text), "volumes are being opened");
	} else if (!role->leader || h->headless) {
		bool lacking = up * 2 <= count;

		state = lacking ? "no-quorum" : "degraded";
		if (lacking)
			snprintf(text, sizeof(text), "%zu of %zu nodes %s up, %zu are needed: %s %s missing",
				 up, count, up == 1 ? "is" : "are", count / 2 + 1, missing,
				 count - up == 1 ? "is" : "are");
		else
			snprintf(text, sizeof(text), "%zu of %zu nodes, and %s has no leader", up, count,
				 role->leader ? h->headless->name : "the cluster");
	} else if (h->volume) {
		state = "degraded";
		snprintf(text, sizeof(text), "%s", h->error.message);
	} else if (up < count) {
		state = "degraded";
		snprintf(text, sizeof(text), "%zu of %zu nodes, leader %s: %s %s missing%s", up, count,
			 leader, missing, count - up == 1 ? "is" : "are",
			 (up - 1) * 2 <= count ? "; one more failure stops writes" : "");
	} else {
		snprintf(text, sizeof(text), "%zu of %zu nodes, leader %s", up, count, leader);
	}
	cairn_msg_text(m, CAIRN_F_STATE, state);
	cairn_msg_text(m, CAIRN_F_MESSAGE, text);
	if (h->error.hint[0])
		cairn_msg_text(m, CAIRN_F_HINT, h->error.hint);
}

/* What the connection to NODE says of it. */
static void add_connection(struct call *c, const struct cluster_node *node)
{
	struct cairn_msg *m = &c->answer;
	struct peer_stats stats;

	if (!cluster_peer(c->node->cluster, node->id, &stats))
		return;
	if (stats.up && stats.rtt_ns) {
		cairn_msg_u64(m, CAIRN_F_RTT_US, stats.rtt_ns / 1000);
		cairn_msg_u64(m, CAIRN_F_CLOCK_US, (uint64_t)(stats.clock_ns / 1000));
	}
	if (!stats.up && stats.error[0])
		cairn_msg_text(m, CAIRN_F_MESSAGE, stats.error);
}

static void add_node(struct call *c, const struct cluster_node *node, const struct shard_role *role)
{
	static const char *const names[] = { "follower", "learner", "candidate", "leader" };
	struct cairn_msg *m = &c->answer;
	struct cluster *cluster = c->node->cluster;
	size_t mark = cairn_msg_open(m, CAIRN_F_NODE);
	bool self = node->id == cluster->self;

	cairn_msg_text(m, CAIRN_F_NAME, node->name);
	cairn_msg_text(m, CAIRN_F_ROLE,
		       !node->up                          ? "down"
			       : self                     ? names[role->role]
			       : node->id == role->leader ? "leader"
							  : "follower");
	if (role->leader)
		cairn_msg_u64(m, CAIRN_F_TERM, role->term);
	cairn_msg_u64(m, CAIRN_F_LAG, cluster_lag(cluster, node->id));
	if (node->disk_free)
		cairn_msg_u64(m, CAIRN_F_DISK_FREE, node->disk_free);
	cairn_msg_text(m, CAIRN_F_ADDRESS, node->address);
	if (!self)
		add_connection(c, node);
	cairn_msg_close(m, mark);
}

/* Sentence and nodes of a node on its own. */
static void say_alone(struct call *c, const struct health *h)
{
	struct node *n = c->node;
	struct cairn_msg *m = &c->answer;
	char text[600];

	cairn_msg_text(m, CAIRN_F_STATE, h->volume ? "degraded" : "ok");
	if (h->volume)
		snprintf(text, sizeof(text), "%s", h->error.message);
	else
		snprintf(text, sizeof(text), "1 of 1 nodes, leader %s", n->name);
	cairn_msg_text(m, CAIRN_F_MESSAGE, text);
	if (h->error.hint[0])
		cairn_msg_text(m, CAIRN_F_HINT, h->error.hint);
}

static void add_alone(struct call *c)
{
	struct node *n = c->node;
	struct cairn_msg *m = &c->answer;
	size_t mark = cairn_msg_open(m, CAIRN_F_NODE);
	struct statvfs fs;

	cairn_msg_text(m, CAIRN_F_NAME, n->name);
	cairn_msg_text(m, CAIRN_F_ROLE, "leader");
	if (fstatvfs(n->data_fd, &fs) == 0)
		cairn_msg_u64(m, CAIRN_F_DISK_FREE, (uint64_t)fs.f_bavail * fs.f_frsize);
	cairn_msg_text(m, CAIRN_F_ADDRESS, setting_text(n->settings, SETTING_CONTROL_SOCKET));
	cairn_msg_close(m, mark);
}

void status_state(struct call *c)
{
	struct cluster_node nodes[CLUSTER_NODES_MAX];
	struct cluster *cluster = c->node->cluster;
	struct health h = { 0 };
	struct shard_role role;
	size_t count;

	volumes_each(c->node, look_at, &h);
	if (!cluster) {
		say_alone(c, &h);
		return;
	}
	count = cluster_nodes(cluster, nodes);
	shard_role(volumes_system(c->node)->shard, &role);
	h.unsettled = !volumes_settled(c->node);
	add_sentence(c, &h, &role, nodes, count);
}

void status_nodes(struct call *c)
{
	struct cluster_node nodes[CLUSTER_NODES_MAX];
	struct cluster *cluster = c->node->cluster;
	struct shard_role role;
	size_t count;

	if (!cluster) {
		add_alone(c);
		return;
	}
	count = cluster_nodes(cluster, nodes);
	shard_role(volumes_system(c->node)->shard, &role);
	for (size_t i = 0; i < count; i++)
		add_node(c, &nodes[i], &role);
}
