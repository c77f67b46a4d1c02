/*
 * Writing: a batch of the host becomes one batch at the end of the active file, written at once; then the
 * key directory that was changed meanwhile is published, and the batch is there for everybody. When a write
 * fails nothing has happened: the next batch goes to the same place. After a sync that failed nobody knows
 * what is on disk, so the handle takes no more writes until it is opened again.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include "handle.h"
#include "sys.h"
#include "banned.h"

#define PACK_MIN 128              /* shorter values are not compressed */
#define EARLY ((size_t)256 << 10) /* bytes of a batch that the disk gets before the rest is made */
#define PAGE 4096
#define OUT_KEEP ((size_t)1 << 20) /* bytes of the buffer kept between batches */

int write_reserve(struct handle *h, size_t more)
{
	size_t cap = h->out_cap ? h->out_cap : 65536;
	unsigned char *p;

	if (h->out_len + more <= h->out_cap)
		return 0;
	if (more > RECORD_BATCH_MAX || h->out_len + more > RECORD_BATCH_MAX)
		return -EMSGSIZE;
	while (cap < h->out_len + more)
		cap *= 2;
	p = realloc(h->out, cap);
	if (!p)
		return -ENOMEM;
	h->out = p;
	h->out_cap = cap;
	return 0;
}

/* Remember that the entry at OLD does not count any more once the batch is in. */
static int note_old(struct handle *h, struct keydir_place old)
{
	if (h->old_count == h->old_cap) {
		size_t cap = h->old_cap ? 2 * h->old_cap : 64;
		struct keydir_place *more = realloc(h->olds, cap * sizeof(*more));

		if (!more)
			return -ENOMEM;
		h->olds = more;
		h->old_cap = cap;
	}
	h->olds[h->old_count++] = old;
	return 0;
}

static int check_key(struct cairn_slice key)
{
	if (key.len == 0 || *(const char *)key.data == 0)
		return -EINVAL;
	return key.len > RECORD_KEY_MAX ? -EMSGSIZE : 0;
}

/* Add an entry; its key and room for VALUE_LEN bytes behind it. *AT is where it begins in h->out. */
static int add_entry(struct handle *h, struct cairn_slice key, size_t value_len, size_t *at)
{
	size_t len = RECORD_ENTRY_HEAD + key.len + value_len;
	int r = value_len > RECORD_BATCH_MAX ? -EMSGSIZE : write_reserve(h, len);

	if (r)
		return r;
	*at = h->out_len;
	memcpy(h->out + *at + RECORD_ENTRY_HEAD, key.data, key.len);
	h->out_len += len;
	return 0;
}

/* Compress the LEN bytes at VALUE, the last ones in h->out, in their place. How many they are then; 0 where
 * it is not worth it. */
static size_t pack(struct handle *h, unsigned char *value, size_t len)
{
	size_t at = (size_t)(value - h->out), n;

	if (!h->compress || len < PACK_MIN || write_reserve(h, len))
		return 0;
	value = h->out + at;
	n = zip_pack(h->zip, cairn_slice(value, len), value + len, len - len / 8);
	if (n) {
		memmove(value, value + len, n);
		h->out_len = at + n;
	}
	return n;
}

static int add_put(struct handle *h, const struct cairn_write *w)
{
	struct keydir_place place, old;
	size_t len = 0, at, packed;
	unsigned char *p;
	int r = check_key(w->key);

	for (int i = 0; i < w->iov_count && len <= RECORD_BATCH_MAX; i++)
		len += w->iov[i].iov_len;
	if (r == 0)
		r = add_entry(h, w->key, len, &at);
	if (r)
		return r;
	p = h->out + at + RECORD_ENTRY_HEAD + w->key.len;
	for (int i = 0; i < w->iov_count; p += w->iov[i++].iov_len)
		if (w->iov[i].iov_len)
			memcpy(p, w->iov[i].iov_base, w->iov[i].iov_len);
	packed = pack(h, p - len, len);
	record_entry_seal(h->out + at, RECORD_PUT, packed ? RECORD_ZSTD : 0, w->key.len,
			  packed ? packed : len);
	place = (struct keydir_place){ (uint32_t)(bitcask_active(h)->size + at), (uint32_t)(h->out_len - at),
				       bitcask_active(h)->slot };
	r = keydir_put(&h->keys, w->key, place, &old);
	return r == 1 ? note_old(h, old) : r;
}

/* A key that is not there needs no delete: what there was of it is hidden already. */
static int add_delete(struct handle *h, struct cairn_slice key)
{
	struct keydir_place old;
	size_t at;
	int r = check_key(key);

	if (r == 0)
		r = keydir_remove(&h->keys, key, &old);
	if (r != 1)
		return r == -EMSGSIZE ? 0 : r;
	r = add_entry(h, key, 0, &at);
	if (r)
		return r;
	record_entry_seal(h->out + at, RECORD_DELETE, 0, key.len, 0);
	return note_old(h, old);
}

