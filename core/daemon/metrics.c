/*
 * What the node counts, and the rows that show it. Counters are cells that any thread adds to; requests are
 * counted by operation and error, and timed in buckets that double from a microsecond to eight seconds.
 * Everything else is asked from whoever knows it when the rows are made.
 */
#include <config.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cairn/operations.h>
#include "clock.h"
#include "cluster.h"
#include "journal.h"
#include "overlay.h"
#include "volume.h"
#include "banned.h"

#define BUCKETS 24 /* 1 µs, 2 µs … 8.4 s */

struct timings {
	_Atomic uint64_t count[BUCKETS + 1]; /* requests in the bucket; the last has no upper end */
	_Atomic uint64_t ns;                 /* all of them together */
};

struct metrics {
	_Atomic int64_t cells[METRIC_COUNT];
	_Atomic uint64_t requests[CAIRN_OPERATION_COUNT][CAIRN_ERROR_COUNT];
	struct timings timings[CAIRN_OPERATION_COUNT];
};

struct metrics *metrics_new(void)
{
	return calloc(1, sizeof(struct metrics));
}

void metrics_free(struct metrics *m)
{
	free(m);
}

void metrics_add(struct metrics *m, enum metric metric, int64_t n)
{
	atomic_fetch_add_explicit(&m->cells[metric], n, memory_order_relaxed);
}

void metrics_request(struct metrics *m, unsigned op, enum cairn_code code, uint64_t ns)
{
	uint64_t us = ns / 1000;
	unsigned bucket = us <= 1 ? 0 : 64 - (unsigned)__builtin_clzll(us - 1);

	if (op >= CAIRN_OPERATION_COUNT || (unsigned)code >= CAIRN_ERROR_COUNT)
		return;
	atomic_fetch_add_explicit(&m->requests[op][code], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&m->timings[op].count[bucket < BUCKETS ? bucket : BUCKETS], 1,
				  memory_order_relaxed);
	atomic_fetch_add_explicit(&m->timings[op].ns, ns, memory_order_relaxed);
}

struct row;

/* Where a row's values go. */
struct sink {
	struct node *node;
	struct cairn_msg *answer;
	const struct row *row;
};

struct row {
	const char *name, *kind, *unit, *help;
	void (*values)(struct sink *s); /* calls add() for each value */
	enum metric metric;             /* for cell() */
};

/* One value: NAME's SUFFIX and LABELS may be empty. */
static void add(struct sink *s, const char *suffix, const char *labels, const char *amount)
{
	size_t mark = cairn_msg_open(s->answer, CAIRN_F_STATISTIC);
	char name[96];

	snprintf(name, sizeof(name), "%s%s", s->row->name, suffix);
	cairn_msg_text(s->answer, CAIRN_F_NAME, name);
	cairn_msg_text(s->answer, CAIRN_F_TYPE, s->row->kind);
	cairn_msg_text(s->answer, CAIRN_F_UNIT, s->row->unit);
	cairn_msg_text(s->answer, CAIRN_F_HELP, s->row->help);
	if (labels[0])
		cairn_msg_text(s->answer, CAIRN_F_LABELS, labels);
	cairn_msg_text(s->answer, CAIRN_F_AMOUNT, amount);
	cairn_msg_close(s->answer, mark);
}

static void add_number(struct sink *s, const char *suffix, const char *labels, uint64_t n)
{
	char amount[24];

	snprintf(amount, sizeof(amount), "%llu", (unsigned long long)n);
	add(s, suffix, labels, amount);
}

static void add_seconds(struct sink *s, const char *suffix, const char *labels, uint64_t ns)
{
	char amount[40];

	snprintf(amount, sizeof(amount), "%llu.%09llu", (unsigned long long)(ns / 1000000000),
		 (unsigned long long)(ns % 1000000000));
	add(s, suffix, labels, amount);
}

static void cell(struct sink *s)
{
	int64_t n = atomic_load_explicit(&s->node->metrics->cells[s->row->metric], memory_order_relaxed);

	add_number(s, "", "", n < 0 ? 0 : (uint64_t)n);
}

static void requests(struct sink *s)
{
	for (unsigned op = 1; op < CAIRN_OPERATION_COUNT; op++)
		for (unsigned code = 0; code < CAIRN_ERROR_COUNT; code++) {
			uint64_t n = atomic_load_explicit(&s->node->metrics->requests[op][code],
							  memory_order_relaxed);
			char labels[96];

			if (n == 0)
				continue;
			snprintf(labels, sizeof(labels), "op=\"%s\",code=\"%s\"",
				 cairn_operation_row(op) ? cairn_operation_row(op)->name : "?",
				 cairn_error_row(code)->name);
			add_number(s, "", labels, n);
		}
}

