/*
 * Repair of a damaged journal. It is read twice: to see what can be kept, which is said, and to write that
 * into a new journal beside it. What can be kept of a shard are the entries that follow on what its engine
 * has, one by one: an entry behind a missing one cannot be applied, and is lost with it. Most damage costs
 * nothing, since engines are less than a few seconds behind.
 *
 * The two journals change places in one step; until then nothing is changed.
 */
#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "files.h"
#include "inspect.h"
#include "journal.h"
#include "offline.h"
#include "volume.h"
#include "banned.h"

#define NEW ".new" /* behind the folder's name */

/* What becomes of one shard's entries. */
struct kept {
	struct kept *next;
	uint64_t id;
	char name[128];
	bool known;           /* its engine could be opened, */
	uint64_t base;        /* and has everything up to here */
	uint64_t expected;    /* index of the entry that can be kept next; 0: any */
	uint64_t first, last; /* that are kept; FIRST 0: none */
	uint64_t lost;        /* that are not, or are missing */
	bool broken;          /* one is missing: nothing behind it is of use */
};

struct mend {
	struct node *n;
	struct kept *shards; /* owned */
	FILE *list;          /* of what is lost; NULL the second time */
	struct journal *j;   /* the new one; NULL the first time */
	uint64_t only;       /* the one shard whose records are looked at; 0: all */
	uint64_t entries;    /* kept */
	uint64_t lost;
	struct cairn_error *error;
};

static struct kept *shard_of(struct mend *m, uint64_t id)
{
	struct kept *k = m->shards;

	while (k && k->id != id)
		k = k->next;
	if (k)
		return k;
	k = calloc(1, sizeof(*k));
	if (!k)
		return NULL;
	k->id = id;
	snprintf(k->name, sizeof(k->name), "%016llx", (unsigned long long)id);
	k->next = m->shards;
	m->shards = k;
	return k;
}

/* Where the engine of V stands. */
static void note_volume(void *arg, struct volume *v)
{
	struct mend *m = arg;
	struct kept *k = shard_of(m, shard_id(v->folder));
	struct store_facts facts;

	if (!k || k->known)
		return;
	snprintf(k->name, sizeof(k->name), "%s", v->name);
	if (!v->shard)
		return;
	store_facts(shard_store(v->shard), &facts);
	k->base = facts.position.index;
	k->known = true;
}

/* The engines as they are, where N has no journal. A volume that cannot be opened keeps what follows on the
 * first entry that is left. */
static void note_volumes(struct mend *m)
{
	struct cairn_error ignored = { 0 };

	(void)volumes_open(m->n, &ignored);
	if (m->n->volumes) {
		volumes_each(m->n, note_volume, m);
		if (volumes_system(m->n))
			note_volume(m, volumes_system(m->n));
	}
	volumes_close(m->n);
}

static void tell(struct mend *m, struct kept *k, uint64_t first, uint64_t last, const char *what,
		 struct cairn_slice key, const char *why)
{
	const unsigned char *p = key.data;

	k->lost += last - first + 1;
	m->lost += last - first + 1;
	if (!m->list)
		return;
	fprintf(m->list, "%s: ", k->name);
	if (first == last)
		fprintf(m->list, "entry %llu", (unsigned long long)first);
	else
		fprintf(m->list, "entries %llu to %llu", (unsigned long long)first, (unsigned long long)last);
	if (what)
		fprintf(m->list, ": %s ", what);
	for (size_t i = 0; i < key.len; i++)
		if (p[i] < 0x20 || p[i] == 0x7f || p[i] == '\\')
			fprintf(m->list, "\\x%02x", p[i]);
		else
			fputc(p[i], m->list);
	fprintf(m->list, ": %s\n", why);
}

/* The operation and the key of COMMAND, where they can be read. */
static const char *about(struct cairn_slice command, struct cairn_slice *key)
{
	const struct cairn_operation_row *op = cairn_operation_row(cairn_message_number(command));
	struct cairn_slice fields = cairn_message_fields(command);

	*key = cairn_slice(NULL, 0);
	if (cairn_fields_check(fields, NULL) == 0 && !cairn_field_find(fields, CAIRN_F_KEY, key))
		cairn_field_find(fields, CAIRN_F_PREFIX, key);
	return op && op->name ? op->name : "?";
}

/* Whether the entry R is kept. */
static bool is_kept(struct mend *m, struct kept *k, const struct record_head *r, struct cairn_slice body)
{
	struct cairn_slice key;
	const char *what;

	if (r->index <= k->base)
		return false;
	if (k->expected && r->index > k->expected && !k->broken) {
		tell(m, k, k->expected, r->index - 1, NULL, cairn_slice(NULL, 0),
		     "damaged, and the engine has not got there");
		k->broken = true;
	}
	if (k->broken) {
		what = about(body, &key);
		tell(m, k, r->index, r->index, what, key, "what comes before it is lost");
		return false;
	}
	k->expected = r->index + 1;
	k->first = k->first ? k->first : r->index;
	k->last = r->index;
	return true;
}

