/*
 * A shard is made: its plugins are loaded, engine and store are opened, what the journal has beyond the
 * engine is applied again, and the module learns where all of that ends.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include "replica.h"
#include "banned.h"

static void *host_alloc(void *arg, size_t size)
{
	(void)arg;
	return calloc(1, size);
}

static void host_free(void *arg, void *p)
{
	(void)arg;
	free(p);
}

static enum cairn_code open_module(struct shard *s, struct cairn_error *error)
{
	struct cairn_value values[32];
	const char *name = s->module->name;
	enum cairn_code code;
	int r;

	if (params_count(s->module->params) > 32)
		return cairn_fail(error, CAIRN_E_UNSUPPORTED, "replication-%s has more than 32 parameters",
				  name);
	code = params_parse(s->module->params, NULL, 0, values, error);
	if (code)
		return code;
	s->host = (struct cairn_replication_host){ s, host_alloc, host_free, shard_effect };
	r = s->module->open(&s->host, values, &s->instance, error);
	if (r < 0)
		return error->code ? error->code
				   : cairn_fail(error, cairn_error_from_errno(-r), "replication-%s: %s", name,
						strerror(-r));
	return CAIRN_OK;
}

static enum cairn_code name_incarnation(struct shard *s, bool durable, struct cairn_error *error)
{
	s->incarnation = shard_id(s->folder);
	if (!durable && getrandom(&s->incarnation, sizeof(s->incarnation), 0) != sizeof(s->incarnation))
		return cairn_fail(error, CAIRN_E_INTERNAL, "no random bytes: %s", strerror(errno));
	s->incarnation = s->incarnation % ((1ull << 48) - 1) + 1;
	return CAIRN_OK;
}

/* Whether the engine, which forgets, can be kept by checkpoints. */
static enum cairn_code may_checkpoint(const struct shard *s, const struct shard_options *o,
				      struct cairn_error *error)
{
	if (!(s->engine.ops.caps & CAIRN_ENGINE_SNAPSHOT))
		return cairn_fail(error, CAIRN_E_UNSUPPORTED,
				  "durable=yes: engine %s has no snapshots to make checkpoints of",
				  s->engine.ops.name);
	if (!o->sync || o->through || (!s->node->journal && !s->node->offline))
		return cairn_fail(
			error, CAIRN_E_UNSUPPORTED,
			"durable=yes with engine %s needs the journal: neither sync=no nor through=yes",
			s->engine.ops.name);
	for (size_t i = 0; i < o->parameter_count; i++)
		if (!strncmp(o->parameters[i], "limit=", 6) && strcmp(o->parameters[i], "limit=0") != 0)
			return cairn_fail(
				error, CAIRN_E_UNSUPPORTED,
				"durable=yes takes a quota, and not the engine's own limit: what the "
				"journal has must fit");
	return CAIRN_OK;
}

/* Put an overlay in front of an engine that has a disk, and a checkpoint into one that has none. */
static enum cairn_code stand_on_journal(struct shard *s, const struct shard_options *o,
					struct cairn_error *error)
{
	struct engine upper;
	bool there;

	if (s->checkpoints && !o->ready) {
		enum cairn_code code = checkpoint_load(&s->engine, s->folder, &there, error);

		if (code)
			return code;
	}
	if (!s->sync || o->through || !s->node->journal)
		return CAIRN_OK;
	s->journal = journal_attach(s->node->journal, shard_id(s->folder));
	if (!s->journal)
		return cairn_fail(error, CAIRN_E_INTERNAL, "no memory for the journal");
	if (s->checkpoints)
		return CAIRN_OK;
	if (overlay_open(&upper, &s->engine) < 0)
		return cairn_fail(error, CAIRN_E_INTERNAL, "no memory for the engine's overlay");
	s->engine = upper;
	s->overlay = true;
	return CAIRN_OK;
}

static enum cairn_code open_engine(struct shard *s, const struct shard_options *o, struct cairn_error *error)
{
	struct store_settings settings = o->settings;
	const struct plugin *p;
	enum cairn_code code = loader_get(s->node->loader, PLUGIN_ENGINE, o->engine, &p, error);
	struct cairn_error notice;
	uint32_t caps;

