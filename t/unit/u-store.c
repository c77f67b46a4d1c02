/* The store as its users see it, over every engine of this build. */
#include <errno.h>
#include "storehouse.h"
#include "banned.h"

static void keys_and_values(struct house *h)
{
	uint64_t id;

	is_int(house_put(h, "a/b", "hello"), 0, "a key is put");
	is_int(cairn_field_u64(house_fields(h), CAIRN_F_REVISION, 0), 1, "the first change is revision 1");
	id = cairn_field_u64(house_fields(h), CAIRN_F_FILE_ID, 0);
	is_str(house_value(h, "a/b"), "hello", "and read");
	is_int(house_put(h, "a/b", "hello again"), 0, "it is overwritten");
	ok(cairn_field_u64(house_fields(h), CAIRN_F_FILE_ID, 0) == id, "and keeps its file id");
	is_str(house_value(h, "a/b"), "hello again", "the new value is read");
	is_str(house_value(h, "/a/b"), "not-found", "another key is not there");
	is_int(house_delete(h, "nothing"), CAIRN_E_NOT_FOUND, "what is not there cannot be deleted");
	is_int(house_delete(h, "a/b"), 0, "a key is deleted");
	is_int(cairn_field_u64(house_fields(h), CAIRN_F_REVISION, 0), 3, "failures take no revision");
	is_str(house_value(h, "a/b"), "not-found", "and gone");
}

static const char *list(struct house *h, const char *prefix, const char *delimiter, uint64_t limit,
			bool reverse)
{
	cairn_msg_start(&h->command, CAIRN_OP_SCAN);
	cairn_msg_text(&h->command, CAIRN_F_PREFIX, prefix);
	if (delimiter)
		cairn_msg_text(&h->command, CAIRN_F_DELIMITER, delimiter);
	cairn_msg_u64(&h->command, CAIRN_F_LIMIT, limit);
	cairn_msg_bool(&h->command, CAIRN_F_REVERSE, reverse);
	if (house_read(h, 65536))
		return cairn_error_row(h->error.code)->name;
	return house_rows(h);
}

/* All rows of a listing, page by page. */
static const char *pages(struct house *h, uint64_t limit, bool reverse)
{
	static char all[1024];
	struct cairn_slice cursor = { 0 };
	char last[300];
	size_t n = 0;

	do {
		char *plus;

		cairn_msg_start(&h->command, CAIRN_OP_SCAN);
		cairn_msg_text(&h->command, CAIRN_F_DELIMITER, "/");
		cairn_msg_u64(&h->command, CAIRN_F_LIMIT, limit);
		cairn_msg_bool(&h->command, CAIRN_F_REVERSE, reverse);
		if (cursor.len)
			cairn_msg_bytes(&h->command, CAIRN_F_CURSOR, cursor);
		if (house_read(h, 65536))
			return "error";
		n += (size_t)snprintf(all + n, sizeof(all) - n, "%s%s", n ? " " : "", house_rows(h));
		plus = strstr(all, " +");
		if (plus) {
			*plus = 0;
			n = (size_t)(plus - all);
		}
		if (cairn_field_find(house_fields(h), CAIRN_F_CURSOR, &cursor)) {
			memcpy(last, cursor.data, cursor.len);
			cursor.data = last;
		} else {
			cursor.len = 0;
		}
	} while (cursor.len);
	return all;
}

static void listings(struct house *h)
{
	static const char *const keys[] = { "a", "b/1", "b/2", "b/3/x", "b/3/y", "b0", "c/", "d/e/f", "z" };
	char many[32];

	for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		house_put(h, keys[i], "v");
	for (int i = 0; i < 40; i++) {
		snprintf(many, sizeof(many), "m/%d", i);
		house_put(h, many, "v");
	}
	is_str(list(h, "b", NULL, 0, false), "b/1 b/2 b/3/x b/3/y b0", "a prefix is listed in order");
	is_str(list(h, "b/", NULL, 3, false), "b/1 b/2 b/3/x +", "a limit says that more follows");
	is_str(list(h, "b/", NULL, 4, false), "b/1 b/2 b/3/x b/3/y", "and only then");
	is_str(list(h, "b/", NULL, 2, true), "b/3/y b/3/x +", "the last keys first");
	is_str(list(h, "b/", "/", 0, false), "b/1 b/2 b/3/", "a delimiter folds");
	is_str(list(h, "", "/", 0, false), "a b/ b0 c/ d/ m/ z", "a large folder is one row");
	is_str(list(h, "", "/", 0, true), "z m/ d/ c/ b0 b/ a", "and so in reverse");
	for (uint64_t limit = 1; limit < 5; limit++) {
		is_str(pages(h, limit, false), "a b/ b0 c/ d/ m/ z", "pages of %d rows join without a gap",
		       (int)limit);
		is_str(pages(h, limit, true), "z m/ d/ c/ b0 b/ a", "pages of %d rows in reverse",
		       (int)limit);
	}
}

/* A get with a range, and with the revision that the key must have unless that is 0. */
static enum cairn_code get_range(struct house *h, const char *key, uint64_t offset, uint64_t length,
				 uint64_t revision, struct cairn_slice *value)
{
	enum cairn_code code;

	cairn_msg_start(&h->command, CAIRN_OP_GET);
	cairn_msg_text(&h->command, CAIRN_F_KEY, key);
	cairn_msg_u64(&h->command, CAIRN_F_OFFSET, offset);
	cairn_msg_u64(&h->command, CAIRN_F_LENGTH, length);
	if (revision)
		cairn_msg_u64(&h->command, CAIRN_F_REVISION, revision);
	code = house_read(h, 0);
	if (!code && !cairn_field_find(house_fields(h), CAIRN_F_VALUE, value))
		code = CAIRN_E_INTERNAL;
	return code;
}

/* Bytes that differ from place to place. */
static void fill(unsigned char *p, size_t from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (unsigned char)((from + i) * 2654435761u >> 23);
}

static bool is_filled(struct cairn_slice s, size_t from)
{
	unsigned char *want = malloc(s.len + 1);
	bool same;

	fill(want, from, s.len);
	same = memcmp(want, s.data, s.len) == 0;
	free(want);
	return same;
}

