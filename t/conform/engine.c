/*
 * Whether an engine keeps the contract of cairn/engine.h, loaded as the daemon loads it:
 *
 *   engine [--ops N] [--seed S] [--key-max BYTES] [-o NAME=VALUE]… NAME|PATH.so
 *
 * Random operations are done on the engine and on a model (model.h), and what the engine says is compared all
 * the way. A durable engine is also reopened, and killed in the middle of its work. TAP on standard output;
 * the comment
 * "# digest …" is the checksum of what the engine holds at the end, and depends on --ops, --seed and the
 * longest key alone: that of the engine, or --key-max where it is less.
 *
 * engine --child DIR FROM SEED … is the process that gets killed.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "engine.h"
#include "files.h"
#include "loader.h"
#include "model.h"
#include "tap.h"
#include "banned.h"

#define STEPS 24      /* most steps of a batch */
#define PARAMETERS 32 /* most -o */
#define SNAPSHOTS 4   /* held at the same time */
#define CHILD_KEYS 50 /* keys that the killed process writes */

/* A snapshot and what it must show. */
struct kept {
	void *snapshot;
	struct value *state;
};

struct conform {
	struct loader *loader;
	const struct cairn_engine *plugin;
	const char *name; /* as given */
	const char *parameters[PARAMETERS];
	size_t parameter_count;
	long ops;
	uint64_t seed;
	uint32_t key_max;
	char dir[256];  /* everything of this run */
	char data[272]; /* the engine's */

	struct engine e;
	struct cairn_error error;
	struct keys keys;
	struct value *now, *next; /* by key */
	struct cairn_position position;
	struct kept kept[SNAPSHOTS];
	struct dice dice;
	unsigned char *arena; /* values of a batch */
	char wrong[300];      /* what was found first; empty while all is well */
	long reopened, walked, waited;
};

__attribute__((format(printf, 2, 3))) static bool wrong(struct conform *c, const char *format, ...)
{
	va_list args;

	if (*c->wrong)
		return false;
	va_start(args, format);
	vsnprintf(c->wrong, sizeof(c->wrong), format, args);
	va_end(args);
	return false;
}

/* Key number I for people. */
static const char *show(const struct conform *c, uint32_t i, char text[80])
{
	struct cairn_slice k = i < c->keys.count ? c->keys.list[i] : cairn_str("");
	size_t n = 0;

	for (size_t at = 0; at < k.len && at < 16; at++)
		n += (size_t)snprintf(text + n, 80 - n, "%02x", ((const unsigned char *)k.data)[at]);
	snprintf(text + n, 80 - n, "%s (%zu bytes)", k.len > 16 ? "…" : "", k.len);
	return text;
}

static bool open_engine(struct conform *c, struct engine *e, const char *dir)
{
	if (engine_open(e, c->plugin, dir, c->parameters, c->parameter_count, &c->error) == CAIRN_OK)
		return true;
	return wrong(c, "open: %s", c->error.message);
}

/* Reading */

static bool check_one(struct conform *c, const struct value *want, uint32_t i, int r, struct cairn_slice got,
		      const char *how)
{
	char text[80];

	if (r == (want->there ? 0 : -ENOENT) && (r || value_is(want, got)))
		return true;
	return wrong(c, "%s of key %s: got %d and %zu bytes, want %s, %u bytes", how, show(c, i, text), r,
		     got.len, want->there ? "it there" : "-ENOENT", want->len);
}

/* Several gets under one guard; everything that they lend must hold until it ends. */
static bool check_gets(struct conform *c, void *snapshot, const struct value *state)
{
	uint32_t n = 1 + dice(&c->dice, 6), which[6];
	struct cairn_slice got[6] = { { 0 } }, keys[6];
	struct cairn_guard guard = { 0 };
	int r[6];
	bool good = true;

	c->e.ops.read_begin(c->e.handle, &guard);
	for (uint32_t i = 0; i < n; i++) {
		unsigned flags = dice(&c->dice, 3) ? 0 : CAIRN_READ_NO_WAIT;

		which[i] = dice(&c->dice, c->keys.count);
		r[i] = c->e.ops.get(c->e.handle, &guard, snapshot, c->keys.list[which[i]], flags, &got[i]);
		if (r[i] == -EAGAIN && flags) {
			c->waited++;
			r[i] = c->e.ops.get(c->e.handle, &guard, snapshot, c->keys.list[which[i]], 0,
					    &got[i]);
		}
	}
	for (uint32_t i = 0; i < n; i++)
		good = good &&
			check_one(c, &state[which[i]], which[i], r[i], got[i],
				  snapshot ? "get in a snapshot" : "get");
	for (uint32_t i = 0; i < n; i++)
		keys[i] = c->keys.list[which[i]];
	if (!snapshot && c->e.ops.get_many(c->e.handle, &guard, keys, n, 0, got))
		for (uint32_t i = 0; i < n; i++)
			good = good &&
				check_one(c, &state[which[i]], which[i], got[i].data ? 0 : -ENOENT, got[i],
					  "get_many");
	c->e.ops.read_end(c->e.handle, &guard);
	return good;
}