	if (code)
		return code;
	if (!o->sync && p->engine->caps & CAIRN_ENGINE_SYNC_ONLY)
		return cairn_fail(error, CAIRN_E_UNSUPPORTED,
				  "sync=no is not possible with engine %s: a crash could cost it more than "
				  "the newest writes",
				  o->engine);
	if (o->must_be_durable && !(p->engine->caps & CAIRN_ENGINE_DURABLE))
		return cairn_fail(error, CAIRN_E_UNSUPPORTED, "engine %s does not keep what it is given",
				  o->engine);
	if (!o->ready)
		code = engine_open(&s->engine, p->engine, s->folder, o->parameters, o->parameter_count,
				   error);
	if (code)
		return code;
	if (s->engine.ops.notice(s->engine.handle, &notice))
		log_warn(s->node->log, LOG_ENGINE, notice.message, LOG_TEXT("volume", s->name));
	caps = s->engine.ops.caps;
	s->upkeeps = engine_maintains(p->engine);
	s->checkpoints = o->durable && !(caps & CAIRN_ENGINE_DURABLE);
	code = s->checkpoints ? may_checkpoint(s, o, error) : CAIRN_OK;
	if (code)
		return code;
	s->sync = o->sync && shard_is_kept(s);
	s->in_loop = (!s->sync || s->checkpoints) && !(caps & CAIRN_ENGINE_BLOCKING);
	if (s->engine.ops.key_max && settings.key_max >= s->engine.ops.key_max)
		settings.key_max = s->engine.ops.key_max - 1; /* the row's tag is in front */
	code = stand_on_journal(s, o, error);
	if (code)
		return code;
	if (settings.history == STORE_HISTORY_AUTO)
		settings.history = shard_is_kept(s) ? 8 : 0;
	code = store_open(&s->store, &s->engine, &settings, error);
	if (code)
		return code;
	store_feed_limit(s->store, setting_number(s->node->settings, SETTING_CONTROL_WATCH_BUFFER));
	return name_incarnation(s, shard_is_kept(s), error);
}

uint64_t shard_id(const char *folder)
{
	const char *name = strrchr(folder, '/');
	uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a: the names are random and never used again */

	for (name = name ? name + 1 : folder; *name; name++)
		hash = (hash ^ (unsigned char)*name) * 0x100000001b3u;
	return hash;
}

struct replay {
	struct shard *shard;
	struct cairn_error *error;
	uint64_t count;
};

static int replay_entry(void *arg, const struct journal_entry *e)
{
	struct replay *r = arg;
	struct shard *s = r->shard;
	struct store_command command = { .position = { e->index, e->term }, .message = e->command };
	enum cairn_code code = store_apply(s->store, &command, 1, false, r->error);

	if (!code && ++r->count % 1024 == 0) {
		shard_hold_back(s);
		code = shard_health(s, r->error);
	}
	return code;
}

/* Apply what the journal has beyond the engine. */
static enum cairn_code replay(struct shard *s, struct cairn_error *error)
{
	struct journal_extent x = journal_extent(s->journal);
	struct replay r = { s, error, 0 };
	struct store_facts facts;
	enum cairn_code code;
	int stopped = 0;

	store_facts(s->store, &facts);
	if (s->replica) /* what lies behind may not be what the nodes agree on */
		x.last = x.last < s->replica->hard.commit ? x.last : s->replica->hard.commit;
	s->checkpoint = s->checkpoints ? facts.position.index : 0;
	if (x.last <= facts.position.index) {
		if (!s->replica)
			journal_release(s->journal, facts.position.index);
		return CAIRN_OK;
	}
	if (x.first > facts.position.index + 1) {
		cairn_fail(
			error, CAIRN_E_CORRUPT,
			"the engine stands at entry %llu and the journal begins at entry %llu: those between "
			"are missing",
			(unsigned long long)facts.position.index, (unsigned long long)x.first);
		cairn_hint(error, "put the engine's folder and the journal's back from one copy");
		return CAIRN_E_CORRUPT;
	}
	code = journal_read(s->journal, facts.position.index + 1, x.last, replay_entry, &r, &stopped, error);
	if (!code && stopped)
		code = (enum cairn_code)stopped;
	if (!code)
		log_info(s->node->log, LOG_VOLUME, "the journal was replayed", LOG_TEXT("volume", s->name),
			 LOG_NUMBER("from", facts.position.index + 1), LOG_NUMBER("to", x.last));
	return code;
}

