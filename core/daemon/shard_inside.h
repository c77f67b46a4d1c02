/* The inside of a shard, for the files shard*.c alone. */
#ifndef SHARD_INSIDE_H
#define SHARD_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>
#include "checkpoint.h"
#include "clock.h"
#include "engine.h"
#include "feed.h"
#include "journal.h"
#include "le.h"
#include "overlay.h"
#include "pool.h"
#include "room.h"
#include "stamp.h"
#include "volume.h"

struct replica;

#define STEP_MAX 256        /* events of one step */
#define APPLY_MAX 256       /* commands of one engine batch */
#define TICK_NS 1000000000u /* the longest time between two ticks */

/*
 * Threads: the inbox is lock-free; what the step flag guards and what the apply flag guards stands on the
 * struct. A use for each flag that is held keeps the shard until its thread has let go of it.
 */
struct shard {
	struct node *node;
	char name[VOLUME_NAME_MAX + 1];
	char folder[4096];
	struct engine engine;
	struct store *store;
	const struct cairn_replication *module;
	void *instance;
	struct cairn_replication_host host;
	bool in_loop;         /* the engine never waits: small commands are applied by whoever steps */
	uint64_t incarnation; /* see shard.h */
	bool sync;            /* writes are on disk before they are answered: */
	struct journal_shard *journal; /* in the journal; NULL: in the engine */
	struct replica *replica;       /* where its module has peers; else NULL */
	bool overlay;                  /* the engine is one, and is flushed later */
	bool checkpoints; /* the engine forgets, and the store is written into files now and then */
	_Atomic uint64_t checkpoint_after_ns; /* clock_boot_ns before which none is tried, since one failed */
	_Atomic uint64_t checkpoint;          /* index of the last entry in the newest of them */
	_Atomic uint64_t checkpoint_count, checkpoint_ns; /* written, and the time that it took */

	_Atomic(struct shard_write *) inbox; /* handed in, newest first; any thread */
	_Atomic bool step;                   /* the step flag */
	_Atomic uint64_t applied;            /* index; written by the holder of the apply flag */
	_Atomic unsigned uses;               /* the owner's, and one for each flag that is held */
	void (*closed)(void *arg);           /* see shard_close; set before the owner's use is given back */
	void *closed_arg;
	void (*on_stop)(void *arg); /* see shard_options */
	void *on_stop_arg;

	/* Of the holder of the step flag. */
	struct shard_write *waiting, **waiting_last; /* off the inbox, oldest first, not proposed yet */
	struct shard_write *log, **log_last;         /* appended, not committed yet, in order */
	struct shard_write *unsaved; /* the first of LOG that the journal has not been given */
	struct cairn_event events[STEP_MAX + 3];
	bool in_turn;   /* it is a loop that steps */
	bool lone;      /* and it has written to the journal itself, since nobody else wanted anything */
	uint64_t token; /* of a persist that was asked for and not answered; 0: none */
	_Atomic uint64_t
		saved; /* token of the newest persist that the journal has done; 0: told. Any thread */
	_Atomic bool unsavable; /* the journal has failed, and LOG is to be given up. Any thread */
	_Atomic uint64_t told;  /* the applied index that the module knows */
	struct stamp clock;     /* what commands are stamped with; written under the lock */
	struct loop_task turn;  /* steps at the end of a turn, or in the next one */
	struct loop *turn_loop; /* whose turn it is */

	pthread_mutex_t lock; /* of the lines below up to the blank one, and of REASON while it is written */
	struct shard_write *committed, **committed_last; /* to be applied, in order */
	struct shard_job *jobs;                          /* to be run with the apply flag, newest first */
	bool applying;                                   /* the apply flag */
	struct cairn_error full; /* why the newest batch found no room; code 0: it did */
	uint64_t full_ns;        /* when */

	struct shard_write expire; /* the command that removes what is due, */
	_Atomic bool expiring;     /* which is under way */
	_Atomic uint64_t due_ns;   /* when the node's next tick comes at the latest, by the store's clock */

	struct shard_write unstage; /* the command that drops uploads that expired, */
	_Atomic bool unstaging;     /* which is under way */

