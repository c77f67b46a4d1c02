/*
 * Reading: get lends counted rows, from the row cache or as LevelDB returned them, and a guard holds what was
 * lent; snapshots and iterators are LevelDB's. NO_WAIT is answered from the row cache
 * alone, because LevelDB cannot say whether a read would wait. Damage becomes
 * -EUCLEAN, and the notice names its file.
 */
#include <errno.h>
#include <stdlib.h>
#include "handle.h"
#include "banned.h"

/* Rows lent under a guard: three in the guard itself, more in blocks that hang on its fourth pointer. */
#define GUARD_ROWS 3
struct lent {
	struct lent *next;
	size_t count;
	struct row *rows[62];
};

struct snapshot {
	const leveldb_snapshot_t *state;
	leveldb_readoptions_t *options;
};

enum walk { WALK_FRESH, WALK_ON, WALK_END };

struct iterator {
	struct handle *h;
	leveldb_iterator_t *it;
	enum walk walk;
	bool reverse;
	struct cairn_slice from, to; /* point behind the struct; FROM is never empty */
	char keys[];
};

void leveldb_read_begin(void *handle, struct cairn_guard *guard)
{
	(void)handle;
	(void)guard;
}

void leveldb_read_end(void *handle, struct cairn_guard *guard)
{
	struct lent *block = guard->engine[GUARD_ROWS], *next;

	(void)handle;
	for (int i = 0; i < GUARD_ROWS; i++)
		row_put(guard->engine[i]);
	for (; block; block = next) {
		next = block->next;
		for (size_t i = 0; i < block->count; i++)
			row_put(block->rows[i]);
		free(block);
	}
	memset(guard, 0, sizeof(*guard));
}

/* Let GUARD hold R from now on. 0, or -ENOMEM and R is let go. */
static int lend(struct cairn_guard *guard, struct row *r)
{
	struct lent *block = guard->engine[GUARD_ROWS];

	for (int i = 0; i < GUARD_ROWS; i++)
		if (!guard->engine[i]) {
			guard->engine[i] = r;
			return 0;
		}
	if (!block || block->count == sizeof(block->rows) / sizeof(*block->rows)) {
		block = malloc(sizeof(*block));
		if (!block) {
			row_put(r);
			return -ENOMEM;
		}
		block->next = guard->engine[GUARD_ROWS];
		block->count = 0;
		guard->engine[GUARD_ROWS] = block;
	}
	block->rows[block->count++] = r;
	return 0;
}

/* Ask LevelDB for KEY. Sets *R, held for the caller; absent keys give an absent row. 0 or -errno. */
static int read_row(struct handle *h, const leveldb_readoptions_t *options, struct cairn_slice key,
		    struct row **r)
{
	char *text = NULL, *value;
	size_t len;

	value = leveldb_get(h->db, options, key.data, key.len, &len, &text);
	if (text) {
		char *after = calloc(1, key.len + 1); /* the next possible key */
		int e;

		if (after)
			memcpy(after, key.data, key.len);
		e = leveldb_read_failed(h, text, key, cairn_slice(after, after ? key.len + 1 : 0));
		free(after);
		return e;
	}
	*r = row_new(key, value, value ? len : 0, !value);
	return *r ? 0 : -ENOMEM;
}

int leveldb_engine_get(void *handle, struct cairn_guard *guard, void *snapshot, struct cairn_slice key,
		       unsigned flags, struct cairn_slice *value)
{
	struct handle *h = handle;
	struct snapshot *s = snapshot;
	struct row *r = s ? NULL : cache_get(h->rows, key);
	int e;

	if (!r) {
		uint64_t stamp = cache_stamp(h->rows);

		if (flags & CAIRN_READ_NO_WAIT)
			return -EAGAIN;
		if ((e = read_row(h, s ? s->options : h->now, key, &r)))
			return e;
		if (!s)
			cache_fill(h->rows, r, stamp);
	}
	if (r->absent) {
		row_put(r);
		return -ENOENT;
	}
	*value = cairn_slice(r->value, r->len);
	return lend(guard, r);
}

