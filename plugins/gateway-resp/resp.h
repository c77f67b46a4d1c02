/*
 * What the files of this gateway share: clients, commands, and how a command becomes operations.
 *
 * A command that is one or several operations has two halves: ask() writes the operations, tell() makes the
 * reply of their results. So the same two serve it alone, in a pipeline, and inside EXEC, where the
 * operations of all commands become one transaction. A command that has to look before it can ask, or that is
 * about the connection, has run().
 */
#ifndef RESP_H
#define RESP_H

#include <cairn/gateway.h>
#include "buffer.h"
#include "reader.h"
#include "reply.h"

#define VOLUMES_MAX 64

struct args {
	const struct cairn_slice *at; /* the first one is the command's name */
	size_t count;
};

/* The result of one operation. */
struct result {
	enum cairn_code code; /* CONFLICT: also where a condition of its own failed */
	struct cairn_slice fields;
	struct cairn_slice message; /* of an error */
};

/* Operations being written. */
struct ask {
	struct client *c;
	struct cairn_msg *m;
	unsigned op;     /* of the request: the only one, or TXN */
	bool nested;     /* they stand in a transaction */
	unsigned list;   /* as items of this field; 0: THEN */
	unsigned count;  /* of the operations */
	size_t mark;     /* of the open one */
	uint64_t tag;    /* for tell(); below 2^48 */
	bool look;       /* where ask() has returned false: run() has to do it */
	bool whole;      /* all operations or none, where the command stands alone */
	char error[200]; /* where ask() has returned false, and LOOK is not set */
};

enum {
	CMD_WRITE = 1 << 0, /* only writes: may follow writes that are under way */
	CMD_READ = 1 << 1,  /* only reads: may follow reads that are under way */
	CMD_ADMIN = 1 << 2,
	CMD_NO_MULTI = 1 << 3, /* not inside MULTI */
	CMD_NO_AUTH = 1 << 4,  /* also before AUTH */
	CMD_FAST = 1 << 5,
	CMD_DENYOOM = 1 << 6,
	CMD_PUBSUB = 1 << 7,    /* also while subscribed, in version 2 */
	CMD_NOW = 1 << 8,       /* done at once inside MULTI, not queued */
	CMD_EACH = 1 << 9,      /* alone, each key is a read of its own */
	CMD_READONLY = 1 << 10, /* reads, one at a time */
	CMD_CHANGES = 1 << 11,  /* writes, one at a time */
};

enum run { RUN_DONE, RUN_WAIT };

struct command {
	const char *name;
	int arity; /* words, its name included; negative: at least so many */
	unsigned flags;
	int first, last, step; /* which words are keys */
	const char *group, *since, *summary;
	/* False: A is wrong, as the error in Q says. */
	bool (*ask)(struct ask *q, const struct args *a);
	void (*tell)(struct client *c, uint64_t tag, const struct result *results, size_t count);
	/* Called anew, as long as it says WAIT, when its request has ended. */
	enum run (*run)(struct client *c, const struct args *a);
};

/* A command that MULTI has queued. */
struct queued {
	const struct command *command;
	struct args args;  /* owned, in one block */
	size_t operations; /* it has in the transaction */
	uint64_t tag;
	char *error; /* in place of operations; owned */
};

/* A key that WATCH has looked at. */
struct watched {
	struct watched *next;
	uint64_t revision; /* it had; 0: it was not there */
	unsigned db;
	size_t len;
	char key[];
};

#define CURSORS 4096 /* of SCAN, that are known */

/* Where a SCAN goes on. */
struct cursor {
	uint64_t id;
	unsigned db;
	size_t len;
	void *bytes; /* the daemon's; owned */
};

/* A value that is longer than one answer, being gathered; its reply comes before all that follow. */
struct big {
	struct buffer key, value;
	uint64_t size, revision;
	unsigned tries;
	struct cairn_request *request; /* the read that is under way */
};

struct gateway {
	const struct cairn_gateway_host *host;
	struct client *clients;
	uint64_t next_id;
	uint64_t started_ms, commands;
	char *volumes[VOLUMES_MAX]; /* of SELECT n; owned */
	bool is_main[VOLUMES_MAX];  /* the volume that requests mean who name none */
	unsigned volume_count;
	size_t request_max;
	unsigned short index[1024]; /* commands by the hash of their names; 0: none */
	struct cursor cursors[CURSORS];
	uint64_t next_cursor;
};

struct subscription;
struct tracking;

struct client {
	struct gateway *g;
	const struct cairn_gateway_host *host;
	struct cairn_connection *connection;
	struct client *next, **at; /* of the gateway's list */
	struct reader reader;
	uint64_t id;
	unsigned proto; /* 2 or 3 */
	unsigned db;
	bool ending;
	char name[64], lib_name[64], lib_version[32];
	uint64_t born_ms, last_ms;
	const struct command *last;
	const struct command *serving; /* was begun and is not done with its words */
	bool looking;                  /* by its run() */
	size_t subscriptions;
	struct subscription *subs;
	struct tracking *tracking;      /* NULL: off */
	struct cairn_request **watches; /* by the number of the volume; owned */
	unsigned watches_waiting;       /* that have not begun */
	/* Requests under way, oldest first; either all write or all read. */
	struct cairn_request *first, **tail;
	bool writing;
	/* Of a command that runs step by step: */
	unsigned phase;
	struct cairn_request *step; /* its request */
	bool stepped;               /* that has ended */
	uint64_t sum;               /* of a command that counts over several reads */
	size_t index;               /* where a command is among its arguments */
	struct buffer ends;         /* the first and the last key, for RANDOMKEY */
	struct buffer found;        /* replies of the keys that a step has found so far, */
	size_t found_count;         /* so many, */
	struct cairn_slice match;   /* which match this; empty: all */
	unsigned char upload[16];   /* the value of the command was sent ahead under this id, */
	bool uploaded;
	size_t staged; /* or so many bytes of it were */
	struct big big;
	/* Between MULTI and EXEC: */
	bool multi, multi_bad;
	struct queued *queue;
	size_t queue_count, queue_cap, queue_bytes;
	struct watched *watched;
};

