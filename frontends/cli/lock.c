/*
 * lock: a key that expires, made only where it is not there. Its value says for people who holds it; the
 * revision that made it is its fence. While the command runs (lock_run.c) the lock is refreshed, and every
 * cairn command below carries the fence in $CAIRN_FENCE, so that the store refuses what comes from one who
 * has lost it.
 *
 * Who waits for a lock watches its key from the revision on at which it was held, so that nothing is missed,
 * and tries again when it has gone.
 */
#include <errno.h>
#include <poll.h>
#include <pwd.h>
#include <stdlib.h>
#include <unistd.h>
#include "clock.h"
#include "fence.h"
#include "lock.h"
#include "banned.h"

#define TTL_DEFAULT_MS 15000
#define TTL_LEAST_MS 1000
#define MS 1000000ull
#define LOOK_AGAIN_MS 10000 /* so often a waiter tries by itself, beside its watch */
#define PAUSE_MS 500        /* before it tries again where no server answers, or none that watches */
#define COMMAND_SHOWN 200   /* bytes of the command in the lock's value */

static const char magic[] = "lock held by ";

/* Who holds a lock, as its value says. */
struct holder {
	struct cairn_slice who, process, since, command;
	uint64_t fence;
	uint64_t since_ns, expiry_ns; /* 0: not known */
};

/* The rest of the line at *TEXT behind WORD; *TEXT goes on behind it. */
static bool take_line(struct cairn_slice *text, const char *word, struct cairn_slice *rest)
{
	size_t n = strlen(word);
	const char *p = text->data, *end;

	if (text->len < n || memcmp(p, word, n) != 0)
		return false;
	end = memchr(p, '\n', text->len);
	if (!end)
		return false;
	*rest = cairn_slice(p + n, (size_t)(end - p) - n);
	*text = cairn_slice(end + 1, text->len - (size_t)(end + 1 - p));
	return true;
}

/* Read the holder out of a record's FIELDS and its VALUE. Whether it is a lock. */
static bool holder_read(struct cairn_slice fields, struct cairn_slice value, struct holder *h)
{
	*h = (struct holder){ .fence = cairn_field_u64(fields, CAIRN_F_CREATE_REVISION, 0),
			      .expiry_ns = cairn_field_u64(fields, CAIRN_F_EXPIRY, 0) };
	if (!take_line(&value, magic, &h->who) || !take_line(&value, "process ", &h->process) ||
	    !take_line(&value, "since ", &h->since) || !take_line(&value, "command ", &h->command))
		return false;
	if (!clock_parse(h->since.data, h->since.len, &h->since_ns))
		h->since_ns = 0;
	return true;
}

/* The value of a lock that this process takes to run COMMAND. */
static char *holder_text(const struct words *command, bool utf8)
{
	char host[256] = "?", since[CLOCK_TEXT], *text = NULL, *shown = NULL;
	const struct passwd *user = getpwuid(geteuid());
	size_t len, shown_len;
	FILE *f = open_memstream(&shown, &shown_len);

	gethostname(host, sizeof(host) - 1);
	clock_format(clock_wall_ns(), since);
	if (!f)
		no_memory();
	for (size_t i = 0; i < command->count && ftell(f) < COMMAND_SHOWN; i++) {
		const struct word *w = &command->list[i];
		size_t dashes = strspn(w->text, "-");

		fprintf(f, "%s%.*s", i ? " " : "", (int)dashes, w->text);
		if (dashes < w->len || !w->len)
			text_quote(f, cairn_slice(w->text + dashes, w->len - dashes), utf8);
	}
	fclose(f);
	f = open_memstream(&text, &len);
	if (!f || !shown)
		no_memory();
	fprintf(f, "%s", magic);
	if (user)
		fprintf(f, "%s", user->pw_name);
	else
		fprintf(f, "%u", (unsigned)geteuid());
	fprintf(f, "@%s\nprocess %d\nsince %.23sZ\ncommand %.*s\n", host, (int)getpid(), since,
		shown_len < COMMAND_SHOWN ? (int)shown_len : COMMAND_SHOWN, shown);
	free(shown);
	if (fclose(f) != 0)
		no_memory();
	return text;
}

