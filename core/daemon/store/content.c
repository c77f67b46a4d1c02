/*
 * Values. Which form a value has follows from its length alone: up to inline_max bytes stand in the record,
 * longer ones are a list of chunks.
 */
#include "content.h"
#include "banned.h"

enum cairn_code pieces_add(struct work *w, struct pieces *list, struct piece p)
{
	if (list->count == list->cap) {
		size_t cap = list->cap ? list->cap * 2 : 16;
		struct piece *at = view_alloc(w->s, cap * sizeof(*at));

		if (!at)
			return work_stopped(w);
		if (list->count)
			memcpy(at, list->at, list->count * sizeof(*at));
		list->at = at;
		list->cap = cap;
	}
	list->at[list->count++] = p;
	return CAIRN_OK;
}

enum cairn_code content_fits(struct work *w, uint64_t length)
{
	if (length <= w->s->meta.value_limit)
		return CAIRN_OK;
	return cairn_fail(w->error, CAIRN_E_TOO_LARGE,
			  "a value of %llu bytes, and this volume takes at most %llu",
			  (unsigned long long)length, (unsigned long long)w->s->meta.value_limit);
}

enum cairn_code content_set(struct work *w, struct record *r, struct cairn_slice bytes)
{
	struct pieces list = { 0 };
	struct piece p;
	enum cairn_code code = content_fits(w, bytes.len);

	if (code || bytes.len <= w->s->meta.inline_max) {
		r->head.length = bytes.len;
		r->content = bytes;
		r->chunks = cairn_slice(NULL, 0);
		return code;
	}
	for (size_t at = 0; at < bytes.len && !code; at += p.length) {
		size_t n = bytes.len - at < w->s->meta.chunk_max ? bytes.len - at : w->s->meta.chunk_max;

		code = chunk_new(w, cairn_slice((const char *)bytes.data + at, n), &p);
		if (!code)
			code = pieces_add(w, &list, p);
	}
	return code ? code : content_set_pieces(w, r, &list, bytes.len);
}

enum cairn_code content_set_pieces(struct work *w, struct record *r, const struct pieces *list,
				   uint64_t length)
{
	unsigned char *body = view_alloc(w->s, list->count * PIECE_BYTES);

	if (!body)
		return work_stopped(w);
	for (size_t i = 0; i < list->count; i++)
		piece_encode(&list->at[i], body + i * PIECE_BYTES);
	r->head.length = length;
	r->content = cairn_slice(NULL, 0);
	r->chunks = cairn_slice(body, list->count * PIECE_BYTES);
	return CAIRN_OK;
}

enum cairn_code content_read(struct work *w, const struct record *r, uint64_t offset, uint64_t length,
			     unsigned char *out)
{
	uint64_t start = 0; /* of the entry in the value */

	if (!r->chunks.len) {
		if (length)
			memcpy(out, (const char *)r->content.data + offset, length);
		return CAIRN_OK;
	}
	for (size_t i = 0; i < pieces_count(r->chunks) && length; i++) {
		struct piece p = pieces_entry(r->chunks, i);

		if (offset < start + p.length) {
			uint64_t from = offset - start,
				 n = p.length - from < length ? p.length - from : length;
			struct cairn_slice bytes;
			enum cairn_code code = chunk_load(w, &p, &bytes);

			if (code)
				return code;
			memcpy(out, (const char *)bytes.data + from, n);
			out += n;
			offset += n;
			length -= n;
		}
		start += p.length;
	}
	return CAIRN_OK;
}

enum cairn_code content_release(struct work *w, const struct record *old, const struct record *next)
{
	for (size_t i = 0; i < pieces_count(old->chunks); i++) {
		struct piece p = pieces_entry(old->chunks, i);
		enum cairn_code code;

		if (next && i < pieces_count(next->chunks) && pieces_entry(next->chunks, i).chunk == p.chunk)
			continue;
		code = chunk_release(w, &p);
		if (code)
			return code;
	}
	return CAIRN_OK;
}

enum cairn_code content_hold(struct work *w, const struct record *r)
{
	for (size_t i = 0; i < pieces_count(r->chunks); i++) {
		struct piece p = pieces_entry(r->chunks, i);
		enum cairn_code code = chunk_hold(w, &p);

		if (code)
			return code;
	}
	return CAIRN_OK;
}

enum cairn_code content_gather(struct work *w, const struct pieces *list, uint64_t length,
			       struct cairn_slice *bytes)
{
	unsigned char *out = view_alloc(w->s, length);
	uint64_t at = 0;

	if (!out)
		return work_stopped(w);
	for (size_t i = 0; i < list->count; i++) {
		struct cairn_slice chunk;
		enum cairn_code code = chunk_load(w, &list->at[i], &chunk);

		if (!code)
			code = chunk_release(w, &list->at[i]);
		if (code)
			return code;
		memcpy(out + at, chunk.data, list->at[i].length);
		at += list->at[i].length;
	}
	*bytes = cairn_slice(out, length);
	return CAIRN_OK;
}

enum cairn_code content_given(struct work *w, const struct args *a, struct record *r)
{
	struct pieces list = { 0 };
	struct cairn_slice bytes = args_bytes(a, CAIRN_F_VALUE);
	uint64_t size = 0;
	enum cairn_code code;

	if (!args_has(a, CAIRN_F_UPLOAD))
		return content_set(w, r, bytes);
	if (args_has(a, CAIRN_F_VALUE))
		return cairn_fail(w->error, CAIRN_E_INVALID, "a value is given, or an upload: not both");
	code = upload_take(w, a, true, &list, &size);
	if (code || size > w->s->meta.inline_max)
		return code ? code : content_set_pieces(w, r, &list, size);
	code = content_gather(w, &list, size, &bytes);
	return code ? code : content_set(w, r, bytes);
}
