/* Filling an empty key directory with keys that come in order: full nodes, each made once. */
#ifndef KEYBUILD_H
#define KEYBUILD_H

#include "keydir.h"

struct keybuild;

/* Begin, in a batch of the empty directory K. NULL when there is no memory. */
struct keybuild *keybuild_new(struct keydir *k);
/* Add KEY, which is above all before it; its bytes stay until the end. 0 or -ENOMEM. */
int keybuild_add(struct keybuild *b, struct cairn_slice key, struct keydir_place place);
/* All keys are there: they are the batch's now. With a failure before (GOOD false) everything is given back.
 * 0 or -ENOMEM. */
int keybuild_end(struct keybuild *b, bool good);

#endif
