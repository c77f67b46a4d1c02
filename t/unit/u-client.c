/* libcairn against servers made here, which answer late, torn, twice, wrongly or not at all. */
#include <cairn/client.h>
#include <poll.h>
#include <sys/wait.h>
#include "fake.h"

static struct cairn *handle(const char *servers, uint64_t timeout_ms)
{
	struct cairn_options o = { .servers = servers, .timeout_ms = timeout_ms, .face = "test" };
	struct cairn_error e = { 0 };
	struct cairn *c;

	if (cairn_open(&c, &o, &e))
		bail("no handle: %s", e.message);
	return c;
}

/* A whole small store: one key and its revision. */
static void serve_one_key(struct fake *f, int fd, int nth)
{
	struct fake_request r = { 0 };
	struct cairn_msg m = { 0 };
	struct cairn_slice value = { 0 };
	char kept[64];

	(void)f;
	(void)nth;
	if (!fake_greet(fd))
		return;
	while (fake_next(fd, &r, 10)) {
		if (r.number == CAIRN_OP_PUT && cairn_field_find(r.fields, CAIRN_F_VALUE, &value)) {
			value = cairn_slice(memcpy(kept, value.data, value.len), value.len);
			fake_number(fd, r.id, CAIRN_F_REVISION, 11);
		} else if (r.number == CAIRN_OP_GET && value.data) {
			cairn_msg_start(&m, 0);
			cairn_msg_bytes(&m, CAIRN_F_VALUE, value);
			cairn_msg_u64(&m, CAIRN_F_REVISION, 11);
			fake_answer(fd, r.id, 0, &m);
		} else if (r.number == CAIRN_OP_DELETE) {
			value = cairn_slice(NULL, 0);
			fake_number(fd, r.id, CAIRN_F_REVISION, 12);
		} else {
			fake_error(fd, r.id, CAIRN_E_NOT_FOUND, "no key 'k' in volume main");
		}
	}
	free(r.bytes);
	cairn_msg_free(&m);
}

static void common_calls(void)
{
	struct fake f;
	struct cairn *c;
	struct cairn_reply r = { 0 };
	struct cairn_error e = { 0 };
	struct cairn_slice v;
	uint64_t revision = 0;

	fake_start(&f, serve_one_key, NULL);
	c = handle(f.server, 0);
	is_int(cairn_put(c, NULL, cairn_str("k"), cairn_str("value"), &revision, &e), 0,
	       "a put is answered: %s", e.message);
	is_int(revision, 11, "with its revision");
	is_int(cairn_get(c, NULL, cairn_str("k"), &v, &revision, &r), 0, "a get is answered");
	ok(cairn_slice_eq(v, cairn_str("value")), "with the value");
	is_str(cairn_server(c), f.server, "the server is named");
	is_int(cairn_del(c, NULL, cairn_str("k"), &revision, &e), 0, "a del is answered");
	is_int(cairn_get(c, NULL, cairn_str("k"), &v, &revision, &r), CAIRN_E_NOT_FOUND,
	       "an error is an error");
	is_str(r.error.message, "no key 'k' in volume main", "with the server's sentence");
	cairn_reply_free(&r);
	cairn_close(c);
	fake_stop(&f);
}

static void nobody_there(void)
{
	struct cairn *c = handle("unix:/nonexistent/cairn.sock", 0);
	struct cairn_error e = { 0 };

	is_int(cairn_put(c, NULL, cairn_str("k"), cairn_str("v"), NULL, &e), CAIRN_E_UNAVAILABLE,
	       "no server: unavailable, at once");
	is_str(e.message, "no cairnd at unix:/nonexistent/cairn.sock: No such file or directory",
	       "it says where it looked");
	ok(strstr(e.hint, "cairnd"), "and what to do");
	cairn_close(c);
}

/* Everything that a test wants to know about what arrived. */
struct seen_request {
	uint64_t id, sequence, lowest, born, timeout_ms;
	unsigned number;
	char client[16], face[16];
};

struct record {
	int count;
	struct seen_request seen[64];
	int cancelled;
};

