/*
 * sandbox: a command on a node that is there for it alone. A second process, the keeper, does the work and
 * takes everything away; this one waits for it, so that nothing is left when it has ended. SIGTERM and SIGHUP
 * are told to the keeper by closing a pipe, and so is our death by SIGKILL; keys typed at the terminal are
 * the command's business.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include "keeper.h"
#include "banned.h"

/* Wait for the KEEPER. The exit status. */
static int wait_keeper(struct cli *c, const struct sandbox *s, pid_t keeper, int alive)
{
	int status, signal_number = 0, got;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGQUIT);
	while (waitpid(keeper, &status, WNOHANG) == 0) {
		got = sigwaitinfo(&set, NULL);
		if ((got == SIGTERM || got == SIGHUP) && alive >= 0) {
			signal_number = got;
			close(alive);
			alive = -1;
		}
	}
	if (alive >= 0)
		close(alive);
	if (WIFEXITED(status))
		return signal_number ? 128 + signal_number : WEXITSTATUS(status);
	if (keeper_after(s) < 0)
		cairn_fail(&c->error, CAIRN_E_INTERNAL, "the sandbox's keeper was killed; %s is left",
			   s->folder);
	else
		cairn_fail(&c->error, CAIRN_E_INTERNAL,
			   "the sandbox's keeper was killed; what the command has started may go on");
	return exit_status(CAIRN_E_INTERNAL);
}

/* Fork the keeper and wait for it. */
static enum cairn_code keep(struct cli *c, struct sandbox *s)
{
	sigset_t set;
	int alive[2];
	pid_t keeper;

	if (pipe2(alive, O_CLOEXEC) < 0)
		return cairn_fail(&c->error, CAIRN_E_INTERNAL, "%s", strerror(errno));
	s->alive = alive[0];
	sigfillset(&set);
	sigdelset(&set, SIGTSTP);
	sigprocmask(SIG_SETMASK, &set, &s->mask);
	fflush(NULL);
	keeper = fork();
	if (keeper == 0) {
		close(alive[1]);
		_exit(keeper_run(c, s));
	}
	close(alive[0]);
	if (keeper < 0) {
		close(alive[1]);
		return cairn_fail(&c->error, CAIRN_E_INTERNAL, "no process: %s", strerror(errno));
	}
	c->status = wait_keeper(c, s, keeper, alive[1]);
	sigprocmask(SIG_SETMASK, &s->mask, NULL);
	return c->error.code;
}

static enum cairn_code make_folder(struct cli *c, struct sandbox *s)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(s->folder, sizeof(s->folder), "%.*s/cairn-sandbox.XXXXXX", 3000,
		 tmp && *tmp == '/' ? tmp : "/tmp");
	if (mkdtemp(s->folder))
		return CAIRN_OK;
	return cairn_fail(&c->error, cairn_error_from_errno(errno), "%s: %s", s->folder, strerror(errno));
}

VERB(sandbox)
{
	struct sandbox s = { .engine = argument(a, "engine"), .mount = argument(a, "mount") };
	char engine[PATH_MAX];
	uint64_t nodes = 1;
	enum cairn_code code;

	argument_number(a, "nodes", &nodes);
	if (nodes == 0)
		return cairn_fail(&c->error, CAIRN_E_INVALID, "a sandbox has at least one node");
	if (nodes > 1)
		return cairn_fail(&c->error, CAIRN_E_UNSUPPORTED,
				  "a sandbox has one node: this cairn makes no clusters");
	/* The daemon has another working folder than ours. */
	if (s.engine && strchr(s.engine, '/') && realpath(s.engine, engine))
		s.engine = engine;
	s.command = calloc(a->count + 1, sizeof(*s.command));
	if (!s.command)
		no_memory();
	for (size_t i = 0; i < a->count; i++)
		s.command[i] = a->operand[i].text;
	code = make_folder(c, &s);
	if (code == CAIRN_OK)
		code = keep(c, &s);
	free(s.command);
	return code;
}
