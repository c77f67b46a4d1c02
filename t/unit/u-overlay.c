/*
 * The overlay against a plain engine that gets the same batches: gets, walks both ways and snapshots agree,
 * whenever it flushes; and after it was closed without a flush, the engine below holds a prefix of the
 * batches.
 */
#include <errno.h>
#include <pthread.h>
#include <unistd.h>
#include "files.h"
#include "loader.h"
#include "overlay.h"
#include <sys/stat.h>
#include "tap.h"

#define KEYS 300

static struct loader *loader;
static struct engine plain, over;
static uint64_t seed = 88172645463325252u, position;
static int failures;

static uint32_t pick(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 24) % n;
}

static const struct cairn_engine *find(const char *name)
{
	const struct plugin *p;
	struct cairn_error error;

	return loader_get(loader, PLUGIN_ENGINE, name, &p, &error) ? NULL : p->engine;
}

static int (*lower_write)(void *handle, const struct cairn_batch *batch, bool sync,
			  struct cairn_error *error);
static _Atomic bool full; /* the disk of the engine below, now */

static int full_write(void *handle, const struct cairn_batch *batch, bool sync, struct cairn_error *error)
{
	return full ? -ENOSPC : lower_write(handle, batch, sync, error);
}

static void flush(void)
{
	struct cairn_error error;
	int e = overlay_flush(&over, &error);

	if (e && e != -ENOSPC)
		bail("a flush failed: %s", error.message);
}

static void open_both(const char *name, const char *dir)
{
	struct cairn_error error;
	struct engine lower;

	if (engine_open(&plain, find("memory"), dir, NULL, 0, &error) ||
	    engine_open(&lower, find(name), dir, NULL, 0, &error))
		bail("no engine: %s", error.message);
	lower_write = lower.ops.write;
	lower.ops.write = full_write;
	full = false;
	if (overlay_open(&over, &lower))
		bail("no overlay");
}

static struct cairn_slice key_text(char text[16], uint32_t n)
{
	return cairn_slice(text, (size_t)snprintf(text, 16, "k%03u", n));
}

static void write_both(void)
{
	static char keys[8][16], ends[8][16], values[8][64];
	struct cairn_write writes[8];
	struct iovec pieces[8][2];
	struct cairn_batch batch = { .writes = writes, .count = 1 + pick(8) };
	struct cairn_error error;

	for (size_t i = 0; i < batch.count; i++) {
		uint32_t n = pick(KEYS), what = pick(20);
		size_t len = (size_t)snprintf(values[i], sizeof(values[i]), "value %u of %llu", n,
					      (unsigned long long)position);

		pieces[i][0] = (struct iovec){ values[i], len / 2 };
		pieces[i][1] = (struct iovec){ values[i] + len / 2, len - len / 2 };
		writes[i] = (struct cairn_write){ .kind = CAIRN_WRITE_PUT,
						  .key = key_text(keys[i], n),
						  .iov = pieces[i],
						  .iov_count = what % 3 ? 2 : 0 };
		if (what > 13)
			writes[i].kind = CAIRN_WRITE_DELETE;
		if (what == 19) {
			writes[i].kind = CAIRN_WRITE_DELETE_RANGE;
			writes[i].end = key_text(ends[i], n + pick(20));
		}
	}
	batch.position = (struct cairn_position){ ++position, 1 };
	if (plain.ops.write(plain.handle, &batch, false, &error) ||
	    over.ops.write(over.handle, &batch, false, &error))
		bail("a batch was refused: %s", error.message);
}

static void differ(const char *what)
{
	if (failures++ < 5)
		printf("# position %llu: %s differs\n", (unsigned long long)position, what);
}

static void compare_walks(void *a, void *b)
{
	char from_text[16], to_text[16];
	struct cairn_slice from = pick(2) ? key_text(from_text, pick(KEYS)) : cairn_slice("", 0);
	struct cairn_slice to = pick(2) ? key_text(to_text, pick(KEYS)) : cairn_slice("", 0);
	unsigned flags = pick(2) ? CAIRN_READ_REVERSE : 0;
	struct cairn_slice k1, v1, k2, v2;
	void *i1, *i2;

	if (plain.ops.iter_open(plain.handle, a, from, to, flags, &i1) ||
	    over.ops.iter_open(over.handle, b, from, to, flags, &i2))
		bail("no iterator");
	do {
		if (plain.ops.iter_next(i1, &k1, &v1) || over.ops.iter_next(i2, &k2, &v2))
			bail("a step failed");
		if (!k1.data != !k2.data ||
		    (k1.data && (cairn_slice_cmp(k1, k2) || cairn_slice_cmp(v1, v2)))) {
			differ(flags ? "a walk back" : "a walk");
			break;
		}
	} while (k1.data);
	plain.ops.iter_close(i1);
	over.ops.iter_close(i2);
}

