/*
 * The LMDB engine: damaged files, a map or a disk that is full, a file that is overwritten for long, readers
 * that hold it back, compaction beside readers. What damage may do: be refused or told with file and offset,
 * or give a wrong value (the store has a checksum for each row), but never end the process and never hide a
 * key from check.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "engine.h"
#include "files.h"
#include "loader.h"
#include "tap.h"

#define ROWS 3000
#define PAGE 4096

static struct loader *loader;
static const struct cairn_engine *plugin;
static char root[64];

static void path_of(char out[512], const char *folder, const char *name)
{
	snprintf(out, 512, "%s/%s%s%s", root, folder, *name ? "/" : "", name);
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

static void spill(const char *folder, const void *data, size_t len)
{
	char path[512];
	int fd;

	path_of(path, folder, "");
	folder_remove(AT_FDCWD, path);
	mkdir(path, 0700);
	path_of(path, folder, "1.mdb");
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	if (fd < 0 || write(fd, data, len) != (ssize_t)len)
		bail("cannot write %s", path);
	close(fd);
}

static off_t size_of(const char *folder)
{
	off_t size = 0;
	char path[512];
	struct dirent *d;
	struct stat st;
	DIR *dir;

	path_of(path, folder, "");
	dir = opendir(path);
	while ((d = readdir(dir)))
		if (strstr(d->d_name, ".mdb") && !strstr(d->d_name, "-lock") &&
		    fstatat(dirfd(dir), d->d_name, &st, 0) == 0)
			size += st.st_size;
	closedir(dir);
	return size;
}

static enum cairn_code open_in(struct engine *e, const char *folder, const char *parameter,
			       struct cairn_error *error)
{
	char path[512];

	path_of(path, folder, "");
	mkdir(path, 0700);
	return engine_open(e, plugin, path, &parameter, parameter != NULL, error);
}

static void must_open(struct engine *e, const char *folder, const char *parameter)
{
	struct cairn_error error;

	if (open_in(e, folder, parameter, &error))
		bail("%s", error.message);
}

/* A batch that puts COUNT rows from FROM on with values of LEN bytes, or with LEN 0 deletes them. */
static int write_rows(struct engine *e, unsigned from, unsigned count, size_t len, struct cairn_error *error)
{
	static _Thread_local uint64_t index;
	struct cairn_write *w = calloc(count + 1, sizeof(*w));
	char(*keys)[16] = calloc(count + 1, sizeof(*keys)), *value = malloc(len + 1);
	struct iovec iov = { value, len };
	struct cairn_batch b = { w, count, { ++index, 1 } };
	int r;

	memset(value, 'v', len);
	for (unsigned i = 0; i < count; i++) {
		snprintf(keys[i], sizeof(keys[i]), "key%06u", from + i);
		w[i] = (struct cairn_write){ .kind = len ? CAIRN_WRITE_PUT : CAIRN_WRITE_DELETE,
					     .key = cairn_str(keys[i]),
					     .iov = &iov,
					     .iov_count = len ? 1 : 0 };
	}
	r = e->ops.write(e->handle, &b, false, error);
	free(w);
	free(keys);
	free(value);
	return r;
}

static int count_rows(struct engine *e, void *snapshot, unsigned *count)
{
	struct cairn_slice key, value;
	void *it;
	int r = e->ops.iter_open(e->handle, snapshot, cairn_str(""), cairn_str(""), 0, &it);

	for (*count = 0; !r; *count += 1) {
		r = e->ops.iter_next(it, &key, &value);
		if (r || !key.data)
			break;
	}
	e->ops.iter_close(it);
	return r;
}

/* ---- Damage ---- */

enum outcome { SOUND, REFUSED, CHECK_SAYS, WRONG };

static bool names(const struct cairn_error *e)
{
	return e->code == CAIRN_E_CORRUPT && strstr(e->message, "1.mdb: damaged at offset ");
}

/* In a process of its own: what opening, checking and reading the folder "case" give. */
static enum outcome look(void)
{
	struct cairn_error error = { 0 };
	struct cairn_guard guard = { 0 };
	struct cairn_slice value;
	unsigned count;
	struct engine e;
	char key[16];
	int r;

	if (open_in(&e, "case", NULL, &error))
		return names(&error) ? REFUSED : WRONG;
	r = e.ops.check(e.handle, &error);
	/* Reads go on with what there is, whatever check says. */
	e.ops.read_begin(e.handle, &guard);
	for (unsigned i = 0; i < ROWS; i += 7) {
		snprintf(key, sizeof(key), "key%06u", i);
		if (e.ops.get(e.handle, &guard, NULL, cairn_str(key), 0, &value) && !r)
			return WRONG;
	}
	e.ops.read_end(e.handle, &guard);
	if ((count_rows(&e, NULL, &count) || count != ROWS) && !r)
		return WRONG;
	engine_close(&e);
	return r == 0 ? SOUND : names(&error) ? CHECK_SAYS : WRONG;
}

