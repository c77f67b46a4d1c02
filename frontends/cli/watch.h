/* Watches, and the command that is run for what they see. */
#ifndef WATCH_H
#define WATCH_H

#include <sys/types.h>
#include "cli.h"

/* What stands behind an event's key. */
struct change {
	struct change *next;
	struct cairn_slice key, other; /* of the one that owns it */
	char kind[24];
	uint64_t revision, count; /* newest one, and how many changes it stands for */
};

/* A command that is run for each change, one at a time. */
struct runner {
	const struct cli *c;
	const char *command;
	int signals;                  /* descriptor of those that end the watch; -1: there is no command */
	int child;                    /* that of the running command; -1: none */
	pid_t pid;                    /* its process and group */
	int status;                   /* as an exit status, of the first command that failed; 0: none */
	int signal;                   /* that ended the watch; 0: none */
	struct change *first, **last; /* to be run for, oldest first */
	size_t count;
};

#define RUNNER_MAX 1024 /* keys that wait for the command; beyond that no events are taken */

/* COMMAND may be NULL: then nothing is run. Signals that would end us are held back while there is one. */
enum cairn_code runner_begin(struct runner *r, struct cli *c, const char *command);
/* The change that FIELDS tell of: once for each key that waits, the newest counts. INVALID for a key that no
 * environment can hold. */
enum cairn_code runner_add(struct runner *r, struct cairn_slice fields, struct cairn_error *e);
/* Take note of commands that ended and of signals, and start the next command. */
void runner_step(struct runner *r);
/* Whether it has work, and whether it is to end. */
static inline bool runner_busy(const struct runner *r)
{
	return r->child >= 0 || r->first;
}
static inline bool runner_over(const struct runner *r)
{
	return r->status || r->signal;
}
/* End what is running, and everything below it. Ends us, too, where a signal says so. */
void runner_end(struct runner *r);

#endif
