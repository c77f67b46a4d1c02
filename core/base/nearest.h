/* The word that a person probably meant: for hints behind "unknown …" errors. */
#ifndef NEAREST_H
#define NEAREST_H

#include <stddef.h>

/*
 * The one of the N words in LIST (NULL entries are skipped) that is closest to WORD by inserting, deleting,
 * replacing and swapping letters, or that WORD abbreviates. NULL when nothing is close. The result is LIST's
 * own.
 */
const char *nearest(const char *word, const char *const *list, size_t n);

#endif
