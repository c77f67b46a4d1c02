/*
 * Applying: each command of a batch in turn writes into the pending rows or, where it fails, leaves no trace;
 * then all of it goes into the engine as one batch with the meta row in it. A failure of the engine or of
 * memory stops the store.
 */
#include <errno.h>
#include <stdlib.h>
#include "requests.h"
#include "le.h"
#include "banned.h"

static operation_fn *const operations[CAIRN_OPERATION_COUNT] = {
	[CAIRN_OP_PUT] = op_put,
	[CAIRN_OP_DELETE] = op_delete,
	[CAIRN_OP_GET] = op_get,
	[CAIRN_OP_TXN] = op_txn,
	[CAIRN_OP_SET_ATTRIBUTES] = op_set_attributes,
	[CAIRN_OP_MOVE] = op_move,
	[CAIRN_OP_MOVE_PREFIX] = op_move_prefix,
	[CAIRN_OP_STAGE] = op_stage,
	[CAIRN_OP_UNSTAGE] = op_unstage,
	[CAIRN_OP_COPY] = op_copy,
	[CAIRN_OP_COPY_PREFIX] = op_copy_prefix,
	[CAIRN_OP_DELETE_PREFIX] = op_delete_prefix,
	[CAIRN_OP_APPEND] = op_append,
	[CAIRN_OP_PATCH] = op_patch,
	[CAIRN_OP_SWAP] = op_swap,
	[CAIRN_OP_CONFIGURE] = op_configure,
	[CAIRN_OP_REVERT] = op_revert,
	[CAIRN_OP_REVERT_PREFIX] = op_revert_prefix,
	[CAIRN_OP_PURGE] = op_purge,
	[CAIRN_OP_EXPIRE] = op_expire,
	[CAIRN_OP_PERSIST] = op_persist,
	[CAIRN_OP_INCREMENT] = op_increment,
	[CAIRN_OP_EXPIRE_DUE] = op_expire_due,
	[CAIRN_OP_NOTHING] = op_nothing,
	[CAIRN_OP_MEMBERS] = op_members,
};

enum cairn_code work_operation(struct work *w, unsigned op, const struct args *a)
{
	enum cairn_code code = args_check(op, a, w->error);

	return code ? code : operations[op](w, a);
}

struct mark work_mark(const struct work *w)
{
	return (struct mark){ w->s->meta, pending_mark(&w->s->pending), w->answer->len, w->s->feed.fresh.len,
			      w->ordinal };
}

void work_undo(struct work *w, const struct mark *m)
{
	w->s->meta = m->meta;
	pending_undo(&w->s->pending, m->pending);
	cairn_msg_truncate(w->answer, m->answer);
	w->s->feed.fresh.len = m->fresh;
	w->ordinal = m->ordinal;
}

static enum cairn_code do_command(struct work *w, unsigned op, const struct args *a)
{
	struct mark m = work_mark(w);
	bool hold = true;
	enum cairn_code code = CAIRN_OK;

	if (op != CAIRN_OP_TXN && args_has(a, CAIRN_F_GUARD))
		code = guards_hold(w, a, &hold);
	if (!code)
		code = hold ? work_operation(w, op, a) : CAIRN_E_CONFLICT;
	if (!code)
		code = quota_holds(w, &m);
	if (code) {
		work_undo(w, &m);
		return code;
	}
	if (w->ordinal)
		w->s->meta.revision = w->revision;
	cairn_msg_u64(w->answer, CAIRN_F_REVISION, w->s->meta.revision);
	return CAIRN_OK;
}

/* DO a command whose client wants its result again where it was done already. */
static enum cairn_code do_once(struct work *w, unsigned op, const struct args *a, uint64_t index)
{
	struct request q;
	bool done;
	enum cairn_code code = requests_begin(w, op, a, &q, &done);

	if (!done) {
		code = do_command(w, op, a);
		if (!w->s->stop.code && !q.known_result)
			requests_end(w, &q, index, code);
	}
	cairn_msg_u64(w->answer, CAIRN_F_APPLIED, index);
	return code;
}

/* A command that this release does not know: going on would make this replica differ from the others. */
static enum cairn_code not_known(struct store *s, const struct store_command *c)
{
	return cairn_fail(&s->stop, CAIRN_E_UNSUPPORTED,
			  "the command at index %llu is not known to this release (operation %u): a newer "
			  "one is needed",
			  (unsigned long long)c->position.index, cairn_message_number(c->message));
}

static void apply_one(struct store *s, struct store_command *c, const struct ahead *ahead)
{
	unsigned op = cairn_message_number(c->message);
	const struct args *a = &ahead->args;
	struct cairn_error unused;
	struct work w = {
		.s = s,
		.ahead = ahead,
		.answer = c->answer ? c->answer : &s->scratch,
		.error = c->error ? c->error : &unused,
	};

	if (!args_is_write(op) || !ahead->parsed) {
		c->code = not_known(s, c);
		return;
	}
	cairn_msg_start(w.answer, 0);
	w.error->code = CAIRN_OK;
	s->meta.position = c->position;
	if (args_u64(a, CAIRN_F_TIME, 0) > s->meta.clock_ns)
		s->meta.clock_ns = args_u64(a, CAIRN_F_TIME, 0);
	w.time_ns = s->meta.clock_ns;
	w.revision = s->meta.revision + 1;
	if (expiry_due(&w)) /* the store has stopped */
		return;
	w.author = args_bytes(a, CAIRN_F_AUTHOR);
	w.face = args_bytes(a, CAIRN_F_FACE);
	w.client = args_bytes(a, CAIRN_F_CLIENT);
	if (requests_evict(&w) == CAIRN_OK)
		c->code = args_has(a, CAIRN_F_CLIENT) ? do_once(&w, op, a, c->position.index)
						      : do_command(&w, op, a);
	pending_keep(&s->pending);
	if (cairn_msg_error(w.answer) && !s->stop.code)
		cairn_fail(&s->stop, CAIRN_E_INTERNAL, "no memory left for an answer");
}

