/* What engine-bitcask reads of its files: batches of a data file, a hint, a MANIFEST. The first byte says
 * which. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "crc32c.h"
#include "le.h"
#include "records.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static int64_t read_memory(void *arg, void *data, size_t len, uint64_t at)
{
	const struct cairn_slice *s = arg;
	size_t n = at >= s->len ? 0 : s->len - at;

	n = n > len ? len : n;
	if (n)
		memcpy(data, (const char *)s->data + at, n);
	return (int64_t)n;
}

/* The entries of a batch that was found whole. */
static void check_entries(struct cairn_slice entries, uint32_t count)
{
	struct record_entry e;
	uint32_t n = 0;

	while (entries.len) {
		if (record_entry_get(entries, true, &e) || e.length > entries.len ||
		    e.key.len + e.value.len > e.length)
			abort();
		entries = cairn_slice((const char *)entries.data + e.length, entries.len - e.length);
		n++;
	}
	if (n != count)
		abort();
}

static void batches(struct cairn_slice bytes)
{
	struct record_scan s = { .source = { read_memory, &bytes, bytes.len }, .at = RECORD_FILE_HEAD };
	struct record_file_head head;
	struct record_batch_head b;
	struct cairn_slice entries;
	uint64_t where = 0, end;
	int r;

	if (bytes.len < RECORD_FILE_HEAD || record_file_head_get(bytes.data, &head))
		return;
	s.epoch = head.epoch;
	s.sequence = head.sequence;
	while ((r = record_scan_next(&s, &b, &entries)) == 1)
		check_entries(entries, b.count);
	end = s.at;
	if (r < 0 || end > bytes.len)
		abort();
	r = record_scan_proof(&s, &where);
	if (r < 0 || (r == 1 && (where < end || where >= bytes.len)))
		abort();
	for (s.at = end = RECORD_FILE_HEAD; (r = record_scan_salvage(&s, &b, &entries)) > 0; end = s.at) {
		if (s.at <= end || s.at > bytes.len || entries.len != b.length)
			abort();
		if (r == 2)
			check_entries(entries, b.count);
	}
	if (r < 0)
		abort();
	record_scan_end(&s);
}

static void hint(struct cairn_slice bytes)
{
	struct record_hint_head head;
	struct cairn_slice rest;
	struct record_hint e;
	uint32_t n = 0;

	if (!record_hint_get(bytes, &head))
		return;
	rest = cairn_slice((const char *)bytes.data + RECORD_HINT_HEAD, bytes.len - RECORD_HINT_HEAD);
	for (; record_hint_next(&rest, &e); n++)
		if ((uint64_t)e.offset + e.length > head.size || !e.key.len)
			abort();
	if (n != head.count)
		abort();
}

static void manifest(struct cairn_slice bytes)
{
	uint32_t count, next;
	uint64_t sum = 0;

	if (record_manifest_get(bytes, &count, &next))
		return;
	for (uint32_t i = 0; i < count; i++)
		sum += record_manifest_row(bytes, i).size;
	if (!count || sum == 1)
		return;
}

/* Heads of hints and of the MANIFEST with the right checksum, so that what is behind it is met, too. */
static void mend(unsigned char *p, size_t len)
{
	static const unsigned char zeros[4];
	uint32_t crc = crc32c(0, p, 12);

	crc = crc32c(crc, zeros, 4);
	le32_put(p + 12, crc32c(crc, p + 16, len - 16));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	unsigned char *copy;

	if (len < 17)
		return 0;
	copy = malloc(len - 1);
	memcpy(copy, data + 1, len - 1);
	if (data[0] & 4 && len > RECORD_FILE_HEAD)
		mend(copy, data[0] & 3 ? len - 1 : RECORD_FILE_HEAD);
	if ((data[0] & 3) == 0)
		batches(cairn_slice(copy, len - 1));
	else if ((data[0] & 3) == 1)
		hint(cairn_slice(copy, len - 1));
	else
		manifest(cairn_slice(copy, len - 1));
	free(copy);
	return 0;
}
