/*
 * Operations on keys. A read is served in the loop from the store; where a disk would have to be waited for,
 * a worker does it. A write becomes a log command and goes to the key's shard. A scan is a stream of pages,
 * one a turn, that waits while its connection is full.
 */
#include <stddef.h>
#include <stdlib.h>
#include "clock.h"
#include "operation.h"
#include "banned.h"

static struct store *store_of(struct call *c)
{
	return shard_store(volume_shard(c->volume, cairn_slice(NULL, 0)));
}

/* A key as people see it in a sentence: cut, with control bytes and broken UTF-8 left out. */
static const char *shown(struct cairn_slice key, char *text, size_t size)
{
	const unsigned char *p = key.data;
	size_t n = 0;

	for (size_t i = 0; i < key.len && n + 1 < size; i++)
		text[n++] = p[i] < 0x20 || p[i] == 0x7f ? '?' : (char)p[i];
	text[n] = 0;
	return text;
}

/* Say which volume lacks the key, and where it would be found without the slash that people put in front. */
static void explain_not_found(struct call *c, struct cairn_slice fields)
{
	struct cairn_slice key;
	struct cairn_msg question = { 0 }, answer = { 0 };
	uint64_t past;
	char text[128];

	if (c->error.code != CAIRN_E_NOT_FOUND || !cairn_field_find(fields, CAIRN_F_KEY, &key))
		return;
	past = cairn_field_u64(fields, c->op == CAIRN_OP_REVERT ? CAIRN_F_REVISION : CAIRN_F_AT, 0);
	if (past)
		cairn_fail(&c->error, CAIRN_E_NOT_FOUND, "no key '%s' in volume %s at revision %llu",
			   shown(key, text, sizeof(text)), c->volume->name, (unsigned long long)past);
	else
		cairn_fail(&c->error, CAIRN_E_NOT_FOUND, "no key '%s' in volume %s",
			   shown(key, text, sizeof(text)), c->volume->name);
	if (past || key.len < 2 || *(const char *)key.data != '/')
		return;
	while (key.len && *(const char *)key.data == '/')
		key = cairn_slice((const char *)key.data + 1, key.len - 1);
	if (!key.len)
		return;
	cairn_msg_start(&question, CAIRN_OP_GET);
	cairn_msg_bytes(&question, CAIRN_F_KEY, key);
	cairn_msg_bool(&question, CAIRN_F_META_ONLY, true);
	cairn_msg_start(&answer, 0);
	cairn_hint(&c->error, "keys have no leading slash");
	if (store_get(store_of(c), cairn_message_fields(cairn_msg_slice(&question)), 0, &answer, NULL,
		      NULL) == CAIRN_OK)
		cairn_hint(&c->error, "keys have no leading slash; '%s' exists",
			   shown(key, text, sizeof(text)));
	cairn_msg_free(&question);
	cairn_msg_free(&answer);
}

/* One get, or the next page of a scan: 0, an error in C->error, or *AGAIN. Any thread. */
static void read_once(struct call *c, unsigned flags, bool *again)
{
	if (c->op == CAIRN_OP_GET)
		store_get(store_of(c), c->fields, flags, &c->answer, again, &c->error);
	else if (c->op == CAIRN_OP_HISTORY)
		store_history(store_of(c), c->fields, flags, OPERATION_PAGE, &c->answer, again, &c->error);
	else if (c->op == CAIRN_OP_VIEW && flags & STORE_NO_WAIT)
		*again = true;
	else if (c->op == CAIRN_OP_VIEW)
		store_view(store_of(c), c->fields, clock_boot_ns(), &c->answer, &c->error);
	else
		store_scan(store_of(c), cairn_message_fields(cairn_msg_slice(&c->write.command)), flags,
			   OPERATION_PAGE, &c->answer, again, &c->error);
}

static void page_done(struct call *c);

/* A local read says who served it, and how old its answer may be: not at all where there is one node. */
static void say_who(struct call *c)
{
	struct shard_role role;

	if (!cairn_field_bool(c->fields, CAIRN_F_LOCAL, false))
		return;
	shard_role(volume_shard(c->volume, cairn_slice(NULL, 0)), &role);
	cairn_msg_text(&c->answer, CAIRN_F_SERVED_BY, c->node->name);
	cairn_msg_u64(&c->answer, CAIRN_F_AGE_MS, role.age_ns / 1000000);
}

/* How long the key stays, beside the time when it goes. */
static void add_ttl(struct call *c)
{
	uint64_t now, expiry = 0;

	if (c->op == CAIRN_OP_GET && cairn_field_bool(c->fields, CAIRN_F_META_ONLY, false))
		expiry =
			cairn_field_u64(cairn_message_fields(cairn_msg_slice(&c->answer)), CAIRN_F_EXPIRY, 0);
	if (!expiry)
		return;
	now = shard_now(volume_shard(c->volume, cairn_slice(NULL, 0)));
	cairn_msg_u64(&c->answer, CAIRN_F_TTL_MS, expiry > now ? (expiry - now + 999999) / 1000000 : 0);
}

