/* The leader's clock: it never goes back, follows the wall clock slowly, and leaps only when it begins. */
#include <stdbool.h>
#include <stdlib.h>
#include "stamp.h"
#include "tap.h"

#define S 1000000000ull
#define T0 (1700000000 * S)
#define HOUR (3600 * S)

/* Run S for SECONDS by the monotonic clock, steered once a second while the wall clock is OFF by so much.
 * Whether it never went back, nor left an even pace by more than 1 %. */
static bool run(struct stamp *s, uint64_t *boot, unsigned seconds, int64_t off)
{
	uint64_t last = stamp_at(s, *boot);
	bool good = true;

	for (unsigned i = 0; i < seconds * 4; i++) {
		uint64_t now;

		*boot += S / 4;
		now = stamp_at(s, *boot);
		good = good && now >= last + S / 4 * 98 / 100 && now <= last + S / 4 * 102 / 100;
		last = now;
		if (i % 4 == 3)
			stamp_steer(s, T0 + *boot + (uint64_t)off, *boot);
	}
	return good;
}

static int64_t off_by(const struct stamp *s, uint64_t boot)
{
	return (int64_t)(stamp_at(s, boot) - (T0 + boot));
}

int main(void)
{
	uint64_t boot = 500 * S;
	struct stamp s = stamp_start(0, T0 + boot, boot);

	is_int(off_by(&s, boot), 0, "a first clock begins with the wall clock's time");
	ok(run(&s, &boot, 100, 0) && llabs(off_by(&s, boot)) < 1000000, "and it stays with it");
	ok(run(&s, &boot, 100, (int64_t)HOUR), "the wall clock leaps an hour ahead: the pace stays even");
	ok(off_by(&s, boot) > 0 && off_by(&s, boot) < (int64_t)(2 * S),
	   "it follows by one in a hundred at most");
	ok(run(&s, &boot, 100, -(int64_t)HOUR), "the wall clock falls back: it never does");
	ok(run(&s, &boot, 300, 0) && llabs(off_by(&s, boot)) < 2000000,
	   "it is back with a wall clock that is right");

	s = stamp_start(T0 + boot - 30 * S, T0 + boot, boot);
	is_int(off_by(&s, boot), -30 * (int64_t)S, "a new leader goes on where the last stamp was");
	ok(run(&s, &boot, 200, 0) && off_by(&s, boot) > -29 * (int64_t)S, "and catches up slowly");
	s = stamp_start(T0 + boot - HOUR, T0 + boot, boot);
	is_int(off_by(&s, boot), 0, "unless that was more than a minute ago");
	s = stamp_start(T0 + boot + HOUR, T0 + boot, boot);
	is_int(off_by(&s, boot), (int64_t)HOUR, "a last stamp that lies ahead is never gone back from");
	is_int((long long)stamp_at(&s, boot - 5 * S), (long long)(T0 + boot + HOUR),
	       "nor is the moment of its beginning");
	return tap_done();
}
