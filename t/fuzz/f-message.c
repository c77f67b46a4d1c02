/* Fields of a message: the check, and every way to walk what passed and what did not. */
#include <stdint.h>
#include <stdlib.h>
#include <cairn/message.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void walk(struct cairn_slice fields, int depth)
{
	struct cairn_slice body;
	unsigned field;

	while (cairn_field_next(&fields, &field, &body) == 0 && field) {
		const struct cairn_field_row *row = cairn_field_row(field);

		cairn_body_u64(body);
		if (!row || depth == CAIRN_DEPTH_MAX)
			continue;
		if (row->type == CAIRN_T_OBJECT || row->type == CAIRN_T_LIST)
			walk(body, depth + 1);
		else if (row->type == CAIRN_T_OPERATIONS)
			walk(cairn_message_fields(body), depth + 1);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct cairn_slice message = cairn_slice(data, len), fields = cairn_message_fields(message), body;
	struct cairn_msg again = { 0 };
	bool good = cairn_fields_check(fields, NULL) == 0;

	walk(fields, 0);
	walk(message, 0);
	for (unsigned f = 0; f < CAIRN_FIELD_COUNT; f++) {
		if (cairn_field_find(fields, f, &body) && body.len &&
		    ((const char *)body.data)[body.len - 1] == 77)
			cairn_field_bool(fields, f, false);
		cairn_field_u64(fields, f, 0);
	}
	cairn_msg_start(&again, cairn_message_number(message));
	cairn_msg_fields(&again, fields);
	if (good && cairn_fields_check(cairn_message_fields(cairn_msg_slice(&again)), NULL))
		abort(); /* what passed must pass again */
	cairn_msg_free(&again);
	return 0;
}
