/*
 * The binary encoding of operations: requests, answers, log commands and forwarded requests are all
 * messages of this form (core/base/message.md has the byte counts).
 *
 *   message:  u8 version, u8 flags, u16 number, then fields        (numbers little-endian)
 *   field:    u32 (identifier in the low 8 bits, length of the body in the high 24), then the body
 *
 * A field's type follows from its identifier (the rows below). The body of an OBJECT is fields again; that
 * of an OPERATION is a whole message. A field that stands several times is a list. Unknown fields of an
 * answer are skipped; unknown fields of a request are refused.
 */
#ifndef CAIRN_MESSAGE_H
#define CAIRN_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <cairn/slice.h>

#define CAIRN_MESSAGE_VERSION 1
#define CAIRN_MESSAGE_HEAD 4                             /* bytes before the first field */
#define CAIRN_FIELD_HEAD 4                               /* bytes before a field's body */
#define CAIRN_FIELD_MAX ((1u << 24) - 1)                 /* longest body of a field */
#define CAIRN_DEPTH_MAX 6                                /* deepest nesting of objects and operations */
#define CAIRN_PAYLOAD_MAX (1u << 20)                     /* most value bytes in one request or answer */
#define CAIRN_FRAME_MAX (CAIRN_PAYLOAD_MAX + (1u << 18)) /* longest message on a socket */

enum cairn_type {
	CAIRN_T_BYTES,     /* any bytes; JSON: a string, or X_base64, or a place in the payload */
	CAIRN_T_TEXT,      /* UTF-8 for people; JSON: a string */
	CAIRN_T_U64,       /* 8 bytes; JSON: an integer below 2^53 */
	CAIRN_T_I64,       /* 8 bytes, two's complement; JSON: an integer above -2^53 and below 2^53 */
	CAIRN_T_BOOL,      /* 1 byte, 0 or 1 */
	CAIRN_T_TIME,      /* 8 bytes, ns since 1970 UTC; JSON: RFC 3339 with nine decimals and Z */
	CAIRN_T_ID,        /* 16 bytes; JSON: 32 hex digits */
	CAIRN_T_KIND,      /* 1 byte, enum cairn_kind; JSON: its name */
	CAIRN_T_OBJECT,    /* fields; JSON: an object */
	CAIRN_T_LIST,      /* as OBJECT, but stands any number of times; JSON: an array of objects */
	CAIRN_T_TEXTS,     /* as TEXT, any number of times; JSON: an array of strings */
	CAIRN_T_OPERATIONS /* whole messages, any number; JSON: an array of {"op":NAME,"args":{…}} */
};

