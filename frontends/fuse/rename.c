/*
 * Renames: of a file by moving its key, of a folder by moving all keys below it, each one transaction and so
 * one revision. What is open follows, since a node's path is derived from its place. A folder too large for
 * one transaction is answered with EXDEV, and mv(1) copies it then.
 */
#include <errno.h>
#include <linux/fs.h>
#include "mount.h"
#include "banned.h"

/* Both ends of a rename. */
struct ends {
	struct cairn_slice from, to;
	bool from_self, to_self, folder;
	struct node *source, *target; /* nodes there, or NULL */
};

static void then_move(struct cairn_msg *msg, unsigned op, struct cairn_slice from, struct cairn_slice to,
		      bool if_there)
{
	size_t mark = cairn_msg_open_op(msg, CAIRN_F_THEN, op);

	cairn_msg_bytes(msg, op == CAIRN_OP_MOVE_PREFIX ? CAIRN_F_PREFIX : CAIRN_F_KEY, from);
	cairn_msg_bytes(msg, CAIRN_F_TO, to);
	if (if_there)
		guard_exists(msg, from, true);
	cairn_msg_close(msg, mark);
}

/* A file becomes TO, which is not a folder. */
static void move_file(struct cairn_msg *msg, const struct ends *e, struct key *from, struct key *to,
		      bool free)
{
	if (free)
		guard_exists(msg, key_slice(to), false);
	if (!e->to_self && to->len < NODE_KEY_MAX) {
		to->bytes[to->len++] = '/';
		guard_empty(msg, key_slice(to), true);
		guard_exists(msg, key_slice(to), false);
		to->len--;
	}
	then_move(msg, CAIRN_OP_MOVE, key_slice(from), key_slice(to), false);
}

/* A folder, its own value included, becomes TO, where nothing or an empty folder is. FROM and TO end with
 * slashes. */
static void move_folder(struct cairn_msg *msg, struct key *from, struct key *to, bool free)
{
	size_t op;

	guard_empty(msg, key_slice(to), true);
	if (free) {
		guard_exists(msg, key_slice(to), false);
	} else {
		op = cairn_msg_open_op(msg, CAIRN_F_THEN, CAIRN_OP_DELETE);
		cairn_msg_bytes(msg, CAIRN_F_KEY, key_slice(to));
		guard_exists(msg, key_slice(to), true);
		cairn_msg_close(msg, op);
	}
	then_move(msg, CAIRN_OP_MOVE_PREFIX, key_slice(from), key_slice(to), false);
	from->len--;
	to->len--;
	guard_exists(msg, key_slice(to), false);
	then_move(msg, CAIRN_OP_MOVE, key_slice(from), key_slice(to), true);
}

/* One try. CONFLICT where a guard fails. */
static enum cairn_code send(struct task *t, const struct ends *e, struct outcome *o, int *err)
{
	const char *prefix = t->m->options.prefix;
	bool free = t->flags & RENAME_NOREPLACE;
	struct key from, to;
	MSG msg = { 0 };

	*err = node_key_in(t->node, prefix, e->from, e->from_self, e->folder, &from);
	if (*err == 0)
		*err = node_key_in(t->to_node, prefix, e->to, e->to_self, e->folder, &to);
	if (*err == 0 && to.len == 0)
		*err = -EINVAL;
	if (*err < 0)
		return CAIRN_E_INTERNAL;
	msg_begin(t->m, &msg, CAIRN_OP_TXN);
	if (t->to_node != t->node)
		*err = guard_parent(t->m, &msg, t->to_node);
	if (t->flags & RENAME_EXCHANGE)
		then_move(&msg, CAIRN_OP_SWAP, key_slice(&from), key_slice(&to), false);
	else if (e->folder)
		move_folder(&msg, &from, &to, free);
	else
		move_file(&msg, e, &from, &to, free);
	if (*err == 0)
		*err = then_marker(t->m, &msg, t->node);
	return *err < 0 ? CAIRN_E_INTERNAL : txn(t, &msg, o);
}

/* Which errno a failed guard is. EAGAIN: none any more. */
static int explain(struct task *t, const struct ends *e)
{
	FOUND f = { 0 };
	int r = look(t, t->to_node, e->to, e->to_self, &f);

	if (r)
		return r;
	if (t->flags & RENAME_NOREPLACE && (f.value.there || f.folder.there))
		return EEXIST;
	if (!e->folder && f.folder.there)
		return EISDIR;
	if (e->folder && f.folder.there) /* as its guards saw it, or emptied since */
		return ENOTEMPTY;
	if (e->folder && f.value.there)
		return ENOTDIR;
	r = refresh_now(t, t->to_node);
	if (!r)
		r = refresh_now(t, t->node);
	return r == ESTALE ? ENOENT : r ? r : EAGAIN;
}

