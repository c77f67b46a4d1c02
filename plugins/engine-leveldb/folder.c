/*
 * The folder of a LevelDB, read by ourselves: CURRENT names the MANIFEST, the MANIFEST's edits say which
 * tables are live and from which log on logs are replayed.
 *
 * LevelDB alone drops a bad batch and goes on behind it, takes a lost log for an empty one, and after a lost
 * end of the MANIFEST opens an older state and deletes the newer tables. So folder_prepare looks first. It
 * relies on three facts: a log is on disk before the MANIFEST names it, it is deleted only after a later edit
 * that does without it is on disk, and the sequences of batches join without a gap from log to log.
 */
#include <stdio.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "folder.h"
#include "files.h"
#include "logfile.h"
#include "sys.h"
#include "table.h"
#include "banned.h"

#define NAME_LEN 40 /* longest file name of LevelDB's with its NUL */
#define LEVELS 7

enum file_kind { FILE_OTHER, FILE_LOG, FILE_TABLE, FILE_MANIFEST };

/* A table that an edit added. */
struct entry {
	uint64_t number, size;
	size_t order;                         /* of the edit's step, so that the last one counts */
	bool live;                            /* added, not deleted */
	struct cairn_slice smallest, largest; /* user keys; point into KEYS */
	unsigned char *keys;                  /* owned */
};

struct manifest {
	char name[NAME_LEN];
	struct entry *entries; /* owned; after settle(): the live ones by number */
	size_t count, cap;
	uint64_t log, previous_log; /* logs from LOG on are replayed, and PREVIOUS_LOG */
	unsigned told;              /* 1 << tag of each number that an edit has given */
	struct logfile_scan scan;
};

/* A numbered file that lies in the folder. */
struct file {
	enum file_kind kind;
	uint64_t number;
	bool sst; /* a table under its old suffix */
};

struct folder {
	const char *dir;
	int fd;             /* of dir */
	struct file *files; /* owned, by number */
	size_t count;
	struct manifest manifest;
};

static enum cairn_code damaged(const struct folder *f, struct cairn_error *error, const char *name,
			       uint64_t at, const char *reason)
{
	cairn_fail(error, CAIRN_E_CORRUPT, "%s/%s: damaged at offset %llu: %s", f->dir, name,
		   (unsigned long long)at, reason);
	cairn_hint(error,
		   "no file was changed; restore this node from a snapshot or from its peers; "
		   "'cairn repair --dir DATA' keeps what is whole");
	return CAIRN_E_CORRUPT;
}

static int missing(const struct folder *f, struct cairn_error *error, const char *name, const char *why)
{
	cairn_fail(error, CAIRN_E_CORRUPT, "%s/%s is missing: %s", f->dir, name, why);
	cairn_hint(error,
		   "put the file back, or restore this node from a snapshot or from its peers; "
		   "'cairn repair --dir DATA' keeps what is whole");
	return -EUCLEAN;
}

static int failed(const struct folder *f, struct cairn_error *error, const char *name, int e)
{
	if (e == -EIO)
		cairn_fail(error, CAIRN_E_CORRUPT, "%s/%s cannot be read: %s", f->dir, name, strerror(-e));
	else
		cairn_fail(error, cairn_error_from_errno(-e), "%s/%s: %s", f->dir, name, strerror(-e));
	return e;
}

/* ---- Files by name ---- */

static struct file file_of(const char *name)
{
	struct file f = { 0 };
	char *end;

	if (strncmp(name, "MANIFEST-", 9) == 0) {
		f.number = strtoull(name + 9, &end, 10);
		f.kind = *end || end == name + 9 ? FILE_OTHER : FILE_MANIFEST;
		return f;
	}
	if (*name < '0' || *name > '9')
		return f;
	f.number = strtoull(name, &end, 10);
	f.sst = strcmp(end, ".sst") == 0;
	if (f.sst || strcmp(end, ".ldb") == 0)
		f.kind = FILE_TABLE;
	else if (strcmp(end, ".log") == 0)
		f.kind = FILE_LOG;
	return f;
}

