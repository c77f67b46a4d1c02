/*
 * A B+tree with versions.
 *
 * Every batch has a number. Nodes, entries and separators know the batch that they were born in; a batch
 * changes nodes of its own in place and copies older ones (own), so that the root that readers have stays
 * whole. Publishing a version (number and root) makes the batch visible.
 *
 * One shortcut makes overwriting cheap: where no snapshot can see a leaf, the new entry is put into its place
 * at once, linked to the one that it replaces. A reader that finds an entry born after its version follows
 * the link (visible).
 *
 * What a batch removes is retired, and visible in the versions from its birth to before its retirement. It
 * waits in a queue until every guard has moved past its retirement, then goes to the newest snapshot that can
 * see it, or is freed. When a snapshot is released, what it held queues again. A snapshot may be taken while
 * a batch puts entries into leaves in place, so an entry also counts as seen by the version before its birth.
 *
 * Guards announce a version number in a slot and then take the published version; the writer publishes and
 * then looks at the slots. Both are sequentially consistent, so either the writer sees the guard or the guard
 * sees the new version.
 *
 * This file has the batches and what becomes of the memory that they retire; btree_change.c has their steps,
 * btree_read.c the readers.
 */
#include <errno.h>
#include <stdlib.h>
#include "btree_inside.h"
#include "banned.h"

/* Reclaim */

/* The oldest version that a guard may be reading, or the published one. */
static uint64_t oldest_guard(struct btree *t)
{
	uint64_t oldest = atomic_load(&t->number);

	for (unsigned i = 0; i < SLOTS; i++) {
		uint64_t announced = atomic_load(&t->slots[i].announced);

		if (announced && announced - 1 < oldest)
			oldest = announced - 1;
	}
	return oldest;
}

/* Take up to *LIMIT objects off Q: those that nobody sees are put before *DEAD. */
static void sort_out(struct btree *t, struct queue *q, uint64_t safe, size_t *limit, struct object **dead)
{
	while (*limit && q->first && q->first->retire <= safe) {
		struct object *o = queue_take(q);
		struct btree_version *pin = t->newest_pin;

		(*limit)--;
		while (pin && pin->number >= o->retire)
			pin = pin->older;
		if (pin && pin->number + 1 >= o->birth) {
			queue_add(&pin->held, o);
		} else {
			o->next = *dead;
			*dead = o;
		}
	}
}

/* Under the lock: look at up to LIMIT objects and take those that can be freed. Whether that was all that can
 * be done now. */
static bool collect(struct btree *t, size_t limit, struct object **dead)
{
	uint64_t safe = oldest_guard(t);

	*dead = NULL;
	sort_out(t, &t->fresh, safe, &limit, dead);
	sort_out(t, &t->again, safe, &limit, dead);
	return limit > 0;
}

static void free_all(struct btree *t, struct object *dead)
{
	uint64_t bytes = 0;

	while (dead) {
		struct object *next = dead->next;

		bytes += dead->size;
		slab_give(t->slab, dead, dead->size);
		dead = next;
	}
	if (bytes)
		atomic_fetch_sub_explicit(&t->memory, bytes, memory_order_relaxed);
}

bool btree_reclaim(struct btree *t, size_t limit)
{
	struct object *dead;
	bool all;

	pthread_mutex_lock(&t->lock);
	all = collect(t, limit, &dead);
	pthread_mutex_unlock(&t->lock);
	free_all(t, dead);
	return !all;
}

/* Batches */

void btree_begin(struct btree *t)
{
	struct btree_version *v = atomic_load_explicit(&t->published, memory_order_relaxed);

	pthread_mutex_lock(&t->lock);
	t->pinned = t->newest_pin ? t->newest_pin->number : 0;
	pthread_mutex_unlock(&t->lock);
	t->now = v->number + 1;
	t->root = v->root;
	t->keys = v->keys;
	t->bytes = v->bytes;
	t->born = t->retired = NULL;
	t->undo_count = t->retired_count = 0;
	t->allocated = 0;
}

