/* Inside load.c and salvage.c: an engine that is being filled, row by row. */
#ifndef LOAD_H
#define LOAD_H

#include "content.h"
#include "snapshot.h"
#include "stream.h"

#define LOAD_BATCH_BYTES (4u << 20)
#define LOAD_BATCH_ROWS 8192 /* one more may be pending */

struct store_load {
	struct engine *engine;
	struct cairn_error *error; /* of the call under way */
	const char *why;           /* what is wrong with the row, after CORRUPT */
	struct stream_reader frame;
	bool checksums;       /* rows end with one in this engine */
	bool begun;           /* the facts have been read */
	uint64_t key_most;    /* the store's key-max becomes this where it is more; 0: then it is refused */
	struct meta meta;     /* of the stream */
	struct pending batch; /* rows that are not in the engine yet */
	size_t batch_bytes;
	struct cairn_guard guard;
	size_t last_len; /* of the key of the row before */
	unsigned char last[STORE_KEY_MAX + 1];
	uint64_t rows, bytes; /* of the stream */
	uint64_t end_rows;    /* as its last block says */
	uint64_t end_bytes;
	uint64_t chunks, held;           /* chunks that there are, and those that a list holds */
	uint64_t chunk, newest, file_id; /* the highest ones that were seen */
	struct hash sum;                 /* what meta says, from the rows */
	uint64_t keys, values, staged, clients, request_bytes, history;
	struct cairn_write writes[LOAD_BATCH_ROWS + 2];
	struct iovec pieces[2 * (LOAD_BATCH_ROWS + 2)];
	unsigned char sums[LOAD_BATCH_ROWS + 2][ROW_CHECKSUM];
};

/* Take one row, in the order of the keys. CORRUPT where it cannot be what it is said to be (L->why): then it
 * changed nothing. */
enum cairn_code load_row(struct store_load *l, struct cairn_slice key, struct cairn_slice body);
/* Put a row in as it is. */
enum cairn_code load_put(struct store_load *l, struct cairn_slice key, struct cairn_slice body);
/* The row of KEY, pending or in the engine: 0, -ENOENT or another -errno. Within a guard of L->guard. */
int load_get(struct store_load *l, struct cairn_slice key, struct cairn_slice *body);
/* All rows are there: settle the counts of chunks, and write META (of which what follows from rows and engine
 * is set here) with the last batch. */
enum cairn_code load_end(struct store_load *l, struct meta *meta);

#endif