/* COUNTS in BUCKETS + 1 buckets as a histogram with LABELS, which may be empty. */
static void histogram(struct sink *s, const char *labels, const uint64_t *counts, uint64_t ns)
{
	const char *comma = labels[0] ? "," : "";
	char le[128];
	uint64_t sum = 0;

	for (unsigned b = 0; b < BUCKETS; b++) {
		uint64_t us = 1ull << b;

		sum += counts[b];
		snprintf(le, sizeof(le), "%s%sle=\"%llu.%06llu\"", labels, comma,
			 (unsigned long long)(us / 1000000), (unsigned long long)(us % 1000000));
		add_number(s, "_bucket", le, sum);
	}
	snprintf(le, sizeof(le), "%s%sle=\"+Inf\"", labels, comma);
	add_number(s, "_bucket", le, sum + counts[BUCKETS]);
	add_seconds(s, "_sum", labels, ns);
	add_number(s, "_count", labels, sum + counts[BUCKETS]);
}

/* One operation's histogram, if it was ever asked for. */
static void timing(struct sink *s, unsigned op)
{
	struct timings *t = &s->node->metrics->timings[op];
	uint64_t counts[BUCKETS + 1], sum = 0;
	char labels[96];

	for (unsigned b = 0; b <= BUCKETS; b++)
		sum += counts[b] = atomic_load_explicit(&t->count[b], memory_order_relaxed);
	if (sum == 0 || !cairn_operation_row(op))
		return;
	snprintf(labels, sizeof(labels), "op=\"%s\"", cairn_operation_row(op)->name);
	histogram(s, labels, counts, atomic_load_explicit(&t->ns, memory_order_relaxed));
}

static void timings(struct sink *s)
{
	for (unsigned op = 1; op < CAIRN_OPERATION_COUNT; op++)
		timing(s, op);
}

static void uptime(struct sink *s)
{
	add_seconds(s, "", "", clock_boot_ns() - s->node->start_ns);
}

static void build(struct sink *s)
{
	add_number(s, "", "version=\"" PACKAGE_VERSION "\"", 1);
}

static void resident(struct sink *s)
{
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (f && fscanf(f, "%*u %lu", &pages) == 1)
		add_number(s, "", "", pages * (uint64_t)sysconf(_SC_PAGESIZE));
	if (f)
		fclose(f);
}

/* Rows about each volume. */
struct volume_value {
	struct sink *sink;
	uint64_t (*value)(const struct store_facts *facts);
};

static void each_volume(void *arg, struct volume *v)
{
	struct volume_value *vv = arg;
	struct store_facts facts;
	char labels[VOLUME_NAME_MAX + 16];

	if (!v->shard)
		return;
	store_facts(shard_store(v->shard), &facts);
	snprintf(labels, sizeof(labels), "volume=\"%s\"", v->name);
	add_number(vv->sink, "", labels, vv->value(&facts));
}

static void volumes(struct sink *s, uint64_t (*value)(const struct store_facts *facts))
{
	volumes_each(s->node, each_volume, &(struct volume_value){ s, value });
}

