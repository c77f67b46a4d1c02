/*
 * A data folder without its daemon. The volumes are opened just as the daemon does it, but nobody can
 * connect; each is read as a whole. To repair one its valid rows are copied into a new folder beside it
 * (store/salvage.c), the two change places in one step, and the damaged one goes to lost+found. Until that
 * step nothing is changed, so that a repair that is interrupted can be begun again.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "checkpoint.h"
#include "files.h"
#include "journal.h"
#include "offline.h"
#include "snapshot.h"
#include "volume.h"
#include "banned.h"

#define NEW ".new"   /* behind a folder's name, while it is being made */
#define COPY ".copy" /* behind a folder's name, while the engine repairs a copy of it */

/* A volume that is not sound; held. */
struct unsound {
	struct unsound *next;
	struct volume *v;
	struct cairn_error why;
};

struct offline {
	struct node *n;
	struct unsound *first, **last;
	FILE *list; /* of what was lost, of the volume being repaired */
};

enum cairn_code offline_is_node(const char *data, struct cairn_error *error)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/node", data);
	return access(path, F_OK) == 0
		? CAIRN_OK
		: cairn_fail(error, CAIRN_E_NOT_FOUND, "%s is no data folder of cairn: %s", data,
			     strerror(errno));
}

static bool is_durable(const struct volume *v)
{
	const struct plugin *p;

	return loader_get(v->node->loader, PLUGIN_ENGINE, v->engine, &p, NULL) ||
		p->engine->caps & CAIRN_ENGINE_DURABLE;
}

/* Whether V is sound; else WHY. */
static bool check_volume(struct volume *v, struct cairn_error *why)
{
	struct store_progress progress = { 0 };
	enum cairn_code code = volume_health(v, why);

	if (!code && !shard_is_kept(v->shard)) {
		printf("%s: %s keeps nothing on disk\n", v->name, v->engine);
		return true;
	}
	if (!code)
		code = store_check_progress(shard_store(v->shard), &progress, why);
	if (code) {
		printf("%s: %s: %s\n", v->name, cairn_error_row(code)->name, why->message);
		return false;
	}
	printf("%s: sound: %llu key%s in %llu rows, revision %llu\n", v->name,
	       (unsigned long long)progress.facts.keys, progress.facts.keys == 1 ? "" : "s",
	       (unsigned long long)progress.rows, (unsigned long long)progress.facts.revision);
	return true;
}

static void note(struct offline *o, struct volume *v, const struct cairn_error *why)
{
	struct unsound *u = calloc(1, sizeof(*u));

	if (!u)
		return;
	u->v = v;
	u->why = *why;
	v->uses++;
	*o->last = u;
	o->last = &u->next;
}

static void check_one(void *arg, struct volume *v)
{
	struct cairn_error why = { 0 };

	if (!check_volume(v, &why))
		note(arg, v, &why);
	fflush(stdout);
}

static void lost(void *arg, const char *what, struct cairn_slice key, const char *why)
{
	const struct offline *o = arg;
	const unsigned char *p = key.data;

	fprintf(o->list, "%s", what);
	if (key.len)
		fprintf(o->list, " ");
	for (size_t i = 0; i < key.len; i++)
		if (p[i] < 0x20 || p[i] == 0x7f || p[i] == '\\')
			fprintf(o->list, "\\x%02x", p[i]);
		else
			fputc(p[i], o->list);
	fprintf(o->list, ": %s\n", why);
}

