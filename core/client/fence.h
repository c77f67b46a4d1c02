/*
 * $CAIRN_FENCE: the locks that a program runs under. Its text is the name of a volume, and for each lock of
 * that volume a blank, the fence in decimal, ':' and the key, whose bytes other than letters, digits and
 * "-._~/" stand as %HH. 'cairn lock' writes it, and every handle reads it.
 */
#ifndef FENCE_H
#define FENCE_H

#include <stdint.h>
#include <cairn/slice.h>

/*
 * The text OUTER (NULL or empty: none), which is of VOLUME as well, with the lock KEY and its FENCE added.
 * Memory of the caller's; NULL without memory.
 */
char *fence_text(const char *outer, const char *volume, struct cairn_slice key, uint64_t fence);

#endif
