/*
 * The folder, and LMDB's file format read without trust: nothing of this goes through liblmdb, which trusts
 * every byte that it reads and maps. folder.c knows names, tree.c pages.
 */
#ifndef LMDB_FILE_H
#define LMDB_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cairn/errors.h>
#include <cairn/slice.h>

#define LMDB_NAME_MAX 32 /* of a file */

/*
 * Find the data file of the folder DIRFD (DIR for people): the one with the highest number, for a compaction
 * that was interrupted may have left an older one, which goes. NAME is empty where there is none yet.
 * -EUCLEAN where there was one.
 */
int folder_find(int dirfd, const char *dir, char name[LMDB_NAME_MAX], struct cairn_error *error);
/* The name behind NAME. */
void folder_next(const char *name, char next[LMDB_NAME_MAX]);

/* A data file that is read page by page. */
struct tree;

/* Open NAME in DIRFD. -EUCLEAN where it has no two meta pages (with MEND: not one). */
int tree_open(int dirfd, const char *dir, const char *name, bool mend, struct tree **tree,
	      struct cairn_error *error);
void tree_close(struct tree *t);

/*
 * Whether the file has every page that its newer meta page needs: LMDB maps it, and reading behind its end
 * would end the process. Pages at its end that are free may never have been written.
 */
int tree_check_size(struct tree *t, struct cairn_error *error);

/* Whether the pages on the way to the first row hold together: liblmdb reads them when the file is opened. */
int tree_check_first(struct tree *t, struct cairn_error *error);

/* Number of the transaction that the meta page in use tells of. */
uint64_t tree_txn(const struct tree *t);

/*
 * Go through all pages in use, and see that each is where it belongs and holds together. -EUCLEAN with file
 * and offset of the first that does not. Values are not looked at.
 */
int tree_check(struct tree *t, struct cairn_error *error);

/*
 * Call FN with each row of the pages that are whole, in order; VALUE is valid during the call. What is
 * damaged is left out. Ends with what FN returns if that is not 0. *LOST is how many pages were left out,
 * with all that lies below them.
 */
typedef int tree_row_fn(void *arg, struct cairn_slice key, struct cairn_slice value);
int tree_rows(struct tree *t, tree_row_fn *fn, void *arg, uint64_t *lost);

#endif
