/* The clocks, and RFC 3339 in UTC. */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "clock.h"
#include "banned.h"

#define NS 1000000000u

static uint64_t now(clockid_t which)
{
	struct timespec t;

	clock_gettime(which, &t);
	return (uint64_t)t.tv_sec * NS + (uint64_t)t.tv_nsec;
}

uint64_t clock_wall_ns(void)
{
	return now(CLOCK_REALTIME);
}

uint64_t clock_boot_ns(void)
{
	return now(CLOCK_BOOTTIME);
}

void clock_format(uint64_t ns, char text[CLOCK_TEXT])
{
	time_t s = (time_t)(ns / NS);
	struct tm t;
	char day[24];

	gmtime_r(&s, &t);
	strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &t);
	snprintf(text, CLOCK_TEXT, "%.19s.%09uZ", day, (unsigned)(ns % NS));
}

bool clock_parse(const char *text, size_t len, uint64_t *ns)
{
	struct tm t = { 0 };
	char buf[CLOCK_TEXT];
	uint64_t fraction = 0;
	const char *p;
	time_t s;
	int day;

	if (len >= sizeof(buf))
		return false;
	memcpy(buf, text, len);
	buf[len] = 0;
	p = strptime(buf, "%Y-%m-%dT%H:%M:%S", &t);
	if (p && *p == '.') {
		unsigned scale = NS;

		for (p++; *p >= '0' && *p <= '9' && scale > 1; p++) {
			scale /= 10;
			fraction += (uint64_t)(*p - '0') * scale;
		}
	}
	if (!p || p[0] != 'Z' || p[1])
		return false;
	day = t.tm_mday;
	s = timegm(&t);
	if (s < 0 || t.tm_mday != day || /* such as 31 June */
	    (uint64_t)s > UINT64_MAX / NS - 1)
		return false;
	*ns = (uint64_t)s * NS + fraction;
	return true;
}