int leveldb_engine_snapshot(void *handle, void **snapshot)
{
	struct handle *h = handle;
	struct snapshot *s = malloc(sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->state = leveldb_create_snapshot(h->db);
	s->options = leveldb_readoptions_create();
	leveldb_readoptions_set_verify_checksums(s->options, 1);
	leveldb_readoptions_set_snapshot(s->options, s->state);
	*snapshot = s;
	return 0;
}

void leveldb_engine_release(void *handle, void *snapshot)
{
	struct handle *h = handle;
	struct snapshot *s = snapshot;

	leveldb_readoptions_destroy(s->options);
	leveldb_release_snapshot(h->db, s->state);
	free(s);
}

struct cairn_slice leveldb_at_least_ours(struct cairn_slice from)
{
	struct cairn_slice lowest = cairn_slice("\1", 1);

	return cairn_slice_cmp(from, lowest) < 0 ? lowest : from;
}

int leveldb_iter_open(void *handle, void *snapshot, struct cairn_slice from, struct cairn_slice to,
		      unsigned flags, void **iterator)
{
	struct handle *h = handle;
	struct snapshot *s = snapshot;
	struct iterator *i;

	if (flags & CAIRN_READ_NO_WAIT)
		return -EAGAIN;
	from = leveldb_at_least_ours(from);
	i = malloc(sizeof(*i) + from.len + to.len);
	if (!i)
		return -ENOMEM;
	*i = (struct iterator){ .h = h, .reverse = flags & CAIRN_READ_REVERSE };
	memcpy(i->keys, from.data, from.len);
	if (to.len)
		memcpy(i->keys + from.len, to.data, to.len);
	i->from = cairn_slice(i->keys, from.len);
	i->to = cairn_slice(i->keys + from.len, to.len);
	i->it = leveldb_create_iterator(h->db, s ? s->options : h->now);
	*iterator = i;
	return 0;
}

static void iter_start(struct iterator *i)
{
	if (!i->reverse) {
		leveldb_iter_seek(i->it, i->from.data, i->from.len);
		return;
	}
	if (i->to.len)
		leveldb_iter_seek(i->it, i->to.data, i->to.len);
	if (i->to.len && leveldb_iter_valid(i->it))
		leveldb_iter_prev(i->it);
	else
		leveldb_iter_seek_to_last(i->it);
}

/*
 * LevelDB goes on behind a block that it cannot read, with older versions of keys or none: so its error is
 * asked for after each step, before anything is lent.
 */
int leveldb_iter_step(void *iterator, struct cairn_slice *key, struct cairn_slice *value)
{
	struct iterator *i = iterator;
	char *text = NULL;

	key->data = NULL;
	if (i->walk == WALK_END)
		return 0;
	if (i->walk == WALK_FRESH)
		iter_start(i);
	else if (i->reverse)
		leveldb_iter_prev(i->it);
	else
		leveldb_iter_next(i->it);
	i->walk = WALK_END;
	leveldb_iter_get_error(i->it, &text);
	if (text)
		return leveldb_read_failed(i->h, text, i->from, i->to);
	if (!leveldb_iter_valid(i->it))
		return 0;
	key->data = leveldb_iter_key(i->it, &key->len);
	if (i->reverse ? cairn_slice_cmp(*key, i->from) < 0
		       : i->to.len && cairn_slice_cmp(*key, i->to) >= 0) {
		key->data = NULL;
		return 0;
	}
	value->data = leveldb_iter_value(i->it, &value->len);
	i->walk = WALK_ON;
	return 0;
}

void leveldb_iter_close(void *iterator)
{
	struct iterator *i = iterator;

	leveldb_iter_destroy(i->it);
	free(i);
}
