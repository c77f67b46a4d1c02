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

/* Begin OP of the client "a curious client" with SEQUENCE. */
static void curious(struct house *h, unsigned op, uint64_t sequence)
{
	house_start(h, op);
	cairn_msg_bytes(&h->command, CAIRN_F_CLIENT, cairn_str("a curious client"));
	cairn_msg_u64(&h->command, CAIRN_F_SEQUENCE, sequence);
	cairn_msg_u64(&h->command, CAIRN_F_BORN, h->index);
}

static enum cairn_code put_return_old(struct house *h, uint64_t sequence, char letter)
{
	curious(h, CAIRN_OP_PUT, sequence);
	cairn_msg_text(&h->command, CAIRN_F_KEY, "long");
	memset(cairn_msg_room(&h->command, CAIRN_F_VALUE, 1000), letter, 1000);
	cairn_msg_bool(&h->command, CAIRN_F_RETURN_OLD, true);
	return house_apply(h);
}

/* The first letter of the old value, '-' where the answer has none, '?' where it says that it was shortened.
 */
static char old(struct house *h)
{
	struct cairn_slice fields = house_fields(h), body;

	if (cairn_field_bool(fields, CAIRN_F_SHORTENED, false))
		return '?';
	if (!cairn_field_find(fields, CAIRN_F_OLD, &body) || !cairn_field_find(body, CAIRN_F_VALUE, &body))
		return '-';
	return body.len == 1000 ? *(const char *)body.data : '!';
}

static void add_put(struct house *h, unsigned n)
{
	char key[16];
	size_t op = cairn_msg_open_op(&h->command, CAIRN_F_THEN, CAIRN_OP_PUT);

	snprintf(key, sizeof(key), "txn/%u", n);
	cairn_msg_text(&h->command, CAIRN_F_KEY, key);
	cairn_msg_close(&h->command, op);
}

/* A transaction of COUNT puts, and then one that fails, and a get of "long". */
static enum cairn_code long_txn(struct house *h, uint64_t sequence, unsigned count)
{
	size_t op;

	curious(h, CAIRN_OP_TXN, sequence);
	cairn_msg_bool(&h->command, CAIRN_F_EACH, true);
	for (unsigned i = 0; i < count; i++)
		add_put(h, i);
	op = cairn_msg_open_op(&h->command, CAIRN_F_THEN, CAIRN_OP_DELETE);
	cairn_msg_text(&h->command, CAIRN_F_KEY, "nothing at all");
	cairn_msg_close(&h->command, op);
	op = cairn_msg_open_op(&h->command, CAIRN_F_THEN, CAIRN_OP_GET);
	cairn_msg_text(&h->command, CAIRN_F_KEY, "long");
	cairn_msg_close(&h->command, op);
	return house_apply(h);
}

/* How many results there are; *DONE says how many of them succeeded. */
static unsigned results(struct house *h, unsigned *done)
{
	struct cairn_slice fields = house_fields(h), body;
	unsigned field, n = 0;

	*done = 0;
	while (cairn_field_next(&fields, &field, &body) == 0 && field)
		if (field == CAIRN_F_RESULT) {
			n++;
			*done += cairn_field_bool(body, CAIRN_F_SUCCEEDED, false);
		}
	return n;
}

static void read_txn(struct house *h, uint64_t sequence)
{
	size_t op;

	curious(h, CAIRN_OP_TXN, sequence);
	op = cairn_msg_open_op(&h->command, CAIRN_F_THEN, CAIRN_OP_GET);
	cairn_msg_text(&h->command, CAIRN_F_KEY, "long");
	cairn_msg_close(&h->command, op);
	house_apply(h);
}

/* All that was replaced by now is not visible any more. */
static void give_up_history(struct house *h)
{
	struct store_facts facts;
	char text[24];

	store_facts(h->store, &facts);
	snprintf(text, sizeof(text), "%llu", (unsigned long long)facts.revision);
	house_start(h, CAIRN_OP_CONFIGURE);
	cairn_msg_text(&h->command, CAIRN_F_NAME, "history-floor");
	cairn_msg_text(&h->command, CAIRN_F_AMOUNT, text);
	is_int(house_apply(h), 0, "history is given up");
}