static int next_entry(struct conform *c, void *it, struct cairn_slice *key, struct cairn_slice *value)
{
	int r;

	for (int tries = 0; (r = c->e.ops.iter_next(it, key, value)) == -EAGAIN && tries < 100000; tries++) {
		c->waited++;
		sched_yield();
	}
	return r;
}

/* The next key of STATE in [FROM, TO) in the direction of the walk; false at the end. */
static bool model_next(const struct value *state, uint32_t *from, uint32_t *to, bool reverse, uint32_t *i)
{
	while (*from < *to) {
		*i = reverse ? --*to : (*from)++;
		if (state[*i].there)
			return true;
	}
	return false;
}

static bool random_write(struct conform *c);

/* Walk [FROM, TO) of a state; in one of four walks over now a batch comes in between and must not be seen. */
static bool walk(struct conform *c, void *snapshot, const struct value *state, struct cairn_slice from,
		 struct cairn_slice to, unsigned flags)
{
	uint32_t low = keys_below(&c->keys, from, false), high = keys_below(&c->keys, to, true), i = 0, n = 0;
	uint32_t disturb = !snapshot && dice(&c->dice, 4) == 0 ? 1 + dice(&c->dice, 20) : 0;
	struct value *copy = malloc(c->keys.count * sizeof(*copy));
	bool reverse = flags & CAIRN_READ_REVERSE, good, there;
	struct cairn_slice key, value;
	char text[80];
	void *it;
	int r = c->e.ops.iter_open(c->e.handle, snapshot, from, to, flags, &it);

	if (r == -EAGAIN && (flags & CAIRN_READ_NO_WAIT)) {
		c->waited++;
		r = c->e.ops.iter_open(c->e.handle, snapshot, from, to, flags & ~(unsigned)CAIRN_READ_NO_WAIT,
				       &it);
	}
	memcpy(copy, state, c->keys.count * sizeof(*copy));
	good = r == 0 || wrong(c, "iter_open gave %d", r);
	if (!good) {
		free(copy);
		return false;
	}
	do {
		if (++n == disturb)
			good = random_write(c);
		r = next_entry(c, it, &key, &value);
		there = model_next(copy, &low, &high, reverse, &i);
		if (r)
			good = wrong(c, "iter_next gave %d", r);
		else if (!there && key.data)
			good = wrong(c, "a walk gave %zu bytes of key too many", key.len);
		else if (there && (!key.data || !cairn_slice_eq(key, c->keys.list[i])))
			good = wrong(c, "a walk %s%sgave %s where key %s comes", reverse ? "backwards " : "",
				     snapshot ? "in a snapshot " : "", key.data ? "another key" : "its end",
				     show(c, i, text));
		else if (there)
			good = good && check_one(c, &copy[i], i, 0, value, "walk");
	} while (good && there);
	c->e.ops.iter_close(it);
	c->walked++;
	free(copy);
	return good;
}

/* A bound: none, a key of the list, or one that falls between two. */
static struct cairn_slice random_bound(struct conform *c, unsigned char buffer[MODEL_KEY_MAX])
{
	struct cairn_slice k = c->keys.list[dice(&c->dice, c->keys.count)];

	switch (dice(&c->dice, 5)) {
	case 0:
		return cairn_slice(NULL, 0);
	case 1:
		memcpy(buffer, k.data, k.len);
		buffer[k.len - 1] ^= (unsigned char)(1 + dice(&c->dice, 255));
		if (buffer[0] == 0)
			buffer[0] = 1;
		return cairn_slice(buffer, k.len);
	default:
		return k;
	}
}

static bool random_walk(struct conform *c, void *snapshot, const struct value *state)
{
	unsigned flags =
		(dice(&c->dice, 2) ? CAIRN_READ_REVERSE : 0) | (dice(&c->dice, 3) ? 0 : CAIRN_READ_NO_WAIT);
	unsigned char a[MODEL_KEY_MAX], b[MODEL_KEY_MAX];
	struct cairn_slice from = random_bound(c, a), to = random_bound(c, b), was = from;

	if (from.len && to.len && dice(&c->dice, 10) &&
	    cairn_slice_cmp(from, to) > 0) { /* sometimes the wrong way round */
		from = to;
		to = was;
	}
	return walk(c, snapshot, state, from, to, flags);
}

