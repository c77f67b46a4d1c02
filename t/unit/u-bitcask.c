/*
 * engine-bitcask and its files, on a real folder. A folder is written batch by batch, copied, one file of the
 * copy spoiled, and opened: what comes out must be what some batch left, with a notice where it is not the
 * last one, or a refusal or a failed read that names the file. Never a missing or wrong key that nobody
 * speaks of. Then merges beside readers, space under overwriting, a full disk, and memory.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cairn/engine.h>
#include "files.h"
#include "tap.h"
#include "banned.h"

#define KEYS 30
#define BATCHES 60

const struct cairn_engine *cairn_engine_plugin(void);

static const struct cairn_engine *engine;
static uint32_t states[BATCHES + 1][KEYS];
static char root[64];
static uint64_t state = 1;

static uint32_t dice(uint32_t n)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(state >> 33) % n;
}

/* ---- Folders ---- */

static void path_of(char out[512], const char *folder, const char *name)
{
	snprintf(out, 512, "%s/%s/%s", root, folder, name);
}

static char *slurp(const char *path, size_t *len)
{
	int fd = open(path, O_RDONLY);
	struct stat st;
	char *data;

	if (fd < 0 || fstat(fd, &st))
		bail("cannot read %s", path);
	data = malloc((size_t)st.st_size + 1);
	*len = (size_t)st.st_size;
	if (read(fd, data, *len) != (ssize_t)*len)
		bail("cannot read %s", path);
	close(fd);
	return data;
}

static void spill(const char *path, const void *data, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	if (fd < 0 || write(fd, data, len) != (ssize_t)len)
		bail("cannot write %s", path);
	close(fd);
}

static void new_folder(const char *name)
{
	char path[512];

	path_of(path, name, "");
	folder_remove(AT_FDCWD, path);
	mkdir(path, 0700);
}

/* The names in FOLDER in order. */
static int names_of(const char *folder, struct dirent ***list)
{
	char path[512];

	path_of(path, folder, "");
	return scandir(path, list, NULL, alphasort);
}

static void copy_folder(const char *from, const char *to, bool hints)
{
	struct dirent **list;
	char a[512], b[512];
	int n = names_of(from, &list);

	new_folder(to);
	for (int i = 0; i < n; i++) {
		size_t len;
		char *data;

		if (list[i]->d_name[0] != '.' && (hints || !strstr(list[i]->d_name, ".hint"))) {
			path_of(a, from, list[i]->d_name);
			data = slurp(a, &len);
			path_of(b, to, list[i]->d_name);
			spill(b, data, len);
			free(data);
		}
		free(list[i]);
	}
	free(list);
}

/* ---- The engine ---- */

static int open_in(const char *folder, const char *name, uint64_t number, void **h, struct cairn_error *error)
{
	struct cairn_value values[16] = { { 0 } };
	char path[512];

	for (int i = 0; engine->params[i].name; i++) {
		values[i].text = engine->params[i].fallback;
		if (!strcmp(engine->params[i].name, "file-size"))
			values[i].number = 4096;
		if (!strcmp(engine->params[i].name, name))
			values[i].number = number;
	}
	path_of(path, folder, "");
	path[strlen(path) - 1] = '\0';
	return engine->open(path, values, h, error);
}

static size_t value_of(uint32_t what, unsigned char *bytes)
{
	size_t len = what % 11 == 0 ? what % 1500 : what % 120;

	for (size_t i = 0; i < len; i++)
		bytes[i] = (unsigned char)(what * 7 + i * 31);
	return len;
}

static void key_of(uint32_t i, char key[16])
{
	snprintf(key, 16, "key-%02u", i);
}

