/*
 * Packed nodes. Behind the head stand the values, then for each key where its rest ends (2 bytes, counted
 * from the end of the prefix), the prefix, and the rests. A search compares the prefix once and then looks at
 * about log2(n) rests.
 */
#include "keynode.h"
#include "banned.h"

static const uint16_t *ends_of(const struct object *n)
{
	return (const uint16_t *)((const char *)(n + 1) + n->count * keynode_value_size(n));
}

static const unsigned char *bytes_of(const struct object *n)
{
	return (const unsigned char *)(ends_of(n) + n->count);
}

struct cairn_slice keynode_prefix(const struct object *n)
{
	return cairn_slice(bytes_of(n), n->skip);
}

struct cairn_slice keynode_rest(const struct object *n, unsigned at)
{
	const uint16_t *ends = ends_of(n);
	unsigned from = at ? ends[at - 1] : 0;

	return cairn_slice(bytes_of(n) + n->skip + from, ends[at] - from);
}

/* How KEY compares with what all keys of N begin with; 0: it begins so too. */
static int against_prefix(const struct object *n, struct cairn_slice key)
{
	size_t len = key.len < n->skip ? key.len : n->skip;
	int c = len ? memcmp(key.data, bytes_of(n), len) : 0;

	return c ? c : key.len < n->skip ? -1 : 0;
}

/* How many of the entries LOW to HIGH have keys below KEY (or, with EQUAL, not above it), and those before
 * LOW. */
