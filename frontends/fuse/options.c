/*
 * The command line of cairnfs: "cairnfs SERVERS MOUNTPOINT [-o …] [-f]", the form that mount(8) uses too. A
 * row of the table is all that an option needs. What cannot be understood is refused with a sentence.
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "options.h"
#include "banned.h"

enum type { TEXT, NUMBER, OCTAL, FLAG, CHOICE };

/* The options of -o, in the order of --help. A default of NULL is that of the process; that of a
 * CHOICE is the first of the words. */
static const struct row {
	const char *name, *fallback;
	enum type type;
	size_t at;
	unsigned long least, most;
	const char *help;
} rows[] = {
	{ "volume", "main", TEXT, offsetof(struct options, volume), 0, 0, "the volume to show" },
	{ "prefix", "", TEXT, offsetof(struct options, prefix), 0, 0, "show only the keys in this folder" },
	{ "uid", NULL, NUMBER, offsetof(struct options, uid), 0, 0xfffffffe,
	  "owner of keys that name none; else the caller of cairnfs" },
	{ "gid", NULL, NUMBER, offsetof(struct options, gid), 0, 0xfffffffe,
	  "group of keys that name none; else the caller's" },
	{ "fmode", "600", OCTAL, offsetof(struct options, fmode), 0, 0777,
	  "mode of values that have none, octal" },
	{ "dmode", "700", OCTAL, offsetof(struct options, dmode), 0, 0777,
	  "mode of folders that have none, octal" },
	{ "timeout", "10", NUMBER, offsetof(struct options, timeout_s), 1, 3600,
	  "seconds after which a call that no server answers fails with EIO" },
	{ "limit", "64", NUMBER, offsetof(struct options, limit_mib), 1, 4096,
	  "longest file that can be written, MiB" },
	{ "dirty", "512", NUMBER, offsetof(struct options, dirty_mib), 1, 1 << 20,
	  "most memory for what open files hold, MiB" },
	{ "consistency", "open|local|strict", CHOICE, offsetof(struct options, consistency), 0, 0,
	  "what asks the server whether something is new, beside the watch: opening a file, nothing, or "
	  "every call" },
	{ "ro", "", FLAG, offsetof(struct options, ro), 0, 0, "no changes through this mount" },
	{ "allow_other", "", FLAG, offsetof(struct options, allow_other), 0, 0,
	  "let other users in, as far as modes allow; always so for root" },
	{ "guard", "", FLAG, offsetof(struct options, guard), 0, 0,
	  "keep the folder below the mount read-only, with a file that says what to run" },
	{ "noexec", "", FLAG, offsetof(struct options, noexec), 0, 0, "run no programs from this mount" },
};
#define ROWS (sizeof(rows) / sizeof(*rows))

/* What mount(8) and fstab pass to everybody. */
static const char *const ignored[] = { "rw",       "dev",
				       "nodev",    "suid",
				       "nosuid",   "exec",
				       "auto",     "noauto",
				       "user",     "nouser",
				       "users",    "async",
				       "atime",    "noatime",
				       "diratime", "nodiratime",
				       "relatime", "norelatime",
				       "_netdev",  "nofail",
				       "defaults", "default_permissions",
				       "owner",    "group" };

static void *field(struct options *o, const struct row *row)
{
	return (char *)o + row->at;
}

static enum cairn_code set_text(struct options *o, const struct row *row, const char *value,
				struct cairn_error *e)
{
	char **text = field(o, row), *copy;

	while (row->at == offsetof(struct options, prefix) && *value == '/')
		value++;
	copy = strdup(value);
	if (!copy)
		return cairn_fail(e, CAIRN_E_INTERNAL, "no memory");
	for (size_t n = strlen(copy);
	     row->at == offsetof(struct options, prefix) && n > 0 && copy[n - 1] == '/'; n--)
		copy[n - 1] = 0;
	free(*text);
	*text = copy;
	return CAIRN_OK;
}

static enum cairn_code set_choice(struct options *o, const struct row *row, const char *value,
				  struct cairn_error *e)
{
	const char *word = row->fallback;
	size_t len = strlen(value);

	for (unsigned long i = 0; *word; i++) {
		size_t n = strcspn(word, "|");

		if (n == len && !memcmp(word, value, n)) {
			*(unsigned long *)field(o, row) = i;
			return CAIRN_OK;
		}
		word += n + (word[n] == '|');
	}
	return cairn_fail(e, CAIRN_E_INVALID, "-o %s=%s: wanted is one of %s", row->name, value,
			  row->fallback);
}

/* Give ROW the text VALUE. */
static enum cairn_code set(struct options *o, const struct row *row, const char *value, struct cairn_error *e)
{
	unsigned long n;
	char *end;

	if (row->type == TEXT)
		return set_text(o, row, value, e);
	if (row->type == CHOICE)
		return set_choice(o, row, value, e);
	errno = 0;
	n = strtoul(value, &end, row->type == OCTAL ? 8 : 10);
	if (!*value || *end || errno || value[0] == '-' || n < row->least || n > row->most)
		return cairn_fail(e, CAIRN_E_INVALID, "-o %s=%s: wanted is %s from %lu to %lu", row->name,
				  value, row->type == OCTAL ? "an octal number" : "a number", row->least,
				  row->most);
	*(unsigned long *)field(o, row) = n;
	return CAIRN_OK;
}

