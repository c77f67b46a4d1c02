/*
 * Chunks. A chunk that one list holds has no count row; a second holder makes one, and the last but one
 * removes it. The bytes under a chunk's id only ever grow at their end, so a reader that knows its length is
 * never wrong.
 */
#include <errno.h>
#include "content.h"
#include "le.h"
#include "banned.h"

static int chunk_row(struct work *w, enum row_tag tag, uint64_t id, struct row *row)
{
	unsigned char key[ROW_CHUNK_KEY];

	return view_row_of(w->s, row_chunk_key(key, tag, id), row);
}

enum cairn_code chunk_new(struct work *w, struct cairn_slice bytes, struct piece *p)
{
	struct row row;

	*p = (struct piece){ w->s->meta.next_chunk++, hash_bytes(bytes), (uint32_t)bytes.len };
	if (work_charge(w, 0, bytes.len))
		return CAIRN_E_TOO_LARGE;
	if (chunk_row(w, ROW_CHUNK, p->chunk, &row) < 0 || view_put(w->s, &row, bytes) < 0)
		return work_stopped(w);
	return CAIRN_OK;
}

/* The count of a chunk, 1 where there is no row. */
static int load_count(struct work *w, uint64_t id, struct row *row, uint64_t *count)
{
	struct cairn_slice body;
	int e;

	e = chunk_row(w, ROW_COUNT, id, row);
	if (e == 0)
		e = view_get(w->s, row, &body);
	*count = 1;
	if (e == -ENOENT)
		return 0;
	if (e == 0 && body.len != 8)
		return view_damaged(w->s, row->key);
	if (e == 0)
		*count = le64_get(body.data);
	return e;
}

static int store_count(struct work *w, const struct row *row, uint64_t count)
{
	unsigned char *body;

	if (count == 1)
		return view_delete(w->s, row);
	body = view_alloc(w->s, 8);
	if (!body)
		return -ENOMEM;
	le64_put(body, count);
	return view_put(w->s, row, cairn_slice(body, 8));
}

#define HOLD_COST 64 /* bytes that holding or releasing a chunk counts as */

enum cairn_code chunk_hold(struct work *w, const struct piece *p)
{
	struct row row;
	uint64_t count;

	if (work_charge(w, 0, HOLD_COST))
		return CAIRN_E_TOO_LARGE;
	if (load_count(w, p->chunk, &row, &count) < 0 || store_count(w, &row, count + 1) < 0)
		return work_stopped(w);
	return CAIRN_OK;
}

enum cairn_code chunk_release(struct work *w, const struct piece *p)
{
	struct row row;
	uint64_t count;
	int e;

	if (work_charge(w, 0, HOLD_COST))
		return CAIRN_E_TOO_LARGE;
	e = load_count(w, p->chunk, &row, &count);
	if (e == 0 && count > 1)
		e = store_count(w, &row, count - 1);
	else if (e == 0 && (e = chunk_row(w, ROW_CHUNK, p->chunk, &row)) == 0)
		e = view_delete(w->s, &row);
	return e < 0 ? work_stopped(w) : CAIRN_OK;
}

enum cairn_code chunk_load(struct work *w, const struct piece *p, struct cairn_slice *bytes)
{
	struct row row;
	int e;

	e = chunk_row(w, ROW_CHUNK, p->chunk, &row);
	if (e == 0)
		e = view_get(w->s, &row, bytes);
	if (e == -ENOENT || (e == 0 && bytes->len < p->length))
		e = view_damaged(w->s, row.key);
	return e < 0 ? work_stopped(w) : CAIRN_OK;
}

enum cairn_code chunk_rewrite(struct work *w, const struct piece *p, struct cairn_slice bytes)
{
	struct row row;

	if (work_charge(w, 0, bytes.len))
		return CAIRN_E_TOO_LARGE;
	if (chunk_row(w, ROW_CHUNK, p->chunk, &row) < 0 || view_put(w->s, &row, bytes) < 0)
		return work_stopped(w);
	return CAIRN_OK;
}
