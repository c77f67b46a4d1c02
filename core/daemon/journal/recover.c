/*
 * Reading the folder when the journal is opened: all segments by number, each up to the place where the next
 * one takes over, as one chain of batches. Where the chain ends there was either a batch that had not been
 * synced, which is cut, or damage: the difference is a later batch that knew this one to be on disk.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include "inside.h"
#include "sys.h"
#include "banned.h"

/* One file of the folder, while it is read. */
struct found {
	struct segment *segment;
	uint64_t first; /* sequence of its first batch; 0: it is empty */
	uint64_t epoch;
	uint32_t previous; /* checksum that the first batch gives of the one before it */
};

struct recovery {
	struct journal *j;
	struct found *files; /* owned; by number */
	size_t count, cap;
	struct scan_buffer buffer;
	char name[NAME_ROOM];        /* of the file that could not be opened, or empty */
	struct segment *segment;     /* being scanned */
	struct segment *last;        /* where the chain ends, */
	uint64_t last_at, last_torn; /* and at which place */
	uint64_t last_epoch;
	uint64_t was; /* bytes that the file that is scanned has had, as its batches say */
	struct cairn_error *error;
};

static int by_number(const void *a, const void *b)
{
	uint64_t x = ((const struct found *)a)->segment->number,
		 y = ((const struct found *)b)->segment->number;

	return x < y ? -1 : x > y;
}

static void name_of(const struct segment *s, char name[NAME_ROOM])
{
	snprintf(name, NAME_ROOM, NAME_SEGMENT, (unsigned long long)s->number);
}

static enum cairn_code trouble(struct recovery *r, const struct segment *s, int e)
{
	char name[NAME_ROOM];

	name_of(s, name);
	if (e == -EPROTONOSUPPORT)
		return cairn_fail(r->error, CAIRN_E_UNSUPPORTED,
				  "%s/%s has a newer format: a newer release is needed", r->j->folder, name);
	return cairn_fail(r->error, e == -EINVAL ? CAIRN_E_CORRUPT : cairn_error_from_errno(-e), "%s/%s: %s",
			  r->j->folder, name, e == -EINVAL ? "holds records of no known form" : strerror(-e));
}

static int take_name(void *arg, const char *name)
{
	struct recovery *r = arg;
	struct journal *j = r->j;
	uint64_t number = segment_number(name, NAME_SPARE);
	int e, flags = j->options.read_only ? O_RDONLY : O_RDWR;
	struct segment *s;

	if (number) {
		snprintf(r->name, sizeof(r->name), "%s", name);
		if ((e = segment_open(j->dir, name, flags, number, &s)) < 0)
			return e;
		r->name[0] = 0;
		s->next = j->spares;
		j->spares = s;
		j->spare_count++;
		j->next_spare = number >= j->next_spare ? number + 1 : j->next_spare;
		return 0;
	}
	number = segment_number(name, NAME_SEGMENT);
	if (!number)
		return 0; /* somebody else's */
	snprintf(r->name, sizeof(r->name), "%s", name);
	if (r->count == r->cap) {
		size_t cap = r->cap ? 2 * r->cap : 16;
		void *p = realloc(r->files, cap * sizeof(*r->files));

		if (!p)
			return -ENOMEM;
		r->files = p;
		r->cap = cap;
	}
	e = segment_open(j->dir, name, flags, number, &s);
	if (e < 0)
		return e;
	r->files[r->count++] = (struct found){ .segment = s };
	r->name[0] = 0;
	return 0;
}

/* Find out which segments are empty: their first batch is not whole, or older than one before it. */
static enum cairn_code look_at_firsts(struct recovery *r)
{
	uint64_t newest = 0;

	for (size_t i = 0; i < r->count; i++) {
		struct scan_source source = segment_source(r->files[i].segment);
		struct batch_head h;
		int e = scan_batch(&source, 0, &r->buffer, &h);

		if (e < 0 && e != -ENOENT)
			return trouble(r, r->files[i].segment, e);
		if (e == 0 && h.sequence >= newest) {
			r->files[i].first = newest = h.sequence;
			r->files[i].epoch = h.epoch;
			r->files[i].previous = h.previous;
		}
	}
	return CAIRN_OK;
}

