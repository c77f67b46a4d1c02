/*
 * Guards: conditions on keys and prefixes. A guard that does not hold is no error of its own: it leaves the
 * sentence that says why, and the current revision of the key, for whoever makes a CONFLICT of it.
 *
 * The fence of a lock is another thing: who does not hold its lock any more may not do anything, so a fence
 * that does not hold is the error CONFLICT, also in a transaction that has an 'else' list.
 */
#include <errno.h>
#include <stdio.h>
#include "content.h"
#include "banned.h"

#define KEY_CONDITIONS \
	(FIELD(REVISION) | FIELD(EXISTS) | FIELD(VALUE) | FIELD(FILE_ID) | FIELD(VERSION) | \
	 FIELD(DATA_VERSION) | FIELD(EXPIRY) | FIELD(NO_ANCESTOR))

/* The guard does not hold. */
static bool fails(struct work *w, uint64_t revision, struct cairn_slice key, const char *why)
{
	char text[KEY_TEXT];

	cairn_fail(w->error, CAIRN_E_CONFLICT, "a condition failed: '%s' %s (revision %llu)",
		   key_text(key, text), why, (unsigned long long)revision);
	w->error->revision = revision;
	return false;
}

static enum cairn_code has_value(struct work *w, const struct record *r, struct cairn_slice value, bool *same)
{
	unsigned char *bytes;
	enum cairn_code code;

	*same = r->head.length == value.len;
	if (!*same || !value.len)
		return CAIRN_OK;
	if (!r->chunks.len) {
		*same = cairn_slice_eq(r->content, value);
		return CAIRN_OK;
	}
	bytes = view_alloc(w->s, value.len);
	if (!bytes)
		return work_stopped(w);
	code = content_read(w, r, 0, value.len, bytes);
	*same = memcmp(bytes, value.data, value.len) == 0;
	return code;
}

/* Whether no folder above KEY is itself a key. */
static enum cairn_code no_ancestor(struct work *w, struct cairn_slice key, bool *holds)
{
	for (size_t i = 1; i < key.len && *holds; i++) {
		struct live l;
		enum cairn_code code;

		if (((const char *)key.data)[i] != '/')
			continue;
		if (work_charge(w, 0, i))
			return CAIRN_E_TOO_LARGE;
		code = live_load(w, cairn_slice(key.data, i), &l);
		if (code)
			return code;
		if (l.found)
			*holds = fails(w, l.r.head.revision, cairn_slice(key.data, i),
				       "is a key, not a folder");
	}
	return CAIRN_OK;
}

static enum cairn_code key_guard(struct work *w, const struct args *g, bool *holds)
{
	struct cairn_slice key = g->body[CAIRN_F_KEY];
	uint64_t revision;
	struct live l;
	bool same;
	enum cairn_code code = live_load(w, key, &l);

	if (code)
		return code;
	revision = l.found ? l.r.head.revision : 0;
	if (args_has(g, CAIRN_F_EXISTS) && args_bool(g, CAIRN_F_EXISTS) != l.found)
		*holds = fails(w, revision, key, l.found ? "exists" : "does not exist");
	else if (args_has(g, CAIRN_F_REVISION) && args_u64(g, CAIRN_F_REVISION, 0) != revision)
		*holds = fails(w, revision, key, l.found ? "has another revision" : "does not exist");
	else if (args_has(g, CAIRN_F_FILE_ID) &&
		 args_u64(g, CAIRN_F_FILE_ID, 0) != (l.found ? l.r.file_id : 0))
		*holds = fails(w, revision, key, "has another file id");
	else if (args_has(g, CAIRN_F_VERSION) &&
		 args_u64(g, CAIRN_F_VERSION, 0) != (l.found ? l.r.head.version : 0))
		*holds = fails(w, revision, key, "has another version");
	else if (args_has(g, CAIRN_F_DATA_VERSION) &&
		 args_u64(g, CAIRN_F_DATA_VERSION, 0) != (l.found ? l.r.data_version : 0))
		*holds = fails(w, revision, key, "has another data version");
	else if (args_has(g, CAIRN_F_EXPIRY) &&
		 args_u64(g, CAIRN_F_EXPIRY, 0) != (l.found ? l.r.expiry_ns : 0))
		*holds = fails(w, revision, key, "goes at another time");
	if (*holds && args_has(g, CAIRN_F_VALUE)) {
		same = false;
		if (l.found)
			code = has_value(w, &l.r, g->body[CAIRN_F_VALUE], &same);
		if (!code && !same)
			*holds = fails(w, revision, key, "has another value");
	}
	if (!code && *holds && args_bool(g, CAIRN_F_NO_ANCESTOR))
		code = no_ancestor(w, key, holds);
	return code;
}

/* G has a lock and the revision that made it. Where another holds it now, or nobody, the operation A is
 * refused. */
