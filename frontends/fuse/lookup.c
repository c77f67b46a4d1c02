/*
 * What stands at a name, and how it is kept up to date. A name is looked up with two questions sent together:
 * the key, and the folder row of the same name; a folder goes before a value. Nothing is believed for longer
 * than one call, since nobody tells the mount about changes. A file that somebody else replaced while it is
 * open here becomes another node, so that who has it open goes on reading what it opened; one that only grew
 * stays the same. Fails with the errno of the server's answer.
 */
#include <errno.h>
#include <stdlib.h>
#include "clock.h"
#include "mount.h"
#include "banned.h"

#define READ_ASKS_NS 100000000 /* between two questions about a file that is being read */

void found_free(struct found *f)
{
	facts_free(&f->value);
	facts_free(&f->folder);
}

static bool take_facts(void *out, struct cairn_slice fields)
{
	return facts_take(out, fields);
}

/* The one row of a scan for a folder. */
static bool take_folder(void *out, struct cairn_slice fields)
{
	struct facts *f = out;
	struct cairn_slice row;

	if (!cairn_field_find(fields, CAIRN_F_ROW, &row))
		return true;
	if (!facts_take(f, row))
		return false;
	f->kind = CAIRN_KIND_DIRECTORY;
	return true;
}

void msg_folder(struct mount *m, struct cairn_msg *msg, struct cairn_slice key)
{
	struct cairn_slice above = key;
	struct key end;

	do /* "a/b/" lies in "a/" */
		above.len--;
	while (above.len > 0 && ((const char *)above.data)[above.len - 1] != '/');
	end.len = key.len;
	memcpy(end.bytes, key.data, key.len);
	end.bytes[end.len - 1]++;
	msg_begin(m, msg, CAIRN_OP_SCAN);
	cairn_msg_bytes(msg, CAIRN_F_PREFIX, above);
	cairn_msg_bytes(msg, CAIRN_F_FROM, key);
	cairn_msg_bytes(msg, CAIRN_F_TO, key_slice(&end));
	cairn_msg_bytes(msg, CAIRN_F_DELIMITER, cairn_str("/"));
	cairn_msg_u64(msg, CAIRN_F_LIMIT, 1);
}

static void msg_stat(struct mount *m, struct cairn_msg *msg, struct cairn_slice key)
{
	msg_begin(m, msg, CAIRN_OP_GET);
	cairn_msg_bytes(msg, CAIRN_F_KEY, key);
	cairn_msg_bool(msg, CAIRN_F_META_ONLY, true);
}

int look(struct task *t, struct node *parent, struct cairn_slice part, bool self, struct found *f)
{
	const char *prefix = t->m->options.prefix;
	struct ask value = { 0 }, folder = { 0 };
	struct key key;
	MSG msg = { 0 };
	int r;

	found_free(f);
	f->as_of = t->m->cache.sequence;
	r = node_key_in(parent, prefix, part, self, true, &key);
	if (r < 0)
		return -r;
	if (!self) {
		msg_folder(t->m, &msg, key_slice(&key));
		ask_send(t, &folder, &msg, take_folder, &f->folder);
		key.len--;
	}
	if (key.len > 0) { /* the empty part in the root has no key, but may be a folder */
		msg_stat(t->m, &msg, key_slice(&key));
		ask_send(t, &value, &msg, take_facts, &f->value);
	}
	ask_wait(t);
	if (folder.code)
		return ask_errno(folder.code);
	return value.code == CAIRN_E_NOT_FOUND ? 0 : ask_errno(value.code);
}

/*
 * F is what the server says of the file N. Returns 0 when N is that file and its facts are as new as they can
 * be, ESTALE when N is open and its bytes were replaced, or another errno.
 */
