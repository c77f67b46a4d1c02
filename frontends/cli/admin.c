/*
 * plugin, volume, config, log-level, metrics: one request each, and its rows as a table. The columns are
 * those of the answer's fields; --json has all of them.
 */
#include <limits.h>
#include <stdlib.h>
#include "cli.h"
#include "buffer.h"
#include "prometheus.h"
#include "banned.h"

#define COLUMNS(list) (list), sizeof(list) / sizeof(*(list))

void show_volumes(const struct cli *c, struct cairn_slice fields)
{
	static const struct field_column columns[] = {
		{ { "VOLUME", false }, CAIRN_F_NAME, SHOW_TEXT },
		{ { "ENGINE", false }, CAIRN_F_ENGINE, SHOW_TEXT },
		{ { "REPLICATION", false }, CAIRN_F_REPLICATION, SHOW_TEXT },
		{ { "KEYS", true }, CAIRN_F_KEYS, SHOW_NUMBER },
		{ { "SIZE", true }, CAIRN_F_BYTES, SHOW_SIZE },
		{ { "QUOTA", true }, CAIRN_F_QUOTA, SHOW_SIZE },
		{ { "REVISION", true }, CAIRN_F_REVISION, SHOW_NUMBER },
		{ { "WRITES", false }, CAIRN_F_TEXT, SHOW_TEXT },
	};

	out_rows(c, fields, CAIRN_F_VOLUMES, COLUMNS(columns));
}

static const struct field_column parameter_columns[] = {
	{ { "PARAMETER", false }, CAIRN_F_NAME, SHOW_TEXT },  { { "TYPE", false }, CAIRN_F_TYPE, SHOW_TEXT },
	{ { "DEFAULT", false }, CAIRN_F_DEFAULT, SHOW_TEXT }, { { "LIVE", false }, CAIRN_F_LIVE, SHOW_BOOL },
	{ { "MEANING", false }, CAIRN_F_HELP, SHOW_TEXT },
};

static const struct field_column plugin_columns[] = {
	{ { "PLUGIN", false }, CAIRN_F_NAME, SHOW_TEXT },
	{ { "KIND", false }, CAIRN_F_TYPE, SHOW_TEXT },
	{ { "CAPABILITIES", false }, CAIRN_F_CAPABILITY, SHOW_TEXTS },
	{ { "FILE", false }, CAIRN_F_PATH, SHOW_TEXT },
	{ { "REFUSED", false }, CAIRN_F_ERROR, SHOW_ERROR },
};

static const struct field_column statistic_columns[] = {
	{ { "WHAT", false }, CAIRN_F_NAME, SHOW_TEXT },
	{ { "AMOUNT", true }, CAIRN_F_AMOUNT, SHOW_TEXT },
	{ { "UNIT", false }, CAIRN_F_UNIT, SHOW_TEXT },
};

static const struct field_column setting_columns[] = {
	{ { "SETTING", false }, CAIRN_F_SETTING, SHOW_TEXT },
	{ { "VALUE", false }, CAIRN_F_AMOUNT, SHOW_TEXT },
	{ { "DEFAULT", false }, CAIRN_F_DEFAULT, SHOW_TEXT },
	{ { "LIVE", false }, CAIRN_F_LIVE, SHOW_BOOL },
	{ { "MEANING", false }, CAIRN_F_HELP, SHOW_TEXT },
};

static const struct field_column level_columns[] = {
	{ { "MODULE", false }, CAIRN_F_MODULE, SHOW_TEXT },
	{ { "LEVEL", false }, CAIRN_F_LEVEL, SHOW_TEXT },
};

/* Send M; show the rows of LIST. */
static enum cairn_code show_list(struct cli *c, struct cairn_msg *m, unsigned list,
				 const struct field_column *columns, size_t count)
{
	struct cairn_reply r = { 0 };
	enum cairn_code code = call(c, m, &r);

	if (code == CAIRN_OK)
		out_rows(c, r.fields, list, columns, count);
	cairn_reply_free(&r);
	return code;
}

