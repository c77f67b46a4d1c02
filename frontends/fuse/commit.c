/*
 * The way of a file's bytes from and to the store. A value is fetched whole, of one revision, at most 1 MiB a
 * question. A commit is one transaction with value and attributes; what is longer than INLINE_MAX is staged
 * before it. A new file is put only where its folder is still there and the name can be used; a file that was
 * overwritten from the start replaces whatever stands there; anything else must meet the revision that it was
 * made on, and is made again on the newer value where it does not, TRIES times. Failures come back as the
 * errno for the caller of close, fsync or write.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include "clock.h"
#include "mount.h"
#include "banned.h"

#define PIECE (128u << 10) /* bytes of a staged piece */
#define PATCH_FROM 4096    /* shorter values are always sent whole, */
#define PATCH_EXTENTS 512  /* and those that were changed in more places */
#define WINDOW 8           /* pieces under way */

/* Bytes of N's content as the mount's budget counts them. */
static void account(struct mount *m, size_t before, const struct node *n)
{
	m->buffered += n->content.cap - before;
}

/* Whether N may grow to SIZE bytes. 0 or an errno. */
static int fits(const struct mount *m, const struct node *n, size_t size)
{
	if (size > m->options.limit_mib << 20)
		return EFBIG;
	if (size > n->content.cap && m->buffered + (size - n->content.cap) > m->options.dirty_mib << 20)
		return ENOSPC;
	return 0;
}

int change_write(struct mount *m, struct node *n, size_t offset, struct cairn_slice data)
{
	size_t before = n->content.cap;
	int r = fits(m, n, offset + data.len);

	if (!r)
		r = -content_write(&n->content, offset, data);
	account(m, before, n);
	node_mark(&m->nodes, n, n->content.dirty);
	return r;
}

int change_size(struct mount *m, struct node *n, size_t size)
{
	size_t before = n->content.cap;
	int r = fits(m, n, size);

	if (!r)
		r = -content_truncate(&n->content, size);
	account(m, before, n);
	node_mark(&m->nodes, n, n->content.dirty);
	return r;
}

int adopt(struct mount *m, struct node *n, struct content *c)
{
	if (m->buffered + c->cap > (m->options.dirty_mib << 20) + n->content.cap)
		return ENOMEM;
	m->buffered += c->cap - n->content.cap;
	content_free(&n->content);
	n->content = *c;
	*c = (struct content){ 0 };
	content_clean(&n->content);
	n->loaded = true;
	return 0;
}

void unload(struct mount *m, struct node *n)
{
	m->buffered -= n->content.cap;
	content_free(&n->content);
	n->loaded = false;
	node_mark(&m->nodes, n, false);
}

uint64_t now_ns(uint64_t after)
{
	uint64_t now = clock_wall_ns();

	return now > after ? now : after + 1;
}

void touch(struct node *n)
{
	n->facts.mtime_ns = n->facts.ctime_ns = now_ns(n->facts.mtime_ns);
	n->facts.has &= ~(unsigned)FACTS_ATIME;
}

struct page {
	struct content *c;
	uint64_t revision, size;
};

static bool take_page(void *out, struct cairn_slice fields)
{
	struct page *p = out;
	struct cairn_slice value;

	p->revision = cairn_field_u64(fields, CAIRN_F_REVISION, 0);
	p->size = cairn_field_u64(fields, CAIRN_F_SIZE, 0);
	return !cairn_field_find(fields, CAIRN_F_VALUE, &value) || content_load(p->c, value) == 0;
}

