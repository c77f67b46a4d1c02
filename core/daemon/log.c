/*
 * Lines of the log: put together in a buffer on the stack and written with one write(2), so lines of several
 * threads never mix and no lock is held. A line that is too long is cut at a whole field. A log that cannot
 * be written is not worth stopping for: the failure is ignored.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "clock.h"
#include "log.h"
#include "nearest.h"
#include "banned.h"

#define LINE_MAX_BYTES 4096

struct log {
	_Atomic unsigned char level[LOG_MODULE_COUNT];
	_Atomic bool journald; /* standard error goes to journald: priorities in front, no time */
	_Atomic int fd;        /* number stays while the file behind it may be replaced */
	char *path;            /* owned; NULL is standard error; main thread only */
};

static const char *const level_names[LOG_LEVEL_COUNT] = { "error", "warn", "info", "debug", "trace" };
static const char *const module_names[LOG_MODULE_COUNT] = {
#define X(id, name, help) [LOG_##id] = name,
	LOG_MODULES(X)
#undef X
};

const char *log_level_name(enum log_level level)
{
	return level < LOG_LEVEL_COUNT ? level_names[level] : "?";
}

const char *log_module_name(enum log_module module)
{
	return module < LOG_MODULE_COUNT ? module_names[module] : "?";
}

/* Whether standard error is the stream that systemd named in $JOURNAL_STREAM (device:inode). */
static bool is_journald(void)
{
	const char *text = getenv("JOURNAL_STREAM");
	uintmax_t device, inode;
	struct stat st;

	if (!text || fstat(STDERR_FILENO, &st) < 0)
		return false;
	return sscanf(text, "%ju:%ju", &device, &inode) == 2 && device == st.st_dev && inode == st.st_ino;
}

struct log *log_new(void)
{
	struct log *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	for (int i = 0; i < LOG_MODULE_COUNT; i++)
		l->level[i] = LOG_INFO;
	l->fd = STDERR_FILENO;
	l->journald = is_journald();
	return l;
}

void log_free(struct log *l)
{
	if (!l)
		return;
	if (l->path)
		close(l->fd);
	free(l->path);
	free(l);
}

static int open_file(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0640);

	return fd < 0 ? -errno : fd;
}

int log_to(struct log *l, const char *path)
{
	char *copy;
	int fd;

	if (!path || !*path)
		return 0;
	fd = open_file(path);
	if (fd < 0)
		return fd;
	copy = strdup(path);
	if (!copy) {
		close(fd);
		return -ENOMEM;
	}
	if (l->path)
		close(l->fd);
	free(l->path);
	l->path = copy;
	l->fd = fd;
	l->journald = false;
	return 0;
}

int log_reopen(struct log *l)
{
	int fd, r = 0;

	if (!l->path)
		return 0;
	fd = open_file(l->path);
	if (fd < 0)
		return fd;
	if (dup3(fd, l->fd, O_CLOEXEC) < 0)
		r = -errno;
	close(fd);
	return r;
}

static int name_index(const char *const *names, int count, struct cairn_slice name)
{
	for (int i = 0; i < count; i++)
		if (cairn_slice_eq(cairn_str(names[i]), name))
			return i;
	return -1;
}

static void hint(struct cairn_error *error, struct cairn_slice word, const char *const *list, size_t n)
{
	char text[32];
	const char *near;

	snprintf(text, sizeof(text), "%.*s", (int)word.len, (const char *)word.data);
	near = nearest(text, list, n);
	if (near)
		cairn_hint(error, "did you mean '%s'?", near);
}

/* One part of a specification, "LEVEL" or "MODULE=LEVEL", into LEVELS. */
static enum cairn_code one_level(struct cairn_slice part, unsigned char *levels, struct cairn_error *error)
{
	const char *equals = memchr(part.data, '=', part.len);
	struct cairn_slice module = { part.data, equals ? (size_t)(equals - (const char *)part.data) : 0 };
	struct cairn_slice level = part;
	int m = -1, v;

	if (equals) {
		level = cairn_slice(equals + 1, part.len - module.len - 1);
		m = name_index(module_names, LOG_MODULE_COUNT, module);
		if (m < 0) {
			cairn_fail(error, CAIRN_E_INVALID, "there is no log module '%.*s'", (int)module.len,
				   (const char *)module.data);
			hint(error, module, module_names, LOG_MODULE_COUNT);
			return CAIRN_E_INVALID;
		}
	}
	v = name_index(level_names, LOG_LEVEL_COUNT, level);
	if (v < 0) {
		cairn_fail(error, CAIRN_E_INVALID,
			   "there is no log level '%.*s': error, warn, info, debug, trace", (int)level.len,
			   (const char *)level.data);
		hint(error, level, level_names, LOG_LEVEL_COUNT);
		return CAIRN_E_INVALID;
	}
	if (m >= 0)
		levels[m] = (unsigned char)v;
	else
		memset(levels, v, LOG_MODULE_COUNT);
	return CAIRN_OK;
}