/* "held by ops@n1 (process 4711) for 12 s, fence 18217", by a record's FIELDS, its value among them. */
static void holder_say(struct cairn_slice fields, char *text, size_t len)
{
	uint64_t now = clock_wall_ns();
	struct cairn_slice value = { 0 };
	struct holder h;

	cairn_field_find(fields, CAIRN_F_VALUE, &value);
	if (!holder_read(fields, value, &h))
		snprintf(text, len, "held by somebody who did not say who, fence %llu",
			 (unsigned long long)h.fence);
	else
		snprintf(text, len, "held by %.*s (process %.*s) for %llu s, fence %llu", (int)h.who.len,
			 (const char *)h.who.data, (int)h.process.len, (const char *)h.process.data,
			 (unsigned long long)(now > h.since_ns ? (now - h.since_ns) / 1000000000 : 0),
			 (unsigned long long)h.fence);
}

/* The fields of the first result of a transaction's ANSWER. */
static struct cairn_slice first_result(struct cairn_slice answer)
{
	struct cairn_slice result = { 0 };

	cairn_field_find(answer, CAIRN_F_RESULT, &result);
	return result;
}

/* The key of L, with this FENCE, is a lock that this very process runs under: it would wait for itself. */
static bool is_outer(const struct lock *l, uint64_t fence)
{
	const char *outer = getenv("CAIRN_FENCE"), *volume = l->c->volume ? l->c->volume : "main";
	char *text = outer && fence ? fence_text(NULL, volume, l->key, fence) : NULL;
	size_t n = strlen(volume), len = text ? strlen(text) : 0;
	const char *at = len && strncmp(outer, text, n + 1) == 0 ? strstr(outer, text + n) : NULL;
	bool found = at && (at[len - n] == ' ' || !at[len - n]);

	free(text);
	return found;
}

/* Another has L, by the FIELDS of its key: an error where no waiting can help, else HELD says who. */
static enum cairn_code taken(struct lock *l, struct cairn_slice fields, char *held, size_t len)
{
	enum cairn_code code = CAIRN_OK;

	holder_say(fields, held, len);
	if (is_outer(l, cairn_field_u64(fields, CAIRN_F_CREATE_REVISION, 0))) {
		code = cairn_fail(&l->c->error, CAIRN_E_CONFLICT,
				  "%s is the lock that this command runs under: it would wait for itself",
				  l->name);
		cairn_hint(&l->c->error, "what runs below 'cairn lock %s' has the lock already", l->name);
	} else if (!cairn_field_u64(fields, CAIRN_F_EXPIRY, 0)) {
		code = cairn_fail(&l->c->error, CAIRN_E_CONFLICT,
				  "%s is a key that does not expire, and no lock", l->name);
		cairn_hint(&l->c->error, "name another key for the lock, or delete that one");
	}
	return code;
}

/* Take L if it is free; else *REVISION, otherwise 0, is one at which another had it, and HELD says who. */
static enum cairn_code take(struct lock *l, const char *value, uint64_t *revision, char *held, size_t len)
{
	struct cairn_msg m = { 0 };
	struct cairn_reply r = { 0 };
	uint64_t sent_ns = clock_boot_ns();
	enum cairn_code code;
	size_t mark;

	request(l->c, &m, CAIRN_OP_TXN);
	mark = cairn_msg_open(&m, CAIRN_F_GUARD);
	cairn_msg_bytes(&m, CAIRN_F_KEY, l->key);
	cairn_msg_bool(&m, CAIRN_F_EXISTS, false);
	cairn_msg_close(&m, mark);
	mark = cairn_msg_open_op(&m, CAIRN_F_THEN, CAIRN_OP_PUT);
	cairn_msg_bytes(&m, CAIRN_F_KEY, l->key);
	cairn_msg_text(&m, CAIRN_F_VALUE, value);
	cairn_msg_u64(&m, CAIRN_F_TTL_MS, l->ttl_ms);
	cairn_msg_close(&m, mark);
	mark = cairn_msg_open_op(&m, CAIRN_F_ELSE, CAIRN_OP_GET);
	cairn_msg_bytes(&m, CAIRN_F_KEY, l->key);
	cairn_msg_close(&m, mark);
	code = call(l->c, &m, &r);
	*revision = 0;
	if (!code && cairn_field_bool(r.fields, CAIRN_F_SUCCEEDED, false)) {
		l->fence = cairn_field_u64(r.fields, CAIRN_F_REVISION, 0);
		l->until_ns = lock_until(sent_ns, l->ttl_ms);
	} else if (!code) {
		*revision = cairn_field_u64(r.fields, CAIRN_F_REVISION, 0);
		code = taken(l, first_result(r.fields), held, len);
	} else if (code == CAIRN_E_UNKNOWN) {
		cairn_hint(&l->c->error, "if the lock was taken, it frees itself within %llu s",
			   (unsigned long long)(l->ttl_ms + 999) / 1000);
	}
	cairn_reply_free(&r);
	return code;
}

