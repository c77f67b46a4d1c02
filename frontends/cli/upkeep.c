/* check and compact: one request each, that may take long. */
#include "cli.h"
#include "banned.h"

/* The request OP on the volume that the operand names, without a limit of time unless one was asked for. */
static void upkeep(struct cli *c, const struct arguments *a, struct cairn_msg *m, unsigned op)
{
	request(c, m, op);
	if (a->count) {
		cairn_msg_start(m, op);
		cairn_msg_text(m, CAIRN_F_VOLUME, a->operand[0].text);
	}
	if (!c->timeout_ms)
		cairn_msg_u64(m, CAIRN_F_TIMEOUT_MS, 0);
}

static const char *volume_name(const struct cli *c, const struct arguments *a)
{
	return a->count ? a->operand[0].text : c->volume ? c->volume : "main";
}

static bool check_event(void *arg, const struct cairn_reply *event)
{
	struct progress *p = arg;
	uint64_t bytes = cairn_field_u64(event->fields, CAIRN_F_LENGTH, 0);

	progress_add(p, bytes > p->done ? bytes - p->done : 0);
	return true;
}

VERB(check)
{
	struct cairn_msg m = { 0 };
	struct cairn_reply r = { 0 };
	struct progress progress;
	char digest[64];
	enum cairn_code code;

	upkeep(c, a, &m, CAIRN_OP_CHECK);
	progress_begin(&progress, c, "checked", 0);
	code = call_stream(c, &m, check_event, &progress, &r);
	progress_end(&progress);
	if (code == CAIRN_OK && c->format == FORMAT_JSON)
		out_json(c, r.fields);
	else if (code == CAIRN_OK)
		out_line("%s is sound: %llu keys in %llu rows, revision %llu, digest %s", volume_name(c, a),
			 (unsigned long long)cairn_field_u64(r.fields, CAIRN_F_KEYS, 0),
			 (unsigned long long)cairn_field_u64(r.fields, CAIRN_F_COUNT, 0),
			 (unsigned long long)cairn_field_u64(r.fields, CAIRN_F_REVISION, 0),
			 field_text(r.fields, CAIRN_F_DIGEST, digest, sizeof(digest)));
	cairn_reply_free(&r);
	return code;
}

VERB(compact)
{
	struct cairn_msg m = { 0 };
	struct cairn_reply r = { 0 };
	char before[TEXT_SIZE], after[TEXT_SIZE];
	enum cairn_code code;

	upkeep(c, a, &m, CAIRN_OP_COMPACT);
	code = call(c, &m, &r);
	if (code == CAIRN_OK && c->format == FORMAT_JSON) {
		out_json(c, r.fields);
	} else if (code == CAIRN_OK) {
		text_size(cairn_field_u64(r.fields, CAIRN_F_BEFORE, 0), before);
		text_size(cairn_field_u64(r.fields, CAIRN_F_AFTER, 0), after);
		out_line("%s took %s, and takes %s now", volume_name(c, a), before, after);
	}
	cairn_reply_free(&r);
	return code;
}
