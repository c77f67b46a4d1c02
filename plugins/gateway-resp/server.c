/* Commands about the server, and about the commands. */
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include "families.h"
#include "banned.h"

RUN(run_time)
{
	struct timespec t;

	(void)a;
	clock_gettime(CLOCK_REALTIME, &t);
	reply_array(c, 2);
	reply_format(c, "%lld", (long long)t.tv_sec);
	reply_format(c, "%ld", t.tv_nsec / 1000);
	return RUN_DONE;
}

/* A write is answered when as many nodes have it as its volume promises; there is nobody to wait for. */
RUN(run_wait)
{
	long long n;

	if (!to_integer(a->at[1], &n))
		reply_error(c, ERROR_INTEGER);
	else if (!to_integer(a->at[2], &n))
		reply_error(c, "ERR timeout is not an integer or out of range");
	else if (n < 0)
		reply_error(c, "ERR timeout is negative");
	else
		reply_integer(c, 0);
	return RUN_DONE;
}

static size_t flag_names(const struct command *command, const char *names[12])
{
	unsigned f = command->flags;
	size_t n = 0;

	if (f & (CMD_WRITE | CMD_CHANGES))
		names[n++] = "write";
	if (f & (CMD_READ | CMD_READONLY))
		names[n++] = "readonly";
	if (f & CMD_DENYOOM)
		names[n++] = "denyoom";
	if (f & CMD_ADMIN)
		names[n++] = "admin";
	if (f & CMD_PUBSUB)
		names[n++] = "pubsub";
	if (f & CMD_NO_MULTI)
		names[n++] = "no_multi";
	if (f & CMD_NO_AUTH)
		names[n++] = "no_auth";
	if (f & CMD_FAST)
		names[n++] = "fast";
	return n;
}

static void tell_command(struct client *c, const struct command *command)
{
	const char *names[12];
	size_t n = flag_names(command, names);

	reply_array(c, 10);
	reply_text(c, command->name);
	reply_integer(c, command->arity);
	reply_set(c, n);
	for (size_t i = 0; i < n; i++)
		reply_status(c, names[i]);
	reply_integer(c, command->first);
	reply_integer(c, command->last);
	reply_integer(c, command->step);
	reply_set(c, 1);
	reply_status(c,
		     command->flags & (CMD_WRITE | CMD_CHANGES)           ? "@write"
			     : command->flags & (CMD_READ | CMD_READONLY) ? "@read"
									  : "@connection");
	reply_array(c, 0);
	reply_array(c, 0);
	reply_array(c, 0);
}

static void tell_docs(struct client *c, const struct command *command)
{
	reply_text(c, command->name);
	reply_map(c, 4);
	reply_text(c, "summary");
	reply_text(c, command->summary);
	reply_text(c, "since");
	reply_text(c, command->since);
	reply_text(c, "group");
	reply_text(c, command->group);
	reply_text(c, "arity");
	reply_integer(c, command->arity);
}

static void tell_all_docs(struct client *c, const struct args *a)
{
	size_t n = 0;

	for (size_t i = 2; i < a->count; i++)
		n += command_find(c->g, a->at[i]) != NULL;
	reply_map(c, a->count == 2 ? command_count : n);
	for (size_t i = 0; a->count == 2 && i < command_count; i++)
		tell_docs(c, &commands[i]);
	for (size_t i = 2; i < a->count; i++)
		if (command_find(c->g, a->at[i]))
			tell_docs(c, command_find(c->g, a->at[i]));
}

static void tell_info(struct client *c, const struct args *a, bool all)
{
	reply_array(c, all ? command_count : a->count - 2);
	for (size_t i = 0; all && i < command_count; i++)
		tell_command(c, &commands[i]);
	for (size_t i = 2; !all && i < a->count; i++)
		if (command_find(c->g, a->at[i]))
			tell_command(c, command_find(c->g, a->at[i]));
		else
			reply_null(c);
}

/* The keys among the words of the command that stands behind COMMAND GETKEYS. */
static void tell_keys(struct client *c, const struct args *a)
{
	const struct command *command = command_find(c->g, a->at[2]);
	size_t count = a->count - 2, last, n = 0;

	if (!command) {
		reply_error(c, "ERR Invalid command specified");
	} else if (!command->first) {
		reply_error(c, "ERR The command has no key arguments");
	} else if (command->arity < 0 ? count < (size_t)-command->arity : count != (size_t)command->arity) {
		reply_error(c, "ERR Invalid number of arguments specified for command");
	} else {
		last = command->last < 0 ? count - 1 : (size_t)command->last;
		for (size_t i = (size_t)command->first; i <= last; i += (size_t)command->step)
			n++;
		reply_array(c, n);
		for (size_t i = (size_t)command->first; i <= last; i += (size_t)command->step)
			reply_bulk(c, a->at[i + 2]);
	}
}

