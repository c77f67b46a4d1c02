/*
 * txn: a transaction from lines of text. Each line is a guard or an operation with its operands, split as by
 * a shell; "if", "then" and "else" say which list a line belongs to, and hold until the next of them. Values
 * that are too large for a command are sent ahead in pieces. What a line lacks is said with its number.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include "cli.h"
#include "nearest.h"
#include "banned.h"

#define PIECE 131072u        /* bytes sent ahead at once */
#define INLINE_MAX 16384u    /* larger values are sent ahead */
#define VALUE_MAX (1u << 30) /* most bytes that are held in memory */

enum what { KEY_ONLY, KEY_VALUE, KEY_KEY, FOLDER_ONLY, KEY_NUMBER, KEY_SPAN, KEY_INTEGER };

/* Guards and operations that a line may hold. */
static const struct form {
	const char *name;
	const char *alias;
	enum what what;
	unsigned op;    /* of an operation, 0 for a guard */
	unsigned field; /* of a guard: what must hold */
	bool truth;     /* of a guard that is yes or no */
	const char *operands;
} forms[] = {
	{ "exists", NULL, KEY_ONLY, 0, CAIRN_F_EXISTS, true, "KEY" },
	{ "absent", NULL, KEY_ONLY, 0, CAIRN_F_EXISTS, false, "KEY" },
	{ "revision", NULL, KEY_NUMBER, 0, CAIRN_F_REVISION, true, "KEY N" },
	{ "version", NULL, KEY_NUMBER, 0, CAIRN_F_VERSION, true, "KEY N" },
	{ "file", NULL, KEY_NUMBER, 0, CAIRN_F_FILE_ID, true, "KEY ID" },
	{ "value", NULL, KEY_VALUE, 0, CAIRN_F_VALUE, true, "KEY VALUE" },
	{ "clear", NULL, KEY_ONLY, 0, CAIRN_F_NO_ANCESTOR, true, "KEY" },
	{ "empty", NULL, FOLDER_ONLY, 0, CAIRN_F_EMPTY, true, "FOLDER" },
	{ "filled", NULL, FOLDER_ONLY, 0, CAIRN_F_EMPTY, false, "FOLDER" },
	{ "put", "set", KEY_VALUE, CAIRN_OP_PUT, 0, true, "KEY VALUE" },
	{ "append", NULL, KEY_VALUE, CAIRN_OP_APPEND, 0, true, "KEY VALUE" },
	{ "del", "rm", KEY_ONLY, CAIRN_OP_DELETE, 0, true, "KEY" },
	{ "get", NULL, KEY_ONLY, CAIRN_OP_GET, 0, true, "KEY" },
	{ "mv", "move", KEY_KEY, CAIRN_OP_MOVE, 0, true, "KEY KEY" },
	{ "cp", "copy", KEY_KEY, CAIRN_OP_COPY, 0, true, "KEY KEY" },
	{ "swap", NULL, KEY_KEY, CAIRN_OP_SWAP, 0, true, "KEY KEY" },
	{ "purge", NULL, KEY_ONLY, CAIRN_OP_PURGE, 0, true, "KEY" },
	{ "incr", "increment", KEY_INTEGER, CAIRN_OP_INCREMENT, 0, true, "KEY BY" },
	{ "expire", NULL, KEY_SPAN, CAIRN_OP_EXPIRE, 0, true, "KEY DURATION" },
	{ "persist", NULL, KEY_ONLY, CAIRN_OP_PERSIST, 0, true, "KEY" },
};

static const struct form *form_find(const char *name, bool guard)
{
	for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++)
		if (!forms[i].op == guard &&
		    (strcmp(forms[i].name, name) == 0 ||
		     (forms[i].alias && strcmp(forms[i].alias, name) == 0)))
			return &forms[i];
	return NULL;
}

static enum cairn_code unknown_form(struct cli *c, const char *name, bool guard)
{
	const char *names[sizeof(forms) / sizeof(*forms)], *close;
	size_t n = 0;

	for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++)
		if (!forms[i].op == guard)
			names[n++] = forms[i].name;
	close = nearest(name, names, n);
	cairn_fail(&c->error, CAIRN_E_INVALID, "a transaction has no %s '%.100s'",
		   guard ? "condition" : "operation", name);
	if (close)
		cairn_hint(&c->error, "did you mean '%s'?", close);
	else
		cairn_hint(&c->error, "'cairn help txn' lists them");
	return CAIRN_E_INVALID;
}

