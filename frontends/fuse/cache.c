/*
 * What the mount and the kernel may believe. One watch on all keys that the mount shows tells of every
 * change; as long as it is in force, what was once read is right until a change of it comes, and the kernel
 * is let believe it for an hour, the absence of a name included. A change first makes our node out of date,
 * then the kernel is told (notify.c). Our own changes are known by their writer and left out: whoever made
 * them has seen to it. When the watch is silent for too long, or its server is lost, nothing is believed any
 * more, and every call asks the server as if there had never been a watch, until it is in force again.
 */
#include <errno.h>
#include <stdlib.h>
#include <syslog.h>
#include "clock.h"
#include "mount.h"
#include "banned.h"

#define BEAT_MS 500
#define SILENT_NS 1500000000u
#define LOST_NS 1000000000u  /* longest that the kernel may take a lost name for a good one */
#define AGAIN_NS 1000000000u /* before a watch that ended is asked for again */

/* One change, as the watch tells it. */
struct change {
	struct cairn_slice key, other;
	uint64_t revision, create_revision, file_id;
	bool deleted, made;
	enum { VALUE, APPENDED, ATTRIBUTES, MOVED } what;
};

static uint64_t *recent(struct cache *c, const struct node *parent, struct cairn_slice part)
{
	const unsigned char *p = part.data;
	uint64_t h = parent->id * 0x9e3779b97f4a7c15;

	for (size_t i = 0; i < part.len; i++)
		h = (h ^ p[i]) * 0x100000001b3;
	return &c->recent[(h ^ h >> 32) % CACHE_RECENT];
}

bool cache_name_holds(struct mount *m, const struct node *parent, struct cairn_slice part, uint64_t as_of)
{
	return m->cache.live && as_of >= m->cache.all && *recent(&m->cache, parent, part) <= as_of;
}

void cache_know(struct mount *m, struct node *n, uint64_t as_of)
{
	if (m->cache.live && as_of >= m->cache.all && n->touched <= as_of)
		n->generation = m->cache.generation;
}

/* N is out of date, and the kernel's attributes of it; PAGES: also its bytes or list of names. */
static void outdate(struct mount *m, struct node *n, bool pages)
{
	n->touched = m->cache.sequence;
	n->generation = 0;
	if (n->lookups > 0 && (n->told || (pages && (n->cached || n->lists))))
		notify_inode(m->notifier, n->id, pages);
	n->told = false;
	if (pages)
		n->cached = n->lists = 0;
}

void cache_folder_changed(struct mount *m, struct node *n, bool by_kernel)
{
	m->cache.sequence++;
	if (by_kernel) { /* it has seen to its own part */
		n->touched = m->cache.sequence;
		n->generation = 0;
		n->lists = 0;
	} else {
		outdate(m, n, true);
	}
}

/* The name PART in PARENT means something else now. */
static void forget_name(struct mount *m, const struct node *parent, struct cairn_slice part, bool self)
{
	char name[KEYMAP_NAME_MAX] = "%=";
	size_t len = self ? 2 : keymap_to_name(part, parent->id == NODE_ROOT, name);

	if (parent->lookups > 0 || parent->id == NODE_ROOT)
		notify_entry(m->notifier, parent->id, name, len);
}

void cache_name_changed(struct task *t, struct node *parent, struct cairn_slice part, bool self)
{
	if (!t->req) /* the kernel believes that its call has failed */
		forget_name(t->m, parent, part, self);
	cache_folder_changed(t->m, parent, t->req != NULL);
}

/* N has lost its name to a change elsewhere. */
static void lose(struct mount *m, struct node *n)
{
	if (!n->parent)
		return;
	forget_name(m, n->parent, node_part(n), n->self);
	outdate(m, n, false);
	node_detach(&m->nodes, n, false);
	n->lost_ns = clock_boot_ns();
}

bool cache_just_lost(const struct node *n)
{
	return !n->parent && n->lost_ns && clock_boot_ns() - n->lost_ns < LOST_NS;
}

/* Ask whether the folder of T is still there: the last key in it may be gone. */
static void do_check(struct task *t)
{
	struct node *n = t->node, *parent = n->parent ? task_hold(t, n->parent) : NULL;
	int r = refresh_now(t, n);

	t->m->cache.checks--;
	n->checking = false;
	if (r != ESTALE || !parent)
		return;
	forget_name(t->m, parent, node_part(n), false);
	cache_folder_changed(t->m, parent, false);
}

static void check_later(struct mount *m, struct node *n)
{
	if (n->checking || n->id == NODE_ROOT || n->lookups == 0)
		return;
	outdate(m, n, false);
	n->checking = task_start_silent(m, n, do_check);
	m->cache.checks += n->checking;
}

/* The part of KEY behind the mount's prefix. False where it is not shown here. */
static bool within(const struct mount *m, struct cairn_slice *key)
{
	size_t len = strlen(m->options.prefix);

	if (len == 0)
		return true;
	if (key->len <= len || memcmp(key->data, m->options.prefix, len) != 0 ||
	    ((const char *)key->data)[len] != '/')
		return false;
	*key = cairn_slice((const char *)key->data + len + 1, key->len - len - 1);
	return true;
}

