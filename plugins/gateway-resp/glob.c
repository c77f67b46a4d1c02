/* Patterns as in KEYS and PSUBSCRIBE: * ? [a-z] [^a] and \ before a byte that is meant itself. */
#include "resp.h"
#include "banned.h"

/* Whether C is in the class that begins behind the '[' at *P; *P is set to its end. */
static bool in_class(const char **p, const char *end, unsigned char c)
{
	const char *q = *p;
	bool not = q < end && *q == '^', found = false;

	q += not ;
	while (q < end && *q != ']') {
		unsigned char from, to;

		if (*q == '\\' && q + 1 < end)
			q++;
		from = to = (unsigned char)*q++;
		if (q + 1 < end && *q == '-') {
			to = (unsigned char)q[1];
			q += 2;
		}
		found = found || (from <= to ? c >= from && c <= to : c >= to && c <= from);
	}
	*p = q < end ? q + 1 : end;
	return found != not ;
}

/* Whether the one byte C is what stands at *P, which is no star; *P moves behind that. */
static bool matches_one(const char **p, const char *end, unsigned char c)
{
	const char *q = (*p)++;

	if (*q == '?')
		return true;
	if (*q == '[')
		return in_class(p, end, c);
	if (*q == '\\' && *p < end)
		q = (*p)++;
	return (unsigned char)*q == c;
}

bool glob_match(struct cairn_slice pattern, struct cairn_slice text)
{
	const char *p = pattern.data, *end = p + pattern.len, *t = text.data, *t_end = t + text.len;
	const char *star = NULL, *again = NULL; /* behind the last star, and where it was tried from */

	while (t < t_end) {
		const char *q = p;

		if (p < end && *p == '*') {
			star = ++p;
			again = t;
		} else if (p < end && matches_one(&q, end, (unsigned char)*t)) {
			p = q;
			t++;
		} else if (star) {
			p = star;
			t = ++again;
		} else {
			return false;
		}
	}
	while (p < end && *p == '*')
		p++;
	return p == end;
}

size_t glob_literal(struct cairn_slice pattern)
{
	const char *p = pattern.data;
	size_t n = 0;

	while (n < pattern.len && p[n] != '*' && p[n] != '?' && p[n] != '[' && p[n] != '\\')
		n++;
	return n;
}
