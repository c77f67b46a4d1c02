/* CLIENT: what connections there are, and what can be changed of them. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include "families.h"
#include "banned.h"

/* The line of CLIENT LIST for C. */
static void describe(struct client *c, struct buffer *b)
{
	uint64_t now = now_ms();
	const char *flags = c->multi ? "x" : c->subscriptions ? "P" : "N";

	buffer_printf(b,
		      "id=%llu addr=%s laddr=%s fd=%d name=%s age=%llu idle=%llu flags=%s db=%u sub=%zu "
		      "psub=0 ssub=0 "
		      "multi=%ld qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=%zu rbs=0 rbp=0 obl=%zu oll=0 "
		      "omem=0 tot-mem=0 "
		      "events=r cmd=%s user=default redir=-1 resp=%u lib-name=%s lib-ver=%s\n",
		      (unsigned long long)c->id, c->host->peer(c->connection), c->host->local(c->connection),
		      c->host->descriptor(c->connection), c->name,
		      (unsigned long long)(now - c->born_ms) / 1000,
		      (unsigned long long)(now - c->last_ms) / 1000, flags, c->db, c->subscriptions,
		      c->multi ? (long)c->queue_count : -1, c->queue_bytes, c->host->unsent(c->connection),
		      c->last ? c->last->name : "NULL", c->proto, c->lib_name, c->lib_version);
}

static bool is_type(struct client *c, struct cairn_slice word)
{
	if (word_is(word, "normal") || word_is(word, "pubsub") || word_is(word, "master") ||
	    word_is(word, "replica") || word_is(word, "slave"))
		return true;
	reply_error(c, "ERR Unknown client type '%.*s'", (int)(word.len < 64 ? word.len : 64),
		    (const char *)word.data);
	return false;
}

static void tell_list(struct client *c, const struct args *a)
{
	struct buffer b = { 0 };
	long long id;

	if (a->count > 2 && !(word_is(a->at[2], "id") && a->count > 3) &&
	    !(word_is(a->at[2], "type") && a->count == 4)) {
		reply_error(c, ERROR_SYNTAX);
		return;
	}
	for (size_t i = 3; i < a->count; i++)
		if (word_is(a->at[2], "id") && !to_integer(a->at[i], &id)) {
			reply_error(c, "ERR Invalid client ID");
			return;
		} else if (word_is(a->at[2], "type") && !is_type(c, a->at[i])) {
			return;
		}
	for (struct client *o = c->g->clients; o; o = o->next) {
		bool wanted = a->count == 2;

		for (size_t i = 3; i < a->count && !wanted; i++)
			wanted = word_is(a->at[2], "id")
				? to_integer(a->at[i], &id) && (uint64_t)id == o->id
				: word_is(a->at[i], o->subscriptions ? "pubsub" : "normal");
		if (wanted)
			describe(o, &b);
	}
	reply_verbatim(c, buffer_slice(&b));
	buffer_free(&b);
}

/* What CLIENT KILL looks for. */
struct kill {
	long long id;
	struct cairn_slice addr, laddr, type;
	bool skip_me, old_form;
};

static bool take_kill(struct client *c, const struct args *a, struct kill *k)
{
	*k = (struct kill){ .skip_me = true, .old_form = a->count == 3 };
	if (k->old_form) {
		k->addr = a->at[2];
		k->skip_me = false;
		return true;
	}
	for (size_t i = 2; i < a->count; i += 2) {
		bool more = i + 1 < a->count;

		if (more && word_is(a->at[i], "id")) {
			if (!to_integer(a->at[i + 1], &k->id) || k->id < 1) {
				reply_error(c, "ERR client-id should be greater than 0");
				return false;
			}
		} else if (more && word_is(a->at[i], "addr")) {
			k->addr = a->at[i + 1];
		} else if (more && word_is(a->at[i], "laddr")) {
			k->laddr = a->at[i + 1];
		} else if (more && word_is(a->at[i], "type")) {
			k->type = a->at[i + 1];
			if (!is_type(c, k->type))
				return false;
		} else if (more && word_is(a->at[i], "skipme") &&
			   (word_is(a->at[i + 1], "yes") || word_is(a->at[i + 1], "no"))) {
			k->skip_me = word_is(a->at[i + 1], "yes");
		} else {
			reply_error(c, ERROR_SYNTAX);
			return false;
		}
	}
	return true;
}

static bool is_meant(const struct kill *k, struct client *o)
{
	return (!k->id || (uint64_t)k->id == o->id) &&
		(!k->addr.len || word_is(k->addr, o->host->peer(o->connection))) &&
		(!k->laddr.len || word_is(k->laddr, o->host->local(o->connection))) &&
		(!k->type.len || word_is(k->type, o->subscriptions ? "pubsub" : "normal"));
}

