/*
 * Listings, and statfs. A listing is fetched page by page as it is read and kept in its handle, so that it
 * can be sought in. A key "a" and a folder "a/" are one entry, the folder; since other keys may stand between
 * the two in key order, an entry is handed out only when no folder of its name can follow. Files that the
 * store has not seen yet are added at the end.
 */
#include <errno.h>
#include <stdlib.h>
#include "mount.h"
#include "banned.h"

#define PAGE_ROWS 1000
#define CHAIN_MAX 64 /* names that begin with one another: more are not looked at */

struct entry {
	uint64_t ino;
	uint32_t at; /* of its part in the arena */
	uint16_t len;
	uint8_t kind;
	uint32_t row, row_len; /* in listing.rows, where that has it */
	bool hidden;           /* a value whose folder is listed */
	bool self;             /* "%=": the folder's own value */
};

struct listing {
	struct node *node; /* a reference */
	struct entry *entries;
	size_t count, room;
	char *arena; /* parts, one behind the other */
	size_t used, size;
	size_t chain[CHAIN_MAX]; /* values that are the beginning of the last name, shortest first */
	unsigned links;
	struct cairn_msg cursor; /* the CURSOR field of the next page; empty at first */
	struct cairn_msg rows;   /* those of the page that came last, for the entries from ROWS_FROM on */
	size_t rows_from;
	uint64_t as_of, rows_as_of; /* cache.sequence when it was begun, when that page was asked for */
	bool started, ended;
	struct lock lock;
	size_t prefix; /* bytes of the folder's key */
};

static struct listing *listing_of(const struct fuse_file_info *fi)
{
	return (struct listing *)(uintptr_t)fi->fh;
}

static void listing_clear(struct listing *l)
{
	l->count = l->used = l->links = 0;
	l->cursor.len = l->rows.len = 0;
	l->started = l->ended = false;
}

static struct cairn_slice part_at(const struct listing *l, size_t i)
{
	return cairn_slice(l->arena + l->entries[i].at, l->entries[i].len);
}

static bool add(struct listing *l, struct cairn_slice part, uint64_t ino, unsigned kind)
{
	if (l->count == l->room) {
		size_t room = l->room ? l->room * 2 : 64;
		struct entry *e = reallocarray(l->entries, room, sizeof(*e));

		if (!e)
			return false;
		l->entries = e;
		l->room = room;
	}
	if (l->used + part.len > l->size) {
		size_t size = (l->used + part.len) * 2 + 1024;
		char *arena = realloc(l->arena, size);

		if (!arena)
			return false;
		l->arena = arena;
		l->size = size;
	}
	if (part.len)
		memcpy(l->arena + l->used, part.data, part.len);
	l->entries[l->count++] = (struct entry){
		.ino = ino, .at = (uint32_t)l->used, .len = (uint16_t)part.len, .kind = (uint8_t)kind
	};
	l->used += part.len;
	return true;
}

/* Take a row of the folder. */
static bool add_row(struct listing *l, struct cairn_slice row)
{
	struct facts f = { 0 };
	struct cairn_slice key, part;
	bool folder = cairn_field_bool(row, CAIRN_F_FOLDER, false), good;

	if (!cairn_field_find(row, CAIRN_F_KEY, &key) || key.len < l->prefix)
		return false;
	part = cairn_slice((const char *)key.data + l->prefix, key.len - l->prefix - folder);
	if (key.len == l->prefix) /* its own marker */
		return true;
	while (l->links > 0 && !cairn_slice_starts(part, part_at(l, l->chain[l->links - 1])))
		l->links--;
	if (folder && l->links > 0 && cairn_slice_eq(part, part_at(l, l->chain[l->links - 1])))
		l->entries[l->chain[--l->links]].hidden = true;
	good = facts_take(&f, row) && add(l, part, f.file_id, folder ? CAIRN_KIND_DIRECTORY : f.kind);
	facts_free(&f);
	if (good) {
		struct entry *e = &l->entries[l->count - 1];

		e->row = (uint32_t)l->rows.len;
		e->row_len = (uint32_t)row.len;
		cairn_msg_fields(&l->rows, row);
	}
	if (good && !folder && l->links < CHAIN_MAX)
		l->chain[l->links++] = l->count - 1;
	return good;
}

