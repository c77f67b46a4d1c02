/*
 * Requests off a stream of bytes, as functions over bytes alone: RESP arrays of bulk strings, or inline
 * commands, which are lines of words as one types them into telnet.
 */
#ifndef RESP_READER_H
#define RESP_READER_H

#include <stdbool.h>
#include <stdint.h>
#include <cairn/slice.h>

#define READER_INLINE_MAX 65536        /* longest line */
#define READER_WORDS_MAX (1024 * 1024) /* most words of a request */
#define READER_KEEP 64                 /* words that room is kept for */

/* Where a word lies. */
struct reader_word {
	size_t at, len;
};

/* One request being read. Zero-initialise; reader_free. */
struct reader {
	size_t limit; /* most bytes of a request, and of a word */
	bool small;   /* the client is not let in yet: short requests only */
	/* The rest is the reader's. */
	size_t pos;    /* bytes that were looked at */
	size_t want;   /* words that are missing */
	bool array;    /* the head was read: WANT is known */
	bool has_size; /* so was that of the next word: */
	size_t size;
	struct reader_word *words; /* owned */
	size_t count, cap;
	char *line; /* owned; the words of an inline request lie here, without their quotes */
	bool is_inline;
	struct cairn_slice *args; /* owned; see reader_args */
	size_t args_cap;
	char text[64]; /* a sentence */
};

enum reader_result { READER_MORE, READER_DONE, READER_BAD };

/*
 * Look at the request that begins IN; called again with more bytes behind the same ones it goes on where it
 * was. DONE: it has R->pos bytes and R->count words (none: nothing to do). MORE: *NEED is how many bytes
 * there must be, where that is known. BAD: *WHY is a sentence for the client, and nobody knows where the next
 * request begins.
 */
enum reader_result reader_read(struct reader *r, struct cairn_slice in, size_t *need, const char **why);
/* The words of the request that begins IN, valid until R or IN change; NULL when there is no memory. */
const struct cairn_slice *reader_args(struct reader *r, struct cairn_slice in);
/* The request was served: the next one. */
void reader_next(struct reader *r);
void reader_free(struct reader *r);

#endif