int fetch(struct task *t, const struct node *n, struct content *c, uint64_t *revision)
{
	struct page page = { .c = c };
	enum cairn_code code;
	MSG msg = { 0 };
	struct key key;
	int r;

	for (int i = 0; i < TRIES; i++) {
		content_set(c, cairn_slice("", 0));
		page.revision = 0;
		do {
			r = node_key(n, t->m->options.prefix, &key);
			if (r < 0)
				return -r;
			msg_begin(t->m, &msg, CAIRN_OP_GET);
			cairn_msg_bytes(&msg, CAIRN_F_KEY, key_slice(&key));
			if (page.revision) {
				cairn_msg_u64(&msg, CAIRN_F_REVISION, page.revision);
				cairn_msg_u64(&msg, CAIRN_F_OFFSET, c->len);
				cairn_msg_u64(&msg, CAIRN_F_LENGTH, CAIRN_PAYLOAD_MAX);
			}
			code = ask(t, &msg, take_page, &page);
			if (!code && page.size > t->m->options.limit_mib << 20)
				return EFBIG;
		} while (!code && c->len < page.size);
		*revision = page.revision;
		if (code != CAIRN_E_CONFLICT)
			return code == CAIRN_E_NOT_FOUND ? ESTALE : ask_errno(code);
	}
	return EIO;
}

int load(struct task *t, struct node *n)
{
	struct content c = { 0 };
	uint64_t revision = 0;
	int r;

	if (n->loaded)
		return 0;
	r = fetch(t, n, &c, &revision);
	if (!r && !n->loaded) {
		r = adopt(t->m, n, &c);
		if (!r) /* where it is a newer value, the next look brings its other facts */
			n->facts.size = n->content.len;
	}
	content_free(&c);
	return r;
}

int stage(struct task *t, struct cairn_slice data, unsigned char id[16])
{
	struct ask asks[WINDOW] = { 0 };
	uint64_t index = 0;
	MSG msg = { 0 };

	if (getrandom(id, 16, 0) != 16)
		return EIO;
	while (data.len > 0) {
		int n = 0;

		for (; n < WINDOW && data.len > 0; n++) {
			size_t len = data.len < PIECE ? data.len : PIECE;

			msg_begin(t->m, &msg, CAIRN_OP_STAGE);
			cairn_msg_bytes(&msg, CAIRN_F_UPLOAD, cairn_slice(id, 16));
			cairn_msg_u64(&msg, CAIRN_F_INDEX, index++);
			cairn_msg_bytes(&msg, CAIRN_F_VALUE, cairn_slice(data.data, len));
			ask_send(t, &asks[n], &msg, NULL, NULL);
			data = cairn_slice((const char *)data.data + len, data.len - len);
		}
		ask_wait(t);
		for (int i = 0; i < n; i++)
			if (asks[i].code)
				return ask_errno(asks[i].code);
	}
	return 0;
}

/* What was staged under ID is not needed. */
static void unstage(struct task *t, const unsigned char id[16])
{
	MSG msg = { 0 };

	msg_begin(t->m, &msg, CAIRN_OP_UNSTAGE);
	cairn_msg_bytes(&msg, CAIRN_F_UPLOAD, cairn_slice(id, 16));
	ask(t, &msg, NULL, NULL);
}

/* A value on its way: in the message, or staged under an id. */
struct bytes {
	struct cairn_slice value;
	bool staged;
	unsigned char id[16];
};

static void then_value(struct cairn_msg *msg, const struct bytes *b)
{
	if (b->staged) {
		cairn_msg_bytes(msg, CAIRN_F_UPLOAD, cairn_slice(b->id, 16));
		cairn_msg_u64(msg, CAIRN_F_SIZE, b->value.len);
	} else {
		cairn_msg_bytes(msg, CAIRN_F_VALUE, b->value);
	}
}

static int bytes_stage(struct task *t, struct bytes *b, struct cairn_slice value)
{
	*b = (struct bytes){ .value = value, .staged = value.len > INLINE_MAX };
	return b->staged ? stage(t, value, b->id) : 0;
}

