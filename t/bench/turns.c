/*
 * What two states of one engine cost, measured by turns in one process, since a machine changes while it
 * measures:
 *
 *   turns keys DIR ENGINE SLICES SECONDS FEW MANY   synced puts of 100 bytes, one by one, into FEW and into
 * MANY keys turns merge DIR ENGINE SLICES SECONDS KEYS      gets and unsynced batches of 16 puts of 1 KiB,
 * with and without maintain() beside them turns batch DIR ENGINE SLICES SECONDS           synced batches of 8
 * MiB, and the same written raw and synced
 *
 * Each of SLICES slices lasts SECONDS. One line of JSON for each, then the median of the slices' ratios.
 * Everything lies below the folder DIR, in folders that are made anew and removed at the end.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "clock.h"
#include "engine.h"
#include "files.h"
#include "loader.h"
#include "banned.h"

#define POOL (1u << 20) /* bytes that values are cut from */
#define KEY 16
#define PUTS 8192        /* of the largest batch */
#define UPKEEP_US 5000   /* what one maintain() may take, as in the daemon */
#define PAUSE_NS 500000  /* of the writer, between two batches */
#define TIMES (1u << 22) /* latencies kept of a slice */
#define RAW_BYTES (1u << 28)
#define SLICES_MAX 200

/* An engine of its own; one thread writes at a time, under LOCK. */
struct side {
	struct engine e;
	char dir[4096];
	uint64_t keys, index;
	pthread_mutex_t lock;
};

static char pool[POOL + 65536]; /* random bytes; written once, before threads start */

_Noreturn __attribute__((format(printf, 1, 2))) static void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

