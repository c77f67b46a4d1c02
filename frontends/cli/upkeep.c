/*
 * check, compact, flush and convert: one request each, that may take long. On a data folder without its
 * daemon check and repair are the daemon's own work, since it has the engines: this starts cairnd with the
 * option of that name.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include "cli.h"
#include "banned.h"

/* The request OP on the volume that the operand names, without a limit of time unless one was asked for. */
static void upkeep(struct cli *c, const struct arguments *a, struct cairn_msg *m, unsigned op)
{
	request(c, m, op);
	if (a->count) {
		cairn_msg_start(m, op);
		cairn_msg_text(m, CAIRN_F_VOLUME, a->operand[0].text);
	}
	if (!c->timeout_ms)
		cairn_msg_u64(m, CAIRN_F_TIMEOUT_MS, 0);
}

static const char *volume_name(const struct cli *c, const struct arguments *a)
{
	return a->count ? a->operand[0].text : c->volume ? c->volume : "main";
}

static bool check_event(void *arg, const struct cairn_reply *event)
{
	struct progress *p = arg;
	uint64_t bytes = cairn_field_u64(event->fields, CAIRN_F_LENGTH, 0);

	progress_add(p, bytes > p->done ? bytes - p->done : 0);
	return true;
}

enum cairn_code run_cairnd(struct cli *c, const char *dir, const char *config, const char *option,
			   const char *value)
{
	const char *words[] = { "cairnd", "--data", dir, option, value, NULL, NULL, NULL };
	size_t n = value ? 5 : 4;
	char path[4096];
	int status, r;
	pid_t pid;

	if (config) {
		words[n++] = "--config";
		words[n] = config;
	}
	program_path("cairnd", path, sizeof(path));
	words[0] = path;
	fflush(stdout);
	r = posix_spawnp(&pid, path, NULL, NULL, (char *const *)words, environ);
	if (r)
		return cairn_fail(&c->error, CAIRN_E_UNSUPPORTED, "cairnd cannot be started: %s",
				  strerror(r));
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return cairn_fail(&c->error, CAIRN_E_INTERNAL, "cairnd: %s", strerror(errno));
	c->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	return CAIRN_OK;
}

VERB(repair)
{
	if (argument(a, "dir"))
		return run_cairnd(c, argument(a, "dir"), argument(a, "config"), "--repair", NULL);
	cairn_fail(&c->error, CAIRN_E_INVALID,
		   "a volume is repaired while no daemon uses it: repair needs --dir DATA");
	cairn_hint(&c->error, "'cairn check' looks at a volume that is served");
	return CAIRN_E_INVALID;
}

VERB(check)
{
	struct cairn_msg m = { 0 };
	struct cairn_reply r = { 0 };
	struct progress progress;
	char digest[64];
	enum cairn_code code;

	if (argument(a, "dir"))
		return run_cairnd(c, argument(a, "dir"), argument(a, "config"), "--check", NULL);
	upkeep(c, a, &m, CAIRN_OP_CHECK);
	progress_begin(&progress, c, "checked", 0);
	code = call_stream(c, &m, check_event, &progress, &r);
	progress_end(&progress);
	if (code == CAIRN_OK && c->format == FORMAT_JSON)
		out_json(c, r.fields);
	else if (code == CAIRN_OK)
		out_line("%s is sound: %llu key%s in %llu rows, revision %llu, digest %s", volume_name(c, a),
			 (unsigned long long)cairn_field_u64(r.fields, CAIRN_F_KEYS, 0),
			 cairn_field_u64(r.fields, CAIRN_F_KEYS, 0) == 1 ? "" : "s",
			 (unsigned long long)cairn_field_u64(r.fields, CAIRN_F_COUNT, 0),
			 (unsigned long long)cairn_field_u64(r.fields, CAIRN_F_REVISION, 0),
			 field_text(r.fields, CAIRN_F_DIGEST, digest, sizeof(digest)));
	cairn_reply_free(&r);
	return code;
}

VERB(compact)
{
	struct cairn_msg m = { 0 };
	struct cairn_reply r = { 0 };
	char before[TEXT_SIZE], after[TEXT_SIZE];
	enum cairn_code code;

	upkeep(c, a, &m, CAIRN_OP_COMPACT);
	code = call(c, &m, &r);
	if (code == CAIRN_OK && c->format == FORMAT_JSON) {
		out_json(c, r.fields);
	} else if (code == CAIRN_OK) {
		text_size(cairn_field_u64(r.fields, CAIRN_F_BEFORE, 0), before);
		text_size(cairn_field_u64(r.fields, CAIRN_F_AFTER, 0), after);
		out_line("%s took %s, and takes %s now", volume_name(c, a), before, after);
	}
	cairn_reply_free(&r);
	return code;
}

