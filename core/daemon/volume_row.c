/*
 * The row of a volume in the system volume: its folder, engine and parameters. At the start every row is
 * opened; one that cannot be read, or whose volume cannot be opened, leaves a volume that answers with the
 * reason.
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "volumes.h"
#include "banned.h"

#define ROWS "volumes/" /* in the system volume, one for each volume */

static void row_key(const struct volume *v, char *key, size_t size)
{
	snprintf(key, size, ROWS "%s", v->name);
}

static void row_encode(const struct volume *v, struct cairn_msg *m)
{
	cairn_msg_start(m, 0);
	cairn_msg_text(m, CAIRN_F_NAME, v->name);
	cairn_msg_text(m, CAIRN_F_PATH, v->folder);
	cairn_msg_text(m, CAIRN_F_ENGINE, v->engine);
	cairn_msg_text(m, CAIRN_F_REPLICATION, v->replication);
	if (v->members_len)
		cairn_msg_bytes(m, CAIRN_F_MEMBERS, cairn_slice(v->members, v->members_len));
	for (size_t i = 0; i < v->parameter_count; i++)
		cairn_msg_text(m, CAIRN_F_SETTING, v->parameters[i]);
}

static bool text_field(struct cairn_slice fields, unsigned field, char *to, size_t size)
{
	struct cairn_slice body;

	if (!cairn_field_find(fields, field, &body) || body.len == 0 || body.len >= size ||
	    memchr(body.data, 0, body.len))
		return false;
	memcpy(to, body.data, body.len);
	to[body.len] = 0;
	return true;
}

/* The volume of a row; NULL where it cannot be read. */
static struct volume *row_decode(struct node *n, const char *name, struct cairn_slice value)
{
	struct cairn_slice rest = cairn_message_fields(value), body;
	struct volume *v = volume_new(n, name);
	unsigned field;
	bool good;

	if (!v)
		return NULL;
	good = cairn_fields_check(rest, NULL) == 0 &&
		text_field(rest, CAIRN_F_PATH, v->folder, sizeof(v->folder)) &&
		text_field(rest, CAIRN_F_ENGINE, v->engine, sizeof(v->engine)) &&
		text_field(rest, CAIRN_F_REPLICATION, v->replication, sizeof(v->replication)) &&
		!strchr(v->folder, '/') && v->folder[0] != '.';
	while (good && cairn_field_next(&rest, &field, &body) == 0 && field)
		if (field == CAIRN_F_SETTING)
			good = volume_add_parameter(v, body.data, body.len);
		else if (field == CAIRN_F_MEMBERS && body.len <= sizeof(v->members)) {
			memcpy(v->members, body.data, body.len);
			v->members_len = body.len;
		}
	if (!good) {
		volume_free(v);
		return NULL;
	}
	return v;
}

/* Hand OP on V's row to the system volume; C->write.done is set by the caller. */
void volume_row_write(struct volume_change *c, unsigned op)
{
	struct cairn_msg row = { 0 }, *m = &c->write.command;
	char key[sizeof(ROWS) + VOLUME_NAME_MAX];

	row_key(c->volume, key, sizeof(key));
	cairn_msg_start(m, op);
	cairn_msg_text(m, CAIRN_F_FACE, "daemon");
	cairn_msg_text(m, CAIRN_F_KEY, key);
	if (op == CAIRN_OP_PUT) {
		row_encode(c->volume, &row);
		cairn_msg_bytes(m, CAIRN_F_VALUE, cairn_msg_slice(&row));
		cairn_msg_free(&row);
	}
	if (op == CAIRN_OP_PUT && c->fresh) { /* another node may make one of that name now */
		size_t mark = cairn_msg_open(m, CAIRN_F_GUARD);

		cairn_msg_text(m, CAIRN_F_KEY, key);
		cairn_msg_bool(m, CAIRN_F_EXISTS, false);
		cairn_msg_close(m, mark);
	}
	cairn_msg_start(&c->write.answer, 0);
	c->write.loop = c->node->loop;
	shard_write(c->node->volumes->system->shard, &c->write);
}

