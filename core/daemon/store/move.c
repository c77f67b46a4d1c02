/*
 * Records under other keys: move, copy, swap, and the same for all keys with a prefix. A moved record keeps
 * its file id; what it lands on is replaced, and its version goes on counting. Chunks are handed over or
 * shared, never copied.
 */
#include "content.h"
#include "banned.h"

static struct cairn_slice key_of(const struct live *l)
{
	return cairn_slice((const char *)l->row.key.data + 1, l->row.key.len - 1);
}

/* SRC was taken away (or stays, with COPY): put it under KEY. */
static enum cairn_code put_under(struct work *w, const struct live *src, struct cairn_slice key,
				 enum change_kind change)
{
	struct record next = live_continue(&src->r);
	struct live dst;
	enum cairn_code code = live_load(w, key, &dst);

	if (code)
		return code;
	next.other = key_of(src);
	if (change == CHANGE_COPY) {
		next.head.flags &= (uint16_t)~RECORD_OPEN;
		code = content_hold(w, &src->r);
	} else {
		next.file_id = src->r.file_id;
	}
	return code ? code : live_replace(w, &dst, &next, change);
}

enum cairn_code op_move(struct work *w, const struct args *a)
{
	struct live src;
	enum cairn_code code = live_need(w, a->body[CAIRN_F_KEY], &src);

	if (!code)
		code = work_key(w, a->body[CAIRN_F_TO]);
	if (code || cairn_slice_eq(a->body[CAIRN_F_KEY], a->body[CAIRN_F_TO]))
		return code;
	code = live_remove(w, &src, CHANGE_MOVE, a->body[CAIRN_F_TO]);
	return code ? code : put_under(w, &src, a->body[CAIRN_F_TO], CHANGE_MOVE);
}

enum cairn_code op_copy(struct work *w, const struct args *a)
{
	struct live src;
	enum cairn_code code = live_need(w, a->body[CAIRN_F_KEY], &src);

	return code ? code : put_under(w, &src, a->body[CAIRN_F_TO], CHANGE_COPY);
}

enum cairn_code op_swap(struct work *w, const struct args *a)
{
	struct record next_a, next_b;
	struct live one, other;
	enum cairn_code code = live_need(w, a->body[CAIRN_F_KEY], &one);

	if (!code)
		code = live_need(w, a->body[CAIRN_F_TO], &other);
	if (code || cairn_slice_eq(a->body[CAIRN_F_KEY], a->body[CAIRN_F_TO]))
		return code;
	next_a = live_continue(&other.r);
	next_a.file_id = other.r.file_id;
	next_a.other = a->body[CAIRN_F_TO];
	next_b = live_continue(&one.r);
	next_b.file_id = one.r.file_id;
	next_b.other = a->body[CAIRN_F_KEY];
	code = live_replace(w, &one, &next_a, CHANGE_SWAP);
	return code ? code : live_replace(w, &other, &next_b, CHANGE_SWAP);
}

/* The records under a prefix, in order. */
struct tree {
	struct work *w;
	struct live *at;
	size_t count, cap;
	enum cairn_code code;
};

static int collect(void *arg, struct cairn_slice key, struct cairn_slice body)
{
	struct tree *t = arg;
	struct store *s = t->w->s;
	struct live *l;
	unsigned char *copy;
	int due = expiry_is_due(t->w, body);

	if (due)
		return due < 0 ? view_damaged(s, key) : 0;

	t->code = work_charge(t->w, 1, key.len + body.len);
	if (t->code)
		return 1;
	if (t->count == t->cap) {
		size_t cap = t->cap ? t->cap * 2 : 64;
		struct live *at = view_alloc(s, cap * sizeof(*at));

		if (!at)
			return -1;
		if (t->count)
			memcpy(at, t->at, t->count * sizeof(*at));
		t->at = at;
		t->cap = cap;
	}
	l = &t->at[t->count++];
	copy = view_alloc(s, body.len);
	if (!copy || view_row_of(s, key, &l->row) < 0)
		return -1;
	memcpy(copy, body.data, body.len);
	l->body = cairn_slice(copy, body.len);
	l->found = true;
	return record_decode(l->body, &l->r) < 0 ? view_damaged(s, key) : 0;
}

