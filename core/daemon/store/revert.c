/*
 * Going back: revert puts the version of a key that was there at a revision in place of the present one, and
 * revert-prefix does so for every key of a folder, also for those that are gone, or were not there yet. What
 * is put back is a new version; its chunks are shared with the old one. purge takes a key and all that was
 * kept of it away, as one change without a tombstone.
 */
#include <errno.h>
#include "content.h"
#include "past.h"
#include "banned.h"

#define STEP_COST 64 /* bytes that a step along a history counts as */

static int get(void *arg, struct cairn_slice key, struct cairn_slice *body)
{
	struct work *w = arg;
	struct row row;
	int e;

	e = view_row_of(w->s, key, &row);
	return e < 0 ? e : view_get(w->s, &row, body);
}

struct past past_of(struct work *w, struct cairn_slice key)
{
	const struct meta *m = &w->s->meta;

	return (struct past){ .get = get,
			      .arg = w,
			      .meta = m,
			      .key = key,
			      .most = 1 + (m->bulk_bytes - w->bytes) / STEP_COST };
}

enum cairn_code past_failed(struct work *w, int e, struct cairn_slice key)
{
	if (e == -E2BIG)
		return work_charge(w, 0, w->s->meta.bulk_bytes + 1);
	if (e == -EUCLEAN)
		view_damaged(w->s, key);
	return work_stopped(w);
}

static enum cairn_code compacted(struct work *w, struct past *p, uint64_t revision)
{
	uint64_t oldest = 0;
	int e = past_oldest(p, &oldest);

	if (e < 0)
		return past_failed(w, e, p->key);
	cairn_fail(w->error, CAIRN_E_COMPACTED,
		   "revision %llu is not kept any more; the oldest that is kept is %llu",
		   (unsigned long long)revision, (unsigned long long)oldest);
	w->error->revision = oldest;
	return CAIRN_E_COMPACTED;
}

/* Whether all of REVISION is visible: 0, INVALID or COMPACTED. */
static enum cairn_code is_complete(struct work *w, struct past *p, uint64_t revision)
{
	int e;

	if (revision > w->s->meta.revision)
		return cairn_fail(w->error, CAIRN_E_INVALID, "revision %llu is not there yet; now is %llu",
				  (unsigned long long)revision, (unsigned long long)w->s->meta.revision);
	e = past_complete(p, revision);
	if (e < 0)
		return past_failed(w, e, p->key);
	return e ? CAIRN_OK : compacted(w, p, revision);
}

/* The first LENGTH bytes of the chunks of OLD, more than stand in a record, as NEXT's; held. */
static enum cairn_code share_chunks(struct work *w, const struct record *old, uint64_t length,
				    struct record *next)
{
	struct pieces list = { 0 };
	enum cairn_code code = CAIRN_OK;
	uint64_t start = 0;

	for (size_t i = 0; i < pieces_count(old->chunks) && start < length && !code; i++) {
		struct piece p = pieces_entry(old->chunks, i);
		struct cairn_slice bytes;

		if (p.length > length - start) {
			code = chunk_load(w, &p, &bytes);
			if (code)
				return code;
			p.length = (uint32_t)(length - start);
			p.hash = hash_bytes(cairn_slice(bytes.data, p.length));
		}
		start += p.length;
		code = chunk_hold(w, &p);
		if (!code)
			code = pieces_add(w, &list, p);
	}
	return code ? code : content_set_pieces(w, next, &list, length);
}

/* OLD becomes the present version of L's key. */
static enum cairn_code put_back(struct work *w, const struct live *l, const struct record *old)
{
	struct record next = live_continue(old);
	uint64_t length = old->head.length;
	enum cairn_code code = content_fits(w, length);
	unsigned char *bytes;

	next.expiry_ns = 0;
	next.head.flags &= (uint16_t) ~(RECORD_OPEN | RECORD_DERIVED);
	if (!code)
		code = work_charge(w, 0, old->content.len);
	if (code)
		return code;
	if (old->chunks.len && length > w->s->meta.inline_max) {
		code = share_chunks(w, old, length, &next);
	} else if (old->chunks.len) {
		bytes = view_alloc(w->s, length);
		code = bytes ? content_read(w, old, 0, length, bytes) : work_stopped(w);
		if (!code)
			code = content_set(w, &next, cairn_slice(bytes, length));
	} else {
		code = content_set(w, &next, old->content);
	}
	return code ? code : live_replace(w, l, &next, CHANGE_REVERT);
}

enum cairn_code op_revert(struct work *w, const struct args *a)
{
	struct cairn_slice key = a->body[CAIRN_F_KEY];
	uint64_t revision = args_u64(a, CAIRN_F_REVISION, 0);
	struct past p = past_of(w, key);
	char text[KEY_TEXT];
	struct record old;
	struct live l;
	enum cairn_code code = live_load(w, key, &l);
	int e;