/* Writing */

/* Value number V in the arena, cut into some pieces. */
static int cut_value(struct conform *c, const struct value *v, size_t *used, struct iovec iov[4])
{
	unsigned char *p = c->arena + *used;
	uint32_t left = v->len;
	int n = 0;

	value_fill(v, p);
	*used += v->len;
	while (n < 3 && dice(&c->dice, 3) == 0) { /* pieces may be empty */
		uint32_t piece = dice(&c->dice, left + 1);

		iov[n++] = (struct iovec){ p, piece };
		p += piece;
		left -= piece;
	}
	if (left || (n == 0 && dice(&c->dice, 2)))
		iov[n++] = (struct iovec){ p, left };
	return n;
}

static void roll_step(struct conform *c, struct cairn_write *w, struct iovec iov[4], size_t *used,
		      uint32_t near)
{
	uint32_t i = near < c->keys.count ? near + dice(&c->dice, 6) : dice(&c->dice, c->keys.count);
	uint32_t kind = dice(&c->dice, 100), end;

	i = i < c->keys.count ? i : c->keys.count - 1;
	*w = (struct cairn_write){ .kind = CAIRN_WRITE_DELETE, .key = c->keys.list[i] };
	if (kind < 72) {
		struct value v = value_roll(&c->dice);

		if (*used + v.len > 4 * MODEL_VALUE_MAX)
			v.len = 0;
		w->kind = CAIRN_WRITE_PUT;
		w->iov = iov;
		w->iov_count = cut_value(c, &v, used, iov);
		c->next[i] = v;
	} else if (kind < 92) {
		c->next[i].there = false;
	} else {
		end = i + dice(&c->dice, dice(&c->dice, 40) ? 12 : c->keys.count);
		w->kind = CAIRN_WRITE_DELETE_RANGE;
		if (end < c->keys.count)
			w->end = c->keys.list[end];
		else if (dice(&c->dice, 8)) /* no end: seldom, it empties much */
			w->end = c->keys.list[end = i];
		for (uint32_t n = i; n < end && n < c->keys.count; n++)
			c->next[n].there = false;
	}
}

/* A batch of up to STEPS steps, half of them on a handful of neighbours so that steps meet. */
static bool random_write(struct conform *c)
{
	uint32_t n = dice(&c->dice, STEPS + 1), near = dice(&c->dice, 2 * c->keys.count);
	struct cairn_write writes[STEPS];
	struct cairn_batch batch = {
		writes, n, { c->position.index + 1 + dice(&c->dice, 3), 1 + c->position.index / 5000 }
	};
	struct iovec iov[STEPS][4];
	struct value *was = c->now;
	bool sync = dice(&c->dice, 100) == 0;
	size_t used = 0;
	int r;

	memcpy(c->next, c->now, c->keys.count * sizeof(*c->now));
	for (uint32_t i = 0; i < n; i++)
		roll_step(c, &writes[i], iov[i], &used, near);
	c->ops -= n ? n : 1;
	r = c->e.ops.write(c->e.handle, &batch, sync, &c->error);
	if (r)
		return wrong(c, "write gave %d: %s", r, c->error.message);
	c->now = c->next;
	c->next = was;
	c->position = batch.position;
	return true;
}

struct decision {
	struct conform *c;
	uint32_t i;
	struct iovec iov[4];
	bool good;
};

static int decide(void *arg, bool found, struct cairn_slice old, const struct iovec **replacement)
{
	struct decision *d = arg;
	struct conform *c = d->c;
	size_t used = 0;
	int n;

	d->good = check_one(c, &c->now[d->i], d->i, found ? 0 : -ENOENT, old, "update");
	switch (dice(&c->dice, 4)) {
	case 0:
		return 0;
	case 1:
		c->now[d->i].there = false;
		return -1;
	}
	c->now[d->i] = value_roll(&c->dice);
	*replacement = d->iov;
	d->iov[0] = (struct iovec){ NULL, 0 };
	n = cut_value(c, &c->now[d->i], &used, d->iov);
	return n ? n : 1;
}

