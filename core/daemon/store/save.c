/*
 * Writing a store as a stream: an iterator over one snapshot of the engine goes through all rows in the order
 * of their keys, and the table below says of each kind whether the stream has it. What is damaged ends the
 * stream with the row's name; a stream without its last block is refused by every reader.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "config.h"
#include "past.h"
#include "read.h"
#include "snapshot.h"
#include "stream.h"
#include "banned.h"

struct store_save {
	struct reader r;
	struct meta meta; /* of the snapshot */
	void *it;         /* while a block is being filled; between two the snapshot alone is held */
	struct stream_writer frame;
	struct buffer content;    /* of the block being filled */
	struct cairn_msg message; /* of the first and last block */
	struct cairn_slice facts; /* owned */
	struct store_place place;
	unsigned char digest[16];
};

/* Which rows a stream has. What stands in no row of this table ends it: it is not known to this release. */
enum keep { KEEP_UNKNOWN, KEEP_ALL, KEEP_VISIBLE, KEEP_NONE };
static const unsigned char kept[256] = {
	[ROW_CHUNK] = KEEP_ALL,  [ROW_CHANGE] = KEEP_VISIBLE, [ROW_EXPIRY] = KEEP_NONE,
	[ROW_FOLDER] = KEEP_ALL, [ROW_GONE] = KEEP_VISIBLE,   [ROW_LATEST] = KEEP_ALL,
	[ROW_META] = KEEP_NONE,  [ROW_COUNT] = KEEP_NONE,     [ROW_REQUEST] = KEEP_ALL,
	[ROW_UPLOAD] = KEEP_ALL,
};

/* The meta row of the snapshot. A store that was never written has none: its first meta stands in. */
static int read_meta(struct store_save *w)
{
	const struct engine *engine = w->r.s->engine;
	struct cairn_guard guard = { 0 };
	struct cairn_slice body;
	uint32_t format;
	int e;

	engine->ops.read_begin(engine->handle, &guard);
	e = engine->ops.get(engine->handle, &guard, w->r.snapshot, cairn_str(META_KEY), 0, &body);
	if (e == 0)
		e = meta_decode(body, &w->meta, &format);
	engine->ops.read_end(engine->handle, &guard);
	if (e == -ENOENT) {
		pthread_mutex_lock(&w->r.s->lock);
		w->meta = w->r.s->published;
		pthread_mutex_unlock(&w->r.s->lock);
		e = 0;
	}
	meta_digest(&w->meta, w->digest);
	return e;
}

static void add_digest(struct store_save *w)
{
	char text[33];

	for (int i = 0; i < 16; i++)
		snprintf(text + 2 * i, 3, "%02x", w->digest[i]);
	cairn_msg_text(&w->message, CAIRN_F_DIGEST, text);
}

/* The stream's head and its first block. */
static enum cairn_code add_facts(struct store_save *w, struct buffer *out, struct cairn_error *error)
{
	struct cairn_msg *m = &w->message;
	unsigned char meta[META_BYTES];

	cairn_msg_start(m, 0);
	cairn_msg_text(m, CAIRN_F_TEXT, "cairn");
	cairn_msg_text(m, CAIRN_F_RELEASE, PACKAGE_VERSION);
	cairn_msg_fields(m, w->facts);
	cairn_msg_u64(m, CAIRN_F_TIME, w->meta.clock_ns);
	cairn_msg_u64(m, CAIRN_F_REVISION, w->meta.revision);
	cairn_msg_u64(m, CAIRN_F_APPLIED, w->meta.position.index);
	cairn_msg_u64(m, CAIRN_F_KEYS, w->meta.keys);
	cairn_msg_u64(m, CAIRN_F_BYTES, w->meta.bytes);
	add_digest(w);
	meta_encode(&w->meta, meta);
	cairn_msg_bytes(m, CAIRN_F_VALUE, cairn_slice(meta, sizeof(meta)));
	stream_head(out);
	stream_block(&w->frame, STREAM_FACTS, cairn_message_fields(cairn_msg_slice(m)), out);
	return cairn_msg_error(m) ? cairn_fail(error, CAIRN_E_INTERNAL, "no memory left to save a store")
				  : CAIRN_OK;
}

static enum cairn_code add_end(struct store_save *w, struct buffer *out, struct cairn_error *error)
{
	struct cairn_msg *m = &w->message;

