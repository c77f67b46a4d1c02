/* Records as the fields of an answer. */
#include "state.h"
#include "banned.h"

const char *change_name(unsigned change)
{
	static const char *const names[] = {
		[CHANGE_PUT] = "put",
		[CHANGE_DELETE] = "delete",
		[CHANGE_APPEND] = "append",
		[CHANGE_PATCH] = "patch",
		[CHANGE_ATTRIBUTES] = "attributes",
		[CHANGE_MOVE] = "move",
		[CHANGE_MOVE_PREFIX] = "move-prefix",
		[CHANGE_COPY] = "copy",
		[CHANGE_SWAP] = "swap",
		[CHANGE_EXPIRE] = "expire",
		[CHANGE_FLUSH] = "flush",
		[CHANGE_TTL] = "ttl",
		[CHANGE_REVERT] = "revert",
	};

	return change < sizeof(names) / sizeof(names[0]) && names[change] ? names[change] : "?";
}

void answer_record(struct cairn_msg *m, const struct record *r, bool with_value)
{
	cairn_msg_u64(m, CAIRN_F_REVISION, r->head.revision);
	cairn_msg_u64(m, CAIRN_F_SIZE, r->head.length);
	cairn_msg_kind(m, CAIRN_F_KIND, r->head.kind);
	cairn_msg_u64(m, CAIRN_F_VERSION, r->head.version);
	cairn_msg_u64(m, CAIRN_F_DATA_VERSION, r->data_version);
	cairn_msg_u64(m, CAIRN_F_TIME, r->head.time_ns);
	cairn_msg_u64(m, CAIRN_F_CREATE_REVISION, r->create_revision);
	if (r->previous_revision && r->previous_revision >= r->since)
		cairn_msg_u64(m, CAIRN_F_PREVIOUS_REVISION, r->previous_revision);
	cairn_msg_u64(m, CAIRN_F_FILE_ID, r->file_id);
	if (r->head.flags & RECORD_OPEN)
		cairn_msg_bool(m, CAIRN_F_OPEN, true);
	if (r->expiry_ns)
		cairn_msg_u64(m, CAIRN_F_EXPIRY, r->expiry_ns);
	if (r->attributes.len)
		cairn_msg_bytes(m, CAIRN_F_ATTRIBUTES, r->attributes);
	if (r->author.len)
		cairn_msg_bytes(m, CAIRN_F_AUTHOR, r->author);
	if (r->face.len)
		cairn_msg_bytes(m, CAIRN_F_FACE, r->face);
	if (with_value && !r->chunks.len)
		cairn_msg_bytes(m, CAIRN_F_VALUE, r->content);
}
