/*
 * The gateway: clients, and the way of a request. Requests are read as they come and begun at once: writes
 * behind writes that are under way, reads behind reads. Everything else waits until what is before it has
 * been answered, so that a pipeline sees its own writes, and replies stand in order. A request that ends
 * before an older one is kept until its turn. Nothing is allocated for a request that has no more words than
 * usual.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "families.h"
#include "banned.h"

#define ENDED (1ull << 63)   /* in a request's tag: it has ended, and waits for older ones */
#define WRAPPED (1ull << 62) /* its operations stand in a transaction */
#define TAG ((1ull << 48) - 1)

uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void *client_out(struct client *c, size_t n)
{
	return c->host->out(c->connection, n);
}

void client_end(struct client *c)
{
	c->ending = true;
	c->host->end(c->connection, false);
}

const char *client_volume(const struct client *c)
{
	return c->g->volumes[c->db];
}

void add_volume(struct client *c, struct cairn_request *r)
{
	if (!c->g->is_main[c->db])
		cairn_msg_text(r->arguments, CAIRN_F_VOLUME, client_volume(c));
}

void ask_count(struct ask *q, size_t n)
{
	if (n > 1)
		ask_wrap(q);
}

void ask_wrap(struct ask *q)
{
	if (q->nested)
		return;
	q->nested = true;
	q->op = CAIRN_OP_TXN;
	if (!q->whole)
		cairn_msg_bool(q->m, CAIRN_F_EACH, true);
}

void ask_value(struct ask *q, struct cairn_slice value)
{
	if (value.len > LARGE && q->c->uploaded) {
		cairn_msg_bytes(q->m, CAIRN_F_UPLOAD, cairn_slice(q->c->upload, sizeof(q->c->upload)));
		cairn_msg_u64(q->m, CAIRN_F_SIZE, value.len);
	} else {
		cairn_msg_bytes(q->m, CAIRN_F_VALUE, value);
	}
}

void ask_begin(struct ask *q, unsigned op, struct cairn_slice key)
{
	if (q->nested)
		q->mark = cairn_msg_open_op(q->m, q->list ? q->list : CAIRN_F_THEN, op);
	else
		q->op = op;
	q->count++;
	cairn_msg_bytes(q->m, CAIRN_F_KEY, key);
}

void ask_end(struct ask *q)
{
	if (q->nested)
		cairn_msg_close(q->m, q->mark);
}

void ask_if_exists(struct ask *q, struct cairn_slice key, bool exists)
{
	size_t mark = cairn_msg_open(q->m, CAIRN_F_GUARD);

	cairn_msg_bytes(q->m, CAIRN_F_KEY, key);
	cairn_msg_bool(q->m, CAIRN_F_EXISTS, exists);
	cairn_msg_close(q->m, mark);
}

bool ask_fail(struct ask *q, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(q->error, sizeof(q->error), format, args);
	va_end(args);
	return false;
}

void tell_error(struct client *c, const struct result *r)
{
	const char *prefix = cairn_error_row(r->code)->resp;

	reply_error(c, "%s %.*s", prefix, (int)(r->message.len < 500 ? r->message.len : 500),
		    (const char *)r->message.data);
}

static struct result result_of(const struct cairn_request *r)
{
	struct result result = { .fields = r->answer };

	if (r->error) {
		result.code = r->error->code;
		result.message = cairn_str(r->error->message);
	}
	return result;
}

struct result result_item(struct cairn_slice fields)
{
	struct result result = { .fields = fields };
	struct cairn_slice name;

	if (cairn_field_find(fields, CAIRN_F_CODE, &name)) {
		result.code = cairn_error_by_name(name.data, name.len);
		cairn_field_find(fields, CAIRN_F_MESSAGE, &result.message);
	}
	return result;
}

/* Write the reply to R, whose turn it is. */
static void tell(struct client *c, struct cairn_request *r)
{
	const struct command *command = r->priv;
	struct result results[64], *all = results;
	struct cairn_slice rest = r->answer, body;
	size_t count = 0, cap = 64;
	unsigned field;

	if (c->tracking && command->flags & CMD_WRITE && !r->error)
		track_own(c, cairn_field_u64(r->answer, CAIRN_F_REVISION, 0));
	if (!(r->tag & WRAPPED) || r->error) {
		results[0] = result_of(r);
		if (r->error && r->tag & WRAPPED)
			tell_error(c, results);
		else
			command->tell(c, r->tag & TAG, results, 1);
		if (c->big.size)
			large_begin(c, r);
		return;
	}
	while (cairn_field_next(&rest, &field, &body) == 0 && field) {
		if (field != CAIRN_F_RESULT)
			continue;
		if (count == cap) {
			struct result *more = realloc(all == results ? NULL : all, 2 * cap * sizeof(*more));

			if (!more)
				break;
			if (all == results)
				memcpy(more, results, sizeof(results));
			all = more;
			cap *= 2;
		}
		all[count++] = result_item(body);
	}
	command->tell(c, r->tag & TAG, all, count);
	if (all != results)
		free(all);
}

