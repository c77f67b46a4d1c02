/* Lines typed at a terminal: edited, completed and remembered where libedit is there, plainly read elsewhere.
 */
#ifndef PROMPT_H
#define PROMPT_H

#include "cli.h"

struct prompt;

/* NULL without memory. */
struct prompt *prompt_open(struct cli *c);
/* The next line, without its newline; NULL at the end of input. Valid until the next call. */
char *prompt_line(struct prompt *e);
/* NULL is allowed. */
void prompt_close(struct prompt *e);

#endif