/* What a watch of a lock that another holds has seen. */
struct waiting {
	bool is_free, over;
};

static void on_event(void *arg, struct cairn_reply *r)
{
	struct waiting *w = arg;

	if (!r->event)
		w->over = true;
	else if (cairn_field_bool(r->fields, CAIRN_F_DELETED, false))
		w->is_free = true;
}

/* A short while, but not beyond END_NS. */
static void pause_until(uint64_t end_ns)
{
	uint64_t now = clock_boot_ns(), left_ms = end_ns > now ? (end_ns - now) / MS + 1 : 0;

	poll(NULL, 0, (int)(left_ms < PAUSE_MS ? left_ms : PAUSE_MS));
}

/* Wait until L, which was held at REVISION, may be free, or END_NS. */
static void wait_free(struct lock *l, uint64_t revision, uint64_t end_ns)
{
	struct waiting w = { 0 };
	struct cairn_msg m = { 0 };
	struct cairn *client = cli_client(l->c);
	uint64_t now = clock_boot_ns(), id = 0, until = now + LOOK_AGAIN_MS * MS;

	until = until < end_ns ? until : end_ns;
	request(l->c, &m, CAIRN_OP_WATCH);
	cairn_msg_bytes(&m, CAIRN_F_KEY, l->key);
	cairn_msg_u64(&m, CAIRN_F_REVISION, revision + 1);
	w.over = cairn_watch(client, &m, on_event, &w, &id) != CAIRN_OK;
	while (!w.is_free && !w.over && now < until) {
		cairn_dispatch(client, (int)((until - now) / MS) + 1);
		now = clock_boot_ns();
	}
	cairn_cancel(client, id);
	cairn_msg_free(&m);
	if (w.over)
		pause_until(until);
}

/* Take L, waiting for it until END_NS at most (UINT64_MAX: without end), also where servers are away
 * meanwhile. */
static enum cairn_code take_in_time(struct lock *l, const char *value, uint64_t end_ns)
{
	uint64_t revision = 0;
	bool waited = false, over;
	char held[300];
	enum cairn_code code;

	for (;; waited = true) {
		code = take(l, value, &revision, held, sizeof(held));
		over = clock_boot_ns() >= end_ns;
		if (!code && !revision)
			return CAIRN_OK;
		if (!code && over)
			return cairn_fail(&l->c->error, CAIRN_E_TIMEOUT, "%s is %s", l->name, held);
		if (!code && !waited && l->c->err_terminal)
			fprintf(stderr, "cairn: lock: waiting for %s, %s\n", l->name, held);
		if (!code)
			wait_free(l, revision, end_ns);
		else if (waited && !over && (code == CAIRN_E_UNAVAILABLE || code == CAIRN_E_TIMEOUT))
			pause_until(end_ns);
		else
			return code;
	}
}

static enum cairn_code run_under(struct cli *c, const struct arguments *a, const struct key *key)
{
	const char *wait = argument(a, "wait"), *ttl = argument(a, "ttl");
	struct lock l = { .c = c, .key = key->name, .ttl_ms = TTL_DEFAULT_MS };
	struct cairn_options plain = {
		.servers = c->servers, .face = "command", .fence = "", .persistent = true
	};
	const struct words words = { .list = a->operand + 1, .count = a->count - 1 };
	char **command = calloc(a->count, sizeof(*command)), *value = holder_text(&words, c->utf8);
	uint64_t wait_ms = 0;
	enum cairn_code code = CAIRN_OK;
	FILE *f = fmemopen(l.name, sizeof(l.name), "w");