/* X(identifier, ID, JSON name, type, meaning). Identifiers are wire and disk format: never reused. */
#define CAIRN_FIELDS(X) \
	X(1, KEY, "key", BYTES, "a key, taken literally") \
	X(2, VALUE, "value", BYTES, "bytes of a value") \
	X(3, REVISION, "revision", U64, "a revision; in a guard, the one the key must have (0: absent)") \
	X(4, VOLUME, "volume", TEXT, "a volume's name") \
	X(5, OFFSET, "offset", U64, "first byte of a range") \
	X(6, LENGTH, "length", U64, "bytes in a range") \
	X(7, META_ONLY, "meta_only", BOOL, "leave the value out") \
	X(8, RETURN_OLD, "return_old", BOOL, "answer with the record that was replaced or deleted") \
	X(9, FROM, "from", BYTES, "first key of a range") \
	X(10, TO, "to", BYTES, "end of a range (not in it), or where a move or copy goes") \
	X(11, PREFIX, "prefix", BYTES, "what the keys begin with") \
	X(12, DELIMITER, "delimiter", BYTES, \
	  "one byte: keys that hold it after the prefix are folded into one row") \
	X(13, LIMIT, "limit", U64, "most rows") \
	X(14, REVERSE, "reverse", BOOL, "last key first") \
	X(15, KEYS_ONLY, "keys_only", BOOL, "keys without records") \
	X(16, CURSOR, "cursor", BYTES, "where the next page starts, as the last answer gave it") \
	X(17, LOCAL, "local", BOOL, \
	  "may be stale: served by the node asked, which says its revision and age") \
	X(18, GUARD, "if", LIST, "a condition: key or prefix, and what must hold of it") \
	X(19, THEN, "then", OPERATIONS, "operations done when every guard holds") \
	X(20, ELSE, "else", OPERATIONS, "operations done when a guard fails") \
	X(21, EACH, "each", BOOL, "one operation's error does not undo the others") \
	X(22, EXISTS, "exists", BOOL, "guard: whether the key is there") \
	X(23, EMPTY, "empty", BOOL, "guard: whether the prefix holds no key (its marker does not count)") \
	X(24, NO_ANCESTOR, "no_ancestor", BOOL, "guard: no folder above the key is itself a key") \
	X(25, FILE_ID, "file_id", U64, "identity that survives overwrites and moves") \
	X(26, ATTRIBUTES, "attributes", OBJECT, \
	  "mode, owner, times and user attributes, atomic with the value") \
	X(27, MODE, "mode", U64, "permission bits") \
	X(28, UID, "uid", U64, "owner") \
	X(29, GID, "gid", U64, "group") \
	X(30, MTIME, "mtime", TIME, "last change of the value as the writer gave it") \
	X(31, CTIME, "ctime", TIME, "last change of the record as the writer gave it") \
	X(32, XATTR, "xattr", LIST, "user attributes: name and value") \
	X(33, NAME, "name", TEXT, "name of the thing") \
	X(34, KIND, "kind", KIND, "what the record is") \
	X(35, UPLOAD, "upload", ID, "an upload made of staged pieces") \
	X(36, INDEX, "index", U64, "number of a staged piece, from 0") \
	X(37, SIZE, "size", U64, "bytes in the whole value") \
	X(38, CLIENT, "client", ID, "who repeats writes under the same sequence") \
	X(39, SEQUENCE, "sequence", U64, "number of the client's write") \
	X(40, LOWEST, "lowest", U64, "lowest sequence that the client still waits for") \
	X(41, BORN, "born", U64, "applied index that the client learnt when it connected or last wrote") \
	X(42, AUTHOR, "author", TEXT, "user@node of the writer") \
	X(43, FACE, "face", TEXT, "which face was used: mount, command, socket, redis …") \
	X(44, TIMEOUT_MS, "timeout_ms", U64, "how long the caller waits") \
	X(45, VERSION, "version", U64, "how often the key was written, deletes counted") \
	X(46, CREATE_REVISION, "create_revision", U64, "revision that made the key") \
	X(47, PREVIOUS_REVISION, "previous_revision", U64, "revision of the version before") \
	X(48, TIME, "time", TIME, "when it was committed, by the store's clock") \
	X(49, OLD, "old", OBJECT, "the record that was replaced or deleted") \
	X(50, ROW, "rows", LIST, "rows of a listing") \
	X(51, RESULT, "results", LIST, "results of a transaction's operations, in order") \
	X(52, SUCCEEDED, "succeeded", BOOL, "whether the guards held") \
	X(53, CODE, "code", TEXT, "name of an error") \
	X(54, MESSAGE, "message", TEXT, "a sentence for people") \
	X(55, HINT, "hint", TEXT, "what to do about it") \
	X(56, FOLDER, "folder", BOOL, "the row stands for all keys that begin with it") \
	X(57, COUNT, "count", U64, "how many") \
	X(58, APPLIED, "applied", U64, "applied index of the shard") \
	X(59, DIGEST, "digest", TEXT, "digest of the visible state, 32 hex digits") \
	X(60, ENGINE, "engine", TEXT, "name of an engine, or a path to one") \
	X(61, REPLICATION, "replication", TEXT, "name of a replication module") \
	X(62, SECTION, "section", TEXT, "section of a setting") \
	X(63, SETTING, "setting", TEXT, "section.key of a setting, or a parameter as key=value") \
	X(64, TEXT, "text", TEXT, "text for people") \
	X(65, LIVE, "live", BOOL, "takes effect without a restart") \
	X(66, HELP, "help", TEXT, "one line of help") \
	X(67, TYPE, "type", TEXT, "kind of plugin, type of a parameter or metric") \
	X(68, PATH, "path", TEXT, "a file's path") \
	X(69, CAPABILITY, "capabilities", TEXTS, "what a plugin can do") \
	X(70, PARAMETER, "parameters", LIST, "parameters of a plugin") \
	X(71, DEFAULT, "default", TEXT, "value of a setting where none is given") \
	X(72, STATE, "state", TEXT, "ok, degraded, no-quorum, disconnected") \
	X(73, NODE, "nodes", LIST, "nodes of the cluster") \
	X(74, VOLUMES, "volumes", LIST, "volumes of the node") \
	X(75, ROLE, "role", TEXT, "leader, follower …") \
	X(76, TERM, "term", U64, "term of the leader") \
	X(77, DISK_FREE, "disk_free", U64, "bytes free where the data lies") \
	X(78, ADDRESS, "address", TEXT, "where a node is reached") \
	X(79, KEYS, "keys", U64, "live keys") \
	X(80, BYTES, "bytes", U64, "bytes of live values") \
	X(81, UNIT, "unit", TEXT, "unit of a metric") \
	X(82, LABELS, "labels", TEXT, "labels of a metric, in Prometheus form") \
	X(83, AMOUNT, "amount", TEXT, "value of a setting, statistic or metric, as text") \
	X(84, UPTIME_MS, "uptime_ms", U64, "how long the daemon has run") \
	X(85, PROTOCOL, "protocol", U64, "version of the control protocol") \
	X(86, RELEASE, "release", TEXT, "version of cairn") \
	X(87, PID, "pid", U64, "process number") \
	X(88, MODULE, "module", TEXT, "part of the daemon that logs") \
	X(89, LEVEL, "level", TEXT, "error, warn, info, debug or trace") \
	X(90, ARGUMENT, "arguments", LIST, "arguments of an operation") \
	X(91, REQUIRED, "required", BOOL, "an argument that must be given") \
	X(92, PERMISSION, "permission", TEXT, "read, write or admin") \
	X(93, ALIAS, "aliases", TEXTS, "other names") \
	X(94, OPERATION, "operations", LIST, "rows of the operation table") \
	X(95, KEY_MAX, "key_max", U64, "longest key in bytes") \
	X(96, VALUE_LIMIT, "value_limit", U64, "longest value in bytes") \
	X(97, SERVED_BY, "served_by", TEXT, "node that answered") \
	X(98, AGE_MS, "age_ms", U64, "how old a local answer may be") \
	X(99, STATISTIC, "statistics", LIST, "name, amount and unit of a measurement") \
	X(100, ERROR, "error", OBJECT, "code, message and hint of what went wrong") \
	X(101, DATA_VERSION, "data_version", U64, "guard: how often the value itself was written") \
	X(102, ARGS, "args", OBJECT, "arguments, inside the description of an operation") \
	X(103, CHANGED, "changed", TIME, \
	  "when a name in the folder last came or went, by the store's clock") \
	X(104, SUBFOLDERS, "subfolders", U64, "folders directly in the folder") \
	X(105, ATIME, "atime", TIME, "last access, where somebody has set it") \
	X(106, INITIAL, "initial", BOOL, "present content first, then its changes; this is of the content") \
	X(107, FENCE, "fence", U64, \
	  "guard: the key is a lock that is held, made by this revision (else conflict, whatever 'else' " \
	  "says)") \
	X(108, PROGRESS, "progress", BOOL, \
	  "tell now and then, and this does: all up to the revision was sent") \
	X(109, VALUES, "values", BOOL, "with values, where they are small and at hand") \
	X(110, AT, "at", U64, "a revision: read as of it") \
	X(111, AS_OF, "as_of", TIME, "a time: the last revision that was committed by then") \
	X(112, OLDEST, "oldest", U64, "oldest revision that can be read at") \
	X(113, CHANGE, "change", TEXT, "how the version came to be: put, delete, append, move ...") \
	X(114, OTHER, "other", BYTES, "the key that it was moved or copied from, or moved to") \
	X(115, DELETED, "deleted", BOOL, "the key was removed") \
	X(116, RESTORED, "restored", U64, "keys that are there again") \
	X(117, REPLACED, "replaced", U64, "keys that have their old value again") \
	X(118, REMOVED, "removed", U64, "keys that are gone again") \
	X(119, EXPIRY, "expiry", TIME, "when the key goes, by the store's clock") \
	X(120, TTL_MS, "ttl_ms", U64, "how long from now until the key goes") \
	X(121, KEEP_EXPIRY, "keep_expiry", BOOL, "the key goes when it would have gone") \
	X(122, BY, "by", I64, "what is added to a number") \
	X(128, ORDINAL, "ordinal", U64, "number of a change within its revision, rising") \
	X(129, INCARNATION, "incarnation", U64, \
	  "names a volume's past: another one when that is lost, and its revisions may come again") \
	X(130, RTT_US, "rtt_us", U64, "microseconds to a node and back, as the node that was asked sees it") \
	X(131, CLOCK_US, "clock_us", I64, \
	  "a node's clock less that of the node that was asked, in microseconds") \
	X(124, OPEN, "open", BOOL, "created exclusively, and its first data is not written yet") \
	X(141, SEGMENTS, "segments", U64, "files of the journal that are needed") \
	X(142, DISK_BYTES, "disk_bytes", U64, "bytes that it takes on disk") \
	X(143, DURABLE, "durable", U64, "number of the journal's newest batch on disk") \
	X(144, FIRST, "first", U64, "first entry of a volume that the journal keeps") \
	X(145, NEWEST, "newest", U64, "newest entry of a volume in the journal") \
	X(146, HELD, "held", U64, "bytes of commands that the journal keeps for a volume") \
	X(147, OVERLAY, "overlay", U64, "bytes in memory that a volume's engine has not been given yet") \
	X(148, FLUSHED, "flushed", U64, "entry up to which a volume's engine has everything on disk") \
	X(123, EXTENT, "extents", LIST, \
	  "bytes to overwrite: offset and value, offset and length for zeros, or an offset for the upload") \
	X(149, STAGED, "staged", U64, "bytes sent ahead and not used yet") \
	X(150, QUOTA, "quota", U64, "most bytes of live and staged values") \
	X(151, SHORTENED, "shortened", BOOL, "a repeated command's result, of which not all was kept") \
	X(160, BEAT_MS, "beat_ms", U64, "a watch: say at least so often that all up to a revision was sent") \
	X(152, LAG, "lag", U64, "entries that a node has applied less than the one that has applied most") \
	X(140, MEMBERS, "members", BYTES, "who belongs to a shard when it is made") \
	X(161, RDEV, "rdev", U64, "number of a device file's device, as Linux encodes it") \
	X(165, LAST, "last", BOOL, "nothing follows") \
	X(166, PLAIN, "plain", BOOL, "not compressed") \
	X(167, BEFORE, "before", U64, "bytes that were taken before") \
	X(168, AFTER, "after", U64, "bytes that are taken now")