static enum cairn_code stage(struct house *h, const char *id, uint64_t index, size_t from, size_t n)
{
	house_start(h, CAIRN_OP_STAGE);
	cairn_msg_bytes(&h->command, CAIRN_F_UPLOAD, cairn_slice(id, 16));
	cairn_msg_u64(&h->command, CAIRN_F_INDEX, index);
	fill(cairn_msg_room(&h->command, CAIRN_F_VALUE, n), from, n);
	return house_apply(h);
}

static void long_values(struct house *h)
{
	const size_t big = 2500000;
	struct cairn_slice value = { 0 };
	struct store_facts facts;
	uint64_t revision;

	house_start(h, CAIRN_OP_PUT);
	cairn_msg_text(&h->command, CAIRN_F_KEY, "long");
	fill(cairn_msg_room(&h->command, CAIRN_F_VALUE, 200000), 0, 200000);
	is_int(house_apply(h), 0, "a value longer than a record is put in one command");
	ok(!get_range(h, "long", 0, UINT64_MAX, 0, &value) && value.len == 200000 && is_filled(value, 0),
	   "and read whole");
	ok(!get_range(h, "long", 131000, 200, 0, &value) && value.len == 200 && is_filled(value, 131000),
	   "a range over the border of two chunks");
	ok(!get_range(h, "long", 199990, 200, 0, &value) && value.len == 10,
	   "a range past the end ends there");
	for (size_t at = 0; at < big; at += STORE_CHUNK)
		if (stage(h, "upload of a file", at / STORE_CHUNK, at,
			  big - at < STORE_CHUNK ? big - at : STORE_CHUNK))
			bail("a piece was not staged: %s", h->error.message);
	store_facts(h->store, &facts);
	is_int(facts.staged, big, "pieces that are staged count");
	is_str(house_value(h, "staged"), "not-found", "and are not seen");
	house_start(h, CAIRN_OP_PUT);
	cairn_msg_text(&h->command, CAIRN_F_KEY, "staged");
	cairn_msg_bytes(&h->command, CAIRN_F_UPLOAD, cairn_str("upload of a file"));
	cairn_msg_u64(&h->command, CAIRN_F_SIZE, big);
	is_int(house_apply(h), 0, "one command makes a value of them");
	revision = cairn_field_u64(house_fields(h), CAIRN_F_REVISION, 0);
	store_facts(h->store, &facts);
	is_int(facts.staged, 0, "nothing stays staged");
	ok(!get_range(h, "staged", 0, UINT64_MAX, revision, &value) && value.len == CAIRN_PAYLOAD_MAX &&
		   is_filled(value, 0),
	   "one answer has at most a mebibyte of it");
	is_int(cairn_field_u64(house_fields(h), CAIRN_F_SIZE, 0), big, "and says how much there is");
	ok(!get_range(h, "staged", 2 * CAIRN_PAYLOAD_MAX, UINT64_MAX, revision, &value) &&
		   is_filled(value, 2 * CAIRN_PAYLOAD_MAX) && value.len == big - 2 * CAIRN_PAYLOAD_MAX,
	   "the rest is asked for");
	house_put(h, "staged", "new");
	is_int(get_range(h, "staged", 0, 10, revision, &value), CAIRN_E_CONFLICT, "not of another revision");
	ok(h->error.revision == revision + 1, "which the error names");
	house_delete(h, "long");
	is_int(store_check_rows(h->store, &h->error), 0, "and no chunk is left over");
}

static size_t guard(struct house *h, const char *key)
{
	size_t mark = cairn_msg_open(&h->command, CAIRN_F_GUARD);

	cairn_msg_text(&h->command, CAIRN_F_KEY, key);
	return mark;
}

/* Drop the upload ID, or what has expired. */
static enum cairn_code unstage(struct house *h, const char *id)
{
	house_start(h, CAIRN_OP_UNSTAGE);
	if (id)
		cairn_msg_bytes(&h->command, CAIRN_F_UPLOAD, cairn_slice(id, 16));
	return house_apply(h);
}

static uint64_t staged(struct house *h)
{
	struct store_facts facts;

	store_facts(h->store, &facts);
	return facts.staged;
}

static void uploads_end(struct house *h)
{
	struct store_facts facts;
	uint64_t first;

	stage(h, "one that is left", 0, 0, 1000);
	first = h->time_ns;
	stage(h, "one that goes on", 0, 0, 100);
	stage(h, "one that goes on", 1, 0, 100);
	stage(h, "one given up....", 7, 0, 10);
	is_int(unstage(h, "one given up...."), 0, "an upload is dropped");
	is_int(unstage(h, "one given up...."), CAIRN_E_NOT_FOUND, "once");
	store_facts(h->store, &facts);
	ok(facts.unstage_ns == first + STORE_UPLOAD_NS, "it is known when the first one expires");
	h->time_ns += STORE_UPLOAD_NS - 100000000;
	is_int(stage(h, "one that goes on", 0, 0, 0), 0, "an empty stage renews an upload");
	unstage(h, NULL);
	is_int(staged(h), 1200, "within ten minutes none expires");
	h->time_ns = first + STORE_UPLOAD_NS;
	unstage(h, NULL);
	is_int(staged(h), 200, "then that does which was not renewed");
	store_facts(h->store, &facts);
	ok(facts.unstage_ns > h->time_ns + STORE_UPLOAD_NS - 200000000, "the next one is due later");
	house_start(h, CAIRN_OP_PUT);
	cairn_msg_text(&h->command, CAIRN_F_KEY, "upload");
	cairn_msg_bytes(&h->command, CAIRN_F_UPLOAD, cairn_str("one that is left"));
	is_int(house_apply(h), CAIRN_E_NOT_FOUND, "what has expired cannot be used");
	h->time_ns += STORE_UPLOAD_NS;
	unstage(h, NULL);
	store_facts(h->store, &facts);
	ok(!facts.staged && facts.unstage_ns == UINT64_MAX, "and nothing is left to expire");
	is_int(store_check_rows(h->store, &h->error), 0, "no chunk is left over");
}

