/*
 * edit: a value in the user's editor. The value goes into a file that only its user can read, in a folder of
 * its own; what the editor leaves there is written if the key is still at the revision that was read. The
 * folder is removed, whatever happens, but where a text could not be written: then it is kept and named.
 * Signals wait until that is done.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "cli.h"
#include "files.h"
#include "banned.h"

#define TEXT_MAX (1ull << 32)

struct draft {
	struct cli *c;
	struct cairn_slice key;
	bool exists;
	uint64_t revision; /* that was read */
	struct whole old;
	char folder[4096], path[4096 + 120];
	sigset_t mask; /* of signals, as it was */
	bool keep;     /* the text, for its user */
};

/* Whether an editor can be trusted to give back the bytes S that nobody touched. */
static bool is_text(struct cairn_slice s)
{
	const char *p = s.data;

	for (size_t i = 0, n; i < s.len; i += n) {
		bool plain = p[i] == '\n' || p[i] == '\t' || p[i] == '\r' || p[i] == '\f' || p[i] == '\033';

		n = plain ? 1 : text_character(cairn_slice(p + i, s.len - i), true);
		if (n == 0)
			return false;
	}
	return true;
}

/* The value that is there now. */
static enum cairn_code fetch(struct draft *d, bool force)
{
	struct cairn *client = cli_client(d->c);
	struct cairn_reply r = { 0 };
	struct cairn_msg m = { 0 };
	struct cairn_slice kind;
	enum cairn_code code;

	if (!client)
		return d->c->error.code;
	request(d->c, &m, CAIRN_OP_GET);
	cairn_msg_bytes(&m, CAIRN_F_KEY, d->key);
	code = cairn_get_stream(client, &m, whole_write, &d->old, &r);
	d->exists = code != CAIRN_E_NOT_FOUND;
	d->revision = cairn_field_u64(r.fields, CAIRN_F_REVISION, 0);
	if (!d->exists) {
		/* A volume that is not there is found out before the text is typed. */
		cairn_msg_free(&m);
		cairn_reply_free(&r);
		request(d->c, &m, CAIRN_OP_VOLUME_STATS);
		code = cairn_call(client, &m, &r);
	}
	if (code != CAIRN_OK) {
		d->c->error = r.error;
	} else if (d->exists && cairn_field_find(r.fields, CAIRN_F_KIND, &kind) &&
		   *(const unsigned char *)kind.data != CAIRN_KIND_VALUE) {
		code = cairn_fail(&d->c->error, CAIRN_E_INVALID, "it is a %s, and has no text",
				  cairn_kind_name(*(const unsigned char *)kind.data));
	} else if (!force && !is_text(cairn_slice(d->old.data, d->old.len))) {
		code = cairn_fail(&d->c->error, CAIRN_E_INVALID,
				  "the value is no text: an editor might change what nobody edits");
		cairn_hint(&d->c->error, "--force opens it all the same");
	}
	cairn_msg_free(&m);
	cairn_reply_free(&r);
	return code;
}

static enum cairn_code file_failed(struct draft *d, const char *path)
{
	return cairn_fail(&d->c->error, cairn_error_from_errno(errno), "%.200s: %s", path, strerror(errno));
}

/* The folder and the file, whose name ends as the key does: editors look at that. */
static enum cairn_code make_file(struct draft *d)
{
	static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-+";
	const char *tmp = getenv("TMPDIR"), *slash = memrchr(d->key.data, '/', d->key.len);
	const char *base = slash ? slash + 1 : d->key.data;
	char name[101] = "";
	size_t n = d->key.len - (size_t)(base - (const char *)d->key.data), done = 0;
	int fd;

	snprintf(d->folder, sizeof(d->folder), "%.*s/cairn-edit.XXXXXX", 3000,
		 tmp && *tmp == '/' ? tmp : "/tmp");
	if (!mkdtemp(d->folder)) {
		file_failed(d, d->folder);
		d->folder[0] = 0;
		return d->c->error.code;
	}
	for (size_t i = n > 100 ? n - 100 : 0; i < n; i++)
		name[strlen(name)] = base[i] && strchr(good, base[i]) ? base[i] : '_';
	snprintf(d->path, sizeof(d->path), "%s/%s%s", d->folder, name[0] && name[0] != '.' ? "" : "value",
		 name);
	fd = open(d->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	while (fd >= 0 && done < d->old.len) {
		ssize_t got = write(fd, d->old.data + done, d->old.len - done);

		if (got < 0 && errno != EINTR)
			break;
		done += got > 0 ? (size_t)got : 0;
	}
	if (fd < 0 || done < d->old.len)
		file_failed(d, d->path);
	if (fd >= 0)
		close(fd);
	return d->c->error.code;
}

/* Run the editor to its end. What the terminal sends is its business; other signals are handed on to it. */
static enum cairn_code run_editor(struct draft *d)
{
	const char *visual = getenv("VISUAL"), *editor = getenv("EDITOR"), *program;
	sigset_t set;
	char *command;
	int status, got;
	pid_t pid;

