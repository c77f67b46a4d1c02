/* What the parts of libcairn share: the handle, its connection and its requests. Nothing of it is installed.
 */
#ifndef HANDLE_H
#define HANDLE_H

#include <sys/types.h>
#include <cairn/client.h>

#define NEVER UINT64_MAX            /* a time that does not come */
#define MS 1000000ull               /* ns */
#define WINDOW 128                  /* writes in flight: a store keeps the results of so many for a client */
#define FRAME_HEAD 12               /* u32 length of what follows it, u64 request id */
#define ANSWER_HEAD 4               /* u8 kind, u8 0, u16 0, between an answer's id and its message */
#define OUT_FULL (256u << 10)       /* no further frames are encoded while so many bytes are unsent */
#define PIECE (128u << 10)          /* bytes of a staged piece: a store's chunk */
#define QUEUED_MAX (64u << 20)      /* most bytes of requests that a handle keeps */
#define BORN_STALE (60 * 1000 * MS) /* after so much idleness a volume's applied index is asked for again */

/* One entry of the list of servers. */
struct server {
	char *name;    /* as people write it: "unix:/run/cairn/n1.sock"; owned */
	bool ssh;      /* WHERE is a host, else an absolute path */
	char *where;   /* points into name */
	char why[200]; /* why the last attempt failed, or empty */
	int err;       /* of the system call that failed, 0 for anything else */
};

/* A volume that this handle writes to. */
struct seen {
	struct seen *next;
	struct cairn *handle;
	uint64_t born;    /* highest applied index learnt */
	uint64_t when_ns; /* when it was learnt; 0: never, or on another connection */
	bool asked;       /* a ping for it is under way */
	size_t len;       /* of the name */
	char name[];
};

enum repeat { REPEAT_READ, REPEAT_WRITE, REPEAT_NEVER }; /* what may be done when a connection dies */
enum place { PLACE_NONE, PLACE_READS, PLACE_WRITES, PLACE_SENT, PLACE_ENDED, PLACE_LATER };

struct watching;

struct request {
	struct request *next, *prev;   /* in the queue that PLACE names */
	struct request *wnext, *wprev; /* among the writes that have a sequence, lowest first */
	cairn_done_fn *done;
	void *arg;
	struct seen *seen;       /* of a write */
	uint64_t id;             /* slot + 1 in the low half, a generation in the high one */
	uint64_t deadline_ns;    /* boot clock, or NEVER */
	uint64_t timeout_ns;     /* 0: none */
	uint64_t again_ns;       /* of one in the queue LATER: when it is sent again */
	struct watching *watch;  /* of a watch: where it is; owned */
	uint64_t sequence, born; /* of a write, once it was sent */
	uint64_t end;            /* where its frame ends in the connection's bytes; 0: not encoded there */
	enum repeat repeat;
	enum place place;
	unsigned turned_away; /* servers that said unavailable */
	bool reached;         /* a whole frame of it has left on some connection */
	bool events;          /* a part of its answer was handed over */
	bool calling;         /* DONE runs with an event of it */
	bool cancelled;       /* meanwhile */
	bool has_face;        /* the caller gave FACE */
	bool own;             /* a ping of ours */
	bool foreign;         /* a write to another volume than that of the handle's fences: it is refused */
	size_t len;
	unsigned char body[]; /* the message without TIMEOUT_MS */
};

struct queue {
	struct request *first, *last;
};

enum connection_state { CONNECTION_DOWN, CONNECTION_GREETING, CONNECTION_UP };

struct connection {
	enum connection_state state;
	int fd;            /* to the server, -1 where there is none */
	int err;           /* standard error of ssh, -1 where there is none */
	pid_t pid, owner;  /* of ssh, and who started it */
	uint64_t since_ns; /* start of the attempt */
	uint64_t heard_ns; /* last bytes from the server, or first request after idleness */
	uint64_t leave_ns; /* when a connection that is being left is cut; NEVER: it is not being left */
	uint64_t probe_ns; /* when a ping was sent to ask whether the server is alive; 0: none is under way */
	bool answered;     /* it has answered something */
	bool want_out;     /* EPOLLOUT is set */
	bool eof;          /* the server has closed its side */
	struct cairn_msg out; /* frames to send, from OUT_AT on */
	size_t out_at;
	uint64_t sent;     /* bytes of frames sent so far */
	unsigned char *in; /* received bytes from IN_AT to IN_LEN */
	size_t in_at, in_len, in_cap;
	char said[200]; /* last line of ssh's standard error */
};

