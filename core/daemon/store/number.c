/* increment: a value that is a decimal number of 64 bits with a sign, as text. Nothing is rounded or wraps.
 */
#include <stdio.h>
#include "content.h"
#include "banned.h"

#define DIGITS 20 /* of the longest such number, sign included */

/* TEXT as a number, written as one writes it: "-7", "0", no plus, no leading zero. */
static bool parse(struct cairn_slice text, int64_t *n)
{
	const char *p = text.data;
	bool negative = text.len && *p == '-';
	size_t i = negative;
	int64_t v = 0;

	if (text.len == i || text.len > DIGITS || (p[i] == '0' && text.len > 1))
		return false;
	for (; i < text.len; i++)
		if (p[i] < '0' || p[i] > '9' || __builtin_mul_overflow(v, 10, &v) ||
		    __builtin_sub_overflow(v, p[i] - '0', &v)) /* downwards, where there is one more */
			return false;
	*n = v;
	return negative || !__builtin_sub_overflow(0, v, n);
}

static enum cairn_code not_a_number(struct work *w, struct cairn_slice key)
{
	char text[KEY_TEXT];

	return cairn_fail(w->error, CAIRN_E_INVALID, "the value of '%s' is no integer from -2^63 to 2^63 - 1",
			  key_text(key, text));
}

enum cairn_code op_increment(struct work *w, const struct args *a)
{
	struct cairn_slice key = a->body[CAIRN_F_KEY];
	int64_t by = (int64_t)args_u64(a, CAIRN_F_BY, 1), n = 0;
	struct record next = { 0 };
	struct live l;
	char text[KEY_TEXT], *number = view_alloc(w->s, DIGITS + 1);
	enum cairn_code code = number ? live_load(w, key, &l) : work_stopped(w);

	if (code)
		return code;
	if (l.found) {
		if (l.r.chunks.len || l.r.head.kind != CAIRN_KIND_VALUE || !parse(l.r.content, &n))
			return not_a_number(w, key);
		next = live_continue(&l.r);
		next.head.flags &= (uint16_t)~RECORD_OPEN;
	}
	if (__builtin_add_overflow(n, by, &n))
		return cairn_fail(w->error, CAIRN_E_INVALID, "the value of '%s' would go beyond 64 bits",
				  key_text(key, text));
	snprintf(number, DIGITS + 1, "%lld", (long long)n);
	code = content_set(w, &next, cairn_str(number));
	if (!code)
		code = attributes_merge(w, next.attributes, cairn_slice(NULL, 0), false, &next.attributes);
	if (!code)
		code = live_replace(w, &l, &next, CHANGE_PUT);
	if (!code)
		cairn_msg_bytes(w->answer, CAIRN_F_VALUE, cairn_str(number));
	return code;
}
