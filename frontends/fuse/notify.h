/*
 * Telling the kernel what it may not believe any longer. Done by threads of its own, since the kernel may
 * make such a call wait for an answer of ours: so nothing here waits, and what is told must be in force
 * before.
 */
#ifndef NOTIFY_H
#define NOTIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fuse_session;
struct notifier;

/* Begin, on a session that is mounted. 0 or -errno. */
int notifier_open(struct notifier **n, struct fuse_session *session);
/* End: what is not told yet never is. Only when the kernel waits for nothing any more (notifier_idle). */
void notifier_close(struct notifier *n);
/* Whether no call is under way; nothing more is told from then on. */
bool notifier_idle(struct notifier *n);

/* The attributes of the node INO are not valid any more; PAGES: nor are its bytes, or its list of names. */
void notify_inode(struct notifier *n, uint64_t ino, bool pages);
/* The same, for attributes only, at once: of a node that a call of the kernel holds, so that nothing waits.
 */
void notify_now(struct notifier *n, uint64_t ino);
/* What the kernel knows of NAME in the folder PARENT is not valid any more, its absence included. */
void notify_entry(struct notifier *n, uint64_t parent, const char *name, size_t len);
/* No name is valid any more, nor the attributes of the COUNT nodes INOS, which is taken over. */
void notify_all(struct notifier *n, uint64_t *inos, size_t count);
/* Whether something was not told since this was last asked. */
bool notifier_overflow(struct notifier *n);
/* How many notes were put in; whether the first COUNT of them have been told. */
uint64_t notifier_count(const struct notifier *n);
bool notifier_told(struct notifier *n, uint64_t count);
/* Whether the kernel can forget all names at once: else it must not be told that a name is absent for long.
 */
bool notifier_epochs(const struct notifier *n);

#endif