static void compare_gets(void *a, void *b)
{
	struct cairn_guard g1 = { 0 }, g2 = { 0 };
	struct cairn_slice v1, v2;
	char text[16];

	plain.ops.read_begin(plain.handle, &g1);
	over.ops.read_begin(over.handle, &g2);
	for (int i = 0; i < 20; i++) {
		struct cairn_slice key = key_text(text, pick(KEYS));
		int r1 = plain.ops.get(plain.handle, &g1, a, key, 0, &v1);
		int r2 = over.ops.get(over.handle, &g2, b, key, 0, &v2);

		if (r1 != r2 || (!r1 && cairn_slice_cmp(v1, v2)))
			differ("a value");
	}
	plain.ops.read_end(plain.handle, &g1);
	over.ops.read_end(over.handle, &g2);
}

static _Atomic bool over_and_out;

static void *flusher(void *arg)
{
	(void)arg;
	while (!over_and_out)
		flush();
	return NULL;
}

static void model(const char *name, const char *dir, bool beside)
{
	void *a = NULL, *b = NULL;
	struct cairn_position p;
	pthread_t thread;

	failures = 0;
	position = 0;
	over_and_out = false;
	open_both(name, dir);
	if (beside)
		pthread_create(&thread, NULL, flusher, NULL);
	for (int i = 0; i < 4000; i++) {
		write_both();
		if (pick(100) == 0)
			full = !full;
		if (pick(40) == 0 && !beside)
			flush();
		if (pick(8) == 0) {
			compare_gets(NULL, NULL);
			compare_walks(NULL, NULL);
		}
		if (a && pick(10) == 0) {
			compare_gets(a, b);
			compare_walks(a, b);
		}
		if (pick(50) == 0) {
			if (a) {
				plain.ops.release(plain.handle, a);
				over.ops.release(over.handle, b);
			}
			plain.ops.snapshot(plain.handle, &a);
			over.ops.snapshot(over.handle, &b);
		}
	}
	if (a) {
		plain.ops.release(plain.handle, a);
		over.ops.release(over.handle, b);
	}
	over_and_out = true;
	if (beside)
		pthread_join(thread, NULL);
	over.ops.position(over.handle, &p);
	ok(!failures && p.index == position, "over %s, %s: the same as a plain engine", name,
	   beside ? "flushed by another thread" : "flushed at random");
	engine_close(&plain);
	engine_close(&over);
}

/* What is below after a close without a flush is what was flushed last. */
static void forgets(const char *dir)
{
	struct overlay_facts facts;
	struct cairn_position p;
	struct cairn_error error;
	struct engine below;

	position = 0;
	open_both("leveldb", dir);
	for (int i = 0; i < 10; i++)
		write_both();
	overlay_flush(&over, &error);
	overlay_facts(&over, &facts);
	ok(facts.flushed.index == 10 && !facts.since_ns && !facts.bytes, "a flush leaves nothing behind");
	for (int i = 0; i < 10; i++)
		write_both();
	overlay_facts(&over, &facts);
	ok(facts.flushed.index <= 20 && (facts.since_ns || facts.flushed.index == 20),
	   "what comes after is held");
	position = facts.flushed.index;
	engine_close(&plain);
	engine_close(&over);
	if (engine_open(&below, find("leveldb"), dir, NULL, 0, &error))
		bail("the engine does not open: %s", error.message);
	below.ops.position(below.handle, &p);
	is_int(p.index, position, "the engine below holds what was flushed, and no more");
	engine_close(&below);
}

int main(void)
{
	char dir[] = "/tmp/cairn-overlay.XXXXXX", dir2[] = "/tmp/cairn-overlay.XXXXXX";

	loader = loader_new(NULL);
	if (!loader || !mkdtemp(dir) || !mkdtemp(dir2))
		bail("no loader or no folder");
	if (!find("memory"))
		return tap_skip_all("engine-memory is not part of this build");
	model("memory", dir, false);
	model("memory", dir, true);
	if (find("leveldb")) {
		model("leveldb", dir, false);
		folder_remove(-100, dir);
		forgets(dir2);
	}
	folder_remove(-100, dir);
	mkdir(dir, 0700);
	if (find("lmdb"))
		model("lmdb", dir, false);
	folder_remove(-100, dir);
	folder_remove(-100, dir2);
	loader_free(loader);
	return tap_done();
}
