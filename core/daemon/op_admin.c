/*
 * Operations on the node: what it is, how it is, its plugins, volumes, settings and log. They answer from
 * memory, but for making and dropping volumes.
 */
#include <config.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "clock.h"
#include "nearest.h"
#include "gateway.h"
#include "operation.h"
#include "banned.h"

static struct shard *only_shard(struct volume *v)
{
	return volume_shard(v, cairn_slice(NULL, 0));
}

/* The text of FIELD, with a NUL, in BUFFER; empty where it is absent. False, and C failed, where it does not
 * fit or holds a NUL. */
static bool text_of(struct call *c, unsigned field, char *buffer, size_t size)
{
	struct cairn_slice body = { 0 };

	cairn_field_find(c->fields, field, &body);
	if (body.len >= size || (body.len && memchr(body.data, 0, body.len))) {
		call_fail(c, CAIRN_E_INVALID, "argument '%s' is not a text of at most %zu bytes",
			  cairn_field_row(field)->json, size - 1);
		return false;
	}
	if (body.len)
		memcpy(buffer, body.data, body.len);
	buffer[body.len] = 0;
	return true;
}

static void add_error(struct cairn_msg *m, const struct cairn_error *e)
{
	size_t mark = cairn_msg_open(m, CAIRN_F_ERROR);

	cairn_msg_text(m, CAIRN_F_CODE, cairn_error_row(e->code)->name);
	cairn_msg_text(m, CAIRN_F_MESSAGE, e->message);
	if (e->hint[0])
		cairn_msg_text(m, CAIRN_F_HINT, e->hint);
	cairn_msg_close(m, mark);
}

void op_ping(struct call *c)
{
	struct store_facts facts;

	store_facts(shard_store(only_shard(c->volume)), &facts);
	cairn_msg_text(&c->answer, CAIRN_F_SERVED_BY, c->node->name);
	cairn_msg_text(&c->answer, CAIRN_F_RELEASE, PACKAGE_VERSION);
	cairn_msg_u64(&c->answer, CAIRN_F_PROTOCOL, 1);
	cairn_msg_u64(&c->answer, CAIRN_F_APPLIED, facts.position.index);
	cairn_msg_u64(&c->answer, CAIRN_F_REVISION, facts.revision);
	call_done(c);
}

/* The volume's parameters: what they are now, where they are settings that change. */
static void add_volume_parameters(struct cairn_msg *m, struct volume *v)
{
	for (size_t i = 0; i < v->parameter_count; i++) {
		const char *text = v->parameters[i];
		size_t n = strcspn(text, "="), mark = cairn_msg_open(m, CAIRN_F_PARAMETER);
		char now[32];

		cairn_msg_bytes(m, CAIRN_F_NAME, cairn_slice(text, n));
		if (v->shard &&
		    store_setting_text(shard_store(only_shard(v)), cairn_slice(text, n), now, sizeof(now)))
			cairn_msg_text(m, CAIRN_F_AMOUNT, now);
		else
			cairn_msg_text(m, CAIRN_F_AMOUNT, text[n] ? text + n + 1 : "");
		cairn_msg_close(m, mark);
	}
}

static void add_facts(struct cairn_msg *m, struct volume *v)
{
	struct store_facts facts;
	struct cairn_error error;

	cairn_msg_text(m, CAIRN_F_NAME, v->name);
	cairn_msg_text(m, CAIRN_F_ENGINE, v->engine);
	cairn_msg_text(m, CAIRN_F_REPLICATION, v->replication);
	add_volume_parameters(m, v);
	if (volume_health(v, &error))
		add_error(m, &error);
	cairn_msg_text(m, CAIRN_F_TEXT, v->shard ? shard_promise(v->shard) : "refused");
	if (!v->shard)
		return;
	store_facts(shard_store(only_shard(v)), &facts);
	cairn_msg_u64(m, CAIRN_F_KEYS, facts.keys);
	cairn_msg_u64(m, CAIRN_F_BYTES, facts.bytes);
	if (facts.staged)
		cairn_msg_u64(m, CAIRN_F_STAGED, facts.staged);
	if (facts.quota)
		cairn_msg_u64(m, CAIRN_F_QUOTA, facts.quota);
	cairn_msg_u64(m, CAIRN_F_REVISION, facts.revision);
	cairn_msg_u64(m, CAIRN_F_APPLIED, facts.position.index);
	cairn_msg_u64(m, CAIRN_F_KEY_MAX, facts.key_max);
	cairn_msg_u64(m, CAIRN_F_VALUE_LIMIT, facts.value_limit);
}

