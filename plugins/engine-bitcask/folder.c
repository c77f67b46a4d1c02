/*
 * The folder: data files, and the MANIFEST that names them in order. The MANIFEST is replaced as a whole, so
 * a crash leaves the old list or the new one; files that it does not name are nobody's and are removed at the
 * start. A file that it names and that is not there, or not as long as it says, is damage: the folder is
 * not opened.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include "files.h"
#include "handle.h"
#include "sys.h"
#include "banned.h"

#define MANIFEST "MANIFEST"
#define MANIFEST_MAX ((size_t)RECORD_MANIFEST_HEAD + (size_t)BITCASK_SLOTS * RECORD_MANIFEST_ROW)

void folder_name(char name[BITCASK_NAME], uint32_t id, const char *suffix)
{
	snprintf(name, BITCASK_NAME, "%08x.%s", id, suffix);
}

int folder_read(const struct file *f, void *data, size_t len, uint64_t at)
{
	char *p = data;

	while (len) {
		ssize_t n = sys->pread(f->fd, p, len, (off_t)at);

		if (n <= 0)
			return n < 0 ? (int)n : -EUCLEAN;
		p += n;
		at += (size_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int folder_write(const struct file *f, const void *data, size_t len, uint64_t at)
{
	const char *p = data;

	while (len) {
		struct iovec iov = { (void *)p, len };
		ssize_t n = sys->pwritev(f->fd, &iov, 1, (off_t)at);

		if (n <= 0)
			return n < 0 ? (int)n : -EIO;
		p += n;
		at += (size_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int folder_slot(struct handle *h, struct file *f)
{
	for (unsigned i = 1; i < BITCASK_SLOTS; i++) {
		unsigned slot = (f->id + i) % BITCASK_SLOTS;

		if (!atomic_load_explicit(&h->slots[slot], memory_order_relaxed)) {
			f->slot = (uint16_t)slot;
			atomic_store_explicit(&h->slots[slot], f, memory_order_release);
			return 0;
		}
	}
	return -EMFILE;
}

void folder_forget(struct handle *h, struct file *f)
{
	if (atomic_load_explicit(&h->slots[f->slot], memory_order_relaxed) == f)
		atomic_store_explicit(&h->slots[f->slot], NULL, memory_order_relaxed);
	if (f->fd >= 0)
		sys->close(f->fd);
	free(f);
}

void folder_remove_file(struct handle *h, uint32_t id)
{
	char name[BITCASK_NAME];

	folder_name(name, id, "data");
	sys->unlinkat(h->dir_fd, name, 0);
	folder_name(name, id, "hint");
	sys->unlinkat(h->dir_fd, name, 0);
}

int folder_create(struct handle *h, uint64_t rank, uint64_t sequence, struct file **f,
		  struct cairn_error *error)
{
	struct version *v = atomic_load(&h->keys.versions.published);
	unsigned char bytes[RECORD_FILE_HEAD];
	struct record_file_head head = { .id = h->next_id++, .sequence = sequence, .rank = rank };
	char name[BITCASK_NAME];
	int r = -ENOMEM;

	folder_name(name, head.id, "data");
	head.index = v->index;
	head.term = v->term;
	*f = calloc(1, sizeof(**f));
	if (*f && getrandom(&head.epoch, sizeof(head.epoch), 0) == sizeof(head.epoch)) {
		**f = (struct file){ .h = h,
				     .id = head.id,
				     .epoch = head.epoch,
				     .rank = rank,
				     .size = RECORD_FILE_HEAD,
				     .fd = -1 };
		r = (*f)->fd = sys->openat(h->dir_fd, name, O_RDWR | O_CREAT | O_TRUNC, 0600);
	}
	if (r >= 0) {
		record_file_head_put(bytes, &head);
		r = folder_write(*f, bytes, sizeof(bytes), 0);
		if (r == 0)
			r = sys->fdatasync((*f)->fd);
		if (r == 0)
			r = folder_slot(h, *f);
		if (r)
			folder_remove_file(h, head.id);
	}
	if (r < 0) {
		bitcask_fail(h, error, r, "cannot make the file %s", name);
		if (*f)
			folder_forget(h, *f);
		*f = NULL;
		return r;
	}
	return 0;
}

static int replace_manifest(struct handle *h, struct file *const *files, uint32_t count)
{
	unsigned char *bytes = malloc(RECORD_MANIFEST_HEAD + (size_t)count * RECORD_MANIFEST_ROW);
	struct record_row *rows = calloc(count, sizeof(*rows));
	int r = -ENOMEM;

	if (bytes && rows) {
		for (uint32_t i = 0; i < count; i++)
			rows[i] = (struct record_row){ files[i]->id, i + 1 < count ? files[i]->size : 0,
						       files[i]->epoch };
		record_manifest_put(bytes, rows, count, h->next_id);
		r = file_replace(
			h->dir_fd, MANIFEST,
			cairn_slice(bytes, RECORD_MANIFEST_HEAD + (size_t)count * RECORD_MANIFEST_ROW));
	}
	free(bytes);
	free(rows);
	return r;
}

int folder_commit(struct handle *h, struct file *const *files, uint32_t count, struct cairn_error *error)
{
	int r = replace_manifest(h, files, count);

	if (r == 0)
		return 0;
	bitcask_fail(h, error, r, "cannot replace the MANIFEST");
	/* Which of the two is on disk is not known; the old one is right for what the files hold. */
	if (h->count && replace_manifest(h, h->files, h->count))
		return bitcask_stop(h, r == -ENOSPC ? -EIO : r, error);
	return r;
}

