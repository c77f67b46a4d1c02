/*
 * ls, tree, scan: keys in order. Rows are shown as they come, so memory stays bounded over millions of keys;
 * only tree asks folder by folder, since it must know whether a name is the last of its folder.
 */
#include <stdlib.h>
#include "buffer.h"
#include "cli.h"
#include "json.h"
#include "banned.h"

struct walk {
	row_fn *fn;
	void *arg;
	bool stopped, reverse;
	uint64_t rows;          /* shown so far */
	struct cairn_msg after; /* as one field: where the rest begins; empty before the first row */
};

/* Should the server die, the next one goes on behind this row: FROM its successor, or TO itself backwards. */
static void remember(struct walk *w, struct cairn_slice row)
{
	bool folder = cairn_field_bool(row, CAIRN_F_FOLDER, false);
	struct cairn_slice key = { 0 };
	char *p;

	w->rows++;
	cairn_field_find(row, CAIRN_F_KEY, &key);
	w->after.len = 0;
	p = cairn_msg_room(&w->after, w->reverse ? CAIRN_F_TO : CAIRN_F_FROM,
			   key.len + (w->reverse || folder ? 0 : 1));
	if (!p || !key.len)
		return;
	memcpy(p, key.data, key.len);
	if (!w->reverse && folder)
		p[key.len - 1]++; /* behind everything that begins with "folder/" */
	else if (!w->reverse)
		p[key.len] = 0;
}

static void walk_rows(struct walk *w, struct cairn_slice fields)
{
	struct cairn_slice body;
	unsigned field;

	while (!w->stopped && cairn_field_next(&fields, &field, &body) == 0 && field != CAIRN_F_END)
		if (field == CAIRN_F_ROW) {
			w->stopped = !w->fn(w->arg, body);
			remember(w, body);
		}
}

static bool walk_event(void *arg, const struct cairn_reply *event)
{
	struct walk *w = arg;

	walk_rows(w, event->fields);
	return !w->stopped;
}

/* Ask for what RANGE has behind the rows that were shown. */
static void walk_ask(struct cli *c, struct cairn_msg *m, const struct range *range, const struct walk *w)
{
	bool begun = w->after.len > 0;

	request(c, m, CAIRN_OP_SCAN);
	if (range->prefix.len)
		cairn_msg_bytes(m, CAIRN_F_PREFIX, range->prefix);
	if (range->from.data && (!begun || w->reverse))
		cairn_msg_bytes(m, CAIRN_F_FROM, range->from);
	if (range->to.data && (!begun || !w->reverse))
		cairn_msg_bytes(m, CAIRN_F_TO, range->to);
	cairn_msg_fields(m, cairn_msg_slice(&w->after));
	if (range->fold)
		cairn_msg_bytes(m, CAIRN_F_DELIMITER, cairn_str("/"));
	if (range->limit)
		cairn_msg_u64(m, CAIRN_F_LIMIT, range->limit - w->rows);
	if (range->reverse)
		cairn_msg_bool(m, CAIRN_F_REVERSE, true);
	if (range->keys_only)
		cairn_msg_bool(m, CAIRN_F_KEYS_ONLY, true);
	if (range->meta_only)
		cairn_msg_bool(m, CAIRN_F_META_ONLY, true);
	past_add(m, &range->past);
}

enum cairn_code walk(struct cli *c, const struct range *range, row_fn *fn, void *arg)
{
	struct walk w = { .fn = fn, .arg = arg, .reverse = range->reverse };
	enum cairn_code code;
	bool more;

	do {
		struct cairn_reply r = { 0 };
		struct cairn_msg m = { 0 };
		struct cairn_slice cursor;
		uint64_t before = w.rows;

		walk_ask(c, &m, range, &w);
		code = call_stream(c, &m, walk_event, &w, &r);
		if (code == CAIRN_OK)
			walk_rows(&w, r.fields);
		more = code == CAIRN_OK ? cairn_field_find(r.fields, CAIRN_F_CURSOR, &cursor)
					: code == CAIRN_E_UNAVAILABLE && w.rows > before;
		more = more && !w.stopped && (!range->limit || w.rows < range->limit);
		cairn_reply_free(&r);
	} while (more && !cairn_msg_error(&w.after));
	cairn_msg_free(&w.after);
	return code;
}

