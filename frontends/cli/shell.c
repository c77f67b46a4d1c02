/*
 * shell: many commands over one connection. On a terminal lines are edited and completed (prompt.c). From a
 * pipe, simple lines (put, del, get of one key) are submitted without waiting; a ring keeps what is under
 * way, and its oldest line is shown first, so the output is in the order of the lines. A line about a key
 * that is under way, and every line of another kind, waits until the ring is empty: so lines about one key
 * happen in their order.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "cli.h"
#include "prompt.h"
#include "banned.h"

#define RING 100          /* lines under way; a store remembers the results of more */
#define SIMPLE_MAX 65536u /* longest value that is sent without waiting */

/* A line under way. */
struct slot {
	size_t line;
	unsigned op;
	struct words words; /* of the line: its key, and to do it again */
	struct cairn_slice key;
	bool done;
	enum cairn_code code;
	struct cairn_error error;
	struct cairn_msg answer; /* its fields */
};

struct bulk {
	struct cli *c;
	struct slot ring[RING];
	size_t first, count;
	enum cairn_code failed; /* of the first line that failed */
	bool stop;
};

static void line_failed(struct bulk *b, size_t line, enum cairn_code code, struct cairn_error *e)
{
	if (!b->failed)
		b->failed = code;
	cairn_error_prefix(e, "line %zu", line);
	error_show(b->c, e);
}

/* Parse and run the words of one line, waiting for its end. */
static enum cairn_code run_words(struct cli *c, const struct words *w)
{
	struct arguments a;
	enum cairn_code code;

	c->error = (struct cairn_error){ 0 };
	code = arguments_parse(&a, w->list, w->count, &c->error);
	if (code == CAIRN_OK && (!a.verb || argument(&a, "help") || argument(&a, "version")))
		code = cairn_fail(&c->error, CAIRN_E_INVALID,
				  "a line begins with a command; 'help COMMAND' opens its page");
	else if (code == CAIRN_OK && strcmp(a.verb->name, "shell") == 0)
		code = cairn_fail(&c->error, CAIRN_E_INVALID, "this is a shell already");
	else if (code == CAIRN_OK)
		code = verb_run(c, &a);
	arguments_free(&a);
	return code;
}

static void run_line(struct bulk *b, const struct words *w, size_t line)
{
	enum cairn_code code = run_words(b->c, w);

	if (code != CAIRN_OK)
		line_failed(b, line, code, &b->c->error);
}

static void slot_done(void *arg, struct cairn_reply *r)
{
	struct slot *s = arg;

	s->done = true;
	s->code = r->code;
	s->error = r->error;
	cairn_msg_start(&s->answer, 0);
	cairn_msg_fields(&s->answer, r->fields);
	if (cairn_msg_error(&s->answer))
		no_memory();
}

/* Show the oldest line, which has its answer. */
static void retire(struct bulk *b)
{
	struct slot *s = &b->ring[b->first];
	struct cairn_slice fields = cairn_message_fields(cairn_msg_slice(&s->answer)), value = { 0 };

	if (s->code != CAIRN_OK) {
		line_failed(b, s->line, s->code, &s->error);
	} else if (s->op != CAIRN_OP_GET && b->c->format == FORMAT_JSON) {
		out_json(b->c, fields);
	} else if (s->op != CAIRN_OP_GET) {
		out_line("revision %llu", (unsigned long long)cairn_field_u64(fields, CAIRN_F_REVISION, 0));
	} else {
		cairn_field_find(fields, CAIRN_F_VALUE, &value);
		/* A value that did not fit the answer, or that is shown otherwise, is read again. */
		if (b->c->format == FORMAT_JSON || b->c->out_terminal ||
		    cairn_field_u64(fields, CAIRN_F_SIZE, value.len) != value.len)
			run_line(b, &s->words, s->line);
		else
			fwrite(value.data, 1, value.len, stdout);
	}
	words_free(&s->words);
	cairn_msg_free(&s->answer);
	*s = (struct slot){ 0 };
	b->first = (b->first + 1) % RING;
	b->count--;
}

/* Wait until no more than MOST lines are under way, and show those that are ready. */
static void drain(struct bulk *b, size_t most)
{
	while (b->count > most || (b->count && b->ring[b->first].done)) {
		if (!b->ring[b->first].done)
			cairn_dispatch(b->c->client, -1);
		else
			retire(b);
	}
}

static bool under_way(const struct bulk *b, struct cairn_slice key)
{
	for (size_t i = 0; i < b->count; i++)
		if (cairn_slice_eq(b->ring[(b->first + i) % RING].key, key))
			return true;
	return false;
}

/* The operation of a line that need not be waited for; 0 for any other. */
static unsigned simple(const struct bulk *b, const struct arguments *a)
{
	const char *name = a->verb ? a->verb->name : "";
	const struct word *key = a->operand;

	if (b->stop || a->options || a->parent || a->count == 0 || key->len == 0 ||
	    (!b->c->literal && strchr("./", key->text[0])))
		return 0;
	if (strcmp(name, "get") == 0)
		return a->count == 1 ? CAIRN_OP_GET : 0;
	if (strcmp(name, "del") == 0)
		return a->count == 1 ? CAIRN_OP_DELETE : 0;
	if (strcmp(name, "put") != 0 || a->count != 2 || a->operand[1].len > SIMPLE_MAX)
		return 0;
	return a->operand[1].text[0] == '@' || strcmp(a->operand[1].text, "-") == 0 ? 0 : CAIRN_OP_PUT;
}

