/*
 * Watches, as far as the store has a part in them: what a watcher reads out of the feed and out of the rows
 * of changes is the sequence of changes that a model of the commands expects, each once and in order,
 * wherever it begins, is cut and goes on, with reclaim and restarts in between. Arguments: seed, steps.
 */
#include <errno.h>
#include "clock.h"
#include "feed.h"
#include "storehouse.h"
#include "banned.h"

#define KEYS 24
#define EVENTS_MAX 200000

static uint64_t random_state;

static unsigned below(unsigned n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (unsigned)(random_state >> 11) % n;
}

struct seen {
	uint64_t revision, size;
	uint32_t ordinal;
	uint8_t change;
	bool gone, prefix, known;
	char key[16], other[16];
};

/* What the commands did. */
struct model {
	struct house h;
	bool there[KEYS];
	uint64_t size[KEYS];
	uint64_t revision;
	struct seen *events;
	size_t count;
	/* The watcher. */
	bool held, placed;
	struct change_cursor from; /* the next change that it wants */
	struct feed_place place;
	size_t next; /* the same in EVENTS */
	size_t wrong, compacted, by_feed, by_rows;
};

/* Keys a/0 … a/7, b/0 …, and c/0 …, in their order. */
static const char *name(unsigned key)
{
	static char text[4][8];
	static unsigned turn;
	char *t = text[turn++ % 4];

	snprintf(t, 8, "%c/%u", 'a' + (int)key / 8, key % 8);
	return t;
}

static struct seen *expect(struct model *m, uint32_t ordinal, enum change_kind change, unsigned key)
{
	struct seen *e = &m->events[m->count++];

	if (m->count >= EVENTS_MAX)
		bail("too many events");
	*e = (struct seen){ .revision = m->revision, .ordinal = ordinal, .change = (uint8_t)change };
	snprintf(e->key, sizeof(e->key), "%s", name(key));
	e->size = m->size[key];
	return e;
}

static void key_field(struct model *m, unsigned field, unsigned key)
{
	cairn_msg_text(&m->h.command, field, name(key));
}

/* A command that must work. */
static void done(struct model *m)
{
	if (house_apply(&m->h))
		bail("a command failed: %s", m->h.error.message);
}

static void do_put(struct model *m)
{
	unsigned key = below(KEYS), len = below(40);
	char value[41];

	memset(value, 'x', len);
	house_start(&m->h, CAIRN_OP_PUT);
	key_field(m, CAIRN_F_KEY, key);
	cairn_msg_bytes(&m->h.command, CAIRN_F_VALUE, cairn_slice(value, len));
	done(m);
	m->revision++;
	m->there[key] = true;
	m->size[key] = len;
	expect(m, 0, CHANGE_PUT, key);
}

static void do_append(struct model *m)
{
	unsigned key = below(KEYS);

	if (!m->there[key])
		return;
	house_start(&m->h, CAIRN_OP_APPEND);
	key_field(m, CAIRN_F_KEY, key);
	cairn_msg_text(&m->h.command, CAIRN_F_VALUE, "more");
	done(m);
	m->revision++;
	m->size[key] += 4;
	expect(m, 0, CHANGE_APPEND, key);
}

static void do_delete(struct model *m)
{
	unsigned key = below(KEYS);

	house_start(&m->h, CAIRN_OP_DELETE);
	key_field(m, CAIRN_F_KEY, key);
	if ((house_apply(&m->h) == CAIRN_OK) != m->there[key])
		bail("a delete had another result than the model");
	if (!m->there[key])
		return;
	m->revision++;
	m->there[key] = false;
	expect(m, 0, CHANGE_DELETE, key)->gone = true;
}

static void expect_other(struct seen *e, unsigned key, bool gone)
{
	snprintf(e->other, sizeof(e->other), "%s", name(key));
	e->gone = gone;
}

static void do_move(struct model *m)
{
	unsigned key = below(KEYS), to = below(KEYS);

	if (!m->there[key] || key == to)
		return;
	house_start(&m->h, CAIRN_OP_MOVE);
	key_field(m, CAIRN_F_KEY, key);
	key_field(m, CAIRN_F_TO, to);
	done(m);
	m->revision++;
	expect_other(expect(m, 0, CHANGE_MOVE, key), to, true);
	m->there[key] = false;
	m->there[to] = true;
	m->size[to] = m->size[key];
	expect_other(expect(m, 1, CHANGE_MOVE, to), key, false);
}

