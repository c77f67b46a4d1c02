/*
 * Reading. A guard is a read transaction of the state at read_begin, and what get lends are bytes of the map;
 * a snapshot is a view (readers.c), and a guard that reads from it holds it. Nothing is copied.
 */
#include <errno.h>
#include <stdlib.h>
#include "map.h"
#include "banned.h"

/* What a guard has in its pointers. */
enum { READER, SNAPSHOT, MORE, FAILED };

/* Snapshots that a guard reads from beyond the first. */
struct more {
	struct more *next;
	struct view *snapshot;
};

enum walk { WALK_FRESH, WALK_ON, WALK_END };

struct iterator {
	struct handle *h;
	struct view *view;
	bool own; /* the view is this iterator's, not a snapshot */
	enum walk walk;
	bool reverse;
	struct cursor cursor;
	struct cairn_slice from, to; /* point behind the struct; FROM is never empty */
	char keys[];
};

void lmdb_read_begin(void *handle, struct cairn_guard *guard)
{
	struct reader *r = NULL;
	int e = lmdb_reader_begin(handle, &r);

	guard->engine[READER] = r;
	guard->engine[FAILED] = (void *)(intptr_t)e;
}

void lmdb_read_end(void *handle, struct cairn_guard *guard)
{
	struct more *m = guard->engine[MORE], *next;

	if (guard->engine[READER])
		lmdb_reader_end(handle, guard->engine[READER]);
	if (guard->engine[SNAPSHOT])
		lmdb_view_drop(handle, guard->engine[SNAPSHOT]);
	for (; m; m = next) {
		next = m->next;
		lmdb_view_drop(handle, m->snapshot);
		free(m);
	}
	memset(guard, 0, sizeof(*guard));
}

/* Let GUARD hold the snapshot V until it ends. */
static int hold(struct handle *h, struct cairn_guard *guard, struct view *v)
{
	struct more *m;
	int e;

	if (guard->engine[SNAPSHOT] == v)
		return v->cut ? -ESTALE : 0;
	for (m = guard->engine[MORE]; m; m = m->next)
		if (m->snapshot == v)
			return v->cut ? -ESTALE : 0;
	if (!guard->engine[SNAPSHOT]) {
		e = lmdb_view_hold(h, v);
		if (!e)
			guard->engine[SNAPSHOT] = v;
		return e;
	}
	m = malloc(sizeof(*m));
	e = m ? lmdb_view_hold(h, v) : -ENOMEM;
	if (e) {
		free(m);
		return e;
	}
	*m = (struct more){ guard->engine[MORE], v };
	guard->engine[MORE] = m;
	return 0;
}

int lmdb_engine_get(void *handle, struct cairn_guard *guard, void *snapshot, struct cairn_slice key,
		    unsigned flags, struct cairn_slice *value)
{
	struct handle *h = handle;
	struct reader *r = guard->engine[READER];
	struct look l;
	int e;

	if (!r)
		return (int)(intptr_t)guard->engine[FAILED];
	if (snapshot) {
		struct view *s = snapshot;

		e = hold(h, guard, s);
		if (e)
			return e;
		r = s->reader;
	}
	l = look_begin(h, r, !(flags & CAIRN_READ_NO_WAIT));
	return look_end(&l, map_get(&l, key, value));
}

int lmdb_engine_snapshot(void *handle, void **snapshot)
{
	return lmdb_view_begin(handle, true, (struct view **)snapshot);
}

void lmdb_engine_release(void *handle, void *snapshot)
{
	lmdb_view_end(handle, snapshot);
}

/* ---- Walking ---- */

int lmdb_iter_open(void *handle, void *snapshot, struct cairn_slice from, struct cairn_slice to,
		   unsigned flags, void **iterator)
{
	static const struct cairn_slice lowest = { "\1", 1 };
	struct iterator *i;
	int e;

	if (flags & CAIRN_READ_NO_WAIT)
		return -EAGAIN;
	if (cairn_slice_cmp(from, lowest) < 0)
		from = lowest;
	i = malloc(sizeof(*i) + from.len + to.len);
	if (!i)
		return -ENOMEM;
	i->h = handle;
	i->view = snapshot;
	i->walk = WALK_FRESH;
	i->reverse = flags & CAIRN_READ_REVERSE;
	memcpy(i->keys, from.data, from.len);
	if (to.len)
		memcpy(i->keys + from.len, to.data, to.len);
	i->from = cairn_slice(i->keys, from.len);
	i->to = cairn_slice(i->keys + from.len, to.len);
	e = snapshot ? 0 : lmdb_view_begin(handle, false, &i->view);
	if (e) {
		free(i);
		return e;
	}
	i->own = !snapshot;
	e = lmdb_view_hold(handle, i->view);
	if (!e) {
		i->cursor.look = look_begin(handle, i->view->reader, true);
		*iterator = i;
		return 0;
	}
	if (i->own)
		lmdb_view_end(handle, i->view);
	free(i);
	return e;
}

int lmdb_iter_step(void *iterator, struct cairn_slice *key, struct cairn_slice *value)
{
	struct iterator *i = iterator;
	int e;

	key->data = NULL;
	if (i->walk == WALK_END)
		return 0;
	if (atomic_load_explicit(&i->view->cut, memory_order_relaxed))
		return -ESTALE;
	if (i->walk == WALK_ON)
		e = cursor_step(&i->cursor, i->reverse, key, value);
	else
		e = cursor_seek(&i->cursor, i->reverse ? i->to : i->from, i->reverse, key, value);
	i->walk = WALK_END;
	if (!e &&
	    (i->reverse ? cairn_slice_cmp(*key, i->from) >= 0
			: !i->to.len || cairn_slice_cmp(*key, i->to) < 0)) {
		i->walk = WALK_ON;
		return 0;
	}
	key->data = NULL;
	return e == -ENOENT ? 0 : look_end(&i->cursor.look, e);
}

void lmdb_iter_close(void *iterator)
{
	struct iterator *i = iterator;

	lmdb_view_drop(i->h, i->view);
	if (i->own)
		lmdb_view_end(i->h, i->view);
	free(i);
}
