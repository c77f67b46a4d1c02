/*
 * The journal on a disk whose power fails: after every crash each shard's entries are those that were stored,
 * and of those that were on their way a first part, and nothing else. Then the same with calls that fail, and
 * with bits that flip in what had been synced. "u-journal-crash N" runs N seeds, "u-journal-crash N SEED"
 * begins at SEED.
 */
#include <stdio.h>
#include "crc32c.h"
#include "journal.h"
#include "scan.h"
#include "simdisk.h"
#include "tap.h"
#include "banned.h"

#define SHARDS 3
#define LOG_MAX 4000
#define PENDING_MAX 8

struct state {
	uint64_t first, last;
	uint32_t log[LOG_MAX]; /* what the command at each index is made of */
};

static struct state stored[SHARDS], after[PENDING_MAX + 1];
static struct journal *journal;
static struct journal_shard *shards[SHARDS];
static char trouble[700];
static uint64_t seed;
static uint32_t counter;
static bool cut, told_cut; /* a file was made shorter, and the journal said so */

static uint32_t pick(uint32_t n)
{
	uint32_t r;

	pthread_mutex_lock(&sim.lock);
	r = (uint32_t)(sim_random() >> 20) % n;
	pthread_mutex_unlock(&sim.lock);
	return r;
}

static size_t command(uint32_t what, unsigned char *bytes)
{
	size_t len = what % 7 == 0 ? what % 3000 : what % 200;

	for (size_t i = 0; i < len; i++)
		bytes[i] = (unsigned char)(what + i * 31);
	return len;
}

/* ---- Requests ---- */

static struct {
	struct journal_request r;
	struct journal_entry entries[4];
	unsigned char bytes[4][3000];
	_Atomic bool done;
} asked[PENDING_MAX];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static void done(struct journal_request *r)
{
	pthread_mutex_lock(&lock);
	for (int i = 0; i < PENDING_MAX; i++)
		if (&asked[i].r == r)
			asked[i].done = true;
	pthread_cond_signal(&changed);
	pthread_mutex_unlock(&lock);
}

static void ask(int which, int shard, struct state *s)
{
	int count = 1 + (int)pick(4);
	uint64_t at = s->last + 1;

	if (pick(10) == 0 && s->last > s->first + 5) /* another leader's entries */
		at = s->last - pick(4);
	if (at + 4 >= LOG_MAX)
		count = 0;
	for (int i = 0; i < count; i++) {
		s->log[at + (uint64_t)i] = ++counter;
		asked[which].entries[i] =
			(struct journal_entry){ at + (uint64_t)i, 1,
						cairn_slice(asked[which].bytes[i],
							    command(counter, asked[which].bytes[i])) };
		s->last = at + (uint64_t)i;
	}
	asked[which].done = false;
	asked[which].r = (struct journal_request){
		.shard = shards[shard], .entries = asked[which].entries, .count = (size_t)count, .done = done
	};
	journal_append(journal, &asked[which].r);
}

/* Ask for up to COUNT requests of SHARD and wait. Whether all were stored; AFTER has the states between. */
static int ask_some(int shard, int count)
{
	int good = 0;

	after[0] = stored[shard];
	for (int i = 0; i < count; i++) {
		after[i + 1] = after[i];
		ask(i, shard, &after[i + 1]);
	}
	pthread_mutex_lock(&lock);
	for (int i = 0; i < count; i++)
		while (!asked[i].done)
			pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
	while (good < count && !asked[good].r.error.code)
		good++;
	stored[shard] = after[good];
	for (int i = good; i < count; i++)
		if (!asked[i].r.error.code)
			snprintf(trouble, sizeof(trouble), "a request behind a failed one was stored");
	return good;
}

/* ---- Comparing ---- */

static bool differs; /* of the state that is being compared */

static int compare(void *arg, const struct journal_entry *e)
{
	const struct state *s = arg;
	unsigned char bytes[3000];
	size_t len = command(s->log[e->index], bytes);

	differs = differs || e->command.len != len || memcmp(bytes, e->command.data, len);
	return 0;
}

static bool same(int shard, const struct state *s)
{
	struct journal_extent x = journal_extent(shards[shard]);
	struct cairn_error error = { 0 };
	uint64_t from = x.first > s->first ? x.first : s->first;

	differs = x.last != s->last && !(s->last < from && x.last < from);
	if (!differs && from <= s->last &&
	    journal_read(shards[shard], from, s->last, compare, (void *)s, NULL, &error))
		differs = true;
	return !differs;
}

static void died(void *arg, const struct cairn_error *error)
{
	(void)arg;
	(void)error;
}

static enum cairn_code open_journal(struct cairn_error *error)
{
	struct journal_options o = { .folder = "/tmp", .segment_bytes = 64 << 10, .failed = died };
	struct cairn_error notice;
	enum cairn_code code = journal_open(&journal, &o, &notice, error);

