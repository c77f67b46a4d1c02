/*
 * cairnd: options, then the node: folder, volumes, control socket, loop. The happy path is run(): open in
 * that order, say that we are ready, run until a signal, close in the reverse order. Whatever fails before we
 * are ready ends the process with a sentence on standard error and the error's exit code.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "config.h"
#include "cluster.h"
#include "control.h"
#include "gateway.h"
#include "journal.h"
#include "nearest.h"
#include "offline.h"
#include "operation.h"
#include "volume.h"
#include "banned.h"

enum {
	OPT_PRINT_CONFIG = 256,
	OPT_READY_FD,
	OPT_EXIT_WITH_PARENT,
	OPT_CHECK,
	OPT_REPAIR,
	OPT_JOURNAL_CHECK,
	OPT_JOURNAL_DUMP,
	OPT_MAKE_KEY
};

/* Options that are no settings; those of the settings follow from their rows. */
static const struct plain_option {
	const char *name;
	int letter; /* or a number from OPT_… */
	const char *argument, *help;
} plain_options[] = {
	{ "config", 'c', "FILE",
	  "read the configuration FILE; else $XDG_CONFIG_HOME/cairn/cairnd.conf if it is there" },
	{ "option", 'o', "SECTION.KEY=VALUE", "give one setting, whatever the file says; may be repeated" },
	{ "print-config", OPT_PRINT_CONFIG, NULL, "print the settings as a configuration file, and end" },
	{ "ready-fd", OPT_READY_FD, "N",
	  "when clients can connect, write the socket's path to descriptor N and close it" },
	{ "exit-with-parent", OPT_EXIT_WITH_PARENT, NULL,
	  "end cleanly when the process that started this one ends" },
	{ "check", OPT_CHECK, NULL,
	  "read the journal and all volumes in the data folder, say whether they are sound, and end" },
	{ "repair", OPT_REPAIR, NULL, "the same, and make what is damaged anew from what is valid in it" },
	{ "journal-check", OPT_JOURNAL_CHECK, NULL,
	  "read all of the journal, say whether it is sound, and end" },
	{ "journal-dump", OPT_JOURNAL_DUMP, "HOW",
	  "print what stands in the journal, and end: 'text' or 'json', then ',values' for the values too, "
	  "',volume=NAME' for one volume" },
	{ "make-key", OPT_MAKE_KEY, "FILE",
	  "make a cluster key in FILE, for the setting cluster.key, and end" },
	{ "help", 'h', NULL, "print this help, and end" },
	{ "version", 'V', NULL, "print the version, and end" },
};

#define PLAIN_COUNT (sizeof(plain_options) / sizeof(plain_options[0]))
#define OPTION_COUNT (PLAIN_COUNT + SETTING_COUNT)

struct options {
	const char *config;
	int ready_fd; /* -1: none */
	bool print_config, exit_with_parent, check, repair, journal_check, help, version;
	const char *journal_dump; /* how, or NULL */
	const char *make_key;     /* where, or NULL */
};

/* The tables of getopt_long. */
struct getopt_tables {
	char letters[4 + 2 * OPTION_COUNT];
	struct option options[OPTION_COUNT + 1];
	const char *names[OPTION_COUNT + 1];
	size_t count;
};

/* The running daemon. */
struct daemon {
	struct node node;
	struct settings *settings;
	struct log *log;
	bool ending; /* a signal asked for it, or the journal */
	struct loop_task journal_failed;
	struct cairn_error failure; /* of the journal, then */
};

static void add_option(struct getopt_tables *t, const char *name, int letter, bool argument)
{
	size_t n = strlen(t->letters);

	if (letter < 256)
		snprintf(t->letters + n, sizeof(t->letters) - n, "%c%s", letter, argument ? ":" : "");
	t->names[t->count] = name;
	t->options[t->count++] =
		(struct option){ name, argument ? required_argument : no_argument, NULL, letter };
}

static void make_tables(struct getopt_tables *t)
{
	*t = (struct getopt_tables){ .letters = ":" };
	for (size_t i = 0; i < PLAIN_COUNT; i++)
		add_option(t, plain_options[i].name, plain_options[i].letter, plain_options[i].argument);
	for (int i = 0; i < SETTING_COUNT; i++)
		if (setting_row((enum setting)i)->letter)
			add_option(t, setting_row((enum setting)i)->option,
				   setting_row((enum setting)i)->letter, true);
}

