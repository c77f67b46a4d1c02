/*
 * The way to a server: a local socket, or `ssh HOST cairn proxy` behind a pair of sockets. Everything is
 * close-on-exec and never waits. A server that cannot be reached leaves its reason in the server's row.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include "handle.h"
#include "banned.h"

extern char **environ;

static int open_unix(struct server *s, struct connection *t)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int err;

	t->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (t->fd < 0) {
		err = errno;
		snprintf(s->why, sizeof(s->why), "no socket: %s", strerrordesc_np(err));
		return -err;
	}
	memcpy(to.sun_path, s->where, strlen(s->where));
	if (connect(t->fd, (struct sockaddr *)&to, sizeof(to)) == 0)
		return 0;
	err = errno;
	close(t->fd);
	t->fd = -1;
	snprintf(s->why, sizeof(s->why), "%s",
		 err == EAGAIN ? "too many connections wait there" : strerrordesc_np(err));
	return -err;
}

static int spawn(struct connection *t, const char *host, int socket, int err)
{
	const char *program = secure_getenv("CAIRN_SSH");
	char *const argv[] = { (char *)(program && *program ? program : "ssh"), (char *)host, "cairn",
			       "proxy", NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t all, none;
	int r;

	sigfillset(&all);
	sigemptyset(&none);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, socket, 0);
	posix_spawn_file_actions_adddup2(&actions, socket, 1);
	posix_spawn_file_actions_adddup2(&actions, err, 2);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setsigdefault(&attributes, &all);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
	r = posix_spawnp(&t->pid, argv[0], &actions, &attributes, argv, environ);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	return -r;
}

static int open_ssh(struct server *s, struct connection *t)
{
	int pair[2], err[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	if (pipe2(err, O_CLOEXEC) < 0) {
		r = -errno;
		close(pair[0]);
		close(pair[1]);
		return r;
	}
	r = spawn(t, s->where, pair[1], err[1]);
	close(pair[1]);
	close(err[1]);
	if (r < 0) {
		snprintf(s->why, sizeof(s->why), "ssh cannot be started: %s", strerrordesc_np(-r));
		close(pair[0]);
		close(err[0]);
		t->pid = 0;
		return r;
	}
	fcntl(pair[0], F_SETFL, O_NONBLOCK);
	fcntl(err[0], F_SETFL, O_NONBLOCK);
	t->fd = pair[0];
	t->err = err[0];
	t->owner = getpid();
	return 0;
}

int transport_open(struct server *s, struct connection *t)
{
	int r;

	t->fd = t->err = -1;
	t->pid = 0;
	s->why[0] = 0;
	r = s->ssh ? open_ssh(s, t) : open_unix(s, t);
	s->err = -r;
	return r;
}

/* ssh ends when its input does; one that does not is killed. */
static void reap(pid_t pid)
{
	for (int i = 0; i < 20; i++) {
		pid_t r = waitpid(pid, NULL, WNOHANG);

		if (r == pid || (r < 0 && errno != EINTR))
			return;
		if (i == 0)
			kill(pid, SIGTERM);
		poll(NULL, 0, 5);
	}
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

void transport_close(struct connection *t)
{
	if (t->fd >= 0)
		close(t->fd);
	if (t->err >= 0)
		close(t->err);
	if (t->pid && t->owner == getpid())
		reap(t->pid);
	t->fd = t->err = -1;
	t->pid = 0;
}
