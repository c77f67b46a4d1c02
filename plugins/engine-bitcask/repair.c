/*
 * Repair: a folder that does not open, or that has entries which cannot be read, becomes one that holds
 * everything which still can. Files that are whole stay; of each other one, every entry whose checksum fits
 * goes into a new file in its place. Then there is a new MANIFEST with a new active file. Without the old
 * MANIFEST the order of the files is that of their ranks.
 *
 * What is lost: entries that are damaged, files that are missing; a key that was deleted in what is lost
 * comes back. Batches are not kept together: the host checks all that comes out.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include "handle.h"
#include "sys.h"
#include "banned.h"

#define CHUNK ((size_t)1 << 20) /* bytes of a batch that is written */

struct found {
	uint32_t id;
	bool named; /* the MANIFEST has it */
	uint64_t rank, epoch;
};

struct repair {
	struct handle *h;
	struct found *found; /* owned */
	uint32_t count, cap;
	uint32_t top;        /* highest id */
	struct file **files; /* owned, with the files: what the folder will have */
	uint32_t file_count;
	uint64_t sequence, index, term, rank; /* the highest that were seen */
	struct cairn_error *error;
	int failed;
};

static void add_found(struct repair *r, struct found f)
{
	if (r->count == r->cap) {
		uint32_t cap = r->cap ? 2 * r->cap : 64;
		struct found *more = realloc(r->found, cap * sizeof(*more));

		if (!more) {
			r->failed = -ENOMEM;
			return;
		}
		r->found = more;
		r->cap = cap;
	}
	r->found[r->count++] = f;
}

static bool read_head(struct repair *r, uint32_t id, struct record_file_head *head)
{
	unsigned char bytes[RECORD_FILE_HEAD];
	char name[BITCASK_NAME];
	struct file f = { .h = r->h };
	bool good;

	folder_name(name, id, "data");
	f.fd = sys->openat(r->h->dir_fd, name, O_RDONLY, 0);
	if (f.fd < 0)
		return false;
	good = folder_read(&f, bytes, sizeof(bytes), 0) == 0 && record_file_head_get(bytes, head) == 0 &&
		head->id == id;
	sys->close(f.fd);
	return good;
}

static void see_id(void *arg, uint32_t id)
{
	struct repair *r = arg;

	r->top = id > r->top ? id : r->top;
}

static void see_file(void *arg, uint32_t id)
{
	struct record_file_head head;
	struct repair *r = arg;

	if (read_head(r, id, &head))
		add_found(r, (struct found){ id, false, head.rank, head.epoch });
}

static int by_rank(const void *a, const void *b)
{
	const struct found *f = a, *g = b;

	if (f->rank != g->rank)
		return f->rank < g->rank ? -1 : 1;
	return (f->id > g->id) - (f->id < g->id);
}

/* Which files there should be, in order. */
static int find_files(struct repair *r)
{
	struct cairn_slice bytes = { 0 };
	uint32_t count = 0;
	int e = folder_manifest(r->h, &bytes, &count);

	for (uint32_t i = 0; e == 0 && i < count; i++) {
		struct record_row row = record_manifest_row(bytes, i);

		add_found(r, (struct found){ row.id, true, 0, row.epoch });
	}
	free((void *)bytes.data);
	if (e == -ENOENT || e == -EINVAL) {
		e = folder_each(r->h, see_file, r);
		qsort(r->found, r->count, sizeof(*r->found), by_rank);
	}
	if (e == 0)
		e = folder_each(r->h, see_id, r);
	r->h->next_id = r->h->next_id > r->top ? r->h->next_id : r->top + 1;
	return e ? e : r->failed;
}

/* ---- One file ---- */

/* Write what h->out has behind TO. */
static int put_down(struct repair *r, struct file *to, uint64_t *sequence, uint32_t *count)
{
	struct record_batch_head head = { .sequence = *sequence,
					  .length = (uint32_t)(r->h->out_len - RECORD_BATCH_HEAD),
					  .count = *count };
	int e;

	if (*count == 0)
		return 0;
	if (to->size + r->h->out_len > UINT32_MAX)
		return -EFBIG;
	record_batch_seal(r->h->out, &head, to->epoch);
	e = folder_write(to, r->h->out, r->h->out_len, to->size);
	to->size += r->h->out_len;
	r->h->out_len = RECORD_BATCH_HEAD;
	(*sequence)++;
	*count = 0;
	return e;
}

/* Take the entries that are good, as far as lengths can be followed. */
static int take_entries(struct repair *r, struct file *to, struct cairn_slice entries, uint64_t *sequence,
			uint32_t *count)
{
	struct handle *h = r->h;
	struct record_entry e;
	int error = 0;

	while (error == 0 && entries.len && record_entry_get(entries, false, &e) == 0) {
		if (record_entry_get(cairn_slice(entries.data, e.length), true, &e) == 0) {
			error = write_reserve(h, e.length);
			if (error)
				break;
			memcpy(h->out + h->out_len, entries.data, e.length);
			h->out_len += e.length;
			(*count)++;
		}
		entries = cairn_slice((const char *)entries.data + e.length, entries.len - e.length);
		if (h->out_len > CHUNK)
			error = put_down(r, to, sequence, count);
	}
	return error;
}

