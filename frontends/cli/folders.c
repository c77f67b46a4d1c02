/*
 * cp, mv and del -r: keys and whole folders. A folder is done in one step by the daemon; one that is over the
 * bulk limit is copied and deleted page by page, and a move of it is refused, since half a move is none.
 */
#include <stdlib.h>
#include "cli.h"
#include "banned.h"

#define PAGE_KEYS 1000

/* One page of keys, with its place in a longer walk. */
struct batch {
	struct words keys;
	size_t bytes;
};

static bool batch_row(void *arg, struct cairn_slice row)
{
	struct batch *b = arg;
	struct cairn_slice key;

	if (cairn_field_find(row, CAIRN_F_KEY, &key)) {
		if (!words_add(&b->keys, key.data, key.len))
			no_memory();
		b->bytes += key.len;
	}
	return b->keys.count < PAGE_KEYS && b->bytes < COMMAND_ROOM / 4;
}

/* Add to M what is to be done to KEY: OP, which is to delete or purge it, or to copy it from the folder FROM
 * into the folder TO. */
static void page_operation(struct cairn_msg *m, unsigned op, struct cairn_slice key, struct cairn_slice from,
			   const struct cairn_slice *to)
{
	size_t mark = cairn_msg_open_op(m, CAIRN_F_THEN, op), tail = key.len - from.len;
	char *name;

	cairn_msg_bytes(m, CAIRN_F_KEY, key);
	name = to ? cairn_msg_room(m, CAIRN_F_TO, to->len + tail) : NULL;
	if (name) {
		memcpy(name, to->data, to->len);
		memcpy(name + to->len, (const char *)key.data + from.len, tail);
	}
	cairn_msg_close(m, mark);
}

/* Send a page of KEYS operations, M; adds to *COUNT those that were done. */
static enum cairn_code page_send(struct cli *c, struct cairn_msg *m, size_t keys, uint64_t *count,
				 uint64_t *revision)
{
	struct cairn_reply r = { 0 };
	struct cairn_error first;
	enum cairn_code code = call(c, m, &r);

	if (code == CAIRN_OK) {
		*count += keys - txn_failures(r.fields, CAIRN_E_NOT_FOUND, &first);
		*revision = cairn_field_u64(r.fields, CAIRN_F_REVISION, *revision);
		code = first.code;
		if (code != CAIRN_OK)
			c->error = first;
	}
	if (code != CAIRN_OK && *count)
		cairn_error_prefix(&c->error, "after %llu keys", (unsigned long long)*count);
	cairn_reply_free(&r);
	return code;
}

/*
 * Do OP to every key of the folder FROM, page by page: delete, purge, or copy to TO. One operation's
 * not-found does not stop the others: somebody else may have deleted the key meanwhile. *COUNT and *REVISION
 * are filled.
 */
static enum cairn_code by_pages(struct cli *c, unsigned op, struct cairn_slice from,
				const struct cairn_slice *to, uint64_t *count, uint64_t *revision)
{
	struct range range = { .prefix = from, .keys_only = true };
	struct words last = { 0 };
	enum cairn_code code = CAIRN_OK;
	bool more = true;

	*count = 0;
	while (more && code == CAIRN_OK) {
		struct batch b = { 0 };
		struct cairn_msg m = { 0 };

		code = walk(c, &range, batch_row, &b);
		request(c, &m, CAIRN_OP_TXN);
		cairn_msg_bool(&m, CAIRN_F_EACH, true);
		for (size_t i = 0; i < b.keys.count; i++)
			page_operation(&m, op, word_slice(&b.keys.list[i]), from, to);
		more = b.keys.count > 0;
		if (more && code == CAIRN_OK)
			code = page_send(c, &m, b.keys.count, count, revision);
		cairn_msg_free(&m);
		words_free(&last);
		last = b.keys;
		/* The next page begins behind the last key: at that key with a zero byte, which its NUL
		 * already is. */
		if (more)
			range.from = cairn_slice(last.list[last.count - 1].text,
						 last.list[last.count - 1].len + 1);
	}
	words_free(&last);
	return code;
}