static int look_apart(void)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit((int)look());
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 100 + WTERMSIG(status);
}

/* FILE cut at each byte of its last page, with zeros behind it, and without the lock beside it. */
static void last_page(const char *file, size_t len)
{
	char *longer = calloc(1, len + (4 << 20)), path[512];
	unsigned bad = 0;

	spill("case", file, len);
	path_of(path, "case", "1.mdb");
	for (size_t cut = len - 1; cut >= len - PAGE; cut--) {
		if (truncate(path, (off_t)cut))
			bail("truncate");
		bad += look() != REFUSED;
	}
	is_int(bad, 0, "cut off at each byte of its last page: refused, with file and offset");

	memcpy(longer, file, len);
	spill("case", longer, len + (4 << 20));
	is_int(look_apart(), SOUND, "zeros behind its pages do no harm");
	path_of(path, "case", "1.mdb-lock");
	unlink(path);
	is_int(look_apart(), SOUND, "nor does it to lose the lock file");
	free(longer);
}

static void damage(void)
{
	unsigned outcomes[4] = { 0 }, died = 0, tried = 0;
	char path[512], *file, *spoilt;
	struct engine e;
	size_t len;

	must_open(&e, "made", NULL);
	for (unsigned i = 0; i < ROWS; i += 100)
		write_rows(&e, i, 100, 20 + i % 700, NULL);
	write_rows(&e, 100, 3, 20000, NULL);
	write_rows(&e, 200, 100, 30, NULL);
	engine_close(&e);
	path_of(path, "made", "1.mdb");
	file = slurp(path, &len);
	spill("case", file, len);
	is_int(look_apart(), SOUND, "a sound file is sound");

	for (size_t cut = 0; cut < len; cut += cut % PAGE ? PAGE - 100 : 100, tried++) {
		int r;

		spill("case", file, cut);
		r = look_apart();
		if (r != REFUSED) {
			printf("# cut at %zu of %zu: %d\n", cut, len, r);
			died++;
		}
	}
	is_int(died, 0, "cut off at %u places: refused, with file and offset", tried);
	last_page(file, len);

	spoilt = malloc(len);
	for (size_t at = 0, n = 0; at < len; at += n++ % 2 ? 61 : 1013) {
		int r;

		memcpy(spoilt, file, len);
		spoilt[at] ^= (char)(1 << (n % 8));
		spill("case", spoilt, len);
		r = look_apart();
		if (r > CHECK_SAYS) {
			printf("# bit %zu at %zu: %d\n", n % 8, at, r);
			died++;
		} else {
			outcomes[r]++;
		}
	}
	is_int(died, 0,
	       "a bit flipped at %u places: %u refused, %u found by check, %u in values or unused bytes",
	       outcomes[0] + outcomes[1] + outcomes[2], outcomes[REFUSED], outcomes[CHECK_SAYS],
	       outcomes[SOUND]);
	ok(outcomes[CHECK_SAYS] > 20 && outcomes[SOUND] > 20, "of each kind some");
	free(spoilt);
	free(file);
}

static void repair(void)
{
	char path[512], *file;
	struct cairn_error error = { 0 };
	unsigned count = 0;
	struct engine e;
	size_t len, page;

	path_of(path, "made", "1.mdb");
	file = slurp(path, &len);
	for (page = len / 2 / PAGE; page > 2 && file[page * PAGE + 10] != 2; page--)
		; /* a leaf */
	memset(file + page * PAGE, 0, 32);
	spill("case", file, len);
	free(file);
	path_of(path, "case", "");
	is_int(plugin->repair(path, &error), 0, "a file with a damaged page is repaired: %s", error.message);
	must_open(&e, "case", NULL);
	is_int(e.ops.check(e.handle, &error), 0, "it is sound then");
	is_int(count_rows(&e, NULL, &count), 0, "and is read");
	ok(count < ROWS && count > ROWS - 200, "all but one page's rows are there: %u of %u", count, ROWS);
	engine_close(&e);

	path_of(path, "case", "2.mdb");
	unlink(path);
	ok(open_in(&e, "case", NULL, &error) == CAIRN_E_CORRUPT && strstr(error.message, "2.mdb is missing"),
	   "a lost file is refused by its name: %s", error.message);
}

