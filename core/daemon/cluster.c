/*
 * The cluster. Its nodes stand in the file "cluster" of the data folder, which the first start with the
 * setting cluster.peers makes: later ones need nothing else. Frames that come are given to the shard that
 * they name; one timer steps all shards in their time.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "clock.h"
#include "crc32c.h"
#include "files.h"
#include "replica.h"
#include "banned.h"

#define FILE_NAME "cluster"
#define FILE_MAX 16384

/* --- who belongs to it --- */

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct cluster_node *)a)->name, ((const struct cluster_node *)b)->name);
}

/* Take "NAME=HOST:PORT NAME=HOST:PORT …" apart. */
static enum cairn_code parse_peers(struct cluster *c, const char *text, struct cairn_error *error)
{
	char host[PEER_ADDRESS_MAX + 1];
	uint16_t port;

	for (const char *p = text + strspn(text, " ,"); *p; p += strspn(p, " ,")) {
		struct cluster_node *n = &c->nodes[c->count];
		size_t len = strcspn(p, " ,"), name = strcspn(p, "= ,");

		if (c->count == CLUSTER_NODES_MAX)
			return cairn_fail(error, CAIRN_E_INVALID, "cluster.peers has more than %d nodes",
					  CLUSTER_NODES_MAX);
		if (!name || name > PEER_NAME_MAX || name + 1 >= len || len - name - 1 > PEER_ADDRESS_MAX)
			return cairn_fail(
				error, CAIRN_E_INVALID,
				"cluster.peers is NAME=HOST:PORT, separated by blanks; '%.*s' is not",
				(int)len, p);
		snprintf(n->name, sizeof(n->name), "%.*s", (int)name, p);
		snprintf(n->address, sizeof(n->address), "%.*s", (int)(len - name - 1), p + name + 1);
		if (!peer_address_parse(n->address, host, &port))
			return cairn_fail(error, CAIRN_E_INVALID, "cluster.peers: '%s' is no HOST:PORT",
					  n->address);
		c->count++;
		p += len;
	}
	qsort(c->nodes, c->count, sizeof(*c->nodes), by_name);
	for (size_t i = 0; i < c->count; i++) {
		c->nodes[i].id = i + 1;
		if (i && !strcmp(c->nodes[i].name, c->nodes[i - 1].name))
			return cairn_fail(error, CAIRN_E_INVALID, "cluster.peers names node %s twice",
					  c->nodes[i].name);
	}
	return CAIRN_OK;
}

static uint64_t hash_text(uint64_t hash, const char *text)
{
	do
		hash = (hash ^ (unsigned char)*text) * 0x100000001b3u;
	while (*text++);
	return hash;
}

/* Nodes that were given the same list are of one cluster. */
static void name_cluster(struct cluster *c)
{
	for (unsigned half = 0; half < 2; half++) {
		uint64_t hash = hash_text(0xcbf29ce484222325u + half, c->name);

		for (size_t i = 0; i < c->count; i++)
			hash = hash_text(hash, c->nodes[i].name);
		memcpy(c->id + 8 * half, &hash, 8);
	}
}

static enum cairn_code find_self(struct cluster *c, struct cairn_error *error)
{
	for (size_t i = 0; i < c->count; i++)
		if (!strcmp(c->nodes[i].name, c->node->name))
			c->self = c->nodes[i].id;
	return c->self ? CAIRN_OK
		       : cairn_fail(error, CAIRN_E_INVALID,
				    "cluster.peers does not name this node, %s (node.name)", c->node->name);
}

/* --- the file --- */

static enum cairn_code write_file(struct cluster *c, struct cairn_error *error)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);
	int r;

	if (!f)
		return cairn_fail(error, CAIRN_E_INTERNAL, "no memory");
	fprintf(f, "cairn-cluster 1\nname=%s\nid=", c->name);
	for (size_t i = 0; i < sizeof(c->id); i++)
		fprintf(f, "%02x", c->id[i]);
	fprintf(f, "\nself=%" PRIu64 "\n", c->self);
	for (size_t i = 0; i < c->count; i++)
		fprintf(f, "node=%" PRIu64 " %s %s\n", c->nodes[i].id, c->nodes[i].name, c->nodes[i].address);
	fflush(f);
	fprintf(f, "crc32c=%08" PRIx32 "\n", crc32c(0, text, len));
	r = fclose(f) ? -ENOMEM : file_replace(c->node->data_fd, FILE_NAME, cairn_slice(text, len));
	free(text);
	return r < 0 ? cairn_fail(error, cairn_error_from_errno(-r), "the file %s/" FILE_NAME ": %s",
				  c->node->data_dir, strerror(-r))
		     : CAIRN_OK;
}