/* Move the nodes as the keys were moved. */
static int follow(struct task *t, const struct ends *e, const struct outcome *o)
{
	struct nodes *nodes = &t->m->nodes;
	struct node *source = node_find(nodes, t->node, e->from, e->from_self);
	struct node *target = node_find(nodes, t->to_node, e->to, e->to_self);

	cache_name_changed(t, t->node, e->from, e->from_self);
	cache_name_changed(t, t->to_node, e->to, e->to_self);
	if (source == target)
		return 0;
	if (t->flags & RENAME_EXCHANGE) {
		if (source && target)
			node_swap(nodes, source, target);
		for (int i = 0; i < 2; i++) {
			struct node *n = i ? target : source;

			if (n) /* which revision it has now is looked up again */
				n->generation = 0;
		}
		return 0;
	}
	if (target)
		node_detach(nodes, target, true);
	if (!source)
		return 0;
	if (!e->folder) {
		source->cached = source->cached == source->facts.revision ? o->revision : 0;
		source->facts.revision = o->revision;
	}
	return -node_move(nodes, source, t->to_node, e->to, e->to_self);
}

/* Wait for commits under way in the folder FOLDER, and do those that are due: their keys are about to change.
 */
static int settle_files(struct task *t, struct node *folder)
{
	int r = 0;

	for (struct node *n = t->m->nodes.dirty; n && !r;) {
		if (!node_within(n, folder) || n == folder) {
			n = n->next_dirty;
			continue;
		}
		node_hold(n);
		lock_take(t, &n->lock);
		r = commit(t, n);
		lock_give(t->m, &n->lock);
		node_drop(&t->m->nodes, n);
		n = t->m->nodes.dirty; /* the list may have changed meanwhile */
	}
	return r;
}

static int rename_now(struct task *t, struct ends *e)
{
	struct node *source = e->source, *target = e->target;
	struct outcome o = { 0 };
	enum cairn_code code;
	int err, r = 0;

	if (source && !e->folder && source->content.dirty)
		r = commit(t, source);
	if (source && e->folder)
		r = settle_files(t, source);
	if (!r && target && t->flags & RENAME_EXCHANGE && target->content.dirty)
		r = commit(t, target);
	for (int i = 0; i < 3 && (!r || r == EAGAIN); i++) {
		code = send(t, e, &o, &err);
		if (err < 0)
			return -err;
		if (code == CAIRN_E_TOO_LARGE)
			return e->folder ? EXDEV : EFBIG;
		r = code == CAIRN_E_CONFLICT ? explain(t, e) : ask_errno(code);
		if (!r)
			return follow(t, e, &o);
	}
	return r == EAGAIN ? ENOENT : r;
}

/* Whether the source is a folder, asked for where no node knows. 0 or an errno. */
static int find_ends(struct task *t, struct ends *e)
{
	struct nodes *nodes = &t->m->nodes;
	FOUND f = { 0 };
	int r = part_of(t, t->node, &t->part, false, &e->from, &e->from_self);

	if (!r && t->to_part.kind == KEYMAP_LONG)
		r = EINVAL; /* two such names do not fit into one task, and the target cannot be made anyway
			     */
	if (!r)
		r = part_of(t, t->to_node, &t->to_part, true, &e->to, &e->to_self);
	if (r)
		return r;
	e->source = node_find(nodes, t->node, e->from, e->from_self);
	if (!e->source) {
		r = look(t, t->node, e->from, e->from_self, &f);
		if (!r)
			r = settle(t, t->node, e->from, e->from_self, &f, &e->source);
		if (r)
			return r;
	}
	task_hold(t, e->source);
	e->folder = node_is_folder(e->source);
	e->target = node_find(nodes, t->to_node, e->to, e->to_self);
	if (e->target)
		task_hold(t, e->target);
	if (e->to_self && (!e->target || e->folder))
		return EPERM; /* "%=" can be replaced, not made */
	if (t->flags & RENAME_EXCHANGE && (e->folder || !e->target || node_is_folder(e->target)))
		return e->target ? EINVAL : ENOENT;
	return 0;
}

static void do_rename(struct task *t)
{
	struct ends e = { 0 };
	int r = find_ends(t, &e);
	struct node *first = e.source, *second = e.target;

	if (r) {
		task_error(t, r);
		return;
	}
	if (second == first)
		second = NULL;
	if (second &&
	    second->id < first->id) { /* always in this order, so that two renames cannot block each other */
		first = e.target;
		second = e.source;
	}
	lock_take(t, &first->lock);
	if (second)
		lock_take(t, &second->lock);
	r = rename_now(t, &e);
	if (second)
		lock_give(t->m, &second->lock);
	lock_give(t->m, &first->lock);
	task_error(t, r);
}

void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t to, const char *to_name,
	       unsigned flags)
{
	struct task *t;

	if (flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE)) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	t = task_new(req, parent);
	if (!t || !task_name(t, name) || !task_to(t, to, to_name))
		return;
	t->flags = flags;
	task_start(t, do_rename);
}
