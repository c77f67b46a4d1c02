/*
 * The plugin loader. A plugin is dlopen'ed, asked for its struct, checked, and copied into a zero-filled
 * struct of our size, so that a plugin built against an older header has NULL where it knows nothing. What
 * fails a check is closed again and kept with its reason. The code of a plugin runs in this process: a crash
 * in it is ours, which is why only files in the search path, or named by a path, are ever opened.
 */
#include <ctype.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "loader.h"
#include "engine.h"
#include "nearest.h"
#include "banned.h"

#define NAMES_MAX 64 /* most names that an error looks through */

struct entry {
	struct plugin plugin; /* first: what callers see */
	struct entry *next;
	void *library; /* of dlopen; NULL where refused */
	bool by_path;  /* named by its path, not found in a folder */
	union {
		struct cairn_engine engine;
		struct cairn_replication replication;
		struct cairn_gateway gateway;
	} copy; /* complete struct */
};

struct loader {
	pthread_mutex_t lock; /* over everything below */
	char **folders;       /* search path in order, absolute */
	size_t folder_count;
	struct entry *entries; /* sorted by kind, name, order of finding */
};

static const struct kind {
	const char *name, *symbol;
	uint32_t abi;
	size_t size;
} kinds[PLUGIN_KIND_COUNT] = {
	[PLUGIN_ENGINE] = { "engine", "cairn_engine_plugin", CAIRN_ENGINE_ABI, sizeof(struct cairn_engine) },
	[PLUGIN_REPLICATION] = { "replication", "cairn_replication_plugin", CAIRN_REPLICATION_ABI,
				 sizeof(struct cairn_replication) },
	[PLUGIN_GATEWAY] = { "gateway", "cairn_gateway_plugin", CAIRN_GATEWAY_ABI,
			     sizeof(struct cairn_gateway) },
};

const char *plugin_kind_name(enum plugin_kind kind)
{
	return kinds[kind].name;
}

static bool name_ok(const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)name[i]) && name[i] != '-')
			return false;
	return n > 0 && n < sizeof(((struct plugin *)0)->name);
}

static int add_folder(struct loader *l, const char *folder, size_t len)
{
	char **more = realloc(l->folders, (l->folder_count + 1) * sizeof(*more)),
	     *copy = strndup(folder, len), *real;

	if (more)
		l->folders = more;
	if (!more || !copy) {
		free(copy);
		return -ENOMEM;
	}
	real = realpath(copy, NULL); /* a folder that is not there yet keeps its name */
	if (real) {
		free(copy);
		copy = real;
	}
	l->folders[l->folder_count++] = copy;
	return 0;
}

/*
 * Where plugins lie when nobody says: in the build folder that this program lies in; where it was installed
 * to; or, where that is not there, where the installation was moved to with the program.
 */
static const char *usual_folder(char *place, size_t size)
{
	static const char *const beside[] = { "/../.libs", "/../lib/cairn" };
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	self[n > 0 ? n : 0] = 0;
	slash = strrchr(self, '/');
	for (size_t i = 0; slash && i < 2; i++) {
		snprintf(place, size, "%.*s%s/replication-none.so", (int)(slash - self), self, beside[i]);
		if ((i == 0 || access(PLUGIN_DIR, F_OK) < 0) && access(place, R_OK) == 0) {
			*strrchr(place, '/') = 0;
			return place;
		}
	}
	return PLUGIN_DIR;
}

struct loader *loader_new(const char *path)
{
	char place[PATH_MAX + 64];
	struct loader *l = calloc(1, sizeof(*l));
	int r = 0;

	if (!l)
		return NULL;
	pthread_mutex_init(&l->lock, NULL);
	if (!path)
		path = getenv("CAIRN_PLUGIN_PATH");
	if (!path || !*path)
		path = usual_folder(place, sizeof(place));
	while (r == 0 && *path) {
		size_t n = strcspn(path, ":");

		if (n)
			r = add_folder(l, path, n);
		path += n + (path[n] == ':');
	}
	if (r) {
		loader_free(l);
		return NULL;
	}
	return l;
}

