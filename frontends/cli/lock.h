/* The parts of 'cairn lock': taking a lock, and running a command while it is held. */
#ifndef LOCK_H
#define LOCK_H

#include "cli.h"

/* A lock that we hold. */
struct lock {
	struct cli *c;
	struct cairn
		*client; /* for refreshing and freeing it: not under the fences that we run under; owned */
	struct cairn_slice key; /* the caller's */
	char name[128];         /* the key for sentences */
	uint64_t fence;
	uint64_t ttl_ms;
	uint64_t until_ns; /* boot clock: we hold it until then, whatever the server does */
};

/* By the clock of this machine, when a lock is no longer ours that was taken or refreshed at SENT_NS at the
 * earliest. The store's clock may be a little faster than this one. */
static inline uint64_t lock_until(uint64_t sent_ns, uint64_t ttl_ms)
{
	return sent_ns + (ttl_ms - ttl_ms / 50) * 1000000;
}

/*
 * Run COMMAND (ended by NULL) while L is held, then free L. The command's exit status, or what stands for it,
 * is in L's C->status. CONFLICT where the lock was lost: then the command and its children were ended.
 */
enum cairn_code lock_run(struct lock *l, char **command);

#endif
