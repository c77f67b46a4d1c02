/*
 * The loop on libuv. Work from other threads goes onto a lock-free stack; the post that finds it empty wakes
 * the loop through an eventfd (libuv's own wake-up spins while the sender is still in its system call). Work
 * that the loop's own thread posts goes onto a plain list that is done in the next turn, without a wake-up.
 * Turn-end tasks run once after the timers and once after the descriptors of a turn, so that nothing waits
 * for the next event.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <uv.h>
#include "clock.h"
#include "loop.h"
#include "banned.h"

struct loop_signal_watch {
	uv_signal_t uv;
	void (*fn)(void *arg, int number);
	void *arg;
	struct loop_signal_watch *next;
};

struct loop {
	uv_loop_t uv;
	int wake_fd; /* an eventfd: other threads have posted */
	uv_poll_t wake;
	uv_idle_t again;                       /* active while LOCAL has tasks: the turn does not sleep */
	uv_prepare_t before;                   /* turn end, after timers */
	uv_check_t after;                      /* turn end, after descriptors */
	_Atomic(struct loop_task *) posted;    /* from other threads, newest first */
	struct loop_task *local, **local_last; /* from this thread, oldest first */
	struct loop_task *end, **end_last;     /* to be run at the end of this turn */
	struct loop_signal_watch *signals;
	_Atomic(pthread_t) thread; /* that runs the loop; 0 before */
	_Atomic bool stopping;
	uint64_t now_ns; /* of this turn; 0: not asked for yet */
};

struct loop_watch {
	uv_poll_t uv;
	int wanted; /* events, as libuv calls them */
	void (*fn)(void *arg, unsigned events);
	void *arg;
};

struct loop_timer {
	uv_timer_t uv;
	void (*fn)(void *arg);
	void *arg;
};

bool loop_inside(struct loop *l)
{
	return pthread_equal(atomic_load_explicit(&l->thread, memory_order_relaxed), pthread_self());
}

static void run_posted(struct loop *l)
{
	struct loop_task *t = atomic_exchange_explicit(&l->posted, NULL, memory_order_acquire), *first = NULL;

	while (t) { /* oldest first */
		struct loop_task *next = t->next;

		t->next = first;
		first = t;
		t = next;
	}
	while (first) {
		t = first;
		first = t->next;
		t->run(t);
	}
}

static void run_local(struct loop *l)
{
	struct loop_task *t = l->local;

	l->local = NULL;
	l->local_last = &l->local;
	while (t) {
		struct loop_task *next = t->next;

		t->run(t);
		t = next;
	}
}

static void run_turn_end(struct loop *l)
{
	while (l->end) {
		struct loop_task *t = l->end;

		l->end = t->next;
		if (!l->end)
			l->end_last = &l->end;
		t->run(t);
	}
	l->now_ns = 0;
}

static void wake(struct loop *l)
{
	while (eventfd_write(l->wake_fd, 1) < 0 && errno == EINTR)
		;
}

static void on_wake(uv_poll_t *h, int status, int events)
{
	struct loop *l = h->data;
	eventfd_t count;

	(void)status;
	(void)events;
	eventfd_read(l->wake_fd, &count);
	run_posted(l);
	if (l->stopping)
		uv_stop(&l->uv);
}

static void on_again(uv_idle_t *h)
{
	struct loop *l = h->data;

	run_local(l);
	if (!l->local)
		uv_idle_stop(h);
}

static void on_before(uv_prepare_t *h)
{
	run_turn_end(h->data);
}

static void on_after(uv_check_t *h)
{
	run_turn_end(h->data);
}

int loop_new(struct loop **out)
{
	struct loop *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return -ENOMEM;
	l->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	r = l->wake_fd < 0 ? -errno : uv_loop_init(&l->uv);
	if (r == 0) {
		r = uv_poll_init(&l->uv, &l->wake, l->wake_fd);
		if (r < 0)
			uv_loop_close(&l->uv);
	}
	if (r < 0) {
		if (l->wake_fd >= 0)
			close(l->wake_fd);
		free(l);
		return r;
	}
	l->local_last = &l->local;
	l->end_last = &l->end;
	uv_idle_init(&l->uv, &l->again);
	uv_prepare_init(&l->uv, &l->before);
	uv_check_init(&l->uv, &l->after);
	l->wake.data = l->again.data = l->before.data = l->after.data = l;
	uv_poll_start(&l->wake, UV_READABLE, on_wake);
	uv_prepare_start(&l->before, on_before);
	uv_check_start(&l->after, on_after);
	*out = l;
	return 0;
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	uv_close((uv_handle_t *)&l->wake, NULL);
	uv_close((uv_handle_t *)&l->again, NULL);
	uv_close((uv_handle_t *)&l->before, NULL);
	uv_close((uv_handle_t *)&l->after, NULL);
	for (struct loop_signal_watch *s = l->signals; s; s = s->next)
		uv_close((uv_handle_t *)&s->uv, NULL);
	uv_run(&l->uv, UV_RUN_DEFAULT);
	while (l->signals) {
		struct loop_signal_watch *s = l->signals;

		l->signals = s->next;
		free(s);
	}
	uv_loop_close(&l->uv);
	close(l->wake_fd);
	free(l);
}

