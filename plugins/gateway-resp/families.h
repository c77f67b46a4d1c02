/* The functions of the commands' rows, by the file that they stand in. */
#ifndef RESP_FAMILIES_H
#define RESP_FAMILIES_H

#include "resp.h"

#define ASK(name) bool name(struct ask *q, const struct args *a)
#define TELL(name) void name(struct client *c, uint64_t tag, const struct result *results, size_t count)
#define RUN(name) enum run name(struct client *c, const struct args *a)

/* strings.c */
ASK(ask_get);
TELL(tell_get);
ASK(ask_set);
TELL(tell_set);
/* keys.c */
ASK(ask_del);
TELL(tell_del);
/* connection.c */
RUN(run_ping);
RUN(run_echo);
RUN(run_hello);
RUN(run_auth);
RUN(run_select);
RUN(run_quit);
RUN(run_command);
RUN(run_config);

#endif
