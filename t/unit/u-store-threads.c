/* Reads beside the applying thread: what they see is always one whole state of a key. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include "storehouse.h"
#include "banned.h"

#define LENGTH 300000
#define READERS 2

struct scene {
	struct store *store;
	atomic_bool end;
	atomic_ulong reads, torn, failed, views;
	_Atomic uint64_t now_ns;
};

/* A value of one repeated byte, written whole, with the byte as its first mark. */
static bool is_whole(struct cairn_slice v)
{
	const unsigned char *p = v.data;

	return v.len == LENGTH && memcmp(p, p + 1, v.len - 1) == 0;
}

static void get_long(struct scene *s, struct cairn_msg *ask, struct cairn_msg *answer)
{
	struct cairn_slice value;
	struct cairn_error error;

	cairn_msg_start(ask, CAIRN_OP_GET);
	cairn_msg_text(ask, CAIRN_F_KEY, "dir/long");
	cairn_msg_start(answer, 0);
	if (store_get(s->store, cairn_message_fields(cairn_msg_slice(ask)), 0, answer, NULL, &error)) {
		atomic_fetch_add(&s->failed, 1);
		return;
	}
	if (!cairn_field_find(cairn_message_fields(cairn_msg_slice(answer)), CAIRN_F_VALUE, &value) ||
	    !is_whole(value))
		atomic_fetch_add(&s->torn, 1);
}

/* Two keys are always moved together: a page of a listing has both or none under one name. */
static void list(struct scene *s, struct cairn_msg *ask, struct cairn_msg *answer)
{
	struct cairn_error error;
	struct cairn_slice rest, row;
	unsigned field, rows = 0;

	cairn_msg_start(ask, CAIRN_OP_SCAN);
	cairn_msg_text(ask, CAIRN_F_PREFIX, "pair-");
	cairn_msg_start(answer, 0);
	if (store_scan(s->store, cairn_message_fields(cairn_msg_slice(ask)), 0, 65536, answer, NULL,
		       &error)) {
		atomic_fetch_add(&s->failed, 1);
		return;
	}
	for (rest = cairn_message_fields(cairn_msg_slice(answer));
	     cairn_field_next(&rest, &field, &row) == 0 && field;)
		rows += field == CAIRN_F_ROW;
	if (rows != 2)
		atomic_fetch_add(&s->torn, 1);
}

/* A view is whole while its keys are moved, overwritten and reclaimed; when its time is over it is refused.
 */
static void look_back(struct scene *s, struct cairn_msg *ask, struct cairn_msg *answer)
{
	struct cairn_slice value = { 0 }, rest, row;
	struct cairn_error error;
	unsigned field, rows = 0;
	enum cairn_code code;
	uint64_t revision;

	cairn_msg_start(answer, 0);
	if (store_view(s->store, cairn_slice(NULL, 0), atomic_load(&s->now_ns), answer, &error)) {
		atomic_fetch_add(&s->failed, 1);
		return;
	}
	revision = cairn_field_u64(cairn_message_fields(cairn_msg_slice(answer)), CAIRN_F_REVISION, 0);
	sched_yield();
	cairn_msg_start(ask, CAIRN_OP_SCAN);
	cairn_msg_text(ask, CAIRN_F_PREFIX, "pair-");
	cairn_msg_u64(ask, CAIRN_F_AT, revision);
	cairn_msg_start(answer, 0);
	code = store_scan(s->store, cairn_message_fields(cairn_msg_slice(ask)), 0, 65536, answer, NULL,
			  &error);
	for (rest = cairn_message_fields(cairn_msg_slice(answer));
	     !code && cairn_field_next(&rest, &field, &row) == 0 && field;)
		rows += field == CAIRN_F_ROW;
	atomic_fetch_add(&s->torn, !code && rows != 2);
	atomic_fetch_add(&s->failed, code && code != CAIRN_E_COMPACTED);
	cairn_msg_start(ask, CAIRN_OP_GET);
	cairn_msg_text(ask, CAIRN_F_KEY, "dir/long");
	cairn_msg_u64(ask, CAIRN_F_AT, revision);
	cairn_msg_start(answer, 0);
	code = store_get(s->store, cairn_message_fields(cairn_msg_slice(ask)), 0, answer, NULL, &error);
	if (!code)
		cairn_field_find(cairn_message_fields(cairn_msg_slice(answer)), CAIRN_F_VALUE, &value);
	atomic_fetch_add(&s->torn, !code && !is_whole(value));
	atomic_fetch_add(&s->failed, code && code != CAIRN_E_COMPACTED);
	atomic_fetch_add(&s->views, !code);
}

