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
