/*
 * Making, changing and removing single files. Everything new is put only where nothing is, so that O_EXCL,
 * mkdir and symlink have one winner in the whole cluster; the folder above must be the one that the caller
 * saw. When such a guard fails, one more look says which errno that is.
 */
#include <errno.h>
#include <stdlib.h>
#include "clock.h"
#include "mount.h"
#include "banned.h"

void facts_new(struct task *t, unsigned kind, struct facts *f)
{
	struct facts parent = t->node->facts;

	facts_own(&parent, &t->m->options);
	*f = (struct facts){
		.there = true,
		.kind = kind,
		.has = FACTS_ALL,
		.mode = (kind == CAIRN_KIND_SYMLINK ? 0777 : t->mode) & 07777,
		.uid = t->uid,
		.gid = t->gid,
	};
	if (parent.mode & S_ISGID) {
		f->gid = parent.gid;
		if (kind == CAIRN_KIND_DIRECTORY)
			f->mode |= S_ISGID;
	}
	f->mtime_ns = f->ctime_ns = f->time_ns = now_ns(0);
}

/* The transaction that puts F and VALUE at PART in PARENT. 0 or -errno. */
static int make_message(struct mount *m, struct cairn_msg *msg, const struct node *parent,
			struct cairn_slice part, const struct facts *f, struct cairn_slice value, bool open)
{
	struct key key;
	size_t op;
	int r = node_key_in(parent, m->options.prefix, part, false, true, &key);

	if (r < 0)
		return r;
	msg_begin(m, msg, CAIRN_OP_TXN);
	guard_empty(msg, key_slice(&key), true);
	guard_exists(msg, key_slice(&key), false);
	r = guard_parent(m, msg, parent);
	if (r < 0)
		return r;
	if (f->kind == CAIRN_KIND_DIRECTORY) {
		then_put_marker(msg, key_slice(&key), f);
		return 0;
	}
	key.len--;
	if (key.len == 0)
		return -EINVAL; /* the empty part in the root: there is no such key */
	guard_exists(msg, key_slice(&key), false);
	op = cairn_msg_open_op(msg, CAIRN_F_THEN, CAIRN_OP_PUT);
	cairn_msg_bytes(msg, CAIRN_F_KEY, key_slice(&key));
	cairn_msg_bytes(msg, CAIRN_F_VALUE, value);
	cairn_msg_kind(msg, CAIRN_F_KIND, f->kind);
	if (open)
		cairn_msg_bool(msg, CAIRN_F_OPEN, true);
	facts_attributes(f, FACTS_ALL, msg);
	cairn_msg_close(msg, op);
	return 0;
}

/* Why nothing could be made at PART. EAGAIN: the reason is gone, or the folder is another kind of folder now.
 */
static int explain(struct task *t, struct cairn_slice part)
{
	FOUND f = { 0 };
	int r = look(t, t->node, part, false, &f);

	if (r)
		return r;
	if (f.value.there || f.folder.there)
		return EEXIST;
	r = refresh_now(t, t->node);
	return r == ESTALE ? ENOENT : r ? r : EAGAIN;
}

/* The node for what was made. */
static int made(struct task *t, struct cairn_slice part, struct facts *f, const struct outcome *o,
		uint64_t as_of, struct node **out)
{
	struct nodes *nodes = &t->m->nodes;
	struct node *n = node_find(nodes, t->node, part, false);

	if (n && n->facts.file_id != o->file_id) {
		node_detach(nodes, n, false);
		n = NULL;
	}
	if (!n) {
		n = node_add(nodes, t->node, part, false);
		if (!n)
			return ENOMEM;
		f->revision = o->revision;
		f->file_id = o->file_id;
		facts_move(&n->facts, f);
		n->same_from = o->revision;
		n->ino = o->file_id;
		if (!node_is_folder(n)) /* the time of its newest name is the server's */
			cache_know(t->m, n, as_of);
		task_hold(t, n);
		node_drop(nodes, n);
	}
	cache_name_changed(t, t->node, part, false);
	*out = task_hold(t, n);
	return 0;
}