#define VOLUME_VALUE(name, member) \
	static uint64_t get_##name(const struct store_facts *facts) \
	{ \
		return facts->member; \
	} \
	static void volume_##name(struct sink *s) \
	{ \
		volumes(s, get_##name); \
	}

VOLUME_VALUE(keys, keys)
VOLUME_VALUE(bytes, bytes)
VOLUME_VALUE(staged, staged)
VOLUME_VALUE(revision, revision)
VOLUME_VALUE(applied, position.index)

/* Rows about each peer. */
static void peers(struct sink *s,
		  void (*value)(struct sink *s, const char *labels, const struct peer_stats *p))
{
	struct peers *all = s->node->cluster ? s->node->cluster->peers : NULL;
	struct peer_stats stats;
	char labels[PEER_NAME_MAX + 32];

	for (size_t i = 0; all && peers_stats(all, i, &stats); i++) {
		char name[PEER_NAME_MAX + 1];

		cluster_node_name(s->node->cluster, stats.id, name);
		snprintf(labels, sizeof(labels), "peer=\"%s\"", name);
		value(s, labels, &stats);
	}
}

#define PEER_VALUE(name, call) \
	static void get_peer_##name(struct sink *s, const char *labels, const struct peer_stats *p) \
	{ \
		call; \
	} \
	static void peer_##name(struct sink *s) \
	{ \
		peers(s, get_peer_##name); \
	}

PEER_VALUE(up, add_number(s, "", labels, p->up))
PEER_VALUE(bytes_in, add_number(s, "", labels, p->bytes_in))
PEER_VALUE(bytes_out, add_number(s, "", labels, p->bytes_out))
PEER_VALUE(frames_in, add_number(s, "", labels, p->frames_in))
PEER_VALUE(frames_out, add_number(s, "", labels, p->frames_out))
PEER_VALUE(dropped, add_number(s, "", labels, p->dropped))
PEER_VALUE(reconnects, add_number(s, "", labels, p->reconnects))
PEER_VALUE(refusals, add_number(s, "", labels, p->refusals))
PEER_VALUE(queued, add_number(s, "", labels, p->queued[0] + p->queued[1] + p->queued[2]))
PEER_VALUE(rtt, add_seconds(s, "", labels, p->rtt_ns))

struct engine_stat {
	struct sink *sink;
	const char *volume;
};

static void add_stat(void *arg, const char *name, const char *unit, uint64_t value)
{
	struct engine_stat *es = arg;
	char labels[VOLUME_NAME_MAX + 128];

	snprintf(labels, sizeof(labels), "volume=\"%s\",statistic=\"%s\",unit=\"%s\"", es->volume, name,
		 unit);
	add_number(es->sink, "", labels, value);
}

static void each_engine(void *arg, struct volume *v)
{
	struct engine *e = v->shard ? shard_engine(v->shard) : NULL;

	if (e)
		e->ops.stats(e->handle, add_stat, &(struct engine_stat){ arg, v->name });
}

static void engines(struct sink *s)
{
	volumes_each(s->node, each_engine, s);
}

static void journal_syncs(struct sink *s)
{
	struct journal_facts f;

	_Static_assert(BUCKETS == JOURNAL_SYNC_BUCKETS, "the journal counts in the same buckets");
	if (!s->node->journal)
		return;
	journal_facts(s->node->journal, &f);
	histogram(s, "", f.sync_counts, f.sync_ns);
}

/* Rows about the journal. */
#define JOURNAL_VALUE(name) \
	static void journal_##name(struct sink *s) \
	{ \
		struct journal_facts f; \
\
		if (!s->node->journal) \
			return; \
		journal_facts(s->node->journal, &f); \
		add_number(s, "", "", f.name); \
	}

JOURNAL_VALUE(batches)
JOURNAL_VALUE(entries)
JOURNAL_VALUE(bytes)
JOURNAL_VALUE(segments)
JOURNAL_VALUE(segment_bytes)

/* Rows about what each volume has in it: also the system volume, which stands on it as well. */
struct held {
	uint64_t bytes, overlay, flushes, checkpoints, checkpoint_ns;
};

struct held_value {
	struct sink *sink;
	uint64_t (*value)(const struct held *h);
	void (*add)(struct sink *s, const char *suffix, const char *labels, uint64_t value);
};

static void each_held(void *arg, struct volume *v)
{
	struct held_value *hv = arg;
	struct overlay_facts overlay;
	struct journal_extent x;
	struct held h = { 0 };
	char labels[VOLUME_NAME_MAX + 16];

	if (!v->shard || !shard_journal(v->shard, &x, &overlay))
		return;
	h.bytes = shard_held(v->shard);
	h.overlay = overlay.bytes;
	h.flushes = overlay.flushes;
	h.checkpoints = shard_checkpoints(v->shard, &h.checkpoint_ns);
	snprintf(labels, sizeof(labels), "volume=\"%s\"", v->name);
	hv->add(hv->sink, "", labels, hv->value(&h));
}

#define HELD_VALUE(name, add_value) \
	static uint64_t get_held_##name(const struct held *h) \
	{ \
		return h->name; \
	} \
	static void held_##name(struct sink *s) \
	{ \
		struct held_value hv = { s, get_held_##name, add_value }; \
\
		each_held(&hv, volumes_system(s->node)); \
		volumes_each(s->node, each_held, &hv); \
	}

HELD_VALUE(bytes, add_number)
HELD_VALUE(overlay, add_number)
HELD_VALUE(flushes, add_number)
HELD_VALUE(checkpoints, add_number)
HELD_VALUE(checkpoint_ns, add_seconds)

/* The table: one row for each metric. */
static const struct row rows[] = {
	{ "cairn_build_info", "gauge", "", "version of the daemon, as a label", build, 0 },
	{ "cairn_uptime_seconds", "gauge", "seconds", "how long the daemon has run", uptime, 0 },
	{ "cairn_resident_bytes", "gauge", "bytes", "memory that is in use, mapped files counted", resident,
	  0 },
	{ "cairn_connections", "gauge", "connections", "open on the control socket", cell,
	  METRIC_CONNECTIONS },
	{ "cairn_connections_accepted_total", "counter", "connections", "accepted on the control socket",
	  cell, METRIC_CONNECTIONS_ACCEPTED },
	{ "cairn_connections_refused_total", "counter", "connections", "refused: too many, or a stranger's",
	  cell, METRIC_CONNECTIONS_REFUSED },
	{ "cairn_read_bytes_total", "counter", "bytes", "received from clients", cell, METRIC_BYTES_READ },
	{ "cairn_written_bytes_total", "counter", "bytes", "sent to clients", cell, METRIC_BYTES_WRITTEN },
	{ "cairn_bad_requests_total", "counter", "requests", "that could not be understood", cell,
	  METRIC_BAD_REQUESTS },
	{ "cairn_in_flight", "gauge", "requests", "being served", cell, METRIC_IN_FLIGHT },
	{ "cairn_watches", "gauge", "watches", "under way", cell, METRIC_WATCHES },
	{ "cairn_requests_total", "counter", "requests", "answered, by operation and error code", requests,
	  0 },
	{ "cairn_request_seconds", "histogram", "seconds",
	  "from a request's start to its answer, by operation", timings, 0 },
	{ "cairn_volume_keys", "gauge", "keys", "live keys", volume_keys, 0 },
	{ "cairn_volume_bytes", "gauge", "bytes", "live values", volume_bytes, 0 },
	{ "cairn_volume_staged_bytes", "gauge", "bytes", "staged and not used yet", volume_staged, 0 },
	{ "cairn_volume_revision", "gauge", "revisions", "revision of the last change", volume_revision, 0 },
	{ "cairn_volume_applied", "gauge", "commands", "applied index", volume_applied, 0 },
	{ "cairn_journal_sync_seconds", "histogram", "seconds", "that a sync of the journal took",
	  journal_syncs, 0 },
	{ "cairn_journal_batches_total", "counter", "batches", "written to the journal", journal_batches, 0 },
	{ "cairn_journal_entries_total", "counter", "records", "written to the journal", journal_entries, 0 },
	{ "cairn_journal_bytes_total", "counter", "bytes", "written to the journal", journal_bytes, 0 },
	{ "cairn_journal_segments", "gauge", "files", "of the journal that are needed", journal_segments, 0 },
	{ "cairn_journal_disk_bytes", "gauge", "bytes", "of the journal's files", journal_segment_bytes, 0 },
	{ "cairn_journal_held_bytes", "gauge", "bytes",
	  "of the journal that a volume keeps from being used again", held_bytes, 0 },
	{ "cairn_overlay_bytes", "gauge", "bytes", "in memory that a volume's engine has not been given yet",
	  held_overlay, 0 },
	{ "cairn_overlay_flushes_total", "counter", "flushes", "of what was in memory into a volume's engine",
	  held_flushes, 0 },
	{ "cairn_checkpoints_total", "counter", "checkpoints", "written of a volume whose engine forgets",
	  held_checkpoints, 0 },
	{ "cairn_checkpoint_seconds_total", "counter", "seconds", "that checkpoints took", held_checkpoint_ns,
	  0 },
	{ "cairn_peer_up", "gauge", "", "whether the peer is connected", peer_up, 0 },
	{ "cairn_peer_read_bytes_total", "counter", "bytes", "received from the peer", peer_bytes_in, 0 },
	{ "cairn_peer_written_bytes_total", "counter", "bytes", "sent to the peer", peer_bytes_out, 0 },
	{ "cairn_peer_frames_in_total", "counter", "frames", "received from the peer", peer_frames_in, 0 },
	{ "cairn_peer_frames_out_total", "counter", "frames", "taken to be sent to the peer", peer_frames_out,
	  0 },
	{ "cairn_peer_dropped_total", "counter", "frames",
	  "to the peer that were not taken, or lost with a connection", peer_dropped, 0 },
	{ "cairn_peer_reconnects_total", "counter", "connections", "to the peer, but the first",
	  peer_reconnects, 0 },
	{ "cairn_peer_refusals_total", "counter", "handshakes", "with the peer that were refused, either way",
	  peer_refusals, 0 },
	{ "cairn_peer_queued_bytes", "gauge", "bytes", "that wait to be sent to the peer", peer_queued, 0 },
	{ "cairn_peer_rtt_seconds", "gauge", "seconds", "to the peer and back, smoothed; 0: not known",
	  peer_rtt, 0 },
	{ "cairn_engine", "gauge", "", "what a volume's engine says of itself; the label has the unit",
	  engines, 0 },
};

void metrics_rows(struct node *n, struct cairn_msg *answer)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct sink s = { n, answer, &rows[i] };

		rows[i].values(&s);
	}
}
