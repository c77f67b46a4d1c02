/*
 * A load generator for one control socket: one connection, a window of requests in flight, puts and gets of
 * keys bench/00000000 to bench/N. Requests are made from templates and sent once per turn, latencies are kept
 * in buckets of 1/64 of a power of two, so that it costs little beside the daemon. Prints one line of JSON.
 * Ends with status 1 where an answer is an error, naming it.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <cairn/message.h>
#include <cairn/operations.h>
#include "le.h"

#define FLIGHT_MAX 4096
#define FIRST_ID 1000000 /* ids have seven digits, so that they can be written in place */
#define KEY_DIGITS 8
#define BUCKETS (64 * 64)
#define INPUT (1 << 20)

struct load {
	const char *socket, *op, *encoding, *volume;
	unsigned flight, keys, value_len;
	double seconds;
	pid_t pid;      /* of the daemon, 0: its CPU is not measured */
	uint64_t limit; /* requests, 0: as many as the time allows */
	bool in_order;  /* keys one after another, for the first filling */
	/* The run. */
	int fd;
	bool binary;
	unsigned char *request; /* owned: template */
	size_t request_len, id_at, key_at;
	uint64_t started[FLIGHT_MAX]; /* ns, by slot */
	unsigned char *out;           /* owned */
	size_t out_len, out_sent;
	unsigned char *in; /* owned, INPUT bytes */
	size_t in_len;
	size_t payload; /* bytes behind a JSON line that are still to be skipped */
	uint64_t sent, done, random;
	uint64_t bucket[BUCKETS];
};