static void name_of(const struct file *f, char name[NAME_LEN])
{
	const char *suffix = f->kind == FILE_LOG ? "log" : f->sst ? "sst" : "ldb";

	snprintf(name, NAME_LEN, "%06llu.%s", (unsigned long long)f->number, suffix);
}

static int by_number(const void *a, const void *b)
{
	const struct file *x = a, *y = b;

	return (x->number > y->number) - (x->number < y->number);
}

/* List the numbered files of F. 0 or -errno. */
static int list(struct folder *f)
{
	int fd = openat(f->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), e = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!d) {
		e = -errno;
		if (fd >= 0)
			close(fd);
		return e;
	}
	while (!e && (entry = readdir(d))) {
		struct file file = file_of(entry->d_name), *more;

		if (file.kind == FILE_OTHER)
			continue;
		more = (f->count & (f->count - 1)) ? f->files
						   : realloc(f->files, (2 * f->count + 1) * sizeof(*more));
		if (!more) {
			e = -ENOMEM;
			break;
		}
		f->files = more;
		f->files[f->count++] = file;
	}
	closedir(d);
	if (f->count)
		qsort(f->files, f->count, sizeof(*f->files), by_number);
	return e;
}

static const struct file *find(const struct folder *f, enum file_kind kind, uint64_t number)
{
	for (size_t i = 0; i < f->count; i++)
		if (f->files[i].kind == kind && f->files[i].number == number)
			return &f->files[i];
	return NULL;
}

/* ---- Reading ---- */

static int read_fd(void *arg, void *data, size_t len, uint64_t at)
{
	size_t n = 0;

	while (n < len) {
		ssize_t r = sys->pread(*(int *)arg, (char *)data + n, len - n, (off_t)(at + n));

		if (r < 0)
			return (int)r;
		if (r == 0)
			break;
		n += (size_t)r;
	}
	return (int)n;
}

/* Open NAME and say how long it is. The descriptor, or -errno. */
static int open_sized(const struct folder *f, const char *name, uint64_t *size)
{
	int fd = sys->openat(f->fd, name, O_RDONLY | O_CLOEXEC, 0);
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st)) {
		int e = -errno;

		close(fd);
		return e;
	}
	*size = (uint64_t)st.st_size;
	return fd;
}

/* Scan the file NAME up to END, where a record ends; 0: all of it. 0 or -errno. */
static int scan_file(const struct folder *f, const char *name, uint64_t end, struct logfile_scan *s)
{
	int fd = open_sized(f, name, &s->source.size), e;

	if (fd < 0)
		return fd;
	if (end && end < s->source.size)
		s->source.size = end;
	s->source.read = read_fd;
	s->source.arg = &fd;
	e = logfile_scan(s);
	close(fd);
	return e;
}

/* ---- The MANIFEST ---- */

static int add_entry(struct manifest *m, struct entry e)
{
	if (m->count == m->cap) {
		size_t cap = m->cap ? 2 * m->cap : 64;
		struct entry *p = realloc(m->entries, cap * sizeof(*p));

		if (!p)
			return -ENOMEM;
		m->entries = p;
		m->cap = cap;
	}
	e.order = m->count;
	m->entries[m->count++] = e;
	return 0;
}

/* A LevelDB key is the user's and eight bytes more. */
static bool user_key(struct cairn_slice *key)
{
	if (key->len < 8)
		return false;
	key->len -= 8;
	return true;
}