/* Whether the person at the terminal says yes. */
static bool asked(const struct cli *c, const char *name)
{
	char answer[16] = "";

	if (!c->err_terminal || c->input_used || !isatty(STDIN_FILENO))
		return false;
	fprintf(stderr, "Delete all keys of volume %s, and their history, for ever? [y/N] ", name);
	return fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

VERB(volume_flush)
{
	struct cairn_msg m = { 0 };
	struct cairn_reply r = { 0 };
	const char *name = a->operand[0].text;
	enum cairn_code code;

	if (!argument(a, "yes") && !asked(c, name)) {
		cairn_fail(&c->error, CAIRN_E_INVALID, "flushing %s deletes all its keys for ever", name);
		cairn_hint(&c->error, "if that is meant: cairn volume flush --yes %s", name);
		return CAIRN_E_INVALID;
	}
	cairn_msg_start(&m, CAIRN_OP_FLUSH);
	cairn_msg_text(&m, CAIRN_F_NAME, name);
	if (!c->timeout_ms)
		cairn_msg_u64(&m, CAIRN_F_TIMEOUT_MS, 0);
	code = call(c, &m, &r);
	if (code == CAIRN_OK && c->format == FORMAT_JSON)
		out_json(c, r.fields);
	else if (code == CAIRN_OK)
		out_line("revision %llu: %s is empty",
			 (unsigned long long)cairn_field_u64(r.fields, CAIRN_F_REVISION, 0), name);
	cairn_reply_free(&r);
	return code;
}

/* The conversion ends with the connection: say so, and end as without this. */
static void say_interrupted(int number)
{
	static const char text[] = "\ncairn: interrupted: the volume stays on its engine, unless it was just "
				   "done ('cairn volume "
				   "stats' tells); the same command begins anew\n";

	if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
		_exit(128 + number);
	raise(number);
}

/* Where SIGINT would end us. BEFORE is for afterwards. */
static void watch_interrupts(struct sigaction *before)
{
	struct sigaction say = { .sa_handler = say_interrupted, .sa_flags = (int)SA_RESETHAND };

	sigaction(SIGINT, NULL, before);
	if (before->sa_handler == SIG_DFL)
		sigaction(SIGINT, &say, NULL);
}

VERB(volume_convert)
{
	const char *name = a->operand[0].text, *engine = argument(a, "engine");
	struct cairn_msg m = { 0 };
	struct cairn_reply r = { 0 };
	struct sigaction before;
	struct progress progress;
	char path[PATH_MAX];
	enum cairn_code code;

	if (!engine)
		return cairn_fail(&c->error, CAIRN_E_INVALID,
				  "to which engine? cairn volume convert --engine NAME %s", name);
	/* The daemon has another working folder than ours. */
	if (*engine != '/' && strchr(engine, '/') && realpath(engine, path))
		engine = path;
	cairn_msg_start(&m, CAIRN_OP_CONVERT);
	cairn_msg_text(&m, CAIRN_F_NAME, name);
	cairn_msg_text(&m, CAIRN_F_ENGINE, engine);
	for (size_t i = 1; i < a->count; i++) {
		size_t mark = cairn_msg_open(&m, CAIRN_F_PARAMETER);

		cairn_msg_text(&m, CAIRN_F_SETTING, a->operand[i].text);
		cairn_msg_close(&m, mark);
	}
	if (!c->timeout_ms)
		cairn_msg_u64(&m, CAIRN_F_TIMEOUT_MS, 0);
	watch_interrupts(&before);
	progress_begin(&progress, c, "moved", 0);
	code = call_stream(c, &m, check_event, &progress, &r);
	progress_end(&progress);
	sigaction(SIGINT, &before, NULL);
	if (code == CAIRN_OK && c->format == FORMAT_JSON)
		out_json(c, r.fields);
	else if (code == CAIRN_OK)
		out_line("%s stands on engine %s now: %llu rows moved, revision %llu", name, engine,
			 (unsigned long long)cairn_field_u64(r.fields, CAIRN_F_COUNT, 0),
			 (unsigned long long)cairn_field_u64(r.fields, CAIRN_F_REVISION, 0));
	cairn_reply_free(&r);
	return code;
}
