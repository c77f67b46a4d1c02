/*
 * A client of a bench: it has some requests under way and begins another one for each that is answered, until
 * the time or the count is over. What it measures is the time from giving a request to libcairn to having the
 * answer, so requests of one client that wait for each other are in it. The first error stops all clients.
 */
#include <stdlib.h>
#include <time.h>
#include "clock.h"
#include "load.h"
#include "banned.h"

#define SPREAD 4096 /* places where a value may be cut from */

/* A request under way. */
struct flight {
	struct load_client *client;
	enum load_kind kind;
	uint64_t begun_ns;
};

static unsigned bucket_of(uint64_t ns)
{
	unsigned top = ns < 64 ? 0 : 63 - (unsigned)__builtin_clzll(ns) - 5;

	return top ? 64 * top + (unsigned)(ns >> (top - 1) & 63) : (unsigned)ns;
}

static void latencies_one(struct latencies *l, uint64_t ns)
{
	l->bucket[bucket_of(ns)]++;
	l->count++;
	l->sum_ns += ns;
	l->most_ns = ns > l->most_ns ? ns : l->most_ns;
}

void latencies_add(struct latencies *to, const struct latencies *from)
{
	for (size_t i = 0; i < LATENCY_BUCKETS; i++)
		to->bucket[i] += from->bucket[i];
	to->count += from->count;
	to->sum_ns += from->sum_ns;
	to->most_ns = from->most_ns > to->most_ns ? from->most_ns : to->most_ns;
}

uint64_t latencies_share(const struct latencies *l, double share)
{
	uint64_t want = (uint64_t)((double)l->count * share), seen = 0;

	for (unsigned b = 0; b < LATENCY_BUCKETS; b++) {
		unsigned top = b / 64;
		uint64_t ns = top ? ((uint64_t)b % 64 + 65) << (top - 1) : b;

		seen += l->bucket[b];
		if (seen > want)
			return ns < l->most_ns ? ns : l->most_ns;
	}
	return l->most_ns;
}

/* A number that nobody foresees, below N. */
static uint64_t any(struct load_client *k, uint64_t n)
{
	k->random ^= k->random << 13;
	k->random ^= k->random >> 7;
	k->random ^= k->random << 17;
	return k->random % n;
}

static void failed(struct load *l, const struct cairn_error *e)
{
	pthread_mutex_lock(&l->lock);
	if (!l->error.code)
		l->error = *e;
	pthread_mutex_unlock(&l->lock);
	atomic_store(&l->stop, true);
}

static void answered(void *arg, struct cairn_reply *r);

/* Take one of the requests that are left. */
static bool take(struct load *l)
{
	uint64_t left = atomic_load(&l->left);

	while (left && !atomic_compare_exchange_weak(&l->left, &left, left - 1))
		;
	return left > 0;
}

/* Begin F again, unless it is over. */
static void begin(struct flight *f)
{
	struct load_client *k = f->client;
	struct load *l = k->load;
	struct cairn_msg m = { 0 };
	struct cairn_error e;
	uint64_t number;
	char key[64];

	if (atomic_load(&l->stop) || clock_boot_ns() >= l->end_ns || !take(l)) {
		free(f);
		return;
	}
	number = atomic_fetch_add(&l->begun, 1);
	f->kind = l->in_order || any(k, 100) >= l->gets ? LOAD_PUT : LOAD_GET;
	snprintf(key, sizeof(key), "%s%08llu", l->prefix,
		 (unsigned long long)(l->in_order ? number : any(k, l->keys)));
	request(l->cli, &m, f->kind == LOAD_PUT ? CAIRN_OP_PUT : CAIRN_OP_GET);
	cairn_msg_text(&m, CAIRN_F_KEY, key);
	if (f->kind == LOAD_PUT)
		cairn_msg_bytes(&m, CAIRN_F_VALUE, cairn_slice(k->values + any(k, SPREAD), l->size));
	f->begun_ns = clock_boot_ns();
	if (cairn_msg_error(&m) || cairn_submit(k->cairn, &m, answered, f)) {
		cairn_fail(&e, CAIRN_E_INTERNAL, "a request cannot be sent");
		failed(l, &e);
		free(f);
	}
	cairn_msg_free(&m);
}

static void answered(void *arg, struct cairn_reply *r)
{
	struct flight *f = arg;

	if (r->code) {
		failed(f->client->load, &r->error);
		free(f);
		return;
	}
	latencies_one(&f->client->latencies[f->kind], clock_boot_ns() - f->begun_ns);
	begin(f);
}

void *load_run(void *arg)
{
	struct load_client *k = arg;
	struct load *l = k->load;
	struct timespec cpu;

	k->values = malloc(l->size + SPREAD + 8);
	if (!k->values)
		no_memory();
	for (size_t i = 0; i < l->size + SPREAD; i += 8) { /* no engine can compress them */
		uint64_t bits = any(k, UINT64_MAX);

		memcpy(k->values + i, &bits, 8);
	}
	for (uint64_t i = 0; i < l->in_flight; i++) {
		struct flight *f = malloc(sizeof(*f));

		if (!f)
			no_memory();
		*f = (struct flight){ .client = k };
		begin(f);
	}
	while (cairn_pending(k->cairn))
		cairn_dispatch(k->cairn, -1);
	k->ended_ns = clock_boot_ns();
	free(k->values);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
	k->cpu_ns = (uint64_t)cpu.tv_sec * 1000000000 + (uint64_t)cpu.tv_nsec;
	atomic_fetch_sub(&l->running, 1);
	return NULL;
}
