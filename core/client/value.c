/*
 * Values: the common calls, and values of any size. What is longer than a piece is staged, a few pieces under
 * way at a time, and then put at once by naming the upload; it is read in ranges that all ask for the
 * revision of the first one, so that a reader never sees two versions mixed.
 */
#include <stdlib.h>
#include <sys/random.h>
#include "handle.h"
#include "banned.h"

#define AHEAD 4 /* staged pieces under way */

/* Pieces of one upload. */
struct upload {
	struct cairn *c;
	unsigned char id[16];
	struct cairn_slice volume; /* as the put gives it; NULL: not given */
	uint64_t count, size;      /* pieces and bytes so far */
	unsigned under_way;
	struct cairn_error error; /* the first one */
};

static void staged(void *arg, struct cairn_reply *r)
{
	struct upload *u = arg;

	u->under_way--;
	if (r->code && !u->error.code)
		u->error = r->error;
}

static void drain(struct upload *u, unsigned to)
{
	while (u->under_way > to)
		cairn_dispatch(u->c, -1);
}

/* A request about U. */
static void upload_start(const struct upload *u, struct cairn_msg *m, enum cairn_operation op)
{
	cairn_msg_start(m, op);
	if (u->volume.data)
		cairn_msg_bytes(m, CAIRN_F_VOLUME, u->volume);
	cairn_msg_bytes(m, CAIRN_F_UPLOAD, cairn_slice(u->id, sizeof(u->id)));
}

static void stage(struct upload *u, struct cairn_slice piece)
{
	struct cairn_msg m = { 0 };
	enum cairn_code code;

	upload_start(u, &m, CAIRN_OP_STAGE);
	cairn_msg_u64(&m, CAIRN_F_INDEX, u->count++);
	cairn_msg_bytes(&m, CAIRN_F_VALUE, piece);
	code = cairn_submit(u->c, &m, staged, u);
	cairn_msg_free(&m);
	if (code) {
		cairn_fail(&u->error, code, "a piece of the value cannot be sent: %s",
			   cairn_error_row(code)->meaning);
		return;
	}
	u->under_way++;
	u->size += piece.len;
	drain(u, AHEAD - 1);
}

/* The source is slow: what was staged is not to be forgotten meanwhile. */
static bool keep_alive(struct upload *u)
{
	struct cairn_reply r = { 0 };
	struct cairn_msg m = { 0 };

	drain(u, 0);
	upload_start(u, &m, CAIRN_OP_STAGE);
	if (!u->error.code && cairn_call(u->c, &m, &r))
		u->error = r.error;
	cairn_reply_free(&r);
	cairn_msg_free(&m);
	return !u->error.code;
}

/* A piece into BUFFER. U is NULL before anything was staged. */
static long fill(struct upload *u, cairn_read_fn *read, void *arg, unsigned char *buffer)
{
	size_t at = 0;

	while (at < PIECE) {
		long n = read(arg, buffer + at, PIECE - at);

		if (n == CAIRN_READ_LATER && (!u || keep_alive(u)))
			continue;
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		at += (size_t)n;
	}
	return (long)at;
}

/* Stage all that READ gives, of which the first PIECE bytes are in BUFFER. */
static void stage_all(struct upload *u, cairn_read_fn *read, void *arg, unsigned char *buffer)
{
	long n = PIECE;

	while (n > 0 && !u->error.code) {
		stage(u, cairn_slice(buffer, (size_t)n));
		n = n == PIECE ? fill(u, read, arg, buffer) : 0;
	}
	if (n < 0 && !u->error.code)
		cairn_fail(&u->error, CAIRN_E_INVALID,
			   "the value cannot be read to its end; nothing was written");
	drain(u, 0);
}

/* What was staged is not needed any more: room on the server, which would else be free ten minutes later. */
static void unstage(struct upload *u)
{
	struct cairn_reply r = { 0 };
	struct cairn_msg m = { 0 };

	upload_start(u, &m, CAIRN_OP_UNSTAGE);
	cairn_call(u->c, &m, &r);
	cairn_reply_free(&r);
	cairn_msg_free(&m);
}

