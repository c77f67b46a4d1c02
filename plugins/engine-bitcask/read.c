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

/* Rows lent under a guard: one in the guard itself, more in blocks that hang on its last pointer. */
enum { GUARD_ROW = 2, GUARD_MORE = 3 };
struct lent {
	struct lent *next;
	size_t count;
	struct row *rows[62];
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

void bitcask_read_begin(void *handle, struct cairn_guard *guard)
{
	struct handle *h = handle;

	versions_read_begin(&h->keys.versions, (struct versions_guard *)guard);
}

void bitcask_read_end(void *handle, struct cairn_guard *guard)
{
	struct lent *block = guard->engine[GUARD_MORE], *next;
	struct handle *h = handle;

	row_put(guard->engine[GUARD_ROW]);
	for (; block; block = next) {
		next = block->next;
		for (size_t i = 0; i < block->count; i++)
			row_put(block->rows[i]);
		free(block);
	}
	versions_read_end(&h->keys.versions, (struct versions_guard *)guard);
	memset(guard, 0, sizeof(*guard));
}

/* Let GUARD hold R from now on. 0, or -ENOMEM and R is let go. */
static int lend(struct cairn_guard *guard, struct row *r)
{
	struct lent *block = guard->engine[GUARD_MORE];

	if (!guard->engine[GUARD_ROW]) {
		guard->engine[GUARD_ROW] = r;
		return 0;
	}
	if (!block || block->count == sizeof(block->rows) / sizeof(*block->rows)) {
		block = malloc(sizeof(*block));
		if (!block) {
			row_put(r);
			return -ENOMEM;
		}
		block->next = guard->engine[GUARD_MORE];
		block->count = 0;
		guard->engine[GUARD_MORE] = block;
	}
	block->rows[block->count++] = r;
	return 0;
}

static int damaged(struct handle *h, const struct file *f, uint32_t offset, const char *what)
{
	struct cairn_error e = { 0 };

	cairn_fail(&e, CAIRN_E_CORRUPT, "%s/%08x.data is damaged at offset %u: %s", h->dir, f->id, offset,
		   what);
	bitcask_keep_notice(h, &e);
	return -EUCLEAN;
}

/* Read all of the entry at PLACE into R. */
static int read_bytes(struct handle *h, const struct file *f, struct keydir_place place, unsigned flags,
		      struct row *r)
{
	ssize_t n;
	int e;

	if (flags & CAIRN_READ_NO_WAIT) {
		n = sys->pread_cached(f->fd, r->bytes, place.length, (off_t)place.offset);
		return n == (ssize_t)place.length ? 0 : -EAGAIN;
	}
	e = folder_read(f, r->bytes, place.length, place.offset);
	return e == -EUCLEAN ? damaged(h, f, place.offset, "the file ends within an entry") : e;
}

/* Have R hold the expanded value of E instead, which stands in it. */
static int expand(struct handle *h, const struct file *f, uint32_t offset, const struct record_entry *e,
		  struct row **r)
{
	long long size = zip_size(e->value);
	struct row *wide;

	if (!zip_there()) {
		struct cairn_error error = { 0 };

		cairn_fail(&error, CAIRN_E_UNSUPPORTED,
			   "%s: values are compressed, and this build has no zstd", h->dir);
		bitcask_keep_notice(h, &error);
		return -EOPNOTSUPP;
	}
	if (size < 0)
		return damaged(h, f, offset, "a value cannot be expanded");
	wide = row_new((size_t)size);
	if (!wide)
		return -ENOMEM;
	if (!zip_unpack(h->zip, e->value, wide->bytes, (size_t)size)) {
		row_put(wide);
		return damaged(h, f, offset, "a value cannot be expanded");
	}
	wide->value = cairn_slice(wide->bytes, (size_t)size);
	row_put(*r);
	*r = wide;
	return 0;
}

/* Get the entry of KEY at PLACE; with KEEP the cache gets it, too. *ROW is held for the caller. */
static int read_entry(struct handle *h, struct keydir_place place, struct cairn_slice key, unsigned flags,
		      bool keep, struct row **row)
{
	struct file *f = atomic_load_explicit(&h->slots[place.file], memory_order_acquire);
	uint64_t where = (uint64_t)f->id << 32 | place.offset;
	struct record_entry e;
	struct row *r = cache_get(h->cache, where);
	int error;

	if (r) {
		*row = r;
		return 0;
	}
	r = row_new(place.length);
	if (!r)
		return -ENOMEM;
	error = read_bytes(h, f, place, flags, r);
	if (!error &&
	    (record_entry_get(cairn_slice(r->bytes, place.length), true, &e) || e.length != place.length))
		error = damaged(h, f, place.offset, "the checksum of an entry does not match");
	else if (!error && (e.kind != RECORD_PUT || !cairn_slice_eq(e.key, key)))
		error = damaged(h, f, place.offset, "there is another entry than the one that was written");
	if (!error) {
		r->value = e.value;
		if (e.flags & RECORD_ZSTD)
			error = expand(h, f, place.offset, &e, &r);
	}
	if (error) {
		row_put(r);
		return error;
	}
	if (keep)
		cache_keep(h->cache, where, r);
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
	r = read_entry(handle, place, key, flags, true, &row);
	if (r)
		return r;
	*value = row->value;
	return lend(guard, row);
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

	row_put(it->row);
	it->row = NULL;
	if (r != 1) {
		*key = *value = cairn_slice(NULL, 0);
		return r;
	}
	r = read_entry(it->h, place, *key, 0, false, &it->row);
	if (r == 0)
		*value = it->row->value;
	return r;
}

void bitcask_iter_close(void *iterator)
{
	struct iterator *it = iterator;

	row_put(it->row);
	keydir_walk_end(&it->walk);
	versions_unpin(&it->h->keys.versions, it->version);
	free(it);
}