static void add_volume(void *arg, struct volume *v)
{
	struct call *c = arg;
	size_t mark = cairn_msg_open(&c->answer, CAIRN_F_VOLUMES);

	add_facts(&c->answer, v);
	cairn_msg_close(&c->answer, mark);
}

void op_status(struct call *c)
{
	struct cairn_msg *m = &c->answer;
	struct node *n = c->node;

	status_state(c);
	cairn_msg_text(m, CAIRN_F_SERVED_BY, n->name);
	cairn_msg_text(m, CAIRN_F_RELEASE, PACKAGE_VERSION);
	cairn_msg_u64(m, CAIRN_F_PID, (uint64_t)getpid());
	cairn_msg_u64(m, CAIRN_F_UPTIME_MS, (clock_boot_ns() - n->start_ns) / 1000000);
	status_nodes(c);
	volumes_each(n, add_volume, c);
	call_done(c);
}

void op_metrics(struct call *c)
{
	metrics_rows(c->node, &c->answer);
	call_done(c);
}

static void add_arguments(struct cairn_msg *m, const struct operation_argument *a)
{
	for (; a->field; a++) {
		size_t mark = cairn_msg_open(m, CAIRN_F_ARGUMENT);

		cairn_msg_text(m, CAIRN_F_NAME, cairn_field_row(a->field)->json);
		cairn_msg_text(m, CAIRN_F_TYPE, cairn_type_name(cairn_field_row(a->field)->type));
		cairn_msg_bool(m, CAIRN_F_REQUIRED, a->required);
		cairn_msg_text(m, CAIRN_F_HELP, cairn_field_row(a->field)->meaning);
		cairn_msg_close(m, mark);
	}
}

static void add_operation(struct cairn_msg *m, unsigned op)
{
	static const char *const may[] = { "read", "write", "admin" };
	const struct cairn_operation_row *row = cairn_operation_row(op);
	size_t mark = cairn_msg_open(m, CAIRN_F_OPERATION);

	cairn_msg_text(m, CAIRN_F_NAME, row->name);
	for (const char *a = row->aliases; *a; a += strcspn(a, " "), a += strspn(a, " "))
		cairn_msg_bytes(m, CAIRN_F_ALIAS, cairn_slice(a, strcspn(a, " ")));
	cairn_msg_text(m, CAIRN_F_PERMISSION, may[row->permission]);
	cairn_msg_text(m, CAIRN_F_HELP, row->help);
	add_arguments(m, operation(op)->arguments);
	cairn_msg_close(m, mark);
}

void op_operations(struct call *c)
{
	struct cairn_slice name = { 0 };
	unsigned only = 0;
	char text[64];

	if (!text_of(c, CAIRN_F_NAME, text, sizeof(text)))
		return;
	name = cairn_str(text);
	if (name.len) {
		only = cairn_operation_by_name(name);
		if (!only) {
			cairn_fail(&c->error, CAIRN_E_NOT_FOUND, "no operation '%s'", text);
			operation_hint(text, &c->error);
			call_done(c);
			return;
		}
	}
	for (unsigned op = 1; op < CAIRN_OPERATION_COUNT; op++)
		if (operation(op) && (!only || op == only))
			add_operation(&c->answer, op);
	if (!only)
		add_arguments(&c->answer, operation_common);
	call_done(c);
}

struct name_of_bit {
	uint64_t bit;
	const char *name;
};

