/*
 * Filling an empty engine from a stream. Rows come in the order of their keys and go into the engine in
 * synced batches; what the stream leaves out (how many lists hold a chunk) is counted on the way, and so is
 * everything that meta says about the rows. At the end the sums must be those of the stream's meta; only then
 * is the meta row written, with the last batch. Whatever fails before leaves rows without meta, which nothing
 * opens.
 */
#include <errno.h>
#include <stdlib.h>
#include "le.h"
#include "load.h"
#include "requests.h"
#include "banned.h"

static enum cairn_code no_memory(struct store_load *l)
{
	return cairn_fail(l->error, CAIRN_E_INTERNAL, "no memory left to read a stream");
}

static enum cairn_code engine_failed(struct store_load *l, int e)
{
	return cairn_fail(l->error, cairn_error_from_errno(-e), "filling the engine %s: %s",
			  l->engine->ops.name, strerror(-e));
}

/* The row of KEY cannot be what it is said to be. */
static enum cairn_code wrong(struct store_load *l, struct cairn_slice key, const char *why)
{
	char text[KEY_TEXT];

	l->why = why;
	return cairn_fail(l->error, CAIRN_E_CORRUPT,
			  "the stream is wrong before byte %llu, in the row '%s': %s",
			  (unsigned long long)l->frame.offset, key_text(key, text), why);
}

enum cairn_code store_load_open(struct store_load **result, struct engine *engine, struct cairn_error *error)
{
	struct cairn_slice key = { 0 }, value;
	struct store_load *l;
	void *it;
	int e;

	*result = NULL;
	e = engine->ops.iter_open(engine->handle, NULL, cairn_slice("\1", 1), cairn_slice(NULL, 0), 0, &it);
	if (e == 0) {
		e = engine->ops.iter_next(it, &key, &value);
		engine->ops.iter_close(it);
	}
	if (e < 0)
		return cairn_fail(error, cairn_error_from_errno(-e), "reading the engine %s: %s",
				  engine->ops.name, strerror(-e));
	if (key.data)
		return cairn_fail(error, CAIRN_E_EXISTS, "the engine %s is not empty", engine->ops.name);
	l = calloc(1, sizeof(*l));
	if (!l)
		return cairn_fail(error, CAIRN_E_INTERNAL, "no memory left to read a stream");
	l->engine = engine;
	l->checksums =
		engine->ops.caps & CAIRN_ENGINE_DURABLE && !(engine->ops.caps & CAIRN_ENGINE_CHECKSUMMED);
	*result = l;
	return CAIRN_OK;
}

/* --- the engine --- */

/* Write what is pending; META (or NULL) makes it the last batch. */
static enum cairn_code write_batch(struct store_load *l, const struct meta *meta)
{
	const struct cairn_engine *ops = &l->engine->ops;
	struct cairn_batch batch = { .writes = l->writes };
	unsigned char body[META_BYTES];
	struct cairn_error why = { 0 };
	size_t n = 0;
	int e;

	for (size_t i = 0; i < l->batch.count; i++, n++) {
		const struct pending_row *r = &l->batch.rows[i];
		struct iovec *iov = &l->pieces[2 * n];

		iov[0] = (struct iovec){ (void *)r->body.data, r->body.len };
		if (l->checksums) {
			le32_put(l->sums[n], row_checksum(r->key, r->body));
			iov[1] = (struct iovec){ l->sums[n], ROW_CHECKSUM };
		}
		l->writes[n] = (struct cairn_write){ .kind = r->state == PENDING_PUT ? CAIRN_WRITE_PUT
										     : CAIRN_WRITE_DELETE,
						     .key = r->key,
						     .iov = iov,
						     .iov_count = l->checksums ? 2 : 1 };
	}
	if (meta) {
		meta_encode(meta, body);
		l->pieces[2 * n] = (struct iovec){ body, sizeof(body) };
		l->writes[n] = (struct cairn_write){ .kind = CAIRN_WRITE_PUT,
						     .key = cairn_str(META_KEY),
						     .iov = &l->pieces[2 * n],
						     .iov_count = 1 };
		batch.position = meta->position;
		n++;
	}
	batch.count = n;
	e = n ? ops->write(l->engine->handle, &batch, ops->caps & CAIRN_ENGINE_DURABLE, &why) : 0;
	pending_reset(&l->batch);
	l->batch_bytes = 0;
	if (e == 0)
		return CAIRN_OK;
	if (!why.message[0])
		return engine_failed(l, e);
	*l->error = why;
	l->error->code = why.code ? why.code : cairn_error_from_errno(-e);
	return l->error->code;
}

