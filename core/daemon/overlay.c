/*
 * The overlay: two maps over an engine. Writes go into the active one; a flush freezes it, puts a new one in
 * its place, writes the frozen one as a single synced batch, and lets it go. A single batch, since the engine
 * must hold a prefix of all batches whatever happens in between.
 *
 * Maps are counted: a guard, a snapshot or an iterator keeps those that it began with. Values in them begin
 * with a byte that tells a value from a mark for "deleted".
 *
 * Failures of the engine below come out of the flush; nothing is lost by them. Where there was no room, the
 * frozen map goes back into the active one, since deletes that come later may make room.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include "btree.h"
#include "clock.h"
#include "overlay.h"
#include "banned.h"

#define HERE "\1"
#define GONE "\0"
#define PIECES 8 /* of a value, without an allocation */

struct layer {
	struct btree *tree;
	unsigned uses; /* under the overlay's lock */
	uint64_t since_ns;
};

/* What a guard of ours stands for. */
struct reading {
	struct reading *next;
	struct layer *layers[2]; /* newest first; the second may be NULL */
	struct btree_guard guards[2];
	struct cairn_guard lower;
};

struct snapshot {
	struct layer *layers[2];
	struct btree_version *versions[2];
	void *lower;
};

struct overlay {
	struct engine lower;
	pthread_mutex_t writing;  /* held for a batch, and for putting a new map in place */
	pthread_mutex_t flushing; /* held by whoever writes below */

	pthread_mutex_t lock; /* of what follows; last of the three */
	struct layer *active, *frozen;
	struct cairn_position position, frozen_position, flushed;
	struct reading *spare;
	uint64_t flushes;
};

static struct layer *layer_new(void)
{
	struct layer *l = calloc(1, sizeof(*l));

	if (l)
		l->tree = btree_new(0);
	if (l && l->tree) {
		l->uses = 1;
		return l;
	}
	free(l);
	return NULL;
}

/* Under the lock. */
static struct layer *layer_hold(struct layer *l)
{
	if (l)
		l->uses++;
	return l;
}

static void layers_drop(struct overlay *o, struct layer **layers)
{
	bool last[2];

	pthread_mutex_lock(&o->lock);
	for (int i = 0; i < 2; i++)
		last[i] = layers[i] && --layers[i]->uses == 0;
	pthread_mutex_unlock(&o->lock);
	for (int i = 0; i < 2; i++)
		if (last[i]) {
			btree_free(layers[i]->tree);
			free(layers[i]);
		}
}

/* ---- Reading ---- */

static void overlay_read_begin(void *handle, struct cairn_guard *guard)
{
	struct overlay *o = handle;
	struct reading *r;

	pthread_mutex_lock(&o->lock);
	r = o->spare;
	if (r)
		o->spare = r->next;
	else
		r = malloc(sizeof(*r));
	if (r) {
		*r = (struct reading){ .layers = { layer_hold(o->active), layer_hold(o->frozen) } };
		for (int i = 0; i < 2 && r->layers[i]; i++)
			btree_read_begin(r->layers[i]->tree, &r->guards[i]);
		o->lower.ops.read_begin(o->lower.handle, &r->lower);
	}
	pthread_mutex_unlock(&o->lock);
	guard->engine[0] = r;
}

static void overlay_read_end(void *handle, struct cairn_guard *guard)
{
	struct overlay *o = handle;
	struct reading *r = guard->engine[0];

	if (!r)
		return;
	o->lower.ops.read_end(o->lower.handle, &r->lower);
	for (int i = 0; i < 2 && r->layers[i]; i++)
		btree_read_end(r->layers[i]->tree, &r->guards[i]);
	layers_drop(o, r->layers);
	pthread_mutex_lock(&o->lock);
	r->next = o->spare;
	o->spare = r;
	pthread_mutex_unlock(&o->lock);
	guard->engine[0] = NULL;
}

