/*
 * All watches of a volume share one reader of the store's feed. After each batch it runs in the loop, and
 * finds those that a change concerns by hashing the key and each of its folders: so idle ones cost nothing,
 * however many there are, and writers only append to the feed. A watch whose connection is full reads the
 * feed by itself later; when its place is gone, it is cut off, and the error names the revision to go on
 * from. So nothing is buffered for a slow reader but one connection's output.
 */
#include <stddef.h>
#include <stdlib.h>
#include "clock.h"
#include "watches.h"
#include "banned.h"

#define TICK_MS 1000          /* between progress messages, and between looks at those that lag */
#define BEAT_LEAST_MS 50      /* between two of the messages that one watch asks for */
#define STUCK_NS 60000000000u /* without taking anything of the content */
#define CHANGES 2048          /* of the feed in one turn of the loop */
#define LOCAL(type, member, p) ((type *)((char *)(p)-offsetof(type, member)))
#define HASH_START 0xcbf29ce484222325u /* FNV-1a */

void watch_encode(struct cairn_msg *m, const struct store_event *e, bool values)
{
	cairn_msg_bytes(m, CAIRN_F_KEY, e->key);
	cairn_msg_u64(m, CAIRN_F_REVISION, e->revision);
	cairn_msg_u64(m, CAIRN_F_ORDINAL, e->ordinal);
	cairn_msg_text(m, CAIRN_F_CHANGE, store_event_name(e));
	cairn_msg_u64(m, CAIRN_F_TIME, e->time_ns);
	if (e->other.len)
		cairn_msg_bytes(m, CAIRN_F_OTHER, e->other);
	if (e->flags & EVENT_GONE)
		cairn_msg_bool(m, CAIRN_F_DELETED, true);
	if (e->flags & EVENT_PREFIX)
		cairn_msg_bool(m, CAIRN_F_FOLDER, true);
	if (e->flags & EVENT_FLUSH)
		cairn_msg_u64(m, CAIRN_F_INCARNATION, e->file_id);
	if (e->flags & EVENT_KNOWN) {
		cairn_msg_u64(m, CAIRN_F_SIZE, e->size);
		cairn_msg_kind(m, CAIRN_F_KIND, e->kind);
		cairn_msg_u64(m, CAIRN_F_VERSION, e->version);
		cairn_msg_u64(m, CAIRN_F_CREATE_REVISION, e->create_revision);
		cairn_msg_u64(m, CAIRN_F_FILE_ID, e->file_id);
	}
	if (e->flags & EVENT_OPEN)
		cairn_msg_bool(m, CAIRN_F_OPEN, true);
	if (e->author.len)
		cairn_msg_bytes(m, CAIRN_F_AUTHOR, e->author);
	if (e->face.len)
		cairn_msg_bytes(m, CAIRN_F_FACE, e->face);
	if (e->client.len)
		cairn_msg_bytes(m, CAIRN_F_CLIENT, e->client);
	if (values && e->flags & EVENT_VALUE)
		cairn_msg_bytes(m, CAIRN_F_VALUE, e->value);
}

static bool overlaps(struct cairn_slice folder, struct cairn_slice prefix)
{
	return cairn_slice_starts(folder, prefix) || cairn_slice_starts(prefix, folder);
}

/* Whether E concerns W. */
bool watch_concerns(const struct watch *w, const struct store_event *e)
{
	if (e->flags & EVENT_FLUSH)
		return true;
	if (e->flags & EVENT_PREFIX)
		return w->prefix && (overlaps(w->what, e->key) || overlaps(w->what, e->other));
	return w->prefix ? cairn_slice_starts(e->key, w->what) : cairn_slice_eq(e->key, w->what);
}

