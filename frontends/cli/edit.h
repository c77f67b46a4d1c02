/* Lines typed at a terminal: edited, completed and remembered where libedit is there, plainly read elsewhere.
 */
#ifndef EDIT_H
#define EDIT_H

#include "cli.h"

struct edit;

/* NULL without memory. */
struct edit *edit_open(struct cli *c);
/* The next line, without its newline; NULL at the end of input. Valid until the next call. */
char *edit_line(struct edit *e);
/* NULL is allowed. */
void edit_close(struct edit *e);

#endif
