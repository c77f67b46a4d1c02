/* The commands, a row each; COMMAND, its DOCS and INFO derive from them. */
#include <stdlib.h>
#include "families.h"
#include "banned.h"

/* clang-format off */
const struct command commands[] = {
	{ "get", 2, CMD_READ | CMD_FAST, 1, 1, 1, "string", "1.0.0",
	  "Returns the value of a key.", ask_get, tell_get, NULL },
	{ "set", -3, CMD_WRITE | CMD_DENYOOM, 1, 1, 1, "string", "1.0.0",
	  "Sets the value of a key, under conditions where they are given.", ask_set, tell_set, NULL },
	{ "setnx", 3, CMD_WRITE | CMD_DENYOOM | CMD_FAST, 1, 1, 1, "string", "1.0.0",
	  "Sets the value of a key that is not there.", ask_setnx, tell_set, NULL },
	{ "setex", 4, CMD_WRITE | CMD_DENYOOM, 1, 1, 1, "string", "2.0.0",
	  "Sets a value that goes after so many seconds.", ask_setex, tell_set, NULL },
	{ "psetex", 4, CMD_WRITE | CMD_DENYOOM, 1, 1, 1, "string", "2.6.0",
	  "Sets a value that goes after so many milliseconds.", ask_psetex, tell_set, NULL },
	{ "mget", -2, CMD_READ | CMD_FAST | CMD_EACH, 1, -1, 1, "string", "1.0.0",
	  "Returns the values of keys.", ask_get, tell_mget, NULL },
	{ "mset", -3, CMD_WRITE | CMD_DENYOOM, 1, -1, 2, "string", "1.0.1",
	  "Sets keys, all at once.", ask_mset, tell_mset, NULL },
	{ "msetnx", -3, CMD_WRITE | CMD_DENYOOM, 1, -1, 2, "string", "1.0.1",
	  "Sets keys, all at once, where none of them is there.", ask_msetnx, tell_msetnx, NULL },
	{ "getset", 3, CMD_WRITE | CMD_DENYOOM | CMD_FAST, 1, 1, 1, "string", "1.0.0",
	  "Sets a value and returns the old one.", ask_getset, tell_set, NULL },
	{ "getdel", 2, CMD_WRITE | CMD_FAST, 1, 1, 1, "string", "6.2.0",
	  "Returns the value of a key and deletes it.", ask_getdel, tell_first, NULL },
	{ "getex", -2, CMD_WRITE | CMD_FAST, 1, 1, 1, "string", "6.2.0",
	  "Returns the value of a key and says when it goes.", ask_getex, tell_first, NULL },
	{ "append", 3, CMD_WRITE | CMD_DENYOOM | CMD_FAST, 1, 1, 1, "string", "2.0.0",
	  "Adds to the end of a value.", ask_append, tell_size, NULL },
	{ "strlen", 2, CMD_READ | CMD_FAST, 1, 1, 1, "string", "2.2.0",
	  "Returns the length of a value.", ask_meta, tell_strlen, NULL },
	{ "getrange", 4, CMD_READ, 1, 1, 1, "string", "2.4.0",
	  "Returns a part of a value.", ask_getrange, tell_getrange, run_getrange },
	{ "substr", 4, CMD_READ, 1, 1, 1, "string", "1.0.0",
	  "Returns a part of a value.", ask_getrange, tell_getrange, run_getrange },
	{ "setrange", 4, CMD_WRITE | CMD_DENYOOM, 1, 1, 1, "string", "2.2.0",
	  "Overwrites a part of a value.", ask_setrange, tell_setrange, NULL },
	{ "incr", 2, CMD_WRITE | CMD_DENYOOM | CMD_FAST, 1, 1, 1, "string", "1.0.0",
	  "Adds one to a number.", ask_incr, tell_incr, NULL },
	{ "decr", 2, CMD_WRITE | CMD_DENYOOM | CMD_FAST, 1, 1, 1, "string", "1.0.0",
	  "Takes one from a number.", ask_decr, tell_incr, NULL },
	{ "incrby", 3, CMD_WRITE | CMD_DENYOOM | CMD_FAST, 1, 1, 1, "string", "1.0.0",
	  "Adds to a number.", ask_incrby, tell_incr, NULL },
	{ "decrby", 3, CMD_WRITE | CMD_DENYOOM | CMD_FAST, 1, 1, 1, "string", "1.0.0",
	  "Takes from a number.", ask_decrby, tell_incr, NULL },
	{ "incrbyfloat", 3, CMD_DENYOOM | CMD_FAST | CMD_NO_MULTI | CMD_CHANGES, 1, 1, 1, "string", "2.6.0",
	  "Adds to a number with decimals.", NULL, NULL, run_incrbyfloat },
	{ "del", -2, CMD_WRITE, 1, -1, 1, "generic", "1.0.0",
	  "Deletes keys.", ask_del, tell_count, NULL },
	{ "unlink", -2, CMD_WRITE | CMD_FAST, 1, -1, 1, "generic", "4.0.0",
	  "Deletes keys.", ask_del, tell_count, NULL },
	{ "delex", -2, CMD_WRITE | CMD_FAST, 1, 1, 1, "generic", "8.4.0",
	  "Deletes a key that has a value.", ask_delex, tell_count, NULL },
	{ "delifeq", 3, CMD_WRITE | CMD_FAST, 1, 1, 1, "generic", "9.0.0",
	  "Deletes a key that has a value.", ask_delex, tell_count, NULL },
	{ "exists", -2, CMD_READ | CMD_FAST | CMD_EACH, 1, -1, 1, "generic", "1.0.0",
	  "Counts the keys that are there.", ask_meta, tell_exists, NULL },
	{ "touch", -2, CMD_READ | CMD_FAST | CMD_EACH, 1, -1, 1, "generic", "3.2.1",
	  "Counts the keys that are there.", ask_meta, tell_exists, NULL },
	{ "type", 2, CMD_READ | CMD_FAST, 1, 1, 1, "generic", "1.0.0",
	  "Returns what a key is.", ask_meta, tell_type, NULL },
	{ "expire", -3, CMD_WRITE | CMD_FAST, 1, 1, 1, "generic", "1.0.0",
	  "Says in how many seconds a key goes.", ask_expire, tell_count, run_expire },
	{ "pexpire", -3, CMD_WRITE | CMD_FAST, 1, 1, 1, "generic", "2.6.0",
	  "Says in how many milliseconds a key goes.", ask_expire, tell_count, run_expire },
	{ "expireat", -3, CMD_WRITE | CMD_FAST, 1, 1, 1, "generic", "1.2.0",
	  "Says at which second a key goes.", ask_expire, tell_count, run_expire },
	{ "pexpireat", -3, CMD_WRITE | CMD_FAST, 1, 1, 1, "generic", "2.6.0",
	  "Says at which millisecond a key goes.", ask_expire, tell_count, run_expire },
	{ "ttl", 2, CMD_READ | CMD_FAST, 1, 1, 1, "generic", "1.0.0",
	  "Returns in how many seconds a key goes.", ask_ttl, tell_ttl, NULL },
	{ "pttl", 2, CMD_READ | CMD_FAST, 1, 1, 1, "generic", "2.6.0",
	  "Returns in how many milliseconds a key goes.", ask_ttl, tell_ttl, NULL },
	{ "expiretime", 2, CMD_READ | CMD_FAST, 1, 1, 1, "generic", "7.0.0",
	  "Returns at which second a key goes.", ask_ttl, tell_ttl, NULL },
	{ "pexpiretime", 2, CMD_READ | CMD_FAST, 1, 1, 1, "generic", "7.0.0",
	  "Returns at which millisecond a key goes.", ask_ttl, tell_ttl, NULL },
	{ "persist", 2, CMD_WRITE | CMD_FAST, 1, 1, 1, "generic", "2.2.0",
	  "Lets a key stay that would have gone.", ask_persist, tell_persist, NULL },
	{ "rename", 3, CMD_WRITE, 1, 2, 1, "generic", "1.0.0",
	  "Moves a key.", ask_rename, tell_rename, NULL },
	{ "renamenx", 3, CMD_WRITE | CMD_FAST, 1, 2, 1, "generic", "1.0.0",
	  "Moves a key to where there is none.", ask_renamenx, tell_renamenx, NULL },
	{ "copy", -3, CMD_WRITE | CMD_DENYOOM, 1, 2, 1, "generic", "6.2.0",
	  "Copies a key.", ask_copy, tell_count, NULL },
	{ "keys", 2, CMD_NO_MULTI | CMD_READONLY, 0, 0, 0, "generic", "1.0.0",
	  "Returns the keys that match a pattern.", NULL, NULL, run_keys },
	{ "scan", -2, CMD_NO_MULTI | CMD_READONLY, 0, 0, 0, "generic", "2.8.0",
	  "Returns keys, page by page.", NULL, NULL, run_scan },
	{ "randomkey", 1, CMD_NO_MULTI | CMD_READONLY, 0, 0, 0, "generic", "1.0.0",
	  "Returns some key.", NULL, NULL, run_randomkey },
	{ "multi", 1, CMD_FAST | CMD_NOW, 0, 0, 0, "transactions", "1.2.0",
	  "Begins a transaction.", NULL, NULL, run_multi },
	{ "exec", 1, CMD_NOW, 0, 0, 0, "transactions", "1.2.0",
	  "Does what was queued since MULTI, all at once.", NULL, NULL, run_exec },
	{ "discard", 1, CMD_FAST | CMD_NOW, 0, 0, 0, "transactions", "2.0.0",
	  "Forgets what was queued since MULTI.", NULL, NULL, run_discard },
	{ "watch", -2, CMD_FAST | CMD_NOW, 1, -1, 1, "transactions", "2.2.0",
	  "Lets EXEC do nothing where a key changes meanwhile.", NULL, NULL, run_watch },
	{ "unwatch", 1, CMD_FAST, 0, 0, 0, "transactions", "2.2.0",
	  "Forgets what WATCH was told.", NULL, NULL, run_unwatch },
	{ "ping", -1, CMD_FAST | CMD_PUBSUB, 0, 0, 0, "connection", "1.0.0",
	  "Answers.", NULL, NULL, run_ping },
	{ "echo", 2, CMD_FAST, 0, 0, 0, "connection", "1.0.0",
	  "Returns its argument.", NULL, NULL, run_echo },
	{ "hello", -1, CMD_FAST | CMD_NO_AUTH | CMD_NOW, 0, 0, 0, "connection", "6.0.0",
	  "Chooses the version of the protocol.", NULL, NULL, run_hello },
	{ "auth", -2, CMD_FAST | CMD_NO_AUTH | CMD_NOW, 0, 0, 0, "connection", "1.0.0",
	  "Gives the password.", NULL, NULL, run_auth },
	{ "select", 2, CMD_FAST | CMD_NO_MULTI, 0, 0, 0, "connection", "1.0.0",
	  "Chooses the volume.", NULL, NULL, run_select },
	{ "quit", -1, CMD_FAST | CMD_NO_AUTH | CMD_PUBSUB | CMD_NOW, 0, 0, 0, "connection", "1.0.0",
	  "Closes the connection.", NULL, NULL, run_quit },
	{ "reset", 1, CMD_FAST | CMD_NO_AUTH | CMD_PUBSUB | CMD_NOW, 0, 0, 0, "connection", "6.2.0",
	  "Makes the connection as it was in the beginning.", NULL, NULL, run_reset },
	{ "client", -2, CMD_ADMIN, 0, 0, 0, "connection", "2.4.0",
	  "Shows and changes connections.", NULL, NULL, run_client },
	{ "subscribe", -2, CMD_PUBSUB | CMD_NO_MULTI, 0, 0, 0, "pubsub", "2.0.0",
	  "Tells of changes of keys, by channel.", NULL, NULL, run_subscribe },
	{ "psubscribe", -2, CMD_PUBSUB | CMD_NO_MULTI, 0, 0, 0, "pubsub", "2.0.0",
	  "Tells of changes of keys, by pattern.", NULL, NULL, run_psubscribe },
	{ "unsubscribe", -1, CMD_PUBSUB | CMD_NO_MULTI, 0, 0, 0, "pubsub", "2.0.0",
	  "Ends what SUBSCRIBE began.", NULL, NULL, run_unsubscribe },
	{ "punsubscribe", -1, CMD_PUBSUB | CMD_NO_MULTI, 0, 0, 0, "pubsub", "2.0.0",
	  "Ends what PSUBSCRIBE began.", NULL, NULL, run_punsubscribe },
	{ "command", -1, 0, 0, 0, 0, "server", "2.8.13",
	  "Describes the commands.", NULL, NULL, run_command },
	{ "config", -2, CMD_ADMIN | CMD_NO_MULTI, 0, 0, 0, "server", "2.0.0",
	  "Shows and changes settings.", NULL, NULL, run_config },
	{ "info", -1, CMD_NO_MULTI, 0, 0, 0, "server", "1.0.0",
	  "Tells about the server.", NULL, NULL, run_info },
	{ "time", 1, CMD_FAST, 0, 0, 0, "server", "2.6.0",
	  "Returns the time.", NULL, NULL, run_time },
	{ "dbsize", 1, CMD_FAST | CMD_NO_MULTI | CMD_READONLY, 0, 0, 0, "server", "1.0.0",
	  "Returns how many keys the volume has.", NULL, NULL, run_dbsize },
	{ "flushdb", -1, CMD_NO_MULTI | CMD_CHANGES, 0, 0, 0, "server", "1.0.0",
	  "Removes all keys of the volume.", NULL, NULL, run_flush },
	{ "flushall", -1, CMD_NO_MULTI | CMD_CHANGES, 0, 0, 0, "server", "1.0.0",
	  "Removes all keys of the volume.", NULL, NULL, run_flush },
	{ "wait", 3, 0, 0, 0, 0, "server", "3.0.0",
	  "Returns how many other nodes have what was written.", NULL, NULL, run_wait },
	{ "cairn.history", -2, CMD_READONLY | CMD_NO_MULTI, 1, 1, 1, "cairn", "0.1.0",
	  "Returns the versions of a key that are kept.", NULL, NULL, run_history },
	{ "cairn.revert", 3, CMD_WRITE, 1, 1, 1, "cairn", "0.1.0",
	  "Puts back the version of a key that was there at a revision.", ask_revert, tell_set, NULL },
	{ "cairn.txn", -3, CMD_CHANGES | CMD_NO_MULTI, 0, 0, 0, "cairn", "0.1.0",
	  "Does commands where conditions hold, else others; all of them or none.", NULL, NULL, run_txn },
	{ "cairn.status", 1, CMD_READONLY | CMD_NO_MULTI, 0, 0, 0, "cairn", "0.1.0",
	  "Returns how the node and its volumes are.", NULL, NULL, run_status },
};
/* clang-format on */

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
