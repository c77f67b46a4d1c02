/*
 * watch: the changes of a key or a folder as a stream of events. A watch begins in a worker: from then on the
 * store's feed is kept. What lies before comes first: with INITIAL the content as of one revision, page by
 * page; for a revision in the past the rows of changes, as far as the feed does not reach back. Then it reads
 * the feed by itself up to its end, and is live: watches.c tells it of what is new.
 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include "clock.h"
#include "watches.h"
#include "banned.h"

#define LOCAL(type, member, p) ((type *)((char *)(p)-offsetof(type, member)))

static void go_on(struct watch *w);

static void on_back(struct loop_task *t)
{
	struct call *c = LOCAL(struct call, back, t);
	struct watch *w = c->priv;

	w->busy = false;
	w->since_ns = clock_boot_ns();
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
		w->from.revision += !w->from.revision; /* the first one is 1 */
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
	return watch_concerns(arg, e);
}

static bool take_row(void *arg, const struct store_event *e)
{
	struct watch *w = arg;
	struct cairn_msg m = { 0 };

	cairn_msg_start(&m, 0);
	watch_encode(&m, e, w->values);
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
	watch_finish(w, &error);
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
			if (e.revision < w->from.revision || !watch_concerns(w, &e))
				continue;
			cairn_msg_start(&c->answer, 0);
			watch_encode(&c->answer, &e, w->values);
			room = c->event(c);
		}
		w->place = run.at;
		if (!room)
			watch_lag(w, &run, e.revision);
		store_feed_done(w->hub->store, &run);
		if (!room)
			return;
	}
	if (there < 0)
		watch_cut(w);
	else
		watch_go_live(w, run.revision);
}

/* The content was sent: changes follow. False where the connection is full. */
static bool end_content(struct watch *w)
{
	store_unpin(w->hub->store, w->content, clock_boot_ns());
	w->pinned = false;
	w->phase = PHASE_ROWS;
	return watch_progress(w, w->content);
}

/* W was begun: tell from where on. False where the connection is full. */
static bool tell_begin(struct watch *w)
{
	struct cairn_msg *m = &w->call->answer;

	w->phase = w->initial ? PHASE_CONTENT : PHASE_ROWS;
	if (!w->initial)
		return watch_progress(w, w->from.revision - 1);
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

		watch_finish(w, &error);
		return;
	}
	if (c->cancelled) {
		if (c->node->ending) {
			cairn_fail(&facts.why, CAIRN_E_UNAVAILABLE, "node %s is going down", c->node->name);
			watch_end(w, &facts.why);
		} else {
			watch_finish(w, NULL);
		}
		return;
	}
	if (facts.ended) {
		watch_end(w, &facts.why);
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
	if (check(c, w) || !c->park(c) || !(w->hub = watches_get(c))) {
		if (!c->error.code)
			cairn_fail(&c->error, CAIRN_E_UNAVAILABLE,
				   "the connection has as many watches as it may have");
		free(w);
		call_done(c);
		return;
	}
	w->call = c;
	w->hash = watches_hash(w->what);
	w->next = w->hub->all;
	w->at = &w->hub->all;
	if (w->next)
		w->next->at = &w->next;
	w->hub->all = w;
	if (cairn_field_u64(c->fields, CAIRN_F_BEAT_MS, 0) &&
	    !watch_beat(w, cairn_field_u64(c->fields, CAIRN_F_BEAT_MS, 0)))
		cairn_fail(&c->error, CAIRN_E_INTERNAL, "out of memory");
	c->priv = w;
	c->resume = on_resume;
	c->cancel = on_cancel;
	metrics_add(c->node->metrics, METRIC_WATCHES, 1);
	c->node->waiting--;
	to_worker(w, begin_work);
}
