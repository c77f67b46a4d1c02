/*
 * The LevelDB engine and damaged files. Each case copies a folder that was written batch by batch, spoils one
 * file, and opens it: what comes out must be a prefix of the batches with the position that belongs to it and
 * a notice, or a refusal that names the file. Never a missing or wrong key that nobody speaks of.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "crc32c.h"
#include "engine.h"
#include "files.h"
#include "le.h"
#include "loader.h"
#include "tap.h"

#define BATCHES 40

static struct loader *loader;
static const struct cairn_engine *plugin;
static char root[64];

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

static void copy_folder(const char *from, const char *to)
{
	char a[512], b[512];
	struct dirent *e;
	DIR *d;

	path_of(b, to, "");
	folder_remove(AT_FDCWD, b);
	mkdir(b, 0700);
	path_of(a, from, "");
	d = opendir(a);
	while ((e = readdir(d)))
		if (e->d_name[0] != '.') {
			size_t len;
			char *data;

			path_of(a, from, e->d_name);
			data = slurp(a, &len);
			path_of(b, to, e->d_name);
			spill(b, data, len);
			free(data);
		}
	closedir(d);
}

/* The name of the file in FOLDER that ends with SUFFIX or begins with PREFIX, the last one by name. */
static const char *name_of(const char *folder, const char *prefix, const char *suffix)
{
	static char found[300];
	char path[512];
	struct dirent *e;
	DIR *d;

	path_of(path, folder, "");
	d = opendir(path);
	found[0] = '\0';
	while ((e = readdir(d))) {
		size_t n = strlen(e->d_name), k = strlen(suffix);

		if (n >= k && !strcmp(e->d_name + n - k, suffix) &&
		    !strncmp(e->d_name, prefix, strlen(prefix)) && strcmp(e->d_name, found) > 0)
			snprintf(found, sizeof(found), "%s", e->d_name);
	}
	closedir(d);
	return found;
}

/* ---- What is written: batch N puts three keys of its own, replaces "last", and deletes one key of batch N
 * - 2. ---- */

static size_t value_of(unsigned n, unsigned k, char out[4096])
{
	size_t len = 20 + (n * 37 + k * 101) % 400;

	for (size_t i = 0; i < len; i++)
		out[i] = (char)(n * 7 + k * 13 + i * i);
	return len;
}

static void write_one(struct engine *e, unsigned n, size_t extra)
{
	char keys[5][24], values[4][4096], *big = calloc(1, extra + 1);
	struct iovec iov[5];
	struct cairn_write w[6] = { 0 };
	struct cairn_batch b = { .writes = w, .position = { n, 7 } };
	struct cairn_error error = { 0 };

	for (unsigned k = 0; k < 4; k++) {
		snprintf(keys[k], sizeof(keys[k]), k < 3 ? "k%05u.%u" : "last", n, k);
		iov[k] = (struct iovec){ values[k], value_of(n, k, values[k]) };
		w[b.count++] = (struct cairn_write){
			.kind = CAIRN_WRITE_PUT, .key = cairn_str(keys[k]), .iov = &iov[k], .iov_count = 1
		};
	}
	snprintf(keys[4], sizeof(keys[4]), "k%05u.2", n - 2);
	w[b.count++] = (struct cairn_write){ .kind = CAIRN_WRITE_DELETE, .key = cairn_str(keys[4]) };
	if (extra) {
		memset(big, 'x', extra);
		iov[4] = (struct iovec){ big, extra };
		w[b.count++] = (struct cairn_write){
			.kind = CAIRN_WRITE_PUT, .key = cairn_str("large"), .iov = &iov[4], .iov_count = 1
		};
	}
	if (e->ops.write(e->handle, &b, true, &error))
		bail("write: %s", error.message);
	free(big);
}

static bool reads_as(struct engine *e, const char *key, bool there, unsigned n, unsigned k, int *why)
{
	struct cairn_guard guard = { 0 };
	struct cairn_slice got;
	char want[4096];
	bool same;

	e->ops.read_begin(e->handle, &guard);
	*why = e->ops.get(e->handle, &guard, NULL, cairn_str(key), 0, &got);
	same = there ? *why == 0 && cairn_slice_eq(got, cairn_slice(want, value_of(n, k, want)))
		     : *why == -ENOENT;
	e->ops.read_end(e->handle, &guard);
	return same;
}