static void pop(struct client *c)
{
	c->first = c->first->next;
	if (!c->first)
		c->tail = &c->first;
}

/* Answer those that have ended before their turn. */
static void tell_ended(struct client *c)
{
	while (c->first && c->first->tag & ENDED && !c->big.request) {
		struct cairn_request *next = c->first;

		tell(c, next);
		pop(c);
		c->host->finish(next);
	}
}

static bool on_done(void *state, struct cairn_request *r)
{
	struct client *c = state;

	if (r == c->step) {
		c->stepped = true;
		return false;
	}
	if (r == c->big.request) {
		if (large_done(c, r))
			tell_ended(c);
		return true;
	}
	if (c->watches && notify_done(c, r))
		return true;
	if (r != c->first || c->big.request) {
		r->tag |= ENDED;
		return false;
	}
	tell(c, r);
	pop(c);
	tell_ended(c);
	if (c->tracking && !c->first && track_is_late(c))
		track_late(c);
	return true;
}

/* A step has found keys. */
static void on_event(void *state, struct cairn_request *r)
{
	struct client *c = state;
	struct cairn_slice rest = r->answer, row, key;
	unsigned field;

	if (r->op == CAIRN_OP_WATCH)
		notify_event(c, r);
	if (r != c->step)
		return;
	while (cairn_field_next(&rest, &field, &row) == 0 && field) {
		if (field != CAIRN_F_ROW || !cairn_field_find(row, CAIRN_F_KEY, &key) ||
		    (c->match.len && !glob_match(c->match, key)))
			continue;
		buffer_printf(&c->found, "$%zu\r\n", key.len);
		buffer_add(&c->found, key);
		buffer_text(&c->found, "\r\n");
		c->found_count++;
	}
	if (c->found.len > c->g->request_max)
		c->host->cancel(r);
}

struct cairn_request *step_new(struct client *c, unsigned op)
{
	struct cairn_request *r = c->host->request(c->connection);

	if (!r)
		return NULL;
	r->op = op;
	c->step = r;
	c->stepped = false;
	add_volume(c, r);
	return r;
}

enum run step_start(struct client *c)
{
	c->host->start(c->step);
	return RUN_WAIT;
}

void step_end(struct client *c)
{
	struct cairn_request *r = c->step;

	c->step = NULL;
	c->stepped = false;
	c->host->finish(r);
}

struct result step_result(const struct client *c)
{
	return result_of(c->step);
}

/* Begin R, which was asked for by COMMAND, behind what is under way. */
static void start(struct client *c, const struct command *command, struct cairn_request *r)
{
	r->priv = (void *)command;
	r->next = NULL;
	*c->tail = r;
	c->tail = &r->next;
	c->writing = command->flags & CMD_WRITE;
	c->host->start(r);
}

/* Begin a read for each key of A; false where the rest has to wait. */
static bool begin_each(struct client *c, const struct command *command, const struct args *a)
{
	while (c->index + 1 < a->count) {
		struct args one = { (struct cairn_slice[]){ a->at[0], a->at[c->index + 1] }, 2 };
		struct cairn_request *r;
		struct ask q = { .c = c };

		if (c->host->full(c->connection))
			return false;
		r = c->host->request(c->connection);
		if (!r) {
			client_end(c);
			return true;
		}
		q.m = r->arguments;
		add_volume(c, r);
		command->ask(&q, &one);
		r->op = q.op;
		r->tag = (c->index == 0 ? EACH_FIRST : 0) | (c->index + 2 == a->count ? EACH_LAST : 0) |
			(a->count - 1) << 8;
		c->index++;
		start(c, command, r);
	}
	c->index = 0;
	return true;
}

