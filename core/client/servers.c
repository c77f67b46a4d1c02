/*
 * Which servers a handle talks to. A list is text with commas; without one it is looked for in $CAIRN_SERVER,
 * in the user's file and in the run-time folders, in that order. Paths become absolute at once, because
 * daemons change their folder. A list that cannot be understood is refused with the entry and the reason.
 */
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/un.h>
#include "handle.h"
#include "banned.h"

static enum cairn_code parse_unix(struct server *s, const char *path, struct cairn_error *e)
{
	char *folder = NULL;
	int n;

	if (*path == '/') {
		n = asprintf(&s->name, "unix:%s", path);
	} else {
		folder = getcwd(NULL, 0);
		n = folder ? asprintf(&s->name, "unix:%s/%s", folder, path) : -1;
		free(folder);
	}
	if (n < 0) {
		s->name = NULL;
		return cairn_fail(e, CAIRN_E_INTERNAL, "no memory for the list of servers");
	}
	s->where = s->name + strlen("unix:");
	if (strlen(s->where) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return cairn_fail(e, CAIRN_E_INVALID, "server '%s': a socket's path has at most %zu bytes",
				  s->name, sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
	return CAIRN_OK;
}

/* A host goes to ssh as an argument: one that begins with '-' would be an option. */
static enum cairn_code parse_ssh(struct server *s, const char *host, struct cairn_error *e)
{
	if (!*host || *host == '-' || strpbrk(host, " \t\n'\"\\"))
		return cairn_fail(e, CAIRN_E_INVALID, "server 'ssh:%s': this is not a host", host);
	if (asprintf(&s->name, "ssh:%s", host) < 0) {
		s->name = NULL;
		return cairn_fail(e, CAIRN_E_INTERNAL, "no memory for the list of servers");
	}
	s->ssh = true;
	s->where = s->name + strlen("ssh:");
	return CAIRN_OK;
}

static enum cairn_code parse_one(struct server *s, const char *text, struct cairn_error *e)
{
	if (strncmp(text, "unix:", 5) == 0 && text[5])
		return parse_unix(s, text + 5, e);
	if (strncmp(text, "ssh:", 4) == 0)
		return parse_ssh(s, text + 4, e);
	if (strchr(text, '/'))
		return parse_unix(s, text, e);
	cairn_fail(e, CAIRN_E_INVALID, "server '%s' is not understood", text);
	cairn_hint(e, "a server is unix:PATH, ssh:HOST or a path with a slash; several are joined by commas");
	return CAIRN_E_INVALID;
}

enum cairn_code servers_parse(struct cairn *c, const char *list, struct cairn_error *e)
{
	char *copy = strdup(list), *rest = copy, *one;
	enum cairn_code code = copy ? CAIRN_OK : cairn_fail(e, CAIRN_E_INTERNAL, "no memory");

	while (!code && (one = strsep(&rest, ","))) {
		struct server *more;

		one += strspn(one, " \t");
		for (size_t n = strlen(one); n && strchr(" \t", one[n - 1]); n--)
			one[n - 1] = 0;
		if (!*one)
			continue;
		more = realloc(c->servers, (c->server_count + 1) * sizeof(*more));
		if (!more) {
			code = cairn_fail(e, CAIRN_E_INTERNAL, "no memory for the list of servers");
			break;
		}
		c->servers = more;
		more[c->server_count] = (struct server){ 0 };
		code = parse_one(&more[c->server_count++], one, e);
	}
	free(copy);
	if (!code && !c->server_count)
		code = cairn_fail(e, CAIRN_E_INVALID, "the list of servers '%s' names none", list);
	return code;
}

void servers_free(struct cairn *c)
{
	for (size_t i = 0; i < c->server_count; i++)
		free(c->servers[i].name);
	free(c->servers);
}

/* The only server there is. */
static enum cairn_code fail_one(const struct server *s, bool silent, struct cairn_error *e)
{
	enum cairn_code code = CAIRN_E_UNAVAILABLE;

	if (silent) {
		cairn_fail(e, code, "no answer from %s: it %s and says nothing", s->name,
			   s->ssh ? "is connected to" : "takes connections");
		cairn_hint(e, "%s",
			   s->ssh ? "see whether ssh reaches that host"
				  : "cairnd there stands still or has too much to do; its log may say why");
	} else if (s->err == EACCES || s->err == EPERM) {
		code = cairn_fail(e, CAIRN_E_DENIED, "you may not connect to %s", s->name);
		cairn_hint(e, "control.mode and control.group in cairnd.conf(5) say who may");
	} else if (s->ssh) {
		cairn_fail(e, code, "no answer from %s: %s", s->name, s->why);
		cairn_hint(e, "it runs 'ssh %.100s cairn proxy'", s->where);
	} else {
		cairn_fail(e, code, "no cairnd at %s: %s", s->name, s->why);
		cairn_hint(e, "start one with cairnd, or name another with -s or $CAIRN_SERVER");
	}
	return code;
}

enum cairn_code servers_fail(const struct cairn *c, struct cairn_error *e)
{
	char text[sizeof(e->message)] = "";
	size_t at = 0;

	if (c->server_count == 1)
		return fail_one(&c->servers[0], c->connection.state == CONNECTION_GREETING, e);
	for (size_t i = 0; i < c->server_count && at < sizeof(text); i++) {
		const struct server *s = &c->servers[i];

		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s (%s)", i ? ", " : "", s->name,
				       s->why[0] ? s->why : "not reached in time");
	}
	cairn_fail(e, CAIRN_E_UNAVAILABLE, "none of %zu servers answers: %s", c->server_count, text);
	cairn_hint(e, "start one with cairnd, or name another with -s or $CAIRN_SERVER");
	return CAIRN_E_UNAVAILABLE;
}

/* Append ONE to the list in BUFFER. False where it does not fit. */
static bool add(char *buffer, size_t len, const char *prefix, const char *one)
{
	size_t at = strlen(buffer);
	int n = snprintf(buffer + at, len - at, "%s%s%s", at ? "," : "", prefix, one);

	if (n >= 0 && (size_t)n < len - at)
		return true;
	buffer[at] = 0;
	return false;
}

/* The user's file: one server a line, # begins a comment. */
static void from_file(char *buffer, size_t len)
{
	const char *base = secure_getenv("XDG_CONFIG_HOME"), *home = secure_getenv("HOME");
	char path[4096], line[512];
	FILE *f;

	if (base && *base == '/')
		snprintf(path, sizeof(path), "%s/cairn/servers", base);
	else if (home && *home)
		snprintf(path, sizeof(path), "%s/.config/cairn/servers", home);
	else
		return;
	f = fopen(path, "re");
	if (!f)
		return;
	while (fgets(line, sizeof(line), f)) {
		char *start = line + strspn(line, " \t");

		start[strcspn(start, "#\r\n")] = 0;
		for (size_t n = strlen(start); n && strchr(" \t", start[n - 1]); n--)
			start[n - 1] = 0;
		if (*start && !add(buffer, len, "", start))
			break;
	}
	fclose(f);
}

/* The sockets in FOLDER/cairn whose names fit PATTERN: one folder's, since two folders may hold two clusters.
 */
static bool from_folder(char *buffer, size_t len, const char *folder, const char *pattern)
{
	char path[4096];
	glob_t found;

	if (!folder || *folder != '/' ||
	    snprintf(path, sizeof(path), "%s/%s", folder, pattern) >= (int)sizeof(path) ||
	    glob(path, GLOB_NOESCAPE, NULL, &found) != 0)
		return false;
	for (size_t i = 0; i < found.gl_pathc; i++)
		if (!add(buffer, len, "unix:", found.gl_pathv[i]))
			break;
	globfree(&found);
	return buffer[0] != 0;
}

bool cairn_find_servers(char *buffer, size_t len)
{
	const char *given = secure_getenv("CAIRN_SERVER"), *data = secure_getenv("XDG_DATA_HOME");

	if (!len)
		return false;
	buffer[0] = 0;
	if (given && *given)
		return add(buffer, len, "", given);
	from_file(buffer, len);
	return buffer[0] || from_folder(buffer, len, secure_getenv("XDG_RUNTIME_DIR"), "cairn/*.sock") ||
		from_folder(buffer, len, "/run", "cairn/*.sock") ||
		(data && *data == '/'
			 ? from_folder(buffer, len, data, "cairn/cairn.sock")
			 : from_folder(buffer, len, secure_getenv("HOME"), ".local/share/cairn/cairn.sock"));
}
