/* check and repair of a data folder that no daemon uses: what cairnd --check and --repair do. */
#ifndef OFFLINE_H
#define OFFLINE_H

#include "node.h"

/* Whether DATA is the data folder of a node at all: NOT_FOUND. */
enum cairn_code offline_is_node(const char *data, struct cairn_error *error);
/*
 * Check every volume of N, which node_open has opened; a line for each on standard output. With REPAIR those
 * that are damaged are made anew from what is valid in them; the damaged files go to lost+found in the data
 * folder, with a list of what could not be kept. Returns 0, or the code of the first volume that is not sound
 * (now), said in *ERROR.
 */
enum cairn_code offline_run(struct node *n, bool repair, struct cairn_error *error);

#endif
