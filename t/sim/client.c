/* Clients: each operation is called once, at some node, and ends with an answer, with a refusal that says
 * that it did not happen, or never. */
#include "sim.h"
#include "banned.h"

/* The upper half of a reference says which attempt it is. */
struct op *op_of(struct world *w, uint64_t reference)
{
	uint64_t number = (uint32_t)reference;

	return number && number <= w->op_count ? &w->ops[number - 1] : NULL;
}

void client_answer(struct world *w, uint64_t reference, bool done, uint64_t value)
{
	struct op *o = op_of(w, reference);

	if (!o || o->state != OP_OPEN)
		return;
	o->state = done ? OP_DONE : OP_FAILED;
	if (w->quiet && reference <= 100)
		world_trace(w, "operation %llu is done at node %u%s", (unsigned long long)reference, o->node,
			    o->is_read ? " (a read)" : "");
	o->linear.answer = ++w->order;
	if (o->linear.kind == LINEAR_READ)
		o->linear.value = value;
	else if (o->linear.kind == LINEAR_SWAP)
		o->linear.done = value == o->linear.expected;
}

void client_refused(struct world *w, uint64_t reference, bool never)
{
	struct op *o = op_of(w, reference);

	if (w->quiet && reference <= 100 && o && o->state == OP_OPEN)
		world_trace(w, "operation %llu %s", (unsigned long long)reference,
			    never ? "is refused: it did not happen" : "may or may not have happened");
	/* Where it was proposed more than once, another attempt may do it. */
	if (o && o->state == OP_OPEN && never && (!o->order || o->order->attempts == 1))
		o->state = OP_FAILED;
}

uint64_t client_apply(struct world *w, struct state *s, uint64_t reference)
{
	struct op *o = op_of(w, reference);
	uint64_t found;

	if (!o)
		return 0;
	found = s->value[o->key];
	if (o->linear.kind == LINEAR_WRITE || (o->linear.kind == LINEAR_SWAP && found == o->linear.expected))
		s->value[o->key] = o->linear.value;
	s->hash = mix(s->hash, s->value[o->key] + o->key);
	return found;
}

static struct op *new_op(struct world *w, unsigned key)
{
	struct op *o;

	if (w->op_count == w->op_cap) {
		w->op_cap = w->op_cap ? w->op_cap * 2 : 256;
		w->ops = realloc(w->ops, w->op_cap * sizeof(*w->ops));
	}
	o = &w->ops[w->op_count++];
	*o = (struct op){ .key = key, .linear = { .call = ++w->order, .answer = UINT64_MAX } };
	o->linear.value = w->op_count;
	return o;
}

void client_put(struct world *w, struct node *n)
{
	struct op *o = n ? new_op(w, 0) : NULL;

	if (!o)
		return;
	o->linear.kind = LINEAR_WRITE;
	o->node = n->id;
	node_step(w, n,
		  &(struct cairn_event){ .kind = CAIRN_EVENT_PROPOSE, .reference = w->op_count, .size = 100 },
		  1);
}

void client_read(struct world *w, struct node *n)
{
	for (unsigned key = 0; key < KEYS && n->alive; key++) {
		struct op *o = new_op(w, key);

		o->is_read = true;
		o->node = n->id;
		node_step(w, n, &(struct cairn_event){ .kind = CAIRN_EVENT_READ, .reference = w->op_count },
			  1);
	}
}

/* Whoever is asked hands writes on to the leader that the module names. */
static struct node *writer(struct world *w, struct node *n)
{
	struct node *leader = &w->nodes[n->leader];

	return n->leader && leader->alive && !w->blocked[n->id][n->leader] && !leader->paused ? leader : n;
}

static void propose(struct world *w, struct node *n, struct op *o)
{
	uint64_t reference = (uint64_t)(o - w->ops) + 1;

	if (w->options.store)
		reference = order_attempt(w, o, n);
	o->node = n->id;
	if (reference)
		node_step(w, n,
			  &(struct cairn_event){
				  .kind = CAIRN_EVENT_PROPOSE, .reference = reference, .size = 100 },
			  1);
}

/* In worlds with a store: something is proposed again, or something that is no plain write. */
static bool other_turn(struct world *w, struct node *n)
{
	struct op *o;

	if (!w->options.store || draw(w, 3))
		return false;
	n = writer(w, n);
	if (draw(w, 2)) {
		o = order_again(w);
		if (o)
			propose(w, n, o);
		return true;
	}
	o = new_op(w, KEYS);
	order_new(w, o, n);
	propose(w, n, o);
	return true;
}

void client_turn(struct world *w)
{
	struct node *n = &w->nodes[1 + draw(w, NODES)];
	unsigned key = (unsigned)draw(w, KEYS), open = 0, on_key = 0;
	struct op *o;

	world_at(w, (200 + draw(w, 4000)) * w->options.pace, CLIENT, 0, NULL);
	for (size_t i = 0; i < w->op_count; i++) {
		on_key += w->ops[i].key == key && w->ops[i].state != OP_FAILED;
		open += w->ops[i].key == key && w->ops[i].state == OP_OPEN && !w->ops[i].is_read;
	}
	if (w->quiet || !n->alive || n->paused || other_turn(w, n) || on_key > 400 || open > 14)
		return;
	o = new_op(w, key);
	switch (draw(w, 4)) {
	case 0:
	case 1:
		o->linear.kind = LINEAR_READ;
		o->is_read = true;
		o->node = n->id;
		node_step(w, n, &(struct cairn_event){ .kind = CAIRN_EVENT_READ, .reference = w->op_count },
			  1);
		return;
	case 2:
		o->linear.kind = LINEAR_SWAP;
		o->linear.expected = w->options.store ? behind_read(w, n, key) : n->state.value[key];
		break;
	default:
		o->linear.kind = LINEAR_WRITE;
	}
	n = writer(w, n);
	if (w->options.store)
		order_new(w, o, n);
	propose(w, n, o);
}
