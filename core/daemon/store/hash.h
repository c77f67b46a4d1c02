/*
 * The store's hash: 128 bits over one or two runs of bytes, fast, the same on every machine. It finds
 * differences between replicas and damage to chunks; it does not withstand somebody who looks for collisions.
 */
#ifndef HASH_H
#define HASH_H

#include <cairn/slice.h>
#include <stdint.h>

struct hash {
	uint64_t lo, hi;
};

/* Hash of A followed by B; where A ends counts. */
struct hash hash_two(struct cairn_slice a, struct cairn_slice b);
/* 64 bits over DATA: what a chunk list carries for each chunk, and what pending rows are found by. */
uint64_t hash_bytes(struct cairn_slice data);

/* Sums of hashes, modulo 2^128: the digest of a set that has no order. */
static inline void hash_add(struct hash *sum, struct hash h)
{
	sum->lo += h.lo;
	sum->hi += h.hi + (sum->lo < h.lo);
}

static inline void hash_subtract(struct hash *sum, struct hash h)
{
	sum->hi -= h.hi + (sum->lo < h.lo);
	sum->lo -= h.lo;
}

#endif