static int add_table(struct manifest *m, struct cairn_slice *in)
{
	struct entry e = { .live = true };
	uint64_t level;
	int r;

	if (!varint_take(in, &level) || level >= LEVELS || !varint_take(in, &e.number) ||
	    !varint_take(in, &e.size) || !varint_slice_take(in, &e.smallest) ||
	    !varint_slice_take(in, &e.largest) || !user_key(&e.smallest) || !user_key(&e.largest))
		return -EBADMSG;
	e.keys = malloc(e.smallest.len + e.largest.len + 1);
	if (!e.keys)
		return -ENOMEM;
	memcpy(e.keys, e.smallest.data, e.smallest.len);
	memcpy(e.keys + e.smallest.len, e.largest.data, e.largest.len);
	e.smallest.data = e.keys;
	e.largest.data = e.keys + e.smallest.len;
	if ((r = add_entry(m, e)))
		free(e.keys);
	return r;
}

/* What an edit is made of; LevelDB does without none of NEEDED. */
enum { COMPARATOR = 1, LOG, NEXT_FILE, LAST_SEQUENCE, POINTER, DELETED, ADDED, PREVIOUS_LOG = 9 };
#define NEEDED (1u << LOG | 1u << NEXT_FILE | 1u << LAST_SEQUENCE)

/* One edit of the MANIFEST; adds what it says to ARG. 0, -EBADMSG, -ENOMEM. */
static int take_edit(void *arg, struct cairn_slice in)
{
	struct manifest *m = arg;
	struct cairn_slice text;
	uint64_t tag, n;
	int e = 0;

	while (!e && in.len) {
		bool good = varint_take(&in, &tag);

		if (!good)
			return -EBADMSG;
		if (tag == COMPARATOR)
			good = varint_slice_take(&in, &text);
		else if (tag == LOG)
			good = varint_take(&in, &m->log);
		else if (tag == PREVIOUS_LOG)
			good = varint_take(&in, &m->previous_log);
		else if (tag == NEXT_FILE || tag == LAST_SEQUENCE)
			good = varint_take(&in, &n);
		else if (tag == POINTER)
			good = varint_take(&in, &n) && varint_slice_take(&in, &text);
		else if (tag == DELETED) {
			good = varint_take(&in, &n) && n < LEVELS && varint_take(&in, &n);
			if (good)
				e = add_entry(m, (struct entry){ .number = n });
		} else if (tag == ADDED)
			e = add_table(m, &in);
		else
			good = false;
		if (!good)
			return -EBADMSG;
		m->told |= 1u << tag;
	}
	return e;
}

static int by_number_and_order(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	if (x->number != y->number)
		return x->number < y->number ? -1 : 1;
	return (x->order > y->order) - (x->order < y->order);
}

/* Keep the last word about each table, and of those the live ones. */
static void settle(struct manifest *m)
{
	size_t kept = 0;

	if (m->count)
		qsort(m->entries, m->count, sizeof(*m->entries), by_number_and_order);
	for (size_t i = 0; i < m->count; i++) {
		struct entry e = m->entries[i];

		if (!e.live || (i + 1 < m->count && m->entries[i + 1].number == e.number))
			free(e.keys);
		else
			m->entries[kept++] = e;
	}
	m->count = kept;
}

/* Find which MANIFEST is current. 1: there is none, and nothing else either: a new folder. 0 or -errno. */
static int read_current(struct folder *f, struct cairn_error *error)
{
	char *text;
	size_t len;
	int e = file_read(f->fd, "CURRENT", 4096, &text, &len);

	if (e == -ENOENT) {
		for (size_t i = 0; i < f->count; i++)
			if (f->files[i].kind != FILE_MANIFEST || f->files[i].number > 1)
				return missing(f, error, "CURRENT",
					       "without it the other files are not LevelDB's");
		return 1;
	}
	if (e)
		return failed(f, error, "CURRENT", e);
	if (len > 10 && len < NAME_LEN && text[len - 1] == '\n') {
		text[len - 1] = '\0';
		if (strlen(text) == len - 1 && file_of(text).kind == FILE_MANIFEST)
			memcpy(f->manifest.name, text, len);
	}
	free(text);
	if (f->manifest.name[0])
		return 0;
	damaged(f, error, "CURRENT", 0, "it does not name a MANIFEST");
	return -EUCLEAN;
}