static struct cairn_slice row_key(struct cairn_slice row)
{
	struct cairn_slice key = { 0 };

	cairn_field_find(row, CAIRN_F_KEY, &key);
	return key;
}

struct list {
	struct cli *c;
	struct cairn_slice folder;
	struct past past;
	struct table table;
	bool details, any;
	char end;
};

static void list_details(struct list *l, struct cairn_slice row)
{
	bool folder = cairn_field_bool(row, CAIRN_F_FOLDER, false);
	struct cairn_slice kind = { 0 };
	char text[TEXT_TIME];
	uint64_t time;

	cairn_field_find(row, CAIRN_F_KIND, &kind);
	table_cell(&l->table, "%s",
		   folder ? "folder" : cairn_kind_name(kind.len ? *(const unsigned char *)kind.data : 0));
	if (folder) {
		table_cell(&l->table, "-");
		table_cell(&l->table, "-");
	} else {
		table_cell(&l->table, "%llu", (unsigned long long)cairn_field_u64(row, CAIRN_F_SIZE, 0));
		table_cell(&l->table, "%llu", (unsigned long long)cairn_field_u64(row, CAIRN_F_REVISION, 0));
	}
	time = cairn_field_u64(row, folder ? CAIRN_F_CHANGED : CAIRN_F_TIME, 0);
	text_time(time, false, text);
	table_cell(&l->table, "%s", time ? text : "-");
	table_text(&l->table, row_key(row), true);
}

static bool list_row(void *arg, struct cairn_slice row)
{
	struct list *l = arg;
	struct cairn_slice key = row_key(row);

	l->any = true;
	/* A folder's own marker says that it is there, and is not in it. */
	if (l->folder.len && cairn_slice_eq(key, l->folder))
		return true;
	if (l->c->format == FORMAT_JSON)
		out_json(l->c, row);
	else if (l->details)
		list_details(l, row);
	else
		out_key(l->c, key, l->end);
	return !ferror(stdout);
}

/* Nothing begins with the folder's name: perhaps what was meant is a key. */
static enum cairn_code list_key(struct list *l, const struct word *w)
{
	struct cairn_reply r = { 0 };
	struct cairn_msg m = { 0 };
	struct key k;
	enum cairn_code code = key_take(l->c, w, &k);

	if (code != CAIRN_OK)
		return code;
	request(l->c, &m, CAIRN_OP_GET);
	cairn_msg_bytes(&m, CAIRN_F_KEY, k.name);
	cairn_msg_bool(&m, CAIRN_F_META_ONLY, true);
	past_add(&m, &l->past);
	code = call(l->c, &m, &r);
	if (code == CAIRN_OK) {
		l->folder.len = 0;
		list_row(l, r.fields);
	} else if (code == CAIRN_E_NOT_FOUND) {
		cairn_fail(&l->c->error, CAIRN_E_NOT_FOUND, "no key or folder '%.*s' in volume %s",
			   (int)k.name.len, (const char *)k.name.data, l->c->volume ? l->c->volume : "main");
	}
	cairn_reply_free(&r);
	key_free(&k);
	return code;
}

