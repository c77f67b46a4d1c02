/*
 * Reclaim: rows of history that are not visible any more go, a few at a time. It goes along the change rows
 * in their order, up to those that are kept for their age or that somebody reads at: what they replaced is
 * kept for its number at most, so each is looked at once, with what stands before it in its key's history.
 * Meta remembers how far it is; where settings make more invisible, it starts again.
 *
 * It is no command: nothing that a command, a reader or the digest sees depends on it.
 */
#include <errno.h>
#include "content.h"
#include "past.h"
#include "banned.h"

#define STEP 256 /* rows that one step looks at, and about how many it removes */

struct reclaim {
	struct work w;
	uint64_t bound_ns, oldest; /* what is younger stays; oldest revision that is read at */
	struct row *rows;          /* to be looked at */
	size_t count;
	size_t removed;
	bool ended; /* there is nothing more to look at now */
};

static int view(void *arg, struct cairn_slice key, struct cairn_slice *body)
{
	struct store *s = arg;
	struct row row;
	int e = view_row_of(s, key, &row);

	return e < 0 ? e : view_get(s, &row, body);
}

/* Remove a row of history with BODY that counts HELD bytes beside its own. */
static int remove_row(struct reclaim *r, const struct row *row, struct cairn_slice body, uint64_t held)
{
	r->w.s->meta.history_used -= row->key.len + body.len + held;
	r->removed++;
	return view_delete(r->w.s, row);
}

/* Remove the change row with BODY, which is C, and what its record holds. */
static int remove_change(struct reclaim *r, const struct row *row, struct cairn_slice body,
			 const struct change *c)
{
	struct record record;

	if (!c->record.len) {
		r->removed++;
		return view_delete(r->w.s, row);
	}
	if (record_decode(c->record, &record) < 0)
		return view_damaged(r->w.s, row->key);
	r->w.keys = r->w.bytes = 0; /* the bounds of a command are not ours */
	if (content_release(&r->w, &record, NULL))
		return -EIO;
	return remove_row(r, row, body, c->held);
}

static int get_change(struct reclaim *r, uint64_t revision, uint32_t ordinal, struct row *row,
		      struct cairn_slice *body, struct change *c)
{
	unsigned char key[ROW_CHANGE_KEY];
	int e = view_row_of(r->w.s, row_change_key(key, revision, ordinal), row);

	if (e == 0)
		e = view_get(r->w.s, row, body);
	if (e == 0 && change_decode(*body, c) < 0)
		e = view_damaged(r->w.s, row->key);
	return e;
}

/* Go through what stands before RECORD in its key's history, and remove what is not visible. */
static int trim(struct reclaim *r, const struct record *record, const struct past *p, bool known)
{
	struct record at = *record;

	while (at.previous_revision) {
		struct cairn_slice body;
		struct change c;
		struct row row;
		int e = get_change(r, at.previous_revision, at.previous_ordinal, &row, &body, &c);

		if (e == -ENOENT || (e == 0 && !c.record.len))
			break;
		if (e == 0 && record_decode(c.record, &at) < 0)
			e = view_damaged(r->w.s, row.key);
		if (e == 0 &&
		    (!known || !history_shows(&r->w.s->meta, &at.head, &c, &p->newest, p->newest_gone)))
			e = remove_change(r, &row, body, &c);
		if (e < 0)
			return e;
	}
	return 0;
}

/* A change row that was looked up, and what belongs to it. */
struct looked {
	struct row row;
	struct cairn_slice body;
	struct change c;
	struct record record; /* of the version that it made, where HAS_RECORD */
	bool has_record;
};

/* A row without a record made the newest version: find that. A tombstone goes along with its row: all rows
 * that are looked at are older than one that is visible. */
static int find_newest(struct reclaim *r, struct looked *l)
{
	struct change_place place = row_change_place(l->row.key);
	struct cairn_slice body;
	struct row row;
	bool gone = l->c.flags & CHANGE_GONE;
	int e = view_row(r->w.s, gone ? ROW_GONE : ROW_LATEST, l->c.key, &row);

	if (e == 0)
		e = view_get(r->w.s, &row, &body);
	if (e < 0)
		return e == -ENOENT ? 0 : e;
	if (record_decode(body, &l->record) < 0)
		return view_damaged(r->w.s, row.key);
	l->has_record = l->record.head.revision == place.revision && l->record.head.ordinal == place.ordinal;
	return gone && l->has_record ? remove_row(r, &row, body, 0) : 0;
}

