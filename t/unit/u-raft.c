/* replication-raft, one instance at a time: what a node answers where a simulation seldom goes. */
#include <errno.h>
#include <stdlib.h>
#include "le.h"
#include "loader.h"
#include "tap.h"
#include <cairn/replication.h>

enum { APPEND = 1, ACK = 2, REJECT = 3, VOTE = 4, GRANT = 5, REFUSE = 6, NOW = 7, PRE = 1, TRANSFER = 2 };

static const struct cairn_replication *module;

/* What the instance did since it was asked last. */
struct seen {
	unsigned sent, appended;
	unsigned kind, flags; /* the last message's, and its TERM and A */
	uint64_t term, a, b, reads, token, truncated, persisted, applied;
	enum cairn_role role;
};

struct host {
	struct cairn_replication_host callbacks;
	void *instance;
	struct seen seen;
	uint64_t now_us, token;
};

static void *host_alloc(void *arg, size_t size)
{
	(void)arg;
	return calloc(1, size);
}

static void host_free(void *arg, void *p)
{
	(void)arg;
	free(p);
}

static void host_effect(void *arg, const struct cairn_effect *e)
{
	struct host *h = arg;
	const unsigned char *b = e->body.data;

	switch (e->kind) {
	case CAIRN_EFFECT_SEND:
		h->seen.sent++;
		h->seen.kind = b[1];
		h->seen.flags = b[2];
		h->seen.term = le64_get(b + 8);
		h->seen.a = le64_get(b + 16);
		h->seen.b = le64_get(b + 24);
		h->seen.token = e->token;
		break;
	case CAIRN_EFFECT_APPEND:
		h->seen.appended++;
		break;
	case CAIRN_EFFECT_TRUNCATE:
		h->seen.truncated = e->index;
		break;
	case CAIRN_EFFECT_PERSIST:
		h->seen.persisted++;
		h->token = e->token;
		break;
	case CAIRN_EFFECT_APPLY:
		h->seen.applied = e->last;
		break;
	case CAIRN_EFFECT_READ_OK:
		h->seen.reads++;
		break;
	case CAIRN_EFFECT_ROLE:
		h->seen.role = e->role;
		break;
	default:
		break;
	}
}

static void step(struct host *h, struct cairn_event e)
{
	enum cairn_role role = h->seen.role;

	h->seen = (struct seen){ .role = role };
	e.now_us = h->now_us;
	if (module->step(h->instance, &e, 1) < 0)
		bail("the module stopped");
}

static void stored(struct host *h)
{
	step(h, (struct cairn_event){ .kind = CAIRN_EVENT_STORED, .token = h->token });
}

/* A message of KIND in TERM from PEER; its entries follow the position INDEX - 1 of term AT. */
static void tell(struct host *h, uint64_t peer, unsigned kind, unsigned flags, uint64_t term, uint64_t a,
		 uint64_t b, uint64_t index, uint64_t at, const struct cairn_entry *entries, size_t count)
{
	unsigned char body[48] = { 1, (unsigned char)kind, (unsigned char)flags };

	le64_put(body + 8, term);
	le64_put(body + 16, a);
	le64_put(body + 24, b);
	step(h,
	     (struct cairn_event){ .kind = CAIRN_EVENT_MESSAGE,
				   .peer = peer,
				   .body = cairn_slice(body, sizeof(body)),
				   .index = index,
				   .term = at,
				   .entries = entries,
				   .count = count });
}

/* Members 1 to N as voters. */
static struct cairn_slice voters(unsigned char bytes[64], unsigned n)
{
	memset(bytes, 0, 64);
	bytes[0] = 1;
	bytes[1] = (unsigned char)n;
	for (unsigned i = 0; i < n; i++) {
		bytes[8 + 9 * i] = (unsigned char)(i + 1);
		bytes[16 + 9 * i] = 1;
	}
	return cairn_slice(bytes, 8 + 9 * n);
}