static bool random_update(struct conform *c)
{
	struct decision d = { .c = c, .i = dice(&c->dice, c->keys.count) };
	int r;

	if (!c->e.ops.update) { /* the same, so that the contents do not depend on the engine */
		struct cairn_write w = { .kind = CAIRN_WRITE_DELETE, .key = c->keys.list[d.i] };
		struct cairn_batch batch = { &w, 1, c->position };
		struct cairn_guard guard = { 0 };
		struct cairn_slice old = { 0 };

		c->e.ops.read_begin(c->e.handle, &guard);
		r = c->e.ops.get(c->e.handle, &guard, NULL, w.key, 0, &old);
		w.iov_count = decide(&d, r == 0, old, &w.iov);
		c->e.ops.read_end(c->e.handle, &guard);
		if (w.iov_count == 0)
			return d.good;
		w.kind = w.iov_count > 0 ? CAIRN_WRITE_PUT : CAIRN_WRITE_DELETE;
		r = c->e.ops.write(c->e.handle, &batch, false, &c->error);
	} else {
		r = c->e.ops.update(c->e.handle, c->keys.list[d.i], &(struct cairn_update){ &d, decide });
	}
	return r ? wrong(c, "update gave %d", r) : d.good;
}

/* Everything else */

static bool check_position(struct conform *c)
{
	struct cairn_position p;
	int r = c->e.ops.position(c->e.handle, &p);

	return (r == 0 && p.index == c->position.index && p.term == c->position.term) ||
		wrong(c, "position gave %d and (%llu, %llu), want (%llu, %llu)", r,
		      (unsigned long long)p.index, (unsigned long long)p.term,
		      (unsigned long long)c->position.index, (unsigned long long)c->position.term);
}

/* Take a snapshot in the place K, or look at the one there, or let it go. Engines without snapshots roll the
 * same dice. */
static bool random_snapshot(struct conform *c)
{
	struct kept *k = &c->kept[dice(&c->dice, SNAPSHOTS)];
	uint64_t state = c->dice.state;
	bool good = true;
	int r;

	if (!(c->plugin->caps & CAIRN_ENGINE_SNAPSHOT))
		return true;
	if (!k->snapshot) {
		r = c->e.ops.snapshot(c->e.handle, &k->snapshot);
		if (r)
			return wrong(c, "snapshot gave %d", r);
		memcpy(k->state, c->now, c->keys.count * sizeof(*c->now));
	} else {
		good = check_gets(c, k->snapshot, k->state) && random_walk(c, k->snapshot, k->state);
		if (dice(&c->dice, 3) == 0) {
			c->e.ops.release(c->e.handle, k->snapshot);
			k->snapshot = NULL;
		}
	}
	c->dice.state = state;
	return good;
}

static void release_all(struct conform *c)
{
	for (int i = 0; i < SNAPSHOTS; i++)
		if (c->kept[i].snapshot) {
			c->e.ops.release(c->e.handle, c->kept[i].snapshot);
			c->kept[i].snapshot = NULL;
		}
}

static void ignore_stat(void *arg, const char *name, const char *unit, uint64_t value)
{
	(void)unit;
	(void)value;
	*(bool *)arg &= name && *name;
}

static bool upkeep(struct conform *c)
{
	bool named = true, more = true;
	int r = 0;

	switch (dice(&c->dice, 4)) {
	case 0:
		r = engine_sync(&c->e, &c->error);
		break;
	case 1:
		for (int i = 0; more && r == 0 && i < 1000; i++)
			r = c->e.ops.maintain(c->e.handle, 1000, &more);
		break;
	case 2:
		c->e.ops.stats(c->e.handle, ignore_stat, &named);
		break;
	case 3:
		r = c->e.ops.check(c->e.handle, &c->error);
		if (r == 0 && dice(&c->dice, 10) == 0)
			r = c->e.ops.compact(c->e.handle, &c->error);
		break;
	}
	return (r == 0 && named) || wrong(c, "upkeep gave %d: %s", r, c->error.message);
}

static bool reopen(struct conform *c)
{
	if (!(c->plugin->caps & CAIRN_ENGINE_DURABLE))
		return true;
	release_all(c);
	engine_close(&c->e);
	c->reopened++;
	return open_engine(c, &c->e, c->data) && check_position(c);
}

static bool random_action(struct conform *c)
{
	uint32_t kind = dice(&c->dice, 2000);
	uint64_t state;
	bool good;

	if (kind < 800)
		return random_write(c);
	c->ops--;
	if (kind < 1400)
		return check_gets(c, NULL, c->now);
	if (kind < 1500)
		return random_walk(c, NULL, c->now);
	if (kind < 1650)
		return random_update(c);
	if (kind < 1850)
		return random_snapshot(c);
	if (kind < 1985)
		return check_position(c);
	state = c->dice.state;
	good = kind < 1998 ? upkeep(c) : reopen(c);
	c->dice.state = state;
	return good;
}

