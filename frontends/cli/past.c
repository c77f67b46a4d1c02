/*
 * The past: history, and what --revision and --at mean for the verbs that read. A listing as of a revision
 * first asks for a view, so that all of its pages are of that revision even while history goes; a time is
 * turned into a revision the same way.
 */
#include <stdlib.h>
#include <time.h>
#include "cli.h"
#include "banned.h"

/* A zone behind a time: Z, +01:00 or +0100. */
static bool text_zone(const char *text, long *seconds)
{
	int hours, minutes, n = 0;
	char sign;

	*seconds = 0;
	if (strcmp(text, "Z") == 0 || strcmp(text, "z") == 0)
		return true;
	if (sscanf(text, "%c%2d:%2d%n", &sign, &hours, &minutes, &n) < 3 &&
	    sscanf(text, "%c%2d%2d%n", &sign, &hours, &minutes, &n) < 3)
		return false;
	*seconds = (hours * 60L + minutes) * (sign == '-' ? -60 : 60);
	return (sign == '+' || sign == '-') && !text[n];
}

/* How many bytes of TEXT are a fraction of a second, in *NS. */
static size_t text_fraction(const char *text, uint64_t *ns)
{
	size_t digits = *text == '.' ? strspn(text + 1, "0123456789") : 0;
	uint64_t unit = 100000000;

	*ns = 0;
	for (size_t i = 0; i < digits; i++, unit /= 10)
		*ns += unit * (uint64_t)(text[1 + i] - '0');
	return digits ? digits + 1 : 0;
}

bool text_moment(const char *text, uint64_t now_ns, uint64_t *ns)
{
	static const char *const forms[] = {
		"%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M",
		"%Y-%m-%d",          "%H:%M:%S",          "%H:%M"
	};
	uint64_t ago_ms, fraction;
	long zone = 0;

	if (text_duration(text, &ago_ms)) {
		*ns = now_ns / 1000000 > ago_ms ? now_ns - ago_ms * 1000000 : 0;
		return true;
	}
	for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++) {
		time_t now = (time_t)(now_ns / 1000000000), t;
		struct tm tm;
		const char *rest;

		localtime_r(&now, &tm);
		tm.tm_sec = 0;
		if (i == 4)
			tm.tm_hour = tm.tm_min = 0;
		rest = strptime(text, forms[i], &tm);
		if (!rest)
			continue;
		rest += text_fraction(rest, &fraction);
		tm.tm_isdst = -1;
		if (*rest && !text_zone(rest, &zone))
			continue;
		t = *rest ? timegm(&tm) - zone : mktime(&tm);
		*ns = t > 0 ? (uint64_t)t * 1000000000 + fraction : 0;
		return true;
	}
	return false;
}

/* Ask for a view of REVISION, or of the moment NS. */
static enum cairn_code ask_view(struct cli *c, const uint64_t *revision, const uint64_t *ns, uint64_t *got)
{
	struct cairn_reply r = { 0 };
	struct cairn_msg m = { 0 };
	enum cairn_code code;

	request(c, &m, CAIRN_OP_VIEW);
	if (revision)
		cairn_msg_u64(&m, CAIRN_F_REVISION, *revision);
	if (ns)
		cairn_msg_u64(&m, CAIRN_F_AS_OF, *ns);
	code = call(c, &m, &r);
	if (code == CAIRN_OK)
		*got = cairn_field_u64(r.fields, CAIRN_F_REVISION, 0);
	cairn_reply_free(&r);
	return code;
}

/* The revision of the time TEXT. */
static enum cairn_code take_time(struct cli *c, const char *text, struct past *p)
{
	struct timespec now;
	uint64_t ns;

	clock_gettime(CLOCK_REALTIME, &now);
	if (!text_moment(text, (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec, &ns)) {
		cairn_fail(&c->error, CAIRN_E_INVALID, "'%.100s' is no time", text);
		cairn_hint(&c->error,
			   "times look like 10m (ago), 2026-11-20, '2026-11-20 10:05', "
			   "2026-11-20T10:05:00Z");
		return CAIRN_E_INVALID;
	}
	p->given = true;
	return ask_view(c, NULL, &ns, &p->revision);
}

enum cairn_code past_operand(struct cli *c, const char *text, bool whole, struct past *p)
{
	p->given = text_number(text, &p->revision);
	if (!p->given)
		return take_time(c, text, p);
	return whole ? ask_view(c, &p->revision, NULL, &p->revision) : CAIRN_OK;
}

enum cairn_code past_take(struct cli *c, const struct arguments *a, bool whole, struct past *p)
{
	const char *revision = argument(a, "revision"), *at = argument(a, "at");