static int overlay_get(void *handle, struct cairn_guard *guard, void *snapshot, struct cairn_slice key,
		       unsigned flags, struct cairn_slice *value)
{
	struct overlay *o = handle;
	struct reading *r = guard->engine[0];
	struct snapshot *s = snapshot;
	struct layer **layers;

	if (!r)
		return -ENOMEM;
	layers = s ? s->layers : r->layers;
	for (int i = 0; i < 2 && layers[i]; i++) {
		if (!btree_get(&r->guards[i], s ? s->versions[i] : NULL, key, value))
			continue;
		if (*(const char *)value->data == *GONE)
			return -ENOENT;
		*value = cairn_slice((const char *)value->data + 1, value->len - 1);
		return 0;
	}
	return o->lower.ops.get(o->lower.handle, &r->lower, s ? s->lower : NULL, key, flags, value);
}

/* What the lower engine could say of many keys, the layers may contradict. */
static bool overlay_get_many(void *handle, struct cairn_guard *guard, const struct cairn_slice *keys,
			     size_t count, unsigned flags, struct cairn_slice *values)
{
	(void)handle;
	(void)guard;
	(void)keys;
	(void)count;
	(void)flags;
	(void)values;
	return false;
}

static void snapshot_end(struct overlay *o, struct snapshot *s)
{
	for (int i = 0; i < 2; i++)
		if (s->versions[i])
			btree_release(s->layers[i]->tree, s->versions[i]);
	layers_drop(o, s->layers);
}

static int overlay_snapshot(void *handle, void **snapshot)
{
	struct overlay *o = handle;
	struct snapshot *s = calloc(1, sizeof(*s));
	int e = 0;

	if (!s)
		return -ENOMEM;
	pthread_mutex_lock(&o->lock);
	s->layers[0] = layer_hold(o->active);
	s->layers[1] = layer_hold(o->frozen);
	for (int i = 0; i < 2 && s->layers[i] && !e; i++) {
		s->versions[i] = btree_snapshot(s->layers[i]->tree);
		e = s->versions[i] ? 0 : -ENOMEM;
	}
	if (!e)
		e = o->lower.ops.snapshot(o->lower.handle, &s->lower);
	pthread_mutex_unlock(&o->lock);
	if (!e) {
		*snapshot = s;
		return 0;
	}
	snapshot_end(o, s);
	free(s);
	return e;
}

static void overlay_release(void *handle, void *snapshot)
{
	struct overlay *o = handle;
	struct snapshot *s = snapshot;

	o->lower.ops.release(o->lower.handle, s->lower);
	snapshot_end(o, s);
	free(s);
}

/* ---- Walking ---- */

struct source {
	void *it; /* NULL: there is none */
	struct cairn_slice key, value;
	bool stale; /* the next entry is to be fetched */
};

struct walk {
	struct overlay *o;
	struct layer *layers[2];
	struct source sources[3]; /* newest first, the engine below last */
	bool reverse;
};

static void overlay_iter_close(void *iterator)
{
	struct walk *w = iterator;

	for (int i = 0; i < 2; i++)
		if (w->sources[i].it)
			btree_iter_close(w->sources[i].it);
	if (w->sources[2].it)
		w->o->lower.ops.iter_close(w->sources[2].it);
	layers_drop(w->o, w->layers);
	free(w);
}

/* Over the maps of S (NULL: those of now) but the first SKIP, and the engine below. */
static int walk_open(struct overlay *o, struct snapshot *s, int skip, struct cairn_slice from,
		     struct cairn_slice to, unsigned flags, struct walk **walk)
{
	struct walk *w = calloc(1, sizeof(*w));
	int e = 0;