static void print_help(void)
{
	printf("Usage: cairnd [OPTION…]\n\nThe daemon of cairn, a replicated key-value store that can be "
	       "mounted.\n\n");
	for (size_t i = 0; i < PLAIN_COUNT; i++) {
		const struct plain_option *o = &plain_options[i];

		if (o->letter < 256)
			printf("  -%c, ", o->letter);
		else
			printf("      ");
		printf("--%s%s%s\n          %s\n", o->name, o->argument ? " " : "",
		       o->argument ? o->argument : "", o->help);
	}
	printf("\nSettings, in a configuration file as 'key = value' under [section], or with -o:\n");
	settings_help(stdout);
	printf("\nEnvironment: CAIRN_LOG as log.level; CAIRN_PLUGIN_PATH; XDG_DATA_HOME, XDG_RUNTIME_DIR, "
	       "XDG_CONFIG_HOME.\n"
	       "Manual: cairnd(8), cairnd.conf(5)\n");
}

static enum cairn_code bad_option(struct getopt_tables *t, char **argv, int c, struct cairn_error *error)
{
	const char *word = argv[optind - 1], *near;
	char name[64];

	if (c == ':')
		return cairn_fail(error, CAIRN_E_INVALID, "the option %s needs a value", word);
	if (strncmp(word, "--", 2))
		return cairn_fail(error, CAIRN_E_INVALID, "there is no option -%c", optopt);
	cairn_fail(error, CAIRN_E_INVALID, "there is no option %s", word);
	snprintf(name, sizeof(name), "%.*s", (int)strcspn(word + 2, "="), word + 2);
	near = nearest(name, t->names, t->count);
	if (near)
		cairn_hint(error, "did you mean '--%s'?", near);
	return CAIRN_E_INVALID;
}

static enum cairn_code ready_fd(struct options *o, const char *text, struct cairn_error *error)
{
	char *end;
	long fd = strtol(text, &end, 10);

	if (!*text || *end || fd < 0 || fd > 65535 || fcntl((int)fd, F_SETFD, FD_CLOEXEC) < 0)
		return cairn_fail(error, CAIRN_E_INVALID,
				  "--ready-fd is the number of an open descriptor, not '%s'", text);
	o->ready_fd = (int)fd;
	return CAIRN_OK;
}

/* Take "section.key=value". */
static enum cairn_code take_pair(struct settings *s, const char *pair, struct cairn_error *error)
{
	const char *equals = strchr(pair, '=');
	char name[128];

	if (!equals)
		return cairn_fail(error, CAIRN_E_INVALID, "-o takes section.key=value, not '%s'", pair);
	snprintf(name, sizeof(name), "%.*s", (int)(equals - pair), pair);
	return settings_set(s, name, equals + 1, "-o", error);
}

static enum cairn_code take_letter(struct settings *s, int letter, const char *text,
				   struct cairn_error *error)
{
	char name[128], where[8];

	for (int i = 0; i < SETTING_COUNT; i++) {
		const struct setting_row *row = setting_row((enum setting)i);

		if (row->letter != letter)
			continue;
		snprintf(name, sizeof(name), "%s.%s", row->section, row->key);
		snprintf(where, sizeof(where), "-%c", letter);
		return settings_set(s, name, text, where, error);
	}
	return CAIRN_OK;
}

/* Read the command line: into O where S is NULL, else the settings in it into S. */
static enum cairn_code read_options(int argc, char **argv, struct options *o, struct settings *s,
				    struct cairn_error *error)
{
	struct getopt_tables t;
	enum cairn_code code = CAIRN_OK;
	int c;

	make_tables(&t);
	optind = 0; /* from the start, also the second time */
	opterr = 0;
	while (!code && (c = getopt_long(argc, argv, t.letters, t.options, NULL)) != -1) {
		if (c == '?' || c == ':')
			code = bad_option(&t, argv, c, error);
		else if (s)
			code = c == 'o' ? take_pair(s, optarg, error) : take_letter(s, c, optarg, error);
		else if (c == OPT_READY_FD)
			code = ready_fd(o, optarg, error);
		else if (c == 'c')
			o->config = optarg;
		o->print_config |= c == OPT_PRINT_CONFIG;
		o->exit_with_parent |= c == OPT_EXIT_WITH_PARENT;
		o->check |= c == OPT_CHECK;
		o->repair |= c == OPT_REPAIR;
		o->journal_check |= c == OPT_JOURNAL_CHECK;
		o->journal_dump = c == OPT_JOURNAL_DUMP ? optarg : o->journal_dump;
		o->make_key = c == OPT_MAKE_KEY ? optarg : o->make_key;
		o->help |= c == 'h';
		o->version |= c == 'V';
	}
	if (!code && optind < argc)
		code = cairn_fail(error, CAIRN_E_INVALID, "'%s' is no option, and cairnd takes nothing else",
				  argv[optind]);
	return code;
}