/* The guards of a put of N. 0 or -errno. */
static int guards(struct mount *m, struct cairn_msg *msg, const struct node *n, struct key *key)
{
	int r;

	if (n->facts.file_id && n->content.whole) {
		guard_file(msg, key_slice(key), n->facts.file_id);
		return 0;
	}
	if (n->facts.file_id) {
		guard_revision(msg, key_slice(key), n->facts.revision);
		return 0;
	}
	if (!n->content.whole)
		guard_exists(msg, key_slice(key), false);
	r = guard_parent(m, msg, n->parent);
	if (r < 0 || n->self || key->len == NODE_KEY_MAX)
		return r;
	key->bytes[key->len++] = '/';
	guard_empty(msg, key_slice(key), true);
	guard_exists(msg, key_slice(key), false);
	key->len--;
	return 0;
}

/* What of N's content is sent: all of it, or only what was changed. */
struct plan {
	bool patch;
	size_t staged; /* PATCH: the extent that is staged; COUNT: none */
	struct bytes bytes;
};

/*
 * Whether N's changes are worth a patch. What goes into the message is bounded, but for one extent, which may
 * be staged.
 */
static bool is_patch(const struct node *n, struct plan *p)
{
	const struct content *c = &n->content;
	size_t total = 0, largest = 0;

	p->staged = c->count;
	if (!n->facts.file_id || c->whole || c->len <= PATCH_FROM || c->count > PATCH_EXTENTS)
		return false;
	for (size_t i = 0; i < c->count; i++) {
		size_t len = c->extents[i].to - c->extents[i].from;

		total += len;
		if (len > largest) {
			largest = len;
			p->staged = i;
		}
	}
	if (total <= INLINE_MAX)
		p->staged = c->count;
	else if (total - largest > INLINE_MAX)
		return false;
	return total <= c->len / 2;
}

static struct cairn_slice extent_bytes(const struct content *c, size_t i)
{
	return cairn_slice(c->data + c->extents[i].from, c->extents[i].to - c->extents[i].from);
}

static int plan_make(struct task *t, const struct node *n, struct plan *p)
{
	const struct content *c = &n->content;

	p->patch = is_patch(n, p);
	if (!p->patch)
		return bytes_stage(t, &p->bytes, cairn_slice(c->data, c->len));
	p->bytes = (struct bytes){ 0 };
	return p->staged < c->count ? bytes_stage(t, &p->bytes, extent_bytes(c, p->staged)) : 0;
}

static void zeros(struct cairn_msg *msg, size_t from, size_t to)
{
	size_t mark;

	if (from >= to)
		return;
	mark = cairn_msg_open(msg, CAIRN_F_EXTENT);
	cairn_msg_u64(msg, CAIRN_F_OFFSET, from);
	cairn_msg_u64(msg, CAIRN_F_LENGTH, to - from);
	cairn_msg_close(msg, mark);
}

/* The extents of N, and zeros where its value went on before it was cut. */
static void then_extents(struct cairn_msg *msg, const struct node *n, const struct plan *p)
{
	const struct content *c = &n->content;
	size_t end = n->facts.size < c->len ? n->facts.size : c->len, at = c->kept < end ? c->kept : end;

	for (size_t i = 0; i < c->count; i++) {
		size_t mark;

		if (c->extents[i].from > at)
			zeros(msg, at, c->extents[i].from < end ? c->extents[i].from : end);
		at = c->extents[i].to > at ? c->extents[i].to : at;
		mark = cairn_msg_open(msg, CAIRN_F_EXTENT);
		cairn_msg_u64(msg, CAIRN_F_OFFSET, c->extents[i].from);
		if (i != p->staged || !p->bytes.staged)
			cairn_msg_bytes(msg, CAIRN_F_VALUE, extent_bytes(c, i));
		cairn_msg_close(msg, mark);
	}
	zeros(msg, at, end);
	if (p->bytes.staged)
		cairn_msg_bytes(msg, CAIRN_F_UPLOAD, cairn_slice(p->bytes.id, 16));
	cairn_msg_u64(msg, CAIRN_F_SIZE, c->len);
}

