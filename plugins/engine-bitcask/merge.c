/*
 * Giving back space. A merge takes some neighbouring sealed files, copies the entries that still count into a
 * new file, step by step, and lets the key directory point there. When all is copied, the new file takes the
 * place of the old ones in the MANIFEST; those who still read the old ones keep them open.
 *
 * What made an entry worthless may stand in the active file, so that is synced first: else a power cut could
 * take it away together with the entry. A delete is copied, unless nothing before it can come back without
 * it.
 *
 * A merge that fails goes on where it stood when it is tried again; after a crash it has never begun. Where
 * an entry is damaged, the old files stay beside the new one, and are not merged any more.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include "clock.h"
#include "handle.h"
#include "sys.h"
#include "banned.h"

#define CHUNK ((size_t)256 << 10)      /* bytes read, and written, at once */
#define SYNC_EVERY ((uint64_t)2 << 20) /* bytes of the new file that are synced at once */

/* ---- What to merge ---- */

/* Whether a file before number I has a put that does not count: a delete in I may be what hides it. */
static bool deletes_needed(const struct handle *h, uint32_t i)
{
	while (i-- > 0)
		if (h->files[i]->puts > h->files[i]->live_puts)
			return true;
	return false;
}

/* Bytes that a merge of F would give back; NEEDED: its deletes stay. */
static uint64_t gain(const struct file *f, bool needed)
{
	uint64_t kept = RECORD_FILE_HEAD + f->live + (needed ? f->delete_bytes : 0);

	return f->size > kept ? f->size - kept : 0;
}

static bool mergeable(const struct handle *h, uint32_t i)
{
	struct statvfs fs;

	if (i + 1 >= h->count || h->files[i]->damaged)
		return false;
	if (fstatvfs(h->dir_fd, &fs) || fs.f_blocks == 0)
		return true;
	return (uint64_t)fs.f_bavail * fs.f_frsize > h->files[i]->live + CHUNK;
}

/* The first file with something that does not count; with all of them gone no delete is needed. */
static bool pick_first(const struct handle *h, uint32_t *which)
{
	bool needed = false;

	for (uint32_t i = 0; i + 1 < h->count; i++) {
		const struct file *f = h->files[i];

		if ((f->puts > f->live_puts || (f->deletes && !needed)) && mergeable(h, i)) {
			*which = i;
			return true;
		}
		needed = needed || f->puts > f->live_puts;
	}
	return false;
}

/*
 * The file of which most would be given back, where more than a fifth of the sealed files is worthless. When
 * deletes that are still needed are much of that, the first file that they are needed for.
 */
static bool pick(const struct handle *h, uint32_t *which)
{
	uint64_t bytes = 0, live = 0, deletes = 0;
	bool needed = false;
	double best = 0;

	for (uint32_t i = 0; i + 1 < h->count; i++) {
		const struct file *f = h->files[i];
		double share = (double)gain(f, needed) / (double)f->size;

		bytes += f->size;
		live += f->live;
		deletes += f->delete_bytes;
		needed = needed || f->puts > f->live_puts;
		if (share > best && mergeable(h, i)) {
			best = share;
			*which = i;
		}
	}
	if (5 * (bytes - live) <= bytes)
		return false;
	return best > 0.125 || (8 * deletes > bytes && pick_first(h, which));
}

/* Take in the neighbours that are small, so that files do not get ever smaller. */
static void widen(const struct handle *h, struct merge *m)
{
	uint64_t most = write_roll_size(h), live = h->files[m->from]->live;

	while (m->from + m->count + 1 < h->count) {
		const struct file *f = h->files[m->from + m->count];

		if (f->size > most / 2 || live + f->live > most || !mergeable(h, m->from + m->count))
			break;
		live += f->live;
		m->count++;
	}
	while (m->from > 0) {
		const struct file *f = h->files[m->from - 1];

		if (f->size > most / 2 || live + f->live > most || !mergeable(h, m->from - 1))
			break;
		live += f->live;
		m->from--;
		m->count++;
	}
}

