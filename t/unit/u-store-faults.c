/*
 * An engine whose Nth call fails, and an Nth allocation that does, for every N: the store stops with the
 * reason and nothing half done is left; opened again, it goes on, and ends where a run without faults ends. A
 * full disk refuses a batch and stops nothing.
 */
#include <errno.h>
#include "storehouse.h"
#include "banned.h"

/* The one engine under test: callbacks have no place for an argument of ours. */
static struct cairn_engine real;
static long countdown; /* calls until one fails; 0: none does */
static int failure;

static bool fails(void)
{
	return failure == -EIO && countdown && --countdown == 0;
}

/* Allocations of the store (the engine's are its own): linked with --wrap. */
static bool applying;
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size);

static bool no_memory(void)
{
	return applying && failure == -ENOMEM && countdown && --countdown == 0;
}

void *__wrap_malloc(size_t size)
{
	return no_memory() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return no_memory() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *p, size_t size)
{
	return no_memory() ? NULL : __real_realloc(p, size);
}

/* Only a write finds a disk full. */
static bool write_fails(void)
{
	return failure == -ENOSPC ? countdown && --countdown == 0 : fails();
}

static int faulty_get(void *handle, struct cairn_guard *guard, void *snapshot, struct cairn_slice key,
		      unsigned flags, struct cairn_slice *value)
{
	return fails() ? failure : real.get(handle, guard, snapshot, key, flags, value);
}

static int faulty_iter_open(void *handle, void *snapshot, struct cairn_slice from, struct cairn_slice to,
			    unsigned flags, void **iterator)
{
	return fails() ? failure : real.iter_open(handle, snapshot, from, to, flags, iterator);
}

static int faulty_iter_next(void *iterator, struct cairn_slice *key, struct cairn_slice *value)
{
	return fails() ? failure : real.iter_next(iterator, key, value);
}

static int faulty_write(void *handle, const struct cairn_batch *batch, bool sync, struct cairn_error *error)
{
	return write_fails() ? failure : real.write(handle, batch, sync, error);
}

static void wrap(struct house *h)
{
	real = h->engine.ops;
	h->engine.ops.get = faulty_get;
	h->engine.ops.iter_open = faulty_iter_open;
	h->engine.ops.iter_next = faulty_iter_next;
	h->engine.ops.write = faulty_write;
}

static void key_and(struct house *h, const char *key, unsigned field, const char *text)
{
	cairn_msg_text(&h->command, CAIRN_F_KEY, key);
	if (text)
		cairn_msg_text(&h->command, field, text);
}

#define STEPS 21
#define RECLAIM 20 /* the last step is no command */

/* Step N of the scene: one command of each kind that touches many rows. */
static void make_step(struct house *h, unsigned n)
{
	static const unsigned ops[STEPS] = {
		CAIRN_OP_PUT,           CAIRN_OP_PUT,         CAIRN_OP_STAGE,   CAIRN_OP_STAGE,
		CAIRN_OP_PUT,           CAIRN_OP_APPEND,      CAIRN_OP_COPY,    CAIRN_OP_PATCH,
		CAIRN_OP_PUT,           CAIRN_OP_MOVE_PREFIX, CAIRN_OP_DELETE,  CAIRN_OP_DELETE_PREFIX,
		CAIRN_OP_REVERT_PREFIX, CAIRN_OP_PURGE,       CAIRN_OP_PUT,     CAIRN_OP_STAGE,
		CAIRN_OP_PATCH,         CAIRN_OP_STAGE,       CAIRN_OP_UNSTAGE, CAIRN_OP_CONFIGURE
	};
	size_t mark;

	cairn_msg_start(&h->command, ops[n]);
	cairn_msg_u64(&h->command, CAIRN_F_TIME, 1000 + n + (n < 18 ? 0 : STORE_UPLOAD_NS));
	if (n % 2) {
		cairn_msg_bytes(&h->command, CAIRN_F_CLIENT, cairn_str("a careful client"));
		cairn_msg_u64(&h->command, CAIRN_F_SEQUENCE, n);
		cairn_msg_u64(&h->command, CAIRN_F_BORN, n);
	}
	switch (n) {
	case 2:
	case 3:
		cairn_msg_bytes(&h->command, CAIRN_F_UPLOAD, cairn_str("the only upload."));
		cairn_msg_u64(&h->command, CAIRN_F_INDEX, n - 2);
		memset(cairn_msg_room(&h->command, CAIRN_F_VALUE, STORE_CHUNK), 'u', STORE_CHUNK);
		break;
	case 4:
		key_and(h, "a/long", 0, NULL);
		cairn_msg_bytes(&h->command, CAIRN_F_UPLOAD, cairn_str("the only upload."));
		break;
	case 5:
		key_and(h, "a/long", CAIRN_F_VALUE, "and more");
		break;
	case 6:
		key_and(h, "a/long", CAIRN_F_TO, "b/copy");
		break;
	case 7:
		key_and(h, "b/copy", CAIRN_F_VALUE, "patched");
		cairn_msg_u64(&h->command, CAIRN_F_OFFSET, 131070);
		break;
	case 9:
		cairn_msg_text(&h->command, CAIRN_F_PREFIX, "a/");
		cairn_msg_text(&h->command, CAIRN_F_TO, "c/d/");
		break;
	case 10:
		key_and(h, "b/copy", 0, NULL);
		break;
	case 11:
		cairn_msg_text(&h->command, CAIRN_F_PREFIX, "c/d/l");
		break;
	case 12:
		cairn_msg_text(&h->command, CAIRN_F_PREFIX, "");
		cairn_msg_u64(&h->command, CAIRN_F_REVISION, 4);
		break;
	case 13:
		key_and(h, "a/short", 0, NULL);
		break;
	case 15:
	case 17:
		cairn_msg_bytes(&h->command, CAIRN_F_UPLOAD, cairn_str("one more upload."));
		memset(cairn_msg_room(&h->command, CAIRN_F_VALUE, STORE_CHUNK), 'w', STORE_CHUNK);
		break;
	case 16:
		key_and(h, "a/short", 0, NULL);
		cairn_msg_bytes(&h->command, CAIRN_F_UPLOAD, cairn_str("one more upload."));
		mark = cairn_msg_open(&h->command, CAIRN_F_EXTENT);
		cairn_msg_u64(&h->command, CAIRN_F_OFFSET, 200000);
		cairn_msg_close(&h->command, mark);
		mark = cairn_msg_open(&h->command, CAIRN_F_EXTENT);
		cairn_msg_u64(&h->command, CAIRN_F_OFFSET, 100000);
		cairn_msg_u64(&h->command, CAIRN_F_LENGTH, 150000);
		cairn_msg_close(&h->command, mark);
		break;
	case 18: /* what has expired */
		break;
	case 19:
		cairn_msg_text(&h->command, CAIRN_F_NAME, "history");
		cairn_msg_text(&h->command, CAIRN_F_AMOUNT, "0");
		break;
	default:
		key_and(h, n == 8 ? "a/b/c/d/e" : "a/short", CAIRN_F_VALUE, "short");
	}
}

