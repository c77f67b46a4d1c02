/* The reader of LevelDB's logs and MANIFEST: as batches and as edits. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include "logfile.h"

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

static int take(void *arg, struct cairn_slice body)
{
	*(size_t *)arg += body.len;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct cairn_slice bytes = cairn_slice(data, len);
	size_t total = 0;

	for (int batches = 0; batches < 2; batches++) {
		struct logfile_scan s = { .source = { read_memory, &bytes, len },
					  .batches = batches,
					  .record = take,
					  .arg = &total };

		if (logfile_scan(&s) || s.good > len || s.bad > len ||
		    (s.state == LOGFILE_WHOLE) != !s.reason)
			abort();
		if (s.state == LOGFILE_TORN) { /* what is left after the cut must be whole */
			s.source.size = bytes.len = s.good;
			s.sequence = total = 0;
			if (logfile_scan(&s) || s.state != LOGFILE_WHOLE)
				abort();
			bytes.len = len;
		}
	}
	if (total > len)
		abort();
	return 0;
}
