/* What the files of the peer transport share. */
#ifndef PEER_INSIDE_H
#define PEER_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include "frame.h"
#include "log.h"
#include "loop.h"
#include "peer.h"
#include "pool.h"
#include "tls.h"

enum { LINK_FIRST, LINK_BULK, LINKS };
enum link_state { LINK_RESOLVING, LINK_CONNECTING, LINK_SECURING, LINK_GREETING, LINK_GUEST, LINK_UP };

#define LINK_JOIN_MS 60000      /* how long somebody who wants to join may wait */
#define LINK_STRANGERS 64       /* most accepted connections that have not said yet who they are */
#define LINK_INPUT (128u << 10) /* bytes of input at a time */

struct queue {
	unsigned char *data; /* whole frames, the first perhaps partly sent, from START to END */
	size_t start, end, cap;
	bool refused; /* a frame did not fit: the host waits for room */
};

struct resolve; /* a name that is being looked up */

/* One TCP connection. The loop's, but for what is said. */
struct link {
	struct peers *peers;
	struct peer *peer;       /* NULL: accepted, and has not said who it is */
	struct link *next, **at; /* strangers: of the endpoint's list */
	unsigned which;
	enum link_state state;
	bool dialled;
	bool busy, dead; /* its input is being taken apart; it is to be freed then */
	int fd;          /* -1 while its name is looked up, and once it is closed */
	struct loop_watch *watch;
	unsigned watched;
	struct resolve *resolve;
	struct tls *tls;                    /* NULL: in the open. Under the peer's lock once the link is up */
	uint64_t guest;                     /* number of somebody who wants to join; 0: this is none */
	bool more;                          /* it holds input that the socket will not tell of */
	uint64_t until_ns;                  /* the handshake must have ended */
	uint64_t pinged_ns;                 /* last ping */
	char address[PEER_ADDRESS_MAX + 1]; /* of the other side */
	_Atomic uint64_t heard_ns;

	unsigned char *in; /* bytes START to LEN are not taken yet */
	size_t start, len, cap;

	/* Under the peer's lock. */
	enum peer_lane current; /* whose first frame is partly sent, where LEFT is not 0 */
	size_t left;            /* bytes of it that are not */
	int failed;             /* -errno of a write; the loop closes it */
	bool blocked;           /* the socket takes no more: the loop waits for it */
};

struct peer {
	struct peer *next; /* in order of ids */
	struct peers *peers;
	uint64_t id;
	/* The loop's. */
	struct link *links[LINKS]; /* up, or being made by us */
	uint64_t dial_ns[LINKS];   /* not before */
	unsigned wait_ms[LINKS];   /* next wait */
	uint64_t instance;         /* of the node that is up, or was last */

	pthread_mutex_t lock; /* of what follows; no callback runs under it, and no other lock is taken */
	bool set;             /* false: removed, and perhaps set again later */
	struct link *up[LINKS];
	struct queue queues[PEER_LANES];
	struct peer_stats stats; /* what does not change with every frame */
	/* Not under it. */
	_Atomic uint64_t bytes_in, bytes_out, frames_in, frames_out, dropped, heard_ns;
};

struct peers {
	struct peer_options options; /* defaults filled in; texts are owned */
	uint64_t instance;
	uint64_t random; /* state of the jitter */
	int fd;          /* listening, or -1 */
	struct loop_watch *watch;
	bool paused; /* no descriptors: accepting goes on with the timer */
	char address[PEER_ADDRESS_MAX + 1];
	struct tls_maker *tls; /* NULL: in the open */
	struct peer_keys keys;
	uint64_t guests; /* so far */
	struct link *strangers;
	unsigned stranger_count;
	struct loop_timer *timer;
	uint64_t timer_ns;    /* when it is set to ring; 0: not set */
	struct loop_task end; /* flushes what was sent in this turn */
	bool end_queued;
	int kick_fd; /* an eventfd: another thread wants the loop to look after peers */
	struct loop_watch *kick;
	_Atomic bool kicked;  /* it was written, and not read yet */
	pthread_mutex_t lock; /* of the list: peers are added to it, and freed with the endpoint */
	struct peer *peers;
};

/* peer.c */
struct peer *peer_find(struct peers *p, uint64_t id);
/* The peer ID, made where it is not there. NULL when there is no memory. */
struct peer *peer_make(struct peers *p, uint64_t id);
/* Have the timer ring at NS at the latest. */
void peers_wake_at(struct peers *p, uint64_t ns);
/* Have the loop look after peers whose state another thread changed. */
void peers_kick(struct peers *p);
/* Have all queues flushed at the end of this turn. In the loop's thread. */
void peers_flush_soon(struct peers *p);
/* Note why PEER is not up. Logged where it was not the reason before. */
void peer_trouble(struct peer *peer, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* MS give or take a quarter, in ns. */
uint64_t peers_jitter_ns(struct peers *p, unsigned ms);

/* queue.c. All under the peer's lock. */
static inline size_t queue_used(const struct queue *q)
{
	return q->end - q->start;
}
/* Take a frame: send it, or queue it. 0, -EAGAIN, -ENOTCONN, -ENOMEM. NOW: it may go to the socket at once.
 */
int queue_frame(struct peer *peer, enum peer_lane lane, const unsigned char *head,
		const struct cairn_slice *slices, size_t count, size_t len, bool now);
/* Hand what waits for connection WHICH to the kernel, as much as it takes. */
void queue_flush(struct peer *peer, unsigned which);
/* Forget what waits for connection WHICH; whole frames count as dropped. */
void queue_clear(struct peer *peer, unsigned which);
/* A frame of the transport itself. */
void queue_own(struct peer *peer, unsigned which, enum frame_kind kind, struct cairn_slice body);

/* link.c */
enum cairn_code link_listen(struct peers *p, const char *address, struct cairn_error *error);
void link_accept_on(struct peers *p);
/* Somebody at ADDRESS calls on FD, which is the link's from now on. */
void link_take(struct peers *p, int fd, const char *address);
/* Make connection WHICH to PEER. */
void link_dial(struct peer *peer, unsigned which);
/* Close, and free it. WHY for people; NULL: nobody is told. */
void link_close(struct link *l, const char *why);
/* Read what there is. */
void link_read(struct link *l);
/* Send a small frame on a connection that is not up: it is empty and takes it whole. False: the link is
 * closed. */
bool link_send_now(struct link *l, enum frame_kind kind, struct cairn_slice body);
/* Wait for what the state asks for. */
void link_watch(struct link *l);
/* The link is UP, its socket takes bytes again or it failed: look after it. */
void link_settle(struct link *l);

/* greet.c */
/* Say who we are on a connection that was just made. */
void greet_begin(struct link *l);
/* Take a frame of the handshake. */
void greet_frame(struct link *l, const struct frame *frame);

/* join.c */
/* Somebody wants to join. */
void join_frame(struct link *l, const struct frame *frame);

/* resolve.c: look HOST up, in the pool or here; DONE is called in the loop, perhaps before this returns, with
 * 0 or a code of getaddrinfo, unless resolve_drop came before. NULL when there is no memory. */
struct resolve *
resolve_start(struct loop *loop, struct pool *pool, const char *host, uint16_t port,
	      void (*done)(void *arg, int code, const struct sockaddr *address, socklen_t len), void *arg);
void resolve_drop(struct resolve *r);

#endif
