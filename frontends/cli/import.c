/*
 * import: the lines that export wrote become keys again, many in one transaction. What is wrong with a line
 * ends it, with the line's number; the lines before it are written then. A long value is staged as its lines
 * come, so memory stays small; it appears as a whole.
 */
#include <errno.h>
#include <stdlib.h>
#include "cli.h"
#include "json.h"
#include "banned.h"

#define BATCH_BYTES (128u << 10)
#define BATCH_KEYS 500

struct import {
	struct cli *c;
	struct cairn_slice prefix; /* in front of each key */
	bool dry_run, if_absent;
	char *text; /* the line; owned */
	size_t room;
	uint64_t line;              /* number of the last line read, from 1 */
	struct cairn_msg fields;    /* of it */
	bool ahead;                 /* it has been read, but not used */
	struct cairn_msg batch;     /* transaction that is being filled */
	uint64_t lines[BATCH_KEYS]; /* of its operations */
	size_t count;               /* of them */
	bool refused;               /* the last transaction, as a whole and for what it holds */
	uint64_t keys, skipped;
	struct progress progress;
	/* The long value under way. */
	struct cairn_msg head; /* of its first line: all but the value */
	uint64_t size, done;   /* bytes */
	struct cairn_slice rest;
	bool again; /* another first line came */
};

static struct cairn_slice fields_of(const struct cairn_msg *m)
{
	return cairn_message_fields(cairn_msg_slice(m));
}

static enum cairn_code wrong(struct import *i, const char *why)
{
	return cairn_fail(&i->c->error, CAIRN_E_INVALID, "line %llu: %s", (unsigned long long)i->line, why);
}

static bool is_known(unsigned field)
{
	return field == CAIRN_F_KEY || field == CAIRN_F_VALUE || field == CAIRN_F_KIND ||
		field == CAIRN_F_ATTRIBUTES || field == CAIRN_F_EXPIRY || field == CAIRN_F_SIZE ||
		field == CAIRN_F_OFFSET;
}

static enum cairn_code check_line(struct import *i)
{
	struct cairn_slice rest = fields_of(&i->fields), body;
	char text[100];
	unsigned field;

	while (cairn_field_next(&rest, &field, &body) == 0 && field != CAIRN_F_END) {
		if (field == CAIRN_F_REVISION)
			return wrong(i, "history is not imported; 'cairn snapshot' saves it and restores it");
		if (!is_known(field)) {
			snprintf(text, sizeof(text), "a key has no '%s' that can be imported",
				 cairn_field_row(field)->json);
			return wrong(i, text);
		}
	}
	if (!cairn_field_find(fields_of(&i->fields), CAIRN_F_KEY, &body) || !body.len)
		return wrong(i, "it has no key");
	return CAIRN_OK;
}

/* Read the next line that is not empty into FIELDS. *END at the end. */
static enum cairn_code read_line(struct import *i, bool *end)
{
	ssize_t n;
	struct cairn_error why;

	*end = false;
	if (i->ahead) {
		i->ahead = false;
		return CAIRN_OK;
	}
	do {
		errno = 0;
		n = getline(&i->text, &i->room, stdin);
		i->line++;
		if (n < 0 && !feof(stdin))
			return wrong(i, strerror(errno));
		if (n < 0) {
			*end = true;
			return CAIRN_OK;
		}
	} while (strspn(i->text, " \t\r\n") == (size_t)n);
	progress_add(&i->progress, (size_t)n);
	cairn_msg_start(&i->fields, 0);
	if (json_read_fields(cairn_slice(i->text, (size_t)n), &i->fields, &why))
		return wrong(i, why.message);
	return check_line(i);
}

/* Add what FIELDS say of a key to the put M, but for its value. */
static void add_head(struct import *i, struct cairn_msg *m, struct cairn_slice fields)
{
	static const unsigned taken[] = { CAIRN_F_KIND, CAIRN_F_ATTRIBUTES, CAIRN_F_EXPIRY };
	struct cairn_slice key = { 0 }, body;
	char *name;

	cairn_field_find(fields, CAIRN_F_KEY, &key);
	name = cairn_msg_room(m, CAIRN_F_KEY, i->prefix.len + key.len);
	if (name && i->prefix.len)
		memcpy(name, i->prefix.data, i->prefix.len);
	if (name)
		memcpy(name + i->prefix.len, key.data, key.len);
	for (size_t k = 0; k < sizeof(taken) / sizeof(*taken); k++)
		if (cairn_field_find(fields, taken[k], &body))
			cairn_msg_bytes(m, taken[k], body);
	if (i->if_absent && name) {
		size_t mark = cairn_msg_open(m, CAIRN_F_GUARD);
		void *copy = cairn_msg_room(m, CAIRN_F_KEY, i->prefix.len + key.len);

		if (copy && i->prefix.len)
			memcpy(copy, i->prefix.data, i->prefix.len);
		if (copy)
			memcpy((char *)copy + i->prefix.len, key.data, key.len);
		cairn_msg_bool(m, CAIRN_F_EXISTS, false);
		cairn_msg_close(m, mark);
	}
}

