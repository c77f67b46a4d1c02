/*
 * Reads in the past: get as of a revision, and a key's history. Each reads from one engine snapshot, with the
 * meta row that stands in it.
 */
#include <errno.h>
#include "le.h"
#include "past.h"
#include "read.h"
#include "banned.h"

static int reader_get(void *arg, struct cairn_slice key, struct cairn_slice *body)
{
	return read_row(arg, key, body);
}

static void reader_forget(void *arg)
{
	struct reader *r = arg;

	r->s->engine->ops.read_end(r->s->engine->handle, &r->guard);
	r->guard = (struct cairn_guard){ 0 };
	r->s->engine->ops.read_begin(r->s->engine->handle, &r->guard);
}

int read_meta_row(struct reader *r, struct meta *m)
{
	struct cairn_slice body;
	uint32_t format;
	int e = r->s->engine->ops.get(r->s->engine->handle, &r->guard, r->snapshot, cairn_str(META_KEY),
				      r->flags, &body);

	*m = (struct meta){ 0 };
	return e == -ENOENT ? 0 : e < 0 ? e : meta_decode(body, m, &format);
}

struct past read_past(struct reader *r, const struct meta *m, struct cairn_slice key)
{
	return (struct past){ .get = reader_get, .forget = reader_forget, .arg = r, .meta = m, .key = key };
}

int read_open(struct reader *r, struct meta *m)
{
	const struct engine *engine = r->s->engine;
	int e = 0;

	if (engine->ops.caps & CAIRN_ENGINE_SNAPSHOT)
		e = engine->ops.snapshot(engine->handle, &r->snapshot);
	r->guard = (struct cairn_guard){ 0 };
	engine->ops.read_begin(engine->handle, &r->guard);
	return e < 0 ? e : read_meta_row(r, m);
}

void read_close(struct reader *r)
{
	const struct engine *engine = r->s->engine;

	engine->ops.read_end(engine->handle, &r->guard);
	if (r->snapshot)
		engine->ops.release(engine->handle, r->snapshot);
	r->snapshot = NULL;
}

enum cairn_code read_compacted(struct reader *r, const struct meta *m, uint64_t revision)
{
	struct past p = read_past(r, m, cairn_slice(NULL, 0));
	uint64_t oldest = m->revision;
	int e = past_oldest(&p, &oldest);

	if (e < 0)
		return read_failed(r, e, cairn_str("history"));
	cairn_fail(r->error, CAIRN_E_COMPACTED,
		   "revision %llu is not kept any more; the oldest that is kept is %llu",
		   (unsigned long long)revision, (unsigned long long)oldest);
	if (r->error)
		r->error->revision = oldest;
	return CAIRN_E_COMPACTED;
}

enum cairn_code read_may_view(struct reader *r, const struct meta *m, uint64_t revision, bool *all)
{
	struct past p = read_past(r, m, cairn_slice(NULL, 0));
	int e;

	*all = false;
	if (revision > m->revision)
		return cairn_fail(r->error, CAIRN_E_INVALID, "revision %llu is not there yet; now is %llu",
				  (unsigned long long)revision, (unsigned long long)m->revision);
	*all = pins_hold(r->s, revision);
	if (*all)
		return CAIRN_OK;
	e = past_complete(&p, revision);
	if (e < 0)
		return read_failed(r, e, cairn_str("history"));
	return e ? CAIRN_OK : read_compacted(r, m, revision);
}

/* Go to the version as of AT; where REVISION is given, too, that must be the one that it made. */
static enum cairn_code find(struct reader *r, struct past *p, const struct args *a)
{
	uint64_t at = args_u64(a, CAIRN_F_AT, 0);
	enum cairn_code code;
	char text[KEY_TEXT];
	bool all;
	int e = past_at(p, at);

	if (e == 0 && args_u64(a, CAIRN_F_REVISION, p->record.head.revision) != p->record.head.revision) {
		cairn_fail(r->error, CAIRN_E_CONFLICT,
			   "'%s' had revision %llu at %llu, not the one asked for", key_text(p->key, text),
			   (unsigned long long)p->record.head.revision, (unsigned long long)at);
		if (r->error)
			r->error->revision = p->record.head.revision;
		return CAIRN_E_CONFLICT;
	}
	if (e == 0)
		return at > p->meta->revision ? read_may_view(r, p->meta, at, &all) : CAIRN_OK;
	if (e != -ENOENT)
		return read_failed(r, e, p->key);
	code = read_may_view(r, p->meta, at, &all);
	if (!code && all && !p->all) {
		p->all = true;
		return find(r, p, a);
	}
	return code ? code : read_failed(r, -ENOENT, p->key);
}