static bool is_listed(struct volumes *t, const char *name)
{
	bool listed;

	pthread_mutex_lock(&t->lock);
	listed = volume_listed(t, cairn_str(name));
	pthread_mutex_unlock(&t->lock);
	return listed;
}

/* The folder of V, which another node has made. */
static enum cairn_code make_folder(struct volume *v, struct cairn_error *error)
{
	struct volume_change c = { .node = v->node, .volume = v };
	enum cairn_code code;

	if (faccessat(v->node->volumes->fd, v->folder, F_OK, 0) == 0)
		return CAIRN_OK;
	code = volume_folder_make(&c, v->folder, error);
	if (!code)
		volume_folder_pending(v->node->volumes, v->folder, false);
	return code;
}

/* The volume of one ROW of the system volume's listing. */
static void open_row(struct node *n, struct cairn_slice row)
{
	struct cairn_slice key, value = { NULL, 0 };
	struct cairn_error error = { 0 };
	char name[VOLUME_NAME_MAX + 1];
	struct volume *v;

	if (!cairn_field_find(row, CAIRN_F_KEY, &key) || key.len <= strlen(ROWS) ||
	    key.len - strlen(ROWS) > VOLUME_NAME_MAX)
		return;
	snprintf(name, sizeof(name), "%.*s", (int)(key.len - strlen(ROWS)),
		 (const char *)key.data + strlen(ROWS));
	cairn_field_find(row, CAIRN_F_VALUE, &value);
	v = row_decode(n, name, value);
	if (v)
		volumes_note_row(n->volumes, v->folder);
	if (is_listed(n->volumes, name)) { /* or is being made here */
		if (v)
			volume_free(v);
		return;
	}
	if (v && n->cluster && make_folder(v, &error))
		log_warn(n->log, LOG_VOLUME, error.message);
	if (!v) {
		v = volume_new(n, name);
		if (v)
			cairn_fail(&error, CAIRN_E_CORRUPT,
				   "volume %s: its row in the system volume cannot be read", name);
	} else if (volume_open_shard(v, false, NULL, &error) == CAIRN_OK) {
		log_info(n->log, LOG_VOLUME, "volume open", LOG_TEXT("volume", v->name),
			 LOG_TEXT("engine", v->engine), LOG_TEXT("folder", v->folder));
	}
	if (!v)
		return;
	if (error.code)
		v->refused = error;
	if (!volume_list(n->volumes, v)) {
		volume_put(v);
		return;
	}
	if (error.code)
		volume_refuse(v, &error);
	if (error.code == CAIRN_E_FULL)
		volume_retry_later(v);
}

/* Open what the rows of the system volume name. */
enum cairn_code volumes_open_rows(struct node *n, struct cairn_error *error)
{
	struct cairn_msg request = { 0 }, answer = { 0 };
	struct cairn_slice cursor = { NULL, 0 }, rest, body;
	enum cairn_code code;
	unsigned field;

	do {
		cairn_msg_start(&request, CAIRN_OP_SCAN);
		cairn_msg_text(&request, CAIRN_F_PREFIX, ROWS);
		if (cursor.len)
			cairn_msg_bytes(&request, CAIRN_F_CURSOR, cursor);
		cairn_msg_start(&answer, 0);
		code = store_scan(shard_store(n->volumes->system->shard),
				  cairn_message_fields(cairn_msg_slice(&request)), 0, 1 << 20, &answer, NULL,
				  error);
		if (code)
			break;
		rest = cairn_message_fields(cairn_msg_slice(&answer));
		cursor.len = 0;
		while (cairn_field_next(&rest, &field, &body) == 0 && field)
			if (field == CAIRN_F_ROW)
				open_row(n, body);
			else if (field == CAIRN_F_CURSOR)
				cursor = body;
	} while (cursor.len);
	if (code)
		cairn_error_prefix(error, "the list of volumes cannot be read");
	cairn_msg_free(&request);
	cairn_msg_free(&answer);
	return code;
}