	cairn_msg_start(m, 0);
	cairn_msg_u64(m, CAIRN_F_COUNT, w->place.rows);
	cairn_msg_u64(m, CAIRN_F_BYTES, w->place.bytes);
	add_digest(w);
	stream_block(&w->frame, STREAM_END, cairn_message_fields(cairn_msg_slice(m)), out);
	return cairn_msg_error(m) ? cairn_fail(error, CAIRN_E_INTERNAL, "no memory left to save a store")
				  : CAIRN_OK;
}

/* Go on where another stream of the same state has stood, or begin. */
static enum cairn_code take_place(struct store_save *w, const struct store_place *from,
				  struct cairn_error *error)
{
	if (from && from->sequence) {
		if (from->position.index != w->meta.position.index ||
		    from->position.term != w->meta.position.term)
			return cairn_fail(error, CAIRN_E_UNAVAILABLE,
					  "the store has gone on since the stream was begun");
		w->place = *from;
		w->frame.sequence = from->sequence;
	}
	w->place.position = w->meta.position;
	return CAIRN_OK;
}

/* Behind the last row that the stream has. */
static int open_iterator(struct store_save *w)
{
	const struct engine *engine = w->r.s->engine;
	unsigned char start[STORE_KEY_MAX + 2] = { 1 };
	size_t len = 1;

	if (w->place.key_len) {
		memcpy(start, w->place.key, w->place.key_len);
		start[w->place.key_len] = 0; /* the first key behind it */
		len = w->place.key_len + 1;
	}
	return engine->ops.iter_open(engine->handle, w->r.snapshot, cairn_slice(start, len),
				     cairn_slice(NULL, 0), 0, &w->it);
}

static void close_iterator(struct store_save *w)
{
	if (w->it)
		w->r.s->engine->ops.iter_close(w->it);
	w->it = NULL;
}

enum cairn_code store_save_open(struct store_save **result, struct store *s, struct cairn_slice facts,
				bool compress, const struct store_place *from, struct cairn_error *error)
{
	const struct engine *engine = s->engine;
	struct store_save *w = calloc(1, sizeof(*w));
	void *copy = malloc(facts.len + 1);
	enum cairn_code code = CAIRN_OK;
	int e;

	*result = NULL;
	if (!w || !copy) {
		free(w);
		free(copy);
		return cairn_fail(error, CAIRN_E_INTERNAL, "no memory left to save a store");
	}
	if (facts.len)
		memcpy(copy, facts.data, facts.len);
	w->facts = cairn_slice(copy, facts.len);
	w->r = (struct reader){ .s = s, .error = error };
	w->frame.compress = compress && stream_can_compress();
	if (!(engine->ops.caps & CAIRN_ENGINE_SNAPSHOT)) {
		code = cairn_fail(error, CAIRN_E_UNSUPPORTED,
				  "the engine %s has no snapshots, and so cannot be saved while it serves",
				  engine->ops.name);
	} else {
		e = engine->ops.snapshot(engine->handle, &w->r.snapshot);
		if (e == 0)
			e = read_meta(w);
		if (e < 0)
			code = read_failed(&w->r, e, cairn_str(META_KEY));
	}
	if (!code)
		code = take_place(w, from, error);
	if (code)
		store_save_close(w);
	else
		*result = w;
	return code;
}

static enum cairn_code wrong(struct store_save *w, struct cairn_slice key, const char *why)
{
	char text[KEY_TEXT];

	cairn_fail(w->r.error, CAIRN_E_CORRUPT, "the row '%s' of the store in engine %s is wrong: %s",
		   key_text(key, text), w->r.s->engine->ops.name, why);
	return CAIRN_E_CORRUPT;
}

/*
 * Whether a change row is one that reclaim would leave alone, now or later: it is recent, or holds a version
 * that is visible. 1, 0 or -errno.
 */
static int change_shows(struct store_save *w, struct cairn_slice key, struct cairn_slice body)
{
	const struct meta *m = &w->meta;
	struct past p;
	struct record r;
	struct change c;
	int e;

	if (key.len != ROW_CHANGE_KEY || change_decode(body, &c) < 0 ||
	    (c.record.len && record_decode(c.record, &r) < 0))
		return -EUCLEAN;
	if (!m->history)
		return 0;
	if (row_change_place(key).revision > m->floor && c.time_ns > history_bound_ns(m))
		return 1;
	if (!c.record.len || c.flags & CHANGE_IS_PREFIX)
		return 0;
	p = read_past(&w->r, m, c.key);
	p.all = true;
	e = past_first(&p);
	if (e < 0)
		return e == -ENOENT ? 0 : e;
	return history_shows(m, &r.head, &c, &p.newest, p.newest_gone);
}

