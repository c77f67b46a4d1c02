/*
 * Clients of worlds with a store. They propose what the daemon's clients propose: encoded operations, with
 * the client's id, a number, and the lowest number that it waits for. What is not answered is proposed again,
 * at any node, and now and then what was answered.
 */
#include "sim.h"
#include <cairn/message.h>
#include <cairn/operations.h>
#include "banned.h"

#define BEHIND 60 /* numbers after which a client does not wait any more */

/* The lowest number that the client of O waits for. */
static uint64_t lowest(struct world *w, const struct order *o)
{
	uint64_t newest = w->clients[o->client].sequence, low = o->sequence;

	for (size_t i = w->op_count; i--;) {
		const struct order *other = w->ops[i].order;

		if (!other || other->client != o->client || other->id != o->id)
			continue;
		if (other->sequence + BEHIND < newest)
			break;
		if (w->ops[i].state == OP_OPEN && other->sequence < low)
			low = other->sequence;
	}
	return low;
}

static void keep(void **bytes, size_t *len, const struct cairn_msg *m)
{
	struct cairn_slice s = cairn_msg_slice(m);

	*bytes = malloc(s.len + 1);
	*len = s.len;
	memcpy(*bytes, s.data, s.len);
}

uint64_t order_attempt(struct world *w, struct op *op, struct node *n)
{
	struct order *o = op->order;
	struct cairn_msg m = { 0 };
	unsigned char id[16] = "client";

	if (o->attempts == ATTEMPTS)
		return 0;
	cairn_msg_start(&m, o->op);
	cairn_msg_u64(&m, CAIRN_F_TIME, 1700000000000000000ull + (node_clock(w, n) + n->wall_us) * 1000);
	if (o->op != CAIRN_OP_EXPIRE_DUE) {
		id[14] = (unsigned char)o->client;
		id[15] = o->id;
		cairn_msg_bytes(&m, CAIRN_F_CLIENT, cairn_slice(id, 16));
		cairn_msg_u64(&m, CAIRN_F_SEQUENCE, o->sequence);
		cairn_msg_u64(&m, CAIRN_F_LOWEST, lowest(w, o));
		cairn_msg_u64(&m, CAIRN_F_BORN, o->born);
	}
	cairn_msg_fields(&m, cairn_slice(o->arguments, o->arguments_len));
	keep(&o->bytes[o->attempts], &o->len[o->attempts], &m);
	cairn_msg_free(&m);
	return (uint64_t)o->attempts++ << 32 | ((uint64_t)(op - w->ops) + 1);
}

static void add_value(struct world *w, struct cairn_msg *m, size_t len)
{
	unsigned char *p = cairn_msg_room(m, CAIRN_F_VALUE, len);

	for (size_t i = 0; i < len; i++)
		p[i] = i < 8 || i % 4096 == 0 ? (unsigned char)draw(w, 256) : 0;
}

static void add_key(struct world *w, struct cairn_msg *m, unsigned field)
{
	char key[8] = "n/";

	key[2] = (char)('a' + draw(w, 4));
	cairn_msg_text(m, field, key);
}

/* Some operation on keys of which no history is kept. */
static void other_arguments(struct world *w, struct cairn_msg *m, struct order *o, struct node *n)
{
	static const unsigned ops[] = { CAIRN_OP_INCREMENT, CAIRN_OP_INCREMENT, CAIRN_OP_PUT,
					CAIRN_OP_PUT,       CAIRN_OP_APPEND,    CAIRN_OP_DELETE,
					CAIRN_OP_MOVE,      CAIRN_OP_COPY,      CAIRN_OP_SWAP,
					CAIRN_OP_PERSIST,   CAIRN_OP_PUT,       CAIRN_OP_DELETE_PREFIX };
	uint64_t stamp = 1700000000000000000ull + (node_clock(w, n) + n->wall_us) * 1000;

	o->op = behind_due(n) <= stamp ? CAIRN_OP_EXPIRE_DUE : ops[draw(w, sizeof(ops) / sizeof(ops[0]))];
	if (o->op == CAIRN_OP_INCREMENT)
		cairn_msg_text(m, CAIRN_F_KEY, "count");
	else if (o->op == CAIRN_OP_DELETE_PREFIX)
		cairn_msg_text(m, CAIRN_F_PREFIX, "n/");
	else if (o->op != CAIRN_OP_EXPIRE_DUE)
		add_key(w, m, CAIRN_F_KEY);
	if (o->op == CAIRN_OP_MOVE || o->op == CAIRN_OP_COPY || o->op == CAIRN_OP_SWAP)
		add_key(w, m, CAIRN_F_TO);
	if (o->op == CAIRN_OP_PUT || o->op == CAIRN_OP_APPEND)
		add_value(w, m, draw(w, 30) ? draw(w, 300) : 20000);
	if (o->op == CAIRN_OP_PUT && draw(w, 2))
		cairn_msg_u64(m, CAIRN_F_EXPIRY, stamp + draw(w, 2000000000));
}