/* Everything up to REVISION was sent: say so. Returns as call->event. */
bool watch_progress(struct watch *w, uint64_t revision)
{
	struct cairn_msg *m = &w->call->answer;

	w->told = revision;
	cairn_msg_start(m, 0);
	cairn_msg_bool(m, CAIRN_F_PROGRESS, true);
	cairn_msg_u64(m, CAIRN_F_REVISION, revision);
	cairn_msg_u64(m, CAIRN_F_INCARNATION, shard_incarnation(w->hub->shard));
	return w->call->event(w->call);
}

static uint64_t hash_step(uint64_t hash, unsigned char byte)
{
	return (hash ^ byte) * 0x100000001b3u;
}

uint64_t watches_hash(struct cairn_slice what)
{
	uint64_t hash = HASH_START;

	for (size_t i = 0; i < what.len; i++)
		hash = hash_step(hash, ((const unsigned char *)what.data)[i]);
	return hash;
}

static struct watch **slot(const struct watches *h, uint64_t hash)
{
	return &h->slots[(hash ^ hash >> 32) & (h->slot_count - 1)];
}

static void list_live(struct watches *h, struct watch *w)
{
	struct watch **s = slot(h, w->hash);

	w->chain = *s;
	w->chain_at = s;
	if (w->chain)
		w->chain->chain_at = &w->chain;
	*s = w;
}

/* Room for one more live watch. Without memory the chains only get longer. */
static bool make_slots(struct watches *h)
{
	size_t count = h->slot_count ? h->slot_count * 2 : 16;
	struct watch **slots;

	if (h->live < h->slot_count)
		return true;
	slots = calloc(count, sizeof(*slots));
	if (!slots)
		return h->slot_count != 0;
	free(h->slots);
	h->slots = slots;
	h->slot_count = count;
	for (struct watch *w = h->all; w; w = w->next)
		if (w->phase == PHASE_LIVE)
			list_live(h, w);
	return true;
}

static void unlist_live(struct watch *w)
{
	if (w->phase != PHASE_LIVE)
		return;
	*w->chain_at = w->chain;
	if (w->chain)
		w->chain->chain_at = w->chain_at;
	w->hub->live--;
}

void watches_put(struct watches *h)
{
	struct watches **p = &h->node->watches;

	if (--h->uses)
		return;
	store_feed_notify(h->store, NULL, NULL);
	while (*p != h)
		p = &(*p)->next;
	*p = h->next;
	loop_timer_free(h->tick);
	free(h->slots);
	volume_put(h->volume);
	if (!h->posted) /* else the task frees it */
		free(h);
}

/* With the connection full: W goes on later, from behind the change that RUN gave last. */
void watch_lag(struct watch *w, const struct feed_run *run, uint64_t revision)
{
	bool whole = feed_peek(run) != revision;

	unlist_live(w);
	w->phase = PHASE_FEED;
	w->place = run->at;
	w->from.revision = revision + whole;
}

/* Tell W, which is live, of E. */
static void give(struct watch *w, const struct store_event *e, const struct feed_run *run)
{
	if (e->revision < w->from.revision)
		return;
	watch_encode(&w->call->answer, e, w->values);
	if (!w->call->event(w->call))
		watch_lag(w, run, e->revision);
}

static void give_slot(struct watches *h, uint64_t hash, const struct store_event *e,
		      const struct feed_run *run, bool prefix)
{
	for (struct watch *w = *slot(h, hash), *next; w; w = next) {
		next = w->chain;
		if (w->hash == hash && w->prefix == prefix && watch_concerns(w, e))
			give(w, e, run);
	}
}

/* Tell all live watches that it concerns of E: those of the key's folders, and those of the key. */
static void give_all(struct watches *h, const struct store_event *e, const struct feed_run *run)
{
	const unsigned char *key = e->key.data;
	uint64_t hash = HASH_START;

	if (e->flags & (EVENT_PREFIX | EVENT_FLUSH)) {
		for (struct watch *w = h->all; w; w = w->next)
			if (w->phase == PHASE_LIVE && watch_concerns(w, e))
				give(w, e, run);
		return;
	}
	give_slot(h, hash, e, run, true);
	for (size_t i = 0; i < e->key.len; i++) {
		hash = hash_step(hash, key[i]);
		if (key[i] == '/')
			give_slot(h, hash, e, run, true);
	}
	give_slot(h, hash, e, run, false);
}

