/*
 * The journal's beginning and end, and the way in. Opening reads everything that is there (recover.c); the
 * first request begins a new segment, so that nothing is ever written behind a torn end.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include "files.h"
#include "inside.h"
#include "sys.h"
#include "banned.h"

static void free_list(struct segment *s)
{
	while (s) {
		struct segment *next = s->next;

		segment_free(s);
		s = next;
	}
}

static void free_journal(struct journal *j)
{
	while (j->shards) {
		struct journal_shard *s = j->shards;

		j->shards = s->next;
		free(s->ranges);
		free(s);
	}
	free_list(j->segments);
	free_list(j->retired);
	free_list(j->spares);
	free(j->batch.data);
	if (j->dir >= 0)
		sys->close(j->dir);
	pthread_mutex_destroy(&j->lock);
	pthread_cond_destroy(&j->wake);
	pthread_cond_destroy(&j->work);
	pthread_cond_destroy(&j->zeroed);
	free(j->folder);
	free(j);
}

static struct journal *make(const struct journal_options *o)
{
	struct journal *j = calloc(1, sizeof(*j));
	pthread_condattr_t attributes;

	if (!j)
		return NULL;
	j->options = *o;
	j->options.folder = NULL;
	if (j->options.segment_bytes < JOURNAL_SEGMENT_MIN)
		j->options.segment_bytes = JOURNAL_SEGMENT_MIN;
	j->ahead = j->options.segment_bytes < AHEAD_MAX ? j->options.segment_bytes : AHEAD_MAX;
	j->dir = -1;
	j->queue_last = &j->queue;
	j->next_segment = j->next_spare = 1;
	j->roll = true;
	pthread_mutex_init(&j->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&j->wake, &attributes);
	pthread_condattr_destroy(&attributes);
	pthread_cond_init(&j->work, NULL);
	pthread_cond_init(&j->zeroed, NULL);
	j->folder = strdup(o->folder);
	if (j->folder)
		return j;
	free_journal(j);
	return NULL;
}

static enum cairn_code start(struct journal *j, struct cairn_error *error)
{
	int e = pthread_create(&j->writer, NULL, writer_run, j);

	j->has_writer = !e;
	if (!e)
		e = pthread_create(&j->janitor, NULL, segment_janitor, j);
	j->has_janitor = j->has_writer && !e;
	return e ? cairn_fail(error, CAIRN_E_INTERNAL, "a thread for the journal %s: %s", j->folder,
			      strerror(e))
		 : CAIRN_OK;
}

enum cairn_code journal_open(struct journal **out, const struct journal_options *o,
			     struct cairn_error *notice, struct cairn_error *error)
{
	struct journal *j = make(o);
	enum cairn_code code = CAIRN_OK;

	*notice = (struct cairn_error){ 0 };
	if (!j)
		return cairn_fail(error, CAIRN_E_INTERNAL, "no memory for the journal %s", o->folder);
	j->dir = o->read_only ? 0 : folder_make(j->folder);
	if (!j->dir)
		j->dir = sys->openat(AT_FDCWD, j->folder, O_RDONLY | O_DIRECTORY, 0);
	if (j->dir < 0)
		code = cairn_fail(error, cairn_error_from_errno(-j->dir), "the journal's folder %s: %s",
				  j->folder, strerror(-j->dir));
	if (!code)
		code = recover(j, notice, error);
	if (!code) {
		segments_retire(j);
		code = o->read_only ? CAIRN_OK : start(j, error);
	}
	if (code)
		journal_close(j);
	else
		*out = j;
	return code;
}

void journal_close(struct journal *j)
{
	if (!j)
		return;
	pthread_mutex_lock(&j->lock);
	j->closing = true;
	pthread_cond_broadcast(&j->wake);
	pthread_mutex_unlock(&j->lock);
	if (j->has_writer)
		pthread_join(j->writer, NULL);
	pthread_mutex_lock(&j->lock);
	pthread_cond_broadcast(&j->work);
	pthread_mutex_unlock(&j->lock);
	if (j->has_janitor)
		pthread_join(j->janitor, NULL);
	free_journal(j);
}

void journal_append(struct journal *j, struct journal_request *r)
{
	r->next = NULL;
	pthread_mutex_lock(&j->lock);
	if (!j->queue)
		pthread_cond_signal(&j->wake);
	*j->queue_last = r;
	j->queue_last = &r->next;
	pthread_mutex_unlock(&j->lock);
}

void journal_die(struct journal *j, const char *what, int e)
{
	struct cairn_error why = { 0 };
	bool first;

	cairn_fail(&why, CAIRN_E_UNAVAILABLE, "the journal %s: %s: %s", j->folder, what, strerror(-e));
	cairn_hint(&why, "the kernel may have dropped what was written: look at the disk, then start again");
	pthread_mutex_lock(&j->lock);
	first = !j->dead.code;
	if (first)
		j->dead = why;
	pthread_mutex_unlock(&j->lock);
	if (first && j->options.failed)
		j->options.failed(j->options.arg, &why);
}

void journal_facts(struct journal *j, struct journal_facts *facts)
{
	pthread_mutex_lock(&j->lock);
	*facts = j->facts;
	facts->segments = facts->segment_bytes = 0;
	for (struct segment *s = j->segments; s; s = s->next) {
		facts->segments++;
		facts->segment_bytes += s->zeroed;
	}
	for (struct segment *s = j->spares; s; s = s->next)
		facts->segment_bytes += s->zeroed;
	pthread_mutex_unlock(&j->lock);
}
