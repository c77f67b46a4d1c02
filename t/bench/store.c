/*
 * How fast the store is in-process, by the CPU time of its one thread: puts in batches, gets, and listings
 * with the values, of VALUE bytes over KEYS keys. One line of JSON for each round and one with the medians.
 *
 *   store [ENGINE [KEYS [VALUE [BATCH [ROUNDS [HISTORY]]]]]], by default: store memory 100000 256 64 5 0
 *
 * HISTORY is how many versions of a key are kept, and one second of them by the store's clock, with a step of
 * reclaim after each batch.
 */
#include <time.h>
#include "storehouse.h"
#include "banned.h"

#define BATCH_MAX 256
#define ROUNDS_MAX 99

struct bench {
	struct house h;
	uint64_t keys, batch, rounds, seed, history;
	size_t value;
	struct cairn_msg commands[BATCH_MAX], answers[BATCH_MAX];
	unsigned char *bytes;
};

/* CPU time of this process, ns. */
static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static uint64_t draw(struct bench *b, uint64_t below)
{
	b->seed ^= b->seed << 13;
	b->seed ^= b->seed >> 7;
	b->seed ^= b->seed << 17;
	return b->seed % below;
}

static void add_key(struct cairn_msg *m, uint64_t n)
{
	char *p = cairn_msg_room(m, CAIRN_F_KEY, 16);

	memcpy(p, "key:", 4);
	for (int i = 15; i >= 4; i--, n /= 10)
		p[i] = (char)('0' + n % 10);
}

static void put_batch(struct bench *b, uint64_t first, bool in_order)
{
	struct store_command c[BATCH_MAX];

	for (uint64_t i = 0; i < b->batch; i++) {
		struct cairn_msg *m = &b->commands[i];

		cairn_msg_start(m, CAIRN_OP_PUT);
		cairn_msg_u64(m, CAIRN_F_TIME, b->h.time_ns += 1000);
		add_key(m, in_order ? (first + i) % b->keys : draw(b, b->keys));
		cairn_msg_bytes(m, CAIRN_F_VALUE, cairn_slice(b->bytes + i, b->value));
		c[i] = (struct store_command){ .position = { ++b->h.index, 1 },
					       .message = cairn_msg_slice(m),
					       .answer = &b->answers[i] };
	}
	if (store_apply(b->h.store, c, b->batch, false, &b->h.error))
		bail("the store stopped: %s", b->h.error.message);
	if (b->history) {
		bool more;

		store_reclaim(b->h.store, 0, false, &more, &b->h.error);
	}
}

static double puts_of(struct bench *b)
{
	uint64_t n = 10 * b->keys / b->batch, start = now();

	for (uint64_t i = 0; i < n; i++)
		put_batch(b, 0, false);
	return (double)(n * b->batch) * 1e9 / (double)(now() - start);
}

static double gets_of(struct bench *b)
{
	uint64_t n = 10 * b->keys, start = now();
	struct cairn_msg *m = &b->commands[0];

	for (uint64_t i = 0; i < n; i++) {
		cairn_msg_start(m, CAIRN_OP_GET);
		add_key(m, draw(b, b->keys));
		cairn_msg_start(&b->answers[0], 0);
		if (store_get(b->h.store, cairn_message_fields(cairn_msg_slice(m)), 0, &b->answers[0], NULL,
			      &b->h.error))
			bail("a get failed: %s", b->h.error.message);
	}
	return (double)n * 1e9 / (double)(now() - start);
}

/* Rows of a listing with their values, page by page. */
static double rows_of(struct bench *b)
{
	struct cairn_msg *m = &b->commands[0], *answer = &b->answers[0];
	unsigned char kept[STORE_KEY_MAX + 2];
	struct cairn_slice cursor = { 0 };
	uint64_t n = 0, start = now();

	do {
		cairn_msg_start(m, CAIRN_OP_SCAN);
		if (cursor.len)
			cairn_msg_bytes(m, CAIRN_F_CURSOR, cursor);
		cairn_msg_start(answer, 0);
		if (store_scan(b->h.store, cairn_message_fields(cairn_msg_slice(m)), 0, 65536, answer, NULL,
			       &b->h.error))
			bail("a scan failed: %s", b->h.error.message);
		n += cairn_field_u64(cairn_message_fields(cairn_msg_slice(answer)), CAIRN_F_COUNT, 0);
		if (!cairn_field_find(cairn_message_fields(cairn_msg_slice(answer)), CAIRN_F_CURSOR, &cursor))
			cursor.len = 0;
		if (cursor.len)
			cursor.data = memcpy(kept, cursor.data, cursor.len);
	} while (cursor.len);
	return (double)n * 1e9 / (double)(now() - start);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, uint64_t n)
{
	qsort(v, n, sizeof(*v), by_value);
	return v[n / 2];
}

static uint64_t number(int argc, char **argv, int i, uint64_t otherwise, uint64_t most)
{
	uint64_t n = argc > i ? strtoull(argv[i], NULL, 10) : otherwise;

	if (!n || n > most)
		bail("argument %d is out of range", i);
	return n;
}

int main(int argc, char **argv)
{
	const char *engine = argc > 1 ? argv[1] : "memory";
	struct bench *b = calloc(1, sizeof(*b));
	struct store_settings settings = house_settings;
	double puts[ROUNDS_MAX], gets[ROUNDS_MAX], rows[ROUNDS_MAX];

	b->seed = 88172645463325252ull;
	b->keys = number(argc, argv, 2, 100000, 100000000);
	b->value = number(argc, argv, 3, 256, 200000);
	b->batch = number(argc, argv, 4, 64, BATCH_MAX);
	b->rounds = number(argc, argv, 5, 5, ROUNDS_MAX);
	b->bytes = calloc(1, b->value + BATCH_MAX);
	b->history = argc > 6 ? strtoull(argv[6], NULL, 10) : 0;
	settings.history = b->history;
	settings.history_age_ns = 1000000000;
	if (!house_open_with(&b->h, engine, &settings))
		bail("no engine %s in this build", engine);
	for (uint64_t i = 0; i < b->keys; i += b->batch)
		put_batch(b, i, true);
	for (uint64_t i = 0; i < b->rounds; i++) {
		puts[i] = puts_of(b);
		gets[i] = gets_of(b);
		rows[i] = rows_of(b);
		printf("{\"engine\":\"%s\",\"round\":%llu,\"puts_per_s\":%.0f,\"gets_per_s\":%.0f,\"rows_per_"
		       "s\":%.0f}\n",
		       engine, (unsigned long long)i + 1, puts[i], gets[i], rows[i]);
	}
	printf("{\"engine\":\"%s\",\"keys\":%llu,\"value\":%zu,\"batch\":%llu,\"history\":%llu,\"puts_per_"
	       "s\":%.0f,\"gets_per_"
	       "s\":%.0f,"
	       "\"rows_per_s\":%.0f}\n",
	       engine, (unsigned long long)b->keys, b->value, (unsigned long long)b->batch,
	       (unsigned long long)b->history, median(puts, b->rounds), median(gets, b->rounds),
	       median(rows, b->rounds));
	for (int i = 0; i < BATCH_MAX; i++) {
		cairn_msg_free(&b->commands[i]);
		cairn_msg_free(&b->answers[i]);
	}
	house_close(&b->h);
	free(b->bytes);
	free(b);
	return 0;
}
