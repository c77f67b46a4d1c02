/*
 * Versions and what they keep alive. An object is seen by the versions from its birth to before its
 * retirement. What a batch retires waits in a queue until every guard has moved past it, then goes to the
 * newest pin that can see it, or is freed; what a pin held is queued again when it ends.
 *
 * Guards announce a version number in a slot and then take the published version; the writer publishes and
 * then looks at the slots. Both are sequentially consistent, so either the writer sees the guard or the guard
 * sees the new version. More guards than slots fall back to a pin.
 */
#include <errno.h>
#include <string.h>
#include "versions.h"
#include "banned.h"

static void queue_add(struct queue *q, struct object *o)
{
	o->next = NULL;
	*q->last = o;
	q->last = &o->next;
}

static void queue_init(struct queue *q)
{
	q->first = NULL;
	q->last = &q->first;
}

static struct object *queue_take(struct queue *q)
{
	struct object *o = q->first;

	q->first = o->next;
	if (!q->first)
		q->last = &q->first;
	return o;
}

static void queue_join(struct queue *q, struct queue *tail)
{
	if (!tail->first)
		return;
	*q->last = tail->first;
	q->last = tail->last;
	queue_init(tail);
}

void *versions_take(struct versions *v, enum versions_kind kind, size_t size)
{
	struct object *o = size < 1 << 24 ? slab_take(v->slab, size) : NULL;

	if (o)
		*o = (struct object){ .birth = v->now, .size = size & 0xffffff, .kind = kind };
	return o;
}

static void object_free(struct versions *v, struct object *o)
{
	struct deferred *d = (struct deferred *)o;

	if (o->kind == VERSIONS_DEFERRED)
		d->fn(d->arg);
	slab_give(v->slab, o, o->size);
}

void versions_retire(struct versions *v, struct object *o)
{
	if (o->birth == v->now) {
		slab_give(v->slab, o, o->size);
		return;
	}
	o->retire = v->now;
	o->next = v->retired;
	v->retired = o;
	v->retired_count++;
}

void versions_abort(struct versions *v)
{
	for (struct object *o = v->retired, *next; o; o = next) {
		next = o->next;
		o->retire = 0;
		if (o->kind == VERSIONS_DEFERRED)
			slab_give(v->slab, o, o->size);
	}
	v->retired = NULL;
	v->retired_count = 0;
}

/* The oldest version that a guard may be reading, or the published one. */
static uint64_t oldest_guard(struct versions *v)
{
	uint64_t oldest = atomic_load(&v->number);

	for (unsigned i = 0; i < VERSIONS_SLOTS; i++) {
		uint64_t announced = atomic_load(&v->slots[i].announced);

		if (announced && announced - 1 < oldest)
			oldest = announced - 1;
	}
	return oldest;
}

static void sort_out(struct versions *v, struct queue *q, uint64_t safe, size_t *limit, struct object **dead)
{
	while (q->first && *limit && q->first->retire <= safe) {
		struct object *o = queue_take(q);
		struct version *pin = v->newest_pin;

		(*limit)--;
		while (pin && pin->number >= o->retire)
			pin = pin->older;
		if (pin && pin->number >= o->birth) {
			queue_add(&pin->held, o);
		} else {
			o->next = *dead;
			*dead = o;
		}
	}
}

/* Under the lock: look at up to LIMIT objects and take those that can be freed. */
static struct object *collect(struct versions *v, size_t *limit)
{
	uint64_t safe = oldest_guard(v);
	struct object *dead = NULL;

	sort_out(v, &v->fresh, safe, limit, &dead);
	sort_out(v, &v->again, safe, limit, &dead);
	return dead;
}

static void free_all(struct versions *v, struct object *dead)
{
	while (dead) {
		struct object *next = dead->next;

		object_free(v, dead);
		dead = next;
	}
	atomic_store_explicit(&v->memory, slab_bytes(v->slab), memory_order_relaxed);
}

