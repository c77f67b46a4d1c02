/*
 * export: keys as lines of JSON, in the order of the keys. A line holds what makes the record again: key,
 * kind, attributes, value. A long value goes over several lines, so that neither this program nor the one
 * that reads them needs memory for all of it. Everything is read as of one revision where the volume keeps
 * history.
 *
 * With --history: the tree as it was at the oldest revision that can be read, and then every change since, by
 * a watch that begins there and ends with the revision that was the newest one at the start.
 */
#include <stdlib.h>
#include "cli.h"
#include "clock.h"
#include "json.h"
#include "banned.h"

#define PIECE (96u << 10)                 /* bytes of a value on one line */
#define RENEW_NS (4 * 60 * 1000000000ull) /* a view is held for ten minutes */

struct export
{
	struct cli *c;
	struct cairn_msg line;  /* the fields of the next line */
	struct buffer text;     /* and the line */
	bool history;           /* --history */
	uint64_t at;            /* revision that is read at; 0: now */
	uint64_t view;          /* revision that is held for us, or 0 */
	uint64_t until;         /* of --history: the last revision */
	uint64_t renewed_ns;    /* when the view was asked for */
	struct cairn_slice all; /* the prefix that was asked for */
	struct cairn_slice key; /* of the value under way */
	uint64_t offset;        /* in it */
	struct buffer rest;     /* what is not on a line yet, as bytes */
	uint64_t keys;
	enum cairn_code code;
	struct progress progress;
};

/* Print the fields of E->line as a line. */
static bool print(struct export *e)
{
	e->text.len = 0;
	json_print_fields(&e->text, cairn_message_fields(cairn_msg_slice(&e->line)), NULL);
	buffer_byte(&e->text, '\n');
	if (cairn_msg_error(&e->line) || e->text.error)
		no_memory();
	progress_add(&e->progress, e->text.len);
	return fwrite(e->text.data, 1, e->text.len, stdout) == e->text.len;
}

/* What of the record ROW is not its value. */
static void begin_line(struct export *e, struct cairn_slice row)
{
	static const unsigned kept[] = { CAIRN_F_KEY,   CAIRN_F_ATTRIBUTES, CAIRN_F_EXPIRY, CAIRN_F_REVISION,
					 CAIRN_F_TIME,  CAIRN_F_AUTHOR,     CAIRN_F_FACE,   CAIRN_F_CHANGE,
					 CAIRN_F_OTHER, CAIRN_F_DELETED };
	struct cairn_slice body;

	cairn_msg_start(&e->line, 0);
	for (size_t i = 0; i < (e->history ? sizeof(kept) / sizeof(*kept) : 3); i++)
		if (cairn_field_find(row, kept[i], &body))
			cairn_msg_bytes(&e->line, kept[i], body);
	if (cairn_field_find(row, CAIRN_F_KIND, &body) && *(const char *)body.data != CAIRN_KIND_VALUE)
		cairn_msg_bytes(&e->line, CAIRN_F_KIND, body);
}

/* The bytes of a long value that fill a line, or with ALL those that are left. */
static bool flush(struct export *e, bool all)
{
	size_t at = 0, n;

	while (e->rest.len - at >= PIECE || (all && e->rest.len > at)) {
		n = e->rest.len - at < PIECE ? e->rest.len - at : PIECE;
		if (e->offset) {
			cairn_msg_start(&e->line, 0);
			cairn_msg_bytes(&e->line, CAIRN_F_KEY, e->key);
			cairn_msg_u64(&e->line, CAIRN_F_OFFSET, e->offset);
		}
		cairn_msg_bytes(&e->line, CAIRN_F_VALUE, cairn_slice(e->rest.data + at, n));
		if (!print(e))
			return false;
		e->offset += n;
		at += n;
	}
	memmove(e->rest.data, e->rest.data + at, e->rest.len - at);
	e->rest.len -= at;
	return true;
}

static int long_write(void *arg, const void *data, size_t len)
{
	struct export *e = arg;

	buffer_add(&e->rest, cairn_slice(data, len));
	if (e->rest.error)
		no_memory();
	return flush(e, false) ? 0 : -1;
}

/* One try at a value that does not stand in ROW. CONFLICT, NOT_FOUND: it changed meanwhile. */
static enum cairn_code long_value(struct export *e, struct cairn_slice row)
{
	struct cairn_msg m = { 0 };
	struct cairn_reply r = { 0 };
	struct cairn *client = cli_second(e->c);
	uint64_t size = cairn_field_u64(row, CAIRN_F_SIZE, 0);
	enum cairn_code code;