static int make_room(struct store *s, size_t n)
{
	size_t cap = s->write_cap ? s->write_cap : 256;
	void *writes, *pieces, *sums;

	if (n <= s->write_cap)
		return 0;
	while (cap < n)
		cap *= 2;
	writes = realloc(s->writes, cap * sizeof(*s->writes));
	s->writes = writes ? writes : s->writes;
	pieces = realloc(s->pieces, 2 * cap * sizeof(*s->pieces));
	s->pieces = pieces ? pieces : s->pieces;
	sums = realloc(s->sums, cap * sizeof(*s->sums));
	s->sums = sums ? sums : s->sums;
	if (!writes || !pieces || !sums)
		return -ENOMEM;
	s->write_cap = cap;
	return 0;
}

/* The pending rows and the meta row as a batch for the engine. */
static size_t fill_batch(struct store *s, unsigned char meta[META_BYTES])
{
	size_t n = 0;

	for (size_t i = 0; i < s->pending.count; i++) {
		const struct pending_row *r = &s->pending.rows[i];
		struct iovec *iov = &s->pieces[2 * n];

		if (r->state == PENDING_NONE)
			continue;
		s->writes[n] = (struct cairn_write){ .kind = CAIRN_WRITE_DELETE, .key = r->key };
		if (r->state == PENDING_PUT) {
			iov[0] = (struct iovec){ (void *)r->body.data, r->body.len };
			if (s->checksums) {
				le32_put(s->sums[n], row_checksum(r->key, r->body));
				iov[1] = (struct iovec){ s->sums[n], ROW_CHECKSUM };
			}
			s->writes[n].kind = CAIRN_WRITE_PUT;
			s->writes[n].iov = iov;
			s->writes[n].iov_count = s->checksums ? 2 : 1;
		}
		n++;
	}
	meta_encode(&s->meta, meta);
	s->pieces[2 * n] = (struct iovec){ meta, META_BYTES };
	s->writes[n] = (struct cairn_write){
		.kind = CAIRN_WRITE_PUT,
		.key = cairn_str(META_KEY),
		.iov = &s->pieces[2 * n],
		.iov_count = 1,
	};
	return n + 1;
}

static enum cairn_code write_batch(struct store *s, bool sync)
{
	unsigned char meta[META_BYTES];
	struct cairn_batch batch = { .position = s->meta.position };
	struct cairn_error why = { 0 };
	int e;

	if (make_room(s, s->pending.count + 1) < 0)
		return cairn_fail(&s->stop, CAIRN_E_INTERNAL, "no memory left for a batch");
	batch.count = fill_batch(s, meta);
	batch.writes = s->writes;
	e = s->engine->ops.write(s->engine->handle, &batch, sync, &why);
	if (e < 0) {
		if (!why.message[0])
			cairn_fail(&why, cairn_error_from_errno(-e), "writing to the engine: %s",
				   strerror(-e));
		s->stop = why;
		s->stop.code = s->stop.code ? s->stop.code : cairn_error_from_errno(-e);
		if (s->stop.code == CAIRN_E_FULL && e != -ENOSPC) /* full, but some of it may be there */
			s->stop.code = CAIRN_E_UNAVAILABLE;
	}
	return e == -ENOSPC ? CAIRN_E_FULL : s->stop.code;
}

void batch_begin(struct store *s)
{
	atomic_fetch_add(&s->batch, 1);
	s->pinning = atomic_load(&s->pinned);
	feed_begin(s);
	s->guard = (struct cairn_guard){ 0 };
	s->engine->ops.read_begin(s->engine->handle, &s->guard);
}

enum cairn_code batch_end(struct store *s, bool write, bool sync, struct cairn_error *error)
{
	enum cairn_code code = CAIRN_OK;

	s->engine->ops.read_end(s->engine->handle, &s->guard);
	if (!s->stop.code && (!write || (code = write_batch(s, sync)) == CAIRN_OK)) {
		pthread_mutex_lock(&s->lock);
		s->published = s->meta;
		feed_commit(s);
		pthread_mutex_unlock(&s->lock);
		atomic_store(&s->published_due_ns, s->due_ns);
		atomic_store(&s->clock_ns, s->meta.clock_ns);
	}
	pending_reset(&s->pending);
	atomic_fetch_add(&s->batch, 1);
	if (s->stop.code && error)
		*error = s->stop;
	if (code == CAIRN_E_FULL) { /* the engine has seen nothing of it: as if it had never come */
		s->meta = s->published;
		s->uploads_ns = 0;
		s->stop = (struct cairn_error){ 0 };
		return requests_reload(s) ? s->stop.code : code;
	}
	return s->stop.code;
}

enum cairn_code store_apply(struct store *s, struct store_command *commands, size_t count, bool sync,
			    struct cairn_error *error)
{
	if (s->stop.code || !count) {
		if (s->stop.code && error)
			*error = s->stop;
		return s->stop.code;
	}
	batch_begin(s);
	for (size_t i = 0; i < count && !s->stop.code; i++) {
		if (i % AHEAD == 0)
			ahead_look(s, commands + i, count - i < AHEAD ? count - i : AHEAD);
		if (!s->stop.code)
			apply_one(s, &commands[i], &s->ahead[i % AHEAD]);
	}
	return batch_end(s, true, sync, error);
}
