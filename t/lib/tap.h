/*
 * Tiny TAP producer for C tests. A test calls ok() and friends, and ends with `return tap_done();`. A failed
 * check prints where and what, and the run goes on; bail() is for set-up that cannot go on.
 */
#ifndef TAP_H
#define TAP_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int tap_count, tap_failed;

__attribute__((format(printf, 4, 5), unused)) static int tap_ok(int good, const char *file, int line,
								const char *format, ...)
{
	va_list args;

	printf("%sok %d - ", good ? "" : "not ", ++tap_count);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	if (!good) {
		tap_failed++;
		printf("# failed at %s:%d\n", file, line);
	}
	fflush(stdout);
	return good;
}

/* ok(condition, "what is true, with %d formats") */
#define ok(good, ...) tap_ok(!!(good), __FILE__, __LINE__, __VA_ARGS__)

#define is_int(got, want, ...) \
	do { \
		long long got_ = (long long)(got), want_ = (long long)(want); \
		if (!ok(got_ == want_, __VA_ARGS__)) \
			printf("# got %lld, want %lld\n", got_, want_); \
	} while (0)

#define is_str(got, want, ...) \
	do { \
		const char *got_ = (got), *want_ = (want); \
		if (!ok(got_ && !strcmp(got_, want_), __VA_ARGS__)) \
			printf("# got  %s\n# want %s\n", got_ ? got_ : "(null)", want_); \
	} while (0)

#define bail(...) \
	do { \
		printf("Bail out! "); \
		printf(__VA_ARGS__); \
		putchar('\n'); \
		exit(99); \
	} while (0)

__attribute__((unused)) static int tap_skip_all(const char *why)
{
	printf("1..0 # SKIP %s\n", why);
	return 0;
}

__attribute__((unused)) static int tap_done(void)
{
	printf("1..%d\n", tap_count);
	return tap_failed ? 1 : 0;
}

#endif