int make(struct task *t, struct facts *f, struct cairn_slice value, bool open, struct node **out)
{
	struct cairn_slice part;
	struct outcome o = { 0 };
	enum cairn_code code = CAIRN_OK;
	uint64_t as_of;
	MSG msg = { 0 };
	bool self;
	int r = part_of(t, t->node, &t->part, true, &part, &self);

	f->size = value.len;
	if (!r && self)
		r = EPERM;
	for (int i = 0; i < 3 && (!r || r == EAGAIN); i++) {
		r = -make_message(t->m, &msg, t->node, part, f, value, open);
		if (r)
			break;
		as_of = t->m->cache.sequence;
		code = txn(t, &msg, &o);
		r = code == CAIRN_E_CONFLICT ? explain(t, part) : ask_errno(code);
		if (!r)
			return made(t, part, f, &o, as_of, out);
	}
	return r == EAGAIN ? ENOENT : r;
}

/* Make something, and tell the kernel of its node. */
static void make_and_tell(struct task *t, unsigned kind, struct cairn_slice value, dev_t rdev)
{
	struct facts f;
	struct node *n;
	int r;

	facts_new(t, kind, &f);
	f.rdev = rdev;
	r = make(t, &f, value, false, &n);
	facts_free(&f);
	if (r)
		task_error(t, r);
	else
		task_entry(t, n);
}

static void do_mknod(struct task *t)
{
	make_and_tell(t, (unsigned)facts_kind(t->mode), cairn_slice("", 0), (dev_t)t->size);
}

void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct task *t = task_new(req, parent);

	if (!t || !task_name(t, name))
		return;
	t->size = S_ISCHR(mode) || S_ISBLK(mode) ? rdev : 0;
	t->mode = mode & S_IFMT ? mode : mode | S_IFREG;
	task_start(t, do_mknod);
}

static void do_mkdir(struct task *t)
{
	make_and_tell(t, CAIRN_KIND_DIRECTORY, cairn_slice("", 0), 0);
}

void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct task *t = task_new(req, parent);

	if (!t)
		return;
	t->mode = mode;
	if (task_name(t, name))
		task_start(t, do_mkdir);
}

static void do_symlink(struct task *t)
{
	make_and_tell(t, CAIRN_KIND_SYMLINK, cairn_str(t->data), 0);
}

void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	struct task *t = task_new(req, parent);

	if (!t || !task_name(t, name))
		return;
	t->data = strdup(target);
	task_start(t, t->data ? do_symlink : NULL);
}

void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	(void)ino;
	(void)parent;
	(void)name;
	fuse_reply_err(req, EPERM); /* a key has one name */
}

/* Delete the key of PART, or with FOLDER the marker of that empty folder. CONFLICT: it is not empty. */
static enum cairn_code remove_key(struct task *t, struct cairn_slice part, bool self, bool folder, int *err)
{
	struct mount *m = t->m;
	struct outcome o;
	MSG msg = { 0 };
	struct key key;
	size_t op;

	*err = node_key_in(t->node, m->options.prefix, part, self, folder, &key);
	if (*err < 0)
		return CAIRN_E_INTERNAL;
	msg_begin(m, &msg, CAIRN_OP_TXN);
	if (folder) {
		guard_empty(&msg, key_slice(&key), true);
		key.len--;
		if (key.len > 0) /* its own value counts as one of its files */
			guard_exists(&msg, key_slice(&key), false);
		key.len++;
	}
	op = cairn_msg_open_op(&msg, CAIRN_F_THEN, CAIRN_OP_DELETE);
	cairn_msg_bytes(&msg, CAIRN_F_KEY, key_slice(&key));
	cairn_msg_close(&msg, op);
	*err = then_marker(m, &msg, t->node);
	return *err < 0 ? CAIRN_E_INTERNAL : txn(t, &msg, &o);
}

static void do_unlink(struct task *t)
{
	struct cairn_slice part;
	enum cairn_code code = CAIRN_OK;
	struct node *n;
	int err = 0, r;
	bool self;

	r = part_of(t, t->node, &t->part, false, &part, &self);
	n = r ? NULL : node_find(&t->m->nodes, t->node, part, self);
	if (n)
		lock_take(t, &task_hold(t, n)->lock);
	if (!r && !(n && n->listed && !n->facts.file_id)) { /* else the store has not seen it yet */
		code = remove_key(t, part, self, false, &err);
		r = err < 0 ? -err : ask_errno(code);
	}
	if (n && (!r || r == ENOENT))
		node_detach(&t->m->nodes, n, !r);
	if (!r)
		cache_name_changed(t, t->node, part, self);
	if (n)
		lock_give(t->m, &n->lock);
	task_error(t, r);
}

