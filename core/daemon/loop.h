/*
 * The loop: descriptors, timers, and work handed over from other threads. A seam of a few calls, so that
 * epoll (through libuv) can be joined by io_uring later. All callbacks run in the loop's own thread; all
 * functions but loop_post and loop_stop are called there, or before loop_run.
 */
#ifndef LOOP_H
#define LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct loop_watch; /* one watched descriptor */
struct loop_timer; /* one timer */

/* HANGUP: the other side sends no more; GONE: it does not read either. */
enum { LOOP_READ = 1, LOOP_WRITE = 2, LOOP_HANGUP = 4, LOOP_GONE = 8 };

/* Work for the loop's thread; embedded in what it is about. */
struct loop_task {
	struct loop_task *next; /* the loop's */
	void (*run)(struct loop_task *task);
};

/* 0 or -errno. */
int loop_new(struct loop **l);
/* Every watch and timer must have been removed. */
void loop_free(struct loop *l);
/* Run until loop_stop; tasks posted before the stop are done. 0 or -errno. */
int loop_run(struct loop *l);
/* From any thread or a signal handler's task. */
void loop_stop(struct loop *l);

/* Call FN with the events (LOOP_…) that FD has, as long as they last. FD stays the caller's. 0 or -errno. */
int loop_watch(struct loop *l, int fd, unsigned events, void (*fn)(void *arg, unsigned events), void *arg,
	       struct loop_watch **w);
int loop_rewatch(struct loop_watch *w, unsigned events);
/* No call comes after this; allowed from within the watch's own callback. NULL is allowed. */
void loop_unwatch(struct loop_watch *w);

/* A timer that is not set yet. 0 or -errno. */
int loop_timer_new(struct loop *l, void (*fn)(void *arg), void *arg, struct loop_timer **t);
/* Call its function once, AFTER_MS from now; 0: in the next turn. Setting again replaces. */
void loop_timer_set(struct loop_timer *t, uint64_t after_ms);
void loop_timer_clear(struct loop_timer *t);
void loop_timer_free(struct loop_timer *t);

/* Call FN once, in the loop, when the process gets signal NUMBER; repeats. 0 or -errno. */
int loop_signal(struct loop *l, int number, void (*fn)(void *arg, int number), void *arg);

/* Whether the calling thread is the one that runs L. */
bool loop_inside(struct loop *l);
/* From any thread: have TASK run once in the loop. One wake-up for many posts; none from the loop itself,
 * where it runs next turn. */
void loop_post(struct loop *l, struct loop_task *task);
/* Run FN at the end of this turn, once, after all callbacks: where replies are flushed. Loop thread only. */
void loop_at_turn_end(struct loop *l, struct loop_task *task);
/* Take back what loop_at_turn_end was given and did not run yet; nothing where there is none. Loop thread
 * only. */
void loop_forget(struct loop *l, struct loop_task *task);
/* CLOCK_BOOTTIME at the start of this turn, ns. */
uint64_t loop_now_ns(struct loop *l);

#endif
