/*
 * A command line against the rows: general options anywhere, a verb or one of its aliases, perhaps a
 * subcommand, then options and operands in any order; -- ends the options, and so does the first word of a
 * command that is run; a lone - is an operand. What does not fit is answered with a sentence that names it
 * and with the nearest row as a hint.
 */
#include <stdlib.h>
#include "cli.h"
#include "nearest.h"
#include "banned.h"

#define NAMES_MAX 128

static bool listed(const char *aliases, const char *name)
{
	size_t n = strlen(name);

	for (; aliases && *aliases; aliases += strspn(aliases, " ")) {
		size_t m = strcspn(aliases, " ");

		if (m == n && memcmp(aliases, name, n) == 0)
			return true;
		aliases += m;
	}
	return false;
}

const struct verb *verb_find(const struct verb *list, const char *name)
{
	for (; list->name; list++)
		if (strcmp(list->name, name) == 0 || listed(list->aliases, name))
			return list;
	return NULL;
}

static const char *nearest_verb(const struct verb *list, const char *name)
{
	const char *names[NAMES_MAX];
	size_t n = 0;

	for (; list->name && n < NAMES_MAX; list++)
		names[n++] = list->name;
	return nearest(name, names, n);
}

/* "volume create", or "get". */
static void verb_title(const struct arguments *a, char *title, size_t len)
{
	snprintf(title, len, "%s%s%s", a->parent ? a->parent->name : "", a->parent ? " " : "", a->verb->name);
}

static const struct option *option_in(const struct option *list, const char *name, size_t len, char letter)
{
	for (; list && list->name; list++)
		if (letter ? list->letter == letter
			   : strlen(list->name) == len && memcmp(list->name, name, len) == 0)
			return list;
	return NULL;
}

static const struct option *option_find(const struct arguments *a, const char *name, size_t len, char letter)
{
	const struct option *o = a->verb ? option_in(a->verb->options, name, len, letter) : NULL;

	return o ? o : option_in(general_options, name, len, letter);
}

static size_t add_names(const struct option *list, const char **names, size_t n)
{
	for (; list && list->name && n < NAMES_MAX; list++)
		names[n++] = list->name;
	return n;
}

/* WORD (with its dashes) is no option here. */
static enum cairn_code unknown_option(const struct arguments *a, const char *word, struct cairn_error *e)
{
	const char *names[NAMES_MAX], *close = NULL;
	char name[64], title[64] = "cairn";

	if (a->verb)
		verb_title(a, title, sizeof(title));
	cairn_fail(e, CAIRN_E_INVALID, "%s has no option '%.100s'", title, word);
	snprintf(name, sizeof(name), "%.*s", (int)strcspn(word, "="), word);
	if (name[0] == '-' && name[1] == '-')
		close = nearest(name + 2, names,
				add_names(general_options, names,
					  add_names(a->verb ? a->verb->options : NULL, names, 0)));
	if (close)
		cairn_hint(e, "did you mean '--%s'?", close);
	else if (!a->verb)
		cairn_hint(e, "'cairn help' lists the commands; options of a command stand behind it");
	else if (a->verb->most != 0 && !a->parent)
		cairn_hint(e,
			   "'cairn help %s' lists its options; '--' before an operand that begins with '-'",
			   title);
	else
		cairn_hint(e, "'cairn help %s' lists its options", a->parent ? a->parent->name : title);
	return CAIRN_E_INVALID;
}

static enum cairn_code add_option(struct arguments *a, const struct option *o, const char *value,
				  struct cairn_error *e)
{
	uint64_t number;

	if (o->argument && strcmp(o->argument, "N") == 0 && !text_number(value, &number))
		return cairn_fail(e, CAIRN_E_INVALID, "--%s takes a number, not '%.100s'", o->name, value);
	if (o->argument && strcmp(o->argument, "SECONDS") == 0 && !text_duration(value, &number)) {
		cairn_fail(e, CAIRN_E_INVALID, "--%s takes a duration, not '%.100s'", o->name, value);
		cairn_hint(e, "durations look like 5, 0.5, 500ms, 30s, 2m, 1h");
		return CAIRN_E_INVALID;
	}
	if (a->options == OPTIONS_MAX)
		return cairn_fail(e, CAIRN_E_INVALID, "more than %d options", OPTIONS_MAX);
	a->option[a->options] = o;
	a->value[a->options++] = value;
	return CAIRN_OK;
}

/* The options in WORDS[*I], which begins with '-'; takes the next word as their argument where they need one.
 */
static enum cairn_code take_options(struct arguments *a, const struct word *words, size_t n, size_t *i,
				    struct cairn_error *e)
{
	const char *word = words[*i].text, *equals = strchr(word, '=');
	bool is_long = word[1] == '-';
	enum cairn_code code = CAIRN_OK;

	for (const char *p = word + 1 + is_long; *p && code == CAIRN_OK; p++) {
		size_t len = is_long ? (equals ? (size_t)(equals - p) : strlen(p)) : 1;
		const struct option *o = option_find(a, p, len, is_long ? 0 : *p);
		const char *value = "";

		if (!o)
			return unknown_option(a, word, e);
		p += len;
		if (o->argument && (is_long ? *p == '=' : *p != 0))
			value = p + is_long;
		else if (o->argument && *i + 1 < n)
			value = words[++*i].text;
		else if (o->argument)
			return cairn_fail(e, CAIRN_E_INVALID, "--%s needs its %s", o->name, o->argument);
		else if (is_long && *p)
			return cairn_fail(e, CAIRN_E_INVALID, "--%s takes no argument", o->name);
		code = add_option(a, o, value, e);
		if (is_long || o->argument)
			break;
		p--;
	}
	return code;
}