static bool begin(struct handle *h, bool all)
{
	struct merge *m = &h->merge;
	uint32_t which = 0;

	if (h->count < 2 || !(all ? pick_first(h, &which) : pick(h, &which)))
		return false;
	*m = (struct merge){ .on = true, .from = which, .count = 1, .at = RECORD_FILE_HEAD, .sequence = 1 };
	widen(h, m);
	m->drop_deletes = !deletes_needed(h, m->from);
	return true;
}

/* ---- Reading the old files ---- */

/* Have LEN bytes of F at the present place in the window. 0, -EUCLEAN, -errno. */
static int fetch(struct merge *m, const struct file *f, size_t len, const unsigned char **p)
{
	size_t want = len > CHUNK ? len : CHUNK;

	if (len > f->size - m->at)
		return -EUCLEAN;
	if (m->window_file != f->id || m->at < m->window_at || m->at + len > m->window_at + m->window_len) {
		int r;

		want = want < f->size - m->at ? want : f->size - m->at;
		m->window_file = 0;
		if (want > m->window_cap) {
			free(m->window);
			m->window_cap = 0;
			m->window = malloc(want);
			if (!m->window)
				return -ENOMEM;
			m->window_cap = want;
		}
		r = folder_read(f, m->window, want, m->at);
		if (r)
			return r;
		m->window_file = f->id;
		m->window_at = m->at;
		m->window_len = want;
	}
	*p = m->window + (m->at - m->window_at);
	return 0;
}

/* The next entry of F, and where it stands. 1, 0 at the end, -EUCLEAN at damage, -errno. */
static int next_entry(struct merge *m, const struct file *f, struct record_entry *e, uint64_t *offset)
{
	struct record_batch_head head;
	const unsigned char *p;
	int r;

	while (m->left == 0) {
		if (m->at == f->size)
			return 0;
		r = fetch(m, f, RECORD_BATCH_HEAD, &p);
		if (r)
			return r;
		if (!record_batch_head_get(p, &head) || head.length > f->size - m->at - RECORD_BATCH_HEAD)
			return -EUCLEAN;
		m->left = head.length;
		m->at += RECORD_BATCH_HEAD;
	}
	r = fetch(m, f, RECORD_ENTRY_HEAD, &p);
	if (r)
		return r;
	r = record_entry_get(cairn_slice(p, RECORD_ENTRY_HEAD), false, e);
	if (r == -EINVAL || e->length > m->left)
		return -EUCLEAN;
	r = fetch(m, f, e->length, &p);
	if (r)
		return r;
	if (record_entry_get(cairn_slice(p, e->length), true, e))
		return -EUCLEAN;
	*offset = m->at;
	return 1;
}

/* ---- Copying ---- */

/* Whether the entry E at OFFSET of F goes into the new file. */
static bool wanted(const struct handle *h, const struct file *f, const struct record_entry *e,
		   uint64_t offset)
{
	struct keydir_place place;

	if (e->kind == RECORD_DELETE)
		return !h->merge.drop_deletes && !keydir_look(&h->keys, e->key, &place);
	return keydir_look(&h->keys, e->key, &place) && place.file == f->slot && place.offset == offset;
}

/* Gather entries in h->out, until a chunk is full or F ends. 1 where it has, 0, -errno. */
static int gather(struct handle *h, struct file *f, uint32_t *count)
{
	struct merge *m = &h->merge;
	struct record_entry e;
	size_t seen = 0;
	uint64_t offset = 0;
	int r;

	h->out_len = 0;
	r = write_reserve(h, RECORD_BATCH_HEAD);
	h->out_len = RECORD_BATCH_HEAD;
	while (r == 0 && seen < CHUNK) {
		r = next_entry(m, f, &e, &offset);
		if (r != 1)
			return r ? r : 1;
		r = 0;
		if (wanted(h, f, &e, offset)) {
			r = write_reserve(h, e.length);
			if (r)
				break;
			memcpy(h->out + h->out_len, (const unsigned char *)e.key.data - RECORD_ENTRY_HEAD,
			       e.length);
			h->out_len += e.length;
			(*count)++;
		}
		seen += e.length;
		m->at += e.length;
		m->left -= e.length;
	}
	return r;
}

