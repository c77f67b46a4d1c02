/*
 * Standard output: tables, facts, JSON, keys. Everything goes through stdio and is checked once, at the end,
 * by out_finish: a full disk or a closed pipe must not look like success. Bytes that came from the cluster
 * are escaped before they reach a table or a terminal.
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>
#include "cli.h"
#include "clock.h"
#include "json.h"
#include "banned.h"

#define TABLE_ROWS 1000

void table_begin(struct table *t, const struct cli *c, const struct column *columns, size_t count,
		 enum format usual)
{
	enum format f = c->format == FORMAT_USUAL ? usual : c->format;

	*t = (struct table){ .cli = c, .columns = columns, .count = count, .plain = f != FORMAT_TABLE };
}

static void put_cell(const char *cell, size_t width, bool right, bool last)
{
	size_t pad = text_width(cell) < width ? width - text_width(cell) : 0;

	printf("%*s%s", right ? (int)pad : 0, "", cell);
	if (!last)
		printf("%*s", (right ? 0 : (int)pad) + 2, "");
}

/* One row, without blanks at its end. */
static void put_row(struct table *t, char **cells, const size_t *width)
{
	size_t last = t->count - 1;

	while (last > 0 && !*cells[last])
		last--;
	for (size_t col = 0; col <= last; col++)
		put_cell(cells[col], width[col], t->columns[col].right, col == last);
	putchar('\n');
}

/* Print the rows that were collected, with the heads before the first ones. */
static void table_flush(struct table *t)
{
	size_t rows = t->filled / t->count, width[COLUMNS_MAX] = { 0 };

	for (size_t col = 0; col < t->count && !t->headed; col++)
		width[col] = text_width(t->columns[col].head);
	for (size_t i = 0; i < rows * t->count; i++)
		if (text_width(t->cells[i]) > width[i % t->count])
			width[i % t->count] = text_width(t->cells[i]);
	for (size_t col = 0; col < t->count && !t->headed; col++)
		put_cell(t->columns[col].head, width[col], t->columns[col].right, col + 1 == t->count);
	if (!t->headed)
		putchar('\n');
	t->headed = true;
	for (size_t row = 0; row < rows; row++)
		put_row(t, t->cells + row * t->count, width);
	for (size_t i = 0; i < rows * t->count; i++)
		free(t->cells[i]);
	t->filled = 0;
}

static void table_take(struct table *t, char *cell)
{
	if (t->filled == t->room) {
		size_t room = t->room ? t->room * 2 : 4 * t->count;
		char **cells = reallocarray(t->cells, room, sizeof(*cells));

		if (!cells || !cell)
			no_memory();
		t->cells = cells;
		t->room = room;
	}
	t->cells[t->filled++] = cell;
	if (t->plain && t->filled == t->count) {
		for (size_t i = 0; i < t->count; i++) {
			printf("%s%c", t->cells[i], i + 1 == t->count ? '\n' : '\t');
			free(t->cells[i]);
		}
		t->filled = 0;
	} else if (t->filled == TABLE_ROWS * t->count) {
		table_flush(t);
	}
}

void table_cell(struct table *t, const char *format, ...)
{
	char *cell = NULL;
	va_list args;

	va_start(args, format);
	if (vasprintf(&cell, format, args) < 0)
		cell = NULL;
	va_end(args);
	table_take(t, cell);
}

void table_text(struct table *t, struct cairn_slice text, bool key)
{
	char *cell = NULL;
	size_t len;
	FILE *f = open_memstream(&cell, &len);

	if (!f)
		no_memory();
	if (key && !t->plain)
		text_quote(f, text, t->cli->utf8);
	else
		text_escape(f, text, t->cli->utf8 || t->plain, TEXT_BACKSLASH);
	fclose(f);
	table_take(t, cell);
}

void table_end(struct table *t)
{
	if (!t->plain)
		table_flush(t);
	free(t->cells);
	*t = (struct table){ 0 };
}

/* How long: 12 s, 3 min, 5 h, 8 d. */
static void span(uint64_t ms, char text[TEXT_SIZE])
{
	static const struct {
		uint64_t ms;
		const char *unit;
	} units[] = { { 172800000, "d" }, { 7200000, "h" }, { 120000, "min" }, { 0, "s" } };
	static const uint64_t divisors[] = { 86400000, 3600000, 60000, 1000 };
	size_t i = 0;

	while (ms < units[i].ms)
		i++;
	snprintf(text, TEXT_SIZE, "%llu %s", (unsigned long long)(ms / divisors[i]), units[i].unit);
}

/* US microseconds, with a sign where they are an OFFSET. */
static void micros_cell(struct table *t, uint64_t us, bool offset)
{
	double ms = (double)(offset ? (int64_t)us : (int64_t)(us < INT64_MAX ? us : INT64_MAX)) / 1000;

	if (t->plain)
		table_cell(t, "%lld", (long long)us);
	else if (offset)
		table_cell(t, "%+.0f ms", ms < 0 && ms > -0.5 ? 0.0 : ms);
	else
		table_cell(t, "%.*f ms", ms < 10 ? 1 : 0, ms);
}

