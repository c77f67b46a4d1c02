/*
 * watch: changes as lines, as JSON, or as runs of a command; and get --watch. libcairn sees to it that each
 * change comes once, whatever becomes of the daemon; here is one loop that waits for it, for the command, and
 * for a reader of our output who has gone.
 */
#include <poll.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "watch.h"
#include "banned.h"

struct watcher {
	struct cli *c;
	struct cairn *client;
	void (*event)(struct watcher *w, struct cairn_slice fields);
	struct runner runner;
	uint64_t left; /* events to be shown; 0: no limit */
	bool over;     /* no more events are wanted */
	bool changed;  /* of get --watch: there is something new */
	enum cairn_code code;
};

static void on_reply(void *arg, struct cairn_reply *r)
{
	struct watcher *w = arg;

	if (w->over)
		return;
	if (r->event) {
		w->event(w, r->fields);
		return;
	}
	w->over = true;
	w->code = r->code;
	w->c->error = r->error;
}

/* Wait until the daemon says something, a command ends, or the reader of our output is gone. */
static void wait_for(struct watcher *w)
{
	struct pollfd fds[4] = {
		{ .fd = w->over || w->runner.count >= RUNNER_MAX ? -1 : cairn_fd(w->client),
		  .events = POLLIN },
		{ .fd = w->runner.signals, .events = POLLIN },
		{ .fd = w->runner.child, .events = POLLIN },
		{ .fd = STDOUT_FILENO, .events = 0 },
	};

	if (poll(fds, 4, -1) > 0 && fds[3].revents & POLLERR && !w->runner.command)
		w->over = true;
}

/* Send the request M, and hand over what comes until it is enough. STEP, where there is one, is called in
 * between. */
static enum cairn_code watch_all(struct watcher *w, struct cairn_msg *m, void (*step)(struct watcher *w))
{
	uint64_t id;

	w->client = cli_client(w->c);
	if (!w->client)
		return w->c->error.code;
	w->code = cairn_watch(w->client, m, on_reply, w, &id);
	cairn_msg_free(m);
	if (w->code)
		return cairn_fail(&w->c->error, w->code, "the request cannot be sent: %s",
				  cairn_error_row(w->code)->meaning);
	for (;;) {
		if (!w->over && w->runner.count < RUNNER_MAX)
			cairn_dispatch(w->client, 0);
		if (step)
			step(w);
		runner_step(&w->runner);
		if (fflush(stdout) || w->code || runner_over(&w->runner) ||
		    (w->over && !runner_busy(&w->runner)))
			break;
		wait_for(w);
	}
	cairn_cancel(w->client, id);
	return w->code;
}

/* --- events as lines --- */

static void show_text(const struct cli *c, struct cairn_slice text)
{
	if (text.len)
		text_escape(stdout, text, c->utf8, 0);
}

/* 10:06:12  append  app/web.conf  revision 8  30 bytes  ops@n2  mount */
static void show_line(const struct cli *c, struct cairn_slice fields, const char *kind)
{
	struct cairn_slice key = { 0 }, other, author = { 0 }, face = { 0 };
	time_t seconds = (time_t)(cairn_field_u64(fields, CAIRN_F_TIME, 0) / 1000000000);
	bool deleted = cairn_field_bool(fields, CAIRN_F_DELETED, false);
	struct tm tm = { 0 };

	cairn_field_find(fields, CAIRN_F_KEY, &key);
	localtime_r(&seconds, &tm);
	printf("%02d:%02d:%02d  %s  ", tm.tm_hour, tm.tm_min, tm.tm_sec, kind);
	text_quote(stdout, key, c->utf8);
	if (cairn_field_find(fields, CAIRN_F_OTHER, &other)) {
		fputs(deleted || cairn_field_bool(fields, CAIRN_F_FOLDER, false) ? "  to " : "  from ",
		      stdout);
		text_quote(stdout, other, c->utf8);
	}
	printf("  revision %llu", (unsigned long long)cairn_field_u64(fields, CAIRN_F_REVISION, 0));
	if (cairn_field_find(fields, CAIRN_F_SIZE, &other) && !deleted) {
		uint64_t size = cairn_body_u64(other);

		printf("  %llu byte%s", (unsigned long long)size, size == 1 ? "" : "s");
	}
	if (cairn_field_bool(fields, CAIRN_F_OPEN, false))
		fputs("  open", stdout);
	if (cairn_field_find(fields, CAIRN_F_AUTHOR, &author)) {
		fputs("  ", stdout);
		show_text(c, author);
	}
	if (cairn_field_find(fields, CAIRN_F_FACE, &face)) {
		fputs("  ", stdout);
		show_text(c, face);
	}
	putchar('\n');
}

