/*
 * Streams: the frame (a frozen sample, every cut and every flipped bit refused), and whole stores that go
 * through one from any engine into any engine: the same digest, a store that passes its own check, and that
 * goes on.
 */
#include <stdlib.h>
#include "../lib/storehouse.h"
#include "hash.h"
#include "snapshot.h"
#include "stream.h"

static uint64_t seed = 1;

#define skipped(...) ok(true, "# SKIP " __VA_ARGS__)

static unsigned rnd(unsigned below)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)(seed >> 33) % below;
}

static void digest_of(struct house *h, char text[33])
{
	struct store_facts f;

	store_facts(h->store, &f);
	for (int i = 0; i < 16; i++)
		snprintf(text + 2 * i, 3, "%02x", f.digest[i]);
}

static bool save(struct house *h, bool compress, struct buffer *out)
{
	struct store_save *w;
	bool end = false;

	out->len = 0;
	if (store_save_open(&w, h->store, cairn_slice(NULL, 0), compress, NULL, &h->error))
		return false;
	while (!end && store_save_next(w, out, &end, &h->error) == CAIRN_OK)
		;
	store_save_close(w);
	return end;
}

/* Load BYTES, PIECE at a time, into the empty engine of H, and open the store there again. */
static enum cairn_code load(struct house *h, struct cairn_slice bytes, size_t piece)
{
	struct store_load *l;
	enum cairn_code code;

	store_close(h->store);
	h->store = NULL;
	code = store_load_open(&l, &h->engine, &h->error);
	for (size_t at = 0; !code && at < bytes.len; at += piece)
		code = store_load_take(l,
				       cairn_slice((const char *)bytes.data + at,
						   bytes.len - at < piece ? bytes.len - at : piece),
				       &h->error);
	if (!code)
		code = store_load_finish(l, NULL, &h->error);
	store_load_close(l);
	return code;
}

/* A random command of H; several of them make versions, tombstones, shared chunks, uploads and clients. */
static void random_command(struct house *h)
{
	static char large[400000];
	static const unsigned ops[] = { CAIRN_OP_PUT,    CAIRN_OP_PUT,  CAIRN_OP_PUT,  CAIRN_OP_DELETE,
					CAIRN_OP_APPEND, CAIRN_OP_COPY, CAIRN_OP_MOVE, CAIRN_OP_STAGE };
	unsigned op = ops[rnd(8)];
	char key[32], to[32], id[16] = "upload          ";
	size_t len = rnd(20) ? rnd(100) : rnd(200000);

	memset(large, 0, sizeof(large));
	for (size_t i = 0; i < sizeof(large); i += 997)
		large[i] = (char)rnd(256);
	snprintf(key, sizeof(key), "%c/%u", 'a' + rnd(3), rnd(20));
	snprintf(to, sizeof(to), "%c/%u", 'a' + rnd(3), rnd(20));
	house_start(h, op);
	if (rnd(3) == 0) {
		char client[16] = { (char)rnd(4) };

		cairn_msg_bytes(&h->command, CAIRN_F_CLIENT, cairn_slice(client, 16));
		cairn_msg_u64(&h->command, CAIRN_F_SEQUENCE, h->index + 1);
		cairn_msg_u64(&h->command, CAIRN_F_LOWEST, h->index > 5 ? h->index - 5 : 1);
		cairn_msg_u64(&h->command, CAIRN_F_BORN, h->index);
	}
	if (op == CAIRN_OP_STAGE) {
		id[15] = (char)rnd(3);
		cairn_msg_bytes(&h->command, CAIRN_F_UPLOAD, cairn_slice(id, 16));
		cairn_msg_u64(&h->command, CAIRN_F_INDEX, rnd(3));
		cairn_msg_bytes(&h->command, CAIRN_F_VALUE, cairn_slice(large, STORE_CHUNK));
	} else {
		cairn_msg_text(&h->command, CAIRN_F_KEY, key);
		if (op == CAIRN_OP_PUT || op == CAIRN_OP_APPEND)
			cairn_msg_bytes(&h->command, CAIRN_F_VALUE, cairn_slice(large, len));
		if (op == CAIRN_OP_COPY || op == CAIRN_OP_MOVE)
			cairn_msg_text(&h->command, CAIRN_F_TO, to);
	}
	house_apply(h);
}

