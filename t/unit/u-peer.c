/*
 * Peers: endpoints in one process on loopback, each on a port that the kernel picks. A test runs the loop
 * until what it waits for has come; a timer ends it where that does not come.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>
#include "clock.h"
#include "frame.h"
#include "le.h"
#include "log.h"
#include "loop.h"
#include "peer.h"
#include "tap.h"
#include "peerworld.h"

static bool two_have_99(struct world *w)
{
	return w->ends[2].messages == 99 && w->ends[1].messages == 99;
}

static void test_pair(void)
{
	struct world w;
	struct peer_stats s;

	new_world(&w);
	open_end(&w, 1, NULL);
	open_end(&w, 2, NULL);
	is_int(send_one(&w, 1, 2, PEER_LOG, 0, 100), -ENOENT, "a peer that was not set is not known");
	know(&w, 1, 2);
	know(&w, 2, 1);
	is_int(send_one(&w, 1, 2, PEER_LOG, 0, 100), -ENOTCONN, "a peer that is not up takes nothing");
	ok(run(&w, pair_is_up), "two nodes that know each other connect");
	is_str(w.ends[1].who.name, "n2", "the other's name is told");
	for (uint64_t n = 0; n < 33; n++)
		for (unsigned lane = 0; lane < PEER_LANES; lane++) {
			send_one(&w, 1, 2, lane, n, 8 + n * n * n * 10);
			send_one(&w, 2, 1, lane, n, 8 + n);
		}
	ok(run(&w, two_have_99), "all messages of all lanes arrive");
	ok(!w.ends[1].wrong && !w.ends[2].wrong, "whole, and each lane in order");
	is_int(send_one(&w, 1, 2, PEER_LOG, 0, PEER_BODY_MAX), 0, "a body of 1 MiB is taken");
	is_int(peers_send(w.ends[1].peers, 2, PEER_LOG, 15, 0, NULL, 0), -EINVAL,
	       "kinds of the transport are not");
	ok(peers_stats(w.ends[1].peers, 0, &s) && s.up && s.bulk_up && s.frames_in >= 99 &&
		   s.bytes_out > 100000 && !strcmp(s.name, "n2"),
	   "the counters say so");
	ok(!peers_stats(w.ends[1].peers, 1, &s), "there is one peer");
	end_world(&w);
}

static void test_three(void)
{
	struct world w;

	new_world(&w);
	for (unsigned i = 1; i <= 3; i++)
		open_end(&w, i, NULL);
	for (unsigned i = 1; i <= 3; i++)
		for (unsigned j = 1; j <= 3; j++)
			if (i != j)
				know(&w, i, j);
	ok(run(&w, three_are_up), "three nodes connect, each with each");
	is_int(w.ends[1].downs + w.ends[2].downs + w.ends[3].downs, 0, "no connection is made twice");
	end_world(&w);
}

static void other_cluster(struct peer_options *o)
{
	memcpy(o->cluster, "another cluster", 16);
	o->cluster_name = "test";
}

static bool one_is_refused(struct world *w)
{
	return w->ends[1].refusals > 0;
}

static void test_wrong_cluster(void)
{
	struct world w;
	struct peer_stats s;

	new_world(&w);
	open_end(&w, 1, NULL);
	open_end(&w, 2, other_cluster);
	know(&w, 1, 2);
	ok(run(&w, one_is_refused), "a node of another cluster refuses");
	is_int(w.ends[1].refusal, PEER_REFUSED_CLUSTER, "because of the cluster");
	is_str(w.ends[1].why,
	       "n1 belongs to cluster prod (30313233343536373839616263646500), n2 to cluster test "
	       "(616e6f7468657220636c757374657200)",
	       "the sentence names both");
	ok(peers_stats(w.ends[1].peers, 0, &s) && !s.up && !strcmp(s.error, w.ends[1].why) && s.refusals,
	   "it is the peer's state");
	ok(!w.ends[2].ups && !w.ends[1].ups, "nobody is up");
	end_world(&w);
}

static void test_wrong_node(void)
{
	struct world w;
	struct cairn_error error;

	new_world(&w);
	open_end(&w, 1, NULL);
	open_end(&w, 2, NULL);
	know(&w, 2, 1);
	peers_set(w.ends[1].peers, 3, peers_address(w.ends[2].peers), &error);
	ok(run(&w, one_is_refused), "a node that is not the one that was called refuses");
	is_int(w.ends[1].refusal, PEER_REFUSED_NODE, "because of that");
	is_str(w.ends[1].why, "n1 called node 3, and this is n2, node 2", "the sentence names both");
	ok(peers_set(w.ends[1].peers, 1, "127.0.0.1:1", &error) == CAIRN_E_INVALID,
	   "a node is not its own peer");
	ok(peers_set(w.ends[1].peers, 3, "host:port", &error) == CAIRN_E_INVALID, "an address has a port");
	end_world(&w);
}

static enum peer_refusal admit_two(void *arg, const struct peer_who *who, char *text, size_t size)
{
	(void)arg;
	if (who->id == 2)
		return 0;
	snprintf(text, size, "%s left yesterday", who->name);
	return PEER_REFUSED_REMOVED;
}

static void with_admit(struct peer_options *o)
{
	o->calls.admit = admit_two;
}

static bool three_is_refused(struct world *w)
{
	return w->ends[3].refusals > 0 && w->ends[2].is_up[1];
}

static void test_stranger(void)
{
	struct world w;

	new_world(&w);
	open_end(&w, 1, NULL);
	open_end(&w, 2, NULL);
	know(&w, 1, 2);
	ok(run(&w, one_is_refused), "a stranger is refused");
	is_int(w.ends[1].refusal, PEER_REFUSED_STRANGER, "because it is no member");
	is_str(w.ends[1].why, "n1, node 1, is no member of cluster prod, says n2", "in words");
	end_world(&w);

	new_world(&w);
	open_end(&w, 1, with_admit);
	open_end(&w, 2, NULL);
	open_end(&w, 3, NULL);
	know(&w, 2, 1);
	know(&w, 3, 1);
	ok(run(&w, three_is_refused), "the host may let one in, and refuse another");
	ok(w.ends[3].refusal == PEER_REFUSED_REMOVED && !strcmp(w.ends[3].why, "n3 left yesterday"),
	   "by a sentence of its own");
	is_int(send_one(&w, 1, 2, PEER_LOG, 0, 100), 0, "who was let in is sent to");
	is_int(send_one(&w, 1, 2, PEER_BULK, 0, 100), -ENOTCONN,
	       "but for bulk, as long as it makes no connection");
	end_world(&w);
}

static bool two_is_gone(struct world *w)
{
	return w->ends[1].downs > 0;
}

static bool up_again(struct world *w)
{
	return w->ends[1].ups == 2 && w->ends[2].is_up[1];
}

static char again_at[PEER_ADDRESS_MAX + 1];

static void at_the_same_port(struct peer_options *o)
{
	o->listen = again_at;
}

static void test_reconnect(void)
{
	struct world w;
	struct peer_stats s;
	uint64_t instance;

	new_world(&w);
	open_end(&w, 1, NULL);
	open_end(&w, 2, NULL);
	know(&w, 1, 2);
	know(&w, 2, 1);
	ok(run(&w, pair_is_up), "two nodes connect");
	instance = w.ends[1].who.instance;
	snprintf(again_at, sizeof(again_at), "%s", peers_address(w.ends[2].peers));
	send_one(&w, 1, 2, PEER_BULK, 0, 100);
	close_end(&w, 2);
	ok(run(&w, two_is_gone), "one ends: the other is told");
	ok(w.ends[1].why[0], "why: %s", w.ends[1].why);
	is_int(send_one(&w, 1, 2, PEER_LOG, 0, 100), -ENOTCONN, "it takes nothing more");
	open_end(&w, 2, at_the_same_port);
	know(&w, 2, 1);
	ok(run(&w, up_again), "it is back, and connected again");
	ok(w.ends[1].who.instance != instance, "as another instance");
	ok(peers_stats(w.ends[1].peers, 0, &s) && s.reconnects == 1 && s.up && !s.error[0],
	   "which is counted");
	peers_remove(w.ends[1].peers, 2);
	ok(!peers_stats(w.ends[1].peers, 0, &s), "a peer that was removed is not listed");
	is_int(send_one(&w, 1, 2, PEER_LOG, 0, 100), -ENOENT, "and not known");
	end_world(&w);
}

static bool two_has_one(struct world *w)
{
	return w->ends[2].messages >= 1 && !w->ends[1].is_up[2];
}

static void test_remove_inside(void)
{
	struct world w;

	new_world(&w);
	open_end(&w, 1, NULL);
	open_end(&w, 2, NULL);
	know(&w, 1, 2);
	know(&w, 2, 1);
	run(&w, pair_is_up);
	w.ends[2].remove = 1;
	for (uint64_t n = 0; n < 10; n++)
		send_one(&w, 1, 2, PEER_LOG, n, 100);
	ok(run(&w, two_has_one), "a peer may be removed while its message is taken");
	is_int(w.ends[2].messages, 1, "nothing comes from it after that");
	is_int(w.ends[2].downs, 0, "and it is not told to be gone");
	end_world(&w);
}

struct sender {
	pthread_t thread;
	struct world *world;
};

#define THREAD_FRAMES 3000

static void *send_urgent(void *arg)
{
	struct sender *s = arg;
	unsigned char body[64];
	struct cairn_slice slice = { body, sizeof(body) };

	for (uint64_t n = 0; n < THREAD_FRAMES; n++) {
		le64_put(body, n);
		for (size_t i = 8; i < sizeof(body); i++)
			body[i] = (unsigned char)(n + i);
		while (peers_send(s->world->ends[1].peers, 2, PEER_URGENT, 20, SHARD, &slice, 1) == -EAGAIN)
			sched_yield();
	}
	return NULL;
}

static bool all_threads_frames(struct world *w)
{
	return w->ends[2].next[1][PEER_URGENT] == THREAD_FRAMES && w->ends[2].next[1][PEER_LOG] == 200;
}

static void test_threads(void)
{
	struct world w;
	struct sender s = { .world = &w };

	new_world(&w);
	open_end(&w, 1, NULL);
	open_end(&w, 2, NULL);
	know(&w, 1, 2);
	know(&w, 2, 1);
	run(&w, pair_is_up);
	pthread_create(&s.thread, NULL, send_urgent, &s);
	for (uint64_t n = 0; n < 200; n++)
		send_one(&w, 1, 2, PEER_LOG, n, 20000);
	ok(run(&w, all_threads_frames), "another thread sends while the loop's does");
	pthread_join(s.thread, NULL);
	is_int(w.ends[2].wrong, 0, "every lane arrives whole and in order");
	end_world(&w);
}

/* A hand-made other side: it runs in a thread of its own, on a socket that waits, 10 s at most. */
struct raw {
	pthread_t thread;
	void (*act)(struct raw *r);
	struct world *world;
	char address[PEER_ADDRESS_MAX + 1]; /* of the endpoint */
	uint64_t to;                        /* its id */
	int fd, listen_fd;
	_Atomic bool done;
	unsigned char in[FRAME_HEAD + PEER_BODY_MAX];
	struct frame frame;
	char text[512];
	int result;
};