enum cairn_field {
	CAIRN_F_END = 0,
#define X(number, id, json, type, meaning) CAIRN_F_##id = number,
	CAIRN_FIELDS(X)
#undef X
		CAIRN_FIELD_COUNT
};

struct cairn_field_row {
	const char *json; /* NULL for a number that is not used */
	enum cairn_type type;
	const char *meaning;
};

/* The row of FIELD, or NULL where the number is not in the list. Static. */
const struct cairn_field_row *cairn_field_row(unsigned field);
/* TYPE for people ("bytes", "yes or no" …). Static. */
const char *cairn_type_name(enum cairn_type type);

/* What a record is; the same for every engine and face. Disk format. */
enum cairn_kind {
	CAIRN_KIND_VALUE = 0,
	CAIRN_KIND_DIRECTORY = 1,
	CAIRN_KIND_SYMLINK = 2,
	CAIRN_KIND_FIFO = 3,
	CAIRN_KIND_SOCKET = 4,
	CAIRN_KIND_CHARACTER = 5,
	CAIRN_KIND_BLOCK = 6,
	CAIRN_KIND_COUNT
};

/* Name of KIND as in JSON, "?" outside the list. Static. */
const char *cairn_kind_name(unsigned kind);

/*
 * A message being built. Zero-initialise (= {0}) or cairn_msg_start; the holder frees it with
 * cairn_msg_free. A failure (no memory, a field too long) sticks and shows in cairn_msg_error.
 */
