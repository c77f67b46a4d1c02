/*
 * Extended attributes. "user.cairn.…" are facts about a key that programs can ask for and that no listing
 * shows, so that nobody copies them; other "user.…" stand in the record. Everything else is answered at once
 * without the server: ls asks for it of every file.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/xattr.h>
#include "clock.h"
#include "mount.h"
#include "banned.h"

#define OWN "user.cairn."

/* Why an attribute named NAME cannot be there; 0 where it can. */
static int refusal(const char *name, bool set)
{
	if (!strncmp(name, "system.posix_acl_", 17))
		return EOPNOTSUPP;
	if (strncmp(name, "user.", 5) != 0)
		return set ? EOPNOTSUPP : ENODATA;
	return set && !strncmp(name, OWN, strlen(OWN)) ? EPERM : 0;
}

/* A task for the attribute NAME, unless it is refused. */
static struct task *attribute_task(fuse_req_t req, fuse_ino_t ino, const char *name, bool set)
{
	int r = refusal(name, set);

	if (r)
		fuse_reply_err(req, r);
	return r ? NULL : task_new(req, ino);
}

/* Answer with VALUE as getxattr(2) and listxattr(2) have it. */
static void reply_value(struct task *t, struct cairn_slice value)
{
	if (!t->req)
		return;
	if (t->size == 0)
		fuse_reply_xattr(t->req, value.len);
	else if (value.len > t->size)
		fuse_reply_err(t->req, ERANGE);
	else
		fuse_reply_buf(t->req, value.data, value.len);
	t->req = NULL;
}

/* The facts that can be asked for, one row each. */
enum own {
	OWN_CURRENT,
	OWN_KEY,
	OWN_VOLUME,
	OWN_SERVER,
	OWN_REVISION,
	OWN_CREATE_REVISION,
	OWN_VERSION,
	OWN_COMMIT_TIME,
	OWN_COUNT
};
static const char *const own_names[OWN_COUNT] = {
	[OWN_CURRENT] = "current",   [OWN_KEY] = "key",
	[OWN_VOLUME] = "volume",     [OWN_SERVER] = "server",
	[OWN_REVISION] = "revision", [OWN_CREATE_REVISION] = "create_revision",
	[OWN_VERSION] = "version",   [OWN_COMMIT_TIME] = "commit_time",
};

static bool take_revision(void *out, struct cairn_slice fields)
{
	*(uint64_t *)out = cairn_field_u64(fields, CAIRN_F_REVISION, 0);
	return true;
}

/* Wait until all that was committed by now is seen here, by us and by the kernel. 0 or an errno. */
static int catch_up(struct task *t, uint64_t *revision)
{
	uint64_t notes = 0;
	MSG msg = { 0 };
	int r;

	msg_begin(t->m, &msg, CAIRN_OP_PING);
	r = ask_errno(ask(t, &msg, take_revision, revision));
	while (!r && t->req && !cache_has_told(t->m, *revision, &notes))
		task_pause(t);
	return r;
}

static void reply_own(struct task *t, const char *name)
{
	uint64_t current = 0;
	int r;

	const struct facts *f = &t->node->facts;
	struct mount *m = t->m;
	struct key key = { 0 };
	char text[CLOCK_TEXT + 1] = "";
	struct cairn_slice value = cairn_slice(text, 0);
	int own = 0;

	while (own < OWN_COUNT && strcmp(own_names[own], name) != 0)
		own++;
	if (own == OWN_COUNT || (own >= OWN_REVISION && !f->revision)) {
		task_error(t, ENODATA);
		return;
	}
	r = own == OWN_CURRENT   ? catch_up(t, &current)
		: own == OWN_KEY ? -node_key(t->node, m->options.prefix, &key)
				 : 0;
	if (r) {
		task_error(t, r);
		return;
	}
	if (own == OWN_KEY) {
		value = key_slice(&key);
	} else if (own == OWN_VOLUME) {
		value = cairn_str(m->options.volume);
	} else if (own == OWN_SERVER) {
		value = cairn_str(m->options.servers);
	} else if (own == OWN_COMMIT_TIME) {
		clock_format(f->time_ns, text);
		value = cairn_str(text);
	} else {
		snprintf(text, sizeof(text), "%llu",
			 (unsigned long long)(own == OWN_CURRENT            ? current
						      : own == OWN_REVISION ? f->revision
						      : own == OWN_VERSION  ? f->version
									    : f->create_revision));
		value = cairn_str(text);
	}
	reply_value(t, value);
}