static void add_capabilities(struct cairn_msg *m, const struct plugin *p)
{
	static const struct name_of_bit engine[] = {
		{ CAIRN_ENGINE_ORDERED, "ordered" },
		{ CAIRN_ENGINE_SNAPSHOT, "snapshot" },
		{ CAIRN_ENGINE_DURABLE, "durable" },
		{ CAIRN_ENGINE_CHECKSUMMED, "checksummed" },
		{ CAIRN_ENGINE_PARALLEL_READS, "parallel-reads" },
		{ CAIRN_ENGINE_BLOCKING, "blocking" },
		{ CAIRN_ENGINE_SYNC_ONLY, "sync-only" },
		{ 0, NULL },
	};
	static const struct name_of_bit replication[] = {
		{ CAIRN_REPLICATION_LINEARIZABLE, "linearizable" },
		{ CAIRN_REPLICATION_TRANSACTIONS, "transactions" },
		{ CAIRN_REPLICATION_PEERS, "peers" },
		{ 0, NULL },
	};
	uint64_t caps = p->engine ? p->engine->caps : p->replication ? p->replication->caps : 0;

	for (const struct name_of_bit *b = p->engine ? engine : replication; caps && b->name; b++)
		if (caps & b->bit)
			cairn_msg_text(m, CAIRN_F_CAPABILITY, b->name);
}

static void add_parameters(struct cairn_msg *m, const struct cairn_param *rows)
{
	static const char *const types[] = { "yes or no", "number", "size", "text" };

	for (; rows && rows->name; rows++) {
		size_t mark = cairn_msg_open(m, CAIRN_F_PARAMETER);

		cairn_msg_text(m, CAIRN_F_NAME, rows->name);
		cairn_msg_text(m, CAIRN_F_TYPE, types[rows->type]);
		cairn_msg_text(m, CAIRN_F_DEFAULT, rows->fallback ? rows->fallback : "");
		cairn_msg_bool(m, CAIRN_F_LIVE, rows->live);
		cairn_msg_text(m, CAIRN_F_HELP, rows->help);
		cairn_msg_close(m, mark);
	}
}

static void add_plugin(struct cairn_msg *m, const struct plugin *p)
{
	struct cairn_error error;

	cairn_msg_text(m, CAIRN_F_NAME, p->name);
	cairn_msg_text(m, CAIRN_F_TYPE, plugin_kind_name(p->kind));
	cairn_msg_text(m, CAIRN_F_PATH, p->path);
	if (!p->refused[0])
		cairn_msg_text(m, CAIRN_F_HELP, plugin_help(p));
	add_capabilities(m, p);
	if (p->refused[0]) {
		cairn_fail(&error, CAIRN_E_UNSUPPORTED, "%s", p->refused);
		add_error(m, &error);
	}
}

static void list_plugin(void *arg, const struct plugin *p)
{
	struct call *c = arg;
	size_t mark = cairn_msg_open(&c->answer, CAIRN_F_ROW);

	add_plugin(&c->answer, p);
	cairn_msg_close(&c->answer, mark);
}

void op_plugin_list(struct call *c)
{
	loader_each(c->node->loader, list_plugin, c);
	call_done(c);
}

void op_plugin_show(struct call *c)
{
	const struct plugin *p = NULL;
	char name[4096], type[32];

	if (!text_of(c, CAIRN_F_NAME, name, sizeof(name)) || !text_of(c, CAIRN_F_TYPE, type, sizeof(type)))
		return;
	for (int kind = 0; kind < PLUGIN_KIND_COUNT && !p; kind++) {
		struct cairn_error error;

		if (type[0] && strcmp(type, plugin_kind_name(kind)) != 0)
			continue;
		if (loader_get(c->node->loader, kind, name, &p, &error) &&
		    (kind == 0 || type[0] || error.code != CAIRN_E_NOT_FOUND))
			c->error = error;
	}
	if (p) {
		c->error.code = CAIRN_OK;
		add_plugin(&c->answer, p);
		if (p->gateway)
			add_parameters(&c->answer, gateway_params);
		add_parameters(&c->answer, plugin_params(p));
	} else if (c->error.code == CAIRN_OK) {
		cairn_fail(&c->error, CAIRN_E_INVALID, "there is no kind of plugin '%s'", type);
		cairn_hint(&c->error, "the kinds are engine, replication and gateway");
	}
	call_done(c);
}

void op_volume_list(struct call *c)
{
	volumes_each(c->node, add_volume, c);
	call_done(c);
}

void volume_change_free(struct volume_change *v)
{
	for (size_t i = 0; i < v->parameter_count; i++)
		free(v->parameters[i]);
	free(v->parameters);
	free(v);
}

