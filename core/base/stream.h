/*
 * The stream format: how a whole store travels, in a file or over a connection (stream.md has the byte
 * counts). Here is the frame only: blocks with a checksum, compressed where this build can; what the blocks
 * hold is the store's business (store/snapshot.h). Each block stands for itself, so that a reader can begin
 * at any of them.
 */
#ifndef STREAM_H
#define STREAM_H

#include <stdint.h>
#include <cairn/errors.h>
#include "buffer.h"

#define STREAM_VERSION 1
#define STREAM_HEAD 32              /* bytes of the head */
#define STREAM_BLOCK_HEAD 28        /* bytes of a block before its content */
#define STREAM_BLOCK (256u << 10)   /* content of a block from which on a writer ends it */
#define STREAM_BLOCK_MAX (4u << 20) /* most content of a block */
#define STREAM_ROW_MAX (3u << 20)   /* most bytes of one row, its head counted */
#define STREAM_ROW_HEAD 6           /* bytes of a row before its key */

enum stream_kind {
	STREAM_FACTS = 1, /* the first block: fields of a message, for people and for the reader */
	STREAM_ROWS = 2,  /* rows in the order of their keys */
	STREAM_END = 3,   /* the last block: fields of a message */
};

enum stream_compression { STREAM_PLAIN = 0, STREAM_ZSTD = 1 };

/* Whether this build can write and read compressed blocks. */
bool stream_can_compress(void);

/* Writes blocks. Zeroed is ready; freed with stream_writer_free. */
struct stream_writer {
	uint64_t sequence; /* of the next block */
	bool compress;
	void *compressor; /* owned */
};

void stream_writer_free(struct stream_writer *w);
/* Add the head to OUT. Failures stick in OUT. */
void stream_head(struct buffer *out);
/* Add a block with CONTENT (at most STREAM_BLOCK_MAX bytes) to OUT. Failures stick in OUT. */
void stream_block(struct stream_writer *w, enum stream_kind kind, struct cairn_slice content,
		  struct buffer *out);
/* Add a row to the content of a block. Failures stick in CONTENT. */
void stream_row(struct buffer *content, struct cairn_slice key, struct cairn_slice value);

/* A block that was read. CONTENT is valid until the next call on its reader. */
struct stream_content {
	enum stream_kind kind;
	uint64_t offset; /* of its first byte in the stream */
	size_t stored;   /* bytes that it has there */
	struct cairn_slice content;
};

/* Reads blocks from pieces of any size. Zeroed is ready; freed with stream_reader_free. */
struct stream_reader {
	uint64_t offset;   /* bytes of the stream that were taken, those in IN not counted */
	uint64_t sequence; /* of the next block */
	bool begun;        /* the head has been read */
	bool ended;        /* the last block has been read */
	struct buffer in, plain;
	void *decompressor; /* owned */
};

void stream_reader_free(struct stream_reader *r);
/*
 * Take bytes off *IN until a block is whole: then 1 and *BLOCK. 0 where all of *IN was taken and more is
 * needed. -1 with *ERROR where the stream is damaged (CORRUPT, with the offset), is none (INVALID), or needs
 * another release or build (UNSUPPORTED); the reader is of no use then.
 */
int stream_take(struct stream_reader *r, struct cairn_slice *in, struct stream_content *block,
		struct cairn_error *error);
/* The stream ends here: whether it was whole. CORRUPT with the offset where it was not. */
enum cairn_code stream_ends(const struct stream_reader *r, struct cairn_error *error);

/* Take the first row off *ROWS. 1; 0 at the end; -1 where the bytes are no rows. */
int stream_row_next(struct cairn_slice *rows, struct cairn_slice *key, struct cairn_slice *value);

#endif
