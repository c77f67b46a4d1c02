/*
 * scan: one page of a listing. An engine iterator walks the live records between the bounds; where a
 * delimiter folds keys into one row, the walk goes on behind the folder by a new seek and never visits what
 * is in it. A page that needs several iterators reads them all from one engine snapshot, where the engine has
 * them.
 */
#include <errno.h>
#include "past.h"
#include "read.h"
#include "banned.h"

#define STEPS_BEFORE_SEEK 8 /* rows of a folder stepped over before a seek is worth its price */

enum { CURSOR_KEY = 'k', CURSOR_FOLDER = 'f' };

/* An engine key that stands for a bound. */
struct bound {
	size_t len;
	unsigned char bytes[STORE_KEY_MAX + 2];
};

struct scan {
	struct reader r;
	const struct args *a;
	struct cairn_msg *answer;
	size_t start, max_bytes; /* of the answer: where the page began, how long it may get */
	uint64_t limit, count;
	bool reverse, keys_only, meta_only;
	int delimiter; /* -1: none */
	struct cairn_slice prefix;
	struct bound from, to; /* what is left to walk */
	struct bound last;     /* the last row given, with its cursor's kind in place of the tag */
	bool more;
	void *it;
	/* Of a view: */
	bool past, all;
	uint64_t at; /* the revision */
	struct meta meta;
	struct past walk;            /* along the history of the row's key */
	void *gone;                  /* iterator over tombstones, beside that over live records */
	struct cairn_slice heads[2]; /* the next entry of each; no data at its end */
	bool fetched[2];             /* whether that is known */
	struct bound key;            /* of the row */
};

static struct cairn_slice bound_slice(const struct bound *b)
{
	return cairn_slice(b->bytes, b->len);
}

static void bound_set(struct bound *b, unsigned char first, struct cairn_slice key)
{
	b->bytes[0] = first;
	if (key.len)
		memcpy(b->bytes + 1, key.data, key.len);
	b->len = key.len + 1;
}

static void raise_from(struct scan *s, struct cairn_slice engine_key)
{
	if (cairn_slice_cmp(engine_key, bound_slice(&s->from)) > 0)
		bound_set(&s->from, ROW_LATEST,
			  cairn_slice((const char *)engine_key.data + 1, engine_key.len - 1));
}

static void lower_to(struct scan *s, struct cairn_slice engine_key)
{
	if (cairn_slice_cmp(engine_key, bound_slice(&s->to)) < 0) {
		memcpy(s->to.bytes, engine_key.data, engine_key.len);
		s->to.len = engine_key.len;
	}
}

/* Let the walk go on behind (reversed: before) everything that begins with KEY. */
static void pass_prefix(struct scan *s, struct cairn_slice key)
{
	struct bound b, end;

	bound_set(&b, ROW_LATEST, key);
	if (s->reverse) {
		lower_to(s, bound_slice(&b));
		return;
	}
	end.len = row_prefix_end(end.bytes, bound_slice(&b)).len;
	if (end.bytes[0] == ROW_LATEST)
		raise_from(s, bound_slice(&end));
	else
		s->from = s->to;
}

/* Let the walk go on behind (reversed: before) KEY. */
static void pass_key(struct scan *s, struct cairn_slice key)
{
	struct bound b;

	bound_set(&b, ROW_LATEST, key);
	if (s->reverse) {
		lower_to(s, bound_slice(&b));
	} else {
		b.bytes[b.len++] = 0;
		raise_from(s, bound_slice(&b));
	}
}

static bool fits(const struct args *a, unsigned field)
{
	return args_bytes(a, field).len <= STORE_KEY_MAX;
}

static enum cairn_code set_bounds(struct scan *s, struct cairn_error *error)
{
	struct cairn_slice cursor = args_bytes(s->a, CAIRN_F_CURSOR),
			   delimiter = args_bytes(s->a, CAIRN_F_DELIMITER);
	struct bound b, end;

