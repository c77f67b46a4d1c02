/*
 * Replication modules: they decide in which order, and whether, commands reach a shard's store. A module is
 * a pure step function over events; its whole effect on the world is the list of effects that it hands back.
 * It makes no system call, starts no thread, reads no clock, draws no randomness and allocates only through
 * the host's callbacks: time and randomness arrive in the events. The same .so runs in the daemon and in
 * simulators. This ABI is not frozen yet; the version moves with each change.
 *
 * The module never sees the bytes of a command: an entry is (index, term, size, reference), and the host owns
 * what the reference stands for.
 */
#ifndef CAIRN_REPLICATION_H
#define CAIRN_REPLICATION_H

#include <cairn/plugin.h>

#define CAIRN_REPLICATION_ABI 3

enum {
	CAIRN_REPLICATION_LINEARIZABLE = 1 << 0, /* reads may be linearizable */
	CAIRN_REPLICATION_TRANSACTIONS = 1 << 1, /* commands apply in one total order */
	CAIRN_REPLICATION_PEERS = 1 << 2,        /* talks to other nodes */
};

enum cairn_entry_kind {
	CAIRN_ENTRY_COMMAND, /* of a client; the host's bytes */
	CAIRN_ENTRY_NONE,    /* of the module: nothing to apply */
	CAIRN_ENTRY_MEMBERS, /* of the module: who belongs to the shard; its bytes are in BODY */
};

struct cairn_entry {
	uint64_t index, term;
	uint64_t reference; /* the host's name for the command */
	uint32_t size;      /* bytes of the command */
	uint32_t kind;      /* enum cairn_entry_kind */
	struct cairn_slice body;
};

/* What was durable when the instance was closed, or its node died. Lists are read during the step only. */
struct cairn_durable {
	uint64_t self;              /* this node */
	uint64_t term, vote;        /* the newest persist's */
	uint64_t index, index_term; /* everything up to here is in the engine, or in a snapshot */
	struct cairn_slice members; /* as of INDEX: bytes that the module made; empty: of a new shard */
	/* What the journal has behind INDEX, in order; COMMAND entries may be left out where the one before
	 * has the same term. Where the first one is not behind INDEX, the log begins behind that one: what is
	 * in the engine may still be sent. */
	const struct cairn_entry *log;
	size_t count;
	uint64_t last; /* index of the newest; INDEX where there is none */
};

enum cairn_event_kind {
	CAIRN_EVENT_START,   /* durable; random */
	CAIRN_EVENT_TIMER,   /* the time asked for by SET_TIMER has come */
	CAIRN_EVENT_MESSAGE, /* peer, body, entries: what that node sent, whole */
	CAIRN_EVENT_PROPOSE, /* reference, size: a client's command */
	CAIRN_EVENT_READ,    /* reference: clients want to read linearizably */
	CAIRN_EVENT_STORED,  /* token: the persist with this token is durable, and all before it */
	CAIRN_EVENT_APPLIED, /* index: the store has applied up to here */
	CAIRN_EVENT_MEMBERS, /* reference, body: change who belongs to the shard (bytes as in MEMBERS entries)
			      */
	CAIRN_EVENT_TRANSFER,  /* peer: let that node lead */
	CAIRN_EVENT_PEER_LOST, /* peer: what was sent and not answered may be lost */
	CAIRN_EVENT_COMPACTED, /* index, term: the log begins behind here from now on */
	CAIRN_EVENT_SENT, /* peer, index: the snapshot at index is there; index 0: it could not be sent */
	CAIRN_EVENT_INSTALLED, /* index, term, body: a snapshot has taken the place of store and log, durably;
				  body: the members as of it */
};

struct cairn_event {
	enum cairn_event_kind kind;
	uint32_t size;
	uint64_t now_us; /* the host's monotonic clock */
	uint64_t random; /* fresh random bits */
	uint64_t reference, index, term, token, peer;
	struct cairn_slice body;
	const struct cairn_entry *entries; /* MESSAGE: those that came with it */
	size_t count;
	const struct cairn_durable *durable;
};

enum cairn_effect_kind {
	CAIRN_EFFECT_APPEND,   /* entry takes its place in the log, which ends before it */
	CAIRN_EFFECT_TRUNCATE, /* the entries from index on leave the log; they were never committed */
	CAIRN_EFFECT_PERSIST,  /* the log as it is now, term and vote (peer) must become durable; answered by
				  STORED(token). After a crash a part of the entries may be there, in their
				  order; term and vote never later than any of them */
	CAIRN_EFFECT_SEND,  /* body to peer, with the entries index to last (where last is not 0), once token
			       is stored (0: at once). Entries that do not fit one frame follow in further ones
			     */
	CAIRN_EFFECT_APPLY, /* entries from index to last are committed: apply them in order */
	CAIRN_EFFECT_READ_OK,   /* the reads reference may be served once index is applied */
	CAIRN_EFFECT_REJECT,    /* the request reference ends with code; it did not happen */
	CAIRN_EFFECT_ACCEPT,    /* the change of members reference is entry index */
	CAIRN_EFFECT_ROLE,      /* role, term, or leader (peer; 0: not known) changed */
	CAIRN_EFFECT_SET_TIMER, /* a TIMER event at now_us, in place of the one asked for before */
	CAIRN_EFFECT_SNAPSHOT,  /* peer lacks what the log does not have any more: send it the store; answered
				   by  SENT */
	CAIRN_EFFECT_READ_NO, /* the reads reference may not be served now; it may be one that is not known */
};

enum cairn_role { CAIRN_ROLE_FOLLOWER, CAIRN_ROLE_LEARNER, CAIRN_ROLE_CANDIDATE, CAIRN_ROLE_LEADER };

struct cairn_effect {
	enum cairn_effect_kind kind;
	enum cairn_code code;     /* REJECT */
	enum cairn_role role;     /* ROLE */
	struct cairn_entry entry; /* APPEND; its body is valid during the call */
	uint64_t reference, index, last, term, token, peer, now_us;
	struct cairn_slice body; /* SEND: valid during the call */
};

/* What a module may ask of the host, beyond its effects. */
struct cairn_replication_host {
	void *arg;
	void *(*alloc)(void *arg, size_t size); /* NULL when there is no memory; zeroed */
	void (*free)(void *arg, void *p);
	void (*effect)(void *arg, const struct cairn_effect *effect); /* copied; order is kept */
};

struct cairn_replication {
	struct cairn_plugin_head head;
	const char *name; /* as in settings */
	const char *help; /* one line */
	uint64_t caps;    /* CAIRN_REPLICATION_… */
	const struct cairn_param *params;

	/* Make an instance. HOST stays valid until close. 0 or -errno. */
	int (*open)(const struct cairn_replication_host *host, const struct cairn_value *values,
		    void **instance, struct cairn_error *error);
	void (*close)(void *instance);
	/* Take COUNT events in order and emit their effects through the host before returning. 0 or -errno;
	 * then the shard stops. */
	int (*step)(void *instance, const struct cairn_event *events, size_t count);
};

/* The last line of a module. */
#define CAIRN_REPLICATION_REGISTER(module) \
	CAIRN_EXPORT const struct cairn_replication *cairn_replication_plugin(void); \
	const struct cairn_replication *cairn_replication_plugin(void) \
	{ \
		(module).head = (struct cairn_plugin_head){ sizeof(module), CAIRN_REPLICATION_ABI }; \
		return &(module); \
	}

#endif
