/* Lines of JSON as requests; what was understood must print as JSON that is understood as the same. */
#include <stdint.h>
#include <stdlib.h>
#include <cairn/operations.h>
#include "json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Parse LINE with PAYLOAD into M. Returns whether it is a request. */
static bool parse(struct cairn_slice line, struct cairn_slice payload, struct cairn_msg *m)
{
	struct json_line l = { 0 };
	struct cairn_error error = { 0 };
	bool good = json_line_read(&l, line, &error) == CAIRN_OK;
	char *padded;

	if (good) { /* the reader waits until all of the payload is there */
		padded = calloc(1, l.payload + 1);
		if (!padded)
			abort();
		if (payload.len)
			memcpy(padded, payload.data, payload.len < l.payload ? payload.len : l.payload);
		cairn_msg_start(m, l.name ? cairn_operation_by_name(cairn_str(l.name)) : 0);
		good = json_line_request(&l, cairn_slice(padded, l.payload), m, &error) == CAIRN_OK;
		free(padded);
	}
	if (!good && (!error.code || !error.message[0]))
		abort(); /* a refusal says why */
	json_line_free(&l);
	return good;
}

static void again(const struct cairn_msg *m)
{
	struct buffer fields = { 0 }, payload = { 0 }, line = { 0 };
	struct cairn_msg back = { 0 };

	if (cairn_fields_check(cairn_message_fields(cairn_msg_slice(m)), NULL))
		abort();
	json_print_fields(&fields, cairn_message_fields(cairn_msg_slice(m)), &payload);
	buffer_text(&line, "{\"id\":1,\"op\":\"get\",\"args\":");
	buffer_add(&line, buffer_slice(&fields));
	buffer_printf(&line, ",\"payload\":%zu}", payload.len);
	if (line.len <= JSON_LINE_MAX &&
	    (!parse(buffer_slice(&line), buffer_slice(&payload), &back) || back.len != m->len ||
	     memcmp(back.data + CAIRN_MESSAGE_HEAD, m->data + CAIRN_MESSAGE_HEAD,
		    m->len - CAIRN_MESSAGE_HEAD)))
		abort();
	cairn_msg_free(&back);
	buffer_free(&line);
	buffer_free(&payload);
	buffer_free(&fields);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const uint8_t *end = len ? memchr(data, '\n', len) : NULL;
	size_t line = end ? (size_t)(end - data) : len;
	struct cairn_slice payload = end ? cairn_slice(end + 1, len - line - 1) : cairn_slice(NULL, 0);
	struct cairn_msg m = { 0 };

	if (parse(cairn_slice(data, line), payload, &m) && !cairn_msg_error(&m))
		again(&m);
	cairn_msg_free(&m);
	return 0;
}
