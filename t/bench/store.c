/*
 * How fast the store is in-process, by the CPU time of its one thread: puts in batches, gets, and listings
 * with the values, of VALUE bytes over KEYS keys. One line of JSON for each round. Only the store is
 * measured: the commands of some batches are made before the clock is read. Calls of malloc and its like are
 * counted.
 *
 *   store [ENGINE [KEYS [VALUE [BATCH [ROUNDS [HISTORY [PUTS]]]]]]]
 *   by default: store memory 100000 256 64 5 0 1000000
 *
 * HISTORY is how many versions of a key are kept, and one second of them by the store's clock (a million
 * puts), with a step of reclaim after each batch.
 */
#include <time.h>
#include "feed.h"
#include "storehouse.h"
#include "banned.h"

#define BATCH_MAX 256
#define AHEAD 64   /* requests, or one batch, that are made before the clock runs */
#define FEED 32768 /* puts that fill the feed of changes */
#define ROUNDS_MAX 99

/* malloc and its like, for this program and the plugins that it loads; glibc has them under a second name.
 * Sanitizers bring their own. */
static unsigned long mallocs;

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__GLIBC__) && !defined(SANITIZED) && !defined(__SANITIZE_ADDRESS__) && \
	!defined(__SANITIZE_THREAD__)
#define COUNTED 1
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

void *malloc(size_t size)
{
	mallocs++;
	return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	mallocs++;
	return __libc_calloc(count, size);
}

