/*
 * What clients asked of a cluster, when, and what they were told; and whether that can be true.
 */
#ifndef HISTORY_H
#define HISTORY_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NEVER UINT64_MAX
#define TOKEN 16 /* bytes that one append adds */

enum record_kind { RECORD_READ, RECORD_WRITE, RECORD_SWAP, RECORD_APPEND, RECORD_SCAN };

/* Times are of the monotonic clock, in ns. ANSWER is NEVER where the fate is not known. */
struct record {
	enum record_kind kind;
	unsigned key, client, node;
	uint64_t call, answer;
	uint64_t value;    /* of a register; an append's token; a SCAN: digest of what was read */
	uint64_t expected; /* SWAP: what had to be there; a SCAN: how many tokens were read */
	bool done;         /* SWAP with an answer */
};

struct history {
	pthread_mutex_t lock;
	struct record *records;
	size_t count, room;
};

/* From any thread. */
void history_add(struct history *h, const struct record *r);
/* Whether the registers' histories are linearizable. Tells on standard output what is not; *HARD gets the
 * number of keys on which the check gave up. Sorts the records. */
bool history_check_registers(struct history *h, size_t *keys, size_t *hard);
/* Whether what was appended to KEY can have become TEXT, of LEN bytes, and everybody have read what he read.
 */
bool history_check_log(struct history *h, unsigned key, const char *text, size_t len);
/* Of LEN bytes. */
uint64_t history_digest(const char *text, size_t len);
void history_free(struct history *h);

#endif