/* ---- writing ---- */

struct asked {
	struct journal_request r;
	struct journal_entry entry;
	sem_t *done;
};

static void stored(struct journal_request *r)
{
	struct asked *a = (struct asked *)((char *)r - offsetof(struct asked, r));

	sem_post(a->done);
}

/* Hand the records of one batch that are kept to the new journal, and wait until it has them. */
static int store(struct mend *m, struct asked *list, size_t count, sem_t *done)
{
	for (size_t i = 0; i < count; i++)
		journal_append(m->j, &list[i].r);
	for (size_t i = 0; i < count; i++)
		while (sem_wait(done) < 0)
			;
	for (size_t i = 0; i < count; i++)
		if (list[i].r.error.code) {
			*m->error = list[i].r.error;
			return (int)m->error->code;
		}
	return 0;
}

/* ---- reading ---- */

static int take_record(struct mend *m, const struct record_head *r, struct cairn_slice body, struct asked *a)
{
	struct kept *k = shard_of(m, r->shard);

	if (!k)
		return (int)cairn_fail(m->error, CAIRN_E_INTERNAL, "no memory");
	*a = (struct asked){ .r = { .done = stored } };
	if (m->only && r->shard != m->only)
		return 0;
	switch ((enum record_kind)r->kind) {
	case RECORD_FIRST:
		if (!k->expected && r->index)
			k->expected = r->index;
		break;
	case RECORD_STATE:
		a->r.state = body;
		break;
	case RECORD_DROP:
		*k = (struct kept){ .next = k->next, .id = k->id };
		if (m->j)
			journal_drop(journal_attach(m->j, r->shard));
		break;
	case RECORD_ENTRY:
		if (!is_kept(m, k, r, body))
			break;
		m->entries++;
		a->entry = (struct journal_entry){ r->index, r->term, body };
		a->r.entries = &a->entry;
		a->r.count = 1;
		break;
	}
	if (m->j && (a->r.count || a->r.state.data)) {
		a->r.shard = journal_attach(m->j, r->shard);
		if (!a->r.shard)
			return (int)cairn_fail(m->error, CAIRN_E_INTERNAL, "no memory");
	}
	return 0;
}

static int take_batch(void *arg, const char *name, uint64_t at, const struct batch_head *h,
		      struct cairn_slice records)
{
	struct mend *m = arg;
	struct asked *list = calloc(h->count + 1ul, sizeof(*list));
	size_t count = 0;
	struct record_head r;
	struct cairn_slice body;
	sem_t done;
	int e = list ? 0 : (int)cairn_fail(m->error, CAIRN_E_INTERNAL, "no memory");

	(void)name;
	(void)at;
	sem_init(&done, 0, 0);
	while (!e && count < h->count && record_next(&records, &r, &body) == 0) {
		e = take_record(m, &r, body, &list[count]);
		list[count].done = &done;
		count += list[count].r.shard != NULL;
	}
	/* Their place is known only now that the list does not change any more. */
	for (size_t i = 0; i < count; i++)
		if (list[i].r.count)
			list[i].r.entries = &list[i].entry;
	if (!e && count)
		e = store(m, list, count, &done);
	sem_destroy(&done);
	free(list);
	return e;
}

static int take_damage(void *arg, const char *name, uint64_t at, uint64_t bytes, bool torn,
		       const struct batch_head *h, struct cairn_slice records)
{
	struct mend *m = arg;
	struct cairn_slice body, key;
	struct record_head r;

	if (m->j || torn)
		return 0;
	printf("%s: %llu bytes at offset %llu cannot be read", name, (unsigned long long)bytes,
	       (unsigned long long)at);
	if (h->sequence)
		printf(": batch %llu", (unsigned long long)h->sequence);
	printf("\n");
	fprintf(m->list, "%s: %llu bytes at offset %llu\n", name, (unsigned long long)bytes,
		(unsigned long long)at);
	while (record_next(&records, &r, &body) == 0) {
		struct kept *k = shard_of(m, r.shard);

		if (!k || r.kind != RECORD_ENTRY)
			continue;
		fprintf(m->list, "  it seems to hold entry %llu of %s: %s", (unsigned long long)r.index,
			k->name, about(body, &key));
		fprintf(m->list, r.index <= k->base ? ", which the engine has\n" : "\n");
	}
	return 0;
}

/* ---- both ---- */

/* Read the journal PATH: into the new one where M has one, else to see what there is. */
static int read_through(struct mend *m, const char *path)
{
	struct journal_visitor v = { m, NULL, take_batch, take_damage };

	for (struct kept *k = m->shards; k; k = k->next) {
		k->expected = k->known ? k->base + 1 : 0;
		k->broken = false;
		k->first = k->last = k->lost = 0;
	}
	m->entries = m->lost = 0;
	return journal_inspect(path, &v, m->error);
}