static void forget_entries(struct manifest *m)
{
	for (size_t i = 0; i < m->count; i++)
		free(m->entries[i].keys);
	free(m->entries);
	m->entries = NULL;
	m->count = m->cap = 0;
}

/* Read the edits up to END (0: all) of the MANIFEST that was found. */
static int read_manifest(struct folder *f, uint64_t end, struct cairn_error *error)
{
	struct manifest *m = &f->manifest;
	int e;

	forget_entries(m);
	m->log = m->previous_log = m->told = 0;
	m->scan = (struct logfile_scan){ .record = take_edit, .arg = m };
	e = scan_file(f, m->name, end, &m->scan);
	if (e == -ENOENT)
		return missing(f, error, m->name, "CURRENT names it");
	if (e == -EBADMSG || e == -EFBIG) {
		damaged(f, error, m->name, m->scan.good, "an edit that makes no sense");
		return -EUCLEAN;
	}
	if (e)
		return failed(f, error, m->name, e);
	if (m->scan.state == LOGFILE_DAMAGED || (m->told & NEEDED) != NEEDED) {
		damaged(f, error, m->name, m->scan.reason ? m->scan.bad : m->scan.good,
			m->scan.reason ? m->scan.reason : "it ends before its first whole state");
		return -EUCLEAN;
	}
	settle(m);
	return 0;
}

/* ---- Tables ---- */

/* Call CHECK on the table E. 0, -EUCLEAN, -errno. */
static int with_table(const struct folder *f, const struct entry *e, struct cairn_error *error,
		      int (*check)(const struct table_source *, struct table_fault *))
{
	struct file file = { .kind = FILE_TABLE, .number = e->number };
	struct table_source source = { .read = read_fd };
	struct table_fault fault;
	char name[NAME_LEN];
	int fd, r;

	name_of(&file, name);
	fd = open_sized(f, name, &source.size);
	if (fd == -ENOENT) {
		file.sst = true;
		name_of(&file, name);
		fd = open_sized(f, name, &source.size);
		file.sst = fd >= 0;
		name_of(&file, name);
	}
	if (fd == -ENOENT)
		return missing(f, error, name, "the MANIFEST names it");
	if (fd < 0)
		return failed(f, error, name, fd);
	source.arg = &fd;
	r = source.size == e->size ? check(&source, &fault) : -EMSGSIZE;
	close(fd);
	if (r == -EMSGSIZE) {
		cairn_fail(error, CAIRN_E_CORRUPT,
			   "%s/%s: damaged: it has %llu bytes, the MANIFEST says %llu", f->dir, name,
			   (unsigned long long)source.size, (unsigned long long)e->size);
		return -EUCLEAN;
	}
	if (r == -EBADMSG) {
		damaged(f, error, name, fault.at, fault.reason);
		return -EUCLEAN;
	}
	return r ? failed(f, error, name, r) : 0;
}

/* ---- Logs ---- */

/* The torn end of a log or MANIFEST, to be cut. */
struct cut {
	char name[NAME_LEN];
	uint64_t at, dropped;
	const char *reason;
};

/*
 * Read the logs that LevelDB will replay, as one run of batches. *CUT is where its end is torn off; its name
 * is empty where it is whole.
 */