/* Send M; say nothing but SENTENCE, which may be NULL. */
static enum cairn_code do_it(struct cli *c, struct cairn_msg *m, const char *sentence, const char *name)
{
	struct cairn_reply r = { 0 };
	enum cairn_code code = call(c, m, &r);

	if (code == CAIRN_OK && c->format == FORMAT_JSON)
		out_json(c, r.fields);
	else if (code == CAIRN_OK)
		out_line(sentence, name);
	cairn_reply_free(&r);
	return code;
}

VERB(plugin_list)
{
	struct cairn_msg m = { 0 };

	(void)a;
	cairn_msg_start(&m, CAIRN_OP_PLUGIN_LIST);
	return show_list(c, &m, CAIRN_F_ROW, COLUMNS(plugin_columns));
}

/* FIELDS without the items of the list LEFT_OUT. */
static void facts_without(const struct cli *c, struct cairn_slice fields, unsigned left_out)
{
	struct cairn_msg m = { 0 };
	struct cairn_slice body;
	unsigned field;

	cairn_msg_start(&m, 0);
	while (cairn_field_next(&fields, &field, &body) == 0 && field != CAIRN_F_END)
		if (field != left_out)
			cairn_msg_bytes(&m, field, body);
	if (cairn_msg_error(&m))
		no_memory();
	out_facts(c, cairn_message_fields(cairn_msg_slice(&m)));
	cairn_msg_free(&m);
}

/* Facts, then the rows of a list behind them. */
static enum cairn_code show_both(struct cli *c, struct cairn_msg *m, unsigned list,
				 const struct field_column *columns, size_t count)
{
	struct cairn_reply r = { 0 };
	struct cairn_slice found;
	enum cairn_code code = call(c, m, &r);

	if (code == CAIRN_OK && c->format == FORMAT_JSON) {
		out_json(c, r.fields);
	} else if (code == CAIRN_OK) {
		facts_without(c, r.fields, list);
		if (cairn_field_find(r.fields, list, &found))
			out_rows(c, r.fields, list, columns, count);
	}
	cairn_reply_free(&r);
	return code;
}

VERB(plugin_show)
{
	struct cairn_msg m = { 0 };

	cairn_msg_start(&m, CAIRN_OP_PLUGIN_SHOW);
	cairn_msg_text(&m, CAIRN_F_NAME, a->operand[0].text);
	return show_both(c, &m, CAIRN_F_PARAMETER, COLUMNS(parameter_columns));
}

VERB(volume_list)
{
	struct cairn_reply r = { 0 };
	struct cairn_msg m = { 0 };
	enum cairn_code code;

	(void)a;
	cairn_msg_start(&m, CAIRN_OP_VOLUME_LIST);
	code = call(c, &m, &r);
	if (code == CAIRN_OK)
		show_volumes(c, r.fields);
	cairn_reply_free(&r);
	return code;
}

VERB(volume_create)
{
	const char *engine = argument(a, "engine");
	struct cairn_msg m = { 0 };
	char path[PATH_MAX];

	/* The daemon has another working folder than ours. */
	if (engine && *engine != '/' && strchr(engine, '/') && realpath(engine, path))
		engine = path;
	cairn_msg_start(&m, CAIRN_OP_VOLUME_CREATE);
	cairn_msg_text(&m, CAIRN_F_NAME, a->operand[0].text);
	if (engine)
		cairn_msg_text(&m, CAIRN_F_ENGINE, engine);
	if (argument(a, "replication"))
		cairn_msg_text(&m, CAIRN_F_REPLICATION, argument(a, "replication"));
	for (size_t i = 1; i < a->count; i++) {
		size_t mark = cairn_msg_open(&m, CAIRN_F_PARAMETER);

		cairn_msg_text(&m, CAIRN_F_SETTING, a->operand[i].text);
		cairn_msg_close(&m, mark);
	}
	return do_it(c, &m, "volume %s is there", a->operand[0].text);
}

