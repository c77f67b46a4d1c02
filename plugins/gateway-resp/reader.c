/*
 * The reader of requests. It looks at each byte once, however the bytes arrive, and keeps places in the
 * input, not copies: only an inline request, whose words may be quoted, is taken apart into memory of its
 * own. Whatever is out of bounds ends the connection, with the sentence that Redis has for it.
 */
#include <stdio.h>
#include <stdlib.h>
#include "reader.h"
#include "banned.h"

#define DIGITS 18 /* of a number */
#define SMALL_WORDS 10
#define SMALL_SIZE 16384

/*
 * The number on the line that begins at R->pos with one byte of type. 1: it is in *N, and pos is behind the
 * line. 0: more bytes are needed. -1: it is no number.
 */
static int read_number(struct reader *r, struct cairn_slice in, long long *n)
{
	const char *p = (const char *)in.data + r->pos + 1, *end = (const char *)in.data + in.len, *start = p;
	bool negative = p < end && *p == '-';
	long long v = 0;

	p += negative;
	for (; p < end && *p >= '0' && *p <= '9'; p++)
		if (p - start >= DIGITS + negative)
			return -1;
		else
			v = v * 10 + (*p - '0');
	if (p == end || p + 1 == end)
		return p < end && *p != '\r' ? -1 : 0;
	if (*p != '\r' || p == start + negative)
		return -1;
	r->pos = (size_t)(p + 2 - (const char *)in.data);
	*n = negative ? -v : v;
	return 1;
}

static bool add_word(struct reader *r, size_t at, size_t len)
{
	if (r->count == r->cap) {
		size_t cap = r->cap ? r->cap * 2 : 16;
		struct reader_word *words = realloc(r->words, cap * sizeof(*words));

		if (!words)
			return false;
		r->words = words;
		r->cap = cap;
	}
	r->words[r->count++] = (struct reader_word){ at, len };
	return true;
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9'    ? c - '0'
		: c >= 'a' && c <= 'f' ? c - 'a' + 10
		: c >= 'A' && c <= 'F' ? c - 'A' + 10
				       : -1;
}

/* The byte that the escape behind the backslash at P stands for; *P is set to its last byte. */
static char unescape(const char **p, const char *end)
{
	const char *q = *p + 1;

	*p = q;
	if (*q == 'x' && end - q > 2 && hex_digit(q[1]) >= 0 && hex_digit(q[2]) >= 0) {
		*p = q + 2;
		return (char)(hex_digit(q[1]) << 4 | hex_digit(q[2]));
	}
	return *q == 'n'    ? '\n'
		: *q == 'r' ? '\r'
		: *q == 't' ? '\t'
		: *q == 'b' ? '\b'
		: *q == 'a' ? '\a'
			    : *q;
}

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* One word of a line, from *P on, without its quotes, to *OUT. False where a quote is not closed. */
static bool take_word(const char **p, const char *end, char **out)
{
	char quote = 0;

	for (; *p < end && (quote || !is_space(**p)); (*p)++) {
		if (!quote && (**p == '"' || **p == '\'')) {
			quote = **p;
		} else if (quote && **p == quote) {
			(*p)++;
			return *p == end || is_space(**p);
		} else if (quote == '"' && **p == '\\' && *p + 1 < end) {
			*(*out)++ = unescape(p, end);
		} else if (quote == '\'' && **p == '\\' && *p + 1 < end && (*p)[1] == '\'') {
			*(*out)++ = *++*p;
		} else {
			*(*out)++ = **p;
		}
	}
	return !quote;
}

static enum reader_result read_inline(struct reader *r, struct cairn_slice in, const char **why)
{
	const char *p = in.data, *newline = memchr(p + r->pos, '\n', in.len - r->pos), *end = newline;
	char *out;