/* Send DATA ahead and name the upload in M. */
static enum cairn_code send_ahead(struct cli *c, struct cairn_msg *m, struct cairn_slice data)
{
	unsigned char id[16];
	enum cairn_code code = CAIRN_OK;

	if (getrandom(id, sizeof(id), 0) != sizeof(id))
		return cairn_fail(&c->error, CAIRN_E_INTERNAL, "no random numbers: %s", strerror(errno));
	for (uint64_t i = 0; i * PIECE < data.len && code == CAIRN_OK; i++) {
		size_t left = data.len - i * PIECE;
		struct cairn_msg stage = { 0 };
		struct cairn_reply r = { 0 };

		request(c, &stage, CAIRN_OP_STAGE);
		cairn_msg_bytes(&stage, CAIRN_F_UPLOAD, cairn_slice(id, sizeof(id)));
		cairn_msg_u64(&stage, CAIRN_F_INDEX, i);
		cairn_msg_bytes(
			&stage, CAIRN_F_VALUE,
			cairn_slice((const char *)data.data + i * PIECE, left < PIECE ? left : PIECE));
		code = call(c, &stage, &r);
		cairn_reply_free(&r);
	}
	cairn_msg_bytes(m, CAIRN_F_UPLOAD, cairn_slice(id, sizeof(id)));
	cairn_msg_u64(m, CAIRN_F_SIZE, data.len);
	return code;
}

static enum cairn_code add_value(struct cli *c, struct cairn_msg *m, const struct form *f,
				 const struct word *w)
{
	struct value v;
	char *data = NULL;
	size_t len = 0;
	enum cairn_code code = value_take(c, w, false, &v);

	if (code == CAIRN_OK)
		code = value_all(c, &v, f->op == CAIRN_OP_PUT ? VALUE_MAX : COMMAND_ROOM, &data, &len);
	if (code == CAIRN_OK && f->op == CAIRN_OP_PUT && len > INLINE_MAX)
		code = send_ahead(c, m, cairn_slice(data, len));
	else if (code == CAIRN_OK)
		cairn_msg_bytes(m, CAIRN_F_VALUE, cairn_slice(data, len));
	value_close(&v);
	free(data);
	return code;
}

/* The operands of F, in WORDS behind its name. */
static enum cairn_code add_operands(struct cli *c, struct cairn_msg *m, const struct form *f,
				    const struct word *words)
{
	struct key first = { 0 }, second = { 0 };
	enum cairn_code code =
		f->what == FOLDER_ONLY ? folder_take(c, &words[1], &first) : key_take(c, &words[1], &first);
	uint64_t number = 0;
	int64_t by = 0;

	if (code == CAIRN_OK)
		cairn_msg_bytes(m, f->what == FOLDER_ONLY ? CAIRN_F_PREFIX : CAIRN_F_KEY, first.name);
	if (code == CAIRN_OK && f->what == KEY_KEY) {
		code = key_take(c, &words[2], &second);
		cairn_msg_bytes(m, CAIRN_F_TO, second.name);
	} else if (code == CAIRN_OK && f->what == KEY_VALUE) {
		code = add_value(c, m, f, &words[2]);
	} else if (code == CAIRN_OK && f->what == KEY_NUMBER) {
		if (!text_number(words[2].text, &number))
			code = cairn_fail(&c->error, CAIRN_E_INVALID, "'%.100s' is no number", words[2].text);
		cairn_msg_u64(m, f->field, number);
	} else if (code == CAIRN_OK && f->what == KEY_SPAN) {
		code = ttl_add(c, m, words[2].text);
	} else if (code == CAIRN_OK && f->what == KEY_INTEGER) {
		if (!text_integer(words[2].text, &by))
			code = cairn_fail(&c->error, CAIRN_E_INVALID, "'%.100s' is no integer of 64 bits",
					  words[2].text);
		cairn_msg_u64(m, CAIRN_F_BY, (uint64_t)by);
	} else if (code == CAIRN_OK && !f->op) {
		cairn_msg_bool(m, f->field, f->truth);
	}
	key_free(&first);
	key_free(&second);
	return code;
}