static enum cairn_code take_verb(struct arguments *a, const struct verb *list, const char *name,
				 struct cairn_error *e)
{
	const char *close;

	if (a->verb)
		a->parent = a->verb;
	a->verb = verb_find(list, name ? name : "list");
	if (a->verb)
		return CAIRN_OK;
	if (!name && argument(a, "help")) { /* the page of the command with commands */
		a->verb = a->parent;
		a->parent = NULL;
		return CAIRN_OK;
	}
	if (!name) {
		cairn_fail(e, CAIRN_E_INVALID, "%s: which command?", a->parent->name);
		cairn_hint(e, "'cairn help %s' lists them", a->parent->name);
		return CAIRN_E_INVALID;
	}
	close = nearest_verb(list, name);
	if (a->parent)
		cairn_fail(e, CAIRN_E_INVALID, "%s has no command '%.100s'", a->parent->name, name);
	else
		cairn_fail(e, CAIRN_E_INVALID, "there is no command '%.100s'", name);
	if (close)
		cairn_hint(e, "did you mean '%s%s%s'?", a->parent ? a->parent->name : "",
			   a->parent ? " " : "", close);
	else
		cairn_hint(e, "'cairn help%s%s' lists the commands", a->parent ? " " : "",
			   a->parent ? a->parent->name : "");
	return CAIRN_E_INVALID;
}

static enum cairn_code check_count(const struct arguments *a, struct cairn_error *e)
{
	const struct verb *v = a->verb;
	bool few = v && (int)a->count < v->least;
	char title[64];

	if (!v || argument(a, "help") || (!few && (v->most < 0 || (int)a->count <= v->most)))
		return CAIRN_OK;
	verb_title(a, title, sizeof(title));
	if (few)
		cairn_fail(e, CAIRN_E_INVALID, "%s: too few operands", title);
	else
		cairn_fail(e, CAIRN_E_INVALID, "%s: too many operands, from '%.100s' on", title,
			   a->operand[v->most].text);
	cairn_hint(e, "usage: cairn %s %.*s", title, (int)strcspn(v->synopsis, "\n"), v->synopsis);
	return CAIRN_E_INVALID;
}

/* Whether WORD, which begins with '-', is a number and no option. */
static bool is_negative(const struct arguments *a, const char *word)
{
	int64_t n;

	return a->verb && text_integer(word, &n) && !option_find(a, word + 1, 1, word[1]);
}

enum cairn_code arguments_parse(struct arguments *a, const struct word *words, size_t n,
				struct cairn_error *e)
{
	enum cairn_code code = CAIRN_OK;
	bool ended = false;

	*a = (struct arguments){ .memory = calloc(n + 1, sizeof(struct word)) };
	a->operand = a->memory;
	if (!a->memory)
		return cairn_fail(e, CAIRN_E_INTERNAL, "no memory");
	for (size_t i = 0; i < n && code == CAIRN_OK; i++) {
		const char *word = words[i].text;

		if (!ended && strcmp(word, "--") == 0)
			ended = true;
		else if (!ended && word[0] == '-' && word[1] && !is_negative(a, word))
			code = take_options(a, words, n, &i, e);
		else if (!a->verb)
			code = take_verb(a, verbs, word, e);
		else if (a->verb->verbs)
			code = take_verb(a, a->verb->verbs, word, e);
		else
			a->operand[a->count++] = words[i];
		ended = ended || (a->verb && a->verb->command && (int)a->count >= a->verb->command);
	}
	a->implied = a->verb && a->verb->verbs;
	if (code == CAIRN_OK && a->implied)
		code = take_verb(a, a->verb->verbs, NULL, e);
	return code ? code : check_count(a, e);
}

void arguments_free(struct arguments *a)
{
	free(a->memory);
	*a = (struct arguments){ 0 };
}

const char *argument(const struct arguments *a, const char *name)
{
	for (size_t i = a->options; i-- > 0;)
		if (strcmp(a->option[i]->name, name) == 0)
			return a->value[i];
	return NULL;
}

bool argument_number(const struct arguments *a, const char *name, uint64_t *number)
{
	const char *value = argument(a, name);

	return value && text_number(value, number);
}

enum cairn_code verb_run(struct cli *c, const struct arguments *a)
{
	struct cli before = *c;
	enum cairn_code code;

	c->error = (struct cairn_error){ 0 };
	c->status = 0;
	c->own_status = false;
	code = general_set(c, a);
	if (code == CAIRN_OK)
		code = a->verb->run(c, a);
	if (c->in_shell) {
		c->volume = before.volume;
		c->timeout_ms = before.timeout_ms;
		c->format = before.format;
		c->literal = before.literal;
	}
	return code;
}

const struct option *option_waiting(const struct arguments *a, const char *word)
{
	const struct option *o = NULL;

	if (word[0] == '-' && word[1] == '-')
		o = option_find(a, word + 2, strlen(word + 2), 0);
	else if (word[0] == '-' && word[1] && !word[2])
		o = option_find(a, NULL, 0, word[1]);
	return o && o->argument ? o : NULL;
}