static int update(struct task *t, struct node *n, struct facts *f, uint64_t as_of)
{
	struct content fresh = { 0 };
	struct facts newest = { 0 };
	uint64_t revision;
	int r = 0;

	facts_move(&newest, f);
	if (n->busy || n->content.dirty)
		goto out;
	if (newest.revision < n->facts.revision)
		goto out;
	if (newest.revision == n->facts.revision) { /* of which not all may be known, where we made it */
		facts_move(&n->facts, &newest);
		cache_know(t->m, n, as_of);
		goto out;
	}
	if (n->loaded && (n->opens > 0 || n->opening > 0)) {
		bool grown = newest.size >= n->content.len;

		if (grown || n->writers > 0)
			r = fetch(t, n, &fresh, &revision);
		if (r || n->busy || n->content.dirty || newest.revision <= n->facts.revision)
			goto out;
		if (!n->loaded) { /* meanwhile it was closed: what is opened next is new */
			facts_move(&n->facts, &newest);
			goto out;
		}
		grown = grown &&
			cairn_slice_starts(cairn_slice(fresh.data, fresh.len),
					   cairn_slice(n->content.data, n->content.len));
		r = !grown && !n->writers ? ESTALE : adopt(t->m, n, &fresh);
		if (r)
			goto out;
		newest.size = n->content.len;
		newest.revision = revision;
	}
	if (n->cached != newest.revision)
		n->same_from = newest.revision;
	facts_move(&n->facts, &newest);
	cache_know(t->m, n, as_of);
out:
	content_free(&fresh);
	facts_free(&newest);
	return r;
}

/* Whether N can be what F found. */
static bool is_same(const struct node *n, const struct found *f)
{
	const struct facts *g = f->folder.there ? &f->folder : &f->value;

	if (node_is_folder(n) != f->folder.there || (!f->folder.there && n->facts.kind != g->kind))
		return false;
	return !n->facts.file_id || !g->file_id || n->facts.file_id == g->file_id;
}

/* A new node for what was found. */
static struct node *add(struct task *t, struct node *parent, struct cairn_slice part, bool self,
			struct found *f)
{
	uint64_t as_of = f->as_of;
	struct node *n = node_add(&t->m->nodes, parent, part, self);

	if (!n)
		return NULL;
	facts_move(&n->facts, f->folder.there ? &f->folder : &f->value);
	n->same_from = n->facts.revision;
	if (n->facts.file_id)
		n->ino = n->facts.file_id;
	if (cache_name_holds(t->m, parent, part, as_of))
		cache_know(t->m, n, as_of);
	task_hold(t, n);
	node_drop(&t->m->nodes, n);
	return n;
}

int settle(struct task *t, struct node *parent, struct cairn_slice part, bool self, struct found *f,
	   struct node **out)
{
	struct nodes *nodes = &t->m->nodes;
	struct node *n = node_find(nodes, parent, part, self);
	int r = 0;

	if (n && !n->listed && !n->busy && (!is_same(n, f) || !(f->folder.there || f->value.there))) {
		node_detach(nodes, n, false);
		n = NULL;
	}
	if (!n && !f->folder.there && !f->value.there)
		return ENOENT;
	if (n && !n->listed && !n->busy) {
		task_hold(t, n);
		if (f->folder.there) {
			facts_move(&n->facts, &f->folder);
			cache_know(t->m, n, f->as_of);
		} else {
			r = update(t, n, &f->value, f->as_of);
		}
		if (r == ESTALE) { /* its name now belongs to another file */
			node_detach(nodes, n, false);
			r = look(t, parent, part, self, f);
			return r ? r : settle(t, parent, part, self, f, out);
		}
	}
	if (!n) {
		n = add(t, parent, part, self, f);
		if (!n)
			return ENOMEM;
	}
	n->asked_ns = clock_boot_ns();
	*out = task_hold(t, n);
	return r;
}

int refresh(struct task *t, struct node *n)
{
	return node_known(t->m, n) ? 0 : refresh_now(t, n);
}

