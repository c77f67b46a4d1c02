/* Values through libcairn: short and long ones, to a store made here that keeps one key; and the way over
 * ssh. */
#include <cairn/client.h>
#include <fcntl.h>
#include <sys/stat.h>
#include "fake.h"
#include "proxy.h"

#define LONG (3 * 1048576 + 5)

/* One key, one upload at a time. REVISION moves by itself after CHANGE_AFTER gets, where that is not 0. */
struct store {
	unsigned char *value, *staged;
	size_t len, staged_len, largest; /* LARGEST: request seen */
	uint64_t revision;
	int gets, puts, pieces, renewals, change_after;
};

static void store_stage(struct store *s, const struct fake_request *r, struct cairn_slice piece)
{
	size_t at = cairn_field_u64(r->fields, CAIRN_F_INDEX, 0) * 131072;

	if (!piece.len)
		at = 0;
	if (at + piece.len > s->staged_len) {
		s->staged = realloc(s->staged, at + piece.len);
		s->staged_len = at + piece.len;
	}
	if (piece.len)
		memcpy(s->staged + at, piece.data, piece.len);
	s->pieces += piece.len > 0;
	s->renewals += !piece.len;
}

static void store_put(struct store *s, const struct fake_request *r, struct cairn_slice value, int fd)
{
	struct cairn_slice upload;

	free(s->value);
	if (cairn_field_find(r->fields, CAIRN_F_UPLOAD, &upload)) {
		s->value = s->staged;
		s->len = s->staged_len;
		s->staged = NULL;
		s->staged_len = 0;
		if (cairn_field_u64(r->fields, CAIRN_F_SIZE, 0) != s->len)
			fake_error(fd, r->id, CAIRN_E_INVALID, "size differs");
	} else {
		s->value = malloc(value.len + 1);
		s->len = value.len;
		if (value.len)
			memcpy(s->value, value.data, value.len);
	}
	s->puts++;
	fake_number(fd, r->id, CAIRN_F_REVISION, ++s->revision);
}

static void store_get(struct store *s, const struct fake_request *r, int fd)
{
	uint64_t at = cairn_field_u64(r->fields, CAIRN_F_OFFSET, 0);
	uint64_t len = cairn_field_u64(r->fields, CAIRN_F_LENGTH, CAIRN_PAYLOAD_MAX);
	uint64_t revision = cairn_field_u64(r->fields, CAIRN_F_REVISION, s->revision);
	struct cairn_msg m = { 0 };

	if (revision != s->revision) {
		fake_error(fd, r->id, CAIRN_E_CONFLICT, "the key changed");
		return;
	}
	at = at < s->len ? at : s->len;
	len = len < CAIRN_PAYLOAD_MAX ? len : CAIRN_PAYLOAD_MAX;
	len = len < s->len - at ? len : s->len - at;
	cairn_msg_start(&m, 0);
	cairn_msg_bytes(&m, CAIRN_F_VALUE, cairn_slice(s->value + at, len));
	cairn_msg_u64(&m, CAIRN_F_SIZE, s->len);
	cairn_msg_u64(&m, CAIRN_F_REVISION, s->revision);
	if (++s->gets == s->change_after)
		s->revision++;
	fake_answer(fd, r->id, 0, &m); /* from here on the test may look at S */
	cairn_msg_free(&m);
}

static void serve_store(struct fake *f, int fd, int nth)
{
	struct store *s = f->arg;
	struct fake_request r = { 0 };

	(void)nth;
	if (!fake_greet(fd))
		return;
	while (fake_next(fd, &r, 1)) {
		struct cairn_slice value = { 0 };

		cairn_field_find(r.fields, CAIRN_F_VALUE, &value);
		if (r.fields.len > s->largest)
			s->largest = r.fields.len;
		if (r.number == CAIRN_OP_STAGE) {
			store_stage(s, &r, value);
			fake_number(fd, r.id, CAIRN_F_REVISION, 0);
		} else if (r.number == CAIRN_OP_PUT) {
			store_put(s, &r, value, fd);
		} else {
			store_get(s, &r, fd);
		}
	}
	free(r.bytes);
}

struct bytes {
	unsigned char data[LONG];
	size_t at, len;
	bool told; /* that there is nothing yet */
};

/* Odd amounts, as a pipe gives them. */
static long read_bytes(void *arg, void *buffer, size_t len)
{
	struct bytes *b = arg;
	size_t n = b->len - b->at;

	n = n < len ? n : len;
	n = n < 10007 ? n : 10007;
	memcpy(buffer, b->data + b->at, n);
	b->at += n;
	return (long)n;
}

/* The same, and nothing yet each time that a piece and a half was given, and before the first byte. */
static long read_slowly(void *arg, void *buffer, size_t len)
{
	struct bytes *b = arg;
	size_t n = b->len - b->at, stop = 131072 + 65536;

	if (b->at % stop == 0 && !b->told && b->at < b->len) {
		b->told = true;
		return CAIRN_READ_LATER;
	}
	b->told = false;
	n = n < len ? n : len;
	n = n < stop - b->at % stop ? n : stop - b->at % stop;
	memcpy(buffer, b->data + b->at, n);
	b->at += n;
	return (long)n;
}