/* Batch N: three puts and perhaps a delete. */
static void write_one(void *h, uint32_t n)
{
	unsigned char bytes[3][1600];
	struct cairn_write w[4];
	struct iovec iov[3];
	char keys[4][16];
	struct cairn_batch b = { w, 3 + dice(2), { n, 9 } };
	struct cairn_error error;

	memcpy(states[n], states[n - 1], sizeof(states[n]));
	for (uint32_t k = 0; k < b.count; k++) {
		uint32_t i = dice(KEYS);

		key_of(i, keys[k]);
		w[k] = (struct cairn_write){ .kind = CAIRN_WRITE_DELETE, .key = cairn_str(keys[k]) };
		states[n][i] = k < 3 ? n * 10 + k : 0;
		if (k == 3)
			break;
		iov[k] = (struct iovec){ bytes[k], value_of(states[n][i], bytes[k]) };
		w[k] = (struct cairn_write){ CAIRN_WRITE_PUT, w[k].key, { 0 }, &iov[k], 1 };
	}
	if (engine->write(h, &b, true, &error))
		bail("write: %s", error.message);
}

/* Whether H has for key I what batch N left; *DAMAGED counts reads that fail. */
static bool key_is(void *h, uint64_t n, uint32_t i, struct cairn_error *notice, int *damaged)
{
	struct cairn_guard guard = { 0 };
	unsigned char want[1600];
	struct cairn_slice got;
	bool good = true;
	char key[16];
	int r;

	key_of(i, key);
	engine->read_begin(h, &guard);
	r = engine->get(h, &guard, NULL, cairn_str(key), 0, &got);
	if (r == -EUCLEAN)
		*damaged += engine->notice(h, notice) && notice->code == CAIRN_E_CORRUPT ? 1 : 1000;
	else
		good = r == (states[n][i] ? 0 : -ENOENT) &&
			(r || cairn_slice_eq(got, cairn_slice(want, value_of(states[n][i], want))));
	engine->read_end(h, &guard);
	return good;
}

/* What H holds: 0 when it is what batch N left; else how many keys are damaged, or -1 for a wrong one. */
static int compare(void *h, uint64_t n, struct cairn_error *notice)
{
	int damaged = 0;

	for (uint32_t i = 0; i < KEYS; i++)
		if (!key_is(h, n, i, notice, &damaged))
			return -1;
	return damaged;
}

enum outcome { WHOLE, CUT, REFUSED, FAILED_READS, WRONG };

/* Open "copy", of which NAME was spoiled, and say what comes of it; *LAST is the batch that it stands at. */
static enum outcome look(const char *name, uint64_t *last, char text[600])
{
	struct cairn_error error = { 0 }, notice = { 0 };
	struct cairn_position p = { 0 };
	enum outcome o = WHOLE;
	bool told;
	void *h;
	int r = open_in("copy", "", 0, &h, &error), damaged;

	text[0] = '\0';
	*last = 0;
	if (r) {
		snprintf(text, 600, "%s", error.message);
		return error.code == CAIRN_E_CORRUPT && strstr(error.message, name) ? REFUSED : WRONG;
	}
	told = engine->notice(h, &notice);
	engine->position(h, &p);
	*last = p.index;
	if (told)
		o = CUT;
	if (p.index < BATCHES && !told)
		o = WRONG;
	if (told && (!strstr(notice.message, name) || !strstr(notice.message, "bytes dropped")))
		o = WRONG;
	damaged = compare(h, p.index, &notice);
	if (damaged)
		o = damaged > 0 && damaged < 1000 && strstr(notice.message, name) &&
				strstr(notice.message, "offset")
			? FAILED_READS
			: WRONG;
	snprintf(text, 600, "position %llu, %s", (unsigned long long)p.index, notice.message);
	engine->close(h);
	return o;
}

/* Repair "copy": it must open then, and all of it be readable, else -1. How many keys are not what the last
 * batch left. */
static int repaired(void)
{
	struct cairn_error error = { 0 }, notice = { 0 };
	char path[512];
	int differ = 0, damaged = 0;
	void *h;

	path_of(path, "copy", "");
	path[strlen(path) - 1] = '\0';
	if (engine->repair(path, &error) || open_in("copy", "", 0, &h, &error)) {
		printf("# not repaired: %s\n", error.message);
		return -1;
	}
	for (uint32_t i = 0; i < KEYS; i++)
		differ += !key_is(h, BATCHES, i, &notice, &damaged);
	engine->close(h);
	return damaged ? -1 : differ;
}

