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