/* Which operations of the batch failed, by the ANSWER. With --if-absent a conflict is a key that was there.
 */
static enum cairn_code results(struct import *i, struct cairn_slice answer, size_t first, size_t count)
{
	struct cairn_slice result;
	size_t number = 0;
	uint64_t line;
	unsigned field;

	while (cairn_field_next(&answer, &field, &result) == 0 && field != CAIRN_F_END) {
		char name[32], message[300];
		enum cairn_code code;

		if (field != CAIRN_F_RESULT || number >= count)
			continue;
		field_text(result, CAIRN_F_CODE, name, sizeof(name));
		code = cairn_error_by_name(name, strlen(name));
		line = i->lines[first + number++];
		if (code == CAIRN_E_CONFLICT && i->if_absent) {
			i->skipped++;
		} else if (code) {
			return cairn_fail(&i->c->error, code, "line %llu: %s", (unsigned long long)line,
					  field_text(result, CAIRN_F_MESSAGE, message, sizeof(message)));
		} else {
			i->keys++;
		}
	}
	return CAIRN_OK;
}

/* Send the transaction M, whose operations are those of COUNT lines from FIRST on. */
static enum cairn_code send(struct import *i, const struct cairn_msg *m, size_t first, size_t count)
{
	struct cairn *client = cli_client(i->c);
	struct cairn_reply r = { 0 };
	enum cairn_code code = client ? cairn_call(client, m, &r) : i->c->error.code;

	if (client && code) {
		i->c->error = r.error;
		cairn_error_prefix(&i->c->error, "line %llu", (unsigned long long)i->lines[first]);
		i->refused = code == CAIRN_E_TOO_LARGE || code == CAIRN_E_INVALID;
	} else if (client) {
		code = results(i, r.fields, first, count);
	}
	cairn_reply_free(&r);
	return code;
}

/* The batch was refused as a whole because of one of its lines: send them one by one. */
static enum cairn_code send_each(struct import *i)
{
	struct cairn_slice rest = fields_of(&i->batch), body;
	enum cairn_code code = CAIRN_OK;
	unsigned field;
	size_t n = 0;

	while (!code && cairn_field_next(&rest, &field, &body) == 0 && field != CAIRN_F_END) {
		struct cairn_msg m = { 0 };

		if (field != CAIRN_F_THEN)
			continue;
		request(i->c, &m, CAIRN_OP_TXN);
		cairn_msg_bool(&m, CAIRN_F_EACH, true);
		cairn_msg_bytes(&m, CAIRN_F_THEN, body);
		code = send(i, &m, n++, 1);
		cairn_msg_free(&m);
	}
	return code;
}

/* Send what is gathered. */
static enum cairn_code send_batch(struct import *i)
{
	enum cairn_code code = CAIRN_OK;

	if (i->dry_run)
		i->keys += i->count;
	else if (i->count)
		code = send(i, &i->batch, 0, i->count);
	if (code && i->count > 1 && i->refused)
		code = send_each(i);
	i->count = 0;
	request(i->c, &i->batch, CAIRN_OP_TXN);
	cairn_msg_bool(&i->batch, CAIRN_F_EACH, true);
	return code;
}

static enum cairn_code add_line(struct import *i)
{
	struct cairn_slice fields = fields_of(&i->fields), value = { 0 };
	size_t mark = cairn_msg_open_op(&i->batch, CAIRN_F_THEN, CAIRN_OP_PUT);

	add_head(i, &i->batch, fields);
	if (cairn_field_find(fields, CAIRN_F_VALUE, &value))
		cairn_msg_bytes(&i->batch, CAIRN_F_VALUE, value);
	cairn_msg_close(&i->batch, mark);
	if (cairn_msg_error(&i->batch))
		return wrong(i, "it is too long");
	i->lines[i->count++] = i->line;
	return i->count == BATCH_KEYS || i->batch.len >= BATCH_BYTES ? send_batch(i) : CAIRN_OK;
}

/* The next line of the value under way: its bytes in REST. */
static enum cairn_code next_piece(struct import *i)
{
	struct cairn_slice fields, key = { 0 }, own = { 0 };
	bool end;
	enum cairn_code code = read_line(i, &end);

	if (code)
		return code;
	if (end)
		return wrong(i, "the input ends within a value");
	fields = fields_of(&i->fields);
	cairn_field_find(fields, CAIRN_F_KEY, &key);
	cairn_field_find(fields_of(&i->head), CAIRN_F_KEY, &own);
	if (cairn_slice_eq(key, own) && !cairn_field_find(fields, CAIRN_F_OFFSET, &key)) {
		i->ahead = i->again = true; /* it had changed while it was exported: begin again */
		return CAIRN_E_CONFLICT;
	}
	if (!cairn_slice_eq(key, own) && !cairn_field_find(fields, CAIRN_F_OFFSET, &key))
		return wrong(i, "the value before it is not whole");
	if (cairn_field_u64(fields, CAIRN_F_OFFSET, 0) != i->done ||
	    !cairn_field_find(fields, CAIRN_F_VALUE, &i->rest) || !i->rest.len ||
	    i->rest.len > i->size - i->done)
		return wrong(i, "it is not the next piece of the value before it");
	return CAIRN_OK;
}

