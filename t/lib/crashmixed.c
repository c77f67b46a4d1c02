/*
 * Writers of mixed operations for crash tests. Each of SLOTS writers has a few keys of its own and does one
 * operation after the other; which one follows from its number alone, and so does what the keys hold then.
 *
 *   crashmixed write SERVER FILE    go on behind the numbers in FILE until the server dies; FILE then has how
 * many operations of each writer were acknowledged crashmixed check SERVER FILE    what the keys hold must be
 * that, or one operation more; FILE then has which
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cairn/client.h>

#define SLOTS 24
#define KEYS 4
#define LONG 40000 /* bytes of a long value, which is in chunks */

struct value {
	char *bytes; /* NULL: the key is not there */
	size_t len;
};

struct slot {
	unsigned number;
	uint64_t done;
	struct value keys[KEYS];
	long long counter;
	struct load *load;
};

struct load {
	struct cairn *c;
	struct slot slots[SLOTS];
	bool over;
};

static uint64_t mix(uint64_t a)
{
	a = (a ^ (a >> 30)) * 0xbf58476d1ce4e5b9ull;
	a = (a ^ (a >> 27)) * 0x94d049bb133111ebull;
	return a ^ (a >> 31);
}

static void set(struct value *v, const char *bytes, size_t len)
{
	char *copy = bytes ? malloc(len + 1) : NULL;

	if (len && bytes)
		memcpy(copy, bytes, len);
	free(v->bytes);
	*v = (struct value){ copy, bytes ? len : 0 };
}

static void fill(char *p, size_t len, uint64_t seed)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (char)('a' + (seed + i) % 26);
}

static void key_text(const struct slot *s, unsigned k, char text[32])
{
	snprintf(text, 32, "mixed/%u/%u", s->number, k);
}

static void add_key(struct cairn_msg *m, unsigned field, const struct slot *s, unsigned k)
{
	char text[32];

	key_text(s, k, text);
	cairn_msg_text(m, field, text);
}

static void add_put(struct cairn_msg *m, struct slot *s, unsigned k, size_t len, uint64_t seed)
{
	char bytes[LONG];

	fill(bytes, len, seed);
	add_key(m, CAIRN_F_KEY, s, k);
	cairn_msg_bytes(m, CAIRN_F_VALUE, cairn_slice(bytes, len));
	set(&s->keys[k], bytes, len);
}

static void grow(struct value *v, size_t at, const char *bytes, size_t len)
{
	size_t size = at + len > v->len ? at + len : v->len;
	char *copy = calloc(1, size + 1);

	if (v->len)
		memcpy(copy, v->bytes, v->len);
	memcpy(copy + at, bytes, len);
	free(v->bytes);
	*v = (struct value){ copy, size };
}

/* The next operation of S as M, and done to its keys. */
static void next(struct slot *s, struct cairn_msg *m)
{
	uint64_t r = mix(s->done * SLOTS + s->number + 1);
	unsigned k = r % KEYS, other = (k + 1) % KEYS;
	size_t len = (size_t)(r >> 8 & 7 ? r >> 16 & 2047 : LONG), mark;
	char bytes[2048];

	s->done++;
	fill(bytes, sizeof(bytes), r);
	switch (r >> 40 & 15) {
	case 0:
	case 1: /* add to the end; a long value is begun anew */
		cairn_msg_start(m, s->keys[k].len > 100000 ? CAIRN_OP_PUT : CAIRN_OP_APPEND);
		if (s->keys[k].len > 100000) {
			add_put(m, s, k, 10, r);
			return;
		}
		add_key(m, CAIRN_F_KEY, s, k);
		cairn_msg_bytes(m, CAIRN_F_VALUE, cairn_slice(bytes, 1000));
		grow(&s->keys[k], s->keys[k].len, bytes, 1000);
		return;
	case 2:
	case 3:
		if (!s->keys[k].bytes)
			break;
		cairn_msg_start(m, CAIRN_OP_PATCH);
		add_key(m, CAIRN_F_KEY, s, k);
		cairn_msg_u64(m, CAIRN_F_OFFSET, s->keys[k].len / 2);
		cairn_msg_bytes(m, CAIRN_F_VALUE, cairn_slice(bytes, 100));
		grow(&s->keys[k], s->keys[k].len / 2, bytes, 100);
		return;
	case 4:
	case 5:
		if (!s->keys[k].bytes)
			break;
		cairn_msg_start(m, r >> 50 & 1 ? CAIRN_OP_MOVE : CAIRN_OP_COPY);
		add_key(m, CAIRN_F_KEY, s, k);
		add_key(m, CAIRN_F_TO, s, other);
		set(&s->keys[other], s->keys[k].bytes, s->keys[k].len);
		if (r >> 50 & 1)
			set(&s->keys[k], NULL, 0);
		return;
	case 6:
		if (!s->keys[k].bytes)
			break;
		cairn_msg_start(m, CAIRN_OP_DELETE);
		add_key(m, CAIRN_F_KEY, s, k);
		set(&s->keys[k], NULL, 0);
		return;
	case 7:
	case 8: /* two puts at once */
		cairn_msg_start(m, CAIRN_OP_TXN);
		for (unsigned i = 0; i < 2; i++) {
			mark = cairn_msg_open_op(m, CAIRN_F_THEN, CAIRN_OP_PUT);
			add_put(m, s, (k + i) % KEYS, len, r + i);
			cairn_msg_close(m, mark);
		}
		return;
	case 9:
		if (!s->keys[k].bytes)
			break;
		cairn_msg_start(m, CAIRN_OP_EXPIRE);
		add_key(m, CAIRN_F_KEY, s, k);
		cairn_msg_u64(m, CAIRN_F_TTL_MS, 3600000);
		return;
	case 10:
	case 11:
		cairn_msg_start(m, CAIRN_OP_INCREMENT);
		add_key(m, CAIRN_F_KEY, s, KEYS);
		cairn_msg_u64(m, CAIRN_F_BY, 1);
		s->counter++;
		return;
	}
	cairn_msg_start(m, CAIRN_OP_PUT);
	add_put(m, s, k, len, r);
}

