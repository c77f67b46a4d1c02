/*
 * The store's model for tests: what the operations mean, written as plainly as can be over a sorted array. It
 * reads the same messages as the store. Values are counted and never changed, so that a copy of the whole
 * state is cheap.
 */
#ifndef MODEL_H
#define MODEL_H

#include <cairn/message.h>
#include <cairn/operations.h>
#include <cairn/errors.h>
#include "tap.h"

#define MODEL_KEY 128
#define MODEL_KEY_MAX 20             /* of the volume under test */
#define MODEL_VALUE_LIMIT (1u << 20) /* of the volume under test */
#define MODEL_UPLOADS 8
#define MODEL_PIECES 16

struct bytes {
	int refs;
	size_t len;
	unsigned char data[];
};

struct item {
	char key[MODEL_KEY];
	size_t key_len;
	struct bytes *value;
	uint64_t file_id, version, data_version, revision, created;
	uint64_t since, time_ns; /* revision that its history begins with; commit time */
	unsigned kind;
	bool has_mode, has_mtime, open;
	uint64_t mode, mtime;
	uint64_t expiry_ns; /* 0: none */
};

/* A version that was replaced, or a tombstone that was. Only ever added; a copy of the model shares them. */
struct past {
	struct item item;
	bool gone;
	uint64_t next_revision, next_time_ns;
};

/* A key was purged when there were so many past versions. */
struct purged {
	char key[MODEL_KEY];
	size_t key_len, past_count;
};

struct model_upload {
	unsigned char id[16];
	uint64_t time_ns; /* of its last stage */
	struct bytes *pieces[MODEL_PIECES];
};

struct model {
	struct item *items;
	size_t count, cap;
	struct item *graves; /* tombstones; their values are NULL */
	size_t grave_count, grave_cap;
	struct past *past;
	size_t past_count, past_cap;
	struct purged *purged; /* shared by copies as past is */
	size_t purged_count, purged_cap;
	uint64_t *times; /* commit time of each revision; shared, too */
	size_t time_cap;
	uint64_t revision, next_file_id, time_ns;
	uint64_t history, history_age_ns, floor;   /* settings */
	uint64_t from_ns, before, before_revision; /* what stays invisible when they grow */
	uint64_t quota;
	bool changed; /* by the command under way */
	struct model_upload uploads[MODEL_UPLOADS];
};

static struct bytes *bytes_new(const void *data, size_t len)
{
	struct bytes *b = malloc(sizeof(*b) + len + 1);

	b->refs = 1;
	b->len = len;
	if (data && len)
		memcpy(b->data, data, len);
	else
		memset(b->data, 0, len);
	return b;
}

static struct bytes *bytes_hold(struct bytes *b)
{
	if (b)
		b->refs++;
	return b;
}

static void bytes_drop(struct bytes *b)
{
	if (b && --b->refs == 0)
		free(b);
}

static struct model model_copy(const struct model *m)
{
	struct model c = *m;

	c.graves = malloc((m->grave_count + 1) * sizeof(*c.graves));
	c.grave_cap = m->grave_count + 1;
	if (m->grave_count)
		memcpy(c.graves, m->graves, m->grave_count * sizeof(*c.graves));
	c.items = malloc((m->count + 1) * sizeof(*c.items));
	c.cap = m->count + 1;
	if (m->count)
		memcpy(c.items, m->items, m->count * sizeof(*c.items));
	for (size_t i = 0; i < c.count; i++)
		bytes_hold(c.items[i].value);
	for (int u = 0; u < MODEL_UPLOADS; u++)
		for (int p = 0; p < MODEL_PIECES; p++)
			bytes_hold(c.uploads[u].pieces[p]);
	return c;
}

static void model_free(struct model *m)
{
	for (size_t i = 0; i < m->count; i++)
		bytes_drop(m->items[i].value);
	for (int u = 0; u < MODEL_UPLOADS; u++)
		for (int p = 0; p < MODEL_PIECES; p++)
			bytes_drop(m->uploads[u].pieces[p]);
	free(m->items);
	free(m->graves);
}

/* Go back from M to the copy WAS. */
static void model_restore(struct model *m, struct model *was)
{
	while (m->past_count > was->past_count)
		bytes_drop(m->past[--m->past_count].item.value);
	was->past = m->past;
	was->past_cap = m->past_cap;
	was->purged = m->purged;
	was->purged_cap = m->purged_cap;
	model_free(m);
	*m = *was;
}

static void model_end(struct model *m)
{
	while (m->past_count)
		bytes_drop(m->past[--m->past_count].item.value);
	free(m->past);
	free(m->purged);
	free(m->times);
	model_free(m);
}

static void model_keep(struct model *m, const struct item *i, bool gone)
{
	if (!m->history)
		return;
	if (m->past_count == m->past_cap) {
		m->past_cap = m->past_cap ? m->past_cap * 2 : 64;
		m->past = realloc(m->past, m->past_cap * sizeof(*m->past));
	}
	m->past[m->past_count++] = (struct past){ *i, gone, m->revision + 1, m->time_ns };
	bytes_hold(i->value);
}

/* What was replaced at this time or before is not kept for its age. */
static uint64_t model_bound(const struct model *m)
{
	uint64_t bound = m->time_ns > m->history_age_ns ? m->time_ns - m->history_age_ns : 0;

	return bound > m->from_ns ? bound : m->from_ns;
}

