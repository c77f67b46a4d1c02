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

/* A change in the feed: this, then key, other, author, face, client, value; filled up to a multiple of 8. */
struct entry {
	struct store_event event; /* its slices are only lengths */
	uint64_t size;            /* of all of it */
};

const char *store_event_name(const struct store_event *e)
{
	return change_name(e->change);
}

static void put(unsigned char **p, struct cairn_slice *s)
{
	if (s->len)
		memcpy(*p, s->data, s->len);
	*p += s->len;
	s->data = NULL;
}

static void add(struct buffer *b, const struct store_event *e)
{
	struct entry entry = { .event = *e };
	size_t size = sizeof(entry) + e->key.len + e->other.len + e->author.len + e->face.len +
		e->client.len + e->value.len;
	unsigned char *start, *p;

	entry.size = (size + 7) & ~(size_t)7;
	start = buffer_room(b, entry.size);
	if (!start)
		return; /* and the feed begins anew behind this batch */
	p = start + sizeof(entry);
	put(&p, &entry.event.key);
	put(&p, &entry.event.other);
	put(&p, &entry.event.author);
	put(&p, &entry.event.face);
	put(&p, &entry.event.client);
	put(&p, &entry.event.value);
	memcpy(start, &entry, sizeof(entry));
}

void feed_change(struct work *w, struct cairn_slice key, const struct record *r, uint32_t ordinal,
		 enum change_kind change, unsigned flags, struct cairn_slice other)
{
	struct feed *f = &w->s->feed;
	bool value = f->values && !(flags & EVENT_GONE) && !r->chunks.len;

	if (!f->on) {
		if (w->s->meta.history)
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

	f->on = atomic_load(&f->holders) || !s->meta.history;
	f->values = atomic_load(&f->value_holders);
	f->since = 0;
	f->fresh.len = 0;
}

static void let_go(struct feed *f, struct feed_block *b)
{
	if (--b->uses)
		return;
	if (!f->spare && b->cap == BLOCK)
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
	struct feed_block *b = size == BLOCK && f->spare ? f->spare : malloc(sizeof(*b) + size);

	if (!b)
		return NULL;
	if (b == f->spare)
		f->spare = NULL;
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
	while (f->bytes > f->limit && f->first != f->last)
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
	if (atomic_fetch_sub(&f->holders, 1) == 1 && s->published.history)
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

static void take(const unsigned char **p, struct cairn_slice *s)
{
	s->data = *p;
	*p += s->len;
}

bool feed_next(struct feed_run *r, struct store_event *e)
{
	const unsigned char *start = r->block->bytes + r->at.offset, *p = start + sizeof(struct entry);
	struct entry entry;

	if (r->at.offset == r->end)
		return false;
	memcpy(&entry, start, sizeof(entry));
	*e = entry.event;
	take(&p, &e->key);
	take(&p, &e->other);
	take(&p, &e->author);
	take(&p, &e->face);
	take(&p, &e->client);
	take(&p, &e->value);
	r->at.offset += entry.size;
	return true;
}

uint64_t feed_peek(const struct feed_run *r)
{
	struct entry entry;

	if (r->at.offset == r->end)
		return 0;
	memcpy(&entry, r->block->bytes + r->at.offset, sizeof(entry));
	return entry.event.revision;
}

void store_feed_done(struct store *s, struct feed_run *run)
{
	pthread_mutex_lock(&s->lock);
	let_go(&s->feed, run->block);
	pthread_mutex_unlock(&s->lock);
	run->block = NULL;
}