static void note(struct record *rec, const struct fake_request *r)
{
	struct seen_request *s = &rec->seen[rec->count < 64 ? rec->count : 63];
	struct cairn_slice b;

	*s = (struct seen_request){ .id = r->id, .number = r->number };
	s->sequence = cairn_field_u64(r->fields, CAIRN_F_SEQUENCE, 0);
	s->lowest = cairn_field_u64(r->fields, CAIRN_F_LOWEST, 0);
	s->born = cairn_field_u64(r->fields, CAIRN_F_BORN, 0);
	s->timeout_ms = cairn_field_u64(r->fields, CAIRN_F_TIMEOUT_MS, 0);
	if (cairn_field_find(r->fields, CAIRN_F_CLIENT, &b) && b.len == 16)
		memcpy(s->client, b.data, 16);
	if (cairn_field_find(r->fields, CAIRN_F_FACE, &b))
		snprintf(s->face, sizeof(s->face), "%.*s", (int)b.len, (const char *)b.data);
	rec->count++;
}

/* The first connection dies with the request unanswered, later ones answer. */
static void serve_dying_first(struct fake *f, int fd, int nth)
{
	struct fake_request r = { 0 };

	if (!fake_greet(fd))
		return;
	while (fake_next(fd, &r, (uint64_t)(100 + nth))) {
		note(f->arg, &r);
		if (nth == 0)
			break;
		fake_number(fd, r.id, CAIRN_F_REVISION, 7);
	}
	free(r.bytes);
}

static void write_is_repeated(void)
{
	struct record rec = { 0 };
	struct fake f;
	struct cairn *c;
	struct cairn_error e = { 0 };
	uint64_t revision = 0;

	fake_start(&f, serve_dying_first, &rec);
	c = handle(f.server, 0);
	is_int(cairn_put(c, NULL, cairn_str("k"), cairn_str("v"), &revision, &e), 0,
	       "a put survives its connection: %s", e.message);
	is_int(revision, 7, "and gets its answer");
	is_int(cairn_put(c, NULL, cairn_str("k"), cairn_str("w"), &revision, &e), 0, "a second one follows");
	cairn_close(c);
	fake_stop(&f);
	is_int(rec.count, 3, "the first was sent twice, the second once");
	is_int(rec.seen[1].sequence, rec.seen[0].sequence, "the repeated one has the same sequence");
	ok(memcmp(rec.seen[0].client, rec.seen[1].client, 16) == 0, "and the same client");
	is_int(rec.seen[0].born, 100, "born is what the ping said");
	is_int(rec.seen[1].born, 100, "and stays so when repeated");
	is_int(rec.seen[1].lowest, rec.seen[1].sequence, "lowest is the one still unanswered");
	is_int(rec.seen[2].sequence, rec.seen[0].sequence + 1, "sequences count");
	is_int(rec.seen[2].lowest, rec.seen[2].sequence, "lowest moves on with the answers");
	is_int(rec.seen[2].born, 101, "a new write is born by what the new connection said");
	is_str(rec.seen[0].face, "test", "the face is told");
	ok(rec.seen[0].timeout_ms > 3000 && rec.seen[0].timeout_ms < 5000, "the time left is told");
}

static void admin_is_not_repeated(void)
{
	struct record rec = { 0 };
	struct cairn_reply r = { 0 };
	struct cairn_msg m = { 0 };
	struct fake f;
	struct cairn *c;

	fake_start(&f, serve_dying_first, &rec);
	c = handle(f.server, 0);
	cairn_msg_start(&m, CAIRN_OP_VOLUME_DROP);
	is_int(cairn_call(c, &m, &r), CAIRN_E_UNKNOWN,
	       "an administrative request that was cut off is unknown");
	ok(strstr(r.error.message, f.server) && strstr(r.error.message, "volume-drop"),
	   "it names server and request: %s", r.error.message);
	cairn_reply_free(&r);
	cairn_msg_free(&m);
	cairn_close(c);
	fake_stop(&f);
	is_int(rec.count, 1, "and was sent once");
	ok(rec.seen[0].sequence == 0, "without a sequence");
}

/* Answers come byte by byte. */
static void serve_torn(struct fake *f, int fd, int nth)
{
	static const char line[] = "{\"cairn\":\"0.1.0\",\"protocol\":1,\"node\":\"fake\"}\n";
	struct fake_request r = { 0 };
	struct cairn_msg m = { 0 };
	unsigned char frame[256] = { 0 }, magic[4];

	(void)f;
	(void)nth;
	for (size_t i = 0; i < sizeof(line) - 1; i++)
		fake_write(fd, line + i, 1);
	fake_read(fd, magic, 4);
	while (fake_request(fd, &r)) {
		cairn_msg_start(&m, 0);
		cairn_msg_text(&m, CAIRN_F_VALUE, "torn");
		le32_put(frame, (uint32_t)(12 + m.len));
		le64_put(frame + 4, r.id);
		memcpy(frame + 16, m.data, m.len);
		for (size_t i = 0; i < 16 + m.len; i++) {
			fake_write(fd, frame + i, 1);
			if (i % 5 == 0)
				sched_yield();
		}
	}
	cairn_msg_free(&m);
	free(r.bytes);
}