static int look_at(struct reclaim *r, const struct row *row)
{
	struct store *s = r->w.s;
	struct past p = { .get = view, .arg = s, .meta = &s->meta, .all = true };
	struct looked l = { .row = *row };
	bool known, shows = false;
	int e = view_get(s, row, &l.body);

	if (e == -ENOENT) /* an earlier one took it along */
		return 0;
	if (e == 0 &&
	    (change_decode(l.body, &l.c) < 0 || (l.c.record.len && record_decode(l.c.record, &l.record) < 0)))
		e = view_damaged(s, row->key);
	if (e < 0)
		return e;
	l.has_record = l.c.record.len != 0;
	p.key = l.c.key;
	e = l.c.flags & CHANGE_IS_PREFIX ? -ENOENT : past_first(&p);
	known = e == 0;
	if (e < 0 && e != -ENOENT)
		return e == -EUCLEAN ? view_damaged(s, row->key) : e;
	if (l.has_record && known)
		shows = history_shows(&s->meta, &l.record.head, &l.c, &p.newest, p.newest_gone);
	e = known && !l.has_record ? find_newest(r, &l) : 0;
	if (e == 0 && l.has_record)
		e = trim(r, &l.record, &p, known);
	if (e == 0 && !shows && (!l.c.record.len || l.c.next_revision <= r->oldest))
		e = remove_change(r, row, l.body, &l.c);
	return e;
}

/* Note the change row of KEY, unless it and all behind it are to stay. */
static int collect(void *arg, struct cairn_slice key, struct cairn_slice body)
{
	struct reclaim *r = arg;
	const struct meta *m = &r->w.s->meta;
	struct change c;
	uint64_t revision;

	if (key.len != ROW_CHANGE_KEY || change_decode(body, &c) < 0)
		return view_damaged(r->w.s, key);
	revision = row_change_place(key).revision;
	r->ended = revision > r->oldest || (c.time_ns > r->bound_ns && revision > m->floor);
	if (r->ended || r->count == STEP)
		return 1;
	return view_row_of(r->w.s, key, &r->rows[r->count++]);
}

static int look_at_all(struct reclaim *r)
{
	struct store *s = r->w.s;
	unsigned char from[ROW_CHANGE_KEY], to[1] = { ROW_CHANGE + 1 };
	struct change_place last;
	size_t i = 0;
	int e;

	if (s->meta.reclaimed == HISTORY_RECLAIMED)
		s->meta.reclaimed = 0;
	r->rows = view_alloc(s, STEP * sizeof(*r->rows));
	if (!r->rows)
		return -ENOMEM;
	r->ended = true; /* unless there is a row that says otherwise */
	e = view_each(s, row_change_key(from, s->meta.reclaimed + 1, s->reclaim_ordinal), cairn_slice(to, 1),
		      collect, r);
	for (; e >= 0 && i < r->count && r->removed < STEP; i++)
		e = look_at(r, &r->rows[i]);
	if (e < 0)
		return e;
	r->ended = r->ended && i == r->count;
	if (r->ended && !s->meta.history) { /* what is kept for readers may lie anywhere: start again */
		s->meta.reclaimed = s->meta.history_used ? 0 : HISTORY_RECLAIMED;
		s->reclaim_ordinal = 0;
	} else if (i) { /* the last revision may have more rows */
		last = row_change_place(r->rows[i - 1].key);
		s->meta.reclaimed = last.revision - 1;
		s->reclaim_ordinal = last.ordinal + 1;
	}
	return 0;
}

static int tombstone(void *arg, struct cairn_slice key, struct cairn_slice body)
{
	struct reclaim *r = arg;
	struct record_head head;

	if (record_head_decode(body, &head) < 0)
		return view_damaged(r->w.s, key);
	if (head.revision > r->oldest)
		return 0;
	return r->count == STEP ? 1 : view_row_of(r->w.s, key, &r->rows[r->count++]);
}

/* Without history no change row leads to a tombstone. */
static int remove_tombstones(struct reclaim *r)
{
	struct store *s = r->w.s;
	unsigned char from[1] = { ROW_GONE }, to[1] = { ROW_GONE + 1 };
	struct cairn_slice body;
	int e;

	r->rows = view_alloc(s, STEP * sizeof(*r->rows));
	e = r->rows ? view_each(s, cairn_slice(from, 1), cairn_slice(to, 1), tombstone, r) : -ENOMEM;
	for (size_t i = 0; e >= 0 && i < r->count; i++) {
		e = view_get(s, &r->rows[i], &body);
		if (e == 0)
			e = remove_row(r, &r->rows[i], body, 0);
	}
	r->count = 0;
	return e < 0 ? e : 0;
}

enum cairn_code store_reclaim(struct store *s, uint64_t now_ns, bool sync, bool *more,
			      struct cairn_error *error)
{
	struct cairn_error unused;
	struct reclaim r = { .w = { .s = s, .error = &unused, .answer = &s->scratch } };
	int e = 0;

	*more = false;
	if (s->stop.code || !history_reclaims(&s->meta))
		return CAIRN_OK;
	batch_begin(s);
	r.oldest = pins_oldest(s, now_ns);
	r.bound_ns = s->meta.history ? history_bound_ns(&s->meta) : UINT64_MAX;
	if (!s->meta.history)
		e = remove_tombstones(&r);
	if (e == 0 && r.removed < STEP)
		e = look_at_all(&r);
	if (e < 0 && !s->stop.code)
		cairn_fail(&s->stop, cairn_error_from_errno(-e), "reclaiming history: %s", strerror(-e));
	*more = e == 0 && !r.ended;
	return batch_end(s, r.removed != 0, sync, error);
}
