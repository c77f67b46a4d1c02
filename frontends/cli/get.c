/*
 * get and stat: what there is of one key. A value of any size passes through in pieces, all of one revision,
 * so memory stays small; a part of it is asked for as a range.
 */
#include <stdlib.h>
#include "cli.h"
#include "watch.h"
#include "banned.h"

/* Which bytes of a value are wanted. */
struct part {
	bool given, last; /* LAST: LENGTH bytes at the end */
	uint64_t from, length;
};

/* That of --range: FROM-TO, both counted, FROM- or -LAST. */
static enum cairn_code part_take(struct cli *c, const struct arguments *a, struct part *p)
{
	const char *text = argument(a, "range"), *dash = text ? strchr(text, '-') : NULL;
	char from[24];
	uint64_t to = UINT64_MAX - 1;

	*p = (struct part){ .given = text != NULL, .last = dash == text };
	if (!text)
		return CAIRN_OK;
	snprintf(from, sizeof(from), "%.*s", dash ? (int)(dash - text) : 0, text);
	if (dash && p->last && text_number(dash + 1, &p->length))
		return CAIRN_OK;
	if (dash && text_number(from, &p->from) && (!dash[1] || text_number(dash + 1, &to)) &&
	    p->from <= to && to < UINT64_MAX) {
		p->length = to - p->from + 1;
		return CAIRN_OK;
	}
	cairn_fail(&c->error, CAIRN_E_INVALID, "'%.100s' is no range of bytes", text);
	cairn_hint(&c->error,
		   "ranges look like 0-99 (the first hundred), 100- (from there on), -100 (the last)");
	return CAIRN_E_INVALID;
}

/* How many bytes of a value of SIZE bytes the part has. */
static uint64_t part_bytes(const struct part *p, uint64_t size)
{
	if (!p || !p->given)
		return size;
	if (p->last || p->from >= size)
		return p->last && p->length < size ? p->length : p->last ? size : 0;
	return p->length < size - p->from ? p->length : size - p->from;
}

/* Where a value goes. */
struct sink {
	const struct cli *c;
	const struct part *part;         /* of the value, or NULL */
	const struct cairn_reply *reply; /* has the facts of the record from the first bytes on; or NULL */
	struct progress progress;
	char last; /* byte that was written */
	bool any, failed;
};

static int sink_write(void *arg, const void *data, size_t len)
{
	struct sink *s = arg;

	if (len == 0)
		return 0;
	if (s->reply && !s->progress.done)
		s->progress.all = part_bytes(s->part, cairn_field_u64(s->reply->fields, CAIRN_F_SIZE, 0));
	progress_add(&s->progress, len);
	if (s->c->out_terminal)
		text_escape(stdout, cairn_slice(data, len), s->c->utf8, TEXT_LINES);
	else
		fwrite(data, 1, len, stdout);
	s->last = ((const char *)data)[len - 1];
	s->any = true;
	s->failed = ferror(stdout);
	return s->failed ? -1 : 0;
}

/* Behind what was written: a terminal wants a newline. */
static void sink_end(struct sink *s)
{
	if (s->c->out_terminal && s->any && s->last != '\n')
		putchar('\n');
}

void value_show(const struct cli *c, struct cairn_slice value)
{
	struct sink s = { .c = c };

	sink_write(&s, value.data, value.len);
	sink_end(&s);
}

/* {"key":…,"revision":…,"value":…}; of a part also where it begins, and the size of the whole. */
static void show_json(const struct cli *c, struct cairn_slice key, const struct part *part,
		      struct cairn_slice fields, const struct whole *w)
{
	uint64_t size = cairn_field_u64(fields, CAIRN_F_SIZE, 0);

	struct cairn_msg m = { 0 };

	cairn_msg_start(&m, 0);
	cairn_msg_bytes(&m, CAIRN_F_KEY, key);
	cairn_msg_u64(&m, CAIRN_F_REVISION, cairn_field_u64(fields, CAIRN_F_REVISION, 0));
	if (part->given) {
		cairn_msg_u64(&m, CAIRN_F_OFFSET, part->last ? size - part_bytes(part, size) : part->from);
		cairn_msg_u64(&m, CAIRN_F_SIZE, size);
	}
	if (w->len <= CAIRN_FIELD_MAX)
		cairn_msg_bytes(&m, CAIRN_F_VALUE, cairn_slice(w->data, w->len));
	if (cairn_msg_error(&m))
		no_memory();
	out_json(c, cairn_message_fields(cairn_msg_slice(&m)));
	cairn_msg_free(&m);
}

static enum cairn_code get_json(struct cli *c, struct cairn_msg *m, struct cairn_slice key,
				const struct part *part, struct cairn_reply *r)
{
	struct whole w = { 0 };
	struct cairn *client = cli_client(c);
	enum cairn_code code = client ? cairn_get_stream(client, m, whole_write, &w, r) : c->error.code;

	if (code == CAIRN_OK && w.len > CAIRN_FIELD_MAX) {
		cairn_fail(&c->error, CAIRN_E_TOO_LARGE, "a value of %zu bytes does not fit one line of JSON",
			   w.len);
		cairn_hint(&c->error, "without --json it can be of any size");
		code = CAIRN_E_TOO_LARGE;
	} else if (code == CAIRN_OK) {
		show_json(c, key, part, r->fields, &w);
	} else if (client) {
		c->error = r->error;
	}
	free(w.data);
	return code;
}

static enum cairn_code get_raw(struct cli *c, struct cairn_msg *m, const struct part *part,
			       struct cairn_reply *r)
{
	struct sink sink = { .c = c, .part = part, .reply = r };
	struct cairn *client = cli_client(c);
	enum cairn_code code;

