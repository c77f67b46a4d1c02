/*
 * engine-bitcask on a disk whose power fails at any call, also in the middle of a merge: what is there
 * afterwards is what some batch left, none older than the last synced one, and nothing else. Then the same
 * with calls that fail: an error is returned, nothing acknowledged is lost, and it goes on when the fault is
 * gone. "u-bitcask-crash N" runs N seeds, "u-bitcask-crash N SEED" begins at SEED.
 */
#include <stdio.h>
#include <cairn/engine.h>
#include "simdisk.h"
#include "tap.h"
#include "banned.h"

#define KEYS 48
#define BATCHES 1500
#define VALUE_MAX 300000 /* larger than what goes to the disk before its batch is made */

const struct cairn_engine *cairn_engine_plugin(void);

/* What each batch left: for each key the number that its value is made from, 0 for none. */
static uint32_t states[BATCHES][KEYS];
static const struct cairn_engine *engine;
static void *handle;
static uint64_t written, synced; /* the last batch that was tried, and that is known to be on disk */
static uint32_t counter;
static char trouble[900];
static uint64_t seed;
static long merges, cuts;

static uint32_t pick(uint32_t n)
{
	return (uint32_t)(sim_random() >> 20) % n;
}

static void key_of(uint32_t i, char key[24])
{
	snprintf(key, 24, "key-%02u", i);
}

static size_t value_of(uint32_t what, unsigned char *bytes)
{
	size_t len = what % 499 == 0 ? VALUE_MAX - what % 100 : what % 13 == 0 ? what % 4000 : what % 300;

	for (size_t i = 0; i < len; i++)
		bytes[i] = (unsigned char)(what * 7 + i * 31);
	return len;
}

static void complain(const char *what, const char *detail)
{
	if (!trouble[0])
		snprintf(trouble, sizeof(trouble), "%s: %s", what, detail);
}

static int open_it(struct cairn_error *error)
{
	struct cairn_value values[16] = { { 0 } };
	struct cairn_error notice;
	int r;

	for (int i = 0; engine->params[i].name; i++) {
		values[i].text = engine->params[i].fallback;
		values[i].number = !strcmp(engine->params[i].name, "file-size") ? 8192 : 0;
	}
	r = engine->open("/tmp", values, &handle, error);
	cuts += r == 0 && engine->notice(handle, &notice);
	return r;
}

/* Whether SNAPSHOT (NULL: now) holds just what batch N left. */
static bool holds(void *snapshot, uint64_t n)
{
	static unsigned char want[VALUE_MAX];
	struct cairn_slice key, value, none = { 0 };
	char text[24];
	uint32_t i = 0;
	bool good = true;
	void *it;

	if (engine->iter_open(handle, snapshot, none, none, 0, &it))
		return false;
	for (;; i++) {
		int r = engine->iter_next(it, &key, &value);

		while (i < KEYS && !states[n][i])
			i++;
		if (r || !key.data)
			break;
		key_of(i, text);
		good = good && i < KEYS && cairn_slice_eq(key, cairn_str(text)) &&
			cairn_slice_eq(value, cairn_slice(want, value_of(states[n][i], want)));
		if (!good)
			break;
	}
	engine->iter_close(it);
	return good && i >= KEYS;
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
	struct cairn_error error;
	int r;

	memcpy(states[n], states[written], sizeof(states[n]));
	for (size_t k = 0; k < b.count; k++) {
		uint32_t i = pick(KEYS), kind = pick(20);

		key_of(i, keys[k]);
		w[k] = (struct cairn_write){ .kind = CAIRN_WRITE_DELETE, .key = cairn_str(keys[k]) };
		if (kind < 13) {
			states[n][i] = ++counter;
			iov[k] = (struct iovec){ bytes[k], value_of(counter, bytes[k]) };
			w[k].kind = CAIRN_WRITE_PUT;
			w[k].iov = &iov[k];
			w[k].iov_count = 1;
		} else if (kind < 19) {
			states[n][i] = 0;
		} else {
			uint32_t end = i + pick(6);

			key_of(end, ends[k]);
			w[k].kind = CAIRN_WRITE_DELETE_RANGE;
			w[k].end = cairn_str(ends[k]);
			for (; i < end && i < KEYS; i++)
				states[n][i] = 0;
		}
	}
	r = engine->write(handle, &b, sync, &error);
	if (r == 0) {
		written = n;
		synced = sync ? n : synced;
	}
	return r;
}

/* After a start: which batch is the last one, and is it all there? TRIED: one more may have come through. */
static void check(uint64_t tried)
{
	struct cairn_position p;
	char text[100];

	engine->position(handle, &p);
	if (p.index < synced || p.index > tried) {
		snprintf(text, sizeof(text), "position %llu, synced %llu, tried %llu",
			 (unsigned long long)p.index, (unsigned long long)synced, (unsigned long long)tried);
		complain("a batch that nobody lost or wrote", text);
	} else if (!holds(NULL, p.index)) {
		snprintf(text, sizeof(text), "position %llu", (unsigned long long)p.index);
		complain("it does not hold what the batch left", text);
	}
	written = p.index;
}