VERB(ls)
{
	static const struct column columns[] = {
		{ "KIND", false }, { "SIZE", true }, { "REVISION", true }, { "WHEN", false }, { "KEY", false }
	};
	const struct word *operand = a->count ? &a->operand[0] : NULL;
	struct list l = { .c = c, .end = argument(a, "null") ? 0 : '\n' };
	struct range range = { .fold = !argument(a, "recursive") };
	struct key k;
	enum cairn_code code = folder_take(c, operand, &k);

	if (code != CAIRN_OK)
		return code;
	code = past_take(c, a, true, &range.past);
	if (code != CAIRN_OK) {
		key_free(&k);
		return code;
	}
	l.past = range.past;
	l.details = c->format != FORMAT_JSON && (argument(a, "long") || c->format == FORMAT_TABLE);
	if (l.details)
		table_begin(&l.table, c, columns, 5, FORMAT_TABLE);
	l.folder = range.prefix = k.name;
	range.meta_only = l.details || c->format == FORMAT_JSON;
	range.keys_only = !range.meta_only;
	code = walk(c, &range, list_row, &l);
	if (code == CAIRN_OK && !l.any && operand)
		code = list_key(&l, operand);
	if (l.details && (l.any || !operand || code == CAIRN_OK))
		table_end(&l.table);
	key_free(&k);
	return code;
}

struct tree {
	struct cli *c;
	bool utf8;
	bool more; /* as JSON: something stands before the next entry of this folder */
	struct past past;
	struct cairn_slice title; /* the folder asked for */
	bool titled;              /* it was shown */
	char *indent;             /* what stands before the names of this folder */
	size_t depth, room;
};

/* One page of a folder: names in WORDS, those of folders end in '/'. */
struct page {
	struct words names;
	struct cairn_slice folder;
	bool marked; /* the folder has a marker */
};

static bool page_row(void *arg, struct cairn_slice row)
{
	struct page *p = arg;
	struct cairn_slice key = row_key(row);

	if (cairn_slice_eq(key, p->folder))
		p->marked = true;
	else if (!words_add(&p->names, key.data, key.len))
		no_memory();
	return true;
}

static enum cairn_code tree_folder(struct tree *t, struct cairn_slice folder, bool *any);

/* {"key":"app/port"}; that of a folder is left open, for its entries: {"key":"app/","entries":[ */
static void tree_open(struct cairn_slice key, bool folder)
{
	struct cairn_msg m = { 0 };
	struct buffer b = { 0 };

	cairn_msg_start(&m, 0);
	if (key.len)
		cairn_msg_bytes(&m, CAIRN_F_KEY, key);
	json_print_fields(&b, cairn_message_fields(cairn_msg_slice(&m)), NULL);
	if (b.error || cairn_msg_error(&m))
		no_memory();
	fwrite(b.data, 1, b.len - folder, stdout);
	if (folder)
		printf("%s\"entries\":[", key.len ? "," : "");
	buffer_free(&b);
	cairn_msg_free(&m);
}

static bool is_folder(struct cairn_slice name)
{
	return name.len && ((const char *)name.data)[name.len - 1] == '/';
}

/* The folder that was asked for, before its first entry. */
static void tree_title(struct tree *t)
{
	if (t->titled)
		return;
	t->titled = true;
	if (t->c->format == FORMAT_JSON) {
		tree_open(t->title, true);
	} else if (t->title.len) {
		text_quote(stdout, t->title, t->utf8);
		putchar('\n');
	}
}

static enum cairn_code tree_json(struct tree *t, struct cairn_slice key)
{
	enum cairn_code code = CAIRN_OK;
	bool any;

	tree_title(t);
	if (t->more)
		putchar(',');
	tree_open(key, is_folder(key));
	t->more = false;
	if (is_folder(key)) {
		code = tree_folder(t, key, &any);
		fputs("]}", stdout);
	}
	t->more = true;
	return code;
}

static enum cairn_code tree_name(struct tree *t, struct cairn_slice folder, struct cairn_slice key, bool last)
{
	static const char *const branches[2][2] = { { "|-- ", "`-- " }, { "├── ", "└── " } };
	static const char *const indents[2][2] = { { "|   ", "    " }, { "│   ", "    " } };
	struct cairn_slice name = cairn_slice((const char *)key.data + folder.len, key.len - folder.len);
	const char *indent = indents[t->utf8][last];
	size_t depth = t->depth;
	enum cairn_code code;
	bool any;