static void changed(struct volume_change *v)
{
	struct call *c = v->arg;

	c->error = v->error;
	if (c->error.code == CAIRN_OK)
		cairn_msg_text(&c->answer, CAIRN_F_NAME, v->name);
	volume_change_free(v);
	call_done(c);
}

/* The change that C asks for, but for its parameters; NULL where C has failed. */
static struct volume_change *change_new(struct call *c)
{
	struct volume_change *v = calloc(1, sizeof(*v));

	if (!v) {
		call_fail(c, CAIRN_E_INTERNAL, "out of memory");
		return NULL;
	}
	v->node = c->node;
	v->arg = c;
	v->done = changed;
	if (text_of(c, CAIRN_F_NAME, v->name, sizeof(v->name)) &&
	    text_of(c, CAIRN_F_ENGINE, v->engine, sizeof(v->engine)) &&
	    text_of(c, CAIRN_F_REPLICATION, v->replication, sizeof(v->replication)))
		return v;
	free(v);
	return NULL;
}

/* PARAMETER rows have SETTING "key=value", or NAME and AMOUNT. */
static bool take_parameter(struct volume_change *v, struct cairn_slice row)
{
	struct cairn_slice setting = { 0 }, name = { 0 }, amount = { 0 };
	char **list = realloc(v->parameters, (v->parameter_count + 1) * sizeof(*list));
	char *text = NULL;
	int n;

	if (!list)
		return false;
	v->parameters = list;
	if (cairn_field_find(row, CAIRN_F_SETTING, &setting))
		n = asprintf(&text, "%.*s", (int)setting.len, (const char *)setting.data);
	else if (cairn_field_find(row, CAIRN_F_NAME, &name) && cairn_field_find(row, CAIRN_F_AMOUNT, &amount))
		n = asprintf(&text, "%.*s=%.*s", (int)name.len, (const char *)name.data, (int)amount.len,
			     (const char *)amount.data);
	else
		n = asprintf(&text, "?");
	if (n < 0)
		return false;
	v->parameters[v->parameter_count++] = text;
	return true;
}

struct volume_change *volume_change_of(struct call *c)
{
	struct volume_change *v = change_new(c);
	struct cairn_slice fields = c->fields, body;
	unsigned field;

	while (v && cairn_field_next(&fields, &field, &body) == 0 && field != CAIRN_F_END)
		if (field == CAIRN_F_PARAMETER && !take_parameter(v, body)) {
			volume_change_free(v);
			call_fail(c, CAIRN_E_INTERNAL, "out of memory");
			return NULL;
		}
	return v;
}

void op_volume_create(struct call *c)
{
	struct volume_change *v = volume_change_of(c);

	if (v)
		volume_create(v);
}

void op_volume_drop(struct call *c)
{
	struct volume_change *v = change_new(c);

	if (v)
		volume_drop(v);
}

static void add_stat(void *arg, const char *name, const char *unit, uint64_t value)
{
	struct cairn_msg *m = arg;
	size_t mark = cairn_msg_open(m, CAIRN_F_STATISTIC);
	char amount[24];

	snprintf(amount, sizeof(amount), "%llu", (unsigned long long)value);
	cairn_msg_text(m, CAIRN_F_NAME, name);
	cairn_msg_text(m, CAIRN_F_AMOUNT, amount);
	cairn_msg_text(m, CAIRN_F_UNIT, unit);
	cairn_msg_close(m, mark);
}

void op_volume_stats(struct call *c)
{
	struct engine *e = shard_engine(only_shard(c->volume));
	struct store_facts facts;
	uint64_t steps, took_ns;

	add_facts(&c->answer, c->volume);
	store_facts(shard_store(only_shard(c->volume)), &facts);
	add_stat(&c->answer, "history used", "bytes", facts.history_used);
	add_stat(&c->answer, "history limit", "bytes", facts.history_limit);
	add_stat(&c->answer, "history floor", "revision", facts.floor);
	if (shard_upkeep(only_shard(c->volume), &steps, &took_ns)) {
		add_stat(&c->answer, "engine upkeep", "steps", steps);
		add_stat(&c->answer, "engine upkeep time", "ms", took_ns / 1000000);
	}
	e->ops.stats(e->handle, add_stat, &c->answer);
	call_done(c);
}