struct cairn_msg {
	unsigned char *data; /* owned */
	size_t len, cap;
	int error; /* 0 or -errno, sticky */
};

/* Begin a message with the operation or answer NUMBER; what was in M is dropped, its memory kept. */
void cairn_msg_start(struct cairn_msg *m, unsigned number);
void cairn_msg_free(struct cairn_msg *m);
/* 0, -ENOMEM or -EMSGSIZE. */
int cairn_msg_error(const struct cairn_msg *m);
void cairn_msg_bytes(struct cairn_msg *m, unsigned field, struct cairn_slice body);
void cairn_msg_text(struct cairn_msg *m, unsigned field, const char *text);
void cairn_msg_u64(struct cairn_msg *m, unsigned field, uint64_t v);
void cairn_msg_bool(struct cairn_msg *m, unsigned field, bool v);
void cairn_msg_kind(struct cairn_msg *m, unsigned field, unsigned kind);
/* Room for a field of LEN bytes, to be filled by the caller before the next call; NULL on failure. */
void *cairn_msg_room(struct cairn_msg *m, unsigned field, size_t len);
/* Fields that were encoded before, taken as they are. */
void cairn_msg_fields(struct cairn_msg *m, struct cairn_slice fields);
/* Open an OBJECT or LIST item; give the result to cairn_msg_close after its fields. */
size_t cairn_msg_open(struct cairn_msg *m, unsigned field);
/* Open an item of OPERATIONS: a nested message with the operation NUMBER. */
size_t cairn_msg_open_op(struct cairn_msg *m, unsigned field, unsigned number);
void cairn_msg_close(struct cairn_msg *m, size_t mark);
/* Take back everything since the length was MARK (as M->len was then). */
void cairn_msg_truncate(struct cairn_msg *m, size_t mark);
/* All bytes of the message. Valid until M changes. */
static inline struct cairn_slice cairn_msg_slice(const struct cairn_msg *m)
{
	return (struct cairn_slice){ m->data, m->len };
}

