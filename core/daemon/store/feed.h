/*
 * The feed: the newest changes of a store, in memory, for those who watch. Applying adds each change to it as
 * it happens, and only a committed batch shows; readers follow it with a place of their own and are told when
 * their place is gone, since the feed has a bounded size. Where history is kept it is filled only while
 * somebody watches, and older changes are read from the rows (store_changes); where none is kept it is always
 * filled, and is all that a watch may begin from.
 */
#ifndef FEED_H
#define FEED_H

#include "record.h"
#include "store.h"

#define STORE_FEED_BYTES (4u << 20) /* what a feed holds unless told otherwise */
#define STORE_CHANGES_LOOK 4096     /* rows that one call of store_changes looks at */

enum {
	EVENT_GONE = 1 << 0,   /* the key was removed */
	EVENT_PREFIX = 1 << 1, /* key and other are prefixes; their keys' events follow */
	EVENT_OPEN = 1 << 2,   /* created exclusively, its first data not written yet */
	EVENT_KNOWN = 1 << 3,  /* what the record says is known: size to face */
	EVENT_VALUE = 1 << 4,  /* the value is there */
	EVENT_FLUSH = 1 << 5,  /* all keys are gone; file_id is the volume's incarnation from then on */
};

/* One change of one key. The slices are lent. */
struct store_event {
	uint64_t revision, time_ns;
	uint64_t size, version, file_id, create_revision; /* of the version that it made, or removed */
	uint32_t ordinal;                                 /* within the revision, rising */
	uint16_t flags;                                   /* EVENT_… */
	uint8_t change, kind;                             /* enum change_kind, enum cairn_kind */
	struct cairn_slice key, other, author, face;
	struct cairn_slice client; /* who wrote it; empty where it is not known any more */
	struct cairn_slice value;
};

/* Name of E's change. Static. */
const char *store_event_name(const struct store_event *e);

/* Let the feed hold about BYTES; 0: something only while somebody watches. Before others use S. */
void store_feed_limit(struct store *s, size_t bytes);
/*
 * From the return on every change is in the feed, and with VALUES also its value where that stands in the
 * record; until as many calls of store_feed_release. May wait for a batch that is under way.
 */
void store_feed_hold(struct store *s, bool values);
void store_feed_release(struct store *s, bool values);
/* Have FN called after each batch and at the end, in the thread that did it, under a lock: it only posts. One
 * at a time; NULL: none, and no call is under way any more. */
void store_feed_notify(struct store *s, void (*fn)(void *arg), void *arg);
/*
 * Nothing comes any more, for the reason WHY; LAST (may be NULL) is one more event. Only for who may apply,
 * with LAST; else from any thread. The first call counts.
 */
void store_feed_end(struct store *s, const struct cairn_error *why, const struct store_event *last);

/* Where a reader is. */
struct feed_place {
	uint64_t block;
	size_t offset;
};

struct feed_facts {
	uint64_t from;     /* the feed holds all that is newer than this revision, */
	uint64_t revision; /* up to this one */
	bool ended;
	struct cairn_error why; /* of its end */
};
void store_feed_facts(struct store *s, struct feed_facts *facts);

/* The place of the first change of REVISION or later. -ESTALE where the feed does not go back that far. */
int store_feed_seek(struct store *s, uint64_t revision, struct feed_place *place);

/* Changes that stand together, held for a reader from store_feed_take to store_feed_done. */
struct feed_run {
	struct feed_block *block;
	struct feed_place at;
	size_t end;
	uint64_t revision; /* of the newest change in the feed by then */
};

/* What stands behind PLACE: 1 and *RUN, 0 where there is nothing yet (RUN has the revision only), -ESTALE
 * where some of it is gone. */
int store_feed_take(struct store *s, const struct feed_place *place, struct feed_run *run);
/* The next change of R, lent until store_feed_done; R->at is behind it then. False at the end. */
bool feed_next(struct feed_run *r, struct store_event *e);
/* The revision of the change that feed_next would give; 0 at the end of the run. */
uint64_t feed_peek(const struct feed_run *r);
void store_feed_done(struct store *s, struct feed_run *run);

/* A place among the rows of changes. */
struct change_cursor {
	uint64_t revision; /* the next one to read, */
	uint32_t ordinal;  /* from this change of it on */
};

/*
 * Call FN for the changes that history holds from *CURSOR on, until it returns false (it has taken that one
 * then), some rows were looked at, or the end: *END is set, and the cursor stands behind the newest revision.
 * Waits for disks. COMPACTED where changes from the cursor on may be gone; the sentence and ERROR's revision
 * name the oldest one that is left. WANT (may be NULL) says for which keys details are needed at all.
 */
typedef bool store_event_fn(void *arg, const struct store_event *e);
enum cairn_code store_changes(struct store *s, struct change_cursor *cursor, store_event_fn *want,
			      store_event_fn *fn, void *arg, bool *end, struct cairn_error *error);

/*
 * Hold the revision *REVISION (0: now, which is then told) so that it can be read at, until store_unpin.
 * COMPACTED. NOW_NS is CLOCK_BOOTTIME. May wait.
 */
enum cairn_code store_pin(struct store *s, uint64_t *revision, uint64_t now_ns, struct cairn_error *error);
void store_unpin(struct store *s, uint64_t revision, uint64_t now_ns);

#endif