static const char *last_data(const char *folder)
{
	static char found[300];
	struct dirent **list;
	int n = names_of(folder, &list);

	for (int i = 0; i < n; i++) {
		if (strstr(list[i]->d_name, ".data"))
			snprintf(found, sizeof(found), "%s", list[i]->d_name);
		free(list[i]);
	}
	free(list);
	return found;
}

/* Cut LAST bytes off the active file of every copy, one more each time. */
static void cuts(const char *from, bool hints)
{
	char path[512], text[600], name[300];
	uint64_t last, least = BATCHES;
	int bad = 0, told = 0;
	char *data;
	size_t len;

	snprintf(name, sizeof(name), "%s", last_data(from));
	path_of(path, from, name);
	data = slurp(path, &len);
	for (size_t off = 1; off < 250 && off < len - 64; off++) {
		enum outcome o;

		copy_folder(from, "copy", hints);
		path_of(path, "copy", name);
		if (truncate(path, (off_t)(len - off)))
			bail("truncate");
		o = look(name, &last, text);
		if (o == REFUSED || o == FAILED_READS || o == WRONG || last > least) {
			printf("# %zu bytes cut: %s\n", off, text);
			bad++;
		}
		told += o == CUT;
		least = last < least ? last : least;
	}
	free(data);
	ok(!bad && told > 100,
	   "%s: cut at every byte of the last batches it starts with a prefix and says so (down to %llu)",
	   from, (unsigned long long)least);
}

static void zeros(const char *from)
{
	char path[512], text[600], name[300], nothing[5000] = { 0 };
	uint64_t last;
	int fd;

	snprintf(name, sizeof(name), "%s", last_data(from));
	copy_folder(from, "copy", true);
	path_of(path, "copy", name);
	fd = open(path, O_WRONLY | O_APPEND);
	if (fd < 0 || write(fd, nothing, sizeof(nothing)) != sizeof(nothing))
		bail("append");
	close(fd);
	ok(look(name, &last, text) == CUT && last == BATCHES && strstr(text, "5000 bytes dropped"),
	   "%s: zeros behind the last batch are cut, and nothing else: %s", from, text);
}

static void flips(const char *from, bool hints)
{
	int counts[5] = { 0 }, n, early = 0, lost, unrepaired = 0;
	struct dirent **list;
	char path[512], text[600];
	uint64_t last;

	n = names_of(from, &list);
	for (int i = 0; i < n; i++) {
		const char *name = list[i]->d_name;
		size_t len;
		char *data;

		if (name[0] == '.' || (!hints && strstr(name, ".hint")))
			continue;
		path_of(path, from, name);
		data = slurp(path, &len);
		for (size_t at = dice(9); at < len; at += 1 + dice(97)) {
			enum outcome o;

			copy_folder(from, "copy", hints);
			data[at] = (char)(data[at] ^ 1 << at % 8);
			path_of(path, "copy", name);
			spill(path, data, len);
			data[at] = (char)(data[at] ^ 1 << at % 8);
			o = look(name, &last, text);
			if (o == CUT && last < BATCHES - 1)
				o = WRONG; /* more than the last batch */
			lost = o == REFUSED || o == FAILED_READS ? repaired() : 0;
			if (lost < 0 || lost > 4) {
				printf("# byte %zu of %s: %d keys differ after a repair\n", at, name, lost);
				unrepaired++;
			}
			early += o == CUT && strcmp(name, last_data(from)) != 0;
			counts[o]++;
			if (o == WRONG)
				printf("# bit %zu of byte %zu of %s: %s\n", at % 8, at, name, text);
		}
		free(data);
	}
	for (int i = 0; i < n; i++)
		free(list[i]);
	free(list);
	ok(counts[WRONG] == 0 && early == 0 && counts[REFUSED] > 5,
	   "%s, %s hints: a flipped bit is refused, met by a read, or does no harm (%d refused, %d met, %d "
	   "cut, %d none)",
	   from, hints ? "with" : "without", counts[REFUSED], counts[FAILED_READS], counts[CUT],
	   counts[WHOLE]);
	ok(!unrepaired, "and a repair keeps all but the keys of the batch that it is in");
}

