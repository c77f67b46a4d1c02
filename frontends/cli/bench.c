/*
 * bench: how fast a running node is, as its clients see it. Keys of its own are written first, then the
 * measured requests run, then the keys and their history are removed; a signal ends the measuring early and
 * skips nothing of that. The clients are threads of this process (load.c); where one of them was busy most of
 * the time it is said, since then the figures are about this program and not about the node.
 */
#include <signal.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>
#include "amount.h"
#include "clock.h"
#include "load.h"
#include "banned.h"

#define CLIENTS_MAX 1024
#define FLIGHT_MAX 4096
#define FLIGHT_BYTES (32u << 20) /* of values that a client has under way */
#define KEYS_MAX 100000000u
#define TURN_MS 200 /* between looks at the clock and the signals */
#define BUSY 80     /* per cent of a processor: beyond that a client may be what is slow */

struct bench {
	struct cli *c;
	struct load load;
	struct load_client *clients;
	uint64_t count; /* of them */
	uint64_t requests, duration_ms;
	uint64_t took_ns;
	struct latencies all[LOAD_KINDS + 1]; /* by kind, and both */
	sigset_t signals;
	int signal; /* that ended it, or 0 */
};

/* A number of the option NAME from LEAST to MOST; OTHERWISE where it is not given. */
static uint64_t limited(struct cli *c, const struct arguments *a, const char *name, uint64_t least,
			uint64_t most, uint64_t otherwise)
{
	uint64_t n = otherwise;

	argument_number(a, name, &n);
	if (n < least || n > most)
		cairn_fail(&c->error, CAIRN_E_INVALID, "--%s is a number from %llu to %llu", name,
			   (unsigned long long)least, (unsigned long long)most);
	return n;
}

static enum cairn_code take_options(struct bench *b, const struct arguments *a)
{
	const char *size = argument(a, "size"), *duration = argument(a, "duration");
	struct load *l = &b->load;

	l->size = 256;
	b->duration_ms = 10000;
	if (size && (!amount_bytes(cairn_str(size), &l->size) || l->size > COMMAND_ROOM))
		return cairn_fail(&b->c->error, CAIRN_E_INVALID, "--size is a number of bytes up to 240K");
	if (duration)
		text_duration(duration, &b->duration_ms);
	b->requests = limited(b->c, a, "count", 1, UINT64_MAX, UINT64_MAX);
	b->count = limited(b->c, a, "clients", 1, CLIENTS_MAX, 1);
	l->in_flight = limited(b->c, a, "in-flight", 1, FLIGHT_MAX, 1);
	l->keys = limited(b->c, a, "keys", 1, KEYS_MAX, 10000);
	l->gets = (unsigned)limited(b->c, a, "gets", 0, 100, 50);
	if (!b->c->error.code && argument(a, "count") && duration)
		cairn_fail(&b->c->error, CAIRN_E_INVALID, "--count and --duration are one too many");
	if (!b->c->error.code && l->in_flight * l->size > FLIGHT_BYTES)
		cairn_fail(&b->c->error, CAIRN_E_INVALID, "--in-flight times --size is at most 32M");
	return b->c->error.code;
}

/* Every client has a connection of its own. */
static enum cairn_code make_clients(struct bench *b)
{
	struct cairn_options options = { .servers = b->c->servers,
					 .face = "command",
					 .timeout_ms = b->c->timeout_ms };
	enum cairn_code code = CAIRN_OK;

	b->clients = calloc(b->count, sizeof(*b->clients));
	if (!b->clients)
		no_memory();
	for (uint64_t i = 0; i < b->count && code == CAIRN_OK; i++) {
		b->clients[i].load = &b->load;
		code = cairn_open(&b->clients[i].cairn, &options, &b->c->error);
		if (code == CAIRN_OK && getrandom(&b->clients[i].random, 8, 0) != 8)
			code = cairn_fail(&b->c->error, CAIRN_E_INTERNAL, "no random bytes");
		b->clients[i].random |= 1;
	}
	return code;
}

static void show_progress(const struct bench *b, uint64_t ns)
{
	const struct load *l = &b->load;
	unsigned long long begun = atomic_load(&l->begun);

	if (!b->c->err_terminal || ns < 1000000000)
		return;
	if (l->in_order)
		fprintf(stderr, "\r%llu of %llu keys written   ", begun, (unsigned long long)l->keys);
	else if (b->requests == UINT64_MAX)
		fprintf(stderr, "\r%llu requests, %.0f of %.0f s   ", begun, (double)ns / 1e9,
			(double)b->duration_ms / 1e3);
	else
		fprintf(stderr, "\r%llu of %llu requests   ", begun, (unsigned long long)b->requests);
}

