/*
 * Gateways: plugins that translate network protocols into operations (cairn/gateway.h). The settings
 * "gateway.NAME.KEY" are their parameters; one that has a "listen" runs. This side has the sockets; the
 * connections behind them are those of conn.h.
 */
#ifndef GATEWAY_H
#define GATEWAY_H

#include <cairn/plugin.h>
#include "node.h"

/* Parameters that every gateway has; the end row has no name. */
extern const struct cairn_param gateway_params[];

/* Open those that the settings name, into N->gateways. A setting that is wrong, or an address that cannot be
 * listened at, is an error. gateways_free is called in any case. */
enum cairn_code gateways_open(struct node *n, struct cairn_error *error);
/* Accept nobody any more, and let go of the clients as control_close does. CLOSED is called once. */
void gateways_close(struct node *n, void (*closed)(void *arg), void *arg);
void gateways_free(struct node *n);

#endif
