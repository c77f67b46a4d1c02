/*
 * Workers: threads for what may wait for a disk, so that no loop ever does: reads that an engine could not
 * answer at once, batches of an engine that blocks, upkeep. A task that has something to say to a connection
 * posts to its loop (loop_post) when it is done.
 */
#ifndef POOL_H
#define POOL_H

struct pool;

/* Work for one worker; embedded in what it is about. */
struct pool_task {
	struct pool_task *next; /* the pool's, until run() is called */
	void (*run)(struct pool_task *task);
};

/* Start COUNT threads. 0 or -errno. */
int pool_new(struct pool **p, unsigned count);
/* Do what was posted, then end the threads. NULL is allowed. */
void pool_free(struct pool *p);
/* From any thread: have one worker run TASK, once. Tasks start in the order of their posts. */
void pool_post(struct pool *p, struct pool_task *task);

#endif
