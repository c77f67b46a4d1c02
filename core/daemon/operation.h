/*
 * Operations, written once for every face: a table row (operations.c) with arguments and a function. A face
 * (control socket in JSON or binary; gateways later) makes a struct call, checks it here, and gets fields back.
 */
#ifndef OPERATION_H
#define OPERATION_H

#include "node.h"
#include "volume.h"

/* One argument of an operation. A list ends with field 0. */
struct operation_argument {
	unsigned char field;
	bool required;
};

struct call;

struct operation {
	const struct operation_argument *arguments;
	bool small; /* bounded small cost: may run in the loop */
	/* Serve C; ends with call_done, now or later, exactly once. */
	void (*run)(struct call *c);
};

/* The row of OP, or NULL. Static. */
const struct operation *operation(unsigned op);

/* A request under way. The face owns it, from call_start until its done() is called. */
struct call {
	struct node *node;
	struct loop *loop;	    /* of the connection: everything happens in its thread */
	unsigned op;
	struct cairn_slice fields;  /* arguments, checked; stay valid until done */
	enum cairn_permission may;  /* what the caller may do */
	const char *author, *face;  /* user@node, and which face; valid until done */
	uint64_t deadline_ns;	    /* loop time */
	struct cairn_msg answer;    /* the result's fields; begun by call_start, freed by the face after done */
	struct cairn_error error;   /* code 0 when it worked */
	/*
	 * One event of a stream: ANSWER holds its fields and is begun anew afterwards. Returns false while the
	 * connection is full: the operation then waits until RESUME is called, and MAY end early when CANCELLED is set.
	 */
	bool (*event)(struct call *c);
	void (*resume)(struct call *c); /* set by the operation, called by the face */
	bool cancelled;
	void (*done)(struct call *c);
	struct volume *volume;	    /* held by the operation while it needs it */
	struct shard_write write;   /* for operations that write */
	uint64_t start_ns;	    /* for the latency histogram */
	void *priv;		    /* the operation's */
};

/*
 * Check C (permission, arguments known, required ones there, no argument twice unless it is a list) and run it.
 * FIELDS must have passed cairn_fields_check.
 */
void call_start(struct call *c);
/* End C: counts it, measures it, calls done. */
void call_done(struct call *c);

#endif
