/*
 * Files of the journal: made, filled with zeros ahead of the writer, and used again. The janitor does what
 * may take long; a file gets its new name, and the folder is synced, before a batch in it counts.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "inside.h"
#include "sys.h"
#include "banned.h"

#define ZEROS (64u << 10)
#define RESERVE_PART 8 /* of a segment is kept in reserve */

static const char *segment_name(uint64_t number, char name[NAME_ROOM])
{
	snprintf(name, NAME_ROOM, NAME_SEGMENT, (unsigned long long)number);
	return name;
}

static const char *spare_name(uint64_t number, char name[NAME_ROOM])
{
	snprintf(name, NAME_ROOM, NAME_SPARE, (unsigned long long)number);
	return name;
}

uint64_t segment_number(const char *name, const char *format)
{
	char again[NAME_ROOM];
	uint64_t number = 0;

	if (sscanf(name, strncmp(name, "spare-", 6) ? "%16" SCNx64 : "spare-%16" SCNx64, &number) != 1)
		return 0;
	snprintf(again, sizeof(again), format, (unsigned long long)number);
	return strcmp(again, name) ? 0 : number;
}

struct segment *segment_new(uint64_t number, int fd, uint64_t size)
{
	struct segment *s = calloc(1, sizeof(*s));

	if (s)
		*s = (struct segment){ .number = number, .fd = fd, .zeroed = size };
	return s;
}

int segment_open(int dir, const char *name, int flags, uint64_t number, struct segment **s)
{
	int fd = sys->openat(dir, name, flags | O_NONBLOCK, 0); /* a pipe would wait for its other end */
	off_t size = fd < 0 ? fd : sys->size(fd);

	*s = size < 0 ? NULL : segment_new(number, fd, (uint64_t)size);
	if (!*s && fd >= 0)
		sys->close(fd);
	return size < 0 ? (int)size : *s ? 0 : -ENOMEM;
}

void segment_free(struct segment *s)
{
	sys->close(s->fd);
	free(s);
}

static int read_file(void *arg, void *data, size_t len, uint64_t at)
{
	const struct segment *s = arg;
	size_t got = 0;

	while (got < len) {
		ssize_t n = sys->pread(s->fd, (char *)data + got, len - got, (off_t)(at + got));

		if (n < 0)
			return (int)n;
		if (n == 0)
			break;
		got += (size_t)n;
	}
	return (int)got;
}

struct scan_source segment_source(struct segment *s)
{
	off_t size = sys->size(s->fd);

	return (struct scan_source){ read_file, s, size < 0 ? 0 : (uint64_t)size };
}

int segment_write(struct segment *s, const void *data, size_t len, uint64_t at, size_t *wrote)
{
	*wrote = 0;
	while (*wrote < len) {
		struct iovec iov = { (char *)data + *wrote, len - *wrote };
		ssize_t n = sys->pwritev(s->fd, &iov, 1, (off_t)(at + *wrote));

		if (n <= 0)
			return n < 0 ? (int)n : -EIO;
		*wrote += (size_t)n;
	}
	return 0;
}

/* Under the lock: a spare, taken off the list, or NULL. */
static struct segment *take_spare(struct journal *j)
{
	struct segment *s = j->spares;

	if (s) {
		j->spares = s->next;
		j->spare_count--;
		s->next = NULL;
	}
	return s;
}

/* Make a file that can become a segment: what is there later of a shorter one was cut. */
static int make_file(struct journal *j, uint64_t number, struct segment **out)
{
	char name[NAME_ROOM];
	int fd = sys->openat(j->dir, spare_name(number, name), O_RDWR | O_CREAT | O_TRUNC, 0600);
	int e = fd < 0 ? fd : sys->ftruncate(fd, (off_t)j->ahead);

	*out = e ? NULL : segment_new(number, fd, 0);
	if (!*out && fd >= 0)
		sys->close(fd);
	return e ? e : *out ? 0 : -ENOMEM;
}

/* Its size is on disk before a batch says so. */
static int make_sure(struct journal *j, struct segment *s)
{
	off_t size = sys->size(s->fd);
	int e = size < 0 ? (int)size : 0;

	if (!e && size < JOURNAL_SEGMENT_MIN)
		e = sys->ftruncate(s->fd, size = (off_t)j->ahead);
	if (e)
		return e;
	e = sys->fdatasync(s->fd);
	if (e < 0)
		journal_die(j, "syncing a segment", e);
	s->sized = (uint64_t)size;
	return e;
}

int segment_begin(struct journal *j)
{
	char name[NAME_ROOM], old[NAME_ROOM];
	struct segment *s;
	uint64_t number, spare;
	int e = 0, named;

	pthread_mutex_lock(&j->lock);
	number = j->next_segment++;
	s = take_spare(j);
	spare = s ? s->number : j->next_spare++;
	pthread_mutex_unlock(&j->lock);
	if (!s)
		e = make_file(j, spare, &s);
	if (!e)
		e = make_sure(j, s);
	if (!e)
		e = sys->renameat(j->dir, spare_name(spare, old), j->dir, segment_name(number, name));
	named = !e;
	if (named && (e = sys->fsync(j->dir)) < 0)
		journal_die(j, "syncing the folder", e);
	if (!named)
		sys->unlinkat(j->dir, spare_name(spare, old), 0);
	pthread_mutex_lock(&j->lock);
	if (e && s) {
		segment_free(s);
	} else if (!e) {
		s->number = number;
		if (j->current)
			j->current->next = s;
		else
			j->segments = s;
		j->current = s;
		j->no_ahead = false;
		segments_retire(j);
		pthread_cond_signal(&j->work);
	}
	pthread_mutex_unlock(&j->lock);
	return e;
}