static void start(struct host *h, unsigned n, uint64_t index, uint64_t term)
{
	struct cairn_value values[] = { { .number = 150 }, { .number = 20 } };
	unsigned char bytes[64];
	struct cairn_durable d = {
		.self = 1, .term = term, .index = index, .index_term = term, .last = index
	};
	struct cairn_error error;

	*h = (struct host){ .callbacks = { h, host_alloc, host_free, host_effect }, .now_us = 1000000 };
	d.members = voters(bytes, n);
	if (module->open(&h->callbacks, values, &h->instance, &error) < 0)
		bail("the module cannot be opened");
	step(h, (struct cairn_event){ .kind = CAIRN_EVENT_START, .durable = &d, .random = 7 });
	h->now_us += 1000000; /* whoever led is forgotten */
}

static void votes(void)
{
	struct host h;

	start(&h, 3, 0, 0);
	tell(&h, 2, VOTE, 0, 5, 0, 0, 0, 0, NULL, 0);
	ok(h.seen.kind == GRANT && h.seen.persisted == 1, "a vote is given, and persisted");
	ok(h.seen.token == h.token, "it leaves when it is on disk");
	tell(&h, 3, VOTE, 0, 5, 0, 0, 0, 0, NULL, 0);
	is_int(h.seen.kind, REFUSE, "one vote a term");
	tell(&h, 3, VOTE, TRANSFER, 5, 0, 0, 0, 0, NULL, 0);
	is_int(h.seen.kind, REFUSE, "also where leadership is handed over");
	tell(&h, 2, VOTE, 0, 5, 0, 0, 0, 0, NULL, 0);
	is_int(h.seen.kind, GRANT, "the same candidate gets it again");
	tell(&h, 2, APPEND, 0, 5, 0, 0, 1, 0, NULL, 0);
	tell(&h, 3, VOTE, 0, 6, 9, 9, 0, 0, NULL, 0);
	ok(h.seen.kind == REFUSE && h.seen.term == 5, "who hears of a leader stays with it");
	tell(&h, 3, VOTE, TRANSFER, 6, 9, 9, 0, 0, NULL, 0);
	ok(h.seen.kind == GRANT && h.seen.term == 6, "unless that leader sent the candidate");
	module->close(h.instance);
}

static void members_go_with_their_entry(void)
{
	unsigned char five[64];
	struct cairn_entry change = { .index = 1, .term = 1, .kind = CAIRN_ENTRY_MEMBERS }, other;
	struct host h;

	start(&h, 3, 0, 0);
	change.body = voters(five, 5);
	tell(&h, 2, APPEND, 0, 1, 0, 0, 1, 0, &change, 1);
	stored(&h);
	ok(h.seen.kind == ACK && h.seen.a == 1, "an entry is acknowledged when it is stored");
	other = (struct cairn_entry){ .index = 1, .term = 2, .kind = CAIRN_ENTRY_NONE };
	tell(&h, 3, APPEND, 0, 2, 0, 0, 1, 0, &other, 1);
	is_int((long long)h.seen.truncated, 1, "a leader of a later term replaces it");
	stored(&h);
	/* An election among three: one other vote is enough; among five it is not. */
	h.now_us += 10000000;
	step(&h, (struct cairn_event){ .kind = CAIRN_EVENT_TIMER });
	is_int(h.seen.sent, 2, "then the members are three again: two are asked");
	tell(&h, 2, GRANT, PRE, 3, 0, 0, 0, 0, NULL, 0);
	stored(&h);
	tell(&h, 2, GRANT, 0, 3, 0, 0, 0, 0, NULL, 0);
	is_int(h.seen.role, CAIRN_ROLE_LEADER, "and one of them makes a leader");
	module->close(h.instance);
}

static void a_snapshot_keeps_what_was_acknowledged(void)
{
	struct cairn_entry entries[10];
	unsigned char bytes[64];
	struct host h;

	start(&h, 3, 0, 0);
	for (unsigned i = 0; i < 10; i++)
		entries[i] = (struct cairn_entry){ .index = i + 1, .term = 1, .size = 1 };
	tell(&h, 2, APPEND, 0, 1, 0, 0, 1, 0, entries, 10);
	stored(&h);
	is_int((long long)h.seen.a, 10, "ten entries are acknowledged");
	step(&h,
	     (struct cairn_event){
		     .kind = CAIRN_EVENT_INSTALLED, .index = 6, .term = 1, .body = voters(bytes, 3) });
	tell(&h, 2, APPEND, 0, 1, 0, 1, 11, 1, NULL, 0);
	ok(h.seen.kind == ACK && h.seen.a == 10, "and still are when a snapshot comes that ends before");
	step(&h,
	     (struct cairn_event){
		     .kind = CAIRN_EVENT_INSTALLED, .index = 8, .term = 2, .body = voters(bytes, 3) });
	is_int((long long)h.seen.truncated, 9, "one of another log takes its place");
	module->close(h.instance);
}

