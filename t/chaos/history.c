/*
 * A register's history goes to the check of the simulator (linear.c). A log, to which everybody appends
 * tokens that nobody else appends, needs no search: the order is there to be read in the end, and every
 * answer either fits it or does not.
 */
#include "history.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "linear.h"
#include "banned.h"

void history_add(struct history *h, const struct record *r)
{
	pthread_mutex_lock(&h->lock);
	if (h->count == h->room) {
		h->room = h->room ? 2 * h->room : 4096;
		h->records = realloc(h->records, h->room * sizeof(*h->records));
		if (!h->records)
			abort();
	}
	h->records[h->count++] = *r;
	pthread_mutex_unlock(&h->lock);
}

static bool is_register(const struct record *r)
{
	return r->kind <= RECORD_SWAP;
}

static int by_key(const void *a, const void *b)
{
	const struct record *x = a, *y = b;

	if (is_register(x) != is_register(y))
		return is_register(x) ? -1 : 1;
	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	return (x->call > y->call) - (x->call < y->call);
}

static void show(const struct record *at, size_t count, uint64_t start)
{
	static const char *const names[] = { "read", "write", "swap", "append", "scan" };

	for (size_t i = 0; i < count; i++) {
		const struct record *r = &at[i];

		printf("#   client %u, n%u: %10" PRIu64 " .. ", r->client, r->node + 1,
		       (r->call - start) / 1000);
		if (r->answer == NEVER)
			printf("   unknown");
		else
			printf("%10" PRIu64, (r->answer - start) / 1000);
		printf(" us: %s %" PRIu64, names[r->kind], r->value);
		if (r->kind == RECORD_SWAP)
			printf(" where %" PRIu64 " is%s", r->expected,
			       r->answer == NEVER ? ""
				       : r->done  ? ": done"
						  : ": conflict");
		printf("\n");
	}
}

static int check_one(const struct record *at, size_t count)
{
	struct linear_op *ops = calloc(count, sizeof(*ops));
	int result;

	if (!ops)
		abort();
	for (size_t i = 0; i < count; i++)
		ops[i] = (struct linear_op){ .kind = at[i].kind == RECORD_READ    ? LINEAR_READ
						     : at[i].kind == RECORD_WRITE ? LINEAR_WRITE
										  : LINEAR_SWAP,
					     .call = at[i].call,
					     .answer = at[i].answer,
					     .value = at[i].value,
					     .expected = at[i].expected,
					     .done = at[i].done };
	result = linear_check(ops, count);
	free(ops);
	return result;
}

bool history_check_registers(struct history *h, size_t *keys, size_t *hard)
{
	bool good = true;

	*keys = *hard = 0;
	if (h->count)
		qsort(h->records, h->count, sizeof(*h->records), by_key);
	for (size_t i = 0, end; i < h->count && is_register(&h->records[i]); i = end) {
		int result;

		for (end = i; end < h->count && is_register(&h->records[end]) &&
		     h->records[end].key == h->records[i].key;)
			end++;
		result = check_one(&h->records[i], end - i);
		++*keys;
		*hard += result < 0;
		if (!result) {
			good = false;
			printf("# register/%u is not linearizable:\n", h->records[i].key);
			show(&h->records[i], end - i, h->records[i].call);
		}
	}
	return good;
}

uint64_t history_digest(const char *text, size_t len)
{
	uint64_t h = 14695981039346656037u;

	for (size_t i = 0; i < len; i++)
		h = (h ^ (unsigned char)text[i]) * 1099511628211u;
	return h;
}

/* Where TOKEN stands among the COUNT at ORDER, from 1 on; 0 where it does not, COUNT + 1 where it does twice.
 */
static size_t place(const uint64_t *order, size_t count, uint64_t token)
{
	size_t found = 0;

	for (size_t i = 0; i < count; i++)
		if (order[i] == token)
			found = found ? count + 1 : i + 1;
	return found;
}

/* One operation that happened at the place AT: an append after which AT tokens were there, or a scan that saw
 * AT. */
struct happened {
	const struct record *record;
	size_t at;
};

