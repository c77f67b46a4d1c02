/*
 * Every durable engine on a disk whose power fails at any call, also while it opens and cleans up: what is
 * there afterwards is what some batch left, none older than the last synced one, and nothing else. Then the
 * same with one call that fails: an error is returned, nothing acknowledged is lost, and it goes on when it
 * was opened again. The libraries' own calls are meant, so this stands below them (powerdisk.h).
 *
 * "u-power ENGINE N" runs N seeds of one engine, "u-power ENGINE N SEED" begins at SEED. An engine with
 * threads of its own may do another thing with the same seed.
 */
#include <cairn/engine.h>
#include "engine.h"
#include "files.h"
#include "loader.h"
#include "powerdisk.h"
#include "tap.h"
#include "banned.h"

#define KEYS 64
#define BATCHES 1200
#define VALUE_MAX 40000
#define SEEDS 300

static const struct {
	const char *name, *parameters[2];
} engines[] = { { "leveldb", { "write-buffer=64K", "min-free=0" } },
		{ "lmdb", { "map-size-max=64M", "min-free=0" } },
		{ "bitcask", { "file-size=64K", "min-free=0" } } };

/* What each batch left: for each key the number that its value is made from, 0 for none. */
static uint32_t states[BATCHES + 2][KEYS];
static const struct cairn_engine *plugin;
static const char *const *parameters;
static char folder[128];
static struct engine e;
static uint64_t written, synced; /* the last batch that was acknowledged, and that is known to be on disk */
static uint32_t counter;
static char trouble[1200];
static bool full; /* what the last write() said: nothing of it was written, and the handle goes on */
static uint64_t seed;
static long crashes, dark, notices, faults, refused, mute;

static uint32_t pick(uint32_t n)
{
	return (uint32_t)disk_random() % n;
}

static void key_of(uint32_t i, char key[24])
{
	snprintf(key, 24, "key-%02u", i);
}

static size_t value_of(uint32_t what, unsigned char *bytes)
{
	size_t len = what % 97 == 0 ? VALUE_MAX - what % 100 : what % 5 == 0 ? what % 4000 : what % 300;

	for (size_t i = 0; i < len; i++)
		bytes[i] = (unsigned char)(what * 7 + i * 31 + (i >> 8) * what);
	return len;
}

static void complain(const char *what, const char *detail)
{
	if (!trouble[0])
		snprintf(trouble, sizeof(trouble), "%s: %s", what, detail);
}

static enum cairn_code open_it(struct cairn_error *error)
{
	struct cairn_error notice;
	enum cairn_code code = engine_open(&e, plugin, folder, parameters, 2, error);

	if (!code)
		notices += e.ops.notice(e.handle, &notice);
	return code;
}

/* 0: SNAPSHOT (NULL: now) holds just what batch N left; 1: something else; or -errno. */
static int differs(void *snapshot, uint64_t n)
{
	static unsigned char want[VALUE_MAX];
	struct cairn_slice key, value, none = { "", 0 };
	char text[24];
	uint32_t i = 0;
	bool good = true;
	void *it;
	int r = e.ops.iter_open(e.handle, snapshot, none, none, 0, &it);

	if (r)
		return r;
	for (;; i++) {
		r = e.ops.iter_next(it, &key, &value);
		while (i < KEYS && !states[n][i])
			i++;
		if (r || !key.data)
			break;
		key_of(i, text);
		good = i < KEYS && cairn_slice_eq(key, cairn_str(text)) &&
			cairn_slice_eq(value, cairn_slice(want, value_of(states[n][i], want)));
		if (!good)
			break;
	}
	e.ops.iter_close(it);
	return r ? r : !good || i < KEYS;
}

static bool holds(void *snapshot, uint64_t n)
{
	return differs(snapshot, n) == 0;
}

/* Step K of a batch; the state after it into STATE. */
static void make_step(struct cairn_write *w, struct iovec *iov, char key[24], char end[24],
		      unsigned char *bytes, uint32_t *state)
{
	uint32_t i = pick(KEYS), kind = pick(20);

	key_of(i, key);
	*w = (struct cairn_write){ .kind = CAIRN_WRITE_DELETE, .key = cairn_str(key) };
	if (kind < 15) {
		state[i] = ++counter;
		*iov = (struct iovec){ bytes, value_of(counter, bytes) };
		w->kind = CAIRN_WRITE_PUT;
		w->iov = iov;
		w->iov_count = 1;
	} else if (kind < 19) {
		state[i] = 0;
	} else {
		uint32_t to = i + pick(6);

		key_of(to, end);
		w->kind = CAIRN_WRITE_DELETE_RANGE;
		w->end = cairn_str(end);
		for (; i < to && i < KEYS; i++)
			state[i] = 0;
	}
}

