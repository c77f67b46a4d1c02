/*
 * Changing a part of a value that is a list of chunks. The last chunk grows in place where nobody else has
 * grown it; bytes that are overwritten cost the chunks that they touch; chunks that were staged are put into
 * the list as they are, and at most one chunk at each end of the place is written anew. What was put together
 * so that two neighbours fit into one chunk becomes one, so a list is never longer than twice its shortest
 * form.
 *
 * Who holds what: an entry that came with the old value is held by that; one that is OWNED is held for this
 * list alone. At the end, old ones that stand at another place than they did are held once more, since
 * whatever replaces the old record compares the two lists place by place.
 */
#include "edit.h"
#include "banned.h"

static enum cairn_code add(struct edit *e, struct piece p, bool owned)
{
	if (e->count == e->cap) {
		size_t cap = e->cap ? e->cap * 2 : 16;
		struct entry *at = view_alloc(e->w->s, cap * sizeof(*at));

		if (!at)
			return work_stopped(e->w);
		if (e->count)
			memcpy(at, e->at, e->count * sizeof(*at));
		e->at = at;
		e->cap = cap;
	}
	e->at[e->count++] = (struct entry){ p, owned };
	return CAIRN_OK;
}

/* The list does not hold ENTRY any more. */
static enum cairn_code let_go(struct edit *e, const struct entry *entry)
{
	return entry->owned ? chunk_release(e->w, &entry->p) : CAIRN_OK;
}

/* Entry I becomes the new chunk P. */
static enum cairn_code replace(struct edit *e, size_t i, struct piece p)
{
	struct entry was = e->at[i];

	e->at[i] = (struct entry){ p, true };
	return let_go(e, &was);
}

/* Fill the last chunk up with MORE, in place where its row ends where our entry ends. */
static enum cairn_code grow_last(struct edit *e, struct cairn_slice more)
{
	size_t i = e->count - 1;
	struct piece p = e->at[i].p;
	struct cairn_slice was, bytes;
	enum cairn_code code = chunk_load(e->w, &p, &was);
	unsigned char *out;

	if (code)
		return code;
	out = view_alloc(e->w->s, p.length + more.len);
	if (!out)
		return work_stopped(e->w);
	memcpy(out, was.data, p.length);
	memcpy(out + p.length, more.data, more.len);
	bytes = cairn_slice(out, p.length + more.len);
	e->length += more.len;
	if (was.len != p.length) {
		code = chunk_new(e->w, bytes, &p);
		return code ? code : replace(e, i, p);
	}
	e->at[i].p.length = (uint32_t)bytes.len;
	e->at[i].p.hash = hash_bytes(bytes);
	return chunk_rewrite(e->w, &p, bytes);
}

enum cairn_code edit_append(struct edit *e, struct cairn_slice bytes)
{
	uint64_t max = e->w->s->meta.chunk_max;
	enum cairn_code code = CAIRN_OK;

	while (bytes.len && !code) {
		uint64_t last = e->count ? e->at[e->count - 1].p.length : max;
		size_t n = last < max ? max - last : max;
		struct piece p;

		n = n < bytes.len ? n : bytes.len;
		if (last < max) {
			code = grow_last(e, cairn_slice(bytes.data, n));
		} else {
			code = chunk_new(e->w, cairn_slice(bytes.data, n), &p);
			e->length += n;
			if (!code)
				code = add(e, p, true);
		}
		bytes = cairn_slice((const char *)bytes.data + n, bytes.len - n);
	}
	return code;
}

/* A chunk of N zeros that nobody holds yet. */
static enum cairn_code new_zeros(struct edit *e, uint64_t n, struct piece *p)
{
	unsigned char *zeros = view_alloc(e->w->s, n);

	if (!zeros)
		return work_stopped(e->w);
	memset(zeros, 0, n);
	return chunk_new(e->w, cairn_slice(zeros, n), p);
}

enum cairn_code edit_zeros(struct edit *e, uint64_t n)
{
	uint64_t max = e->w->s->meta.chunk_max, room;
	struct piece zero = { 0 };
	unsigned char *zeros;
	enum cairn_code code;