static enum cairn_code fence_guard(struct work *w, const struct args *g, const struct args *a)
{
	struct cairn_slice lock = g->body[CAIRN_F_KEY], key = args_bytes(a, CAIRN_F_KEY);
	uint64_t fence = args_u64(g, CAIRN_F_FENCE, 0), now;
	char text[KEY_TEXT], current[48] = "and nobody holds it now";
	struct live l;
	enum cairn_code code = live_load(w, lock, &l);

	if (code)
		return code;
	now = l.found ? l.r.create_revision : 0;
	if (now == fence && now)
		return CAIRN_OK;
	if (now)
		snprintf(current, sizeof(current), "now %llu", (unsigned long long)now);
	cairn_fail(w->error, CAIRN_E_CONFLICT, "%s was lost (our fence %llu, %s)", key_text(lock, text),
		   (unsigned long long)fence, current);
	w->error->revision = now;
	if (!key.len)
		key = args_bytes(a, CAIRN_F_PREFIX);
	if (!key.len)
		cairn_error_prefix(w->error, "nothing was written");
	else if (!cairn_slice_eq(key, lock))
		cairn_error_prefix(w->error, "%s not written", key_text(key, text));
	return CAIRN_E_CONFLICT;
}

/* What makes a prefix count as not empty. */
struct content {
	struct work *w;
	struct cairn_slice marker;
};

static int any_but_marker(void *arg, struct cairn_slice key, struct cairn_slice body)
{
	const struct content *c = arg;
	int due;

	if (cairn_slice_eq(key, c->marker))
		return 0;
	due = expiry_is_due(c->w, body);
	return due < 0 ? view_damaged(c->w->s, key) : !due;
}

static enum cairn_code prefix_guard(struct work *w, const struct args *g, bool *holds)
{
	struct cairn_slice prefix = g->body[CAIRN_F_PREFIX];
	bool is_folder = !prefix.len || ((const char *)prefix.data)[prefix.len - 1] == '/', empty = false;
	enum cairn_code code = CAIRN_OK;

	if (prefix.len > w->s->meta.key_max)
		return work_key(w, prefix);
	/* A folder's row counts what is due and not gone yet, too. */
	if (is_folder && w->s->meta.flags & META_FOLDERS && w->time_ns < w->s->due_ns) {
		code = folders_empty(w, prefix, &empty);
	} else {
		unsigned char *end = view_alloc(w->s, prefix.len + 1);
		struct row row;
		int e;

		if (!end || view_row(w->s, ROW_LATEST, prefix, &row) < 0)
			return work_stopped(w);
		e = view_each(w->s, row.key, row_prefix_end(end, row.key), any_but_marker,
			      &(struct content){ w, row.key });
		if (e < 0)
			return work_stopped(w);
		empty = e == 0;
	}
	if (!code && empty != args_bool(g, CAIRN_F_EMPTY))
		*holds = fails(w, 0, prefix, empty ? "is empty" : "is not empty");
	return code;
}

enum cairn_code guard_parse(struct cairn_slice item, struct args *g, struct cairn_error *error)
{
	if (args_parse(item, g) < 0)
		return cairn_fail(error, CAIRN_E_INVALID, "a condition is malformed");
	if (g->has[0] & FIELD(KEY) && g->has[0] & KEY_CONDITIONS &&
	    !(g->has[0] & ~(FIELD(KEY) | KEY_CONDITIONS)) && !g->has[1])
		return CAIRN_OK;
	if ((g->has[0] == (FIELD(PREFIX) | FIELD(EMPTY)) || g->has[0] == (FIELD(KEY) | FIELD(FENCE))) &&
	    !g->has[1])
		return CAIRN_OK;
	return cairn_fail(error, CAIRN_E_INVALID,
			  "a condition has a key and what must hold of it, or its fence alone, or a prefix "
			  "and whether it is empty");
}

static enum cairn_code check(struct work *w, struct cairn_slice item, const struct args *a, bool *hold)
{
	struct args g;
	enum cairn_code code = guard_parse(item, &g, w->error);

	if (!code)
		code = work_charge(w, 1, item.len);
	if (code)
		return code;
	if (args_has(&g, CAIRN_F_FENCE))
		return fence_guard(w, &g, a);
	if (!*hold)
		return CAIRN_OK;
	return args_has(&g, CAIRN_F_KEY) ? key_guard(w, &g, hold) : prefix_guard(w, &g, hold);
}

enum cairn_code guards_hold(struct work *w, const struct args *a, bool *hold)
{
	struct cairn_slice rest = a->fields, item;
	enum cairn_code code = CAIRN_OK;
	unsigned field;

	*hold = true;
	while (!code && cairn_field_next(&rest, &field, &item) == 0 && field)
		if (field == CAIRN_F_GUARD)
			code = check(w, item, a, hold);
	return code;
}
