/*
 * The bytes of engine-bitcask: a folder of a sealed file, its hint, an active file and the MANIFEST, made
 * from fixed numbers, is the one in bitcask-sample.inc, byte for byte; and the engine opens that and finds
 * what is in it. "u-bitcask-format sample" prints a new bitcask-sample.inc, for a new version of the format.
 * "u-bitcask-format seeds DIR" writes the seeds of the fuzzer.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include <cairn/engine.h>
#include "files.h"
#include "records.h"
#include "tap.h"
#include "banned.h"

const struct cairn_engine *cairn_engine_plugin(void);

struct sample {
	const char *name;
	unsigned char bytes[1024];
	size_t len;
};

#define SEALED_EPOCH 0x1122334455667788ull
#define ACTIVE_EPOCH 0x99aabbccddeeff00ull

static void add_entry(unsigned char *batch, struct record_batch_head *h, enum record_kind kind,
		      const char *key, const char *value)
{
	unsigned char *p = batch + RECORD_BATCH_HEAD + h->length;

	memcpy(p + RECORD_ENTRY_HEAD, key, strlen(key));
	memcpy(p + RECORD_ENTRY_HEAD + strlen(key), value, strlen(value));
	record_entry_seal(p, kind, 0, strlen(key), strlen(value));
	h->length += RECORD_ENTRY_HEAD + (uint32_t)strlen(key) + (uint32_t)strlen(value);
	h->count++;
}

static void seal(struct sample *s, const struct record_batch_head *h, uint64_t epoch)
{
	record_batch_seal(s->bytes + s->len, h, epoch);
	s->len += RECORD_BATCH_HEAD + h->length;
}

static void make_sealed(struct sample *s)
{
	struct record_file_head head = { 1, SEALED_EPOCH, 1, 0, 0, 1 };
	struct record_batch_head one = { .sequence = 1, .index = 10, .term = 3 },
				 two = { .sequence = 2, .durable = 1, .index = 11, .term = 3 };

	s->name = "00000001.data";
	record_file_head_put(s->bytes, &head);
	s->len = RECORD_FILE_HEAD;
	add_entry(s->bytes + s->len, &one, RECORD_PUT, "apple", "red");
	add_entry(s->bytes + s->len, &one, RECORD_PUT, "banana", "yellow");
	seal(s, &one, SEALED_EPOCH);
	add_entry(s->bytes + s->len, &two, RECORD_PUT, "cherry", "");
	seal(s, &two, SEALED_EPOCH);
}

static void make_active(struct sample *s)
{
	struct record_file_head head = { 2, ACTIVE_EPOCH, 3, 11, 3, 2 };
	struct record_batch_head three = { .sequence = 3, .durable = 2, .index = 12, .term = 3 },
				 four = { .sequence = 4, .durable = 3, .index = 13, .term = 4 };

	s->name = "00000002.data";
	record_file_head_put(s->bytes, &head);
	s->len = RECORD_FILE_HEAD;
	add_entry(s->bytes + s->len, &three, RECORD_DELETE, "banana", "");
	add_entry(s->bytes + s->len, &three, RECORD_PUT, "apple", "green");
	seal(s, &three, ACTIVE_EPOCH);
	seal(s, &four, ACTIVE_EPOCH);
}

static void make_hint(struct sample *s, const struct sample *sealed)
{
	struct record_hint_head head = { 1, 3, SEALED_EPOCH, sealed->len, 3, 11, 3 };
	uint32_t at = RECORD_FILE_HEAD + RECORD_BATCH_HEAD;
	struct record_hint entries[] = {
		{ at, 20, RECORD_PUT, cairn_str("apple") },
		{ at + 20, 24, RECORD_PUT, cairn_str("banana") },
		{ at + 44 + RECORD_BATCH_HEAD, 18, RECORD_PUT, cairn_str("cherry") },
	};
	unsigned char *p = s->bytes + RECORD_HINT_HEAD;

	s->name = "00000001.hint";
	for (int i = 0; i < 3; i++)
		p = record_hint_put(p, &entries[i]);
	s->len = (size_t)(p - s->bytes);
	record_hint_seal(s->bytes, s->len, &head);
}

static void make_all(struct sample s[4])
{
	make_sealed(&s[0]);
	make_active(&s[1]);
	make_hint(&s[2], &s[0]);
	s[3].name = "MANIFEST";
	record_manifest_put(s[3].bytes,
			    (struct record_row[]){ { 1, s[0].len, SEALED_EPOCH }, { 2, 0, ACTIVE_EPOCH } }, 2,
			    3);
	s[3].len = RECORD_MANIFEST_HEAD + 2 * RECORD_MANIFEST_ROW;
}

struct frozen {
	const char *name;
	size_t len;
	unsigned char bytes[400];
};
static const struct frozen frozen[] = {
#include "bitcask-sample.inc"
};
#define FROZEN (sizeof(frozen) / sizeof(*frozen))

static void print_all(const struct sample s[4])
{
	for (int i = 0; i < 4; i++) {
		printf("{ \"%s\", %zu, {", s[i].name, s[i].len);
		for (size_t k = 0; k < s[i].len; k++)
			printf("%s0x%02x,", k % 16 ? " " : "\n  ", s[i].bytes[k]);
		printf("\n} },\n");
	}
}

static void write_file(int dir, const char *name, const void *bytes, size_t len)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (fd < 0 || write(fd, bytes, len) != (ssize_t)len)
		bail("cannot write %s", name);
	close(fd);
}

/* Seeds of t/fuzz/f-bitcask.c: a byte that says what follows, then the bytes. */
static int seeds(const struct sample s[4], const char *folder)
{
	static const char *const names[] = { "sealed", "active", "hint", "manifest" };
	static const unsigned char first[] = { 0, 0, 5, 6 };
	int dir = open(folder, O_RDONLY | O_DIRECTORY);
	unsigned char bytes[1025];

	for (int i = 0; i < 4; i++) {
		bytes[0] = first[i];
		memcpy(bytes + 1, s[i].bytes, s[i].len);
		write_file(dir, names[i], bytes, s[i].len + 1);
	}
	return 0;
}

