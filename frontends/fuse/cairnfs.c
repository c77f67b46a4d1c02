/*
 * cairnfs: a volume of cairn as a file system. One thread waits for the kernel and for the server at once; a
 * request that needs the server becomes a task (task.c) and the loop goes on, so a slow server delays nobody
 * but who asked it. Starting: connect, ask the server once, mount, and only when the kernel has greeted us
 * let the process that was started end with 0. It ends when it is unmounted or told to; what is not committed
 * yet is, first.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>
#include "clock.h"
#include "guard.h"
#include "mount.h"
#include "banned.h"

#define TURN 32 /* requests taken from the kernel before answers of the server are looked at again */

/* Tell the process that was started how it went: CODE and, where that is not 0, the sentence. */
static void report(struct mount *m, enum cairn_code code, const struct cairn_error *e)
{
	int null;

	if (m->report < 0)
		return;
	if (code)
		dprintf(m->report, "%c%s%s%s", (char)code, e->message, e->hint[0] ? "\nhint: " : "", e->hint);
	else if (write(m->report, "", 1) < 0)
		syslog(LOG_WARNING, "whoever started this mount is gone");
	close(m->report);
	m->report = -1;
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null >= 0) {
		dup2(null, 0);
		dup2(null, 1);
		dup2(null, 2);
		close(null);
	}
}

static void op_init(void *arg, struct fuse_conn_info *conn)
{
	struct mount *m = arg;

	conn->want &= ~(unsigned)FUSE_CAP_HANDLE_KILLPRIV; /* the kernel takes set-user-id bits away itself */
	conn->max_background = 64;
	conn->congestion_threshold = 48;
	conn->time_gran = 1;
	report(m, CAIRN_OK, NULL);
}

static const struct fuse_lowlevel_ops operations = {
	.init = op_init,
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.readlink = op_readlink,
	.mknod = op_mknod,
	.mkdir = op_mkdir,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.symlink = op_symlink,
	.rename = op_rename,
	.link = op_link,
	.open = op_open,
	.create = op_create,
	.read = op_read,
	.write = op_write,
	.flush = op_flush,
	.fsync = op_fsync,
	.release = op_release,
	.fallocate = op_fallocate,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
	.releasedir = op_releasedir,
	.fsyncdir = op_fsyncdir,
	.statfs = op_statfs,
	.getxattr = op_getxattr,
	.setxattr = op_setxattr,
	.listxattr = op_listxattr,
	.removexattr = op_removexattr,
};

/* Take what the kernel has. */
static void take_requests(struct mount *m, struct fuse_buf *buf)
{
	for (int i = 0; i < TURN && !fuse_session_exited(m->session); i++) {
		int r = fuse_session_receive_buf(m->session, buf);

		if (r == -EAGAIN || r == -EINTR)
			return;
		if (r <= 0) {
			fuse_session_exit(m->session);
			return;
		}
		fuse_session_process_buf(m->session, buf);
		if (!m->tasks) /* it is answered: its caller is alone, and has not called again yet */
			return;
	}
}

/* The shorter of two times; negative: for ever. */
static int sooner(int a, int b)
{
	return a < 0 || (b >= 0 && b < a) ? b : a;
}

/* Serve until unmounted or told to end. */
static void serve(struct mount *m, int signals)
{
	struct fuse_buf buf = { 0 };
	struct pollfd fds[3] = {
		{ .fd = fuse_session_fd(m->session), .events = POLLIN },
		{ .fd = cairn_fd(m->cairn), .events = POLLIN },
		{ .fd = signals, .events = POLLIN },
	};
	int wait_ms;

	while (!fuse_session_exited(m->session)) {
		if (fds[1].revents)
			cairn_dispatch(m->cairn, 0);
		tasks_run(m);
		if (m->asked)
			cairn_dispatch(m->cairn, 0);
		m->asked = false;
		wait_ms = sooner(cache_tick(m), tasks_expire(m));
		if (m->runnable || m->asked)
			continue;
		if (poll(fds, 3, m->paused ? 1 : wait_ms) < 0 && errno != EINTR)
			break;
		tasks_wake(m);
		if (fds[0].revents)
			take_requests(m, &buf);
		if (fds[2].revents & POLLIN)
			fuse_session_exit(m->session);
	}
	free(buf.mem);
}

