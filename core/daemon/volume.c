/*
 * The table of volumes, and what changes it. A volume's life stands in the system volume: making one opens
 * its folder first and then writes the row; dropping one deletes the row first and then the folder. While
 * that is under way the folder holds the file "pending", which says "believe the system volume": the next
 * start removes such a folder when there is no row for it, and keeps it when there is one. So a crash leaves
 * no half volume, and a folder without that file is never removed.
 *
 * A volume whose disk filled while a batch was being written is closed and opened again when there is room: a
 * second struct volume takes its place in the table, and opens the folder once the last holder has let go of
 * the first.
 *
 * Threads: the table and the refusals are under one lock, held for a few instructions. Folders and engines
 * are opened and removed by workers; rows are written through the system volume's shard.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include "engine.h"
#include "files.h"
#include "journal.h"
#include "snapshot.h"
#include "volume.h"
#include "banned.h"

#define FOLDERS "volumes" /* in the data folder, one for each volume */
#define ROWS "volumes/"   /* in the system volume, one for each volume */
#define PENDING "pending"
#define GONE ".gone-"            /* in front of the name of a folder that is made or removed: no volume's */
#define TICK_MS 1000             /* how often shards do their background work */
#define RETRY_MS 1000            /* how often it is looked whether there is room again */
#define RETRY_FREE (16ull << 20) /* bytes of room */

struct volumes {
	pthread_mutex_t lock; /* of the list and of its members' refusals */
	struct volume *first; /* by name; the table holds one use of each */
	struct volume *system;
	struct loop_timer *tick;  /* of every shard, once a second */
	struct loop_timer *retry; /* looks whether there is room again; NULL until it is needed */
	char *path;               /* DATA/volumes */
	int fd;                   /* its descriptor */
};

/* Parameters of every volume, whatever its engine; the settings of [volume] are their defaults. */
static const struct cairn_param volume_params[] = {
	{ "sync", CAIRN_PARAM_BOOL, "yes", false, "a write is answered when it is on disk" },
	{ "folders", CAIRN_PARAM_BOOL, "yes", false,
	  "keep rows about folders, which a mount shows as their sizes and times" },
	{ "key-max", CAIRN_PARAM_SIZE, "4K", false, "longest key" },
	{ "value-limit", CAIRN_PARAM_SIZE, "64M", false, "longest value" },
	{ "through", CAIRN_PARAM_BOOL, "no", false,
	  "the engine itself has a write on disk before it is answered, not the journal" },
	{ "history", CAIRN_PARAM_TEXT, "auto", false, "newest versions of a key that are kept" },
	{ "history-age", CAIRN_PARAM_TEXT, "24h", false, "and all that were replaced within this time" },
	{ "history-bytes", CAIRN_PARAM_TEXT, "0", false, "beyond which the oldest history is given up" },
	{ "quota", CAIRN_PARAM_TEXT, "0", false, "most bytes of values" },
	{ .name = NULL },
};
enum {
	PARAM_SYNC,
	PARAM_FOLDERS,
	PARAM_KEY_MAX,
	PARAM_VALUE_LIMIT,
	PARAM_THROUGH,
	PARAM_HISTORY, /* from here on: settings of the store that may change later */
	PARAM_HISTORY_AGE,
	PARAM_HISTORY_BYTES,
	PARAM_QUOTA,
	PARAM_COUNT
};

static void volume_free(struct volume *v)
{
	for (size_t i = 0; i < v->parameter_count; i++)
		free(v->parameters[i]);
	free(v->parameters);
	free(v);
}

static struct volume *volume_new(struct node *n, const char *name)
{
	struct volume *v = calloc(1, sizeof(*v));

	if (!v)
		return NULL;
	v->node = n;
	v->uses = 1;
	snprintf(v->name, sizeof(v->name), "%s", name);
	return v;
}

/* Add "key=value", in place of an earlier one of that key. */
static bool add_parameter(struct volume *v, const char *text, size_t len)
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

static void shard_stopped(void *arg);

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

/* The parameters of V: its own (OWN) or those of its engine, in a list that the caller frees. */
static const char **select_parameters(const struct volume *v, bool own, size_t *count)
{
	const char **texts = calloc(v->parameter_count + 1, sizeof(*texts));

	*count = 0;
	for (size_t i = 0; texts && i < v->parameter_count; i++)
		if (is_own(v->parameters[i]) == own)
			texts[(*count)++] = v->parameters[i];
	return texts;
}

/* READY is an engine that is open already, or NULL. */
static enum cairn_code open_shard(struct volume *v, bool durable, struct engine *ready,
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
		code = shard_open(&shard, v->node,
				  &(struct shard_options){ .name = v->name,
							   .folder = path,
							   .engine = v->engine,
							   .replication = v->replication,
							   .parameters = engines,
							   .parameter_count = others,
							   .sync = own[PARAM_SYNC].number,
							   .through = own[PARAM_THROUGH].number,
							   .settings = settings,
							   .stopped = shard_stopped,
							   .arg = v,
							   .must_be_durable = durable,
							   .ready = ready },
				  error);
	if (!code)
		v->shard = shard;
	free(texts);
	free(engines);
	return code;
}

/* The place of NAME in the list, or where it would be put in. With the lock. */
static struct volume **find(struct volumes *t, struct cairn_slice name)
{
	struct volume **p = &t->first;

	while (*p && cairn_slice_cmp(cairn_str((*p)->name), name) < 0)
		p = &(*p)->next;
	return p;
}

static struct volume *found(struct volumes *t, struct cairn_slice name)
{
	struct volume *v = *find(t, name);

	return v && cairn_slice_eq(cairn_str(v->name), name) ? v : NULL;
}

/* List V, unless its name is taken. */
static bool list(struct volumes *t, struct volume *v)
{
	struct volume **p;
	bool free_name;

	pthread_mutex_lock(&t->lock);
	free_name = !found(t, cairn_str(v->name));
	if (free_name) {
		p = find(t, cairn_str(v->name));
		v->next = *p;
		*p = v;
	}
	pthread_mutex_unlock(&t->lock);
	return free_name;
}

