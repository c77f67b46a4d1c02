/*
 * The writer: takes what all shards have handed in, puts it into one batch, writes and syncs it, and says so.
 * What comes meanwhile makes the next batch. A request that is larger than a batch goes out in several.
 *
 * After a failed write the requests end with an error, the shards have to attach again, and the next batch
 * begins a new segment: so whatever lies half written behind the last good batch never counts. After a failed
 * sync nothing goes on.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include "inside.h"
#include "sys.h"
#include "banned.h"

static int make_room(struct batch *b, size_t more)
{
	size_t cap = b->cap ? b->cap : 64u << 10;
	unsigned char *p;

	if (b->len + more <= b->cap)
		return 0;
	while (cap < b->len + more)
		cap *= 2;
	p = realloc(b->data, cap);
	if (!p)
		return -ENOMEM;
	b->data = p;
	b->cap = cap;
	return 0;
}

/* B holds nothing but room for its head. */
static int start(struct batch *b)
{
	b->len = 0;
	b->count = 0;
	if (make_room(b, BATCH_HEAD + BATCH_SECTOR) < 0)
		return -ENOMEM;
	b->len = BATCH_HEAD;
	return 0;
}

static int add(struct batch *b, const struct record_head *h, struct cairn_slice body)
{
	if (make_room(b, BATCH_RECORD + body.len + BATCH_SECTOR) < 0)
		return -ENOMEM;
	record_head_encode(h, b->data + b->len);
	if (body.len)
		memcpy(b->data + b->len + BATCH_RECORD, body.data, body.len);
	b->len += BATCH_RECORD + body.len;
	b->count++;
	return 0;
}

/* Put what fits of R into B. */
static int add_request(struct batch *b, struct journal_request *r)
{
	uint64_t id = r->shard->id;
	int e = 0;

	if (r->state.data && !r->written) {
		struct record_head h = { RECORD_STATE, (uint32_t)r->state.len, id, 0, 0 };

		e = add(b, &h, r->state);
	}
	while (!e && r->written < r->count && b->len < BATCH_MAX) {
		const struct journal_entry *x = &r->entries[r->written];
		struct record_head h = { RECORD_ENTRY, (uint32_t)x->command.len, id, x->index, x->term };

		e = add(b, &h, x->command);
		r->written += !e;
	}
	return e;
}

/* Under the lock: what the first batch of a segment says of each shard. */
static int add_shards(struct journal *j, struct batch *b)
{
	int e = 0;

	for (struct journal_shard *s = j->shards; s && !e; s = s->next) {
		struct record_head first = { s->dropped ? RECORD_DROP : RECORD_FIRST, 0, s->id,
					     s->dropped ? 0 : s->first, 0 };
		struct record_head state = { RECORD_STATE, (uint32_t)s->state_len, s->id, 0, 0 };

		e = add(b, &first, cairn_slice("", 0));
		if (!e && s->state_len && !s->dropped)
			e = add(b, &state, cairn_slice(s->state, s->state_len));
	}
	return e;
}

/* Write B behind the newest batch; it is not synced. 0 or -errno; *WROTE as segment_write. */
static int write_out(struct journal *j, struct batch *b, size_t *wrote)
{
	struct batch_head h = {
		.count = b->count,
		.previous = j->chain.crc,
		.epoch = j->epoch,
		.sequence = j->chain.sequence + 1,
		.durable = j->chain.durable,
	};
	size_t span = batch_span(b->len - BATCH_HEAD);
	int e;

	memset(b->data + b->len, 0, span - b->len);
	pthread_mutex_lock(&j->lock);
	while (j->zeroing && j->at + span > j->current->zeroed)
		pthread_cond_wait(&j->zeroed, &j->lock);
	if (j->at + span > j->current->zeroed)
		j->current->zeroed = j->at + span; /* from here on the janitor keeps off */
	h.file = j->current->sized;
	pthread_mutex_unlock(&j->lock);
	batch_seal(b->data, b->len, &h);
	e = segment_write(j->current, b->data, span, j->at, wrote);
	if (e == -ENOSPC && segment_spend_reserve(j))
		e = segment_write(j->current, b->data, span, j->at, wrote);
	if (e < 0)
		return e;
	pthread_mutex_lock(&j->lock);
	j->at += span;
	pthread_cond_signal(&j->work);
	pthread_mutex_unlock(&j->lock);
	j->chain.sequence = h.sequence;
	j->chain.crc = h.crc;
	return 0;
}

