/* Reads beside the applying thread: straight from the engine, which holds whole batches only. */
#ifndef READ_H
#define READ_H

#include "state.h"

/* One reader. */
struct reader {
	struct store *s;
	struct cairn_guard guard;
	void *snapshot; /* or NULL: now */
	unsigned flags; /* CAIRN_READ_NO_WAIT or 0 */
	struct cairn_error *error;
};

/* The body of a row, lent until the guard ends. 0, -ENOENT, -EAGAIN, or another -errno. */
int read_row(struct reader *r, struct cairn_slice key, struct cairn_slice *body);
/* The code and the sentence for E from read_row or an iterator, about KEY. */
enum cairn_code read_failed(struct reader *r, int e, struct cairn_slice key);

#endif
