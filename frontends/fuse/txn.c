/*
 * Messages of the mount. Every change is a transaction: guards that say what the kernel was told (the folder
 * is there, the name is free), then the operations, all or nothing. A guard that fails is answered as
 * CONFLICT, and the caller looks again to find the errno for it.
 */
#include <errno.h>
#include "mount.h"
#include "banned.h"

void msg_begin(struct mount *m, struct cairn_msg *msg, unsigned op)
{
	cairn_msg_start(msg, op);
	cairn_msg_text(msg, CAIRN_F_VOLUME, m->options.volume);
}

void guard_exists(struct cairn_msg *msg, struct cairn_slice key, bool exists)
{
	size_t mark = cairn_msg_open(msg, CAIRN_F_GUARD);

	cairn_msg_bytes(msg, CAIRN_F_KEY, key);
	cairn_msg_bool(msg, CAIRN_F_EXISTS, exists);
	cairn_msg_close(msg, mark);
}

static void guard_number(struct cairn_msg *msg, struct cairn_slice key, unsigned field, uint64_t number)
{
	size_t mark = cairn_msg_open(msg, CAIRN_F_GUARD);

	cairn_msg_bytes(msg, CAIRN_F_KEY, key);
	cairn_msg_u64(msg, field, number);
	cairn_msg_close(msg, mark);
}

void guard_revision(struct cairn_msg *msg, struct cairn_slice key, uint64_t revision)
{
	guard_number(msg, key, CAIRN_F_REVISION, revision);
}

void guard_file(struct cairn_msg *msg, struct cairn_slice key, uint64_t file_id)
{
	guard_number(msg, key, CAIRN_F_FILE_ID, file_id);
}

void guard_empty(struct cairn_msg *msg, struct cairn_slice prefix, bool empty)
{
	size_t mark = cairn_msg_open(msg, CAIRN_F_GUARD);

	cairn_msg_bytes(msg, CAIRN_F_PREFIX, prefix);
	cairn_msg_bool(msg, CAIRN_F_EMPTY, empty);
	cairn_msg_close(msg, mark);
}

int guard_parent(struct mount *m, struct cairn_msg *msg, const struct node *parent)
{
	struct key key;
	int r;

	if (parent->id == NODE_ROOT) /* always there */
		return 0;
	r = node_key(parent, m->options.prefix, &key);
	if (r < 0)
		return r;
	if (parent->facts.file_id)
		guard_file(msg, key_slice(&key), parent->facts.file_id);
	else
		guard_empty(msg, key_slice(&key), false);
	return 0;
}

void then_put_marker(struct cairn_msg *msg, struct cairn_slice key, const struct facts *f)
{
	size_t op = cairn_msg_open_op(msg, CAIRN_F_THEN, CAIRN_OP_PUT);

	cairn_msg_bytes(msg, CAIRN_F_KEY, key);
	cairn_msg_bytes(msg, CAIRN_F_VALUE, cairn_slice("", 0));
	cairn_msg_kind(msg, CAIRN_F_KIND, CAIRN_KIND_DIRECTORY);
	facts_attributes(f, FACTS_ALL, msg);
	cairn_msg_close(msg, op);
}

int then_marker(struct mount *m, struct cairn_msg *msg, const struct node *parent)
{
	struct facts f = parent->facts;
	struct key key;
	size_t op;
	int r;

	if (parent->id == NODE_ROOT || parent->facts.file_id)
		return 0;
	r = node_key(parent, m->options.prefix, &key);
	if (r < 0)
		return r;
	facts_own(&f, &m->options);
	op = cairn_msg_open_op(msg, CAIRN_F_THEN, CAIRN_OP_PUT);
	cairn_msg_bytes(msg, CAIRN_F_KEY, key_slice(&key));
	cairn_msg_bytes(msg, CAIRN_F_VALUE, cairn_slice("", 0));
	cairn_msg_kind(msg, CAIRN_F_KIND, CAIRN_KIND_DIRECTORY);
	facts_attributes(&f, FACTS_ALL, msg);
	guard_exists(msg, key_slice(&key), false);
	cairn_msg_close(msg, op);
	return 0;
}

static bool take_outcome(void *out, struct cairn_slice fields)
{
	struct outcome *o = out;
	struct cairn_slice body;

	o->succeeded = cairn_field_bool(fields, CAIRN_F_SUCCEEDED, false);
	o->revision = cairn_field_u64(fields, CAIRN_F_REVISION, 0);
	if (cairn_field_find(fields, CAIRN_F_RESULT, &body)) {
		o->file_id = cairn_field_u64(body, CAIRN_F_FILE_ID, 0);
		o->size = cairn_field_u64(body, CAIRN_F_SIZE, 0);
	}
	return true;
}

enum cairn_code txn(struct task *t, struct cairn_msg *msg, struct outcome *o)
{
	enum cairn_code code;

	*o = (struct outcome){ 0 };
	code = ask(t, msg, take_outcome, o);
	if (code == CAIRN_E_UNKNOWN || code == CAIRN_E_TIMEOUT || code == CAIRN_E_INTERNAL)
		cache_lose(t->m); /* it may have happened */
	return !code && !o->succeeded ? CAIRN_E_CONFLICT : code;
}
