/*
 * A fuzz target as an ordinary test: every seed of the target, every cut of it, and 20,000 mutations by a
 * fixed generator go through LLVMFuzzerTestOneInput. With files as arguments just those: to repeat what a
 * fuzzer found.
 */
#include <dirent.h>
#include <stdint.h>
#include "tap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define MUTATIONS 20000
#define CUTS 3000

static uint8_t *load(const char *path, size_t *len)
{
	FILE *f = fopen(path, "rb");
	uint8_t *data = NULL;
	long size = 0;

	if (f && fseek(f, 0, SEEK_END) == 0 && (size = ftell(f)) >= 0)
		data = malloc((size_t)size + 1);
	if (!data)
		bail("cannot read %s", path);
	rewind(f);
	*len = fread(data, 1, (size_t)size, f);
	fclose(f);
	return data;
}

/* Run the first LEN bytes of DATA in memory of just that size, so that a read beyond it shows. */
static void run(const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);

	if (len)
		memcpy(copy, data, len);
	LLVMFuzzerTestOneInput(copy, len);
	free(copy);
}

static uint64_t next(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return *state >> 33;
}

static void mutate(uint8_t *data, size_t len, uint64_t *state)
{
	static const uint8_t edges[] = { 0, 1, 127, 128, 255, '"', '{', '[' };

	for (uint64_t n = 1 + next(state) % 4; n; n--) {
		size_t at = next(state) % len;

		switch (next(state) % 4) {
		case 0:
			data[at] ^= (uint8_t)(1 << next(state) % 8);
			break;
		case 1:
			data[at] = edges[next(state) % sizeof(edges)];
			break;
		case 2:
			data[at] = (uint8_t)next(state);
			break;
		default:
			memmove(data + at, data + next(state) % len / 2, (len - at) / 2);
		}
	}
}

static void seed(const char *path, unsigned mutations)
{
	uint64_t state = 1;
	size_t len, step;
	uint8_t *data = load(path, &len), *work = malloc(len + 1);

	run(data, len);
	step = len / CUTS + 1;
	for (size_t cut = 0; cut < len; cut += step)
		run(data, cut);
	for (unsigned i = 0; len && i < mutations; i++) {
		memcpy(work, data, len);
		mutate(work, len, &state);
		run(work, len);
	}
	free(work);
	free(data);
	ok(1, "%s, its cuts and %u mutations", strrchr(path, '/') ? strrchr(path, '/') + 1 : path, mutations);
}

int main(int argc, char **argv)
{
	const char *top = getenv("CAIRN_SOURCE"), *name = strrchr(argv[0], '/');
	char folder[400], path[700];
	struct dirent **entries;
	int count;

	for (int i = 1; i < argc; i++)
		seed(argv[i], 0);
	if (argc > 1)
		return tap_done();
	name = name ? name + 1 : argv[0];
	snprintf(folder, sizeof(folder), "%s/t/fuzz/seeds/%s", top ? top : ".",
		 strncmp(name, "f-", 2) ? name : name + 2);
	count = scandir(folder, &entries, NULL, alphasort);
	if (count < 0)
		bail("there is no folder %s", folder);
	for (int i = 0; i < count; i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name);
		if (entries[i]->d_name[0] != '.')
			seed(path, MUTATIONS / (unsigned)(count - 2));
		free(entries[i]);
	}
	free(entries);
	return tap_done();
}