/* Whether it is known that the server is there and did not do it. */
static bool is_refused(enum cairn_code code)
{
	return code && code != CAIRN_E_UNKNOWN && code != CAIRN_E_UNAVAILABLE && code != CAIRN_E_TIMEOUT;
}

static enum cairn_code put_upload(struct cairn *c, struct cairn_msg *m, cairn_read_fn *read, void *arg,
				  unsigned char *buffer, struct cairn_reply *r)
{
	struct upload u = { .c = c };

	if (getrandom(u.id, sizeof(u.id), 0) != sizeof(u.id))
		return r->code = cairn_fail(&r->error, CAIRN_E_INTERNAL, "no random bytes for an upload");
	cairn_field_find(cairn_message_fields(cairn_msg_slice(m)), CAIRN_F_VOLUME, &u.volume);
	stage_all(&u, read, arg, buffer);
	if (u.error.code) {
		if (is_refused(u.error.code))
			unstage(&u);
		r->error = u.error;
		return r->code = u.error.code;
	}
	cairn_msg_bytes(m, CAIRN_F_UPLOAD, cairn_slice(u.id, sizeof(u.id)));
	if (cairn_message_number(cairn_msg_slice(m)) !=
	    CAIRN_OP_PATCH) /* which would set the whole value's */
		cairn_msg_u64(m, CAIRN_F_SIZE, u.size);
	if (cairn_call(c, m, r) == CAIRN_E_INVALID && !r->error.hint[0])
		cairn_hint(&r->error,
			   "pieces that were sent ahead are forgotten after 10 minutes, and by a volatile "
			   "volume "
			   "when its node restarts; put it again");
	if (is_refused(r->code))
		unstage(&u);
	return r->code;
}

enum cairn_code cairn_put_stream(struct cairn *c, const struct cairn_msg *request, cairn_read_fn *read,
				 void *arg, struct cairn_reply *r)
{
	unsigned char *buffer = malloc(PIECE);
	struct cairn_msg m = { 0 };
	long n;

	cairn_reply_free(r);
	n = buffer ? fill(NULL, read, arg, buffer) : 0;
	cairn_msg_fields(&m, cairn_msg_slice(request));
	if (!buffer || cairn_msg_error(request)) {
		r->code = cairn_fail(&r->error, CAIRN_E_INTERNAL, "no memory for a value");
	} else if (c->busy) {
		r->code = cairn_fail(&r->error, CAIRN_E_INVALID,
				     "a call from within a callback of the same handle");
	} else if (n < 0) {
		r->code = cairn_fail(&r->error, CAIRN_E_INVALID,
				     "the value cannot be read; nothing was written");
	} else if (n < (long)PIECE) {
		cairn_msg_bytes(&m, CAIRN_F_VALUE, cairn_slice(buffer, (size_t)n));
		cairn_call(c, &m, r);
	} else {
		put_upload(c, &m, read, arg, buffer, r);
	}
	cairn_msg_free(&m);
	free(buffer);
	return r->code;
}

/* What a get that goes on over several ranges asks for. */
struct range {
	struct cairn_msg base; /* the request without its range */
	uint64_t at, end;      /* next byte, and where the caller wants to stop */
	uint64_t revision;     /* of the first range; 0: not known yet */
	bool fixed;            /* the caller gave a revision */
};

