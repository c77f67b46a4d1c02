/*
 * One record at a time: loaded, replaced, removed. Everything that follows from a change of a record happens
 * here and nowhere else: revision and ordinal, version, counters, digest, folder rows, the limits of a
 * command's cost.
 */
#include <errno.h>
#include "content.h"
#include "banned.h"

enum cairn_code work_stopped(struct work *w)
{
	return w->s->stop.code ? w->s->stop.code : CAIRN_E_INTERNAL;
}

enum cairn_code work_charge(struct work *w, uint64_t keys, uint64_t bytes)
{
	const struct meta *m = &w->s->meta;

	w->keys += keys;
	w->bytes += bytes;
	if (w->keys <= m->bulk_keys && w->bytes <= m->bulk_bytes)
		return CAIRN_OK;
	cairn_fail(w->error, CAIRN_E_TOO_LARGE, "one command touches at most %llu keys or %llu bytes",
		   (unsigned long long)m->bulk_keys, (unsigned long long)m->bulk_bytes);
	cairn_hint(w->error, "do it in several steps");
	return CAIRN_E_TOO_LARGE;
}

enum cairn_code work_key(struct work *w, struct cairn_slice key)
{
	char text[KEY_TEXT];

	if (!key.len)
		return cairn_fail(w->error, CAIRN_E_INVALID, "a key has at least one byte");
	if (key.len > w->s->key_max)
		return cairn_fail(w->error, CAIRN_E_TOO_LARGE,
				  "the key '%s' has %zu bytes, at most %llu are allowed", key_text(key, text),
				  key.len, (unsigned long long)w->s->key_max);
	return CAIRN_OK;
}

enum cairn_code live_load(struct work *w, struct cairn_slice key, struct live *l)
{
	enum cairn_code code = work_key(w, key);
	int e;

	if (code)
		return code;
	if (w->ahead && w->ahead->key.data == key.data) {
		l->row = w->ahead->row;
		e = view_get_known(w->s, &l->row, w->ahead->value, &l->body);
	} else {
		if (view_row(w->s, ROW_LATEST, key, &l->row) < 0)
			return work_stopped(w);
		e = view_get(w->s, &l->row, &l->body);
	}
	l->found = e == 0;
	if (e == -ENOENT)
		return CAIRN_OK;
	if (e == 0 && record_decode(l->body, &l->r) < 0)
		e = view_damaged(w->s, l->row.key);
	if (e < 0)
		return work_stopped(w);
	return l->r.expiry_ns && l->r.expiry_ns <= w->time_ns ? expiry_end(w, l) : CAIRN_OK;
}

enum cairn_code live_need(struct work *w, struct cairn_slice key, struct live *l)
{
	enum cairn_code code = live_load(w, key, l);
	char text[KEY_TEXT];

	if (code || l->found)
		return code;
	return cairn_fail(w->error, CAIRN_E_NOT_FOUND, "no key '%s'", key_text(key, text));
}

static struct cairn_slice key_of(const struct live *l)
{
	return cairn_slice((const char *)l->row.key.data + 1, l->row.key.len - 1);
}

/* What becomes of the chunks of L's version when NEXT replaces it, and of the version itself. */
static enum cairn_code replaced(struct work *w, const struct live *l, const struct record *next,
				enum change_kind change)
{
	bool keeps = change == CHANGE_APPEND || change == CHANGE_PATCH || change_keeps_value(change);

	if (w->s->meta.history || w->s->pinning)
		return history_replaced(w, key_of(l), &l->r, next, change);
	if (!l->r.chunks.len || change == CHANGE_SWAP)
		return CAIRN_OK;
	return content_release(w, &l->r, keeps ? next : NULL);
}

enum cairn_code live_replace(struct work *w, const struct live *l, struct record *next,
			     enum change_kind change)
{
	struct meta *m = &w->s->meta;
	enum cairn_code code = CAIRN_OK;
	size_t size;
	unsigned char *body;

