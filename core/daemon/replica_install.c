/*
 * A store that another node sends takes the place of this node's. It is loaded into a fresh engine in a
 * folder beside the volume's, in a worker. When it is whole and synced, the journal is told which of its
 * entries still count; then the volume is closed, the folders change places in one step, and it is opened
 * again. A crash before that leaves the old store and a folder that the next start removes; after it the new
 * one is there.
 */
#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "files.h"
#include "pool.h"
#include "replica.h"
#include "snapshot.h"
#include "volumes.h"
#include "banned.h"

struct piece {
	struct piece *next;
	enum snapshot_what what;
	uint64_t a, b;
	size_t len;
	unsigned char bytes[];
};

struct installing {
	struct node *node;
	struct replica *r; /* with a use of its shard, until it is closed */
	struct volume *volume, *instead;
	uint64_t shard, peer, id;
	struct cairn_position position;
	struct hard_state members;           /* these alone */
	struct piece *pieces, **pieces_last; /* under the replica's lock */
	bool running;                        /* under it, too */
	bool over;                           /* it failed, or is whole */
	bool whole;
	char folder[VOLUME_NAME_MAX + 40];
	struct engine engine;
	bool opened;
	struct store_load *load;
	uint64_t taken;
	struct cairn_error error;
	struct pool_task work;
	struct loop_task back;
};

static void say(struct installing *x, enum snapshot_what what, uint64_t a)
{
	unsigned char head[SNAPSHOT_HEAD] = { 1, (unsigned char)what };
	struct cairn_slice slice = cairn_slice(head, sizeof(head));

	le64_put(head + 8, x->id);
	le64_put(head + 16, a);
	cluster_send(x->node->cluster, x->peer, PEER_BULK, WIRE_SNAPSHOT, x->shard, &slice, 1);
}

static void close_engine(struct installing *x)
{
	store_load_close(x->load);
	x->load = NULL;
	if (x->opened)
		engine_close(&x->engine);
	x->opened = false;
}

/* --- loading --- */

static void begin(struct installing *x, const struct piece *p)
{
	struct volumes *t = x->node->volumes;
	char path[4096];

	x->position = (struct cairn_position){ p->a, p->b };
	if (p->len > sizeof(x->members.members)) {
		cairn_fail(&x->error, CAIRN_E_INVALID, "a snapshot with too many members");
		return;
	}
	memcpy(x->members.members, p->bytes, p->len);
	x->members.members_len = p->len;
	snprintf(x->folder, sizeof(x->folder), ".gone-%s.snapshot", x->volume->folder);
	folder_remove(t->fd, x->folder);
	if (mkdirat(t->fd, x->folder, 0700) < 0) {
		cairn_fail(&x->error, cairn_error_from_errno(errno), "%s/%s: %s", t->path, x->folder,
			   strerror(errno));
		return;
	}
	snprintf(path, sizeof(path), "%s/%s", t->path, x->folder);
	x->opened = volume_engine(x->volume, path, &x->engine, &x->error) == CAIRN_OK;
	if (x->opened)
		store_load_open(&x->load, &x->engine, &x->error);
}

static void take(struct installing *x, const struct piece *p)
{
	switch (p->what) {
	case SNAPSHOT_BEGIN:
		begin(x, p);
		break;
	case SNAPSHOT_BYTES:
		if (!x->load || p->a != x->taken)
			cairn_fail(&x->error, CAIRN_E_CORRUPT, "a part of the snapshot was lost");
		else
			store_load_take(x->load, cairn_slice(p->bytes, p->len), &x->error);
		x->taken += p->len;
		say(x, SNAPSHOT_TAKEN, x->taken);
		break;
	default:
		if (x->load)
			x->whole = store_load_finish(x->load, NULL, &x->error) == CAIRN_OK;
		break;
	}
}

static void end_loading(struct loop_task *t);