	if (!fits(s->a, CAIRN_F_FROM) || !fits(s->a, CAIRN_F_TO) || !fits(s->a, CAIRN_F_PREFIX))
		return cairn_fail(error, CAIRN_E_INVALID, "a bound has at most %d bytes", STORE_KEY_MAX);
	if (delimiter.len > 1)
		return cairn_fail(error, CAIRN_E_INVALID, "the delimiter is one byte");
	s->delimiter = delimiter.len ? *(const unsigned char *)delimiter.data : -1;
	bound_set(&s->from, ROW_LATEST, args_bytes(s->a, CAIRN_F_FROM));
	bound_set(&s->to, ROW_LATEST + 1, cairn_slice(NULL, 0));
	if (args_has(s->a, CAIRN_F_TO)) {
		bound_set(&b, ROW_LATEST, args_bytes(s->a, CAIRN_F_TO));
		lower_to(s, bound_slice(&b));
	}
	bound_set(&b, ROW_LATEST, s->prefix);
	raise_from(s, bound_slice(&b));
	end.len = row_prefix_end(end.bytes, bound_slice(&b)).len;
	lower_to(s, bound_slice(&end));
	if (cursor.len) {
		struct cairn_slice key = cairn_slice((const char *)cursor.data + 1, cursor.len - 1);
		char kind = *(const char *)cursor.data;

		if (key.len > STORE_KEY_MAX || (kind != CURSOR_KEY && kind != CURSOR_FOLDER))
			return cairn_fail(error, CAIRN_E_INVALID, "that is not the cursor of a listing");
		if (kind == CURSOR_FOLDER)
			pass_prefix(s, key);
		else
			pass_key(s, key);
	}
	return CAIRN_OK;
}

/* The folder that KEY is folded into, or an empty slice. */
static struct cairn_slice folder_of(const struct scan *s, struct cairn_slice key)
{
	const char *behind, *found;

	if (s->delimiter < 0 || key.len <= s->prefix.len)
		return cairn_slice(NULL, 0);
	behind = (const char *)key.data + s->prefix.len;
	found = memchr(behind, s->delimiter, key.len - s->prefix.len);
	return found ? cairn_slice(key.data, (size_t)(found + 1 - (const char *)key.data))
		     : cairn_slice(NULL, 0);
}

/* Whether the page is full, so that one more row belongs to the next. */
static bool is_full(struct scan *s)
{
	s->more = s->count && (s->count == s->limit || s->answer->len - s->start >= s->max_bytes);
	return s->more;
}

static int add_record(struct scan *s, struct cairn_slice body)
{
	struct record record;
	int e = s->past ? past_value(&s->walk, &record) : record_decode(body, &record);

	if (e == 0)
		answer_record(s->answer, &record, !s->meta_only);
	return e;
}

/* Whether the live record in BODY is due: 1, 0 or -errno. */
static int is_due(struct scan *s, struct cairn_slice body)
{
	struct record_head head;
	int e = record_head_decode(body, &head);

	return e < 0 ? e : read_is_due(&s->r, body, &head);
}

static int add_key(struct scan *s, struct cairn_slice key, struct cairn_slice body)
{
	size_t row = cairn_msg_open(s->answer, CAIRN_F_ROW);
	int e = 0;

	cairn_msg_bytes(s->answer, CAIRN_F_KEY, key);
	if (!s->keys_only)
		e = add_record(s, body);
	cairn_msg_close(s->answer, row);
	s->count++;
	bound_set(&s->last, CURSOR_KEY, key);
	return e;
}

/* A folded row: the folder, what its marker's record says, and how many names are in it. */
static int add_folder(struct scan *s, struct cairn_slice key)
{
	unsigned char buffer[STORE_KEY_MAX + 1];
	size_t row = cairn_msg_open(s->answer, CAIRN_F_ROW);
	struct cairn_slice body = { 0 };
	struct folder f;
	int e = 0;

	cairn_msg_bytes(s->answer, CAIRN_F_KEY, key);
	cairn_msg_bool(s->answer, CAIRN_F_FOLDER, true);
	if (!s->keys_only && s->delimiter == '/' && s->past) {
		s->walk = read_past(&s->r, &s->meta, key);
		s->walk.all = s->all;
		e = past_at(&s->walk, s->at);
		if (e == 0)
			e = add_record(s, body);
		e = e == -ENOENT ? 0 : e;
	} else if (!s->keys_only && s->delimiter == '/') {
		e = read_row(&s->r, row_key(buffer, ROW_FOLDER, key), &body);
		if (e == 0 && (e = folder_decode(body, &f)) == 0) {
			cairn_msg_u64(s->answer, CAIRN_F_COUNT, f.children + f.subfolders);
			cairn_msg_u64(s->answer, CAIRN_F_SUBFOLDERS, f.subfolders);
			cairn_msg_u64(s->answer, CAIRN_F_CHANGED, f.list_time_ns);
		}
		if (e == 0 || e == -ENOENT)
			e = read_row(&s->r, row_key(buffer, ROW_LATEST, key), &body);
		if (e == 0)
			e = is_due(s, body);
		if (e == 0)
			e = add_record(s, body);
		e = e == -ENOENT || e == 1 ? 0 : e;
	}
	cairn_msg_close(s->answer, row);
	s->count++;
	bound_set(&s->last, CURSOR_FOLDER, key);
	return e;
}

