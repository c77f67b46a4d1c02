/* A run of bytes that somebody else owns. */
#ifndef CAIRN_SLICE_H
#define CAIRN_SLICE_H

#include <stddef.h>
#include <stdbool.h>
#include <string.h>

/* LEN bytes at DATA; DATA may be NULL where LEN is 0. The holder never frees it. */
struct cairn_slice {
	const void *data;
	size_t len;
};

/* The slice of N bytes at P. */
static inline struct cairn_slice cairn_slice(const void *p, size_t n)
{
	return (struct cairn_slice){ p, n };
}

/* The slice of the NUL-terminated text S, without its NUL; NULL gives an empty one. */
static inline struct cairn_slice cairn_str(const char *s)
{
	return (struct cairn_slice){ s, s ? strlen(s) : 0 };
}

/* Bytewise order, a prefix before what it begins: <0, 0, >0 as memcmp. */
static inline int cairn_slice_cmp(struct cairn_slice a, struct cairn_slice b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	int c = n ? memcmp(a.data, b.data, n) : 0;

	return c ? c : (a.len > b.len) - (a.len < b.len);
}

static inline bool cairn_slice_eq(struct cairn_slice a, struct cairn_slice b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* Whether S begins with P. */
static inline bool cairn_slice_starts(struct cairn_slice s, struct cairn_slice p)
{
	return s.len >= p.len && (p.len == 0 || memcmp(s.data, p.data, p.len) == 0);
}

#endif