static void torn_frames(void)
{
	struct cairn_reply r = { 0 };
	struct cairn_slice v;
	struct fake f;
	struct cairn *c;
	int good = 0;

	fake_start(&f, serve_torn, NULL);
	c = handle(f.server, 0);
	for (int i = 0; i < 20; i++)
		good += cairn_get(c, NULL, cairn_str("k"), &v, NULL, &r) == 0 &&
			cairn_slice_eq(v, cairn_str("torn"));
	is_int(good, 20, "answers torn into single bytes are put together");
	cairn_reply_free(&r);
	cairn_close(c);
	fake_stop(&f);
}

#define BACKWARDS 100

/* Collects requests and answers the last one first, each with its own key. */
static void serve_backwards(struct fake *f, int fd, int nth)
{
	struct fake_request r[BACKWARDS] = { 0 };
	struct cairn_slice key = { 0 };
	struct cairn_msg m = { 0 };
	int n = 0;

	(void)f;
	(void)nth;
	if (fake_greet(fd))
		while (n < BACKWARDS && fake_request(fd, &r[n]))
			n++;
	while (n--) {
		cairn_field_find(r[n].fields, CAIRN_F_KEY, &key);
		cairn_msg_start(&m, 0);
		cairn_msg_bytes(&m, CAIRN_F_VALUE, key);
		fake_answer(fd, r[n].id, 0, &m);
		free(r[n].bytes);
	}
	cairn_msg_free(&m);
}

struct mine {
	char key[16];
	int *order, at, answers;
	bool right;
};

static void took(void *arg, struct cairn_reply *r)
{
	struct mine *w = arg;
	struct cairn_slice v;

	w->right = cairn_field_find(r->fields, CAIRN_F_VALUE, &v) && cairn_slice_eq(v, cairn_str(w->key));
	w->at = (*w->order)++;
	w->answers++;
}

static void out_of_order(void)
{
	struct mine w[BACKWARDS];
	struct cairn_msg m = { 0 };
	struct fake f;
	struct cairn *c;
	int order = 0, right = 0, once = 0;

	fake_start(&f, serve_backwards, NULL);
	c = handle(f.server, 0);
	for (int i = 0; i < BACKWARDS; i++) {
		w[i] = (struct mine){ .order = &order };
		snprintf(w[i].key, sizeof(w[i].key), "key %d", i);
		cairn_msg_start(&m, CAIRN_OP_GET);
		cairn_msg_text(&m, CAIRN_F_KEY, w[i].key);
		cairn_submit(c, &m, took, &w[i]);
	}
	is_int(cairn_pending(c), BACKWARDS, "requests are pending");
	is_int(order, 0, "nothing is called back before a dispatch");
	cairn_dispatch(c, 0);
	while (cairn_pending(c)) {
		struct pollfd p = { .fd = cairn_fd(c), .events = POLLIN };

		if (poll(&p, 1, 5000) != 1)
			break;
		cairn_dispatch(c, 0);
	}
	for (int i = 0; i < BACKWARDS; i++) {
		right += w[i].right;
		once += w[i].answers == 1;
	}
	is_int(right, BACKWARDS, "answers in any order reach their requests, waited for with poll alone");
	is_int(once, BACKWARDS, "each once");
	ok(w[BACKWARDS - 1].at < w[0].at, "in the order of the answers");
	cairn_msg_free(&m);
	cairn_close(c);
	fake_stop(&f);
}

