/*
 * The request table. A row holds when the client was last heard, the lowest sequence that it may still ask
 * about, and one entry for each result from there on; of results beyond REQUESTS_RESULT_BYTES what again.c
 * needs. A client that is forgotten raises a floor: commands that were born at or below it and are
 * not in the table may have been applied, so they are not applied again and their fate is UNKNOWN.
 */
#include <errno.h>
#include <stdlib.h>
#include "requests.h"
#include "le.h"
#include "banned.h"

#define HEAD 24  /* last index, last time, lowest sequence */
#define ENTRY 20 /* sequence, revision, length, code, flags */
#define EVICT_STEP 4

/* A client in memory, in the list by age and in the chain of its slot. */
struct client {
	struct client *older, *newer, *chain;
	uint64_t last_index, last_time_ns;
	unsigned char id[16];
};

struct requests {
	struct client *oldest, *newest;
	struct client **slots; /* by the first bytes of the hash of the id */
	size_t slot_count, count;
};

struct requests *requests_new(void)
{
	return calloc(1, sizeof(struct requests));
}

void requests_free(struct requests *r)
{
	if (!r)
		return;
	while (r->oldest) {
		struct client *next = r->oldest->newer;

		free(r->oldest);
		r->oldest = next;
	}
	free(r->slots);
	free(r);
}

static struct client **slot_of(struct requests *r, const void *id)
{
	return &r->slots[hash_bytes(cairn_slice(id, 16)) & (r->slot_count - 1)];
}

static struct client *find(struct requests *r, const void *id)
{
	struct client *c = r->slot_count ? *slot_of(r, id) : NULL;

	while (c && memcmp(c->id, id, 16) != 0)
		c = c->chain;
	return c;
}

static int grow(struct requests *r)
{
	size_t n = r->slot_count ? r->slot_count * 2 : 64;
	struct client **slots = calloc(n, sizeof(*slots));

	if (!slots)
		return -ENOMEM;
	free(r->slots);
	r->slots = slots;
	r->slot_count = n;
	for (struct client *c = r->oldest; c; c = c->newer) {
		struct client **slot = slot_of(r, c->id);

		c->chain = *slot;
		*slot = c;
	}
	return 0;
}

static void unlink_age(struct requests *r, struct client *c)
{
	*(c->older ? &c->older->newer : &r->oldest) = c->newer;
	*(c->newer ? &c->newer->older : &r->newest) = c->older;
}

static void link_newest(struct requests *r, struct client *c)
{
	c->older = r->newest;
	c->newer = NULL;
	*(r->newest ? &r->newest->newer : &r->oldest) = c;
	r->newest = c;
}

/* The client ID was heard: the newest one from now on. 0 or -ENOMEM. */
static int heard(struct requests *r, const void *id, uint64_t index, uint64_t time_ns)
{
	struct client *c = find(r, id), **slot;

	if (c) {
		unlink_age(r, c);
	} else {
		if (r->count == r->slot_count && grow(r) < 0)
			return -ENOMEM;
		c = calloc(1, sizeof(*c));
		if (!c)
			return -ENOMEM;
		memcpy(c->id, id, 16);
		slot = slot_of(r, id);
		c->chain = *slot;
		*slot = c;
		r->count++;
	}
	c->last_index = index;
	c->last_time_ns = time_ns;
	link_newest(r, c);
	return 0;
}

static void forget(struct requests *r, struct client *c)
{
	struct client **at = slot_of(r, c->id);

	while (*at != c)
		at = &(*at)->chain;
	*at = c->chain;
	unlink_age(r, c);
	r->count--;
	free(c);
}

/* An entry of a row, in place. */
struct entry {
	uint64_t sequence, revision;
	uint8_t code, flags;
	struct cairn_slice bytes; /* fields of the answer, or the sentence of the error */
	struct cairn_slice all;
};

