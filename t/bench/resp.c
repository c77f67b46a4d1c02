/*
 * A load generator for servers of the Redis protocol: SET and GET of keys key:000000000000 to key:N, as
 * redis-benchmark asks for them, by several threads with a share of the clients each. A client sends a batch
 * of requests and the next one when all replies are here; replies have a known length, so that they are
 * compared where they begin and else counted. Prints one line of JSON, with the CPU time of the server by
 * request, and with the share of its threads' time that the generator itself was busy: near 1 it was the
 * generator that was measured. Ends with status 1 where a reply is another one, showing it.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define BUCKETS (64 * 64)
#define DIGITS 12

struct client {
	int fd;
	size_t sent;       /* bytes of the batch */
	size_t received;   /* bytes of its replies */
	uint64_t began_ns; /* the batch */
	bool waits_for_room;
	unsigned char *batch; /* owned: requests one behind another */
};

struct load {
	const char *address;
	bool set, in_order;
	unsigned clients, pipeline, value, threads;
	uint64_t keys, limit;
	double seconds;
	pid_t pid;
	/* The run. */
	unsigned char *request; /* owned: template */
	size_t request_len, key_at;
	unsigned char *reply; /* owned */
	size_t reply_len, compare;
	uint64_t end_ns;
	uint64_t next; /* key, in order; atomic */
};

struct worker {
	pthread_t thread;
	const struct load *load;
	struct load *shared;
	struct client *clients; /* owned */
	unsigned count, busy;   /* clients; those with a batch on the way */
	uint64_t random, done, cpu_ns;
	uint64_t bucket[BUCKETS];
	unsigned char *in; /* owned */
	int epoll;
};

static _Noreturn void die(const char *what, const char *why)
{
	fprintf(stderr, "resp: %s: %s\n", what, why);
	exit(1);
}

static uint64_t clock_ns(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

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

/* ---- Requests ---- */

static void make_templates(struct load *l)
{
	char *value = malloc(l->value + 1);
	size_t room = l->value + 200;

	memset(value, 'x', l->value);
	value[l->value] = '\0';
	l->request = malloc(room);
	l->reply = malloc(room);
	if (l->set) {
		l->request_len = (size_t)snprintf((char *)l->request, room,
						  "*3\r\n$3\r\nSET\r\n$16\r\nkey:%012d\r\n$%u\r\n%s\r\n", 0,
						  l->value, value);
		l->reply_len = l->compare = (size_t)snprintf((char *)l->reply, room, "+OK\r\n");
	} else {
		l->request_len = (size_t)snprintf((char *)l->request, room,
						  "*2\r\n$3\r\nGET\r\n$16\r\nkey:%012d\r\n", 0);
		l->reply_len = (size_t)snprintf((char *)l->reply, room, "$%u\r\n%s\r\n", l->value, value);
		l->compare = strcspn((char *)l->reply, "\r") + 2;
	}
	l->key_at = (size_t)(strstr((char *)l->request, "key:") - (char *)l->request) + 4;
	free(value);
}

static void put_key(unsigned char *at, uint64_t v)
{
	int n = DIGITS;

	while (n--) {
		at[n] = (unsigned char)('0' + v % 10);
		v /= 10;
	}
}

/* Send what is left of the batch. */
static void send_batch(struct worker *w, struct client *c)
{
	const struct load *l = w->load;
	size_t len = l->pipeline * l->request_len;
	bool waits = false;

	while (c->sent < len) {
		ssize_t n = send(c->fd, c->batch + c->sent, len - c->sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN) {
			waits = true;
			break;
		}
		if (n < 0)
			die("send", strerror(errno));
		c->sent += (size_t)n;
	}
	if (waits != c->waits_for_room) {
		struct epoll_event e = { EPOLLIN | (waits ? EPOLLOUT : 0), { .ptr = c } };

		epoll_ctl(w->epoll, EPOLL_CTL_MOD, c->fd, &e);
		c->waits_for_room = waits;
	}
}

static void begin_batch(struct worker *w, struct client *c, uint64_t now)
{
	const struct load *l = w->load;

	for (unsigned i = 0; i < l->pipeline; i++) {
		uint64_t key;

		if (l->in_order) {
			key = __atomic_fetch_add(&w->shared->next, 1, __ATOMIC_RELAXED);
		} else {
			w->random = w->random * 6364136223846793005u + 1442695040888963407u;
			key = w->random >> 33;
		}
		put_key(c->batch + i * l->request_len + l->key_at, key % l->keys);
	}
	c->sent = c->received = 0;
	c->began_ns = now;
	send_batch(w, c);
}

/* ---- Replies ---- */

/* N bytes came for C: each reply has to begin as it should. */
static void check(const struct load *l, const struct client *c, const unsigned char *in, size_t n)
{
	size_t first = c->received % l->reply_len, at = first ? l->reply_len - first : 0;

	for (; at + l->compare <= n; at += l->reply_len)
		if (memcmp(in + at, l->reply, l->compare)) {
			fprintf(stderr, "resp: another reply: %.*s\n", (int)(n - at < 200 ? n - at : 200),
				(const char *)in + at);
			exit(1);
		}
}

static void receive(struct worker *w, struct client *c, uint64_t now)
{
	const struct load *l = w->load;
	size_t len = l->pipeline * l->reply_len;
	ssize_t n = recv(c->fd, w->in, len - c->received + 1, 0);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0)
		die("receive", n ? strerror(errno) : "the server closed the connection");
	check(l, c, w->in, (size_t)n);
	c->received += (size_t)n;
	if (c->received > len)
		die("another reply", "longer than expected");
	if (c->received < len)
		return;
	w->bucket[bucket_of(now - c->began_ns)]++;
	w->done += l->pipeline;
	if (l->limit ? __atomic_load_n(&w->shared->next, __ATOMIC_RELAXED) < l->limit : now < l->end_ns)
		begin_batch(w, c, now);
	else
		w->busy--;
}

