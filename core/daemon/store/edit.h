/* A value in chunks while parts of it are changed: edit_start, any number of changes, edit_end. */
#ifndef EDIT_H
#define EDIT_H

#include "content.h"

struct entry {
	struct piece p;
	bool owned; /* held for this list, not by the old value */
};

struct edit {
	struct work *w;
	const struct record *old;
	struct entry *at; /* the value so far; memory of the arena */
	size_t count, cap;
	uint64_t length; /* of the value so far */
};

/* Start with the value of OLD as a list of chunks. Functions return 0 or a code, as those of content.h. */
enum cairn_code edit_start(struct edit *e, struct work *w, const struct record *old);
/* Add BYTES, or N zeros, at the end; whole chunks of zeros are one chunk that the list has several times. */
enum cairn_code edit_append(struct edit *e, struct cairn_slice bytes);
enum cairn_code edit_zeros(struct edit *e, uint64_t n);
/* Cut the value to LENGTH bytes, fewer than it has. */
enum cairn_code edit_truncate(struct edit *e, uint64_t length);
/* Overwrite bytes that are there. */
enum cairn_code edit_write(struct edit *e, uint64_t offset, struct cairn_slice bytes);
/* COUNT pieces (not 0) of LENGTH bytes together, which are held for the list from now on, take the place of
 * what is there from OFFSET (at most the value's length) on. */
enum cairn_code edit_splice(struct edit *e, uint64_t offset, const struct piece *pieces, size_t count,
			    uint64_t length);
/* The same with LENGTH (not 0) zeros. */
enum cairn_code edit_punch(struct edit *e, uint64_t offset, uint64_t length);
/* The value becomes NEXT's: more than stands in a record. */
enum cairn_code edit_end(struct edit *e, struct record *next);

#endif
