/* The nodes of a cluster that this program starts, kills and stops. One thread. */
#ifndef NODES_H
#define NODES_H

#include <sys/types.h>
#include "clients.h"

struct nodes {
	unsigned count;
	const char *folder;
	char **command; /* path of cairnd, options of it, NULL */
	char peers[512];
	pid_t pids[NODES_MAX]; /* 0: not running */
	bool paused[NODES_MAX];
	unsigned died; /* that nobody killed; told on standard output */
};

/* L's servers are filled. */
void nodes_make(struct nodes *n, struct load *l, unsigned count, const char *folder, char **command);
/* Returns when it runs; with READY when it says that it is ready, or false after 30 s. */
bool nodes_start(struct nodes *n, unsigned i, bool ready);
/* SIGKILL, or SIGTERM, and wait for its end. Does nothing where it does not run. */
void nodes_end(struct nodes *n, unsigned i, int signal);
void nodes_pause(struct nodes *n, unsigned i);
void nodes_resume(struct nodes *n, unsigned i);
/* Who leads, as a node that answers says; COUNT where nobody knows. */
unsigned nodes_leader(struct nodes *n, struct load *l);

#endif