/* One of several ways to be no cairnd; f->arg says which. */
static void serve_hostile(struct fake *f, int fd, int nth)
{
	struct fake_request r = { 0 };
	unsigned char frame[64] = { 0 };
	size_t len = 20;

	(void)nth;
	if (*(int *)f->arg == 0) {
		fake_write(fd, "SSH-2.0-OpenSSH\r\n", 17);
		return;
	}
	if (!fake_greet(fd) || !fake_request(fd, &r))
		return;
	le32_put(frame, (uint32_t)len - 4);
	le64_put(frame + 4, r.id);
	frame[16] = CAIRN_MESSAGE_VERSION;
	switch (*(int *)f->arg) {
	case 1:
		le32_put(frame, 0xffffffff);
		break;
	case 2:
		le32_put(frame, 3);
		break;
	case 3:
		frame[12] = 9; /* kind */
		break;
	case 4:
		frame[16] = 77; /* version */
		break;
	case 5: /* a field that is longer than the frame */
		len = 24;
		le32_put(frame, (uint32_t)len - 4);
		le32_put(frame + 20, CAIRN_F_VALUE | 0xffffffu << 8);
		break;
	case 6: /* half a frame, then nothing */
		len = 10;
		break;
	}
	fake_write(fd, frame, len);
	free(r.bytes);
}

static void hostile_servers(void)
{
	for (int kind = 0; kind <= 6; kind++) {
		struct cairn_reply r = { 0 };
		struct cairn_slice v;
		struct fake f, good;
		char both[256];
		struct cairn *c;

		fake_start(&f, serve_hostile, &kind);
		fake_start(&good, serve_torn, NULL);
		snprintf(both, sizeof(both), "%s,%s", f.server, good.server);
		c = handle(both, 0);
		is_int(cairn_get(c, NULL, cairn_str("k"), &v, NULL, &r), 0,
		       "hostile server %d is left for the next one", kind);
		is_str(cairn_server(c), good.server, "which answers");
		cairn_close(c);
		c = handle(f.server, 200);
		is_int(cairn_get(c, NULL, cairn_str("k"), &v, NULL, &r), CAIRN_E_UNAVAILABLE,
		       "alone it is unavailable: %s", r.error.message);
		cairn_reply_free(&r);
		cairn_close(c);
		fake_stop(&f);
		fake_stop(&good);
	}
}

/* Greets, answers the first request and then only pings, until the client goes. */
static void serve_mute(struct fake *f, int fd, int nth)
{
	struct fake_request r = { 0 };

	(void)f;
	(void)nth;
	if (!fake_greet(fd))
		return;
	if (fake_next(fd, &r, 5))
		fake_number(fd, r.id, CAIRN_F_REVISION, 6);
	while (fake_next(fd, &r, 5))
		;
	free(r.bytes);
}

static void time_outs(void)
{
	struct cairn_reply r = { 0 };
	struct cairn_error e = { 0 };
	struct cairn_slice v;
	struct cairn_msg m = { 0 };
	struct fake f;
	struct cairn *c;
	char want[256];

	fake_start(&f, serve_mute, NULL);
	c = handle(f.server, 300);
	/* With all the time that it takes: a connection, and what a put has to know before it is sent. */
	cairn_msg_start(&m, CAIRN_OP_PUT);
	cairn_msg_text(&m, CAIRN_F_KEY, "k");
	cairn_msg_u64(&m, CAIRN_F_TIMEOUT_MS, 20000);
	is_int(cairn_call(c, &m, &r), 0, "a server answers once");
	is_int(cairn_put(c, NULL, cairn_str("k"), cairn_str("v"), NULL, &e), CAIRN_E_UNKNOWN,
	       "a put that was sent and is not answered: unknown");
	snprintf(want, sizeof(want), "no answer from %s within 300 ms: whether the put happened is not known",
		 f.server);
	is_str(e.message, want, "it names the server and the time");
	is_int(cairn_get(c, NULL, cairn_str("k"), &v, NULL, &r), CAIRN_E_TIMEOUT,
	       "a get that is not answered: timeout");
	snprintf(want, sizeof(want), "no answer from %s within 300 ms", f.server);
	is_str(r.error.message, want, "and says so");
	cairn_msg_start(&m, CAIRN_OP_GET);
	cairn_msg_text(&m, CAIRN_F_KEY, "k");
	cairn_msg_u64(&m, CAIRN_F_TIMEOUT_MS, 20);
	is_int(cairn_call(c, &m, &r), CAIRN_E_TIMEOUT, "a request may bring its own time");
	ok(strstr(r.error.message, "within 20 ms"), "which holds");
	cairn_msg_free(&m);
	cairn_reply_free(&r);
	cairn_close(c);
	fake_stop(&f);
}

/* Takes connections and does not even greet. */
static void serve_nothing(struct fake *f, int fd, int nth)
{
	char byte;

	(void)f;
	(void)nth;
	while (recv(fd, &byte, 1, 0) > 0)
		;
}

