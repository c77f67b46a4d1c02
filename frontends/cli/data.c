/*
 * put, del, append: one key. Values of any size pass through in pieces, so memory stays small; one
 * that fits a request costs one round trip. Conditions are guards of the operation itself.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cli.h"
#include "banned.h"

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

	if (c->format == FORMAT_JSON) {
		out_json(c, fields);
	} else if (!argument(a, "return-old")) {
		out_line("revision %llu", (unsigned long long)cairn_field_u64(fields, CAIRN_F_REVISION, 0));
	} else if (cairn_field_find(fields, CAIRN_F_OLD, &old)) {
		cairn_field_find(old, CAIRN_F_VALUE, &value);
		value_show(c, value);
		if (value.len < cairn_field_u64(old, CAIRN_F_SIZE, value.len))
			fprintf(stderr, "cairn: the old value has %llu bytes, too many to be returned\n",
				(unsigned long long)cairn_field_u64(old, CAIRN_F_SIZE, 0));
	} else if (cairn_field_bool(fields, CAIRN_F_SHORTENED, false)) {
		fprintf(stderr,
			"cairn: the write is done, but the value that was there is not known any more\n");
	}
}

#define PATIENCE_MS 60000 /* of an upload whose source gives nothing: well below what a server allows it */

/* A pipe may be slow: say so now and then. */
static long read_slow(void *value, void *buffer, size_t len)
{
	const struct value *v = value;
	struct pollfd p = { .fd = v->fd, .events = POLLIN };

	return v->fd >= 0 && poll(&p, 1, PATIENCE_MS) == 0 ? CAIRN_READ_LATER
							   : value_read(value, buffer, len);
}

/* Send the write M with the value V. */
static enum cairn_code write_value(struct cli *c, struct cairn_msg *m, struct value *v, struct cairn_reply *r)
{
	struct cairn *client = cli_client(c);
	struct progress progress;
	struct stat st;
	enum cairn_code code;

	if (!client)
		return c->error.code;
	progress_begin(&progress, c, "sent",
		       v->fd >= 0 && fstat(v->fd, &st) == 0 && S_ISREG(st.st_mode) ? (uint64_t)st.st_size
										   : 0);
	v->progress = v->fd < 0 ? NULL : &progress;
	code = cairn_put_stream(client, m, read_slow, v, r);
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
	if (code == CAIRN_OK && argument(a, "ttl") && argument(a, "keep-ttl"))
		code = cairn_fail(&c->error, CAIRN_E_INVALID, "put: --ttl does not go with --keep-ttl");
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

/* OP, which is append or patch, of the value WORD; with OFFSET at that place. */
static enum cairn_code write_part(struct cli *c, const struct arguments *a, unsigned op,
				  const uint64_t *offset, const struct word *word)
{
	struct cairn_msg m = { 0 };
	struct cairn_reply r = { 0 };
	struct value v = { .fd = -1 };
	struct key k;
	enum cairn_code code = key_take(c, &a->operand[0], &k);

	if (code == CAIRN_OK)
		code = value_take(c, word, false, &v);
	if (code == CAIRN_OK) {
		request(c, &m, op);
		cairn_msg_bytes(&m, CAIRN_F_KEY, k.name);
		if (offset)
			cairn_msg_u64(&m, CAIRN_F_OFFSET, *offset);
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
	return write_part(c, a, CAIRN_OP_APPEND, NULL, &a->operand[1]);
}

VERB(patch)
{
	uint64_t offset;

	if (!text_number(a->operand[1].text, &offset))
		return cairn_fail(&c->error, CAIRN_E_INVALID,
				  "patch: '%.100s' is no offset: a number of bytes", a->operand[1].text);
	return write_part(c, a, CAIRN_OP_PATCH, &offset, &a->operand[2]);
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
		if (code == CAIRN_E_NOT_FOUND && !*c->error.hint)
			hint_folder(c, k.name, "'cairn del -r' takes it whole");
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
