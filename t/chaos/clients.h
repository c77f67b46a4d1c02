/* Clients of a cluster, each a thread, that write down what happens to them. */
#ifndef CLIENTS_H
#define CLIENTS_H

#include <stdatomic.h>
#include <cairn/client.h>
#include "history.h"

#define NODES_MAX 7
#define COUNTERS 4
#define REFUSALS 200

struct load {
	struct history history;
	unsigned nodes;
	unsigned long seed;
	char servers[NODES_MAX][128];
	atomic_bool stop;
	atomic_ulong asked; /* requests, from which the keys follow: each is used for a while */
	atomic_ulong ok, refused, unknown;
	atomic_ulong counted, perhaps;     /* increments that happened, and that may have */
	_Atomic uint64_t last_ok, longest; /* when one was answered, and the longest time in which none was */
	pthread_mutex_t lock;
	struct cairn_error strange; /* the first answer that no fault explains */
	struct {
		uint64_t at, value;
		unsigned client, node;
		char message[200];
	} refusals[REFUSALS]; /* the first ones, of writes */
	size_t refusal_count;
};

struct client {
	pthread_t thread;
	struct load *load;
	unsigned id;
	unsigned seed;
};

uint64_t load_now(void);
/* A handle that begins with NODE and knows the others, too, unless ALONE. Exits where there is no memory. */
struct cairn *load_handle(struct load *l, unsigned node, bool alone, uint64_t timeout_ms);
/* The thread of the struct client ARG, until its load stops. */
void *client_work(void *arg);
/* How many registers and logs were used. */
unsigned load_registers(const struct load *l);
unsigned load_logs(const struct load *l);
/* Read all registers once more, through one node after the other, and check all that happened. Returns the
 * number of things that are wrong, told on standard output. */
unsigned load_check(struct load *l);

#endif