/* Greets and then stands still, as a stopped process does. */
static void serve_frozen(struct fake *f, int fd, int nth)
{
	if (fake_greet(fd))
		serve_nothing(f, fd, nth);
}

static void silent_servers(void)
{
	struct cairn_reply r = { 0 };
	struct cairn_error e = { 0 };
	struct cairn_slice v;
	struct fake dumb, frozen, good;
	char list[512];
	struct cairn *c;

	fake_start(&dumb, serve_nothing, NULL);
	fake_start(&frozen, serve_frozen, NULL);
	fake_start(&good, serve_one_key, NULL);
	c = handle(dumb.server, 100);
	is_int(cairn_put(c, NULL, cairn_str("k"), cairn_str("v"), NULL, &e), CAIRN_E_UNAVAILABLE,
	       "a server that does not greet is unavailable: %s", e.message);
	cairn_close(c);
	snprintf(list, sizeof(list), "%s,%s", dumb.server, good.server);
	c = handle(list, 600);
	is_int(cairn_put(c, NULL, cairn_str("k"), cairn_str("v"), NULL, &e), 0,
	       "the next one is tried in time");
	cairn_close(c);
	snprintf(list, sizeof(list), "%s,%s", frozen.server, good.server);
	c = handle(list, 1000);
	is_int(cairn_get(c, NULL, cairn_str("k"), &v, NULL, &r), CAIRN_E_NOT_FOUND,
	       "a get that one server answers with silence is answered by the next");
	is_str(cairn_server(c), good.server, "which stays in use");
	cairn_reply_free(&r);
	cairn_close(c);
	fake_stop(&dumb);
	fake_stop(&frozen);
	fake_stop(&good);
}

/* Turns every request away, as a node without a leader does. */
static void serve_unavailable(struct fake *f, int fd, int nth)
{
	struct fake_request r = { 0 };

	(void)nth;
	if (!fake_greet(fd))
		return;
	while (fake_next(fd, &r, 5)) {
		note(f->arg, &r);
		fake_error(fd, r.id, CAIRN_E_UNAVAILABLE, "no leader");
	}
	free(r.bytes);
}

static void turned_away(void)
{
	struct record rec = { 0 };
	struct cairn_error e = { 0 };
	struct fake lone, good;
	char list[512];
	struct cairn *c;

	fake_start(&lone, serve_unavailable, &rec);
	fake_start(&good, serve_one_key, NULL);
	snprintf(list, sizeof(list), "%s,%s", lone.server, good.server);
	c = handle(list, 0);
	is_int(cairn_put(c, NULL, cairn_str("k"), cairn_str("v"), NULL, &e), 0,
	       "a put turned away by one server goes to the next");
	cairn_close(c);
	c = handle(lone.server, 0);
	is_int(cairn_put(c, NULL, cairn_str("k"), cairn_str("v"), NULL, &e), CAIRN_E_UNAVAILABLE,
	       "where there is none it is the answer");
	is_str(e.message, "no leader", "with the server's sentence");
	cairn_close(c);
	fake_stop(&lone);
	fake_stop(&good);
	is_int(rec.count, 2, "each was turned away once");
}

/* Goes down after the first answer, as cairnd does: tells, turns away, closes; and is back at once. */
static void serve_restarting(struct fake *f, int fd, int nth)
{
	struct fake_request r = { 0 };
	struct cairn_msg m = { 0 };

	if (!fake_greet(fd))
		return;
	while (fake_next(fd, &r, 5)) {
		note(f->arg, &r);
		if (nth > 0) {
			fake_number(fd, r.id, CAIRN_F_REVISION, 3);
			continue;
		}
		cairn_msg_start(&m, 0);
		cairn_msg_text(&m, CAIRN_F_MESSAGE, "cairnd is going down");
		fake_answer(fd, 0, 2, &m);
		fake_error(fd, r.id, CAIRN_E_UNAVAILABLE, "going down");
		break;
	}
	cairn_msg_free(&m);
	free(r.bytes);
}

static void restart_is_survived(void)
{
	struct record rec = { 0 };
	struct cairn_error e = { 0 };
	struct fake f;
	struct cairn *c;

	fake_start(&f, serve_restarting, &rec);
	c = handle(f.server, 0);
	is_int(cairn_put(c, NULL, cairn_str("k"), cairn_str("v"), NULL, &e), 0,
	       "a put survives a restart of the only server: %s", e.message);
	cairn_close(c);
	fake_stop(&f);
	is_int(rec.count, 2, "it was sent twice");
	is_int(rec.seen[0].sequence, rec.seen[1].sequence, "under one sequence");
}