static bool take_rows(void *out, struct cairn_slice fields)
{
	struct listing *l = out;
	struct cairn_slice body;
	unsigned field;

	while (cairn_field_next(&fields, &field, &body) == 0 && field)
		if (field == CAIRN_F_ROW && !add_row(l, body))
			return false;
		else if (field == CAIRN_F_CURSOR)
			cairn_msg_bytes(&l->cursor, field, body);
	return true;
}

static bool take_self(void *out, struct cairn_slice fields)
{
	return facts_take(out, fields);
}

/* Add the files of this folder that the store has not seen. */
static void add_new(struct task *t, struct listing *l)
{
	for (struct node *n = t->m->nodes.dirty; n; n = n->next_dirty) {
		bool there = n->parent != l->node || n->facts.file_id;

		for (size_t i = 0; i < l->count && !there; i++)
			there = cairn_slice_eq(part_at(l, i), node_part(n));
		if (!there)
			add(l, node_part(n), n->ino, n->facts.kind);
	}
}

/* Fetch the next page. 0 or an errno. */
static int next_page(struct task *t, struct listing *l)
{
	struct ask page = { 0 }, self = { 0 };
	struct facts own = { 0 };
	MSG msg = { 0 };
	struct key key;
	int r = -node_key(l->node, t->m->options.prefix, &key);

	if (r)
		return r;
	l->prefix = key.len;
	msg_begin(t->m, &msg, CAIRN_OP_SCAN);
	cairn_msg_bytes(&msg, CAIRN_F_PREFIX, key_slice(&key));
	cairn_msg_bytes(&msg, CAIRN_F_DELIMITER, cairn_str("/"));
	cairn_msg_u64(&msg, CAIRN_F_LIMIT, PAGE_ROWS);
	cairn_msg_bool(&msg, CAIRN_F_META_ONLY, true);
	cairn_msg_fields(&msg, cairn_msg_slice(&l->cursor));
	l->cursor.len = l->rows.len = 0;
	l->rows_from = l->count;
	l->rows_as_of = t->m->cache.sequence;
	if (!l->started)
		l->as_of = l->rows_as_of;
	ask_send(t, &page, &msg, take_rows, l);
	if (!l->started && key.len > 1) { /* the value of the same name */
		msg_begin(t->m, &msg, CAIRN_OP_GET);
		key.len--;
		cairn_msg_bytes(&msg, CAIRN_F_KEY, key_slice(&key));
		cairn_msg_bool(&msg, CAIRN_F_META_ONLY, true);
		ask_send(t, &self, &msg, take_self, &own);
	}
	ask_wait(t);
	r = ask_errno(page.code);
	if (!r && own.there && l->node->id != NODE_ROOT) {
		if (add(l, cairn_slice("", 0), own.file_id, own.kind))
			l->entries[l->count - 1].self = true;
		else
			r = ENOMEM;
	}
	facts_free(&own);
	l->started = true;
	l->ended = l->cursor.len == 0;
	if (!r && l->ended) {
		add_new(t, l);
		l->node->lists =
			t->m->cache.live && l->as_of >= t->m->cache.all && l->node->touched <= l->as_of;
	}
	return r;
}

/* How many entries can be handed out. */
static size_t ready(const struct listing *l)
{
	return l->ended || !l->links ? l->count : l->chain[0];
}

/* The name of entry I with a NUL, and its number. */
static void name_of(const struct listing *l, size_t i, char name[KEYMAP_NAME_MAX + 1], struct stat *st)
{
	const struct entry *e = &l->entries[i];
	size_t len;

	if (e->self) {
		memcpy(name, "%=", 3);
	} else {
		len = keymap_to_name(part_at(l, i), l->node->id == NODE_ROOT, name);
		name[len] = 0;
	}
	*st = (struct stat){
		.st_ino = e->ino ? e->ino : (1ull << 62 | (i + 2)),
		.st_mode = facts_type(e->kind),
	};
}

