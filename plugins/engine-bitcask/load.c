/*
 * The start: what every data file holds is read, by as many threads as there are processors, from its hint
 * where there is one, and from what the data file has behind it. Each file's keys are sorted; then all are
 * merged, and of each key the latest entry goes into the key directory, in order.
 *
 * A sealed file must be whole to its end. Of the active file the end may be torn (format.md): it is cut. A
 * hint is only a shortcut: one that is not right is not used.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "files.h"
#include "handle.h"
#include "keybuild.h"
#include "le.h"
#include "sys.h"
#include "banned.h"

#define THREADS_MAX 8
#define AHEAD 4 /* entries of a file fetched ahead */
#define HINT_MAX ((size_t)4 << 30)

/* A hint that is being made, or was read. */
struct hint {
	unsigned char *data; /* owned: head and entries */
	size_t len, cap;
	struct record_hint_head head; /* how far it goes */
};

/* An entry of a hint. */
struct ref {
	uint64_t head; /* the 8 bytes behind those that all keys share, as a number that orders like them */
	const unsigned char *entry;
};

/* What was found in a file. */
struct loaded {
	struct handle *h;
	struct file *f;
	bool active;
	struct hint hint;
	struct ref *keys; /* owned: its entries in the hint, by key, the latest of each key last */
	size_t at;        /* of the next one to be taken */
	size_t shared;    /* bytes that all its keys begin with */
	uint64_t durable; /* highest that a batch knew of */
	uint64_t cut;     /* bytes behind the last batch that were not whole */
	int r;
	struct cairn_error error;
};

