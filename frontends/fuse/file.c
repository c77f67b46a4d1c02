/*
 * Open files. Reads and writes go to the node's content in memory; what was written is committed at fsync, at
 * the close by the process that opened it, or when the last descriptor goes. A child that inherited a
 * descriptor and closes it commits nothing, so a script's output appears whole. Appends are committed in
 * write(2). A value that is too large to be kept is read piece by piece, always of the revision that was
 * opened (else ESTALE).
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <syslog.h>
#include "mount.h"
#include "banned.h"

#define SHORT_MAX (64u << 10) /* values up to here are read when they are opened */

static struct handle *handle_of(const struct fuse_file_info *fi)
{
	return (struct handle *)(uintptr_t)fi->fh;
}

/* The process of the thread PID; PID where that cannot be found out. */
static pid_t process_of(pid_t pid)
{
	char path[40], line[128];
	pid_t tgid = pid;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = pid > 0 ? fopen(path, "re") : NULL;
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, "Tgid:", 5)) {
			tgid = (pid_t)strtol(line + 5, NULL, 10);
			break;
		}
	if (f)
		fclose(f);
	return tgid;
}

/* Give the caller of FI, a thread PID, a handle of N. NULL without memory. */
static struct handle *handle_new(struct node *n, struct fuse_file_info *fi, pid_t pid)
{
	struct handle *h = calloc(1, sizeof(*h));
	int access = fi->flags & O_ACCMODE;

	if (!h)
		return NULL;
	h->node = node_hold(n);
	h->made = n->content.dirty && (fi->flags & O_TRUNC || (!n->facts.file_id && n->opens == 0));
	h->writes = access != O_RDONLY || h->made;
	h->wrote = h->made && access == O_RDONLY; /* nothing more will come */
	h->appends = h->writes && fi->flags & O_APPEND;
	h->revision = n->facts.revision;
	if (h->writes) {
		h->pid = pid;
	}
	n->opens++;
	n->writers += h->writes;
	fi->fh = (uintptr_t)h;
	fi->direct_io = h->appends;
	fi->noflush = !h->writes;
	fi->keep_cache = n->cached && n->cached == n->facts.revision;
	n->cached = h->appends ? 0 : n->facts.revision;
	return h;
}

static void handle_free(struct mount *m, struct handle *h)
{
	struct node *n = h->node;

	n->writers -= h->writes;
	if (--n->opens == 0 && !n->opening) {
		unload(m, n);
		if (!n->facts.file_id && !node_is_folder(n)) /* the store has never seen it */
			node_detach(&m->nodes, n, true);
	}
	node_drop(&m->nodes, n);
	free(h);
}

static bool take_range(void *out, struct cairn_slice fields)
{
	struct cairn_slice value;

	return !cairn_field_find(fields, CAIRN_F_VALUE, &value) || content_load(out, value) == 0;
}

/* A short value. */
struct whole {
	uint64_t revision, size;
	struct content content;
};

static bool take_whole(void *out, struct cairn_slice fields)
{
	struct whole *w = out;

	w->revision = cairn_field_u64(fields, CAIRN_F_REVISION, 0);
	w->size = cairn_field_u64(fields, CAIRN_F_SIZE, 0);
	return take_range(&w->content, fields);
}

/*
 * N is opened by the first one and the kernel has no bytes of it: ask for its bytes, which also says whether
 * its facts are still right. 0 or an errno.
 */
static int look_whole(struct task *t, struct node *n)
{
	uint64_t as_of = t->m->cache.sequence;
	struct whole w = { 0 };
	MSG msg = { 0 };
	struct key key;
	enum cairn_code code;
	int r = -node_key(n, t->m->options.prefix, &key);

	if (r)
		return r;
	msg_begin(t->m, &msg, CAIRN_OP_GET);
	cairn_msg_bytes(&msg, CAIRN_F_KEY, key_slice(&key));
	cairn_msg_u64(&msg, CAIRN_F_OFFSET, 0);
	cairn_msg_u64(&msg, CAIRN_F_LENGTH, SHORT_MAX);
	code = ask(t, &msg, take_whole, &w);
	if (code || w.revision != n->facts.revision) {
		r = code && code != CAIRN_E_NOT_FOUND ? ask_errno(code) : refresh_now(t, n);
	} else if (!n->listed && !n->busy && !n->loaded) {
		cache_know(t->m, n, as_of);
		r = w.content.len == w.size ? adopt(t->m, n, &w.content) : 0;
	}
	content_free(&w.content);
	return r;
}

