/*
 * Coroutines on ucontext: a stack of 256 KiB of address space each, touched only as deep as it is used, with
 * a page below it that faults. Up to 64 that have ended are kept for the next requests. The calls to the
 * sanitizers tell them which stack is in use; without instrumentation they are nothing.
 */
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>
#include "coroutine.h"

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#include <sanitizer/common_interface_defs.h>
#define LEAVE(save, to, size) __sanitizer_start_switch_fiber(save, to, size)
#define ARRIVE(save, from, size) __sanitizer_finish_switch_fiber(save, from, size)
#else
#define LEAVE(save, to, size) ((void)(save), (void)(to), (void)(size))
#define ARRIVE(save, from, size) ((void)(save), (void)(from), (void)(size))
#endif
#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
#include <sanitizer/tsan_interface.h>
#else
#define __tsan_create_fiber(flags) NULL
#define __tsan_destroy_fiber(fiber) ((void)(fiber))
#define __tsan_get_current_fiber() NULL
#define __tsan_switch_to_fiber(fiber, flags) ((void)(fiber))
#endif
#include "banned.h"

#define STACK (256u << 10)
#define GUARD 4096u
#define IDLE_MAX 64

struct coroutine {
	ucontext_t here, caller;
	void (*fn)(void *arg);
	void *arg;
	bool ended;
	unsigned char *stack;              /* GUARD bytes that fault, then STACK */
	struct coroutine *next;            /* in the pool */
	void *fake, *fiber, *caller_fiber; /* of the sanitizers */
	const void *caller_stack;
	size_t caller_size;
};

static void run(unsigned high, unsigned low)
{
	struct coroutine *co = (struct coroutine *)((uintptr_t)high << 32 | low);

	ARRIVE(NULL, &co->caller_stack, &co->caller_size);
	co->fn(co->arg);
	co->ended = true;
	LEAVE(NULL, co->caller_stack, co->caller_size);
	__tsan_switch_to_fiber(co->caller_fiber, 0);
	setcontext(&co->caller);
}

/* Apart, because getcontext, which can return twice, keeps variables of its function from registers. */
__attribute__((noinline)) static void prepare(struct coroutine *co)
{
	getcontext(&co->here);
	co->here.uc_stack.ss_sp = co->stack + GUARD;
	co->here.uc_stack.ss_size = STACK;
	co->here.uc_link = NULL;
}

static struct coroutine *make(void)
{
	struct coroutine *co = calloc(1, sizeof(*co));
	void *p;

	if (!co)
		return NULL;
	p = mmap(NULL, GUARD + STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	if (p == MAP_FAILED) {
		free(co);
		return NULL;
	}
	mprotect(p, GUARD, PROT_NONE);
	co->stack = p;
	co->fiber = __tsan_create_fiber(0);
	return co;
}

static void destroy(struct coroutine *co)
{
	__tsan_destroy_fiber(co->fiber);
	munmap(co->stack, GUARD + STACK);
	free(co);
}

struct coroutine *coroutine_new(struct coroutine_pool *pool, void (*fn)(void *arg), void *arg)
{
	struct coroutine *co = pool->idle;

	if (co) {
		pool->idle = co->next;
		pool->count--;
	} else {
		co = make();
		if (!co)
			return NULL;
	}
	co->fn = fn;
	co->arg = arg;
	co->ended = false;
	prepare(co);
	makecontext(&co->here, (void (*)(void))run, 2, (unsigned)((uintptr_t)co >> 32),
		    (unsigned)(uintptr_t)co);
	return co;
}

bool coroutine_resume(struct coroutine_pool *pool, struct coroutine *co)
{
	void *fake = NULL;

	co->caller_fiber = __tsan_get_current_fiber();
	LEAVE(&fake, co->stack + GUARD, STACK);
	__tsan_switch_to_fiber(co->fiber, 0);
	swapcontext(&co->caller, &co->here);
	ARRIVE(fake, NULL, NULL);
	if (!co->ended)
		return false;
	if (pool->count < IDLE_MAX) {
		co->next = pool->idle;
		pool->idle = co;
		pool->count++;
	} else {
		destroy(co);
	}
	return true;
}

void coroutine_yield(struct coroutine *co)
{
	LEAVE(&co->fake, co->caller_stack, co->caller_size);
	__tsan_switch_to_fiber(co->caller_fiber, 0);
	swapcontext(&co->here, &co->caller);
	ARRIVE(co->fake, &co->caller_stack, &co->caller_size);
}

void coroutine_pool_free(struct coroutine_pool *pool)
{
	while (pool->idle) {
		struct coroutine *co = pool->idle;

		pool->idle = co->next;
		destroy(co);
	}
	pool->count = 0;
}