/* Tell how many keys a step on a folder touched; WHAT is NULL for a purge. */
static enum cairn_code folder_done(struct cli *c, const char *what, struct cairn_slice folder, uint64_t count,
				   uint64_t revision)
{
	struct cairn_msg m = { 0 };

	if (count == 0)
		return cairn_fail(&c->error, CAIRN_E_NOT_FOUND, "no key below '%.*s' in volume %s",
				  (int)folder.len, folder.len ? (const char *)folder.data : "",
				  c->volume ? c->volume : "main");
	if (!what)
		what = count == 1 ? "and its history deleted" : "and their history deleted";
	if (c->format != FORMAT_JSON) {
		out_line("revision %llu: %llu key%s %s", (unsigned long long)revision,
			 (unsigned long long)count, count == 1 ? "" : "s", what);
		return CAIRN_OK;
	}
	cairn_msg_start(&m, 0);
	cairn_msg_u64(&m, CAIRN_F_REVISION, revision);
	cairn_msg_u64(&m, CAIRN_F_COUNT, count);
	out_json(c, cairn_message_fields(cairn_msg_slice(&m)));
	cairn_msg_free(&m);
	return CAIRN_OK;
}

/* Ask for OP on a whole folder, in pages where it is too large. */
static enum cairn_code folder_do(struct cli *c, unsigned op, struct cairn_slice from,
				 const struct cairn_slice *to, uint64_t *count, uint64_t *revision)
{
	struct cairn_msg m = { 0 };
	struct cairn_reply r = { 0 };
	enum cairn_code code;

	request(c, &m, op);
	cairn_msg_bytes(&m, CAIRN_F_PREFIX, from);
	if (to)
		cairn_msg_bytes(&m, CAIRN_F_TO, *to);
	code = call(c, &m, &r);
	*count = cairn_field_u64(r.fields, CAIRN_F_COUNT, 0);
	*revision = cairn_field_u64(r.fields, CAIRN_F_REVISION, 0);
	if (code == CAIRN_E_TOO_LARGE && op == CAIRN_OP_MOVE_PREFIX)
		cairn_hint(&c->error, "'cairn cp -r' and then 'cairn del -r' go page by page");
	else if (code == CAIRN_E_TOO_LARGE && op != CAIRN_OP_MOVE_PREFIX)
		code = by_pages(c,
				op == CAIRN_OP_PURGE ? CAIRN_OP_PURGE
					: to         ? CAIRN_OP_COPY
						     : CAIRN_OP_DELETE,
				from, to, count, revision);
	cairn_reply_free(&r);
	return code;
}

/* The same, and say how many keys it was; WHAT as for folder_done. */
static enum cairn_code folder_step(struct cli *c, unsigned op, const struct key *from, const struct key *to,
				   const char *what)
{
	uint64_t count, revision;
	enum cairn_code code = folder_do(c, op, from->name, to ? &to->name : NULL, &count, &revision);

	return code ? code : folder_done(c, what, from->name, count, revision);
}

enum cairn_code folder_purge(struct cli *c, struct cairn_slice folder)
{
	uint64_t count, revision;

	return folder_do(c, CAIRN_OP_PURGE, folder, NULL, &count, &revision);
}

enum cairn_code del_folder(struct cli *c, const struct word *w, bool purge)
{
	struct key folder;
	enum cairn_code code = folder_take(c, w, &folder);

	if (code == CAIRN_OK && folder.name.len == 0) {
		code = cairn_fail(&c->error, CAIRN_E_INVALID, "del -r needs a folder");
		cairn_hint(&c->error, "'cairn volume drop' removes everything");
	}
	if (code == CAIRN_OK)
		code = purge ? folder_step(c, CAIRN_OP_PURGE, &folder, NULL, NULL)
			     : folder_step(c, CAIRN_OP_DELETE_PREFIX, &folder, NULL, "deleted");
	key_free(&folder);
	return code;
}

