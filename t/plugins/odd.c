/*
 * An engine with something wrong with it; what, its file's name says: engine-no-get.so has no get,
 * engine-wrong-abi.so claims another version, and so on. With another name it holds nothing, properly.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <cairn/engine.h>

static int odd_open(const char *dir, const struct cairn_value *values, void **handle,
		    struct cairn_error *error)
{
	(void)dir;
	*handle = NULL;
	if (values[0].number == 13) {
		cairn_fail(error, CAIRN_E_CORRUPT, "%s/numbers: damaged at offset 13", dir);
		return -EUCLEAN;
	}
	return values[0].number == 14 ? -ENOTSUP : 0;
}

static void odd_close(void *handle)
{
	(void)handle;
}

static int odd_get(void *handle, struct cairn_guard *guard, void *snapshot, struct cairn_slice key,
		   unsigned flags, struct cairn_slice *value)
{
	(void)handle, (void)guard, (void)snapshot, (void)key, (void)flags, (void)value;
	return -ENOENT;
}

static int odd_write(void *handle, const struct cairn_batch *batch, bool sync, struct cairn_error *error)
{
	(void)handle, (void)batch, (void)sync, (void)error;
	return 0;
}

static int odd_position(void *handle, struct cairn_position *position)
{
	(void)handle;
	*position = (struct cairn_position){ 0 };
	return 0;
}

static int odd_iter_open(void *handle, void *snapshot, struct cairn_slice from, struct cairn_slice to,
			 unsigned flags, void **iterator)
{
	(void)handle, (void)snapshot, (void)from, (void)to, (void)flags;
	*iterator = NULL;
	return 0;
}

static int odd_iter_next(void *iterator, struct cairn_slice *key, struct cairn_slice *value)
{
	(void)iterator;
	*key = *value = cairn_slice(NULL, 0);
	return 0;
}

static void odd_iter_close(void *iterator)
{
	(void)iterator;
}

static const struct cairn_param good_params[] = {
	{ "number", CAIRN_PARAM_NUMBER, "1", false, "13 and 14 make open() fail" },
	{ .name = NULL },
};

static const struct cairn_param bad_params[] = {
	{ "number", CAIRN_PARAM_NUMBER, "many", false, "its fallback is no number" },
	{ .name = NULL },
};

static char own_name[64];

static struct cairn_engine odd = {
	.name = own_name,
	.help = "an engine that a test broke",
	.caps = CAIRN_ENGINE_ORDERED,
	.params = good_params,
	.open = odd_open,
	.close = odd_close,
	.get = odd_get,
	.write = odd_write,
	.position = odd_position,
	.iter_open = odd_iter_open,
	.iter_next = odd_iter_next,
	.iter_close = odd_iter_close,
};

static bool called(const char *name)
{
	return strcmp(own_name, name) == 0;
}

CAIRN_EXPORT const struct cairn_engine *cairn_engine_plugin(void);
const struct cairn_engine *cairn_engine_plugin(void)
{
	const char *file;
	Dl_info info;

	if (!dladdr(own_name, &info) || !(file = strrchr(info.dli_fname, '/')))
		return NULL;
	snprintf(own_name, sizeof(own_name), "%.*s", (int)strcspn(file + 8, "."), file + 8);
	odd.head = (struct cairn_plugin_head){ sizeof(odd), CAIRN_ENGINE_ABI };
	if (called("wrong-abi"))
		odd.head.abi = 99;
	else if (called("too-short"))
		odd.head.size = 12;
	else if (called("older")) { /* what is behind its end is not its own */
		odd.head.size = offsetof(struct cairn_engine, stats);
		odd.stats = (void (*)(void *, cairn_stat_fn *, void *))abort;
	} else if (called("no-get"))
		odd.get = NULL;
	else if (called("half-a-guard"))
		odd.read_end = (void (*)(void *, struct cairn_guard *))abort;
	else if (called("no-release")) {
		odd.caps |= CAIRN_ENGINE_SNAPSHOT;
		odd.snapshot = (int (*)(void *, void **))abort;
	} else if (called("unordered"))
		odd.caps = 0;
	else if (called("bad-params"))
		odd.params = bad_params;
	else if (called("other-name"))
		snprintf(own_name, sizeof(own_name), "somebody");
	else if (called("odd-name"))
		snprintf(own_name, sizeof(own_name), "a/b");
	else if (called("nothing"))
		return NULL;
	return &odd;
}