static int shows(struct store_save *w, struct cairn_slice key, struct cairn_slice body)
{
	struct record_head head;
	int e;

	if (*(const char *)key.data == ROW_GONE)
		return record_head_decode(body, &head) < 0 ? -EUCLEAN : history_shows_gone(&w->meta, &head);
	w->r.guard = (struct cairn_guard){ 0 };
	w->r.s->engine->ops.read_begin(w->r.s->engine->handle, &w->r.guard);
	e = change_shows(w, key, body);
	w->r.s->engine->ops.read_end(w->r.s->engine->handle, &w->r.guard);
	return e;
}

/* The row KEY into the block, where the stream has such rows. */
static enum cairn_code add_row(struct store_save *w, struct cairn_slice key, struct cairn_slice body)
{
	unsigned char keep = kept[*(const unsigned char *)key.data];
	int e;

	if (keep == KEEP_NONE)
		return CAIRN_OK;
	if (keep == KEEP_UNKNOWN || key.len > sizeof(w->place.key))
		return wrong(w, key, "this release has no such rows");
	if (w->r.s->checksums && row_verify(key, body, &body) < 0)
		return wrong(w, key, "its checksum does not fit");
	if (keep == KEEP_VISIBLE && (e = shows(w, key, body)) <= 0)
		return e < 0 ? wrong(w, key, "it is no row of history") : CAIRN_OK;
	if (STREAM_ROW_HEAD + key.len + body.len > STREAM_ROW_MAX)
		return wrong(w, key, "it is longer than a row can be");
	stream_row(&w->content, key, body);
	w->place.rows++;
	w->place.bytes += key.len + body.len;
	w->place.key_len = key.len;
	memcpy(w->place.key, key.data, key.len);
	return CAIRN_OK;
}

/* Rows until the block is full or *END. */
static enum cairn_code fill(struct store_save *w, bool *end)
{
	const struct engine *engine = w->r.s->engine;
	enum cairn_code code = CAIRN_OK;
	int e = open_iterator(w);

	if (e < 0)
		return read_failed(&w->r, e, cairn_slice(w->place.key, w->place.key_len));
	w->content.len = 0;
	while (!code && w->content.len < STREAM_BLOCK && !w->content.error) {
		struct cairn_slice key = { 0 }, body;

		e = engine->ops.iter_next(w->it, &key, &body);
		if (e < 0)
			return read_failed(&w->r, e, cairn_slice(w->place.key, w->place.key_len));
		*end = !key.data;
		if (*end)
			break;
		code = add_row(w, key, body);
	}
	return code;
}

enum cairn_code store_save_next(struct store_save *w, struct buffer *out, bool *end,
				struct cairn_error *error)
{
	enum cairn_code code = CAIRN_OK;

	*end = false;
	w->r.error = error;
	if (!w->frame.sequence)
		code = add_facts(w, out, error);
	if (!code)
		code = fill(w, end);
	close_iterator(w);
	if (!code && w->content.len)
		stream_block(&w->frame, STREAM_ROWS, buffer_slice(&w->content), out);
	if (!code && *end)
		code = add_end(w, out, error);
	if (!code && (out->error || w->content.error))
		code = cairn_fail(error, CAIRN_E_INTERNAL, "no memory left to save a store");
	w->place.sequence = w->frame.sequence;
	return code;
}

void store_save_place(const struct store_save *w, struct store_place *place)
{
	*place = w->place;
}

void store_save_facts(const struct store_save *w, struct store_facts *facts)
{
	read_facts(&w->meta, facts);
}

void store_save_close(struct store_save *w)
{
	const struct engine *engine;

	if (!w)
		return;
	engine = w->r.s->engine;
	if (w->r.snapshot)
		engine->ops.release(engine->handle, w->r.snapshot);
	stream_writer_free(&w->frame);
	buffer_free(&w->content);
	cairn_msg_free(&w->message);
	free((void *)w->facts.data);
	free(w);
}
