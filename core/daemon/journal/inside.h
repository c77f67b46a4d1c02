/*
 * Inside the journal: only files of this folder include it.
 *
 * Threads: who has set WRITING has the lines that say so; LOCK protects everything else that changes. The
 * janitor zeroes files ahead of the writer and takes back those that nobody needs. Any thread reads.
 */
#ifndef INSIDE_H
#define INSIDE_H

#include <pthread.h>
#include "journal.h"
#include "scan.h"

#define NAME_SEGMENT "%016llx.seg"
#define NAME_SPARE "spare-%016llx"
#define NAME_RESERVE "reserve"
#define NAME_ROOM 32
#define SPARES_MAX 2            /* files kept for later */
#define AHEAD_MAX (4u << 20)    /* most bytes zeroed ahead of the writer */
#define MARK_NS 50000000        /* idle time before the mark that all is on disk */
#define PACE_NS 1000000         /* syncs that take longer are left to the writer */
#define KEEP_BATCH (256u << 10) /* bytes of the writer's buffer kept while idle */

struct segment {
	struct segment *next;
	uint64_t number; /* in its name */
	int fd;
	uint64_t zeroed; /* bytes that were written once, so that a sync needs no metadata */
	uint64_t sized;  /* bytes that the file has on disk for certain */
	uint64_t ranges; /* that point here */
	unsigned uses;   /* readers */
};

/* Entries of one term that stand one behind the other in one batch. */
struct range {
	uint64_t first, last, term;
	uint64_t bytes; /* of their commands */
	struct segment *segment;
	uint64_t at;  /* place of the batch */
	size_t place; /* of the first record among its records */
	size_t end;   /* behind the last one */
};

struct journal_shard {
	struct journal_shard *next;
	struct journal *journal;
	uint64_t id;
	uint64_t first; /* first index that is needed */
	bool stale;     /* a request has failed, and the shard has not attached since */
	bool dropped;
	bool attached;        /* somebody has asked for it since the journal was opened */
	struct range *ranges; /* owned; from HEAD on COUNT of CAP are in use, in order of index */
	size_t head, count, cap;
	size_t state_len;
	unsigned char state[JOURNAL_STATE_MAX];
};

/* A batch that is being made. */
struct batch {
	unsigned char *data; /* owned */
	size_t len, cap;
	uint32_t count; /* records in it */
};

struct journal {
	struct journal_options options;
	char *folder; /* owned */
	int dir;
	uint64_t ahead; /* bytes zeroed at once */
	pthread_t writer, janitor;
	bool has_writer, has_janitor;

	pthread_mutex_t lock;
	pthread_cond_t wake;   /* the writer: there are requests, or the end */
	pthread_cond_t work;   /* the janitor: something to zero or to take back, or the end */
	pthread_cond_t zeroed; /* the writer: zeroing has come to an end */
	struct journal_request *queue, **queue_last;
	bool closing;
	bool writing;            /* somebody has the writer's lines: the writer, or journal_append_now */
	uint64_t written_ns;     /* when something was written last */
	uint64_t pace_ns;        /* what a sync has taken lately */
	bool reserve;            /* is wanted: the janitor makes it */
	bool reserved;           /* it is there */
	_Atomic bool is_short;   /* it is not, for want of room */
	bool zeroing;            /* the janitor writes zeros into the current segment */
	bool no_ahead;           /* and gave up on it */
	struct cairn_error dead; /* code not 0: a sync has failed, nothing goes on */
	struct journal_shard *shards;
	struct segment *segments, *current; /* oldest first; the newest */
	struct segment *retired;            /* to be taken back */
	struct segment *spares;
	unsigned spare_count;
	uint64_t next_segment; /* number in the name of the next one */
	uint64_t next_spare;
	struct journal_facts facts;

	/* Of whoever has set WRITING. */
	struct batch batch;      /* that is being made */
	uint64_t at;             /* place of the next batch in the current segment */
	uint64_t epoch;          /* of the current segment */
	struct scan_chain chain; /* the newest batch on disk */
	bool roll;               /* the next batch begins a segment */
	bool mark;               /* the newest batch is not marked as being on disk */
};

/* shards.c, under the lock. */
struct journal_shard *shards_find(struct journal *j, uint64_t id, bool make);
/* Make room for one more range. 0 or -ENOMEM. */
int shards_reserve(struct journal_shard *s);
/* The entry INDEX stands at PLACE among the records of the batch AT in SEGMENT, with a command of LENGTH
 * bytes. It needs room. */
void shards_add(struct journal_shard *s, const struct record_head *r, struct segment *segment, uint64_t at,
		size_t place);
/* Entries below INDEX are not needed. */
void shards_forget(struct journal_shard *s, uint64_t index);
/* Take the records of a batch that was read or written. 0, -EINVAL, -ENOMEM. */
int shards_take(struct journal *j, struct segment *segment, uint64_t at, struct cairn_slice records);

/* recover.c: read what is in the folder. */
enum cairn_code recover(struct journal *j, struct cairn_error *notice, struct cairn_error *error);

/* segment.c */
/* A name with the form FORMAT (NAME_SEGMENT, NAME_SPARE), whose number is not 0, gives it; else 0. */
uint64_t segment_number(const char *name, const char *format);
struct segment *segment_new(uint64_t number, int fd, uint64_t size);
/* Open the file NAME. 0 or -errno: -EISDIR and -ENXIO where it is no file. */
int segment_open(int dir, const char *name, int flags, uint64_t number, struct segment **s);
void segment_free(struct segment *s);
/* A source that reads SEGMENT. */
struct scan_source segment_source(struct segment *s);
/* Make the next segment, out of a spare where there is one, and the current one. In the writer, without the
 * lock. 0 or -errno. */
int segment_begin(struct journal *j);
/* Write all LEN bytes at AT. 0 or -errno; *WROTE says how many got there. */
int segment_write(struct segment *s, const void *data, size_t len, uint64_t at, size_t *wrote);
/* The disk is full: give up the reserve. False: it was used before. Without the lock. */
bool segment_spend_reserve(struct journal *j);
/* Under the lock: segments that nobody needs go to the retired ones. */
void segments_retire(struct journal *j);
void *segment_janitor(void *journal);

/* writer.c */
void *writer_run(void *journal);

/* journal.c: nothing goes on, since a sync has failed with -E. Without the lock. */
void journal_die(struct journal *j, const char *what, int e);

#endif