/* ---- Room ---- */

static void full(void)
{
	struct cairn_error error = { 0 };
	unsigned n = 0, count, before;
	struct engine e;
	int r = 0;

	must_open(&e, "full", "map-size-max=4M");
	while (!r && n < 100000) {
		r = write_rows(&e, n, 10, 1000, &error);
		n += r ? 0 : 10;
	}
	is_int(r, -ENOSPC, "at map-size-max a batch is refused: %s", error.message);
	count_rows(&e, NULL, &before);
	is_int(before, n, "and nothing of it is there, and all before it is (%u rows)", n);
	is_int(write_rows(&e, n, 10, 1000, &error), -ENOSPC, "nor is the next one taken");
	for (r = 0, count = 0; !r && count < n; count += 10)
		r = write_rows(&e, count, 10, 0, &error);
	is_int(r, 0, "deletes are taken, all of them: %s", error.message);
	for (r = 0, count = 0; !r && count < n - 100; count += 10)
		r = write_rows(&e, count, 10, 1000, &error);
	is_int(r, 0, "and then as much fits as before: %s", error.message);
	is_int(e.ops.check(e.handle, &error), 0, "the file is sound");
	ok(size_of("full") <= 4 << 20, "and not longer than it may be: %lld", (long long)size_of("full"));
	engine_close(&e);
	must_open(&e, "less", "min-free=1024T");
	is_int(write_rows(&e, 1, 600, 4000, &error), -ENOSPC, "a disk that is too full takes no batch: %s",
	       error.message);
	is_int(error.code, CAIRN_E_FULL, "and says so");
	engine_close(&e);
}

static void overwrites(void)
{
	struct cairn_error error = { 0 };
	off_t live, after, compact;
	unsigned count;
	struct engine e;
	void *snapshot;

	must_open(&e, "steady", NULL);
	for (unsigned i = 0; i < 2000; i += 100)
		write_rows(&e, i, 100, 2000, NULL);
	live = size_of("steady");
	for (unsigned i = 0; i < 4000; i++)
		write_rows(&e, i * 7919 % 1990, 10, i % 10 ? 1500 + i % 1000 : 20000, NULL);
	after = size_of("steady");
	ok(after < 3 * live, "overwritten twenty times the file stays bounded: %lld to %lld bytes",
	   (long long)live, (long long)after);
	write_rows(&e, 1000, 1000, 0, NULL);
	if (e.ops.snapshot(e.handle, &snapshot))
		bail("no snapshot");
	is_int(e.ops.compact(e.handle, &error), 0, "it compacts: %s", error.message);
	compact = size_of("steady");
	ok(compact < after * 3 / 4, "to what is live: %lld bytes", (long long)compact);
	ok(count_rows(&e, snapshot, &count) == 0 && count == 1000, "a snapshot from before goes on");
	write_rows(&e, 5000, 10, 100, NULL);
	ok(count_rows(&e, snapshot, &count) == 0 && count == 1000, "and does not see what comes after");
	ok(count_rows(&e, NULL, &count) == 0 && count == 1010, "others do");
	e.ops.release(e.handle, snapshot);
	engine_close(&e);
	must_open(&e, "steady", NULL);
	ok(count_rows(&e, NULL, &count) == 0 && count == 1010, "and so does the next start");
	engine_close(&e);
}

struct seen {
	uint64_t held, cut, snapshots;
};

static void see(void *arg, const char *name, const char *unit, uint64_t value)
{
	struct seen *s = arg;

	(void)unit;
	if (!strcmp(name, "held-bytes"))
		s->held = value;
	else if (!strcmp(name, "readers-cut-off"))
		s->cut = value;
	else if (!strcmp(name, "snapshots"))
		s->snapshots = value;
}

