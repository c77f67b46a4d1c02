/*
 * The memory engine: a sorted array of counted entries that snapshots and guards hold, and that a batch
 * copies when somebody else holds it. Nothing fails but for want of memory, before anything has changed.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <cairn/engine.h>
#include "banned.h"

struct entry {
	_Atomic unsigned uses; /* arrays that hold it */
	size_t key_len, value_len;
	char bytes[]; /* key, value */
};

struct state {
	unsigned uses; /* under the lock */
	size_t count, cap;
	struct cairn_position position;
	struct entry *entries[];
};

struct memory {
	pthread_mutex_t lock; /* over now, and the uses of states */
	struct state *now;
};

static struct cairn_slice key_of(const struct entry *e)
{
	return cairn_slice(e->bytes, e->key_len);
}

static struct cairn_slice value_of(const struct entry *e)
{
	return cairn_slice(e->bytes + e->key_len, e->value_len);
}

static void entry_drop(struct entry *e)
{
	if (atomic_fetch_sub(&e->uses, 1) == 1)
		free(e);
}

static struct state *hold(struct memory *m)
{
	struct state *s;

	pthread_mutex_lock(&m->lock);
	s = m->now;
	s->uses++;
	pthread_mutex_unlock(&m->lock);
	return s;
}

static void drop(struct memory *m, struct state *s)
{
	bool last;

	pthread_mutex_lock(&m->lock);
	last = --s->uses == 0;
	pthread_mutex_unlock(&m->lock);
	if (!last)
		return;
	for (size_t i = 0; i < s->count; i++)
		entry_drop(s->entries[i]);
	free(s);
}