/* Whether E holds exactly the first N batches. -EUCLEAN in *WHY: a read said that there is damage. */
static bool holds(struct engine *e, unsigned n, int *why)
{
	struct cairn_slice key, value;
	unsigned keys = 0;
	char name[24];
	void *it;

	*why = 0;
	for (unsigned b = 1; b <= BATCHES + 2; b++)
		for (unsigned k = 0; k < 3; k++) {
			snprintf(name, sizeof(name), "k%05u.%u", b, k);
			if (!reads_as(e, name, b <= n && !(k == 2 && b + 2 <= n), b, k, why))
				return false;
		}
	if (!reads_as(e, "last", n > 0, n, 3, why))
		return false;
	*why = e->ops.iter_open(e->handle, NULL, cairn_str(""), cairn_str(""), 0, &it);
	while (!*why && !(*why = e->ops.iter_next(it, &key, &value)) && key.data)
		keys += !cairn_slice_eq(key, cairn_str("large"));
	e->ops.iter_close(it);
	return *why == 0 && keys == (n ? 3 * n + 1 - (n > 2 ? n - 2 : 0) : 0);
}

/* ---- Cases ---- */

enum outcome { WHOLE, PREFIX, REFUSED, READ_SAYS, SILENT };

struct result {
	enum outcome outcome;
	struct cairn_error error; /* of the refusal or the read; or the notice */
	uint64_t position;
};

static enum cairn_code open_in(struct engine *e, const char *folder, struct cairn_error *error)
{
	static const char *const small[] = { "write-buffer=64K" };
	char path[512];

	path_of(path, folder, "");
	path[strlen(path) - 1] = '\0';
	return engine_open(e, plugin, path, small, 1, error);
}

/* Open FOLDER, which had BATCHES batches before it was spoilt, and say what came out. */
static struct result look(const char *folder)
{
	struct result r = { .outcome = SILENT };
	struct cairn_position position = { 0 };
	struct engine e;
	bool notice;
	int why;

	if (open_in(&e, folder, &r.error)) {
		r.outcome = r.error.code == CAIRN_E_CORRUPT ? REFUSED : SILENT;
		return r;
	}
	notice = e.ops.notice(e.handle, &r.error);
	e.ops.position(e.handle, &position);
	r.position = position.index;
	if (holds(&e, (unsigned)position.index, &why))
		r.outcome = position.index == BATCHES        ? WHOLE
			: notice && r.error.code == CAIRN_OK ? PREFIX
							     : SILENT;
	else if (why == -EUCLEAN && e.ops.notice(e.handle, &r.error) && r.error.code == CAIRN_E_CORRUPT)
		r.outcome = READ_SAYS;
	engine_close(&e);
	return r;
}

static void make(const char *folder, bool tables, size_t extra_in_last)
{
	struct cairn_error error;
	struct engine e;
	char path[512];

	path_of(path, folder, "");
	mkdir(path, 0700);
	if (open_in(&e, folder, &error))
		bail("%s", error.message);
	for (unsigned n = 1; n <= BATCHES; n++)
		write_one(&e, n, n == BATCHES ? extra_in_last : 0);
	if (tables && e.ops.compact(e.handle, &error))
		bail("%s", error.message);
	engine_close(&e);
}

static bool names(const struct result *r, const char *file)
{
	bool there = strstr(r->error.message, file) != NULL;

	if (!there)
		printf("# said: %s\n", r->error.message);
	return there;
}

/* Offset of the last batch in a log of small batches: walk the heads. */
static size_t last_record(const char *log, size_t len)
{
	size_t at = 0, last = 0;

	while (at + 7 <= len) {
		if (32768 - at % 32768 < 7) {
			at += 32768 - at % 32768;
			continue;
		}
		if (log[at + 6] == 1 || log[at + 6] == 2)
			last = at;
		at += 7 + (size_t)((unsigned char)log[at + 4] | (unsigned char)log[at + 5] << 8);
	}
	return last;
}

static void torn_log(void)
{
	char path[512], file[300], text[64];
	size_t len, last;
	unsigned bad = 0, tried = 0;
	struct result r;
	char *log;

	snprintf(file, sizeof(file), "%s", name_of("logs", "", ".log"));
	path_of(path, "logs", file);
	log = slurp(path, &len);
	last = last_record(log, len);
	for (size_t cut = last; cut < len; cut++) {
		copy_folder("logs", "case");
		path_of(path, "case", file);
		truncate(path, (off_t)cut);
		r = look("case");
		tried++;
		snprintf(text, sizeof(text), "offset %zu, %zu bytes", last, cut - last);
		if (r.position != BATCHES - 1 || (cut == last ? r.outcome == REFUSED : r.outcome != PREFIX) ||
		    (cut > last && (!names(&r, file) || !names(&r, text)))) {
			printf("# cut at %zu: outcome %d, position %d: %s\n", cut, r.outcome, (int)r.position,
			       r.error.message);
			bad++;
		}
	}
	is_int(bad, 0,
	       "the last batch cut at each of its %u bytes: dropped alone, file, offset and bytes told",
	       tried);

	copy_folder("logs", "case");
	path_of(path, "case", file);
	truncate(path, (off_t)len + (4 << 20));
	r = look("case");
	ok(r.outcome == WHOLE && names(&r, file) && names(&r, "4194304 bytes dropped"),
	   "4 MiB of zeros behind the log are cut and told");

	bad = tried = 0;
	for (size_t at = last / 3; at < last; at += 97, tried++) {
		char *spoilt, *after;
		size_t n;

		copy_folder("logs", "case");
		spoilt = malloc(len);
		memcpy(spoilt, log, len);
		spoilt[at] ^= (char)(1 << (at % 8));
		path_of(path, "case", file);
		spill(path, spoilt, len);
		r = look("case");
		after = slurp(path, &n);
		if (r.outcome != REFUSED || !names(&r, file) || !names(&r, "offset") || n != len ||
		    memcmp(after, spoilt, n)) {
			printf("# bit at %zu: outcome %d: %s\n", at, r.outcome, r.error.message);
			bad++;
		}
		free(after);
		free(spoilt);
	}
	is_int(bad, 0,
	       "one bit flipped at %u places before the last batch: refused, file and offset told, nothing "
	       "touched",
	       tried);
	free(log);
}