void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct task *t = task_new(req, parent);

	if (t && task_name(t, name))
		task_start(t, do_unlink);
}

/* Whether a file that the store has not seen yet lies in the folder N. */
static bool has_new_files(const struct mount *m, const struct node *n)
{
	for (const struct node *d = m->nodes.dirty; d; d = d->next_dirty)
		if (d->parent == n)
			return true;
	return false;
}

static void do_rmdir(struct task *t)
{
	struct cairn_slice part;
	enum cairn_code code;
	struct node *n;
	int err = 0, r;
	bool self;

	r = part_of(t, t->node, &t->part, false, &part, &self);
	n = r ? NULL : node_find(&t->m->nodes, t->node, part, self);
	if (n)
		task_hold(t, n);
	if (!r && self)
		r = ENOTDIR;
	if (!r && n && has_new_files(t->m, n))
		r = ENOTEMPTY;
	if (!r) {
		code = remove_key(t, part, false, true, &err);
		r = err < 0 ? -err : code == CAIRN_E_CONFLICT ? ENOTEMPTY : ask_errno(code);
	}
	if (n && !r)
		node_detach(&t->m->nodes, n, true);
	if (!r)
		cache_name_changed(t, t->node, part, false);
	task_error(t, r);
}

void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct task *t = task_new(req, parent);

	if (t && task_name(t, name))
		task_start(t, do_rmdir);
}

int set_attributes(struct task *t, struct node *n, const struct cairn_msg *attributes, uint64_t revision)
{
	struct mount *m = t->m;
	bool marker = node_is_folder(n) && !n->facts.file_id;
	struct outcome o;
	enum cairn_code code;
	MSG msg = { 0 };
	struct key key;
	size_t op;
	int r = node_key(n, m->options.prefix, &key);

	if (r < 0)
		return -r;
	if (key.len == 0) /* the root of a volume is no key */
		return EPERM;
	msg_begin(m, &msg, CAIRN_OP_TXN);
	if (marker)
		guard_exists(&msg, key_slice(&key), false);
	else if (revision)
		guard_revision(&msg, key_slice(&key), revision);
	else
		guard_file(&msg, key_slice(&key), n->facts.file_id);
	if (marker && n->id != NODE_ROOT)
		guard_empty(&msg, key_slice(&key), false);
	op = cairn_msg_open_op(&msg, CAIRN_F_THEN, marker ? CAIRN_OP_PUT : CAIRN_OP_SET_ATTRIBUTES);
	cairn_msg_bytes(&msg, CAIRN_F_KEY, key_slice(&key));
	if (marker) {
		cairn_msg_bytes(&msg, CAIRN_F_VALUE, cairn_slice("", 0));
		cairn_msg_kind(&msg, CAIRN_F_KIND, CAIRN_KIND_DIRECTORY);
	}
	cairn_msg_fields(&msg, cairn_msg_slice(attributes));
	cairn_msg_close(&msg, op);
	code = txn(t, &msg, &o);
	if (code == CAIRN_E_CONFLICT) {
		r = refresh_now(t, n);
		return r ? r : EAGAIN;
	}
	if (code)
		return code == CAIRN_E_TOO_LARGE ? ENOSPC : ask_errno(code);
	n->cached = n->cached == n->facts.revision ? o.revision : 0;
	n->facts.revision = o.revision;
	if (marker) {
		n->facts.file_id = o.file_id;
		n->generation = 0;
	}
	return 0;
}

void close_open(struct task *t, struct node *n)
{
	MSG attributes = { 0 };
	size_t mark = cairn_msg_open(&attributes, CAIRN_F_ATTRIBUTES);

	cairn_msg_close(&attributes, mark);
	cairn_msg_bool(&attributes, CAIRN_F_OPEN, false);
	n->unwritten = false;
	if (n->parent)
		set_attributes(t, n, &attributes, 0);
}

