/*
 * replication-raft with peers that send anything: the host is honest, messages are not. The input is a list
 * of events, each a byte that says which and numbers, small ones in a byte. Whatever comes, the module keeps
 * to its contract: entries take their places in order, nothing that was committed is dropped, what it sends
 * and applies is in the log, and its memory comes back. That it stops (two leaders of one term, say) is
 * allowed.
 */
#include <stdint.h>
#include <stdlib.h>
#include "le.h"
#include <cairn/replication.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
const struct cairn_replication *cairn_replication_plugin(void);

#define ENTRIES 12
#define EVENTS 400 /* most of one input */

struct input {
	const uint8_t *at, *end;
};

struct host {
	struct cairn_replication_host callbacks;
	uint64_t now_us, base, last, commit, token, stored, snapshot_peer;
	size_t blocks;
};

static void must(bool good)
{
	if (!good)
		abort();
}

static uint8_t byte(struct input *in)
{
	return in->at < in->end ? *in->at++ : 0;
}

static uint64_t number(struct input *in)
{
	uint8_t b = byte(in);
	uint64_t v;

	if (b < 240 || in->end - in->at < 8)
		return b % 60;
	v = le64_get(in->at);
	in->at += 8;
	return b < 248 ? v : UINT64_MAX - v % 4;
}

static void *host_alloc(void *arg, size_t size)
{
	struct host *h = arg;

	h->blocks++;
	return calloc(1, size ? size : 1);
}

static void host_free(void *arg, void *p)
{
	struct host *h = arg;

	h->blocks -= p != NULL;
	free(p);
}

static void host_effect(void *arg, const struct cairn_effect *e)
{
	struct host *h = arg;

	switch (e->kind) {
	case CAIRN_EFFECT_APPEND:
		must(e->entry.index == h->last + 1);
		h->last++;
		break;
	case CAIRN_EFFECT_TRUNCATE:
		must(e->index > h->commit && e->index <= h->last);
		h->last = e->index - 1;
		break;
	case CAIRN_EFFECT_PERSIST:
		must(e->token == h->token + 1 && e->last == h->last);
		h->token++;
		break;
	case CAIRN_EFFECT_APPLY:
		must(e->index == h->commit + 1 && e->last >= e->index && e->last <= h->last);
		h->commit = e->last;
		break;
	case CAIRN_EFFECT_SEND:
		must(e->token <= h->token + 1 && e->body.len);
		must(e->last <= h->last && e->index <= h->last + 1 && (!e->last || e->last >= e->index));
		must(!e->last || e->index > h->base);
		break;
	case CAIRN_EFFECT_SNAPSHOT:
		must(e->index <= h->commit);
		h->snapshot_peer = e->peer;
		break;
	default:
		break;
	}
}

/* Members 1 to N, of which each is what a byte of IN says. */
static struct cairn_slice members(struct input *in, unsigned char bytes[64], unsigned n)
{
	memset(bytes, 0, 64);
	bytes[0] = 1;
	bytes[1] = (unsigned char)n;
	for (unsigned i = 0; i < n; i++) {
		bytes[8 + 9 * i] = (unsigned char)(i + 1);
		bytes[16 + 9 * i] = in ? byte(in) & 7 : 1;
	}
	return cairn_slice(bytes, 8 + 9 * n);
}

static struct cairn_event message(struct input *in, struct host *h, unsigned char body[48],
				  struct cairn_entry entries[ENTRIES], unsigned char bytes[64])
{
	struct cairn_event e = { .kind = CAIRN_EVENT_MESSAGE, .peer = byte(in) % 5 };
	uint8_t what = byte(in);

	memset(body, 0, 48);
	body[0] = what < 250;
	body[1] = what % 12;
	body[2] = byte(in) % 6;
	for (unsigned i = 8; i < 48; i += 8)
		le64_put(body + i, number(in));
	e.body = cairn_slice(body, what == 255 ? byte(in) % 48 : 48);
	e.index = byte(in) % 4 ? h->last + 1 - byte(in) % 3 : number(in);
	e.term = number(in);
	e.entries = entries;
	e.count = byte(in) % (ENTRIES + 1);
	for (size_t i = 0; i < e.count; i++) {
		uint8_t kind = byte(in);

		entries[i] = (struct cairn_entry){ .index = kind > 240 ? number(in) : e.index + i,
						   .term = kind & 1 ? number(in) : le64_get(body + 8),
						   .reference = i + 1,
						   .kind = kind % 16 == 15 ? CAIRN_ENTRY_MEMBERS
									   : CAIRN_ENTRY_COMMAND };
		if (entries[i].kind == CAIRN_ENTRY_MEMBERS)
			entries[i].body = members(in, bytes, byte(in) % 5);
	}
	return e;
}

/* What the host does of its own. */
static struct cairn_event honest(struct input *in, struct host *h, uint8_t what, unsigned char bytes[64])
{
	struct cairn_event e = { .reference = 2, .size = 1, .peer = byte(in) % 5 };

	switch (what % 8) {
	case 0:
		e.kind = CAIRN_EVENT_PROPOSE;
		break;
	case 1:
		e.kind = CAIRN_EVENT_READ;
		break;
	case 2:
		h->stored += h->stored < h->token;
		e.kind = CAIRN_EVENT_STORED;
		e.token = h->stored;
		break;
	case 3:
		e.kind = CAIRN_EVENT_MEMBERS;
		e.body = members(in, bytes, byte(in) % 5);
		break;
	case 4:
		e.kind = CAIRN_EVENT_TRANSFER;
		break;
	case 5:
		e.kind = CAIRN_EVENT_PEER_LOST;
		break;
	case 6:
		e.kind = CAIRN_EVENT_SENT;
		e.peer = h->snapshot_peer;
		e.index = byte(in) % 2 ? h->commit : 0;
		break;
	default:
		e.kind = CAIRN_EVENT_TIMER;
		h->now_us += byte(in) * 4000u;
		break;
	}
	return e;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const struct cairn_replication *module = cairn_replication_plugin();
	struct cairn_value values[] = { { .number = 150 }, { .number = 20 } };
	struct host h = { .callbacks = { &h, host_alloc, host_free, host_effect }, .now_us = 1000000 };
	struct input in = { data, data + len };
	unsigned char body[48], bytes[64];
	struct cairn_entry entries[ENTRIES];
	struct cairn_durable d = { .self = 1, .members = members(NULL, bytes, 1 + byte(&in) % 4) };
	struct cairn_event e = { .kind = CAIRN_EVENT_START, .durable = &d, .random = 7, .now_us = h.now_us };
	struct cairn_error error;
	void *instance;
	int result;

	must(module->open(&h.callbacks, values, &instance, &error) == 0);
	result = module->step(instance, &e, 1);
	h.now_us += 1000000;
	for (unsigned i = 0; i < EVENTS && result == 0 && in.at < in.end; i++) {
		uint8_t what = byte(&in);

		e = what < 128 ? message(&in, &h, body, entries, bytes) : honest(&in, &h, what, bytes);
		e.now_us = h.now_us;
		result = module->step(instance, &e, 1);
	}
	module->close(instance);
	must(h.blocks == 0);
	return 0;
}
