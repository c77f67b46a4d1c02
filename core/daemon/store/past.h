/*
 * Walking along one key's history, from its newest record to older versions: for readers, which see the
 * engine, and for commands, which see what the batch has written.
 */
#ifndef PAST_H
#define PAST_H

#include "history.h"

struct past {
	/* Set by the caller. GET gives the body of a row: 0, -ENOENT or another -errno. */
	int (*get)(void *arg, struct cairn_slice key, struct cairn_slice *body);
	/* Called now and then: what GET lent so far is not needed any more. May be NULL. */
	void (*forget)(void *arg);
	void *arg;
	const struct meta *meta;
	struct cairn_slice key;
	uint64_t most; /* such steps: -E2BIG beyond; 0: no limit */
	bool all;      /* whatever is there counts, visible or not: for a revision that is pinned */

	/* What the walk knows. */
	struct record newest; /* numbers only */
	bool newest_gone;     /* it is a tombstone */
	struct record record; /* where the walk is; lent */
	bool gone;            /* that is a tombstone */
	struct change_place
		source; /* of its bytes, where it has none of its own; revision 0: the newest record */
	uint64_t steps; /* to older versions so far */
};

/* Go to the newest record, or to the tombstone. 0, -ENOENT where there is neither, or another -errno. */
int past_first(struct past *p);
/* Go to the version before. -ENOENT where none is visible. */
int past_next(struct past *p);
/* Go to the version that was there at REVISION. -ENOENT where there was none, or where it is not visible. */
int past_at(struct past *p, uint64_t revision);
/* Go to the version at PLACE, which past_next had come to once. -ENOENT where it is not visible. */
int past_seek(struct past *p, struct change_place place);
/* The record with its value: content, or chunks that may hold more than its length. */
int past_value(struct past *p, struct record *r);

/* Whether every version of REVISION is visible, for any key: 1 or 0, or -errno. Uses GET and META of P. */
int past_complete(struct past *p, uint64_t revision);
/* The oldest revision for which that is so. 0 or -errno. */
int past_oldest(struct past *p, uint64_t *revision);
/* The last revision whose commit time is TIME_NS or before. 0 or -errno. */
int past_by_time(struct past *p, uint64_t time_ns, uint64_t *revision);

/* revert.c: a walk along KEY's history as the command W sees it; and the code for E, not -ENOENT, of one. */
struct work;
struct past past_of(struct work *w, struct cairn_slice key);
enum cairn_code past_failed(struct work *w, int e, struct cairn_slice key);

/* pins.c: whether somebody reads at REVISION, so that it is all there. */
struct store;
bool pins_hold(struct store *s, uint64_t revision);

#endif
