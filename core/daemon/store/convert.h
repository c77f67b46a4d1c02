/*
 * A store moves to another engine while it serves. A snapshot of it goes over as a stream, in memory;
 * commands that are applied meanwhile are kept, and applied again to the new store; when nothing is left, and
 * nothing is applied for a moment, both must have the same digest.
 */
#ifndef CONVERT_H
#define CONVERT_H

#include <stdatomic.h>
#include "store.h"

struct store_convert;

struct store_convert_progress {
	_Atomic uint64_t rows, bytes; /* out */
	_Atomic bool stop;            /* in: give up */
};

/*
 * Begin to move OLD to the empty engine TO, while nothing is applied. TO, SETTINGS and PROGRESS are the
 * caller's, as long as X. From here on every batch must be given to store_convert_keep.
 */
enum cairn_code store_convert_open(struct store_convert **x, struct store *old, struct engine *to,
				   const struct store_settings *settings,
				   struct store_convert_progress *progress, struct cairn_error *error);
/* The COUNT commands of a batch that is in; in the thread that applies. */
void store_convert_keep(struct store_convert *x, const struct store_command *commands, size_t count);
/*
 * In a worker, beside commands: copy everything, then apply what was kept until little is left. UNSUPPORTED
 * names a key that is too long for the new engine, TIMEOUT: it was told to stop.
 */
enum cairn_code store_convert_copy(struct store_convert *x, struct cairn_error *error);
/* While nothing is applied: apply the rest, and compare. Then TO is a store of its own, durable where the
 * engine is. */
enum cairn_code store_convert_finish(struct store_convert *x, struct cairn_error *error);
/* NULL is allowed. No batch is given any more. */
void store_convert_close(struct store_convert *x);

#endif