static long read_fails(void *arg, void *buffer, size_t len)
{
	int *left = arg;

	memset(buffer, 'x', len);
	return (*left)-- > 0 ? (long)len : -1;
}

static int write_bytes(void *arg, const void *data, size_t len)
{
	struct bytes *b = arg;

	if (b->at + len > LONG)
		return -1;
	memcpy(b->data + b->at, data, len);
	b->at += len;
	return 0;
}

static struct cairn *handle(const char *servers)
{
	struct cairn_options o = { .servers = servers };
	struct cairn_error e;
	struct cairn *c;

	if (cairn_open(&c, &o, &e))
		bail("no handle: %s", e.message);
	return c;
}

static void request(struct cairn_msg *m, unsigned op)
{
	cairn_msg_start(m, op);
	cairn_msg_text(m, CAIRN_F_KEY, "k");
}

static void sizes(struct cairn *c, struct store *s, struct bytes *in, struct bytes *out)
{
	static const size_t lengths[] = { 0, 1, 131071, 131072, 131073, 262144, 1048576, LONG };
	struct cairn_msg put = { 0 }, get = { 0 };
	struct cairn_reply r = { 0 };
	struct cairn_error e = { 0 };
	struct cairn_slice v;
	uint64_t revision = 0;

	request(&put, CAIRN_OP_PUT);
	request(&get, CAIRN_OP_GET);
	for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
		in->at = out->at = 0;
		in->len = lengths[i];
		is_int(cairn_put_stream(c, &put, read_bytes, in, &r), 0, "%zu bytes are put: %s", in->len,
		       r.error.message);
		is_int(cairn_get_stream(c, &get, write_bytes, out, &r), 0, "and got: %s", r.error.message);
		ok(out->at == in->len && !memcmp(in->data, out->data, in->len), "the same bytes");
		is_int(cairn_put(c, NULL, cairn_str("k"), cairn_slice(in->data, in->len), &revision, &e), 0,
		       "put from memory");
		is_int(cairn_get(c, NULL, cairn_str("k"), &v, NULL, &r), 0, "got into memory");
		ok(v.len == in->len && !memcmp(in->data, v.data, v.len), "the same bytes");
		is_int(cairn_field_u64(r.fields, CAIRN_F_REVISION, 0), revision,
		       "with the revision of that put");
	}
	is_int(s->puts, 2 * (int)(sizeof(lengths) / sizeof(*lengths)), "each was one put");
	ok(s->largest < 131072 + 512, "no request was longer than a piece");
	cairn_reply_free(&r);
	cairn_msg_free(&put);
	cairn_msg_free(&get);
}

static void ranges_and_faults(struct cairn *c, struct store *s, struct bytes *in, struct bytes *out)
{
	struct cairn_msg m = { 0 };
	struct cairn_reply r = { 0 };
	struct cairn_slice v;
	int left = 200;
	int puts = s->puts;

	request(&m, CAIRN_OP_GET);
	cairn_msg_u64(&m, CAIRN_F_OFFSET, 1000000);
	cairn_msg_u64(&m, CAIRN_F_LENGTH, 1500000);
	out->at = 0;
	is_int(cairn_get_stream(c, &m, write_bytes, out, &r), 0, "a range over several answers");
	ok(out->at == 1500000 && !memcmp(in->data + 1000000, out->data, 1500000), "has its bytes");
	request(&m, CAIRN_OP_GET);
	s->gets = 0;
	s->change_after = 2;
	is_int(cairn_get_stream(c, &m, write_bytes, out, &r), 0, "a write function that is full stops it");
	out->at = 0;
	s->gets = 0;
	is_int(cairn_get_stream(c, &m, write_bytes, out, &r), CAIRN_E_CONFLICT,
	       "a value that changes meanwhile is a conflict");
	is_str(r.error.message, "after 2097152 bytes of the value: the key changed",
	       "which says how far it came");
	s->gets = 0;
	is_int(cairn_get(c, NULL, cairn_str("k"), &v, NULL, &r), 0, "cairn_get tries again");
	ok(v.len == LONG && !memcmp(v.data, in->data, LONG), "and has one version");
	request(&m, CAIRN_OP_PUT);
	is_int(cairn_put_stream(c, &m, read_fails, &left, &r), CAIRN_E_INVALID, "a source that fails");
	is_int(s->puts, puts, "writes nothing");
	cairn_reply_free(&r);
	cairn_msg_free(&m);
}

static void slow_source(struct cairn *c, struct store *s, struct bytes *in)
{
	struct cairn_msg put = { 0 };
	struct cairn_reply r = { 0 };

	free(s->staged); /* of the source that failed */
	s->staged = NULL;
	s->staged_len = 0;
	in->at = 0;
	in->len = 3 * (131072 + 65536);
	request(&put, CAIRN_OP_PUT);
	is_int(cairn_put_stream(c, &put, read_slowly, in, &r), 0, "a slow source: %s", r.error.message);
	ok(s->len == in->len && !memcmp(s->value, in->data, in->len), "the same bytes");
	is_int(s->renewals, 2, "and the upload is renewed whenever there is nothing yet");
	cairn_reply_free(&r);
	cairn_msg_free(&put);
}