/* Copy the files of the folder FROM into the new folder TO. 0 or -errno. */
static int copy_files(const char *from, int volumes, const char *to)
{
	DIR *dir = opendir(from);
	struct dirent *d;
	int r = mkdirat(volumes, to, 0700) < 0 || !dir ? -errno : 0,
	    out = openat(volumes, to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	while (r == 0 && (d = readdir(dir))) {
		int a = openat(dirfd(dir), d->d_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC), b;
		struct stat st;
		ssize_t n = 1;

		if (a >= 0 && fstat(a, &st) == 0 && S_ISREG(st.st_mode)) {
			b = openat(out, d->d_name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
			while (b >= 0 && (n = copy_file_range(a, NULL, b, NULL, 1 << 30, 0)) > 0)
				;
			r = b < 0 || n < 0 ? -errno : 0;
			if (b >= 0)
				close(b);
		}
		if (a >= 0)
			close(a);
	}
	if (dir)
		closedir(dir);
	if (out >= 0)
		close(out);
	return r;
}

/* What the journal has of V. */
static struct store_log log_of(const struct volume *v)
{
	struct journal_shard *s =
		v->node->journal ? journal_attach(v->node->journal, shard_id(v->folder)) : NULL;
	struct store_log log = { 0 };
	struct journal_extent x;

	if (!s)
		return log;
	x = journal_extent(s);
	if (x.first <= x.last)
		log = (struct store_log){ { x.first - 1, x.last_term }, { x.last, x.last_term } };
	return log;
}

/* The valid rows of V's folder into a new one beside it. */
static enum cairn_code salvage(struct offline *o, struct volume *v, const char *path, const char *new_path,
			       struct store_salvaged *result, struct cairn_error *error)
{
	struct engine from = { 0 }, to = { 0 };
	struct store_settings settings;
	struct store_log log = log_of(v);
	enum cairn_code code = volume_settings(v, &settings, error);

	if (!code)
		code = volume_engine(v, path, &from, error);
	if (!code)
		code = volume_engine(v, new_path, &to, error);
	if (!code)
		code = store_salvage(&from, &to, &settings, &log, lost, o, result, error);
	if (to.handle)
		engine_close(&to);
	if (from.handle)
		engine_close(&from);
	return code;
}

/* The same for an engine that forgets: what is whole in its checkpoint, into a checkpoint in the new folder.
 */
static enum cairn_code salvage_checkpoint(struct offline *o, struct volume *v, const char *path,
					  const char *new_path, struct store_salvaged *result,
					  struct cairn_error *error)
{
	struct engine from = { 0 }, to = { 0 };
	struct store_settings settings;
	struct store_log log = log_of(v);
	struct store *store = NULL;
	uint64_t count = 0;
	struct cairn_position last;
	enum cairn_code code = volume_settings(v, &settings, error);

	if (!code)
		code = volume_engine(v, path, &from, error);
	if (!code)
		code = volume_engine(v, new_path, &to, error);
	if (!code)
		code = checkpoint_salvage(path, &from, lost, o, &count, error);
	if (!code)
		code = store_salvage(&from, &to, &settings, &log, lost, o, result, error);
	if (!code)
		code = store_open(&store, &to, &settings, error);
	if (!code)
		code = checkpoint_write(store, new_path, &last, error);
	result->lost += count;
	store_close(store);
	if (to.handle)
		engine_close(&to);
	if (from.handle)
		engine_close(&from);
	return code;
}

/* The engine cannot read its own files: have it repair a copy of them first. The new folder begins anew. */
static enum cairn_code salvage_copy(struct offline *o, struct volume *v, const char *path,
				    const char *new_folder, struct store_salvaged *result,
				    struct cairn_error *error)
{
	char copy[256], copy_path[4096], new_path[4096];
	const struct plugin *p;
	struct engine e;
	int volumes, r;
	enum cairn_code code = loader_get(o->n->loader, PLUGIN_ENGINE, v->engine, &p, error);

	if (code)
		return code;
	snprintf(copy, sizeof(copy), "%s" COPY, v->folder);
	snprintf(copy_path, sizeof(copy_path), "%s/%s", volumes_path(o->n, &volumes), copy);
	snprintf(new_path, sizeof(new_path), "%s/%s", volumes_path(o->n, &volumes), new_folder);
	folder_remove(volumes, new_folder);
	folder_remove(volumes, copy);
	r = copy_files(path, volumes, copy);
	if (r == 0 && mkdirat(volumes, new_folder, 0700) < 0)
		r = -errno;
	if (r < 0)
		code = cairn_fail(error, cairn_error_from_errno(-r), "a copy of %s cannot be made: %s", path,
				  strerror(-r));
	engine_complete(&e, p->engine);
	if (!code && e.ops.repair(copy_path, error) < 0)
		code = error->code ? error->code : CAIRN_E_CORRUPT;
	if (!code) {
		fprintf(o->list,
			"%s repaired a copy of its files; keys that it left out are known by their "
			"folders only\n",
			v->engine);
		code = salvage(o, v, copy_path, new_path, result, error);
	}
	folder_remove(volumes, copy);
	return code;
}

/* Put the new folder in the place of V's, and V's old one into lost+found as ASIDE. 0 or -errno. */
static int change_places(int volumes, int lost_fd, const char *folder, const char *new_folder,
			 const char *aside)
{
	if (renameat2(volumes, folder, volumes, new_folder, RENAME_EXCHANGE) < 0 || fsync(volumes) < 0)
		return -errno;
	if (renameat(volumes, new_folder, lost_fd, aside) < 0 || fsync(lost_fd) < 0 || fsync(volumes) < 0)
		return -errno;
	return 0;
}

void offline_name_aside(const struct node *n, const char *what, char *aside, size_t size)
{
	long long now = (long long)time(NULL);
	char path[4096 + 256];

	do {
		snprintf(aside, size, "%s-%lld", what, now++);
		snprintf(path, sizeof(path), "%s/" OFFLINE_LOST "/%s", n->data_dir, aside);
	} while (access(path, F_OK) == 0);
}

enum cairn_code offline_list_open(const struct node *n, const char *aside, FILE **f, int *fd,
				  struct cairn_error *error)
{
	char name[512];
	int list = -1;

	if (mkdirat(n->data_fd, OFFLINE_LOST, 0700) < 0 && errno != EEXIST)
		*fd = -1;
	else
		*fd = openat(n->data_fd, OFFLINE_LOST, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	snprintf(name, sizeof(name), "%s.lost", aside);
	if (*fd >= 0)
		list = openat(*fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	*f = list >= 0 ? fdopen(list, "w") : NULL;
	return *f ? CAIRN_OK
		  : cairn_fail(error, cairn_error_from_errno(errno), "%s/%s cannot be written: %s",
			       n->data_dir, OFFLINE_LOST, strerror(errno));
}

enum cairn_code offline_list_close(FILE *f, struct cairn_error *error)
{
	bool good = fflush(f) == 0 && fsync(fileno(f)) == 0;

	good = fclose(f) == 0 && good;
	return good ? CAIRN_OK
		    : cairn_fail(error, CAIRN_E_FULL, "the list of what is lost cannot be written");
}

/* Say how it went with V. */
static void say(const struct volume *v, const struct node *n, const struct store_salvaged *r,
		const char *aside)
{
	printf("%s: repaired: %llu keys kept", v->name, (unsigned long long)r->keys);
	if (r->before > r->keys)
		printf(" of %llu", (unsigned long long)r->before);
	printf("; the damaged files are in %s/%s/%s\n", n->data_dir, OFFLINE_LOST, aside);
	if (r->lost)
		printf("%s: %llu things were lost: %s/%s/%s.lost\n", v->name, (unsigned long long)r->lost,
		       n->data_dir, OFFLINE_LOST, aside);
}

static enum cairn_code repair(struct offline *o, struct unsound *u, struct cairn_error *error)
{
	struct volume *v = u->v;
	struct store_salvaged result;
	char path[4096], new_path[4096], new_folder[256], aside[256];
	int volumes, lost_fd, r;
	enum cairn_code code;

	if (v->shard)
		shard_close(v->shard, NULL, NULL);
	v->shard = NULL;
	if (u->why.code != CAIRN_E_CORRUPT) {
		*error = u->why;
		return error->code;
	}
	snprintf(path, sizeof(path), "%s/%s", volumes_path(o->n, &volumes), v->folder);
	snprintf(new_folder, sizeof(new_folder), "%s" NEW, v->folder);
	snprintf(new_path, sizeof(new_path), "%s/%s", volumes_path(o->n, &volumes), new_folder);
	offline_name_aside(o->n, v->folder, aside, sizeof(aside));
	code = offline_list_open(o->n, aside, &o->list, &lost_fd, error);
	r = code ? 0 : folder_remove(volumes, new_folder); /* of a repair that was interrupted */
	if (!code && (r < 0 || mkdirat(volumes, new_folder, 0700) < 0))
		code = cairn_fail(error, cairn_error_from_errno(r < 0 ? -r : errno), "%s cannot be made",
				  new_path);
	if (!code)
		code = (is_durable(v) ? salvage : salvage_checkpoint)(o, v, path, new_path, &result, error);
	if (code == CAIRN_E_CORRUPT && o->list && is_durable(v))
		code = salvage_copy(o, v, path, new_folder, &result, error);
	if (o->list && offline_list_close(o->list, code ? NULL : error) && !code)
		code = CAIRN_E_FULL;
	o->list = NULL;
	if (!code) {
		r = change_places(volumes, lost_fd, v->folder, new_folder, aside);
		if (r < 0)
			code = cairn_fail(error, cairn_error_from_errno(-r), "%s: %s", new_path,
					  strerror(-r));
	}
	if (code)
		folder_remove(volumes, new_folder);
	else
		say(v, o->n, &result, aside);
	if (lost_fd >= 0)
		close(lost_fd);
	return code;
}

/* Open the volumes and check them; those that are not sound are noted. */
static enum cairn_code look(struct offline *o, struct cairn_error *error)
{
	enum cairn_code code = volumes_open(o->n, error);
	struct volume *system = volumes_system(o->n);
	struct cairn_error why = { 0 };

	if (code && code == CAIRN_E_CORRUPT && system && !system->shard) {
		printf("%s: %s: %s\n", system->name, cairn_error_row(code)->name, error->message);
		note(o, system, error);
		*error = (struct cairn_error){ 0 };
		return CAIRN_OK;
	}
	if (code)
		return code;
	if (!check_volume(system, &why))
		note(o, system, &why);
	else
		volumes_each(o->n, check_one, o);
	return CAIRN_OK;
}

/* Repair what was noted, and forget it. */
static enum cairn_code settle(struct offline *o, bool mend, struct cairn_error *error)
{
	enum cairn_code code = CAIRN_OK;

	while (o->first) {
		struct unsound *u = o->first;
		struct cairn_error why = u->why;
		enum cairn_code now = mend ? repair(o, u, &why) : u->why.code;

		if (now && !code) {
			code = now;
			*error = why;
			if (mend)
				cairn_error_prefix(error, "volume %s is as it was", u->v->name);
			else if (strncmp(why.message, "volume ", 7) !=
				 0) /* it was opened, so nobody named it */
				cairn_error_prefix(error, "volume %s", u->v->name);
		}
		o->first = u->next;
		volume_put(u->v);
		free(u);
	}
	o->last = &o->first;
	return code;
}

/* Look at the journal, as a start would; what is read of the volumes is seen through it from here on. Where
 * it is damaged they are looked at without it, *DAMAGE says how, and MEND makes it anew. */
static enum cairn_code look_at_journal(struct node *n, bool mend, struct cairn_error *damage,
				       struct cairn_error *error)
{
	enum cairn_code code = offline_journal_open(n, damage);

	if (code == CAIRN_E_NOT_FOUND) {
		printf("%s\n", damage->message);
		*damage = (struct cairn_error){ 0 };
		return CAIRN_OK;
	}
	if (code != CAIRN_E_CORRUPT) {
		*error = *damage;
		return code;
	}
	printf("journal: corrupt: %s\n", damage->message);
	if (!mend)
		return CAIRN_OK;
	*damage = (struct cairn_error){ 0 };
	journal_close(n->journal);
	n->journal = NULL;
	code = offline_journal_repair(n, error);
	return code ? code : offline_journal_open(n, error);
}

enum cairn_code offline_run(struct node *n, bool mend, struct cairn_error *error)
{
	struct offline o = { .n = n, .last = &o.first };
	struct cairn_error damage = { 0 };
	enum cairn_code code = look_at_journal(n, mend, &damage, error);
	bool again;

	if (!code)
		code = look(&o, error);
	if (!code && volumes_miss_journal(n))
		printf("journal: it is empty, and volumes had one: their newest writes may be missing\n");
	again = mend && o.first && o.first->v == volumes_system(n); /* the others are known behind it */
	if (!code)
		code = settle(&o, mend, error);
	if (!code && again) {
		volumes_close(n);
		code = look(&o, error);
		if (!code)
			code = settle(&o, mend, error);
	}
	if (!code && damage.code) {
		*error = damage;
		code = damage.code;
	}
	return code;
}