static int check_logs(const struct folder *f, struct cut *cut, struct cairn_error *error)
{
	const struct manifest *m = &f->manifest;
	struct file named = { .kind = FILE_LOG, .number = m->log };
	char name[NAME_LEN];
	uint64_t sequence = 0;

	name_of(&named, name);
	if (m->log && !find(f, FILE_LOG, m->log))
		return missing(f, error, name, "the MANIFEST names it, so the newest writes were in it");
	for (size_t i = 0; i < f->count; i++) {
		struct logfile_scan s = { .batches = true, .sequence = sequence };
		const struct file *file = &f->files[i];
		int e;

		if (file->kind != FILE_LOG || (file->number < m->log && file->number != m->previous_log))
			continue;
		name_of(file, name);
		if ((e = scan_file(f, name, 0, &s)))
			return failed(f, error, name, e);
		if (cut->name[0] && s.records) {
			damaged(f, error, cut->name, cut->at, cut->reason);
			return -EUCLEAN;
		}
		if (s.state == LOGFILE_DAMAGED) {
			damaged(f, error, name, s.bad, s.reason);
			return -EUCLEAN;
		}
		if (s.state == LOGFILE_TORN && !cut->name[0]) {
			*cut = (struct cut){ .at = s.good,
					     .dropped = s.source.size - s.good,
					     .reason = s.reason };
			memcpy(cut->name, name, sizeof(name));
		}
		sequence = s.sequence;
	}
	return 0;
}

/* ---- Cutting ---- */

static int do_cut(const struct folder *f, const struct cut *cut, struct cairn_error *notice,
		  struct cairn_error *error)
{
	size_t used = strlen(notice->message);
	int fd, e;

	if (!cut->name[0])
		return 0;
	fd = sys->openat(f->fd, cut->name, O_WRONLY | O_CLOEXEC, 0);
	e = fd < 0 ? fd : sys->ftruncate(fd, (off_t)cut->at);
	if (!e)
		e = sys->fdatasync(fd);
	if (fd >= 0)
		close(fd);
	if (e)
		return failed(f, error, cut->name, e);
	snprintf(notice->message + used, sizeof(notice->message) - used,
		 "%s%s/%s: its end was torn off by a crash (%s): cut at offset %llu, %llu bytes dropped",
		 used ? "; " : "", f->dir, cut->name, cut->reason, (unsigned long long)cut->at,
		 (unsigned long long)cut->dropped);
	return 0;
}

/* Whether all is there that the MANIFEST names, *LOST where the name of a table or log is not. *LOG as in
 * check_logs. */
static int check_files(const struct folder *f, struct cut *log, bool *lost, struct cairn_error *error)
{
	const struct manifest *m = &f->manifest;

	int e;

	*log = (struct cut){ 0 };
	for (size_t i = 0; i < m->count; i++) {
		e = with_table(f, &m->entries[i], error, table_check_footer);
		*lost = e && !find(f, FILE_TABLE, m->entries[i].number);
		if (e)
			return e;
	}
	e = check_logs(f, log, error);
	*lost = e && m->log && !find(f, FILE_LOG, m->log);
	return e;
}

/*
 * LevelDB writes an edit, syncs the folder, and then the MANIFEST. So after power loss the last edit may be
 * there without the name of a table that it adds, or of the log that it begins. LevelDB was not past that
 * sync then, and has removed nothing that the edits before it name: they are the whole state, and the last
 * edit is cut off. Where any of that is missing, or they name no log, the file was lost in another way.
 * Whether it is to be cut; *EDITS and *LOG say where.
 */
static bool without_last_edit(struct folder *f, struct cut *edits, struct cut *log)
{
	struct manifest *m = &f->manifest;
	uint64_t last = m->scan.last, size = m->scan.source.size;
	bool lost;

	if (m->scan.records < 2 || read_manifest(f, last, NULL) || !m->log ||
	    check_files(f, log, &lost, NULL))
		return false;
	*edits = (struct cut){ .at = last,
			       .dropped = size - last,
			       .reason = "it names a file that is not there, and all from before is" };
	memcpy(edits->name, m->name, sizeof(m->name));
	return true;
}