/* Take the first entry off REST. False at the end, or where the rest is damaged (REST then keeps it). */
static bool entry_next(struct cairn_slice *rest, struct entry *e)
{
	const unsigned char *p = rest->data;
	size_t len;

	if (rest->len < ENTRY)
		return false;
	len = le16_get(p + 16);
	if (rest->len < ENTRY + len)
		return false;
	*e = (struct entry){ .sequence = le64_get(p),
			     .revision = le64_get(p + 8),
			     .code = p[18],
			     .flags = p[19],
			     .bytes = cairn_slice(p + ENTRY, len),
			     .all = cairn_slice(p, ENTRY + len) };
	*rest = cairn_slice(p + ENTRY + len, rest->len - ENTRY - len);
	return true;
}

static struct cairn_slice entries_of(struct cairn_slice body)
{
	return cairn_slice((const char *)body.data + HEAD, body.len - HEAD);
}

int requests_digest(struct hash *sum, struct cairn_slice key, struct cairn_slice body)
{
	struct cairn_slice rest;
	struct entry e;

	if (body.len < HEAD)
		return -EUCLEAN;
	hash_add(sum, hash_two(key, cairn_slice(body.data, HEAD)));
	for (rest = entries_of(body); entry_next(&rest, &e);)
		hash_add(sum, hash_two(key, e.all));
	return rest.len ? -EUCLEAN : 0;
}

static int by_index(const void *a, const void *b)
{
	const struct client *x = a, *y = b;

	return (x->last_index > y->last_index) - (x->last_index < y->last_index);
}

/* Read all clients into *LIST (the caller frees it), oldest first. 0 or -errno. */
static int read_clients(struct store *s, struct client **list, size_t *count)
{
	const struct engine *engine = s->engine;
	static const unsigned char from = ROW_REQUEST, to = ROW_REQUEST + 1;
	struct cairn_slice key, body;
	void *it;
	int e;

	*list = calloc(s->meta.clients + 1, sizeof(**list));
	if (!*list)
		return -ENOMEM;
	*count = 0;
	e = engine->ops.iter_open(engine->handle, NULL, cairn_slice(&from, 1), cairn_slice(&to, 1), 0, &it);
	while (e == 0) {
		struct client *c = *list + *count;

		key.data = NULL;
		e = engine->ops.iter_next(it, &key, &body);
		if (e < 0 || !key.data)
			break;
		if (s->checksums)
			e = row_verify(key, body, &body);
		if (e < 0 || key.len != ROW_REQUEST_KEY || body.len < HEAD || *count == s->meta.clients) {
			e = -EUCLEAN;
			break;
		}
		memcpy(c->id, (const char *)key.data + 1, 16);
		c->last_index = le64_get(body.data);
		c->last_time_ns = le64_get((const char *)body.data + 8);
		++*count;
	}
	engine->ops.iter_close(it);
	qsort(*list, *count, sizeof(**list), by_index);
	return e == 0 && *count != s->meta.clients ? -EUCLEAN : e;
}

enum cairn_code requests_load(struct store *s, struct cairn_error *error)
{
	struct client *list = NULL;
	size_t count = 0;
	int e;

	if (!s->meta.clients)
		return CAIRN_OK;
	e = read_clients(s, &list, &count);
	for (size_t i = 0; i < count && e == 0; i++)
		e = heard(s->requests, list[i].id, list[i].last_index, list[i].last_time_ns);
	free(list);
	if (e == -EUCLEAN)
		return cairn_fail(error, CAIRN_E_CORRUPT, "the request rows of the store are damaged");
	return e < 0
		? cairn_fail(error, cairn_error_from_errno(-e), "reading the request rows: %s", strerror(-e))
		: CAIRN_OK;
}

enum cairn_code requests_reload(struct store *s)
{
	requests_free(s->requests);
	s->requests = requests_new();
	if (!s->requests)
		return cairn_fail(&s->stop, CAIRN_E_INTERNAL, "no memory left for the table of clients");
	return requests_load(s, &s->stop);
}

