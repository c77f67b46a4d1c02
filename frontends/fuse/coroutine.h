/*
 * A function with a stack of its own that can stop in the middle and go on later. Each request of the kernel
 * runs in one, so that its code reads from top to bottom although it waits for the server, and nothing else
 * waits for it. One thread; a coroutine is resumed from outside of any coroutine.
 */
#ifndef COROUTINE_H
#define COROUTINE_H

#include <stdbool.h>

struct coroutine;
/* Coroutines that have ended, for the next ones. Zero is an empty pool. */
struct coroutine_pool {
	struct coroutine *idle;
	unsigned count;
};

/* Make one that will run FN(ARG). NULL where there is no memory. */
struct coroutine *coroutine_new(struct coroutine_pool *pool, void (*fn)(void *arg), void *arg);
/* Let it run until it yields or ends. Returns whether it has ended; then it is back in POOL. */
bool coroutine_resume(struct coroutine_pool *pool, struct coroutine *co);
/* Within CO: stop here until the next coroutine_resume. */
void coroutine_yield(struct coroutine *co);
/* Free the idle ones. */
void coroutine_pool_free(struct coroutine_pool *pool);

#endif