	told_cut = notice.code == CAIRN_E_CORRUPT;
	if (told_cut && !cut)
		snprintf(trouble, sizeof(trouble), "no file was cut, but: %s", notice.message);

	for (int i = 0; i < SHARDS && !code; i++)
		shards[i] = journal_attach(journal, (uint64_t)i + 1);
	return code;
}

/* After a crash with COUNT requests of SHARD under way: every shard has a state that it may have. */
static void check(int shard, int count)
{
	for (int i = 0; i < SHARDS && !trouble[0]; i++) {
		int k = 0;

		while (k <= (i == shard ? count : 0) && !same(i, i == shard ? &after[k] : &stored[i]))
			k++;
		if (k > (i == shard ? count : 0))
			snprintf(trouble, sizeof(trouble), "shard %d has %llu to %llu, expected %llu to %llu",
				 i, (unsigned long long)journal_extent(shards[i]).first,
				 (unsigned long long)journal_extent(shards[i]).last,
				 (unsigned long long)stored[i].first, (unsigned long long)stored[i].last);
		else if (i == shard)
			stored[i] = after[k];
	}
}

/* ---- Flips ---- */

struct place {
	int file;
	uint64_t at, sequence;
	uint32_t span;
};
static struct place places[4000];
static int place_count;

static int read_sim(void *arg, void *data, size_t len, uint64_t at)
{
	return (int)sim_pread(*(int *)arg, data, len, (off_t)at);
}

static int note(void *arg, uint64_t at, const struct batch_head *h, struct cairn_slice records)
{
	if (place_count < 4000)
		places[place_count++] = (struct place){ *(int *)arg - SIM_FD, at, h->sequence,
							BATCH_HEAD + (uint32_t)records.len };
	return 0;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(((const struct sim_name *)a)->text, ((const struct sim_name *)b)->text);
}

/* Flip a bit of a batch that a later one proves: the journal must say so, and name the file. */
static void flip(void)
{
	struct sim_name names[SIM_NAMES];
	struct scan_buffer b = { 0 };
	struct scan_chain c = { 0 };
	struct cairn_error error = { 0 };
	struct place p;
	uint64_t end, torn;
	enum cairn_code code;

	memcpy(names, sim.names, sizeof(names));
	qsort(names, SIM_NAMES, sizeof(*names), by_text);
	place_count = 0;
	for (int i = 0; i < SIM_NAMES; i++) {
		int fd = names[i].file + SIM_FD;
		struct scan_source s = { read_sim, &fd, 0 };
		struct batch_head h;

		if (!names[i].text[0] || !strncmp(names[i].text, "spare", 5))
			continue;
		s.size = (uint64_t)sim_size(fd);
		if (scan_batch(&s, 0, &b, &h) == 0 && scan_continues(&c, &h))
			scan_chain(&s, 0, &c, &b, note, &fd, &end, &torn);
	}
	free(b.data);
	if (place_count < 2)
		return;
	p = places[pick((uint32_t)place_count - 1)];
	/* The first batch of the oldest file, alone in it, says nothing that is not said again. */
	if (p.sequence == places[0].sequence && places[1].at == 0)
		return;
	sim.files[p.file].now[p.at + pick(p.span)] ^= (unsigned char)(1 << pick(8));
	code = open_journal(&error);
	if ((code != CAIRN_E_CORRUPT && code != CAIRN_E_UNSUPPORTED) || !strstr(error.message, ".seg"))
		snprintf(trouble, sizeof(trouble), "a flipped bit in batch %llu of %llu at %llu gave %d: %s",
			 (unsigned long long)p.sequence, (unsigned long long)places[place_count - 1].sequence,
			 (unsigned long long)p.at, code, error.message);
	if (!code)
		journal_close(journal);
}

/* The newest file is made shorter, which no crash does: the journal must say so. */
static void cut_short(void)
{
	struct cairn_error error = { 0 };
	struct sim_name *newest = NULL;
	enum cairn_code code;
	size_t len;

	for (int i = 0; i < SIM_NAMES; i++)
		if (strstr(sim.names[i].text, ".seg") &&
		    (!newest || strcmp(sim.names[i].text, newest->text) > 0))
			newest = &sim.names[i];
	if (!newest)
		return;
	len = pick((uint32_t)sim.files[newest->file].now_len);
	sim.files[newest->file].now_len = len;
	cut = true;
	code = open_journal(&error);
	if (code != CAIRN_E_CORRUPT && !told_cut)
		snprintf(trouble, sizeof(trouble), "%s was cut to %zu bytes, which gave %d", newest->text,
			 len, code);
	if (!code)
		journal_close(journal);
	cut = false;
}