int loop_run(struct loop *l)
{
	atomic_store_explicit(&l->thread, pthread_self(), memory_order_relaxed);
	while (!l->stopping)
		uv_run(&l->uv, UV_RUN_DEFAULT);
	while (l->local || atomic_load_explicit(&l->posted, memory_order_relaxed) || l->end) {
		run_posted(l);
		run_local(l);
		run_turn_end(l);
	}
	uv_idle_stop(&l->again);
	l->stopping = false;
	return 0;
}

void loop_stop(struct loop *l)
{
	l->stopping = true;
	wake(l);
}

static void on_events(uv_poll_t *h, int status, int events)
{
	struct loop_watch *w = h->data;
	unsigned e = 0;

	if (status < 0) { /* the descriptor has an error: whoever reads or writes it will be told */
		e = LOOP_READ | LOOP_WRITE | LOOP_HANGUP;
		uv_poll_start(h, w->wanted,
			      on_events); /* libuv has stopped it, but there may be more to read */
	}
	if (events & UV_READABLE)
		e |= LOOP_READ;
	if (events & UV_WRITABLE)
		e |= LOOP_WRITE;
	if (events & UV_DISCONNECT)
		e |= LOOP_HANGUP;
	if (events & UV_PRIORITIZED) /* which a hang-up counts as where nothing else is asked for */
		e |= LOOP_GONE;
	w->fn(w->arg, e);
}

static int to_uv(unsigned events)
{
	return (events & LOOP_READ ? UV_READABLE : 0) | (events & LOOP_WRITE ? UV_WRITABLE : 0) |
		(events & LOOP_HANGUP ? UV_DISCONNECT : 0) | (events & LOOP_GONE ? UV_PRIORITIZED : 0);
}

static void free_handle(uv_handle_t *h)
{
	free(h->data);
}

int loop_watch(struct loop *l, int fd, unsigned events, void (*fn)(void *arg, unsigned events), void *arg,
	       struct loop_watch **out)
{
	struct loop_watch *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	r = uv_poll_init(&l->uv, &w->uv, fd);
	if (r < 0) {
		free(w);
		return r;
	}
	w->uv.data = w;
	w->fn = fn;
	w->arg = arg;
	r = loop_rewatch(w, events);
	if (r < 0) {
		uv_close((uv_handle_t *)&w->uv, free_handle);
		return r;
	}
	*out = w;
	return 0;
}

int loop_rewatch(struct loop_watch *w, unsigned events)
{
	w->wanted = to_uv(events);
	return events ? uv_poll_start(&w->uv, w->wanted, on_events) : uv_poll_stop(&w->uv);
}

void loop_unwatch(struct loop_watch *w)
{
	if (!w)
		return;
	uv_poll_stop(&w->uv);
	uv_close((uv_handle_t *)&w->uv, free_handle);
}

static void on_timer(uv_timer_t *h)
{
	struct loop_timer *t = h->data;

	t->fn(t->arg);
}

int loop_timer_new(struct loop *l, void (*fn)(void *arg), void *arg, struct loop_timer **out)
{
	struct loop_timer *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	uv_timer_init(&l->uv, &t->uv);
	t->uv.data = t;
	t->fn = fn;
	t->arg = arg;
	*out = t;
	return 0;
}

void loop_timer_set(struct loop_timer *t, uint64_t after_ms)
{
	uv_update_time(t->uv.loop);
	uv_timer_start(&t->uv, on_timer, after_ms, 0);
}

void loop_timer_clear(struct loop_timer *t)
{
	uv_timer_stop(&t->uv);
}

void loop_timer_free(struct loop_timer *t)
{
	if (!t)
		return;
	uv_timer_stop(&t->uv);
	uv_close((uv_handle_t *)&t->uv, free_handle);
}

static void on_signal(uv_signal_t *h, int number)
{
	struct loop_signal_watch *s = h->data;

	s->fn(s->arg, number);
}

int loop_signal(struct loop *l, int number, void (*fn)(void *arg, int number), void *arg)
{
	struct loop_signal_watch *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	r = uv_signal_init(&l->uv, &s->uv);
	if (r < 0) {
		free(s);
		return r;
	}
	s->uv.data = s;
	s->fn = fn;
	s->arg = arg;
	s->next = l->signals;
	l->signals = s;
	return uv_signal_start(&s->uv, on_signal, number);
}

void loop_post(struct loop *l, struct loop_task *task)
{
	struct loop_task *head;

	if (loop_inside(l)) {
		task->next = NULL;
		if (!l->local)
			uv_idle_start(&l->again, on_again);
		*l->local_last = task;
		l->local_last = &task->next;
		return;
	}
	head = atomic_load_explicit(&l->posted, memory_order_relaxed);
	do
		task->next = head;
	while (!atomic_compare_exchange_weak_explicit(&l->posted, &head, task, memory_order_release,
						      memory_order_relaxed));
	if (!head)
		wake(l);
}

void loop_at_turn_end(struct loop *l, struct loop_task *task)
{
	task->next = NULL;
	*l->end_last = task;
	l->end_last = &task->next;
}

void loop_forget(struct loop *l, struct loop_task *task)
{
	struct loop_task **at = &l->end;

	while (*at && *at != task)
		at = &(*at)->next;
	if (!*at)
		return;
	*at = task->next;
	if (!*at)
		l->end_last = at;
}

uint64_t loop_now_ns(struct loop *l)
{
	if (!l->now_ns)
		l->now_ns = clock_boot_ns();
	return l->now_ns;
}
