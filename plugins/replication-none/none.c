/*
 * No replication: one node, whose order of proposals is the order of the log. A step gives each proposal the
 * next place, asks once for all of them to be made durable, and commits what is stored. So the host forms one
 * batch and one sync of everything that came in a turn.
 */
#include <errno.h>
#include <cairn/replication.h>
#include "banned.h"

struct none {
	const struct cairn_replication_host *host;
	uint64_t term;
	uint64_t last;      /* index of the newest entry */
	uint64_t committed; /* index of the newest entry that was handed to apply */
	uint64_t token;     /* of the newest persist */
	uint64_t asked;     /* last, when that persist was asked for */
};

static int none_open(const struct cairn_replication_host *host, const struct cairn_value *values,
		     void **instance, struct cairn_error *error)
{
	struct none *n = host->alloc(host->arg, sizeof(*n));

	(void)values;
	(void)error;
	if (!n)
		return -ENOMEM;
	n->host = host;
	*instance = n;
	return 0;
}

static void none_close(void *instance)
{
	struct none *n = instance;

	n->host->free(n->host->arg, n);
}

static void emit(struct none *n, const struct cairn_effect *effect)
{
	n->host->effect(n->host->arg, effect);
}

/* The log goes on behind what the engine holds; this node leads itself from the first moment. */
static void start(struct none *n, const struct cairn_event *e)
{
	n->last = n->asked = n->committed = e->durable->index;
	n->term = e->durable->index_term ? e->durable->index_term : 1;
	emit(n,
	     &(struct cairn_effect){ .kind = CAIRN_EFFECT_ROLE, .role = CAIRN_ROLE_LEADER, .term = n->term });
}

static void propose(struct none *n, const struct cairn_event *e)
{
	emit(n,
	     &(struct cairn_effect){
		     .kind = CAIRN_EFFECT_APPEND,
		     .entry = { .index = ++n->last,
				.term = n->term,
				.reference = e->reference,
				.size = e->size },
	     });
}

/* Tokens complete in order, so the newest one stands for all before it. */
static void stored(struct none *n, const struct cairn_event *e)
{
	if (e->token != n->token || n->asked == n->committed)
		return;
	emit(n,
	     &(struct cairn_effect){ .kind = CAIRN_EFFECT_APPLY,
				     .index = n->committed + 1,
				     .last = n->asked,
				     .term = n->term });
	n->committed = n->asked;
}

static int none_step(void *instance, const struct cairn_event *events, size_t count)
{
	struct none *n = instance;

	for (size_t i = 0; i < count; i++)
		switch (events[i].kind) {
		case CAIRN_EVENT_START:
			start(n, &events[i]);
			break;
		case CAIRN_EVENT_PROPOSE:
			propose(n, &events[i]);
			break;
		case CAIRN_EVENT_READ:
			emit(n,
			     &(struct cairn_effect){ .kind = CAIRN_EFFECT_READ_OK,
						     .reference = events[i].reference,
						     .index = n->committed });
			break;
		case CAIRN_EVENT_STORED:
			stored(n, &events[i]);
			break;
		default: /* it has no peers */
			break;
		}
	if (n->asked != n->last) {
		n->asked = n->last;
		emit(n,
		     &(struct cairn_effect){
			     .kind = CAIRN_EFFECT_PERSIST, .token = ++n->token, .term = n->term });
	}
	return 0;
}

static struct cairn_replication none = {
	.name = "none",
	.help = "one node, no copies: the order of the writes is the order in which they come",
	.caps = CAIRN_REPLICATION_LINEARIZABLE | CAIRN_REPLICATION_TRANSACTIONS,
	.open = none_open,
	.close = none_close,
	.step = none_step,
};

CAIRN_REPLICATION_REGISTER(none)
