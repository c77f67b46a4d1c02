/* expire, ttl, persist: when a key goes; and incr, a value that counts. Each is one request. */
#include <stdlib.h>
#include "cli.h"
#include "text.h"
#include "banned.h"

enum cairn_code ttl_add(struct cli *c, struct cairn_msg *m, const char *text)
{
	uint64_t ms;

	if (text_duration(text, &ms) && ms) {
		cairn_msg_u64(m, CAIRN_F_TTL_MS, ms);
		return CAIRN_OK;
	}
	cairn_fail(&c->error, CAIRN_E_INVALID, "'%.100s' is no time to live", text);
	cairn_hint(&c->error, "such times look like 30 or 30s, 500ms, 10m, 1h, 7d");
	return CAIRN_E_INVALID;
}

/* The request OP about the key that is the first operand. */
static enum cairn_code begin(struct cli *c, const struct arguments *a, struct cairn_msg *m, unsigned op)
{
	struct key k;
	enum cairn_code code = key_take(c, &a->operand[0], &k);

	request(c, m, op);
	cairn_msg_bytes(m, CAIRN_F_KEY, k.name);
	key_free(&k);
	return code;
}

/* Send M, if CODE is 0; show its answer as JSON, or its revision. */
static enum cairn_code finish(struct cli *c, struct cairn_msg *m, enum cairn_code code)
{
	struct cairn_reply r = { 0 };

	if (code)
		cairn_msg_free(m);
	else
		code = call(c, m, &r);
	if (code == CAIRN_OK && c->format == FORMAT_JSON)
		out_json(c, r.fields);
	else if (code == CAIRN_OK)
		out_line("revision %llu", (unsigned long long)cairn_field_u64(r.fields, CAIRN_F_REVISION, 0));
	cairn_reply_free(&r);
	return code;
}

VERB(expire)
{
	struct cairn_msg m = { 0 };
	enum cairn_code code = begin(c, a, &m, CAIRN_OP_EXPIRE);

	return finish(c, &m, code ? code : ttl_add(c, &m, a->operand[1].text));
}

VERB(persist)
{
	struct cairn_msg m = { 0 };
	enum cairn_code code = begin(c, a, &m, CAIRN_OP_PERSIST);

	return finish(c, &m, code);
}

/* {"key":…,"expiry":…,"ttl_ms":…}, the last two where the key goes. */
static void show_ttl(const struct cli *c, struct cairn_slice fields)
{
	static const unsigned char shown[] = { CAIRN_F_KEY, CAIRN_F_EXPIRY, CAIRN_F_TTL_MS };
	struct cairn_msg m = { 0 };
	struct cairn_slice body;

	cairn_msg_start(&m, 0);
	for (size_t i = 0; i < sizeof(shown); i++)
		if (cairn_field_find(fields, shown[i], &body))
			cairn_msg_bytes(&m, shown[i], body);
	if (cairn_msg_error(&m))
		no_memory();
	out_json(c, cairn_message_fields(cairn_msg_slice(&m)));
	cairn_msg_free(&m);
}

VERB(ttl)
{
	struct cairn_msg m = { 0 };
	struct cairn_reply r = { 0 };
	struct cairn_slice body;
	uint64_t ms;
	enum cairn_code code = begin(c, a, &m, CAIRN_OP_GET);

	cairn_msg_bool(&m, CAIRN_F_META_ONLY, true);
	if (code)
		cairn_msg_free(&m);
	else
		code = call(c, &m, &r);
	if (code == CAIRN_OK && c->format == FORMAT_JSON) {
		show_ttl(c, r.fields);
	} else if (code == CAIRN_OK && cairn_field_find(r.fields, CAIRN_F_TTL_MS, &body)) {
		ms = cairn_body_u64(body);
		out_line("%llu.%03u", (unsigned long long)(ms / 1000), (unsigned)(ms % 1000));
	} else if (code == CAIRN_OK) {
		out_line("never");
	}
	cairn_reply_free(&r);
	return code;
}

VERB(incr)
{
	struct cairn_msg m = { 0 };
	struct cairn_reply r = { 0 };
	struct cairn_slice value;
	int64_t by = 1;
	enum cairn_code code = begin(c, a, &m, CAIRN_OP_INCREMENT);

	if (!code && a->count > 1 && !text_integer(a->operand[1].text, &by))
		code = cairn_fail(&c->error, CAIRN_E_INVALID, "'%.100s' is no integer of 64 bits",
				  a->operand[1].text);
	cairn_msg_u64(&m, CAIRN_F_BY, (uint64_t)by);
	if (code)
		cairn_msg_free(&m);
	else
		code = call(c, &m, &r);
	if (code == CAIRN_OK && c->format == FORMAT_JSON)
		out_json(c, r.fields);
	else if (code == CAIRN_OK && cairn_field_find(r.fields, CAIRN_F_VALUE, &value))
		out_line("%.*s", (int)value.len, (const char *)value.data);
	cairn_reply_free(&r);
	return code;
}
