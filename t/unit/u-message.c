/* Messages: what is built is what is read; bytes from outside never read past their end. */
#include <errno.h>
#include <cairn/message.h>
#include "tap.h"

static void round_trip(void)
{
	struct cairn_msg m = { 0 };
	struct cairn_slice fields, body;
	unsigned field;
	size_t list, op;

	cairn_msg_start(&m, 5);
	cairn_msg_text(&m, CAIRN_F_KEY, "a/b");
	cairn_msg_u64(&m, CAIRN_F_REVISION, 1ull << 40);
	cairn_msg_bool(&m, CAIRN_F_EXISTS, true);
	list = cairn_msg_open(&m, CAIRN_F_GUARD);
	cairn_msg_text(&m, CAIRN_F_PREFIX, "p/");
	cairn_msg_close(&m, list);
	op = cairn_msg_open_op(&m, CAIRN_F_THEN, 2);
	cairn_msg_text(&m, CAIRN_F_KEY, "k");
	cairn_msg_close(&m, op);
	is_int(cairn_msg_error(&m), 0, "a message builds");
	is_int(cairn_message_number(cairn_msg_slice(&m)), 5, "its number is kept");
	fields = cairn_message_fields(cairn_msg_slice(&m));
	is_int(cairn_fields_check(fields, NULL), 0, "its fields are well formed");
	ok(cairn_field_find(fields, CAIRN_F_KEY, &body) && cairn_slice_eq(body, cairn_str("a/b")),
	   "bytes come back");
	ok(cairn_field_u64(fields, CAIRN_F_REVISION, 0) == 1ull << 40, "a number comes back");
	ok(cairn_field_bool(fields, CAIRN_F_EXISTS, false), "a truth value comes back");
	ok(cairn_field_find(fields, CAIRN_F_THEN, &body) && cairn_message_number(body) == 2,
	   "a nested operation comes back");
	is_int(cairn_field_u64(fields, CAIRN_F_LIMIT, 7), 7, "an absent field has its default");
	for (size_t cut = 1; cut < fields.len; cut++) {
		struct cairn_slice part = cairn_slice(memcpy(malloc(cut), fields.data, cut), cut);
		struct cairn_slice rest = part;

		while (cairn_field_next(&rest, &field, &body) == 0 && field)
			;
		cairn_fields_check(part, NULL);
		free((void *)part.data);
	}
	ok(1, "every cut is read without a fault");
	cairn_msg_free(&m);
}

static void refused(void)
{
	static const unsigned char unknown[] = { 250, 0, 0, 0 }, longer[] = { 1, 9, 0, 0, 'x' },
				   short_number[] = { 3, 1, 0, 0, 1 }, not_a_bool[] = { 7, 1, 0, 0, 2 };
	struct cairn_msg m = { 0 };
	size_t marks[CAIRN_DEPTH_MAX + 1];
	unsigned where;

	is_int(cairn_fields_check(cairn_slice(unknown, sizeof(unknown)), &where), -EBADMSG,
	       "an unknown field is refused");
	is_int(where, 250, "and named");
	is_int(cairn_fields_check(cairn_slice(longer, sizeof(longer)), NULL), -EBADMSG,
	       "a length past the end is refused");
	is_int(cairn_fields_check(cairn_slice(short_number, sizeof(short_number)), NULL), -EBADMSG,
	       "a short number is refused");
	is_int(cairn_fields_check(cairn_slice(not_a_bool, sizeof(not_a_bool)), NULL), -EBADMSG,
	       "a truth value of 2 is refused");
	cairn_msg_start(&m, 1);
	for (int i = 0; i <= CAIRN_DEPTH_MAX; i++)
		marks[i] = cairn_msg_open(&m, CAIRN_F_GUARD);
	for (int i = CAIRN_DEPTH_MAX; i >= 0; i--)
		cairn_msg_close(&m, marks[i]);
	is_int(cairn_fields_check(cairn_message_fields(cairn_msg_slice(&m)), NULL), -EBADMSG,
	       "nesting is bounded");
	cairn_msg_free(&m);
}

int main(void)
{
	round_trip();
	refused();
	return tap_done();
}
