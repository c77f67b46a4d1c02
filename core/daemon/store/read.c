/*
 * get: one engine lookup, and the value straight out of what the engine lends. A value in chunks is read
 * chunk by chunk: a chunk's bytes never change under its id, so that an answer is of one revision even while
 * the key is written; where a chunk is gone by now, the record is, too, and is read again.
 */
#include <errno.h>
#include "read.h"
#include "banned.h"

int read_row(struct reader *r, struct cairn_slice key, struct cairn_slice *body)
{
	int e = r->s->engine->ops.get(r->s->engine->handle, &r->guard, r->snapshot, key, r->flags, body);

	if (e == 0 && r->s->checksums)
		e = row_verify(key, *body, body);
	return e;
}

enum cairn_code read_failed(struct reader *r, int e, struct cairn_slice key)
{
	char text[KEY_TEXT];

	if (e == -ENOENT)
		return cairn_fail(r->error, CAIRN_E_NOT_FOUND, "no key '%s'", key_text(key, text));
	if (e == -EUCLEAN) {
		cairn_fail(r->error, CAIRN_E_CORRUPT, "the record of '%s' is damaged in engine %s",
			   key_text(key, text), r->s->engine->ops.name);
		engine_damage(r->s->engine, r->error);
		return CAIRN_E_CORRUPT;
	}
	if (e == -ESTALE)
		return cairn_fail(
			r->error, CAIRN_E_UNAVAILABLE,
			"what was being read has kept engine %s from using too much of its file again, "
			"and was cut off",
			r->s->engine->ops.name);
	return cairn_fail(r->error, cairn_error_from_errno(-e), "reading '%s': %s", key_text(key, text),
			  strerror(-e));
}

int read_is_due(const struct reader *r, struct cairn_slice body, const struct record_head *head)
{
	struct record record;

	if (!(head->flags & RECORD_EXPIRES))
		return 0;
	return record_decode(body, &record) < 0 ? -EUCLEAN : record.expiry_ns <= r->clock_ns;
}

/* The range that A asks for of a value of LENGTH bytes, at most what fits into one answer. */
static void range_of(const struct args *a, uint64_t length, uint64_t *from, uint64_t *n)
{
	uint64_t most = args_u64(a, CAIRN_F_LENGTH, UINT64_MAX);

	*from = args_u64(a, CAIRN_F_OFFSET, 0);
	*from = *from < length ? *from : length;
	*n = length - *from < most ? length - *from : most;
	*n = *n < CAIRN_PAYLOAD_MAX ? *n : CAIRN_PAYLOAD_MAX;
}

/* N bytes of a value in chunks, from FROM on, as VALUE. -ENOENT where a chunk is not there any more. */
static int add_chunks(struct reader *r, struct cairn_slice list, uint64_t from, uint64_t n,
		      struct cairn_msg *answer)
{
	unsigned char *out = cairn_msg_room(answer, CAIRN_F_VALUE, n), key[ROW_CHUNK_KEY];
	uint64_t start = 0;

	for (size_t i = 0; i < list.len / PIECE_BYTES && n && out; i++) {
		struct piece p;

		piece_decode((const char *)list.data + i * PIECE_BYTES, &p);
		if (from < start + p.length) {
			uint64_t at = from - start, take = p.length - at < n ? p.length - at : n;
			struct cairn_slice bytes;
			int e = read_row(r, row_chunk_key(key, ROW_CHUNK, p.chunk), &bytes);

			if (e == 0 && bytes.len < p.length)
				e = -EUCLEAN;
			if (e < 0)
				return e;
			memcpy(out, (const char *)bytes.data + at, take);
			out += take;
			from += take;
			n -= take;
		}
		start += p.length;
	}
	return n && out ? -EUCLEAN : 0;
}

int read_value(struct reader *r, const struct args *a, const struct record *record, struct cairn_msg *answer)
{
	struct cairn_slice content = record->content;
	uint64_t from, n;

	range_of(a, record->head.length, &from, &n);
	if (record->chunks.len)
		return add_chunks(r, record->chunks, from, n, answer);
	if (n)
		content.data = (const char *)content.data + from;
	cairn_msg_bytes(answer, CAIRN_F_VALUE, cairn_slice(content.data, n));
	return 0;
}

static int add_value(struct reader *r, const struct args *a, struct cairn_slice body,
		     struct cairn_msg *answer)
{
	struct cairn_slice content;
	struct record record;
	uint64_t from, n;
	int e;

