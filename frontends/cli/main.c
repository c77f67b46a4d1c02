/*
 * cairn, the shell command: parse the command line, run one verb, say on standard error what went wrong, and
 * end with the status that belongs to it. Standard output is flushed and checked before that: an output that
 * could not be written is an error like any other.
 */
#include <stdlib.h>
#include <unistd.h>
#include "cli.h"
#include "json.h"
#include "nearest.h"
#include "banned.h"

void no_memory(void)
{
	fputs("cairn: internal: no memory\n", stderr);
	exit(cairn_error_row(CAIRN_E_INTERNAL)->exit_code);
}

int exit_status(enum cairn_code code)
{
	return code ? cairn_error_row(code)->exit_code : 0;
}

void error_show(const struct cli *c, const struct cairn_error *e)
{
	struct buffer b = { 0 };

	fflush(stdout);
	if (c->format == FORMAT_JSON) {
		json_print_error(&b, e);
		buffer_byte(&b, '\n');
		fwrite(b.data, 1, b.len, stderr);
		buffer_free(&b);
		return;
	}
	fprintf(stderr, "cairn: %s: ", cairn_error_row(e->code)->name);
	text_escape(stderr, cairn_str(e->message), c->utf8, 0);
	if (e->hint[0]) {
		fputs("\nhint: ", stderr);
		text_escape(stderr, cairn_str(e->hint), c->utf8, 0);
	}
	fputc('\n', stderr);
}

static enum cairn_code set_format(struct cli *c, const char *name)
{
	static const char *const names[] = { "plain", "table", "json" };
	static const enum format formats[] = { FORMAT_PLAIN, FORMAT_TABLE, FORMAT_JSON };
	const char *close;

	for (size_t i = 0; i < 3; i++)
		if (strcmp(name, names[i]) == 0) {
			c->format = formats[i];
			return CAIRN_OK;
		}
	cairn_fail(&c->error, CAIRN_E_INVALID, "there is no format '%.50s'", name);
	close = nearest(name, names, 3);
	if (close)
		cairn_hint(&c->error, "did you mean '%s'?", close);
	else
		cairn_hint(&c->error, "the formats are plain, table and json");
	return CAIRN_E_INVALID;
}

/* Another server: what is open is of no use. */
static void change_server(struct cli *c, const char *servers)
{
	if (c->servers && strcmp(servers, c->servers) == 0)
		return;
	cairn_close(c->client);
	cairn_close(c->second);
	c->client = c->second = NULL;
	c->servers = servers;
}

enum cairn_code general_set(struct cli *c, const struct arguments *a)
{
	const char *timeout = argument(a, "timeout"), *format = argument(a, "format");

	if (argument(a, "server") && c->in_shell)
		return cairn_fail(&c->error, CAIRN_E_INVALID,
				  "--server is given to the shell, not to its lines");
	if (argument(a, "server"))
		change_server(c, argument(a, "server"));
	if (argument(a, "volume"))
		c->volume = argument(a, "volume");
	if (timeout)
		text_duration(timeout, &c->timeout_ms);
	if (argument(a, "key"))
		c->literal = true;
	if (argument(a, "json"))
		c->format = FORMAT_JSON;
	return format ? set_format(c, format) : CAIRN_OK;
}

static void environment(struct cli *c)
{
	const char *term = getenv("TERM"), *volume = getenv("CAIRN_VOLUME"), *no_color = getenv("NO_COLOR");

	c->out_terminal = isatty(STDOUT_FILENO);
	c->err_terminal = isatty(STDERR_FILENO);
	c->utf8 = text_is_utf8();
	c->colour = c->out_terminal && !(no_color && *no_color) && term && strcmp(term, "dumb") != 0;
	c->volume = volume && *volume ? volume : NULL;
}

/* Run what A says. --help and --version go before everything else. */
static enum cairn_code dispatch(struct cli *c, struct arguments *a)
{
	struct word help = { (char *)"help", 4 };

	if (argument(a, "version")) {
		out_line("cairn %s", cairn_version());
		return CAIRN_OK;
	}
	if (a->verb && !argument(a, "help"))
		return verb_run(c, a);
	if (a->verb) {
		const struct verb *v = a->parent ? a->parent : a->verb;
		struct word words[2] = { help, { (char *)v->name, strlen(v->name) } };
		enum cairn_code code;

		arguments_free(a);
		code = arguments_parse(a, words, 2, &c->error);
		return code ? code : verb_run(c, a);
	}
	if (!argument(a, "help")) {
		cairn_fail(&c->error, CAIRN_E_INVALID, "which command?");
		cairn_hint(&c->error, "'cairn help' lists them");
		return CAIRN_E_INVALID;
	}
	arguments_free(a);
	return arguments_parse(a, &help, 1, &c->error) ? c->error.code : verb_run(c, a);
}

int main(int argc, char **argv)
{
	struct cli c = { 0 };
	struct arguments a;
	struct word *words = calloc((size_t)argc + 1, sizeof(*words));
	enum cairn_code code, written;
	struct cairn_error output;

	if (!words)
		no_memory();
	for (int i = 1; i < argc; i++)
		words[i - 1] = (struct word){ argv[i], strlen(argv[i]) };
	environment(&c);
	code = arguments_parse(&a, words, argc > 0 ? (size_t)argc - 1 : 0, &c.error);
	if (code == CAIRN_OK)
		code = dispatch(&c, &a);
	else if (argument(&a, "json"))
		c.format = FORMAT_JSON;
	written = out_finish(&output);
	if (code != CAIRN_OK)
		error_show(&c, &c.error);
	else if (written != CAIRN_OK)
		error_show(&c, &output);
	cairn_close(c.client);
	cairn_close(c.second);
	arguments_free(&a);
	free(words);
	return code ? exit_status(code) : written ? exit_status(written) : c.status;
}
