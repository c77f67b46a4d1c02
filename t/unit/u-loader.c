/* The loader: the search path, every refusal with its reason, and that a refusal harms nobody else. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "engine.h"
#include "files.h"
#include "loader.h"
#include "tap.h"

static char folder[200];

static void make_file(const char *to, struct cairn_slice body)
{
	FILE *f = fopen(to, "w");

	if (!f || fwrite(body.data, 1, body.len, f) != body.len || fclose(f))
		bail("cannot write %s", to);
}

/* Put the odd engine into the folder SUB under NAME. */
static const char *put(const char *sub, const char *name, char path[600])
{
	char *body;
	size_t len;

	snprintf(path, 600, "%s/%s", folder, sub);
	folder_make(path);
	snprintf(path, 600, "%s/%s/engine-%s.so", folder, sub, name);
	if (file_read(AT_FDCWD, "t/plugins/.libs/odd.so", 10 << 20, &body, &len))
		bail("cannot read the odd engine");
	make_file(path, cairn_slice(body, len));
	free(body);
	return path;
}

static void refusals(void)
{
	static const struct {
		const char *name, *reason;
	} rows[] = {
		{ "wrong-abi",
		  "it was built for version 99 of the engine interface; this cairn has version 1" },
		{ "too-short", "its struct is too short (12 bytes)" },
		{ "no-get", "the required callback get is missing" },
		{ "half-a-guard", "read_begin and read_end belong together" },
		{ "no-release", "the required callback release is missing" },
		{ "unordered", "it does not keep keys in order" },
		{ "bad-params", "parameter number: 'many' is not a decimal number" },
		{ "other-name",
		  "it says that its name is 'somebody', but its file is called engine-other-name.so" },
		{ "odd-name", "its name must be 1 to 31 letters, digits and '-'" },
		{ "nothing", "its function cairn_engine_plugin gave nothing" },
	};
	char path[600], text[700];
	struct cairn_error error;
	const struct plugin *p;
	struct loader *l;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		put("refused", rows[i].name, path);
		snprintf(text, sizeof(text), "%s/refused", folder);
		l = loader_new(text);
		is_int(loader_get(l, PLUGIN_ENGINE, rows[i].name, &p, &error), CAIRN_E_UNSUPPORTED,
		       "%s is refused", rows[i].name);
		ok(strstr(error.message, path) && strstr(error.message, rows[i].reason),
		   "with file and reason: %s", error.message);
		loader_free(l);
	}
	l = loader_new(folder);
	snprintf(path, sizeof(path), "%s/text.so", folder);
	make_file(path, cairn_str("not a program"));
	is_int(loader_get(l, PLUGIN_ENGINE, path, &p, &error), CAIRN_E_UNSUPPORTED,
	       "a file that is no plugin is refused");
	ok(strstr(error.message, "it cannot be loaded"), "with the linker's reason: %s", error.message);
	is_int(loader_get(l, PLUGIN_REPLICATION, put("refused", "fine", path), &p, &error),
	       CAIRN_E_UNSUPPORTED, "an engine is no replication module");
	ok(strstr(error.message, "the symbol cairn_replication_plugin is missing"),
	   "and the symbol is named: %s", error.message);
	is_int(loader_get(l, PLUGIN_ENGINE, "/nowhere/x.so", &p, &error), CAIRN_E_NOT_FOUND,
	       "a path without a file");
	is_int(loader_get(l, PLUGIN_ENGINE, "..odd", &p, &error), CAIRN_E_INVALID,
	       "an odd name is not looked for");
	is_int(loader_get(l, PLUGIN_ENGINE, path, &p, &error), CAIRN_OK, "after all that a good one loads");
	is_str(p->name, "fine", "under its own name");
	loader_free(l);
}

struct seen {
	char text[4000];
};

static void see(void *arg, const struct plugin *p)
{
	struct seen *s = arg;
	size_t n = strlen(s->text);

	snprintf(s->text + n, sizeof(s->text) - n, "%s%s%s%s", n ? " " : "", p->name, *p->refused ? "!" : "",
		 strstr(p->path, "/first/")            ? "1"
			 : strstr(p->path, "/second/") ? "2"
						       : "");
}

static void search_path(void)
{
	char a[600], path[700];
	struct seen seen = { "" };
	struct cairn_error error;
	const struct plugin *p, *again;
	struct loader *l;

	put("first", "twice", a);
	put("second", "twice", a);
	put("second", "alone", a);
	put("second", "no-get", a);
	snprintf(path, sizeof(path), "%s/first::%s/missing:%s/second", folder, folder, folder);
	setenv("CAIRN_PLUGIN_PATH", path, 1);
	l = loader_new(NULL);
	is_int(loader_get(l, PLUGIN_ENGINE, "twice", &p, &error), 0,
	       "a name is found along $CAIRN_PLUGIN_PATH");
	ok(strstr(p->path, "/first/"), "the first file of that name counts");
	is_int(loader_get(l, PLUGIN_ENGINE, "twice", &again, &error), 0, "it is found again");
	ok(p == again && p->engine, "and is the same");
	is_int(loader_get(l, PLUGIN_ENGINE, "alnoe", &p, &error), CAIRN_E_NOT_FOUND,
	       "a name that is not there");
	ok(strstr(error.message, "/missing") && strstr(error.message, "alone") &&
		   strstr(error.message, "twice"),
	   "says where it looked and what is there: %s", error.message);
	is_str(error.hint, "did you mean 'alone'?", "and what comes near");
	loader_each(l, see, &seen);
	is_str(seen.text, "alone2 no-get!2 twice1 twice!2",
	       "the list has all of them, the refused and the hidden ones too");
	loader_free(l);
	unsetenv("CAIRN_PLUGIN_PATH");
}

static void nothing_seen(void *arg, const char *name, const char *unit, uint64_t value)
{
	(void)name, (void)unit, (void)value;
	*(int *)arg = 1;
}

static void opening(void)
{
	const char *damaged = "number=13", *plain = "number=14";
	struct loader *l = loader_new(folder);
	struct cairn_error error;
	const struct plugin *p;
	struct engine e;
	char path[600];
	int stats = 0;

	is_int(loader_get(l, PLUGIN_ENGINE, put("any", "older", path), &p, &error), 0,
	       "a plugin of an older header loads");
	is_int(engine_open(&e, p->engine, folder, NULL, 0, &error), 0, "and opens");
	e.ops.stats(e.handle, nothing_seen, &stats);
	is_int(stats, 0, "what it does not know is not called");
	engine_close(&e);
	is_int(engine_open(&e, p->engine, folder, &damaged, 1, &error), CAIRN_E_CORRUPT,
	       "its open() may fail");
	ok(strstr(error.message, "engine older: ") && strstr(error.message, "offset 13"),
	   "with its sentence: %s", error.message);
	is_int(engine_open(&e, p->engine, folder, &plain, 1, &error), CAIRN_E_UNSUPPORTED,
	       "or with a number alone");
	ok(strstr(error.message, "engine older: cannot open"), "which becomes one: %s", error.message);
	is_int(engine_open(&e, p->engine, folder, NULL, 0, &error), 0, "and opens all the same afterwards");
	engine_close(&e);
	loader_free(l);
}

int main(void)
{
	char *real;

	snprintf(folder, sizeof(folder), "%.150s/u-loader.XXXXXX",
		 getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	if (!mkdtemp(folder) || !(real = realpath(folder, NULL)))
		bail("no folder");
	snprintf(folder, sizeof(folder), "%s", real);
	free(real);
	refusals();
	search_path();
	opening();
	folder_remove(AT_FDCWD, folder);
	return tap_done();
}