/* Arguments are checked beside the applying thread, too. */
static void check_put(struct scene *s, struct cairn_msg *ask)
{
	struct cairn_error error;

	cairn_msg_start(ask, CAIRN_OP_PUT);
	cairn_msg_text(ask, CAIRN_F_KEY, "dir/long");
	if (store_check(s->store, CAIRN_OP_PUT, cairn_message_fields(cairn_msg_slice(ask)), &error))
		atomic_fetch_add(&s->failed, 1);
}

static void *reader(void *arg)
{
	struct cairn_msg ask = { 0 }, answer = { 0 };
	struct scene *s = arg;
	struct store_facts facts;

	while (!atomic_load(&s->end)) {
		get_long(s, &ask, &answer);
		list(s, &ask, &answer);
		look_back(s, &ask, &answer);
		check_put(s, &ask);
		store_facts(s->store, &facts);
		atomic_fetch_add(&s->reads, 1);
	}
	cairn_msg_free(&ask);
	cairn_msg_free(&answer);
	return NULL;
}

static void put_long(struct house *h, unsigned char byte)
{
	for (unsigned i = 0; i * STORE_CHUNK < LENGTH; i++) {
		size_t n = LENGTH - i * STORE_CHUNK < STORE_CHUNK ? LENGTH - i * STORE_CHUNK : STORE_CHUNK;

		house_start(h, CAIRN_OP_STAGE);
		cairn_msg_bytes(&h->command, CAIRN_F_UPLOAD, cairn_str("the only upload."));
		cairn_msg_u64(&h->command, CAIRN_F_INDEX, i);
		memset(cairn_msg_room(&h->command, CAIRN_F_VALUE, n), byte, n);
		house_apply(h);
	}
	house_start(h, CAIRN_OP_PUT);
	cairn_msg_text(&h->command, CAIRN_F_KEY, "dir/long");
	cairn_msg_bytes(&h->command, CAIRN_F_UPLOAD, cairn_str("the only upload."));
	if (house_apply(h))
		bail("a put failed: %s", h->error.message);
}

static void move_pair(struct house *h, unsigned round)
{
	house_start(h, CAIRN_OP_MOVE_PREFIX);
	cairn_msg_text(&h->command, CAIRN_F_PREFIX, round % 2 ? "pair-b/" : "pair-a/");
	cairn_msg_text(&h->command, CAIRN_F_TO, round % 2 ? "pair-a/" : "pair-b/");
	if (house_apply(h))
		bail("a move failed: %s", h->error.message);
}

/* Time passes: a view lives for a few rounds. */
static void reclaim(struct scene *s, struct house *h)
{
	uint64_t now = atomic_fetch_add(&s->now_ns, STORE_PIN_NS / 8);
	bool more = true;

	while (more)
		if (store_reclaim(h->store, now, false, &more, &h->error))
			bail("reclaim failed: %s", h->error.message);
}

static void run(const char *engine, uint64_t versions)
{
	struct scene s = { 0 };
	pthread_t threads[READERS];
	struct house h;

	struct store_settings settings = house_settings;

	settings.history = versions;
	settings.history_age_ns = 0;
	if (!house_open_with(&h, engine, &settings)) {
		ok(1, "engine %s # SKIP not in this build", engine);
		return;
	}
	s.store = h.store;
	put_long(&h, 'a');
	house_put(&h, "pair-a/1", "x");
	house_put(&h, "pair-a/2", "y");
	for (int i = 0; i < READERS; i++)
		pthread_create(&threads[i], NULL, reader, &s);
	for (unsigned round = 0; round < 150 || atomic_load(&s.reads) < 50 || !atomic_load(&s.views);
	     round++) {
		put_long(&h, (unsigned char)('a' + round % 26));
		move_pair(&h, round);
		house_delete(&h, "nothing"); /* fails, and is undone */
		reclaim(&s, &h);
	}
	atomic_store(&s.end, true);
	for (int i = 0; i < READERS; i++)
		pthread_join(threads[i], NULL);
	is_int(atomic_load(&s.failed), 0, "%s: no read fails beside writes", engine);
	is_int(atomic_load(&s.torn), 0, "%s: no read sees half of one", engine);
	is_int(store_check_rows(h.store, &h.error), 0, "%s: the rows agree with each other", engine);
	house_close(&h);
}

int main(void)
{
	run("memory", 2);
	run("memory", 0);
	run("leveldb", 2);
	run("leveldb", 0);
	run("lmdb", 2);
	return tap_done();
}