/* The first place whose key is not below KEY. */
static size_t place(const struct state *s, struct cairn_slice key)
{
	size_t low = 0, high = s->count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (cairn_slice_cmp(key_of(s->entries[middle]), key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool there(const struct state *s, size_t at, struct cairn_slice key)
{
	return at < s->count && cairn_slice_eq(key_of(s->entries[at]), key);
}

static int memory_open(const char *dir, const struct cairn_value *values, void **handle,
		       struct cairn_error *error)
{
	struct memory *m = calloc(1, sizeof(*m));

	(void)dir;
	(void)values;
	(void)error;
	if (!m || !(m->now = calloc(1, sizeof(*m->now)))) {
		free(m);
		return -ENOMEM;
	}
	m->now->uses = 1;
	pthread_mutex_init(&m->lock, NULL);
	*handle = m;
	return 0;
}

static void memory_close(void *handle)
{
	struct memory *m = handle;

	drop(m, m->now);
	pthread_mutex_destroy(&m->lock);
	free(m);
}

static void memory_read_begin(void *handle, struct cairn_guard *guard)
{
	guard->engine[0] = hold(handle);
}

static void memory_read_end(void *handle, struct cairn_guard *guard)
{
	drop(handle, guard->engine[0]);
}

static int memory_get(void *handle, struct cairn_guard *guard, void *snapshot, struct cairn_slice key,
		      unsigned flags, struct cairn_slice *value)
{
	struct state *s = snapshot ? snapshot : guard->engine[0];
	size_t at = place(s, key);

	(void)handle;
	(void)flags;
	if (!there(s, at, key))
		return -ENOENT;
	*value = value_of(s->entries[at]);
	return 0;
}

static struct entry *entry_new(const struct cairn_write *w)
{
	size_t len = 0;
	struct entry *e;
	char *p;

	for (int i = 0; i < w->iov_count; i++)
		len += w->iov[i].iov_len;
	e = malloc(sizeof(*e) + w->key.len + len);
	if (!e)
		return NULL;
	e->uses = 1;
	e->key_len = w->key.len;
	e->value_len = len;
	memcpy(e->bytes, w->key.data, w->key.len);
	p = e->bytes + w->key.len;
	for (int i = 0; i < w->iov_count; i++) {
		memcpy(p, w->iov[i].iov_base, w->iov[i].iov_len);
		p += w->iov[i].iov_len;
	}
	return e;
}

static void remove_range(struct state *s, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		entry_drop(s->entries[i]);
	memmove(s->entries + from, s->entries + to, (s->count - to) * sizeof(*s->entries));
	s->count -= to - from;
}

static void step(struct state *s, const struct cairn_write *w, struct entry *e)
{
	size_t at = place(s, w->key), end;

	if (w->kind == CAIRN_WRITE_DELETE_RANGE) {
		end = w->end.len ? place(s, w->end) : s->count;
		if (end > at)
			remove_range(s, at, end);
	} else if (w->kind == CAIRN_WRITE_DELETE) {
		if (there(s, at, w->key))
			remove_range(s, at, at + 1);
	} else if (there(s, at, w->key)) {
		entry_drop(s->entries[at]);
		s->entries[at] = e;
	} else {
		memmove(s->entries + at + 1, s->entries + at, (s->count - at) * sizeof(*s->entries));
		s->entries[at] = e;
		s->count++;
	}
}

/* A copy of the state now with room for MORE entries; the caller publishes it. */
static struct state *copy(const struct state *s, size_t more)
{
	size_t cap = s->count + more + s->count / 4;
	struct state *n = malloc(sizeof(*n) + cap * sizeof(*n->entries));

	if (!n)
		return NULL;
	*n = *s;
	n->uses = 1;
	n->cap = cap;
	memcpy(n->entries, s->entries, s->count * sizeof(*s->entries));
	for (size_t i = 0; i < n->count; i++)
		n->entries[i]->uses++;
	return n;
}

static int memory_write(void *handle, const struct cairn_batch *batch, bool sync, struct cairn_error *error)
{
	struct entry **fresh = calloc(batch->count + 1, sizeof(*fresh));
	struct memory *m = handle;
	struct state *s, *old = NULL;
	int r = fresh ? 0 : -ENOMEM;

	(void)sync;
	(void)error;
	for (size_t i = 0; r == 0 && i < batch->count; i++)
		if (batch->writes[i].kind == CAIRN_WRITE_PUT && !(fresh[i] = entry_new(&batch->writes[i])))
			r = -ENOMEM;
	pthread_mutex_lock(&m->lock);
	s = m->now;
	if (r == 0 && (s->uses > 1 || s->count + batch->count > s->cap)) {
		old = s;
		s = copy(old, batch->count);
		r = s ? 0 : -ENOMEM;
	}
	for (size_t i = 0; r == 0 && i < batch->count; i++)
		step(s, &batch->writes[i], fresh[i]);
	if (r == 0) {
		s->position = batch->position;
		m->now = s;
	}
	pthread_mutex_unlock(&m->lock);
	if (r == 0 && old)
		drop(m, old);
	for (size_t i = 0; r && fresh && i < batch->count; i++)
		free(fresh[i]);
	free(fresh);
	return r;
}

static int memory_position(void *handle, struct cairn_position *position)
{
	struct state *s = hold(handle);

	*position = s->position;
	drop(handle, s);
	return 0;
}

static int memory_snapshot(void *handle, void **snapshot)
{
	*snapshot = hold(handle);
	return 0;
}

static void memory_release(void *handle, void *snapshot)
{
	drop(handle, snapshot);
}

struct iterator {
	struct memory *memory;
	struct state *state;
	size_t next, left;
	bool reverse;
};

static int memory_iter_open(void *handle, void *snapshot, struct cairn_slice from, struct cairn_slice to,
			    unsigned flags, void **iterator)
{
	struct iterator *it = calloc(1, sizeof(*it));
	size_t begin, end;

	if (!it)
		return -ENOMEM;
	it->memory = handle;
	it->state = snapshot ? snapshot : hold(handle);
	if (snapshot) {
		pthread_mutex_lock(&it->memory->lock);
		it->state->uses++;
		pthread_mutex_unlock(&it->memory->lock);
	}
	begin = place(it->state, from);
	end = to.len ? place(it->state, to) : it->state->count;
	it->left = end > begin ? end - begin : 0;
	it->reverse = flags & CAIRN_READ_REVERSE;
	it->next = it->reverse ? end : begin;
	*iterator = it;
	return 0;
}

static int memory_iter_next(void *iterator, struct cairn_slice *key, struct cairn_slice *value)
{
	struct iterator *it = iterator;
	struct entry *e;

	if (it->left == 0) {
		*key = *value = cairn_slice(NULL, 0);
		return 0;
	}
	it->left--;
	e = it->state->entries[it->reverse ? --it->next : it->next++];
	*key = key_of(e);
	*value = value_of(e);
	return 0;
}

static void memory_iter_close(void *iterator)
{
	struct iterator *it = iterator;

	drop(it->memory, it->state);
	free(it);
}

static struct cairn_engine memory = {
	.name = "memory",
	.help = "everything in memory, gone when the daemon stops",
	.caps = CAIRN_ENGINE_ORDERED | CAIRN_ENGINE_SNAPSHOT,
	.open = memory_open,
	.close = memory_close,
	.read_begin = memory_read_begin,
	.read_end = memory_read_end,
	.get = memory_get,
	.write = memory_write,
	.position = memory_position,
	.snapshot = memory_snapshot,
	.release = memory_release,
	.iter_open = memory_iter_open,
	.iter_next = memory_iter_next,
	.iter_close = memory_iter_close,
};

CAIRN_ENGINE_REGISTER(memory)
