/*
 * The journal of a data folder without its daemon: checked as a start would check it, and printed for people
 * or as lines of JSON. Nothing is written. What a command carries is printed only when that is asked for;
 * otherwise it is the operation, its keys, and who asked when.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "buffer.h"
#include "inspect.h"
#include "journal.h"
#include "json.h"
#include "offline.h"
#include "volume.h"
#include "banned.h"

struct dump {
	const struct node *n;
	bool json, values;
	const char *volume;    /* NULL: all */
	size_t volume_len;     /* of its name */
	const char *segment;   /* the present one */
	struct buffer out;     /* a line */
	struct cairn_msg safe; /* the fields of a command that may be shown */
	bool damaged;
	struct cairn_error *error;
};

enum cairn_code offline_journal_open(struct node *n, struct cairn_error *error)
{
	char path[4096];
	struct journal_options o = { .folder = path, .read_only = true };
	struct cairn_error notice;
	struct journal_facts facts;
	enum cairn_code code;

	node_journal_path(n, path, sizeof(path));
	code = journal_open(&n->journal, &o, &notice, error);
	if (code)
		return code;
	journal_facts(n->journal, &facts);
	if (notice.message[0] && !notice.code)
		printf("%s\n", notice.message);
	printf("%s: %s: %llu segment%s, %llu bytes, newest batch %llu\n", path,
	       notice.code ? "what is left is sound" : "sound", (unsigned long long)facts.segments,
	       facts.segments == 1 ? "" : "s", (unsigned long long)facts.segment_bytes,
	       (unsigned long long)facts.sequence);
	fflush(stdout);
	if (notice.code)
		*error = notice;
	return notice.code;
}

/* The folder of the shard ID, or its number in hex. */
static void name_shard(const struct dump *d, uint64_t id, char *name, size_t size)
{
	char path[4096];
	struct dirent *e;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/volumes", d->n->data_dir);
	dir = opendir(path);
	snprintf(name, size, "%016llx", (unsigned long long)id);
	while (dir && (e = readdir(dir)))
		if (shard_id(e->d_name) == id)
			snprintf(name, size, "%s", e->d_name);
	if (dir)
		closedir(dir);
}

/* Whether the shard NAME is of the volume that was asked for: "VOLUME-", and a number of 16 digits. */
static bool wanted(const struct dump *d, const char *name)
{
	if (!d->volume)
		return true;
	return strlen(name) >= d->volume_len && !strncmp(name, d->volume, d->volume_len) &&
		(!name[d->volume_len] ||
		 (name[d->volume_len] == '-' && strspn(name + d->volume_len + 1, "0123456789abcdef") == 16 &&
		  !name[d->volume_len + 17]));
}

/* Whether FIELD says what a command is about, and nothing of what it carries. */
static bool is_safe(unsigned field)
{
	switch (field) {
	case CAIRN_F_KEY:
	case CAIRN_F_PREFIX:
	case CAIRN_F_TO:
	case CAIRN_F_NAME:
	case CAIRN_F_REVISION:
	case CAIRN_F_UPLOAD:
	case CAIRN_F_INDEX:
	case CAIRN_F_SIZE:
	case CAIRN_F_OFFSET:
	case CAIRN_F_CLIENT:
	case CAIRN_F_SEQUENCE:
	case CAIRN_F_AUTHOR:
	case CAIRN_F_FACE:
	case CAIRN_F_TIME:
		return true;
	default:
		return false;
	}
}

/* The fields of a command that may be shown, also of those inside a transaction. */
static void copy_safe(struct cairn_msg *to, struct cairn_slice fields)
{
	struct cairn_slice body;
	unsigned field;

	while (cairn_field_next(&fields, &field, &body) == 0 && field)
		if (field == CAIRN_F_THEN || field == CAIRN_F_ELSE) {
			size_t mark = cairn_msg_open_op(to, field, cairn_message_number(body));

			copy_safe(to, cairn_message_fields(body));
			cairn_msg_close(to, mark);
		} else if (is_safe(field)) {
			cairn_msg_bytes(to, field, body);
		}
}

static int put_line(struct dump *d)
{
	int e = d->out.error;

	if (!e)
		fwrite(d->out.data, 1, d->out.len, stdout);
	d->out.len = 0;
	return e ? (int)cairn_fail(d->error, CAIRN_E_INTERNAL, "no memory left to print the journal") : 0;
}

static int dump_segment(void *arg, const char *name, uint64_t bytes)
{
	struct dump *d = arg;

	if (!d->json)
		printf("%s: %llu bytes\n", name, (unsigned long long)bytes);
	return 0;
}