static int take_batch(void *arg, uint64_t at, const struct batch_head *h, struct cairn_slice records)
{
	struct recovery *r = arg;

	if (h->file > r->was)
		r->was = h->file;
	return shards_take(r->j, r->segment, at, records);
}

static enum cairn_code damaged(struct recovery *r, const struct segment *later, uint64_t at,
			       uint64_t sequence)
{
	char name[NAME_ROOM], other[NAME_ROOM];

	name_of(r->last ? r->last : later, name);
	name_of(later, other);
	cairn_fail(r->error, CAIRN_E_CORRUPT,
		   "the journal %s/%s is damaged at offset %llu: a batch is missing there that had been "
		   "synced (%s "
		   "has batch %llu at offset %llu)",
		   r->j->folder, name, (unsigned long long)r->last_at, other, (unsigned long long)sequence,
		   (unsigned long long)at);
	cairn_hint(r->error, "'cairn repair --dir DATA' keeps what is whole in it, and all damaged files");
	return CAIRN_E_CORRUPT;
}

/* Follow the chain through file I. */
static enum cairn_code follow(struct recovery *r, size_t i)
{
	struct found *f = &r->files[i];
	struct scan_chain *c = &r->j->chain;
	struct scan_source source = segment_source(f->segment);
	uint64_t limit = 0;
	int e;

	if (c->sequence && f->first != c->sequence + 1)
		return damaged(r, f->segment, 0, f->first);
	for (size_t k = i + 1; k < r->count && !limit; k++)
		limit = r->files[k].first;
	if (limit == f->first) /* the next one stands in its place */
		return CAIRN_OK;
	r->segment = f->segment;
	r->was = 0;
	e = scan_chain(&source, limit ? limit - 1 : 0, c, &r->buffer, take_batch, r, &r->last_at,
		       &r->last_torn);
	if (e < 0)
		return trouble(r, f->segment, e);
	r->last = f->segment;
	r->last_epoch = f->epoch;
	return CAIRN_OK;
}

/* Whether a file before the first one that is not empty, LIVE, has the batch before that: then its own first
 * batch is damaged. */
static enum cairn_code look_before(struct recovery *r, size_t live)
{
	const struct found *f = &r->files[live];

	for (size_t i = 0; i < live && f->first > 1; i++) {
		struct scan_source source = segment_source(r->files[i].segment);
		struct batch_head h;
		uint64_t from = 0, at;
		int e;

		while ((e = scan_later(&source, from, f->first - 2, 0, &r->buffer, &at, &h)) == 0) {
			if (h.sequence == f->first - 1 && h.crc == f->previous) {
				r->last = r->files[i].segment;
				return damaged(r, r->last, at, h.sequence);
			}
			from = at + BATCH_SECTOR;
		}
		if (e != -ENOENT)
			return trouble(r, r->files[i].segment, e);
	}
	return CAIRN_OK;
}

/* Whether a batch behind the end of the chain proves that synced bytes are missing. */
static enum cairn_code look_behind(struct recovery *r)
{
	bool reached = false;

	for (size_t i = 0; i < r->count; i++) {
		struct segment *s = r->files[i].segment;
		struct scan_source source = segment_source(s);
		struct batch_head h;
		uint64_t from = s == r->last ? r->last_at + BATCH_SECTOR : 0, at;
		int e;

		reached = reached || s == r->last || !r->last;
		if (!reached)
			continue;
		do {
			e = scan_later(&source, from, r->j->chain.sequence, s == r->last ? r->last_epoch : 0,
				       &r->buffer, &at, &h);
			from = e == 0 ? at + BATCH_SECTOR : from;
		} while (e == 0 && h.durable <= r->j->chain.sequence);
		if (e == 0)
			return damaged(r, s, at, h.sequence);
		if (e != -ENOENT)
			return trouble(r, s, e);
	}
	return CAIRN_OK;
}