/* A write, a delete or a conditional write of a key whose history is checked. */
static void write_arguments(struct world *w, struct cairn_msg *m, struct op *op)
{
	char key[8] = "k0", value[16];
	size_t mark;

	key[1] = (char)('0' + op->key);
	op->order->op = CAIRN_OP_PUT;
	if (op->linear.kind == LINEAR_WRITE && draw(w, 6) == 0) {
		op->order->op = CAIRN_OP_DELETE;
		op->linear.value = 0;
	}
	cairn_msg_text(m, CAIRN_F_KEY, key);
	snprintf(value, sizeof(value), "%llu", (unsigned long long)op->linear.value);
	if (op->linear.value)
		cairn_msg_text(m, CAIRN_F_VALUE, value);
	if (op->linear.kind != LINEAR_SWAP)
		return;
	mark = cairn_msg_open(m, CAIRN_F_GUARD);
	cairn_msg_text(m, CAIRN_F_KEY, key);
	snprintf(value, sizeof(value), "%llu", (unsigned long long)op->linear.expected);
	if (op->linear.expected)
		cairn_msg_text(m, CAIRN_F_VALUE, value);
	else
		cairn_msg_bool(m, CAIRN_F_EXISTS, false);
	cairn_msg_close(m, mark);
}

void order_new(struct world *w, struct op *op, struct node *n)
{
	struct order *o = calloc(1, sizeof(*o));
	struct cairn_msg m = { 0 };
	struct client *c;
	struct cairn_slice fields;

	op->order = o;
	o->client = (unsigned)draw(w, CLIENTS);
	c = &w->clients[o->client];
	if (!c->id)
		*c = (struct client){ .id = 1, .born = n->state.index };
	o->sequence = ++c->sequence;
	o->born = c->born;
	o->id = c->id;
	cairn_msg_start(&m, 0);
	if (op->key < KEYS)
		write_arguments(w, &m, op);
	else
		other_arguments(w, &m, o, n);
	fields = cairn_message_fields(cairn_msg_slice(&m));
	o->arguments = malloc(fields.len + 1);
	o->arguments_len = fields.len;
	if (fields.len)
		memcpy(o->arguments, fields.data, fields.len);
	cairn_msg_free(&m);
}

struct op *order_again(struct world *w)
{
	for (int tries = 0; tries < 10 && w->op_count; tries++) {
		size_t back = (size_t)draw(w, w->op_count < 80 ? w->op_count : 80);
		struct op *o = &w->ops[w->op_count - 1 - back];

		if (o->order && o->order->attempts && o->order->attempts < ATTEMPTS &&
		    o->state != OP_FAILED && o->order->op != CAIRN_OP_EXPIRE_DUE &&
		    (o->state == OP_OPEN || draw(w, 6) == 0))
			return o;
	}
	return NULL;
}

void order_forgotten(struct world *w, struct op *o, struct node *n)
{
	struct client *c = &w->clients[o->order->client];

	if (c->id == o->order->id)
		*c = (struct client){ .id = (unsigned char)(c->id + 1), .born = n->state.index };
}

void order_free(struct order *o)
{
	for (unsigned i = 0; o && i < o->attempts; i++)
		free(o->bytes[i]);
	if (o)
		free(o->arguments);
	free(o);
}
