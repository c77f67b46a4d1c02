/*
 * help: everything that is said about a verb is made from its row. The list of 'cairn help', the page of a
 * verb, and the manual page (cairn help --man) have one source, so they cannot differ.
 */
#include <stdlib.h>
#include "cli.h"
#include "nearest.h"
#include "banned.h"

#define WIDTH 78
#define MARGIN 10

static void show_overview(void)
{
	static const char *const groups[] = { "data", "past", "cluster", "upkeep", "other" };

	for (size_t g = 0; g < sizeof(groups) / sizeof(*groups); g++) {
		bool any = false;

		for (const struct verb *v = verbs; v->name; v++) {
			if (!v->group || strcmp(v->group, groups[g]) != 0)
				continue;
			if (!any)
				printf("%-*s", MARGIN, v->group);
			printf("%s%s", any ? " " : "", v->name);
			any = true;
		}
		if (any)
			putchar('\n');
	}
	printf("'cairn help COMMAND' opens its page; 'cairn help");
	for (size_t i = 0; topics[i].name; i++)
		printf("%s%s'", i ? ", '" : " ", topics[i].name);
	printf(" explain.\n"
	       "A key may be given as a file of a mount: ./app/port or /mnt/cairn/app/port.\n");
}

/* A paragraph, wrapped, every line behind INDENT blanks; the first one goes on at column AT. */
static void wrap(struct cairn_slice text, size_t indent, size_t at)
{
	const char *p = text.data, *end = p + text.len;

	while (p < end) {
		size_t n = strcspn(p, " \n");

		if (at > indent && at + 1 + n > WIDTH) {
			putchar('\n');
			at = 0;
		}
		if (at < indent)
			printf("%*s", (int)(indent - at), "");
		at = at < indent ? indent : at;
		printf("%s%.*s", at > indent ? " " : "", (int)n, p);
		at += n + (at > indent);
		p += n + strspn(p + n, " \n");
	}
	putchar('\n');
}

/* One block of a page: a paragraph, or lines that stand as they are. Returns what is behind it. */
static const char *block(const char *page, struct cairn_slice *text, bool *verbatim)
{
	const char *end = strstr(page, "\n\n");
	size_t len = end ? (size_t)(end - page) : strlen(page);

	*text = cairn_slice(page, len);
	*verbatim = page[0] == ' ';
	return page + len + (end ? 2 : 0);
}

static void show_page(const char *page)
{
	struct cairn_slice text;
	bool verbatim;

	while (*page) {
		page = block(page, &text, &verbatim);
		putchar('\n');
		if (verbatim)
			printf("%.*s\n", (int)text.len, (const char *)text.data);
		else
			wrap(text, 0, 0);
	}
}

static void option_head(const struct option *o, char *head, size_t len)
{
	char letter[8] = "    ";

	if (o->letter)
		snprintf(letter, sizeof(letter), "-%c, ", o->letter);
	snprintf(head, len, "  %s--%s%s%s", letter, o->name, o->argument ? " " : "",
		 o->argument ? o->argument : "");
}

static void show_options(const struct option *list, const char *title)
{
	char head[80];
	size_t width = 0;

	if (!list || !list->name)
		return;
	printf("\n%s\n", title);
	for (const struct option *o = list; o->name; o++) {
		option_head(o, head, sizeof(head));
		width = strlen(head) > width ? strlen(head) : width;
	}
	for (const struct option *o = list; o->name; o++) {
		option_head(o, head, sizeof(head));
		printf("%s", head);
		wrap(cairn_str(o->help), width + 2, strlen(head));
	}
}

/* "cairn volume create NAME", one line for each form. */
static void show_synopsis(const struct verb *parent, const struct verb *v)
{
	const char *form = v->synopsis;

	do {
		size_t n = strcspn(form, "\n");

		printf("  cairn %s%s%s%s%s%.*s\n", parent ? parent->name : "", parent ? " " : "", v->name,
		       v->options && v->options->name ? " [OPTION]..." : "", n ? " " : "", (int)n, form);
		form += n + (form[n] == '\n');
	} while (*form);
}

static void show_verb(const struct verb *v)
{
	printf("cairn %s: %s\n\n", v->name, v->help);
	if (v->verbs)
		for (const struct verb *sub = v->verbs; sub->name; sub++)
			show_synopsis(v, sub);
	else
		show_synopsis(NULL, v);
	if (*v->aliases)
		printf("\nAlso: %s\n", v->aliases);
	show_page(v->page);
	show_options(v->options, "Options");
	for (const struct verb *sub = v->verbs; sub && sub->name; sub++) {
		printf("\ncairn %s %s: %s\n", v->name, sub->name, sub->help);
		show_page(sub->page);
		show_options(sub->options, "Options");
	}
	printf("\nThe options of all commands (--json, --server, --volume ...) are in 'cairn help "
	       "options'.\n");
}

static void show_exit_codes(void)
{
	printf("\n");
	for (int code = 0; code < 256; code++) {
		bool any = false;

		for (unsigned i = 1; i < CAIRN_ERROR_COUNT; i++) {
			const struct cairn_error_row *row = cairn_error_row((enum cairn_code)i);

			if (row->exit_code != code)
				continue;
			if (any)
				printf("      %-16s", row->name);
			else
				printf("%4d  %-16s", code, row->name);
			wrap(cairn_str(row->meaning), 22, 22);
			any = true;
		}
	}
}

static enum cairn_code show_topic(struct cli *c, const char *name)
{
	const char *names[128], *close;
	size_t n = 0;

	for (size_t i = 0; topics[i].name; i++) {
		names[n++] = topics[i].name;
		if (strcmp(topics[i].name, name) != 0)
			continue;
		printf("%s: %s\n", topics[i].name, topics[i].help);
		show_page(topics[i].page);
		if (strcmp(name, "exit-codes") == 0)
			show_exit_codes();
		if (strcmp(name, "options") == 0)
			show_options(general_options, "Options");
		return CAIRN_OK;
	}
	for (const struct verb *v = verbs; v->name; v++)
		names[n++] = v->name;
	close = nearest(name, names, n);
	cairn_fail(&c->error, CAIRN_E_INVALID, "there is no page about '%.100s'", name);
	if (close)
		cairn_hint(&c->error, "did you mean '%s'?", close);
	else
		cairn_hint(&c->error, "'cairn help' lists the commands");
	return CAIRN_E_INVALID;
}

static bool is_topic(const char *name)
{
	for (size_t i = 0; topics[i].name; i++)
		if (strcmp(topics[i].name, name) == 0)
			return true;
	return false;
}

/* 'locks' is a page of its own, and an alias of the command lock: the page comes first. */
VERB(help)
{
	const struct verb *v =
		a->count && !is_topic(a->operand[0].text) ? verb_find(verbs, a->operand[0].text) : NULL;

	if (argument(a, "man")) {
		manual();
		return CAIRN_OK;
	}
	if (c->format == FORMAT_JSON && help_json(a->count ? a->operand[0].text : NULL))
		return CAIRN_OK;
	if (!a->count)
		show_overview();
	else if (v)
		show_verb(v);
	else
		return show_topic(c, a->operand[0].text);
	return CAIRN_OK;
}
