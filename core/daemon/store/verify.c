/*
 * Checking a store: every row is read, its checksum verified, and what stands in meta (digest, keys, bytes,
 * staged bytes, clients), in folder rows and in count rows is computed anew from the records and the chunks'
 * bytes. Constant memory. The first difference ends it as CORRUPT with the row that differs.
 */
#include <errno.h>
#include <stdlib.h>
#include "le.h"
#include "read.h"
#include "requests.h"
#include "banned.h"

/* A folder that the walk is in. */
struct open_folder {
	size_t len; /* of its prefix */
	struct folder f;
};

struct verify {
	struct reader r;
	struct meta meta; /* as it stands */
	struct hash rows; /* and as computed from here on */
	uint64_t keys, bytes, staged, clients, request_bytes;
	uint64_t history;      /* bytes of it */
	uint64_t held;         /* references to chunks */
	uint64_t chunks, more; /* chunk rows, and what count rows add to one reference each */
	uint64_t folders, folder_rows;
	uint64_t expiring, expiry_rows; /* keys that go at a time, and rows that lead to one */
	struct open_folder *open;       /* the way down to where the walk is */
	size_t depth;
	unsigned char prefix[STORE_KEY_MAX]; /* of the innermost */
	enum cairn_code code;
	struct store_progress *progress; /* or NULL */
};

/* The row of KEY is wrong. Returns -EUCLEAN. */
static int wrong(struct verify *v, struct cairn_slice key, const char *why)
{
	char text[KEY_TEXT];

	if (!v->code)
		v->code = cairn_fail(v->r.error, CAIRN_E_CORRUPT,
				     "the row '%s' of the store in engine %s is wrong: %s",
				     key_text(key, text), v->r.s->engine->ops.name, why);
	return -EUCLEAN;
}

static int check_piece(struct verify *v, struct cairn_slice key, const struct piece *p)
{
	unsigned char buffer[ROW_CHUNK_KEY];
	struct cairn_slice bytes;
	int e = read_row(&v->r, row_chunk_key(buffer, ROW_CHUNK, p->chunk), &bytes);

	v->held++;
	if (e == -ENOENT)
		return wrong(v, key, "a chunk of it is not there");
	if (e < 0)
		return e == -EUCLEAN
			? wrong(v, cairn_slice(buffer, sizeof(buffer)), "its checksum does not fit")
			: e;
	if (bytes.len < p->length || hash_bytes(cairn_slice(bytes.data, p->length)) != p->hash)
		return wrong(v, key, "a chunk of it has other bytes");
	return 0;
}

static int close_folder(struct verify *v)
{
	unsigned char buffer[STORE_KEY_MAX + 1];
	const struct open_folder *o = &v->open[--v->depth];
	struct cairn_slice key = row_key(buffer, ROW_FOLDER, cairn_slice(v->prefix, o->len)), body;
	struct folder f;
	int e = read_row(&v->r, key, &body);

	v->folders++;
	if (e == -ENOENT)
		return wrong(v, key, "it is not there");
	if (e == 0)
		e = folder_decode(body, &f);
	if (e < 0)
		return e == -EUCLEAN ? wrong(v, key, "it is no folder") : e;
	if (f.children != o->f.children || f.subfolders != o->f.subfolders || f.marker != o->f.marker)
		return wrong(v, key, "it counts other keys than there are");
	return 0;
}

/* Count KEY in the folders above it. */
static int count_in_folders(struct verify *v, struct cairn_slice key)
{
	const unsigned char *p = key.data;
	int e;

	while (v->depth && !cairn_slice_starts(key, cairn_slice(v->prefix, v->open[v->depth - 1].len))) {
		e = close_folder(v);
		if (e < 0)
			return e;
	}
	if (!v->depth)
		v->open[v->depth++] = (struct open_folder){ 0 };
	for (size_t i = v->open[v->depth - 1].len; i < key.len; i++)
		if (p[i] == '/') {
			v->open[v->depth - 1].f.subfolders++;
			v->open[v->depth++] = (struct open_folder){ .len = i + 1 };
		}
	memcpy(v->prefix, key.data, v->open[v->depth - 1].len);
	if (v->open[v->depth - 1].len == key.len)
		v->open[v->depth - 1].f.marker = true;
	else
		v->open[v->depth - 1].f.children++;
	return 0;
}

/* The chunks of the record R in the row of KEY. */
static int check_chunks(struct verify *v, struct cairn_slice key, const struct record *r)
{
	uint64_t length = 0;
	int e = 0;

	for (size_t i = 0; i < r->chunks.len / PIECE_BYTES && e == 0; i++) {
		struct piece p;

		piece_decode((const char *)r->chunks.data + i * PIECE_BYTES, &p);
		length += p.length;
		e = check_piece(v, key, &p);
	}
	if (e == 0 && r->chunks.len && length != r->head.length)
		return wrong(v, key, "its chunks have another length");
	return e;
}