static bool is_ignored(const char *name)
{
	for (size_t i = 0; i < sizeof(ignored) / sizeof(*ignored); i++)
		if (!strcmp(name, ignored[i]))
			return true;
	return !strncmp(name, "x-", 2) || !strncmp(name, "comment=", 8);
}

/* One option of -o, NAME or NAME=VALUE; TEXT is changed. */
static enum cairn_code take(struct options *o, char *text, struct cairn_error *e)
{
	char *value = strchr(text, '=');

	if (!*text || is_ignored(text))
		return CAIRN_OK;
	if (value)
		*value++ = 0;
	for (size_t i = 0; i < ROWS; i++) {
		if (strcmp(rows[i].name, text) != 0)
			continue;
		if (rows[i].type == FLAG && !value) {
			*(bool *)field(o, &rows[i]) = true;
			return CAIRN_OK;
		}
		if (rows[i].type == FLAG || !value)
			return cairn_fail(e, CAIRN_E_INVALID, "-o %s: this option takes %s value", text,
					  value ? "no" : "a");
		return set(o, &rows[i], value, e);
	}
	cairn_fail(e, CAIRN_E_INVALID, "-o %s: no such option", text);
	cairn_hint(e, "cairnfs --help lists them");
	return CAIRN_E_INVALID;
}

static enum cairn_code take_list(struct options *o, const char *list, struct cairn_error *e)
{
	char *copy = strdup(list), *rest = copy, *one;
	enum cairn_code code = copy ? CAIRN_OK : cairn_fail(e, CAIRN_E_INTERNAL, "no memory");

	while (!code && (one = strsep(&rest, ",")))
		code = take(o, one, e);
	free(copy);
	return code;
}

static enum cairn_code fill_defaults(struct options *o, struct cairn_error *e)
{
	enum cairn_code code = CAIRN_OK;

	o->uid = geteuid();
	o->gid = getegid();
	for (size_t i = 0; i < ROWS && !code; i++)
		if (rows[i].fallback && rows[i].type < FLAG)
			code = set(o, &rows[i], rows[i].fallback, e);
	return code;
}

enum cairn_code options_parse(struct options *o, int argc, char **argv, struct cairn_error *e)
{
	enum cairn_code code;

	*o = (struct options){ 0 };
	code = fill_defaults(o, e);
	for (int i = 1; i < argc && !code; i++) {
		const char *a = argv[i];

		if (!strcmp(a, "-f"))
			o->foreground = true;
		else if (!strcmp(a, "--help") || !strcmp(a, "-h"))
			o->help = true;
		else if (!strcmp(a, "--version") || !strcmp(a, "-V"))
			o->version = true;
		else if (!strncmp(a, "-o", 2) && a[2])
			code = take_list(o, a + 2, e);
		else if (!strcmp(a, "-o") && i + 1 < argc)
			code = take_list(o, argv[++i], e);
		else if (!strcmp(a, "-n") || !strcmp(a, "-s") || !strcmp(a, "-v")) /* of mount(8) */
			continue;
		else if (a[0] == '-' && a[1])
			code = cairn_fail(e, CAIRN_E_INVALID, "%s: no such option", a);
		else if (!o->servers)
			code = (o->servers = strdup(a)) ? CAIRN_OK
							: cairn_fail(e, CAIRN_E_INTERNAL, "no memory");
		else if (!o->mountpoint)
			code = (o->mountpoint = strdup(a)) ? CAIRN_OK
							   : cairn_fail(e, CAIRN_E_INTERNAL, "no memory");
		else
			code = cairn_fail(e, CAIRN_E_INVALID, "%s: one argument too many", a);
	}
	if (!code && !o->mountpoint && !o->help && !o->version) {
		cairn_fail(e, CAIRN_E_INVALID, "wanted are a list of servers and a mount point");
		cairn_hint(e, "cairnfs unix:/run/cairn/n1.sock /mnt/cairn");
		code = CAIRN_E_INVALID;
	}
	return code;
}

void options_free(struct options *o)
{
	free(o->servers);
	free(o->mountpoint);
	free(o->volume);
	free(o->prefix);
	*o = (struct options){ 0 };
}

void options_help(FILE *to)
{
	static const char *const metavar[] = { "=TEXT", "=N", "=MODE", "", "=WORD" };

	fputs("Usage: cairnfs SERVERS MOUNTPOINT [-o OPTION,…] [-f]\n"
	      "Show the keys of a cairn volume as files. SERVERS: unix:PATH or ssh:HOST, several with "
	      "commas.\n\n"
	      "  -f         stay in the foreground\n"
	      "  --help     show this and exit\n"
	      "  --version  show the version and exit\n\n",
	      to);
	for (size_t i = 0; i < ROWS; i++) {
		int n = fprintf(to, "  -o %s%s", rows[i].name, metavar[rows[i].type]);

		fprintf(to, "%*s%s", n < 22 ? 22 - n : 1, "", rows[i].help);
		if (rows[i].fallback && *rows[i].fallback)
			fprintf(to, " (%s)", rows[i].fallback);
		fputc('\n', to);
	}
	fputs("\nUnmount with: fusermount3 -u MOUNTPOINT\n", to);
}