	if (!w)
		return -ENOMEM;
	w->o = o;
	w->reverse = flags & CAIRN_READ_REVERSE;
	pthread_mutex_lock(&o->lock);
	w->layers[0] = layer_hold(s ? s->layers[0] : o->active);
	w->layers[1] = layer_hold(s ? s->layers[1] : o->frozen);
	for (int i = skip; i < 2 && w->layers[i] && !e; i++) {
		w->sources[i].it =
			btree_iter_open(w->layers[i]->tree, s ? s->versions[i] : NULL, from, to, w->reverse);
		w->sources[i].stale = true;
		e = w->sources[i].it ? 0 : -ENOMEM;
	}
	if (!e)
		e = o->lower.ops.iter_open(o->lower.handle, s ? s->lower : NULL, from, to, flags,
					   &w->sources[2].it);
	w->sources[2].stale = true;
	pthread_mutex_unlock(&o->lock);
	if (e) {
		w->sources[2].it = NULL;
		overlay_iter_close(w);
		return e;
	}
	*walk = w;
	return 0;
}

static int overlay_iter_open(void *handle, void *snapshot, struct cairn_slice from, struct cairn_slice to,
			     unsigned flags, void **iterator)
{
	return walk_open(handle, snapshot, 0, from, to, flags, (struct walk **)iterator);
}

static int fetch(struct walk *w, int i)
{
	struct source *s = &w->sources[i];
	int e;

	if (!s->it || !s->stale)
		return 0;
	if (i < 2) {
		if (!btree_next(s->it, &s->key, &s->value))
			s->key.data = NULL;
	} else if ((e = w->o->lower.ops.iter_next(s->it, &s->key, &s->value))) {
		return e;
	}
	s->stale = false;
	return 0;
}

static int overlay_iter_next(void *iterator, struct cairn_slice *key, struct cairn_slice *value)
{
	struct walk *w = iterator;

	for (;;) {
		struct source *best = NULL;

		for (int i = 0; i < 3; i++) {
			struct source *s = &w->sources[i];
			int e = fetch(w, i), order;

			if (e)
				return e;
			if (!s->it || !s->key.data)
				continue;
			order = best ? cairn_slice_cmp(s->key, best->key) : -1;
			if (order == 0)
				s->stale = true; /* an older one of the same key */
			else if (!best || (order < 0) != w->reverse)
				best = s;
		}
		if (!best) {
			*key = *value = cairn_slice(NULL, 0);
			return 0;
		}
		best->stale = true;
		*key = best->key;
		*value = best->value;
		if (best == &w->sources[2])
			return 0;
		if (*(const char *)value->data != *GONE) {
			*value = cairn_slice((const char *)value->data + 1, value->len - 1);
			return 0;
		}
	}
}

/* ---- Writing ---- */

static int put(struct btree *t, const struct cairn_write *w)
{
	struct iovec few[PIECES], *iov = few;
	int r;

	if (w->iov_count >= PIECES)
		iov = malloc(((size_t)w->iov_count + 1) * sizeof(*iov));
	if (!iov)
		return -ENOMEM;
	iov[0] = (struct iovec){ HERE, 1 };
	if (w->iov_count)
		memcpy(iov + 1, w->iov, (size_t)w->iov_count * sizeof(*iov));
	r = btree_put(t, w->key, iov, w->iov_count + 1);
	if (iov != few)
		free(iov);
	return r;
}

static int mark_gone(struct btree *t, struct cairn_slice key)
{
	struct iovec gone = { GONE, 1 };

	return btree_put(t, key, &gone, 1);
}

/* Everything in the range goes out of the active map, and gets a mark where something older has it. */
static int remove_range(struct overlay *o, const struct cairn_write *range)
{
	struct btree *t = o->active->tree;
	struct cairn_slice key, value;
	struct walk *w;
	int e = btree_delete_range(t, range->key, range->end);

	if (!e)
		e = walk_open(o, NULL, 1, range->key, range->end, 0, &w);
	if (e)
		return e;
	while (!(e = overlay_iter_next(w, &key, &value)) && key.data && !e)
		e = mark_gone(t, key);
	overlay_iter_close(w);
	return e;
}

