/*
 * What every run shares: the general options, how an error is shown, and which exit status it has. An error
 * is one line "cairn: CODE: sentence" and at most one hint; with --json it is one object. Nothing else writes
 * to standard error, but for progress and for notices.
 */
#include <stdlib.h>
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