static int by_call(const void *a, const void *b)
{
	const struct happened *x = a, *y = b;

	return (x->record->call > y->record->call) - (x->record->call < y->record->call);
}

static int by_answer(const void *a, const void *b)
{
	const struct happened *x = a, *y = b;

	return (x->record->answer > y->record->answer) - (x->record->answer < y->record->answer);
}

/* Whoever was answered before another one called stands before it: an append strictly, a scan saw no more. */
static bool check_order(const struct happened *all, size_t count)
{
	struct happened *calls = malloc(count * sizeof(*calls) + 1),
			*answers = malloc(count * sizeof(*answers) + 1);
	const struct happened *latest = NULL;
	bool good = true;

	if (!calls || !answers)
		abort();
	memcpy(calls, all, count * sizeof(*calls));
	memcpy(answers, all, count * sizeof(*answers));
	qsort(calls, count, sizeof(*calls), by_call);
	qsort(answers, count, sizeof(*answers), by_answer);
	for (size_t i = 0, k = 0; i < count; i++) {
		for (; k < count && answers[k].record->answer < calls[i].record->call; k++)
			if (!latest || answers[k].at > latest->at)
				latest = &answers[k];
		if (!latest || calls[i].at + (calls[i].record->kind == RECORD_SCAN) > latest->at)
			continue;
		good = false;
		printf("# log/%u: came too late (place %zu, then %zu):\n", calls[i].record->key, latest->at,
		       calls[i].at);
		show(latest->record, 1, latest->record->call);
		show(calls[i].record, 1, latest->record->call);
	}
	free(calls);
	free(answers);
	return good;
}

/* Adds R's place to ALL, where it has one. */
static bool find_place(const struct record *r, const uint64_t *order, size_t count, const char *text,
		       struct happened *all, size_t *n)
{
	size_t at = r->kind == RECORD_SCAN ? r->expected : place(order, count, r->value);
	const char *wrong = NULL;

	if (r->kind == RECORD_SCAN) {
		if (at > count || history_digest(text, at * TOKEN) != r->value)
			wrong = "saw what is not the beginning of the log";
	} else if (at > count) {
		wrong = "happened twice";
	} else if (!at && r->answer != NEVER) {
		wrong = "was lost";
	} else if (!at) {
		return true;
	}
	if (!wrong) {
		all[(*n)++] = (struct happened){ r, at };
		return true;
	}
	printf("# log/%u: this %s:\n", r->key, wrong);
	show(r, 1, r->call);
	return false;
}

bool history_check_log(struct history *h, unsigned key, const char *text, size_t len)
{
	size_t count = len / TOKEN, n = 0, appends = 0;
	uint64_t *order = calloc(count + 1, sizeof(*order));
	struct happened *all = calloc(h->count + 1, sizeof(*all));
	bool good = len % TOKEN == 0;

	if (!order || !all)
		abort();
	if (!good)
		printf("# log/%u ends in a part of a token\n", key);
	for (size_t i = 0; i < count; i++) {
		char word[TOKEN + 1] = "";

		memcpy(word, text + i * TOKEN, TOKEN);
		order[i] = strtoull(word, NULL, 16);
	}
	for (size_t i = 0; i < h->count; i++) {
		if (is_register(&h->records[i]) || h->records[i].key != key)
			continue;
		if (!find_place(&h->records[i], order, count, text, all, &n))
			good = false;
		else if (h->records[i].kind == RECORD_APPEND && n && all[n - 1].record == &h->records[i])
			appends++;
	}
	if (good && appends != count) {
		good = false;
		printf("# log/%u has %zu tokens, of which %zu were appended: others were refused, and "
		       "happened\n",
		       key, count, appends);
	}
	for (size_t i = 0, k; !good && i < count; i++) {
		for (k = 0;
		     k < n && !(all[k].record->kind == RECORD_APPEND && all[k].record->value == order[i]);)
			k++;
		if (k == n)
			printf("# nobody was told that %" PRIx64 " at place %zu happens\n", order[i], i + 1);
	}
	good = check_order(all, n) && good;
	free(order);
	free(all);
	return good;
}

void history_free(struct history *h)
{
	free(h->records);
	pthread_mutex_destroy(&h->lock);
}
