/*
 * Changes out of history: for a watch that begins in the past. The rows of changes stand in the order in
 * which they happened; what a change made stands in its row where it was replaced since, else in the key's
 * newest record or tombstone. Rows that are not kept whole any more end it: COMPACTED.
 */
#include <errno.h>
#include "past.h"
#include "read.h"
#include "banned.h"

struct walk {
	struct reader r;
	struct meta meta;
	struct change_cursor *cursor;
	store_event_fn *want, *fn;
	void *arg;
};

/* The record that the change C at PLACE made, or the tombstone that it left. -ENOENT where it is not there.
 */
static int find_record(struct walk *w, const struct change *c, struct change_place place,
		       struct record *record)
{
	unsigned char buffer[STORE_KEY_MAX + 1];
	enum row_tag tag = c->flags & CHANGE_GONE ? ROW_GONE : ROW_LATEST;
	struct cairn_slice body;
	int e;

	if (c->record.len)
		return record_decode(c->record, record);
	e = read_row(&w->r, row_key(buffer, tag, c->key), &body);
	if (e == 0)
		e = record_decode(body, record);
	if (e == 0 && (record->head.revision != place.revision || record->head.ordinal != place.ordinal))
		e = -ENOENT;
	return e;
}

static void add_record(struct store_event *e, const struct record *r)
{
	bool value = !(e->flags & EVENT_GONE) && !r->chunks.len && !(r->head.flags & RECORD_DERIVED);

	e->flags |= (uint16_t)(EVENT_KNOWN | (value ? EVENT_VALUE : 0u) |
			       (r->head.flags & RECORD_OPEN ? EVENT_OPEN : 0u));
	e->size = r->head.length;
	e->version = r->head.version;
	e->file_id = r->file_id;
	e->create_revision = r->create_revision;
	e->kind = r->head.kind;
	e->author = r->author;
	e->face = r->face;
	e->other = r->other;
	e->value = value ? r->content : cairn_slice(NULL, 0);
}

/* One row of a change: 1 where FN wants no more, 0, or -errno. */
static int one(struct walk *w, struct cairn_slice key, struct cairn_slice value)
{
	struct change_place place;
	struct store_event event;
	struct record record;
	struct cairn_slice body = value;
	struct change c;
	bool more = true;
	int e = key.len == ROW_CHANGE_KEY ? 0 : -EUCLEAN;

	if (e == 0 && w->r.s->checksums)
		e = row_verify(key, value, &body);
	if (e == 0)
		e = change_decode(body, &c);
	if (e < 0)
		return e;
	place = row_change_place(key);
	event = (struct store_event){
		.revision = place.revision,
		.time_ns = c.time_ns,
		.ordinal = place.ordinal,
		.flags = (uint16_t)((c.flags & CHANGE_GONE ? EVENT_GONE : 0u) |
				    (c.flags & CHANGE_IS_PREFIX ? EVENT_PREFIX : 0u)),
		.change = c.kind,
		.key = c.key,
		.other = c.other,
	};
	if (!w->want || w->want(w->arg, &event)) {
		e = event.flags & EVENT_PREFIX ? -ENOENT : find_record(w, &c, place, &record);
		if (e == 0)
			add_record(&event, &record);
		else if (e != -ENOENT)
			return e;
		more = w->fn(w->arg, &event);
	}
	*w->cursor = (struct change_cursor){ place.revision, place.ordinal + 1 };
	return !more;
}

static int rows(struct walk *w, bool *end)
{
	const struct engine *engine = w->r.s->engine;
	unsigned char from[ROW_CHANGE_KEY], to[1] = { ROW_CHANGE + 1 };
	struct cairn_slice start = row_change_key(from, w->cursor->revision, w->cursor->ordinal);
	void *it;
	int e = engine->ops.iter_open(engine->handle, w->r.snapshot, start, cairn_slice(to, 1), 0, &it);

	if (e < 0)
		return e;
	for (unsigned n = 0; e == 0 && n < STORE_CHANGES_LOOK; n++) {
		struct cairn_slice key = { 0 }, value;

		e = engine->ops.iter_next(it, &key, &value);
		*end = e == 0 && (!key.data || row_change_place(key).revision > w->meta.revision);
		if (*end || e < 0)
			break;
		e = one(w, key, value);
	}
	engine->ops.iter_close(it);
	if (*end)
		*w->cursor = (struct change_cursor){ w->meta.revision + 1, 0 };
	return e < 0 ? e : 0;
}

static enum cairn_code compacted(struct walk *w, struct past *p)
{
	uint64_t oldest = w->meta.revision;
	int e = past_oldest(p, &oldest);

	if (e < 0)
		return read_failed(&w->r, e, cairn_str("history"));
	cairn_fail(
		w->r.error, CAIRN_E_COMPACTED,
		"the changes of revision %llu are not kept any more; the oldest that are kept are those of "
		"%llu",
		(unsigned long long)w->cursor->revision, (unsigned long long)oldest + 1);
	if (w->r.error)
		w->r.error->revision = oldest + 1;
	return CAIRN_E_COMPACTED;
}

enum cairn_code store_changes(struct store *s, struct change_cursor *cursor, store_event_fn *want,
			      store_event_fn *fn, void *arg, bool *end, struct cairn_error *error)
{
	struct walk w = {
		.r = { .s = s, .error = error }, .cursor = cursor, .want = want, .fn = fn, .arg = arg
	};
	enum cairn_code code = CAIRN_OK;
	struct past p;
	int e = read_open(&w.r, &w.meta), complete = 0;

	*end = false;
	p = read_past(&w.r, &w.meta, cairn_slice(NULL, 0));
	if (e == 0)
		e = complete = past_complete(&p, cursor->revision ? cursor->revision - 1 : 0);
	if (e >= 0 && !complete)
		code = compacted(&w, &p);
	else if (e >= 0)
		e = rows(&w, end);
	if (e < 0)
		code = read_failed(&w.r, e, cairn_str("history"));
	read_close(&w.r);
	return code;
}