/* Bring N up to date before somebody opens it without emptying it. 0 or an errno. */
static int look_again(struct task *t, struct node *n)
{
	bool ask_now = t->m->options.consistency != CONSISTENCY_LOCAL || !node_known(t->m, n);
	int r = 0;

	if (n->listed || n->busy || n->content.dirty)
		return 0;
	if (!n->opens && n->opening == 1 && !n->loaded && n->cached != n->facts.revision &&
	    n->facts.size <= SHORT_MAX)
		r = look_whole(t, n);
	else if (ask_now)
		r = refresh_now(t, n);
	return r;
}

/* The first write or the close commits it. 0 or an errno. */
static int make_empty(struct task *t, struct node *n)
{
	struct content empty = { 0 };
	int r = 0;

	lock_take(t, &n->lock);
	if (!n->loaded)
		r = adopt(t->m, n, &empty);
	if (!r)
		r = change_size(t->m, n, 0);
	if (!r)
		touch(n);
	lock_give(t->m, &n->lock);
	return r;
}

/* What an open needs in memory. 0 or an errno. */
static int prepare(struct task *t, struct node *n)
{
	int flags = t->fi.flags, access = flags & O_ACCMODE, r = 0;

	if (n->facts.kind != CAIRN_KIND_VALUE)
		return EINVAL;
	if (cache_just_lost(n))
		return ESTALE;
	if (!n->parent) /* opened by way of /proc: what there is in memory */
		return n->loaded || n->was ? 0 : ESTALE;
	if (flags & O_TRUNC)
		return make_empty(t, n);
	if (access == O_WRONLY && flags & O_APPEND)
		return 0;
	r = look_again(t, n);
	return r || access == O_RDONLY ? r : load(t, n);
}

static void reply_open(fuse_req_t req, struct node *n, struct fuse_file_info *fi)
{
	struct mount *m = fuse_req_userdata(req);
	struct handle *h = handle_new(n, fi, fuse_req_ctx(req)->pid);

	if (!h)
		fuse_reply_err(req, ENOMEM);
	else if (fuse_reply_open(req, fi) < 0)
		handle_free(m, h);
}

static void do_open(struct task *t)
{
	struct node *n = t->node;
	int r;

	n->opening++;
	r = prepare(t, n);
	n->opening--;
	if (!r && n->told && n->told_revision != n->facts.revision && !n->content.dirty) {
		notify_now(t->m->notifier, n->id); /* else it reads as far as the file went then */
		n->told = false;
	}
	if (!r && t->req) {
		reply_open(t->req, n, &t->fi);
		t->req = NULL;
	}
	if (!n->opens && !n->opening)
		unload(t->m, n);
	task_error(t, r);
}

/* Whether N can be opened to be read without asking anybody: the kernel has its bytes. */
static bool is_at_hand(const struct mount *m, const struct node *n, int flags)
{
	return m->options.consistency == CONSISTENCY_LOCAL && node_known(m, n) && n->parent &&
		!(flags & (O_ACCMODE | O_TRUNC)) && n->cached == n->facts.revision &&
		n->facts.kind == CAIRN_KIND_VALUE;
}

void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct mount *m = fuse_req_userdata(req);
	struct node *n = node_get(&m->nodes, ino);

	if (n && is_at_hand(m, n, fi->flags))
		reply_open(req, n, fi);
	else
		task_run(req, ino, fi, do_open);
}

/* A new file that exists here only until it is committed. 0 and *OUT (held), or an errno. */
static int make_later(struct task *t, struct facts *f, struct cairn_slice part, struct node **out)
{
	struct nodes *nodes = &t->m->nodes;
	struct content empty = { 0 };
	struct node *n = node_find(nodes, t->node, part, false);
	int r;

	if (n && n->listed) { /* another caller has just made it */
		*out = task_hold(t, n);
		return 0;
	}
	if (n)
		node_detach(nodes, n, false);
	n = node_add(nodes, t->node, part, false);
	if (!n)
		return ENOMEM;
	*out = task_hold(t, n);
	node_drop(nodes, n);
	facts_move(&n->facts, f);
	r = adopt(t->m, n, &empty);
	if (!r)
		r = change_size(t->m, n, 0);
	n->content.whole = t->fi.flags & O_TRUNC;
	return r;
}

