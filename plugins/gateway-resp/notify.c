/*
 * What a client is told without asking: messages about keys (SUBSCRIBE, PSUBSCRIBE of keyspace and keyevent
 * channels), and which keys its own cache should forget (CLIENT TRACKING). Both come from a watch of all keys
 * of a volume, one for each client and volume that it needs. A client that does not read falls behind its
 * watch, which ends then, and so does the client.
 */
#include <stdio.h>
#include <stdlib.h>
#include "families.h"
#include "banned.h"

#define TRACK_MAX (1u << 20) /* keys of a client that are remembered; beyond, it is told of all */
#define OWN 256              /* newest writes of a client that NOLOOP knows */

/* A channel or pattern. */
struct subscription {
	struct subscription *next;
	bool pattern;
	size_t len;
	char text[];
};

struct tracking {
	bool all; /* BCAST; or more keys than are remembered */
	bool bcast, optin, optout, noloop;
	int caching;            /* CLIENT CACHING said so for the next command: 1 yes, 0 no; -1 nothing */
	struct buffer prefixes; /* of BCAST: each with a NUL behind it */
	size_t prefix_count;
	uint64_t *keys; /* hashes of the keys that were read; 0: none */
	size_t count, cap;
	struct buffer late; /* keys that changed while a read was under way: each with its length before it */
	uint64_t own[OWN];  /* revisions of own writes */
	unsigned own_next;
};

static uint64_t hash_key(struct cairn_slice key)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (size_t i = 0; i < key.len; i++)
		h = (h ^ ((const unsigned char *)key.data)[i]) * 0x100000001b3u;
	h ^= h >> 32;
	return h ? h : 1;
}

static void insert(struct tracking *t, uint64_t hash)
{
	size_t i = hash & (t->cap - 1);

	while (t->keys[i] && t->keys[i] != hash)
		i = (i + 1) & (t->cap - 1);
	t->count += !t->keys[i];
	t->keys[i] = hash;
}

static void track(struct tracking *t, struct cairn_slice key)
{
	if (t->all)
		return;
	if (2 * t->count >= t->cap) {
		size_t cap = t->cap;
		uint64_t *old = t->keys,
			 *keys = cap < 2 * TRACK_MAX ? calloc(cap ? 2 * cap : 64, sizeof(*keys)) : NULL;

		if (!keys) {
			t->all = true;
			return;
		}
		t->keys = keys;
		t->cap = cap ? 2 * cap : 64;
		t->count = 0;
		for (size_t i = 0; i < cap; i++)
			if (old[i])
				insert(t, old[i]);
		free(old);
	}
	insert(t, hash_key(key));
}

/* Whether KEY was read since it was told of last; it is forgotten. */
static bool untrack(struct tracking *t, struct cairn_slice key)
{
	uint64_t hash = hash_key(key);
	size_t i = t->cap ? hash & (t->cap - 1) : 0;

	if (t->all || !t->cap)
		return t->all;
	while (t->keys[i] && t->keys[i] != hash)
		i = (i + 1) & (t->cap - 1);
	if (!t->keys[i])
		return false;
	t->keys[i] = 0;
	t->count--;
	for (i = (i + 1) & (t->cap - 1); t->keys[i];
	     i = (i + 1) & (t->cap - 1)) { /* those behind may move up */
		hash = t->keys[i];
		t->keys[i] = 0;
		t->count--;
		insert(t, hash);
	}
	return true;
}

void track_read(struct client *c, const struct command *command, const struct args *a)
{
	struct tracking *t = c->tracking;
	size_t last = command->last < 0 ? a->count - 1 : (size_t)command->last;

	if (t->bcast || !(command->flags & (CMD_READ | CMD_READONLY)) || !command->first ||
	    (t->optin && t->caching != 1) || (t->optout && t->caching == 0))
		return;
	for (size_t i = (size_t)command->first; i <= last && i < a->count; i += (size_t)command->step)
		track(t, a->at[i]);
}

void track_command(struct client *c, const struct command *command, const struct args *a)
{
	track_read(c, command, a);
	if (!(command->flags & CMD_NOW) && !word_is(a->at[0], "client"))
		c->tracking->caching = -1;
}

void track_own(struct client *c, uint64_t revision)
{
	struct tracking *t = c->tracking;

	t->own[t->own_next++ % OWN] = revision;
}

static bool is_own(const struct tracking *t, uint64_t revision)
{
	for (unsigned i = 0; t->noloop && i < OWN; i++)
		if (t->own[i] == revision)
			return true;
	return false;
}