	if (record_content(body, &content)) {
		range_of(a, content.len, &from, &n);
		if (n)
			content.data = (const char *)content.data + from;
		cairn_msg_bytes(answer, CAIRN_F_VALUE, cairn_slice(content.data, n));
		return 0;
	}
	e = record_decode(body, &record);
	return e < 0 ? e : read_value(r, a, &record, answer);
}

/*
 * One try. *REVISION is that of the record found; -ESTALE where it is not the one asked for, -ESRCH where a
 * chunk of it was gone.
 */
static int get(struct reader *r, const struct args *a, struct cairn_msg *answer, uint64_t *revision)
{
	unsigned char buffer[STORE_KEY_MAX + 1];
	struct cairn_slice key = a->body[CAIRN_F_KEY], body;
	struct record_head head;
	struct record record;
	int e;

	e = read_row(r, row_key(buffer, ROW_LATEST, key), &body);
	if (e == 0)
		e = record_head_decode(body, &head);
	if (e == 0)
		e = read_is_due(r, body, &head);
	if (e)
		return e < 0 ? e : -ENOENT;
	*revision = head.revision;
	if (args_has(a, CAIRN_F_REVISION) && args_u64(a, CAIRN_F_REVISION, 0) != head.revision)
		return -ESTALE;
	cairn_msg_bytes(answer, CAIRN_F_KEY, key);
	if (args_bool(a, CAIRN_F_META_ONLY)) {
		e = record_decode(body, &record);
		if (e == 0)
			answer_record(answer, &record, false);
		return e;
	}
	cairn_msg_u64(answer, CAIRN_F_REVISION, head.revision);
	cairn_msg_u64(answer, CAIRN_F_SIZE, head.length);
	if (head.kind != CAIRN_KIND_VALUE)
		cairn_msg_kind(answer, CAIRN_F_KIND, head.kind);
	e = add_value(r, a, body, answer);
	return e == -ENOENT ? -ESRCH : e;
}

/* A chunk that is gone while its record stays as it is was lost; otherwise the record has changed: read it
 * again. */
static int get_settled(struct reader *r, const struct args *a, struct cairn_msg *answer, uint64_t *revision)
{
	const struct engine *engine = r->s->engine;
	uint64_t before = 0;
	size_t start = answer->len;
	int e;

	for (;;) {
		r->guard = (struct cairn_guard){ 0 };
		engine->ops.read_begin(engine->handle, &r->guard);
		e = get(r, a, answer, revision);
		engine->ops.read_end(engine->handle, &r->guard);
		if (e < 0)
			cairn_msg_truncate(answer, start);
		if (e != -ESRCH)
			return e;
		if (*revision == before)
			return -EUCLEAN;
		before = *revision;
	}
}

enum cairn_code store_get(struct store *s, struct cairn_slice fields, unsigned flags,
			  struct cairn_msg *answer, bool *again, struct cairn_error *error)
{
	struct reader r = { .s = s,
			    .flags = flags & STORE_NO_WAIT ? CAIRN_READ_NO_WAIT : 0,
			    .clock_ns = atomic_load(&s->clock_ns),
			    .error = error };
	uint64_t revision = 0;
	char text[KEY_TEXT];
	struct args a;
	int e;

	if (again)
		*again = false;
	if (args_parse(fields, &a) < 0 || !args_has(&a, CAIRN_F_KEY))
		return cairn_fail(error, CAIRN_E_INVALID, "get needs the argument 'key'");
	if (!a.body[CAIRN_F_KEY].len || a.body[CAIRN_F_KEY].len > STORE_KEY_MAX)
		return cairn_fail(error, CAIRN_E_INVALID, "a key has 1 to %d bytes", STORE_KEY_MAX);
	if (args_has(&a, CAIRN_F_AT)) {
		if (again) /* a walk along history is nothing for a loop */
			*again = flags & STORE_NO_WAIT;
		return again && *again ? CAIRN_OK : read_get_past(&r, &a, answer);
	}
	e = get_settled(&r, &a, answer, &revision);
	if (e == -EAGAIN && again)
		*again = true;
	if (e == 0 || (e == -EAGAIN && again))
		return CAIRN_OK;
	if (e != -ESTALE)
		return read_failed(&r, e, a.body[CAIRN_F_KEY]);
	cairn_fail(error, CAIRN_E_CONFLICT, "'%s' has revision %llu, not the one asked for",
		   key_text(a.body[CAIRN_F_KEY], text), (unsigned long long)revision);
	if (error)
		error->revision = revision;
	return CAIRN_E_CONFLICT;
}
