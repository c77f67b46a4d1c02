/* The engine host: parameters are parsed and refused by name; what a plugin leaves out is filled in. */
#include <errno.h>
#include <unistd.h>
#include <sys/stat.h>
#include "engine.h"
#include "nearest.h"
#include "tap.h"

static const struct cairn_param rows[] = {
	{ "limit", CAIRN_PARAM_SIZE, "0", false, "most bytes" },
	{ "threads", CAIRN_PARAM_NUMBER, "2", false, "how many" },
	{ "compress", CAIRN_PARAM_BOOL, "yes", false, "smaller files" },
	{ "note", CAIRN_PARAM_TEXT, "none", false, "any text" },
	{ .name = NULL },
};

static void parameters(void)
{
	static const char *const given[] = { "limit=64M", "compress=off", "note=a=b", "limit=3k" };
	static const char *const bad[] = { "limit=12X",   "limit=-1",        "limit=",
					   "threads=2K",  "threads=x",       "compress=2",
					   "just-a-word", "limit=99999999T", "=3" };
	struct cairn_value values[4];
	struct cairn_error e;
	const char *typo = "limits=1", *odd = "zzzzzzzz=1";

	is_int(params_parse(rows, NULL, 0, values, &e), 0, "fallbacks parse");
	is_int(values[1].number, 2, "a number's fallback");
	is_int(values[2].number, 1, "a truth value's fallback");
	is_int(params_parse(rows, given, 4, values, &e), 0, "given values parse");
	is_int(values[0].number, 3 << 10, "the last one of a name counts, with its unit");
	is_int(values[2].number, 0, "off is no");
	is_str(values[3].text, "a=b", "a text may hold '='");
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		is_int(params_parse(rows, &bad[i], 1, values, &e), CAIRN_E_INVALID, "'%s' is refused",
		       bad[i]);
	is_int(params_parse(rows, &typo, 1, values, &e), CAIRN_E_INVALID, "an unknown name is refused");
	is_str(e.message, "there is no parameter 'limits'", "and named");
	is_str(e.hint, "did you mean 'limit'?", "with the nearest one as a hint");
	is_int(params_parse(rows, &odd, 1, values, &e), CAIRN_E_INVALID, "a name like no other is refused");
	is_str(e.hint, "", "without a hint");
}

static void words(void)
{
	static const char *const list[] = { "get", "put", "volume", NULL, "status", "set-attributes" };

	is_str(nearest("gte", list, 6), "get", "two letters swapped");
	is_str(nearest("statsu", list, 6), "status", "two letters swapped at the end");
	is_str(nearest("Volumes", list, 6), "volume", "a letter too many, another case");
	is_str(nearest("set-attr", list, 6), "set-attributes", "an abbreviation");
	ok(!nearest("frobnicate", list, 6), "nothing is like that");
	ok(!nearest("", list, 6), "nothing is like an empty word");
}

/* An engine that has only what is required, and notes what it is asked for. */
struct bare {
	int writes, synced;
	struct cairn_position position;
};

static int bare_open(const char *dir, const struct cairn_value *values, void **handle,
		     struct cairn_error *error)
{
	if (access(dir, F_OK))
		return cairn_fail(error, CAIRN_E_CORRUPT, "%s/data: damaged at offset 7", dir), -EUCLEAN;
	if (values[1].number == 77)
		return -ENOSPC;
	*handle = calloc(1, sizeof(struct bare));
	return 0;
}

static int bare_write(void *handle, const struct cairn_batch *batch, bool sync, struct cairn_error *error)
{
	struct bare *b = handle;

	(void)error;
	b->writes++;
	b->synced += sync && batch->count == 0;
	b->position = batch->position;
	return 0;
}

static int bare_position(void *handle, struct cairn_position *position)
{
	*position = ((struct bare *)handle)->position;
	return 0;
}

static void host(void)
{
	const struct cairn_engine bare = { .name = "bare",
					   .params = rows,
					   .open = bare_open,
					   .close = free,
					   .write = bare_write,
					   .position = bare_position };
	struct cairn_batch batch = { .position = { 5, 2 } };
	char dir[] = "/tmp/u-engine-XXXXXX", inner[64];
	const char *full = "threads=77", *bad = "thread=1";
	struct cairn_position position;
	struct cairn_guard guard = { 0 };
	struct cairn_error error;
	struct engine e;
	void *snapshot;
	bool more = true;

	if (!mkdtemp(dir))
		bail("no folder");
	snprintf(inner, sizeof(inner), "%s/in", dir);
	is_int(engine_open(&e, &bare, inner, NULL, 0, &error), CAIRN_E_CORRUPT,
	       "the plugin's code is passed on");
	ok(strstr(error.message, "engine bare: ") == error.message && strstr(error.message, "offset 7"),
	   "its sentence too, behind its name: %s", error.message);
	is_int(engine_open(&e, &bare, dir, &full, 1, &error), CAIRN_E_FULL, "a bare errno becomes a code");
	ok(strstr(error.message, dir), "and a sentence: %s", error.message);
	is_int(engine_open(&e, &bare, dir, &bad, 1, &error), CAIRN_E_INVALID,
	       "an unknown parameter is refused");
	is_str(error.hint, "did you mean 'threads'?", "with a hint");
	is_int(engine_open(&e, &bare, dir, NULL, 0, &error), 0, "it opens");
	e.ops.read_begin(e.handle, &guard);
	e.ops.read_end(e.handle, &guard);
	is_int(e.ops.snapshot(e.handle, &snapshot), -EOPNOTSUPP, "no snapshots without the capability");
	is_int(e.ops.compact(e.handle, &error), 0, "compact does nothing");
	is_int(e.ops.maintain(e.handle, 1000, &more), 0, "maintain does nothing");
	ok(!more, "and has nothing left");
	e.ops.write(e.handle, &batch, false, &error);
	is_int(engine_sync(&e, &error), 0, "sync");
	is_int(((struct bare *)e.handle)->synced, 1, "is an empty synced batch");
	e.ops.position(e.handle, &position);
	ok(position.index == 5 && position.term == 2, "that keeps the position");
	is_int(mkdir(inner, 0700), 0, "a folder with something in it");
	is_int(e.ops.destroy(dir), 0, "destroy");
	ok(access(dir, F_OK) != 0, "removes the folder");
	engine_close(&e);
}

int main(void)
{
	parameters();
	words();
	host();
	return tap_done();
}