static void kill_some(struct client *c, const struct args *a)
{
	long long n = 0;
	bool me = false;
	struct kill k;

	if (!take_kill(c, a, &k))
		return;
	for (struct client *o = c->g->clients, *next; o; o = next) {
		next = o->next;
		if (!is_meant(&k, o) || o->ending || (o == c && k.skip_me))
			continue;
		n++;
		if (o == c) {
			me = true;
		} else {
			o->ending = true;
			o->host->end(o->connection, true);
		}
	}
	if (!k.old_form)
		reply_integer(c, n);
	else if (n)
		reply_ok(c);
	else
		reply_error(c, "ERR No such client");
	if (me)
		client_end(c);
}

static void set_info(struct client *c, const struct args *a)
{
	bool name = word_is(a->at[2], "lib-name");
	char *to = name ? c->lib_name : c->lib_version;
	size_t size = name ? sizeof(c->lib_name) : sizeof(c->lib_version);
	const char *p = a->at[3].data;

	if (!name && !word_is(a->at[2], "lib-ver")) {
		reply_error(c, "ERR Unrecognized option '%.*s'", (int)(a->at[2].len < 64 ? a->at[2].len : 64),
			    (const char *)a->at[2].data);
		return;
	}
	for (size_t i = 0; i < a->at[3].len; i++)
		if (p[i] < '!' || p[i] > '~') {
			reply_error(c, "ERR %s cannot contain spaces, newlines or special characters.",
				    name ? "lib-name" : "lib-ver");
			return;
		}
	snprintf(to, size, "%.*s", (int)(a->at[3].len < size ? a->at[3].len : size), p ? p : "");
	reply_ok(c);
}

static void tell_one(struct client *c)
{
	struct buffer b = { 0 };

	describe(c, &b);
	reply_verbatim(c, buffer_slice(&b));
	buffer_free(&b);
}

/* The subcommands, and how many words each has. */
static const struct {
	const char *name;
	size_t least, most;
} subs[] = {
	{ "id", 2, 2 },           { "info", 2, 2 },
	{ "list", 2, SIZE_MAX },  { "kill", 3, SIZE_MAX },
	{ "getname", 2, 2 },      { "setname", 3, 3 },
	{ "setinfo", 4, 4 },      { "no-evict", 3, 3 },
	{ "no-touch", 3, 3 },     { "tracking", 3, SIZE_MAX },
	{ "caching", 3, 3 },      { "getredir", 2, 2 },
	{ "trackinginfo", 2, 2 },
};
enum {
	SUB_ID,
	SUB_INFO,
	SUB_LIST,
	SUB_KILL,
	SUB_GETNAME,
	SUB_SETNAME,
	SUB_SETINFO,
	SUB_EVICT,
	SUB_TOUCH,
	SUB_TRACKING,
	SUB_CACHING,
	SUB_GETREDIR,
	SUB_TRACKINGINFO,
	SUB_COUNT
};

/* Which subcommand A has; SUB_COUNT where the error was told. */
static unsigned find_sub(struct client *c, const struct args *a)
{
	unsigned i = 0;

	while (i < SUB_COUNT && !word_is(a->at[1], subs[i].name))
		i++;
	if (i == SUB_COUNT) {
		reply_error(c, "ERR unknown subcommand '%.*s'. Try CLIENT HELP.",
			    (int)(a->at[1].len < 128 ? a->at[1].len : 128), (const char *)a->at[1].data);
	} else if (a->count < subs[i].least || a->count > subs[i].most) {
		reply_error(c, "ERR wrong number of arguments for 'client|%s' command", subs[i].name);
		i = SUB_COUNT;
	}
	return i;
}

RUN(run_client)
{
	unsigned sub = find_sub(c, a);

	if (sub == SUB_ID)
		reply_integer(c, (long long)c->id);
	else if (sub == SUB_INFO)
		tell_one(c);
	else if (sub == SUB_LIST)
		tell_list(c, a);
	else if (sub == SUB_KILL)
		kill_some(c, a);
	else if (sub == SUB_GETNAME && !c->name[0])
		reply_null(c);
	else if (sub == SUB_GETNAME)
		reply_text(c, c->name);
	else if (sub == SUB_SETNAME && set_name(c, a->at[2]))
		reply_ok(c);
	else if (sub == SUB_SETINFO)
		set_info(c, a);
	else if ((sub == SUB_EVICT || sub == SUB_TOUCH) &&
		 (word_is(a->at[2], "on") || word_is(a->at[2], "off")))
		reply_ok(c);
	else if (sub == SUB_EVICT || sub == SUB_TOUCH)
		reply_error(c, ERROR_SYNTAX);
	else if (sub == SUB_TRACKING)
		return run_tracking(c, a);
	else if (sub == SUB_CACHING)
		run_caching(c, a->at[2]);
	else if (sub == SUB_GETREDIR)
		reply_integer(c, c->tracking ? 0 : -1);
	else if (sub == SUB_TRACKINGINFO)
		tell_tracking(c);
	return RUN_DONE;
}