static enum cairn_code do_step(struct house *h, unsigned n)
{
	struct store_command c = { .position = { n + 1, 1 }, .answer = &h->answer, .error = &h->error };
	enum cairn_code code;
	bool more;

	if (n != RECLAIM)
		make_step(h, n);
	c.message = cairn_msg_slice(&h->command);
	applying = true;
	code = n == RECLAIM ? store_reclaim(h->store, 0, false, &more, &h->error)
			    : store_apply(h->store, &c, 1, false, &h->error);
	applying = false;
	if (!code && c.code)
		bail("step %u failed: %s", n, h->error.message);
	return code;
}

static void reopen_store(struct house *h)
{
	store_close(h->store);
	if (store_open(&h->store, &h->engine, &h->settings, &h->error))
		bail("the store does not open after a fault: %s", h->error.message);
}

/* The scene with the Nth call failing; what is known at the end. False where it has fewer calls. */
static bool scene(long nth, int error, struct store_facts *facts, const char **wrong)
{
	struct house h;
	bool failed = false;

	if (!house_open(&h, "memory"))
		return false;
	wrap(&h);
	failure = error;
	countdown = nth;
	for (unsigned n = 0; n < STEPS; n++) {
		enum cairn_code code = do_step(&h, n);

		if (!code)
			continue;
		failed = true;
		if (!h.error.message[0])
			*wrong = "no reason was given";
		if (error == -ENOSPC && code != CAIRN_E_FULL)
			*wrong = "a full disk was another error";
		cairn_msg_free(&h.answer); /* its failure sticks */
		if (error != -ENOSPC) {
			if (store_apply(h.store, &(struct store_command){ 0 }, 1, false, &h.error) != code)
				*wrong = "a stopped store went on";
			reopen_store(&h);
		}
		if (store_check_rows(h.store, &h.error))
			*wrong = "half of a command was left";
		n--; /* the same once more */
	}
	countdown = 0;
	store_facts(h.store, facts);
	if (store_check_rows(h.store, &h.error))
		*wrong = "the rows do not agree at the end";
	house_close(&h);
	return failed;
}

int main(void)
{
	struct store_facts want, got;
	const char *wrong = NULL;
	long n;

	struct house h;

	if (!house_open(&h, "memory"))
		return tap_skip_all("the memory engine is not in this build");
	house_close(&h);
	scene(0, 0, &want, &wrong);
	for (n = 1; scene(n, -EIO, &got, &wrong) && !wrong; n++)
		if (memcmp(&want, &got, sizeof(want)) != 0)
			wrong = "the end is another one";
	ok(!wrong, "each of %ld calls of the engine failed once, and the store recovered%s%s", n - 1,
	   wrong ? ": " : "", wrong ? wrong : "");
	ok(n > 40, "there were enough of them");
	wrong = NULL;
	for (n = 1; scene(n, -ENOMEM, &got, &wrong) && !wrong; n++)
		if (memcmp(&want, &got, sizeof(want)) != 0)
			wrong = "the end is another one";
	ok(!wrong, "each of %ld allocations failed once, and the store recovered%s%s", n - 1,
	   wrong ? ": " : "", wrong ? wrong : "");
	ok(n > 5, "there were enough of them");
	wrong = NULL;
	for (n = 1; scene(n, -ENOSPC, &got, &wrong) && !wrong; n++)
		if (memcmp(&want, &got, sizeof(want)) != 0)
			wrong = "the end is another one";
	ok(!wrong && n == STEPS + 1, "each batch found a full disk once, and the store went on%s%s",
	   wrong ? ": " : "", wrong ? wrong : "");
	return tap_done();
}