/* Send N as P says. */
static enum cairn_code put(struct task *t, struct node *n, const struct plan *p, struct outcome *o, int *err)
{
	struct mount *m = t->m;
	MSG msg = { 0 };
	struct key key;
	size_t op;

	*err = node_key(n, m->options.prefix, &key);
	msg_begin(m, &msg, CAIRN_OP_TXN);
	if (*err == 0)
		*err = guards(m, &msg, n, &key);
	if (*err < 0)
		return CAIRN_E_INTERNAL;
	facts_own(&n->facts, &m->options);
	op = cairn_msg_open_op(&msg, CAIRN_F_THEN, p->patch ? CAIRN_OP_PATCH : CAIRN_OP_PUT);
	cairn_msg_bytes(&msg, CAIRN_F_KEY, key_slice(&key));
	if (p->patch) {
		then_extents(&msg, n, p);
	} else {
		then_value(&msg, &p->bytes);
		cairn_msg_kind(&msg, CAIRN_F_KIND, CAIRN_KIND_VALUE);
	}
	facts_attributes(&n->facts, FACTS_ALL | (n->facts.has & FACTS_ATIME), &msg);
	cairn_msg_close(&msg, op);
	return txn(t, &msg, o);
}

/* Make N's changes on the newest value instead. 0 or an errno. */
static int rebase(struct task *t, struct node *n)
{
	size_t before = n->content.cap;
	struct content newest = { 0 };
	uint64_t revision = 0;
	int r = fetch(t, n, &newest, &revision);

	if (!r)
		r = -content_rebase(&n->content, cairn_slice(newest.data, newest.len));
	if (!r) {
		n->facts.revision = revision;
		n->facts.size = newest.len;
	}
	account(t->m, before, n);
	n->cached = 0;
	content_free(&newest);
	return r;
}

/* A put of N met something else than it expected. 0: try again, or an errno. */
static int meet(struct task *t, struct node *n)
{
	FOUND f = { 0 };
	int r;

	if (!n->parent)
		return ESTALE;
	r = look(t, n->parent, node_part(n), n->self, &f);
	if (r)
		return r;
	if (f.folder.there || (f.value.there && f.value.kind != CAIRN_KIND_VALUE))
		return f.folder.there ? EISDIR : ESTALE;
	if (!f.value.there) {
		if (n->facts.file_id && !n->content.whole)
			return ESTALE; /* what it changes is gone */
		if (!n->facts.file_id) {
			r = refresh_now(t, n->parent);
			return r == ESTALE ? ENOENT : r;
		}
		n->facts.file_id = 0; /* a new file, then */
		return 0;
	}
	if (n->facts.file_id && n->facts.file_id != f.value.file_id && !n->content.whole)
		return ESTALE;
	r = n->content.whole ? 0 : rebase(t, n);
	if (!r)
		n->facts.file_id = f.value.file_id;
	return r;
}

/* One try; nobody changes the content of N meanwhile. EAGAIN: the value has changed. */
static int commit_once(struct task *t, struct node *n)
{
	bool fresh = !n->facts.file_id, known = fresh || node_known(t->m, n);
	uint64_t as_of = t->m->cache.sequence;
	size_t len = n->content.len;
	struct outcome o = { 0 };
	struct plan p;
	enum cairn_code code = CAIRN_OK;
	int err = 0, r = plan_make(t, n, &p);

	if (!r) {
		code = put(t, n, &p, &o, &err);
		r = err < 0 ? -err : code == CAIRN_E_CONFLICT ? EAGAIN : ask_errno(code);
	}
	if (r && p.bytes.staged && r != EIO)
		unstage(t, p.bytes.id);
	if (r)
		return r;
	n->facts.there = true;
	n->unwritten = false;
	n->facts.revision = o.revision;
	n->facts.file_id = o.file_id;
	n->facts.size = len;
	n->same_from = o.revision;
	n->cached = n->cached ? o.revision : 0;
	content_clean(&n->content);
	node_mark(&t->m->nodes, n, n->content.dirty);
	if (known)
		cache_know(t->m, n, as_of);
	if (fresh && n->parent)
		cache_folder_changed(t->m, n->parent, false);
	return 0;
}