static void round_trip(const char *from, const char *to, unsigned rounds)
{
	struct house a, b;
	struct buffer bytes = { 0 };
	char was[33], is[33];
	bool all = true;

	for (unsigned i = 0; i < rounds && all; i++) {
		seed = i * 7919 + 1;
		if (!house_open(&a, from) || !house_open(&b, to)) {
			skipped("no engine for a round trip from %s to %s", from, to);
			return;
		}
		for (unsigned n = rnd(400); n; n--)
			random_command(&a);
		digest_of(&a, was);
		all = save(&a, i % 2, &bytes);
		for (unsigned n = 20; n; n--) /* what comes later is not in it */
			random_command(&a);
		if (all && load(&b, buffer_slice(&bytes), i % 3 ? 1 + rnd(100000) : bytes.len) != CAIRN_OK)
			all = false;
		if (!all)
			printf("# seed %u: %s\n", i, a.error.message[0] ? a.error.message : b.error.message);
		if (store_open(&b.store, &b.engine, &b.settings, &b.error))
			bail("seed %u: %s", i, b.error.message);
		digest_of(&b, is);
		if (strcmp(was, is) != 0 || store_check_rows(b.store, &b.error)) {
			printf("# seed %u: %s %s %s\n", i, was, is, b.error.message);
			all = false;
		}
		for (unsigned n = 50; n; n--) { /* it goes on as if nothing had been */
			b.index = a.index;
			b.time_ns = a.time_ns;
			random_command(&b);
		}
		if (store_check_rows(b.store, &b.error)) {
			printf("# seed %u, later: %s\n", i, b.error.message);
			all = false;
		}
		house_close(&a);
		house_close(&b);
	}
	buffer_free(&bytes);
	ok(all, "%u random stores from %s to %s: equal digests, and the check finds nothing", rounds, from,
	   to);
}

/* The sum over all rows of H's engine but meta, and how many they are. */
static uint64_t all_rows(struct house *h, struct hash *sum)
{
	struct cairn_slice key, value;
	uint64_t n = 0;
	void *it;

	*sum = (struct hash){ 0 };
	if (h->engine.ops.iter_open(h->engine.handle, NULL, cairn_slice("\1", 1), cairn_slice(NULL, 0), 0,
				    &it))
		bail("no iterator");
	for (;; n++) {
		key.data = NULL;
		if (h->engine.ops.iter_next(it, &key, &value) < 0)
			bail("the walk ended");
		if (!key.data)
			break;
		if (*(const char *)key.data != 'm')
			hash_add(sum, hash_two(key, value));
	}
	h->engine.ops.iter_close(it);
	return n;
}

/* What reclaim has removed, or not yet, makes no difference to what comes out of a stream. */
static void reclaimed(void)
{
	struct store_settings settings = house_settings;
	bool same = true, smaller = false, clean = true;

	settings.history = 3;
	settings.history_age_ns = 20000000; /* the test's clock goes on by 1 ms a command */
	for (unsigned i = 0; i < 20; i++) {
		struct house a[2], b[2];
		struct hash sum[2];
		uint64_t rows[2], loaded[2];
		struct buffer bytes = { 0 };

		for (int k = 0; k < 2; k++) {
			bool more = true;

			if (!house_open_with(&a[k], "memory", &settings) ||
			    !house_open_with(&b[k], "memory", &settings)) {
				skipped("no memory engine");
				return;
			}
			seed = i + 1;
			for (unsigned n = 300; n; n--)
				random_command(&a[k]);
			while (k && more)
				if (store_reclaim(a[k].store, 0, false, &more, &a[k].error))
					bail("%s", a[k].error.message);
			rows[k] = all_rows(&a[k], &sum[k]);
			if (!save(&a[k], false, &bytes) || load(&b[k], buffer_slice(&bytes), bytes.len) ||
			    store_open(&b[k].store, &b[k].engine, &settings, &b[k].error))
				bail("%s %s", a[k].error.message, b[k].error.message);
			loaded[k] = all_rows(&b[k], &sum[k]);
			clean = clean && !store_check_rows(b[k].store, &b[k].error);
		}
		same = same && loaded[0] == loaded[1] && sum[0].lo == sum[1].lo && sum[0].hi == sum[1].hi;
		smaller = smaller || rows[1] < rows[0];
		if (loaded[0] != loaded[1])
			printf("# %u: %llu and %llu rows, after a stream %llu and %llu\n", i,
			       (unsigned long long)rows[0], (unsigned long long)rows[1],
			       (unsigned long long)loaded[0], (unsigned long long)loaded[1]);
		for (int k = 0; k < 2; k++) {
			house_close(&a[k]);
			house_close(&b[k]);
		}
		buffer_free(&bytes);
	}
	ok(same && smaller, "a stream does not tell whether reclaim has run: the same rows come out of it");
	ok(clean, "and they pass the check");
}

