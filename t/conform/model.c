/* Keys and values that engines trip over, made from a seed. */
#include <stdlib.h>
#include "crc32c.h"
#include "le.h"
#include "model.h"
#include "banned.h"

uint64_t dice_bits(struct dice *d)
{
	uint64_t z = d->state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

uint32_t dice(struct dice *d, uint32_t n)
{
	return (uint32_t)(dice_bits(d) >> 32) % n;
}

static void add(struct keys *k, const unsigned char *bytes, size_t len)
{
	unsigned char *copy = malloc(len);

	memcpy(copy, bytes, len);
	k->list[k->count++] = cairn_slice(copy, len);
}

static int compare(const void *a, const void *b)
{
	return cairn_slice_cmp(*(const struct cairn_slice *)a, *(const struct cairn_slice *)b);
}

void keys_make(struct keys *k, uint64_t seed, uint32_t key_max)
{
	struct dice d = { seed };
	unsigned char key[MODEL_KEY_MAX];
	uint32_t kept = 0, longest = key_max < MODEL_KEY_MAX ? key_max : MODEL_KEY_MAX;

	k->count = 0;
	k->list = calloc(2000, sizeof(*k->list));
	for (unsigned i = 1; i < 256; i++) { /* one byte */
		key[0] = (unsigned char)i;
		add(k, key, 1);
	}
	for (unsigned i = 0; i < 1200; i++) {
		uint32_t len = 1 + dice(&d, 40), same = dice(&d, 20);
		/* In turn: a path, zeros, 0xFF, anything, and some as long as can be. */
		unsigned char filler = (unsigned char[]){ '/', 0, 0xff, 'a' }[i % 4];

		if (i % 24 == 23) {
			len = longest - dice(&d, 3);
			same = len - 2;
		}
		len = len < longest ? len : longest;
		memset(key, filler, len);
		for (uint32_t n = same < len ? same : len - 1; n < len; n++)
			if (i % 4 == 3 || dice(&d, 2))
				key[n] = (unsigned char)dice(&d, 256);
		if (key[0] == 0)
			key[0] = (unsigned char)(1 + dice(&d, 3));
		add(k, key, len);
	}
	qsort(k->list, k->count, sizeof(*k->list), compare);
	for (uint32_t i = 0; i < k->count; i++)
		if (kept && cairn_slice_eq(k->list[kept - 1], k->list[i]))
			free((void *)k->list[i].data);
		else
			k->list[kept++] = k->list[i];
	k->count = kept;
}

void keys_free(struct keys *k)
{
	for (uint32_t i = 0; i < k->count; i++)
		free((void *)k->list[i].data);
	free(k->list);
}

uint32_t keys_below(const struct keys *k, struct cairn_slice key, bool end)
{
	uint32_t n = 0;

	if (end && key.len == 0)
		return k->count;
	while (n < k->count && cairn_slice_cmp(k->list[n], key) < 0)
		n++;
	return n;
}

struct value value_roll(struct dice *d)
{
	struct value v = { .seed = dice_bits(d), .there = true };
	uint32_t kind = dice(d, 2000);

	if (kind == 0)
		v.len = MODEL_VALUE_MAX;
	else if (kind < 20)
		v.len = dice(d, 128 << 10);
	else if (kind < 100)
		v.len = dice(d, 5000);
	else if (kind < 1700)
		v.len = dice(d, 300);
	return v;
}

void value_fill(const struct value *v, unsigned char *buffer)
{
	struct dice d = { v->seed };
	unsigned char word[8];
	uint32_t i = 0;

	for (; i + 8 <= v->len; i += 8)
		le64_put(buffer + i, dice_bits(&d));
	le64_put(word, dice_bits(&d));
	memcpy(buffer + i, word, v->len - i);
}

bool value_is(const struct value *v, struct cairn_slice got)
{
	const unsigned char *p = got.data;
	struct dice d = { v->seed };
	unsigned char word[8];
	uint32_t i = 0;

	if (!v->there || got.len != v->len)
		return false;
	for (; i + 8 <= v->len; i += 8)
		if (le64_get(p + i) != dice_bits(&d))
			return false;
	le64_put(word, dice_bits(&d));
	return v->len == i || memcmp(p + i, word, v->len - i) == 0;
}

uint32_t digest_add(uint32_t crc, struct cairn_slice key, struct cairn_slice value)
{
	unsigned char lengths[8];

	le32_put(lengths, (uint32_t)key.len);
	le32_put(lengths + 4, (uint32_t)value.len);
	crc = crc32c(crc, lengths, 8);
	crc = crc32c(crc, key.data, key.len);
	return value.len ? crc32c(crc, value.data, value.len) : crc;
}