/* Begin COMMAND; false where it has to wait. */
static bool begin(struct client *c, const struct command *command, const struct args *a, bool *look)
{
	struct cairn_request *r = c->host->request(c->connection);
	struct ask q = { .c = c };

	if (!r) {
		client_end(c);
		return true;
	}
	q.m = r->arguments;
	add_volume(c, r);
	if (!command->ask(&q, a)) {
		c->host->finish(r);
		*look = q.look;
		if (c->first || q.look)
			return false;
		reply_error(c, "%s", q.error);
		return true;
	}
	r->op = q.op;
	r->tag = q.tag | (q.nested ? WRAPPED : 0);
	c->uploaded = false;
	start(c, command, r);
	return true;
}

static bool arity_fits(const struct command *command, size_t count)
{
	return command->arity < 0 ? count >= (size_t)-command->arity : count == (size_t)command->arity;
}

/* Whether COMMAND may begin while others are under way. */
static bool may_begin(const struct client *c, const struct command *command)
{
	return !c->first || (command && command->flags & (c->writing ? CMD_WRITE : CMD_READ) && command->ask);
}

static void not_known(struct client *c, const struct args *a)
{
	const char *instead = command_instead(a->at[0]);
	char text[200] = "";
	size_t n = 0;

	if (instead) {
		reply_error(c, "ERR cairn has no '%.*s': %s", (int)(a->at[0].len < 64 ? a->at[0].len : 64),
			    (const char *)a->at[0].data, instead);
		return;
	}
	for (size_t i = 1; i < a->count && n < 128; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "'%.*s' ",
				      (int)(a->at[i].len < 128 - n ? a->at[i].len : 128 - n),
				      (const char *)a->at[i].data);
	reply_error(c, "ERR unknown command '%.*s', with args beginning with: %s",
		    (int)(a->at[0].len < 128 ? a->at[0].len : 128), (const char *)a->at[0].data, text);
}

/* Whether A may be served as COMMAND; else an error was told. */
static bool check(struct client *c, const struct command *command, const struct args *a)
{
	bool quiet = c->proto < 3 && c->subscriptions;

	if (!command)
		not_known(c, a);
	else if (!arity_fits(command, a->count) && command->run == run_exec)
		return multi_end(c),
		       reply_error(c,
				   "EXECABORT Transaction discarded because of: wrong number of arguments "
				   "for 'exec' "
				   "command"),
		       false;
	else if (!arity_fits(command, a->count))
		reply_error(c, "ERR wrong number of arguments for '%s' command", command->name);
	else if (!(command->flags & CMD_NO_AUTH) && !c->host->admitted(c->connection))
		reply_error(c, "NOAUTH Authentication required.");
	else if (c->multi && command->flags & CMD_NO_MULTI)
		reply_error(c, "ERR Command not allowed inside a transaction");
	else if (quiet && !(command->flags & CMD_PUBSUB))
		reply_error(c,
			    "ERR Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / "
			    "RESET are "
			    "allowed in this context",
			    command->name);
	else
		return true;
	c->multi_bad = c->multi;
	return false;
}

/* Take the next step, or all that are possible now. */
static bool run(struct client *c, const struct command *command, const struct args *a)
{
	enum run run;

	if (c->step && !c->stepped)
		return false;
	do
		run = command->run(c, a);
	while (run == RUN_WAIT && c->step && c->stepped);
	if (run == RUN_DONE)
		c->phase = 0;
	return run == RUN_DONE;
}

/* Whether just one word is too long for an operation. */
static bool has_large(const struct args *a)
{
	unsigned n = 0;

	for (size_t i = 1; i < a->count; i++)
		n += a->at[i].len > LARGE;
	return n == 1;
}

/* Serve one request; false where it has to wait for what is under way. */
static bool serve(struct client *c, const struct args *a)
{
	const struct command *command = c->serving;
	bool look = false;

	if (!command) { /* for the first time */
		command = command_find(c->g, a->at[0]);
		if (!may_begin(c, command) || c->big.request)
			return false;
		if (!c->first || !command || !arity_fits(command, a->count)) {
			if (c->first)
				return false;
			if (!check(c, command, a))
				return true;
		}
		c->last = command;
		c->g->commands++;
		if (c->multi && !(command->flags & CMD_NOW)) {
			multi_queue(c, command, a);
			return true;
		}
		c->serving = command;
		if (c->tracking)
			track_command(c, command, a);
	}
	if (command->ask && command->flags & CMD_DENYOOM && !c->uploaded && has_large(a)) {
		if (c->first || !large_stage(c, a))
			return false;
	}
	if (command->ask && !c->looking) {
		if (command->flags & CMD_EACH ? !begin_each(c, command, a) : !begin(c, command, a, &look)) {
			if (!look)
				return false;
			c->looking = true;
		} else {
			c->serving = NULL;
			return true;
		}
	}
	if (c->first || !run(c, command, a))
		return false;
	c->serving = NULL;
	c->looking = false;
	return true;
}

