/*
 * Tasks: a request of the kernel, from its arrival to its answer, in a coroutine. It asks the server and
 * yields until the answers are there; the loop goes on meanwhile. When its time is over it is answered with
 * EIO although it still waits, and whatever it does later reaches nobody; so nobody ever hangs in the kernel.
 */
#include <errno.h>
#include <stdlib.h>
#include "clock.h"
#include "mount.h"
#include "banned.h"

#define NS_PER_MS 1000000ull
#define LOOK_MS 100 /* how often waiting tasks are looked at */
#define INTERRUPT_MS \
	1000 /* a signal ends only waits that are longer than this: most programs cannot cope with EINTR */

static void task_free(struct task *t)
{
	struct mount *m = t->m;

	*(t->prev ? &t->prev->next : &m->tasks) = t->next;
	if (t->next)
		t->next->prev = t->prev;
	while (t->held_count > 0)
		node_drop(&m->nodes, t->held[--t->held_count]);
	free(t->data);
	free(t);
}

static void on_interrupt(fuse_req_t req, void *arg)
{
	struct task *t = arg;

	(void)req;
	t->interrupted = true;
}

static struct task *new_task(struct mount *m, struct node *n)
{
	struct task *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->m = m;
	t->start_ns = clock_boot_ns();
	t->next = m->tasks;
	if (m->tasks)
		m->tasks->prev = t;
	m->tasks = t;
	t->node = task_hold(t, n);
	return t;
}

struct task *task_new(fuse_req_t req, fuse_ino_t ino)
{
	struct mount *m = fuse_req_userdata(req);
	const struct fuse_ctx *who = fuse_req_ctx(req);
	struct node *n = node_get(&m->nodes, ino);
	struct task *t = n ? new_task(m, n) : NULL;

	if (!t) {
		fuse_reply_err(req, n ? ENOMEM : ESTALE);
		return NULL;
	}
	t->req = req;
	t->uid = who->uid;
	t->gid = who->gid;
	t->pid = who->pid;
	return t;
}

/* End a task that never ran. */
static bool refuse(struct task *t, int err)
{
	task_error(t, err);
	task_free(t);
	return false;
}

/* Read NAME, which lies in FOLDER. */
static bool take_name(struct task *t, const struct node *folder, const char *name,
		      char copy[KEYMAP_NAME_MAX + 1], struct keymap_part *part)
{
	size_t len = strlen(name);

	if (len > KEYMAP_NAME_MAX)
		return refuse(t, ENAMETOOLONG);
	memcpy(copy, name, len + 1);
	keymap_from_name(name, len, folder->id == NODE_ROOT, part);
	if (part->kind == KEYMAP_BAD)
		return refuse(t, EINVAL);
	return true;
}

bool task_name(struct task *t, const char *name)
{
	return take_name(t, t->node, name, t->name, &t->part);
}

bool task_to(struct task *t, fuse_ino_t ino, const char *name)
{
	struct node *n = node_get(&t->m->nodes, ino);

	if (!n)
		return refuse(t, ESTALE);
	t->to_node = task_hold(t, n);
	return take_name(t, n, name, t->to_name, &t->to_part);
}

static void body(void *arg)
{
	struct task *t = arg;

	t->run(t);
	task_error(t, EIO); /* drops out where it has answered, as it must have */
}

/* Let T run until it waits or ends. */
static void go_on(struct task *t)
{
	if (coroutine_resume(&t->m->pool, t->co))
		task_free(t);
}

void task_start(struct task *t, void (*run)(struct task *t))
{
	t->run = run;
	t->co = !run ? NULL : coroutine_new(&t->m->pool, body, t);
	if (!t->co) {
		refuse(t, ENOMEM);
		return;
	}
	fuse_req_interrupt_func(t->req, on_interrupt, t);
	go_on(t);
}

void task_run(fuse_req_t req, fuse_ino_t ino, const struct fuse_file_info *fi, void (*run)(struct task *t))
{
	struct task *t = task_new(req, ino);

	if (!t)
		return;
	t->fi = *fi;
	task_start(t, run);
}

static void wake(struct task *t)
{
	struct mount *m = t->m;

	t->queued = NULL;
	if (m->runnable)
		m->last_runnable->queued = t;
	else
		m->runnable = t;
	m->last_runnable = t;
}

bool task_start_silent(struct mount *m, struct node *n, void (*run)(struct task *t))
{
	struct task *t = new_task(m, n);

	if (!t)
		return false;
	t->silent = true;
	t->run = run;
	t->co = coroutine_new(&m->pool, body, t);
	if (!t->co) {
		task_free(t);
		return false;
	}
	wake(t);
	return true;
}

struct node *task_hold(struct task *t, struct node *n)
{
	for (unsigned i = 0; i < t->held_count; i++)
		if (t->held[i] == n)
			return n;
	if (t->held_count == TASK_HELD)
		abort();
	t->held[t->held_count++] = node_hold(n);
	return n;
}

void task_error(struct task *t, int err)
{
	if (t->req)
		fuse_reply_err(t->req, err);
	t->req = NULL;
}