static int raw_connect(struct raw *r)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct timeval limit = { .tv_sec = 10 };
	uint16_t port = 0;
	char host[PEER_ADDRESS_MAX + 1];
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	peer_address_parse(r->address, host, &port);
	address.sin_port = htons(port);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		bail("connect: %s", strerror(errno));
	return fd;
}

static bool raw_read(int fd, void *to, size_t len)
{
	for (size_t n = 0; n < len;) {
		ssize_t got = recv(fd, (char *)to + n, len - n, 0);

		if (got <= 0)
			return false;
		n += (size_t)got;
	}
	return true;
}

/* Read a frame. False: hung up, or it is none. */
static bool raw_frame(struct raw *r, int fd)
{
	const char *why;
	size_t need;

	return raw_read(fd, r->in, FRAME_HEAD) && frame_size(r->in) <= sizeof(r->in) &&
		raw_read(fd, r->in + FRAME_HEAD, frame_size(r->in) - FRAME_HEAD) &&
		frame_take(cairn_slice(r->in, frame_size(r->in)), PEER_BODY_MAX, &r->frame, &need, &why) == 1;
}

static size_t put_frame(unsigned char *to, enum peer_lane lane, uint8_t kind, struct cairn_slice body)
{
	frame_head(to, lane, kind, 0, &body, 1, body.len);
	memcpy(to + FRAME_HEAD, body.data, body.len);
	return FRAME_HEAD + body.len;
}

