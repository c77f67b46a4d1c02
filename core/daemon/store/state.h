/*
 * Inside the store: the state of one shard, and of the command that is being applied. Only files of this
 * folder include it.
 */
#ifndef STATE_H
#define STATE_H

#include <pthread.h>
#include <stdatomic.h>
#include "args.h"
#include "buffer.h"
#include "feed.h"
#include "meta.h"
#include "pending.h"
#include "record.h"
#include "rows.h"
#include "store.h"

#define STORE_UPLOAD_PIECES_MAX 65536 /* index of a staged piece lies below */

#define AHEAD 16 /* commands that are looked at before they are applied */

struct ahead;
struct requests;

/* A revision that somebody reads at, see pins.c. */
struct pin {
	uint64_t revision, until_ns;
	bool settled;
	unsigned holders; /* who let go of it themselves, whatever the time */
};

/* The newest changes, see feed.c. */
struct feed {
	/* Of the applying thread. */
	struct buffer fresh; /* changes of the batch */
	bool on, values;     /* this batch's changes are kept, and their values */
	uint64_t since;      /* not 0: that is so only for what is newer than this revision */
	/* Any thread. */
	_Atomic unsigned holders, value_holders;
	/* Under the store's lock. */
	struct feed_block *first, *last; /* oldest first */
	struct feed_block *spare;        /* to be used next, or NULL */
	uint64_t next_number;            /* of the next block */
	size_t bytes, limit;             /* of all blocks */
	size_t dropped;                  /* length of the block that was dropped last */
	uint64_t from, revision;         /* they hold what is newer than FROM, up to REVISION */
	bool ended;
	struct cairn_error why;
	void (*notify)(void *arg);
	void *notify_arg;
};

struct store {
	uint64_t key_max;      /* as meta has it; set before other threads check arguments, and not changed */
	struct engine *engine; /* the caller's */
	bool checksums;        /* rows end with a checksum */
	struct meta meta;      /* of the applying thread */
	struct ahead *ahead;   /* of the applying thread: AHEAD of them */
	struct pending pending;     /* of the applying thread */
	struct cairn_guard guard;   /* of the applying thread, open while it applies */
	struct requests *requests;  /* of the applying thread: clients by age */
	struct cairn_write *writes; /* of the applying thread: the engine batch */
	struct iovec *pieces;       /* two for each write */
	unsigned char (*sums)[ROW_CHECKSUM];
	size_t write_cap;
	struct cairn_msg scratch; /* answers that nobody waits for */
	struct cairn_error stop;  /* code is not 0: applying cannot go on, for this reason */
	pthread_mutex_t lock;     /* protects published */
	struct meta published;    /* meta of the last batch that is in */
	struct pin *pins;         /* under the lock */
	size_t pin_count;
	uint32_t reclaim_ordinal;    /* of the applying thread: in the revision behind meta.reclaimed */
	_Atomic bool pinned;         /* whether there are any */
	_Atomic unsigned long batch; /* odd while one is being made and written */
	uint64_t due_ns;             /* of the applying thread: no key is due before; UINT64_MAX: none ever */
	_Atomic uint64_t published_due_ns;    /* that of the last batch that is in */
	_Atomic uint64_t clock_ns;            /* the clock of the last batch that is in, for readers */
	_Atomic uint64_t uploads_ns;          /* no upload was last staged before this time; 0: not known */
	uint64_t uploads_walk, uploads_since; /* of the applying thread: what a walk over the uploads has
						 seen, and what was staged since it began */
	bool pinning; /* of the applying thread: what is replaced is kept, for a reader */
	struct feed feed;
};

/* One command on its way. */
struct work {
	struct store *s;
	uint64_t revision; /* that its changes get */
	uint64_t time_ns;  /* its stamp */
	uint32_t ordinal;  /* of its next change; 0: nothing changed yet */
	struct cairn_slice author, face, client;
	const struct ahead *ahead; /* what was read ahead for it; may be NULL */
	uint64_t keys, bytes;      /* touched so far, against the bulk limits */
	bool bulk;                 /* keys are charged where they are collected */
	struct cairn_msg *answer;  /* never NULL */
	struct cairn_error *error; /* never NULL */
};

/* The key of a row, with what it is found by; memory of the arena. */
struct row {
	struct cairn_slice key;
	struct hash begun; /* with the key */
	uint64_t hash;     /* of it */
};

/* A command that is about to be applied, see ahead.c. */
struct ahead {
	struct args args;
	bool parsed;              /* the arguments are well formed */
	struct cairn_slice key;   /* of the arguments; data is NULL where its record was not read ahead */
	struct row row;           /* of the record */
	struct cairn_slice value; /* the engine's; data is NULL where it has none */
};

/* A live record as a command sees it. */
struct live {
	struct row row; /* where it is, found or not */
	bool found;
	struct cairn_slice body; /* valid until the batch ends */
	struct record r;         /* decoded where found */
};