enum cairn_code read_get_past(struct reader *r, const struct args *a, struct cairn_msg *answer)
{
	struct cairn_slice key = a->body[CAIRN_F_KEY];
	size_t start = answer->len;
	struct record record;
	struct meta m;
	struct past p;
	enum cairn_code code;
	int e = read_open(r, &m);

	p = read_past(r, &m, key);
	code = e < 0 ? read_failed(r, e, key) : find(r, &p, a);
	if (!code)
		e = past_value(&p, &record);
	if (!code && e == 0) {
		cairn_msg_bytes(answer, CAIRN_F_KEY, key);
		if (args_bool(a, CAIRN_F_META_ONLY)) {
			answer_record(answer, &record, false);
		} else {
			cairn_msg_u64(answer, CAIRN_F_REVISION, record.head.revision);
			cairn_msg_u64(answer, CAIRN_F_SIZE, record.head.length);
			if (record.head.kind != CAIRN_KIND_VALUE)
				cairn_msg_kind(answer, CAIRN_F_KIND, record.head.kind);
			e = read_value(r, a, &record, answer);
		}
	}
	if (!code && e < 0) {
		cairn_msg_truncate(answer, start);
		code = read_failed(r, e == -ENOENT ? -EUCLEAN : e, key);
	}
	read_close(r);
	return code;
}

/* One row of a history. */
static void add_version(struct cairn_msg *answer, const struct past *p)
{
	size_t row = cairn_msg_open(answer, CAIRN_F_ROW);

	answer_record(answer, &p->record, false);
	cairn_msg_text(answer, CAIRN_F_CHANGE, change_name(p->record.head.change));
	if (p->record.other.len)
		cairn_msg_bytes(answer, CAIRN_F_OTHER, p->record.other);
	if (p->gone)
		cairn_msg_bool(answer, CAIRN_F_DELETED, true);
	cairn_msg_close(answer, row);
}

static int list_versions(struct past *p, const struct args *a, size_t max_bytes, struct cairn_msg *answer,
			 uint64_t *count)
{
	struct cairn_slice cursor = args_bytes(a, CAIRN_F_CURSOR);
	uint64_t limit = args_u64(a, CAIRN_F_LIMIT, UINT64_MAX);
	size_t start = answer->len;
	unsigned char next[12];
	int e = past_first(p);

	if (e == 0 && cursor.len)
		e = past_seek(p,
			      (struct change_place){ be64_get(cursor.data),
						     be32_get((const char *)cursor.data + 8) });
	for (; e == 0 && *count < limit; ++*count) {
		if (*count && answer->len - start >= max_bytes) {
			be64_put(next, p->record.head.revision);
			be32_put(next + 8, p->record.head.ordinal);
			cairn_msg_bytes(answer, CAIRN_F_CURSOR, cairn_slice(next, sizeof(next)));
			return 0;
		}
		add_version(answer, p);
		e = past_next(p);
	}
	return e == -ENOENT && (*count || cursor.len) ? 0 : e;
}

enum cairn_code store_history(struct store *s, struct cairn_slice fields, unsigned flags, size_t max_bytes,
			      struct cairn_msg *answer, bool *again, struct cairn_error *error)
{
	struct reader r = { .s = s, .error = error };
	uint64_t count = 0;
	enum cairn_code code;
	struct meta m;
	struct past p;
	struct args a;
	int e;

	if (again)
		*again = flags & STORE_NO_WAIT; /* a chain of rows is nothing for a loop */
	if (again && *again)
		return CAIRN_OK;
	if (args_parse(fields, &a) < 0 || !args_bytes(&a, CAIRN_F_KEY).len ||
	    a.body[CAIRN_F_KEY].len > STORE_KEY_MAX ||
	    (args_has(&a, CAIRN_F_CURSOR) && a.body[CAIRN_F_CURSOR].len != 12))
		return cairn_fail(error, CAIRN_E_INVALID,
				  "history needs a key of 1 to %d bytes, and takes a cursor of its own",
				  STORE_KEY_MAX);
	e = read_open(&r, &m);
	p = read_past(&r, &m, a.body[CAIRN_F_KEY]);
	if (e == 0)
		e = list_versions(&p, &a, max_bytes, answer, &count);
	code = e < 0 ? read_failed(&r, e, p.key) : CAIRN_OK;
	if (!code)
		cairn_msg_u64(answer, CAIRN_F_COUNT, count);
	read_close(&r);
	return code;
}