/* A bare level counts first, wherever it stands, so that the order of the parts does not matter. */
static enum cairn_code parse(const char *spec, unsigned char *levels, struct cairn_error *error)
{
	for (int pass = 0; pass < 2; pass++)
		for (const char *p = spec;;) {
			size_t n = strcspn(p, ",");
			bool bare = !memchr(p, '=', n);

			if (bare == (pass == 0)) {
				enum cairn_code code = one_level(cairn_slice(p, n), levels, error);

				if (code)
					return code;
			}
			if (!p[n])
				break;
			p += n + 1;
		}
	return CAIRN_OK;
}

enum cairn_code log_levels_set(struct log *l, const char *spec, struct cairn_error *error)
{
	unsigned char levels[LOG_MODULE_COUNT];
	enum cairn_code code;

	for (int i = 0; i < LOG_MODULE_COUNT; i++)
		levels[i] = l->level[i];
	code = parse(spec, levels, error);
	for (int i = 0; code == CAIRN_OK && i < LOG_MODULE_COUNT; i++)
		l->level[i] = levels[i];
	return code;
}

enum cairn_code log_levels_check(const char *spec, struct cairn_error *error)
{
	unsigned char levels[LOG_MODULE_COUNT];

	return parse(spec, levels, error);
}

enum log_level log_level(const struct log *l, enum log_module module)
{
	return (enum log_level)l->level[module];
}

bool log_wants(const struct log *l, enum log_module module, enum log_level level)
{
	return level <= atomic_load_explicit(&l->level[module], memory_order_relaxed);
}

struct line {
	char text[LINE_MAX_BYTES];
	size_t len;
	bool full; /* a byte found no room */
};

static void add(struct line *l, char c)
{
	if (l->len < sizeof(l->text) - 1)
		l->text[l->len++] = c;
	else
		l->full = true;
}

static void add_text(struct line *l, const char *text)
{
	while (*text)
		add(l, *text++);
}

/* Bare where nothing in it can be mistaken, else in quotes with escapes; bytes outside ASCII as \xNN. */
static void add_value(struct line *l, struct cairn_slice v)
{
	static const char hex[] = "0123456789abcdef";
	const unsigned char *p = v.data;
	bool bare = v.len > 0;

	for (size_t i = 0; i < v.len; i++)
		bare = bare && p[i] > ' ' && p[i] < 127 && p[i] != '"' && p[i] != '\\' && p[i] != '=';
	if (!bare)
		add(l, '"');
	for (size_t i = 0; i < v.len; i++) {
		unsigned char c = p[i];

		if (c == '\n' || c == '\t' || c == '"' || c == '\\') {
			add(l, '\\');
			add(l, c == '\n' ? 'n' : c == '\t' ? 't' : (char)c);
		} else if (c < ' ' || c >= 127) {
			add_text(l, "\\x");
			add(l, hex[c >> 4]);
			add(l, hex[c & 15]);
		} else {
			add(l, (char)c);
		}
	}
	if (!bare)
		add(l, '"');
}

/* A field that finds no room is left out whole. */
static void add_field(struct line *l, const struct log_field *f)
{
	size_t mark = l->len;
	char number[24];

	add(l, ' ');
	add_text(l, f->key);
	add(l, '=');
	if (f->kind == LOG_FIELD_NUMBER) {
		snprintf(number, sizeof(number), "%" PRId64, f->number);
		add_text(l, number);
	} else {
		add_value(l, f->kind == LOG_FIELD_BYTES ? f->bytes : cairn_str(f->text));
	}
	if (l->full)
		l->len = mark;
	l->full = false;
}

void log_write(struct log *l, enum log_module module, enum log_level level, const char *message,
	       const struct log_field *fields)
{
	static const char priorities[LOG_LEVEL_COUNT][4] = { "<3>", "<4>", "<6>", "<7>", "<7>" };
	struct line line = { .len = 0 };
	char now[CLOCK_TEXT];
	ssize_t n;

	if (l->journald)
		add_text(&line, priorities[level]);
	add_text(&line, "level=");
	add_text(&line, level_names[level]);
	add_field(&line, &LOG_TEXT("msg", message));
	for (; fields->kind != LOG_FIELD_END; fields++)
		add_field(&line, fields);
	add_field(&line, &LOG_TEXT("module", module_names[module]));
	if (!l->journald) {
		clock_format(clock_wall_ns(), now);
		add_field(&line, &LOG_TEXT("time", now));
	}
	line.text[line.len++] = '\n';
	do
		n = write(l->fd, line.text, line.len);
	while (n < 0 && errno == EINTR);
}