static enum cairn_code add_form(struct cli *c, struct cairn_msg *m, unsigned field, const struct word *words,
				size_t n)
{
	const struct form *f = form_find(words[0].text, field == CAIRN_F_GUARD);
	size_t wanted, mark;
	enum cairn_code code;
	bool own;

	if (!f)
		return unknown_form(c, words[0].text, field == CAIRN_F_GUARD);
	wanted = f->what == KEY_ONLY || f->what == FOLDER_ONLY ? 2 : 3;
	own = f->op && n > wanted + 1 && strcmp(words[wanted].text, "if") == 0;
	if (n != wanted && !own)
		return cairn_fail(&c->error, CAIRN_E_INVALID, "%s takes %s", f->name, f->operands);
	mark = f->op ? cairn_msg_open_op(m, field, f->op) : cairn_msg_open(m, field);
	code = add_operands(c, m, f, words);
	if (code == CAIRN_OK && own) /* a condition of this operation alone */
		code = add_form(c, m, CAIRN_F_GUARD, words + wanted + 1, n - wanted - 1);
	cairn_msg_close(m, mark);
	return code;
}

enum cairn_code txn_operation(struct cli *c, struct cairn_msg *m, unsigned field, const struct word *words,
			      size_t n)
{
	return add_form(c, m, field, words, n);
}

/* The next operation of the list LIST in the request FIELDS: its number and its fields; 0 at the end. */
static unsigned next_operation(struct cairn_slice *fields, unsigned list, struct cairn_slice *operands)
{
	struct cairn_slice body;
	unsigned field;

	while (cairn_field_next(fields, &field, &body) == 0 && field != CAIRN_F_END)
		if (field == list) {
			*operands = cairn_message_fields(body);
			return cairn_message_number(body);
		}
	return 0;
}

/*
 * What the operations of LIST in REQUEST gave: for a read the key, a tab and the value, escaped, on a line.
 * Returns whether one of them writes.
 */
static bool show_results(struct cli *c, struct cairn_slice request, unsigned list, struct cairn_slice answer)
{
	struct cairn_slice operands, result = { 0 }, key = { 0 }, value;
	bool writes = false;
	unsigned op, field;

	while ((op = next_operation(&request, list, &operands))) {
		do
			if (cairn_field_next(&answer, &field, &result) < 0)
				field = CAIRN_F_END;
		while (field != CAIRN_F_RESULT && field != CAIRN_F_END);
		writes = writes || op != CAIRN_OP_GET;
		if (op != CAIRN_OP_GET || field == CAIRN_F_END ||
		    !cairn_field_find(result, CAIRN_F_VALUE, &value))
			continue;
		cairn_field_find(operands, CAIRN_F_KEY, &key);
		text_escape(stdout, key, c->utf8, TEXT_BACKSLASH);
		putchar('\t');
		text_escape(stdout, value, c->utf8, TEXT_BACKSLASH);
		putchar('\n');
	}
	return writes;
}

size_t txn_failures(struct cairn_slice answer, enum cairn_code ignore, struct cairn_error *e)
{
	struct cairn_slice result;
	size_t number = 0, failed = 0;
	unsigned field;

	*e = (struct cairn_error){ 0 };
	while (cairn_field_next(&answer, &field, &result) == 0 && field != CAIRN_F_END) {
		char name[32], message[300];
		enum cairn_code code;

		if (field != CAIRN_F_RESULT)
			continue;
		number++;
		field_text(result, CAIRN_F_CODE, name, sizeof(name));
		code = cairn_error_by_name(name, strlen(name));
		failed += code != CAIRN_OK;
		if (code != CAIRN_OK && code != ignore && !e->code)
			cairn_fail(e, code, "operation %zu: %s", number,
				   field_text(result, CAIRN_F_MESSAGE, message, sizeof(message)));
	}
	return failed;
}

/* Say which operations were skipped, since a condition of their own did not hold. Their number. */
static size_t show_skipped(struct cairn_slice answer, bool say)
{
	struct cairn_slice result;
	size_t number = 0, skipped = 0;
	unsigned field;

	while (cairn_field_next(&answer, &field, &result) == 0 && field != CAIRN_F_END) {
		char name[32], message[300];

		if (field != CAIRN_F_RESULT)
			continue;
		number++;
		if (strcmp(field_text(result, CAIRN_F_CODE, name, sizeof(name)), "conflict") != 0)
			continue;
		skipped++;
		if (say)
			out_line("skipped: operation %zu: %s", number,
				 field_text(result, CAIRN_F_MESSAGE, message, sizeof(message)));
	}
	return skipped;
}

/* The operations that failed for themselves, as one error; those whose own condition did not hold are none.
 */
static enum cairn_code say_failures(struct cli *c, struct cairn_slice answer)
{
	struct cairn_error e;
	size_t failed = txn_failures(answer, CAIRN_E_CONFLICT, &e) - show_skipped(answer, false),
	       len = strlen(e.message);

