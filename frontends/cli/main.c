/*
 * cairn, the shell command: parse the command line, run one verb, say on standard error what went wrong, and
 * end with the status that belongs to it. Standard output is flushed and checked before that: an output that
 * could not be written is an error like any other.
 */
#include <stdlib.h>
#include <unistd.h>
#include "cli.h"
#include "banned.h"

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
	free(c.mount_volume);
	free(c.mount_servers);
	arguments_free(&a);
	free(words);
	if (code && c.own_status)
		return c.status;
	return code ? exit_status(code) : written ? exit_status(written) : c.status;
}