static void entries_that_come_back(void)
{
	struct cairn_entry old[2] = { { .index = 1, .term = 1 }, { .index = 2, .term = 1 } };
	struct cairn_entry other = { .index = 1, .term = 2 };
	struct host h;
	uint64_t first;

	start(&h, 5, 0, 0);
	tell(&h, 2, APPEND, 0, 1, 0, 0, 1, 0, old, 2);
	tell(&h, 3, APPEND, 0, 2, 0, 0, 1, 0, &other, 1);
	tell(&h, 2, VOTE, TRANSFER, 3, 2, 9, 0, 0, NULL, 0);
	first = h.token;
	tell(&h, 2, APPEND, 0, 3, 0, 0, 1, 0, old, 2);
	is_int((long long)h.seen.truncated, 1, "a third leader brings the entries of the first again");
	step(&h, (struct cairn_event){ .kind = CAIRN_EVENT_STORED, .token = first });
	is_int(h.seen.sent, 0, "that the first time is on disk is not that the second is");
	stored(&h);
	ok(h.seen.kind == ACK && h.seen.a == 2, "they are acknowledged when they are on disk again");
	module->close(h.instance);
}

/* Node 2 lets it lead in TERM. */
static void lead(struct host *h, uint64_t term)
{
	h->now_us += 10000000;
	step(h, (struct cairn_event){ .kind = CAIRN_EVENT_TIMER });
	tell(h, 2, GRANT, PRE, term, 0, 0, 0, 0, NULL, 0);
	stored(h);
	tell(h, 2, GRANT, 0, term, 0, 0, 0, 0, NULL, 0);
	is_int(h->seen.role, CAIRN_ROLE_LEADER, "it leads");
}

static void echoes(void)
{
	struct cairn_entry one = { .index = 1, .term = 1 };
	struct host h;

	start(&h, 3, 0, 0);
	tell(&h, 2, APPEND, 0, 1, 0, 7, 1, 0, &one, 1);
	stored(&h);
	tell(&h, 3, APPEND, 0, 2, 0, 1, 2, 1, NULL, 0);
	ok(h.seen.kind == ACK && h.seen.b == 1, "of each leader what that leader asked is answered");
	lead(&h, 3);
	stored(&h);
	tell(&h, 2, ACK, 0, 3, 2, 0, 0, 0, NULL, 0);
	step(&h, (struct cairn_event){ .kind = CAIRN_EVENT_READ, .reference = 1 });
	tell(&h, 2, ACK, 0, 3, 2, 0, 0, 0, NULL, 0);
	is_int((long long)h.seen.reads, 0, "what was sent before a read does not confirm it");
	tell(&h, 2, ACK, 0, 3, 2, 1, 0, 0, NULL, 0);
	is_int((long long)h.seen.reads, 1, "an answer to what was sent after it does");
	module->close(h.instance);
}

static void a_leader_that_nobody_hears(void)
{
	struct host h;

	start(&h, 3, 0, 0);
	lead(&h, 1);
	for (unsigned i = 0; i < 20; i++) {
		h.now_us += 20000;
		step(&h, (struct cairn_event){ .kind = CAIRN_EVENT_TIMER });
	}
	ok(h.seen.role != CAIRN_ROLE_LEADER, "without an answer for two election timeouts it gives up");
	module->close(h.instance);
}