static int evict_one(struct work *w, struct client *c)
{
	struct meta *m = &w->s->meta;
	struct cairn_slice body;
	struct hash terms = { 0 };
	struct row row;
	int e;

	e = view_row(w->s, ROW_REQUEST, cairn_slice(c->id, 16), &row);
	if (e == 0)
		e = view_get(w->s, &row, &body);
	if (e == -ENOENT || (e == 0 && requests_digest(&terms, row.key, body) < 0))
		return view_damaged(w->s, row.key);
	if (e == 0)
		e = view_delete(w->s, &row);
	if (e < 0)
		return e;
	hash_subtract(&m->rows, terms);
	m->clients--;
	m->request_bytes -= body.len;
	if (c->last_index > m->request_floor)
		m->request_floor = c->last_index;
	forget(w->s->requests, c);
	return 0;
}

enum cairn_code requests_evict(struct work *w)
{
	const struct meta *m = &w->s->meta;

	for (unsigned i = 0; i < EVICT_STEP; i++) {
		struct client *c = w->s->requests->oldest;

		if (!c ||
		    (m->clients <= REQUESTS_CLIENTS_MAX && m->request_bytes <= REQUESTS_BYTES_MAX &&
		     c->last_time_ns + REQUESTS_IDLE_NS > m->clock_ns))
			break;
		if (evict_one(w, c) < 0)
			return work_stopped(w);
	}
	return CAIRN_OK;
}

/* Give the result E again. */
static enum cairn_code again(struct work *w, const struct args *a, const struct entry *e)
{
	if (!e->code && e->flags & RESULT_SHORTENED)
		return result_again(w, a, e->bytes, e->flags);
	if (!e->code) {
		cairn_msg_fields(w->answer, e->bytes);
		return CAIRN_OK;
	}
	cairn_fail(w->error, (enum cairn_code)e->code, "%.*s", (int)e->bytes.len,
		   (const char *)e->bytes.data);
	w->error->revision = e->revision;
	return (enum cairn_code)e->code;
}

static enum cairn_code unknown(struct work *w, const char *why)
{
	return cairn_fail(w->error, CAIRN_E_UNKNOWN,
			  "the command was not applied now; whether it was before is not known: %s", why);
}

enum cairn_code requests_begin(struct work *w, unsigned op, const struct args *a, struct request *q,
			       bool *done)
{
	struct cairn_slice id = a->body[CAIRN_F_CLIENT], rest;
	struct entry e;
	int r;

	*done = true;
	*q = (struct request){ .sequence = args_u64(a, CAIRN_F_SEQUENCE, 0),
			       .born = args_u64(a, CAIRN_F_BORN, 0) };
	q->lowest = args_u64(a, CAIRN_F_LOWEST, 0);
	if (id.len != 16 || !args_has(a, CAIRN_F_SEQUENCE) || q->lowest > q->sequence)
		return cairn_fail(w->error, CAIRN_E_INVALID,
				  "a command with a client has a sequence, and the lowest outstanding one is "
				  "not above it");
	r = view_row(w->s, ROW_REQUEST, id, &q->row);
	if (r == 0)
		r = view_get(w->s, &q->row, &q->body);
	q->known = r == 0;
	if (r == 0 && q->body.len < HEAD)
		r = view_damaged(w->s, q->row.key);
	if (r < 0 && r != -ENOENT)
		return work_stopped(w);
	if (q->known) {
		uint64_t lowest = le64_get((const char *)q->body.data + 16);

		for (rest = entries_of(q->body); entry_next(&rest, &e);)
			if (e.sequence == q->sequence && e.flags & RESULT_SHORTENED &&
			    result_is_read(op, a)) {
				q->known_result = true;
				*done = false;
				return CAIRN_OK;
			} else if (e.sequence == q->sequence) {
				return again(w, a, &e);
			}
		if (q->sequence < lowest)
			return unknown(w, "its result is no longer kept");
		q->lowest = q->lowest > lowest ? q->lowest : lowest;
	}
	if (w->s->meta.request_floor && q->born <= w->s->meta.request_floor)
		return unknown(w, "its client was idle for too long, or there are too many clients");
	*done = false;
	return CAIRN_OK;
}