static void say_plan(struct mend *m, const char *path, const char *aside)
{
	printf("plan: the journal %s is made anew of what is whole: %llu entries\n", path,
	       (unsigned long long)m->entries);
	printf("plan: the damaged one goes to %s/%s/%s\n", m->n->data_dir, OFFLINE_LOST, aside);
	for (struct kept *k = m->shards; k; k = k->next) {
		if (k->lost)
			printf("plan: %s: %llu entries are lost, listed in %s.lost\n", k->name,
			       (unsigned long long)k->lost, aside);
		if (k->first)
			printf("plan: %s: entries %llu to %llu are kept\n", k->name,
			       (unsigned long long)k->first, (unsigned long long)k->last);
	}
	if (!m->lost)
		printf("plan: no gap is left: what cannot be read was in the engines, or was the newest\n");
	fflush(stdout);
}

static enum cairn_code write_new(struct mend *m, const char *path, const char *new_path)
{
	struct journal_options o = { .folder = new_path,
				     .segment_bytes =
					     setting_number(m->n->settings, SETTING_JOURNAL_SEGMENT) };
	struct cairn_error notice;
	int r = folder_remove(AT_FDCWD, new_path);
	enum cairn_code code = r < 0
		? cairn_fail(m->error, cairn_error_from_errno(-r), "%s: %s", new_path, strerror(-r))
		: journal_open(&m->j, &o, &notice, m->error);

	if (!code)
		code = (enum cairn_code)read_through(m, path);
	journal_close(m->j);
	m->j = NULL;
	return code;
}

/* Which volumes there are may stand in the journal alone. So what is whole of that goes into the new journal
 * first, and is read with it; then it is known where their engines stand, too. */
static enum cairn_code note_young(struct mend *m, const char *path, const char *new_path)
{
	struct journal_options o = { .folder = new_path, .read_only = true };
	struct cairn_error notice;
	enum cairn_code code;

	m->only = shard_id(VOLUME_SYSTEM);
	code = write_new(m, path, new_path);
	m->only = 0;
	if (!code)
		code = journal_open(&m->n->journal, &o, &notice, m->error);
	if (!code)
		note_volumes(m);
	journal_close(m->n->journal);
	m->n->journal = NULL;
	return code;
}

/* The new journal into the place of the damaged one, and that into the folder LOST_FD as ASIDE. */
static enum cairn_code change_places(const char *path, const char *new_path, int lost_fd, const char *aside,
				     struct cairn_error *error)
{
	char above[4096], *slash;
	int dir = -1, e = 0;

	snprintf(above, sizeof(above), "%s", path);
	slash = strrchr(above, '/');
	if (slash)
		slash[slash == above] = 0;
	if (renameat2(AT_FDCWD, path, AT_FDCWD, new_path, RENAME_EXCHANGE) == 0)
		dir = open(above, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || fsync(dir) < 0)
		e = errno;
	if (!e && renameat(AT_FDCWD, new_path, lost_fd, aside) < 0) {
		e = errno == EXDEV ? 0 : errno;
		if (!e)
			printf("the damaged journal lies on another disk, and stays there: %s\n", new_path);
	}
	if (!e && (fsync(lost_fd) < 0 || fsync(dir) < 0))
		e = errno;
	if (dir >= 0)
		close(dir);
	if (!e)
		return CAIRN_OK;
	cairn_fail(error, cairn_error_from_errno(e), "%s cannot take the place of %s: %s", new_path, path,
		   strerror(e));
	if (e == EBUSY)
		cairn_hint(error, "the journal's folder is where a disk is mounted: use a folder in it");
	return error->code;
}

enum cairn_code offline_journal_repair(struct node *n, struct cairn_error *error)
{
	struct mend m = { .n = n, .error = error };
	char path[4096], new_path[4096 + sizeof(NEW)], aside[64];
	int lost_fd = -1;
	enum cairn_code code;

	node_journal_path(n, path, sizeof(path));
	snprintf(new_path, sizeof(new_path), "%s" NEW, path);
	offline_name_aside(n, "journal", aside, sizeof(aside));
	note_volumes(&m);
	code = note_young(&m, path, new_path);
	if (!code)
		code = offline_list_open(n, aside, &m.list, &lost_fd, error);
	if (!code)
		code = (enum cairn_code)read_through(&m, path);
	if (!code)
		say_plan(&m, path, aside);
	if (m.list && offline_list_close(m.list, code ? NULL : error) && !code)
		code = CAIRN_E_FULL;
	m.list = NULL;
	if (!code)
		code = write_new(&m, path, new_path);
	if (!code)
		code = change_places(path, new_path, lost_fd, aside, error);
	if (!code)
		printf("journal: repaired\n");
	fflush(stdout);
	if (lost_fd >= 0)
		close(lost_fd);
	while (m.shards) {
		struct kept *k = m.shards;

		m.shards = k->next;
		free(k);
	}
	return code;
}
