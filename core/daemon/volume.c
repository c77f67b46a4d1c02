/*
 * The table of volumes: who is in it, who holds one, and what a volume that is not served answers. A volume
 * that cannot be opened stays in the table with the reason.
 *
 * The rest of volume.h: volume_start.c opens and closes all, volume_row.c has the rows of the system volume,
 * volume_folder.c the folders, volume_parameters.c what a volume is opened with; volume_change.c makes and
 * drops, volume_flush.c empties and restores, volume_convert.c moves to another engine, volume_retry.c goes
 * on after a full disk.
 *
 * Threads: the table and the refusals are under one lock, held for a few instructions. Folders and engines
 * are opened and removed by workers; rows are written through the system volume's shard.
 */
#include <stdlib.h>
#include <string.h>
#include "volumes.h"
#include "banned.h"

void volume_free(struct volume *v)
{
	for (size_t i = 0; i < v->parameter_count; i++)
		free(v->parameters[i]);
	free(v->parameters);
	free(v);
}

struct volume *volume_new(struct node *n, const char *name)
{
	struct volume *v = calloc(1, sizeof(*v));

	if (!v)
		return NULL;
	v->node = n;
	v->uses = 1;
	snprintf(v->name, sizeof(v->name), "%s", name);
	return v;
}

/* Another volume of the name, engine and parameters of V; NULL without memory. */
struct volume *volume_like(const struct volume *v)
{
	struct volume *n = volume_new(v->node, v->name);
	bool good = n != NULL;

	for (size_t i = 0; good && i < v->parameter_count; i++)
		good = volume_add_parameter(n, v->parameters[i], strlen(v->parameters[i]));
	if (!good) {
		if (n)
			volume_free(n);
		return NULL;
	}
	memcpy(n->engine, v->engine, sizeof(n->engine));
	memcpy(n->replication, v->replication, sizeof(n->replication));
	memcpy(n->folder, v->folder, sizeof(n->folder));
	memcpy(n->members, v->members, sizeof(n->members));
	n->members_len = v->members_len;
	return n;
}

/* The place of NAME in the list, or where it would be put in. With the lock. */
static struct volume **find(struct volumes *t, struct cairn_slice name)
{
	struct volume **p = &t->first;

	while (*p && cairn_slice_cmp(cairn_str((*p)->name), name) < 0)
		p = &(*p)->next;
	return p;
}

struct volume *volume_listed(struct volumes *t, struct cairn_slice name)
{
	struct volume *v = *find(t, name);

	return v && cairn_slice_eq(cairn_str(v->name), name) ? v : NULL;
}

/* List V, unless its name is taken. */
bool volume_list(struct volumes *t, struct volume *v)
{
	struct volume **p;
	bool free_name;

	pthread_mutex_lock(&t->lock);
	free_name = !volume_listed(t, cairn_str(v->name));
	if (free_name) {
		p = find(t, cairn_str(v->name));
		v->next = *p;
		*p = v;
	}
	pthread_mutex_unlock(&t->lock);
	return free_name;
}

/* Take V off the list. Its use is the caller's to give back. */
void volume_unlist(struct volumes *t, struct volume *v)
{
	struct volume **p;

	pthread_mutex_lock(&t->lock);
	p = find(t, cairn_str(v->name));
	if (*p == v)
		*p = v->next;
	pthread_mutex_unlock(&t->lock);
}

/* Put N into the place of V in the table. V's use is the caller's to give back. */
void volume_take_place(struct volume *v, struct volume *n)
{
	struct volumes *t = v->node->volumes;
	struct volume **p;

	pthread_mutex_lock(&t->lock);
	p = find(t, cairn_str(v->name));
	n->next = v->next;
	*p = n;
	pthread_mutex_unlock(&t->lock);
}

/* Serve V from now on (NULL), or answer with *ERROR. */
void volume_set_refused(struct volume *v, const struct cairn_error *error)
{
	struct volumes *t = v->node->volumes;

	pthread_mutex_lock(&t->lock);
	v->refused = error ? *error : (struct cairn_error){ 0 };
	pthread_mutex_unlock(&t->lock);
}

void volume_refuse(struct volume *v, const struct cairn_error *error)
{
	volume_set_refused(v, error);
	log_error(v->node->log, LOG_VOLUME, "a volume cannot be served; the others are",
		  LOG_TEXT("volume", v->name), LOG_TEXT("code", cairn_error_row(error->code)->name),
		  LOG_TEXT("reason", error->message));
}

enum cairn_code volume_not_found(struct volumes *t, struct cairn_slice name, struct cairn_error *error)
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

	bool settled = !n->cluster || volumes_settled(n);

	if (name.len == 0)
		name = cairn_str(VOLUME_MAIN);
	pthread_mutex_lock(&t->lock);
	v = volume_listed(t, name);
	if (!v && n->cluster && !settled)
		code = cairn_fail(error, CAIRN_E_UNAVAILABLE, "volume %.*s is not known here yet",
				  (int)name.len, (const char *)name.data);
	else if (!v)
		code = volume_not_found(t, name, error);
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

/* The shard is closed: nobody knows V any more. */
static void closed(void *arg)
{
	struct volume *v = arg;
	struct volume_change *c = v->change;

	if (c) {
		c->work.run = volume_remove_folder;
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

struct volume *volumes_system(struct node *n)
{
	return n->volumes ? n->volumes->system : NULL;
}

const char *volumes_path(const struct node *n, int *fd)
{
	*fd = n->volumes->fd;
	return n->volumes->path;
}