static void push_invalid(struct client *c, const struct cairn_slice *key)
{
	if (c->proto < 3)
		return;
	reply_push(c, 2);
	reply_text(c, "invalidate");
	if (key) {
		reply_array(c, 1);
		reply_bulk(c, *key);
	} else {
		reply_null(c);
	}
}

static bool has_prefix(const struct tracking *t, struct cairn_slice key)
{
	const char *p = (const char *)t->prefixes.data;

	for (size_t i = 0; i < t->prefix_count; i++, p += strlen(p) + 1)
		if (cairn_slice_starts(key, cairn_str(p)))
			return true;
	return t->prefix_count == 0;
}

static void invalidate(struct client *c, struct cairn_slice fields, struct cairn_slice key, bool many)
{
	struct tracking *t = c->tracking;
	uint32_t length = (uint32_t)key.len;

	if (many) {
		push_invalid(c, NULL);
		return;
	}
	if (is_own(t, cairn_field_u64(fields, CAIRN_F_REVISION, 0)))
		return;
	if (t->bcast ? !has_prefix(t, key) : !untrack(t, key))
		return;
	push_invalid(c, &key);
	if (c->first && !t->bcast) { /* its old value may be on its way */
		buffer_add(&t->late, cairn_slice(&length, sizeof(length)));
		buffer_add(&t->late, key);
	}
}

void track_late(struct client *c)
{
	struct buffer *b = &c->tracking->late;
	uint32_t length;

	for (size_t at = 0; at + sizeof(length) <= b->len; at += sizeof(length) + length) {
		struct cairn_slice key;

		memcpy(&length, b->data + at, sizeof(length));
		key = cairn_slice(b->data + at + sizeof(length), length);
		push_invalid(c, &key);
	}
	b->len = 0;
}

bool track_is_late(const struct client *c)
{
	return c->tracking->late.len;
}

/* One message on CHANNEL to all of C's subscriptions that it concerns. */
static void publish(struct client *c, struct cairn_slice channel, struct cairn_slice text)
{
	for (const struct subscription *s = c->subs; s; s = s->next) {
		struct cairn_slice wanted = cairn_slice(s->text, s->len);

		if (s->pattern ? !glob_match(wanted, channel) : !cairn_slice_eq(wanted, channel))
			continue;
		reply_push(c, s->pattern ? 4 : 3);
		reply_text(c, s->pattern ? "pmessage" : "message");
		if (s->pattern)
			reply_bulk(c, wanted);
		reply_bulk(c, channel);
		reply_bulk(c, text);
	}
}

/* What Redis calls the change that FIELDS tell of; NULL: it has no word for it. */
static const char *event_name(struct cairn_slice fields)
{
	static const char *const names[][2] = {
		{ "put", "set" },        { "append", "append" }, { "patch", "setrange" },
		{ "expire", "expired" }, { "ttl", "expire" },    { "delete", "del" },
		{ "copy", "copy_to" },   { "revert", "set" },    { "swap", "rename_to" },
		{ "attributes", "set" },
	};
	bool gone = cairn_field_bool(fields, CAIRN_F_DELETED, false);
	struct cairn_slice change = { 0 };

	cairn_field_find(fields, CAIRN_F_CHANGE, &change);
	if (word_is(change, "move"))
		return gone ? "rename_from" : "rename_to";
	if (gone && !word_is(change, "expire"))
		return "del";
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (word_is(change, names[i][0]))
			return names[i][1];
	return NULL;
}

void notify_event(struct client *c, struct cairn_request *r)
{
	struct cairn_slice key = { 0 }, fields = r->answer;
	const char *event = event_name(fields);
	unsigned db = (unsigned)r->tag;
	char channel[STORE_KEY + 40];
	bool many;
	int n;

	if (cairn_field_bool(fields, CAIRN_F_PROGRESS, false)) {
		c->watches_waiting -= r->priv != NULL; /* the first one says that it has begun */
		r->priv = NULL;
		return;
	}
	many = !cairn_field_find(fields, CAIRN_F_KEY, &key) ||
		cairn_field_bool(fields, CAIRN_F_FOLDER, false) || !event;
	if (c->tracking && db == c->db)
		invalidate(c, fields, key, many);
	if (many || !c->subs || key.len > STORE_KEY)
		return;
	n = snprintf(channel, sizeof(channel), "__keyspace@%u__:", db);
	if (key.len)
		memcpy(channel + n, key.data, key.len);
	publish(c, cairn_slice(channel, (size_t)n + key.len), cairn_str(event));
	n = snprintf(channel, sizeof(channel), "__keyevent@%u__:%s", db, event);
	publish(c, cairn_slice(channel, (size_t)n), key);
}

