/*
 * How fast an engine is: one loop that drives a plugin through the ABI, or a library through its own C API.
 *
 *   engines SUBJECT DIR KEYS VALUE [BATCH [SECONDS]]     SUBJECT is an engine, or bare-leveldb and the like;
 *                                                        bare-leveldb+1 has one more row in each batch, as an
 *                                                        engine has for the position
 *   engines --list                                       the libraries that this build can measure bare
 *
 * All phases in one process, in the folder DIR, which is made anew: KEYS keys of 16 bytes in order, the same
 * in random order into an empty folder, overwritten, synced one by one, read hot, walked, opened again, read
 * cold. One line of JSON for each phase, with wall clock and CPU time; a phase after the filling ends after
 * SECONDS. Half of a value can be compressed away.
 */
#include <errno.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "engine.h"
#include "engines.h"
#include "files.h"
#include "loader.h"
#include "banned.h"

#define POOL (1 << 20) /* bytes that values are cut from */
#define KEY 16

struct bench {
	const struct subject *s;
	const char *name;
	bool more; /* a row more in each batch */
	char dir[3000];
	void *db;
	size_t keys, value, batch;
	double seconds;
	uint32_t *order; /* keys, shuffled */
	char *pool;
	struct row *rows; /* a batch */
	char (*names)[KEY + 1];
	uint64_t dice;
	long base_memory;
};

_Noreturn void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

/* ---- A plugin through the ABI ---- */

static struct loader *loader;
static const struct cairn_engine *plugin;

struct through {
	struct engine e;
	struct cairn_write *writes;
	struct iovec *pieces;
	size_t cap;
	uint64_t index;
};

static void *plugin_open(const char *dir)
{
	struct through *t = calloc(1, sizeof(*t));
	struct cairn_position p;
	struct cairn_error error;

	if (engine_open(&t->e, plugin, dir, NULL, 0, &error))
		die("%s", error.message);
	t->e.ops.position(t->e.handle, &p);
	t->index = p.index;
	return t;
}

static void plugin_close(void *db)
{
	struct through *t = db;

	engine_close(&t->e);
	free(t->writes);
	free(t->pieces);
	free(t);
}

static void plugin_put(void *db, const struct row *rows, size_t count, bool sync)
{
	struct through *t = db;
	struct cairn_batch batch = { .count = count, .position = { ++t->index, 1 } };
	struct cairn_error error = { 0 };

	if (count > t->cap) {
		t->cap = count;
		t->writes = realloc(t->writes, count * sizeof(*t->writes));
		t->pieces = realloc(t->pieces, count * sizeof(*t->pieces));
	}
	for (size_t i = 0; i < count; i++) {
		t->pieces[i] = (struct iovec){ (void *)rows[i].value.data, rows[i].value.len };
		t->writes[i] = (struct cairn_write){
			.kind = CAIRN_WRITE_PUT, .key = rows[i].key, .iov = &t->pieces[i], .iov_count = 1
		};
	}
	batch.writes = t->writes;
	if (t->e.ops.write(t->e.handle, &batch, sync, &error))
		die("%s: %s", plugin->name, error.message);
}

static bool plugin_get(void *db, struct cairn_slice key)
{
	struct through *t = db;
	struct cairn_guard guard = { 0 };
	struct cairn_slice value;
	int e;

	t->e.ops.read_begin(t->e.handle, &guard);
	e = t->e.ops.get(t->e.handle, &guard, NULL, key, 0, &value);
	if (!e)
		touch(value.data, value.len);
	t->e.ops.read_end(t->e.handle, &guard);
	if (e && e != -ENOENT)
		die("%s: get: %s", plugin->name, strerror(-e));
	return !e;
}

static size_t plugin_scan(void *db)
{
	struct through *t = db;
	struct cairn_slice key, value;
	size_t count = 0;
	void *it;
	int e = t->e.ops.iter_open(t->e.handle, NULL, cairn_str(""), cairn_str(""), 0, &it);

	while (!e && !(e = t->e.ops.iter_next(it, &key, &value)) && key.data) {
		touch(key.data, key.len);
		touch(value.data, value.len);
		count++;
	}
	if (e)
		die("%s: scan: %s", plugin->name, strerror(-e));
	t->e.ops.iter_close(it);
	return count;
}

static struct subject through = {
	.open = plugin_open, .close = plugin_close, .put = plugin_put, .get = plugin_get, .scan = plugin_scan
};

