/*
 * The control socket: a Unix socket on which clients speak lines of JSON or binary frames; man 7
 * cairn-protocol is the reference. It lives in the node's loop.
 */
#ifndef CONTROL_H
#define CONTROL_H

#include "node.h"

struct control;

/*
 * Listen at the setting control.socket, into N->control. A stale socket of a dead daemon is replaced; one on
 * which somebody answers is left alone (EXISTS). From the return on clients can connect; they are served once
 * the loop runs.
 */
enum cairn_code control_open(struct node *n, struct cairn_error *error);
/*
 * Stop: accept nobody and remove the socket, tell the clients, read no further request, answer what is in
 * flight. CLOSED is called once, in the loop, when the last connection has gone; clients that do not take
 * their answers are cut after a second. Not before control_open.
 */
void control_close(struct node *n, void (*closed)(void *arg), void *arg);
/* Free what is left; after CLOSED was called, or where the loop never ran. NULL in N->control is allowed. */
void control_free(struct node *n);

#endif
