/*
 * Uploads: values that are larger than a command, sent ahead piece by piece. Each stage command writes its
 * chunk at once and a row that says so; the command that uses the upload takes the list over and writes no
 * byte of the value again.
 */
#include <errno.h>
#include "content.h"
#include "le.h"
#include "banned.h"

/* A digested row: its old body counted out, its new one (NULL: none) counted in. */
static int put_digested(struct store *s, const struct row *row, const struct cairn_slice *old,
			const void *body, size_t len)
{
	unsigned char *copy;

	if (old)
		hash_subtract(&s->meta.rows, hash_two(row->key, *old));
	if (!body)
		return view_delete(s, row);
	copy = view_alloc(s, len);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, body, len);
	hash_add(&s->meta.rows, hash_two(row->key, cairn_slice(copy, len)));
	return view_put(s, row, cairn_slice(copy, len));
}

/* A row that may be absent: *OLD then has no data. */
static int load_row(struct store *s, const struct row *row, size_t len, struct cairn_slice *old)
{
	int e = view_get(s, row, old);

	if (e == -ENOENT) {
		*old = cairn_slice(NULL, 0);
		return 0;
	}
	return e == 0 && old->len != len ? view_damaged(s, row->key) : e;
}

static enum cairn_code load_upload(struct work *w, struct cairn_slice id, struct row *row,
				   struct cairn_slice *old, struct upload *u)
{
	*u = (struct upload){ 0 };
	if (id.len != 16)
		return cairn_fail(w->error, CAIRN_E_INVALID, "the id of an upload has 16 bytes");
	if (view_row(w->s, ROW_UPLOAD, id, row) < 0 || load_row(w->s, row, UPLOAD_BYTES, old) < 0)
		return work_stopped(w);
	if (old->data)
		upload_decode(*old, u);
	return CAIRN_OK;
}

static enum cairn_code store_upload(struct work *w, const struct row *row, const struct cairn_slice *old,
				    const struct upload *u)
{
	unsigned char body[UPLOAD_BYTES];
	int e;

	upload_encode(u, body);
	e = put_digested(w->s, row, old->data ? old : NULL, u->pieces ? body : NULL, sizeof(body));
	return e < 0 ? work_stopped(w) : CAIRN_OK;
}

/* Write the piece INDEX of an upload, in place of the one that may be there. */
static enum cairn_code store_piece(struct work *w, struct cairn_slice id, uint32_t index,
				   struct cairn_slice bytes, struct upload *u)
{
	unsigned char key[ROW_PIECE_KEY], body[PIECE_BYTES];
	struct cairn_slice old;
	struct piece p;
	struct row row;
	enum cairn_code code = CAIRN_OK;

	if (view_row_of(w->s, row_piece_key(key, id, index), &row) < 0 ||
	    load_row(w->s, &row, PIECE_BYTES, &old) < 0)
		return work_stopped(w);
	if (old.data) {
		piece_decode(old.data, &p);
		u->bytes -= p.length;
		w->s->meta.staged -= p.length;
		code = chunk_release(w, &p);
	} else {
		u->pieces++;
	}
	if (!code)
		code = chunk_new(w, bytes, &p);
	if (code)
		return code;
	u->bytes += p.length;
	w->s->meta.staged += p.length;
	piece_encode(&p, body);
	if (put_digested(w->s, &row, old.data ? &old : NULL, body, sizeof(body)) < 0)
		return work_stopped(w);
	return content_fits(w, u->bytes);
}

/* Something is staged now. */
static void watch_staged(struct work *w)
{
	struct store *s = w->s;

	if (!s->meta.staged || s->uploads_ns > w->time_ns)
		s->uploads_ns = w->time_ns;
	if (s->uploads_since > w->time_ns)
		s->uploads_since = w->time_ns;
}

enum cairn_code op_stage(struct work *w, const struct args *a)
{
	struct cairn_slice id = a->body[CAIRN_F_UPLOAD], bytes = args_bytes(a, CAIRN_F_VALUE), old;
	uint64_t index = args_u64(a, CAIRN_F_INDEX, 0);
	struct upload u;
	struct row row;
	enum cairn_code code;

	code = load_upload(w, id, &row, &old, &u);
	if (code)
		return code;
	watch_staged(w);
	if (bytes.len > w->s->meta.chunk_max)
		return cairn_fail(w->error, CAIRN_E_TOO_LARGE, "a staged piece has at most %llu bytes",
				  (unsigned long long)w->s->meta.chunk_max);
	if (index >= STORE_UPLOAD_PIECES_MAX)
		return cairn_fail(w->error, CAIRN_E_INVALID, "the index of a staged piece is below %d",
				  STORE_UPLOAD_PIECES_MAX);
	if (!bytes.len && !old.data)
		return cairn_fail(w->error, CAIRN_E_NOT_FOUND, "no upload with that id");
	if (bytes.len)
		code = store_piece(w, id, (uint32_t)index, bytes, &u);
	u.time_ns = w->time_ns;
	return code ? code : store_upload(w, &row, &old, &u);
}