/* The node of entry I, with what its row says, for a kernel that takes attributes with names; NULL where it
 * is to be looked up by itself. */
static struct node *node_of(struct task *t, struct listing *l, size_t i)
{
	const struct entry *e = &l->entries[i];
	struct cairn_slice part = part_at(l, i);
	struct nodes *nodes = &t->m->nodes;
	struct node *n = node_find(nodes, l->node, part, false);
	struct facts f = { 0 };

	if (n && (n->listed || node_known(t->m, n)))
		return n;
	if (e->self || i < l->rows_from || !e->row_len ||
	    !cache_name_holds(t->m, l->node, part, l->rows_as_of) ||
	    (n && (n->opens > 0 || n->opening > 0 || n->busy || n->facts.file_id != e->ino)) ||
	    !facts_take(&f, cairn_slice(l->rows.data + e->row, e->row_len)))
		return NULL;
	f.kind = e->kind;
	if (!n) {
		n = node_add(nodes, l->node, part, false);
		if (!n) {
			facts_free(&f);
			return NULL;
		}
		n->ino = f.file_id ? f.file_id : n->ino;
		n->refs--; /* the kernel keeps it */
	}
	if (n->cached != f.revision)
		n->same_from = f.revision;
	facts_move(&n->facts, &f);
	cache_know(t->m, n, l->rows_as_of);
	return n;
}

/* Entry I (0 and 1 are "." and "..") of L into the LEFT bytes at BUFFER. Returns how many bytes it needs. */
static size_t put_entry(struct task *t, struct listing *l, size_t i, char *buffer, size_t left,
			struct node **node)
{
	char name[KEYMAP_NAME_MAX + 1] = "..";
	struct fuse_entry_param e = { 0 };
	struct stat st = { .st_ino = l->node->ino, .st_mode = S_IFDIR };

	*node = NULL;
	if (i < 2)
		name[i + 1] = 0;
	else
		name_of(l, i - 2, name, &st);
	if (i == 1 && l->node->parent)
		st.st_ino = l->node->parent->ino;
	if (!t->flags)
		return fuse_add_direntry(t->req, buffer, left, name, &st, (off_t)i + 1);
	e.attr = st;
	if (fuse_add_direntry_plus(t->req, NULL, 0, name, NULL, 0) > left)
		return left + 1;
	if (i >= 2)
		*node = node_of(t, l, i - 2);
	if (*node) {
		(*node)->lookups++;
		entry_fill(t->m, *node, &e);
	}
	return fuse_add_direntry_plus(t->req, buffer, left, name, &e, (off_t)i + 1);
}

/* Answer T from the entries that are there; the cookie of an entry is its place, "." and ".." first. */
static void reply_entries(struct task *t, struct listing *l)
{
	struct node **told = calloc(t->size / 24 + 1, sizeof(*told)); /* an entry has more bytes than that */
	char *buffer = malloc(t->size);
	size_t used = 0, end = ready(l) + 2, count = 0;

	if (!buffer || !told || !t->req) {
		free(buffer);
		free(told);
		task_error(t, ENOMEM);
		return;
	}
	for (size_t i = (size_t)t->off; i < end; i++) {
		size_t need;

		if (i >= 2 && l->entries[i - 2].hidden)
			continue;
		need = put_entry(t, l, i, buffer + used, t->size - used, &told[count]);
		if (need > t->size - used)
			break;
		used += need;
		count += told[count] != NULL;
	}
	if (fuse_reply_buf(t->req, buffer, used) < 0) /* nobody has them */
		while (count > 0)
			node_forget(&t->m->nodes, told[--count], 1);
	t->req = NULL;
	free(buffer);
	free(told);
}

