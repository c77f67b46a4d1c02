/*
 * Salvage: a new store from the rows of a damaged one. Rows go over one by one as those of a stream do
 * (load.c); one that is not valid is told and left out. What follows from others (counts, folders, sums) is
 * made anew, so that what comes out passes every check. Nothing is written to the old engine.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "load.h"
#include "banned.h"

/* A folder that the walk over the keys is in. */
struct open_folder {
	size_t len; /* of its prefix */
	struct folder f;
};

struct salvage {
	struct store_load *l;
	struct engine *from;
	bool checksums; /* rows of FROM end with one */
	struct meta meta;
	bool has_meta;
	const struct store_log *log;
	store_lost_fn *lost;
	void *arg;
	struct store_salvaged *result;
	struct open_folder *open; /* the way down to the present key */
	size_t depth;
	unsigned char prefix[STORE_KEY_MAX]; /* of the innermost */
};

static void tell(struct salvage *s, const char *what, struct cairn_slice key, const char *why)
{
	s->result->lost++;
	s->lost(s->arg, what, key, why);
}

static struct cairn_slice rest_of(struct cairn_slice key)
{
	return cairn_slice((const char *)key.data + 1, key.len - 1);
}

/* Tell of the row KEY, which cannot be kept. */
static void tell_row(struct salvage *s, struct cairn_slice key, struct cairn_slice body, const char *why)
{
	struct change c;

	switch (*(const char *)key.data) {
	case ROW_LATEST:
		tell(s, "key", rest_of(key), why);
		break;
	case ROW_CHANGE:
		if (change_decode(body, &c) == 0)
			tell(s, "history of key", c.key, why);
		else
			tell(s, "history of some key", cairn_slice(NULL, 0), why);
		break;
	case ROW_GONE:
		tell(s, "history of key", rest_of(key), why);
		break;
	case ROW_REQUEST:
		tell(s, "results of a client's requests", cairn_slice(NULL, 0), why);
		break;
	case ROW_CHUNK: /* told with the keys that hold it */
	case ROW_FOLDER:
		break;
	default:
		tell(s, "row", key, why);
		break;
	}
}

/* --- folders --- */

/* The row that the old store has of the folder with the row key KEY. */
static bool old_folder(struct salvage *s, struct cairn_slice key, struct folder *f)
{
	const struct cairn_engine *ops = &s->from->ops;
	struct cairn_guard guard = { 0 };
	struct cairn_slice body;
	bool known;

	ops->read_begin(s->from->handle, &guard);
	known = ops->get(s->from->handle, &guard, NULL, key, 0, &body) == 0 &&
		(!s->checksums || row_verify(key, body, &body) == 0) && folder_decode(body, f) == 0;
	ops->read_end(s->from->handle, &guard);
	return known;
}

static enum cairn_code close_folder(struct salvage *s)
{
	unsigned char buffer[STORE_KEY_MAX + 1], body[FOLDER_BYTES];
	struct open_folder *o = &s->open[--s->depth];
	struct cairn_slice prefix = cairn_slice(s->prefix, o->len), key = row_key(buffer, ROW_FOLDER, prefix);
	uint64_t names = o->f.children + o->f.subfolders;
	struct folder was;
	char why[100];
	bool known = old_folder(s, key, &was);

	o->f.list_revision = s->meta.revision;
	o->f.list_time_ns = s->meta.clock_ns;
	if (known && was.children + was.subfolders == names) {
		o->f.list_revision = was.list_revision;
		o->f.list_time_ns = was.list_time_ns;
	} else if (known && was.children + was.subfolders > names) {
		snprintf(why, sizeof(why), "it had %llu names, and %llu are left",
			 (unsigned long long)(was.children + was.subfolders), (unsigned long long)names);
		tell(s, "folder", prefix, why);
	}
	folder_encode(&o->f, body);
	return load_put(s->l, key, cairn_slice(body, sizeof(body)));
}