/* A writer that stops after every block and another one that goes on there write the same bytes as one. */
static void resumed(void)
{
	struct house h;
	struct buffer whole = { 0 }, parts = { 0 };
	struct store_place place = { 0 };
	bool end = false;

	if (!house_open(&h, "memory")) {
		skipped("no memory engine");
		return;
	}
	seed = 5;
	for (unsigned n = 300; n; n--)
		random_command(&h);
	save(&h, false, &whole);
	while (!end) {
		struct store_save *w;

		if (store_save_open(&w, h.store, cairn_slice(NULL, 0), false, &place, &h.error) ||
		    store_save_next(w, &parts, &end, &h.error))
			bail("%s", h.error.message);
		store_save_place(w, &place);
		store_save_close(w);
	}
	ok(cairn_slice_eq(buffer_slice(&whole), buffer_slice(&parts)) && place.sequence > 4,
	   "a stream can be gone on with behind any of its %llu blocks", (unsigned long long)place.sequence);
	random_command(&h);
	place.sequence = 2;
	{
		struct store_save *w;

		ok(store_save_open(&w, h.store, cairn_slice(NULL, 0), false, &place, &h.error) ==
			   CAIRN_E_UNAVAILABLE,
		   "but not once the store has gone on");
	}
	house_close(&h);
	buffer_free(&whole);
	buffer_free(&parts);
}

/* Whether a store can be opened over the engine of H, which holds part of a stream or nothing. */
static bool opens_half(struct house *h)
{
	struct cairn_error why;
	struct store_facts f;
	bool half;

	if (store_open(&h->store, &h->engine, &h->settings, &why))
		return false;
	store_facts(h->store, &f);
	half = f.keys != 0 || f.position.index != 0;
	store_close(h->store);
	return half;
}

static void damaged(bool compress)
{
	struct house a, b;
	struct buffer bytes = { 0 };
	unsigned refused = 0, tried = 0, named = 0;
	bool none_opens = true;

	if (!house_open(&a, "memory")) {
		skipped("no memory engine");
		return;
	}
	seed = 11;
	for (unsigned n = 40; n; n--)
		random_command(&a);
	save(&a, compress, &bytes);
	for (size_t i = 0; i < 400; i++) {
		bool cut = i % 2;
		size_t at = i < 100 ? i : (size_t)rnd((unsigned)bytes.len);
		enum cairn_code code;

		if (!house_open(&b, "memory"))
			bail("no second store");
		bytes.data[at] ^= (unsigned char)(cut ? 0 : 1 << rnd(8));
		tried++;
		{
			unsigned char *copy = malloc(bytes.len);

			memcpy(copy, bytes.data, bytes.len);
			code = load(&b, cairn_slice(copy, cut ? at : bytes.len), bytes.len);
			free(copy);
		}
		refused += code != CAIRN_OK;
		named += code == CAIRN_E_INVALID || strstr(b.error.message, "byte") ||
			code == CAIRN_E_UNSUPPORTED;
		none_opens = none_opens && !opens_half(&b);
		if (store_open(&b.store, &b.engine, &b.settings, &b.error))
			b.store = NULL;
		house_close(&b);
		save(&a, compress, &bytes);
	}
	ok(refused == tried && named == tried,
	   "%u cuts and flipped bits of a %s stream are refused, with the offset (%u, %u)", tried,
	   compress ? "compressed" : "plain", refused, named);
	ok(none_opens, "and nothing of them can be opened as a store");
	house_close(&a);
	buffer_free(&bytes);
}

/* Written by version 1, and never changed: a store with one key. */
static const unsigned char sample[] = {
#include "stream-sample.inc"
};

static void frozen(void)
{
	struct house h;

	if (!house_open(&h, "memory")) {
		skipped("no memory engine");
		return;
	}
	is_int(load(&h, cairn_slice(sample, sizeof(sample)), 7), CAIRN_OK,
	       "a stream as version 1 wrote it is read");
	if (store_open(&h.store, &h.engine, &h.settings, &h.error))
		bail("%s", h.error.message);
	is_str(house_value(&h, "app/port"), "8080", "and the key is there");
	house_close(&h);
}

/* --- salvage --- */

struct listed {
	unsigned count;
	char keys[200][64];
};

static void note_lost(void *arg, const char *what, struct cairn_slice key, const char *why)
{
	struct listed *l = arg;

	(void)why;
	if (!strcmp(what, "key") && l->count < 200)
		snprintf(l->keys[l->count++], 64, "%.*s", (int)key.len, (const char *)key.data);
}