/* Take V off the list. Its use is the caller's to give back. */
static void unlist(struct volumes *t, struct volume *v)
{
	struct volume **p;

	pthread_mutex_lock(&t->lock);
	p = find(t, cairn_str(v->name));
	if (*p == v)
		*p = v->next;
	pthread_mutex_unlock(&t->lock);
}

/* Serve V from now on (NULL), or answer with *ERROR. */
static void set_refused(struct volume *v, const struct cairn_error *error)
{
	struct volumes *t = v->node->volumes;

	pthread_mutex_lock(&t->lock);
	v->refused = error ? *error : (struct cairn_error){ 0 };
	pthread_mutex_unlock(&t->lock);
}

static enum cairn_code not_found(struct volumes *t, struct cairn_slice name, struct cairn_error *error)
{
	char names[200] = "";
	size_t len = 0;

	for (struct volume *v = t->first; v && len < sizeof(names); v = v->next)
		len += (size_t)snprintf(names + len, sizeof(names) - len, "%s%s", len ? ", " : "", v->name);
	cairn_fail(error, CAIRN_E_NOT_FOUND, "there is no volume '%.*s'", (int)name.len,
		   (const char *)name.data);
	if (*names)
		cairn_hint(error, "there is %s", names);
	else
		cairn_hint(error, "there is none yet; 'cairn volume create NAME' makes one");
	return CAIRN_E_NOT_FOUND;
}

enum cairn_code volume_get(struct node *n, struct cairn_slice name, struct volume **out,
			   struct cairn_error *error)
{
	struct volumes *t = n->volumes;
	enum cairn_code code = CAIRN_OK;
	struct volume *v;

	if (name.len == 0)
		name = cairn_str(VOLUME_MAIN);
	pthread_mutex_lock(&t->lock);
	v = found(t, name);
	if (!v)
		code = not_found(t, name, error);
	else if (v->refused.code && error)
		*error = v->refused;
	if (v)
		code = v->refused.code;
	if (!code) {
		atomic_fetch_add_explicit(&v->uses, 1, memory_order_relaxed);
		*out = v;
	}
	pthread_mutex_unlock(&t->lock);
	return code;
}

static void remove_folder(struct pool_task *work);

/* The shard is closed: nobody knows V any more. */
static void closed(void *arg)
{
	struct volume *v = arg;
	struct volume_change *c = v->change;

	if (c) {
		c->work.run = remove_folder;
		pool_post(v->node->pool, &c->work);
		return;
	}
	if (v->successor)
		pool_post(v->node->pool, &v->successor->work);
	volume_free(v);
}

void volume_put(struct volume *v)
{
	if (atomic_fetch_sub_explicit(&v->uses, 1, memory_order_acq_rel) != 1)
		return;
	if (v->shard)
		shard_close(v->shard, closed, v);
	else
		closed(v);
}

struct shard *volume_shard(struct volume *v, struct cairn_slice key)
{
	(void)key;
	return v->shard;
}

enum cairn_code volume_health(struct volume *v, struct cairn_error *error)
{
	struct volumes *t = v->node->volumes;
	enum cairn_code code;

	pthread_mutex_lock(&t->lock);
	code = v->refused.code;
	if (code && error)
		*error = v->refused;
	pthread_mutex_unlock(&t->lock);
	return code || !v->shard ? code : shard_notice(v->shard, error);
}

void volumes_each(struct node *n, void (*fn)(void *arg, struct volume *v), void *arg)
{
	struct volumes *t = n->volumes;
	struct volume **all;
	size_t count = 0;

	pthread_mutex_lock(&t->lock);
	for (struct volume *v = t->first; v; v = v->next)
		count++;
	all = calloc(count + 1, sizeof(*all));
	count = 0;
	for (struct volume *v = t->first; v && all; v = v->next)
		if (v->refused.code != CAIRN_E_UNAVAILABLE) {
			atomic_fetch_add_explicit(&v->uses, 1, memory_order_relaxed);
			all[count++] = v;
		}
	pthread_mutex_unlock(&t->lock);
	for (size_t i = 0; i < count; i++) {
		fn(arg, all[i]);
		volume_put(all[i]);
	}
	free(all);
}

