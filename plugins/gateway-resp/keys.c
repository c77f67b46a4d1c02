/* Commands on keys, whatever their values. */
#include "families.h"
#include "banned.h"

ASK(ask_del)
{
	ask_count(q, a->count - 1);
	for (size_t i = 1; i < a->count; i++) {
		ask_begin(q, CAIRN_OP_DELETE, a->at[i]);
		ask_end(q);
	}
	return true;
}

TELL(tell_del)
{
	long long n = 0;

	(void)tag;
	for (size_t i = 0; i < count; i++)
		if (!results[i].code) {
			n++;
		} else if (results[i].code != CAIRN_E_NOT_FOUND) {
			tell_error(c, &results[i]);
			return;
		}
	reply_integer(c, n);
}