static void deleted(const char *from)
{
	struct dirent **list;
	char path[512], text[600];
	uint64_t last;
	int n = names_of(from, &list), bad = 0, refused = 0;

	for (int i = 0; i < n; i++) {
		const char *name = list[i]->d_name;
		enum outcome o;

		if (name[0] == '.') {
			free(list[i]);
			continue;
		}
		copy_folder(from, "copy", true);
		path_of(path, "copy", name);
		unlink(path);
		o = look(name, &last, text);
		if (o != (strstr(name, ".hint") ? WHOLE : REFUSED)) {
			bad++;
			printf("# without %s: %s\n", name, text);
		}
		if (o == REFUSED && repaired() < 0) {
			bad++;
			printf("# repaired without %s: %s\n", name, text);
		}
		refused += o == REFUSED;
		free(list[i]);
	}
	free(list);
	ok(!bad && refused > 3,
	   "%s: without one of its files it is refused by name, and can be repaired; without a hint it "
	   "starts",
	   from);
}

static void damage(void)
{
	struct cairn_error error;
	bool more = true;
	void *h;

	new_folder("running");
	if (open_in("running", "", 0, &h, &error))
		bail("%s", error.message);
	for (uint32_t n = 1; n <= BATCHES; n++) {
		write_one(h, n);
		if (n == 40)
			for (int i = 0; more && i < 1000; i++)
				engine->maintain(h, 1000, &more);
	}
	copy_folder("running", "killed", true);
	engine->close(h);
	copy_folder("running", "stopped", true);
	cuts("killed", true);
	cuts("stopped", true);
	zeros("killed");
	zeros("stopped");
	flips("killed", true);
	flips("killed", false);
	flips("stopped", true);
	flips("stopped", false);
	deleted("stopped");
}

/* ---- Merges ---- */

static void put_number(void *h, uint32_t key, uint64_t number, size_t len)
{
	static unsigned char bytes[100000];
	struct iovec iov = { bytes, len };
	char text[16];
	struct cairn_write w = { .kind = CAIRN_WRITE_PUT, .iov = &iov, .iov_count = 1 };
	struct cairn_batch b = { &w, 1, { number, 1 } };
	struct cairn_error error;

	snprintf(text, sizeof(text), "%08u", key);
	w.key = cairn_str(text);
	memcpy(bytes, &number, sizeof(number));
	if (engine->write(h, &b, false, &error))
		bail("write: %s", error.message);
}

static uint64_t number_at(void *h, void *snapshot, uint32_t key)
{
	struct cairn_guard guard = { 0 };
	struct cairn_slice got;
	uint64_t number = 0;
	char text[16];

	snprintf(text, sizeof(text), "%08u", key);
	engine->read_begin(h, &guard);
	if (engine->get(h, &guard, snapshot, cairn_str(text), 0, &got) == 0)
		memcpy(&number, got.data, sizeof(number));
	engine->read_end(h, &guard);
	return number;
}

struct stat_wanted {
	const char *name;
	uint64_t value;
};

static void take_stat(void *arg, const char *name, const char *unit, uint64_t value)
{
	struct stat_wanted *s = arg;

	(void)unit;
	if (!strcmp(name, s->name))
		s->value = value;
}

static uint64_t stat_of(void *h, const char *name)
{
	struct stat_wanted s = { name, UINT64_MAX };

	engine->stats(h, take_stat, &s);
	return s.value;
}

struct beside {
	void *h;
	_Atomic bool stop;
	_Atomic uint64_t floor; /* every key has at least this number */
	_Atomic long bad, rounds;
};

static void *read_on(void *arg)
{
	struct beside *b = arg;

	for (uint32_t i = 0; !atomic_load(&b->stop); i++) {
		uint64_t floor = atomic_load(&b->floor);

		if (number_at(b->h, NULL, i * 7919 % 1000) < floor)
			atomic_fetch_add(&b->bad, 1);
		atomic_fetch_add(&b->rounds, 1);
	}
	return NULL;
}