void btree_abort(struct btree *t)
{
	for (size_t i = 0; i < t->undo_count; i++) {
		struct entry **slot = &t->undo[i].leaf->entries[t->undo[i].at];

		__atomic_store_n(slot, visible(*slot, t->now - 1), __ATOMIC_RELEASE);
	}
	/* A reader may be at an entry that stood in its leaf: what was born waits until guards have passed
	 * it. */
	pthread_mutex_lock(&t->lock);
	for (struct object *o = t->born, *next; o; o = next) {
		next = o->next;
		o->retire = t->now;
		queue_add(&t->fresh, o);
	}
	pthread_mutex_unlock(&t->lock);
	atomic_fetch_add_explicit(&t->memory, t->allocated, memory_order_relaxed);
	t->born = t->retired = NULL;
}

static void publish(struct btree *t, struct btree_version *v)
{
	struct object *dead, *next;
	size_t retired = t->retired_count + 1;

	for (struct object *o = t->born, *dead_on_arrival = t->retired;; o = next) {
		if (!o) {
			t->retired = dead_on_arrival;
			break;
		}
		next = o->next;
		if (o->retire) {
			o->next = dead_on_arrival;
			dead_on_arrival = o;
		}
	}
	atomic_fetch_add_explicit(&t->memory, t->allocated, memory_order_relaxed);
	pthread_mutex_lock(&t->lock);
	for (struct object *o = t->retired; o; o = next) {
		next = o->next;
		queue_add(&t->fresh, o);
	}
	atomic_store(&t->published, v);
	atomic_store(&t->number, v->number);
	collect(t, 2 * retired + 64, &dead);
	pthread_mutex_unlock(&t->lock);
	free_all(t, dead);
}

int btree_commit(struct btree *t, const struct btree_tag *tag)
{
	struct btree_version *old = atomic_load_explicit(&t->published, memory_order_relaxed), *v;

	v = object_new(t, VERSION, sizeof(*v));
	if (!v || (t->limit && t->bytes > t->limit && t->bytes > old->bytes)) {
		btree_abort(t);
		return v ? -ENOSPC : -ENOMEM;
	}
	v->number = t->now;
	v->root = t->root;
	v->tag = tag ? *tag : old->tag;
	v->keys = t->keys;
	v->bytes = t->bytes;
	v->uses = 0;
	queue_init(&v->held);
	retire(t, &old->object);
	publish(t, v);
	return 0;
}

/* The whole tree */

struct btree *btree_new(uint64_t limit)
{
	struct btree *t = aligned_alloc(64, (sizeof(*t) + 63) / 64 * 64);
	struct btree_version *v;

	if (!t)
		return NULL;
	memset(t, 0, sizeof(*t));
	t->limit = limit;
	pthread_mutex_init(&t->lock, NULL);
	queue_init(&t->fresh);
	queue_init(&t->again);
	t->now = 1;
	t->slab = slab_new();
	v = t->slab ? object_new(t, VERSION, sizeof(*v)) : NULL;
	if (!v) {
		slab_free(t->slab);
		pthread_mutex_destroy(&t->lock);
		free(t);
		return NULL;
	}
	v->number = 1;
	v->root = NULL;
	v->tag = (struct btree_tag){ 0 };
	v->keys = v->bytes = 0;
	v->uses = 0;
	queue_init(&v->held);
	atomic_init(&t->memory, t->allocated);
	atomic_init(&t->published, v);
	atomic_init(&t->number, 1);
	return t;
}

void btree_free(struct btree *t)
{
	struct btree_version *v;

	if (!t)
		return;
	v = atomic_load(&t->published);
	btree_begin(t);
	if (t->root)
		btree_drop(t, t->root);
	retire(t, &v->object);
	free_all(t, t->retired);
	free_all(t, t->fresh.first);
	free_all(t, t->again.first);
	slab_free(t->slab);
	free(t->undo);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

void btree_facts(struct btree *t, struct btree_facts *facts)
{
	struct btree_version *v;

	pthread_mutex_lock(&t->lock);
	v = atomic_load(&t->published);
	*facts = (struct btree_facts){ v->tag, v->keys, v->bytes, atomic_load(&t->memory), t->pin_count };
	pthread_mutex_unlock(&t->lock);
}
