/*
 * A shard: one replicated state machine of a volume on this node: engine, store, replication instance, and an
 * inbox that many threads post to. It has no thread of its own: whoever posts tries to take the step flag,
 * drains the inbox, steps the module once with the joined batch, applies what it commits as one engine batch
 * with one sync, completes the requests, and gives the flag back. So one client is served start to end by
 * its own thread, and many clients combine.
 */
#ifndef SHARD_H
#define SHARD_H

#include "node.h"
#include "store.h"

struct shard;

/* One write on its way. The caller owns it, from shard_write until done() is called. */
struct shard_write {
	struct shard_write *next; /* the shard's, while it has it */
	struct cairn_msg command; /* in: a log command without its TIME; the caller frees it after done() */
	struct cairn_msg answer;  /* out: fields of the result; the caller frees it */
	struct cairn_error error; /* out: code 0 when it worked */
	struct loop *loop;        /* done() runs in this loop's thread */
	struct loop_task task;    /* the shard's */
	uint64_t deadline_ns;     /* loop time; passed before it was proposed: TIMEOUT. 0: none */
	struct cairn_position place; /* the shard's: index and term in the log */
	/* The shard's, where it has peers: */
	uint64_t since_ns, reference; /* when it came; its name on the way to the leader */
	bool proposed;                /* somewhere, once */
	bool refused;                 /* it was not, and this is why it ended */
	bool guest; /* another node's, which finds the leader itself; set by whoever hands it in */
	bool mute;  /* nobody hears the answer */
	void (*done)(struct shard_write *w); /* exactly once; may run before shard_write returns */
};

/*
 * Hand in a write whose arguments passed store_check, in the thread of W->loop. It is proposed at the end of
 * this turn, together with everything else that came in. The caller holds the volume until done().
 */
void shard_write(struct shard *s, struct shard_write *w);

/* One linearizable read that waits until it may be served. Embedded in what it is about. */
struct shard_read {
	struct shard_read *next;  /* the shard's */
	struct loop *loop;        /* done() runs in its thread */
	struct loop_task task;    /* the shard's */
	uint64_t deadline_ns;     /* loop time; 0: none */
	uint64_t since_ns;        /* the shard's */
	struct cairn_error error; /* out: code 0 when it may be served now */
	void (*done)(struct shard_read *q);
};
/*
 * Whether a read that begins now may be served at once, as it may where one node decides alone. Else Q is the
 * shard's until its done() is called, exactly once. In the thread of Q->loop; the caller holds the volume.
 */
bool shard_read_begin(struct shard *s, struct shard_read *q);
/* Whether reads of S ask other nodes. */
bool shard_asks(const struct shard *s);

/* What a shard's replication says of itself. */
struct shard_role {
	bool alone;    /* no other node decides anything */
	unsigned role; /* enum cairn_role */
	uint64_t term, leader;
	uint64_t age_ns; /* since the leader was heard last; 0: it is this node */
};
void shard_role(struct shard *s, struct shard_role *role);

/*
 * Once a second or earlier, in the node's loop, while the caller holds the volume: keys that are due go, the
 * overlay is flushed where it is old, uploads that nobody renewed are dropped, the engine gets time for its
 * own upkeep in a worker, history that is not visible any more is removed by one, and where it takes too much
 * room its oldest part is given up. Returns when it wants to be called again, in ns.
 */
uint64_t shard_tick(struct shard *s);

/* The time, by the clock that commands are stamped with, ns. From any thread. */
uint64_t shard_now(struct shard *s);

/* Work that needs the engine for itself; embedded in what it is about. */
struct shard_job {
	struct shard_job *next;                              /* the shard's */
	void (*run)(struct shard_job *job, struct shard *s); /* JOB is not the shard's any more */
};
/*
 * From any thread: have a worker run JOB once while nothing is applied; writes wait meanwhile, reads go on.
 * The caller holds the volume until then.
 */
void shard_exclusive(struct shard *s, struct shard_job *job);
/*
 * From within such a job: give the commands of each batch that is in from now on to FN, in the thread that
 * applies and before they are answered. NULL ends it.
 */