/* The entry for the result of this command into P, which has room; returns its length, 0 where the store has
 * stopped. */
static size_t make_entry(struct work *w, const struct request *q, enum cairn_code code, unsigned char *p)
{
	struct cairn_slice bytes = cairn_message_fields(cairn_msg_slice(w->answer));
	unsigned flags = 0;

	if (code) {
		bytes = cairn_str(w->error->message);
		bytes.len = bytes.len < REQUESTS_RESULT_BYTES ? bytes.len : REQUESTS_RESULT_BYTES;
	} else if (bytes.len > REQUESTS_RESULT_BYTES && result_reduce(w, &bytes, &flags)) {
		return 0;
	}
	memcpy(p + ENTRY, bytes.data, bytes.len);
	le64_put(p, q->sequence);
	le64_put(p + 8, code ? w->error->revision : w->s->meta.revision);
	le16_put(p + 16, (uint16_t)bytes.len);
	p[18] = (uint8_t)code;
	p[19] = (uint8_t)flags;
	return ENTRY + bytes.len;
}

/* The sequence to drop where a client has as many results as are kept: the lowest. 0: none is to go. */
static uint64_t one_too_many(struct cairn_slice rest, uint64_t lowest)
{
	uint64_t least = UINT64_MAX;
	struct entry e;
	unsigned n = 0;

	while (entry_next(&rest, &e))
		if (e.sequence >= lowest) {
			n++;
			least = e.sequence < least ? e.sequence : least;
		}
	return n >= REQUESTS_RESULTS_MAX ? least : 0;
}

enum cairn_code requests_end(struct work *w, const struct request *q, uint64_t index, enum cairn_code code)
{
	struct meta *m = &w->s->meta;
	unsigned char *body =
		view_alloc(w->s, HEAD + ENTRY + 2 * REQUESTS_RESULT_BYTES + (q->known ? q->body.len : 0));
	struct hash was = { 0 }, is = { 0 };
	uint64_t lowest = q->lowest, drop;
	size_t n = HEAD, made;

	if (!body)
		return work_stopped(w);
	if (q->known) {
		struct cairn_slice rest = entries_of(q->body);
		struct entry e;

		drop = one_too_many(rest, lowest);
		lowest = drop ? drop + 1 : lowest;
		while (entry_next(&rest, &e))
			if (e.sequence >= lowest) {
				memcpy(body + n, e.all.data, e.all.len);
				n += e.all.len;
			} else {
				hash_add(&was, hash_two(q->row.key, e.all));
			}
		hash_add(&was, hash_two(q->row.key, cairn_slice(q->body.data, HEAD)));
		m->request_bytes -= q->body.len;
	} else {
		m->clients++;
	}
	made = make_entry(w, q, code, body + n);
	if (!made)
		return work_stopped(w);
	hash_add(&is, hash_two(q->row.key, cairn_slice(body + n, made)));
	n += made;
	le64_put(body, index);
	le64_put(body + 8, m->clock_ns);
	le64_put(body + 16, lowest);
	hash_add(&is, hash_two(q->row.key, cairn_slice(body, HEAD)));
	hash_subtract(&m->rows, was);
	hash_add(&m->rows, is);
	m->request_bytes += n;
	if (view_put(w->s, &q->row, cairn_slice(body, n)) < 0)
		return work_stopped(w);
	if (heard(w->s->requests, (const char *)q->row.key.data + 1, index, m->clock_ns) < 0) {
		cairn_fail(&w->s->stop, CAIRN_E_INTERNAL, "no memory left for the table of clients");
		return work_stopped(w);
	}
	return CAIRN_OK;
}
