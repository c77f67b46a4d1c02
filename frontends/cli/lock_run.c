/*
 * A command under a lock. It runs in a process group of its own, which has the terminal where we had it. One
 * loop waits for its end, for signals, and for the answers to refreshes, which are sent when a third of the
 * lock's time is over. Whether the lock is still ours is judged by this machine's clock, which goes on while
 * it sleeps: when no refresh that was sent early enough has been answered, the lock is lost, whatever the
 * server thinks. So is it when the server says so.
 *
 * A lock that is lost, or a signal, ends the group: SIGTERM (or that signal), then after a while SIGKILL.
 * After a signal the lock stays ours until the group is gone, and is freed then.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include "clock.h"
#include "fence.h"
#include "lock.h"
#include "banned.h"

#define MS 1000000ull
#define NEVER UINT64_MAX
#define GRACE_NS (5000 * MS)   /* between SIGTERM and SIGKILL */
#define GONE_POLL_NS (20 * MS) /* how often we look whether the rest of the group is gone */

struct run {
	struct lock *l;
	const char *command; /* its first word */
	pid_t pid;           /* of the command, and of its group */
	int signals;         /* signalfd */
	sigset_t mask;       /* signals as they were */
	bool terminal;       /* standard input and output are a terminal whose foreground is ours to give */
	bool ended;          /* the command is; STATUS is how, and the group may live on */
	bool interrupted;    /* by SIGINT */
	bool reaped;         /* it was waited for */
	bool refreshing;     /* a refresh is under way, sent at SENT_NS */
	bool lost, gone;     /* the lock is lost; nothing is left to wait for */
	int status;
	uint64_t sent_ns, refresh_ns, kill_ns; /* when a refresh is due; when the group gets SIGKILL */
	struct cairn_error why;                /* of the last refresh that failed */
};

/* In the child: become the command. ERRORS gets errno where that fails. */
_Noreturn static void become(const struct run *r, char **command, int errors, pid_t parent)
{
	const char *volume = r->l->c->volume ? r->l->c->volume : "main";
	char *fence = fence_text(getenv("CAIRN_FENCE"), volume, r->l->key, r->l->fence);
	int e = ENOMEM;

	setpgid(0, 0);
	if (r->terminal)
		tcsetpgrp(STDIN_FILENO, getpid());
	/* Should we be killed, nobody minds the lock any more. */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(127);
	if (r->l->c->input_used) {
		int null = open("/dev/null", O_RDONLY);

		if (null >= 0)
			dup2(null, STDIN_FILENO);
	}
	sigprocmask(SIG_SETMASK, &r->mask, NULL);
	if (fence && setenv("CAIRN_FENCE", fence, 1) == 0) {
		execvp(command[0], command);
		e = errno;
	}
	while (write(errors, &e, sizeof(e)) < 0 && errno == EINTR)
		;
	_exit(127);
}

/* Start the command. 0, or its errno. */
static int start(struct run *r, char **command)
{
	pid_t parent = getpid();
	int errors[2], e = 0;
	ssize_t n;

	if (pipe2(errors, O_CLOEXEC) < 0)
		return errno;
	r->pid = fork();
	if (r->pid == 0)
		become(r, command, errors[1], parent);
	e = r->pid < 0 ? errno : 0;
	close(errors[1]);
	if (!e) {
		setpgid(r->pid, r->pid);
		do
			n = read(errors[0], &e, sizeof(e));
		while (n < 0 && errno == EINTR);
		if (n != sizeof(e))
			e = 0;
		else
			waitpid(r->pid, NULL, 0);
	}
	close(errors[0]);
	return e;
}

static void signal_group(const struct run *r, int number)
{
	kill(-r->pid, number);
}

/* Give the terminal to the command, or take it back, where it was ours when we began. */
static void give_terminal(const struct run *r, bool to_command)
{
	if (r->terminal)
		tcsetpgrp(STDIN_FILENO, to_command ? r->pid : getpgrp());
}

/* Begin to end the group with the signal NUMBER. */
static void end_group(struct run *r, int number)
{
	signal_group(r, number);
	signal_group(r, SIGCONT);
	if (r->kill_ns == NEVER)
		r->kill_ns = clock_boot_ns() + GRACE_NS;
}

static void lose(struct run *r)
{
	if (!r->lost)
		end_group(r, SIGTERM);
	r->lost = true;
}

static void refreshed(void *arg, struct cairn_reply *reply)
{
	struct run *r = arg;
	uint64_t now = clock_boot_ns();

	r->refreshing = false;
	if (r->gone) /* and the lock is being freed */
		return;
	if (!reply->code) {
		r->l->until_ns = lock_until(r->sent_ns, r->l->ttl_ms);
		return;
	}
	r->why = reply->error;
	r->refresh_ns = now + r->l->ttl_ms * MS / 50;
	if (reply->code == CAIRN_E_CONFLICT)
		lose(r);
}