static int open_one(struct scan *s, const struct bound *from, const struct bound *to, void **it)
{
	const struct engine *engine = s->r.s->engine;

	return engine->ops.iter_open(engine->handle, s->r.snapshot, bound_slice(from), bound_slice(to),
				     s->r.flags | (s->reverse ? CAIRN_READ_REVERSE : 0u), it);
}

static int open_iterator(struct scan *s)
{
	struct bound from = s->from, to = s->to;
	int e = open_one(s, &from, &to, &s->it);

	if (e < 0 || !s->past)
		return e;
	s->fetched[0] = s->fetched[1] = false;
	from.bytes[0] = ROW_GONE;
	to.bytes[0] = s->to.bytes[0] == ROW_LATEST ? ROW_GONE : ROW_GONE + 1;
	e = open_one(s, &from, &to, &s->gone);
	if (e < 0)
		s->r.s->engine->ops.iter_close(s->it);
	return e;
}

static void close_iterator(struct scan *s)
{
	s->r.s->engine->ops.iter_close(s->it);
	if (s->past)
		s->r.s->engine->ops.iter_close(s->gone);
}

/* The next key that has a record or a tombstone, into S->key; *END where there is none. */
static int next_key(struct scan *s, bool *end)
{
	struct cairn_slice value;
	int order, e;

	for (int i = 0; i < 2; i++) {
		if (s->fetched[i])
			continue;
		s->heads[i].data = NULL;
		e = s->r.s->engine->ops.iter_next(i ? s->gone : s->it, &s->heads[i], &value);
		if (e < 0)
			return e;
		s->fetched[i] = true;
	}
	*end = !s->heads[0].data && !s->heads[1].data;
	if (*end)
		return 0;
	order = !s->heads[0].data ? 1
		: !s->heads[1].data
		? -1
		: cairn_slice_cmp(cairn_slice((const char *)s->heads[0].data + 1, s->heads[0].len - 1),
				  cairn_slice((const char *)s->heads[1].data + 1, s->heads[1].len - 1));
	if (s->reverse && s->heads[0].data && s->heads[1].data)
		order = -order;
	bound_set(&s->key, ROW_LATEST,
		  cairn_slice((const char *)s->heads[order > 0].data + 1, s->heads[order > 0].len - 1));
	s->fetched[0] = order > 0;
	s->fetched[1] = order < 0;
	return 0;
}

/* The next live record or, of a view, key that was there then; no data in KEY at the end. */
static int next_row(struct scan *s, struct cairn_slice *engine_key, struct cairn_slice *value)
{
	bool end;
	int e;

	if (!s->past)
		return s->r.s->engine->ops.iter_next(s->it, engine_key, value);
	for (;;) {
		e = next_key(s, &end);
		if (e < 0 || end)
			return e;
		s->walk = read_past(&s->r, &s->meta, cairn_slice(s->key.bytes + 1, s->key.len - 1));
		s->walk.all = s->all;
		s->walk.forget(&s->r);
		e = past_at(&s->walk, s->at);
		if (e == -ENOENT)
			continue;
		*engine_key = bound_slice(&s->key);
		*value = cairn_slice(NULL, 0);
		return e;
	}
}

/* The body of the live row that the engine gives as VALUE. 1 where its record is due, 0 or -errno. */
static int take_row(struct scan *s, struct cairn_slice engine_key, struct cairn_slice *value)
{
	int e = s->r.s->checksums ? row_verify(engine_key, *value, value) : 0;

	return e < 0 ? e : is_due(s, *value);
}