static void guards(struct house *h)
{
	uint64_t revision;
	size_t mark, op;

	house_put(h, "g", "one");
	revision = cairn_field_u64(house_fields(h), CAIRN_F_REVISION, 0);
	house_start(h, CAIRN_OP_PUT);
	cairn_msg_text(&h->command, CAIRN_F_KEY, "g");
	cairn_msg_text(&h->command, CAIRN_F_VALUE, "two");
	mark = guard(h, "g");
	cairn_msg_u64(&h->command, CAIRN_F_REVISION, revision - 1);
	cairn_msg_close(&h->command, mark);
	is_int(house_apply(h), CAIRN_E_CONFLICT, "a put whose condition fails is a conflict");
	ok(h->error.revision == revision, "which carries the current revision");
	is_str(house_value(h, "g"), "one", "and changes nothing");
	house_start(h, CAIRN_OP_TXN);
	mark = guard(h, "g");
	cairn_msg_text(&h->command, CAIRN_F_VALUE, "one");
	cairn_msg_close(&h->command, mark);
	op = cairn_msg_open_op(&h->command, CAIRN_F_THEN, CAIRN_OP_PUT);
	cairn_msg_text(&h->command, CAIRN_F_KEY, "g");
	cairn_msg_text(&h->command, CAIRN_F_VALUE, "three");
	cairn_msg_close(&h->command, op);
	op = cairn_msg_open_op(&h->command, CAIRN_F_THEN, CAIRN_OP_MOVE);
	cairn_msg_text(&h->command, CAIRN_F_KEY, "g");
	cairn_msg_text(&h->command, CAIRN_F_TO, "g2");
	cairn_msg_close(&h->command, op);
	is_int(house_apply(h), 0, "a transaction");
	ok(cairn_field_bool(house_fields(h), CAIRN_F_SUCCEEDED, false), "whose guard holds");
	is_str(house_value(h, "g2"), "three", "sees its own writes");
	is_str(house_value(h, "g"), "not-found", "all of them");
	house_start(h, CAIRN_OP_TXN);
	op = cairn_msg_open_op(&h->command, CAIRN_F_THEN, CAIRN_OP_PUT);
	cairn_msg_text(&h->command, CAIRN_F_KEY, "g3");
	cairn_msg_close(&h->command, op);
	op = cairn_msg_open_op(&h->command, CAIRN_F_THEN, CAIRN_OP_DELETE);
	cairn_msg_text(&h->command, CAIRN_F_KEY, "nothing");
	cairn_msg_close(&h->command, op);
	is_int(house_apply(h), CAIRN_E_NOT_FOUND, "a transaction fails with its operation's error");
	is_str(h->error.message, "operation 2: no key 'nothing'", "which says which one");
	is_str(house_value(h, "g3"), "not-found", "and undoes the others");
	house_delete(h, "g2");
}

/* A put of KEY under the fence FENCE of the lock "lock". */
static enum cairn_code put_fenced(struct house *h, const char *key, uint64_t fence)
{
	size_t mark;

	house_start(h, CAIRN_OP_PUT);
	cairn_msg_text(&h->command, CAIRN_F_KEY, key);
	mark = guard(h, "lock");
	cairn_msg_u64(&h->command, CAIRN_F_FENCE, fence);
	cairn_msg_close(&h->command, mark);
	return house_apply(h);
}

static void fences(struct house *h)
{
	char wanted[160];
	uint64_t fence;
	size_t mark;

	house_put(h, "lock", "held");
	fence = cairn_field_u64(house_fields(h), CAIRN_F_REVISION, 0);
	house_put(h, "lock", "held still");
	is_int(put_fenced(h, "fenced", fence), 0, "who holds a lock may write");
	is_int(put_fenced(h, "fenced", fence + 1), CAIRN_E_CONFLICT,
	       "the fence is the revision that made the lock, not its last one");
	house_delete(h, "lock");
	is_int(put_fenced(h, "fenced", fence), CAIRN_E_CONFLICT, "who has lost it may not");
	snprintf(wanted, sizeof(wanted),
		 "fenced not written: lock was lost (our fence %llu, and nobody holds it now)",
		 (unsigned long long)fence);
	is_str(h->error.message, wanted, "and is told why");
	is_int(put_fenced(h, "fenced", 0), CAIRN_E_CONFLICT, "no fence is not that of a free lock");
	house_put(h, "lock", "held by another");
	snprintf(wanted, sizeof(wanted), "nothing was written: lock was lost (our fence %llu, now %llu)",
		 (unsigned long long)fence,
		 (unsigned long long)cairn_field_u64(house_fields(h), CAIRN_F_REVISION, 0));
	house_start(h, CAIRN_OP_TXN);
	mark = guard(h, "nothing");
	cairn_msg_bool(&h->command, CAIRN_F_EXISTS, true);
	cairn_msg_close(&h->command, mark);
	mark = guard(h, "lock");
	cairn_msg_u64(&h->command, CAIRN_F_FENCE, fence);
	cairn_msg_close(&h->command, mark);
	mark = cairn_msg_open_op(&h->command, CAIRN_F_ELSE, CAIRN_OP_PUT);
	cairn_msg_text(&h->command, CAIRN_F_KEY, "fenced");
	cairn_msg_text(&h->command, CAIRN_F_VALUE, "else");
	cairn_msg_close(&h->command, mark);
	is_int(house_apply(h), CAIRN_E_CONFLICT,
	       "a lost lock ends a transaction, also where another condition fails first");
	is_str(h->error.message, wanted, "which says so");
	is_str(house_value(h, "fenced"), "", "and does nothing else instead");
	house_delete(h, "lock");
	house_delete(h, "fenced");
}

/* One condition: on KEY, or with field EMPTY on the prefix KEY. */
struct condition {
	const char *key;
	unsigned field;
	uint64_t number; /* or a truth */
	const char *text;
	bool holds;
};

static void add_condition(struct house *h, const struct condition *c)
{
	size_t mark = cairn_msg_open(&h->command, CAIRN_F_GUARD);
	bool truth =
		c->field == CAIRN_F_EXISTS || c->field == CAIRN_F_EMPTY || c->field == CAIRN_F_NO_ANCESTOR;

	cairn_msg_text(&h->command, c->field == CAIRN_F_EMPTY ? CAIRN_F_PREFIX : CAIRN_F_KEY, c->key);
	if (c->text)
		cairn_msg_text(&h->command, c->field, c->text);
	else if (truth)
		cairn_msg_bool(&h->command, c->field, c->number);
	else
		cairn_msg_u64(&h->command, c->field, c->number);
	cairn_msg_close(&h->command, mark);
}

