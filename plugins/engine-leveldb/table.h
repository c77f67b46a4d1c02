/* Reading LevelDB's table files (.ldb) without trust in their bytes, to find and name what is damaged. */
#ifndef TABLE_H
#define TABLE_H

#include <stdbool.h>
#include <stdint.h>
#include <cairn/slice.h>

#define TABLE_FOOTER 48 /* bytes at the end of each table */

/* A table file as its reader sees it: READ gives up to LEN bytes at AT and says how many, or -errno. */
struct table_source {
	int (*read)(void *arg, void *data, size_t len, uint64_t at);
	void *arg;
	uint64_t size; /* bytes in all */
};

/* What is wrong with a table. */
struct table_fault {
	uint64_t at;        /* offset of the bad block or footer */
	const char *reason; /* a clause; static */
};

/* Take a number of LevelDB's variable length off *IN. Returns whether there was one. */
bool varint_take(struct cairn_slice *in, uint64_t *v);
/* Take a length and that many bytes off *IN. Returns whether they were there. */
bool varint_slice_take(struct cairn_slice *in, struct cairn_slice *out);

/*
 * Undo Snappy: IN into a new buffer *OUT of *LEN bytes, the caller's to free. -EBADMSG where IN is not Snappy
 * or grows beyond MAX, -ENOMEM.
 */
int snappy_expand(struct cairn_slice in, size_t max, unsigned char **out, size_t *len);

/* Whether the footer is one and points into the file: all that LevelDB does not check before it follows it.
 * 0, -EBADMSG with *FAULT, -errno. */
int table_check_footer(const struct table_source *t, struct table_fault *fault);
/* Check every block of the table. 0 where all are good, -EBADMSG with *FAULT for the first that is not,
 * -errno. */
int table_check(const struct table_source *t, struct table_fault *fault);

#endif