static bool grave_shows(const struct model *m, const struct item *grave)
{
	return m->history && grave->revision > m->floor && grave->time_ns > model_bound(m);
}

static struct item *grave_find(struct model *m, const struct item *of)
{
	for (size_t i = 0; i < m->grave_count; i++)
		if (m->graves[i].key_len == of->key_len && !memcmp(m->graves[i].key, of->key, of->key_len))
			return &m->graves[i];
	return NULL;
}

/* I is removed. */
static void grave_dig(struct model *m, const struct item *i)
{
	model_keep(m, i, false);
	if (!m->history)
		return;
	if (m->grave_count == m->grave_cap) {
		m->grave_cap = m->grave_cap ? m->grave_cap * 2 : 16;
		m->graves = realloc(m->graves, m->grave_cap * sizeof(*m->graves));
	}
	m->graves[m->grave_count] = *i;
	m->graves[m->grave_count].value = NULL;
	m->graves[m->grave_count].expiry_ns = 0;
	m->graves[m->grave_count].version++;
	m->graves[m->grave_count].revision = m->revision + 1;
	m->graves[m->grave_count++].time_ns = m->time_ns;
}

/* I is made: its tombstone, if there is one, ends. */
static void grave_rise(struct model *m, struct item *i)
{
	struct item *grave = grave_find(m, i);

	if (!grave)
		return;
	if (grave_shows(m, grave)) {
		i->version = grave->version;
		i->data_version = grave->data_version;
		i->since = grave->since;
	}
	model_keep(m, grave, true);
	*grave = m->graves[--m->grave_count];
}

static struct cairn_slice item_key(const struct item *i)
{
	return cairn_slice(i->key, i->key_len);
}

static struct item *model_find(struct model *m, struct cairn_slice key)
{
	for (size_t i = 0; i < m->count; i++)
		if (cairn_slice_eq(item_key(&m->items[i]), key))
			return &m->items[i];
	return NULL;
}

static int items_by_key(const void *a, const void *b)
{
	return cairn_slice_cmp(item_key(a), item_key(b));
}

static void model_remove(struct model *m, struct item *i)
{
	size_t at = (size_t)(i - m->items);

	grave_dig(m, i);
	bytes_drop(i->value);
	memmove(i, i + 1, (m->count - at - 1) * sizeof(*i));
	m->count--;
	m->changed = true;
}

/* The item of KEY, as the next version: made where it is absent. Its value is dropped. */
static struct item *model_next(struct model *m, struct cairn_slice key)
{
	struct item *i = model_find(m, key);

	m->changed = true;
	if (!i) {
		size_t at = 0;

		if (m->count == m->cap) {
			m->cap = m->cap ? m->cap * 2 : 16;
			m->items = realloc(m->items, m->cap * sizeof(*m->items));
		}
		while (at < m->count && cairn_slice_cmp(item_key(&m->items[at]), key) < 0)
			at++;
		memmove(&m->items[at + 1], &m->items[at], (m->count - at) * sizeof(*i));
		m->count++;
		i = &m->items[at];
		*i = (struct item){ .key_len = key.len,
				    .created = m->revision + 1,
				    .since = m->revision + 1 };
		memcpy(i->key, key.data, key.len);
		grave_rise(m, i);
	} else {
		model_keep(m, i, false);
		bytes_drop(i->value);
		i->value = NULL;
	}
	i->version++;
	i->data_version++;
	i->revision = m->revision + 1;
	i->time_ns = m->time_ns;
	return i;
}

static void take_attributes(struct item *i, struct cairn_slice fields)
{
	struct cairn_slice a, b;

	if (!cairn_field_find(fields, CAIRN_F_ATTRIBUTES, &a))
		return;
	if (cairn_field_find(a, CAIRN_F_MODE, &b)) {
		i->has_mode = true;
		i->mode = cairn_body_u64(b);
	}
	if (cairn_field_find(a, CAIRN_F_MTIME, &b)) {
		i->has_mtime = true;
		i->mtime = cairn_body_u64(b);
	}
}

static struct model_upload *upload_find(struct model *m, struct cairn_slice id)
{
	for (int u = 0; u < MODEL_UPLOADS; u++)
		if (memcmp(m->uploads[u].id, id.data, 16) == 0)
			for (int p = 0; p < MODEL_PIECES; p++)
				if (m->uploads[u].pieces[p])
					return &m->uploads[u];
	return NULL;
}

/* The bytes that a command brings; an upload is used up. */
static enum cairn_code model_given(struct model *m, struct cairn_slice fields, bool sized, struct bytes **out)
{
	struct cairn_slice value = { 0 }, id, size;
	struct model_upload *u;
	size_t len = 0;
	int n = 0;

	*out = NULL;
	if (!cairn_field_find(fields, CAIRN_F_UPLOAD, &id)) {
		cairn_field_find(fields, CAIRN_F_VALUE, &value);
		*out = bytes_new(value.data, value.len);
		return CAIRN_OK;
	}
	u = upload_find(m, id);
	if (!u)
		return CAIRN_E_NOT_FOUND;
	while (n < MODEL_PIECES && u->pieces[n])
		len += u->pieces[n++]->len;
	for (int p = n; p < MODEL_PIECES; p++)
		if (u->pieces[p])
			return CAIRN_E_INVALID;
	for (int p = 0; p + 1 < n; p++)
		if (u->pieces[p]->len != 131072)
			return CAIRN_E_INVALID;
	if (sized && cairn_field_find(fields, CAIRN_F_SIZE, &size) && cairn_body_u64(size) != len)
		return CAIRN_E_INVALID;
	*out = bytes_new(NULL, len);
	len = 0;
	for (int p = 0; p < n; p++) {
		memcpy((*out)->data + len, u->pieces[p]->data, u->pieces[p]->len);
		len += u->pieces[p]->len;
		bytes_drop(u->pieces[p]);
	}
	*u = (struct model_upload){ 0 };
	return CAIRN_OK;
}

