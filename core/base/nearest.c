/*
 * Edit distance with swaps of neighbours, over three rows of a small table. A candidate is close when about a
 * third of the word's letters would have to change at most; words that are too long for the rows are never
 * close.
 */
#include <ctype.h>
#include <stdbool.h>
#include <string.h>
#include "nearest.h"
#include "banned.h"

#define WORD_MAX 63

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

static bool same(char a, char b)
{
	return tolower((unsigned char)a) == tolower((unsigned char)b);
}

static unsigned distance(const char *a, size_t n, const char *b, size_t m)
{
	unsigned rows[3][WORD_MAX + 1], *before = rows[0], *above = rows[1], *row = rows[2];

	for (size_t j = 0; j <= m; j++)
		above[j] = before[j] = (unsigned)j;
	for (size_t i = 1; i <= n; i++) {
		unsigned *oldest = before;

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= m; j++) {
			row[j] = least(above[j - 1] + !same(a[i - 1], b[j - 1]),
				       least(above[j], row[j - 1]) + 1);
			if (i > 1 && j > 1 && same(a[i - 1], b[j - 2]) && same(a[i - 2], b[j - 1]))
				row[j] = least(row[j], before[j - 2] + 1);
		}
		before = above;
		above = row;
		row = oldest;
	}
	return above[m];
}

const char *nearest(const char *word, const char *const *list, size_t n)
{
	size_t len = strlen(word);
	unsigned best = (unsigned)(len + 2) / 3 + 1;
	const char *found = NULL;

	if (len == 0 || len > WORD_MAX)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		size_t m = list[i] ? strlen(list[i]) : 0;
		unsigned d;

		if (m == 0 || m > WORD_MAX)
			continue;
		d = distance(word, len, list[i], m);
		if (d > 1 && len >= 3 && m > len && strncmp(word, list[i], len) == 0)
			d = 1;
		if (d < best && d < m) {
			best = d;
			found = list[i];
		}
	}
	return found;
}
