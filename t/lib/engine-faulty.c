/*
 * The memory engine with writes that fail on demand: while the file $CAIRN_FAULT holds "full", write()
 * refuses with -ENOSPC; while it holds "broken", it fails with -EIO. For tests of what a daemon does then.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <cairn/engine.h>

static struct cairn_engine faulty;
static int (*memory_write)(void *handle, const struct cairn_batch *batch, bool sync,
			   struct cairn_error *error);

static int faulty_write(void *handle, const struct cairn_batch *batch, bool sync, struct cairn_error *error)
{
	const char *path = getenv("CAIRN_FAULT");
	FILE *f = path ? fopen(path, "re") : NULL;
	char word[16] = "";

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
	return memory_write(handle, batch, sync, error);
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
	return &faulty;
}
