/*
 * The least that a file system on libfuse's low-level interface costs: everything in memory, one thread, the
 * kernel told to believe all for an hour. With -h each call that changes or reads something first makes a
 * round trip over a socket to another process, as one has to that keeps its data in a server. It does just
 * what files.c asks for: folders, regular files, rename, unlink. Whatever else is asked for is ENOSYS.
 *
 * usage: floor [-h] MOUNTPOINT     serves in the foreground until it is unmounted
 */
#define FUSE_USE_VERSION 312
#include <errno.h>
#include <fuse3/fuse_lowlevel.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "banned.h"

#define BELIEVED 3600
#define SLOTS (1u << 17)

struct node {
	struct node *next, *parent; /* in its slot of names */
	struct node *first, *sibling, *before;
	char *name;
	struct stat st;
	unsigned char *data;
	size_t cap;
	uint64_t lookups;
};

struct floor {
	struct node root, *names[SLOTS];
	int hop;
};

static struct node *node_of(fuse_req_t req, fuse_ino_t ino)
{
	struct floor *f = fuse_req_userdata(req);

	return ino == FUSE_ROOT_ID ? &f->root : (struct node *)(uintptr_t)ino;
}

static void hop(fuse_req_t req)
{
	struct floor *f = fuse_req_userdata(req);
	char byte = 0;

	if (f->hop >= 0 && (write(f->hop, &byte, 1) != 1 || read(f->hop, &byte, 1) != 1))
		exit(1);
}

static struct node **slot(struct floor *f, const struct node *parent, const char *name)
{
	uint64_t h = (uintptr_t)parent * 0x9e3779b97f4a7c15;

	for (; *name; name++)
		h = (h ^ (unsigned char)*name) * 0x100000001b3;
	return &f->names[(h ^ h >> 32) % SLOTS];
}

static struct node *find(struct floor *f, const struct node *parent, const char *name)
{
	struct node *n = *slot(f, parent, name);

	while (n && (n->parent != parent || strcmp(n->name, name) != 0))
		n = n->next;
	return n;
}

static void link_in(struct floor *f, struct node *n, struct node *parent, const char *name)
{
	struct node **s = slot(f, parent, name);

	n->name = strdup(name);
	if (!n->name)
		exit(1);
	n->parent = parent;
	n->next = *s;
	*s = n;
	n->before = NULL;
	n->sibling = parent->first;
	if (n->sibling)
		n->sibling->before = n;
	parent->first = n;
}

static void unlink_from(struct floor *f, struct node *n)
{
	struct node **s = slot(f, n->parent, n->name);

	while (*s != n)
		s = &(*s)->next;
	*s = n->next;
	*(n->before ? &n->before->sibling : &n->parent->first) = n->sibling;
	if (n->sibling)
		n->sibling->before = n->before;
	free(n->name);
	n->name = NULL;
}

static void forget(struct node *n, uint64_t count)
{
	n->lookups -= count;
	if (n->lookups || n->name || n->st.st_ino == FUSE_ROOT_ID)
		return;
	free(n->data);
	free(n);
}

static void touch(struct node *n)
{
	clock_gettime(CLOCK_REALTIME, &n->st.st_mtim);
	n->st.st_ctim = n->st.st_mtim;
}

static struct node *make(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct node *n = calloc(1, sizeof(*n));

	if (!n)
		exit(1);
	n->st.st_mode = mode;
	n->st.st_ino = (uintptr_t)n;
	n->st.st_nlink = S_ISDIR(mode) ? 2 : 1;
	touch(n);
	link_in(fuse_req_userdata(req), n, node_of(req, parent), name);
	return n;
}

static struct fuse_entry_param entry_of(struct node *n)
{
	n->lookups++;
	return (struct fuse_entry_param){ .ino = (uintptr_t)n,
					  .generation = 1,
					  .attr = n->st,
					  .attr_timeout = BELIEVED,
					  .entry_timeout = BELIEVED };
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct node *n;
	struct fuse_entry_param e = { .entry_timeout = BELIEVED };

	hop(req);
	n = find(fuse_req_userdata(req), node_of(req, parent), name);
	if (n)
		e = entry_of(n);
	fuse_reply_entry(req, &e);
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
	forget(node_of(req, ino), count);
	fuse_reply_none(req);
}

static void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *all)
{
	for (size_t i = 0; i < count; i++)
		forget(node_of(req, all[i].ino), all[i].nlookup);
	fuse_reply_none(req);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)fi;
	fuse_reply_attr(req, &node_of(req, ino)->st, BELIEVED);
}

static void resize(struct node *n, size_t size)
{
	if (size > n->cap) {
		size_t cap = size * 2;

		n->data = realloc(n->data, cap);
		if (!n->data)
			exit(1);
		memset(n->data + n->cap, 0, cap - n->cap);
		n->cap = cap;
	}
	n->st.st_size = (off_t)size;
}

static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int set, struct fuse_file_info *fi)
{
	struct node *n = node_of(req, ino);

	(void)fi;
	hop(req);
	if (set & FUSE_SET_ATTR_SIZE)
		resize(n, (size_t)attr->st_size);
	if (set & FUSE_SET_ATTR_MODE)
		n->st.st_mode = attr->st_mode;
	fuse_reply_attr(req, &n->st, BELIEVED);
}

static void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct fuse_entry_param e;

	hop(req);
	e = entry_of(make(req, parent, name, mode | S_IFDIR));
	fuse_reply_entry(req, &e);
}