static void texts_cell(struct table *t, struct cairn_slice row, unsigned wanted)
{
	struct buffer b = { 0 };
	struct cairn_slice body;
	unsigned field;

	while (cairn_field_next(&row, &field, &body) == 0 && field != CAIRN_F_END)
		if (field == wanted) {
			if (b.len)
				buffer_byte(&b, ' ');
			buffer_add(&b, body);
		}
	table_text(t, buffer_slice(&b), false);
	buffer_free(&b);
}

static void row_cell(struct table *t, struct cairn_slice row, const struct field_column *column)
{
	struct cairn_slice body;
	char text[TEXT_SIZE];

	if (!cairn_field_find(row, column->field, &body)) {
		table_cell(t, "-");
		return;
	}
	switch (column->show) {
	case SHOW_TEXT:
		table_text(t, body, false);
		return;
	case SHOW_ERROR:
		if (cairn_field_find(body, CAIRN_F_MESSAGE, &body))
			table_text(t, body, false);
		else
			table_cell(t, "-");
		return;
	case SHOW_TEXTS:
		texts_cell(t, row, column->field);
		return;
	case SHOW_BOOL:
		table_cell(t, "%s", body.len && *(const char *)body.data ? "yes" : "no");
		return;
	case SHOW_MICROS:
	case SHOW_OFFSET:
		micros_cell(t, cairn_body_u64(body), column->show == SHOW_OFFSET);
		return;
	case SHOW_SIZE:
	case SHOW_SPAN:
	case SHOW_NUMBER:
		break;
	}
	if (column->show == SHOW_NUMBER || t->plain)
		snprintf(text, sizeof(text), "%llu", (unsigned long long)cairn_body_u64(body));
	else if (column->show == SHOW_SIZE)
		text_size(cairn_body_u64(body), text);
	else
		span(cairn_body_u64(body), text);
	table_cell(t, "%s", text);
}

void out_rows(const struct cli *c, struct cairn_slice fields, unsigned list,
	      const struct field_column *columns, size_t count)
{
	struct column heads[COLUMNS_MAX];
	struct cairn_slice row;
	struct table t;
	unsigned field;

	for (size_t i = 0; i < count; i++)
		heads[i] = columns[i].column;
	table_begin(&t, c, heads, count, FORMAT_TABLE);
	while (cairn_field_next(&fields, &field, &row) == 0 && field != CAIRN_F_END) {
		if (field == list && c->format == FORMAT_JSON)
			out_json(c, row);
		else if (field == list)
			for (size_t i = 0; i < count; i++)
				row_cell(&t, row, &columns[i]);
	}
	if (c->format != FORMAT_JSON)
		table_end(&t);
}

void out_json(const struct cli *c, struct cairn_slice fields)
{
	struct buffer b = { 0 };

	(void)c;
	json_print_fields(&b, fields, NULL);
	buffer_byte(&b, '\n');
	if (b.error)
		no_memory();
	fwrite(b.data, 1, b.len, stdout);
	buffer_free(&b);
}

/* The name of a field for people: blanks for its underscores. */
static void fact_name(const char *json, bool plain, char *name, size_t len)
{
	snprintf(name, len, "%s", json);
	for (char *p = name; *p && !plain; p++)
		if (*p == '_')
			*p = ' ';
}

static void fact_value(const struct cli *c, FILE *f, unsigned field, enum cairn_type type,
		       struct cairn_slice body)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *p = body.data;
	char text[TEXT_TIME];

	switch (type) {
	case CAIRN_T_U64:
		fprintf(f, field == CAIRN_F_MODE ? "%04llo" : "%llu",
			(unsigned long long)cairn_body_u64(body));
		break;
	case CAIRN_T_I64:
		fprintf(f, "%lld", (long long)cairn_body_u64(body));
		break;
	case CAIRN_T_TIME:
		if (c->format == FORMAT_PLAIN)
			clock_format(cairn_body_u64(body), text);
		else
			text_time(cairn_body_u64(body), true, text);
		fputs(text, f);
		break;
	case CAIRN_T_BOOL:
		fputs(body.len && *p ? "yes" : "no", f);
		break;
	case CAIRN_T_KIND:
		fputs(cairn_kind_name(body.len ? *p : 0), f);
		break;
	case CAIRN_T_ID:
		for (size_t i = 0; i < body.len; i++)
			fprintf(f, "%c%c", digits[p[i] >> 4], digits[p[i] & 15]);
		break;
	default:
		text_escape(f, body, c->utf8, TEXT_BACKSLASH);
	}
}

