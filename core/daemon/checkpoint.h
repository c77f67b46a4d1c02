/*
 * Checkpoints: a store whose engine forgets what it was given is written as a stream into a file of its
 * volume's folder, now and then; that file and the journal behind it are the store after a restart.
 */
#ifndef CHECKPOINT_H
#define CHECKPOINT_H

#include "snapshot.h"
#include "store.h"

#define CHECKPOINT_NAME "checkpoint"

/*
 * Write what S holds now into FOLDER, in the place of an earlier checkpoint. Writes to S go on meanwhile.
 * *LAST is the last entry that is in it, once it is on disk. FULL, or INTERNAL: the earlier one stays.
 */
enum cairn_code checkpoint_write(struct store *s, const char *folder, struct cairn_position *last,
				 struct cairn_error *error);
/* Fill the empty engine E from the checkpoint in FOLDER; *THERE says whether there was one. CORRUPT with file
 * and offset. */
enum cairn_code checkpoint_load(struct engine *e, const char *folder, bool *there, struct cairn_error *error);
/*
 * Put the rows of all blocks that are whole in the damaged checkpoint of FOLDER into the empty engine INTO,
 * as they are: for store_salvage. LOST is told what lies between, *COUNT how many times.
 */
enum cairn_code checkpoint_salvage(const char *folder, struct engine *into, store_lost_fn *lost, void *arg,
				   uint64_t *count, struct cairn_error *error);

#endif