static int open_folder(struct volumes *t, const char *name)
{
	int fd = openat(t->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* Put the file "pending" into the folder NAME, or take it away. 0 or -errno. */
static int set_pending(struct volumes *t, const char *name, bool pending)
{
	int fd = open_folder(t, name), r;

	if (fd < 0)
		return fd;
	if (pending)
		r = file_replace(fd, PENDING,
				 cairn_str("the system volume says whether this volume is there\n"));
	else
		r = unlinkat(fd, PENDING, 0) < 0 && errno != ENOENT ? -errno : 0;
	close(fd);
	return r;
}

/* Remove the folder NAME and what is in it; what a crash leaves of it goes with the next start. 0 or -errno.
 */
static int drop_folder(struct volumes *t, const char *name)
{
	char gone[VOLUME_NAME_MAX + 24 + sizeof(GONE)];

	snprintf(gone, sizeof(gone), GONE "%s", name);
	if (renameat(t->fd, name, t->fd, gone) < 0)
		return errno == ENOENT ? 0 : -errno;
	return folder_remove(t->fd, gone);
}

/* --- the row of a volume in the system volume --- */

static void row_key(const struct volume *v, char *key, size_t size)
{
	snprintf(key, size, ROWS "%s", v->name);
}

static void row_encode(const struct volume *v, struct cairn_msg *m)
{
	cairn_msg_start(m, 0);
	cairn_msg_text(m, CAIRN_F_NAME, v->name);
	cairn_msg_text(m, CAIRN_F_PATH, v->folder);
	cairn_msg_text(m, CAIRN_F_ENGINE, v->engine);
	cairn_msg_text(m, CAIRN_F_REPLICATION, v->replication);
	for (size_t i = 0; i < v->parameter_count; i++)
		cairn_msg_text(m, CAIRN_F_SETTING, v->parameters[i]);
}

static bool text_field(struct cairn_slice fields, unsigned field, char *to, size_t size)
{
	struct cairn_slice body;

	if (!cairn_field_find(fields, field, &body) || body.len == 0 || body.len >= size ||
	    memchr(body.data, 0, body.len))
		return false;
	memcpy(to, body.data, body.len);
	to[body.len] = 0;
	return true;
}

/* The volume of a row; NULL where it cannot be read. */
static struct volume *row_decode(struct node *n, const char *name, struct cairn_slice value)
{
	struct cairn_slice rest = cairn_message_fields(value), body;
	struct volume *v = volume_new(n, name);
	unsigned field;
	bool good;

	if (!v)
		return NULL;
	good = cairn_fields_check(rest, NULL) == 0 &&
		text_field(rest, CAIRN_F_PATH, v->folder, sizeof(v->folder)) &&
		text_field(rest, CAIRN_F_ENGINE, v->engine, sizeof(v->engine)) &&
		text_field(rest, CAIRN_F_REPLICATION, v->replication, sizeof(v->replication)) &&
		!strchr(v->folder, '/') && v->folder[0] != '.';
	while (good && cairn_field_next(&rest, &field, &body) == 0 && field)
		if (field == CAIRN_F_SETTING)
			good = add_parameter(v, body.data, body.len);
	if (!good) {
		volume_free(v);
		return NULL;
	}
	return v;
}

/* Hand OP on V's row to the system volume; C->write.done is set by the caller. */
static void row_write(struct volume_change *c, unsigned op)
{
	struct cairn_msg row = { 0 }, *m = &c->write.command;
	char key[sizeof(ROWS) + VOLUME_NAME_MAX];

	row_key(c->volume, key, sizeof(key));
	cairn_msg_start(m, op);
	cairn_msg_text(m, CAIRN_F_FACE, "daemon");
	cairn_msg_text(m, CAIRN_F_KEY, key);
	if (op == CAIRN_OP_PUT) {
		row_encode(c->volume, &row);
		cairn_msg_bytes(m, CAIRN_F_VALUE, cairn_msg_slice(&row));
		cairn_msg_free(&row);
	}
	cairn_msg_start(&c->write.answer, 0);
	c->write.loop = c->node->loop;
	shard_write(c->node->volumes->system->shard, &c->write);
}

/* --- making one --- */

/* C has ended, with C->error; in the node's loop. */
static void change_done(struct volume_change *c)
{
	cairn_msg_free(&c->write.command);
	cairn_msg_free(&c->write.answer);
	c->done(c);
}

static void create_failed(struct volume_change *c)
{
	unlist(c->node->volumes, c->volume);
	c->volume->change = c; /* the folder goes with it */
	volume_put(c->volume);
}

static void create_written(struct shard_write *w)
{
	struct volume_change *c = (struct volume_change *)((char *)w - offsetof(struct volume_change, write));

	if (w->error.code) {
		c->error = w->error;
		create_failed(c);
		return;
	}
	set_pending(c->node->volumes, c->volume->folder, false);
	set_refused(c->volume, NULL);
	log_info(c->node->log, LOG_VOLUME, "volume made", LOG_TEXT("volume", c->name),
		 LOG_TEXT("engine", c->volume->engine), LOG_TEXT("folder", c->volume->folder));
	change_done(c);
}

static void create_opened(struct loop_task *t)
{
	struct volume_change *c = (struct volume_change *)((char *)t - offsetof(struct volume_change, back));

	if (c->error.code) {
		create_failed(c);
		return;
	}
	c->write.done = create_written;
	row_write(c, CAIRN_OP_PUT);
}

static enum cairn_code make_folder(struct volume_change *c, const char *folder, struct cairn_error *error)
{
	struct volumes *t = c->node->volumes;
	char made[sizeof(c->volume->folder) + sizeof(GONE)];
	int r;

	snprintf(made, sizeof(made), GONE "%s", folder);
	r = mkdirat(t->fd, made, 0700) < 0 ? -errno : 0;
	if (r == 0)
		r = set_pending(t, made, true);
	if (r == 0 && renameat(t->fd, made, t->fd, folder) < 0)
		r = -errno;
	if (r == 0 && fsync(t->fd) < 0)
		r = -errno;
	if (r == 0)
		return CAIRN_OK;
	return cairn_fail(error, cairn_error_from_errno(-r), "volume %s: its folder %s/%s cannot be made: %s",
			  c->volume->name, t->path, folder, strerror(-r));
}

/* In a worker: the folder and the engine, unless they are there already. */
static void create_open(struct pool_task *work)
{
	struct volume_change *c =
		(struct volume_change *)((char *)work - offsetof(struct volume_change, work));

	if (c->engine_ready || make_folder(c, c->volume->folder, &c->error) == CAIRN_OK)
		c->error.code = open_shard(c->volume, false, c->engine_ready, &c->error);
	c->back.run = create_opened;
	loop_post(c->node->loop, &c->back);
}

/* The engine that new volumes get when nobody names one. */
static void default_engine(struct node *n, char *engine, size_t size)
{
	const char *given = setting_text(n->settings, SETTING_VOLUME_ENGINE);
	const struct plugin *p;
	struct cairn_error why;

	if (!*given && loader_get(n->loader, PLUGIN_ENGINE, "leveldb", &p, &why)) {
		log_warn(n->log, LOG_VOLUME,
			 "no durable engine: new volumes live in memory and end with the daemon",
			 LOG_TEXT("reason", why.message));
		given = "memory";
	}
	snprintf(engine, size, "%s", *given ? given : "leveldb");
}

/* The parameters of a new volume: the settings, then what was asked for. */
static bool collect_parameters(struct volume *v, const struct volume_change *c, bool with_engine)
{
	const struct settings *s = v->node->settings;
	const char *p = with_engine ? setting_text(s, SETTING_VOLUME_PARAMETERS) : "";
	char text[64];
	bool good = true;
	static const enum setting from[PARAM_COUNT] = {
		SETTING_VOLUME_SYNC,        SETTING_VOLUME_FOLDERS,       SETTING_VOLUME_KEY_MAX,
		SETTING_VOLUME_VALUE_LIMIT, SETTING_VOLUME_THROUGH,       SETTING_VOLUME_HISTORY,
		SETTING_VOLUME_HISTORY_AGE, SETTING_VOLUME_HISTORY_BYTES, SETTING_VOLUME_QUOTA
	};

	for (size_t i = 0; i < PARAM_COUNT; i++) {
		snprintf(text, sizeof(text), "%s=%s", volume_params[i].name, setting_text(s, from[i]));
		good = good && add_parameter(v, text, strlen(text));
	}
	for (p += strspn(p, " "); good && *p; p += strspn(p, " ")) {
		size_t n = strcspn(p, " ");

		good = add_parameter(v, p, n);
		p += n;
	}
	for (size_t i = 0; good && i < c->parameter_count; i++)
		good = add_parameter(v, c->parameters[i], strlen(c->parameters[i]));
	return good;
}

static enum cairn_code check_name(const char *name, struct cairn_error *error)
{
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

	if (n > 0 && n <= VOLUME_NAME_MAX && !name[n] && !strchr("._-", name[0]))
		return CAIRN_OK;
	return cairn_fail(error, CAIRN_E_INVALID,
			  "'%s' is no name for a volume: 1 to %d letters, digits, '.', '_' or '-', a letter "
			  "or digit first",
			  name, VOLUME_NAME_MAX);
}

static enum cairn_code prepare(struct volume_change *c)
{
	enum cairn_code code = check_name(c->name, &c->error);
	struct volume *v;
	char engine[sizeof(c->engine)], id[17];

	if (code)
		return code;
	if (strchr(c->engine, '/') && c->engine[0] != '/')
		return cairn_fail(&c->error, CAIRN_E_INVALID,
				  "volume %s: the engine's path must be absolute, not %s", c->name,
				  c->engine);
	default_engine(c->node, engine, sizeof(engine));
	v = volume_new(c->node, c->name);
	if (!v || !collect_parameters(v, c, !*c->engine || !strcmp(c->engine, engine))) {
		if (v)
			volume_free(v);
		return cairn_fail(&c->error, CAIRN_E_INTERNAL, "volume %s: no memory", c->name);
	}
	snprintf(v->engine, sizeof(v->engine), "%s", *c->engine ? c->engine : engine);
	snprintf(v->replication, sizeof(v->replication), "%s",
		 *c->replication ? c->replication
				 : setting_text(c->node->settings, SETTING_VOLUME_REPLICATION));
	hex_random(id, 8);
	snprintf(v->folder, sizeof(v->folder), "%s-%s", v->name, id);
	cairn_fail(&v->refused, CAIRN_E_UNAVAILABLE, "volume %s is being made", v->name);
	if (!list(c->node->volumes, v)) {
		volume_free(v);
		return cairn_fail(&c->error, CAIRN_E_EXISTS, "volume %s is there already", c->name);
	}
	c->volume = v;
	return CAIRN_OK;
}

enum cairn_code volume_begin(struct volume_change *c)
{
	c->error = (struct cairn_error){ 0 };
	return prepare(c);
}

void volume_create(struct volume_change *c)
{
	if (volume_begin(c)) {
		c->done(c);
		return;
	}
	volume_complete(c);
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

struct volume *volumes_system(struct node *n)
{
	return n->volumes ? n->volumes->system : NULL;
}

const char *volumes_path(const struct node *n, int *fd)
{
	*fd = n->volumes->fd;
	return n->volumes->path;
}

enum cairn_code volume_fill(struct volume_change *c, struct engine *e, struct cairn_error *error)
{
	char path[4096];
	const struct volume *v = c->instead ? c->instead : c->volume;
	bool own = c->instead && !strcmp(c->instead->folder, c->volume->folder);
	enum cairn_code code = own ? CAIRN_OK : make_folder(c, v->folder, error);

	if (!code && c->instead && !own)
		set_pending(c->node->volumes, c->volume->folder, true);
	snprintf(path, sizeof(path), "%s/%s", c->node->volumes->path, v->folder);
	return code ? code : volume_engine(v, path, e, error);
}

static void refill_now(struct shard_job *job, struct shard *s);
static void flush_failed(struct volume_change *c);

void volume_complete(struct volume_change *c)
{
	if (c->instead) {
		c->job.run = refill_now;
		shard_exclusive(c->volume->shard, &c->job);
		return;
	}
	c->work.run = create_open;
	pool_post(c->node->pool, &c->work);
}

void volume_abandon(struct volume_change *c)
{
	if (c->instead)
		flush_failed(c);
	else
		create_failed(c);
}

void volume_forget(struct volume_change *c)
{
	if (c->instead)
		volume_free(c->instead);
}

/* --- dropping one --- */

static void removed(struct loop_task *t)
{
	struct volume_change *c = (struct volume_change *)((char *)t - offsetof(struct volume_change, back));

	volume_free(c->volume);
	change_done(c);
}

/* In a worker: the volume is closed, its files go. What cannot be removed now goes with the next start. */
static void remove_folder(struct pool_task *work)
{
	struct volume_change *c =
		(struct volume_change *)((char *)work - offsetof(struct volume_change, work));
	struct journal *j = c->node->journal;
	struct journal_shard *log = j ? journal_attach(j, shard_id(c->volume->folder)) : NULL;
	int r = drop_folder(c->node->volumes, c->volume->folder);

	if (log)
		journal_drop(log);
	if (r < 0)
		log_warn(c->node->log, LOG_VOLUME, "a folder cannot be removed now, the next start will",
			 LOG_TEXT("folder", c->volume->folder), LOG_TEXT("reason", strerror(-r)));
	c->back.run = removed;
	loop_post(c->node->loop, &c->back);
}

static void drop_written(struct shard_write *w)
{
	struct volume_change *c = (struct volume_change *)((char *)w - offsetof(struct volume_change, write));
	struct volume *v = c->volume;

	if (w->error.code) {
		c->error = w->error;
		if (w->error.code != CAIRN_E_UNKNOWN) /* else the next start sees what became of it */
			set_pending(c->node->volumes, v->folder, false);
		set_refused(v, v->shard ? NULL : &w->error);
		change_done(c);
		return;
	}
	log_info(c->node->log, LOG_VOLUME, "volume dropped", LOG_TEXT("volume", v->name),
		 LOG_TEXT("folder", v->folder));
	unlist(c->node->volumes, v);
	v->change = c;
	volume_put(v);
}

static void drop_marked(struct loop_task *t)
{
	struct volume_change *c = (struct volume_change *)((char *)t - offsetof(struct volume_change, back));

	c->write.done = drop_written;
	row_write(c, CAIRN_OP_DELETE);
}

static void drop_mark(struct pool_task *work)
{
	struct volume_change *c =
		(struct volume_change *)((char *)work - offsetof(struct volume_change, work));
	int r = set_pending(c->node->volumes, c->volume->folder, true);

	if (r < 0) /* on a full or broken disk: the files may stay, the volume goes */
		log_warn(c->node->log, LOG_VOLUME, "a folder cannot be marked for removal",
			 LOG_TEXT("folder", c->volume->folder), LOG_TEXT("reason", strerror(-r)));
	c->back.run = drop_marked;
	loop_post(c->node->loop, &c->back);
}

/*
 * The volume that C names becomes C->volume, and answers that it is being WHAT from now on. SERVING: only one
 * that is served. Else C->error.
 */
static enum cairn_code mark_changing(struct volume_change *c, const char *what, bool serving)
{
	struct volumes *t = c->node->volumes;
	enum cairn_code code = check_name(c->name, &c->error);
	struct volume *v;

	if (code)
		return code;
	c->error = (struct cairn_error){ 0 };
	pthread_mutex_lock(&t->lock);
	v = found(t, cairn_str(c->name));
	if (!v)
		code = not_found(t, cairn_str(c->name), &c->error);
	else if (v->refused.code == CAIRN_E_UNAVAILABLE || (serving && v->refused.code))
		code = cairn_fail(&c->error, v->refused.code, "%s", v->refused.message);
	else
		cairn_fail(&v->refused, CAIRN_E_UNAVAILABLE, "volume %s is being %s", v->name, what);
	pthread_mutex_unlock(&t->lock);
	c->volume = v;
	return code;
}

void volume_drop(struct volume_change *c)
{
	if (mark_changing(c, "dropped", false)) {
		c->done(c);
		return;
	}
	c->work.run = drop_mark;
	pool_post(c->node->pool, &c->work);
}

/* --- after a full disk --- */

static void retry_tick(void *arg);

/* V waits for room. In the node's loop. */
static void retry_later(struct volume *v)
{
	struct volumes *t = v->node->volumes;

	v->retry = true;
	if (!t->retry && loop_timer_new(v->node->loop, retry_tick, v->node, &t->retry))
		return;
	loop_timer_set(t->retry, RETRY_MS);
}

static void retry_stopped(struct loop_task *task)
{
	struct volume *v = (struct volume *)((char *)task - offsetof(struct volume, back));

	retry_later(v);
	volume_put(v);
}

/* In any thread, while the shard is there: V is too, but perhaps on its way out. */
static void shard_stopped(void *arg)
{
	struct volume *v = arg;
	struct shard *s = v->shard;
	unsigned uses = v->uses;

	if (!s || v == v->node->volumes->system || shard_health(s, NULL) != CAIRN_E_UNAVAILABLE ||
	    !(shard_engine(s)->ops.caps & CAIRN_ENGINE_DURABLE)) /* opening it again would empty it */
		return;
	while (uses && !atomic_compare_exchange_weak(&v->uses, &uses, uses + 1))
		;
	if (!uses)
		return;
	v->back.run = retry_stopped;
	loop_post(v->node->loop, &v->back);
}

static void refuse_open(struct volume *v, const struct cairn_error *error);

static void retry_opened(struct loop_task *task)
{
	struct volume *v = (struct volume *)((char *)task - offsetof(struct volume, back));
	struct cairn_error error = v->reopened;

	if (!error.code) {
		log_info(v->node->log, LOG_VOLUME, "volume open again", LOG_TEXT("volume", v->name));
		set_refused(v, NULL);
		return;
	}
	refuse_open(v, &error);
	if (error.code == CAIRN_E_FULL)
		retry_later(v);
}

static void retry_open(struct pool_task *work)
{
	struct volume *v = (struct volume *)((char *)work - offsetof(struct volume, work));

	v->reopened.code = open_shard(v, false, NULL, &v->reopened);
	v->back.run = retry_opened;
	loop_post(v->node->loop, &v->back);
}

/* Another volume of the name, engine and parameters of V; NULL without memory. */
static struct volume *volume_like(const struct volume *v)
{
	struct volume *n = volume_new(v->node, v->name);
	bool good = n != NULL;

	for (size_t i = 0; good && i < v->parameter_count; i++)
		good = add_parameter(n, v->parameters[i], strlen(v->parameters[i]));
	if (!good) {
		if (n)
			volume_free(n);
		return NULL;
	}
	memcpy(n->engine, v->engine, sizeof(n->engine));
	memcpy(n->replication, v->replication, sizeof(n->replication));
	memcpy(n->folder, v->folder, sizeof(n->folder));
	return n;
}

/* Put N into the place of V in the table. V's use is the caller's to give back. */
static void take_place(struct volume *v, struct volume *n)
{
	struct volumes *t = v->node->volumes;
	struct volume **p;

	pthread_mutex_lock(&t->lock);
	p = find(t, cairn_str(v->name));
	n->next = v->next;
	*p = n;
	pthread_mutex_unlock(&t->lock);
}

/* Put a second V into the table that opens the folder when the first is closed. */
static void retry_now(struct volume *v)
{
	struct volume *n = volume_like(v);

	if (!n)
		return;
	cairn_fail(&n->refused, CAIRN_E_UNAVAILABLE, "volume %s is being opened again", v->name);
	n->work.run = retry_open;
	take_place(v, n);
	v->successor = n;
	volume_put(v);
}

static void retry_tick(void *arg)
{
	struct node *n = arg;
	struct volumes *t = n->volumes;
	struct volume *v, *next;
	bool room, waiting = false;
	struct statvfs fs;

	room = fstatvfs(t->fd, &fs) == 0 && (uint64_t)fs.f_bavail * fs.f_frsize >= RETRY_FREE;
	for (v = t->first; v; v = next) { /* the list changes in this thread only */
		next = v->next;
		waiting = waiting || (v->retry && !room);
		if (v->retry && room && v->refused.code != CAIRN_E_UNAVAILABLE)
			retry_now(v);
	}
	if (waiting)
		loop_timer_set(t->retry, RETRY_MS);
}

/* --- background work --- */

static void tick_one(void *arg, struct volume *v)
{
	struct shard *shard = v->shard;

	(void)arg;
	if (shard)
		shard_tick(shard);
}

static void tick(void *arg)
{
	struct node *n = arg;

	volumes_each(n, tick_one, NULL);
	loop_timer_set(n->volumes->tick, TICK_MS);
}

/* --- flushing one --- */

static bool is_durable(const struct volume *v)
{
	return shard_engine(v->shard)->ops.caps & CAIRN_ENGINE_DURABLE;
}

static void folder_gone(struct volume_change *c)
{
	free(c);
}

/* The new volume serves; the old one goes when its last holder has let go of it, and its folder with it. */
static void flush_end(struct volume_change *c)
{
	struct volume *old = c->volume, *n = c->instead;
	struct volume_change *gone = is_durable(old) ? calloc(1, sizeof(*gone)) : NULL;

	take_place(old, n);
	if (gone) { /* without memory for it the next start removes the folder */
		*gone = (struct volume_change){ .node = c->node, .volume = old, .done = folder_gone };
		old->change = gone;
		set_pending(c->node->volumes, n->folder, false);
	}
	log_info(c->node->log, LOG_VOLUME, "volume flushed or restored", LOG_TEXT("volume", n->name),
		 LOG_NUMBER("revision", c->revision));
	volume_put(old);
	change_done(c);
}

/* Nothing came of it before the old shard was retired: it serves on. */
static void flush_failed(struct volume_change *c)
{
	struct volume *old = c->volume, *n = c->instead;

	if (c->engine_new.handle)
		engine_close(&c->engine_new);
	if (strcmp(n->folder, old->folder) != 0)
		drop_folder(c->node->volumes, n->folder);
	volume_free(n);
	set_refused(old, NULL);
	change_done(c);
}

static void flush_written(struct shard_write *w)
{
	struct volume_change *c = (struct volume_change *)((char *)w - offsetof(struct volume_change, write));
	struct volume *n = c->volume;

	c->volume = c->instead;
	c->instead = n;
	if (!w->error.code) {
		flush_end(c);
		return;
	}
	/* Whether the row names the old folder or the new one is seen at the next start; both are there until
	 * then. */
	c->error = w->error;
	cairn_hint(&c->error, "cairnd must be started again before the volume can be used");
	set_refused(c->volume, &c->error);
	volume_put(n);
	change_done(c);
}

static void flush_opened(struct loop_task *t)
{
	struct volume_change *c = (struct volume_change *)((char *)t - offsetof(struct volume_change, back));
	struct volume *n = c->instead;

	if (c->error.code) {
		flush_failed(c);
	} else if (!is_durable(c->volume)) {
		flush_end(c);
	} else { /* the row says which folder counts: from here on it is the new one */
		c->instead = c->volume;
		c->volume = n;
		c->write.done = flush_written;
		row_write(c, CAIRN_OP_PUT);
	}
}

/* Both: the new shard is open, and what the old one has not applied by now did not happen. */
static void retire(struct volume_change *c, struct shard *s, const char *what)
{
	struct cairn_error why;
	struct store_facts facts;

	store_facts(shard_store(c->instead->shard), &facts);
	c->revision = facts.revision;
	cairn_fail(&why, CAIRN_E_UNAVAILABLE, "volume %s was being %s; this did not happen", c->volume->name,
		   what);
	shard_retire(s, &why);
}

/* In a worker, while nothing is applied. */
static void flush_now(struct shard_job *job, struct shard *s)
{
	struct volume_change *c = (struct volume_change *)((char *)job - offsetof(struct volume_change, job));
	enum cairn_code code = shard_health(s, &c->error);

	if (!code)
		code = store_flush_into(shard_store(s), &c->engine_new, &c->error);
	if (!code)
		code = open_shard(c->instead, false, &c->engine_new, &c->error);
	if (!code)
		retire(c, s, "flushed");
	c->error.code = code;
	c->back.run = flush_opened;
	loop_post(c->node->loop, &c->back);
}

/* The same for a volume that is restored: its new engine is full, and it must still be empty. */
static void refill_now(struct shard_job *job, struct shard *s)
{
	struct volume_change *c = (struct volume_change *)((char *)job - offsetof(struct volume_change, job));
	enum cairn_code code = shard_health(s, &c->error);
	struct store_facts facts;

	store_facts(shard_store(s), &facts);
	if (!code && facts.keys)
		code = cairn_fail(&c->error, CAIRN_E_CONFLICT, "volume %s is not empty any more", c->name);
	if (!code)
		code = open_shard(c->instead, false, c->engine_ready, &c->error);
	else
		engine_close(c->engine_ready);
	c->engine_ready->handle = NULL;
	if (!code)
		retire(c, s, "restored");
	c->error.code = code;
	c->back.run = flush_opened;
	loop_post(c->node->loop, &c->back);
}

/* In a worker: the new folder and its engine. */
static void flush_prepare(struct pool_task *work)
{
	struct volume_change *c =
		(struct volume_change *)((char *)work - offsetof(struct volume_change, work));

	c->error.code = volume_fill(c, &c->engine_new, &c->error);
	if (!c->error.code) {
		c->job.run = flush_now;
		shard_exclusive(c->volume->shard, &c->job);
		return;
	}
	c->back.run = flush_opened;
	loop_post(c->node->loop, &c->back);
}

/* The volume that C names is being WHAT, and c->instead will take its place. */
static enum cairn_code begin_instead(struct volume_change *c, const char *what)
{
	enum cairn_code code = mark_changing(c, what, true);
	char id[17];

	if (code)
		return code;
	c->instead = volume_like(c->volume);
	if (!c->instead) {
		set_refused(c->volume, NULL);
		return cairn_fail(&c->error, CAIRN_E_INTERNAL, "volume %s: no memory", c->name);
	}
	hex_random(id, 8);
	if (is_durable(c->volume))
		snprintf(c->instead->folder, sizeof(c->instead->folder), "%s-%s", c->name, id);
	return CAIRN_OK;
}

enum cairn_code volume_begin_empty(struct volume_change *c)
{
	struct volume *v;
	struct store_facts facts = { 0 };
	enum cairn_code code = volume_get(c->node, cairn_str(c->name), &v, &c->error);

	if (code)
		return code;
	store_facts(shard_store(v->shard), &facts);
	if (facts.keys)
		code = cairn_fail(&c->error, CAIRN_E_EXISTS, "volume %s is there already, and has %llu keys",
				  c->name, (unsigned long long)facts.keys);
	else if (*c->engine && strcmp(c->engine, v->engine) != 0)
		code = cairn_fail(&c->error, CAIRN_E_EXISTS, "volume %s is there already, on engine %s",
				  c->name, v->engine);
	volume_put(v);
	return code ? code : begin_instead(c, "restored");
}

void volume_flush(struct volume_change *c)
{
	if (begin_instead(c, "flushed")) {
		c->done(c);
		return;
	}
	c->work.run = flush_prepare;
	pool_post(c->node->pool, &c->work);
}

/* --- start and end --- */

static void refuse_open(struct volume *v, const struct cairn_error *error)
{
	set_refused(v, error);
	log_error(v->node->log, LOG_VOLUME, "a volume cannot be served; the others are",
		  LOG_TEXT("volume", v->name), LOG_TEXT("code", cairn_error_row(error->code)->name),
		  LOG_TEXT("reason", error->message));
}

/* The volume of one ROW of the system volume's listing. */
static void open_row(struct node *n, struct cairn_slice row)
{
	struct cairn_slice key, value = { NULL, 0 };
	struct cairn_error error = { 0 };
	char name[VOLUME_NAME_MAX + 1];
	struct volume *v;

	if (!cairn_field_find(row, CAIRN_F_KEY, &key) || key.len <= strlen(ROWS) ||
	    key.len - strlen(ROWS) > VOLUME_NAME_MAX)
		return;
	snprintf(name, sizeof(name), "%.*s", (int)(key.len - strlen(ROWS)),
		 (const char *)key.data + strlen(ROWS));
	cairn_field_find(row, CAIRN_F_VALUE, &value);
	v = row_decode(n, name, value);
	if (!v) {
		v = volume_new(n, name);
		if (v)
			cairn_fail(&error, CAIRN_E_CORRUPT,
				   "volume %s: its row in the system volume cannot be read", name);
	} else if (open_shard(v, false, NULL, &error) == CAIRN_OK) {
		log_info(n->log, LOG_VOLUME, "volume open", LOG_TEXT("volume", v->name),
			 LOG_TEXT("engine", v->engine), LOG_TEXT("folder", v->folder));
	}
	if (!v || !list(n->volumes, v))
		return;
	if (error.code)
		refuse_open(v, &error);
	if (error.code == CAIRN_E_FULL)
		retry_later(v);
}

/* Open what the rows of the system volume name. */
static enum cairn_code open_rows(struct node *n, struct cairn_error *error)
{
	struct cairn_msg request = { 0 }, answer = { 0 };
	struct cairn_slice cursor = { NULL, 0 }, rest, body;
	enum cairn_code code;
	unsigned field;

	do {
		cairn_msg_start(&request, CAIRN_OP_SCAN);
		cairn_msg_text(&request, CAIRN_F_PREFIX, ROWS);
		if (cursor.len)
			cairn_msg_bytes(&request, CAIRN_F_CURSOR, cursor);
		cairn_msg_start(&answer, 0);
		code = store_scan(shard_store(n->volumes->system->shard),
				  cairn_message_fields(cairn_msg_slice(&request)), 0, 1 << 20, &answer, NULL,
				  error);
		if (code)
			break;
		rest = cairn_message_fields(cairn_msg_slice(&answer));
		cursor.len = 0;
		while (cairn_field_next(&rest, &field, &body) == 0 && field)
			if (field == CAIRN_F_ROW)
				open_row(n, body);
			else if (field == CAIRN_F_CURSOR)
				cursor = body;
	} while (cursor.len);
	if (code)
		cairn_error_prefix(error, "the list of volumes cannot be read");
	cairn_msg_free(&request);
	cairn_msg_free(&answer);
	return code;
}

/* What lies in the folder of volumes and in no row. */
static void settle_folder(struct node *n, const char *name)
{
	struct volumes *t = n->volumes;
	bool known = false, pending;
	int fd = open_folder(t, name);

	if (fd < 0)
		return;
	pending = faccessat(fd, PENDING, F_OK, 0) == 0;
	close(fd);
	for (struct volume *v = t->first; v; v = v->next)
		known = known || !strcmp(v->folder, name);
	if (known) {
		set_pending(t, name, false);
	} else if (pending) {
		log_info(n->log, LOG_VOLUME, "a volume that was being made or dropped is removed",
			 LOG_TEXT("folder", name));
		drop_folder(t, name);
	} else {
		log_warn(n->log, LOG_VOLUME, "a folder belongs to no volume; it is left alone",
			 LOG_TEXT("path", t->path), LOG_TEXT("folder", name));
	}
}

static void settle_folders(struct node *n)
{
	DIR *dir = opendir(n->volumes->path);
	struct dirent *d;

	while (dir && (d = readdir(dir)))
		if (!strncmp(d->d_name, GONE, strlen(GONE)))
			folder_remove(n->volumes->fd, d->d_name);
		else if (d->d_name[0] != '.' && strcmp(d->d_name, VOLUME_SYSTEM))
			settle_folder(n, d->d_name);
	if (dir)
		closedir(dir);
}

/*
 * The system volume lies on the engine that the identity file names. On the first start, and where that is
 * the memory engine, on a durable one if there is one.
 */
static enum cairn_code open_system(struct node *n, struct cairn_error *error)
{
	struct volume *v = volume_new(n, VOLUME_SYSTEM);
	bool choose = !*n->system_engine || !strcmp(n->system_engine, "memory");
	const struct plugin *p;
	enum cairn_code code;

	if (!v)
		return cairn_fail(error, CAIRN_E_INTERNAL, "no memory");
	n->volumes->system = v;
	snprintf(v->folder, sizeof(v->folder), "%s", VOLUME_SYSTEM);
	snprintf(v->replication, sizeof(v->replication), "none");
	snprintf(v->engine, sizeof(v->engine), "%s", choose ? "leveldb" : n->system_engine);
	if (choose && loader_get(n->loader, PLUGIN_ENGINE, v->engine, &p, NULL)) {
		snprintf(v->engine, sizeof(v->engine), "memory");
		log_warn(n->log, LOG_VOLUME, "no durable engine: the list of volumes ends with the daemon");
	}
	if (mkdirat(n->volumes->fd, v->folder, 0700) < 0 && errno != EEXIST)
		return cairn_fail(error, cairn_error_from_errno(errno), "%s/%s: %s", n->volumes->path,
				  v->folder, strerror(errno));
	code = open_shard(v, strcmp(v->engine, "memory") != 0, NULL, error);
	if (code) {
		cairn_hint(error, "it holds the list of volumes; their own folders in %.100s are not touched",
			   n->volumes->path);
		return code;
	}
	if (!strcmp(v->engine, n->system_engine))
		return CAIRN_OK;
	snprintf(n->system_engine, sizeof(n->system_engine), "%s", v->engine);
	return node_write_identity(n, error);
}

static void made_main(struct volume_change *c)
{
	loop_stop(c->node->loop);
}

/* The first start: nothing was ever written to the system volume. */
/* Say before ERROR where the settings stand that the first volume is made of. */
static void add_places(const struct settings *s, struct cairn_error *error)
{
	static const enum setting ids[] = { SETTING_VOLUME_ENGINE, SETTING_VOLUME_PARAMETERS,
					    SETTING_VOLUME_REPLICATION, SETTING_VOLUME_SYNC };
	char places[256] = "";
	size_t n = 0;

	for (size_t i = 0; i < sizeof(ids) / sizeof(*ids) && n < sizeof(places); i++)
		if (strcmp(setting_where(s, ids[i]), "default") != 0)
			n += (size_t)snprintf(places + n, sizeof(places) - n, "%s%s (%s.%s)", n ? ", " : "",
					      setting_where(s, ids[i]), setting_row(ids[i])->section,
					      setting_row(ids[i])->key);
	if (n)
		cairn_error_prefix(error, "%s", places);
}

static enum cairn_code make_main(struct node *n, struct cairn_error *error)
{
	struct volume_change c = { .node = n, .name = VOLUME_MAIN, .done = made_main };

	volume_create(&c);
	loop_run(n->loop);
	*error = c.error;
	if (error->code)
		add_places(n->settings, error);
	return error->code;
}

/* Also of a volume that could not be opened. */
static void keep_journal(void *arg, struct volume *v)
{
	struct node *n = arg;

	journal_attach(n->journal, shard_id(v->folder));
}

enum cairn_code volumes_open(struct node *n, struct cairn_error *error)
{
	struct volumes *t = calloc(1, sizeof(*t));
	struct store_facts facts;
	enum cairn_code code;
	int r;

	if (!t || asprintf(&t->path, "%s/%s", n->data_dir, FOLDERS) < 0) {
		free(t);
		return cairn_fail(error, CAIRN_E_INTERNAL, "no memory");
	}
	n->volumes = t;
	pthread_mutex_init(&t->lock, NULL);
	r = folder_make(t->path);
	t->fd = r < 0 ? r : open_folder(t, t->path);
	if (t->fd < 0)
		return cairn_fail(error, cairn_error_from_errno(-t->fd), "%s cannot be used: %s", t->path,
				  strerror(-t->fd));
	code = open_system(n, error);
	if (!code)
		code = open_rows(n, error);
	if (code)
		return code;
	settle_folders(n);
	if (n->journal) {
		volumes_each(n, keep_journal, n);
		journal_attach(n->journal, shard_id(VOLUME_SYSTEM));
		journal_drop_others(n->journal);
	}
	r = loop_timer_new(n->loop, tick, n, &t->tick);
	if (r < 0)
		return cairn_fail(error, CAIRN_E_INTERNAL, "no timer: %s", strerror(-r));
	loop_timer_set(t->tick, TICK_MS);
	store_facts(shard_store(t->system->shard), &facts);
	return facts.position.index ? CAIRN_OK : make_main(n, error);
}

void volumes_close(struct node *n)
{
	struct volumes *t = n->volumes;

	if (!t)
		return;
	while (t->first) {
		struct volume *v = t->first;

		t->first = v->next;
		volume_put(v);
	}
	if (t->system)
		volume_put(t->system);
	loop_timer_free(t->retry);
	loop_timer_free(t->tick);
	if (t->fd >= 0)
		close(t->fd);
	pthread_mutex_destroy(&t->lock);
	free(t->path);
	free(t);
	n->volumes = NULL;
}