/* All texts of the list FIELD, from its first one on; nothing for the others. */
static bool text_list(struct cairn_slice *fields, unsigned field, struct cairn_slice first,
		      struct buffer *all)
{
	struct cairn_slice rest = *fields, body;
	unsigned next;

	buffer_add(all, first);
	while (cairn_field_next(&rest, &next, &body) == 0 && next == field) {
		buffer_byte(all, ' ');
		buffer_add(all, body);
		*fields = rest;
	}
	return !all->error;
}

static void fact(const struct cli *c, const char *name, unsigned field, enum cairn_type type,
		 struct cairn_slice body, struct table *t)
{
	char *cell = NULL;
	size_t len;
	FILE *f = open_memstream(&cell, &len);

	if (!f)
		no_memory();
	fact_value(c, f, field, type, body);
	fclose(f);
	table_cell(t, "%s", name);
	table_cell(t, "%s", cell);
	free(cell);
}

/* An item of a list that is a name and an amount is one fact. */
static bool named_amount(const struct cli *c, const char *list, struct cairn_slice item, struct table *t)
{
	struct cairn_slice amount;
	char name[256], own[128];

	if (!cairn_field_find(item, CAIRN_F_AMOUNT, &amount) ||
	    !*field_text(item, CAIRN_F_NAME, own, sizeof(own)))
		return false;
	snprintf(name, sizeof(name), "%s%s%s", list, t->plain ? "." : " ", own);
	fact(c, name, CAIRN_F_AMOUNT, CAIRN_T_TEXT, amount, t);
	return true;
}

static void facts(const struct cli *c, struct cairn_slice fields, const char *above, struct table *t)
{
	struct cairn_slice body;
	unsigned field;

	while (cairn_field_next(&fields, &field, &body) == 0 && field != CAIRN_F_END) {
		const struct cairn_field_row *row = cairn_field_row(field);
		struct buffer all = { 0 };
		char name[128], head[64];

		if (!row)
			continue;
		fact_name(row->json, t->plain, head, sizeof(head));
		snprintf(name, sizeof(name), "%s%s%s", above, *above ? t->plain ? "." : " " : "", head);
		if (row->type == CAIRN_T_LIST && named_amount(c, name, body, t))
			continue;
		if (row->type == CAIRN_T_OBJECT || row->type == CAIRN_T_LIST) {
			facts(c, body, field == CAIRN_F_ATTRIBUTES ? above : name, t);
			continue;
		}
		if (row->type == CAIRN_T_TEXTS && text_list(&fields, field, body, &all))
			body = buffer_slice(&all);
		fact(c, name, field, row->type, body, t);
		buffer_free(&all);
	}
}

void out_facts(const struct cli *c, struct cairn_slice fields)
{
	static const struct column columns[] = { { "", false }, { "", false } };
	struct table t;

	table_begin(&t, c, columns, 2, FORMAT_TABLE);
	t.headed = true;
	facts(c, fields, "", &t);
	table_end(&t);
}

void out_key(const struct cli *c, struct cairn_slice key, char end)
{
	if (c->out_terminal && end)
		text_quote(stdout, key, c->utf8);
	else
		fwrite(key.data, 1, key.len, stdout);
	putchar(end);
}

void out_line(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}

enum cairn_code out_finish(struct cairn_error *e)
{
	int err;

	errno = 0;
	if (fflush(stdout) == 0 && !ferror(stdout))
		return CAIRN_OK;
	err = errno;
	if (err == EPIPE) {
		signal(SIGPIPE, SIG_DFL);
		raise(SIGPIPE);
	}
	clearerr(stdout);
	/* An earlier write failed where the reason is not known any more. */
	if (err == 0)
		return cairn_fail(e, CAIRN_E_INTERNAL, "standard output could not be written");
	return cairn_fail(e, cairn_error_from_errno(err), "standard output: %s", strerror(err));
}

void progress_begin(struct progress *p, const struct cli *c, const char *what, uint64_t all)
{
	*p = (struct progress){
		.what = what, .all = all, .start_ns = clock_boot_ns(), .on = c->err_terminal
	};
}

void progress_add(struct progress *p, size_t bytes)
{
	char done[TEXT_SIZE], all[TEXT_SIZE];
	uint64_t now;

	p->done += bytes;
	if (!p->on)
		return;
	now = clock_boot_ns();
	if (now - p->start_ns < 1000000000u || now - p->shown_ns < 100000000u)
		return;
	text_size(p->done, done);
	text_size(p->all, all);
	if (p->all)
		fprintf(stderr, "\r%s %s of %s   ", p->what, done, all);
	else
		fprintf(stderr, "\r%s %s   ", p->what, done);
	p->shown_ns = now;
	p->shown = true;
}

void progress_end(struct progress *p)
{
	if (p->shown)
		fprintf(stderr, "\r%*s\r", 48, "");
	p->shown = false;
}