/* The frame of a hello from node 2 to node 1. */
static size_t raw_hello(const struct raw *r, unsigned char *to, uint64_t from, unsigned link)
{
	struct frame_hello hello = { .oldest = FRAME_OLDEST,
				     .newest = FRAME_VERSION,
				     .link = link,
				     .called = r->to,
				     .who = { .id = from,
					      .instance = 5,
					      .cluster = "0123456789abcde",
					      .cluster_name = "prod",
					      .name = "raw",
					      .software = "0.0.1" } };
	unsigned char body[FRAME_HELLO_MAX];

	return put_frame(to, link ? PEER_BULK : PEER_URGENT, FRAME_HELLO,
			 cairn_slice(body, frame_hello_put(body, &hello)));
}

static void raw_send(int fd, const void *data, size_t len)
{
	if (send(fd, data, len, MSG_NOSIGNAL) != (ssize_t)len)
		printf("# send: %s\n", strerror(errno));
}

static void *raw_main(void *arg)
{
	struct raw *r = arg;

	r->act(r);
	r->done = true;
	return NULL;
}

static struct raw *raw_now;

static bool raw_is_done(struct world *w)
{
	(void)w;
	return raw_now->done;
}

/* Have ACT done against node ID while the loop runs. */
static struct raw *raw_run(struct world *w, uint64_t id, void (*act)(struct raw *r))
{
	struct raw *r = calloc(1, sizeof(*r));