void node_stat(struct mount *m, struct node *n, struct stat *st)
{
	facts_stat(&n->facts, &m->options, st);
	if (n->loaded && n->content.dirty)
		st->st_size = (off_t)n->content.len;
	st->st_blocks = (st->st_size + 511) / 512;
	st->st_ino = n->ino;
	st->st_nlink = n->parent || n->id == NODE_ROOT ? 1 : 0;
	if (st->st_nlink && node_is_folder(n))
		st->st_nlink = (nlink_t)(2 + n->facts.subfolders);
}

double believed(struct mount *m, struct node *n)
{
	n->told = node_known(m, n);
	n->told_revision = n->facts.revision;
	return n->told ? BELIEVED_S : ATTRIBUTES_S;
}

void entry_fill(struct mount *m, struct node *n, struct fuse_entry_param *e)
{
	*e = (struct fuse_entry_param){ .ino = n->id, .generation = 1 };
	e->attr_timeout = believed(m, n);
	e->entry_timeout = n->told ? BELIEVED_S : 0;
	node_stat(m, n, &e->attr);
}

void task_entry(struct task *t, struct node *n)
{
	struct fuse_entry_param e;

	if (!t->req)
		return;
	entry_fill(t->m, n, &e);
	n->lookups++;
	if (fuse_reply_entry(t->req, &e) < 0)
		n->lookups--;
	t->req = NULL;
}

void task_attr(struct task *t, struct node *n)
{
	bool fixed = n->id == NODE_ROOT && !*t->m->options.prefix; /* the whole volume: it is no key */
	struct stat st;

	if (!t->req)
		return;
	node_stat(t->m, n, &st);
	fuse_reply_attr(t->req, &st, fixed ? BELIEVED_S : believed(t->m, n));
	t->req = NULL;
}

void task_pause(struct task *t)
{
	t->queued = t->m->paused;
	t->m->paused = t;
	coroutine_yield(t->co);
}

void tasks_wake(struct mount *m)
{
	while (m->paused) {
		struct task *t = m->paused;

		m->paused = t->queued;
		wake(t);
	}
}

void tasks_run(struct mount *m)
{
	while (m->runnable) {
		struct task *t = m->runnable;

		m->runnable = t->queued;
		t->queued = NULL;
		go_on(t);
	}
}

int tasks_expire(struct mount *m)
{
	uint64_t now, limit = m->options.timeout_s * 1000 * NS_PER_MS;

	if (!m->tasks)
		return -1;
	now = clock_boot_ns();
	if (now - m->looked_ns < LOOK_MS * NS_PER_MS)
		return LOOK_MS;
	m->looked_ns = now;
	for (struct task *t = m->tasks; t; t = t->next) {
		if (now - t->start_ns >= limit)
			task_error(t, EIO);
		else if (t->interrupted && now - t->start_ns >= INTERRUPT_MS * NS_PER_MS)
			task_error(t, EINTR);
	}
	return LOOK_MS;
}

void lock_take(struct task *t, struct lock *l)
{
	if (!l->held) {
		l->held = true;
		return;
	}
	t->queued = NULL;
	if (l->first)
		l->last->queued = t;
	else
		l->first = t;
	l->last = t;
	coroutine_yield(t->co);
}

void lock_give(struct mount *m, struct lock *l)
{
	struct task *t = l->first;

	(void)m;
	if (!t) {
		l->held = false;
		return;
	}
	l->first = t->queued;
	wake(t);
}

static void on_done(void *arg, struct cairn_reply *r)
{
	struct ask *a = arg;
	struct task *t = a->t;

	if (!a->code && !r->code && a->take && !a->take(a->out, r->fields))
		a->code = CAIRN_E_INTERNAL;
	if (r->event)
		return;
	if (!a->code)
		a->code = r->code;
	if (--t->asks == 0 && t->waits)
		go_on(t);
}

void ask_send(struct task *t, struct ask *a, const struct cairn_msg *message, ask_take *take, void *out)
{
	*a = (struct ask){ t, take, out, CAIRN_OK };
	if (cairn_msg_error(message))
		a->code = cairn_msg_error(message) == -ENOMEM ? CAIRN_E_INTERNAL : CAIRN_E_TOO_LARGE;
	else if (!t->req && !t->silent) /* its caller has been answered: it begins nothing new */
		a->code = CAIRN_E_TIMEOUT;
	else
		a->code = cairn_submit(t->m->cairn, message, on_done, a);
	if (!a->code)
		t->asks++;
	t->m->asked = true;
}

void ask_wait(struct task *t)
{
	while (t->asks > 0) {
		t->waits = true;
		coroutine_yield(t->co);
		t->waits = false;
	}
}

enum cairn_code ask(struct task *t, const struct cairn_msg *message, ask_take *take, void *out)
{
	struct ask a;

	ask_send(t, &a, message, take, out);
	ask_wait(t);
	return a.code;
}

int ask_errno(enum cairn_code code)
{
	if (code == CAIRN_OK)
		return 0;
	if (code == CAIRN_E_TIMEOUT)
		return EIO;
	return cairn_error_row(code)->err;
}
