/* The reader of LevelDB's tables, and Snappy on its own. */
#include <stdint.h>
#include <stdlib.h>
#include "table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static int read_memory(void *arg, void *data, size_t len, uint64_t at)
{
	const struct cairn_slice *s = arg;
	size_t n = at >= s->len ? 0 : s->len - at;

	if (n > len)
		n = len;
	if (n)
		memcpy(data, (const char *)s->data + at, n);
	return (int)n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct cairn_slice bytes = cairn_slice(data, len);
	struct table_source t = { read_memory, &bytes, len };
	struct table_fault fault;
	unsigned char *out;
	size_t n;

	table_check_footer(&t, &fault);
	table_check(&t, &fault);
	if (snappy_expand(bytes, 1 << 20, &out, &n) == 0)
		free(out);
	return 0;
}