static void lost_page(void)
{
	char path[512], file[300], *log;
	size_t len, last;
	struct result r;

	make("large", false, 150000);
	snprintf(file, sizeof(file), "%s", name_of("large", "", ".log"));
	path_of(path, "large", file);
	log = slurp(path, &len);
	last = last_record(log, len);
	memset(log + (last + 65536) / 4096 * 4096, 0, 4096);
	copy_folder("large", "case");
	path_of(path, "case", file);
	spill(path, log, len);
	r = look("case");
	ok(r.outcome == PREFIX && r.position == BATCHES - 1,
	   "a page lost within a large last batch: the batch is cut");
	memset(log + 4096, 0, 4096);
	copy_folder("large", "case");
	spill(path, log, len);
	r = look("case");
	ok(r.outcome == REFUSED && names(&r, file), "a page lost in the middle of the log is refused");
	free(log);
}

static void deleted(void)
{
	static const struct {
		const char *folder, *prefix, *suffix;
	} files[] = { { "logs", "", ".log" },
		      { "tables", "", ".ldb" },
		      { "tables", "MANIFEST", "" },
		      { "tables", "CURRENT", "" } };
	char path[512], file[300];

	for (size_t i = 0; i < 4; i++) {
		struct result r;

		snprintf(file, sizeof(file), "%s",
			 name_of(files[i].folder, files[i].prefix, files[i].suffix));
		copy_folder(files[i].folder, "case");
		path_of(path, "case", file);
		unlink(path);
		r = look("case");
		ok(r.outcome == REFUSED && names(&r, file) && names(&r, "missing"),
		   "%s removed: refused and named", files[i].suffix[0] ? files[i].suffix : files[i].prefix);
	}
}

/* Write the EDIT behind the MANIFEST of the folder "case", whose name is FILE. */
static void add_edit(char file[300], const unsigned char *edit, size_t n)
{
	unsigned char record[7 + 64] = { [4] = (unsigned char)n, [6] = 1 };
	uint32_t crc;
	char path[512];
	int fd;

	memcpy(record + 7, edit, n);
	crc = crc32c(0, record + 6, 1 + n);
	le32_put(record, (crc >> 15 | crc << 17) + 0xa282ead8u);
	snprintf(file, 300, "%s", name_of("case", "MANIFEST", ""));
	path_of(path, "case", file);
	fd = open(path, O_WRONLY | O_APPEND);
	if (fd < 0 || write(fd, record, 7 + n) != (ssize_t)(7 + n))
		bail("cannot write %s", path);
	close(fd);
}

/* Table 99, or log 99, neither of which is there. */
static const unsigned char lost_table[] = { 7, 0, 99, 100, 9, 'a', 1, 0, 0, 0, 0, 0,
					    0, 0, 9,  'z', 1, 0,   0, 0, 0, 0, 0, 0 };
static const unsigned char lost_log[] = { 2, 99 };

/* What power loss leaves where the disk had the last edit, and not the name of the table or log in it. */
static void lost_name(void)
{
	char path[512], file[300], log[300];
	struct result r;

	copy_folder("logs", "case");
	add_edit(file, lost_table, sizeof(lost_table));
	r = look("case");
	ok(r.outcome == WHOLE && names(&r, file) && names(&r, "31 bytes dropped"),
	   "a last edit whose table has no name is cut and told, since all from before is there");
	copy_folder("logs", "case");
	add_edit(file, lost_table, sizeof(lost_table));
	snprintf(log, sizeof(log), "%s", name_of("case", "", ".log"));
	path_of(path, "case", log);
	unlink(path);
	r = look("case");
	ok(r.outcome == REFUSED && names(&r, "000099.ldb is missing"), "where a log is gone, too, it is not");
	copy_folder("logs", "case");
	add_edit(file, lost_log, sizeof(lost_log));
	r = look("case");
	ok(r.outcome == WHOLE && names(&r, file) && names(&r, "9 bytes dropped"),
	   "so is one whose log has no name");
	copy_folder("logs", "case");
	add_edit(file, lost_log, sizeof(lost_log));
	path_of(path, "case", log);
	unlink(path);
	r = look("case");
	ok(r.outcome == REFUSED && names(&r, "000099.log is missing"),
	   "but not where the log before it is gone");
}