/* The user's own configuration file, where there is one. */
static enum cairn_code read_default_file(struct settings *s, struct cairn_error *error)
{
	const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
	char path[4096];

	if (config && *config == '/')
		snprintf(path, sizeof(path), "%s/cairn/cairnd.conf", config);
	else if (home && *home == '/')
		snprintf(path, sizeof(path), "%s/.config/cairn/cairnd.conf", home);
	else
		return CAIRN_OK;
	return access(path, F_OK) == 0 ? settings_read(s, path, error) : CAIRN_OK;
}

static enum cairn_code read_settings(struct settings *s, int argc, char **argv, struct options *o,
				     struct cairn_error *error)
{
	const char *levels = getenv("CAIRN_LOG");
	enum cairn_code code;

	code = o->config ? settings_read(s, o->config, error) : read_default_file(s, error);
	if (!code && levels && *levels)
		code = settings_set(s, "log.level", levels, "$CAIRN_LOG", error);
	if (!code)
		code = read_options(argc, argv, o, s, error);
	return code ? code : settings_finish(s, error);
}

/* systemd's readiness protocol: one datagram to the socket that it named. */
static void notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	size_t n = path ? strlen(path) : 0;
	int fd;

	if (n == 0 || n >= sizeof(to.sun_path) || (path[0] != '/' && path[0] != '@'))
		return;
	memcpy(to.sun_path, path, n);
	if (path[0] == '@')
		to.sun_path[0] = 0;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&to,
	       (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
	close(fd);
}

static void say_ready(struct daemon *d, const struct options *o)
{
	const char *socket = setting_text(d->settings, SETTING_CONTROL_SOCKET);

	log_info(d->log, LOG_DAEMON, "ready", LOG_TEXT("node", d->node.name), LOG_TEXT("id", d->node.id),
		 LOG_TEXT("data", d->node.data_dir), LOG_TEXT("socket", socket), LOG_NUMBER("pid", getpid()),
		 LOG_TEXT("version", PACKAGE_VERSION));
	notify("READY=1");
	if (o->ready_fd >= 0) {
		dprintf(o->ready_fd, "%s\n", socket);
		close(o->ready_fd);
	}
}

static bool is_cairnd(long pid)
{
	char path[64], line[PATH_MAX] = "", *name;
	FILE *f;

	/* Empty for a process that has ended and was not waited for. */
	snprintf(path, sizeof(path), "/proc/%ld/cmdline", pid);
	f = fopen(path, "re");
	if (f) {
		(void)!fread(line, 1, sizeof(line) - 1, f);
		fclose(f);
	}
	name = strrchr(line, '/');
	return strcmp(name ? name + 1 : line, "cairnd") == 0;
}

static enum cairn_code write_pid_file(struct daemon *d, struct cairn_error *error)
{
	const char *path = setting_text(d->settings, SETTING_NODE_PID_FILE);
	FILE *f;

	if (!*path)
		return CAIRN_OK;
	f = fopen(path, "re");
	if (f) {
		long pid = 0;

		if (fscanf(f, "%ld", &pid) == 1 && pid > 0 && pid != getpid() && kill((pid_t)pid, 0) == 0 &&
		    is_cairnd(pid))
			cairn_fail(error, CAIRN_E_UNAVAILABLE,
				   "the pid file %s is that of cairnd %ld, which runs", path, pid);
		fclose(f);
		if (error->code)
			return error->code;
	}
	f = fopen(path, "we");
	if (f && fprintf(f, "%ld\n", (long)getpid()) > 0 && fflush(f) == 0) {
		fclose(f);
		return CAIRN_OK;
	}
	cairn_fail(error, cairn_error_from_errno(errno), "the pid file %s cannot be written: %s", path,
		   strerror(errno));
	if (f)
		fclose(f);
	return error->code;
}

static void on_closed(void *arg)
{
	struct daemon *d = arg;

	loop_stop(d->node.loop);
}

