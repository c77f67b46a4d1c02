/* The folder of a LevelDB: what is looked at before LevelDB opens it, and where damage is found afterwards.
 */
#ifndef FOLDER_H
#define FOLDER_H

#include <cairn/errors.h>
#include <cairn/slice.h>

/*
 * Check that everything LevelDB will need from DIR is there and whole: CURRENT, MANIFEST, every live table's
 * size and footer, every log that will be replayed. A torn end of the newest log (or of the MANIFEST, where
 * nothing is lost by it) is cut, and *NOTICE says file, offset and bytes dropped (its message is empty where
 * nothing was). Everything else that is bad is refused, and no file is touched then. Returns 0; -EUCLEAN with
 * CORRUPT in *ERROR; -EBUSY where another process has it open; -errno.
 */
int folder_prepare(const char *dir, struct cairn_error *notice, struct cairn_error *error);

/*
 * Read the tables in DIR that may hold keys of [FROM, TO) (TO empty: no end), all of them through, until one
 * is bad. Returns whether one is, with file, offset and what is wrong in *ERROR (CORRUPT). The LevelDB may be
 * open.
 */
bool folder_find_damage(const char *dir, struct cairn_slice from, struct cairn_slice to,
			struct cairn_error *error);

/* Bytes of all tables, of all logs, and the number of tables in DIR. */
void folder_sizes(const char *dir, uint64_t *table_bytes, uint64_t *log_bytes, uint64_t *tables);

#endif
