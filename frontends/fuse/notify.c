/*
 * Notes to the kernel, in two queues by folder with a thread each, so that one slow folder does not hold up
 * everything. Telling that a name is gone takes the lock of its folder, and a look-up there holds that until
 * we answer: so the thread that answers only puts notes here and never waits. What the kernel does not know
 * any more is no failure. Where there is no memory for a note, or too many wait, some are left out, and
 * notifier_overflow says so.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#define FUSE_USE_VERSION 312
#include <fuse3/fuse_lowlevel.h>
#include <linux/fuse.h>
#include "notify.h"
#include "banned.h"

#define QUEUES 2
#define WAITING_MAX 500000
#define INC_EPOCH 8 /* FUSE_NOTIFY_INC_EPOCH, of Linux 6.16 */

struct note {
	struct note *next;
	uint64_t number;
	enum { NOTE_ATTRIBUTES, NOTE_PAGES, NOTE_ENTRY, NOTE_ALL } kind;
	uint64_t ino;   /* or the folder */
	uint64_t *inos; /* of ALL; owned */
	size_t len;     /* of NAME, or the number of INOS */
	char name[];
};

struct queue {
	struct notifier *n;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct note *first, *last; /* under LOCK, as all below */
	size_t waiting;
	bool busy, stop;
	uint64_t current; /* number of the note that is being told */
};

struct notifier {
	struct fuse_session *session;
	bool epochs;
	bool overflow; /* notes were left out; this and PUT only of who puts them */
	uint64_t put;
	unsigned count; /* threads that run */
	struct queue queues[QUEUES];
};

/* All names in the kernel are to be looked up again. 0 or -errno. */
static int send_epoch(struct fuse_session *session)
{
	struct fuse_out_header head = { .len = sizeof(head), .error = INC_EPOCH };

	return write(fuse_session_fd(session), &head, sizeof(head)) < 0 ? -errno : 0;
}

static void tell(struct notifier *n, const struct note *note)
{
	struct fuse_session *session = n->session;

	switch (note->kind) {
	case NOTE_ATTRIBUTES:
		fuse_lowlevel_notify_inval_inode(session, note->ino, -1, 0);
		break;
	case NOTE_PAGES:
		fuse_lowlevel_notify_inval_inode(session, note->ino, 0, 0);
		break;
	case NOTE_ENTRY:
		fuse_lowlevel_notify_inval_entry(session, note->ino, note->name, note->len);
		break;
	case NOTE_ALL:
		send_epoch(session);
		for (size_t i = 0; i < note->len; i++)
			fuse_lowlevel_notify_inval_inode(session, note->inos[i], -1, 0);
		break;
	}
}

static void note_free(struct note *note)
{
	free(note->inos);
	free(note);
}

static void *run(void *arg)
{
	struct queue *q = arg;

	pthread_mutex_lock(&q->lock);
	for (;;) {
		struct note *note = q->first;

		if (q->stop)
			break;
		if (!note) {
			pthread_cond_wait(&q->wake, &q->lock);
			continue;
		}
		q->first = note->next;
		q->last = q->first ? q->last : NULL;
		q->waiting--;
		q->busy = true;
		q->current = note->number;
		pthread_mutex_unlock(&q->lock);
		tell(q->n, note);
		note_free(note);
		pthread_mutex_lock(&q->lock);
		q->busy = false;
	}
	pthread_mutex_unlock(&q->lock);
	return NULL;
}

int notifier_open(struct notifier **out, struct fuse_session *session)
{
	struct notifier *n = calloc(1, sizeof(*n));

	*out = n;
	if (!n)
		return -ENOMEM;
	n->session = session;
	n->epochs = send_epoch(session) == 0;
	for (; n->count < QUEUES; n->count++) {
		struct queue *q = &n->queues[n->count];
		int r;

		q->n = n;
		pthread_mutex_init(&q->lock, NULL);
		pthread_cond_init(&q->wake, NULL);
		r = pthread_create(&q->thread, NULL, run, q);
		if (r) {
			notifier_close(n);
			*out = NULL;
			return -r;
		}
	}
	return 0;
}

bool notifier_idle(struct notifier *n)
{
	bool idle = true;

	for (unsigned i = 0; n && i < n->count; i++) {
		struct queue *q = &n->queues[i];

		pthread_mutex_lock(&q->lock);
		q->stop = true;
		idle = idle && !q->busy;
		pthread_cond_signal(&q->wake);
		pthread_mutex_unlock(&q->lock);
	}
	return idle;
}

void notifier_close(struct notifier *n)
{
	if (!n)
		return;
	notifier_idle(n);
	for (unsigned i = 0; i < n->count; i++) {
		struct queue *q = &n->queues[i];

		pthread_join(q->thread, NULL);
		for (struct note *note = q->first, *next; note; note = next) {
			next = note->next;
			note_free(note);
		}
		pthread_cond_destroy(&q->wake);
		pthread_mutex_destroy(&q->lock);
	}
	free(n);
}

/* Queue NOTE (NULL: there was no memory for it), which is about INO. */
static void put(struct notifier *n, uint64_t ino, struct note *note)
{
	struct queue *q = &n->queues[ino % QUEUES];

	n->put++;
	if (note)
		note->number = n->put;

	if (!note) {
		n->overflow = true;
		return;
	}
	pthread_mutex_lock(&q->lock);
	if (q->waiting >= WAITING_MAX && note->kind != NOTE_ALL) {
		n->overflow = true;
		note_free(note);
	} else {
		*(q->last ? &q->last->next : &q->first) = note;
		q->last = note;
		q->waiting++;
	}
	if (!q->busy)
		pthread_cond_signal(&q->wake);
	pthread_mutex_unlock(&q->lock);
}

static struct note *note_new(unsigned kind, uint64_t ino, const char *name, size_t len)
{
	struct note *note = calloc(1, sizeof(*note) + len + 1);

	if (!note)
		return NULL;
	note->kind = kind;
	note->ino = ino;
	note->len = len;
	if (len)
		memcpy(note->name, name, len);
	return note;
}

void notify_inode(struct notifier *n, uint64_t ino, bool pages)
{
	put(n, ino, note_new(pages ? NOTE_PAGES : NOTE_ATTRIBUTES, ino, NULL, 0));
}

void notify_now(struct notifier *n, uint64_t ino)
{
	fuse_lowlevel_notify_inval_inode(n->session, ino, -1, 0);
}

void notify_entry(struct notifier *n, uint64_t parent, const char *name, size_t len)
{
	put(n, parent, note_new(NOTE_ENTRY, parent, name, len));
}

void notify_all(struct notifier *n, uint64_t *inos, size_t count)
{
	struct note *note = note_new(NOTE_ALL, 0, NULL, 0);

	if (note) {
		note->inos = inos;
		note->len = count;
	} else {
		free(inos);
	}
	put(n, 0, note);
}

bool notifier_overflow(struct notifier *n)
{
	bool overflow = n->overflow;

	n->overflow = false;
	return overflow;
}

uint64_t notifier_count(const struct notifier *n)
{
	return n->put;
}

bool notifier_told(struct notifier *n, uint64_t count)
{
	bool told = true;

	for (unsigned i = 0; i < n->count; i++) {
		struct queue *q = &n->queues[i];

		pthread_mutex_lock(&q->lock);
		told = told && !(q->busy && q->current <= count) && !(q->first && q->first->number <= count);
		pthread_mutex_unlock(&q->lock);
	}
	return told;
}

bool notifier_epochs(const struct notifier *n)
{
	return n->epochs;
}