typedef void shard_tap_fn(void *arg, const struct store_command *commands, size_t count);
void shard_tap(struct shard *s, shard_tap_fn *fn, void *arg);
/* From within such a job: another shard has taken the place of S. What was not applied by now did not happen,
 * for the reason WHY; S is closed by its owner. */
void shard_retire(struct shard *s, const struct cairn_error *why);

/* The store for reads; valid while the caller holds its volume. */
struct store *shard_store(struct shard *s);
/* The engine below it, for facts about it. */
struct engine *shard_engine(struct shard *s);

/*
 * Whether a linearizable read may be served from the store now; else the reason why the shard stopped. With
 * replication-none that is always so while the shard is healthy, and also while its disk is full: what is not
 * written is not read.
 */
enum cairn_code shard_may_read(struct shard *s, struct cairn_error *error);
/* Whether the shard serves; else the reason for which it stopped. */
enum cairn_code shard_health(struct shard *s, struct cairn_error *error);
/* The same for people, who also want to know that writes were refused in the last minute because the disk is
 * full. */
enum cairn_code shard_notice(struct shard *s, struct cairn_error *error);

/*
 * A number (not 0, below 2^48) that names the past of the shard: revisions of equal incarnations are of one
 * history. It is another one when the volume is emptied or made anew, and for an engine that keeps nothing at
 * each start.
 */
uint64_t shard_incarnation(const struct shard *s);

/* How often the engine was given time for upkeep of its own, and how long it took. False where it has none.
 */
bool shard_upkeep(const struct shard *s, uint64_t *steps, uint64_t *took_ns);

/* What an answered write is worth: "synced" (on disk), "unsynced" (the engine has it), "memory". Static. */
const char *shard_promise(const struct shard *s);

/* What the journal keeps of a shard, and what its overlay holds. Whether it stands on the journal at all. */
struct journal_extent;
struct overlay_facts;
bool shard_journal(struct shard *s, struct journal_extent *extent, struct overlay_facts *overlay);

/* Bytes of the journal's files that S keeps from being used again. */
uint64_t shard_held(struct shard *s);
/* Whether a restart finds what S was given. */
bool shard_is_kept(const struct shard *s);
/* Checkpoints that S has written since it was opened, and the time that they took. */
uint64_t shard_checkpoints(const struct shard *s, uint64_t *ns);

/* The number in the journal of the shard in FOLDER (its last part counts). */
uint64_t shard_id(const char *folder);

/* What a shard is made of. All memory stays the caller's, and is not needed after shard_open. */
struct shard_options {
	const char *name;              /* of its volume, for sentences and the log */
	const char *folder;            /* absolute, exists */
	const char *engine;            /* name or path of the plugin */
	const char *replication;       /* name of the module */
	const char *const *parameters; /* "key=value" of the engine */
	size_t parameter_count;
	bool sync;                      /* a write is answered when it is on disk: */
	bool through;                   /* in a durable engine, not in the node's journal */
	bool durable;                   /* also where the engine forgets: by the journal and checkpoints */
	struct store_settings settings; /* of a new store; key_max is lowered to what the engine has */
	/* Called once if the shard stops, in the thread that noticed; shard_health says why. May be NULL. */
	void (*stopped)(void *arg);
	void *arg;
	shard_tap_fn *tap; /* see shard_tap; or NULL */
	void *tap_arg;
	struct cairn_slice members; /* of a new shard with peers, as a MEMBERS entry has them */
	bool must_be_durable;       /* UNSUPPORTED on an engine that is not */
	struct engine *ready; /* open and filled already, and the shard's from now on whatever is returned; or
				 NULL */
};

/* Load the plugins, open engine and store, start the module. Waits for disks. Errors name the volume. */
enum cairn_code shard_open(struct shard **s, struct node *n, const struct shard_options *o,
			   struct cairn_error *error);
/*
 * Let go of S: no write is under way and nobody will hand in another. Engine and store are closed when the
 * last thread that works on it has finished; then CLOSED (may be NULL) is called, in that thread.
 */
void shard_close(struct shard *s, void (*closed)(void *arg), void *arg);

#endif