/* Where to go on from, were W cut off now. */
static uint64_t resume_revision(const struct watch *w)
{
	uint64_t live = w->hub->revision + 1;

	return w->phase == PHASE_LIVE && live > w->from.revision ? live : w->from.revision;
}

/* Resources of W go, and it ends: with *ERROR, or well. */
void watch_finish(struct watch *w, const struct cairn_error *error)
{
	struct watches *h = w->hub;
	struct call *c = w->call;
	uint64_t revision = resume_revision(w);

	if (w->beat)
		h->beats--;
	loop_timer_free(w->beat);
	unlist_live(w);
	*w->at = w->next;
	if (w->next)
		w->next->at = w->at;
	if (w->pinned)
		store_unpin(h->store, w->content, clock_boot_ns());
	if (w->held)
		store_feed_release(h->store, w->values);
	buffer_free(&w->cursor);
	buffer_free(&w->out);
	cairn_msg_start(&c->answer, 0);
	if (error)
		c->error = *error;
	else
		cairn_msg_u64(&c->answer, CAIRN_F_REVISION, revision);
	metrics_add(c->node->metrics, METRIC_WATCHES, -1);
	c->node->waiting++;
	watches_put(h);
	free(w);
	call_done(c);
}

/* W ends for the reason WHY, and may be begun again. */
void watch_end(struct watch *w, const struct cairn_error *why)
{
	struct cairn_error error = *why;

	w->from.revision = resume_revision(w);
	error.code = CAIRN_E_UNAVAILABLE;
	error.revision = w->phase > PHASE_CONTENT ? w->from.revision : 0;
	if (error.revision)
		cairn_hint(&error, "watch again from revision %llu", (unsigned long long)error.revision);
	watch_finish(w, &error);
}

void watch_cut(struct watch *w)
{
	struct cairn_error error;

	cairn_fail(&error, CAIRN_E_UNAVAILABLE,
		   "the watch was cut off: its reader is too slow, and what it has not taken is not kept any "
		   "longer");
	watch_end(w, &error);
}

static void end_all(struct watches *h, const struct cairn_error *why)
{
	h->uses++;
	for (struct watch *w = h->all, *next; w; w = next) {
		next = w->next;
		if (!w->busy) /* the others see it when the worker is done */
			watch_end(w, why);
	}
	watches_put(h);
}

/* Tell W, which is live, that it was told everything. */
static void tell_progress(struct watch *w)
{
	struct watches *h = w->hub;

	if (watch_progress(w, h->revision))
		return;
	w->from.revision = resume_revision(w);
	unlist_live(w);
	w->phase = PHASE_FEED;
	w->place = h->at;
}

/* Tell the live watches what is new. */
static void dispatch(struct watches *h)
{
	struct feed_facts facts;
	struct store_event e;
	struct feed_run run;
	unsigned n = 0;
	int there = 0;

	store_feed_facts(h->store, &facts);
	while (h->live && (there = store_feed_take(h->store, &h->at, &run)) == 1) {
		for (; h->live && n < CHANGES && feed_next(&run, &e); n++)
			give_all(h, &e, &run);
		h->at = run.at;
		if (feed_peek(&run) > h->revision)
			h->revision = feed_peek(&run) - 1;
		store_feed_done(h->store, &run);
		if (n == CHANGES) {
			if (!atomic_exchange(&h->posted, true))
				loop_post(h->loop, &h->task);
			return;
		}
	}
	if (there == 0)
		h->revision = facts.revision;
	for (struct watch *w = h->all; w && h->beats; w = w->next)
		if (w->phase == PHASE_LIVE && w->beat && w->told < h->revision)
			tell_progress(w);
	for (struct watch *w = h->all, *next; w && there < 0; w = next) {
		next = w->next;
		if (w->phase == PHASE_LIVE)
			watch_cut(w);
	}
	if (facts.ended)
		end_all(h, &facts.why);
}