/* 1,000 keys of 20 KB are overwritten 8 times; the folder stays small, and readers see each new value. */
static void space(void)
{
	struct cairn_error error;
	struct beside b = { 0 };
	uint64_t number = 0, worst = 0, live, disk;
	pthread_t thread;
	bool more;
	void *snapshot, *h;
	int good = 1;

	new_folder("space");
	if (open_in("space", "file-size", 1 << 30, &h, &error))
		bail("%s", error.message);
	for (uint32_t i = 0; i < 1000; i++)
		put_number(h, i, ++number, 20000);
	engine->snapshot(h, &snapshot);
	b.h = h;
	atomic_store(&b.floor, 1);
	pthread_create(&thread, NULL, read_on, &b);
	for (uint32_t round = 1; round <= 8; round++) {
		for (uint32_t i = 0; i < 1000; i++) {
			put_number(h, dice(3) ? i : dice(1000), ++number, 20000);
			engine->maintain(h, 500, &more);
			disk = stat_of(h, "disk-bytes");
			worst = disk > worst ? disk : worst;
		}
		if (round == 4) {
			for (uint32_t i = 0; i < 1000; i++)
				good = good && number_at(h, snapshot, i) == i + 1;
			engine->release(h, snapshot);
		}
	}
	atomic_store(&b.stop, true);
	pthread_join(thread, NULL);
	live = stat_of(h, "live");
	ok(good, "a snapshot has its values after four rounds of overwriting and merging");
	ok(!atomic_load(&b.bad) && atomic_load(&b.rounds) > 1000,
	   "readers beside the merges read what was written");
	ok(2 * worst <= 3 * live, "the disk stays within 1.5 times the data: at most %llu bytes for %llu",
	   (unsigned long long)worst, (unsigned long long)live);
	is_int(engine->compact(h, &error), 0, "it is compacted");
	live = stat_of(h, "live");
	ok(stat_of(h, "disk-bytes") < live + live / 100, "and nothing is left but the data");
	for (uint32_t i = 0; i < 1000; i++) {
		char key[16];
		struct cairn_write w = { .kind = CAIRN_WRITE_DELETE };
		struct cairn_batch d = { &w, 1, { ++number, 1 } };

		snprintf(key, sizeof(key), "%08u", i);
		w.key = cairn_str(key);
		engine->write(h, &d, false, &error);
	}
	engine->compact(h, &error);
	ok(stat_of(h, "disk-bytes") < 1000 && stat_of(h, "keys") == 0,
	   "all keys deleted and compacted: %llu bytes are left",
	   (unsigned long long)stat_of(h, "disk-bytes"));
	engine->close(h);
	if (open_in("space", "file-size", 1 << 30, &h, &error))
		bail("%s", error.message);
	ok(stat_of(h, "keys") == 0, "and none of them comes back");
	engine->close(h);
}

/* With a reserve that the disk does not have, puts are refused, and deletes and merges go on. */
static void full(void)
{
	struct cairn_error error = { 0 };
	char bytes[100] = { 0 };
	struct iovec iov = { bytes, sizeof(bytes) };
	struct cairn_write w = { CAIRN_WRITE_PUT, cairn_str("00000500"), { 0 }, &iov, 1 };
	struct cairn_batch b = { &w, 1, { 5000, 1 } };
	void *h;
	int r;

	new_folder("full");
	if (open_in("full", "", 0, &h, &error))
		bail("%s", error.message);
	for (uint32_t i = 0; i < 400; i++)
		put_number(h, i, i + 1, 100);
	engine->close(h);
	if (open_in("full", "min-free", (uint64_t)1 << 60, &h, &error))
		bail("%s", error.message);
	r = engine->write(h, &b, true, &error);
	ok(r == -ENOSPC && error.code == CAIRN_E_FULL, "a put is refused: %s", error.message);
	w = (struct cairn_write){ .kind = CAIRN_WRITE_DELETE_RANGE,
				  .key = cairn_str("00000000"),
				  .end = cairn_str("00000390") };
	is_int(engine->write(h, &b, true, &error), 0, "deleting goes on");
	is_int(engine->compact(h, &error), 0, "and so does merging");
	ok(stat_of(h, "keys") == 10 && stat_of(h, "disk-bytes") < 4000, "which gives back the room");
	engine->close(h);
}