static struct cairn_slice field_of(struct cairn_slice fields, unsigned field)
{
	struct cairn_slice s = { 0 };

	cairn_field_find(fields, field, &s);
	return s;
}

/* The expiry that FIELDS give to a key that had OLD_NS. INVALID. */
static enum cairn_code model_expiry(const struct model *m, struct cairn_slice fields, uint64_t old_ns,
				    uint64_t *ns)
{
	struct cairn_slice ttl, at;
	bool has_ttl = cairn_field_find(fields, CAIRN_F_TTL_MS, &ttl),
	     has_at = cairn_field_find(fields, CAIRN_F_EXPIRY, &at),
	     keep = cairn_field_bool(fields, CAIRN_F_KEEP_EXPIRY, false);

	*ns = has_ttl    ? m->time_ns + cairn_body_u64(ttl) * 1000000
		: has_at ? cairn_body_u64(at)
		: keep   ? old_ns
			 : 0;
	return has_ttl + has_at + keep > 1 || (has_ttl && !cairn_body_u64(ttl)) ? CAIRN_E_INVALID : CAIRN_OK;
}

static enum cairn_code model_put(struct model *m, struct cairn_slice fields)
{
	struct item *old = model_find(m, field_of(fields, CAIRN_F_KEY));
	struct cairn_slice kind;
	uint64_t expiry_ns;
	struct bytes *value;
	enum cairn_code code = model_given(m, fields, true, &value);
	unsigned k = cairn_field_find(fields, CAIRN_F_KIND, &kind) ? *(const unsigned char *)kind.data : 0;
	struct item *i;

	if (!code && value->len > MODEL_VALUE_LIMIT)
		code = CAIRN_E_TOO_LARGE;
	if (!code)
		code = model_expiry(m, fields, old ? old->expiry_ns : 0, &expiry_ns);
	if (code) {
		bytes_drop(value);
		return code;
	}
	i = model_next(m, field_of(fields, CAIRN_F_KEY));
	i->open = !old && cairn_field_bool(fields, CAIRN_F_OPEN, false);
	i->expiry_ns = expiry_ns;
	if (i->kind != k)
		i->has_mode = false;
	i->has_mtime = false;
	i->kind = k;
	i->value = value;
	if (!i->file_id)
		i->file_id = m->next_file_id++;
	take_attributes(i, fields);
	return CAIRN_OK;
}

/* append and patch: BYTES at OFFSET, LENGTH in all. */
static enum cairn_code model_edit(struct model *m, struct cairn_slice fields, struct bytes *bytes,
				  uint64_t offset, uint64_t length)
{
	struct item *i = model_find(m, field_of(fields, CAIRN_F_KEY));
	struct bytes *was = i ? bytes_hold(i->value) : bytes_new(NULL, 0), *now;

	if (length > MODEL_VALUE_LIMIT) {
		bytes_drop(was);
		bytes_drop(bytes);
		return CAIRN_E_TOO_LARGE;
	}
	now = bytes_new(NULL, length);
	memcpy(now->data, was->data, was->len < length ? was->len : length);
	if (bytes->len)
		memcpy(now->data + offset, bytes->data, bytes->len);
	i = model_next(m, field_of(fields, CAIRN_F_KEY));
	i->value = now;
	i->open = false;
	i->has_mtime = false;
	if (!i->file_id)
		i->file_id = m->next_file_id++;
	take_attributes(i, fields);
	bytes_drop(was);
	bytes_drop(bytes);
	return CAIRN_OK;
}

/* A patch with extents, one after another. */
static enum cairn_code model_extents(struct model *m, struct cairn_slice fields, const struct item *i,
				     struct bytes *upload)
{
	uint64_t size = cairn_field_u64(fields, CAIRN_F_SIZE, UINT64_MAX), most = i->value->len;
	struct bytes *now = bytes_new(NULL, MODEL_VALUE_LIMIT);
	struct cairn_slice rest = fields, item, b;
	enum cairn_code code = CAIRN_OK;
	unsigned f, uploads = 0;
	bool has_upload = cairn_field_find(fields, CAIRN_F_UPLOAD, &b);