extern const struct command commands[];
extern const size_t command_count;
const struct command *command_find(const struct gateway *g, struct cairn_slice name);
void commands_index(struct gateway *g);

/* resp.c */
void *client_out(struct client *c, size_t n);
void client_end(struct client *c);
uint64_t now_ms(void); /* since 1970 */
/* Name the client's volume in a request; the volume of SELECT n, or NULL. */
void add_volume(struct client *c, struct cairn_request *r);
const char *client_volume(const struct client *c);
/* Add C's replies of FIELDS, a value that may be longer than this answer of it; R asked for it, or NULL. */
void tell_value(struct client *c, struct cairn_slice fields);
/* One item of a transaction's results. */
struct result result_item(struct cairn_slice fields);
/* A serves now as if it had come from the client (inside EXEC); for commands that never wait. */
void serve_now(struct client *c, const struct command *command, const struct args *a);
/* multi.c */
/* Put A off until EXEC. */
void multi_queue(struct client *c, const struct command *command, const struct args *a);
void multi_end(struct client *c);
void watch_end(struct client *c);
/* notify.c: */
/* A watch of C has told something; whether R, which has ended, was one. */
void notify_event(struct client *c, struct cairn_request *r);
bool notify_done(struct client *c, const struct cairn_request *r);
/* No subscriptions and no tracking any more; and C goes. */
void notify_end(struct client *c);
void notify_free(struct client *c);
/* Where C has tracking: A reads keys; it is the next command; a write of C is this revision; what changed
 * while reads were under way, which have ended now, and whether there is any. */
void track_read(struct client *c, const struct command *command, const struct args *a);
void track_command(struct client *c, const struct command *command, const struct args *a);
void track_own(struct client *c, uint64_t revision);
void track_late(struct client *c);
bool track_is_late(const struct client *c);
void run_caching(struct client *c, struct cairn_slice word);
void tell_tracking(struct client *c);
#define STORE_KEY 4096 /* longest key of any volume */
/* large.c */
/* Send the word of COMMAND that is too long for one operation ahead. False: it has to wait. */
bool large_stage(struct client *c, const struct args *a);
/* A value has begun in an answer of R that does not hold all of it. */
void large_begin(struct client *c, const struct cairn_request *r);
/* The read of C->big has ended; returns whether all of it was told. */
bool large_done(struct client *c, struct cairn_request *r);
#define LARGE (192u << 10) /* longest word in an operation */

/* For ask(). */
/* There will be N operations. */
void ask_count(struct ask *q, size_t n);
void ask_begin(struct ask *q, unsigned op, struct cairn_slice key);
void ask_end(struct ask *q);
/* The value of the open operation. */
void ask_value(struct ask *q, struct cairn_slice value);
/* The operations stand in a transaction, though there may be only one. */
void ask_wrap(struct ask *q);
/* A condition of the open operation on KEY: that it exists or does not. */
void ask_if_exists(struct ask *q, struct cairn_slice key, bool exists);
__attribute__((format(printf, 2, 3))) bool ask_fail(struct ask *q, const char *format, ...);

/* For tell(): the reply to an error that the command has no other reply for. */
void tell_error(struct client *c, const struct result *r);

/* For run(): begin a step; NULL when there is no memory. step_start begins it, step_end lets it go. */
struct cairn_request *step_new(struct client *c, unsigned op);
enum run step_start(struct client *c);
void step_end(struct client *c);
/* The result of the step. */
struct result step_result(const struct client *c);

/* glob.c */
bool glob_match(struct cairn_slice pattern, struct cairn_slice text);
/* How many bytes of PATTERN stand for themselves before the first that does not. */
size_t glob_literal(struct cairn_slice pattern);

/* connection.c */
/* False: the error was told. */
bool set_name(struct client *c, struct cairn_slice name);

#define RESP_VERSION "7.0.15" /* of Redis, whose commands these are */

/* text.c */
bool word_is(struct cairn_slice word, const char *text); /* whatever the case */
bool to_integer(struct cairn_slice word, long long *n);

/* In the tag of one of the reads of a command whose keys are read each for itself; how many there are, from
 * bit 8. */
#define EACH_FIRST 1u
#define EACH_LAST 2u
#define EACH_ALL 4u /* in a transaction: all results come at once */

#define ERROR_SYNTAX "ERR syntax error"
#define ERROR_INTEGER "ERR value is not an integer or out of range"
#define ERROR_TYPE "WRONGTYPE Operation against a key holding the wrong kind of value"

#endif
