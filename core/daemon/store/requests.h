/*
 * Repeated commands: each client's last results stand in its request row, so that nothing is ever applied
 * twice. The order of clients by age is kept in memory, made from the rows.
 */
#ifndef REQUESTS_H
#define REQUESTS_H

#include "state.h"

#define REQUESTS_CLIENTS_MAX 65536
#define REQUESTS_BYTES_MAX (64u << 20)
#define REQUESTS_IDLE_NS (600ull * 1000000000)
#define REQUESTS_RESULTS_MAX 128 /* of one client */
#define REQUESTS_RESULT_BYTES 256

/* What a command says about itself, and what is known of its client. */
struct request {
	struct row row;
	bool known;              /* the client has a row */
	struct cairn_slice body; /* of the row */
	uint64_t sequence, lowest, born;
	bool known_result; /* it was done, only reads, and is done again for its answer */
};

struct requests *requests_new(void);
void requests_free(struct requests *r);
/* Learn of the clients in the engine. 0 or a code with ERROR filled. */
enum cairn_code requests_load(struct store *s, struct cairn_error *error);
/* The batch that was being applied never came: go back to what the engine says. 0, or the store has stopped.
 */
enum cairn_code requests_reload(struct store *s);
/* Forget clients that are idle or too many; a few at each command. 0, or the store has stopped. */
enum cairn_code requests_evict(struct work *w);
/*
 * A command with a client begins. *DONE where it must not be applied: it was, and the answer (or the error,
 * whose code is returned) is the one it got; or its fate cannot be known.
 */
enum cairn_code requests_begin(struct work *w, unsigned op, const struct args *a, struct request *q,
			       bool *done);
/* It was applied at INDEX and ended with CODE; W has answer and error. Returns 0, or the store has stopped.
 */
enum cairn_code requests_end(struct work *w, const struct request *q, uint64_t index, enum cairn_code code);

/* again.c: results that are longer than REQUESTS_RESULT_BYTES. Flags of an entry: */
enum {
	RESULT_SHORTENED = 1 << 0,
	RESULT_HAD_OLD = 1 << 1, /* a record that was replaced, which may be in the key's history */
};
/* What is kept of *ANSWER, in the memory of the batch. 0, or the store has stopped. */
enum cairn_code result_reduce(struct work *w, struct cairn_slice *answer, unsigned *flags);
/* Whether the command OP with A changes nothing, so that it can be done again. */
bool result_is_read(unsigned op, const struct args *a);
/* Give the answer to the repeated command with A, of which KEPT was kept. 0, or the store has stopped. */
enum cairn_code result_again(struct work *w, const struct args *a, struct cairn_slice kept, unsigned flags);

/* For check: the digest's terms of the request row KEY with BODY, added to SUM. 0 or -EUCLEAN. */
int requests_digest(struct hash *sum, struct cairn_slice key, struct cairn_slice body);

#endif