	r->world = w;
	r->act = act;
	r->to = id;
	r->fd = r->listen_fd = -1;
	snprintf(r->address, sizeof(r->address), "%s", peers_address(w->ends[id].peers));
	raw_now = r;
	pthread_create(&r->thread, NULL, raw_main, r);
	if (!run(w, raw_is_done))
		bail("the raw side does not end");
	pthread_join(r->thread, NULL);
	return r;
}

static void raw_free(struct raw *r)
{
	if (r->fd >= 0)
		close(r->fd);
	if (r->listen_fd >= 0)
		close(r->listen_fd);
	free(r);
}

static void act_torn(struct raw *r)
{
	unsigned char out[2048];
	size_t n = raw_hello(r, out, 2, 0);
	uint64_t body[2] = { 0 };

	n += put_frame(out + n, PEER_URGENT, FRAME_PING, cairn_slice("12345678abcdefgh", 16));
	n += put_frame(out + n, PEER_URGENT, 9, cairn_slice("a kind of the future", 20));
	n += put_frame(out + n, PEER_LOG, PEER_KIND_FIRST, cairn_slice(body, 16));
	r->fd = raw_connect(r);
	for (size_t i = 0; i < n; i++)
		raw_send(r->fd, out + i, 1);
	r->result = raw_frame(r, r->fd) && r->frame.kind == FRAME_WELCOME;
	while (r->result == 1 && raw_frame(r, r->fd)) /* the other's own ping may come first */
		if (r->frame.kind == FRAME_PONG)
			r->result =
				r->frame.body.len == 16 && !memcmp(r->frame.body.data, "12345678", 8) ? 2 : 0;
}

static bool one_has_one(struct world *w)
{
	return w->ends[1].messages == 1;
}

static void one_for_raw(struct world *w)
{
	struct cairn_error error;

	new_world(w);
	open_end(w, 1, NULL);
	peers_set(w->ends[1].peers, 2, "", &error);
}

static void test_torn(void)
{
	struct world w;
	struct raw *r;

	one_for_raw(&w);
	r = raw_run(&w, 1, act_torn);
	is_int(r->result, 2, "frames that come byte by byte are answered");
	ok(run(&w, one_has_one), "and handed on; a kind that is not known is passed over");
	raw_free(r);
	ok(run(&w, two_is_gone), "who hangs up is gone");
	end_world(&w);
}

/* Say OUT and tell what comes back: the refusal's number with its sentence in TEXT, 100 for a welcome, -1
 * where the other hangs up. */
static void exchange(struct raw *r, const void *out, size_t len)
{
	enum peer_refusal why;
	uint64_t id;

	r->fd = raw_connect(r);
	raw_send(r->fd, out, len);
	r->result = -1;
	if (!raw_frame(r, r->fd))
		return;
	if (r->frame.kind == FRAME_WELCOME)
		r->result = 100;
	else if (r->frame.kind == FRAME_REFUSE &&
		 frame_refuse_get(r->frame.body, &why, &id, r->text, sizeof(r->text)) == 0)
		r->result = (int)why;
}