/* The contents now, as the engine has them and as the model has them. */
static bool check_digest(struct conform *c)
{
	unsigned char *buffer = malloc(MODEL_VALUE_MAX);
	struct cairn_slice key, value;
	uint32_t want = 0, got = 0, count = 0;
	void *it;

	for (uint32_t i = 0; i < c->keys.count; i++)
		if (c->now[i].there) {
			value_fill(&c->now[i], buffer);
			want = digest_add(want, c->keys.list[i], cairn_slice(buffer, c->now[i].len));
			count++;
		}
	free(buffer);
	if (c->e.ops.iter_open(c->e.handle, NULL, cairn_slice(NULL, 0), cairn_slice(NULL, 0), 0, &it))
		return wrong(c, "iter_open failed");
	while (c->e.ops.iter_next(it, &key, &value) == 0 && key.data)
		got = digest_add(got, key, value);
	c->e.ops.iter_close(it);
	printf("# digest %08x of %u keys\n", got, count);
	return got == want || wrong(c, "the digest should be %08x", want);
}

static void mixed(struct conform *c)
{
	long ops = c->ops;
	bool good = true;

	while (good && c->ops > 0)
		good = random_action(c);
	ok(good,
	   "%ld mixed operations agree with the model (%ld walks, %ld reopenings, %ld answers of try-again)",
	   ops, c->walked, c->reopened, c->waited);
	ok(good && walk(c, NULL, c->now, cairn_slice(NULL, 0), cairn_slice(NULL, 0), 0),
	   "all of it, forwards");
	ok(good && walk(c, NULL, c->now, cairn_slice(NULL, 0), cairn_slice(NULL, 0), CAIRN_READ_REVERSE),
	   "and backwards");
	ok(good && reopen(c) && check_position(c), "the position is that of the last batch");
	ok(good && check_digest(c), "the contents are those of the model");
	release_all(c);
	if (*c->wrong)
		printf("# %s (seed %llu)\n", c->wrong, (unsigned long long)c->seed);
}

static void two_handles(struct conform *c)
{
	struct cairn_write w = { .kind = CAIRN_WRITE_PUT, .key = cairn_str("only here") };
	struct cairn_batch batch = { &w, 1, { 1, 1 } };
	struct cairn_guard guard = { 0 };
	struct cairn_position p = { 7, 7 };
	struct cairn_slice value;
	struct engine other;
	char dir[272];

	snprintf(dir, sizeof(dir), "%s/other", c->dir);
	if (mkdir(dir, 0700) || !open_engine(c, &other, dir)) {
		ok(0, "a second handle opens: %s", c->wrong);
		return;
	}
	ok(other.ops.position(other.handle, &p) == 0 && p.index == 0 && p.term == 0,
	   "a new engine's position is 0");
	is_int(other.ops.write(other.handle, &batch, true, &c->error), 0, "a second handle takes a batch");
	c->e.ops.read_begin(c->e.handle, &guard);
	is_int(c->e.ops.get(c->e.handle, &guard, NULL, w.key, 0, &value), -ENOENT,
	       "which the first does not see");
	c->e.ops.read_end(c->e.handle, &guard);
	engine_close(&other);
	is_int(c->e.ops.destroy(dir), 0, "its folder can be destroyed");
	mkdir(dir, 0700);
	if (ok(open_engine(c, &other, dir), "and opened anew")) {
		ok(other.ops.position(other.handle, &p) == 0 && p.index == 0, "empty");
		engine_close(&other);
	}
}

/* Readers beside the writer: each batch gives all its keys one value, so a reader must find one value only.
 */

struct beside {
	struct conform *c;
	_Atomic bool stop;
	_Atomic long rounds;
	_Atomic int bad;
};

static uint64_t number_in(struct cairn_slice v)
{
	uint64_t n = 0;

	memcpy(&n, v.data, v.len < sizeof(n) ? v.len : sizeof(n));
	return n;
}