	uint64_t upkeep_ns;       /* of the node's loop: when reclaim was begun last */
	_Atomic uint64_t give_up; /* the floor that history needs, or 0 */
	struct shard_write floor; /* the command that raises it */
	struct pool_task flush;   /* brings the overlay into the engine, */
	_Atomic bool flushing;    /* which is under way */
	_Atomic bool no_room;     /* and failed the last time, since the disk is full */
	_Atomic bool raising;     /* that is under way */

	bool upkeeps;            /* the engine has work of its own to do, which is one of its writers: */
	struct pool_task upkeep; /* over an overlay a task of its own does it, else whoever applies */
	_Atomic bool upkeeping;  /* that task is under way */
	_Atomic uint64_t upkeep_until_ns; /* no step begins after this time */
	_Atomic uint64_t upkeep_steps, upkeep_took_ns;
	bool upkeep_failed;   /* the last time; of whoever does it */
	_Atomic bool closing; /* nothing is begun any more that can be left */

	/* Of the holder of the apply flag. */
	struct pool_task task;
	bool upkeep_due; /* the engine may have work to do */
	bool reclaim;    /* history may have rows to remove */
	struct store_command commands[APPLY_MAX];
	shard_tap_fn *tap; /* of the holder of the apply flag, as its argument; NULL: there is none */
	void *tap_arg;

	_Atomic enum cairn_code stopped; /* code of REASON; 0 while the shard is healthy */
	struct cairn_error reason;       /* written once, before STOPPED is */
};

/* shard.c */
/* Give a use of S back; the last one closes it. */
void shard_let_go(struct shard *s);
/* One more use of S, for a flag or a task. */
void shard_use(struct shard *s);
/* Stop for good with *ERROR, the sentence of whoever noticed. The first reason stays. */
void shard_stop(struct shard *s, const struct cairn_error *error);
/* Note for shard_notice that the newest batch found no room (ERROR), or that it did (NULL). */
void shard_note_full(struct shard *s, const struct cairn_error *error);

/* shard_step.c */
/* W has its answer. It is not ours any more on return. */
void shard_complete(struct shard_write *w);
/* W did not happen. */
void shard_refuse(struct shard_write *w, const struct cairn_error *error);
/* Give up on BATCH, writes linked by next, whose fate nobody knows. */
void shard_fail_batch(struct shard_write *batch, const struct cairn_error *error);
/* Take the inbox to the end of the waiting list, oldest first. */
void shard_take_inbox(struct shard *s);
/* Whether W can be proposed; else it is answered. */
bool shard_may_propose(struct shard *s, struct shard_write *w);
/* The stamp of what is proposed at BOOT_NS. */
uint64_t shard_stamp(struct shard *s, uint64_t boot_ns);
/* In L's thread: step at the end of this turn. */
void shard_step_at_turn_end(struct shard *s, struct loop *l);
/* Step in this thread, unless another one does. L: the loop that this is, or NULL. */
void shard_try_step(struct shard *s, struct loop *l);
/* The module's effects, in its order, while it steps. */
void shard_effect(void *arg, const struct cairn_effect *e);

/* shard_apply.c */
/* With the apply flag: hand it to a worker, which applies what there is and gives it back. */
void shard_apply_in_worker(struct shard *s);
/* With the step flag: see that what was committed gets applied. */
void shard_start_apply(struct shard *s);

/* shard_flush.c */
/* Write the store into a file; then the journal needs not keep it. Where that fails the journal goes on. */
enum cairn_code shard_write_checkpoint(struct shard *s, struct cairn_error *error);
/* Bring what the overlay holds into the engine; then the journal needs not keep it. */
enum cairn_code shard_flush(struct shard *s);
/* The same where the overlay holds much, or for long. */
void shard_maybe_flush(struct shard *s);
/* The same where the shard keeps too much of the journal from being used again. */
void shard_bound_journal(struct shard *s);
/* Whether applying has to wait for a flush of the overlay. */
bool shard_holds_much(struct shard *s);
/* In a worker, before more is applied: wait while the overlay holds too much. */
void shard_hold_back(struct shard *s);

/* shard_upkeep.c */
/* With the apply flag, in a worker: one step of reclaim. Whether there is more to do. */
bool shard_reclaim(struct shard *s);
/* With the apply flag, in a worker: one step where there is no overlay. Whether there is more to do. */
bool shard_upkeep_applying(struct shard *s);

/* shard.c: whether the disk has less room than the node keeps, where the engine does not see to it. */
bool shard_lacks_room(const struct shard *s, struct cairn_error *error);

#endif