static long long_read(void *arg, void *buffer, size_t len)
{
	struct import *i = arg;
	size_t n;

	if (i->done == i->size)
		return 0;
	if (!i->rest.len && next_piece(i))
		return -1;
	n = i->rest.len < len ? i->rest.len : len;
	memcpy(buffer, i->rest.data, n);
	i->rest = cairn_slice((const char *)i->rest.data + n, i->rest.len - n);
	i->done += n;
	return (long)n;
}

/* Read all of the value and drop it. */
static enum cairn_code skip_value(struct import *i)
{
	char buffer[4096];
	long n;

	do
		n = long_read(i, buffer, sizeof(buffer));
	while (n > 0);
	return n < 0 ? CAIRN_E_INVALID : CAIRN_OK;
}

/* The line begins a value that goes on. */
static enum cairn_code long_value(struct import *i)
{
	struct cairn_slice fields;
	struct cairn_msg m = { 0 };
	struct cairn_reply r = { 0 };
	uint64_t line = i->line;
	struct cairn *client = i->dry_run ? NULL : cli_client(i->c);
	enum cairn_code code = send_batch(i);

	if (code || (!client && !i->dry_run))
		return i->c->error.code;
	cairn_msg_start(&i->head, 0);
	cairn_msg_fields(&i->head, fields_of(&i->fields));
	fields = fields_of(&i->head);
	i->done = 0;
	i->again = false;
	i->rest = cairn_slice(NULL, 0);
	cairn_field_find(fields, CAIRN_F_VALUE, &i->rest);
	i->size = cairn_field_u64(fields, CAIRN_F_SIZE, i->rest.len);
	if (i->rest.len > i->size)
		return wrong(i, "the value is longer than its size");
	request(i->c, &m, CAIRN_OP_PUT);
	add_head(i, &m, fields);
	i->c->error.code = CAIRN_OK;
	code = i->dry_run ? skip_value(i) : cairn_put_stream(client, &m, long_read, i, &r);
	if (i->again) {
		code = CAIRN_OK;
		i->c->error.code = CAIRN_OK;
	} else if (i->c->error.code) {
		code = i->c->error.code; /* of a line */
	} else if (code == CAIRN_E_CONFLICT && i->if_absent && !is_lost_lock(&r.error)) {
		i->skipped++;
		code = CAIRN_OK;
	} else if (code) {
		i->c->error = r.error;
		cairn_error_prefix(&i->c->error, "line %llu", (unsigned long long)line);
	} else {
		i->keys++;
	}
	cairn_msg_free(&m);
	cairn_reply_free(&r);
	return code;
}

static enum cairn_code import_all(struct import *i)
{
	enum cairn_code code = send_batch(i);
	struct cairn_slice body;

	while (!code) {
		bool end;

		code = read_line(i, &end);
		if (code || end)
			break;
		if (cairn_field_find(fields_of(&i->fields), CAIRN_F_OFFSET, &body))
			code = wrong(i, "a piece of a value that has not begun");
		else if (cairn_field_find(fields_of(&i->fields), CAIRN_F_SIZE, &body) ||
			 i->fields.len > BATCH_BYTES - 8192)
			code = long_value(i);
		else
			code = add_line(i);
	}
	if (!code)
		return send_batch(i);
	if (i->count) { /* what came before the wrong line */
		struct cairn_error first = i->c->error;

		send_batch(i);
		i->c->error = first;
	}
	return code;
}

VERB(import)
{
	struct import i = { .c = c,
			    .dry_run = argument(a, "dry-run") != NULL,
			    .if_absent = argument(a, "if-absent") != NULL };
	const char *prefix = argument(a, "prefix");
	enum cairn_code code;

	if (c->input_used)
		return cairn_fail(&c->error, CAIRN_E_INVALID, "standard input holds the commands");
	i.prefix = cairn_slice(prefix, prefix ? strlen(prefix) : 0);
	progress_begin(&i.progress, c, "imported", 0);
	code = import_all(&i);
	progress_end(&i.progress);
	if (code)
		cairn_hint(&c->error, "%llu key%s %s before it", (unsigned long long)i.keys,
			   i.keys == 1 ? "" : "s",
			   i.dry_run             ? "would have been written"
				   : i.keys == 1 ? "was written"
						 : "were written");
	else if (i.skipped)
		out_line("%llu key%s %s, %llu %s there already", (unsigned long long)i.keys,
			 i.keys == 1 ? "" : "s", i.dry_run ? "would be written" : "written",
			 (unsigned long long)i.skipped, i.skipped == 1 ? "was" : "were");
	else
		out_line("%llu key%s %s", (unsigned long long)i.keys, i.keys == 1 ? "" : "s",
			 i.dry_run ? "would be written" : "written");
	cairn_msg_free(&i.fields);
	cairn_msg_free(&i.batch);
	cairn_msg_free(&i.head);
	free(i.text);
	return code;
}