	if (failed > 1)
		snprintf(e.message + len, sizeof(e.message) - len, "; %zu operations failed in all", failed);
	if (failed)
		c->error = e;
	return e.code;
}

enum cairn_code txn_send(struct cli *c, struct cairn_msg *m, bool nothing_else)
{
	struct cairn *client = cli_client(c);
	struct cairn_slice request = cairn_message_fields(cairn_msg_slice(m));
	struct cairn_reply r = { 0 };
	enum cairn_code code = client ? cairn_call(client, m, &r) : c->error.code;
	bool held = cairn_field_bool(r.fields, CAIRN_F_SUCCEEDED, true);

	if (client && code != CAIRN_OK)
		c->error = r.error;
	if (code == CAIRN_OK && !held && nothing_else) {
		code = cairn_fail(&c->error, CAIRN_E_CONFLICT,
				  "a condition does not hold; nothing was written");
	} else if (code == CAIRN_OK && c->format == FORMAT_JSON) {
		/* The results carry their errors. */
		out_json(c, r.fields);
		c->status = exit_status(say_failures(c, r.fields));
	} else if (code == CAIRN_OK) {
		if (!held)
			out_line("else");
		show_skipped(r.fields, true);
		if (show_results(c, request, held ? CAIRN_F_THEN : CAIRN_F_ELSE, r.fields))
			out_line("revision %llu",
				 (unsigned long long)cairn_field_u64(r.fields, CAIRN_F_REVISION, 0));
		code = say_failures(c, r.fields);
	}
	cairn_reply_free(&r);
	return code;
}

/* One line: perhaps a word that names its list, and a guard or an operation. */
static enum cairn_code take_line(struct cli *c, struct cairn_msg *m, const struct words *w, unsigned *list)
{
	static const struct {
		const char *word;
		unsigned list;
	} lists[] = { { "if", CAIRN_F_GUARD }, { "then", CAIRN_F_THEN }, { "else", CAIRN_F_ELSE } };
	size_t from = 0;

	for (size_t i = 0; i < 3 && w->count && from == 0; i++)
		if (strcmp(w->list[0].text, lists[i].word) == 0) {
			*list = lists[i].list;
			from = 1;
		}
	if (from == w->count)
		return CAIRN_OK;
	return add_form(c, m, *list, w->list + from, w->count - from);
}

static enum cairn_code take_lines(struct cli *c, struct cairn_msg *m, FILE *f, const char *name)
{
	char *line = NULL;
	size_t room = 0, number = 0;
	unsigned list = CAIRN_F_THEN;
	enum cairn_code code = CAIRN_OK;
	ssize_t n;

	while (code == CAIRN_OK && (n = getline(&line, &room, f)) >= 0) {
		struct words w = { 0 };

		number++;
		if (words_split(&w, cairn_slice(line, (size_t)n)))
			code = take_line(c, m, &w, &list);
		else
			code = cairn_fail(&c->error, CAIRN_E_INVALID,
					  "a quote is not closed, or an escape is unknown");
		if (code != CAIRN_OK)
			cairn_error_prefix(&c->error, "line %zu", number);
		words_free(&w);
	}
	if (code == CAIRN_OK && ferror(f))
		code = cairn_fail(&c->error, CAIRN_E_INVALID, "%s: %s", name, strerror(errno));
	free(line);
	return code;
}

VERB(txn)
{
	const char *name = a->count && strcmp(a->operand[0].text, "-") != 0 ? a->operand[0].text : NULL;
	struct cairn_msg m = { 0 };
	struct cairn_slice found;
	enum cairn_code code;
	bool used = c->input_used;
	FILE *f = name ? fopen(name, "re") : stdin;

	if (!f)
		return cairn_fail(&c->error, CAIRN_E_INVALID, "%.200s: %s", name, strerror(errno));
	if (!name && used)
		return cairn_fail(&c->error, CAIRN_E_INVALID, "within a shell txn reads a FILE");
	request(c, &m, CAIRN_OP_TXN);
	if (argument(a, "each"))
		cairn_msg_bool(&m, CAIRN_F_EACH, true);
	c->input_used = used || !name;
	code = take_lines(c, &m, f, name ? name : "standard input");
	c->input_used = used;
	if (name)
		fclose(f);
	if (code == CAIRN_OK)
		code = txn_send(
			c, &m,
			!cairn_field_find(cairn_message_fields(cairn_msg_slice(&m)), CAIRN_F_ELSE, &found));
	cairn_msg_free(&m);
	return code;
}