/* Rows until the page is full, the range ends, or a folder is to be passed (*SEEK). */
static int walk(struct scan *s, bool *seek)
{
	struct bound folder = { 0 };
	unsigned steps = 0;

	*seek = false;
	for (;;) {
		struct cairn_slice engine_key = { 0 }, value, key, in;
		int e = next_row(s, &engine_key, &value);

		if (e < 0 || !engine_key.data)
			return e;
		if (folder.len && cairn_slice_starts(engine_key, bound_slice(&folder))) {
			if (++steps < STEPS_BEFORE_SEEK)
				continue;
			pass_prefix(s, cairn_slice(folder.bytes + 1, folder.len - 1));
			*seek = true;
			return 0;
		}
		e = s->past ? 0 : take_row(s, engine_key, &value);
		if (e < 0)
			return e;
		if (e)
			continue;
		if (is_full(s))
			return 0;
		key = cairn_slice((const char *)engine_key.data + 1, engine_key.len - 1);
		in = folder_of(s, key);
		if (in.len) {
			bound_set(&folder, ROW_LATEST, in);
			steps = 0;
			e = add_folder(s, cairn_slice(folder.bytes + 1, folder.len - 1));
		} else {
			e = add_key(s, key, value);
		}
		if (e < 0)
			return e;
	}
}

static int walk_all(struct scan *s)
{
	bool seek = true;
	int e = 0;

	while (seek && cairn_slice_cmp(bound_slice(&s->from), bound_slice(&s->to)) < 0) {
		e = open_iterator(s);
		if (e < 0)
			break;
		e = walk(s, &seek);
		close_iterator(s);
		if (e < 0)
			break;
	}
	return e;
}

/* A page of the listing as of S->at. */
static enum cairn_code scan_past(struct scan *s)
{
	enum cairn_code code;
	int e = read_open(&s->r, &s->meta);

	code = e < 0 ? read_failed(&s->r, e, s->prefix) : read_may_view(&s->r, &s->meta, s->at, &s->all);
	if (!code && (e = walk_all(s)) < 0)
		code = read_failed(&s->r, e, s->prefix);
	read_close(&s->r);
	return code;
}

static enum cairn_code scan_now(struct scan *s, bool *again)
{
	const struct engine *engine = s->r.s->engine;
	int e = 0;

	if (s->delimiter >= 0 && engine->ops.caps & CAIRN_ENGINE_SNAPSHOT)
		e = engine->ops.snapshot(engine->handle, &s->r.snapshot);
	engine->ops.read_begin(engine->handle, &s->r.guard);
	if (e == 0)
		e = walk_all(s);
	engine->ops.read_end(engine->handle, &s->r.guard);
	if (s->r.snapshot)
		engine->ops.release(engine->handle, s->r.snapshot);
	if (e == -EAGAIN && again)
		*again = true;
	return e == 0 || (e == -EAGAIN && again) ? CAIRN_OK : read_failed(&s->r, e, s->prefix);
}

enum cairn_code store_scan(struct store *store, struct cairn_slice fields, unsigned flags, size_t max_bytes,
			   struct cairn_msg *answer, bool *again, struct cairn_error *error)
{
	struct scan s = { .answer = answer, .start = answer->len, .max_bytes = max_bytes };
	enum cairn_code code;
	struct args a;

	if (again)
		*again = false;
	if (args_parse(fields, &a) < 0)
		return cairn_fail(error, CAIRN_E_INVALID, "scan: the arguments are malformed");
	s.r = (struct reader){ .s = store,
			       .flags = flags & STORE_NO_WAIT ? CAIRN_READ_NO_WAIT : 0,
			       .clock_ns = atomic_load(&store->clock_ns),
			       .error = error };
	s.a = &a;
	s.past = args_has(&a, CAIRN_F_AT);
	s.at = args_u64(&a, CAIRN_F_AT, 0);
	s.limit = args_u64(&a, CAIRN_F_LIMIT, 0);
	s.reverse = args_bool(&a, CAIRN_F_REVERSE);
	s.keys_only = args_bool(&a, CAIRN_F_KEYS_ONLY);
	s.meta_only = args_bool(&a, CAIRN_F_META_ONLY);
	s.prefix = args_bytes(&a, CAIRN_F_PREFIX);
	code = set_bounds(&s, error);
	if (code)
		return code;
	if (s.past && again && flags & STORE_NO_WAIT) {
		*again = true; /* nothing for a loop */
		return CAIRN_OK;
	}
	code = s.past ? scan_past(&s) : scan_now(&s, again);
	if (code || (again && *again)) {
		cairn_msg_truncate(answer, s.start);
		return code;
	}
	cairn_msg_u64(answer, CAIRN_F_COUNT, s.count);
	if (s.more)
		cairn_msg_bytes(answer, CAIRN_F_CURSOR, bound_slice(&s.last));
	return CAIRN_OK;
}