static enum cairn_code set(struct store_load *l, struct cairn_slice key, enum pending_state state,
			   struct cairn_slice body)
{
	unsigned char *copy = arena_alloc(&l->batch.arena, key.len + body.len);

	if (!copy)
		return no_memory(l);
	memcpy(copy, key.data, key.len);
	if (body.len)
		memcpy(copy + key.len, body.data, body.len);
	key.data = copy;
	if (pending_set(&l->batch, key, hash_bytes(key), state, cairn_slice(copy + key.len, body.len)) < 0)
		return no_memory(l);
	pending_keep(&l->batch);
	l->batch_bytes += key.len + body.len + 32;
	return CAIRN_OK;
}

/* The row of KEY, pending or in the engine: 0, -ENOENT or another -errno. Lent until the guard ends or the
 * batch changes. */
int load_get(struct store_load *l, struct cairn_slice key, struct cairn_slice *body)
{
	const struct pending_row *r = pending_find(&l->batch, key, hash_bytes(key));
	int e;

	if (r) {
		*body = r->body;
		return r->state == PENDING_PUT ? 0 : -ENOENT;
	}
	e = l->engine->ops.get(l->engine->handle, &l->guard, NULL, key, 0, body);
	return e == 0 && l->checksums ? row_verify(key, *body, body) : e;
}

enum cairn_code load_put(struct store_load *l, struct cairn_slice key, struct cairn_slice body)
{
	enum cairn_code code = set(l, key, PENDING_PUT, body);

	if (!code && (l->batch_bytes >= LOAD_BATCH_BYTES || l->batch.count >= LOAD_BATCH_ROWS))
		code = write_batch(l, NULL);
	return code;
}

/* Write what is pending while a guard is open. What it lent is not valid any more. */
static enum cairn_code write_between(struct store_load *l)
{
	enum cairn_code code;

	l->engine->ops.read_end(l->engine->handle, &l->guard);
	code = write_batch(l, NULL);
	l->guard = (struct cairn_guard){ 0 };
	l->engine->ops.read_begin(l->engine->handle, &l->guard);
	return code;
}

/* --- rows, by their kinds --- */

typedef enum cairn_code row_fn(struct store_load *l, struct cairn_slice key, struct cairn_slice body);

/* Whether the chunk of P is there, with the right bytes. */
static enum cairn_code verify(struct store_load *l, struct cairn_slice key, const struct piece *p)
{
	unsigned char buffer[ROW_CHUNK_KEY];
	struct cairn_slice bytes;
	int e = load_get(l, row_chunk_key(buffer, ROW_CHUNK, p->chunk), &bytes);

	if (e == -ENOENT)
		return wrong(l, key, "a chunk of it is not there");
	if (e < 0)
		return engine_failed(l, e);
	if (bytes.len < p->length || hash_bytes(cairn_slice(bytes.data, p->length)) != p->hash)
		return wrong(l, key, "a chunk of it has other bytes");
	return CAIRN_OK;
}

/* A list holds the chunk of P once more. */
static enum cairn_code hold(struct store_load *l, const struct piece *p)
{
	unsigned char buffer[ROW_CHUNK_KEY], count[8] = { 0 };
	struct cairn_slice body;
	uint64_t n;
	int e = load_get(l, row_chunk_key(buffer, ROW_COUNT, p->chunk), &body);

	if (e < 0 && e != -ENOENT)
		return engine_failed(l, e);
	n = e == 0 && body.len == 8 ? le64_get(body.data) : 0;
	l->held += n == 0;
	le64_put(count, n + 1);
	if (set(l, cairn_slice(buffer, sizeof(buffer)), PENDING_PUT, cairn_slice(count, 8)))
		return l->error->code;
	return l->batch.count < LOAD_BATCH_ROWS ? CAIRN_OK : write_between(l);
}

static enum cairn_code hold_all(struct store_load *l, struct cairn_slice key, const struct record *r)
{
	uint64_t length = 0;
	enum cairn_code code = CAIRN_OK;

	for (size_t i = 0; i < pieces_count(r->chunks) && !code; i++) {
		struct piece p = pieces_entry(r->chunks, i);

		length += p.length;
		code = verify(l, key, &p);
	}
	if (!code && r->chunks.len && length != r->head.length)
		return wrong(l, key, "its chunks have another length");
	for (size_t i = 0; i < pieces_count(r->chunks) && !code; i++) {
		struct piece p = pieces_entry(r->chunks, i);

		code = hold(l, &p);
	}
	if (!code && r->head.revision > l->newest)
		l->newest = r->head.revision;
	if (!code && r->file_id > l->file_id)
		l->file_id = r->file_id;
	return code;
}

