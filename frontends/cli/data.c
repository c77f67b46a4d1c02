/*
 * get, put, del, append, stat: one key. Values of any size pass through in pieces, so memory stays small; one
 * that fits a request costs one round trip. Conditions are guards of the operation itself.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include "cli.h"
#include "banned.h"

/* Where a value goes. */
struct sink {
	const struct cli *c;
	struct progress progress;
	char last; /* byte that was written */
	bool any, failed;
};

static int sink_write(void *arg, const void *data, size_t len)
{
	struct sink *s = arg;

	if (len == 0)
		return 0;
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

/* {"key":…,"revision":…,"value":…} */
static void show_json(const struct cli *c, struct cairn_slice key, uint64_t revision, const struct whole *w)
{
	struct cairn_msg m = { 0 };

	cairn_msg_start(&m, 0);
	cairn_msg_bytes(&m, CAIRN_F_KEY, key);
	cairn_msg_u64(&m, CAIRN_F_REVISION, revision);
	if (w->len <= CAIRN_FIELD_MAX)
		cairn_msg_bytes(&m, CAIRN_F_VALUE, cairn_slice(w->data, w->len));
	if (cairn_msg_error(&m))
		no_memory();
	out_json(c, cairn_message_fields(cairn_msg_slice(&m)));
	cairn_msg_free(&m);
}

static enum cairn_code get_json(struct cli *c, struct cairn_msg *m, struct cairn_slice key,
				struct cairn_reply *r)
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
		show_json(c, key, cairn_field_u64(r->fields, CAIRN_F_REVISION, 0), &w);
	} else if (client) {
		c->error = r->error;
	}
	free(w.data);
	return code;
}

static enum cairn_code get_raw(struct cli *c, struct cairn_msg *m, struct cairn_reply *r)
{
	struct sink sink = { .c = c };
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
	else if (c->out_terminal && sink.any && sink.last != '\n')
		putchar('\n');
	return code;
}

/* A key whose value is shown again when it has changed. */
struct watched {
	struct cli *c;
	struct cairn_slice key;
	uint64_t revision; /* of the value shown; 0: it was not there */
	bool any;          /* it was looked at */
};

static enum cairn_code show_value(struct cli *c, struct cairn_slice key, const struct past *past)
{
	struct cairn_msg m = { 0 };
	struct cairn_reply r = { 0 };
	enum cairn_code code;

	request(c, &m, CAIRN_OP_GET);
	cairn_msg_bytes(&m, CAIRN_F_KEY, key);
	past_add(&m, past);
	code = c->format == FORMAT_JSON ? get_json(c, &m, key, &r) : get_raw(c, &m, &r);
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
		code = show_value(w->c, w->key, &(struct past){ 0 });
	w->revision = revision;
	w->any = true;
	return code == CAIRN_E_NOT_FOUND ? CAIRN_OK : code; /* gone in between: its change follows */
}

VERB(get)
{
	struct past past = { 0 };
	struct key k;
	enum cairn_code code = key_take(c, &a->operand[0], &k);

	if (code == CAIRN_OK)
		code = past_take(c, a, false, &past);
	if (code == CAIRN_OK && argument(a, "watch") && past.given)
		code = cairn_fail(&c->error, CAIRN_E_INVALID,
				  "the past does not change: --watch shows what is now");
	if (code == CAIRN_OK && argument(a, "watch"))
		code = watch_key(c, k.name, show_changed, &(struct watched){ .c = c, .key = k.name });
	else if (code == CAIRN_OK)
		code = show_value(c, k.name, &past);
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
	}
	cairn_reply_free(&r);
	key_free(&k);
	return code;
}

/* The guards that the options of put and del ask for. */
static void add_guards(struct cairn_msg *m, const struct arguments *a, struct cairn_slice key)
{
	uint64_t revision;
	size_t mark;

	if (argument_number(a, "if-revision", &revision)) {
		mark = cairn_msg_open(m, CAIRN_F_GUARD);
		cairn_msg_bytes(m, CAIRN_F_KEY, key);
		cairn_msg_u64(m, CAIRN_F_REVISION, revision);
		cairn_msg_close(m, mark);
	}
	if (argument(a, "if-absent")) {
		mark = cairn_msg_open(m, CAIRN_F_GUARD);
		cairn_msg_bytes(m, CAIRN_F_KEY, key);
		cairn_msg_bool(m, CAIRN_F_EXISTS, false);
		cairn_msg_close(m, mark);
	}
	if (argument(a, "return-old"))
		cairn_msg_bool(m, CAIRN_F_RETURN_OLD, true);
}

/* What a write says: its revision, or, where the old record was asked for, the value that was there. */
static void show_write(struct cli *c, const struct arguments *a, struct cairn_slice fields)
{
	struct cairn_slice old = { 0 }, value = { 0 };
	struct sink sink = { .c = c };

	if (c->format == FORMAT_JSON) {
		out_json(c, fields);
	} else if (!argument(a, "return-old")) {
		out_line("revision %llu", (unsigned long long)cairn_field_u64(fields, CAIRN_F_REVISION, 0));
	} else if (cairn_field_find(fields, CAIRN_F_OLD, &old)) {
		cairn_field_find(old, CAIRN_F_VALUE, &value);
		sink_write(&sink, value.data, value.len);
		if (c->out_terminal && sink.any && sink.last != '\n')
			putchar('\n');
		if (value.len < cairn_field_u64(old, CAIRN_F_SIZE, value.len))
			fprintf(stderr, "cairn: the old value has %llu bytes, too many to be returned\n",
				(unsigned long long)cairn_field_u64(old, CAIRN_F_SIZE, 0));
	} else if (cairn_field_bool(fields, CAIRN_F_SHORTENED, false)) {
		fprintf(stderr,
			"cairn: the write is done, but the value that was there is not known any more\n");
	}
}