int refresh_now(struct task *t, struct node *n)
{
	uint64_t as_of = t->m->cache.sequence;
	struct facts f = { 0 };
	struct key key;
	MSG msg = { 0 };
	enum cairn_code code;
	int r;

	if (n->listed || n->busy)
		return 0;
	n->asked_ns = clock_boot_ns();
	r = node_key(n, t->m->options.prefix, &key);
	if (r < 0)
		return -r;
	if (key.len == 0) /* the whole volume */
		return 0;
	if (node_is_folder(n))
		msg_folder(t->m, &msg, key_slice(&key));
	else
		msg_stat(t->m, &msg, key_slice(&key));
	code = ask(t, &msg, node_is_folder(n) ? take_folder : take_facts, &f);
	if (code == CAIRN_E_NOT_FOUND || (!code && !f.there && n->id != NODE_ROOT)) {
		if (!n->listed && !n->busy)
			node_detach(&t->m->nodes, n, false);
		r = ESTALE;
	} else if (code || !f.there) {
		r = ask_errno(code);
	} else if (n->facts.file_id && f.file_id && n->facts.file_id != f.file_id && !n->busy) {
		node_detach(&t->m->nodes, n, false);
		r = ESTALE;
	} else if (node_is_folder(n)) {
		facts_move(&n->facts, &f);
		cache_know(t->m, n, as_of);
	} else {
		r = update(t, n, &f, as_of);
		if (r == ESTALE)
			node_detach(&t->m->nodes, n, false);
	}
	facts_free(&f);
	return r;
}

/* A page of a folder, searched for the part whose name is "%@" and DIGITS. */
struct search {
	struct task *t;
	const unsigned char *digits;
	size_t prefix; /* bytes before the part */
	bool found, more;
	struct cairn_msg cursor; /* holds the CURSOR field */
};

static bool take_search(void *out, struct cairn_slice fields)
{
	struct search *s = out;
	struct cairn_slice body, key;
	unsigned field;

	s->more = false;
	s->cursor.len = 0;
	while (cairn_field_next(&fields, &field, &body) == 0 && field) {
		char digits[KEYMAP_HASH];

		if (field == CAIRN_F_CURSOR) {
			cairn_msg_bytes(&s->cursor, field, body);
			s->more = true;
		}
		if (s->found || field != CAIRN_F_ROW || !cairn_field_find(body, CAIRN_F_KEY, &key) ||
		    key.len <= s->prefix)
			continue;
		key = cairn_slice((const char *)key.data + s->prefix, key.len - s->prefix);
		if (((const char *)key.data)[key.len - 1] == '/')
			key.len--;
		keymap_hash(key, digits);
		if (memcmp(digits, s->digits, KEYMAP_HASH) != 0)
			continue;
		free(s->t->data);
		s->t->data = malloc(key.len);
		if (!s->t->data)
			return false;
		memcpy(s->t->data, key.data, key.len);
		s->t->data_len = key.len;
		s->found = true;
	}
	return true;
}

static int look_long(struct task *t, struct node *parent, const struct keymap_part *part)
{
	struct search s = { .t = t, .digits = part->bytes, .more = true };
	struct key key;
	MSG msg = { 0 };
	int r = -node_key(parent, t->m->options.prefix, &key);

	s.prefix = key.len;
	while (!r && !s.found && s.more) {
		msg_begin(t->m, &msg, CAIRN_OP_SCAN);
		cairn_msg_bytes(&msg, CAIRN_F_PREFIX, key_slice(&key));
		cairn_msg_bytes(&msg, CAIRN_F_DELIMITER, cairn_str("/"));
		cairn_msg_bool(&msg, CAIRN_F_KEYS_ONLY, true);
		cairn_msg_fields(&msg, cairn_msg_slice(&s.cursor));
		r = ask_errno(ask(t, &msg, take_search, &s));
	}
	cairn_msg_free(&s.cursor);
	return r ? r : s.found ? 0 : ENOENT;
}