static void read_done(struct call *c)
{
	if (c->op == CAIRN_OP_SCAN) {
		page_done(c);
		return;
	}
	if (c->error.code) {
		explain_not_found(c, c->fields);
	} else {
		add_ttl(c);
		say_who(c);
	}
	call_done(c);
}

static void read_back(struct loop_task *t)
{
	read_done((struct call *)((char *)t - offsetof(struct call, back)));
}

static void read_at_work(struct pool_task *t)
{
	struct call *c = (struct call *)((char *)t - offsetof(struct call, work));
	bool again = false;

	read_once(c, 0, &again);
	c->back.run = read_back;
	loop_post(c->loop, &c->back);
}

/* A disk would have to be waited for: in a worker. */
static void read_elsewhere(struct call *c)
{
	if (c->keep(c)) {
		c->work.run = read_at_work;
		pool_post(c->node->pool, &c->work);
		return;
	}
	cairn_fail(&c->error, CAIRN_E_INTERNAL, "out of memory");
	read_done(c);
}

static void read_here(struct call *c);

static void read_confirmed(struct shard_read *q)
{
	struct call *c = (struct call *)((char *)q - offsetof(struct call, read));

	if (q->error.code) {
		c->error = q->error;
		call_done(c);
		return;
	}
	read_here(c);
}

/* Whether C may read at once; else it goes on when that is confirmed. */
static bool may_begin(struct call *c)
{
	struct shard *s = volume_shard(c->volume, cairn_slice(NULL, 0));

	if (!shard_asks(s) || cairn_field_bool(c->fields, CAIRN_F_LOCAL, false))
		return true;
	if (!c->keep(c)) {
		call_fail(c, CAIRN_E_INTERNAL, "out of memory");
		return false;
	}
	c->read =
		(struct shard_read){ .loop = c->loop, .deadline_ns = c->deadline_ns, .done = read_confirmed };
	return shard_read_begin(s, &c->read);
}

/* In the loop; without waiting where that works. */
static void read_here(struct call *c)
{
	bool again = false;

	if (shard_may_read(volume_shard(c->volume, cairn_slice(NULL, 0)), &c->error) == CAIRN_OK)
		read_once(c, STORE_NO_WAIT, &again);
	if (again)
		read_elsewhere(c);
	else
		read_done(c);
}

void reads_serve(struct reads *r)
{
	struct store_get gets[STORE_GETS];
	struct call *calls[STORE_GETS];
	size_t count = r->count, n = 0;

	r->count = 0;
	for (size_t i = 0; i < count; i++) {
		struct call *c = r->calls[i];

		/* Those of one volume go together, the others alone. */
		if (count == 1 || c->volume != r->calls[0]->volume ||
		    shard_may_read(volume_shard(c->volume, cairn_slice(NULL, 0)), &c->error)) {
			read_here(c);
			continue;
		}
		calls[n] = c;
		gets[n++] =
			(struct store_get){ .fields = c->fields, .answer = &c->answer, .error = &c->error };
	}
	if (n)
		store_get_many(store_of(calls[0]), gets, n, STORE_NO_WAIT);
	for (size_t i = 0; i < n; i++)
		if (gets[i].again)
			read_elsewhere(calls[i]);
		else
			read_done(calls[i]);
}

void op_read(struct call *c)
{
	if (!may_begin(c))
		return;
	if (c->op != CAIRN_OP_GET || !c->reads) {
		read_here(c);
		return;
	}
	c->reads->calls[c->reads->count++] = c;
	if (c->reads->count == STORE_GETS)
		reads_serve(c->reads);
}

/* The fields of a scan's next page, in C->write.command: as asked for, but from CURSOR on and with what is
 * left of the limit. */
static void ask_page(struct call *c, struct cairn_slice cursor)
{
	struct cairn_msg *m = &c->write.command;
	struct cairn_slice fields = c->fields, body;
	unsigned field;

	cairn_msg_start(m, CAIRN_OP_SCAN);
	cairn_msg_bytes(m, CAIRN_F_CURSOR, cursor);
	while (cairn_field_next(&fields, &field, &body) == 0 && field != CAIRN_F_END)
		if (field == CAIRN_F_LIMIT)
			cairn_msg_u64(m, field, cairn_body_u64(body) - c->rows);
		else if (field != CAIRN_F_CURSOR)
			cairn_msg_bytes(m, field, body);
	if (cairn_msg_error(m))
		cairn_fail(&c->error, CAIRN_E_INTERNAL, "out of memory");
}

/* How many rows there were; and where the next ones begin, when there are more than were asked for. */
static void scan_end(struct call *c)
{
	struct cairn_slice cursor;

	cairn_msg_start(&c->answer, 0);
	cairn_msg_u64(&c->answer, CAIRN_F_COUNT, c->rows);
	if (c->more &&
	    cairn_field_find(cairn_message_fields(cairn_msg_slice(&c->write.command)), CAIRN_F_CURSOR,
			     &cursor))
		cairn_msg_bytes(&c->answer, CAIRN_F_CURSOR, cursor);
	say_who(c);
	call_done(c);
}

