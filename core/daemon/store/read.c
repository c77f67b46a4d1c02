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
	return cairn_fail(r->error, cairn_error_from_errno(-e), "reading '%s': %s", key_text(key, text),
			  strerror(-e));
}

static struct cairn_slice range_of(struct cairn_slice value, const struct args *a)
{
	uint64_t from = args_u64(a, CAIRN_F_OFFSET, 0), length = args_u64(a, CAIRN_F_LENGTH, UINT64_MAX);

	if (from > value.len)
		from = value.len;
	if (length > value.len - from)
		length = value.len - from;
	return cairn_slice((const char *)value.data + from, length);
}

static int get(struct reader *r, const struct args *a, struct cairn_msg *answer)
{
	unsigned char buffer[STORE_KEY_MAX + 1];
	struct cairn_slice key = a->body[CAIRN_F_KEY], body, content;
	struct record_head head;
	struct record record;
	int e;

	e = read_row(r, row_key(buffer, ROW_LATEST, key), &body);
	if (e == 0)
		e = record_head_decode(body, &head);
	if (e < 0)
		return e;
	cairn_msg_bytes(answer, CAIRN_F_KEY, key);
	if (args_bool(a, CAIRN_F_META_ONLY)) {
		e = record_decode(body, &record);
		if (e == 0)
			answer_record(answer, &record, false);
		return e;
	}
	if (!record_content(body, &content))
		return -EUCLEAN;
	cairn_msg_bytes(answer, CAIRN_F_VALUE, range_of(content, a));
	cairn_msg_u64(answer, CAIRN_F_REVISION, head.revision);
	cairn_msg_u64(answer, CAIRN_F_SIZE, head.length);
	return 0;
}

enum cairn_code store_get(struct store *s, struct cairn_slice fields, unsigned flags,
			  struct cairn_msg *answer, bool *again, struct cairn_error *error)
{
	struct reader r = { .s = s, .flags = flags & STORE_NO_WAIT ? CAIRN_READ_NO_WAIT : 0, .error = error };
	size_t before = answer->len;
	struct args a;
	int e;

	if (again)
		*again = false;
	if (args_parse(fields, &a) < 0 || !args_has(&a, CAIRN_F_KEY))
		return cairn_fail(error, CAIRN_E_INVALID, "get needs the argument 'key'");
	if (!a.body[CAIRN_F_KEY].len || a.body[CAIRN_F_KEY].len > STORE_KEY_MAX)
		return cairn_fail(error, CAIRN_E_INVALID, "a key has 1 to %d bytes", STORE_KEY_MAX);
	s->engine->ops.read_begin(s->engine->handle, &r.guard);
	e = get(&r, &a, answer);
	s->engine->ops.read_end(s->engine->handle, &r.guard);
	if (e == 0)
		return CAIRN_OK;
	cairn_msg_truncate(answer, before);
	if (e == -EAGAIN && again) {
		*again = true;
		return CAIRN_OK;
	}
	return read_failed(&r, e, a.body[CAIRN_F_KEY]);
}