static bool is_folder(struct cairn_slice name)
{
	return name.len == 0 || ((const char *)name.data)[name.len - 1] == '/';
}

/* Where a key goes that is moved or copied to TO: into it when that is a folder. */
static void into_folder(struct key *to, struct cairn_slice key)
{
	const char *slash = memrchr(key.data, '/', key.len), *name = slash ? slash + 1 : key.data;
	size_t tail = key.len - (size_t)(name - (const char *)key.data);
	char *memory;

	if (!is_folder(to->name))
		return;
	memory = malloc(to->name.len + tail + 1);
	if (!memory)
		no_memory();
	if (to->name.len)
		memcpy(memory, to->name.data, to->name.len);
	memcpy(memory + to->name.len, name, tail);
	free(to->memory);
	*to = (struct key){ cairn_slice(memory, to->name.len + tail), memory };
}

void hint_folder(struct cli *c, struct cairn_slice key, const char *hint)
{
	struct cairn_error error = c->error;
	struct range range = { .keys_only = true, .limit = 1 };
	struct batch b = { 0 };
	struct word w = { (char *)key.data, key.len };
	struct key folder;

	if (folder_take(c, &w, &folder) == CAIRN_OK) {
		range.prefix = folder.name;
		if (walk(c, &range, batch_row, &b) == CAIRN_OK && b.keys.count)
			cairn_hint(&error, "it is a folder: %s", hint);
	}
	words_free(&b.keys);
	key_free(&folder);
	c->error = error;
}

/* Whether W is the name of a folder, however it looks: the root of a mount has no name at all. */
static bool names_folder(const struct word *w)
{
	const char *slash = memrchr(w->text, '/', w->len), *last = slash ? slash + 1 : w->text;

	return !*last || strcmp(last, ".") == 0 || strcmp(last, "..") == 0;
}

static enum cairn_code transfer(struct cli *c, const struct arguments *a, bool move)
{
	struct cairn_msg m = { 0 };
	struct cairn_reply r = { 0 };
	struct key from = { 0 }, to = { 0 };
	bool folder;
	enum cairn_code code = key_take(c, &a->operand[0], &from);

	folder = argument(a, "recursive") || (code == CAIRN_OK && move && is_folder(from.name));
	if (code == CAIRN_OK && folder) {
		key_free(&from);
		code = folder_take(c, &a->operand[0], &from);
	}
	if (code == CAIRN_OK)
		code = folder || names_folder(&a->operand[1]) ? folder_take(c, &a->operand[1], &to)
							      : key_take(c, &a->operand[1], &to);
	if (code == CAIRN_OK && folder) {
		code = folder_step(c, move ? CAIRN_OP_MOVE_PREFIX : CAIRN_OP_COPY_PREFIX, &from, &to,
				   move ? "moved" : "copied");
	} else if (code == CAIRN_OK) {
		into_folder(&to, from.name);
		request(c, &m, move ? CAIRN_OP_MOVE : CAIRN_OP_COPY);
		cairn_msg_bytes(&m, CAIRN_F_KEY, from.name);
		cairn_msg_bytes(&m, CAIRN_F_TO, to.name);
		code = call(c, &m, &r);
		if (code == CAIRN_E_NOT_FOUND && !*c->error.hint)
			hint_folder(c, from.name,
				    move ? "'cairn mv -r' takes it whole" : "'cairn cp -r' takes it whole");
		else if (code == CAIRN_OK && c->format == FORMAT_JSON)
			out_json(c, r.fields);
		else if (code == CAIRN_OK)
			out_line("revision %llu",
				 (unsigned long long)cairn_field_u64(r.fields, CAIRN_F_REVISION, 0));
	}
	cairn_reply_free(&r);
	key_free(&from);
	key_free(&to);
	return code;
}

VERB(cp)
{
	return transfer(c, a, false);
}

VERB(mv)
{
	return transfer(c, a, true);
}
