/*
 * One connection, of the control socket or of a gateway: bytes in, requests under way, bytes out. Encodings
 * and protocols sit behind struct face. Everything happens in the loop's thread.
 */
#ifndef CONN_H
#define CONN_H

#include "buffer.h"
#include <cairn/gateway.h>
#include "json.h"
#include "operation.h"

#define CONN_UNSENT_MAX (1u << 20) /* beyond it no request is read */
#define CONN_HELD_MAX (8u << 20)   /* most bytes of requests that are under way */
#define CONN_READ 65536            /* bytes of input at a time */

struct conn;

/* A request under way. Unused ones wait in the hub's list, with the memory of their messages. */
struct request {
	struct call call;
	struct conn *conn;
	struct request *next, **at;               /* of the connection's list; NEXT also of the spare ones */
	struct request *next_change, **change_at; /* of the connection's changes under way, oldest first */
	struct request *next_later;               /* of those that are started later */
	uint64_t turn;                            /* how many requests its connection had before it */
	bool changes;                             /* is in the list of changes */
	bool later;                               /* is not started yet */
	struct request *next_waiting;             /* of those that wait for the connection to drain */
	bool waits;                               /* is in that list */
	bool parked;                              /* see struct call */
	uint64_t id;                              /* the client's */
	size_t held;                              /* bytes of arguments, for the connection's account */
	struct cairn_msg message; /* where the arguments are kept that do not lie in the connection's input */
	struct cairn_request shown; /* what a gateway sees of it */
};

enum answer { ANSWER_OK, ANSWER_ERROR, ANSWER_EVENT };

/* An encoding. */
struct face {
	bool ordered; /* requests are served as if one after another */
	/* Take one request (or one line that is none) off the input. False where more bytes are needed, or
	 * the connection closes. */
	bool (*take)(struct conn *c);
	/* Add what R's call has to say to the output. Returns whether R is finished; else request_end has to
	 * follow. */
	bool (*answer)(struct request *r, enum answer kind);
	/* Tell of an error that has no request (ID 0) or belongs to one that was not started. */
	void (*refuse)(struct conn *c, uint64_t id, const struct cairn_error *error);
	/* The daemon says something of itself. */
	void (*tell)(struct conn *c, const char *message);
	/* The connection is going, and all its requests have ended. May be NULL. */
	void (*gone)(struct conn *c);
	bool always; /* answers are given also when the client has gone */
};

extern const struct face face_json, face_binary;

/* The connections of one control socket or gateway, and what they share. */
struct hub {
	struct node *node;
	const struct face *face; /* of all its connections; NULL: the client's first bytes choose */
	const char *name;        /* of the face, as records show it */
	enum setting in_flight;  /* the most requests of a connection */
	bool closing;
	void (*closed)(void *arg); /* when the last one has gone, once closing */
	void *closed_arg;
	struct conn *conns;
	unsigned conn_count;
	struct request *spare; /* requests to be used again */
	unsigned spare_count;
	unsigned char *inputs[16]; /* inputs of CONN_READ bytes to be used again */
	unsigned input_count;
	struct reads reads; /* gets of the connection that is being processed */
};

/* Free what lies ready to be used again; no connection is left. */
void hub_free(struct hub *hub);
/* Read no further request, answer what is under way; CLOSED is called once, when the last one has gone. */
void hub_close(struct hub *hub, const char *message, void (*closed)(void *arg), void *arg);
/* Drop all that are left. */
void hub_cut(struct hub *hub);

struct control {
	struct hub hub;
	int fd; /* listening, or -1 */
	struct loop_watch *watch;
	struct loop_timer *pause; /* accepting goes on after a while without descriptors; ends the grace of
				     clients at the end */
	char path[108];           /* of the socket */
	uid_t last_uid;           /* whose name stands in last_author; -1: none yet */
	char last_author[160];
};

struct conn {
	struct hub *hub;
	struct conn *next, **at; /* of the hub's list */
	int fd;                  /* -1 once it is closed */
	struct loop_watch *watch;
	unsigned watched;        /* what the watch waits for */
	const struct face *face; /* NULL until the client's first bytes */
	enum cairn_permission may;
	char author[160];

	/* Input: bytes START to LEN of IN are not taken yet. */
	unsigned char *in;
	size_t start, len, cap;
	size_t need;           /* bytes that the next request has, where known: room for them is made */
	size_t looked;         /* bytes behind START that hold no end of line */
	size_t skip;           /* bytes to drop: the payload of a line that was refused */
	void *state;           /* a gateway's, of this connection */
	struct json_line line; /* waits for its payload, where ROOT is set */
	unsigned line_op;
	bool eof;     /* the client sends no more */
	bool stalled; /* there may be requests in the input that wait for the output to drain or for answers
		       */
	bool pausing; /* stalled until a request has ended */
	bool taking;  /* requests are being taken off the input */
	bool closing; /* no more requests; closes once all is answered and sent */

	struct buffer out; /* bytes SENT to OUT.LEN are not sent yet */
	size_t sent;
	uint64_t taken; /* bytes that the client was sent, ever */

	struct request *requests;   /* under way */
	unsigned in_flight, parked; /* how many; those of them that are parked */
	size_t held;
	uint64_t turns;                          /* requests so far */
	struct request *changes, **changes_last; /* under way, oldest first; only where the face is ordered */
	struct request *later, **later_last;     /* what waits for changes before it, and all behind it */
	struct request *waiting, **waiting_last; /* streams that wait for the output to drain */

	struct loop_task end, again; /* at the end of this turn; in the next one */
	bool end_queued, again_queued;
};

/* Serve the accepted descriptor FD, which is the connection's from now on. NULL when there is no memory. */
struct conn *conn_new(struct hub *hub, int fd, enum cairn_permission may, const char *author);
/* No more requests; answer what is under way, then close. */
void conn_close_soon(struct conn *c);
/* Close at once; what is under way ends unheard. */
void conn_cut(struct conn *c);

/* For the faces. The bytes that were not taken: */
static inline struct cairn_slice conn_input(const struct conn *c)
{
	return cairn_slice(c->in + c->start, c->len - c->start);
}

/* A request with the id ID, its call prepared but for OP and FIELDS; NULL when there is no memory, and then
 * the client was told. */
struct request *conn_request(struct conn *c, uint64_t id);
/* R was not finished by its answer, and is now. */
void request_end(struct request *r);
/* Start it; its fields lie in the input, or in its message. */
void conn_start(struct request *r);
/* Do not start it: answer with ERROR. */
void conn_refuse(struct request *r, const struct cairn_error *error);
/* Whether so much is unsent or under way that nothing is begun. */
bool conn_full(const struct conn *c);
/* End the stream with the id ID; nothing where there is none. */
void conn_cancel(struct conn *c, uint64_t id);
/* R is a stream that nobody wants any more. */
void request_cancel(struct request *r);
/* Have what was added to the output sent at the end of the turn. */
void conn_flush(struct conn *c);

#endif
