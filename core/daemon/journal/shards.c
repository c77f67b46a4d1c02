/*
 * What the journal knows of each shard: where its entries stand, as ranges of neighbours, its hard state, and
 * the first index that it needs. The same code takes the records of batches that are read at the start and of
 * those that are written later.
 */
#include <errno.h>
#include <stdlib.h>
#include "inside.h"
#include "banned.h"

struct journal_shard *shards_find(struct journal *j, uint64_t id, bool make)
{
	struct journal_shard *s;

	for (s = j->shards; s; s = s->next)
		if (s->id == id)
			return s;
	s = make ? calloc(1, sizeof(*s)) : NULL;
	if (!s)
		return NULL;
	s->id = id;
	s->journal = j;
	s->next = j->shards;
	j->shards = s;
	return s;
}

int shards_reserve(struct journal_shard *s)
{
	size_t cap = s->cap ? 2 * s->cap : 16;
	struct range *p;

	if (s->head + s->count < s->cap)
		return 0;
	if (s->head > s->cap / 2) {
		memmove(s->ranges, s->ranges + s->head, s->count * sizeof(*s->ranges));
		s->head = 0;
		return 0;
	}
	p = realloc(s->ranges, cap * sizeof(*p));
	if (!p)
		return -ENOMEM;
	s->ranges = p;
	s->cap = cap;
	return 0;
}

static struct range *last_of(struct journal_shard *s)
{
	return s->count ? &s->ranges[s->head + s->count - 1] : NULL;
}

/* Drop INDEX and everything behind it. */
static void cut(struct journal_shard *s, uint64_t index)
{
	struct range *r;

	while ((r = last_of(s)) && r->first >= index) {
		r->segment->ranges--;
		s->count--;
	}
	if (r && r->last >= index) {
		r->last = index - 1;
		r->end = 0; /* nothing joins it */
	}
}

void shards_add(struct journal_shard *s, const struct record_head *h, struct segment *segment, uint64_t at,
		size_t place)
{
	struct range *r;

	if (h->index < s->first)
		return;
	r = last_of(s);
	if (r && h->index > r->last + 1)
		shards_forget(s, h->index); /* what lay before a gap is not needed any more */
	cut(s, h->index);
	r = last_of(s);
	if (r && r->segment == segment && r->at == at && r->end == place && r->term == h->term) {
		r->last = h->index;
		r->bytes += h->length;
		r->end = place + BATCH_RECORD + h->length;
		return;
	}
	s->ranges[s->head + s->count++] = (struct range){
		.first = h->index,
		.last = h->index,
		.term = h->term,
		.bytes = h->length,
		.segment = segment,
		.at = at,
		.place = place,
		.end = place + BATCH_RECORD + h->length,
	};
	segment->ranges++;
}

void shards_forget(struct journal_shard *s, uint64_t index)
{
	if (index > s->first)
		s->first = index;
	while (s->count && s->ranges[s->head].last < s->first) {
		s->ranges[s->head].segment->ranges--;
		s->head++;
		s->count--;
	}
}

/* Under the lock. The record of it stands at the start of the next segment. */
static void drop(struct journal_shard *s)
{
	shards_forget(s, UINT64_MAX);
	s->dropped = true;
}

static int take_record(struct journal *j, struct segment *segment, uint64_t at, const struct record_head *h,
		       struct cairn_slice body, size_t place)
{
	struct journal_shard *s = shards_find(j, h->shard, h->kind != RECORD_DROP);

	if (!s)
		return h->kind == RECORD_DROP ? 0 : -ENOMEM;
	switch ((enum record_kind)h->kind) {
	case RECORD_ENTRY:
		if (shards_reserve(s) < 0)
			return -ENOMEM;
		shards_add(s, h, segment, at, place);
		return 0;
	case RECORD_STATE:
		if (body.len > sizeof(s->state))
			return -EINVAL;
		memcpy(s->state, body.data, body.len);
		s->state_len = body.len;
		return 0;
	case RECORD_FIRST:
		shards_forget(s, h->index);
		return 0;
	case RECORD_DROP:
		drop(s);
		return 0;
	}
	return -EINVAL;
}

int shards_take(struct journal *j, struct segment *segment, uint64_t at, struct cairn_slice records)
{
	struct cairn_slice rest = records, body;
	struct record_head h;
	int e;

	for (;;) {
		size_t place = records.len - rest.len;

		e = record_next(&rest, &h, &body);
		if (e < 0)
			return e == -ENOENT ? 0 : e;
		e = take_record(j, segment, at, &h, body, place);
		if (e < 0)
			return e;
	}
}

struct journal_shard *journal_attach(struct journal *j, uint64_t id)
{
	struct journal_shard *s;

	pthread_mutex_lock(&j->lock);
	s = shards_find(j, id, true);
	if (s) {
		s->stale = false;
		s->attached = true;
	}
	pthread_mutex_unlock(&j->lock);
	return s;
}

struct journal_extent journal_extent(struct journal_shard *s)
{
	struct journal_extent x = { .bytes = 0 };
	struct range *r;

	pthread_mutex_lock(&s->journal->lock);
	r = last_of(s);
	x.first = r && s->ranges[s->head].first > s->first ? s->ranges[s->head].first : s->first;
	x.last = r ? r->last : x.first ? x.first - 1 : 0;
	x.first = x.first ? x.first : 1;
	x.last_term = r ? r->term : 0;
	for (size_t i = 0; i < s->count; i++)
		x.bytes += s->ranges[s->head + i].bytes;
	pthread_mutex_unlock(&s->journal->lock);
	return x;
}

