/* Repeated commands: applied once, answered the same; what is forgotten is never applied again. */
#include "storehouse.h"
#include "banned.h"

/* An append of VALUE to the key "log" by CLIENT. */
static enum cairn_code append(struct house *h, const char *client, uint64_t sequence, uint64_t lowest,
			      uint64_t born, const char *value)
{
	house_start(h, CAIRN_OP_APPEND);
	cairn_msg_bytes(&h->command, CAIRN_F_CLIENT, cairn_slice(client, 16));
	cairn_msg_u64(&h->command, CAIRN_F_SEQUENCE, sequence);
	cairn_msg_u64(&h->command, CAIRN_F_LOWEST, lowest);
	cairn_msg_u64(&h->command, CAIRN_F_BORN, born);
	cairn_msg_text(&h->command, CAIRN_F_KEY, "log");
	cairn_msg_text(&h->command, CAIRN_F_VALUE, value);
	return house_apply(h);
}

static uint64_t revision(struct house *h)
{
	return cairn_field_u64(house_fields(h), CAIRN_F_REVISION, 0);
}

static void repeated(struct house *h)
{
	uint64_t first;

	is_int(append(h, "the first client", 1, 1, 0, "a"), 0, "a write");
	first = revision(h);
	is_int(cairn_field_u64(house_fields(h), CAIRN_F_APPLIED, 0), h->index,
	       "its answer says where it was applied");
	append(h, "a second, client", 1, 1, 0, "b");
	is_int(append(h, "the first client", 1, 1, 0, "a"), 0, "the same write again");
	ok(revision(h) == first, "has the answer that it had");
	is_str(house_value(h, "log"), "ab", "and is not done twice");
	if (h->engine.ops.caps & CAIRN_ENGINE_DURABLE) {
		house_reopen(h);
		is_int(append(h, "the first client", 1, 1, 0, "a"), 0, "also after a restart");
		ok(revision(h) == first, "with the answer that it had");
	}
	house_start(h, CAIRN_OP_DELETE);
	cairn_msg_bytes(&h->command, CAIRN_F_CLIENT, cairn_str("the first client"));
	cairn_msg_u64(&h->command, CAIRN_F_SEQUENCE, 2);
	cairn_msg_text(&h->command, CAIRN_F_KEY, "nothing");
	is_int(house_apply(h), CAIRN_E_NOT_FOUND, "a write that fails");
	house_put(h, "nothing", "now there");
	house_start(h, CAIRN_OP_DELETE);
	cairn_msg_bytes(&h->command, CAIRN_F_CLIENT, cairn_str("the first client"));
	cairn_msg_u64(&h->command, CAIRN_F_SEQUENCE, 2);
	cairn_msg_text(&h->command, CAIRN_F_KEY, "nothing");
	is_int(house_apply(h), CAIRN_E_NOT_FOUND, "fails again in the same way");
	is_str(h->error.message, "no key 'nothing'", "with the same words");
	is_int(append(h, "the first client", 4, 3, 0, "c"), 0,
	       "a later write, when earlier ones are answered");
	is_int(append(h, "the first client", 1, 1, 0, "a"), CAIRN_E_UNKNOWN, "lets those be forgotten");
	is_int(append(h, "the first client", 3, 3, 0, "d"), 0, "a write that was overtaken is still done");
	is_str(house_value(h, "log"), "abcd", "each of them once");
}

static void many(struct house *h)
{
	unsigned twice = 0;

	for (uint64_t n = 1; n <= 200; n++)
		append(h, "an eager  client", n, 1, 0, "");
	for (uint64_t n = 1; n <= 200; n++) {
		enum cairn_code want = n <= 72 ? CAIRN_E_UNKNOWN : CAIRN_OK;

		twice += append(h, "an eager  client", n, 1, 0, "x") != want;
	}
	is_int(twice, 0, "of one client the last 128 results are kept, older ones are unknown");
	is_str(house_value(h, "log"), "abcd", "and none is done again");
	ok(revision(h) > 0, "the key is there");
}

static void forgotten(struct house *h)
{
	uint64_t born = h->index;

	append(h, "a sleeping client", 1, 1, born, "");
	h->time_ns += 601ull * 1000000000;
	append(h, "a waking  client", 1, 1, h->index, "");
	append(h, "a waking  client", 2, 2, h->index, "");
	is_int(append(h, "a sleeping client", 1, 1, born, "e"), CAIRN_E_UNKNOWN,
	       "a client that was idle for ten minutes is forgotten, and its old writes are not done");
	is_int(append(h, "another client..", 1, 1, 0, "e"), CAIRN_E_UNKNOWN, "nor is any that may be as old");
	is_int(append(h, "another client..", 2, 2, h->index, "e"), 0, "one that knows better is");
	is_str(house_value(h, "log"), "abcde", "once");
	is_int(store_check_rows(h->store, &h->error), 0, "the rows agree");
}

static void run(const char *engine)
{
	struct house h;

	if (!house_open(&h, engine)) {
		ok(1, "engine %s # SKIP not in this build", engine);
		return;
	}
	repeated(&h);
	many(&h);
	forgotten(&h);
	house_close(&h);
}

int main(void)
{
	run("memory");
	run("leveldb");
	return tap_done();
}
