/* check and repair of a data folder that no daemon uses: what cairnd --check and --repair do. */
#ifndef OFFLINE_H
#define OFFLINE_H

#include <stdio.h>
#include "node.h"

#define OFFLINE_LOST "lost+found" /* in the data folder */

/* Whether DATA is the data folder of a node at all: NOT_FOUND. */
enum cairn_code offline_is_node(const char *data, struct cairn_error *error);
/*
 * Check every volume of N, which node_open has opened; a line for each on standard output. With REPAIR those
 * that are damaged are made anew from what is valid in them; the damaged files go to lost+found in the data
 * folder, with a list of what could not be kept. Returns 0, or the code of the first volume that is not sound
 * (now), said in *ERROR.
 */
enum cairn_code offline_run(struct node *n, bool repair, struct cairn_error *error);

/* Print all that stands in the journal of N, HOW says how: "text" or "json", then ",values" and
 * ",volume=NAME". What is damaged is printed as such, and then CORRUPT. */
enum cairn_code offline_journal_dump(struct node *n, const char *how, struct cairn_error *error);

/* Open the journal of N for reading, as N's, and say on standard output that it is sound. NOT_FOUND, CORRUPT,
 * and then it may be open all the same: something is missing at its end. */
enum cairn_code offline_journal_open(struct node *n, struct cairn_error *error);
/*
 * The journal of N, which is not open, is damaged: print what will be done, write what is whole and follows
 * on what the engines have into a new one, and put that in its place. The damaged one goes to lost+found,
 * with a list of what is lost.
 */
enum cairn_code offline_journal_repair(struct node *n, struct cairn_error *error);

/* A name for WHAT in lost+found, with the time, that nothing has yet. */
void offline_name_aside(const struct node *n, const char *what, char *aside, size_t size);
/* Begin the list ASIDE.lost in lost+found, whose descriptor is *FD; the caller closes both. */
enum cairn_code offline_list_open(const struct node *n, const char *aside, FILE **f, int *fd,
				  struct cairn_error *error);
enum cairn_code offline_list_close(FILE *f, struct cairn_error *error);

#endif
