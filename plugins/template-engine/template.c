/*
 * A working engine to copy: a sorted array in memory. Every batch makes a new array and puts it in the place
 * of the old one, so a reader, an iterator and a snapshot are the same thing: somebody who holds an array.
 * That costs a copy of all pointers for each batch; README.md says what a real engine does instead.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <cairn/engine.h>

/* What people can set. The host parses it: open() gets one value for each row, in this order. */
static const struct cairn_param template_params[] = {
	{ "max-keys", CAIRN_PARAM_NUMBER, "0", false,
	  "refuse batches that leave more keys than this; 0 is no limit" },
	{ .name = NULL },
};

struct entry {
	atomic_uint uses; /* arrays that have it */
	struct cairn_slice key, value;
	char bytes[]; /* of both */
};

struct array {
	unsigned uses; /* holders, under the handle's lock */
	size_t count;
	struct cairn_position position;
	struct entry *entries[]; /* by key */
};

/* One open engine. There may be several in a process: nothing is kept outside of it. */
struct template
{
	pthread_mutex_t lock; /* over now and every array's uses */
	struct array *now;
	uint64_t max_keys;
};

/* Hold A, or where it is NULL the array of now. */
static struct array *hold(struct template *t, struct array *a)
{
	pthread_mutex_lock(&t->lock);
	a = a ? a : t->now;
	a->uses++;
	pthread_mutex_unlock(&t->lock);
	return a;
}

static void unuse(struct entry *e)
{
	if (atomic_fetch_sub(&e->uses, 1) == 1)
		free(e);
}

static void drop(struct template *t, struct array *a)
{
	unsigned left;

	pthread_mutex_lock(&t->lock);
	left = --a->uses;
	pthread_mutex_unlock(&t->lock);
	for (size_t i = 0; left == 0 && i < a->count; i++)
		unuse(a->entries[i]);
	if (left == 0)
		free(a);
}