/* Take the request apart; R->base is the caller's to free. */
static void range_start(struct range *g, const struct cairn_msg *request)
{
	struct cairn_slice fields = cairn_message_fields(cairn_msg_slice(request)), body;
	uint64_t length = cairn_field_u64(fields, CAIRN_F_LENGTH, UINT64_MAX);
	unsigned field;

	*g = (struct range){ .at = cairn_field_u64(fields, CAIRN_F_OFFSET, 0) };
	g->end = length > UINT64_MAX - g->at ? UINT64_MAX : g->at + length;
	g->fixed = cairn_field_find(fields, CAIRN_F_REVISION, &body);
	cairn_msg_start(&g->base, cairn_message_number(cairn_msg_slice(request)));
	g->base.error = cairn_msg_error(request);
	while (cairn_field_next(&fields, &field, &body) == 0 && field != CAIRN_F_END)
		if (field != CAIRN_F_OFFSET && field != CAIRN_F_LENGTH)
			cairn_msg_bytes(&g->base, field, body);
}

/* Ask for the next range. *PIECE is in R's memory; *MORE: the value goes on behind it. */
static enum cairn_code range_next(struct cairn *c, struct range *g, struct cairn_reply *r,
				  struct cairn_slice *piece, bool *more)
{
	size_t mark = g->base.len;
	uint64_t size;

	cairn_msg_u64(&g->base, CAIRN_F_OFFSET, g->at);
	cairn_msg_u64(&g->base, CAIRN_F_LENGTH,
		      g->end - g->at < CAIRN_PAYLOAD_MAX ? g->end - g->at : CAIRN_PAYLOAD_MAX);
	if (g->revision && !g->fixed)
		cairn_msg_u64(&g->base, CAIRN_F_REVISION, g->revision);
	cairn_call(c, &g->base, r);
	cairn_msg_truncate(&g->base, mark);
	*piece = cairn_slice(NULL, 0);
	*more = false;
	if (r->code)
		return r->code;
	cairn_field_find(r->fields, CAIRN_F_VALUE, piece);
	g->revision = cairn_field_u64(r->fields, CAIRN_F_REVISION, 0);
	g->at += piece->len;
	size = cairn_field_u64(r->fields, CAIRN_F_SIZE, g->at);
	*more = piece->len && g->at < size && g->at < g->end;
	if (!piece->len && g->at < size && g->at < g->end &&
	    !cairn_field_bool(cairn_message_fields(cairn_msg_slice(&g->base)), CAIRN_F_META_ONLY, false))
		return r->code = cairn_fail(&r->error, CAIRN_E_INTERNAL,
					    "%s gave %llu of %llu bytes and no more",
					    c->servers[c->server].name, (unsigned long long)g->at,
					    (unsigned long long)size);
	return CAIRN_OK;
}

enum cairn_code cairn_get_stream(struct cairn *c, const struct cairn_msg *request, cairn_write_fn *write,
				 void *arg, struct cairn_reply *r)
{
	struct cairn_reply next = { 0 }, *into = r;
	struct cairn_slice piece;
	struct range g;
	bool more = true;

	range_start(&g, request);
	while (more) {
		enum cairn_code code = range_next(c, &g, into, &piece, &more);

		if (code) {
			if (into == &next) {
				r->code = code;
				r->error = next.error;
				cairn_error_prefix(&r->error, "after %llu bytes of the value",
						   (unsigned long long)g.at);
			}
			break;
		}
		if (piece.len && write(arg, piece.data, piece.len) < 0)
			break;
		into = &next;
	}
	cairn_reply_free(&next);
	cairn_msg_free(&g.base);
	return r->code;
}

/* A request about one key. */
static void start(struct cairn_msg *m, enum cairn_operation op, const char *volume, struct cairn_slice key)
{
	cairn_msg_start(m, op);
	if (volume)
		cairn_msg_text(m, CAIRN_F_VOLUME, volume);
	cairn_msg_bytes(m, CAIRN_F_KEY, key);
}

/* Where cairn_get gathers a value that does not fit into one answer. */
struct gathered {
	unsigned char *data;
	size_t len, cap;
};

static int gather(void *arg, const void *data, size_t len)
{
	struct gathered *g = arg;

	if (g->cap - g->len < len) {
		size_t cap = g->cap * 2 > g->len + len ? g->cap * 2 : g->len + len;
		unsigned char *p = realloc(g->data, cap);

		if (!p)
			return -1;
		g->data = p;
		g->cap = cap;
	}
	memcpy(g->data + g->len, data, len);
	g->len += len;
	return 0;
}

