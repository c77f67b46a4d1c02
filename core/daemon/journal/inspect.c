/*
 * Walking over the segments of a journal without opening it. As in recovery a segment ends where the next one
 * begins, and what an earlier life of a file left in it has another epoch or a lower sequence. Other than
 * recovery, it goes on behind damage: at the next whole batch.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include "inside.h"
#include "inspect.h"
#include "sys.h"
#include "banned.h"

struct looked {
	struct segment *segment;
	uint64_t first; /* lowest sequence of a whole batch in it; 0: there is none */
	uint64_t epoch;
};

struct look {
	int dir;
	struct looked *files; /* owned; by number */
	size_t count, cap;
	struct scan_buffer buffer;
	uint64_t newest; /* sequence of the last batch that was met */
	const struct journal_visitor *v;
	char name[NAME_ROOM]; /* of the present file */
};

static int by_number(const void *a, const void *b)
{
	uint64_t x = ((const struct looked *)a)->segment->number,
		 y = ((const struct looked *)b)->segment->number;

	return x < y ? -1 : x > y;
}

static int take_name(void *arg, const char *name)
{
	struct look *l = arg;
	uint64_t number = segment_number(name, NAME_SEGMENT);
	struct segment *s;
	int e;

	if (!number)
		return 0;
	if (l->count == l->cap) {
		size_t cap = l->cap ? 2 * l->cap : 16;
		void *p = realloc(l->files, cap * sizeof(*l->files));

		if (!p)
			return -ENOMEM;
		l->files = p;
		l->cap = cap;
	}
	e = segment_open(l->dir, name, O_RDONLY, number, &s);
	if (e < 0)
		return e == -EISDIR || e == -ENXIO ? 0 : e;
	l->files[l->count++] = (struct looked){ .segment = s };
	return 0;
}

/* Where each file begins. */
static int look_at_firsts(struct look *l)
{
	uint64_t newest = 0, at;

	for (size_t i = 0; i < l->count; i++) {
		struct scan_source source = segment_source(l->files[i].segment);
		struct batch_head h;
		int e = scan_batch(&source, 0, &l->buffer, &h);

		if (e == -ENOENT || (e == 0 && h.sequence < newest))
			e = scan_later(&source, 0, newest, 0, &l->buffer, &at, &h);
		if (e < 0 && e != -ENOENT)
			return e;
		if (e < 0)
			continue;
		l->files[i].first = newest = h.sequence;
		l->files[i].epoch = h.epoch;
	}
	return 0;
}

/* What stands at AT is no batch; BYTES say how much of it, or 0: the end of the last one is missing. */
static int tell_damage(struct look *l, const struct scan_source *s, uint64_t at, uint64_t bytes)
{
	struct cairn_slice records = { NULL, 0 };
	bool torn = !bytes;
	struct batch_head h;
	int e = scan_batch(s, at, &l->buffer, &h);

	if (e < 0 && e != -ENOENT)
		return e;
	if (h.sequence && h.length <= s->size - at - BATCH_HEAD && l->buffer.cap >= BATCH_HEAD + h.length)
		records = cairn_slice(l->buffer.data + BATCH_HEAD, h.length);
	if (torn)
		bytes = batch_span(h.length);
	return l->v->damage ? l->v->damage(l->v->arg, l->name, at, bytes, torn, &h, records) : 0;
}

/* The chain is broken at *AT: go to the next whole batch, or *ENDED. */
static int skip(struct look *l, const struct looked *f, const struct scan_source *s, uint64_t limit,
		uint64_t *at, bool *ended)
{
	struct batch_head here, h;
	uint64_t later;
	int e = scan_batch(s, *at, &l->buffer, &here), found;

	if (e < 0 && e != -ENOENT)
		return e;
	found = scan_later(s, *at + BATCH_SECTOR, l->newest, f->epoch, &l->buffer, &later, &h);
	if (found < 0 && found != -ENOENT)
		return found;
	if (found == 0 && (!limit || h.sequence <= limit)) {
		e = tell_damage(l, s, *at, later - *at);
		*at = later;
		return e;
	}
	*ended = true;
	if (limit && l->newest < limit) /* the next file says that there were more */
		return tell_damage(l, s, *at, s->size > *at ? s->size - *at : BATCH_SECTOR);
	if (e == -ENOENT && here.sequence == l->newest + 1 && here.epoch == f->epoch)
		return tell_damage(l, s, *at, 0);
	return 0;
}

/* Behind the last batch of all: whether the file was longer, as its batches say. */
static int tell_cut(struct look *l, uint64_t size, uint64_t was)
{
	static const struct batch_head none;

	if (size >= was || !l->v->damage)
		return 0;
	return l->v->damage(l->v->arg, l->name, size, was - size, false, &none, cairn_slice("", 0));
}

static int look_at(struct look *l, size_t i)
{
	const struct looked *f = &l->files[i];
	struct scan_source s = segment_source(f->segment);
	uint64_t limit = 0, at = 0, was = JOURNAL_SEGMENT_MIN;
	struct batch_head h;
	bool ended = !f->first;
	int e = 0;

	snprintf(l->name, sizeof(l->name), NAME_SEGMENT, (unsigned long long)f->segment->number);
	if (l->v->segment && (e = l->v->segment(l->v->arg, l->name, s.size)))
		return e;
	for (size_t k = i + 1; k < l->count && !limit; k++)
		limit = l->files[k].first ? l->files[k].first - 1 : 0;
	while (!ended && e == 0 && (!limit || l->newest < limit)) {
		e = scan_batch(&s, at, &l->buffer, &h);
		if (e == 0 && h.epoch == f->epoch && h.sequence > l->newest &&
		    (!limit || h.sequence <= limit)) {
			l->newest = h.sequence;
			was = h.file;
			if (l->v->batch)
				e = l->v->batch(l->v->arg, l->name, at, &h,
						cairn_slice(l->buffer.data + BATCH_HEAD, h.length));
			at += batch_span(h.length);
		} else if (e == 0 || e == -ENOENT) {
			e = skip(l, f, &s, limit, &at, &ended);
		}
	}
	return e || limit ? e : tell_cut(l, s.size, was);
}

int journal_inspect(const char *folder, const struct journal_visitor *v, struct cairn_error *error)
{
	struct look l = { .v = v, .dir = sys->openat(AT_FDCWD, folder, O_RDONLY | O_DIRECTORY, 0) };
	int e = l.dir < 0 ? l.dir : sys->list(l.dir, take_name, &l);

	if (e == 0 && l.count)
		qsort(l.files, l.count, sizeof(*l.files), by_number);
	if (e == 0)
		e = look_at_firsts(&l);
	for (size_t i = 0; i < l.count && e == 0; i++)
		e = look_at(&l, i);
	for (size_t i = 0; i < l.count; i++)
		segment_free(l.files[i].segment);
	free(l.files);
	free(l.buffer.data);
	if (l.dir >= 0)
		sys->close(l.dir);
	if (e == -EPROTONOSUPPORT)
		return cairn_fail(error, CAIRN_E_UNSUPPORTED,
				  "the journal %s has a newer format: a newer release is needed", folder);
	return e < 0 ? (int)cairn_fail(error, cairn_error_from_errno(-e), "the journal %s: %s", folder,
				       strerror(-e))
		     : e;
}