RUN(run_command)
{
	struct cairn_slice sub = a->count > 1 ? a->at[1] : cairn_slice(NULL, 0);

	if (a->count == 1) {
		tell_info(c, a, true);
	} else if (word_is(sub, "count") && a->count == 2) {
		reply_integer(c, (long long)command_count);
	} else if (word_is(sub, "count")) {
		reply_error(c, "ERR wrong number of arguments for 'command|count' command");
	} else if (word_is(sub, "docs")) {
		tell_all_docs(c, a);
	} else if (word_is(sub, "info")) {
		tell_info(c, a, a->count == 2);
	} else if (word_is(sub, "list") && a->count == 2) {
		reply_array(c, command_count);
		for (size_t i = 0; i < command_count; i++)
			reply_text(c, commands[i].name);
	} else if (word_is(sub, "getkeys") && a->count > 2) {
		tell_keys(c, a);
	} else {
		reply_error(c, "ERR unknown subcommand '%.*s'. Try COMMAND HELP.",
			    (int)(sub.len < 128 ? sub.len : 128), (const char *)sub.data);
	}
	return RUN_DONE;
}

/* Settings that Redis clients ask for, and what is so here. */
static const struct {
	const char *name, *value;
} known[] = {
	{ "save", "" },
	{ "appendonly", "yes" },
	{ "appendfsync", "always" },
	{ "maxmemory", "0" },
	{ "maxmemory-policy", "noeviction" },
	{ "notify-keyspace-events", "AKE" },
};

static void add_pair(struct client *c, struct cairn_slice name, struct cairn_slice value)
{
	buffer_printf(&c->found, "$%zu\r\n", name.len);
	buffer_add(&c->found, name);
	buffer_printf(&c->found, "\r\n$%zu\r\n", value.len);
	buffer_add(&c->found, value);
	buffer_text(&c->found, "\r\n");
	c->found_count++;
}

static bool is_asked(const struct args *a, struct cairn_slice name)
{
	for (size_t i = 2; i < a->count; i++)
		if (glob_match(a->at[i], name))
			return true;
	return false;
}

/* The settings in the answer of config-get, and those that Redis clients know. */
static void tell_settings(struct client *c, const struct args *a, struct cairn_slice fields)
{
	struct cairn_slice row, name, value;
	char databases[16];
	unsigned field;
	void *p;

	c->found.len = c->found_count = 0;
	snprintf(databases, sizeof(databases), "%u", c->g->volume_count);
	if (is_asked(a, cairn_str("databases")))
		add_pair(c, cairn_str("databases"), cairn_str(databases));
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (is_asked(a, cairn_str(known[i].name)))
			add_pair(c, cairn_str(known[i].name), cairn_str(known[i].value));
	while (cairn_field_next(&fields, &field, &row) == 0 && field)
		if (cairn_field_find(row, CAIRN_F_SETTING, &name) &&
		    cairn_field_find(row, CAIRN_F_AMOUNT, &value) && is_asked(a, name))
			add_pair(c, name, value);
	reply_map(c, c->found_count);
	p = client_out(c, c->found.len);
	if (p && c->found.len)
		memcpy(p, c->found.data, c->found.len);
	buffer_free(&c->found);
}

/* Begin to set what stands at word I. */
static enum run set_next(struct client *c, const struct args *a, size_t i)
{
	struct cairn_request *r = step_new(c, CAIRN_OP_CONFIG_SET);

	if (!r) {
		client_end(c);
		return RUN_DONE;
	}
	r->arguments->len = CAIRN_MESSAGE_HEAD; /* without a volume */
	cairn_msg_bytes(r->arguments, CAIRN_F_SETTING, a->at[i]);
	cairn_msg_bytes(r->arguments, CAIRN_F_AMOUNT, a->at[i + 1]);
	return step_start(c);
}

static enum run config_set(struct client *c, const struct args *a)
{
	struct result result;
	bool failed;

	if (!c->step)
		return set_next(c, a, 2);
	result = step_result(c);
	failed = result.code;
	if (failed && result.message.len > 19 && !memcmp(result.message.data, "there is no setting", 19))
		reply_error(c, "ERR Unknown option or number of arguments for CONFIG SET - '%.*s'",
			    (int)(a->at[2 + c->index].len < 128 ? a->at[2 + c->index].len : 128),
			    (const char *)a->at[2 + c->index].data);
	else if (failed)
		tell_error(c, &result);
	step_end(c);
	c->index += 2;
	if (!failed && c->index + 3 < a->count)
		return set_next(c, a, 2 + c->index);
	c->index = 0;
	if (!failed)
		reply_ok(c);
	return RUN_DONE;
}

