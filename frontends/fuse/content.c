/*
 * The bytes of an open file. Writes go into one buffer and leave their extents behind; a commit sends the
 * buffer, and where the value has meanwhile changed, content_rebase makes the same changes to the newer one.
 * Everything fails only for lack of memory, and then leaves the content as it was.
 */
#include <errno.h>
#include <stdlib.h>
#include "content.h"
#include "banned.h"

void content_free(struct content *c)
{
	free(c->data);
	free(c->extents);
	*c = (struct content){ 0 };
}

/* Room for LEN bytes. */
static int reserve(struct content *c, size_t len)
{
	size_t cap = c->cap > 4096 ? c->cap : 4096;
	unsigned char *data;

	if (len <= c->cap)
		return 0;
	while (cap < len)
		cap += cap / 2;
	data = realloc(c->data, cap);
	if (!data)
		return -ENOMEM;
	c->data = data;
	c->cap = cap;
	return 0;
}

/* Room for one more extent. */
static int reserve_extent(struct content *c)
{
	size_t room = c->room ? c->room * 2 : 4;
	struct extent *e;

	if (c->count < c->room)
		return 0;
	e = reallocarray(c->extents, room, sizeof(*e));
	if (!e)
		return -ENOMEM;
	c->extents = e;
	c->room = room;
	return 0;
}

/* Lengthen by zeros to LEN; there is room. */
static void lengthen(struct content *c, size_t len)
{
	if (len > c->len) {
		memset(c->data + c->len, 0, len - c->len);
		c->len = len;
	}
}

int content_set(struct content *c, struct cairn_slice value)
{
	int r = reserve(c, value.len);

	if (r < 0)
		return r;
	c->len = 0;
	content_clean(c);
	return content_load(c, value);
}

int content_load(struct content *c, struct cairn_slice more)
{
	int r = reserve(c, c->len + more.len);

	if (r < 0)
		return r;
	if (more.len)
		memcpy(c->data + c->len, more.data, more.len);
	c->len += more.len;
	return 0;
}

/* Note that the bytes FROM to TO were written; there is room. */
static void note(struct content *c, size_t from, size_t to)
{
	size_t first = 0, last;

	while (first < c->count && c->extents[first].to < from)
		first++;
	for (last = first; last < c->count && c->extents[last].from <= to; last++) {
		if (c->extents[last].from < from)
			from = c->extents[last].from;
		if (c->extents[last].to > to)
			to = c->extents[last].to;
	}
	memmove(c->extents + first + 1, c->extents + last, (c->count - last) * sizeof(*c->extents));
	c->count += first + 1 - last;
	c->extents[first] = (struct extent){ from, to };
}

int content_write(struct content *c, size_t offset, struct cairn_slice data)
{
	int r;

	if (data.len == 0)
		return 0;
	r = reserve(c, offset + data.len);
	if (r == 0 && !c->whole)
		r = reserve_extent(c);
	if (r < 0)
		return r;
	lengthen(c, offset);
	memcpy(c->data + offset, data.data, data.len);
	if (offset + data.len > c->len)
		c->len = offset + data.len;
	if (!c->whole)
		note(c, offset, offset + data.len);
	c->dirty = true;
	return 0;
}

int content_truncate(struct content *c, size_t size)
{
	int r = reserve(c, size);

	if (r < 0)
		return r;
	if (size == 0) {
		c->whole = true;
		c->count = 0;
	} else if (!c->whole) {
		c->kept = size < c->kept ? size : c->kept;
		c->least = size;
		while (c->count > 0 && c->extents[c->count - 1].to > size) {
			if (c->extents[c->count - 1].from < size)
				c->extents[c->count - 1].to = size;
			else
				c->count--;
		}
	}
	lengthen(c, size);
	c->len = size;
	c->dirty = true;
	return 0;
}

int content_rebase(struct content *c, struct cairn_slice value)
{
	size_t base = value.len < c->kept ? value.len : c->kept, len = base > c->least ? base : c->least;
	unsigned char *data;

	if (c->whole)
		return 0;
	for (size_t i = 0; i < c->count; i++)
		if (c->extents[i].to > len)
			len = c->extents[i].to;
	data = calloc(1, len ? len : 1);
	if (!data)
		return -ENOMEM;
	if (base)
		memcpy(data, value.data, base);
	for (size_t i = 0; i < c->count; i++)
		memcpy(data + c->extents[i].from, c->data + c->extents[i].from,
		       c->extents[i].to - c->extents[i].from);
	free(c->data);
	c->data = data;
	c->len = len;
	c->cap = len ? len : 1;
	return 0;
}

void content_clean(struct content *c)
{
	c->dirty = c->whole = false;
	c->kept = SIZE_MAX;
	c->least = 0;
	c->count = 0;
}
