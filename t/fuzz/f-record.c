/* What the store reads back from its engine: records, meta, folders, uploads, results of writes, checksums.
 * What is taken must encode to something that is taken as the same. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include "meta.h"
#include "record.h"
#include "requests.h"
#include "rows.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void record(struct cairn_slice body)
{
	struct record_head head;
	struct record r, back;
	struct cairn_slice content;
	unsigned char *p;

	if (record_head_decode(body, &head) == 0)
		record_content(body, &content);
	if (record_decode(body, &r))
		return;
	p = malloc(record_size(&r) + 1);
	if (!p)
		abort();
	record_encode(&r, p);
	if (record_decode(cairn_slice(p, record_size(&r)), &back) || record_size(&back) != record_size(&r) ||
	    memcmp(&back.head, &r.head, sizeof(r.head)) || !cairn_slice_eq(back.content, r.content) ||
	    !cairn_slice_eq(back.chunks, r.chunks) || !cairn_slice_eq(back.attributes, r.attributes) ||
	    back.create_revision != r.create_revision || back.previous_revision != r.previous_revision ||
	    back.expiry_ns != r.expiry_ns || back.file_id != r.file_id ||
	    !cairn_slice_eq(back.author, r.author))
		abort();
	free(p);
}

static void meta(struct cairn_slice body)
{
	unsigned char again[META_BYTES], digest[16];
	struct meta m = { 0 };
	uint32_t format;

	if (meta_decode(body, &m, &format))
		return;
	meta_digest(&m, digest);
	meta_encode(&m, again);
	if (meta_decode(cairn_slice(again, sizeof(again)), &m, &format))
		abort();
}

static void rows(struct cairn_slice body)
{
	unsigned char end[64], again[FOLDER_BYTES > UPLOAD_BYTES ? FOLDER_BYTES : UPLOAD_BYTES];
	struct cairn_slice inner;
	struct folder folder;
	struct upload upload;
	struct hash sum = { 0 };
	struct piece piece;

	if (folder_decode(body, &folder) == 0) {
		folder_encode(&folder, again);
		if (folder_decode(cairn_slice(again, FOLDER_BYTES), &folder))
			abort();
	}
	if (upload_decode(body, &upload) == 0) {
		upload_encode(&upload, again);
		if (memcmp(again, body.data, UPLOAD_BYTES))
			abort();
	}
	if (body.len >= PIECE_BYTES) {
		piece_decode(body.data, &piece);
		piece_encode(&piece, again);
		if (memcmp(again, body.data, PIECE_BYTES))
			abort();
	}
	if (body.len <= sizeof(end)) {
		inner = row_prefix_end(end, body);
		if (inner.len && cairn_slice_cmp(inner, body) <= 0)
			abort();
	}
	row_verify(cairn_slice("k", 1), body, &inner);
	requests_digest(&sum, cairn_slice("r0123456789abcdef", ROW_REQUEST_KEY), body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	record(cairn_slice(data, len));
	meta(cairn_slice(data, len));
	rows(cairn_slice(data, len));
	return 0;
}