/* All of one folder onto another. */
static void do_move_prefix(struct model *m)
{
	unsigned from = below(3) * 8, to = below(3) * 8, n = 0, i;
	char text[2][3] = { { (char)('a' + from / 8), '/' }, { (char)('a' + to / 8), '/' } };
	struct seen *e;

	for (i = from; i < from + 8; i++)
		n += m->there[i];
	if (!n || from == to)
		return;
	house_start(&m->h, CAIRN_OP_MOVE_PREFIX);
	cairn_msg_text(&m->h.command, CAIRN_F_PREFIX, text[0]);
	cairn_msg_text(&m->h.command, CAIRN_F_TO, text[1]);
	done(m);
	m->revision++;
	e = expect(m, 0, CHANGE_MOVE_PREFIX, from);
	e->prefix = true;
	snprintf(e->key, sizeof(e->key), "%s", text[0]);
	snprintf(e->other, sizeof(e->other), "%s", text[1]);
	for (i = from, n = 1; i < from + 8; i++)
		if (m->there[i])
			expect_other(expect(m, n++, CHANGE_MOVE_PREFIX, i), i - from + to, true);
	for (i = from; i < from + 8; i++) {
		if (!m->there[i])
			continue;
		m->there[i] = false;
		m->there[i - from + to] = true;
		m->size[i - from + to] = m->size[i];
		expect_other(expect(m, n++, CHANGE_MOVE_PREFIX, i - from + to), i, false);
	}
}

static void add_put(struct model *m, unsigned key, const char *value)
{
	size_t op = cairn_msg_open_op(&m->h.command, CAIRN_F_THEN, CAIRN_OP_PUT);

	cairn_msg_text(&m->h.command, CAIRN_F_KEY, name(key));
	cairn_msg_text(&m->h.command, CAIRN_F_VALUE, value);
	cairn_msg_close(&m->h.command, op);
}

/* Two puts and, where it FAILS, a move of what is not there: then nothing of it happens. */
static void do_txn(struct model *m, bool fails)
{
	unsigned one = below(KEYS), other = below(KEYS);
	size_t op;

	house_start(&m->h, CAIRN_OP_TXN);
	add_put(m, one, "first");
	add_put(m, other, "second");
	if (fails) {
		op = cairn_msg_open_op(&m->h.command, CAIRN_F_THEN, CAIRN_OP_MOVE);
		cairn_msg_text(&m->h.command, CAIRN_F_KEY, "nothing");
		cairn_msg_text(&m->h.command, CAIRN_F_TO, "anything");
		cairn_msg_close(&m->h.command, op);
	}
	if ((house_apply(&m->h) == CAIRN_OK) == fails)
		bail("a transaction had another result than the model");
	if (fails)
		return;
	m->revision++;
	m->there[one] = m->there[other] = true;
	m->size[one] = 5;
	expect(m, 0, CHANGE_PUT, one);
	m->size[other] = 6;
	expect(m, 1, CHANGE_PUT, other);
}

static void command(struct model *m)
{
	unsigned what = below(100);

	if (what < 45)
		do_put(m);
	else if (what < 60)
		do_append(m);
	else if (what < 75)
		do_delete(m);
	else if (what < 85)
		do_move(m);
	else if (what < 90)
		do_move_prefix(m);
	else
		do_txn(m, what >= 95);
}

/* --- the watcher --- */

static bool same(const struct seen *want, const struct store_event *e, bool need_known)
{
	bool known = e->flags & EVENT_KNOWN;

	return want->revision == e->revision && want->ordinal == e->ordinal && want->change == e->change &&
		cairn_slice_eq(cairn_str(want->key), e->key) &&
		(!(known || want->prefix) || cairn_slice_eq(cairn_str(want->other), e->other)) &&
		want->gone == !!(e->flags & EVENT_GONE) && want->prefix == !!(e->flags & EVENT_PREFIX) &&
		(known || want->prefix || !need_known) && (!known || want->gone || want->size == e->size);
}