/* {"key":"a","author":…} of a COMMAND. */
static int print_command(struct dump *d, struct cairn_slice command)
{
	struct cairn_slice fields = cairn_message_fields(command);

	if (cairn_fields_check(fields, NULL) < 0) {
		buffer_text(&d->out, "{}");
		return 0;
	}
	cairn_msg_start(&d->safe, 0);
	if (!d->values)
		copy_safe(&d->safe, fields);
	if (cairn_msg_error(&d->safe))
		return cairn_msg_error(&d->safe);
	json_print_fields(&d->out, d->values ? fields : cairn_message_fields(cairn_msg_slice(&d->safe)),
			  NULL);
	return 0;
}

static int print_record(struct dump *d, uint64_t batch, const struct record_head *r, struct cairn_slice body)
{
	static const char *const kinds[] = { [RECORD_ENTRY] = "entry",
					     [RECORD_STATE] = "state",
					     [RECORD_FIRST] = "first",
					     [RECORD_DROP] = "dropped" };
	const struct cairn_operation_row *op = cairn_operation_row(cairn_message_number(body));
	char shard[256];
	int e = 0;

	name_shard(d, r->shard, shard, sizeof(shard));
	if (!wanted(d, shard))
		return 0;
	buffer_printf(&d->out,
		      d->json ? "{\"batch\":%llu,\"record\":\"%s\",\"shard\":\"%s\",\"index\":%llu,"
				"\"term\":%llu,\"bytes\":%u"
			      : "  %llu: %s %s index %llu term %llu, %u bytes",
		      (unsigned long long)batch, kinds[r->kind], shard, (unsigned long long)r->index,
		      (unsigned long long)r->term, r->length);
	if (r->kind == RECORD_ENTRY) {
		buffer_printf(&d->out, d->json ? ",\"op\":\"%s\",\"args\":" : ": %s ",
			      op && op->name ? op->name : "?");
		e = print_command(d, body);
	}
	buffer_text(&d->out, d->json ? "}\n" : "\n");
	if (e < 0)
		return (int)cairn_fail(d->error, CAIRN_E_INTERNAL, "no memory left to print the journal");
	return put_line(d);
}

static int dump_batch(void *arg, const char *name, uint64_t at, const struct batch_head *h,
		      struct cairn_slice records)
{
	struct dump *d = arg;
	struct cairn_slice body;
	struct record_head r;
	int e = 0;

	if (d->json)
		printf("{\"segment\":\"%s\",\"at\":%llu,", name, (unsigned long long)at);
	else
		printf(" at %llu: ", (unsigned long long)at);
	printf(d->json ? "\"batch\":%llu,\"records\":%u,\"bytes\":%u,\"durable\":%llu}\n"
		       : "batch %llu, %u records, %u bytes, durable %llu\n",
	       (unsigned long long)h->sequence, h->count, h->length, (unsigned long long)h->durable);
	while (!e && record_next(&records, &r, &body) == 0)
		e = print_record(d, h->sequence, &r, body);
	return e;
}

static int dump_damage(void *arg, const char *name, uint64_t at, uint64_t bytes, bool torn,
		       const struct batch_head *h, struct cairn_slice records)
{
	struct dump *d = arg;

	(void)records;
	d->damaged = d->damaged || !torn;
	if (d->json)
		printf("{\"segment\":\"%s\",\"at\":%llu,\"batch\":%llu,\"bytes\":%llu,\"%s\":true}\n", name,
		       (unsigned long long)at, (unsigned long long)h->sequence, (unsigned long long)bytes,
		       torn ? "torn" : "damaged");
	else
		printf(" at %llu: %s: %llu bytes%s\n", (unsigned long long)at, torn ? "torn off" : "damaged",
		       (unsigned long long)bytes, torn ? ", not synced, not needed" : "");
	return 0;
}

/* Take "text", "json", "values" and "volume=NAME" out of HOW. */
static enum cairn_code read_how(struct dump *d, const char *how, struct cairn_error *error)
{
	for (const char *p = how; *p;) {
		size_t n = strcspn(p, ",");

		if (n == 4 && !strncmp(p, "json", n))
			d->json = true;
		else if (n == 6 && !strncmp(p, "values", n))
			d->values = true;
		else if (n > 7 && !strncmp(p, "volume=", 7)) {
			d->volume = p + 7;
			d->volume_len = n - 7;
		} else if (n != 4 || strncmp(p, "text", n))
			return cairn_fail(
				error, CAIRN_E_INVALID,
				"--journal-dump takes text, json, values and volume=NAME, not '%.*s'", (int)n,
				p);
		p += n + (p[n] == ',');
	}
	return CAIRN_OK;
}

enum cairn_code offline_journal_dump(struct node *n, const char *how, struct cairn_error *error)
{
	struct dump d = { .n = n, .error = error };
	struct journal_visitor v = { &d, dump_segment, dump_batch, dump_damage };
	char path[4096];
	enum cairn_code code = read_how(&d, how, error);

	node_journal_path(n, path, sizeof(path));
	if (!code)
		code = (enum cairn_code)journal_inspect(path, &v, error);
	if (!code && d.damaged)
		code = offline_journal_open(n, error);
	buffer_free(&d.out);
	cairn_msg_free(&d.safe);
	return code;
}