/* Send a refresh. It is given up when the next one would be due. */
static void refresh(struct run *r)
{
	struct lock *l = r->l;
	struct cairn_msg m = { 0 };
	size_t mark;

	r->sent_ns = clock_boot_ns();
	r->refresh_ns = r->sent_ns + l->ttl_ms * MS / 3;
	request(l->c, &m, CAIRN_OP_EXPIRE);
	cairn_msg_bytes(&m, CAIRN_F_KEY, l->key);
	cairn_msg_u64(&m, CAIRN_F_TTL_MS, l->ttl_ms);
	cairn_msg_u64(&m, CAIRN_F_TIMEOUT_MS, l->ttl_ms / 3);
	mark = cairn_msg_open(&m, CAIRN_F_GUARD);
	cairn_msg_bytes(&m, CAIRN_F_KEY, l->key);
	cairn_msg_u64(&m, CAIRN_F_FENCE, l->fence);
	cairn_msg_close(&m, mark);
	r->refreshing = cairn_submit(l->client, &m, refreshed, r) == CAIRN_OK;
	cairn_msg_free(&m);
}

/* We stop, as our command was stopped or as we were told to; then both go on. */
static void stop_with_group(struct run *r)
{
	give_terminal(r, false);
	if (r->terminal)
		kill(0, SIGTSTP); /* who waits for us in our group; for us itself it is blocked */
	raise(SIGSTOP);
	if (r->terminal && tcgetpgrp(STDIN_FILENO) == getpgrp())
		give_terminal(r, true);
	signal_group(r, SIGCONT);
}

/* The command has ended or was stopped. While it is not waited for, no other group can have its number. */
static void child_changed(struct run *r)
{
	siginfo_t info = { 0 };

	if (r->ended || waitid(P_PID, (id_t)r->pid, &info, WEXITED | WSTOPPED | WNOHANG | WNOWAIT) < 0 ||
	    !info.si_pid)
		return;
	if (info.si_code == CLD_STOPPED) {
		waitid(P_PID, (id_t)r->pid, &info, WSTOPPED | WNOHANG);
		if (r->terminal && r->kill_ns == NEVER)
			stop_with_group(r);
		return;
	}
	r->ended = true;
	r->interrupted = info.si_code != CLD_EXITED && info.si_status == SIGINT;
	r->status = info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
	give_terminal(r, false);
}

static void signals_take(struct run *r)
{
	struct signalfd_siginfo s;

	while (read(r->signals, &s, sizeof(s)) == sizeof(s))
		switch (s.ssi_signo) {
		case SIGCHLD:
			child_changed(r);
			break;
		case SIGTSTP:
			signal_group(r, SIGTSTP);
			stop_with_group(r);
			break;
		case SIGCONT:
			if (!r->ended && r->terminal && tcgetpgrp(STDIN_FILENO) == getpgrp())
				give_terminal(r, true);
			break;
		default:
			end_group(r, (int)s.ssi_signo);
		}
}

/* Whether nothing is left of the command, which has ended, and of its group, which was told to end. */
static bool group_gone(struct run *r)
{
	if (!r->reaped)
		waitpid(r->pid, NULL, 0);
	r->reaped = true;
	return kill(-r->pid, 0) < 0;
}

/* What is due at NOW. Returns when to look again; NOW where something is to be sent. */
static uint64_t due(struct run *r, uint64_t now)
{
	uint64_t next;

	if (!r->lost && now >= r->l->until_ns)
		lose(r);
	r->gone = r->ended && (r->kill_ns == NEVER || group_gone(r));
	if (now >= r->kill_ns && !r->gone) {
		signal_group(r, SIGKILL);
		r->gone = r->ended;
		r->kill_ns = now + GRACE_NS;
	}
	if (!r->lost && !r->refreshing && now >= r->refresh_ns) {
		refresh(r);
		return now;
	}
	next = r->kill_ns;
	if (r->kill_ns != NEVER && r->ended)
		next = now + GONE_POLL_NS;
	if (!r->lost && r->l->until_ns < next)
		next = r->l->until_ns;
	if (!r->lost && !r->refreshing && r->refresh_ns < next)
		next = r->refresh_ns;
	return next;
}

