/*
 * The binary encoding: frames off the input, frames onto the output. A frame whose length is out of bounds
 * ends the connection; whatever else is wrong with one is answered, and the next one is read.
 */
#include "binary_face.h"
#include "conn.h"
#include "le.h"
#include "banned.h"

int binary_frame_read(struct cairn_slice in, struct binary_frame *frame, struct cairn_error *error)
{
	const unsigned char *p = in.data;
	size_t rest;

	frame->size = 0;
	if (in.len < 4)
		return 0;
	rest = le32_get(p);
	if (rest < BINARY_HEAD - 4 + CAIRN_MESSAGE_HEAD || rest > BINARY_HEAD - 4 + CAIRN_FRAME_MAX) {
		cairn_fail(error, CAIRN_E_INVALID, "a frame of %zu bytes: it must have %u to %u", rest,
			   BINARY_HEAD - 4 + CAIRN_MESSAGE_HEAD, BINARY_HEAD - 4 + CAIRN_FRAME_MAX);
		return -1;
	}
	frame->size = 4 + rest;
	if (in.len < frame->size)
		return 0;
	frame->id = le64_get(p + 4);
	frame->message = cairn_slice(p + BINARY_HEAD, frame->size - BINARY_HEAD);
	if (frame->id == 0) {
		cairn_fail(error, CAIRN_E_INVALID, "the id 0 is the daemon's own");
		return -1;
	}
	return 1;
}

enum cairn_code binary_frame_check(const struct binary_frame *frame, struct cairn_error *error)
{
	const unsigned char *p = frame->message.data;
	const struct cairn_field_row *row;
	unsigned where;

	if (p[0] != CAIRN_MESSAGE_VERSION)
		return cairn_fail(error, CAIRN_E_INVALID,
				  "a message of version %u; this daemon speaks version %u", p[0],
				  CAIRN_MESSAGE_VERSION);
	if (p[1] != 0)
		return cairn_fail(error, CAIRN_E_INVALID, "a message with flags that are not known");
	if (cairn_fields_check(cairn_message_fields(frame->message), &where) == 0)
		return CAIRN_OK;
	row = cairn_field_row(where);
	if (!row)
		return cairn_fail(error, CAIRN_E_INVALID, "field %u is not known", where);
	return cairn_fail(error, CAIRN_E_INVALID, "argument '%s' is malformed, or what follows it is",
			  row->json);
}

static void head(struct buffer *out, size_t message, uint64_t id, enum answer kind)
{
	unsigned char *p = buffer_room(out, BINARY_ANSWER_HEAD);

	if (!p)
		return;
	le32_put(p, (uint32_t)(BINARY_ANSWER_HEAD - 4 + message));
	le64_put(p + 4, id);
	le32_put(p + 12, kind); /* its three high bytes are 0 */
}

static void add_error(struct conn *c, uint64_t id, const struct cairn_error *error)
{
	struct cairn_msg m = { 0 };

	cairn_msg_start(&m, error->code);
	cairn_msg_text(&m, CAIRN_F_MESSAGE, error->message);
	if (error->hint[0])
		cairn_msg_text(&m, CAIRN_F_HINT, error->hint);
	if (error->code == CAIRN_E_CONFLICT || error->revision)
		cairn_msg_u64(&m, CAIRN_F_REVISION, error->revision);
	head(&c->out, m.len, id, ANSWER_ERROR);
	buffer_add(&c->out, cairn_msg_slice(&m));
	cairn_msg_free(&m);
}

static void binary_refuse(struct conn *c, uint64_t id, const struct cairn_error *error)
{
	metrics_add(c->hub->node->metrics, METRIC_BAD_REQUESTS, 1);
	add_error(c, id, error);
}

static bool binary_answer(struct request *r, enum answer kind)
{
	struct cairn_msg *m = &r->call.answer;
	struct buffer *out = &r->conn->out;

	if (kind == ANSWER_ERROR) {
		add_error(r->conn, r->id, &r->call.error);
		return true;
	}
	head(out, m->len, r->id, kind);
	buffer_add(out, cairn_msg_slice(m));
	return true;
}

static void binary_tell(struct conn *c, const char *message)
{
	struct cairn_msg m = { 0 };

	cairn_msg_start(&m, 0);
	cairn_msg_text(&m, CAIRN_F_MESSAGE, message);
	head(&c->out, m.len, 0, ANSWER_EVENT);
	buffer_add(&c->out, cairn_msg_slice(&m));
	cairn_msg_free(&m);
}

static bool binary_take(struct conn *c)
{
	struct binary_frame frame;
	struct cairn_error error;
	struct request *r;
	int there = binary_frame_read(conn_input(c), &frame, &error);

	c->need = there ? 0 : frame.size;
	if (there == 0)
		return false;
	if (there < 0) {
		binary_refuse(c, 0, &error);
		conn_close_soon(c);
		return false;
	}
	c->start += frame.size;
	if (binary_frame_check(&frame, &error)) {
		binary_refuse(c, frame.id, &error);
	} else if (cairn_message_number(frame.message) == 0) {
		conn_cancel(c, frame.id);
	} else {
		r = conn_request(c, frame.id);
		if (!r)
			return true;
		r->call.op = cairn_message_number(frame.message);
		r->call.fields = cairn_message_fields(frame.message);
		conn_start(r);
	}
	return true;
}

const struct face face_binary = {
	.take = binary_take, .answer = binary_answer, .refuse = binary_refuse, .tell = binary_tell
};
