/* Time: where the daemon's and the clients' clocks are read, and how times look to people. */
#ifndef CLOCK_H
#define CLOCK_H

#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>

#define CLOCK_TEXT 31 /* bytes of clock_format's text with its NUL */

/* Wall clock, ns since 1970 UTC. */
uint64_t clock_wall_ns(void);
/* Never steps, goes on while the machine sleeps (CLOCK_BOOTTIME), ns. */
uint64_t clock_boot_ns(void);
/* NS since 1970 as RFC 3339 with nine decimals: 2026-11-20T10:05:01.123456789Z. */
void clock_format(uint64_t ns, char text[CLOCK_TEXT]);
/* The reverse, for 0 to 9 decimals and Z. Returns whether TEXT was of that form; 1970 to 2554. */
bool clock_parse(const char *text, size_t len, uint64_t *ns);

#endif