int64_t load_read(void *arg, void *data, size_t len, uint64_t at)
{
	struct file *f = arg;
	size_t done = 0;

	while (done < len) {
		ssize_t n = sys->pread(f->fd, (char *)data + done, len - done, (off_t)(at + done));

		if (n < 0)
			return n;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (int64_t)done;
}

/* ---- Making and reading hints ---- */

static int reserve(struct hint *t, size_t more)
{
	size_t cap = t->cap ? t->cap : 4096;
	unsigned char *p;

	if (t->len + more <= t->cap)
		return 0;
	while (cap < t->len + more)
		cap *= 2;
	p = realloc(t->data, cap);
	if (!p)
		return -ENOMEM;
	t->data = p;
	t->cap = cap;
	return 0;
}

/* Add the entries of a batch, which begin at OFFSET of the file. */
static int add_entries(struct hint *t, struct cairn_slice entries, uint64_t offset)
{
	struct record_entry e;

	while (entries.len) {
		struct record_hint hint;
		int r = record_entry_get(entries, false, &e);

		if (r == 0)
			r = reserve(t, RECORD_HINT_ENTRY + e.key.len);
		if (r)
			return r;
		hint = (struct record_hint){ (uint32_t)offset, e.length, e.kind, e.key };
		t->len = (size_t)(record_hint_put(t->data + t->len, &hint) - t->data);
		t->head.count++;
		offset += e.length;
		entries = cairn_slice((const char *)entries.data + e.length, entries.len - e.length);
	}
	return 0;
}

/* Begin the hint of F with nothing known. */
static int hint_begin(struct hint *t, const struct file *f)
{
	unsigned char bytes[RECORD_FILE_HEAD];
	struct record_file_head head;
	int r = folder_read(f, bytes, sizeof(bytes), 0);

	if (r == 0)
		r = record_file_head_get(bytes, &head) ? -EUCLEAN : 0;
	t->len = 0;
	if (r == 0)
		r = reserve(t, RECORD_HINT_HEAD);
	if (r)
		return r;
	t->len = RECORD_HINT_HEAD;
	t->head = (struct record_hint_head){ .id = f->id,
					     .epoch = f->epoch,
					     .size = RECORD_FILE_HEAD,
					     .sequence = head.sequence,
					     .index = head.index,
					     .term = head.term };
	return 0;
}

/* Read what F has behind the hint: 1 after about MOST bytes; 0 where no batch is whole; -errno. *S is left
 * there. */
static int hint_extend(struct hint *t, struct file *f, uint64_t most, uint64_t *durable,
		       struct record_scan *s)
{
	uint64_t from = t->head.size;
	struct record_batch_head b;
	struct cairn_slice entries;
	int r;

	*s = (struct record_scan){ .source = { load_read, f, f->size },
				   .epoch = f->epoch,
				   .at = t->head.size,
				   .sequence = t->head.sequence };
	while (t->head.size - from < most) {
		r = record_scan_next(s, &b, &entries);
		if (r == 1)
			r = add_entries(t, entries, s->at - entries.len);
		else
			return r;
		if (r)
			return r;
		t->head.size = s->at;
		t->head.sequence = s->sequence;
		t->head.index = b.index;
		t->head.term = b.term;
		if (b.durable > *durable)
			*durable = b.durable;
	}
	return 1;
}

/* Read the hint file of F. Whether there is one that is right. */
static bool hint_read(struct handle *h, const struct file *f, struct hint *t)
{
	char name[BITCASK_NAME], *data;
	size_t len;

	folder_name(name, f->id, "hint");
	if (file_read(h->dir_fd, name, HINT_MAX, &data, &len))
		return false;
	if (!record_hint_get(cairn_slice(data, len), &t->head) || t->head.id != f->id ||
	    t->head.epoch != f->epoch || t->head.size > f->size) {
		free(data);
		return false;
	}
	t->data = (unsigned char *)data;
	t->len = t->cap = len;
	return true;
}

/* The hint of F is not right: it goes before F grows, or it would look right when F is as long again. */
static int hint_remove(struct handle *h, const struct file *f)
{
	char name[BITCASK_NAME];
	int r;

	folder_name(name, f->id, "hint");
	r = sys->unlinkat(h->dir_fd, name, 0);
	if (r)
		return r == -ENOENT ? 0 : r;
	return sys->fsync(h->dir_fd);
}

struct hinting {
	struct file *f;
	struct hint hint;
};

void load_hint_drop(struct handle *h)
{
	if (h->hinting)
		free(h->hinting->hint.data);
	free(h->hinting);
	h->hinting = NULL;
}

static void hint_write(struct handle *h, struct hint *t)
{
	struct file to = { .fd = -1 };
	char name[BITCASK_NAME];

	folder_name(name, t->head.id, "hint");
	to.fd = sys->openat(h->dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (to.fd < 0)
		return;
	record_hint_seal(t->data, t->len, &t->head);
	if (folder_write(&to, t->data, t->len, 0))
		sys->unlinkat(h->dir_fd, name, 0);
	sys->close(to.fd);
}

bool load_hint_step(struct handle *h, struct file *f, uint64_t most)
{
	struct record_scan s = { 0 };
	uint64_t durable = 0;
	struct hinting *w;
	int r = 0;

	if (h->hinting && h->hinting->f != f)
		load_hint_drop(h);
	if (!h->hinting) {
		w = h->hinting = calloc(1, sizeof(*w));
		r = w ? hint_begin(&w->hint, f) : -ENOMEM;
		if (w)
			w->f = f;
	}
	if (r == 0)
		r = hint_extend(&h->hinting->hint, f, most, &durable, &s);
	record_scan_end(&s);
	if (r == 1)
		return true;
	if (r == 0 && h->hinting->hint.head.size == f->size)
		hint_write(h, &h->hinting->hint);
	f->hinted = true; /* also where it failed: it is not tried again */
	load_hint_drop(h);
	return false;
}

/* ---- One file ---- */

static struct record_hint entry_at(const unsigned char *p)
{
	struct cairn_slice rest = cairn_slice(p, SIZE_MAX);
	struct record_hint e = { 0 };

	record_hint_next(&rest, &e);
	return e;
}

static int by_key(const void *a, const void *b)
{
	const struct ref *p = a, *q = b;
	int c;

	if (p->head != q->head)
		return p->head < q->head ? -1 : 1;
	c = cairn_slice_cmp(entry_at(p->entry).key, entry_at(q->entry).key);
	return c ? c : (p->entry > q->entry) - (p->entry < q->entry);
}

static size_t shared(struct cairn_slice a, struct cairn_slice b, size_t most)
{
	const unsigned char *p = a.data, *q = b.data;
	size_t n = a.len < b.len ? a.len : b.len, i = 0;

	n = n < most ? n : most;
	while (i < n && p[i] == q[i])
		i++;
	return i;
}

/* List the entries, in the order of the hint. */
static int list_keys(struct loaded *l)
{
	struct cairn_slice rest = cairn_slice(l->hint.data + RECORD_HINT_HEAD,
					      l->hint.len - RECORD_HINT_HEAD),
			   first = { 0 };
	const unsigned char *p = rest.data;
	struct record_hint e;
	size_t n = 0;

	l->keys = malloc((l->hint.head.count + (size_t)1) * sizeof(*l->keys));
	if (!l->keys)
		return -ENOMEM;
	for (; record_hint_next(&rest, &e); p = rest.data) {
		if (n == 0)
			first = e.key;
		l->shared = n ? shared(first, e.key, l->shared) : e.key.len;
		l->keys[n++].entry = p;
		if (e.kind == RECORD_DELETE) {
			l->f->deletes++;
			l->f->delete_bytes += e.length;
		} else {
			l->f->puts++;
		}
	}
	return 0;
}

/* Put the entries in the order of their keys, all of which begin with l->shared bytes that are the same. */
static void sort_keys(struct loaded *l)
{
	size_t count = l->hint.head.count;
	bool sorted = true;

	for (size_t i = 0; i < count; i++) {
		struct cairn_slice key = entry_at(l->keys[i].entry).key;
		unsigned char head[8] = { 0 };

		memcpy(head, (const char *)key.data + l->shared,
		       key.len - l->shared < 8 ? key.len - l->shared : 8);
		l->keys[i].head = be64_get(head);
		sorted = sorted && (i == 0 || by_key(&l->keys[i - 1], &l->keys[i]) < 0);
	}
	if (!sorted)
		qsort(l->keys, count, sizeof(*l->keys), by_key);
}

/* Nothing whole is at S->at although the file goes on: damage, or the torn end of the active file. */
static int not_whole(struct loaded *l, struct record_scan *s)
{
	char name[BITCASK_NAME];
	uint64_t where = 0;
	int r = l->active ? record_scan_proof(s, &where) : 1;

	folder_name(name, l->f->id, "data");
	if (r < 0)
		return r;
	l->cut = l->f->size - s->at;
	if (r == 0)
		return 0;
	cairn_fail(&l->error, CAIRN_E_CORRUPT, "%s/%s is damaged at offset %llu: no whole batch begins there",
		   l->h->dir, name, (unsigned long long)s->at);
	if (where)
		cairn_hint(&l->error, "the batch at %llu was written when it was known to be on disk",
			   (unsigned long long)where);
	return -EUCLEAN;
}

static void load_one(struct loaded *l)
{
	struct record_scan s = { 0 };
	bool hinted = hint_read(l->h, l->f, &l->hint);

	l->r = hinted || !l->active ? 0 : hint_remove(l->h, l->f);
	if (l->r == 0 && !hinted)
		l->r = hint_begin(&l->hint, l->f);
	l->f->hinted = hinted && l->hint.head.size == l->f->size;
	if (l->r == 0)
		l->r = hint_extend(&l->hint, l->f, UINT64_MAX, &l->durable, &s);
	if (l->r == 0 && l->hint.head.size < l->f->size)
		l->r = not_whole(l, &s);
	record_scan_end(&s);
	if (l->r == 0)
		l->r = list_keys(l);
}

/* ---- All files ---- */

struct work {
	void (*fn)(struct loaded *l);
	struct loaded *files;
	uint32_t count;
	_Atomic uint32_t next;
};

static void *load_some(void *arg)
{
	struct work *w = arg;
	uint32_t i;

	while ((i = atomic_fetch_add(&w->next, 1)) < w->count)
		w->fn(&w->files[i]);
	return NULL;
}

/* Do FN to all files, in several threads. */
static void for_all(void (*fn)(struct loaded *l), struct loaded *files, uint32_t count)
{
	struct work w = { .fn = fn, .files = files, .count = count };
	long wanted = sysconf(_SC_NPROCESSORS_ONLN);
	pthread_t threads[THREADS_MAX];
	int n = 0;

	wanted = wanted > THREADS_MAX ? THREADS_MAX : wanted;
	while (n + 1 < wanted && (uint32_t)n + 1 < count && !pthread_create(&threads[n], NULL, load_some, &w))
		n++;
	load_some(&w);
	while (n)
		pthread_join(threads[--n], NULL);
}

/* Heap of files, by their next key; with equal keys the later file is above. */
struct heap {
	struct loaded **files;
	uint32_t count;
};

static struct record_hint next_of(const struct loaded *l)
{
	return entry_at(l->keys[l->at].entry);
}

static bool above(const struct loaded *a, const struct loaded *b)
{
	uint64_t p = a->keys[a->at].head, q = b->keys[b->at].head;
	int c = p == q ? cairn_slice_cmp(next_of(a).key, next_of(b).key) : p < q ? -1 : 1;

	return c ? c < 0 : a > b;
}

static void sink(struct heap *heap, uint32_t i)
{
	for (;;) {
		uint32_t child = 2 * i + 1;
		struct loaded *l = heap->files[i];

		if (child >= heap->count)
			return;
		if (child + 1 < heap->count && above(heap->files[child + 1], heap->files[child]))
			child++;
		if (!above(heap->files[child], l))
			return;
		heap->files[i] = heap->files[child];
		heap->files[child] = l;
		i = child;
	}
}

/* Whether the entry AT of L has the same key as E, whose head is HEAD. */
static bool same_key(const struct loaded *l, size_t at, uint64_t head, const struct record_hint *e)
{
	return at < l->hint.head.count && l->keys[at].head == head &&
		cairn_slice_eq(entry_at(l->keys[at].entry).key, e->key);
}

/* Go past all entries with the key of E that are next in the uppermost file. */
static void pass(struct heap *heap, uint64_t head, const struct record_hint *e)
{
	struct loaded *l = heap->files[0];

	while (same_key(l, l->at, head, e))
		l->at++;
	if (l->at + AHEAD < l->hint.head.count) /* entries lie in memory in another order than their keys */
		__builtin_prefetch(l->keys[l->at + AHEAD].entry);
	if (l->at == l->hint.head.count)
		heap->files[0] = heap->files[--heap->count];
	sink(heap, 0);
}

/* Put the latest entry of each key into the key directory. */
static int merge(struct keybuild *b, struct heap *heap)
{
	for (uint32_t i = heap->count; i-- > 0;)
		sink(heap, i);
	while (heap->count) {
		struct loaded *l = heap->files[0];
		struct record_hint e = next_of(l);
		uint64_t head = l->keys[l->at].head;
		int r = 0;

		while (same_key(l, l->at + 1, head, &e))
			e = entry_at(l->keys[++l->at].entry);
		if (e.kind == RECORD_PUT) {
			struct keydir_place place = { e.offset, e.length, l->f->slot };

			r = keybuild_add(b, e.key, place);
			l->f->live += e.length;
			l->f->live_puts++;
		}
		if (r < 0)
			return r;
		while (heap->count && same_key(heap->files[0], heap->files[0]->at, head, &e))
			pass(heap, head, &e);
	}
	return 0;
}

/* What the keys of all files share. */
static void share(struct loaded **files, uint32_t count)
{
	size_t all = count ? files[0]->shared : 0;

	for (uint32_t i = 0; i < count; i++)
		all = shared(next_of(files[0]).key, next_of(files[i]).key,
			     all < files[i]->shared ? all : files[i]->shared);
	for (uint32_t i = 0; i < count; i++)
		files[i]->shared = all;
}

static int fill(struct handle *h, struct loaded *files)
{
	struct loaded *last = &files[h->count - 1];
	struct heap heap = { .files = calloc(h->count, sizeof(*heap.files)) };
	struct keybuild *b;
	int r;

	if (!heap.files)
		return -ENOMEM;
	for (uint32_t i = 0; i < h->count; i++)
		if (files[i].hint.head.count)
			heap.files[heap.count++] = &files[i];
	share(heap.files, heap.count);
	for_all(sort_keys, files, h->count);
	keydir_begin(&h->keys);
	b = keybuild_new(&h->keys);
	r = b ? merge(b, &heap) : -ENOMEM;
	if (b && keybuild_end(b, r == 0))
		r = -ENOMEM;
	free(heap.files);
	if (r)
		return r;
	return keydir_publish(&h->keys, last->hint.head.index, last->hint.head.term);
}

/* Cut the torn end of the active file, and say so. */
static int cut(struct handle *h, struct loaded *l, struct cairn_error *error)
{
	struct cairn_error notice = { 0 };
	char name[BITCASK_NAME];
	int r;

	l->f->size = l->hint.head.size;
	l->f->hinted = false;
	folder_name(name, l->f->id, "data");
	r = sys->ftruncate(l->f->fd, (off_t)l->f->size);
	if (r == 0)
		r = sys->fdatasync(l->f->fd);
	if (r)
		return bitcask_fail(h, error, r, "cannot cut the torn end of %s", name);
	cairn_fail(&notice, CAIRN_OK,
		   "%s/%s: its end was torn off by a crash: cut at offset %llu, %llu bytes dropped", h->dir,
		   name, (unsigned long long)l->f->size, (unsigned long long)l->cut);
	bitcask_keep_notice(h, &notice);
	return 0;
}

int load_all(struct handle *h, struct cairn_error *error)
{
	struct loaded *files = calloc(h->count, sizeof(*files)), *last;
	int r = 0;

	if (!files)
		return bitcask_fail(h, error, -ENOMEM, "cannot be read");
	for (uint32_t i = 0; i < h->count; i++)
		files[i] = (struct loaded){ .h = h, .f = h->files[i], .active = i + 1 == h->count };
	for_all(load_one, files, h->count);
	last = &files[h->count - 1];
	for (uint32_t i = 0; r == 0 && i < h->count; i++)
		if ((r = files[i].r)) {
			bitcask_fail(h, error, r, "cannot read %08x.data", h->files[i]->id);
			if (files[i].error.code && error)
				*error = files[i].error;
		}
	if (r == 0 && last->cut)
		r = cut(h, last, error);
	if (r == 0 && (r = fill(h, files)))
		bitcask_fail(h, error, r, "cannot be read");
	h->sequence = last->hint.head.sequence;
	if (last->durable > h->durable)
		h->durable = last->durable;
	for (uint32_t i = 0; i < h->count; i++) {
		free(files[i].keys);
		free(files[i].hint.data);
	}
	free(files);
	malloc_trim(0); /* as much as the key directory takes, or more */
	return r;
}
