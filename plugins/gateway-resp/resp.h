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
	unsigned count;  /* of the operations */
	size_t mark;     /* of the open one */
	uint64_t tag;    /* for tell(); below 2^48 */
	char error[200]; /* where ask() has returned false */
};

/* X(FLAG, name as in COMMAND) */
enum {
	CMD_WRITE = 1 << 0, /* only writes: may follow writes that are under way */
	CMD_READ = 1 << 1,  /* only reads: may follow reads that are under way */
	CMD_ADMIN = 1 << 2,
	CMD_NO_MULTI = 1 << 3, /* not inside MULTI */
	CMD_NO_AUTH = 1 << 4,  /* also before AUTH */
	CMD_FAST = 1 << 5,
	CMD_DENYOOM = 1 << 6,
	CMD_PUBSUB = 1 << 7, /* also while subscribed, in version 2 */
	CMD_NOW = 1 << 8,    /* done at once inside MULTI, not queued */
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

struct gateway {
	const struct cairn_gateway_host *host;
	struct client *clients;
	uint64_t next_id;
	uint64_t started_ms, commands;
	char *volumes[VOLUMES_MAX]; /* of SELECT n; owned */
	unsigned volume_count;
	size_t request_max;
	unsigned short index[1024]; /* commands by the hash of their names; 0: none */
};

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
	/* Requests under way, oldest first; either all write or all read. */
	struct cairn_request *first, **tail;
	bool writing;
	/* Of a command that runs step by step: */
	unsigned phase;
	struct cairn_request *step; /* its request */
	bool stepped;               /* that has ended */
	uint64_t sum;               /* of a command that counts over several reads */
	size_t index;               /* where a command is among its arguments */
};

extern const struct command commands[];
extern const size_t command_count;
const struct command *command_find(const struct gateway *g, struct cairn_slice name);
void commands_index(struct gateway *g);

/* resp.c */
void *client_out(struct client *c, size_t n);
void client_end(struct client *c);
uint64_t now_ms(void);

/* For ask(). */
/* There will be N operations. */
void ask_count(struct ask *q, size_t n);
void ask_begin(struct ask *q, unsigned op, struct cairn_slice key);
void ask_end(struct ask *q);
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

/* connection.c */
/* False: the error was told. */
bool set_name(struct client *c, struct cairn_slice name);

#define RESP_VERSION "7.0.15" /* of Redis, whose commands these are */

/* text.c */
bool word_is(struct cairn_slice word, const char *text); /* whatever the case */
bool to_integer(struct cairn_slice word, long long *n);

#define ERROR_SYNTAX "ERR syntax error"
#define ERROR_INTEGER "ERR value is not an integer or out of range"
#define ERROR_TYPE "WRONGTYPE Operation against a key holding the wrong kind of value"

#endif