static void values(void)
{
	struct store s = { .revision = 5 };
	struct bytes *in = calloc(2, sizeof(*in)), *out = in + 1;
	struct fake f;
	struct cairn *c;

	if (!in)
		bail("no memory");
	for (size_t i = 0; i < LONG; i++)
		in->data[i] = (unsigned char)(i * 2654435761u >> 13);
	fake_start(&f, serve_store, &s);
	c = handle(f.server);
	sizes(c, &s, in, out);
	ranges_and_faults(c, &s, in, out);
	slow_source(c, &s, in);
	cairn_close(c);
	fake_stop(&f);
	free(s.value);
	free(s.staged);
	free(in);
}

static int descriptors(void)
{
	int n = 0;

	for (int fd = 3; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* $CAIRN_SSH is this program (see main), so the whole way is tested but for ssh itself. */
static void over_ssh(const char *self)
{
	struct store s = { 0 };
	struct fake f;
	struct cairn *c;
	struct cairn_error e = { 0 };
	struct cairn_reply r = { 0 };
	struct cairn_slice v;
	static unsigned char big[300000];
	int before;

	memset(big, 'b', sizeof(big));
	fake_start(&f, serve_store, &s);
	setenv("CAIRN_SSH", self, 1);
	setenv("CAIRN_SERVER", f.server, 1);
	before = descriptors();
	c = handle("ssh:far");
	is_int(cairn_put(c, NULL, cairn_str("k"), cairn_slice(big, sizeof(big)), NULL, &e), 0,
	       "a put over ssh: %s", e.message);
	is_int(cairn_get(c, NULL, cairn_str("k"), &v, NULL, &r), 0, "a get over ssh");
	ok(v.len == sizeof(big) && !memcmp(v.data, big, v.len), "the same bytes");
	is_str(cairn_server(c), "ssh:far", "the server has its name");
	cairn_reply_free(&r);
	cairn_close(c);
	c = handle("ssh:nowhere");
	is_int(cairn_put(c, NULL, cairn_str("k"), cairn_str("v"), NULL, &e), CAIRN_E_UNAVAILABLE,
	       "a host that is not there");
	is_str(e.message, "no answer from ssh:nowhere: ssh: Could not resolve hostname nowhere",
	       "is told in ssh's words");
	cairn_close(c);
	setenv("CAIRN_SSH", "/nonexistent/ssh", 1);
	c = handle("ssh:far");
	is_int(cairn_put(c, NULL, cairn_str("k"), cairn_str("v"), NULL, &e), CAIRN_E_UNAVAILABLE,
	       "no ssh: %s", e.message);
	cairn_close(c);
	is_int(descriptors(), before, "no descriptor is left open");
	fake_stop(&f);
	free(s.value);
	free(s.staged);
}

static void touch(const char *folder, const char *name, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "w");
	if (!f)
		bail("no file %s", path);
	fputs(text, f);
	fclose(f);
}

static void search(void)
{
	char folder[] = "/tmp/cairn-search.XXXXXX", path[64], found[512], want[512];

	if (!mkdtemp(folder))
		bail("no folder");
	snprintf(path, sizeof(path), "%s/cairn", folder);
	mkdir(path, 0700);
	unsetenv("CAIRN_SERVER");
	setenv("XDG_CONFIG_HOME", folder, 1);
	setenv("XDG_RUNTIME_DIR", folder, 1);
	touch(path, "n1.sock", "");
	touch(path, "n2.sock", "");
	snprintf(want, sizeof(want), "unix:%s/n1.sock,unix:%s/n2.sock", path, path);
	ok(cairn_find_servers(found, sizeof(found)), "the run-time folder is searched");
	is_str(found, want, "in the order of the names");
	touch(path, "servers", "# mine\n ssh:n1  # first\n\nunix:/x\n");
	cairn_find_servers(found, sizeof(found));
	is_str(found, "ssh:n1,unix:/x", "the user's file goes before it");
	setenv("CAIRN_SERVER", "/y", 1);
	cairn_find_servers(found, sizeof(found));
	is_str(found, "/y", "$CAIRN_SERVER before both");
	snprintf(want, sizeof(want), "rm -rf %s", folder);
	is_int(system(want), 0, "cleaned up");
}

int main(int argc, char **argv)
{
	/* as ssh: HOST cairn proxy */
	if (argc == 4 && strcmp(argv[1], "nowhere") == 0) {
		fputs("debug line\nssh: Could not resolve hostname nowhere\n", stderr);
		return 255;
	}
	if (argc == 4)
		return proxy_run(NULL, 0, 1, NULL) ? 1 : 0;
	values();
	over_ssh(argv[0]);
	search();
	return tap_done();
}