/* Results that are too long to keep. */
static void long_results(struct house *h)
{
	struct cairn_slice fields, body;
	unsigned done;
	uint64_t at;

	put_return_old(h, 1, 'a');
	put_return_old(h, 2, 'b');
	at = revision(h);
	is_int(old(h), 'a', "a put answers with the value that was there");
	put_return_old(h, 3, 'c');
	put_return_old(h, 2, 'b');
	is_int(old(h), 'a', "repeated it reads that from the history");
	ok(revision(h) == at, "and has the revision that it had");
	put_return_old(h, 1, 'a');
	is_int(old(h), '-', "the first one had replaced nothing, and says so again");
	give_up_history(h);
	put_return_old(h, 2, 'b');
	is_int(old(h), '?', "where history has given it up, the answer says that it is shortened");
	ok(revision(h) == at, "and still has its revision");
	put_return_old(h, 4, 'd');
	read_txn(h, 5);
	at = h->index;
	put_return_old(h, 6, 'e');
	read_txn(h, 5);
	fields = house_fields(h);
	ok(cairn_field_find(fields, CAIRN_F_RESULT, &body) && cairn_field_find(body, CAIRN_F_VALUE, &body) &&
		   *(const char *)body.data == 'e',
	   "a transaction that only reads is done again");
	long_txn(h, 7, 4);
	house_put(h, "txn/0", "changed meanwhile");
	long_txn(h, 7, 4);
	is_int(results(h, &done) * 10 + done, 65,
	       "a transaction that writes says again how each operation ended");
	is_str(house_value(h, "txn/0"), "changed meanwhile", "and is not done again");
	long_txn(h, 8, 200);
	long_txn(h, 8, 200);
	is_int(results(h, &done) * 1000 + done, 202201, "also one with very many");
	long_txn(h, 9, 1000);
	long_txn(h, 9, 1000);
	ok(results(h, &done) == 0 && old(h) == '?' && revision(h),
	   "of more than that only its revision is known");
	is_int(store_check_rows(h->store, &h->error), 0, "the rows agree");
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

/* The SEQUENCEth command of client N: a put, whose answer is about RESULT bytes long. */
static enum cairn_code numbered(struct house *h, unsigned n, uint64_t sequence, uint64_t born, size_t result)
{
	char id[17];

	snprintf(id, sizeof(id), "client %09u", n);
	house_start(h, CAIRN_OP_PUT);
	h->time_ns -= 999000;
	cairn_msg_bytes(&h->command, CAIRN_F_CLIENT, cairn_slice(id, 16));
	cairn_msg_u64(&h->command, CAIRN_F_SEQUENCE, sequence);
	cairn_msg_u64(&h->command, CAIRN_F_BORN, born);
	cairn_msg_text(&h->command, CAIRN_F_KEY, "k");
	memset(cairn_msg_room(&h->command, CAIRN_F_VALUE, result), 'v', result);
	cairn_msg_bool(&h->command, CAIRN_F_RETURN_OLD, result != 0);
	return house_apply(h);
}

/* As many clients as are kept, and some more, while none is idle. */
static void too_many_clients(void)
{
	struct house h;
	uint64_t first = 0;
	unsigned wrong = 0;

	house_open(&h, "memory");
	for (unsigned n = 0; n < 65536 + 20; n++) {
		numbered(&h, n, 1, h.index, 0);
		first = n == 20 ? revision(&h) : first;
	}
	for (unsigned n = 0; n < 18; n++)
		wrong += numbered(&h, n, 1, n, 0) != CAIRN_E_UNKNOWN;
	is_int(wrong, 0,
	       "of too many clients the oldest are forgotten, and their commands are not done again");
	is_int(numbered(&h, 20, 1, 20, 0), 0, "the others are known");
	ok(revision(&h) == first, "with their answers");
	is_int(store_check_rows(h.store, &h.error), 0, "the rows agree");
	house_close(&h);
}

/* Clients that all have as many and as long results as are kept. */
static void too_many_bytes(void)
{
	struct house h;
	unsigned wrong = 0, forgotten = 0;

	house_open(&h, "memory");
	for (unsigned n = 0; n < 2200; n++)
		for (uint64_t sequence = 1; sequence <= 128; sequence++)
			numbered(&h, n, sequence, h.index, 80);
	for (unsigned n = 0; n < 2200; n++) {
		enum cairn_code code = numbered(&h, n, 64, 0, 80);

		forgotten += code == CAIRN_E_UNKNOWN;
		wrong += code && (code != CAIRN_E_UNKNOWN || forgotten != n + 1);
	}
	ok(forgotten > 20 && forgotten < 500, "beyond 64 MiB of results the oldest %u clients are forgotten",
	   forgotten);
	is_int(wrong, 0, "one after another, and nothing is done twice");
	house_close(&h);
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
	long_results(&h);
	forgotten(&h);
	house_close(&h);
}

int main(void)
{
	run("memory");
	run("leveldb");
	too_many_clients();
	too_many_bytes();
	return tap_done();
}
