/*
 * History and the log of changes, which are one set of rows: each change of a key writes a row at its
 * revision and ordinal; when its version is replaced, that version's record goes into the row. A removed key
 * leaves a tombstone: a record without a value, that is replaced like any other when the key is made again.
 *
 * A version that was replaced by a change which keeps its bytes where they are (append, attributes) has no
 * content of its own in history: it is the first bytes of its successor. Every 64th stands whole, so that a
 * reader goes through few of them.
 */
#include <errno.h>
#include "content.h"
#include "history.h"
#include "banned.h"

static int change_row(struct work *w, uint64_t revision, uint32_t ordinal, struct row *row)
{
	unsigned char key[ROW_CHANGE_KEY];

	return view_row_of(w->s, row_change_key(key, revision, ordinal), row);
}

/* Write C at its place. */
static int put_change(struct work *w, uint64_t revision, uint32_t ordinal, const struct change *c)
{
	size_t size = change_size(c);
	unsigned char *body = view_alloc(w->s, size);
	struct row row;

	if (!body || change_row(w, revision, ordinal, &row) < 0)
		return -ENOMEM;
	change_encode(c, body);
	if (c->record.len)
		w->s->meta.history_used += row.key.len + size + c->held;
	return view_put(w->s, &row, cairn_slice(body, size));
}

int history_changed(struct work *w, struct cairn_slice key, const struct record *r, bool gone)
{
	if (!w->s->meta.history)
		return 0;
	return put_change(w, r->head.revision, r->head.ordinal,
			  &(struct change){ .time_ns = r->head.time_ns,
					    .kind = r->head.change,
					    .flags = gone ? CHANGE_GONE : 0,
					    .key = key,
					    .other = r->other });
}

int history_forget(struct work *w, const struct row *row, const struct change *c)
{
	const struct meta *m = &w->s->meta;
	struct change left = *c;
	unsigned char *body;

	if (c->time_ns <= history_bound_ns(m) || row_change_place(row->key).revision <= m->floor)
		return view_delete(w->s, row);
	left.record = cairn_slice(NULL, 0);
	left.next_revision = left.next_time_ns = left.held = 0;
	left.next_ordinal = 0;
	body = view_alloc(w->s, change_size(&left));
	if (!body)
		return -ENOMEM;
	change_encode(&left, body);
	return view_put(w->s, row, cairn_slice(body, change_size(&left)));
}

/* The version OLD goes into its row as BODY. */
static int keep(struct work *w, struct cairn_slice key, const struct record *old, struct cairn_slice body,
		const struct record_head *next, bool gone, uint64_t held)
{
	return put_change(w, old->head.revision, old->head.ordinal,
			  &(struct change){ .time_ns = old->head.time_ns,
					    .next_revision = next->revision,
					    .next_time_ns = next->time_ns,
					    .next_ordinal = next->ordinal,
					    .kind = old->head.change,
					    .flags = gone ? CHANGE_GONE : 0,
					    .held = held,
					    .key = key,
					    .other = old->other,
					    .record = body });
}

/* How many entries at the end of both lists are the same chunks. */
static size_t common_end(struct cairn_slice a, struct cairn_slice b)
{
	size_t n = 0, most = pieces_count(a) < pieces_count(b) ? pieces_count(a) : pieces_count(b);

	while (n < most &&
	       pieces_entry(a, pieces_count(a) - 1 - n).chunk ==
		       pieces_entry(b, pieces_count(b) - 1 - n).chunk)
		n++;
	return n;
}

/* Chunks of OLD that NEXT has at the same place are held by both from now on; *HELD are the bytes of those
 * that it does not have. */
static enum cairn_code share(struct work *w, const struct record *old, const struct record *next,
			     uint64_t *held)
{
	size_t n = pieces_count(old->chunks), moved = n - common_end(old->chunks, next->chunks);

	for (size_t i = 0; i < n; i++) {
		struct piece p = pieces_entry(old->chunks, i);
		enum cairn_code code = CAIRN_OK;

		if (i < pieces_count(next->chunks) && pieces_entry(next->chunks, i).chunk == p.chunk)
			code = chunk_hold(w, &p);
		else if (i < moved)
			*held += p.length;
		if (code)
			return code;
	}
	return CAIRN_OK;
}

static bool keeps_bytes(enum change_kind change)
{
	return change == CHANGE_APPEND || change_keeps_value(change);
}

/*
 * What is kept for a reader: R has nothing before it, but the key may have been there before and gone. That
 * tombstone goes into its change row, and R's row leads there; whoever does not read for a pin finds it not
 * visible, and the answer about R does not show it.
 */
static int link_grave(struct work *w, struct cairn_slice key, struct record *r)
{
	struct cairn_slice body;
	struct record t;
	struct row row;
	int e;

	if (!w->s->pinning || r->previous_revision)
		return 0;
	e = view_row(w->s, ROW_GONE, key, &row);
	if (e == 0)
		e = view_get(w->s, &row, &body);
	if (e < 0)
		return e == -ENOENT ? 0 : e;
	if (record_decode(body, &t) < 0)
		return view_damaged(w->s, row.key);
	r->previous_revision = t.head.revision;
	r->previous_ordinal = t.head.ordinal;
	w->s->meta.history_used -= row.key.len + body.len;
	e = keep(w, key, &t, body, &r->head, true, 0);
	return e < 0 ? e : view_delete(w->s, &row);
}

