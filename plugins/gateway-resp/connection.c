/* Commands about the connection: greeting, password, which volume. */
#include <stdio.h>
#include "families.h"
#include "banned.h"

RUN(run_ping)
{
	if (a->count > 2)
		reply_error(c, "ERR wrong number of arguments for 'ping' command");
	else if (c->proto < 3 && c->subscriptions) {
		reply_array(c, 2);
		reply_text(c, "pong");
		reply_bulk(c, a->count == 2 ? a->at[1] : cairn_slice(NULL, 0));
	} else if (a->count == 2)
		reply_bulk(c, a->at[1]);
	else
		reply_status(c, "PONG");
	return RUN_DONE;
}

RUN(run_echo)
{
	reply_bulk(c, a->at[1]);
	return RUN_DONE;
}

RUN(run_quit)
{
	(void)a;
	reply_ok(c);
	client_end(c);
	return RUN_DONE;
}

RUN(run_select)
{
	long long n;

	if (!to_integer(a->at[1], &n)) {
		reply_error(c, ERROR_INTEGER);
	} else if (n < 0 || n >= c->g->volume_count) {
		reply_error(c, "ERR DB index is out of range");
	} else {
		c->db = (unsigned)n;
		reply_ok(c);
	}
	return RUN_DONE;
}

/* Let the client in, or tell it why not. */
static bool login(struct client *c, struct cairn_slice user, struct cairn_slice password)
{
	if (!c->host->needs_password(c->host->host) && word_is(user, "default"))
		return true;
	if (c->host->login(c->connection, user, password)) {
		c->reader.small = false;
		return true;
	}
	reply_error(c, "WRONGPASS invalid username-password pair or user is disabled.");
	return false;
}

RUN(run_auth)
{
	bool named = a->count == 3;

	if (a->count > 3)
		reply_error(c, ERROR_SYNTAX);
	else if (!named && !c->host->needs_password(c->host->host))
		reply_error(c,
			    "ERR AUTH <password> called without any password configured for the default "
			    "user. Are "
			    "you sure your configuration is correct?");
	else if (login(c, named ? a->at[1] : cairn_str("default"), a->at[a->count - 1]))
		reply_ok(c);
	return RUN_DONE;
}

static void tell_hello(struct client *c)
{
	reply_map(c, 7);
	reply_text(c, "server");
	reply_text(c, "redis");
	reply_text(c, "version");
	reply_text(c, RESP_VERSION);
	reply_text(c, "proto");
	reply_integer(c, c->proto);
	reply_text(c, "id");
	reply_integer(c, (long long)c->id);
	reply_text(c, "mode");
	reply_text(c, "standalone");
	reply_text(c, "role");
	reply_text(c, "master");
	reply_text(c, "modules");
	reply_array(c, 0);
}

RUN(run_hello)
{
	long long version = c->proto;
	size_t i = 2;

	if (a->count > 1 && !to_integer(a->at[1], &version)) {
		reply_error(c, "ERR Protocol version is not an integer or out of range");
		return RUN_DONE;
	}
	if (version < 2 || version > 3) {
		reply_error(c, "NOPROTO unsupported protocol version");
		return RUN_DONE;
	}
	while (i < a->count) {
		if (word_is(a->at[i], "auth") && i + 2 < a->count) {
			if (!login(c, a->at[i + 1], a->at[i + 2]))
				return RUN_DONE;
			i += 3;
		} else if (word_is(a->at[i], "setname") && i + 1 < a->count) {
			if (!set_name(c, a->at[i + 1]))
				return RUN_DONE;
			i += 2;
		} else {
			reply_error(c, "ERR Syntax error in HELLO option '%.*s'",
				    (int)(a->at[i].len < 64 ? a->at[i].len : 64),
				    (const char *)a->at[i].data);
			return RUN_DONE;
		}
	}
	if (!c->host->admitted(c->connection)) {
		reply_error(c,
			    "NOAUTH HELLO must be called with the client already authenticated, otherwise "
			    "the HELLO "
			    "<proto> AUTH <user> <pass> option can be used to authenticate the client and "
			    "select the "
			    "RESP protocol version at the same time");
		return RUN_DONE;
	}
	c->proto = (unsigned)version;
	tell_hello(c);
	return RUN_DONE;
}

bool set_name(struct client *c, struct cairn_slice name)
{
	const char *p = name.data;

	for (size_t i = 0; i < name.len; i++)
		if (p[i] < '!' || p[i] > '~') {
			reply_error(
				c, "ERR Client names cannot contain spaces, newlines or special characters.");
			return false;
		}
	if (name.len >= sizeof(c->name)) {
		reply_error(c, "ERR a client's name has at most %zu bytes here", sizeof(c->name) - 1);
		return false;
	}
	snprintf(c->name, sizeof(c->name), "%.*s", (int)name.len, p ? p : "");
	return true;
}

RUN(run_reset)
{
	(void)a;
	multi_end(c);
	watch_end(c);
	notify_end(c);
	c->proto = 2;
	c->db = 0;
	c->name[0] = 0;
	reply_status(c, "RESET");
	return RUN_DONE;
}
