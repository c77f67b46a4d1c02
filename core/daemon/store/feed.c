/*
 * The feed. The applying thread writes each change of a batch into memory of its own (undone with the command
 * that made it); when the batch is in, all of it is copied to the end of a list of blocks, under the store's
 * lock. Blocks only grow at their end, so a reader holds one by a count and reads without the lock. What is
 * too much is dropped from the front, whoever has not read it: he finds out by the number of his block.
 */
#include <errno.h>
#include <stdlib.h>
#include "state.h"
#include "banned.h"

#define BLOCK 65536  /* bytes of changes in a block, unless one batch has more */
#define KEEP 1048576 /* most memory that the applying thread keeps between batches */

struct feed_block {
	struct feed_block *next; /* under the store's lock, like all but BYTES below LEN */
	uint64_t number;
	uint64_t last; /* revision of its newest change */
	unsigned uses; /* readers, and 1 for the list */
	size_t len, cap;
	unsigned char bytes[];
};

/* A change in the feed: this, then the bytes of its texts; filled up to a multiple of 8. */
enum text { KEY, OTHER, AUTHOR, FACE, CLIENT, VALUE, TEXTS };
struct entry {
	uint64_t revision, time_ns, size, version, file_id, create_revision;
	uint32_t ordinal;
	uint16_t flags;
	uint8_t change, kind;
	uint32_t bytes; /* all of it */
	uint32_t len[TEXTS];
};

const char *store_event_name(const struct store_event *e)
{
	return change_name(e->change);
}

static void add(struct buffer *b, const struct store_event *e)
{
	const struct cairn_slice *texts[TEXTS] = { &e->key,  &e->other,  &e->author,
						   &e->face, &e->client, &e->value };
	struct entry entry = {
		.revision = e->revision,
		.time_ns = e->time_ns,
		.size = e->size,
		.version = e->version,
		.file_id = e->file_id,
		.create_revision = e->create_revision,
		.ordinal = e->ordinal,
		.flags = e->flags,
		.change = e->change,
		.kind = e->kind,
	};
	size_t bytes = sizeof(entry);
	unsigned char *p;

	for (unsigned i = 0; i < TEXTS; i++) {
		entry.len[i] = (uint32_t)texts[i]->len;
		bytes += texts[i]->len;
	}
	bytes = (bytes + 7) & ~(size_t)7;
	entry.bytes = (uint32_t)bytes;
	p = buffer_room(b, bytes);
	if (!p)
		return; /* and the feed begins anew behind this batch */
	memcpy(p, &entry, sizeof(entry));
	p += sizeof(entry);
	for (unsigned i = 0; i < TEXTS; i++) {
		if (entry.len[i])
			memcpy(p, texts[i]->data, entry.len[i]);
		p += entry.len[i];
	}
}

void feed_change(struct work *w, struct cairn_slice key, const struct record *r, uint32_t ordinal,
		 enum change_kind change, unsigned flags, struct cairn_slice other)
{
	struct feed *f = &w->s->feed;
	bool value = f->values && !(flags & EVENT_GONE) && !r->chunks.len;

	if (!f->on) {
		if (w->s->meta.history || !f->limit)
			return;
		f->on = true; /* history ends within this batch */
		f->since = w->revision - 1;
	}
	add(&f->fresh,
	    &(struct store_event){
		    .revision = w->revision,
		    .time_ns = w->time_ns,
		    .size = r->head.length,
		    .version = r->head.version,
		    .file_id = r->file_id,
		    .create_revision = r->create_revision,
		    .ordinal = ordinal,
		    .flags = (uint16_t)(flags | (value ? EVENT_VALUE : 0u) |
					(r->head.flags & RECORD_OPEN ? EVENT_OPEN : 0u)),
		    .change = (uint8_t)change,
		    .kind = r->head.kind,
		    .key = key,
		    .other = other,
		    .author = w->author,
		    .face = w->face,
		    .client = change == CHANGE_EXPIRE ? cairn_slice(NULL, 0) : w->client,
		    .value = value ? r->content : cairn_slice(NULL, 0),
	    });
}

