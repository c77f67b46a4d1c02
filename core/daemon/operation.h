/*
 * Operations, written once for every face: a table row (operation.c) with arguments and a function. A face
 * (control socket in JSON or binary; gateways later) makes a struct call, checks it here, and gets fields
 * back.
 */
#ifndef OPERATION_H
#define OPERATION_H

#include "node.h"
#include "pool.h"
#include "volume.h"

/* One argument of an operation. A list of them ends with field 0. */
struct operation_argument {
	unsigned char field;
	bool required;
};

/* What every operation takes: volume, timeout_ms, face and the request id of a write. */
extern const struct operation_argument operation_common[];

struct call;

/* What operations are limited to: bytes of rows in one page of a stream. */
#define OPERATION_PAGE 65536

struct operation {
	const struct operation_argument *arguments;
	bool on_volume; /* works on a volume, which call_start looks up */
	bool nested;    /* may stand inside a transaction */
	/* Serve C; ends with call_done, now or later, exactly once. */
	void (*run)(struct call *c);
};

/* The row of OP, or NULL. Static. */
const struct operation *operation(unsigned op);
/* Give ERROR the hint which operation was probably meant by NAME. */
void operation_hint(const char *name, struct cairn_error *error);

/* A request under way. The face owns it, from call_start until its done() is called. */
struct call {
	struct node *node;
	struct loop *loop; /* of the connection: everything happens in its thread */
	unsigned op;
	/* Arguments, well formed. They may lie in the face's input: valid until run() returns, or until done
	 * after keep(). */
	struct cairn_slice fields;
	bool (*keep)(struct call *c); /* move them out of the input; false when there is no memory */
	enum cairn_permission may;    /* what the caller may do */
	const char *author, *face;    /* user@node, and which face; valid until done */
	uint64_t deadline_ns;         /* loop time; set by call_start */
	struct cairn_msg answer;      /* the result's fields; begun by call_start, its memory is the face's to
					 reuse or free after done */
	struct cairn_error error;     /* code 0 when it worked */
	/*
	 * Send ANSWER as one event of a stream, and begin it anew. Returns false when the connection is full
	 * by now: the operation then does nothing until RESUME is called.
	 */
	bool (*event)(struct call *c);
	void (*resume)(struct call *c); /* set by an operation that streams; called by the face */
	void (*cancel)(struct call *c); /* may be set by one that waits for something else than the
					   connection: CANCELLED was set */
	/* C will take long and do little: it does not count as under way any more. False where the connection
	 * has too many such. */
	bool (*park)(struct call *c);
	bool cancelled; /* nobody wants more events: the operation ends soon */
	void (*done)(struct call *c);
	struct volume *volume;    /* held from call_start to call_done; NULL for operations without one */
	struct shard_write write; /* for operations that write; its messages' memory is the face's to reuse or
				     free after done */
	struct shard_read read;   /* for operations that read, where other nodes must be asked */
	struct pool_task work;    /* what has to wait for a disk */
	struct loop_task back;    /* its way back into the loop */
	uint64_t start_ns;        /* for the latency histogram */
	uint64_t rows;            /* of a stream so far */
	bool more;                /* a scan: rows follow behind its cursor */
	void *priv;               /* the operation's */
	struct reads *reads;      /* where gets may wait for others, until reads_serve; NULL: nowhere */
};

/* Gets that came together, and are served together. Of the loop's thread. */
struct reads {
	struct call *calls[STORE_GETS];
	size_t count;
};
/* Serve them. Their fields must be valid still. */
void reads_serve(struct reads *r);

/*
 * Check C (permission, arguments known, required ones there, none twice unless it is a list), hold its volume
 * and run it. FIELDS must have passed cairn_fields_check. NODE, LOOP, OP, FIELDS, KEEP, MAY, AUTHOR, FACE,
 * EVENT and DONE are set by the face; the rest is zero, or was left by call_done.
 */
void call_start(struct call *c);
/* End C: counts it, measures it, lets go of its volume, calls done. In the loop's thread. */
void call_done(struct call *c);
/* End C with an error. */
__attribute__((format(printf, 3, 4))) void call_fail(struct call *c, enum cairn_code code, const char *format,
						     ...);
/* Nobody wants more events of C: sets CANCELLED, and resumes it where it WAITS for the connection, else tells
 * it. */
void call_cancel(struct call *c, bool waits);

/* The operations' functions. op_data.c: */
void op_read(struct call *c);
void op_scan(struct call *c);
void op_write(struct call *c);
/* op_admin.c: */
void op_ping(struct call *c);
void op_status(struct call *c);
void op_metrics(struct call *c);
void op_operations(struct call *c);
void op_plugin_list(struct call *c);
void op_plugin_show(struct call *c);
void op_volume_list(struct call *c);
void op_volume_create(struct call *c);
void op_volume_drop(struct call *c);
void op_volume_stats(struct call *c);
void op_config_get(struct call *c);
void op_config_set(struct call *c);
void op_log_level(struct call *c);
void op_digest(struct call *c);
/* The change of a volume that C asks for; its ARG and DONE are the caller's to set. NULL where C has failed.
 */
struct volume_change *volume_change_of(struct call *c);
void volume_change_free(struct volume_change *v);
/* op_cluster.c: the state and its sentence, and the nodes, as fields of the answer to status. */
void status_state(struct call *c);
void status_nodes(struct call *c);
/* op_watch.c: */
void op_watch(struct call *c);
/* op_upkeep.c: */
void op_check(struct call *c);
void op_compact(struct call *c);
void op_flush(struct call *c);
void op_convert(struct call *c);
/* op_journal.c: */
void op_journal(struct call *c);
/* op_snapshot.c: */
void op_snapshot_save(struct call *c);
void op_snapshot_restore(struct call *c);
/* Give up the restores that are under way; the workers have ended. */
void restores_close(struct node *n);

#endif
