/* Frozen bytes: what an older build of this format wrote, this one must write and read. rows.md describes
 * them. */
#include <errno.h>
#include <cairn/message.h>
#include "meta.h"
#include "record.h"
#include "requests.h"
#include "rows.h"
#include "tap.h"
#include "banned.h"

static const char *hex(const void *data, size_t len)
{
	static char text[2048];
	const unsigned char *p = data;

	for (size_t i = 0; i < len && i < sizeof(text) / 2 - 1; i++)
		snprintf(text + 2 * i, 3, "%02x", p[i]);
	return text;
}

static void keys(void)
{
	unsigned char buffer[64];
	struct cairn_slice k;

	k = row_key(buffer, ROW_LATEST, cairn_str("a/b"));
	is_str(hex(k.data, k.len), "6b612f62", "key of a record");
	k = row_key(buffer, ROW_FOLDER, cairn_str("a/"));
	is_str(hex(k.data, k.len), "66612f", "key of a folder");
	k = row_chunk_key(buffer, ROW_CHUNK, 0x0102030405060708);
	is_str(hex(k.data, k.len), "620102030405060708", "key of a chunk");
	k = row_change_key(buffer, 0x0102030405060708, 9);
	is_str(hex(k.data, k.len), "63010203040506070800000009", "key of a change");
	k = row_piece_key(buffer, cairn_str("0123456789abcdef"), 258);
	is_str(hex(k.data, k.len), "753031323334353637383961626364656600000102", "key of a staged piece");
	k = row_prefix_end(buffer, cairn_str("a/\xff\xff"));
	is_str(hex(k.data, k.len), "6130", "the end of a prefix");
	is_int(row_prefix_end(buffer, cairn_str("\xff")).len, 0, "a prefix without an end");
	is_int(row_checksum(cairn_str("ka"), cairn_str("body")), 0xf2d0d0eb, "checksum of a row");
}

static const struct record full = {
	.head = { .revision = 7,
		  .time_ns = 1700000000000000001,
		  .length = 5,
		  .version = 3,
		  .ordinal = 2,
		  .kind = CAIRN_KIND_SYMLINK,
		  .change = CHANGE_MOVE,
		  .flags = RECORD_OPEN },
	.content = { "hello", 5 },
	.create_revision = 4,
	.previous_revision = 6,
	.previous_ordinal = 1,
	.expiry_ns = 9,
	.file_id = 0x1122,
	.attributes = { "\x1b\x08\0\0\xa4\x01\0\0\0\0\0\0", 12 },
	.author = { "ops@n1", 6 },
	.face = { "mount", 5 },
	.since = 2,
	.other = { "b", 1 },
	.data_version = 1,
};

static void records(void)
{
	unsigned char buffer[512];
	struct record r = full, back;
	struct cairn_slice body, content;
	size_t n = record_size(&r);

	record_encode(&r, buffer);
	body = cairn_slice(buffer, n);
	is_str(hex(buffer, n),
	       "070000000000000001002a36fe9c9717050000000000000003000000000000000200000002060500"
	       "0105000068656c6c6f030800000400000000000000040c0000060000000000000001000000050800"
	       "000900000000000000060800002211000000000000070c00001b080000a401000000000000080600"
	       "006f7073406e31090500006d6f756e740c08000002000000000000000d010000620e080000010000"
	       "0000000000",
	       "a record with every section");
	is_int(record_decode(body, &back), 0, "it is read");
	ok(back.head.revision == 7 && back.head.time_ns == 1700000000000000001 && back.head.version == 3 &&
		   back.head.ordinal == 2 && back.head.kind == CAIRN_KIND_SYMLINK &&
		   back.head.change == CHANGE_MOVE && back.head.flags == (RECORD_OPEN | RECORD_EXPIRES) &&
		   back.create_revision == 4 && back.previous_revision == 6 && back.previous_ordinal == 1 &&
		   back.expiry_ns == 9 && back.file_id == 0x1122 && back.since == 2 && back.data_version == 1,
	   "with the same numbers");
	ok(cairn_slice_eq(back.content, r.content) && cairn_slice_eq(back.attributes, r.attributes) &&
		   cairn_slice_eq(back.author, r.author) && cairn_slice_eq(back.face, r.face) &&
		   cairn_slice_eq(back.other, r.other),
	   "and the same bytes");
	ok(record_content(body, &content) && cairn_slice_eq(content, r.content),
	   "its value is found at once");
	for (size_t cut = 0; cut < n; cut++) {
		unsigned char *part = malloc(cut ? cut : 1);

		record_decode(cairn_slice(memcpy(part, buffer, cut), cut), &back);
		free(part);
	}
	is_int(record_decode(cairn_slice(buffer, n - 1), &back), -EUCLEAN, "a cut one is damaged");
	buffer[16]++;
	is_int(record_decode(body, &back), -EUCLEAN, "so is one whose length is not its value's");
	r = (struct record){ .head = { .revision = 1, .version = 1, .change = CHANGE_PUT },
			     .create_revision = 1,
			     .file_id = 1 };
	record_encode(&r, buffer);
	is_str(hex(buffer, record_size(&r)),
	       "01000000000000000000000000000000000000000000000001000000000000000000000000010000"
	       "060800000100000000000000",
	       "an empty value");
	ok(record_content(cairn_slice(buffer, record_size(&r)), &content) && content.len == 0,
	   "is an empty value");
}