/* The number (operation or code) of a message; 0 where it is shorter than its head or of another version. */
unsigned cairn_message_number(struct cairn_slice message);
/* The fields behind the head of a message; empty where there is none. */
struct cairn_slice cairn_message_fields(struct cairn_slice message);

/*
 * Take the first field off *FIELDS. Sets *FIELD (CAIRN_F_END when nothing is left) and *BODY, which points
 * into the message. Returns 0, or -EBADMSG where the bytes are not fields.
 */
int cairn_field_next(struct cairn_slice *fields, unsigned *field, struct cairn_slice *body);
/* The first FIELD among FIELDS. Returns whether it is there; malformed bytes count as absent. */
bool cairn_field_find(struct cairn_slice fields, unsigned field, struct cairn_slice *body);
/* The number, or the truth value, of the first FIELD among FIELDS; OTHERWISE where it is absent. */
uint64_t cairn_field_u64(struct cairn_slice fields, unsigned field, uint64_t otherwise);
bool cairn_field_bool(struct cairn_slice fields, unsigned field, bool otherwise);
/* The body as a number; 0 where it has not 8 bytes. */
uint64_t cairn_body_u64(struct cairn_slice body);
/*
 * Whether FIELDS are well formed all the way down: known identifiers, lengths that fit their types, depth at
 * most CAIRN_DEPTH_MAX. Every message from outside passes here before anything else reads it.
 * Returns 0 or -EBADMSG, and then *WHERE (may be NULL) is the identifier that is wrong.
 */
int cairn_fields_check(struct cairn_slice fields, unsigned *where);

#endif