static void on_task(struct loop_task *t)
{
	struct watches *h = LOCAL(struct watches, task, t);

	h->posted = false;
	if (h->uses == 0) {
		free(h);
		return;
	}
	h->uses++;
	dispatch(h);
	watches_put(h);
}

/* In the thread that has applied a batch. */
static void on_feed(void *arg)
{
	struct watches *h = arg;

	if (!atomic_exchange(&h->posted, true))
		loop_post(h->loop, &h->task);
}

/* Whether W holds the content of a revision for a reader that does not take it. */
static bool is_stuck(const struct watch *w)
{
	return w->pinned && !w->busy && clock_boot_ns() - w->since_ns > STUCK_NS;
}

static void on_beat(void *arg)
{
	struct watch *w = arg;

	if (w->phase == PHASE_LIVE)
		tell_progress(w);
	loop_timer_set(w->beat, w->beat_ms);
}

bool watch_beat(struct watch *w, uint64_t beat_ms)
{
	w->beat_ms = beat_ms < BEAT_LEAST_MS ? BEAT_LEAST_MS : beat_ms;
	if (loop_timer_new(w->hub->loop, on_beat, w, &w->beat) < 0)
		return false;
	loop_timer_set(w->beat, w->beat_ms);
	w->hub->beats++;
	return true;
}

static void on_tick(void *arg)
{
	struct watches *h = arg;
	struct feed_run run;

	h->uses++;
	for (struct watch *w = h->all, *next; w; w = next) {
		int there = 0;

		next = w->next;
		if (w->phase == PHASE_FEED) {
			there = store_feed_take(h->store, &w->place, &run);
			if (there == 1)
				store_feed_done(h->store, &run);
		}
		if (there < 0 || is_stuck(w))
			watch_cut(w);
		else if (w->phase == PHASE_LIVE && w->progress && w->told < h->revision)
			tell_progress(w);
	}
	if (h->uses > 1)
		loop_timer_set(h->tick, TICK_MS);
	watches_put(h);
}

/* That of C's volume, used once more; NULL without memory. */
struct watches *watches_get(struct call *c)
{
	struct shard *shard = volume_shard(c->volume, cairn_slice(NULL, 0));
	struct watches *h = c->node->watches;

	while (h && h->shard != shard)
		h = h->next;
	if (!h) {
		h = calloc(1, sizeof(*h));
		if (!h || loop_timer_new(c->loop, on_tick, h, &h->tick) < 0) {
			free(h);
			return NULL;
		}
		h->node = c->node;
		h->volume = c->volume;
		atomic_fetch_add_explicit(&h->volume->uses, 1, memory_order_relaxed);
		h->shard = shard;
		h->store = shard_store(shard);
		h->loop = c->loop;
		h->task.run = on_task;
		h->next = c->node->watches;
		c->node->watches = h;
		store_feed_notify(h->store, on_feed, h);
		loop_timer_set(h->tick, TICK_MS);
	}
	h->uses++;
	return h;
}

void watch_go_live(struct watch *w, uint64_t revision)
{
	struct watches *h = w->hub;
	struct cairn_error error;

	if (!make_slots(h)) {
		cairn_fail(&error, CAIRN_E_INTERNAL, "out of memory");
		watch_finish(w, &error);
		return;
	}
	if (revision >= w->from.revision)
		w->from.revision = revision + 1;
	if (h->live++ == 0) {
		h->at = w->place;
		h->revision = revision;
	}
	buffer_free(&w->out); /* it may live for long */
	buffer_free(&w->cursor);
	w->phase = PHASE_LIVE;
	list_live(h, w);
	if (!atomic_exchange(&h->posted, true)) /* whatever came meanwhile */
		loop_post(h->loop, &h->task);
}