	if (!code && revision > w->s->meta.revision)
		code = is_complete(w, &p, revision);
	if (code)
		return code;
	e = past_at(&p, revision);
	code = work_charge(w, 0, p.steps * STEP_COST);
	if (code)
		return code;
	if (e == -ENOENT) {
		code = is_complete(w, &p, revision);
		return code ? code
			    : cairn_fail(w->error, CAIRN_E_NOT_FOUND, "no key '%s' at revision %llu",
					 key_text(key, text), (unsigned long long)revision);
	}
	if (e == 0)
		e = past_value(&p, &old);
	if (e < 0)
		return past_failed(w, e, l.row.key);
	if (!l.found || l.r.head.revision != old.head.revision || l.r.head.ordinal != old.head.ordinal)
		code = put_back(w, &l, &old);
	if (!code)
		cairn_msg_u64(w->answer, CAIRN_F_SIZE, old.head.length);
	return code;
}

/* The keys below a prefix, live ones and then those that are gone. */
struct keys {
	struct work *w;
	struct cairn_slice *at;
	size_t count, cap;
	enum cairn_code code;
};

static int collect(void *arg, struct cairn_slice key, struct cairn_slice body)
{
	struct keys *k = arg;
	struct store *s = k->w->s;
	struct row row;

	k->code = work_charge(k->w, 1, key.len + body.len);
	if (k->code)
		return 1;
	if (k->count == k->cap) {
		size_t cap = k->cap ? k->cap * 2 : 64;
		struct cairn_slice *at = view_alloc(s, cap * sizeof(*at));

		if (!at)
			return -ENOMEM;
		if (k->count)
			memcpy(at, k->at, k->count * sizeof(*at));
		k->at = at;
		k->cap = cap;
	}
	if (view_row_of(s, cairn_slice((const char *)key.data + 1, key.len - 1), &row) < 0)
		return -ENOMEM;
	k->at[k->count++] = row.key;
	return 0;
}

/* A tombstone that is not visible may be there or not: it does not count. */
static int collect_gone(void *arg, struct cairn_slice key, struct cairn_slice body)
{
	struct keys *k = arg;
	struct record_head head;

	if (record_head_decode(body, &head) < 0)
		return view_damaged(k->w->s, key);
	return history_shows_gone(&k->w->s->meta, &head) ? collect(arg, key, body) : 0;
}

static enum cairn_code collect_keys(struct work *w, struct cairn_slice prefix, struct keys *k)
{
	unsigned char *end = view_alloc(w->s, prefix.len + 1);
	struct row row;
	char text[KEY_TEXT];

	*k = (struct keys){ .w = w };
	if (prefix.len > w->s->meta.key_max)
		return work_key(w, prefix);
	if (!end || view_row(w->s, ROW_LATEST, prefix, &row) < 0 ||
	    view_each(w->s, row.key, row_prefix_end(end, row.key), collect, k) < 0)
		return work_stopped(w);
	if (!k->code &&
	    (view_row(w->s, ROW_GONE, prefix, &row) < 0 ||
	     view_each(w->s, row.key, row_prefix_end(end, row.key), collect_gone, k) < 0))
		return work_stopped(w);
	if (!k->code && !k->count)
		k->code = cairn_fail(w->error, CAIRN_E_NOT_FOUND, "no key begins with '%s'",
				     key_text(prefix, text));
	return k->code;
}

struct reverted {
	uint64_t restored, replaced, removed;
};

/* KEY becomes what it was at REVISION, all of which is visible. */
static enum cairn_code revert_key(struct work *w, struct cairn_slice key, uint64_t revision,
				  struct reverted *done)
{
	struct past p = past_of(w, key);
	struct record old;
	struct live l;
	enum cairn_code code = live_load(w, key, &l);
	int e;

	if (code || (l.found && l.r.head.revision <= revision))
		return code;
	e = past_at(&p, revision);
	code = work_charge(w, 0, p.steps * STEP_COST);
	if (code)
		return code;
	if (e == 0)
		e = past_value(&p, &old);
	if (e < 0 && e != -ENOENT)
		return past_failed(w, e, l.row.key);
	if (e == 0) {
		*(l.found ? &done->replaced : &done->restored) += 1;
		return put_back(w, &l, &old);
	}
	done->removed += l.found;
	return l.found ? live_remove(w, &l, CHANGE_DELETE, cairn_slice(NULL, 0)) : CAIRN_OK;
}

