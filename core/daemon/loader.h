/*
 * Finding and loading plugins. A plugin is KIND-NAME.so in a folder of $CAIRN_PLUGIN_PATH (colon-separated),
 * else in the installation's folder; or a file named by its path. Every refusal has a reason and is kept for
 * 'cairn plugin list'.
 */
#ifndef LOADER_H
#define LOADER_H

#include <cairn/engine.h>
#include <cairn/gateway.h>
#include <cairn/replication.h>

enum plugin_kind { PLUGIN_ENGINE, PLUGIN_REPLICATION, PLUGIN_GATEWAY, PLUGIN_KIND_COUNT };

struct plugin {
	enum plugin_kind kind;
	char name[32];                     /* as the plugin says */
	char path[4096];                   /* absolute */
	const struct cairn_engine *engine; /* kind ENGINE: complete struct, valid while the loader lives */
	const struct cairn_replication *replication; /* kind REPLICATION */
	const struct cairn_gateway *gateway;         /* kind GATEWAY */
	char refused[400];                           /* why it cannot be used; empty when it can */
};

struct loader; /* thread-safe; plugins stay loaded until it is freed */

/* PATH is a colon-separated list of folders; NULL: $CAIRN_PLUGIN_PATH, else the installation's. NULL when
 * there is no memory. */
struct loader *loader_new(const char *path);
void loader_free(struct loader *l);

/*
 * The plugin with that NAME ("memory"), or in that file ("./my.so": anything with a slash). Loads it at the
 * first use. *P stays valid while L lives. NOT_FOUND names the folders that were searched and the names that
 * are there; UNSUPPORTED says why a file was refused (wrong ABI version, callback missing, not loadable).
 */
enum cairn_code loader_get(struct loader *l, enum plugin_kind kind, const char *name, const struct plugin **p,
			   struct cairn_error *error);
/* Call FN for every plugin that is found in the folders or was loaded by path, refused ones included, sorted
 * by kind and name. */
void loader_each(struct loader *l, void (*fn)(void *arg, const struct plugin *p), void *arg);
/* "engine", "replication", "gateway". */
const char *plugin_kind_name(enum plugin_kind kind);
/* What P, which is not refused, says of itself. */
const char *plugin_help(const struct plugin *p);
const struct cairn_param *plugin_params(const struct plugin *p);

#endif