	while (cairn_field_next(&rest, &f, &item) == 0 && f)
		uploads += f == CAIRN_F_EXTENT && !cairn_field_find(item, CAIRN_F_VALUE, &b) &&
			!cairn_field_find(item, CAIRN_F_LENGTH, &b);
	if (uploads != has_upload || cairn_field_find(fields, CAIRN_F_VALUE, &b) ||
	    cairn_field_find(fields, CAIRN_F_OFFSET, &b))
		code = CAIRN_E_INVALID;
	for (int check = 1; check >= 0 && !code; check--) {
		uint64_t cut = size < i->value->len ? size : i->value->len;

		memcpy(now->data, i->value->data, cut);
		for (rest = fields; !code && cairn_field_next(&rest, &f, &item) == 0 && f;) {
			uint64_t offset = cairn_field_u64(item, CAIRN_F_OFFSET, 0), n;
			struct cairn_slice value;

			if (f != CAIRN_F_EXTENT)
				continue;
			n = cairn_field_u64(item, CAIRN_F_LENGTH, 0);
			if (!cairn_field_find(item, CAIRN_F_VALUE, &value))
				value = cairn_slice(NULL, n);
			if (!value.data && !cairn_field_find(item, CAIRN_F_LENGTH, &b))
				value = cairn_slice(upload->data, upload->len);
			if (check && value.len &&
			    (offset > MODEL_VALUE_LIMIT || offset + value.len > MODEL_VALUE_LIMIT))
				code = CAIRN_E_TOO_LARGE;
			else if (check && value.len && offset + value.len > size)
				code = CAIRN_E_INVALID;
			if (value.len && offset + value.len > most)
				most = offset + value.len;
			if (!check && value.data && value.len)
				memcpy(now->data + offset, value.data, value.len);
			else if (!check && value.len)
				memset(now->data + offset, 0, value.len);
		}
	}
	most = size != UINT64_MAX ? size : most;
	if (!code && most > MODEL_VALUE_LIMIT)
		code = CAIRN_E_TOO_LARGE;
	bytes_drop(upload);
	if (code)
		return bytes_drop(now), code;
	now->len = most;
	return model_edit(m, fields, now, 0, most);
}

static enum cairn_code model_append(struct model *m, struct cairn_slice fields)
{
	struct item *i = model_find(m, field_of(fields, CAIRN_F_KEY));
	struct bytes *bytes;
	enum cairn_code code = model_given(m, fields, true, &bytes);
	uint64_t offset = i ? i->value->len : 0;

	return code ? bytes_drop(bytes), code : model_edit(m, fields, bytes, offset, offset + bytes->len);
}

static enum cairn_code model_patch(struct model *m, struct cairn_slice fields)
{
	struct item *i = model_find(m, field_of(fields, CAIRN_F_KEY));
	uint64_t offset = cairn_field_u64(fields, CAIRN_F_OFFSET, 0), length;
	struct bytes *bytes;
	struct cairn_slice size;
	enum cairn_code code;

	if (!i)
		return CAIRN_E_NOT_FOUND;
	code = model_given(m, fields, false, &bytes);
	if (code)
		return bytes_drop(bytes), code;
	if (cairn_field_find(fields, CAIRN_F_EXTENT, &size))
		return model_extents(m, fields, i, bytes);
	length = i->value->len;
	if (bytes->len && offset + bytes->len > length)
		length = offset + bytes->len;
	if (bytes->len && offset > MODEL_VALUE_LIMIT)
		return bytes_drop(bytes), CAIRN_E_TOO_LARGE;
	if (cairn_field_find(fields, CAIRN_F_SIZE, &size)) {
		length = cairn_body_u64(size);
		if (bytes->len && offset + bytes->len > length)
			return bytes_drop(bytes), CAIRN_E_INVALID;
	}
	return model_edit(m, fields, bytes, offset, length);
}

/* What stood under FROM goes under KEY. */
static void model_place(struct model *m, const struct item *from, struct cairn_slice key, bool copy)
{
	struct item src = *from, *i;

	bytes_hold(src.value);
	i = model_next(m, key);
	i->value = src.value;
	i->kind = src.kind;
	i->has_mode = src.has_mode;
	i->mode = src.mode;
	i->has_mtime = src.has_mtime;
	i->mtime = src.mtime;
	i->expiry_ns = src.expiry_ns;
	i->open = src.open && !copy;
	if (!copy)
		i->file_id = src.file_id;
	else if (!i->file_id)
		i->file_id = m->next_file_id++;
}

static enum cairn_code model_move(struct model *m, struct cairn_slice fields, bool copy)
{
	struct cairn_slice key = field_of(fields, CAIRN_F_KEY), to = field_of(fields, CAIRN_F_TO);
	struct item *i = model_find(m, key), src;

	if (!i)
		return CAIRN_E_NOT_FOUND;
	if (cairn_slice_eq(key, to) && !copy)
		return CAIRN_OK;
	src = *i;
	bytes_hold(src.value);
	if (!copy)
		model_remove(m, i);
	model_place(m, &src, to, copy);
	bytes_drop(src.value);
	return CAIRN_OK;
}

static enum cairn_code model_swap(struct model *m, struct cairn_slice fields)
{
	struct item *a = model_find(m, field_of(fields, CAIRN_F_KEY)),
		    *b = model_find(m, field_of(fields, CAIRN_F_TO));
	struct item x, y;

	if (!a || !b)
		return CAIRN_E_NOT_FOUND;
	if (a == b)
		return CAIRN_OK;
	x = *a;
	y = *b;
	bytes_hold(x.value);
	bytes_hold(y.value);
	model_place(m, &y, item_key(&x), false);
	model_place(m, &x, item_key(&y), false);
	bytes_drop(x.value);
	bytes_drop(y.value);
	return CAIRN_OK;
}

static enum cairn_code model_tree(struct model *m, unsigned op, struct cairn_slice fields)
{
	struct cairn_slice prefix = field_of(fields, CAIRN_F_PREFIX), to = field_of(fields, CAIRN_F_TO);
	bool long_key = false;
	struct model was;
	size_t n = 0;