static void act_garbage(struct raw *r)
{
	exchange(r, "GET / HTTP/1.1\r\nHost: somebody\r\n\r\n", 34);
}

static void act_not_hello(struct raw *r)
{
	unsigned char out[256];

	exchange(r, out, put_frame(out, PEER_URGENT, FRAME_PING, cairn_slice("12345678abcdefgh", 16)));
}

static void act_flipped(struct raw *r)
{
	unsigned char out[1024];
	size_t n = raw_hello(r, out, 2, 0);

	out[FRAME_HEAD + 50] ^= 1;
	exchange(r, out, n);
}

static void act_too_long(struct raw *r)
{
	unsigned char out[1024];

	raw_hello(r, out, 2, 0);
	le32_put(out + 8, FRAME_GREETING_MAX + 1);
	exchange(r, out, FRAME_HEAD);
}

static void act_new_version(struct raw *r)
{
	unsigned char out[1024];
	size_t n = raw_hello(r, out, 2, 0);
	struct cairn_slice body = { out + FRAME_HEAD, n - FRAME_HEAD };

	le16_put(out + FRAME_HEAD, 7);
	le16_put(out + FRAME_HEAD + 2, 9);
	frame_head(out, PEER_URGENT, FRAME_HELLO, 0, &body, 1, body.len);
	exchange(r, out, n);
}

static void act_newer_too(struct raw *r)
{
	unsigned char out[1024];
	size_t n = raw_hello(r, out, 2, 0);
	struct cairn_slice body;

	memset(out + n, 77, 20); /* what a newer version says besides */
	body = cairn_slice(out + FRAME_HEAD, n + 20 - FRAME_HEAD);
	le16_put(out + FRAME_HEAD + 2, 9);
	frame_head(out, PEER_URGENT, FRAME_HELLO, 0, &body, 1, body.len);
	exchange(r, out, n + 20);
	if (r->result == 100)
		r->result += le16_get(r->frame.body.data) + le16_get((const char *)r->frame.body.data + 2);
}

static void act_same_id(struct raw *r)
{
	unsigned char out[1024];

	exchange(r, out, raw_hello(r, out, 1, 0));
}

static void act_bulk_alone(struct raw *r)
{
	unsigned char out[1024];

	exchange(r, out, raw_hello(r, out, 2, 1));
}

static void test_bad_callers(void)
{
	static const struct {
		void (*act)(struct raw *r);
		int result;
		const char *what, *text;
	} rows[] = {
		{ act_garbage, -1, "another protocol is hung up on", "" },
		{ act_not_hello, -1, "so is who does not begin with hello", "" },
		{ act_flipped, -1, "and a wrong checksum", "" },
		{ act_too_long, -1, "and a frame that is too long", "" },
		{ act_new_version, PEER_REFUSED_VERSION, "no common version is refused",
		  "raw (cairn 0.0.1) speaks versions 7 to 9 of the peers' protocol, n1 (cairn " },
		{ act_newer_too, 102, "a newer one that speaks ours, too, is welcome", "" },
		{ act_same_id, PEER_REFUSED_NODE, "who says to be us is refused",
		  "raw and n1 both say that they are node 1" },
		{ act_bulk_alone, PEER_REFUSED_BUSY, "a bulk connection needs a first one", "" },
	};
	struct world w;

	one_for_raw(&w);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct raw *r = raw_run(&w, 1, rows[i].act);

		is_int(r->result, rows[i].result, "%s", rows[i].what);
		if (*rows[i].text)
			ok(!strncmp(r->text, rows[i].text, strlen(rows[i].text)), "it says '%s'", r->text);
		raw_free(r);
	}
	end_world(&w);
}

static void act_hello(struct raw *r)
{
	unsigned char out[1024];

	exchange(r, out, raw_hello(r, out, r->to == 1 ? 2 : 1, 0));
}

static void small_queue(struct peer_options *o)
{
	o->queue_max[PEER_LOG] = 3 << 20;
	o->ping_ms = 10000;
}

static void raw_again(struct raw *r, void (*act)(struct raw *r), bool (*until)(struct world *w))
{
	r->done = false;
	r->act = act;
	pthread_create(&r->thread, NULL, raw_main, r);
	if (!run(r->world, until))
		printf("# late\n");
}