/* How many keys of A are below KEY. */
static size_t place(const struct array *a, struct cairn_slice key)
{
	size_t low = 0, high = a->count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (cairn_slice_cmp(a->entries[middle]->key, key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int template_open(const char *dir, const struct cairn_value *values, void **handle,
			 struct cairn_error *error)
{
	struct template *t = calloc(1, sizeof(*t));

	(void)dir; /* a durable engine reads its files here, and says which one is damaged and where */
	if (!t || !(t->now = calloc(1, sizeof(*t->now)))) {
		free(t);
		cairn_fail(error, CAIRN_E_INTERNAL, "no memory");
		return -ENOMEM;
	}
	t->now->uses = 1;
	t->max_keys = values[0].number;
	pthread_mutex_init(&t->lock, NULL);
	*handle = t;
	return 0;
}

static void template_close(void *handle)
{
	struct template *t = handle;

	drop(t, t->now);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

static void template_read_begin(void *handle, struct cairn_guard *guard)
{
	guard->engine[0] = hold(handle, NULL);
}

static void template_read_end(void *handle, struct cairn_guard *guard)
{
	drop(handle, guard->engine[0]);
}

static int template_get(void *handle, struct cairn_guard *guard, void *snapshot, struct cairn_slice key,
			unsigned flags, struct cairn_slice *value)
{
	struct array *a = snapshot ? snapshot : guard->engine[0];
	size_t at = place(a, key);

	(void)handle;
	(void)flags; /* nothing to wait for */
	if (at == a->count || !cairn_slice_eq(a->entries[at]->key, key))
		return -ENOENT;
	*value = a->entries[at]->value;
	return 0;
}

static struct entry *entry_new(const struct cairn_write *w)
{
	size_t len = w->key.len;
	struct entry *e;

	for (int i = 0; i < w->iov_count; i++)
		len += w->iov[i].iov_len;
	e = malloc(sizeof(*e) + len);
	if (!e)
		return NULL;
	atomic_init(&e->uses, 1);
	e->key = cairn_slice(memcpy(e->bytes, w->key.data, w->key.len), w->key.len);
	e->value = cairn_slice(e->bytes + w->key.len, len - w->key.len);
	len = w->key.len;
	for (int i = 0; i < w->iov_count; len += w->iov[i++].iov_len)
		memcpy(e->bytes + len, w->iov[i].iov_base, w->iov[i].iov_len);
	return e;
}

/* Do W on A, which nobody else has yet and which has room for one more entry. */
static int step(struct array *a, const struct cairn_write *w)
{
	size_t from = place(a, w->key), to = from;
	struct entry *e = NULL;

	if (w->kind == CAIRN_WRITE_DELETE_RANGE)
		to = w->end.len ? place(a, w->end) : a->count;
	else if (from < a->count && cairn_slice_eq(a->entries[from]->key, w->key))
		to = from + 1;
	if (w->kind == CAIRN_WRITE_PUT && !(e = entry_new(w)))
		return -ENOMEM;
	to = to < from ? from : to;
	for (size_t i = from; i < to; i++)
		unuse(a->entries[i]);
	memmove(a->entries + from + (e != NULL), a->entries + to, (a->count - to) * sizeof(e));
	a->count -= to - from;
	if (e) {
		a->entries[from] = e;
		a->count++;
	}
	return 0;
}

static int template_write(void *handle, const struct cairn_batch *batch, bool sync, struct cairn_error *error)
{
	struct template *t = handle;
	struct array *old = t->now,
		     *a = malloc(sizeof(*a) + (old->count + batch->count) * sizeof(struct entry *));
	int r = a ? 0 : -ENOMEM;

	(void)sync; /* a durable engine syncs its files before it returns */
	if (r)
		return r;
	*a = (struct array){ 1, old->count, batch->position };
	memcpy(a->entries, old->entries, old->count * sizeof(struct entry *));
	for (size_t i = 0; i < a->count; i++)
		atomic_fetch_add(&a->entries[i]->uses, 1);
	for (size_t i = 0; r == 0 && i < batch->count; i++)
		r = step(a, &batch->writes[i]);
	if (r == 0 && t->max_keys && a->count > t->max_keys && a->count > old->count) {
		cairn_fail(error, CAIRN_E_FULL, "%zu keys are more than max-keys", a->count);
		r = -ENOSPC;
	}
	if (r == 0) {
		pthread_mutex_lock(&t->lock);
		t->now = a; /* here the whole batch becomes visible */
		pthread_mutex_unlock(&t->lock);
	}
	drop(t, r ? a : old);
	return r;
}

static int template_position(void *handle, struct cairn_position *position)
{
	struct array *a = hold(handle, NULL);

	*position = a->position;
	drop(handle, a);
	return 0;
}

static int template_snapshot(void *handle, void **snapshot)
{
	*snapshot = hold(handle, NULL);
	return 0;
}

static void template_release(void *handle, void *snapshot)
{
	drop(handle, snapshot);
}

struct iterator {
	struct template *template;
	struct array *array;
	size_t from, to; /* entries not given yet */
	bool reverse;
};

static int template_iter_open(void *handle, void *snapshot, struct cairn_slice from, struct cairn_slice to,
			      unsigned flags, void **iterator)
{
	struct iterator *it = malloc(sizeof(*it));

	if (!it)
		return -ENOMEM;
	it->template = handle;
	it->array = hold(handle, snapshot);
	it->from = place(it->array, from);
	it->to = to.len ? place(it->array, to) : it->array->count;
	it->reverse = flags & CAIRN_READ_REVERSE;
	*iterator = it;
	return 0;
}

static int template_iter_next(void *iterator, struct cairn_slice *key, struct cairn_slice *value)
{
	struct iterator *it = iterator;
	struct entry *e;

	*key = *value = cairn_slice(NULL, 0);
	if (it->from < it->to) {
		e = it->array->entries[it->reverse ? --it->to : it->from++];
		*key = e->key;
		*value = e->value;
	}
	return 0;
}

static void template_iter_close(void *iterator)
{
	struct iterator *it = iterator;

	drop(it->template, it->array);
	free(it);
}

static struct cairn_engine template = {
	.name = "template",
	.help = "an example to copy: a sorted array in memory",
	.caps = CAIRN_ENGINE_ORDERED | CAIRN_ENGINE_SNAPSHOT,
	.params = template_params,
	.open = template_open,
	.close = template_close,
	.read_begin = template_read_begin,
	.read_end = template_read_end,
	.get = template_get,
	.write = template_write,
	.position = template_position,
	.snapshot = template_snapshot,
	.release = template_release,
	.iter_open = template_iter_open,
	.iter_next = template_iter_next,
	.iter_close = template_iter_close,
};

CAIRN_ENGINE_REGISTER(template)