static void held_back(void)
{
	struct cairn_error error = { 0 };
	struct cairn_guard guard = { 0 };
	struct cairn_slice key, value;
	void *snapshot, *it;
	struct seen s = { 0 };
	unsigned count;
	struct engine e;
	off_t size;
	int r = 0;

	must_open(&e, "held", "held-max=4M");
	write_rows(&e, 0, 1000, 1000, NULL);
	e.ops.snapshot(e.handle, &snapshot);
	e.ops.read_begin(e.handle, &guard);
	e.ops.get(e.handle, &guard, snapshot, cairn_str("key000007"), 0, &value);
	e.ops.iter_open(e.handle, NULL, cairn_str(""), cairn_str(""), 0, &it);
	e.ops.iter_next(it, &key, &value);
	for (unsigned i = 0; i < 100; i++)
		write_rows(&e, i * 31 % 900, 100, 900 + i, NULL);
	e.ops.stats(e.handle, see, &s);
	ok(s.snapshots == 1 && s.held > 1 << 20, "stats say what readers hold: %llu bytes",
	   (unsigned long long)s.held);
	for (unsigned i = 0; i < 1000; i++)
		write_rows(&e, i * 31 % 900, 100, 900 + i % 100, NULL);
	e.ops.stats(e.handle, see, &s);
	is_int(s.cut, 2, "at held-max both are cut off");
	ok(e.ops.notice(e.handle, &error) && strstr(error.message, "was cut off"), "and named: %s",
	   error.message);
	ok(value.data && ((const char *)value.data)[0] == 'v', "what was lent before is still there");
	r = e.ops.iter_next(it, &key, &value);
	is_int(r, -ESTALE, "the iterator says so");
	is_int(e.ops.get(e.handle, &guard, snapshot, cairn_str("key000008"), 0, &value), -ESTALE,
	       "and the snapshot");
	e.ops.read_end(e.handle, &guard);
	e.ops.iter_close(it);
	e.ops.release(e.handle, snapshot);
	size = size_of("held");
	for (unsigned i = 0; i < 1000; i++)
		write_rows(&e, i * 31 % 900, 100, 900 + i % 100, NULL);
	ok(size_of("held") == size, "without them the file does not grow: %lld bytes", (long long)size);
	ok(count_rows(&e, NULL, &count) == 0 && count == 1000, "every row is there");
	engine_close(&e);
}

/* A lock is taken, and a file of somebody else is left alone. */
static void others(void)
{
	struct cairn_error error = { 0 };
	struct engine a, b;
	char zeros[PAGE] = { 0 };

	must_open(&a, "mine", NULL);
	ok(open_in(&b, "mine", NULL, &error) != CAIRN_OK, "a folder opens once: %s", error.message);
	engine_close(&a);
	spill("case", zeros, sizeof(zeros));
	is_int(open_in(&b, "case", NULL, &error), CAIRN_E_CORRUPT, "zeros are no file: %s", error.message);
	ok(open_in(&b, "mine", "map-size-max=1K", &error) == CAIRN_E_INVALID &&
		   strstr(error.message, "map-size-max"),
	   "a parameter out of its range is refused: %s", error.message);
}

/* On a disk that is so small that it fills: DISK is a folder on it, and nothing is kept free. */
static void full_disk(const char *disk)
{
	static const char *const parameters[] = { "min-free=0", "map-size-max=1G" };
	struct cairn_error error = { 0 };
	unsigned n = 0, count;
	struct engine e;
	int r = 0;

	if (engine_open(&e, plugin, disk, parameters, 2, &error))
		bail("%s", error.message);
	while (!r && n < 10000000) {
		r = write_rows(&e, n, 10, 1000, &error);
		n += r ? 0 : 10;
	}
	is_int(r, -ENOSPC, "a disk without room: %s", error.message);
	is_int(count_rows(&e, NULL, &count), 0, "reads go on");
	is_int(count, n, "every batch before is there, and nothing of the last");
	is_int(e.ops.check(e.handle, &error), 0, "the file is sound");
	for (r = 0, count = 0; !r && count < n / 2; count += 10)
		r = write_rows(&e, count, 10, 0, &error);
	is_int(r, 0, "deletes are taken: %s", error.message);
	is_int(write_rows(&e, 0, 10, 1000, &error), 0, "and then writes");
	engine_close(&e);
	if (engine_open(&e, plugin, disk, parameters, 2, &error))
		bail("%s", error.message);
	is_int(e.ops.check(e.handle, &error), 0, "it opens again, sound");
	ok(count_rows(&e, NULL, &count) == 0 && count >= n - n / 2, "with %u rows", count);
	engine_close(&e);
}

/* u-lmdb [DISK] */
int main(int argc, char **argv)
{
	const struct plugin *p;
	struct cairn_error error;

	loader = loader_new(NULL);
	if (!loader || loader_get(loader, PLUGIN_ENGINE, "lmdb", &p, &error))
		return tap_skip_all("engine-lmdb is not built");
	plugin = p->engine;
	if (argc > 1) {
		full_disk(argv[1]);
		loader_free(loader);
		return tap_done();
	}
	snprintf(root, sizeof(root), "/tmp/cairn-lmdb-XXXXXX");
	if (!mkdtemp(root))
		bail("mkdtemp");
	damage();
	repair();
	full();
	overwrites();
	held_back();
	others();
	folder_remove(AT_FDCWD, root);
	loader_free(loader);
	return tap_done();
}