/* Whether a transaction under C1 and C2 (may be NULL) goes the way of 'then'. */
static bool under(struct house *h, const struct condition *c1, const struct condition *c2)
{
	size_t op;

	house_start(h, CAIRN_OP_TXN);
	add_condition(h, c1);
	if (c2)
		add_condition(h, c2);
	op = cairn_msg_open_op(&h->command, CAIRN_F_THEN, CAIRN_OP_GET);
	cairn_msg_text(&h->command, CAIRN_F_KEY, "c");
	cairn_msg_close(&h->command, op);
	return !house_apply(h) && cairn_field_bool(house_fields(h), CAIRN_F_SUCCEEDED, false);
}

static void conditions(struct house *h)
{
	struct cairn_slice f;
	uint64_t revision, id;
	unsigned wrong = 0, n = 0;

	house_put(h, "c", "zero");
	house_put(h, "c", "one");
	f = house_fields(h);
	revision = cairn_field_u64(f, CAIRN_F_REVISION, 0);
	id = cairn_field_u64(f, CAIRN_F_FILE_ID, 0);
	house_put(h, "cd/", "");
	house_put(h, "ce/x", "");
	const struct condition all[] = {
		{ "c", CAIRN_F_EXISTS, 1, NULL, true },
		{ "c", CAIRN_F_EXISTS, 0, NULL, false },
		{ "none", CAIRN_F_EXISTS, 0, NULL, true },
		{ "c", CAIRN_F_REVISION, revision, NULL, true },
		{ "c", CAIRN_F_REVISION, revision - 1, NULL, false },
		{ "none", CAIRN_F_REVISION, 0, NULL, true },
		{ "none", CAIRN_F_REVISION, revision, NULL, false },
		{ "c", CAIRN_F_VALUE, 0, "one", true },
		{ "c", CAIRN_F_VALUE, 0, "two", false },
		{ "none", CAIRN_F_VALUE, 0, "one", false },
		{ "c", CAIRN_F_FILE_ID, id, NULL, true },
		{ "c", CAIRN_F_FILE_ID, id + 1, NULL, false },
		{ "none", CAIRN_F_FILE_ID, 0, NULL, true },
		{ "c", CAIRN_F_VERSION, 2, NULL, true },
		{ "c", CAIRN_F_VERSION, 1, NULL, false },
		{ "c", CAIRN_F_DATA_VERSION, 2, NULL, true },
		{ "c", CAIRN_F_DATA_VERSION, 3, NULL, false },
		{ "cd/", CAIRN_F_EMPTY, 1, NULL, true }, /* its marker does not count */
		{ "cd/", CAIRN_F_EMPTY, 0, NULL, false },
		{ "ce/", CAIRN_F_EMPTY, 1, NULL, false },
		{ "ce/", CAIRN_F_EMPTY, 0, NULL, true },
		{ "cn/", CAIRN_F_EMPTY, 1, NULL, true },
		{ "ce", CAIRN_F_EMPTY, 0, NULL, true }, /* any bytes, not a folder */
		{ "c/x/y", CAIRN_F_NO_ANCESTOR, 1, NULL, false },
		{ "ce/x/y", CAIRN_F_NO_ANCESTOR, 1, NULL, false },
		{ "ce/y", CAIRN_F_NO_ANCESTOR, 1, NULL, true },
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		wrong += under(h, &all[i], NULL) != all[i].holds;
		wrong += under(h, &all[0], &all[i]) != all[i].holds;
		wrong += under(h, &all[1], &all[i]);
		n++;
	}
	is_int(wrong, 0, "%u conditions hold where they should, and all of them must", n);
}

/* One letter for each result: + done, - skipped or failed. */
static const char *outcome(struct house *h, char text[16])
{
	struct cairn_slice fields = house_fields(h), row;
	unsigned field;
	size_t n = 0;

	while (cairn_field_next(&fields, &field, &row) == 0 && field)
		if (field == CAIRN_F_RESULT && n < 15)
			text[n++] = cairn_field_bool(row, CAIRN_F_SUCCEEDED, false) ? '+' : '-';
	text[n] = 0;
	return text;
}

/* A put of KEY inside a transaction, only if it is absent where ONCE. */
static void then_put(struct house *h, const char *key, bool once)
{
	size_t op = cairn_msg_open_op(&h->command, CAIRN_F_THEN, CAIRN_OP_PUT);

	cairn_msg_text(&h->command, CAIRN_F_KEY, key);
	cairn_msg_text(&h->command, CAIRN_F_VALUE, "v");
	if (once)
		add_condition(h, &(struct condition){ key, CAIRN_F_EXISTS, 0, NULL, true });
	cairn_msg_close(&h->command, op);
}

static void then_delete(struct house *h, const char *key)
{
	size_t op = cairn_msg_open_op(&h->command, CAIRN_F_THEN, CAIRN_OP_DELETE);

	cairn_msg_text(&h->command, CAIRN_F_KEY, key);
	cairn_msg_close(&h->command, op);
}

static void each_for_itself(struct house *h)
{
	uint64_t revision;
	char text[16];

	house_put(h, "e/1", "was there");
	revision = cairn_field_u64(house_fields(h), CAIRN_F_REVISION, 0);
	house_start(h, CAIRN_OP_TXN);
	then_put(h, "e/1", true);
	then_put(h, "e/2", true);
	then_put(h, "e/2", true);
	is_int(house_apply(h), 0, "operations with conditions of their own are no error where these fail");
	is_str(outcome(h, text), "-+-", "they are skipped, and their results say so");
	is_str(house_value(h, "e/1"), "was there", "nothing of them is done");
	is_str(house_value(h, "e/2"), "v", "and the others are");
	house_start(h, CAIRN_OP_TXN);
	cairn_msg_bool(&h->command, CAIRN_F_EACH, true);
	then_put(h, "e/3", false);
	then_delete(h, "e/nothing");
	then_put(h, "e/1", true);
	then_delete(h, "e/1");
	is_int(house_apply(h), 0, "with each an operation's error is not the transaction's");
	is_str(outcome(h, text), "+--+", "its result says so");
	is_int(cairn_field_u64(house_fields(h), CAIRN_F_REVISION, 0), revision + 2,
	       "all of it is one revision");
	is_str(house_value(h, "e/1"), "not-found", "what could be done is done");
	house_start(h, CAIRN_OP_TXN);
	then_put(h, "e/4", false);
	then_put(h, "e/2", true);
	then_delete(h, "e/nothing");
	is_int(house_apply(h), CAIRN_E_NOT_FOUND, "without each it is");
	is_str(house_value(h, "e/4"), "not-found", "and nothing is done");
	house_start(h, CAIRN_OP_TXN);
	cairn_msg_bool(&h->command, CAIRN_F_EACH, true);
	then_delete(h, "e/nothing");
	then_put(h, "e/2", true);
	is_int(house_apply(h), 0, "a transaction of which nothing could be done is no error with each");
	is_int(cairn_field_u64(house_fields(h), CAIRN_F_REVISION, 0), revision + 2, "and takes no revision");
	is_int(store_check_rows(h->store, &h->error), 0, "the rows agree");
}

