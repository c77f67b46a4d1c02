/* What engines.c measures: engines behind one small interface. */
#ifndef BENCH_ENGINES_H
#define BENCH_ENGINES_H

#include <stdbool.h>
#include <stddef.h>
#include <cairn/slice.h>

struct row {
	struct cairn_slice key, value;
};

/* Functions end the program when something fails. */
struct subject {
	const char *name;
	bool durable;
	void *(*open)(const char *dir);
	void (*close)(void *db);
	void (*put)(void *db, const struct row *rows, size_t count, bool sync);
	/* Look at the value of KEY with touch(); false where there is none. */
	bool (*get)(void *db, struct cairn_slice key);
	size_t (*scan)(void *db); /* all rows, each looked at; how many */
};

/* Read a byte of every page of a value, so that nobody wins by not fetching it. */
static inline unsigned touch(const void *data, size_t len)
{
	const unsigned char *p = data;
	unsigned sum = len ? p[len - 1] : 0;

	for (size_t i = 0; i < len; i += 4096)
		sum += p[i];
	__asm__ volatile("" : : "r"(sum));
	return sum;
}

_Noreturn __attribute__((format(printf, 1, 2))) void die(const char *format, ...);

/* bare.c: C APIs of the libraries that this build has; the list ends with a NULL name. */
extern const struct subject bare[];

#endif
