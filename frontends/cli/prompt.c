/*
 * Lines typed at a terminal. With libedit: editing, a history in the user's state folder, and completion from
 * the same place as the shells'. Without it, or on a terminal that cannot do it, lines are read as they come.
 */
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <fcntl.h>
#include "config.h"
#include "prompt.h"
#include "files.h"
#include "banned.h"

#define PROMPT "cairn> "

/* The next line from standard input without its end, in *LINE, which has ROOM; NULL at the end. */
static char *plain_line(char **line, size_t *room)
{
	ssize_t n;

	fputs(PROMPT, stdout);
	fflush(stdout);
	n = getline(line, room, stdin);
	if (n < 0)
		return NULL;
	if (n && (*line)[n - 1] == '\n')
		(*line)[n - 1] = 0;
	return *line;
}

#ifdef HAVE_EDIT
#include <histedit.h>

#define HISTORY_LINES 1000

struct prompt {
	struct cli *c;
	EditLine *el; /* NULL: plain reading */
	History *history;
	char file[4096]; /* of the history; empty: none */
	char *line;
	size_t room;
};

/* What completion found for one word. */
struct found {
	char *common; /* what all candidates begin with; owned */
	struct words list;
};

static char *prompt(EditLine *el)
{
	static char text[] = PROMPT;

	(void)el;
	return text;
}

static void collect(void *arg, const char *candidate, const char *help)
{
	struct found *f = arg;
	size_t n = 0;

	(void)help;
	if (!words_add(&f->list, candidate, strlen(candidate)))
		return;
	if (!f->common) {
		f->common = strdup(candidate);
		return;
	}
	while (f->common[n] && f->common[n] == candidate[n])
		n++;
	f->common[n] = 0;
}

/* Where the last word of the N bytes at LINE begins: behind the last blank that is not quoted. */
static size_t word_start(const char *line, size_t n)
{
	for (size_t i = n; i > 0; i--) {
		struct words w = { 0 };
		bool whole;

		if (line[i - 1] != ' ' && line[i - 1] != '\t')
			continue;
		whole = words_split(&w, cairn_slice(line, i));
		words_free(&w);
		if (whole)
			return i;
	}
	return 0;
}

static void list_candidates(const struct prompt *e, const struct found *f)
{
	putchar('\n');
	for (size_t i = 0; i < f->list.count; i++) {
		text_quote(stdout, word_slice(&f->list.list[i]), e->c->utf8);
		putchar(i + 1 < f->list.count ? ' ' : '\n');
	}
	fflush(stdout);
}

/* Put TEXT, quoted, in the place of the DROP characters before the cursor. */
static void replace(struct prompt *e, int drop, const char *text, bool whole)
{
	char *quoted = NULL;
	size_t len;
	FILE *f = open_memstream(&quoted, &len);

	if (!f)
		return;
	text_quote(f, cairn_str(text), e->c->utf8);
	if (whole && text[strlen(text) - 1] != '/')
		fputc(' ', f);
	fclose(f);
	el_deletestr(e->el, drop);
	el_insertstr(e->el, quoted);
	free(quoted);
}

static unsigned char tab(EditLine *el, int ch)
{
	const LineInfo *info = el_line(el);
	size_t n = (size_t)(info->cursor - info->buffer), start = word_start(info->buffer, n);
	struct words w = { 0 };
	struct found f = { 0 };
	unsigned char result = CC_NORM;
	struct prompt *e;
	char *raw;

	(void)ch;
	el_get(el, EL_CLIENTDATA, &e);
	words_split(&w, cairn_slice(info->buffer, n));
	if (start == n && !words_add(&w, "", 0))
		return CC_ERROR;
	complete(e->c, w.list, w.count, collect, &f);
	raw = strndup(info->buffer + start, n - start);
	if (!f.list.count || !raw) {
		result = CC_REFRESH_BEEP;
	} else if (f.list.count == 1 || strlen(f.common) > w.list[w.count - 1].len) {
		replace(e, (int)text_width(raw), f.common, f.list.count == 1);
		result = CC_REFRESH;
	} else {
		list_candidates(e, &f);
		result = CC_REDISPLAY;
	}
	free(raw);
	free(f.common);
	words_free(&f.list);
	words_free(&w);
	return result;
}

