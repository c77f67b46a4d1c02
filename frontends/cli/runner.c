/*
 * The command of `cairn watch --exec`: run by the shell, one at a time, with what changed in its environment.
 * Changes of a key that come meanwhile are one run more, so a burst costs little. It has a process group of
 * its own, which ends with the watch: at a signal, at an error, and through the kernel when we are killed.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "watch.h"
#include "banned.h"

#define GRACE_MS 2000 /* for a command that is told to end */

static void ending_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGHUP);
	sigaddset(set, SIGQUIT);
}

enum cairn_code runner_begin(struct runner *r, struct cli *c, const char *command)
{
	sigset_t set;

	*r = (struct runner){ .c = c, .command = command, .signals = -1, .child = -1 };
	r->last = &r->first;
	if (!command)
		return CAIRN_OK;
	ending_signals(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
	r->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (r->signals < 0)
		return cairn_fail(&c->error, CAIRN_E_INTERNAL, "no descriptor for signals: %s",
				  strerror(errno));
	return CAIRN_OK;
}

static struct change *find(struct runner *r, struct cairn_slice key)
{
	struct change *x = r->first;

	while (x && !cairn_slice_eq(x->key, key))
		x = x->next;
	return x;
}

enum cairn_code runner_add(struct runner *r, struct cairn_slice fields, struct cairn_error *e)
{
	struct cairn_slice key = { 0 }, other = { 0 };
	struct change *x;
	char *text;

	cairn_field_find(fields, CAIRN_F_KEY, &key);
	cairn_field_find(fields, CAIRN_F_OTHER, &other);
	if ((key.len && memchr(key.data, 0, key.len)) || (other.len && memchr(other.data, 0, other.len)))
		return cairn_fail(e, CAIRN_E_INVALID,
				  "a key that holds a zero byte cannot be given to a command");
	x = find(r, key);
	if (!x) {
		x = calloc(1, sizeof(*x) + key.len + 1);
		if (!x)
			no_memory();
		text = (char *)(x + 1);
		if (key.len)
			memcpy(text, key.data, key.len);
		x->key = cairn_slice(text, key.len);
		*r->last = x;
		r->last = &x->next;
		r->count++;
	}
	text = realloc((char *)x->other.data, other.len + 1);
	if (!text)
		no_memory();
	if (other.len)
		memcpy(text, other.data, other.len);
	text[other.len] = 0;
	x->other = cairn_slice(text, other.len);
	x->revision = cairn_field_u64(fields, CAIRN_F_REVISION, 0);
	x->count++;
	field_text(fields, CAIRN_F_CHANGE, x->kind, sizeof(x->kind));
	if (!x->kind[0])
		snprintf(x->kind, sizeof(x->kind), "initial");
	return CAIRN_OK;
}

static void set_number(const char *name, uint64_t number)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)number);
	setenv(name, text, 1);
}

/* In the new process: be the command for X. */
static _Noreturn void become(const struct runner *r, const struct change *x, pid_t parent)
{
	int null = open("/dev/null", O_RDONLY);
	sigset_t set;

	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(1);
	dup2(null, STDIN_FILENO);
	ending_signals(&set);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	setenv("CAIRN_KEY", x->key.data, 1);
	setenv("CAIRN_KIND", x->kind, 1);
	setenv("CAIRN_OTHER", x->other.data, 1);
	set_number("CAIRN_REVISION", x->revision);
	set_number("CAIRN_COUNT", x->count);
	if (r->c->volume)
		setenv("CAIRN_VOLUME", r->c->volume, 1);
	if (r->c->servers)
		setenv("CAIRN_SERVER", r->c->servers, 1);
	execl("/bin/sh", "sh", "-c", r->command, (char *)NULL);
	fprintf(stderr, "cairn: /bin/sh: %s\n", strerror(errno));
	_exit(127);
}

static void forget(struct change *x)
{
	free((char *)x->other.data);
	free(x);
}

static void start(struct runner *r)
{
	struct change *x = r->first;
	pid_t parent = getpid();

	r->first = x->next;
	if (!r->first)
		r->last = &r->first;
	r->count--;
	fflush(stdout);
	r->pid = fork();
	if (r->pid == 0)
		become(r, x, parent);
	if (r->pid > 0) {
		setpgid(r->pid, r->pid);
		r->child = (int)syscall(SYS_pidfd_open, r->pid, 0);
	}
	if (r->pid < 0 || r->child < 0) {
		fprintf(stderr, "cairn: the command cannot be started: %s\n", strerror(errno));
		r->status = 1;
	}
	forget(x);
}

static void reap(struct runner *r)
{
	int status;

	if (r->child < 0 || waitpid(r->pid, &status, WNOHANG) != r->pid)
		return;
	close(r->child);
	r->child = -1;
	if (!r->status)
		r->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

void runner_step(struct runner *r)
{
	struct signalfd_siginfo info;

	if (r->signals >= 0 && read(r->signals, &info, sizeof(info)) == sizeof(info) && !r->signal)
		r->signal = (int)info.ssi_signo;
	reap(r);
	if (r->child < 0 && r->first && !runner_over(r))
		start(r);
}

void runner_end(struct runner *r)
{
	sigset_t set;

	if (r->child >= 0) {
		struct pollfd fd = { .fd = r->child, .events = POLLIN };

		kill(-r->pid, SIGTERM);
		if (poll(&fd, 1, GRACE_MS) == 0)
			kill(-r->pid, SIGKILL);
		waitpid(r->pid, NULL, 0);
		close(r->child);
		r->child = -1;
	}
	while (r->first) {
		struct change *x = r->first;

		r->first = x->next;
		forget(x);
	}
	if (r->signals < 0)
		return;
	close(r->signals);
	ending_signals(&set);
	if (r->signal) { /* as if it had come just now */
		fflush(stdout);
		signal(r->signal, SIG_DFL);
		raise(r->signal);
	}
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}
