/* The leader's clock as a line: a point, and how steep it goes on. Steering moves the point along the line
 * and never off it, so there is no step. */
#include "stamp.h"
#include "banned.h"

struct stamp stamp_start(uint64_t last_ns, uint64_t wall_ns, uint64_t boot_ns)
{
	struct stamp s = { last_ns, boot_ns, 0 };

	if (wall_ns > last_ns && wall_ns - last_ns > STAMP_JUMP_NS)
		s.base_ns = wall_ns;
	stamp_steer(&s, wall_ns, boot_ns);
	return s;
}

uint64_t stamp_at(const struct stamp *s, uint64_t boot_ns)
{
	int64_t elapsed = boot_ns > s->base_boot_ns ? (int64_t)(boot_ns - s->base_boot_ns) : 0;

	return s->base_ns + (uint64_t)(elapsed + elapsed / 1000000 * s->ppm);
}

void stamp_steer(struct stamp *s, uint64_t wall_ns, uint64_t boot_ns)
{
	uint64_t now = stamp_at(s, boot_ns);
	int64_t behind = (int64_t)(wall_ns - now); /* to be made up for until the next time */
	int64_t ppm = behind / (STAMP_STEER_NS / 1000000);

	s->base_ns = now;
	s->base_boot_ns = boot_ns > s->base_boot_ns ? boot_ns : s->base_boot_ns;
	s->ppm = ppm > STAMP_SLEW_PPM ? STAMP_SLEW_PPM : ppm < -STAMP_SLEW_PPM ? -STAMP_SLEW_PPM : ppm;
}
