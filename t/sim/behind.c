/*
 * The daemon's store behind each node, over engine-memory, which is lost with the node: it begins again from
 * the stream of its last snapshot, and applies its log again. Replicas must have the same results and digests
 * at the same index, whatever the batches; a command that is repeated must get the answer that it got.
 */
#include "sim.h"
#include <cairn/message.h>
#include <cairn/operations.h>
#include "hash.h"
#include "loader.h"
#include "snapshot.h"
#include "store.h"
#include "banned.h"

#define BATCH 8

struct stream {
	struct buffer bytes;
	struct stream *next;
};

struct behind {
	struct engine engine;
	struct store *store;
	struct store_command commands[BATCH];
	struct cairn_msg answers[BATCH];
	struct cairn_error errors[BATCH];
	uint64_t reference[BATCH];
	size_t count, most; /* commands of the batch under way */
};

/* What came of an index, on whichever node was there first. */
struct applied {
	uint64_t result, reference;
	unsigned char digest[16];
	bool has_digest;
};

struct shelf {
	struct loader *loader;
	const struct plugin *engine;
	struct stream *streams;
	struct applied *applied; /* by index */
	uint64_t applied_cap, applied_to;
	uint64_t increments;
};

static const struct store_settings settings = { .key_max = STORE_KEY_MAX,
						.value_limit = 1 << 20,
						.folders = true,
						.history = 2,
						.history_age_ns = 100000000 };

void behind_begin(struct world *w)
{
	struct cairn_error error;

	w->shelf = calloc(1, sizeof(*w->shelf));
	w->shelf->loader = loader_new(NULL);
	if (loader_get(w->shelf->loader, PLUGIN_ENGINE, "memory", &w->shelf->engine, &error)) {
		fprintf(stderr, "run: %s\n", error.message);
		exit(2);
	}
}

static struct applied *applied_at(struct shelf *s, uint64_t index)
{
	if (index >= s->applied_cap) {
		size_t cap = index * 2 + 256;

		s->applied = realloc(s->applied, cap * sizeof(*s->applied));
		memset(s->applied + s->applied_cap, 0, (cap - s->applied_cap) * sizeof(*s->applied));
		s->applied_cap = cap;
	}
	return &s->applied[index];
}

/* The store of N has one digest at INDEX, now and always. */
static void same_digest(struct world *w, struct node *n, uint64_t index)
{
	struct applied *a = applied_at(w->shelf, index);
	struct store_facts facts;

	store_facts(n->behind->store, &facts);
	if (a->has_digest && memcmp(a->digest, facts.digest, 16) != 0)
		world_fail(w, "store: node %u has another digest at entry %llu", n->id,
			   (unsigned long long)index);
	memcpy(a->digest, facts.digest, 16);
	a->has_digest = true;
}

/* Fill ENGINE with the first BYTES of STREAM, in pieces; a store where that is all of it. */
static enum cairn_code load(struct world *w, struct engine *engine, const struct state *s, size_t bytes,
			    struct cairn_error *error)
{
	const struct cairn_position at = { s->index, s->term };
	struct cairn_slice all = buffer_slice(&s->stream->bytes);
	struct store_load *l;
	enum cairn_code code = store_load_open(&l, engine, error);
	size_t piece = 1 + (size_t)draw(w, 3000);

	for (size_t i = 0; !code && i < bytes; i += piece)
		code = store_load_take(
			l, cairn_slice((const char *)all.data + i, bytes - i < piece ? bytes - i : piece),
			error);
	if (!code && bytes == all.len)
		code = store_load_finish(l, &at, error);
	store_load_close(l);
	return code;
}

static void open_behind(struct world *w, struct node *n, const struct state *s)
{
	struct behind *b = calloc(1, sizeof(*b));
	struct cairn_error error;
	enum cairn_code code = engine_open(&b->engine, w->shelf->engine->engine, "/", NULL, 0, &error);

	if (!code && s->stream)
		code = load(w, &b->engine, s, s->stream->bytes.len, &error);
	if (!code)
		code = store_open(&b->store, &b->engine, &settings, &error);
	n->behind = b;
	if (code)
		world_fail(w, "store: node %u cannot open its store: %s", n->id, error.message);
	else
		same_digest(w, n, s->index);
}

