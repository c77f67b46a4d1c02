/*
 * Commands from anywhere, applied: the input is a row of messages, each behind two bytes of length. Whatever
 * they say, the store's rows must agree with its counters and its digest afterwards, and reads must answer.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include "store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
const struct cairn_engine *cairn_engine_plugin(void);

static void put(struct store *s, uint64_t *index, const char *key, size_t value)
{
	struct store_command c = { .position = { ++*index, 1 } };
	struct cairn_msg m = { 0 };

	cairn_msg_start(&m, CAIRN_OP_PUT);
	cairn_msg_text(&m, CAIRN_F_KEY, key);
	memset(cairn_msg_room(&m, CAIRN_F_VALUE, value), 'v', value);
	c.message = cairn_msg_slice(&m);
	if (store_apply(s, &c, 1, false, NULL))
		abort();
	cairn_msg_free(&m);
}

static void feed(struct store *s, uint64_t index, const uint8_t *data, size_t len)
{
	struct cairn_msg answer = { 0 };
	struct cairn_error error;

	while (len >= 2) {
		size_t n = data[0] | (size_t)data[1] << 8;
		struct store_command c = { .position = { ++index, 1 }, .answer = &answer, .error = &error };
		bool again;

		data += 2;
		len -= 2;
		n = n < len ? n : len;
		c.message = cairn_slice(data, n);
		data += n;
		len -= n;
		if (cairn_fields_check(cairn_message_fields(c.message), NULL) < 0)
			continue;
		cairn_msg_start(&answer, 0);
		store_get(s, cairn_message_fields(c.message), STORE_NO_WAIT, &answer, &again, &error);
		cairn_msg_start(&answer, 0);
		store_scan(s, cairn_message_fields(c.message), 0, 300, &answer, NULL, &error);
		cairn_msg_start(&answer, 0);
		store_history(s, cairn_message_fields(c.message), 0, 300, &answer, NULL, &error);
		if (store_check(s, cairn_message_number(c.message), cairn_message_fields(c.message), &error))
			continue;
		if (store_apply(s, &c, 1, false, &error)) {
			fprintf(stderr, "the store stopped: %s\n", error.message);
			abort();
		}
		if (store_reclaim(s, 0, false, &again, &error))
			abort();
	}
	cairn_msg_free(&answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const struct store_settings settings = {
		.key_max = 100, .value_limit = 1 << 20, .folders = true, .history = 3, .history_age_ns = 1000
	};
	struct cairn_error error = { 0 };
	struct engine e;
	struct store *s;
	uint64_t index = 0;

	if (engine_open(&e, cairn_engine_plugin(), "/", NULL, 0, &error) ||
	    store_open(&s, &e, &settings, &error))
		abort();
	put(s, &index, "a/b", 3);
	put(s, &index, "a/c", 20000);
	put(s, &index, "d/", 0);
	feed(s, index, data, len);
	if (store_check_rows(s, &error)) {
		fprintf(stderr, "%s\n", error.message);
		abort();
	}
	store_close(s);
	engine_close(&e);
	return 0;
}
