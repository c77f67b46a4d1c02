/*
 * watch: the changes of a key or a folder as a stream of events. All watches of a volume share one reader of
 * the store's feed (struct watches), which finds those that a change concerns by hashing the key and each of
 * its folders, so that thousands of idle ones cost nothing. It runs in the loop, after the batch: writers
 * only append to the feed.
 *
 * A watch begins in a worker: from then on the feed is kept. What lies before comes first: with INITIAL the
 * content as of one revision, page by page; for a revision in the past the rows of changes, as far as the
 * feed does not reach back. Then it reads the feed by itself up to its end, and is live. Where its connection
 * is full it stops, and goes on from its own place in the feed later; when that place is gone, it is cut off,
 * and the error names the revision to go on from. So nothing is buffered for a slow reader but one
 * connection's output.
 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include "buffer.h"
#include "clock.h"
#include "feed.h"
#include "operation.h"
#include "banned.h"

#define TICK_MS 1000          /* between progress messages, and between looks at those that lag */
#define STUCK_NS 60000000000u /* without taking anything of the content */
#define CHANGES 2048          /* of the feed in one turn of the loop */
#define LOCAL(type, member, p) ((type *)((char *)(p)-offsetof(type, member)))

struct watch;

/* The watches of one volume. Of the loop's thread, but for POSTED. */
struct watches {
	struct watches *next; /* of the node's */
	struct node *node;
	struct volume *volume; /* held */
	struct shard *shard;
	struct store *store;
	struct loop *loop;
	unsigned uses; /* watches, and who works on it */
	struct watch *all;
	struct watch **slots; /* live ones by what they watch */
	size_t slot_count, live;
	struct feed_place at; /* where the reader is, while there are live ones */
	uint64_t revision;    /* up to which they have been told everything */
	struct loop_timer *tick;
	struct loop_task task;
	_Atomic bool posted; /* that is on its way; any thread */
};

enum phase {
	PHASE_BEGIN,   /* a worker sees to it that the feed is kept */
	PHASE_CONTENT, /* present content is read and sent */
	PHASE_ROWS,    /* old changes are read and sent */
	PHASE_FEED,    /* it reads the feed by itself */
	PHASE_LIVE,
};

struct watch {
	struct watch *next, **at;        /* of all */
	struct watch *chain, **chain_at; /* of its slot, while it is live */
	struct watches *hub;
	struct call *call;
	struct cairn_slice what; /* key, or prefix: empty, or it ends with '/' */
	bool prefix, values, progress, initial;
	uint64_t hash; /* of WHAT */
	enum phase phase;
	bool busy;                 /* a worker has it */
	bool held, pinned;         /* the feed; the revision CONTENT */
	uint64_t since_ns;         /* since when it waits for the connection */
	uint64_t content;          /* revision whose content is sent */
	struct buffer cursor;      /* of the next page of it */
	struct change_cursor from; /* what was not sent yet */
	struct feed_place place;   /* the same in the feed */
	uint64_t told;             /* newest revision in a progress message */
	struct buffer out;         /* events to be sent, each a length and that many bytes of fields, */
	size_t sent;               /* from here on */
	bool last;                 /* there is no page behind it */
};

/* --- what is to be told --- */

static void encode(struct cairn_msg *m, const struct store_event *e, bool values)
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
static bool concerns(const struct watch *w, const struct store_event *e)
{
	if (e->flags & EVENT_FLUSH)
		return true;
	if (e->flags & EVENT_PREFIX)
		return w->prefix && (overlaps(w->what, e->key) || overlaps(w->what, e->other));
	return w->prefix ? cairn_slice_starts(e->key, w->what) : cairn_slice_eq(e->key, w->what);
}

/* Everything up to REVISION was sent: say so. Returns as call->event. */
static bool tell_progress(struct watch *w, uint64_t revision)
{
	struct cairn_msg *m = &w->call->answer;

	w->told = revision;
	cairn_msg_start(m, 0);
	cairn_msg_bool(m, CAIRN_F_PROGRESS, true);
	cairn_msg_u64(m, CAIRN_F_REVISION, revision);
	cairn_msg_u64(m, CAIRN_F_INCARNATION, shard_incarnation(w->hub->shard));
	return w->call->event(w->call);
}