void serve_now(struct client *c, const struct command *command, const struct args *a)
{
	command->run(c, a);
}

static size_t on_data(void *state, struct cairn_slice in, size_t *need)
{
	struct client *c = state;
	size_t taken = 0;

	c->last_ms = now_ms();
	while (!c->ending) {
		struct cairn_slice rest = cairn_slice((const char *)in.data + taken, in.len - taken);
		const char *why = "";
		enum reader_result e;

		if (c->host->full(c->connection)) {
			c->host->wait(c->connection);
			break;
		}
		e = reader_read(&c->reader, rest, need, &why);
		if (e == READER_MORE)
			break;
		if (e == READER_BAD) {
			if (c->first) {
				c->host->wait(c->connection);
				break;
			}
			reply_error(c, "ERR %s", why);
			client_end(c);
			return in.len;
		}
		if (c->reader.count) {
			struct args a = { reader_args(&c->reader, rest), c->reader.count };

			if (!a.at) {
				client_end(c);
				break;
			}
			if (!serve(c, &a)) {
				c->host->wait(c->connection);
				break;
			}
		}
		taken += c->reader.pos;
		reader_next(&c->reader);
	}
	return taken;
}

static void *on_accept(void *handle, struct cairn_connection *connection)
{
	struct gateway *g = handle;
	struct client *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->g = g;
	c->host = g->host;
	c->connection = connection;
	c->id = ++g->next_id;
	c->proto = 2;
	c->born_ms = now_ms();
	c->tail = &c->first;
	c->reader.limit = g->request_max;
	c->reader.small = !c->host->admitted(connection);
	c->next = g->clients;
	c->at = &g->clients;
	if (c->next)
		c->next->at = &c->next;
	g->clients = c;
	return c;
}

static void on_closed(void *state)
{
	struct client *c = state;

	*c->at = c->next;
	if (c->next)
		c->next->at = c->at;
	reader_free(&c->reader);
	buffer_free(&c->found);
	buffer_free(&c->ends);
	buffer_free(&c->big.key);
	buffer_free(&c->big.value);
	multi_end(c);
	watch_end(c);
	notify_free(c);
	free(c);
}

static const struct cairn_param resp_params[] = {
	{ "volumes", CAIRN_PARAM_TEXT, "main", false,
	  "volumes that SELECT 0, SELECT 1 … stand for, separated by blanks or commas" },
	{ "request-max", CAIRN_PARAM_SIZE, "64M", false, "longest request that is taken" },
	{ NULL, 0, NULL, false, NULL },
};

static void on_close(void *handle)
{
	struct gateway *g = handle;

	for (unsigned i = 0; i < g->volume_count; i++)
		free(g->volumes[i]);
	for (unsigned i = 0; i < CURSORS; i++)
		free(g->cursors[i].bytes);
	free(g);
}

static enum cairn_code on_open(const struct cairn_gateway_host *host, const struct cairn_value *values,
			       void **handle, struct cairn_error *error)
{
	struct gateway *g = calloc(1, sizeof(*g));
	const char *p = values[0].text;

	if (!g)
		return cairn_fail(error, CAIRN_E_INTERNAL, "no memory");
	g->host = host;
	g->started_ms = now_ms();
	g->request_max = values[1].number;
	while (*(p += strspn(p, " ,\t")) && g->volume_count < VOLUMES_MAX) {
		size_t n = strcspn(p, " ,\t");
		char *name = strndup(p, n);

		if (!name) {
			on_close(g);
			return cairn_fail(error, CAIRN_E_INTERNAL, "no memory");
		}
		g->is_main[g->volume_count] = !strcmp(name, "main");
		g->volumes[g->volume_count++] = name;
		p += n;
	}
	if (*p || !g->volume_count) {
		on_close(g);
		return cairn_fail(error, CAIRN_E_INVALID, "parameter volumes names 1 to %d volumes",
				  VOLUMES_MAX);
	}
	commands_index(g);
	*handle = g;
	return CAIRN_OK;
}

static struct cairn_gateway resp = {
	.name = "resp",
	.help = "the Redis protocol, versions 2 and 3, for the clients that everybody has",
	.face = "redis",
	.params = resp_params,
	.open = on_open,
	.close = on_close,
	.accept = on_accept,
	.data = on_data,
	.done = on_done,
	.event = on_event,
	.closed = on_closed,
};

CAIRN_GATEWAY_REGISTER(resp)
