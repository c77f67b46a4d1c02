/* Growing bytes: capacity doubles, a failed allocation sticks and later additions do nothing. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "buffer.h"
#include "banned.h"

void *buffer_room(struct buffer *b, size_t n)
{
	if (b->error)
		return NULL;
	if (b->cap - b->len < n) {
		size_t cap = b->cap ? b->cap * 2 : 256;
		unsigned char *p;

		while (cap - b->len < n)
			cap *= 2;
		p = realloc(b->data, cap);
		if (!p) {
			b->error = -ENOMEM;
			return NULL;
		}
		b->data = p;
		b->cap = cap;
	}
	b->len += n;
	return b->data + b->len - n;
}

void buffer_add(struct buffer *b, struct cairn_slice bytes)
{
	void *p = buffer_room(b, bytes.len);

	if (p && bytes.len)
		memcpy(p, bytes.data, bytes.len);
}

void buffer_text(struct buffer *b, const char *text)
{
	buffer_add(b, cairn_str(text));
}

void buffer_printf(struct buffer *b, const char *format, ...)
{
	va_list args, again;
	char *p;
	int n;

	va_start(args, format);
	va_copy(again, args);
	n = vsnprintf(NULL, 0, format, args);
	va_end(args);
	p = n < 0 ? NULL : buffer_room(b, (size_t)n + 1);
	if (p) {
		vsnprintf(p, (size_t)n + 1, format, again);
		b->len--;
	}
	va_end(again);
}

void buffer_free(struct buffer *b)
{
	free(b->data);
	*b = (struct buffer){ 0 };
}