	if (!newline && in.len <= READER_INLINE_MAX) {
		r->pos = in.len;
		return READER_MORE;
	}
	*why = "Protocol error: too big inline request";
	if (!newline)
		return READER_BAD;
	r->pos = (size_t)(newline + 1 - p);
	r->is_inline = true;
	if (end > p && end[-1] == '\r')
		end--;
	free(r->line);
	out = r->line = malloc((size_t)(end - p) + 1);
	*why = "out of memory";
	if (!out)
		return READER_BAD;
	for (;;) {
		char *start = out;

		while (p < end && is_space(*p))
			p++;
		if (p == end)
			return READER_DONE;
		*why = "Protocol error: unbalanced quotes in request";
		if (!take_word(&p, end, &out))
			return READER_BAD;
		*why = "out of memory";
		if (!add_word(r, (size_t)(start - r->line), (size_t)(out - start)))
			return READER_BAD;
	}
}

static enum reader_result read_head(struct reader *r, struct cairn_slice in, const char **why)
{
	long long n;
	int e = read_number(r, in, &n);

	if (e == 0)
		return READER_MORE;
	*why = "Protocol error: invalid multibulk length";
	if (e < 0 || n > READER_WORDS_MAX)
		return READER_BAD;
	*why = "Protocol error: unauthenticated multibulk length";
	if (r->small && n > SMALL_WORDS)
		return READER_BAD;
	r->want = n > 0 ? (size_t)n : 0;
	r->array = true;
	return READER_DONE;
}

/* The size before the next word. */
static enum reader_result read_size(struct reader *r, struct cairn_slice in, const char **why)
{
	const char *p = (const char *)in.data + r->pos;
	long long n;
	int e;

	if (r->pos == in.len)
		return READER_MORE;
	if (*p != '$') {
		snprintf(r->text, sizeof(r->text), "Protocol error: expected '$', got '%c'",
			 *p >= ' ' && *p < 127 ? *p : '?');
		*why = r->text;
		return READER_BAD;
	}
	e = read_number(r, in, &n);
	if (e == 0)
		return READER_MORE;
	*why = "Protocol error: invalid bulk length";
	if (e < 0 || n < 0 || (uint64_t)n > r->limit || r->pos + (size_t)n > r->limit + READER_INLINE_MAX)
		return READER_BAD;
	*why = "Protocol error: unauthenticated bulk length";
	if (r->small && n > SMALL_SIZE)
		return READER_BAD;
	r->size = (size_t)n;
	r->has_size = true;
	return READER_DONE;
}

enum reader_result reader_read(struct reader *r, struct cairn_slice in, size_t *need, const char **why)
{
	enum reader_result e;

	*need = 0;
	if (!in.len)
		return READER_MORE;
	if (r->is_inline) /* it was read before, and had to wait */
		return READER_DONE;
	if (!r->array) {
		if (*(const char *)in.data != '*')
			return read_inline(r, in, why);
		e = read_head(r, in, why);
		if (e != READER_DONE)
			return e;
	}
	while (r->want) {
		if (!r->has_size) {
			e = read_size(r, in, why);
			if (e != READER_DONE)
				return e;
		}
		if (in.len - r->pos < r->size + 2) {
			*need = r->pos + r->size + 2;
			return READER_MORE;
		}
		*why = "out of memory";
		if (!add_word(r, r->pos, r->size))
			return READER_BAD;
		r->pos += r->size + 2;
		r->has_size = false;
		r->want--;
	}
	return READER_DONE;
}

const struct cairn_slice *reader_args(struct reader *r, struct cairn_slice in)
{
	const char *base = r->is_inline ? r->line : in.data;

	if (r->args_cap < r->count) {
		struct cairn_slice *args = realloc(r->args, r->cap * sizeof(*args));

		if (!args)
			return NULL;
		r->args = args;
		r->args_cap = r->cap;
	}
	for (size_t i = 0; i < r->count; i++)
		r->args[i] = cairn_slice(base + r->words[i].at, r->words[i].len);
	return r->args;
}

void reader_next(struct reader *r)
{
	if (r->cap > READER_KEEP || r->is_inline) {
		struct reader old = *r;

		reader_free(r);
		r->limit = old.limit;
		r->small = old.small;
		return;
	}
	r->pos = r->count = 0;
	r->array = r->has_size = false;
}

void reader_free(struct reader *r)
{
	free(r->words);
	free(r->args);
	free(r->line);
	*r = (struct reader){ 0 };
}