static void read_round(struct beside *b, unsigned round)
{
	struct engine *e = &b->c->e;
	struct cairn_slice key, value, from = cairn_str("beside/"), to = cairn_str("beside0");
	uint64_t first = 0;
	void *it, *snapshot = NULL;
	int n = 0;

	if (round % 2 && (e->ops.caps & CAIRN_ENGINE_SNAPSHOT) && e->ops.snapshot(e->handle, &snapshot))
		atomic_fetch_add(&b->bad, 1);
	if (e->ops.iter_open(e->handle, snapshot, from, to, round % 4 < 2 ? 0 : CAIRN_READ_REVERSE, &it)) {
		atomic_fetch_add(&b->bad, 1);
	} else {
		for (; e->ops.iter_next(it, &key, &value) == 0 && key.data; n++) {
			first = n ? first : number_in(value);
			if (number_in(value) != first)
				atomic_fetch_add(&b->bad, 1);
		}
		e->ops.iter_close(it);
		if (n != 30 && n != 15) /* all of a batch or none of it */
			atomic_fetch_add(&b->bad, 1);
	}
	for (int i = 0; snapshot && i < 30; i += 2) { /* the even keys are always there */
		struct cairn_guard guard = { 0 };
		char text[32];

		snprintf(text, sizeof(text), "beside/%02d", i);
		e->ops.read_begin(e->handle, &guard);
		if (e->ops.get(e->handle, &guard, snapshot, cairn_str(text), 0, &value) ||
		    number_in(value) != first)
			atomic_fetch_add(&b->bad, 1);
		e->ops.read_end(e->handle, &guard);
	}
	if (snapshot)
		e->ops.release(e->handle, snapshot);
	atomic_fetch_add(&b->rounds, 1);
}

static void *read_on(void *arg)
{
	struct beside *b = arg;

	for (unsigned round = 0; !atomic_load(&b->stop); round++)
		read_round(b, round);
	return NULL;
}

static int write_round(struct conform *c, uint64_t number)
{
	struct cairn_write writes[30];
	struct iovec iov = { &number, sizeof(number) };
	struct cairn_batch batch = { writes, 30, { c->position.index + 1, c->position.term } };
	char keys[30][32];
	int r;

	for (int i = 0; i < 30; i++) {
		snprintf(keys[i], sizeof(keys[i]), "beside/%02d", i);
		writes[i] = (struct cairn_write){
			.kind = CAIRN_WRITE_PUT, .key = cairn_str(keys[i]), .iov = &iov, .iov_count = 1
		};
		if (i % 2 && number % 3 == 0)
			writes[i].kind = CAIRN_WRITE_DELETE;
	}
	r = c->e.ops.write(c->e.handle, &batch, false, &c->error);
	if (r == 0)
		c->position = batch.position;
	return r;
}

static void readers(struct conform *c)
{
	struct beside b = { .c = c };
	pthread_t threads[2];
	uint64_t n = 1;
	int r = write_round(c, n);

	for (int i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, read_on, &b);
	while (r == 0 && (n < 300 || (n < 50000 && atomic_load(&b.rounds) < 100)))
		r = write_round(c, ++n);
	atomic_store(&b.stop, true);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	is_int(r, 0, "a writer beside two readers writes");
	is_int(atomic_load(&b.bad), 0, "who see whole batches, and snapshots that do not change");
}

/* Killed in the middle */

static uint64_t child_seed(uint64_t seed, uint64_t batch)
{
	struct dice d = { seed ^ (batch * 0x9e3779b97f4a7c15u) };

	return dice_bits(&d);
}

/* What batch NUMBER does to the CHILD_KEYS keys, to MODEL (by key) and as WRITES of the count returned. */
static uint32_t child_batch(uint64_t seed, uint64_t number, struct value *model, struct cairn_write *writes,
			    struct iovec *iov, char (*keys)[16], unsigned char *arena)
{
	struct dice d = { child_seed(seed, number) };
	uint32_t n = 1 + dice(&d, 8);
	size_t used = 0;

	for (uint32_t k = 0; k < n; k++) {
		uint32_t i = dice(&d, CHILD_KEYS), end = i + dice(&d, 4), kind = dice(&d, 10);
		struct value v = { .seed = dice_bits(&d),
				   .len = dice(&d, 50) ? dice(&d, 400) : dice(&d, 60000),
				   .there = true };

		snprintf(keys[2 * k], 16, "child/%02u", i);
		writes[k] = (struct cairn_write){ .kind = CAIRN_WRITE_DELETE, .key = cairn_str(keys[2 * k]) };
		if (kind < 7) {
			value_fill(&v, arena + used);
			iov[k] = (struct iovec){ arena + used, v.len };
			used += v.len;
			writes[k].kind = CAIRN_WRITE_PUT;
			writes[k].iov = &iov[k];
			writes[k].iov_count = 1;
			model[i] = v;
		} else if (kind < 9) {
			model[i].there = false;
		} else {
			snprintf(keys[2 * k + 1], 16, "child/%02u", end);
			writes[k].kind = CAIRN_WRITE_DELETE_RANGE;
			writes[k].end = cairn_str(keys[2 * k + 1]);
			for (; i < end && i < CHILD_KEYS; i++)
				model[i].there = false;
		}
	}
	return n;
}