/* One run of all clients, of at most REQUESTS requests and MS (0: no limit). */
static enum cairn_code run_clients(struct bench *b, uint64_t requests, uint64_t ms)
{
	struct load *l = &b->load;
	struct timespec turn = { .tv_nsec = TURN_MS * 1000000 };
	uint64_t start = clock_boot_ns(), made = 0;
	int got;

	l->end_ns = ms ? start + ms * 1000000 : UINT64_MAX;
	atomic_store(&l->left, requests);
	atomic_store(&l->begun, 0);
	atomic_store(&l->running, (unsigned)b->count);
	for (; made < b->count; made++)
		if (pthread_create(&b->clients[made].thread, NULL, load_run, &b->clients[made])) {
			cairn_fail(&l->error, CAIRN_E_INTERNAL, "no thread for client %llu",
				   (unsigned long long)made);
			atomic_store(&l->stop, true);
			atomic_fetch_sub(&l->running, (unsigned)(b->count - made));
			break;
		}
	while (atomic_load(&l->running)) {
		got = sigtimedwait(&b->signals, NULL, &turn);
		if (got > 0) {
			b->signal = got;
			atomic_store(&l->stop, true);
		}
		show_progress(b, clock_boot_ns() - start);
	}
	b->took_ns = 1;
	for (uint64_t i = 0; i < made; i++) {
		pthread_join(b->clients[i].thread, NULL);
		if (b->clients[i].ended_ns - start > b->took_ns)
			b->took_ns = b->clients[i].ended_ns - start;
	}
	if (b->c->err_terminal)
		fprintf(stderr, "\r%*s\r", 48, "");
	if (l->error.code)
		b->c->error = l->error;
	return l->error.code;
}

/* Write every key, then measure. */
static enum cairn_code measure(struct bench *b)
{
	struct load *l = &b->load;
	uint64_t in_flight = l->in_flight;
	enum cairn_code code;

	l->in_order = true;
	l->in_flight = l->size * 64 * b->count > FLIGHT_BYTES ? 1 : 64;
	code = run_clients(b, l->keys, 0);
	l->in_order = false;
	l->in_flight = in_flight;
	for (uint64_t i = 0; i < b->count; i++)
		memset(b->clients[i].latencies, 0, sizeof(b->clients[i].latencies));
	if (code == CAIRN_OK && !b->signal)
		code = run_clients(b, b->requests, b->requests == UINT64_MAX ? b->duration_ms : 0);
	for (uint64_t i = 0; i < b->count; i++)
		for (int kind = 0; kind < LOAD_KINDS; kind++) {
			latencies_add(&b->all[kind], &b->clients[i].latencies[kind]);
			latencies_add(&b->all[LOAD_KINDS], &b->clients[i].latencies[kind]);
		}
	return code;
}

/* NS in a form for people, or in microseconds. */
static void cell(struct table *t, uint64_t ns)
{
	if (t->plain)
		table_cell(t, "%.1f", (double)ns / 1e3);
	else if (ns < 1000000)
		table_cell(t, "%.0f us", (double)ns / 1e3);
	else
		table_cell(t, "%.*f ms", ns < 100000000, (double)ns / 1e6);
}

static const double shares[] = { 0.5, 0.9, 0.99, 0.999 };
static const char *const share_names[] = { "p50", "p90", "p99", "p999" };
static const char *const names[] = { "put", "get", "all" };

/* What was measured, and against what. */
static void show_head(const struct bench *b)
{
	const struct load *l = &b->load;
	struct cairn_reply r = { 0 };
	struct cairn_msg m = { 0 };
	char engine[256];

	request(b->c, &m, CAIRN_OP_VOLUME_STATS);
	cairn_call(b->clients[0].cairn, &m, &r);
	out_line("volume %s (%s) at %s: %llu client%s with %llu request%s under way, values of %llu bytes, "
		 "%llu keys, %.1f s",
		 b->c->volume ? b->c->volume : "main",
		 field_text(r.fields, CAIRN_F_ENGINE, engine, sizeof(engine)),
		 cairn_server(b->clients[0].cairn), (unsigned long long)b->count, b->count == 1 ? "" : "s",
		 (unsigned long long)l->in_flight, l->in_flight == 1 ? "" : "s", (unsigned long long)l->size,
		 (unsigned long long)l->keys, (double)b->took_ns / 1e9);
	cairn_msg_free(&m);
	cairn_reply_free(&r);
}