/* Answer what the threads that tell the kernel wait for, as long as that may take. */
static void quiet(struct mount *m)
{
	uint64_t end = clock_boot_ns() + m->options.timeout_s * 1000000000;
	struct fuse_buf buf = { 0 };

	cache_end(m);
	while (!notifier_idle(m->notifier) && clock_boot_ns() < end) {
		struct pollfd fd = { .fd = fuse_session_fd(m->session), .events = POLLIN };

		fuse_session_reset(m->session);
		if (poll(&fd, 1, 10) > 0)
			take_requests(m, &buf);
		for (struct task *t = m->tasks; t; t = t->next)
			task_error(t, EIO);
	}
	fuse_session_exit(m->session);
	free(buf.mem);
}

/* Commit what is left, as long as that may take. */
static void drain(struct mount *m)
{
	uint64_t end = clock_boot_ns() + m->options.timeout_s * 1000000000;

	for (struct node *n = m->nodes.dirty, *next; n; n = next) {
		next = n->next_dirty;
		if (n->opens > 0)
			task_start_silent(m, n, do_save);
	}
	while ((m->runnable || m->paused || cairn_pending(m->cairn) > 0) && clock_boot_ns() < end) {
		tasks_wake(m);
		tasks_run(m);
		cairn_dispatch(m->cairn, 100);
	}
	for (struct node *n = m->nodes.dirty; n; n = n->next_dirty)
		if (n->opens > 0)
			syslog(LOG_ERR, "written bytes were lost: file id %llu, %zu bytes",
			       (unsigned long long)n->facts.file_id, n->content.len);
}

/* Ask the server once, so that a mount that cannot work is never made. */
static enum cairn_code try_server(struct mount *m, struct cairn_error *e)
{
	struct cairn_reply r = { 0 };
	enum cairn_code code;
	MSG msg = { 0 };

	msg_begin(m, &msg, CAIRN_OP_VOLUME_STATS);
	code = cairn_call(m->cairn, &msg, &r);
	if (code)
		*e = r.error;
	cairn_reply_free(&r);
	return code;
}

static enum cairn_code add_argument(struct fuse_args *args, const char *text, struct cairn_error *e)
{
	return fuse_opt_add_arg(args, text) < 0 ? cairn_fail(e, CAIRN_E_INTERNAL, "no memory") : CAIRN_OK;
}

/* Make the session and mount it. */
static enum cairn_code mount_it(struct mount *m, struct cairn_error *e)
{
	const struct options *o = &m->options;
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	char *list = NULL, *name = NULL;
	enum cairn_code code = add_argument(&args, "cairnfs", e);

	if (!code &&
	    (asprintf(&name, "fsname=%s", o->servers) < 0 || fuse_opt_add_opt_escaped(&list, name) < 0 ||
	     fuse_opt_add_opt(&list, "subtype=cairnfs,default_permissions,nosuid,nodev,noatime") < 0 ||
	     (o->ro && fuse_opt_add_opt(&list, "ro") < 0) ||
	     (o->noexec && fuse_opt_add_opt(&list, "noexec") < 0) ||
	     ((o->allow_other || geteuid() == 0) && fuse_opt_add_opt(&list, "allow_other") < 0)))
		code = cairn_fail(e, CAIRN_E_INTERNAL, "no memory");
	if (!code)
		code = add_argument(&args, "-o", e);
	if (!code)
		code = add_argument(&args, list, e);
	if (!code) {
		m->session = fuse_session_new(&args, &operations, sizeof(operations), m);
		if (!m->session || fuse_session_mount(m->session, o->mountpoint) < 0) {
			code = cairn_fail(e, CAIRN_E_DENIED, "%s cannot be mounted", o->mountpoint);
			cairn_hint(e, "is /dev/fuse there, and is the folder yours and empty?");
		}
	}
	fuse_opt_free_args(&args);
	free(list);
	free(name);
	if (!code)
		fcntl(fuse_session_fd(m->session), F_SETFL,
		      fcntl(fuse_session_fd(m->session), F_GETFL) | O_NONBLOCK);
	return code;
}