static bool take(struct model *m, const struct store_event *e, bool need_known)
{
	if (m->next == m->count || !same(&m->events[m->next], e, need_known)) {
		if (m->wrong++ < 5)
			printf("# at %zu of %zu: %llu.%u %s %.*s, expected %llu.%u %s\n", m->next, m->count,
			       (unsigned long long)e->revision, e->ordinal, store_event_name(e),
			       (int)e->key.len, (const char *)e->key.data,
			       (unsigned long long)m->events[m->next].revision, m->events[m->next].ordinal,
			       m->events[m->next].key);
	}
	m->next++;
	m->from = (struct change_cursor){ e->revision, e->ordinal + 1 };
	return below(20) != 0;
}

static bool take_row(void *arg, const struct store_event *e)
{
	struct model *m = arg;

	m->by_rows++;
	return take(m, e, false);
}

/* It goes on at the first change of REVISION or later. */
static void begin_at(struct model *m, uint64_t revision)
{
	m->from = (struct change_cursor){ revision, 0 };
	m->placed = false;
	for (m->next = 0; m->next < m->count && m->events[m->next].revision < revision;)
		m->next++;
}

/* Read rows for a while. */
static void read_rows(struct model *m)
{
	struct cairn_error error;
	bool end;
	enum cairn_code code = store_changes(m->h.store, &m->from, NULL, take_row, m, &end, &error);

	if (code == CAIRN_E_COMPACTED) {
		if (error.revision <= m->from.revision || error.revision > m->revision + 1)
			bail("compacted names revision %llu, and %llu was asked for",
			     (unsigned long long)error.revision, (unsigned long long)m->from.revision);
		m->compacted++;
		begin_at(m, error.revision);
	} else if (code) {
		bail("reading changes: %s", error.message);
	} else if (end && m->next != m->count) {
		m->wrong++;
		printf("# the rows end at %zu of %zu changes\n", m->next, m->count);
		m->next = m->count;
	}
}

/* Read the feed for a while; where it does not go back far enough, the rows. */
static void watch(struct model *m)
{
	struct store_event e;
	struct feed_run run;
	int there;

	if (!m->held) {
		store_feed_hold(m->h.store, below(2));
		m->held = true;
	}
	if (!m->placed && (m->from.ordinal || store_feed_seek(m->h.store, m->from.revision, &m->place) < 0)) {
		read_rows(m);
		return;
	}
	m->placed = true;
	there = store_feed_take(m->h.store, &m->place, &run);
	if (there < 0) {
		m->placed = false;
		return;
	}
	if (there == 0)
		return;
	while (feed_next(&run, &e)) {
		if (e.revision < m->from.revision)
			continue;
		m->by_feed++;
		if (!take(m, &e, true))
			break;
	}
	m->place = run.at;
	store_feed_done(m->h.store, &run);
}

/* Another place to begin at, or a restart, or reclaim. */
static void disturb(struct model *m)
{
	bool more;

	switch (below(6)) {
	case 0:
		begin_at(m, 1 + below((unsigned)m->revision + 1));
		break;
	case 1:
		m->placed = false; /* cut: it goes on where it was */
		break;
	case 2:
		if (m->held)
			store_feed_release(m->h.store, false);
		m->held = m->placed = false;
		break;
	case 3:
		if (!(m->h.engine.ops.caps & CAIRN_ENGINE_DURABLE))
			break;
		house_reopen(&m->h);
		store_feed_limit(m->h.store, 100000);
		m->held = m->placed = false;
		break;
	default:
		for (unsigned i = below(20); i > 0; i--)
			if (store_reclaim(m->h.store, clock_boot_ns(), false, &more, &m->h.error))
				bail("reclaim: %s", m->h.error.message);
	}
}

