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
	store_facts(h.store, &before);
	if (h.engine.ops.caps & CAIRN_ENGINE_DURABLE) {
		house_reopen(&h);
		store_facts(h.store, &after);
		ok(memcmp(&before, &after, sizeof(before)) == 0, "a reopened store knows what it knew");
	}
	house_close(&h);
}

int main(void)
{
	run("memory");
	run("leveldb");
	return tap_done();
}