enum cairn_code op_revert_prefix(struct work *w, const struct args *a)
{
	uint64_t revision = args_u64(a, CAIRN_F_REVISION, 0);
	struct past p = past_of(w, cairn_slice(NULL, 0));
	struct reverted done = { 0 };
	struct keys keys;
	enum cairn_code code = is_complete(w, &p, revision);

	if (!code)
		code = collect_keys(w, a->body[CAIRN_F_PREFIX], &keys);
	w->bulk = true;
	for (size_t i = 0; !code && i < keys.count; i++)
		code = revert_key(w, keys.at[i], revision, &done);
	w->bulk = false;
	if (code)
		return code;
	cairn_msg_u64(w->answer, CAIRN_F_RESTORED, done.restored);
	cairn_msg_u64(w->answer, CAIRN_F_REPLACED, done.replaced);
	cairn_msg_u64(w->answer, CAIRN_F_REMOVED, done.removed);
	return CAIRN_OK;
}

/*
 * Remove the versions before AT. Only what is visible is charged for: more may be there, or not, and goes
 * along.
 */
static enum cairn_code purge_versions(struct work *w, const struct past *newest, struct record at)
{
	while (at.previous_revision) {
		uint64_t keys = w->keys, bytes = w->bytes;
		unsigned char key[ROW_CHANGE_KEY];
		struct cairn_slice body;
		struct change c;
		struct row row;
		bool shows;
		int e = view_row_of(w->s, row_change_key(key, at.previous_revision, at.previous_ordinal),
				    &row);

		if (e == 0)
			e = view_get(w->s, &row, &body);
		if (e == 0 &&
		    (change_decode(body, &c) < 0 || (c.record.len && record_decode(c.record, &at) < 0)))
			e = view_damaged(w->s, row.key);
		if (e == -ENOENT || (e == 0 && !c.record.len))
			return CAIRN_OK;
		if (e < 0)
			return work_stopped(w);
		shows = history_shows(&w->s->meta, &at.head, &c, &newest->newest, newest->newest_gone);
		if (shows && work_charge(w, 1, body.len))
			return CAIRN_E_TOO_LARGE;
		if (!shows)
			w->keys = w->bytes = 0;
		if (content_release(w, &at, NULL))
			return w->s->stop.code ? work_stopped(w) : CAIRN_E_TOO_LARGE;
		w->s->meta.history_used -= row.key.len + body.len + c.held;
		if (history_forget(w, &row, &c) < 0)
			return work_stopped(w);
		if (!shows) {
			w->keys = keys;
			w->bytes = bytes;
		}
	}
	return CAIRN_OK;
}

/* Take KEY away with its history. *DONE is set where there was something of it. */
static enum cairn_code purge_key(struct work *w, struct cairn_slice key, bool *done)
{
	struct past p = past_of(w, key);
	struct cairn_slice body;
	struct live l;
	struct row row;
	enum cairn_code code = live_load(w, key, &l);
	int e;

	if (code)
		return code;
	e = past_first(&p);
	*done = e == 0;
	if (e < 0)
		return e == -ENOENT ? CAIRN_OK : past_failed(w, e, l.row.key);
	code = purge_versions(w, &p, p.record);
	if (!code && l.found)
		code = live_purge(w, &l);
	if (code)
		return code;
	e = view_row(w->s, ROW_GONE, key, &row);
	if (e == 0)
		e = view_get(w->s, &row, &body);
	if (e == 0) {
		w->s->meta.history_used -= row.key.len + body.len;
		e = view_delete(w->s, &row);
	}
	return e < 0 && e != -ENOENT ? work_stopped(w) : CAIRN_OK;
}

static enum cairn_code purge_all(struct work *w, struct cairn_slice prefix)
{
	struct keys keys;
	enum cairn_code code = collect_keys(w, prefix, &keys);
	bool done;

	w->bulk = true;
	for (size_t i = 0; !code && i < keys.count; i++)
		code = purge_key(w, keys.at[i], &done);
	w->bulk = false;
	if (!code)
		cairn_msg_u64(w->answer, CAIRN_F_COUNT, keys.count);
	return code;
}

enum cairn_code op_purge(struct work *w, const struct args *a)
{
	char text[KEY_TEXT];
	enum cairn_code code;
	bool done;

	if (args_has(a, CAIRN_F_KEY) == args_has(a, CAIRN_F_PREFIX))
		return cairn_fail(w->error, CAIRN_E_INVALID, "purge takes a key or a prefix");
	if (args_has(a, CAIRN_F_PREFIX))
		return purge_all(w, a->body[CAIRN_F_PREFIX]);
	code = purge_key(w, a->body[CAIRN_F_KEY], &done);
	if (code || done)
		return code;
	return cairn_fail(w->error, CAIRN_E_NOT_FOUND, "no key '%s', and no history of one",
			  key_text(a->body[CAIRN_F_KEY], text));
}