/* Bring S to where DONE of its operations were done. */
static void replay(struct slot *s, uint64_t done)
{
	struct cairn_msg m = { 0 };

	while (s->done < done)
		next(s, &m);
	cairn_msg_free(&m);
}

static void submit(struct slot *s);

static void answered(void *arg, struct cairn_reply *r)
{
	struct slot *s = arg;

	if (r->code && r->code != CAIRN_E_UNKNOWN && r->code != CAIRN_E_UNAVAILABLE &&
	    r->code != CAIRN_E_TIMEOUT) {
		printf("writer %u, operation %" PRIu64 ": %s\n", s->number, s->done, r->error.message);
		exit(2);
	}
	if (r->code)
		s->load->over = true;
	if (r->code)
		s->done--; /* not acknowledged */
	else if (!s->load->over)
		submit(s);
}

static void submit(struct slot *s)
{
	struct cairn_msg m = { 0 };

	next(s, &m);
	if (cairn_submit(s->load->c, &m, answered, s))
		exit(2);
	cairn_msg_free(&m);
}

static void save(const struct load *l, const char *path)
{
	FILE *f = fopen(path, "w");

	for (unsigned i = 0; f && i < SLOTS; i++)
		fprintf(f, "%" PRIu64 "\n", l->slots[i].done);
	if (!f || fclose(f))
		exit(2);
}

static int write_on(struct load *l, const char *path)
{
	for (unsigned i = 0; i < SLOTS; i++)
		submit(&l->slots[i]);
	while (!l->over)
		cairn_dispatch(l->c, 50);
	while (cairn_pending(l->c)) /* those that are still under way end unanswered */
		cairn_dispatch(l->c, 50);
	save(l, path);
	return 0;
}

/* Whether KEY has the value V; a sentence where not. */
static bool has(struct cairn *c, const char *key, const struct value *v, bool say)
{
	struct cairn_reply r = { 0 };
	struct cairn_slice value = { 0 };
	enum cairn_code code = cairn_get(c, NULL, cairn_str(key), &value, NULL, &r);
	bool same = v->bytes ? !code && cairn_slice_eq(value, cairn_slice(v->bytes, v->len))
			     : code == CAIRN_E_NOT_FOUND;

	if (!same && say)
		printf("%s: %zu bytes are wanted%s, and there are %zu (%s)\n", key, v->len,
		       v->bytes ? "" : " not to be there", value.len,
		       code ? r.error.message : "another value");
	cairn_reply_free(&r);
	return same;
}

static bool fits(struct cairn *c, const struct slot *s, bool say)
{
	struct value counter;
	char text[32], number[32];
	bool all = true;

	for (unsigned k = 0; k < KEYS && all; k++) {
		key_text(s, k, text);
		all = has(c, text, &s->keys[k], say);
	}
	counter.len = (size_t)snprintf(number, sizeof(number), "%lld", s->counter);
	counter.bytes = s->counter ? number : NULL;
	key_text(s, KEYS, text);
	return all && has(c, text, &counter, say);
}

static int check(struct load *l, const char *path)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < SLOTS; i++) {
		struct slot *s = &l->slots[i];
		uint64_t acknowledged = s->done;

		if (!fits(l->c, s, false)) {
			replay(s, s->done + 1);
			if (!fits(l->c, s, true)) {
				printf("writer %u: neither what %" PRIu64 " operations leave, nor one more\n",
				       i, acknowledged);
				return 1;
			}
		}
		sum += s->done;
	}
	save(l, path);
	printf("%" PRIu64 " operations are there\n", sum);
	return 0;
}

int main(int argc, char **argv)
{
	struct cairn_options options = { .timeout_ms = argv[1] && argv[1][0] == 'w' ? 100 : 10000 };
	static struct load l;
	struct cairn_error error;
	uint64_t done[SLOTS] = { 0 };
	FILE *f;

	if (argc != 4)
		return 2;
	f = fopen(argv[3], "r");
	for (unsigned i = 0; f && i < SLOTS && fscanf(f, "%" SCNu64, &done[i]) == 1; i++)
		;
	if (f)
		fclose(f);
	options.servers = argv[2];
	if (cairn_open(&l.c, &options, &error)) {
		printf("%s\n", error.message);
		return 2;
	}
	for (unsigned i = 0; i < SLOTS; i++) {
		l.slots[i] = (struct slot){ .number = i, .load = &l };
		replay(&l.slots[i], done[i]);
	}
	return strcmp(argv[1], "write") == 0 ? write_on(&l, argv[3]) : check(&l, argv[3]);
}
