/*
 * Lines of JSON. A line is parsed when its newline has come; where it announces a payload, it waits for that.
 * A line that cannot be understood is answered and the next one is read, unless nobody knows where that
 * begins.
 */
#include "conn.h"
#include "nearest.h"
#include "banned.h"

/* {"id":N, */
static void head(struct buffer *out, uint64_t id)
{
	buffer_text(out, "{\"id\":");
	if (id)
		json_print_number(out, id);
	else
		buffer_text(out, "null");
	buffer_byte(out, ',');
}

static void json_refuse(struct conn *c, uint64_t id, const struct cairn_error *error)
{
	metrics_add(c->hub->node->metrics, METRIC_BAD_REQUESTS, 1);
	head(&c->out, id);
	buffer_text(&c->out, "\"error\":");
	json_print_error(&c->out, error);
	buffer_text(&c->out, "}\n");
}

static bool json_answer(struct request *r, enum answer kind)
{
	struct buffer *out = &r->conn->out, payload = { 0 };

	head(out, r->id);
	if (kind == ANSWER_ERROR) {
		buffer_text(out, "\"error\":");
		json_print_error(out, &r->call.error);
	} else {
		buffer_text(out, kind == ANSWER_OK ? "\"ok\":" : "\"event\":");
		json_print_fields(out, cairn_message_fields(cairn_msg_slice(&r->call.answer)), &payload);
		if (payload.len)
			buffer_printf(out, ",\"payload\":%zu", payload.len);
		if (payload.error)
			out->error = payload.error;
	}
	buffer_text(out, "}\n");
	buffer_add(out, buffer_slice(&payload));
	buffer_free(&payload);
	return true;
}

static void json_tell(struct conn *c, const char *message)
{
	buffer_text(&c->out, "{\"id\":0,\"event\":{\"message\":");
	json_print_string(&c->out, cairn_str(message));
	buffer_text(&c->out, "}}\n");
}

static void refuse_line(struct conn *c, const struct cairn_error *error)
{
	json_refuse(c, c->line.has_id ? c->line.id : 0, error);
	c->skip = c->line.payload;
	if (c->line.lost)
		conn_close_soon(c);
	json_line_free(&c->line);
}

/* The argument that was probably meant by the name that the line's operation does not know. */
static void hint_argument(struct conn *c, struct cairn_error *error)
{
	const struct operation *op = operation(c->line_op);
	const char *names[64], *meant;
	size_t n = 0;

	if (!op || !c->line.unknown[0])
		return;
	for (const struct operation_argument *a = op->arguments; a->field; a++)
		names[n++] = cairn_field_row(a->field)->json;
	for (const struct operation_argument *a = operation_common; a->field; a++)
		names[n++] = cairn_field_row(a->field)->json;
	meant = nearest(c->line.unknown, names, n);
	if (meant)
		cairn_hint(error, "did you mean '%s'?", meant);
}

/* The line waits in C->line, and its payload is there. */
static void start_line(struct conn *c)
{
	struct cairn_error error = { 0 };
	struct request *r;

	if (strcmp(c->line.name, "cancel") == 0) {
		conn_cancel(c, c->line.id);
		c->skip = c->line.payload;
		json_line_free(&c->line);
		return;
	}
	c->line_op = cairn_operation_by_name(cairn_str(c->line.name));
	if (!c->line_op) {
		cairn_fail(&error, CAIRN_E_INVALID, "no operation '%.64s'", c->line.name);
		operation_hint(c->line.name, &error);
		refuse_line(c, &error);
		return;
	}
	r = conn_request(c, c->line.id);
	if (!r) {
		c->skip = c->line.payload;
		json_line_free(&c->line);
		return;
	}
	cairn_msg_start(&r->message, c->line_op);
	r->call.op = c->line_op;
	if (json_line_request(&c->line, cairn_slice(conn_input(c).data, c->line.payload), &r->message,
			      &error))
		hint_argument(c, &error);
	c->start += c->line.payload;
	json_line_free(&c->line);
	if (error.code) {
		conn_refuse(r, &error);
		return;
	}
	r->call.fields = cairn_message_fields(cairn_msg_slice(&r->message));
	conn_start(r);
}

/* The length of the first line in IN without its end, of which C->looked bytes were searched before; -1 where
 * it has no end. */
static long line_length(struct conn *c, struct cairn_slice in)
{
	const char *p = in.data,
		   *end = in.len > c->looked ? memchr(p + c->looked, '\n', in.len - c->looked) : NULL;

	c->looked = end ? 0 : in.len;
	return end ? end - p : -1;
}

static bool too_long(struct conn *c)
{
	struct cairn_error error;

	cairn_fail(&error, CAIRN_E_TOO_LARGE, "the line is longer than %u bytes", JSON_LINE_MAX);
	cairn_hint(&error, "send values behind the line: \"payload\":N and {\"at\":N,\"len\":N}");
	json_refuse(c, 0, &error);
	conn_close_soon(c);
	return false;
}

static bool json_take(struct conn *c)
{
	struct cairn_slice in = conn_input(c);
	struct cairn_error error;
	long len;

	if (c->skip) {
		size_t n = c->skip < in.len ? c->skip : in.len;

		c->start += n;
		c->skip -= n;
		return c->skip == 0;
	}
	if (c->line.root) {
		c->need = in.len < c->line.payload ? c->line.payload : 0;
		if (c->need)
			return false;
		start_line(c);
		return true;
	}
	len = line_length(c, in);
	if (len > (long)JSON_LINE_MAX || (len < 0 && in.len > JSON_LINE_MAX))
		return too_long(c);
	if (len < 0)
		return false;
	c->start += (size_t)len + 1;
	if (len == 0 || (len == 1 && *(const char *)in.data == '\r'))
		return true;
	if (json_line_read(&c->line, cairn_slice(in.data, (size_t)len), &error))
		refuse_line(c, &error);
	else if (c->line.payload == 0)
		start_line(c);
	return true;
}

const struct face face_json = {
	.ordered = true, .take = json_take, .answer = json_answer, .refuse = json_refuse, .tell = json_tell
};