static void folders(struct house *h)
{
	struct cairn_slice row, attributes;
	size_t mark;

	house_start(h, CAIRN_OP_PUT);
	cairn_msg_text(&h->command, CAIRN_F_KEY, "dir/sub/");
	cairn_msg_kind(&h->command, CAIRN_F_KIND, CAIRN_KIND_DIRECTORY);
	mark = cairn_msg_open(&h->command, CAIRN_F_ATTRIBUTES);
	cairn_msg_u64(&h->command, CAIRN_F_MODE, 0750);
	cairn_msg_close(&h->command, mark);
	house_apply(h);
	house_put(h, "dir/sub/x", "");
	house_put(h, "dir/sub/y/z", "");
	is_str(list(h, "dir/", "/", 0, false), "dir/sub/", "a folder with a marker is one row");
	ok(cairn_field_find(house_fields(h), CAIRN_F_ROW, &row) &&
		   cairn_field_bool(row, CAIRN_F_FOLDER, false) &&
		   cairn_field_u64(row, CAIRN_F_COUNT, 0) == 2,
	   "which says how many names are in it");
	ok(cairn_field_find(row, CAIRN_F_ATTRIBUTES, &attributes) &&
		   cairn_field_u64(attributes, CAIRN_F_MODE, 0) == 0750,
	   "and what its marker says");
	house_start(h, CAIRN_OP_DELETE);
	cairn_msg_text(&h->command, CAIRN_F_KEY, "dir/sub/");
	mark = cairn_msg_open(&h->command, CAIRN_F_GUARD);
	cairn_msg_text(&h->command, CAIRN_F_PREFIX, "dir/sub/");
	cairn_msg_bool(&h->command, CAIRN_F_EMPTY, true);
	cairn_msg_close(&h->command, mark);
	is_int(house_apply(h), CAIRN_E_CONFLICT,
	       "a folder that is not empty is not removed under that guard");
	house_start(h, CAIRN_OP_DELETE_PREFIX);
	cairn_msg_text(&h->command, CAIRN_F_PREFIX, "dir/");
	is_int(house_apply(h), 0, "all of it is deleted");
	is_int(cairn_field_u64(house_fields(h), CAIRN_F_COUNT, 0), 3, "and counted");
}

static void limits(struct house *h)
{
	static char key[STORE_KEY_MAX + 2];
	struct store_command *c = calloc(STORE_BULK_KEYS + 1, sizeof(*c));
	struct cairn_msg *m = calloc(STORE_BULK_KEYS + 1, sizeof(*m));

	memset(key, 0, sizeof(key));
	memset(key, 'k', h->settings.key_max);
	is_int(house_put(h, key, "v"), 0, "the longest key");
	is_str(house_value(h, key), "v", "is read");
	house_delete(h, key);
	key[h->settings.key_max] = 'k';
	is_int(house_put(h, key, "v"), CAIRN_E_TOO_LARGE, "one byte more is too large");
	is_int(house_put(h, "", "v"), CAIRN_E_INVALID, "no byte is too small");
	house_start(h, CAIRN_OP_PATCH);
	cairn_msg_text(&h->command, CAIRN_F_KEY, "sparse");
	is_int(house_apply(h), CAIRN_E_NOT_FOUND, "only what is there can be patched");
	house_put(h, "sparse", "");
	house_start(h, CAIRN_OP_PATCH);
	cairn_msg_text(&h->command, CAIRN_F_KEY, "sparse");
	cairn_msg_u64(&h->command, CAIRN_F_SIZE, 64 << 20);
	is_int(house_apply(h), 0, "a value grows to its limit in one command");
	house_start(h, CAIRN_OP_APPEND);
	cairn_msg_text(&h->command, CAIRN_F_KEY, "sparse");
	cairn_msg_text(&h->command, CAIRN_F_VALUE, "x");
	is_int(house_apply(h), CAIRN_E_TOO_LARGE, "and not beyond");
	house_delete(h, "sparse");
	for (unsigned i = 0; i <= STORE_BULK_KEYS; i++) {
		house_start(h, CAIRN_OP_PUT);
		snprintf(key, sizeof(key), "bulk/%u", i);
		cairn_msg_text(&h->command, CAIRN_F_KEY, key);
		m[i] = h->command;
		h->command = (struct cairn_msg){ 0 };
		c[i] = (struct store_command){ .position = { ++h->index, 1 },
					       .message = cairn_msg_slice(&m[i]) };
	}
	is_int(store_apply(h->store, c, STORE_BULK_KEYS + 1, false, &h->error), 0,
	       "a batch of many commands");
	house_start(h, CAIRN_OP_DELETE_PREFIX);
	cairn_msg_text(&h->command, CAIRN_F_PREFIX, "bulk/");
	is_int(house_apply(h), CAIRN_E_TOO_LARGE,
	       "a command that would touch more keys than are allowed fails");
	is_str(house_value(h, "bulk/7"), "", "and touches none");
	house_delete(h, "bulk/7");
	house_start(h, CAIRN_OP_MOVE_PREFIX);
	cairn_msg_text(&h->command, CAIRN_F_PREFIX, "bulk/");
	cairn_msg_text(&h->command, CAIRN_F_TO, "moved/");
	is_int(house_apply(h), 0, "the most that is allowed is moved at once");
	house_start(h, CAIRN_OP_DELETE_PREFIX);
	cairn_msg_text(&h->command, CAIRN_F_PREFIX, "moved/");
	is_int(house_apply(h), 0, "and deleted");
	for (unsigned i = 0; i <= STORE_BULK_KEYS; i++)
		cairn_msg_free(&m[i]);
	free(m);
	free(c);
}