/* An endless stream of events, until it is cancelled. */
static void serve_stream(struct fake *f, int fd, int nth)
{
	struct record *rec = f->arg;
	struct fake_request r = { 0 };
	struct cairn_msg m = { 0 };

	(void)nth;
	if (!fake_greet(fd) || !fake_next(fd, &r, 5))
		return;
	for (uint64_t i = 0; i < 3; i++) {
		cairn_msg_start(&m, 0);
		cairn_msg_u64(&m, CAIRN_F_COUNT, i);
		fake_answer(fd, r.id, 2, &m);
	}
	note(rec, &r);
	while (fake_request(fd, &r)) {
		if (r.number == 0 && r.id == rec->seen[0].id)
			rec->cancelled++;
		else
			fake_number(fd, r.id, CAIRN_F_COUNT, 42);
	}
	cairn_msg_free(&m);
	free(r.bytes);
}

static bool three(void *arg, const struct cairn_reply *r)
{
	int *n = arg;

	return r->event && cairn_field_u64(r->fields, CAIRN_F_COUNT, 99) == (uint64_t)*n && ++*n < 3;
}

static void streams(void)
{
	struct record rec = { 0 };
	struct cairn_reply r = { 0 };
	struct cairn_msg m = { 0 };
	struct fake f;
	struct cairn *c;
	int n = 0;

	fake_start(&f, serve_stream, &rec);
	c = handle(f.server, 1000);
	cairn_msg_start(&m, CAIRN_OP_SCAN);
	is_int(cairn_stream(c, &m, three, &n, &r), 0, "a stream ends well when its reader stops");
	is_int(n, 3, "after the events that it wanted");
	is_int(cairn_pending(c), 0, "nothing is pending then");
	is_int(cairn_call(c, &m, &r), 0, "the connection goes on");
	is_int(cairn_field_u64(r.fields, CAIRN_F_COUNT, 0), 42, "with the right answer");
	cairn_msg_free(&m);
	cairn_reply_free(&r);
	cairn_close(c);
	fake_stop(&f);
	is_int(rec.cancelled, 1, "and the server was told");
}

/* Holds 300 writes back, each time until no more come, and keeps the widest window that it saw. */
static void serve_window(struct fake *f, int fd, int nth)
{
	struct fake_request r = { 0 };
	uint64_t ids[512];
	int n = 0, answered = 0, *widest = f->arg;

	(void)nth;
	if (!fake_greet(fd))
		return;
	for (;;) {
		struct timeval quiet = { .tv_sec = 10 };

		if (n >= 128 || (n && answered + n == 300))
			quiet = (struct timeval){ .tv_usec = 20000 };
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &quiet, sizeof(quiet));
		if (!fake_next(fd, &r, 5)) {
			if (!n)
				break;
			*widest = n > *widest ? n : *widest;
			answered += n;
			while (n)
				fake_number(fd, ids[--n], CAIRN_F_REVISION, 1);
		} else if (n < 512) {
			ids[n++] = r.id;
		}
	}
	free(r.bytes);
}

static void count_good(void *arg, struct cairn_reply *r)
{
	*(int *)arg += r->code == 0;
}

static void window_of_writes(void)
{
	struct cairn_msg m = { 0 };
	struct fake f;
	struct cairn *c;
	int widest = 0, good = 0;

	fake_start(&f, serve_window, &widest);
	c = handle(f.server, 0);
	for (int i = 0; i < 300; i++) {
		cairn_msg_start(&m, CAIRN_OP_PUT);
		cairn_msg_text(&m, CAIRN_F_KEY, "k");
		cairn_submit(c, &m, count_good, &good);
	}
	while (cairn_pending(c))
		cairn_dispatch(c, -1);
	is_int(good, 300, "300 writes are answered");
	cairn_msg_free(&m);
	cairn_close(c);
	fake_stop(&f);
	is_int(widest, 128, "and never more than 128 are under way, which is what a store remembers");
}

