/*
 * The watches of a volume: what op_watch.c, which brings one watch to the present, and watches.c, which tells
 * all that are there of what is new, share. Everything happens in the loop's thread, but for what a worker
 * does with a watch that is BUSY.
 */
#ifndef WATCHES_H
#define WATCHES_H

#include "buffer.h"
#include "feed.h"
#include "operation.h"

struct watch;

/* The watches of one volume. Of the loop's thread, but for POSTED. */
struct watches {
	struct watches *next; /* of the node's */
	struct node *node;
	struct volume *volume; /* held */
	struct shard *shard;
	struct store *store;
	struct loop *loop;
	unsigned uses; /* watches, and who works on it */
	struct watch *all;
	struct watch **slots; /* live ones by what they watch */
	size_t slot_count, live;
	struct feed_place at; /* where the reader is, while there are live ones */
	unsigned beats;       /* watches that want to be told soon how far that is */
	uint64_t revision;    /* up to which they have been told everything */
	struct loop_timer *tick;
	struct loop_task task;
	_Atomic bool posted; /* that is on its way; any thread */
};

enum phase {
	PHASE_BEGIN,   /* a worker sees to it that the feed is kept */
	PHASE_CONTENT, /* present content is read and sent */
	PHASE_ROWS,    /* old changes are read and sent */
	PHASE_FEED,    /* it reads the feed by itself */
	PHASE_LIVE,
};

struct watch {
	struct watch *next, **at;        /* of all */
	struct watch *chain, **chain_at; /* of its slot, while it is live */
	struct watches *hub;
	struct call *call;
	struct cairn_slice what; /* key, or prefix: empty, or it ends with '/' */
	bool prefix, values, progress, initial;
	uint64_t hash; /* of WHAT */
	enum phase phase;
	bool busy;                 /* a worker has it */
	bool held, pinned;         /* the feed; the revision CONTENT */
	uint64_t since_ns;         /* since when it waits for the connection */
	uint64_t content;          /* revision whose content is sent */
	struct buffer cursor;      /* of the next page of it */
	struct change_cursor from; /* what was not sent yet */
	struct feed_place place;   /* the same in the feed */
	uint64_t told;             /* newest revision in a progress message */
	struct loop_timer *beat;   /* when it is to be told that it lives; NULL: never */
	uint64_t beat_ms;
	struct buffer out; /* events to be sent, each a length and that many bytes of fields, */
	size_t sent;       /* from here on */
	bool last;         /* there is no page behind it */
};

/* The hub of C's volume, used once more; NULL without memory. And let go of it. */
struct watches *watches_get(struct call *c);
void watches_put(struct watches *h);
/* What a watch of the key or prefix WHAT is found by. */
uint64_t watches_hash(struct cairn_slice what);

/* E as the fields of an event, its value only with VALUES. */
void watch_encode(struct cairn_msg *m, const struct store_event *e, bool values);
/* Whether E concerns W. */
bool watch_concerns(const struct watch *w, const struct store_event *e);
/* Tell that everything up to REVISION was sent. Returns as call->event. */
bool watch_progress(struct watch *w, uint64_t revision);
/* W has read the feed up to REVISION, which was its end: from now on the hub tells it. */
void watch_go_live(struct watch *w, uint64_t revision);
/* Begin to tell W every BEAT_MS that it lives. False where there is no memory. */
bool watch_beat(struct watch *w, uint64_t beat_ms);
/* The connection is full: W goes on later, from behind the change of REVISION that RUN gave last. */
void watch_lag(struct watch *w, const struct feed_run *run, uint64_t revision);
/* W is over and freed: with *ERROR, or well (NULL); for the reason WHY, to be begun again; because its reader
 * is too slow. */
void watch_finish(struct watch *w, const struct cairn_error *error);
void watch_end(struct watch *w, const struct cairn_error *why);
void watch_cut(struct watch *w);

#endif