	if (op != CAIRN_OP_DELETE_PREFIX && cairn_slice_starts(to, prefix))
		return CAIRN_E_INVALID;
	was = model_copy(m);
	for (size_t i = 0; i < was.count; i++)
		if (cairn_slice_starts(item_key(&was.items[i]), prefix)) {
			n++;
			if (op != CAIRN_OP_COPY_PREFIX)
				model_remove(m, model_find(m, item_key(&was.items[i])));
		}
	for (size_t i = 0; i < was.count && op != CAIRN_OP_DELETE_PREFIX; i++)
		if (cairn_slice_starts(item_key(&was.items[i]), prefix)) {
			char key[2 * MODEL_KEY];

			if (to.len + was.items[i].key_len - prefix.len > MODEL_KEY_MAX) {
				long_key = true;
				break;
			}
			memcpy(key, to.data, to.len);
			memcpy(key + to.len, was.items[i].key + prefix.len,
			       was.items[i].key_len - prefix.len);
			model_place(m, &was.items[i],
				    cairn_slice(key, to.len + was.items[i].key_len - prefix.len),
				    op == CAIRN_OP_COPY_PREFIX);
		}
	model_free(&was);
	if (long_key)
		return CAIRN_E_TOO_LARGE;
	return n ? CAIRN_OK : CAIRN_E_NOT_FOUND;
}

static enum cairn_code model_stage(struct model *m, struct cairn_slice fields)
{
	struct cairn_slice id = field_of(fields, CAIRN_F_UPLOAD), value = field_of(fields, CAIRN_F_VALUE);
	uint64_t index = cairn_field_u64(fields, CAIRN_F_INDEX, 0);
	struct model_upload *u = upload_find(m, id);

	if (!u && !value.len)
		return CAIRN_E_NOT_FOUND;
	for (int i = 0; !u; i++)
		if (!memcmp(m->uploads[i].id, id.data, 16) || !memcmp(m->uploads[i].id, (char[16]){ 0 }, 16))
			u = &m->uploads[i];
	u->time_ns = m->time_ns;
	if (!value.len)
		return CAIRN_OK;
	memcpy(u->id, id.data, 16);
	bytes_drop(u->pieces[index]);
	u->pieces[index] = bytes_new(value.data, value.len);
	return CAIRN_OK;
}

static void upload_drop(struct model_upload *u)
{
	for (int p = 0; p < MODEL_PIECES; p++)
		bytes_drop(u->pieces[p]);
	*u = (struct model_upload){ 0 };
}

/* One upload, or all that were staged last ten minutes ago. */
static enum cairn_code model_unstage(struct model *m, struct cairn_slice fields)
{
	struct cairn_slice id;
	struct model_upload *u;

	if (cairn_field_find(fields, CAIRN_F_UPLOAD, &id)) {
		u = upload_find(m, id);
		if (u)
			upload_drop(u);
		return u ? CAIRN_OK : CAIRN_E_NOT_FOUND;
	}
	for (int i = 0; i < MODEL_UPLOADS; i++)
		if (m->uploads[i].time_ns + 600000000000ull <= m->time_ns)
			upload_drop(&m->uploads[i]);
	return CAIRN_OK;
}

static bool model_guard(struct model *m, struct cairn_slice g)
{
	struct cairn_slice key, prefix, b;
	struct item *i;

	if (cairn_field_find(g, CAIRN_F_PREFIX, &prefix)) {
		bool empty = true;

		for (size_t n = 0; n < m->count; n++)
			empty &= !cairn_slice_starts(item_key(&m->items[n]), prefix) ||
				cairn_slice_eq(item_key(&m->items[n]), prefix);
		return empty == cairn_field_bool(g, CAIRN_F_EMPTY, false);
	}
	key = field_of(g, CAIRN_F_KEY);
	i = model_find(m, key);
	if (cairn_field_find(g, CAIRN_F_EXISTS, &b) &&
	    cairn_field_bool(g, CAIRN_F_EXISTS, false) != (i != NULL))
		return false;
	if (cairn_field_find(g, CAIRN_F_REVISION, &b) && cairn_body_u64(b) != (i ? i->revision : 0))
		return false;
	if (cairn_field_find(g, CAIRN_F_FILE_ID, &b) && cairn_body_u64(b) != (i ? i->file_id : 0))
		return false;
	if (cairn_field_find(g, CAIRN_F_DATA_VERSION, &b) && cairn_body_u64(b) != (i ? i->data_version : 0))
		return false;
	if (cairn_field_find(g, CAIRN_F_EXPIRY, &b) && cairn_body_u64(b) != (i ? i->expiry_ns : 0))
		return false;
	if (cairn_field_find(g, CAIRN_F_VALUE, &b) &&
	    (!i || !cairn_slice_eq(b, cairn_slice(i->value->data, i->value->len))))
		return false;
	if (cairn_field_bool(g, CAIRN_F_NO_ANCESTOR, false))
		for (size_t n = 1; n < key.len; n++)
			if (((const char *)key.data)[n] == '/' && model_find(m, cairn_slice(key.data, n)))
				return false;
	return true;
}

static bool model_guards(struct model *m, struct cairn_slice fields)
{
	struct cairn_slice b;
	unsigned f;

	while (cairn_field_next(&fields, &f, &b) == 0 && f)
		if (f == CAIRN_F_GUARD && !model_guard(m, b))
			return false;
	return true;
}

