/* The check of histories tells those that are linearizable from those that are not. */
#include "linear.h"
#include "tap.h"

#define R(call, answer, value) \
	{ \
		LINEAR_READ, call, answer, value, 0, false \
	}
#define W(call, answer, value) \
	{ \
		LINEAR_WRITE, call, answer, value, 0, false \
	}
#define S(call, answer, expected, value, done) \
	{ \
		LINEAR_SWAP, call, answer, value, expected, done \
	}
#define NEVER UINT64_MAX
#define check(want, why, ...) \
	do { \
		const struct linear_op ops[] = { __VA_ARGS__ }; \
		is_int(linear_check(ops, sizeof(ops) / sizeof(*ops)), want, why); \
	} while (0)

int main(void)
{
	is_int(linear_check(NULL, 0), 1, "nothing happened");
	check(1, "a read of what was written", W(1, 2, 5), R(3, 4, 5));
	check(0, "a read of what was there before", W(1, 2, 5), R(3, 4, 0));
	check(1, "a read during a write may see either: the old value", W(1, 4, 5), R(2, 3, 0));
	check(1, "or the new one", W(1, 4, 5), R(2, 3, 5));
	check(0, "but not the new one and then the old", W(1, 6, 5), R(2, 3, 5), R(4, 5, 0));
	check(1, "two writes at once may be in either order", W(1, 4, 5), W(2, 3, 6), R(5, 6, 5));
	check(0, "but readers agree on it", W(1, 4, 5), W(2, 3, 6), R(5, 6, 5), R(7, 8, 6));
	check(1, "a write without an answer may have happened", W(1, NEVER, 5), R(3, 4, 5));
	check(1, "or not", W(1, NEVER, 5), R(3, 4, 0));
	check(1, "or later", W(1, NEVER, 5), R(3, 4, 0), R(5, 6, 5));
	check(0, "but not be taken back", W(1, NEVER, 5), R(3, 4, 5), R(5, 6, 0));
	check(0, "nobody reads what nobody wrote", R(1, 2, 7));
	check(1, "a swap finds what it expects", W(1, 2, 5), S(3, 4, 5, 6, true), R(5, 6, 6));
	check(0, "of two swaps from one value one fails", S(1, 4, 0, 5, true), S(2, 3, 0, 6, true));
	check(1, "as it says", S(1, 4, 0, 5, true), S(2, 3, 0, 6, false), R(5, 6, 5));
	check(0, "a swap does not fail for nothing", S(1, 2, 0, 5, false));
	return tap_done();
}