/* ---- Connections ---- */

static int connect_to(const char *address)
{
	struct sockaddr_un path = { .sun_family = AF_UNIX };
	struct sockaddr_in at = { .sin_family = AF_INET };
	const char *port = strrchr(address, ':');
	char host[64] = { 0 };
	int fd, one = 1;

	if (strchr(address, '/')) {
		snprintf(path.sun_path, sizeof(path.sun_path), "%s", address);
		fd = socket(AF_UNIX, SOCK_STREAM, 0);
		if (fd < 0 || connect(fd, (struct sockaddr *)&path, sizeof(path)))
			die(address, strerror(errno));
		return fd;
	}
	if (!port || (size_t)(port - address) >= sizeof(host))
		die(address, "it is HOST:PORT, or a path");
	memcpy(host, address, (size_t)(port - address));
	at.sin_port = htons((uint16_t)atoi(port + 1));
	fd = socket(AF_INET, SOCK_STREAM, 0);
	if (inet_pton(AF_INET, host, &at.sin_addr) != 1 || fd < 0 ||
	    connect(fd, (struct sockaddr *)&at, sizeof(at)))
		die(address, strerror(errno));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

static void connect_all(struct worker *w)
{
	const struct load *l = w->load;

	w->epoll = epoll_create1(0);
	w->clients = calloc(w->count, sizeof(*w->clients));
	w->in = malloc(l->pipeline * l->reply_len + 2);
	for (unsigned i = 0; i < w->count; i++) {
		struct client *c = &w->clients[i];
		struct epoll_event e = { EPOLLIN, { .ptr = c } };

		c->fd = connect_to(l->address);
		fcntl(c->fd, F_SETFL, O_NONBLOCK);
		c->batch = malloc(l->pipeline * l->request_len);
		for (unsigned k = 0; k < l->pipeline; k++)
			memcpy(c->batch + k * l->request_len, l->request, l->request_len);
		epoll_ctl(w->epoll, EPOLL_CTL_ADD, c->fd, &e);
	}
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct epoll_event events[256];
	uint64_t now = clock_ns(CLOCK_MONOTONIC);

	for (unsigned i = 0; i < w->count; i++)
		begin_batch(w, &w->clients[i], now);
	w->busy = w->count;
	while (w->busy) {
		int n = epoll_wait(w->epoll, events, 256, 10000);

		if (n == 0)
			die("receive", "no reply for ten seconds");
		now = clock_ns(CLOCK_MONOTONIC);
		for (int i = 0; i < n; i++) {
			struct client *c = events[i].data.ptr;

			if (events[i].events & EPOLLOUT)
				send_batch(w, c);
			if (events[i].events & ~(uint32_t)EPOLLOUT)
				receive(w, c, now);
		}
	}
	w->cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	return NULL;
}

/* ---- The whole ---- */

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

static double percentile(const uint64_t *bucket, double share)
{
	uint64_t all = 0, seen = 0;

	for (unsigned b = 0; b < BUCKETS; b++)
		all += bucket[b];
	for (unsigned b = 0; b < BUCKETS; b++) {
		seen += bucket[b];
		if ((double)seen > (double)all * share)
			return bucket_us(b);
	}
	return 0;
}

static void free_all(struct load *l, struct worker *workers)
{
	for (unsigned i = 0; i < l->threads; i++) {
		for (unsigned k = 0; k < workers[i].count; k++)
			free(workers[i].clients[k].batch);
		free(workers[i].clients);
		free(workers[i].in);
	}
	free(workers);
	free(l->request);
	free(l->reply);
}

static void usage(void)
{
	fputs("usage: resp --address HOST:PORT|PATH --op set|get [--clients N] [--pipeline N] [--threads N] "
	      "[--value BYTES]\n"
	      "            [--keys N] [--seconds S] [--fill] [--pid PID]\n"
	      "--fill: each key once, in order, instead of random ones for a time.\n",
	      stderr);
	exit(2);
}

static void parse(struct load *l, int argc, char **argv)
{
	static const struct option options[] = {
		{ "address", 1, NULL, 'a' },  { "op", 1, NULL, 'o' },      { "clients", 1, NULL, 'c' },
		{ "pipeline", 1, NULL, 'P' }, { "threads", 1, NULL, 'T' }, { "value", 1, NULL, 'b' },
		{ "keys", 1, NULL, 'k' },     { "seconds", 1, NULL, 't' }, { "fill", 0, NULL, 'i' },
		{ "pid", 1, NULL, 'p' },      { NULL, 0, NULL, 0 },
	};
	unsigned long number = 0;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (optarg)
			number = strtoul(optarg, NULL, 10);
		switch (c) {
		case 'a':
			l->address = optarg;
			break;
		case 'o':
			l->set = strcmp(optarg, "set") == 0;
			if (!l->set && strcmp(optarg, "get"))
				usage();
			break;
		case 'c':
			l->clients = (unsigned)number;
			break;
		case 'P':
			l->pipeline = (unsigned)number;
			break;
		case 'T':
			l->threads = (unsigned)number;
			break;
		case 'b':
			l->value = (unsigned)number;
			break;
		case 'k':
			l->keys = number;
			break;
		case 't':
			l->seconds = strtod(optarg, NULL);
			break;
		case 'i':
			l->in_order = true;
			break;
		case 'p':
			l->pid = (pid_t)number;
			break;
		default:
			usage();
		}
	}
	if (!l->address || optind != argc || !l->clients || !l->pipeline || !l->threads || !l->keys)
		usage();
	if (l->threads > l->clients)
		l->threads = l->clients;
	if (l->in_order)
		l->limit = l->keys;
}

