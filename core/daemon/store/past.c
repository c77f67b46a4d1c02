/*
 * One key's history, newest first: each record names the change row of the version before. The walk ends
 * where a version is not visible, whether its row is still there or not: older ones are not visible either.
 * The value of a version that has none of its own is looked for in those that the walk came by.
 */
#include <errno.h>
#include "past.h"
#include "state.h"
#include "banned.h"

#define FORGET_STEPS 64

/* The change row at PLACE. */
static int get_change(struct past *p, struct change_place place, struct change *c)
{
	unsigned char key[ROW_CHANGE_KEY];
	struct cairn_slice body;
	int e = p->get(p->arg, row_change_key(key, place.revision, place.ordinal), &body);

	return e < 0 ? e : change_decode(body, c);
}

static int get_newest(struct past *p, enum row_tag tag, struct record *r)
{
	unsigned char buffer[STORE_KEY_MAX + 1];
	struct cairn_slice body;
	int e = p->get(p->arg, row_key(buffer, tag, p->key), &body);

	return e < 0 ? e : record_decode(body, r);
}

static void at_newest(struct past *p)
{
	p->gone = p->newest_gone;
	p->newest = p->record;
	p->source = (struct change_place){ 0 };
}

int past_first(struct past *p)
{
	int e;

	/* A key that comes between the two looks has been made in this moment: look again. */
	for (unsigned i = 0; i < 2; i++) {
		e = get_newest(p, ROW_LATEST, &p->record);
		p->newest_gone = e == -ENOENT;
		if (e == -ENOENT)
			e = get_newest(p, ROW_GONE, &p->record);
		if (e != -ENOENT)
			break;
	}
	if (e < 0)
		return e;
	at_newest(p);
	if (p->gone && !p->all && !history_shows_gone(p->meta, &p->record.head))
		return -ENOENT;
	return 0;
}

static int go(struct past *p, struct change_place place)
{
	struct change c;
	struct record r;
	int e = get_change(p, place, &c);

	if (e == 0 && !c.record.len)
		e = -ENOENT;
	if (e == 0)
		e = record_decode(c.record, &r);
	if (e == 0 && !cairn_slice_eq(c.key, p->key))
		e = -EUCLEAN;
	if (e < 0)
		return e;
	if (!p->all && !history_shows(p->meta, &r.head, &c, &p->newest, p->newest_gone))
		return -ENOENT;
	p->record = r;
	p->gone = c.flags & CHANGE_GONE;
	if (!(r.head.flags & RECORD_DERIVED))
		p->source = place;
	return 0;
}

/* A key that was made again where its tombstone was not visible does not know of it; for a reader it was
 * left. */
static int go_grave(struct past *p)
{
	uint64_t revision = p->record.head.revision;
	int e = get_newest(p, ROW_GONE, &p->record);

	p->gone = true;
	return e == 0 && p->record.head.revision >= revision ? -ENOENT : e;
}

int past_next(struct past *p)
{
	struct change_place place = { p->record.previous_revision, p->record.previous_ordinal };
	int e;

	if (!place.revision)
		return p->all && !p->gone ? go_grave(p) : -ENOENT;
	if (p->most && p->steps == p->most)
		return -E2BIG;
	if (p->forget && p->steps % FORGET_STEPS == FORGET_STEPS - 1)
		p->forget(p->arg);
	e = go(p, place);
	p->steps += e == 0; /* not those that are invisible: their rows may be there or not */
	return e;
}

int past_seek(struct past *p, struct change_place place)
{
	return place.revision == p->record.head.revision && place.ordinal == p->record.head.ordinal
		? 0
		: go(p, place);
}

int past_at(struct past *p, uint64_t revision)
{
	int e = past_first(p);

	while (e == 0 && p->record.head.revision > revision)
		e = past_next(p);
	return e == 0 && p->gone ? -ENOENT : e;
}

int past_value(struct past *p, struct record *r)
{
	struct record source;
	struct change c;
	int e = 0;

	*r = p->record;
	if (!(r->head.flags & RECORD_DERIVED))
		return 0;
	if (!p->source.revision) {
		e = get_newest(p, ROW_LATEST, &source);
	} else {
		e = get_change(p, p->source, &c);
		if (e == 0)
			e = record_decode(c.record, &source);
	}
	if (e < 0)
		return e == -ENOENT ? -EUCLEAN : e;
	if (source.head.length < r->head.length)
		return -EUCLEAN;
	r->chunks = source.chunks;
	if (!source.chunks.len)
		r->content = cairn_slice(source.content.data, r->head.length);
	return 0;
}

/* The commit time of REVISION: 0, -ENOENT where its row is not there (then it is old). */
static int time_of(struct past *p, uint64_t revision, uint64_t *time_ns)
{
	struct change c;
	int e = get_change(p, (struct change_place){ revision, 0 }, &c);

	if (e == 0)
		*time_ns = c.time_ns;
	return e;
}

int past_complete(struct past *p, uint64_t revision)
{
	uint64_t time_ns = 0;
	int e;

	if (revision >= p->meta->revision)
		return revision == p->meta->revision;
	if (!p->meta->history || revision < p->meta->floor)
		return 0;
	e = time_of(p, revision + 1, &time_ns);
	if (e < 0)
		return e == -ENOENT ? 0 : e;
	return time_ns > history_bound_ns(p->meta);
}

int past_by_time(struct past *p, uint64_t time_ns, uint64_t *revision)
{
	uint64_t low = p->meta->floor, high = p->meta->history ? p->meta->revision : low;

	/* Every revision up to LOW is older than TIME_NS or as old; every one above HIGH is newer. */
	while (low < high) {
		uint64_t middle = low + (high - low + 1) / 2, t = 0;
		int e = time_of(p, middle, &t);

		if (e < 0 && e != -ENOENT)
			return e;
		if (e == -ENOENT || t <= time_ns)
			low = middle;
		else
			high = middle - 1;
		if (p->forget)
			p->forget(p->arg);
	}
	*revision = p->meta->history ? low : p->meta->revision;
	return 0;
}

int past_oldest(struct past *p, uint64_t *revision)
{
	return past_by_time(p, history_bound_ns(p->meta), revision);
}