/* A delete for each key of the range that is there by now. */
static int add_range(struct handle *h, const struct cairn_write *w)
{
	struct keydir_walk walk = { 0 };
	struct cairn_slice key;
	struct keydir_place place;
	int r = 1;

	while (r == 1) { /* each step changes the tree */
		keydir_walk_begin(&walk, h->keys.root, w->key, w->end, false);
		r = keydir_walk_next(&walk, &key, &place);
		if (r == 1) {
			r = add_delete(h, key);
			r = r ? r : 1;
		}
	}
	keydir_walk_end(&walk);
	return r;
}

/* Let the disk begin with what was made of a large batch; its head follows when it is known. */
static int send_early(struct handle *h)
{
	struct file *f = bitcask_active(h);
	uint64_t at = f->size + h->sent;
	int r;

	if (h->out_len - h->sent < EARLY || f->size + h->out_len > UINT32_MAX)
		return 0;
	r = folder_write(f, h->out + h->sent, h->out_len - h->sent, at);
	if (r)
		return r;
	at = (at + PAGE - 1) / PAGE * PAGE; /* the page of the head is still to be written */
	sys->writeback(f->fd, (off_t)at, (off_t)((f->size + h->out_len - at) / PAGE * PAGE));
	h->sent = h->out_len;
	return 0;
}

/* Make the batch in h->out and in the key directory. How many entries, or -errno. */
static int64_t build(struct handle *h, const struct cairn_batch *batch)
{
	int64_t count = 0;
	int r;

	h->out_len = 0;
	r = write_reserve(h, RECORD_BATCH_HEAD);
	h->out_len = h->sent = RECORD_BATCH_HEAD;
	for (size_t i = 0; r == 0 && i < batch->count; i++) {
		const struct cairn_write *w = &batch->writes[i];

		if (w->kind == CAIRN_WRITE_PUT)
			r = add_put(h, w);
		else if (w->kind == CAIRN_WRITE_DELETE)
			r = add_delete(h, w->key);
		else
			r = add_range(h, w);
		if (r == 0)
			r = send_early(h);
	}
	for (size_t at = RECORD_BATCH_HEAD; r == 0 && at < h->out_len; count++) {
		struct record_entry e;

		r = record_entry_get(cairn_slice(h->out + at, h->out_len - at), false, &e);
		at += e.length;
	}
	return r ? r : count;
}

int write_append(struct handle *h, uint32_t count, uint64_t index, uint64_t term, struct cairn_error *error)
{
	struct file *f = bitcask_active(h);
	struct record_batch_head head = { .sequence = h->sequence,
					  .durable = h->durable,
					  .index = index,
					  .term = term,
					  .length = (uint32_t)(h->out_len - RECORD_BATCH_HEAD),
					  .count = count };
	int r;

	record_batch_seal(h->out, &head, f->epoch);
	if (h->sent > RECORD_BATCH_HEAD) {
		r = folder_write(f, h->out + h->sent, h->out_len - h->sent, f->size + h->sent);
		if (r == 0)
			r = folder_write(f, h->out, RECORD_BATCH_HEAD, f->size);
	} else {
		r = folder_write(f, h->out, h->out_len, f->size);
	}
	h->sent = 0;
	if (r == 0) {
		f->size += h->out_len;
		f->hinted = false;
		h->sequence++;
		return 0;
	}
	/* What was written of it is behind the end, and is overwritten by the next batch; give the room back.
	 */
	sys->ftruncate(f->fd, (off_t)f->size);
	return bitcask_fail(h, error, r, "cannot write to %08x.data", f->id);
}

int bitcask_sync(void *handle, struct cairn_error *error)
{
	struct handle *h = handle;
	int r;

	if (h->failed_errno) {
		if (error)
			*error = h->failed;
		return h->failed_errno;
	}
	if (h->durable + 1 == h->sequence)
		return 0;
	r = sys->fdatasync(bitcask_active(h)->fd);
	if (r) {
		bitcask_fail(h, error, r, "cannot sync %08x.data", bitcask_active(h)->id);
		return bitcask_stop(h, r, error);
	}
	h->durable = h->sequence - 1;
	return 0;
}

int write_mark(struct handle *h)
{
	struct version *v = atomic_load(&h->keys.versions.published);
	int r;

	h->out_len = 0;
	r = write_reserve(h, RECORD_BATCH_HEAD);
	h->out_len = RECORD_BATCH_HEAD;
	if (r == 0)
		r = write_append(h, 0, v->index, v->term, NULL);
	return r ? r : bitcask_sync(h, NULL);
}

/* A sixteenth of what there is, so that what is worthless in the active file, which no merge can have, stays
 * little. */
