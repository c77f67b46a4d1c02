/*
 * What a caller may say to a node. The input is a list of pieces: bytes as they are, or the body of a frame
 * that gets a head with the right checksum, so that what lies behind it is reached, too. All of it is said to
 * an endpoint over a pair of sockets; then every body is given to each reader alone.
 */
#include <config.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "peer/inside.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define SAID_MAX 65536

struct said {
	unsigned char bytes[SAID_MAX];
	size_t len;
};

static void on_message(void *arg, const struct peer_frame *frame)
{
	volatile unsigned char sum = 0;

	(void)arg;
	for (size_t i = 0; i < frame->body.len; i++)
		sum ^= ((const unsigned char *)frame->body.data)[i];
	if ((sum && !frame->body.len) || frame->lane >= PEER_LANES || frame->kind < PEER_KIND_FIRST ||
	    frame->from != 2)
		abort();
}

static bool on_token(void *arg, const char *id, unsigned char secret[KEY_SECRET])
{
	(void)arg;
	memset(secret, 1, KEY_SECRET);
	return id[0] == 'a';
}

static void on_join(void *arg, uint64_t guest, const char *id, const char *address,
		    struct cairn_slice request)
{
	struct peers **p = arg;

	(void)id;
	(void)address;
	if (request.len & 1)
		peers_join_answer(*p, guest, request);
	else
		peers_join_refuse(*p, guest, "no");
}

static void read_alone(struct cairn_slice body)
{
	struct frame_hello hello;
	unsigned char again[FRAME_HELLO_MAX];
	char text[100];
	enum peer_refusal why;
	struct peer_keys keys;
	uint64_t id;

	if (frame_hello_get(body, &hello) == 0) {
		size_t n = frame_hello_put(again, &hello);

		if (frame_hello_get(cairn_slice(again, n), &hello) < 0)
			abort(); /* what passed must pass again */
	}
	frame_refuse_get(body, &why, &id, text, sizeof(text));
	peer_keys_parse(body, &keys, NULL);
}

/* Make what is said from the pieces: a byte of form, two of length, the bytes. */
static void make(struct said *said, struct cairn_slice input)
{
	const unsigned char *p = input.data, *end = p + input.len;

	said->len = 0;
	while (end - p >= 3) {
		size_t n = p[1] | (size_t)p[2] << 8;
		unsigned char form = p[0];
		struct cairn_slice body;

		p += 3;
		n = n < (size_t)(end - p) ? n : (size_t)(end - p);
		if (n + FRAME_HEAD > SAID_MAX - said->len)
			break;
		body = cairn_slice(p, n);
		read_alone(body);
		if (form & 0x80) {
			memcpy(said->bytes + said->len, p, n);
		} else {
			frame_head(said->bytes + said->len, form & 3, form >> 2 & 31, n, &body, 1, n);
			memcpy(said->bytes + said->len + FRAME_HEAD, p, n);
			said->len += FRAME_HEAD;
		}
		said->len += n;
		p += n;
	}
}

struct turns {
	struct loop_task task;
	struct loop *loop;
	int left;
};

static void on_turn(struct loop_task *t)
{
	struct turns *turns = (struct turns *)t;

	if (turns->left-- > 0)
		loop_post(turns->loop, t);
	else
		loop_stop(turns->loop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct said said;
	struct peers *p = NULL;
	struct peer_options options = { .arg = &p,
					.id = 1,
					.name = "n1",
					.cluster = "cluster",
					.cluster_name = "prod",
					.calls = {
						.message = on_message, .token = on_token, .join = on_join } };
	struct turns turns = { .task = { NULL, on_turn } };
	struct cairn_error error;
	int fds[2];

	make(&said, cairn_slice(data, len));
	options.log = log_new();
	if (!options.log || log_levels_set(options.log, "error", &error) || loop_new(&options.loop) < 0 ||
	    peers_open(&p, &options, &error) || peers_set(p, 2, "", &error) ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) < 0)
		abort();
	link_take(p, fds[0], "somewhere");
	if (said.len && send(fds[1], said.bytes, said.len, MSG_NOSIGNAL) < 0)
		said.len = 0;
	for (int i = 0; i < 2; i++) { /* heard; then hung up on */
		turns.loop = options.loop;
		turns.left = 4;
		loop_post(options.loop, &turns.task);
		loop_run(options.loop);
		shutdown(fds[1], SHUT_WR);
	}
	close(fds[1]);
	peers_close(p);
	loop_free(options.loop);
	log_free(options.log);
	return 0;
}