static void a_leader_that_leaves(void)
{
	unsigned char bytes[64];
	struct host h;

	start(&h, 3, 0, 0);
	lead(&h, 1);
	stored(&h);
	tell(&h, 2, ACK, 0, 1, 1, 0, 0, 0, NULL, 0);
	voters(bytes, 2);
	bytes[8] = 2;
	bytes[17] = 3;
	step(&h, (struct cairn_event){ .kind = CAIRN_EVENT_MEMBERS, .body = cairn_slice(bytes, 26) });
	stored(&h);
	tell(&h, 2, ACK, 0, 1, 2, 0, 0, 0, NULL, 0);
	ok(h.seen.applied == 0, "its disk is none of the new members'");
	tell(&h, 3, ACK, 0, 1, 2, 0, 0, 0, NULL, 0);
	ok(h.seen.applied == 2 && h.seen.role == CAIRN_ROLE_LEADER, "both majorities begin the change");
	stored(&h);
	tell(&h, 2, ACK, 0, 1, 3, 0, 0, 0, NULL, 0);
	is_int(h.seen.role, CAIRN_ROLE_LEADER, "it leads on until the new members have the end of it");
	tell(&h, 3, ACK, 0, 1, 3, 0, 0, 0, NULL, 0);
	ok(h.seen.applied == 3 && h.seen.role == CAIRN_ROLE_FOLLOWER, "then it steps down");
	module->close(h.instance);
}

static void answers_to_nothing(void)
{
	struct cairn_entry old = { .index = 1, .term = 9 };
	struct host h;

	start(&h, 3, 0, 0);
	tell(&h, 2, APPEND, 0, 3, 0, 0, 1, 0, &old, 1);
	is_int(h.seen.appended, 0, "an entry of a later term than its leader's is not taken");
	old.term = 0;
	tell(&h, 2, APPEND, 0, 3, 1, 0, 1, 0, &old, 1);
	is_int((long long)h.seen.applied, 0, "nor is one of no term committed");
	tell(&h, 2, VOTE, TRANSFER, UINT64_MAX, 0, 0, 0, 0, NULL, 0);
	is_int(h.seen.sent, 0, "no term can be the last");
	lead(&h, 4);
	stored(&h);
	tell(&h, 2, ACK, 0, 3, 1, 0, 0, 0, NULL, 0);
	is_int((long long)h.seen.applied, 0, "an acknowledgement of an older term counts for nothing");
	tell(&h, 2, ACK, 0, 4, 0, 0, 0, 0, NULL, 0);
	tell(&h, 2, REJECT, 0, 4, UINT64_MAX - 1, 0, 0, 0, NULL, 0);
	is_int(h.seen.sent, 0, "refused positions that it never sent are as if they had been lost");
	module->close(h.instance);
}

static void timeouts(void)
{
	static const uint64_t wrong[][2] = { { 150, 0 },     { 150, 51 },       { 0, 0 },
					     { 3600001, 1 }, { 1ull << 61, 1 }, { 150, UINT64_MAX } };
	struct host h = { .callbacks = { &h, host_alloc, host_free, host_effect } };
	struct cairn_error error;
	unsigned refused = 0;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct cairn_value values[] = { { .number = wrong[i][0] }, { .number = wrong[i][1] } };

		refused += module->open(&h.callbacks, values, &h.instance, &error) == -EINVAL;
	}
	is_int(refused, sizeof(wrong) / sizeof(wrong[0]), "timeouts that cannot be are refused");
}

static void damaged_messages(void)
{
	unsigned char body[48] = { 1, APPEND };
	struct host h;

	start(&h, 3, 0, 0);
	for (unsigned len = 0; len < sizeof(body); len++) {
		unsigned char *part = malloc(len ? len : 1);

		step(&h,
		     (struct cairn_event){ .kind = CAIRN_EVENT_MESSAGE,
					   .peer = 2,
					   .body = cairn_slice(memcpy(part, body, len), len) });
		free(part);
	}
	body[1] = 99;
	step(&h,
	     (struct cairn_event){
		     .kind = CAIRN_EVENT_MESSAGE, .peer = 2, .body = cairn_slice(body, sizeof(body)) });
	is_int(h.seen.sent, 0, "what is no message is as if it had been lost");
	module->close(h.instance);
}

int main(void)
{
	struct loader *loader = loader_new(NULL);
	const struct plugin *p;
	struct cairn_error error;

	if (loader_get(loader, PLUGIN_REPLICATION, "raft", &p, &error))
		return tap_skip_all(error.message);
	module = p->replication;
	votes();
	members_go_with_their_entry();
	a_snapshot_keeps_what_was_acknowledged();
	entries_that_come_back();
	echoes();
	a_leader_that_nobody_hears();
	a_leader_that_leaves();
	answers_to_nothing();
	timeouts();
	damaged_messages();
	loader_free(loader);
	return tap_done();
}