static void show_table(const struct bench *b)
{
	static const struct column columns[] = { { "OPERATION", false }, { "REQUESTS", true },
						 { "PER SECOND", true }, { "MEAN", true },
						 { "P50", true },        { "P90", true },
						 { "P99", true },        { "P99.9", true },
						 { "MAX", true } };
	struct table t;

	table_begin(&t, b->c, columns, sizeof(columns) / sizeof(*columns), FORMAT_TABLE);
	if (!t.plain)
		show_head(b);
	for (int i = 0; i <= LOAD_KINDS; i++) {
		const struct latencies *l = &b->all[i];

		if (!l->count || (i == LOAD_KINDS && (!b->all[LOAD_PUT].count || !b->all[LOAD_GET].count)))
			continue; /* nothing, or the same again */
		table_cell(&t, "%s", names[i]);
		table_cell(&t, "%llu", (unsigned long long)l->count);
		table_cell(&t, "%.0f", (double)l->count * 1e9 / (double)b->took_ns);
		cell(&t, l->sum_ns / l->count);
		for (size_t s = 0; s < 4; s++)
			cell(&t, latencies_share(l, shares[s]));
		cell(&t, l->most_ns);
	}
	table_end(&t);
}

/* The most that a client was busy, in per cent of the time. */
static unsigned busy(const struct bench *b)
{
	uint64_t most = 0;

	for (uint64_t i = 0; i < b->count; i++)
		most = b->clients[i].cpu_ns > most ? b->clients[i].cpu_ns : most;
	return (unsigned)(most * 100 / b->took_ns);
}

static void show_json(const struct bench *b)
{
	for (int i = 0; i <= LOAD_KINDS; i++) {
		const struct latencies *l = &b->all[i];

		printf("{\"operation\":\"%s\",\"requests\":%llu,\"per_second\":%.1f,\"mean_us\":%.1f",
		       names[i], (unsigned long long)l->count, (double)l->count * 1e9 / (double)b->took_ns,
		       l->count ? (double)l->sum_ns / (double)l->count / 1e3 : 0);
		for (size_t s = 0; s < 4; s++)
			printf(",\"%s_us\":%.1f", share_names[s],
			       (double)latencies_share(l, shares[s]) / 1e3);
		printf(",\"max_us\":%.1f", (double)l->most_ns / 1e3);
		if (i == LOAD_KINDS)
			printf(",\"seconds\":%.6f,\"clients\":%llu,\"in_flight\":%llu,\"size\":%llu,\"keys\":"
			       "%llu,"
			       "\"client_busy_percent\":%u",
			       (double)b->took_ns / 1e9, (unsigned long long)b->count,
			       (unsigned long long)b->load.in_flight, (unsigned long long)b->load.size,
			       (unsigned long long)b->load.keys, busy(b));
		printf("}\n");
	}
}

static void show(const struct bench *b)
{
	if (!b->all[LOAD_KINDS].count)
		return;
	if (b->c->format == FORMAT_JSON)
		show_json(b);
	else
		show_table(b);
	if (busy(b) > BUSY)
		fprintf(stderr,
			"cairn: a client was busy %u %% of the time: the node may be faster than this\n",
			busy(b));
}

/* Remove the keys; what went wrong before stays the error. */
static enum cairn_code take_away(struct bench *b, enum cairn_code code)
{
	struct cairn_error before = b->c->error;
	enum cairn_code removed = folder_purge(b->c, cairn_str(b->load.prefix));

	if (removed == CAIRN_E_NOT_FOUND)
		removed = CAIRN_OK;
	if (removed != CAIRN_OK && code == CAIRN_OK) {
		cairn_error_prefix(&b->c->error, "the keys of this bench below %s were not removed",
				   b->load.prefix);
		return removed;
	}
	if (removed != CAIRN_OK)
		cairn_hint(&before, "the keys of this bench are left: cairn del -r --purge %s",
			   b->load.prefix);
	b->c->error = before;
	return code;
}

VERB(bench)
{
	struct bench b = { .c = c, .load = { .cli = c, .lock = PTHREAD_MUTEX_INITIALIZER } };
	enum cairn_code code = take_options(&b, a);
	uint64_t number;
	sigset_t before;

	if (code != CAIRN_OK)
		return code;
	if (getrandom(&number, sizeof(number), 0) != sizeof(number))
		return cairn_fail(&c->error, CAIRN_E_INTERNAL, "no random bytes");
	snprintf(b.load.prefix, sizeof(b.load.prefix), "bench-%016llx/", (unsigned long long)number);
	sigemptyset(&b.signals);
	sigaddset(&b.signals, SIGINT);
	sigaddset(&b.signals, SIGTERM);
	sigaddset(&b.signals, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &b.signals, &before);
	code = make_clients(&b);
	if (code == CAIRN_OK) {
		code = measure(&b);
		show(&b);
		code = take_away(&b, code);
	}
	for (uint64_t i = 0; i < b.count; i++)
		cairn_close(b.clients[i].cairn);
	free(b.clients);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (b.signal)
		c->status = 128 + b.signal;
	return code;
}