static void work(struct pool_task *t)
{
	struct installing *x = (struct installing *)((char *)t - offsetof(struct installing, work));
	struct replica *r = x->r;

	for (;;) {
		struct piece *p;

		pthread_mutex_lock(&r->lock);
		p = x->over ? NULL : x->pieces;
		if (p)
			x->pieces = p->next;
		if (!x->pieces)
			x->pieces_last = &x->pieces;
		x->running = p || x->over;
		pthread_mutex_unlock(&r->lock);
		if (!p && !x->over)
			return;
		if (p && !x->error.code)
			take(x, p);
		free(p);
		if (x->error.code || x->whole || x->over)
			break;
	}
	x->over = true;
	x->back.run = end_loading;
	loop_post(x->node->loop, &x->back);
}

/* --- taking the place --- */

static void saved(struct journal_request *request)
{
	sem_post(request->arg);
}

static int note_term(void *arg, const struct journal_entry *e)
{
	*(uint64_t *)arg = e->term;
	return 0;
}

/* The journal learns where the log begins, and whether what it has behind that still counts. Waits for it. */
static enum cairn_code tell_journal(struct installing *x, struct cairn_error *error)
{
	struct journal_shard *log = journal_attach(x->node->journal, x->shard);
	struct hard_state h;
	unsigned char bytes[HARD_MAX];
	struct journal_request request = { .shard = log, .done = saved };
	uint64_t term = 0;
	sem_t done;

	if (!log)
		return cairn_fail(error, CAIRN_E_INTERNAL, "no memory");
	hard_state_load(log, &h);
	journal_read(log, x->position.index, x->position.index, note_term, &term, NULL, error);
	if (term != x->position.term) {
		h.cut = x->position.index;
		h.from = x->position.index;
	}
	h.members_index = x->position.index;
	h.members_len = x->members.members_len;
	memcpy(h.members, x->members.members, h.members_len);
	h.commit = h.commit < x->position.index ? h.commit : x->position.index;
	request.state = cairn_slice(bytes, hard_state_encode(&h, bytes));
	request.arg = &done;
	sem_init(&done, 0, 0);
	journal_append(x->node->journal, &request);
	while (sem_wait(&done) < 0)
		;
	sem_destroy(&done);
	*error = request.error;
	return error->code;
}

static void installed(struct loop_task *t)
{
	struct installing *x = (struct installing *)((char *)t - offsetof(struct installing, back));
	struct volume *v = x->instead;

	if (x->error.code)
		volume_refuse(v, &x->error);
	else
		volume_set_refused(v, NULL);
	log_info(x->node->log, LOG_REPLICATION, "a snapshot has taken the place of the store",
		 LOG_TEXT("volume", v->name), LOG_NUMBER("index", x->position.index));
	say(x, SNAPSHOT_DONE, x->error.code ? 0 : x->position.index);
	free(x);
}

/* In a worker, when the old shard is closed. */
static void install(struct pool_task *task)
{
	struct volume *v = (struct volume *)((char *)task - offsetof(struct volume, work));
	struct installing *x = v->installing;
	struct volumes *t = x->node->volumes;

	if (!tell_journal(x, &x->error)) {
		if (syncfs(t->fd) < 0 || renameat2(t->fd, x->folder, t->fd, v->folder, RENAME_EXCHANGE) < 0 ||
		    fsync(t->fd) < 0)
			cairn_fail(&x->error, cairn_error_from_errno(errno), "%s/%s: %s", t->path, v->folder,
				   strerror(errno));
		else
			folder_remove(t->fd, x->folder);
	}
	if (!x->error.code)
		volume_open_shard(v, false, x->opened ? &x->engine : NULL, &x->error);
	if (x->opened && x->engine.handle)
		engine_close(&x->engine);
	v->installing = NULL;
	x->back.run = installed;
	loop_post(x->node->loop, &x->back);
}

