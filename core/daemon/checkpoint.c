/*
 * A checkpoint is written beside the old one, synced, and renamed over it; so there is always a whole one,
 * and the journal is let go of only behind the newest. Reading takes it in pieces: memory is what the store
 * needs.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include "checkpoint.h"
#include "files.h"
#include "sys.h"
#include "banned.h"

#define NAME CHECKPOINT_NAME
#define PIECE (256u << 10) /* bytes that are read at once */

struct filling {
	struct store_save *from;
	struct cairn_error *error; /* code 0: what went wrong is an errno */
};

static int fill(void *arg, int fd)
{
	struct filling *f = arg;
	struct buffer out = { 0 };
	bool end = false;
	int r = 0;

	while (r == 0 && !end) {
		out.len = 0;
		if (store_save_next(f->from, &out, &end, f->error))
			r = -EIO;
		else
			r = file_write(fd, cairn_slice(out.data, out.len));
	}
	buffer_free(&out);
	return r;
}

enum cairn_code checkpoint_write(struct store *s, const char *folder, struct cairn_position *last,
				 struct cairn_error *error)
{
	struct filling f = { .error = error };
	struct store_facts facts;
	enum cairn_code code;
	int dir, r;

	*error = (struct cairn_error){ 0 };
	code = store_save_open(&f.from, s, cairn_slice(NULL, 0), false, NULL, error);
	if (code)
		return code;
	store_save_facts(f.from, &facts);
	dir = sys->openat(AT_FDCWD, folder, O_RDONLY | O_DIRECTORY, 0);
	r = dir < 0 ? dir : file_replace_by(dir, NAME, fill, &f);
	if (dir >= 0)
		sys->close(dir);
	store_save_close(f.from);
	if (r < 0 && !error->code)
		cairn_fail(error, cairn_error_from_errno(-r), "%s/" NAME " cannot be written: %s", folder,
			   strerror(-r));
	*last = facts.position;
	return r < 0 ? error->code : CAIRN_OK;
}

/* All of the file FD into L. */
static enum cairn_code read_all(int fd, struct store_load *l, const char *folder, struct cairn_error *error)
{
	char *piece = malloc(PIECE);
	enum cairn_code code = piece ? CAIRN_OK : cairn_fail(error, CAIRN_E_INTERNAL, "no memory");
	off_t at = 0;
	ssize_t n = 1;

	while (!code && n > 0) {
		n = sys->pread(fd, piece, PIECE, at);
		if (n < 0)
			code = cairn_fail(error, cairn_error_from_errno((int)-n), "%s", strerror((int)-n));
		else if (n > 0)
			code = store_load_take(l, cairn_slice(piece, (size_t)n), error);
		at += n;
	}
	free(piece);
	if (!code)
		code = store_load_finish(l, NULL, error);
	if (code == CAIRN_E_INVALID) /* no stream at all */
		code = error->code = CAIRN_E_CORRUPT;
	if (code)
		cairn_error_prefix(error, "%s/" NAME, folder);
	return code;
}

enum cairn_code checkpoint_load(struct engine *e, const char *folder, bool *there, struct cairn_error *error)
{
	char path[4096 + sizeof(NAME)];
	struct store_load *l;
	enum cairn_code code;
	int fd;

	snprintf(path, sizeof(path), "%s/" NAME, folder);
	fd = sys->openat(AT_FDCWD, path, O_RDONLY, 0);
	*there = fd >= 0;
	if (fd == -ENOENT)
		return CAIRN_OK;
	if (fd < 0)
		return cairn_fail(error, cairn_error_from_errno(-fd), "%s cannot be read: %s", path,
				  strerror(-fd));
	code = store_load_open(&l, e, error);
	if (!code)
		code = read_all(fd, l, folder, error);
	store_load_close(l);
	sys->close(fd);
	return code;
}
