/* Calls that wait: each submits one request and dispatches until its final answer has come. */
#include <stdlib.h>
#include "handle.h"
#include "banned.h"

struct waiting {
	struct cairn_reply *reply; /* where the final answer goes */
	cairn_event_fn *event;
	void *arg;
	struct cairn *handle;
	uint64_t id;
	bool done;
};

void cairn_reply_free(struct cairn_reply *r)
{
	free(r->memory);
	*r = (struct cairn_reply){ 0 };
}

/* Keep what the connection's buffer lends only during the callback. */
static void keep(struct cairn_reply *to, const struct cairn_reply *from)
{
	*to = *from;
	to->memory = NULL;
	if (!from->fields.len)
		return;
	to->memory = malloc(from->fields.len);
	if (!to->memory) {
		to->fields = cairn_slice(NULL, 0);
		to->code = cairn_fail(&to->error, CAIRN_E_INTERNAL, "no memory for the answer");
		return;
	}
	to->fields = cairn_slice(memcpy(to->memory, from->fields.data, from->fields.len), from->fields.len);
}

static void answered(void *arg, struct cairn_reply *r)
{
	struct waiting *w = arg;

	if (r->event) {
		if (w->event && !w->event(w->arg, r)) {
			request_cancel(w->handle, w->id);
			w->done = true;
		}
		return;
	}
	keep(w->reply, r);
	w->done = true;
}

enum cairn_code cairn_stream(struct cairn *c, const struct cairn_msg *request, cairn_event_fn *event,
			     void *arg, struct cairn_reply *r)
{
	struct waiting w = { .reply = r, .event = event, .arg = arg, .handle = c };

	cairn_reply_free(r);
	if (c->busy)
		r->code = cairn_fail(&r->error, CAIRN_E_INVALID,
				     "a call from within a callback of the same handle");
	else
		r->code = request_submit(c, request, answered, &w, false, &w.id);
	if (r->code && !r->error.code)
		cairn_fail(&r->error, r->code, "the request cannot be sent: %s",
			   cairn_error_row(r->code)->meaning);
	if (r->code)
		return r->code;
	while (!w.done)
		cairn_dispatch(c, -1);
	return r->code;
}

enum cairn_code cairn_call(struct cairn *c, const struct cairn_msg *request, struct cairn_reply *r)
{
	return cairn_stream(c, request, NULL, NULL, r);
}

/* A request about one key. */
static void start(struct cairn_msg *m, enum cairn_operation op, const char *volume, struct cairn_slice key)
{
	cairn_msg_start(m, op);
	if (volume)
		cairn_msg_text(m, CAIRN_F_VOLUME, volume);
	cairn_msg_bytes(m, CAIRN_F_KEY, key);
}

enum cairn_code cairn_get(struct cairn *c, const char *volume, struct cairn_slice key,
			  struct cairn_slice *value, uint64_t *revision, struct cairn_reply *r)
{
	struct cairn_msg m = { 0 };

	*value = cairn_slice(NULL, 0);
	start(&m, CAIRN_OP_GET, volume, key);
	if (cairn_call(c, &m, r) == CAIRN_OK) {
		cairn_field_find(r->fields, CAIRN_F_VALUE, value);
		if (revision)
			*revision = cairn_field_u64(r->fields, CAIRN_F_REVISION, 0);
	}
	cairn_msg_free(&m);
	return r->code;
}

static enum cairn_code write_call(struct cairn *c, struct cairn_msg *m, uint64_t *revision,
				  struct cairn_error *e)
{
	struct cairn_reply r = { 0 };
	enum cairn_code code = cairn_call(c, m, &r);

	if (!code && revision)
		*revision = cairn_field_u64(r.fields, CAIRN_F_REVISION, 0);
	if (code && e)
		*e = r.error;
	cairn_reply_free(&r);
	cairn_msg_free(m);
	return code;
}

enum cairn_code cairn_put(struct cairn *c, const char *volume, struct cairn_slice key,
			  struct cairn_slice value, uint64_t *revision, struct cairn_error *e)
{
	struct cairn_msg m = { 0 };

	start(&m, CAIRN_OP_PUT, volume, key);
	cairn_msg_bytes(&m, CAIRN_F_VALUE, value);
	return write_call(c, &m, revision, e);
}

enum cairn_code cairn_del(struct cairn *c, const char *volume, struct cairn_slice key, uint64_t *revision,
			  struct cairn_error *e)
{
	struct cairn_msg m = { 0 };

	start(&m, CAIRN_OP_DELETE, volume, key);
	return write_call(c, &m, revision, e);
}
