/*
 * Whether a history of operations on one register is linearizable: Wing and Gong's search with Lowe's cache
 * ("Testing for Linearizability", 2017). An operation whose fate is not known may have happened at any time
 * after its call, or never.
 */
#ifndef LINEAR_H
#define LINEAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum linear_kind { LINEAR_READ, LINEAR_WRITE, LINEAR_SWAP };

struct linear_op {
	enum linear_kind kind;
	uint64_t call, answer; /* times; ANSWER is UINT64_MAX where none came */
	uint64_t value;        /* read, or to be written */
	uint64_t expected;     /* SWAP: written only where this stands */
	bool done;             /* SWAP with an answer: whether it was */
};

/* Whether the COUNT operations at OPS, in any order, are linearizable for a register that begins with 0. 1 or
 * 0; -1 where that takes more than a bounded effort. */
int linear_check(const struct linear_op *ops, size_t count);

#endif