/* Count KEY, which was kept, in the folders above it. */
static enum cairn_code count_in_folders(struct salvage *s, struct cairn_slice key)
{
	const unsigned char *p = key.data;
	enum cairn_code code = CAIRN_OK;

	while (!code && s->depth &&
	       !cairn_slice_starts(key, cairn_slice(s->prefix, s->open[s->depth - 1].len)))
		code = close_folder(s);
	if (!s->depth)
		s->open[s->depth++] = (struct open_folder){ 0 };
	for (size_t i = s->open[s->depth - 1].len; i < key.len; i++)
		if (p[i] == '/') {
			s->open[s->depth - 1].f.subfolders++;
			s->open[s->depth++] = (struct open_folder){ .len = i + 1 };
		}
	memcpy(s->prefix, key.data, s->open[s->depth - 1].len);
	if (s->open[s->depth - 1].len == key.len)
		s->open[s->depth - 1].f.marker = true;
	else
		s->open[s->depth - 1].f.children++;
	return code;
}

/* --- rows --- */

static enum cairn_code take(struct salvage *s, struct cairn_slice key, struct cairn_slice body)
{
	unsigned char tag = *(const unsigned char *)key.data;
	enum cairn_code code;

	if (tag == ROW_META || tag == ROW_COUNT || tag == ROW_FOLDER || tag == ROW_EXPIRY ||
	    tag == ROW_UPLOAD)
		return CAIRN_OK;
	if (s->checksums && row_verify(key, body, &body) < 0) {
		tell_row(s, key, cairn_slice(NULL, 0), "its checksum does not fit");
		return CAIRN_OK;
	}
	code = load_row(s->l, key, body);
	if (code == CAIRN_E_CORRUPT) {
		tell_row(s, key, body, s->l->why);
		return CAIRN_OK;
	}
	if (!code && tag == ROW_LATEST && s->meta.flags & META_FOLDERS)
		code = count_in_folders(s, rest_of(key));
	return code;
}

static enum cairn_code take_all(struct salvage *s)
{
	const struct cairn_engine *ops = &s->from->ops;
	enum cairn_code code = CAIRN_OK;
	void *it;
	int e = ops->iter_open(s->from->handle, NULL, cairn_slice("\1", 1), cairn_slice(NULL, 0), 0, &it);

	if (e == 0) {
		while (!code) {
			struct cairn_slice key = { 0 }, body;

			e = ops->iter_next(it, &key, &body);
			if (e < 0 || !key.data)
				break;
			code = take(s, key, body);
		}
		ops->iter_close(it);
	}
	if (e < 0)
		return cairn_fail(s->l->error, cairn_error_from_errno(-e),
				  "the engine %s cannot be read to its end: %s", ops->name, strerror(-e));
	while (!code && s->depth)
		code = close_folder(s);
	return code;
}

/* What the old meta row says, or where that is lost, what a new store would. */
static enum cairn_code read_old_meta(struct salvage *s, const struct store_settings *otherwise,
				     struct cairn_error *error)
{
	const struct cairn_engine *ops = &s->from->ops;
	struct cairn_guard guard = { 0 };
	struct cairn_slice body;
	uint32_t format = 0;
	int e;