/* Begin a segment, with its first batch. Nothing that was asked for is in it. */
static int begin(struct journal *j)
{
	struct batch b = { 0 };
	size_t wrote;
	int e = segment_begin(j);

	if (e < 0)
		return e;
	e = start(&b);
	pthread_mutex_lock(&j->lock);
	j->at = 0;
	if (!e)
		e = add_shards(j, &b);
	pthread_mutex_unlock(&j->lock);
	if (!e && getrandom(&j->epoch, sizeof(j->epoch), 0) != sizeof(j->epoch))
		e = -EIO;
	j->epoch |= 1; /* 0 stands for any */
	if (!e)
		e = write_out(j, &b, &wrote);
	j->roll = e < 0;
	free(b.data);
	return e;
}

/* Sync what was written. 0 or -errno, and then nothing goes on. */
static int sync_now(struct journal *j)
{
	struct timespec a, b;
	uint64_t ns, us;
	unsigned bucket;
	int e;

	clock_gettime(CLOCK_MONOTONIC, &a);
	e = sys->fdatasync(j->current->fd);
	clock_gettime(CLOCK_MONOTONIC, &b);
	if (e < 0) {
		journal_die(j, "syncing a segment", e);
		return e;
	}
	ns = (uint64_t)((b.tv_sec - a.tv_sec) * 1000000000 + b.tv_nsec - a.tv_nsec);
	us = ns / 1000;
	bucket = us <= 1 ? 0 : 64 - (unsigned)__builtin_clzll(us - 1);
	j->chain.durable = j->chain.sequence;
	pthread_mutex_lock(&j->lock);
	j->facts.syncs++;
	j->facts.sync_ns += ns;
	j->pace_ns = j->pace_ns ? (7 * j->pace_ns + ns) / 8 : ns;
	j->facts.sync_counts[bucket < JOURNAL_SYNC_BUCKETS ? bucket : JOURNAL_SYNC_BUCKETS]++;
	j->facts.sequence = j->chain.sequence;
	pthread_mutex_unlock(&j->lock);
	return 0;
}

/* Write and sync one batch of what fits of LIST, up to *END, not counted. 0 or -errno; *WROTE: something of
 * it may be on disk. */
static int write_batch(struct journal *j, struct journal_request *list, struct journal_request **end,
		       bool *wrote)
{
	struct batch *b = &j->batch;
	size_t bytes = 0;
	uint64_t at;
	int e = start(b);

	for (*end = list; *end && !e && b->len < BATCH_MAX; *end = (*end)->next)
		e = add_request(b, *end);
	if (!e && (j->roll || j->at + batch_span(b->len - BATCH_HEAD) > j->options.segment_bytes))
		e = begin(j);
	if (e < 0)
		return e;
	at = j->at;
	e = write_out(j, b, &bytes);
	*wrote = bytes > 0;
	if (!e)
		e = sync_now(j);
	if (e < 0)
		return e;
	pthread_mutex_lock(&j->lock);
	e = shards_take(j, j->current, at, cairn_slice(b->data + BATCH_HEAD, b->len - BATCH_HEAD));
	j->facts.batches++;
	j->facts.entries += b->count;
	j->facts.bytes += b->len;
	pthread_mutex_unlock(&j->lock);
	return e;
}

/* Everything in LIST, and every shard, learns that E came in the way. */
static void fail(struct journal *j, struct journal_request *list, int e, bool wrote)
{
	enum cairn_code code = cairn_error_from_errno(-e);
	char number[NAME_ROOM];

	pthread_mutex_lock(&j->lock);
	for (struct journal_shard *s = j->shards; s; s = s->next)
		s->stale = true;
	j->roll = true;
	snprintf(number, sizeof(number), NAME_SEGMENT,
		 j->current ? (unsigned long long)j->current->number : 0);
	pthread_mutex_unlock(&j->lock);
	while (list) {
		struct journal_request *r = list;

		list = r->next;
		cairn_fail(&r->error,
			   code == CAIRN_E_FULL && !wrote && !r->written ? code : CAIRN_E_UNAVAILABLE,
			   "the journal %s/%s cannot be written: %s", j->folder, number, strerror(-e));
		r->done(r);
	}
}