	if (t->c->format == FORMAT_JSON)
		return tree_json(t, key);
	tree_title(t);
	if (depth)
		fwrite(t->indent, 1, depth, stdout);
	fputs(branches[t->utf8][last], stdout);
	text_quote(stdout, name, t->utf8);
	putchar('\n');
	if (!is_folder(name))
		return CAIRN_OK;
	if (t->room < depth + 8) {
		t->room = (depth + 8) * 2;
		t->indent = realloc(t->indent, t->room);
		if (!t->indent)
			no_memory();
	}
	memcpy(t->indent + depth, indent, strlen(indent));
	t->depth += strlen(indent);
	code = tree_folder(t, key, &any);
	t->depth = depth;
	return code;
}

#define TREE_PAGE 500

/* Everything below FOLDER. A page holds one name more than it shows, so that the last one is known as such.
 */
static enum cairn_code tree_folder(struct tree *t, struct cairn_slice folder, bool *any)
{
	struct range range = {
		.prefix = folder, .fold = true, .keys_only = true, .limit = TREE_PAGE, .past = t->past
	};
	struct page page = { .folder = folder };
	struct words before = { 0 };
	enum cairn_code code;
	bool more;

	*any = false;
	do {
		code = walk(t->c, &range, page_row, &page);
		more = page.names.count + page.marked >= TREE_PAGE;
		*any = *any || page.marked || page.names.count;
		page.marked = false;
		for (size_t i = 0; i + more < page.names.count && code == CAIRN_OK && !ferror(stdout); i++)
			code = tree_name(t, folder, word_slice(&page.names.list[i]),
					 i + 1 == page.names.count);
		words_free(&before);
		before = page.names;
		page.names = (struct words){ 0 };
		if (more && before.count)
			range.from = word_slice(&before.list[before.count - 1]);
	} while (more && before.count && code == CAIRN_OK);
	words_free(&before);
	return code;
}

VERB(tree)
{
	struct tree t = { .c = c, .utf8 = c->utf8 };
	struct key k;
	enum cairn_code code;
	bool any = false;

	if (c->format == FORMAT_PLAIN)
		return cairn_fail(&c->error, CAIRN_E_INVALID,
				  "a tree is not plain: 'ls -r' has --format plain");
	code = folder_take(c, a->count ? &a->operand[0] : NULL, &k);
	t.title = k.name;
	if (code == CAIRN_OK)
		code = past_take(c, a, true, &t.past);
	if (code == CAIRN_OK)
		code = tree_folder(&t, k.name, &any);
	if (code == CAIRN_OK && k.name.len && !any)
		code = cairn_fail(&c->error, CAIRN_E_NOT_FOUND, "no key below '%.*s' in volume %s",
				  (int)k.name.len, (const char *)k.name.data, c->volume ? c->volume : "main");
	else if (code == CAIRN_OK)
		tree_title(&t);
	if (t.titled && c->format == FORMAT_JSON)
		fputs("]}\n", stdout);
	free(t.indent);
	key_free(&k);
	return code;
}

struct scan {
	struct cli *c;
	struct table table;
	struct past past;
	bool keys_only, null, as_table;
};

static int scan_write(void *arg, const void *data, size_t len)
{
	const struct scan *s = arg;

	if (s->null)
		fwrite(data, 1, len, stdout);
	else
		text_escape(stdout, cairn_slice(data, len), s->c->utf8, TEXT_BACKSLASH);
	return ferror(stdout) ? -1 : 0;
}

/* A value that was too large for its row, read at the row's revision through a connection of its own, given
 * to FN. */
static bool scan_large(struct scan *s, struct cairn_slice key,
		       int (*fn)(void *arg, const void *data, size_t len), void *arg)
{
	struct cairn *second = cli_second(s->c);
	struct cairn_reply r = { 0 };
	struct cairn_msg m = { 0 };
	enum cairn_code code;

	if (!second)
		return false;
	request(s->c, &m, CAIRN_OP_GET);
	cairn_msg_bytes(&m, CAIRN_F_KEY, key);
	past_add(&m, &s->past);
	code = cairn_get_stream(second, &m, fn, arg, &r);
	if (code != CAIRN_OK)
		s->c->error = r.error;
	cairn_msg_free(&m);
	cairn_reply_free(&r);
	return code == CAIRN_OK;
}

