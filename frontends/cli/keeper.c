/*
 * The keeper of a sandbox: the parent of all that runs in it. It starts the node and the mount, each in a
 * session of its own so that no key typed at the terminal reaches them, and then the command. Orphans below
 * it become its children, so at the end it can end every process that is left, unmount, and remove the
 * folder. It takes no signals. What it must know comes as the end of a child, or as the end of the pipe that
 * whoever wanted the sandbox holds open: so a sandbox whose `cairn` was killed is taken away like any other.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "files.h"
#include "keeper.h"
#include "banned.h"

#define GRACE_MS 2000  /* for a command that is told to end */
#define CLOSE_MS 10000 /* for a node */

struct keeper {
	struct cli *c;
	const struct sandbox *s;
	char server[4200], mount[4200], log[4200];
	int children; /* tells that a child has ended */
	pid_t node, command;
	int status; /* of the command, as from waitpid */
	bool gone;  /* nobody wants the sandbox any more */
	bool mounted;
};

static bool reap_one(struct keeper *k, int flags)
{
	int status;
	pid_t pid = waitpid(-1, &status, flags);

	if (pid > 0 && pid == k->command) {
		k->command = 0;
		k->status = status;
	}
	if (pid > 0 && pid == k->node)
		k->node = 0;
	return pid > 0;
}

/* Wait until a child ends, FD (or -1) can be read, nobody wants us any more, or MS (-1: no limit) are over.
 * Whether FD can be read. */
static bool wait_for(struct keeper *k, int fd, int ms)
{
	struct signalfd_siginfo info;
	struct pollfd fds[3] = {
		{ .fd = k->children, .events = POLLIN },
		{ .fd = k->gone ? -1 : k->s->alive, .events = POLLIN },
		{ .fd = fd, .events = POLLIN },
	};
	bool some = poll(fds, 3, ms) > 0;

	k->gone = k->gone || (some && fds[1].revents);
	(void)!read(k->children, &info, sizeof(info));
	while (reap_one(k, WNOHANG))
		;
	return some && fds[2].revents;
}

/* Wait until *PID has ended, at most MS. */
static void wait_end(struct keeper *k, const pid_t *pid, int ms)
{
	for (; *pid && ms > 0; ms -= 50)
		wait_for(k, -1, 50);
}

/* In a new process: be ARGV, whose output goes to the log, beyond the reach of the terminal and of what the
 * user has set for nodes of their own. */
static _Noreturn void become(const struct keeper *k, char *const argv[])
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int log = open(k->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	setsid();
	dup2(null, 0);
	dup2(log, 1);
	dup2(log, 2);
	setenv("XDG_CONFIG_HOME", k->s->folder, 1);
	unsetenv("CAIRN_LOG");
	unsetenv("NOTIFY_SOCKET");
	sigprocmask(SIG_SETMASK, &k->s->mask, NULL);
	execvp(argv[0], argv);
	dprintf(2, "%s cannot be run: %s\n", argv[0], strerror(errno));
	_exit(127);
}

/* The sentence with which a program ended, from the log, as the error. */
static enum cairn_code ended_badly(struct keeper *k, const char *program, const char *what)
{
	struct cairn_error *e = &k->c->error;
	char *text = NULL, *line, *rest;
	size_t len, n = strlen(program);

	cairn_fail(e, CAIRN_E_UNAVAILABLE, "the sandbox's %s did not start", what);
	if (file_read(AT_FDCWD, k->log, 1 << 20, &text, &len) < 0)
		return e->code;
	rest = text;
	while ((line = strsep(&rest, "\n")))
		if (strncmp(line, "hint: ", 6) == 0)
			cairn_hint(e, "%s", line + 6);
		else if (strncmp(line, "level=", 6) != 0 && *line)
			cairn_fail(e, CAIRN_E_UNAVAILABLE, "the sandbox's %s did not start: %s", what,
				   !strncmp(line, program, n) && line[n] == ':' ? line + n + 2 : line);
	free(text);
	return e->code;
}

static enum cairn_code start_node(struct keeper *k)
{
	char program[4200], data[4200], socket[4200], engine[4200], fd[16], text[8];
	char *argv[14] = { program,      "--data", data, "--socket",
			   socket,       "--name", "n1", "--exit-with-parent",
			   "--ready-fd", fd };
	int ready[2];
	bool is_ready = false;

	if (pipe2(ready, O_CLOEXEC) < 0)
		return cairn_fail(&k->c->error, CAIRN_E_INTERNAL, "%s", strerror(errno));
	program_path("cairnd", program, sizeof(program));
	snprintf(data, sizeof(data), "%s/data", k->s->folder);
	snprintf(socket, sizeof(socket), "%s/socket", k->s->folder);
	snprintf(fd, sizeof(fd), "%d", ready[1]);
	if (k->s->engine) {
		snprintf(engine, sizeof(engine), "%s", k->s->engine);
		argv[10] = "--engine";
		argv[11] = engine;
	}
	k->node = fork();
	if (k->node == 0) {
		fcntl(ready[1], F_SETFD, 0);
		become(k, argv);
	}
	close(ready[1]);
	while (k->node > 0 && !is_ready && !k->gone)
		is_ready = wait_for(k, ready[0], -1) && read(ready[0], text, sizeof(text)) > 0;
	close(ready[0]);
	return is_ready || k->gone ? CAIRN_OK : ended_badly(k, "cairnd", "node");
}