static void die(const char *what, const char *why)
{
	fprintf(stderr, "load: %s: %s\n", what, why);
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- Latencies ---- */

static unsigned bucket_of(uint64_t ns)
{
	unsigned top = ns < 64 ? 0 : 63 - (unsigned)__builtin_clzll(ns) - 5;

	return top ? 64 * top + (unsigned)(ns >> (top - 1) & 63) : (unsigned)ns;
}

static double bucket_us(unsigned b)
{
	unsigned top = b / 64;

	return (top ? (double)(((uint64_t)b % 64 + 64) << (top - 1)) : b) / 1000.0;
}

static double percentile(const struct load *l, double share)
{
	uint64_t want = (uint64_t)((double)l->done * share), seen = 0;

	for (unsigned b = 0; b < BUCKETS; b++) {
		seen += l->bucket[b];
		if (seen > want)
			return bucket_us(b);
	}
	return 0;
}

/* ---- Requests ---- */

static void digits(unsigned char *at, uint64_t v, int n)
{
	while (n--) {
		at[n] = (unsigned char)('0' + v % 10);
		v /= 10;
	}
}

static size_t find(const unsigned char *data, size_t len, const char *text)
{
	unsigned char *at = memmem(data, len, text, strlen(text));

	return at ? (size_t)(at - data) : 0;
}

static void make_value(char *value, unsigned len)
{
	for (unsigned i = 0; i < len; i++)
		value[i] = (char)('a' + (i * 7 + i / 26) % 26);
	value[len] = '\0';
}

static void make_binary(struct load *l, unsigned op, const char *value)
{
	struct cairn_msg m = { 0 };

	cairn_msg_start(&m, op);
	cairn_msg_text(&m, CAIRN_F_VOLUME, l->volume);
	cairn_msg_text(&m, CAIRN_F_KEY, "bench/00000000");
	if (op == CAIRN_OP_PUT)
		cairn_msg_text(&m, CAIRN_F_VALUE, value);
	if (cairn_msg_error(&m))
		die("request", "it does not fit");
	l->request_len = 12 + m.len;
	l->request = malloc(l->request_len);
	le32_put(l->request, (uint32_t)(8 + m.len));
	l->id_at = 4;
	memcpy(l->request + 12, m.data, m.len);
	cairn_msg_free(&m);
}

static void make_json(struct load *l, unsigned op, const char *value)
{
	size_t room = l->value_len + 300;

	l->request = malloc(room);
	l->request_len = (size_t)snprintf(
		(char *)l->request, room,
		op == CAIRN_OP_PUT ? "{\"id\":0000000,\"op\":\"put\",\"volume\":\"%s\",\"args\":{\"key\":"
				     "\"bench/00000000\",\"value\":\"%s\"}}\n"
				   : "{\"id\":0000000,\"op\":\"get\",\"volume\":\"%s\",\"args\":{\"key\":"
				     "\"bench/00000000\"}}\n",
		l->volume, value);
	l->id_at = 6;
}

static void make_request(struct load *l)
{
	unsigned op = strcmp(l->op, "get") == 0 ? CAIRN_OP_GET : CAIRN_OP_PUT;
	char *value = malloc(l->value_len + 1);

	make_value(value, l->value_len);
	if (l->binary)
		make_binary(l, op, value);
	else
		make_json(l, op, value);
	l->key_at = find(l->request, l->request_len, "bench/00000000") + 6;
	free(value);
	l->out = malloc((size_t)l->flight * l->request_len);
}

static void add_request(struct load *l, unsigned slot)
{
	unsigned char *at = l->out + l->out_len;
	uint64_t key = l->sent;

	if (!l->in_order) {
		l->random = l->random * 6364136223846793005u + 1442695040888963407u;
		key = l->random >> 33;
	}
	memcpy(at, l->request, l->request_len);
	if (l->binary)
		le64_put(at + l->id_at, FIRST_ID + slot);
	else
		digits(at + l->id_at, FIRST_ID + slot, 7);
	digits(at + l->key_at, key % l->keys, KEY_DIGITS);
	l->out_len += l->request_len;
	l->sent++;
}

/* ---- Answers ---- */

/* One answer starts at AT with LEFT bytes. Returns its length, 0 where it is not all here; sets its id and
 * whether it is good. */
static size_t take_binary(const unsigned char *at, size_t left, uint64_t *id, bool *good)
{
	size_t len;

	if (left < 16 || left < (len = 4 + (size_t)le32_get(at)))
		return 0;
	*id = le64_get(at + 4);
	*good = at[12] == 0;
	return len;
}

static size_t take_json(struct load *l, const unsigned char *at, size_t left, uint64_t *id, bool *good)
{
	const unsigned char *end = memchr(at, '\n', left), *payload;

	if (!end)
		return 0;
	*id = left > 13 && memcmp(at, "{\"id\":", 6) == 0 ? strtoull((const char *)at + 6, NULL, 10) : 0;
	*good = left > 20 && memcmp(at + 14, "\"ok\"", 4) == 0;
	payload = memmem(at, (size_t)(end - at), "\"payload\":", 10);
	if (payload && payload < at + 40) /* right behind the id */
		l->payload = strtoull((const char *)payload + 10, NULL, 10);
	if (l->payload)
		*good = true;
	return (size_t)(end - at) + 1;
}

static void take_answers(struct load *l, uint64_t now, bool refill)
{
	size_t at = 0, n;
	uint64_t id = 0;
	bool good = false;

	for (;; at += n) {
		if (l->payload) {
			n = l->payload < l->in_len - at ? l->payload : l->in_len - at;
			l->payload -= n;
			at += n;
			if (l->payload)
				break;
		}
		n = l->binary ? take_binary(l->in + at, l->in_len - at, &id, &good)
			      : take_json(l, l->in + at, l->in_len - at, &id, &good);
		if (!n)
			break;
		if (id < FIRST_ID || id >= FIRST_ID + l->flight || !good) {
			fprintf(stderr, "load: an answer is an error: %.*s\n", (int)(n < 400 ? n : 400),
				(const char *)l->in + at);
			exit(1);
		}
		l->bucket[bucket_of(now - l->started[id - FIRST_ID])]++;
		l->done++;
		if (refill && (!l->limit || l->sent < l->limit)) {
			add_request(l, (unsigned)(id - FIRST_ID));
			l->started[id - FIRST_ID] = now;
		}
	}
	memmove(l->in, l->in + at, l->in_len - at);
	l->in_len -= at;
}

/* ---- The connection ---- */

static void connect_to(struct load *l)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char c = 0;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", l->socket);
	l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (l->fd < 0 || connect(l->fd, (struct sockaddr *)&address, sizeof(address)))
		die(l->socket, strerror(errno));
	while (c != '\n') /* the greeting */
		if (read(l->fd, &c, 1) != 1)
			die(l->socket, "no greeting");
	if (l->binary && write(l->fd, "\312RN1", 4) != 4)
		die(l->socket, strerror(errno));
}

static void send_out(struct load *l)
{
	while (l->out_sent < l->out_len) {
		ssize_t n = send(l->fd, l->out + l->out_sent, l->out_len - l->out_sent,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0)
			die("send", strerror(errno));
		l->out_sent += (size_t)n;
	}
	l->out_len = l->out_sent = 0;
}

static void receive(struct load *l)
{
	ssize_t n;

	if (l->out_len) { /* the daemon is slow to read: wait for either side */
		struct pollfd p = { l->fd, POLLIN | POLLOUT, 0 };

		poll(&p, 1, -1);
		if (!(p.revents & POLLIN))
			return;
	}
	n = recv(l->fd, l->in + l->in_len, INPUT - l->in_len, 0);
	if (n <= 0)
		die("receive", n ? strerror(errno) : "the daemon closed the connection");
	l->in_len += (size_t)n;
}

