/*
 * What a volume is opened with: the parameters of every volume, those of its engine, and the first settings
 * of its store. A text that is neither fails the opening with the name of the volume in front.
 */
#include <stdlib.h>
#include <string.h>
#include "engine.h"
#include "volumes.h"
#include "room.h"
#include "banned.h"

/* Parameters of every volume, whatever its engine; the settings of [volume] are their defaults. */
static const struct cairn_param volume_params[] = {
	{ "sync", CAIRN_PARAM_BOOL, "yes", false, "a write is answered when it is on disk" },
	{ "folders", CAIRN_PARAM_BOOL, "yes", false,
	  "keep rows about folders, which a mount shows as their sizes and times" },
	{ "key-max", CAIRN_PARAM_SIZE, "4K", false, "longest key" },
	{ "value-limit", CAIRN_PARAM_SIZE, "64M", false, "longest value" },
	{ "through", CAIRN_PARAM_BOOL, "no", false,
	  "the engine itself has a write on disk before it is answered, not the journal" },
	{ "durable", CAIRN_PARAM_BOOL, "no", false,
	  "an engine that forgets is kept all the same: in the journal and in checkpoints" },
	{ "history", CAIRN_PARAM_TEXT, "auto", false, "newest versions of a key that are kept" },
	{ "history-age", CAIRN_PARAM_TEXT, "24h", false, "and all that were replaced within this time" },
	{ "history-bytes", CAIRN_PARAM_TEXT, "0", false, "beyond which the oldest history is given up" },
	{ "quota", CAIRN_PARAM_TEXT, "0", false, "most bytes of live and staged values; 0: no limit" },
	{ .name = NULL },
};
enum {
	PARAM_SYNC,
	PARAM_FOLDERS,
	PARAM_KEY_MAX,
	PARAM_VALUE_LIMIT,
	PARAM_THROUGH,
	PARAM_DURABLE,
	PARAM_HISTORY, /* from here on: settings of the store that may change later */
	PARAM_HISTORY_AGE,
	PARAM_HISTORY_BYTES,
	PARAM_QUOTA,
	PARAM_COUNT
};

/* Add "key=value", in place of an earlier one of that key. */
bool volume_add_parameter(struct volume *v, const char *text, size_t len)
{
	const char *equals = memchr(text, '=', len);
	size_t n = equals ? (size_t)(equals - text) + 1 : len, i = 0;
	char **p, *copy = strndup(text, len);

	while (i < v->parameter_count && strncmp(v->parameters[i], text, n))
		i++;
	p = i < v->parameter_count ? v->parameters : realloc(v->parameters, (i + 1) * sizeof(*p));
	if (!p || !copy) {
		free(copy);
		return false;
	}
	v->parameters = p;
	if (i < v->parameter_count)
		free(p[i]);
	else
		v->parameter_count++;
	p[i] = copy;
	return true;
}

/* Whether the parameter TEXT is the volume's own and not its engine's. */
static bool is_own(const char *text)
{
	size_t n = strcspn(text, "=");

	for (size_t i = 0; i < PARAM_COUNT; i++)
		if (strlen(volume_params[i].name) == n && !strncmp(volume_params[i].name, text, n))
			return true;
	return false;
}

bool volume_inherit_parameters(struct volume *n, const struct volume *v, const struct volume_change *c)
{
	bool good = true;

	for (size_t i = 0; good && i < v->parameter_count; i++)
		if (is_own(v->parameters[i]))
			good = volume_add_parameter(n, v->parameters[i], strlen(v->parameters[i]));
	for (size_t i = 0; good && i < c->parameter_count; i++)
		good = volume_add_parameter(n, c->parameters[i], strlen(c->parameters[i]));
	return good;
}

static enum cairn_code first_settings(const struct cairn_value *own, struct store_settings *s,
				      struct cairn_error *error)
{
	enum cairn_code code = CAIRN_OK;

	*s = (struct store_settings){ .key_max = own[PARAM_KEY_MAX].number,
				      .value_limit = own[PARAM_VALUE_LIMIT].number,
				      .folders = own[PARAM_FOLDERS].number,
				      .history = STORE_HISTORY_AUTO };
	for (unsigned i = PARAM_HISTORY; i < PARAM_COUNT && !code; i++)
		if (i != PARAM_HISTORY || strcmp(own[i].text, "auto"))
			code = store_setting(s, volume_params[i].name, own[i].text, error);
	return code;
}

/* Whether the engine of V keeps room free by itself: as much as the node, unless V says otherwise. */
static bool takes_free(const struct volume *v)
{
	const struct plugin *p;

	return v->node->min_free_text[0] &&
		loader_get(v->node->loader, PLUGIN_ENGINE, v->engine, &p, NULL) == 0 &&
		engine_takes(p->engine, ROOM_PARAMETER);
}

