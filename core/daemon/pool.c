/*
 * A queue under one lock and threads that wait on it. pool_free lets the queue run empty before it joins the
 * threads, so a task that was posted is always run. Threads have small stacks: nothing here recurses.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include "pool.h"
#include "banned.h"

#define STACK_BYTES (256 << 10)

struct pool {
	pthread_mutex_t lock; /* of everything below */
	pthread_cond_t wake;
	struct pool_task *first, **last; /* the queue */
	bool ending;
	unsigned count; /* threads that run */
	pthread_t threads[];
};

static void *worker(void *arg)
{
	struct pool *p = arg;
	struct pool_task *t;

	pthread_mutex_lock(&p->lock);
	for (;;) {
		while (!p->first && !p->ending)
			pthread_cond_wait(&p->wake, &p->lock);
		t = p->first;
		if (!t)
			break;
		p->first = t->next;
		if (!p->first)
			p->last = &p->first;
		pthread_mutex_unlock(&p->lock);
		t->run(t);
		pthread_mutex_lock(&p->lock);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* Signals are for the main thread: workers block all of them. */
static int start(struct pool *p, unsigned count)
{
	sigset_t all, before;
	pthread_attr_t attr;
	int r = pthread_attr_init(&attr);

	if (r)
		return -r;
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (r == 0 && p->count < count) {
		r = pthread_create(&p->threads[p->count], &attr, worker, p);
		p->count += r == 0;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return -r;
}

int pool_new(struct pool **p, unsigned count)
{
	struct pool *n = calloc(1, sizeof(*n) + count * sizeof(n->threads[0]));
	int r;

	if (!n)
		return -ENOMEM;
	pthread_mutex_init(&n->lock, NULL);
	pthread_cond_init(&n->wake, NULL);
	n->last = &n->first;
	r = start(n, count);
	if (r < 0) {
		pool_free(n);
		return r;
	}
	*p = n;
	return 0;
}

void pool_free(struct pool *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->ending = true;
	pthread_cond_broadcast(&p->wake);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->count; i++)
		pthread_join(p->threads[i], NULL);
	pthread_cond_destroy(&p->wake);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

void pool_post(struct pool *p, struct pool_task *task)
{
	task->next = NULL;
	pthread_mutex_lock(&p->lock);
	*p->last = task;
	p->last = &task->next;
	pthread_cond_signal(&p->wake);
	pthread_mutex_unlock(&p->lock);
}