static unsigned search(const struct object *n, unsigned low, unsigned high, struct cairn_slice key,
		       bool equal)
{
	const uint16_t *ends = ends_of(n);
	const unsigned char *rests = bytes_of(n) + n->skip, *k = (const unsigned char *)key.data + n->skip;
	size_t len = key.len - n->skip;

	while (low < high) {
		unsigned middle = (low + high) / 2, from = middle ? ends[middle - 1] : 0;
		size_t rest = (size_t)(ends[middle] - from);
		int c = memcmp(rests + from, k, rest < len ? rest : len);

		c = c ? c : (rest > len) - (rest < len);
		if (c < 0 || (equal && c == 0))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

unsigned keynode_place(const struct object *leaf, struct cairn_slice key, bool *same)
{
	int c = against_prefix(leaf, key);
	unsigned at;

	*same = false;
	if (c)
		return c < 0 ? 0 : leaf->count;
	at = search(leaf, 0, leaf->count, key, false);
	if (at < leaf->count) {
		struct cairn_slice rest = keynode_rest(leaf, at);

		*same = rest.len == key.len - leaf->skip &&
			memcmp(rest.data, (const char *)key.data + leaf->skip, rest.len) == 0;
	}
	return at;
}

unsigned keynode_way(const struct object *inner, struct cairn_slice key)
{
	int c = against_prefix(inner, key);

	if (c)
		return c < 0 ? 0 : inner->count - 1u;
	return search(inner, 1, inner->count, key, true) - 1;
}

unsigned keynode_open(const struct object *n, struct cell *cells)
{
	struct cairn_slice prefix = keynode_prefix(n);

	for (unsigned i = 0; i < n->count; i++)
		cells[i] = (struct cell){ prefix, keynode_rest(n, i), keynode_value(n, i) };
	if (n->kind == VERSIONS_INNER && n->count)
		cells[0].a.len = cells[0].b.len = 0;
	return n->count;
}

static size_t key_len(const struct cell *c)
{
	return c->a.len + c->b.len;
}

static unsigned char key_byte(const struct cell *c, size_t at)
{
	return at < c->a.len ? ((const unsigned char *)c->a.data)[at]
			     : ((const unsigned char *)c->b.data)[at - c->a.len];
}

/* What the keys of all cells have in common. */
static size_t common(enum versions_kind kind, const struct cell *cells, unsigned count)
{
	const struct cell *first = &cells[kind == VERSIONS_INNER], *last = &cells[count - 1];
	size_t n = 0, most;

	if (last <= first)
		return 0;
	most = key_len(first) < key_len(last) ? key_len(first) : key_len(last);
	if (first->a.data == last->a.data && first->a.len == last->a.len)
		n = first->a.len;
	while (n < most && key_byte(first, n) == key_byte(last, n))
		n++;
	return n;
}

bool keynode_takes(const struct object *leaf, struct cairn_slice key)
{
	return leaf->count > 1 && leaf->count + 1 < KEYNODE_CELLS && against_prefix(leaf, key) == 0 &&
		leaf->size + KEYNODE_LEAF_VALUE + 2 + key.len - leaf->skip <= KEYNODE_BYTES;
}

static size_t size_with(enum versions_kind kind, const struct cell *cells, unsigned count, size_t skip)
{
	size_t value = kind == VERSIONS_LEAF ? KEYNODE_LEAF_VALUE : KEYNODE_INNER_VALUE;
	size_t size = sizeof(struct object) + count * (value + 2) + skip;

	for (unsigned i = kind == VERSIONS_INNER; i < count; i++)
		size += key_len(&cells[i]) - skip;
	return size;
}

size_t keynode_size(enum versions_kind kind, const struct cell *cells, unsigned count)
{
	return size_with(kind, cells, count, common(kind, cells, count));
}

/* The key of C without its first SKIP bytes to P; where it ends. */
static unsigned char *put_rest(unsigned char *p, const struct cell *c, size_t skip)
{
	size_t in_a = skip < c->a.len ? skip : c->a.len, in_b = skip - in_a;

	if (c->a.len > in_a)
		memcpy(p, (const char *)c->a.data + in_a, c->a.len - in_a);
	p += c->a.len - in_a;
	if (c->b.len > in_b)
		memcpy(p, (const char *)c->b.data + in_b, c->b.len - in_b);
	return p + c->b.len - in_b;
}

struct object *keynode_make(struct versions *v, enum versions_kind kind, const struct cell *cells,
			    unsigned count)
{
	size_t skip = common(kind, cells, count), value;
	struct object *n = versions_take(v, kind, size_with(kind, cells, count, skip));
	unsigned char *values, *p, *rests;
	uint16_t *ends;

	if (!n)
		return NULL;
	n->count = (uint16_t)count;
	n->skip = (uint16_t)skip;
	value = keynode_value_size(n);
	values = (unsigned char *)(n + 1);
	ends = (uint16_t *)(values + count * value);
	p = (unsigned char *)(ends + count);
	for (size_t i = 0; i < skip; i++)
		*p++ = key_byte(&cells[count - 1], i);
	rests = p;
	for (unsigned i = 0; i < count; i++) {
		memcpy(values + i * value, cells[i].value, value);
		if (i || kind == VERSIONS_LEAF)
			p = put_rest(p, &cells[i], skip);
		ends[i] = (uint16_t)(p - rests);
	}
	return n;
}

struct object *keynode_insert(struct versions *v, const struct object *n, unsigned at, struct cairn_slice key,
			      const void *value)
{
	size_t width = keynode_value_size(n), count = n->count, skip = n->skip, len = key.len - skip;
	const uint16_t *old_ends = ends_of(n);
	size_t from = at ? old_ends[at - 1] : 0, all = old_ends[count - 1];
	struct object *made =
		versions_take(v, n->kind, sizeof(*n) + (count + 1) * (width + 2) + skip + all + len);
	unsigned char *values, *rests;
	uint16_t *ends;

	if (!made)
		return NULL;
	made->count = (uint16_t)(count + 1);
	made->skip = (uint16_t)skip;
	values = (unsigned char *)(made + 1);
	memcpy(values, n + 1, at * width);
	memcpy(values + at * width, value, width);
	memcpy(values + (at + 1) * width, (const unsigned char *)(n + 1) + at * width, (count - at) * width);
	ends = (uint16_t *)(values + (count + 1) * width);
	memcpy(ends, old_ends, at * sizeof(*ends));
	ends[at] = (uint16_t)(from + len);
	for (size_t i = at; i < count; i++)
		ends[i + 1] = (uint16_t)(old_ends[i] + len);
	rests = (unsigned char *)(ends + count + 1);
	memcpy(rests, bytes_of(n), skip + from);
	rests += skip + from;
	memcpy(rests, (const char *)key.data + skip, len);
	memcpy(rests + len, bytes_of(n) + skip + from, all - from);
	return made;
}