void feed_begin(struct store *s)
{
	struct feed *f = &s->feed;

	f->on = atomic_load(&f->holders) || (!s->meta.history && f->limit);
	f->values = atomic_load(&f->value_holders);
	f->since = 0;
	f->fresh.len = 0;
}

/* A reader, or the list, has no use for B any more. One block is kept for the next time. */
static void let_go(struct feed *f, struct feed_block *b)
{
	if (--b->uses)
		return;
	if (b->cap == BLOCK && !f->spare)
		f->spare = b;
	else
		free(b);
}

static void drop_first(struct feed *f)
{
	struct feed_block *b = f->first;

	f->first = b->next;
	if (!f->first)
		f->last = NULL;
	f->bytes -= b->cap;
	f->from = b->last;
	f->dropped = b->len;
	let_go(f, b);
}

/* Forget everything; what is newer than REVISION is here from now on. */
static void start_anew(struct feed *f, uint64_t revision)
{
	while (f->first)
		drop_first(f);
	f->dropped = SIZE_MAX;
	f->next_number++;
	f->from = revision;
}

static struct feed_block *new_block(struct feed *f, size_t size)
{
	struct feed_block *b = size == BLOCK ? f->spare : NULL;

	if (b)
		f->spare = NULL;
	else
		b = malloc(sizeof(*b) + size);
	if (!b)
		return NULL;
	*b = (struct feed_block){ .number = f->next_number++, .uses = 1, .cap = size };
	*(f->last ? &f->last->next : &f->first) = b;
	f->last = b;
	f->bytes += size;
	return b;
}

/* Add the changes of the batch to the blocks. With the lock. False without memory. */
static bool append(struct feed *f, uint64_t revision)
{
	struct feed_block *b = f->last;

	if (!b || b->cap - b->len < f->fresh.len)
		b = new_block(f, f->fresh.len > BLOCK ? f->fresh.len : BLOCK);
	if (!b)
		return false;
	memcpy(b->bytes + b->len, f->fresh.data, f->fresh.len);
	b->len += f->fresh.len;
	b->last = revision;
	while (f->bytes > (f->limit ? f->limit : STORE_FEED_BYTES) && f->first != f->last)
		drop_first(f);
	return true;
}

void feed_commit(struct store *s)
{
	struct feed *f = &s->feed;
	uint64_t revision = s->meta.revision;

	if (f->since)
		start_anew(f, f->since);
	if (!f->on || f->fresh.error || (f->fresh.len && !append(f, revision))) {
		if (f->first || f->from != revision)
			start_anew(f, revision);
	}
	if (f->fresh.error || f->fresh.cap > KEEP)
		buffer_free(&f->fresh);
	f->fresh.len = 0;
	if (f->revision != revision && f->notify)
		f->notify(f->notify_arg);
	f->revision = revision;
}

void feed_free(struct feed *f)
{
	while (f->first)
		drop_first(f);
	free(f->spare);
	buffer_free(&f->fresh);
}

void store_feed_limit(struct store *s, size_t bytes)
{
	s->feed.limit = bytes;
}

void store_feed_hold(struct store *s, bool values)
{
	if (values)
		atomic_fetch_add(&s->feed.value_holders, 1);
	atomic_fetch_add(&s->feed.holders, 1);
	batch_pass(s); /* which may not know of us */
}

void store_feed_release(struct store *s, bool values)
{
	struct feed *f = &s->feed;

	if (values)
		atomic_fetch_sub(&f->value_holders, 1);
	pthread_mutex_lock(&s->lock);
	if (atomic_fetch_sub(&f->holders, 1) == 1 && (s->published.history || !f->limit))
		start_anew(f, f->revision);
	pthread_mutex_unlock(&s->lock);
}

void store_feed_notify(struct store *s, void (*fn)(void *arg), void *arg)
{
	pthread_mutex_lock(&s->lock);
	s->feed.notify = fn;
	s->feed.notify_arg = arg;
	pthread_mutex_unlock(&s->lock);
}

