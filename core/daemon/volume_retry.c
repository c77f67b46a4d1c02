/*
 * After a full disk: a volume whose disk filled while a batch was being written is closed and opened again
 * when there is room. A second struct volume takes its place in the table, and opens the folder once the last
 * holder has let go of the first.
 */
#include <sys/statvfs.h>
#include "volumes.h"
#include "banned.h"

#define RETRY_MS 1000            /* how often it is looked whether there is room again */
#define RETRY_FREE (16ull << 20) /* bytes of room */

static void retry_tick(void *arg);

/* V waits for room. In the node's loop. */
void volume_retry_later(struct volume *v)
{
	struct volumes *t = v->node->volumes;

	v->retry = true;
	if (!t->retry && loop_timer_new(v->node->loop, retry_tick, v->node, &t->retry))
		return;
	loop_timer_set(t->retry, RETRY_MS);
}

static void retry_stopped(struct loop_task *task)
{
	struct volume *v = (struct volume *)((char *)task - offsetof(struct volume, back));

	volume_retry_later(v);
	volume_put(v);
}

/* In any thread, while the shard is there: V is too, but perhaps on its way out. */
void volume_shard_stopped(void *arg)
{
	struct volume *v = arg;
	struct shard *s = v->shard;
	unsigned uses = v->uses;

	if (!s || v == v->node->volumes->system || shard_health(s, NULL) != CAIRN_E_UNAVAILABLE ||
	    !shard_is_kept(s)) /* opening it again would empty it */
		return;
	while (uses && !atomic_compare_exchange_weak(&v->uses, &uses, uses + 1))
		;
	if (!uses)
		return;
	v->back.run = retry_stopped;
	loop_post(v->node->loop, &v->back);
}

static void retry_opened(struct loop_task *task)
{
	struct volume *v = (struct volume *)((char *)task - offsetof(struct volume, back));
	struct cairn_error error = v->reopened;

	if (!error.code) {
		log_info(v->node->log, LOG_VOLUME, "volume open again", LOG_TEXT("volume", v->name));
		volume_set_refused(v, NULL);
		return;
	}
	volume_refuse(v, &error);
	if (error.code == CAIRN_E_FULL)
		volume_retry_later(v);
}

static void retry_open(struct pool_task *work)
{
	struct volume *v = (struct volume *)((char *)work - offsetof(struct volume, work));

	v->reopened.code = volume_open_shard(v, false, NULL, &v->reopened);
	v->back.run = retry_opened;
	loop_post(v->node->loop, &v->back);
}

/* Put a second V into the table that opens the folder when the first is closed. */
static void retry_now(struct volume *v)
{
	struct volume *n = volume_like(v);

	if (!n)
		return;
	cairn_fail(&n->refused, CAIRN_E_UNAVAILABLE, "volume %s is being opened again", v->name);
	n->work.run = retry_open;
	volume_take_place(v, n);
	v->successor = n;
	volume_put(v);
}

static void retry_tick(void *arg)
{
	struct node *n = arg;
	struct volumes *t = n->volumes;
	struct volume *v, *next;
	bool room, waiting = false;
	struct statvfs fs;

	room = fstatvfs(t->fd, &fs) == 0 && (uint64_t)fs.f_bavail * fs.f_frsize >= RETRY_FREE;
	for (v = t->first; v; v = next) { /* the list changes in this thread only */
		next = v->next;
		waiting = waiting || (v->retry && !room);
		if (v->retry && room && v->refused.code != CAIRN_E_UNAVAILABLE)
			retry_now(v);
	}
	if (waiting)
		loop_timer_set(t->retry, RETRY_MS);
}
