#include "linear.h"
#include <stdlib.h>
#include <string.h>
#include "banned.h"

#define EFFORT 2000000 /* configurations that are looked at, at most */

/* A call or its answer, in the order of time. */
struct event {
	struct event *next, *previous;
	struct event *answer; /* of a call; NULL at an answer */
	uint64_t time;
	size_t op;
};

/* What was tried: which operations have happened, and the value then. */
struct cache {
	uint64_t **at; /* words of the set, then the value */
	size_t slots, used, words;
};

static bool cache_add(struct cache *c, const uint64_t *set, uint64_t value)
{
	uint64_t h = value * 0x9e3779b97f4a7c15ull;
	uint64_t *copy;
	size_t i;

	for (size_t w = 0; w < c->words; w++)
		h = (h ^ set[w]) * 0xff51afd7ed558ccdull, h ^= h >> 29;
	if (2 * c->used >= c->slots) {
		struct cache big = { calloc(c->slots * 2, sizeof(*c->at)), c->slots * 2, 0, c->words };

		for (size_t k = 0; k < c->slots; k++)
			if (c->at[k]) {
				cache_add(&big, c->at[k], c->at[k][c->words]);
				free(c->at[k]);
			}
		free(c->at);
		*c = big;
	}
	for (i = h % c->slots; c->at[i]; i = (i + 1) % c->slots)
		if (!memcmp(c->at[i], set, c->words * 8) && c->at[i][c->words] == value)
			return false;
	copy = malloc((c->words + 1) * 8);
	memcpy(copy, set, c->words * 8);
	copy[c->words] = value;
	c->at[i] = copy;
	c->used++;
	return true;
}

static int by_time(const void *a, const void *b)
{
	const struct event *x = a, *y = b;

	if (x->time != y->time)
		return x->time < y->time ? -1 : 1;
	return !x->answer - !y->answer; /* a call that comes with an answer was there before it */
}

/* Whether OP may happen where the value is *VALUE, which it changes. */
static bool apply(const struct linear_op *op, uint64_t *value)
{
	bool known = op->answer != UINT64_MAX;

	if (op->kind == LINEAR_READ)
		return !known || op->value == *value;
	if (op->kind == LINEAR_WRITE) {
		*value = op->value;
		return true;
	}
	if (known && op->done != (*value == op->expected))
		return false;
	if (*value == op->expected)
		*value = op->value;
	return true;
}

static void lift(struct event *call)
{
	call->previous->next = call->next;
	call->next->previous = call->previous;
	call->answer->previous->next = call->answer->next;
	if (call->answer->next)
		call->answer->next->previous = call->answer->previous;
}

static void unlift(struct event *call)
{
	call->answer->previous->next = call->answer;
	if (call->answer->next)
		call->answer->next->previous = call->answer;
	call->previous->next = call;
	call->next->previous = call;
}

/* The list of events behind HEAD; AT has room for two an operation. */
static void line_up(const struct linear_op *ops, size_t count, struct event *at, struct event *head)
{
	struct event **calls = calloc(count + 1, sizeof(*calls)), *last = head;

	for (size_t i = 0; i < count; i++) {
		at[2 * i] = (struct event){ .time = ops[i].call, .op = i, .answer = head };
		at[2 * i + 1] = (struct event){ .time = ops[i].answer, .op = i };
	}
	qsort(at, 2 * count, sizeof(*at), by_time);
	for (size_t i = 0; i < 2 * count; i++) {
		last->next = &at[i];
		at[i].previous = last;
		last = &at[i];
		if (at[i].answer)
			calls[at[i].op] = &at[i];
		else
			calls[at[i].op]->answer = &at[i];
	}
	free(calls);
}

/* Whether all that is left behind HEAD has no answer: then it need not have happened. */
static bool is_over(const struct event *head)
{
	for (const struct event *e = head->next; e; e = e->next)
		if (!e->answer && e->time != UINT64_MAX)
			return false;
	return true;
}

int linear_check(const struct linear_op *ops, size_t count)
{
	struct event *at = calloc(2 * count + 1, sizeof(*at)), head = { 0 }, *e;
	struct cache seen = { calloc(64, sizeof(*seen.at)), 64, 0, (count + 63) / 64 };
	uint64_t *set = calloc(seen.words + 1, 8), value = 0;
	struct {
		struct event *call;
		uint64_t value;
	} *stack = calloc(count + 1, sizeof(*stack));
	size_t depth = 0;
	int result = -1;

	line_up(ops, count, at, &head);
	e = head.next;
	while (seen.used < EFFORT) {
		if (!e || is_over(&head)) {
			result = 1;
			break;
		}
		if (e->answer) {
			uint64_t next = value;

			set[e->op / 64] |= 1ull << e->op % 64;
			if (apply(&ops[e->op], &next) && cache_add(&seen, set, next)) {
				stack[depth].call = e;
				stack[depth++].value = value;
				value = next;
				lift(e);
				e = head.next;
				continue;
			}
			set[e->op / 64] &= ~(1ull << e->op % 64);
			e = e->next;
			continue;
		}
		/* An answer whose operation has not happened yet: go back. */
		if (!depth) {
			result = 0;
			break;
		}
		e = stack[--depth].call;
		value = stack[depth].value;
		set[e->op / 64] &= ~(1ull << e->op % 64);
		unlift(e);
		e = e->next;
	}
	for (size_t i = 0; i < seen.slots; i++)
		free(seen.at[i]);
	free(seen.at);
	free(set);
	free(stack);
	free(at);
	return result;
}