static void config_refuse(struct client *c, struct cairn_slice sub)
{
	static const char *const subs[] = { "get", "set", "resetstat" };

	for (size_t i = 0; i < 3; i++)
		if (word_is(sub, subs[i])) {
			reply_error(c, "ERR wrong number of arguments for 'config|%s' command", subs[i]);
			return;
		}
	reply_error(c, "ERR unknown subcommand '%.*s'. Try CONFIG HELP.",
		    (int)(sub.len < 128 ? sub.len : 128), (const char *)sub.data);
}

RUN(run_config)
{
	struct result result;

	if (word_is(a->at[1], "set") && a->count == 4 && word_is(a->at[2], "notify-keyspace-events")) {
		reply_ok(c); /* all of them are told to whoever asks for them */
		return RUN_DONE;
	}
	if (word_is(a->at[1], "set") && a->count > 3 && a->count % 2 == 0)
		return config_set(c, a);
	if (word_is(a->at[1], "resetstat") && a->count == 2) {
		reply_ok(c);
		return RUN_DONE;
	}
	if (!word_is(a->at[1], "get") || a->count < 3) {
		config_refuse(c, a->at[1]);
		return RUN_DONE;
	}
	if (!c->step) {
		if (!step_new(c, CAIRN_OP_CONFIG_GET)) {
			client_end(c);
			return RUN_DONE;
		}
		c->step->arguments->len = CAIRN_MESSAGE_HEAD;
		return step_start(c);
	}
	result = step_result(c);
	if (result.code)
		tell_error(c, &result);
	else
		tell_settings(c, a, result.fields);
	step_end(c);
	return RUN_DONE;
}

static bool is_section(const struct args *a, const char *name)
{
	for (size_t i = 1; i < a->count; i++)
		if (word_is(a->at[i], name) || word_is(a->at[i], "all") || word_is(a->at[i], "everything") ||
		    word_is(a->at[i], "default"))
			return true;
	return a->count == 1;
}

static void add_sections(struct client *c, const struct args *a)
{
	struct buffer *b = &c->found;
	unsigned long long up = (now_ms() - c->g->started_ms) / 1000;

	if (is_section(a, "server"))
		buffer_printf(b,
			      "# "
			      "Server\r\nredis_version:%s\r\ncairn_version:%s\r\nredis_mode:"
			      "standalone\r\nprocess_id:%ld\r\n"
			      "uptime_in_seconds:%llu\r\nuptime_in_days:%llu\r\n\r\n",
			      RESP_VERSION, c->host->release, (long)getpid(), up, up / 86400);
	if (is_section(a, "clients"))
		buffer_printf(b, "# Clients\r\nconnected_clients:%u\r\n\r\n",
			      c->host->connections(c->host->host));
	if (is_section(a, "persistence"))
		buffer_text(b, "# Persistence\r\nloading:0\r\n\r\n");
	if (is_section(a, "stats"))
		buffer_printf(
			b,
			"# Stats\r\ntotal_connections_received:%llu\r\ntotal_commands_processed:%llu\r\n\r\n",
			(unsigned long long)c->g->next_id, (unsigned long long)c->g->commands);
	if (is_section(a, "replication"))
		buffer_text(b, "# Replication\r\nrole:master\r\nconnected_slaves:0\r\n\r\n");
	if (is_section(a, "keyspace"))
		buffer_text(b, "# Keyspace\r\n");
}

/* How many keys the volume number INDEX has. */
static enum run ask_keys(struct client *c, size_t index)
{
	unsigned db = c->db;

	c->db = (unsigned)index;
	if (!step_new(c, CAIRN_OP_VOLUME_STATS)) {
		client_end(c);
		return RUN_DONE;
	}
	c->db = db;
	return step_start(c);
}

RUN(run_info)
{
	if (!c->step) {
		c->found.len = 0;
		add_sections(c, a);
		if (is_section(a, "keyspace"))
			return ask_keys(c, 0);
	} else {
		struct result result = step_result(c);
		uint64_t keys = result.code ? 0 : cairn_field_u64(result.fields, CAIRN_F_KEYS, 0);

		step_end(c);
		if (keys)
			buffer_printf(&c->found, "db%zu:keys=%llu,expires=0,avg_ttl=0\r\n", c->index,
				      (unsigned long long)keys);
		if (++c->index < c->g->volume_count)
			return ask_keys(c, c->index);
	}
	c->index = 0;
	reply_verbatim(c, buffer_slice(&c->found));
	buffer_free(&c->found);
	return RUN_DONE;
}
