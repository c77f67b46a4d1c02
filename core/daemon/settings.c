/*
 * Settings: values for the rows of the table, from defaults, the configuration file, the environment and the
 * command line, in that order. Each value is checked when it is given, so that the refusal can name the file
 * and the line; what depends on several settings is checked once at the end, in settings_finish.
 */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>
#include "amount.h"
#include "config.h"
#ifdef HAVE_INIH
#include <ini.h>
#endif
#include <cairn/slice.h>
#include "log.h"
#include "nearest.h"
#include "settings.h"
#include "banned.h"

struct value {
	char *text;              /* owned; as it was given, paths made absolute */
	char *where;             /* owned; NULL is the default */
	_Atomic uint64_t number; /* what the text means, for types that have a number */
	unsigned line;           /* of the file being read; 0: not given there */
};

struct settings {
	struct value values[SETTING_COUNT];
	struct setting_gateway *gateways;
};

static const struct setting_row rows[SETTING_COUNT] = {
#define X(id, section, key, type, fallback, least, most, live, letter, option, help) \
	[SETTING_## \
		id] = { section, key, SETTING_T_##type, fallback, least, most, live, letter, option, help },
	SETTINGS(X)
#undef X
};

static const char *const names[SETTING_COUNT] = {
#define X(id, section, key, type, fallback, least, most, live, letter, option, help) \
	[SETTING_##id] = section "." key,
	SETTINGS(X)
#undef X
};

const struct setting_row *setting_row(enum setting id)
{
	return &rows[id];
}

const char *setting_type_name(enum setting_type type)
{
	static const char *const type_names[] = {
		[SETTING_T_TEXT] = "text", [SETTING_T_PATH] = "path",     [SETTING_T_NUMBER] = "number",
		[SETTING_T_SIZE] = "size", [SETTING_T_BOOL] = "yes|no",   [SETTING_T_MODE] = "mode",
		[SETTING_T_NAME] = "name", [SETTING_T_LEVELS] = "levels",
	};

	return type_names[type];
}

static bool parse_digits(const char *text, int base, uint64_t *v, const char **end)
{
	char *e;

	errno = 0;
	*v = strtoull(text, &e, base);
	*end = e;
	return isdigit((unsigned char)text[0]) && errno == 0;
}

static bool parse_name(const char *text)
{
	size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

	return n > 0 && n < 64 && text[n] == 0 && text[0] != '-' && text[0] != '.';
}

/* TEXT as the number that it stands for. Returns NULL, or what is asked for instead. */
static const char *parse_value(const struct setting_row *row, const char *text, uint64_t *v)
{
	struct cairn_slice rest = cairn_str(text);
	const char *end;

	switch (row->type) {
	case SETTING_T_NUMBER:
		return amount_number(&rest, v) && !rest.len ? NULL : "a number";
	case SETTING_T_SIZE:
		return amount_bytes(rest, v) ? NULL : "a number of bytes, with K, M, G or T behind it";
	case SETTING_T_MODE:
		return parse_digits(text, 8, v, &end) && !*end ? NULL : "permission bits such as 0660";
	case SETTING_T_BOOL:
		*v = !strcmp(text, "yes");
		return *v || !strcmp(text, "no") ? NULL : "yes or no";
	case SETTING_T_NAME:
		return parse_name(text) ? NULL : "1 to 63 letters, digits, '.', '_' or '-'";
	case SETTING_T_TEXT:
	case SETTING_T_PATH:
	case SETTING_T_LEVELS:
		break;
	}
	return NULL;
}

/* Whether the file format gives TEXT back as it is: no control bytes, no blanks around it, no " ;" in it. */
static bool is_writable(const char *text)
{
	size_t n = strlen(text);

	for (size_t i = 0; i < n; i++)
		if (iscntrl((unsigned char)text[i]))
			return false;
	return n == 0 || (text[0] != ' ' && text[n - 1] != ' ' && text[0] != ';' && !strstr(text, " ;"));
}

static enum cairn_code check_value(const struct setting_row *row, const char *text, uint64_t *v,
				   struct cairn_error *error)
{
	const char *wanted;
	enum cairn_code code;

	*v = 0;
	if (!is_writable(text))
		return cairn_fail(
			error, CAIRN_E_INVALID,
			"%s.%s: control characters, blanks at the ends and ' ;' are not possible in a value",
			row->section, row->key);
	if (!*text && !*row->fallback)
		return CAIRN_OK;
	if (row->type == SETTING_T_LEVELS) {
		code = log_levels_check(text, error);
		if (code)
			cairn_error_prefix(error, "%s.%s", row->section, row->key);
		return code;
	}
	wanted = parse_value(row, text, v);
	if (wanted)
		return cairn_fail(error, CAIRN_E_INVALID, "%s.%s is %s, not '%s'", row->section, row->key,
				  wanted, text);
	if (row->most && (*v < row->least || *v > row->most)) {
		const char *format = row->type == SETTING_T_MODE ? "%s.%s is %#lo to %#lo, not '%s'"
								 : "%s.%s is %lu to %lu, not '%s'";

		return cairn_fail(error, CAIRN_E_INVALID, format, row->section, row->key,
				  (unsigned long)row->least, (unsigned long)row->most, text);
	}
	return CAIRN_OK;
}

/* A path as it is kept: absolute, "~/" replaced. NULL when there is no memory. */
static char *make_path(const char *text)
{
	char *path = NULL, *here;
	int n;

	if (!*text || *text == '/')
		return strdup(text);
	if (text[0] == '~' && text[1] == '/' && getenv("HOME")) {
		n = asprintf(&path, "%s/%s", getenv("HOME"), text + 2);
		return n < 0 ? NULL : path;
	}
	here = getcwd(NULL, 0);
	n = asprintf(&path, "%s/%s", here ? here : "", text);
	free(here);
	return n < 0 ? NULL : path;
}

/* The text as it is kept. A plugin given by a path goes where it lay when it was named. */
static char *make_text(enum setting id, const char *text)
{
	if (rows[id].type == SETTING_T_PATH || (id == SETTING_VOLUME_ENGINE && strchr(text, '/')))
		return make_path(text);
	return strdup(text);
}

static enum cairn_code set(struct settings *s, enum setting id, const char *text, const char *where,
			   struct cairn_error *error)
{
	struct value *v = &s->values[id];
	enum cairn_code code;
	uint64_t number;
	char *copy, *place;

	code = check_value(&rows[id], text, &number, error);
	if (code)
		return code;
	copy = make_text(id, text);
	place = where ? strdup(where) : NULL;
	if (!copy || (where && !place)) {
		free(copy);
		free(place);
		return cairn_fail(error, CAIRN_E_INTERNAL, "no memory for %s", names[id]);
	}
	free(v->text);
	free(v->where);
	v->text = copy;
	v->where = place;
	v->number = number;
	return CAIRN_OK;
}

struct settings *settings_new(void)
{
	struct settings *s = calloc(1, sizeof(*s));

	for (int i = 0; s && i < SETTING_COUNT; i++)
		if (set(s, (enum setting)i, rows[i].fallback, NULL, NULL)) {
			settings_free(s);
			s = NULL;
		}
	return s;
}

void settings_free(struct settings *s)
{
	if (!s)
		return;
	for (int i = 0; i < SETTING_COUNT; i++) {
		free(s->values[i].text);
		free(s->values[i].where);
	}
	while (s->gateways) {
		struct setting_gateway *g = s->gateways;

		s->gateways = g->next;
		free(g->name);
		free(g->pair);
		free(g->where);
		free(g);
	}
	free(s);
}

int setting_find(const char *name, struct cairn_error *error)
{
	const char *near = NULL, *dot = strchr(name, '.');

	for (int i = 0; i < SETTING_COUNT; i++)
		if (!strcmp(names[i], name))
			return i;
	cairn_fail(error, CAIRN_E_INVALID, "there is no setting '%s'", name);
	for (int i = 0; dot && i < SETTING_COUNT; i++) /* the right key in a wrong section */
		if (!strcmp(dot + 1, rows[i].key))
			near = names[i];
	if (!near)
		near = nearest(name, names, SETTING_COUNT);
	if (near)
		cairn_hint(error, "did you mean '%s'?", near);
	return -1;
}

/* The key in "gateway.NAME.KEY"; NULL where NAME is none of these. */
static const char *gateway_key(const char *name)
{
	const char *dot = strncmp(name, "gateway.", 8) ? NULL : strchr(name + 8, '.');

	return dot && dot > name + 8 && dot[1] ? dot + 1 : NULL;
}

const struct setting_gateway *settings_gateways(const struct settings *s)
{
	return s->gateways;
}

/* The entry for "gateway.NAME.KEY", and the place where a new one goes. */
static struct setting_gateway *find_gateway(struct settings *s, const char *name,
					    struct setting_gateway ***end)
{
	const char *key = gateway_key(name);
	size_t length = (size_t)(key - 1 - (name + 8)), key_length = strlen(key);
	struct setting_gateway **p = &s->gateways;

	for (; *p; p = &(*p)->next)
		if (!strncmp((*p)->name, name + 8, length) && !(*p)->name[length] &&
		    !strncmp((*p)->pair, key, key_length) && (*p)->pair[key_length] == '=')
			return *p;
	*end = p;
	return NULL;
}

static enum cairn_code set_gateway(struct settings *s, const char *name, const char *text, const char *where,
				   struct cairn_error *error)
{
	const char *key = gateway_key(name);
	struct setting_gateway **end = NULL, *g = find_gateway(s, name, &end);
	char *pair = NULL, *place = strdup(where ? where : "");

	if (!is_writable(text)) {
		free(place);
		return cairn_fail(
			error, CAIRN_E_INVALID,
			"%s: control characters, blanks at the ends and ' ;' are not possible in a value",
			name);
	}
	if (asprintf(&pair, "%s=%s", key, text) < 0)
		pair = NULL;
	if (!g && (g = calloc(1, sizeof(*g)))) {
		g->name = strndup(name + 8, (size_t)(key - 1 - (name + 8)));
		if (g->name)
			*end = g;
	}
	if (!g || !g->name || !pair || !place) {
		if (g && !g->name)
			free(g);
		free(pair);
		free(place);
		return cairn_fail(error, CAIRN_E_INTERNAL, "no memory for %s", name);
	}
	free(g->pair);
	free(g->where);
	g->pair = pair;
	g->where = place;
	return CAIRN_OK;
}

enum cairn_code settings_set(struct settings *s, const char *name, const char *text, const char *where,
			     struct cairn_error *error)
{
	enum cairn_code code;
	int id;

	if (gateway_key(name)) {
		code = set_gateway(s, name, text, where, error);
	} else {
		id = setting_find(name, error);
		code = id < 0 ? CAIRN_E_INVALID : set(s, (enum setting)id, text, where, error);
	}
	if (code)
		cairn_error_prefix(error, "%s", where);
	return code;
}

const char *setting_text(const struct settings *s, enum setting id)
{
	return s->values[id].text;
}

uint64_t setting_number(const struct settings *s, enum setting id)
{
	return s->values[id].number;
}

const char *setting_where(const struct settings *s, enum setting id)
{
	return s->values[id].where ? s->values[id].where : "default";
}

#ifdef HAVE_INIH
struct reading {
	struct settings *s;
	struct cairn_error *error;
	const char *path;
	FILE *file;
	unsigned line;        /* being read, from 1 */
	bool partial;         /* the last piece had no end of line: the line was too long or the file ended */
	enum cairn_code code; /* of the first refusal */
};

static enum cairn_code refuse(struct reading *r, const char *sentence)
{
	if (!r->code)
		r->code = cairn_fail(r->error, CAIRN_E_INVALID, "%s:%u: %s", r->path, r->line, sentence);
	return r->code;
}

/* fgets for the parser, counting lines; ends the reading at the first refusal. */
static char *read_line(char *to, int size, void *stream)
{
	struct reading *r = stream;

	if (r->code || !fgets(to, size, r->file))
		return NULL;
	if (r->partial) {
		refuse(r, "the line is longer than 198 bytes");
		return NULL;
	}
	r->line++;
	r->partial = !strchr(to, '\n');
	return to;
}

static int take_gateway(struct reading *r, const char *name, const char *text, const char *where)
{
	struct setting_gateway **end, *g = find_gateway(r->s, name, &end);

	if (g && g->line)
		r->code = cairn_fail(r->error, CAIRN_E_INVALID, "%s: %s was given before, on line %u", where,
				     name, g->line);
	else
		r->code = settings_set(r->s, name, text, where, r->error);
	g = r->code ? NULL : find_gateway(r->s, name, &end);
	if (g)
		g->line = r->line;
	return !r->code;
}

static int take_line(void *arg, const char *section, const char *key, const char *text)
{
	struct reading *r = arg;
	char name[128], where[PATH_MAX + 16];
	unsigned *before;
	int id;

	if (r->code || !key)
		return 1;
	snprintf(name, sizeof(name), "%s.%s", section, key);
	snprintf(where, sizeof(where), "%s:%u", r->path, r->line);
	if (!*section)
		return !refuse(r, "a setting stands before the first [section]");
	if (gateway_key(name))
		return take_gateway(r, name, text, where);
	id = setting_find(name, r->error);
	if (id < 0) {
		cairn_error_prefix(r->error, "%s", where);
		r->code = CAIRN_E_INVALID;
		return 0;
	}
	before = &r->s->values[id].line;
	if (*before) {
		r->code = cairn_fail(r->error, CAIRN_E_INVALID, "%s: %s was given before, on line %u", where,
				     name, *before);
		cairn_hint(r->error, "a line that begins with a blank goes on with the value above it");
		return 0;
	}
	*before = r->line;
	r->code = settings_set(r->s, name, text, where, r->error);
	return !r->code;
}

enum cairn_code settings_read(struct settings *s, const char *path, struct cairn_error *error)
{
	struct reading r = { .s = s, .error = error, .path = path, .file = fopen(path, "re") };
	int bad;

	if (!r.file)
		return cairn_fail(error, CAIRN_E_INVALID, "%s: the configuration file cannot be read: %s",
				  path, strerror(errno));
	for (int i = 0; i < SETTING_COUNT; i++)
		s->values[i].line = 0;
	bad = ini_parse_stream(read_line, &r, take_line, &r);
	if (ferror(r.file) && !r.code)
		r.code =
			cairn_fail(error, CAIRN_E_INVALID, "%s: the configuration file cannot be read", path);
	fclose(r.file);
	if (bad && !r.code) {
		r.line = bad > 0 ? (unsigned)bad : 0;
		refuse(&r, "neither [section] nor key = value");
	}
	return r.code;
}
#else
enum cairn_code settings_read(struct settings *s, const char *path, struct cairn_error *error)
{
	(void)s;
	return cairn_fail(error, CAIRN_E_UNSUPPORTED,
			  "%s: this cairnd was built without support for configuration files (inih)", path);
}
#endif

/* Fill in the setting ID, where it is empty, from the formatted text. */
__attribute__((format(printf, 4, 5))) static enum cairn_code
work_out(struct settings *s, enum setting id, struct cairn_error *error, const char *format, ...)
{
	enum cairn_code code;
	char *text = NULL;
	va_list args;
	int n;

	if (*setting_text(s, id))
		return CAIRN_OK;
	va_start(args, format);
	n = vasprintf(&text, format, args);
	va_end(args);
	if (n < 0)
		return cairn_fail(error, CAIRN_E_INTERNAL, "no memory for %s", names[id]);
	code = set(s, id, text, NULL, error);
	free(text);
	return code;
}

static enum cairn_code work_out_name(struct settings *s, struct cairn_error *error)
{
	char name[64] = "";

	gethostname(name, sizeof(name) - 1);
	name[strcspn(name, ".")] = 0;
	return work_out(s, SETTING_NODE_NAME, error, "%s", parse_name(name) ? name : "node");
}

static const char *folder_from(const char *variable)
{
	const char *v = getenv(variable);

	return v && *v == '/' ? v : NULL;
}

static enum cairn_code work_out_paths(struct settings *s, struct cairn_error *error)
{
	const char *data = folder_from("XDG_DATA_HOME"), *home = folder_from("HOME"),
		   *runtime = folder_from("XDG_RUNTIME_DIR");
	enum cairn_code code;

	if (!*setting_text(s, SETTING_NODE_DATA) && !data && !home)
		return cairn_fail(error, CAIRN_E_INVALID,
				  "no data folder: node.data is not given, and neither $XDG_DATA_HOME nor "
				  "$HOME is set");
	code = data ? work_out(s, SETTING_NODE_DATA, error, "%s/cairn", data)
		    : work_out(s, SETTING_NODE_DATA, error, "%s/.local/share/cairn", home ? home : "");
	if (code)
		return code;
	return runtime ? work_out(s, SETTING_CONTROL_SOCKET, error, "%s/cairn/cairn.sock", runtime)
		       : work_out(s, SETTING_CONTROL_SOCKET, error, "%s/cairn.sock",
				  setting_text(s, SETTING_NODE_DATA));
}

/* What one setting alone does not show. */
static enum cairn_code check_together(const struct settings *s, struct cairn_error *error)
{
	size_t longest = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1;
	unsigned mode = (unsigned)setting_number(s, SETTING_CONTROL_MODE);

	if (strlen(setting_text(s, SETTING_CONTROL_SOCKET)) > longest)
		return cairn_fail(error, CAIRN_E_INVALID,
				  "%s: control.socket is longer than the %zu bytes of a socket's path: %s",
				  setting_where(s, SETTING_CONTROL_SOCKET), longest,
				  setting_text(s, SETTING_CONTROL_SOCKET));
	if (*setting_text(s, SETTING_CONTROL_GROUP) && !(mode & 0060))
		return cairn_fail(error, CAIRN_E_INVALID,
				  "%s: control.group is given, but control.mode %s lets no group in",
				  setting_where(s, SETTING_CONTROL_GROUP),
				  setting_text(s, SETTING_CONTROL_MODE));
	if (*setting_text(s, SETTING_VOLUME_PARAMETERS) && !*setting_text(s, SETTING_VOLUME_ENGINE))
		return cairn_fail(
			error, CAIRN_E_INVALID,
			"%s: volume.parameters needs volume.engine, since parameters belong to one engine",
			setting_where(s, SETTING_VOLUME_PARAMETERS));
	return CAIRN_OK;
}

enum cairn_code settings_finish(struct settings *s, struct cairn_error *error)
{
	enum cairn_code code = work_out_name(s, error);

	if (!code)
		code = work_out_paths(s, error);
	return code ? code : check_together(s, error);
}

/* The sections of all gateways, each with all of its settings. */
static void print_gateways(const struct setting_gateway *all, FILE *to)
{
	for (const struct setting_gateway *g = all; g; g = g->next) {
		const struct setting_gateway *first = all;

		while (strcmp(first->name, g->name))
			first = first->next;
		if (first != g) /* printed already */
			continue;
		fprintf(to, "\n[gateway.%s]\n", g->name);
		for (; first; first = first->next)
			if (!strcmp(first->name, g->name))
				fprintf(to, "%.*s = %s\n", (int)strcspn(first->pair, "="), first->pair,
					strchr(first->pair, '=') + 1);
	}
}

void settings_print(const struct settings *s, FILE *to)
{
	const char *section = "";

	for (int i = 0; i < SETTING_COUNT; i++) {
		const struct setting_row *row = &rows[i];
		const char *text = setting_text(s, (enum setting)i);

		if (strcmp(section, row->section))
			fprintf(to, "%s[%s]\n", *section ? "\n" : "", row->section);
		section = row->section;
		fprintf(to, "# %s\n# (%s; default %s; %s)\n", row->help, setting_type_name(row->type),
			*row->fallback ? row->fallback : "as said", row->live ? "live" : "restart");
		fprintf(to, "%s%s = %s\n", *text ? "" : "# ", row->key, text);
	}
	print_gateways(s->gateways, to);
}

void settings_help(FILE *to)
{
	const char *section = "";

	for (int i = 0; i < SETTING_COUNT; i++) {
		const struct setting_row *row = &rows[i];

		if (strcmp(section, row->section))
			fprintf(to, "\n[%s]\n", row->section);
		section = row->section;
		fprintf(to, "  %s=%s", names[i], setting_type_name(row->type));
		if (row->letter)
			fprintf(to, "  (-%c, --%s)", row->letter, row->option);
		fprintf(to, "\n      %s (%s%s%s)\n", row->help, *row->fallback ? "default " : "",
			*row->fallback      ? row->fallback
				: row->live ? "live"
					    : "restart",
			!*row->fallback     ? ""
				: row->live ? ", live"
					    : ", restart");
	}
	fprintf(to,
		"\n[gateway.NAME]\n  gateway.NAME.KEY=VALUE\n      a parameter of a gateway; see cairn "
		"plugin "
		"show NAME (restart)\n");
}