/* Oldest first, and so they go: after a crash there is never a gap in what is left. */
void segments_retire(struct journal *j)
{
	struct segment *s, **last;

	while ((s = j->segments) && s != j->current && !s->ranges && !s->uses) {
		j->segments = s->next;
		s->next = NULL;
		for (last = &j->retired; *last; last = &(*last)->next)
			;
		*last = s;
		pthread_cond_signal(&j->work);
	}
}

/* ---- The reserve ---- */

bool segment_spend_reserve(struct journal *j)
{
	bool had;

	pthread_mutex_lock(&j->lock);
	had = j->reserved;
	j->reserved = false;
	j->is_short = true;
	pthread_mutex_unlock(&j->lock);
	return had && sys->unlinkat(j->dir, NAME_RESERVE, 0) == 0;
}

void journal_reserve(struct journal *j)
{
	pthread_mutex_lock(&j->lock);
	if (!j->reserved && !j->options.read_only) {
		j->reserve = true;
		pthread_cond_signal(&j->work);
	}
	pthread_mutex_unlock(&j->lock);
}

bool journal_is_short(const struct journal *j)
{
	return j->is_short;
}

/* In the janitor. Only where there is twice as much room, so that it is not used up again at once. */
static void make_reserve(struct journal *j)
{
	off_t bytes = (off_t)(j->options.segment_bytes / RESERVE_PART);
	int fd, e;

	j->reserve = false;
	pthread_mutex_unlock(&j->lock);
	fd = sys->openat(j->dir, NAME_RESERVE, O_RDWR | O_CREAT, 0600);
	e = fd < 0 ? fd : 0;
	if (!e && sys->size(fd) != bytes) {
		e = sys->allocate(fd, 2 * bytes);
		if (!e)
			e = sys->ftruncate(fd, bytes);
	}
	if (fd >= 0)
		sys->close(fd);
	if (fd >= 0 && e)
		sys->unlinkat(j->dir, NAME_RESERVE, 0);
	pthread_mutex_lock(&j->lock);
	j->reserved = !e;
	if (!e || e == -ENOSPC) /* other than this, the disk cannot set room apart */
		j->is_short = e;
}

/* ---- The janitor, who holds the lock but while it works ---- */

static int write_zeros(struct segment *s, uint64_t from, uint64_t to)
{
	void *zeros = calloc(1, ZEROS);
	size_t wrote;
	int e = zeros ? 0 : -ENOMEM;

	while (!e && from < to) {
		size_t n = to - from < ZEROS ? to - from : ZEROS;

		e = segment_write(s, zeros, n, from, &wrote);
		from += n;
	}
	free(zeros);
	return e;
}

static bool wants_zeros(const struct journal *j)
{
	return j->current && !j->no_ahead && j->current->zeroed < j->options.segment_bytes &&
		j->current->zeroed - j->at < j->ahead / 2;
}

static void zero_ahead(struct journal *j)
{
	struct segment *s = j->current;
	uint64_t from = s->zeroed, to = from + j->ahead;
	int e, synced = 0;

	if (to > j->options.segment_bytes)
		to = j->options.segment_bytes;
	j->zeroing = true;
	s->uses++;
	pthread_mutex_unlock(&j->lock);
	e = write_zeros(s, from, to);
	if (!e)
		synced = sys->fdatasync(s->fd);
	if (synced < 0)
		journal_die(j, "zeroing a segment", synced);
	pthread_mutex_lock(&j->lock);
	s->uses--;
	j->zeroing = false;
	if (e || synced)
		j->no_ahead = true; /* the writer makes its own way */
	else
		s->zeroed = s->sized = to;
	segments_retire(j);
	pthread_cond_broadcast(&j->zeroed);
}

/* Keep a retired file as a spare, or remove it. */
static void take_back(struct journal *j)
{
	struct segment *s = j->retired;
	char name[NAME_ROOM], spare[NAME_ROOM];
	bool keep = j->spare_count < SPARES_MAX && s->zeroed >= j->options.segment_bytes / 2;
	uint64_t number = j->next_spare++;

	j->retired = s->next;
	pthread_mutex_unlock(&j->lock);
	segment_name(s->number, name);
	if (keep)
		keep = sys->renameat(j->dir, name, j->dir, spare_name(number, spare)) == 0;
	else
		sys->unlinkat(j->dir, name, 0);
	pthread_mutex_lock(&j->lock);
	if (!keep) {
		segment_free(s);
		return;
	}
	s->number = number;
	s->next = j->spares;
	j->spares = s;
	j->spare_count++;
}

void *segment_janitor(void *journal)
{
	struct journal *j = journal;

	pthread_mutex_lock(&j->lock);
	for (;;) {
		if (j->retired && !j->dead.code)
			take_back(j);
		else if (j->reserve && !j->closing && !j->dead.code)
			make_reserve(j);
		else if (wants_zeros(j) && !j->closing && !j->dead.code)
			zero_ahead(j);
		else if (j->closing)
			break;
		else
			pthread_cond_wait(&j->work, &j->lock);
	}
	pthread_mutex_unlock(&j->lock);
	return NULL;
}