static void run(struct load *l, uint64_t end_ns)
{
	uint64_t now = now_ns();

	for (unsigned slot = 0; slot < l->flight && (!l->limit || l->sent < l->limit); slot++) {
		add_request(l, slot);
		l->started[slot] = now;
	}
	while (l->done < l->sent) {
		send_out(l);
		receive(l);
		now = now_ns();
		take_answers(l, now, now < end_ns && l->out_len == 0);
	}
}

/* CPU time of process PID so far, us. */
static uint64_t cpu_us(pid_t pid)
{
	unsigned long user = 0, system = 0;
	char path[40], text[1024], *at;
	size_t n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "r");
	if (f) {
		n = fread(text, 1, sizeof(text) - 1, f);
		fclose(f);
	}
	text[n] = '\0';
	at = strrchr(text, ')'); /* the name may hold anything */
	if (!at || sscanf(at + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2)
		die(path, "it does not say the CPU time");
	return (user + system) * (1000000u / (uint64_t)sysconf(_SC_CLK_TCK));
}

static void usage(void)
{
	fputs("usage: load --socket PATH --op put|get [--encoding json|binary] [--volume NAME] [--flight N] "
	      "[--keys N]\n"
	      "            [--value BYTES] [--seconds S] [--requests N] [--in-order] [--pid PID]\n",
	      stderr);
	exit(2);
}

static void parse(struct load *l, int argc, char **argv)
{
	static const struct option options[] = {
		{ "socket", 1, NULL, 's' },   { "op", 1, NULL, 'o' },      { "encoding", 1, NULL, 'e' },
		{ "volume", 1, NULL, 'v' },   { "flight", 1, NULL, 'f' },  { "keys", 1, NULL, 'k' },
		{ "value", 1, NULL, 'b' },    { "seconds", 1, NULL, 't' }, { "requests", 1, NULL, 'n' },
		{ "in-order", 0, NULL, 'i' }, { "pid", 1, NULL, 'p' },     { NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 's':
			l->socket = optarg;
			break;
		case 'o':
			l->op = optarg;
			break;
		case 'e':
			l->encoding = optarg;
			break;
		case 'v':
			l->volume = optarg;
			break;
		case 'f':
			l->flight = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'k':
			l->keys = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'b':
			l->value_len = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 't':
			l->seconds = strtod(optarg, NULL);
			break;
		case 'n':
			l->limit = strtoull(optarg, NULL, 10);
			break;
		case 'i':
			l->in_order = true;
			break;
		case 'p':
			l->pid = (pid_t)strtol(optarg, NULL, 10);
			break;
		default:
			usage();
		}
	}
	if (!l->socket || optind != argc || (strcmp(l->op, "get") && strcmp(l->op, "put")) ||
	    (strcmp(l->encoding, "json") && strcmp(l->encoding, "binary")) || l->flight < 1 ||
	    l->flight > FLIGHT_MAX || l->keys < 1 || l->value_len > 65536)
		usage();
	l->binary = strcmp(l->encoding, "binary") == 0;
}

int main(int argc, char **argv)
{
	static struct load load = { .op = "get",
				    .encoding = "json",
				    .volume = "main",
				    .flight = 64,
				    .keys = 100000,
				    .value_len = 256,
				    .seconds = 3 };
	struct load *l = &load;
	uint64_t start, daemon_us = 0, own_us;
	struct rusage own;
	double took;

	parse(l, argc, argv);
	connect_to(l);
	l->in = malloc(INPUT);
	make_request(l);
	if (l->pid)
		daemon_us = cpu_us(l->pid);
	start = now_ns();
	run(l, start + (uint64_t)(l->seconds * 1e9));
	took = (double)(now_ns() - start) / 1e9;
	if (l->pid)
		daemon_us = cpu_us(l->pid) - daemon_us;
	getrusage(RUSAGE_SELF, &own);
	own_us = (uint64_t)(own.ru_utime.tv_sec + own.ru_stime.tv_sec) * 1000000u +
		(uint64_t)(own.ru_utime.tv_usec + own.ru_stime.tv_usec);
	printf("{\"op\":\"%s\",\"encoding\":\"%s\",\"flight\":%u,\"keys\":%u,\"value\":%u,\"requests\":%llu,"
	       "\"seconds\":%.3f,"
	       "\"rate\":%.0f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"daemon_cpu_us\":%.3f,\"generator_cpu\":%.2f}"
	       "\n",
	       l->op, l->encoding, l->flight, l->keys, l->value_len, (unsigned long long)l->done, took,
	       (double)l->done / took, percentile(l, 0.5), percentile(l, 0.99),
	       (double)daemon_us / (double)l->done, (double)own_us / 1e6 / took);
	close(l->fd);
	free(l->in);
	free(l->out);
	free(l->request);
	return 0;
}
