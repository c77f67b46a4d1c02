/* The commands, a row each; COMMAND, its DOCS and INFO derive from them. */
#include <stdlib.h>
#include "families.h"
#include "banned.h"

#define W CMD_WRITE
#define R CMD_READ

const struct command commands[] = {
	/* strings */
	{ "get", 2, R | CMD_FAST, 1, 1, 1, "string", "1.0.0", "Returns the value of a key.", ask_get,
	  tell_get, NULL },
	{ "set", -3, W | CMD_DENYOOM, 1, 1, 1, "string", "1.0.0", "Sets the value of a key.", ask_set,
	  tell_set, NULL },
	/* keys */
	{ "del", -2, W, 1, -1, 1, "generic", "1.0.0", "Deletes keys.", ask_del, tell_del, NULL },
	/* connection */
	{ "ping", -1, CMD_FAST | CMD_PUBSUB, 0, 0, 0, "connection", "1.0.0", "Answers.", NULL, NULL,
	  run_ping },
	{ "echo", 2, CMD_FAST, 0, 0, 0, "connection", "1.0.0", "Returns its argument.", NULL, NULL,
	  run_echo },
	{ "hello", -1, CMD_FAST | CMD_NO_AUTH, 0, 0, 0, "connection", "6.0.0",
	  "Chooses the version of the protocol.", NULL, NULL, run_hello },
	{ "auth", -2, CMD_FAST | CMD_NO_AUTH, 0, 0, 0, "connection", "1.0.0", "Gives the password.", NULL,
	  NULL, run_auth },
	{ "select", 2, CMD_FAST, 0, 0, 0, "connection", "1.0.0", "Chooses the volume.", NULL, NULL,
	  run_select },
	{ "quit", -1, CMD_FAST | CMD_NO_AUTH | CMD_PUBSUB, 0, 0, 0, "connection", "1.0.0",
	  "Closes the connection.", NULL, NULL, run_quit },
	/* server */
	{ "command", -1, 0, 0, 0, 0, "server", "2.8.13", "Describes the commands.", NULL, NULL, run_command },
	{ "config", -2, CMD_ADMIN, 0, 0, 0, "server", "2.0.0", "Shows and changes settings.", NULL, NULL,
	  run_config },
};

const size_t command_count = sizeof(commands) / sizeof(commands[0]);

#define INDEX (sizeof(((struct gateway *)0)->index) / sizeof(((struct gateway *)0)->index[0]))

static size_t hash(struct cairn_slice name)
{
	const unsigned char *p = name.data;
	unsigned h = 2166136261u;

	for (size_t i = 0; i < name.len && i < 24; i++)
		h = (h ^ (p[i] | 0x20)) * 16777619u;
	return (h ^ h >> 15) % INDEX;
}

void commands_index(struct gateway *g)
{
	for (size_t i = 0; i < command_count; i++) {
		size_t at = hash(cairn_str(commands[i].name));

		while (g->index[at])
			at = (at + 1) % INDEX;
		g->index[at] = (unsigned short)(i + 1);
	}
}

const struct command *command_find(const struct gateway *g, struct cairn_slice name)
{
	for (size_t at = hash(name); g->index[at]; at = (at + 1) % INDEX)
		if (word_is(name, commands[g->index[at] - 1].name))
			return &commands[g->index[at] - 1];
	return NULL;
}