/* Whether each lock whose fence stands among the guards is held under it. */
static bool model_fences(struct model *m, struct cairn_slice fields)
{
	struct cairn_slice b, fence;
	unsigned f;

	while (cairn_field_next(&fields, &f, &b) == 0 && f) {
		struct item *i = f == CAIRN_F_GUARD ? model_find(m, field_of(b, CAIRN_F_KEY)) : NULL;

		if (f == CAIRN_F_GUARD && cairn_field_find(b, CAIRN_F_FENCE, &fence) &&
		    (!i || i->created != cairn_body_u64(fence)))
			return false;
	}
	return true;
}

/* What counts against the quota. */
static uint64_t model_used(const struct model *m)
{
	uint64_t used = 0;

	for (size_t i = 0; i < m->count; i++)
		used += m->items[i].value->len;
	for (int u = 0; u < MODEL_UPLOADS; u++)
		for (int p = 0; p < MODEL_PIECES; p++)
			used += m->uploads[u].pieces[p] ? m->uploads[u].pieces[p]->len : 0;
	return used;
}

/* M came from WAS. */
static enum cairn_code model_quota(const struct model *m, const struct model *was)
{
	uint64_t used = m->quota ? model_used(m) : 0;

	return used > m->quota && used > model_used(was) ? CAIRN_E_QUOTA : CAIRN_OK;
}

static enum cairn_code model_operation(struct model *m, unsigned op, struct cairn_slice fields);

static enum cairn_code model_txn(struct model *m, struct cairn_slice fields)
{
	unsigned list = model_guards(m, fields) ? CAIRN_F_THEN : CAIRN_F_ELSE, f;
	bool each = cairn_field_bool(fields, CAIRN_F_EACH, false);
	struct cairn_slice b;

	while (cairn_field_next(&fields, &f, &b) == 0 && f) {
		struct model was;
		enum cairn_code code = CAIRN_E_CONFLICT;
		bool has_fences;

		if (f != list)
			continue;
		has_fences = model_fences(m, cairn_message_fields(b));
		if (has_fences && !model_guards(m, cairn_message_fields(b)))
			continue;
		was = model_copy(m);
		if (has_fences)
			code = model_operation(m, cairn_message_number(b), cairn_message_fields(b));
		if (!code && each)
			code = model_quota(m, &was);
		if (code && each) {
			model_restore(m, &was);
			continue;
		}
		model_free(&was);
		if (code)
			return code;
	}
	return CAIRN_OK;
}

/* A setting: "history", "history-age" in seconds, "history-floor", or "quota" in bytes. */
static enum cairn_code model_configure(struct model *m, struct cairn_slice fields)
{
	struct cairn_slice name = field_of(fields, CAIRN_F_NAME), amount = field_of(fields, CAIRN_F_AMOUNT);
	char text[24];
	uint64_t value;

	snprintf(text, sizeof(text), "%.*s", (int)amount.len, (const char *)amount.data);
	value = strtoull(text, NULL, 10);
	if (cairn_slice_eq(name, cairn_str("history"))) {
		if (!m->history || !value) {
			m->floor = m->revision;
			m->before_revision = 0;
		} else if (value > m->history) {
			m->before = m->before_revision && m->before < m->history ? m->before : m->history;
			m->before_revision = m->revision;
		}
		m->history = value;
	} else if (cairn_slice_eq(name, cairn_str("history-age"))) {
		if (value * 1000000000 > m->history_age_ns)
			m->from_ns = model_bound(m);
		m->history_age_ns = value * 1000000000;
	} else if (cairn_slice_eq(name, cairn_str("quota"))) {
		m->quota = value;
	} else {
		if (value < m->floor || value > m->revision)
			return CAIRN_E_INVALID;
		m->floor = value;
	}
	return CAIRN_OK;
}

static bool past_shows(const struct model *m, const struct past *p, const struct item *newest, bool gone);

/* The oldest revision of which everything is visible. */
static uint64_t model_oldest(const struct model *m)
{
	uint64_t oldest = m->revision;

	while (m->history && oldest > m->floor && m->times[oldest] > model_bound(m))
		oldest--;
	return oldest;
}

/* What KEY was at REVISION, where that is visible and it was there; else NULL. */
static const struct item *model_at(struct model *m, struct cairn_slice key, uint64_t revision)
{
	struct item *i = model_find(m, key), like = { .key_len = key.len }, *newest;

	memcpy(like.key, key.data, key.len);
	newest = i ? i : grave_find(m, &like);
	if (i && i->revision <= revision)
		return i;
	for (size_t n = 0; newest && n < m->past_count; n++) {
		struct past *p = &m->past[n];

		if (cairn_slice_eq(item_key(&p->item), key) && p->item.revision <= revision &&
		    revision < p->next_revision && past_shows(m, p, newest, !i))
			return p->gone ? NULL : &p->item;
	}
	return NULL;
}

static void model_put_back(struct model *m, const struct item *old)
{
	struct item was = *old, *i;

	bytes_hold(was.value);
	i = model_next(m, item_key(&was));
	i->value = was.value;
	i->kind = was.kind;
	i->has_mode = was.has_mode;
	i->mode = was.mode;
	i->has_mtime = was.has_mtime;
	i->mtime = was.mtime;
	i->expiry_ns = 0;
	i->open = false;
	if (!i->file_id)
		i->file_id = m->next_file_id++;
}

