/*
 * The engine host: parses parameters, opens a plugin, and fills in what it left out, so that nobody else asks
 * whether a callback is there. A plugin reaches this place through the loader, which has checked that the
 * required callbacks exist. Failures are the plugin's own sentence with the engine's name before it.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include "amount.h"
#include "engine.h"
#include "files.h"
#include "nearest.h"
#include "banned.h"

static void no_read_begin(void *handle, struct cairn_guard *guard)
{
	(void)handle;
	(void)guard;
}

static int no_snapshot(void *handle, void **snapshot)
{
	(void)handle;
	*snapshot = NULL;
	return -EOPNOTSUPP;
}

static void no_release(void *handle, void *snapshot)
{
	(void)handle;
	(void)snapshot;
}

static void no_stats(void *handle, cairn_stat_fn *fn, void *arg)
{
	(void)handle;
	(void)fn;
	(void)arg;
}

static int no_compact(void *handle, struct cairn_error *error)
{
	(void)handle;
	(void)error;
	return 0;
}

static int no_maintain(void *handle, uint64_t budget_us, bool *more)
{
	(void)handle;
	(void)budget_us;
	*more = false;
	return 0;
}

static bool no_notice(void *handle, struct cairn_error *notice)
{
	(void)handle;
	(void)notice;
	return false;
}

static int no_repair(const char *dir, struct cairn_error *error)
{
	cairn_fail(error, CAIRN_E_UNSUPPORTED, "%s: the engine cannot repair its files", dir);
	return -EOPNOTSUPP;
}

static bool no_get_many(void *handle, struct cairn_guard *guard, const struct cairn_slice *keys, size_t count,
			unsigned flags, struct cairn_slice *values)
{
	(void)handle;
	(void)guard;
	(void)keys;
	(void)count;
	(void)flags;
	(void)values;
	return false;
}

static int no_check(void *handle, struct cairn_error *error)
{
	(void)handle;
	(void)error;
	return 0;
}

static int remove_folder(const char *dir)
{
	return folder_remove(AT_FDCWD, dir);
}

static void fill(struct cairn_engine *ops)
{
	if (!ops->read_begin)
		ops->read_begin = ops->read_end = no_read_begin;
	if (!(ops->caps & CAIRN_ENGINE_SNAPSHOT)) {
		ops->snapshot = no_snapshot;
		ops->release = no_release;
	}
	if (!ops->stats)
		ops->stats = no_stats;
	if (!ops->compact)
		ops->compact = no_compact;
	if (!ops->maintain)
		ops->maintain = no_maintain;
	if (!ops->destroy)
		ops->destroy = remove_folder;
	if (!ops->notice)
		ops->notice = no_notice;
	if (!ops->repair)
		ops->repair = no_repair;
	if (!ops->get_many)
		ops->get_many = no_get_many;
	if (!ops->check)
		ops->check = no_check;
}

int engine_sync(struct engine *e, struct cairn_error *error)
{
	struct cairn_batch empty = { 0 };
	int r;

	if (e->ops.sync)
		return e->ops.sync(e->handle, error);
	r = e->ops.position(e->handle, &empty.position);
	return r ? r : e->ops.write(e->handle, &empty, true, error);
}

size_t params_count(const struct cairn_param *rows)
{
	size_t n = 0;

	while (rows && rows[n].name)
		n++;
	return n;
}

static bool parse_bool(const char *text, uint64_t *number)
{
	static const char *const words[2][4] = { { "no", "false", "off", "0" },
						 { "yes", "true", "on", "1" } };

	for (unsigned v = 0; v < 2; v++)
		for (unsigned i = 0; i < 4; i++)
			if (strcmp(text, words[v][i]) == 0) {
				*number = v;
				return true;
			}
	return false;
}

static bool parse_number(const char *text, bool size, uint64_t *number)
{
	struct cairn_slice rest = cairn_str(text);

	return size ? amount_bytes(rest, number) : amount_number(&rest, number) && !rest.len;
}

static enum cairn_code parse_value(const struct cairn_param *row, const char *text, struct cairn_value *value,
				   struct cairn_error *error)
{
	static const char *const forms[] = {
		[CAIRN_PARAM_BOOL] = "yes or no",
		[CAIRN_PARAM_NUMBER] = "a decimal number",
		[CAIRN_PARAM_SIZE] = "a number of bytes, with K, M, G or T behind it if you like",
		[CAIRN_PARAM_TEXT] = "text",
	};
	bool good = true;

	value->number = 0;
	value->text = text;
	if (row->type == CAIRN_PARAM_BOOL)
		good = parse_bool(text, &value->number);
	else if (row->type != CAIRN_PARAM_TEXT)
		good = parse_number(text, row->type == CAIRN_PARAM_SIZE, &value->number);
	if (good)
		return CAIRN_OK;
	return cairn_fail(error, CAIRN_E_INVALID, "parameter %s: '%s' is not %s", row->name, text,
			  forms[row->type]);
}

static enum cairn_code unknown_param(const struct cairn_param *rows, const char *name,
				     struct cairn_error *error)
{
	const char *names[64], *close;
	size_t n = 0;

	while (n < 64 && rows && rows[n].name) {
		names[n] = rows[n].name;
		n++;
	}
	cairn_fail(error, CAIRN_E_INVALID, "there is no parameter '%s'%s", name, n ? "" : ": it takes none");
	close = nearest(name, names, n);
	if (close)
		cairn_hint(error, "did you mean '%s'?", close);
	return CAIRN_E_INVALID;
}

enum cairn_code params_parse(const struct cairn_param *rows, const char *const *texts, size_t count,
			     struct cairn_value *values, struct cairn_error *error)
{
	size_t n = params_count(rows);
	enum cairn_code code;

	for (size_t i = 0; i < n; i++)
		if ((code = parse_value(&rows[i], rows[i].fallback ? rows[i].fallback : "", &values[i],
					error)))
			return code;
	for (size_t k = 0; k < count; k++) {
		const char *equals = strchr(texts[k], '=');
		char name[64] = "";
		size_t i;

		if (!equals)
			return cairn_fail(error, CAIRN_E_INVALID,
					  "parameter '%s' is not of the form name=value", texts[k]);
		if ((size_t)(equals - texts[k]) < sizeof(name))
			memcpy(name, texts[k], (size_t)(equals - texts[k]));
		for (i = 0; i < n && strcmp(rows[i].name, name); i++)
			;
		if (i == n)
			return unknown_param(rows, *name ? name : texts[k], error);
		if ((code = parse_value(&rows[i], equals + 1, &values[i], error)))
			return code;
	}
	return CAIRN_OK;
}

void engine_complete(struct engine *e, const struct cairn_engine *plugin)
{
	*e = (struct engine){ .ops = *plugin };
	fill(&e->ops);
}

bool engine_maintains(const struct cairn_engine *plugin)
{
	struct engine e;

	engine_complete(&e, plugin);
	return e.ops.maintain != no_maintain;
}

enum cairn_code engine_open(struct engine *e, const struct cairn_engine *plugin, const char *dir,
			    const char *const *parameters, size_t count, struct cairn_error *error)
{
	struct cairn_value *values = calloc(params_count(plugin->params) + 1, sizeof(*values));
	struct cairn_error why = { 0 };
	enum cairn_code code;
	int r;

	if (!values)
		return cairn_fail(error, CAIRN_E_INTERNAL, "engine %s: no memory", plugin->name);
	engine_complete(e, plugin);
	code = params_parse(plugin->params, parameters, count, values, &why);
	if (code == CAIRN_OK && (r = plugin->open(dir, values, &e->handle, &why)) != 0) {
		code = why.code ? why.code : cairn_error_from_errno(-r);
		if (!why.message[0])
			cairn_fail(&why, code, "cannot open %s: %s", dir, strerror(-r));
		why.code = code;
	}
	free(values);
	if (code) {
		cairn_error_prefix(&why, "engine %s", plugin->name);
		if (error)
			*error = why;
		*e = (struct engine){ 0 };
	}
	return code;
}

void engine_damage(const struct engine *e, struct cairn_error *error)
{
	struct cairn_error notice = { 0 };
	size_t used = error ? strlen(error->message) : 0;

	if (!error || !e->ops.notice(e->handle, &notice) || notice.code != CAIRN_E_CORRUPT)
		return;
	snprintf(error->message + used, sizeof(error->message) - used, "%s%s", used ? ": " : "",
		 notice.message);
	if (notice.hint[0])
		cairn_hint(error, "%s", notice.hint);
}

bool engine_takes(const struct cairn_engine *ops, const char *name)
{
	const struct cairn_param *row = ops->params;

	while (row && row->name && strcmp(row->name, name))
		row++;
	return row && row->name;
}

void engine_close(struct engine *e)
{
	if (e->ops.close)
		e->ops.close(e->handle);
	*e = (struct engine){ 0 };
}