static const struct subject *find(const char *name)
{
	const struct plugin *p;
	struct cairn_error error;

	for (size_t i = 0; bare[i].name; i++)
		if (!strcmp(bare[i].name, name))
			return &bare[i];
	loader = loader_new(NULL);
	if (!loader || loader_get(loader, PLUGIN_ENGINE, name, &p, &error))
		die("%s", error.message);
	plugin = p->engine;
	through.name = name;
	through.durable = plugin->caps & CAIRN_ENGINE_DURABLE;
	return &through;
}

/* ---- Measuring ---- */

static uint64_t draw(struct bench *b)
{
	uint64_t z = b->dice += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static double wall(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double cpu(void)
{
	struct rusage r;

	getrusage(RUSAGE_SELF, &r);
	return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
		(double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

/* Anonymous memory in KiB. */
static long memory(void)
{
	FILE *f = fopen("/proc/self/status", "r");
	char line[200];
	long kib = 0;

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, "RssAnon:", 8))
			kib = strtol(line + 8, NULL, 10);
	if (f)
		fclose(f);
	return kib;
}

/* Call FN for each file; the sum of what the files take on the disk. */
static uint64_t each_file(const char *dir, void (*fn)(int fd))
{
	DIR *d = opendir(dir);
	struct dirent *e;
	uint64_t sum = 0;
	struct stat st;

	while (d && (e = readdir(d))) {
		int fd = openat(dirfd(d), e->d_name, O_RDONLY);

		if (fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode)) {
			sum += (uint64_t)st.st_blocks * 512;
			if (fn)
				fn(fd);
		}
		if (fd >= 0)
			close(fd);
	}
	if (d)
		closedir(d);
	return sum;
}

static void forget(int fd)
{
	fdatasync(fd);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}

static void say(const struct bench *b, const char *phase, size_t ops, double seconds, double cpu_seconds)
{
	printf("{\"subject\":\"%s\",\"value\":%zu,\"keys\":%zu,\"phase\":\"%s\",\"ops\":%zu,\"rate\":%.0f,"
	       "\"cpu_us\":%."
	       "3f}\n",
	       b->name, b->value, b->keys, phase, ops, (double)ops / seconds,
	       cpu_seconds * 1e6 / (double)ops);
	fflush(stdout);
}

static void say_amount(const struct bench *b, const char *phase, double amount)
{
	printf("{\"subject\":\"%s\",\"value\":%zu,\"keys\":%zu,\"phase\":\"%s\",\"amount\":%.3f}\n", b->name,
	       b->value, b->keys, phase, amount);
	fflush(stdout);
}

static void key_of(uint64_t n, char key[KEY + 1])
{
	for (int i = KEY; i-- > 0; n /= 10)
		key[i] = (char)('0' + n % 10);
}

/* ---- Phases ---- */

static void empty(struct bench *b)
{
	if (b->db)
		b->s->close(b->db);
	folder_remove(AT_FDCWD, b->dir);
	if (mkdir(b->dir, 0700))
		die("%s: %s", b->dir, strerror(errno));
	b->db = b->s->open(b->dir);
}

enum which { IN_ORDER, SHUFFLED, DRAWN };

static void put(struct bench *b, const char *phase, enum which which, size_t batch, bool sync, bool limited)
{
	double start = wall(), start_cpu = cpu();
	size_t done = 0;

	while (done < b->keys) {
		size_t n = batch < b->keys - done ? batch : b->keys - done;

		for (size_t i = 0; i < n; i++) {
			uint64_t key = which == IN_ORDER ? done + i
				: which == SHUFFLED      ? b->order[done + i]
							 : draw(b) % b->keys;

			key_of(key, b->names[i]);
			b->rows[i] = (struct row){ cairn_slice(b->names[i], KEY),
						   cairn_slice(b->pool + draw(b) % POOL, b->value) };
		}
		if (b->more)
			b->rows[n] = (struct row){ cairn_slice("\0position", 9), cairn_slice(b->pool, 16) };
		b->s->put(b->db, b->rows, n + b->more, sync);
		done += n;
		if (limited && wall() - start > b->seconds)
			break;
	}
	say(b, phase, done, wall() - start, cpu() - start_cpu);
}

/* At most MOST gets. */
static void get(struct bench *b, const char *phase, size_t most)
{
	double start = wall(), start_cpu = cpu();
	size_t done = 0;
	char key[KEY + 1];

	while (wall() - start < b->seconds && done < most)
		for (int i = 0; i < 16; i++, done++) {
			key_of(draw(b) % b->keys, key);
			if (!b->s->get(b->db, cairn_slice(key, KEY)))
				die("%s: a key is missing", b->s->name);
		}
	say(b, phase, done, wall() - start, cpu() - start_cpu);
}

static void scan(struct bench *b)
{
	double start = wall(), start_cpu = cpu();
	size_t done = 0, rows;

	do {
		rows = b->s->scan(b->db);
		done += rows;
		if (rows != b->keys + b->more)
			die("%s: a scan gives %zu of %zu rows", b->s->name, rows, b->keys);
	} while (wall() - start < b->seconds / 2);
	say(b, "scan", done, wall() - start, cpu() - start_cpu);
}

static void open_again(struct bench *b)
{
	char key[KEY + 1];
	double start;

	b->s->close(b->db);
	say_amount(b, "disk-MiB", (double)each_file(b->dir, NULL) / 1048576);
	start = wall();
	b->db = b->s->open(b->dir);
	key_of(b->order[0], key);
	if (!b->s->get(b->db, cairn_slice(key, KEY)))
		die("%s: a key is missing", b->s->name);
	say_amount(b, "reopen-ms", (wall() - start) * 1000);
	b->s->close(b->db);
	each_file(b->dir, forget);
	b->db = b->s->open(b->dir);
}

static void run(struct bench *b)
{
	empty(b);
	put(b, "put-sequential", IN_ORDER, b->batch, false, false);
	empty(b);
	put(b, "put-random", SHUFFLED, b->batch, false, false);
	put(b, "overwrite", DRAWN, b->batch, false, true);
	if (b->s->durable)
		put(b, "put-synced", DRAWN, 1, true, true);
	b->s->scan(b->db); /* into memory */
	get(b, "get-hot", SIZE_MAX);
	scan(b);
	say_amount(b, "memory-MiB", (double)(memory() - b->base_memory) / 1024);
	if (b->s->durable) {
		open_again(b);
		get(b, "get-cold", b->keys / 8); /* more would find what others have fetched */
	}
	b->s->close(b->db);
	folder_remove(AT_FDCWD, b->dir);
}

static void prepare(struct bench *b)
{
	b->order = malloc(b->keys * sizeof(*b->order));
	b->pool = malloc(POOL + b->value);
	b->rows = calloc(b->batch + 1, sizeof(*b->rows));
	b->names = calloc(b->batch, sizeof(*b->names));
	if (!b->order || !b->pool || !b->rows || !b->names)
		die("no memory");
	for (size_t i = 0; i < POOL + b->value; i += 8) {
		uint64_t bits = i / 8 % 2 ? draw(b) : 0;

		memcpy(b->pool + i, &bits, POOL + b->value - i < 8 ? POOL + b->value - i : 8);
	}
	for (size_t i = 0; i < b->keys; i++)
		b->order[i] = (uint32_t)i;
	for (size_t i = b->keys; i > 1; i--) {
		size_t k = draw(b) % i;
		uint32_t t = b->order[i - 1];

		b->order[i - 1] = b->order[k];
		b->order[k] = t;
	}
	memset(b->names, '0', b->batch * sizeof(*b->names));
	b->base_memory = memory();
}

int main(int argc, char **argv)
{
	struct bench b = { .batch = 100, .seconds = 3 };

	if (argc == 2 && !strcmp(argv[1], "--list")) {
		for (size_t i = 0; bare[i].name; i++)
			puts(bare[i].name);
		return 0;
	}
	if (argc < 5)
		die("usage: engines SUBJECT DIR KEYS VALUE [BATCH [SECONDS]] | --list");
	b.keys = strtoull(argv[3], NULL, 10);
	b.value = strtoull(argv[4], NULL, 10);
	if (argc > 5)
		b.batch = strtoull(argv[5], NULL, 10);
	if (argc > 6)
		b.seconds = strtod(argv[6], NULL);
	if (!b.keys || b.keys > UINT32_MAX || !b.batch)
		die("KEYS and BATCH are numbers from 1 on");
	snprintf(b.dir, sizeof(b.dir), "%s/engine", argv[2]);
	b.name = argv[1];
	b.more = strlen(b.name) > 2 && !strcmp(b.name + strlen(b.name) - 2, "+1");
	b.s = find(b.more ? strndupa(b.name, strlen(b.name) - 2) : b.name);
	prepare(&b);
	run(&b);
	free(b.order);
	free(b.pool);
	free(b.rows);
	free(b.names);
	if (loader)
		loader_free(loader);
	return 0;
}