void loader_free(struct loader *l)
{
	if (!l)
		return;
	for (struct entry *e = l->entries, *next; e; e = next) {
		next = e->next;
		if (e->library)
			dlclose(e->library);
		free(e);
	}
	for (size_t i = 0; i < l->folder_count; i++)
		free(l->folders[i]);
	free(l->folders);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

__attribute__((format(printf, 2, 3))) static void refuse(struct plugin *p, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(p->refused, sizeof(p->refused), format, args);
	va_end(args);
}

#define NEEDS(p, ops, callback) \
	if (!(ops)->callback) \
	return refuse(p, "the required callback %s is missing", #callback)

static void check_engine(struct plugin *p, const struct cairn_engine *ops)
{
	NEEDS(p, ops, open);
	NEEDS(p, ops, close);
	NEEDS(p, ops, get);
	NEEDS(p, ops, write);
	NEEDS(p, ops, position);
	NEEDS(p, ops, iter_open);
	NEEDS(p, ops, iter_next);
	NEEDS(p, ops, iter_close);
	if (!ops->read_begin != !ops->read_end)
		return refuse(p, "read_begin and read_end belong together, and one of them is missing");
	if (ops->caps & CAIRN_ENGINE_SNAPSHOT) {
		NEEDS(p, ops, snapshot);
		NEEDS(p, ops, release);
	}
	if (!(ops->caps & CAIRN_ENGINE_ORDERED))
		refuse(p, "it does not keep keys in order (capability ORDERED), which cairn needs");
}

static void check_replication(struct plugin *p, const struct cairn_replication *ops)
{
	NEEDS(p, ops, open);
	NEEDS(p, ops, close);
	NEEDS(p, ops, step);
}

static void check_gateway(struct plugin *p, const struct cairn_gateway *ops)
{
	NEEDS(p, ops, open);
	NEEDS(p, ops, close);
	NEEDS(p, ops, accept);
	NEEDS(p, ops, data);
	NEEDS(p, ops, done);
	NEEDS(p, ops, event);
	NEEDS(p, ops, closed);
	NEEDS(p, ops, face);
}

static void check_params(struct plugin *p, const struct cairn_param *rows)
{
	struct cairn_value *values;
	struct cairn_error why;

	for (size_t i = 0; rows && rows[i].name; i++)
		if ((unsigned)rows[i].type > CAIRN_PARAM_TEXT)
			return refuse(p, "parameter %s has an unknown type", rows[i].name);
	values = calloc(params_count(rows) + 1, sizeof(*values));
	if (!values)
		return refuse(p, "no memory");
	if (params_parse(rows, NULL, 0, values, &why))
		refuse(p, "%s (its own fallback)", why.message);
	free(values);
}

const char *plugin_help(const struct plugin *p)
{
	const char *help = p->engine ? p->engine->help
		: p->replication     ? p->replication->help
				     : p->gateway->help;

	return help ? help : "";
}

const struct cairn_param *plugin_params(const struct plugin *p)
{
	return p->engine ? p->engine->params : p->replication ? p->replication->params : p->gateway->params;
}

/* Let callers see the copy. */
static void offer(struct entry *e)
{
	struct plugin *p = &e->plugin;

	p->engine = p->kind == PLUGIN_ENGINE ? &e->copy.engine : NULL;
	p->replication = p->kind == PLUGIN_REPLICATION ? &e->copy.replication : NULL;
	p->gateway = p->kind == PLUGIN_GATEWAY ? &e->copy.gateway : NULL;
}

/* Take the struct that the plugin at HEAD offers, and check it. */
static void take(struct entry *e, const struct cairn_plugin_head *head)
{
	const struct kind *k = &kinds[e->plugin.kind];
	struct plugin *p = &e->plugin;
	const char *name;

	if (head->abi != k->abi)
		return refuse(p, "it was built for version %u of the %s interface; this cairn has version %u",
			      head->abi, k->name, k->abi);
	if (head->size < sizeof(*head) + 2 * sizeof(char *))
		return refuse(p, "its struct is too short (%u bytes)", head->size);
	memset(&e->copy, 0, sizeof(e->copy));
	memcpy(&e->copy, head, head->size < k->size ? head->size : k->size);
	offer(e);
	name = p->engine ? p->engine->name : p->replication ? p->replication->name : p->gateway->name;
	if (!name || !name_ok(name))
		return refuse(p, "its name must be 1 to %zu letters, digits and '-'", sizeof(p->name) - 1);
	if (!e->by_path && strcmp(name, p->name))
		return refuse(p, "it says that its name is '%s', but its file is called %s-%s.so", name,
			      k->name, p->name);
	snprintf(p->name, sizeof(p->name), "%s", name);
	if (p->engine)
		check_engine(p, p->engine);
	else if (p->replication)
		check_replication(p, p->replication);
	else
		check_gateway(p, p->gateway);
	if (!*p->refused)
		check_params(p, plugin_params(p));
}

/* Load the file of E, or say in E why it cannot be used. */
static void load(struct entry *e)
{
	const struct kind *k = &kinds[e->plugin.kind];
	const struct cairn_plugin_head *head;
	struct plugin *p = &e->plugin;
	union {
		void *data;
		const void *(*call)(void);
	} symbol;

	*p->refused = 0;
	e->library = dlopen(p->path, RTLD_NOW | RTLD_LOCAL);
	if (!e->library)
		return refuse(p, "it cannot be loaded: %s", dlerror());
	symbol.data = dlsym(e->library, k->symbol);
	if (!symbol.data)
		refuse(p, "it is not a plugin of this kind: the symbol %s is missing", k->symbol);
	else if (!(head = symbol.call()))
		refuse(p, "its function %s gave nothing", k->symbol);
	else
		take(e, head);
	if (*p->refused) {
		dlclose(e->library);
		e->library = NULL;
		p->engine = NULL;
		p->replication = NULL;
		p->gateway = NULL;
	}
}

static struct entry *find_path(struct loader *l, enum plugin_kind kind, const char *path, bool by_path)
{
	for (struct entry *e = l->entries; e; e = e->next)
		if (e->plugin.kind == kind && e->by_path == by_path && strcmp(e->plugin.path, path) == 0)
			return e;
	return NULL;
}

static bool comes_before(const struct plugin *a, const struct plugin *b)
{
	int c = (a->kind > b->kind) - (a->kind < b->kind);

	return c ? c < 0 : strcmp(a->name, b->name) <= 0;
}

/* The entry of that file, loaded unless HIDDEN_BY (another file of that name) comes first in the path. NULL:
 * no memory. */
static struct entry *entry_for(struct loader *l, enum plugin_kind kind, const char *name, const char *path,
			       const char *hidden_by)
{
	struct entry *e = find_path(l, kind, path, name == NULL), **place = &l->entries;

	if (e) {
		if (!e->library && !hidden_by)
			load(e); /* the file may have been mended since */
		return e;
	}
	e = calloc(1, sizeof(*e));
	if (!e)
		return NULL;
	e->plugin.kind = kind;
	e->by_path = name == NULL;
	snprintf(e->plugin.path, sizeof(e->plugin.path), "%s", path);
	snprintf(e->plugin.name, sizeof(e->plugin.name), "%s", name ? name : strrchr(path, '/') + 1);
	if (hidden_by)
		refuse(&e->plugin, "%s comes before it in the search path", hidden_by);
	else
		load(e);
	while (*place && comes_before(&(*place)->plugin, &e->plugin))
		place = &(*place)->next;
	e->next = *place;
	*place = e;
	return e;
}

/* The name in a file name KIND-NAME.so; false where it is none. */
static bool name_of_file(const char *file, enum plugin_kind kind, char name[32])
{
	size_t n = strlen(file), k = strlen(kinds[kind].name);

	if (n < k + 5 || strncmp(file, kinds[kind].name, k) || file[k] != '-' || strcmp(file + n - 3, ".so"))
		return false;
	if (n - k - 4 >= 32)
		return false;
	memcpy(name, file + k + 1, n - k - 4);
	name[n - k - 4] = 0;
	return name_ok(name);
}

/* Call FN for each file of a plugin of KIND in the folders, in path order. */
static void each_file(struct loader *l, enum plugin_kind kind,
		      void (*fn)(struct loader *l, enum plugin_kind kind, const char *name, const char *path,
				 void *arg),
		      void *arg)
{
	for (size_t i = 0; i < l->folder_count; i++) {
		DIR *dir = opendir(l->folders[i]);
		struct dirent *d;

		while (dir && (d = readdir(dir))) {
			char name[32], path[PATH_MAX];

			if (name_of_file(d->d_name, kind, name) &&
			    snprintf(path, sizeof(path), "%s/%s", l->folders[i], d->d_name) <
				    (int)sizeof(path))
				fn(l, kind, name, path, arg);
		}
		if (dir)
			closedir(dir);
	}
}

struct names {
	char names[NAMES_MAX][32];
	const char *list[NAMES_MAX];
	size_t count;
};

static void collect_name(struct loader *l, enum plugin_kind kind, const char *name, const char *path,
			 void *arg)
{
	struct names *all = arg;

	(void)l;
	(void)kind;
	(void)path;
	for (size_t i = 0; i < all->count; i++)
		if (strcmp(all->names[i], name) == 0)
			return;
	if (all->count == NAMES_MAX)
		return;
	snprintf(all->names[all->count], sizeof(all->names[0]), "%s", name);
	all->list[all->count] = all->names[all->count];
	all->count++;
}

__attribute__((format(printf, 3, 4))) static void append(char *text, size_t size, const char *format, ...)
{
	size_t used = strlen(text);
	va_list args;

	va_start(args, format);
	vsnprintf(text + used, size - used, format, args);
	va_end(args);
}

static enum cairn_code not_found(struct loader *l, enum plugin_kind kind, const char *name,
				 struct cairn_error *error)
{
	struct names all = { .count = 0 };
	char folders[160] = "", there[160] = "";
	const char *close;

	each_file(l, kind, collect_name, &all);
	for (size_t i = 0; i < l->folder_count; i++)
		append(folders, sizeof(folders), "%s%s", i ? ", " : "", l->folders[i]);
	for (size_t i = 0; i < all.count; i++)
		append(there, sizeof(there), "%s%s", i ? ", " : "", all.list[i]);
	cairn_fail(error, CAIRN_E_NOT_FOUND, "there is no %s '%s' in %s (there: %s)", kinds[kind].name, name,
		   folders, all.count ? there : "none");
	close = nearest(name, all.list, all.count);
	if (close)
		cairn_hint(error, "did you mean '%s'?", close);
	return CAIRN_E_NOT_FOUND;
}

static enum cairn_code find_named(struct loader *l, enum plugin_kind kind, const char *name, struct entry **e,
				  struct cairn_error *error)
{
	char path[PATH_MAX];

	if (!name_ok(name))
		return cairn_fail(
			error, CAIRN_E_INVALID,
			"'%s' is no name of a plugin: letters, digits and '-', or a path with a '/'", name);
	for (size_t i = 0; i < l->folder_count; i++) {
		if (snprintf(path, sizeof(path), "%s/%s-%s.so", l->folders[i], kinds[kind].name, name) >=
			    (int)sizeof(path) ||
		    access(path, F_OK) != 0)
			continue;
		*e = entry_for(l, kind, name, path, NULL);
		return *e ? CAIRN_OK : cairn_fail(error, CAIRN_E_INTERNAL, "%s: no memory", path);
	}
	return not_found(l, kind, name, error);
}

static enum cairn_code find_file(struct loader *l, enum plugin_kind kind, const char *file, struct entry **e,
				 struct cairn_error *error)
{
	char path[PATH_MAX];

	if (!realpath(file, path))
		return cairn_fail(error, cairn_error_from_errno(errno), "%s %s: %s", kinds[kind].name, file,
				  strerror(errno));
	*e = entry_for(l, kind, NULL, path, NULL);
	return *e ? CAIRN_OK : cairn_fail(error, CAIRN_E_INTERNAL, "%s: no memory", path);
}

enum cairn_code loader_get(struct loader *l, enum plugin_kind kind, const char *name, const struct plugin **p,
			   struct cairn_error *error)
{
	struct entry *e = NULL;
	enum cairn_code code;

	pthread_mutex_lock(&l->lock);
	if (strchr(name, '/'))
		code = find_file(l, kind, name, &e, error);
	else
		code = find_named(l, kind, name, &e, error);
	if (code == CAIRN_OK && *e->plugin.refused)
		code = cairn_fail(error, CAIRN_E_UNSUPPORTED, "%s %s: %s", kinds[kind].name, e->plugin.path,
				  e->plugin.refused);
	if (code == CAIRN_OK)
		*p = &e->plugin;
	pthread_mutex_unlock(&l->lock);
	return code;
}

static void load_found(struct loader *l, enum plugin_kind kind, const char *name, const char *path, void *arg)
{
	char first[PATH_MAX];

	(void)arg;
	for (size_t i = 0; i < l->folder_count; i++)
		if (snprintf(first, sizeof(first), "%s/%s-%s.so", l->folders[i], kinds[kind].name, name) <
			    (int)sizeof(first) &&
		    access(first, F_OK) == 0)
			break;
	entry_for(l, kind, name, path, strcmp(first, path) ? first : NULL);
}

void loader_each(struct loader *l, void (*fn)(void *arg, const struct plugin *p), void *arg)
{
	pthread_mutex_lock(&l->lock);
	for (enum plugin_kind k = 0; k < PLUGIN_KIND_COUNT; k++)
		each_file(l, k, load_found, NULL);
	for (struct entry *e = l->entries; e; e = e->next)
		fn(arg, &e->plugin);
	pthread_mutex_unlock(&l->lock);
}
