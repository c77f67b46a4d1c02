/*
 * An open engine as the daemon holds it: the plugin's callbacks with every optional one filled in. The file
 * engine.c is the only place that knows which callbacks a plugin left out.
 */
#ifndef ENGINE_H
#define ENGINE_H

#include <cairn/engine.h>

struct engine {
	struct cairn_engine ops; /* complete: every callback may be called but update (NULL where it is left
				    out) and sync */
	void *handle;            /* of the plugin */
};

/*
 * Open PLUGIN on the folder DIR with COUNT parameters given as "key=value" texts; the others get their
 * fallback. An unknown name or a bad value is refused by name (INVALID, with the nearest name as a hint). *E
 * is the caller's to close. Returns 0 or a code, with *ERROR filled.
 */
enum cairn_code engine_open(struct engine *e, const struct cairn_engine *plugin, const char *dir,
			    const char *const *parameters, size_t count, struct cairn_error *error);
/* Whether an engine has a parameter NAME. */
bool engine_takes(const struct cairn_engine *ops, const char *name);
void engine_close(struct engine *e);
/* The callbacks of PLUGIN alone, complete, for those that need no handle. */
void engine_complete(struct engine *e, const struct cairn_engine *plugin);

/* Whether PLUGIN has a maintain() of its own. */
bool engine_maintains(const struct cairn_engine *plugin);

/* Return when everything written so far survives power loss; the caller is the one writer. 0 or -errno with
 * *ERROR filled. */
int engine_sync(struct engine *e, struct cairn_error *error);

/*
 * Where the engine knows which damaged bytes its last -EUCLEAN spoke of, take its sentence (file and offset)
 * into *ERROR, behind the one that stands there.
 */
void engine_damage(const struct engine *e, struct cairn_error *error);

/*
 * Parse COUNT texts "key=value" against ROWS into VALUES (one for each row; text points into the texts or the
 * rows). Shared by all kinds of plugins. Returns 0 or INVALID.
 */
enum cairn_code params_parse(const struct cairn_param *rows, const char *const *texts, size_t count,
			     struct cairn_value *values, struct cairn_error *error);
/* How many rows there are before the end row; 0 for NULL. */
size_t params_count(const struct cairn_param *rows);

#endif