static enum cairn_code row_plain(struct store_load *l, struct cairn_slice key, struct cairn_slice body)
{
	return set(l, key, PENDING_PUT, body);
}

static enum cairn_code row_chunk(struct store_load *l, struct cairn_slice key, struct cairn_slice body)
{
	if (key.len != ROW_CHUNK_KEY)
		return wrong(l, key, "it is no chunk");
	l->chunks++;
	l->chunk = be64_get((const char *)key.data + 1);
	return set(l, key, PENDING_PUT, body);
}

static enum cairn_code row_latest(struct store_load *l, struct cairn_slice key, struct cairn_slice body)
{
	unsigned char expiry[ROW_EXPIRY_KEY];
	struct record r;
	enum cairn_code code;

	if (key.len < 2 || key.len - 1 > l->meta.key_max || record_decode(body, &r) < 0 ||
	    r.head.flags & RECORD_DERIVED)
		return wrong(l, key, "it is no record");
	code = hold_all(l, key, &r);
	if (code)
		return code;
	hash_add(&l->sum, hash_two(key, body));
	l->keys++;
	l->values += r.head.length;
	if (r.expiry_ns)
		code = set(l, expiry_key(expiry, &r), PENDING_PUT,
			   cairn_slice((const char *)key.data + 1, key.len - 1));
	return code ? code : set(l, key, PENDING_PUT, body);
}

static enum cairn_code row_change(struct store_load *l, struct cairn_slice key, struct cairn_slice body)
{
	struct change c;
	struct record r;
	enum cairn_code code;

	if (key.len != ROW_CHANGE_KEY || change_decode(body, &c) < 0 ||
	    (c.record.len && record_decode(c.record, &r) < 0))
		return wrong(l, key, "it is no change");
	code = c.record.len ? hold_all(l, key, &r) : CAIRN_OK;
	if (code)
		return code;
	if (c.record.len)
		l->history += key.len + body.len + c.held;
	return set(l, key, PENDING_PUT, body);
}

static enum cairn_code row_gone(struct store_load *l, struct cairn_slice key, struct cairn_slice body)
{
	struct record r;

	if (record_decode(body, &r) < 0 || r.chunks.len)
		return wrong(l, key, "it is no tombstone");
	l->history += key.len + body.len;
	return set(l, key, PENDING_PUT, body);
}

static enum cairn_code row_folder(struct store_load *l, struct cairn_slice key, struct cairn_slice body)
{
	struct folder f;

	return folder_decode(body, &f) < 0 ? wrong(l, key, "it is no folder")
					   : set(l, key, PENDING_PUT, body);
}

static enum cairn_code row_upload(struct store_load *l, struct cairn_slice key, struct cairn_slice body)
{
	struct upload u;
	struct piece p;
	enum cairn_code code;

	if (key.len == ROW_UPLOAD_KEY && upload_decode(body, &u) == 0) {
		hash_add(&l->sum, hash_two(key, body));
		return set(l, key, PENDING_PUT, body);
	}
	if (key.len != ROW_PIECE_KEY || body.len != PIECE_BYTES)
		return wrong(l, key, "it is no upload");
	piece_decode(body.data, &p);
	code = verify(l, key, &p);
	if (!code)
		code = hold(l, &p);
	if (code)
		return code;
	hash_add(&l->sum, hash_two(key, body));
	l->staged += p.length;
	return set(l, key, PENDING_PUT, body);
}

static enum cairn_code row_request(struct store_load *l, struct cairn_slice key, struct cairn_slice body)
{
	struct hash sum = l->sum;

	if (key.len != ROW_REQUEST_KEY || requests_digest(&sum, key, body) < 0)
		return wrong(l, key, "it is no request row");
	l->sum = sum;
	l->clients++;
	l->request_bytes += body.len;
	return row_plain(l, key, body);
}

static row_fn *const by_tag[256] = {
	[ROW_CHUNK] = row_chunk,   [ROW_CHANGE] = row_change, [ROW_FOLDER] = row_folder,
	[ROW_GONE] = row_gone,     [ROW_LATEST] = row_latest, [ROW_REQUEST] = row_request,
	[ROW_UPLOAD] = row_upload,
};