	if (!client)
		return e->c->error.code;
	begin_line(e, row);
	if (size > PIECE)
		cairn_msg_u64(&e->line, CAIRN_F_SIZE, size);
	e->offset = 0;
	e->rest.len = 0;
	request(e->c, &m, CAIRN_OP_GET);
	cairn_msg_bytes(&m, CAIRN_F_KEY, e->key);
	if (e->at)
		cairn_msg_u64(&m, CAIRN_F_AT, e->at);
	else
		cairn_msg_u64(&m, CAIRN_F_REVISION, cairn_field_u64(row, CAIRN_F_REVISION, 0));
	code = cairn_get_stream(client, &m, long_write, e, &r);
	if (code == CAIRN_OK)
		flush(e, true);
	else if (!ferror(stdout))
		e->c->error = r.error;
	cairn_msg_free(&m);
	cairn_reply_free(&r);
	return ferror(stdout) ? CAIRN_OK : code; /* out_finish says why */
}

/* The record of a key that changed while it was read; R is the caller's to free. */
static enum cairn_code look_again(struct export *e, struct cairn_reply *r)
{
	struct cairn_msg m = { 0 };
	struct cairn *client = cli_second(e->c);
	enum cairn_code code;

	cairn_reply_free(r);
	request(e->c, &m, CAIRN_OP_GET);
	cairn_msg_bytes(&m, CAIRN_F_KEY, e->key);
	cairn_msg_bool(&m, CAIRN_F_META_ONLY, true);
	code = client ? cairn_call(client, &m, r) : e->c->error.code;
	if (client && code)
		e->c->error = r->error;
	cairn_msg_free(&m);
	return code;
}

/* Hold the view for longer, should it be needed. */
static void renew(struct export *e)
{
	struct cairn_msg m = { 0 };
	struct cairn_reply r = { 0 };
	struct cairn *client;

	if (!e->view || clock_boot_ns() - e->renewed_ns < RENEW_NS)
		return;
	client = cli_second(e->c);
	request(e->c, &m, CAIRN_OP_VIEW);
	cairn_msg_u64(&m, CAIRN_F_REVISION, e->view);
	if (client)
		cairn_call(client, &m, &r);
	e->renewed_ns = clock_boot_ns();
	cairn_msg_free(&m);
	cairn_reply_free(&r);
}

static bool export_row(void *arg, struct cairn_slice row)
{
	struct export *e = arg;
	struct cairn_slice value;
	struct cairn_reply r = { 0 };

	renew(e);
	cairn_field_find(row, CAIRN_F_KEY, &e->key);
	if (cairn_field_find(row, CAIRN_F_VALUE, &value)) {
		begin_line(e, row);
		cairn_msg_bytes(&e->line, CAIRN_F_VALUE, value);
		print(e);
	} else {
		e->code = long_value(e, row);
		/* Without history: begin again with the value that is there now; the reader drops the half
		 * one. */
		while (e->code == CAIRN_E_CONFLICT || e->code == CAIRN_E_NOT_FOUND) {
			e->code = look_again(e, &r);
			if (e->code)
				break;
			e->code = long_value(e, r.fields);
		}
		if (e->code == CAIRN_E_NOT_FOUND && !e->at) /* deleted meanwhile */
			e->code = CAIRN_OK;
		cairn_reply_free(&r);
	}
	e->keys++;
	return !e->code && !ferror(stdout);
}

/* Hold the present revision. A volume without history has none to hold: then each page is of its own moment.
 */
static void hold_view(struct export *e)
{
	struct cairn_msg m = { 0 };
	struct cairn_reply r = { 0 };

	request(e->c, &m, CAIRN_OP_VIEW);
	if (call(e->c, &m, &r) == CAIRN_OK)
		e->at = e->view = cairn_field_u64(r.fields, CAIRN_F_REVISION, 0);
	e->c->error.code = CAIRN_OK;
	e->renewed_ns = clock_boot_ns();
	cairn_reply_free(&r);
}

/* Hold the oldest revision that can be read: E->at, until E->until. */
static enum cairn_code hold_oldest(struct export *e)
{
	enum cairn_code code = CAIRN_E_COMPACTED;

	for (int i = 0; i < 10 && code == CAIRN_E_COMPACTED; i++) { /* it rises while others write */
		struct cairn_msg m = { 0 };
		struct cairn_reply r = { 0 };

		request(e->c, &m, CAIRN_OP_VIEW);
		code = call(e->c, &m, &r);
		e->until = cairn_field_u64(r.fields, CAIRN_F_REVISION, 0);
		e->at = e->view = cairn_field_u64(r.fields, CAIRN_F_OLDEST, 0);
		cairn_reply_free(&r);
		if (code != CAIRN_OK || !e->at)
			continue;
		request(e->c, &m, CAIRN_OP_VIEW);
		cairn_msg_u64(&m, CAIRN_F_REVISION, e->at);
		code = call(e->c, &m, &r);
		cairn_reply_free(&r);
	}
	e->renewed_ns = clock_boot_ns();
	return code;
}