/* The parameters of V: its own (OWN) or those of its engine, in a list that the caller frees. */
static const char **select_parameters(const struct volume *v, bool own, size_t *count)
{
	const char **texts = calloc(v->parameter_count + 2, sizeof(*texts));
	bool has_free = own || !takes_free(v);

	*count = 0;
	for (size_t i = 0; texts && i < v->parameter_count; i++)
		if (is_own(v->parameters[i]) == own) {
			texts[(*count)++] = v->parameters[i];
			has_free = has_free || !strncmp(v->parameters[i], "min-free=", 9);
		}
	if (texts && !has_free)
		texts[(*count)++] = v->node->min_free_text;
	return texts;
}

/* The parameters of a new volume: the settings, then what was asked for. */
bool volume_collect_parameters(struct volume *v, const struct volume_change *c, bool with_engine)
{
	const struct settings *s = v->node->settings;
	const char *p = with_engine ? setting_text(s, SETTING_VOLUME_PARAMETERS) : "";
	char text[64];
	bool good = true;
	static const enum setting from[PARAM_COUNT] = {
		SETTING_VOLUME_SYNC,        SETTING_VOLUME_FOLDERS,     SETTING_VOLUME_KEY_MAX,
		SETTING_VOLUME_VALUE_LIMIT, SETTING_VOLUME_THROUGH,     SETTING_VOLUME_DURABLE,
		SETTING_VOLUME_HISTORY,     SETTING_VOLUME_HISTORY_AGE, SETTING_VOLUME_HISTORY_BYTES,
		SETTING_VOLUME_QUOTA
	};

	for (size_t i = 0; i < PARAM_COUNT; i++) {
		snprintf(text, sizeof(text), "%s=%s", volume_params[i].name, setting_text(s, from[i]));
		good = good && volume_add_parameter(v, text, strlen(text));
	}
	for (p += strspn(p, " "); good && *p; p += strspn(p, " ")) {
		size_t n = strcspn(p, " ");

		good = volume_add_parameter(v, p, n);
		p += n;
	}
	for (size_t i = 0; good && i < c->parameter_count; i++)
		good = volume_add_parameter(v, c->parameters[i], strlen(c->parameters[i]));
	return good;
}

/* READY is an engine that is open already, or NULL. */
enum cairn_code volume_open_shard(struct volume *v, bool durable, struct engine *ready,
				  struct cairn_error *error)
{
	struct cairn_value own[PARAM_COUNT];
	struct store_settings settings;
	size_t owns, others;
	const char **texts = select_parameters(v, true, &owns),
		   **engines = select_parameters(v, false, &others);
	char path[4096];
	struct shard *shard;
	enum cairn_code code;

	if (!texts || !engines) {
		free(texts);
		free(engines);
		return cairn_fail(error, CAIRN_E_INTERNAL, "volume %s: no memory", v->name);
	}
	code = params_parse(volume_params, texts, owns, own, error);
	if (!code)
		code = first_settings(own, &settings, error);
	if (code)
		cairn_error_prefix(error, "volume %s", v->name);
	snprintf(path, sizeof(path), "%s/%s", v->node->volumes->path, v->folder);
	if (!code)
		code = shard_open(
			&shard, v->node,
			&(struct shard_options){ .name = v->name,
						 .folder = path,
						 .engine = v->engine,
						 .replication = v->replication,
						 .parameters = engines,
						 .parameter_count = others,
						 .sync = own[PARAM_SYNC].number,
						 .through = own[PARAM_THROUGH].number,
						 .durable = own[PARAM_DURABLE].number,
						 .settings = settings,
						 .stopped = volume_shard_stopped,
						 .arg = v,
						 .members = cairn_slice(v->members, v->members_len),
						 .tap = v == v->node->volumes->system && v->node->cluster
							 ? volumes_follow
							 : NULL,
						 .tap_arg = v->node->volumes,
						 .must_be_durable = durable,
						 .ready = ready },
			error);
	if (!code)
		v->shard = shard;
	free(texts);
	free(engines);
	return code;
}

enum cairn_code volume_engine(const struct volume *v, const char *path, struct engine *e,
			      struct cairn_error *error)
{
	const struct plugin *p;
	size_t count;
	const char **texts;
	enum cairn_code code = loader_get(v->node->loader, PLUGIN_ENGINE, v->engine, &p, error);

	if (code)
		return code;
	texts = select_parameters(v, false, &count);
	code = texts ? engine_open(e, p->engine, path, texts, count, error)
		     : cairn_fail(error, CAIRN_E_INTERNAL, "volume %s: no memory", v->name);
	free(texts);
	return code;
}

enum cairn_code volume_settings(const struct volume *v, struct store_settings *settings,
				struct cairn_error *error)
{
	struct cairn_value own[PARAM_COUNT];
	size_t count;
	const char **texts = select_parameters(v, true, &count);
	enum cairn_code code;

	code = texts ? params_parse(volume_params, texts, count, own, error)
		     : cairn_fail(error, CAIRN_E_INTERNAL, "volume %s: no memory", v->name);
	if (!code)
		code = first_settings(own, settings, error);
	free(texts);
	return code;
}