static void add_setting(struct call *c, enum setting id)
{
	const struct setting_row *row = setting_row(id);
	size_t mark = cairn_msg_open(&c->answer, CAIRN_F_ROW);
	char name[128];

	snprintf(name, sizeof(name), "%s.%s", row->section, row->key);
	cairn_msg_text(&c->answer, CAIRN_F_SETTING, name);
	cairn_msg_text(&c->answer, CAIRN_F_AMOUNT, setting_text(c->node->settings, id));
	cairn_msg_text(&c->answer, CAIRN_F_DEFAULT, row->fallback);
	cairn_msg_text(&c->answer, CAIRN_F_TEXT, setting_where(c->node->settings, id));
	cairn_msg_text(&c->answer, CAIRN_F_TYPE, setting_type_name(row->type));
	cairn_msg_bool(&c->answer, CAIRN_F_LIVE, row->live);
	cairn_msg_text(&c->answer, CAIRN_F_HELP, row->help);
	cairn_msg_close(&c->answer, mark);
}

void op_config_get(struct call *c)
{
	char name[128];
	int only = -1;

	if (!text_of(c, CAIRN_F_SETTING, name, sizeof(name)))
		return;
	if (name[0]) {
		only = setting_find(name, &c->error);
		if (only < 0) {
			call_done(c);
			return;
		}
	}
	for (int id = 0; id < SETTING_COUNT; id++)
		if (only < 0 || id == only)
			add_setting(c, (enum setting)id);
	call_done(c);
}

void op_config_set(struct call *c)
{
	char name[128], text[4096];
	int id;

	if (!text_of(c, CAIRN_F_SETTING, name, sizeof(name)) ||
	    !text_of(c, CAIRN_F_AMOUNT, text, sizeof(text)))
		return;
	id = setting_find(name, &c->error);
	if (id >= 0 && !setting_row(id)->live) {
		cairn_fail(&c->error, CAIRN_E_UNSUPPORTED, "'%s' takes effect at a restart only", name);
		cairn_hint(&c->error, "write it into the configuration file and start cairnd again");
	} else if (id >= 0 &&
		   settings_set(c->node->settings, name, text, "config set", &c->error) == CAIRN_OK) {
		if (id == SETTING_LOG_LEVEL)
			log_levels_set(c->node->log, text, &c->error);
		add_setting(c, (enum setting)id);
	}
	call_done(c);
}

void op_log_level(struct call *c)
{
	char module[32], level[128], spec[192];

	if (!text_of(c, CAIRN_F_MODULE, module, sizeof(module)) ||
	    !text_of(c, CAIRN_F_LEVEL, level, sizeof(level)))
		return;
	snprintf(spec, sizeof(spec), "%s%s%s", module, module[0] ? "=" : "", level);
	if (level[0] && log_levels_set(c->node->log, spec, &c->error)) {
		call_done(c);
		return;
	}
	for (int m = 0; m < LOG_MODULE_COUNT; m++) {
		size_t mark;

		if (module[0] && strcmp(module, log_module_name(m)) != 0)
			continue;
		mark = cairn_msg_open(&c->answer, CAIRN_F_ROW);
		cairn_msg_text(&c->answer, CAIRN_F_MODULE, log_module_name(m));
		cairn_msg_text(&c->answer, CAIRN_F_LEVEL, log_level_name(log_level(c->node->log, m)));
		cairn_msg_close(&c->answer, mark);
	}
	call_done(c);
}

void op_digest(struct call *c)
{
	struct store_facts facts;
	char text[33];

	store_facts(shard_store(only_shard(c->volume)), &facts);
	for (int i = 0; i < 16; i++)
		snprintf(text + 2 * i, 3, "%02x", facts.digest[i]);
	cairn_msg_text(&c->answer, CAIRN_F_DIGEST, text);
	cairn_msg_u64(&c->answer, CAIRN_F_APPLIED, facts.position.index);
	cairn_msg_u64(&c->answer, CAIRN_F_REVISION, facts.revision);
	cairn_msg_u64(&c->answer, CAIRN_F_KEYS, facts.keys);
	call_done(c);
}