static uint64_t draw(uint64_t *dice)
{
	uint64_t z = *dice += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static void side_open(struct side *s, const struct cairn_engine *plugin, const char *dir, const char *name,
		      uint64_t keys)
{
	struct cairn_error error;

	snprintf(s->dir, sizeof(s->dir), "%s/%s", dir, name);
	folder_remove(AT_FDCWD, s->dir);
	if (mkdir(s->dir, 0700))
		die("%s: %s", s->dir, strerror(errno));
	if (engine_open(&s->e, plugin, s->dir, NULL, 0, &error))
		die("%s", error.message);
	s->keys = keys;
	s->index = 0;
	pthread_mutex_init(&s->lock, NULL);
}

static void side_close(struct side *s)
{
	engine_close(&s->e);
	folder_remove(AT_FDCWD, s->dir);
}

static void key_of(uint64_t n, char key[KEY])
{
	for (int i = KEY; i-- > 0; n /= 10)
		key[i] = (char)('0' + n % 10);
}

/* A batch of COUNT puts of LEN bytes, of the keys from FIRST on, or random ones where that is UINT64_MAX. */
static void put(struct side *s, uint64_t *dice, size_t count, size_t len, uint64_t first, bool sync)
{
	static char keys[PUTS][KEY];
	static struct iovec pieces[PUTS];
	static struct cairn_write writes[PUTS];
	struct cairn_error error = { 0 };
	struct cairn_batch batch = { .writes = writes, .count = count };

	pthread_mutex_lock(&s->lock);
	batch.position = (struct cairn_position){ ++s->index, 1 };
	for (size_t i = 0; i < count; i++) {
		key_of(first == UINT64_MAX ? draw(dice) % s->keys : first + i, keys[i]);
		pieces[i] = (struct iovec){ pool + draw(dice) % POOL, len };
		writes[i] = (struct cairn_write){ .kind = CAIRN_WRITE_PUT,
						  .key = cairn_slice(keys[i], KEY),
						  .iov = &pieces[i],
						  .iov_count = 1 };
	}
	if (s->e.ops.write(s->e.handle, &batch, sync, &error))
		die("write: %s", error.message);
	pthread_mutex_unlock(&s->lock);
}

static void fill(struct side *s, size_t len)
{
	uint64_t dice = 1;

	for (uint64_t k = 0; k < s->keys; k += 1000)
		put(s, &dice, s->keys - k < 1000 ? s->keys - k : 1000, len, k, false);
	put(s, &dice, 1, len, 0, true);
}

/* Do all background work. */
static void settle(struct side *s)
{
	bool more = true;

	while (more)
		if (s->e.ops.maintain(s->e.handle, UPKEEP_US, &more))
			die("maintain failed");
}

static int by_number(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *v, int n)
{
	qsort(v, (size_t)n, sizeof(*v), by_number);
	return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

static void say_ratio(const char *what, double *v, int n)
{
	double m = median(v, n);

	printf("# %s: %.2f (%.2f to %.2f)\n", what, m, v[0], v[n - 1]);
}

/* ---- keys ---- */

static double synced_rate(struct side *s, uint64_t *dice, double seconds)
{
	uint64_t start = clock_boot_ns(), now = start, end = start + (uint64_t)(seconds * 1e9), done = 0;
	double rate;

	for (; now < end; done++, now = clock_boot_ns())
		put(s, dice, 1, 100, UINT64_MAX, true);
	rate = (double)done * 1e9 / (double)(now - start);
	printf("{\"keys\":%llu,\"synced_puts\":%llu,\"rate\":%.0f}\n", (unsigned long long)s->keys,
	       (unsigned long long)done, rate);
	return rate;
}

static void keys_by_turns(const struct cairn_engine *plugin, const char *dir, int slices, double seconds,
			  char **args)
{
	double ratios[SLICES_MAX], few, many;
	struct side a, b;
	uint64_t dice = 7;

	side_open(&a, plugin, dir, "few", strtoull(args[0], NULL, 10));
	side_open(&b, plugin, dir, "many", strtoull(args[1], NULL, 10));
	fill(&a, 100);
	fill(&b, 100);
	settle(&a);
	settle(&b);
	for (int i = 0; i < slices; i++) {
		few = i % 2 ? 0 : synced_rate(&a, &dice, seconds);
		many = synced_rate(&b, &dice, seconds);
		few = few > 0 ? few : synced_rate(&a, &dice, seconds);
		ratios[i] = many / few;
	}
	say_ratio("rate of synced puts with many keys to that with few", ratios, slices);
	side_close(&a);
	side_close(&b);
}

/* ---- merge ---- */

struct merging {
	struct side *s;
	_Atomic bool stop;
	bool busy;        /* whether maintain() still had something to do; the upkeep thread's */
	float *gets;      /* us */
	size_t get_count; /* the reader's */
};

static void *read_on(void *arg)
{
	struct merging *m = arg;
	struct engine *e = &m->s->e;
	uint64_t dice = clock_boot_ns();
	struct cairn_slice value;
	char key[KEY];

	while (!atomic_load(&m->stop) && m->get_count < TIMES) {
		struct cairn_guard guard = { 0 };
		uint64_t before = clock_boot_ns();

		key_of(draw(&dice) % m->s->keys, key);
		e->ops.read_begin(e->handle, &guard);
		if (e->ops.get(e->handle, &guard, NULL, cairn_slice(key, KEY), 0, &value))
			die("a key is missing");
		e->ops.read_end(e->handle, &guard);
		m->gets[m->get_count++] = (float)(clock_boot_ns() - before) / 1000;
	}
	return NULL;
}

static void *keep_up(void *arg)
{
	struct merging *m = arg;

	for (m->busy = true; m->busy && !atomic_load(&m->stop);) {
		pthread_mutex_lock(&m->s->lock);
		if (m->s->e.ops.maintain(m->s->e.handle, UPKEEP_US, &m->busy))
			die("maintain failed");
		pthread_mutex_unlock(&m->s->lock);
		usleep(100); /* the writer may have its turn */
	}
	return NULL;
}

static int by_time(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return x < y ? -1 : x > y;
}

static double p99(float *times, size_t count)
{
	qsort(times, count, sizeof(*times), by_time);
	return count ? (double)times[count * 99 / 100] : 0;
}

/* One slice; it ends early where all is merged. *GET and *PUT are the p99 in us. */
static void merge_slice(struct side *s, bool merging, double seconds, double *get, double *write)
{
	static float gets[TIMES], puts[TIMES];
	struct merging m = { .s = s, .gets = gets };
	uint64_t end = clock_boot_ns() + (uint64_t)(seconds * 1e9), dice = end;
	size_t batches = 0;
	pthread_t reader, upkeep;

	if (pthread_create(&reader, NULL, read_on, &m) ||
	    (merging && pthread_create(&upkeep, NULL, keep_up, &m)))
		die("no thread");
	for (uint64_t now = clock_boot_ns(); now < end; now = clock_boot_ns()) {
		put(s, &dice, 16, 1024, UINT64_MAX, false);
		puts[batches++] = (float)(clock_boot_ns() - now) / 1000;
		usleep(PAUSE_NS / 1000);
	}
	atomic_store(&m.stop, true);
	pthread_join(reader, NULL);
	if (merging)
		pthread_join(upkeep, NULL);
	*get = p99(gets, m.get_count);
	*write = p99(puts, batches);
	printf("{\"merging\":%s,\"gets\":%zu,\"get_p50_us\":%.1f,\"get_p99_us\":%.1f,\"batches\":%zu,\"batch_"
	       "p50_us\":%.1f,"
	       "\"batch_p99_us\":%.1f,\"left\":%s}\n",
	       merging ? "true" : "false", m.get_count, (double)gets[m.get_count / 2], *get, batches,
	       (double)puts[batches / 2], *write, m.busy ? "true" : "false");
}

static void merge_by_turns(const struct cairn_engine *plugin, const char *dir, int slices, double seconds,
			   char **args)
{
	double gets[SLICES_MAX], puts[SLICES_MAX], quiet[2], busy[2];
	struct side s;
	uint64_t dice = 7;

	side_open(&s, plugin, dir, "merge", strtoull(args[0], NULL, 10));
	fill(&s, 1024);
	for (int i = 0; i < slices; i++) {
		settle(&s);
		merge_slice(&s, false, seconds, &quiet[0], &quiet[1]);
		for (uint64_t k = 0; k < s.keys; k += 1000) /* so that there is enough to merge */
			put(&s, &dice, 1000, 1024, UINT64_MAX, k + 1000 >= s.keys);
		merge_slice(&s, true, seconds, &busy[0], &busy[1]);
		gets[i] = busy[0] / quiet[0];
		puts[i] = busy[1] / quiet[1];
	}
	say_ratio("p99 of gets while merging to that in quiet", gets, slices);
	say_ratio("p99 of batches while merging to that in quiet", puts, slices);
	side_close(&s);
}

/* ---- batch ---- */

static double batch_rate(struct side *s, uint64_t *dice, double seconds)
{
	uint64_t start = clock_boot_ns(), now = start, end = start + (uint64_t)(seconds * 1e9), done = 0;

	for (; now < end; done++, now = clock_boot_ns())
		put(s, dice, PUTS, 1024, UINT64_MAX, true);
	return (double)done * 8 * 1e9 / (double)(now - start);
}

static int raw_file(const char *dir, uint64_t number)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/%llu", dir, (unsigned long long)number);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		die("%s: %s", path, strerror(errno));
	return fd;
}

/* Appended to new files, as an engine does, and not over old ones: that would be faster. */
static double raw_rate(const char *dir, double seconds)
{
	static char block[8u << 20];
	uint64_t start, now, end, done = 0, each = RAW_BYTES / sizeof(block);
	int fd = -1;

	for (size_t at = 0; at < sizeof(block); at += POOL)
		memcpy(block + at, pool, POOL);
	if (mkdir(dir, 0700))
		die("%s: %s", dir, strerror(errno));
	start = now = clock_boot_ns();
	for (end = start + (uint64_t)(seconds * 1e9); now < end; done++, now = clock_boot_ns()) {
		if (done % each == 0) {
			if (fd >= 0)
				close(fd);
			fd = raw_file(dir, done / each);
		}
		if (pwrite(fd, block, sizeof(block), (off_t)(done % each * sizeof(block))) !=
			    (ssize_t)sizeof(block) ||
		    fdatasync(fd))
			die("%s: %s", dir, strerror(errno));
	}
	close(fd);
	folder_remove(AT_FDCWD, dir);
	return (double)done * 8 * 1e9 / (double)(now - start);
}

static void batch_by_turns(const struct cairn_engine *plugin, const char *dir, int slices, double seconds)
{
	double ratios[SLICES_MAX];
	char path[4096];
	struct side s;
	uint64_t dice = 7;

	side_open(&s, plugin, dir, "batch", 200000);
	snprintf(path, sizeof(path), "%s/raw", dir);
	folder_remove(AT_FDCWD, path);
	fill(&s, 1024);
	for (int i = 0; i < slices; i++) {
		double raw = i % 2 ? raw_rate(path, seconds) : 0, mib = batch_rate(&s, &dice, seconds);

		raw = raw > 0 ? raw : raw_rate(path, seconds);
		settle(&s); /* not measured */
		printf("{\"batches_mib_s\":%.0f,\"raw_mib_s\":%.0f}\n", mib, raw);
		ratios[i] = mib / raw;
	}
	say_ratio("synced batches of 8 MiB to the disk's own rate", ratios, slices);
	side_close(&s);
}

int main(int argc, char **argv)
{
	const struct plugin *p;
	struct loader *loader = loader_new(NULL);
	struct cairn_error error = { 0 };
	int slices = argc > 5 ? (int)strtol(argv[4], NULL, 10) : 0;
	double seconds = argc > 5 ? atof(argv[5]) : 0;
	uint64_t dice = 3;

	if (slices < 1 || slices > SLICES_MAX || seconds <= 0)
		die("usage: turns keys|merge|batch DIR ENGINE SLICES SECONDS [KEYS…]");
	if (!loader || loader_get(loader, PLUGIN_ENGINE, argv[3], &p, &error))
		die("%s", error.message);
	for (size_t i = 0; i < sizeof(pool); i += 8) {
		uint64_t bits = draw(&dice);

		memcpy(pool + i, &bits, 8);
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!strcmp(argv[1], "keys") && argc == 8)
		keys_by_turns(p->engine, argv[2], slices, seconds, argv + 6);
	else if (!strcmp(argv[1], "merge") && argc == 7)
		merge_by_turns(p->engine, argv[2], slices, seconds, argv + 6);
	else if (!strcmp(argv[1], "batch") && argc == 6)
		batch_by_turns(p->engine, argv[2], slices, seconds);
	else
		die("usage: turns keys|merge|batch DIR ENGINE SLICES SECONDS [KEYS…]");
	loader_free(loader);
	return 0;
}
