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
/* The same in two steps: A is begun with once, for any number of B. */
struct hash hash_begin(struct cairn_slice a);
struct hash hash_end(struct hash begun, struct cairn_slice b);
/* hash_bytes of what was begun with. */
uint64_t hash_of(struct hash begun);
/* In SUM, that of OLD gives way to that of NEW behind what was begun with: in less time than one after the
 * other. */
void hash_exchange(struct hash *sum, struct hash begun, struct cairn_slice old, struct cairn_slice new);
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
