/*
 * Requests: the handle is opened when the first one needs it, so that help and wrong command lines touch no
 * socket. What the daemon or libcairn finds ends in C->error, which is shown once, by main.
 */
#include "cli.h"
#include "banned.h"

void request(const struct cli *c, struct cairn_msg *m, unsigned op)
{
	cairn_msg_start(m, op);
	if (c->volume)
		cairn_msg_text(m, CAIRN_F_VOLUME, c->volume);
}

static struct cairn *opened(struct cli *c, struct cairn **handle)
{
	struct cairn_options options = { .servers = c->servers,
					 .face = "command",
					 .timeout_ms = c->timeout_ms };

	if (!*handle && cairn_open(handle, &options, &c->error) != CAIRN_OK)
		return NULL;
	return *handle;
}

struct cairn *cli_client(struct cli *c)
{
	return opened(c, &c->client);
}

struct cairn *cli_second(struct cli *c)
{
	return opened(c, &c->second);
}

enum cairn_code call(struct cli *c, struct cairn_msg *m, struct cairn_reply *r)
{
	return call_stream(c, m, NULL, NULL, r);
}

enum cairn_code call_stream(struct cli *c, struct cairn_msg *m, cairn_event_fn *event, void *arg,
			    struct cairn_reply *r)
{
	struct cairn *client = cli_client(c);
	enum cairn_code code;

	if (c->patience_ms)
		cairn_msg_u64(m, CAIRN_F_TIMEOUT_MS, c->patience_ms);
	if (client && event)
		code = cairn_stream(client, m, event, arg, r);
	else if (client)
		code = cairn_call(client, m, r);
	else
		code = c->error.code;
	if (client && code != CAIRN_OK)
		c->error = r->error;
	cairn_msg_free(m);
	return code;
}

bool is_lost_lock(const struct cairn_error *e)
{
	return e->code == CAIRN_E_CONFLICT && strstr(e->message, " was lost (our fence ");
}

const char *field_text(struct cairn_slice fields, unsigned field, char *buffer, size_t len)
{
	struct cairn_slice body = { 0 };

	cairn_field_find(fields, field, &body);
	snprintf(buffer, len, "%.*s", (int)body.len, body.len ? (const char *)body.data : "");
	return buffer;
}