/* Collects the pieces of an upload. */
struct take {
	struct work *w;
	struct pieces *list;
	struct pieces_row {
		struct row row;
		struct cairn_slice body;
	} * rows; /* as many as the upload has pieces */
	uint32_t count, pieces;
	uint64_t size;
};

static int take_piece(void *arg, struct cairn_slice key, struct cairn_slice body)
{
	struct take *t = arg;
	struct pieces_row *r = &t->rows[t->count];
	unsigned char *copy;
	struct piece p;

	if (key.len != ROW_PIECE_KEY)
		return 0;
	if (body.len != PIECE_BYTES || t->count == t->pieces)
		return view_damaged(t->w->s, key);
	if (be32_get((const char *)key.data + 17) != t->count)
		return 1;
	copy = view_alloc(t->w->s, PIECE_BYTES);
	if (!copy || view_row_of(t->w->s, key, &r->row) < 0)
		return -ENOMEM;
	r->body = cairn_slice(memcpy(copy, body.data, PIECE_BYTES), PIECE_BYTES);
	piece_decode(copy, &p);
	t->size += p.length;
	t->count++;
	return pieces_add(t->w, t->list, p) ? -ENOMEM : 0;
}

static enum cairn_code take_all(struct work *w, struct take *t, const struct row *upload)
{
	unsigned char end[ROW_UPLOAD_KEY];
	int e;

	t->rows = view_alloc(w->s, t->pieces * sizeof(*t->rows));
	if (!t->rows)
		return work_stopped(w);
	e = view_each(w->s, upload->key, row_prefix_end(end, upload->key), take_piece, t);
	if (e < 0)
		return work_stopped(w);
	if (t->count != t->pieces)
		return cairn_fail(w->error, CAIRN_E_INVALID, "piece %u of the upload was not staged",
				  t->count);
	for (uint32_t i = 0; i + 1 < t->count; i++)
		if (t->list->at[i].length != w->s->meta.chunk_max)
			return cairn_fail(w->error, CAIRN_E_INVALID,
					  "piece %u of the upload has %u bytes; all but the last have %llu",
					  i, t->list->at[i].length, (unsigned long long)w->s->meta.chunk_max);
	for (uint32_t i = 0; i < t->count; i++)
		if (put_digested(w->s, &t->rows[i].row, &t->rows[i].body, NULL, 0) < 0)
			return work_stopped(w);
	return CAIRN_OK;
}

enum cairn_code upload_take(struct work *w, const struct args *a, bool sized, struct pieces *list,
			    uint64_t *size)
{
	struct take t = { .w = w, .list = list };
	struct cairn_slice old;
	struct upload u;
	struct row row;
	enum cairn_code code;

	code = load_upload(w, args_bytes(a, CAIRN_F_UPLOAD), &row, &old, &u);
	if (code)
		return code;
	if (!old.data)
		return cairn_fail(w->error, CAIRN_E_NOT_FOUND,
				  "no upload with that id; it was used, or never staged");
	t.pieces = u.pieces;
	code = work_charge(w, 0, (uint64_t)u.pieces * (ROW_PIECE_KEY + PIECE_BYTES));
	if (code)
		return code;
	code = take_all(w, &t, &row);
	if (code)
		return code;
	if (sized && args_has(a, CAIRN_F_SIZE) && cairn_body_u64(a->body[CAIRN_F_SIZE]) != t.size)
		return cairn_fail(w->error, CAIRN_E_INVALID, "the upload has %llu bytes, and size says %llu",
				  (unsigned long long)t.size,
				  (unsigned long long)cairn_body_u64(a->body[CAIRN_F_SIZE]));
	w->s->meta.staged -= u.bytes;
	u = (struct upload){ 0 };
	*size = t.size;
	return store_upload(w, &row, &old, &u);
}

/* The rows of an upload's pieces. */
struct drop {
	struct work *w;
	struct pieces_row *rows;
	uint32_t count, pieces;
};

static int drop_piece(void *arg, struct cairn_slice key, struct cairn_slice body)
{
	struct drop *d = arg;
	struct pieces_row *r = &d->rows[d->count];
	unsigned char *copy;

	if (key.len != ROW_PIECE_KEY)
		return 0;
	if (body.len != PIECE_BYTES || d->count == d->pieces)
		return view_damaged(d->w->s, key);
	copy = view_alloc(d->w->s, PIECE_BYTES);
	if (!copy || view_row_of(d->w->s, key, &r->row) < 0)
		return -ENOMEM;
	r->body = cairn_slice(memcpy(copy, body.data, PIECE_BYTES), PIECE_BYTES);
	d->count++;
	return 0;
}