/* Set SETTING of the volume. */
static void set(struct house *h, const char *setting, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	house_start(h, CAIRN_OP_CONFIGURE);
	cairn_msg_text(&h->command, CAIRN_F_NAME, setting);
	cairn_msg_text(&h->command, CAIRN_F_AMOUNT, text);
	if (house_apply(h))
		bail("a setting is refused: %s", h->error.message);
}

static void quota_put(struct house *h, const char *key, size_t n)
{
	size_t op = cairn_msg_open_op(&h->command, CAIRN_F_THEN, CAIRN_OP_PUT);

	cairn_msg_text(&h->command, CAIRN_F_KEY, key);
	fill(cairn_msg_room(&h->command, CAIRN_F_VALUE, n), 0, n);
	cairn_msg_close(&h->command, op);
}

static void quotas(struct house *h)
{
	struct cairn_slice fields, row;
	struct store_facts facts;
	size_t op;
	unsigned field, refused = 0;

	store_facts(h->store, &facts);
	set(h, "quota", facts.bytes + 1000);
	is_int(house_put(h, "q/a", "12345"), 0, "a write below the quota");
	house_start(h, CAIRN_OP_PUT);
	cairn_msg_text(&h->command, CAIRN_F_KEY, "q/b");
	cairn_msg_room(&h->command, CAIRN_F_VALUE, 996);
	is_int(house_apply(h), CAIRN_E_QUOTA, "one beyond it is refused");
	ok(strstr(h->error.message, "this write needs 996 more"), "and says how much it needs");
	is_str(house_value(h, "q/b"), "not-found", "and has no trace");
	is_int(stage(h, "one upload too m", 0, 0, 996), CAIRN_E_QUOTA, "staged bytes count");
	is_int(stage(h, "one upload too m", 0, 0, 995), 0, "up to the quota");
	is_int(house_put(h, "q/a", "123456"), CAIRN_E_QUOTA, "beside live ones");
	is_int(house_put(h, "q/a", "54321"), 0, "what does not grow goes on");
	house_start(h, CAIRN_OP_PUT);
	cairn_msg_text(&h->command, CAIRN_F_KEY, "q/b");
	cairn_msg_bytes(&h->command, CAIRN_F_UPLOAD, cairn_str("one upload too m"));
	is_int(house_apply(h), 0, "what was staged can be used");
	house_start(h, CAIRN_OP_TXN);
	quota_put(h, "q/c", 900);
	op = cairn_msg_open_op(&h->command, CAIRN_F_THEN, CAIRN_OP_DELETE);
	cairn_msg_text(&h->command, CAIRN_F_KEY, "q/b");
	cairn_msg_close(&h->command, op);
	is_int(house_apply(h), 0, "a transaction counts as a whole");
	house_start(h, CAIRN_OP_TXN);
	cairn_msg_bool(&h->command, CAIRN_F_EACH, true);
	quota_put(h, "q/d", 96);
	quota_put(h, "q/e", 95);
	is_int(house_apply(h), 0, "with each, its operations do");
	fields = house_fields(h);
	while (cairn_field_next(&fields, &field, &row) == 0 && field)
		if (field == CAIRN_F_RESULT && cairn_field_find(row, CAIRN_F_CODE, &row))
			refused += cairn_slice_eq(row, cairn_str("quota"));
	is_int(refused, 1, "and the result of the one that did not fit says so");
	set(h, "quota", 1);
	is_int(house_put(h, "q/a", "1234"), 0, "below a quota that was lowered, shrinking goes on");
	is_int(house_delete(h, "q/c"), 0, "and deleting");
	is_int(house_put(h, "q/f", "1"), CAIRN_E_QUOTA, "and growing does not");
	set(h, "quota", 0);
	is_int(house_put(h, "q/f", "1"), 0, "without a quota it does");
}

static enum cairn_code check(struct house *h)
{
	return store_check(h->store, cairn_message_number(cairn_msg_slice(&h->command)),
			   cairn_message_fields(cairn_msg_slice(&h->command)), &h->error);
}

static enum cairn_code put_until(struct house *h, const char *key, uint64_t ns)
{
	house_start(h, CAIRN_OP_PUT);
	cairn_msg_text(&h->command, CAIRN_F_KEY, key);
	cairn_msg_u64(&h->command, CAIRN_F_EXPIRY, ns);
	return house_apply(h);
}

static enum cairn_code expire_due(struct house *h)
{
	house_start(h, CAIRN_OP_EXPIRE_DUE);
	return house_apply(h);
}

/* More keys are due at once than one command removes. */
static void expiries(struct house *h)
{
	struct store_facts f;
	uint64_t revision, due = h->time_ns + 10000000000ull, keys;
	char key[32];
	size_t guard;

	store_facts(h->store, &f);
	keys = f.keys;
	is_int((long long)f.due_ns, -1, "nothing goes by itself");
	house_put(h, "due/", "");
	for (int i = 0; i < 1000; i++) {
		snprintf(key, sizeof(key), "due/%04d", i);
		if (put_until(h, key, due))
			bail("a put with an expiry failed");
	}
	store_facts(h->store, &f);
	is_int((long long)f.due_ns, (long long)due, "it is known when the first key goes");
	is_str(house_value(h, "due/0999"), "", "keys are there before their time");
	h->time_ns = due;
	house_put(h, "due", "");
	store_facts(h->store, &f);
	is_int((long long)f.keys, (long long)(keys + 1 + 1000 - 256 + 1),
	       "a command removes some of what is due");
	is_str(house_value(h, "due/0999"), "not-found", "but none of it is seen");
	house_start(h, CAIRN_OP_SCAN);
	cairn_msg_text(&h->command, CAIRN_F_PREFIX, "due/");
	is_int(house_read(h, 1 << 20), 0, "nor listed:");
	is_str(house_rows(h), "due/", "the folder's marker is left");
	revision = f.revision;
	house_start(h, CAIRN_OP_PUT);
	cairn_msg_text(&h->command, CAIRN_F_KEY, "due/0999");
	cairn_msg_text(&h->command, CAIRN_F_VALUE, "new");
	guard = cairn_msg_open(&h->command, CAIRN_F_GUARD);
	cairn_msg_text(&h->command, CAIRN_F_KEY, "due/0998");
	cairn_msg_bool(&h->command, CAIRN_F_EXISTS, false);
	cairn_msg_close(&h->command, guard);
	is_int(house_apply(h), 0, "a condition finds it gone, and the key can be made anew");
	store_facts(h->store, &f);
	is_int((long long)f.revision, (long long)revision + 2,
	       "what went is a revision, and the put is the next");
	is_str(house_value(h, "due/0999"), "new", "which stays");
	for (int i = 0; i < 4; i++)
		expire_due(h);
	store_facts(h->store, &f);
	is_int((long long)f.keys, (long long)keys + 3, "then all of it is gone");
	is_int((long long)f.due_ns, -1, "and nothing is due any more");
	is_int(put_until(h, "due/past", h->time_ns - 1), 0, "an expiry may lie in the past");
	is_str(house_value(h, "due/past"), "not-found", "the key is not there then");
	house_start(h, CAIRN_OP_DELETE_PREFIX);
	cairn_msg_text(&h->command, CAIRN_F_PREFIX, "due/");
	house_apply(h);
	house_delete(h, "due");
	is_int(store_check_rows(h->store, &h->error), 0, "the rows fit together: %s", h->error.message);
}

