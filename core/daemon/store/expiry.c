/*
 * Keys that go at a time. A row leads from that time to the key, so that what is due first is found at once;
 * the time itself stands in the record. Time is that of the commands, never this machine's: a command that
 * moves the clock on removes what became due, before it does anything else. So a key is gone for every
 * command and every reader behind that one, and on every replica at the same index.
 */
#include <errno.h>
#include "le.h"
#include "read.h"
#include "banned.h"

#define TTL_MAX_MS (100ull * 366 * 86400 * 1000) /* 100 years */
#define DUE_BYTES (256u << 10)                   /* of records: what is removed at a time */

struct cairn_slice expiry_key(unsigned char key[ROW_EXPIRY_KEY], const struct record *r)
{
	key[0] = ROW_EXPIRY;
	be64_put(key + 1, r->expiry_ns);
	be64_put(key + 9, r->file_id);
	return cairn_slice(key, ROW_EXPIRY_KEY);
}

static int expiry_row(struct store *s, const struct record *r, struct row *row)
{
	unsigned char key[ROW_EXPIRY_KEY];

	return view_row_of(s, expiry_key(key, r), row);
}

int expiry_changed(struct work *w, const struct live *l, const struct record *next)
{
	struct cairn_slice key = cairn_slice((const char *)l->row.key.data + 1, l->row.key.len - 1), has;
	bool had = l->found && l->r.expiry_ns, same;
	struct row row;
	int e;

	same = had && next && next->expiry_ns == l->r.expiry_ns && next->file_id == l->r.file_id;
	if (had && !same) {
		if (expiry_row(w->s, &l->r, &row) < 0)
			return -ENOMEM;
		e = view_get(w->s, &row, &has);
		if (e == -ENOENT)
			return view_damaged(w->s, row.key);
		if (e == 0 && cairn_slice_eq(has, key)) /* else another key has taken it over, by a swap */
			e = view_delete(w->s, &row);
		if (e < 0)
			return e;
	}
	if (!next || !next->expiry_ns || same)
		return 0;
	if (next->expiry_ns < w->s->due_ns)
		w->s->due_ns = next->expiry_ns;
	return expiry_row(w->s, next, &row) < 0 ? -ENOMEM : view_put(w->s, &row, key);
}

int expiry_is_due(const struct work *w, struct cairn_slice body)
{
	struct record_head head;
	struct record r;

	if (w->time_ns < w->s->due_ns)
		return 0;
	if (record_head_decode(body, &head) < 0)
		return -EUCLEAN;
	if (!(head.flags & RECORD_EXPIRES))
		return 0;
	return record_decode(body, &r) < 0 ? -EUCLEAN : r.expiry_ns <= w->time_ns;
}

enum cairn_code expiry_end(struct work *w, struct live *l)
{
	struct cairn_slice author = w->author, face = w->face, none = cairn_slice(NULL, 0);
	enum cairn_code code;

	w->author = w->face = none;
	code = live_remove(w, l, CHANGE_EXPIRE, none);
	w->author = author;
	w->face = face;
	l->found = false;
	return code;
}

/* The keys that are due, in the order of their times. */
struct due {
	struct work *w;
	struct cairn_slice keys[EXPIRE_KEYS];
	size_t count;
	uint64_t next_ns; /* when the first one behind them is */
};

static int collect(void *arg, struct cairn_slice key, struct cairn_slice body)
{
	struct due *d = arg;
	uint64_t time_ns;
	struct row row;

	if (key.len != ROW_EXPIRY_KEY || !body.len)
		return view_damaged(d->w->s, key);
	time_ns = be64_get((const char *)key.data + 1);
	if (time_ns > d->w->time_ns || d->count == EXPIRE_KEYS) {
		d->next_ns = time_ns;
		return 1;
	}
	if (view_row_of(d->w->s, body, &row) < 0)
		return -ENOMEM;
	d->keys[d->count++] = row.key;
	return 0;
}

/* Remove the keys of D, which are due, as long as that costs little. */
static int remove_all(struct work *w, const struct due *d)
{
	uint64_t bytes = 0;
	struct live l;

	for (size_t i = 0; i < d->count; i++) {
		if (bytes >= DUE_BYTES) {
			w->s->due_ns = w->time_ns;
			return 0;
		}
		l.body.len = 0;
		if (live_load(w, d->keys[i], &l))
			return -EIO;
		if (l.found || !l.body.len) /* a row of expiry that leads to no key that is due */
			return view_damaged(w->s, l.row.key);
		bytes += l.body.len;
	}
	return 0;
}