	if (revision && at)
		return cairn_fail(&c->error, CAIRN_E_INVALID, "--revision and --at are one too many");
	if (revision)
		return past_operand(c, revision, whole, p);
	return at ? take_time(c, at, p) : CAIRN_OK;
}

void past_add(struct cairn_msg *m, const struct past *p)
{
	if (p->given)
		cairn_msg_u64(m, CAIRN_F_AT, p->revision);
}

/* One version as a row. */
static void show_version(struct table *t, struct cairn_slice row)
{
	struct cairn_slice change = cairn_str("?"), author = { 0 }, face = { 0 }, other;
	bool deleted = cairn_field_bool(row, CAIRN_F_DELETED, false);
	char when[TEXT_TIME];

	cairn_field_find(row, CAIRN_F_CHANGE, &change);
	cairn_field_find(row, CAIRN_F_AUTHOR, &author);
	cairn_field_find(row, CAIRN_F_FACE, &face);
	text_time(cairn_field_u64(row, CAIRN_F_TIME, 0), false, when);
	table_cell(t, "%llu", (unsigned long long)cairn_field_u64(row, CAIRN_F_REVISION, 0));
	table_cell(t, "%s", when);
	table_text(t, change, false);
	if (deleted)
		table_cell(t, "-");
	else
		table_cell(t, "%llu", (unsigned long long)cairn_field_u64(row, CAIRN_F_SIZE, 0));
	table_text(t, author, false);
	table_text(t, face, false);
	if (cairn_field_find(row, CAIRN_F_OTHER, &other)) {
		struct cairn_msg text = { 0 };
		char *p = cairn_msg_room(&text, CAIRN_F_TEXT, other.len + 5);

		if (!p)
			no_memory();
		memcpy(p, deleted ? "to   " : "from ", 5);
		memcpy(p + (deleted ? 3 : 5), other.data, other.len);
		table_text(t, cairn_slice(p, other.len + (deleted ? 3 : 5)), false);
		cairn_msg_free(&text);
	} else {
		table_cell(t, "%s", "");
	}
}

static void show_versions(struct cli *c, struct table *t, struct cairn_slice fields)
{
	struct cairn_slice row;
	unsigned field;

	while (cairn_field_next(&fields, &field, &row) == 0 && field != CAIRN_F_END)
		if (field == CAIRN_F_ROW && c->format == FORMAT_JSON)
			out_json(c, row);
		else if (field == CAIRN_F_ROW)
			show_version(t, row);
}

/* All versions of KEY, page by page. */
static enum cairn_code list_versions(struct cli *c, const struct arguments *a, struct cairn_slice key,
				     struct table *t)
{
	struct cairn_msg cursor = { 0 };
	uint64_t limit = 0, rows = 0;
	enum cairn_code code;
	bool more;

	argument_number(a, "limit", &limit);
	cairn_msg_start(&cursor, 0);
	do {
		struct cairn_reply r = { 0 };
		struct cairn_msg m = { 0 };
		struct cairn_slice next;

		request(c, &m, CAIRN_OP_HISTORY);
		cairn_msg_bytes(&m, CAIRN_F_KEY, key);
		cairn_msg_fields(&m, cairn_message_fields(cairn_msg_slice(&cursor)));
		if (limit)
			cairn_msg_u64(&m, CAIRN_F_LIMIT, limit - rows);
		code = call(c, &m, &r);
		if (code == CAIRN_OK)
			show_versions(c, t, r.fields);
		rows += cairn_field_u64(r.fields, CAIRN_F_COUNT, 0);
		more = code == CAIRN_OK && cairn_field_find(r.fields, CAIRN_F_CURSOR, &next) &&
			(!limit || rows < limit);
		cairn_msg_start(&cursor, 0);
		if (more)
			cairn_msg_bytes(&cursor, CAIRN_F_CURSOR, next);
		cairn_reply_free(&r);
	} while (more && !ferror(stdout));
	cairn_msg_free(&cursor);
	return code;
}

VERB(history)
{
	static const struct column columns[] = { { "REVISION", true }, { "WHEN", false }, { "KIND", false },
						 { "SIZE", true },     { "BY", false },   { "VIA", false },
						 { "", false } };
	struct table t = { 0 };
	struct key k;
	enum cairn_code code = key_take(c, &a->operand[0], &k);

	if (code != CAIRN_OK)
		return code;
	if (c->format != FORMAT_JSON)
		table_begin(&t, c, columns, sizeof(columns) / sizeof(*columns), FORMAT_TABLE);
	code = list_versions(c, a, k.name, &t);
	if (c->format != FORMAT_JSON && code == CAIRN_OK)
		table_end(&t);
	key_free(&k);
	return code;
}