/* Cut FILE of the folder "tables" at every STEP-th byte and flip bits; count what is silent. */
static void spoil(const char *file, size_t step, bool must_refuse_cuts)
{
	unsigned silent = 0, tried = 0, unnamed = 0;
	char path[512], *data;
	size_t len;

	path_of(path, "tables", file);
	data = slurp(path, &len);
	for (int flip = 0; flip < 2; flip++)
		for (size_t at = 0; at < len; at += len - at <= 64 ? 1 : step) {
			struct result r;

			copy_folder("tables", "case");
			path_of(path, "case", file);
			if (flip) {
				data[at] ^= (char)(1 << at % 8);
				spill(path, data, len);
				data[at] ^= (char)(1 << at % 8);
			} else {
				spill(path, data, at);
			}
			r = look("case");
			tried++;
			if (r.outcome == SILENT || r.outcome == PREFIX ||
			    (!flip && must_refuse_cuts && r.outcome != REFUSED)) {
				printf("# %s at %zu of %zu: outcome %d: %s\n", flip ? "flip" : "cut", at, len,
				       r.outcome, r.error.message);
				silent++;
			}
			if ((r.outcome == REFUSED || r.outcome == READ_SAYS) &&
			    !names(&r, strncmp(file, "MANIFEST", 8) ? file : "case/"))
				unnamed++;
		}
	is_int(silent, 0, "%s cut or flipped at %u places: refused, told by a read, or harmless", file,
	       tried);
	is_int(unnamed, 0, "and the sentence names the file");
	free(data);
}

static void foreign(void)
{
	struct cairn_error error = { 0 };
	struct engine a, b;

	ok(open_in(&a, "tables", &error) == CAIRN_OK, "the folder opens");
	ok(open_in(&b, "tables", &error) != CAIRN_OK, "and not a second time: %s", error.message);
	engine_close(&a);
	ok(look("tables").outcome == WHOLE, "nothing is lost by trying");
}

/* Parameters out of their range are refused by name; a disk that is too full takes no batch, and loses none.
 */
static void parameters(void)
{
	static const char *const wrong[] = { "block-size=1" }, *const full[] = { "min-free=1024T" };
	struct cairn_batch b = { .position = { 99, 1 } };
	struct cairn_position position;
	struct cairn_error error = { 0 };
	struct engine e;
	char path[512];
	int why;

	path_of(path, "tables", "");
	ok(engine_open(&e, plugin, path, wrong, 1, &error) == CAIRN_E_INVALID &&
		   strstr(error.message, "block-size"),
	   "a parameter out of its range is refused: %s", error.message);
	if (engine_open(&e, plugin, path, full, 1, &error))
		bail("%s", error.message);
	is_int(e.ops.write(e.handle, &b, true, &error), -ENOSPC, "a disk that is too full takes no batch");
	is_int(error.code, CAIRN_E_FULL, "and says so: %s", error.message);
	e.ops.position(e.handle, &position);
	is_int(position.index, BATCHES, "the position stays");
	ok(holds(&e, BATCHES, &why), "and so does what was there");
	engine_close(&e);
}

int main(void)
{
	const struct plugin *p;
	struct cairn_error error;
	char file[512];

	loader = loader_new(NULL);
	if (!loader || loader_get(loader, PLUGIN_ENGINE, "leveldb", &p, &error))
		return tap_skip_all("engine-leveldb is not built");
	plugin = p->engine;
	snprintf(root, sizeof(root), "/tmp/cairn-leveldb-XXXXXX");
	if (!mkdtemp(root))
		bail("mkdtemp");
	make("logs", false, 0);
	make("tables", true, 0);
	ok(look("logs").outcome == WHOLE && look("logs").outcome == WHOLE,
	   "a sound folder opens whole, twice");
	path_of(file, "logs", "");
	folder_remove(AT_FDCWD, file);
	make("logs", false, 0);
	torn_log();
	lost_page();
	lost_name();
	deleted();
	snprintf(file, sizeof(file), "%s", name_of("tables", "", ".ldb"));
	spoil(file, 53, true);
	snprintf(file, sizeof(file), "%s", name_of("tables", "MANIFEST", ""));
	spoil(file, 3, false);
	spoil("CURRENT", 1, true);
	foreign();
	parameters();
	folder_remove(AT_FDCWD, root);
	loader_free(loader);
	return tap_done();
}