int expiry_due(struct work *w)
{
	static const unsigned char from[] = { ROW_EXPIRY }, to[] = { ROW_EXPIRY + 1 };
	struct store *s = w->s;
	struct due d; /* large: it is not even filled with zeros for each command */

	if (w->time_ns < s->due_ns)
		return 0;
	d.w = w;
	d.count = 0;
	d.next_ns = UINT64_MAX;
	w->bulk = true;
	if (view_each(s, cairn_slice(from, 1), cairn_slice(to, 1), collect, &d) < 0)
		return -EIO;
	s->due_ns = d.next_ns;
	if (remove_all(w, &d) < 0)
		return -EIO;
	w->bulk = false;
	if (!w->ordinal)
		return 0;
	s->meta.revision = w->revision++;
	w->ordinal = 0;
	pending_keep(&s->pending);
	return 0;
}

int expiry_load(struct store *s)
{
	static const unsigned char from[] = { ROW_EXPIRY }, to[] = { ROW_EXPIRY + 1 };
	const struct cairn_engine *ops = &s->engine->ops;
	struct cairn_slice key = { 0 }, value;
	void *it;
	int e = ops->iter_open(s->engine->handle, NULL, cairn_slice(from, 1), cairn_slice(to, 1), 0, &it);

	if (e < 0)
		return e;
	e = ops->iter_next(it, &key, &value);
	s->due_ns = UINT64_MAX;
	if (e == 0 && key.data)
		s->due_ns = key.len == ROW_EXPIRY_KEY ? be64_get((const char *)key.data + 1) : 0;
	ops->iter_close(it);
	return e;
}

enum cairn_code expiry_given(struct work *w, const struct args *a, uint64_t old_ns, uint64_t *ns)
{
	uint64_t ttl_ms = args_u64(a, CAIRN_F_TTL_MS, 0);
	bool keep = args_bool(a, CAIRN_F_KEEP_EXPIRY);

	*ns = keep ? old_ns : 0;
	if (args_has(a, CAIRN_F_TTL_MS) + args_has(a, CAIRN_F_EXPIRY) + keep > 1)
		return cairn_fail(w->error, CAIRN_E_INVALID,
				  "'ttl_ms', 'expiry' and 'keep_expiry' exclude each other");
	if (args_has(a, CAIRN_F_TTL_MS)) {
		if (!ttl_ms || ttl_ms > TTL_MAX_MS)
			return cairn_fail(w->error, CAIRN_E_INVALID,
					  "'ttl_ms' is from 1 to %llu, which is 100 years", TTL_MAX_MS);
		*ns = w->time_ns + ttl_ms * 1000000;
	} else if (args_has(a, CAIRN_F_EXPIRY)) {
		*ns = args_u64(a, CAIRN_F_EXPIRY, 0);
		if (!*ns)
			return cairn_fail(w->error, CAIRN_E_INVALID, "'expiry' is a time after 1970");
	}
	return CAIRN_OK;
}

enum cairn_code op_expire(struct work *w, const struct args *a)
{
	struct record next;
	struct live l;
	uint64_t ns;
	enum cairn_code code = expiry_given(w, a, 0, &ns);

	if (!code && !ns)
		code = cairn_fail(w->error, CAIRN_E_INVALID,
				  "expire needs the argument 'ttl_ms' or 'expiry'");
	if (!code)
		code = live_need(w, a->body[CAIRN_F_KEY], &l);
	if (code)
		return code;
	next = live_continue(&l.r);
	next.expiry_ns = ns;
	code = live_replace(w, &l, &next, CHANGE_TTL);
	if (!code)
		cairn_msg_u64(w->answer, CAIRN_F_EXPIRY, ns);
	return code;
}

enum cairn_code op_persist(struct work *w, const struct args *a)
{
	struct record next;
	struct live l;
	enum cairn_code code = live_need(w, a->body[CAIRN_F_KEY], &l);

	if (code || !l.r.expiry_ns)
		return code;
	next = live_continue(&l.r);
	next.expiry_ns = 0;
	return live_replace(w, &l, &next, CHANGE_TTL);
}

enum cairn_code op_expire_due(struct work *w, const struct args *a)
{
	(void)w; /* what is due went when the command moved the clock on */
	(void)a;
	return CAIRN_OK;
}
