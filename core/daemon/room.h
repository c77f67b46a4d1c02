/* How much room the disks of a node have, and whether that is less than it keeps free. */
#ifndef ROOM_H
#define ROOM_H

#include "node.h"

#define ROOM_PARAMETER \
	"min-free" /* of engines that see to it themselves, since they know what is free in their files */

/* Look at the disks. Now and then, in the loop's thread. */
void room_look(struct node *n);
/* Whether there was less than node.min-free: then *ERROR (which may be NULL) says so. From any thread. */
bool room_is_low(const struct node *n, struct cairn_error *error);

#endif