/* ---- Opening ---- */

static int damaged(const struct handle *h, struct cairn_error *error, const char *name, const char *what)
{
	cairn_fail(error, CAIRN_E_CORRUPT, "%s/%s %s", h->dir, name, what);
	return -EUCLEAN;
}

/* Open the file that ROW names; the last one is the active file. */
static int open_file(struct handle *h, const struct record_row *row, bool last, struct cairn_error *error)
{
	unsigned char bytes[RECORD_FILE_HEAD];
	struct record_file_head head;
	struct file *f = calloc(1, sizeof(*f));
	char name[BITCASK_NAME];
	off_t size;
	int r;

	folder_name(name, row->id, "data");
	if (!f)
		return bitcask_fail(h, error, -ENOMEM, "%s", name);
	*f = (struct file){ .h = h, .id = row->id, .fd = sys->openat(h->dir_fd, name, O_RDWR, 0) };
	size = f->fd < 0 ? f->fd : sys->size(f->fd);
	r = size < 0 ? (int)size : folder_slot(h, f);
	if (r) {
		r = r == -ENOENT ? damaged(h, error, name, "is missing; the MANIFEST names it")
				 : bitcask_fail(h, error, r, "cannot open %s", name);
		folder_forget(h, f);
		return r;
	}
	h->files[h->count++] = f; /* bitcask_close forgets it */
	f->size = last ? (uint64_t)size : row->size;
	if ((uint64_t)size < f->size || size < RECORD_FILE_HEAD) {
		cairn_fail(error, CAIRN_E_CORRUPT,
			   "%s/%s is damaged at offset %llu: it ends there, the MANIFEST says %llu bytes",
			   h->dir, name, (unsigned long long)size,
			   (unsigned long long)(row->size > RECORD_FILE_HEAD ? row->size : RECORD_FILE_HEAD));
		return -EUCLEAN;
	}
	r = folder_read(f, bytes, sizeof(bytes), 0);
	if (r)
		return bitcask_fail(h, error, r, "cannot read %s", name);
	r = record_file_head_get(bytes, &head);
	if (r == -EPROTONOSUPPORT) {
		cairn_fail(error, CAIRN_E_UNSUPPORTED, "%s/%s has a newer format than this release knows",
			   h->dir, name);
		return -EOPNOTSUPP;
	}
	if (r)
		return damaged(h, error, name,
			       "is damaged at offset 0: the checksum of its head does not match");
	if (head.id != row->id || head.epoch != row->epoch)
		return damaged(h, error, name,
			       "is damaged at offset 0: it is not the file that the MANIFEST names");
	f->epoch = head.epoch;
	f->rank = head.rank;
	if (last) {
		h->sequence = head.sequence;
		h->durable = head.sequence - 1;
		keydir_begin(&h->keys);
		r = keydir_publish(&h->keys, head.index, head.term);
	}
	return r ? bitcask_fail(h, error, r, "%s", name) : 0;
}

struct listing {
	struct handle *h;
	uint32_t next_id; /* above every id that was seen */
	bool found;       /* a data file with more than a head */
	bool remove;      /* those that are not open */
};