bool notify_done(struct client *c, const struct cairn_request *r)
{
	for (unsigned i = 0; c->watches && i < c->g->volume_count; i++) {
		if (c->watches[i] != r)
			continue;
		c->watches_waiting -= r->priv != NULL;
		c->watches[i] = NULL;
		if (r->error) /* it did not keep up, or the volume is gone: what it believes is wrong by now
			       */
			client_end(c);
		return true;
	}
	return false;
}

/* Watch the volumes that C needs; WAIT until that has begun. */
static enum run watch_all(struct client *c, bool every)
{
	if (!c->watches)
		c->watches = calloc(c->g->volume_count, sizeof(*c->watches));
	for (unsigned i = 0; c->watches && i < c->g->volume_count; i++) {
		struct cairn_request *r;

		if (c->watches[i] || (!every && i != c->db))
			continue;
		r = c->host->request(c->connection);
		if (!r)
			break;
		r->op = CAIRN_OP_WATCH;
		r->tag = i;
		r->priv = c;
		if (!c->g->is_main[i])
			cairn_msg_text(r->arguments, CAIRN_F_VOLUME, c->g->volumes[i]);
		cairn_msg_text(r->arguments, CAIRN_F_PREFIX, "");
		c->watches[i] = r;
		c->watches_waiting++;
		c->host->start(r);
	}
	return c->watches_waiting ? RUN_WAIT : RUN_DONE;
}

static void unwatch_unused(struct client *c)
{
	for (unsigned i = 0; c->watches && !c->subs && !c->tracking && i < c->g->volume_count; i++)
		if (c->watches[i])
			c->host->cancel(c->watches[i]);
}

static struct subscription **find(struct client *c, bool pattern, struct cairn_slice text)
{
	struct subscription **s = &c->subs;

	while (*s && ((*s)->pattern != pattern || !cairn_slice_eq(cairn_slice((*s)->text, (*s)->len), text)))
		s = &(*s)->next;
	return s;
}

static void tell_sub(struct client *c, const char *what, const struct cairn_slice *text)
{
	reply_push(c, 3);
	reply_text(c, what);
	if (text)
		reply_bulk(c, *text);
	else
		reply_null(c);
	reply_integer(c, (long long)c->subscriptions);
}

static enum run subscribe(struct client *c, const struct args *a, bool pattern)
{
	if (watch_all(c, true) == RUN_WAIT)
		return RUN_WAIT;
	for (size_t i = 1; i < a->count; i++) {
		struct subscription **s = find(c, pattern, a->at[i]);

		if (!*s) {
			struct subscription *n = malloc(sizeof(*n) + a->at[i].len);

			if (!n) {
				client_end(c);
				break;
			}
			n->next = NULL;
			n->pattern = pattern;
			n->len = a->at[i].len;
			if (n->len)
				memcpy(n->text, a->at[i].data, n->len);
			*s = n;
			c->subscriptions++;
		}
		tell_sub(c, pattern ? "psubscribe" : "subscribe", &a->at[i]);
	}
	return RUN_DONE;
}

static void drop(struct client *c, struct subscription **s)
{
	struct subscription *gone = *s;

	*s = gone->next;
	c->subscriptions--;
	free(gone);
}

static void unsubscribe(struct client *c, const struct args *a, bool pattern)
{
	const char *what = pattern ? "punsubscribe" : "unsubscribe";
	size_t told = 0;

	for (size_t i = 1; i < a->count; i++) {
		struct subscription **s = find(c, pattern, a->at[i]);

		if (*s)
			drop(c, s);
		tell_sub(c, what, &a->at[i]);
	}
	for (struct subscription **s = &c->subs; a->count == 1 && *s;) {
		struct buffer text = { 0 };
		struct cairn_slice name;

		if ((*s)->pattern != pattern) {
			s = &(*s)->next;
			continue;
		}
		buffer_add(&text, cairn_slice((*s)->text, (*s)->len));
		drop(c, s);
		name = buffer_slice(&text);
		tell_sub(c, what, &name);
		buffer_free(&text);
		told++;
	}
	if (a->count == 1 && !told)
		tell_sub(c, what, NULL);
	unwatch_unused(c);
}

RUN(run_subscribe)
{
	return subscribe(c, a, false);
}

RUN(run_psubscribe)
{
	return subscribe(c, a, true);
}

RUN(run_unsubscribe)
{
	unsubscribe(c, a, false);
	return RUN_DONE;
}

RUN(run_punsubscribe)
{
	unsubscribe(c, a, true);
	return RUN_DONE;
}