/* Let the key directory point to what h->out has, which stands at the end of TO. */
static int move_keys(struct handle *h, struct file *to)
{
	struct version *v = atomic_load(&h->keys.versions.published);
	struct keydir_place old;
	struct record_entry e;
	int r = 0;

	for (size_t at = RECORD_BATCH_HEAD; r >= 0 && at < h->out_len; at += e.length) {
		record_entry_get(cairn_slice(h->out + at, h->out_len - at), false, &e);
		if (e.kind == RECORD_PUT)
			r = keydir_put(&h->keys, e.key,
				       (struct keydir_place){ (uint32_t)(to->size + at), e.length, to->slot },
				       &old);
	}
	if (r < 0) {
		keydir_abort(&h->keys);
		return r;
	}
	return keydir_publish(&h->keys, v->index, v->term);
}

/* What h->out has counts in TO from now on, and no more in FROM. */
static void count_moved(struct handle *h, struct file *from, struct file *to)
{
	struct record_entry e;

	for (size_t at = RECORD_BATCH_HEAD; at < h->out_len; at += e.length) {
		record_entry_get(cairn_slice(h->out + at, h->out_len - at), false, &e);
		if (e.kind == RECORD_DELETE) {
			to->deletes++;
			to->delete_bytes += e.length;
			continue;
		}
		to->puts++;
		to->live_puts++;
		to->live += e.length;
		from->live_puts--;
		from->live -= e.length;
	}
}

/* Write the COUNT entries of h->out behind the new file and move their keys. */
static int put_down(struct handle *h, struct file *from, uint32_t count, struct cairn_error *error)
{
	struct merge *m = &h->merge;
	struct record_batch_head head = { .sequence = m->sequence,
					  .length = (uint32_t)(h->out_len - RECORD_BATCH_HEAD),
					  .count = count };
	int r = 0;

	if (!m->out)
		r = folder_create(h, h->files[m->from + m->count - 1]->rank, 1, &m->out, error);
	if (r)
		return r;
	if (m->out->size + h->out_len > UINT32_MAX)
		return bitcask_fail(h, error, -EFBIG, "%08x.data", m->out->id);
	record_batch_seal(h->out, &head, m->out->epoch);
	r = folder_write(m->out, h->out, h->out_len, m->out->size);
	if (r)
		return bitcask_fail(h, error, r, "cannot write to %08x.data", m->out->id);
	keydir_begin(&h->keys);
	r = move_keys(h, m->out);
	if (r)
		return bitcask_fail(h, error, r, "cannot merge");
	count_moved(h, from, m->out);
	m->out->size += h->out_len;
	m->sequence++;
	m->unsynced += h->out_len;
	h->merged += h->out_len;
	return 0;
}

static int sync_out(struct handle *h, struct cairn_error *error)
{
	struct merge *m = &h->merge;
	int r = m->unsynced ? sys->fdatasync(m->out->fd) : 0;

	m->unsynced = 0;
	if (r == 0)
		return 0;
	bitcask_fail(h, error, r, "cannot sync %08x.data", m->out->id);
	return bitcask_stop(h, r, error);
}

