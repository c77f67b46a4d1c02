/* Commands about the server and about the commands. */
#include "families.h"
#include "banned.h"

RUN(run_command)
{
	(void)a;
	reply_array(c, 0);
	return RUN_DONE;
}

RUN(run_config)
{
	(void)a;
	reply_map(c, 0);
	return RUN_DONE;
}