/* Change or remove a few of H's rows behind the store's back. */
static void damage_rows(struct house *h, unsigned n)
{
	struct cairn_slice key, value;
	unsigned char keys[8][64], garbage[40];
	size_t lens[8];
	unsigned all = 0, picked = 0;
	void *it;

	if (h->engine.ops.iter_open(h->engine.handle, NULL, cairn_slice("\1", 1), cairn_slice(NULL, 0), 0,
				    &it))
		bail("no iterator");
	for (key.data = NULL; h->engine.ops.iter_next(it, &key, &value) == 0 && key.data;
	     key.data = NULL, all++)
		if (key.len <= 64 && rnd(100) < 3 && picked < n) {
			memcpy(keys[picked], key.data, key.len);
			lens[picked++] = key.len;
		}
	h->engine.ops.iter_close(it);
	for (unsigned i = 0; i < picked; i++) {
		struct iovec iov = { garbage, rnd(sizeof(garbage)) };
		struct cairn_write w = { .kind = rnd(2) ? CAIRN_WRITE_PUT : CAIRN_WRITE_DELETE,
					 .key = cairn_slice(keys[i], lens[i]),
					 .iov = &iov,
					 .iov_count = 1 };
		struct cairn_batch batch = { .writes = &w, .count = 1 };

		for (size_t k = 0; k < sizeof(garbage); k++)
			garbage[k] = (unsigned char)rnd(256);
		if (h->engine.ops.write(h->engine.handle, &batch, true, &h->error))
			bail("%s", h->error.message);
	}
}

static bool value_of(struct house *h, const char *key, struct cairn_slice *value)
{
	cairn_msg_start(&h->command, CAIRN_OP_GET);
	cairn_msg_text(&h->command, CAIRN_F_KEY, key);
	return house_read(h, 0) == CAIRN_OK && cairn_field_find(house_fields(h), CAIRN_F_VALUE, value);
}

static void salvaged(const char *name)
{
	bool sound = true, same = true, told = true;

	for (unsigned i = 0; i < 25; i++) {
		struct house was, h, b;
		struct listed list = { 0 };
		struct store_salvaged result;
		char key[32];

		if (!house_open(&was, name) || !house_open(&h, name) || !house_open(&b, name)) {
			skipped("no engine %s", name);
			return;
		}
		seed = i + 100;
		for (unsigned n = 300; n; n--)
			random_command(&was);
		seed = i + 100;
		for (unsigned n = 300; n; n--)
			random_command(&h);
		damage_rows(&h, i % 8);
		store_close(b.store);
		if (store_salvage(&h.engine, &b.engine, &house_settings,
				  &(struct store_log){ .last = { 0, 0 } }, note_lost, &list, &result,
				  &b.error))
			bail("%u: %s", i, b.error.message);
		if (store_open(&b.store, &b.engine, &b.settings, &b.error))
			bail("%u: %s", i, b.error.message);
		if (store_check_rows(b.store, &b.error)) {
			printf("# %u: %s\n", i, b.error.message);
			sound = false;
		}
		for (unsigned k = 0; k < 60; k++) {
			struct cairn_slice x = { 0 }, y = { 0 };
			bool there, kept, listed = false;

			snprintf(key, sizeof(key), "%c/%u", 'a' + k % 3, k / 3);
			there = value_of(&was, key, &x);
			kept = value_of(&b, key, &y);
			for (unsigned n = 0; n < list.count; n++)
				listed = listed || !strcmp(list.keys[n], key);
			same = same && (!kept || (there && cairn_slice_eq(x, y)));
			/* A row that is gone without a trace is known by its folder only. */
			told = told && (kept == there || listed || result.lost);
		}
		b.index = h.index;
		b.time_ns = h.time_ns;
		for (unsigned n = 50; n; n--)
			random_command(&b);
		sound = sound && !store_check_rows(b.store, &b.error);
		house_close(&was);
		house_close(&h);
		house_close(&b);
	}
	ok(sound, "what is salvaged from a damaged store on %s is sound, and goes on", name);
	ok(same, "every key that is kept has its value");
	ok(told, "what is lost is told");
}

static void not_empty(void)
{
	struct house h;
	struct store_load *l;

	if (!house_open(&h, "memory")) {
		skipped("no memory engine");
		return;
	}
	house_put(&h, "a", "1");
	ok(store_load_open(&l, &h.engine, &h.error) == CAIRN_E_EXISTS,
	   "an engine that is not empty takes no stream");
	house_close(&h);
}

/* Print the sample, for stream-sample.inc: needed again only where the format of rows or of streams is a new
 * one. */
static int print_sample(void)
{
	struct house h;
	struct buffer bytes = { 0 };

	if (!house_open(&h, "memory"))
		return 1;
	house_put(&h, "app/port", "8080");
	save(&h, false, &bytes);
	for (size_t i = 0; i < bytes.len; i++)
		printf("%s0x%02x,", i % 16 ? " " : i ? "\n" : "", bytes.data[i]);
	putchar('\n');
	house_close(&h);
	buffer_free(&bytes);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "sample"))
		return print_sample();
	round_trip("memory", "memory", 30);
	round_trip("memory", "leveldb", 6);
	round_trip("leveldb", "memory", 6);
	round_trip("leveldb", "leveldb", 3);
	reclaimed();
	resumed();
	damaged(false);
	if (stream_can_compress())
		damaged(true);
	frozen();
	not_empty();
	salvaged("memory");
	salvaged("leveldb");
	salvaged("lmdb");
	return tap_done();
}
