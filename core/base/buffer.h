/* Bytes that grow. A failure sticks, so that callers add all they have and look once at the end. */
#ifndef BUFFER_H
#define BUFFER_H

#include <cairn/slice.h>

/* Zero-initialise; the holder frees it with buffer_free. */
struct buffer {
	unsigned char *data; /* owned */
	size_t len, cap;
	int error; /* 0 or -ENOMEM, sticky until buffer_free */
};

/* Room for N more bytes, counted as there at once; NULL on failure. Valid until the buffer changes. */
void *buffer_room(struct buffer *b, size_t n);
void buffer_add(struct buffer *b, struct cairn_slice bytes);
void buffer_text(struct buffer *b, const char *text);
__attribute__((format(printf, 2, 3))) void buffer_printf(struct buffer *b, const char *format, ...);
void buffer_free(struct buffer *b);

static inline void buffer_byte(struct buffer *b, char c)
{
	if (b->len < b->cap)
		b->data[b->len++] = (unsigned char)c;
	else
		buffer_add(b, cairn_slice(&c, 1));
}

static inline struct cairn_slice buffer_slice(const struct buffer *b)
{
	return (struct cairn_slice){ b->data, b->len };
}

#endif