/* ---- Runs ---- */

static void begin(uint64_t s)
{
	seed = s;
	sim_reset(s);
	memset(stored, 0, sizeof(stored));
	for (int i = 0; i < SHARDS; i++)
		stored[i].first = 1;
	trouble[0] = 0;
	counter = (uint32_t)s * 1000;
}

static void maybe_release(void)
{
	int shard = (int)pick(SHARDS);
	struct state *s = &stored[shard];

	if (pick(3) == 0 && s->last > s->first) {
		s->first += pick((uint32_t)(s->last - s->first)) + 1;
		journal_release(shards[shard], s->first - 1);
	}
}

static void run_power(uint64_t s, bool lie)
{
	begin(s);
	for (int life = 0; life < 4 && !trouble[0]; life++) {
		struct cairn_error error = { 0 };
		int shard = 0, count = 0;

		if (open_journal(&error)) {
			snprintf(trouble, sizeof(trouble), "it does not open: %s", error.message);
			return;
		}
		if (life)
			check(-1, 0);
		sim.lie = lie;
		sim.power = life == 3 ? -1 : (long)pick(120);
		for (int turn = 0; turn < 60 && !trouble[0]; turn++) {
			shard = (int)pick(SHARDS);
			count = 1 + (int)pick(PENDING_MAX - 1);
			if (ask_some(shard, count) < count)
				break;
			count = 0;
			maybe_release();
		}
		journal_close(journal);
		sim.lie = false;
		if (life == 3) {
			if (seed % 4)
				flip();
			else
				cut_short();
			return;
		}
		sim_crash();
		if (trouble[0] || open_journal(&error)) {
			snprintf(trouble, sizeof(trouble), "after a crash it does not open: %s",
				 error.message);
			return;
		}
		check(shard, count);
		journal_close(journal);
	}
}

/* One call of each kind fails, in each way: what was stored stays, and when the fault is gone it goes on. */
static void run_fault(uint64_t s)
{
	static const int ways[] = { EIO, ENOSPC, EMFILE, EINTR, 0 };
	struct cairn_error error = { 0 };
	bool dead = false;

	begin(s);
	if (open_journal(&error)) {
		snprintf(trouble, sizeof(trouble), "it does not open: %s", error.message);
		return;
	}
	sim.fail_call = (int)(s % SIM_CALLS);
	sim.fail_with = ways[s / SIM_CALLS % 5];
	if (sim.fail_call != SIM_WRITE && !sim.fail_with)
		sim.fail_with = EIO;
	sim.fail_at = 1 + pick(40);
	for (int turn = 0; turn < 60 && !trouble[0]; turn++) {
		int shard = (int)pick(SHARDS), count = 1 + (int)pick(PENDING_MAX - 1);

		if (ask_some(shard, count) == count) {
			maybe_release();
			continue;
		}
		/* A sync that failed is the end; anything else is over. */
		sim.fail_at = 0;
		for (int i = 0; i < SHARDS; i++)
			journal_attach(journal, (uint64_t)i + 1);
		dead = sim.fail_call == SIM_SYNC;
		if (!dead && ask_some((shard + 1) % SHARDS, 1) != 1)
			snprintf(trouble, sizeof(trouble), "it does not go on: %s", asked[0].r.error.message);
		journal_close(journal);
		if (open_journal(&error))
			snprintf(trouble, sizeof(trouble), "it does not open again: %s", error.message);
		else
			dead ? check(shard, count) : (void)0;
		if (!trouble[0])
			journal_close(journal);
		return;
	}
	sim.fail_at = 0;
	journal_close(journal);
}

int main(int argc, char **argv)
{
	uint64_t seeds = argc > 1 ? strtoull(argv[1], NULL, 10) : 300;
	uint64_t from = argc > 2 ? strtoull(argv[2], NULL, 10) : 1, s, caught = 0;

	for (s = from; s < from + seeds && !trouble[0]; s++)
		run_power(s, false);
	if (!ok(!trouble[0], "power fails at random: what was stored is there, with %llu seeds",
		(unsigned long long)seeds))
		printf("# seed %llu: %s\n", (unsigned long long)seed, trouble);
	trouble[0] = 0;
	for (s = from; s < from + seeds && !trouble[0]; s++)
		run_fault(s);
	if (!ok(!trouble[0], "calls fail: what was stored is there, and it goes on when the fault is gone"))
		printf("# seed %llu: %s\n", (unsigned long long)seed, trouble);
	for (s = from; s < from + 40; s++) {
		run_power(s, true);
		caught += trouble[0] != 0;
	}
	ok(caught > 30, "a disk that lies about syncs is caught, by %llu of 40 seeds",
	   (unsigned long long)caught);
	sim_reset(1);
	return tap_done();
}
