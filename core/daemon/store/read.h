/* Reads beside the applying thread: straight from the engine, which holds whole batches only. */
#ifndef READ_H
#define READ_H

#include "state.h"

/* One reader. */
struct reader {
	struct store *s;
	struct cairn_guard guard;
	void *snapshot;    /* or NULL: now */
	unsigned flags;    /* CAIRN_READ_NO_WAIT or 0 */
	uint64_t clock_ns; /* the store's, from before anything was read: what is due then is not there */
	struct cairn_error *error;
};

/* The body of a row, lent until the guard ends. 0, -ENOENT, -EAGAIN, or another -errno. */
int read_row(struct reader *r, struct cairn_slice key, struct cairn_slice *body);
/* The code and the sentence for E from read_row or an iterator, about KEY. */
enum cairn_code read_failed(struct reader *r, int e, struct cairn_slice key);

/* Whether the record in BODY, with the head HEAD, is due, so that it is not there. 1, 0 or -EUCLEAN. */
int read_is_due(const struct reader *r, struct cairn_slice body, const struct record_head *head);

struct past;

/* past_read.c: the meta row as R sees it; all 0 in a new store. */
int read_meta_row(struct reader *r, struct meta *m);
/* Begin and end a read of one moment, and its meta. To be closed also after a failure. 0 or -errno. */
int read_open(struct reader *r, struct meta *m);
void read_close(struct reader *r);
/* A walk along KEY's history, see past.h. */
struct past read_past(struct reader *r, const struct meta *m, struct cairn_slice key);
/* COMPACTED, naming the oldest revision that is kept whole. */
enum cairn_code read_compacted(struct reader *r, const struct meta *m, uint64_t revision);
/* Whether the whole of REVISION can be read: 0, INVALID or COMPACTED. ALL is set where it is pinned: then
 * whatever is there counts. */
enum cairn_code read_may_view(struct reader *r, const struct meta *m, uint64_t revision, bool *all);
/* get with AT. Opens and closes R. */
enum cairn_code read_get_past(struct reader *r, const struct args *a, struct cairn_msg *answer);
/* read.c: the range that A asks for of RECORD's value, as VALUE. */
int read_value(struct reader *r, const struct args *a, const struct record *record, struct cairn_msg *answer);
/* store.c: what M says. */
void read_facts(const struct meta *m, struct store_facts *facts);

#endif