	s->checksums = ops->caps & CAIRN_ENGINE_DURABLE && !(ops->caps & CAIRN_ENGINE_CHECKSUMMED);
	ops->read_begin(s->from->handle, &guard);
	e = ops->get(s->from->handle, &guard, NULL, cairn_str(META_KEY), 0, &body);
	if (e == 0)
		e = meta_decode(body, &s->meta, &format);
	ops->read_end(s->from->handle, &guard);
	if (e == -EPROTONOSUPPORT)
		return cairn_fail(error, CAIRN_E_UNSUPPORTED,
				  "the store has format %u, and this release knows format %d", format,
				  META_FORMAT);
	s->has_meta = e == 0;
	if (s->has_meta) {
		s->checksums = s->meta.flags & META_CHECKSUMS;
		s->result->before = s->meta.keys;
		return CAIRN_OK;
	}
	s->meta =
		(struct meta){ .flags = otherwise->folders ? META_FOLDERS : 0u,
			       .key_max = otherwise->key_max,
			       .value_limit = otherwise->value_limit,
			       .inline_max = STORE_INLINE_MAX,
			       .chunk_max = STORE_CHUNK,
			       .bulk_keys = STORE_BULK_KEYS,
			       .bulk_bytes = STORE_BULK_BYTES,
			       .history_age_ns = otherwise->history_age_ns,
			       .history_bytes = otherwise->history_bytes,
			       .quota = otherwise->quota,
			       .history = otherwise->history == STORE_HISTORY_AUTO ? 8 : otherwise->history };
	tell(s, "row of the store about itself", cairn_slice(NULL, 0), "settings are those of a new volume");
	return CAIRN_OK;
}

/* Where the new store stands, so that it can go on with the log. */
static void place(struct salvage *s)
{
	const struct store_log *log = s->log;
	struct cairn_position *at = &s->meta.position;
	char what[100];

	if (!log->last.index || (s->has_meta && at->index >= log->before.index))
		return;
	if (s->has_meta) {
		snprintf(what, sizeof(what), "commands %llu to %llu", (unsigned long long)at->index + 1,
			 (unsigned long long)log->before.index);
		tell(s, what, cairn_slice(NULL, 0), "neither the store nor the journal has them");
		*at = log->before;
		return;
	}
	snprintf(what, sizeof(what), "commands %llu to %llu", (unsigned long long)log->before.index + 1,
		 (unsigned long long)log->last.index);
	tell(s, what, cairn_slice(NULL, 0), "those of them that the rows do not show");
	*at = log->last;
}

/* The meta row, by what was kept. */
static enum cairn_code finish(struct salvage *s)
{
	struct store_load *l = s->l;
	struct meta *m = &s->meta;

	m->keys = l->keys;
	m->bytes = l->values;
	m->staged = 0;
	m->clients = l->clients;
	m->request_bytes = l->request_bytes;
	m->rows = l->sum;
	m->next_chunk = l->chunk >= m->next_chunk ? l->chunk + 1 : m->next_chunk;
	m->next_file_id = l->file_id >= m->next_file_id ? l->file_id + 1 : m->next_file_id;
	m->next_chunk += !m->next_chunk;
	m->next_file_id += !m->next_file_id;
	m->revision = l->newest > m->revision ? l->newest : m->revision;
	place(s);
	m->position.index += !m->position.index;
	return load_end(l, m);
}

enum cairn_code store_salvage(struct engine *from, struct engine *to, const struct store_settings *otherwise,
			      const struct store_log *log, store_lost_fn *lost, void *arg,
			      struct store_salvaged *result, struct cairn_error *error)
{
	struct salvage *s = calloc(1, sizeof(*s));
	enum cairn_code code;

	*result = (struct store_salvaged){ 0 };
	if (s)
		s->open = calloc(STORE_KEY_MAX + 2, sizeof(*s->open));
	if (!s || !s->open) {
		free(s);
		return cairn_fail(error, CAIRN_E_INTERNAL, "no memory left to repair a store");
	}
	s->from = from;
	s->log = log;
	s->lost = lost;
	s->arg = arg;
	s->result = result;
	code = read_old_meta(s, otherwise, error);
	if (!code)
		code = store_load_open(&s->l, to, error);
	if (!code) {
		s->l->meta = s->meta;
		s->l->error = error;
		code = take_all(s);
	}
	if (!code)
		code = finish(s);
	if (!code)
		result->keys = s->l->keys;
	store_load_close(s->l);
	free(s->open);
	free(s);
	return code;
}
