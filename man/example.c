#include <stdio.h>
#include <cairn/client.h>

/* One row of a listing per event or answer; here: its key. */
static void show(struct cairn_slice fields)
{
	struct cairn_slice row, key;
	unsigned field;

	while (cairn_field_next(&fields, &field, &row) == 0 && field)
		if (field == CAIRN_F_ROW && cairn_field_find(row, CAIRN_F_KEY, &key))
			printf("%.*s\n", (int)key.len, (const char *)key.data);
}

static bool on_event(void *arg, const struct cairn_reply *event)
{
	(void)arg;
	show(event->fields);
	return true; /* go on */
}

static int complain(const struct cairn_error *e)
{
	fprintf(stderr, "%s: %s\n", cairn_error_row(e->code)->name, e->message);
	if (e->hint[0])
		fprintf(stderr, "hint: %s\n", e->hint);
	return cairn_error_row(e->code)->exit_code;
}

int main(void)
{
	struct cairn_options options = { .face = "example", .timeout_ms = 2000 };
	struct cairn_reply reply = { 0 };
	struct cairn_msg list = { 0 };
	struct cairn_error error;
	struct cairn_slice value;
	struct cairn *cairn;
	uint64_t revision;
	int status = 0;

	if (cairn_open(&cairn, &options, &error))
		return complain(&error);
	if (cairn_put(cairn, NULL, cairn_str("example/a"), cairn_str("hello"), &revision, &error))
		status = complain(&error);
	else if (cairn_get(cairn, NULL, cairn_str("example/a"), &value, NULL, &reply))
		status = complain(&reply.error);
	else
		printf("%.*s\n", (int)value.len, (const char *)value.data);

	cairn_msg_start(&list, CAIRN_OP_SCAN);
	cairn_msg_text(&list, CAIRN_F_PREFIX, "example/");
	if (!status && cairn_stream(cairn, &list, on_event, NULL, &reply))
		status = complain(&reply.error);
	else if (!status)
		show(reply.fields);
	cairn_msg_free(&list);
	cairn_reply_free(&reply);
	cairn_close(cairn);
	return status;
}
