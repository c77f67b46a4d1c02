/* What an engine is held against: a fixed list of keys in order, and for each the value that it should have.
 */
#ifndef MODEL_H
#define MODEL_H

#include <stdint.h>
#include <cairn/slice.h>

#define MODEL_KEY_MAX 4097 /* a user's longest key and the host's tag */
#define MODEL_VALUE_MAX (1u << 20)

/* Numbers that a seed repeats. */
struct dice {
	uint64_t state;
};
uint64_t dice_bits(struct dice *d);
/* Below N, which is not 0. */
uint32_t dice(struct dice *d, uint32_t n);

/* The list of keys: made once from a seed, sorted, each of 1 to KEY_MAX bytes, none beginning with a zero
 * byte. */
struct keys {
	struct cairn_slice *list; /* owned, each with its bytes */
	uint32_t count;
};
void keys_make(struct keys *k, uint64_t seed, uint32_t key_max);
void keys_free(struct keys *k);
/* How many keys of the list are below KEY; for an empty KEY with END all of them. */
uint32_t keys_below(const struct keys *k, struct cairn_slice key, bool end);

/* A value is known by its length and the seed of its bytes. */
struct value {
	uint64_t seed;
	uint32_t len;
	bool there;
};
/* A value of a random length: often short, some empty, a few of 1 MiB. */
struct value value_roll(struct dice *d);
/* Its bytes into BUFFER, which has V->len. */
void value_fill(const struct value *v, unsigned char *buffer);
bool value_is(const struct value *v, struct cairn_slice got);

/* Checksum of the keys that are there and their values, in order; CRC is that of what came before. */
uint32_t digest_add(uint32_t crc, struct cairn_slice key, struct cairn_slice value);

#endif