/* Write batches for ever; after each one that was synced, its number goes to standard output. */
static int child(struct conform *c, const char *dir, uint64_t number)
{
	struct value model[CHILD_KEYS] = { { 0 } };
	struct cairn_write writes[8];
	struct iovec iov[8];
	char keys[16][16];
	unsigned char *arena = malloc(8 * 65536);

	if (!open_engine(c, &c->e, dir)) {
		fprintf(stderr, "%s\n", c->wrong);
		return 1;
	}
	for (;; number++) {
		uint32_t n = child_batch(c->seed, number, model, writes, iov, keys, arena);
		struct cairn_batch batch = { writes, n, { number, 3 } };
		bool sync = child_seed(c->seed, number) % 4 == 0;

		if (c->e.ops.write(c->e.handle, &batch, sync, &c->error)) {
			fprintf(stderr, "%s\n", c->error.message);
			return 1;
		}
		if (sync && write(STDOUT_FILENO, &number, sizeof(number)) != sizeof(number))
			return 0;
	}
}

/* Start a child at batch FROM, kill it after READS reports or so, and give the last batch that was synced. */
static uint64_t kill_one(struct conform *c, const char *dir, uint64_t from, uint32_t reads)
{
	char from_text[32], seed_text[32], *args[2 * PARAMETERS + 12];
	uint64_t number, last = from - 1;
	int ends[2], n = 0;
	pid_t pid;

	snprintf(from_text, sizeof(from_text), "%llu", (unsigned long long)from);
	snprintf(seed_text, sizeof(seed_text), "%llu", (unsigned long long)c->seed);
	args[n++] = (char *)"engine";
	args[n++] = (char *)"--child";
	args[n++] = (char *)dir;
	args[n++] = (char *)"--from";
	args[n++] = from_text;
	args[n++] = (char *)"--seed";
	args[n++] = seed_text;
	for (size_t i = 0; i < c->parameter_count; i++) {
		args[n++] = (char *)"-o";
		args[n++] = (char *)c->parameters[i];
	}
	args[n++] = (char *)c->name;
	args[n] = NULL;
	if (pipe2(ends, O_CLOEXEC) || (pid = fork()) < 0)
		bail("no child");
	if (pid == 0) {
		dup2(ends[1], STDOUT_FILENO);
		execv("/proc/self/exe", args);
		_exit(127);
	}
	close(ends[1]);
	while (reads-- && read(ends[0], &number, sizeof(number)) == sizeof(number))
		last = number;
	kill(pid, SIGKILL);
	while (read(ends[0], &number, sizeof(number)) == sizeof(number))
		last = number;
	waitpid(pid, NULL, 0);
	close(ends[0]);
	return last;
}

/* Whether the engine in DIR holds exactly the batches up to some position that is not before SYNCED;
 * *POSITION is it. */
static bool check_prefix(struct conform *c, const char *dir, uint64_t synced, uint64_t *position)
{
	struct value model[CHILD_KEYS] = { { 0 } };
	unsigned char *arena = malloc(8 * 65536);
	struct cairn_slice key, value;
	struct cairn_write writes[8];
	struct cairn_position p;
	struct iovec iov[8];
	char keys[16][16], name[16];
	struct engine e;
	bool good = true;
	void *it;

	if (!open_engine(c, &e, dir)) {
		free(arena);
		return false;
	}
	e.ops.position(e.handle, &p);
	for (uint64_t n = 1; n <= p.index; n++)
		child_batch(c->seed, n, model, writes, iov, keys, arena);
	free(arena);
	if (p.index < synced)
		good = wrong(c, "batch %llu was synced, but the engine ends at %llu",
			     (unsigned long long)synced, (unsigned long long)p.index);
	e.ops.iter_open(e.handle, NULL, cairn_slice(NULL, 0), cairn_slice(NULL, 0), 0, &it);
	for (uint32_t i = 0; i <= CHILD_KEYS; i++) {
		if (i < CHILD_KEYS && !model[i].there)
			continue;
		snprintf(name, sizeof(name), "child/%02u", i);
		if (e.ops.iter_next(it, &key, &value) || (key.data != NULL) != (i < CHILD_KEYS) ||
		    (key.data && (!cairn_slice_eq(key, cairn_str(name)) || !value_is(&model[i], value))))
			good = wrong(c, "the contents are not those of the first %llu batches (at %s)",
				     (unsigned long long)p.index, name);
	}
	e.ops.iter_close(it);
	engine_close(&e);
	*position = p.index;
	return good;
}