/* The record that the change EVENT has left, as it was then. */
static enum cairn_code export_version(struct export *e, struct cairn_slice event)
{
	struct cairn *client = cli_second(e->c);
	struct cairn_reply r = { 0 };
	struct cairn_msg m = { 0 }, row = { 0 };
	struct cairn_slice body;
	enum cairn_code code;

	e->at = cairn_field_u64(event, CAIRN_F_REVISION, 0);
	request(e->c, &m, CAIRN_OP_GET);
	cairn_msg_bytes(&m, CAIRN_F_KEY, e->key);
	cairn_msg_u64(&m, CAIRN_F_AT, e->at);
	cairn_msg_bool(&m, CAIRN_F_META_ONLY, true);
	code = client ? cairn_call(client, &m, &r) : e->c->error.code;
	if (client && code)
		e->c->error = r.error;
	cairn_msg_start(&row, 0);
	cairn_msg_fields(&row, r.fields);
	if (cairn_field_find(event, CAIRN_F_CHANGE, &body))
		cairn_msg_bytes(&row, CAIRN_F_CHANGE, body);
	if (cairn_field_find(event, CAIRN_F_OTHER, &body))
		cairn_msg_bytes(&row, CAIRN_F_OTHER, body);
	if (cairn_msg_error(&row))
		no_memory();
	if (code == CAIRN_OK)
		code = long_value(e, cairn_message_fields(cairn_msg_slice(&row)));
	cairn_msg_free(&row);
	cairn_msg_free(&m);
	cairn_reply_free(&r);
	return code;
}

/* One change. Those of folders are followed by the changes of their keys. */
static bool export_change(void *arg, const struct cairn_reply *event)
{
	struct export *e = arg;
	struct cairn_slice fields = event->fields;
	uint64_t revision = cairn_field_u64(fields, CAIRN_F_REVISION, 0);

	if (cairn_field_bool(fields, CAIRN_F_PROGRESS, false))
		return revision < e->until;
	if (revision > e->until)
		return false;
	if (cairn_field_bool(fields, CAIRN_F_FOLDER, false) ||
	    !cairn_field_find(fields, CAIRN_F_KEY, &e->key) || e->key.len < e->all.len ||
	    (e->all.len && memcmp(e->key.data, e->all.data, e->all.len) != 0))
		return true;
	renew(e);
	if (cairn_field_bool(fields, CAIRN_F_DELETED, false)) {
		begin_line(e, fields);
		print(e);
	} else {
		e->code = export_version(e, fields);
	}
	return !e->code && !ferror(stdout);
}

/* Every change after the revision that is held. */
static enum cairn_code export_changes(struct export *e)
{
	const char *slash = e->all.len ? memrchr(e->all.data, '/', e->all.len) : NULL;
	struct cairn_msg m = { 0 };
	struct cairn_reply r = { 0 };
	enum cairn_code code;

	request(e->c, &m, CAIRN_OP_WATCH);
	cairn_msg_bytes(
		&m, CAIRN_F_PREFIX,
		cairn_slice(e->all.data, slash ? (size_t)(slash + 1 - (const char *)e->all.data) : 0));
	cairn_msg_u64(&m, CAIRN_F_REVISION, e->view + 1);
	cairn_msg_bool(&m, CAIRN_F_PROGRESS, true);
	cairn_msg_u64(&m, CAIRN_F_TIMEOUT_MS, 0);
	code = call_stream(e->c, &m, export_change, e, &r);
	cairn_reply_free(&r);
	return e->code ? e->code : code;
}

VERB(export)
{
	struct export e = { .c = c, .history = argument(a, "history") };
	struct key k = { 0 };
	struct range range = { 0 };
	enum cairn_code code = a->count ? key_take(c, &a->operand[0], &k) : CAIRN_OK;

	if (code == CAIRN_OK) {
		range.prefix = e.all = k.name;
		if (e.history)
			code = hold_oldest(&e);
		else
			hold_view(&e);
	}
	if (code == CAIRN_OK) {
		range.past = (struct past){ .given = e.at != 0, .revision = e.at };
		progress_begin(&e.progress, c, "exported", 0);
		if (!e.history || e.at) /* at revision 0 there was nothing */
			code = walk(c, &range, export_row, &e);
		if (e.history && code == CAIRN_OK && !e.code && e.view < e.until)
			code = export_changes(&e);
		progress_end(&e.progress);
		code = e.code ? e.code : code;
	}
	cairn_msg_free(&e.line);
	buffer_free(&e.rest);
	buffer_free(&e.text);
	key_free(&k);
	return code;
}
