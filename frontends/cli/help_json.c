/* help as JSON, for programs that want to know what there is: one object a line, made from the same rows. */
#include "cli.h"
#include "json.h"
#include "banned.h"

/* "NAME":"TEXT", behind what is there. */
static void member(struct buffer *b, const char *name, struct cairn_slice text)
{
	if (b->len && !strchr("{[", b->data[b->len - 1]))
		buffer_byte(b, ',');
	json_print_string(b, cairn_str(name));
	buffer_byte(b, ':');
	json_print_string(b, text);
}

/* "NAME":[ */
static void open_list(struct buffer *b, const char *name)
{
	buffer_byte(b, ',');
	json_print_string(b, cairn_str(name));
	buffer_add(b, cairn_str(":["));
}

static void between(struct buffer *b)
{
	if (b->data[b->len - 1] != '[')
		buffer_byte(b, ',');
}

/* The parts of TEXT between the bytes of SEPARATORS. */
static void texts(struct buffer *b, const char *name, const char *text, const char *separators)
{
	open_list(b, name);
	for (size_t n; *text; text += n + (text[n] != 0)) {
		n = strcspn(text, separators);
		between(b);
		json_print_string(b, cairn_slice(text, n));
	}
	buffer_byte(b, ']');
}

static void print_options(struct buffer *b, const struct option *list)
{
	open_list(b, "options");
	for (; list && list->name; list++) {
		between(b);
		buffer_byte(b, '{');
		member(b, "name", cairn_str(list->name));
		if (list->letter)
			member(b, "letter", cairn_slice(&list->letter, 1));
		if (list->argument)
			member(b, "argument", cairn_str(list->argument));
		member(b, "help", cairn_str(list->help));
		buffer_byte(b, '}');
	}
	buffer_byte(b, ']');
}

static void print_verb(struct buffer *b, const struct verb *v)
{
	buffer_byte(b, '{');
	member(b, "command", cairn_str(v->name));
	if (v->group && *v->group)
		member(b, "group", cairn_str(v->group));
	member(b, "help", cairn_str(v->help));
	texts(b, "aliases", v->aliases, " ");
	if (v->verbs) {
		open_list(b, "commands");
		for (const struct verb *sub = v->verbs; sub->name; sub++) {
			between(b);
			print_verb(b, sub);
		}
		buffer_byte(b, ']');
	} else {
		texts(b, "operands", v->synopsis, "\n");
		print_options(b, v->options);
	}
	member(b, "page", cairn_str(v->page));
	buffer_byte(b, '}');
}

static void end_line(struct buffer *b)
{
	buffer_byte(b, '\n');
	if (b->error)
		no_memory();
	fwrite(b->data, 1, b->len, stdout);
	b->len = 0;
}

bool help_json(const char *name)
{
	struct buffer b = { 0 };
	bool any = false;

	for (const struct verb *v = verbs; v->name; v++)
		if (name ? verb_find(verbs, name) == v : v->group != NULL) {
			print_verb(&b, v);
			end_line(&b);
			any = true;
		}
	for (size_t i = 0; topics[i].name; i++)
		if (!name || strcmp(topics[i].name, name) == 0) {
			buffer_byte(&b, '{');
			member(&b, "topic", cairn_str(topics[i].name));
			member(&b, "help", cairn_str(topics[i].help));
			member(&b, "page", cairn_str(topics[i].page));
			if (strcmp(topics[i].name, "options") == 0)
				print_options(&b, general_options);
			buffer_byte(&b, '}');
			end_line(&b);
			any = true;
		}
	buffer_free(&b);
	return any;
}