static void tracking_end(struct client *c)
{
	if (!c->tracking)
		return;
	buffer_free(&c->tracking->prefixes);
	buffer_free(&c->tracking->late);
	free(c->tracking->keys);
	free(c->tracking);
	c->tracking = NULL;
}

void notify_end(struct client *c)
{
	while (c->subs)
		drop(c, &c->subs);
	tracking_end(c);
	unwatch_unused(c);
}

void notify_free(struct client *c)
{
	notify_end(c);
	free(c->watches);
}

/* The options of CLIENT TRACKING ON; false where the error was told. */
static bool take_tracking(struct client *c, const struct args *a, struct tracking *t)
{
	*t = (struct tracking){ .caching = -1 };
	for (size_t i = 3; i < a->count; i++) {
		if (word_is(a->at[i], "bcast")) {
			t->bcast = true;
		} else if (word_is(a->at[i], "optin")) {
			t->optin = true;
		} else if (word_is(a->at[i], "optout")) {
			t->optout = true;
		} else if (word_is(a->at[i], "noloop")) {
			t->noloop = true;
		} else if (word_is(a->at[i], "prefix") && i + 1 < a->count) {
			buffer_add(&t->prefixes, a->at[++i]);
			buffer_byte(&t->prefixes, 0);
			t->prefix_count++;
		} else if (word_is(a->at[i], "redirect")) {
			reply_error(c,
				    "ERR REDIRECT is not offered: use version 3 of the protocol (HELLO 3)");
			return false;
		} else {
			reply_error(c, ERROR_SYNTAX);
			return false;
		}
	}
	if (t->prefix_count && !t->bcast)
		reply_error(c, "ERR PREFIX option requires BCAST mode to be enabled");
	else if (t->bcast && (t->optin || t->optout))
		reply_error(c, "ERR OPTIN and OPTOUT are not compatible with BCAST");
	else if (t->optin && t->optout)
		reply_error(c, "ERR You can't use both OPTIN and OPTOUT");
	else
		return true;
	return false;
}

RUN(run_tracking)
{
	struct tracking t;

	if (word_is(a->at[2], "off")) {
		tracking_end(c);
		unwatch_unused(c);
		reply_ok(c);
		return RUN_DONE;
	}
	if (!word_is(a->at[2], "on")) {
		reply_error(c, ERROR_SYNTAX);
		return RUN_DONE;
	}
	if (!take_tracking(c, a, &t)) {
		buffer_free(&t.prefixes);
		return RUN_DONE;
	}
	if (watch_all(c, true) == RUN_WAIT) {
		buffer_free(&t.prefixes);
		return RUN_WAIT;
	}
	tracking_end(c);
	c->tracking = malloc(sizeof(t));
	if (c->tracking) {
		*c->tracking = t;
		reply_ok(c);
	} else {
		buffer_free(&t.prefixes);
		client_end(c);
	}
	return RUN_DONE;
}

void run_caching(struct client *c, struct cairn_slice word)
{
	struct tracking *t = c->tracking;

	if (!t || (!t->optin && !t->optout)) {
		reply_error(c,
			    "ERR CLIENT CACHING can be called only when the client is in tracking mode with "
			    "OPTIN or OPTOUT "
			    "mode enabled");
	} else if (word_is(word, "yes") && t->optin) {
		t->caching = 1;
		reply_ok(c);
	} else if (word_is(word, "no") && t->optout) {
		t->caching = 0;
		reply_ok(c);
	} else {
		reply_error(c,
			    word_is(word, "yes") ? "ERR CLIENT CACHING YES is only valid when tracking is "
						   "enabled in OPTIN mode."
				    : word_is(word, "no") ? "ERR CLIENT CACHING NO is only valid when "
							    "tracking is enabled in OPTOUT mode."
							  : ERROR_SYNTAX);
	}
}

void tell_tracking(struct client *c)
{
	const struct tracking *t = c->tracking;
	const char *p = t ? (const char *)t->prefixes.data : NULL;

	reply_map(c, 3);
	reply_text(c, "flags");
	reply_set(c, t ? 1u + t->bcast + t->optin + t->optout + t->noloop : 1u);
	reply_text(c, t ? "on" : "off");
	if (t && t->bcast)
		reply_text(c, "bcast");
	if (t && t->optin)
		reply_text(c, "optin");
	if (t && t->optout)
		reply_text(c, "optout");
	if (t && t->noloop)
		reply_text(c, "noloop");
	reply_text(c, "redirect");
	reply_integer(c, t ? 0 : -1);
	reply_text(c, "prefixes");
	reply_array(c, t ? t->prefix_count : 0);
	for (size_t i = 0; t && i < t->prefix_count; i++, p += strlen(p) + 1)
		reply_text(c, p);
}
