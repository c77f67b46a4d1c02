/* What a server may send: the bytes are a whole connection, from the greeting on, under three waiting
 * requests. */
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "handle.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t len);

static void done(void *arg, struct cairn_reply *r)
{
	struct cairn_slice body;
	volatile unsigned char *sum = arg;

	for (unsigned field = 1; field < CAIRN_FIELD_COUNT; field++)
		if (cairn_field_find(r->fields, field, &body) && body.len)
			*sum ^= ((const unsigned char *)body.data)[body.len - 1];
	*sum ^= (unsigned char)strlen(r->error.message);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t len)
{
	static const unsigned operations[] = { CAIRN_OP_GET, CAIRN_OP_PUT, CAIRN_OP_VOLUME_DROP };
	struct cairn_options o = { .servers = "/nonexistent/cairn.sock", .timeout_ms = 1000 };
	struct epoll_event in = { .events = EPOLLIN };
	struct cairn_msg m = { 0 };
	struct cairn *c;
	unsigned char sum = 0;
	int pair[2];

	if (len > 100000 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) < 0)
		return 0;
	if (cairn_open(&c, &o, NULL))
		return 0;
	c->connection = (struct connection){
		.fd = pair[0], .err = -1, .state = CONNECTION_GREETING, .leave_ns = NEVER
	};
	epoll_ctl(c->epoll, EPOLL_CTL_ADD, pair[0], &in);
	for (int i = 0; i < 3; i++) {
		cairn_msg_start(&m, operations[i]);
		cairn_msg_text(&m, CAIRN_F_KEY, "k");
		cairn_submit(c, &m, done, &sum);
	}
	for (size_t at = 0; at < len;) { /* in two parts, so that frames are torn */
		size_t part = at ? len - at : len / 2 + 1;
		ssize_t n = send(pair[1], data + at, part, MSG_NOSIGNAL);

		if (n <= 0)
			break;
		at += (size_t)n;
		cairn_dispatch(c, 0);
	}
	close(pair[1]);
	cairn_dispatch(c, 0); /* the end of the connection */
	cairn_msg_free(&m);
	cairn_close(c);
	return 0;
}