struct cairn {
	struct server *servers;
	size_t server_count, server; /* SERVER: the one in use, or to be tried next */
	uint64_t timeout_ns;
	bool persistent;     /* as in struct cairn_options */
	bool ever_up;        /* some server has greeted us */
	bool soft;           /* a failure of this round may mend itself within a moment */
	bool busy;           /* in cairn_dispatch: callbacks may run */
	unsigned failures;   /* attempts since the last answer */
	uint64_t attempt_ns; /* not before then */
	uint64_t now;        /* as of the last look at the clock */
	struct connection connection;
	int epoll, timer;
	uint64_t armed_ns;      /* when the timer fires; NEVER: it does not */
	uint64_t deadline_ns;   /* no request ends earlier */
	struct request **slots; /* by the low half of their ids */
	uint32_t *free_slots;   /* stack of unused ones */
	size_t slot_cap, free_count;
	uint32_t generation;
	size_t pending, bytes;      /* requests in slots but for our own pings; bytes of all of them */
	size_t delivered;           /* times that a DONE was called */
	struct queue reads, writes; /* waiting to be encoded */
	struct queue sent;          /* waiting for their answers */
	struct queue later;         /* watches that are sent again after a pause */
	struct queue ended;         /* about to be told that their connection is gone */
	struct request *outstanding, *outstanding_last; /* writes with a sequence, lowest first */
	uint64_t sequence;                              /* next one */
	struct seen *seen;
	uint64_t random;             /* state of the jitter */
	struct cairn_msg face, name; /* the fields FACE and CLIENT, encoded */
	struct cairn_msg fences;     /* guards of every write, encoded */
	char *fence_text;            /* begins with the name of their volume; owned */
};

/* fence.c */
/* Take the guards of C's writes from TEXT as in fence.h; NULL or empty: there are none. */
enum cairn_code fences_parse(struct cairn *c, const char *text, struct cairn_error *e);
/* Whether C has fences that VOLUME cannot check. */
bool fences_foreign(const struct cairn *c, struct cairn_slice volume);
/* *E says that a write to VOLUME was refused for it. */
void fences_fail(const struct cairn *c, struct cairn_slice volume, struct cairn_error *e);

/* servers.c */
/* Parse LIST (commas) into C->servers. */
enum cairn_code servers_parse(struct cairn *c, const char *list, struct cairn_error *e);
void servers_free(struct cairn *c);
/* *E says why no server can be reached. */
enum cairn_code servers_fail(const struct cairn *c, struct cairn_error *e);

/* transport.c */
/*
 * Begin to connect to S. Fills T's fd, err, pid and owner. Returns 0 or -errno with a reason for people in
 * S->why.
 */
int transport_open(struct server *s, struct connection *t);
/* Close T's descriptors, end its ssh. */
void transport_close(struct connection *t);

/* connection.c */
/* Start on the next server if its time has come and there is something to do. */
void connection_start(struct cairn *c);
/* Drop the connection for the reason FORMAT; its requests are queued again or ended; the next server is next.
 */
__attribute__((format(printf, 2, 3))) void connection_lost(struct cairn *c, const char *format, ...);
/* Send what is encoded. */
void connection_flush(struct cairn *c);
/* Read and hand over what is there. */
void connection_receive(struct cairn *c);
void connection_close(struct cairn *c);
/* Watch for silence and for greetings that do not come; returns when to look again. */
uint64_t connection_watch(struct cairn *c);

/* request.c */
/* As cairn_submit; OWN: a ping of ours, not counted in cairn_pending. ID (may be NULL) gets its id. */
enum cairn_code request_submit(struct cairn *c, const struct cairn_msg *m, cairn_done_fn *done, void *arg,
			       bool own, uint64_t *id);
/* Forget the request ID; its DONE is not called again. */
void request_cancel(struct cairn *c, uint64_t id);
/* Encode queued requests into the connection's output, as far as they may go. */
void request_pump(struct cairn *c);
/* One answer with REST bytes behind its id. 0, or -EBADMSG where its bytes make no sense. */
int request_answer(struct cairn *c, uint64_t id, struct cairn_slice rest);
/*
 * The connection is about to be closed: queue again what may be repeated, set the rest aside. Afterwards
 * request_tell_ended() ends those; S is the server that was lost.
 */
void request_requeue(struct cairn *c);
void request_tell_ended(struct cairn *c, const struct server *s);
/* A new connection: the applied indexes of all volumes are asked for again before the next writes. */
void request_forget_born(struct cairn *c);
/* End requests whose time has come. */
void request_expire(struct cairn *c);
/* Queue those of LATER whose time has come; returns when the next one's does. */
uint64_t request_resume(struct cairn *c);
/* End all that wait: no server is there. */
void request_fail_all(struct cairn *c);
void request_free_all(struct cairn *c);
bool request_any(const struct cairn *c);

/* watch.c */
/* What the fields of a request for a watch say of where it begins; NULL without memory. */
struct watching *watching_new(struct cairn_slice fields);
void watching_free(struct watching *w);
/* Whether FIELD is one of those. */
bool watching_takes(unsigned field);
/* Add the fields that make it go on from where it is. */
void watching_encode(const struct watching *w, struct cairn_msg *m);
/* Note the event FIELDS. Whether the caller is to get it. */
bool watching_take(struct watching *w, struct cairn_slice fields);
/* Its stream broke. Whether it can be taken up, after a pause of *PAUSE_NS. */
bool watching_again(struct watching *w, uint64_t *pause_ns);

#endif