static void do_create(struct task *t)
{
	struct fuse_entry_param e;
	struct facts f = { 0 };
	struct cairn_slice part;
	struct node *n = NULL;
	struct handle *h;
	bool self;
	int r = part_of(t, t->node, &t->part, true, &part, &self);

	if (!r && self)
		r = EPERM;
	if (!r) {
		facts_new(t, CAIRN_KIND_VALUE, &f);
		r = t->fi.flags & O_EXCL ? make(t, &f, cairn_slice("", 0), true, &n)
					 : make_later(t, &f, part, &n);
		facts_free(&f);
	}
	if (!r && !n->loaded) {
		struct content empty = { 0 };

		r = adopt(t->m, n, &empty);
		n->content.whole = true; /* nobody else's bytes are in it yet */
	}
	h = r || !t->req ? NULL : handle_new(n, &t->fi, t->pid);
	if (!h) {
		if (n && !n->opens && !n->opening)
			unload(t->m, n);
		task_error(t, r ? r : ENOMEM);
		return;
	}
	h->created = n->unwritten = t->fi.flags & O_EXCL;
	entry_fill(t->m, n, &e);
	n->lookups++;
	if (fuse_reply_create(t->req, &e, &t->fi) < 0) {
		n->lookups--;
		handle_free(t->m, h);
	}
	t->req = NULL;
}

void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	struct task *t = task_new(req, parent);

	if (!t)
		return;
	t->fi = *fi;
	t->mode = mode;
	if (task_name(t, name))
		task_start(t, do_create);
}

static void reply_bytes(fuse_req_t req, const struct content *c, size_t size, off_t off)
{
	size_t from = (size_t)off < c->len ? (size_t)off : c->len;

	fuse_reply_buf(req, (const char *)c->data + from, size < c->len - from ? size : c->len - from);
}

/* Ask for SIZE bytes at OFF of the key, as of the revision that H opened. 0 or an errno. */
static int read_range(struct task *t, const struct handle *h, const struct key *key, bool past,
		      struct content *c)
{
	const struct node *n = h->node;
	uint64_t revision = n->parent && h->revision >= n->same_from ? n->facts.revision : h->revision;
	enum cairn_code code = CAIRN_OK;
	MSG msg = { 0 };

	while (!code && c->len < t->size) {
		size_t before = c->len, rest = t->size - c->len;

		msg_begin(t->m, &msg, CAIRN_OP_GET);
		cairn_msg_bytes(&msg, CAIRN_F_KEY, key_slice(key));
		cairn_msg_u64(&msg, past ? CAIRN_F_AT : CAIRN_F_REVISION, past ? h->revision : revision);
		cairn_msg_u64(&msg, CAIRN_F_OFFSET, (uint64_t)t->off + c->len);
		cairn_msg_u64(&msg, CAIRN_F_LENGTH, rest < CAIRN_PAYLOAD_MAX ? rest : CAIRN_PAYLOAD_MAX);
		code = ask(t, &msg, take_range, c);
		if (c->len == before)
			break;
	}
	return code == CAIRN_E_NOT_FOUND ? ESTALE : ask_errno(code);
}

/* Read from a value that is not in memory: as it is, and where somebody has replaced it meanwhile out of the
 * history. */
static void do_read(struct task *t)
{
	struct handle *h = handle_of(&t->fi);
	struct content c = { 0 };
	struct key key;
	int r = 0;

	if (h->node->parent)
		r = -node_key(h->node, t->m->options.prefix, &key);
	else if (h->node->was)
		key = *h->node->was;
	else
		r = ESTALE;
	if (!r)
		r = read_range(t, h, &key, !h->node->parent, &c);
	if (r == ESTALE && h->node->parent) {
		c.len = 0;
		r = read_range(t, h, &key, true, &c);
	}
	if (!r && t->req) {
		reply_bytes(t->req, &c, t->size, 0);
		t->req = NULL;
	}
	content_free(&c);
	task_error(t, r);
}

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct node *n = handle_of(fi)->node;
	struct task *t;

	if (n->loaded) {
		reply_bytes(req, &n->content, size, off);
		return;
	}
	t = task_new(req, ino);
	if (!t)
		return;
	t->fi = *fi;
	t->size = size;
	t->off = off;
	task_start(t, do_read);
}

/* Answer a write of all of T's data, or with the errno R. */
static void reply_write(struct task *t, int r)
{
	if (!r && t->req) {
		fuse_reply_write(t->req, t->data_len);
		t->req = NULL;
	}
	task_error(t, r);
}

/* Appends, and writes to a value that is not in memory, or is being committed. */
static void do_write(struct task *t)
{
	struct handle *h = handle_of(&t->fi);
	struct node *n = h->node;
	struct cairn_slice data = cairn_slice(t->data, t->data_len);
	int r = 0;

	lock_take(t, &n->lock);
	if (t->fi.flags & O_APPEND) {
		if (n->content.dirty)
			r = commit(t, n);
		if (!r)
			r = append(t, n, data);
	} else {
		r = load(t, n);
		if (!r)
			r = change_write(t->m, n, (size_t)t->off, data);
		if (!r) {
			touch(n);
			h->wrote = true;
		}
	}
	lock_give(t->m, &n->lock);
	reply_write(t, r);
}

