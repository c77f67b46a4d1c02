/*
 * Results that are too long for the request table. What is kept of one is the answer without values and
 * without the record that was replaced; of a transaction with very many results only how each ended. When the
 * command is repeated, the replaced record is read from the key's history, and a transaction that only reads
 * is done again, which is as good: its client has had no answer yet. What cannot be had again is said with
 * 'shortened'.
 */
#include <errno.h>
#include "past.h"
#include "requests.h"
#include "banned.h"

/* Add to M what of FIELDS is no bytes of values. */
static void add_small(struct cairn_msg *m, struct cairn_slice fields)
{
	struct cairn_slice body;
	unsigned field;

	while (cairn_field_next(&fields, &field, &body) == 0 && field != CAIRN_F_END)
		if (field == CAIRN_F_RESULT) {
			size_t mark = cairn_msg_open(m, field);

			add_small(m, body);
			cairn_msg_close(m, mark);
		} else if (field != CAIRN_F_OLD && field != CAIRN_F_VALUE) {
			cairn_msg_bytes(m, field, body);
		}
}

/* Add to M whether the guards held, and of each result only its code, one byte for each. */
static void add_codes(struct cairn_msg *m, struct cairn_slice answer, uint64_t revision)
{
	unsigned char codes[REQUESTS_RESULT_BYTES - 32];
	struct cairn_slice rest = answer, body, name;
	unsigned field;
	size_t n = 0;

	if (cairn_field_find(answer, CAIRN_F_SUCCEEDED, &body))
		cairn_msg_bytes(m, CAIRN_F_SUCCEEDED, body);
	while (n <= sizeof(codes) && cairn_field_next(&rest, &field, &body) == 0 && field != CAIRN_F_END)
		if (field == CAIRN_F_RESULT && n++ < sizeof(codes))
			codes[n - 1] = cairn_field_find(body, CAIRN_F_CODE, &name)
				? (unsigned char)cairn_error_by_name(name.data, name.len)
				: 0;
	if (n && n <= sizeof(codes))
		cairn_msg_bytes(m, CAIRN_F_VALUE, cairn_slice(codes, n));
	cairn_msg_u64(m, CAIRN_F_REVISION, revision);
}

enum cairn_code result_reduce(struct work *w, struct cairn_slice *answer, unsigned *flags)
{
	struct cairn_slice body;
	struct cairn_msg m = { .cap = answer->len + REQUESTS_RESULT_BYTES };

	m.data = view_alloc(w->s, m.cap); /* never longer than that, so it stays where it is */
	if (!m.data)
		return work_stopped(w);
	*flags = RESULT_SHORTENED;
	if (cairn_field_find(*answer, CAIRN_F_OLD, &body))
		*flags |= RESULT_HAD_OLD;
	add_small(&m, *answer);
	if (m.len > REQUESTS_RESULT_BYTES) {
		m.len = 0;
		add_codes(&m, *answer, w->s->meta.revision);
	}
	*answer = cairn_slice(m.data, m.len);
	return CAIRN_OK;
}

bool result_is_read(unsigned op, const struct args *a)
{
	struct cairn_slice rest = a->fields, body;
	unsigned field;

	if (op != CAIRN_OP_TXN)
		return false;
	while (cairn_field_next(&rest, &field, &body) == 0 && field != CAIRN_F_END)
		if ((field == CAIRN_F_THEN || field == CAIRN_F_ELSE) &&
		    cairn_message_number(body) != CAIRN_OP_GET)
			return false;
	return true;
}

/* The record that the command at REVISION replaced, where it is still visible, as OLD. */
static enum cairn_code add_old(struct work *w, struct cairn_slice key, uint64_t revision, bool *added)
{
	struct past p = past_of(w, key);
	struct record old;
	size_t mark;
	int e = past_at(&p, revision - 1);

	*added = false;
	if (e == 0)
		e = past_value(&p, &old);
	if (e == -ENOENT || e == -E2BIG)
		return CAIRN_OK;
	if (e < 0)
		return past_failed(w, e, key);
	mark = cairn_msg_open(w->answer, CAIRN_F_OLD);
	answer_record(w->answer, &old, true);
	cairn_msg_close(w->answer, mark);
	*added = true;
	return CAIRN_OK;
}

static void add_results(struct cairn_msg *m, struct cairn_slice codes)
{
	for (size_t i = 0; i < codes.len; i++) {
		size_t mark = cairn_msg_open(m, CAIRN_F_RESULT);
		unsigned code = ((const unsigned char *)codes.data)[i];

		cairn_msg_bool(m, CAIRN_F_SUCCEEDED, !code);
		if (code)
			cairn_msg_text(m, CAIRN_F_CODE, cairn_error_row((enum cairn_code)code)->name);
		cairn_msg_close(m, mark);
	}
}

enum cairn_code result_again(struct work *w, const struct args *a, struct cairn_slice kept, unsigned flags)
{
	uint64_t revision = cairn_field_u64(kept, CAIRN_F_REVISION, 0);
	bool whole = false;
	struct cairn_slice body;
	enum cairn_code code = CAIRN_OK;
	unsigned field;

	while (!code && cairn_field_next(&kept, &field, &body) == 0 && field != CAIRN_F_END)
		if (field == CAIRN_F_VALUE) {
			add_results(w->answer, body);
		} else {
			if (field == CAIRN_F_REVISION && flags & RESULT_HAD_OLD && args_has(a, CAIRN_F_KEY))
				code = add_old(w, args_bytes(a, CAIRN_F_KEY), revision, &whole);
			cairn_msg_bytes(w->answer, field, body);
		}
	if (!code && !whole)
		cairn_msg_bool(w->answer, CAIRN_F_SHORTENED, true);
	return code;
}