/* Run ARGV to its end. Its exit status. */
static int run(struct keeper *k, char *const argv[])
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		become(k, argv);
	while (pid > 0 && waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static enum cairn_code start_mount(struct keeper *k)
{
	char program[4200];
	char *const argv[] = { program, k->server, k->mount, NULL };

	program_path("cairnfs", program, sizeof(program));
	if (mkdir(k->mount, 0700) < 0)
		return cairn_fail(&k->c->error, cairn_error_from_errno(errno), "%s: %s", k->mount,
				  strerror(errno));
	k->mounted = run(k, argv) == 0;
	return k->mounted ? CAIRN_OK : ended_badly(k, "cairnfs", "mount");
}

/* The folder of our programs comes first where it is not on the PATH: the command may call `cairn`. */
static void set_path(void)
{
	const char *path = getenv("PATH");
	char self[4096], *slash, *longer;
	size_t n;

	program_path("cairn", self, sizeof(self));
	slash = strrchr(self, '/');
	if (!slash)
		return;
	*slash = 0;
	n = strlen(self);
	for (const char *p = path ? path : ""; *p; p += strcspn(p, ":"), p += *p == ':')
		if (strcspn(p, ":") == n && strncmp(p, self, n) == 0)
			return;
	if (asprintf(&longer, "%s%s%s", self, path ? ":" : "", path ? path : "") < 0)
		return;
	setenv("PATH", longer, 1);
	free(longer);
}

static void start_command(struct keeper *k)
{
	char **argv = k->s->command;

	k->command = fork();
	if (k->command != 0)
		return;
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	setenv("CAIRN_SERVER", k->server, 1);
	unsetenv("CAIRN_VOLUME");
	unsetenv("CAIRN_FENCE");
	unsetenv("CAIRN_MOUNT");
	if (k->mounted)
		setenv("CAIRN_MOUNT", k->mount, 1);
	set_path();
	sigprocmask(SIG_SETMASK, &k->s->mask, NULL);
	execvp(argv[0], argv);
	cairn_fail(&k->c->error, errno == ENOENT ? CAIRN_E_NOT_FOUND : CAIRN_E_INVALID, "%s: %s", argv[0],
		   strerror(errno));
	error_show(k->c, &k->c->error);
	_exit(errno == ENOENT ? 127 : 126);
}

/* Kill what is left below us, and what becomes ours by that, until nothing is. */
static void end_children(struct keeper *k)
{
	char path[64];
	long pid;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%ld/children", (long)getpid());
	do {
		f = fopen(path, "re");
		while (f && fscanf(f, "%ld", &pid) == 1)
			kill((pid_t)pid, SIGKILL);
		if (f)
			fclose(f);
	} while (f && reap_one(k, 0));
}

/* Everything goes, in the reverse order. */
static void take_away(struct keeper *k)
{
	char *const calm[] = { "fusermount3", "-u", k->mount, NULL };
	char *const hard[] = { "fusermount3", "-uz", k->mount, NULL };
	int r;

	if (k->command > 0)
		kill(k->command, SIGTERM);
	wait_end(k, &k->command, GRACE_MS);
	if (k->mounted && run(k, calm) != 0)
		run(k, hard);
	if (k->node > 0)
		kill(k->node, SIGTERM);
	wait_end(k, &k->node, CLOSE_MS);
	end_children(k);
	r = folder_remove(AT_FDCWD, k->s->folder);
	if (r < 0)
		fprintf(stderr, "cairn: %s is left: %s\n", k->s->folder, strerror(-r));
}

int keeper_after(const struct sandbox *s)
{
	struct keeper k = { .s = s };
	char *const hard[] = { "fusermount3", "-uz", k.mount, NULL };
	int r;

	snprintf(k.mount, sizeof(k.mount), "%s/mnt", s->folder);
	snprintf(k.log, sizeof(k.log), "%s/log", s->folder);
	if (s->mount)
		run(&k, hard);
	for (int ms = 0; (r = folder_remove(AT_FDCWD, s->folder)) < 0 && ms < CLOSE_MS; ms += 50)
		poll(NULL, 0, 50); /* the node makes files until it has ended */
	return r;
}

/* Whether a key at the terminal asked us to end while the node was starting. */
static bool interrupted(void)
{
	sigset_t pending;

	return sigpending(&pending) == 0 && (sigismember(&pending, SIGINT) || sigismember(&pending, SIGQUIT));
}

int keeper_run(struct cli *c, const struct sandbox *s)
{
	struct keeper k = { .c = c, .s = s };
	enum cairn_code code;
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	sigemptyset(&all);
	sigaddset(&all, SIGCHLD);
	k.children = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
	snprintf(k.server, sizeof(k.server), "unix:%s/socket", s->folder);
	snprintf(k.mount, sizeof(k.mount), "%s/mnt", s->folder);
	snprintf(k.log, sizeof(k.log), "%s/log", s->folder);
	code = start_node(&k);
	if (!code && s->mount && !k.gone)
		code = start_mount(&k);
	if (!code && !k.gone && !interrupted()) {
		start_command(&k);
		while (k.command > 0 && !k.gone)
			wait_for(&k, -1, -1);
	} else {
		k.status = SIGINT;
	}
	take_away(&k);
	if (code) {
		error_show(c, &c->error);
		return exit_status(code);
	}
	return WIFEXITED(k.status) ? WEXITSTATUS(k.status) : 128 + WTERMSIG(k.status);
}