/*
 * The folder that *KEY lies in, and what remains of the key behind it; NULL where we do not know the folder.
 * CHANGE (may be NULL) is what happened to the key: folders on the way come or go with it.
 */
static struct node *walk(struct mount *m, struct cairn_slice *key, const struct change *change)
{
	struct node *n = m->nodes.root;
	const char *slash;

	while ((slash = key->len ? memchr(key->data, '/', key->len) : NULL)) {
		struct cairn_slice part = cairn_slice(key->data, (size_t)(slash - (const char *)key->data));
		struct node *child = node_find(&m->nodes, n, part, false);

		if (change && (change->made || change->deleted))
			*recent(&m->cache, n, part) = m->cache.sequence;
		if (!child || !node_is_folder(child)) {
			if (!change || !(change->made || change->deleted))
				return NULL;
			if (n->absences || child)
				forget_name(m, n, part, false);
			if (child)
				outdate(m, child, true);
			outdate(m, n, true);
			return NULL;
		}
		if (change && change->deleted && !child->facts.file_id)
			check_later(m, child);
		n = child;
		*key = cairn_slice(slash + 1, key->len - part.len - 1);
	}
	return n;
}

/* The node N was moved elsewhere to the key TO; a folder's ends with a slash. */
static void follow(struct mount *m, struct node *n, struct cairn_slice to)
{
	struct node *parent, *target;
	struct cairn_slice rest = to;

	if (node_is_folder(n))
		rest.len--;
	parent = within(m, &rest) ? walk(m, &rest, NULL) : NULL;
	if (!parent || node_within(parent, n) || n->self) {
		lose(m, n);
		return;
	}
	target = node_find(&m->nodes, parent, rest, false);
	if (target == n)
		return;
	if (target)
		lose(m, target);
	forget_name(m, n->parent, node_part(n), false);
	outdate(m, n->parent, true);
	outdate(m, n, false);
	if (node_move(&m->nodes, n, parent, rest, false) < 0)
		lose(m, n);
	if (parent->absences)
		forget_name(m, parent, rest, false);
	outdate(m, parent, true);
}

/* The file N has changed as C says. */
static void file_changed(struct mount *m, struct node *n, const struct change *c)
{
	bool known = node_known(m, n), kept = c->what == ATTRIBUTES || c->what == MOVED;

	if (c->revision <= n->facts.revision) /* we have read newer */
		return;
	if (n->busy || n->listed || n->content.dirty) { /* its commit meets what is there */
		outdate(m, n, false);
		return;
	}
	if (c->what == MOVED && c->deleted) {
		follow(m, n, c->other);
	} else if (c->deleted || (c->file_id && n->facts.file_id && c->file_id != n->facts.file_id) ||
		   (c->what == VALUE && n->opens > 0 && n->writers == 0)) {
		lose(m, n);
	} else {
		uint64_t cached = kept && known && n->cached == n->facts.revision ? c->revision : 0;

		outdate(m, n, !kept);
		n->cached = cached;
	}
}

static void key_changed(struct mount *m, struct change *c)
{
	struct cairn_slice part = c->key;
	struct node *n, *child;
	bool self = false;

	if (!within(m, &part))
		return;
	n = walk(m, &part, c);
	if (!n)
		return;
	if (part.len == 0) { /* the folder's marker */
		if (c->deleted)
			check_later(m, n);
		else
			outdate(m, n, false);
		return;
	}
	*recent(&m->cache, n, part) = m->cache.sequence;
	child = node_find(&m->nodes, n, part, false);
	if (c->made || c->deleted)
		outdate(m, n, true);
	if (child && node_is_folder(child)) { /* then this is its value */
		n = child;
		part.len = 0;
		self = true;
		child = node_find(&m->nodes, n, part, true);
		outdate(m, n, true);
	}
	if (child)
		file_changed(m, child, c);
	else if (!c->deleted && n->absences)
		forget_name(m, n, part, self);
}

/* All keys of a folder were moved. */
static void folder_moved(struct mount *m, const struct change *c)
{
	struct cairn_slice part = c->key;
	struct node *n = NULL;

	if (!within(m, &part) || part.len == 0) {
		if (cairn_slice_starts(cairn_str(m->options.prefix),
				       cairn_slice(c->key.data, c->key.len - 1)))
			cache_lose(m);
		return;
	}
	part.len--;
	n = walk(m, &part, NULL);
	n = n ? node_find(&m->nodes, n, part, false) : NULL;
	if (n && node_is_folder(n))
		follow(m, n, c->other);
}