static int step(struct overlay *o, const struct cairn_write *w)
{
	switch (w->kind) {
	case CAIRN_WRITE_PUT:
		return put(o->active->tree, w);
	case CAIRN_WRITE_DELETE:
		return mark_gone(o->active->tree, w->key);
	case CAIRN_WRITE_DELETE_RANGE:
		return remove_range(o, w);
	}
	return -EINVAL;
}

/* The frozen map as one batch below. */
static int write_below(struct overlay *o, struct layer *l, struct cairn_position position,
		       struct cairn_error *error)
{
	struct cairn_batch batch = { .position = position };
	struct btree_facts facts;
	struct cairn_write *writes;
	struct iovec *pieces;
	struct cairn_slice key, value;
	struct btree_iter *it;
	int e = -ENOMEM;

	btree_facts(l->tree, &facts);
	writes = calloc(facts.keys + 1, sizeof(*writes));
	pieces = calloc(facts.keys + 1, sizeof(*pieces));
	it = btree_iter_open(l->tree, NULL, cairn_slice(NULL, 0), cairn_slice(NULL, 0), false);
	if (writes && pieces && it) {
		while (btree_next(it, &key, &value)) {
			size_t n = batch.count++;
			const char *bytes = value.data;

			pieces[n] = (struct iovec){ (void *)(bytes + 1), value.len - 1 };
			writes[n] = (struct cairn_write){ .kind = CAIRN_WRITE_DELETE, .key = key };
			if (*bytes == *GONE)
				continue;
			writes[n].kind = CAIRN_WRITE_PUT;
			writes[n].iov = &pieces[n];
			writes[n].iov_count = 1;
		}
		batch.writes = writes;
		e = o->lower.ops.write(o->lower.handle, &batch, true, error);
	} else {
		cairn_fail(error, CAIRN_E_INTERNAL, "no memory to write to the engine");
	}
	if (it)
		btree_iter_close(it);
	free(writes);
	free(pieces);
	return e;
}

/* Put a new map in place of the active one, where there is something in that and none is frozen. */
static int freeze(struct overlay *o, struct cairn_error *error)
{
	struct layer *new;
	bool wanted;

	pthread_mutex_lock(&o->lock);
	wanted = !o->frozen && o->active->since_ns;
	pthread_mutex_unlock(&o->lock);
	if (!wanted)
		return 0;
	new = layer_new();
	if (!new) {
		cairn_fail(error, CAIRN_E_INTERNAL, "no memory for another map");
		return -ENOMEM;
	}
	pthread_mutex_lock(&o->writing);
	pthread_mutex_lock(&o->lock);
	o->frozen = o->active;
	o->frozen_position = o->position;
	o->active = new;
	pthread_mutex_unlock(&o->lock);
	pthread_mutex_unlock(&o->writing);
	return 0;
}

static int unless_there(void *arg, bool found, struct cairn_slice old, const struct iovec **value)
{
	(void)old;
	*value = arg;
	return !found;
}

/*
 * There is no room below for the frozen map. What came since may make room, in one batch with it: it becomes
 * a part of the active map, as what is older there. 0 or -ENOMEM, and then it stays frozen.
 */
static int thaw(struct overlay *o)
{
	struct layer *gone[2] = { o->frozen, NULL };
	struct btree_tag tag = { o->position.index, o->position.term };
	struct cairn_slice key, value;
	struct btree_iter *it =
		btree_iter_open(o->frozen->tree, NULL, cairn_slice(NULL, 0), cairn_slice(NULL, 0), false);
	struct btree *t;
	int e = it ? 0 : -ENOMEM;

	pthread_mutex_lock(&o->writing);
	t = o->active->tree;
	btree_begin(t);
	while (!e && btree_next(it, &key, &value)) {
		struct iovec old = { (void *)value.data, value.len };

		e = btree_update(t, key, unless_there, &old);
	}
	if (e)
		btree_abort(t);
	else
		e = btree_commit(t, &tag);
	if (!e) {
		pthread_mutex_lock(&o->lock);
		o->active->since_ns = o->frozen->since_ns;
		o->frozen = NULL;
		pthread_mutex_unlock(&o->lock);
	}
	pthread_mutex_unlock(&o->writing);
	if (it)
		btree_iter_close(it);
	if (!e)
		layers_drop(o, gone);
	return e;
}