static enum cairn_code model_revert(struct model *m, struct cairn_slice fields)
{
	struct cairn_slice key = field_of(fields, CAIRN_F_KEY);
	uint64_t revision = cairn_field_u64(fields, CAIRN_F_REVISION, 0);
	const struct item *old = model_at(m, key, revision);
	bool present = old && old == model_find(m, key);

	if (revision > m->revision)
		return CAIRN_E_INVALID;
	if (!old)
		return revision >= model_oldest(m) ? CAIRN_E_NOT_FOUND : CAIRN_E_COMPACTED;
	if (!present)
		model_put_back(m, old);
	return CAIRN_OK;
}

static enum cairn_code model_revert_prefix(struct model *m, struct cairn_slice fields)
{
	struct cairn_slice prefix = field_of(fields, CAIRN_F_PREFIX);
	uint64_t revision = cairn_field_u64(fields, CAIRN_F_REVISION, 0);
	struct model was;
	size_t n = 0;

	if (revision > m->revision || revision < model_oldest(m))
		return revision > m->revision ? CAIRN_E_INVALID : CAIRN_E_COMPACTED;
	was = model_copy(m);
	for (size_t i = 0; i < was.count; i++)
		if (cairn_slice_starts(item_key(&was.items[i]), prefix)) {
			const struct item *old = model_at(m, item_key(&was.items[i]), revision);

			n++;
			if (!old)
				model_remove(m, model_find(m, item_key(&was.items[i])));
			else if (old != model_find(m, item_key(&was.items[i])))
				model_put_back(m, old);
		}
	qsort(was.graves, was.grave_count, sizeof(*was.graves), items_by_key);
	for (size_t i = 0; i < was.grave_count; i++)
		if (cairn_slice_starts(item_key(&was.graves[i]), prefix) && grave_shows(m, &was.graves[i])) {
			const struct item *old = model_at(m, item_key(&was.graves[i]), revision);

			n++;
			if (old)
				model_put_back(m, old);
		}
	model_free(&was);
	return n ? CAIRN_OK : CAIRN_E_NOT_FOUND;
}

/* Of KEY nothing stays. Whether there was something. */
static bool model_purge_key(struct model *m, struct cairn_slice key)
{
	struct item *i = model_find(m, key), like = { .key_len = key.len }, *grave;
	struct purged *p;

	memcpy(like.key, key.data, key.len);
	grave = i ? NULL : grave_find(m, &like);
	if (!i && (!grave || !grave_shows(m, grave)))
		return false;
	if (grave)
		*grave = m->graves[--m->grave_count];
	if (i) {
		bytes_drop(i->value);
		memmove(i, i + 1, (m->count - (size_t)(i - m->items) - 1) * sizeof(*i));
		m->count--;
		m->changed = true;
	}
	if (m->purged_count == m->purged_cap) {
		m->purged_cap = m->purged_cap ? m->purged_cap * 2 : 64;
		m->purged = realloc(m->purged, m->purged_cap * sizeof(*m->purged));
	}
	p = &m->purged[m->purged_count++];
	memcpy(p->key, like.key, sizeof(p->key));
	p->key_len = key.len;
	p->past_count = m->past_count;
	return true;
}

static enum cairn_code model_purge(struct model *m, struct cairn_slice fields)
{
	struct cairn_slice prefix;
	struct model was;
	size_t n = 0;

	if (!cairn_field_find(fields, CAIRN_F_PREFIX, &prefix))
		return model_purge_key(m, field_of(fields, CAIRN_F_KEY)) ? CAIRN_OK : CAIRN_E_NOT_FOUND;
	was = model_copy(m);
	for (size_t i = 0; i < was.count; i++)
		n += cairn_slice_starts(item_key(&was.items[i]), prefix) &&
			model_purge_key(m, item_key(&was.items[i]));
	for (size_t i = 0; i < was.grave_count; i++)
		n += cairn_slice_starts(item_key(&was.graves[i]), prefix) &&
			model_purge_key(m, item_key(&was.graves[i]));
	model_free(&was);
	return n ? CAIRN_OK : CAIRN_E_NOT_FOUND;
}

/* expire, and persist where NS is 0. */
static enum cairn_code model_expire(struct model *m, struct cairn_slice key, uint64_t ns)
{
	struct item *i = model_find(m, key);
	struct bytes *value;

	if (!i)
		return CAIRN_E_NOT_FOUND;
	if (!ns && !i->expiry_ns)
		return CAIRN_OK;
	value = bytes_hold(i->value);
	i = model_next(m, key);
	i->value = value;
	i->data_version--;
	i->expiry_ns = ns;
	return CAIRN_OK;
}

static enum cairn_code model_increment(struct model *m, struct cairn_slice fields)
{
	struct cairn_slice key = field_of(fields, CAIRN_F_KEY);
	struct item *i = model_find(m, key);
	long long n = 0, by = (long long)cairn_field_u64(fields, CAIRN_F_BY, 1);
	char text[32], *end = text;

	if (i && (i->kind || !i->value->len || i->value->len > 20))
		return CAIRN_E_INVALID;
	if (i) {
		snprintf(text, sizeof(text), "%.*s", (int)i->value->len, (const char *)i->value->data);
		n = strtoll(text, &end, 10);
	}
	if (i && (*end || snprintf(NULL, 0, "%lld", n) != (int)i->value->len))
		return CAIRN_E_INVALID;
	i = model_next(m, key);
	i->open = false;
	i->has_mtime = false;
	i->value = bytes_new(text, (size_t)snprintf(text, sizeof(text), "%lld", n + by));
	if (!i->file_id)
		i->file_id = m->next_file_id++;
	return CAIRN_OK;
}

