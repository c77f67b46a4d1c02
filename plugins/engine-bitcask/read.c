/*
 * Reading: the key directory says where the entry lies, and one read gets it; its checksum and its key are
 * compared before the value is lent. What a guard lends hangs on it. A version of the key directory that is
 * held keeps the files open that it knows, so a merge takes nothing away from a reader.
 *
 * An entry that is not what it should be is -EUCLEAN, and the notice names file and offset.
 */
#include <errno.h>
#include <stdlib.h>
#include "handle.h"
#include "sys.h"
#include "banned.h"

/* An entry in memory, lent by a guard. */
struct row {
	struct row *next; /* of the guard */
	unsigned char bytes[];
};

struct iterator {
	struct handle *h;
	struct version *version;
	struct keydir_walk walk;
	struct row *row; /* of the present entry */
	struct cairn_slice from, to;
	unsigned char bounds[];
};

_Static_assert(sizeof(struct versions_guard) == 2 * sizeof(void *), "a guard is two pointers of the host's");
enum { GUARD_ROWS = 2 };

void bitcask_read_begin(void *handle, struct cairn_guard *guard)
{
	struct handle *h = handle;

	versions_read_begin(&h->keys.versions, (struct versions_guard *)guard);
}

void bitcask_read_end(void *handle, struct cairn_guard *guard)
{
	struct handle *h = handle;

	for (struct row *r = guard->engine[GUARD_ROWS], *next; r; r = next) {
		next = r->next;
		free(r);
	}
	versions_read_end(&h->keys.versions, (struct versions_guard *)guard);
	memset(guard, 0, sizeof(*guard));
}

static int damaged(struct handle *h, const struct file *f, uint32_t offset, const char *what)
{
	struct cairn_error e = { 0 };

	cairn_fail(&e, CAIRN_E_CORRUPT, "%s/%08x.data is damaged at offset %u: %s", h->dir, f->id, offset,
		   what);
	bitcask_keep_notice(h, &e);
	return -EUCLEAN;
}

/* Read the entry of KEY at PLACE. *R is the caller's. */
static int read_entry(struct handle *h, struct keydir_place place, struct cairn_slice key, unsigned flags,
		      struct row **row, struct cairn_slice *value)
{
	struct file *f = atomic_load_explicit(&h->slots[place.file], memory_order_acquire);
	struct row *r = malloc(sizeof(*r) + place.length);
	struct record_entry e;
	ssize_t n;
	int error;

	if (!r)
		return -ENOMEM;
	if (flags & CAIRN_READ_NO_WAIT) {
		n = sys->pread_cached(f->fd, r->bytes, place.length, (off_t)place.offset);
		error = n == (ssize_t)place.length ? 0 : -EAGAIN;
	} else {
		error = folder_read(f, r->bytes, place.length, place.offset);
	}
	if (error == -EUCLEAN)
		error = damaged(h, f, place.offset, "the file ends within an entry");
	else if (!error &&
		 (record_entry_get(cairn_slice(r->bytes, place.length), true, &e) ||
		  e.length != place.length))
		error = damaged(h, f, place.offset, "the checksum of an entry does not match");
	else if (!error && (e.kind != RECORD_PUT || !cairn_slice_eq(e.key, key)))
		error = damaged(h, f, place.offset, "there is another entry than the one that was written");
	if (error) {
		free(r);
		return error;
	}
	*value = e.value;
	*row = r;
	return 0;
}

int bitcask_get(void *handle, struct cairn_guard *guard, void *snapshot, struct cairn_slice key,
		unsigned flags, struct cairn_slice *value)
{
	const struct version *v = snapshot ? snapshot : guard->engine[0];
	struct keydir_place place;
	struct row *row;
	int r;

	if (key.len > RECORD_KEY_MAX || !keydir_find(v, key, &place))
		return -ENOENT;
	r = read_entry(handle, place, key, flags, &row, value);
	if (r)
		return r;
	row->next = guard->engine[GUARD_ROWS];
	guard->engine[GUARD_ROWS] = row;
	return 0;
}

int bitcask_snapshot(void *handle, void **snapshot)
{
	struct handle *h = handle;

	*snapshot = versions_pin(&h->keys.versions, NULL);
	return 0;
}

void bitcask_release(void *handle, void *snapshot)
{
	struct handle *h = handle;

	versions_unpin(&h->keys.versions, snapshot);
}

int bitcask_iter_open(void *handle, void *snapshot, struct cairn_slice from, struct cairn_slice to,
		      unsigned flags, void **iterator)
{
	struct handle *h = handle;
	struct iterator *it;

	if (flags & CAIRN_READ_NO_WAIT)
		return -EAGAIN; /* a walk over entries that lie anywhere is not for who cannot wait */
	it = malloc(sizeof(*it) + from.len + to.len);
	if (!it)
		return -ENOMEM;
	*it = (struct iterator){ .h = h, .version = versions_pin(&h->keys.versions, snapshot) };
	if (from.len)
		memcpy(it->bounds, from.data, from.len);
	if (to.len)
		memcpy(it->bounds + from.len, to.data, to.len);
	it->from = cairn_slice(it->bounds, from.len);
	it->to = cairn_slice(it->bounds + from.len, to.len);
	keydir_walk_begin(&it->walk, it->version->root, it->from, it->to, flags & CAIRN_READ_REVERSE);
	*iterator = it;
	return 0;
}

int bitcask_iter_next(void *iterator, struct cairn_slice *key, struct cairn_slice *value)
{
	struct iterator *it = iterator;
	struct keydir_place place;
	int r = keydir_walk_next(&it->walk, key, &place);

	free(it->row);
	it->row = NULL;
	if (r != 1) {
		*key = *value = cairn_slice(NULL, 0);
		return r;
	}
	return read_entry(it->h, place, *key, 0, &it->row, value);
}

void bitcask_iter_close(void *iterator)
{
	struct iterator *it = iterator;

	free(it->row);
	keydir_walk_end(&it->walk);
	versions_unpin(&it->h->keys.versions, it->version);
	free(it);
}
