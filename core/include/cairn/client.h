/*
 * libcairn: how programs talk to cairn. A handle knows a list of servers, keeps one connection, moves to the
 * next server when one dies, and repeats writes under the same request id, so that a write happens at most
 * once and its answer is not lost. One thread at a time uses a handle; different handles are independent.
 *
 * Requests and answers are messages (cairn/message.h, cairn/operations.h); man 7 cairn-protocol lists them.
 */
#ifndef CAIRN_CLIENT_H
#define CAIRN_CLIENT_H

#include <cairn/errors.h>
#include <cairn/message.h>
#include <cairn/operations.h>

struct cairn; /* a handle */

/* How to connect. Zero is a good value for every member. */
struct cairn_options {
	const char
		*servers; /* "unix:PATH", "ssh:HOST", a bare path; several with commas. NULL: $CAIRN_SERVER,
			     then the user's file, then the run-time folders (cairn_find_servers) */
	const char *face; /* how the writes of this program are marked: "command", "mount"; NULL: "client" */
	uint64_t timeout_ms; /* for each call, connecting included; 0: 5000. A request's own field TIMEOUT_MS
				goes before it, and is 0 for "no limit". For a stream it is the longest
				silence. */
	const char *
		fence; /* the locks that this program runs under, as 'cairn lock' gives them to it: each write
			  is refused (CONFLICT) when one of them was lost. NULL: $CAIRN_FENCE; "": none */
	bool persistent; /* keep trying until the time-out even where no server was ever reached. Without it a
			    call fails at once when a first round over the whole list finds nobody */
};

/* The answer to a request, or one event of a stream. Zeroed by the caller, freed with cairn_reply_free. */
struct cairn_reply {
	enum cairn_code code; /* 0, or an error that the server or libcairn found */
	bool event;           /* more answers to the same request follow */
	struct cairn_slice
		fields; /* of an answer; valid until cairn_reply_free or the next use of this reply */
	struct cairn_error error; /* where code is not 0 */
	void *memory;             /* owned by libcairn */
};

/*
 * Make a handle. Connects at the first use. Options (NULL: all zero) are copied. Returns 0 and *C, or an
 * error with *E (may be NULL) filled: INVALID for a server that cannot be understood, UNAVAILABLE where no
 * server is known.
 */
enum cairn_code cairn_open(struct cairn **c, const struct cairn_options *options, struct cairn_error *e);
/* Close and free; requests under way end unanswered. NULL is allowed. Not from within a callback. */
void cairn_close(struct cairn *c);
void cairn_reply_free(struct cairn_reply *r);

/*
 * Send REQUEST (any operation, built with cairn_msg_start) and wait for its final answer; events of a stream
 * go to EVENT (may be NULL), which returns false to stop listening. Writes get a request id and are repeated
 * under it on another connection until the time runs out; then the answer is UNKNOWN when the request may
 * have reached a server, else TIMEOUT or UNAVAILABLE. Returns R->code.
 */
enum cairn_code cairn_call(struct cairn *c, const struct cairn_msg *request, struct cairn_reply *r);
typedef bool cairn_event_fn(void *arg, const struct cairn_reply *event);
enum cairn_code cairn_stream(struct cairn *c, const struct cairn_msg *request, cairn_event_fn *event,
			     void *arg, struct cairn_reply *r);

/*
 * The same without waiting. cairn_submit copies REQUEST, queues it (pipelined behind others) and returns at
 * once; DONE is called from cairn_dispatch, exactly once with R->event false, before that any number of times
 * with it true. The reply is valid during the call; DONE may call cairn_submit, nothing else of this handle
 * that waits or closes. Call cairn_dispatch afterwards, with 0 where you do not want to wait: it sends all
 * that was submitted in one write. Returns 0, INVALID for a request that is none, TOO_LARGE for one that no
 * server takes or when 64 MiB wait already, INTERNAL without memory. Answers, and the effects of requests
 * under way together, may come in any order.
 */
typedef void cairn_done_fn(void *arg, struct cairn_reply *r);
enum cairn_code cairn_submit(struct cairn *c, const struct cairn_msg *request, cairn_done_fn *done,
			     void *arg);