static void do_getxattr(struct task *t)
{
	struct cairn_slice value;
	bool own = !strncmp(t->data, OWN, strlen(OWN));
	int r = own ? refresh_now(t, t->node) : refresh(t, t->node);

	if (r)
		task_error(t, r);
	else if (!strncmp(t->data, OWN, strlen(OWN)))
		reply_own(t, (const char *)t->data + strlen(OWN));
	else if (facts_xattr(&t->node->facts, t->data, &value))
		reply_value(t, value);
	else
		task_error(t, ENODATA);
}

void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct task *t = attribute_task(req, ino, name, false);

	if (!t)
		return;
	t->size = size;
	t->data = strdup(name);
	task_start(t, t->data ? do_getxattr : NULL);
}

/* Names one behind the other, each with its NUL. */
struct names {
	struct content text;
	bool failed;
};

static void add_name(void *arg, struct cairn_slice name)
{
	struct names *n = arg;

	if (content_load(&n->text, name) < 0 || content_load(&n->text, cairn_slice("", 1)) < 0)
		n->failed = true;
}

static void do_listxattr(struct task *t)
{
	struct names names = { 0 };
	int r = refresh(t, t->node);

	facts_each_xattr(&t->node->facts, add_name, &names);
	if (!r && names.failed)
		r = ENOMEM;
	if (r)
		task_error(t, r);
	else
		reply_value(t, cairn_slice(names.text.data, names.text.len));
	content_free(&names.text);
}

void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct task *t = task_new(req, ino);

	if (!t)
		return;
	t->size = size;
	task_start(t, do_listxattr);
}

/* Set the attribute T->data to VALUE (NULL: remove it) as FLAGS allow. 0 or an errno. */
static int set(struct task *t, const char *name, const struct cairn_slice *value)
{
	struct node *n = t->node;
	int r = n->content.dirty ? commit(t, n) : 0;

	for (int i = 0; i < TRIES && (!r || r == EAGAIN); i++) {
		MSG attributes = { 0 };
		struct cairn_slice old;
		uint64_t revision;
		bool there;
		size_t mark, item;

		r = refresh_now(t, n);
		if (r)
			return r;
		revision = n->facts.revision;
		there = facts_xattr(&n->facts, name, &old);
		if (there ? t->flags & XATTR_CREATE : !value || t->flags & XATTR_REPLACE)
			return there ? EEXIST : ENODATA;
		mark = cairn_msg_open(&attributes, CAIRN_F_ATTRIBUTES);
		cairn_msg_u64(&attributes, CAIRN_F_CTIME, now_ns(n->facts.ctime_ns));
		item = cairn_msg_open(&attributes, CAIRN_F_XATTR);
		cairn_msg_text(&attributes, CAIRN_F_NAME, name);
		if (value)
			cairn_msg_bytes(&attributes, CAIRN_F_VALUE, *value);
		cairn_msg_close(&attributes, item);
		cairn_msg_close(&attributes, mark);
		r = set_attributes(t, n, &attributes, revision);
		if (!r) {
			n->facts.revision =
				revision; /* so that the next look takes what the store made of it */
			n->generation = 0;
			return 0;
		}
	}
	return r == EAGAIN ? EIO : r;
}

static void do_setxattr(struct task *t)
{
	const char *name = t->data;
	struct cairn_slice value = cairn_slice(name + t->off, t->size);
	int r;

	lock_take(t, &t->node->lock);
	r = set(t, name, &value);
	lock_give(t->m, &t->node->lock);
	task_error(t, r);
}

void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
	size_t len = strlen(name) + 1;
	struct task *t = attribute_task(req, ino, name, true);

	if (!t)
		return;
	t->flags = (unsigned)flags;
	t->data = malloc(len + size);
	if (t->data) { /* the name, its NUL, the value */
		memcpy(t->data, name, len);
		memcpy((char *)t->data + len, value, size);
		t->off = (off_t)len;
		t->size = size;
	}
	task_start(t, t->data ? do_setxattr : NULL);
}

static void do_removexattr(struct task *t)
{
	int r;

	lock_take(t, &t->node->lock);
	r = set(t, t->data, NULL);
	lock_give(t->m, &t->node->lock);
	task_error(t, r);
}

void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct task *t = attribute_task(req, ino, name, true);

	if (!t)
		return;
	t->data = strdup(name);
	task_start(t, t->data ? do_removexattr : NULL);
}
