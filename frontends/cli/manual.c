/* The manual page cairn(1), made from the rows: cairn help --man. It goes through man, mandoc and groff. */
#include <stdlib.h>
#include "cli.h"
#include "banned.h"

/* Text as roff shows it: backslashes and hyphens as they are, no line that looks like a request. */
static void roff(struct cairn_slice text)
{
	const char *p = text.data;
	bool start = true;

	for (size_t i = 0; i < text.len; i++) {
		if (start && (p[i] == '.' || p[i] == '\''))
			fputs("\\&", stdout);
		if (p[i] == '\\')
			fputs("\\e", stdout);
		else if (p[i] == '-')
			fputs("\\-", stdout);
		else if (p[i] == '\'')
			fputs("\\(aq", stdout);
		else if (p[i] == '^' || p[i] == '~' || p[i] == '`')
			printf("%s", p[i] == '^' ? "\\(ha" : p[i] == '~' ? "\\(ti" : "\\(ga");
		else
			putchar(p[i]);
		start = p[i] == '\n';
	}
}

static void line(const char *text)
{
	roff(cairn_str(text));
	putchar('\n');
}

/* The paragraphs of TEXT; the first one needs no mark behind a heading. */
static void page(const char *text, bool heading)
{
	for (; *text; heading = false) {
		const char *end = strstr(text, "\n\n");
		size_t len = end ? (size_t)(end - text) : strlen(text);

		printf("%s%s", heading ? "" : ".PP\n", *text == ' ' ? ".EX\n" : "");
		roff(cairn_slice(text, len));
		printf(*text == ' ' ? "\n.EE\n" : "\n");
		text += len + (end ? 2 : 0);
	}
}

static void options(const struct option *list)
{
	for (; list && list->name; list++) {
		printf(".TP\n");
		if (list->letter)
			printf("\\fB\\-%c\\fR, ", list->letter);
		printf("\\fB\\-\\-");
		roff(cairn_str(list->name));
		printf("\\fR");
		if (list->argument)
			printf(" \\fI%s\\fR", list->argument);
		putchar('\n');
		line(list->help);
	}
}

static void synopsis(const struct verb *parent, const struct verb *v)
{
	const char *form = v->synopsis;

	do {
		size_t n = strcspn(form, "\n");

		printf(".PP\n\\fBcairn ");
		if (parent)
			printf("%s ", parent->name);
		roff(cairn_str(v->name));
		printf("\\fR%s%s", v->options && v->options->name ? " [\\fIOPTION\\fR]..." : "",
		       n ? " " : "");
		roff(cairn_slice(form, n));
		putchar('\n');
		form += n + (form[n] == '\n');
	} while (*form);
}

static void verb(const struct verb *v)
{
	printf(".SS ");
	line(v->name);
	line(v->help);
	for (const struct verb *sub = v->verbs; sub && sub->name; sub++)
		synopsis(v, sub);
	if (!v->verbs)
		synopsis(NULL, v);
	if (*v->aliases) {
		printf(".PP\nAlso: ");
		line(v->aliases);
	}
	page(v->page, false);
	options(v->options);
	for (const struct verb *sub = v->verbs; sub && sub->name; sub++) {
		printf(".PP\n\\fB%s %s\\fR: ", v->name, sub->name);
		line(sub->help);
		page(sub->page, false);
		options(sub->options);
	}
}

static void exit_codes(void)
{
	for (int code = 0; code < 256; code++)
		for (unsigned i = 1; i < CAIRN_ERROR_COUNT; i++) {
			const struct cairn_error_row *row = cairn_error_row((enum cairn_code)i);

			if (row->exit_code != code)
				continue;
			printf(".TP\n\\fB%d\\fR ", code);
			line(row->name);
			line(row->meaning);
		}
}

void manual(void)
{
	printf(".TH CAIRN 1 2026-11-21 cairn \"cairn manual\"\n"
	       ".SH NAME\ncairn \\- read, write and look after a cairn key\\-value store\n"
	       ".SH SYNOPSIS\n\\fBcairn\\fR [\\fIOPTION\\fR]... \\fICOMMAND\\fR [\\fIOPTION\\fR]... "
	       "[\\fIOPERAND\\fR]...\n"
	       ".SH DESCRIPTION\n"
	       "The shell command of cairn. This page is made from the rows that the command itself works "
	       "by; "
	       "\\fBcairn help\\fR shows the same.\n"
	       ".SH OPTIONS\n");
	for (size_t i = 0; topics[i].name; i++)
		if (strcmp(topics[i].name, "options") == 0)
			page(topics[i].page, true);
	options(general_options);
	printf(".SH COMMANDS\n");
	for (const struct verb *v = verbs; v->name; v++)
		verb(v);
	for (size_t i = 0; topics[i].name; i++) {
		if (strcmp(topics[i].name, "options") == 0)
			continue;
		printf(".SH ");
		for (const char *p = topics[i].name; *p; p++)
			putchar(*p == '-' ? ' ' : *p >= 'a' && *p <= 'z' ? *p - 32 : *p);
		printf("\n");
		page(topics[i].page, true);
		if (strcmp(topics[i].name, "exit-codes") == 0)
			exit_codes();
	}
	printf(".SH SEE ALSO\n.BR cairnd (8),\n.BR cairnfs (8),\n.BR cairn (3),\n.BR cairn.bash (7),\n.BR "
	       "cairn\\-protocol (7)\n");
}
