/* What is seen at a mount point while nothing is mounted there. */
#ifndef GUARD_H
#define GUARD_H

#include "options.h"

/* Make the folder of O's mount point read-only, with one file that says what to run. INVALID where it holds
 * anything else, DENIED where that is not allowed. */
enum cairn_code guard_make(const struct options *o, struct cairn_error *e);

#endif
