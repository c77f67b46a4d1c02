/*
 * Folder rows: for each prefix that ends with '/', and for the empty one, what stands directly in it. They
 * are kept here, when a key is made or removed, so that a folder's emptiness, number of entries and time of
 * last change cost one lookup, and no hot marker key is rewritten. A folder is there while something is in it
 * or its marker is; when that changes, it changes in its own parent, and so on up.
 */
#include <errno.h>
#include "state.h"
#include "banned.h"

/* Length of the folder that KEY stands directly in: up to and with the last '/' before its last byte. */
static size_t parent_of(struct cairn_slice key)
{
	const char *p = key.data;
	size_t n = key.len;

	if (n)
		n--;
	while (n && p[n - 1] != '/')
		n--;
	return n;
}

static bool is_there(const struct folder *f)
{
	return f->children || f->subfolders || f->marker;
}

static int folder_load(struct store *s, struct cairn_slice prefix, struct row *row, struct folder *f)
{
	struct cairn_slice body;
	int e;

	e = view_row(s, ROW_FOLDER, prefix, row);
	if (e < 0)
		return e;
	e = view_get(s, row, &body);
	if (e == -ENOENT) {
		*f = (struct folder){ 0 };
		return 0;
	}
	if (e < 0)
		return e;
	return folder_decode(body, f) < 0 ? view_damaged(s, row->key) : 0;
}

static int folder_store(struct store *s, const struct row *row, const struct folder *f)
{
	unsigned char *body;

	if (!is_there(f))
		return view_delete(s, row);
	body = view_alloc(s, FOLDER_BYTES);
	if (!body)
		return -ENOMEM;
	folder_encode(f, body);
	return view_put(s, row, cairn_slice(body, FOLDER_BYTES));
}

enum cairn_code folders_change(struct work *w, struct cairn_slice key, bool made)
{
	enum { CHILD, MARKER, SUBFOLDER } what = CHILD;
	struct cairn_slice folder = cairn_slice(key.data, parent_of(key));

	if (!(w->s->meta.flags & META_FOLDERS))
		return CAIRN_OK;
	if (((const char *)key.data)[key.len - 1] == '/') {
		what = MARKER;
		folder = key;
	}
	for (;;) {
		struct folder f;
		struct row row;
		bool was;

		if (folder_load(w->s, folder, &row, &f) < 0)
			return work_stopped(w);
		was = is_there(&f);
		if (what == MARKER) {
			f.marker = made;
		} else {
			uint64_t *count = what == CHILD ? &f.children : &f.subfolders;

			*count = made ? *count + 1 : *count - 1;
		}
		if (what != MARKER || !was) {
			f.list_revision = w->revision;
			f.list_time_ns = w->time_ns;
		}
		if (folder_store(w->s, &row, &f) < 0)
			return work_stopped(w);
		if (was == is_there(&f) || !folder.len)
			return CAIRN_OK;
		if (what == SUBFOLDER && work_charge(w, 0, folder.len + FOLDER_BYTES))
			return CAIRN_E_TOO_LARGE;
		what = SUBFOLDER;
		folder.len = parent_of(folder);
	}
}

enum cairn_code folders_empty(struct work *w, struct cairn_slice prefix, bool *empty)
{
	struct folder f;
	struct row row;

	if (folder_load(w->s, prefix, &row, &f) < 0)
		return work_stopped(w);
	*empty = !f.children && !f.subfolders;
	return CAIRN_OK;
}
