/*
 * The memory engine: everything in one versioned tree (core/base/btree.h), gone when it is closed. Batches,
 * snapshots and guards are the tree's own; this file translates. It fails only for want of memory, or of room
 * under its limit, and then the batch has changed nothing.
 */
#include <errno.h>
#include <stdlib.h>
#include <cairn/engine.h>
#include "btree.h"
#include "clock.h"
#include "banned.h"

static const struct cairn_param memory_params[] = {
	{ "limit", CAIRN_PARAM_SIZE, "0", false,
	  "refuse batches that grow the data beyond this many bytes; 0 is no limit" },
	{ .name = NULL },
};

struct memory {
	struct btree *tree;
	uint64_t limit; /* bytes, for the sentence */
};

_Static_assert(sizeof(struct btree_guard) <= sizeof(struct cairn_guard), "a guard holds the tree's");

static struct btree *tree_of(void *handle)
{
	return ((struct memory *)handle)->tree;
}

static struct btree_guard *guard_of(struct cairn_guard *guard)
{
	return (struct btree_guard *)guard;
}

static int memory_open(const char *dir, const struct cairn_value *values, void **handle,
		       struct cairn_error *error)
{
	struct memory *m = calloc(1, sizeof(*m));

	(void)dir;
	if (m)
		m->tree = btree_new(values[0].number);
	if (!m || !m->tree) {
		free(m);
		cairn_fail(error, CAIRN_E_INTERNAL, "no memory");
		return -ENOMEM;
	}
	m->limit = values[0].number;
	*handle = m;
	return 0;
}

static void memory_close(void *handle)
{
	btree_free(tree_of(handle));
	free(handle);
}

static void memory_read_begin(void *handle, struct cairn_guard *guard)
{
	btree_read_begin(tree_of(handle), guard_of(guard));
}

static void memory_read_end(void *handle, struct cairn_guard *guard)
{
	btree_read_end(tree_of(handle), guard_of(guard));
}

static int memory_get(void *handle, struct cairn_guard *guard, void *snapshot, struct cairn_slice key,
		      unsigned flags, struct cairn_slice *value)
{
	(void)handle;
	(void)flags;
	return btree_get(guard_of(guard), snapshot, key, value) ? 0 : -ENOENT;
}

static bool memory_get_many(void *handle, struct cairn_guard *guard, const struct cairn_slice *keys,
			    size_t count, unsigned flags, struct cairn_slice *values)
{
	btree_get_many(guard_of(guard), keys, count, values,
		       flags & CAIRN_READ_TO_WRITE ? tree_of(handle) : NULL);
	return true;
}

static int step(struct btree *t, const struct cairn_write *w)
{
	switch (w->kind) {
	case CAIRN_WRITE_PUT:
		return btree_put(t, w->key, w->iov, w->iov_count);
	case CAIRN_WRITE_DELETE:
		return btree_delete(t, w->key);
	case CAIRN_WRITE_DELETE_RANGE:
		return btree_delete_range(t, w->key, w->end);
	}
	return -EINVAL;
}

/* End a batch whose steps gave R. */
static int finish(struct memory *m, int r, const struct btree_tag *tag, struct cairn_error *error)
{
	if (r)
		btree_abort(m->tree);
	else
		r = btree_commit(m->tree, tag);
	if (r == -ENOSPC)
		cairn_fail(error, CAIRN_E_FULL, "the data would be larger than the limit of %llu bytes",
			   (unsigned long long)m->limit);
	else if (r)
		cairn_fail(error, cairn_error_from_errno(-r), "cannot take the batch: %s", strerror(-r));
	return r;
}

static int memory_write(void *handle, const struct cairn_batch *batch, bool sync, struct cairn_error *error)
{
	struct btree_tag tag = { batch->position.index, batch->position.term };
	struct memory *m = handle;
	int r = 0;

	(void)sync;
	btree_begin(m->tree);
	for (size_t i = 0; r == 0 && i < batch->count; i++)
		r = step(m->tree, &batch->writes[i]);
	return finish(m, r, &tag, error);
}

static int memory_update(void *handle, struct cairn_slice key, const struct cairn_update *update)
{
	struct memory *m = handle;

	btree_begin(m->tree);
	return finish(m, btree_update(m->tree, key, update->decide, update->arg), NULL, NULL);
}

static int memory_position(void *handle, struct cairn_position *position)
{
	struct btree_facts facts;

	btree_facts(tree_of(handle), &facts);
	*position = (struct cairn_position){ facts.tag.a, facts.tag.b };
	return 0;
}

static int memory_sync(void *handle, struct cairn_error *error)
{
	(void)handle;
	(void)error;
	return 0;
}

static int memory_snapshot(void *handle, void **snapshot)
{
	*snapshot = btree_snapshot(tree_of(handle));
	return 0;
}

static void memory_release(void *handle, void *snapshot)
{
	btree_release(tree_of(handle), snapshot);
}

static int memory_iter_open(void *handle, void *snapshot, struct cairn_slice from, struct cairn_slice to,
			    unsigned flags, void **iterator)
{
	*iterator = btree_iter_open(tree_of(handle), snapshot, from, to, flags & CAIRN_READ_REVERSE);
	return *iterator ? 0 : -ENOMEM;
}

static int memory_iter_next(void *iterator, struct cairn_slice *key, struct cairn_slice *value)
{
	if (!btree_next(iterator, key, value))
		*key = *value = cairn_slice(NULL, 0);
	return 0;
}

static void memory_iter_close(void *iterator)
{
	btree_iter_close(iterator);
}

static void memory_stats(void *handle, cairn_stat_fn *fn, void *arg)
{
	struct btree_facts facts;

	btree_facts(tree_of(handle), &facts);
	fn(arg, "keys", "", facts.keys);
	fn(arg, "bytes", "bytes", facts.bytes);
	fn(arg, "memory", "bytes", facts.memory);
	fn(arg, "limit", "bytes", ((struct memory *)handle)->limit);
	fn(arg, "snapshots", "", facts.snapshots);
}

static int memory_compact(void *handle, struct cairn_error *error)
{
	(void)error;
	while (btree_reclaim(tree_of(handle), 1024))
		;
	return 0;
}

static int memory_maintain(void *handle, uint64_t budget_us, bool *more)
{
	uint64_t end = clock_boot_ns() + budget_us * 1000;

	do
		*more = btree_reclaim(tree_of(handle), 1024);
	while (*more && clock_boot_ns() < end);
	return 0;
}

static struct cairn_engine memory = {
	.name = "memory",
	.help = "everything in memory, gone when the daemon stops",
	.caps = CAIRN_ENGINE_ORDERED | CAIRN_ENGINE_SNAPSHOT | CAIRN_ENGINE_PARALLEL_READS,
	.key_max = BTREE_KEY_MAX,
	.params = memory_params,
	.open = memory_open,
	.close = memory_close,
	.read_begin = memory_read_begin,
	.read_end = memory_read_end,
	.get = memory_get,
	.write = memory_write,
	.update = memory_update,
	.position = memory_position,
	.sync = memory_sync,
	.snapshot = memory_snapshot,
	.release = memory_release,
	.iter_open = memory_iter_open,
	.iter_next = memory_iter_next,
	.iter_close = memory_iter_close,
	.stats = memory_stats,
	.compact = memory_compact,
	.maintain = memory_maintain,
	.get_many = memory_get_many,
};

CAIRN_ENGINE_REGISTER(memory)