static void check_key(const struct cairn_engine *engine, void *h, const char *key, const char *want)
{
	struct cairn_guard guard = { 0 };
	struct cairn_slice got;
	int r;

	engine->read_begin(h, &guard);
	r = engine->get(h, &guard, NULL, cairn_str(key), 0, &got);
	ok(r == (want ? 0 : -ENOENT) && (r || cairn_slice_eq(got, cairn_str(want))), "%s is %s", key,
	   want ? *want ? want : "empty" : "not there");
	engine->read_end(h, &guard);
}

static void open_frozen(bool hint)
{
	const struct cairn_engine *engine = cairn_engine_plugin();
	struct cairn_value values[16] = { { 0 } };
	struct cairn_error error = { 0 }, notice = { 0 };
	struct cairn_position p = { 0 };
	char path[] = "/tmp/cairn-bitcask-format-XXXXXX";
	int dir;
	void *h;

	for (int i = 0; engine->params[i].name; i++)
		values[i] = (struct cairn_value){ !strcmp(engine->params[i].name, "file-size") ? 1 << 20 : 0,
						  engine->params[i].fallback };
	dir = mkdtemp(path) ? open(path, O_RDONLY | O_DIRECTORY) : -1;
	for (size_t i = 0; i < FROZEN; i++)
		if (hint || !strstr(frozen[i].name, ".hint"))
			write_file(dir, frozen[i].name, frozen[i].bytes, frozen[i].len);
	if (ok(engine->open(path, values, &h, &error) == 0, "a folder of this version opens %s its hint: %s",
	       hint ? "with" : "without", error.message)) {
		ok(!engine->notice(h, &notice), "whole");
		check_key(engine, h, "apple", "green");
		check_key(engine, h, "banana", NULL);
		check_key(engine, h, "cherry", "");
		engine->position(h, &p);
		ok(p.index == 13 && p.term == 4, "and stands at its last batch");
		engine->close(h);
	}
	close(dir);
	folder_remove(AT_FDCWD, path);
}

int main(int argc, char **argv)
{
	static struct sample s[4];

	make_all(s);
	if (argc > 1 && !strcmp(argv[1], "sample")) {
		print_all(s);
		return 0;
	}
	if (argc > 2 && !strcmp(argv[1], "seeds"))
		return seeds(s, argv[2]);
	for (size_t i = 0; i < FROZEN && i < 4; i++)
		ok(!strcmp(s[i].name, frozen[i].name) && s[i].len == frozen[i].len &&
			   !memcmp(s[i].bytes, frozen[i].bytes, s[i].len),
		   "%s is made as it ever was", s[i].name);
	open_frozen(true);
	open_frozen(false);
	return tap_done();
}