void *realloc(void *p, size_t size)
{
	mallocs++;
	return __libc_realloc(p, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
	mallocs++;
	return __libc_memalign(alignment, size);
}
#else
#define COUNTED 0
#endif

struct bench {
	struct house h;
	uint64_t keys, batch, ahead, seed, history, puts;
	size_t value;
	struct cairn_msg commands[BATCH_MAX], answers[BATCH_MAX];
	unsigned char *bytes;
};

/* What one kind of request costs. */
struct cost {
	uint64_t count, ns;
	unsigned long mallocs;
};

/* CPU time of this process, ns. */
static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void begin(struct cost *c)
{
	c->mallocs -= mallocs;
	c->ns -= now();
}

static void end(struct cost *c, uint64_t count)
{
	c->ns += now();
	c->mallocs += mallocs;
	c->count += count;
}

static double rate(const struct cost *c)
{
	return (double)c->count * 1e9 / (double)c->ns;
}

static double each(const struct cost *c)
{
	return (double)c->mallocs / (double)c->count;
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

static void apply(struct bench *b, struct store_command *c)
{
	bool more;

	if (store_apply(b->h.store, c, b->batch, false, &b->h.error))
		bail("the store stopped: %s", b->h.error.message);
	if (b->history)
		store_reclaim(b->h.store, 0, false, &more, &b->h.error);
}

/* Put AHEAD keys: from FIRST on, or where that is UINT64_MAX any ones. */
static void put(struct bench *b, uint64_t first, struct cost *cost)
{
	struct store_command c[BATCH_MAX];

	for (uint64_t i = 0; i < b->ahead; i++) {
		struct cairn_msg *m = &b->commands[i];

		cairn_msg_start(m, CAIRN_OP_PUT);
		cairn_msg_u64(m, CAIRN_F_TIME, b->h.time_ns += 1000);
		add_key(m, first == UINT64_MAX ? draw(b, b->keys) : (first + i) % b->keys);
		cairn_msg_bytes(m, CAIRN_F_VALUE, cairn_slice(b->bytes + i, b->value));
		c[i] = (struct store_command){ .position = { ++b->h.index, 1 },
					       .message = cairn_msg_slice(m),
					       .answer = &b->answers[i] };
	}
	begin(cost);
	for (uint64_t i = 0; i < b->ahead; i += b->batch)
		apply(b, c + i);
	end(cost, b->ahead);
}

/* As many at once as there are commands in a batch, like a client that has so many under way. */
static void get(struct bench *b, struct cost *cost)
{
	uint64_t many = b->batch < STORE_GETS ? b->batch : STORE_GETS, n;

	for (uint64_t i = 0; i < b->ahead; i++) {
		cairn_msg_start(&b->commands[i], CAIRN_OP_GET);
		add_key(&b->commands[i], draw(b, b->keys));
	}
	begin(cost);
	for (uint64_t i = 0; i < b->ahead; i += n) {
		struct store_get gets[STORE_GETS];

		n = b->ahead - i < many ? b->ahead - i : many;
		for (uint64_t k = 0; k < n; k++) {
			cairn_msg_start(&b->answers[i + k], 0);
			gets[k] = (struct store_get){ .fields = cairn_message_fields(
							      cairn_msg_slice(&b->commands[i + k])),
						      .answer = &b->answers[i + k],
						      .error = &b->h.error };
		}
		store_get_many(b->h.store, gets, n, 0);
		for (uint64_t k = 0; k < n; k++)
			if (gets[k].code)
				bail("a get failed: %s", b->h.error.message);
	}
	end(cost, b->ahead);
}

/* A listing with the values, page by page. */
static void list(struct bench *b, struct cost *cost)
{
	struct cairn_msg *m = &b->commands[0], *answer = &b->answers[0];
	unsigned char kept[STORE_KEY_MAX + 2];
	struct cairn_slice cursor = { 0 };
	uint64_t n = 0;

	begin(cost);
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
	end(cost, n);
}

/* One round, and its line. */
static void measure(struct bench *b, const char *engine, uint64_t round)
{
	struct cost puts = { 0 }, gets = { 0 }, rows = { 0 };

	while (puts.count < b->puts)
		put(b, UINT64_MAX, &puts);
	while (gets.count < b->puts)
		get(b, &gets);
	list(b, &rows);
	printf("{\"engine\":\"%s\",\"keys\":%llu,\"value\":%zu,\"history\":%llu,\"batch\":%llu,\"round\":%"
	       "llu,"
	       "\"puts_per_s\":%.0f,\"gets_per_s\":%.0f,\"rows_per_s\":%.0f",
	       engine, (unsigned long long)b->keys, b->value, (unsigned long long)b->history,
	       (unsigned long long)b->batch, (unsigned long long)round, rate(&puts), rate(&gets),
	       rate(&rows));
	if (COUNTED)
		printf(",\"mallocs_per_put\":%.6f,\"mallocs_per_get\":%.6f", each(&puts), each(&gets));
	printf("}\n");
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
	struct cost filling = { 0 };
	uint64_t rounds, warm;

	b->seed = 88172645463325252ull;
	b->keys = number(argc, argv, 2, 100000, 100000000);
	b->value = number(argc, argv, 3, 256, 200000);
	b->batch = number(argc, argv, 4, 64, BATCH_MAX);
	b->ahead = b->batch > AHEAD ? b->batch : AHEAD / b->batch * b->batch;
	rounds = number(argc, argv, 5, 5, ROUNDS_MAX);
	b->bytes = calloc(1, b->value + BATCH_MAX);
	b->history = argc > 6 ? strtoull(argv[6], NULL, 10) : 0;
	b->puts = number(argc, argv, 7, 1000000, 1000000000);
	settings.history = b->history;
	settings.history_age_ns = 1000000000;
	if (!house_open_with(&b->h, engine, &settings))
		bail("no engine %s in this build", engine);
	store_feed_limit(b->h.store, 128 * FEED); /* 4 MiB, as a node has it by itself */
	for (uint64_t i = 0; i < b->keys; i += b->ahead)
		put(b, i, &filling);
	warm = 2 * b->keys + FEED + (b->history ? b->puts : 0);
	while (filling.count < warm) /* memory is as mixed, and history and feed as long, as they will be */
		put(b, UINT64_MAX, &filling);
	get(b, &filling);
	for (uint64_t i = 1; i <= rounds; i++)
		measure(b, engine, i);
	for (int i = 0; i < BATCH_MAX; i++) {
		cairn_msg_free(&b->commands[i]);
		cairn_msg_free(&b->answers[i]);
	}
	house_close(&b->h);
	free(b->bytes);
	free(b);
	return 0;
}