/* Whether the end of the chain is where it is since a file was cut: no crash makes one shorter. */
static bool look_for_cut(struct recovery *r, struct cairn_error *notice)
{
	struct segment *s = r->last;
	uint64_t at = r->last_at, size = s ? segment_source(s).size : 0;
	char name[NAME_ROOM];

	for (size_t i = 0; size >= r->was && i < r->count; i++)
		if (!r->files[i].first && (!r->last || r->files[i].segment->number > r->last->number) &&
		    segment_source(r->files[i].segment).size < JOURNAL_SEGMENT_MIN) {
			s = r->files[i].segment;
			at = 0;
			size = segment_source(s).size;
			r->was = JOURNAL_SEGMENT_MIN;
		}
	if (size >= r->was)
		return false;
	name_of(s, name);
	cairn_fail(
		notice, CAIRN_E_CORRUPT,
		"%s/%s is shorter than it was, which no crash does: %llu bytes are left of "
		"%llu; cut at offset %llu, %llu bytes dropped, and acknowledged writes may have been in them",
		r->j->folder, name, (unsigned long long)size, (unsigned long long)r->was,
		(unsigned long long)at, (unsigned long long)(r->was - at));
	return true;
}

static enum cairn_code read_all(struct recovery *r, struct cairn_error *notice)
{
	enum cairn_code code = look_at_firsts(r);
	char name[NAME_ROOM];
	size_t live = 0;
	int e;

	while (live < r->count && !r->files[live].first)
		live++;
	if (!code && live < r->count)
		code = look_before(r, live);
	for (size_t i = live; !code && i < r->count; i++)
		if (r->files[i].first)
			code = follow(r, i);
	if (!code)
		code = look_behind(r);
	/* What a process that was killed had written may not be on disk yet, and counts from here on. */
	if (!code && r->last && !r->j->options.read_only && (e = sys->fdatasync(r->last->fd)) < 0)
		code = trouble(r, r->last, e);
	if (!code && !look_for_cut(r, notice) && r->last_torn) {
		name_of(r->last, name);
		cairn_fail(notice, CAIRN_OK,
			   "%s/%s: its end was torn off by a crash: cut at offset %llu, %llu bytes dropped",
			   r->j->folder, name, (unsigned long long)r->last_at,
			   (unsigned long long)r->last_torn);
	}
	return code;
}

/*
 * Files become the journal's, whatever was found in them. Empty ones go at once, before any other: one that
 * has the batches of an earlier life must not outlive the later ones that make it an empty one.
 */
static void hand_over(struct recovery *r)
{
	struct segment **last = &r->j->segments, **gone = &r->j->retired;

	for (size_t i = 0; i < r->count; i++) {
		struct segment *s = r->files[i].segment;
		struct segment ***list = r->files[i].first ? &last : &gone;

		**list = s;
		*list = &s->next;
		if (r->files[i].first)
			r->j->current = s;
		r->j->next_segment = s->number + 1;
	}
}

enum cairn_code recover(struct journal *j, struct cairn_error *notice, struct cairn_error *error)
{
	struct recovery r = { .j = j, .error = error };
	enum cairn_code code;
	int e = sys->list(j->dir, take_name, &r);

	if (r.count)
		qsort(r.files, r.count, sizeof(*r.files), by_number);
	if (e == -EISDIR || e == -ENXIO)
		code = cairn_fail(error, CAIRN_E_CORRUPT,
				  "%s/%s is %s, and has the name of a file of the journal", j->folder, r.name,
				  e == -EISDIR ? "a folder" : "no file");
	else if (e < 0)
		code = cairn_fail(error, cairn_error_from_errno(-e), "reading the journal %s%s%s: %s",
				  j->folder, r.name[0] ? "/" : "", r.name, strerror(-e));
	else
		code = read_all(&r, notice);
	hand_over(&r);
	j->chain.durable = j->facts.sequence = j->chain.sequence;
	free(r.files);
	free(r.buffer.data);
	return code;
}