/* Collect what is under PREFIX; NOT_FOUND where nothing is. From here on keys are charged. */
static enum cairn_code collect_tree(struct work *w, struct cairn_slice prefix, struct tree *t)
{
	unsigned char *end = view_alloc(w->s, prefix.len + 1);
	char text[KEY_TEXT];
	struct row row;

	*t = (struct tree){ .w = w };
	if (prefix.len > w->s->meta.key_max)
		return work_key(w, prefix);
	if (!end || view_row(w->s, ROW_LATEST, prefix, &row) < 0)
		return work_stopped(w);
	if (view_each(w->s, row.key, row_prefix_end(end, row.key), collect, t) < 0)
		return work_stopped(w);
	if (!t->code && !t->count)
		t->code = cairn_fail(w->error, CAIRN_E_NOT_FOUND, "no key begins with '%s'",
				     key_text(prefix, text));
	return t->code;
}

/* Where L goes when TO takes the place of PREFIX; empty when there is no memory. */
static struct cairn_slice target(struct work *w, const struct live *l, const struct args *a)
{
	struct cairn_slice prefix = a->body[CAIRN_F_PREFIX], to = a->body[CAIRN_F_TO], old = key_of(l);
	size_t rest = old.len - prefix.len;
	unsigned char *key = view_alloc(w->s, to.len + rest);

	if (!key)
		return cairn_slice(NULL, 0);
	if (to.len)
		memcpy(key, to.data, to.len);
	memcpy(key + to.len, (const char *)old.data + prefix.len, rest);
	return cairn_slice(key, to.len + rest);
}

/* Put every record of T under TO in place of PREFIX. */
static enum cairn_code put_tree(struct work *w, const struct tree *t, const struct args *a,
				enum change_kind change)
{
	enum cairn_code code = CAIRN_OK;

	for (size_t i = 0; i < t->count && !code; i++) {
		struct cairn_slice key = target(w, &t->at[i], a);

		code = key.data ? put_under(w, &t->at[i], key, change) : work_stopped(w);
	}
	cairn_msg_u64(w->answer, CAIRN_F_COUNT, t->count);
	return code;
}

static enum cairn_code remove_tree(struct work *w, const struct tree *t, const struct args *a,
				   enum change_kind change)
{
	enum cairn_code code = CAIRN_OK;

	for (size_t i = 0; i < t->count && !code; i++) {
		struct cairn_slice to = cairn_slice(NULL, 0);

		if (change == CHANGE_MOVE_PREFIX) {
			to = target(w, &t->at[i], a);
			if (!to.data)
				return work_stopped(w);
			if (to.len > w->s->meta.key_max) /* will be refused */
				to = cairn_slice(NULL, 0);
		}
		code = live_remove(w, &t->at[i], change, to);
	}
	return code;
}

static enum cairn_code both_prefixes(struct work *w, const struct args *a, struct tree *t)
{
	if (cairn_slice_starts(a->body[CAIRN_F_TO], a->body[CAIRN_F_PREFIX]))
		return cairn_fail(w->error, CAIRN_E_INVALID, "a folder cannot be put into itself");
	return collect_tree(w, a->body[CAIRN_F_PREFIX], t);
}

enum cairn_code op_move_prefix(struct work *w, const struct args *a)
{
	struct tree t;
	enum cairn_code code = both_prefixes(w, a, &t);

	w->bulk = true;
	if (!code)
		code = history_prefix(w, a->body[CAIRN_F_PREFIX], a->body[CAIRN_F_TO]);
	if (!code)
		code = remove_tree(w, &t, a, CHANGE_MOVE_PREFIX);
	if (!code)
		code = put_tree(w, &t, a, CHANGE_MOVE_PREFIX);
	w->bulk = false;
	return code;
}

enum cairn_code op_copy_prefix(struct work *w, const struct args *a)
{
	struct tree t;
	enum cairn_code code = both_prefixes(w, a, &t);

	w->bulk = true;
	if (!code)
		code = put_tree(w, &t, a, CHANGE_COPY);
	w->bulk = false;
	return code;
}

enum cairn_code op_delete_prefix(struct work *w, const struct args *a)
{
	struct tree t;
	enum cairn_code code = collect_tree(w, a->body[CAIRN_F_PREFIX], &t);

	w->bulk = true;
	if (!code)
		code = remove_tree(w, &t, a, CHANGE_DELETE);
	w->bulk = false;
	if (!code)
		cairn_msg_u64(w->answer, CAIRN_F_COUNT, t.count);
	return code;
}