	if (!command || !f)
		no_memory();
	text_escape(f, key->name, c->utf8, 0);
	fclose(f);
	l.name[sizeof(l.name) - 1] = 0;
	for (size_t i = 0; i + 1 < a->count; i++)
		command[i] = a->operand[i + 1].text;
	if (ttl)
		text_duration(ttl, &l.ttl_ms);
	if (l.ttl_ms < TTL_LEAST_MS)
		code = cairn_fail(&c->error, CAIRN_E_INVALID, "--ttl is at least 1 s, not '%.100s'", ttl);
	if (wait)
		text_duration(wait, &wait_ms);
	if (!code)
		code = cairn_open(&l.client, &plain, &c->error);
	if (!code)
		code = take_in_time(&l, value, wait ? clock_boot_ns() + wait_ms * 1000000 : UINT64_MAX);
	if (!code)
		code = lock_run(&l, command);
	cairn_close(l.client);
	free(command);
	free(value);
	return code;
}

/* A listing of locks. */
struct locks {
	struct cli *c;
	struct table table;
	enum cairn_code code;
};

static void show_json(const struct cli *c, struct cairn_slice key, const struct holder *h)
{
	char process[24];
	struct cairn_msg m = { 0 };

	snprintf(process, sizeof(process), "%.*s", (int)h->process.len, (const char *)h->process.data);
	cairn_msg_start(&m, 0);
	cairn_msg_bytes(&m, CAIRN_F_KEY, key);
	cairn_msg_bytes(&m, CAIRN_F_AUTHOR, h->who);
	cairn_msg_u64(&m, CAIRN_F_PID, strtoull(process, NULL, 10));
	cairn_msg_u64(&m, CAIRN_F_TIME, h->since_ns);
	if (h->expiry_ns)
		cairn_msg_u64(&m, CAIRN_F_EXPIRY, h->expiry_ns);
	cairn_msg_u64(&m, CAIRN_F_FENCE, h->fence);
	cairn_msg_bytes(&m, CAIRN_F_TEXT, h->command);
	out_json(c, cairn_message_fields(cairn_msg_slice(&m)));
	cairn_msg_free(&m);
}

static void show_row(struct locks *l, struct cairn_slice key, const struct holder *h)
{
	uint64_t now = clock_wall_ns();

	table_text(&l->table, key, true);
	table_text(&l->table, h->who, false);
	table_text(&l->table, h->process, false);
	table_cell(&l->table, "%llu s",
		   (unsigned long long)(now > h->since_ns ? (now - h->since_ns) / 1000000000 : 0));
	table_cell(&l->table, "%llu", (unsigned long long)h->fence);
	table_text(&l->table, h->command, false);
}

/* A row without its value: only what expires can be a lock, and is looked at. */
static bool list_row(void *arg, struct cairn_slice row)
{
	struct locks *l = arg;
	struct cairn_slice key = { 0 }, value;
	struct cairn_reply r = { 0 };
	struct cairn *client;
	struct holder h;

	if (!cairn_field_u64(row, CAIRN_F_EXPIRY, 0) || !cairn_field_find(row, CAIRN_F_KEY, &key))
		return true;
	client = cli_second(l->c);
	l->code = client ? cairn_get(client, l->c->volume, key, &value, NULL, &r) : l->c->error.code;
	if (l->code && client)
		l->c->error = r.error;
	if (l->code == CAIRN_E_NOT_FOUND) /* freed meanwhile */
		l->code = CAIRN_OK;
	else if (!l->code && holder_read(row, value, &h) && l->c->format == FORMAT_JSON)
		show_json(l->c, key, &h);
	else if (!l->code && holder_read(row, value, &h))
		show_row(l, key, &h);
	cairn_reply_free(&r);
	return !l->code;
}

static enum cairn_code list(struct cli *c, const struct word *folder)
{
	static const struct column columns[] = {
		{ "KEY", false }, { "HOLDER", false }, { "PROCESS", true },
		{ "HELD", true }, { "FENCE", true },   { "COMMAND", false }
	};
	struct locks l = { .c = c };
	struct range range = { .meta_only = true };
	struct key key = { 0 };
	enum cairn_code code = folder ? folder_take(c, folder, &key) : CAIRN_OK;

	range.prefix = key.name;
	table_begin(&l.table, c, columns, sizeof(columns) / sizeof(*columns), FORMAT_TABLE);
	if (!code)
		code = walk(c, &range, list_row, &l);
	if (!code)
		code = l.code;
	if (c->format != FORMAT_JSON)
		table_end(&l.table);
	key_free(&key);
	return code;
}