/* All of the mount's life. M->report is told whether it works. */
static enum cairn_code run(struct mount *m, struct cairn_error *e)
{
	struct cairn_options options = {
		.servers = m->options.servers,
		.face = "mount",
		.fence = "", /* it writes for every program that uses the mount, under a lock or not */
		.timeout_ms = m->options.timeout_s * 1000,
	};
	enum cairn_code code = CAIRN_OK;
	sigset_t set;
	int signals;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	m->start_ns = clock_wall_ns();
	if (signals < 0 || nodes_open(&m->nodes) < 0)
		return cairn_fail(e, CAIRN_E_INTERNAL, "no memory");
	m->nodes.prefix = m->options.prefix;
	m->nodes.root->facts.time_ns = m->start_ns;
	code = cairn_open(&m->cairn, &options, e);
	if (!code)
		code = try_server(m, e);
	if (!code && m->options.guard)
		code = guard_make(&m->options, e);
	if (!code)
		code = mount_it(m, e);
	if (!code && notifier_open(&m->notifier, m->session) < 0)
		code = cairn_fail(e, CAIRN_E_INTERNAL, "no threads");
	if (!code) {
		serve(m, signals);
		quiet(m);
		fuse_session_unmount(m->session);
		drain(m);
		notifier_close(m->notifier);
	}
	if (m->session)
		fuse_session_destroy(m->session);
	if (!m->tasks) { /* else their coroutines still hold all of it */
		cairn_close(m->cairn);
		nodes_close(&m->nodes);
		coroutine_pool_free(&m->pool);
	}
	close(signals);
	return code;
}

/* Say on standard error what went wrong. Returns the exit status for CODE. */
static int fail(enum cairn_code code, const char *message, const char *hint)
{
	fprintf(stderr, "cairnfs: %s: %s\n", cairn_error_row(code)->name, message);
	if (hint && *hint)
		fprintf(stderr, "hint: %s\n", hint);
	return cairn_error_row(code)->exit_code;
}

/* Wait for the child's report on FD. Returns the exit status. */
static int wait_for_report(int fd)
{
	char text[1024];
	size_t len = 0;
	ssize_t n;

	while (len < sizeof(text) - 1 && (n = read(fd, text + len, sizeof(text) - 1 - len)) != 0) {
		if (n < 0 && errno != EINTR)
			break;
		len += n > 0 ? (size_t)n : 0;
	}
	text[len] = 0;
	if (len == 0)
		return fail(CAIRN_E_INTERNAL, "the mount ended before it worked", NULL);
	return text[0] ? fail((enum cairn_code)text[0], text + 1, NULL) : 0;
}

/* Go on in a child that no terminal reaches. Returns the exit status in the parent, -1 in the child. */
static int go_background(struct mount *m)
{
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return fail(CAIRN_E_INTERNAL, strerror(errno), NULL);
	pid = fork();
	if (pid < 0)
		return fail(CAIRN_E_INTERNAL, strerror(errno), NULL);
	if (pid > 0) {
		close(fds[1]);
		return wait_for_report(fds[0]);
	}
	close(fds[0]);
	m->report = fds[1];
	setsid();
	if (chdir("/") < 0)
		syslog(LOG_WARNING, "/: %s", strerror(errno));
	return -1;
}

int main(int argc, char **argv)
{
	struct mount m = { .report = -1 };
	struct cairn_error e = { 0 };
	enum cairn_code code = options_parse(&m.options, argc, argv, &e);
	char *path;
	int status = -1;

	if (!code && m.options.help)
		options_help(stdout);
	else if (!code && m.options.version)
		printf("cairnfs %s\n", cairn_version());
	if (code || m.options.help || m.options.version) {
		options_free(&m.options);
		return code ? fail(code, e.message, e.hint) : fflush(stdout) == 0 ? 0 : 70;
	}
	openlog("cairnfs", LOG_PID | (m.options.foreground ? LOG_PERROR : 0), LOG_DAEMON);
	path = realpath(m.options.mountpoint, NULL);
	if (!path) {
		status = fail(CAIRN_E_INVALID, strerror(errno),
			      "the mount point must be a folder that is there");
	} else {
		free(m.options.mountpoint);
		m.options.mountpoint = path;
		if (!m.options.foreground)
			status = go_background(&m);
	}
	if (status < 0) {
		code = run(&m, &e);
		if (code && m.report >= 0)
			report(&m, code, &e);
		else if (code)
			fail(code, e.message, e.hint);
		status = code ? cairn_error_row(code)->exit_code : 0;
	}
	options_free(&m.options);
	return status;
}