static void mind(struct run *r)
{
	struct pollfd in[2] = { { .fd = r->signals, .events = POLLIN },
				{ .fd = cairn_fd(r->l->client), .events = POLLIN } };

	for (;;) {
		uint64_t now, next;

		cairn_dispatch(r->l->client, 0);
		now = clock_boot_ns();
		next = due(r, now);
		if (r->gone)
			return;
		if (poll(in, 2, next == NEVER ? -1 : next <= now ? 0 : (int)((next - now) / MS) + 1) > 0)
			signals_take(r);
	}
}

/* Free the lock. Whether it was ours until now. */
static bool release(struct run *r)
{
	struct lock *l = r->l;
	struct cairn_reply reply = { 0 };
	struct cairn_msg m = { 0 };
	bool is_ours;
	size_t mark;

	request(l->c, &m, CAIRN_OP_DELETE);
	cairn_msg_bytes(&m, CAIRN_F_KEY, l->key);
	mark = cairn_msg_open(&m, CAIRN_F_GUARD);
	cairn_msg_bytes(&m, CAIRN_F_KEY, l->key);
	cairn_msg_u64(&m, CAIRN_F_FENCE, l->fence);
	cairn_msg_close(&m, mark);
	if (cairn_call(l->client, &m, &reply) && reply.code != CAIRN_E_CONFLICT)
		fprintf(stderr, "cairn: %s was not freed and goes by itself within %llu s: %s\n", l->name,
			(unsigned long long)(l->ttl_ms + 999) / 1000, reply.error.message);
	is_ours = reply.code != CAIRN_E_CONFLICT;
	cairn_msg_free(&m);
	cairn_reply_free(&reply);
	return is_ours;
}

/* The command could not be started, for the reason E. */
static enum cairn_code not_started(struct run *r, int e)
{
	struct cli *c = r->l->c;

	if (!c->own_status)
		c->status = e == ENOENT ? 127 : 126;
	c->own_status = true;
	return cairn_fail(&c->error, e == ENOENT ? CAIRN_E_NOT_FOUND : cairn_error_from_errno(e),
			  "%.200s: %s", r->command, strerrordesc_np(e));
}

/* The lock was lost: say so. */
static enum cairn_code say_lost(struct run *r)
{
	struct cli *c = r->l->c;

	cairn_fail(&c->error, CAIRN_E_CONFLICT, "%s was lost; %.200s and its children were ended", r->l->name,
		   r->command);
	if (r->why.code && r->why.code != CAIRN_E_CONFLICT)
		cairn_hint(&c->error, "it could not be refreshed: %.150s", r->why.message);
	if (c->format == FORMAT_JSON)
		return CAIRN_E_CONFLICT;
	fprintf(stderr, "cairn: lock: %s\n", c->error.message);
	if (c->error.hint[0])
		fprintf(stderr, "hint: %s\n", c->error.hint);
	if (!c->own_status)
		c->status = exit_status(CAIRN_E_CONFLICT);
	return CAIRN_OK;
}

/* The signals that we take. One that was ignored when we began stays so: 'nohup cairn lock' means it. */
static void signals_open(struct run *r)
{
	static const int taken[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCHLD, SIGCONT };
	struct sigaction old;
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(taken) / sizeof(*taken); i++)
		if (sigaction(taken[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
			sigaddset(&set, taken[i]);
	sigaddset(&set, SIGCHLD);
	r->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	sigaddset(&set, SIGTTOU); /* so that the terminal can be taken back */
	sigprocmask(SIG_BLOCK, &set, &r->mask);
}

enum cairn_code lock_run(struct lock *l, char **command)
{
	struct run r = { .l = l, .command = command[0], .kill_ns = NEVER };
	enum cairn_code code;
	int e;

	signals_open(&r);
	if (r.signals < 0)
		return cairn_fail(&l->c->error, CAIRN_E_INTERNAL, "no descriptor for signals");
	r.terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && !l->c->input_used &&
		tcgetpgrp(STDIN_FILENO) == getpgrp();
	r.refresh_ns = clock_boot_ns() + l->ttl_ms * MS / 3;
	fflush(stdout);
	e = start(&r, command);
	if (!e)
		mind(&r);
	else
		give_terminal(&r, false);
	if (!r.lost && !release(&r) && !e) {
		lose(&r);
		mind(&r);
	}
	if (!e && !r.reaped)
		waitpid(r.pid, NULL, 0);
	code = e ? not_started(&r, e) : r.lost ? say_lost(&r) : CAIRN_OK;
	if (!e && !r.lost)
		l->c->status = r.status;
	close(r.signals);
	sigprocmask(SIG_SETMASK, &r.mask, NULL);
	if (r.terminal && r.interrupted)
		kill(0, SIGINT); /* Ctrl-C reached the command only: it was meant for us, too */
	return code;
}