static void do_readdir(struct task *t)
{
	struct listing *l = listing_of(&t->fi);
	int r = 0;

	lock_take(t, &l->lock);
	if (t->off == 0 && l->started)
		listing_clear(l); /* rewinddir(3) shows what is there now */
	while (!r && !l->ended && (size_t)t->off >= ready(l) + (t->off > 1 ? 2 : 0))
		r = next_page(t, l);
	if (r)
		task_error(t, r);
	else
		reply_entries(t, l);
	lock_give(t->m, &l->lock);
}

static void start_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi,
			  bool plus)
{
	struct task *t = task_new(req, ino);

	if (!t)
		return;
	t->flags = plus;
	t->size = size;
	t->off = off;
	t->fi = *fi;
	task_start(t, do_readdir);
}

void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	start_readdir(req, ino, size, off, fi, false);
}

void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	start_readdir(req, ino, size, off, fi, true);
}

void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct mount *m = fuse_req_userdata(req);
	struct node *n = node_get(&m->nodes, ino);
	struct listing *l = n ? calloc(1, sizeof(*l)) : NULL;

	if (!l) {
		fuse_reply_err(req, n ? ENOMEM : ESTALE);
		return;
	}
	l->node = node_hold(n);
	fi->fh = (uintptr_t)l;
	fi->cache_readdir = m->cache.live;
	fi->keep_cache = n->lists;
	if (fuse_reply_open(req, fi) < 0) {
		node_drop(&m->nodes, n);
		free(l);
	}
}

void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct mount *m = fuse_req_userdata(req);
	struct listing *l = listing_of(fi);

	(void)ino;
	node_drop(&m->nodes, l->node);
	cairn_msg_free(&l->cursor);
	cairn_msg_free(&l->rows);
	free(l->entries);
	free(l->arena);
	free(l);
	fuse_reply_err(req, 0);
}

void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	(void)ino;
	(void)datasync;
	(void)fi;
	fuse_reply_err(req, 0); /* what it lists was committed before the call that made it came back */
}

/* What statfs tells: space on the server, and what the volume holds and may hold (0: no limit). */
struct space {
	const char *volume;
	uint64_t free, used, quota, keys;
};

static bool take_space(void *out, struct cairn_slice fields)
{
	struct space *s = out;
	struct cairn_slice body, name;
	unsigned field;

	if (cairn_field_find(fields, CAIRN_F_NODE, &body))
		s->free = cairn_field_u64(body, CAIRN_F_DISK_FREE, 0);
	while (cairn_field_next(&fields, &field, &body) == 0 && field != CAIRN_F_END)
		if (field == CAIRN_F_VOLUMES && cairn_field_find(body, CAIRN_F_NAME, &name) &&
		    cairn_slice_eq(name, cairn_str(s->volume))) {
			s->used = cairn_field_u64(body, CAIRN_F_BYTES, 0) +
				cairn_field_u64(body, CAIRN_F_STAGED, 0);
			s->quota = cairn_field_u64(body, CAIRN_F_QUOTA, 0);
			s->keys = cairn_field_u64(body, CAIRN_F_KEYS, 0);
		}
	return true;
}

static void do_statfs(struct task *t)
{
	struct statvfs st = { .f_bsize = 4096, .f_frsize = 4096, .f_namemax = KEYMAP_NAME_MAX };
	struct space space = { .volume = t->m->options.volume };
	uint64_t left;
	MSG msg = { 0 };
	int r;

	cairn_msg_start(&msg, CAIRN_OP_STATUS);
	r = ask_errno(ask(t, &msg, take_space, &space));
	if (r) {
		task_error(t, r);
		return;
	}
	left = space.quota > space.used ? space.quota - space.used : 0;
	if (space.quota && left < space.free)
		space.free = left;
	st.f_bfree = st.f_bavail = space.free / 4096 + 1; /* some programs do not write where none is free */
	st.f_blocks = st.f_bfree + space.used / 4096;
	st.f_ffree = st.f_favail = UINT32_MAX;
	st.f_files = st.f_ffree + space.keys;
	if (t->req)
		fuse_reply_statfs(t->req, &st);
	t->req = NULL;
}

void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct task *t = task_new(req, ino);

	if (t)
		task_start(t, do_statfs);
}