/*
 * The same, and *ID is what cairn_cancel takes. A watch (CAIRN_OP_WATCH), however it is submitted, goes on by
 * itself: when its connection breaks, or the server ends it with UNAVAILABLE (the reader was too slow, the
 * volume was emptied), it is taken up where it was, without gap or repetition, on any server of the list and
 * for as long as it takes. It has no time-out unless the request has one. DONE gets the progress messages
 * only where the request asks for them, but always the first one, which says that it is in force. It ends
 * with COMPACTED where changes were lost for good, or as any other request.
 */
enum cairn_code cairn_watch(struct cairn *c, const struct cairn_msg *request, cairn_done_fn *done, void *arg,
			    uint64_t *id);
/* Forget the request ID: its DONE is not called again. A stream ends; a write may still happen. Also from
 * within a callback. An ID that is over is ignored. */
void cairn_cancel(struct cairn *c, uint64_t id);
/*
 * A descriptor that is readable (poll POLLIN) when cairn_dispatch has something to do: answers, room to send,
 * a server to reconnect to, a time-out. It stays the same over reconnects. It does not tell that cairn_submit
 * was called.
 */
int cairn_fd(struct cairn *c);
/*
 * Do what can be done: send, receive, reconnect, expire. Waits at most WAIT_MS (0: not at all, -1: for ever)
 * until a callback was called or nothing is pending. Returns 0, or INVALID from within a callback.
 */
enum cairn_code cairn_dispatch(struct cairn *c, int wait_ms);
/* How many submitted requests have no final answer yet. */
size_t cairn_pending(const struct cairn *c);

/*
 * The common calls. KEY and VALUE are any bytes; VOLUME NULL is "main". REVISION (may be NULL) gets the new
 * or the read revision. cairn_get's value is valid until cairn_reply_free(R).
 */
enum cairn_code cairn_get(struct cairn *c, const char *volume, struct cairn_slice key,
			  struct cairn_slice *value, uint64_t *revision, struct cairn_reply *r);
enum cairn_code cairn_put(struct cairn *c, const char *volume, struct cairn_slice key,
			  struct cairn_slice value, uint64_t *revision, struct cairn_error *e);
enum cairn_code cairn_del(struct cairn *c, const char *volume, struct cairn_slice key, uint64_t *revision,
			  struct cairn_error *e);

/*
 * Values of any size in constant memory. cairn_put_stream reads the value from READ (which fills at most LEN
 * bytes and returns their number, 0 at the end, -1 on failure, CAIRN_READ_LATER where there is nothing yet),
 * stages what is larger than a command, and writes all of it at once with REQUEST: a put, append or patch
 * that lacks only value, upload and size. A server forgets what was staged after ten minutes without a
 * request about it: a READ that may wait long returns CAIRN_READ_LATER once a minute, and is called again.
 * cairn_get_stream hands the value of REQUEST (a get, perhaps of a range) to WRITE in pieces of one revision;
 * WRITE returns 0, or -1 to stop. R has the record's facts, its size among them, from the first piece on.
 */
#define CAIRN_READ_LATER (-2)
typedef long cairn_read_fn(void *arg, void *buffer, size_t len);
typedef int cairn_write_fn(void *arg, const void *data, size_t len);
enum cairn_code cairn_put_stream(struct cairn *c, const struct cairn_msg *request, cairn_read_fn *read,
				 void *arg, struct cairn_reply *r);
enum cairn_code cairn_get_stream(struct cairn *c, const struct cairn_msg *request, cairn_write_fn *write,
				 void *arg, struct cairn_reply *r);

/* The servers that a handle without a list would use, joined by commas, into BUFFER of LEN bytes. False where
 * none is known. */
bool cairn_find_servers(char *buffer, size_t len);
/* The server connected to now ("unix:…"), or NULL. Valid until the next call on C. */
const char *cairn_server(const struct cairn *c);
/* The 16 bytes that this handle gives as CLIENT with each write: who watches knows its own changes by them.
 */
struct cairn_slice cairn_identity(const struct cairn *c);
/* Version of libcairn as text. */
const char *cairn_version(void);

#endif
