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

/* Look at the journal of N: a line on standard output where it is sound, else CORRUPT with file and offset.
 */
enum cairn_code offline_journal_check(struct node *n, struct cairn_error *error);
/* Print all that stands in it, HOW says how: "text" or "json", then ",values" and ",volume=NAME". What is
 * damaged is printed as such, and then CORRUPT. */
enum cairn_code offline_journal_dump(struct node *n, const char *how, struct cairn_error *error);

#endif