static void note_stat(void *arg, const char *name, const char *unit, uint64_t value)
{
	(void)unit;
	if (!strcmp(name, "merges"))
		*(uint64_t *)arg = value;
}

static long merges_of(void)
{
	uint64_t n = 0;

	engine->stats(handle, note_stat, &n);
	return (long)n;
}

/* Do something. Whether it went well. */
static bool act(void **snapshot, uint64_t *seen)
{
	struct cairn_error error;
	bool more;
	int r;

	switch (pick(12)) {
	case 0:
	case 1:
	case 2:
	case 3:
		return engine->maintain(handle, 0, &more) == 0;
	case 4:
		if (*snapshot) {
			bool good = holds(*snapshot, *seen);

			engine->release(handle, *snapshot);
			*snapshot = NULL;
			if (!good && !sim.dark && !sim.fail_call)
				complain("a snapshot", "has changed");
			return good;
		}
		*seen = written;
		return engine->snapshot(handle, snapshot) == 0;
	case 5:
		if (pick(8))
			return true;
		return engine->compact(handle, &error) == 0;
	case 6:
		r = engine->sync(handle, &error);
		synced = r ? synced : written;
		return r == 0;
	default:
		return write_one(pick(4) == 0) == 0;
	}
}

static void begin(uint64_t s)
{
	seed = s;
	sim_reset(s);
	memset(states[0], 0, sizeof(states[0]));
	written = synced = 0;
	counter = (uint32_t)s * 1000;
	trouble[0] = 0;
	sim.fail_call = 0;
}

static void close_it(void **snapshot)
{
	if (*snapshot)
		engine->release(handle, *snapshot);
	*snapshot = NULL;
	merges += merges_of();
	engine->close(handle);
}

static void run_power(uint64_t s, bool lie)
{
	begin(s);
	for (int life = 0; life < 8 && !trouble[0] && written < BATCHES - 200; life++) {
		struct cairn_error error = { 0 };
		void *snapshot = NULL;
		uint64_t seen = 0, tried;

		sim.lie = lie;
		sim.power = (long)pick(300);
		if (open_it(&error) == 0) {
			check(written + 1);
			for (int turn = 0; turn < 150 && !trouble[0] && act(&snapshot, &seen); turn++)
				;
			tried = written + 1;
			close_it(&snapshot);
		} else if (!sim.dark) {
			complain("it does not open", error.message);
			return;
		} else {
			tried = written + 1;
		}
		if (pick(4) == 0 && !sim.dark) { /* no crash: a clean end, or a kill */
			sim.lie = false;
			sim.power = -1;
			if (open_it(&error)) {
				complain("after its end it does not open", error.message);
				return;
			}
			if (!sim.dark)
				synced = written;
			check(tried);
			engine->close(handle);
			continue;
		}
		sim_crash();
		sim.lie = false;
		if (open_it(&error)) {
			complain("after a crash it does not open", error.message);
			return;
		}
		check(tried);
		synced = written;
		engine->close(handle);
	}
}

