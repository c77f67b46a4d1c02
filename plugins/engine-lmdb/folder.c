/*
 * The folder. Files are called N.mdb, the one in use has the highest N;
 * N.mdb-lock is LMDB's table of readers, made anew at each start. A new file is made under another name, and
 * so is whole when it is N.mdb.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "file.h"
#include "sys.h"
#include "banned.h"

#define SUFFIX ".mdb"
#define LOCK_SUFFIX ".mdb-lock"
#define NEW_SUFFIX ".new"

/* The number N of a file whose name is N and SUFFIX; 0: it is none. */
static uint64_t number_of(const char *name, const char *suffix)
{
	char *end;
	uint64_t n = strtoull(name, &end, 10);

	return name[0] >= '1' && name[0] <= '9' && !strcmp(end, suffix) && end - name < 16 ? n : 0;
}

struct found {
	int dirfd;
	uint64_t newest, locked;
};

static int look(void *arg, const char *name)
{
	struct found *f = arg;
	uint64_t n = number_of(name, SUFFIX), locked = number_of(name, LOCK_SUFFIX);

	f->newest = n > f->newest ? n : f->newest;
	f->locked = locked > f->locked ? locked : f->locked;
	return 0;
}

/* What an interrupted compaction left. */
static int tidy(void *arg, const char *name)
{
	const struct found *f = arg;
	uint64_t n = number_of(name, SUFFIX), locked = number_of(name, LOCK_SUFFIX);

	if ((n && n < f->newest) || (locked && locked < f->newest) || number_of(name, SUFFIX NEW_SUFFIX))
		return sys->unlinkat(f->dirfd, name, 0);
	return 0;
}

int folder_find(int dirfd, const char *dir, char name[LMDB_NAME_MAX], struct cairn_error *error)
{
	struct found f = { .dirfd = dirfd };
	int e = sys->list(dirfd, look, &f);

	name[0] = '\0';
	if (e) {
		cairn_fail(error, cairn_error_from_errno(-e), "%s: %s", dir, strerror(-e));
		return e;
	}
	if (f.newest < f.locked) {
		cairn_fail(error, CAIRN_E_CORRUPT, "%s/%" PRIu64 SUFFIX " is missing", dir, f.locked);
		return -EUCLEAN;
	}
	if (!f.newest)
		return 0;
	snprintf(name, LMDB_NAME_MAX, "%" PRIu64 SUFFIX, f.newest);
	e = sys->list(dirfd, tidy, &f);
	if (e)
		cairn_fail(error, cairn_error_from_errno(-e), "%s: an old file cannot be removed: %s", dir,
			   strerror(-e));
	return e;
}

void folder_next(const char *name, char next[LMDB_NAME_MAX])
{
	snprintf(next, LMDB_NAME_MAX, "%" PRIu64 SUFFIX, number_of(name, SUFFIX) + 1);
}