	if (!n)
		return CAIRN_OK;
	zeros = view_alloc(e->w->s, n < max ? n : max);
	if (!zeros)
		return work_stopped(e->w);
	memset(zeros, 0, n < max ? n : max);
	room = e->count ? max - e->at[e->count - 1].p.length : 0;
	room = room < n ? room : n;
	code = edit_append(e, cairn_slice(zeros, room));
	for (n -= room; n >= max && !code; n -= max) {
		code = zero.chunk ? chunk_hold(e->w, &zero) : chunk_new(e->w, cairn_slice(zeros, max), &zero);
		if (!code)
			code = add(e, zero, true);
		e->length += max;
	}
	return code ? code : edit_append(e, cairn_slice(zeros, n));
}

/* Only the first LENGTH bytes of entry I stay, fewer than it has. */
static enum cairn_code cut(struct edit *e, size_t i, uint64_t length)
{
	struct piece *p = &e->at[i].p;
	struct cairn_slice bytes;
	enum cairn_code code = chunk_load(e->w, p, &bytes);

	p->length = (uint32_t)length;
	if (!code)
		p->hash = hash_bytes(cairn_slice(bytes.data, length));
	return code;
}

enum cairn_code edit_truncate(struct edit *e, uint64_t length)
{
	uint64_t start = e->length;
	enum cairn_code code = CAIRN_OK;

	while (!code && e->count && start - e->at[e->count - 1].p.length >= length) {
		start -= e->at[--e->count].p.length;
		code = let_go(e, &e->at[e->count]);
	}
	e->length = length;
	if (code || !e->count || start == length)
		return code;
	return cut(e, e->count - 1, length - (start - e->at[e->count - 1].p.length));
}

enum cairn_code edit_write(struct edit *e, uint64_t offset, struct cairn_slice bytes)
{
	uint64_t start = 0;

	for (size_t i = 0; i < e->count && bytes.len; i++) {
		struct piece p = e->at[i].p;
		uint64_t from = offset - start, n;
		struct cairn_slice was;
		unsigned char *out;
		enum cairn_code code;

		start += p.length;
		if (offset >= start)
			continue;
		n = p.length - from < bytes.len ? p.length - from : bytes.len;
		out = view_alloc(e->w->s, p.length);
		if (!out)
			return work_stopped(e->w);
		code = chunk_load(e->w, &p, &was);
		if (code)
			return code;
		memcpy(out, was.data, p.length);
		memcpy(out + from, bytes.data, n);
		code = chunk_new(e->w, cairn_slice(out, p.length), &p);
		if (!code)
			code = replace(e, i, p);
		if (code)
			return code;
		offset += n;
		bytes = cairn_slice((const char *)bytes.data + n, bytes.len - n);
	}
	return CAIRN_OK;
}

/* Entries I and the next one become one where they fit into a chunk. */
static enum cairn_code join(struct edit *e, size_t i)
{
	struct cairn_slice one, two;
	struct piece p;
	unsigned char *out;
	enum cairn_code code;
	struct entry *a = &e->at[i], *b = a + 1;

	if (i + 1 >= e->count || a->p.length + (uint64_t)b->p.length > e->w->s->meta.chunk_max)
		return CAIRN_OK;
	out = view_alloc(e->w->s, a->p.length + b->p.length);
	if (!out)
		return work_stopped(e->w);
	code = chunk_load(e->w, &a->p, &one);
	if (!code)
		code = chunk_load(e->w, &b->p, &two);
	if (code)
		return code;
	memcpy(out, one.data, a->p.length);
	memcpy(out + a->p.length, two.data, b->p.length);
	code = chunk_new(e->w, cairn_slice(out, a->p.length + b->p.length), &p);
	if (!code)
		code = let_go(e, b);
	memmove(b, b + 1, (e->count - i - 2) * sizeof(*b));
	e->count--;
	return code ? code : replace(e, i, p);
}

/* A place in the list: the entry with the byte AT of the value, and where that entry starts. */
static size_t find(const struct edit *e, uint64_t at, uint64_t *start)
{
	size_t i = 0;

	for (*start = 0; i < e->count && *start + e->at[i].p.length <= at; i++)
		*start += e->at[i].p.length;
	return i;
}

/* What stays of the entry with the byte END - 1 behind END, as a new chunk; *TAIL is its length. */
static enum cairn_code keep_tail(struct edit *e, uint64_t end, struct piece *tail)
{
	uint64_t start;
	struct piece p;
	struct cairn_slice bytes;
	unsigned char *out;
	enum cairn_code code;
	size_t i = find(e, end, &start);