/* The gateways have let go of their clients. */
static void on_gateways_closed(void *arg)
{
	struct daemon *d = arg;

	control_close(&d->node, on_closed, d);
}

static void on_end(void *arg, int number)
{
	struct daemon *d = arg;

	if (d->ending)
		return;
	d->ending = true;
	log_info(d->log, LOG_DAEMON, "ending", LOG_TEXT("signal", strsignal(number)));
	notify("STOPPING=1");
	if (d->node.control)
		gateways_close(&d->node, on_gateways_closed, d);
}

static void end_failed(struct loop_task *t)
{
	struct daemon *d = (struct daemon *)((char *)t - offsetof(struct daemon, journal_failed));

	if (d->ending)
		return;
	d->ending = true;
	notify("STOPPING=1");
	if (d->node.control)
		gateways_close(&d->node, on_gateways_closed, d);
	else
		loop_stop(d->node.loop);
}

/* In a thread of the journal's: a sync has failed, and nothing may be promised any more. */
static void on_journal_failed(void *arg, const struct cairn_error *error)
{
	struct daemon *d = arg;

	d->failure = *error;
	log_error(d->log, LOG_DAEMON, "the daemon ends: the journal cannot be trusted any more",
		  LOG_TEXT("reason", error->message), LOG_TEXT("hint", error->hint));
	d->journal_failed.run = end_failed;
	loop_post(d->node.loop, &d->journal_failed);
}

static enum cairn_code open_journal(struct daemon *d, struct cairn_error *error)
{
	char path[PATH_MAX];
	struct cairn_error notice;
	enum cairn_code code;

	node_journal_path(&d->node, path, sizeof(path));
	code = journal_open(&d->node.journal,
			    &(struct journal_options){
				    .folder = path,
				    .segment_bytes = setting_number(d->settings, SETTING_JOURNAL_SEGMENT),
				    .failed = on_journal_failed,
				    .arg = d,
			    },
			    &notice, error);
	if (notice.message[0])
		log_warn(d->log, LOG_DAEMON, notice.message);
	if (!code)
		journal_reserve(d->node.journal);
	return code;
}

static void on_hangup(void *arg, int number)
{
	struct daemon *d = arg;
	int r = log_reopen(d->log);

	(void)number;
	if (r < 0)
		log_error(d->log, LOG_DAEMON, "the log file cannot be opened again; the old one stays in use",
			  LOG_TEXT("reason", strerror(-r)));
	else
		log_info(d->log, LOG_DAEMON, "the log was opened again");
}

static enum cairn_code watch_signals(struct daemon *d, struct cairn_error *error)
{
	int r = loop_signal(d->node.loop, SIGTERM, on_end, d);

	if (r == 0)
		r = loop_signal(d->node.loop, SIGINT, on_end, d);
	if (r == 0)
		r = loop_signal(d->node.loop, SIGHUP, on_hangup, d);
	signal(SIGPIPE, SIG_IGN);
	return r == 0 ? CAIRN_OK
		      : cairn_fail(error, CAIRN_E_INTERNAL, "signals cannot be watched: %s", strerror(-r));
}

