/*
 * A writer for crash tests. `crashload write SERVER FIRST [TIMEOUT_MS]` puts the keys k<FIRST>, k<FIRST+1>, …
 * with 32 requests under way and prints the number of each one that was acknowledged, until the server dies.
 * `crashload check SERVER < NUMBERS` reads keys back: exits 1 and names the first whose value is not the one
 * written.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cairn/client.h>

#define WINDOW 32
#define VALUE_MAX 3000

struct load {
	struct cairn *c;
	uint64_t next;
	bool over; /* the server is gone */
};

struct put {
	struct load *load;
	uint64_t number;
};

/* The value that belongs to NUMBER: its length and bytes follow from it. */
static struct cairn_slice value_of(uint64_t number, char *buffer)
{
	size_t len = (size_t)(number * 2654435761u % VALUE_MAX);

	for (size_t i = 0; i < len; i++)
		buffer[i] = (char)('a' + (number + i) % 26);
	return cairn_slice(buffer, len);
}

static void send_put(struct put *p);

static void answered(void *arg, struct cairn_reply *r)
{
	struct put *p = arg;
	char line[32];
	int n;

	if (r->code) {
		p->load->over = true;
		return;
	}
	n = snprintf(line, sizeof(line), "%" PRIu64 "\n", p->number);
	if (write(STDOUT_FILENO, line, (size_t)n) != n)
		exit(2);
	if (!p->load->over)
		send_put(p);
}

static void send_put(struct put *p)
{
	struct cairn_msg m = { 0 };
	char key[32], value[VALUE_MAX];

	p->number = p->load->next++;
	snprintf(key, sizeof(key), "k%" PRIu64, p->number);
	cairn_msg_start(&m, CAIRN_OP_PUT);
	cairn_msg_text(&m, CAIRN_F_KEY, key);
	cairn_msg_bytes(&m, CAIRN_F_VALUE, value_of(p->number, value));
	if (cairn_submit(p->load->c, &m, answered, p))
		exit(2);
	cairn_msg_free(&m);
}

static int load(struct cairn *c, uint64_t first)
{
	struct load l = { .c = c, .next = first };
	struct put puts[WINDOW];

	for (int i = 0; i < WINDOW; i++) {
		puts[i] = (struct put){ .load = &l };
		send_put(&puts[i]);
	}
	while (!l.over)
		cairn_dispatch(c, 50);
	return 0;
}

static int check(struct cairn *c)
{
	struct cairn_reply r = { 0 };
	struct cairn_slice value;
	char key[32], wanted[VALUE_MAX];
	uint64_t number, count = 0;

	while (scanf("%" SCNu64, &number) == 1) {
		snprintf(key, sizeof(key), "k%" PRIu64, number);
		if (cairn_get(c, NULL, cairn_str(key), &value, NULL, &r)) {
			printf("%s was acknowledged: %s\n", key, r.error.message);
			return 1;
		}
		if (!cairn_slice_eq(value, value_of(number, wanted))) {
			printf("%s has another value\n", key);
			return 1;
		}
		cairn_reply_free(&r);
		count++;
	}
	printf("%" PRIu64 " writes are there\n", count);
	return 0;
}

int main(int argc, char **argv)
{
	struct cairn_options options = { .timeout_ms = 2000 };
	struct cairn_error e;
	struct cairn *c;
	int status;

	if (argc < 3)
		return 2;
	options.servers = argv[2];
	if (argv[1][0] == 'w')
		options.timeout_ms = argc > 4 ? strtoull(argv[4], NULL, 10) : 100;
	if (cairn_open(&c, &options, &e)) {
		fprintf(stderr, "%s\n", e.message);
		return 2;
	}
	status = argv[1][0] == 'w' && argc > 3 ? load(c, strtoull(argv[3], NULL, 10)) : check(c);
	cairn_close(c);
	return status;
}
