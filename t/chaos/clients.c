/*
 * Each client does one thing after the other: reads, writes, swaps and deletes on registers, appends to logs
 * and reads of them, increments of counters. A register is used for some sixty requests, then another one, as
 * the check's effort grows fast with the requests whose fate is not known. Half of the clients know one node
 * alone.
 */
#include "clients.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "banned.h"

#define LIVE 6         /* registers at a time */
#define USES 60        /* requests, about, to each register */
#define LOG_USES 20000 /* requests until the next log */

enum fate { OK, REFUSED, UNKNOWN };

uint64_t load_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

struct cairn *load_handle(struct load *l, unsigned node, bool alone, uint64_t timeout_ms)
{
	char list[NODES_MAX * 130] = "";
	struct cairn_options o = {
		.servers = list, .timeout_ms = timeout_ms, .persistent = !alone, .face = "chaos", .fence = ""
	};
	struct cairn *c;
	size_t n = 0;

	for (unsigned i = 0; i < (alone ? 1 : l->nodes); i++)
		n += (size_t)snprintf(list + n, sizeof(list) - n, "%s%s", i ? "," : "",
				      l->servers[(node + i) % l->nodes]);
	if (cairn_open(&c, &o, NULL))
		exit(99);
	return c;
}

static unsigned which_node(struct load *l, struct cairn *c)
{
	const char *server = cairn_server(c);

	for (unsigned i = 0; server && i < l->nodes; i++)
		if (!strcmp(server, l->servers[i]))
			return i;
	return 0;
}

static void told_ok(struct load *l, uint64_t now)
{
	uint64_t last = atomic_exchange(&l->last_ok, now), longest = atomic_load(&l->longest);

	while (now > last && last && now - last > longest &&
	       !atomic_compare_exchange_weak(&l->longest, &longest, now - last))
		;
}

/* What became of a request that was answered with CODE; ALSO is an answer that is as good as success. */
static enum fate judge(struct load *l, enum cairn_code code, enum cairn_code also,
		       const struct cairn_error *e)
{
	if (code == CAIRN_OK || code == also) {
		atomic_fetch_add(&l->ok, 1);
		told_ok(l, load_now());
		return OK;
	}
	if (code == CAIRN_E_UNKNOWN) {
		atomic_fetch_add(&l->unknown, 1);
		return UNKNOWN;
	}
	atomic_fetch_add(&l->refused, 1);
	if (code != CAIRN_E_UNAVAILABLE && code != CAIRN_E_TIMEOUT) {
		pthread_mutex_lock(&l->lock);
		if (!l->strange.code)
			l->strange = *e;
		pthread_mutex_unlock(&l->lock);
	}
	return REFUSED;
}

/* A write of VALUE was refused: so it did not happen. */
static void note_refusal(struct load *l, const struct record *r, const struct cairn_error *e)
{
	pthread_mutex_lock(&l->lock);
	if (l->refusal_count < REFUSALS) {
		size_t i = l->refusal_count++;

		l->refusals[i].at = r->answer;
		l->refusals[i].value = r->value;
		l->refusals[i].client = r->client;
		l->refusals[i].node = r->node;
		snprintf(l->refusals[i].message, sizeof(l->refusals[i].message), "%s: %.170s",
			 cairn_error_row(e->code)->name, e->message);
	}
	pthread_mutex_unlock(&l->lock);
}

static void show_refusals(struct load *l)
{
	for (size_t i = 0; i < l->refusal_count; i++)
		printf("# client %u, n%u was refused %" PRIu64 " (%" PRIx64 "): %s\n", l->refusals[i].client,
		       l->refusals[i].node + 1, l->refusals[i].value, l->refusals[i].value,
		       l->refusals[i].message);
}

static unsigned register_at(unsigned long asked, unsigned pick)
{
	return (unsigned)(asked / (LIVE * USES)) * LIVE + pick % LIVE;
}

unsigned load_registers(const struct load *l)
{
	return register_at(atomic_load(&l->asked), LIVE - 1) + 1;
}

unsigned load_logs(const struct load *l)
{
	return (unsigned)(atomic_load(&l->asked) / LOG_USES) + 1;
}

static uint64_t number(struct cairn_slice v)
{
	char text[24] = "";

	if (v.len && v.len < sizeof(text))
		memcpy(text, v.data, v.len);
	return strtoull(text, NULL, 10);
}