/* 200,000 keys of 24 bytes: what a start with and without hints gives, and what the directory costs. */
static void many(void)
{
	struct cairn_error error;
	struct cairn_write w[500];
	char keys[500][32], path[512];
	struct iovec iov = { keys, 100 };
	struct dirent **list;
	uint64_t each;
	void *h;
	int n;

	new_folder("many");
	if (open_in("many", "file-size", 4 << 20, &h, &error))
		bail("%s", error.message);
	for (uint32_t i = 0; i < 200000; i += 500) {
		struct cairn_batch b = { w, 500, { i, 1 } };

		for (uint32_t k = 0; k < 500; k++) {
			snprintf(keys[k], 32, "user%020llu", (i + k) * 0x9e3779b97f4a7c15ull);
			w[k] = (struct cairn_write){
				CAIRN_WRITE_PUT, cairn_slice(keys[k], 24), { 0 }, &iov, 1
			};
		}
		if (engine->write(h, &b, false, &error))
			bail("write: %s", error.message);
	}
	each = stat_of(h, "directory") / 200000;
	ok(each <= 24 + 40, "a key of 24 bytes takes %llu bytes of memory", (unsigned long long)each);
	engine->close(h);
	for (int hints = 1; hints >= 0; hints--) {
		if (open_in("many", "file-size", 4 << 20, &h, &error))
			bail("%s", error.message);
		ok(stat_of(h, "keys") == 200000, "%s hints all keys are there again",
		   hints ? "with" : "without");
		engine->close(h);
		n = names_of("many", &list);
		for (int i = 0; i < n; i++) {
			path_of(path, "many", list[i]->d_name);
			if (strstr(list[i]->d_name, ".hint"))
				unlink(path);
			free(list[i]);
		}
		free(list);
	}
}

/* A hint that speaks of more than its file has, once that has been cut, is no hint when the file has grown to
 * that length again. */
static void grown_again(void)
{
	char path[512];
	struct cairn_error error;
	struct stat st;
	int wrong = 0;
	void *h;

	new_folder("grown");
	if (open_in("grown", "file-size", 1 << 20, &h, &error))
		bail("%s", error.message);
	for (uint32_t i = 0; i < 20; i++)
		put_number(h, i, i + 1, 100);
	engine->close(h);
	path_of(path, "grown", last_data("grown"));
	if (stat(path, &st) || truncate(path, st.st_size - 200))
		bail("truncate");
	if (open_in("grown", "file-size", 1 << 20, &h, &error))
		bail("%s", error.message);
	for (uint32_t i = 19; i < 40; i++)
		put_number(h, i, i + 1, 130);
	copy_folder("grown", "copy", true);
	engine->close(h);
	if (open_in("copy", "file-size", 1 << 20, &h, &error)) {
		printf("# %s\n", error.message);
		wrong = 40;
	}
	for (uint32_t i = 0; wrong < 40 && i < 40; i++)
		wrong += number_at(h, NULL, i) != i + 1;
	if (wrong < 40)
		engine->close(h);
	is_int(wrong, 0,
	       "a file that was cut after a clean end, and has grown again, loses nothing in a crash");
}

int main(void)
{
	engine = cairn_engine_plugin();
	/* Thousands of syncs: in memory where there is such a place. */
	snprintf(root, sizeof(root), "%s/cairn-bitcask-XXXXXX",
		 access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	if (!mkdtemp(root))
		bail("mkdtemp");
	damage();
	space();
	full();
	many();
	grown_again();
	folder_remove(AT_FDCWD, root);
	return tap_done();
}