static void show_plain(const struct cli *c, struct cairn_slice fields, const char *kind)
{
	static const unsigned texts[] = { CAIRN_F_AUTHOR, CAIRN_F_FACE, CAIRN_F_OTHER };
	struct cairn_slice body = { 0 };
	char when[TEXT_TIME];

	text_time(cairn_field_u64(fields, CAIRN_F_TIME, 0), false, when);
	cairn_field_find(fields, CAIRN_F_KEY, &body);
	printf("%s\t%s\t", when, kind);
	text_escape(stdout, body, c->utf8, TEXT_BACKSLASH);
	printf("\t%llu\t", (unsigned long long)cairn_field_u64(fields, CAIRN_F_REVISION, 0));
	if (cairn_field_bool(fields, CAIRN_F_DELETED, false) ||
	    !cairn_field_find(fields, CAIRN_F_SIZE, &body))
		putchar('-');
	else
		printf("%llu", (unsigned long long)cairn_body_u64(body));
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		putchar('\t');
		if (cairn_field_find(fields, texts[i], &body))
			text_escape(stdout, body, c->utf8, TEXT_BACKSLASH);
	}
	putchar('\n');
}

static void on_change(struct watcher *w, struct cairn_slice fields)
{
	bool initial = cairn_field_bool(fields, CAIRN_F_INITIAL, false);
	char kind[24];

	field_text(fields, CAIRN_F_CHANGE, kind, sizeof(kind));
	if (!kind[0] && !initial) /* it only says where we are */
		return;
	if (w->runner.command && cairn_field_bool(fields, CAIRN_F_OPEN, false))
		return; /* its content follows */
	if (w->runner.command)
		w->code = runner_add(&w->runner, fields, &w->c->error);
	else if (w->c->format == FORMAT_JSON)
		out_json(w->c, fields);
	else
		(w->c->format == FORMAT_PLAIN ? show_plain : show_line)(w->c, fields,
									initial ? "initial" : kind);
	w->over = w->code || (w->left && --w->left == 0);
}

/* Where to begin: a revision, or behind the one of a time. */
static enum cairn_code add_from(struct cli *c, struct cairn_msg *m, const char *text)
{
	struct past past = { 0 };
	uint64_t revision;
	enum cairn_code code = CAIRN_OK;

	if (!text_number(text, &revision)) {
		code = past_operand(c, text, false, &past);
		revision = past.revision + 1;
	}
	cairn_msg_u64(m, CAIRN_F_REVISION, revision);
	return code;
}

static enum cairn_code add_key(struct cli *c, struct cairn_msg *m, const struct word *word, struct key *k)
{
	bool folder = word->len == 0 || word->text[word->len - 1] == '/';
	enum cairn_code code = folder ? folder_take(c, word, k) : key_take(c, word, k);

	if (code)
		return code;
	request(c, m, CAIRN_OP_WATCH); /* which only now has the volume of a mount */
	folder = !k->name.len || ((const char *)k->name.data)[k->name.len - 1] == '/';
	cairn_msg_bytes(m, folder ? CAIRN_F_PREFIX : CAIRN_F_KEY, k->name);
	return CAIRN_OK;
}

/* On a terminal: KEY, which is watched alone, is a folder as well, and that is what people mean. */
static void say_folder(struct cli *c, struct cairn_slice key)
{
	struct cairn_error error = c->error;

	if (!c->err_terminal || !key.len || ((const char *)key.data)[key.len - 1] == '/')
		return;
	c->error = (struct cairn_error){ 0 };
	hint_folder(c, key, "with '/' behind its name all in it is watched");
	if (*c->error.hint)
		fprintf(stderr, "hint: %s\n", c->error.hint);
	c->error = error;
}

VERB(watch)
{
	struct watcher w = { .c = c, .event = on_change };
	const char *from = argument(a, "from");
	struct cairn_msg m = { 0 };
	struct key k;
	enum cairn_code code = CAIRN_OK;

	if (from && argument(a, "initial"))
		return cairn_fail(&c->error, CAIRN_E_INVALID, "--from and --initial are one too many");
	if (argument_number(a, "count", &w.left) && !w.left)
		return CAIRN_OK;
	code = add_key(c, &m, &a->operand[0], &k);
	if (code)
		return code;
	if (argument(a, "initial"))
		cairn_msg_bool(&m, CAIRN_F_INITIAL, true);
	if (from)
		code = add_from(c, &m, from);
	say_folder(c, k.name);
	if (!code)
		code = runner_begin(&w.runner, c, argument(a, "exec"));
	if (!code) {
		code = watch_all(&w, &m, NULL);
		runner_end(&w.runner);
	}
	if (!code)
		c->status = w.runner.status;
	cairn_msg_free(&m);
	key_free(&k);
	return code;
}

/* --- get --watch --- */

static void on_news(struct watcher *w, struct cairn_slice fields)
{
	(void)fields;
	w->changed = true;
}

struct shown {
	struct watcher w;
	changed_fn *changed;
	void *arg;
};

static void on_step(struct watcher *w)
{
	struct shown *s = (struct shown *)w;

	while (w->changed && !w->over) {
		w->changed = false;
		w->code = s->changed(s->arg);
		w->over = w->over || w->code;
	}
}

enum cairn_code watch_key(struct cli *c, struct cairn_slice key, changed_fn *changed, void *arg)
{
	struct shown s = { .w = { .c = c, .event = on_news }, .changed = changed, .arg = arg };
	struct cairn_msg m = { 0 };
	enum cairn_code code = runner_begin(&s.w.runner, c, NULL);

	if (code)
		return code;
	request(c, &m, CAIRN_OP_WATCH);
	cairn_msg_bytes(&m, CAIRN_F_KEY, key);
	return watch_all(&s.w, &m, on_step);
}