/* Whether R cannot be written, whatever the disk says. */
static bool refused(struct journal *j, struct journal_request *r)
{
	bool stale;

	pthread_mutex_lock(&j->lock);
	stale = r->shard->stale;
	pthread_mutex_unlock(&j->lock);
	if (stale)
		cairn_fail(&r->error, CAIRN_E_UNAVAILABLE, "the journal %s could not store what came before",
			   j->folder);
	for (size_t i = 0; i < r->count && !r->error.code; i++)
		if (r->entries[i].command.len > JOURNAL_COMMAND_MAX)
			cairn_fail(&r->error, CAIRN_E_TOO_LARGE,
				   "a command of %zu bytes is too long to be stored",
				   r->entries[i].command.len);
	if (r->state.len > JOURNAL_STATE_MAX && !r->error.code)
		cairn_fail(&r->error, CAIRN_E_TOO_LARGE, "a hard state of %zu bytes is too long to be stored",
			   r->state.len);
	return r->error.code;
}

/* Take what cannot be written out of *LIST and answer it. */
static void refuse(struct journal *j, struct journal_request **list)
{
	while (*list) {
		struct journal_request *r = *list;

		r->written = 0;
		r->error = (struct cairn_error){ 0 };
		if (!refused(j, r)) {
			list = &r->next;
			continue;
		}
		*list = r->next;
		r->done(r);
	}
}

/* Do what is in LIST. */
static void write_list(struct journal *j, struct journal_request *list)
{
	struct journal_request *end, *r;
	bool wrote = false;
	int e = 0;

	refuse(j, &list);
	while (list && !e) {
		pthread_mutex_lock(&j->lock);
		e = j->dead.code ? -EIO : 0;
		pthread_mutex_unlock(&j->lock);
		if (!e)
			e = write_batch(j, list, &end, &wrote);
		j->mark = !e;
		while (!e && list != end && list->written == list->count) {
			r = list;
			list = r->next;
			r->done(r);
		}
	}
	if (e < 0)
		fail(j, list, e, wrote);
}

/* Idle, or at the end: an empty batch says that the newest one is on disk. Where it fails, nothing is lost.
 */
static void write_mark(struct journal *j)
{
	size_t wrote;

	j->mark = false;
	if (j->dead.code || j->roll || start(&j->batch) < 0)
		return;
	if (write_out(j, &j->batch, &wrote) < 0)
		j->roll = true;
	else
		sync_now(j);
	if (j->batch.cap > KEEP_BATCH) {
		free(j->batch.data);
		j->batch = (struct batch){ 0 };
	}
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Under the lock: nobody writes any more. */
static void rest(struct journal *j)
{
	j->writing = false;
	j->written_ns = now_ns();
}

/* Under the lock: wait for requests or the end, at most until a mark is due. While another thread writes,
 * that one's mark is to come, and it need not wake this one: a mark may be due a little later, and never
 * stays out. */
static void wait_for_work(struct journal *j)
{
	uint64_t due = (j->writing ? now_ns() : j->written_ns) + MARK_NS;
	struct timespec until = { (time_t)(due / 1000000000), (long)(due % 1000000000) };

	if (!j->writing && !j->mark) {
		pthread_cond_wait(&j->wake, &j->lock);
		return;
	}
	if (pthread_cond_timedwait(&j->wake, &j->lock, &until) != ETIMEDOUT || j->queue || j->writing ||
	    !j->mark || now_ns() < j->written_ns + MARK_NS)
		return;
	j->writing = true;
	pthread_mutex_unlock(&j->lock);
	write_mark(j);
	pthread_mutex_lock(&j->lock);
	j->writing = false;
}

bool journal_append_now(struct journal *j, struct journal_request *r)
{
	bool mine, had_mark;

	pthread_mutex_lock(&j->lock);
	mine = !j->queue && !j->writing && !j->closing && !j->dead.code && !j->roll && j->pace_ns < PACE_NS;
	j->writing = j->writing || mine;
	had_mark = j->mark;
	pthread_mutex_unlock(&j->lock);
	if (!mine)
		return false;
	r->next = NULL;
	write_list(j, r);
	pthread_mutex_lock(&j->lock);
	rest(j);
	if (j->queue || !had_mark)
		pthread_cond_signal(&j->wake);
	pthread_mutex_unlock(&j->lock);
	return true;
}

void *writer_run(void *journal)
{
	struct journal *j = journal;
	struct journal_request *list;

	pthread_mutex_lock(&j->lock);
	for (;;) {
		while (j->writing || (!j->queue && !j->closing))
			wait_for_work(j);
		list = j->queue;
		j->queue = NULL;
		j->queue_last = &j->queue;
		j->writing = true;
		pthread_mutex_unlock(&j->lock);
		if (!list)
			break;
		write_list(j, list);
		pthread_mutex_lock(&j->lock);
		rest(j);
	}
	if (j->mark)
		write_mark(j);
	return NULL;
}
