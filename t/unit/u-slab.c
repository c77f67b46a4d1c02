/* Small objects: none overlaps another, memory that came back serves other sizes, and in the end the system
 * has it again. */
#include <stdint.h>
#include <malloc.h>
#include "slab.h"
#include "tap.h"

#define OBJECTS 60000

static uint64_t seed = 3;

static uint32_t dice(uint32_t n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % n;
}

struct one {
	unsigned char *p;
	size_t size;
	unsigned char mark;
};

static int whole(const struct one *o)
{
	for (size_t i = 0; i < o->size; i++)
		if (o->p[i] != o->mark)
			return 0;
	return 1;
}

int main(void)
{
	struct one *all = calloc(OBJECTS, sizeof(*all));
	struct slab *s = slab_new();
	size_t most, left;
	int good = 1;

	/* Three times another range of sizes, so that pages change their class; the last goes beyond the
	 * largest. */
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 400000; i++) {
			struct one *o = &all[dice(OBJECTS)];

			if (o->p) {
				good &= whole(o);
				slab_give(s, o->p, o->size);
				o->p = NULL;
				continue;
			}
			o->size = 1 + dice(300) + (size_t)round * 400;
			o->mark = (unsigned char)dice(256);
			o->p = slab_take(s, o->size);
			good &= o->p && (uintptr_t)o->p % 16 == 0;
			memset(o->p, o->mark, o->size);
		}
	}
	ok(good, "a million objects of all sizes keep what was written into them");
	most = mallinfo2().hblkhd + mallinfo2().uordblks;
	for (int i = 0; i < OBJECTS; i++)
		if (all[i].p)
			slab_give(s, all[i].p, all[i].size);
	left = mallinfo2().hblkhd + mallinfo2().uordblks;
	ok(most == 0 || left < most / 2, "what came back goes to the system: %zu bytes of %zu are left", left,
	   most);
	slab_free(s);
	free(all);
	return tap_done();
}