static bool parse_hex(const char *text, unsigned char *to, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned byte;

		if (sscanf(text + 2 * i, "%2x", &byte) != 1)
			return false;
		to[i] = (unsigned char)byte;
	}
	return true;
}

static bool parse_line(struct cluster *c, const char *line)
{
	struct cluster_node *n = &c->nodes[c->count];

	if (!strncmp(line, "name=", 5))
		return sscanf(line, "name=%63s", c->name) == 1;
	if (!strncmp(line, "id=", 3))
		return parse_hex(line + 3, c->id, sizeof(c->id));
	if (!strncmp(line, "self=", 5))
		return sscanf(line, "self=%" SCNu64, &c->self) == 1;
	if (strncmp(line, "node=", 5))
		return true; /* of a later release */
	if (c->count == CLUSTER_NODES_MAX ||
	    sscanf(line, "node=%" SCNu64 " %63s %271s", &n->id, n->name, n->address) < 2)
		return false;
	c->count++;
	return true;
}

static enum cairn_code read_file(struct cluster *c, bool *there, struct cairn_error *error)
{
	static const char last[] = "crc32c=";
	char *text, *end, sum[16], *rest, *line;
	size_t len;
	int r = file_read(c->node->data_fd, FILE_NAME, FILE_MAX, &text, &len);
	bool good;

	*there = r != -ENOENT;
	if (r == -ENOENT)
		return CAIRN_OK;
	if (r < 0)
		return cairn_fail(error, cairn_error_from_errno(-r), "the file %s/" FILE_NAME ": %s",
				  c->node->data_dir, strerror(-r));
	end = memmem(text, len, last, sizeof(last) - 1);
	good = !strncmp(text, "cairn-cluster 1\n", 16) && end;
	if (good) {
		snprintf(sum, sizeof(sum), "%08" PRIx32 "\n", crc32c(0, text, (size_t)(end - text)));
		good = !strcmp(end + sizeof(last) - 1, sum);
		*end = 0;
	}
	rest = text;
	while (good && (line = strsep(&rest, "\n")))
		good = parse_line(c, line);
	free(text);
	return good && c->self && c->count
		? CAIRN_OK
		: cairn_fail(error, CAIRN_E_CORRUPT, "the file %s/" FILE_NAME " is damaged",
			     c->node->data_dir);
}

/* Addresses may have changed since. */
static void take_addresses(struct cluster *c, const struct cluster *given)
{
	for (size_t i = 0; i < c->count; i++)
		for (size_t k = 0; k < given->count; k++)
			if (!strcmp(c->nodes[i].name, given->nodes[k].name))
				c->nodes[i] = (struct cluster_node){ .id = c->nodes[i].id, .name = { 0 } },
				memcpy(c->nodes[i].name, given->nodes[k].name, sizeof(c->nodes[i].name)),
				memcpy(c->nodes[i].address, given->nodes[k].address,
				       sizeof(c->nodes[i].address));
}

enum cairn_code cluster_open(struct node *n, struct cairn_error *error)
{
	struct cluster *c = calloc(1, sizeof(*c)), *given = calloc(1, sizeof(*given));
	bool there = false;
	enum cairn_code code = CAIRN_OK;

	if (!c || !given) {
		free(c);
		free(given);
		return cairn_fail(error, CAIRN_E_INTERNAL, "no memory");
	}
	pthread_mutex_init(&c->lock, NULL);
	c->node = given->node = n;
	snprintf(given->name, sizeof(given->name), "%s", setting_text(n->settings, SETTING_CLUSTER_NAME));
	code = parse_peers(given, setting_text(n->settings, SETTING_CLUSTER_PEERS), error);
	if (!code)
		code = read_file(c, &there, error);
	if (!code && there) {
		take_addresses(c, given);
	} else if (!code && given->count) {
		memcpy(c->name, given->name, sizeof(c->name));
		memcpy(c->nodes, given->nodes, sizeof(c->nodes));
		c->count = given->count;
		name_cluster(c);
		code = find_self(c, error);
		if (!code && faccessat(n->data_fd, "volumes", F_OK, 0) == 0) {
			code = cairn_fail(error, CAIRN_E_UNSUPPORTED,
					  "the data folder %s is that of a node on its own", n->data_dir);
			cairn_hint(error, "take an empty data folder, or leave cluster.peers out");
		}
	}
	if (!code && c->count)
		code = write_file(c, error);
	free(given);
	if (code || !c->count) {
		pthread_mutex_destroy(&c->lock);
		free(c);
		return code;
	}
	n->cluster = c;
	return CAIRN_OK;
}

/* --- frames and connections; in the loop --- */

