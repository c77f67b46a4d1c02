/*
 * An engine in front of an engine: batches are kept in memory until they are flushed, many of them as one
 * synced batch with the position of the last. So the engine below waits for a disk once for a thousand
 * batches, and still holds a prefix of them after a crash; what it does not hold is in the journal.
 *
 * Readers see the newest map, the one that is being flushed, and the engine below, as one state.
 */
#ifndef OVERLAY_H
#define OVERLAY_H

#include "engine.h"

/*
 * Put an overlay in front of LOWER, which is open and is UPPER's from now on. UPPER is used as any engine: a
 * write without sync is absorbed, one with sync flushes. engine_close closes both and flushes nothing. 0 or
 * -ENOMEM, and LOWER stays the caller's.
 */
int overlay_open(struct engine *upper, struct engine *lower);

/*
 * Bring everything that was absorbed before into the engine below, synced. From any thread, beside writes and
 * reads. 0 or -errno with *ERROR; then all of it is still there, and it can be tried again.
 */
int overlay_flush(struct engine *upper, struct cairn_error *error);

struct overlay_facts {
	uint64_t bytes;                /* in memory, not flushed */
	uint64_t rows;                 /* that these are */
	uint64_t since_ns;             /* clock_boot_ns of the oldest batch among them; 0: there is none */
	uint64_t flushes;              /* done */
	struct cairn_position flushed; /* the engine below holds everything up to here, durably */
};
void overlay_facts(struct engine *upper, struct overlay_facts *facts);

#endif
