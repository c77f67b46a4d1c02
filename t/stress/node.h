/* A cairnd that a stress program starts, kills and starts again, in a folder that it is given. */
#ifndef NODE_H
#define NODE_H

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/wait.h>
#include "tap.h"

#define NODE_ARGUMENTS 64

struct node {
	char data[256], socket[256], server[300]; /* server: "unix:SOCKET" */
	char *argv[NODE_ARGUMENTS];
	pid_t pid;
};

/* COMMAND: path of cairnd, then options of it, then NULL. It stays the caller's. */
static void node_make(struct node *n, const char *folder, char **command)
{
	char *own[] = { n->data, "--socket",           n->socket,    "--name",
			"n1",    "--exit-with-parent", "--ready-fd", "9" };
	size_t at = 0;

	*n = (struct node){ 0 };
	snprintf(n->data, sizeof(n->data), "%s/data", folder);
	snprintf(n->socket, sizeof(n->socket), "%s/socket", folder);
	snprintf(n->server, sizeof(n->server), "unix:%s", n->socket);
	n->argv[at++] = command[0];
	n->argv[at++] = "--data";
	for (size_t i = 0; i < sizeof(own) / sizeof(*own); i++)
		n->argv[at++] = own[i];
	for (command++; *command; command++) {
		if (at == NODE_ARGUMENTS - 1)
			bail("too many options");
		n->argv[at++] = *command;
	}
}

/* Returns when it is ready. */
static void node_start(struct node *n)
{
	int ready[2];
	char byte;

	if (pipe2(ready, O_CLOEXEC) < 0)
		bail("no pipe");
	n->pid = fork();
	if (n->pid == 0) {
		if (ready[1] == 9 ? fcntl(9, F_SETFD, 0) : dup2(ready[1], 9) < 0)
			_exit(127);
		execv(n->argv[0], n->argv);
		_exit(127);
	}
	close(ready[1]);
	if (n->pid < 0 || read(ready[0], &byte, 1) != 1)
		bail("cairnd did not become ready");
	close(ready[0]);
}

__attribute__((unused)) static void node_kill(struct node *n)
{
	kill(n->pid, SIGKILL);
	waitpid(n->pid, NULL, 0);
}

#endif