/* Read register K, and write it down; *REVISION and *VALUE are what was there. */
static bool read_register(struct client *w, struct cairn *c, struct record k, uint64_t *value,
			  uint64_t *revision, struct cairn_reply *r)
{
	struct cairn_slice v = { 0 };
	char key[32];
	enum cairn_code code;

	snprintf(key, sizeof(key), "register/%u", k.key);
	k.kind = RECORD_READ;
	k.call = load_now();
	*revision = 0;
	code = cairn_get(c, NULL, cairn_str(key), &v, revision, r);
	k.answer = load_now();
	if (judge(w->load, code, CAIRN_E_NOT_FOUND, &r->error) != OK)
		return false;
	*value = k.value = code ? 0 : number(v);
	k.node = which_node(w->load, c);
	if (code)
		*revision = 0;
	history_add(&w->load->history, &k);
	return true;
}

/* A put of VALUE; where the register was read before it, only where it still has that REVISION. */
static void write_register(struct client *w, struct cairn *c, struct record k, const uint64_t *revision,
			   struct cairn_reply *r)
{
	struct cairn_msg m = { 0 };
	char key[32], text[24];
	enum fate fate;
	enum cairn_code code;

	snprintf(key, sizeof(key), "register/%u", k.key);
	snprintf(text, sizeof(text), "%" PRIu64, k.value);
	cairn_msg_start(&m, k.value ? CAIRN_OP_PUT : CAIRN_OP_DELETE);
	cairn_msg_text(&m, CAIRN_F_KEY, key);
	if (k.value)
		cairn_msg_text(&m, CAIRN_F_VALUE, text);
	if (revision) {
		size_t guard = cairn_msg_open(&m, CAIRN_F_GUARD);

		cairn_msg_text(&m, CAIRN_F_KEY, key);
		cairn_msg_u64(&m, CAIRN_F_REVISION, *revision);
		cairn_msg_close(&m, guard);
	}
	k.kind = revision ? RECORD_SWAP : RECORD_WRITE;
	k.call = load_now();
	code = cairn_call(c, &m, r);
	k.answer = load_now();
	cairn_msg_free(&m);
	fate = judge(w->load, code, revision ? CAIRN_E_CONFLICT : CAIRN_E_NOT_FOUND, &r->error);
	k.done = code == CAIRN_OK;
	k.node = which_node(w->load, c);
	if (code == CAIRN_E_NOT_FOUND)
		k.kind = RECORD_READ; /* nothing was there to delete */
	if (fate == UNKNOWN)
		k.answer = NEVER;
	if (fate == REFUSED)
		note_refusal(w->load, &k, &r->error);
	else
		history_add(&w->load->history, &k);
}

static void use_register(struct client *w, struct cairn *c, unsigned long asked, struct cairn_reply *r)
{
	struct record k = { .key = register_at(asked, (unsigned)rand_r(&w->seed)), .client = w->id };
	unsigned kind = (unsigned)rand_r(&w->seed) % 10;
	uint64_t value, revision;

	if (kind < 4) {
		read_register(w, c, k, &value, &revision, r);
	} else if (kind < 8) {
		k.value = kind < 7 ? asked + 1 : 0;
		write_register(w, c, k, NULL, r);
	} else if (read_register(w, c, k, &value, &revision, r)) {
		k.expected = value;
		k.value = asked + 1;
		write_register(w, c, k, &revision, r);
	}
}

static void use_log(struct client *w, struct cairn *c, unsigned long asked, struct cairn_reply *r)
{
	struct record k = { .key = (unsigned)(asked / LOG_USES), .client = w->id, .kind = RECORD_APPEND };
	struct cairn_msg m = { 0 };
	struct cairn_slice v = { 0 };
	char key[32], text[TOKEN + 1];
	enum cairn_code code;
	enum fate fate;

	snprintf(key, sizeof(key), "log/%u", k.key);
	if (rand_r(&w->seed) % 4 == 0)
		k.kind = RECORD_SCAN;
	k.call = load_now();
	if (k.kind == RECORD_SCAN) {
		code = cairn_get(c, NULL, cairn_str(key), &v, NULL, r);
		if (code)
			v = cairn_slice("", 0);
		k.value = history_digest(v.data, v.len / TOKEN * TOKEN);
		k.expected = v.len / TOKEN;
	} else {
		k.value = asked + 1;
		snprintf(text, sizeof(text), "%0*" PRIx64 " ", TOKEN - 1, k.value);
		cairn_msg_start(&m, CAIRN_OP_APPEND);
		cairn_msg_text(&m, CAIRN_F_KEY, key);
		cairn_msg_text(&m, CAIRN_F_VALUE, text);
		code = cairn_call(c, &m, r);
		cairn_msg_free(&m);
	}
	k.answer = load_now();
	k.node = which_node(w->load, c);
	fate = judge(w->load, code, k.kind == RECORD_SCAN ? CAIRN_E_NOT_FOUND : CAIRN_OK, &r->error);
	if (fate == UNKNOWN)
		k.answer = NEVER;
	if (fate == REFUSED && k.kind == RECORD_APPEND)
		note_refusal(w->load, &k, &r->error);
	if (fate == OK || (fate == UNKNOWN && k.kind == RECORD_APPEND))
		history_add(&w->load->history, &k);
}