/* One chunk. 1: there is more to copy, 0: all is copied, -errno. */
static int copy(struct handle *h, struct cairn_error *error)
{
	struct merge *m = &h->merge;
	struct file *f = h->files[m->from + m->which];
	uint64_t at = m->at, left = m->left;
	uint32_t count = 0;
	int r = 1, put = 0;

	keydir_begin(&h->keys);
	if (f->live_puts || (f->deletes && !m->drop_deletes))
		r = gather(h, f, &count);
	if (r == -EUCLEAN) {
		struct cairn_error notice = { 0 };

		cairn_fail(&notice, CAIRN_E_CORRUPT,
			   "%s/%08x.data is damaged at offset %llu: it is not merged any more", h->dir, f->id,
			   (unsigned long long)m->at);
		bitcask_keep_notice(h, &notice);
		for (uint32_t i = 0; i < m->count; i++)
			h->files[m->from + i]->damaged = true;
		m->keep = true;
		m->which = m->count;
		r = 0;
	}
	if (r < 0) {
		m->at = at;
		m->left = left;
		return bitcask_fail(h, error, r, "cannot read %08x.data", f->id);
	}
	if (count)
		put = put_down(h, f, count, error);
	if (put) {
		m->at = at;
		m->left = left;
		return put;
	}
	if (m->unsynced >= SYNC_EVERY && (put = sync_out(h, error)))
		return put;
	if (m->keep)
		return 0;
	if (r == 1) {
		m->at = RECORD_FILE_HEAD;
		m->left = 0;
		m->which++;
	}
	return m->which < m->count;
}

/* ---- The end ---- */

static void forget(void *file)
{
	struct file *f = file;

	folder_forget(f->h, f);
}

/* The list of files with the new one in the place of the old ones. How many. */
static uint32_t new_list(const struct handle *h, struct file **list)
{
	const struct merge *m = &h->merge;
	uint32_t n = 0;

	for (uint32_t i = 0; i < h->count; i++) {
		if (i < m->from || i >= m->from + m->count || m->keep)
			list[n++] = h->files[i];
		if (i + 1 == m->from + m->count && m->out)
			list[n++] = m->out;
	}
	return n;
}

static void end(struct handle *h)
{
	free(h->merge.window);
	h->merge = (struct merge){ 0 };
}

/* All is copied: the new file takes the place of the old ones. */
static int finish(struct handle *h, struct cairn_error *error)
{
	struct merge *m = &h->merge;
	struct version *v = atomic_load(&h->keys.versions.published);
	struct file **list = malloc((h->count + 16) * sizeof(struct file *)), **old = h->files;
	uint32_t count;
	int r = list ? 0 : -ENOMEM;

	if (r)
		return bitcask_fail(h, error, r, "cannot merge");
	if ((r = m->out ? sync_out(h, error) : 0) || (r = bitcask_sync(h, error))) {
		free(list);
		return r;
	}
	count = new_list(h, list);
	keydir_begin(&h->keys);
	for (uint32_t i = 0; r == 0 && !m->keep && i < m->count; i++)
		r = keydir_defer(&h->keys, forget, h->files[m->from + i]);
	if (r)
		bitcask_fail(h, error, r, "cannot merge");
	else
		r = folder_commit(h, list, count, error);
	if (r) {
		keydir_abort(&h->keys);
		free(list);
		return r;
	}
	h->files = list;
	h->cap = h->count + 16;
	h->count = count;
	for (uint32_t i = 0; !m->keep && i < m->count; i++)
		folder_remove_file(h, old[m->from + i]->id);
	keydir_publish(&h->keys, v->index, v->term); /* without memory they stay open, and that is all */
	free(old);
	end(h);
	h->merges++;
	return 0;
}

int merge_step(struct handle *h, bool all, struct cairn_error *error)
{
	struct merge *m = &h->merge;
	int r;

	if (!m->on && !begin(h, all))
		return 0;
	if (m->which < m->count) {
		r = copy(h, error);
		if (r)
			return r;
		m->which = m->count;
	}
	r = finish(h, error);
	return r ? r : 1;
}

void merge_drop(struct handle *h)
{
	if (h->merge.out) {
		folder_remove_file(h, h->merge.out->id);
		folder_forget(h, h->merge.out);
	}
	end(h);
}
