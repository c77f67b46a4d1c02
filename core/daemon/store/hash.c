/*
 * Two lanes of "multiply to 128 bits and fold", 16 bytes a step each, so that one multiplication's latency
 * hides behind the other's. All loads are little-endian, so the result is a fact of the bytes alone.
 */
#include "hash.h"
#include "le.h"
#include "banned.h"

#define K0 0x9e3779b97f4a7c15ull
#define K1 0xbf58476d1ce4e5b9ull
#define K2 0x94d049bb133111ebull
#define K3 0xd6e8feb86659fd93ull

static inline uint64_t fold(uint64_t a, uint64_t b)
{
	unsigned __int128 p = (unsigned __int128)a * b;

	return (uint64_t)p ^ (uint64_t)(p >> 64);
}

static inline struct hash mix(struct hash h, const unsigned char *p)
{
	h.lo = fold(le64_get(p) ^ K0, le64_get(p + 8) ^ h.lo);
	h.hi = fold(le64_get(p + 16) ^ K1, le64_get(p + 24) ^ h.hi);
	return h;
}

static inline struct hash run(struct hash h, struct cairn_slice data)
{
	const unsigned char *p = data.data;
	size_t n = data.len;

	for (; n >= 32; n -= 32, p += 32)
		h = mix(h, p);
	if (n) {
		unsigned char last[32] = { 0 };

		memcpy(last, p, n);
		h = mix(h, last);
	}
	h.lo ^= data.len * K2;
	h.hi += data.len * K3;
	return h;
}

static inline struct hash finish(struct hash h)
{
	return (struct hash){ fold(h.lo ^ K2, h.hi ^ K1), fold(h.lo ^ K3, h.hi + K0) };
}

struct hash hash_two(struct cairn_slice a, struct cairn_slice b)
{
	return finish(run(run((struct hash){ K3, K2 }, a), b));
}

uint64_t hash_bytes(struct cairn_slice data)
{
	return finish(run((struct hash){ K3, K2 }, data)).lo;
}