static void killed(struct conform *c)
{
	const int times = 15;
	uint64_t position = 0, synced = 0;
	bool good = true;
	char dir[272];

	if (!(c->plugin->caps & CAIRN_ENGINE_DURABLE)) {
		ok(1, "killed at random points # SKIP the engine is not durable");
		return;
	}
	snprintf(dir, sizeof(dir), "%s/killed", c->dir);
	good = mkdir(dir, 0700) == 0;
	for (int i = 0; good && i < times; i++) {
		synced = kill_one(c, dir, position + 1, 1 + dice(&c->dice, 25));
		good = check_prefix(c, dir, synced, &position);
	}
	ok(good && position > 50,
	   "killed %d times in %llu batches: all that was synced is there, and nothing but whole batches",
	   times, (unsigned long long)position);
	if (!good)
		printf("# %s\n", c->wrong);
}

static int run(struct conform *c)
{
	uint32_t key_max =
		c->plugin->key_max && c->plugin->key_max < c->key_max ? c->plugin->key_max : c->key_max;
	void *snapshot;

	snprintf(c->dir, sizeof(c->dir), "%.200s/cairn-conform.XXXXXX",
		 getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	if (!mkdtemp(c->dir))
		bail("no folder: %s", strerror(errno));
	snprintf(c->data, sizeof(c->data), "%s/data", c->dir);
	mkdir(c->data, 0700);
	keys_make(&c->keys, c->seed, key_max);
	c->now = calloc(c->keys.count, sizeof(*c->now));
	c->next = calloc(c->keys.count, sizeof(*c->next));
	c->arena = malloc(5 * MODEL_VALUE_MAX);
	for (int i = 0; i < SNAPSHOTS; i++)
		c->kept[i].state = calloc(c->keys.count, sizeof(*c->now));
	if (ok(open_engine(c, &c->e, c->data), "%s opens", c->plugin->name)) {
		if (!(c->plugin->caps & CAIRN_ENGINE_SNAPSHOT))
			is_int(c->e.ops.snapshot(c->e.handle, &snapshot), -EOPNOTSUPP,
			       "it has no snapshots and says so");
		mixed(c);
		two_handles(c);
		readers(c);
		engine_close(&c->e);
		killed(c);
	} else {
		printf("# %s\n", c->wrong);
	}
	for (int i = 0; i < SNAPSHOTS; i++)
		free(c->kept[i].state);
	free(c->now);
	free(c->next);
	free(c->arena);
	keys_free(&c->keys);
	folder_remove(AT_FDCWD, c->dir);
	return tap_done();
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "ops", required_argument, NULL, 'n' },     { "seed", required_argument, NULL, 's' },
		{ "child", required_argument, NULL, 'c' },   { "from", required_argument, NULL, 'f' },
		{ "key-max", required_argument, NULL, 'k' }, { 0 }
	};
	struct conform c = { .ops = 100000, .seed = 1, .key_max = MODEL_KEY_MAX };
	const struct plugin *plugin;
	const char *child_dir = NULL;
	uint64_t from = 1;
	int o, r;

	while ((o = getopt_long(argc, argv, "o:", options, NULL)) != -1) {
		if (o == 'n')
			c.ops = strtol(optarg, NULL, 10);
		else if (o == 's')
			c.seed = strtoull(optarg, NULL, 10);
		else if (o == 'c')
			child_dir = optarg;
		else if (o == 'f')
			from = strtoull(optarg, NULL, 10);
		else if (o == 'k')
			c.key_max = (uint32_t)strtoul(optarg, NULL, 10);
		else if (o == 'o' && c.parameter_count < PARAMETERS)
			c.parameters[c.parameter_count++] = optarg;
		else
			return 2;
	}
	if (optind + 1 != argc) {
		fprintf(stderr,
			"usage: %s [--ops N] [--seed S] [--key-max BYTES] [-o NAME=VALUE]… NAME|PATH.so\n",
			argv[0]);
		return 2;
	}
	c.name = argv[optind];
	c.dice.state = c.seed * 977;
	c.loader = loader_new(NULL);
	if (!c.loader || loader_get(c.loader, PLUGIN_ENGINE, c.name, &plugin, &c.error)) {
		fprintf(stderr, "%s\n", c.error.message);
		return 2;
	}
	c.plugin = plugin->engine;
	r = child_dir ? child(&c, child_dir, from) : run(&c);
	loader_free(c.loader);
	return r;
}