/* As many descriptors as are allowed: connections and engines need them. */
static void raise_limits(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static enum cairn_code open_log(struct daemon *d, struct cairn_error *error)
{
	const char *file = setting_text(d->settings, SETTING_LOG_FILE);
	int r = log_to(d->log, file);

	if (r < 0)
		return cairn_fail(error, cairn_error_from_errno(-r),
				  "%s: the log file %s cannot be opened: %s",
				  setting_where(d->settings, SETTING_LOG_FILE), file, strerror(-r));
	return log_levels_set(d->log, setting_text(d->settings, SETTING_LOG_LEVEL), error);
}

/* Serve until a signal ends it. */
static enum cairn_code run(struct daemon *d, const struct options *o, struct cairn_error *error)
{
	const char *pid_file = setting_text(d->settings, SETTING_NODE_PID_FILE);
	enum cairn_code code;

	code = node_open(&d->node, d->settings, d->log, error);
	d->node.metrics = metrics_new();
	if (!code && !d->node.metrics)
		code = cairn_fail(error, CAIRN_E_INTERNAL, "no memory");
	if (!code)
		code = watch_signals(d, error);
	if (!code)
		code = open_journal(d, error);
	if (!code)
		code = cluster_open(&d->node, error);
	if (!code)
		code = volumes_open(&d->node, error);
	if (!code && d->node.cluster)
		code = cluster_start(d->node.cluster, error);
	if (!code)
		code = control_open(&d->node, error);
	if (!code)
		code = gateways_open(&d->node, error);
	if (!code)
		code = write_pid_file(d, error);
	if (!code) {
		say_ready(d, o);
		if (d->ending)
			gateways_close(&d->node, on_gateways_closed, d);
		loop_run(d->node.loop);
		if (*pid_file)
			unlink(pid_file);
	}
	gateways_free(&d->node);
	control_free(&d->node);
	pool_free(d->node.pool);
	d->node.pool = NULL;
	restores_close(&d->node);
	volumes_close(&d->node);
	journal_close(d->node.journal);
	cluster_close(d->node.cluster);
	node_close(&d->node);
	metrics_free(d->node.metrics);
	if (!code && d->failure.code) {
		*error = d->failure;
		code = error->code;
	}
	if (!code)
		log_info(d->log, LOG_DAEMON, "ended");
	return code;
}

/* Do what O asks with the data folder, without serving anybody. */
static enum cairn_code run_offline(struct daemon *d, const struct options *o, struct cairn_error *error)
{
	enum cairn_code code = offline_is_node(setting_text(d->settings, SETTING_NODE_DATA), error);

	if (code)
		return code;
	log_levels_set(d->log, "warn", error); /* what is said stands on standard output */
	code = node_open(&d->node, d->settings, d->log, error);
	d->node.offline = true;
	d->node.metrics = metrics_new();
	if (!code && !d->node.metrics)
		code = cairn_fail(error, CAIRN_E_INTERNAL, "no memory");
	if (!code && o->journal_dump)
		code = offline_journal_dump(&d->node, o->journal_dump, error);
	else if (!code && o->journal_check)
		code = offline_journal_open(&d->node, error);
	else if (!code)
		code = offline_run(&d->node, o->repair, error);
	pool_free(d->node.pool);
	d->node.pool = NULL;
	volumes_close(&d->node);
	journal_close(d->node.journal);
	node_close(&d->node);
	metrics_free(d->node.metrics);
	return code;
}

/* Ask to be ended with the parent; 0 where it has ended already. */
static bool tie_to_parent(pid_t parent)
{
	return prctl(PR_SET_PDEATHSIG, SIGTERM) == 0 && getppid() == parent;
}

static int give_up(const struct daemon *d, const struct cairn_error *e)
{
	const struct cairn_error_row *row = cairn_error_row(e->code);

	fprintf(stderr, "cairnd: %s: %s\n", row->name, e->message);
	if (*e->hint)
		fprintf(stderr, "hint: %s\n", e->hint);
	if (d->log && *setting_text(d->settings, SETTING_LOG_FILE))
		log_error(d->log, LOG_DAEMON, e->message, LOG_TEXT("code", row->name));
	return row->exit_code;
}

int main(int argc, char **argv)
{
	struct options o = { .ready_fd = -1 };
	struct daemon d = { .settings = settings_new(), .log = log_new() };
	struct cairn_error error = { 0 };
	pid_t parent = getppid();
	int status = 0;

	umask(027);
	/* Chunks and batches come and go: a threshold that grows with them would keep their memory in the
	 * heaps of all threads. */
	mallopt(M_MMAP_THRESHOLD, 128 << 10);
	if (!d.settings || !d.log)
		error.code = cairn_fail(&error, CAIRN_E_INTERNAL, "no memory");
	else
		error.code = read_options(argc, argv, &o, NULL, &error);
	if (!error.code && o.help)
		print_help();
	else if (!error.code && o.version)
		printf("cairnd %s\n", PACKAGE_VERSION);
	else if (!error.code && o.make_key)
		error.code = cluster_make_key(o.make_key, &error);
	else if (!error.code && !read_settings(d.settings, argc, argv, &o, &error)) {
		if (o.print_config)
			settings_print(d.settings, stdout);
		else if (o.exit_with_parent && !tie_to_parent(parent))
			error.code = cairn_fail(&error, CAIRN_E_UNAVAILABLE,
						"the process that started this one has ended");
		else if (!open_log(&d, &error)) {
			raise_limits();
			if (o.check || o.repair || o.journal_check || o.journal_dump)
				run_offline(&d, &o, &error);
			else
				run(&d, &o, &error);
		}
	}
	if (error.code)
		status = give_up(&d, &error);
	settings_free(d.settings);
	log_free(d.log);
	return status;
}
