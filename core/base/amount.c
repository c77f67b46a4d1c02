/* Amounts as people write them: digits, and a unit behind them. */
#include "amount.h"
#include "banned.h"

bool amount_number(struct cairn_slice *text, uint64_t *number)
{
	const char *p = text->data, *end = p + text->len;

	if (p == end || *p < '0' || *p > '9')
		return false;
	for (*number = 0; p < end && *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(*number, 10, number) ||
		    __builtin_add_overflow(*number, (uint64_t)(*p - '0'), number))
			return false;
	*text = cairn_slice(p, (size_t)(end - p));
	return true;
}

bool amount_bytes(struct cairn_slice text, uint64_t *bytes)
{
	static const char units[] = "KMGTkmgt";
	const char *unit;

	if (!amount_number(&text, bytes))
		return false;
	if (!text.len)
		return true;
	unit = memchr(units, *(const char *)text.data, sizeof(units) - 1);
	if (!unit || (text.len > 1 && (text.len != 3 || memcmp((const char *)text.data + 1, "iB", 2) != 0)))
		return false;
	return !__builtin_mul_overflow(*bytes, 1ull << (10 * ((unit - units) % 4 + 1)), bytes);
}
