/*
 * Gets by the dozen: the engine is asked for all records at once, so that it waits for memory once and not
 * for each, and what it lends goes straight into the answers. A get that asks for more than a key's value, a
 * value in chunks, and an engine that cannot, are left to store_get.
 */
#include "read.h"
#include "banned.h"

#define SHORT_KEY 128 /* longer keys are left to store_get */

/* The key of a get that asks for a value and nothing else; empty where it is another one. */
static struct cairn_slice plain_key(struct cairn_slice fields)
{
	struct cairn_slice key = { 0 }, body;
	unsigned field;

	while (cairn_field_next(&fields, &field, &body) == 0 && field != CAIRN_F_END)
		if (field == CAIRN_F_KEY && !key.data)
			key = body;
		else if (field != CAIRN_F_VOLUME && field != CAIRN_F_TIMEOUT_MS)
			return cairn_slice(NULL, 0);
	return key.len < SHORT_KEY ? key : cairn_slice(NULL, 0);
}

/* Answer with the record in BODY. Whether that is all; else nothing was added. */
static bool answer(struct reader *r, struct cairn_slice row_key, struct cairn_slice body, struct cairn_msg *m)
{
	struct cairn_slice content;
	struct record_head head;

	if ((r->s->checksums && row_verify(row_key, body, &body) < 0) ||
	    record_head_decode(body, &head) < 0 || head.flags & RECORD_EXPIRES ||
	    !record_content(body, &content))
		return false;
	cairn_msg_bytes(m, CAIRN_F_KEY, cairn_slice((const char *)row_key.data + 1, row_key.len - 1));
	cairn_msg_u64(m, CAIRN_F_REVISION, head.revision);
	cairn_msg_u64(m, CAIRN_F_SIZE, head.length);
	if (head.kind != CAIRN_KIND_VALUE)
		cairn_msg_kind(m, CAIRN_F_KIND, head.kind);
	cairn_msg_bytes(m, CAIRN_F_VALUE, content);
	return true;
}

void store_get_many(struct store *s, struct store_get *gets, size_t count, unsigned flags)
{
	const struct engine *engine = s->engine;
	struct cairn_slice keys[STORE_GETS], values[STORE_GETS];
	unsigned char bytes[STORE_GETS][SHORT_KEY + 1];
	bool done[STORE_GETS] = { false };
	unsigned char of[STORE_GETS];
	struct reader r = { .s = s };
	size_t n = 0;

	for (size_t i = 0; i < count; i++) {
		struct cairn_slice key = plain_key(gets[i].fields);

		if (!key.len)
			continue;
		keys[n] = row_key(bytes[n], ROW_LATEST, key);
		of[n++] = (unsigned char)i;
	}
	if (n > 1) {
		engine->ops.read_begin(engine->handle, &r.guard);
		if (!engine->ops.get_many(engine->handle, &r.guard, keys, n, 0, values))
			n = 0;
		for (size_t i = 0; i < n; i++)
			done[of[i]] = values[i].data && answer(&r, keys[i], values[i], gets[of[i]].answer);
		engine->ops.read_end(engine->handle, &r.guard);
	}
	for (size_t i = 0; i < count; i++) {
		gets[i].again = false;
		gets[i].code = CAIRN_OK;
		if (!done[i])
			gets[i].code = store_get(s, gets[i].fields, flags, gets[i].answer, &gets[i].again,
						 gets[i].error);
	}
}