enum cairn_code load_row(struct store_load *l, struct cairn_slice key, struct cairn_slice body)
{
	row_fn *fn = by_tag[*(const unsigned char *)key.data];
	enum cairn_code code = CAIRN_OK;
	char text[KEY_TEXT];

	if (l->engine->ops.key_max && key.len > l->engine->ops.key_max)
		return cairn_fail(l->error, CAIRN_E_UNSUPPORTED,
				  "the key '%s' has %zu bytes, and engine %s takes at most %u",
				  key_text(cairn_slice((const char *)key.data + 1, key.len - 1), text),
				  key.len - 1, l->engine->ops.name, l->engine->ops.key_max - 1);
	if (!fn || key.len > sizeof(l->last))
		return cairn_fail(l->error, CAIRN_E_UNSUPPORTED,
				  "the stream has rows that this release does not know, before byte %llu",
				  (unsigned long long)l->frame.offset);
	if (cairn_slice_cmp(cairn_slice(l->last, l->last_len), key) >= 0)
		return wrong(l, key, "the rows are not in order");
	l->guard = (struct cairn_guard){ 0 };
	l->engine->ops.read_begin(l->engine->handle, &l->guard);
	code = fn(l, key, body);
	l->engine->ops.read_end(l->engine->handle, &l->guard);
	memcpy(l->last, key.data, key.len);
	l->last_len = key.len;
	l->rows++;
	l->bytes += key.len + body.len;
	if (!code && (l->batch_bytes >= LOAD_BATCH_BYTES || l->batch.count >= LOAD_BATCH_ROWS))
		code = write_batch(l, NULL);
	return code;
}

/* --- blocks --- */

static enum cairn_code take_facts(struct store_load *l, struct cairn_slice fields)
{
	const struct cairn_engine *ops = &l->engine->ops;
	struct cairn_slice body;
	uint32_t format = 0;
	int e = -EUCLEAN;

	if (cairn_fields_check(fields, NULL) == 0 && cairn_field_find(fields, CAIRN_F_VALUE, &body))
		e = meta_decode(body, &l->meta, &format);
	if (e == -EPROTONOSUPPORT)
		return cairn_fail(l->error, CAIRN_E_UNSUPPORTED,
				  "the stream has rows of format %u, and this release has format %d", format,
				  META_FORMAT);
	if (e < 0)
		return cairn_fail(l->error, CAIRN_E_CORRUPT, "the first block of the stream says nothing");
	if (l->key_most && l->meta.key_max > l->key_most)
		l->meta.key_max = l->key_most;
	if (ops->key_max && l->meta.key_max + 1 > ops->key_max)
		return cairn_fail(l->error, CAIRN_E_UNSUPPORTED,
				  "the engine %s takes keys of at most %u bytes, and those of the stream may "
				  "have %llu",
				  ops->name, ops->key_max - 1, (unsigned long long)l->meta.key_max);
	l->begun = true;
	return CAIRN_OK;
}

static enum cairn_code take_rows(struct store_load *l, struct cairn_slice rows)
{
	struct cairn_slice key, value;
	enum cairn_code code = CAIRN_OK;
	int there = 1;

	while (!code && (there = stream_row_next(&rows, &key, &value)) > 0)
		code = load_row(l, key, value);
	return there < 0 ? cairn_fail(l->error, CAIRN_E_CORRUPT, "the block before byte %llu holds no rows",
				      (unsigned long long)l->frame.offset)
			 : code;
}

enum cairn_code store_load_take(struct store_load *l, struct cairn_slice bytes, struct cairn_error *error)
{
	struct stream_content block;
	enum cairn_code code = CAIRN_OK;
	int there;

	l->error = error;
	while (!code && (there = stream_take(&l->frame, &bytes, &block, error)) != 0) {
		if (there < 0)
			return error->code;
		if (block.kind == STREAM_FACTS) {
			code = take_facts(l, block.content);
		} else if (block.kind == STREAM_ROWS) {
			code = take_rows(l, block.content);
		} else {
			l->end_rows = cairn_field_u64(block.content, CAIRN_F_COUNT, 0);
			l->end_bytes = cairn_field_u64(block.content, CAIRN_F_BYTES, 0);
		}
	}
	return code;
}

/* --- the end --- */

