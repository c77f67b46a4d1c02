/*
 * The list of volumes as the nodes of a cluster agree on it. Whichever node makes or drops a volume writes
 * its row; every node looks at the rows after the system volume has applied something, makes what it lacks,
 * and drops what is not there any more.
 */
#include <stdlib.h>
#include <string.h>
#include "replica.h"
#include "volumes.h"
#include "banned.h"

static void start_look(struct loop_task *t);

static void dropped(struct volume_change *c)
{
	free(c);
}

/* V has no row any more. In the loop. */
static void drop(struct volume *v)
{
	struct volume_change *c = calloc(1, sizeof(*c));
	struct cairn_error gone;

	if (!c)
		return;
	c->node = v->node;
	c->volume = v;
	c->done = dropped;
	cairn_fail(&gone, CAIRN_E_UNAVAILABLE, "volume %s is being dropped", v->name);
	volume_set_refused(v, &gone);
	volume_folder_pending(v->node->volumes, v->folder, true);
	volume_unlist(v->node->volumes, v);
	log_info(v->node->log, LOG_VOLUME, "volume dropped", LOG_TEXT("volume", v->name),
		 LOG_TEXT("folder", v->folder));
	v->change = c;
	if (v->shard)
		store_feed_end(shard_store(v->shard), &gone, NULL);
	volume_put(v);
}

/* Whether V was served, and has no row. */
static bool is_gone(struct volumes *t, const struct volume *v)
{
	for (size_t i = 0; i < t->row_count; i++)
		if (!strcmp(t->rows[i], v->folder))
			return false;
	return v->refused.code != CAIRN_E_UNAVAILABLE;
}

/* In the loop: what the worker has found out. */
static void finish_look(struct loop_task *task)
{
	struct volumes *t = (struct volumes *)((char *)task - offsetof(struct volumes, look));
	struct volume *v = t->first;

	while (v && t->rows_whole) {
		struct volume *next = v->next;

		if (is_gone(t, v))
			drop(v);
		v = next;
	}
	volumes_forget_rows(t);
	t->looking = false;
	while (t->settling) {
		struct loop_task *waiting = t->settling;

		t->settling = waiting->next;
		loop_post(t->system->node->loop, waiting);
	}
	volumes_first(t->system->node);
	if (atomic_exchange(&t->look_again, false) && !atomic_exchange(&t->looking, true))
		start_look(&t->look);
}

static void look_at_work(struct pool_task *work)
{
	struct volumes *t = (struct volumes *)((char *)work - offsetof(struct volumes, work));
	struct node *n = t->system->node;
	struct cairn_error error;

	t->rows_whole = volumes_open_rows(n, &error) == CAIRN_OK;
	if (!t->rows_whole)
		log_error(n->log, LOG_VOLUME, "the list of volumes cannot be followed",
			  LOG_TEXT("reason", error.message));
	t->look.run = finish_look;
	loop_post(n->loop, &t->look);
}

/* In the loop. */
static void start_look(struct loop_task *task)
{
	struct volumes *t = (struct volumes *)((char *)task - offsetof(struct volumes, look));

	t->work.run = look_at_work;
	pool_post(t->system->node->pool, &t->work);
}

void volumes_follow(void *arg, const struct store_command *commands, size_t count)
{
	struct volumes *t = arg;

	(void)commands;
	(void)count;
	t->look_again = true;
	if (atomic_exchange(&t->looking, true))
		return;
	t->look_again = false;
	t->look.run = start_look;
	loop_post(t->system->node->loop, &t->look);
}

void volumes_when_settled(struct node *n, struct loop_task *task)
{
	struct volumes *t = n->volumes;

	if (!t->looking) {
		loop_post(n->loop, task);
		return;
	}
	task->next = t->settling;
	t->settling = task;
}

bool volume_is_listed(struct node *n, struct cairn_slice fields)
{
	struct volumes *t = n->volumes;
	struct cairn_slice name = { 0 };
	bool listed;

	cairn_field_find(fields, CAIRN_F_VOLUME, &name);
	pthread_mutex_lock(&t->lock);
	listed = volume_listed(t, name.len ? name : cairn_str(VOLUME_MAIN));
	pthread_mutex_unlock(&t->lock);
	return listed;
}

bool volumes_settled(struct node *n)
{
	struct store_facts facts;

	store_facts(shard_store(n->volumes->system->shard), &facts);
	return facts.revision && !n->volumes->looking;
}

void volumes_forget_rows(struct volumes *t)
{
	for (size_t i = 0; i < t->row_count; i++)
		free(t->rows[i]);
	free(t->rows);
	t->rows = NULL;
	t->row_count = 0;
}

void volumes_note_row(struct volumes *t, const char *folder)
{
	char **p = realloc(t->rows, (t->row_count + 1) * sizeof(*p));

	if (p)
		t->rows = p;
	if (p && (p[t->row_count] = strdup(folder)))
		t->row_count++;
	else
		t->rows_whole = false;
}

static void made_main(struct volume_change *c)
{
	if (c->error.code)
		log_warn(c->node->log, LOG_VOLUME, "the first volume could not be made yet",
			 LOG_TEXT("reason", c->error.message));
	c->node->volumes->making_main = false;
	free(c);
}

void volumes_first(struct node *n)
{
	struct volumes *t = n->volumes;
	struct volume_change *c;
	struct shard_role role;
	struct store_facts facts;

	if (!n->cluster || !t->system->shard || t->making_main)
		return;
	shard_role(t->system->shard, &role);
	store_facts(shard_store(t->system->shard), &facts);
	if (role.role != CAIRN_ROLE_LEADER || facts.revision || facts.position.term != role.term)
		return;
	c = calloc(1, sizeof(*c));
	if (!c)
		return;
	c->node = n;
	c->done = made_main;
	memcpy(c->name, VOLUME_MAIN, sizeof(VOLUME_MAIN));
	t->making_main = true;
	volume_create(c);
}