/* Tell the module where the store stands, and start the clock there: it never goes back. */
static enum cairn_code start_module(struct shard *s, struct cairn_error *error)
{
	struct cairn_durable durable = { 0 };
	struct store_facts facts;
	uint64_t wall = clock_wall_ns();
	int r;

	store_facts(s->store, &facts);
	durable.self = 1;
	durable.index = durable.last = facts.position.index;
	durable.index_term = durable.term = facts.position.term;
	s->applied = s->told = facts.position.index;
	s->clock = stamp_start(facts.clock_ns, wall, clock_boot_ns());
	s->events[0] = (struct cairn_event){ .kind = CAIRN_EVENT_START,
					     .durable = &durable,
					     .now_us = s->clock.base_boot_ns / 1000 };
	r = s->module->step(s->instance, s->events, 1);
	if (r < 0)
		return cairn_fail(error, CAIRN_E_INTERNAL, "replication-%s failed: %s", s->module->name,
				  strerror(-r));
	return shard_health(s, error);
}

enum cairn_code shard_open(struct shard **out, struct node *n, const struct shard_options *o,
			   struct cairn_error *error)
{
	struct shard *s = calloc(1, sizeof(*s));
	const struct plugin *p;
	enum cairn_code code;

	if (!s)
		return cairn_fail(error, CAIRN_E_INTERNAL, "volume %s: no memory", o->name);
	s->node = n;
	s->uses = 1;
	s->waiting_last = &s->waiting;
	s->log_last = &s->log;
	s->committed_last = &s->committed;
	pthread_mutex_init(&s->lock, NULL);
	s->on_stop = o->stopped;
	s->on_stop_arg = o->arg;
	s->tap = o->tap;
	s->tap_arg = o->tap_arg;
	if (o->ready) {
		s->engine = *o->ready;
		o->ready->handle = NULL;
	}
	snprintf(s->name, sizeof(s->name), "%s", o->name);
	snprintf(s->folder, sizeof(s->folder), "%s", o->folder);
	code = open_engine(s, o, error);
	if (!code)
		code = loader_get(n->loader, PLUGIN_REPLICATION, o->replication, &p, error);
	s->module = code ? NULL : p->replication;
	if (!code && s->module->caps & CAIRN_REPLICATION_PEERS && !n->offline)
		code = replica_open(s, o, error);
	if (!code && s->journal)
		code = replay(s, error);
	if (!code && s->checkpoints && o->ready) /* nothing but this has what it was filled with */
		code = shard_write_checkpoint(s, error);
	if (!code && (!n->offline || !(s->module->caps & CAIRN_REPLICATION_PEERS)))
		code = open_module(s, error);
	if (!code && s->instance)
		code = s->replica ? replica_start(s, error) : start_module(s, error);
	if (code) {
		cairn_error_prefix(error, "volume %s (%s)", s->name, s->folder);
		if (s->replica)
			cluster_remove(n->cluster, s->replica);
		if (code == CAIRN_E_CORRUPT && !error->hint[0])
			cairn_hint(error,
				   "restore this node from a snapshot or from its peers; 'cairn repair --dir "
				   "DATA' keeps what is whole");
		shard_let_go(s);
		return code;
	}
	*out = s;
	return CAIRN_OK;
}

void shard_close(struct shard *s, void (*closed)(void *arg), void *arg)
{
	s->closed = closed;
	s->closed_arg = arg;
	s->closing = true;
	if (s->replica)
		replica_close(s->replica);
	shard_let_go(s);
}
