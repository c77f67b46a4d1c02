/*
 * The memory engine with writes that fail on demand: while the file $CAIRN_FAULT holds "full", write()
 * refuses with -ENOSPC; while it holds "broken", it fails with -EIO. Its upkeep never ends, and where it
 * meets a write the process ends. For tests of what a daemon does then.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <cairn/engine.h>

#include <stdatomic.h>
#include <unistd.h>

static _Atomic int writers; /* of any handle: a test has one */

static void enter(void)
{
	if (atomic_fetch_add(&writers, 1)) {
		fprintf(stderr, "engine-faulty: two writers at once\n");
		_exit(99);
	}
}

static void leave(void)
{
	atomic_fetch_sub(&writers, 1);
}

static int faulty_maintain(void *handle, uint64_t budget_us, bool *more)
{
	(void)handle;
	enter();
	usleep((useconds_t)budget_us / 10);
	leave();
	*more = true;
	return 0;
}

static struct cairn_engine faulty;
static int (*memory_write)(void *handle, const struct cairn_batch *batch, bool sync,
			   struct cairn_error *error);

static int faulty_write(void *handle, const struct cairn_batch *batch, bool sync, struct cairn_error *error)
{
	const char *path = getenv("CAIRN_FAULT");
	FILE *f = path ? fopen(path, "re") : NULL;
	char word[16] = "";
	int r;

	if (f) {
		if (fscanf(f, "%15s", word) != 1)
			word[0] = 0;
		fclose(f);
	}
	if (!strcmp(word, "full") || !strcmp(word, "broken")) {
		snprintf(error->message, sizeof(error->message), "the test says that the disk is %s", word);
		error->code = word[0] == 'f' ? CAIRN_E_FULL : CAIRN_E_INTERNAL;
		return word[0] == 'f' ? -ENOSPC : -EIO;
	}
	enter();
	r = memory_write(handle, batch, sync, error);
	leave();
	return r;
}

CAIRN_EXPORT const struct cairn_engine *cairn_engine_plugin(void);
CAIRN_EXPORT const struct cairn_engine *cairn_engine_plugin(void)
{
	const struct cairn_engine *(*plugin)(void);
	const char *folder = getenv("CAIRN_PLUGIN_PATH");
	char path[4096];
	void *library;

	snprintf(path, sizeof(path), "%.*s/engine-memory.so", folder ? (int)strcspn(folder, ":") : 0,
		 folder ? folder : "");
	library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!library)
		return NULL;
	*(void **)&plugin = dlsym(library, "cairn_engine_plugin");
	faulty = *plugin();
	faulty.name = "faulty";
	memory_write = faulty.write;
	faulty.write = faulty_write;
	faulty.maintain = faulty_maintain;
	return &faulty;
}