/* One batch. What write() said. */
static int write_one(bool sync)
{
	static unsigned char bytes[8][VALUE_MAX];
	uint64_t n = written + 1;
	struct cairn_write w[8];
	struct iovec iov[8];
	char keys[8][24], ends[8][24];
	struct cairn_batch b = { w, pick(8), { n, 1 } };
	struct cairn_error error = { 0 };
	int r;

	memcpy(states[n], states[written], sizeof(states[n]));
	for (size_t k = 0; k < b.count; k++)
		make_step(&w[k], &iov[k], keys[k], ends[k], bytes[k], states[n]);
	sync = sync || (plugin->caps & CAIRN_ENGINE_SYNC_ONLY);
	r = e.ops.write(e.handle, &b, sync, &error);
	full = r == -ENOSPC;
	if (r == 0) {
		written = n;
		synced = sync ? n : synced;
	} else if (!error.message[0]) {
		complain("a failed batch", "nothing is said");
	}
	return r;
}

/* After a start: which batch is the last one, and is it all there? TRIED: one more may have come through. */
static void check(uint64_t tried)
{
	struct cairn_error error = { 0 };
	struct cairn_position p;
	char text[100];

	bool good;

	e.ops.position(e.handle, &p);
	good = holds(NULL, p.index <= BATCHES ? p.index : 0);
	snprintf(text, sizeof(text), "position %llu, synced %llu, tried %llu", (unsigned long long)p.index,
		 (unsigned long long)synced, (unsigned long long)tried);
	if (p.index < synced || p.index > tried)
		complain("a batch that nobody lost or wrote", text);
	else if (!good && !disk.dark)
		complain("it does not hold what the batch left", text);
	else if (e.ops.check(e.handle, &error) && !disk.dark)
		complain("its files do not hold together", error.message);
	written = p.index;
}

/* Do something. Whether it went well. */
static bool act(void **snapshot, uint64_t *seen)
{
	struct cairn_error error;
	bool more, good;
	int r;

	switch (pick(16)) {
	case 0:
	case 1:
		return e.ops.maintain(e.handle, 0, &more) == 0;
	case 2:
		if (!*snapshot) {
			*seen = written;
			return e.ops.snapshot(e.handle, snapshot) == 0;
		}
		good = holds(*snapshot, *seen);
		e.ops.release(e.handle, *snapshot);
		*snapshot = NULL;
		if (!good && !disk.dark && !disk.fail_call)
			complain("a snapshot", "has changed");
		return good;
	case 3:
		return pick(8) || e.ops.compact(e.handle, &error) == 0;
	case 4:
		r = engine_sync(&e, &error);
		synced = r ? synced : written;
		return r == 0;
	default:
		return write_one(pick(4) == 0) == 0;
	}
}

static void begin(uint64_t s)
{
	seed = s;
	disk_reset(folder, s);
	memset(states[0], 0, sizeof(states[0]));
	written = synced = 0;
	counter = (uint32_t)s * 1000;
	trouble[0] = 0;
	disk.fail_call = 0;
}

static void close_it(void **snapshot)
{
	const char *name;

	if (*snapshot)
		e.ops.release(e.handle, *snapshot);
	*snapshot = NULL;
	engine_close(&e);
	name = disk.power < 0 || !disk.dark ? disk_differs() : NULL;
	if (name)
		complain("it was written unseen", name);
}

/* From one start to where the power fails or nobody goes on. The last batch that may be there. */
static uint64_t live(void)
{
	struct cairn_error error = { 0 };
	void *snapshot = NULL;
	uint64_t seen = 0, tried = written + 1;
	uint32_t turns = pick(3) ? 20 + pick(40) : 200;

	disk.power = pick(3) ? (long)pick(60) : (long)pick(700);
	if (open_it(&error)) {
		if (!disk.dark)
			complain("it does not open", error.message);
		return tried;
	}
	check(tried);
	for (uint32_t i = 0; i < turns && written < BATCHES && !trouble[0]; i++)
		if (!act(&snapshot, &seen)) {
			if (!disk.dark)
				complain("with power", "something fails");
			break;
		}
	tried = written + 1;
	close_it(&snapshot);
	return tried;
}

static void run_power(uint64_t s, bool lie)
{
	struct cairn_error error = { 0 };
	void *none = NULL;

	begin(s);
	for (int life = 0; life < 5 && !trouble[0] && written < BATCHES - 200; life++) {
		uint64_t tried;

		disk.lie = lie;
		tried = live();
		if (trouble[0])
			return;
		dark += disk.dark;
		if (disk.dark || pick(4)) { /* else no crash: a clean end */
			disk_crash();
			crashes++;
		}
		disk.lie = false;
		disk.power = -1;
		if (open_it(&error)) {
			complain("after a crash it does not open", error.message);
			return;
		}
		check(tried);
		close_it(&none);
		synced = written;
	}
}