static void op_remove(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct node *n = find(fuse_req_userdata(req), node_of(req, parent), name);

	hop(req);
	if (n) {
		unlink_from(fuse_req_userdata(req), n);
		forget(n, 0);
	}
	fuse_reply_err(req, n ? 0 : ENOENT);
}

static void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t to, const char *to_name,
		      unsigned flags)
{
	struct floor *f = fuse_req_userdata(req);
	struct node *n = find(f, node_of(req, parent), name), *old = find(f, node_of(req, to), to_name);

	(void)flags;
	hop(req);
	if (n && old) {
		unlink_from(f, old);
		forget(old, 0);
	}
	if (n) {
		unlink_from(f, n);
		link_in(f, n, node_of(req, to), to_name);
	}
	fuse_reply_err(req, n ? 0 : ENOENT);
}

static void open_node(struct node *n, struct fuse_file_info *fi)
{
	fi->keep_cache = 1;
	fi->noflush = (fi->flags & O_ACCMODE) == O_RDONLY;
	if (fi->flags & O_TRUNC)
		resize(n, 0);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	open_node(node_of(req, ino), fi);
	fuse_reply_open(req, fi);
}

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		      struct fuse_file_info *fi)
{
	struct node *n;
	struct fuse_entry_param e;

	if (fi->flags & O_EXCL)
		hop(req);
	n = make(req, parent, name, mode | S_IFREG);
	open_node(n, fi);
	e = entry_of(n);
	fuse_reply_create(req, &e, fi);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct node *n = node_of(req, ino);
	size_t from = off < n->st.st_size ? (size_t)off : (size_t)n->st.st_size,
	       rest = (size_t)n->st.st_size - from;

	(void)fi;
	hop(req);
	fuse_reply_buf(req, (const char *)n->data + from, size < rest ? size : rest);
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off,
		     struct fuse_file_info *fi)
{
	struct node *n = node_of(req, ino);

	if (fi->flags & O_APPEND)
		hop(req);
	if ((size_t)off + size > (size_t)n->st.st_size)
		resize(n, (size_t)off + size);
	memcpy(n->data + off, data, size);
	touch(n);
	fi->fh = 1;
	fuse_reply_write(req, size);
}

static void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	if (!(fi->flags & O_APPEND)) /* what was written is in force then */
		hop(req);
	fuse_reply_err(req, 0);
}

static void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	(void)ino;
	(void)datasync;
	(void)fi;
	hop(req);
	fuse_reply_err(req, 0);
}

static void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	fuse_reply_err(req, 0);
}

static void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	fi->cache_readdir = fi->keep_cache = 1;
	fi->fh = 0;
	fuse_reply_open(req, fi);
}

static void list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool plus)
{
	struct node *n = off ? (struct node *)(uintptr_t)off : node_of(req, ino)->first;
	char *buffer = malloc(size);
	size_t used = 0;

	if (!buffer)
		exit(1);
	if (!off)
		hop(req);
	while (n && off != 1) {
		off_t next = n->sibling ? (off_t)(uintptr_t)n->sibling : 1;
		struct fuse_entry_param e = plus ? entry_of(n) : (struct fuse_entry_param){ 0 };
		size_t need = plus
			? fuse_add_direntry_plus(req, buffer + used, size - used, n->name, &e, next)
			: fuse_add_direntry(req, buffer + used, size - used, n->name, &n->st, next);

		if (need > size - used) {
			n->lookups -= plus;
			break;
		}
		used += need;
		n = n->sibling;
	}
	fuse_reply_buf(req, buffer, used);
	free(buffer);
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)fi;
	list(req, ino, size, off, false);
}

static void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)fi;
	list(req, ino, size, off, true);
}

static const struct fuse_lowlevel_ops operations = {
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.mkdir = op_mkdir,
	.unlink = op_remove,
	.rmdir = op_remove,
	.rename = op_rename,
	.open = op_open,
	.create = op_create,
	.read = op_read,
	.write = op_write,
	.flush = op_flush,
	.fsync = op_fsync,
	.release = op_release,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
	.releasedir = op_release,
};

/* The other process of -h: sends back what it gets. Returns the socket to it. */
static int start_hop(void)
{
	int pair[2];
	char byte;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	if (fork() == 0) {
		close(pair[0]);
		while (read(pair[1], &byte, 1) == 1 && write(pair[1], &byte, 1) == 1)
			;
		_exit(0);
	}
	close(pair[1]);
	return pair[0];
}

int main(int argc, char **argv)
{
	char *arguments[] = { argv[0], "-o",
			      "fsname=floor,default_permissions,allow_other,nosuid,nodev,noatime", NULL };
	struct fuse_args args = FUSE_ARGS_INIT(3, arguments);
	bool with_hop = argc > 1 && !strcmp(argv[1], "-h");
	struct floor *f = calloc(1, sizeof(*f));
	struct fuse_session *session;
	int r;

	if (!f || argc != 2 + with_hop)
		return 2;
	f->hop = with_hop ? start_hop() : -1;
	f->root.st.st_mode = S_IFDIR | 0755;
	f->root.st.st_ino = FUSE_ROOT_ID;
	f->root.st.st_nlink = 2;
	f->root.lookups = 1;
	session = fuse_session_new(&args, &operations, sizeof(operations), f);
	if (!session || fuse_session_mount(session, argv[1 + with_hop]) < 0)
		return 1;
	r = fuse_session_loop(session);
	fuse_session_unmount(session);
	fuse_session_destroy(session);
	return r != 0;
}
