/* One client of a bench, in a thread of its own; see load.c. */
#ifndef LOAD_H
#define LOAD_H

#include <pthread.h>
#include <stdatomic.h>
#include "cli.h"

enum load_kind { LOAD_PUT, LOAD_GET, LOAD_KINDS };

/* Latencies, in buckets of 1/64 of a power of two. */
#define LATENCY_BUCKETS (64 * 64)
struct latencies {
	uint64_t bucket[LATENCY_BUCKETS];
	uint64_t count, sum_ns, most_ns;
};

/* What all clients do together. */
struct load {
	const struct cli *cli; /* servers, volume, time-out */
	char prefix[32];       /* of the keys */
	uint64_t keys, size, in_flight;
	unsigned gets;                /* in a hundred requests */
	bool in_order;                /* puts of every key once, in their order */
	uint64_t end_ns;              /* no request is begun after that; by clock_boot_ns */
	_Atomic uint64_t left, begun; /* requests that may still be begun; that were */
	atomic_bool stop;
	_Atomic unsigned running; /* clients */
	pthread_mutex_t lock;
	struct cairn_error error; /* the first one; under the lock until nobody runs */
};

struct load_client {
	struct load *load;
	struct cairn *cairn; /* owned by whoever made the client */
	pthread_t thread;
	uint64_t random;
	struct latencies latencies[LOAD_KINDS];
	uint64_t cpu_ns;   /* that the thread has used */
	uint64_t ended_ns; /* when it had its last answer; by clock_boot_ns */
	char *values;      /* bytes that values are cut from */
};

/* The thread: keep requests under way until L->stop, the time, or the count ends it. ARG is a load_client. */
void *load_run(void *arg);
/* Add those of FROM to TO. */
void latencies_add(struct latencies *to, const struct latencies *from);
/* The latency that SHARE (0 to 1) of the requests did not exceed, in ns, to 1/64 of it. */
uint64_t latencies_share(const struct latencies *l, double share);

#endif