/* With the right to write below: freeze and write one map. */
static int flush_one(struct overlay *o, struct cairn_error *error)
{
	struct layer *gone[2] = { NULL, NULL };
	int e = freeze(o, error);

	if (e || !o->frozen)
		return e;
	e = write_below(o, o->frozen, o->frozen_position, error);
	if (e == -ENOSPC)
		thaw(o);
	if (e)
		return e;
	pthread_mutex_lock(&o->lock);
	gone[0] = o->frozen;
	o->frozen = NULL;
	o->flushed = o->frozen_position;
	o->flushes++;
	pthread_mutex_unlock(&o->lock);
	layers_drop(o, gone);
	return 0;
}

static int flush(struct overlay *o, struct cairn_error *error)
{
	bool left = true;
	int e = 0;

	/* A map may have been frozen before, by a flush that failed. */
	for (int i = 0; i < 2 && left && !e; i++) {
		e = flush_one(o, error);
		pthread_mutex_lock(&o->lock);
		left = o->active->since_ns;
		pthread_mutex_unlock(&o->lock);
	}
	return e;
}

int overlay_flush(struct engine *upper, struct cairn_error *error)
{
	struct overlay *o = upper->handle;
	int e;

	pthread_mutex_lock(&o->flushing);
	e = flush(o, error);
	pthread_mutex_unlock(&o->flushing);
	return e;
}

static int overlay_write(void *handle, const struct cairn_batch *batch, bool sync, struct cairn_error *error)
{
	struct overlay *o = handle;
	struct btree_tag tag = { batch->position.index, batch->position.term };
	struct engine self = { .handle = o };
	int e = 0;

	pthread_mutex_lock(&o->writing);
	btree_begin(o->active->tree);
	for (size_t i = 0; i < batch->count && !e; i++)
		e = step(o, &batch->writes[i]);
	if (e)
		btree_abort(o->active->tree);
	else
		e = btree_commit(o->active->tree, &tag);
	if (!e) {
		pthread_mutex_lock(&o->lock);
		o->position = batch->position;
		if (!o->active->since_ns)
			o->active->since_ns = clock_boot_ns();
		pthread_mutex_unlock(&o->lock);
	}
	pthread_mutex_unlock(&o->writing);
	if (e)
		cairn_fail(error, cairn_error_from_errno(-e), "the batch cannot be kept: %s", strerror(-e));
	return !e && sync ? overlay_flush(&self, error) : e;
}

static int overlay_position(void *handle, struct cairn_position *position)
{
	struct overlay *o = handle;

	pthread_mutex_lock(&o->lock);
	*position = o->position;
	pthread_mutex_unlock(&o->lock);
	return 0;
}

/* ---- Upkeep ---- */

static int overlay_sync(void *handle, struct cairn_error *error)
{
	struct engine self = { .handle = handle };

	return overlay_flush(&self, error);
}

static void overlay_stats(void *handle, cairn_stat_fn *fn, void *arg)
{
	struct engine self = { .handle = handle };
	struct overlay *o = handle;
	struct overlay_facts facts;

	o->lower.ops.stats(o->lower.handle, fn, arg);
	overlay_facts(&self, &facts);
	fn(arg, "overlay", "bytes", facts.bytes);
	fn(arg, "overlay-flushes", "", facts.flushes);
}