/* The replica of SHARD with a use of it, or NULL. */
static struct replica *find_replica(struct cluster *c, uint64_t shard)
{
	struct replica *r;

	pthread_mutex_lock(&c->lock);
	for (r = c->replicas; r && r->id != shard; r = r->next)
		;
	if (r)
		shard_use(r->shard);
	pthread_mutex_unlock(&c->lock);
	return r;
}

static void on_message(void *arg, const struct peer_frame *frame)
{
	struct replica *r;

	if (frame->kind == CLUSTER_NEWS) {
		cluster_take_news(arg, frame);
		return;
	}
	r = find_replica(arg, frame->shard);

	if (!r) /* not made here yet, or not any more */
		return;
	replica_frame(r, frame);
	shard_let_go(r->shard);
}

/* Tell every shard of KIND, about PEER. */
static void tell_all(struct cluster *c, enum mail_kind kind, uint64_t peer)
{
	pthread_mutex_lock(&c->lock);
	for (struct replica *r = c->replicas; r; r = r->next) {
		struct mail *m = mail_new(kind, 0, 0);

		if (!m)
			continue;
		m->event = (struct cairn_event){ .kind = CAIRN_EVENT_PEER_LOST, .peer = peer };
		replica_post(r, m);
		replica_kick(r);
	}
	pthread_mutex_unlock(&c->lock);
}

static void set_up(struct cluster *c, uint64_t id, bool up)
{
	pthread_mutex_lock(&c->lock);
	for (size_t i = 0; i < c->count; i++)
		if (c->nodes[i].id == id)
			c->nodes[i].up = up;
	pthread_mutex_unlock(&c->lock);
}

static void on_up(void *arg, uint64_t id, const struct peer_who *who)
{
	(void)who;
	set_up(arg, id, true);
	tell_all(arg, MAIL_AGAIN, id);
}

static void on_bulk_lost(void *arg, uint64_t id)
{
	struct cluster *c = arg;

	pthread_mutex_lock(&c->lock);
	for (struct replica *r = c->replicas; r; r = r->next) {
		snapshot_stop(r, id);
		install_stop(r, id);
	}
	pthread_mutex_unlock(&c->lock);
}

static void on_down(void *arg, uint64_t id, const char *why)
{
	(void)why;
	set_up(arg, id, false);
	tell_all(arg, MAIL_GONE, id);
}

/* --- time --- */

/* What R wants done by NOW is brought about; when it wants to be looked at again. */
static uint64_t look_at(struct replica *r, uint64_t now)
{
	uint64_t due = r->timer_us * 1000,
		 sweep = r->outstanding ? r->swept_ns + REPLICA_SWEEP_NS : UINT64_MAX;
	bool kick = false;

	if (due && due <= now) {
		r->timer_us = 0;
		r->timer_due = kick = true;
	}
	if (sweep <= now) {
		r->swept_ns = now;
		r->sweep_due = kick = true;
		sweep = now + REPLICA_SWEEP_NS;
	}
	if (kick)
		replica_kick(r);
	return due && due > now && due < sweep ? due : sweep;
}

static void arm(struct cluster *c)
{
	uint64_t at = c->timer_at_ns, now = clock_boot_ns();

	if (at && c->timer)
		loop_timer_set(c->timer, at > now ? (at - now + 999999) / 1000000 : 0);
}

static void on_timer(void *arg)
{
	struct cluster *c = arg;
	uint64_t now = clock_boot_ns(), next = UINT64_MAX;

	c->timer_at_ns = 0;
	pthread_mutex_lock(&c->lock);
	for (struct replica *r = c->replicas; r; r = r->next) {
		uint64_t at = look_at(r, now);

		next = at < next ? at : next;
	}
	pthread_mutex_unlock(&c->lock);
	if (next != UINT64_MAX)
		cluster_wake(c, next);
}

static void rearm(struct loop_task *t)
{
	struct cluster *c = (struct cluster *)((char *)t - offsetof(struct cluster, rearm));

	c->rearming = false;
	arm(c);
}

void cluster_wake(struct cluster *c, uint64_t at_ns)
{
	uint64_t at = c->timer_at_ns;

	do
		if (at && at <= at_ns)
			return;
	while (!atomic_compare_exchange_weak(&c->timer_at_ns, &at, at_ns));
	if (loop_inside(c->node->loop)) {
		arm(c);
		return;
	}
	if (atomic_exchange(&c->rearming, true))
		return;
	c->rearm.run = rearm;
	loop_post(c->node->loop, &c->rearm);
}

/* --- for the shards --- */

void cluster_add(struct cluster *c, struct replica *r)
{
	pthread_mutex_lock(&c->lock);
	r->next = c->replicas;
	c->replicas = r;
	pthread_mutex_unlock(&c->lock);
}