void behind_start(struct world *w, struct node *n)
{
	open_behind(w, n, &n->state);
	n->state.stream = NULL;
}

void behind_stop(struct node *n)
{
	struct behind *b = n->behind;

	if (!b)
		return;
	if (b->store)
		store_close(b->store);
	engine_close(&b->engine);
	for (size_t i = 0; i < BATCH; i++)
		cairn_msg_free(&b->answers[i]);
	free(b);
	n->behind = NULL;
}

bool behind_install(struct world *w, struct node *n, const struct state *s)
{
	struct engine staging;
	struct cairn_error error;

	if (w->faults && w->options.faults >> FAULT_crash & 1 && draw(w, 6) == 0) {
		/* It dies while it takes the stream: what was staged is gone, and nothing else. */
		if (engine_open(&staging, w->shelf->engine->engine, "/", NULL, 0, &error))
			return false;
		if (load(w, &staging, s, (size_t)draw(w, s->stream->bytes.len), &error))
			world_fail(w, "store: node %u cannot take a snapshot: %s", n->id, error.message);
		engine_close(&staging);
		return false;
	}
	behind_stop(n);
	open_behind(w, n, s);
	return true;
}

const struct stream *behind_save(struct world *w, struct node *n)
{
	struct stream *s = calloc(1, sizeof(*s));
	struct store_save *save;
	struct cairn_error error;
	bool end = false;
	enum cairn_code code =
		store_save_open(&save, n->behind->store, cairn_slice(NULL, 0), draw(w, 2), NULL, &error);

	same_digest(w, n, n->state.index);
	s->next = w->shelf->streams;
	w->shelf->streams = s;
	if (!code)
		while (!end && !code)
			code = store_save_next(save, &s->bytes, &end, &error);
	if (code)
		world_fail(w, "store: node %u cannot make a snapshot: %s", n->id, error.message);
	else
		store_save_close(save);
	return s;
}

/* --- results --- */

/* The first time that anybody applies INDEX: is it what the operation must get? */
static void check_first(struct world *w, struct node *n, uint64_t index, struct op *op, int code,
			uint64_t revision)
{
	struct order *o = op->order;

	if (o->op == CAIRN_OP_EXPIRE_DUE || code == CAIRN_E_UNKNOWN)
		return;
	if (o->first) {
		w->repeats++;
		if (o->code != code || o->revision != revision)
			world_fail(w,
				   "retry: operation %zu ended with code %d and revision %llu in entry %llu, "
				   "and with %d and %llu in entry %llu, by node %u",
				   (size_t)(op - w->ops) + 1, o->code, (unsigned long long)o->revision,
				   (unsigned long long)o->first, code, (unsigned long long)revision,
				   (unsigned long long)index, n->id);
		return;
	}
	o->first = index;
	o->code = code;
	o->revision = revision;
	w->shelf->increments += o->op == CAIRN_OP_INCREMENT && !code;
	if (op->key < KEYS && code && code != CAIRN_E_NOT_FOUND && code != CAIRN_E_CONFLICT)
		world_fail(w, "store: operation %zu ends with code %d", (size_t)(op - w->ops) + 1, code);
}

static void finish(struct world *w, struct node *n, size_t i)
{
	struct behind *b = n->behind;
	const struct store_command *c = &b->commands[i];
	struct cairn_slice fields = cairn_message_fields(cairn_msg_slice(&b->answers[i]));
	uint64_t index = c->position.index, revision = 0, result = (uint64_t)c->code + 1;
	struct applied *a = applied_at(w->shelf, index);
	struct op *op = op_of(w, b->reference[i]);

	if (!c->code) {
		revision = cairn_field_u64(fields, CAIRN_F_REVISION, 0);
		result = mix(result, hash_bytes(fields));
	}
	if (a->result && (a->result != result || a->reference != b->reference[i]))
		world_fail(w, "store: node %u gets another result of entry %llu", n->id,
			   (unsigned long long)index);
	a->result = result;
	a->reference = b->reference[i];
	if (index > w->shelf->applied_to) {
		w->shelf->applied_to = index;
		check_first(w, n, index, op, (int)c->code, revision);
	}
	if (op->node != n->id || op->state != OP_OPEN)
		return;
	if (c->code == CAIRN_E_UNKNOWN)
		order_forgotten(w, op, n);
	else
		client_answer(w, b->reference[i], true,
			      c->code == CAIRN_E_CONFLICT ? op->linear.expected + 1 : op->linear.expected);
}