void op_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off,
	      struct fuse_file_info *fi)
{
	struct mount *m = fuse_req_userdata(req);
	struct handle *h = handle_of(fi);
	struct node *n = h->node;
	struct task *t;
	int r;

	if (!(fi->flags & O_APPEND) && n->loaded && !n->busy) {
		r = change_write(m, n, (size_t)off, cairn_slice(data, size));
		if (r) {
			fuse_reply_err(req, r);
			return;
		}
		touch(n);
		h->wrote = true;
		fuse_reply_write(req, size);
		return;
	}
	t = task_new(req, ino);
	if (!t)
		return;
	t->fi = *fi;
	t->off = off;
	t->data = malloc(size);
	if (t->data) {
		memcpy(t->data, data, size);
		t->data_len = size;
	}
	task_start(t, t->data ? do_write : NULL);
}

/* Commit what N has. 0 or an errno. */
static int save(struct task *t, struct node *n)
{
	int r;

	lock_take(t, &n->lock);
	r = commit(t, n);
	lock_give(t->m, &n->lock);
	return r;
}

void do_save(struct task *t)
{
	save(t, t->node);
}

/* Whether the process of thread PID closes on behalf of H's opener: it is that one, or that one is gone. */
static bool is_opener(const struct handle *h, pid_t pid)
{
	if (pid <= 0 || h->pid <= 0 || pid == h->pid || (kill(h->pid, 0) < 0 && errno == ESRCH))
		return true;
	return process_of(pid) == process_of(h->pid);
}

static void do_flush(struct task *t)
{
	struct handle *h = handle_of(&t->fi);
	struct node *n = h->node;
	int r = 0;

	if (n->content.dirty && is_opener(h, t->pid)) {
		if (h->wrote || (h->made && h->flushed))
			r = save(t, n);
		else
			h->flushed = true; /* the shell moves the descriptor to its place before anything is
					      written */
		if (!r && !n->content.dirty)
			h->wrote = h->made = false;
	}
	task_error(t, r);
}

void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	if (!handle_of(fi)->node->content.dirty) {
		fuse_reply_err(req, 0);
		return;
	}
	task_run(req, ino, fi, do_flush);
}

static void do_fsync(struct task *t)
{
	struct handle *h = handle_of(&t->fi);
	int r = save(t, h->node);

	if (!r)
		h->wrote = h->made = false;
	task_error(t, r);
}

void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	(void)datasync;
	task_run(req, ino, fi, do_fsync);
}

static void do_release(struct task *t)
{
	struct handle *h = handle_of(&t->fi);
	struct node *n = h->node;
	int r = 0;

	if (h->writes && n->content.dirty && (h->wrote || h->made || n->writers == 1))
		r = save(t, n);
	if (r && n->writers == 1) {
		t->m->lost++;
		syslog(LOG_ERR, "written bytes were lost: file id %llu, %zu bytes, %s",
		       (unsigned long long)n->facts.file_id, n->content.len, strerror(r));
	}
	if (h->created && n->unwritten)
		close_open(t, n);
	handle_free(t->m, h);
	task_error(t, 0);
}

void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct mount *m = fuse_req_userdata(req);
	struct handle *h = handle_of(fi);

	if (!h->node->content.dirty && !(h->created && h->node->unwritten)) {
		handle_free(m, h);
		fuse_reply_err(req, 0);
		return;
	}
	task_run(req, ino, fi, do_release);
}

static void do_fallocate(struct task *t)
{
	struct handle *h = handle_of(&t->fi);
	struct node *n = h->node;
	size_t end = (size_t)t->off + t->size;
	int r;

	lock_take(t, &n->lock);
	r = load(t, n);

	if (!r && end > n->content.len) {
		r = change_size(t->m, n, end);
		if (!r) {
			touch(n);
			h->wrote = true;
		}
	}
	lock_give(t->m, &n->lock);
	task_error(t, r);
}

void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,
		  struct fuse_file_info *fi)
{
	struct task *t;

	if (mode != 0) {
		fuse_reply_err(req, EOPNOTSUPP);
		return;
	}
	t = task_new(req, ino);
	if (!t)
		return;
	t->fi = *fi;
	t->off = offset;
	t->size = (size_t)length;
	task_start(t, do_fallocate);
}
