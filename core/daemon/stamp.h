/*
 * The clock of a shard's leader: what it stamps commands with. It goes on with the machine's monotonic time,
 * a little faster or slower where the wall clock (later: the lower median of the voters' wall clocks) says
 * something else. So a step of the wall clock neither kills nor revives a key. It never goes back.
 *
 * Pure functions: time comes from outside. All times are ns; BOOT is CLOCK_BOOTTIME.
 */
#ifndef STAMP_H
#define STAMP_H

#include <stdint.h>

#define STAMP_SLEW_PPM 10000       /* at most 1 % faster or slower */
#define STAMP_JUMP_NS 60000000000u /* the first stamp leaps where it lags behind by more */
#define STAMP_STEER_NS 1000000000u /* how often it is compared with the wall clock */

struct stamp {
	uint64_t base_ns;      /* the stamp at */
	uint64_t base_boot_ns; /* this time, */
	int64_t ppm;           /* and how much faster it goes from there on */
};

/* The clock of a new leader: the last stamp that it knows of was LAST_NS (0: there was none). */
struct stamp stamp_start(uint64_t last_ns, uint64_t wall_ns, uint64_t boot_ns);
/* The stamp at BOOT_NS. */
uint64_t stamp_at(const struct stamp *s, uint64_t boot_ns);
/* Compare with the wall clock, and go faster or slower from now on. */
void stamp_steer(struct stamp *s, uint64_t wall_ns, uint64_t boot_ns);

#endif
