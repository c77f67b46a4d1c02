/* proxy: standard input and output become a connection to the daemon of this machine; libcairn does the work.
 */
#include <unistd.h>
#include "cli.h"
#include "proxy.h"
#include "banned.h"

VERB(proxy)
{
	(void)a;
	if (c->input_used)
		return cairn_fail(&c->error, CAIRN_E_INVALID, "proxy needs standard input for itself");
	return proxy_run(c->servers, STDIN_FILENO, STDOUT_FILENO, &c->error);
}
