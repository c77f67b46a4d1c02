/*
 * Versions of the key directory: who may still see which piece of memory. One writer makes versions in
 * batches and publishes them; readers work on the one that was published when they began and never wait for
 * the writer. What a batch replaced is given back as soon as no guard and no pin can see it.
 */
#ifndef VERSIONS_H
#define VERSIONS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "slab.h"

#define VERSIONS_SLOTS 32 /* guards at the same time that need no lock */

enum versions_kind { VERSIONS_LEAF, VERSIONS_INNER, VERSIONS_VERSION, VERSIONS_DEFERRED };

/* The head of everything that readers may hold. */
struct object {
	uint64_t birth;      /* first version that has it */
	uint64_t retire;     /* first version that does not */
	struct object *next; /* in the batch's retired list, a queue, or what a pin holds */
	uint32_t size : 24;  /* bytes taken from the slab */
	uint32_t kind : 8;
	uint16_t count, skip; /* a node's: entries, and bytes that all their keys begin with */
};

struct queue {
	struct object *first, **last;
};

struct version {
	struct object object;
	uint64_t number;
	struct object *root;  /* NULL when empty */
	uint64_t index, term; /* the engine's position */
	uint64_t keys, live;  /* keys in it, and bytes of their entries on disk */
	/* Under the lock. */
	unsigned uses;                 /* pins */
	struct version *newer, *older; /* pinned versions, while uses > 0 */
	struct queue held;             /* retired objects that this is the newest pin to see */
};

/* Something to be done when nobody sees what came before the batch. */
struct deferred {
	struct object object;
	void (*fn)(void *arg);
	void *arg;
};

struct versions {
	struct {
		_Alignas(64) _Atomic uint64_t announced; /* version number + 1; 0: free */
	} slots[VERSIONS_SLOTS];
	_Atomic(struct version *) published;
	_Atomic uint64_t number; /* of the published version; stored after it */
	_Atomic uint64_t memory; /* bytes that the slab has from the system */

	pthread_mutex_t lock; /* over the queues, the pins, and publishing */
	struct queue fresh;   /* retired, in order of retirement */
	struct queue again;   /* left by pins that ended */
	struct version *newest_pin;
	uint64_t pin_count;

	/* The writer's. */
	struct slab *slab;
	uint64_t now; /* number of the batch */
	struct object *retired;
	size_t retired_count;
};

/* 0 or -ENOMEM. The first version is empty. */
int versions_init(struct versions *v);
/* Give back everything but what the published version has. No reader is left. */
void versions_end(struct versions *v);

struct versions_guard {
	struct version *version;
	void *slot; /* NULL: it is a pin */
};
void versions_read_begin(struct versions *v, struct versions_guard *guard);
void versions_read_end(struct versions *v, struct versions_guard *guard);
/* Hold VERSION (NULL: the published one) until versions_unpin. From any thread. */
struct version *versions_pin(struct versions *v, struct version *version);
void versions_unpin(struct versions *v, struct version *version);

/* The writer's part. */

/* A new object of the batch; NULL when there is no memory. */
void *versions_take(struct versions *v, enum versions_kind kind, size_t size);
/* O is not part of the batch's version any more: freed now where the batch made it, else when nobody sees it.
 */
void versions_retire(struct versions *v, struct object *o);
/* Make VERSION, taken in this batch, the one that readers get. */
void versions_publish(struct versions *v, struct version *version);
/* Forget what was retired; what the batch made is freed by the caller, with versions_retire. */
void versions_abort(struct versions *v);
/* Free up to LIMIT objects that nobody sees; whether there may be more. Outside of a batch. */
bool versions_reclaim(struct versions *v, size_t limit);

#endif