static int collect(void *arg, const void *data, size_t len)
{
	struct buffer *b = arg;

	if (b->len + len > CAIRN_FIELD_MAX)
		return -1;
	buffer_add(b, cairn_slice(data, len));
	return b->error ? -1 : 0;
}

/* ROW as a line, with the value that was too large for it. */
static bool scan_json(struct scan *s, struct cairn_slice row)
{
	struct cairn_msg whole = { 0 };
	struct buffer value = { 0 };
	struct cairn_slice had;
	bool good = true;

	if (s->keys_only || cairn_field_bool(row, CAIRN_F_FOLDER, false) ||
	    cairn_field_find(row, CAIRN_F_VALUE, &had) || !cairn_field_u64(row, CAIRN_F_SIZE, 0)) {
		out_json(s->c, row);
		return !ferror(stdout);
	}
	good = scan_large(s, row_key(row), collect, &value);
	if (good) {
		cairn_msg_fields(&whole, row);
		cairn_msg_bytes(&whole, CAIRN_F_VALUE, cairn_slice(value.data, value.len));
		out_json(s->c, cairn_slice(whole.data, whole.len));
	}
	buffer_free(&value);
	cairn_msg_free(&whole);
	return good && !ferror(stdout);
}

static bool scan_row(void *arg, struct cairn_slice row)
{
	struct scan *s = arg;
	struct cairn_slice key = row_key(row), value;

	if (s->c->format == FORMAT_JSON)
		return scan_json(s, row);
	if (s->as_table) {
		table_text(&s->table, key, true);
		table_cell(&s->table, "%llu", (unsigned long long)cairn_field_u64(row, CAIRN_F_SIZE, 0));
		table_cell(&s->table, "%llu", (unsigned long long)cairn_field_u64(row, CAIRN_F_REVISION, 0));
		table_text(&s->table, cairn_field_find(row, CAIRN_F_VALUE, &value) ? value : cairn_str(""),
			   false);
		return !ferror(stdout);
	}
	scan_write(s, key.data, key.len);
	if (!s->keys_only) {
		putchar(s->null ? 0 : '\t');
		if (cairn_field_find(row, CAIRN_F_VALUE, &value))
			scan_write(s, value.data, value.len);
		else if (cairn_field_u64(row, CAIRN_F_SIZE, 0) && !scan_large(s, key, scan_write, s))
			return false;
	}
	putchar(s->null ? 0 : '\n');
	return !ferror(stdout);
}

VERB(scan)
{
	static const struct column columns[] = {
		{ "KEY", false }, { "SIZE", true }, { "REVISION", true }, { "VALUE", false }
	};
	struct scan s = { .c = c,
			  .keys_only = argument(a, "keys-only"),
			  .null = argument(a, "null"),
			  .as_table = c->format == FORMAT_TABLE };
	const char *from = argument(a, "from"), *to = argument(a, "to");
	struct range range = { .from = cairn_str(from),
			       .to = cairn_str(to),
			       .keys_only = s.keys_only,
			       .reverse = argument(a, "reverse") };
	enum cairn_code code;

	if (a->count)
		range.prefix = word_slice(&a->operand[0]);
	argument_number(a, "limit", &range.limit);
	code = past_take(c, a, true, &range.past);
	if (code)
		return code;
	s.past = range.past;
	c->error = (struct cairn_error){ 0 };
	if (s.as_table)
		table_begin(&s.table, c, columns, 4, FORMAT_TABLE);
	code = walk(c, &range, scan_row, &s);
	if (s.as_table)
		table_end(&s.table);
	return code ? code : c->error.code;
}