/* HISTORY versions and AGE_MS of them are kept; SMALL: the feed holds little. */
static void sequence(const char *engine, uint64_t history, uint64_t age_ms, bool small, unsigned steps)
{
	struct store_settings settings = house_settings;
	struct model m = { 0 };

	settings.history = history;
	settings.history_age_ns = age_ms * 1000000;
	if (!house_open_with(&m.h, engine, &settings)) {
		printf("# no engine %s here\n", engine);
		return;
	}
	m.events = calloc(EVENTS_MAX, sizeof(*m.events));
	if (!m.events)
		bail("no memory");
	store_feed_limit(m.h.store, small ? 70000 : 8 << 20);
	begin_at(&m, 1);
	for (unsigned i = 0; i < steps; i++) {
		for (unsigned n = below(4); n > 0; n--)
			command(&m);
		if (below(3))
			watch(&m);
		if (below(50) == 0)
			disturb(&m);
	}
	for (unsigned i = 0; i < steps && m.next < m.count; i++)
		watch(&m);
	is_int(m.wrong, 0,
	       "%s, history %llu for %llu ms: %zu changes by the feed and %zu by rows are those of the "
	       "model, "
	       "%zu times compacted",
	       engine, (unsigned long long)history, (unsigned long long)age_ms, m.by_feed, m.by_rows,
	       m.compacted);
	is_int(m.next, m.count, "and all of them come");
	if (m.held)
		store_feed_release(m.h.store, false);
	house_close(&m.h);
	free(m.events);
}

static unsigned count_run(struct store *s, struct feed_place *place)
{
	struct store_event e;
	struct feed_run run;
	unsigned n = 0;

	while (store_feed_take(s, place, &run) == 1) {
		while (feed_next(&run, &e))
			n++;
		*place = run.at;
		store_feed_done(s, &run);
	}
	return n;
}

static void count_notice(void *arg)
{
	++*(unsigned *)arg;
}

/* The feed by itself: who reads it, who does not, and its end. */
static void feed(void)
{
	struct feed_place place = { 0 }, late;
	struct cairn_error why = { .code = CAIRN_E_UNAVAILABLE };
	struct store_event last = { .flags = EVENT_FLUSH, .change = CHANGE_FLUSH };
	struct feed_facts facts;
	struct feed_run run;
	unsigned notices = 0;
	struct house h;

	if (!house_open(&h, "memory"))
		bail("no engine memory");
	house_put(&h, "before", "1");
	is_int(store_feed_seek(h.store, 1, &place), -ESTALE,
	       "with history nothing is kept while nobody watches");
	store_feed_hold(h.store, false);
	store_feed_notify(h.store, count_notice, &notices);
	is_int(store_feed_seek(h.store, 2, &place), 0, "from then on it is");
	house_put(&h, "a", "1");
	house_put(&h, "a", "2");
	is_int(notices, 2, "each batch is told of");
	is_int(count_run(h.store, &place), 2, "both changes are there");
	late = place;
	store_feed_limit(h.store, 1);
	for (int i = 0; i < 5000; i++)
		house_put(&h, "a", "3");
	is_int(store_feed_take(h.store, &late, &run), -ESTALE, "a place that was left behind is gone");
	store_feed_facts(h.store, &facts);
	is_int(facts.revision, 5003, "the newest is known");
	ok(facts.from > 3000 && facts.from < 5003, "and from where on it is held");
	is_int(store_feed_seek(h.store, facts.from + 1, &place), 0, "which can be read");
	is_int(count_run(h.store, &place), 5003 - facts.from, "to its end");
	last.revision = 5004;
	store_feed_end(h.store, &why, &last);
	is_int(count_run(h.store, &place), 1, "the end may be a change of its own");
	store_feed_facts(h.store, &facts);
	ok(facts.ended && facts.why.code == CAIRN_E_UNAVAILABLE, "and has a reason");
	house_close(&h);
}

int main(int argc, char **argv)
{
	unsigned steps = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 4000;
	uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;

	for (unsigned i = 0; i < 2; i++) {
		random_state = (seed + i) * 0x9e3779b97f4a7c15u | 1;
		printf("# seed %llu\n", (unsigned long long)(seed + i));
		sequence("memory", 8, 3600000, false, steps);
		sequence("memory", 2, 300, true, steps);
		sequence("memory", 0, 0, false, steps);
		sequence("leveldb", 8, 3600000, true, steps / 4);
		sequence("leveldb", 2, 300, true, steps / 4);
	}
	feed();
	return tap_done();
}