static enum cairn_code compare(struct store_load *l)
{
	const struct meta *m = &l->meta;
	const struct {
		const char *what;
		uint64_t said, found;
	} rows[] = {
		{ "rows", l->end_rows, l->rows },
		{ "bytes of rows", l->end_bytes, l->bytes },
		{ "keys", m->keys, l->keys },
		{ "bytes of values", m->bytes, l->values },
		{ "staged bytes", m->staged, l->staged },
		{ "clients", m->clients, l->clients },
		{ "bytes of request rows", m->request_bytes, l->request_bytes },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].said != rows[i].found)
			return cairn_fail(l->error, CAIRN_E_CORRUPT,
					  "the stream says that it has %llu %s, and it has %llu",
					  (unsigned long long)rows[i].said, rows[i].what,
					  (unsigned long long)rows[i].found);
	if (m->rows.lo != l->sum.lo || m->rows.hi != l->sum.hi)
		return cairn_fail(l->error, CAIRN_E_CORRUPT,
				  "the digest of the stream is not that of its rows");
	return CAIRN_OK;
}

/* Call FN for each row with the tag TAG that is in the engine now. FN may write batches. */
static enum cairn_code each(struct store_load *l, enum row_tag tag, row_fn *fn)
{
	const struct cairn_engine *ops = &l->engine->ops;
	const unsigned char from[] = { (unsigned char)tag }, to[] = { (unsigned char)(tag + 1) };
	enum cairn_code code = CAIRN_OK;
	void *it;
	int e = ops->iter_open(l->engine->handle, NULL, cairn_slice(from, 1), cairn_slice(to, 1), 0, &it);

	if (e < 0)
		return engine_failed(l, e);
	while (!code) {
		struct cairn_slice key = { 0 }, body;

		e = ops->iter_next(it, &key, &body);
		if (e < 0)
			code = engine_failed(l, e);
		if (e < 0 || !key.data)
			break;
		if (l->checksums)
			body.len -= ROW_CHECKSUM;
		l->guard = (struct cairn_guard){ 0 };
		ops->read_begin(l->engine->handle, &l->guard);
		code = fn(l, key, body);
		ops->read_end(l->engine->handle, &l->guard);
		if (!code && l->batch.count >= LOAD_BATCH_ROWS)
			code = write_batch(l, NULL);
	}
	ops->iter_close(it);
	return code;
}

/* A count row is needed from the second holder on. */
static enum cairn_code drop_one(struct store_load *l, struct cairn_slice key, struct cairn_slice body)
{
	return body.len == 8 && le64_get(body.data) == 1 ? set(l, key, PENDING_DELETE, cairn_slice(NULL, 0))
							 : CAIRN_OK;
}

/* A chunk that no list holds was held by versions that the stream leaves out. */
static enum cairn_code drop_unheld(struct store_load *l, struct cairn_slice key, struct cairn_slice body)
{
	unsigned char count[ROW_CHUNK_KEY];
	struct cairn_slice found;
	int e;

	(void)body;
	memcpy(count, key.data, ROW_CHUNK_KEY);
	count[0] = ROW_COUNT;
	e = load_get(l, cairn_slice(count, sizeof(count)), &found);
	if (e == -ENOENT)
		return set(l, key, PENDING_DELETE, cairn_slice(NULL, 0));
	return e < 0 ? engine_failed(l, e) : CAIRN_OK;
}

enum cairn_code load_end(struct store_load *l, struct meta *meta)
{
	enum cairn_code code = write_batch(l, NULL);

	if (!code && l->chunks != l->held)
		code = each(l, ROW_CHUNK, drop_unheld);
	if (!code)
		code = write_batch(l, NULL);
	if (!code && l->chunks)
		code = each(l, ROW_COUNT, drop_one);
	meta->flags = (meta->flags & ~META_CHECKSUMS) | (l->checksums ? META_CHECKSUMS : 0);
	meta->history_used = l->history;
	meta->reclaimed = 0; /* where reclaim is matters to one engine only */
	return code ? code : write_batch(l, meta);
}

enum cairn_code store_load_finish(struct store_load *l, const struct cairn_position *at,
				  struct cairn_error *error)
{
	enum cairn_code code;

	l->error = error;
	code = stream_ends(&l->frame, error);
	if (!code)
		code = compare(l);
	if (code)
		return code;
	if (at)
		l->meta.position = *at;
	return load_end(l, &l->meta);
}

uint64_t store_load_rows(const struct store_load *l)
{
	return l->rows;
}

void store_load_close(struct store_load *l)
{
	if (!l)
		return;
	stream_reader_free(&l->frame);
	pending_free(&l->batch);
	free(l);
}