size_t journal_state(struct journal_shard *s, void *buffer, size_t size)
{
	size_t len;

	pthread_mutex_lock(&s->journal->lock);
	len = s->state_len;
	memcpy(buffer, s->state, len < size ? len : size);
	pthread_mutex_unlock(&s->journal->lock);
	return len;
}

size_t journal_terms(struct journal_shard *s, uint64_t index, struct journal_entry *terms, size_t max)
{
	uint64_t term = 0, end = 0;
	size_t n = 0;

	pthread_mutex_lock(&s->journal->lock);
	for (size_t i = 0; i < s->count; i++) {
		const struct range *r = &s->ranges[s->head + i];
		uint64_t first = r->first > s->first ? r->first : s->first;

		if (first > index)
			break;
		end = r->last;
		if (n && r->term == term)
			continue;
		term = r->term;
		if (n < max)
			terms[n] = (struct journal_entry){ .index = first, .term = term };
		n++;
	}
	pthread_mutex_unlock(&s->journal->lock);
	return end >= index ? n : 0;
}

void journal_release(struct journal_shard *s, uint64_t index)
{
	pthread_mutex_lock(&s->journal->lock);
	shards_forget(s, index + 1);
	segments_retire(s->journal);
	pthread_mutex_unlock(&s->journal->lock);
}

uint64_t journal_held(struct journal_shard *s)
{
	uint64_t bytes = 0;

	pthread_mutex_lock(&s->journal->lock);
	if (s->count)
		for (struct segment *g = s->ranges[s->head].segment; g; g = g->next)
			bytes += g == s->journal->current ? s->journal->at : g->zeroed;
	pthread_mutex_unlock(&s->journal->lock);
	return bytes;
}

void journal_drop(struct journal_shard *s)
{
	pthread_mutex_lock(&s->journal->lock);
	drop(s);
	segments_retire(s->journal);
	pthread_mutex_unlock(&s->journal->lock);
}

void journal_drop_others(struct journal *j)
{
	pthread_mutex_lock(&j->lock);
	for (struct journal_shard *s = j->shards; s; s = s->next)
		if (!s->attached)
			drop(s);
	segments_retire(j);
	pthread_mutex_unlock(&j->lock);
}

/* The range that has INDEX, with its segment held. */
static bool find_range(struct journal_shard *s, uint64_t index, struct range *r)
{
	size_t low = 0, high;
	bool found;

	pthread_mutex_lock(&s->journal->lock);
	high = s->count;
	while (low < high) {
		size_t middle = (low + high) / 2;

		if (s->ranges[s->head + middle].last < index)
			low = middle + 1;
		else
			high = middle;
	}
	found = index >= s->first && low < s->count && s->ranges[s->head + low].first <= index;
	if (found) {
		*r = s->ranges[s->head + low];
		r->segment->uses++;
	}
	pthread_mutex_unlock(&s->journal->lock);
	return found;
}

static enum cairn_code read_range(struct journal_shard *s, const struct range *r, uint64_t from,
				  uint64_t last, struct scan_buffer *b, journal_entry_fn *fn, void *arg,
				  int *stopped, struct cairn_error *error)
{
	struct scan_source source = segment_source(r->segment);
	struct cairn_slice rest, body;
	struct record_head h;
	struct batch_head head;
	int e = scan_batch(&source, r->at, b, &head);

	if (e == 0 && r->place > head.length)
		e = -ENOENT;
	if (e < 0)
		goto damaged;
	rest = cairn_slice(b->data + BATCH_HEAD + r->place, head.length - r->place);
	for (uint64_t index = r->first; index <= r->last && index <= last && !*stopped; index++) {
		if (record_next(&rest, &h, &body) < 0 || h.kind != RECORD_ENTRY || h.shard != s->id ||
		    h.index != index)
			goto damaged;
		if (index >= from)
			*stopped = fn(arg, &(struct journal_entry){ index, h.term, body });
	}
	return CAIRN_OK;
damaged:
	if (e < 0 && e != -ENOENT)
		return cairn_fail(error, cairn_error_from_errno(-e), "%s/" NAME_SEGMENT ": %s",
				  s->journal->folder, (unsigned long long)r->segment->number, strerror(-e));
	return cairn_fail(error, CAIRN_E_CORRUPT, "%s/" NAME_SEGMENT ": damaged at offset %llu",
			  s->journal->folder, (unsigned long long)r->segment->number,
			  (unsigned long long)r->at);
}

enum cairn_code journal_read(struct journal_shard *s, uint64_t from, uint64_t last, journal_entry_fn *fn,
			     void *arg, int *stopped, struct cairn_error *error)
{
	struct scan_buffer b = { 0 };
	enum cairn_code code = CAIRN_OK;
	int unused = 0;

	stopped = stopped ? stopped : &unused;
	*stopped = 0;
	while (!code && !*stopped && from <= last) {
		struct range r;

		if (!find_range(s, from, &r)) {
			code = cairn_fail(error, CAIRN_E_NOT_FOUND, "%s: entry %llu is not in the journal",
					  s->journal->folder, (unsigned long long)from);
			break;
		}
		code = read_range(s, &r, from, last, &b, fn, arg, stopped, error);
		from = r.last + 1;
		pthread_mutex_lock(&s->journal->lock);
		r.segment->uses--;
		segments_retire(s->journal);
		pthread_mutex_unlock(&s->journal->lock);
	}
	free(b.data);
	return code;
}