/* Send the write M with the value V. */
static enum cairn_code write_value(struct cli *c, struct cairn_msg *m, struct value *v, struct cairn_reply *r)
{
	struct cairn *client = cli_client(c);
	struct progress progress;
	enum cairn_code code;

	if (!client)
		return c->error.code;
	progress_begin(&progress, c, "sent", 0);
	v->progress = v->fd < 0 ? NULL : &progress;
	code = cairn_put_stream(client, m, value_read, v, r);
	progress_end(&progress);
	if (v->error)
		return cairn_fail(&c->error, CAIRN_E_INVALID, "%s: %s; nothing was written", v->name,
				  strerror(v->error));
	if (code != CAIRN_OK)
		c->error = r->error;
	return code;
}

VERB(put)
{
	const char *text = argument(a, "value");
	struct word literal = { (char *)text, text ? strlen(text) : 0 };
	struct cairn_msg m = { 0 };
	struct cairn_reply r = { 0 };
	struct value v = { .fd = -1 };
	struct key k = { 0 };
	enum cairn_code code = CAIRN_OK;

	if (!text == (a->count < 2)) {
		code = cairn_fail(&c->error, CAIRN_E_INVALID,
				  text ? "put: a value and --value are one too many"
				       : "put: the value is missing");
		cairn_hint(&c->error, "usage: cairn put KEY VALUE, or @FILE, or - for standard input");
	}
	if (code == CAIRN_OK)
		code = key_take(c, &a->operand[0], &k);
	if (code == CAIRN_OK)
		code = value_take(c, text ? &literal : &a->operand[1], text != NULL, &v);
	if (code == CAIRN_OK) {
		request(c, &m, CAIRN_OP_PUT);
		cairn_msg_bytes(&m, CAIRN_F_KEY, k.name);
		add_guards(&m, a, k.name);
		if (argument(a, "ttl"))
			code = ttl_add(c, &m, argument(a, "ttl"));
		if (argument(a, "keep-ttl"))
			cairn_msg_bool(&m, CAIRN_F_KEEP_EXPIRY, true);
	}
	if (code == CAIRN_OK) {
		code = write_value(c, &m, &v, &r);
	}
	if (code == CAIRN_OK)
		show_write(c, a, r.fields);
	cairn_msg_free(&m);
	cairn_reply_free(&r);
	value_close(&v);
	key_free(&k);
	return code;
}

VERB(append)
{
	struct cairn_msg m = { 0 };
	struct cairn_reply r = { 0 };
	struct value v = { .fd = -1 };
	struct key k = { 0 };
	char *data = NULL;
	size_t len = 0;
	enum cairn_code code = key_take(c, &a->operand[0], &k);

	if (code == CAIRN_OK)
		code = value_take(c, &a->operand[1], argument(a, "value") != NULL, &v);
	if (code == CAIRN_OK)
		code = value_all(c, &v, COMMAND_ROOM, &data, &len);
	if (code == CAIRN_OK) {
		request(c, &m, CAIRN_OP_APPEND);
		cairn_msg_bytes(&m, CAIRN_F_KEY, k.name);
		cairn_msg_bytes(&m, CAIRN_F_VALUE, cairn_slice(data, len));
		code = call(c, &m, &r);
	}
	if (code == CAIRN_OK)
		show_write(c, a, r.fields);
	free(data);
	cairn_reply_free(&r);
	value_close(&v);
	key_free(&k);
	return code;
}

static enum cairn_code del_key(struct cli *c, const struct arguments *a, const struct word *w)
{
	struct cairn_msg m = { 0 };
	struct cairn_reply r = { 0 };
	struct key k = { 0 };
	enum cairn_code code = key_take(c, w, &k);

	if (code == CAIRN_OK) {
		request(c, &m, argument(a, "purge") ? CAIRN_OP_PURGE : CAIRN_OP_DELETE);
		cairn_msg_bytes(&m, CAIRN_F_KEY, k.name);
		add_guards(&m, a, k.name);
		code = call(c, &m, &r);
		if (code == CAIRN_OK)
			show_write(c, a, r.fields);
	}
	cairn_reply_free(&r);
	key_free(&k);
	return code;
}

VERB(del)
{
	bool folder = argument(a, "recursive") != NULL;
	enum cairn_code code = CAIRN_OK;

	if (a->count > 1 && argument(a, "if-revision"))
		return cairn_fail(&c->error, CAIRN_E_INVALID, "--if-revision is for one key, not %zu",
				  a->count);
	if (argument(a, "purge") && argument(a, "return-old"))
		return cairn_fail(&c->error, CAIRN_E_INVALID, "--purge does not go with --return-old");
	if (folder && (argument(a, "if-revision") || argument(a, "return-old")))
		return cairn_fail(&c->error, CAIRN_E_INVALID,
				  "-r goes with neither --if-revision nor --return-old");
	for (size_t i = 0; i < a->count && code == CAIRN_OK; i++)
		code = folder ? del_folder(c, &a->operand[i], argument(a, "purge") != NULL)
			      : del_key(c, a, &a->operand[i]);
	return code;
}