uint64_t write_roll_size(const struct handle *h)
{
	uint64_t part = atomic_load(&h->keys.versions.published)->live / 16;

	part = part > BITCASK_ROLL_MIN ? part : BITCASK_ROLL_MIN;
	return part < h->file_size ? part : h->file_size;
}

int write_rotate(struct handle *h, struct cairn_error *error)
{
	struct file *f, **files;
	int r = bitcask_sync(h, error);

	if (r)
		return r;
	if (h->count == h->cap) {
		files = realloc(h->files, 2 * h->cap * sizeof(*files));
		if (!files)
			return bitcask_fail(h, error, -ENOMEM, "cannot begin a new file");
		h->files = files;
		h->cap *= 2;
	}
	r = folder_create(h, bitcask_active(h)->rank + 1, h->sequence, &f, error);
	if (r)
		return r;
	files = malloc((h->count + 1) * sizeof(*files));
	if (files) {
		memcpy(files, h->files, h->count * sizeof(*files));
		files[h->count] = f;
		r = folder_commit(h, files, h->count + 1, error);
		free(files);
	} else {
		r = bitcask_fail(h, error, -ENOMEM, "cannot begin a new file");
	}
	if (r) {
		folder_remove_file(h, f->id);
		folder_forget(h, f);
		return r;
	}
	h->files[h->count++] = f;
	h->rotations++;
	return 0;
}

/* Refuse what grows the data while the disk has less than its reserve: deletes and merges still find room. */
static int check_space(const struct handle *h, struct cairn_error *error)
{
	struct version *v = atomic_load_explicit(&h->keys.versions.published, memory_order_relaxed);
	uint64_t free_bytes;
	struct statvfs fs;

	if (h->min_free == 0 || h->keys.live <= v->live || fstatvfs(h->dir_fd, &fs) || fs.f_blocks == 0)
		return 0;
	free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	if (free_bytes >= h->min_free + h->out_len)
		return 0;
	cairn_fail(error, CAIRN_E_FULL, "%s: %llu bytes are free on the disk, %llu are kept free or needed",
		   h->dir, (unsigned long long)free_bytes, (unsigned long long)(h->min_free + h->out_len));
	cairn_hint(error, "make room on the disk, or delete; writing goes on by itself then");
	return -ENOSPC;
}

/* The batch is in: what it made worthless is counted. */
static void settle(struct handle *h)
{
	struct file *f = bitcask_active(h);

	for (size_t at = RECORD_BATCH_HEAD; at < h->out_len;) {
		struct record_entry e = { 0 };

		record_entry_get(cairn_slice(h->out + at, h->out_len - at), false, &e);
		if (e.kind == RECORD_PUT) {
			f->puts++;
			f->live_puts++;
			f->live += e.length;
		} else {
			f->deletes++;
			f->delete_bytes += e.length;
		}
		at += e.length;
	}
	for (size_t i = 0; i < h->old_count; i++) {
		struct file *old = atomic_load_explicit(&h->slots[h->olds[i].file], memory_order_relaxed);

		old->live -= h->olds[i].length;
		old->live_puts--;
	}
	if (h->out_cap > OUT_KEEP) {
		free(h->out);
		h->out = NULL;
		h->out_cap = 0;
	}
	bitcask_count(h);
}

int bitcask_write(void *handle, const struct cairn_batch *batch, bool sync, struct cairn_error *error)
{
	struct handle *h = handle;
	int64_t count;
	int r;

	if (h->failed_errno) {
		if (error)
			*error = h->failed;
		return h->failed_errno;
	}
	if (bitcask_active(h)->size >= write_roll_size(h)) /* where that fails, the old one takes more */
		write_rotate(h, error);
	if (h->failed_errno)
		return h->failed_errno;
	h->old_count = 0;
	keydir_begin(&h->keys);
	count = build(h, batch);
	if (count < 0)
		r = bitcask_fail(h, error, (int)count, "the batch cannot be taken");
	else if (bitcask_active(h)->size + h->out_len > UINT32_MAX) /* it could not begin a new one */
		r = bitcask_fail(h, error, -EFBIG, "%08x.data is too long for the batch",
				 bitcask_active(h)->id);
	else
		r = check_space(h, error);
	if (r == 0)
		r = write_append(h, (uint32_t)count, batch->position.index, batch->position.term, error);
	if (r == 0 && sync)
		r = bitcask_sync(h, error);
	if (r) {
		if (h->sent > RECORD_BATCH_HEAD)
			sys->ftruncate(bitcask_active(h)->fd, (off_t)bitcask_active(h)->size);
		h->sent = 0;
		keydir_abort(&h->keys);
		return r;
	}
	r = keydir_publish(&h->keys, batch->position.index, batch->position.term);
	if (r) /* it is on disk, and nobody sees it: only a new start can tell */
		return bitcask_stop(h, bitcask_fail(h, error, r, "the batch cannot be taken"), error);
	settle(h);
	return 0;
}