/* The upload U, whose row is ROW with the body OLD, goes, with all that was staged of it. */
static enum cairn_code drop(struct work *w, const struct row *row, const struct cairn_slice *old,
			    const struct upload *u)
{
	struct drop d = { .w = w, .pieces = u->pieces };
	unsigned char end[ROW_UPLOAD_KEY];
	enum cairn_code code = CAIRN_OK;
	struct piece p;

	d.rows = view_alloc(w->s, d.pieces * sizeof(*d.rows));
	if (!d.rows || view_each(w->s, row->key, row_prefix_end(end, row->key), drop_piece, &d) < 0)
		return work_stopped(w);
	for (uint32_t i = 0; i < d.count && !code; i++) {
		piece_decode(d.rows[i].body.data, &p);
		if (put_digested(w->s, &d.rows[i].row, &d.rows[i].body, NULL, 0) < 0)
			return work_stopped(w);
		code = chunk_release(w, &p);
	}
	w->s->meta.staged -= u->bytes;
	return code ? code : store_upload(w, row, old, &(struct upload){ 0 });
}

/* The first upload of a range. */
struct first {
	struct store *s;
	struct row row;
	struct cairn_slice body;
};

static int first_upload(void *arg, struct cairn_slice key, struct cairn_slice body)
{
	struct first *f = arg;
	unsigned char *copy = view_alloc(f->s, UPLOAD_BYTES);

	if (key.len != ROW_UPLOAD_KEY || body.len != UPLOAD_BYTES)
		return view_damaged(f->s, key);
	if (!copy || view_row_of(f->s, key, &f->row) < 0)
		return -ENOMEM;
	f->body = cairn_slice(memcpy(copy, body.data, UPLOAD_BYTES), UPLOAD_BYTES);
	return 1;
}

#define LOOKED_AT_MAX 256 /* uploads that one command looks at */
#define DROPPED_MAX 4096  /* pieces that it drops before it ends */

/* Drop what expired from the upload ID on. Where a command has done enough, CURSOR says where the next one
 * begins. */
static enum cairn_code drop_expired(struct work *w, struct cairn_slice id)
{
	static const unsigned char end[1] = { ROW_UPLOAD + 1 };
	unsigned looked_at = 0, dropped = 0;
	struct store *s = w->s;
	struct first f = { .s = s };
	struct row from;
	int e;

	if (!id.len)
		s->uploads_walk = s->uploads_since = UINT64_MAX;
	if (view_row(w->s, ROW_UPLOAD, id, &from) < 0)
		return work_stopped(w);
	while ((e = view_each(w->s, from.key, cairn_slice(end, 1), first_upload, &f)) == 1) {
		unsigned char *next = view_alloc(w->s, ROW_UPLOAD_KEY);
		enum cairn_code code = CAIRN_OK;
		struct upload u;

		if (!next)
			return work_stopped(w);
		if (looked_at++ == LOOKED_AT_MAX || dropped > DROPPED_MAX) {
			cairn_msg_bytes(w->answer, CAIRN_F_CURSOR,
					cairn_slice((const char *)f.row.key.data + 1, 16));
			return CAIRN_OK;
		}
		upload_decode(f.body, &u);
		if (u.time_ns + STORE_UPLOAD_NS <= w->time_ns) {
			dropped += u.pieces;
			code = drop(w, &f.row, &f.body, &u);
		} else if (u.time_ns < s->uploads_walk) {
			s->uploads_walk = u.time_ns;
		}
		if (code)
			return code;
		from.key = row_prefix_end(next, f.row.key);
	}
	if (e < 0)
		return work_stopped(w);
	s->uploads_ns = s->uploads_walk < s->uploads_since ? s->uploads_walk : s->uploads_since;
	return CAIRN_OK;
}

/* Of an upload, by whoever staged it; or, without one, of all that expired, from a place on. */
enum cairn_code op_unstage(struct work *w, const struct args *a)
{
	struct cairn_slice old;
	struct upload u;
	struct row row;
	enum cairn_code code;

	if (!args_has(a, CAIRN_F_UPLOAD))
		return drop_expired(w, args_bytes(a, CAIRN_F_FROM));
	code = load_upload(w, args_bytes(a, CAIRN_F_UPLOAD), &row, &old, &u);
	if (!code && !old.data)
		code = cairn_fail(w->error, CAIRN_E_NOT_FOUND, "no upload with that id");
	return code ? code : drop(w, &row, &old, &u);
}