int part_of(struct task *t, struct node *parent, const struct keymap_part *part, bool create,
	    struct cairn_slice *bytes, bool *self)
{
	*self = part->kind == KEYMAP_SELF;
	*bytes = cairn_slice(part->bytes, part->len);
	if (create && (part->kind == KEYMAP_VIEW || part->kind == KEYMAP_LONG))
		return part->kind == KEYMAP_VIEW ? EPERM : EINVAL;
	if (part->kind == KEYMAP_VIEW)
		return ENOENT;
	if (part->kind == KEYMAP_LONG) {
		int r = look_long(t, parent, part);

		if (r)
			return r;
		*bytes = cairn_slice(t->data, t->data_len);
	}
	return 0;
}

/* Nothing stands at PART, as was found when cache.sequence was AS_OF. */
static void reply_absent(struct task *t, struct cairn_slice part, uint64_t as_of)
{
	struct fuse_entry_param e = { .entry_timeout = BELIEVED_S };

	if (!t->req || !notifier_epochs(t->m->notifier) || !cache_name_holds(t->m, t->node, part, as_of)) {
		task_error(t, ENOENT);
		return;
	}
	t->node->absences = true;
	fuse_reply_entry(t->req, &e);
	t->req = NULL;
}

static void do_lookup(struct task *t)
{
	struct cairn_slice part;
	struct node *n;
	FOUND f = { 0 };
	bool self;
	int r = part_of(t, t->node, &t->part, false, &part, &self);

	n = r ? NULL : node_find(&t->m->nodes, t->node, part, self);
	if (!r && !(n && (n->listed || node_known(t->m, n)))) {
		r = look(t, t->node, part, self, &f);
		if (!r)
			r = settle(t, t->node, part, self, &f, &n);
	}
	if (r == ENOENT && t->part.kind == KEYMAP_PART)
		reply_absent(t, part, f.as_of);
	else if (r)
		task_error(t, r);
	else
		task_entry(t, n);
}

void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct task *t = task_new(req, parent);

	if (t && task_name(t, name))
		task_start(t, do_lookup);
}

void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
	struct mount *m = fuse_req_userdata(req);
	struct node *n = node_get(&m->nodes, ino);

	if (n)
		node_forget(&m->nodes, n, count);
	fuse_reply_none(req);
}

void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	struct mount *m = fuse_req_userdata(req);

	for (size_t i = 0; i < count; i++) {
		struct node *n = node_get(&m->nodes, forgets[i].ino);

		if (n)
			node_forget(&m->nodes, n, forgets[i].nlookup);
	}
	fuse_reply_none(req);
}

static void do_getattr(struct task *t)
{
	struct node *n = t->node;
	int r = n->parent || n->id == NODE_ROOT ? refresh(t, n) : 0;

	if (r == ESTALE && n->opens > 0)
		r = 0; /* what it was when it was opened, with no name left */
	else if (r == ESTALE && node_is_folder(n))
		r = ENOENT;
	if (r)
		task_error(t, r);
	else
		task_attr(t, n);
}

static void do_known_attr(struct task *t)
{
	task_attr(t, t->node);
}

void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct task *t = task_new(req, ino);

	bool known;

	if (!t)
		return;
	/* With a handle it is the kernel that asks, before each read(2): whether the file has grown is seen
	 * now and then. */
	known = node_known(t->m, t->node) ||
		(fi && !t->m->cache.live && clock_boot_ns() - t->node->asked_ns < READ_ASKS_NS);
	task_start(t, known ? do_known_attr : do_getattr);
}

static void do_readlink(struct task *t)
{
	struct content c = { 0 };
	uint64_t revision;
	int r = fetch(t, t->node, &c, &revision);

	if (!r && content_load(&c, cairn_slice("", 1)) < 0)
		r = ENOMEM;
	if (!r && t->req) {
		fuse_reply_readlink(t->req, (const char *)c.data);
		t->req = NULL;
	}
	content_free(&c);
	task_error(t, r);
}

void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct task *t = task_new(req, ino);

	if (t)
		task_start(t, do_readlink);
}
