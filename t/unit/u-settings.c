/* Settings and the log: what is taken, what is refused and how, what is printed; lines that can be taken
 * apart. */
#include <fcntl.h>
#include <unistd.h>
#include "config.h"
#include "files.h"
#include "log.h"
#include "settings.h"
#include "tap.h"

static char folder[] = "/tmp/u-settings.XXXXXX";

static void defaults(void)
{
	struct settings *s = settings_new();
	struct cairn_error e = { 0 };

	setenv("XDG_DATA_HOME", "/x/share", 1);
	setenv("XDG_RUNTIME_DIR", "/x/run", 1);
	is_int(settings_finish(s, &e), 0, "defaults go together");
	is_str(setting_text(s, SETTING_NODE_DATA), "/x/share/cairn", "data lies under XDG_DATA_HOME");
	is_str(setting_text(s, SETTING_CONTROL_SOCKET), "/x/run/cairn/cairn.sock",
	       "the socket under XDG_RUNTIME_DIR");
	ok(*setting_text(s, SETTING_NODE_NAME), "the node has a name");
	is_str(setting_where(s, SETTING_VOLUME_SYNC), "default", "where a default comes from");
	is_int(setting_number(s, SETTING_VOLUME_SYNC), 1, "durable unless asked otherwise");
	settings_free(s);
	s = settings_new();
	unsetenv("XDG_DATA_HOME");
	unsetenv("XDG_RUNTIME_DIR");
	setenv("HOME", "/x/home", 1);
	settings_finish(s, &e);
	is_str(setting_text(s, SETTING_NODE_DATA), "/x/home/.local/share/cairn", "else in the home folder");
	is_str(setting_text(s, SETTING_CONTROL_SOCKET), "/x/home/.local/share/cairn/cairn.sock",
	       "the socket beside the data");
	settings_free(s);
	s = settings_new();
	unsetenv("HOME");
	is_int(settings_finish(s, &e), CAIRN_E_INVALID, "without any folder it is refused");
	settings_free(s);
}

static void values(void)
{
	static const struct {
		const char *name, *text;
		uint64_t number;
	} good[] = {
		{ "volume.value-limit", "1M", 1 << 20 },
		{ "volume.value-limit", "2g", 2ull << 30 },
		{ "control.mode", "0660", 0660 },
		{ "volume.sync", "no", 0 },
		{ "node.workers", "16", 16 },
	};
	static const struct {
		const char *name, *text, *message;
	} bad[] = {
		{ "node.workers", "0", "test: node.workers is 1 to 256, not '0'" },
		{ "node.workers", "4K", "test: node.workers is a number, not '4K'" },
		{ "volume.key-max", "1T", "test: volume.key-max is 16 to 4096, not '1T'" },
		{ "volume.value-limit", "99999999T",
		  "test: volume.value-limit is a number of bytes, with K, M, G or T behind it, not "
		  "'99999999T'" },
		{ "volume.sync", "maybe", "test: volume.sync is yes or no, not 'maybe'" },
		{ "control.mode", "9", "test: control.mode is permission bits such as 0660, not '9'" },
		{ "node.name", "a b",
		  "test: node.name is 1 to 63 letters, digits, '.', '_' or '-', not 'a b'" },
		{ "log.level", "loud",
		  "test: log.level: there is no log level 'loud': error, warn, info, debug, trace" },
		{ "log.file", "/a\nb",
		  "test: log.file: control characters, blanks at the ends and ' ;' are not possible in a "
		  "value" },
		{ "node.nam", "x", "test: there is no setting 'node.nam'" },
	};
	struct settings *s = settings_new();
	struct cairn_error e = { 0 };

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		is_int(settings_set(s, good[i].name, good[i].text, "test", &e), 0, "%s takes %s",
		       good[i].name, good[i].text);
		ok(setting_number(s, (enum setting)setting_find(good[i].name, &e)) == good[i].number,
		   "as %llu", (unsigned long long)good[i].number);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		is_int(settings_set(s, bad[i].name, bad[i].text, "test", &e), CAIRN_E_INVALID,
		       "%s refuses %s", bad[i].name, bad[i].text);
		is_str(e.message, bad[i].message, "and says why");
	}
	is_str(e.hint, "did you mean 'node.name'?", "with the nearest name");
	settings_set(s, "volume.socket", "x", "test", &e);
	is_str(e.hint, "did you mean 'control.socket'?", "or the right section");
	is_int(setting_number(s, SETTING_NODE_WORKERS), 16, "a refused value changes nothing");
	settings_free(s);
}

static void together(void)
{
	static const char *const pairs[][4] = {
		{ "control.group", "users", "control.mode", "0600" },
		{ "volume.parameters", "cache=1M", "volume.sync", "yes" },
		{ "control.socket",
		  "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		  "aaaaaaaaaaaaaaaaaaaaaaaaaaa",
		  "volume.sync", "yes" },
	};

	setenv("HOME", "/x/home", 1);
	for (size_t i = 0; i < 3; i++) {
		struct settings *s = settings_new();
		struct cairn_error e = { 0 };

		settings_set(s, pairs[i][0], pairs[i][1], "a.conf:3", &e);
		settings_set(s, pairs[i][2], pairs[i][3], "a.conf:4", &e);
		is_int(settings_finish(s, &e), CAIRN_E_INVALID, "%s does not go together with the rest",
		       pairs[i][0]);
		ok(!strncmp(e.message, "a.conf:3: ", 10), "and the line is named: %s", e.message);
		settings_free(s);
	}
}