static void small_bodies(void)
{
	unsigned char b[64];
	struct folder f = { 1, 2, 3, 4, true };
	struct piece p = { 1, 2, 3 };
	struct upload u = { 1, 2, 3 };

	folder_encode(&f, b);
	is_str(hex(b, FOLDER_BYTES), "010000000000000002000000000000000300000000000000040000000000000001",
	       "a folder");
	piece_encode(&p, b);
	is_str(hex(b, PIECE_BYTES), "0100000000000000020000000000000003000000", "a piece");
	upload_encode(&u, b);
	is_str(hex(b, UPLOAD_BYTES), "0100000000000000020000000000000003000000", "an upload");
	is_int(folder_decode(cairn_slice(b, FOLDER_BYTES - 1), &f), -EUCLEAN, "a short folder is damaged");
	is_int(upload_decode(cairn_slice(b, UPLOAD_BYTES + 1), &u), -EUCLEAN, "a long upload is damaged");
}

static void changes(void)
{
	unsigned char b[128];
	struct change c = { .time_ns = 1,
			    .next_revision = 2,
			    .next_time_ns = 3,
			    .next_ordinal = 4,
			    .kind = CHANGE_MOVE,
			    .flags = CHANGE_GONE,
			    .held = 5,
			    .key = cairn_str("a/b"),
			    .other = cairn_str("c"),
			    .record = cairn_str("record") },
		      back;
	size_t n = change_size(&c);

	change_encode(&c, b);
	is_str(hex(b, n),
	       "0100000000000000020000000000000003000000000000000500000000000000040000000601030001000000"
	       "612f62637265636f7264",
	       "a change");
	ok(change_decode(cairn_slice(b, n), &back) == 0 && back.next_ordinal == 4 && back.held == 5 &&
		   cairn_slice_eq(back.key, c.key) && cairn_slice_eq(back.other, c.other) &&
		   cairn_slice_eq(back.record, c.record),
	   "it is read");
	is_int(change_decode(cairn_slice(b, n - 6), &back), -EUCLEAN,
	       "replaced and without a record: damaged");
	is_int(change_decode(cairn_slice(b, CHANGE_HEAD + 3), &back), -EUCLEAN, "a cut one is damaged");
	c = (struct change){ .time_ns = 1, .kind = CHANGE_PUT, .key = cairn_str("a") };
	n = change_size(&c);
	change_encode(&c, b);
	is_str(hex(b, n),
	       "010000000000000000000000000000000000000000000000000000000000000000000000010001000000000061",
	       "one that was not replaced");
}

static void meta(void)
{
	unsigned char body[META_BYTES], again[META_BYTES], digest[16];
	struct meta m = {
		.flags = META_FOLDERS,
		.position = { 1, 2 },
		.configuration = 3,
		.history_used = 4,
		.reclaimed = 28,
		.revision = 5,
		.clock_ns = 6,
		.floor = 7,
		.request_floor = 8,
		.next_file_id = 9,
		.next_chunk = 10,
		.keys = 11,
		.bytes = 12,
		.staged = 13,
		.clients = 14,
		.request_bytes = 15,
		.key_max = 16,
		.value_limit = 17,
		.inline_max = 18,
		.chunk_max = 19,
		.bulk_keys = 20,
		.bulk_bytes = 21,
		.history = 22,
		.history_age_ns = 23,
		.history_bytes = 24,
		.quota = 25,
		.history_from_ns = 29,
		.history_before = 30,
		.history_since = 31,
		.rows = { 26, 27 },
	}, back = { 0 };
	uint32_t format = 0;

	meta_encode(&m, body);
	is_str(hex(body, META_BYTES),
	       "02000000020000000100000000000000020000000000000003000000000000000400000000000000"
	       "1c000000000000000500000000000000060000000000000007000000000000000800000000000000"
	       "09000000000000000a000000000000000b000000000000000c000000000000000d00000000000000"
	       "0e000000000000000f00000000000000100000000000000011000000000000001200000000000000"
	       "13000000000000001400000000000000150000000000000016000000000000001700000000000000"
	       "180000000000000019000000000000001d000000000000001e000000000000001f00000000000000"
	       "1a000000000000001b0000000000000000000000a4ad7fa8",
	       "meta");
	is_int(meta_decode(cairn_slice(body, META_BYTES), &back, &format), 0, "it is read");
	meta_encode(&back, again);
	ok(memcmp(body, again, META_BYTES) == 0, "and says the same");
	meta_digest(&m, digest);
	is_str(hex(digest, 16), "d6bed62895094bcbc560bef55231edfd", "its digest");
	m.position.index = 99;
	m.flags |= META_CHECKSUMS;
	meta_digest(&m, digest);
	is_str(hex(digest, 16), "d6bed62895094bcbc560bef55231edfd",
	       "depends neither on the position nor on the engine");
	body[100] ^= 1;
	is_int(meta_decode(cairn_slice(body, META_BYTES), &back, &format), -EUCLEAN,
	       "a flipped bit is noticed");
	body[0] = 3;
	is_int(meta_decode(cairn_slice(body, META_BYTES), &back, &format), -EPROTONOSUPPORT,
	       "a newer format is refused");
	is_int(format, 3, "and named");
}

static void hashes(void)
{
	struct hash h =
		hash_two(cairn_str("key"), cairn_str("a body of more than thirty-two bytes, to be sure"));
	struct hash sum = { ~0ull, 5 };

	is_str(hex(&h, sizeof(h)), "c622abaef6076b7c55ca56230421ea91", "hash of two runs");
	ok(hash_bytes(cairn_str("")) != hash_bytes(cairn_slice("\0", 1)), "a zero byte counts");
	h = hash_two(cairn_str("ab"), cairn_str("c"));
	ok(h.lo != hash_two(cairn_str("a"), cairn_str("bc")).lo, "where the runs part counts");
	hash_add(&sum, h);
	hash_subtract(&sum, h);
	ok(sum.lo == ~0ull && sum.hi == 5, "a sum is taken back");
}

int main(void)
{
	keys();
	records();
	small_bodies();
	changes();
	meta();
	hashes();
	return tap_done();
}