static int prepare(struct folder *f, struct cairn_error *notice, struct cairn_error *error)
{
	const struct manifest *m = &f->manifest;
	struct cut log, edits = { 0 };
	bool lost;
	int e = list(f);

	if (e)
		return failed(f, error, ".", e);
	e = read_current(f, error);
	if (e)
		return e < 0 ? e : 0;
	if ((e = read_manifest(f, 0, error)))
		return e;
	e = check_files(f, &log, &lost, error);
	if (e && !(lost && without_last_edit(f, &edits, &log)))
		return e;
	if (!e && m->scan.state == LOGFILE_TORN) {
		edits = (struct cut){ .at = m->scan.good,
				      .dropped = m->scan.source.size - m->scan.good,
				      .reason = m->scan.reason };
		memcpy(edits.name, m->name, sizeof(m->name));
	}
	e = do_cut(f, &edits, notice, error);
	return e ? e : do_cut(f, &log, notice, error);
}

static int folder_open(struct folder *f, const char *dir)
{
	*f = (struct folder){ .dir = dir,
			      .fd = sys->openat(AT_FDCWD, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0) };
	return f->fd < 0 ? f->fd : 0;
}

static void folder_close(struct folder *f)
{
	forget_entries(&f->manifest);
	free(f->files);
	if (f->fd >= 0)
		close(f->fd);
}

/* Take LevelDB's own lock, so that nothing is cut under a process that has it open. The descriptor, or
 * -errno. */
static int lock(const struct folder *f)
{
	struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int fd = sys->openat(f->fd, "LOCK", O_RDWR | O_CREAT | O_CLOEXEC, 0644), e = 0;

	if (fd < 0)
		return fd;
	if (fcntl(fd, F_OFD_SETLK, &whole)) {
		e = errno == EACCES || errno == EAGAIN ? -EBUSY : -errno;
		close(fd);
	}
	return e ? e : fd;
}

int folder_prepare(const char *dir, struct cairn_error *notice, struct cairn_error *error)
{
	struct folder f;
	int e = folder_open(&f, dir), fd;

	notice->code = CAIRN_OK;
	notice->message[0] = notice->hint[0] = '\0';
	if (e)
		return failed(&f, error, ".", e);
	fd = lock(&f);
	if (fd == -EBUSY) {
		cairn_fail(error, CAIRN_E_UNAVAILABLE, "%s is open in another process", dir);
		e = -EBUSY;
	} else if (fd < 0) {
		e = failed(&f, error, "LOCK", fd);
	} else {
		e = prepare(&f, notice, error);
		close(fd);
	}
	folder_close(&f);
	return e;
}

bool folder_find_damage(const char *dir, struct cairn_slice from, struct cairn_slice to,
			struct cairn_error *error)
{
	struct folder f;
	int e = folder_open(&f, dir);

	if (!e)
		e = read_current(&f, error);
	if (!e)
		e = read_manifest(&f, 0, error);
	for (size_t i = 0; !e && i < f.manifest.count; i++) {
		const struct entry *t = &f.manifest.entries[i];

		if (cairn_slice_cmp(t->largest, from) >= 0 &&
		    (to.len == 0 || cairn_slice_cmp(t->smallest, to) < 0))
			e = with_table(&f, t, error, table_check);
	}
	folder_close(&f);
	return e == -EUCLEAN;
}

void folder_sizes(const char *dir, uint64_t *table_bytes, uint64_t *log_bytes, uint64_t *tables)
{
	struct folder f;
	char name[NAME_LEN];
	struct stat st;

	*table_bytes = *log_bytes = *tables = 0;
	if (folder_open(&f, dir) == 0 && list(&f) == 0)
		for (size_t i = 0; i < f.count; i++) {
			if (f.files[i].kind == FILE_MANIFEST)
				continue;
			name_of(&f.files[i], name);
			if (fstatat(f.fd, name, &st, 0))
				continue;
			*(f.files[i].kind == FILE_LOG ? log_bytes : table_bytes) += (uint64_t)st.st_size;
			*tables += f.files[i].kind == FILE_TABLE;
		}
	folder_close(&f);
}
