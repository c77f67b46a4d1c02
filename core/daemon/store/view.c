/*
 * Rows as a command sees them: what the batch has written so far, else the engine's. Engine values are lent
 * until the guard of the batch ends, so nothing is copied. Any failure but "absent" is this machine's: it
 * stops the store.
 */
#include <errno.h>
#include <stdlib.h>
#include "state.h"
#include "le.h"
#include "banned.h"

static int stop(struct store *s, int e, struct cairn_slice key)
{
	char text[KEY_TEXT];

	if (s->stop.code)
		return e;
	if (e == -EUCLEAN) {
		cairn_fail(&s->stop, CAIRN_E_CORRUPT, "the row '%s' of the store is damaged",
			   key_text(key, text));
		engine_damage(s->engine, &s->stop);
	} else if (e == -ENOMEM)
		cairn_fail(&s->stop, CAIRN_E_INTERNAL, "no memory left to apply a command");
	else
		cairn_fail(&s->stop, cairn_error_from_errno(-e), "reading the row '%s' of the store: %s",
			   key_text(key, text), strerror(-e));
	return e;
}

void *view_alloc(struct store *s, size_t n)
{
	void *p = arena_alloc(&s->pending.arena, n);

	if (!p)
		stop(s, -ENOMEM, cairn_slice(NULL, 0));
	return p;
}

int view_row(struct store *s, enum row_tag tag, struct cairn_slice rest, struct row *row)
{
	unsigned char *p = view_alloc(s, rest.len + 1);

	if (!p)
		return -ENOMEM;
	row->key = row_key(p, tag, rest);
	row->begun = hash_begin(row->key);
	row->hash = hash_of(row->begun);
	return 0;
}

int view_row_of(struct store *s, struct cairn_slice key, struct row *row)
{
	unsigned char *p = view_alloc(s, key.len);

	if (!p)
		return -ENOMEM;
	memcpy(p, key.data, key.len);
	row->key = cairn_slice(p, key.len);
	row->begun = hash_begin(row->key);
	row->hash = hash_of(row->begun);
	return 0;
}

int view_damaged(struct store *s, struct cairn_slice key)
{
	return stop(s, -EUCLEAN, key);
}

static int take_checksum(struct store *s, struct cairn_slice key, struct cairn_slice *body)
{
	if (s->checksums && row_verify(key, *body, body) < 0)
		return stop(s, -EUCLEAN, key);
	return 0;
}

/* What is pending for ROW: 0, -ENOENT, or 1 where nothing is. */
static int get_pending(struct store *s, const struct row *row, struct cairn_slice *body)
{
	const struct pending_row *p = pending_find(&s->pending, row->key, row->hash);

	if (!p || p->state == PENDING_NONE)
		return 1;
	*body = p->body;
	return p->state == PENDING_PUT ? 0 : -ENOENT;
}

int view_get_known(struct store *s, const struct row *row, struct cairn_slice value, struct cairn_slice *body)
{
	int e = get_pending(s, row, body);

	if (e <= 0)
		return e;
	*body = value;
	return value.data ? take_checksum(s, row->key, body) : -ENOENT;
}

int view_get(struct store *s, const struct row *row, struct cairn_slice *body)
{
	int e = get_pending(s, row, body);

	if (e <= 0)
		return e;
	e = s->engine->ops.get(s->engine->handle, &s->guard, NULL, row->key, 0, body);
	if (e == -ENOENT)
		return e;
	return e < 0 ? stop(s, e, row->key) : take_checksum(s, row->key, body);
}

int view_put(struct store *s, const struct row *row, struct cairn_slice body)
{
	int e = pending_set(&s->pending, row->key, row->hash, PENDING_PUT, body);

	return e < 0 ? stop(s, e, row->key) : 0;
}

int view_delete(struct store *s, const struct row *row)
{
	int e = pending_set(&s->pending, row->key, row->hash, PENDING_DELETE, cairn_slice(NULL, 0));

	return e < 0 ? stop(s, e, row->key) : 0;
}

/* The pending rows of a range, sorted, beside an engine iterator. */
struct merge {
	struct store *s;
	const struct pending_row **rows;
	size_t count, at;
	void *it;
	struct cairn_slice key, value; /* the engine's current entry; key.data NULL at its end */
};

static int by_key(const void *a, const void *b)
{
	const struct pending_row *const *x = a, *const *y = b;

	return cairn_slice_cmp((*x)->key, (*y)->key);
}

static bool in_range(struct cairn_slice key, struct cairn_slice from, struct cairn_slice to)
{
	return cairn_slice_cmp(key, from) >= 0 && (!to.len || cairn_slice_cmp(key, to) < 0);
}

static int merge_open(struct merge *m, struct store *s, struct cairn_slice from, struct cairn_slice to)
{
	struct pending *p = &s->pending;
	size_t n = 0;
	int e;

	*m = (struct merge){ .s = s };
	for (size_t i = 0; i < p->count; i++)
		n += in_range(p->rows[i].key, from, to);
	if (n) {
		m->rows = view_alloc(s, n * sizeof(*m->rows));
		if (!m->rows)
			return -ENOMEM;
		for (size_t i = 0; i < p->count; i++)
			if (p->rows[i].state != PENDING_NONE && in_range(p->rows[i].key, from, to))
				m->rows[m->count++] = &p->rows[i];
		qsort(m->rows, m->count, sizeof(*m->rows), by_key);
	}
	e = s->engine->ops.iter_open(s->engine->handle, NULL, from, to, 0, &m->it);
	if (e == 0) {
		e = s->engine->ops.iter_next(m->it, &m->key, &m->value);
		if (e < 0)
			s->engine->ops.iter_close(m->it);
	}
	return e < 0 ? stop(s, e, from) : 0;
}

/* The next row that is there; KEY->data NULL at the end. */
static int merge_next(struct merge *m, struct cairn_slice *key, struct cairn_slice *body)
{
	int e;

	for (;;) {
		const struct pending_row *p = m->at < m->count ? m->rows[m->at] : NULL;
		int order = !p ? 1 : !m->key.data ? -1 : cairn_slice_cmp(p->key, m->key);

		if (order > 0)
			break;
		if (order == 0) {
			e = m->s->engine->ops.iter_next(m->it, &m->key, &m->value);
			if (e < 0)
				return stop(m->s, e, p->key);
		}
		m->at++;
		if (p->state == PENDING_PUT) {
			*key = p->key;
			*body = p->body;
			return 0;
		}
	}
	*key = m->key;
	*body = m->value;
	return m->key.data ? take_checksum(m->s, m->key, body) : 0;
}

int view_each(struct store *s, struct cairn_slice from, struct cairn_slice to, view_fn *fn, void *arg)
{
	struct cairn_slice key, body;
	struct merge m;
	int e;

	e = merge_open(&m, s, from, to);
	if (e < 0)
		return e;
	for (;;) {
		bool engine_s;

		e = merge_next(&m, &key, &body);
		if (e < 0 || !key.data)
			break;
		engine_s = key.data == m.key.data;
		e = fn(arg, key, body);
		if (e)
			break;
		if (engine_s) {
			e = s->engine->ops.iter_next(m.it, &m.key, &m.value);
			if (e < 0) {
				stop(s, e, from);
				break;
			}
		}
	}
	s->engine->ops.iter_close(m.it);
	return e;
}