	if (!client)
		return c->error.code;
	progress_begin(&sink.progress, c, "received", 0);
	code = cairn_get_stream(client, m, sink_write, &sink, r);
	progress_end(&sink.progress);
	if (sink.failed)
		return CAIRN_OK; /* out_finish says why */
	if (code != CAIRN_OK)
		c->error = r->error;
	else
		sink_end(&sink);
	return code;
}

/* Ask in M for the part P. Where that counts from the end, the size is asked for first, and then its
 * revision. */
static enum cairn_code part_add(struct cli *c, struct cairn_msg *m, const struct part *p, bool past)
{
	struct cairn_msg ask = { 0 };
	struct cairn_reply r = { 0 };
	uint64_t from = p->from, size;
	enum cairn_code code = CAIRN_OK;

	if (p->last) {
		cairn_msg_start(&ask, CAIRN_OP_GET);
		cairn_msg_fields(&ask, cairn_message_fields(cairn_msg_slice(m)));
		cairn_msg_bool(&ask, CAIRN_F_META_ONLY, true);
		code = call(c, &ask, &r);
		size = cairn_field_u64(r.fields, CAIRN_F_SIZE, 0);
		from = size - part_bytes(p, size);
		if (!past)
			cairn_msg_u64(m, CAIRN_F_REVISION, cairn_field_u64(r.fields, CAIRN_F_REVISION, 0));
		cairn_reply_free(&r);
	}
	if (p->given) {
		cairn_msg_u64(m, CAIRN_F_OFFSET, from);
		cairn_msg_u64(m, CAIRN_F_LENGTH, p->length);
	}
	return code;
}

/* A key whose value is shown again when it has changed. */
struct watched {
	struct cli *c;
	struct cairn_slice key;
	struct part part;
	uint64_t revision; /* of the value shown; 0: it was not there */
	bool any;          /* it was looked at */
};

static enum cairn_code show_value(struct cli *c, struct cairn_slice key, const struct past *past,
				  const struct part *part)
{
	struct cairn_msg m = { 0 };
	struct cairn_reply r = { 0 };
	enum cairn_code code;

	request(c, &m, CAIRN_OP_GET);
	cairn_msg_bytes(&m, CAIRN_F_KEY, key);
	past_add(&m, past);
	code = part_add(c, &m, part, past->given);
	if (code == CAIRN_OK)
		code = c->format == FORMAT_JSON ? get_json(c, &m, key, part, &r) : get_raw(c, &m, part, &r);
	cairn_msg_free(&m);
	cairn_reply_free(&r);
	return code;
}

static enum cairn_code show_changed(void *arg)
{
	struct watched *w = arg;
	struct cairn_msg m = { 0 };
	struct cairn_reply r = { 0 };
	uint64_t revision;
	enum cairn_code code;

	request(w->c, &m, CAIRN_OP_GET);
	cairn_msg_bytes(&m, CAIRN_F_KEY, w->key);
	cairn_msg_bool(&m, CAIRN_F_META_ONLY, true);
	code = call(w->c, &m, &r);
	revision = code ? 0 : cairn_field_u64(r.fields, CAIRN_F_REVISION, 0);
	cairn_reply_free(&r);
	if (code == CAIRN_E_NOT_FOUND && (w->revision || !w->any))
		fprintf(stderr, "cairn: the key is not there%s\n", w->any ? " any more" : " yet");
	if (!code && revision != w->revision)
		code = show_value(w->c, w->key, &(struct past){ 0 }, &w->part);
	w->revision = revision;
	w->any = true;
	return code == CAIRN_E_NOT_FOUND ? CAIRN_OK : code; /* gone in between: its change follows */
}

VERB(get)
{
	struct past past = { 0 };
	struct part part;
	struct key k;
	enum cairn_code code = key_take(c, &a->operand[0], &k);

	if (code == CAIRN_OK)
		code = past_take(c, a, false, &past);
	if (code == CAIRN_OK)
		code = part_take(c, a, &part);
	if (code == CAIRN_OK && argument(a, "watch") && past.given)
		code = cairn_fail(&c->error, CAIRN_E_INVALID,
				  "the past does not change: --watch shows what is now");
	if (code == CAIRN_OK && argument(a, "watch"))
		code = watch_key(c, k.name, show_changed,
				 &(struct watched){ .c = c, .key = k.name, .part = part });
	else if (code == CAIRN_OK)
		code = show_value(c, k.name, &past, &part);
	if (code == CAIRN_E_NOT_FOUND && !past.given && !*c->error.hint)
		hint_folder(c, k.name, "'cairn ls' shows it");
	key_free(&k);
	return code;
}

VERB(stat)
{
	struct cairn_msg m = { 0 };
	struct cairn_reply r = { 0 };
	struct past past = { 0 };
	struct key k;
	enum cairn_code code = key_take(c, &a->operand[0], &k);

	if (code == CAIRN_OK)
		code = past_take(c, a, false, &past);
	if (code == CAIRN_OK) {
		request(c, &m, CAIRN_OP_GET);
		cairn_msg_bytes(&m, CAIRN_F_KEY, k.name);
		past_add(&m, &past);
		cairn_msg_bool(&m, CAIRN_F_META_ONLY, true);
		code = call(c, &m, &r);
		if (code == CAIRN_OK && c->format == FORMAT_JSON)
			out_json(c, r.fields);
		else if (code == CAIRN_OK)
			out_facts(c, r.fields);
		if (code == CAIRN_E_NOT_FOUND && !past.given && !*c->error.hint)
			hint_folder(c, k.name, "'cairn ls' shows it");
	}
	cairn_reply_free(&r);
	key_free(&k);
	return code;
}
