/*
 * Opening and closing a store, and what it knows about itself. A new store is an empty engine: its meta row
 * is written with the first batch. An engine that holds rows but no meta row is not ours, or damaged.
 */
#include <errno.h>
#include <stdlib.h>
#include "read.h"
#include "history.h"
#include "requests.h"
#include "banned.h"

static enum cairn_code first_meta(struct store *s, const struct store_settings *initial,
				  struct cairn_error *error)
{
	const struct cairn_engine *ops = &s->engine->ops;
	struct meta *m = &s->meta;

	*m = (struct meta){
		.flags = (initial->folders ? META_FOLDERS : 0u) | (s->checksums ? META_CHECKSUMS : 0u),
		.next_file_id = 1,
		.next_chunk = 1,
		.key_max = initial->key_max,
		.value_limit = initial->value_limit,
		.inline_max = STORE_INLINE_MAX,
		.chunk_max = STORE_CHUNK,
		.bulk_keys = STORE_BULK_KEYS,
		.bulk_bytes = STORE_BULK_BYTES,
		.history = initial->history,
		.history_age_ns = initial->history_age_ns,
		.history_bytes = initial->history_bytes,
		.quota = initial->quota,
	};
	if (!m->key_max || m->key_max > STORE_KEY_MAX)
		return cairn_fail(error, CAIRN_E_INVALID, "key-max is from 1 to %d bytes", STORE_KEY_MAX);
	if (ops->key_max && m->key_max + 1 > ops->key_max)
		return cairn_fail(error, CAIRN_E_UNSUPPORTED,
				  "the engine %s takes keys of at most %u bytes, and key-max is %llu",
				  ops->name, ops->key_max - 1, (unsigned long long)m->key_max);
	return CAIRN_OK;
}

static int is_empty(struct engine *engine, bool *empty)
{
	struct cairn_slice key = { 0 }, value;
	void *it;
	int e;

	e = engine->ops.iter_open(engine->handle, NULL, cairn_slice("\1", 1), cairn_slice(NULL, 0), 0, &it);
	if (e < 0)
		return e;
	e = engine->ops.iter_next(it, &key, &value);
	engine->ops.iter_close(it);
	*empty = !key.data;
	return e;
}

static enum cairn_code read_meta(struct store *s, const struct store_settings *initial,
				 struct cairn_error *error)
{
	const struct cairn_engine *ops = &s->engine->ops;
	struct cairn_guard guard = { 0 };
	struct cairn_slice body;
	uint32_t format = 0;
	bool empty = true;
	int e;

	ops->read_begin(s->engine->handle, &guard);
	e = ops->get(s->engine->handle, &guard, NULL, cairn_str(META_KEY), 0, &body);
	if (e == 0)
		e = meta_decode(body, &s->meta, &format);
	ops->read_end(s->engine->handle, &guard);
	if (e == -ENOENT) {
		e = is_empty(s->engine, &empty);
		if (e == 0 && empty)
			return first_meta(s, initial, error);
		if (e == 0)
			return cairn_fail(error, CAIRN_E_CORRUPT, "the engine %s holds rows, but no meta row",
					  ops->name);
	}
	if (e == -EPROTONOSUPPORT && format < META_FORMAT)
		return cairn_fail(
			error, CAIRN_E_UNSUPPORTED,
			"the store has format %u, from before the first release: this one reads format %d",
			format, META_FORMAT);
	if (e == -EPROTONOSUPPORT)
		return cairn_fail(error, CAIRN_E_UNSUPPORTED,
				  "the store has format %u, this release knows formats up to %d: a newer "
				  "release is needed",
				  format, META_FORMAT);
	if (e == -EUCLEAN) {
		cairn_fail(error, CAIRN_E_CORRUPT, "the meta row of the store in engine %s is damaged",
			   ops->name);
		engine_damage(s->engine, error);
		return CAIRN_E_CORRUPT;
	}
	if (e < 0)
		return cairn_fail(error, cairn_error_from_errno(-e), "reading the meta row: %s",
				  strerror(-e));
	s->checksums = s->meta.flags & META_CHECKSUMS;
	return CAIRN_OK;
}

enum cairn_code store_open(struct store **result, struct engine *engine, const struct store_settings *initial,
			   struct cairn_error *error)
{
	struct store *s = calloc(1, sizeof(*s));
	enum cairn_code code;
	int e;

	*result = NULL;
	if (!s)
		return cairn_fail(error, CAIRN_E_INTERNAL, "no memory left to open a store");
	s->engine = engine;
	/* Rows that never leave memory need no checksum. */
	s->checksums =
		engine->ops.caps & CAIRN_ENGINE_DURABLE && !(engine->ops.caps & CAIRN_ENGINE_CHECKSUMMED);
	pthread_mutex_init(&s->lock, NULL);
	s->requests = requests_new();
	s->ahead = calloc(AHEAD, sizeof(*s->ahead));
	code = s->requests && s->ahead
		? read_meta(s, initial, error)
		: cairn_fail(error, CAIRN_E_INTERNAL, "no memory left to open a store");
	if (!code)
		code = requests_load(s, error);
	if (!code && (e = expiry_load(s)) < 0)
		code = cairn_fail(error, cairn_error_from_errno(-e), "reading the rows of expiry: %s",
				  strerror(-e));
	if (code) {
		store_close(s);
		return code;
	}
	s->published = s->meta;
	s->published_due_ns = s->due_ns;
	s->clock_ns = s->meta.clock_ns;
	s->feed.from = s->feed.revision = s->meta.revision;
	s->feed.limit = STORE_FEED_BYTES;
	s->key_max = s->meta.key_max;
	*result = s;
	return CAIRN_OK;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	pending_free(&s->pending);
	feed_free(&s->feed);
	requests_free(s->requests);
	free(s->ahead);
	free(s->writes);
	free(s->pieces);
	free(s->sums);
	free(s->pins);
	cairn_msg_free(&s->scratch);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

void read_facts(const struct meta *m, struct store_facts *facts)
{
	*facts = (struct store_facts){
		.position = m->position,
		.revision = m->revision,
		.clock_ns = m->clock_ns,
		.keys = m->keys,
		.bytes = m->bytes,
		.staged = m->staged,
		.key_max = m->key_max,
		.value_limit = m->value_limit,
		.history = m->history,
		.history_age_ns = m->history_age_ns,
		.quota = m->quota,
		.history_limit = history_limit(m),
		.floor = m->floor,
		.history_used = m->history_used,
		.reclaims = history_reclaims(m),
	};
	meta_digest(m, facts->digest);
}

uint64_t store_due_ns(struct store *s)
{
	return atomic_load(&s->published_due_ns);
}

void store_facts(struct store *s, struct store_facts *facts)
{
	struct meta m;

	pthread_mutex_lock(&s->lock);
	m = s->published;
	pthread_mutex_unlock(&s->lock);
	read_facts(&m, facts);
	facts->due_ns = s->published_due_ns;
	facts->unstage_ns = m.staged ? s->uploads_ns + STORE_UPLOAD_NS : UINT64_MAX;
}