/* Submit the line W, whose words now belong to its slot. */
static bool submit(struct bulk *b, struct words *w, const struct arguments *a, unsigned op, size_t line)
{
	struct cairn *client = cli_client(b->c);
	struct cairn_msg m = { 0 };
	struct slot *s;
	enum cairn_code code;

	if (!client)
		return false;
	if (under_way(b, word_slice(&a->operand[0])))
		drain(b, 0);
	drain(b, RING - 1);
	s = &b->ring[(b->first + b->count) % RING];
	*s = (struct slot){ .line = line, .op = op, .key = word_slice(&a->operand[0]) };
	request(b->c, &m, op);
	cairn_msg_bytes(&m, CAIRN_F_KEY, s->key);
	if (op == CAIRN_OP_PUT)
		cairn_msg_bytes(&m, CAIRN_F_VALUE, word_slice(&a->operand[1]));
	code = cairn_submit(client, &m, slot_done, s);
	cairn_msg_free(&m);
	if (code != CAIRN_OK)
		return false;
	s->words = *w;
	*w = (struct words){ 0 };
	b->count++;
	return true;
}

static void bulk_line(struct bulk *b, struct words *w, size_t line)
{
	struct arguments a;
	struct cairn_error ignored;
	unsigned op;

	if (w->count == 0)
		return;
	op = arguments_parse(&a, w->list, w->count, &ignored) == CAIRN_OK ? simple(b, &a) : 0;
	if (!op || !submit(b, w, &a, op, line)) {
		drain(b, 0);
		run_line(b, w, line);
	}
	arguments_free(&a);
}

/* One line of --atomic: an operation of the transaction M. */
static void atomic_line(struct bulk *b, struct words *w, size_t line, struct cairn_msg *m)
{
	enum cairn_code code;

	if (w->count == 0)
		return;
	code = txn_operation(b->c, m, CAIRN_F_THEN, w->list, w->count);
	if (code != CAIRN_OK)
		line_failed(b, line, code, &b->c->error);
}

/* Before waiting for a line that is slow to come: show what the lines so far did. */
static void settle(struct bulk *b)
{
	struct pollfd in = { .fd = STDIN_FILENO, .events = POLLIN };

	if (poll(&in, 1, 0) != 0)
		return;
	drain(b, 0);
	fflush(stdout);
}

/* Every line of standard input; M is the transaction of --atomic, else NULL. */
static enum cairn_code bulk(struct cli *c, bool stop, struct cairn_msg *m)
{
	struct bulk b = { .c = c, .stop = stop || m };
	char *line = NULL;
	size_t room = 0, number = 0;
	ssize_t n;

	c->input_used = true;
	while (!(b.stop && b.failed) && !ferror(stdout) && (n = getline(&line, &room, stdin)) >= 0) {
		struct words w = { 0 };

		number++;
		if (!words_split(&w, cairn_slice(line, (size_t)n))) {
			drain(&b, 0);
			cairn_fail(&c->error, CAIRN_E_INVALID,
				   "a quote is not closed, or an escape is unknown");
			line_failed(&b, number, CAIRN_E_INVALID, &c->error);
		} else if (m) {
			atomic_line(&b, &w, number, m);
		} else if (w.count == 1 &&
			   (!strcmp(w.list[0].text, "exit") || !strcmp(w.list[0].text, "quit"))) {
			words_free(&w);
			break;
		} else {
			bulk_line(&b, &w, number);
		}
		words_free(&w);
		settle(&b);
	}
	drain(&b, 0);
	free(line);
	return b.failed;
}

static enum cairn_code atomic(struct cli *c)
{
	struct cairn_msg m = { 0 };
	enum cairn_code code;

	request(c, &m, CAIRN_OP_TXN);
	code = bulk(c, true, &m);
	if (code != CAIRN_OK) {
		c->status = exit_status(code);
		code = CAIRN_OK;
	} else {
		code = txn_send(c, &m, true);
	}
	cairn_msg_free(&m);
	return code;
}

static void interactive(struct cli *c)
{
	struct prompt *e = prompt_open(c);
	struct words w = { 0 };
	enum cairn_code code;
	char *line;

	while (e && (line = prompt_line(e))) {
		bool end;

		if (!words_split(&w, cairn_str(line)))
			code = cairn_fail(&c->error, CAIRN_E_INVALID,
					  "a quote is not closed, or an escape is unknown");
		else
			code = w.count ? CAIRN_OK : CAIRN_E_INTERNAL;
		end = w.count == 1 && (!strcmp(w.list[0].text, "exit") || !strcmp(w.list[0].text, "quit"));
		if (code == CAIRN_OK && !end)
			code = run_words(c, &w);
		if (out_finish(&c->error) != CAIRN_OK || (code != CAIRN_OK && w.count))
			error_show(c, &c->error);
		words_free(&w);
		if (end)
			break;
	}
	prompt_close(e);
}

VERB(shell)
{
	enum cairn_code code = CAIRN_OK;

	c->in_shell = true;
	c->status = 0;
	if (argument(a, "atomic"))
		code = atomic(c);
	else if (isatty(STDIN_FILENO))
		interactive(c);
	else
		c->status = exit_status(bulk(c, argument(a, "stop"), NULL));
	c->in_shell = false;
	return code;
}