static void take_change(struct mount *m, struct cairn_slice fields)
{
	struct cairn_slice body;
	struct change c = {
		.revision = cairn_field_u64(fields, CAIRN_F_REVISION, 0),
		.file_id = cairn_field_u64(fields, CAIRN_F_FILE_ID, 0),
		.deleted = cairn_field_bool(fields, CAIRN_F_DELETED, false),
	};

	if (c.revision > m->cache.revision + 1)
		m->cache.revision = c.revision - 1; /* more of the same one may come */
	if (cairn_field_find(fields, CAIRN_F_CLIENT, &body) && cairn_slice_eq(body, cairn_identity(m->cairn)))
		return;
	m->cache.sequence++;
	if (!cairn_field_find(fields, CAIRN_F_CHANGE, &body) || cairn_slice_eq(body, cairn_str("flush"))) {
		cache_lose(m);
		return;
	}
	if (cairn_slice_eq(body, cairn_str("append")) || cairn_slice_eq(body, cairn_str("patch")))
		c.what = APPENDED;
	else if (cairn_slice_eq(body, cairn_str("attributes")) || cairn_slice_eq(body, cairn_str("ttl")))
		c.what = ATTRIBUTES;
	else if (cairn_slice_eq(body, cairn_str("move")) || cairn_slice_eq(body, cairn_str("move-prefix")))
		c.what = MOVED;
	c.made = !c.deleted && cairn_field_u64(fields, CAIRN_F_CREATE_REVISION, c.revision) == c.revision;
	cairn_field_find(fields, CAIRN_F_KEY, &c.key);
	cairn_field_find(fields, CAIRN_F_OTHER, &c.other);
	if (cairn_field_bool(fields, CAIRN_F_FOLDER, false))
		folder_moved(m, &c);
	else if (c.key.len)
		key_changed(m, &c);
	if (notifier_overflow(m->notifier))
		cache_lose(m);
}

static void on_event(void *arg, struct cairn_reply *r)
{
	struct mount *m = arg;
	struct cache *c = &m->cache;

	if (!r->event) {
		syslog(LOG_WARNING, "watch: %s", r->error.message);
		cache_lose(m);
		c->watch = 0;
		c->again_ns = clock_boot_ns() + AGAIN_NS;
		return;
	}
	c->heard_ns = clock_boot_ns();
	if (cairn_field_bool(r->fields, CAIRN_F_PROGRESS, false)) {
		uint64_t revision = cairn_field_u64(r->fields, CAIRN_F_REVISION, 0);

		if (!c->live)
			c->all = ++c->sequence;
		c->live = true;
		c->revision = revision > c->revision ? revision : c->revision;
	} else if (m->notifier) {
		take_change(m, r->fields);
	}
}

/* Ask for the watch. */
static void begin(struct mount *m)
{
	struct cache *c = &m->cache;
	MSG msg = { 0 };

	if (!c->generation)
		c->generation = 1;
	msg_begin(m, &msg, CAIRN_OP_WATCH);
	if (*m->options.prefix) {
		size_t len = strlen(m->options.prefix);
		char *prefix = cairn_msg_room(&msg, CAIRN_F_PREFIX, len + 1);

		if (prefix) {
			memcpy(prefix, m->options.prefix, len);
			prefix[len] = '/';
		}
	} else {
		cairn_msg_bytes(&msg, CAIRN_F_PREFIX, cairn_slice("", 0));
	}
	cairn_msg_bool(&msg, CAIRN_F_PROGRESS, true);
	cairn_msg_u64(&msg, CAIRN_F_BEAT_MS, BEAT_MS);
	if (cairn_watch(m->cairn, &msg, on_event, m, &c->watch))
		c->watch = 0;
	m->asked = true;
	c->again_ns = clock_boot_ns() + AGAIN_NS;
}

void cache_lose(struct mount *m)
{
	struct cache *c = &m->cache;
	uint64_t *inos;
	size_t count = 0;

	if (!c->live)
		return;
	c->live = false;
	c->generation++;
	c->all = ++c->sequence;
	inos = calloc(m->nodes.count, sizeof(*inos));
	for (size_t i = 0; i < m->nodes.size; i++)
		for (struct node *n = m->nodes.by_id[i]; n; n = n->id_next) {
			if (n->told && inos)
				inos[count++] = n->id;
			if (n->told && n->parent && !notifier_epochs(m->notifier))
				forget_name(m, n->parent, node_part(n), n->self);
			n->told = false;
			n->lists = 0;
		}
	notify_all(m->notifier, inos, count);
}

int cache_tick(struct mount *m)
{
	struct cache *c = &m->cache;
	uint64_t now = clock_boot_ns();

	if (m->options.consistency == CONSISTENCY_STRICT)
		return -1;
	if (!c->watch && now >= c->again_ns)
		begin(m);
	if (c->live && (!cairn_server(m->cairn) || now - c->heard_ns > SILENT_NS)) {
		syslog(LOG_NOTICE, "the server is silent: nothing is believed until it is back");
		cache_lose(m);
	}
	return BEAT_MS;
}

bool cache_has_told(struct mount *m, uint64_t revision, uint64_t *notes)
{
	if (!m->cache.live)
		return true;
	if (m->cache.revision < revision || m->cache.checks > 0)
		return false;
	if (!*notes)
		*notes = notifier_count(m->notifier) + 1;
	return notifier_told(m->notifier, *notes - 1);
}

void cache_end(struct mount *m)
{
	if (m->cache.watch)
		cairn_cancel(m->cairn, m->cache.watch);
	m->cache.watch = 0;
	m->cache.live = false;
}
