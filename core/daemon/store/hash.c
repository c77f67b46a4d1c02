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

/* The first N < 8 bytes at P as a number, without reading behind them. */
static inline uint64_t few(const unsigned char *p, size_t n)
{
	if (n >= 4)
		return le32_get(p) | (uint64_t)le32_get(p + n - 4) << (8 * (n - 4));
	if (n >= 2)
		return le16_get(p) | (uint64_t)le16_get(p + n - 2) << (8 * (n - 2));
	return n ? *p : 0;
}

/* The rest of DATA, AT bytes (a multiple of 32) of which are in H. */
static inline struct hash run_from(struct hash h, struct cairn_slice data, size_t at)
{
	const unsigned char *p = data.data;
	size_t n = data.len - at;

	for (p += at; n >= 32; n -= 32, p += 32)
		h = mix(h, p);
	if (n) {
		uint64_t last[4] = { 0 };

		for (size_t i = 0; i <= n / 8; i++)
			last[i] = n - 8 * i >= 8 ? le64_get(p + 8 * i) : few(p + 8 * i, n % 8);
		h.lo = fold(last[0] ^ K0, last[1] ^ h.lo);
		h.hi = fold(last[2] ^ K1, last[3] ^ h.hi);
	}
	h.lo ^= data.len * K2;
	h.hi += data.len * K3;
	return h;
}

static inline struct hash finish(struct hash h)
{
	return (struct hash){ fold(h.lo ^ K2, h.hi ^ K1), fold(h.lo ^ K3, h.hi + K0) };
}

struct hash hash_begin(struct cairn_slice a)
{
	return run_from((struct hash){ K3, K2 }, a, 0);
}

struct hash hash_end(struct hash begun, struct cairn_slice b)
{
	return finish(run_from(begun, b, 0));
}

struct hash hash_two(struct cairn_slice a, struct cairn_slice b)
{
	return hash_end(hash_begin(a), b);
}

uint64_t hash_of(struct hash begun)
{
	return finish(begun).lo;
}

uint64_t hash_bytes(struct cairn_slice data)
{
	return hash_of(hash_begin(data));
}

void hash_exchange(struct hash *sum, struct hash begun, struct cairn_slice old, struct cairn_slice new)
{
	size_t both = (old.len < new.len ? old.len : new.len) & ~(size_t)31;
	const unsigned char *p = old.data, *q = new.data;
	struct hash was = begun, is = begun;

	for (size_t at = 0; at < both; at += 32) {
		was = mix(was, p + at);
		is = mix(is, q + at);
	}
	hash_subtract(sum, finish(run_from(was, old, both)));
	hash_add(sum, finish(run_from(is, new, both)));
}