static uint64_t ns_of(struct timespec t)
{
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Put what T is to set, but for the size, into F. Returns which facts those are. */
static unsigned apply(struct task *t, struct facts *f)
{
	unsigned which = 0;

	facts_own(f, &t->m->options);
	if (t->to_set & FUSE_SET_ATTR_MODE) {
		f->mode = t->attr.st_mode & 07777;
		which |= FACTS_MODE;
	}
	if (t->to_set & FUSE_SET_ATTR_UID) {
		f->uid = t->attr.st_uid;
		which |= FACTS_UID;
	}
	if (t->to_set & FUSE_SET_ATTR_GID) {
		f->gid = t->attr.st_gid;
		which |= FACTS_GID;
	}
	if (t->to_set & (FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW)) {
		f->mtime_ns = t->to_set & FUSE_SET_ATTR_MTIME_NOW ? now_ns(0) : ns_of(t->attr.st_mtim);
		which |= FACTS_MTIME;
	}
	if (t->to_set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW)) {
		f->atime_ns = t->to_set & FUSE_SET_ATTR_ATIME_NOW ? now_ns(0) : ns_of(t->attr.st_atim);
		f->has |= FACTS_ATIME;
		which |= FACTS_ATIME;
	}
	if (which) {
		f->ctime_ns = now_ns(f->ctime_ns);
		which |= FACTS_CTIME;
	}
	return which;
}

/* Set T's size. 0 or an errno. */
static int set_size(struct task *t, struct node *n)
{
	size_t size = (size_t)t->attr.st_size;
	int r;

	if (t->has_fi || !n->parent || n->loaded || n->content.dirty) {
		r = load(t, n);
		if (!r)
			r = change_size(t->m, n, size);
		if (!r)
			touch(n);
		if (!r && t->has_fi) /* through a descriptor: committed when that is closed */
			((struct handle *)(uintptr_t)t->fi.fh)->wrote = true;
		return r || t->has_fi ? r : commit(t, n);
	}
	if (size > t->m->options.limit_mib << 20)
		return EFBIG;
	return resize(t, n, size);
}

/* Set the rest. 0 or an errno. */
static int set_rest(struct task *t, struct node *n)
{
	int r = EAGAIN;

	if (!n->parent && n->id != NODE_ROOT) {
		apply(t, &n->facts);
		return 0;
	}
	if (n->content.dirty) { /* goes with the bytes; an empty new file (touch) goes now */
		apply(t, &n->facts);
		return n->facts.file_id || n->content.len ? 0 : commit(t, n);
	}
	for (int i = 0; i < TRIES && r == EAGAIN; i++) {
		struct facts f = n->facts;
		MSG attributes = { 0 };
		unsigned which = apply(t, &f);

		if (!which)
			return 0;
		if (node_is_folder(n) && !n->facts.file_id)
			which |= FACTS_ALL;
		facts_attributes(&f, which, &attributes);
		n->busy = true;
		r = set_attributes(t, n, &attributes, 0);
		n->busy = false;
		if (!r)
			apply(t, &n->facts);
	}
	return r == EAGAIN ? EIO : r;
}

static void do_setattr(struct task *t)
{
	struct node *n = t->node;
	int r = !t->has_fi && cache_just_lost(n) ? ESTALE : 0;

	lock_take(t, &n->lock);
	if (!r && t->to_set & FUSE_SET_ATTR_SIZE)
		r = set_size(t, n);
	if (!r && t->to_set & ~FUSE_SET_ATTR_SIZE)
		r = set_rest(t, n);
	lock_give(t->m, &n->lock);
	if (!n->opens && !n->opening &&
	    n->loaded) /* also what could not be committed: its caller hears of it */
		unload(t->m, n);
	if (r)
		task_error(t, r);
	else
		task_attr(t, n);
}

void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *fi)
{
	struct task *t = task_new(req, ino);

	if (!t)
		return;
	t->attr = *attr;
	t->to_set = to_set;
	t->has_fi = fi != NULL;
	if (fi)
		t->fi = *fi;
	task_start(t, do_setattr);
}