static unsigned taken; /* log frames */
static unsigned urgent_behind;

static void act_drain_all(struct raw *r)
{
	unsigned log = 0, urgent = 0;

	while (log < taken && raw_frame(r, r->fd)) {
		log += r->frame.kind == 21;
		if (r->frame.kind == 20 && !urgent++)
			urgent_behind = log;
	}
	r->result = (int)(log * 10 + urgent);
}

static bool room_and_done(struct world *w)
{
	return w->ends[1].rooms > 0 && raw_now->done;
}

static void test_slow(void)
{
	struct world w;
	struct raw *r;
	struct cairn_error error;
	struct peer_stats s;
	int code;

	new_world(&w);
	open_end(&w, 1, small_queue);
	peers_set(w.ends[1].peers, 2, "", &error);
	r = raw_run(&w, 1, act_hello);
	is_int(r->result, 100, "a peer that will not read connects");
	for (taken = 0; (code = send_one(&w, 1, 2, PEER_LOG, taken, 300000)) == 0; taken++)
		;
	is_int(code, -EAGAIN, "its queue is full after a while");
	ok(taken >= 10 && taken < 200, "bounded: %u frames were taken", taken);
	ok(peers_room(w.ends[1].peers, 2, PEER_LOG) < 300024, "there is little room");
	ok(peers_room(w.ends[1].peers, 2, PEER_URGENT) > 1000000, "but in the urgent lane");
	is_int(send_one(&w, 1, 2, PEER_URGENT, 0, 100), 0, "which takes a frame");
	ok(peers_stats(w.ends[1].peers, 0, &s) && s.dropped == 1 && s.queued[PEER_LOG] > (2 << 20),
	   "the frame that was not taken is counted");
	raw_again(r, act_drain_all, room_and_done);
	pthread_join(r->thread, NULL);
	is_int(r->result, taken * 10 + 1, "it reads again: all arrive");
	ok(urgent_behind < taken - 5, "the urgent one behind %u of %u", urgent_behind, taken);
	ok(w.ends[1].rooms > 0, "the host is told that there is room");
	raw_free(r);
	end_world(&w);
}

static void soon_silent(struct peer_options *o)
{
	o->silence_ms = 100;
}

static void test_silence(void)
{
	struct world w;
	struct raw *r;
	struct cairn_error error;

	new_world(&w);
	open_end(&w, 1, soon_silent);
	peers_set(w.ends[1].peers, 2, "", &error);
	r = raw_run(&w, 1, act_hello);
	ok(run(&w, two_is_gone), "a peer that says nothing more is gone");
	ok(strstr(w.ends[1].why, "silent") || strstr(w.ends[1].why, "timed out"), "because: %s",
	   w.ends[1].why);
	raw_free(r);
	end_world(&w);
}

/* A listener that never answers: the endpoint's dial to it stays under way. */
static int deaf(char *address, size_t size)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 5) < 0 ||
	    getsockname(fd, (struct sockaddr *)&at, &len) < 0)
		bail("no listener: %s", strerror(errno));
	snprintf(address, size, "127.0.0.1:%u", ntohs(at.sin_port));
	return fd;
}

static int deaf_fd;

static bool deaf_is_called(struct world *w)
{
	int fd = accept4(deaf_fd, NULL, NULL, SOCK_NONBLOCK);

	(void)w;
	if (fd < 0)
		return false;
	taken = (unsigned)fd;
	return true;
}

/* Both dial at one time: node ID is called by the other while its own dial is under way. */
static void both_dial(uint64_t id, int result, const char *what)
{
	struct world w;
	struct raw *r;
	struct cairn_error error;
	char address[64];

	deaf_fd = deaf(address, sizeof(address));
	ok(fcntl(deaf_fd, F_SETFL, O_NONBLOCK) == 0, "there is a node that does not answer");
	new_world(&w);
	open_end(&w, id, NULL);
	peers_set(w.ends[id].peers, 3 - id, address, &error);
	ok(run(&w, deaf_is_called), "node %d has dialled", (int)id);
	r = raw_run(&w, id, act_hello);
	is_int(r->result, result, "%s", what);
	raw_free(r);
	close((int)taken);
	close(deaf_fd);
	end_world(&w);
}