bool versions_reclaim(struct versions *v, size_t limit)
{
	struct object *dead;

	pthread_mutex_lock(&v->lock);
	dead = collect(v, &limit);
	pthread_mutex_unlock(&v->lock);
	free_all(v, dead);
	return limit == 0;
}

void versions_publish(struct versions *v, struct version *version)
{
	struct version *old = atomic_load_explicit(&v->published, memory_order_relaxed);
	struct object *dead, *next;
	size_t limit;

	versions_retire(v, &old->object);
	limit = 2 * v->retired_count + 64;
	pthread_mutex_lock(&v->lock);
	for (struct object *o = v->retired; o; o = next) {
		next = o->next;
		queue_add(&v->fresh, o);
	}
	atomic_store(&v->published, version);
	atomic_store(&v->number, version->number);
	dead = collect(v, &limit);
	pthread_mutex_unlock(&v->lock);
	v->retired = NULL;
	v->retired_count = 0;
	free_all(v, dead);
}

struct version *versions_pin(struct versions *v, struct version *version)
{
	pthread_mutex_lock(&v->lock);
	if (!version)
		version = atomic_load(&v->published);
	if (version->uses++ == 0) { /* the published version: newer than every other that is pinned */
		queue_init(&version->held);
		version->newer = NULL;
		version->older = v->newest_pin;
		if (version->older)
			version->older->newer = version;
		v->newest_pin = version;
		v->pin_count++;
	}
	pthread_mutex_unlock(&v->lock);
	return version;
}

void versions_unpin(struct versions *v, struct version *version)
{
	pthread_mutex_lock(&v->lock);
	if (--version->uses == 0) {
		if (version->newer)
			version->newer->older = version->older;
		else
			v->newest_pin = version->older;
		if (version->older)
			version->older->newer = version->newer;
		v->pin_count--;
		queue_join(&v->again, &version->held);
	}
	pthread_mutex_unlock(&v->lock);
}

void versions_read_begin(struct versions *v, struct versions_guard *guard)
{
	unsigned start = (unsigned)((uintptr_t)pthread_self() >> 12) * 2654435761u >> 27;
	uint64_t announced = atomic_load(&v->number) + 1;

	for (unsigned i = 0; i < VERSIONS_SLOTS; i++) {
		_Atomic uint64_t *slot = &v->slots[(start + i) % VERSIONS_SLOTS].announced;
		uint64_t empty = 0;

		if (atomic_compare_exchange_strong(slot, &empty, announced)) {
			guard->slot = slot;
			guard->version = atomic_load(&v->published);
			return;
		}
	}
	guard->slot = NULL;
	guard->version = versions_pin(v, NULL);
}

void versions_read_end(struct versions *v, struct versions_guard *guard)
{
	if (guard->slot)
		atomic_store_explicit((_Atomic uint64_t *)guard->slot, 0, memory_order_release);
	else
		versions_unpin(v, guard->version);
}

int versions_init(struct versions *v)
{
	struct version *first;

	memset(v, 0, sizeof(*v));
	queue_init(&v->fresh);
	queue_init(&v->again);
	v->now = 1;
	v->slab = slab_new();
	first = v->slab ? versions_take(v, VERSIONS_VERSION, sizeof(*first)) : NULL;
	if (!first) {
		slab_free(v->slab);
		return -ENOMEM;
	}
	first->number = 1;
	first->root = NULL;
	first->index = first->term = first->keys = first->live = 0;
	first->uses = 0;
	pthread_mutex_init(&v->lock, NULL);
	atomic_init(&v->published, first);
	atomic_init(&v->number, 1);
	return 0;
}

void versions_end(struct versions *v)
{
	struct version *last = atomic_load(&v->published);

	free_all(v, v->fresh.first);
	free_all(v, v->again.first);
	slab_give(v->slab, last, sizeof(*last));
	slab_free(v->slab);
	pthread_mutex_destroy(&v->lock);
}