VERB(volume_drop)
{
	struct cairn_msg m = { 0 };
	const char *name = a->operand[0].text, *again = argument(a, "confirm");

	if (!again || strcmp(again, name) != 0) {
		cairn_fail(&c->error, CAIRN_E_INVALID, "dropping %s deletes all its keys for ever", name);
		cairn_hint(&c->error, "if that is meant: cairn volume drop --confirm %s %s", name, name);
		return CAIRN_E_INVALID;
	}
	cairn_msg_start(&m, CAIRN_OP_VOLUME_DROP);
	cairn_msg_text(&m, CAIRN_F_NAME, name);
	return do_it(c, &m, "volume %s is gone", name);
}

VERB(volume_set)
{
	struct cairn_msg m = { 0 };

	cairn_msg_start(&m, CAIRN_OP_CONFIGURE);
	cairn_msg_text(&m, CAIRN_F_VOLUME, a->operand[0].text);
	cairn_msg_text(&m, CAIRN_F_NAME, a->operand[1].text);
	cairn_msg_text(&m, CAIRN_F_AMOUNT, a->operand[2].text);
	return do_it(c, &m, "%s is changed on all replicas", a->operand[1].text);
}

VERB(volume_stats)
{
	struct cairn_msg m = { 0 };

	request(c, &m, CAIRN_OP_VOLUME_STATS);
	if (a->count) {
		cairn_msg_start(&m, CAIRN_OP_VOLUME_STATS);
		cairn_msg_text(&m, CAIRN_F_VOLUME, a->operand[0].text);
	}
	return show_both(c, &m, CAIRN_F_STATISTIC, COLUMNS(statistic_columns));
}

VERB(config_list)
{
	struct cairn_msg m = { 0 };

	(void)a;
	cairn_msg_start(&m, CAIRN_OP_CONFIG_GET);
	return show_list(c, &m, CAIRN_F_ROW, COLUMNS(setting_columns));
}

VERB(config_get)
{
	struct cairn_reply r = { 0 };
	struct cairn_msg m = { 0 };
	struct cairn_slice row = { 0 }, amount = { 0 };
	enum cairn_code code;

	cairn_msg_start(&m, CAIRN_OP_CONFIG_GET);
	cairn_msg_text(&m, CAIRN_F_SETTING, a->operand[0].text);
	code = call(c, &m, &r);
	cairn_field_find(r.fields, CAIRN_F_ROW, &row);
	cairn_field_find(row, CAIRN_F_AMOUNT, &amount);
	if (code == CAIRN_OK && c->format == FORMAT_JSON)
		out_json(c, row);
	else if (code == CAIRN_OK)
		out_line("%.*s", (int)amount.len, amount.len ? (const char *)amount.data : "");
	cairn_reply_free(&r);
	return code;
}

VERB(config_set)
{
	struct cairn_msg m = { 0 };

	cairn_msg_start(&m, CAIRN_OP_CONFIG_SET);
	cairn_msg_text(&m, CAIRN_F_SETTING, a->operand[0].text);
	cairn_msg_text(&m, CAIRN_F_AMOUNT, a->operand[1].text);
	return do_it(c, &m, "%s is set until the daemon's next start", a->operand[0].text);
}

VERB(log_level)
{
	struct cairn_msg m = { 0 };

	cairn_msg_start(&m, CAIRN_OP_LOG_LEVEL);
	if (a->count == 2)
		cairn_msg_text(&m, CAIRN_F_MODULE, a->operand[0].text);
	if (a->count)
		cairn_msg_text(&m, CAIRN_F_LEVEL, a->operand[a->count - 1].text);
	return show_list(c, &m, CAIRN_F_ROW, COLUMNS(level_columns));
}

VERB(metrics)
{
	struct cairn_reply r = { 0 };
	struct cairn_msg m = { 0 };
	struct buffer b = { 0 };
	enum cairn_code code;

	(void)a;
	cairn_msg_start(&m, CAIRN_OP_METRICS);
	code = call(c, &m, &r);
	if (code == CAIRN_OK && (c->format == FORMAT_JSON || c->format == FORMAT_TABLE)) {
		out_rows(c, r.fields, CAIRN_F_STATISTIC, COLUMNS(statistic_columns));
	} else if (code == CAIRN_OK) {
		prometheus_text(&b, r.fields);
		fwrite(b.data, 1, b.len, stdout);
		buffer_free(&b);
	}
	cairn_reply_free(&r);
	return code;
}
