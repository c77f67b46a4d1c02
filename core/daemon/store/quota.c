/*
 * The quota of a volume: most bytes of live and staged values. A command that ends with more than that, and
 * with more than there was before it, fails; so what frees room, and what does not grow, always goes on.
 */
#include "state.h"
#include "banned.h"

enum cairn_code quota_holds(struct work *w, const struct mark *before)
{
	const struct meta *m = &w->s->meta;
	uint64_t was = before->meta.bytes + before->meta.staged, is = m->bytes + m->staged;

	if (!m->quota || is <= m->quota || is <= was)
		return CAIRN_OK;
	return cairn_fail(w->error, CAIRN_E_QUOTA,
			  "the quota is %llu bytes, %llu are used, and this write needs %llu more",
			  (unsigned long long)m->quota, (unsigned long long)was,
			  (unsigned long long)(is - was));
}