/* --- the hub --- */

#define HASH_START 0xcbf29ce484222325u /* FNV-1a */

static uint64_t hash_step(uint64_t hash, unsigned char byte)
{
	return (hash ^ byte) * 0x100000001b3u;
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

static void hub_put(struct watches *h)
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
static void lag(struct watch *w, const struct feed_run *run, uint64_t revision)
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
	encode(&w->call->answer, e, w->values);
	if (!w->call->event(w->call))
		lag(w, run, e->revision);
}

static void give_slot(struct watches *h, uint64_t hash, const struct store_event *e,
		      const struct feed_run *run, bool prefix)
{
	for (struct watch *w = *slot(h, hash), *next; w; w = next) {
		next = w->chain;
		if (w->hash == hash && w->prefix == prefix && concerns(w, e))
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
			if (w->phase == PHASE_LIVE && concerns(w, e))
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
static void finish(struct watch *w, const struct cairn_error *error)
{
	struct watches *h = w->hub;
	struct call *c = w->call;
	uint64_t revision = resume_revision(w);

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
	hub_put(h);
	free(w);
	call_done(c);
}

/* W ends for the reason WHY, and may be begun again. */
static void end(struct watch *w, const struct cairn_error *why)
{
	struct cairn_error error = *why;

	w->from.revision = resume_revision(w);
	error.code = CAIRN_E_UNAVAILABLE;
	error.revision = w->phase > PHASE_CONTENT ? w->from.revision : 0;
	if (error.revision)
		cairn_hint(&error, "watch again from revision %llu", (unsigned long long)error.revision);
	finish(w, &error);
}

static void cut(struct watch *w)
{
	struct cairn_error error;

	cairn_fail(&error, CAIRN_E_UNAVAILABLE,
		   "the watch was cut off: its reader is too slow, and what it has not taken is not kept any "
		   "longer");
	end(w, &error);
}

static void end_all(struct watches *h, const struct cairn_error *why)
{
	h->uses++;
	for (struct watch *w = h->all, *next; w; w = next) {
		next = w->next;
		if (!w->busy) /* the others see it when the worker is done */
			end(w, why);
	}
	hub_put(h);
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
	for (struct watch *w = h->all, *next; w && there < 0; w = next) {
		next = w->next;
		if (w->phase == PHASE_LIVE)
			cut(w);
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
	hub_put(h);
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
			cut(w);
		else if (w->phase == PHASE_LIVE && w->progress && w->told < h->revision &&
			 !tell_progress(w, h->revision)) {
			w->from.revision = resume_revision(w);
			unlist_live(w);
			w->phase = PHASE_FEED;
			w->place = h->at;
		}
	}
	if (h->uses > 1)
		loop_timer_set(h->tick, TICK_MS);
	hub_put(h);
}

/* That of C's volume, used once more; NULL without memory. */
static struct watches *hub_get(struct call *c)
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

/* --- one watch, until it is live --- */

static void go_on(struct watch *w);

static void on_back(struct loop_task *t)
{
	struct call *c = LOCAL(struct call, back, t);
	struct watch *w = c->priv;

	w->busy = false;
	go_on(w);
}

static void to_worker(struct watch *w, void (*run)(struct pool_task *t))
{
	w->busy = true;
	w->call->work.run = run;
	pool_post(w->call->node->pool, &w->call->work);
}

static void back(struct call *c)
{
	c->back.run = on_back;
	loop_post(c->loop, &c->back);
}

/* In a worker: the feed is kept from now on, and so is the content where that comes first. */
static void begin_work(struct pool_task *t)
{
	struct call *c = LOCAL(struct call, work, t);
	struct watch *w = c->priv;
	struct store *store = w->hub->store;
	struct feed_facts facts;

	store_feed_hold(store, w->values);
	w->held = true;
	if (w->initial) {
		w->content = cairn_field_u64(c->fields, CAIRN_F_AT, 0);
		w->pinned = store_pin(store, &w->content, clock_boot_ns(), &c->error) == CAIRN_OK;
		w->from.revision = w->content + 1;
	} else {
		store_feed_facts(store, &facts);
		w->from.revision = cairn_field_u64(c->fields, CAIRN_F_REVISION, facts.revision + 1);
		if (w->from.revision > facts.revision + 1)
			cairn_fail(&c->error, CAIRN_E_INVALID,
				   "revision %llu is not there yet; the next one is %llu",
				   (unsigned long long)w->from.revision,
				   (unsigned long long)facts.revision + 1);
	}
	back(c);
}

/* Put FIELDS to the events to be sent, behind what HEAD holds. */
static void put_event(struct watch *w, const struct cairn_msg *head, struct cairn_slice fields)
{
	struct cairn_slice first = cairn_message_fields(cairn_msg_slice(head));
	uint64_t len = first.len + fields.len;

	if (cairn_msg_error(head))
		w->out.error = cairn_msg_error(head);
	buffer_add(&w->out, cairn_slice(&len, sizeof(len)));
	buffer_add(&w->out, first);
	buffer_add(&w->out, fields);
}

/* The arguments of a scan for the next page of W's content. */
static void ask_content(const struct watch *w, struct cairn_msg *m)
{
	struct cairn_slice from;

	cairn_msg_start(m, CAIRN_OP_SCAN);
	cairn_msg_u64(m, CAIRN_F_AT, w->content);
	cairn_msg_bytes(m, CAIRN_F_PREFIX, w->what);
	if (!w->prefix)
		cairn_msg_u64(m, CAIRN_F_LIMIT, 1); /* which can only be the key itself */
	if (!w->values)
		cairn_msg_bool(m, CAIRN_F_META_ONLY, true);
	if (w->cursor.len)
		cairn_msg_bytes(m, CAIRN_F_CURSOR, buffer_slice(&w->cursor));
	if (cairn_field_find(w->call->fields, CAIRN_F_FROM, &from))
		cairn_msg_bytes(m, CAIRN_F_FROM, from);
}

/* Events from the rows of PAGE, and its cursor. */
static void take_content(struct watch *w, struct cairn_slice page)
{
	struct cairn_slice body, key;
	struct cairn_msg head = { 0 };
	unsigned field;

	cairn_msg_start(&head, 0);
	cairn_msg_bool(&head, CAIRN_F_INITIAL, true);
	cairn_msg_u64(&head, CAIRN_F_AT, w->content);
	w->cursor.len = 0;
	while (cairn_field_next(&page, &field, &body) == 0 && field != CAIRN_F_END)
		if (field == CAIRN_F_CURSOR && w->prefix)
			buffer_add(&w->cursor, body);
		else if (field == CAIRN_F_ROW && cairn_field_find(body, CAIRN_F_KEY, &key) &&
			 (w->prefix || cairn_slice_eq(key, w->what)))
			put_event(w, &head, body);
	cairn_msg_free(&head);
	w->last = !w->cursor.len;
}

static void content_work(struct pool_task *t)
{
	struct call *c = LOCAL(struct call, work, t);
	struct watch *w = c->priv;
	struct cairn_msg ask = { 0 }, page = { 0 };

	ask_content(w, &ask);
	cairn_msg_start(&page, 0);
	if (store_scan(w->hub->store, cairn_message_fields(cairn_msg_slice(&ask)), 0, OPERATION_PAGE, &page,
		       NULL, &c->error) == CAIRN_OK)
		take_content(w, cairn_message_fields(cairn_msg_slice(&page)));
	if (cairn_msg_error(&ask) || cairn_msg_error(&page) || w->out.error || w->cursor.error)
		cairn_fail(&c->error, CAIRN_E_INTERNAL, "out of memory");
	cairn_msg_free(&ask);
	cairn_msg_free(&page);
	back(c);
}

static bool want_row(void *arg, const struct store_event *e)
{
	return concerns(arg, e);
}

static bool take_row(void *arg, const struct store_event *e)
{
	struct watch *w = arg;
	struct cairn_msg m = { 0 };

	cairn_msg_start(&m, 0);
	encode(&m, e, w->values);
	put_event(w, &m, cairn_slice(NULL, 0));
	cairn_msg_free(&m);
	return w->out.len < OPERATION_PAGE;
}

static void rows_work(struct pool_task *t)
{
	struct call *c = LOCAL(struct call, work, t);
	struct watch *w = c->priv;

	store_changes(w->hub->store, &w->from, want_row, take_row, w, &w->last, &c->error);
	if (w->out.error)
		cairn_fail(&c->error, CAIRN_E_INTERNAL, "out of memory");
	back(c);
}

/* Send what OUT holds. False where the connection is full: RESUME goes on. */
static bool send_out(struct watch *w)
{
	struct call *c = w->call;
	uint64_t len;

	w->since_ns = clock_boot_ns();
	while (w->sent < w->out.len) {
		memcpy(&len, w->out.data + w->sent, sizeof(len));
		cairn_msg_start(&c->answer, 0);
		cairn_msg_fields(&c->answer, cairn_slice(w->out.data + w->sent + sizeof(len), len));
		w->sent += sizeof(len) + len;
		if (!c->event(c))
			return false;
	}
	w->out.len = w->sent = 0;
	return true;
}

/* The feed does not go back to where W is: read the rows, where there are any. */
static void read_rows(struct watch *w)
{
	struct store_facts facts;
	struct feed_facts feed;
	struct cairn_error error;

	store_facts(w->hub->store, &facts);
	if (facts.history) {
		to_worker(w, rows_work);
		return;
	}
	store_feed_facts(w->hub->store, &feed);
	cairn_fail(
		&error, CAIRN_E_COMPACTED,
		"the changes of revision %llu are not kept any more; the oldest that are kept are those of "
		"%llu",
		(unsigned long long)w->from.revision, (unsigned long long)feed.from + 1);
	error.revision = feed.from + 1;
	finish(w, &error);
}

static void go_live(struct watch *w, uint64_t revision)
{
	struct watches *h = w->hub;
	struct cairn_error error;

	if (!make_slots(h)) {
		cairn_fail(&error, CAIRN_E_INTERNAL, "out of memory");
		finish(w, &error);
		return;
	}
	if (revision >= w->from.revision)
		w->from.revision = revision + 1;
	if (h->live++ == 0) {
		h->at = w->place;
		h->revision = revision;
	}
	w->phase = PHASE_LIVE;
	list_live(h, w);
	if (!atomic_exchange(&h->posted, true)) /* whatever came meanwhile */
		loop_post(h->loop, &h->task);
}

/* Read the feed from W's place to its end. */
static void read_feed(struct watch *w)
{
	struct call *c = w->call;
	struct store_event e;
	struct feed_run run;
	int there;

	while ((there = store_feed_take(w->hub->store, &w->place, &run)) == 1) {
		bool room = true;

		while (room && feed_next(&run, &e)) {
			if (e.revision < w->from.revision || !concerns(w, &e))
				continue;
			cairn_msg_start(&c->answer, 0);
			encode(&c->answer, &e, w->values);
			room = c->event(c);
		}
		w->place = run.at;
		if (!room)
			lag(w, &run, e.revision);
		store_feed_done(w->hub->store, &run);
		if (!room)
			return;
	}
	if (there < 0)
		cut(w);
	else
		go_live(w, run.revision);
}

/* The content was sent: changes follow. False where the connection is full. */
static bool end_content(struct watch *w)
{
	store_unpin(w->hub->store, w->content, clock_boot_ns());
	w->pinned = false;
	w->phase = PHASE_ROWS;
	return tell_progress(w, w->content);
}

/* W was begun: tell from where on. False where the connection is full. */
static bool tell_begin(struct watch *w)
{
	struct cairn_msg *m = &w->call->answer;

	w->phase = w->initial ? PHASE_CONTENT : PHASE_ROWS;
	if (!w->initial)
		return tell_progress(w, w->from.revision - 1);
	cairn_msg_start(m, 0);
	cairn_msg_u64(m, CAIRN_F_AT, w->content);
	cairn_msg_u64(m, CAIRN_F_INCARNATION, shard_incarnation(w->hub->shard));
	return w->call->event(w->call);
}

/* Changes from W->from on: out of the feed, or as far as it does not reach back out of rows. */
static void read_changes(struct watch *w)
{
	if (store_feed_seek(w->hub->store, w->from.revision, &w->place) < 0 || w->from.ordinal) {
		read_rows(w);
		return;
	}
	w->phase = PHASE_FEED;
	read_feed(w);
}

/* The next step of W, which is not live. */
static void go_on(struct watch *w)
{
	struct call *c = w->call;
	struct feed_facts facts;

	store_feed_facts(w->hub->store, &facts);
	if (c->error.code) {
		struct cairn_error error = c->error;

		finish(w, &error);
		return;
	}
	if (c->cancelled) {
		if (c->node->ending) {
			cairn_fail(&facts.why, CAIRN_E_UNAVAILABLE, "node %s is going down", c->node->name);
			end(w, &facts.why);
		} else {
			finish(w, NULL);
		}
		return;
	}
	if (facts.ended) {
		end(w, &facts.why);
		return;
	}
	if (w->phase == PHASE_FEED) {
		read_feed(w);
		return;
	}
	if (w->phase == PHASE_BEGIN && !tell_begin(w))
		return;
	if (!send_out(w))
		return;
	if (w->phase == PHASE_CONTENT && !w->last) {
		to_worker(w, content_work);
		return;
	}
	if (w->phase == PHASE_CONTENT && !end_content(w))
		return;
	read_changes(w);
}

/* The connection has drained; or nobody wants more. */
static void on_resume(struct call *c)
{
	go_on(c->priv);
}

static void on_cancel(struct call *c)
{
	struct watch *w = c->priv;

	if (w->phase == PHASE_LIVE)
		go_on(w);
}

static enum cairn_code check(struct call *c, struct watch *w)
{
	struct cairn_slice key = { 0 }, prefix = { 0 };
	bool has_key = cairn_field_find(c->fields, CAIRN_F_KEY, &key),
	     has_prefix = cairn_field_find(c->fields, CAIRN_F_PREFIX, &prefix);
	struct shard *shard = volume_shard(c->volume, cairn_slice(NULL, 0));
	uint64_t incarnation = shard_incarnation(shard);

	w->prefix = has_prefix;
	w->what = has_prefix ? prefix : key;
	w->initial = cairn_field_bool(c->fields, CAIRN_F_INITIAL, false);
	w->progress = cairn_field_bool(c->fields, CAIRN_F_PROGRESS, false);
	w->values = cairn_field_bool(c->fields, CAIRN_F_VALUES, false);
	if (has_key == has_prefix || (has_key && !key.len))
		return cairn_fail(&c->error, CAIRN_E_INVALID, "watch needs either a key or a prefix");
	if (prefix.len && ((const char *)prefix.data)[prefix.len - 1] != '/')
		return cairn_fail(&c->error, CAIRN_E_INVALID,
				  "a prefix that is watched is a folder: it is empty or ends with '/'");
	if (w->what.len > STORE_KEY_MAX)
		return cairn_fail(&c->error, CAIRN_E_INVALID, "a key has at most %d bytes", STORE_KEY_MAX);
	if (w->initial && cairn_field_u64(c->fields, CAIRN_F_REVISION, 0))
		return cairn_fail(&c->error, CAIRN_E_INVALID,
				  "a watch begins with the content or from a revision, not with both");
	if (cairn_field_u64(c->fields, CAIRN_F_INCARNATION, incarnation) != incarnation)
		return cairn_fail(
			&c->error, CAIRN_E_COMPACTED,
			"volume %s was emptied or made anew since: its changes before that are gone",
			c->volume->name);
	return shard_may_read(shard, &c->error);
}

void op_watch(struct call *c)
{
	struct watch *w = c->keep(c) ? calloc(1, sizeof(*w)) : NULL;

	if (!w) {
		call_fail(c, CAIRN_E_INTERNAL, "out of memory");
		return;
	}
	if (check(c, w) || !c->park(c) || !(w->hub = hub_get(c))) {
		if (!c->error.code)
			cairn_fail(&c->error, CAIRN_E_UNAVAILABLE,
				   "the connection has as many watches as it may have");
		free(w);
		call_done(c);
		return;
	}
	w->call = c;
	w->hash = HASH_START;
	for (size_t i = 0; i < w->what.len; i++)
		w->hash = hash_step(w->hash, ((const unsigned char *)w->what.data)[i]);
	w->next = w->hub->all;
	w->at = &w->hub->all;
	if (w->next)
		w->next->at = &w->next;
	w->hub->all = w;
	c->priv = w;
	c->resume = on_resume;
	c->cancel = on_cancel;
	metrics_add(c->node->metrics, METRIC_WATCHES, 1);
	to_worker(w, begin_work);
}