static int look_at(void *arg, const char *name)
{
	struct listing *l = arg;
	char suffix[8] = "", again[BITCASK_NAME];
	unsigned id;
	int fd;

	if (sscanf(name, "%8x.%7s", &id, suffix) != 2 || (strcmp(suffix, "data") && strcmp(suffix, "hint")))
		return 0;
	folder_name(again, id, suffix);
	if (strcmp(again, name))
		return 0;
	if (id >= l->next_id)
		l->next_id = id + 1;
	if (l->remove) {
		for (uint32_t i = 0; i < l->h->count; i++)
			if (l->h->files[i]->id == id)
				return 0;
		sys->unlinkat(l->h->dir_fd, name, 0);
		return 0;
	}
	fd = suffix[0] == 'd' ? sys->openat(l->h->dir_fd, name, O_RDONLY, 0) : -1;
	if (fd >= 0) {
		l->found = l->found || sys->size(fd) > RECORD_FILE_HEAD;
		sys->close(fd);
	}
	return 0;
}

static int reserve(struct handle *h, uint32_t count)
{
	struct file **more = realloc(h->files, count * sizeof(*more));

	if (!more)
		return -ENOMEM;
	h->files = more;
	h->cap = count;
	return 0;
}

/* There is no MANIFEST: an empty folder gets its first one. */
static int first_manifest(struct handle *h, struct cairn_error *error)
{
	struct listing l = { .h = h };
	struct file *f;
	int r = sys->list(h->dir_fd, look_at, &l);

	if (r)
		return bitcask_fail(h, error, r, "cannot list the folder");
	if (l.found)
		return damaged(h, error, MANIFEST, "is missing, and there are data files");
	h->next_id = l.next_id ? l.next_id : 1;
	h->sequence = 1;
	if ((r = reserve(h, 16)))
		return bitcask_fail(h, error, r, "%s", MANIFEST);
	r = folder_create(h, 1, 1, &f, error);
	if (r)
		return r;
	h->files[0] = f;
	r = folder_commit(h, &f, 1, error);
	h->count = 1;
	return r;
}

struct each {
	void (*fn)(void *arg, uint32_t id);
	void *arg;
};

static int each_name(void *arg, const char *name)
{
	char again[BITCASK_NAME];
	struct each *e = arg;
	unsigned id;

	if (sscanf(name, "%8x", &id) != 1)
		return 0;
	folder_name(again, id, "data");
	if (!strcmp(again, name))
		e->fn(e->arg, id);
	return 0;
}

int folder_each(struct handle *h, void (*fn)(void *arg, uint32_t id), void *arg)
{
	struct each e = { fn, arg };

	return sys->list(h->dir_fd, each_name, &e);
}

int folder_manifest(struct handle *h, struct cairn_slice *bytes, uint32_t *count)
{
	char *data = NULL;
	size_t len = 0;
	int r = file_read(h->dir_fd, MANIFEST, MANIFEST_MAX, &data, &len);

	*bytes = cairn_slice(data, len);
	return r == -EFBIG ? -EINVAL : r ? r : record_manifest_get(*bytes, count, &h->next_id);
}

int folder_open(struct handle *h, struct cairn_error *error)
{
	struct listing l = { .h = h, .remove = true };
	struct cairn_slice bytes = { 0 };
	uint32_t count = 0;
	int r = folder_manifest(h, &bytes, &count);

	if (r == -ENOENT)
		return first_manifest(h, error);
	if (r == -EPROTONOSUPPORT) {
		cairn_fail(error, CAIRN_E_UNSUPPORTED, "%s has a newer format than this release knows",
			   h->dir);
		r = -EOPNOTSUPP;
	} else if (r == -EINVAL) {
		r = damaged(h, error, MANIFEST, "is damaged at offset 0: its checksum does not match");
	} else if (r) {
		bitcask_fail(h, error, r, "cannot read the MANIFEST");
	} else if ((r = reserve(h, count + 16))) {
		bitcask_fail(h, error, r, "%s", MANIFEST);
	}
	for (uint32_t i = 0; r == 0 && i < count; i++) {
		struct record_row row = record_manifest_row(bytes, i);

		r = open_file(h, &row, i + 1 == count, error);
	}
	free((void *)bytes.data);
	if (r)
		return r;
	r = sys->list(h->dir_fd, look_at, &l);
	if (r)
		return bitcask_fail(h, error, r, "cannot list the folder");
	if (l.next_id > h->next_id)
		h->next_id = l.next_id;
	return 0;
}