/* One call fails, in each way. */
static void run_fault(uint64_t s)
{
	static const int ways[] = { EIO, ENOSPC, EMFILE, 0 };
	struct cairn_error error = { 0 };
	uint32_t failed_state[KEYS];
	void *snapshot = NULL;
	uint64_t seen = 0, tried;
	bool failed = false, goes_on;

	begin(s);
	full = false;
	if (open_it(&error)) {
		complain("it does not open", error.message);
		return;
	}
	disk.fail_call = (int)(s % DISK_CALLS);
	disk.fail_with = ways[s / DISK_CALLS % 4];
	if (disk.fail_call != DISK_WRITE && !disk.fail_with)
		disk.fail_with = EIO;
	disk.fail_at = 1 + pick(disk.fail_call == DISK_WRITE || disk.fail_call == DISK_SYNC ? 60 : 8);
	for (int turn = 0; turn < 200 && !trouble[0] && !failed; turn++)
		failed = !act(&snapshot, &seen);
	faults += disk.fail_at == 0;
	refused += failed;
	tried = written + 1;
	disk.fail_at = 0;
	/* The batch that failed may be seen; and where its pages may be anything, nothing may. */
	if (differs(NULL, written) == 1 && differs(NULL, written + 1) == 1)
		complain("after a fault", "it does not hold what the last batch left");
	mute += differs(NULL, written) < 0;
	/* It goes on as it is, or when it was opened again: then the batch that failed may be there. */
	memcpy(failed_state, states[written + 1], sizeof(failed_state));
	goes_on = full;
	if (goes_on && !holds(NULL, written))
		complain("after a full disk", "it does not hold what the last batch left");
	if (write_one(true)) {
		if (goes_on)
			complain("after a full disk", "it does not go on");
		memcpy(states[written + 1], failed_state, sizeof(failed_state));
		close_it(&snapshot);
		if (open_it(&error)) {
			complain("after a fault it does not open", error.message);
			return;
		}
		check(tried);
		if (write_one(true))
			complain("after a fault", "it does not go on");
	}
	for (int turn = 0; turn < 40 && !trouble[0]; turn++)
		if (!act(&snapshot, &seen))
			complain("after a fault", "something else fails");
	close_it(&snapshot);
	if (trouble[0] || open_it(&error)) {
		complain("after a fault it does not open again", error.message);
		return;
	}
	synced = written;
	check(written);
	close_it(&snapshot);
}

static void run_engine(const char *name, uint64_t seeds, uint64_t from)
{
	uint64_t caught = 0, s;

	crashes = dark = notices = faults = refused = mute = 0;
	trouble[0] = 0;
	for (s = from; s < from + seeds && !trouble[0]; s++)
		run_power(s, false);
	if (!ok(!trouble[0],
		"%s: power fails at random: what is there is what some batch left, none older than the last "
		"synced",
		name))
		printf("# seed %llu: %s\n", (unsigned long long)seed, trouble);
	printf("# %s: %llu seeds, %ld crashes, %ld of them amid calls, %ld ends mended\n", name,
	       (unsigned long long)seeds, crashes, dark, notices);
	trouble[0] = 0;
	for (s = from; s < from + seeds && !trouble[0]; s++)
		run_fault(s);
	if (!ok(!trouble[0],
		"%s: calls fail: what was acknowledged is there, and it goes on, opened again or not", name))
		printf("# seed %llu: %s\n", (unsigned long long)seed, trouble);
	printf("# %s: %ld calls failed, %ld made something fail, %ld reads too until the next start\n", name,
	       faults, refused, mute);
	for (s = from; s < from + 40; s++) {
		run_power(s, true);
		caught += trouble[0] != 0;
	}
	ok(caught > 20, "%s: a disk that lies about syncs is caught, by %llu of 40 seeds", name,
	   (unsigned long long)caught);
}

int main(int argc, char **argv)
{
	uint64_t seeds = argc > 2 ? strtoull(argv[2], NULL, 10) : SEEDS;
	uint64_t from = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
	struct loader *loader = loader_new(NULL);
	const char *tmp = getenv("TMPDIR");
	struct cairn_error error;
	const struct plugin *p;

	snprintf(folder, sizeof(folder), "%s/u-power-XXXXXX", tmp && strlen(tmp) < 100 ? tmp : "/tmp");
	if (!loader || !mkdtemp(folder))
		bail("no folder");
	for (size_t i = 0; i < sizeof(engines) / sizeof(engines[0]); i++) {
		if (argc > 1 && strcmp(argv[1], engines[i].name))
			continue;
#ifdef __SANITIZE_THREAD__ /* which does not see how LevelDB's threads wait for one another */
		if (!strcmp(engines[i].name, "leveldb"))
			continue;
#endif
		if (loader_get(loader, PLUGIN_ENGINE, engines[i].name, &p, &error)) {
			ok(1, "%s: # SKIP not built", engines[i].name);
			continue;
		}
		plugin = p->engine;
		parameters = engines[i].parameters;
		run_engine(engines[i].name, seeds, from);
	}
	disk_reset(folder, 1);
	disk.on = false;
	folder_remove(AT_FDCWD, folder);
	loader_free(loader);
	return tap_done();
}
