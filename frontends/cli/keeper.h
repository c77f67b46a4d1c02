/* The process that keeps a sandbox: see keeper.c. */
#ifndef KEEPER_H
#define KEEPER_H

#include <signal.h>
#include "cli.h"

struct sandbox {
	char folder[4096];  /* its own, made by the caller; the keeper removes it */
	const char *engine; /* of new volumes, or NULL */
	bool mount;
	char **command; /* ended by NULL */
	int alive;      /* a pipe that ends when whoever wanted the sandbox is gone */
	sigset_t mask;  /* of signals, for the command */
};

/*
 * Be the keeper, in a process of its own: start the node and the mount, run the command, and take everything
 * away when it ends or S->alive does. Returns the exit status: that of the command (128 and the signal where
 * one ended it), or that of C->error, which has been shown.
 */
int keeper_run(struct cli *c, const struct sandbox *s);
/* The keeper was killed, and node and command end by themselves for that: unmount, and remove the folder.
 * 0, or -errno of what cannot be removed. */
int keeper_after(const struct sandbox *s);

#endif