/* The row that leads from R's expiry to the key of the row KEY. */
static int check_expiry(struct verify *v, struct cairn_slice key, const struct record *r)
{
	unsigned char buffer[ROW_EXPIRY_KEY];
	struct cairn_slice expiry = expiry_key(buffer, r), body;
	int e = read_row(&v->r, expiry, &body);

	v->expiring++;
	if (e == -ENOENT)
		return wrong(v, key, "no row of expiry leads to it");
	if (e == 0 && !cairn_slice_eq(body, cairn_slice((const char *)key.data + 1, key.len - 1)))
		return wrong(v, expiry, "it leads to another key");
	return e;
}

static int check_record(struct verify *v, struct cairn_slice key, struct cairn_slice body)
{
	struct record r;
	int e = record_decode(body, &r);

	if (e < 0 || key.len > STORE_KEY_MAX + 1 || r.head.flags & RECORD_DERIVED)
		return wrong(v, key, "it is no record");
	e = check_chunks(v, key, &r);
	hash_add(&v->rows, hash_two(key, body));
	v->keys++;
	v->bytes += r.head.length;
	if (e == 0 && r.expiry_ns)
		e = check_expiry(v, key, &r);
	if (e == 0 && v->meta.flags & META_FOLDERS)
		e = count_in_folders(v, cairn_slice((const char *)key.data + 1, key.len - 1));
	return e;
}

static int check_change(struct verify *v, struct cairn_slice key, struct cairn_slice body)
{
	struct change c;
	struct record r;

	if (key.len != ROW_CHANGE_KEY || change_decode(body, &c) < 0)
		return wrong(v, key, "it is no change");
	if (!c.record.len)
		return 0;
	v->history += key.len + body.len + c.held;
	return record_decode(c.record, &r) < 0 ? wrong(v, key, "it has no record") : check_chunks(v, key, &r);
}

static int check_gone(struct verify *v, struct cairn_slice key, struct cairn_slice body)
{
	struct record r;

	v->history += key.len + body.len;
	return record_decode(body, &r) < 0 || r.head.length ? wrong(v, key, "it is no tombstone") : 0;
}

static int check_upload(struct verify *v, struct cairn_slice key, struct cairn_slice body)
{
	struct upload u;
	struct piece p;

	hash_add(&v->rows, hash_two(key, body));
	if (key.len == ROW_UPLOAD_KEY)
		return upload_decode(body, &u) < 0 ? wrong(v, key, "it is no upload") : 0;
	if (key.len != ROW_PIECE_KEY || body.len != PIECE_BYTES)
		return wrong(v, key, "it is no staged piece");
	piece_decode(body.data, &p);
	v->staged += p.length;
	return check_piece(v, key, &p);
}

static int check_row(struct verify *v, struct cairn_slice key, struct cairn_slice body)
{
	switch (*(const char *)key.data) {
	case ROW_LATEST:
		return check_record(v, key, body);
	case ROW_UPLOAD:
		return check_upload(v, key, body);
	case ROW_REQUEST:
		v->clients++;
		v->request_bytes += body.len;
		return requests_digest(&v->rows, key, body) < 0 ? wrong(v, key, "it is no request row") : 0;
	case ROW_CHANGE:
		return check_change(v, key, body);
	case ROW_GONE:
		return check_gone(v, key, body);
	case ROW_CHUNK:
		v->chunks++;
		return 0;
	case ROW_COUNT:
		if (body.len != 8 || le64_get(body.data) < 2)
			return wrong(v, key, "it is no count");
		v->more += le64_get(body.data) - 1;
		return 0;
	case ROW_EXPIRY:
		v->expiry_rows++;
		return 0;
	case ROW_FOLDER:
		v->folder_rows++;
		return 0;
	default:
		return wrong(v, key, "this release has no such rows");
	}
}

/* One more row of LEN bytes has been checked: -ECANCELED where nobody wants to know more. */
static int go_on(struct store_progress *p, size_t len)
{
	p->rows++;
	p->bytes += len;
	return p->stop ? -ECANCELED : 0;
}

static int check_rows(struct verify *v)
{
	const struct engine *engine = v->r.s->engine;
	struct cairn_slice key, body;
	void *it;
	int e;

	e = engine->ops.iter_open(engine->handle, v->r.snapshot, cairn_slice("\1", 1), cairn_slice(NULL, 0),
				  0, &it);
	if (e < 0)
		return e;
	while (e == 0) {
		key.data = NULL;
		e = engine->ops.iter_next(it, &key, &body);
		if (e < 0 || !key.data)
			break;
		if (cairn_slice_eq(key, cairn_str(META_KEY)))
			continue;
		if (v->r.s->checksums && row_verify(key, body, &body) < 0)
			e = wrong(v, key, "its checksum does not fit");
		/* What is lent for one row is given back before the next. */
		v->r.guard = (struct cairn_guard){ 0 };
		engine->ops.read_begin(engine->handle, &v->r.guard);
		if (e == 0)
			e = check_row(v, key, body);
		engine->ops.read_end(engine->handle, &v->r.guard);
		if (e == 0 && v->progress)
			e = go_on(v->progress, key.len + body.len);
	}
	engine->ops.iter_close(it);
	engine->ops.read_begin(engine->handle, &v->r.guard);
	while (e == 0 && v->depth)
		e = close_folder(v);
	engine->ops.read_end(engine->handle, &v->r.guard);
	return e;
}

