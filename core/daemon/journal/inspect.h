/*
 * A look at a journal's files in whatever state they are: every whole batch, and the places where bytes are
 * missing between them. Nothing is written, and no daemon may be writing.
 */
#ifndef INSPECT_H
#define INSPECT_H

#include <cairn/errors.h>
#include "batch.h"

struct journal_visitor {
	void *arg;
	/* Called in order; NULL: not wanted. A result that is not 0 ends the look. */
	int (*segment)(void *arg, const char *name, uint64_t bytes);
	/* A whole batch that counts. */
	int (*batch)(void *arg, const char *name, uint64_t at, const struct batch_head *h,
		     struct cairn_slice records);
	/*
	 * BYTES bytes from AT on are none, and later ones are (or must be) there. Or, TORN: the rest of the
	 * last batch is missing. *H is the head that stands there, sequence 0 where that cannot be read
	 * either; RECORDS, not checked by any sum, is what stands behind it.
	 */
	int (*damage)(void *arg, const char *name, uint64_t at, uint64_t bytes, bool torn,
		      const struct batch_head *h, struct cairn_slice records);
};

/* Look at the journal in FOLDER. 0, or what a function of V returned; NOT_FOUND, UNSUPPORTED (a newer
 * format), INTERNAL, with *ERROR. */
int journal_inspect(const char *folder, const struct journal_visitor *v, struct cairn_error *error);

#endif