/* Free the lock KEY, whoever holds it: whoever that is has lost it. */
static enum cairn_code break_lock(struct cli *c, const struct key *key)
{
	struct cairn_msg m = { 0 };
	struct cairn_reply r = { 0 };
	struct cairn_slice value = { 0 };
	struct holder h = { 0 };
	char held[300] = "";
	enum cairn_code code;
	size_t mark;

	request(c, &m, CAIRN_OP_TXN); /* in a transaction a get answers with all there is */
	mark = cairn_msg_open_op(&m, CAIRN_F_THEN, CAIRN_OP_GET);
	cairn_msg_bytes(&m, CAIRN_F_KEY, key->name);
	cairn_msg_close(&m, mark);
	code = call(c, &m, &r);
	cairn_field_find(first_result(r.fields), CAIRN_F_VALUE, &value);
	if (code == CAIRN_E_NOT_FOUND) {
		cairn_fail(&c->error, code, "that lock is free");
		cairn_hint(&c->error, "'cairn lock --list' shows those that are held");
	} else if (!code && !holder_read(first_result(r.fields), value, &h)) {
		code = cairn_fail(&c->error, CAIRN_E_INVALID, "that key is no lock of 'cairn lock'");
		cairn_hint(&c->error, "'cairn del' deletes any key");
	} else if (!code) {
		holder_say(first_result(r.fields), held, sizeof(held));
		request(c, &m, CAIRN_OP_DELETE);
		cairn_msg_bytes(&m, CAIRN_F_KEY, key->name);
		mark = cairn_msg_open(&m, CAIRN_F_GUARD);
		cairn_msg_bytes(&m, CAIRN_F_KEY, key->name);
		cairn_msg_u64(&m, CAIRN_F_FENCE, h.fence);
		cairn_msg_close(&m, mark);
		code = call(c, &m, &r);
	}
	if (!code && c->format == FORMAT_JSON) {
		out_json(c, r.fields);
	} else if (!code) {
		printf("revision %llu: ", (unsigned long long)cairn_field_u64(r.fields, CAIRN_F_REVISION, 0));
		text_escape(stdout, key->name, c->utf8, TEXT_BACKSLASH);
		out_line(" is free; it was %s", held);
	}
	cairn_reply_free(&r);
	return code;
}

/* What is wrong with the options and the number of operands; CAIRN_OK where nothing is. */
static enum cairn_code check(struct cli *c, const struct arguments *a, uint64_t *status)
{
	bool lists = argument(a, "list"), breaks = argument(a, "break");
	bool runs = !lists && !breaks;

	if (lists && breaks)
		cairn_fail(&c->error, CAIRN_E_INVALID, "lock: --list does not go with --break");
	else if (!runs && (argument(a, "wait") || argument(a, "ttl")))
		cairn_fail(&c->error, CAIRN_E_INVALID, "lock: --wait and --ttl are for a lock that is taken");
	else if (lists ? a->count > 1 : breaks ? a->count != 1 : a->count < 2)
		cairn_fail(&c->error, CAIRN_E_INVALID, "lock: %s",
			   lists              ? "--list takes one folder at most"
				   : breaks   ? "--break takes one key"
				   : a->count ? "the command is missing"
					      : "the key and the command are missing");
	else if (argument_number(a, "exit-status", status) && *status > 255)
		cairn_fail(&c->error, CAIRN_E_INVALID, "an exit status is 0 to 255, not %llu",
			   (unsigned long long)*status);
	else
		return CAIRN_OK;
	cairn_hint(&c->error,
		   "usage: cairn lock KEY COMMAND..., cairn lock --list [FOLDER], cairn lock --break KEY");
	return CAIRN_E_INVALID;
}

VERB(lock)
{
	struct key key = { 0 };
	uint64_t status = 0;
	enum cairn_code code = check(c, a, &status);

	if (!code && argument(a, "list"))
		return list(c, a->count ? &a->operand[0] : NULL);
	if (argument(a, "exit-status") && !code) {
		c->own_status = true;
		c->status = (int)status;
	}
	if (!code)
		code = key_take(c, &a->operand[0], &key);
	if (!code)
		code = argument(a, "break") ? break_lock(c, &key) : run_under(c, a, &key);
	key_free(&key);
	return code;
}