void store_feed_end(struct store *s, const struct cairn_error *why, const struct store_event *last)
{
	struct feed *f = &s->feed;

	pthread_mutex_lock(&s->lock);
	if (!f->ended) {
		f->ended = true;
		f->why = *why;
		if (last) {
			f->fresh.len = 0;
			add(&f->fresh, last);
			if (f->fresh.error || !append(f, last->revision))
				start_anew(f, last->revision);
			else
				f->revision = last->revision;
		}
		if (f->notify)
			f->notify(f->notify_arg);
	}
	pthread_mutex_unlock(&s->lock);
}

void store_feed_facts(struct store *s, struct feed_facts *facts)
{
	pthread_mutex_lock(&s->lock);
	*facts = (struct feed_facts){ s->feed.from, s->feed.revision, s->feed.ended, s->feed.why };
	pthread_mutex_unlock(&s->lock);
}

int store_feed_seek(struct store *s, uint64_t revision, struct feed_place *place)
{
	const struct feed *f = &s->feed;
	const struct feed_block *b;
	int e = 0;

	pthread_mutex_lock(&s->lock);
	for (b = f->first; b && b->last < revision; b = b->next)
		;
	if (revision <= f->from)
		e = -ESTALE;
	else if (b)
		*place = (struct feed_place){ b->number, 0 };
	else if (f->last)
		*place = (struct feed_place){ f->last->number, f->last->len };
	else
		*place = (struct feed_place){ f->next_number, 0 };
	pthread_mutex_unlock(&s->lock);
	return e;
}

int store_feed_take(struct store *s, const struct feed_place *place, struct feed_run *run)
{
	struct feed *f = &s->feed;
	struct feed_block *b;
	size_t offset = place->offset;
	int found = -ESTALE;

	pthread_mutex_lock(&s->lock);
	for (b = f->first; b && b->number < place->block; b = b->next)
		;
	if (b && b == f->first && b->number == place->block + 1 && offset == f->dropped) {
		offset = 0;
		found = 1; /* all of the block that was dropped had been read */
	} else if (b && b->number == place->block) {
		if (offset == b->len && b->next) {
			b = b->next;
			offset = 0;
		}
		found = offset < b->len;
	} else if (!b && place->block == f->next_number) {
		found = 0; /* the next one */
	}
	*run = (struct feed_run){ .revision = f->revision };
	if (found == 1) {
		b->uses++;
		run->block = b;
		run->at = (struct feed_place){ b->number, offset };
		run->end = b->len;
	}
	pthread_mutex_unlock(&s->lock);
	return found;
}

bool feed_next(struct feed_run *r, struct store_event *e)
{
	const unsigned char *p = r->block->bytes + r->at.offset;
	struct cairn_slice *texts[TEXTS] = {
		&e->key, &e->other, &e->author, &e->face, &e->client, &e->value
	};
	struct entry entry;

	if (r->at.offset == r->end)
		return false;
	memcpy(&entry, p, sizeof(entry));
	*e = (struct store_event){
		.revision = entry.revision,
		.time_ns = entry.time_ns,
		.size = entry.size,
		.version = entry.version,
		.file_id = entry.file_id,
		.create_revision = entry.create_revision,
		.ordinal = entry.ordinal,
		.flags = entry.flags,
		.change = entry.change,
		.kind = entry.kind,
	};
	p += sizeof(entry);
	for (unsigned i = 0; i < TEXTS; i++) {
		*texts[i] = cairn_slice(p, entry.len[i]);
		p += entry.len[i];
	}
	r->at.offset += entry.bytes;
	return true;
}

uint64_t feed_peek(const struct feed_run *r)
{
	struct entry entry;

	if (r->at.offset == r->end)
		return 0;
	memcpy(&entry, r->block->bytes + r->at.offset, sizeof(entry));
	return entry.revision;
}

void store_feed_done(struct store *s, struct feed_run *run)
{
	pthread_mutex_lock(&s->lock);
	let_go(&s->feed, run->block);
	pthread_mutex_unlock(&s->lock);
	run->block = NULL;
}
