/*
 * Each node has an address of its own in 127/8, so that no port has to be looked for, and ends with this
 * program.
 */
#include "nodes.h"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "banned.h"

#define ARGUMENTS 48

void nodes_make(struct nodes *n, struct load *l, unsigned count, const char *folder, char **command)
{
	unsigned net = (unsigned)getpid();
	size_t at = 0;

	*n = (struct nodes){ .count = count, .folder = folder, .command = command };
	l->nodes = count;
	for (unsigned i = 0; i < count; i++) {
		char path[256];

		at += (size_t)snprintf(n->peers + at, sizeof(n->peers) - at, "%sn%u=127.%u.%u.%u:7400",
				       at ? " " : "", i + 1, net / 256 % 254 + 1, net % 256, i + 1);
		snprintf(path, sizeof(path), "%s/n%u", folder, i + 1);
		mkdir(path, 0700);
		snprintf(l->servers[i], sizeof(l->servers[i]), "unix:%s/n%u/socket", folder, i + 1);
	}
}

static void run(struct nodes *n, unsigned i, int ready)
{
	char data[256], socket[256], log[256], name[8], peers[600];
	char *argv[ARGUMENTS] = { n->command[0], "--data", data, "--socket", socket,
				  "--name",      name,     "-o", peers,      "--exit-with-parent",
				  "--ready-fd",  "9" };
	size_t at = 12;
	int fd;

	snprintf(data, sizeof(data), "%s/n%u/data", n->folder, i + 1);
	snprintf(socket, sizeof(socket), "%s/n%u/socket", n->folder, i + 1);
	snprintf(log, sizeof(log), "%s/n%u/log", n->folder, i + 1);
	snprintf(name, sizeof(name), "n%u", i + 1);
	snprintf(peers, sizeof(peers), "cluster.peers=%s", n->peers);
	for (char **more = n->command + 1; *more && at < ARGUMENTS - 1; more++)
		argv[at++] = *more;
	fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
		_exit(127);
	if (ready == 9 ? fcntl(9, F_SETFD, 0) : dup2(ready, 9) < 0)
		_exit(127);
	execv(argv[0], argv);
	_exit(127);
}

bool nodes_start(struct nodes *n, unsigned i, bool wait)
{
	int ready[2];
	struct pollfd p;
	char byte;
	bool good = true;

	if (n->pids[i])
		return true;
	if (pipe2(ready, O_CLOEXEC) < 0)
		exit(99);
	n->paused[i] = false;
	n->pids[i] = fork();
	if (n->pids[i] < 0)
		exit(99);
	if (!n->pids[i])
		run(n, i, ready[1]);
	close(ready[1]);
	p = (struct pollfd){ .fd = ready[0], .events = POLLIN };
	if (wait)
		good = poll(&p, 1, 30000) == 1 && read(ready[0], &byte, 1) == 1;
	close(ready[0]);
	return good;
}

void nodes_end(struct nodes *n, unsigned i, int signal)
{
	int status = 0;

	if (!n->pids[i])
		return;
	if (waitpid(n->pids[i], &status, WNOHANG) == n->pids[i]) {
		printf("# n%u died by itself: %s %d\n", i + 1, WIFSIGNALED(status) ? "signal" : "status",
		       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
		n->died++;
		n->pids[i] = 0;
		return;
	}
	if (signal != SIGKILL)
		nodes_resume(n, i);
	kill(n->pids[i], signal);
	for (int k = 0; waitpid(n->pids[i], &status, WNOHANG) == 0; k++) {
		usleep(10000);
		if (k == 3000) {
			printf("# n%u did not end within 30 s of signal %d\n", i + 1, signal);
			n->died++;
			kill(n->pids[i], SIGKILL);
		}
	}
	if (signal == SIGTERM && !(WIFEXITED(status) && WEXITSTATUS(status) == 0)) {
		printf("# n%u ended badly when it was asked to: %s %d\n", i + 1,
		       WIFSIGNALED(status) ? "signal" : "status",
		       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
		n->died++;
	}
	n->pids[i] = 0;
}

void nodes_pause(struct nodes *n, unsigned i)
{
	if (n->pids[i]) {
		kill(n->pids[i], SIGSTOP);
		n->paused[i] = true;
	}
}

void nodes_resume(struct nodes *n, unsigned i)
{
	if (n->pids[i] && n->paused[i])
		kill(n->pids[i], SIGCONT);
	n->paused[i] = false;
}

static unsigned find_leader(struct cairn_slice fields, unsigned count)
{
	struct cairn_slice row, v;
	unsigned field;

	while (!cairn_field_next(&fields, &field, &row) && field) {
		if (field != CAIRN_F_NODE || !cairn_field_find(row, CAIRN_F_ROLE, &v) ||
		    cairn_slice_cmp(v, cairn_str("leader")))
			continue;
		for (unsigned i = 0; i < count; i++) {
			char name[16];

			snprintf(name, sizeof(name), "n%u", i + 1);
			if (cairn_field_find(row, CAIRN_F_NAME, &v) && !cairn_slice_cmp(v, cairn_str(name)))
				return i;
		}
	}
	return count;
}

unsigned nodes_leader(struct nodes *n, struct load *l)
{
	unsigned leader = n->count;

	for (unsigned i = 0; i < n->count && leader == n->count; i++) {
		struct cairn_reply r = { 0 };
		struct cairn_msg m = { 0 };
		struct cairn *c;

		if (!n->pids[i] || n->paused[i])
			continue;
		c = load_handle(l, i, true, 300);
		cairn_msg_start(&m, CAIRN_OP_STATUS);
		if (!cairn_call(c, &m, &r))
			leader = find_leader(r.fields, n->count);
		cairn_msg_free(&m);
		cairn_reply_free(&r);
		cairn_close(c);
	}
	return leader;
}