/* The history's file; it may hold secrets, so it and its folder are the user's alone. */
static void history_file(struct prompt *e)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	int fd;

	if (state && *state == '/')
		snprintf(e->file, sizeof(e->file), "%s/cairn", state);
	else if (home && *home == '/')
		snprintf(e->file, sizeof(e->file), "%s/.local/state/cairn", home);
	if (!e->file[0] || folder_make(e->file) < 0 || strlen(e->file) + 9 > sizeof(e->file)) {
		e->file[0] = 0;
		return;
	}
	memcpy(e->file + strlen(e->file), "/history", 9);
	fd = open(e->file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd >= 0)
		close(fd);
}

static bool plain_terminal(void)
{
	const char *term = getenv("TERM");

	return !term || !*term || strcmp(term, "dumb") == 0 || !isatty(STDOUT_FILENO);
}

struct prompt *prompt_open(struct cli *c)
{
	struct prompt *e = calloc(1, sizeof(*e));
	HistEvent event;

	if (!e)
		return NULL;
	e->c = c;
	if (plain_terminal())
		return e;
	setlocale(LC_CTYPE, "");
	e->el = el_init("cairn", stdin, stdout, stderr);
	e->history = history_init();
	if (!e->el || !e->history)
		return e;
	el_set(e->el, EL_CLIENTDATA, e);
	el_set(e->el, EL_PROMPT, prompt);
	el_set(e->el, EL_EDITOR, "emacs");
	el_set(e->el, EL_SIGNAL, 1);
	el_set(e->el, EL_ADDFN, "cairn-complete", "complete the word", tab);
	el_set(e->el, EL_BIND, "^I", "cairn-complete", NULL);
	el_set(e->el, EL_BIND, "^R", "em-inc-search-prev", NULL);
	history(e->history, &event, H_SETSIZE, HISTORY_LINES);
	history(e->history, &event, H_SETUNIQUE, 1);
	history_file(e);
	if (e->file[0])
		history(e->history, &event, H_LOAD, e->file);
	el_set(e->el, EL_HIST, history, e->history);
	el_source(e->el, NULL);
	return e;
}

static void interrupted(int number)
{
	(void)number;
}

/* A line from libedit. Ctrl-C gives the line up, and a new prompt; behind the prompt it ends what runs, as
 * everywhere. */
static const char *typed_line(struct prompt *e, int *n)
{
	struct sigaction give_up = { .sa_handler = interrupted }, before;
	const char *line;

	sigaction(SIGINT, &give_up, &before);
	do {
		errno = 0;
		*n = 0;
		line = el_gets(e->el, n);
		if (!line && errno == EINTR) {
			el_reset(e->el);
			putchar('\n');
			fflush(stdout);
		}
	} while (!line && errno == EINTR);
	sigaction(SIGINT, &before, NULL);
	return line;
}

char *prompt_line(struct prompt *e)
{
	const char *line;
	HistEvent event;
	int n = 0;

	if (!e->el)
		return plain_line(&e->line, &e->room);
	line = typed_line(e, &n);
	if (!line || n <= 0) {
		putchar('\n');
		return NULL;
	}
	free(e->line);
	e->line = strndup(line, (size_t)n - (line[n - 1] == '\n'));
	if (e->line && *e->line && *e->line != ' ') {
		history(e->history, &event, H_ENTER, e->line);
		/* At once: Ctrl-C while the line runs ends the program. */
		if (e->file[0])
			history(e->history, &event, H_SAVE, e->file);
	}
	return e->line;
}

void prompt_close(struct prompt *e)
{
	if (!e)
		return;
	if (e->history)
		history_end(e->history);
	if (e->el)
		el_end(e->el);
	free(e->line);
	free(e);
}

#else

struct prompt {
	char *line;
	size_t room;
};

struct prompt *prompt_open(struct cli *c)
{
	(void)c;
	return calloc(1, sizeof(struct prompt));
}

char *prompt_line(struct prompt *e)
{
	return plain_line(&e->line, &e->room);
}

void prompt_close(struct prompt *e)
{
	if (e)
		free(e->line);
	free(e);
}

#endif