	next->head.revision = w->revision;
	next->head.ordinal = w->ordinal++;
	next->head.time_ns = w->time_ns;
	next->head.change = (uint8_t)change;
	next->head.version = l->found ? l->r.head.version + 1 : 1;
	next->create_revision = l->found ? l->r.create_revision : w->revision;
	next->previous_revision = l->found ? l->r.head.revision : 0;
	next->previous_ordinal = l->found ? l->r.head.ordinal : 0;
	next->since = l->found ? l->r.since : w->revision;
	next->data_version = !l->found ? 1 : l->r.data_version + !change_keeps_value(change);
	if (!l->found && m->history && history_revive(w, key_of(l), next) < 0)
		return work_stopped(w);
	if (!next->file_id)
		next->file_id = l->found ? l->r.file_id : m->next_file_id++;
	next->author = w->author;
	next->face = w->face;
	size = record_size(next);
	body = view_alloc(w->s, size);
	if (!body)
		return work_stopped(w);
	if (!w->bulk && work_charge(w, 1, size))
		return CAIRN_E_TOO_LARGE;
	record_encode(next, body);
	if (l->found) {
		code = replaced(w, l, next, change);
		if (code)
			return code;
	}
	if (m->history && history_changed(w, key_of(l), next, false) < 0)
		return work_stopped(w);
	feed_change(w, key_of(l), next, next->head.ordinal, change, EVENT_KNOWN, next->other);
	if (l->found)
		hash_exchange(&m->rows, l->row.begun, l->body, cairn_slice(body, size));
	else
		hash_add(&m->rows, hash_end(l->row.begun, cairn_slice(body, size)));
	m->keys += !l->found;
	m->bytes += next->head.length - (l->found ? l->r.head.length : 0);
	if (view_put(w->s, &l->row, cairn_slice(body, size)) < 0 || expiry_changed(w, l, next) < 0)
		return work_stopped(w);
	return l->found ? CAIRN_OK : folders_change(w, key_of(l), true);
}

/* The record of L goes; what becomes of its chunks and its history is settled. */
static enum cairn_code take_away(struct work *w, const struct live *l)
{
	struct meta *m = &w->s->meta;

	hash_subtract(&m->rows, hash_end(l->row.begun, l->body));
	m->keys--;
	m->bytes -= l->r.head.length;
	if (view_delete(w->s, &l->row) < 0 || expiry_changed(w, l, NULL) < 0)
		return work_stopped(w);
	return folders_change(w, key_of(l), false);
}

enum cairn_code live_remove(struct work *w, const struct live *l, enum change_kind change,
			    struct cairn_slice to)
{
	bool moved = change == CHANGE_MOVE || change == CHANGE_MOVE_PREFIX;
	uint32_t ordinal = w->ordinal++;
	enum cairn_code code = CAIRN_OK;

	if (!w->bulk && work_charge(w, 1, l->body.len))
		return CAIRN_E_TOO_LARGE;
	if (w->s->meta.history || w->s->pinning)
		code = history_removed(w, l, ordinal, change, to);
	else if (l->r.chunks.len && !moved)
		code = content_release(w, &l->r, NULL);
	if (code)
		return code;
	feed_change(w, key_of(l), &l->r, ordinal, change, EVENT_KNOWN | EVENT_GONE, to);
	return take_away(w, l);
}

enum cairn_code live_purge(struct work *w, const struct live *l)
{
	struct record r = { .head = { .revision = w->revision,
				      .ordinal = w->ordinal++,
				      .time_ns = w->time_ns,
				      .change = CHANGE_DELETE } };
	enum cairn_code code = CAIRN_OK;

	if (!w->bulk && work_charge(w, 1, l->body.len))
		return CAIRN_E_TOO_LARGE;
	if (l->r.chunks.len)
		code = content_release(w, &l->r, NULL);
	if (!code && history_changed(w, key_of(l), &r, true) < 0)
		code = work_stopped(w);
	if (code)
		return code;
	feed_change(w, key_of(l), &l->r, r.head.ordinal, CHANGE_DELETE, EVENT_KNOWN | EVENT_GONE,
		    cairn_slice(NULL, 0));
	return take_away(w, l);
}

struct record live_continue(const struct record *r)
{
	return (struct record){
		.head = { .kind = r->head.kind, .flags = r->head.flags, .length = r->head.length },
		.content = r->content,
		.chunks = r->chunks,
		.expiry_ns = r->expiry_ns,
		.attributes = r->attributes,
	};
}