static void test_both_dial(void)
{
	both_dial(1, PEER_REFUSED_BUSY, "the lower id goes on with its own dial");
	both_dial(2, 100, "the higher one takes the other's");
}

static bool has_trouble(struct world *w)
{
	struct peer_stats s;

	return peers_stats(w->ends[1].peers, 0, &s) && s.error[0];
}

static void test_nobody_there(void)
{
	struct world w;
	struct cairn_error error;
	struct peer_stats s;
	char address[64], want[128];

	new_world(&w);
	open_end(&w, 1, NULL);
	close(deaf(address, sizeof(address)));
	peers_set(w.ends[1].peers, 2, address, &error);
	ok(run(&w, has_trouble), "where nobody listens");
	snprintf(want, sizeof(want), "%s: Connection refused", address);
	peers_stats(w.ends[1].peers, 0, &s);
	is_str(s.error, want, "the peer's state says so");
	end_world(&w);
}

static void test_addresses(void)
{
	static const struct {
		const char *text, *host;
		int port;
	} rows[] = {
		{ "n1:7401", "n1", 7401 },   { "n1", "n1", PEER_PORT },
		{ "[::1]:5", "::1", 5 },     { "[::1]", "::1", PEER_PORT },
		{ "::1", "::1", PEER_PORT }, { "", NULL, 0 },
		{ ":7", NULL, 0 },           { "n1:", NULL, 0 },
		{ "n1:70000", NULL, 0 },     { "[::1", NULL, 0 },
		{ "[::1]x", NULL, 0 },       { "a b:1", NULL, 0 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char host[PEER_ADDRESS_MAX + 1];
		uint16_t port = 0;
		bool good = peer_address_parse(rows[i].text, host, &port);

		ok(rows[i].host ? good && !strcmp(host, rows[i].host) && port == rows[i].port : !good,
		   "the address '%s'", rows[i].text);
	}
}

static void is_bytes(const unsigned char *got, size_t len, const char *want, const char *what)
{
	char text[4096];

	for (size_t i = 0; i < len; i++)
		snprintf(text + 2 * i, 3, "%02x", got[i]);
	is_str(text, want, "%s", what);
}

/* These bytes do not change within a version (core/daemon/peer/format.md). */
static void test_frozen(void)
{
	struct raw r = { .to = 1 };
	unsigned char out[512], body[512];
	struct cairn_slice slices[2] = { { "entries", 7 }, { " and more", 9 } };
	struct frame_hello hello;

	frame_head(out, PEER_LOG, 16, 0x1122334455667788, slices, 2, 16);
	is_bytes(out, FRAME_HEAD, "434e50469eaa087710000000010110008877665544332211", "the head of a frame");
	is_bytes(out, raw_hello(&r, out, 2, 1),
		 "434e50466dda8e474c000000010201000000000000000000010001000000000030313233"
		 "343536373839616263646500020000000000000001000000000000000500000000000000"
		 "0000000000000000010403050000000070726f64726177302e302e31",
		 "a hello");
	ok(frame_hello_get(cairn_slice(out + FRAME_HEAD, 64 + 12), &hello) == 0 && hello.who.id == 2 &&
		   hello.called == 1 && hello.who.instance == 5 && hello.link == 1 &&
		   !strcmp(hello.who.name, "raw") && !strcmp(hello.who.software, "0.0.1") &&
		   !strcmp(hello.who.cluster_name, "prod"),
	   "read again");
	ok(frame_hello_get(cairn_slice(out + FRAME_HEAD, 64 + 11), &hello) < 0, "one that is cut is none");
	is_bytes(body, frame_refuse_put(body, sizeof(body), PEER_REFUSED_REMOVED, 3, "n2 left"),
		 "050000000700000003000000000000006e32206c656674", "a refusal");
	ok(memcmp(out, "CNPF", 4) == 0 && FRAME_VERSION == 1, "of version 1");
}

int main(void)
{
	test_frozen();
	test_addresses();
	test_pair();
	test_three();
	test_wrong_cluster();
	test_wrong_node();
	test_stranger();
	test_reconnect();
	test_remove_inside();
	test_threads();
	test_torn();
	test_bad_callers();
	test_slow();
	test_silence();
	test_both_dial();
	test_nobody_there();
	return tap_done();
}