#ifdef HAVE_INIH
static const char *write_file(const char *body)
{
	static char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "%s/a.conf", folder);
	f = fopen(path, "we");
	if (!f)
		bail("%s", path);
	fputs(body, f);
	fclose(f);
	return path;
}

static void refuse_file(const char *body, const char *ending)
{
	struct settings *s = settings_new();
	struct cairn_error e = { 0 };
	char wanted[512];
	const char *path = write_file(body);

	snprintf(wanted, sizeof(wanted), "%s%s", path, ending);
	is_int(settings_read(s, path, &e), CAIRN_E_INVALID, "a bad file is refused");
	is_str(e.message, wanted, "with file, line and reason");
	settings_free(s);
}

static void file(void)
{
	struct settings *s = settings_new(), *t = settings_new();
	struct cairn_error e = { 0 };
	char long_line[400], path[64];
	FILE *f;

	is_int(settings_read(s,
			     write_file("# a comment\n[node]\nname = n7\n\n[volume]\nvalue-limit=3M ; "
					"inline\nsync = no\n"),
			     &e),
	       0, "a file is read");
	is_str(setting_text(s, SETTING_NODE_NAME), "n7", "its text");
	is_int(setting_number(s, SETTING_VOLUME_VALUE_LIMIT), 3 << 20, "its size");
	ok(strstr(setting_where(s, SETTING_VOLUME_SYNC), "a.conf:7"), "where: %s",
	   setting_where(s, SETTING_VOLUME_SYNC));
	refuse_file("[node]\nname = n1\ncolour = red\n", ":3: there is no setting 'node.colour'");
	refuse_file("[node]\nworkers = many\n", ":2: node.workers is a number, not 'many'");
	refuse_file("[node]\nname\n", ":2: neither [section] nor key = value");
	refuse_file("name = n1\n", ":1: a setting stands before the first [section]");
	refuse_file("[node]\nname = a\nname = b\n", ":3: node.name was given before, on line 2");
	snprintf(long_line, sizeof(long_line), "[log]\nfile = /%0250d\n", 0);
	refuse_file(long_line, ":2: the line is longer than 198 bytes");
	is_int(settings_read(s, "/nonexistent/x.conf", &e), CAIRN_E_INVALID, "a missing file is refused");

	setenv("HOME", "/x/home", 1);
	settings_finish(s, &e);
	snprintf(path, sizeof(path), "%s/printed.conf", folder);
	f = fopen(path, "we");
	settings_print(s, f);
	fclose(f);
	is_int(settings_read(t, path, &e), 0, "what is printed is a configuration file: %s", e.message);
	for (int i = 0; i < SETTING_COUNT; i++)
		is_str(setting_text(t, (enum setting)i), setting_text(s, (enum setting)i), "%s is the same",
		       setting_row((enum setting)i)->key);
	settings_free(s);
	settings_free(t);
}
#endif

static char *lines(struct log *l, const char *path)
{
	char *text = NULL;
	size_t len;

	(void)l;
	return file_read(AT_FDCWD, path, 1 << 20, &text, &len) ? NULL : text;
}

static void logging(void)
{
	struct log *l = log_new();
	struct cairn_error e = { 0 };
	char path[64], moved[64], *text;

	snprintf(path, sizeof(path), "%s/log", folder);
	snprintf(moved, sizeof(moved), "%s/log.1", folder);
	is_int(log_to(l, path), 0, "a log goes to a file");
	log_info(l, LOG_DAEMON, "two words", LOG_TEXT("plain", "x/y-z"),
		 LOG_TEXT("quoted", "a \"b\"\n\x01\xff="), LOG_BYTES("bytes", cairn_slice("\0a", 2)),
		 LOG_NUMBER("n", -5), LOG_TEXT("empty", ""));
	text = lines(l, path);
	ok(text &&
		   !strncmp(text,
			    "level=info msg=\"two words\" plain=x/y-z quoted=\"a \\\"b\\\"\\n\\x01\\xff=\" "
			    "bytes=\"\\x00a\" n=-5 empty=\"\" module=daemon time=",
			    110),
	   "a line is quoted where it must be: %s", text);
	free(text);
	log_debug(l, LOG_DAEMON, "hidden");
	is_int(log_levels_set(l, "replication=trace,warn", &e), 0, "levels are set in any order");
	is_int(log_level(l, LOG_REPLICATION), LOG_TRACE, "one module's");
	is_int(log_level(l, LOG_CONTROL), LOG_WARN, "and the others'");
	is_int(log_levels_set(l, "info,replicatoin=trace", &e), CAIRN_E_INVALID,
	       "an unknown module is refused");
	is_str(e.hint, "did you mean 'replication'?", "with the nearest one");
	is_int(log_level(l, LOG_CONTROL), LOG_WARN, "and nothing changes");
	if (rename(path, moved))
		bail("rename");
	log_error(l, LOG_DAEMON, "before");
	is_int(log_reopen(l), 0, "the file is opened again");
	log_error(l, LOG_DAEMON, "after");
	text = lines(l, moved);
	ok(text && strstr(text, "before") && !strstr(text, "after") && !strstr(text, "hidden"),
	   "the old file has the old lines");
	free(text);
	text = lines(l, path);
	ok(text && strstr(text, "after") && !strstr(text, "before"), "the new one has the new ones");
	free(text);
	log_free(l);
}

int main(void)
{
	if (!mkdtemp(folder))
		bail("mkdtemp");
	defaults();
	values();
	together();
#ifdef HAVE_INIH
	file();
#endif
	logging();
	folder_remove(AT_FDCWD, folder);
	return tap_done();
}
