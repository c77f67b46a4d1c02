/*
 * The bytes of an open file: the value as it was read, with what was written here since. Knows what was
 * written, so that the same changes can be made to a newer value when somebody else was faster. Pure; no
 * time, no server.
 */
#ifndef CONTENT_H
#define CONTENT_H

#include <stdint.h>
#include <cairn/slice.h>

/* Bytes that were written here. */
struct extent {
	size_t from, to;
};

/* Zero is an empty, clean content. */
struct content {
	unsigned char *data; /* owned */
	size_t len, cap;
	bool dirty;   /* differs from what the store has, as far as we know */
	bool whole;   /* replaces the value, whatever it is: nothing of it is kept */
	size_t kept;  /* not WHOLE: at most so much of the old value is kept (truncation); SIZE_MAX: all */
	size_t least; /* not WHOLE: at least so long through truncation */
	struct extent *extents; /* owned, in order, neither touching nor overlapping */
	size_t count, room;
};

void content_free(struct content *c);
/* Become a clean copy of VALUE. 0 or -ENOMEM. */
int content_set(struct content *c, struct cairn_slice value);
/* Add LEN bytes of the value to a clean content that is being read; DATA is copied. 0 or -ENOMEM. */
int content_load(struct content *c, struct cairn_slice more);
/* Write DATA at OFFSET; a hole before it reads as zeros. 0 or -ENOMEM, then nothing has changed. */
int content_write(struct content *c, size_t offset, struct cairn_slice data);
/* Cut, or lengthen by zeros. Down to 0 makes the content WHOLE. 0 or -ENOMEM. */
int content_truncate(struct content *c, size_t size);
/* Make the changes of C to VALUE instead: C is what the value should be now. 0 or -ENOMEM. */
int content_rebase(struct content *c, struct cairn_slice value);
/* Everything that was changed is in the store. */
void content_clean(struct content *c);

#endif