/* One call fails, in each way. */
static void run_fault(uint64_t s)
{
	static const int ways[] = { EIO, ENOSPC, EMFILE, EINTR, 0 };
	struct cairn_error error = { 0 };
	uint32_t failed_state[KEYS];
	void *snapshot = NULL;
	uint64_t seen = 0, tried;
	bool failed = false;

	begin(s);
	if (open_it(&error)) {
		complain("it does not open", error.message);
		return;
	}
	sim.fail_call = (int)(s % SIM_CALLS);
	sim.fail_with = ways[s / SIM_CALLS % 5];
	if (sim.fail_call != SIM_WRITE && !sim.fail_with)
		sim.fail_with = EIO;
	sim.fail_at = 1 + pick(60);
	for (int turn = 0; turn < 400 && !trouble[0] && !failed; turn++)
		failed = !act(&snapshot, &seen);
	tried = written + 1;
	sim.fail_at = 0;
	if (!holds(NULL, written))
		complain("after a fault", "it does not hold what the last batch left");
	/* It goes on as it is, or when it was opened again: then the batch that failed may be there. */
	memcpy(failed_state, states[written + 1], sizeof(failed_state));
	if (write_one(true)) {
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
	for (int turn = 0; turn < 100 && !trouble[0]; turn++)
		if (!act(&snapshot, &seen))
			complain("after a fault", "something else fails");
	close_it(&snapshot);
	if (trouble[0] || open_it(&error)) {
		complain("after a fault it does not open again", error.message);
		return;
	}
	synced = written;
	check(written);
	engine->close(handle);
}

/* Batch INDEX: 500 times LETTER for the key NUMBER. */
static void put_letters(uint64_t index, uint32_t number, char letter, bool sync)
{
	struct cairn_error error;
	char value[500], key[24];
	struct iovec iov = { value, sizeof(value) };
	struct cairn_write w = { .kind = CAIRN_WRITE_PUT, .iov = &iov, .iov_count = 1 };
	struct cairn_batch b = { &w, 1, { index, 1 } };

	memset(value, letter, sizeof(value));
	key_of(number, key);
	w.key = cairn_str(key);
	if (engine->write(handle, &b, sync, &error))
		complain("a batch", error.message);
}

/* The power fails when everything that was written has come to the disk, but for a bit of the value of
 * LETTER. */
static void cut_off(char letter)
{
	char run[400];

	memset(run, letter, sizeof(run));
	for (int i = 0; i < sim.file_count; i++) {
		struct sim_file *f = &sim.files[i];
		unsigned char *p = f->now_len ? memmem(f->now, f->now_len, run, sizeof(run)) : NULL;

		if (p)
			p[100] ^= 1;
		if (f->now_len)
			memcpy(f->synced, f->now, f->now_len);
		f->synced_len = f->now_len;
	}
	sim.dark = true;
	engine->close(handle);
	sim_crash();
}

/*
 * Of three batches the first is synced, the second is damaged by a crash, the third is whole. What then takes
 * the place of the second is as long as it was, so the third would follow on it if it were still there: where
 * the end cannot be cut the engine does not open.
 */
static void run_torn(void)
{
	struct cairn_error error = { 0 };
	struct cairn_position p = { 0 };
	struct cairn_guard guard = { 0 };
	struct cairn_slice value;

	begin(1);
	if (open_it(&error))
		complain("it does not open", error.message);
	put_letters(1, 1, 'a', true);
	put_letters(2, 2, 'b', false);
	put_letters(3, 3, 'c', false);
	cut_off('b');
	for (int n = 1; n <= 2 && !trouble[0];
	     n++) { /* its end cannot be cut, then not synced: it does not start */
		sim.fail_call = n == 1 ? SIM_WRITE : SIM_SYNC;
		sim.fail_with = EIO;
		sim.fail_at = 1;
		if (open_it(&error) == 0)
			complain("a torn end that could not be cut", "is taken for cut");
		else if (!strstr(error.message, "cannot cut the torn end of"))
			complain("a torn end that could not be cut", error.message);
		sim.fail_at = 0;
	}
	if (trouble[0] || open_it(&error)) {
		complain("after a crash it does not open", error.message);
		return;
	}
	engine->position(handle, &p);
	if (p.index != 1)
		complain("what was torn", "is not cut");
	put_letters(2, 2, 'd', false);
	cut_off('-');
	if (trouble[0] || open_it(&error)) {
		complain("after a second crash it does not open", error.message);
		return;
	}
	engine->position(handle, &p);
	engine->read_begin(handle, &guard);
	if (p.index != 2 || engine->get(handle, &guard, NULL, cairn_str("key-03"), 0, &value) != -ENOENT)
		complain("a batch that was cut off", "is back");
	engine->read_end(handle, &guard);
	engine->close(handle);
}

int main(int argc, char **argv)
{
	uint64_t seeds = argc > 1 ? strtoull(argv[1], NULL, 10) : 300;
	uint64_t from = argc > 2 ? strtoull(argv[2], NULL, 10) : 1, s, caught = 0;

	engine = cairn_engine_plugin();
	for (s = from; s < from + seeds && !trouble[0]; s++)
		run_power(s, false);
	if (!ok(!trouble[0],
		"power fails at random: what is there is what some batch left, none older than the last "
		"synced"))
		printf("# seed %llu: %s\n", (unsigned long long)seed, trouble);
	printf("# %llu seeds, %ld merges, %ld cuts\n", (unsigned long long)seeds, merges, cuts);
	ok(trouble[0] || seeds < 200 || (merges > 100 && cuts > 100), "there were merges, and torn ends");
	trouble[0] = 0;
	for (s = from; s < from + seeds && !trouble[0]; s++)
		run_fault(s);
	if (!ok(!trouble[0],
		"calls fail: what was acknowledged is there, and it goes on when the fault is gone"))
		printf("# seed %llu: %s\n", (unsigned long long)seed, trouble);
	trouble[0] = 0;
	run_torn();
	if (!ok(!trouble[0],
		"a whole batch behind a torn one does not come back with the one that takes its place"))
		printf("# %s\n", trouble);
	for (s = from; s < from + 40; s++) {
		run_power(s, true);
		caught += trouble[0] != 0;
	}
	ok(caught > 20, "a disk that lies about syncs is caught, by %llu of 40 seeds",
	   (unsigned long long)caught);
	sim_reset(1);
	return tap_done();
}