/* OLD, with what of its content stays with it, goes into its row. */
static int keep_record(struct work *w, struct cairn_slice key, struct record *old,
		       const struct record_head *next, uint64_t held)
{
	unsigned char *body;
	size_t size;

	if (link_grave(w, key, old) < 0)
		return -EIO;
	size = record_size(old);
	body = view_alloc(w->s, size);
	if (!body)
		return -ENOMEM;
	record_encode(old, body);
	return keep(w, key, old, cairn_slice(body, size), next, false, held);
}

enum cairn_code history_replaced(struct work *w, struct cairn_slice key, const struct record *old,
				 const struct record *next, enum change_kind change)
{
	struct record r = *old;
	uint64_t held = 0;
	enum cairn_code code;

	if (keeps_bytes(change) && old->head.version % HISTORY_WHOLE && w->s->meta.history) {
		r.content = r.chunks = cairn_slice(NULL, 0);
		r.head.flags |= RECORD_DERIVED;
		code = content_release(w, old, next);
	} else if (change == CHANGE_SWAP) {
		code = content_hold(w, old);
	} else {
		code = share(w, old,
			     keeps_bytes(change) || change == CHANGE_PATCH ? next : &(struct record){ 0 },
			     &held);
	}
	if (code)
		return code;
	return keep_record(w, key, &r, &next->head, held) < 0 ? work_stopped(w) : CAIRN_OK;
}

/* Put the tombstone T for KEY. One that is still there, not visible, goes into its change row, where reclaim
 * finds it. */
static int put_tombstone(struct work *w, struct cairn_slice key, const struct record *t)
{
	size_t size = record_size(t);
	unsigned char *body = view_alloc(w->s, size);
	struct cairn_slice was;
	struct record old;
	struct row row;
	int e;

	if (!body || view_row(w->s, ROW_GONE, key, &row) < 0)
		return -ENOMEM;
	e = view_get(w->s, &row, &was);
	if (e == 0 && record_decode(was, &old) < 0)
		e = view_damaged(w->s, row.key);
	if (e == 0) {
		w->s->meta.history_used -= row.key.len + was.len;
		e = keep(w, key, &old, was, &t->head, true, 0);
	}
	if (e < 0 && e != -ENOENT)
		return e;
	record_encode(t, body);
	w->s->meta.history_used += row.key.len + size;
	return view_put(w->s, &row, cairn_slice(body, size));
}

enum cairn_code history_removed(struct work *w, const struct live *l, uint32_t ordinal,
				enum change_kind change, struct cairn_slice to)
{
	bool moved = change == CHANGE_MOVE || change == CHANGE_MOVE_PREFIX;
	struct cairn_slice key = cairn_slice((const char *)l->row.key.data + 1, l->row.key.len - 1);
	struct record t = {
		.head = { .revision = w->revision,
			  .time_ns = w->time_ns,
			  .version = l->r.head.version + 1,
			  .ordinal = ordinal,
			  .kind = l->r.head.kind,
			  .change = (uint8_t)change },
		.create_revision = l->r.create_revision,
		.since = l->r.since,
		.data_version = l->r.data_version,
		.previous_revision = l->r.head.revision,
		.previous_ordinal = l->r.head.ordinal,
		.file_id = l->r.file_id,
		.author = w->author,
		.face = w->face,
		.other = to,
	};
	struct record old = l->r;
	uint64_t held = 0;
	enum cairn_code code;

	code = moved ? content_hold(w, &l->r) : share(w, &l->r, &(struct record){ 0 }, &held);
	if (code)
		return code;
	if (keep_record(w, key, &old, &t.head, held) < 0 || put_tombstone(w, key, &t) < 0 ||
	    history_changed(w, key, &t, true) < 0)
		return work_stopped(w);
	return CAIRN_OK;
}

int history_revive(struct work *w, struct cairn_slice key, struct record *next)
{
	struct cairn_slice body;
	struct record t;
	struct row row;
	int e;

	e = view_row(w->s, ROW_GONE, key, &row);
	if (e == 0)
		e = view_get(w->s, &row, &body);
	if (e < 0)
		return e == -ENOENT ? 0 : e;
	if (record_decode(body, &t) < 0)
		return view_damaged(w->s, row.key);
	if (!history_shows_gone(&w->s->meta, &t.head)) {
		if (w->s->pinning) /* a reader may need it where it is */
			return 0;
	} else {
		next->head.version = t.head.version + 1;
		next->data_version = t.data_version + 1;
		next->previous_revision = t.head.revision;
		next->previous_ordinal = t.head.ordinal;
		next->since = t.since;
	}
	w->s->meta.history_used -= row.key.len + body.len;
	e = keep(w, key, &t, body, &next->head, true, 0);
	return e < 0 ? e : view_delete(w->s, &row);
}

enum cairn_code history_prefix(struct work *w, struct cairn_slice prefix, struct cairn_slice to)
{
	struct change c = { .time_ns = w->time_ns,
			    .kind = CHANGE_MOVE_PREFIX,
			    .flags = CHANGE_IS_PREFIX,
			    .key = prefix,
			    .other = to };

	uint32_t ordinal = w->ordinal++;

	feed_change(w, prefix, &(struct record){ 0 }, ordinal, CHANGE_MOVE_PREFIX, EVENT_PREFIX, to);
	if (!w->s->meta.history)
		return CAIRN_OK;
	return put_change(w, w->revision, ordinal, &c) < 0 ? work_stopped(w) : CAIRN_OK;
}