static void refused_early(struct house *h)
{
	size_t op;

	house_start(h, CAIRN_OP_PUT);
	is_int(check(h), CAIRN_E_INVALID, "a put without a key is refused before it is proposed");
	is_str(h->error.message, "put needs the argument 'key'", "with the reason");
	cairn_msg_text(&h->command, CAIRN_F_KEY, "k");
	cairn_msg_bool(&h->command, CAIRN_F_REVERSE, true);
	is_int(check(h), CAIRN_E_INVALID, "so is one with an argument that it does not take");
	is_str(h->error.message, "put does not take the argument 'reverse'", "which is named");
	house_start(h, CAIRN_OP_PUT);
	cairn_msg_text(&h->command, CAIRN_F_KEY, "k");
	cairn_msg_room(&h->command, CAIRN_F_VALUE, STORE_COMMAND_MAX);
	is_int(check(h), CAIRN_E_TOO_LARGE, "so is a command that is too long");
	is_str(h->error.hint, "send larger values with 'stage' first", "with what to do");
	house_start(h, CAIRN_OP_TXN);
	op = cairn_msg_open_op(&h->command, CAIRN_F_THEN, CAIRN_OP_STAGE);
	cairn_msg_close(&h->command, op);
	is_int(check(h), CAIRN_E_INVALID, "so is a transaction with what cannot stand in one");
	house_start(h, CAIRN_OP_STATUS);
	is_int(check(h), CAIRN_E_INVALID, "so is what is no write");
}

static void run(const char *engine)
{
	struct house h;
	struct store_facts before, after;

	if (!house_open(&h, engine)) {
		ok(1, "engine %s # SKIP not in this build", engine);
		return;
	}
	keys_and_values(&h);
	listings(&h);
	long_values(&h);
	uploads_end(&h);
	guards(&h);
	conditions(&h);
	each_for_itself(&h);
	fences(&h);
	folders(&h);
	limits(&h);
	quotas(&h);
	expiries(&h);
	refused_early(&h);
	is_int(store_check_rows(h.store, &h.error), 0, "all rows agree with each other");
	store_facts(h.store, &before);
	if (h.engine.ops.caps & CAIRN_ENGINE_DURABLE) {
		house_reopen(&h);
		store_facts(h.store, &after);
		ok(memcmp(&before, &after, sizeof(before)) == 0, "a reopened store knows what it knew");
	}
	house_close(&h);
}

/* Write a row of our own into the engine, behind the store's back. */
static void smuggle(struct house *h, const char *key, const void *body, size_t len)
{
	struct iovec iov = { (void *)body, len };
	struct cairn_write w = {
		.kind = CAIRN_WRITE_PUT, .key = cairn_str(key), .iov = &iov, .iov_count = 1
	};
	struct cairn_batch batch = { &w, 1, { h->index, 1 } };

	if (h->engine.ops.write(h->engine.handle, &batch, true, &h->error) < 0)
		bail("the engine takes no rows");
}

/* Open a store anew over the engine as it is now. */
static enum cairn_code open_again(struct house *h)
{
	struct store *s;
	enum cairn_code code = store_open(&s, &h->engine, &h->settings, &h->error);

	store_close(s);
	return code;
}

static void refused_engines(const char *engine)
{
	unsigned char meta[4] = { 3 };
	struct house h;

	if (!house_open(&h, engine))
		return;
	smuggle(&h, "x", "y", 1);
	is_int(open_again(&h), CAIRN_E_CORRUPT, "an engine with rows that are not ours is refused");
	smuggle(&h, "m", meta, sizeof(meta));
	is_int(open_again(&h), CAIRN_E_UNSUPPORTED, "a newer format is refused");
	ok(strstr(h.error.message, "format 3"), "and named");
	meta[0] = 1;
	smuggle(&h, "m", meta, sizeof(meta));
	is_int(open_again(&h), CAIRN_E_UNSUPPORTED, "so is that from before the first release");
	meta[0] = 2;
	smuggle(&h, "m", meta, sizeof(meta));
	is_int(open_again(&h), CAIRN_E_CORRUPT, "a damaged meta row is refused");
	house_close(&h);
}

static void damaged_records(const char *engine)
{
	struct house h;

	if (!house_open(&h, engine))
		return;
	house_put(&h, "a", "value");
	is_int(store_check_rows(h.store, &h.error), 0, "a store is whole");
	smuggle(&h, "ka", "no record", 9);
	is_str(house_value(&h, "a"), "corrupt", "a damaged record is not given out");
	is_int(store_check_rows(h.store, &h.error), CAIRN_E_CORRUPT, "and found by a check");
	ok(strstr(h.error.message, "'ka'"), "which names it");
	house_close(&h);
}

/* Do what a reader asks for beside a get or a scan. */
static enum cairn_code view(struct house *h, uint64_t now_ns, uint64_t *revision)
{
	enum cairn_code code;

	cairn_msg_start(&h->command, CAIRN_OP_VIEW);
	cairn_msg_start(&h->answer, 0);
	code = store_view(h->store, cairn_message_fields(cairn_msg_slice(&h->command)), now_ns, &h->answer,
			  &h->error);
	*revision = cairn_field_u64(house_fields(h), CAIRN_F_REVISION, 0);
	return code;
}

