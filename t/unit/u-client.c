/* libcairn against servers made here, which answer late, torn, twice, wrongly or not at all. */
#include <cairn/client.h>
#include <poll.h>
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

int main(void)
{
	common_calls();
	nobody_there();
	return tap_done();
}
