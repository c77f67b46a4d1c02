/*
 * What a gateway is: it translates one network protocol into operations (cairn/operations.h). The daemon owns
 * sockets, buffers and requests; the gateway is given bytes, asks for operations in their binary encoding
 * (cairn/message.h), and writes bytes. It knows its protocol, and nothing of volumes, engines or replication.
 *
 * All calls for one connection, both ways, come in one thread, and never wait. A handle may have many
 * connections.
 */
#ifndef CAIRN_GATEWAY_H
#define CAIRN_GATEWAY_H

#include <cairn/message.h>
#include <cairn/operations.h>
#include <cairn/plugin.h>

#define CAIRN_GATEWAY_ABI 1

struct cairn_connection; /* one client; the daemon's */

/* One operation under way. The daemon's memory, and the gateway's from request() until it is finished. */
struct cairn_request {
	struct cairn_request *next;  /* the gateway's, for a list of its own */
	void *priv;                  /* the gateway's */
	uint64_t tag;                /* the gateway's */
	unsigned op;                 /* to be set before start() */
	struct cairn_msg *arguments; /* begun; to be filled before start() */
	struct cairn_slice answer;   /* in done() and event(), fields; those of done() until it is finished */
	const struct cairn_error *error; /* in done(): NULL when it worked; until it is finished */
};

/* What a gateway may ask of the daemon. Valid from open() to close(). */
struct cairn_gateway_host {
	uint32_t size; /* of this struct in the daemon */
	const char *release, *node;
	/* A request of C; NULL when there is no memory. */
	struct cairn_request *(*request)(struct cairn_connection *c);
	/* Begin it. done() is called once, perhaps before this returns. Requests that write are done in the
	 * order in which they were begun, on each volume; reads see what was done before they were begun. */
	void (*start)(struct cairn_request *r);
	/* R was kept in done(), and is not needed any more. */
	void (*finish)(struct cairn_request *r);
	/* R is a stream that nobody wants any more: done() follows, now or later. */
	void (*cancel)(struct cairn_request *r);
	/* Room for N bytes of output, counted as written; NULL when there is no memory, and then C ends.
	 * Valid until the next call. It is sent at the end of the turn. */
	void *(*out)(struct cairn_connection *c, size_t n);
	/* How many bytes have not been sent. */
	size_t (*unsent)(struct cairn_connection *c);
	/* Whether C has so much unsent or under way that nothing should be begun now. */
	bool (*full)(struct cairn_connection *c);
	/* From within data(): call it again when a request of C has ended or told something, or as soon as C
	 * is not full. */
	void (*wait)(struct cairn_connection *c);
	/* Take no more input; NOW: drop C at once, else when everything is answered and sent. */
	void (*end)(struct cairn_connection *c, bool now);
	/* Who the client is ("127.0.0.1:4711"), and how it reached us. Valid as long as C. */
	const char *(*peer)(struct cairn_connection *c);
	const char *(*local)(struct cairn_connection *c);
	int (*descriptor)(struct cairn_connection *c); /* for people who compare it with ss or lsof */
	/* Whether C may do anything yet; else login() has to come first. */
	bool (*admitted)(struct cairn_connection *c);
	/* Let C in, where USER and PASSWORD are right. Whether a password is asked for at all is said by
	 * needs_password. */
	bool (*login)(struct cairn_connection *c, struct cairn_slice user, struct cairn_slice password);
	bool (*needs_password)(void *handle_of_host);
	void *host; /* for needs_password, connections */
	/* How many clients there are. */
	unsigned (*connections)(void *handle_of_host);
};

struct cairn_gateway {
	struct cairn_plugin_head head;
	const char *name;                 /* as in settings: gateway.NAME.… */
	const char *help;                 /* one line */
	const char *face;                 /* who writes through it, as records show it: "redis" */
	const struct cairn_param *params; /* beside those that every gateway has: listen, password-file … */

	enum cairn_code (*open)(const struct cairn_gateway_host *host, const struct cairn_value *values,
				void **handle, struct cairn_error *error);
	/* No connection is left. */
	void (*close)(void *handle);
	/* A client has connected. Returns what the other calls get; NULL turns it away. */
	void *(*accept)(void *handle, struct cairn_connection *c);
	/* Take requests off the input IN, and return how many bytes were taken. Where more are needed, the
	 * rest comes again with what follows; *NEED says how many bytes there must be, where that is known.
	 */
	size_t (*data)(void *state, struct cairn_slice in, size_t *need);
	/* R has ended. Returns whether it is finished; else finish() has to follow. Also called for clients
	 * that are gone by now. */
	bool (*done)(void *state, struct cairn_request *r);
	/* R has something to say and goes on; its answer is valid during the call. */
	void (*event)(void *state, struct cairn_request *r);
	/* The connection is gone: every request of it has ended. */
	void (*closed)(void *state);
};

/* The last line of a gateway. */
#define CAIRN_GATEWAY_REGISTER(gateway) \
	CAIRN_EXPORT const struct cairn_gateway *cairn_gateway_plugin(void); \
	const struct cairn_gateway *cairn_gateway_plugin(void) \
	{ \
		(gateway).head = (struct cairn_plugin_head){ sizeof(gateway), CAIRN_GATEWAY_ABI }; \
		return &(gateway); \
	}

#endif