static int read_meta(struct verify *v)
{
	const struct engine *engine = v->r.s->engine;
	struct cairn_slice body;
	uint32_t format;
	int e;

	engine->ops.read_begin(engine->handle, &v->r.guard);
	e = engine->ops.get(engine->handle, &v->r.guard, v->r.snapshot, cairn_str(META_KEY), 0, &body);
	if (e == 0)
		e = meta_decode(body, &v->meta, &format);
	engine->ops.read_end(engine->handle, &v->r.guard);
	return e;
}

static int compare(struct verify *v)
{
	const struct meta *m = &v->meta;
	const struct {
		const char *why;
		bool differs;
	} rows[] = {
		{ "it counts other keys than there are", m->keys != v->keys },
		{ "it counts other bytes than there are", m->bytes != v->bytes },
		{ "it counts other bytes of history than there are", m->history_used != v->history },
		{ "it counts other staged bytes than there are", m->staged != v->staged },
		{ "it counts other clients than there are", m->clients != v->clients },
		{ "it counts other bytes of request rows than there are",
		  m->request_bytes != v->request_bytes },
		{ "its digest is not that of the rows",
		  m->rows.lo != v->rows.lo || m->rows.hi != v->rows.hi },
		{ "there are chunks that nothing holds, or holds more often than it says",
		  v->held != v->chunks + v->more },
		{ "there are rows of expiry that lead to no key", v->expiring != v->expiry_rows },
		{ "there are folder rows of folders that are not there",
		  m->flags & META_FOLDERS && v->folders != v->folder_rows },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].differs)
			return wrong(v, cairn_str(META_KEY), rows[i].why);
	return 0;
}

/* What ended a check that found no wrong row. */
static enum cairn_code not_checked(struct store *s, int e, struct cairn_error *error)
{
	if (e == -ECANCELED)
		return cairn_fail(error, CAIRN_E_TIMEOUT, "the check was ended before it was done");
	if (e == -ESTALE)
		return cairn_fail(
			error, CAIRN_E_UNAVAILABLE,
			"the check kept engine %s from using too much of its file again, and was cut off",
			s->engine->ops.name);
	if (e != -EUCLEAN)
		return cairn_fail(error, cairn_error_from_errno(-e), "checking the store: %s", strerror(-e));
	cairn_fail(error, CAIRN_E_CORRUPT, "the store in engine %s cannot be read", s->engine->ops.name);
	engine_damage(s->engine, error);
	return CAIRN_E_CORRUPT;
}

enum cairn_code store_check_rows(struct store *s, struct cairn_error *error)
{
	return store_check_progress(s, NULL, error);
}

enum cairn_code store_check_progress(struct store *s, struct store_progress *progress,
				     struct cairn_error *error)
{
	const struct engine *engine = s->engine;
	struct verify *v = calloc(1, sizeof(*v));
	enum cairn_code code;
	int e = 0;

	if (v)
		v->open = calloc(STORE_KEY_MAX + 2, sizeof(*v->open));
	if (!v || !v->open) {
		free(v);
		return cairn_fail(error, CAIRN_E_INTERNAL, "no memory left to check a store");
	}
	v->r = (struct reader){ .s = s, .error = error };
	v->progress = progress;
	e = engine->ops.check(engine->handle, error);
	if (e < 0) {
		v->code = cairn_error_from_errno(-e);
		if (error)
			cairn_error_prefix(error, "the store in engine %s cannot be read", engine->ops.name);
	}
	if (e == 0 && engine->ops.caps & CAIRN_ENGINE_SNAPSHOT)
		e = engine->ops.snapshot(engine->handle, &v->r.snapshot);
	if (e == 0)
		e = read_meta(v);
	if (e == 0)
		e = check_rows(v);
	else if (e == -ENOENT) /* a store that was never written */
		e = check_rows(v) || v->keys ? wrong(v, cairn_str(META_KEY), "it is not there") : 0;
	if (e == 0 && v->meta.revision + v->meta.position.index)
		e = compare(v);
	if (v->r.snapshot)
		engine->ops.release(engine->handle, v->r.snapshot);
	code = v->code;
	if (e < 0 && !code)
		code = not_checked(s, e, error);
	if (progress)
		read_facts(&v->meta, &progress->facts);
	free(v->open);
	free(v);
	return code;
}
