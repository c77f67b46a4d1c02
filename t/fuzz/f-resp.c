/*
 * The reader of Redis requests. The first byte says how small the pieces are that the rest arrives in;
 * however it arrives, the same requests must come out, each within the bytes that it was made from, up to the
 * same error.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define LIMIT (1 << 20)

/* What was read, as a sum over words and their places in the sequence; no words are kept. */
struct seen {
	uint64_t sum;
	size_t requests, bytes;
	bool bad;
};

static void add(struct seen *s, struct cairn_slice word)
{
	s->sum = s->sum * 1099511628211u + word.len;
	for (size_t i = 0; i < word.len; i++)
		s->sum = (s->sum ^ ((const uint8_t *)word.data)[i]) * 1099511628211u;
}

/* One request was read from the LEN bytes IN. */
static void take(struct reader *r, const uint8_t *in, size_t len, struct seen *s)
{
	const struct cairn_slice *args = r->count ? reader_args(r, cairn_slice(in, len)) : NULL;

	if (r->pos > len || r->pos == 0 || (r->count && !args))
		abort();
	for (size_t i = 0; i < r->count; i++) {
		const uint8_t *at = args[i].data;

		if (!r->is_inline && (at < in || at + args[i].len > in + r->pos))
			abort();
		add(s, args[i]);
	}
	s->requests++;
	s->bytes += r->pos;
}

/* Read all of DATA, of which a further PIECE arrives whenever more is needed. */
static struct seen read_all(const uint8_t *data, size_t len, size_t piece)
{
	struct reader r = { .limit = LIMIT };
	struct seen s = { 0 };
	size_t start = 0, end = piece < len ? piece : len;

	for (;;) {
		/* A copy of its own: what lies behind it must not be looked at. */
		size_t n = end - start, need = 0;
		uint8_t *in = malloc(n ? n : 1);
		const char *why = NULL;
		enum reader_result got;

		memcpy(in, data + start, n);
		got = reader_read(&r, cairn_slice(in, n), &need, &why);
		if (got == READER_DONE) {
			take(&r, in, n, &s);
			start += r.pos;
			reader_next(&r);
		}
		free(in);
		if (got == READER_BAD) {
			if (!why || !*why)
				abort();
			s.bad = true;
			break;
		}
		if (got == READER_MORE) {
			if (need && need <= n)
				abort();
			if (end == len)
				break;
			end = end + piece < len ? end + piece : len;
		}
	}
	reader_free(&r);
	return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct seen whole, pieces;

	if (len < 2 || len > 1 << 14)
		return 0;
	whole = read_all(data + 1, len - 1, len);
	pieces = read_all(data + 1, len - 1, data[0] % 64 + 1u);
	if (whole.sum != pieces.sum || whole.requests != pieces.requests || whole.bytes != pieces.bytes ||
	    whole.bad != pieces.bad)
		abort();
	return 0;
}