/*
 * view.c: rows as the command sees them, pending ones over the engine's. Functions return 0 or -errno;
 * anything but -ENOENT has stopped the store, and S->stop says why.
 */
/* Memory until the batch ends; NULL has stopped the store. */
void *view_alloc(struct store *s, size_t n);
/* Key of a row: TAG and REST, copied. 0 or -ENOMEM. */
int view_row(struct store *s, enum row_tag tag, struct cairn_slice rest, struct row *row);
/* The same for a key that lies somewhere; copied. */
int view_row_of(struct store *s, struct cairn_slice key, struct row *row);
int view_get(struct store *s, const struct row *row, struct cairn_slice *body);
/* The same where the engine has VALUE for it, whose data is NULL where it has none. */
int view_get_known(struct store *s, const struct row *row, struct cairn_slice value,
		   struct cairn_slice *body);
/* BODY must last until the batch ends. */
int view_put(struct store *s, const struct row *row, struct cairn_slice body);
int view_delete(struct store *s, const struct row *row);
/* Stop the store: the row of KEY is damaged. Returns -EUCLEAN. */
int view_damaged(struct store *s, struct cairn_slice key);
/* Call FN for the rows FROM <= key < TO in order until it returns something else than 0, which is returned.
 * FN must not write. */
typedef int view_fn(void *arg, struct cairn_slice key, struct cairn_slice body);
int view_each(struct store *s, struct cairn_slice from, struct cairn_slice to, view_fn *fn, void *arg);

/*
 * change.c: one record replaced, made or removed, with everything that follows from it (counters, digest,
 * folders).
 */
/* The code that a command ends with when the store has stopped: that of S->stop. */
enum cairn_code work_stopped(struct work *w);
/* Count KEYS keys and BYTES bytes of records against the bulk limits. TOO_LARGE beyond. */
enum cairn_code work_charge(struct work *w, uint64_t keys, uint64_t bytes);
/* KEY's length is acceptable, or INVALID, TOO_LARGE. */
enum cairn_code work_key(struct work *w, struct cairn_slice key);
/* Load the record of KEY, found or not. */
enum cairn_code live_load(struct work *w, struct cairn_slice key, struct live *l);
/* The same, but NOT_FOUND where it is absent. */
enum cairn_code live_need(struct work *w, struct cairn_slice key, struct live *l);
/*
 * Make NEXT the record of L's key. The caller has set kind, flags, length, content or chunks (which it
 * holds), attributes and expiry; file id 0 keeps that of L or takes a new one. Revision, time, version,
 * create and previous revision, author and face are set here. L's chunks are released; after append, patch
 * and set-attributes only those that do not stay where they are, after swap none.
 */
enum cairn_code live_replace(struct work *w, const struct live *l, struct record *next,
			     enum change_kind change);
/* Remove the record of L, which was found, by CHANGE. Its chunks are released unless it is moved: then who
 * takes it under the key TO has them. */
enum cairn_code live_remove(struct work *w, const struct live *l, enum change_kind change,
			    struct cairn_slice to);
/* Remove the record of L, which was found, and leave no tombstone and no version. */
enum cairn_code live_purge(struct work *w, const struct live *l);
/* What of R goes on in the next version of the same value: kind, flags, expiry, content, attributes. */
struct record live_continue(const struct record *r);

/*
 * history.c: what is written so that the past can be read: change rows, and tombstones. Only where meta says
 * that history is kept.
 */
/* NEXT is made where KEY has no record: what its tombstone says goes on in it. */
int history_revive(struct work *w, struct cairn_slice key, struct record *next);
/* The version OLD of KEY is replaced by NEXT (whose head is set) through CHANGE. Chunks of OLD that stay in
 * history are held. */
enum cairn_code history_replaced(struct work *w, struct cairn_slice key, const struct record *old,
				 const struct record *next, enum change_kind change);
/* KEY's record R was written, or with GONE is its tombstone: say so in the log of changes. */
int history_changed(struct work *w, struct cairn_slice key, const struct record *r, bool gone);
/* L's record is removed as the change ORDINAL of this revision: leave a tombstone. TO as in live_remove. */
enum cairn_code history_removed(struct work *w, const struct live *l, uint32_t ordinal,
				enum change_kind change, struct cairn_slice to);
/* The version in the change row ROW, which is C, goes; that there was a change stays, where it is
 * young. */
int history_forget(struct work *w, const struct row *row, const struct change *c);
/* All keys with PREFIX are about to be moved: say so, where history is kept. */
enum cairn_code history_prefix(struct work *w, struct cairn_slice prefix, struct cairn_slice to);

/*
 * expiry.c: keys that go at a time. What is due is removed when a command moves the clock past that time: up
 * to EXPIRE_KEYS keys before the command, as a revision of their own; of more than that, each when a command
 * meets it, and the rest with later commands. Readers do not see what is due either way.
 */