void behind_flush(struct world *w, struct node *n)
{
	struct behind *b = n->behind;
	struct cairn_error error;
	enum cairn_code code;
	bool more;

	if (w->failure[0])
		b->count = 0;
	if (!b->count)
		return;
	code = store_apply(b->store, b->commands, b->count, false, &error);
	if (code) {
		world_fail(w, "store: node %u cannot apply: %s", n->id, error.message);
		return;
	}
	same_digest(w, n, b->commands[b->count - 1].position.index);
	for (size_t i = 0; i < b->count; i++)
		finish(w, n, i);
	b->count = 0;
	if (draw(w, 8) == 0 && store_reclaim(b->store, w->now * 1000, false, &more, &error))
		world_fail(w, "store: node %u cannot reclaim: %s", n->id, error.message);
}

void behind_apply(struct world *w, struct node *n, uint64_t index, const struct record *r)
{
	struct behind *b = n->behind;
	const struct order *o = op_of(w, r->reference)->order;
	unsigned attempt = (unsigned)(r->reference >> 32);

	if (!b->count)
		b->most = draw(w, 2) ? 1 : 1 + (size_t)draw(w, BATCH);
	b->reference[b->count] = r->reference;
	b->commands[b->count] =
		(struct store_command){ .position = { index, r->term },
					.message = cairn_slice(o->bytes[attempt], o->len[attempt]),
					.answer = &b->answers[b->count],
					.error = &b->errors[b->count] };
	if (++b->count == b->most)
		behind_flush(w, n);
}

/* --- reading --- */

/* KEY as a number; 0 where there is none. */
static uint64_t number_at(struct world *w, struct node *n, const char *key)
{
	struct cairn_msg ask = { 0 }, answer = { 0 };
	struct cairn_slice value;
	struct cairn_error error;
	enum cairn_code code;
	char text[32] = "";

	cairn_msg_start(&ask, 0);
	cairn_msg_text(&ask, CAIRN_F_KEY, key);
	cairn_msg_start(&answer, 0);
	code = store_get(n->behind->store, cairn_message_fields(cairn_msg_slice(&ask)), 0, &answer, NULL,
			 &error);
	if (code && code != CAIRN_E_NOT_FOUND)
		world_fail(w, "store: node %u cannot read: %s", n->id, error.message);
	if (!code &&
	    cairn_field_find(cairn_message_fields(cairn_msg_slice(&answer)), CAIRN_F_VALUE, &value) &&
	    value.len < sizeof(text))
		memcpy(text, value.data, value.len);
	cairn_msg_free(&ask);
	cairn_msg_free(&answer);
	return strtoull(text, NULL, 10);
}

uint64_t behind_read(struct world *w, struct node *n, unsigned key)
{
	char name[8] = "k0";

	name[1] = (char)('0' + key);
	return number_at(w, n, name);
}

uint64_t behind_due(struct node *n)
{
	return n->behind ? store_due_ns(n->behind->store) : UINT64_MAX;
}

void behind_check(struct world *w)
{
	struct cairn_error error;

	for (unsigned i = 1; i <= NODES; i++) {
		struct node *n = &w->nodes[i];

		if (!n->alive || !n->behind)
			continue;
		if (store_check_rows(n->behind->store, &error))
			world_fail(w, "store: node %u: %s", i, error.message);
		if (n->state.index >= w->shelf->applied_to &&
		    number_at(w, n, "count") != w->shelf->increments)
			world_fail(w, "store: node %u has counted %llu, and %llu were applied", i,
				   (unsigned long long)number_at(w, n, "count"),
				   (unsigned long long)w->shelf->increments);
	}
}

void behind_end(struct world *w)
{
	struct shelf *s = w->shelf;

	if (!s)
		return;
	while (s->streams) {
		struct stream *next = s->streams->next;

		buffer_free(&s->streams->bytes);
		free(s->streams);
		s->streams = next;
	}
	free(s->applied);
	loader_free(s->loader);
	free(s);
}
