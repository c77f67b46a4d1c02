/* The loop: posts from any thread run once and in order, timers and descriptors call back, turns end. The
 * workers too. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <unistd.h>
#include "clock.h"
#include "loop.h"
#include "pool.h"
#include "tap.h"

#define THREADS 4
#define POSTS 5000

struct post {
	struct loop_task task;
	struct test *test;
	unsigned thread, number;
};

struct test {
	struct loop *loop;
	struct loop_timer *timer;
	struct loop_watch *watch;
	struct loop_task task, other;
	unsigned ran, turns, order, wrong, outside, next[THREADS], signals;
	int fds[2];
	char trace[64];
};

static void note(struct test *t, const char *what)
{
	size_t n = strlen(t->trace);

	snprintf(t->trace + n, sizeof(t->trace) - n, "%s ", what);
}

static void posted(struct loop_task *task)
{
	struct post *p = (struct post *)task;
	struct test *t = p->test;

	t->outside += !loop_inside(t->loop);
	t->wrong += t->next[p->thread]++ != p->number;
	if (++t->ran == THREADS * POSTS)
		loop_stop(t->loop);
}

static void *poster(void *arg)
{
	struct post *p = arg;

	for (int i = 0; i < POSTS; i++)
		loop_post(p[i].test->loop, &p[i].task);
	return NULL;
}

static void posts(void)
{
	static struct post all[THREADS][POSTS];
	struct test t = { 0 };
	pthread_t threads[THREADS];

	loop_new(&t.loop);
	for (unsigned i = 0; i < THREADS; i++) {
		for (unsigned k = 0; k < POSTS; k++)
			all[i][k] = (struct post){ .task.run = posted, .test = &t, .thread = i, .number = k };
		pthread_create(&threads[i], NULL, poster, all[i]);
	}
	loop_run(t.loop);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	is_int(t.ran, THREADS * POSTS, "every post of four threads ran once");
	is_int(t.wrong, 0, "those of one thread in their order");
	is_int(t.outside, 0, "all in the loop's thread");
	loop_free(t.loop);
}

static void ended(struct loop_task *task)
{
	struct test *t = (struct test *)((char *)task - offsetof(struct test, other));

	note(t, "end");
}

static void again(struct loop_task *task)
{
	struct test *t = (struct test *)((char *)task - offsetof(struct test, task));

	note(t, "task");
	t->other.run = ended;
	loop_at_turn_end(t->loop, &t->other);
	if (++t->turns < 3)
		loop_post(t->loop, task);
	else
		loop_timer_set(t->timer, 1);
}

static void readable(void *arg, unsigned events)
{
	struct test *t = arg;
	char c;

	if (events & LOOP_READ && read(t->fds[0], &c, 1) == 1) {
		note(t, "read");
		loop_unwatch(t->watch);
		loop_timer_free(t->timer);
		loop_stop(t->loop);
	}
}

static void rang(void *arg)
{
	struct test *t = arg;

	note(t, "timer");
	if (write(t->fds[1], "x", 1) != 1)
		bail("write");
}

static void turns(void)
{
	struct test t = { .task.run = again };
	uint64_t before = clock_boot_ns();

	if (pipe(t.fds) || loop_new(&t.loop) || loop_timer_new(t.loop, rang, &t, &t.timer) ||
	    loop_watch(t.loop, t.fds[0], LOOP_READ, readable, &t, &t.watch))
		bail("set-up");
	loop_post(t.loop, &t.task);
	loop_run(t.loop);
	is_str(t.trace, "task end task end task end timer read ",
	       "a task that posts itself runs next turn; each turn has its end; timers and descriptors call "
	       "back");
	ok(loop_now_ns(t.loop) >= before, "the loop knows the time");
	loop_free(t.loop);
	close(t.fds[0]);
	close(t.fds[1]);
}

static void on_signal(void *arg, int number)
{
	struct test *t = arg;

	if (number == SIGUSR1 && ++t->signals == 1)
		loop_stop(t->loop);
}

static void signals(void)
{
	struct test t = { 0 };

	if (loop_new(&t.loop) || loop_signal(t.loop, SIGUSR1, on_signal, &t))
		bail("set-up");
	kill(getpid(), SIGUSR1);
	loop_run(t.loop);
	is_int(t.signals, 1, "a signal arrives in the loop");
	loop_free(t.loop);
}

struct work {
	struct pool_task task;
	_Atomic unsigned *done;
};

static void worked(struct pool_task *task)
{
	atomic_fetch_add(((struct work *)task)->done, 1);
}

static void workers(void)
{
	static struct work all[1000];
	_Atomic unsigned done = 0;
	struct pool *p;

	if (pool_new(&p, 3))
		bail("no pool");
	for (int i = 0; i < 1000; i++) {
		all[i] = (struct work){ { .run = worked }, &done };
		pool_post(p, &all[i].task);
	}
	pool_free(p);
	is_int(done, 1000, "workers do everything that was posted before they end");
}

int main(void)
{
	posts();
	turns();
	signals();
	workers();
	return tap_done();
}