	program = visual && *visual ? visual : editor && *editor ? editor : "vi";
	if (asprintf(&command, "exec %s \"$1\"", program) < 0)
		no_memory();
	pid = fork();
	if (pid == 0) {
		sigprocmask(SIG_SETMASK, &d->mask, NULL);
		execl("/bin/sh", "sh", "-c", command, "sh", d->path, (char *)NULL);
		_exit(127);
	}
	free(command);
	if (pid < 0)
		return cairn_fail(&d->c->error, CAIRN_E_INTERNAL, "no process: %s", strerror(errno));
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	while (waitpid(pid, &status, WNOHANG) == 0) {
		got = sigwaitinfo(&set, NULL);
		if (got == SIGTERM || got == SIGHUP) {
			d->c->status = 128 + got;
			kill(pid, got);
		}
	}
	if (!d->c->status && WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return CAIRN_OK;
	return cairn_fail(&d->c->error, CAIRN_E_INVALID,
			  "the editor '%.100s' ended with status %d; nothing was written", program,
			  WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

/* What the editor has left, without the newline that it has put behind a value that had none. */
static enum cairn_code read_back(struct draft *d, char **text, size_t *len)
{
	bool had = !d->old.len || d->old.data[d->old.len - 1] == '\n';
	struct stat st;
	int r;

	if (stat(d->path, &st) == 0 && !S_ISREG(st.st_mode)) /* opening a fifo would wait for ever */
		return cairn_fail(&d->c->error, CAIRN_E_INVALID,
				  "the editor left no file at %.200s; nothing was written", d->path);
	r = file_read(AT_FDCWD, d->path, TEXT_MAX, text, len);
	if (r < 0) {
		errno = -r;
		return file_failed(d, d->path);
	}
	if (!had && *len && (*text)[*len - 1] == '\n')
		(*len)--;
	return CAIRN_OK;
}

/* Say what to do about a text that was not written. */
static void keep(struct draft *d)
{
	struct cairn_error *e = &d->c->error;
	char why[sizeof(e->message)];

	d->keep = true;
	memcpy(why, e->message, sizeof(why));
	if (e->code != CAIRN_E_CONFLICT || is_lost_lock(e)) {
		cairn_fail(e, e->code, "%.300s; the text is kept in %.150s", why, d->path);
		return;
	}
	if (d->exists)
		cairn_fail(e, e->code, "the key was changed since revision %llu; the text is kept in %.150s",
			   (unsigned long long)d->revision, d->path);
	else
		cairn_fail(e, e->code, "the key was made meanwhile; the text is kept in %.150s", d->path);
	cairn_hint(e, "'cairn get KEY | diff - FILE' shows what differs, 'cairn put KEY @FILE' writes it");
}

static enum cairn_code write_back(struct draft *d, struct cairn_slice text)
{
	struct value v = { .text = text, .fd = -1 };
	struct cairn *client = cli_client(d->c);
	struct cairn_reply r = { 0 };
	struct cairn_msg m = { 0 };
	enum cairn_code code;
	size_t mark;

	request(d->c, &m, CAIRN_OP_PUT);
	cairn_msg_bytes(&m, CAIRN_F_KEY, d->key);
	if (d->exists)
		cairn_msg_bool(&m, CAIRN_F_KEEP_EXPIRY, true);
	mark = cairn_msg_open(&m, CAIRN_F_GUARD);
	cairn_msg_bytes(&m, CAIRN_F_KEY, d->key);
	cairn_msg_u64(&m, CAIRN_F_REVISION, d->exists ? d->revision : 0);
	cairn_msg_close(&m, mark);
	code = cairn_put_stream(client, &m, value_read, &v, &r);
	if (code == CAIRN_OK && d->c->format == FORMAT_JSON)
		out_json(d->c, r.fields);
	else if (code == CAIRN_OK)
		out_line("revision %llu", (unsigned long long)cairn_field_u64(r.fields, CAIRN_F_REVISION, 0));
	if (code != CAIRN_OK) {
		d->c->error = r.error;
		keep(d);
	}
	cairn_msg_free(&m);
	cairn_reply_free(&r);
	return code;
}

/* From the file on. */
static enum cairn_code edit(struct draft *d)
{
	enum cairn_code code = make_file(d);
	char *text = NULL;
	size_t len = 0;

	if (code == CAIRN_OK)
		code = run_editor(d);
	if (code == CAIRN_OK)
		code = read_back(d, &text, &len);
	if (code == CAIRN_OK && cairn_slice_eq(cairn_slice(text, len), cairn_slice(d->old.data, d->old.len)))
		fprintf(stderr, "cairn: unchanged, nothing was written\n");
	else if (code == CAIRN_OK)
		code = write_back(d, cairn_slice(text, len));
	free(text);
	if (!d->keep && d->folder[0])
		folder_remove(AT_FDCWD, d->folder);
	return code;
}

VERB(edit)
{
	struct draft d = { .c = c };
	struct key k;
	sigset_t set;
	enum cairn_code code;

	if (c->input_used)
		return cairn_fail(&c->error, CAIRN_E_INVALID,
				  "standard input holds the commands, no editor can use it");
	code = key_take(c, &a->operand[0], &k);
	if (code != CAIRN_OK)
		return code;
	d.key = k.name;
	code = fetch(&d, argument(a, "force") != NULL);
	if (code == CAIRN_OK) {
		fflush(NULL);
		sigfillset(&set);
		sigdelset(&set, SIGTSTP);
		sigprocmask(SIG_SETMASK, &set, &d.mask);
		code = edit(&d);
		if (c->status) /* a signal ended it: that needs no sentence */
			code = CAIRN_OK;
		sigprocmask(SIG_SETMASK, &d.mask, NULL);
	}
	free(d.old.data);
	key_free(&k);
	return code;
}
