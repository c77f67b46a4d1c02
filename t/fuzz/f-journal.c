/* The reader of the journal's segments: chains, what comes behind them, and the records of every batch. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include "scan.h"

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

static int take(void *arg, uint64_t at, const struct batch_head *h, struct cairn_slice records)
{
	struct record_head r;
	struct cairn_slice body;
	int e;

	(void)at;
	while ((e = record_next(&records, &r, &body)) == 0)
		*(size_t *)arg += body.len;
	if ((e != -ENOENT && e != -EINVAL) || !h->sequence)
		abort();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct cairn_slice bytes = cairn_slice(data, len);
	struct scan_source s = { read_memory, &bytes, len };
	struct scan_chain chain = { 0 };
	struct scan_buffer b = { 0 };
	struct batch_head h;
	uint64_t end, torn, at;
	size_t total = 0;
	int e = scan_chain(&s, 0, &chain, &b, take, &total, &end, &torn);

	if ((e && e != -EPROTONOSUPPORT) || total > len || end > len + BATCH_SECTOR)
		abort();
	if (scan_later(&s, end, chain.sequence, 0, &b, &at, &h) == 0 &&
	    (at >= len || h.sequence <= chain.sequence))
		abort();
	free(b.data);
	return 0;
}