/* The value in R is only its beginning: get all of it. A writer in between costs a second attempt. */
static enum cairn_code get_long(struct cairn *c, const struct cairn_msg *m, struct cairn_slice *value,
				struct cairn_reply *r)
{
	struct gathered g = { 0 };
	uint64_t size = 0;

	for (int attempt = 0; attempt < 3; attempt++) {
		g.len = 0;
		cairn_get_stream(c, m, gather, &g, r);
		if (r->code != CAIRN_E_CONFLICT)
			break;
	}
	if (!r->code) {
		size = cairn_field_u64(r->fields, CAIRN_F_SIZE, 0);
		if (g.len != size || gather(&g, r->fields.data, r->fields.len) < 0)
			r->code = cairn_fail(&r->error, CAIRN_E_INTERNAL,
					     "no memory for a value of %llu bytes", (unsigned long long)size);
	}
	if (r->code) {
		free(g.data);
		return r->code;
	}
	free(r->memory);
	r->memory = g.data;
	r->fields = cairn_slice(g.data + size, g.len - size);
	*value = cairn_slice(g.data, size);
	return CAIRN_OK;
}

enum cairn_code cairn_get(struct cairn *c, const char *volume, struct cairn_slice key,
			  struct cairn_slice *value, uint64_t *revision, struct cairn_reply *r)
{
	struct cairn_msg m = { 0 };

	*value = cairn_slice(NULL, 0);
	start(&m, CAIRN_OP_GET, volume, key);
	if (cairn_call(c, &m, r) == CAIRN_OK) {
		cairn_field_find(r->fields, CAIRN_F_VALUE, value);
		if (cairn_field_u64(r->fields, CAIRN_F_SIZE, value->len) > value->len)
			get_long(c, &m, value, r);
	}
	if (!r->code && revision)
		*revision = cairn_field_u64(r->fields, CAIRN_F_REVISION, 0);
	cairn_msg_free(&m);
	return r->code;
}

static long read_slice(void *arg, void *buffer, size_t len)
{
	struct cairn_slice *rest = arg;
	size_t n = rest->len < len ? rest->len : len;

	if (n)
		memcpy(buffer, rest->data, n);
	*rest = cairn_slice((const char *)rest->data + n, rest->len - n);
	return (long)n;
}

/* Give the caller of a simple write what it asked for. */
static enum cairn_code settle(struct cairn_msg *m, struct cairn_reply *r, uint64_t *revision,
			      struct cairn_error *e)
{
	enum cairn_code code = r->code;

	if (!code && revision)
		*revision = cairn_field_u64(r->fields, CAIRN_F_REVISION, 0);
	if (code && e)
		*e = r->error;
	cairn_reply_free(r);
	cairn_msg_free(m);
	return code;
}

enum cairn_code cairn_put(struct cairn *c, const char *volume, struct cairn_slice key,
			  struct cairn_slice value, uint64_t *revision, struct cairn_error *e)
{
	struct cairn_reply r = { 0 };
	struct cairn_msg m = { 0 };

	start(&m, CAIRN_OP_PUT, volume, key);
	if (value.len < PIECE) {
		cairn_msg_bytes(&m, CAIRN_F_VALUE, value);
		cairn_call(c, &m, &r);
	} else {
		cairn_put_stream(c, &m, read_slice, &value, &r);
	}
	return settle(&m, &r, revision, e);
}

enum cairn_code cairn_del(struct cairn *c, const char *volume, struct cairn_slice key, uint64_t *revision,
			  struct cairn_error *e)
{
	struct cairn_reply r = { 0 };
	struct cairn_msg m = { 0 };

	start(&m, CAIRN_OP_DELETE, volume, key);
	cairn_call(c, &m, &r);
	return settle(&m, &r, revision, e);
}
