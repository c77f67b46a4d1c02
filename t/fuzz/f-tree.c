/* LMDB's pages as engine-lmdb reads them before liblmdb sees them, for a check and for a repair. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "../../plugins/engine-lmdb/file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static int count(void *arg, struct cairn_slice key, struct cairn_slice value)
{
	uint64_t *sum = arg;

	for (size_t i = 0; i < key.len; i++)
		*sum += ((const unsigned char *)key.data)[i];
	for (size_t i = 0; i < value.len; i++)
		*sum += ((const unsigned char *)value.data)[i];
	return 0;
}

static void read_tree(const char *path, bool mend)
{
	struct cairn_error error = { 0 };
	uint64_t lost, sum = 0;
	struct tree *t;

	if (tree_open(AT_FDCWD, "memory", path, mend, &t, &error))
		return;
	if (mend) {
		tree_rows(t, count, &sum, &lost);
	} else {
		tree_check_size(t, &error);
		tree_check_first(t, &error);
		tree_close(t);
		if (tree_open(AT_FDCWD, "memory", path, mend, &t, &error))
			abort();
		tree_check(t, &error);
	}
	tree_close(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	int fd = memfd_create("tree", MFD_CLOEXEC);
	char path[32];

	if (fd < 0 || write(fd, data, len) != (ssize_t)len)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	read_tree(path, false);
	read_tree(path, true);
	close(fd);
	return 0;
}