/* After a page has been sent: the next one, or the end. */
static void scan_next(struct call *c)
{
	if (c->more && !c->cancelled && c->rows < cairn_field_u64(c->fields, CAIRN_F_LIMIT, UINT64_MAX))
		read_here(c);
	else
		scan_end(c);
}

static void scan_turn(struct loop_task *t)
{
	scan_next((struct call *)((char *)t - offsetof(struct call, back)));
}

/* A page stands in the answer: keep its cursor, send its rows, go on in the next turn. */
static void page_done(struct call *c)
{
	struct cairn_slice fields = cairn_message_fields(cairn_msg_slice(&c->answer)), body, cursor = { 0 };
	size_t rows_end = CAIRN_MESSAGE_HEAD, rows = 0;
	unsigned field;

	while (c->error.code == CAIRN_OK && cairn_field_next(&fields, &field, &body) == 0 &&
	       field != CAIRN_F_END)
		if (field == CAIRN_F_ROW) {
			rows++;
			rows_end = (size_t)((const unsigned char *)fields.data - c->answer.data);
		} else if (field == CAIRN_F_CURSOR) {
			cursor = body;
		}
	c->rows += rows;
	c->more = cursor.len != 0;
	if (c->more)
		ask_page(c, cursor);
	if (c->error.code) {
		call_done(c);
		return;
	}
	cairn_msg_truncate(&c->answer, rows_end);
	if (rows && !c->event(c))
		return;
	if (!c->more) {
		scan_end(c);
		return;
	}
	c->back.run = scan_turn;
	loop_post(c->loop, &c->back);
}

void op_scan(struct call *c)
{
	c->resume = scan_next;
	cairn_msg_start(&c->write.command, CAIRN_OP_SCAN);
	cairn_msg_fields(&c->write.command, c->fields);
	if (cairn_msg_error(&c->write.command) || !c->keep(c))
		call_fail(c, CAIRN_E_INTERNAL, "out of memory");
	else if (may_begin(c))
		read_here(c);
}

/* The store knows neither the volume's name nor how its settings are changed. */
static void explain_quota(struct call *c)
{
	if (c->error.code != CAIRN_E_QUOTA)
		return;
	cairn_error_prefix(&c->error, "volume %s", c->volume->name);
	cairn_hint(&c->error, "delete keys, or raise it: cairn volume set %s quota SIZE", c->volume->name);
}

static void write_done(struct shard_write *w)
{
	struct call *c = (struct call *)((char *)w - offsetof(struct call, write));

	if (w->error.code) {
		c->error = w->error;
		explain_not_found(c, cairn_message_fields(cairn_msg_slice(&w->command)));
		explain_quota(c);
	} else {
		cairn_msg_fields(&c->answer, cairn_message_fields(cairn_msg_slice(&w->answer)));
	}
	call_done(c);
}

/* The log command for C: who writes, then the arguments. */
static void build_command(struct call *c)
{
	static const unsigned char head[] = { CAIRN_F_CLIENT, CAIRN_F_SEQUENCE, CAIRN_F_LOWEST,
					      CAIRN_F_BORN };
	struct cairn_msg *m = &c->write.command;
	struct cairn_slice fields = c->fields, body;
	unsigned field;

	cairn_msg_start(m, c->op);
	for (size_t i = 0; i < sizeof(head); i++)
		if (cairn_field_find(c->fields, head[i], &body))
			cairn_msg_bytes(m, head[i], body);
	cairn_msg_text(m, CAIRN_F_AUTHOR, c->author);
	if (cairn_field_find(c->fields, CAIRN_F_FACE, &body))
		cairn_msg_bytes(m, CAIRN_F_FACE, body);
	else
		cairn_msg_text(m, CAIRN_F_FACE, c->face);
	while (cairn_field_next(&fields, &field, &body) == 0 && field != CAIRN_F_END)
		if (field != CAIRN_F_VOLUME && field != CAIRN_F_TIMEOUT_MS && field != CAIRN_F_FACE &&
		    !memchr(head, (int)field, sizeof(head)))
			cairn_msg_bytes(m, field, body);
}

void op_write(struct call *c)
{
	struct cairn_slice key = { 0 };
	struct shard_write *w = &c->write;
	struct shard *shard;

	cairn_field_find(c->fields, CAIRN_F_KEY, &key);
	shard = volume_shard(c->volume, key);
	build_command(c);
	if (cairn_msg_error(&w->command)) {
		call_fail(c, CAIRN_E_INTERNAL, "out of memory");
		return;
	}
	if (store_check(shard_store(shard), c->op, c->fields, &c->error)) {
		call_done(c);
		return;
	}
	cairn_msg_start(&w->answer, 0);
	w->error.code = CAIRN_OK;
	w->loop = c->loop;
	w->deadline_ns = c->deadline_ns;
	w->done = write_done;
	shard_write(shard, w);
}