void cluster_remove(struct cluster *c, struct replica *r)
{
	struct replica **p;

	pthread_mutex_lock(&c->lock);
	for (p = &c->replicas; *p && *p != r; p = &(*p)->next)
		;
	if (*p)
		*p = r->next;
	pthread_mutex_unlock(&c->lock);
}

int cluster_send(struct cluster *c, uint64_t peer, enum peer_lane lane, uint8_t kind, uint64_t shard,
		 const struct cairn_slice *slices, size_t count)
{
	struct peers *p = c->peers;

	return p ? peers_send(p, peer, lane, kind, shard, slices, count) : -ENOTCONN;
}

bool cluster_peer(struct cluster *c, uint64_t id, struct peer_stats *stats)
{
	struct peers *p = c->peers;

	for (size_t i = 0; p && peers_stats(p, i, stats); i++)
		if (stats->id == id)
			return true;
	return false;
}

size_t cluster_members(struct cluster *c, unsigned char bytes[CLUSTER_MEMBERS_BYTES])
{
	size_t len;

	pthread_mutex_lock(&c->lock);
	memset(bytes, 0, 8);
	bytes[0] = 1;
	bytes[1] = (unsigned char)c->count;
	for (size_t i = 0; i < c->count; i++) {
		le64_put(bytes + 8 + 9 * i, c->nodes[i].id);
		bytes[16 + 9 * i] = 1;
	}
	len = 8 + 9 * c->count;
	pthread_mutex_unlock(&c->lock);
	return len;
}

size_t cluster_nodes(struct cluster *c, struct cluster_node nodes[CLUSTER_NODES_MAX])
{
	size_t count;

	pthread_mutex_lock(&c->lock);
	count = c->count;
	memcpy(nodes, c->nodes, count * sizeof(*nodes));
	pthread_mutex_unlock(&c->lock);
	return count;
}

void cluster_node_name(struct cluster *c, uint64_t id, char name[PEER_NAME_MAX + 1])
{
	snprintf(name, PEER_NAME_MAX + 1, "node %" PRIu64, id);
	pthread_mutex_lock(&c->lock);
	for (size_t i = 0; i < c->count; i++)
		if (c->nodes[i].id == id)
			snprintf(name, PEER_NAME_MAX + 1, "%s", c->nodes[i].name);
	pthread_mutex_unlock(&c->lock);
}

bool cluster_is_up(struct cluster *c, uint64_t id)
{
	bool up = false;

	pthread_mutex_lock(&c->lock);
	for (size_t i = 0; i < c->count; i++)
		up = up || (c->nodes[i].id == id && c->nodes[i].up);
	pthread_mutex_unlock(&c->lock);
	return up;
}

struct cluster_count cluster_up(struct cluster *c)
{
	struct cluster_count n = { 0 };

	pthread_mutex_lock(&c->lock);
	n.all = c->count;
	for (size_t i = 0; i < c->count; i++)
		n.up += c->nodes[i].up;
	pthread_mutex_unlock(&c->lock);
	return n;
}

/* --- its life --- */

enum cairn_code cluster_start(struct cluster *c, struct cairn_error *error)
{
	struct peer_options o = {
		.loop = c->node->loop,
		.log = c->node->log,
		.pool = c->node->pool,
		.id = c->self,
		.name = c->node->name,
		.cluster_name = c->name,
		.calls = { .message = on_message, .up = on_up, .down = on_down, .bulk_lost = on_bulk_lost },
		.arg = c
	};
	struct peers *peers;
	struct peer_keys keys;
	enum cairn_code code;
	int r = loop_timer_new(c->node->loop, on_timer, c, &c->timer);

	if (r < 0)
		return cairn_fail(error, CAIRN_E_INTERNAL, "no timer: %s", strerror(-r));
	code = cluster_keys(c->node, &keys, error);
	if (code)
		return code;
	o.keys = keys.count ? &keys : NULL;
	memcpy(o.cluster, c->id, sizeof(o.cluster));
	for (size_t i = 0; i < c->count; i++)
		if (c->nodes[i].id == c->self)
			o.listen = c->nodes[i].address;
	code = peers_open(&peers, &o, error);
	explicit_bzero(&keys, sizeof(keys));
	c->peers = code ? NULL : peers;
	set_up(c, c->self, true);
	for (size_t i = 0; i < c->count && !code; i++)
		if (c->nodes[i].id != c->self)
			code = peers_set(peers, c->nodes[i].id, c->nodes[i].address, error);
	return code;
}

void cluster_close(struct cluster *c)
{
	if (!c)
		return;
	loop_timer_free(c->timer);
	peers_close(c->peers);
	pthread_mutex_destroy(&c->lock);
	free(c);
}