static enum cairn_code model_operation(struct model *m, unsigned op, struct cairn_slice fields)
{
	struct item *i = model_find(m, field_of(fields, CAIRN_F_KEY));
	struct bytes *value;
	uint64_t expiry_ns;

	switch (op) {
	case CAIRN_OP_EXPIRE:
		if (model_expiry(m, fields, 0, &expiry_ns) || !expiry_ns)
			return CAIRN_E_INVALID;
		return model_expire(m, field_of(fields, CAIRN_F_KEY), expiry_ns);
	case CAIRN_OP_PERSIST:
		return model_expire(m, field_of(fields, CAIRN_F_KEY), 0);
	case CAIRN_OP_INCREMENT:
		return model_increment(m, fields);
	case CAIRN_OP_EXPIRE_DUE:
		return CAIRN_OK;
	case CAIRN_OP_REVERT:
		return model_revert(m, fields);
	case CAIRN_OP_REVERT_PREFIX:
		return model_revert_prefix(m, fields);
	case CAIRN_OP_PURGE:
		return model_purge(m, fields);
	case CAIRN_OP_CONFIGURE:
		return model_configure(m, fields);
	case CAIRN_OP_PUT:
		return model_put(m, fields);
	case CAIRN_OP_DELETE:
		if (i)
			model_remove(m, i);
		return i ? CAIRN_OK : CAIRN_E_NOT_FOUND;
	case CAIRN_OP_GET:
		return i ? CAIRN_OK : CAIRN_E_NOT_FOUND;
	case CAIRN_OP_SET_ATTRIBUTES:
		if (!i)
			return CAIRN_E_NOT_FOUND;
		if (!cairn_field_bool(fields, CAIRN_F_OPEN, true) && !i->open &&
		    !field_of(fields, CAIRN_F_ATTRIBUTES).len)
			return CAIRN_OK;
		value = bytes_hold(i->value);
		i = model_next(m, field_of(fields, CAIRN_F_KEY));
		i->value = value;
		i->open = i->open && cairn_field_bool(fields, CAIRN_F_OPEN, true);
		i->data_version--;
		take_attributes(i, fields);
		return CAIRN_OK;
	case CAIRN_OP_APPEND:
		return model_append(m, fields);
	case CAIRN_OP_PATCH:
		return model_patch(m, fields);
	case CAIRN_OP_MOVE:
	case CAIRN_OP_COPY:
		return model_move(m, fields, op == CAIRN_OP_COPY);
	case CAIRN_OP_SWAP:
		return model_swap(m, fields);
	case CAIRN_OP_STAGE:
		return model_stage(m, fields);
	case CAIRN_OP_UNSTAGE:
		return model_unstage(m, fields);
	case CAIRN_OP_TXN:
		return model_txn(m, fields);
	default:
		return model_tree(m, op, fields);
	}
}

/* The revision goes on, where something changed. */
static void model_advance(struct model *m)
{
	if (!m->changed)
		return;
	if (++m->revision >= m->time_cap) {
		m->time_cap = m->time_cap ? m->time_cap * 2 : 1024;
		m->times = realloc(m->times, m->time_cap * sizeof(*m->times));
	}
	m->times[m->revision] = m->time_ns;
}

/* The clock has moved on: what is due goes, as a revision of its own. */
static void model_due(struct model *m)
{
	for (size_t i = 0; i < m->count;)
		if (m->items[i].expiry_ns && m->items[i].expiry_ns <= m->time_ns)
			model_remove(m, &m->items[i]);
		else
			i++;
	model_advance(m);
}

/* Apply a command: all of it, or nothing and its code. */
static enum cairn_code model_apply(struct model *m, struct cairn_slice message)
{
	unsigned op = cairn_message_number(message);
	struct cairn_slice fields = cairn_message_fields(message);
	enum cairn_code code = CAIRN_E_CONFLICT;
	struct model was;

	m->changed = false;
	m->time_ns = cairn_field_u64(fields, CAIRN_F_TIME, m->time_ns);
	model_due(m);
	m->changed = false;
	was = model_copy(m);
	if (model_fences(m, fields) && (op == CAIRN_OP_TXN || model_guards(m, fields)))
		code = model_operation(m, op, fields);
	if (!code)
		code = model_quota(m, &was);
	if (code) {
		model_restore(m, &was);
	} else {
		model_free(&was);
		model_advance(m);
	}
	return code;
}

/* Whether P is visible, where its key's newest record, or with GONE its tombstone, is NEWEST. */
static bool past_shows(const struct model *m, const struct past *p, const struct item *newest, bool gone)
{
	uint64_t versions = m->history;

	for (size_t i = 0; i < m->purged_count; i++)
		if ((size_t)(p - m->past) < m->purged[i].past_count &&
		    cairn_slice_eq(item_key(&p->item), cairn_slice(m->purged[i].key, m->purged[i].key_len)))
			return false;
	if (!versions || p->next_revision <= m->floor || p->item.revision < newest->since ||
	    (gone && !grave_shows(m, newest)))
		return false;
	if (p->next_revision <= m->before_revision && m->before < versions)
		versions = m->before;
	return p->next_time_ns > model_bound(m) || newest->version - p->item.version < versions;
}

#endif
