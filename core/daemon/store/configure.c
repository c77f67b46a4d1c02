/*
 * Replicated settings: they stand in meta and change by a logged command only, so that every replica judges
 * alike. One row each. A setting that would make visible again what was not, and what reclaim may have
 * removed by now, leaves a mark in meta instead: what was invisible stays so.
 */
#include <stdio.h>
#include "amount.h"
#include "history.h"
#include "state.h"
#include "banned.h"

enum form { COUNT, BYTES, DURATION };

struct setting {
	const char *name;
	enum form form;
	uint64_t most;
	size_t initial; /* offset in struct store_settings, or NONE */
	size_t meta;    /* offset in struct meta */
};

#define NONE ((size_t)-1)
#define INITIAL(member) offsetof(struct store_settings, member)
#define META(member) offsetof(struct meta, member)

static const struct setting settings[] = {
	{ "history", COUNT, 1000000, INITIAL(history), META(history) },
	{ "history-age", DURATION, UINT64_MAX, INITIAL(history_age_ns), META(history_age_ns) },
	{ "history-bytes", BYTES, UINT64_MAX, INITIAL(history_bytes), META(history_bytes) },
	{ "history-floor", COUNT, UINT64_MAX, NONE, META(floor) },
	{ "quota", BYTES, UINT64_MAX, INITIAL(quota), META(quota) },
};

static bool parse(const struct setting *row, struct cairn_slice text, uint64_t *value)
{
	static const struct {
		char unit;
		uint64_t ns;
	} units[] = {
		{ 's', 1000000000 },
		{ 'm', 60000000000 },
		{ 'h', 3600000000000 },
		{ 'd', 86400000000000 },
	};
	uint64_t scale = row->form == DURATION ? 1000000000 : 1;

	if (row->form == BYTES)
		return amount_bytes(text, value) && *value <= row->most;
	if (!amount_number(&text, value))
		return false;
	for (size_t i = 0; text.len == 1 && i < sizeof(units) / sizeof(units[0]); i++)
		if (*(const char *)text.data == units[i].unit && row->form == DURATION) {
			scale = units[i].ns;
			text.len = 0;
		}
	return !text.len && !__builtin_mul_overflow(*value, scale, value) && *value <= row->most;
}

static const struct setting *find(struct cairn_slice name)
{
	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
		if (cairn_slice_eq(name, cairn_str(settings[i].name)))
			return &settings[i];
	return NULL;
}

static enum cairn_code take(struct cairn_slice name, struct cairn_slice text, const struct setting **row,
			    uint64_t *value, struct cairn_error *error)
{
	static const char *const forms[] = {
		"a number", "a number of bytes, with K, M, G or T behind it if you like",
		"a time: a number of seconds, or one with s, m, h or d behind it"
	};

	*row = find(name);
	if (!*row) {
		cairn_fail(error, CAIRN_E_INVALID, "there is no setting '%.*s' of a volume", (int)name.len,
			   (const char *)name.data);
		cairn_hint(error, "there is history, history-age, history-bytes, history-floor, quota");
		return CAIRN_E_INVALID;
	}
	if (parse(*row, text, value))
		return CAIRN_OK;
	return cairn_fail(error, CAIRN_E_INVALID, "%s: '%.*s' is not %s", (*row)->name, (int)text.len,
			  (const char *)text.data, forms[(*row)->form]);
}

enum cairn_code store_setting(struct store_settings *s, const char *name, const char *text,
			      struct cairn_error *error)
{
	const struct setting *row;
	uint64_t value;
	enum cairn_code code = take(cairn_str(name), cairn_str(text), &row, &value, error);

	if (!code && row->initial != NONE)
		memcpy((char *)s + row->initial, &value, sizeof(value));
	return code;
}

bool store_setting_text(struct store *s, struct cairn_slice name, char *text, size_t size)
{
	static const struct {
		enum form form;
		uint64_t amount;
		char unit[2];
	} units[] = { { BYTES, 1ull << 40, "T" },        { BYTES, 1ull << 30, "G" },
		      { BYTES, 1ull << 20, "M" },        { BYTES, 1ull << 10, "K" },
		      { DURATION, 86400000000000, "d" }, { DURATION, 3600000000000, "h" },
		      { DURATION, 60000000000, "m" },    { DURATION, 1000000000, "s" } };
	const struct setting *row = find(name);
	const char *unit = "";
	uint64_t value;
	struct meta m;

	if (!row)
		return false;
	pthread_mutex_lock(&s->lock);
	m = s->published;
	pthread_mutex_unlock(&s->lock);
	memcpy(&value, (const char *)&m + row->meta, sizeof(value));
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]) && value && !*unit; i++)
		if (row->form == units[i].form && value % units[i].amount == 0) {
			value /= units[i].amount;
			unit = units[i].unit;
		}
	snprintf(text, size, "%llu%s", (unsigned long long)value, unit);
	return true;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* History is about to keep VERSIONS. */
static void set_versions(struct meta *m, uint64_t versions)
{
	if (!m->history || !versions) {
		m->floor = m->revision;
		m->history_before = m->history_since = 0;
	} else if (versions > m->history) {
		m->history_before = m->history_since ? least(m->history_before, m->history) : m->history;
		m->history_since = m->revision;
	}
}

enum cairn_code op_configure(struct work *w, const struct args *a)
{
	struct meta *m = &w->s->meta;
	const struct setting *row;
	uint64_t value;
	enum cairn_code code = take(a->body[CAIRN_F_NAME], a->body[CAIRN_F_AMOUNT], &row, &value, w->error);

	if (code)
		return code;
	if (row->meta == META(floor) && (value < m->floor || value > m->revision))
		return cairn_fail(w->error, CAIRN_E_INVALID,
				  "history-floor is only raised: it is %llu to %llu now",
				  (unsigned long long)m->floor, (unsigned long long)m->revision);
	if (row->meta == META(history))
		set_versions(m, value);
	else if (row->meta == META(history_age_ns) && value > m->history_age_ns)
		m->history_from_ns = history_bound_ns(m);
	w->s->reclaim_ordinal = 0;
	m->reclaimed = 0; /* more may be invisible by now: look at everything again */
	memcpy((char *)m + row->meta, &value, sizeof(value));
	return CAIRN_OK;
}