static const char *rows_at(struct house *h, uint64_t revision)
{
	cairn_msg_start(&h->command, CAIRN_OP_SCAN);
	cairn_msg_u64(&h->command, CAIRN_F_AT, revision);
	return house_read(h, 10000) ? cairn_error_row(h->error.code)->name : house_rows(h);
}

static const char *value_at(struct house *h, const char *key, uint64_t revision)
{
	struct cairn_slice value;
	static char text[64];

	cairn_msg_start(&h->command, CAIRN_OP_GET);
	cairn_msg_text(&h->command, CAIRN_F_KEY, key);
	cairn_msg_u64(&h->command, CAIRN_F_AT, revision);
	if (house_read(h, 0) || !cairn_field_find(house_fields(h), CAIRN_F_VALUE, &value))
		return cairn_error_row(h->error.code)->name;
	snprintf(text, sizeof(text), "%.*s", (int)value.len, (const char *)value.data);
	return text;
}

static void reclaim_all(struct house *h, uint64_t now_ns)
{
	bool more = true;

	while (more)
		if (store_reclaim(h->store, now_ns, false, &more, &h->error))
			bail("reclaim stopped: %s", h->error.message);
}

/* A view stays as it is while all of it is overwritten and reclaimed, with VERSIONS of history or none. */
static void views(const char *engine, uint64_t versions)
{
	struct store_settings settings = house_settings;
	struct store_facts facts;
	struct house h;
	uint64_t revision;

	settings.history = versions;
	if (!house_open_with(&h, engine, &settings))
		return;
	house_put(&h, "a", "1");
	house_put(&h, "b", "1");
	house_put(&h, "c", "1");
	is_int(view(&h, 1000, &revision), 0, "%s, %d versions: a view", engine, (int)versions);
	is_int(revision, 3, "is of the present revision");
	house_put(&h, "a", "2");
	house_put(&h, "a", "3");
	house_delete(&h, "b");
	house_put(&h, "b", "again");
	house_delete(&h, "b");
	house_put(&h, "b", "and again");
	house_delete(&h, "c");
	house_put(&h, "d", "1");
	if (versions)
		set(&h, "history-floor", 11);
	reclaim_all(&h, 1000);
	is_str(rows_at(&h, revision), "a b c", "all of it is there, whatever becomes of the keys");
	is_str(value_at(&h, "a", revision), "1", "as it was");
	is_str(value_at(&h, "b", revision), "1", "also where a key was deleted and made again, twice");
	is_str(value_at(&h, "d", revision), "not-found", "and nothing else");
	is_str(rows_at(&h, revision - 1), "compacted", "what is not held is not there");
	is_int(store_check_rows(h.store, &h.error), 0, "the rows agree");
	reclaim_all(&h, 1001 + STORE_PIN_NS);
	is_str(rows_at(&h, revision), "compacted", "ten minutes later it is not there any more");
	is_str(rows_at(&h, 11), "a b d", "what is now is");
	store_facts(h.store, &facts);
	is_int(versions ? 0 : facts.history_used, 0, "and nothing of it takes room");
	is_int(store_check_rows(h.store, &h.error), 0, "the rows still agree");
	house_close(&h);
}

/* Rows whose key begins with TAG. */
static unsigned rows_of(struct house *h, char tag)
{
	char from[1] = { tag }, to[1] = { (char)(tag + 1) };
	struct cairn_slice key = { 0 }, value;
	unsigned n = 0;
	void *it;

	if (h->engine.ops.iter_open(h->engine.handle, NULL, cairn_slice(from, 1), cairn_slice(to, 1), 0,
				    &it) < 0)
		bail("no iterator");
	while (h->engine.ops.iter_next(it, &key, &value) == 0 && key.data)
		n++;
	h->engine.ops.iter_close(it);
	return n;
}

/* Many patches of some hundred KiB at odd places: the value does not fall into small pieces. */
static void many_patches(void)
{
	const size_t size = 4 << 20;
	struct store_settings settings = house_settings;
	struct cairn_slice value;
	unsigned char *want = malloc(size);
	struct house h;
	bool same = true;

	settings.history = 0;
	if (!house_open_with(&h, "memory", &settings))
		return;
	house_put(&h, "p", "");
	house_start(&h, CAIRN_OP_PATCH);
	cairn_msg_text(&h.command, CAIRN_F_KEY, "p");
	cairn_msg_u64(&h.command, CAIRN_F_SIZE, size);
	house_apply(&h);
	is_int(rows_of(&h, 'b'), 1, "zeros of a long value are one chunk");
	memset(want, 0, size);
	for (unsigned i = 0; i < 300; i++) {
		size_t offset = i * 7919993u % (size - 300000), n = 131073 + i * 104729u % 131000;

		stage(&h, "patch of the mid", 0, i, STORE_CHUNK);
		stage(&h, "patch of the mid", 1, i + STORE_CHUNK, n - STORE_CHUNK);
		fill(want + offset, i, n);
		house_start(&h, CAIRN_OP_PATCH);
		cairn_msg_text(&h.command, CAIRN_F_KEY, "p");
		cairn_msg_u64(&h.command, CAIRN_F_OFFSET, offset);
		cairn_msg_bytes(&h.command, CAIRN_F_UPLOAD, cairn_str("patch of the mid"));
		if (house_apply(&h))
			bail("a patch is refused: %s", h.error.message);
	}
	for (size_t at = 0; at < size; at += CAIRN_PAYLOAD_MAX)
		same &= !get_range(&h, "p", at, CAIRN_PAYLOAD_MAX, 0, &value) &&
			memcmp(value.data, want + at, CAIRN_PAYLOAD_MAX) == 0;
	ok(same, "300 patches are all there");
	ok(rows_of(&h, 'b') <= 64, "and the value has at most twice as many chunks as it needs: %u",
	   rows_of(&h, 'b'));
	is_int(store_check_rows(h.store, &h.error), 0, "all of them held as often as they should be");
	house_delete(&h, "p");
	is_int(rows_of(&h, 'b') + rows_of(&h, 'n'), 0, "and with the key they go");
	house_close(&h);
	free(want);
}

int main(void)
{
	refused_engines("memory");
	damaged_records("memory");
	damaged_records("leveldb");
	damaged_records("lmdb");
	run("memory");
	run("leveldb");
	run("lmdb");
	many_patches();
	views("memory", 8);
	views("memory", 0);
	views("leveldb", 8);
	views("leveldb", 0);
	views("lmdb", 8);
	return tap_done();
}