int main(int argc, char **argv)
{
	struct load l = { .set = true,
			  .clients = 50,
			  .pipeline = 1,
			  .value = 256,
			  .threads = 1,
			  .keys = 100000,
			  .seconds = 2 };
	static uint64_t bucket[BUCKETS];
	uint64_t start, cpu, took, done = 0, busy = 0;
	struct worker *workers;

	parse(&l, argc, argv);
	make_templates(&l);
	workers = calloc(l.threads, sizeof(*workers));
	for (unsigned i = 0; i < l.threads; i++) {
		workers[i].load = workers[i].shared = &l;
		workers[i].random = 88172645463325252u * (i + 1);
		workers[i].count = l.clients / l.threads + (i < l.clients % l.threads);
		connect_all(&workers[i]);
	}
	cpu = l.pid ? cpu_us(l.pid) : 0;
	start = clock_ns(CLOCK_MONOTONIC);
	l.end_ns = start + (uint64_t)(l.seconds * 1e9);
	for (unsigned i = 0; i < l.threads; i++)
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
			die("a thread", "it cannot be started");
	for (unsigned i = 0; i < l.threads; i++) {
		pthread_join(workers[i].thread, NULL);
		done += workers[i].done;
		busy += workers[i].cpu_ns;
		for (unsigned b = 0; b < BUCKETS; b++)
			bucket[b] += workers[i].bucket[b];
	}
	took = clock_ns(CLOCK_MONOTONIC) - start;
	cpu = l.pid ? cpu_us(l.pid) - cpu : 0;
	printf("{\"op\":\"%s\",\"clients\":%u,\"pipeline\":%u,\"value\":%u,\"requests\":%lu,\"rate\":%.0f,"
	       "\"p50_us\":%.1f,"
	       "\"p99_us\":%.1f,\"cpu_us\":%.3f,\"load\":%.2f}\n",
	       l.set ? "set" : "get", l.clients, l.pipeline, l.value, (unsigned long)done,
	       (double)done / ((double)took / 1e9), percentile(bucket, 0.5), percentile(bucket, 0.99),
	       (double)cpu / (double)done, (double)busy / (double)took / l.threads);
	free_all(&l, workers);
	return 0;
}
