/* The engine of `cairn proxy`: the far end of "ssh:HOST". Part of libclient.la only. */
#ifndef PROXY_H
#define PROXY_H

#include <cairn/errors.h>

/*
 * Connect to the first local server of the list SERVERS (NULL: the ones that cairn_find_servers finds) and
 * carry bytes: IN to it, its answers to OUT. The end of IN is passed on, and what the server still says is
 * delivered; returns when the server has closed. UNAVAILABLE where no server of the list takes a connection,
 * INTERNAL where a copy fails; *E (may be NULL) says why.
 */
enum cairn_code proxy_run(const char *servers, int in, int out, struct cairn_error *e);

#endif
