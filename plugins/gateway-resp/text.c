/* Words of a request as names and numbers. */
#include <strings.h>
#include "resp.h"
#include "banned.h"

bool word_is(struct cairn_slice word, const char *text)
{
	size_t n = strlen(text);

	return word.len == n && strncasecmp(word.data, text, n) == 0;
}

bool to_integer(struct cairn_slice word, long long *n)
{
	const char *p = word.data;
	bool negative = word.len && *p == '-';
	size_t i = negative;
	long long v = 0;

	if (word.len == i || word.len > 20 || (p[i] == '0' && word.len > 1))
		return false;
	for (; i < word.len; i++)
		if (p[i] < '0' || p[i] > '9' || __builtin_mul_overflow(v, 10, &v) ||
		    __builtin_sub_overflow(v, p[i] - '0', &v)) /* downwards, where there is one more */
			return false;
	*n = v;
	return negative || !__builtin_sub_overflow(0, v, n);
}