static void give_up(struct installing *x)
{
	struct shard *s = x->r->shard;

	log_warn(x->node->log, LOG_REPLICATION, "a snapshot could not be taken",
		 LOG_TEXT("volume", x->volume->name), LOG_TEXT("reason", x->error.message));
	close_engine(x);
	folder_remove(x->node->volumes->fd, x->folder);
	say(x, SNAPSHOT_DONE, 0);
	free(x);
	shard_let_go(s);
}

/* In the loop: the store is there, or it failed. */
static void end_loading(struct loop_task *t)
{
	struct installing *x = (struct installing *)((char *)t - offsetof(struct installing, back));
	struct volume *v = x->volume, *n = NULL;
	struct shard *s = x->r->shard;

	pthread_mutex_lock(&x->r->lock);
	x->r->installing = NULL;
	while (x->pieces) {
		struct piece *p = x->pieces;

		x->pieces = p->next;
		free(p);
	}
	pthread_mutex_unlock(&x->r->lock);
	if (x->whole && !s->closing && v->shard == s && v->refused.code != CAIRN_E_UNAVAILABLE)
		n = volume_like(v);
	if (!n) {
		give_up(x);
		return;
	}
	store_load_close(x->load);
	x->load = NULL;
	if (x->engine.ops.caps & CAIRN_ENGINE_DURABLE) /* opened again in its new place */
		close_engine(x);
	cairn_fail(&n->refused, CAIRN_E_UNAVAILABLE, "volume %s is being brought up to date", v->name);
	n->work.run = install;
	n->installing = x;
	x->instead = n;
	volume_take_place(v, n);
	v->successor = n;
	store_feed_end(shard_store(s), &n->refused, NULL);
	volume_put(v);
	shard_let_go(s);
}

/* --- frames --- */

static struct installing *start(struct replica *r, const struct peer_frame *f)
{
	struct installing *x = calloc(1, sizeof(*x));
	const unsigned char *p = f->body.data;

	if (!x)
		return NULL;
	x->node = r->shard->node;
	x->r = r;
	x->volume = r->shard->on_stop_arg;
	x->shard = r->id;
	x->peer = f->from;
	x->id = le64_get(p + 8);
	x->pieces_last = &x->pieces;
	x->work.run = work;
	shard_use(r->shard);
	return x;
}

void install_frame(struct replica *r, const struct peer_frame *f)
{
	const unsigned char *p = f->body.data;
	size_t len = f->body.len - SNAPSHOT_HEAD;
	struct piece *piece;
	struct installing *x;
	bool run = false;

	pthread_mutex_lock(&r->lock);
	x = r->installing;
	if (x && (x->id != le64_get(p + 8) || x->over)) {
		if (p[1] == SNAPSHOT_BEGIN && !x->over) { /* the sender has begun anew: so do we, next time */
			x->over = true;
			run = !x->running;
			x->running = true;
			if (run)
				pool_post(x->node->pool, &x->work);
		}
		x = NULL;
	} else if (!x && p[1] == SNAPSHOT_BEGIN && r->shard != volumes_system(r->shard->node)->shard) {
		x = r->installing = start(r, f);
	}
	piece = x ? malloc(sizeof(*piece) + len) : NULL;
	if (piece) {
		*piece = (struct piece){
			.what = p[1], .a = le64_get(p + 16), .b = le64_get(p + 24), .len = len
		};
		memcpy(piece->bytes, p + SNAPSHOT_HEAD, len);
		*x->pieces_last = piece;
		x->pieces_last = &piece->next;
		run = !x->running;
		x->running = true;
		if (run)
			pool_post(x->node->pool, &x->work);
	}
	pthread_mutex_unlock(&r->lock);
}

void install_stop(struct replica *r, uint64_t peer)
{
	struct installing *x;

	pthread_mutex_lock(&r->lock);
	x = r->installing;
	if (x && (!peer || x->peer == peer) && !x->over) {
		x->over = true;
		if (!x->running)
			pool_post(x->node->pool, &x->work);
		x->running = true;
	}
	pthread_mutex_unlock(&r->lock);
}
