/* What a replication module puts into the log for itself. It moves the position, and changes nothing that is
 * visible. */
#include "state.h"
#include "banned.h"

enum cairn_code op_nothing(struct work *w, const struct args *a)
{
	(void)w;
	(void)a;
	return CAIRN_OK;
}

/* Who belongs to the shard is kept by whoever hosts the module; meta says since when it is so. */
enum cairn_code op_members(struct work *w, const struct args *a)
{
	(void)a;
	w->s->meta.configuration = w->s->meta.position.index;
	return CAIRN_OK;
}