static int overlay_compact(void *handle, struct cairn_error *error)
{
	struct overlay *o = handle;
	int e;

	pthread_mutex_lock(&o->flushing);
	e = flush(o, error);
	if (!e)
		e = o->lower.ops.compact(o->lower.handle, error);
	pthread_mutex_unlock(&o->flushing);
	return e;
}

static int overlay_maintain(void *handle, uint64_t budget_us, bool *more)
{
	struct overlay *o = handle;
	int e;

	pthread_mutex_lock(&o->flushing);
	e = o->lower.ops.maintain(o->lower.handle, budget_us, more);
	pthread_mutex_unlock(&o->flushing);
	return e;
}

static bool overlay_notice(void *handle, struct cairn_error *notice)
{
	struct overlay *o = handle;

	return o->lower.ops.notice(o->lower.handle, notice);
}

static int overlay_check(void *handle, struct cairn_error *error)
{
	struct overlay *o = handle;

	return o->lower.ops.check(o->lower.handle, error);
}

void overlay_facts(struct engine *upper, struct overlay_facts *facts)
{
	struct overlay *o = upper->handle;
	struct btree_facts tree;

	pthread_mutex_lock(&o->lock);
	*facts = (struct overlay_facts){
		.since_ns = o->frozen ? o->frozen->since_ns : o->active->since_ns,
		.flushes = o->flushes,
		.flushed = o->flushed,
	};
	btree_facts(o->active->tree, &tree);
	facts->bytes = tree.bytes;
	facts->rows = tree.keys;
	if (o->frozen) {
		btree_facts(o->frozen->tree, &tree);
		facts->bytes += tree.bytes;
		facts->rows += tree.keys;
	}
	pthread_mutex_unlock(&o->lock);
}

static void overlay_close(void *handle)
{
	struct overlay *o = handle;
	struct layer *layers[2] = { o->active, o->frozen };

	engine_close(&o->lower);
	layers_drop(o, layers);
	while (o->spare) {
		struct reading *r = o->spare;

		o->spare = r->next;
		free(r);
	}
	pthread_mutex_destroy(&o->lock);
	pthread_mutex_destroy(&o->writing);
	pthread_mutex_destroy(&o->flushing);
	free(o);
}

int overlay_open(struct engine *upper, struct engine *lower)
{
	struct overlay *o = calloc(1, sizeof(*o));

	if (o)
		o->active = layer_new();
	if (!o || !o->active) {
		free(o);
		return -ENOMEM;
	}
	o->lower = *lower;
	pthread_mutex_init(&o->lock, NULL);
	pthread_mutex_init(&o->writing, NULL);
	pthread_mutex_init(&o->flushing, NULL);
	o->lower.ops.position(o->lower.handle, &o->position);
	o->flushed = o->position;
	*lower = (struct engine){ 0 };
	upper->handle = o;
	upper->ops = o->lower.ops;
	upper->ops.caps &= ~(uint32_t)CAIRN_ENGINE_SYNC_ONLY;
	upper->ops.close = overlay_close;
	upper->ops.read_begin = overlay_read_begin;
	upper->ops.read_end = overlay_read_end;
	upper->ops.get = overlay_get;
	upper->ops.write = overlay_write;
	upper->ops.update = NULL;
	upper->ops.position = overlay_position;
	upper->ops.sync = overlay_sync;
	upper->ops.snapshot = overlay_snapshot;
	upper->ops.release = overlay_release;
	upper->ops.iter_open = overlay_iter_open;
	upper->ops.iter_next = overlay_iter_next;
	upper->ops.iter_close = overlay_iter_close;
	upper->ops.stats = overlay_stats;
	upper->ops.compact = overlay_compact;
	upper->ops.maintain = overlay_maintain;
	upper->ops.notice = overlay_notice;
	upper->ops.get_many = overlay_get_many;
	upper->ops.check = overlay_check;
	return 0;
}