static void use_counter(struct client *w, struct cairn *c, struct cairn_reply *r)
{
	struct cairn_msg m = { 0 };
	char key[32];
	enum fate fate;
	enum cairn_code code;

	snprintf(key, sizeof(key), "counter/%d", rand_r(&w->seed) % COUNTERS);
	cairn_msg_start(&m, CAIRN_OP_INCREMENT);
	cairn_msg_text(&m, CAIRN_F_KEY, key);
	code = cairn_call(c, &m, r);
	cairn_msg_free(&m);
	fate = judge(w->load, code, CAIRN_OK, &r->error);
	atomic_fetch_add(&w->load->counted, fate == OK);
	atomic_fetch_add(&w->load->perhaps, fate == UNKNOWN);
}

void *client_work(void *arg)
{
	struct client *w = arg;
	struct load *l = w->load;
	struct cairn *c = load_handle(l, w->id % l->nodes, w->id / l->nodes % 2, 3000);
	struct cairn_reply r = { 0 };

	while (!atomic_load(&l->stop)) {
		unsigned long asked = atomic_fetch_add(&l->asked, 1), refused = atomic_load(&l->refused);
		unsigned kind = (unsigned)rand_r(&w->seed) % 8;

		if (kind < 5)
			use_register(w, c, asked, &r);
		else if (kind < 7)
			use_log(w, c, asked, &r);
		else
			use_counter(w, c, &r);
		if (atomic_load(&l->refused) != refused)
			usleep(5000); /* who is refused does not ask again in a rush */
	}
	cairn_reply_free(&r);
	cairn_close(c);
	return NULL;
}

static unsigned check_logs(struct load *l, struct cairn *c, struct cairn_reply *r)
{
	unsigned wrong = 0;

	for (unsigned i = 0; i < load_logs(l); i++) {
		struct cairn_slice v = { 0 };
		enum cairn_code code;
		char key[32];

		snprintf(key, sizeof(key), "log/%u", i);
		code = cairn_get(c, NULL, cairn_str(key), &v, NULL, r);
		if (code && code != CAIRN_E_NOT_FOUND) {
			printf("# %s cannot be read: %s\n", key, r->error.message);
			wrong++;
		} else if (!history_check_log(&l->history, i, code ? "" : v.data, code ? 0 : v.len)) {
			wrong++;
		}
	}
	return wrong;
}

static unsigned check_counters(struct load *l, struct cairn *c, struct cairn_reply *r)
{
	unsigned long counted = atomic_load(&l->counted), most = counted + atomic_load(&l->perhaps), sum = 0;

	for (int i = 0; i < COUNTERS; i++) {
		struct cairn_slice v = { 0 };
		char key[32];

		snprintf(key, sizeof(key), "counter/%d", i);
		if (!cairn_get(c, NULL, cairn_str(key), &v, NULL, r))
			sum += number(v);
	}
	if (sum >= counted && sum <= most)
		return 0;
	printf("# the counters add up to %lu; %lu increments happened, %lu perhaps\n", sum, counted,
	       most - counted);
	return 1;
}

unsigned load_check(struct load *l)
{
	struct cairn_reply r = { 0 };
	struct cairn *nodes[NODES_MAX];
	unsigned wrong = 0;
	size_t keys, hard;

	for (unsigned i = 0; i < l->nodes; i++)
		nodes[i] = load_handle(l, i, true, 20000);
	for (unsigned i = 0; i < load_registers(l); i++) {
		struct client last = { .load = l, .id = 999 };
		uint64_t value, revision;

		if (read_register(&last, nodes[i % l->nodes], (struct record){ .key = i, .client = 999 },
				  &value, &revision, &r))
			continue;
		printf("# register/%u cannot be read in the end: %s\n", i, r.error.message);
		wrong++;
		break;
	}
	wrong += !history_check_registers(&l->history, &keys, &hard);
	printf("# %zu registers, %u logs; on %zu the check gave up\n", keys, load_logs(l), hard);
	for (unsigned i = 0; i < l->nodes; i++)
		wrong += check_logs(l, nodes[i], &r) + check_counters(l, nodes[i], &r);
	for (unsigned i = 0; i < l->nodes; i++)
		cairn_close(nodes[i]);
	cairn_reply_free(&r);
	if (wrong)
		show_refusals(l);
	return wrong;
}