	*tail = (struct piece){ 0 };
	if (start == end || i == e->count)
		return CAIRN_OK;
	p = e->at[i].p;
	out = view_alloc(e->w->s, p.length - (end - start));
	if (!out)
		return work_stopped(e->w);
	code = chunk_load(e->w, &p, &bytes);
	if (code)
		return code;
	memcpy(out, (const char *)bytes.data + (end - start), p.length - (end - start));
	return chunk_new(e->w, cairn_slice(out, p.length - (end - start)), tail);
}

/* Where the entries from OFFSET to END go away, COUNT new ones and perhaps a TAIL come. */
static enum cairn_code exchange(struct edit *e, size_t first, size_t last, const struct piece *pieces,
				size_t count, const struct piece *tail)
{
	size_t more = count + (tail->length != 0), rest = e->count - last;
	struct entry *at = view_alloc(e->w->s, (first + more + rest) * sizeof(*at));
	enum cairn_code code = CAIRN_OK;

	if (!at)
		return work_stopped(e->w);
	for (size_t i = first; i < last && !code; i++)
		code = let_go(e, &e->at[i]);
	if (first)
		memcpy(at, e->at, first * sizeof(*at));
	for (size_t i = 0; i < count; i++)
		at[first + i] = (struct entry){ pieces[i], true };
	if (tail->length)
		at[first + count] = (struct entry){ *tail, true };
	if (rest)
		memcpy(at + first + more, e->at + last, rest * sizeof(*at));
	e->at = at;
	e->count = e->cap = first + more + rest;
	return code;
}

enum cairn_code edit_splice(struct edit *e, uint64_t offset, const struct piece *pieces, size_t count,
			    uint64_t length)
{
	uint64_t end = offset + length < e->length ? offset + length : e->length, start, unused;
	struct piece tail;
	enum cairn_code code = keep_tail(e, end, &tail);
	size_t first, last;
	bool head;

	if (code)
		return code;
	first = find(e, offset, &start);
	head = offset > start;
	last = find(e, end, &unused);
	if (tail.length)
		last++;
	if (head)
		code = cut(e, first++, offset - start);
	if (!code)
		code = exchange(e, first, last > first ? last : first, pieces, count, &tail);
	e->length = offset + length > e->length ? offset + length : e->length;
	/* From behind, so that the places before stay what they are. */
	if (!code && tail.length)
		code = join(e, first + count);
	if (!code)
		code = join(e, first + count - 1);
	if (!code && first)
		code = join(e, first - 1);
	if (!code && head && first > 1)
		code = join(e, first - 2);
	return code;
}

enum cairn_code edit_punch(struct edit *e, uint64_t offset, uint64_t length)
{
	uint64_t max = e->w->s->meta.chunk_max, count = (length + max - 1) / max;
	struct piece zero, *pieces = view_alloc(e->w->s, count * sizeof(*pieces));
	enum cairn_code code = CAIRN_OK;

	if (!pieces)
		return work_stopped(e->w);
	for (uint64_t i = 0; i < count && !code; i++) {
		if (i == 0)
			code = new_zeros(e, length < max ? length : max, &zero);
		else if (i + 1 == count && length % max)
			code = new_zeros(e, length % max, &zero);
		else
			code = chunk_hold(e->w, &zero);
		pieces[i] = zero;
	}
	return code ? code : edit_splice(e, offset, pieces, count, length);
}

enum cairn_code edit_start(struct edit *e, struct work *w, const struct record *old)
{
	enum cairn_code code = CAIRN_OK;

	*e = (struct edit){ .w = w, .old = old };
	if (!old->chunks.len)
		return edit_append(e, old->content);
	for (size_t i = 0; i < pieces_count(old->chunks) && !code; i++)
		code = add(e, pieces_entry(old->chunks, i), false);
	e->length = old->head.length;
	return code;
}

enum cairn_code edit_end(struct edit *e, struct record *next)
{
	struct pieces list = { 0 };
	size_t n = pieces_count(e->old->chunks);
	enum cairn_code code = CAIRN_OK;

	for (size_t i = 0; i < e->count && !code; i++) {
		struct piece p = e->at[i].p;

		if (!e->at[i].owned && (i >= n || pieces_entry(e->old->chunks, i).chunk != p.chunk))
			code = chunk_hold(e->w, &p);
		if (!code)
			code = pieces_add(e->w, &list, p);
	}
	return code ? code : content_set_pieces(e->w, next, &list, e->length);
}