int commit(struct task *t, struct node *n)
{
	int r = EAGAIN;

	if (!n->content.dirty)
		return 0;
	if (!n->parent && n->removed) { /* nobody will ever see it */
		content_clean(&n->content);
		node_mark(&t->m->nodes, n, false);
		return 0;
	}
	n->busy = true;
	for (int i = 0; i < TRIES && r == EAGAIN; i++) {
		r = commit_once(t, n);
		if (r == EAGAIN) {
			int met = meet(t, n);

			r = met ? met : EAGAIN;
		}
	}
	n->busy = false;
	if (r == EAGAIN)
		r = n->facts.file_id ? EIO : ENOENT;
	return r;
}

/* Run MSG, a change of the file N by an operation of the server, which tells the new size. 0 or an errno. */
static int change(struct task *t, struct node *n, struct cairn_msg *msg, struct outcome *o)
{
	enum cairn_code code;

	n->busy = true;
	code = txn(t, msg, o);
	n->busy = false;
	if (code == CAIRN_E_CONFLICT)
		return ESTALE; /* the file is gone */
	if (code)
		return ask_errno(code);
	n->facts.revision = o->revision;
	n->facts.size = o->size;
	n->unwritten = false;
	return 0;
}

/* Begin a transaction on the file N that is there still, with OP on its key. Close *MARK. 0 or an errno. */
static int begin_change(struct task *t, struct node *n, unsigned op, struct cairn_msg *msg, size_t *mark)
{
	struct key key;
	int r = node_key(n, t->m->options.prefix, &key);

	if (r < 0)
		return -r;
	msg_begin(t->m, msg, CAIRN_OP_TXN);
	guard_file(msg, key_slice(&key), n->facts.file_id);
	*mark = cairn_msg_open_op(msg, CAIRN_F_THEN, op);
	cairn_msg_bytes(msg, CAIRN_F_KEY, key_slice(&key));
	touch(n);
	facts_attributes(&n->facts, FACTS_MTIME | FACTS_CTIME, msg);
	n->facts.has |= FACTS_MTIME | FACTS_CTIME;
	return 0;
}

int append(struct task *t, struct node *n, struct cairn_slice data)
{
	size_t before = n->content.cap, mark;
	struct outcome o;
	struct bytes b;
	MSG msg = { 0 };
	int r;

	if (!n->parent && n->removed) /* unlinked here: its bytes are nobody's but its openers' */
		return !n->loaded ? 0 : change_write(t->m, n, n->content.len, data);
	r = bytes_stage(t, &b, data);
	if (!r)
		r = begin_change(t, n, CAIRN_OP_APPEND, &msg, &mark);
	if (r)
		return r;
	then_value(&msg, &b);
	cairn_msg_close(&msg, mark);
	r = change(t, n, &msg, &o);
	if (r || !n->loaded)
		return r;
	if (o.size == n->content.len + data.len && !n->content.dirty) {
		r = content_load(&n->content, data) < 0 ? ENOMEM : 0;
		account(t->m, before, n);
	} else if (!n->content.dirty) { /* others appended, too */
		unload(t->m, n);
		r = load(t, n);
	}
	return r;
}

int resize(struct task *t, struct node *n, size_t size)
{
	struct outcome o;
	MSG msg = { 0 };
	size_t mark;
	int r = begin_change(t, n, CAIRN_OP_PATCH, &msg, &mark);

	if (r)
		return r;
	cairn_msg_u64(&msg, CAIRN_F_SIZE, size);
	cairn_msg_close(&msg, mark);
	r = change(t, n, &msg, &o);
	if (!r)
		n->facts.size = size;
	return r;
}