static void see_batch(struct repair *r, const struct record_batch_head *b)
{
	r->sequence = b->sequence > r->sequence ? b->sequence : r->sequence;
	if (b->index >= r->index && b->index) {
		r->index = b->index;
		r->term = b->term;
	}
}

/* A new file with what can be read of F, whose batches S reads. */
static int salvage(struct repair *r, struct file *f, struct record_scan *s, struct file **to)
{
	struct record_batch_head b;
	struct cairn_slice entries;
	uint64_t sequence = 1;
	uint32_t count = 0;
	int e = folder_create(r->h, f->rank, 1, to, r->error), kind;

	if (e)
		return e;
	r->h->out_len = 0;
	e = write_reserve(r->h, RECORD_BATCH_HEAD);
	r->h->out_len = RECORD_BATCH_HEAD;
	s->at = RECORD_FILE_HEAD;
	while (e == 0 && (kind = record_scan_salvage(s, &b, &entries)) != 0) {
		if (kind == 2)
			see_batch(r, &b);
		e = kind < 0 ? kind : take_entries(r, *to, entries, &sequence, &count);
	}
	if (e == 0)
		e = put_down(r, *to, &sequence, &count);
	return e ? e : sys->fdatasync((*to)->fd);
}

/* Take over what can be had of the file F. 0 or -errno. */
static int take_file(struct repair *r, const struct found *found)
{
	struct record_scan s = { .epoch = found->epoch };
	struct record_file_head head = { .rank = r->rank };
	struct record_batch_head b;
	struct cairn_slice entries;
	struct file *f = calloc(1, sizeof(*f)), *to = NULL;
	char name[BITCASK_NAME];
	bool good = read_head(r, found->id, &head);
	off_t size;
	int e = -ENOMEM;

	if (!f)
		return e;
	folder_name(name, found->id, "data");
	*f = (struct file){ .h = r->h, .id = found->id, .epoch = found->epoch, .rank = head.rank };
	f->fd = sys->openat(r->h->dir_fd, name, O_RDWR, 0);
	size = f->fd < 0 ? f->fd : sys->size(f->fd);
	if (size < 0) {
		folder_forget(r->h, f);
		return size == -ENOENT ? 0 : (int)size;
	}
	r->rank = head.rank > r->rank ? head.rank : r->rank;
	f->size = (uint64_t)size;
	s.source = (struct record_source){ load_read, f, f->size };
	s.at = RECORD_FILE_HEAD;
	s.sequence = head.sequence;
	see_batch(r, &(struct record_batch_head){ .index = good ? head.index : 0, .term = head.term });
	while (good && (e = record_scan_next(&s, &b, &entries)) == 1)
		see_batch(r, &b);
	e = 0;
	if (!good || s.at < f->size)
		e = salvage(r, f, &s, &to);
	record_scan_end(&s);
	if (to) {
		folder_forget(r->h, f);
		f = to;
	}
	r->files[r->file_count++] = f;
	return e;
}

static int repair(struct repair *r)
{
	struct handle *h = r->h;
	int e = find_files(r);

	if (e)
		return e;
	if (r->count == 0)
		return -ENOENT;
	r->files = calloc(r->count + 1, sizeof(struct file *));
	if (!r->files)
		return -ENOMEM;
	for (uint32_t i = 0; e == 0 && i < r->count; i++)
		e = take_file(r, &r->found[i]);
	if (e)
		return e;
	keydir_begin(&h->keys);
	e = keydir_publish(&h->keys, r->index, r->term);
	if (e == 0)
		e = folder_create(h, r->rank + 1, r->sequence + 1, &r->files[r->file_count], r->error);
	if (e)
		return e;
	r->file_count++;
	return folder_commit(h, r->files, r->file_count, r->error);
}

int bitcask_repair(const char *dir, struct cairn_error *error)
{
	struct cairn_value values[BITCASK_PARAMS] = { { 0 } };
	struct cairn_error why = { 0 };
	struct repair r = { .h = bitcask_handle_new(dir, values), .error = &why };
	int e;

	if (!r.h) {
		cairn_fail(error, CAIRN_E_INTERNAL, "no memory");
		return -ENOMEM;
	}
	r.h->dir_fd = sys->openat(AT_FDCWD, dir, O_RDONLY | O_DIRECTORY, 0);
	e = r.h->dir_fd < 0 ? r.h->dir_fd : repair(&r);
	if (e && !why.code)
		bitcask_fail(r.h, &why, e, "cannot be repaired");
	if (e && error)
		*error = why;
	for (uint32_t i = 0; i < r.file_count; i++)
		folder_forget(r.h, r.files[i]);
	free(r.files);
	free(r.found);
	bitcask_handle_free(r.h);
	return e;
}