#define EXPIRE_KEYS 256
/* W begins: remove what is due. Returns 0, or -EIO when the store has stopped. */
int expiry_due(struct work *w);
/* L was found, and is due: it is removed, and not found any more. */
enum cairn_code expiry_end(struct work *w, struct live *l);
/* Whether the record in BODY is due. 1, 0 or -EUCLEAN. */
int expiry_is_due(const struct work *w, struct cairn_slice body);
/* L's record becomes NEXT, or goes where that is NULL: its row of expiry follows. */
int expiry_changed(struct work *w, const struct live *l, const struct record *next);
/* The row of expiry of the record R into KEY. */
struct cairn_slice expiry_key(unsigned char key[ROW_EXPIRY_KEY], const struct record *r);
/* The expiry that A gives (EXPIRY, TTL_MS, or KEEP_EXPIRY: OLD_NS), 0 where it gives none. INVALID. */
enum cairn_code expiry_given(struct work *w, const struct args *a, uint64_t old_ns, uint64_t *ns);
/* store_open: find out when the next key is due. 0 or -errno. */
int expiry_load(struct store *s);

/*
 * feed.c: the change CHANGE of KEY, by which R was made or, with EVENT_GONE, removed; FLAGS are EVENT_….
 * feed_begin and feed_commit go with a batch, the latter with the lock; what feed_begin began is dropped by
 * the next one.
 */
void feed_change(struct work *w, struct cairn_slice key, const struct record *r, uint32_t ordinal,
		 enum change_kind change, unsigned flags, struct cairn_slice other);
void feed_begin(struct store *s);
void feed_commit(struct store *s);
void feed_free(struct feed *f);

/* folders.c: whether the folder PREFIX holds nothing but its marker; PREFIX is empty or ends with '/'. */
enum cairn_code folders_empty(struct work *w, struct cairn_slice prefix, bool *empty);
/* KEY was made (or removed, where not MADE). */
enum cairn_code folders_change(struct work *w, struct cairn_slice key, bool made);

/* text.c: KEY for a sentence: unprintable bytes escaped, cut where it is long. */
#define KEY_TEXT 100
const char *key_text(struct cairn_slice key, char text[KEY_TEXT]);

/* ahead.c: take the arguments of COUNT commands, at most AHEAD, apart and read the records of their keys. */
void ahead_look(struct store *s, const struct store_command *commands, size_t count);

/* apply.c: begin a batch, and end it: WRITE what is pending to the engine, with SYNC as in store_apply, whose
 * results it gives. */
void batch_begin(struct store *s);
enum cairn_code batch_end(struct store *s, bool write, bool sync, struct cairn_error *error);

/* excess.c: bytes that history may take. */
uint64_t history_limit(const struct meta *m);

/* pins.c: the oldest revision that is read at; UINT64_MAX where none is. */
uint64_t pins_oldest(struct store *s, uint64_t now_ns);
/* Wait for the batch that is under way, if there is one. */
void batch_pass(struct store *s);

/* answer.c: the name of a change. Static. */
const char *change_name(unsigned change);
/* The fields of R into an answer. The value only WITH_VALUE, and where it stands in the record. */
void answer_record(struct cairn_msg *m, const struct record *r, bool with_value);

/*
 * attributes.c: GIVEN (fields) laid over OLD: what GIVEN names is replaced, user attributes one by one (one
 * without a value goes). Without KEEP_TIMES the old times go. TOO_LARGE beyond RECORD_ATTRIBUTES_MAX.
 */
enum cairn_code attributes_merge(struct work *w, struct cairn_slice old, struct cairn_slice given,
				 bool keep_times, struct cairn_slice *merged);

/* operations of apply, by their argument lists (args.c); the dispatcher has checked arguments and guards */
typedef enum cairn_code operation_fn(struct work *w, const struct args *a);
operation_fn op_put, op_delete, op_get, op_stage, op_unstage, op_append, op_patch, op_set_attributes, op_txn,
	op_move, op_copy, op_swap, op_move_prefix, op_copy_prefix, op_delete_prefix, op_configure, op_revert,
	op_revert_prefix, op_purge, op_expire, op_persist, op_increment, op_expire_due, op_nothing,
	op_members;

/* apply.c: do operation OP, whose guards hold. */
enum cairn_code work_operation(struct work *w, unsigned op, const struct args *a);
/* Where an operation began, and going back there: whatever it wrote, counted and answered is gone. */
struct mark {
	struct meta meta;
	size_t pending, answer, fresh;
	uint32_t ordinal;
};
struct mark work_mark(const struct work *w);
void work_undo(struct work *w, const struct mark *m);

/* quota.c: QUOTA where more is used than may be, and more than there was at BEFORE. */
enum cairn_code quota_holds(struct work *w, const struct mark *before);

/* guards.c: take one condition apart. INVALID where it is none. */
enum cairn_code guard_parse(struct cairn_slice item, struct args *g, struct cairn_error *error);
/* Whether all guards of A hold. Where not, W->error says which and why, as a CONFLICT. A code where one is
 * malformed, and CONFLICT where one is the fence of a lock that was lost. */
enum cairn_code guards_hold(struct work *w, const struct args *a, bool *hold);

#endif