static void refused(void)
{
	struct cairn_options o = { .servers = "n1" };
	struct cairn_error e = { 0 };
	struct cairn_msg m = { 0 };
	struct cairn_reply r = { 0 };
	struct cairn *c = NULL;

	is_int(cairn_open(&c, &o, &e), CAIRN_E_INVALID, "a bare word is no server");
	is_str(e.message, "server 'n1' is not understood", "it is named");
	o.servers = "ssh:-oProxyCommand=x";
	is_int(cairn_open(&c, &o, &e), CAIRN_E_INVALID, "a host that is an option of ssh is refused");
	o.servers = " , ";
	is_int(cairn_open(&c, &o, &e), CAIRN_E_INVALID, "an empty list is refused");
	c = handle("/nowhere", 100);
	cairn_msg_start(&m, CAIRN_OP_PUT);
	cairn_msg_room(&m, CAIRN_F_VALUE, CAIRN_FRAME_MAX);
	is_int(cairn_call(c, &m, &r), CAIRN_E_TOO_LARGE, "a request that no server takes is not sent");
	cairn_msg_free(&m);
	is_int(cairn_call(c, &m, &r), CAIRN_E_INVALID, "an empty message is none");
	cairn_reply_free(&r);
	cairn_close(c);
}

/* What the child of a fork frees stays whole for its parent. */
static void after_fork(void)
{
	struct cairn_error e = { 0 };
	struct fake f;
	struct cairn *c;
	int status = -1;
	pid_t pid;

	fake_start(&f, serve_one_key, NULL);
	c = handle(f.server, 0);
	cairn_put(c, NULL, cairn_str("k"), cairn_str("v"), NULL, &e);
	pid = fork();
	if (pid == 0) {
		cairn_close(c);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	is_int(status, 0, "a child closes its copy of a handle");
	is_int(cairn_put(c, NULL, cairn_str("k"), cairn_str("v"), NULL, &e), 0,
	       "the parent goes on with it: %s", e.message);
	cairn_close(c);
	fake_stop(&f);
	is_int(f.connections, 1, "over the same connection");
}

static void bounded_memory(void)
{
	struct cairn *c = handle("/nowhere", 0);
	struct cairn_msg m = { 0 };
	int good = 0, taken = 0;

	cairn_msg_start(&m, CAIRN_OP_PUT);
	memset(cairn_msg_room(&m, CAIRN_F_VALUE, 1 << 20), 0, 1 << 20);
	while (taken < 100 && cairn_submit(c, &m, count_good, &good) == 0)
		taken++;
	is_int(taken, 63, "a handle keeps at most 64 MiB of requests");
	cairn_dispatch(c, -1);
	is_int(cairn_pending(c), 0, "all of them end when nobody is there");
	is_int(good, 0, "without success");
	is_int(cairn_submit(c, &m, count_good, &good), 0, "then there is room again");
	cairn_msg_free(&m);
	cairn_close(c);
}

/* Answers gets after a moment, so that nobody finds the answer who has just asked. */
static void serve_slowly(struct fake *f, int fd, int nth)
{
	struct fake_request r = { 0 };

	(void)f;
	(void)nth;
	if (!fake_greet(fd))
		return;
	while (fake_next(fd, &r, 5)) {
		if (r.number == CAIRN_OP_GET)
			usleep(10000);
		fake_number(fd, r.id, CAIRN_F_REVISION, 1);
	}
	free(r.bytes);
}

/* An answer that came in time is taken, however late the program looks. */
static void late_look(void)
{
	struct cairn_msg m = { 0 };
	struct cairn_reply r = { 0 };
	struct fake f;
	struct cairn *c;
	struct pollfd p;
	int good = 0;

	fake_start(&f, serve_slowly, NULL);
	c = handle(f.server, 100);
	cairn_msg_start(&m, CAIRN_OP_PUT); /* a connection, with all the time that it takes */
	cairn_msg_text(&m, CAIRN_F_KEY, "k");
	cairn_msg_u64(&m, CAIRN_F_TIMEOUT_MS, 20000);
	cairn_call(c, &m, &r);
	cairn_reply_free(&r);
	cairn_msg_start(&m, CAIRN_OP_GET);
	cairn_msg_text(&m, CAIRN_F_KEY, "k");
	cairn_submit(c, &m, count_good, &good);
	cairn_dispatch(c, 0);
	p = (struct pollfd){ .fd = cairn_fd(c), .events = POLLIN };
	if (cairn_pending(c) && poll(&p, 1, 5000) == 1)
		usleep(120000); /* past its time */
	cairn_dispatch(c, -1);
	is_int(good, 1, "an answer that waited while the program was elsewhere is taken");
	cairn_msg_free(&m);
	cairn_close(c);
	fake_stop(&f);
}

/* Counts into ARG the fences of what arrives, and remembers the last one. */
struct guarded {
	unsigned puts, gets, stages; /* fences that they carried */
	uint64_t fence;
	char key[32];
};

static void serve_fences(struct fake *f, int fd, int nth)
{
	struct guarded *g = f->arg;
	struct fake_request r = { 0 };
	struct cairn_slice rest, body, key = { 0 };
	unsigned field;

	(void)nth;
	if (!fake_greet(fd))
		return;
	while (fake_next(fd, &r, 5)) {
		rest = r.fields;
		while (cairn_field_next(&rest, &field, &body) == 0 && field) {
			if (field != CAIRN_F_GUARD)
				continue;
			*(r.number == CAIRN_OP_PUT           ? &g->puts
				  : r.number == CAIRN_OP_GET ? &g->gets
							     : &g->stages) += 1;
			g->fence = cairn_field_u64(body, CAIRN_F_FENCE, 0);
			cairn_field_find(body, CAIRN_F_KEY, &key);
			snprintf(g->key, sizeof(g->key), "%.*s", (int)key.len, (const char *)key.data);
		}
		fake_number(fd, r.id, CAIRN_F_REVISION, 7);
	}
	free(r.bytes);
}

/* A handle under locks: its writes carry their fences. */
static void fences(void)
{
	static const char *const wrong[] = { "main",     "main 5", "main 5:",   "main x:k",
					     "main 0:k", " 5:k",   "main 5:k%", "main 5:a b" };
	struct guarded g = { 0 };
	struct cairn_error e = { 0 };
	struct cairn_reply r = { 0 };
	struct cairn_slice value;
	struct fake f;
	struct cairn_options o = { .fence = "main 17:a/b 18:odd%20key%25" };
	static char large[300000];
	struct cairn *c;

	fake_start(&f, serve_fences, &g);
	o.servers = f.server;
	is_int(cairn_open(&c, &o, &e), 0, "a handle under two locks");
	is_int(cairn_put(c, NULL, cairn_str("k"), cairn_str("v"), NULL, &e), 0, "writes");
	ok(g.puts == 2 && g.fence == 18 && !strcmp(g.key, "odd key%"), "with the fences of both");
	cairn_get(c, NULL, cairn_str("k"), &value, NULL, &r);
	cairn_put(c, NULL, cairn_str("k"), cairn_slice(large, sizeof(large)), NULL, &e);
	ok(g.puts == 4 && g.gets == 0 && g.stages == 0, "reads, and pieces sent ahead, carry none");
	is_int(cairn_put(c, "stock", cairn_str("k"), cairn_str("v"), NULL, &e), CAIRN_E_UNSUPPORTED,
	       "a volume that cannot know the lock is not written to");
	is_str(e.message,
	       "nothing was written: volume stock cannot tell whether a lock of volume main is still held",
	       "which is said");
	cairn_close(c);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		o.fence = wrong[i];
		is_int(cairn_open(&c, &o, &e), CAIRN_E_INVALID, "'%s' is no fence", wrong[i]);
	}
	setenv("CAIRN_FENCE", "main 9:k", 1);
	o.fence = "";
	cairn_open(&c, &o, &e);
	g.puts = 0;
	cairn_put(c, "stock", cairn_str("k"), cairn_str("v"), NULL, &e);
	is_int(g.puts, 0, "an empty text is no lock");
	cairn_close(c);
	o.fence = NULL;
	cairn_open(&c, &o, &e);
	unsetenv("CAIRN_FENCE");
	cairn_put(c, NULL, cairn_str("k"), cairn_str("v"), NULL, &e);
	ok(g.puts == 1 && g.fence == 9, "and none given is that of the environment");
	cairn_close(c);
	cairn_reply_free(&r);
	fake_stop(&f);
}

int main(void)
{
	fences();
	common_calls();
	nobody_there();
	refused();
	write_is_repeated();
	admin_is_not_repeated();
	torn_frames();
	out_of_order();
	hostile_servers();
	time_outs();
	silent_servers();
	turned_away();
	restart_is_survived();
	streams();
	window_of_writes();
	after_fork();
	bounded_memory();
	late_look();
	return tap_done();
}
